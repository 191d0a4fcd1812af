"""Graphs: inputs and outputs in every form, running, selecting, queries, copies, calls, tracing."""

import copy

import numpy as np
import pytest

import autograd as ag
from autograd import DTypeError, Graph, GraphError, ShapeError
from autograd.trace import trace
from autograd.tree import flatten
from loops import LoopNode, scan
from tests.loop_reference import assert_same, leaf

X = np.array([[0.5, -0.25], [0.75, 0.1]])


def small():
    x, y = ag.input("x", (2, 2)), ag.input("y", (2, 2))
    w = ag.parameter("w", X)
    h = ag.tanh(x @ w).named("h")
    return Graph([x, y], {"a": h * 2.0, "b": (h + y).sum()}, name="small")


def looped():
    xs = ag.input("xs", (3, 2))
    with LoopNode("loop") as loop:
        x, h = loop.each(xs, "x"), loop.branch("h", np.zeros(2))
        new = ag.tanh(h + x).named("new")
        loop.feed(h, new)
        hs = loop.collect(new, "hs")
    return Graph(xs, {"hs": hs, "last": loop.final(h)})


class TestForms:
    def test_a_node_a_list_or_a_dict(self):
        x = ag.input("x")
        y = (x * 2.0).named("y")
        for inputs in (x, [x], (x,), {"x": x}):
            for outputs in (y, [y], (y,), {"y": y}):
                graph = Graph(inputs, outputs)
                assert (list(graph.inputs), list(graph.outputs)) == (["x"], ["y"])
                assert graph.run(x=3.0)["y"] == 6.0

    def test_nodes_without_a_name_are_numbered(self):
        x = ag.input("x")
        assert list(Graph(x, x * 2.0).outputs) == ["output"]
        assert list(Graph(x, [x * 2.0, x * 3.0]).outputs) == ["output_0", "output_1"]

    def test_names_of_a_dict_win(self):
        x = ag.input("x")
        graph = Graph({"first": x}, {"second": (x * 2.0).named("y")})
        assert graph.run(first=2.0) == {"second": 4.0}
        assert graph.name_of(x) == "first"

    def test_an_input_or_a_parameter_may_be_an_output(self):
        x, w = ag.input("x", (2,)), ag.parameter("w", X[0])
        found = Graph(x, {"x": x, "w": w}).run(x=X[0])
        assert_same(found["x"], X[0])
        assert_same(found["w"], X[0])

    def test_without_inputs(self):
        w = ag.parameter("w", 2.0)
        graph = Graph([], {"y": w * ag.constant(3.0)})
        w.value = 5.0
        assert graph.run()["y"] == 15.0

    def test_unused_inputs_may_be_allowed(self):
        x, y = ag.input("x"), ag.input("y")
        graph = Graph([x, y], {"z": x * 2.0}, allow_unused=True)
        assert graph.run(x=1.0, y=0.0)["z"] == 2.0

    def test_two_graphs_may_cut_the_same_nodes_differently(self):
        x = ag.input("x")
        y = x * 2.0
        whole = Graph(x, {"y": y, "z": y + 1.0})
        assert whole.run(x=1.0) == {"y": 2.0, "z": 3.0}
        assert Graph(x, y).run(x=1.0) == {"output": 2.0}


class TestRun:
    def test_numbers_lists_arrays_and_tensors_are_taken(self):
        graph = trace(lambda x: x * 2.0, (2,))
        for value in ([1, 2], (1.0, 2.0), np.array([1.0, 2.0]), ag.tensor([1.0, 2.0])):
            assert_same(graph.run(x=value)["output"], np.array([2.0, 4.0]))

    def test_python_numbers_take_a_narrower_dtype(self):
        x = ag.input("x", (2,), "float32")
        assert Graph(x, {"y": x * 2.0}).run(x=[1.0, 2.0])["y"].dtype == np.float32

    @pytest.mark.parametrize(
        ("inputs", "error", "match"),
        [
            ({}, GraphError, r"input 'x' of graph 'small' is missing; call run\(x=\.\.\.\)"),
            ({"x": X}, GraphError, "input 'y' of graph 'small' is missing"),
            ({"x": X, "y": X, "z": X}, GraphError, "has no input 'z'; its inputs are x, y"),
            ({"x": X[0], "y": X}, ShapeError, r"float64\[2, 2\], but float64\[2\] came.*resize"),
            ({"x": X.astype("f4"), "y": X}, DTypeError, r"float32.* convert it with .astype"),
            ({"x": [[1, 2], [3]], "y": X}, ShapeError, r"input .x. of graph .small. is not an"),
            ({"x": "text", "y": X}, DTypeError, "input 'x' of graph 'small' is float64"),
        ],
    )
    def test_wrong_values_are_refused_by_name(self, inputs, error, match):
        with pytest.raises(error, match=match) as caught:
            small().run(**inputs)
        assert str(caught.value).startswith(f"{__file__}:")

    def test_integers_are_not_given_floats(self):
        n = ag.input("n", (), "int64")
        graph = Graph(n, {"y": n * 2})
        assert graph.run(n=3)["y"] == 6
        with pytest.raises(DTypeError, match=r"input 'n' .* is int64\[\], but float64\[\] came"):
            graph.run(n=2.5)

    def test_results_are_read_only_and_not_the_callers(self):
        x = ag.input("x", (2,))
        mine = np.array([1.0, 2.0])
        found = Graph(x, {"x": x, "view": x[:1], "y": x * 2.0}).run(x=mine)
        for value in found.values():
            assert not value.flags.writeable
            assert not np.shares_memory(value, mine)
        mine[0] = 5.0
        assert found["x"][0] == 1.0

    def test_errors_inside_name_the_node(self):
        x = ag.input("x", (2, 2))
        graph = Graph(x, {"y": ag.cholesky(x).named("root")})
        with pytest.raises(ag.SingularError) as caught:
            graph.run(x=-np.eye(2))
        assert any("root" in note for note in getattr(caught.value, "__notes__", ()))

    def test_watch_is_told_every_value(self):
        seen = {}
        looped().run(xs=np.ones((3, 2)), watch=lambda path, value: seen.update({path: value}))
        assert {f"loop[{t}].new" for t in range(3)} <= set(seen)
        assert_same(seen["loop[0].new"], np.tanh(np.ones(2)))

    def test_values_are_dropped_when_no_longer_needed(self):
        x = ag.input("x", (100_000,))
        y = x
        for _ in range(20):
            y = y + 1.0
        import tracemalloc

        graph, start = Graph(x, {"y": y}), np.zeros(100_000)
        graph.run(x=start)
        tracemalloc.start()
        graph.run(x=start)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 * start.nbytes


class TestSelect:
    def test_nothing_else_is_computed(self):
        graph = small()
        seen = []
        found = graph.run(outputs=["a"], x=X, y=X, watch=lambda path, value: seen.append(path))
        assert list(found) == ["a"]
        assert not any(path.startswith(("add", "sum")) for path in seen)

    def test_inputs_that_are_not_needed_are_dropped(self):
        selected = small().select("a")
        assert list(selected.inputs) == ["x"]
        assert_same(selected.run(x=X)["a"], np.tanh(X @ X) * 2.0)

    def test_selection_does_not_need_the_dropped_inputs(self):
        assert_same(small().run(outputs=["a"], x=X)["a"], np.tanh(X @ X) * 2.0)

    def test_order_is_the_askers(self):
        assert list(small().select("b", "a").outputs) == ["b", "a"]


class TestQueries:
    def test_nodes_are_in_topological_order(self):
        graph = small()
        place = {node: i for i, node in enumerate(graph.nodes)}
        assert all(place[x] < place[node] for node in graph.nodes for x in node.inputs)

    def test_names_are_unique_stable_and_the_users_where_given(self):
        names = list(small().names.values())
        assert len(set(names)) == len(names)
        assert {"x", "y", "w", "h"} <= set(names)
        assert names == list(small().names.values())

    def test_equal_names_are_numbered(self):
        x = ag.input("x")
        graph = Graph(x, {"y": (x * 2.0).named("h") + (x * 3.0).named("h")})
        assert {"h", "h_2"} <= set(graph.names.values())

    def test_find_by_pattern_and_op(self):
        graph = looped()
        assert [node.op.name for node in graph.find("loop.*", op="tanh")] == ["tanh"]
        assert graph.find("loop.new") == graph.find(op="tanh")
        assert len(graph.find()) == len(list(graph.walk()))
        assert graph.find("nothing*") == []

    def test_getitem_takes_paths(self):
        graph = looped()
        assert graph["loop.new"].op.name == "tanh"
        assert graph["xs"] is graph.inputs["xs"]

    def test_walk_visits_bodies_after_their_node(self):
        paths = [path for path, _, _ in looped().walk()]
        assert paths.index("loop") < paths.index("loop.new")
        assert len(set(paths)) == len(paths)

    def test_parents_and_consumers(self):
        graph = small()
        h, w = graph["h"], graph["w"]
        (product,) = graph.parents(h)
        assert [graph.name_of(n) for n in graph.parents(product)] == ["x", "w"]
        assert {n.op.name for n in graph.consumers(h)} == {"multiply", "add"}
        assert graph.consumers(w)[0] is product
        assert graph.parents(graph.inputs["x"]) == []
        assert graph.consumers(graph.outputs["a"]) == []

    def test_a_node_that_uses_another_twice_is_one_consumer(self):
        x = ag.input("x")
        assert len(Graph(x, {"y": x * x}).consumers(x)) == 1

    def test_strangers_are_refused(self):
        for query in (small().consumers, small().parents, small().name_of):
            with pytest.raises(GraphError, match=r"input 'z' .* is not a node of graph 'small'"):
                query(ag.input("z"))

    def test_parameters_in_the_order_they_were_made(self):
        x = ag.input("x")
        b, a = ag.parameter("b", 1.0), ag.parameter("a", 2.0)
        assert list(Graph(x, {"y": x * a + b}).parameters) == ["b", "a"]

    def test_repr_and_text(self):
        graph = small()
        assert repr(graph).startswith("<Graph small: x, y -> a, b, ")
        assert "tanh" in str(graph)
        assert str(graph) == str(small())


class TestCopies:
    @pytest.mark.parametrize("duplicate", [Graph.copy, copy.copy, copy.deepcopy])
    def test_copies_share_nothing(self, duplicate):
        graph = small()
        other = duplicate(graph)
        assert_same(other.run(x=X, y=X)["a"], graph.run(x=X, y=X)["a"])
        graph.parameters["w"].value = X * 0.0
        assert not graph.run(x=X, y=X)["a"].any()
        assert other.run(x=X, y=X)["a"].any()
        assert not set(graph.nodes) & {n for n in other.nodes if n.op.name != "constant"}
        assert str(other) == str(graph)

    def test_resize_shares_parameters(self):
        graph = small()
        wide = graph.resize(x=(5, 2), y=(5, 2))
        assert wide.parameters["w"] is graph.parameters["w"]
        assert wide.run(x=np.ones((5, 2)), y=np.ones((5, 2)))["a"].shape == (5, 2)
        assert graph.inputs["x"].shape == (2, 2)

    @pytest.mark.parametrize("length", [0, 1, 7])
    def test_resize_makes_loops_longer(self, length):
        graph = looped().resize(xs=(length, 2))
        assert graph.run(xs=np.ones((length, 2)))["hs"].shape == (length, 2)

    def test_resize_of_a_mean_counts_anew(self):
        graph = trace(lambda x: x.mean(), (3,)).resize(x=(6,))
        assert graph(np.ones(6)) == 1.0

    def test_resize_finds_lengths_left_open(self):
        x = ag.input("x", (4, 6))
        y = ag.squeeze(ag.expand_dims(ag.reshape(x, (-1, 2, 3)), 1), 1).sum(axis=(1, 2))
        values = np.arange(15.0).reshape(5, 3)
        found = Graph(x, {"y": y}).resize(x=(5, 6)).run(x=np.hstack([values, values]))["y"]
        np.testing.assert_array_equal(found, 2 * values.sum(axis=1))

    def test_what_was_made_of_a_graph_is_made_again_of_the_resized_one(self):
        def steps(xs: object) -> object:
            return scan(lambda h, x: (h * x, h), 1.0, xs)[1].mean()

        long = np.array([0.5, -2.0, 3.0, 0.25, 1.5])
        wanted = trace(steps, (5,)).grad(wrt=["xs"]).run(xs=long)
        graph = trace(steps, (3,), name="steps")
        gradient = graph.grad(wrt=["xs"])
        made = [
            gradient,
            graph.grad(wrt=["xs"], checkpoints=1),
            graph.unroll().grad(wrt=["xs"]),
            gradient.unroll(1),
            graph.unroll(factor=2).grad("output", ["xs"]).optimize(),
            gradient.optimize(target="native"),
            gradient.optimize(explain=True).graph.unroll(),
            gradient.resize(xs=(7,)),
        ]
        for each in made:
            found = each.resize(xs=(5,))
            for name, value in found.run(xs=long).items():
                np.testing.assert_allclose(value, wanted[name], rtol=1e-14)
            assert list(each.inputs["xs"].shape) in ([3], [7])
        selected = gradient.optimize().select("grad_xs").resize(xs=(5,))
        assert list(selected.outputs) == ["grad_xs"]
        with pytest.raises(GraphError, match="no input 'x' to resize; its inputs are xs"):
            gradient.resize(x=(5,))

    def test_gradients_to_higher_order_are_resized(self):
        graph = trace(lambda x: (x**3).sum(), (2,)).grad(wrt=["x"])
        with_total = Graph(graph.inputs, {"total": graph.outputs["grad_x"].sum()})
        with pytest.raises(GraphError, match="contains a gradient"):
            with_total.grad(wrt=["x"]).resize(x=(3,))
        twice = trace(lambda x: (x**3).sum(), (2,)).grad(wrt=["x"]).grad("output", ["x"])
        found = twice.resize(x=(3,)).run(x=np.arange(3.0))
        np.testing.assert_array_equal(found["grad_x_2"], 3 * np.arange(3.0) ** 2)

    def test_resize_of_a_loaded_unrolled_graph_is_refused(self, tmp_path):
        xs = ag.input("xs", (4,))
        graph = Graph(xs, {"y": scan(lambda h, x: (h * x, None), 1.0, xs)[0]})
        for laid_out in (graph.unroll(), graph.unroll(factor=3)):
            laid_out.save(tmp_path / "graph.json")
            loaded = Graph.load(tmp_path / "graph.json")
            with pytest.raises(GraphError, match=r"is unrolled \('scan.*'\).*resize first"):
                loaded.resize(xs=(5,))

    def test_resize_of_a_loaded_gradient_is_refused(self, tmp_path):
        for made in (
            trace(lambda x: x.sum(), (3,)).grad(wrt=["x"]),
            trace(lambda x: x * ag.positions(x), (3,)).optimize(),
            trace(lambda x: x * (ag.positions(x) + 1), (3,)).optimize(),
        ):
            made.save(tmp_path / "graph.json")
            for graph in (Graph.load(tmp_path / "graph.json"), made.copy()):
                with pytest.raises(GraphError, match=r"contains a gradient.* resize first"):
                    graph.resize(x=(6,))
            assert made.resize(x=(6,)).inputs["x"].shape == (6,)

    def test_resize_of_a_gradient_in_a_body_is_refused(self):
        x = ag.input("x", (1,))
        with LoopNode("loop", length=2) as loop:
            h = loop.branch("h", x)
            loop.feed(h, ag.grad(lambda v: (v * v).mean())(h))
        graph = Graph(x, {"y": loop.final(h)})
        with pytest.raises(GraphError, match=r"contains a gradient \(loop\..*resize first"):
            graph.resize(x=(4,))


class TestInlineAndCall:
    def test_call_on_nodes_draws_and_on_arrays_runs(self):
        inner = trace(lambda a, b: a @ b, (2, 2), (2, 2))
        assert_same(inner(X, X), X @ X)
        x = ag.input("x", (2, 2))
        outer = Graph(x, {"y": inner(x, inner(x, X))})
        assert_same(outer.run(x=X)["y"], X @ (X @ X))

    def test_call_on_tensors_is_differentiable(self):
        graph = trace(lambda x: (x * x).sum(), (2, 2))
        x = leaf(X)
        graph(x).backward()
        assert_same(x.grad, 2.0 * X)

    def test_inline_prefixes_names(self):
        x = ag.input("x", (2, 2))
        inner = trace(lambda a: ag.tanh(a).named("h"), (2, 2))
        (y,) = inner.inline([x], "layer.")
        assert y.name == "layer.h"

    def test_a_graph_inlined_twice_shares_its_parameters(self):
        w = ag.parameter("w", 3.0)
        inner = trace(lambda a: a * w, ())
        x = ag.input("x")
        graph = Graph(x, {"y": inner(inner(x))})
        assert list(graph.parameters) == ["w"]
        assert graph.grad().run(x=2.0)["grad_w"] == 2 * 3.0 * 2.0

    def test_a_graph_may_be_called_in_a_loop(self):
        inner = looped()
        xs = ag.input("xs", (2, 3, 2))
        with LoopNode("outer") as outer:
            hs, _ = inner(outer.each(xs))
            out = outer.collect(hs)
        rows = np.arange(12.0).reshape(2, 3, 2) / 12
        found = Graph(xs, {"out": out}).run(xs=rows)["out"]
        assert_same(found, np.stack([inner.run(xs=row)["hs"] for row in rows]))


class TestTrace:
    def test_inputs_are_named_after_the_arguments(self):
        assert list(trace(lambda left, right: left * right, (), (2,)).inputs) == ["left", "right"]

    def test_specs_in_every_form(self):
        like = np.zeros((2,), "float32")
        for spec in (ag.Spec((2,), np.dtype("float32")), like, ag.tensor(like)):
            graph = trace(lambda x: x, spec)
            assert str(graph.inputs["x"].spec) == "float32[2]"
        assert str(trace(lambda x: x, (2, 3)).inputs["x"].spec) == "float64[2, 3]"

    def test_trees_in_and_out(self):
        def fn(net, pair):
            h = pair[0] @ net["w"] + net["b"]
            return {"h": h, "rest": [h.sum(), pair[1]]}

        graph = trace(fn, {"w": X, "b": X[0]}, (X, X[1]))
        found = graph(*[X, X[0], X, X[1]])
        assert_same(found["h"], X @ X + X[0])
        assert_same(found["rest"][1], X[1])
        assert flatten(found)[1] == graph.structure[0]

    def test_dict_results_name_the_outputs(self):
        graph = trace(lambda x: {"double": x * 2.0, "triple": x * 3.0}, ())
        assert graph.run(x=2.0) == {"double": 4.0, "triple": 6.0}

    def test_function_is_called_once(self):
        calls = []
        graph = trace(lambda x: calls.append(1) or x * 2.0, ())
        graph.run(x=1.0)
        graph(2.0)
        assert len(calls) == 1

    def test_tracing_inside_a_loop_body_is_apart_from_it(self):
        with LoopNode("loop", length=2) as loop:
            h = loop.branch("h", ag.parameter("p", 1.0))
            graph = trace(lambda x: x * 3.0, ())
            loop.feed(h, graph(h))
        assert loop.final(h).item() == 9.0
        assert graph.run(x=2.0)["output"] == 6.0


class TestGrad:
    def test_outputs_are_added_and_the_graph_is_unchanged(self):
        graph = small()
        drawn = graph.grad(of="b")
        assert list(drawn.outputs) == ["a", "b", "grad_w"]
        assert list(graph.outputs) == ["a", "b"]
        found = drawn.run(x=X, y=X)
        slope = 1 - np.tanh(X @ X) ** 2
        assert_same(found["grad_w"], X.T @ slope, 1e-15)

    def test_with_respect_to_inputs(self):
        found = small().grad(of="b", wrt=["y", "x"]).run(x=X, y=X)
        assert_same(found["grad_y"], np.ones((2, 2)))
        assert list(found)[2:] == ["grad_y", "grad_x"]

    def test_of_what_does_not_depend_is_zero(self):
        x, y = ag.input("x"), ag.input("y", (2,))
        graph = Graph([x, y], {"a": x * 2.0, "b": y.sum()}).grad(of="a", wrt=["y"])
        assert_same(graph.run(x=1.0, y=X[0])["grad_y"], np.zeros(2))

    def test_gradient_of_a_gradient(self):
        x = ag.input("x")
        first = Graph(x, {"y": x * x * x}).grad(wrt=["x"])
        second = Graph(first.inputs, {"g": first.outputs["grad_x"]}).grad(wrt=["x"])
        assert second.run(x=2.0)["grad_x"] == 12.0

    def test_a_second_gradient_keeps_the_first(self):
        x = ag.input("x")
        graph = Graph(x, {"y": x * x * x}).grad(of="y", wrt=["x"]).grad(of="grad_x", wrt=["x"])
        assert graph.run(x=2.0) == {"y": 8.0, "grad_x": 12.0, "grad_x_2": 12.0}
        assert graph.run(x=1.0) == {"y": 1.0, "grad_x": 3.0, "grad_x_2": 6.0}


def test_tracing_checks_specs_made_by_hand():
    graph = trace(lambda x: x * 2.0, ag.Spec([2, 3], "float32"))
    assert str(graph.inputs["x"].spec) == "float32[2, 3]"
    assert graph.outputs["output"].dtype == np.float32
    with pytest.raises(DTypeError, match="is not a dtype"):
        trace(lambda x: x * 2.0, ag.Spec((2,), "nonsense"))


def test_queries_take_names():
    x = ag.input("x", (2,))
    y = ag.tanh(x) * 2.0
    graph = ag.Graph(x, {"y": y})
    assert [graph.name_of(n) for n in graph.consumers("x")] == ["tanh_1"]
    assert graph.parents("multiply_1")[0] is graph["tanh_1"]
    with pytest.raises(GraphError, match="has no node 'nothing'"):
        graph.parents("nothing")


def test_outputs_of_a_traced_dict_keep_their_keys():
    graph = trace(lambda a: {"s": a * 2.0, "t": (a + 1.0,), "u": [a, a]}, (2,))
    assert list(graph.outputs) == ["s", "t", "u_0", "u_1"]


def test_inputs_of_a_traced_method_are_named_after_its_own_arguments():
    class Model:
        def scaled(self, xs, factor):
            return xs * factor

    graph = trace(Model().scaled, (2,), ())
    assert list(graph.inputs) == ["xs", "factor"]
    assert graph.run(xs=[1.0, 2.0], factor=3.0)["output"].tolist() == [3.0, 6.0]


def test_comparisons_of_parameters_follow_them_in_a_traced_graph(tmp_path):
    w = ag.parameter("w", [1.0, -2.0])
    graph = trace(lambda x: x * ag.where((w > 0) & ag.logical_not(w > 5.0), w, 10.0 * w), (2,))
    graph.save(tmp_path / "graph.json")
    for g in (graph, graph.copy(), Graph.load(tmp_path / "graph.json")):
        assert g.run(x=np.ones(2))["output"].tolist() == [1.0, -20.0]
    w.value = -w.value
    assert graph.run(x=np.ones(2))["output"].tolist() == [-10.0, 2.0]


def test_comparisons_of_parameters_that_would_stay_are_refused():
    w = ag.parameter("w", [1.0, -2.0])
    x = ag.input("x", (2,))
    mask = w > 0
    with pytest.raises(GraphError, match=r"constant_1 of graph 'graph', constant bool\[2\].*trace"):
        Graph(x, {"y": ag.where(mask, x, w)})
    with pytest.raises(GraphError, match="was computed from parameters outside any drawing"):
        Graph(x, {"y": ag.where(ag.logical_not(mask), x, w)})
    kept = Graph(x, {"y": ag.where(ag.constant(mask.value), x, w)})
    assert kept.run(x=np.ones(2))["y"].tolist() == [1.0, -2.0]


def test_counting_right_answers_keeps_no_history():
    w = ag.parameter("w", np.eye(2))
    right = ag.tensor(0)
    for _ in range(3):
        right = right + (ag.argmax(ag.tensor(np.ones((4, 2))) @ w, axis=1) == 0).sum()
    assert right.item() == 12
    assert right.inputs == ()


def test_integers_out_of_a_loop_over_parameters_that_would_stay_are_refused():
    w = ag.parameter("w", [1.0, -2.0, 3.0])
    with LoopNode("count") as loop:
        before = loop.branch("n", ag.tensor(0))
        loop.feed(before, before + (loop.each(w) > 0).astype("int64"))
        count = loop.final(before)
    x = ag.input("x", ())
    with pytest.raises(GraphError, match="was computed from parameters outside any drawing"):
        Graph(x, {"y": x * count.astype("float64")})
    with pytest.raises(GraphError, match="was computed from parameters outside any drawing"):
        Graph(x, {"y": x * (loop.final(before) > 1)})
