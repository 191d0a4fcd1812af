"""Ports that go, what no step changes, and states stacked once: passes on what enters and leaves.

That nothing of this changes a result is checked for each graph here, and for all loop forms and
random programs in `test_rewrite_loop_laws.py`. That check must object to faults planted in it.
"""

import numpy as np
import pytest

import autograd as ag
from loops import LoopNode, scan
from loops.rewrite import history, invariants, trim_ports
from tests.rewriting import after, same_results
from tests.rewriting_loops import (
    MERGING,
    graph_of,
    inputs,
    loops_of,
    rewritten,
    rnn,
    text,
    why_not,
    written,
)


class TestTrimPorts:
    def test_what_nobody_reads(self):
        xs, h, w = inputs()
        with LoopNode("loop") as loop:
            x, _ = loop.each(xs), loop.each(xs * 2.0, "unread")
            a = loop.branch("a", h)
            b, c = loop.branch("b", h), loop.branch("c", h)
            loop.feed(a, ag.tanh(x + a))
            loop.feed(b, c @ w)
            loop.feed(c, b * x)
            loop.collect(b * 2.0)
            ys = loop.collect(a)
        graph = graph_of((xs, h, w), ys=ys)
        assert text(rewritten(graph, "trim_ports")) == written("""
            input xs: float64[4, 2]
            input h: float64[2]
            input w: float64[2, 2]
            loop = loop(h, xs) -> (float64[2], float64[4, 2]):
              state a: float64[2] <- h, then tanh_1
              each xs: float64[2] <- xs
              add_1 = add(xs, a): float64[2]
              tanh_1 = tanh(add_1): float64[2]
              final loop:a <- tanh_1
              stacked loop:a_2 <- a
            output ys = loop:a_2
        """)

    def test_the_number_of_steps_stays(self):
        """Of sequences that nobody reads, one that is there anyway is kept for its length."""
        xs, h, w = inputs()
        with LoopNode("loop") as loop:
            loop.each(xs * 2.0)
            loop.each(xs)
            a = loop.branch("a", h)
            loop.feed(a, a @ w)
        found = rewritten(graph_of((xs, h, w), a=loop.final(a)), "trim_ports")
        assert found["loop"].inputs[-1] is found.inputs["xs"]
        longer = found.resize(xs=(7, 2)).run(xs=np.ones((7, 2)), h=np.ones(2), w=np.eye(2) * 2.0)
        assert longer["a"].tolist() == [128.0, 128.0]

    def test_states_that_never_change(self):
        xs, h, _ = inputs()
        with LoopNode("loop") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            b, c = loop.branch("b", h * 2.0), loop.branch("c", h, lag=2)
            loop.feed(a, a * b + x * c)
            loop.feed(b, b)
            loop.feed(c, c)
        graph = graph_of((xs, h), a=loop.final(a), b=loop.final(b), c=loop.final(c))
        found = rewritten(graph, "trim_ports")
        attrs = found["loop"].attrs
        assert (attrs["shared"], attrs["states"], attrs["lags"]) == (1, 2, (1, 2))
        assert found.outputs["b"].op.name == "multiply"

    def test_slices_that_are_only_collected(self):
        xs, h, _ = inputs()
        with LoopNode("loop") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            loop.feed(a, a * x)
            ys = loop.collect(x)
        found = rewritten(graph_of((xs, h), ys=ys, a=loop.final(a)), "trim_ports")
        assert found.outputs["ys"] is found.inputs["xs"]

    def test_slices_that_a_loop_collects_until_it_stops(self):
        xs = inputs()[0]
        with LoopNode("loop") as loop:
            ys = loop.collect(loop.each(xs))
            loop.until(loop.index >= 1)
        found = rewritten(graph_of((xs,), ys=ys), "trim_ports")
        assert found.outputs["ys"] is not found.inputs["xs"]
        assert found.run(xs=np.ones((4, 2)))["ys"][:, 0].tolist() == [1.0, 1.0, 0.0, 0.0]

    def test_from_the_outside_in(self):
        """Nobody reads what the outer loop collects, so no inner one need collect it either."""
        xs, h, w = inputs()

        def inner(g, x):
            return scan(lambda k, v: (ag.tanh(k * v + x), ag.sin(k)), g, w, name="inner")

        last, _ = scan(inner, h, xs, name="outer")
        found = rewritten(graph_of((xs, h, w), last=last), "trim_ports")
        assert found.find(op="sin") == []
        assert len(found["outer.inner"].attrs["body"].outputs) == 1

    def test_and_back_from_the_inside_out(self):
        """No inner loop reads a weight any more, so the outer one need not bring it in."""
        xs, h, w = inputs()

        with LoopNode("outer") as outer:
            x, g = outer.each(xs), outer.branch("g", h)
            with LoopNode("inner", length=3) as loop:
                k, m = loop.branch("k", g), loop.branch("m", g)
                loop.feed(k, ag.tanh(k + x))
                loop.feed(m, m @ w)
            outer.feed(g, loop.final(k))
        graph = graph_of((xs, h, w), last=outer.final(g))
        found = rewritten(graph, "trim_ports")
        assert found.find(op="matmul") == []
        assert list(found["outer"].attrs["body"].inputs) == ["g", "xs"]

    def test_a_loop_of_which_nothing_is_left(self):
        xs, h, _ = inputs()
        with LoopNode("loop") as loop:
            x, a = loop.each(xs), loop.branch("a", h * 2.0)
            loop.feed(a, a)
            ys = loop.collect(x)
        found = rewritten(graph_of((xs, h), ys=ys, a=loop.final(a)), "trim_ports")
        assert loops_of(found) == []


class TestInvariants:
    def test_what_depends_on_shared_values_only(self):
        xs, h = ag.input("xs", (4, 3, 2)), ag.input("h", (3, 2))
        w, b, c = ag.input("w", (2, 2)), ag.input("b", (2,)), ag.input("c", (2,))
        last = scan(lambda a, x: (ag.tanh(x + a @ w.T + (b + c)), None), h, xs, name="rnn")[0]
        graph = graph_of((xs, h, w, b, c), last=last)
        assert text(rewritten(graph, "invariants", "trim_ports")) == written("""
            input xs: float64[4, 3, 2]
            input h: float64[3, 2]
            input w: float64[2, 2]
            input b: float64[2]
            input c: float64[2]
            swapaxes_1 = swapaxes(w) axis1=-2 axis2=-1: float64[2, 2]
            add_2 = add(b, c): float64[2]
            rnn = loop(swapaxes_1, add_2, h, xs) -> float64[3, 2]:
              shared swapaxes_1: float64[2, 2] <- swapaxes_1
              shared add_2: float64[2] <- add_2
              state h: float64[3, 2] <- h, then tanh_1
              each xs: float64[3, 2] <- xs
              matmul_1 = matmul(h, swapaxes_1): float64[3, 2]
              add_1 = add(xs, matmul_1): float64[3, 2]
              add_3 = add(add_1, add_2): float64[3, 2]
              tanh_1 = tanh(add_3): float64[3, 2]
              final rnn:h <- tanh_1
            output last = rnn:h
        """)

    def test_out_of_all_loops(self):
        xs, h, w = inputs()

        def outer(g, x):
            return scan(lambda k, v: (k * v + ag.exp(w)[0] * x, None), g, w, name="inner")[0], None

        last = scan(outer, h, xs, name="outer")[0]
        found = rewritten(graph_of((xs, h, w), last=last), "invariants")
        where = [path.split(".") for path, _, node in found.walk() if node.op.name == "multiply"]
        assert sorted(map(len, where)) == [2, 3]
        assert [node.op.name for node in found.nodes].count("exp") == 1

    def test_whole_loops(self):
        xs, h, w = inputs()

        def outer(g, x):
            power = scan(lambda k, v: (ag.tanh(k * v), None), w[0], w, name="inner")[0]
            return g * power + x, None

        last = scan(outer, h, xs, name="outer")[0]
        found = rewritten(graph_of((xs, h, w), last=last), "invariants")
        assert loops_of(found) == ["inner", "outer"]

    def test_functions_of_the_users_stay(self):
        xs, h, w = inputs()
        calls = []

        @ag.custom_vjp
        def doubled(v):
            calls.append(v)
            return v * 2.0

        last = scan(lambda a, x: (a * x + doubled(w)[0], None), h, xs)[0]
        found = after(graph_of((xs, h, w), last=last), "invariants")
        calls.clear()
        found.run(xs=np.ones((4, 2)), h=np.ones(2), w=np.eye(2))
        assert len(calls) == 4

    @pytest.mark.parametrize("unless", [True, False])
    def test_steps_that_may_not_be_taken_do_not_fail(self, unless):
        xs, h, w = inputs()
        with LoopNode("solving") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            loop.feed(a, ag.solve(w, a + x) + w.T[0] / w[0, 0])
            loop.until(a.sum() > 100.0, unless=w.sum() == 0.0 if unless else None)
        graph = graph_of((xs, h, w), a=loop.final(a))
        found = after(graph, "invariants")
        outside = {node.op.name for node in found.nodes}
        assert ("divide" in outside) is not unless
        assert "swapaxes" in outside
        given = {"xs": np.ones((4, 2)), "h": np.ones(2)}
        regular = {**given, "w": np.array([[2.0, 1.0], [0.0, 1.0]])}
        assert found.run(**regular)["a"].tolist() == graph.run(**regular)["a"].tolist()
        if unless:
            assert found.run(**given, w=np.zeros((2, 2)))["a"].tolist() == [1.0, 1.0]

    def test_no_step(self):
        xs, h, w = inputs(0)
        last = scan(lambda a, x: (a + x / w[0, 0] + 1.0 / w[1, 1], None), h, xs)[0]
        found = after(graph_of((xs, h, w), last=last), "invariants")
        assert found.run(xs=np.ones((0, 2)), h=np.ones(2), w=np.zeros((2, 2)))["last"][0] == 1.0


class TestHistory:
    def test_a_state_before_each_step(self):
        xs, h, w = inputs()
        with LoopNode("rnn") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            new = ag.tanh(x + a)
            loop.feed(a, new)
            was, hs = loop.collect(a), loop.collect(new)
        graph = graph_of((xs, h, w), was=was, hs=hs)
        assert text(rewritten(graph, "history")) == written("""
            input xs: float64[4, 2]
            input h: float64[2]
            input w: float64[2, 2]
            rnn = loop(h, xs) -> (float64[2], float64[4, 2]):
              state a: float64[2] <- h, then tanh_1
              each xs: float64[2] <- xs
              add_1 = add(xs, a): float64[2]
              tanh_1 = tanh(add_1): float64[2]
              final rnn:a <- tanh_1
              stacked rnn:out_1 <- tanh_1
            a_before = delays(rnn:out_1, h) lags=(1,) before=fill: float64[4, 2]
            output was = a_before:lag_1
            output hs = rnn:out_1
        """)

    @pytest.mark.parametrize("steps", [0, 1, 2, 7])
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("lag", [1, 2, 5])
    def test_lags_and_directions(self, steps, reverse, lag):
        xs, h, w = inputs(steps)
        rows = ag.input("rows", (lag, 2))
        with LoopNode("loop", reverse=reverse) as loop:
            x = loop.each(xs)
            a = loop.branch("a", lag=lag, history=rows) if lag > 1 else loop.branch("a", h)
            loop.feed(a, ag.tanh(x + a @ w))
            was = loop.collect(a)
        found = rewritten(graph_of((xs, h, w, rows), was=was), "history")
        assert found.outputs["was"].inputs[0].op.name == "delays"

    def test_states_fed_with_states_are_left(self):
        xs, h, _ = inputs()
        with LoopNode("swapping") as loop:
            x, a, b = loop.each(xs), loop.branch("a", h), loop.branch("b", h * 2.0)
            loop.feed(a, b)
            loop.feed(b, a)
            ys, zs = loop.collect(a), loop.collect(b * x)
        assert rewritten(graph_of((xs, h), ys=ys, zs=zs), "history").find(op="delays") == []

    def test_loops_that_stop(self):
        """Rows of steps that are not taken are zero: who reads them must find them so."""
        xs, h, _ = inputs(6)
        with LoopNode("until") as loop:
            x, a = loop.each(xs), loop.branch("a", h + 0.5)
            loop.feed(a, a * x + a * a)
            loop.until(loop.index >= 2)
            was = loop.collect(a)
        graph = graph_of((xs, h), was=was)
        assert rewritten(graph, "history").find(op="delays") == []
        assert "steps that do not run" in why_not(graph, "history")[0]
        loss = graph_of((xs, h), loss=loop.final(a).sum()).grad(wrt=["h"])
        assert len(rewritten(loss, *MERGING, "history").find(op="delays")) == 1
        both = graph_of((xs, h), loss=loop.final(a).sum(), was=was).grad(of="loss", wrt=["h"])
        assert rewritten(both, *MERGING, "history").find(op="delays") == []


@pytest.mark.reference_only("plans run the passes, too")
class TestFaultsAreNoticed:
    def noticed(self, graph, *names):
        with pytest.raises((AssertionError, ag.LoopGradError)):
            same_results(graph, after(graph, *names), 1)
        return True

    def test_dropping_states_that_only_states_read(self, monkeypatch):
        xs, h, _ = inputs()
        (a, _), _ = scan(lambda s, x: ((s[0] + s[1], s[1] * x), None), (h, h), xs)
        graph = graph_of((xs, h), a=a)
        right = trim_ports.drop_unread

        def forgetful(parts, read):
            for state in parts.states:
                state.after = state.port
            return right(parts, read)

        monkeypatch.setattr(trim_ports, "drop_unread", forgetful)
        assert self.noticed(graph, "trim_ports")

    def test_moving_out_what_a_state_changes(self, monkeypatch):
        xs, h, w = inputs()
        graph = graph_of((xs, h, w), last=rnn(xs, h, w)[0])
        right = invariants.move_out

        def careless(parts):
            parts.shared.append(parts.states[0])
            moved = right(parts)
            parts.shared.remove(parts.states[0])
            return moved

        monkeypatch.setattr(invariants, "move_out", careless)
        assert self.noticed(graph, "invariants")

    def test_histories_off_by_one(self, monkeypatch):
        xs, h, w = inputs()
        with LoopNode("loop") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            loop.feed(a, ag.tanh(x + a @ w))
            was = loop.collect(a)
        graph = graph_of((xs, h, w), was=was)
        right = history.delays

        def later(stack, init, lags, **sides):
            return right(stack, init, lags=tuple(lag + 1 for lag in lags), **sides)

        monkeypatch.setattr(history, "delays", later)
        assert self.noticed(graph, "history")
