"""Rules: a node and what stands for it, tried wherever the op of that name occurs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autograd.graph import Graph
from autograd.node import OPS, Node, _next_serial, make_leaf
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.engine import Context
from autograd.rewrite.nodes import like, rewritten
from autograd.scope import drawing

Found = tuple[Node, str] | None
"""What stands for a node, and the identity that says so; None where the rule does not apply."""
Rule = Callable[[Node], Found]

FEW = 64
"""Constants of more elements are not looked into: no rule reads large arrays."""


def by_rules(
    graph: Graph, context: Context, rules: Mapping[str, tuple[Rule, ...]], law: str
) -> Graph:
    """Return `graph` after `rules`, by names of ops, and note each time one was applied."""

    def rule(node: Node) -> Node | None:
        for each in rules.get(node.op.name, ()):
            mark = _next_serial()
            found = each(node)
            if found is not None:
                other, did = found
                fresh = other.serial > mark
                after = cost_of(other) if fresh else Cost()
                context.moved(graph, node, did, law, cost_of(node), after)
                return like(other, node) if fresh else other
        return None

    with drawing(None):
        return rewritten(graph, rule)


def apply(name: str, *inputs: Any, **attrs: Any) -> Node:
    """Return the op of this name on `inputs`."""
    node: Node = OPS[name](*inputs, **attrs)
    return node


def value_of(node: Node) -> Any:
    """Return the array of a true constant: one that nobody replaces or differentiates by."""
    return node._value if node.op.name == "constant" and not node.tracked else None


def constant_of(value: Any) -> Node:
    """Return a constant that takes over `value`, an array nobody else writes to."""
    node: Node = make_leaf(Node, "constant", np.asarray(value), None, False, None)
    return node


def few(node: Node) -> Any:
    """Return the array of a true constant of few elements, but at least one; else None."""
    value = value_of(node)
    return value if value is not None and 0 < value.size <= FEW else None


def is_all(node: Node, number: float) -> bool:
    """Whether all elements of a true constant are `number`, with its sign if that is zero."""
    value = few(node)
    if value is None or not (value == number).all():
        return False
    if number == 0 and value.dtype.kind == "f":
        return bool((np.signbit(value) == np.signbit(number)).all())
    return True
