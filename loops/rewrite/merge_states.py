"""Ports that hold the same are one port: states above all, then what is given and collected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import substitute
from autograd.rewrite.pipeline import register
from loops.rewrite.equal import (
    classes_of_states,
    first_alike,
    first_of,
    numbers_inside,
    numbers_of_ports,
)
from loops.rewrite.parts import Entry, Parts, Result, loops_in

LAW = "equal at the start and fed alike in each step, they are equal in all steps"


def merge_states(graph: Graph, context: Context) -> Graph:
    """Return `graph` with loops whose equal states, inputs and collected outputs are one each."""
    replacements: dict[Node, Node] = {}
    for node, items in loops_in(graph):
        parts = Parts.of(node)
        gone = merge_equal(parts)
        if gone:
            context.moved(graph, node, f"merged {', '.join(gone)}", LAW)
            replacements |= parts.replacements(items)
    return substitute(graph, replacements)


def merge_equal(parts: Parts) -> list[str]:
    """Keep the first of ports that are equal, and say which others became one with it.

    The first stays, so what steers a loop (see `Port.steers`) stays where it is.
    """
    given = numbers_of_ports(parts)
    classes = classes_of_states(parts, given)
    numbers = numbers_inside(parts, given, classes)
    stacks = first_of([numbers[x.node] for x in parts.collected])
    ports: list[tuple[Entry, Entry]] = []
    results: list[tuple[Result, Result]] = []
    parts.shared = _kept(parts.shared, first_alike(parts.shared, given), ports)
    parts.states = _kept(parts.states, classes, ports, results)
    parts.each = _kept(parts.each, first_alike(parts.each, given), ports)
    parts.collected = _kept(parts.collected, stacks, results)
    other = dict(results)
    parts.results = {i: other.get(x, x) for i, x in parts.results.items()}
    parts.rewire({x.port: y.port for x, y in ports})
    return [f"{x.name} with {y.name}" for x, y in dict([*ports, *results]).items()]


def _kept(entries: list[Any], firsts: Sequence[int], *merged: list[tuple[Any, Any]]) -> list[Any]:
    """Return the first of equal entries; add each other one, with its first, to `merged` lists."""
    pairs = [(x, entries[k]) for x, k in zip(entries, firsts, strict=True) if x is not entries[k]]
    for pairs_so_far in merged:
        pairs_so_far += pairs
    return [x for i, x in enumerate(entries) if firsts[i] == i]


register(Pass("merge_states", LAW, merge_states))
