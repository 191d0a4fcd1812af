"""Gradient functions called inside a body: each must see what the body's ports stand for."""

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError
from loops import LoopNode, cond, scan
from tests.loop_reference import assert_same

X = np.random.default_rng(0).standard_normal((4, 3))
W = np.random.default_rng(1).standard_normal((3, 3)) * 0.4
C = np.full(3, 0.7)


def by_grad_of_a_constant(h):
    return ag.grad(lambda c: ag.tanh(c * h).sum())(C)


def by_grad_of_a_captured_tensor(h, outer=ag.tensor(C)):  # noqa: B008 - made outside on purpose
    return ag.grad(lambda c: ag.tanh(c * h).sum())(outer)


def by_grad_of_a_loop(h):
    def inner(c):
        return scan(lambda a, x: (ag.tanh(a * c) + x, None), h, X[:2])[0].sum()

    return ag.grad(inner)(C)


def by_jvp(h):
    return ag.jvp(lambda v: ag.tanh(v @ ag.tensor(W)), (h,), (h * 0.5,))[1]


def by_vjp(h):
    y, pullback = ag.vjp(lambda v, c: ag.tanh(v @ ag.tensor(W) * c), h, C)
    return sum(pullback(y))


def by_hessian(h):
    return ag.hessian(lambda v: ag.tanh(v @ ag.tensor(W)).sum())(h) @ h


def by_hvp(h):
    return ag.hvp(lambda v: ag.tanh(v @ ag.tensor(W)).sum(), (h,), (C,))[0]


def by_vmap_of_grad(h):
    return ag.vmap(lambda row: ag.grad(lambda r: (r * r * h).sum())(row).sum())(ag.tensor(W))


CALCULUS = [
    by_grad_of_a_constant,
    by_grad_of_a_captured_tensor,
    by_grad_of_a_loop,
    by_jvp,
    by_vjp,
    by_hessian,
    by_hvp,
    by_vmap_of_grad,
]


@pytest.mark.parametrize("change", CALCULUS)
def test_in_a_loop_as_in_python(change):
    def rolled(h):
        return scan(lambda h, x: (change(h) * 0.3 + x, None), h, X)[0].sum()

    def by_hand(h):
        for x in X:
            h = change(h) * 0.3 + x
        return h.sum()

    assert_same(rolled(ag.tensor(C)), by_hand(ag.tensor(C)), 1e-13)
    assert_same(ag.grad(rolled)(C), ag.grad(by_hand)(C), 1e-13)


@pytest.mark.parametrize("change", CALCULUS)
def test_in_a_branch_as_outside(change):
    x = ag.input("x", (3,))
    y = cond(x.sum() > 0, change, lambda v: v, x)
    assert_same(ag.Graph(x, {"y": y}).run(x=C)["y"], change(ag.tensor(C)), 1e-13)


def test_by_an_integer_state_as_float():
    with LoopNode("loop", length=3) as loop:
        n = loop.branch("n", np.int64(0))
        loop.feed(n, n + 1)
        slopes = loop.collect(ag.grad(lambda v: v * v)(n.astype("float64")))
    assert_same(slopes, np.array([0.0, 2.0, 4.0]))


def test_nodes_of_different_bodies():
    w = ag.parameter("w", W)
    match = "'w' .* do not belong to the same body.*write the loss as a function and use grad"
    with LoopNode("loop") as loop:
        loss = ag.tanh(loop.each(X) @ w).sum()
        with pytest.raises(GradientError, match=match):
            ag.grad(loss, w)


def test_nodes_of_one_body():
    with LoopNode("loop") as loop:
        x = loop.each(ag.tensor(X, requires_grad=True))
        slopes = loop.collect(ag.grad((x * x).sum(), x))
    assert_same(slopes, 2 * X)
