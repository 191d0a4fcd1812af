"""States and per-step inputs of other steps than this one, as they are asked for in a body.

A state of k steps ago is a state that starts with k rows (see `loops/form.py`), kept in a ring. A
per-step input of another step is the same sequence moved along, before the loop begins: the op
`delays`, one for all lags of a sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograd.describe import describe
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.node import Node, constant
from autograd.ops.delay import delays, rows_fit
from autograd.ops.index import take
from autograd.ops.shape import flip
from autograd.spec import Spec
from loops.form import MAX_LENGTH, plain

RULES = ("edge", "wrap")


def checked_lag(lag: Any, what: str) -> int:
    """Return `lag`, a whole number of steps from 1 up. `what` says whose it is."""
    lag = plain(lag)
    if type(lag) is not int or not 1 <= lag <= MAX_LENGTH:
        raise GraphError(
            f"{what} must be a whole number of steps from 1 to {MAX_LENGTH}, but is {lag!r}; "
            "1 is the step before"
        )
    return lag


# States.


def checked_lags(lag: Any, lags: Any, what: str) -> tuple[int, ...]:
    """Return the lags at which a state is read; without any it is read one step later."""
    if lag is not None and lags is not None:
        raise GraphError(f"{what} has a lag and lags; give lag=5 for one, or lags=(1, 5) for some")
    if lags is None:
        return (checked_lag(1 if lag is None else lag, f"lag of {what}"),)
    if not isinstance(lags, (tuple, list)) or not lags:
        raise GraphError(
            f"lags of {what} must be a tuple of numbers of steps such as (1, 5), but is {lags!r}; "
            "give lag=5 for a single one"
        )
    return tuple(checked_lag(each, f"lags of {what}: each") for each in lags)


def starts_of(
    init: Node | None, history: Node | None, lags: Sequence[int], reverse: bool, what: str
) -> list[Node]:
    """Return what a state starts from at each of its lags: one value, or for lag k > 1 k rows.

    With `init` every value before the start is that; `history` has a row for each, as many as the
    longest lag, in the order of time: rows for steps -k to -1, or in reverse from T to T + k - 1.
    """
    if init is not None and history is None:
        return [init if lag == 1 else _repeated(init, lag) for lag in lags]
    if history is None or init is not None:
        raise GraphError(
            f"{what} needs one rule for what lies before the start: init, which is every value "
            "there, or history, with one row a step"
        )
    most = max(lags)
    if history.ndim == 0 or history.shape[0] != most:
        count = "no rows" if history.ndim == 0 else f"{history.shape[0]} rows"
        raise ShapeError(
            f"history of {what}, {describe(history)}, has {count}, but must have {most}: one for "
            f"each of the {most} steps before the start that lag {most} reads, in the order of time"
        )
    starts = []
    for lag in lags:
        if lag == 1:
            starts.append(history[0 if reverse else -1])
        elif lag == most:
            starts.append(history)
        else:
            starts.append(history[:lag] if reverse else history[-lag:])
    return starts


def _repeated(init: Node, count: int) -> Node:
    """Return `count` rows that are `init`, also after a resize: no shape is written down."""
    if init.op.name == "constant" and not init.tracked:
        return constant(np.repeat(init.value[None], count, 0), name=init.name)
    repeated: Node = take(init[None], np.zeros(count, np.int64), 0)
    return repeated


def turned(rows: Node) -> Node:
    """Return the rows of a delayed state for a loop that runs the other way."""
    turned: Node = flip(rows, 0)
    return turned


# Per-step inputs.


@dataclass(frozen=True)
class Delay:
    """A sequence `lag` steps ago (negative: ahead), and the rule for what lies outside of it."""

    lag: int
    rule: str
    fill: Node | None
    """The rows, row or number that lie outside, with the rule "fill"."""

    @property
    def side(self) -> str:
        return "before" if self.lag > 0 else "after"

    @property
    def suffix(self) -> str:
        """What a port's name says of it."""
        return f"lag_{self.lag}" if self.lag > 0 else f"lead_{-self.lag}"


def checked_delay(
    lag: Any, lead: Any, before: Any, after: Any, what: str
) -> tuple[int, Any] | None:
    """Return the lag (negative: lead) of a per-step input and its rule; None: this very step's."""
    if lag is None and lead is None:
        if before is not None or after is not None:
            raise GraphError(
                f"{what} has before= or after=, but neither lag= nor lead=, so nothing outside of "
                "it is read; say how many steps it is moved"
            )
        return None
    if lag is not None and lead is not None:
        raise GraphError(f"{what} has a lag and a lead; call each() once for either")
    if lag is not None:
        name, steps, rule, wrong, side = "lag", lag, before, after, "before"
    else:
        name, steps, rule, wrong, side = "lead", lead, after, before, "after"
    steps = checked_lag(steps, f"{name} of {what}")
    if wrong is not None:
        other = "after" if side == "before" else "before"
        raise GraphError(f"{what} has {name}={steps}, which reads nothing {other}; give {side}=")
    if rule is None:
        raise GraphError(
            f"{what} with {name}={steps} needs a rule for the {steps} steps that lie {side} it: "
            f"{side}=0.0 (or any value or rows), {side}='edge' (its "
            f"{'first' if side == 'before' else 'last'} step again) or {side}='wrap'"
        )
    if isinstance(rule, str) and rule not in RULES:
        raise GraphError(
            f"{side}={rule!r} of {what} is no rule; it is 'edge', 'wrap', or what lies there"
        )
    return (steps if side == "before" else -steps), rule


def filled(lag: int, fill: Node, xs: Node, what: str) -> Delay:
    """Return a delay with given rows outside, checked to be rows of `xs`."""
    delay = Delay(lag, "fill", fill)
    steps, side = abs(lag), delay.side
    if not np.can_cast(fill.dtype, xs.dtype, "same_kind"):
        raise DTypeError(
            f"`{side}` of {what} must be {xs.dtype} as {describe(xs)} is, but is {describe(fill)}"
        )
    if fill.dtype != xs.dtype:
        fill = fill.astype(xs.dtype)
    if not rows_fit(fill.spec, xs.spec, steps):
        row = Spec(xs.shape[1:], xs.dtype)
        raise ShapeError(
            f"`{side}` of {what} stands for {steps} rows of {row}, one for each step that lies "
            f"{side} it, but is {describe(fill)}; give {steps} rows or more in the order of time, "
            "or one row or number for all of them"
        )
    return Delay(lag, "fill", fill)


class _Group:
    """The delays of one sequence that agree on what lies outside of it: views of one array."""

    def __init__(self, xs: Node) -> None:
        self.xs = xs
        self.lags: list[int] = []
        self.sides: dict[str, Delay] = {}

    def takes(self, xs: Node, delay: Delay) -> bool:
        known = self.sides.get(delay.side, delay)
        return xs is self.xs and known.rule == delay.rule and _same(known.fill, delay.fill)

    def add(self, delay: Delay) -> None:
        self.sides.setdefault(delay.side, delay)
        if delay.lag not in self.lags:
            self.lags.append(delay.lag)

    def outputs(self, lengths: Node | None) -> dict[int, Node]:
        """Draw the op; return its output for each lag."""
        sides = {side: self.sides[side] for side in ("before", "after") if side in self.sides}
        attrs: dict[str, Any] = {side: delay.rule for side, delay in sides.items()}
        given = [delay.fill for delay in sides.values() if delay.fill is not None]
        if lengths is not None:
            attrs["ragged"] = True
            given.append(lengths)
        outputs = delays(self.xs, *given, lags=tuple(self.lags), **attrs)
        return dict(zip(self.lags, outputs, strict=True))


def _same(a: Node | None, b: Node | None) -> bool:
    """True if both are one node, or equal constants."""
    if a is b or a is None or b is None:
        return a is b
    if {a.op.name, b.op.name} != {"constant"} or a.tracked or b.tracked:
        return False
    return a.spec == b.spec and a.value.tobytes() == b.value.tobytes()


def moved_along(
    sequences: Mapping[Node, Node], delayed: Mapping[Node, Delay], lengths: Node | None
) -> list[Node]:
    """Return the sequence of each port, moved along where it is asked for at another step."""
    groups: list[_Group] = []
    group_of: dict[Node, _Group] = {}
    for port, delay in delayed.items():
        xs = sequences[port]
        group = _first(g for g in groups if g.takes(xs, delay))
        if group is None:
            group = _Group(xs)
            groups.append(group)
        group.add(delay)
        group_of[port] = group
    outputs = {group: group.outputs(lengths) for group in groups}
    return [
        outputs[group_of[port]][delayed[port].lag] if port in delayed else xs
        for port, xs in sequences.items()
    ]


def _first(groups: Iterable[_Group]) -> _Group | None:
    return next(iter(groups), None)
