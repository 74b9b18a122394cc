"""What the fit does, and why: one switch for every stage.

The noise of the pictures is known, so what a perfect model would leave is known: the square of the
noise of a √-picture for each pixel and light. A stage runs only where more than that is left, and
is kept only if it lowers the cost by its `gain`. What each stage did is in ``summary.json``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RefineConfig:
    """Stages of the fit and what they must gain.

    Attributes
    ----------
    starts : first surfaces in the order of their price; the search ends with the first that
        explains its pictures. The half vector costs nothing; the network finds what the half
        vector misses on steep parts; the plane never won and is there to be asked for
    inter_reflection : light that reaches the camera by another place of the part; a steep copper
        part is 20 times worse without it
    linearised_transport : that light moves with the slopes (its Jacobian and its adjoint); walls
        that only other walls light are told by nothing else
    late_start : the network at full size, where no surface explains the coarse pictures
    lay : a direction of the finish (brushed, turned)
    material_map : places with a material of their own (dirt, oxide)
    response : the lens's blur and the area of a pixel
    explained : cost over the noise's, up to which nothing is left to explain: a sensor's gain is
        known to some ten per cent, and LEDs of finite size and speckle add as much
    response_gain, material_gain : share of the cost that these must leave at most
    """

    starts: tuple[str, ...] = ("halfvector", "dpps")
    inter_reflection: bool = True
    linearised_transport: bool = True
    late_start: bool = True
    lay: bool = True
    material_map: bool = True
    response: bool = True
    explained: float = 1.2
    response_gain: float = 0.93
    material_gain: float = 0.85
