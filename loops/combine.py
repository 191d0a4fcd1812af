"""Loops of loops: both directions, layer on layer, and layers as the steps of a loop.

A *body* is what `scan` takes, one step: `fn(carry, x) -> (carry, y)`. A *layer* runs over a whole
sequence; it is called as `scan` is, without the body: `layer(init, xs, name="encoder")` returns
`(final carry, stacked outputs)`. `over_time`, `bidirectional` and `stacked` make layers of bodies
and of layers, so a stack of bidirectional layers and the two directions of a stack are both one
line. Each keeps what it is made of as LoopNodes of their own, named `encoder.forward`,
`encoder.layer_0`; nothing here is differentiated by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autograd.errors import GraphError, ShapeError
from autograd.node import Node, tensor
from autograd.ops.join import concat
from autograd.tree import flatten, shown, unflatten
from loops.scan import Body, checked_step, scan

Run = Callable[[Any, Any, bool, str, dict[str, Any]], tuple[Any, Any]]
Merge = str | Callable[[Node, Node], Any] | None


@dataclass(frozen=True)
class Layer:
    """What runs over a whole sequence: `layer(init, xs)` returns (final carry, stacked outputs).

    Takes the options of `scan` and hands them to each loop it is made of. `reverse` turns every
    loop round. A layer may also be the body of an outer `scan`, over sequences of sequences.
    """

    run: Run
    """From init, xs, reverse, name and the other options to final carry and outputs."""
    name: str
    """What it is called where the caller gives no name."""

    def __call__(
        self,
        init: Any,
        xs: Any = None,
        *,
        reverse: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        if options.get("until") is not None:
            raise GraphError(
                f"layer '{name or self.name}' cannot stop early: each of its loops would stop at "
                "its own step; join the bodies, scan(chained([...]), ..., until=...), so that "
                "there is one loop"
            )
        return self.run(init, xs, reverse, name or self.name, options)


def over_time(fn: Body, *, reverse: bool = False) -> Layer:
    """Return `scan` of `fn` as a layer; with `reverse`, one that runs against the others.

    A stack of `fn` and `over_time(fn, reverse=True)` changes direction from layer to layer.
    """

    def run(
        init: Any, xs: Any, reversed_: bool, name: str, options: dict[str, Any]
    ) -> tuple[Any, Any]:
        return scan(fn, init, xs, reverse=reverse != reversed_, name=name, **options)

    return Layer(run, "scan")


def bidirectional(
    forward: Body | Layer, backward: Body | Layer | None = None, *, merge: Merge = "concat"
) -> Layer:
    """Return a layer that runs `forward` from the first step on and `backward` from the last.

        (last, first), hs = bidirectional(cell, other)((h0, g0), xs, name="encoder")

    Both read the same xs, and outputs have the order of xs: step t of `hs` is made of what both
    directions say about x[t] (Schuster and Paliwal 1997). The carry is a pair, one for each
    direction. Without `backward`, `forward` is the body of both, so they share its weights.

    `merge` is "concat" (along the last axis), "sum", "mean", a function of two arrays, applied to
    trees of outputs leaf by leaf, or None: the outputs are then a pair.
    """
    layers = [_layer(forward), _layer(forward if backward is None else backward)]
    if not (merge is None or callable(merge) or merge in MERGES):
        raise GraphError(
            f"merge must be one of {', '.join(map(repr, MERGES))}, a function of two arrays or "
            f"None, but is {merge!r}"
        )

    def run(
        init: Any, xs: Any, reverse: bool, name: str, options: dict[str, Any]
    ) -> tuple[Any, Any]:
        inits = _one_each(init, ("forward", "backward"), name)
        xs = _as_nodes(xs)
        finals, ys = [], []
        for layer, start, way in zip(layers, inits, ("forward", "backward"), strict=True):
            turned = reverse if way == "forward" else not reverse
            final, y = layer(start, xs, reverse=turned, name=f"{name}.{way}", **options)
            finals.append(final)
            ys.append(y)
        return _like(init, finals), _merged(merge, ys, name)

    return Layer(run, "bidirectional")


def stacked(layers: Sequence[Body | Layer]) -> Layer:
    """Return a layer that runs one after the other, each over the outputs of the one before.

        (low, high), hs = stacked([cell, other])((h0, g0), xs, name="encoder")

    Every layer is a loop of its own, so each may be bidirectional or reversed. The carry is a
    list or tuple, one for each layer. Outputs are those of the last layer. `chained` is one loop
    instead; bodies of one direction give the same bits either way.
    """
    parts = [_layer(layer) for layer in _several(layers, "stacked")]
    if not parts:
        raise GraphError("stacked needs at least one layer")
    names = [f"layer_{k}" for k in range(len(parts))]

    def run(
        init: Any, xs: Any, reverse: bool, name: str, options: dict[str, Any]
    ) -> tuple[Any, Any]:
        inits = _one_each(init, names, name)
        finals = []
        for k, (layer, start) in enumerate(zip(parts, inits, strict=True)):
            final, xs = layer(start, xs, reverse=reverse, name=f"{name}.{names[k]}", **options)
            finals.append(final)
            if xs is None and k + 1 < len(parts):
                raise GraphError(_nothing_to_read(f"{name}.{names[k]}", names[k + 1]))
        return _like(init, finals), xs

    return Layer(run, "stacked")


def chained(bodies: Sequence[Body]) -> Body:
    """Return one body that runs all `bodies` in a step, each on the output of the one before.

        (low, high), hs = scan(chained([cell, other]), (h0, g0), xs)

    The carry is a list or tuple, one for each body. A step has then gone through all layers
    before the next begins, as generating a sequence needs. A body without state has the carry
    `()`.
    """
    bodies = _several(bodies, "chained")
    if not bodies:
        raise GraphError("chained needs at least one body")
    names = [f"body {k}" for k in range(len(bodies))]

    def body(carries: Any, x: Any) -> tuple[Any, Any]:
        inits = _one_each(carries, names, "chained")
        after = []
        for k, (fn, carry) in enumerate(zip(bodies, inits, strict=True)):
            carry, x = checked_step(fn(carry, x), f"{names[k]} of chained")
            after.append(carry)
            if x is None and k + 1 < len(bodies):
                raise GraphError(_nothing_to_read(f"{names[k]} of chained", names[k + 1]))
        return _like(carries, after), x

    return body


def over_layers(
    fn: Callable[[Any, Any], Any],
    x: Any,
    parameters: Any,
    *,
    reverse: bool = False,
    name: str = "layers",
    **options: Any,
) -> Any:
    """Return `x` after all layers: a loop whose step l computes `x = fn(x, parameters[l])`.

    `parameters` is an array or tree of arrays with a first axis of one entry a layer; `fn` gets
    the slices, in the same structure. Their gradients come out stacked like them. x keeps its
    shape. With `reverse` the last layer comes first. What layers put out besides goes through
    `scan`, of which this is the short form.
    """
    if not flatten(parameters)[0]:
        raise GraphError(
            f"loop '{name}' over layers has no parameters, so the number of layers is not known; "
            "give it at least one array whose first axis has one entry a layer"
        )

    def body(carry: Any, own: Any) -> tuple[Any, None]:
        return fn(carry, own), None

    result, _ = scan(body, x, parameters, reverse=reverse, name=name, **options)
    return result


def _several(parts: Any, owner: str) -> list[Any]:
    if callable(parts):
        raise GraphError(f"{owner} takes a list of bodies or layers; write {owner}([cell])")
    return list(parts)


def _layer(part: Any) -> Layer:
    if isinstance(part, Layer):
        return part
    if not callable(part):
        raise GraphError(
            "a layer is made of a body, a function from (carry, x) to (carry, y), or of another "
            f"layer, but {part!r} is {type(part).__name__}"
        )
    return over_time(part)


def _one_each(carry: Any, names: Sequence[str], owner: str) -> list[Any]:
    """Return the carries of the parts called `names`, checked to be one for each."""
    if not isinstance(carry, (list, tuple)) or len(carry) != len(names):
        raise GraphError(
            f"'{owner}' takes a list or tuple of {len(names)} carries ({', '.join(names)}), "
            f"but got {_came(carry)}; write () for a part without state"
        )
    return list(carry)


def _came(tree: Any) -> str:
    return "None" if tree is None else shown(flatten(tree)[1])


def _like(container: Any, values: Sequence[Any]) -> Any:
    """Return `values` in a container of the kind of `container`."""
    return unflatten((type(container), (None,) * len(values)), values)


def _as_nodes(xs: Any) -> Any:
    """Return `xs` with nodes for leaves, so that several loops over them read the same ones."""
    if xs is None:
        return None
    leaves, structure = flatten(xs)
    return unflatten(structure, [tensor(x) for x in leaves])


def _nothing_to_read(giver: str, reader: str) -> str:
    return f"{giver} puts out None, but {reader} reads its output; return (carry, y) from its body"


def _concat(forward: Node, backward: Node) -> Any:
    if forward.ndim < 2:
        raise ShapeError(
            f"merge='concat' joins the last axis of outputs, but those of one step are scalars "
            f"(stacked: {forward.spec}); use merge='sum', 'mean', a function, or None"
        )
    return concat([forward, backward], axis=-1)


def _sum(forward: Node, backward: Node) -> Node:
    if forward.shape != backward.shape:
        raise ShapeError(
            "merging by 'sum' or 'mean' needs outputs of one shape in both directions, but they "
            f"are {forward.spec} and {backward.spec}"
        )
    return forward + backward


def _mean(forward: Node, backward: Node) -> Node:
    return _sum(forward, backward) / 2


MERGES: dict[str, Callable[[Node, Node], Any]] = {"concat": _concat, "sum": _sum, "mean": _mean}


def _merged(merge: Merge, ys: Sequence[Any], name: str) -> Any:
    """Return the outputs of both directions as one tree; as a pair if `merge` is None."""
    if merge is None or all(y is None for y in ys):
        return None if merge is not None else tuple(ys)
    (forward, structure), (backward, other) = flatten(ys[0]), flatten(ys[1])
    if structure != other or any(y is None for y in ys):
        raise GraphError(
            f"the two directions of '{name}' put out {_came(ys[0])} and {_came(ys[1])}; merging "
            "needs the same structure, so make them alike or pass merge=None"
        )
    function = MERGES[merge] if isinstance(merge, str) else merge
    try:
        leaves = [function(f, b) for f, b in zip(forward, backward, strict=True)]
    except ShapeError as error:
        error.args = (f"{error.args[0]} (merging the two directions of '{name}')",)
        raise
    return unflatten(structure, leaves)
