"""What is there twice in a loop is there once: states above all, inputs, outputs and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import substitute
from autograd.rewrite.pipeline import register
from loops.rewrite.equal import first_of, numbered
from loops.rewrite.levels import outside_in
from loops.rewrite.parts import Entry, Parts, Result, loops_in

LAW = "equal at the start and fed alike in each step, they are equal in all steps"


def merge_states(graph: Graph, context: Context) -> Graph:
    """Return `graph` with loops whose equal states, inputs and collected outputs are one each."""
    replacements: dict[Node, Node] = {}
    for node, items in loops_in(graph):
        parts = Parts.of(node)
        gone = merge_equal(parts)
        if gone:
            before = Parts.of(node).cost()
            context.moved(graph, node, f"merged {', '.join(gone)}", LAW, before, parts.cost())
            replacements |= parts.replacements(items)
    return substitute(graph, replacements)


def merge_equal(parts: Parts) -> list[str]:
    """Keep the first of ports that are equal, and say which others became one with it.

    Then nodes that are equal are one too, so that loops inside are seen to read the same. The first
    stays, so what steers a loop (see `Port.steers`) stays where it is.
    """
    numbers, states = numbered(parts)
    ports: list[tuple[Entry, Entry]] = []
    results: list[tuple[Result, Result]] = []

    def alike(nodes: list[Node]) -> list[int]:
        return first_of([numbers[x] for x in nodes])

    parts.shared = _kept(parts.shared, alike([x.port for x in parts.shared]), ports)
    parts.states = _kept(parts.states, states, ports, results)
    parts.each = _kept(parts.each, alike([x.port for x in parts.each]), ports)
    parts.collected = _kept(parts.collected, alike([x.node for x in parts.collected]), results)
    if not (ports or results):
        return []
    other = dict(results)
    parts.results = {i: other.get(x, x) for i, x in parts.results.items()}
    firsts: dict[Any, Node] = {}
    for node in parts.nodes():
        firsts.setdefault(numbers[node], node)
    twice = {node: firsts[numbers[node]] for node in parts.nodes() if node.inputs}
    twice |= {x.port: y.port for x, y in ports}
    parts.rewire({x: y for x, y in twice.items() if x is not y})
    return [f"{x.name} with {y.name}" for x, y in dict([*ports, *results]).items()]


def _kept(entries: list[Any], firsts: Sequence[int], *merged: list[tuple[Any, Any]]) -> list[Any]:
    """Return the first of equal entries; add each other one, with its first, to `merged` lists."""
    pairs = [(x, entries[k]) for x, k in zip(entries, firsts, strict=True) if x is not entries[k]]
    for found in merged:
        found += pairs
    return [x for i, x in enumerate(entries) if firsts[i] == i]


register(Pass("merge_states", LAW, outside_in(merge_states)))
