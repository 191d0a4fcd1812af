"""vmap equals a loop over examples: eager, drawn, nested, and in and around grad."""

import numpy as np
import pytest

import autograd as ag
from autograd import GraphError, ShapeError
from autograd.op import Op
from autograd.spec import Spec
from loops import LoopNode, scan

random = np.random.default_rng(0)
A = random.standard_normal((5, 3, 4))
B = random.standard_normal((4, 2))
C = random.standard_normal((5, 2))


def layer(a, b, c):
    return ag.tanh(ag.matmul(a, b) + c)


def looped(fn, axes, *args):
    """`fn` of each example, stacked: what vmap must equal."""
    size = next(x.shape[axis] for x, axis in zip(args, axes, strict=True) if axis is not None)
    rows = []
    for i in range(size):
        example = [
            x if axis is None else np.take(x, i, axis) for x, axis in zip(args, axes, strict=True)
        ]
        rows.append(fn(*map(ag.tensor, example)).value)
    return np.stack(rows)


CASES = [
    pytest.param(layer, (0, None, 0), (A, B, C), id="layer"),
    pytest.param(layer, (1, None, None), (A, B, C[0]), id="second axis"),
    pytest.param(layer, (-1, 0, None), (A.swapaxes(0, 2), A, B[:, 0]), id="two"),
    pytest.param(lambda v, w: ag.sum(v * w), (0, None), (B, B[0]), id="vectors"),
    pytest.param(lambda x, y: x * y - y / (x * x + 1.0), (0, 0), (C[0], C[1]), id="scalars"),
    pytest.param(lambda a, v: a + v, (0, 0), (A, A[:, 0]), id="ranks differ"),
    pytest.param(lambda a: ag.stack([a, a * 2.0], axis=1), (0,), (A,), id="stack"),
    pytest.param(lambda a: ag.unstack(a)[1] * ag.unstack(a)[2], (0,), (A,), id="unstack"),
    pytest.param(lambda a: ag.reshape(a, (2, -1))[1:, ::2], (0,), (A,), id="reshape and slice"),
    pytest.param(lambda a: ag.mean(a, axis=-1) + ag.sum(a), (0,), (A,), id="reductions"),
    pytest.param(lambda a: ag.broadcast_to(ag.sum(a), (2, 3)), (0,), (A,), id="broadcast"),
    pytest.param(lambda a: ag.swapaxes(a, 0, -1), (2,), (A,), id="swapaxes"),
    pytest.param(lambda a: a.astype("float32") * 2, (0,), (A,), id="astype"),
    pytest.param(lambda n, a: a * n, (0, None), (np.arange(4), A), id="integers"),
]


@pytest.mark.parametrize(("fn", "axes", "args"), CASES)
class TestEqualsALoop:
    def test_on_arrays(self, fn, axes, args):
        y = ag.vmap(fn, axes)(*args)
        expected = looped(fn, axes, *args)
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y.value, expected, rtol=1e-13, atol=1e-13)

    def test_on_virtual_nodes(self, fn, axes, args):
        graph = ag.trace(ag.vmap(fn, axes), *args)
        (y,) = graph.run(**dict(zip(graph.inputs, args, strict=True))).values()
        np.testing.assert_allclose(y, looped(fn, axes, *args), rtol=1e-13, atol=1e-13)

    def test_gradient_through_it(self, fn, axes, args):
        if args[0].dtype == float and "astype" not in fn.__code__.co_names:
            assert ag.check_grad(ag.vmap(fn, axes), args).error < 1e-7


class TestGradients:
    def test_one_gradient_an_example(self):
        def loss(w, x, y):
            error = ag.matmul(x, w) - y
            return ag.sum(error * error)

        x, y = random.standard_normal((6, 4)), random.standard_normal((6, 2))
        per_example = ag.vmap(ag.grad(loss), (None, 0, 0))(B, x, y).value
        assert per_example.shape == (6, 4, 2)
        expected = np.stack([np.outer(x[i], 2 * (x[i] @ B - y[i])) for i in range(6)])
        np.testing.assert_allclose(per_example, expected, rtol=1e-13)

    def test_value_and_grad_an_example(self):
        values, grads = ag.vmap(ag.value_and_grad(lambda x: x * x * x))(np.arange(4.0))
        assert np.array_equal(values.value, [0, 1, 8, 27])
        assert np.array_equal(grads.value, [0, 3, 12, 27])

    def test_second_derivatives_an_example(self):
        second = ag.vmap(ag.grad(ag.grad(lambda x: x * x * x * x)))
        assert np.array_equal(second(np.arange(3.0)).value, [0, 12, 48])

    def test_jacobian_of_rows_is_vmap_of_vjp(self):
        _, pullback = ag.vjp(lambda x: ag.tanh(ag.matmul(x, B)), A[0])
        basis = np.eye(6).reshape(6, 3, 2)
        (rows,) = ag.vmap(pullback)(basis)
        jac = ag.jacobian(lambda x: ag.tanh(ag.matmul(x, B)))(A[0])
        np.testing.assert_allclose(rows.value.reshape(3, 2, 3, 4), jac.value, rtol=1e-13)

    def test_inside_grad_with_a_captured_parameter(self):
        w = ag.parameter("w", B)
        ag.sum(ag.vmap(lambda a: ag.tanh(ag.matmul(a, w)))(A)).backward()
        expected = ag.grad(lambda w: ag.sum(ag.tanh(ag.matmul(A, w))))(B)
        np.testing.assert_allclose(w.grad.value, expected.value, rtol=1e-12)

    def test_grad_of_per_example_gradients(self):
        def norm(w):
            g = ag.vmap(ag.grad(lambda w, x: ag.sum(ag.tanh(ag.matmul(x, w)))), (None, 0))(w, A)
            return ag.sum(g * g)

        assert ag.check_grad(norm, (B,), order=2).error < 1e-8


class TestLoops:
    def rnn(self, xs, w):
        h, _ = scan(lambda h, x: (ag.tanh(ag.matmul(h, w) + x), None), ag.tensor(np.zeros(4)), xs)
        return ag.sum(h * h)

    def test_loop_inside_vmap(self):
        w = random.standard_normal((4, 4))
        y = ag.vmap(self.rnn, (0, None))(A, w).value
        np.testing.assert_allclose(y, looped(self.rnn, (0, None), A, w), rtol=1e-13)
        g = ag.vmap(ag.grad(self.rnn, 1), (0, None))(A, w).value
        np.testing.assert_allclose(g[3], ag.grad(self.rnn, 1)(A[3], w).value, rtol=1e-12)
        assert ag.check_grad(ag.vmap(self.rnn, (0, None)), (A, w)).error < 1e-8

    def test_vmap_inside_a_loop(self):
        x, k = ag.input("x", (5, 4)), ag.input("k", (4,))
        with LoopNode("loop", length=3) as loop:
            h = loop.branch("h", x)
            loop.feed(h, ag.vmap(lambda row: ag.tanh(row * k))(h))
        graph = ag.Graph([x, k], {"h": loop.final(h)})
        expected = A[:, 0]
        for _ in range(3):
            expected = np.tanh(expected * B[:, 0])
        np.testing.assert_allclose(graph.run(x=A[:, 0], k=B[:, 0])["h"], expected, rtol=1e-14)
        assert ag.check_grad(graph, (A[:, 0], B[:, 0])).error < 1e-8


class TestNesting:
    def test_outer_product(self):
        outer = ag.vmap(ag.vmap(lambda x, y: x * y, (None, 0)), (0, None))
        assert np.array_equal(
            outer(np.arange(3.0), np.arange(4.0)).value, np.outer(range(3), range(4))
        )

    def test_three_levels_with_axes(self):
        fn = ag.vmap(ag.vmap(ag.vmap(lambda x: x * x, 0, 0), 1, 1), 2, 0)
        np.testing.assert_array_equal(fn(A).value, np.moveaxis(A * A, 2, 0))

    def test_captures_an_example_of_the_outer_batch(self):
        def outer(x):
            return ag.vmap(lambda y: ag.tanh(x * y) + x)(C[0])

        expected = np.tanh(np.outer(C[1], C[0])) + C[1][:, None]
        np.testing.assert_allclose(ag.vmap(outer)(C[1]).value, expected, rtol=1e-14)

    def test_captured_virtual_node_outside(self):
        k = ag.input("k", (2,))
        x = ag.input("x", (5, 2))
        y = ag.vmap(lambda row: row * (k * 2.0))(x)
        found = ag.Graph([k, x], {"y": y}).run(k=C[0], x=C)["y"]
        np.testing.assert_allclose(found, C * C[0] * 2, rtol=1e-15)


class TestAxes:
    def test_out_axes(self):
        def fn(a):
            return a * 2.0

        for axis in (0, 1, 2, -1, -3):
            y = ag.vmap(fn, 0, axis)(A)
            np.testing.assert_array_equal(y.value, np.moveaxis(A * 2, 0, axis))

    def test_trees_of_arguments_and_results(self):
        def fn(d, x):
            return {"y": d["w"] * x, "pair": (x, d["b"])}

        mapped = ag.vmap(fn, ({"w": None, "b": 0}, 1), {"y": 0, "pair": (1, 0)})
        x, b = A[0], C[:4]  # x (3, 4): four examples of length 3
        y = mapped({"w": A[0, :, 0], "b": b}, x)
        np.testing.assert_array_equal(y["y"].value, (A[0, :, :1] * x).T)
        np.testing.assert_array_equal(y["pair"][0].value, x)
        np.testing.assert_array_equal(y["pair"][1].value, b)

    def test_result_that_all_examples_share_is_repeated(self):
        y = ag.vmap(lambda x: ag.tensor([1.0, 2.0]))(C)
        assert np.array_equal(y.value, np.tile([1.0, 2.0], (5, 1)))
        shared = ag.vmap(lambda x: (x, ag.tensor(7.0)), 0, (0, None))(C)[1]
        assert shared.item() == 7.0

    def test_argument_returned_as_it_is(self):
        np.testing.assert_array_equal(ag.vmap(lambda x: x, 1)(A).value, A.swapaxes(0, 1))

    def test_empty_batch(self):
        assert ag.vmap(lambda x: ag.sum(x * x))(np.zeros((0, 3))).shape == (0,)

    def test_batch_of_one(self):
        np.testing.assert_array_equal(ag.vmap(ag.tanh)(C[:1]).value, np.tanh(C[:1]))


class Doubled(Op):
    """An op that says nothing of batches."""

    vjps = (lambda g, y, x: g * 2.0,)

    def forward(self, x):
        return x * 2

    def infer(self, x):
        return x


class WrongBatch(Doubled):
    def batch(self, batched, x):
        return self(ag.sum(x, axis=0))


class TestErrors:
    def test_op_without_a_batch_rule_is_named_with_the_users_line(self):
        match = (
            r"vmap of doubled float64\[2\] \(.*test_vmap.py:\d+\): op 'doubled' has no batch rule"
        )
        with pytest.raises(GraphError, match=match):
            ag.vmap(lambda x: Doubled("doubled")(x))(C)

    def test_op_without_a_batch_rule_is_fine_on_what_is_not_batched(self):
        double = Doubled("doubled")
        y = ag.vmap(lambda x, k: x * double(k), (0, None))(C, C[0])
        np.testing.assert_array_equal(y.value, C * C[0] * 2)

    def test_wrong_batch_rule(self):
        match = (
            r"batch rule of op 'wrong' returned float64\[2\] for a batch of 5 values float64\[2\]"
        )
        with pytest.raises(ShapeError, match=match):
            ag.vmap(lambda x: WrongBatch("wrong")(x))(C)

    def test_number_of_in_axes(self):
        with pytest.raises(GraphError, match=r"in_axes has 2 entries.*called with 1 arguments"):
            ag.vmap(ag.tanh, (0, 0))(C)

    def test_structure_of_in_axes(self):
        with pytest.raises(
            GraphError, match=r"in_axes\[0\] has the structure .* but argument 0 has"
        ):
            ag.vmap(lambda d: d["a"], ({"b": 0},))({"a": C})

    def test_structure_of_out_axes(self):
        with pytest.raises(GraphError, match=r"out_axes has the structure .* but the result has"):
            ag.vmap(lambda x: (x, x), 0, (0, 0, 0))(C)

    def test_axis_that_does_not_exist(self):
        with pytest.raises(ShapeError, match=r"array 1 .* has no axis 2 to map over"):
            ag.vmap(lambda a, c: a, (0, 2))(A, C)

    def test_out_axis_that_does_not_exist(self):
        with pytest.raises(ShapeError, match="has 2 axes, so the batch axis cannot be at 2"):
            ag.vmap(ag.tanh, 0, 2)(C)

    def test_lengths_that_differ(self):
        with pytest.raises(ShapeError, match=r"equally long, but there are 5 in .*; 4 in"):
            ag.vmap(lambda a, b: a, (0, 0))(A, B)

    def test_nothing_to_map_over(self):
        with pytest.raises(GraphError, match="nothing to map over"):
            ag.vmap(ag.tanh, None)(C)

    def test_batched_result_without_an_out_axis(self):
        with pytest.raises(GraphError, match="out_axes is None for a result that differs"):
            ag.vmap(ag.tanh, 0, None)(C)

    def test_branching_on_a_value(self):
        with pytest.raises(GraphError, match=r"the truth value of .* virtual"):
            ag.vmap(lambda x: x if ag.sum(x) else x * 2.0)(C)


def test_drawing_leaves_no_trace_in_the_graph():
    x = ag.input("x", (5, 2))
    graph = ag.Graph([x], {"y": ag.vmap(lambda row: ag.tanh(row) * row)(x)})
    assert [node.op.name for node in graph.nodes] == ["input", "tanh", "multiply"]
    assert all(node.spec == Spec((5, 2), np.dtype("float64")) for node in graph.nodes)
