"""Schedules: numbers of an optimizer as functions of how many updates there have been.

    optimizer = nn.SGD(parameters, lr=nn.schedules.cosine(0.1, updates=1000))

A schedule is called with 0 before the first update, 1 before the second, and so on. It has no state
but that number, so training that is taken up again goes on exactly. Any function of it will do;
these are the usual ones, comparable and printable. Only `Plateau` is told how training goes, and
has a state, which is saved with that of its optimizer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, inf, pi, sqrt
from typing import Any

import numpy as np

from autograd.errors import LoopGradError
from nn.optim.groups import number_at_least_zero

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class constant:  # noqa: N801
    """The same number always."""

    value: float

    def __post_init__(self) -> None:
        _check_numbers(self, "value")

    def __call__(self, steps: int) -> float:
        return self.value


@dataclass(frozen=True)
class step:  # noqa: N801
    """initial * gamma^(how often `every` updates are over); torch's StepLR."""

    initial: float
    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check_numbers(self, "initial", "gamma")
        _check_counts(self, "every")

    def __call__(self, steps: int) -> float:
        return self.initial * self.gamma ** (steps // self.every)


@dataclass(frozen=True)
class exponential:  # noqa: N801
    """initial * gamma^steps; torch's ExponentialLR."""

    initial: float
    gamma: float

    def __post_init__(self) -> None:
        _check_numbers(self, "initial", "gamma")

    def __call__(self, steps: int) -> float:
        return self.initial * self.gamma**steps


@dataclass(frozen=True)
class piecewise:  # noqa: N801
    """values[0] before boundaries[0] updates, values[1] from there on, and so on.

    With values that go down by a factor it is torch's MultiStepLR.
    """

    boundaries: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "boundaries", _rising("piecewise", self.boundaries))
        object.__setattr__(self, "values", tuple(self.values))
        if len(self.values) != len(self.boundaries) + 1:
            raise LoopGradError(
                f"piecewise has {len(self.boundaries)} boundaries, so it needs "
                f"{len(self.boundaries) + 1} values, but {len(self.values)} came"
            )
        for value in self.values:
            number_at_least_zero("a value of piecewise", value)

    def __call__(self, steps: int) -> float:
        return self.values[bisect_right(self.boundaries, steps)]


@dataclass(frozen=True)
class linear:  # noqa: N801
    """From `initial` to `final` in a line of so many updates; torch's LinearLR."""

    initial: float
    final: float
    updates: int

    def __post_init__(self) -> None:
        _check_numbers(self, "initial", "final")
        _check_counts(self, "updates")

    def __call__(self, steps: int) -> float:
        part = min(steps, self.updates) / self.updates
        return self.initial + (self.final - self.initial) * part


@dataclass(frozen=True)
class polynomial:  # noqa: N801
    """From `initial` to `final` as (1 - steps / updates)^power; torch's PolynomialLR (final 0)."""

    initial: float
    updates: int
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, "initial", "power", "final")
        _check_counts(self, "updates")

    def __call__(self, steps: int) -> float:
        left = 1 - min(steps, self.updates) / self.updates
        return self.final + (self.initial - self.final) * float(left**self.power)


@dataclass(frozen=True)
class cosine:  # noqa: N801
    """From `initial` to `final` along half a cosine (Loshchilov and Hutter 2017), then `final`.

    Up to there it is torch's CosineAnnealingLR, which goes up again afterwards.
    """

    initial: float
    updates: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, "initial", "final")
        _check_counts(self, "updates")

    def __call__(self, steps: int) -> float:
        return _eased(self.initial, self.final, min(steps, self.updates) / self.updates)


@dataclass(frozen=True)
class cosine_restarts:  # noqa: N801
    """Half a cosine from `initial` to `final` again and again (SGDR, Loshchilov and Hutter 2017).

    The first takes `updates` updates, each further one `longer` times as many as the one before;
    torch's CosineAnnealingWarmRestarts.
    """

    initial: float
    updates: int
    longer: int = 1
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, "initial", "final")
        _check_counts(self, "updates", "longer")

    def __call__(self, steps: int) -> float:
        period = self.updates
        if self.longer == 1:
            steps %= period
        while steps >= period:
            steps -= period
            period *= self.longer
        return _eased(self.initial, self.final, steps / period)


@dataclass(frozen=True)
class warmup:  # noqa: N801
    """A line from start * then(0) to then(0) in so many updates, and from there `then` from its 0.

    With `start` > 0 it is torch's SequentialLR of a LinearLR and another.
    """

    updates: int
    then: Schedule | float
    start: float = 0.0

    def __post_init__(self) -> None:
        _check_counts(self, "updates")
        _check_numbers(self, "start")
        object.__setattr__(self, "then", _schedule("warmup", self.then))

    def __call__(self, steps: int) -> float:
        then: Any = self.then
        if steps >= self.updates:
            return float(then(steps - self.updates))
        return float(then(0) * (self.start + (1 - self.start) * steps / self.updates))


@dataclass(frozen=True)
class one_cycle:  # noqa: N801
    """Up to `highest` and down to next to nothing in so many updates (Smith and Topin 2018).

    From highest / start_divisor up, in a part `rise` of the updates, and down to
    highest / start_divisor / end_divisor, along half cosines; torch's OneCycleLR.
    """

    highest: float
    updates: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        _check_numbers(self, "highest", "rise", "start_divisor", "end_divisor")
        _check_counts(self, "updates")
        if self.updates < 2 or not 0 < self.rise * self.updates - 1 < self.updates - 1:
            raise LoopGradError(
                f"one_cycle needs more than one update up and one down, but rise={self.rise} of "
                f"updates={self.updates} is {self.rise * self.updates:g}"
            )
        if not self.start_divisor or not self.end_divisor:
            raise LoopGradError("the divisors of one_cycle must not be 0")

    def __call__(self, steps: int) -> float:
        first = self.highest / self.start_divisor
        top, end = self.rise * self.updates - 1, self.updates - 1
        if steps <= top:
            return _eased(first, self.highest, steps / top)
        return _eased(self.highest, first / self.end_divisor, min(1, (steps - top) / (end - top)))


@dataclass(frozen=True)
class inverse_square_root:  # noqa: N801
    """A line up to `highest` at update `warmup`, then highest * sqrt(warmup / number of update).

    The schedule of the Transformer (Vaswani et al. 2017, section 5.3), whose
    highest = 1 / sqrt(width * warmup).
    """

    highest: float
    warmup: int

    def __post_init__(self) -> None:
        _check_numbers(self, "highest")
        _check_counts(self, "warmup")

    def __call__(self, steps: int) -> float:
        number = steps + 1
        return self.highest * min(number / self.warmup, sqrt(self.warmup / number))


@dataclass(frozen=True)
class chained:  # noqa: N801
    """One schedule after another, each from its own 0; torch's SequentialLR.

    The second begins after boundaries[0] updates, the third after boundaries[1].
    """

    schedules: Sequence[Schedule | float]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        schedules = tuple([_schedule("chained", x) for x in self.schedules])
        object.__setattr__(self, "schedules", schedules)
        object.__setattr__(self, "boundaries", _rising("chained", self.boundaries))
        if len(schedules) != len(self.boundaries) + 1:
            raise LoopGradError(
                f"chained has {len(schedules)} schedules, so it needs {len(schedules) - 1} "
                f"boundaries between them, but {len(self.boundaries)} came"
            )

    def __call__(self, steps: int) -> float:
        which = bisect_right(self.boundaries, steps)
        chosen: Any = self.schedules[which]
        return float(chosen(steps - (self.boundaries[which - 1] if which else 0)))


class Plateau:
    """A number that is made smaller when a measure gets no better; torch's ReduceLROnPlateau.

        plateau = nn.schedules.Plateau(0.1, factor=0.5, patience=3)
        optimizer = nn.SGD(parameters, lr=plateau)
        ...
        plateau.report(loss_on_validation_data)      # once an epoch, say

    After more than `patience` reports in a row that are not better, `value` becomes
    max(value * factor, least) (but for changes of at most `eps`), and the next `cooldown` reports
    are not counted. Better is below best * (1 - threshold), with `relative=False` below
    best - threshold; with `largest=True` it is above best * (1 + threshold) or best + threshold.
    NaN is never better. What it remembers is in `state_dict()`, and in that of its optimizer.
    """

    remembered = ("value", "best", "bad", "cooling")

    def __init__(
        self,
        initial: float,
        *,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        relative: bool = True,
        largest: bool = False,
        cooldown: int = 0,
        least: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.value = number_at_least_zero("initial", initial)
        """The number now."""
        self.factor = number_at_least_zero("factor", factor)
        if self.factor >= 1:
            raise LoopGradError(f"factor of Plateau must be below 1, but is {factor!r}")
        self.patience = _count("patience of Plateau", patience, 0)
        self.threshold = number_at_least_zero("threshold", threshold)
        self.relative = relative
        self.largest = largest
        self.cooldown = _count("cooldown of Plateau", cooldown, 0)
        self.least = number_at_least_zero("least", least)
        self.eps = number_at_least_zero("eps", eps)
        self.best = -inf if largest else inf
        """The best measure so far."""
        self.bad = 0
        """How many reports in a row have not been better."""
        self.cooling = 0
        """How many more reports are not counted."""

    def __call__(self, steps: int) -> float:
        return self.value

    def report(self, measure: Any) -> float:
        """Tell how it goes, by a number; return the value from now on."""
        if np.ndim(measure := getattr(measure, "value", measure)) or isinstance(measure, str):
            raise LoopGradError(f"report takes a number, but got {measure!r:.60}")
        number = float(measure)
        if self._better(number):
            self.best, self.bad = number, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.patience:
            smaller = max(self.value * self.factor, self.least)
            if self.value - smaller > self.eps:
                self.value = smaller
            self.cooling, self.bad = self.cooldown, 0
        return self.value

    def _better(self, measure: float) -> bool:
        sign = 1 if self.largest else -1
        if self.relative:
            edge = self.best * (1 + sign * self.threshold)
        else:
            edge = self.best + sign * self.threshold
        return measure > edge if self.largest else measure < edge

    def state_dict(self) -> dict[str, float]:
        """Return what it remembers: value, best measure, bad reports in a row, those to cool."""
        return {name: getattr(self, name) for name in self.remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        given: Any = state
        if not isinstance(given, Mapping) or set(given) != set(self.remembered):
            got = ", ".join(map(str, given)) if isinstance(given, Mapping) else repr(given)
            raise LoopGradError(
                f"the state of a Plateau is {', '.join(self.remembered)}, but {got} came"
            )
        value = number_at_least_zero("value", state["value"])
        bad, cooling = (_count(f"'{x}' of Plateau", state[x], 0) for x in ("bad", "cooling"))
        self.value, self.best, self.bad, self.cooling = value, float(state["best"]), bad, cooling

    def __repr__(self) -> str:
        return f"<Plateau at {self.value:g}, best {self.best:g}, {self.bad} reports ago>"


def _eased(start: float, end: float, part: float) -> float:
    """Return what lies at a part (0 to 1) of the way along half a cosine."""
    return end + (start - end) * (1 + cos(pi * part)) / 2


def _check_numbers(schedule: Any, *names: str) -> None:
    for name in names:
        value = getattr(schedule, name)
        number = number_at_least_zero(f"{name} of {type(schedule).__name__}", value)
        object.__setattr__(schedule, name, number)


def _check_counts(schedule: Any, *names: str) -> None:
    for name in names:
        count = _count(f"{name} of {type(schedule).__name__}", getattr(schedule, name), 1)
        object.__setattr__(schedule, name, count)


def _count(what: str, value: Any, least: int) -> int:
    """Return a whole number that is at least `least`."""
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iu" or array < least:
        raise LoopGradError(f"{what} must be a whole number >= {least}, but is {value!r:.60}")
    return int(array)


def _rising(what: str, boundaries: Sequence[int]) -> tuple[int, ...]:
    """Return counts of updates, each larger than the one before."""
    found = tuple([_count(f"a boundary of {what}", x, 0) for x in boundaries])
    if any(a >= b for a, b in pairwise(found)):
        raise LoopGradError(f"the boundaries of {what} must rise, but are {list(found)}")
    return found


def _schedule(what: str, given: Any) -> Schedule:
    """Return a schedule; of a number, that which is always the number."""
    return given if callable(given) else constant(number_at_least_zero(f"a part of {what}", given))
