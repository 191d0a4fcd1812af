"""Loops: every kind of port and output, drawn and on tensors, against six lines of Python."""

import sys

import numpy as np
import pytest

import autograd as ag
from autograd import recent
from autograd.trace import trace
from loops import LoopNode, scan
from tests.loop_reference import assert_same, leaf, reference_loop

X = np.array([[0.5, -0.25], [0.75, 0.1], [-0.3, 0.6], [0.2, 0.9]])
W = np.array([[0.3, -0.2], [0.7, 0.4]])
T = len(X)


def rnn(xs, h0, w, **options):
    """A loop with one port of each kind and both kinds of output."""
    with LoopNode("rnn", **options) as loop:
        x = loop.each(xs)
        before = loop.branch("h", h0)
        h = ag.tanh(x + before @ w)
        loop.feed(before, h)
        hs = loop.collect(h, "hs")
    return loop.final(before), hs


def rnn_by_hand(xs, h0, w, reverse=False):
    def step(states, slices):
        h = np.tanh(slices[0] + states[0] @ w)
        return [h], [h]

    (last,), rows = reference_loop(step, [h0], [xs], len(xs), reverse)
    return last, np.array([row[0] for row in rows]).reshape(len(xs), *h0.shape)


def rnn_graph(length=T, **options):
    xs = ag.input("xs", (length, 2))
    h0 = ag.input("h0", (2,))
    last, hs = rnn(xs, h0, ag.parameter("w", W), **options)
    return ag.Graph([xs, h0], {"last": last, "hs": hs})


class TestValues:
    @pytest.mark.parametrize("length", [0, 1, 2, 4])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_drawn_loop_has_the_bits_of_the_python_loop(self, length, reverse):
        found = rnn_graph(length, reverse=reverse).run(xs=X[:length], h0=X[0])
        last, hs = rnn_by_hand(X[:length], X[0], W, reverse)
        assert_same(found["last"], last)
        assert_same(found["hs"], hs)

    @pytest.mark.parametrize("reverse", [False, True])
    def test_loop_on_tensors_is_computed_at_once(self, reverse):
        last, hs = rnn(ag.tensor(X), ag.tensor(X[0]), ag.tensor(W), reverse=reverse)
        assert not last.virtual
        assert_same(last, rnn_by_hand(X, X[0], W, reverse)[0])
        assert_same(hs, rnn_by_hand(X, X[0], W, reverse)[1])

    def test_plain_arrays_and_numbers_are_taken_as_constants(self):
        with LoopNode("sum") as loop:
            x = loop.each([1.0, 2.0, 3.0])
            total = loop.branch("total", 0.0)
            loop.feed(total, total + x * np.float64(2.0))
        assert loop.final(total).item() == 12.0

    def test_several_states_exchange_their_values_at_once(self):
        with LoopNode("fibonacci", length=10) as loop:
            a, b = loop.branch("a", np.int64(0)), loop.branch("b", np.int64(1))
            loop.feed(a, b)
            loop.feed(b, a + b)
            seen = loop.collect(a)
        assert loop.final(a).item() == 55
        assert_same(seen, np.array([0, 1, 1, 2, 3, 5, 8, 13, 21, 34]))

    def test_state_fed_with_itself_keeps_its_value(self):
        with LoopNode("keep", length=3) as loop:
            h = loop.branch("h", X[0])
            loop.feed(h, h)
        assert_same(loop.final(h), X[0])

    def test_integer_state_counts_and_scales(self):
        x = ag.input("x", (2,))
        with LoopNode("count", length=4) as loop:
            n = loop.branch("n", np.int64(1))
            h = loop.branch("h", x)
            loop.feed(n, n + 1)
            loop.feed(h, h * n)
        graph = ag.Graph([x], {"n": loop.final(n), "h": loop.final(h)})
        found = graph.run(x=X[0])
        assert_same(found["n"], np.int64(5))
        assert_same(found["h"], X[0] * 24)
        assert_same(ag.grad(lambda v: graph(v)[1].sum())(X[0]), np.full(2, 24.0))

    def test_collect_of_a_port_of_a_captured_value_and_of_a_constant(self):
        xs, c = ag.input("xs", (3, 2)), ag.input("c", (2,))
        with LoopNode("loop") as loop:
            x = loop.each(xs)
            h = loop.branch("h", c)
            loop.feed(h, h + x)
            outputs = {
                "slices": loop.collect(x),
                "before": loop.collect(h),
                "captured": loop.collect(c),
                "constant": loop.collect(2.5),
            }
        found = ag.Graph([xs, c], outputs).run(xs=X[:3], c=W[0])
        assert_same(found["slices"], X[:3])
        assert_same(found["before"], np.array([W[0], W[0] + X[0], W[0] + X[0] + X[1]]))
        assert_same(found["captured"], np.array([W[0]] * 3))
        assert_same(found["constant"], np.full(3, 2.5))

    def test_loop_that_takes_nothing_runs_inside_another(self, tmp_path):
        # Such a node has no inputs, but is no leaf.
        x = ag.input("x")
        with LoopNode("outer", length=2) as outer:
            with LoopNode("inner", length=3) as inner:
                twos = inner.collect(2.0)
            ys = outer.collect(twos * x)
        graph = ag.Graph([x], {"ys": ys})
        graph.save(tmp_path / "graph.json")
        loaded = ag.Graph.load(tmp_path / "graph.json")
        for implementation in (graph, graph.unroll(), graph.copy(), graph.resize(x=()), loaded):
            assert_same(implementation.run(x=1.5)["ys"], np.full((2, 3), 3.0))

    def test_a_loop_with_no_state_maps(self):
        with LoopNode("map") as loop:
            ys = loop.collect(ag.tanh(loop.each(X)))
        assert_same(ys, np.tanh(X))

    def test_same_value_collected_twice_and_fed(self):
        h0 = leaf(X[0])
        with LoopNode("twice", length=2) as loop:
            h = loop.branch("h", h0)
            new = ag.tanh(h)
            loop.feed(h, new)
            first, second = loop.collect(new), loop.collect(new)
        (first * 2.0 + second * 3.0).sum().backward()
        reference = leaf(X[0])
        one = ag.tanh(reference)
        ((one + ag.tanh(one)) * 5.0).sum().backward()
        assert_same(first, second)
        assert_same(h0.grad, reference.grad, 1e-14)

    def test_float32_stays_float32(self):
        graph = rnn_graph()
        xs, h0 = ag.input("xs", (T, 2), "float32"), ag.input("h0", (2,), "float32")
        last, hs = rnn(xs, h0, ag.parameter("w", W, "float32"))
        graph = ag.Graph([xs, h0], {"last": last, "hs": hs, "loss": hs.sum()}).grad("loss")
        found = graph.run(xs=X.astype("f4"), h0=X[0].astype("f4"))
        assert {value.dtype.name for value in found.values()} == {"float32"}

    def test_outputs_are_used_after_the_block(self):
        xs = ag.input("xs", (T, 2))
        last, hs = rnn(xs, X[0], ag.parameter("w", W))
        graph = ag.Graph(xs, {"y": ag.tanh(hs).sum() * last.sum()})
        wanted = rnn_by_hand(X, X[0], W)
        assert_same(graph.run(xs=X)["y"], np.tanh(wanted[1]).sum() * wanted[0].sum(), 1e-15)

    def test_final_inside_the_block_and_after_it_are_equal(self):
        x = ag.input("x", (2,))
        with LoopNode("loop", length=3) as loop:
            h = loop.branch("h", x)
            loop.feed(h, ag.tanh(h))
            inside = loop.final(h)
        graph = ag.Graph(x, {"inside": inside, "after": loop.final(h), "again": loop.final(h)})
        found = graph.run(x=X[0])
        assert_same(found["inside"], np.tanh(np.tanh(np.tanh(X[0]))))
        assert_same(found["after"], found["inside"])
        assert_same(found["again"], found["inside"])

    def test_expression_over_outer_values_may_be_written_inside_the_block(self):
        xs, c = ag.input("xs", (T, 2)), ag.input("c", (2,))
        with LoopNode("loop") as loop:
            x = loop.each(xs * 2.0 + c)
            h = loop.branch("h", ag.tanh(c) * 0.5)
            loop.feed(h, ag.tanh(h + x))
        graph = ag.Graph([xs, c], {"y": loop.final(h)})
        last, _ = rnn_by_hand(X * 2.0 + W[0], np.tanh(W[0]) * 0.5, np.eye(2))
        assert_same(graph.run(xs=X, c=W[0])["y"], last)
        assert loop.body.find(op="multiply") == []  # it is drawn outside, once

    def test_expression_over_a_captured_port_may_start_a_state(self):
        w = ag.parameter("w", 0.5)
        with LoopNode("loop", length=2) as loop:
            scaled = w * 3.0  # used in the body and as the initial value
            h = loop.branch("h", scaled)
            loop.feed(h, h * scaled)
        y = loop.final(h)
        assert y.item() == 1.5**3
        y.backward()
        assert w.grad.item() == pytest.approx(3 * 1.5**2 * 3)

    def test_unused_output_costs_nothing_to_leave(self):
        graph = rnn_graph()
        assert list(graph.run(outputs=["last"], xs=X, h0=X[0])) == ["last"]

    def test_unused_port_is_harmless(self):
        xs = ag.input("xs", (3, 2))
        with LoopNode("loop") as loop:
            loop.each(xs)
            h = loop.branch("h", 1.0)
            loop.feed(h, h * 2.0)
        assert ag.Graph(xs, {"y": loop.final(h)}).run(xs=X[:3])["y"] == 8.0

    def test_names_of_ports_may_be_equal(self):
        xs = ag.input("x", (3,))
        with LoopNode("loop") as loop:
            a, b = loop.each(xs, "x"), loop.each(xs * 2.0, "x")
            h = loop.branch("x", 0.0)
            loop.feed(h, h + a * b)
            loop.collect(h, "x")
        assert list(loop.body.inputs) == ["x", "x_2", "x_3"]
        assert list(loop.body.outputs) == ["x", "x_2"]
        assert ag.Graph(xs, {"y": loop.final(h)}).run(x=[1.0, 2.0, 3.0])["y"] == 28.0


class TestCapture:
    def test_captured_values_become_shared_ports_once(self):
        xs, c = ag.input("xs", (T, 2)), ag.input("c", (2,))
        w = ag.parameter("w", W)
        with LoopNode("loop") as loop:
            x = loop.each(xs)
            loop.collect(ag.tanh((x + c) @ w + c @ w))
        kinds = [(port.kind, loop.inputs[port.outer]) for port in loop.op.ports(loop.attrs)[0]]
        assert [kind for kind, _ in kinds] == ["shared", "shared", "each"]
        assert {node for _, node in kinds} == {xs, c, w}

    def test_constants_stay_inside(self):
        with LoopNode("loop", length=2) as loop:
            loop.collect(ag.constant(X) * 2.0)
            h = loop.branch("h", ag.parameter("p", 1.0))
            loop.feed(h, h * 2.0)
        assert [port.kind for port in loop.op.ports(loop.attrs)[0]] == ["state"]

    def test_capture_through_two_levels(self):
        x, w = ag.input("x", (2,)), ag.parameter("w", W)
        with LoopNode("outer", length=2) as outer:
            g = outer.branch("g", x)
            with LoopNode("inner", length=3) as inner:
                h = inner.branch("h", g)
                inner.feed(h, ag.tanh(h @ w + g * x))
            outer.feed(g, inner.final(h))
        graph = ag.Graph(x, {"y": outer.final(g)})
        wanted = X[0]
        for _ in range(2):
            inside = wanted
            for _ in range(3):
                inside = np.tanh(inside @ W + wanted * X[0])
            wanted = inside
        assert_same(graph.run(x=X[0])["y"], wanted)
        assert [port.name for port in outer.body.inputs.values()] == ["w", "x", "g"]

    def test_state_of_the_outer_loop_may_be_fed_inside_the_inner_block(self):
        x = ag.input("x", (3,))
        with LoopNode("outer", length=2) as outer:
            g = outer.branch("g", 1.0)
            with LoopNode("inner") as inner:
                v = inner.each(x)
                h = inner.branch("h", g)
                inner.feed(h, h * v)
                last = inner.final(h)
            outer.feed(g, last)
        assert ag.Graph(x, {"y": outer.final(g)}).run(x=[1.0, 2.0, 3.0])["y"] == 36.0

    def test_per_step_port_of_the_outer_loop_taken_in_the_inner_block(self):
        xs = ag.input("xs", (3, 2))
        with LoopNode("outer") as outer:
            with LoopNode("inner", length=2) as inner:
                x = outer.each(xs)
                ys = inner.collect(x * 2.0)
            out = outer.collect(ys)
        found = ag.Graph(xs, {"y": out}).run(xs=X[:3])["y"]
        assert_same(found, np.stack([X[:3] * 2.0] * 2, axis=1))

    def test_parameters_take_their_value_at_each_run(self):
        graph = rnn_graph()
        before = graph.run(xs=X, h0=X[0])["last"]
        graph.parameters["w"].value = W * 2.0
        assert_same(graph.run(xs=X, h0=X[0])["last"], rnn_by_hand(X, X[0], W * 2.0)[0])
        graph.parameters["w"].value = W
        assert_same(graph.run(xs=X, h0=X[0])["last"], before)


class TestGradients:
    def rnn_gradients(self, reverse=False):
        def loss(xs, h0, w):
            last, hs = rnn(xs, h0, w, reverse=reverse)
            return (hs * hs).sum() + (last * X[1]).sum()

        return loss

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("length", [0, 1, 4])
    def test_all_ports_to_order_three(self, length, reverse):
        ag.check_grad(self.rnn_gradients(reverse), (X[:length], X[0], W), order=3)

    def test_backward_equals_drawn_gradient_equals_unrolled_gradient(self):
        xs, h0 = ag.input("xs", (T, 2)), ag.input("h0", (2,))
        w = ag.parameter("w", W)
        last, hs = rnn(xs, h0, w)
        graph = ag.Graph([xs, h0], {"loss": (hs * hs).sum() + last.sum()})
        drawn = graph.grad(wrt=["w", "xs", "h0"])
        unrolled = graph.unroll().grad(wrt=["w", "xs", "h0"]).run(xs=X, h0=X[0])
        found = drawn.run(xs=X, h0=X[0])
        eager = [leaf(v) for v in (X, X[0])]
        last, hs = rnn(*eager, w)
        ((hs * hs).sum() + last.sum()).backward()
        for name, tensor in (("w", w), ("xs", eager[0]), ("h0", eager[1])):
            assert_same(found[f"grad_{name}"], tensor.grad)
            assert_same(found[f"grad_{name}"], unrolled[f"grad_{name}"], 1e-14)

    def test_state_whose_initial_value_is_a_parameter(self):
        h0, w = ag.parameter("h0", X[0]), ag.parameter("w", W)
        xs = ag.input("xs", (T, 2))
        last, _ = rnn(xs, h0, w)
        graph = ag.Graph(xs, {"y": last.sum()})
        ag.check_grad(graph, (X,), order=2)
        assert list(graph.grad().outputs) == ["y", "grad_h0", "grad_w"]

    def test_per_step_parameters_beside_shared_ones(self):
        each_w = ag.parameter("each_w", np.stack([W, W.T, W + 0.1, W - 0.1]))
        w = ag.parameter("w", W)
        xs = ag.input("xs", (T, 2))
        with LoopNode("loop") as loop:
            x, v = loop.each(xs), loop.each(each_w)
            h = loop.branch("h", np.zeros(2))
            loop.feed(h, ag.tanh(x @ w + h @ v))
        graph = ag.Graph(xs, {"y": (loop.final(h) * X[1]).sum()})
        h = np.zeros(2)
        for t in range(T):
            h = np.tanh(X[t] @ W + h @ each_w.value[t])
        assert_same(graph.run(xs=X)["y"], (h * X[1]).sum())
        found = graph.grad().run(xs=X)
        assert found["grad_each_w"].shape == (T, 2, 2)
        assert not found["grad_each_w"][0].any()  # h is zero before step 0
        assert found["grad_each_w"][1:].any(axis=(1, 2)).all()
        ag.check_grad(graph, (X,), order=2)

    def test_gradient_names_of_ports_do_not_collide(self):
        # A state called each_x beside a per-step port x; outputs called like the saved ones.
        def loss(xs, h0, saved):
            with LoopNode("loop") as loop:
                x = loop.each(xs, "x")
                h = loop.branch("each_x", h0)
                new = ag.tanh(h * x * saved)
                loop.feed(h, new)
                ys = loop.collect(new * h, "saved_0")
                zs = loop.collect(new * new, "saved")
            return (ys * zs).sum() + loop.final(h)

        ag.check_grad(loss, (X[:, 0], 0.7, 0.9), order=3)

    def test_length_of_a_gradient_loop_follows_the_inputs(self):
        # The gradient's body reads nothing per step here, so only the sequence says how long.
        xs, w = ag.input("xs", (3,)), ag.parameter("w", 3.0)
        with LoopNode("loop") as loop:
            x, h = loop.each(xs), loop.branch("h", 0.0)
            loop.feed(h, h + w + x)
        graph = ag.Graph(xs, {"y": loop.final(h)})
        for length in (3, 5, 0):  # the body, and so its gradient's plan, is the same for all
            found = graph.resize(xs=(length,)).grad(wrt=["w", "xs"]).run(xs=np.ones(length))
            assert found["grad_w"] == length
            assert_same(found["grad_xs"], np.ones(length))

    def test_state_that_reaches_the_output_only_some_steps_later(self):
        def loss(a0, b0, c0):
            with LoopNode("chain", length=4) as loop:
                a, b, c = (
                    loop.branch(name, init) for name, init in (("a", a0), ("b", b0), ("c", c0))
                )
                loop.feed(a, ag.tanh(a))
                loop.feed(b, ag.tanh(b + a))
                loop.feed(c, ag.tanh(c * b))
            return loop.final(c).sum()

        ag.check_grad(loss, (X[0], X[1], X[2]), order=2)

    @pytest.mark.parametrize("length", [0, 1, 2])
    def test_state_that_is_fed_something_else_passes_its_gradient_if_no_step_runs(self, length):
        x = ag.input("x", (2,))
        with LoopNode("loop", length=length) as loop:
            h = loop.branch("h", x)
            loop.feed(h, ag.tanh(ag.parameter("w", X[1])))
        graph = ag.Graph(x, {"y": (loop.final(h) ** 2.0).sum()}, allow_unused=True)
        ag.check_grad(graph, (X[0],), order=2)
        assert graph.grad(wrt=["x"]).run(x=X[0])["grad_x"].any() == (length == 0)

    def test_no_path_gives_zeros(self):
        w = ag.parameter("w", W)
        xs = ag.input("xs", (T, 2))
        with LoopNode("loop") as loop:
            x = loop.each(xs)
            loop.collect(x @ w)
            ys = loop.collect(x * 2.0)
        grads = ag.grad(ys.sum(), [w, xs])
        found = ag.Graph([], {"w": grads[0], "xs": grads[1]}).run()
        assert_same(found["w"], np.zeros((2, 2)))
        assert_same(found["xs"], np.full((T, 2), 2.0))

    def test_stop_gradient_in_a_loop_cuts_exactly(self):
        def loss(xs, h0):
            with LoopNode("loop") as loop:
                x, h = loop.each(xs), loop.branch("h", h0)
                new = ag.tanh(ag.stop_gradient(h) + x)
                loop.feed(h, new)
                ys = loop.collect(new)
            return ys.sum()

        gx, gh = ag.grad(loss, (0, 1))(X, X[0])
        _, hs = rnn_by_hand(X, X[0], np.eye(2))
        assert_same(gh, np.zeros(2))
        assert_same(gx, 1 - hs * hs, 1e-15)

    def test_under_no_grad_nothing_is_recorded(self):
        h0 = leaf(X[0])
        with ag.no_grad():
            last, hs = rnn(ag.tensor(X), h0, ag.parameter("w", W))
        assert not last.tracked
        assert not hs.tracked
        assert_same(hs, rnn_by_hand(X, X[0], W)[1])

    def test_under_no_grad_virtual_loops_keep_their_gradient(self):
        with ag.no_grad():
            graph = rnn_graph()
        assert np.any(
            ag.Graph(graph.inputs, {"y": graph.outputs["hs"].sum()})
            .grad()
            .run(xs=X, h0=X[0])["grad_w"]
        )

    def test_jvp_and_hvp_pass_through(self):
        loss = self.rnn_gradients()
        directions = (X[::-1].copy(), X[2], W.T.copy())
        _, along = ag.jvp(loss, (X, X[0], W), directions)
        grads = ag.grad(loss, (0, 1, 2))(X, X[0], W)
        wanted = sum(float((g.value * d).sum()) for g, d in zip(grads, directions, strict=True))
        assert along.item() == pytest.approx(wanted, rel=1e-13)
        hessian_w = ag.hessian(lambda w: loss(X, X[0], w))(W)
        (product,) = ag.hvp(lambda w: loss(X, X[0], w), (W,), (W.T.copy(),))
        assert_same(np.tensordot(hessian_w.value, W.T, 2), product, 1e-12)
        assert_same(hessian_w, np.transpose(hessian_w.value, (2, 3, 0, 1)), 1e-12)


class TestSharedParameters:
    """One parameter in loop A, in loop B, in A inside B, and outside: gradients add."""

    def uses(self, w_a, w_b, w_nested, w_dense, w_tied):
        with LoopNode("a") as a:
            x, h = a.each(ag.tensor(X)), a.branch("h", X[0])
            a.feed(h, ag.tanh(x + h @ w_a))
            hs = a.collect(ag.tanh(h @ w_a))
        with LoopNode("b", reverse=True) as b:
            y, g = b.each(hs), b.branch("g", a.final(h))
            with LoopNode("a", length=2) as nested:
                k = nested.branch("k", g)
                nested.feed(k, ag.tanh(k @ w_nested))
            b.feed(g, ag.tanh(y @ w_b + nested.final(k)))
            gs = b.collect(g)
        return (ag.tanh((gs @ w_dense) @ w_tied.T) * X).sum()

    def test_gradient_is_the_sum_over_its_uses(self):
        separate = [leaf(W) for _ in range(5)]
        self.uses(*separate).backward()
        shared = leaf(W)
        self.uses(*[shared] * 5).backward()
        assert all(np.abs(use.grad.value).max() > 1e-6 for use in separate)
        assert_same(shared.grad, sum(use.grad.value for use in separate), 1e-13)

    @pytest.mark.parametrize("count", range(1, 6))
    def test_any_number_of_uses(self, count):
        fixed = ag.constant(W)
        shared = leaf(W)
        self.uses(*[shared] * count, *[fixed] * (5 - count)).backward()
        total = np.zeros((2, 2))
        for i in range(count):
            use = leaf(W)
            self.uses(*[use if j == i else fixed for j in range(5)]).backward()
            total += use.grad.value
        assert_same(shared.grad, total, 1e-13)

    def test_against_differences_to_order_two(self):
        ag.check_grad(lambda w: self.uses(w, w, w, w, w), (W,), order=2)

    def test_as_a_drawn_graph(self):
        w = ag.parameter("w", W)
        graph = trace(lambda x: self.uses(w, w, w, w, w) * x, ())
        ag.check_grad(graph, (1.5,), order=2)
        assert list(graph.parameters) == ["w"]
        found, unrolled = (g.grad().run(x=1.5)["grad_w"] for g in (graph, graph.unroll()))
        assert_same(found, unrolled, 1e-13)


class TestLoopNode:
    def test_body_and_length(self):
        xs = ag.input("xs", (T, 2))
        with LoopNode("loop") as loop:
            loop.collect(loop.each(xs) * 2.0)
        assert loop.length == T
        assert list(loop.body.inputs) == ["xs"]
        assert loop.bodies == (loop.body,)
        assert loop.op.label(loop.attrs) == {}

    def test_fixed_length_and_reverse_are_shown(self):
        with LoopNode("loop", length=3, reverse=True) as loop:
            h = loop.branch("h", ag.parameter("p", 1.0))
            loop.feed(h, h * 2.0)
        assert loop.length == 3
        assert loop.op.label(loop.attrs) == {"length": 3, "reverse": True}

    @pytest.mark.parametrize("what", ["body", "length"])
    def test_unrecorded_loop_holds_no_body(self, what):
        with LoopNode("loop", length=2) as loop:
            h = loop.branch("h", 1.0)
            loop.feed(h, h * 2.0)
        with pytest.raises(ag.GraphError, match=f"loop 'loop' has no {what}: its `with` block"):
            getattr(loop, what)

    def test_a_failing_block_leaves_no_scope_behind(self):
        with pytest.raises(ZeroDivisionError), LoopNode("loop", length=2):
            1 / 0  # noqa: B018
        assert (ag.tensor(2.0) * 3.0).item() == 6.0
        assert (ag.input("x") * 3.0).scope is None

    def test_a_drawn_loop_holds_no_cycle(self):
        import gc
        import weakref

        gc.disable()
        try:
            with LoopNode("loop") as loop:
                x, h = loop.each(leaf(X)), loop.branch("h", X[0])
                new = ag.tanh(h + x @ ag.parameter("w", W))
                loop.feed(h, new)
                ys = loop.collect(new)
            ys.sum().backward()
            alive = weakref.ref(loop), weakref.ref(new)
            del loop, x, h, new, ys
            recent.forget()  # the body is kept, for the next loop that is drawn like it
            assert [ref() for ref in alive] == [None, None]
        finally:
            gc.enable()

    def test_long_loops_do_not_recurse(self):
        limit = sys.getrecursionlimit()
        h = leaf(0.5)
        last, _ = scan(lambda h, x: (h * 1.0, None), h, length=5 * limit)
        last.backward()
        assert h.grad.item() == 1.0


SIZES = (0, 1, 2)


@pytest.mark.parametrize("length", SIZES)
@pytest.mark.parametrize("batch", SIZES)
@pytest.mark.parametrize("inputs", SIZES)
@pytest.mark.parametrize("hidden", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty_and_single_sizes(length, batch, inputs, hidden, dtype):
    """Shapes and dtypes hold at the edges; without a step h0 passes, and so does its gradient."""
    random = np.random.default_rng(0)
    u, w, h0, xs = (
        random.standard_normal(shape).astype(dtype)
        for shape in ((inputs, hidden), (hidden, hidden), (batch, hidden), (length, batch, inputs))
    )
    names = {"u": u, "w": w, "h0": h0, "xs": xs}
    incoming = random.standard_normal((batch, hidden)).astype(dtype)

    def draw(u, w, h0, xs):
        with LoopNode("rnn") as loop:
            x, before = loop.each(xs), loop.branch("h", h0)
            h = ag.tanh(x @ u + before @ w)
            loop.feed(before, h)
            hs = loop.collect(h)
        return loop.final(before), hs

    nodes = {name: ag.input(name, v.shape, dtype) for name, v in names.items()}
    last, hs = draw(*nodes.values())
    graph = ag.Graph(nodes, {"last": last, "hs": hs, "loss": (last * incoming).sum()})
    graph = graph.grad(of="loss", wrt=list(names))
    for implementation in (graph, graph.unroll()):
        found = implementation.run(**names)
        assert (found["last"].shape, found["hs"].shape) == (
            (batch, hidden),
            (length, batch, hidden),
        )
        assert {value.dtype.name for value in found.values()} == {dtype}
        for name, value in names.items():
            assert found[f"grad_{name}"].shape == value.shape
        if length == 0:
            assert_same(found["last"], h0)
            assert_same(found["grad_h0"], incoming)
            assert not found["grad_u"].any()
            assert not found["grad_w"].any()
    tensors = {name: leaf(value) for name, value in names.items()}
    last, hs = draw(*tensors.values())
    assert_same(last, found["last"])
    assert_same(hs, found["hs"])
    (last * incoming).sum().backward()
    for name, tensor in tensors.items():
        if tensor.grad is not None:
            assert_same(tensor.grad, found[f"grad_{name}"], 1e-6 if dtype == "float32" else 1e-14)


def test_states_and_what_is_collected_may_all_have_one_name():
    xs = ag.input("xs", (3, 2))
    with LoopNode("twins") as loop:
        x = loop.each(xs)
        first, second = loop.branch("s", ag.zeros(2)), loop.branch("s", ag.zeros(2))
        loop.feed(first, first + x)
        loop.feed(second, second - x)
        both = [loop.collect(first), loop.collect(second)]
    assert list(loop.body.outputs) == ["s", "s_2", "s_3", "s_4"]
    values = np.arange(6.0).reshape(3, 2)
    ran = ag.Graph(xs, {"a": both[0], "b": both[1]}).run(xs=values)
    sums = np.cumsum(values, axis=0) - values
    np.testing.assert_array_equal(ran["a"], sums)
    np.testing.assert_array_equal(ran["b"], -sums)
