"""What loops and branches do with one more leading axis: their bodies get it, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.errors import GraphError
from autograd.graph import Graph
from autograd.node import OPS, Node, draw_input
from autograd.ops.shape import broadcast_to, reshape, swapaxes
from autograd.scope import Scope, drawing
from autograd.spec import Spec
from autograd.vmap import apply_batched
from loops.form import Ports, ports_of
from loops.loop import loop


def batched_loop(batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any]) -> list[Any]:
    """Return the outputs of a loop for a batch: the same loop over batched states and slices.

    A state is batched as soon as anything batched reaches it in some step.
    """
    ports = ports_of(attrs)
    size = _size(batched, xs)
    body, flags = _loop_body(attrs["body"], ports, tuple(batched), size)
    shared, states, sequences = ports.split(xs)
    _, state_batched, _ = ports.split(batched)
    init = [
        broadcast_to(x, (size, *x.shape)) if grown and not already else x
        for x, grown, already in zip(states, ports.split(flags)[1], state_batched, strict=True)
    ]
    each = [
        swapaxes(x, 0, 1) if b else x
        for x, b in zip(sequences, ports.split(batched)[2], strict=True)
    ]
    outputs = loop(*shared, *init, *each, **{**attrs, "body": body})
    finals, stacked = ports.split_outputs(outputs)
    full = [
        y if grown else broadcast_to(y, (size, *y.shape))
        for y, grown in zip(finals, ports.split(flags)[1], strict=True)
    ]
    return [*full, *[swapaxes(y, 0, 1) for y in stacked]]


def _size(batched: Sequence[bool], xs: Sequence[Any]) -> int:
    return int(next(x.shape[0] for b, x in zip(batched, xs, strict=True) if b))


def _loop_body(
    body: Graph, ports: Ports, batched: tuple[bool, ...], size: int
) -> tuple[Graph, tuple[bool, ...]]:
    """Return the body for a batch, and which of its inputs are batched then."""
    key = ("batch", ports, batched, size)
    if key not in body._cache:
        shared, states, each = ports.split(batched)
        rest = [True] * (len(body.outputs) - ports.states)
        while True:
            flags = (*shared, *states, *each)
            graph, depends = batched_body(body, flags, [*states, *rest], size)
            grown = [a or b for a, b in zip(states, depends[: ports.states], strict=True)]
            if grown == states:
                break
            states = grown
        body._cache[key] = graph, flags
    known: tuple[Graph, tuple[bool, ...]] = body._cache[key]
    return known


def batched_body(
    body: Graph, flags: Sequence[bool], full: Sequence[bool], size: int
) -> tuple[Graph, list[bool]]:
    """Return `body` with a leading axis on inputs in `flags` and at least on outputs in `full`.

    The second result says which outputs depend on a batched input.
    """
    scope = Scope(f"{body.name}_batch", None)
    with drawing(scope):
        single = [draw_input(name, x.spec, scope) for name, x in body.inputs.items()]
        outputs = body.inline(single)
        batches: dict[Node, Any] = {
            x: draw_input(x.name, Spec((size, *x.shape), x.dtype), scope)
            for x, flag in zip(single, flags, strict=True)
            if flag
        }
        ports = [batches.get(x, x) for x in single]
        if batches:
            apply_batched(outputs, batches, size)
        results = [
            batches[y] if y in batches else broadcast_to(y, (size, *y.shape)) if wanted else y
            for y, wanted in zip(outputs, full, strict=True)
        ]
    graph = Graph.of(
        dict(zip(body.inputs, ports, strict=True)),
        dict(zip(body.outputs, results, strict=True)),
        body.name,
    )
    return graph, [y in batches for y in outputs]


def batched_branch(
    batched: Sequence[bool], xs: Sequence[Any], bodies: Sequence[Graph]
) -> list[Any]:
    """Return the outputs of a branch for a batch.

    Where the index is the same for all examples, one body runs. Where each has its own, all
    bodies run and each example takes the results of its own (body 0, if a virtual index turns out
    to name none).
    """
    size = _size(batched, xs)
    full = [True] * len(bodies[0].outputs)
    fitted = [batched_body(body, batched[1:], full, size)[0] for body in bodies]
    index, operands = xs[0], xs[1:]
    if not index.virtual and not np.all((index.value >= 0) & (index.value < len(bodies))):
        raise GraphError(
            f"vmap of a branch with {len(bodies)} bodies, numbered from 0, but the indices of the "
            f"batch are {index.value.tolist()}"
        )
    if not batched[0]:
        attrs = {f"body_{number}": body for number, body in enumerate(fitted)}
        return list(OPS["branch"](index, *operands, **attrs))
    results = fitted[0].inline(operands)
    for number, body in enumerate(fitted[1:], 1):
        own = index == number
        for i, y in enumerate(body.inline(operands)):
            chosen = reshape(own, (size,) + (1,) * (y.ndim - 1))
            results[i] = OPS["where"](chosen, y, results[i])
    return results
