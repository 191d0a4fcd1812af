"""Chains of matrix products in the cheapest order: (A B) v is A (B v), and so on.

The order is found by dynamic programming over all ways to set parentheses (Godbole 1973, "On
efficient computation of matrix chain products"), with the seconds a machine is said to take for
each product. A product that others read too is a factor of the chain, not taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.cost import Cost, Machine, cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, substitute
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import apply
from autograd.scope import drawing
from autograd.spec import UNKNOWN

LAW = "matrix products are associative: (A B) C = A (B C)"

LONGEST = 16
"""Factors of one chain: the work grows with their cube. Longer ones are several chains."""
GAIN = 0.95
"""What the new order must take of the seconds of the old one to be worth other rounding."""


class _Product(NamedTuple):
    """A product of neighbouring factors: its shape, what it costs, and where it is parted last."""

    shape: tuple[int, ...]
    cost: Cost
    seconds: float
    cut: int


def run(graph: Graph, context: Context) -> Graph:
    """Set the parentheses of each chain anew where that is faster."""
    inner = _inside_of_chains(graph)
    roots = [
        node
        for node in graph.nodes
        if node.op.name == "matmul" and node not in inner and any([x in inner for x in node.inputs])
    ]
    replacements: dict[Node, Node] = {}
    while roots:
        root = roots.pop()
        factors, products = _factors(root, inner)
        roots += [x for x in factors if x in inner]  # what makes a chain too long begins another
        if _is_chain(factors):
            new = _reordered(graph, root, factors, products, context)
            if new is not None:
                replacements[root] = new
    return substitute(graph, replacements)


def _inside_of_chains(graph: Graph) -> set[Node]:
    """Return the products that nobody reads but one other product, once."""
    inner: set[Node] = set()
    others = set(graph.outputs.values())
    for node in graph.nodes:
        for x in node.inputs:
            if x.op.name == "matmul":
                if node.op.name != "matmul" or x in inner:
                    others.add(x)
                inner.add(x)
    return inner - others


def _factors(root: Node, inner: set[Node]) -> tuple[list[Node], list[Node]]:
    """Return the factors of the chain that ends in `root`, and the products it has now."""
    factors = list(root.inputs)
    products = [root]
    place = 0
    while place < len(factors):
        x = factors[place]
        if x in inner and len(factors) < LONGEST:
            factors[place : place + 1] = x.inputs
            products.append(x)
        else:
            place += 1
    return factors, products


def _is_chain(factors: Sequence[Node]) -> bool:
    """Whether products of any neighbours make sense: vectors stand at the ends, by matrices only.

    (A v) B, where v is a vector, has the factors A, v and B, but is no chain of them.
    """
    if len({x.dtype for x in factors}) > 1 or any([UNKNOWN in x.shape for x in factors]):
        return False
    ranks = [x.ndim for x in factors]
    return min(ranks[1:-1]) >= 2 and (min(ranks) >= 2 or max(ranks) == 2)


def _reordered(
    graph: Graph,
    root: Node,
    factors: Sequence[Node],
    products: Sequence[Node],
    context: Context,
) -> Node | None:
    """Return the chain in its fastest order, or None if that gains too little."""
    table = _table(factors, context.machine)
    best = table[0, len(factors)]
    costs = list(map(cost_of, products))
    now = sum(costs, start=Cost())
    seconds = sum([context.machine.seconds(cost) for cost in costs])
    did = f"the order {_text(table, 0, len(factors))} of {len(factors)} factors"
    if best.seconds >= GAIN * seconds:
        if best.seconds < seconds:
            why = f"gains less than {1 - GAIN:.0%}, which is not worth other rounding"
            context.left(graph, root, did, why, now, best.cost)
        return None
    context.moved(graph, root, did, LAW, now, best.cost)
    with drawing(None):
        return like(_drawn(table, factors, 0, len(factors)), root)


_Table = dict[tuple[int, int], _Product]
"""The fastest product of the factors from one position up to another."""


def _table(factors: Sequence[Node], machine: Machine) -> _Table:
    itemsize = factors[0].dtype.itemsize
    table = {}
    for i, x in enumerate(factors):
        table[i, i + 1] = _Product(x.shape, Cost(), 0.0, i)
    for length in range(2, len(factors) + 1):
        for i in range(len(factors) - length + 1):
            k = i + length
            ways = [
                _product(table[i, j], table[j, k], j, itemsize, machine) for j in range(i + 1, k)
            ]
            table[i, k] = min(ways, key=lambda way: way.seconds)
    return table


def _product(a: _Product, b: _Product, cut: int, itemsize: int, machine: Machine) -> _Product:
    """Return the product of two products: `matmul` of their shapes."""
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + a.shape[-2:-1]
    if len(b.shape) > 1:
        shape += b.shape[-1:]
    elements = prod(shape)
    moved = (prod(a.shape) + prod(b.shape) + elements) * itemsize
    cost = Cost(2 * elements * a.shape[-1], moved, 1)
    seconds = a.seconds + b.seconds + machine.seconds(cost)
    return _Product(shape, a.cost + b.cost + cost, seconds, cut)


def _drawn(table: _Table, factors: Sequence[Node], i: int, k: int) -> Node:
    if k == i + 1:
        return factors[i]
    j = table[i, k].cut
    return apply("matmul", _drawn(table, factors, i, j), _drawn(table, factors, j, k))


def _text(table: _Table, i: int, k: int) -> str:
    """Return where the parentheses are: `(a b) (c d)`."""
    if k == i + 1:
        return chr(ord("a") + i)
    j = table[i, k].cut
    parts = [_text(table, i, j), _text(table, j, k)]
    return " ".join([f"({part})" if " " in part else part for part in parts])


register(Pass("chain", LAW, run, rounding=True))
