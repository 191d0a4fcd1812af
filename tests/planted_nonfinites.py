"""Loops with one NaN or infinity planted in them: in which op, step and row, and which way.

A nest has up to three levels. Each level takes, per step, one slice for each site; a site is an op
on its slice, which is harmless unless the slice has the one value at which the op, or its
gradient, is not finite. What comes out is hidden again before it goes on (by tanh, minimum or
where), so only those who look while it happens can say where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import autograd as ag
from loops import LoopNode

ROWS, COLUMNS = 5, 3
LENGTHS = (4, 3, 2)
"""Steps of the loops a, b and c, outermost first."""
HARMLESS = 0.5
NAN, INF = 77.0, 88.0
"""What makes a planting op of the user's make NaN or infinity."""


def planted(x: np.ndarray) -> np.ndarray:
    return np.where(x == NAN, np.nan, np.where(x == INF, np.inf, x))


@ag.custom_vjp
def plant(x: Any) -> Any:
    """NaN or infinity where `x` says so."""
    return planted(x)


@plant.defvjp
def _(g: Any, y: Any, x: Any) -> Any:
    return g


@ag.custom_vjp
def spoil(g: Any, x: Any) -> Any:
    """`g`, with NaN or infinity where `x` says so."""
    return np.where((x == NAN) | (x == INF), planted(x), g)


@ag.custom_vjp
def plant_going_back(x: Any) -> Any:
    """`x` itself, with a gradient that is NaN or infinity where `x` says so."""
    return np.asarray(x)


@plant_going_back.defvjp
def _(g: Any, y: Any, x: Any) -> Any:
    return spoil(g, x)


@dataclass(frozen=True)
class Site:
    """An op, and at which values what becomes of it."""

    op: str
    fn: Callable[[Any], Any]
    forward: dict[float, str]
    """Value -> kind of the op's result there."""
    backward: dict[float, str]
    """Value -> kind of the op's gradient there; the result is finite."""


SCALE = 1e200

SITES = (
    Site("log", ag.log, {-1.0: "nan", 0.0: "-inf"}, {}),
    Site("sqrt", ag.sqrt, {-1.0: "nan"}, {0.0: "+inf"}),
    Site("divide", lambda x: 1.0 / x, {0.0: "+inf"}, {}),
    Site("exp", ag.exp, {1000.0: "+inf"}, {}),
    Site("arcsin", ag.arcsin, {2.0: "nan"}, {1.0: "+inf"}),
    Site("power", lambda x: x**0.5, {-1.0: "nan"}, {0.0: "+inf"}),
    Site("matmul", lambda x: x @ (SCALE * np.eye(COLUMNS)) * (1 / SCALE), {SCALE: "+inf"}, {}),
    Site("plant", plant, {NAN: "nan", INF: "+inf"}, {}),
    Site("plant_going_back", plant_going_back, {}, {NAN: "nan", INF: "+inf"}),
)


def hidden(number: int, y: Any, x: Any) -> Any:
    """Return something finite for every `y`, whether the op at `x` was harmless or not."""
    if number % 3 == 0:
        return ag.where((x > 0.4) & (x < 0.6), y, 1.0)
    return ag.minimum(ag.maximum(y, -3.0), 3.0) if number % 3 == 1 else ag.tanh(y)


def nest(h: Any, each: Sequence[Any], depth: int, level: int = 0) -> Any:
    """Return the state after a loop of `depth` levels; `each[i]` has i + 1 axes of steps."""
    with LoopNode("abc"[level]) as loop:
        slices = [loop.each(xs) for xs in each]
        before = loop.branch("h", h)
        total = before
        for number, site in enumerate(SITES):
            x = slices[0][number]
            total = total + hidden(number, site.fn(x), x)
        after = ag.tanh(0.1 * total)
        if level + 1 < depth:
            after = nest(after, slices[1:], depth, level + 1)
        loop.feed(before, after)
    return loop.final(before)


def inputs(depth: int) -> list[np.ndarray]:
    """Return harmless slices for all sites of all levels: steps of the level, site, row, column."""
    shapes = [(*LENGTHS[: level + 1], len(SITES), ROWS, COLUMNS) for level in range(depth)]
    return [np.full(shape, HARMLESS) for shape in shapes]


@dataclass(frozen=True)
class Plant:
    """One NaN or infinity: where it is, what makes it and what is to be said of it."""

    depth: int
    direction: str
    level: int
    steps: tuple[int, ...]
    site: int
    value: float
    kind: str
    row: int
    column: int

    @classmethod
    def at_random(cls, rng: np.random.Generator) -> Plant:
        depth = int(rng.integers(1, 4))
        level = int(rng.integers(depth))
        direction = ("forward", "backward")[int(rng.integers(2))]
        able = [i for i, site in enumerate(SITES) if getattr(site, direction)]
        site = int(rng.choice(able))
        ways = list(getattr(SITES[site], direction).items())
        value, kind = ways[int(rng.integers(len(ways)))]
        if direction == "backward" and site % 3 == 0:
            kind = "nan"  # `where` sends back 0, and 0 * inf is NaN
        steps = tuple(int(rng.integers(n)) for n in LENGTHS[: level + 1])
        row, column = int(rng.integers(ROWS)), int(rng.integers(COLUMNS))
        return cls(depth, direction, level, steps, site, value, kind, row, column)

    @property
    def path(self) -> str:
        loops = [f"{name}[{t}]" for name, t in zip("abc", self.steps, strict=False)]
        return ".".join([*loops, f"{SITES[self.site].op}_1"])

    def inputs(self) -> list[np.ndarray]:
        arrays = inputs(self.depth)
        arrays[self.level][(*self.steps, self.site, self.row, self.column)] = self.value
        return arrays
