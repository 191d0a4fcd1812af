"""Powers of small whole numbers without `power`, which takes many times as long.

A product is the correctly rounded one, where `power` may be off by an ulp or more (NumPy 2.0 is, by
its vector code for large arrays). Left out: x ** 0.5, as the square roots of -0.0 and -inf are not
their powers.
"""

from __future__ import annotations

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import Found, Rule, apply, by_rules, few, is_all

LAW = "x**2 = x*x, and so on: the powers of whole numbers are products"


def _power(node: Node) -> Found:
    base, exponent = node.inputs
    if few(exponent) is None or base.spec != node.spec:
        return None
    if is_all(exponent, 1):
        return base, "x**1 = x"
    if is_all(exponent, 2):
        return apply("square", base), "x**2 = x*x"
    if is_all(exponent, 3):
        return apply("multiply", apply("square", base), base), "x**3 = x*x*x"
    if is_all(exponent, -1) and base.dtype.kind == "f":
        return apply("reciprocal", base), "x**-1 = 1/x"
    return None


RULES: dict[str, tuple[Rule, ...]] = {"power": (_power,)}


def run(graph: Graph, context: Context) -> Graph:
    """Replace powers by products."""
    return by_rules(graph, context, RULES, LAW)


register(Pass("powers", LAW, run, rounding=True))
