"""Pass `split_products`: a product of values side by side is taken apart, state from the rest.

    concat([x, h]) @ w  ->  x @ w[:D] + h @ w[D:]
    gx, gh = split(d @ w.T)  ->  gx = d @ w.T[:, :D], gh = d @ w.T[:, D:]

The one part is then computed before the loop (`batch`), or after it (`push_out`), or, if nothing
reads it, not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import groupby

from autograd.graph import Graph
from autograd.node import Node
from autograd.ops.elementwise import add
from autograd.ops.join import concat
from autograd.ops.products import matmul
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, substitute, with_body
from autograd.rewrite.pipeline import register
from autograd.scope import drawing
from loops.rewrite.parts import Parts
from loops.rewrite.steps import Kind, ancestors_of, changed_loops, kinds_of

LAW = "a product with blocks side by side is made of the products with each, but for rounding"


def split_products(graph: Graph, context: Context) -> Graph:
    """Return `graph` with products in its loops taken apart where part of them can leave."""
    return changed_loops(graph, context, _split)


def _split(parts: Parts, _: int, __: list[Node], context: Context) -> dict[Node, Node]:
    found = {**_of_joined(parts, context), **_of_divided(parts, context)}
    if not found:
        return {}
    return {parts.node: with_body(parts.node, {"body": substitute(parts.body, found)})}


def _of_joined(parts: Parts, context: Context) -> dict[Node, Node]:
    """Return what stands for concat(...) @ w, where a state reaches some of what is joined."""
    kinds = kinds_of(parts)
    found = {}
    for node in parts.body.nodes:
        if node.op is not matmul or not _splittable(node, kinds):
            continue
        joined, w = node.inputs
        if joined.op.name != "concat" or joined.attrs["axis"] != joined.ndim - 1:
            continue
        reached = [kinds[x] is Kind.STATE for x in joined.inputs]
        if all(reached) or not any([kinds[x] is Kind.STEP for x in joined.inputs]):
            continue
        terms = []
        start = 0
        with drawing(None):
            for _, group in groupby(joined.inputs, key=lambda x: kinds[x] is Kind.STATE):
                some = list(group)
                x = some[0] if len(some) == 1 else concat(some, axis=-1)
                stop = start + x.shape[-1]
                terms.append(matmul(x, w[start:stop]))
                start = stop
            found[node] = like(reduce(add, terms), node)
        context.moved(parts.body, node, "what a state reaches taken apart from the rest", LAW)
    return found


def _of_divided(parts: Parts, context: Context) -> dict[Node, Node]:
    """Return what stands for the parts of split(x @ w), where a state depends on some of them."""
    kinds = kinds_of(parts)
    feeding = ancestors_of([x.after for x in parts.states])
    found = {}
    for node in parts.body.nodes:
        if node.op.name != "split":
            continue
        product = node.inputs[0]
        last = node.attrs["axis"] == product.ndim - 1
        if product.op is not matmul or not last or not _splittable(product, kinds):
            continue
        items = [x for x in parts.body.consumers(node) if x.op.name == "item"]
        sizes = node.attrs["sizes"]
        fed = {x.attrs["index"] for x in items if x in feeding}
        if not fed or len(fed) == len(sizes) or len(parts.body.consumers(product)) > 1:
            continue
        x, w = product.inputs
        with drawing(None):
            for item in items:
                start = sum(sizes[: item.attrs["index"]])
                columns = w[:, start : start + sizes[item.attrs["index"]]]
                found[item] = like(matmul(x, columns), item)
        context.moved(parts.body, product, "what a state needs taken apart from the rest", LAW)
    return found


def _splittable(node: Node, kinds: Mapping[Node, Kind]) -> bool:
    """Whether a product is with one matrix that all steps share, and a state reaches it."""
    _, w = node.inputs
    return w.ndim == 2 and kinds[w] is Kind.SHARED and kinds[node] is Kind.STATE


register(Pass("split_products", LAW, split_products, rounding=True))
