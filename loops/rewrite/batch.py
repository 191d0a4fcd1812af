"""Pass `batch`: what no state reaches is computed before the loop, for all steps at once.

    h = tanh(x @ u + h @ w)  ->  xus = xs @ u before the loop, in it h = tanh(xu + h @ w)

Products with a matrix that all steps share always go. Other work goes where the calls it saves
outweigh writing its results for all steps to memory and reading them again.
"""

from __future__ import annotations

from collections.abc import Mapping

from autograd.graph import Graph
from autograd.node import Node, draw_input
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.pipeline import register
from loops.rewrite.accumulators import accumulators
from loops.rewrite.parts import Entry, Parts
from loops.rewrite.steps import (
    AllSteps,
    Kind,
    Prices,
    ancestors_of,
    changed_loops,
    drawable,
    is_product,
    is_view,
    kinds_of,
    uses_of,
)

LAW = "no state reaches it, so every step computes the same function of its own per-step inputs"


def batch(graph: Graph, context: Context) -> Graph:
    """Return `graph` with what no state reaches computed before its loops."""
    return changed_loops(graph, context, _batched)


def _batched(parts: Parts, steps: int, items: list[Node], context: Context) -> dict[Node, Node]:
    kinds = kinds_of(parts)
    ports = {x.port for x in parts.each}
    wanted = _read_on_the_way(parts, kinds)
    nodes = [x for x in parts.body.nodes if x in wanted and x not in ports]
    able = drawable([x for x in nodes if kinds[x] is Kind.STEP], kinds, ports)
    prices = Prices(context.machine, parts, kinds, steps)
    chosen = _chosen(nodes, able, ports, prices)
    front = _front(parts, chosen)
    _note(parts, nodes, able, chosen, prices, context)
    if not front:
        return {}
    outside = AllSteps(parts, steps)
    made = {}
    for node in front:
        stack = outside.of(node)
        entry = Entry(node.name or node.op.name, _port(node, stack), stack)
        parts.each.append(entry)
        made[node] = entry.port
    parts.rewire(made)
    return parts.replacements(items)


def _port(node: Node, stack: Node) -> Node:
    port = draw_input(node.name or node.op.name, node.spec, None, stack.tracked)
    port.line = node.line
    return port


def _read_on_the_way(parts: Parts, kinds: Mapping[Node, Kind]) -> set[Node]:
    """Return the nodes that states, or stacked values that states reach, depend on.

    What is only added up, or stacked as it is, needs no port: `contract` and `push_out` take it.
    """
    sums = {each.state for each in accumulators(parts)}
    heads = [x.after for x in parts.states if x not in sums]
    heads += [x.node for x in parts.collected if kinds[x.node] is Kind.STATE]
    return ancestors_of(heads)


def _chosen(nodes: list[Node], able: set[Node], ports: set[Node], prices: Prices) -> set[Node]:
    """Return the nodes to compute before the loop: products with all they need, and what pays."""
    kinds = prices.kinds
    chosen: set[Node] = set()
    for node in nodes:
        if node in able and is_product(node, kinds):
            needed = (ancestors_of([node]) & able) - chosen
            if prices.fits(needed):
                chosen |= needed
    for node in nodes:
        if node not in able or node in chosen:
            continue
        inputs = [x for x in node.inputs if kinds[x] is Kind.STEP]
        if not all([x in ports or x in chosen for x in inputs]):
            continue
        pays = is_view(node) or prices.outside(node) < prices.inside(node)
        if pays and prices.fits([node]):
            chosen.add(node)
    return _without_idle_views(nodes, chosen)


def _without_idle_views(nodes: list[Node], chosen: set[Node]) -> set[Node]:
    """Return `chosen` without views that no other of them reads: in the loop they cost nothing."""
    read: set[Node] = set()
    for node in reversed(nodes):
        if node in chosen and (node in read or not is_view(node)):
            read.update(node.inputs)
    return {
        x
        for x in chosen
        if not is_view(x) or x in read or (x.op.name == "item" and x.inputs[0] in read)
    }


def _front(parts: Parts, chosen: set[Node]) -> list[Node]:
    """Return those chosen that others read in the loop."""
    left = [x for x in parts.body.nodes if x not in chosen]
    uses = uses_of(left, parts.heads)
    return [x for x in parts.body.nodes if x in chosen and uses[x]]


def _note(
    parts: Parts,
    nodes: list[Node],
    able: set[Node],
    chosen: set[Node],
    prices: Prices,
    context: Context,
) -> None:
    """Tell what is computed before the loop, and what is not though it could be."""
    for node in nodes:
        if prices.kinds[node] is not Kind.STEP or is_view(node):
            continue
        before, after = prices.step_cost(node) * prices.steps, prices.outside_cost(node)
        if node in chosen:
            context.moved(parts.body, node, "computed before the loop", LAW, before, after)
        elif node in able:
            context.left(
                parts.body,
                node,
                "computed before the loop",
                prices.why_not(node, "before"),
                before,
                after,
            )


register(Pass("batch", LAW, batch, rounding=True))
