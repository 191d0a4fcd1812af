"""The computation graph: every loop laid out step by step, one meaning in every implementation."""

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
from autograd.draw.picture import picture_of
from autograd.errors import GraphError
from autograd.node import items
from autograd.trace import trace
from loops import LoopNode, cond, scan
from tests.loop_reference import assert_same

X = np.array([[0.5, -0.25], [0.75, 0.1], [-0.3, 0.6], [0.2, 0.9]])
W = np.array([[0.3, -0.2], [0.7, 0.4]])


# Loop forms: functions of (xs, h0, w) to one array, drawn or on tensors alike.


def plain(xs, h0, w):
    with LoopNode("rnn") as loop:
        x, before = loop.each(xs), loop.branch("h", h0)
        h = ag.tanh(x + before @ w)
        loop.feed(before, h)
        hs = loop.collect(h)
    return hs * 2.0 + loop.final(before)


def backwards(xs, h0, w):
    with LoopNode("rnn", reverse=True) as loop:
        x, before = loop.each(xs), loop.branch("h", h0)
        loop.feed(before, ag.tanh(x + before @ w))
        hs = loop.collect(before)
    return hs * loop.final(before)


def fixed_length(xs, h0, w):
    with LoopNode("power", length=3) as loop:
        h = loop.branch("h", h0)
        loop.feed(h, ag.tanh(h @ w + xs[0]))
    return loop.final(h) + xs.sum()


def counting(xs, h0, w):
    with LoopNode("count") as loop:
        x, n, h = loop.each(xs), loop.branch("n", np.int64(1)), loop.branch("h", h0)
        loop.feed(n, n + 1)
        loop.feed(h, ag.tanh(h @ w + x / n))
        ns = loop.collect(n * h)
    return ns + loop.final(h)


def own_weights(xs, h0, w):
    ws = ag.stack([w, w.T, w * 2.0, w + 1.0])
    with LoopNode("unshared") as loop:
        x, v, h = loop.each(xs), loop.each(ws), loop.branch("h", h0)
        loop.feed(h, ag.tanh(h @ v + x @ w))
    return loop.final(h)


def nested(xs, h0, w):
    with LoopNode("outer") as outer:
        x, g = outer.each(xs), outer.branch("g", h0)
        with LoopNode("inner", reverse=True) as inner:
            v, h = inner.each(w), inner.branch("h", g)
            inner.feed(h, ag.tanh(h * v + x))
            hs = inner.collect(h)
        outer.feed(g, inner.final(h) * 0.7)
        sums = outer.collect(hs.sum(axis=0))
    return sums + outer.final(g)


def chosen(xs, h0, w):
    def cell(h, x):
        new = cond(x.sum() > 0.4, lambda h: ag.tanh(h @ w), lambda h: h * x, h)
        return new, new + x

    h, ys = scan(cell, h0, xs)
    return ys * h


def in_a_row(xs, h0, w):
    h, ys = scan(lambda h, x: (ag.tanh(h @ w + x), h), h0, xs)
    g, zs = scan(lambda g, y: (ag.tanh(g + y @ w.T), g * y), h, ys, reverse=True)
    return zs + g


FORMS = [plain, backwards, fixed_length, counting, own_weights, nested, chosen, in_a_row]


def reloaded(graph):
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder) / "graph.json")
        return ag.Graph.load(Path(folder) / "graph.json")


# Implementations: ways to the value of a form. Each takes and returns a drawn graph.

IMPLEMENTATIONS = {
    "rolled": lambda graph: graph,
    "unrolled": lambda graph: graph.unroll(),
    "unrolled once": lambda graph: graph.unroll(depth=1),
    "copied": lambda graph: graph.copy(),
    "resized": lambda graph: graph.resize(xs=(2, 2)).resize(xs=(4, 2)),
    "saved and loaded": lambda graph: reloaded(graph),
    "inlined": lambda graph: trace(lambda xs, h0, w: graph(xs, h0, w), (4, 2), (2,), (2, 2)),
}


def drawn(form):
    return trace(form, (4, 2), (2,), (2, 2))


def values(graph):
    return graph(X, X[0], W)


PAIRS = [
    (name, form)
    for name in IMPLEMENTATIONS
    for form in FORMS
    if (name, form) != ("resized", own_weights)  # its four weights are for four steps
]


@pytest.mark.parametrize(("name", "form"), PAIRS)
class TestOneMeaning:
    def implementation(self, name, form):
        return IMPLEMENTATIONS[name](drawn(form))

    def test_value_has_the_bits_of_the_loop_on_tensors(self, name, form):
        graph = self.implementation(name, form)
        assert_same(values(graph), form(ag.tensor(X), ag.tensor(X[0]), ag.tensor(W)))

    def test_gradient(self, name, form):
        weights = np.linspace(-1, 1, 8).reshape(4, 2)
        wanted = ag.grad(lambda *args: (form(*args) * weights).sum(), (0, 1, 2))(X, X[0], W)
        graph = self.implementation(name, form)
        output = next(iter(graph.outputs))
        loss = ag.Graph(graph.inputs, {"loss": (graph.outputs[output] * weights).sum()})
        found = loss.grad(wrt=list(loss.inputs)).run(
            **dict(zip(loss.inputs, (X, X[0], W), strict=True))
        )
        # The rolled gradient runs the same ops in the same order as backward(): the same bits.
        tolerance = 1e-13 if name.startswith("unrolled") else 0.0
        for key, g in zip(loss.inputs, wanted, strict=True):
            assert_same(found[f"grad_{key}"], g, tolerance)

    def test_forward_mode_and_the_gradient_of_the_gradient(self, name, form):
        directions = (X[::-1].copy(), X[2], W.T.copy())
        graph = self.implementation(name, form)
        _, along = ag.jvp(lambda *args: form(*args), (X, X[0], W), directions)
        _, found = ag.jvp(lambda *args: graph(*args), (X, X[0], W), directions)
        assert_same(found, along, 1e-12)
        wanted = ag.hvp(lambda *args: (form(*args) ** 2.0).sum(), (X, X[0], W), directions)
        found = ag.hvp(lambda *args: (graph(*args) ** 2.0).sum(), (X, X[0], W), directions)
        for a, b in zip(found, wanted, strict=True):
            assert_same(a, b, 1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_forms_against_differences(form):
    ag.check_grad(form, (X, X[0], W), order=2)


class TestLaidOut:
    def test_every_step_has_its_own_nodes_named_by_it(self):
        unrolled = drawn(plain).unroll()
        assert unrolled.flat
        assert unrolled.find(op="loop") == []
        names = [unrolled.name_of(node) for node in unrolled.find("rnn*", op="tanh")]
        assert names == [f"rnn[{t}].tanh_1" for t in range(4)]
        assert [unrolled.name_of(node) for node in unrolled.find("*.xs")] == [
            f"rnn[{t}].xs" for t in range(4)
        ]

    def test_reversed_loops_keep_the_index_of_the_slice(self):
        unrolled = drawn(backwards).unroll()
        first, last = unrolled["rnn[3].tanh_1"], unrolled["rnn[0].tanh_1"]
        assert first.serial < last.serial

    def test_names_are_the_paths_a_watched_run_reports(self):
        def inner_of(graph):
            seen = []
            graph.run(xs=X, h0=X[0], w=W, watch=lambda path, value: seen.append((path, value)))
            return {path: value for path, value in seen if path.endswith("tanh_1")}

        graph = drawn(nested)
        rolled, unrolled = inner_of(graph), inner_of(graph.unroll())
        assert list(rolled) == list(unrolled)
        assert list(rolled)[:2] == ["outer[0].inner[1].tanh_1", "outer[0].inner[0].tanh_1"]
        for path, value in rolled.items():
            assert_same(value, unrolled[path])

    def test_depth_leaves_inner_loops_rolled(self):
        graph = drawn(nested).unroll(depth=1)
        inner = graph.find(op="loop")
        assert [graph.name_of(node) for node in inner] == [f"outer[{t}].inner" for t in range(4)]
        assert len(drawn(nested).unroll(depth=2).find(op="loop")) == 0
        assert len(drawn(nested).unroll(depth=0).find(op="loop")) == 2

    def test_the_rolled_graph_is_not_changed(self):
        graph = drawn(nested)
        before = str(graph)
        graph.unroll()
        graph.select("output").unroll()
        assert str(graph) == before

    def test_loops_inside_branches_are_laid_out_too(self):
        p, xs = ag.input("p", (), "bool"), ag.input("xs", (3,))

        def total(xs):
            return scan(lambda h, x: (h + x, None), 0.0, xs)[0]

        graph = ag.Graph([p, xs], {"y": cond(p, total, lambda xs: xs[0], xs)}).unroll()
        assert graph.find(op="loop") == []
        assert len(graph.find(op="branch")) == 1
        assert graph.run(p=True, xs=np.arange(3.0))["y"] == 3.0

    @pytest.mark.parametrize("length", [0, 1])
    def test_no_step_and_one(self, length):
        graph = trace(plain, (length, 2), (2,), (2, 2))
        unrolled = graph.unroll()
        assert len(unrolled.find("*tanh*")) == length
        assert_same(unrolled(X[:length], X[0], W), graph(X[:length], X[0], W))

    def test_no_step_gives_an_empty_stack_with_its_dtype(self):
        xs = ag.input("xs", (0, 2), "float32")
        with LoopNode("loop") as loop:
            ys = loop.collect(ag.tanh(loop.each(xs)))
            ns = loop.collect(np.int64(3))
        found = ag.Graph([xs], {"ys": ys, "ns": ns}, allow_unused=True).unroll()
        found = found.run(**dict.fromkeys(found.inputs, np.empty((0, 2), "float32")))
        assert (found["ys"].shape, found["ys"].dtype) == ((0, 2), np.float32)
        assert (found["ns"].shape, found["ns"].dtype) == ((0,), np.int64)

    def test_unrolling_twice_changes_nothing_more(self):
        once = drawn(in_a_row).unroll()
        assert str(once.unroll()) == str(once)

    def test_gradient_graphs_unroll(self):
        w = ag.parameter("w", W)
        xs = ag.input("xs", (4, 2))
        graph = ag.Graph(xs, {"loss": (nested(xs, X[0], w) ** 2.0).sum()}).grad()
        unrolled = graph.unroll()
        assert unrolled.flat
        found, wanted = unrolled.run(xs=X), graph.run(xs=X)
        assert_same(found["loss"], wanted["loss"])
        assert_same(found["grad_w"], wanted["grad_w"])

    def test_parameters_are_shared_by_all_steps_and_with_the_rolled_graph(self):
        w = ag.parameter("w", W)
        xs = ag.input("xs", (4, 2))
        graph = ag.Graph(xs, {"y": plain(xs, X[0], w)})
        unrolled = graph.unroll()
        assert unrolled.parameters == {"w": w}
        assert len(unrolled.consumers(w)) == 4


class TestByAFactor:
    """What unrolling by k draws; that it means the same is the law of test_unroll_law.py."""

    def test_rounds_of_copies_and_the_rest(self):
        graph = trace(plain, (8, 2), (2,), (2, 2)).unroll(factor=3)
        (loop,) = graph.find(op="loop")
        assert graph.name_of(loop) == "rnn"
        assert [x.shape for x in loop.inputs] == [(2, 2), (2,), (2, 3, 2)]
        copies = [loop.body.name_of(n) for n in loop.body.nodes if n.op.name == "tanh"]
        assert copies == [f"copy[{j}].tanh_1" for j in range(3)]
        rest = [graph.name_of(node) for node in graph.nodes if node.op.name == "tanh"]
        assert rest == ["rnn[6].tanh_1", "rnn[7].tanh_1"]

    def test_the_rest_of_a_reversed_loop_are_its_first_steps(self):
        graph = trace(backwards, (8, 2), (2,), (2, 2)).unroll(factor=3)
        loop = graph["rnn"]
        copies = [loop.body.name_of(n) for n in loop.body.nodes if n.op.name == "tanh"]
        assert copies == [f"copy[{j}].tanh_1" for j in (2, 1, 0)]
        rest = [graph.name_of(node) for node in graph.nodes if node.op.name == "tanh"]
        assert rest == ["rnn[1].tanh_1", "rnn[0].tanh_1"]
        assert graph["rnn[1].tanh_1"].serial > loop.serial

    def test_names_are_unique_and_the_paths_a_watched_run_reports(self):
        graph = drawn(nested).unroll(factor=3)
        paths = [path for path, _, _ in graph.walk()]
        assert len(set(paths)) == len(paths)
        seen = {}
        graph.run(xs=X, h0=X[0], w=W, watch=lambda path, value: seen.__setitem__(path, value))
        rolled = {}
        watch = rolled.__setitem__
        drawn(nested).run(xs=X, h0=X[0], w=W, watch=lambda path, value: watch(path, value))
        for t in range(3):
            path = f"inner[{t % 2}].tanh_1"
            assert_same(seen[f"outer[0].copy[{t}].{path}"], rolled[f"outer[{t}].{path}"])
        assert_same(seen["outer[3].multiply_1"], rolled["outer[3].multiply_1"])

    def test_names_stay_where_loops_without_steps_are_dropped(self):
        xs = ag.input("xs", (4, 0, 2))
        h = ag.input("h", (2,))

        def step(h, x):
            total = scan(lambda g, v: (g + v, None), ag.zeros(2), ag.exp(x) * 2.0)[0]
            return (h * 3.0 + total, None)

        graph = ag.Graph([xs, h], {"y": scan(step, h, xs, name="outer")[0]})
        assert graph["outer.multiply_2"].inputs[1].value == 3.0
        unrolled = graph.unroll()["outer[3].multiply_2"]
        assert unrolled.inputs[1].value == 3.0

    def test_sequences_and_stacks_are_views(self):
        graph = trace(plain, (8, 2), (2,), (2, 2)).unroll(factor=3)
        loop = graph["rnn"]
        sequence, stacked = loop.inputs[2], next(n for n in graph.nodes if n.shape == (6, 2))
        assert [sequence.op.name, sequence.inputs[0].op.name] == ["reshape", "slice"]
        assert all(node.op.free or node.op.name == "slice" for node in (sequence, stacked))
        assert len(graph.find(op="concat")) == 1
        even = {node.op.name for node in trace(plain, (6, 2), (2,), (2, 2)).unroll(factor=3).nodes}
        assert "reshape" in even
        assert not even & {"slice", "stack", "concat"}

    def test_each_step_of_a_round_is_a_frame_of_the_picture(self):
        graph = trace(plain, (7, 2), (2,), (2, 2)).unroll(factor=3)
        frames = picture_of(graph).frames
        titles = [frame.title for frame in frames]
        assert titles == ["rnn", "copy[0]", "copy[1]", "copy[2]", "rnn[6]"]
        assert [frames[i].parent for i in (1, 2, 3)] == [0, 0, 0]

    def test_depth_counts_levels_of_loops(self):
        graph = trace(nested, (7, 2), (2,), (2, 2)).unroll(1, factor=3)
        paths = [path for path, _, node in graph.walk() if node.op.name == "loop"]
        inner = [f"outer.copy[{j}].inner" for j in range(3)]
        assert paths == ["outer", *inner, "outer[6].inner"]

    def test_parameters_are_shared_with_the_rolled_graph(self):
        w = ag.parameter("w", W)
        xs = ag.input("xs", (4, 2))
        graph = ag.Graph(xs, {"y": plain(xs, X[0], w)})
        assert graph.unroll(factor=3).parameters == {"w": w}

    def test_the_rolled_graph_is_not_changed(self):
        graph = drawn(nested)
        before = str(graph)
        graph.unroll(factor=2)
        assert str(graph) == before

    def test_a_body_used_twice_is_unrolled_once(self):
        graph = trace(nested, (4, 2), (2,), (2, 2)).unroll(1)
        bodies = [node.body for node in graph.unroll(factor=1).find(op="loop")]
        assert len(bodies) == 4
        assert len(set(map(id, bodies))) == 1

    @pytest.mark.parametrize("factor", [0, -1, 2.0, "2", True])
    def test_a_factor_is_a_whole_number_from_1_up(self, factor):
        with pytest.raises(GraphError, match="factor must be a whole number from 1 up, but is"):
            drawn(plain).unroll(factor=factor)

    @pytest.mark.parametrize("depth", [-1, 1.0, False])
    def test_a_depth_is_a_whole_number_from_0_up(self, depth):
        with pytest.raises(GraphError, match="depth must be a whole number from 0 up, but is"):
            drawn(plain).unroll(depth)


class TestStopping:
    """Laid-out loops whose length the data decide."""

    def halving(self, length=7):
        xs = ag.input("xs", (length,))
        with LoopNode("halving") as loop:
            x, a = loop.each(xs), loop.branch("a", 8.0)
            after = ((a + x) / 2.0).named("half")
            loop.feed(a, after)
            loop.until(after <= 2.0)
            out = loop.collect(after, "out")
        return ag.Graph(xs, {"last": loop.final(a), "out": out})

    @pytest.mark.parametrize(
        ("factor", "paths"),
        [
            (None, ["halving[0].step.1.half", "halving[1].step.1.half"]),
            (3, ["halving[0].copy[0].half", "halving[0].copy[1].step.1.half"]),
        ],
    )
    def test_steps_after_the_stop_are_not_computed(self, factor, paths):
        seen = []
        graph = self.halving().unroll(factor=factor)
        found = graph.run(xs=np.zeros(7), watch=lambda path, value: seen.append(path))
        assert [path for path in seen if path.endswith("half")] == paths
        assert found["last"] == 2.0
        assert found["out"].tolist() == [4.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]

    def test_the_rounds_stop_too(self):
        graph = self.halving().unroll(factor=3)
        (loop,) = graph.find(op="loop")
        rounds = ag.Graph(graph.inputs, {"rounds": items(loop)[1]})
        assert rounds.run(xs=np.zeros(7))["rounds"] == 1
        assert rounds.run(xs=np.full(7, 9.0))["rounds"] == 2

    @pytest.mark.parametrize("factor", [None, 1, 2, 3, 5])
    def test_a_bound_that_is_reached_is_an_error(self, factor):
        x = ag.input("x")
        with LoopNode("doubling", bound=5) as loop:
            a = loop.branch("a", x)
            loop.feed(a, a * 2.0)
            loop.until(a * 2.0 > 100.0)
        graph = ag.Graph(x, {"y": loop.final(a)}).unroll(factor=factor)
        assert graph.run(x=4.0)["y"] == 128.0
        with pytest.raises(GraphError, match="loop 'doubling' still goes on after step 4"):
            graph.run(x=3.0)
        assert ag.vmap(lambda v: graph(v))(np.array([4.0, 4.0])).tolist() == [128.0, 128.0]
        grads = graph.grad(wrt=["x"])
        assert grads.run(x=4.0)["grad_x"] == 32.0
        assert grads.unroll(factor=factor).run(x=4.0)["grad_x"] == 32.0

    def test_a_loop_that_only_its_data_stop_takes_a_factor_only(self):
        x = ag.input("x")
        with LoopNode("doubling") as loop:
            a = loop.branch("a", x)
            loop.feed(a, a * 2.0)
            loop.until(a * 2.0 > 100.0)
            count = loop.steps
        graph = ag.Graph(x, {"y": loop.final(a), "count": count})
        assert str(graph.unroll()) == str(graph)
        by_two = graph.unroll(factor=2)
        assert len(by_two["doubling"].body.find("copy*", op="branch")) == 1
        assert by_two.run(x=3.0) == graph.run(x=3.0) == {"y": 192.0, "count": 6}
        assert by_two.run(x=30.0) == graph.run(x=30.0) == {"y": 120.0, "count": 2}
        assert by_two.grad(of="y", wrt=["x"]).run(x=3.0)["grad_x"] == 64.0

    def test_ragged_loops_stay_as_they_are_drawn(self):
        xs, h = ag.input("xs", (5, 3, 2)), ag.input("h", (3, 2))

        def step(h, x):
            g = scan(lambda g, _: (ag.tanh(g + x), None), h, length=3, name="inner")[0]
            return g, g

        lengths = np.array([5, 1, 3])
        ys = scan(step, h, xs, lengths=lengths, name="ragged")[1]
        graph = ag.Graph([xs, h], {"y": ys})
        assert str(graph.unroll(factor=2)) == str(graph.unroll()) == str(graph)


class TestDocumentThree:
    """The C++ framework's binary-addition network at T = 8: its published counts of nodes.

    Its graphs count otherwise than ours: each step has its own Input, label and Parameter nodes,
    each branch is a node, and bias and product of a layer are two. The view below counts ours in
    its conventions; every number is what its own program printed.
    """

    def network(self):
        steps, hidden = 8, 8
        xs, ys = ag.input("xs", (steps, 1, 2)), ag.input("ys", (steps, 1, 1))
        shapes = {"w1": (2, hidden), "wh": (hidden, hidden), "w2": (hidden, 1)}
        shapes |= {"b1": (1, hidden), "b2": (1, 1)}
        p = {name: ag.parameter(name, np.full(shape, 0.1)) for name, shape in shapes.items()}
        with LoopNode("step") as step:
            x, y = step.each(xs), step.each(ys)
            recurrent = step.branch("branch", np.zeros((1, hidden)))
            h = ag.sigmoid(((x @ p["w1"]).named("mult_1") + recurrent).named("add_1") + p["b1"])
            step.feed(recurrent, (h @ p["wh"]).named("mult_h"))
            o = ag.sigmoid(((h @ p["w2"]).named("mult_2") + p["b2"]).named("bias_2"))
            losses = step.collect(ag.abs((o - y).named("minus")).sum(), "losses")
        outputs = {"loss": losses.sum(), "recurrent": step.final(recurrent)}
        return ag.Graph([xs, ys], outputs), step

    def test_virtual_graph(self):
        _, step = self.network()
        kinds = [port.kind for port in step.op.ports(step.attrs)[0]]
        assert (kinds.count("shared"), kinds.count("each"), kinds.count("state")) == (5, 2, 1)
        operations = [node for node in step.body.nodes if node.inputs]
        absolute_sums = 1  # abs and sum are one node there
        assert len(operations) - absolute_sums + 5 + 2 == 17
        assert kinds.count("state") == 1  # the 18th: its Branch
        assert sum(len(node.inputs) for node in operations) - absolute_sums == 17

    def counts(self, unrolled):
        """Return the nodes and edges of the unrolled loop, counted in its conventions."""
        body = [node for node in unrolled.nodes if unrolled.name_of(node).startswith("step[")]
        operations = [node for node in body if node.op.name != "slice"]
        absolute_sums = len([node for node in operations if node.op.name == "abs"])
        slices = {x for node in operations for x in node.inputs if x.op.name == "slice"}
        uses = [x for node in operations for x in node.inputs if isinstance(x, ag.Parameter)]
        (zeros,) = [x for node in operations for x in node.inputs if x.op.name == "constant"]
        nodes = len(operations) - absolute_sums + len(slices) + len(uses) + (zeros is not None)
        edges = sum(len(node.inputs) for node in operations) - absolute_sums
        return nodes, edges

    def test_computation_graph(self):
        graph, _ = self.network()
        assert self.counts(graph.unroll()) == (137, 136)

    def test_pruned_to_the_losses_the_last_recurrent_product_is_gone(self):
        graph, _ = self.network()
        kept = graph.unroll().select("loss")
        assert self.counts(kept) == (135, 134)
        assert len(kept.find("*mult_h")) == 7


def test_rounds_of_a_loop_that_stops_hold_no_cycle():
    def draw():
        x = ag.input("x")
        with LoopNode("roots", length=6) as roots:
            a = roots.branch("a", x)
            roots.feed(a, ag.sqrt(a))
            roots.until(ag.sqrt(a) < 1.0)
        ag.Graph(x, {"a": roots.final(a)}).unroll(factor=2).grad(wrt=["x"]).run(x=3.5)

    draw()
    gc.collect()
    gc.disable()
    try:
        draw()
        assert gc.collect() == 0
    finally:
        gc.enable()
