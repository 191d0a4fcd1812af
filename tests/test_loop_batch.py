"""vmap of loops and branches: equal to a Python loop over the examples."""

import numpy as np
import pytest

import autograd as ag
from autograd import GraphError
from loops import LoopNode, batch, cond, scan, switch


def _rows(fn, args, in_axes):
    """Call `fn` once an example and stack the results."""
    size = next(a.shape[0] for a, axis in zip(args, in_axes, strict=True) if axis is not None)
    results = []
    for i in range(size):
        row = [a if axis is None else a[i] for a, axis in zip(args, in_axes, strict=True)]
        results.append(fn(*map(ag.tensor, row)))
    return [np.stack([r[k].value for r in results]) for k in range(len(results[0]))]


def _run(xs, w, h0):
    def step(carry, x):
        h, count = carry
        h = ag.tanh(x + h @ w)
        return (h, count + 1), (h * 2, count)

    (h, count), (doubled, counts) = scan(step, (h0, np.zeros((), np.int64)), xs)
    return h, count, doubled, counts


@pytest.mark.parametrize(
    "in_axes", [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0), (0, None, 0)]
)
def test_vmap_of_a_loop_equals_a_loop_over_examples(in_axes):
    rng = np.random.default_rng(1)
    shapes = ((5, 3), (3, 3), (3,))
    args = [
        rng.normal(size=s if axis is None else (4, *s))
        for s, axis in zip(shapes, in_axes, strict=True)
    ]
    mapped = ag.vmap(_run, in_axes)(*args)
    for got, want in zip(mapped, _rows(_run, args, in_axes), strict=True):
        np.testing.assert_allclose(got.value, want, rtol=1e-12, atol=0)
        assert got.dtype == want.dtype


def test_vmap_of_the_gradient_of_a_loop():
    rng = np.random.default_rng(2)
    xs, w, h0 = rng.normal(size=(4, 5, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)

    def gradients(xs, w, h0):
        return ag.grad(lambda *args: _run(*args)[2].sum(), (0, 1, 2))(xs, w, h0)

    mapped = ag.vmap(gradients, (0, None, None))(xs, w, h0)
    for got, want in zip(mapped, _rows(gradients, (xs, w, h0), (0, None, None)), strict=True):
        np.testing.assert_allclose(got.value, want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shared_index", [True, False])
def test_vmap_of_a_branch(shared_index):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 3))
    index = np.array(2) if shared_index else np.array([0, 1, 2, 1])
    functions = [lambda v: (ag.tanh(v), v.sum()), lambda v: (v * v, v[0]), lambda v: (-v, v[1])]

    def choose(i, v):
        return switch(i, functions, v)

    in_axes = (None if shared_index else 0, 0)
    mapped = ag.vmap(choose, in_axes)(index, x)
    for got, want in zip(mapped, _rows(choose, (index, x), in_axes), strict=True):
        np.testing.assert_array_equal(got.value, want)


def test_vmap_of_a_branch_inside_a_loop():
    xs = np.random.default_rng(4).normal(size=(4, 6, 2))

    def run(xs):
        def step(h, x):
            h = cond(x.sum() > 0, lambda h, x: h + x, lambda h, x: h * x, h, x)
            return h, h

        return scan(step, np.ones(2), xs)

    for got, want in zip(ag.vmap(run)(xs), _rows(run, (xs,), (0,)), strict=True):
        np.testing.assert_allclose(got.value, want, rtol=1e-14)


def test_vmap_of_a_switch_refuses_indices_that_name_no_function():
    def choose(i, v):
        return switch(i, [lambda v: v, lambda v: -v], v)

    with pytest.raises(GraphError, match=r"with 2 bodies.* indices of the batch are \[0, 5\]"):
        ag.vmap(choose)(np.array([0, 5]), np.ones(2))


def test_vmap_of_a_chain_of_states_draws_the_body_once(monkeypatch):
    """State k is batched after k steps; each round of drawing would make it quadratic."""
    drawn = []
    once = batch.batched_body
    monkeypatch.setattr(batch, "batched_body", lambda *args: drawn.append(1) or once(*args))

    def run(x):
        with LoopNode("chain", length=3) as chain:
            states = [chain.branch(f"s{i}", x if i == 0 else np.ones(())) for i in range(6)]
            for state, before in zip(states, [states[0], *states], strict=False):
                chain.feed(state, ag.sin(before))
        return [chain.final(state) for state in states]

    xs = np.array([0.1, 0.2, 0.3])
    for got, want in zip(ag.vmap(run)(xs), _rows(run, (xs,), (0,)), strict=True):
        np.testing.assert_allclose(got.value, want, rtol=1e-14)
    assert len(drawn) == 1
