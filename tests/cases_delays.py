"""The rows of the table of op cases for delayed sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import ShapeError
from autograd.ops.delay import delays, delays_adjoint
from tests.cases import Case, Sample, Wrong, beside, exactly, floats

LAGS = (1, 3, -2, 3)
LENGTHS = np.array([4, 0, 1, 3])


def value_at(s: int, xs: Any, n: int, before: Any, after: Any) -> Any:
    """Return the value at time `s` of a sequence of `n` steps, by the rules' definition."""
    if 0 <= s < n:
        return xs[s]
    rule, beyond = (before, s) if s < 0 else (after, s - n)
    if isinstance(rule, str):
        return xs[min(max(s, 0), n - 1) if rule == "edge" else s % n]
    rows = np.asarray(rule)
    full = rows.ndim == xs.ndim and len(rows) > 1
    return rows[beyond] if full else np.broadcast_to(rows, (1, *xs.shape[1:]))[0]


def like(xs: Any, lags: Any, before: Any, after: Any) -> tuple[Any, ...]:
    """Return what `delays` returns for one sequence, step by step."""
    results = []
    for lag in lags:
        y = np.zeros_like(xs)
        for t in range(len(xs)):
            y[t] = value_at(t - lag, xs, len(xs), before, after)
        results.append(y)
    return tuple(results)


def like_ragged(xs: Any, lengths: Any, lags: Any, before: Any, after: Any) -> tuple[Any, ...]:
    """Return what `delays` returns for rows of different lengths, zero in the padding."""
    results = [np.zeros_like(xs) for _ in lags]
    for b, n in enumerate(lengths):
        rules = [
            r if isinstance(r, str) else np.broadcast_to(r, xs.shape)[:, b] for r in (before, after)
        ]
        for y, part in zip(results, like(xs[:n, b], lags, *rules), strict=True):
            y[:n, b] = part
    return tuple(results)


def _without_padding(ys: Any, lengths: Any, xs: Any) -> tuple[Any, ...]:
    valid = ag.positions(xs)[:, None] < lengths
    return tuple(ag.where(valid[(..., *(None,) * (len(y.shape) - 2))], y, 0.0) for y in ys)


def _adjoint(xs: Any, lags: Any, before: str, after: str) -> tuple[Any, ...]:
    """Return the adjoint's matrix, transposed, times `xs`: `delays` of unit vectors."""
    steps, count = len(xs[0]), (max(0, *lags), max(0, *[-lag for lag in lags]))
    sizes = [c if rule == "fill" else 0 for c, rule in zip(count, (before, after), strict=True)]
    total = np.zeros((sizes[0] + steps + sizes[1], *xs[0].shape[1:]))
    for lag, x in zip(lags, xs, strict=True):
        for t in range(steps):
            s = t - lag
            rule = before if s < 0 else after if s >= steps else "fill"
            if rule == "edge":
                s = min(max(s, 0), steps - 1)
            elif rule == "wrap":
                s %= steps
            total[s + sizes[0]] += x[t]
    return total[sizes[0] : sizes[0] + steps], total[: sizes[0]], total[sizes[0] + steps :]


CASES: list[Case] = []


def row(fn: Any, wanted: Any, *samples: Sample, label: str, op: str = "delays") -> None:
    CASES.append(Case(op, fn, wanted, samples, label=label))


row(
    lambda xs, b, a: delays(xs, b, a, lags=LAGS, before="fill", after="fill"),
    lambda xs, b, a: like(xs, LAGS, b, a),
    floats((5, 2), (), ()),
    floats((2, 2), (3, 2), (2, 1)),
    floats((0, 2), (2,), (1, 2)),
    label="rows",
)
row(
    lambda xs, b: delays(xs, b, lags=(2, 1), before="fill"),
    lambda xs, b: like(xs, (2, 1), b, ""),
    floats((4,), (3,)),
    floats((1,), ()),
    label="more-rows",
)
for rule in ("edge", "wrap"):
    row(
        lambda xs, r=rule: delays(xs, lags=LAGS, before=r, after=r),
        lambda xs, r=rule: like(xs, LAGS, r, r),
        floats((5,)),
        floats((1, 2)),
        floats((2, 3)),
        floats((0, 2)),
        label=rule,
    )
    row(
        lambda xs, b, n, r=rule: _without_padding(
            delays(xs, b, n, lags=LAGS, before="fill", after=r, ragged=True), n, xs
        ),
        lambda xs, b, n, r=rule: like_ragged(xs, n, LAGS, b, r),
        beside(floats((4, 4), ()), exactly(LENGTHS)),
        beside(floats((4, 4, 2), ()), exactly(LENGTHS)),
        label=f"ragged-{rule}",
    )
    row(
        lambda x, y, r=rule: delays_adjoint(
            x, y, lags=(2, -1), before=r, after="fill", counts=(0, 1)
        ),
        lambda x, y, r=rule: _adjoint((x, y), (2, -1), r, "fill"),
        floats((4, 2), (4, 2)),
        floats((1,), (1,)),
        op="delays_adjoint",
        label=rule,
    )
row(
    lambda xs, a, n: _without_padding(
        delays(xs, a, n, lags=LAGS, before="wrap", after="fill", ragged=True), n, xs
    ),
    lambda xs, a, n: like_ragged(xs, n, LAGS, "wrap", a),
    beside(floats((4, 4, 2), (1, 2)), exactly(LENGTHS)),
    beside(floats((4, 4), (4,)), exactly(LENGTHS)),
    label="ragged-wrap-fill",
)

_fill = {"lags": (3,), "before": "fill"}
WRONG = [
    Wrong("delays", lambda x, b: delays(x, b, **_fill), floats(*shapes), ShapeError, match)
    for shapes, match in (
        (((4, 2), (2, 2)), "`before` must be .* is float64\\[2, 2\\]; give 3 rows"),
        (((4, 2), (3,)), "one row or number for all"),
        (((), ()), "its steps on its first axis"),
    )
]
