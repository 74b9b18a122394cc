"""Damages files and reads them, in a process that may end, hang or ask for too much memory.

``python -m tests.fuzz.run --count 200000`` prints how many cases ended how, and each failure with
what repeats it. A reader may succeed or raise an error with an exit code and a sentence.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.fuzz.folders import folders
from tests.fuzz.mutate import mutated
from tests.fuzz.others import others
from tests.fuzz.readers import Reader, arrays, pictures, shapes, texts, weights

TIME_S = 10.0
BLOCKED_S = 300.0  # without an answer and without computing
MEMORY_BYTES = 2**30
Failure = tuple[int, str, str]  # case, reader, what happened


def damaged_case(readers: list[Reader], seed: int, case: int) -> tuple[Reader, str, bytes]:
    """What a case reads: the reader, and which file it finds how damaged."""
    rng = np.random.default_rng((seed, case))
    reader = readers[case % len(readers)]
    name = reader.damaged[int(rng.integers(len(reader.damaged)))]
    others = [data for other in readers for data in list(other.files.values())[:1]]
    return reader, name, mutated(reader.files[name], rng, others)


def lay_out(readers: list[Reader], root: Path) -> None:
    for number, reader in enumerate(readers):
        for name, data in reader.files.items():
            path = root / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def outcome(reader: Reader, place: Path, name: str, data: bytes) -> tuple[str, str]:
    """``read``, ``refused`` or ``failed``, and why it failed."""
    path = place / name
    try:
        path.write_bytes(data)
        reader.read(place)
        return "read", ""
    except Exception as error:
        code = getattr(error, "exit_code", None)
        said = str(error)
        if isinstance(code, int) and 2 <= code <= 4 and said.strip() and len(said) < 20_000:
            return "refused", ""
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return "failed", f"{type(error).__name__} at {where}: {said[:200]}"
    finally:
        path.write_bytes(reader.files[name])


def run_cases(
    seed: int, cases: range, readers: list[Reader], root: Path
) -> tuple[collections.Counter[str], list[Failure]]:
    """Read the cases one after another in child processes; a child is replaced when it fails."""
    counts: collections.Counter[str] = collections.Counter()
    failures: list[Failure] = []
    lay_out(readers, root)
    while cases:
        begun = cases
        for case, state, why in _child(seed, cases, readers, root):
            counts[state] += 1
            cases = range(case + 1, cases.stop)
            if state == "failed":
                failures.append((case, readers[case % len(readers)].name, why))
                print(f"seed {seed} case {case}, {failures[-1][1]}: {why}", flush=True)
        if cases == begun:
            raise RuntimeError("a child ended before it began")
    return counts, failures


def _child(
    seed: int, cases: range, readers: list[Reader], root: Path
) -> Iterator[tuple[int, str, str]]:
    """Outcomes of cases by a child process, the last of which may be its end."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _work(seed, cases, readers, root, sink)
        finally:
            os._exit(1)  # never into what the parent goes on with
    os.close(sink)
    lines = _lines(source, child)
    done = 0
    try:
        for text in lines:
            if text is None:
                yield cases[done], "failed", f"not done after {TIME_S:.0f} s"
                return
            state, _, why = text.partition(" ")
            yield cases[done], state, why
            done += 1
        if done < len(cases):
            yield cases[done], "failed", "the process ended (crash, or no memory)"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(source)


def _lines(source: int, child: int) -> Iterator[str | None]:
    """Lines of a pipe; None when none comes within the child's time (its processor's, not ours)."""
    rest, begun, waited = b"", _processor_s(child), 0.0
    while True:
        ready, _, _ = select.select([source], [], [], 1.0)
        if not ready:
            waited += 1.0
            if _processor_s(child) - begun > TIME_S or waited > BLOCKED_S:
                yield None
                return
            continue
        begun, waited = _processor_s(child), 0.0
        piece = os.read(source, 65536)
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\n")
        for each in whole:
            yield each.decode()


def _processor_s(process: int) -> float:
    """Processor time of a process, s."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(seed: int, cases: range, readers: list[Reader], root: Path, sink: int) -> None:
    """In the child: one line for each case, then the end."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    limit = pages + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in cases:
        reader, name, data = damaged_case(readers, seed, case)
        begun = time.process_time()
        state, why = outcome(reader, root / str(case % len(readers)), name, data)
        used = time.process_time() - begun
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if (now - peak) * 1024 > MEMORY_BYTES:
            state, why = "failed", f"used {(now - peak) / 2**20:.1f} GB"
        elif used > TIME_S:
            state, why = "failed", f"took {used:.0f} s"
        os.write(sink, f"{state} {' '.join(why.split())}\n".encode(errors="replace"))
    os._exit(0)


def all_readers(folder: Path) -> list[Reader]:
    """Every reader; the folder is for making their files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *texts(), *pictures(), *arrays(folder), *shapes(folder), *weights(folder), *folders(folder),
        *others(folder),
    ]  # fmt: skip


@contextlib.contextmanager
def workshop() -> Iterator[tuple[list[Reader], Path]]:
    """Readers whose files are made, and a folder for damaged ones."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        yield all_readers(root / "sound"), root / "damaged"
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="mutations")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.process_time()
    with workshop() as (readers, root):
        for reader in readers:  # sound files are read, and numba is warm
            lay_out([reader], root / "sound")
            reader.read(root / "sound" / "0")
            shutil.rmtree(root / "sound")
        cases = range(options.first, options.first + options.count)
        counts, failures = run_cases(options.seed, cases, readers, root)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() - begun + used.ru_utime + used.ru_stime
    print(
        f"{sum(counts.values())} mutations of {len(readers)} readers: {counts['read']} read, "
        f"{counts['refused']} refused, {counts['failed']} failed; {seconds:.0f} s of processor"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
