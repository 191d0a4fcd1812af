"""Constant folding: what depends on true constants only is computed now.

True constants are those nobody replaces: no parameters, no tensors a gradient is asked for. What
would raise, or set a floating-point flag, is left to the run: there the user sees it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import substitute
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import constant_of, value_of
from autograd.spec import UNKNOWN, Spec

LAW = "what depends on constants only is a constant"

SMALL = 4096
"""Bytes that a result may always have. A larger one must not be larger than what it is made of."""


def run(graph: Graph, context: Context) -> Graph:
    """Replace all nodes whose inputs are constants by constants."""
    values: dict[Node, Any] = {}
    replacements: dict[Node, Node] = {}
    sized: set[Node] = set()
    """What holds sizes, as gradients do: marked as these are, so that `resize` refuses it."""
    for node in graph.nodes:
        if not node.inputs:
            value = value_of(node)
            if value is not None:
                values[node] = value
            continue
        if node.op.shape_only:
            given = [_shape_of(x) for x in node.inputs]
        else:
            given = [values.get(x) for x in node.inputs]
        if any([x is None for x in given]):
            continue
        if not node.op.portable or node.bodies or not _bounded(node, given):
            continue
        value = _computed(node, given)
        if value is None:
            continue
        values[node] = value
        if node.op.shape_only or node.pulled or any([x in sized for x in node.inputs]):
            sized.add(node)
        if type(value) is not tuple:
            replacements[node] = constant = constant_of(value)
            if node in sized:
                constant._pulled = True if node.origin is False else node.origin
            if node.op.name != "item":
                context.moved(
                    graph, node, f"{node.op.name} -> constant", LAW, cost_of(node), Cost()
                )
    return substitute(graph, replacements)


def _shape_of(x: Node) -> Any:
    """Return an array of the shape of x that takes no memory, for ops that look at no element."""
    spec: Any = x.spec
    if type(spec) is tuple or UNKNOWN in spec.shape:
        return None
    return np.broadcast_to(np.zeros((), spec.dtype), spec.shape)


def _bounded(node: Node, given: list[Any]) -> bool:
    """Whether the result takes little memory, or no more than what it is made of."""
    specs: Any = node.spec
    parts: tuple[Spec, ...] = specs if type(specs) is tuple else (specs,)
    size = sum([spec.nbytes for spec in parts])
    if size <= SMALL:
        return not any([UNKNOWN in spec.shape for spec in parts])
    arrays = [y for x in given for y in (x if type(x) is tuple else (x,))]
    return bool(size <= sum([x.nbytes for x in arrays if 0 not in x.strides]))


def _computed(node: Node, given: list[Any]) -> Any:
    """Return the value of a node, or None if computing it is not as smooth as it should be."""
    try:
        with np.errstate(all="raise"):
            value = node.op.forward(*given, **node.attrs)
    except Exception:  # an op of any kind: the run will say what is wrong
        return None
    return tuple(map(np.asarray, value)) if node.op.multiple else np.asarray(value)


register(Pass("fold", LAW, run))
