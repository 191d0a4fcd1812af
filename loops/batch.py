"""What loops and branches do with one more leading axis: their bodies get it, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from autograd.errors import GraphError
from autograd.graph import Graph
from autograd.node import OPS, Node, draw_input
from autograd.ops.shape import broadcast_to, reshape, swapaxes
from autograd.scope import Scope, drawing
from autograd.spec import Spec
from autograd.trampoline import trampoline
from autograd.vmap import apply_batched
from loops.form import Ports, lags_of, ports_of
from loops.gradient import for_fewer_rows
from loops.loop import loop
from loops.recent import for_batch
from loops.stopping import batched_counted, batched_until


def batched_loop(batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any]) -> list[Any]:
    """Return the outputs of a loop for a batch: the same loop over batched states and slices.

    A state is batched as soon as anything batched reaches it in some step. Where examples run
    different numbers of steps, see `loops/stopping.py`.
    """
    ports = ports_of(attrs)
    size = _size(batched, xs)
    if attrs.get("rows"):
        attrs = _ragged(attrs, tuple(batched), size)
    elif attrs.get("counted") and batched[0]:
        return batched_counted(batched, xs, attrs, size, batched_body)
    body, flags = _loop_body(attrs["body"], ports, tuple(batched), size)
    if attrs.get("until") and any(flags[ports.shared : ports.shared + 2]):
        return batched_until(batched, xs, attrs, size, batched_body)
    shared, states, sequences = ports.split(xs)
    _, state_batched, _ = ports.split(batched)
    lags = lags_of(attrs)
    state_flags = ports.split(flags)[1]
    init = [
        _behind_lag(x if already else broadcast_to(x, (size, *x.shape)), lag) if grown else x
        for x, grown, already, lag in zip(states, state_flags, state_batched, lags, strict=True)
    ]
    each = [
        swapaxes(x, 0, 1) if b else x
        for x, b in zip(sequences, ports.split(batched)[2], strict=True)
    ]
    outputs = loop(*shared, *init, *each, **{**attrs, "body": body})
    finals, stacked = ports.split_outputs(outputs)
    full = [
        _behind_lag(y, lag) if grown else broadcast_to(y, (size, *y.shape))
        for y, grown, lag in zip(finals, state_flags, lags, strict=True)
    ]
    return [*full, *[swapaxes(y, 0, 1) for y in stacked]]


def _behind_lag(x: Any, lag: int) -> Any:
    """Swap the axis of the batch with that of the k steps that a state with lag k starts from."""
    return x if lag == 1 else swapaxes(x, 0, 1)


def _ragged(attrs: dict[str, Any], batched: tuple[bool, ...], size: int) -> dict[str, Any]:
    """Return the attrs of a ragged loop for a batch of such batches, all with the same lengths."""
    body: Graph = attrs["body"]
    if batched[0]:
        raise GraphError(
            f"ragged loop '{body.name}' has other lengths for each example of vmap, so its rows "
            'would leave the batch at different steps; make it LoopNode(..., ragged="mask")'
        )
    ports = ports_of(attrs)
    step = ("batch", ports.shared, ports.states, ports.each, batched, size)
    return {**attrs, **trampoline(for_fewer_rows(attrs, step))}


def batched_step(body: Graph, step: tuple[Any, ...]) -> Graph:
    """Return the body for a batch that `step`, of a ragged loop's attrs, is about."""
    _, shared, states, each, batched, size = step
    return _loop_body(body, Ports(shared, states, each), batched, size)[0]


def _size(batched: Sequence[bool], xs: Sequence[Any]) -> int:
    return int(next(x.shape[0] for b, x in zip(batched, xs, strict=True) if b))


def _loop_body(
    body: Graph, ports: Ports, batched: tuple[bool, ...], size: int
) -> tuple[Graph, tuple[bool, ...]]:
    """Return the body for a batch, and which of its inputs are batched then."""
    kept = for_batch(body, size)
    key = ("batch", ports, batched)
    if key not in kept:
        flags = _reached(body, ports, batched)
        full = [*ports.split(flags)[1], *[True] * (len(body.outputs) - ports.states)]
        kept[key] = batched_body(body, flags, full, size), flags
    known: tuple[Graph, tuple[bool, ...]] = kept[key]
    return known


def _reached(body: Graph, ports: Ports, batched: Sequence[bool]) -> tuple[bool, ...]:
    """Return `batched` with all states that something batched reaches, in however many steps.

    Found by following users, round the loop, so that a chain of states is drawn once.
    """
    users: dict[Node, list[Node]] = {}
    for node in body.nodes:
        for x in node.inputs:
            users.setdefault(x, []).append(node)
    inputs = [*body.inputs.values()]
    for state, after in zip(ports.split(inputs)[1], body.outputs.values(), strict=False):
        users.setdefault(after, []).append(state)
    stack = [x for x, flag in zip(inputs, batched, strict=True) if flag]
    seen = set(stack)
    while stack:
        fresh = [node for node in users.get(stack.pop(), ()) if node not in seen]
        seen.update(fresh)
        stack += fresh
    states = {i for i in range(ports.shared, ports.shared + ports.states) if inputs[i] in seen}
    return tuple([flag or i in states for i, flag in enumerate(batched)])


def batched_body(body: Graph, flags: Sequence[bool], full: Sequence[bool], size: int) -> Graph:
    """Return `body` with a leading axis on inputs in `flags` and at least on outputs in `full`."""
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
    return Graph.of(
        dict(zip(body.inputs, ports, strict=True)),
        dict(zip(body.outputs, results, strict=True)),
        body.name,
    )


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
    fitted = [batched_body(body, batched[1:], full, size) for body in bodies]
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


def batched_replay(batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any]) -> list[Any]:
    """Return the outputs of a replay for a batch: a replay whose bodies have the batch axis.

    What is carried is batched throughout, and so are states that anything batched reaches. Where
    the data decide the number of steps, and where states have lags, the two loops that the replay
    stands for are batched instead, so that all states are stored.
    """
    size = _size(batched, xs)
    if any(attrs.get(key) for key in ("until", "counted", "lags", "carried_lags")):
        return _batched_definition(batched, xs, attrs, size)
    counts = [attrs[key] for key in ("shared", "states", "carried", "each", "incoming")]
    ends = [sum(counts[:i]) for i in range(6)]
    (shared, states, carried, each, incoming), (b_shared, b_states, _, b_each, b_incoming) = (
        [list(some[a:b]) for a, b in pairwise(ends)] for some in (xs, batched)
    )
    ports = Ports(counts[0], counts[1], counts[3])
    if any((*b_shared, *b_states, *b_each)):
        step, flags = _loop_body(attrs["step"], ports, (*b_shared, *b_states, *b_each), size)
        b_states = ports.split(flags)[1]
    else:
        step = attrs["step"]
    flags = (*b_shared, *[True] * len(carried), *b_states, *b_each, *b_incoming)
    full = [True] * len(attrs["backward"].outputs)
    backward = batched_body(attrs["backward"], flags, full, size)
    grown = [*b_states, *[True] * len(carried)]
    given = batched[ends[1] : ends[3]]
    init = [
        broadcast_to(x, (size, *x.shape)) if wanted and not b else x
        for x, wanted, b in zip((*states, *carried), grown, given, strict=True)
    ]
    sequences = [
        swapaxes(x, 0, 1) if b else x
        for x, b in zip((*each, *incoming), (*b_each, *b_incoming), strict=True)
    ]
    outputs = OPS["replay"](
        *shared, *init, *sequences, **{**attrs, "step": step, "backward": backward}
    )
    return [y if i < len(carried) else swapaxes(y, 0, 1) for i, y in enumerate(outputs)]


def _batched_definition(
    batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any], size: int
) -> list[Any]:
    from loops.replay import definition

    scope = Scope("replay", None)
    single = [Spec(x.shape[b:], x.dtype) for x, b in zip(xs, batched, strict=True)]
    with drawing(scope):
        inputs = {f"x{i}": draw_input(f"x{i}", spec, scope) for i, spec in enumerate(single)}
        outputs = definition([*inputs.values()], attrs)
    graph = Graph.of(inputs, {f"y{i}": y for i, y in enumerate(outputs)}, "replay")
    return batched_body(graph, batched, [True] * len(outputs), size).inline(xs)
