"""check_finite: the first value or gradient that is not finite, and what is said of it."""

from __future__ import annotations

import asyncio
import threading
from functools import cache

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.execute import reference
from autograd.finite import Check
from autograd.scope import current_state
from loops import LoopNode, cond, scan
from tests import planted_nonfinites as planting


def finding(fn, *args, **kwargs):
    """Return what is found when `fn` is called under check_finite."""
    with pytest.raises(ag.NonFiniteError) as raised, ag.check_finite():
        fn(*args, **kwargs)
    assert str(raised.value).startswith("{}:{}: ".format(*raised.value.line))
    assert raised.value.line[0] == __file__ or raised.value.line[0] == planting.__file__
    return raised.value.finding


def leaf(*values, dtype="float64"):
    return ag.tensor(np.array(values, dtype), requires_grad=True)


# Births, in each way of computing.

FORWARD = {
    "log of a negative": (ag.log, (0.5, -1.0), "log", "nan"),
    "log of 0": (ag.log, (0.5, 0.0), "log", "-inf"),
    "0 / 0": (lambda x: x / x, (0.5, 0.0), "divide", "nan"),
    "1 / 0": (lambda x: 1.0 / x, (0.5, 0.0), "divide", "+inf"),
    "overflow of exp": (ag.exp, (0.5, 800.0), "exp", "+inf"),
    "overflow of a product": (lambda x: x * x, (0.5, 1e200), "multiply", "+inf"),
    "overflow of a sum": (lambda x: x + x, (0.5, 1e308), "add", "+inf"),
    "hidden by where": (lambda x: ag.where(x > 0, ag.log(x), 0.0), (0.5, -1.0), "log", "nan"),
    "hidden by tanh": (lambda x: ag.tanh(x * 1e300), (0.5, 1e10), "multiply", "+inf"),
    "hidden by a comparison": (lambda x: ag.where(1 / x > 1, x, x), (0.5, 0.0), "divide", "+inf"),
    "hidden by minimum": (lambda x: ag.minimum(ag.exp(x), 1.0), (0.5, 1e3), "exp", "+inf"),
    "a power out of its domain": (lambda x: x**0.5, (0.5, -1.0), "power", "nan"),
    "log1p": (ag.log1p, (0.5, -1.0), "log1p", "-inf"),
    "arcsin": (ag.arcsin, (0.5, 2.0), "arcsin", "nan"),
    "cumulative": (lambda x: ag.cumprod(x), (1e200, 1e200), "cumprod", "+inf"),
}
BACKWARD = {
    "sqrt at 0": (ag.sqrt, (0.5, 0.0), "sqrt", "+inf"),
    "power at 0": (lambda x: x**0.5, (0.5, 0.0), "power", "+inf"),
    "arcsin at 1": (ag.arcsin, (0.5, 1.0), "arcsin", "+inf"),
    "where hides the value, not the gradient": (
        lambda x: ag.where(x > 0, ag.sqrt(x), 0.0),
        (0.5, 0.0),
        "sqrt",
        "nan",
    ),
    "a large slope": (lambda x: ag.tanh(x * 1e200) * 1e200, (0.5, 0.0), "multiply", "+inf"),
}


def looped(fn):
    """Return `fn` as step 1 of three, on its own per-step input, in a loop in a loop."""

    def apply(x):
        harmless = ag.ones_like(x) * 0.5
        rows = ag.stack([ag.stack([harmless, harmless]), ag.stack([harmless, x])])
        with LoopNode("outer") as outer:
            slices = outer.each(rows)
            total = outer.branch("total", harmless)
            with LoopNode("inner") as inner:
                each = inner.each(slices)
                state = inner.branch("state", total)
                inner.feed(state, ag.tanh(state + fn(each)))
            outer.feed(total, inner.final(state))
        return outer.final(total)

    return apply


def graph_of(fn, *values):
    """Return the graph of the sum of `fn` of an input `x` like `values`."""
    x = ag.input("x", np.shape(values))
    return ag.Graph([x], {"y": fn(x).sum()})


class TestBirths:
    @pytest.mark.parametrize("name", FORWARD)
    def test_eager_forward(self, name):
        fn, values, op, kind = FORWARD[name]
        found = finding(lambda: fn(ag.tensor(values)))
        assert (found.direction, found.path, found.op) == ("forward", op, op)
        assert (found.kind, found.row, found.steps) == (kind, 1, ())

    @pytest.mark.parametrize("name", BACKWARD)
    def test_eager_backward(self, name):
        fn, values, op, kind = BACKWARD[name]

        def by_hand():
            fn(leaf(*values)).sum().backward()

        def by_grad():
            ag.grad(lambda x: fn(x).sum())(np.array(values))

        def by_vjp():
            ag.vjp(fn, np.array(values))[1](np.ones(2))

        def of_second_order():  # the gradient is recorded, op by op
            ag.grad(lambda x: ag.grad(lambda z: fn(z).sum())(x).sum())(np.array(values))

        for run in (by_hand, by_grad, by_vjp, of_second_order):
            found = finding(run)
            assert (found.direction, found.path, found.op) == ("backward", op, op)
            assert found.row == 1
            assert found.kind == kind or run is of_second_order

    @pytest.mark.parametrize("name", FORWARD)
    def test_graph_forward(self, name):
        fn, values, op, kind = FORWARD[name]
        found = finding(graph_of(fn, *values).run, x=np.array(values))
        assert (found.direction, found.path, found.op) == ("forward", f"{op}_1", op)
        assert (found.kind, found.row, found.computed_by) == (kind, 1, f"{op}_1")

    @pytest.mark.parametrize("name", BACKWARD)
    def test_graph_backward(self, name):
        fn, values, op, _ = BACKWARD[name]
        graph = graph_of(fn, *values).grad(wrt=["x"])
        found = finding(graph.run, x=np.array(values))
        assert (found.direction, found.path, found.op) == ("backward", f"{op}_1", op)
        assert found.row == 1
        again = finding(graph.run, x=np.array(values), outputs=["grad_x"])
        assert (again.direction, again.op) == ("backward", op)

    @pytest.mark.parametrize("name", FORWARD | BACKWARD)
    def test_nested_loops(self, name):
        fn, values, op, _ = (FORWARD | BACKWARD)[name]
        direction = "forward" if name in FORWARD else "backward"
        run = looped(fn)
        graph = graph_of(run, *values).grad(wrt=["x"])
        for way in (
            lambda: graph.run(x=np.array(values)),
            lambda: run(leaf(*values)).sum().backward(),
        ):
            found = finding(way)
            assert found.path == f"outer[1].inner[1].{op}_1"
            assert (found.direction, found.op, found.row) == (direction, op, 1)
            assert found.steps == (1, 1)

    @pytest.mark.parametrize(("door", "count"), [("graph", 140), ("eager", 60)])
    def test_two_hundred_planted(self, door, count):
        """Op, step, level, direction and row at random: all named right."""
        with ag.check_finite():  # nothing is found where nothing is
            for depth in (1, 2, 3):
                run_planted(door, depth, "backward", planting.inputs(depth))
        rng = np.random.default_rng(count)
        for _ in range(count):
            plant = planting.Plant.at_random(rng)
            found = finding(run_planted, door, plant.depth, plant.direction, plant.inputs())
            assert (found.direction, found.path) == (plant.direction, plant.path)
            assert found.index == (plant.row, plant.column)
            assert found.op == planting.SITES[plant.site].op
            assert (found.kind, found.row) == (plant.kind, plant.row)
            assert found.steps == plant.steps


@cache
def planted_graph(depth, direction):
    arrays = planting.inputs(depth)
    xs = [ag.input(f"x{i}", array.shape) for i, array in enumerate(arrays)]
    state = ag.constant(np.zeros((planting.ROWS, planting.COLUMNS)))
    graph = ag.Graph(xs, {"y": planting.nest(state, xs, depth).sum()})
    return graph if direction == "forward" else graph.grad(wrt=[x.name for x in xs])


def run_planted(door, depth, direction, arrays):
    if door == "graph":
        planted_graph(depth, direction).run(**{f"x{i}": x for i, x in enumerate(arrays)})
        return
    xs = [ag.tensor(x, requires_grad=True) for x in arrays]
    state = ag.zeros((planting.ROWS, planting.COLUMNS))
    planting.nest(state, xs, depth).sum().backward()


# Other places where values come from.


class TestPlaces:
    def test_scan_and_branch(self):
        def step(h, x):
            h = cond(x.sum() > 0, lambda h: ag.tanh(h + x), lambda h: ag.tanh(ag.log(x) + h), h)
            return h, h

        xs = np.ones((6, 3))
        xs[4] = [0.5, 0.25, -2.0]
        drawn = graph_of(lambda x: scan(step, ag.zeros(3), x, name="enc")[1], *xs)
        for run in (
            lambda: drawn.run(x=xs),
            lambda: drawn.grad(wrt=["x"]).run(x=xs),
            lambda: scan(step, ag.zeros(3), leaf(*xs), name="enc"),
        ):
            found = finding(run)
            assert found.path == "enc[4].cond.0.log_1"
            assert (found.direction, found.index, found.steps) == ("forward", (2,), (4,))

    def test_gradient_of_a_branch(self):
        def step(h, x):
            return cond(x.sum() > 1, lambda h: h + x, lambda h: h + x + ag.sqrt(x), h), None

        xs = np.ones((6, 2))
        xs[4] = [0.5, 0.0]
        drawn = graph_of(lambda x: scan(step, ag.zeros(2), x, name="enc")[0], *xs).grad(wrt=["x"])
        for run in (
            lambda: drawn.run(x=xs),
            lambda: scan(step, ag.zeros(2), leaf(*xs), name="enc")[0].sum().backward(),
        ):
            found = finding(run)
            assert found.path == "enc[4].cond.0.sqrt_1"
            assert (found.direction, found.index) == ("backward", (1,))

    def test_layer(self):
        rnn = nn.RNN(2, 3, num_layers=2, rng=0)
        rnn.weight_hh_l1.value = np.full((3, 3), 1e308)
        rnn.bias_ih_l1.value = np.full(3, 9.0)  # h is near 1 from step 0 on
        xs = np.ones((5, 4, 2))
        found = finding(lambda: rnn(ag.tensor(xs)))
        assert (found.path, found.op, found.row) == ("rnn_l1[1].matmul_2", "matmul", 0)
        x = ag.input("xs", xs.shape)
        found = finding(ag.Graph([x], {"y": rnn(x)[0]}).run, xs=xs)
        assert found.path == "rnn_l1[1].matmul_2"
        assert found.computed_by == found.path
        assert found.inputs[1] == "weight_hh_l1_T float64[3, 3] from 1e+308 to 1e+308"

    def test_steps_of_reversed_loops_keep_their_numbers(self):
        xs = np.ones((6, 2))
        xs[1, 0] = 0.0
        drawn = graph_of(
            lambda x: scan(lambda h, x: (h + ag.sqrt(x),) * 2, ag.zeros(2), x, reverse=True)[0], *xs
        )
        found = finding(drawn.grad(wrt=["x"]).run, x=xs)
        assert (found.path, found.direction) == ("scan[1].sqrt_1", "backward")
        assert found.computed_by.startswith("scan_grad[1].")

    def test_rows_of_ragged_loops_are_those_of_the_batch(self):
        xs = np.ones((5, 4, 2))
        xs[3, 2, 1] = 0.0
        lengths = np.array([2, 5, 4, 1])

        def model(fn, x):
            with LoopNode("enc", lengths=lengths) as loop:
                h = loop.branch("h", np.zeros((4, 2)))
                loop.feed(h, ag.tanh(h + fn(loop.each(x))))
            return loop.final(h)

        found = finding(graph_of(lambda x: model(ag.log, x), *xs).run, x=xs)
        assert (found.path, found.row, found.kind) == ("enc[3].log_1", 2, "-inf")
        found = finding(lambda: model(ag.sqrt, leaf(*xs)).sum().backward())
        assert (found.path, found.row, found.kind) == ("enc[3].sqrt_1", 2, "+inf")

    def test_a_loop_that_would_never_stop(self):
        start = ag.input("start", (2,))
        with LoopNode("grow", bound=10**9) as loop:
            x = loop.branch("x", start)
            loop.feed(x, x * 1e100)
            loop.until(ag.max(x) < 0)
        found = finding(ag.Graph([start], {"y": loop.final(x)}).run, start=np.ones(2))
        assert (found.path, found.steps) == ("grow[3].multiply_1", (3,))

    def test_unrolled_graph(self):
        xs = np.ones((4, 2))
        xs[2, 1] = -1.0
        graph = graph_of(lambda x: scan(lambda h, x: (h + ag.log(x),) * 2, ag.zeros(2), x)[0], *xs)
        found = finding(graph.unroll().run, x=xs)
        assert (found.path, found.row, found.steps) == ("scan[2].log_1", 1, (2,))
        graph = graph_of(lambda x: scan(lambda h, x: (h + ag.sqrt(x),) * 2, ag.zeros(2), x)[0], *xs)
        xs[2, 1] = 0.0
        found = finding(graph.grad(wrt=["x"]).unroll().run, x=xs)
        assert (found.path, found.direction) == ("scan_grad[2].sqrt_1", "backward")
        assert (found.op, found.row, found.steps) == ("sqrt", 1, (2,))

    def test_copied_resized_and_loaded_graphs(self, tmp_path):
        graph = graph_of(looped(ag.sqrt), 0.5, 0.5)
        graph.grad(wrt=["x"]).save(tmp_path / "graph.json")
        values = np.array([0.5, 0.0])
        for made in (graph.copy().grad(wrt=["x"]), graph.grad(wrt=["x"]).copy()):
            assert finding(made.run, x=values).path == "outer[1].inner[1].sqrt_1"
        simple = graph_of(lambda x: ag.sqrt(x) * 2.0, 0.5, 0.5).resize(x=(3,)).grad(wrt=["x"])
        assert finding(simple.run, x=np.array([0.5, 0.5, 0.0])).row == 2
        loaded = ag.Graph.load(tmp_path / "graph.json")  # a file does not say whose gradients
        with ag.check_finite(), pytest.raises(ag.NonFiniteError, match=r"outer_grad\[1\].inner_gr"):
            loaded.run(x=values)

    def test_second_derivative(self):
        def cube_root(x):
            return ag.abs(x) ** 1.5

        graph = graph_of(looped(cube_root), 0.5, 0.5)
        total = ag.trace(lambda x: graph.grad(wrt=["x"])(x)[1].sum(), (2,)).grad(wrt=["x"])
        found = finding(total.run, x=np.array([0.5, 0.0]))
        assert found.path == "outer[1].inner[1].power_1"
        assert (found.direction, found.op, found.row) == ("backward", "power", 1)

    def test_gradients_of_slices(self):
        def run():
            x = leaf(0.5, 0.0, 0.5)
            (x[0] + ag.sqrt(x[1]) + x[2]).backward()

        found = finding(run)
        assert (found.path, found.index, found.row) == ("sqrt", (), None)

    def test_vmap(self):
        xs = np.array([[1.0, 2.0], [3.0, 0.0]])
        found = finding(lambda: ag.vmap(lambda x: ag.log(x).sum())(xs))
        assert (found.path, found.index) == ("log", (1, 1))

    def test_gradient_drawn_without_its_forward_pass(self):
        x = ag.input("x", (2,))
        w = ag.parameter("w", np.ones(2))
        (g,) = ag.grad(ag.log(x * w).sum(), [w])
        found = finding(ag.Graph([x], {"g": g}).run, x=np.array([1.0, 0.0]))
        assert (found.path, found.direction, found.row) == ("log", "backward", 1)
        assert found.computed_by == "divide_1 (divide)"

    def test_rule_of_the_users(self):
        @ag.custom_vjp
        def link(x):
            return x * 1.0

        @link.defvjp
        def _(g, y, x):
            return g / (x - 0.5)

        found = finding(lambda: link(leaf(1.0, 0.5)).sum().backward())
        assert (found.path, found.direction, found.index) == ("link", "backward", (1,))
        graph = graph_of(looped(link), 0.5, 0.5).grad(wrt=["x"])
        found = finding(graph.run, x=np.array([1.0, 1.0]))  # other steps have 0.5
        assert (found.path, found.op) == ("outer[1].inner[0].link_1", "link")

    def test_replay_from_checkpoints(self):
        xs = np.ones((20, 2))
        xs[7, 1] = 0.0
        drawn = graph_of(
            lambda x: scan(lambda h, x: (ag.tanh(h + ag.sqrt(x)),) * 2, x[0], x)[0], *xs
        )
        found = finding(drawn.grad(wrt=["x"], checkpoints=3).run, x=xs)
        assert (found.path, found.direction, found.row) == ("scan[7].sqrt_1", "backward", 1)

    def test_sum_of_gradients(self):
        def run():
            x = leaf(1e-10)
            (x * 1e308 + x * 1e308).sum().backward()

        found = finding(run)
        assert (found.direction, found.op, found.kind) == ("backward", "multiply", "+inf")


# What counts.


class TestRule:
    @pytest.mark.parametrize("door", ["graph", "eager"])
    def test_masks_of_minus_infinity(self, door):
        mask = np.where(np.arange(6).reshape(2, 3) % 3 == 2, -np.inf, 0.0)
        x = np.arange(6.0).reshape(2, 3)

        def weights(x, mask):
            return ag.softmax(x + mask) * ag.exp(ag.max(x + mask, axis=1, keepdims=True) - 9.0)

        with ag.check_finite():
            if door == "graph":
                nodes = [ag.input("x", (2, 3)), ag.input("mask", (2, 3))]
                drawn = ag.Graph(nodes, {"y": weights(*nodes).sum()}).grad(wrt=["x"])
                assert np.isfinite(drawn.run(x=x, mask=mask)["grad_x"]).all()
                constant = graph_of(lambda x: weights(x, mask), *x).grad(wrt=["x"])
                assert np.isfinite(constant.run(x=x)["grad_x"]).all()
            else:
                assert np.isfinite(ag.grad(lambda x: weights(x, mask).sum())(x).value).all()

    def test_running_maximum_starts_at_minus_infinity(self):
        xs = np.random.default_rng(0).normal(size=(5, 3))
        with ag.check_finite():
            last, _ = scan(lambda m, x: (ag.maximum(m, x),) * 2, np.full(3, -np.inf), leaf(*xs))
            last.sum().backward()
        np.testing.assert_array_equal(last.value, xs.max(axis=0))

    def test_several_states_of_unlike_shapes_stay_at_minus_infinity(self):
        def final(x):
            init = (np.full(3, -np.inf), np.full((), -np.inf))
            last, _ = scan(lambda m, x: ((m[0], ag.maximum(m[1], x)), None), init, x)
            return last[1] + ag.exp(last[0]).sum()

        with ag.check_finite():
            y, g = ag.value_and_grad(final)(np.array([1.0, 3.0, 2.0]))
        assert y.item() == 3.0
        np.testing.assert_array_equal(g, [0.0, 1.0, 0.0])

    def test_nan_from_infinity_is_an_error(self):
        found = finding(lambda: ag.tensor([np.inf, 1.0]) - np.array([np.inf, 1.0]))
        assert (found.op, found.kind, found.index) == ("subtract", "nan", (0,))
        found = finding(lambda: ag.softmax(np.full((2, 3), -np.inf) + ag.zeros((2, 3))))
        assert (found.op, found.counts) == ("softmax", {"nan": 6})

    @pytest.mark.parametrize("door", ["graph", "eager"])
    def test_overflow_beside_a_mask(self, door):
        mask = np.array([-np.inf, 0.0])
        x = np.array([1.0, 1000.0])
        if door == "graph":
            found = finding(graph_of(lambda x: ag.exp(x + mask), *x).run, x=x)
            assert found.path == "exp_1"
        else:
            found = finding(lambda: ag.exp(ag.tensor(x) + mask))
        assert (found.index, found.counts) == ((1,), {"+inf": 1})

    def test_counts_and_ranges(self):
        found = finding(lambda: ag.log(ag.tensor([[1.0, 0.0, -1.0], [-2.0, 4.0, 0.0]])))
        assert found.counts == {"-inf": 2, "nan": 2}
        assert list(found.counts) == ["-inf", "nan"]
        assert (found.index, found.row, found.kind) == ((0, 1), 0, "-inf")
        assert found.inputs == ("input 0 float64[2, 3] from -2 to 4",)
        assert found.spec == ag.Spec((2, 3), np.dtype("float64"))

    def test_several_outputs(self):
        found = finding(lambda: ag.slogdet(ag.tensor(np.zeros((2, 2)))))
        assert (found.op, found.kind) == ("slogdet", "-inf")
        x = ag.input("x", (2, 2))
        found = finding(ag.Graph([x], {"y": ag.slogdet(x)[1]}).run, x=np.zeros((2, 2)))
        assert (found.op, found.kind) == ("slogdet", "-inf")

    def test_integers_and_empty_arrays_are_finite(self):
        with ag.check_finite():
            assert (ag.tensor([7, 8]) // 2).value.tolist() == [3, 4]
            assert ag.sum(ag.zeros((0, 3)) * 2.0).item() == 0.0

    def test_float16_overflows_early(self):
        found = finding(lambda: ag.tensor([300.0], "float16") * np.float16(300))
        assert (found.kind, found.spec.dtype) == ("+inf", np.float16)


class TestFromOutside:
    def test_input_of_a_graph(self):
        graph = graph_of(looped(ag.tanh), 0.5, 0.5)
        said = r"input x, row 1: nan at index \(1,\) of float64\[2\] .*came in from outside"
        with ag.check_finite(), pytest.raises(ag.NonFiniteError, match=said):
            graph.run(x=np.array([0.5, np.nan]))
        found = finding(graph.run, x=np.array([0.5, np.nan]))
        assert (found.source, found.path, found.index) == ("input", "x", (1,))

    def test_parameter_and_constant(self):
        x = ag.input("x", (2,))
        w = ag.parameter("w", np.ones(2))
        graph = ag.Graph([x], {"y": (x * w).sum()})
        w.value = np.array([np.nan, 1.0])
        found = finding(graph.run, x=np.ones(2))
        assert (found.source, found.path) == ("parameter", "w")
        found = finding(lambda: w * 2.0)
        assert (found.source, found.path) == ("parameter", "'w' of op 'multiply'")
        w.value = np.ones(2)
        with ag.check_finite():
            graph.run(x=np.ones(2))
        masked = graph_of(lambda x: ag.where(x > 0, x, np.array([1.0, np.nan])), 1.0, 2.0)
        assert finding(masked.run, x=np.ones(2)).source == "constant"

    def test_tensor_seed_and_value(self):
        found = finding(lambda: ag.tensor([1.0, np.nan]) * 2.0)
        assert (found.source, found.path, found.row) == ("input", "0 of op 'multiply'", 1)
        y = leaf(1.0, 2.0) * 2.0
        found = finding(lambda: y.backward(np.array([1.0, np.nan])))
        assert (found.source, found.row) == ("seed", 1)
        x = leaf(1.0, np.nan).named("x")
        unchecked = (x * x).sum()
        found = finding(lambda: unchecked.backward())
        assert (found.source, found.path) == (
            "value",
            "'x' of op 'multiply', which is differentiated",
        )

    def test_input_of_a_loop_on_tensors(self):
        xs = ag.tensor(np.full((3, 2), np.nan)).named("xs")
        found = finding(lambda: scan(lambda h, x: (h + x, h), ag.zeros(2), xs))
        assert (found.source, found.path) == ("input", "'xs' of loop 'scan'")
        assert "under check_finite() too" in str(found)


# The switch.


class TestSwitch:
    def test_off_nothing_is_called(self, monkeypatch):
        def fail(*args, **kwargs):
            raise RuntimeError("called though check_finite is off")

        for name in ("computed", "run_graph", "run_op", "cotangents"):
            monkeypatch.setattr(Check, name, fail)
        monkeypatch.setattr(reference, "screened", fail)
        run = looped(ag.sqrt)
        graph_of(run, 0.5, 0.5).grad(wrt=["x"]).run(x=np.full(2, 0.5))
        run(leaf(0.5, 0.5)).sum().backward()
        with ag.check_finite(), pytest.raises(RuntimeError, match="is off"):
            graph_of(run, 0.5, 0.5).run(x=np.full(2, 0.5))
        with ag.check_finite(), pytest.raises(RuntimeError, match="is off"):
            leaf(0.5) * 2.0

    @pytest.mark.reference_only("checked runs go by it, and bits are compared")
    def test_results_are_the_same(self):
        xs = np.random.default_rng(0).uniform(0.1, 1, size=(6, 4, 2))
        rnn = nn.RNN(2, 3, rng=0)
        x = ag.input("xs", xs.shape)
        graph = ag.Graph([x], {"y": ag.square(rnn(x)[0]).mean()}).grad()
        plain = graph.run(xs=xs)
        with ag.check_finite():
            checked = graph.run(xs=xs)
            paths = []
            watched = graph.run(xs=xs, watch=lambda path, value: paths.append(path))
        for key, value in plain.items():
            np.testing.assert_array_equal(value, checked[key])
            np.testing.assert_array_equal(value, watched[key])
        assert "rnn_l0[5].tanh_1" in paths

    def test_is_each_threads_own(self):
        results = {}
        entered, done = threading.Event(), threading.Event()

        def unchecked():
            entered.wait(10)
            with np.errstate(all="ignore"):
                results["other"] = ag.log(ag.tensor(-1.0)).item()
            done.set()

        thread = threading.Thread(target=unchecked)
        thread.start()
        with ag.check_finite():
            entered.set()
            done.wait(10)
            with pytest.raises(ag.NonFiniteError):
                ag.log(ag.tensor(-1.0))
        thread.join()
        assert np.isnan(results["other"])

    def test_is_each_tasks_own(self):
        async def checked(started):
            with ag.check_finite():
                started.set()
                await asyncio.sleep(0)
                return current_state().check is not None

        async def main():
            started = asyncio.Event()
            task = asyncio.create_task(checked(started))
            await started.wait()
            return current_state().check, await task

        assert asyncio.run(main()) == (None, True)

    def test_nests_and_decorates(self):
        @ag.check_finite()
        def run(x):
            return ag.log(ag.tensor(x))

        with pytest.raises(ag.NonFiniteError):
            run(-1.0)
        assert current_state().check is None
        with ag.check_finite():
            with ag.check_finite(), ag.no_grad(), pytest.raises(ag.NonFiniteError):
                ag.log(ag.tensor(-1.0))
            with pytest.raises(ag.NonFiniteError):
                ag.log(ag.tensor(-1.0))

    def test_an_error_leaves_everything_as_it_was(self):
        graph = graph_of(looped(ag.sqrt), 0.5, 0.5).grad(wrt=["x"])
        x = leaf(0.5, 0.0)
        before = (current_state(), np.geterr())
        with ag.check_finite():
            inside = (current_state(), np.geterr())
            for run in (lambda: graph.run(x=x), lambda: looped(ag.sqrt)(x).sum().backward()):
                with pytest.raises(ag.NonFiniteError):
                    run()
                assert (current_state(), np.geterr()) == inside
            assert x.grad is None
            assert np.isfinite(graph.run(x=np.full(2, 0.5))["grad_x"]).all()
        assert (current_state(), np.geterr()) == before

    @pytest.mark.parametrize("mode", ["warn", "raise", "ignore"])
    def test_under_any_setting_of_numpy(self, mode):
        graph = graph_of(looped(ag.log), 0.5, 0.5)
        with np.errstate(divide=mode, invalid=mode, over=mode):
            assert finding(graph.run, x=np.array([0.5, -1.0])).op == "log"
            assert finding(lambda: ag.log(ag.tensor(-1.0))).op == "log"
            assert finding(lambda: ag.sqrt(leaf(0.0)).sum().backward()).op == "sqrt"

    def test_underflow_stays_numpys(self):
        graph = graph_of(ag.exp, 0.5, 0.5)
        raising = pytest.raises(FloatingPointError, match="underflow")
        with ag.check_finite(), np.errstate(under="raise"), raising as raised:
            graph.run(x=np.full(2, -740.0))
        assert not isinstance(raised.value, ag.NonFiniteError)

    def test_ops_of_the_users_run_twice_only_where_something_is_found(self):
        calls = []

        @ag.custom_vjp
        def record(x):
            calls.append(1)
            return x * 2.0

        graph = graph_of(lambda x: ag.log(record(x)), 0.5, 0.5)
        calls.clear()
        with ag.check_finite():
            graph.run(x=np.ones(2))
        assert len(calls) == 1
        assert finding(graph.run, x=np.zeros(2)).path == "log_1"
        assert len(calls) == 3

    def test_an_op_that_handles_its_own_overflow_is_left_alone(self):
        @ag.custom_vjp
        def saturated(x):
            return np.minimum(np.exp(x), 1e9)

        graph = graph_of(looped(saturated), 0.5, 0.5)
        with ag.check_finite():
            assert np.isfinite(graph.run(x=np.full(2, 1e3))["y"])
            assert saturated(ag.tensor(1e3)).item() == 1e9

    def test_errors_of_the_users_are_theirs(self):
        @ag.custom_vjp
        def fail(x):
            if (x > 1.5).any():
                raise FloatingPointError("mine")
            return x * 1.0

        graph = graph_of(fail, 0.5, 0.5)
        with ag.check_finite(), pytest.raises(FloatingPointError, match="mine") as raised:
            graph.run(x=np.full(2, 2.0))
        assert not isinstance(raised.value, ag.NonFiniteError)


# What it says.


class TestMessages:
    def test_forward(self):
        values = np.array([0.5, -1.0])
        with ag.check_finite(), pytest.raises(ag.NonFiniteError) as raised:
            graph_of(looped(ag.log), 0.5, 0.5).run(x=values)
        with ag.check_finite(), pytest.raises(ag.NonFiniteError) as eager:
            looped(ag.log)(ag.tensor(values))
        text = str(raised.value)
        assert str(eager.value).partition("It was")[0] == text.partition("It was")[0]
        assert "outer[1].inner[1].log_1, row 1: the first value that is not finite" in text
        assert "forward, in op 'log': nan at index (1,) of float64[2] (1 nan among 2)" in text
        assert "from -1 to 0.5" in text
        assert "Hint: the logarithm of 0 is -inf" in text
        assert "(loop" not in str(eager.value)
        assert isinstance(raised.value, FloatingPointError)
        assert isinstance(raised.value, ag.LoopGradError)

    def test_backward(self):
        graph = graph_of(looped(ag.sqrt), 0.5, 0.5).grad(wrt=["x"])
        with ag.check_finite(), pytest.raises(ag.NonFiniteError) as raised:
            graph.run(x=np.array([0.5, 0.0]))
        text = str(raised.value)
        assert "outer[1].inner[1].sqrt_1, row 1: the first gradient that is not finite" in text
        assert "backward, in op 'sqrt', computed by outer_grad[1].inner_grad[1].divide_" in text
        assert "Hint: the slope of sqrt at 0 is infinite" in text

    def test_line_is_where_the_node_was_written(self):
        def model(x):
            y = ag.sqrt(x)  # this line
            return y.sum()

        line = model.__code__.co_firstlineno + 1
        x = ag.input("x", (2,))
        graph = ag.Graph([x], {"y": model(x)}).grad(wrt=["x"])
        assert finding(graph.run, x=np.array([1.0, -1.0])).line == (__file__, line)
        assert finding(graph.run, x=np.array([1.0, 0.0])).line == (__file__, line)
        assert finding(lambda: model(leaf(1.0, 0.0)).backward()).line == (__file__, line)

    @pytest.mark.parametrize(
        ("fn", "value", "hint"),
        [
            (lambda x: x @ x, 1e200, "scale them, take smaller steps, or compute in float64"),
            (ag.exp, 1e3, "or use logsumexp, softmax or sigmoid"),
            (lambda x: 1.0 / x, 0.0, "choose by where before dividing"),
            (ag.sqrt, -1.0, r"use sqrt\(maximum\(x, 0.0\)\)"),
            (lambda x: x**-1.5, 0.0, "keep the base in its domain"),
        ],
    )
    def test_hints(self, fn, value, hint):
        with ag.check_finite(), pytest.raises(ag.NonFiniteError, match=hint):
            fn(ag.tensor(np.full((2, 2), value)))
