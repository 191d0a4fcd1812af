"""Planning gradients and batches of loops: drawn once, and kept for a few sizes only."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import autograd as ag
from autograd.grad import pull_back
from autograd.node import draw_input
from autograd.scope import Scope, drawing
from autograd.trampoline import trampoline
from loops import LoopNode, cond, gradient, scan, while_loop
from loops.pulled import positions, pulled
from loops.recent import MOST

THREADS = 8


def through_a_loop(x):
    with LoopNode("inner", length=2) as inner:
        h = inner.branch("h", x)
        inner.feed(h, ag.sin(h))
    return inner.final(h)


def through_a_branch(x):
    return cond(x > 0.5, ag.sin, ag.cos, x)


def chain(count, inside):
    """A loop of `count` states, each of which is fed by the one before."""

    def run(x):
        with LoopNode("chain", length=3) as loop:
            states = [loop.branch(f"s{i}", x + 0.1 * i) for i in range(count)]
            for state, before in zip(states, [states[0], *states], strict=False):
                loop.feed(state, inside(before))
        return loop.final(states[-1])

    return run


class TestDrawnOnce:
    @pytest.mark.parametrize("inside", [through_a_loop, through_a_branch])
    def test_a_chain_of_states_through_bodies(self, monkeypatch, inside):
        """State k carries a gradient k steps back; a drawing for each would make it quadratic."""
        drawn = []
        monkeypatch.setattr(
            gradient, "pull_back", lambda *args: drawn.append(1) or pull_back(*args)
        )
        count = 30
        graph = ag.trace(chain(count, inside), ()).grad(wrt=["x"])
        (node,) = [node for node in graph.nodes if node.name == "chain_grad"]
        assert node.attrs["states"] == count
        assert len(drawn) == (1 + count if inside is through_a_loop else 1)  # each body once

    def test_what_is_not_foreseen_is_found_while_drawing(self, monkeypatch):
        def nothing(body):
            yield from ()
            return [0] * len(body.outputs)

        want = ag.trace(chain(4, through_a_loop), ()).grad(wrt=["x"]).run(x=0.4)
        monkeypatch.setattr(gradient, "pulled", nothing)
        got = ag.trace(chain(4, through_a_loop), ()).grad(wrt=["x"]).run(x=0.4)
        assert got == want

    @pytest.mark.parametrize("inside", [through_a_loop, through_a_branch])
    def test_its_gradient(self, inside):
        ag.check_grad(chain(4, inside), (np.array(0.4),), order=2)


def crossing(a, b, c):
    """Of two states inside, one feeds the other, and a third one only reads integers of it."""
    with LoopNode("outer", length=3) as outer:
        p, q, r = (outer.branch(name, x) for name, x in zip("pqr", (a, b, c), strict=True))
        with LoopNode("inner", length=2) as inner:
            s, t = inner.branch("s", p), inner.branch("t", ag.stop_gradient(r) + 1.0)
            inner.feed(s, ag.sin(t))
            inner.feed(t, t * q)
            seen = inner.collect(s)
        outer.feed(p, inner.final(s))
        outer.feed(q, q * 0.5)
        outer.feed(r, (r > 0.0).astype("float64") + ag.sum(seen))
    return [outer.final(x) for x in (p, q, r)]


def delayed(a, b):
    with LoopNode("late", length=6) as loop:
        h, g = loop.branch("h", a, lag=3), loop.branch("g", b)
        loop.feed(h, ag.sin(g))
        loop.feed(g, g + h)
        hs = loop.collect(h)
    return [ag.sum(hs), loop.final(g)]


def stopping(a, b):
    (h, g), _ = while_loop(
        lambda s: s[0] < 3.0, lambda s: (s[0] + 1.0, ag.sin(s[1]) * s[0]), (a, b)
    )
    return [h, g]


def choosing(a, b, c):
    return cond(c > 0.0, lambda a, b: (a * b, b), lambda a, b: (b, ag.stop_gradient(a) + b), a, b)


def found_by_drawing(body):
    """Return for each output of a body the positions of the inputs that get a gradient of it."""
    found = []
    for k in range(len(body.outputs)):
        scope = Scope("body", None)
        with drawing(scope):
            inputs = [draw_input(name, x.spec, scope) for name, x in body.inputs.items()]
            output = body.inline(inputs)[k]
            seed = draw_input("seed", output.spec, scope)
            grads, _ = trampoline(pull_back([output], [seed], inputs, True))
        found.append([i for i, g in enumerate(grads) if g is not None])
    return found


@pytest.mark.parametrize(
    ("program", "count"), [(crossing, 3), (delayed, 2), (stopping, 2), (choosing, 3)]
)
@pytest.mark.parametrize("order", [0, 1])
def test_what_is_foreseen_is_what_is_drawn(program, count, order):
    graph = ag.trace(program, *[()] * count)
    bodies = [graph]
    if order:
        bodies = [graph.grad(of, wrt=list(graph.inputs)[:2]) for of in graph.outputs]
        bodies += [
            graph.grad(of, wrt=list(graph.inputs)[:2], checkpoints=2) for of in graph.outputs
        ]
    for body in bodies:
        foreseen = [list(positions(bits)) for bits in trampoline(pulled(body))]
        drawn = found_by_drawing(body)
        if body.find(op="branch") or body.find(op="replay"):  # these also hand out zeros
            assert all(set(a) <= set(b) for a, b in zip(foreseen, drawn, strict=True))
            assert any(foreseen)
        else:
            assert foreseen == drawn


def kept(body):
    """Return how many entries are kept with a body, for whatever sizes."""
    return sum(len(x) if isinstance(x, dict) else 1 for x in body._cache.values())


def the_loop(graph, name):
    (node,) = [node for node in graph.nodes if node.name == name]
    return node.bodies[0]


def summed(x, w):
    last, _ = scan(lambda h, w: (ag.tanh(h + w), None), x, w, name="summed")
    return last


def halved(x, limit):
    """Each example stops at a step of its own."""
    last, _ = while_loop(lambda h: h > limit, lambda h: h * 0.5, x, name="halved")
    return last


class TestSizesComeAndGo:
    @pytest.mark.parametrize(
        ("program", "rest", "name"),
        [(summed, np.array([0.1, 0.2]), "summed"), (halved, np.array(0.3), "halved")],
    )
    def test_vmap_of_one_body_by_fifty_sizes(self, program, rest, name):
        graph = ag.trace(program, (), rest)
        body = the_loop(graph, name)

        def run(x):
            return graph.inline([x, ag.tensor(rest)])[0]

        counts = []
        for size in [*range(1, 51), 1]:
            x = np.linspace(0.5, 4.0, size)
            got = ag.vmap(run)(x).value
            np.testing.assert_array_equal(got, [program(one, rest).value for one in x])
            counts.append(kept(body))
        assert max(counts) == counts[MOST - 1] == counts[-1]
        assert counts[0] < counts[1]

    def test_gradients_within_fifty_budgets(self):
        def nested(x):
            with LoopNode("outer", length=20) as outer:
                h = outer.branch("h", x)
                with LoopNode("inner", length=20) as inner:
                    s = inner.branch("s", h)
                    inner.feed(s, 0.9 * s + 0.1 * ag.sin(s))
                outer.feed(h, inner.final(s))
            return ag.sum(outer.final(h))

        x = np.linspace(0.1, 0.9, 50)
        graph = ag.trace(nested, x)
        body = the_loop(graph, "outer")
        free = graph.grad(wrt=["x"]).run(x=x)["grad_x"]
        counts = []
        for number in range(50):
            within = graph.grad(wrt=["x"], memory=100_000 + 1000 * number)
            if number % 10 == 0:
                np.testing.assert_array_equal(within.run(x=x)["grad_x"], free)
            counts.append(kept(body))
        assert max(counts[25:]) <= max(counts[:25])
        assert [len(x) for x in body._cache.values() if isinstance(x, dict)] == [MOST]

    def test_threads_share_one_body(self):
        graph = ag.trace(summed, (), np.array([0.1, 0.2]))
        rest = np.array([0.1, 0.2])

        def work(start):
            gate.wait(timeout=30)
            results = []
            for size in range(1, 25):
                x = np.linspace(0.5, 4.0, (start * 5 + size) % 24 + 1)
                y = ag.vmap(lambda x: graph.inline([x, ag.tensor(rest)])[0])(x)
                results.append(y.value.tobytes() == summed(x, rest).value.tobytes())
            return all(results)

        gate = threading.Barrier(THREADS)
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                assert all(pool.map(work, range(THREADS)))
        finally:
            sys.setswitchinterval(before)
        sizes = [x for x in the_loop(graph, "summed")._cache.values() if isinstance(x, dict)]
        assert [len(x) for x in sizes] == [MOST]


@pytest.mark.reference_only("bits of different graphs")
def test_a_loop_in_a_branch_goes_by_each_budget_anew():
    """The gradient of a branch was kept without its budget: the first one asked for held."""

    def run(x):
        return ag.sum(cond(ag.sum(x) > 0.0, long, lambda v: v, x))

    def long(v):
        with LoopNode("long", length=200) as loop:
            h = loop.branch("h", v)
            loop.feed(h, ag.sin(ag.tanh(h)))
        return loop.final(h)

    x = np.linspace(0.1, 0.9, 500)
    graph = ag.trace(run, x)
    free = graph.grad(wrt=["x"])
    within = graph.grad(wrt=["x"], memory="100KB")
    again = graph.grad(wrt=["x"])
    assert [len(graph.find(op="replay")) for graph in (free, within, again)] == [0, 1, 0]
    np.testing.assert_array_equal(within.run(x=x)["grad_x"], free.run(x=x)["grad_x"])
