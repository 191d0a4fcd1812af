"""How the gradient of each loop keeps within a budget: the choice, and the sizes it goes by.

A loop's gradient can go by what each step computed in one of these ways, listed from the one that
computes least again to the one that keeps least:

    residuals       all that the gradient reads of every step is saved (`loops/gradient.py`)
    n checkpoints   the states before every step are kept, and each step is computed once more
    c checkpoints   some states are kept, and the others computed from them (`loops/replay.py`)

The first that fits is taken. What it may take is its *allowance*: the budget less what is held at
the same time (`autograd/budget.py`). A loop inside has a share of that of the loop around it: what
it takes, it takes once for each step of the outer one, and gives back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from autograd.budget import Allowance, allowance, allowing
from autograd.errors import BudgetError
from autograd.execute.footprint import OBJECT, Peak, nbytes, peak
from autograd.graph import Graph, ancestors, unique_name
from autograd.node import draw_input
from autograd.room import shown
from autograd.spec import UNKNOWN, Spec
from autograd.trampoline import Task
from loops.form import Ports, lags_of, most_steps, ports_of
from loops.gradient import (
    Plan,
    by_input,
    counts_of,
    name_of,
    named,
    planned,
    stored_gradient,
    zeros,
)
from loops.replay import replay

SHARES = (0.5, 0.2, 0.05, 0.0)
"""What part of a loop's allowance the loops in its body may take: tried in this order."""
SHARES_INSIDE = (0.5, 0.0)
LEAST = 4096
"""An allowance below this many bytes is as good as none."""
SLOT = 48
"""Bytes of Python's own for a checkpoint; `SLOT_ONLINE` where the end is not known."""
SLOT_ONLINE = 256
MOST_ONLINE = 100_000


@dataclass(frozen=True)
class Replaying:
    """The bodies of a replay, and where its inputs come from (positions)."""

    step: Graph
    backward: Graph
    shared: tuple[int, ...]
    states: tuple[int, ...]
    each: tuple[int, ...]


def budgeted_gradient(
    needs: Sequence[bool], g: Sequence[Any], y: Any, xs: Sequence[Any], attrs: dict[str, Any]
) -> Task:
    """Return the gradients of a loop's inputs, by the way that computes least again and fits."""
    allowed = allowance() or Allowance(inf)
    arguments = (tuple(needs), tuple(part is not None for part in g), counts_of(attrs))
    body: Graph = attrs["body"]
    ports = ports_of(attrs)
    if allowed.checkpoints is not None:
        plan = yield planned(body, ports, *arguments, True)
        if plan is None:
            return [None] * len(needs)
        return (yield _again(plan, allowed.checkpoints, needs, g, y, xs, attrs))
    ways: list[tuple[float, Allowance, int, Plan]] = []
    for inside in _inside(allowed, body):
        with allowing(inside):
            plan = yield planned(body, ports, *arguments)
            if plan is None:
                return [None] * len(needs)
            size = yield _stored_size(plan, xs, attrs)
            if size <= (allowed.bytes or 0):
                return (yield stored_gradient(needs, g, y, xs, attrs))
            ways.append((size, inside, 0, plan))
            plan = yield planned(body, ports, *arguments, True)
            size, slot = yield _replay_size(plan, xs, attrs)
            slot = slot if plan.residuals else 0
            slots = _slots((allowed.bytes or 0) - size, slot, xs, attrs)
            if slots:
                return (yield _again(plan, slots, needs, g, y, xs, attrs))
            ways.append((size, inside, 1, plan))
    least, inside, slots, plan = min(ways, key=lambda way: way[0])
    if allowed.strict:
        raise BudgetError(
            f"the gradient of loop '{name_of(y)}' needs at least {shown(least)}, but "
            f"memory={shown(allowed.bytes or 0)} was given; give at least that much",
            least,
        )
    with allowing(inside):
        if slots:
            return (yield _again(plan, slots, needs, g, y, xs, attrs))
        return (yield stored_gradient(needs, g, y, xs, attrs))


def _again(
    plan: Plan,
    slots: int,
    needs: Sequence[bool],
    g: Sequence[Any],
    y: Any,
    xs: Sequence[Any],
    attrs: dict[str, Any],
) -> Task:
    """Return the gradients, steps being computed again: from checkpoints, if states are read."""
    if plan.residuals:
        return replayed_gradient(plan, slots, needs, g, y, xs, attrs)
    return (yield stored_gradient(needs, g, y, xs, attrs, from_states=True))


def _inside(allowed: Allowance, body: Graph) -> list[Allowance]:
    """Return what the loops in a body may be allowed, to be tried in this order."""
    if body.flat or not allowed.bytes or allowed.bytes < LEAST:
        return [Allowance(0, inner=True)]
    shares = SHARES_INSIDE if allowed.inner else SHARES
    return [Allowance(allowed.bytes * share, inner=True) for share in shares]


# Sizes.


def steps_of(xs: Sequence[Any], attrs: dict[str, Any]) -> float:
    """Return the most steps a loop with such inputs can take: infinity if nothing says."""
    sequences = ports_of(attrs).split(xs)[2]
    length = most_steps(sequences, attrs)
    return inf if length is None or length is UNKNOWN else float(length)


def _total(specs: Sequence[Spec]) -> float:
    return sum(nbytes(spec) + OBJECT for spec in specs)


def _stored_size(plan: Plan, xs: Sequence[Any], attrs: dict[str, Any]) -> Task:
    """Return the bytes that both loops of a stored gradient hold at most."""
    count = steps_of(xs, attrs)
    ports = ports_of(attrs)
    stacks: float = 0
    working: float = 0
    if plan.saving is not None:
        finals, rows = ports.split_outputs([y.spec for y in plan.saving.outputs.values()])
        stacks = _total(finals) + len(rows) * OBJECT + _times(count, rows)
        working = yield body_working(plan.saving, ports.states, lags_of(attrs))
    carried = len(plan.carried) + len(plan.accumulated)
    specs = [y.spec for y in plan.backward.outputs.values()]
    lags = [*[lags_of(attrs)[i] for i in plan.carried], *[1] * len(plan.accumulated)]
    again = yield body_working(plan.backward, carried, lags)
    ends = 2 * sum(nbytes(s) * lag + OBJECT for s, lag in zip(specs, lags, strict=False))
    return stacks + ends + _times(count, specs[carried:]) + max(working, again)


def _times(count: float, specs: Sequence[Spec]) -> float:
    row = sum(nbytes(spec) for spec in specs)
    return count * row if row else 0


def body_working(body: Graph, states: int, lags: Sequence[int]) -> Task:
    """Return what running a loop takes beside inputs and outputs: a step, the one before."""
    specs = [node.spec for node in body.outputs.values()]
    rings = sum(2 * lag * nbytes(s) for s, lag in zip(specs, lags, strict=False) if lag > 1)
    found: Peak = yield peak(body)
    return _total(specs) + rings + found.bytes


def loop_working(inputs: Sequence[Spec], attrs: dict[str, Any]) -> Task:
    """Return what running a loop takes beside its inputs and outputs.

    A ragged loop sorts what has rows, and cuts off those that are finished.
    """
    working = yield body_working(attrs["body"], attrs["states"], lags_of(attrs))
    if attrs.get("rows"):
        shared, states, _ = ports_of(attrs).split(inputs)
        working += 3 * _total([*shared, *states]) + _total(
            [node.spec for node in attrs["body"].inputs.values()]
        )
    return working


def state_bytes(step: Graph, lags: Sequence[int]) -> float:
    """Return the bytes of one checkpoint."""
    return sum(nbytes(y.spec) * lag for y, lag in zip(step.outputs.values(), lags, strict=True))


def replay_working(attrs: dict[str, Any], count: float) -> Task:
    """Return what running a replay takes beside its inputs and outputs."""
    step, backward = attrs["step"], attrs["backward"]
    lags = attrs.get("lags") or (1,) * attrs["states"]
    carried_lags = attrs.get("carried_lags") or (1,) * attrs["carried"]
    one = yield body_working(step, attrs["states"], lags)
    other = yield body_working(backward, attrs["carried"], carried_lags)
    kept = min(attrs["checkpoints"], count) - 1
    state = state_bytes(step, lags)
    own = SLOT_ONLINE if attrs.get("until") else SLOT
    return max(kept, 0) * (state + own) + 2 * state + OBJECT * attrs["states"] + max(one, other)


def _replay_size(plan: Plan, xs: Sequence[Any], attrs: dict[str, Any]) -> Task:
    """Return the bytes that a replay without checkpoints holds at most, and those for each."""
    count = steps_of(xs, attrs)
    made = replaying(plan, attrs)
    replay_attrs = _attrs(made, plan, 1, attrs)
    working = yield replay_working(replay_attrs, count)
    specs = [y.spec for y in plan.backward.outputs.values()]
    carried = len(plan.carried) + len(plan.accumulated)
    lags = replay_attrs.get("carried_lags") or (1,) * carried
    ends = 2 * sum(nbytes(s) * lag + OBJECT for s, lag in zip(specs, lags, strict=False))
    state = state_bytes(made.step, [lags_of(attrs)[i] for i in made.states])
    own = SLOT_ONLINE if attrs.get("until") else SLOT
    return working + ends + _times(count, specs[carried:]), state + own


def _slots(room: float, slot: float, xs: Sequence[Any], attrs: dict[str, Any]) -> int:
    """Return how many checkpoints fit (0: not even the initial state, which takes nothing)."""
    if room < 0 or not slot:
        return int(room >= 0)
    most = steps_of(xs, attrs)
    if attrs.get("until"):
        most = min(most, MOST_ONLINE)
    return int(max(1, min(1 + room // slot, most)))


# Drawing it.


def replaying(plan: Plan, attrs: dict[str, Any]) -> Replaying:
    """Return the bodies of a replay from a plan whose residuals are states.

    The step computes only states that the gradient reads, and those these depend on.
    """
    known = plan.backward._cache.get("replaying")
    if known is None:
        known = plan.backward._cache["replaying"] = _replaying(plan, attrs)
    made: Replaying = known
    return made


def _replaying(plan: Plan, attrs: dict[str, Any]) -> Replaying:
    ports = ports_of(attrs)
    body: Graph = plan.saving or attrs["body"]
    shared, states, slices = ports.split([*body.inputs.values()])
    after = [*body.outputs.values()][: ports.states]
    saved = [*body.outputs.values()]
    position = {state: i for i, state in enumerate(states)}
    read = [position[saved[i]] for i in plan.residuals]
    needed = {0, 1, *read} if attrs.get("until") else set(read)
    doors = set(body.inputs.values())
    while True:
        seen = set(ancestors([after[i] for i in needed], doors))
        grown = needed | {i for i, state in enumerate(states) if state in seen}
        if grown == needed:
            break
        needed = grown
    counted = [0] if attrs.get("counted") else []
    at_shared = sorted({*counted, *plan.shared, *[i for i, x in enumerate(shared) if x in seen]})
    at_states = sorted(needed)
    at_each = sorted({*plan.each, *[i for i, x in enumerate(slices) if x in seen]})
    if slices and not at_each:
        at_each = [0]  # read or not, it says how long the loop runs
    names = ports.split(list(body.inputs))
    chosen = [
        *[names[0][i] for i in at_shared],
        *[names[1][i] for i in at_states],
        *[names[2][i] for i in at_each],
    ]
    outputs = [*body.outputs.items()]
    step = Graph.of(
        {name: body.inputs[name] for name in chosen},
        dict(outputs[i] for i in at_states),
        body.name,
    )
    return Replaying(
        step,
        _backward(plan, body, ports, at_shared, at_states, at_each, read, attrs),
        tuple(at_shared),
        tuple(at_states),
        tuple(at_each),
    )


def _backward(
    plan: Plan,
    body: Graph,
    ports: Ports,
    at_shared: Sequence[int],
    at_states: Sequence[int],
    at_each: Sequence[int],
    read: Sequence[int],
    attrs: dict[str, Any],
) -> Graph:
    """Return the gradient's body with a port for every input of the replay, read or not."""
    old = [*plan.backward.inputs.items()]
    count = [old.pop(0)] if counts_of(attrs) else []
    parts = []
    for size in (
        len(plan.shared),
        len(plan.carried) + len(plan.accumulated),
        len(read),
        len(plan.each),
        len(plan.collected),
    ):
        parts.append(old[:size])
        old = old[size:]
    shared, carried, states, each, incoming = parts
    doors = ports.split([*body.inputs.items()])
    have = [
        dict(zip(plan.shared, shared, strict=True)),
        dict(zip(read, states, strict=True)),
        dict(zip(plan.each, each, strict=True)),
    ]
    if attrs.get("counted"):
        have[0][0] = count.pop()
    rows = []
    for kind, wanted in enumerate((at_shared, at_states, at_each)):
        row = []
        for i in wanted:
            name, door = doors[kind][i]
            known = have[kind].get(i)
            row.append(known or (name, draw_input(door.name, door.spec, None, door.tracked)))
        rows.append(row)
    taken: dict[str, int] = {}
    entries = [*count, *rows[0], *carried, *rows[1], *rows[2], *incoming]
    inputs = {unique_name(name, taken): node for name, node in entries}
    return Graph.of(inputs, plan.backward.outputs, plan.backward.name)


def _attrs(made: Replaying, plan: Plan, slots: int, attrs: dict[str, Any]) -> dict[str, Any]:
    lags = lags_of(attrs)
    result = {
        "step": made.step,
        "backward": made.backward,
        "shared": len(made.shared),
        "states": len(made.states),
        "carried": len(plan.carried) + len(plan.accumulated),
        "each": len(made.each),
        "incoming": len(plan.collected),
        "reverse": attrs["reverse"],
        "length": attrs["length"],
        "checkpoints": slots,
    }
    own = tuple(lags[i] for i in made.states)
    carried = (*[lags[i] for i in plan.carried], *[1] * len(plan.accumulated))
    options = {
        "until": attrs.get("until", False),
        "bounded": attrs.get("bounded", False),
        "counted": attrs.get("counted", False),
        "lags": own if any(lag > 1 for lag in own) else (),
        "carried_lags": carried if any(lag > 1 for lag in carried) else (),
    }
    return result | {key: value for key, value in options.items() if value}


def replayed_gradient(
    plan: Plan,
    slots: int,
    needs: Sequence[bool],
    g: Sequence[Any],
    y: Any,
    xs: Sequence[Any],
    attrs: dict[str, Any],
) -> list[Any]:
    """Return the gradients of a loop's inputs by a replay with so many checkpoints."""
    ports = ports_of(attrs)
    made = replaying(plan, attrs)
    g_states, g_collected = ports.split_outputs(g)
    shared, states, sequences = ports.split(xs)
    count = steps_of(xs, attrs)
    slots = int(max(1, min(slots, count)))
    outputs = replay(
        *[shared[i] for i in made.shared],
        *[states[i] for i in made.states],
        *[zeros(states[i]) if g_states[i] is None else g_states[i] for i in plan.carried],
        *[zeros(shared[i]) for i in plan.accumulated],
        *[sequences[i] for i in made.each],
        *[g_collected[i] for i in plan.collected],
        **_attrs(made, plan, slots, attrs),
    )
    named(outputs, f"{name_of(y)}_grad")
    return by_input(plan, ports, outputs, needs)
