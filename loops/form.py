"""What a loop's attrs say: how many ports of each kind, how many steps, which way.

Positions are the same everywhere, in the node, the body and the gradient, which is a LoopNode too:

    node inputs    [shared | initial states | sequences ]   node outputs  [final states | stacked]
    body inputs    [shared | states         | slices    ]   body outputs  [next states  | collected]

`Ports` is the only place that counts them.

Every loop has the attrs `body`, `shared`, `states` and `each` (the counts of its ports), `reverse`,
and `length`, which is None where per-step inputs say how long the loop runs. Others are there where
they hold:

    until     state 0 is `going` (bool), state 1 counts the steps (int64): the loop stops before a
              step for which `going` is False
    bounded   with until: still going after `length` steps is an error
    counted   shared input 0 says how many steps to run: an integer, or with `rows` one a row
    lags      one number a state: the body reads the value of that many steps ago
    rows      where each body input and output has its batch axis (-1: nowhere): a ragged loop
    source    for a ragged loop's gradient: the body it was derived from,
    derived   and the derivations, so that it can be derived again for fewer rows

A state with lag k > 1 has an initial and a final value of k rows in the order of time: going
forward `init[j]` stands for step j - k and `final[j]` for step T - k + j; in reverse `init[j]`
stands for step T + j and `final[j]` for step j. So the gradient of a state with lag k is one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MAX_LENGTH = 2**31 - 1


@dataclass(frozen=True)
class Ports:
    """How many ports of each kind a loop has; splits anything that is listed in their order."""

    shared: int
    states: int
    each: int

    def split(self, xs: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
        """Return the parts of `xs` that belong to shared ports, states and per-step inputs."""
        a, b = self.shared, self.shared + self.states
        return list(xs[:a]), list(xs[a:b]), list(xs[b:])

    def split_outputs(self, ys: Sequence[T]) -> tuple[list[T], list[T]]:
        """Return the parts of `ys` that belong to states and to collected outputs."""
        return list(ys[: self.states]), list(ys[self.states :])


def ports_of(attrs: dict[str, Any]) -> Ports:
    """Return the counts of ports a loop's attrs hold."""
    return Ports(attrs["shared"], attrs["states"], attrs["each"])


def plain(number: Any) -> Any:
    """Return `number`, NumPy's integers as Python's: `length=lengths.max()` is a length."""
    return int(number) if isinstance(number, np.integer) else number


def most_steps(sequences: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Return the most steps a loop over `sequences` (arrays, nodes or specs) can take, as an int.

    None, or `UNKNOWN` where nodes say so: nothing but its data ends it.
    """
    return sequences[0].shape[0] if sequences else attrs["length"]


def lags_of(attrs: dict[str, Any]) -> tuple[int, ...]:
    """Return how many steps ago each state is from."""
    lags: tuple[int, ...] = attrs.get("lags", ())
    return lags or (1,) * attrs["states"]


def loop_attrs(
    body: Any,
    ports: Ports,
    *,
    reverse: bool = False,
    length: int | None = None,
    lags: Sequence[int] = (),
    **rest: Any,
) -> dict[str, Any]:
    """Return the attrs of a loop; those that say nothing are left out."""
    attrs: dict[str, Any] = {
        "body": body,
        "shared": ports.shared,
        "states": ports.states,
        "each": ports.each,
        "reverse": reverse,
        "length": length,
    }
    if any(lag != 1 for lag in lags):
        attrs["lags"] = tuple(lags)
    return attrs | {key: value for key, value in rest.items() if value}
