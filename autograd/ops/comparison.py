"""Comparisons, logic and tests, which give bools and have no gradient; and `where`."""

from __future__ import annotations

import numpy as np

from autograd.ops.elementwise import Elementwise, elementwise

equal = elementwise("equal", np.equal, None, None, doc="a == b")
not_equal = elementwise("not_equal", np.not_equal, None, None, doc="a != b")
less = elementwise("less", np.less, None, None, doc="a < b")
less_equal = elementwise("less_equal", np.less_equal, None, None, doc="a <= b")
greater = elementwise("greater", np.greater, None, None, doc="a > b")
greater_equal = elementwise("greater_equal", np.greater_equal, None, None, doc="a >= b")

logical_and = elementwise(
    "logical_and", np.logical_and, None, None, doc="a and b; numbers are true unless 0"
)
logical_or = elementwise(
    "logical_or", np.logical_or, None, None, doc="a or b; numbers are true unless 0"
)
logical_xor = elementwise(
    "logical_xor", np.logical_xor, None, None, doc="a or b, not both; numbers are true unless 0"
)
logical_not = elementwise("logical_not", np.logical_not, None, doc="not x")

isnan = elementwise("isnan", np.isnan, None, doc="True where x is NaN")
isinf = elementwise("isinf", np.isinf, None, doc="True where x is infinite")
isfinite = elementwise("isfinite", np.isfinite, None, doc="True where x is neither")

where: Elementwise = elementwise(
    "where",
    np.where,
    None,
    lambda g, y, condition, a, b: where(condition, g, 0.0),
    lambda g, y, condition, a, b: where(condition, 0.0, g),
    doc="""a where condition is true, b elsewhere.

    Both sides are computed: where(x > 0, log(x), 0) has the gradient 0 * inf = NaN at x = 0.
    Guard the inside too: where(x > 0, log(where(x > 0, x, 1)), 0).
    """,
)
where.overwrites = (2,)  # b is what is there where a is not written
