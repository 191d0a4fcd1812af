"""The BLAS that NumPy itself computes with, found in this process: where its matrix product begins.

Native code calls it by address, so that large products run as fast as NumPy's and use the same
threads. NumPy's wheels carry OpenBLAS with 64-bit integers under names of their own
(`scipy_cblas_dgemm64_`), or on macOS use Apple's Accelerate; other builds load a library with the
plain names.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# How `cblas_dgemm` may be called, and the bytes of its integers.
_NAMES = (
    ("scipy_cblas_{}gemm64_", 8),
    ("cblas_{}gemm64_", 8),
    ("cblas_{}gemm$NEWLAPACK$ILP64", 8),
    ("scipy_cblas_{}gemm", 4),
    ("cblas_{}gemm", 4),
)
_ACCELERATE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"


@dataclass(frozen=True)
class Blas:
    """A library's matrix products."""

    library: str
    sgemm: int
    dgemm: int
    integer_bytes: int
    threads: Any
    """A function that returns how many threads it uses, or None."""
    set_threads: Any
    """A function that takes how many threads it shall use, or None."""

    def gemm(self, dtype: str) -> int:
        """Return the address of the product of float32 or float64 matrices."""
        return self.sgemm if dtype == "float32" else self.dgemm


@cache
def find() -> Blas | None:
    """Return NumPy's BLAS, or None if it cannot be told."""
    for path in _candidates():
        with contextlib.suppress(OSError):
            found = _from(path, ctypes.CDLL(path))
            if found is not None:
                return found
    return None


def _candidates() -> Iterator[str]:
    """Yield libraries that NumPy may have loaded, the likeliest first."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        yield from sorted(str(p) for p in folder.glob("*openblas*"))
    maps = Path("/proc/self/maps")
    if maps.exists():
        loaded = {line.split()[-1] for line in maps.read_text().splitlines() if ".so" in line}
        names = ("openblas", "mkl_rt", "blis", "libcblas", "libblas")
        for name in names:
            yield from sorted(path for path in loaded if name in Path(path).name)
    if sys.platform == "darwin":
        yield _ACCELERATE


def _from(path: str, library: ctypes.CDLL) -> Blas | None:
    for name, size in _NAMES:
        products = [getattr(library, name.format(kind), None) for kind in "sd"]
        if None in products:
            continue
        single, double = (_address(product) for product in products)
        if size == 4 and _has_long_integers(library):
            size = 8
        threads, setter = (_threads(library, f"{verb}_num_threads") for verb in ("get", "set"))
        return Blas(path, single, double, size, threads, setter)
    return None


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _has_long_integers(library: ctypes.CDLL) -> bool:
    """Tell whether an OpenBLAS with plain names was built with 64-bit integers."""
    config = getattr(library, "openblas_get_config", None)
    if config is None:
        return False
    config.restype = ctypes.c_char_p
    return b"USE64BITINT" in config()


def _threads(library: ctypes.CDLL, name: str) -> Any:
    for form in ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}"):
        function = getattr(library, form.format(name), None)
        if function is not None:
            return function
    return None
