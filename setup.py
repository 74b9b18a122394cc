"""What pyproject.toml cannot say: the GenTL producer and the firmware are compiled if they can be.

Without a compiler, or on a system without POSIX sockets, the installation goes on without them;
'rig doctor' then says how to get them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from capture.gentl.build import build_firmware, build_producer, c_compiler  # noqa: E402


class BuildWithProducer(build_py):
    """Copies the packages, then compiles into the copy (or beside the sources, if editable)."""

    def run(self) -> None:
        super().run()
        root = HERE if self.editable_mode else Path(self.build_lib)
        folder = root / "capture" / "gentl"
        folder.mkdir(parents=True, exist_ok=True)
        for build in (build_producer, build_firmware):
            try:
                build(folder)
            except subprocess.CalledProcessError as error:
                print(f"warning: {build.__name__} failed: {error.stderr}", file=sys.stderr)
            except OSError as error:
                print(f"warning: {build.__name__} was left out: {error}", file=sys.stderr)


class Binary(Distribution):
    """Belongs to this platform where something is compiled."""

    def has_ext_modules(self) -> bool:
        return c_compiler() is not None


class PlatformWheel(bdist_wheel):
    """A wheel for any Python 3: what is compiled does not link it."""

    def get_tag(self) -> Any:
        python, abi, platform = super().get_tag()
        return (python, abi, platform) if self.root_is_pure else ("py3", "none", platform)


setup(distclass=Binary, cmdclass={"build_py": BuildWithProducer, "bdist_wheel": PlatformWheel})
