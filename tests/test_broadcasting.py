"""Broadcasting over generated shapes: values as NumPy's, gradients of each input's own shape.

`BROADCASTING_EXAMPLES=10000 python -m pytest tests/test_broadcasting.py` runs the long form.
"""

from __future__ import annotations

import os
from typing import Any

import hypothesis.extra.numpy as shapes
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag

EXAMPLES = int(os.environ.get("BROADCASTING_EXAMPLES", "150"))

PAIRS = shapes.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4, max_dims=4)
TRIPLES = shapes.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=4, max_dims=4)


def summed_back(g: Any, shape: tuple[int, ...]) -> Any:
    """Return `g` summed over what broadcasting from `shape` repeats, the slow and plain way."""
    total = np.zeros(shape)
    for index in np.ndindex(g.shape):
        own = index[len(index) - len(shape) :]
        total[tuple(i if n > 1 else 0 for i, n in zip(own, shape, strict=True))] += g[index]
    return total


def checked(fn: Any, like: Any, partials: Any, xs: list[Any], drawn: bool) -> None:
    """Compare value and gradients of `fn` with those of NumPy and `partials`."""
    expected = like(*xs)
    u = np.sin(np.arange(expected.size) + 1.0).reshape(expected.shape)
    if drawn:
        inputs = [ag.input(f"x{i}", x.shape) for i, x in enumerate(xs)]
        y = fn(*inputs)
        grads = ag.grad((y * u).sum(), inputs)
        graph = ag.Graph(inputs, {"y": y, **{f"g{i}": g for i, g in enumerate(grads)}})
        value, *found = graph.run(**{f"x{i}": x for i, x in enumerate(xs)}).values()
    else:
        y, pull = ag.vjp(fn, *xs)
        value, found = y.value, [g.value for g in pull(u)]
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert value.shape == expected.shape
    for x, g, partial in zip(xs, found, partials(*xs), strict=True):
        assert g.shape == x.shape
        whole = np.broadcast_to(partial, expected.shape) * u
        np.testing.assert_allclose(g, summed_back(whole, x.shape), rtol=1e-9, atol=1e-12)


def arrays(chosen: Any) -> list[Any]:
    rng = np.random.default_rng(len(chosen.result_shape))
    return [rng.uniform(0.5, 2.0, shape) for shape in chosen.input_shapes]


TWO = [
    (ag.add, np.add, lambda a, b: (1.0, 1.0)),
    (ag.subtract, np.subtract, lambda a, b: (1.0, -1.0)),
    (ag.multiply, np.multiply, lambda a, b: (b, a)),
    (ag.divide, np.divide, lambda a, b: (1 / b, -a / b**2)),
    (ag.power, np.power, lambda a, b: (b * a ** (b - 1), a**b * np.log(a))),
    (ag.arctan2, np.arctan2, lambda a, b: (b / (a * a + b * b), -a / (a * a + b * b))),
]
THREE = [
    (
        lambda a, b, c: ag.where(c > 1, a, b) * c,
        lambda a, b, c: np.where(c > 1, a, b) * c,
        lambda a, b, c: ((c > 1) * c, (c <= 1) * c, np.where(c > 1, a, b)),
    ),
    (lambda a, b, c: a * b - c, lambda a, b, c: a * b - c, lambda a, b, c: (b, a, -1.0)),
]


@settings(max_examples=EXAMPLES)
@given(PAIRS, st.sampled_from(TWO), st.booleans())
def test_two_inputs_of_any_shapes(chosen: Any, row: Any, drawn: bool):
    checked(*row, arrays(chosen), drawn)


@settings(max_examples=EXAMPLES)
@given(TRIPLES, st.sampled_from(THREE), st.booleans())
def test_three_inputs_of_any_shapes(chosen: Any, row: Any, drawn: bool):
    checked(*row, arrays(chosen), drawn)


@settings(max_examples=EXAMPLES // 2)
@given(PAIRS, st.sampled_from([2, 2.5, np.float64(2), np.float32(2), True]))
def test_numbers_beside_float32_keep_it(chosen: Any, number: Any):
    a, b = (x.astype(np.float32) for x in arrays(chosen))
    g = ag.grad(lambda a, b: ((number * a + number) / (b * number)).sum(), (0, 1))(a, b)
    assert [x.dtype for x in g] == [np.float32, np.float32]
    assert [x.shape for x in g] == [a.shape, b.shape]
