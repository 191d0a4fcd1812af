"""Replay: the gradient of a loop that keeps some states and runs steps again to get the others.

It means what `loops/gradient.py` draws: a loop that saves the state before each step, and one that
goes the other way, computes what it needs of a step from there, and pulls the gradient through.
`definition` draws these two, and other gradients, vmap and unrolling go by it. Only when states are
computed differs: at most `checkpoints` are kept at a time, in the order of `loops/checkpoints.py`.

    node inputs        [shared | states | carried | each | incoming]
    step inputs        [shared | states | each]                        outputs [next states]
    backward inputs    [shared | carried | states | each | incoming]   outputs [carried | outgoing]

`carried` are the gradients of states and the sums for what is shared; `incoming` and `outgoing`
the gradients of collected outputs and of per-step inputs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from autograd.errors import GraphError
from autograd.execute.reference import compute, steps, straight
from autograd.grad import or_zeros, pull_back
from autograd.graph import Graph, unique_name
from autograd.node import Node, draw_input
from autograd.op import Exit, Op, Port, Trips, register
from autograd.room import check_room
from autograd.scope import Scope, drawing
from autograd.spec import UNKNOWN, Array, Spec
from autograd.trampoline import Task
from loops.checkpoints import Online, binomial, forward_steps
from loops.form import Ports, loop_attrs
from loops.gradient import named
from loops.loop import loop
from loops.running import DelayLine, Stack, checked_count, still_going
from loops.unroll import expand_loop


class Replay(Op):
    """The op. Attrs: both bodies, the counts of ports, and those of the loop it goes back over.

    `lags` are those of the states, `carried_lags` of what is carried. With `until`, what stops the
    loop are states 0 and 1, and the first shared input of `backward` is the number of steps.
    """

    multiple = True

    def forward(self, *arrays: Array, **attrs: Any) -> Any:
        return compute(self, arrays, attrs)

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
        return _run(values, attrs, watch, path)

    def infer(
        self,
        *specs: Spec,
        step: Graph,
        backward: Graph,
        shared: int,
        states: int,
        carried: int,
        each: int,
        incoming: int,
        reverse: bool,
        length: int | None,
        checkpoints: int,
        until: bool = False,
        bounded: bool = False,
        counted: bool = False,
        lags: tuple[Any, ...] = (),
        carried_lags: tuple[Any, ...] = (),
    ) -> tuple[Spec, ...]:
        counts = (shared, states, carried, each, incoming)
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != len(specs):
            raise GraphError(
                f"a replay counts its inputs in whole numbers >= 0 that add up, but has {counts} "
                f"for {len(specs)} inputs"
            )
        if type(checkpoints) is not int or checkpoints < 1:
            raise GraphError(f"a replay keeps at least 1 checkpoint, but is to keep {checkpoints}")
        if not all(isinstance(body, Graph) for body in (step, backward)):
            raise GraphError("a replay holds two graphs: a step, and a step of the gradient")
        attrs = dict(
            step=step,
            backward=backward,
            shared=shared,
            states=states,
            carried=carried,
            each=each,
            incoming=incoming,
            reverse=reverse,
            length=length,
            until=until,
            bounded=bounded,
            counted=counted,
            lags=lags,
            carried_lags=carried_lags,
        )
        parts = Parts(specs, attrs)
        there = _forward_attrs(attrs, step)
        loop.infer(*parts.shared, *parts.states, *parts.each, **there)
        count = [Spec((), np.dtype(np.int64))] if until else []
        ports = Ports(shared, states, each).split([node.spec for node in step.inputs.values()])
        most = _most([*parts.each, *parts.incoming], length)
        stacks = [Spec((most, *spec.shape), spec.dtype) for spec in ports[1]]
        sequences = (*stacks, *parts.each, *parts.incoming)
        back = _backward_attrs(attrs, len(sequences))
        return loop.infer(*count, *parts.shared, *parts.carried, *sequences, **back)

    def fit(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Task:
        parts = Parts(specs, attrs)
        states = [_row(s, lag) for s, lag in zip(parts.states, _lags(attrs), strict=True)]
        carried = [_row(s, lag) for s, lag in zip(parts.carried, _carried_lags(attrs), strict=True)]
        each, incoming = ([_row(s, 2) for s in some] for some in (parts.each, parts.incoming))
        count = [Spec((), np.dtype(np.int64))] if attrs.get("until") else []
        fitted = dict(attrs)
        for key, wanted in (
            ("step", [*parts.shared, *states, *each]),
            ("backward", [*count, *parts.shared, *carried, *states, *each, *incoming]),
        ):
            body: Graph = attrs[key]
            if wanted != [node.spec for node in body.inputs.values()]:
                fitted[key] = yield body.redrawn(dict(zip(body.inputs, wanted, strict=True)))
        return fitted

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Any:
        return _gradient(needs, g, xs, attrs)

    def trips(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Trips:
        parts = Parts(specs, attrs)
        most = _most([*parts.each, *parts.incoming], attrs["length"])
        if most is UNKNOWN:
            return Trips(None, exact=False)
        return Trips(max(most, forward_steps(most, attrs["checkpoints"])), exact=False)

    def working(
        self, inputs: Sequence[Spec], outputs: Sequence[Spec], attrs: dict[str, Any]
    ) -> Task:
        from loops.memory import replay_working

        parts = Parts(inputs, attrs)
        most = _most([*parts.each, *parts.incoming], attrs["length"])
        return replay_working(attrs, inf if most is UNKNOWN else most)

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        from loops.batch import batched_replay

        return batched_replay(batched, xs, attrs)

    def expand(
        self, attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int | None
    ) -> list[Node] | None:
        """Lay out the two loops it means; those stay rolled that cannot be laid out.

        By a factor it stays as it is: the states it does not keep are what it is for.
        """
        if factor is not None:
            return None
        return definition(inputs, attrs, (f"{path}_saved", path), _laid_out)

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        return (attrs["step"], attrs["backward"])

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        numbers = ("shared", "states", "carried", "each", "incoming")
        counts = [attrs[key] for key in numbers]
        parts = Parts(range(sum(counts)), attrs)
        lags, carried_lags = _lags(attrs), _carried_lags(attrs)
        each = [*parts.each, *parts.incoming]
        step = _doors(0, 0, parts.shared, parts.states, lags, [], parts.each, attrs)
        first = int(attrs.get("until", False))  # the number of steps, which no input gives
        back = _doors(
            1, first, parts.shared, parts.carried, carried_lags, parts.states, each, attrs
        )
        entries = [*step, *back]
        exits = [
            Exit("final" if i < attrs["carried"] else "stacked", i, i, 1)
            for i in range(len(attrs["backward"].outputs))
        ]
        return tuple(entries), tuple(exits)

    def output_name(self, attrs: dict[str, Any], index: int) -> str:
        return str(list(attrs["backward"].outputs)[index])

    def label(self, attrs: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {"checkpoints": attrs["checkpoints"]}
        if attrs["length"] is not None:
            shown["bound" if attrs.get("bounded") else "length"] = attrs["length"]
        if not attrs["reverse"]:
            shown["reverse"] = True  # the way the gradient goes, as in a gradient loop
        return shown | {key: attrs[key] for key in ("until", "counted", "lags") if attrs.get(key)}


def _doors(
    body: int,
    inner: int,
    shared: Sequence[int],
    states: Sequence[int],
    lags: Sequence[int],
    replayed: Sequence[int],
    each: Sequence[int],
    attrs: dict[str, Any],
) -> Iterator[Port]:
    """Yield the ports of a body from its input number `inner` on, given positions outside."""
    counted, until = attrs.get("counted", False), attrs.get("until", False) and body == 0
    kinds = [
        *[Port("shared", x, 0, body, steers=i == 0 and counted) for i, x in enumerate(shared)],
        *[
            Port("state", x, 0, body, fed_by=i, lag=lag, steers=i == 0 and until)
            for i, (x, lag) in enumerate(zip(states, lags, strict=True))
        ],
        *[Port("replayed", x, 0, body) for x in replayed],
        *[Port("each", x, 0, body) for x in each],
    ]
    for i, port in enumerate(kinds):
        yield replace(port, inner=inner + i)


class Parts:
    """Anything listed in the order of a replay's inputs, by kind."""

    def __init__(self, xs: Sequence[Any], attrs: dict[str, Any]) -> None:
        rest = list(xs)
        self.shared, rest = rest[: attrs["shared"]], rest[attrs["shared"] :]
        self.states, rest = rest[: attrs["states"]], rest[attrs["states"] :]
        self.carried, rest = rest[: attrs["carried"]], rest[attrs["carried"] :]
        self.each, self.incoming = rest[: attrs["each"]], rest[attrs["each"] :]


def _row(spec: Spec, lag: int) -> Spec:
    """Return the spec of one value of a state with that lag, or of a sequence."""
    return spec if lag == 1 else Spec(spec.shape[1:], spec.dtype)


def _lags(attrs: dict[str, Any]) -> tuple[int, ...]:
    lags: tuple[int, ...] = attrs.get("lags", ())
    return lags or (1,) * attrs["states"]


def _carried_lags(attrs: dict[str, Any]) -> tuple[int, ...]:
    lags: tuple[int, ...] = attrs.get("carried_lags", ())
    return lags or (1,) * attrs["carried"]


def _most(sequences: Sequence[Any], length: int | None) -> int:
    """Return the number of steps there can be."""
    if sequences:
        return int(sequences[0].shape[0]) if sequences[0].shape[0] is not UNKNOWN else UNKNOWN
    return UNKNOWN if length is None else length


# What it means.


def _forward_attrs(attrs: dict[str, Any], body: Graph) -> dict[str, Any]:
    """Return the attrs of the loop with this body, a step that may also collect."""
    return loop_attrs(
        body,
        Ports(attrs["shared"], attrs["states"], attrs["each"]),
        reverse=attrs["reverse"],
        length=None if attrs["each"] else attrs["length"],
        lags=_lags(attrs),
        until=attrs.get("until", False),
        bounded=attrs.get("bounded", False),
        counted=attrs.get("counted", False),
    )


def _backward_attrs(attrs: dict[str, Any], sequences: int) -> dict[str, Any]:
    """Return the attrs of the gradient loop, which has so many per-step inputs."""
    counted = attrs.get("until", False) or attrs.get("counted", False)
    return loop_attrs(
        attrs["backward"],
        Ports(attrs["shared"] + attrs.get("until", False), attrs["carried"], sequences),
        reverse=not attrs["reverse"],
        length=None if sequences or counted else attrs["length"],
        lags=_carried_lags(attrs),
        counted=counted,
    )


def _drawn_loop(inputs: Sequence[Any], attrs: dict[str, Any], name: str) -> list[Any]:
    outputs = loop(*inputs, **attrs)
    named(outputs, name)
    return list(outputs)


def _laid_out(inputs: Sequence[Any], attrs: dict[str, Any], name: str) -> list[Any]:
    outputs = expand_loop(attrs, inputs, name, None)
    return _drawn_loop(inputs, attrs, name) if outputs is None else outputs


Run = Callable[[Sequence[Any], dict[str, Any], str], list[Any]]
"""From a loop's inputs, attrs and name to its outputs."""


def definition(
    inputs: Sequence[Any],
    attrs: dict[str, Any],
    names: tuple[str, str] = ("saved", "grad"),
    run: Run = _drawn_loop,
) -> list[Any]:
    """Return the outputs of the two loops a replay stands for: saving all states, and backward.

    `run` draws each, from its inputs, attrs and name.
    """
    parts = Parts(inputs, attrs)
    step: Graph = attrs["step"]
    saving = step._cache.get("saving states")
    if saving is None:
        taken = dict.fromkeys(step.outputs, 2)
        _, states, _ = Ports(attrs["shared"], attrs["states"], attrs["each"]).split([*step.inputs])
        saved = {unique_name(f"saved_{name}", taken): step.inputs[name] for name in states}
        saving = Graph.of(step.inputs, {**step.outputs, **saved}, step.name)
        step._cache["saving states"] = saving
    there = _forward_attrs(attrs, saving)
    outputs = run([*parts.shared, *parts.states, *parts.each], there, names[0])
    stacks = outputs[attrs["states"] :]
    count = [outputs[1] - parts.states[1]] if attrs.get("until") else []
    sequences = [*stacks, *parts.each, *parts.incoming]
    back = _backward_attrs(attrs, len(sequences))
    return run([*count, *parts.shared, *parts.carried, *sequences], back, names[1])


def _gradient(
    needs: Sequence[bool], g: Sequence[Any], xs: Sequence[Any], attrs: dict[str, Any]
) -> Task:
    """Return the gradients of a replay's inputs: those of the two loops it stands for."""
    given = tuple(i for i, part in enumerate(g) if part is not None)
    wanted = tuple(i for i, need in enumerate(needs) if need)
    specs = [Spec(x.shape, x.dtype) for x in xs]
    graph = yield _gradient_graph(attrs, specs, wanted, given)
    values = [*xs, *[g[i] for i in given]]
    if any(isinstance(x, Node) for x in values):
        outputs = yield graph._inlined(values)
    else:
        outputs = yield steps(graph, values)
    results: list[Any] = [None] * len(needs)
    for i, output in zip(wanted, outputs, strict=True):
        results[i] = output
    return results


def _gradient_graph(
    attrs: dict[str, Any], specs: Sequence[Spec], wanted: Sequence[int], given: Sequence[int]
) -> Task:
    scope = Scope(f"{attrs['step'].name}_grad", None)
    with drawing(scope):
        inputs = [draw_input(f"x{i}", spec, scope) for i, spec in enumerate(specs)]
        outputs = definition(inputs, attrs)
        heads = [outputs[i] for i in given]
        seeds = [draw_input(f"g{i}", y.spec, scope) for i, y in zip(given, heads, strict=True)]
        wrt = [inputs[i] for i in wanted]
        grads, _ = yield pull_back(heads, seeds, wrt, True)
        full = [or_zeros(grad, x) for x, grad in zip(wrt, grads, strict=True)]
    ports = {str(x.name): x for x in (*inputs, *seeds)}
    return Graph.of(
        ports, {f"grad_{x.name}": y for x, y in zip(wrt, full, strict=True)}, scope.name
    )


# Running it.


def _run(values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
    """Return the outputs: run the schedule."""
    parts = Parts(values, attrs)
    step: Graph = attrs["step"]
    name = path or step.name
    reverse, until = attrs["reverse"], attrs.get("until", False)
    most = _most([*parts.each, *parts.incoming], attrs["length"])
    limit = None if most is UNKNOWN else most
    count = checked_count(parts.shared[0], limit, name) if attrs.get("counted") else limit
    there = Steps(step, parts.shared, parts.each, watch, f"{path}[{{}}].0.")
    there.start(parts.states, _lags(attrs), reverse, count)
    slots = attrs["checkpoints"]
    rows = slots if count is None else min(slots, count)
    size = rows * sum(np.asarray(x).nbytes for x in there.values)
    check_room(size, f"replay '{name}', which keeps {rows} states,", "give it less memory=")
    kept = Kept(there, rows)
    shared = parts.shared
    if until:
        schedule = Online(slots)
        count = yield _until_it_stops(there, schedule, kept, limit, attrs, name)
        actions = schedule.finish(count)
        shared = [np.asarray(count), *shared]
    elif count is None:
        raise GraphError(f"replay '{name}' has nothing that says how many steps it goes back")
    else:
        actions = binomial(count, slots)
    back = Steps(
        attrs["backward"], shared, [*parts.each, *parts.incoming], watch, f"{path}[{{}}].1."
    )
    back.start(parts.carried, _carried_lags(attrs), not reverse, count)
    outgoing = [node.spec for node in attrs["backward"].outputs.values()][attrs["carried"] :]
    stacks = [Stack(spec, count if limit is None else limit) for spec in outgoing]

    for kind, p, stop in actions:
        if kind == "advance":
            for q in range(p, stop):
                yield from there.at(count - 1 - q if reverse else q)
        elif kind == "back":
            t = count - 1 - p if reverse else p
            parted = yield from back.at(t, there.read(t))
            for stack, value in zip(stacks, parted, strict=True):
                stack.write(t, value)
        else:
            kept.obey(kind, p)
    return (*back.final(count), *[stack.whole(count) for stack in stacks])


def _until_it_stops(
    there: Steps, schedule: Online, kept: Kept, limit: int | None, attrs: dict[str, Any], name: str
) -> Task:
    """Run a loop until it stops, keeping states as `schedule` says; return the number of steps."""
    p = 0
    while there.values[0] and p != limit:
        for kind, step, _ in schedule.passing(p):
            kept.obey(kind, step)
        yield from there.at(p)
        p += 1
    if attrs.get("bounded") and there.values[0]:
        raise still_going(name, p, next(iter(there.body.outputs.values())).line)
    return p


class Steps:
    """A body, what it is given, and its states as they are now."""

    def __init__(
        self, body: Graph, shared: Sequence[Any], sequences: Sequence[Any], watch: Any, path: str
    ) -> None:
        self.body = body
        self.shared = shared
        self.sequences = sequences
        self.watch = watch
        self.path = path
        self.straight = straight(body, watch)

    def start(
        self, init: Sequence[Any], lags: Sequence[int], reverse: bool, count: int | None
    ) -> None:
        """Make the states what they are before the first step."""
        self.init = init, lags, reverse, count
        self.values = list(init)
        self.lines = [
            (i, DelayLine(x, lag, reverse, count))
            for i, (x, lag) in enumerate(zip(init, lags, strict=True))
            if lag > 1
        ]
        for i, line in self.lines:
            self.values[i] = line.ring

    def read(self, t: int) -> list[Any]:
        """Return what step t reads of the states."""
        read = list(self.values)
        for i, line in self.lines:
            read[i] = line.read(t)
        return read

    def at(self, t: int, between: Sequence[Any] = ()) -> Task:
        """Run step t; return what is not states. `between` comes after the states."""
        slices = [xs[t] for xs in self.sequences]
        inputs = [*self.shared, *self.read(t), *between, *slices]
        if self.straight is not None:
            outputs = self.straight(inputs)
        else:
            outputs = yield steps(self.body, inputs, self.watch, self.path.format(t))
        cut = len(self.values)
        self.values = outputs[:cut]
        for i, line in self.lines:
            line.write(t, outputs[i])
            self.values[i] = line.ring
        return outputs[cut:]

    def final(self, done: int) -> list[Any]:
        """Return the states after `done` steps, as a loop hands them out."""
        final = list(self.values)
        for i, line in self.lines:
            final[i] = line.final(done)
        return final


class Kept:
    """The kept states, in arrays made once: a slot each. The initial state needs none."""

    def __init__(self, there: Steps, slots: int) -> None:
        self.there = there
        rows = max(slots - 1, 0)
        self.arrays = [np.empty((rows, *np.shape(x)), np.asarray(x).dtype) for x in there.values]
        self.free = array("q", range(rows - 1, -1, -1))
        self.steps = array("q")
        """The kept states, in order, and beside them their `slots`."""
        self.slots = array("q")

    def obey(self, kind: str, step: int) -> None:
        """Store, restore or free the state before `step`. Later states are stored later."""
        if kind == "store":
            if step:
                self._store(step)
        elif kind == "free":
            if step:
                place = bisect_left(self.steps, step)
                self.steps.pop(place)
                self.free.append(self.slots.pop(place))
        elif step:
            slot = self.slots[bisect_left(self.steps, step)]
            self.there.values = [np.array(kept[slot]) for kept in self.arrays]
            for i, line in self.there.lines:
                line.ring = self.there.values[i]
        else:
            self.there.start(*self.there.init)

    def _store(self, step: int) -> None:
        slot = self.free.pop()
        self.steps.append(step)
        self.slots.append(slot)
        for kept, value in zip(self.arrays, self.there.values, strict=True):
            kept[slot] = value


replay = register(Replay("replay"))
