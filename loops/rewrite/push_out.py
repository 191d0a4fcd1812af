"""Pass `push_out`: what no state depends on is computed after the loop, for all steps at once.

    collect(sigmoid(h @ v))  ->  hs = collect(h) in the loop, sigmoid(hs @ v) after it

Products with a matrix that all steps share always go, and what is computed from them. Other work
goes where the calls it saves outweigh reading and writing values of all steps. What is stacked
instead is chosen so that few bytes are.
"""

from __future__ import annotations

from collections.abc import Mapping

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.pipeline import register
from loops.rewrite.parts import Collected, Parts
from loops.rewrite.steps import (
    AllSteps,
    Kind,
    Prices,
    ancestors_of,
    changed_loops,
    has_rule,
    is_product,
    is_view,
    kinds_of,
)

LAW = "no state depends on it, so it may wait until all steps have run"


def push_out(graph: Graph, context: Context) -> Graph:
    """Return `graph` with what no state depends on computed after its loops."""
    return changed_loops(graph, context, _pushed)


def _pushed(parts: Parts, steps: int, items: list[Node], context: Context) -> dict[Node, Node]:
    kinds = kinds_of(parts)
    prices = Prices(context.machine, parts, kinds, steps)
    chosen, stacks = _chosen(parts, prices)
    _note(parts, chosen, prices, context)
    known = {x.port for x in parts.each}
    moved = [
        x
        for x in parts.collected
        if x.node in chosen or x.node in known or kinds[x.node] is Kind.SHARED
    ]
    if not moved:
        return {}
    away = {id(x) for x in moved}
    parts.collected = [x for x in parts.collected if id(x) not in away]
    there = {x.node for x in parts.collected}
    parts.collected += [Collected(x.name or x.op.name, x) for x in stacks if x not in there]
    outputs = parts.outputs()
    outside = AllSteps(parts, steps)
    for each in parts.collected:
        outside.give(each.node, outputs[each])
    for item in items:
        index = item.attrs["index"]
        result = parts.results[index]
        if isinstance(result, Collected) and id(result) in away:
            parts.results[index] = outside.stacked(result.node)
    return parts.handed_out(items, outputs)


def _chosen(parts: Parts, prices: Prices) -> tuple[set[Node], list[Node]]:
    """Return the nodes to compute after the loop, and what they read of what a state reaches."""
    kinds = prices.kinds
    feeding = ancestors_of([x.after for x in parts.states])
    nodes = [x for x in parts.body.nodes if x not in feeding and x.inputs]
    readers: dict[Node, list[Node]] = {}
    for node in parts.body.nodes:
        for x in node.inputs:
            readers.setdefault(x, []).append(node)
    able = _able(nodes, readers)
    heads = {x.node for x in parts.collected}
    forced = _forced(nodes, able, heads, prices, readers)
    chosen: set[Node] = set()
    free = {x.port for x in parts.each}
    stacked = {x for x in heads if kinds[x] is not Kind.SHARED and x not in free}
    for node in reversed(nodes):
        if node not in able or kinds[node] is Kind.SHARED or node.op.name == "item":
            continue
        values = readers.get(node, []) if node.op.multiple else [node]
        if any([reader not in chosen for x in values for reader in readers.get(x, ())]):
            continue
        sources = {x for x in node.inputs if kinds[x] is not Kind.SHARED and x not in free}
        spared = stacked.intersection(values)
        goes = node in forced or _pays(node, sources - stacked, spared, prices)
        if goes and (node in forced or prices.fits({node} - heads)):
            chosen.update([node, *values])
            stacked.difference_update(values)
            stacked |= sources
    read = {x for node in chosen for x in node.inputs}
    return chosen, [x for x in parts.body.nodes if x in stacked and x in read]


def _able(nodes: list[Node], readers: Mapping[Node, list[Node]]) -> set[Node]:
    """Return those that have a rule, and so has all that is computed from them."""
    able: set[Node] = set()
    for node in reversed(nodes):
        if has_rule(node) and all([x in able for x in readers.get(node, ())]):
            able.add(node)
    return able


def _forced(
    nodes: list[Node],
    able: set[Node],
    heads: set[Node],
    prices: Prices,
    readers: Mapping[Node, list[Node]],
) -> set[Node]:
    """Return the products that go, with all that is computed from them.

    What is stacked anyway is held anyway. The rest must fit: scores of all words of a language at
    all steps, of which only the best is stacked, do not.
    """
    forced: set[Node] = set()
    for product in [x for x in nodes if x in able and is_product(x, prices.kinds)]:
        more = {product}
        stack = [product]
        while stack:
            for reader in readers.get(stack.pop(), ()):
                if reader not in more and reader not in forced:
                    more.add(reader)
                    stack.append(reader)
        if prices.fits(more - heads):
            forced |= more
    return forced


def _pays(node: Node, fresh: set[Node], spared: set[Node], prices: Prices) -> bool:
    """Whether computing `node` after the loop is cheaper.

    `fresh` is then stacked for it, and what is `spared` is not.
    """
    inside = prices.inside(node) + sum([prices.stacking(x) for x in spared])
    outside = prices.outside(node) + sum([prices.stacking(x) for x in fresh])
    return outside <= inside if is_view(node) else outside < inside


def _note(parts: Parts, chosen: set[Node], prices: Prices, context: Context) -> None:
    """Tell what is computed after the loop, and what is not though it could be."""
    for node in parts.body.nodes:
        if node in chosen and not is_view(node):
            before, after = prices.step_cost(node) * prices.steps, prices.outside_cost(node)
            context.moved(parts.body, node, "computed after the loop", LAW, before, after)
    feeding = ancestors_of([x.after for x in parts.states])
    heads = {x.node for x in parts.collected}
    for node in parts.body.nodes:
        varies = prices.kinds[node] is not Kind.SHARED and bool(node.inputs)
        if not varies or node in feeding or node in chosen or not has_rule(node):
            continue
        costly = node in heads and prices.inside(node) <= prices.outside(node)
        if costly or is_product(node, prices.kinds):
            context.left(
                parts.body,
                node,
                "computed after the loop",
                prices.why_not(node, "after"),
                prices.step_cost(node) * prices.steps,
                prices.outside_cost(node),
            )


register(Pass("push_out", LAW, push_out, rounding=True))
