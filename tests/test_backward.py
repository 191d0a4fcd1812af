"""backward() and its .grad, no_grad, and parameters that get a new value."""

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError

X = np.random.default_rng(0).standard_normal((3, 4))
W = np.random.default_rng(1).standard_normal((4, 2))
V = np.random.default_rng(2).standard_normal(4)


def quartic(x):
    return x * x * x * x


def leaf(value, dtype=None):
    return ag.tensor(value, dtype, requires_grad=True)


class TestBackward:
    def test_accumulates_until_cleared(self):
        x = leaf(2.0)
        quartic(x).backward()
        quartic(x).backward()
        assert x.grad.item() == 64.0
        x.grad = None
        quartic(x).backward()
        assert x.grad.item() == 32.0

    def test_accumulation_leaves_an_earlier_gradient_alone(self):
        x = leaf(V)
        (x * 2.0).sum().backward()
        first = x.grad
        (x * 3.0).sum().backward()
        assert np.array_equal(first.value, np.full(4, 2.0))
        assert np.array_equal(x.grad.value, np.full(4, 5.0))

    def test_seed(self):
        x = leaf(V)
        (x * x).backward(seed=np.arange(4.0))
        assert np.allclose(x.grad.value, 2 * V * np.arange(4.0))

    def test_seed_may_be_a_tensor(self):
        x = leaf(V)
        (x * x).backward(ag.tensor(np.ones(4)))
        assert np.allclose(x.grad.value, 2 * V)

    def test_keep_graph(self):
        x = leaf(2.0)
        y = quartic(x)
        y.backward(keep_graph=True)
        y.backward()
        assert x.grad.item() == 64.0

    def test_uses_up_the_graph(self):
        x = leaf(2.0)
        y = quartic(x)
        y.backward()
        assert y.item() == 16.0
        assert len(y.inputs) == 0

    def test_of_a_leaf_itself(self):
        x = leaf(2.0)
        x.backward()
        assert x.grad.item() == 1.0

    def test_unreached_leaves_keep_none(self):
        x, z = leaf(2.0), leaf(3.0)
        (x * 2.0).backward()
        assert z.grad is None

    def test_interior_nodes_keep_no_gradient(self):
        x = leaf(2.0)
        a = x * x
        (a * 3.0).backward()
        assert a.grad is None

    def test_parameters_and_leaves_alike(self):
        w, x = ag.parameter("w", 3.0), leaf(2.0)
        (w * x).backward()
        assert (w.grad.item(), x.grad.item()) == (2.0, 3.0)

    def test_two_losses_that_share_a_part(self):
        x = leaf(2.0)
        shared = x * x
        (shared * 2.0).backward(keep_graph=True)
        (shared * 3.0).backward()
        assert x.grad.item() == 4 * 2.0 + 4 * 3.0

    def test_equals_grad(self):
        w = ag.parameter("w", W)
        ag.sum(ag.tanh(ag.matmul(X, w))).backward()
        g = ag.grad(lambda w: ag.sum(ag.tanh(ag.matmul(X, w))))(W)
        assert np.array_equal(w.grad.value, g.value)


class TestNoGrad:
    def test_context_and_decorator(self):
        x = leaf(2.0)
        with ag.no_grad():
            y = x * x
        assert not y.tracked

        @ag.no_grad()
        def double(x):
            return x * 2.0

        assert not double(x).tracked
        assert not double(x).tracked  # the decorator works more than once
        assert (x * x).tracked

    def test_restored_after_an_exception(self):
        x = leaf(2.0)
        with pytest.raises(ZeroDivisionError), ag.no_grad():
            raise ZeroDivisionError
        assert (x * x).tracked

    def test_enable_grad_inside(self):
        x = leaf(2.0)
        with ag.no_grad(), ag.enable_grad():
            assert (x * x).tracked

    def test_grad_inside_still_works(self):
        with ag.no_grad():
            assert ag.grad(quartic)(2.0).item() == 32.0
            assert ag.grad(ag.grad(quartic))(2.0).item() == 48.0
            assert ag.jvp(quartic, (2.0,), (1.0,))[1].item() == 32.0
            assert ag.hessian(lambda v: ag.sum(v * v))(V).value[0, 0] == 2.0

    def test_virtual_nodes_are_drawn_all_the_same(self):
        x = ag.input("x")
        with ag.no_grad():
            y = x * x
        assert ag.Graph([x], {"g": ag.grad(y, x)}).run(x=3.0)["g"] == 6.0

    def test_gradient_inside_is_not_recorded_for_the_outside(self):
        w = ag.parameter("w", 3.0)
        with ag.no_grad():
            g = ag.grad(lambda x: w * x * x)(2.0)
        assert g.item() == 12.0
        assert not g.tracked


class TestReassignedParameters:
    def test_between_forward_and_backward(self):
        w = ag.parameter("w", 3.0)
        loss = w * w
        w.value = 4.0
        with pytest.raises(GradientError, match="'w' was given a new value after multiply"):
            loss.backward()
        assert w.grad is None

    def test_between_forward_and_grad(self):
        w = ag.parameter("w", 3.0)
        loss = w * w
        w.value = 4.0
        with pytest.raises(GradientError, match="'w' was given a new value"):
            ag.grad(loss, w)

    def test_recomputed_loss_is_fine(self):
        w = ag.parameter("w", 3.0)
        w.value = 4.0
        loss = w * w
        loss.backward()
        assert w.grad.item() == 8.0

    def test_virtual_graphs_use_the_value_at_the_run(self):
        w = ag.parameter("w", 3.0)
        x = ag.input("x")
        graph = ag.Graph([x], {"y": x * w * w}).grad()
        w.value = 4.0
        assert graph.run(x=2.0)["grad_w"] == 16.0

    def test_between_vjp_and_its_pullback(self):
        w = ag.parameter("w", 3.0)
        _, pullback = ag.vjp(lambda x: x * w, 2.0)
        w.value = 4.0
        with pytest.raises(GradientError, match="'w' was given a new value"):
            pullback(1.0)


def test_the_gradient_by_a_parameter_is_itself_a_function_of_the_parameter():
    """Nothing is dropped silently where the functional and the eager habit meet."""
    w = ag.parameter("w", 2.0)
    g = ag.grad(lambda w: w**3)(w)  # 3 w^2
    (w * 2 + g * g).backward()  # 2 + 2 g 6 w
    assert w.grad is not None
    assert w.grad.item() == 290.0


@pytest.mark.parametrize("leaf", [ag.parameter("w", 2.0), ag.tensor(2.0, requires_grad=True)])
def test_under_no_grad_the_gradient_by_a_leaf_is_right_and_a_constant(leaf):
    with ag.no_grad():
        g = ag.grad(lambda w: w**3)(leaf)
    assert g.item() == 12.0
    assert not g.tracked
