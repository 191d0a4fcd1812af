"""Loops that become one, and what is there twice in a loop and then is there once.

That nothing of this changes a result is checked for each graph here, and for all loop forms and
random programs in `test_rewrite_loop_laws.py`. That check must object to faults planted in it.
"""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
from autograd.rewrite.cost import Machine
from autograd.scope import drawing
from loops import LoopNode, repeat, scan, switch, while_loop
from loops.rewrite import merge_loops, slices
from tests.rewriting import after, same_results
from tests.rewriting_loops import (
    ALL,
    MERGING,
    graph_of,
    inputs,
    loops_of,
    rewritten,
    rnn,
    stopping,
    text,
    why_not,
    written,
)
from tests.scale_probes import nest


def delayed(xs):
    with LoopNode("late") as loop:
        ys = loop.collect(loop.each(xs, lag=1, before=0.0) * 2.0)
    return ys


class TestMergeLoops:
    def test_loops_over_the_same_steps_become_one(self):
        xs, h, _ = inputs()
        with LoopNode("first") as first:
            x, a = first.each(xs), first.branch("a", h)
            first.feed(a, ag.tanh(x + a))
        with LoopNode("second") as second:
            x, b = second.each(xs, "x"), second.branch("b", h)
            second.feed(b, x * b)
            ys = second.collect(b, "y")
        graph = graph_of((xs, h), a=first.final(a), ys=ys)
        assert text(rewritten(graph, "merge_loops")) == written("""
            input xs: float64[4, 2]
            input h: float64[2]
            first = loop(h, h, xs) -> (float64[2], float64[2], float64[4, 2]):
              state a: float64[2] <- h, then tanh_1
              state b: float64[2] <- h, then multiply_1
              each xs: float64[2] <- xs
              add_1 = add(xs, a): float64[2]
              tanh_1 = tanh(add_1): float64[2]
              multiply_1 = multiply(xs, b): float64[2]
              final first:a <- tanh_1
              final first:b <- multiply_1
              stacked first:y <- b
            y = first:y: float64[4, 2]
            output a = first:a
            output ys = y
        """)

    def test_a_loop_and_the_one_that_saves_for_its_gradient(self):
        xs, h, w = inputs()
        last, hs = rnn(xs, h, w)
        graph = graph_of((xs, h, w), loss=(hs * hs).sum() + last.sum())
        graph = graph.grad(wrt=["w", "xs"])
        assert loops_of(graph) == ["rnn", "rnn_saved", "rnn_grad"]
        found = rewritten(graph, *MERGING)
        assert loops_of(found) == ["rnn", "rnn_grad"]
        body = found["rnn"].attrs["body"]
        assert [node.op.name for node in body.nodes if node.inputs] == ["matmul", "add", "tanh"]
        assert [*body.outputs.values()][:2] == [body["tanh_1"]] * 2
        assert len(body.outputs) == 3

    def test_loops_inside_merged_loops_become_one_too(self):
        xs, h, w = inputs()
        _, hs = scan(lambda g, x: (rnn(xs * x, g, w, "inner")[0],) * 2, h, xs, name="outer")
        graph = graph_of((xs, h, w), loss=(hs * hs).sum()).grad(wrt=["w", "h"])
        assert len(loops_of(graph)) > 6
        found = rewritten(graph, *ALL)
        assert loops_of(found) == ["outer", "outer.inner", "outer_grad", "outer_grad.inner_grad"]
        assert len(found.find(op="tanh")) == 1

    def test_layers_on_top_of_each_other_stay_apart(self):
        xs, h, w = inputs()
        zs = rnn(rnn(xs, h, w, "below")[1], h, w, "above")[1]
        assert loops_of(rewritten(graph_of((xs, h, w), zs=zs), *ALL)) == ["below", "above"]
        gradient = graph_of((xs, h, w), loss=(zs * zs).sum()).grad(wrt=["w"])
        assert loops_of(rewritten(gradient, *ALL)) == ["below", "above", "above_grad", "below_grad"]

    def test_directions_differ(self):
        xs, h, w = inputs()
        graph = graph_of((xs, h, w), a=rnn(xs, h, w)[0], b=rnn(xs, h, w, "back", True)[0])
        assert loops_of(rewritten(graph, "merge_loops")) == ["rnn", "back"]

    def test_numbers_of_steps_that_are_equal_by_chance(self):
        xs, h, w = inputs()
        ys = ag.input("ys", (4, 2))
        graph = graph_of((xs, ys, h, w), a=rnn(xs, h, w)[0], b=rnn(ys, h, w, "other")[0])
        found = rewritten(graph, "merge_loops")
        assert loops_of(found) == ["rnn", "other"]
        given = {"xs": np.ones((4, 2)), "ys": np.ones((6, 2)), "h": np.zeros(2), "w": np.eye(2)}
        longer = found.resize(ys=(6, 2)).run(**given)
        assert longer["b"][0] > longer["a"][0]

    @pytest.mark.parametrize(
        "other",
        [
            lambda xs: ag.sin(xs) * 2.0,
            lambda xs: scan(lambda n, x: (n, x * 3.0), np.zeros(2), xs, name="before")[1],
            delayed,
        ],
        ids=["elementwise", "of a loop", "delayed"],
    )
    def test_numbers_of_steps_that_follow_from_each_other(self, other):
        xs, h, w = inputs()
        graph = graph_of((xs, h, w), a=rnn(xs, h, w)[0], b=rnn(other(xs), h, w, "other")[0])
        found = rewritten(graph, "merge_loops")
        assert len(loops_of(found)) == len(loops_of(graph)) - 1

    def test_no_loop_waits_for_itself(self):
        """Of a and b over one length, c and d over another: b waits for d, and c for a."""
        xs, h, w = inputs()
        ys = ag.input("ys", (3, 2))
        a, d = rnn(xs, h, w, "a")[0], rnn(ys, h, w, "d")[0]
        c, b = rnn(ys, a, w, "c")[0], rnn(xs, d, w, "b")[0]
        graph = graph_of((xs, ys, h, w), b=b, c=c)
        assert len(loops_of(rewritten(graph, "merge_loops"))) == 3

    def test_rounds_wait_for_what_is_in_between(self):
        xs, h, w = inputs()
        a, hs = rnn(xs, h, w, "a")
        back = rnn(hs, h, w, "back", True)[0]
        b, c = rnn(xs, back, w, "b")[0], rnn(xs, back * 2.0, w, "c")[0]
        graph = graph_of((xs, h, w), a=a, b=b, c=c)
        assert loops_of(rewritten(graph, "merge_loops")) == ["a", "back", "b"]

    def test_a_fixed_number_of_steps(self):
        _, h, w = inputs()
        ends = []
        for name, length in (("a", 3), ("b", 3), ("c", 5)):
            with LoopNode(name, length=length) as loop:
                k = loop.branch("k", h)
                loop.feed(k, ag.tanh(k @ w + len(ends)))
            ends.append(loop.final(k))
        graph = graph_of((h, w), a=ends[0], b=ends[1], c=ends[2])
        assert sorted(loops_of(rewritten(graph, "merge_loops"))) == ["a", "c"]

    def test_one_body_of_two_loops(self):
        xs, h, w = inputs()
        a, x, v = ag.input("a", (2,)), ag.input("x", (2,)), ag.input("v", (2, 2))
        new = ag.tanh(x + a @ v)
        body = ag.Graph([v, a, x], {"a": new, "y": new * x})
        (one,), (ys,) = repeat(body, [w], [h], [xs])
        (two,), (zs,) = repeat(body, [w], [h * 2.0], [xs])
        graph = graph_of((xs, h, w), one=one, two=two, ys=ys, zs=zs)
        assert len(loops_of(rewritten(graph, "merge_loops"))) == 1

    def test_states_from_further_back(self):
        xs, h, w = inputs(5)
        ends = []
        for name, lag in (("a", 1), ("b", 2), ("c", 3)):
            with LoopNode(name) as loop:
                x, k = loop.each(xs), loop.branch("k", h, lag=lag)
                loop.feed(k, ag.tanh(k @ w + x))
            ends.append(loop.final(k))
        graph = graph_of((xs, h, w), a=ends[0], b=ends[1], c=ends[2])
        found = rewritten(graph, "merge_loops")
        assert loops_of(found) == ["a"]
        assert found["a"].attrs["lags"] == (1, 2, 3)

    def test_weights_that_do_not_fit_together(self):
        xs, h, w = inputs()
        v = ag.input("v", (2, 2))
        graph = graph_of((xs, h, w, v), a=rnn(xs, h, w)[0], b=rnn(xs, h, v, "other")[0])
        small, large = Machine(cache=90), Machine(cache=100)
        assert len(loops_of(rewritten(graph, "merge_loops", machine=large))) == 1
        assert len(loops_of(rewritten(graph, "merge_loops", machine=small))) == 2
        assert why_not(graph, "merge_loops", machine=small) == [
            "they have different inputs, which together are more than the cache holds"
        ]
        same = graph_of((xs, h, w), a=rnn(xs, h, w)[0], b=rnn(xs, h, w, "other")[1])
        assert len(loops_of(rewritten(same, "merge_loops", machine=small))) == 1


class TestMergeLoopsThatStop:
    def test_at_the_same_step(self):
        xs, h, w = inputs(6)
        one, two = stopping(xs, h, w, 1.2), stopping(xs, h, w, 1.2, "again")
        names = ("a", "as", "n")
        outputs = dict(zip(names, one, strict=True))
        outputs |= {name * 2: x for name, x in zip(names, two, strict=True)}
        found = rewritten(graph_of((xs, h, w), **outputs), "merge_loops")
        assert loops_of(found) == ["until"]
        assert list(found["until"].attrs["body"].outputs)[:2] == ["going", "steps"]

    def test_at_other_steps(self):
        xs, h, w = inputs(6)
        one, two = stopping(xs, h, w, 1.2), stopping(xs, h, w, 0.4, "early")
        graph = graph_of((xs, h, w), a=one[0], b=two[0], n=one[2], m=two[2])
        assert loops_of(rewritten(graph, "merge_loops")) == ["until", "early"]
        assert why_not(graph, "merge_loops") == ["it is not sure that they stop at the same step"]

    def test_gradients_of_loops_that_stop(self):
        xs, h, w = inputs(6)
        last, ys, _ = stopping(xs, h, w, 1.2)
        graph = graph_of((xs, h, w), loss=(ys * ys).sum() + last.sum()).grad(wrt=["w", "xs"])
        assert loops_of(graph) == ["until", "until_saved", "until_grad"]
        assert loops_of(rewritten(graph, *ALL)) == ["until", "until_grad"]

    def test_loops_that_only_their_data_stop(self):
        x, w = ag.input("x", (2,)), ag.input("w", ())
        end, _ = while_loop(lambda a: a.sum() < 30.0, lambda a: a * w, x)
        graph = graph_of((x, w), loss=(end * end).sum()).grad(wrt=["x", "w"])
        given = {"x": np.array([1.0, 2.0]), "w": np.array(1.7)}
        assert len(loops_of(graph)) == 3
        assert len(loops_of(rewritten(graph, *ALL, given=given))) == 2

    def test_counted_loops(self):
        """Gradients of two losses of one loop count the same steps."""
        xs, h, w = inputs(6)
        last, ys, _ = stopping(xs, h, w, 1.2)
        with drawing(None):
            one, two = ag.grad((ys * ys).sum(), w), ag.grad(last.sum(), w)
        graph = graph_of((xs, h, w), one=one, two=two)
        found = rewritten(graph, "cse", *ALL)
        assert [found[path].attrs.get("counted", False) for path in loops_of(found)] == [
            False,
            True,
        ]

    def test_ragged_loops(self):
        """Their bodies stay. But what the forward loop gives, the one that saves gives too."""
        xs, h = ag.input("xs", (4, 3, 2)), ag.input("h", (3, 2))

        def step(a, x):
            return ag.tanh(a + x), a * x

        last, ys = scan(step, h, xs, lengths=np.array([4, 2, 0]))
        graph = graph_of((xs, h), last=last, loss=(ys * ys).sum() + last.sum())
        first = graph.grad(of="loss", wrt=["h"])
        assert loops_of(first) == ["scan", "scan_saved", "scan_grad"]
        found = rewritten(first, *ALL)
        assert loops_of(found) == ["scan_saved", "scan_grad"]
        total = graph_of((xs, h), g=(first.outputs["grad_h"] ** 2.0).sum())
        second = total.grad(wrt=["h", "xs"])
        assert len(loops_of(rewritten(second, *ALL, order=1))) < len(loops_of(second))

    def test_other_ragged_loops(self):
        xs, h = ag.input("xs", (4, 3, 2)), ag.input("h", (3, 2))
        lengths = np.array([4, 2, 0])
        ends = [
            scan(lambda a, x, k=k: (ag.tanh(a + x * k), a), h, xs, lengths=lengths)[1]
            for k in (1.0, 2.0)
        ]
        graph = graph_of((xs, h), loss=(ends[0] * ends[1]).sum()).grad(wrt=["h"])
        found = rewritten(graph, *ALL, order=1)
        assert sum(name.startswith("scan") for name in loops_of(found)) == 4


class TestMergeStates:
    def test_states_that_start_alike_and_are_fed_alike(self):
        xs, h, w = inputs()
        with LoopNode("twins") as loop:
            x = loop.each(xs)
            a, b, c = loop.branch("a", h), loop.branch("b", h), loop.branch("c", h)
            loop.feed(a, ag.tanh(x + b))
            loop.feed(b, ag.tanh(x + a))
            loop.feed(c, ag.tanh(x - c))
            ys, zs = loop.collect(a * x), loop.collect(b * x)
        ends = {"a": loop.final(a), "b": loop.final(b), "c": loop.final(c)}
        graph = graph_of((xs, h, w), ys=ys, zs=zs, **ends)
        assert text(rewritten(graph, "merge_states")) == written("""
            input xs: float64[4, 2]
            input h: float64[2]
            input w: float64[2, 2]
            twins = loop(h, h, xs) -> (float64[2], float64[2], float64[4, 2]):
              state a: float64[2] <- h, then tanh_1
              state c: float64[2] <- h, then tanh_3
              each xs: float64[2] <- xs
              subtract_1 = subtract(xs, c): float64[2]
              tanh_3 = tanh(subtract_1): float64[2]
              multiply_1 = multiply(a, xs): float64[2]
              add_1 = add(xs, a): float64[2]
              tanh_1 = tanh(add_1): float64[2]
              final twins:a <- tanh_1
              final twins:c <- tanh_3
              stacked twins:out_0 <- multiply_1
            output ys = twins:out_0
            output zs = twins:out_0
            output a = twins:a
            output b = twins:a
            output c = twins:c
        """)

    @pytest.mark.parametrize("difference", ["start", "update", "lag", "what others read", None])
    def test_states_that_differ(self, difference):
        xs, h, _ = inputs(5)
        with LoopNode("pairs") as loop:
            x = loop.each(xs)
            a = loop.branch("a", h)
            start = h * 2.0 if difference == "start" else h
            b = loop.branch("b", start, lag=2 if difference == "lag" else 1)
            m, n = loop.branch("m", np.zeros(2)), loop.branch("n", np.zeros(2))
            loop.feed(m, m + x)
            loop.feed(n, n + (x * x if difference == "what others read" else x))
            loop.feed(a, ag.tanh(a + x) * m)
            loop.feed(b, ag.tanh(b + x * (2.0 if difference == "update" else 1.0)) * n)
        graph = graph_of((xs, h), a=loop.final(a), b=loop.final(b))
        found = rewritten(graph, "cse", "algebra", "merge_states")
        wanted = {None: 2, "what others read": 4}.get(difference, 3)
        assert found["pairs"].attrs["states"] == wanted

    def test_equal_constants_and_inputs(self):
        xs = inputs()[0]
        with LoopNode("sums") as loop:
            x, y = loop.each(xs), loop.each(xs, "again")
            a = loop.branch("a", np.zeros(2))
            b, c = loop.branch("b", np.zeros(2)), loop.branch("c", np.ones(2))
            for state, value in ((a, x), (b, y), (c, x)):
                loop.feed(state, state + value)
        graph = graph_of((xs,), a=loop.final(a), b=loop.final(b), c=loop.final(c))
        attrs = rewritten(graph, "merge_states")["sums"].attrs
        assert (attrs["states"], attrs["each"]) == (2, 1)

    def test_what_steers_a_loop_stays_in_front(self):
        xs = inputs(6)[0]
        with LoopNode("until") as loop:
            x, n = loop.each(xs), loop.branch("n", np.int64(0))
            loop.feed(n, n + 1)
            loop.until(loop.index + n > 4)
            ys = loop.collect(x * n)
        graph = graph_of((xs,), ys=ys, n=loop.final(n), steps=loop.steps)
        found = rewritten(graph, "merge_states")
        assert list(found["until"].attrs["body"].outputs)[:2] == ["going", "steps"]
        assert found["until"].attrs["states"] == 2

    def test_outputs_of_loops_inside_are_compared_one_by_one(self):
        """One inner loop collects more than the other; what both end with is the same."""
        xs, h, w = inputs()

        def inner(g, x, more):
            with LoopNode("inner") as loop:
                v, k = loop.each(w), loop.branch("k", g)
                loop.feed(k, ag.tanh(k * v + x))
                ks = loop.collect(k * v) if more else None
            return loop.final(k), ks

        with LoopNode("outer") as outer:
            x, a, b = outer.each(xs), outer.branch("a", h), outer.branch("b", h)
            (ends, _), (others, ks) = inner(a, x, False), inner(b, x, True)
            outer.feed(a, ends)
            outer.feed(b, others)
            out = outer.collect(ks)
        graph = graph_of((xs, h, w), a=outer.final(a), b=outer.final(b), out=out)
        assert rewritten(graph, "merge_states")["outer"].attrs["states"] == 1
        found = rewritten(graph, "merge_states", *MERGING)
        assert loops_of(found) == ["outer", "outer.inner"]
        assert len(found.find(op="tanh")) == 1

    def test_branches_with_equal_bodies(self):
        xs, h, w = inputs()

        def choice(a, x):
            return switch((x.sum() > 0).astype("int64"), [lambda v: v * w[0], ag.tanh], a + x)

        with LoopNode("choosing") as loop:
            x, a, b = loop.each(xs), loop.branch("a", h), loop.branch("b", h)
            loop.feed(a, choice(a, x))
            loop.feed(b, choice(b, x))
        graph = graph_of((xs, h, w), a=loop.final(a), b=loop.final(b))
        assert rewritten(graph, "merge_states")["choosing"].attrs["states"] == 1

    @given(
        st.lists(st.tuples(st.booleans(), st.booleans(), *[st.integers(0, 9)] * 2), min_size=1),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_as_many_as_differ(self, wiring, sliced):
        """Of random nets of states, those are one that no number of steps tells apart."""
        xs, h, _ = inputs(3)
        count = len(wiring)
        with LoopNode("net") as loop:
            x = loop.each(xs)
            ports = [loop.branch(f"s{i}", h if wiring[i][0] else np.ones(2)) for i in range(count)]
            for port, (_, add, a, b) in zip(ports, wiring, strict=True):
                left, right = ports[a % count], x if sliced and b == 9 else ports[b % count]
                loop.feed(port, (left + right) * 0.5 if add else ag.tanh(left - right))
        ends = {f"s{i}": loop.final(port) for i, port in enumerate(ports)}
        found = rewritten(graph_of((xs, h), **ends), "merge_states", order=0)
        labels = [start for start, *_ in wiring]
        for _ in range(count):
            labels = [
                (labels[i], add, labels[a % count], "x" if sliced and b == 9 else labels[b % count])
                for i, (_, add, a, b) in enumerate(wiring)
            ]
            numbers = {label: k for k, label in enumerate(dict.fromkeys(labels))}
            labels = [numbers[label] for label in labels]
        assert found["net"].attrs["states"] == len(set(labels))

    def test_functions_of_the_users_are_called_as_often_as_before(self):
        xs, h, _ = inputs()
        calls = []

        @ag.custom_vjp
        def half(v):
            calls.append(v)
            return v * 0.5

        with LoopNode("pairs") as loop:
            x, a, b = loop.each(xs), loop.branch("a", h), loop.branch("b", h)
            loop.feed(a, half(a + x))
            loop.feed(b, half(b + x))
        graph = graph_of((xs, h), a=loop.final(a), b=loop.final(b))
        found = after(graph, *ALL)
        calls.clear()
        values = found.run(xs=np.ones((4, 2)), h=np.ones(2))
        assert len(calls) == 8
        assert values["a"].tolist() == values["b"].tolist() == [1.0, 1.0]


@pytest.mark.reference_only("plans run the passes, too")
class TestFaultsAreNoticed:
    def noticed(self, graph, *names):
        with pytest.raises((AssertionError, ag.LoopGradError)):
            same_results(graph, after(graph, *names), 1)
        return True

    def test_merging_both_directions(self, monkeypatch):
        xs, h, w = inputs()
        graph = graph_of((xs, h, w), a=rnn(xs, h, w)[0], b=rnn(xs, h, w, "back", True)[0])
        right = merge_loops._way
        monkeypatch.setattr(merge_loops, "_way", lambda node: right(node)[1:])
        assert self.noticed(graph, "merge_loops")

    def test_merging_loops_that_stop_at_other_steps(self, monkeypatch):
        xs, h, w = inputs(6)
        one, two = stopping(xs, h, w, 1.2), stopping(xs, h, w, 0.4, "early")
        graph = graph_of((xs, h, w), a=one[0], b=two[0], n=one[2], m=two[2])
        monkeypatch.setattr(merge_loops, "_stop_together", lambda a, b: True)
        assert self.noticed(graph, "merge_loops")

    def test_merging_states_whatever_they_start_with(self, monkeypatch):
        xs, h, _ = inputs()
        with LoopNode("apart") as loop:
            x, a, b = loop.each(xs), loop.branch("a", h), loop.branch("b", h * 2.0)
            for state in (a, b):
                loop.feed(state, ag.tanh(state + x))
        graph = graph_of((xs, h), a=loop.final(a), b=loop.final(b))
        monkeypatch.setattr("loops.rewrite.equal.same_source", lambda node: "same")
        assert self.noticed(graph, "merge_states")

    def test_comparing_loops_without_what_they_are_given(self, monkeypatch):
        xs, h, w = inputs()

        def inner(start):
            return scan(lambda k, v: (k * v, None), start, w, name="inner")[0]

        (a, b), _ = scan(
            lambda s, x: ((s[0] + inner(s[0]) * x, s[1] + inner(s[1] * 2.0) * x), None), (h, h), xs
        )
        graph = graph_of((xs, h, w), a=a, b=b)
        same_results(graph, after(graph, "merge_states"), 1)
        right = slices._sliced
        monkeypatch.setattr(slices, "_sliced", lambda *xs: slices.Slice(right(*xs).digest, ()))
        assert self.noticed(graph, "merge_states")


def test_nests_need_no_recursion():
    x, w = ag.input("x", ()), ag.parameter("w", 1.5)
    limit = sys.getrecursionlimit()
    graph = ag.Graph([x], {"y": nest(x, w, 150)}).grad(wrt=["w", "x"])
    sys.setrecursionlimit(120)
    try:
        found = after(graph, *ALL)
    finally:
        sys.setrecursionlimit(limit)
    values = {name: float(y) for name, y in found.run(x=2.0).items()}
    assert values == {"y": 3.0, "grad_w": 2.0, "grad_x": 1.5}


def test_what_is_done_is_not_done_again():
    xs, h, w = inputs()
    last, hs = rnn(xs, h, w)
    graph = graph_of((xs, h, w), loss=(hs * hs).sum() + last.sum()).grad(wrt=["w", "xs"])
    assert str(after(graph, *ALL, *ALL)) == str(after(graph, *ALL))
