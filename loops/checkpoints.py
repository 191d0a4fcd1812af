"""Which states of a loop to keep, and which steps to run again: schedules, without any array.

To pull a gradient back through n steps, the state before each step is needed, last step first.
Kept are at most `slots` of them, the initial one included; the others are computed again from the
nearest one kept before. A schedule is a sequence of actions on one current state:

    advance i, j    run the steps i, ..., j-1: the current state i becomes j
    store i         keep the current state i
    restore i       make the kept state i the current one
    back i          pull the gradient back through step i, given the current state i
    free i          drop the kept state i

Sources

    A. Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse
    automatic differentiation, Optimization Methods and Software 1 (1992) 35-54.

    A. Griewank and A. Walther, Algorithm 799: revolve: an implementation of checkpointing for the
    reverse or adjoint mode of computational differentiation, ACM TOMS 26 (2000) 19-45.

    Q. Wang, P. Moin and G. Iaccarino, Minimal repetition dynamic checkpointing algorithm for
    unsteady adjoint calculation, SIAM J. Sci. Comput. 31 (2009) 2549-2567.

    P. Stumm and A. Walther, New algorithms for optimal online checkpointing, SIAM J. Sci. Comput.
    32 (2010) 836-854.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from math import comb
from typing import NamedTuple

from autograd.errors import GradientError


class Action(NamedTuple):
    """One thing to do; `stop` is for `advance` only."""

    kind: str
    step: int
    stop: int = -1


def repetitions(steps: int, slots: int) -> int:
    """Return how often a step is run forward at most: the least r with (slots + r over r) >= n."""
    if slots == 1:
        return max(steps - 1, 0)
    r = 0
    while comb(slots + r, r) < steps:
        r += 1
    return r


def forward_steps(steps: int, slots: int) -> int:
    """Return the least number of steps that reversing `steps` runs forward, with so many slots.

    Griewank's closed formula t(n, c) = r n - (c + r over r - 1) for r repetitions. What each
    `back` computes of its own step is not counted.
    """
    _check(slots)
    r = repetitions(steps, slots)
    return r * steps - comb(slots + r, r - 1) if r else 0


def binomial(steps: int, slots: int) -> Iterator[Action]:
    """Yield the actions that reverse `steps` steps, a number known at the start.

    They run forward `forward_steps(steps, slots)` steps, the least there can be, and store as
    rarely as that allows: the order is that of Algorithm 799.
    """
    _check(slots)
    if steps:
        yield Action("store", 0)
        yield from reversal(steps, slots, [0], 0)


def reversal(steps: int, slots: int, kept: Iterable[int], current: int) -> Iterator[Action]:
    """Yield the actions that reverse `steps` steps, given the states `kept`, 0 among them.

    Between two kept states, and behind the last, the order is the binomial one for the slots that
    are free by then.
    """
    stack = array("q", sorted(kept))  # 8 bytes each: there may be a million
    end = steps
    while stack:
        start = stack[-1]
        if current != start:
            yield Action("restore", start)
            current = start
        if end - start > 1:
            current = start + _split(end - start, slots - len(stack) + 1)
            yield Action("advance", start, current)
            if end - current > 1:
                yield Action("store", current)
                stack.append(current)
                continue
        if end > current:
            yield Action("back", current)
        end = current
        if end == start:
            yield Action("free", start)
            stack.pop()


def _split(steps: int, slots: int) -> int:
    """Return after how many of `steps` steps to store next, where one of `slots` holds the first.

    The rule of Algorithm 799, which of all best places takes one that stores rarely.
    """
    if slots == 1:
        return steps - 1
    reach, r = 1, 0  # reach = (slots + r over r), the most steps that r repetitions can do
    while reach < steps:
        r += 1
        reach = reach * (r + slots) // r
    one = reach * r // (slots + r)
    two = one * slots // (slots + r - 1)
    three = two * (slots - 1) // (slots + r - 2) if slots > 2 else 1
    four = two * (r - 1) // slots
    five = 0 if slots < 3 else three * (slots - 2) // r if slots > 3 else 1
    if steps <= one + three:
        place = four
    elif steps >= reach - five:
        place = one
    else:
        place = steps - two - three
    return max(place, 1)


class Online:
    """Which states to keep while a loop runs of which nobody knows how long it will.

    `passing(i)` is told of each state as the loop leaves it, from 0 on; `finish(n)` ends it. This
    is the algorithm of Wang, Moin and Iaccarino: each state has a level, a state is *dispensable*
    if a later one has a higher level, and where none is, the newest state moves on by a step and
    up by a level. Whenever the loop ends, no step has been run more than `repetitions` times, the
    most of the binomial schedule for as many steps, and once to find the end. (Stumm and Walther
    bring the total closer to the least, for as many steps as two repetitions can do.)
    """

    def __init__(self, slots: int) -> None:
        _check(slots)
        self.slots = slots
        self._levels: list[tuple[int, int]] = []
        """Kept states and their levels, which fall; state 0 is of a level above all."""
        self._dispensable: list[int] = []
        self._level = 0
        """Of the current state."""

    @property
    def kept(self) -> list[int]:
        """The states kept now, in order."""
        return sorted([*self._dispensable, *[step for step, _ in self._levels]])

    def passing(self, step: int) -> list[Action]:
        """Return what to do with the current state before step `step` is run."""
        if step == 0:
            self._levels.append((0, 0))
            return [Action("store", 0)]
        actions = []
        if len(self._levels) + len(self._dispensable) == self.slots:
            if not self._dispensable:
                self._raise_level()
                return []
            actions.append(Action("free", self._dispensable.pop()))
        self._levels.append((step, self._level))
        self._level = 0
        return [*actions, Action("store", step)]

    def _raise_level(self) -> None:
        """Let the current state go unstored: the next one is a level higher."""
        self._level += 1
        while len(self._levels) > 1 and self._levels[-1][1] < self._level:
            self._dispensable.append(self._levels.pop()[0])

    def finish(self, steps: int) -> Iterator[Action]:
        """Yield the actions that reverse the `steps` steps there turned out to be."""
        return reversal(steps, self.slots, self.kept, steps)


def _check(slots: int) -> None:
    if type(slots) is not int or slots < 1:
        raise GradientError(
            f"the number of checkpoints is a whole number from 1 on, but is {slots!r}; 1 keeps "
            "the initial state only"
        )
