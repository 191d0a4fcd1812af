"""The error function and its complement, which NumPy does not have, to full double accuracy."""

from __future__ import annotations

from math import factorial, pi, sqrt
from typing import Any

import numpy as np

from autograd.op import FUNCTION
from autograd.ops.elementwise import elementwise
from autograd.ops.explog import exp
from autograd.ops.piecewise import clip
from autograd.spec import Array

# |x| < 1/2: the Taylor series of erf(x) / x in x*x; the next term is below 1e-17.
SERIES = [2 / sqrt(pi) * (-1) ** n / (factorial(n) * (2 * n + 1)) for n in range(13)]

# x >= 1/2: erfc(x) = w exp(-x*x) P(u), where w = 1 / (x + 3), and u = (434 w - 69) / 55 runs from
# 1 at x = 1/2 to -1 at x = 28, where erfc is below the smallest float. P is the Chebyshev
# interpolant of degree 23, computed with 60 digits and written as a polynomial; it is within 1e-16.
TAIL = [
    *(1.0345210668277636, 0.6318110831484361, 0.3172963900417516, 0.1270514582238227),
    *(0.03787874633124942, 0.00687024350359344, -5.1883185160557945e-05, -0.0004132329422507065),
    *(-7.28936125550019e-05, 1.9035447517940718e-05, 7.778157447360355e-06),
    *(-9.851118770116085e-07, -7.373219950416832e-07, 7.861284801757463e-08),
    *(7.208952578113078e-08, -1.0469432072345987e-08, -7.161465564639775e-09),
    *(1.7212077883619741e-09, 6.627176321245663e-10, -2.747322222558063e-10),
    *(-4.821947870590297e-11, 3.59436178786888e-11, 1.881911761654978e-12, -2.778639563353443e-12),
]


def _polynomial(coefficients: list[float], x: Array) -> Array:
    p = np.full(x.shape, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        p *= x
        p += c
    return p


def _near(x: Array) -> Array:
    """Return erf(x) for |x| <= 1/2."""
    near: Array = x * _polynomial(SERIES, np.square(x))
    return near


@np.errstate(under="ignore")  # erfc(27) is subnormal, and exp(-784) is 0
def _far(x: Array) -> Array:
    """Return erfc(x) for x in [1/2, 28]."""
    w = 1.0 / (x + 3.0)
    # The square is rounded, which exp would magnify: split x so that one part's square is exact.
    coarse = np.floor(16.0 * x) / 16.0
    decay = np.exp(-coarse * coarse) * np.exp((coarse - x) * (coarse + x))
    far: Array = w * _polynomial(TAIL, (434.0 * w - 69.0) / 55.0) * decay
    return far


def _parts(x: Any) -> tuple[Array, Array, Array, np.dtype[Any]]:
    """Return x as float64, erf(x) where |x| < 1/2, erfc(|x|) elsewhere, and the result's dtype."""
    dtype = np.result_type(x, np.float16) if x.dtype.kind == "f" else np.dtype(np.float64)
    x = np.asarray(x, np.float64)
    magnitude = np.abs(x)
    near = _near(np.minimum(np.maximum(x, -0.5), 0.5))
    return x, near, _far(np.minimum(np.maximum(magnitude, 0.5), 28.0)), dtype


@np.errstate(under="ignore")
def erf_array(x: Any) -> Any:
    """Return erf of an array, computed in float64."""
    x, near, far, dtype = _parts(x)
    return np.where(np.abs(x) < 0.5, near, np.copysign(1.0 - far, x)).astype(dtype)


@np.errstate(under="ignore")
def erfc_array(x: Any) -> Any:
    """Return erfc of an array, computed in float64."""
    x, near, far, dtype = _parts(x)
    tail = np.where(x > 0, far, 2.0 - far)
    return np.where(np.abs(x) < 0.5, 1.0 - near, tail).astype(dtype)


def bell(x: Any, width: float) -> Any:
    """Return exp(-(x / width)**2). Where that is below 1e-307 it stays there: nothing overflows."""
    scaled = clip(x * (1 / width), -26.5, 26.5)
    return exp(-scaled * scaled)


erf = elementwise(
    "erf",
    erf_array,
    lambda g, y, x: g * bell(x, 1.0) * (2 / sqrt(pi)),
    doc="The error function 2/sqrt(pi) * integral of exp(-t*t) from 0 to x",
    weight=FUNCTION,
)
erfc = elementwise(
    "erfc",
    erfc_array,
    lambda g, y, x: g * bell(x, 1.0) * (-2 / sqrt(pi)),
    doc="1 - erf(x), exact for large x too",
    weight=FUNCTION,
)
