"""Loops in loops: values, names by index path, gradients, and any depth."""

import numpy as np
import pytest

import autograd as ag
from loops import LoopNode
from tests.loop_reference import assert_same

X = np.array([[0.5, -0.25], [0.75, 0.1], [-0.3, 0.6], [0.2, 0.9]])
W = np.array([[0.3, -0.2], [0.7, 0.4]])


class TestNesting:
    def test_loop_of_squares_of_the_original(self):
        """Reference values of the first framework's chain: s <- sum of the squares, four times."""
        p = ag.parameter("p", np.ones((2, 2)))
        with LoopNode("first", length=1) as first:
            s = first.branch("s", 0.0)
            first.feed(s, s * 0.0 + (p * p).sum())
        with LoopNode("chain", length=3) as chain:
            s_k = chain.branch("s", first.final(s))
            new = s_k * s_k
            chain.feed(s_k, new)
            values = chain.collect(new)
        assert first.final(s).item() == 4.0
        assert_same(values, np.array([16.0, 256.0, 65536.0]))
        chain.final(s_k).backward()
        assert_same(p.grad, np.full((2, 2), 262144.0))
        p.value = p.value - 0.01 * p.grad.value
        assert_same(p, np.full((2, 2), -2620.44))

    def test_gradient_at_every_step_of_the_chain(self):
        s0 = ag.input("s0")
        with LoopNode("chain", length=3) as chain:
            s = chain.branch("s", s0)
            chain.feed(s, s * s)
            values = chain.collect(s)
        graph = ag.Graph(s0, {"values": values, "y": chain.final(s)})
        unrolled = graph.unroll()
        steps = [unrolled[f"chain[{t}].multiply_1"] for t in range(3)]
        grads = ag.grad(unrolled.outputs["y"], [unrolled.inputs["s0"], *steps[:2]])
        slopes = ag.Graph(unrolled.inputs, {str(i): g for i, g in enumerate(grads)}).run(s0=4.0)
        assert [float(slopes[str(i)]) for i in range(3)] == [131072.0, 16384.0, 512.0]

    def test_two_by_three_makes_six_nodes_and_64(self):
        """The original framework's names collided: it made 3 nodes and 8."""
        x = ag.input("x")
        with LoopNode("outer", length=2) as outer:
            a = outer.branch("a", x)
            with LoopNode("inner", length=3) as inner:
                b = inner.branch("b", a)
                inner.feed(b, (b * 2.0).named("double"))
            outer.feed(a, inner.final(b))
        graph = ag.Graph(x, {"y": outer.final(a)})
        unrolled = graph.unroll()
        assert graph.run(x=1.0)["y"] == unrolled.run(x=1.0)["y"] == 64.0
        doubles = unrolled.find("*double")
        assert len(doubles) == 6
        assert [unrolled.name_of(node) for node in doubles] == [
            f"outer[{i}].inner[{j}].double" for i in range(2) for j in range(3)
        ]
        seen = []
        graph.run(x=1.0, watch=lambda path, value: seen.append(path))
        assert [path for path in seen if path.endswith("double")] == [
            f"outer[{i}].inner[{j}].double" for i in range(2) for j in range(3)
        ]
        assert len(set(seen)) == len(seen)

    @pytest.mark.parametrize("lengths", [(0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (2, 3, 2)])
    def test_three_levels_with_every_port(self, lengths):
        a, b, c = lengths

        def loss(xs, h0, w):
            with LoopNode("one") as one:
                plane, f = one.each(xs), one.branch("f", h0)
                with LoopNode("two", reverse=True) as two:
                    row, g = two.each(plane), two.branch("g", f)
                    with LoopNode("three") as three:
                        x, h = three.each(row), three.branch("h", g)
                        three.feed(h, ag.tanh(h @ w + x * f))
                        hs = three.collect(h)
                    two.feed(g, three.final(h) * 0.9)
                    sums = two.collect(hs.sum())
                one.feed(f, two.final(g) + 0.1)
                total = one.collect(sums.sum())
            return (total * total).sum() + one.final(f).sum()

        xs = np.linspace(-1, 1, a * b * c).reshape(a, b, c)
        ag.check_grad(loss, (xs, X[0], W), order=2)

    @pytest.mark.parametrize(("levels", "run_gradient"), [(1000, False), (150, True)])
    def test_deep_nesting_under_a_low_recursion_limit(self, run_python, levels, run_gradient):
        done = run_python(
            "-c",
            f"""
import sys
import autograd as ag
from loops import LoopNode
x, w = ag.input("x"), ag.parameter("w", 0.5)
sys.setrecursionlimit(120)
h, opened = x, []
for i in range({levels}):
    loop = LoopNode(f"l{{i}}", length=1)
    loop.__enter__()
    opened.append((loop, loop.branch("h", h)))
    h = opened[-1][1]
h = h * w
for loop, state in reversed(opened):
    loop.feed(state, h)
    loop.__exit__(None, None, None)
    h = loop.final(state)
graph = ag.Graph(x, {{"y": h}})
assert graph.run(x=3.0)["y"] == 1.5
gradient = graph.grad()
if {run_gradient}:
    assert gradient.run(x=3.0)["grad_w"] == 3.0
""",
        )
        assert done.returncode == 0, done.stderr
