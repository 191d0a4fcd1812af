"""Branches: one of several graphs, chosen by a value; the others are not run."""

import numpy as np
import pytest

import autograd as ag
from autograd.node import OPS
from autograd.ops.elementwise import Elementwise
from autograd.trace import trace
from loops import BranchNode, LoopNode, cond, scan, switch
from tests.loop_reference import assert_same, leaf

X = np.array([0.5, -0.25, 0.75])


class Counted(Elementwise):
    """tanh that counts how often it is computed."""

    def __init__(self):
        super().__init__("counted", self.count, (lambda g, y, x: g - g * y * y,))
        self.calls = 0

    def count(self, x):
        self.calls += np.size(x) > 0  # not when its dtype is asked for
        return np.tanh(x)


def drawn_cond(if_true, if_false, shape=(3,)):
    p, x = ag.input("p", (), "bool"), ag.input("x", shape)
    return ag.Graph([p, x], {"y": cond(p, if_true, if_false, x)})


class TestCond:
    @pytest.mark.parametrize("p", [True, False])
    def test_drawn_chooses_at_run_time(self, p):
        graph = drawn_cond(lambda x: x * 2.0, lambda x: ag.tanh(x))
        assert_same(graph.run(p=p, x=X)["y"], X * 2.0 if p else np.tanh(X))
        (node,) = graph.find("cond", op="branch")
        assert isinstance(node, BranchNode)
        assert len(node.bodies) == 2

    @pytest.mark.parametrize("p", [True, np.bool_(True), np.array(True), 1])
    def test_on_values_the_function_is_just_called(self, p):
        x = leaf(X)
        y = cond(p, lambda x: x * 2.0, lambda x: x / 0.0, x)
        y.sum().backward()
        assert_same(y, X * 2.0)
        assert_same(x.grad, np.full(3, 2.0))

    def test_predicate_computed_from_tensors(self):
        x = ag.tensor(X)
        assert_same(cond(x.sum() > 0, lambda: x, lambda: -x), X)
        assert_same(cond(x.sum() > 9, lambda: x, lambda: -x), -X)

    def test_predicate_computed_in_the_graph(self):
        graph = trace(lambda x: cond(x.sum() > 0, lambda v: v * 2.0, lambda v: v * 3.0, x), (3,))
        assert_same(graph(X), X * 2.0)
        assert_same(graph(-X), -X * 3.0)
        ag.check_grad(graph, (X,), order=2)
        ag.check_grad(graph, (-X,), order=2)

    def test_trees_in_and_out(self):
        def swap(pair, scale):
            return {"a": pair["b"] * scale, "b": pair["a"]}

        def keep(pair, scale):
            return {"a": pair["a"], "b": pair["b"] * scale}

        p, a, b = ag.input("p", (), "bool"), ag.input("a", (3,)), ag.input("b", (3,))
        out = cond(p, swap, keep, {"a": a, "b": b}, 2.0)
        graph = ag.Graph([p, a, b], out)
        found = graph.run(p=True, a=X, b=X + 1)
        assert_same(found["a"], (X + 1) * 2.0)
        assert_same(found["b"], X)
        assert_same(graph.run(p=False, a=X, b=X + 1)["b"], (X + 1) * 2.0)

    @pytest.mark.parametrize("p", [True, False])
    def test_captured_values_and_parameters(self, p):
        w, v = ag.parameter("w", X), ag.parameter("v", X[::-1].copy())
        graph = drawn_cond(lambda x: ag.tanh(x * w) * w, lambda x: (x + v) * w)
        graph = ag.Graph(graph.inputs, {"loss": graph.outputs["y"].sum()})
        ag.check_grad(graph, (p, X), order=2)
        found = graph.grad(wrt=["w", "v", "x"]).run(p=p, x=X)
        assert found["grad_v"].any() != p
        assert found["grad_w"].all()

    def test_captured_in_one_branch_only_and_operands_unused(self):
        w = ag.parameter("w", 2.0)
        p, x = ag.input("p", (), "bool"), ag.input("x", ())
        graph = ag.Graph([p, x], {"y": cond(p, lambda v: w * 3.0, lambda v: v, x)})
        assert graph.run(p=True, x=5.0)["y"] == 6.0
        drawn = graph.grad(wrt=["w", "x"])
        for taken, grads in ((True, (3.0, 0.0)), (False, (0.0, 1.0))):
            found = drawn.run(p=taken, x=5.0)
            assert (found["grad_w"], found["grad_x"]) == grads

    def test_branch_that_returns_a_constant(self):
        graph = drawn_cond(lambda x: ag.zeros((3,)), lambda x: x * x)
        loss = ag.Graph(graph.inputs, {"y": graph.outputs["y"].sum()})
        for p in (True, False):
            ag.check_grad(loss, (p, X), order=2)

    def test_integer_results_are_carried_and_not_differentiated(self):
        p, x = ag.input("p", (), "bool"), ag.input("x", (3,))
        y, n = cond(p, lambda v: (v * 2.0, np.int64(1)), lambda v: (v, np.int64(2)), x)
        graph = ag.Graph([p, x], {"y": (y * n).sum(), "n": n})
        assert graph.run(p=True, x=X)["n"].dtype == np.int64
        drawn = graph.grad(of="y", wrt=["x"])
        assert_same(drawn.run(p=True, x=X)["grad_x"], np.full(3, 2.0))
        assert_same(drawn.run(p=False, x=X)["grad_x"], np.full(3, 2.0))


class TestNotTaken:
    def test_the_other_body_is_not_computed_forward_or_backward(self):
        left, right = Counted(), Counted()
        w = ag.parameter("w", X)
        graph = drawn_cond(lambda x: left(x * w), lambda x: right(x * w))
        graph = ag.Graph(graph.inputs, {"loss": graph.outputs["y"].sum()}).grad()
        left.calls = right.calls = 0
        graph.run(p=True, x=X)
        assert left.calls > 0
        assert right.calls == 0
        left.calls = 0
        graph.run(p=False, x=X)
        assert left.calls == 0
        assert right.calls > 0

    def test_watch_sees_one_body(self):
        graph = drawn_cond(lambda x: (x * 2.0).named("on"), lambda x: (x * 3.0).named("off"))
        seen = []
        graph.run(p=True, x=X, watch=lambda path, value: seen.append(path))
        assert "cond.1.on" in seen
        assert not any("off" in path for path in seen)

    @pytest.mark.parametrize("p", [True, False])
    def test_nan_and_inf_of_the_other_body_do_not_leak(self, p):
        # where() would pass 0 * inf = NaN into the gradient.
        graph = drawn_cond(lambda x: ag.sqrt(x) / x, lambda x: x * 2.0)
        x = np.zeros(3)
        loss = ag.Graph(graph.inputs, {"y": graph.outputs["y"].sum()})
        drawn = loss.grad(wrt=["x"])
        twice = ag.grad(drawn.outputs["grad_x"].sum(), [drawn.inputs["x"]])[0]
        second = ag.Graph(drawn.inputs, {"second": twice}, allow_unused=True)
        with np.errstate(all="ignore" if p else "raise"):
            found = drawn.run(p=p, x=x)
            curvature = second.run(p=p, x=x)["second"]
        assert np.isnan(found["y"]) == p
        assert np.isnan(found["grad_x"]).all() == p
        assert np.isnan(curvature).all() == p

    def test_gradient_runs_inside_loops_only_where_taken(self):
        left = Counted()

        def cell(h, n):
            return cond(n < 2, lambda v: left(v), lambda v: v * 0.5, h), n

        xs = np.arange(6)
        h = leaf(X)
        left.calls = 0
        last, _ = scan(cell, h, xs)
        assert left.calls == 2
        last.sum().backward()
        y = np.tanh(np.tanh(X))
        assert_same(last, y * 0.5**4)
        assert_same(h.grad, 0.5**4 * (1 - y * y) * (1 - np.tanh(X) ** 2), 1e-15)


class TestSwitch:
    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_drawn_by_an_integer(self, index):
        w = ag.parameter("w", X)
        k, x = ag.input("k", (), "int64"), ag.input("x", (3,))
        functions = [lambda x: x * w, ag.tanh, lambda x: w * w + x]
        graph = ag.Graph([k, x], {"y": switch(k, functions, x).sum()})
        wanted = [X * X, np.tanh(X), X * X + X][index].sum()
        assert_same(graph.run(k=index, x=X)["y"], wanted)
        ag.check_grad(graph, (np.int64(index), X), order=2)

    @pytest.mark.parametrize("index", [-1, 2])
    def test_index_out_of_range(self, index):
        functions = [lambda x: x, lambda x: -x]
        with pytest.raises(ag.GraphError, match="numbered from 0, but the index is"):
            switch(index, functions, 1.0)
        k, x = ag.input("k", (), "int64"), ag.input("x")
        graph = ag.Graph([k, x], {"y": switch(k, functions, x, name="choice")})
        with pytest.raises(ag.GraphError, match=f"'choice' has 2 bodies.* index is {index}"):
            graph.run(k=index, x=1.0, watch=lambda path, value: None)

    def test_one_function(self):
        k, x = ag.input("k", (), "int64"), ag.input("x")
        graph = ag.Graph([k, x], {"y": switch(k, [lambda x: x * 2.0], x)})
        assert graph.run(k=0, x=1.5)["y"] == 3.0


class TestTogether:
    def nested(self, p, q, x, w):
        return cond(
            p,
            lambda x: cond(q, lambda x: ag.tanh(x * w), lambda x: x + w, x),
            lambda x: cond(q, lambda x: x * x * w, lambda x: w * 2.0, x),
            x,
        )

    @pytest.mark.parametrize("p", [True, False])
    @pytest.mark.parametrize("q", [True, False])
    def test_branch_in_branch(self, p, q):
        w = ag.parameter("w", X[::-1].copy())
        nodes = [ag.input("p", (), "bool"), ag.input("q", (), "bool"), ag.input("x", (3,))]
        graph = ag.Graph(nodes, {"y": self.nested(*nodes, w).sum()})
        plain = self.nested(p, q, ag.tensor(X), w).sum()
        assert_same(graph.run(p=p, q=q, x=X)["y"], plain)
        ag.check_grad(graph, (p, q, X), order=2)

    def test_branch_in_loop_chooses_every_step(self):
        w = ag.parameter("w", 0.7)
        xs, flags = ag.input("xs", (4,)), ag.input("flags", (4,), "bool")
        with LoopNode("loop") as loop:
            x, flag = loop.each(xs), loop.each(flags)
            h = loop.branch("h", 0.5)
            new = cond(flag, lambda h: ag.tanh(h * w + x), lambda h: h * x, h)
            loop.feed(h, new)
            hs = loop.collect(new)
        graph = ag.Graph([xs, flags], {"hs": hs, "y": (hs * hs).sum()})
        values, chosen = np.array([0.3, -0.4, 0.9, 0.2]), np.array([True, False, True, True])
        h, wanted = 0.5, []
        for v, c in zip(values, chosen, strict=True):
            h = np.tanh(h * 0.7 + v) if c else h * v
            wanted.append(h)
        for implementation in (graph, graph.unroll(), graph.copy()):
            assert_same(implementation.run(xs=values, flags=chosen)["hs"], np.array(wanted))
        ag.check_grad(ag.Graph([xs, flags], {"y": graph.outputs["y"]}), (values, chosen), order=2)
        rolled = graph.grad(of="y").run(xs=values, flags=chosen)
        unrolled = graph.unroll().grad(of="y").run(xs=values, flags=chosen)
        assert_same(rolled["grad_w"], unrolled["grad_w"], 1e-14)

    def test_loop_in_branch(self):
        w = ag.parameter("w", 0.7)
        p, xs = ag.input("p", (), "bool"), ag.input("xs", (3,))

        def repeated(xs):
            return scan(lambda h, x: (ag.tanh(h * w + x), None), w, xs)[0]

        graph = ag.Graph([p, xs], {"y": cond(p, repeated, lambda xs: xs.sum() * w, xs)})
        h = 0.7
        for x in X:
            h = np.tanh(h * 0.7 + x)
        assert_same(graph.run(p=True, xs=X)["y"], h)
        assert_same(graph.unroll().run(p=True, xs=X)["y"], h)
        assert_same(graph.run(p=False, xs=X)["y"], X.sum() * 0.7)
        for taken in (True, False):
            ag.check_grad(graph, (taken, X), order=2)

    def test_on_tensors_inside_a_loop_the_branch_is_drawn(self):
        h = leaf(0.9)
        last, ys = scan(
            lambda h, n: (cond(h > 0.5, lambda v: v * 0.5, lambda v: v * 3.0, h), h),
            h,
            np.arange(4),
        )
        assert_same(ys, np.array([0.9, 0.45, 0.45 * 3.0, 0.45 * 3.0 * 0.5]))
        last.backward()
        assert h.grad.item() == pytest.approx(0.5 * 3 * 0.5 * 0.5)

    def test_switch_on_a_state_that_counts(self):
        x = ag.input("x")
        with LoopNode("loop", length=5) as loop:
            k, h = loop.branch("k", np.int64(0)), loop.branch("h", x)
            loop.feed(k, (k + 1) % 3)
            loop.feed(h, switch(k, [lambda h: h + 1.0, lambda h: h * 2.0, lambda h: -h], h))
        graph = ag.Graph(x, {"y": loop.final(h)})
        assert graph.run(x=3.0)["y"] == (-((3.0 + 1) * 2) + 1) * 2
        assert graph.grad(wrt=["x"]).run(x=3.0)["grad_x"] == -4.0

    def test_gradient_with_respect_to_what_only_the_predicate_reads_is_zero(self):
        p, x = ag.input("s"), ag.input("x", (3,))
        y = cond(p > 0, lambda v: v, lambda v: -v, x).sum()
        graph = ag.Graph([p, x], {"y": y, "slope": ag.grad(y, [p])[0]})
        assert graph.run(s=1.0, x=X)["slope"] == 0.0

    def test_resize_passes_into_bodies(self):
        graph = drawn_cond(lambda x: x * 2.0, lambda x: ag.tanh(x)).resize(x=(5,))
        assert_same(graph.run(p=True, x=np.ones(5))["y"], np.full(5, 2.0))


def test_the_op_checks_its_bodies():
    """As `apply` on data of a file would find them."""
    p = ag.input("p", (), "bool")
    one, other = trace(lambda x: x * 2.0, ()), trace(lambda x: x * 2.0, (2,))
    op = OPS["branch"]
    with pytest.raises(ag.GraphError, match="a branch holds one graph for each value"):
        op(p, body_0=3)
    with pytest.raises(ag.GraphError, match=r"body 1 of the branch takes \(float64\[2\]\)"):
        op(p, ag.input("x"), body_0=one, body_1=other)
    with pytest.raises(ag.DTypeError, match="index of a branch must be a bool or integer scalar"):
        op(ag.input("s"), ag.input("x"), body_0=one)
    with pytest.raises(ag.ShapeError, match="all bodies of a branch must return the same specs"):
        op(p, ag.input("x"), body_0=one, body_1=trace(lambda x: x > 0, ()))
