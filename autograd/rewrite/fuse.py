"""Runs of elementwise ops become one op, for executors that compute it element by element.

Which nodes may be one, without a way that leaves them and comes back? Number each node by how many
*barriers* (all that is not elementwise, or of another shape) there are at most on a way to it:

    x --- tanh 0 --- matmul 0 --- add 1 --- tanh 1
             \\----------------------/

Neighbours of the same shape and number may: a way through a barrier would have raised the number.
A node whose readers all have a higher number is computed with the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autograd.graph import Graph
from autograd.node import Node, draw_input, items
from autograd.node import apply as apply_op
from autograd.ops.fused import fusable, fused
from autograd.rewrite.cost import Cost, Machine, cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, renewed, substitute
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import value_of
from autograd.scope import drawing
from autograd.spec import UNKNOWN, Spec

LAW = "elementwise ops commute with taking an element"


def run(graph: Graph, context: Context) -> Graph:
    """Replace each run of two elementwise ops or more by a `fused` op, if the executor has that."""
    if not context.machine.fuses:
        return graph
    groups = [group for group in _groups(graph, context.machine) if len(group) > 1]
    if not groups:
        return graph
    readers = _readers(graph)
    heads = set(graph.outputs.values())
    replacements: dict[Node, Node] = {}
    with drawing(None):
        for group in groups:
            _fuse(graph, group, readers, heads, replacements, context)
    return substitute(graph, replacements)


def _readers(graph: Graph) -> dict[Node, list[Node]]:
    readers: dict[Node, list[Node]] = {node: [] for node in graph.nodes}
    for node in graph.nodes:
        for x in node.inputs:
            readers[x].append(node)
    return readers


def _groups(graph: Graph, machine: Machine) -> list[list[Node]]:
    """Return the runs of nodes of one shape and number that are connected, each in order."""
    shapes: dict[Node, tuple[int, ...]] = {
        node: node.shape
        for node in graph.nodes
        if fusable(node)
        and machine.fusable(node)
        and UNKNOWN not in node.shape
        and not all([value_of(x) is not None for x in node.inputs])
    }
    numbers = _numbers(graph, shapes)
    leader: dict[Node, Node] = {node: node for node in shapes}
    for node, shape in shapes.items():
        for x in node.inputs:
            if shapes.get(x) == shape and numbers[x] == numbers[node]:
                a, b = _found(leader, x), _found(leader, node)
                leader[b] = a
    groups: dict[Node, list[Node]] = {}
    for node in shapes:
        groups.setdefault(_found(leader, node), []).append(node)
    return list(groups.values())


def _found(leader: dict[Node, Node], node: Node) -> Node:
    """Return who leads the group of `node` (Tarjan's union-find, paths halved)."""
    while leader[node] is not node:
        leader[node] = node = leader[leader[node]]
    return node


def _numbers(graph: Graph, shapes: dict[Node, tuple[int, ...]]) -> dict[Node, int]:
    """Return how many barriers there are before each node, or before the first that reads it."""
    numbers: dict[Node, int] = {}
    for node in graph.nodes:
        number = 0
        shape = shapes.get(node)
        for x in node.inputs:
            passes = shape is None or shapes.get(x) == shape
            number = max(number, numbers[x] + (not passes and bool(x.inputs)))
        numbers[node] = number
    heads = set(graph.outputs.values())
    later: dict[Node, int] = {}
    for node in reversed(graph.nodes):
        shape = shapes.get(node)
        if shape is not None and node in later and node not in heads:
            numbers[node] = max(numbers[node], later[node])
        for x in node.inputs:
            reads = numbers[node] if shape is not None and shapes.get(x) == shape else -1
            later[x] = min(later.get(x, reads), reads)
    return numbers


def _fuse(
    graph: Graph,
    group: Sequence[Node],
    readers: dict[Node, list[Node]],
    heads: set[Node],
    replacements: dict[Node, Node],
    context: Context,
) -> None:
    """Draw the op that stands for `group`, and enter what stands for those others read."""
    inside = set(group)
    ports: dict[Node, Node] = {}
    made: dict[Node, Node] = {}
    for node in group:
        for x in node.inputs:
            if x not in inside and x not in made:
                keep = _is_number(x) and (node.op.name == "power" or _stays(x))
                made[x] = x if keep else draw_input(x.name, x.spec, None, x.tracked)
                if made[x] is not x:
                    ports[x] = made[x]
        made[node] = renewed(node, [made[x] for x in node.inputs])
    read = [x for x in group if x in heads or any([r not in inside for r in readers[x]])]
    body = Graph.of(
        {f"x_{i}": port for i, port in enumerate(ports.values())},
        {f"y_{i}": made[x] for i, x in enumerate(read)},
        "fused",
    )
    node = apply_op(fused, list(ports), {"body": body})
    node.line, node._pulled = group[-1].line, group[-1].origin
    before = sum(map(cost_of, group), start=Cost())
    after = Cost(before.flops, _bytes([*ports, *read]), 1)
    names = dict.fromkeys([x.op.name for x in group])
    did = f"{len(group)} ops in one pass: {', '.join(names)}"
    context.moved(graph, group[-1], did, LAW, before, after)
    for old, new in zip(read, items(node), strict=True):
        replacements[old] = like(new, old)


def _is_number(x: Node) -> bool:
    """Whether x is one number, which a body may hold itself."""
    value = value_of(x)
    return value is not None and value.size == 1 and value.ndim == 0


def _stays(x: Node) -> bool:
    """Whether a number is surely the same for all sizes.

    Others may be one over a length, and are handed in, so that what is compiled for a body serves
    all lengths.
    """
    return abs(value_of(x).item()) in (0.0, 0.5, 1.0, 2.0)


def _bytes(nodes: Iterable[Node]) -> int:
    specs: list[Spec] = [node.spec for node in nodes]
    return sum([spec.nbytes for spec in specs])


register(Pass("fuse", LAW, run))
