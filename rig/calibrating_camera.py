"""What ``rig calibrate-camera`` does: a target to print, boards found, a camera solved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.board import Board, to_grey8, write_target
from calib.errors import CalibrationError
from calib.intrinsics import BoardView, CameraCalibration, calibrate_camera, covered, find_board
from calib.pictures import read_raw, refuse_missing
from calib.which_board import which_board
from capture.claim import Claim, claim
from capture.plan import Shot
from intake.names import is_picture, natural
from rig.calibrating import put_aside
from rig.exits import GOOD, UsageError
from rig.stagehand import stagehand_of
from rig.workspace import Workspace

FLAT_DEG = 15.0
"""By which the camera of a rig, which looks down, may be off the stage's normal unremarked."""


@dataclass(frozen=True)
class Order:
    """What was typed for ``rig calibrate-camera``."""

    source: Path | None
    target: Path | None
    board: str
    square_mm: float
    kind: str
    stage: str | None = None
    thickness_mm: float = 0.0
    out: Path | None = None
    replace: bool = False
    workspace: Path | None = None
    simulate: bool = False
    size: str | None = None
    views: int = 12
    paper: str = "A4"
    seed: int = 0
    yes: bool = False


def run(order: Order) -> int:
    """Carry out an order; returns the exit code."""
    board = board_of(order)
    if order.target is not None:
        if order.target.exists() and not order.replace:
            raise UsageError(f"{order.target} exists: name another file, or --replace it")
        write_target(order.target, board, order.paper)
        print(f"{order.target}: print it at 100 % on {order.paper} and glue it to something flat")
        return GOOD
    out = order.out or Workspace.at(order.workspace).calibration / "camera.json"
    if out.exists() and not order.replace:
        raise UsageError(f"{out} exists: name another --out, or --replace it")
    with claim(out, replacing=order.replace) as claimed:
        return _calibrated(order, board, claimed)


def _calibrated(order: Order, board: Board, out: Claim) -> int:
    if order.source is None:
        pictures = _live(order, board)
    else:
        read = list(_folder(order.source))
        board, words = which_board([image for _, image in read], board)
        if words is not None:
            print(f"Note: the pictures show {words}; that is taken, and not what was named")
        pictures = iter(read)
    views, shape, names = collect(pictures, board)
    stage = _stage(order, views, names)
    result = calibrate_camera(
        views, board, shape, stage=stage, board_thickness_mm=order.thickness_mm
    )
    tilt = float(np.degrees(np.arccos(np.clip(-result.camera.R[2, 2], -1, 1))))
    if order.stage is None and tilt > FLAT_DEG:
        print(
            f"Note: the board in {stage} is tilted by {tilt:.0f}° against the sensor and was taken "
            "to lie on the stage; name the picture in which it does with --stage"
        )
    result.camera.write(out.file)
    out.publish_files(put_aside)
    print(summary(result))
    print(f"Camera in {out.target}")
    return GOOD


def board_of(order: Order) -> Board:
    match = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", order.board.strip())
    if match is None or order.kind not in ("charuco", "chessboard"):
        raise UsageError("give the board as --board 13x9 and its kind as charuco or chessboard")
    board = Board(int(match[1]), int(match[2]), order.square_mm, order.kind)  # type: ignore[arg-type]
    board.check()
    return board


def collect(
    pictures: Iterator[tuple[str, NDArray[np.uint8]]], board: Board
) -> tuple[list[BoardView], tuple[int, int], list[str]]:
    """Boards in all pictures, with a running count of what they cover; all pictures' names."""
    views: list[BoardView] = []
    shape: tuple[int, int] | None = None
    names: list[str] = []
    for name, image in pictures:
        names.append(name)
        height, width = image.shape
        if shape is not None and shape != (height, width):
            raise UsageError(
                f"{name} has {width} × {height} pixels, the pictures before {shape[1]} × {shape[0]}"
            )
        shape = height, width
        view = find_board(name, image, board)
        if view is None:
            print(f"{name}: no board found")
            continue
        views.append(view)
        seen = "1 view covers" if len(views) == 1 else f"{len(views)} views cover"
        print(
            f"{name}: {len(view.index)} corners; {seen} "
            f"{100 * covered(views, shape):.0f} % of the picture"
        )
    if shape is None:
        raise CalibrationError("there are no pictures of a board")
    return views, shape, names


def _stage(order: Order, views: list[BoardView], names: list[str]) -> str:
    """The picture that fixes the stage; none is guessed where the board is not found in it."""
    wanted = order.stage or names[-1]
    for view in views:
        if wanted in (view.name, Path(view.name).stem):
            return view.name
    if order.stage is not None:
        raise UsageError(f"no board was found in the picture '{order.stage}' named with --stage")
    raise CalibrationError(
        f"no board was found in the last picture, {wanted}, which fixes the stage: take it again "
        "without glare, or name the picture in which the board lies flat on the stage with --stage"
    )


def _folder(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    refuse_missing(folder)
    paths = [p for p in folder.iterdir() if is_picture(p)]
    if not paths:
        raise CalibrationError(f"{folder} holds no pictures: name the folder they lie in")
    for path in sorted(paths, key=natural):
        yield path.name, to_grey8(read_raw(path))


def _live(order: Order, board: Board) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    from rig.calibrating_live import asker
    from rig.calibration_scene import BoardScene
    from rig.capturing import configuration
    from rig.session import open_rig

    workspace = Workspace.at(order.workspace)
    config, text = configuration(workspace, order.simulate, order.size)
    scene = None
    if order.simulate:
        scene = BoardScene(board, order.views, order.seed, config.virtual.shape)
    stagehand = stagehand_of(config)
    ask = asker(False)
    with open_rig(config, scene=scene, config_text=text, seed=order.seed) as rig:
        for number in range(1, order.views + 1):
            last = number == order.views
            if scene is not None:
                scene.show(number - 1)
            elif stagehand is not None:
                stagehand.board(number - 1, order.views, **asdict(board))
            elif not order.yes:
                where = "flat on the stage" if last else "elsewhere, tilted another way"
                ask(f"View {number} of {order.views}: board {where}, room light on")
            exposure = rig.sync.expose(config.camera.exposure_ms * 1000)
            shot = Shot(0, "dark", 0, 1.0, exposure, 0)
            picture = next(iter(rig.sync.take([shot], 1)))
            yield f"view {number}", to_grey8(picture.frame.pixels)


def summary(result: CameraCalibration) -> str:
    camera = result.camera
    assert camera.covariance is not None
    sigma = np.sqrt(np.diag(camera.covariance))
    K = camera.K
    worst = int(np.argmax(result.rms_px))
    return "\n".join(
        [
            f"{len(result.names)} views, corners to {result.sigma_px:.3f} px, worst "
            f"{result.names[worst]} {result.rms_px[worst]:.3f} px",
            f"  focal length     {K[0, 0]:.2f} ± {sigma[0]:.2f}, {K[1, 1]:.2f} ± {sigma[1]:.2f} px",
            f"  principal point  {K[0, 2]:.2f} ± {sigma[2]:.2f}, {K[1, 2]:.2f} ± {sigma[3]:.2f} px",
            f"  distortion       k1 {camera.dist[0]:.5f} ± {sigma[4]:.5f}, k2 {camera.dist[1]:.5f} "
            f"± {sigma[5]:.5f}",
            f"  camera           {camera.centre_mm[2]:.2f} mm above the stage, a pixel is "
            f"{1000 * camera.pixel_mm():.1f} µm",
        ]
    )
