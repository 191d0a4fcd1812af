"""The computation graph: every loop laid out step by step, one meaning in every implementation."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
from autograd.graph import trace
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
