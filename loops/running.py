"""Running a loop's body step by step. Three ways, from the everyday one to the general ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count as counting
from typing import Any

import numpy as np

from autograd.errors import GraphError
from autograd.execute.reference import SCREENED, Watcher, steps, straight
from autograd.graph import Graph
from autograd.node import Node
from autograd.room import LARGE, check_room
from autograd.spec import Array, Spec
from autograd.trampoline import Task
from loops.form import lags_of, most_steps, ports_of
from loops.rows import body_for, differing_axis


def run_loop(values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
    """Return a task that computes the outputs of a loop for `values` of its inputs."""
    check_stacks(values, attrs, path)
    if attrs.get("rows"):
        return _ragged(values, attrs, watch, path)
    if attrs.get("until") or attrs.get("counted") or attrs.get("lags"):
        return _general(values, attrs, watch, path)
    return _plain(values, attrs, watch, path)


def check_stacks(values: Sequence[Any], attrs: dict[str, Any], path: str) -> None:
    """Refuse to run a loop whose stacked outputs take more memory than there is."""
    body: Graph = attrs["body"]
    sequences = ports_of(attrs).split(values)[2]
    most = most_steps(sequences, attrs)
    stacked = list(body.outputs.items())[attrs["states"] :]
    size = (most or 0) * sum([node.spec.nbytes for _, node in stacked])
    if size > LARGE:
        _, key = max((node.spec.nbytes, key) for key, node in stacked)
        largest = body.outputs[key].spec
        what = (
            f"loop '{path or body.name}', which stacks {most} steps of {len(stacked)} outputs, "
            f"most of it '{key}' ({Spec((most, *largest.shape), largest.dtype)}),"
        )
        check_room(
            size, what, "take fewer steps, or keep less: for a gradient, grad(..., memory='...')"
        )


def order_of(sequences: Sequence[Any], attrs: dict[str, Any]) -> range:
    """Return the steps of a loop over `sequences` (arrays or nodes), in the order they run."""
    length = most_steps(sequences, attrs)
    return range(length - 1, -1, -1) if attrs["reverse"] else range(length)


def _plain(values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
    body: Graph = attrs["body"]
    shared, states, sequences = ports_of(attrs).split(values)
    order = order_of(sequences, attrs)
    stacks = [np.empty((len(order), *s.shape), s.dtype) for s in _collected(body, len(states))]
    run = straight(body, watch)
    for t in order:
        inputs = [*shared, *states, *[xs[t] for xs in sequences]]
        if run is not None:
            outputs = run(inputs)
        else:
            outputs = yield steps(body, inputs, watch, f"{path}[{t}].")
        states = outputs[: len(states)]
        for stack, value in zip(stacks, outputs[len(states) :], strict=True):
            stack[t] = value
    return (*states, *stacks)


def _collected(body: Graph, states: int) -> list[Spec]:
    return [node.spec for node in body.outputs.values()][states:]


# Loops whose number of steps the data decide, and states from further back than one step.


def _general(values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
    body: Graph = attrs["body"]
    shared, states, sequences = ports_of(attrs).split(values)
    most = most_steps(sequences, attrs)
    steps_to_run = checked_count(shared[0], most, path) if attrs.get("counted") else most
    lines = [
        DelayLine(x, lag, attrs["reverse"], steps_to_run) if lag > 1 else None
        for x, lag in zip(states, lags_of(attrs), strict=True)
    ]
    stacks = [Stack(spec, most) for spec in _collected(body, len(states))]
    until = attrs.get("until", False)
    run = straight(body, watch)
    done = 0
    for t in _steps(steps_to_run, attrs["reverse"]):
        if until and not states[0]:
            break
        current = [
            state if line is None else line.read(t)
            for state, line in zip(states, lines, strict=True)
        ]
        inputs = [*shared, *current, *[xs[t] for xs in sequences]]
        if run is not None:
            outputs = run(inputs)
        else:
            outputs = yield steps(body, inputs, watch, f"{path}[{t}].")
        states = outputs[: len(states)]
        for line, value in zip(lines, states, strict=True):
            if line is not None:
                line.write(t, value)
        for stack, value in zip(stacks, outputs[len(states) :], strict=True):
            stack.write(t, value)
        done += 1
    if attrs.get("bounded") and states[0]:
        raise still_going(path, most, next(iter(body.outputs.values())).line)
    finals = [
        state if line is None else line.final(done)
        for state, line in zip(states, lines, strict=True)
    ]
    return (*finals, *[stack.whole(done) for stack in stacks])


def still_going(name: str, bound: int, line: tuple[str, int] | None = None) -> GraphError:
    """Return the error of a loop that does not stop within its bound.

    `line` is where its condition was written, as far as that is known.
    """
    written = f" ({line[0]}:{line[1]})" if line else ""
    return _while_running(
        f"loop '{name}' still goes on after step {bound - 1}: its bound is {bound} steps; give a "
        f"larger bound=, or see why its stop condition{written} never holds"
    )


def _while_running(message: str) -> GraphError:
    """Return an error that says where it arose: what the loop was given would explain nothing."""
    error = GraphError(message)
    error.located = True
    return error


def _steps(count: int | None, reverse: bool) -> Iterable[int]:
    if count is None:
        return counting()
    return range(count - 1, -1, -1) if reverse else range(count)


def checked_count(count: Any, most: int | None, name: str) -> int:
    """Return the number of steps a counted loop is told to run, if it can."""
    number = int(count)
    if number < 0 or (most is not None and number > most):
        limit = "any number" if most is None else f"at most {most}"
        raise _while_running(
            f"loop '{name}' was told to run {number} steps, but it can run {limit}, from 0 up"
        )
    return number


class DelayLine:
    """The last k values of a state: a ring in which step t writes to, and reads from, place t % k.

    What step t reads is k steps old, so it lies where the value of step t goes.
    """

    def __init__(self, init: Array, lag: int, reverse: bool, steps: int | None) -> None:
        self.lag = lag
        self.reverse = reverse
        self.ring = init.copy()
        if reverse:
            self.ring[self._places(steps or 0)] = init

    def _places(self, steps: int) -> Array:
        """Return the places of steps `steps`, `steps` + 1, ... (and of those k steps earlier)."""
        return (steps + np.arange(self.lag)) % self.lag

    def read(self, t: int) -> Array:
        value: Array = self.ring[t % self.lag].copy()
        return value

    def write(self, t: int, value: Array) -> None:
        self.ring[t % self.lag] = value

    def final(self, steps: int) -> Array:
        """Return the last k values in the order of time, after `steps` steps."""
        return self.ring if self.reverse else self.ring[self._places(steps)]


class Stack:
    """One output of all steps. Rows of steps that do not run are zero.

    Where nobody knows the number of steps, it grows; doubling it makes that linear in time. Rows
    that are not written are not touched, so they take no memory.
    """

    def __init__(self, spec: Spec, length: int | None) -> None:
        self.known = length is not None
        self.rows = np.zeros((16 if length is None else length, *spec.shape), spec.dtype)

    def write(self, t: int, value: Any) -> None:
        if t >= len(self.rows):
            more = np.zeros((2 * t, *self.rows.shape[1:]), self.rows.dtype)
            more[:t] = self.rows
            self.rows = more
        self.rows[t] = value

    def whole(self, steps: int) -> Array:
        return self.rows if self.known else self.rows[:steps]


# Ragged loops: rows that are finished are not computed.


def _ragged(values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
    """Run rows of different lengths, the longest first: those of step t are then the first few."""
    body: Graph = attrs["body"]
    ports = ports_of(attrs)
    shared, states, sequences = ports.split(values)
    axes, out_axes = attrs["rows"][: len(values)], attrs["rows"][len(values) :]
    shared_axes, state_axes, each_axes = ports.split(axes)
    most = most_steps(sequences, attrs)
    lengths = check_lengths(shared[0], most, body.name)
    order = np.argsort(-lengths, kind="stable")
    shared = [_rows(x, axis, order) for x, axis in zip(shared, shared_axes, strict=True)]
    lags = lags_of(attrs)
    lines = [
        RaggedLine(x, lag, axis, order, lengths[order], attrs["reverse"])
        for x, lag, axis in zip(states, lags, state_axes, strict=True)
    ]
    stacks = [np.zeros((most, *s.shape), s.dtype) for s in _collected(body, len(states))]
    alive = np.searchsorted(-lengths[order], -np.arange(most), side="left")
    for t in _steps(int(lengths.max(initial=0)), attrs["reverse"]):
        n = int(alive[t])
        inputs = [
            *[_rows(x, axis, slice(n)) for x, axis in zip(shared, shared_axes, strict=True)],
            *[line.read(t, n) for line in lines],
            *[_rows(xs[t], axis, order[:n]) for xs, axis in zip(sequences, each_axes, strict=True)],
        ]
        fewer = yield body_for(attrs, n)
        run = straight(fewer, watch)
        if run is not None:
            outputs = run(inputs)
        else:
            plain = watch is None or watch is SCREENED
            seen = watch if plain else OwnRows(watch, fewer, body, order[:n])
            outputs = yield steps(fewer, inputs, seen, f"{path}[{t}].")
        for line, value in zip(lines, outputs, strict=False):
            line.write(t, n, value)
        for stack, value, axis in zip(
            stacks, outputs[len(lines) :], out_axes[len(lines) :], strict=True
        ):
            stack[t][_at(axis, order[:n])] = value
    return (*[line.final() for line in lines], *stacks)


class OwnRows(Watcher):
    """Shows a watcher the values of fewer rows where they are in the batch; finished ones are zero.

    (Values inside loops of the body are shown as they are.)
    """

    def __init__(self, watch: Watcher, fewer: Graph, body: Graph, rows: Array) -> None:
        self.watch = watch
        self.rows = rows
        same = len(fewer.nodes) == len(body.nodes)
        self.body = fewer
        self.like = dict(zip(fewer.nodes, body.nodes, strict=True)) if same else {}

    def enter(self, prefix: str, graph: Graph, node: Node) -> None:
        self.watch.enter(prefix, graph, node)

    def saw(self, prefix: str, graph: Graph, node: Node, inputs: Sequence[Any], value: Any) -> None:
        like = self.like.get(node)
        if graph is self.body and like is not None and not node.op.multiple:
            axis = differing_axis(node.spec, like.spec)
            if axis >= 0:
                full = np.zeros(like.spec.shape, value.dtype)
                full[_at(axis, self.rows)] = value
                value = full
        self.watch.saw(prefix, graph, node, inputs, value)


def check_lengths(lengths: Any, most: int, name: str) -> Array:
    """Return `lengths` if each is a number of steps the loop can run."""
    array = np.asarray(lengths)
    wrong = np.flatnonzero((array < 0) | (array > most))
    if wrong.size:
        row = int(wrong[0])
        raise GraphError(
            f"row {row} of ragged loop '{name}' is said to have {int(array[row])} steps, but its "
            f"per-step inputs have {most}; lengths go from 0 to {most}"
        )
    return array


def _at(axis: int, which: Any) -> Any:
    """Return the index of rows `which` along `axis`; everything where there is no such axis."""
    return ... if axis < 0 else (*[slice(None)] * axis, which)


def _rows(x: Any, axis: int, which: Any) -> Any:
    return x if axis < 0 else x[_at(axis, which)]


class RaggedLine:
    """A state of a ragged loop: a ring of k places for all rows, those with most steps first.

    A row that is finished is neither read nor written, so its last values stay.
    """

    def __init__(
        self, init: Any, lag: int, axis: int, order: Array, lengths: Array, reverse: bool
    ) -> None:
        self.lag = lag
        self.axis = axis
        self.order = order
        self.reverse = reverse
        self.given = np.asarray(init)[None] if lag == 1 else np.asarray(init)
        rows = _rows(self.given, axis if axis < 0 else axis + 1, order)
        self.starts = lengths if axis >= 0 else lengths.max(initial=0, keepdims=True)
        self.ring = self._turned(rows, back=True) if reverse else rows.copy()

    def _turned(self, rows: Array, back: bool = False) -> Array:
        """Return `rows`, by place, in the order of time after each row's last step, or `back`."""
        if self.lag == 1:
            return rows.copy()
        step = np.arange(self.lag)[:, None]
        places = (step - self.starts if back else step + self.starts) % self.lag
        if self.axis < 0:
            turned: Array = rows[places[:, 0]]
            return turned
        places = places.reshape(self.lag, *[1] * self.axis, -1, *[1] * (rows.ndim - self.axis - 2))
        return np.take_along_axis(rows, np.broadcast_to(places, rows.shape), 0)

    def read(self, t: int, n: int) -> Array:
        value: Array = self.ring[t % self.lag][_at(self.axis, slice(n))].copy()
        return value

    def write(self, t: int, n: int, value: Any) -> None:
        self.ring[t % self.lag, ...][_at(self.axis, slice(n))] = value  # `...`: a view, if 0-d too

    def final(self) -> Array:
        """Return what the state is after each row's last step, rows in their own order."""
        rows = self.ring if self.reverse else self._turned(self.ring)
        if self.axis >= 0:
            sorted_rows, rows = rows, np.empty_like(rows)
            rows[_at(self.axis + 1, self.order)] = sorted_rows
        return rows[0] if self.lag == 1 else rows
