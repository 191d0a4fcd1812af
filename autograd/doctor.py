"""Report what LoopGrad runs on, and what is wrong with the installation.

``python -m autograd.doctor``, or ``python path/to/autograd/doctor.py`` when the package refuses to
be imported. The exit status is 1 if anything is wrong. This module imports nothing of LoopGrad, so
it also works where the rest does not.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
if sys.path and os.path.abspath(sys.path[0]) == FOLDER:
    # Run as a file: Python put this folder first, where our modules (and a foreign `numpy` among
    # them) would hide top-level ones. Its parent is what `python -m` would have put there.
    sys.path[0] = os.path.dirname(FOLDER)

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
from collections.abc import Iterable

Section = tuple[str, list[str]]

DISTRIBUTION = "loopgrad"
PACKAGES = ("autograd", "loops", "nn")
NUMPY_AT_LEAST = (2, 0)
OPTIONAL_PARTS = {
    "graphviz": "the Python interface of the `dot` program",
    "tqdm": "progress bars of the demos",
    "matplotlib": "loss curves of the demos",
    "hypothesis": "property tests",
}
THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def report() -> list[Section]:
    """Return the report as (section, lines) pairs; the last section is "Problems"."""
    return [
        ("Versions", _versions()),
        ("Packages", _packages()),
        ("Optional parts", _optional_parts()),
        ("Threads", _thread_settings()),
        ("Problems", problems()),
    ]


def problems() -> list[str]:
    """Return one line for each thing that is wrong; empty if nothing is."""
    return _numpy_problems() + _package_problems() + _foreign_problems()


def main() -> int:
    """Print the report and return the exit status: 1 if it names a problem."""
    sections = report()
    for title, lines in sections:
        print(title)
        for line in lines or ["none"]:
            print(f"  {line}")
    return 1 if sections[-1][1] else 0


def _versions() -> list[str]:
    python = f"Python {platform.python_version()} ({sys.executable})"
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    loopgrad = f"LoopGrad {_version_of(DISTRIBUTION) or 'not installed, run from its source tree'}"
    return [loopgrad, python, system, *_numpy_versions()]


def _numpy_versions() -> list[str]:
    try:
        import numpy
    except ImportError:
        return ["NumPy not importable"]
    built = numpy.show_config(mode="dicts")  # type: ignore[call-overload,func-returns-value,unused-ignore]
    blas = built["Build Dependencies"]["blas"]
    details = blas.get("openblas configuration") or blas.get("version", "unknown version")
    return [f"NumPy {numpy.__version__} ({_folder_of('numpy')})", f"BLAS {blas['name']}: {details}"]


def _packages() -> list[str]:
    return [f"{name}: {_folder_of(name) or 'not found'}" for name in PACKAGES]


def _optional_parts() -> list[str]:
    lines = [_pygraphviz_line(), f"dot: {_dot_version()}"]
    for name, purpose in OPTIONAL_PARTS.items():
        lines.append(f"{name}: {_version_of(name) or 'not installed'} ({purpose})")
    return lines


def _pygraphviz_line() -> str:
    purpose = "pictures without a system Graphviz; python -m pip install 'loopgrad[draw]'"
    try:
        import pygraphviz
    except ImportError as error:
        return f"pygraphviz: not available, {error} ({purpose})"
    graphviz = getattr(pygraphviz, "__graphviz_version__", "of unknown version")
    return f"pygraphviz: {pygraphviz.__version__} with Graphviz {graphviz} ({purpose})"


def _dot_version() -> str:
    path = shutil.which("dot")
    if path is None:
        return "not on the PATH"
    try:
        answer = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run: {error}"
    return f"{path}, {(answer.stderr or answer.stdout).strip()}"


def _thread_settings() -> list[str]:
    return [f"{name}={os.environ[name]}" for name in THREAD_SETTINGS if name in os.environ]


def _numpy_problems() -> list[str]:
    at_least = ".".join(map(str, NUMPY_AT_LEAST))
    version = _version_of("numpy")
    if version is None:
        return [f"NumPy is not installed: python -m pip install 'numpy>={at_least}'"]
    if tuple(int(part) for part in version.split(".")[:2]) < NUMPY_AT_LEAST:
        return [f"NumPy {version} is too old: python -m pip install 'numpy>={at_least}'"]
    return []


def _package_problems() -> list[str]:
    lines = []
    for name in PACKAGES:
        expected = os.path.join(os.path.dirname(FOLDER), name)
        found = _folder_of(name)
        if found is None:
            lines.append(f"Python does not find '{name}': expected in {expected}")
        elif not _same(found, expected):
            lines.append(f"Python finds '{name}' in {found}, not beside this doctor in {expected}")
    return lines


def _foreign_problems() -> list[str]:
    lines = []
    for distribution, folder, count in _foreign_claims(importlib.metadata.distributions()):
        relation = "mixed into" if _same(folder, _our_folder(folder)) else "that can hide"
        lines.append(
            f"distribution '{distribution}' has {count} files in {folder}, {relation} LoopGrad's: "
            f"python -m pip uninstall -y {distribution.split()[0]} {DISTRIBUTION}, then install "
            "LoopGrad again"
        )
    if not lines and os.path.exists(os.path.join(FOLDER, "numpy", "__init__.py")):
        lines.append(
            f"{FOLDER} holds files of HIPS Autograd that no distribution lists: delete it "
            f"and install {DISTRIBUTION} again"
        )
    return lines


def _foreign_claims(
    distributions: Iterable[importlib.metadata.Distribution],
) -> list[tuple[str, str, int]]:
    """Return (distribution, folder, number of files) of others that use our import names."""
    # Sets, because a folder that is twice on sys.path brings its distributions twice.
    claims: dict[tuple[str, str], set[str]] = {}
    for distribution in distributions:
        name = str(distribution.name)  # None where an interrupted installation left no metadata
        if name.lower() == DISTRIBUTION:
            continue
        for file in distribution.files or []:
            if len(file.parts) > 1 and file.parts[0] in PACKAGES:
                folder = str(distribution.locate_file(file.parts[0]))
                claim = (f"{name} {distribution.version}", os.path.realpath(folder))
                claims.setdefault(claim, set()).add(file.as_posix())
    return [(*claim, len(files)) for claim, files in sorted(claims.items())]


def _our_folder(folder: str) -> str:
    return os.path.join(os.path.dirname(FOLDER), os.path.basename(folder))


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _folder_of(package: str) -> str | None:
    """Return where Python would import a top-level package from, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(spec.submodule_search_locations))


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
