"""Arrays of one value, as gradients of means bring them: the value alone does, and broadcasts."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.graph import Graph
from autograd.node import Node
from autograd.ops.elementwise import Elementwise
from autograd.rewrite.cost import cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import renewed, rewritten
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import constant_of, value_of

LAW = "an array of one value broadcasts like the value"


def run(graph: Graph, context: Context) -> Graph:
    """Have elementwise ops read one value where a constant has the same at all places."""
    known: dict[Node, Node | None] = {}

    def rule(node: Node) -> Node | None:
        if not isinstance(node.op, Elementwise) or len(node.inputs) < 2:
            return None
        if all([x.op.name != "constant" or x.shape == () for x in node.inputs]):
            return None
        single = {x: _single(x, known) for x in node.inputs}
        shapes = [x.shape for x in node.inputs if single[x] is None]
        if len(shapes) == len(node.inputs) or not shapes:
            return None
        if np.broadcast_shapes(*shapes) != node.shape:
            return None
        new = renewed(node, [_first(single[x], x) for x in node.inputs])
        context.moved(graph, node, "one value for an array of it", LAW, cost_of(node), cost_of(new))
        return new

    return rewritten(graph, rule)


def _single(node: Node, known: dict[Node, Node | None]) -> Node | None:
    """Return the value of a constant array that has no other, as a constant of shape ()."""
    if node not in known:
        value = value_of(node)
        found = value is not None and value.size > 1 and _is_uniform(value)
        known[node] = constant_of(value.flat[0].copy()) if found else None
    return known[node]


def _first(found: Node | None, other: Node) -> Node:
    return other if found is None else found


def _is_uniform(value: Any) -> bool:
    """Whether all elements have the same bits."""
    if not any(value.strides):
        return True
    bits = np.ascontiguousarray(value).reshape(-1).view(f"u{value.itemsize}")
    return bool((bits == bits[0]).all())


register(Pass("uniform", LAW, run))
