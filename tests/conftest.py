"""What holds for all tests: threads that wait for work sleep, workers compile one after another."""

import contextlib
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

# Read when the libraries are loaded, hence before any of them; workers beside each other would
# otherwise take the processor from each other by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the computer is, nothing of the code.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")

# Told before any test moves it.
LOCKS = Path(tempfile.gettempdir())


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """For ``-n auto`` two workers more than processors: devices in real time are waited for."""
    count = yield
    return count if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else count + 2


@contextlib.contextmanager
def one_process_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock that all processes of this user share."""
    import fcntl

    with (LOCKS / f"{name}-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pytest_sessionstart() -> None:
    """In a fresh clone several workers would each compile the same kernels.

    Who comes second finds what the first has left in the cache.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or os.name == "nt":
        return
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    compile_one, depth = Dispatcher.compile, 0

    def compile_alone(self: Dispatcher, signature: Any) -> Any:
        nonlocal depth
        with global_compiler_lock, contextlib.ExitStack() as stack:
            if depth == 0:
                stack.enter_context(one_process_at_a_time("rig-tests-compile"))
            depth += 1
            try:
                return compile_one(self, signature)
            finally:
                depth -= 1

    Dispatcher.compile = compile_alone
