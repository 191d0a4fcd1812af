"""The cases of `python -m benchmarks`, who takes part in each, and what must be reached."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "workers"))

from problem import Problem

OURS = ("reference", "numpy", "native")
HAND = ("hand", "hand-hoisted")
JAX = ("jax", "jax-hoisted")
TORCH = ("torch-eager", "torch-nn", "torch-compile")
TAPES = ("hips", "mygrad")
MASKED = tuple(f"{name}-mask" for name in OURS)
BEST = ("numpy", "native")
"""Where a bound says nothing of the backend, the faster one counts."""
LIMIT = "BLAS limit"
CONTENDERS = (*HAND, "c", *TORCH, *JAX, *TAPES, *OURS, *MASKED)
FAMILIES = ("hand", "c", "torch", "jax", "hips", "mygrad", "loopgrad")
"""Contenders that live in one environment, as `--peer-python` names them."""


def family(contender: str) -> str:
    """Return the environment that a contender lives in."""
    return "loopgrad" if contender in (*OURS, *MASKED) else contender.split("-")[0]


Figures = Mapping[str, Mapping[str, float]]
"""What was measured in a case: contender -> quantity -> figure."""


@dataclass(frozen=True)
class Bound:
    """What must be reached: the best of ours at most `at_most` times the best of the peers.

    Without peers `at_most` is the figure itself.
    """

    ours: tuple[str, ...]
    at_most: float
    peers: tuple[str, ...] = ()
    quantity: str = "median"

    def reached(self, figures: Figures) -> float | None:
        """Return the ratio (without peers: the figure), or None if a side was not measured."""
        ours = self._best(self.ours, figures)
        if not self.peers or ours is None:
            return ours
        peers = self._best(self.peers, figures)
        return None if peers is None else ours / peers

    def _best(self, names: tuple[str, ...], figures: Figures) -> float | None:
        found = [figures[name][self.quantity] for name in names if self._has(figures, name)]
        return min(found) if found else None

    def _has(self, figures: Figures, name: str) -> bool:
        return name in figures and self.quantity in figures[name]

    def __str__(self) -> str:
        ours = " or ".join(self.ours)
        what = "" if self.quantity in ("median", "least") else f" {self.quantity}"
        return f"{ours}{what}" + (f" / {' or '.join(self.peers)}" if self.peers else "")


@dataclass(frozen=True)
class Case:
    """One row of the benchmark: a problem, the contenders and the bounds.

    `slow` contenders take part only if they are named. `kind` is how it is measured: in "rounds",
    or as one of the others of `suite.MEASURES`.
    """

    name: str
    title: str
    problem: Problem
    contenders: tuple[str, ...]
    bounds: tuple[Bound, ...]
    slow: tuple[str, ...] = ("torch-compile",)
    kind: str = "rounds"

    def quick(self) -> Case:
        """Return the same case, so small that it tells nothing but whether it runs."""
        p = self.problem
        if p.model == "adder":
            return replace(self, problem=replace(p, updates=min(p.updates, 3)))
        small = {"steps": min(p.steps, 6), "batch": min(p.batch, 3), "features": 3, "hidden": 4}
        return replace(self, problem=replace(p, **small))


def layer(
    name: str, model: str, sizes: tuple[int, ...], bounds: tuple[Bound, ...], tapes: bool = True
) -> Case:
    """Return a case of one float32 layer, sizes (T, B, D, H)."""
    problem = Problem(model, *sizes, "float32")  # type: ignore[arg-type]
    T, B, D, H = sizes
    what = {"mgu": "minimal gated unit with layer norm"}.get(model, model.upper())
    fused = () if model == "mgu" else ("torch-nn",)
    who = (*HAND, "torch-eager", *fused, "torch-compile", *JAX, *TAPES[: 2 * tapes], *OURS)
    return Case(name, f"{what} float32 T{T} B{B} D{D} H{H}", problem, who, bounds)


ADDER = Problem("adder", 8, 1, 2, 16, "float64")
MILLION = Problem("rnn", 1_000_000, 1, 8, 8, "float64", inputs=False)
GROWING = Problem("rnn", 1_000_000, 1, 8, 32, "float32", inputs=False)
RAGGED = Problem("rnn", 200, 64, 64, 256, "float32", ragged=True)
FIRST = Problem("lstm", 100, 4, 32, 64, "float32")


def at_most(ratio: float, *peers: str) -> Bound:
    return Bound(BEST, ratio, peers)


CASES = (
    Case(
        "adder-step",
        "binary-addition step, T8 B1 H16 float64 + SGD, one call a step",
        ADDER,
        (*HAND, "c", "torch-eager", "torch-compile", *JAX, *TAPES, *OURS),
        (
            Bound(("native",), 1 / 15, ("hand",)),
            Bound(("native",), 1 / 80, ("torch-eager",)),
            Bound(("numpy",), 0.65, ("hand",)),
        ),
    ),
    Case(
        "adder-run",
        "the same, 20,000 steps in one call",
        replace(ADDER, updates=20_000),
        (*HAND, "c", *JAX, *OURS),
        (Bound(("native",), 1 / 5, JAX),),
    ),
    layer("rnn", "rnn", (100, 32, 64, 128), (at_most(0.75, *JAX), at_most(0.45, "torch-nn"))),
    layer("rnn-small", "rnn", (100, 1, 32, 32), (at_most(0.5, *JAX),)),
    layer("lstm", "lstm", (100, 32, 128, 256), (at_most(1.0, "torch-nn"), at_most(0.6, *JAX))),
    layer("gru", "gru", (100, 32, 128, 256), (at_most(0.8, *JAX), at_most(0.6, "torch-nn"))),
    layer("lstm-small", "lstm", (100, 4, 32, 64), (at_most(1.0, "torch-nn"),)),
    layer(
        "lstm-large",
        "lstm",
        (200, 64, 256, 512),
        (at_most(1.0, "torch-nn"), at_most(0.8, *JAX), at_most(1.5, LIMIT)),
        tapes=False,
    ),
    layer("mgu", "mgu", (200, 16, 64, 64), (at_most(0.25, "torch-eager"), at_most(0.7, *JAX))),
    Case(
        "million",
        "RNN float64 T1,000,000 B1 D8 H8, value and gradient of the weights",
        MILLION,
        (*HAND, "torch-eager", "torch-nn", *JAX, *OURS),
        (Bound(("numpy",), 1.2, HAND), Bound(("native",), 1.0, JAX)),
        slow=("hand", "torch-eager", "torch-nn", "reference"),
    ),
    Case(
        "growing",
        "RNN float32 B1 D8 H32, T from 100 to 1,000,000",
        GROWING,
        ("hand-hoisted", *JAX, *OURS),
        tuple(
            Bound((name,), limit, quantity=quantity)
            for name in BEST
            for quantity, limit in (
                ("slope", 1.05),
                ("compile growth", 1.5),
                ("memory / foretold", 1.0),
            )
        ),
        slow=("reference",),
        kind="growing",
    ),
    Case(
        "ragged",
        "RNN float32 B64 D64 H256, lengths uniform in 1..200",
        RAGGED,
        (*HAND, "torch-nn", *JAX, *OURS, *MASKED),
        (Bound(BEST, 1 / 1.5, MASKED[1:]),),
    ),
    Case(
        "first-call",
        "first call of a compiled LSTM step, T100 B4 D32 H64, in a fresh process",
        FIRST,
        (*JAX, "torch-compile", "numpy", "native"),
        (
            Bound(("numpy",), 0.1, quantity="first call s"),
            Bound(("native",), 4.0, quantity="cold s"),
            Bound(("native",), 0.3, quantity="first call s"),
        ),
        kind="first-call",
    ),
    Case(
        "import",
        "`import autograd` over NumPy's own import",
        FIRST,
        ("reference",),
        (Bound(("reference",), 0.020, quantity="import s"),),
        kind="import",
    ),
)
