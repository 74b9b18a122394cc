"""What holds for all tests: threads that wait for work sleep, as they do under `rig`."""

import os

# Read when the libraries are loaded, hence before any of them; workers beside each other would
# otherwise take the processor from each other by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the computer is, nothing of the code.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")
