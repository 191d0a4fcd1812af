"""A fault planted in any gradient rule of any op in the table is caught by check_grad."""

import copy
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError, Node
from autograd.node import OPS
from tests.test_ops import DIFFERENTIABLE, draws

Placed = sys.modules["autograd.grad"].Placed
INPUTS = 4
"""Faults are planted in the rules of the first few inputs."""

each_case = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)


@contextmanager
def planted(op, fault):
    """Let `fault(pull, needs, g, y, xs, attrs)` stand for the op's rules; `pull` is the right."""
    right = copy.copy(op)
    before = op.__dict__.copy()
    op.vjps = ()
    op.pull = lambda needs, g, y, xs, attrs: fault(right.pull, needs, g, y, xs, attrs)
    try:
        yield
    finally:
        op.__dict__.clear()
        op.__dict__.update(before)


def scaled(g, factor):
    if type(g) is not Placed:
        return g * factor
    g.parts = [part * factor for part in g.parts]
    return g


def arguments(case):
    """The first sample without empty arrays."""
    return next((xs for xs in draws(case) if all(x.size for x in xs)), None)


@each_case
@pytest.mark.parametrize("factor", [1.001, 1.0001])
def test_scaled_gradient_of_one_input(case, factor):
    xs = arguments(case)
    if xs is None:
        return
    right = ag.check_grad(case.fn, xs, order=1, modes=["vjp"]).derivatives
    for k in range(INPUTS):
        effects = []

        def fault(pull, needs, g, y, inputs, attrs, k=k, effects=effects):
            grads = list(pull(needs, g, y, inputs, attrs))
            if k < len(grads) and grads[k] is not None:
                grads[k] = scaled(grads[k], factor)
                effects.append(k)
            return grads

        with planted(OPS[case.op], fault):
            found = computed(case, xs)
        if not effects:
            continue
        off = [d for d, value in zip(right, found, strict=True) if abs(value - d.computed) > 0]
        if not off:  # the gradient is zero here: a factor changes nothing
            assert any(d.computed == 0 for d in right)
            continue
        names = r".*".join(d.argument.replace("[", r"\[").replace("]", r"\]") for d in off)
        with (
            planted(OPS[case.op], fault),
            pytest.raises(GradientError, match=f"order 1 by .*{names}"),
        ):
            ag.check_grad(case.fn, xs, order=1, modes=["vjp"])


def computed(case, xs):
    """The directional derivatives, right or wrong, that check_grad would compute."""
    module = sys.modules["autograd.check"]
    subject = module._eager_subject(case.fn, xs)
    random = np.random.default_rng(0)
    cotangents = [module._normal(random, y) for y in subject.call(subject.xs)]
    directions = [module._normal(random, x) * module._rms(x) for x in subject.xs]
    grads = subject.pulled(cotangents, range(len(subject.xs)))
    return [float(np.sum(g * v)) for g, v in zip(grads, directions, strict=True)]


@each_case
def test_first_order_right_and_second_order_lost(case):
    """Rules that take their inputs as constants: the wrong second derivative is seen at order 2."""
    xs = arguments(case)
    if xs is None or case.order < 2:
        return
    right = ag.check_grad(case.fn, xs, order=2, modes=["vjp"]).derivatives
    curved = any(d.order == 2 and abs(d.computed) > 1e-6 * d.scale for d in right)

    def fault(pull, needs, g, y, inputs, attrs):
        def fixed(x):
            return ag.stop_gradient(x) if isinstance(x, Node) and x.dtype.kind == "f" else x

        return pull(needs, g, tuple(map(fixed, y)) if type(y) is tuple else fixed(y),
                    [fixed(x) for x in inputs], attrs)  # fmt: skip

    with planted(OPS[case.op], fault):
        ag.check_grad(case.fn, xs, order=1, modes=["vjp"])
        alone = {node.op.name for node in ag.trace(case.fn, *xs).nodes} - {"input"} == {case.op}
        if curved and alone:
            with pytest.raises(GradientError, match="order 2 by"):
                ag.check_grad(case.fn, xs, order=2, modes=["vjp"])
