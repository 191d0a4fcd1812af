"""What no step changes is computed once, before the loop."""

from __future__ import annotations

from autograd.execute.screen import SAFE
from autograd.graph import Graph, unique_name
from autograd.node import OPS, Node, draw_input
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.engine import Context, Pass, title
from autograd.rewrite.nodes import renewed, substitute
from autograd.rewrite.pipeline import register
from autograd.spec import UNKNOWN
from autograd.trampoline import Task, trampoline
from loops.form import most_steps
from loops.rewrite.parts import Entry, Parts, loops_in

LAW = "it depends on shared values only, so it is the same in all steps"

INDEXED = frozenset({"gather", "scatter_set"})
"""Ops that refuse indices which lie outside: when they run, not when they are drawn."""


def invariants(graph: Graph, context: Context) -> Graph:
    """Return `graph` with what loops compute of shared values only moved out before them.

    Functions of the user's stay where they are, since they may tell how often they run. Where it
    is not sure that the loop takes a step, so does what could fail or warn: see `may_move`.
    """
    replacements: dict[Node, Node] = {}
    for node, items in loops_in(graph):
        parts = Parts.of(node)
        moved = move_out(parts)
        if moved:
            names = ", ".join([title(x) for x in moved if x.op.name != "item"])
            once = sum([cost_of(x) for x in moved if not x.bodies], Cost())
            trips = node.op.trips([x.spec for x in node.inputs], node.attrs).count or 1
            context.moved(graph, node, f"moved out {names}", LAW, once * trips, once)
            replacements |= parts.replacements(items)
    return substitute(graph, replacements)


def move_out(parts: Parts) -> list[Node]:
    """Draw outside what can be, share what of it is read inside, and return what was moved."""
    outside = {x.port: x.outer for x in parts.shared}
    inside = {x.port for x in (*parts.states, *parts.each)}
    sure = takes_a_step(parts)
    moved: list[Node] = []
    read = dict.fromkeys(parts.heads)
    for node in parts.body.nodes:
        if node in outside or node in inside:
            continue
        if not node.inputs and not node.bodies:
            outside[node] = node
        elif all([x in outside for x in node.inputs]) and may_move(node, sure):
            outside[node] = renewed(node, [outside[x] for x in node.inputs])
            moved.append(node)
        else:
            read |= dict.fromkeys(node.inputs)
    taken: dict[str, int] = dict.fromkeys(parts.body.inputs, 2)
    made: dict[Node, Node] = {}
    for node in moved:
        if node in read:
            name = unique_name(title(node), taken)
            made[node] = port = draw_input(name, node.spec, None, node.tracked)
            port.line = node.line
            parts.shared.append(Entry(name, port, outside[node]))
    parts.rewire(made)
    return moved


def takes_a_step(parts: Parts) -> bool:
    """Whether the loop surely takes its first step, as far as the graph tells."""
    attrs = parts.node.attrs
    most = most_steps([x.outer for x in parts.each], attrs)
    if attrs.get("counted"):
        return _is_true(parts.shared[0].outer)
    if attrs.get("until") and not _is_true(parts.states[0].outer):
        return False
    return most is None or most is UNKNOWN or most > 0


def _is_true(node: Node) -> bool:
    return node.op.name == "constant" and bool(node._value)


def may_move(node: Node, sure: bool) -> bool:
    """Whether it makes no difference that `node` runs once: also where it would not, if not `sure`.

    A step that is not taken does not divide by zero, so what is moved out of it must not either.
    """
    if not _ours(node):
        return False
    if node.bodies:
        return sure and all([trampoline(_all_ours(body)) for body in node.bodies])
    return sure or node.op.free or (node.op.name in SAFE and node.op.name not in INDEXED)


def _ours(node: Node) -> bool:
    return node.op.portable and OPS.get(node.op.name) is node.op


def _all_ours(graph: Graph) -> Task:
    """Return whether no function of a user's runs in `graph`; a task, as bodies may nest deep."""
    if "ours" not in graph._cache:
        found = all([_ours(node) for node in graph.nodes])
        for node in graph.nodes:
            for body in node.bodies:
                found = (yield _all_ours(body)) and found
        graph._cache["ours"] = found
    return graph._cache["ours"]


register(Pass("invariants", LAW, invariants))
