"""Parts of what is computed element by element are computed part by part, for machines that fuse.

So that what computes the gates of a cell and what makes a state of them are one pass over memory:

    split(x + b + h @ w)  =  split(x) + split(b) + split(h @ w), part by part

The parts of an input are views of it. Only where nobody else reads what is split.
"""

from __future__ import annotations

from collections.abc import Sequence

from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.ops.fused import fusable
from autograd.rewrite.cost import cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, substitute
from autograd.rewrite.pipeline import register
from autograd.scope import drawing

LAW = "elementwise ops commute with taking a part"


def run(graph: Graph, context: Context) -> Graph:
    """Move splits before the elementwise ops they follow, one op at a time."""
    while context.machine.fuses:
        replacements: dict[Node, Node] = {}
        found = _splits(graph, context)
        with drawing(None):
            for split, parts in found:
                _move(graph, split, parts, replacements, context)
        if not replacements:
            break
        graph = substitute(graph, replacements)
    return graph


def _splits(graph: Graph, context: Context) -> list[tuple[Node, list[Node]]]:
    """Return the splits of what only they read and is computed elementwise, with their parts."""
    readers: dict[Node, int] = {}
    parts: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for x in node.inputs:
            readers[x] = readers.get(x, 0) + 1
        if node.op.name == "item" and node.inputs[0].op.name == "split":
            parts.setdefault(node.inputs[0], []).append(node)
    heads = {*graph.outputs.values(), *graph.inputs.values()}
    return [
        (split, of_it)
        for split, of_it in parts.items()
        for x in split.inputs
        if x not in heads and readers[x] == 1 and fusable(x) and context.machine.fusable(x)
    ]


def _move(
    graph: Graph,
    split: Node,
    parts: Sequence[Node],
    replacements: dict[Node, Node],
    context: Context,
) -> None:
    """Enter what stands for the parts of a split: the op before it, of parts of its inputs."""
    (x,) = split.inputs
    of_inputs = [_parts(y, x, split) for y in x.inputs]
    for part in parts:
        index = part.attrs["index"]
        replacements[part] = like(x.op(*[of[index] for of in of_inputs], **x.attrs), part)
    context.moved(graph, x, f"{x.op.name} of {len(parts)} parts", LAW, cost_of(x), cost_of(x))


def _parts(y: Node, x: Node, split: Node) -> Sequence[Node]:
    """Return the parts of an input of `x` that the parts of `x` are made of."""
    sizes = split.attrs["sizes"]
    axis = split.attrs["axis"] % x.ndim - (x.ndim - y.ndim)
    if axis < 0 or (y.shape[axis] == 1 and x.shape[axis + x.ndim - y.ndim] != 1):
        return [y] * len(sizes)  # the same for all of them
    of_y: Sequence[Node] = OPS["split"](y, sizes=sizes, axis=axis)
    return of_y


register(Pass("parts", LAW, run))
