"""From the virtual graph to the computation graph: every loop laid out, step by step or in part."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from autograd.errors import GraphError
from autograd.graph import Graph
from autograd.node import OPS, Node, apply
from autograd.op import Op
from autograd.scope import drawing, pulling
from autograd.trampoline import Task, trampoline

Known = dict[tuple[Graph, int | None], Graph]
"""Bodies that are done, by how many levels were to do: a body used twice is unrolled once."""


def unrolled(graph: Graph, depth: int | None = None, factor: int | None = None) -> Graph:
    """Return `graph` with the outermost `depth` levels of loops (None: all) laid out.

    With a `factor`, loops of more steps than that stay loops, of `factor` steps each time round. An
    op knows how: see `Op.expand`. What cannot be laid out stays, unrolled inside.
    """
    _check_number("depth", depth, 0)
    _check_number("factor", factor, 1)
    if not any(_expandable(node) for _, _, node in graph.walk() if node.bodies):
        return graph
    with drawing(None):
        done: Graph = trampoline(_unrolled(graph, depth, factor, {}))
    return done


def _check_number(name: str, number: Any, least: int) -> None:
    if number is not None and (type(number) is not int or number < least):
        raise GraphError(
            f"unroll: {name} must be a whole number from {least} up, but is {number!r}; leave it "
            "out to lay out everything"
        )


def _expandable(node: Node) -> bool:
    return type(node.op).expand is not Op.expand


def _unrolled(graph: Graph, depth: int | None, factor: int | None, known: Known) -> Task:
    """Unroll from the inside out: a body is done before it is copied. A task: nests are deep."""
    if depth == 0 or graph.flat:
        return graph
    if (graph, depth) in known:
        return known[graph, depth]
    inputs = graph.fresh_inputs()
    made: dict[Node, Any] = dict(zip(graph.inputs.values(), inputs.values(), strict=True))
    item = OPS["item"]
    for node in graph.nodes:
        if node in made:
            continue
        if not node.inputs and not node.bodies:
            made[node] = node
            continue
        xs = [made[x] for x in node.inputs]
        if node.op is item and isinstance(xs[0], list):
            made[node] = xs[0][node.attrs["index"]]
            continue
        attrs = node.attrs
        if node.bodies:
            inside = depth if depth is None or not _expandable(node) else depth - 1
            attrs = dict(attrs)
            for key in node.op.replaceable(attrs):
                attrs[key] = yield _unrolled(attrs[key], inside, factor, known)
            with pulling() if node.pulled else nullcontext():
                laid_out = node.op.expand(attrs, xs, graph.names[node], factor)
            if laid_out is not None:
                made[node] = laid_out
                continue
        made[node] = new = apply(node.op, xs, attrs)
        new.name = graph.names[node] if new.inputs else node.name  # its number must not change
        new.line = node.line
        new._pulled = _origin(node, made)
    known[graph, depth] = graph.like(inputs, [made[node] for node in graph.outputs.values()])
    return known[graph, depth]


def _origin(node: Node, made: dict[Node, Any]) -> Any:
    """Return `node.origin` in the new graph; True where that node is laid out itself."""
    origin = node.origin
    if isinstance(origin, Node):
        origin = made.get(origin, origin)
    return True if isinstance(origin, list) else origin
