"""One writer at a time for a folder or file, which then exists whole or not at all.

Who wants to write ``results/01`` makes ``results/.01.part`` first, exclusively, and notes in it
who he is. What he makes lies in there until it is complete; then it is renamed into place. Another
process finds the name taken. A claim whose process is dead is cleared by the next one that claims
something beside it (decision 0100).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from capture.errors import DataError
from capture.journal import sync_file, sync_folder

PART = ".part"
OWNER = "owner.json"
WORK = "work"
COMPLETE = "complete"  # says that the files in `WORK` are to be put into place, come what may
ATTEMPTS = 50  # to claim something in a folder that others make and give up


@dataclass(frozen=True)
class Owner:
    """A process, told from another one that has its number later.

    Attributes
    ----------
    started : when the process began, in the words of the system; empty if it does not say
    boot : identity of the running system, for the same reason
    """

    pid: int
    host: str
    started: str
    boot: str

    @staticmethod
    def of_this_process() -> Owner:
        return Owner(os.getpid(), socket.gethostname(), _started(os.getpid()), _boot())

    @property
    def is_alive(self) -> bool:
        """Whether it may still write; of another machine's process that cannot be told."""
        if self.host != socket.gethostname():
            return True
        if self.boot != _boot():
            return False
        return _exists(self.pid) and self.started in ("", _started(self.pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Claim:
    """The right to write `target`; `work` is the folder to make it in."""

    target: Path
    work: Path

    def publish(self) -> Path:
        """Put the folder `work` into its place, whole and durable; the target must not exist."""
        _sync_tree(self.work)
        if self.target.is_dir():
            self.target.rmdir()  # an empty folder somebody made for it; else nothing is lost
        os.rename(self.work, self.target)
        sync_folder(self.target.parent)
        return self.target

    def publish_files(self, aside: Callable[[Path], object] = lambda path: None) -> Path:
        """Put each file of `work` beside the target, the target itself last.

        They belong together: where the process dies in between, the next claim beside it or
        `clear_dead` puts the rest into place.

        Parameters
        ----------
        aside : is told of a file that is about to be replaced, to keep a copy of it
        """
        _sync_tree(self.work)
        for made in self.work.iterdir():
            place = self.target.with_name(made.name)
            if place.exists():
                aside(place)
        (self.work.parent / COMPLETE).touch()
        sync_folder(self.work.parent)
        _put_beside(self.work.parent)
        return self.target

    @property
    def file(self) -> Path:
        """Where to make the target if it is a file."""
        return self.work / self.target.name


@contextlib.contextmanager
def claim(target: Path, *, replacing: bool = False) -> Iterator[Claim]:
    """Claim a target; leaving the context gives it up, published or not.

    Parameters
    ----------
    target : what will be written; an empty folder counts as nothing
    replacing : it may exist and stays until `Claim.publish_files` replaces it

    Raises
    ------
    DataError
        if it exists or another process is writing it
    """
    with _claimed([target], (lambda path: False) if replacing else is_there) as claimed:
        yield claimed


@contextlib.contextmanager
def claim_first(targets: Iterable[Path]) -> Iterator[Claim]:
    """Claim the first of several targets that neither exists nor is claimed."""
    with _claimed(targets, is_there) as claimed:
        yield claimed


def is_there(path: Path) -> bool:
    """Whether a name is taken; an empty folder is nothing that could be lost."""
    return os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir()))


@contextlib.contextmanager
def _claimed(targets: Iterable[Path], is_taken: Callable[[Path], bool]) -> Iterator[Claim]:
    made: list[Path] = []  # folders that are there for this claim alone
    held: list[Claim] = []  # noted where it is made: Ctrl-C may come before `_first` returns
    try:
        yield _first(targets, is_taken, made, held)
    finally:
        for claimed in held:
            _give_up(claimed.work.parent)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # it holds something now
                folder.rmdir()


def _first(
    targets: Iterable[Path], is_taken: Callable[[Path], bool], made: list[Path], held: list[Claim]
) -> Claim:
    refusal = "there is nothing to write"
    for target in targets:
        found = _try(target, is_taken, made, held)
        if isinstance(found, Claim):
            return found
        refusal = found
    raise DataError(refusal)


def _try(
    target: Path, is_taken: Callable[[Path], bool], made: list[Path], held: list[Claim]
) -> Claim | str:
    """The claim, or why it cannot be had."""
    place = claim_of(target)
    for attempt in range(ATTEMPTS):
        _make_folder(target.parent, made)
        try:
            with one_at_a_time(target.parent):
                clear_leftovers(target.parent)
                if place.exists():
                    owner = _owner_of(place) or "another program"
                    return f"{target} is being written by {owner}: wait until it ends"
                if is_taken(target):
                    return f"{target} exists already: nothing is overwritten"
                return _begun(target, place, held)
        except FileNotFoundError:  # another process gave the folder up just now
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("never reached")


def _begun(target: Path, place: Path, held: list[Claim]) -> Claim:
    place.mkdir()
    try:
        note = json.dumps(asdict(Owner.of_this_process()), indent=1)
        (place / OWNER).write_text(note + "\n", encoding="utf-8")
        (place / WORK).mkdir()
        held.append(Claim(target, place / WORK))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return held[-1]


def claim_of(target: Path) -> Path:
    """The folder whose existence says that the target is being written."""
    return target.with_name(f".{target.name}{PART}")


def clear_leftovers(folder: Path) -> None:
    """Finish or remove the claims in a folder whose processes are dead.

    Call it within `one_at_a_time`.
    """
    for place in folder.glob(f".*{PART}"):
        if not place.is_dir() or place.is_symlink():
            continue
        inside = {path.name for path in place.iterdir()}
        if inside and (OWNER not in inside or not inside <= {OWNER, WORK, COMPLETE}):
            continue  # no claim of ours
        owner = _owner_of(place)
        # Claims are made within `one_at_a_time`: one that names nobody was never completed.
        if owner is None or not owner.is_alive:
            if COMPLETE in inside:
                _put_beside(place)
            _give_up(place)


def _give_up(place: Path) -> None:
    """Remove a claim, the owner's name last: whoever dies here leaves one that is known as his."""
    with contextlib.suppress(OSError):
        (place / COMPLETE).unlink()
    shutil.rmtree(place / WORK, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)


def _put_beside(place: Path) -> None:
    """Put the files of a complete claim into their places, the one that it names last."""
    target = place.name.removeprefix(".").removesuffix(PART)
    for made in sorted((place / WORK).iterdir(), key=lambda path: path.name == target):
        os.replace(made, place.with_name(made.name))
    sync_folder(place.parent)


def clear_dead(folder: Path) -> None:
    """Finish or remove claims of dead processes in a folder where nothing is claimed now.

    The folder goes too if nothing else is in it.
    """
    if not any(folder.glob(f".*{PART}")):
        return
    with contextlib.suppress(FileNotFoundError), one_at_a_time(folder):
        clear_leftovers(folder)
    with contextlib.suppress(OSError):  # it holds something
        folder.rmdir()


def _owner_of(place: Path) -> Owner | None:
    try:
        return Owner(**json.loads((place / OWNER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            made.append(path)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes of ours out of a folder for a moment.

    Where the system knows no such lock, the exclusive making of folders is what remains.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# processes --------------------------------------------------------------------------------------
def _exists(pid: int) -> bool:
    if os.name == "nt":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)  # type: ignore[attr-defined]
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)  # type: ignore[attr-defined]
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _started(pid: int) -> str:
    """When a process began: ticks since the boot on Linux, what ``ps`` says elsewhere."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat.rpartition(b")")[2].split()[19].decode()  # field 22, counted from 1
    except (OSError, IndexError):
        pass
    if sys.platform == "win32":
        return ""
    try:
        asked = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return asked.stdout.strip()


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


# durability ---------------------------------------------------------------------------------------
def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)
