"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp and stop_gradient."""

from collections import namedtuple

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError
from autograd.op import Op

X = np.random.default_rng(0).standard_normal((3, 4))
W = np.random.default_rng(1).standard_normal((4, 2))
V = np.random.default_rng(2).standard_normal(4)


def values(tree):
    """The arrays of a tree of tensors."""
    if isinstance(tree, dict):
        return {key: values(part) for key, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        parts = [values(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree.value


def quartic(x):
    return x * x * x * x


def leaf(value, dtype=None):
    return ag.tensor(value, dtype, requires_grad=True)


class TestClosedForms:
    def test_fourth_power(self):
        first = ag.grad(quartic)
        second = ag.grad(first)
        third = ag.grad(second)
        fourth = ag.grad(third)
        assert first(2.0).item() == 32.0
        assert second(2.0).item() == 48.0
        assert third(2.0).item() == 48.0
        assert fourth(2.0).item() == 24.0
        assert ag.grad(fourth)(2.0).item() == 0.0

    def test_tanh_to_order_four(self):
        y = np.tanh(0.3)
        expected = [
            1 - y**2,
            -2 * y * (1 - y**2),
            (6 * y**2 - 2) * (1 - y**2),
            (16 * y - 24 * y**3) * (1 - y**2),
        ]
        fn = ag.tanh
        for derivative in expected:
            fn = ag.grad(fn)
            assert fn(0.3).item() == pytest.approx(derivative, rel=1e-13)

    def test_product_and_quotient(self):
        gx, gy = ag.grad(lambda x, y: x * y / (x + y), (0, 1))(2.0, 3.0)
        assert gx.item() == pytest.approx(9 / 25, rel=1e-15)
        assert gy.item() == pytest.approx(4 / 25, rel=1e-15)

    def test_quadratic_form(self):
        a = X @ X.T
        g = ag.grad(lambda v: ag.matmul(v, ag.matmul(a, v)))(V[:3])
        assert np.allclose(g.value, (a + a.T) @ V[:3], rtol=1e-14)

    def test_jacobian_of_a_product(self):
        assert np.array_equal(ag.jacobian(lambda v: ag.matmul(X, v))(V).value, X)

    def test_jacobian_shapes(self):
        def fn(x):
            return ag.tanh(ag.matmul(x, W))

        jac = ag.jacobian(fn)(X).value
        assert jac.shape == (3, 2, 3, 4)
        slope = 1 - np.tanh(X @ W) ** 2
        assert np.allclose(jac, np.einsum("ij,kj,il->ijlk", slope, W, np.eye(3)), rtol=1e-12)

    def test_jacobian_of_an_empty_result(self):
        assert ag.jacobian(lambda x: x[:0])(V).shape == (0, 4)

    def test_hessian_of_a_quadratic_form(self):
        a = X @ X.T + np.triu(X @ X.T)
        hess = ag.hessian(lambda v: ag.matmul(v, ag.matmul(a, v)))(V[:3])
        assert np.allclose(hess.value, a + a.T, rtol=1e-14)

    def test_hvp_is_hessian_times_vector(self):
        def fn(v):
            return ag.sum(ag.tanh(v) * v)

        direction = np.arange(4.0)
        (product,) = ag.hvp(fn, (V,), (direction,))
        assert np.allclose(product.value, ag.hessian(fn)(V).value @ direction, rtol=1e-12)

    def test_hvp_of_two_arguments_has_the_mixed_terms(self):
        ha, hb = ag.hvp(lambda a, b: a * a * b, (2.0, 3.0), (5.0, 7.0))
        assert ha.item() == 2 * 3 * 5 + 2 * 2 * 7
        assert hb.item() == 2 * 2 * 5

    def test_jvp_is_jacobian_times_vector(self):
        y, tangent = ag.jvp(lambda x, w: ag.matmul(x, w), (X, W), (X * 2, W * 3))
        assert np.allclose(y.value, X @ W)
        assert np.allclose(tangent.value, 5 * (X @ W), rtol=1e-13)

    def test_jvp_of_a_tree(self):
        def fn(d):
            return {"sum": d["a"] + d["b"], "product": d["a"] * d["b"]}

        _, tangent = ag.jvp(fn, ({"a": 2.0, "b": 3.0},), ({"a": 1.0, "b": 10.0},))
        assert values(tangent) == {"sum": 11.0, "product": 23.0}

    def test_jvp_of_what_does_not_depend_on_the_argument(self):
        _, tangent = ag.jvp(lambda x: ag.tensor([1.0, 2.0]), (3.0,), (1.0,))
        assert np.array_equal(tangent.value, [0.0, 0.0])

    def test_vjp_of_a_tree_may_be_called_twice(self):
        result, pullback = ag.vjp(lambda a, b: {"p": a * b, "q": [a + b]}, 2.0, 3.0)
        assert values(result) == {"p": 6.0, "q": [5.0]}
        assert values(pullback({"p": 1.0, "q": [0.0]})) == (3.0, 2.0)
        assert values(pullback({"p": 0.0, "q": [10.0]})) == (10.0, 10.0)

    def test_forward_over_reverse_equals_reverse_over_reverse(self):
        def fn(v):
            return ag.sum(ag.tanh(v) * v * v)

        _, forward = ag.jvp(ag.grad(fn), (V,), (np.ones(4),))
        (reverse,) = ag.hvp(fn, (V,), (np.ones(4),))
        assert np.allclose(forward.value, reverse.value, rtol=1e-13)


class TestFanOut:
    """One value used several times: its gradients add."""

    def test_same_tensor_twice_in_one_op(self):
        assert ag.grad(lambda x: x * x)(3.0).item() == 6.0
        assert ag.grad(lambda x: x + x)(3.0).item() == 2.0
        assert ag.grad(lambda x: x - x)(3.0).item() == 0.0
        assert ag.grad(lambda x: x / x)(3.0).item() == 0.0
        g = ag.grad(lambda a: ag.sum(ag.matmul(a, a)))(X[:, :3])
        ones = np.ones((3, 3))
        assert np.allclose(g.value, ones @ X[:, :3].T + X[:, :3].T @ ones, rtol=1e-14)

    def test_same_leaf_twice_in_backward(self):
        x = leaf(3.0)
        (x * x + x).backward()
        assert x.grad.item() == 7.0

    def test_diamond(self):
        def diamond(x):
            a = x * 2.0
            return a * 3.0 + a * a

        assert ag.grad(diamond)(5.0).item() == 2 * 3 + 8 * 5.0

    def test_ladder_of_diamonds_doubles_at_each_step(self):
        def ladder(x):
            for _ in range(60):
                x = x + x
            return x

        assert ag.grad(ladder)(1.0).item() == 2.0**60

    def test_wide_fan_out(self):
        x = leaf(1.0)
        total = x * 0.0
        for i in range(200):
            total = total + x * float(i)
        total.backward()
        assert x.grad.item() == sum(range(200))

    def test_slices_of_one_array_and_the_array_itself(self):
        g = ag.grad(lambda v: ag.sum(v[:2] * 2.0) + ag.sum(v[1:] * 3.0) + ag.sum(v * v))(V)
        assert np.allclose(g.value, 2 * V + [2, 5, 3, 3], rtol=1e-14)

    def test_unused_output_of_several(self):
        def fn(x):
            first, _, third = ag.unstack(x)
            return ag.sum(first * third)

        g = ag.grad(fn)(X).value
        assert np.array_equal(g, np.stack([X[2], np.zeros(4), X[0]]))

    def test_one_output_of_several_used_twice(self):
        def fn(x):
            first, *_ = ag.unstack(x)
            return ag.sum(first * first)

        assert np.array_equal(ag.grad(fn)(X).value[0], 2 * X[0])

    def test_parameter_used_twice_is_the_sum_of_two_parameters(self):
        shared = ag.parameter("w", W)
        first, second = ag.parameter("a", W), ag.parameter("b", W)

        def fn(a, b):
            return ag.sum(ag.tanh(ag.matmul(X, a)) * ag.matmul(X, b))

        fn(shared, shared).backward()
        fn(first, second).backward()
        total = first.grad.value + second.grad.value
        assert np.allclose(shared.grad.value, total, rtol=1e-14)


class Scalar:
    """A naive engine: numbers, and the gradient as the sum over all paths, by recursion."""

    def __init__(self, value, parents=()):
        self.value = value
        self.parents = parents

    def derivative(self, x, known):
        if self is x:
            return 1.0
        if self not in known:
            known[self] = sum(slope * p.derivative(x, known) for p, slope in self.parents)
        return known[self]


ACTIONS = {
    "add": (lambda a, b: a + b, lambda a, b: Scalar(a.value + b.value, ((a, 1.0), (b, 1.0)))),
    "subtract": (
        lambda a, b: a - b,
        lambda a, b: Scalar(a.value - b.value, ((a, 1.0), (b, -1.0))),
    ),
    "multiply": (
        lambda a, b: a * b,
        lambda a, b: Scalar(a.value * b.value, ((a, b.value), (b, a.value))),
    ),
    "tanh": (
        lambda a, b: ag.tanh(a),
        lambda a, b: Scalar(np.tanh(a.value), ((a, 1 - np.tanh(a.value) ** 2),)),
    ),
    "negative": (lambda a, b: -a, lambda a, b: Scalar(-a.value, ((a, -1.0),))),
}


def random_graph(seed, nodes):
    """The same random graph twice: in tensors and in `Scalar`s; and the leaves of both."""
    random = np.random.default_rng(seed)
    start = random.uniform(-1, 1, size=3)
    ours = [leaf(x) for x in start]
    theirs = [Scalar(float(x)) for x in start]
    for _ in range(nodes):
        ours_fn, theirs_fn = ACTIONS[random.choice(list(ACTIONS))]
        i, j = random.integers(max(0, len(ours) - 12), len(ours), size=2)
        if random.random() < 0.2:
            j = i  # the same tensor twice
        a, b = ours_fn(ours[i], ours[j]), theirs_fn(theirs[i], theirs[j])
        if abs(b.value) > 10:
            a, b = ag.tanh(a), Scalar(np.tanh(b.value), ((b, 1 - np.tanh(b.value) ** 2),))
        ours.append(a)
        theirs.append(b)
    return ours, theirs


@pytest.mark.parametrize("seed", range(125))
def test_random_graphs_agree_with_a_naive_engine(seed):
    ours, theirs = random_graph(seed, 100)
    assert ours[-1].item() == pytest.approx(theirs[-1].value, rel=1e-12, abs=1e-12)
    ours[-1].backward()
    for mine, naive in zip(ours[:3], theirs[:3], strict=True):
        expected = theirs[-1].derivative(naive, {})
        found = 0.0 if mine.grad is None else mine.grad.item()
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


class TestPerturbationConfusion:
    """Inner and outer derivatives by the same name must not be mixed up (Siskind & Pearlmutter)."""

    def test_inner_derivative_of_a_function_of_the_outer_variable(self):
        inner = lambda x: ag.grad(lambda y: x + y)(1.0)  # noqa: E731
        assert ag.grad(lambda x: x * inner(x))(1.0).item() == 1.0

    def test_product_with_the_outer_variable(self):
        def outer(x):
            return x * ag.grad(lambda y: x * y)(2.0)

        assert ag.grad(outer)(3.0).item() == 6.0

    def test_forward_mode(self):
        def outer(x):
            _, inner = ag.jvp(lambda y: x + y, (1.0,), (1.0,))
            return x * inner

        assert ag.jvp(outer, (1.0,), (1.0,))[1].item() == 1.0

    def test_same_variable_inside_and_outside(self):
        def outer(x):
            return ag.grad(lambda y: y * y * x)(x)

        assert outer(3.0).item() == 18.0
        assert ag.grad(outer)(3.0).item() == 12.0

    def test_three_levels(self):
        def fn(x):
            return ag.grad(lambda y: ag.grad(lambda z: x * y * y * z * z * z)(y))(x)

        # d/dy 3 x y^4 = 12 x y^3, at y = x: 12 x^4
        assert fn(2.0).item() == 12 * 2.0**4
        assert ag.grad(fn)(2.0).item() == 48 * 2.0**3


class TestTrees:
    def test_dict_list_tuple(self):
        net = {"layers": [(W, V[:2]), (W.T, V)], "scale": 2.0}

        def loss(net, x):
            for w, b in net["layers"]:
                x = ag.tanh(ag.matmul(x, w) + b)
            return ag.sum(x) * net["scale"]

        g = ag.grad(loss)(net, X)
        assert list(g) == ["layers", "scale"]
        assert isinstance(g["layers"], list)
        assert isinstance(g["layers"][0], tuple)
        assert g["layers"][1][0].shape == (2, 4)
        assert ag.check_grad(loss, (net, X), order=1).error < 1e-9

    def test_namedtuple(self):
        point = namedtuple("point", "x y")
        g = ag.grad(lambda p: p.x * p.y)(point(2.0, 5.0))
        assert type(g) is point
        assert values(g) == point(5.0, 2.0)

    def test_empty_trees_and_unused_leaves(self):
        assert ag.grad(lambda p: ag.tensor(1.0))({}) == {}
        g = ag.grad(lambda p: p["a"] * 2.0)({"a": 1.0, "b": V})
        assert g["a"].item() == 2.0
        assert np.array_equal(g["b"].value, np.zeros(4))

    def test_argnums(self):
        fn = lambda a, b, c: a * b * c  # noqa: E731
        assert ag.grad(fn, 1)(2.0, 3.0, 5.0).item() == 10.0
        assert ag.grad(fn, -1)(2.0, 3.0, 5.0).item() == 6.0
        assert values(ag.grad(fn, (2, 0))(2.0, 3.0, 5.0)) == (6.0, 15.0)
        assert values(ag.grad(fn, (1,))(2.0, 3.0, 5.0)) == (10.0,)

    def test_keyword_arguments_are_passed_on(self):
        assert ag.grad(lambda x, *, k: x * k)(2.0, k=7.0).item() == 7.0

    def test_has_aux(self):
        def fn(x):
            return x * x, {"twice": x * 2.0, "note": "text"}

        g, aux = ag.grad(fn, has_aux=True)(3.0)
        assert (g.item(), aux["twice"].item(), aux["note"]) == (6.0, 6.0, "text")
        (value, aux), g = ag.value_and_grad(fn, has_aux=True)(3.0)
        assert (value.item(), g.item(), aux["note"]) == (9.0, 6.0, "text")

    def test_value_and_grad(self):
        value, (ga, gb) = ag.value_and_grad(lambda a, b: a * b, (0, 1))(2.0, 3.0)
        assert (value.item(), ga.item(), gb.item()) == (6.0, 3.0, 2.0)

    def test_kept_value_keeps_no_graph(self):
        value, g = ag.value_and_grad(quartic)(2.0)
        assert not value.tracked
        assert value.inputs == ()
        assert g.inputs == ()

    def test_arrays_numbers_nested_lists_and_tensors_are_taken(self):
        for x in (2.0, np.float64(2.0), np.array(2.0), ag.tensor(2.0), leaf(2.0)):
            assert ag.grad(quartic)(x).item() == 32.0
        assert values(ag.grad(lambda p: p[0] * p[1])([2.0, 3.0])) == [3.0, 2.0]


class TestNodes:
    """`grad(node, wrt)`: of a value already there, with respect to nodes."""

    def test_interior_node_and_its_ancestor_at_once(self):
        x = leaf(2.0)
        a = x * x
        y = a * x
        ga, gx = ag.grad(y, (a, x))
        assert ga.item() == 2.0
        assert gx.item() == 12.0

    def test_interior_node_alone(self):
        x = leaf(2.0)
        a = x * x
        assert ag.grad(a * a * x, a).item() == 2 * 4.0 * 2.0

    def test_with_respect_to_itself(self):
        y = leaf(2.0) * 3.0
        assert ag.grad(y, y).item() == 1.0

    def test_seed(self):
        x = leaf(V)
        assert np.array_equal(ag.grad(x * 2.0, x, seed=np.arange(4.0)).value, 2 * np.arange(4.0))

    def test_gradient_can_be_differentiated_again(self):
        x = leaf(2.0)
        first = ag.grad(quartic(x), x)
        second = ag.grad(first, x)
        assert (first.item(), second.item()) == (32.0, 48.0)

    def test_virtual_interior_node_and_its_ancestor_at_once(self):
        x = ag.input("x")
        a = x * x
        ga, gx = ag.grad(a * x, (a, x))
        found = ag.Graph([x], {"ga": ga, "gx": gx}).run(x=2.0)
        assert (found["ga"], found["gx"]) == (2.0, 12.0)

    def test_virtual_to_order_three(self):
        x = ag.input("x")
        g = quartic(x)
        for expected in (32.0, 48.0, 48.0):
            g = ag.grad(g, x)
            assert ag.Graph([x], {"g": g}).run(x=2.0)["g"] == expected

    def test_independent_node_has_gradient_zero(self):
        x, z = leaf(V), leaf(X)
        assert np.array_equal(ag.grad(ag.sum(x * x), z).value, np.zeros((3, 4)))

    def test_graph_grad_names_its_outputs(self):
        w = ag.parameter("w", W)
        x = ag.input("x", (3, 4))
        graph = ag.Graph([x], {"loss": ag.sum(ag.tanh(x @ w))}).grad()
        result = graph.run(x=X)
        expected = ag.grad(lambda w: ag.sum(ag.tanh(ag.matmul(X, w))))(W).value
        assert list(result) == ["loss", "grad_w"]
        assert np.allclose(result["grad_w"], expected, rtol=1e-14)


class TestUntied:
    """What comes out is tracked only if something of the caller's could ask for its gradient."""

    @pytest.mark.parametrize("derive", [ag.vjp, lambda f, x: ag.jvp(f, (x,), (np.ones(4),))])
    def test_value_is_an_ordinary_constant(self, derive):
        for y in derive(lambda x: (ag.tanh(x), {"twice": x * 2.0}), V)[0]:
            y = y["twice"] if isinstance(y, dict) else y
            assert not y.tracked
            assert np.asarray(y).shape == (4,)

    def test_tangent_is_an_ordinary_constant(self):
        assert_close = np.testing.assert_allclose
        assert_close(np.asarray(ag.jvp(ag.tanh, (V,), (V,))[1]), V * (1 - np.tanh(V) ** 2))

    def test_pullback_and_enclosing_gradient_go_on(self):
        _, pullback = ag.vjp(quartic, V)
        np.testing.assert_allclose(np.asarray(pullback(np.ones(4))[0]), 4 * V**3)
        w = leaf(2.0)
        y, tangent = ag.jvp(lambda x: x * w * w, (3.0,), (1.0,))
        (y + tangent).backward()
        assert w.grad.item() == 16.0


class TestHigherOrder:
    def test_closure_over_a_parameter(self):
        w = ag.parameter("w", 3.0)

        def penalty(x):
            g = ag.grad(lambda x: w * x * x)(x)  # 2 w x
            return g * g

        penalty_value = penalty(leaf(2.0))
        penalty_value.backward()
        assert penalty_value.item() == (2 * 3 * 2) ** 2
        assert w.grad.item() == 8 * 3 * 2**2  # d/dw 4 w^2 x^2

    def test_gradient_penalty_with_plain_arrays(self):
        w = ag.parameter("w", W)

        def fn(x):
            return ag.sum(ag.tanh(ag.matmul(x, w)))

        g = ag.grad(fn)(X)
        ag.sum(g * g).backward()

        def penalty(w):
            slope = 1 - np.tanh(X @ w) ** 2
            return np.sum((slope @ w.T) ** 2)

        step = 1e-5
        for index in [(0, 0), (3, 1)]:
            moved = np.zeros_like(W)
            moved[index] = step
            expected = (penalty(W + moved) - penalty(W - moved)) / (2 * step)
            assert w.grad.value[index] == pytest.approx(expected, rel=1e-7)

    def test_first_gradient_is_not_recorded_without_need(self):
        assert not ag.grad(quartic)(2.0).tracked
        assert not ag.grad(quartic)(ag.tensor(2.0)).tracked

    def test_gradient_is_recorded_where_something_outside_is_tracked(self):
        w = ag.parameter("w", 3.0)
        assert ag.grad(lambda x: w * x * x)(2.0).tracked
        assert ag.grad(quartic)(leaf(2.0) * 1.0).tracked

    def test_value_and_grad_inside_grad(self):
        def fn(x):
            value, g = ag.value_and_grad(quartic)(x)
            return value + g

        assert ag.grad(fn)(2.0).item() == 32.0 + 48.0

    def test_mixed_partial_derivatives(self):
        def fn(x, y):
            return x * x * y * y * y

        xy = ag.grad(ag.grad(fn, 0), 1)(2.0, 3.0)
        yx = ag.grad(ag.grad(fn, 1), 0)(2.0, 3.0)
        assert xy.item() == yx.item() == 2 * 2 * 3 * 9

    def test_all_rules_of_the_core_to_order_three(self):
        def fn(x, w, b):
            first, second = ag.unstack(ag.swapaxes(ag.matmul(x, w), 0, 1))
            y = ag.stack([ag.tanh(first) * second, first - second / (b * b + 2.0)], axis=1)
            return ag.reshape(y, (-1,))[1:5] * ag.mean(y) + ag.broadcast_to(b, (4,))

        assert ag.check_grad(fn, (X, W, 0.7), order=3).error < 1e-9

    def test_hessian_is_symmetric(self):
        h = ag.hessian(lambda v: ag.sum(ag.tanh(v)) * ag.sum(v * v))(V).value
        assert np.allclose(h, h.T, rtol=1e-13)


class TestDTypes:
    def test_float32_is_kept_to_second_order(self):
        x = X.astype("float32")

        def fn(x):
            return ag.mean(ag.tanh(x) * 2.0 + x / 3) * 0.5

        assert ag.grad(fn)(x).dtype == np.float32
        (product,) = ag.hvp(fn, (x,), (x,))
        assert product.dtype == np.float32
        assert ag.jacobian(lambda x: x * 2.0)(x[0]).dtype == np.float32

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_backward_keeps_the_dtype(self, dtype):
        x = leaf([1.0, 2.0], dtype)
        (x * x * np.float64(2)).sum().backward()
        assert x.grad.dtype == dtype

    def test_mixed_precision_gives_each_argument_its_own(self):
        a, b = leaf([1.0, 2.0], "float32"), leaf([3.0, 4.0], "float64")
        (a * b).sum().backward()
        assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)

    def test_no_float64_anywhere_in_a_float32_gradient(self):
        w = ag.parameter("w", W, "float32")
        x = ag.input("x", (3, 4), "float32")
        y = ag.tanh(x @ w) * 2.0 - 1
        graph = ag.Graph([x], {"loss": ag.mean(y * y / 3)}).grad(wrt=["w", "x"])
        wide = [path for path, _, node in graph.walk() if str(node.spec).startswith("float64")]
        assert wide == []

    def test_integers_are_carried_and_not_differentiated(self):
        n = np.array([1, 2, 3])
        assert np.array_equal(ag.grad(lambda x: ag.sum(x * n))(np.ones(3)).value, n)

    def test_cast_to_integer_and_back_passes_no_gradient(self):
        g = ag.grad(lambda x: ag.sum(x.astype("int64").astype("float64") * x))(np.array([1.5, 2.5]))
        assert np.array_equal(g.value, [1.0, 2.0])


class TestStopGradient:
    def test_is_a_constant(self):
        assert ag.grad(lambda x: x * ag.stop_gradient(x))(3.0).item() == 3.0
        assert ag.grad(lambda x: ag.stop_gradient(x * x) * 1.0)(3.0).item() == 0.0

    def test_in_a_drawn_graph(self):
        x = ag.input("x")
        y = x * ag.stop_gradient(x)
        assert ag.Graph([x], {"g": ag.grad(y, x)}).run(x=3.0)["g"] == 3.0

    def test_equals_the_problem_with_the_part_held_fixed(self):
        fixed = np.tanh(X @ W)

        def with_stop(w):
            h = ag.tanh(ag.matmul(X, w))
            return ag.sum(h * ag.stop_gradient(h))

        g = ag.grad(with_stop)(W).value
        assert np.array_equal(
            g, ag.grad(lambda w: ag.sum(ag.tanh(ag.matmul(X, w)) * fixed))(W).value
        )

    def test_second_order(self):
        def fn(x):
            return x * x * ag.stop_gradient(x)

        assert ag.grad(fn)(3.0).item() == 18.0
        assert ag.grad(ag.grad(fn))(3.0).item() == 6.0


class TestSilence:
    """Where there is no rule the error says so; a gradient is never silently zero."""

    def test_op_without_rules(self):
        class Mystery(Op):
            def forward(self, x):
                return x * 2

        with pytest.raises(GradientError, match="op 'mystery' has no gradient rule for input 0"):
            ag.grad(Mystery("mystery"))(2.0)

    def test_array_conversion_of_a_tracked_tensor(self):
        with pytest.raises(GradientError, match="would drop its gradient silently"):
            ag.grad(lambda x: np.asarray(x).sum())(V)

    def test_float_of_a_tracked_tensor_is_a_number(self):
        assert ag.grad(lambda x: x * float(x.value))(3.0).item() == 3.0
