"""A recording is whole, resumable and provable, or clearly unfinished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from capture import recording as recording_module
from capture.errors import DataError, PlanError
from capture.journal import checked_name, entries_of, read_journal
from capture.reading import Recording
from capture.recording import RecordingWriter
from capture.verify import open_unharmed, verify

START = {"plan": {"leds": [1, 2, 3]}, "devices": {"camera": "c1"}, "bits": 12}


def picture(led: int, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return (np.arange(shape[0] * shape[1], dtype=np.uint16) + 100 * led).reshape(shape)


def entry(index: int, led: int, **more: object) -> dict[str, object]:
    kind = "light" if led else "dark"
    return {"index": index, "kind": kind, "led": led, "exposure_us": 8000.0, **more}


def make(folder: Path, leds: tuple[int, ...] = (0, 1, 2, 3)) -> Path:
    with RecordingWriter.create(folder, START, {"config.yaml": "a: 1\n"}) as writer:
        for index, led in enumerate(leds):
            writer.append(picture(led), entry(index, led))
        return writer.finish()


def test_folder_holds_what_the_format_promises(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    names = sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file())
    assert names == [
        "SHA256SUMS",
        "frames/0000_dark.tif",
        "frames/0001_led001.tif",
        "frames/0002_led002.tif",
        "frames/0003_led003.tif",
        "run.jsonl",
        "snapshot/config.yaml",
    ]
    assert not (tmp_path / "run.part").exists()
    lines = [json.loads(line) for line in (run / "run.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", *["frame"] * 4, "stop"]
    assert lines[0]["format"] == "rig-recording/1"
    assert lines[-1]["exit_status"] == 0
    assert verify(run).sound


def test_checksums_are_read_by_sha256sum(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    run = make(tmp_path / "run")
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=run, check=True)


def test_frames_are_plain_mappable_tiffs_with_the_same_bytes_for_the_same_pixels(
    tmp_path: Path,
) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    for path in sorted((first / "frames").iterdir()):
        assert path.read_bytes() == (second / "frames" / path.name).read_bytes()
    mapped = tifffile.memmap(first / "frames" / "0002_led002.tif", mode="r")
    np.testing.assert_array_equal(mapped, picture(2))


def test_golden_frame_and_sums(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden"
    run = make(tmp_path / "run", (0, 1))
    got = (run / "frames" / "0001_led001.tif").read_bytes()
    assert got == (golden / "recording" / "frames" / "0001_led001.tif").read_bytes()
    recording = Recording.open(golden / "recording")
    assert verify(golden / "recording").problems == ()
    np.testing.assert_array_equal(recording.counts(recording.entries[1]), picture(1))
    assert recording.leds == (1,)
    assert recording.exposures == (8.0,)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "run")
    with pytest.raises(DataError, match="exists already"):
        RecordingWriter.create(tmp_path / "run", START)
    (tmp_path / "other.part").mkdir()
    with pytest.raises(DataError, match="--resume"):
        RecordingWriter.create(tmp_path / "other", START)


def interrupted(folder: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with RecordingWriter.create(folder, START) as writer:
            writer.append(picture(0), entry(0, 0))
            writer.append(picture(1), entry(1, 1))
            raise KeyboardInterrupt
    return folder.with_name(folder.name + ".part")


def test_an_interrupted_run_says_so_and_resumes_to_the_same_frames(tmp_path: Path) -> None:
    part = interrupted(tmp_path / "run")
    lines, _ = read_journal(part / "run.jsonl")
    assert (lines[-1]["exit_status"], lines[-1]["reason"]) == (130, "interrupted")
    with pytest.raises(DataError, match="not finished"):
        Recording.open(tmp_path / "run")
    with RecordingWriter.resume(tmp_path / "run", START) as writer:
        assert sorted(writer.completed) == [0, 1]
        for index, led in ((2, 2), (3, 3)):
            writer.append(picture(led), entry(index, led))
        run = writer.finish()
    undisturbed = make(tmp_path / "undisturbed")
    for path in (undisturbed / "frames").iterdir():
        assert path.read_bytes() == (run / "frames" / path.name).read_bytes()
    assert verify(run).sound


def test_resume_refuses_another_plan_or_other_devices(tmp_path: Path) -> None:
    interrupted(tmp_path / "run")
    with pytest.raises(PlanError, match=r"plan differs.*leds"):
        RecordingWriter.resume(tmp_path / "run", {**START, "plan": {"leds": [1]}})
    with pytest.raises(PlanError, match=r"devices differ .*camera"):
        RecordingWriter.resume(tmp_path / "run", {**START, "devices": {"camera": "c2"}})
    with pytest.raises(DataError, match="nothing to resume"):
        RecordingWriter.resume(tmp_path / "absent", START)


def test_resume_drops_a_damaged_and_a_missing_frame(tmp_path: Path) -> None:
    part = interrupted(tmp_path / "run")
    path = part / "frames" / "0001_led001.tif"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    (part / "frames" / "0000_dark.tif").unlink()
    with RecordingWriter.resume(tmp_path / "run", START) as writer:
        assert writer.completed == {}
        assert writer.damaged == [
            "frames/0000_dark.tif is missing",
            "frames/0001_led001.tif is damaged",
        ]


def test_two_processes_cannot_write_one_recording(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run", START) as writer:
        with pytest.raises(DataError, match="being written by another process"):
            RecordingWriter.create(tmp_path / "run", START)
        with pytest.raises(DataError, match="another process"):
            RecordingWriter.resume(tmp_path / "run", START)
        writer.append(picture(1), entry(0, 1))
        writer.finish()


def test_kill_leaves_only_whole_frames(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        import numpy as np
        from capture.recording import RecordingWriter
        writer = RecordingWriter.create(Path(sys.argv[1]), {"bits": 12})
        for index in range(10000):
            pixels = np.full((64, 64), index % 4096, np.uint16)
            writer.append(pixels, {"index": index, "kind": "light", "led": index + 1,
                                   "exposure_us": 1.0})
            if index == 60:
                print("going", flush=True)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    process.stdout.close()
    part = tmp_path / "run.part"
    with RecordingWriter.resume(part) as writer:
        assert len(writer.completed) >= 20
        assert writer.damaged == []
        for index, found in writer.completed.items():
            pixels = tifffile.imread(part / found.file)
            assert pixels.shape == (64, 64)
            assert np.all(pixels == index % 4096)
        lines, _ = read_journal(part / "run.jsonl")
        assert any("killed" in line.get("reason", "") for line in lines if line["event"] == "stop")


def test_a_torn_last_line_is_forgotten_and_a_broken_middle_is_damage(tmp_path: Path) -> None:
    part = interrupted(tmp_path / "run")
    journal = part / "run.jsonl"
    good = journal.read_bytes()
    journal.write_bytes(good + b'{"event": "frame", "ind')
    lines, used = read_journal(journal)
    assert used == len(good)
    journal.write_bytes(good.replace(b'"frame"', b'"frame', 1))
    with pytest.raises(DataError, match="damaged at line 2"):
        read_journal(journal)
    assert lines[0]["event"] == "start"


@given(cut=st.integers(min_value=1, max_value=10_000))
def test_a_journal_cut_anywhere_after_its_start_is_read_up_to_there(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    golden = Path(__file__).parent / "golden" / "recording" / "run.jsonl"
    raw = golden.read_bytes()
    first = raw.index(b"\n") + 1
    kept = raw[: first + cut % (len(raw) - first)]
    path = tmp_path_factory.mktemp("cut") / "run.jsonl"
    path.write_bytes(kept)
    lines, used = read_journal(path)
    assert kept[:used].endswith(b"\n")
    assert len(lines) == kept.count(b"\n")


def test_disk_full_is_one_sentence_and_the_run_stays_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recording_module.write_atomically

    def full(path: Path, data: bytes, durable: bool = True) -> None:
        if path.name.startswith("0002"):
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(recording_module, "write_atomically", full)
    with pytest.raises(DataError, match=r"No space left on device; .*--resume"):
        make(tmp_path / "run")
    monkeypatch.undo()
    part = tmp_path / "run.part"
    lines, _ = read_journal(part / "run.jsonl")
    assert lines[-1]["exit_status"] == 4
    with RecordingWriter.resume(tmp_path / "run", START) as writer:
        assert sorted(writer.completed) == [0, 1]


def test_a_real_full_disk(tmp_path: Path) -> None:
    """A file-size limit makes real writes fail half way, as a full disk does."""
    resource = pytest.importorskip("resource")
    script = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from capture.errors import DataError
        from capture.recording import RecordingWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        writer = RecordingWriter.create(Path(sys.argv[1]), {"bits": 12})
        try:
            with writer:
                entry = {"kind": "light", "exposure_us": 1.0}
                writer.append(np.zeros((8, 8), np.uint16), {"index": 0, "led": 1, **entry})
                writer.flush()
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
                writer.append(np.zeros((512, 512), np.uint16), {"index": 1, "led": 2, **entry})
                writer.finish()
        except DataError as error:
            print(error)
            sys.exit(error.exit_code)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run")], capture_output=True, text=True
    )
    assert resource
    assert (done.returncode, done.stderr) == (4, "")
    assert "cannot be written" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    frames = [p.name for p in (tmp_path / "run.part" / "frames").iterdir()]
    assert frames == ["0000_led001.tif"]


def test_a_frame_taken_again_replaces_the_first_and_a_late_verdict_counts(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run", START) as writer:
        writer.append(picture(1), entry(0, 1))
        writer.append(picture(2), entry(0, 1, attempt=2))
        writer.append(picture(3), entry(1, 2))
        writer.judge(1, "unproven", {"reason": "no timestamps"})
        run = writer.finish()
    recording = Recording.open(run)
    np.testing.assert_array_equal(recording.counts(recording.entries[0]), picture(2))
    assert recording.entries[0].data["attempt"] == 2
    found = verify(run)
    assert found.sound
    assert found.remarks == ("frames/0001_led002.tif is unproven: no timestamps",)


def test_a_bad_frame_is_not_read(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run", START) as writer:
        writer.append(picture(1), entry(0, 1))
        writer.append(picture(2), entry(1, 2, verdict="bad"))
        run = writer.finish()
    assert Recording.open(run).leds == (1,)
    assert not verify(run).sound


def test_writer_refuses_what_it_could_not_read_back(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run", START) as writer:
        with pytest.raises(ValueError, match="uint16"):
            writer.append(np.zeros((4, 4), np.uint8), entry(0, 1))  # type: ignore[arg-type]
        with pytest.raises(DataError, match="exposure"):
            writer.append(picture(1), {**entry(0, 1), "exposure_us": 0.0})
        with pytest.raises(ValueError, match="JSON"):
            writer.append(picture(1), entry(0, 1, ratio=float("nan")))


# verify ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["frames/0002_led002.tif", "run.jsonl", "snapshot/config.yaml"])
def test_verify_names_the_damaged_file(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "run")
    data = bytearray((run / name).read_bytes())
    data[len(data) // 2] ^= 0x20
    (run / name).write_bytes(bytes(data))
    found = verify(run)
    assert not found.sound
    assert any(problem.startswith(name) for problem in found.problems)


def test_verify_tells_a_fault_once(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (run / "frames" / "0000_dark.tif").unlink()  # the picture that tells the size of all
    assert verify(run).problems == ("frames/0000_dark.tif is missing",)


def test_verify_names_missing_extra_and_unfinished(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (run / "frames" / "0001_led001.tif").unlink()
    (run / "stray.txt").write_text("x")
    (run / "results" / "01").mkdir(parents=True)
    (run / "results" / "01" / "height.tif").write_text("made later")
    problems = verify(run).problems
    assert "frames/0001_led001.tif is missing" in problems
    assert "stray.txt does not belong here" in problems
    assert not any("results" in problem for problem in problems)
    part = interrupted(tmp_path / "half")
    assert any("--resume" in problem for problem in verify(tmp_path / "half").problems)
    assert verify(part).frames == 2
    with pytest.raises(DataError, match="no recording"):
        verify(tmp_path / "absent")


def test_verify_knows_pictures_that_a_rule_gave_up(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    said = {"format": "rig-thinned/1", "date": "2026-01-31"}
    (run / "thinned.json").write_text(json.dumps(said), encoding="utf-8")
    (run / "frames" / "0000_dark.tif").unlink()  # as far as an interrupted thinning came
    found = verify(run)
    assert (found.problems, found.thinned, found.given_up) == ((), "2026-01-31", 1)
    shutil.rmtree(run / "frames")
    assert (verify(run).sound, verify(run).frames, verify(run).given_up) == (True, 4, 4)
    with pytest.raises(DataError, match="given up on 2026-01-31"):
        open_unharmed(run)
    (run / "snapshot" / "config.yaml").unlink()
    assert verify(run).problems == ("snapshot/config.yaml is missing",)
    (run / "thinned.json").write_text("{}", encoding="utf-8")
    assert "thinned.json is not of the format rig-thinned/1" in verify(run).problems


def test_verify_compares_with_the_plan(tmp_path: Path) -> None:
    from capture.plan import Plan

    plan = Plan((1, 2), (8000.0,), dark_frames=False, repeat_first=False)
    with RecordingWriter.create(tmp_path / "run", {"plan": plan.to_json(), "bits": 12}) as writer:
        writer.append(picture(1), entry(0, 1))
        run = writer.finish()
    assert verify(run).problems == ("frame 1 (led 2, 8 ms) is missing",)


def test_a_cut_frame_is_named_when_read(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    path = run / "frames" / "0002_led002.tif"
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(DataError, match=r"0002_led002\.tif"):
        Recording.open(run).linear(2)


@given(st.text(max_size=20))
def test_no_name_leaves_the_recording(name: str) -> None:
    try:
        path = checked_name(name)
    except DataError:
        return
    assert not path.is_absolute()
    assert ".." not in path.parts


def test_a_journal_cannot_point_outside(tmp_path: Path) -> None:
    line = {"event": "frame", **entry(0, 1), "file": "../secret.tif", "sha256": ""}
    with pytest.raises(DataError, match="not a path within"):
        entries_of([{"event": "start"}, line])


@settings(max_examples=40)
@given(place=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
def test_any_changed_byte_of_the_journal_is_a_finding_and_never_a_crash(
    place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tmp_path_factory.mktemp("flip") / "run"
    shutil.copytree(Path(__file__).parent / "golden" / "recording", run)
    raw = bytearray((run / "run.jsonl").read_bytes())
    place %= len(raw)
    changed = raw[place] != byte
    raw[place] = byte
    (run / "run.jsonl").write_bytes(bytes(raw))
    assert verify(run).sound is not changed
    try:
        Recording.open(run).linear(1)
    except DataError:
        assert changed
