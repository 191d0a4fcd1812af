"""Ragged loops as ordinary ones: every row runs every step, and masks keep what is valid.

The body is wrapped in ops that any graph may hold, so a masked loop unrolls, is mapped over and
goes to other tools as every loop does. Where row b is *alive*, t < lengths[b]:

    next state = where(alive, body's next state, state)      output = where(alive, body's output, 0)

That is not enough: a gradient of 0 that goes back through a row of NaN or inf becomes NaN. So the
body never sees rows that are not alive. A row that is stands in for them, the longest one, and in
steps after its last one what it was in its first. All values and derivatives that occur are
those of the real computation, and what is computed of stand-ins reaches nothing. (If all lengths
are 0, no real values exist: slices of ones stand in.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.graph import Graph, unique_name
from autograd.node import Node, draw_input
from autograd.scope import Scope, drawing
from autograd.spec import Spec
from loops.form import Ports, lags_of, loop_attrs, ports_of
from loops.ragged import row_lengths, spread


def masked_loop(inputs: Sequence[Node], attrs: dict[str, Any]) -> tuple[list[Node], dict[str, Any]]:
    """Return inputs and attrs of the masked form of a ragged loop as users draw it.

    Its outputs are those of the ragged loop, its body inputs
    [longest, starts, shared | states | alive, goes_on, slices].
    """
    shared, states, sequences = ports_of(attrs).split(inputs)
    reverse = attrs["reverse"]
    lengths = row_lengths(shared[0], sequences[0], f"ragged loop '{attrs['body'].name}'")
    steps = ag.positions(sequences[0])
    or_none = ag.concat([lengths, np.zeros(1, np.int64)])  # no rows have a longest one too: 0
    count = ag.max(or_none)
    longest = lengths[:1] * 0 + ag.argmax(or_none, 0)  # the row to stand in, if there are rows
    longest.named("longest")
    first = ag.maximum(count - 1, 0) if reverse else 0
    real = ag.where(steps < count, steps, first)[:, None]
    alive = (steps[:, None] < lengths).named("alive")
    goes_on = (steps < count)[:, None].named("goes_on")  # the longest row, that is any

    def only_valid(xs: Node) -> Node:
        stand_in = ag.stop_gradient(xs)[real, longest]
        stand_in = ag.where(count > 0, stand_in, np.ones((), xs.dtype))
        result: Node = ag.where(spread(alive, xs, 1), xs, stand_in)
        return result

    starts = [
        _rows(_read(x, lag, reverse), longest)
        for x, lag in zip(states, lags_of(attrs), strict=True)
    ]
    ports = Ports(1 + len(starts) + len(shared), len(states), 2 + len(sequences))
    inputs = [longest, *starts, *shared, *states, alive, goes_on, *map(only_valid, sequences)]
    return inputs, loop_attrs(_masked_body(attrs, ports, inputs), ports, reverse=reverse)


def _masked_body(attrs: dict[str, Any], ports: Ports, inputs: Sequence[Node]) -> Graph:
    """Return the body with masks. A state from k steps ago is held as its last k values, in time.

    `ports` and `inputs` are those of the masked loop, `attrs` those of the ragged one.
    """
    body: Graph = attrs["body"]
    lags, reverse, bare = lags_of(attrs), attrs["reverse"], ports_of(attrs)
    shared_names, state_names, slice_names = bare.split(list(body.inputs))
    names = ["longest", *(f"{name}_start" for name in state_names), *shared_names]
    names += [*state_names, "alive", "goes_on", *slice_names]
    taken: dict[str, int] = {}
    scope = Scope(body.name, None)
    with drawing(scope):
        drawn = {
            unique_name(name, taken): draw_input(name, spec, scope)
            for name, spec in zip(names, _port_specs(ports, inputs), strict=True)
        }
        (longest, *rest), states, (alive, goes_on, *slices) = ports.split([*drawn.values()])
        starts, shared = rest[: len(states)], rest[len(states) :]
        before = [_read(x, lag, reverse) for x, lag in zip(states, lags, strict=True)]
        seen = [
            *[
                x if axis < 0 else _choose(alive, x, _rows(x, longest, axis), axis)
                for x, axis in zip(shared, attrs["rows"], strict=False)
            ],
            *[
                _choose(alive, x, _choose(goes_on, _rows(x, longest), start))
                for x, start in zip(before, starts, strict=True)
            ],
            *slices,
        ]
        after, outputs = bare.split_outputs(body.inline(seen))
        results = [
            _choose(alive, _written(state, value, lag, reverse), state, axis=lag > 1)
            for state, value, lag in zip(states, after, lags, strict=True)
        ]
        results += [_choose(alive, y, np.zeros((), y.dtype)) for y in outputs]
    return Graph.of(drawn, dict(zip(body.outputs, results, strict=True)), body.name)


def _port_specs(ports: Ports, inputs: Sequence[Node]) -> list[Spec]:
    shared, states, sequences = ports.split([x.spec for x in inputs])
    return [*shared, *states, *[Spec(s.shape[1:], s.dtype) for s in sequences]]


def _rows(x: Node, which: Node, axis: int = 0) -> Node:
    """Return row `which` of `x`, along `axis`, to stand in for others: without its gradient.

    Floats are summed over that row alone, which machine code can do and `take` is too general for.
    """
    x = ag.stop_gradient(x)
    if not x.spec.floating:
        taken: Node = ag.take(x, which, axis)
        return taken
    chosen = spread(ag.equal(ag.positions(x, axis), which), x, axis)
    row: Node = ag.sum(ag.where(chosen, x, np.zeros((), x.dtype)), axis, keepdims=True)
    return row


def _choose(rows: Node, x: Any, other: Any, axis: int = 0) -> Node:
    """Return the rows of `x`, along `axis`, where `rows` is true, elsewhere those of `other`."""
    chosen: Node = ag.where(spread(rows, x, axis), x, other)
    return chosen


def _read(state: Node, lag: int, reverse: bool) -> Node:
    """Return the oldest of the values a state holds, or in reverse the latest in time."""
    if lag == 1:
        return state
    return state[lag - 1] if reverse else state[0]


def _written(state: Node, value: Node, lag: int, reverse: bool) -> Node:
    """Return the values a state holds after a step: without what was read, and with `value`."""
    if lag == 1:
        return value
    moved = [value[None], state[:-1]] if reverse else [state[1:], value[None]]
    written: Node = ag.concat(moved)
    return written
