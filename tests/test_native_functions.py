"""exp, tanh, log and their like of native code: errors in units in the last place."""

import ctypes
import math
from functools import cache

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import mpmath

from autograd.execute.native.compiler import compiled, machine
from autograd.execute.native.functions import FUNCTIONS, apply
from autograd.execute.native.ir import I64, PTR, VOID, vector
from autograd.execute.native.rules import TYPES

FLOATS = (np.float32, np.float64)


@cache
def native(name: str, dtype: type, width: int = 0):
    """Return one of the functions on NumPy arrays of one length, a multiple of 16."""
    module = machine().module()
    scalar = TYPES[np.dtype(dtype).name]
    type = vector(scalar, (width or machine().vector_bytes) // scalar.size)
    f = module.function("map", VOID, [I64, PTR, PTR])
    n, x, y = f.arguments
    with f.range(n, step=type.lanes) as i:
        f.store(apply(name, f.load(type, x, i)), y, i)
    f.give()
    run = compiled(module).function("map", ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)

    def call(values: np.ndarray) -> np.ndarray:
        padded = np.zeros(-(-values.size // 16) * 16, dtype)
        padded[: values.size] = values
        result = np.empty_like(padded)
        run(padded.size, padded.ctypes.data, result.ctypes.data)
        return result[: values.size]

    return call


def samples(dtype: type, count: int = 50_000) -> np.ndarray:
    """Return numbers of all sizes: random bits, a dense logarithmic grid, around 0, 1 and edges."""
    rng = np.random.default_rng(7)
    limits = np.finfo(dtype)
    unsigned = np.dtype(f"u{limits.bits // 8}")
    bits = rng.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True).view(dtype)
    sizes = np.exp(np.linspace(np.log(1e-30), np.log(800), count)).astype(dtype)
    near_one = (1 + rng.uniform(-0.6, 0.6, count) * 10.0 ** rng.uniform(-16, 0, count)).astype(
        dtype
    )
    subnormal = (limits.smallest_subnormal * rng.integers(1, 2**20, 1000)).astype(dtype)
    special = [0.0, np.inf, np.nan, limits.tiny, limits.smallest_subnormal, limits.max, 1, 8, 0.5]
    edges = np.concatenate([-np.linspace(87, 104, 999), -np.linspace(708, 746, 999)]).astype(dtype)
    positive = np.concatenate([sizes, near_one, subnormal, np.array(special, dtype), edges])
    return np.concatenate([bits, positive, -positive])


def ulps(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the errors of `y`, in units of the last place that `exact` would have in its format.

    An infinity counts as the number that follows the largest one. NaN in one of both is infinitely
    wrong, and so are an infinity and a zero of the wrong sign.
    """
    limits = np.finfo(y.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(y.dtype)
        same = (y == rounded) & (np.signbit(y) == np.signbit(rounded)) & ~np.isfinite(rounded)
        same |= np.isnan(y) & np.isnan(exact)
        exponent = np.frexp(np.where(np.isfinite(exact), exact, 1))[1] - 1
        unit = np.ldexp(np.longdouble(1), np.maximum(exponent, limits.minexp) - limits.nmant)
        beyond = np.copysign(np.ldexp(np.longdouble(1), limits.maxexp), y)
        error = np.abs(np.where(np.isinf(y), beyond, y) - exact) / unit
        error = np.where(np.isnan(error), np.inf, error)
        wrong_zero = (exact == 0) & (np.signbit(y) != np.signbit(exact))
    return np.where(same, 0, np.where(wrong_zero, np.inf, error))


def _sigmoid(x):
    e = np.exp(np.minimum(x, 90))
    return e / (1 + e)


EXACT = {
    **{name: getattr(np, name) for name in ("exp", "exp2", "expm1", "log", "log2", "log10")},
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}
LIMITS = {np.float32: 3.0, np.float64: 2.0}

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="long double is no more exact than double here"
)


def test_every_function_is_tested():
    assert set(EXACT) | {"erf", "erfc"} == set(FUNCTIONS)


@extended
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT)
def test_errors_are_small_everywhere(name, dtype):
    x = samples(dtype)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.longdouble))
    errors = ulps(native(name, dtype)(x), exact)
    worst = np.argmax(errors)
    assert errors[worst] <= LIMITS[dtype], f"{name}({x[worst]!r}) should be {exact[worst]!r}"


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["exp", "tanh", "log", "expm1"])
def test_all_widths_of_vectors_agree(name, dtype, width):
    x = samples(dtype, 1000)
    np.testing.assert_array_equal(native(name, dtype, width)(x), native(name, dtype)(x))


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "log1p", "expm1"])
def test_against_fifty_digits(name):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(-0.9, 3, 150), 10.0 ** rng.uniform(-300, 2, 50)])
    x = np.abs(x) if name == "log" else x
    with mpmath.workdps(50):
        function = getattr(mpmath, name)
        for y, value in zip(native(name, np.float64)(x), x, strict=True):
            exact = function(mpmath.mpf(float(value)))
            assert abs(mpmath.mpf(float(y)) - exact) <= 2 * np.spacing(abs(float(exact)))


@pytest.mark.parametrize(("name", "limit"), [("erf", 4), ("erfc", 6)])
def test_erf_and_erfc(name, limit):
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(-6, 27, 400), 10.0 ** rng.uniform(-300, 0, 50)])
    with mpmath.workdps(50):
        exact = [getattr(mpmath, name)(mpmath.mpf(float(v))) for v in x]
        for y, wanted in zip(native(name, np.float64)(x), exact, strict=True):
            unit = math.ulp(float(wanted))
            assert abs(mpmath.mpf(float(y)) - wanted) <= limit * unit
        single = x[np.abs(x) > 1e-30].astype(np.float32)
        exact = [float(getattr(mpmath, name)(mpmath.mpf(float(v)))) for v in single]
        assert np.max(ulps(native(name, np.float32)(single), np.array(exact, np.longdouble))) <= 1
    edges = np.array([0, np.inf, -np.inf, np.nan, -0.0])
    wanted = {"erf": [0, 1, -1, np.nan, -0.0], "erfc": [1, 0, 2, np.nan, 1]}[name]
    np.testing.assert_array_equal(native(name, np.float64)(edges), wanted)


@pytest.mark.parametrize("dtype", FLOATS)
def test_values_at_the_edges(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1000, -1000], dtype)
    inf, nan = np.inf, np.nan
    wanted = {
        "exp": [1, 1, inf, 0, nan, inf, 0],
        "expm1": [0, -0.0, inf, -1, nan, inf, -1],
        "tanh": [0, -0.0, 1, -1, nan, 1, -1],
        "sigmoid": [0.5, 0.5, 1, 0, nan, 1, 0],
        "log": [-inf, -inf, inf, nan, nan, np.log(dtype(1000)), nan],
        "log1p": [0, -0.0, inf, nan, nan, np.log1p(dtype(1000)), nan],
        "sqrt": [0, -0.0, inf, nan, nan, np.sqrt(dtype(1000)), nan],
    }
    for name, values in wanted.items():
        y = native(name, dtype)(x)
        np.testing.assert_allclose(y, np.array(values, dtype), rtol=3e-7, err_msg=name)
        zeros = np.array(values) == 0
        assert np.array_equal(np.signbit(y[zeros]), np.signbit(np.array(values)[zeros])), name


def test_powers_of_two_are_exact():
    exponents = np.arange(-1074, 1024).astype(np.float64)
    powers = np.ldexp(1.0, exponents.astype(int))
    np.testing.assert_array_equal(native("log2", np.float64)(powers), exponents)
    np.testing.assert_array_equal(native("exp2", np.float64)(exponents), powers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "log"])
def test_float32_of_all_exponents_and_signs(name):
    stride = 251  # with 11 it takes two minutes, and passes
    step = stride * 2**18
    for start in range(0, 2**32, step):
        bits = np.arange(start, min(start + step, 2**32), stride, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        with np.errstate(all="ignore"):
            exact = EXACT[name](x.astype(np.float64))
        y = native(name, np.float32)(x).astype(np.float64)
        with np.errstate(all="ignore"):
            rounded = exact.astype(np.float32)
            unit = np.spacing(np.abs(rounded)).astype(np.float64)
            close = np.abs(y - exact) <= 3 * unit
            same = (y == rounded) | (np.isnan(y) & np.isnan(exact))
        assert np.all(close | same), x[~(close | same)][:5]
