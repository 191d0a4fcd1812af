"""Gradients within a memory budget: the same numbers, in the order of the schedule, as foretold.

Every form of loop of `test_unroll_law.py` is differentiated with few checkpoints, and must have the
same gradients: in the same bits, because the same ops run on the same numbers in the same order.
"""

import re
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import autograd as ag
from autograd.budget import BudgetError, parsed, shown
from loops import LoopNode, cond, memory_plan, scan
from loops import replay as replaying
from loops.checkpoints import binomial, forward_steps
from tests.loop_programs import data, programs
from tests.loop_reference import assert_same
from tests.test_loop_properties import drawn
from tests.test_unroll_law import (
    FORMS,
    Form,
    agree,
    expected,
    inputs_of,
    rnn,
    rolled,
    second_order,
)

RANDOM = np.random.default_rng(3)


def reloaded(graph):
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder) / "graph.json")
        return ag.Graph.load(Path(folder) / "graph.json")


def gradients(form, **limits):
    """Return the graph of the gradients of a form's loss with respect to everything."""
    graph = rolled(form)
    whole = graph.grad(of="loss", wrt=[*graph.inputs, *graph.parameters], **limits)
    outputs = {name: y for name, y in whole.outputs.items() if name.startswith("grad_")}
    return ag.Graph(graph.inputs, outputs, allow_unused=True)


def replays(graph):
    return [node for _, _, node in graph.walk() if node.op.name == "replay"]


class TestSameGradients:
    @pytest.mark.parametrize("checkpoints", [1, 2, 3, 20])
    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_of_every_form_in_the_same_bits(self, form, checkpoints):
        grads = gradients(form, checkpoints=checkpoints)
        values = grads.run(**inputs_of(form, grads))
        wanted = expected(form)[1]
        for name, value in wanted.items():
            assert_same(values[name], value)
        stateless = {"only_collected", "collected_constants"}
        assert bool(replays(grads)) == (form.draw.__name__ not in {"ragged", *stateless})

    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_differentiated_once_more(self, form):
        agree(form, second_order(form, gradients(form, checkpoints=2)), expected(form)[2])

    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_unrolled_copied_and_from_a_file(self, form):
        grads = gradients(form, checkpoints=2)
        wanted = expected(form)[1]
        for graph in (grads.unroll(), grads.unroll(factor=2), grads.copy(), reloaded(grads)):
            agree(form, graph.run(**inputs_of(form, graph)), wanted)
        assert str(reloaded(grads)) == str(grads)
        left = grads.unroll()
        assert not replays(left)

    @settings(max_examples=40)
    @given(programs(2, 5), data(5))
    def test_of_random_programs(self, program, start):
        graph = drawn(program, start)
        names = list(graph.inputs)
        feed = dict(zip(names, [*start.values, *start.sequences], strict=True))
        wanted = graph.grad(wrt=names).run(**feed)
        for checkpoints in (1, 2, 3):
            found = graph.grad(wrt=names, checkpoints=checkpoints).run(**feed)
            for name, value in wanted.items():
                assert_same(found[name], value)


def loss_of(w, xs, h0):
    """An RNN whose loss reads every state and the last."""

    def cell(h, x):
        h = ag.tanh(h @ w + x)
        return h, h

    h, hs = scan(cell, h0, xs, name="rnn")
    return (h * h).sum() + (hs * hs * 0.5).sum()


def last_of(w, xs, h0):
    """An RNN whose loss reads the last state only."""
    h, _ = scan(lambda h, x: (ag.tanh(h @ w + x), None), h0, xs, name="rnn")
    return (h * h).sum()


def sizes(steps, batch, hidden, dtype="float64"):
    w = 0.9 * np.eye(hidden) + RANDOM.normal(size=(hidden, hidden)) * 0.1 / hidden
    xs = RANDOM.normal(size=(steps, batch, hidden)) * 0.1
    h0 = RANDOM.normal(size=(batch, hidden))
    return [x.astype(dtype) for x in (w, xs, h0)]


SMALL = sizes(9, 2, 3)


class TestDoors:
    """Each way to ask for a gradient takes `memory` and `checkpoints`."""

    LIMITS = ({"checkpoints": 1}, {"checkpoints": 3}, {"memory": "1MB"}, {"memory": 10**6})

    @pytest.mark.parametrize("limits", LIMITS, ids=str)
    def test_functions(self, limits):
        value, wanted = ag.value_and_grad(loss_of, (0, 1, 2))(*SMALL)
        for g, w in zip(ag.grad(loss_of, (0, 1, 2), **limits)(*SMALL), wanted, strict=True):
            assert_same(g, w)
        same, grads = ag.value_and_grad(loss_of, (0, 1, 2), **limits)(*SMALL)
        assert_same(same, value)
        for g, w in zip(grads, wanted, strict=True):
            assert_same(g, w)
        _, pullback = ag.vjp(loss_of, *SMALL, **limits)
        for g, w in zip(pullback(np.float64(1.0)), wanted, strict=True):
            assert_same(g, w)

    @pytest.mark.parametrize("limits", LIMITS, ids=str)
    def test_backward(self, limits):
        wanted = ag.grad(loss_of, (0, 1, 2))(*SMALL)
        leaves = [ag.tensor(x, requires_grad=True) for x in SMALL]
        loss = loss_of(*leaves)
        loss.backward(keep_graph=True, **limits)
        for leaf, w in zip(leaves, wanted, strict=True):
            assert_same(leaf.grad, w)
            leaf.grad = None
        loss.backward(**limits)
        for leaf, w in zip(leaves, wanted, strict=True):
            assert_same(leaf.grad, w)
        with pytest.raises(ag.GradientError, match="used up by an earlier backward"):
            loss.backward(**limits)

    def test_backward_accumulates_into_parameters_used_twice(self):
        w = ag.parameter("w", SMALL[0])
        for _ in range(2):
            (loss_of(w, SMALL[1], SMALL[2]) + w.sum()).backward(checkpoints=2)
        wanted = ag.grad(loss_of)(*SMALL).value + 1.0
        assert_same(w.grad, 2 * wanted, 1e-15)

    @pytest.mark.parametrize("limits", LIMITS, ids=str)
    def test_nodes_and_graphs(self, limits):
        wanted = ag.grad(loss_of, (0, 1))(*SMALL)
        graph = ag.trace(loss_of, *[x.shape for x in SMALL])
        feed = dict(zip(graph.inputs, SMALL, strict=True))
        found = graph.grad(wrt=["w", "xs"], **limits).run(**feed)
        grads = ag.grad(graph.outputs["output"], [graph.inputs["w"], graph.inputs["xs"]], **limits)
        drawn = ag.Graph(graph.inputs, {"grad_w": grads[0], "grad_xs": grads[1]}).run(**feed)
        for name, w in zip(("grad_w", "grad_xs"), wanted, strict=True):
            assert_same(found[name], w)
            assert_same(drawn[name], w)

    def test_gradients_of_tensors_that_are_recorded(self):
        leaves = [ag.tensor(x, requires_grad=True) for x in SMALL]
        grads = ag.grad(loss_of(*leaves), leaves, checkpoints=2)
        for g, w in zip(grads, ag.grad(loss_of, (0, 1, 2))(*SMALL), strict=True):
            assert_same(g, w)
        (grads[0] * grads[0]).sum().backward()
        twice = ag.hvp(lambda w: loss_of(w, *SMALL[1:]), [SMALL[0]], [2 * grads[0].value])
        assert_same(leaves[0].grad, twice[0], 1e-12)

    def test_recorded_gradients_hold_each_loop_to_the_budget(self):
        """Nothing is drawn first, so a loop that cannot do with it says so itself."""
        leaves = [ag.tensor(x, requires_grad=True) for x in sizes(50, 8, 16)]
        loss = loss_of(*leaves)
        with pytest.raises(BudgetError, match="the gradient of loop 'rnn' needs at least") as error:
            ag.grad(loss, leaves, memory=1000)
        least = error.value.least
        found = ag.grad(loss, leaves, memory=int(least) + 1)
        for g, w in zip(found, ag.grad(loss, leaves), strict=True):
            assert_same(g, w)
        with pytest.raises(BudgetError):
            ag.grad(loss, leaves, memory=int(least) - 1)

    def test_of_outputs_that_do_not_depend_on_the_arguments(self):
        def constants(x):
            return ag.tensor(2.0) * 3.0, x, ag.stop_gradient(x), x * 2.0

        for i, slope in enumerate((0.0, 1.0, 0.0, 2.0)):
            gradient = ag.grad(lambda x, i=i: constants(x)[i], memory="1MB")
            assert gradient(1.0).item() == slope
        _, pull = ag.vjp(constants, 1.0, memory="1MB")
        assert pull((1.0, 1.0, 1.0, 1.0))[0].item() == 3.0

    def test_second_order_and_forward_mode_of_functions(self):
        limited = ag.grad(loss_of, **{"checkpoints": 2})
        plain = ag.grad(loss_of)
        v = np.cos(np.arange(9.0)).reshape(3, 3)

        def along(gradient):
            return ag.grad(lambda w: (gradient(w, *SMALL[1:]) * v).sum())(SMALL[0])

        assert_same(along(limited), along(plain), 1e-12)
        found = ag.jvp(lambda w: limited(w, *SMALL[1:]), [SMALL[0]], [v])
        assert_same(found[1], along(plain), 1e-12)
        ag.check_grad(lambda w: (limited(w, *SMALL[1:]) * v).sum(), (SMALL[0],), order=2)

    def test_a_gradient_drawn_in_a_body(self):
        """Inside a loop's body, as one step of gradient descent a step."""

        def descend(w, **limits):
            def step(w, _):
                return w - 0.1 * ag.grad(loss_of, **limits)(w, *SMALL[1:]), None

            return scan(step, w, length=3)[0]

        assert_same(descend(SMALL[0], checkpoints=2), descend(SMALL[0]))
        assert_same(descend(SMALL[0], memory="1MB"), descend(SMALL[0]))

    def test_vmap(self):
        ws = np.stack([SMALL[0], SMALL[0] * 2.0, -SMALL[0]])
        limited, plain = (ag.grad(loss_of, **kw) for kw in ({"checkpoints": 2}, {}))
        found = ag.vmap(limited, (0, None, None))(ws, *SMALL[1:])
        for g, w in zip(found, ws, strict=True):
            assert_same(g, plain(w, *SMALL[1:]), 1e-14)
        every = [np.stack([x, x * 0.5]) for x in SMALL]
        found = ag.vmap(ag.grad(loss_of, (0, 1, 2), checkpoints=3))(*every)
        for i in range(2):
            wanted = ag.grad(loss_of, (0, 1, 2))(*[x[i] for x in every])
            for g, w in zip(found, wanted, strict=True):
                assert_same(g[i], w, 1e-14)

    def test_jacobian_by_vmap_of_the_pullback_replays_states_once(self):
        """What is batched is the incoming gradient only, so the states are not."""

        def final(h0):
            return scan(lambda h, x: (ag.tanh(h @ SMALL[0] + x), None), h0, SMALL[1])[0]

        h0 = SMALL[2]
        _, pullback = ag.vjp(final, h0, checkpoints=2)
        basis = np.eye(h0.size).reshape(h0.size, *h0.shape)
        rows = ag.vmap(lambda g: pullback(g)[0])(basis)
        assert_same(rows, ag.jacobian(final)(h0).value.reshape(rows.shape), 1e-14)


class Steps:
    """Records which steps run, forward (`f3`) and back (`b3`), in the paths `watch` is told."""

    def __init__(self, graph, **inputs):
        self.log = []
        graph.run(watch=self.watch, **inputs)

    def watch(self, path, value):
        for kind, body in (("f", ".0."), ("b", ".1.")):
            if "_grad[" in path and body in path:
                step = int(path.partition("[")[2].partition("]")[0])
                entry = f"{kind}{step}"
                if self.log[-1:] != [entry]:
                    self.log.append(entry)


def order_of(steps, slots, reverse=False):
    """The steps of a schedule, as `Steps` tells them."""
    log = []
    for kind, step, stop in binomial(steps, slots):
        if kind == "advance":
            log += [f"f{t}" for t in range(step, stop)]
        elif kind == "back":
            log.append(f"b{step}")
    if reverse:
        log = [f"{entry[0]}{steps - 1 - int(entry[1:])}" for entry in log]
    return log


class TestOrder:
    def test_the_published_example_as_a_loop_runs_it(self):
        """Ten steps and three checkpoints: the steps that are run again, one by one."""
        w, xs, h0 = sizes(10, 1, 2)
        graph = ag.trace(last_of, w.shape, xs.shape, h0.shape).grad(wrt=["w"], checkpoints=3)
        by_hand = "f0 f1 f2 f3 f4 f5 f6 f7 f8 b9 f7 b8 b7 f4 f5 b6 b5 b4 f0 f1 f2 b3 b2 b1 b0"
        assert " ".join(Steps(graph, w=w, xs=xs, h0=h0).log) == by_hand

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize(("steps", "slots"), [(1, 1), (2, 1), (5, 1), (8, 2), (13, 4), (6, 9)])
    def test_of_loops_in_both_directions(self, steps, slots, reverse):
        form = Form(rnn, steps)
        graph = ag.trace(
            lambda xs, h, w: rnn(xs, h, w, reverse)[1].sum(), *[x.shape for x in form.values]
        )
        grads = graph.grad(wrt=["w"], checkpoints=slots)
        log = Steps(grads, **dict(zip(graph.inputs, form.values, strict=True))).log
        assert log == order_of(steps, slots, reverse)
        assert sum(entry[0] == "f" for entry in log) == forward_steps(steps, slots)

    def test_by_an_op_with_a_side_effect(self):
        """Each step computes its number; going back computes that of its step again."""
        log = []

        class Noted(ag.op.Op):
            vjps = (None, lambda g, y, number, x: g)

            def forward(self, number, x):
                log.append(int(number))
                return x

            def infer(self, number, x):
                return x

        noted = Noted("noted")

        def loss(h, w):
            def step(carry, _):
                number, h = carry
                return (number + 1, ag.tanh(noted(number, h) * w)), None

            return scan(step, (np.int64(0), h), length=5)[0][1].sum()

        graph = ag.trace(loss, (2,), (2,)).grad(wrt=["w"], checkpoints=2).select("grad_w")
        graph.run(h=np.ones(2), w=np.ones(2))
        by_hand = "0 1 | 2 3 | 4 | 2 | 3 | 2 | 0 | 1 | 0".replace("|", "").split()
        scheduled = [int(entry[1:]) for entry in order_of(5, 2)]
        assert log == scheduled
        assert log == [*map(int, by_hand)]

    def test_online_where_the_data_stop_the_loop(self):
        """Found out by running: the states kept on the way are used, none is computed twice."""

        def loss(h, w):
            with LoopNode("growing") as node:
                before = node.branch("h", h)
                after = before * w
                node.feed(before, after)
                node.until(after.sum() > 30.0)
            return ag.log(node.final(before)).sum()

        graph = ag.trace(loss, (2,), (2,))
        feed = {"h": np.ones(2), "w": np.full(2, 1.5)}
        wanted = graph.grad(wrt=["w", "h"]).run(**feed)
        for checkpoints, forward in ((20, [*range(7)]), (3, None), (1, None)):
            grads = graph.grad(wrt=["w", "h"], checkpoints=checkpoints)
            for name, value in wanted.items():
                assert_same(grads.run(**feed)[name], value)
            log = Steps(grads, **feed).log
            assert [e for e in log if e[0] == "b"] == [f"b{t}" for t in reversed(range(7))]
            assert log[:7] == [f"f{t}" for t in range(7)]
            if forward is not None:
                assert [int(e[1:]) for e in log if e[0] == "f"] == forward

    @pytest.mark.parametrize("by", [-1, 1])
    def test_a_checkpoint_off_by_one_is_noticed(self, monkeypatch, by):
        right = replaying.Kept.obey

        def wrong(self, kind, step):
            if kind == "restore" and step and len(self.steps) > 1:
                known = list(self.steps)
                step = known[(known.index(step) + by) % len(known)]
            right(self, kind, step)

        monkeypatch.setattr(replaying.Kept, "obey", wrong)
        with pytest.raises(AssertionError):
            TestSameGradients().test_of_every_form_in_the_same_bits(Form(rnn, 7), 3)


def test_random_numbers_are_drawn_again_as_they_were():
    """Dropout by a key that is a state: what is computed again has the same mask."""

    def loss(w, h, key):
        def step(carry, _):
            h, key = carry
            key, own = ag.random.split(key)
            kept = ag.random.uniform(own, (4,)) > 0.3
            h = ag.tanh(h * w) * ag.where(kept, 1.0, 0.0) + 0.1
            return (h, key), kept

        (h, _), masks = scan(step, (h, key), length=12)
        return h.sum() + 0.0 * masks.sum()

    w, h, key = np.linspace(0.5, 1.5, 4), np.linspace(-1, 1, 4), ag.random.key(5)
    wanted = ag.grad(loss)(w, h, key)
    assert len(set(wanted.value.tolist())) == 4
    for checkpoints in (1, 2, 5):
        assert_same(ag.grad(loss, checkpoints=checkpoints)(w, h, key), wanted)


# Memory.


def measured(run):
    """Return the result of `run`, and by how much memory grew at most on the way."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = run()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def nested_loss(w, xs, h0):
    """A loop of loops of 12 steps."""

    def outer(h, x):
        h, inner = scan(lambda h, _: (ag.tanh(h @ w + x), h * x), h, length=12, name="inner")
        return h, inner.sum()

    h, sums = scan(outer, h0, xs, name="outer")
    return (h * h).sum() + sums.sum()


def branching_loss(w, xs, h0):
    def cell(h, x):
        h = cond(x.sum() > 0, lambda h: ag.tanh(h @ w) + x, lambda h: ag.sigmoid(h * x), h)
        return h, None

    return (scan(cell, h0, xs, name="branching")[0] ** 2).sum()


MODELS = {
    "last": (last_of, (60, 32, 64)),
    "all": (loss_of, (50, 32, 64)),
    "wide": (last_of, (20, 100, 100)),
    "thin": (last_of, (300, 1, 4)),
    "short": (last_of, (1, 64, 64)),
    "no step": (loss_of, (0, 64, 64)),
    "nested": (nested_loss, (8, 32, 32)),
    "branching": (branching_loss, (40, 32, 32)),
}


@pytest.mark.reference_only("its memory is foretold")
class TestBudget:
    @pytest.mark.parametrize("share", [1.5, 0.6, 0.3, 0.1, 0.0])
    @pytest.mark.parametrize("model", MODELS)
    def test_of_a_graph_is_foretold_and_kept(self, model, share):
        """Budgets from more than is needed down to the least there can be."""
        fn, shape = MODELS[model]
        values = sizes(*shape)
        graph = ag.trace(fn, *[x.shape for x in values])
        feed = dict(zip(graph.inputs, values, strict=True))
        plain = graph.grad(wrt=["w", "h0"])
        with pytest.raises(BudgetError) as error:
            graph.grad(wrt=["w", "h0"], memory=0)
        least = error.value.least
        budget = int(least + share * max(memory_plan(plain).peak - least, 0)) + 1
        grads = graph.grad(wrt=["w", "h0"], memory=budget)
        plan = memory_plan(grads)
        found, peak = measured(lambda: grads.run(**feed))
        assert peak <= plan.peak <= budget
        for name, value in plain.run(**feed).items():
            assert_same(found[name], value)

    @pytest.mark.parametrize("share", [1.5, 0.4, 0.0])
    @pytest.mark.parametrize("model", ["last", "all", "wide", "nested"])
    def test_of_backward_is_kept(self, model, share):
        fn, shape = MODELS[model]
        values = sizes(*shape)
        leaves = [ag.tensor(x, requires_grad=i != 1) for i, x in enumerate(values)]
        loss = fn(*leaves)
        with pytest.raises(BudgetError) as error:
            loss.backward(memory=0, keep_graph=True)
        least = error.value.least
        _, plain = measured(lambda: loss.backward(keep_graph=True))
        wanted = [leaf.grad for leaf in leaves]
        leaves[0].grad = leaves[2].grad = None
        budget = int(least + share * max(plain - least, 0)) + 1
        _, peak = measured(lambda: loss.backward(memory=budget))
        assert peak <= budget
        for leaf, g in zip(leaves, wanted, strict=True):
            assert g is None or (leaf.grad.value == g.value).all()

    def test_of_a_gradient_of_a_gradient(self):
        values = sizes(60, 16, 32)
        graph = ag.trace(last_of, *[x.shape for x in values])
        feed = dict(zip(graph.inputs, values, strict=True))
        once = graph.grad(wrt=["w"], checkpoints=10)
        square = ag.Graph(once.inputs, {"y": (once.outputs["grad_w"] ** 2).sum()})
        plain = square.grad(wrt=["w"])
        wanted, free = measured(lambda: plain.run(**feed))
        budget = int(free * 0.6)
        grads = square.grad(wrt=["w"], memory=budget)
        found, peak = measured(lambda: grads.run(**feed))
        assert peak <= memory_plan(grads).peak <= budget
        assert_same(found["grad_w"], wanted["grad_w"], 1e-12)

    def test_the_way_that_computes_least_again_is_taken(self):
        graph = ag.trace(last_of, (32, 32), (400, 16, 32), (16, 32))
        ways = []
        for memory in ("20MB", "3MB", "500kB", "300kB"):
            (loop,) = memory_plan(graph.grad(wrt=["w"], memory=memory)).loops
            ways.append((loop.strategy, loop.forward_steps))
        assert [way for way, _ in ways] == [
            "residuals",
            "all states",
            "checkpoints",
            "checkpoints",
        ]
        forward = [steps for _, steps in ways]
        assert forward[:2] == [400, 799]
        assert forward == sorted(set(forward))

    @pytest.mark.parametrize("memory", [50_000_000, 20_000_000, 1_000_000, 600_000])
    def test_what_is_given_is_used(self, memory):
        """A million steps: as many checkpoints as fit, not fewer by more than 2 per cent."""
        graph = ag.trace(last_of, (8, 8), (1_000_000, 1, 8), (1, 8))
        plan = memory_plan(graph.grad(wrt=["w"], memory=memory))
        assert 0.98 * memory < plan.peak <= memory
        assert plan.loops[0].forward_steps < 3_000_000

    def test_too_little_says_the_least_and_where(self):
        graph = ag.trace(loss_of, (64, 64), (100, 8, 64), (8, 64))
        with pytest.raises(BudgetError, match=r"needs at least .* memory=10 kB was given") as error:
            graph.grad(wrt=["w"], memory="10kB")
        assert isinstance(error.value, MemoryError)
        assert isinstance(error.value, ag.LoopGradError)
        held = r"The most is held at 'multiply_\d' \(multiply float64\[100, 8, 64\]"
        assert re.search(held, str(error.value))
        least = error.value.least
        assert memory_plan(graph.grad(wrt=["w"], memory=int(least * 1.01))).peak <= least * 1.01
        with pytest.raises(BudgetError):
            graph.grad(wrt=["w"], memory=int(least * 0.9))

    def test_loops_whose_length_the_data_decide(self):
        """Stacks of unknown length cannot be foretold; checkpoints can."""

        def loss(h, w):
            with LoopNode("growing") as node:
                before = node.branch("h", h)
                after = before * 1.01 + ag.tanh(before * w) * 0.01
                node.feed(before, after)
                node.until(after.sum() > 3000.0)
            return (node.final(before) ** 2).sum()

        graph = ag.trace(loss, (500,), (500,))
        feed = {"h": np.ones(500), "w": np.ones(500)}
        plain = graph.grad(wrt=["w"])
        assert memory_plan(plain).peak == float("inf")
        wanted, free = measured(lambda: plain.run(**feed))
        grads = graph.grad(wrt=["w"], memory="400kB")
        found, peak = measured(lambda: grads.run(**feed))
        assert peak <= memory_plan(grads).peak <= 400_000 < free
        assert_same(found["grad_w"], wanted["grad_w"])

    def test_ragged_loops_store_what_they_read(self):
        def loss(h, xs):
            hs = scan(lambda h, x: ((h := ag.tanh(h + x)), h), h, xs, lengths=np.array([3, 1]))[1]
            return (hs * hs).sum()

        graph = ag.trace(loss, (2, 4), (3, 2, 4))
        grads = graph.grad(wrt=["h"], checkpoints=1)
        assert not replays(grads)
        (loop,) = memory_plan(grads).loops
        assert (loop.name, loop.strategy, loop.saved) == ("scan", "nothing", 0)

    @pytest.mark.slow
    def test_invariants_are_not_stored_each_step(self):
        """A weight of 8 MB that 1,000 steps share, and its transpose: under 100 MB in all."""
        w = ag.tensor(np.eye(1000) * 0.5, requires_grad=True)
        xs = ag.tensor(RANDOM.normal(size=(1000, 1, 1000)))
        loss = last_of(w, xs, np.zeros((1, 1000)))
        _, peak = measured(loss.backward)
        assert peak < 100e6


def test_plans_read_well():
    graph = ag.trace(last_of, (8, 8), (1000, 2, 8), (2, 8))
    plan = memory_plan(graph.grad(wrt=["w"], memory="100kB"))
    (loop,) = plan.loops
    assert loop.saved == (loop.checkpoints - 1) * 128
    assert loop.forward_steps == forward_steps(1000, loop.checkpoints) + 1000
    assert str(plan).splitlines() == [
        f"peak at most {shown(plan.peak)} at rnn_grad",
        f"rnn: 1,000 steps, keeps checkpoints ({loop.checkpoints}): {shown(loop.saved)}, "
        f"runs {loop.forward_steps:,} steps forward",
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (5_000_000, 5_000_000),
        ("64MB", 64_000_000),
        ("1.5 GB", 1_500_000_000),
        ("512KiB", 524_288),
        ("512 kib", 524_288),
        ("2 MiB", 2_097_152),
        ("100", 100),
        (" 7 B ", 7),
        ("0.5TB", 500_000_000_000),
        ("1TiB", 2**40),
    ],
)
def test_amounts_of_memory(text, size):
    assert parsed(text) == size


@pytest.mark.parametrize(
    "memory", ["", "MB", "-1MB", "12 XB", "1e6", "64 M B", "1,5GB", "5IB", -1, 2.5, True, None, []]
)
def test_amounts_that_are_none(memory):
    with pytest.raises(ag.GradientError, match="no amount of memory; pass a number of bytes"):
        parsed(memory)


@pytest.mark.parametrize("door", [ag.grad, ag.value_and_grad])
def test_limits_are_checked_when_they_are_given(door):
    with pytest.raises(ag.GradientError, match="no amount of memory"):
        door(last_of, memory="much")
    with pytest.raises(ag.GradientError, match=r"checkpoints=0 is no number of checkpoints"):
        door(last_of, checkpoints=0)
    with pytest.raises(ag.GradientError, match="not both"):
        door(last_of, memory="1MB", checkpoints=3)
