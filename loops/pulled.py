"""Which inputs of a body surely get a gradient: found by following rules, without drawing any.

For each output of a body the set of inputs that get a gradient if this output is given one. The
sets are bits of an int (bit i: input i), so that one pass over the nodes of a body finds them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from autograd.graph import Graph
from autograd.node import Node
from autograd.trampoline import Task


def pulled(body: Graph) -> Task:
    """Return one set of inputs for each output of `body`; a task, so that bodies may nest.

    They are kept with the body.
    """
    known = body._cache.get("pulled")
    if known is None:
        known = body._cache["pulled"] = yield _pulled(body)
    return known


def _pulled(body: Graph) -> Task:
    sets = {x: 1 << i if x.spec.floating else 0 for i, x in enumerate(body.inputs.values())}
    passed: dict[Node, Sequence[int]] = {}
    for node in body.nodes:
        if node in sets:
            continue
        if node.bodies:
            passed[node] = yield _passed(node)
            continue
        if node.op.name == "item" and node.inputs[0] in passed:
            source = node.inputs[0]
            reads: Sequence[Node] = [
                source.inputs[i] for i in positions(passed[source][node.attrs["index"]])
            ]
        else:
            reads = _read_by_rules(node)
        found = 0
        if node.op.multiple or node.spec.floating:
            for x in reads:
                found |= sets[x]
        sets[node] = found
    return tuple([sets[y] for y in body.outputs.values()])


def _read_by_rules(node: Node) -> Sequence[Node]:
    """Return the inputs of a node without bodies that the gradient has a rule for."""
    rules = node.op.vjps
    if len(rules) == len(node.inputs):
        return [x for x, rule in zip(node.inputs, rules, strict=True) if rule is not None]
    return node.inputs


def _passed(node: Node) -> Task:
    """Return for each output of a node with bodies a set of inputs of the node.

    What reads a state reads, in later steps, all that the state is fed by. A final value is the
    initial one where no step runs. The closure over the states is by rows of bits (S. Warshall,
    "A theorem on Boolean matrices", 1962).
    """
    entries, exits = node.op.ports(node.attrs)
    outer = {(port.body, port.inner): 1 << port.outer for port in entries}
    feeds = {port.outer: (port.body, port.fed_by) for port in entries if port.fed_by is not None}
    sets: dict[tuple[int, int], int] = {}
    for number, body in enumerate(node.bodies):
        for i, inner in enumerate((yield pulled(body))):
            sets[number, i] = sum([outer.get((number, k), 0) for k in positions(inner)])
    for state, after in feeds.items():
        for key, found in sets.items():
            if found >> state & 1:
                sets[key] |= sets[after]
    initial = {after: 1 << state for state, after in feeds.items()}
    specs: Any = node.spec
    result = [0] * len(specs)
    for way in exits:
        key = (way.body, way.inner)
        result[way.outer] |= sets[key]
        if way.kind == "final":
            result[way.outer] |= initial.get(key, 0)
    return result


def positions(bits: int) -> Iterator[int]:
    """Yield the numbers in a set, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
