"""Loops from functions: `scan`, and `repeat` for a body drawn once and used often."""

import numpy as np
import pytest

import autograd as ag
from autograd.node import OPS
from autograd.trace import trace
from loops import repeat, scan
from tests.loop_reference import assert_same, leaf, reference_loop

X = np.array([[0.5, -0.25], [0.75, 0.1], [-0.3, 0.6], [0.2, 0.9]])
W = np.array([[0.3, -0.2], [0.7, 0.4]])
T = len(X)


def rnn_by_hand(xs, h0, w, reverse=False):
    def step(states, slices):
        h = np.tanh(slices[0] + states[0] @ w)
        return [h], [h]

    (last,), rows = reference_loop(step, [h0], [xs], len(xs), reverse)
    return last, np.array([row[0] for row in rows]).reshape(len(xs), *h0.shape)


class TestScan:
    def test_trees_of_carries_slices_and_outputs(self):
        def cell(carry, x):
            h = ag.tanh(carry["h"] @ W + x[0] * x[1]["v"])
            return {"h": h, "n": carry["n"] + 1}, (h, {"n": carry["n"]})

        xs = (X, {"v": X[::-1].copy()})
        carry, (hs, counts) = scan(cell, {"h": X[0], "n": np.int64(0)}, xs)
        h, rows = X[0], []
        for t in range(T):
            h = np.tanh(h @ W + X[t] * X[T - 1 - t])
            rows.append(h)
        assert_same(carry["h"], h)
        assert_same(hs, np.array(rows))
        assert_same(carry["n"], np.int64(T))
        assert_same(counts["n"], np.arange(T))

    def test_reverse_none_and_length(self):
        last, nothing = scan(
            lambda h, x: (h * 2.0 + x, None), 1.0, np.arange(1.0, 4.0), reverse=True
        )
        assert nothing is None
        assert last.item() == ((1.0 * 2 + 3) * 2 + 2) * 2 + 1
        last, ys = scan(lambda h, x: (h * 2.0, h), 1.0, length=4)
        assert last.item() == 16.0
        assert_same(ys, np.array([1.0, 2.0, 4.0, 8.0]))

    def test_function_is_called_once_whatever_the_length(self):
        calls = []

        def cell(h, x):
            calls.append(x)
            return ag.tanh(h + x), h

        scan(cell, 0.0, np.ones(50))
        assert len(calls) == 1

    def test_gradient_of_trees(self):
        def loss(params, xs):
            def cell(carry, x):
                h = ag.tanh(carry[0] @ params["w"] + x + params["b"])
                return (h, carry[0]), None

            (h, before), _ = scan(cell, (params["h"], params["h"] * 2.0), xs)
            return (h * before).sum()

        ag.check_grad(loss, ({"w": W, "b": X[1], "h": X[0]}, X), order=2)

    def test_carry_without_slices_or_output(self):
        h = leaf(0.3)
        last, _ = scan(lambda h, x: (ag.tanh(h), None), h, length=3)
        last.backward()
        a = np.tanh(0.3)
        b = np.tanh(a)
        assert h.grad.item() == pytest.approx((1 - np.tanh(b) ** 2) * (1 - b * b) * (1 - a * a))

    def test_virtual_and_nested(self):
        xs = ag.input("xs", (3, T))
        _, ys = scan(
            lambda h, row: (h, scan(lambda g, x: (g + x, g), h, row)[1]), ag.parameter("h", 1.0), xs
        )
        graph = ag.Graph(xs, {"ys": ys})
        rows = np.arange(3.0 * T).reshape(3, T)
        wanted = 1.0 + np.cumsum(rows, axis=1) - rows
        assert_same(graph.run(xs=rows)["ys"], wanted)
        ag.check_grad(graph, (rows,), order=1)


class TestRepeat:
    def body(self):
        return trace(lambda w, h, x: [ag.tanh(x + h @ w), h], (2, 2), (2,), (2,), name="cell")

    @pytest.mark.parametrize("reverse", [False, True])
    def test_on_tensors_and_virtual_nodes(self, reverse):
        body = self.body()
        (last,), (before,) = repeat(body, [W], [X[0]], [X], reverse=reverse)
        wanted_last, hs = rnn_by_hand(X, X[0], W, reverse)
        assert_same(last, wanted_last)
        inputs = {
            "w": ag.input("w", (2, 2)),
            "h": ag.input("h", (2,)),
            "xs": ag.input("xs", (T, 2)),
        }
        (last,), (before,) = repeat(
            body, [inputs["w"]], [inputs["h"]], [inputs["xs"]], reverse=reverse
        )
        found = ag.Graph(inputs, {"last": last, "before": before}).run(w=W, h=X[0], xs=X)
        assert_same(found["last"], wanted_last)
        shifted = np.vstack([hs[1:], X[:1]]) if reverse else np.vstack([X[:1], hs[:-1]])
        assert_same(found["before"], shifted)

    def test_one_body_serves_several_loops_and_their_gradients(self):
        body = self.body()

        def loss(w, v, xs):
            (a,), (hs,) = repeat(body, [w], [np.zeros(2)], [xs])
            (b,), _ = repeat(body, [v], [a], [hs])
            return (b * b).sum()

        ag.check_grad(loss, (W, W.T.copy(), X), order=2)
        plans = len(body._cache)
        ag.grad(loss, (0, 1, 2))(W, W, X)
        assert len(body._cache) == plans  # differentiated once, used again

    def test_length_without_slices(self):
        body = trace(lambda h: h * 2.0, ())
        (last,), stacked = repeat(body, init=[1.0], length=5)
        assert (float(last), stacked) == (32.0, [])

    def test_body_with_parameters_is_refused(self):
        w = ag.parameter("w", 2.0)
        body = trace(lambda h: h * w, (), name="cell")
        with pytest.raises(ag.GraphError, match="'cell' given to repeat holds w itself"):
            repeat(body, init=[ag.tensor(1.0)], length=3)

    def test_counts_must_add_up(self):
        body = trace(lambda h: h * 2.0, (), name="cell")
        with pytest.raises(ag.GraphError, match=r"1 shared values, 1 states .* 1 inputs \(h\)"):
            repeat(body, shared=[1.0], init=[1.0], length=3)


BODY = trace(lambda w, h, x: [ag.tanh(x + h @ w), h], (2, 2), (2,), (2,), name="cell")
ATTRS = {"body": BODY, "shared": 1, "states": 1, "each": 1, "reverse": False, "length": None}
SHAPES = ((2, 2), (2,), (4, 2))


@pytest.mark.parametrize(
    ("changed", "shapes", "match"),
    [
        ({"shared": -1}, SHAPES, "counts its ports in whole numbers >= 0"),
        ({"reverse": 1}, SHAPES, "its reverse is a bool"),
        ({"body": 3}, SHAPES, "body of a loop must be a graph, but is int"),
        ({"states": 2}, SHAPES, "does not fit a body with 3 inputs"),
        ({"length": -1}, SHAPES, "length of a loop is a whole number from 0"),
        ({}, ((3, 3), (2,), (4, 2)), r"body expects 'w' to be float64\[2, 2\]"),
        ({}, ((2, 2), (2,), (4, 3)), r"must be float64\[T, 2\], but it is float64\[4, 3\]"),
        ({}, ((2, 2), (3,), (4, 2)), r"state 'h' enters the loop as float64\[3\]"),
        ({"each": 2, "states": 0}, ((2, 2), (3, 2), (4, 2)), "must have equally many steps"),
    ],
)
def test_the_op_checks_its_attrs(changed, shapes, match):
    """As reading a file would find them."""
    inputs = [ag.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    with pytest.raises(ag.GraphError, match=match):
        OPS["loop"](*inputs, **{**ATTRS, **changed})


def test_the_op_needs_a_length_where_nothing_gives_it():
    body = trace(lambda h: [h * 2.0], ())
    attrs = {"body": body, "shared": 0, "states": 1, "each": 0, "reverse": False, "length": None}
    with pytest.raises(ag.GraphError, match="without per-step inputs needs a length"):
        OPS["loop"](ag.input("h"), **attrs)
