"""From the virtual graph to the computation graph: every loop laid out step by step."""

from __future__ import annotations

from typing import Any

from autograd.graph import Graph
from autograd.node import OPS, Node, apply
from autograd.op import Op
from autograd.scope import drawing


def unrolled(graph: Graph, depth: int | None = None) -> Graph:
    """Return `graph` with the outermost `depth` levels of loops (None: all) laid out.

    A loop knows how: see `Op.expand`. Bodies that cannot be laid out stay, unrolled inside.
    """
    level = 0
    while (depth is None or level < depth) and _expandable(graph):
        graph = _one_level(graph)
        level += 1
    return graph


def _expandable(graph: Graph) -> bool:
    return any(type(node.op).expand is not Op.expand for _, _, node in graph.walk() if node.bodies)


def _one_level(graph: Graph) -> Graph:
    inputs = graph.fresh_inputs()
    made: dict[Node, Any] = dict(zip(graph.inputs.values(), inputs.values(), strict=True))
    item = OPS["item"]
    with drawing(None):
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
            name = graph.names[node]
            if node.bodies:
                laid_out = node.op.expand(node, xs, name)
                if laid_out is not None:
                    made[node] = laid_out
                    continue
            attrs = {
                key: _one_level(value) if isinstance(value, Graph) else value
                for key, value in node.attrs.items()
            }
            made[node] = apply(node.op, xs, attrs)
            made[node].name = node.name
            made[node].line = node.line
            made[node]._pulled = node.pulled
    return graph.like(inputs, [made[node] for node in graph.outputs.values()])
