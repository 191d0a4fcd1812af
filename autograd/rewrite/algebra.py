"""Identities of arithmetic that hold to the bit, whatever the numbers: NaN, infinite, -0.0.

Left out, because they do not:

    x + 0.0, 0.0 + x -> x    -0.0 + 0.0 is 0.0 (x + -0.0 and x - 0.0 are x; so is x + 0.0 where x
                             cannot be -0.0)
    0 * x -> 0               NaN and infinities give NaN, negative numbers -0.0
    x - x -> 0, x / x -> 1   NaN for infinities and NaN, the latter for 0 too
    -(a - b) -> b - a        -0.0 for a = b
    0.0 - x -> -x            0.0 for x = 0.0
    (x * a) * b -> x * (a*b) rounds once less
    x / c -> x * (1 / c)     rounds 1 / c, unless c is a power of two
    a * b + a * c -> a (b+c) rounds otherwise
    x ** 0.5 -> sqrt(x)      -0.0 and -inf

What changes rounding is in passes of its own: `powers`, `views` (by the order of sums), `chain`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import Found, Rule, apply, by_rules, constant_of, few, is_all, value_of

LAW = "identities of IEEE arithmetic that hold for every number, NaN and -0.0 among them"

_POSITIVE = frozenset({"abs", "exp", "exp2", "square"})
"""Ops whose results are never -0.0."""


def _negated(node: Node) -> Node | None:
    """Return x where `node` is the float -x, else None. (Unsigned integers wrap round.)"""
    if node.op.name == "negative" and node.dtype.kind == "f":
        return node.inputs[0]
    return None


def _as_it_is(node: Node, x: Node, did: str) -> Found:
    """Return x for `node`, if it has its shape and dtype: the other operand may have more axes."""
    return (x, did) if x.spec == node.spec else None


def _never_minus_zero(x: Node) -> bool:
    """Whether x surely has no element -0.0. A sum has one only where both operands do."""
    if x.dtype.kind != "f" or x.op.name in _POSITIVE:
        return True
    if x.op.name == "add":
        return any([_has_no_minus_zero(y) for y in x.inputs])
    return _has_no_minus_zero(x)


def _has_no_minus_zero(x: Node) -> bool:
    value = few(x)
    return value is not None and not ((value == 0) & np.signbit(value)).any()


def _add(node: Node) -> Found:
    a, b = node.inputs
    for x, c in ((a, b), (b, a)):
        if is_all(c, -0.0):
            return _as_it_is(node, x, "x + -0.0 = x")
        if is_all(c, 0.0) and _never_minus_zero(x):
            return _as_it_is(node, x, "x + 0 = x")
    for x, y in ((a, b), (b, a)):
        z = _negated(y)
        if z is not None:
            return apply("subtract", x, z), "x + -y = x - y"
    return None


def _subtract(node: Node) -> Found:
    a, b = node.inputs
    if is_all(b, 0.0):
        return _as_it_is(node, a, "x - 0 = x")
    z = _negated(b)
    return None if z is None else (apply("add", a, z), "x - -y = x + y")


def _multiply(node: Node) -> Found:
    a, b = node.inputs
    for x, c in ((a, b), (b, a)):
        if is_all(c, 1):
            return _as_it_is(node, x, "x * 1 = x")
    return _both_negated(node, "-x * -y = x * y")


def _divide(node: Node) -> Found:
    a, b = node.inputs
    if is_all(b, 1):
        return _as_it_is(node, a, "x / 1 = x")
    inverse = _exact_inverse(few(b))
    if inverse is not None:
        return apply("multiply", a, constant_of(inverse)), "x / 2**k = x * 2**-k"
    return _both_negated(node, "-x / -y = x / y")


def _exact_inverse(value: Any) -> Any:
    """Return 1 / value where every element is a power of two, and so is its inverse; else None."""
    if value is None or value.dtype.kind != "f":
        return None
    fraction, exponent = np.frexp(value)
    limits = np.finfo(value.dtype)
    # value = +-2**(exponent - 1), so its inverse is +-2**(1 - exponent)
    fits = (1 - exponent >= limits.minexp) & (1 - exponent < limits.maxexp)
    if not (np.isfinite(value) & (np.abs(fraction) == 0.5) & fits).all():
        return None
    return np.ldexp(2 * fraction, 1 - exponent).astype(value.dtype)


def _both_negated(node: Node, did: str) -> Found:
    x, y = map(_negated, node.inputs)
    return None if x is None or y is None else (apply(node.op.name, x, y), did)


def _twice(node: Node) -> Found:
    """-(-x) = x; not (not x) = x for bools."""
    (x,) = node.inputs
    if x.op is not node.op:
        return None
    return _as_it_is(node, x.inputs[0], f"{node.op.name} twice: x")


def _even(node: Node) -> Found:
    """Whatever the sign: |-x| = ||x|| = |x|, and likewise for the square."""
    (x,) = node.inputs
    if x.dtype.kind == "f" and x.op.name in ("negative", "abs"):
        return apply(node.op.name, x.inputs[0]), f"{node.op.name} of -x or |x| = that of x"
    return None


def _where(node: Node) -> Found:
    condition, a, b = node.inputs
    if a is b:
        return _as_it_is(node, a, "where(c, x, x) = x")
    known = value_of(condition)
    if known is None or not known.size:
        return None
    if known.all():
        return _as_it_is(node, a, "where(True, x, y) = x")
    return None if known.any() else _as_it_is(node, b, "where(False, x, y) = y")


def _of_itself(node: Node) -> Found:
    a, b = node.inputs
    return _as_it_is(node, a, f"{node.op.name}(x, x) = x") if a is b else None


def _identity(node: Node) -> Found:
    return node.inputs[0], "identity(x) = x"


RULES: dict[str, tuple[Rule, ...]] = {
    "abs": (_even,),
    "add": (_add,),
    "divide": (_divide,),
    "identity": (_identity,),
    "logical_not": (_twice,),
    "maximum": (_of_itself,),
    "minimum": (_of_itself,),
    "multiply": (_multiply,),
    "negative": (_twice,),
    "square": (_even,),
    "subtract": (_subtract,),
    "where": (_where,),
}


def run(graph: Graph, context: Context) -> Graph:
    """Apply the identities wherever they hold."""
    return by_rules(graph, context, RULES, LAW)


register(Pass("algebra", LAW, run))
