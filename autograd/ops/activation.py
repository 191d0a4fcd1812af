"""Activations of neural networks, finite with finite gradients for every finite input."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from autograd.errors import GraphError
from autograd.op import FUNCTION, register
from autograd.ops.comparison import where
from autograd.ops.elementwise import Elementwise, elementwise
from autograd.ops.erf import bell, erfc, erfc_array
from autograd.ops.piecewise import clip
from autograd.spec import Array

# From here on, exp(x) / (1 + exp(x)) rounds to 1; and exp does not overflow.
_SATURATED = {np.dtype(np.float16): 10.0}


def _sigmoid(x: Array) -> Any:
    e = np.exp(np.minimum(x, _SATURATED.get(x.dtype, 40.0)))
    return e / (e + 1)


sigmoid = elementwise(
    "sigmoid",
    _sigmoid,
    lambda g, y, x: g * y * (1 - y),
    doc="1 / (1 + exp(-x)), in (0, 1); exact in the lower tail too",
    weight=FUNCTION,
)


@np.errstate(under="ignore")
def _softplus(x: Array) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


softplus = elementwise(
    "softplus",
    _softplus,
    lambda g, y, x: g * sigmoid(x),
    doc="log(1 + exp(x)), a smooth relu",
    weight=FUNCTION,
)


def log_sigmoid(x: Any) -> Any:
    """Return log(sigmoid(x)), without overflow or log(0)."""
    return -softplus(-x)


relu = elementwise(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, y, x: where(x > 0, g, 0.0),
    doc="max(x, 0) (Fukushima 1969); its gradient at 0 is 0",
)


def _leaky_relu(x: Array, *, slope: float) -> Any:
    return np.where(x > 0, x, slope * x)


_leaky_relu_op = register(
    Elementwise("leaky_relu", _leaky_relu, (lambda g, y, x, slope: where(x > 0, g, slope * g),))
)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """Return `x` where it is positive, else `slope * x`; its gradient at 0 is `slope`."""
    return _leaky_relu_op(x, slope=float(slope))


def _elu(x: Array, *, alpha: float) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_elu_op = register(
    Elementwise(
        "elu",
        _elu,
        (lambda g, y, x, alpha: where(x > 0, g, g * (y + alpha)),),
        weight=FUNCTION,
    )
)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return `x` where it is positive, else `alpha * (exp(x) - 1)`; its gradient at 0 is `alpha`.

    Clevert, Unterthiner, Hochreiter 2015, arXiv:1511.07289.
    """
    return _elu_op(x, alpha=float(alpha))


def silu(x: Any) -> Any:
    """Return `x * sigmoid(x)` (Elfwing, Uchibe, Doya 2017, arXiv:1702.03118)."""
    return x * sigmoid(x)


# The normal distribution's cumulative function, below it the usual approximation.


def _steepness(x: Any) -> tuple[Any, Any]:
    """Return z with 0.5 * (1 + tanh(z / 2)) ~ cumulative(x), and dz/dx; saturated beyond 30."""
    a, b = 2 * sqrt(2 / pi), 2 * sqrt(2 / pi) * 0.044715
    x = clip(x, -30.0, 30.0)
    return x * (a + b * x * x), a + 3 * b * x * x


def _gelu(x: Array, *, approximate: bool) -> Any:
    if approximate:
        return x * _sigmoid(_steepness(x)[0])
    return 0.5 * x * erfc_array(x * -sqrt(0.5))


def _gelu_slope(g: Any, y: Any, x: Any, approximate: bool) -> Any:
    if approximate:
        z, slope = _steepness(x)
        s = sigmoid(z)
        return g * (s + x * slope * s * (1 - s))
    return g * (0.5 * erfc(x * -sqrt(0.5)) + x * bell(x, sqrt(2)) * (1 / sqrt(2 * pi)))


_gelu_op = register(Elementwise("gelu", _gelu, (_gelu_slope,), weight=FUNCTION))


def gelu(x: Any, approximate: str = "none") -> Any:
    """Return `x` times the probability that a standard normal number is below `x`.

    `approximate="tanh"` is faster and within 5e-4 (Hendrycks, Gimpel 2016, arXiv:1606.08415).
    """
    if approximate not in ("none", "tanh"):
        raise GraphError(f"gelu: approximate must be 'none' or 'tanh', but is {approximate!r}")
    return _gelu_op(x, approximate=approximate == "tanh")
