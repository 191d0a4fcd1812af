"""The checker passes right gradients and objects to every planted fault, naming the argument."""

import sys

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError
from autograd.check import check_grad
from autograd.op import Op
from autograd.ops.elementwise import Elementwise
from autograd.ops.products import MatMul
from loops import LoopNode

X = np.random.default_rng(0).standard_normal((3, 3))
Y = np.random.default_rng(1).standard_normal((3, 3))


def unary(forward, rule):
    return Elementwise("planted", forward, (rule,))


def binary(forward, left, right):
    return Elementwise("planted", forward, (left, right))


class TestRightGradients:
    def test_every_order_and_mode_is_reported(self):
        report = check_grad(lambda x, w, b: ag.tanh(x @ w + b), (X, Y, X[0]), order=3)
        found = {(d.order, d.mode, d.argument) for d in report.derivatives}
        names = ("args[0]", "args[1]", "args[2]")
        assert found == {(k, m, n) for k in (1, 2, 3) for m in ("vjp", "jvp") for n in names}
        assert report.error == report.worst.error < 1e-11
        assert max(report.errors().values()) == report.error
        assert "order 3  jvp  args[2]" in str(report)

    def test_tolerances_are_estimates_and_not_loose(self):
        report = check_grad(lambda x: ag.tanh(x), (X,), order=2)
        assert all(0 < d.tolerance / d.scale < 1e-8 for d in report.derivatives)

    def test_same_seed_same_report(self):
        assert str(check_grad(ag.tanh, (X,))) == str(check_grad(ag.tanh, (X,)))
        assert str(check_grad(ag.tanh, (X,))) != str(check_grad(ag.tanh, (X,), seed=1))

    def test_trees_of_arguments_and_results(self):
        def fn(net, x):
            h = ag.tanh(x @ net["layers"][0])
            return {"h": h, "pair": (h @ net["layers"][1], net["b"] * 2.0)}

        report = check_grad(fn, ({"layers": [X, Y], "b": 1.5}, X))
        names = {d.argument for d in report.derivatives}
        assert names == {"args[0]['layers'][0]", "args[0]['layers'][1]", "args[0]['b']", "args[1]"}

    def test_float32_is_checked_in_float32(self):
        report = check_grad(lambda x, w: ag.tanh(x @ w), (X.astype("f4"), Y.astype("f4")))
        assert 1e-9 < report.error < 1e-4

    def test_integers_are_held_fixed(self):
        report = check_grad(lambda x, n: x * n, (X, np.arange(3)))
        assert {d.argument for d in report.derivatives} == {"args[0]"}

    def test_one_array_needs_no_tuple(self):
        assert check_grad(ag.tanh, X).error < 1e-12

    def test_small_numbers_and_empty_arrays(self):
        assert check_grad(lambda x: x * x * x, (X * 1e-9,)).error < 1e-9
        assert check_grad(lambda x, y: (x * x).sum() + y * y, (np.zeros((0, 2)), 2.0)).error < 1e-12

    def test_the_domain_may_end_nearby(self):
        log = unary(np.log, lambda g, y, x: g / x)
        assert check_grad(log, (np.array([0.01, 3.0]),), step=0.001).error < 1e-9


class TestGraphs:
    def test_inputs_and_parameters(self):
        w = ag.parameter("w", Y)
        x = ag.input("x", (3, 3))
        graph = ag.Graph([x], {"h": ag.tanh(x @ w), "s": (x * w).sum()})
        report = check_grad(graph, (X,), order=3)
        assert {d.argument for d in report.derivatives} == {"'x'", "'w'"}
        assert {d.order for d in report.derivatives} == {1, 2, 3}
        assert report.error < 1e-11
        assert np.array_equal(w.value, Y)

    def test_equal_to_the_eager_check(self):
        def fn(x, w):
            return ag.tanh(x @ w) * x

        drawn = check_grad(ag.trace(fn, X, Y), (X, Y))
        eager = check_grad(fn, (X, Y))
        for a, b in zip(drawn.derivatives, eager.derivatives, strict=True):
            assert a.computed == pytest.approx(b.computed, rel=1e-12)

    def test_integer_inputs_are_held_fixed(self):
        x, n = ag.input("x", (3,)), ag.input("n", (3,), "int64")
        report = check_grad(ag.Graph([x, n], {"y": x * x * n}), (X[0], np.arange(3)))
        assert {d.argument for d in report.derivatives} == {"'x'"}

    def test_planted_fault_names_input_and_output(self):
        wrong = unary(np.tanh, lambda g, y, x: (g - g * y * y) * 1.001)
        x, z = ag.input("x", (3, 3)), ag.input("z", (3, 3))
        graph = ag.Graph([x, z], {"right": x * z, "wrong": wrong(z)})
        with pytest.raises(
            GradientError, match="order 1 by 'z' is wrong\nby 'z', of output 'wrong'"
        ):
            check_grad(graph, (X, Y))

    def test_wrong_number_of_inputs(self):
        graph = ag.trace(lambda x, w: x @ w, X, Y)
        with pytest.raises(GradientError, match=r"takes 2 inputs \(x, w\).*was given 1"):
            check_grad(graph, (X,))

    def test_nothing_to_check(self):
        n = ag.input("n", (3,), "int64")
        graph = ag.Graph([n], {"y": n * 1.5})
        with pytest.raises(GradientError, match="no float input and no parameter"):
            check_grad(graph, (np.arange(3),))


class TestLoops:
    def graph(self, op, w):
        xs = ag.input("xs", (5, 3))
        with LoopNode("loop") as loop:
            x = loop.each(xs)
            h = loop.branch("h", ag.tensor(np.zeros(3)))
            loop.feed(h, op(ag.matmul(h, w) + x))
        return ag.Graph([xs], {"h": loop.final(h)})

    def test_to_order_two(self):
        report = check_grad(self.graph(ag.tanh, ag.parameter("w", Y)), (X[[0, 1, 2, 0, 1]],))
        assert {d.argument for d in report.derivatives} == {"'xs'", "'w'"}
        assert report.error < 1e-9

    def test_wrong_rule_in_the_body(self):
        with pytest.raises(GradientError, match="order 1 by 'xs', 'w' is wrong"):
            check_grad(self.graph(TANH, ag.parameter("w", Y)), (X[[0, 1, 2, 0, 1]],))

    def test_step_skipped_in_the_gradient(self):
        steps = iter(range(100))

        def skip_one(g, y):
            return np.zeros_like(g) if g.size and next(steps) == 3 else g * (1 - y * y)

        skipping = Elementwise("skip", skip_one, (None, None))
        graph = self.graph(unary(np.tanh, lambda g, y, x: skipping(g, y)), ag.parameter("w", Y))
        with pytest.raises(GradientError, match="order 1 by 'xs', 'w' is wrong"):
            check_grad(graph, (X[[0, 1, 2, 0, 1]],), order=1, modes=["vjp"])
        steps = iter(range(10, 10_000))
        check_grad(graph, (X[[0, 1, 2, 0, 1]],), order=1, modes=["vjp"])


TANH = unary(np.tanh, lambda g, y, x: (g - g * y * y) * 1.001)
SLIGHTLY = unary(np.tanh, lambda g, y, x: (g - g * y * y) * 1.00001)
FLIPPED = unary(np.tanh, lambda g, y, x: g + g * y * y)
NOTHING = unary(np.tanh, None)
INFINITE = unary(np.tanh, lambda g, y, x: g * np.inf)
SECOND_OF_TWO = binary(np.multiply, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a * 0.999)
SWAPPED = binary(np.multiply, lambda g, y, a, b: g * a, lambda g, y, a, b: g * b)


class TransposeSwapped(MatMul):
    def pull(self, needs, g, y, xs, attrs):
        a, b = xs
        return g @ b, ag.swapaxes(a, -1, -2) @ g


FIRST_ORDER = [
    pytest.param(TANH, (X,), r"args\[0\]", id="a thousandth too much"),
    pytest.param(SLIGHTLY, (X,), r"args\[0\]", id="a hundred-thousandth too much"),
    pytest.param(FLIPPED, (X,), r"args\[0\]", id="sign"),
    pytest.param(NOTHING, (X,), r"args\[0\]", id="silently constant"),
    pytest.param(SECOND_OF_TWO, (X, Y), r"args\[1\]", id="second argument"),
    pytest.param(SWAPPED, (X, Y), r"args\[0\], args\[1\]", id="arguments swapped"),
    pytest.param(TransposeSwapped("planted"), (X, Y), r"args\[0\]", id="transpose swapped"),
]


@pytest.mark.parametrize(("op", "args", "named"), FIRST_ORDER)
@pytest.mark.parametrize("drawn", [False, True], ids=["eager", "drawn"])
def test_wrong_first_order_rule(op, args, named, drawn):
    fn = ag.trace(lambda *xs: op(*xs), *args) if drawn else op
    if drawn:
        named = ", ".join(f"'{name}'" for name in fn.inputs if named.count(name[1:]))
    with pytest.raises(GradientError, match=f"order 1 by {named} is wrong"):
        check_grad(fn, args)


def test_wrong_in_float32_too():
    with pytest.raises(GradientError, match=r"order 1 by args\[0\] is wrong"):
        check_grad(TANH, (X.astype("float32"),))


def test_wrong_deep_inside_names_the_leaf_of_the_tree_and_the_result():
    def fn(net):
        return {
            "a": net["w"][0] * net["w"][1],
            "b": ag.mean(SECOND_OF_TWO(net["w"][0], net["w"][1])),
        }

    match = r"by args\[0\]\['w'\]\[1\], of the result\['b'\]\n"
    with pytest.raises(GradientError, match=match):
        check_grad(fn, ({"w": [X, Y]},))


def stop(x):
    return ag.stop_gradient(x)


SECOND_ORDER = [
    pytest.param(
        unary(np.tanh, lambda g, y, x: g - g * stop(y) * stop(y)), id="output taken as constant"
    ),
    pytest.param(
        unary(np.tanh, lambda g, y, x: g - g * np.square(getattr(y, "_value", y))),
        id="computed on arrays",
    ),
]


@pytest.mark.parametrize("op", SECOND_ORDER)
def test_wrong_second_order_rule(op):
    check_grad(op, (X,), order=1)
    match = r"order 2 by args\[0\] is wrong\nby args\[0\], of the gradient by args\[0\]"
    with pytest.raises(GradientError, match=match):
        check_grad(op, (X,))


def test_wrong_second_order_rule_names_both_arguments():
    op = binary(np.multiply, lambda g, y, a, b: g * stop(b), lambda g, y, a, b: g * a)
    match = r"order 2 by args\[1\] is wrong\nby args\[1\], of the gradient by args\[0\]"
    with pytest.raises(GradientError, match=match):
        check_grad(op, (X, Y), modes=["vjp"])


def test_wrong_third_order_rule():
    def rule(g, y, x):
        return CUBED_RULE(g, x)

    op = unary(lambda x: x**3, rule)
    check_grad(op, (X,), order=2)
    with pytest.raises(GradientError, match=r"order 3 by args\[0\] is wrong"):
        check_grad(op, (X,), order=3)


CUBED_RULE = binary(
    lambda g, x: g * x * x * 3,
    lambda h, y, g, x: h * x * x * 3,
    lambda h, y, g, x: h * g * stop(x) * 6,  # right once, but constant from here on
)


def test_forward_mode_catches_a_lost_cotangent():
    op = unary(np.tanh, lambda g, y, x: stop(g) * (1 - y * y))
    check_grad(op, (X,), order=1, modes=["vjp"])
    with pytest.raises(GradientError, match=r"order 1 by args\[0\] is wrong"):
        check_grad(op, (X,), order=1, modes=["jvp"])


class TestBroadcasting:
    def test_missing_un_broadcast_names_op_and_argument(self):
        op = binary(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g)
        op.broadcasts = False
        match = r"gradient by args\[1\] failed: .*rule of op 'planted' returned shape \(3, 3\)"
        with pytest.raises(GradientError, match=match):
            check_grad(op, (X, X[0]))

    def test_un_broadcast_of_the_right_shape_that_sums_nothing(self):
        op = binary(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g[0])
        with pytest.raises(GradientError, match=r"order 1 by args\[1\] is wrong"):
            check_grad(op, (X, X[0]))


def test_dropped_accumulation(monkeypatch):
    def fn(x, y):
        return x * x * y

    check_grad(fn, (X, Y))
    monkeypatch.setattr(sys.modules["autograd.grad"], "_add", lambda a, b: b)
    with pytest.raises(GradientError, match=r"order 1 by args\[0\] is wrong"):
        check_grad(fn, (X, Y))


class TestNothingCanBeSaid:
    def test_at_a_kink(self):
        bend = unary(np.abs, lambda g, y, x: g * np.sign(getattr(x, "_value", x)))
        check_grad(bend, (np.array([1.0, -2.0]),))
        with pytest.raises(GradientError, match=r"by args\[0\] fails(.|\n)*do not settle: a kink"):
            check_grad(bend, (np.array([1.0, 0.0]),))

    def test_at_a_jump(self):
        jump = unary(lambda x: np.where(x > 1, x, -x), lambda g, y, x: g)
        with pytest.raises(GradientError, match="do not settle"):
            check_grad(jump, (np.array([1.0, 0.5]),))

    def test_outside_the_domain(self):
        root = unary(np.sqrt, lambda g, y, x: g * 0.5 / y)
        with np.errstate(invalid="ignore"), pytest.raises(GradientError, match="is not finite"):
            check_grad(root, (np.array([-1.0]),))

    def test_infinite_gradient(self):
        with pytest.raises(GradientError, match="it is not finite"):
            check_grad(INFINITE, (X,), order=1, modes=["vjp"])


class TestMisuse:
    def test_no_float_argument(self):
        with pytest.raises(GradientError, match="no argument is of a float dtype"):
            check_grad(lambda n: n * 1.5, (np.arange(3),))

    def test_no_float_result(self):
        with pytest.raises(GradientError, match="the function returned no float array"):
            check_grad(lambda x: x.astype("int64"), (X,))

    def test_unknown_mode(self):
        with pytest.raises(GradientError, match="knows the modes 'vjp' and 'jvp', but not 'fwd'"):
            check_grad(ag.tanh, (X,), modes=["fwd"])

    def test_no_gradient_rule_is_reported_with_the_argument(self):
        class Silent(Op):
            def forward(self, x):
                return x * 2

        match = r"gradient by args\[0\] failed: op 'silent' has no gradient rule for input 0"
        with pytest.raises(GradientError, match=match):
            check_grad(Silent("silent"), (X,))


def test_inside_a_body():
    with LoopNode("loop") as loop:
        loop.collect(loop.each(np.ones(3)))
        report = ag.check_grad(ag.tanh, (np.ones(3),))
    assert report.derivatives
