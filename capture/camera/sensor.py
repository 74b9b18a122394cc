"""An image sensor as arithmetic: expected photo-electrons in, counts out, in the physical order.

photons → shot noise → dark current → full well → read noise → gain → black level → quantisation.
The model is the EMVA 1288 linear camera (release 4.0, section 2) with saturation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Above this many expected electrons a normal variate stands in for a Poisson one; skewness, the
# first moment that differs, is then below 0.15.
_NORMAL_ABOVE_E = 48.0


@dataclass(frozen=True)
class Sensor:
    """The constants of one sensor.

    `black_level` is a fraction of full scale; at 0 dB a full well spans the whole scale, so
    counts / full_scale = electrons / full_well + black_level, and the converter clips first.
    """

    full_well_e: float = 12_000.0
    read_noise_e: float = 3.0
    dark_current_e_per_s: float = 2.0
    black_level: float = 0.004
    psf_sigma_px: float = 0.0


def expose(
    electrons: NDArray[np.float32],
    exposure_us: float,
    gain_db: float,
    bits: int,
    sensor: Sensor,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Counts that `sensor` delivers for an exposure.

    Parameters
    ----------
    electrons : (H, W) float32, expected photo-electrons per pixel before the lens blurs them.
    exposure_us : length of the window in µs; dark current adds to the signal over it.
    gain_db : analogue gain, 20 dB per decade, applied behind the read noise.
    bits : depth of the converter, 8 to 16.
    rng : source of all noise; the same state gives the same picture.

    Returns
    -------
    (H, W) uint16, counts 0 … 2**bits − 1.
    """
    if sensor.psf_sigma_px > 0:
        electrons = np.asarray(
            cv2.GaussianBlur(
                electrons, (0, 0), sensor.psf_sigma_px, borderType=cv2.BORDER_REFLECT_101
            ),
            dtype=np.float32,
        )
    expected = electrons + np.float32(sensor.dark_current_e_per_s * exposure_us * 1e-6)
    charge = rng.standard_normal(expected.shape, dtype=np.float32)
    charge *= np.sqrt(expected)
    charge += expected
    few = expected < _NORMAL_ABOVE_E
    charge[few] = rng.poisson(expected[few])
    np.clip(charge, 0.0, sensor.full_well_e, out=charge)
    charge += np.float32(sensor.read_noise_e) * rng.standard_normal(
        expected.shape, dtype=np.float32
    )
    full_scale = float(2**bits - 1)
    gain = 10.0 ** (gain_db / 20.0)
    charge *= np.float32(gain * full_scale / sensor.full_well_e)
    charge += np.float32(sensor.black_level * full_scale + 0.5)  # + 0.5: truncation rounds
    np.clip(charge, 0.0, full_scale, out=charge)
    return charge.astype(np.uint16)
