"""The core cross-compiled for AArch64, its own tests run by an emulator: NEON kernels and the portable ones.

On Debian: `apt install cmake g++-aarch64-linux-gnu qemu-user`.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
LIBRARIES = "/usr/aarch64-linux-gnu"
MISSING = [tool for tool in ("cmake", "ctest", COMPILER, EMULATOR) if not shutil.which(tool)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"cross-compiling needs {', '.join(MISSING)}, which are not here"),
]


def run(*command, **environment):
    found = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2", **environment}, check=False
    )
    assert found.returncode == 0, (found.stdout + found.stderr)[-4000:]
    return found.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aarch64")
    options = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_CXX_COMPILER": COMPILER,
        "CMAKE_CROSSCOMPILING_EMULATOR": f"{EMULATOR};-L;{LIBRARIES}",
        "NORMKIT_PYTHON": "OFF",
        "NORMKIT_TESTS": "ON",
    }
    run("cmake", "-S", str(ROOT), "-B", str(folder), *(f"-D{name}={value}" for name, value in options.items()))
    run("cmake", "--build", str(folder))
    return folder


def test_the_cores_own_tests_pass_with_neon_and_without(build):
    said = run("ctest", "--test-dir", str(build), "--verbose", NORMKIT_FUZZ_CALLS="100")
    sources = list((ROOT / "native" / "tests").glob("test_*.cpp"))
    assert f"100% tests passed, 0 tests failed out of {len(sources)}" in said
    for kernels in ("neon", "portable"):
        assert said.count(f"{kernels}: 0 failures") == len(sources), said[-4000:]
