"""Matrix products of native code, small, packed and by NumPy's BLAS, against NumPy."""

import ctypes
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograd.execute.native import blas, products
from autograd.execute.native.compiler import compiled, machine
from tests.native_kernels import WIDTHS

FLOATS = (np.float32, np.float64)
SIZES = [
    *[(1, 1, 1), (1, 16, 16), (3, 17, 5), (4, 256, 64), (5, 33, 40), (1, 7, 0), (0, 3, 3)],
    *[(2, 0, 3), (2, 100, 31), (17, 64, 64), (40, 50, 300), (33, 129, 257), (6, 1, 9)],
    *[(18, 600, 150), (515, 40, 70)],
]
POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64
rng = np.random.default_rng(13)


@cache
def functions(width: int = 0):
    """Return all functions on matrices, by name."""
    module = machine().module()
    wide = width or machine().vector_bytes
    for dtype in ("float32", "float64"):
        products.write(module, dtype, wide, blas.find())
        products.write_packed(module, dtype, wide)
    code = compiled(module)
    signatures = {
        products.name: (*(POINTER, NUMBER, NUMBER) * 3, *(NUMBER,) * 4, POINTER, POINTER),
        products.pack_name: (POINTER, *(NUMBER,) * 4, POINTER),
        products.packed_name: (POINTER, NUMBER, NUMBER, POINTER, POINTER, *(NUMBER,) * 5, POINTER),
    }
    return {
        name(dtype): code.function(name(dtype), *arguments)
        for name, arguments in signatures.items()
        for dtype in ("float32", "float64")
    }


def place(x: np.ndarray) -> list[int]:
    return [x.ctypes.data, *(s // x.itemsize for s in x.strides)]


def multiply(a, b, c, add=False, large=False, width=0, desk=0):
    """Compute c = a @ b (or add it); with `large` by BLAS, if the library thinks it large."""
    gemm = blas.find().gemm(b.dtype.name) if large else 0
    sizes = (*c.shape, a.shape[1])
    run = functions(width)[products.name(b.dtype.name)]
    run(*place(a), *place(b), *place(c), *sizes, int(add), gemm, desk)


def multiply_packed(a, b, c, add=False, width=0, desk=0):
    dtype, (k, n) = b.dtype.name, b.shape
    wide = width or machine().vector_bytes
    size = products.packed_size(k, n, dtype, wide)
    packed = np.full(size + 1, np.nan, b.dtype)
    functions(width)[products.pack_name(dtype)](*place(b), k, n, packed.ctypes.data)
    assert np.isnan(packed[size])
    run = functions(width)[products.packed_name(dtype)]
    rows = c.strides[0] // c.itemsize
    run(*place(a), packed.ctypes.data, c.ctypes.data, rows, *c.shape, k, int(add), desk)


def matrix(shape, dtype, layout):
    if layout == "transposed":
        return rng.normal(size=shape[::-1]).astype(dtype).T
    if layout == "apart":
        return rng.normal(size=(2 * shape[0], 3 * shape[1])).astype(dtype)[::2, ::3]
    if layout == "backwards":
        return rng.normal(size=shape).astype(dtype)[::-1, ::-1]
    return rng.normal(size=shape).astype(dtype)


def check(run, size, dtype, layouts, add):
    m, n, k = size
    a, b = matrix((m, k), dtype, layouts[0]), matrix((k, n), dtype, layouts[1])
    wide = np.full((m, n + 3), 7.0, dtype)
    c = wide[:, :n]
    wanted = a.astype(np.float64) @ b.astype(np.float64) + (7 if add else 0)
    run(a, b, c, add=add)
    tolerance = {np.float32: 3e-5, np.float64: 1e-13}[dtype] * max(k, 1) ** 0.5
    np.testing.assert_allclose(c, wanted, rtol=tolerance, atol=tolerance)
    assert np.all(wide[:, n:] == 7)


LAYOUTS = ["plain", "transposed", "apart", "backwards"]


@pytest.mark.parametrize("way", [multiply, multiply_packed])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_products_of_all_layouts(dtype, size, way):
    for left in LAYOUTS:
        for right in LAYOUTS:
            check(way, size, dtype, (left, right), add=left == right)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_all_widths_of_vectors(dtype, width):
    for way in (multiply, multiply_packed):
        check(
            lambda a, b, c, add, way=way: way(a, b, c, add, width=width),
            (19, 75, 140),
            dtype,
            ("plain", "plain"),
            add=True,
        )


@pytest.mark.skipif(blas.find() is None, reason="NumPy's BLAS was not found")
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_large_products_are_numpys_own(dtype, add):
    size = (130, 128, 127)
    assert np.prod(size) > products.SMALL
    for left in LAYOUTS:
        for right in LAYOUTS:
            large = lambda a, b, c, add: multiply(a, b, c, add, large=True)  # noqa: E731
            check(large, size, dtype, (left, right), add)
    a, b = matrix(size[::2], dtype, "plain"), matrix((127, 128), dtype, "plain")
    c = np.zeros((130, 128), dtype)
    multiply(a, b, c, large=True)
    np.testing.assert_array_equal(c, a @ b)


def test_nan_and_infinity_go_where_they_belong():
    a, b = np.ones((3, 4)), np.ones((4, 5))
    a[1, 2], b[0, 3] = np.nan, np.inf
    c = np.empty((3, 5))
    for way in (multiply, multiply_packed):
        way(a, b, c)
        np.testing.assert_array_equal(c, a @ b)


@pytest.mark.skipif(blas.find() is None, reason="NumPy's BLAS was not found")
def test_the_blas_that_is_found_is_numpys():
    found = blas.find()
    if sys.platform == "linux":
        assert found.library in Path("/proc/self/maps").read_text()
    assert found.integer_bytes in (4, 8)
    assert found.sgemm != found.dgemm
    assert found.threads is None or found.threads() >= 1


def test_without_openblas_nothing_is_taken_for_it(monkeypatch):
    monkeypatch.setattr(blas, "_candidates", lambda: iter(["/no/such/library.so"]))
    assert blas.find.__wrapped__() is None
    monkeypatch.setattr(blas, "_candidates", lambda: iter([None]))  # this process, without a BLAS
    assert blas.find.__wrapped__() is None
