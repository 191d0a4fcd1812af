"""What all tests share: the checkout, fresh Python processes, and hypothesis' profiles."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from autograd.backend import VARIABLE

ROOT = Path(__file__).resolve().parent.parent

# Tests must say the same on a busy machine as on an idle one, and the same twice.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("exploring", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code in a folder of this run, which its workers (pytest-xdist) share."""
    if "LOOPGRAD_CACHE" not in os.environ:
        folder = tempfile.mkdtemp(prefix="loopgrad-tests-")
        os.environ["LOOPGRAD_CACHE"] = folder  # workers inherit it
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--numpy-errors",
        choices=("warn", "raise"),
        default="warn",
        help="run every test under np.errstate(all=...); 'warn' leaves NumPy's default",
    )
    parser.addoption(
        "--backend",
        choices=("reference", "numpy", "native"),
        default=None,
        help="run every test with graphs, and loops on tensors, run by this backend",
    )


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Make a backend the default of this process, all its threads, and those it starts."""
    name = request.config.getoption("--backend")
    if name is not None and request.node.get_closest_marker("reference_only"):
        name = "reference"
    if name is not None:
        monkeypatch.setenv(VARIABLE, name)
        monkeypatch.setattr(sys.modules["autograd.backend"], "_default", name)


@pytest.fixture(autouse=True)
def numpy_errors(request: pytest.FixtureRequest):
    if request.config.getoption("--numpy-errors") == "warn":
        yield
        return
    with np.errstate(all="raise"):
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the checkout."""
    return ROOT


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run `python *arguments` in a process of its own, with `path` as the only extra sys.path.

    The process starts in an empty folder and sees the packages of this checkout, unless `path`
    says otherwise. Returns the completed process; the caller looks at its exit status.
    """
    empty = tmp_path / "working_directory"
    empty.mkdir()

    def run(*arguments: str, path: Path = ROOT, **environment: str):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=empty,
            env={**os.environ, "PYTHONPATH": str(path), **environment},
        )

    return run
