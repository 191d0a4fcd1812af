"""Random graphs in which passes find something to do: chains of calls, most of them reducible.

Every call takes values of shape (3, 3) and gives one, so any sequence of calls is a graph. They are
drawn in a scope, as bodies are: there an op on constants stays an op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import autograd as ag
from autograd.node import draw_input
from autograd.ops.reduce import _count
from autograd.ops.shape import sum_to
from autograd.scope import Scope, drawing

SIDE = 3
SQUARE = (SIDE, SIDE)

ONES, ZEROS, MINUS_ZEROS = np.ones(SQUARE), np.zeros(SQUARE), -np.zeros(SQUARE)
ROW = np.array([1.0, -2.0, 0.5])
KEY = ag.random.key(3)


def const(value: Any) -> Any:
    return ag.constant(value)


def _there_and_back(x: Any) -> Any:
    wide = ag.astype(x, "float64")
    return ag.astype(wide, "float32") + ag.astype(ag.astype(wide, "float64"), "float16")


Call = Callable[[Any, Any], Any]

EXACT: dict[str, Call] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "tanh": lambda a, b: ag.tanh(a),
    "maximum": lambda a, b: ag.maximum(a, b * 0.5),
    "x * 1": lambda a, b: 1.0 * (a * 1.0) * const(ONES),
    "x * 2": lambda a, b: a * 2.0,
    "x + 0": lambda a, b: a + 0.0,
    "x + -0": lambda a, b: a + const(MINUS_ZEROS),
    "square + 0": lambda a, b: ag.square(a) + const(ZEROS) + 0.0,
    "x - 0": lambda a, b: (a - 0.0) - const(-0.0),
    "0 - x": lambda a, b: 0.0 - a,
    "x - x": lambda a, b: (a - a) + b,
    "negatives": lambda a, b: ag.negative(-a) + (-b) - (-a),
    "negative products": lambda a, b: (-a) * (-b) + (-a) * b,
    "negative quotient": lambda a, b: (-a) / (-(ag.square(b) + 1.0)),
    "division": lambda a, b: a / 4.0 + b / 3.0 + a / const([0.5, -2.0, 8.0]),
    "even": lambda a, b: ag.abs(-a) + ag.square(-b) + ag.square(ag.abs(a)),
    "where": lambda a, b: ag.where(a > b, a, a) + ag.where(a > 0.0, a, b),
    "where known": lambda a, b: ag.where(const(ONES > 0), a, b) + ag.where(const(False), a, b),
    "itself": lambda a, b: ag.maximum(a, a) + ag.minimum(b, b),
    "not not": lambda a, b: ag.where(ag.logical_not(ag.logical_not(a > b)), a, b * 2.0),
    "identity": lambda a, b: ag.node.OPS["identity"](a) * b,
    "constants": lambda a, b: a * (const(ROW) * 0.5 + const(2.0)) + ag.exp(const(-1.0)),
    "large from small": lambda a, b: a + ag.broadcast_to(const(1.5), (400, 9)).sum() * 1e-4,
    "count": lambda a, b: a / (_count(a, axis=(0,)) + 1.0),
    "again": lambda a, b: ag.sigmoid(a + b) * ag.sigmoid(b + a) + ag.sigmoid(a + b),
    "differences": lambda a, b: (a - b) * (b - a),
    "not again": lambda a, b: ag.roll(a, 1, 0) - ag.roll(a, 1, 1) + ag.roll(a, 2, 0),
    "random": lambda a, b: (
        a + ag.random.normal(const(KEY.value), SQUARE) - ag.random.normal(const(KEY.value), SQUARE)
    ),
    "stopped": lambda a, b: a * ag.stop_gradient(a) + b,
}
"""Calls whose passes keep every bit."""

ROUNDED: dict[str, Call] = {
    "powers": lambda a, b: a**2 + b**1 - 0.1 * a**3 + (ag.square(b) + 1.0) ** -1,
    "root": lambda a, b: (ag.square(a) + 0.5) ** 0.5,
    "transposes": lambda a, b: a.T.T + ag.permute_dims(b.T, (1, 0)) - ag.swapaxes(a, 0, 1),
    "three axes": lambda a, b: (
        ag.permute_dims(ag.permute_dims(ag.reshape(a, (3, 1, 3)), (1, 2, 0)), (1, 2, 0))[:, :, 0]
        + b
    ),
    "reshapes": lambda a, b: ag.reshape(ag.reshape(a.T, (9,)), SQUARE) + ag.reshape(b, SQUARE),
    "squeezes": lambda a, b: ag.squeeze(ag.expand_dims(a, 1), 1) + ag.reshape(b, (1, 9)).sum(0)[:3],
    "broadcasts": lambda a, b: a * ag.broadcast_to(b[0], SQUARE) + ag.broadcast_to(b, (2, 3, 3))[1],
    "broadcast twice": lambda a, b: (
        ag.broadcast_to(ag.broadcast_to(a.sum(0), SQUARE), (1, 3, 3))[0] * 0.1 + b
    ),
    "sums of one": lambda a, b: ag.reshape(a, (3, 1, 3)).sum(1) + ag.max(b[:, None], 1) + a.sum(()),
    "sum_to": lambda a, b: sum_to(a, shape=SQUARE) + sum_to(b, shape=(1, 3)) * 0.1,
    "slices": lambda a, b: a[:, :] + b[::-1] + a[0:3, None][:, 0] - b[:, ::-1],
    "flips": lambda a, b: ag.flip(ag.flip(a, 0), 0) + ag.flip(ag.flip(b, 0), 1),
    "casts": lambda a, b: (
        ag.astype(a, a.dtype) + ag.astype(ag.astype(b, "float32"), "float64") * 0.5
    ),
    "wide casts": lambda a, b: ag.astype(_there_and_back(ag.astype(a, "float32")) + b, a.dtype),
    "split and join": lambda a, b: (
        ag.concat(ag.split(a, 3)) + ag.concat(ag.split(b, 3)[::-1]) + ag.stack(ag.unstack(a, 1), 1)
    ),
    "join and split": lambda a, b: (
        ag.split(ag.concat([a, b], 1), 2, 1)[1] + ag.unstack(ag.stack([b, a]))[1]
    ),
    "join and split otherwise": lambda a, b: ag.split(ag.concat([a, b]), [2, 5])[1] * 0.5,
    "product": lambda a, b: (a @ b) * 0.3,
    "chain": lambda a, b: a + 0.1 * (a @ b @ a.T @ b[:, :1]) @ b[:1],
    "vector chain": lambda a, b: a + 0.1 * (a @ b @ a @ b[0]),
    "stacked chain": lambda a, b: (
        (ag.stack([a, b]) @ a @ b[:, :1] @ ag.stack([b, a])[:, :1]).sum(0) * 0.1
    ),
    "shared product": lambda a, b: ag.tanh(a @ b) + 0.1 * (a @ b) @ b[:, :1],
    "softmax": lambda a, b: ag.softmax(a, -1) + ag.mean(b, 0),
}
"""Calls whose passes may change rounding."""

CALLS = EXACT | ROUNDED


def random_graph(
    seed: int,
    calls: dict[str, Call] = CALLS,
    length: int = 8,
    dtype: str = "float64",
    every: bool = False,
) -> ag.Graph:
    """Return a graph of `length` random calls on two inputs and a parameter.

    Its outputs are the last value and the sum of all; or `every` value.
    """
    random = np.random.default_rng(seed)
    scope = Scope("body", None)
    inputs = {name: draw_input(name, ag.Spec(SQUARE, np.dtype(dtype)), scope) for name in "xy"}
    w = ag.parameter("w", random.uniform(-1, 1, SQUARE).astype(dtype))
    names = list(calls)
    with drawing(scope):
        pool = [*inputs.values(), ag.node.seen_from(scope, ag.constant(ROW[::-1])) * inputs["x"]]
        w.scope = scope
        pool.append(w)
        for _ in range(length):
            a, b = (pool[-1 - min(int(k), len(pool) - 1)] for k in random.integers(0, 4, 2))
            y = calls[names[random.integers(len(names))]](a, b)
            pool.append(ag.astype(y, dtype) if y.dtype != dtype else y)
        outputs = {"last": pool[-1], "total": sum(pool[4:], start=pool[0])}
        if every:
            outputs = {f"y{i}": y for i, y in enumerate(pool[4:])}
    graph = ag.Graph.of(inputs, outputs, f"random {seed}")
    for node in [*inputs.values(), *graph.nodes, w]:
        node.scope = None
    return graph
