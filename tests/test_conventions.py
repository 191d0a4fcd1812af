"""The table of `docs/conventions.md`: gradients at kinks, ties, edges and singular points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag

INF, NAN = np.inf, np.nan

# function, arguments, gradients: each argument's at the point, of the sum of the result
POINTS: list[tuple[str, Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = [
    ("relu at 0", ag.relu, (0.0,), (0.0,)),
    ("leaky_relu at 0", lambda x: ag.leaky_relu(x, 0.1), (0.0,), (0.1,)),
    ("elu at 0", lambda x: ag.elu(x, 2.0), (0.0,), (2.0,)),
    ("abs at 0", ag.abs, (0.0,), (0.0,)),
    ("sign at 0", ag.sign, (0.0,), (0.0,)),
    ("floor, ceil, round at 1", lambda x: ag.floor(x) + ag.ceil(x) + ag.round(x), (1.0,), (0.0,)),
    ("maximum of equal ones", ag.maximum, (2.0, 2.0), (0.5, 0.5)),
    ("minimum of equal ones", ag.minimum, (2.0, 2.0), (0.5, 0.5)),
    ("clip at the edges", lambda x: ag.clip(x, -1, 1), ([-1.0, 1.0, 3.0],), ([1.0, 1.0, 0.0],)),
    ("clip at a tensor's edge", ag.clip, (1.0, 1.0, 2.0), (0.5, 0.5, 0.0)),
    ("max of equal ones", ag.max, ([3.0, 1.0, 3.0, 3.0],), ([1 / 3, 0.0, 1 / 3, 1 / 3],)),
    ("min of equal ones", ag.min, ([1.0, 1.0],), ([0.5, 0.5],)),
    ("sqrt at 0", ag.sqrt, (0.0,), (INF,)),
    ("log at 0", ag.log, (0.0,), (INF,)),
    ("log1p at -1", ag.log1p, (-1.0,), (INF,)),
    ("reciprocal at 0", ag.reciprocal, (0.0,), (-INF,)),
    ("arcsin at 1", ag.arcsin, (1.0,), (INF,)),
    ("arccos at 1", ag.arccos, (1.0,), (-INF,)),
    ("arccosh at 1", ag.arccosh, (1.0,), (INF,)),
    ("arctanh at 1", ag.arctanh, (1.0,), (INF,)),
    ("arctan2 at the origin", ag.arctan2, (0.0, 0.0), (0.0, 0.0)),
    ("hypot at the origin", ag.hypot, (0.0, 0.0), (0.0, 0.0)),
    ("norm at 0", ag.norm, ([0.0, 0.0],), ([0.0, 0.0],)),
    ("norm of order 1 at 0", lambda x: ag.norm(x, ord=1), ([0.0, 2.0],), ([0.0, 1.0],)),
    ("std of equal ones", ag.std, ([2.0, 2.0, 2.0],), ([0.0, 0.0, 0.0],)),
    ("std of one element", ag.std, ([2.0],), ([0.0],)),
    ("x**0 at 0", lambda x: x**0, (0.0,), (0.0,)),
    ("x**1 at 0", lambda x: x**1, (0.0,), (1.0,)),
    ("x**0.5 at 0", lambda x: x**0.5, (0.0,), (INF,)),
    ("x**y at 0**0", ag.power, (0.0, 0.0), (0.0, 0.0)),
    ("x**y at 0**1", ag.power, (0.0, 1.0), (1.0, 0.0)),
    ("x**y at 0**2", ag.power, (0.0, 2.0), (0.0, 0.0)),
    ("x**y at (-2)**2", ag.power, (-2.0, 2.0), (-4.0, NAN)),
    ("prod with a zero", ag.prod, ([6.0, 0.0, 2.0],), ([0.0, 12.0, 0.0],)),
    ("prod with two zeros", ag.prod, ([6.0, 0.0, 0.0],), ([0.0, 0.0, 0.0],)),
    ("logsumexp of -inf", ag.logsumexp, ([-INF, -INF],), ([0.0, 0.0],)),
    ("logsumexp beside -inf", ag.logsumexp, ([-INF, 0.0],), ([0.0, 1.0],)),
    ("logaddexp of -inf", ag.logaddexp, (-INF, -INF), (0.0, 0.0)),
    ("softmax beside -inf", lambda x: ag.softmax(x)[1], ([-INF, 0.0],), ([0.0, 0.0],)),
    ("softmax of -inf", lambda x: ag.softmax(x)[0], ([-INF, -INF],), ([NAN, NAN],)),
    ("log_softmax of -inf", lambda x: ag.log_softmax(x)[0], ([-INF, -INF],), ([NAN, NAN],)),
]


def gradients(fn: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    numbers = tuple(range(len(args)))
    grads = ag.grad(lambda *xs: fn(*xs).sum(), numbers)(*[np.array(x) for x in args])
    return [g.value for g in grads]


@pytest.mark.parametrize("row", POINTS, ids=lambda row: row[0])
def test_gradient_at_the_point(row: Any):
    _, fn, args, expected = row
    singular = not np.isfinite(np.hstack(expected)).all()
    with np.errstate(all="ignore" if singular else "raise"):
        found = gradients(fn, args)
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-15)


@pytest.mark.parametrize("row", POINTS, ids=lambda row: row[0])
def test_every_point_is_in_the_table_of_the_documentation(row: Any, root: Path):
    table = (root / "docs/conventions.md").read_text(encoding="utf-8")
    assert f"| {row[0].replace('|', '')} |" in table


# Second derivatives: function, point, Hessian.
SECOND = [
    ("prod with two zeros", ag.prod, [6.0, 0.0, 0.0], [[0, 0, 0], [0, 0, 6], [0, 6, 0]]),
    ("prod with one zero", ag.prod, [6.0, 0.0, 2.0], [[0, 2, 0], [2, 0, 6], [0, 6, 0]]),
    ("norm at 0", ag.norm, [0.0, 0.0], [[0, 0], [0, 0]]),
    ("relu at 0", lambda x: ag.relu(x).sum(), [0.0], [[0]]),
    ("x**2 at 0", lambda x: (x**2).sum(), [0.0], [[2]]),
    ("x**3 at 0", lambda x: (x**3).sum(), [0.0], [[0]]),
    ("x**1 at 0", lambda x: (x**1).sum(), [0.0], [[0]]),
    ("x**y at (3, 0)", lambda x: x[0] ** x[1], [3.0, 0.0], [[0, 1 / 3], [1 / 3, np.log(3) ** 2]]),
    ("x**y at (0, 2)", lambda x: x[0] ** x[1], [0.0, 2.0], [[2, 0], [0, 0]]),
    ("maximum of equal ones", lambda x: ag.maximum(x[0], x[1]), [1.0, 1.0], [[0, 0], [0, 0]]),
]


@pytest.mark.parametrize("row", SECOND, ids=lambda row: row[0])
def test_second_derivative_at_the_point(row: Any):
    _, fn, point, expected = row
    found = ag.hessian(fn)(np.array(point)).value
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-300)


def test_a_graph_of_powers_follows_an_exponent_that_is_a_parameter():
    p = ag.parameter("p", 2.0)
    x = ag.input("x", ())
    graph = ag.Graph([x], {"g": ag.grad(x**p, x)})
    assert graph.run(x=3.0)["g"] == 6.0
    p.value = 3.0
    assert graph.run(x=3.0)["g"] == 27.0
