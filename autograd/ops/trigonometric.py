"""Trigonometric and hyperbolic functions and their inverses; angles in radians.

The inverses' gradients are written so that no square overflows: 1 + x*x is hypot(x, 1) twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.op import DIVISION, FUNCTION
from autograd.ops.comparison import equal, where
from autograd.ops.elementwise import Elementwise, elementwise, sqrt

sin = elementwise("sin", np.sin, lambda g, y, x: g * cos(x), doc="Sine of x", weight=FUNCTION)
cos: Elementwise = elementwise(
    "cos", np.cos, lambda g, y, x: -g * sin(x), doc="Cosine of x", weight=FUNCTION
)
tan = elementwise("tan", np.tan, lambda g, y, x: g + g * y * y, doc="Tangent of x", weight=FUNCTION)


def _over(a: Any, h: Any) -> Any:
    """Return a / h, and 0 where h = hypot(a, b) is 0, to every order."""
    zero = equal(h, 0)
    return where(zero, 0.0, a / where(zero, 1.0, h))


hypot = elementwise(
    "hypot",
    np.hypot,
    lambda g, y, a, b: g * _over(a, y),
    lambda g, y, a, b: g * _over(b, y),
    doc="sqrt(a*a + b*b), without overflow; its gradient at the origin is 0",
    weight=DIVISION,
)

arcsin = elementwise(
    "arcsin",
    np.arcsin,
    lambda g, y, x: g / sqrt((1 - x) * (1 + x)),
    doc="The inverse of sin, in [-pi/2, pi/2]; its gradient at -1 and 1 is infinite",
    weight=FUNCTION,
)
arccos = elementwise(
    "arccos",
    np.arccos,
    lambda g, y, x: -g / sqrt((1 - x) * (1 + x)),
    doc="The inverse of cos, in [0, pi]; its gradient at -1 and 1 is infinite",
    weight=FUNCTION,
)


def _arctan(g: Any, y: Any, x: Any) -> Any:
    h = hypot(x, 1.0)
    return g / h / h


def _arctan2(g: Any, a: Any, b: Any) -> Any:
    """Return g * b / (a*a + b*b), and 0 at the origin."""
    h = hypot(a, b)
    return g * _over(_over(b, h), h)


arctan = elementwise(
    "arctan", np.arctan, _arctan, doc="The inverse of tan, in (-pi/2, pi/2)", weight=FUNCTION
)
arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    lambda g, y, a, b: _arctan2(g, a, b),
    lambda g, y, a, b: -_arctan2(g, b, a),
    doc="The angle of the point (b, a), in [-pi, pi]; its gradient at the origin is 0",
    weight=FUNCTION,
)

sinh = elementwise(
    "sinh", np.sinh, lambda g, y, x: g * cosh(x), doc="Hyperbolic sine of x", weight=FUNCTION
)
cosh: Elementwise = elementwise(
    "cosh", np.cosh, lambda g, y, x: g * sinh(x), doc="Hyperbolic cosine of x", weight=FUNCTION
)
tanh = elementwise(
    "tanh",
    np.tanh,
    lambda g, y, x: g - g * y * y,
    doc="Hyperbolic tangent of x, in (-1, 1)",
    weight=FUNCTION,
)
arcsinh = elementwise(
    "arcsinh",
    np.arcsinh,
    lambda g, y, x: g / hypot(x, 1.0),
    doc="The inverse of sinh",
    weight=FUNCTION,
)
arccosh = elementwise(
    "arccosh",
    np.arccosh,
    lambda g, y, x: g / (sqrt(x - 1) * sqrt(x + 1)),
    doc="The inverse of cosh, for x >= 1; its gradient at 1 is infinite",
    weight=FUNCTION,
)
arctanh = elementwise(
    "arctanh",
    np.arctanh,
    lambda g, y, x: g / ((1 - x) * (1 + x)),
    doc="The inverse of tanh, for -1 < x < 1; infinite at -1 and 1",
    weight=FUNCTION,
)
