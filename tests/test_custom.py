"""custom_vjp: one node with a rule of its own, everywhere an op may stand."""

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError, GraphError
from autograd.node import OPS

X = np.array([0.5, -0.05, 2.0, 0.02])


def slope(x):
    """A rule in ops: tanh is smooth, so that its derivatives can be checked to any order."""
    y = ag.tanh(x)
    return 1.0 - y * y


@ag.custom_vjp
def smooth(x, k):
    return np.tanh(x) * k


@smooth.defvjp
def _(g, y, x, k):
    return g * k * slope(x), ag.sum(g * ag.tanh(x))


@ag.custom_vjp
def dead_zone(error, *, width=0.1):
    """The absolute error, whose gradient is zero near its minimum."""
    return np.abs(error)


@dead_zone.defvjp
def _(g, y, error, *, width=0.1):
    return g * np.sign(error) * (y > width)


class TestOneNode:
    def test_named_and_documented_after_the_function(self):
        assert dead_zone.__name__ == dead_zone.name == "dead_zone"
        assert dead_zone.__doc__ == "The absolute error, whose gradient is zero near its minimum."
        assert dead_zone.__wrapped__(-2.0) == 2.0

    def test_graph_has_one_node_for_it(self):
        x = ag.input("x", (4,))
        graph = ag.Graph([x], {"y": dead_zone(x)})
        assert [node.op.name for node in graph.nodes] == ["input", "dead_zone"]

    def test_on_plain_arrays_it_just_computes(self):
        y = dead_zone(X)
        assert type(y) is np.ndarray
        assert np.array_equal(y, np.abs(X))

    def test_rule_of_its_own(self):
        g = ag.grad(lambda x: ag.sum(dead_zone(x)))(X)
        assert np.array_equal(g.value, [1.0, 0.0, 1.0, 0.0])

    def test_keyword_arguments_reach_function_and_rule(self):
        g = ag.grad(lambda x: ag.sum(dead_zone(x, width=1.0)))(X)
        assert np.array_equal(g.value, [0.0, 0.0, 1.0, 0.0])

    def test_is_not_in_the_table_of_ops(self):
        assert dead_zone.portable is False
        assert "dead_zone" not in OPS
        assert all(op.portable for op in OPS.values())

    def test_defvjp_returns_the_rule(self):
        f = ag.custom_vjp(lambda x: x * 2.0)
        assert f.name == "lambda"
        assert f.defvjp(slope) is slope


class TestEverywhere:
    def test_derivatives_to_order_three(self):
        assert ag.check_grad(smooth, (X, 3.0), order=3).error < 1e-10

    def test_drawn_derivatives_to_order_three(self):
        graph = ag.trace(smooth, (4,), ())
        assert ag.check_grad(graph, (X, 3.0), order=3).error < 1e-10

    def test_float32_is_kept(self):
        x = X.astype("float32")
        assert smooth(ag.tensor(x), np.float32(2)).dtype == np.float32
        assert ag.grad(lambda x: ag.sum(smooth(x, 2.0)))(x).dtype == np.float32
        assert (
            ag.input("x", (4,), "float32").dtype == smooth(ag.input("x", (4,), "float32"), 2).dtype
        )

    def test_shape_and_dtype_are_known_when_drawn(self):
        @ag.custom_vjp
        def count(x, n):
            return np.bincount(n, minlength=7) if x.sum() > 0 else np.zeros(7, int)

        y = count(ag.input("x", (4,)), ag.input("n", (3,), "int64"))
        assert str(y.spec) == "int64[7]"
        assert not y.tracked

    def test_drawing_makes_no_noise(self):
        @ag.custom_vjp
        def pole(x):
            return 1 / (x - 1) + np.log(x - 2)

        assert pole(ag.input("x", (2,))).shape == (2,)

    def test_vmap(self):
        rows = np.stack([X, 2 * X, -X])
        y = ag.vmap(smooth, (0, None))(rows, 2.0)
        assert np.array_equal(y.value, np.tanh(rows) * 2)
        g = ag.vmap(ag.grad(lambda x, k: ag.sum(smooth(x, k)), 1), (0, 0))(rows, np.arange(3.0))
        assert np.allclose(g.value, np.tanh(rows).sum(1))

    def test_vmap_on_virtual_nodes_and_through_the_gradient(self):
        rows = np.stack([X, 2 * X, -X])
        graph = ag.trace(ag.vmap(smooth, (0, None)), (3, 4), ())
        assert ag.check_grad(graph, (rows, 2.0)).error < 1e-10

    def test_vmap_over_an_empty_batch(self):
        assert ag.vmap(smooth, (0, None))(np.zeros((0, 4)), 2.0).shape == (0, 4)

    def test_rolled_loop_equals_the_unrolled_one(self):
        from loops import LoopNode

        h0 = ag.input("h0", (4,))
        w = ag.parameter("w", 0.7)
        with LoopNode("loop", length=5) as loop:
            h = loop.branch("h", h0)
            loop.feed(h, smooth(h + 1.0, w))
        graph = ag.Graph([h0], {"h": loop.final(h)})
        expected = X
        for _ in range(5):
            expected = np.tanh(expected + 1.0) * 0.7
        assert np.allclose(graph.run(h0=X)["h"], expected, rtol=1e-15)
        assert ag.check_grad(graph, (X,), order=2).error < 1e-9


class TestReadOnly:
    """The function and its rule cannot change what the engine still needs."""

    def test_function_that_writes_into_its_input(self):
        @ag.custom_vjp
        def careless(x):
            x *= 2
            return x

        x = ag.tensor(X, requires_grad=True)
        with pytest.raises(ValueError, match="read-only"):
            careless(x)
        with pytest.raises(ValueError, match="read-only"):
            careless(X.copy())
        with pytest.raises(ValueError, match="read-only"):
            careless(ag.input("x", (4,)))
        assert np.array_equal(x.value, X)

    def test_callers_array_stays_writable(self):
        x = X.copy()
        dead_zone(x)
        ag.trace(dead_zone, (4,))(x)
        x[0] = 1.0

    def test_function_that_makes_its_input_writable(self):
        @ag.custom_vjp
        def stubborn(x):
            x.setflags(write=True)
            return x

        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            stubborn(ag.tensor(X))

    def test_rule_that_writes_into_the_gradient(self):
        f = ag.custom_vjp(np.copy)

        @f.defvjp
        def _(g, y, x):
            g *= 2
            return g

        x = ag.tensor(X, requires_grad=True)
        with pytest.raises(ValueError, match="read-only"):
            (f(x) + x).backward(np.ones(4))

    def test_function_that_reuses_its_buffer(self):
        buffer = np.empty(4)

        @ag.custom_vjp
        def reusing(x):
            return np.tanh(x, out=buffer)

        @reusing.defvjp
        def _(g, y, x):
            return g * (1 - y * y)

        x = ag.tensor(X, requires_grad=True)
        y = reusing(x)
        reusing(x * 5.0)
        y.backward(np.ones(4))
        assert np.allclose(x.grad.value, 1 - np.tanh(X) ** 2)

    def test_rule_that_reuses_its_buffer(self):
        buffer = np.empty(4)
        f = ag.custom_vjp(np.copy)

        @f.defvjp
        def _(g, y, x):
            return np.multiply(g, 1.0, out=buffer)

        x, z = ag.tensor(X, requires_grad=True), ag.tensor(X, requires_grad=True)
        (f(x) * 2.0 + f(z) * 3.0).backward(np.ones(4))
        assert np.array_equal(x.grad.value, np.full(4, 2.0))
        assert np.array_equal(z.grad.value, np.full(4, 3.0))


def with_rule(rule):
    f = ag.custom_vjp(lambda x, k: x * k)
    f.name = "scaled"
    f.defvjp(rule)
    return f


class TestErrors:
    def test_second_rule(self):
        f = with_rule(lambda g, y, x, k: (g * k, None))
        match = "'scaled' already has a gradient rule; to change it, define the function anew"
        with pytest.raises(GraphError, match=match):
            f.defvjp(lambda g, y, x, k: (g * k * 2.0, None))

    def test_no_rule_yet(self):
        @ag.custom_vjp
        def lonely(x):
            return x * 2

        match = (
            "custom_vjp function 'lonely' has no gradient rule yet; define one with @lonely.defvjp"
        )
        with pytest.raises(GradientError, match=match):
            ag.grad(lonely)(2.0)

    def test_number_of_gradients(self):
        match = "rule of custom_vjp function 'scaled' returned 1 gradients for 2 arguments"
        with pytest.raises(GradientError, match=match):
            ag.grad(with_rule(lambda g, y, x, k: g * k))(2.0, 3.0)

    def test_shape_of_a_gradient(self):
        rule = with_rule(lambda g, y, x, k: (g * k, g * x))
        match = r"'scaled' returned for argument 1 a float64\[4\], but the argument is float64\[\]"
        with pytest.raises(GradientError, match=match):
            ag.grad(lambda x, k: ag.sum(rule(x, k)), (0, 1))(X, 3.0)

    def test_dtype_of_a_gradient(self):
        rule = with_rule(lambda g, y, x, k: (np.sign(x).astype(int), None))
        with pytest.raises(GradientError, match=r"'scaled' returned for argument 0 a int64\[4\]"):
            ag.grad(lambda x: ag.sum(rule(x, 3.0)))(X)

    def test_array_where_nodes_were_given(self):
        rule = with_rule(lambda g, y, x, k: (np.ones(()), None))
        assert ag.grad(rule)(2.0, 3.0).item() == 1.0
        match = "for argument 0 a ndarray where its inputs were nodes.*silently zero"
        with pytest.raises(GradientError, match=match):
            ag.grad(ag.grad(rule))(2.0, 3.0)

    def test_none_is_no_gradient(self):
        rule = with_rule(lambda g, y, x, k: (g * k, None))
        gx, gk = ag.grad(rule, (0, 1))(2.0, 3.0)
        assert (gx.item(), gk.item()) == (3.0, 0.0)
        assert ag.grad(lambda x: rule(x, ag.tensor(3)))(2.0).item() == 3.0

    @pytest.mark.parametrize("result", [(1.0, 2.0), [1.0], {"a": 1.0}, "text", None])
    def test_result_that_is_no_array(self, result):
        f = ag.custom_vjp(lambda x: result)
        with pytest.raises(GraphError, match=r"'lambda' must return one array, but returned \w+"):
            f(ag.tensor(1.0))

    def test_the_functions_own_exception_comes_through_and_it_is_not_run_again(self):
        calls = []

        @ag.custom_vjp
        def broken(x):
            calls.append(x)
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            broken(ag.tensor(1.0))
        assert len(calls) == 1

    def test_cannot_be_saved(self, tmp_path):
        for f in (dead_zone, ag.custom_vjp(np.tanh)):  # the second has the name of a real op
            graph = ag.trace(f, (4,))
            with pytest.raises(ag.LoopGradError, match=f"'{f.name}'"):
                graph.save(tmp_path / "graph.json")
            assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_a_function_named_like_an_op_of_the_library_is_the_users(backend):
    @ag.custom_vjp
    def identity(x):
        return 3.0 * x

    @identity.defvjp
    def _(g, y, x):
        return g * 3.0

    graph = ag.trace(lambda x: identity(x) + 1.0, ()).grad(wrt=["x"])
    assert "identity_(" in str(graph)
    found = graph.compile(backend=backend).run(x=2.0)
    assert (float(found["output"]), float(found["grad_x"])) == (7.0, 3.0)
