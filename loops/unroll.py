"""Loops laid out: all steps one after the other, or k copies of the body in a loop of fewer rounds.

A loop of T = q k + r steps equals a loop of q *rounds*, whose body is the whole loop laid out for k
steps, followed by the loop laid out for the r steps that are left:

    [x_0 ... x_{T-1}]  ->  loop over q rounds of (k, ...)  ->  r steps more
    reversed:              r steps more  <-  loop over q rounds of (k, ...)

So what is left over lies at the end of time, or, where the last step runs first, at its beginning.
Sequences are given to the rounds as views of shape (q, k, ...), and what each round collects is
(q, k, ...), of which (q k, ...) is a view again. A state from L steps ago becomes a state of the
last L values, which moves on by k values a round.

Where the data decide how many steps run, each step laid out is a branch: the body, or nothing. What
does not run is not computed, so it cannot spoil a gradient with NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

import numpy as np

from autograd.graph import Graph, unique_name
from autograd.node import OPS, Node, apply, constant, draw_input, items
from autograd.op import Op, register
from autograd.ops.shape import full_batch, reshape
from autograd.scope import Scope, drawing
from autograd.spec import UNKNOWN, Array, Spec
from loops.form import Ports, lags_of, loop_attrs, most_steps, ports_of
from loops.running import still_going

COPY = "copy"
"""The steps of a round have the names `copy[0].h` to `copy[k - 1].h`, in the order of time."""


def expand_loop(
    attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int | None
) -> list[Node] | None:
    """Return the outputs of a loop on `inputs`, laid out for all its steps, or `factor` a round.

    None for what stays as it is: ragged loops (rows that are finished leave the batch, which only
    running can do: laid out, they would be computed too), loops without any limit (those that
    neither collect nor are given sequences take a factor, though), and a factor of 1.
    """
    if attrs.get("rows"):
        return None
    if attrs.get("bounded"):
        return _bounded(attrs, inputs, path, factor)
    sequences = ports_of(attrs).split(inputs)[2]
    steps = most_steps(sequences, attrs)
    limited = steps is not None and steps is not UNKNOWN
    if _is_guarded(attrs):
        attrs = on_windows(attrs)
    if limited and (factor is None or factor >= steps):
        order = range(steps - 1, -1, -1) if attrs["reverse"] else range(steps)
        finals, rows = _laid_out(attrs, inputs, path, order)
        return [*finals, *_collected(attrs, path, rows, [])]
    if factor is None or factor == 1:
        return None
    if limited:
        return _in_rounds(attrs, inputs, path, factor, steps)
    if attrs.get("counted") or len(attrs["body"].outputs) > attrs["states"]:
        return None  # there are sequences, whose lengths nobody knows
    return _in_rounds(attrs, inputs, path, factor, None)


# All steps, one after the other.


def _laid_out(
    attrs: dict[str, Any],
    inputs: Sequence[Node],
    path: str,
    order: range,
    count: Node | None = None,
    sure: bool = False,
) -> tuple[list[Node], list[list[Node]]]:
    """Return the states after the steps `order`, and what each collects, in the order of time.

    Step t has the nodes `path[t].name`. Where the data decide how many steps run (`count` of them,
    by default what the loop is told), each is a branch; but the first runs if that is `sure`.
    """
    body: Graph = attrs["body"]
    ports = ports_of(attrs)
    shared, states, sequences = ports.split(inputs)
    _, state_names, slice_names = ports.split(list(body.inputs))
    lags = lags_of(attrs)
    lines = [_Line(x, lag, attrs["reverse"]) for x, lag in zip(states, lags, strict=True)]
    if attrs.get("counted") and count is None:
        count = shared[0]
    rows: list[list[Node]] = []
    for t in order:
        prefix = f"{path}[{t}]."
        before = [line.read(prefix + name) for line, name in zip(lines, state_names, strict=True)]
        slices = [
            xs[t].named(prefix + name) for xs, name in zip(sequences, slice_names, strict=True)
        ]
        xs = [*shared, *before, *slices]
        if not _is_guarded(attrs) or (sure and not rows):
            outputs = body.inline(xs, prefix)
        else:
            goes_on = before[0] if count is None else (count > t).named(prefix + "runs")
            outputs = _if_it_runs(goes_on, body, ports, xs, prefix + "step")
        for line, value in zip(lines, outputs, strict=False):
            line.values.append(value)
        rows.append(outputs[ports.states :])
    if attrs["reverse"]:
        rows.reverse()
    return [line.final() for line in lines], rows


class _Line:
    """A state while its loop is laid out: what it started as, and its values so far."""

    def __init__(self, init: Node, lag: int, reverse: bool) -> None:
        self.init = init
        self.lag = lag
        self.reverse = reverse
        self.values: list[Node] = []

    def read(self, name: str) -> Node:
        """Return the value of `lag` steps ago; a part of what the state started as gets `name`."""
        done = len(self.values)
        if done >= self.lag:
            return self.values[done - self.lag]
        if self.lag == 1:
            return self.init
        return self.init[self.lag - 1 - done if self.reverse else done].named(name)

    def final(self) -> Node:
        """Return the last value; with a lag the last `lag`, in the order of time, as one node."""
        done = len(self.values)
        if done == 0 or self.lag == 1:
            return self.values[-1] if done else self.init
        last = self.values[-self.lag :]
        rows: Node = OPS["stack"](*(last[::-1] if self.reverse else last), axis=0)
        if done >= self.lag:
            return rows
        joined: Node
        if self.reverse:
            joined = OPS["concat"](rows, self.init[: self.lag - done], axis=0)
        else:
            joined = OPS["concat"](self.init[done:], rows, axis=0)
        return joined


def _collected(
    attrs: dict[str, Any], path: str, rows: Sequence[Sequence[Node]], rounds: Sequence[Node]
) -> list[Node]:
    """Return what the steps collected, stacked in the order of time.

    `rows` are the steps laid out, `rounds` the parts that rounds have stacked, if there were any.
    They ran before, so in a reversed loop they are later.
    """
    stacked = []
    body: Graph = attrs["body"]
    for i, name in enumerate(list(body.outputs)[attrs["states"] :]):
        own = [OPS["stack"](*[row[i] for row in rows], axis=0)] if rows else []
        before = list(rounds[i : i + 1])
        parts = [*own, *before] if attrs["reverse"] else [*before, *own]
        if not parts:
            spec = body.outputs[name].spec
            parts = [constant(np.empty((0, *spec.shape), spec.dtype))]
        node = parts[0] if len(parts) == 1 else OPS["concat"](*parts, axis=0)
        stacked.append(node.named(f"{path}.{name}"))
    return stacked


# Rounds: the loop of fewer steps whose body is several steps laid out.


def _in_rounds(
    attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int, steps: int | None
) -> list[Node]:
    """Return the outputs of a loop of `steps` steps (None: nobody knows) as a loop of rounds."""
    ports = ports_of(attrs)
    shared, states, sequences = ports.split(inputs)
    rounds, left = (None, 0) if steps is None else divmod(steps, factor)
    first = left if attrs["reverse"] else 0
    groups = [_grouped(xs, first, rounds or 0, factor) for xs in sequences]
    if attrs.get("until"):
        states.insert(1, constant(np.int64(0)))
    if attrs.get("counted"):
        shared.insert(0, _rounds_to_run(shared[0], first, rounds or 0, factor))
        groups.insert(0, constant(first + factor * np.arange(rounds or 0)))
    own = loop_attrs(
        _round(attrs, factor),
        Ports(len(shared), len(states), len(groups)),
        reverse=attrs["reverse"],
        length=None if groups else rounds,
        until=attrs.get("until", False),
        counted=attrs.get("counted", False),
    )
    node = apply(OPS["loop"], [*shared, *states, *groups], own).named(path)
    finals, stacked = ports_of(own).split_outputs(items(node))
    if attrs.get("until"):
        del finals[1]
    order = range(left - 1, -1, -1) if attrs["reverse"] else range((steps or 0) - left, steps or 0)
    shared = ports.split(inputs)[0]
    finals, rows = _laid_out(attrs, [*shared, *finals, *sequences], path, order)
    whole = [reshape(ys, (ys.shape[0] * factor, *ys.shape[2:])) for ys in stacked]
    return [*finals, *_collected(attrs, path, rows, whole)]


def _grouped(xs: Node, first: int, rounds: int, factor: int) -> Node:
    """Return `rounds * factor` steps of `xs`, from step `first` on, as views by round."""
    steps = rounds * factor
    part = xs if steps == xs.shape[0] else xs[first : first + steps]
    grouped: Node = reshape(part, (rounds, factor, *xs.shape[1:]))
    return grouped


def _rounds_to_run(count: Node, first: int, rounds: int, factor: int) -> Node:
    """Return in how many rounds one of the first `count` steps lies; rounds begin at `first`."""
    begun = (count.astype(np.int64) - first + (factor - 1)) // factor
    bounded: Node = OPS["minimum"](OPS["maximum"](begun, 0), rounds)
    return bounded


def _round(attrs: dict[str, Any], factor: int) -> Graph:
    """Return the body of a round: `factor` steps laid out.

    The body of a step remembers it as long as somebody uses it, and does not keep it: a round holds
    the body itself where steps are branches, and that would be a cycle.
    """
    body: Graph = attrs["body"]
    form = tuple([(key, attrs[key]) for key in sorted(attrs) if key not in ("body", "length")])
    key = ("round", form, factor)
    known: Graph | None = body._cache[key]() if key in body._cache else None
    if known is None:
        known = _drawn_round(attrs, factor)
        body._cache[key] = ref(known)
    return known


def _drawn_round(attrs: dict[str, Any], factor: int) -> Graph:
    body: Graph = attrs["body"]
    ports = ports_of(attrs)
    scope = Scope(body.name, None)
    widths = [0] * ports.shared + [lag if lag > 1 else 0 for lag in lags_of(attrs)]
    widths += [factor] * ports.each
    taken = dict.fromkeys(body.inputs, 2)
    with drawing(scope):
        inputs = [
            draw_input(name, Spec((width, *x.shape) if width else x.shape, x.dtype), scope)
            for (name, x), width in zip(body.inputs.items(), widths, strict=True)
        ]
        shared, states, slices = ports.split(inputs)
        count = None
        if attrs.get("counted"):
            rounds = draw_input(unique_name("rounds", taken), Spec((), np.dtype(np.int64)), scope)
            start = draw_input(unique_name("start", taken), Spec((), np.dtype(np.int64)), scope)
            count = shared[0].astype(np.int64) - start
            shared, slices = [rounds, *shared], [start, *slices]
        order = range(factor - 1, -1, -1) if attrs["reverse"] else range(factor)
        finals, rows = _laid_out(attrs, inputs, COPY, order, count, sure=count is None)
        collected = [OPS["stack"](*[row[i] for row in rows], axis=0) for i in range(len(rows[0]))]
        names = list(body.outputs)
        if attrs.get("until"):
            turn = draw_input(unique_name("rounds", taken), Spec((), np.dtype(np.int64)), scope)
            states.insert(1, turn)
            finals.insert(1, turn + 1)
            names.insert(1, unique_name("rounds", dict.fromkeys(names, 2)))
    return Graph.of(
        {str(x.name): x for x in (*shared, *states, *slices)},
        dict(zip(names, [*finals, *collected], strict=True)),
        body.name,
    )


# Steps that may not run.


def _is_guarded(attrs: dict[str, Any]) -> bool:
    """Whether the data decide how many steps run."""
    return bool(attrs.get("until") or attrs.get("counted"))


class Stopped(Op):
    """`values` as they are, if the loop they come from has stopped; else the error of its bound.

    Inputs: the loop's `going` (bool scalar), then the values. `name` is the loop's.
    """

    multiple = True
    weight = 0

    def forward(self, going: Array, *values: Array, bound: int, name: str) -> tuple[Array, ...]:
        if going.any():
            raise still_going(name, bound)
        return values

    def infer(self, going: Spec, *values: Spec, bound: int, name: str) -> tuple[Spec, ...]:
        return values

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Any:
        return [None, *g]

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        return self(*full_batch(batched, xs), **attrs)


stopped = register(Stopped("stopped"))


def _bounded(
    attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int | None
) -> list[Node] | None:
    """Return the outputs of a loop that must stop within its bound, checked to have done so."""
    free = {key: value for key, value in attrs.items() if key != "bounded"}
    outputs = expand_loop(free, inputs, path, factor)
    if outputs is None:
        return None
    checked = {"bound": attrs["length"], "name": path}
    return list(items(apply(stopped, [outputs[0], *outputs], checked).named(f"{path}.stopped")))


def _if_it_runs(runs: Node, body: Graph, ports: Ports, xs: Sequence[Node], name: str) -> list[Node]:
    """Return the outputs of `body` on `xs` if it `runs`; else its states as they are, and zeros."""
    key = ("skipped", ports)
    if key not in body._cache:
        kept = ports.split([*body.inputs.values()])[1]
        rest = [node.spec for node in body.outputs.values()][ports.states :]
        zeros = [constant(np.zeros(spec.shape, spec.dtype)) for spec in rest]
        results = dict(zip(body.outputs, [*kept, *zeros], strict=True))
        body._cache[key] = Graph.of(body.inputs, results, f"{body.name}.skipped")
    node = apply(OPS["branch"], [runs, *xs], {"body_0": body._cache[key], "body_1": body})
    return list(items(node.named(name)))


def on_windows(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the attrs of the same loop without lags: a state is all of its last values.

    A step that does not run can then leave a state as it is. A state with lag k > 1, of shape
    (...), becomes one of shape (k, ...) in the order of time, as its initial and final values are.
    """
    if not attrs.get("lags"):
        return attrs
    body: Graph = attrs["body"]
    ports = ports_of(attrs)
    lags = lags_of(attrs)
    key = ("windows", ports, lags, attrs["reverse"])
    if key not in body._cache:
        scope = Scope(body.name, None)
        shared, states, slices = ports.split([*body.inputs.items()])
        with drawing(scope):
            windows = {
                name: Spec((lag, *x.shape) if lag > 1 else x.shape, x.dtype)
                for (name, x), lag in zip(states, lags, strict=True)
            }
            specs = {name: x.spec for name, x in (*shared, *slices)} | windows
            inputs = {name: draw_input(name, specs[name], scope) for name in body.inputs}
            lines = [
                _Line(inputs[name], lag, attrs["reverse"])
                for name, lag in zip(windows, lags, strict=True)
            ]
            read = {name: line.read(name) for name, line in zip(windows, lines, strict=True)}
            outputs = body.inline([read.get(name, x) for name, x in inputs.items()])
            for line, value in zip(lines, outputs, strict=False):
                line.values.append(value)
            results = [*[line.final() for line in lines], *outputs[ports.states :]]
        body._cache[key] = Graph.of(
            inputs, dict(zip(body.outputs, results, strict=True)), body.name
        )
    return {k: v for k, v in attrs.items() if k != "lags"} | {"body": body._cache[key]}
