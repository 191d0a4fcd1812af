"""Ports that nobody reads go, and what a loop hands out as it came in goes around it."""

from __future__ import annotations

from collections.abc import Collection

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import substitute
from autograd.rewrite.pipeline import register
from loops.rewrite.levels import outside_in
from loops.rewrite.parts import Collected, Entry, Parts, State, loops_in, stopped_by_data

LAW = "what nobody reads changes nothing; what no step changes is what it was before the loop"


def trim_ports(graph: Graph, context: Context) -> Graph:
    """Return `graph` with loops that have no port for what is not read or does not change.

    A state that nobody reads but its own next value, or others like it, is not read.
    """
    replacements: dict[Node, Node] = {}
    for node, items in loops_in(graph):
        parts = Parts.of(node)
        gone = [*go_around(parts), *drop_unread(parts, {x.attrs["index"] for x in items})]
        if gone:
            context.moved(graph, node, f"left out {', '.join(gone)}", LAW)
            replacements |= parts.replacements(items)
    return substitute(graph, replacements)


def go_around(parts: Parts) -> list[str]:
    """Make states that no step changes shared, and slices that are only collected sequences again.

    Where the data stop the loop, rows of steps that do not run are zero, not those of the sequence.
    """
    same = [x for x in parts.states[_steering(parts) :] if x.after is x.port and x.lag == 1]
    outer: dict[State | Collected, Node] = {x: x.outer for x in same}
    parts.shared += [Entry(x.name, x.port, x.outer) for x in same]
    parts.states = [x for x in parts.states if x not in outer]
    if not stopped_by_data(parts.node.attrs):
        sequences = {x.port: x.outer for x in parts.each}
        outer |= {x: sequences[x.node] for x in parts.collected if x.node in sequences}
        parts.collected = [x for x in parts.collected if x not in outer]
    parts.results = {
        i: outer.get(x, x) if isinstance(x, State | Collected) else x
        for i, x in parts.results.items()
    }
    return [x.name for x in outer]


def drop_unread(parts: Parts, read: Collection[int]) -> list[str]:
    """Drop the ports that nothing needs for the outputs `read` (positions); return their names.

    One of the per-step inputs stays in any case: it says how long the loop runs.
    """
    wanted = {parts.results[i] for i in read}
    first = parts.states[: _steering(parts)]
    live, seen = _live([*first, *[x for x in wanted if isinstance(x, State | Collected)]], parts)
    counted = parts.shared[:1] if parts.node.attrs.get("counted") else []
    before: list[Entry | Collected] = [*parts.shared, *parts.states, *parts.each, *parts.collected]
    parts.shared = [x for x in parts.shared if x.port in seen or x in counted]
    parts.states = [x for x in parts.states if x in live]
    parts.collected = [x for x in parts.collected if x in live]
    if parts.each:
        shortest = min(parts.each, key=_effort)
        parts.each = [x for x in parts.each if x.port in seen] or [shortest]
    after: set[Entry | Collected] = {*parts.shared, *parts.states, *parts.each, *parts.collected}
    return [x.name for x in before if x not in after]


def _live(heads: list[State | Collected], parts: Parts) -> tuple[set[State | Collected], set[Node]]:
    """Return which states and collected outputs `heads` need, and all nodes of the body they do."""
    states = {x.port: x for x in parts.states}
    live = set(heads)
    seen: set[Node] = set()
    stack = [x.after if isinstance(x, State) else x.node for x in heads]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack += node.inputs
        state = states.get(node)
        if state is not None and state not in live:
            live.add(state)
            stack.append(state.after)
    return live, seen


def _steering(parts: Parts) -> int:
    """Return how many states the loop itself reads: see `until` in `loops/form.py`."""
    return 2 if parts.node.attrs.get("until") else 0


def _effort(entry: Entry) -> tuple[bool, int]:
    """Return what it takes to keep a sequence that nobody reads: least for what is there anyway."""
    return bool(entry.outer.inputs), entry.outer.spec.nbytes


register(Pass("trim_ports", LAW, outside_in(trim_ports, and_back=True)))
