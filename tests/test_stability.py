"""Large and small arguments: values against 50 digits, finite gradients, no warnings.

(Warnings are errors in this suite. What underflows to 0 is not an error of ours: see
`docs/conventions.md`.)
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import autograd as ag

LOGITS = {
    np.float64: np.array([-1e4, -800.0, -745.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0, 1e4]),
    np.float32: np.array([-1e3, -200.0, -90.0, -20.0, -1.0, 0.0, 1.0, 20.0, 90.0, 1e3], np.float32),
}
STABLE = [
    ag.sigmoid, ag.softplus, ag.log_sigmoid, ag.silu, ag.gelu, ag.relu, ag.elu, ag.tanh, ag.erf,
    ag.erfc, ag.softmax, ag.log_softmax, ag.logsumexp, ag.norm, ag.std, ag.arctan, ag.arcsinh,
    lambda x: ag.gelu(x, "tanh"), lambda x: ag.logaddexp(x, -x), lambda x: ag.hypot(x, 1e4),
    lambda x: ag.leaky_relu(x), lambda x: ag.cumsum(x), lambda x: ag.max(x),
]  # fmt: skip


@pytest.fixture(autouse=True)
def underflow_is_zero():
    with np.errstate(under="ignore"):
        yield


@pytest.mark.parametrize("dtype", LOGITS, ids=["float64", "float32"])
@pytest.mark.parametrize("number", range(len(STABLE)))
def test_values_and_two_gradients_are_finite_for_large_logits(dtype: Any, number: int):
    fn, x = STABLE[number], LOGITS[dtype]

    def slope(x: Any) -> Any:
        y = fn(x)
        return ag.grad(lambda z: (fn(z) * np.cos(np.arange(y.size, dtype=dtype)).reshape(y.shape))
                       .sum())(x)  # fmt: skip

    with np.errstate(over="raise", divide="raise", invalid="raise"):
        y, g = fn(ag.tensor(x)), slope(x)
        h = ag.grad(lambda x: (slope(x) * np.arange(x.size, dtype=dtype)).sum())(x)
    for result in (y, g, h):
        assert result.dtype == dtype
        assert np.isfinite(result.value).all()


@pytest.mark.parametrize("fn", [ag.softmax, ag.log_softmax, ag.logsumexp, ag.std])
def test_a_common_shift_changes_nothing(fn: Any):
    x = np.random.default_rng(0).normal(size=(3, 5))
    shift = 1e6 if fn is ag.logsumexp else 0.0
    np.testing.assert_allclose(fn(x + 1e6), fn(x) + shift, rtol=1e-9)


def both_signs(low: float, high: float, count: int = 300) -> Any:
    x = np.logspace(low, high, count)
    return np.concatenate([-x[::-1], x])


def exact_sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


EXACT = [
    ("sigmoid", ag.sigmoid, exact_sigmoid, both_signs(-308, 2.8)),
    ("softplus", ag.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), both_signs(-308, 2.8)),
    ("log_sigmoid", ag.log_sigmoid, lambda x: -mpmath.log1p(mpmath.exp(-x)), both_signs(-308, 2.8)),
    ("erf", ag.erf, mpmath.erf, both_signs(-307, 2.0)),
    ("erfc", ag.erfc, mpmath.erfc, both_signs(-308, 1.42)),
    ("expm1", ag.expm1, mpmath.expm1, both_signs(-307, 2.8)),
    ("log1p", ag.log1p, mpmath.log1p, np.logspace(-307, 308, 300)),
    ("gelu", ag.gelu, lambda x: x * mpmath.ncdf(x), both_signs(-300, 1.0)),
    ("arctan'", ag.grad(lambda x: ag.arctan(x).sum()), lambda x: 1 / (1 + x * x),
     both_signs(-300, 150)),
    ("softplus'", ag.grad(lambda x: ag.softplus(x).sum()), exact_sigmoid, both_signs(-308, 2.8)),
]  # fmt: skip


@pytest.mark.parametrize("row", EXACT, ids=lambda row: row[0])
def test_relative_error_against_50_digits(row: Any):
    _, fn, exact, grid = row
    found = fn(ag.tensor(grid)).value
    with mpmath.workdps(50):
        errors = [
            abs((mpmath.mpf(float(y)) - e) / e)
            for x, y in zip(grid, found, strict=True)
            if abs(e := mpmath.re(exact(mpmath.mpf(float(x))))) > 1e-300
        ]
    assert len(errors) > 100
    assert max(errors) < 1e-14


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_norm_and_std_at_any_scale(scale: float):
    x = np.array([3.0, -4.0, 12.0])
    assert ag.norm(x * scale) == pytest.approx(13 * scale, rel=1e-15)
    assert ag.std(x * scale) == pytest.approx(x.std() * scale, rel=1e-14)
    g = ag.grad(ag.norm)(x * scale).value
    np.testing.assert_allclose(g, x / 13, rtol=1e-15)


@pytest.mark.parametrize("gap", [1e-3, 1.0, 40.0, 700.0])
def test_logsumexp_and_log_softmax_keep_the_digits_of_small_parts(gap: float):
    with mpmath.workdps(50):
        exact = float(mpmath.log1p(mpmath.exp(-mpmath.mpf(gap))))
    x = np.array([0.0, -gap])
    assert ag.logsumexp(x) == pytest.approx(exact, rel=1e-14)
    assert ag.log_softmax(x)[0] == pytest.approx(-exact, rel=1e-14)
    assert ag.logaddexp(*x) == pytest.approx(exact, rel=1e-14)


def test_infinite_logits():
    inf = np.inf
    assert ag.logsumexp(np.array([-inf, -inf])) == -inf
    assert ag.logsumexp(np.array([inf, 0.0])) == inf
    np.testing.assert_array_equal(ag.softmax(np.array([-inf, 0.0])), [0.0, 1.0])
    np.testing.assert_array_equal(ag.log_softmax(np.array([-inf, 0.0])), [-inf, 0.0])
    assert np.isnan(ag.softmax(np.array([-inf, -inf]))).all()
    assert np.isnan(ag.log_softmax(np.array([-inf, -inf]))).all()
    np.testing.assert_array_equal(ag.sigmoid(np.array([-inf, inf])), [0.0, 1.0])
    np.testing.assert_array_equal(ag.softplus(np.array([-inf, inf])), [0.0, inf])
    np.testing.assert_array_equal(ag.erf(np.array([-inf, inf])), [-1.0, 1.0])


def test_rows_over_logits_work_where_numpy_raises_on_everything():
    x = np.array([[-1e4, 0.0, 1e4], [1.0, 2.0, 3.0]])
    with np.errstate(all="raise"):
        for fn in (ag.softmax, ag.log_softmax, lambda x: ag.logsumexp(x, 1)):
            assert np.isfinite(ag.grad(lambda x, fn=fn: fn(x).sum())(x).value).all()
