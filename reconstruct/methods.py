"""The methods of reconstruction, behind one interface and by name.

A method turns a stack, a camera and lights into a surface. Modules are imported when asked for,
so that naming a method costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intake import plugins
from intake.errors import told_as
from reconstruct.errors import ReconstructError, RequestError
from reconstruct.refine.config import RefineConfig

if TYPE_CHECKING:
    from pathlib import Path

    from calib.camera import Camera
    from calib.lights import Lights
    from reconstruct.stack import Stack
    from reconstruct.surface import Surface

AUTO = "auto"  # in place of a method: the one that suits the part
MIN_LIGHTS = 4
# What the compiled kernels of `refine` have room for.
MAX_LIGHTS = 1024


def _quiet(message: str) -> None:
    """Say nothing."""


def _unseen(stage: str, fraction: float) -> None:
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class Options:
    """What every method may be told; each uses what it can.

    Attributes
    ----------
    height_mm : mean height of the visible surface above the stage: an input, not a result
    height_sigma_mm : its one-sigma uncertainty
    mask : (H, W) bool, True on the part; None for the whole image
    flat : (gh, gw, N) float32 smooth factors on the lights' irradiance over the image, sampled
        like a small picture of it (see `reconstruct.flat_field`); None for 1
    start : name of the method that gives `refine` its first surface ("auto" tries several)
    self_calibrate : solve light positions and powers along, their covariance being the prior
    uncertainty : estimate it (one-sigma maps); costs about a third of the time
    device : "cpu", "cuda", "cuda:1", …, or "auto" for a GPU where there is one
    weights : of the network, another file than the shipped one
    memory_gb : working memory there is; `refine` says if it may take more, and measures the same
    threads : CPU threads; 0 for all
    say : receives a line that the user should read
    refine : stages of `refine`
    progress : receives the stage that begins and the share of the work done, 0 to 1; if it raises
        `reconstruct.errors.Stopped`, `refine` returns the best surface so far, ``stopped`` in its
        summary
    """

    height_mm: float = 0.0
    height_sigma_mm: float = 1.0
    mask: NDArray[np.bool_] | None = None
    flat: NDArray[np.float32] | None = None
    start: str = "auto"
    self_calibrate: bool = False
    uncertainty: bool = True
    device: str = "cpu"
    weights: Path | None = None
    memory_gb: float = 4.0
    threads: int = 0
    say: Callable[[str], None] = _quiet
    refine: RefineConfig = field(default_factory=RefineConfig)
    progress: Callable[[str, float], None] = _unseen


Method = Callable[["Stack", "Camera", "Lights", Options], "Surface"]

# name -> "module:function"
METHODS: dict[str, str] = {
    "refine": "reconstruct.refine.method:refine",
    "dpps": "reconstruct.dpps.predict:dpps",
    "lambert": "reconstruct.classic:lambert",
    "halfvector": "reconstruct.classic:half_vector",
}


def available() -> tuple[str, ...]:
    """Names of the methods, those of plug-ins last."""
    return (*METHODS, *(name for name in plugins.offered(plugins.METHODS) if name not in METHODS))


def find(name: str) -> Method:
    """The method of a name; raises `ReconstructError` if there is none such."""
    if name not in available():
        raise ReconstructError(f"no method '{name}' (known: {', '.join(available())})")
    if name not in METHODS:
        with told_as(ReconstructError):
            added: Method = plugins.load(plugins.METHODS, name)
        return added
    module, _, function = METHODS[name].partition(":")
    method: Method = getattr(importlib.import_module(module), function)
    return method


def device_named(name: str) -> str:
    """The device of that name, "auto" resolved; torch is asked only about others than the CPU.

    Raises
    ------
    ReconstructError
        there is no such device here
    """
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(name)
    except RuntimeError:
        raise RequestError(
            f"there is no device '{name}': choose cpu, auto, or a GPU's name such as cuda"
        ) from None
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ReconstructError(
            f"the device '{name}' cannot be used ({reason}): choose cpu or auto"
        ) from error
    return name


def reconstruct(
    name: str, stack: Stack, camera: Camera, lights: Lights, options: Options | None = None
) -> Surface:
    """Check that the inputs belong together, then run a method.

    Raises
    ------
    ReconstructError
        fewer than four lights, lights missing for some pictures, or sizes that differ
    """
    options = options or Options()
    known = {int(led): index for index, led in enumerate(lights.ids)}
    unknown = [int(led) for led in stack.ids if int(led) not in known]
    if unknown:
        some = ", ".join(map(str, unknown[:8])) + ("…" if len(unknown) > 8 else "")
        raise ReconstructError(
            f"{len(unknown)} pictures have no calibrated light (LED {some}): calibrate these "
            "lights or leave their pictures out"
        )
    if len(stack) < MIN_LIGHTS:
        raise ReconstructError(
            f"a surface needs pictures under at least {MIN_LIGHTS} lights, got {len(stack)}"
        )
    if name == "refine" and len(stack) > MAX_LIGHTS:
        raise ReconstructError(
            f"refine takes at most {MAX_LIGHTS} pictures, got {len(stack)}: choose some with "
            "--leds, or another --method"
        )
    if camera.shape != stack.shape:
        raise ReconstructError(
            f"the camera's image is {camera.width}×{camera.height} px, the pictures are "
            f"{stack.shape[1]}×{stack.shape[0]}: this calibration belongs to another image size"
        )
    if options.mask is not None and options.mask.shape != stack.shape:
        raise ReconstructError(
            f"the mask is {options.mask.shape[1]}×{options.mask.shape[0]} px, the pictures are "
            f"{stack.shape[1]}×{stack.shape[0]}"
        )
    if options.mask is not None and not options.mask.any():
        raise ReconstructError("the mask leaves no pixel: nothing to reconstruct")
    options = replace(options, device=device_named(options.device))
    matched = lights.select(np.array([known[int(led)] for led in stack.ids]))
    return find(name)(stack, camera, matched, options)
