"""vmap of loops whose examples stop at different steps.

Such a loop runs until the last example has stopped. An example that has stopped, or not begun yet,
keeps its state, and what a step computes for it must harm nobody: neither warn, nor turn a gradient
into NaN (0 * inf). So the body only ever computes what it computes for some example alone:

    until     an example that has stopped goes through its own last step again and again; one that
              never starts is lent all its inputs by one that does
    counted   (gradients of the former) an example that does not run yet, or any more, is lent all
              its inputs by the one that runs longest

The ring of a state with lag k turns with the steps of the loop. An example that has stopped must
not turn with it, so here such a state is a window of its last k values in the order of time
(`on_windows`), which moves on by one value a step for examples that go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autograd.graph import Graph, unique_name
from autograd.node import OPS, Node, draw_input, tensor
from autograd.ops import reduce
from autograd.ops.shape import broadcast_to, reshape, swapaxes
from autograd.scope import Scope, drawing
from autograd.spec import Spec
from loops.form import Ports, ports_of
from loops.loop import loop
from loops.recent import for_batch
from loops.unroll import on_windows

Grow = Callable[[Graph, Sequence[bool], Sequence[bool], int], Graph]
"""`batched_body` of loops/batch.py."""
COUNT = Spec((), np.dtype(np.int64))
FLAG = Spec((), np.dtype(bool))


def batched_until(
    batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any], size: int, grow: Grow
) -> list[Any]:
    """Return the outputs of an until loop in which each example has its own stop condition."""
    attrs = on_windows(attrs)
    ports = ports_of(attrs)
    body, counts = _until_body(attrs["body"], ports, tuple(batched), size, grow)
    shared_flags, state_flags, each_flags = ports.split(batched)
    shared, states, sequences = ports.split(xs)
    each = _time_first(sequences, each_flags)
    start = [_full(x, flag, size) for x, flag in zip(states, state_flags, strict=True)]
    rows = [x[0] if x.shape[0] else tensor(np.zeros(x.shape[1:], x.dtype)) for x in each]
    last = start + [_full(x, flag, size) for x, flag in zip(rows, each_flags, strict=True)]
    going = start[0]
    if size:
        one = reduce.argmax(going, axis=0)
        shared = [
            _chosen(going, x, x[one]) if b else x for x, b in zip(shared, shared_flags, strict=True)
        ]
        last = [_chosen(going, x, x[one]) for x in last]
    inputs = [*shared, reduce.any(going), np.zeros((), COUNT.dtype), *start, *last, *each]
    outputs = loop(*inputs, **{**attrs, "body": body, "states": counts.states})
    finals, stacked = counts.split_outputs(outputs)
    return [*finals[2 : 2 + ports.states], *[swapaxes(y, 0, 1) for y in stacked]]


def _until_body(
    body: Graph, ports: Ports, batched: tuple[bool, ...], size: int, grow: Grow
) -> tuple[Graph, Ports]:
    """Return the body for a batch, and how many ports of each kind it has.

    Its states: whether any example goes on, the most steps taken, the states of the examples, and
    what they read in the last step each has run: states and slices.
    """
    counts = Ports(ports.shared, 2 + 2 * ports.states + ports.each, ports.each)
    kept = for_batch(body, size)
    key = ("batched until", ports, batched)
    if key in kept:
        return kept[key], counts
    shared_flags, _, each_flags = ports.split(batched)
    flags = [*shared_flags, *[True] * (ports.states + ports.each)]
    step = grow(body, flags, [True] * len(body.outputs), size)
    shared, states, each = ports.split(list(step.inputs.items()))
    scope = Scope(body.name, None)
    with drawing(scope):
        given = [draw_input(name, x.spec, scope) for name, x in shared]
        going = draw_input("any_going", FLAG, scope)
        steps = draw_input("most_steps", COUNT, scope)
        before = [draw_input(name, x.spec, scope) for name, x in states]
        last = [draw_input(f"last_{name}", x.spec, scope) for name, x in (*states, *each)]
        slices = [
            draw_input(name, x.spec if flag else _one(x.spec), scope)
            for (name, x), flag in zip(each, each_flags, strict=True)
        ]
        alive = before[0]
        here = before + [_full(x, flag, size) for x, flag in zip(slices, each_flags, strict=True)]
        read = [_chosen(alive, x, y) for x, y in zip(here, last, strict=True)]
        after, collected = ports.split_outputs(step.inline([*given, *read]))
        after = [_where(alive, x, y) for x, y in zip(after, before, strict=True)]
        results = [reduce.any(after[0]), steps + 1, *after, *read, *_kept(alive, collected)]
    names = ports.split_outputs(list(body.outputs))
    exits = ["any_going", "most_steps", *names[0], *[str(x.name) for x in last], *names[1]]
    entries = [*given, going, steps, *before, *last, *slices]
    made = Graph.of(
        _named(entries, [str(x.name) for x in entries]), _named(results, exits), body.name
    )
    kept[key] = made
    return made, counts


def batched_counted(
    batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any], size: int, grow: Grow
) -> list[Any]:
    """Return the outputs of a counted loop in which each example has its own number of steps."""
    attrs = on_windows(attrs)
    ports = ports_of(attrs)
    reverse = attrs["reverse"]
    body = _counted_body(attrs["body"], ports, tuple(batched), size, reverse, grow)
    _, state_flags, each_flags = ports.split(batched)
    shared, states, sequences = ports.split(xs)
    steps = OPS["astype"](shared[0], dtype=COUNT.dtype.name)
    zero = tensor(np.zeros((), COUNT.dtype))
    most, longest = (zero, zero)
    if size:
        most, longest = reduce.max(steps), reduce.argmax(steps, axis=0)
    start = [_full(x, flag, size) for x, flag in zip(states, state_flags, strict=True)]
    outputs = loop(
        *[most, longest, *shared],
        *[most - 1 if reverse else zero, *start],
        *_time_first(sequences, each_flags),
        **{**attrs, "body": body, "shared": ports.shared + 2, "states": ports.states + 1},
    )
    finals, stacked = Ports(0, ports.states + 1, 0).split_outputs(outputs)
    return [*finals[1:], *[swapaxes(y, 0, 1) for y in stacked]]


def _counted_body(
    body: Graph, ports: Ports, batched: tuple[bool, ...], size: int, reverse: bool, grow: Grow
) -> Graph:
    """Return the body for a batch: two shared inputs more (the most steps, and the example that
    runs them), and one state, the number of the step."""
    kept = for_batch(body, size)
    key = ("batched counted", ports, batched, reverse)
    if key in kept:
        known: Graph = kept[key]
        return known
    shared_flags, _, each_flags = ports.split(batched)
    flags = [*shared_flags, *[True] * ports.states, *each_flags]
    step = grow(body, flags, [True] * len(body.outputs), size)
    scope = Scope(body.name, None)
    with drawing(scope):
        most = draw_input("most_steps", COUNT, scope)
        longest = draw_input("longest", COUNT, scope)
        number = draw_input("step", COUNT, scope)
        inputs = [draw_input(name, x.spec, scope) for name, x in step.inputs.items()]
        shared, states, slices = ports.split(inputs)
        alive = number < shared[0]
        read = [
            _chosen(alive, x, x[longest]) if flag and size else x
            for x, flag in zip(inputs, flags, strict=True)
        ]
        after, collected = ports.split_outputs(step.inline(read))
        after = [_where(alive, x, y) for x, y in zip(after, states, strict=True)]
        results = [number - 1 if reverse else number + 1, *after, *_kept(alive, collected)]
    entries = [most, longest, *shared, number, *states, *slices]
    made = Graph.of(
        _named(entries, [str(x.name) for x in entries]),
        _named(results, ["step", *body.outputs]),
        body.name,
    )
    kept[key] = made
    return made


def _time_first(sequences: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    return [swapaxes(x, 0, 1) if b else x for x, b in zip(sequences, flags, strict=True)]


def _full(x: Any, batched: bool, size: int) -> Any:
    return x if batched else broadcast_to(x, (size, *x.shape))


def _one(spec: Spec) -> Spec:
    return Spec(spec.shape[1:], spec.dtype)


def _where(mask: Any, x: Any, y: Any) -> Any:
    """Return for each example x where `mask` holds, else y."""
    return OPS["where"](reshape(mask, (mask.shape[0], *[1] * (x.ndim - 1))), x, y)


def _chosen(mask: Any, x: Any, other: Any) -> Any:
    """Return x where `mask` holds, else `other`, of which nothing that counts depends."""
    return _where(mask, x, OPS["stop_gradient"](other))


def _kept(mask: Any, collected: Sequence[Any]) -> list[Any]:
    """Return what is collected, zero for examples that do not run."""
    return [_where(mask, y, np.zeros((), y.dtype)) for y in collected]


def _named(nodes: Sequence[Node], names: Sequence[str]) -> dict[str, Node]:
    taken: dict[str, int] = {}
    return {unique_name(name, taken): node for name, node in zip(names, nodes, strict=True)}
