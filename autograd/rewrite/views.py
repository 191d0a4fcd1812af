"""What only rearranges elements is done once, or not at all.

No element changes. But an array may come out laid out otherwise in memory, and NumPy adds up the
elements of a row in another order where they lie in another one, so sums of it may round otherwise;
and a sum of the one element -0.0 is 0.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autograd.graph import Graph
from autograd.node import Node
from autograd.ops.elementwise import Elementwise
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import renewed, rewritten
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import Found, Rule, apply, by_rules
from autograd.spec import UNKNOWN

LAW = "the same elements in the same places"

_SHAPES = frozenset({"expand_dims", "reshape", "squeeze"})
"""Ops that give the elements, in row-major order, another shape."""


def _reshaped(node: Node, x: Node, did: str) -> Found:
    """Return x in the shape of `node`, which has its elements in row-major order."""
    if x.spec == node.spec:
        return x, f"{did} = x"
    if node.op.name == "reshape" and node.inputs[0] is x:
        return None  # it is that already
    if UNKNOWN in node.shape or UNKNOWN in x.shape:
        return None
    return apply("reshape", x, shape=node.shape), f"{did} = reshape(x)"


def _shape(node: Node) -> Found:
    (x,) = node.inputs
    if x.op.name in _SHAPES:
        return _reshaped(node, x.inputs[0], f"{node.op.name}({x.op.name}(x))")
    return (x, f"{node.op.name} to the same shape") if x.spec == node.spec else None


def _unchanged(node: Node) -> Found:
    """Ops that may have nothing to do: `broadcast_to` and `sum_to` the same shape, and so on."""
    (x,) = node.inputs
    return (x, f"{node.op.name} of what is so already") if x.spec == node.spec else None


def _broadcast_twice(node: Node) -> Found:
    (x,) = node.inputs
    if x.op.name != "broadcast_to":
        return None
    return apply("broadcast_to", x.inputs[0], shape=node.shape), "broadcast twice = once"


def _order(node: Node) -> tuple[int, ...]:
    """Return the axes of its input that a node that permutes axes has, in order."""
    if node.op.name == "permute_dims":
        return tuple([a % node.ndim for a in node.attrs["axes"]])
    order = list(range(node.ndim))
    a, b = node.attrs["axis1"], node.attrs["axis2"]
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def _permuted(node: Node) -> Found:
    (x,) = node.inputs
    order = _order(node)
    unmoved = tuple(range(node.ndim))
    if order == unmoved:
        return x, "axes in the order they are in"
    if x.op.name not in ("permute_dims", "swapaxes"):
        return None
    inner = _order(x)
    both = tuple([inner[a] for a in order])
    if both == unmoved:
        return x.inputs[0], "transposed twice = x"
    moved = [a for a in unmoved if both[a] != a]
    if len(moved) == 2:
        a, b = [axis - node.ndim for axis in moved]
        return apply("swapaxes", x.inputs[0], axis1=a, axis2=b), "two transposes = one"
    return apply("permute_dims", x.inputs[0], axes=both), "two transposes = one"


def _flipped(node: Node) -> Found:
    (x,) = node.inputs
    if x.op.name != "flip" or sorted(x.attrs["axes"]) != sorted(node.attrs["axes"]):
        return None
    return x.inputs[0], "flipped twice = x"


def _cast(node: Node) -> Found:
    """x as a wider dtype of its kind and then as another is x as that other."""
    (x,) = node.inputs
    if x.op.name != "astype":
        return None
    source = x.inputs[0]
    if source.dtype.kind != x.dtype.kind or not np.can_cast(source.dtype, x.dtype, "safe"):
        return None
    if source.spec == node.spec:
        return source, "cast there and back = x"
    return apply("astype", source, dtype=node.dtype.name), "two casts = one"


def _reduced(node: Node) -> Found:
    """The sum, mean or extreme of one element each is that element."""
    (x,) = node.inputs
    if x.dtype != node.dtype or any([x.shape[a] != 1 for a in node.attrs["axis"]]):
        return None
    return _reshaped(node, x, f"{node.op.name} of one element")


def _sliced(node: Node) -> Found:
    """A slice with all elements of x has them in their order, unless it goes backwards."""
    (x,) = node.inputs
    if x.size != node.size or UNKNOWN in x.shape:
        return None
    if any([type(part) is tuple and (part[3] or 1) < 0 for part in node.attrs["key"]]):
        return None
    return _reshaped(node, x, "slice of everything")


def _part(node: Node) -> Found:
    """An output of what takes apart what was just joined is one of the parts."""
    whole = node.inputs[0]
    index = node.attrs["index"]
    if whole.op.name not in ("split", "unstack"):
        return None
    joined = whole.inputs[0]
    if whole.op.name == "split" and len(whole.attrs["sizes"]) == 1:
        return joined, "split into one = x"
    if joined.op.name != {"split": "concat", "unstack": "stack"}[whole.op.name]:
        return None
    if _axis(whole, joined.ndim) != _axis(joined, joined.ndim):
        return None
    specs: Sequence[object] = [x.spec for x in joined.inputs]
    if specs != list(whole._spec or ()):
        return None
    return joined.inputs[index], f"{whole.op.name}({joined.op.name}(xs)) = xs"


def _joined(node: Node) -> Found:
    """Joining all parts of a value in their order gives the value."""
    first = node.inputs[0]
    if len(node.inputs) == 1 and node.op.name == "concat":
        return first, "concat of one = x"
    if first.op.name != "item":
        return None
    whole = first.inputs[0]
    if whole.op.name != {"concat": "split", "stack": "unstack"}[node.op.name]:
        return None
    source = whole.inputs[0]
    if source.spec != node.spec or _axis(whole, source.ndim) != _axis(node, node.ndim):
        return None
    for i, x in enumerate(node.inputs):
        if x.op.name != "item" or x.inputs[0] is not whole or x.attrs["index"] != i:
            return None
    return source, f"{node.op.name}({whole.op.name}(x)) = x"


def _axis(node: Node, ndim: int) -> int:
    axis: int = node.attrs["axis"]
    return axis % ndim


RULES: dict[str, tuple[Rule, ...]] = {
    "astype": (_unchanged, _cast),
    "broadcast_to": (_unchanged, _broadcast_twice),
    "concat": (_joined,),
    "expand_dims": (_shape,),
    "flip": (_flipped,),
    "item": (_part,),
    "max": (_reduced,),
    "mean": (_reduced,),
    "min": (_reduced,),
    "permute_dims": (_permuted,),
    "reshape": (_shape,),
    "slice": (_sliced,),
    "squeeze": (_shape,),
    "stack": (_joined,),
    "sum": (_reduced,),
    "sum_to": (_unchanged,),
    "swapaxes": (_permuted,),
}


def run(graph: Graph, context: Context) -> Graph:
    """Apply the rules, then let elementwise ops broadcast what was broadcast for them."""
    graph = by_rules(graph, context, RULES, LAW)

    def rule(node: Node) -> Node | None:
        xs = _narrowed(node)
        if xs is None:
            return None
        context.moved(graph, node, "op(x, broadcast_to(y)) = op(x, y)", LAW)
        return renewed(node, xs)

    return rewritten(graph, rule)


def _narrowed(node: Node) -> list[Node] | None:
    """Return the inputs of an elementwise op without broadcasts that it does itself, or None."""
    if not isinstance(node.op, Elementwise):
        return None
    if not any([x.op.name == "broadcast_to" for x in node.inputs]) or UNKNOWN in node.shape:
        return None
    xs = list(node.inputs)
    for i, x in enumerate(xs):
        if x.op.name == "broadcast_to":
            shapes = [y.shape for y in xs]
            shapes[i] = x.inputs[0].shape
            if np.broadcast_shapes(*shapes) == node.shape:
                xs[i] = x.inputs[0]
    return None if all([x is y for x, y in zip(xs, node.inputs, strict=True)]) else xs


register(Pass("views", LAW, run, rounding=True))
