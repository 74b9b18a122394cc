"""``import reconstruct as rc``: the same surface as the command line, of whatever there is."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import reconstruct as rc
from rig.cli import main
from tests.plausible import scene

CAPTURES = Path(__file__).resolve().parents[2].parent / "shared" / "captures"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.write(tmp_path_factory.mktemp("captures") / "wavy")


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("led_*.png"))


@pytest.fixture(scope="module")
def typed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> rc.Surface:
    return as_typed(folder, tmp_path_factory.mktemp("typed"))


def as_typed(folder: Path, place: Path) -> rc.Surface:
    """What ``rig import`` and ``rig reconstruct`` make of the folder."""
    workspace, out = place / "workspace", place / "result"
    workspace.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for words in (
            ["import", str(folder), "--part", "wavy", "--workspace", str(workspace)],
            ["reconstruct", "wavy", "--workspace", str(workspace), "--out", str(out)],
        ):
            patch.setattr("sys.argv", ["rig", *words])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return rc.read_results(out)


def same(one: rc.Surface, other: rc.Surface) -> None:
    for name in ("height_mm", "normals", "sigma_mm", "normal_sigma_deg", "flags"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_importing_costs_no_torch_and_no_compiler() -> None:
    code = (
        "import sys, capture, calib, reconstruct;"
        "print([m for m in ('torch', 'numba', 'scipy', 'cv2', 'harvesters') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_gives_what_the_command_line_gives(folder: Path, typed: rc.Surface) -> None:
    surface = rc.reconstruct(folder)
    same(surface, typed)
    assert surface.summary["plausibility"]["method"] == "lambert"


@pytest.mark.slow
@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository")
def test_metal_gives_what_the_command_line_gives(tmp_path: Path) -> None:
    surface = rc.reconstruct(CAPTURES / "blob")
    same(surface, as_typed(CAPTURES / "blob", tmp_path))
    assert surface.summary["method"] == "refine"


def test_a_surface_tells_itself_in_a_line(typed: rc.Surface) -> None:
    rows, columns = typed.height_mm.shape
    assert repr(typed).startswith(f"<Surface {columns}×{rows} px, ")
    assert "\n" not in repr(typed)


def test_files_and_a_recording_give_it_too(
    folder: Path, files: list[Path], typed: rc.Surface
) -> None:
    same(rc.reconstruct(files, folder / "camera.json", folder / "lights.lp"), typed)
    pictures = rc.read_pictures(files)
    same(rc.reconstruct(pictures, scene.camera(), folder / "lights.lp"), typed)


def test_counts_in_an_array_give_it_too(folder: Path, typed: rc.Surface) -> None:
    same(rc.reconstruct(scene.codes(True), folder / "camera.json", folder / "lights.lp"), typed)


def test_lights_are_positions_a_dome_or_lights(folder: Path, tmp_path: Path) -> None:
    from calib.light_files import read_lights, write_lights

    counts, camera = scene.codes(True), scene.camera()
    lights = read_lights(folder / "lights.lp")
    write_lights(lights, tmp_path / "rig.dome")
    given = rc.reconstruct(counts, camera, lights, method="lambert")
    same(rc.reconstruct(counts, camera, lights.position_mm, method="lambert"), given)
    dome = rc.reconstruct(counts, camera, tmp_path / "rig.dome", method="lambert")
    np.testing.assert_allclose(dome.height_mm, given.height_mm, atol=1e-3)


def test_a_camera_is_known_by_K_or_by_the_width_of_the_field(folder: Path) -> None:
    counts, lights = scene.codes(True), folder / "lights.lp"
    camera = scene.camera()
    whole = rc.reconstruct(counts, camera, lights, method="lambert")
    by_k = rc.reconstruct(counts, camera.K, lights, method="lambert", field_mm=scene.FIELD_MM)
    by_field = rc.reconstruct(counts, None, lights, method="lambert", field_mm=scene.FIELD_MM)
    same(by_k, whole)
    same(by_field, whole)
    with pytest.raises(rc.ReconstructError, match="field_mm=110"):
        rc.reconstruct(counts, camera.K, lights)


def test_radiance_without_a_noise_model_gives_nearly_the_same(folder: Path) -> None:
    pictures = rc.read_pictures(scene.codes(True) / 65520)
    assert isinstance(pictures, rc.Stack)
    assert pictures.noise_gain == pytest.approx(scene.stack(True).noise_gain, rel=0.5)
    lights = folder / "lights.lp"
    surface = rc.reconstruct(pictures, scene.camera(), lights, method="lambert")
    given = rc.reconstruct(scene.stack(True), scene.camera(), lights, method="lambert")
    np.testing.assert_allclose(surface.normals, given.normals, atol=2e-3)


def test_a_surface_is_shown_and_taken_elsewhere(folder: Path) -> None:
    surface = rc.reconstruct(folder, method="lambert")
    page = surface._repr_html_()
    assert "data:image/png" in page
    assert "lambert" in page
    assert len(surface.plot().axes) == 5  # three maps, two of them with a bar of colours
    labelled = surface.to_xarray()
    assert labelled.height.attrs["units"] == "mm"
    np.testing.assert_allclose(
        labelled.x.values[surface.mask], surface.points_mm()[surface.mask][:, 0], atol=1e-6
    )
    mesh = surface.to_mesh()
    assert len(mesh.vertices) == surface.mask.sum()
    assert mesh.bounds[1][2] == pytest.approx(np.nanmax(surface.height_mm), abs=1e-6)


def test_some_lights_and_a_mask(folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((scene.SIDE, scene.SIDE), bool)
    mask[8:40, 10:44] = True
    cv2.imwrite(str(tmp_path / "m.png"), mask.astype(np.uint8) * 255)
    surface = rc.reconstruct(folder, mask=tmp_path / "m.png", leds=range(1, 9), method="lambert")
    assert surface.summary["leds"] == list(range(1, 9))
    assert not surface.mask[~mask].any()
    assert surface.mask[mask].mean() > 0.9


def test_progress_is_told_and_may_stop_it(folder: Path) -> None:
    told: list[tuple[str, float]] = []

    def stop(stage: str, fraction: float) -> None:
        told.append((stage, fraction))
        if len(told) > 2:
            raise rc.Stopped

    stopped = None
    try:
        stopped = rc.reconstruct(folder, method="refine", start="halfvector", progress=stop)
    except rc.Stopped:
        assert len(told) > 2
    if stopped is not None:
        assert stopped.summary["stopped"]


def test_a_stage_on_all_pixels_looks_at_the_stop_at_every_step(folder: Path) -> None:
    """On large pictures 7 s went by within one stage, and on a busy machine more."""
    told: list[tuple[str, float]] = []
    whole = rc.reconstruct(folder, method="refine", progress=lambda *now: told.append(now))
    assert len(told) > 1.5 * len(set(told)), "a stage is told again at each of its steps"
    again = [n for n in range(1, len(told)) if told[n] == told[n - 1] and told[n][1] >= 0.5]
    for stop_at in again[:: max(1, len(again) // 3)]:
        left = iter(range(stop_at))

        def progress(stage: str, fraction: float, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise rc.Stopped

        surface = rc.reconstruct(folder, method="refine", progress=progress)
        assert surface.summary["stopped"]
        assert np.nanmax(np.abs(surface.height_mm - whole.height_mm)) < 0.1


def test_what_it_has_to_say_goes_to_the_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reconstruct"):
        rc.reconstruct(folder)
    assert any("no height was given" in record.message for record in caplog.records)
    assert any(record.message.startswith("Method lambert") for record in caplog.records)


def test_what_does_not_tell_metal_from_matt_is_named(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(folder, few)
    listing = (few / "lights.lp").read_text().splitlines()
    (few / "lights.lp").write_text("\n".join(["5", *listing[1:6]]) + "\n")
    for path in sorted(few.glob("led_*.png"))[5:]:
        path.unlink()
    assert "5 pictures are too few" in rc.reconstruct(few).summary["plausibility"]["why"]
    speck = np.zeros((scene.SIDE, scene.SIDE), bool)
    speck[20:24, 20:24] = True
    why = rc.reconstruct(folder, mask=speck).summary["plausibility"]["why"]
    assert "too little of a part" in why


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"lights": np.zeros((3, 3))}, "one position"),
        ({"lights": None}, "no lights are known"),
        ({"camera": None}, "no camera is known"),
        ({"height_mm": 1e4}, "lies above the camera"),
        ({"height_mm": -1e5}, "10 times as far from the camera as the lights"),
        ({"method": "magic"}, "no method 'magic'"),
    ],
)
def test_what_does_not_fit_is_said(folder: Path, wrong: dict[str, object], sentence: str) -> None:
    given = {"camera": scene.camera(), "lights": scene.lights(), **wrong}
    with pytest.raises(rc.ReconstructError, match=sentence):
        rc.reconstruct(scene.codes(True), **given)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'heigth_mm'"):
        rc.reconstruct(folder, heigth_mm=3)  # type: ignore[call-arg]


def test_metal_gives_the_same_however_many_threads_blas_may_use(tmp_path: Path) -> None:
    """The fit adds up many numbers: with two threads of BLAS its last bits would differ."""
    from threadpoolctl import threadpool_limits

    folder = scene.write(tmp_path / "shiny", matt=False)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(rc.reconstruct(folder, method="refine", start="halfvector"))
    same(*found)
