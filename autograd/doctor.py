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
    "llvmlite": "native plans; python -m pip install 'loopgrad[native]'",
    "safetensors": "files of weights; python -m pip install 'loopgrad[files]'",
    "tqdm": "progress bars of training and of the demos",
    "matplotlib": "loss curves of the demos",
    "hypothesis": "property tests",
}
THREAD_SETTINGS = (
    "LOOPGRAD_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
# OpenBLAS' names of kernel sets, and the processor flags (of Linux) that each one needs.
CORE_TYPES = {
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "Cooperlake": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"},
    "SapphireRapids": {"avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_bf16"},
}
WORTH_TELLING = 1.15
"""How many times faster another kernel set must be: less is noise."""
PRODUCT = """
import time
import numpy
a = numpy.ones((640, 640), "float32")
out = a @ a
best = 1e9
for _ in range(8):
    start = time.process_time()  # of one thread: what else the machine does matters little
    numpy.matmul(a, a, out=out)
    best = min(best, time.process_time() - start)
print(2 * 640**3 / best)
"""


def report() -> list[Section]:
    """Return the report as (section, lines) pairs; the last section is "Problems"."""
    return [
        ("Versions", _versions()),
        ("Packages", _packages()),
        ("Optional parts", _optional_parts()),
        ("Threads", _thread_settings()),
        ("Matrix products", _core_type_lines()),
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


def processor_name() -> str:
    """Return what the processor calls itself, as far as the system tells."""
    named = [line for line in _processor_lines() if line.startswith("model name")]
    return named[0].partition(":")[2].strip() if named else platform.processor() or "unknown"


def fastest_core_type() -> str | None:
    """Return the OPENBLAS_CORETYPE with which products are clearly faster, None if there is none.

    OpenBLAS chooses its kernels by the processor's model and does not know every model: on some
    with AVX-512 it takes those for AVX2. Measured are the kernel sets that can run here, each in a
    process of its own; the winner again, and the choice of OpenBLAS as well.
    """
    rates = core_type_rates()
    best = max(rates, key=lambda name: rates[name], default="")
    if not best or rates[best] < WORTH_TELLING * rates[""]:
        return None
    usual, again = _product_rate(""), _product_rate(best)
    if usual is None or again is None:
        return None
    return best if again > WORTH_TELLING * usual else None


def core_type_rates() -> dict[str, float]:
    """Return the operations a second of a float32 product by core type; "" is the default.

    Empty where NumPy's BLAS is another one, or the processor's flags are not known.
    """
    if "openblas" not in _blas_name().lower():
        return {}
    flags = _processor_flags()
    usable = [name for name, needed in CORE_TYPES.items() if needed <= flags]
    rates = {name: _product_rate(name) for name in ["", *usable]} if usable else {}
    found = {name: rate for name, rate in rates.items() if rate is not None}
    return found if "" in found else {}


def _product_rate(core_type: str) -> float | None:
    """Return the rate of a product in a fresh process, None if that fails."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    environment["OPENBLAS_NUM_THREADS"] = environment["OMP_NUM_THREADS"] = "1"
    if core_type:
        environment["OPENBLAS_CORETYPE"] = core_type
    command = [sys.executable, "-P", "-c", PRODUCT]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, env=environment, check=True
        )
        return float(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _core_type_lines() -> list[str]:
    rates = core_type_rates()
    if not rates:
        return []
    listed = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items() if name)
    lines = [
        f"float32: {rates[''] / 1e9:.0f} GF/s a core by OpenBLAS' own choice of kernels ({listed})"
    ]
    chosen = os.environ.get("OPENBLAS_CORETYPE", "")
    best = max(rates, key=lambda name: rates[name])
    gain = rates[best] / rates.get(chosen, rates[""])
    if gain >= WORTH_TELLING:
        lines.append(
            f"{best} kernels are {gain:.2f} times as fast as those in use; before Python starts: "
            f"export OPENBLAS_CORETYPE={best}"
        )
    return lines


def _blas_name() -> str:
    try:
        import numpy
    except ImportError:
        return ""
    built = numpy.show_config(mode="dicts")  # type: ignore[call-overload,func-returns-value,unused-ignore]
    return str(built.get("Build Dependencies", {}).get("blas", {}).get("name", ""))


def _processor_flags() -> set[str]:
    """Return the processor's flags, as Linux names them; none on other systems."""
    flags = [line for line in _processor_lines() if line.startswith("flags")]
    return set(flags[0].partition(":")[2].split()) if flags else set()


def _processor_lines() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


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
