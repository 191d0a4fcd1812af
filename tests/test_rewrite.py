"""Passes on graphs: what each does, that it changes no result, and that a wrong one is noticed."""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import autograd as ag
from autograd.errors import GraphError, LoopGradError
from autograd.node import draw_input
from autograd.rewrite import algebra, chain, cse, fold, fuse, powers, rules, views
from autograd.rewrite.cost import NATIVE, NUMPY, Cost, Machine, cost_of, graph_cost
from autograd.rewrite.engine import Context, run_passes
from autograd.rewrite.nodes import neutral
from autograd.rewrite.pipeline import ORDER, PASSES
from autograd.scope import Scope, drawing
from loops import LoopNode
from tests.loop_forms import FORMS
from tests.loop_programs import Rolled, data, programs, run
from tests.random_graphs import CALLS, EXACT, SQUARE, random_graph
from tests.rewriting import after, after_with_moves, assert_same_bits, same_results
from tests.samples import adder_loss, branching, nest, nested
from tests.samples import chain as long_chain

OWN = ("fold", "algebra", "powers", "views", "cse", "chain", "parts", "fuse")
KEEPING_BITS = ("fold", "algebra", "cse", "parts", "fuse")
EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "exploring"
GOLDEN = Path(__file__).parent / "golden"
SPECIAL = [
    *(-0.0, -0.0, -0.0, 0.0, 1.0, -1.0, 0.5, 3.0),
    *(np.nan, np.inf, -np.inf, 5e-324, -2.5e-308, 1.7e308),
]

each_pass = pytest.mark.parametrize("name", OWN)


@cache
def drawn(seed: int) -> ag.Graph:
    return random_graph(seed)


EAGER = Machine(call=0.0, fuses=True)
"""A machine on which calls cost nothing, so that small graphs are rewritten as large ones are."""


def native(graph: ag.Graph, *names: str) -> ag.Graph:
    return after(graph, *names, machine=EAGER)


def special(graph: ag.Graph, seed: int) -> dict[str, Any]:
    """Return inputs that arithmetic is peculiar about."""
    random = np.random.default_rng(seed)
    return {key: random.choice(SPECIAL, SQUARE) for key in graph.inputs}


# The law.


@each_pass
@pytest.mark.parametrize("seed", range(12))
def test_a_pass_alone_changes_no_result_and_no_derivative(name: str, seed: int):
    graph = drawn(seed)
    with np.errstate(all="ignore"):  # of large values: what is a flag is the next test's business
        same_results(graph, native(graph, name))


@pytest.mark.parametrize("seed", range(12, 24))
def test_all_passes_together_change_no_result_and_no_derivative(seed: int):
    graph = drawn(seed)
    with np.errstate(all="ignore"):
        same_results(graph, native(graph, *OWN))
        same_results(graph, native(graph, *OWN, *OWN))
        for target in ("numpy", "native"):
            same_results(graph, graph.optimize(target=target), order=1)


@pytest.mark.parametrize("seed", range(3))
def test_float32_stays(seed: int):
    graph = random_graph(seed, EXACT, dtype="float32")
    with np.errstate(all="ignore"):
        same_results(graph, native(graph, *OWN))


@pytest.mark.parametrize("name", KEEPING_BITS)
@pytest.mark.parametrize("seed", range(12))
def test_what_is_not_marked_as_rounding_keeps_every_bit_of_every_number(name: str, seed: int):
    graph = random_graph(seed, EXACT, length=5, every=True)
    inputs = special(graph, seed)
    with np.errstate(all="ignore"):
        same_results(graph, native(graph, name), order=0, inputs=inputs, exact=True)


def test_passes_say_whether_they_round():
    assert {name for name in OWN if not PASSES[name].rounding} == set(KEEPING_BITS)
    assert set(OWN) <= set(ORDER)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_of_loop_and_its_gradient_go_through_all_passes(form: Any):
    graph = form.graph()
    inputs = dict(zip(("xs", "h", "w"), form.values, strict=True))
    inputs = {name: value for name, value in inputs.items() if name in graph.inputs}
    wanted = [*graph.inputs, *graph.parameters]
    with np.errstate(all="ignore"):
        same_results(graph, graph.optimize(target="native"), inputs=inputs)
        gradient = graph.grad(of="loss", wrt=wanted)
        for target in ("numpy", "native"):
            found = gradient.optimize(target=target)
            same_results(gradient, found, order=0, inputs=inputs, tolerance=1e-11)


@given(program=programs(2, 4), start=data(4))
@settings(max_examples=1000 if EXPLORING else 12)
def test_random_loops_go_through_all_passes(program: Any, start: Any):
    inputs = {f"x{i}": ag.input(f"x{i}", x.shape) for i, x in enumerate(start.values)}
    inputs |= {f"s{i}": ag.input(f"s{i}", x.shape) for i, x in enumerate(start.sequences)}
    nodes, count = list(inputs.values()), len(start.values)
    result = run(program, nodes[:count], nodes[count:], Rolled())
    graph = ag.Graph(inputs, {"result": result}, allow_unused=True)
    given = dict(zip(inputs, [*start.values, *start.sequences], strict=True))
    with np.errstate(all="ignore"):
        same_results(graph, graph.optimize(target="native"), inputs=given, order=1, tolerance=1e-11)
        gradient = graph.grad(wrt=[*inputs])
        same_results(gradient, gradient.optimize(), inputs=given, order=0, tolerance=1e-11)


@pytest.mark.parametrize("sample", [adder_loss, nested, branching], ids=lambda f: f.__name__)
def test_optimised_graphs_are_ordinary_graphs(sample: Any, tmp_path: Path):
    graph = sample()
    found = graph.optimize(target="native")
    found.save(tmp_path / "graph.json")
    loaded = ag.Graph.load(tmp_path / "graph.json")
    assert str(loaded) == str(found)
    same_results(graph, found.unroll())
    same_results(graph, found.optimize())
    assert found.explain().flops
    assert "<svg" in found._repr_svg_()


# Faults. Each must be noticed on some random graph.


def _like_input(node: Any) -> Any:
    return (node.inputs[0], "wrong") if node.inputs[0].spec == node.spec else None


def _divided(node: Any, did: str) -> Any:
    if any(x.op.name != "negative" for x in node.inputs):
        return None
    return rules.apply("divide", *[x.inputs[0] for x in node.inputs]), "wrong"


def _cube(node: Any) -> Any:
    exponent = rules.few(node.inputs[1])
    if exponent is None or node.inputs[0].spec != node.spec or not (exponent == 3).all():
        return None
    return rules.apply("square", node.inputs[0]), "wrong"


def _any_part(node: Any) -> Any:
    whole = node.inputs[0]
    if whole.op.name != "split" or whole.inputs[0].op.name != "concat":
        return None
    part = whole.inputs[0].inputs[0]
    return (part, "wrong") if part.spec == node.spec else None


_drawn_chain = chain._drawn


def _transposed(table: Any, factors: Any, i: int, k: int) -> Any:
    right = _drawn_chain(table, factors, i, k)
    return right.T if k == i + 1 and right.shape == SQUARE else right


FAULTS: dict[str, tuple[str, Any, str, Any]] = {
    "x * y = x": ("algebra", algebra, "RULES", {"multiply": (_like_input,)}),
    "x + y = x": ("algebra", algebra, "RULES", {"add": (_like_input,)}),
    "x + 0.0 = x": ("algebra", algebra, "_never_minus_zero", lambda x: True),
    "x / 3 = x * 0.33": (
        "algebra",
        algebra,
        "_exact_inverse",
        lambda v: None if v is None else 1 / v,
    ),
    "-x * -y = x / y": ("algebra", algebra, "_both_negated", _divided),
    "stop_gradient = identity": ("algebra", algebra, "RULES", {"stop_gradient": (_like_input,)}),
    "x**3 = x*x": ("powers", powers, "RULES", {"power": (_cube,)}),
    "attrs do not matter": ("cse", cse, "_plain", lambda value: None),
    "constants are alike": ("cse", cse, "_leaf", lambda node: (node.op, node.spec)),
    "a - b = b - a": ("cse", cse, "_COMMUTE", {"subtract"}),
    "parameters are constants": ("fold", fold, "value_of", lambda node: node._value),
    "constants are near": (
        "fold",
        fold,
        "constant_of",
        lambda v: rules.constant_of(v * (1 + 1e-7)),
    ),
    "all transposes are none": ("views", views, "_order", lambda node: tuple(range(node.ndim))),
    "parts are all the first": ("views", views, "RULES", {"item": (_any_part,)}),
    "flips are none": ("views", views, "RULES", {"flip": (_like_input,)}),
    "slices are none": ("views", views, "RULES", {"slice": (_like_input,)}),
    "factors are transposed": ("chain", chain, "_drawn", _transposed),
    "outputs change places": ("fuse", fuse, "items", lambda node: ag.node.items(node)[::-1]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.reference_only("plans run the pass, too")
def test_a_wrong_pass_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch):
    name, module, attribute, wrong = FAULTS[fault]
    monkeypatch.setattr(module, attribute, wrong)
    with np.errstate(all="ignore"):
        assert any(is_noticed(name, seed) for seed in range(120))


def is_noticed(name: str, seed: int) -> bool:
    """Whether the tests above fail for this pass on one of the graphs of this seed."""
    exact = random_graph(seed, EXACT, length=5, every=True)
    inputs = special(exact, seed)
    try:
        same_results(drawn(seed), native(drawn(seed), name))
        if name in KEEPING_BITS:
            same_results(exact, native(exact, name), order=0, inputs=inputs, exact=True)
    except (AssertionError, LoopGradError):
        return True
    return False


def test_bits_are_told_apart():
    assert_same_bits(np.array([np.nan, 1.0]), np.array([-np.nan, 1.0]))
    for other in ([0.0, 1.0], [-0.0, np.nextafter(1.0, 2.0)]):
        with pytest.raises(AssertionError):
            assert_same_bits(np.array(other), np.array([-0.0, 1.0]))


# What each pass does.


def graph_of(fn: Any, *shapes: Any) -> ag.Graph:
    """Return the graph of `fn`, drawn in a scope, where an op on constants stays an op."""
    scope = Scope("body", None)
    inputs = {
        f"x{i}": draw_input(f"x{i}", ag.Spec(s, np.dtype("f8")), scope)
        for i, s in enumerate(shapes)
    }
    with drawing(scope):
        outputs = fn(*inputs.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    graph = ag.Graph.of(inputs, {f"y{i}": y for i, y in enumerate(outputs)}, "graph")
    for node in [*inputs.values(), *graph.nodes]:
        node.scope = None
    return graph


def ops(graph: ag.Graph) -> list[str]:
    """Return the names of the ops of a graph without those of leaves, in order."""
    return [node.op.name for node in graph.nodes if node.inputs]


ONE = ag.constant(np.ones(3))

RESULTS = {
    "fold": [
        (lambda x: x * (ag.exp(ONE) + 1.0), ["multiply"]),
        (lambda x: x + ag.log(ONE - 1.0), ["log", "add"]),  # divides by zero
        (lambda x: x + ag.split(ONE * 2.0, [1])[0], ["add"]),
        (lambda x: x + ag.broadcast_to(ONE, (150, 3)).sum(0), ["add"]),
        (lambda x: x + ag.broadcast_to(ONE, (2000, 3)).sum(0), ["broadcast_to", "sum", "add"]),
        (lambda x: x * ag.positions(x), ["multiply"]),
    ],
    "algebra": [
        (lambda x: x + 0.0, ["add"]),
        (lambda x: 0.0 * x, ["multiply"]),
        (lambda x: x - x, ["subtract"]),
        (lambda x: -(x - ag.tanh(x)), ["tanh", "subtract", "negative"]),
        (lambda x: x / 3.0, ["divide"]),
        (lambda x: x / 8.0, ["multiply"]),
        (lambda x: x / 2.0**-1070, ["divide"]),  # 2**1070 is infinite
        (lambda x: x / 2.0**1023, ["divide"]),  # 2**-1023 is not as precise as others
        (lambda x: ag.stop_gradient(x), ["stop_gradient"]),
        (lambda x: x * np.ones((2, 3)), ["multiply"]),  # it broadcasts
        (lambda x: x * 1 / 1 - 0, []),
        (lambda x: ag.exp(x) + 0.0, ["exp"]),
        (lambda x: (x + 1.0) + 0.0, ["add"]),
    ],
    "powers": [
        (lambda x: x**2, ["square"]),
        (lambda x: x**0.5, ["power"]),
        (lambda x: x ** np.array([2.0, 2.0, 2.0]), ["square"]),
        (lambda x: x ** np.array([2.0, 1.0, 2.0]), ["power"]),
    ],
    "views": [
        (lambda x: ag.reshape(ag.expand_dims(x, 0), (3, 1)), ["reshape"]),
        (lambda x: ag.flip(ag.flip(x)), []),
        (lambda x: x[::-1], ["slice"]),
        (lambda x: x[:], []),
        (lambda x: x * ag.broadcast_to(x[:1], (3,)), ["slice", "multiply"]),
        (lambda x: ag.tanh(ag.broadcast_to(x, (2, 3))), ["broadcast_to", "tanh"]),
        (lambda x: ag.astype(ag.astype(x, "float32"), "float64"), ["astype", "astype"]),
        (lambda x: ag.concat([*ag.split(x, 3)[::-1]]), ["split", *["item"] * 3, "concat"]),
    ],
    "cse": [
        (lambda x: ag.tanh(x) + ag.tanh(x), ["tanh", "add"]),
        (lambda x: (x * 2.0) / (x * ag.constant(2.0)), ["multiply", "divide"]),
        (lambda x: (x * 0.0) - (x * -0.0), ["multiply", "multiply", "subtract"]),
        (lambda x: ag.sum(x) + ag.sum(x, 0, True), ["sum", "sum", "add"]),
        (lambda x: (x - 1.0) * (1.0 - x), ["subtract", "subtract", "multiply"]),
        (lambda x: noise(1) + noise(1) * x, ["random_normal", "multiply", "add"]),
        (lambda x: noise(1) + noise(2) * x, ["random_normal"] * 2 + ["multiply", "add"]),
        (lambda x: users_own(x) + users_own(x), ["users_own", "users_own", "add"]),
    ],
}


def noise(seed: int) -> Any:
    return ag.random.normal(ag.random.key(seed), (3,))


@ag.custom_vjp
def users_own(x: Any) -> Any:
    return x * 2.0


@pytest.mark.parametrize(
    ("name", "fn", "left"),
    [(name, *case) for name, cases in RESULTS.items() for case in cases],
)
def test_what_a_pass_leaves(name: str, fn: Any, left: list[str]):
    assert sorted(ops(after(graph_of(fn, (3,)), name))) == sorted(left)


def test_bodies_of_one_structure_are_one_loop():
    def loop(xs: Any, factor: float) -> Any:
        with LoopNode("loop") as node:
            h = node.branch("h", np.zeros(2))
            node.feed(h, ag.tanh(h * factor + node.each(xs)))
        return node.final(h)

    graph = graph_of(lambda xs: loop(xs, 0.5) + loop(xs, 0.5) * loop(xs, 0.25), (4, 2))
    found = after(graph, "cse")
    assert ops(graph).count("loop") == 3
    assert ops(found).count("loop") == 2
    same_results(graph, found)


def test_what_may_change_or_have_a_gradient_is_no_constant():
    w = ag.parameter("w", np.ones(3))
    leaf = ag.tensor(np.ones(3), requires_grad=True)
    for tracked in (w, leaf):
        graph = ag.trace(lambda x, tracked=tracked: x * ag.exp(tracked), (3,))
        assert ops(graph.optimize()) == ["exp", "multiply"]


def test_what_raises_is_left_to_the_run():
    graph = graph_of(lambda x: x + ag.linalg.inv(ag.constant(np.zeros((3, 3))) * 1.0)[0], (3,))
    found = after(graph, "fold")
    assert "inv" in ops(found)
    with pytest.raises(ag.linalg.SingularError):
        found.run(x0=np.ones(3))


def test_a_chain_goes_by_the_machine():
    def shapes(n: int) -> ag.Graph:
        return graph_of(lambda a, b, v: (a @ b) @ v, (n, n), (n, n), (n,))

    found, context = after_with_moves(shapes(50), "chain")
    assert [(m.did, m.before.flops, m.after.flops) for m in context.moves] == [
        ("the order a (b c) of 3 factors", 255_000, 10_000)
    ]
    assert found.outputs["y0"].inputs[0] is found.inputs["x0"]
    found, context = after_with_moves(shapes(1), "chain")
    assert not context.moves
    found, context = after_with_moves(
        graph_of(lambda a, b, c: (a @ b) @ c, (9, 9), (9, 9), (9, 8)), "chain"
    )
    assert ["gains less than 5%" in move.why_not for move in context.moves] == [True]
    assert context.moves[0].before.flops > context.moves[0].after.flops


def test_products_that_others_read_are_factors():
    graph = graph_of(lambda a, v: ((a @ a) @ v, a @ a), (50, 50), (50,))
    assert str(after(graph, "cse", "chain")) == str(after(graph, "cse"))


def test_long_chains_of_products_are_cut():
    graph = graph_of(lambda a, v: _powers(a, 100) @ v, (8, 8), (8,))
    found = after(graph, "chain")
    flops = graph_cost(graph).flops, graph_cost(found).flops
    assert flops[1] < flops[0] / 1.1
    same_results(graph, found, inputs={"x0": np.eye(8) * 1.01 + 0.01}, order=1)


def _powers(a: Any, count: int) -> Any:
    y = a
    for _ in range(count - 1):
        y = y @ a
    return y


# Fusion.


def test_no_way_leaves_fused_ops_and_comes_back():
    """b = tanh(a) is read by the product, of which the sum is made: one op cannot be both."""

    def fn(x: Any) -> Any:
        b = ag.tanh(x) * 2.0
        return ag.tanh(b @ x) * 3.0 + b

    graph = graph_of(fn, (3, 3))
    found = native(graph, "fuse")
    assert ops(found) == ["fused", "item", "matmul", "fused", "item"]
    same_results(graph, found)


def test_what_is_only_read_later_is_computed_with_its_reader():
    graph = graph_of(lambda x, g: (1.0 - g * g) * (x @ x), (3, 3), (3, 3))
    found = native(graph, "fuse")
    assert ops(found) == ["matmul", "fused", "item"]
    (node,) = found.find(op="fused")
    assert len(node.inputs) == 2


def test_fused_ops_have_several_outputs_of_one_shape_and_inputs_that_broadcast():
    graph = graph_of(lambda x, b: (ag.exp(x + b), ag.tanh(x + b) * 2.0), (2, 3), (3,))
    found = native(graph, "cse", "fuse")
    (node,) = found.find(op="fused")
    assert [spec.shape for spec in node.spec] == [(2, 3), (2, 3)]
    assert [x.shape for x in node.inputs] == [(2, 3), (3,)]
    same_results(graph, found)


def test_fused_ops_are_for_executors_that_have_them():
    graph = graph_of(lambda x: ag.tanh(x) * 2.0, (3,))
    assert ops(graph.optimize()) == ["tanh", "multiply"]
    assert ops(graph.optimize(target="native")) == ["fused", "item"]
    assert ops(graph.optimize(target="native", off=["fuse"])) == ["tanh", "multiply"]


def test_fused_ops_are_mapped_over_pushed_forward_and_looked_into():
    graph = native(graph_of(lambda x, b: ag.log(ag.exp(x) * b) - b, (2, 3), (3,)), "fuse")
    xs, b = np.linspace(0.1, 1, 24).reshape(4, 2, 3), np.array([1.0, 2.0, 3.0])
    found = ag.vmap(graph, (0, None))(xs, b).value
    np.testing.assert_allclose(found, xs + np.log(b) - b, rtol=1e-14)
    _, slope = ag.jvp(lambda x: graph(x, ag.tensor(b)), (xs[0],), (np.ones((2, 3)),))
    np.testing.assert_allclose(slope.value, np.ones((2, 3)), rtol=1e-14)
    seen = {}
    graph.run(x0=xs[0], x1=b, watch=lambda path, value: seen.update({path: value}))
    np.testing.assert_allclose(seen["fused_1.exp_1"], np.exp(xs[0]))
    with ag.check_finite(), pytest.raises(ag.NonFiniteError, match=r"fused_1\.log_1"):
        graph.run(x0=xs[0], x1=b * [1, 0, 1])


# The pipeline.


def test_names_and_lines_survive():
    x = ag.input("x", (3,))
    y = (ag.tanh(x) * 1.0).named("y")
    squared = (y**2).named("squared")
    graph = ag.Graph([x], {"loss": (ag.negative(-squared)).named("loss")})
    found = graph.optimize()
    assert [found.names[node] for node in found.nodes] == ["x", "tanh_1", "squared"]
    assert found["squared"].line == graph["squared"].line
    found = graph.optimize(target="native")
    assert found["fused_1.squared"].line == graph["squared"].line
    assert found.outputs["loss"].name == "squared"


def test_the_page_lists_all_passes_with_their_laws_in_order():
    page = (GOLDEN.parent.parent / "docs" / "passes.md").read_text(encoding="utf-8")
    table = page.split("## All passes")[1].split("\n\n")[2].splitlines()
    rows = table[2:]
    assert rows == [
        f"| `{name}` | {PASSES[name].law} | {'yes' if PASSES[name].rounding else 'no'} |"
        for name in dict.fromkeys(ORDER)
    ]


def test_graphs_that_nothing_can_be_done_about_keep_their_nodes():
    graph = neutral(graph_of(lambda x: ag.tanh(x @ x), (3, 3)))
    for each in PASSES.values():
        assert run_passes(graph, [each], Context(NUMPY)) is graph


def test_unknown_names_are_errors_that_list_the_known_ones():
    graph = adder_loss()
    with pytest.raises(
        GraphError, match=r"no pass 'fusion' to leave out; .* in order, are fold, un"
    ):
        graph.optimize(off=["fusion"])
    with pytest.raises(GraphError, match="no target 'cuda' to optimise for; choose from numpy, na"):
        graph.optimize(target="cuda")


def test_a_report_says_what_was_done_and_what_was_not():
    graph = graph_of(
        lambda a, b, c: (ag.square(-(a @ b)) * 1.0 / 2.0) @ b @ c, (9, 9), (9, 9), (9, 8)
    )
    report = graph.optimize(explain=True)
    assert [move.by for move in report.done] == ["algebra"] * 3
    assert [move.by for move in report.left] == ["chain"]
    assert report.before == graph_cost(graph)
    assert report.after == graph_cost(report.graph)
    assert ops(report.graph) == ["matmul", "square", "multiply", "matmul", "matmul"]
    _check_golden("rewrite_report", str(report))


def test_costs_are_those_of_all_steps():
    xs = ag.input("xs", (100, 3))
    with LoopNode("loop") as loop:
        h = loop.branch("h", np.zeros(3))
        loop.feed(h, (h + loop.each(xs)) * 1.0)
    report = ag.Graph([xs], {"h": loop.final(h)}).optimize(explain=True)
    (move,) = [move for move in report.done if move.by == "algebra"]
    assert (move.node, move.before, move.after) == (
        "loop.multiply_1",
        Cost(300, 100 * (24 + 8 + 24), 100),
        Cost(),
    )


def test_costs_of_branches_are_those_of_the_dearest():
    graph = branching()
    (loop,) = [node for node in graph.nodes if node.bodies]
    (branch,) = [node for node in loop.bodies[0].nodes if node.bodies]
    bodies = [graph_cost(body).flops for body in branch.bodies]
    rest = sum(cost_of(n).flops for n in loop.bodies[0].nodes if not n.bodies)
    assert graph_cost(graph).flops == 6 * (max(bodies) + rest)


EXAMPLES = {
    "fold": lambda x: x * (ag.exp(ONE) + 1.0),
    "algebra": lambda x: ag.negative(-x) * 1.0 + (-ag.tanh(x)) / 2.0,
    "powers": lambda x: x**2 + x**3 + x**0.5,
    "views": lambda x: (
        x * ag.broadcast_to(ag.sum(ag.reshape(ag.flip(ag.flip(x)), (3, 1)), 1), (3,))
    ),
    "cse": lambda x: ag.tanh(x + 1.0) * ag.tanh(1.0 + x),
    "chain": lambda x: ag.outer(x, x) @ ag.outer(x, x) @ x,
    "parts": lambda x: ag.concat(ag.split(ag.tanh(x * 2.0), (1,))[::-1]),
    "fuse": lambda x: ag.tanh(x * 2.0) / (ag.sum(ag.exp(x)) + 1.0),
}


@each_pass
def test_text_before_and_after_is_that_of_the_golden_file(name: str):
    graph = graph_of(EXAMPLES[name], (3,))
    found = native(graph, name)
    same_results(graph, found, inputs={"x0": np.array([0.5, 0.2, 0.7])})
    _check_golden(f"rewrite_{name}", f"before\n{graph}\n\nafter {name}\n{found}")


def _check_golden(name: str, text: str) -> None:
    """Compare with a file. Write it anew with LOOPGRAD_WRITE_GOLDEN=1, and read the difference."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("LOOPGRAD_WRITE_GOLDEN"):
        file.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == file.read_text(encoding="utf-8")


# Size.


def _with_little_stack(work: Any) -> None:
    def limited() -> None:
        sys.setrecursionlimit(120)
        work()

    limit = sys.getrecursionlimit()
    try:
        thread = threading.Thread(target=limited)
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)


def test_deep_nests_need_no_stack():
    graph = nest(1000)
    found: list[Any] = []
    _with_little_stack(lambda: found.append(graph.optimize(target="native", explain=True)))
    np.testing.assert_array_equal(found[0].graph.run(x=np.array([1.0, 2.0]))["y"], [2.0, 4.0])


def test_equal_nests_are_found_without_stack():
    x = ag.input("x", (2,))
    graph = ag.Graph([x], {"y": nest(300)(x) * nest(300)(x)})
    found: list[ag.Graph] = []
    _with_little_stack(lambda: found.append(after(graph, "cse")))
    assert ops(found[0]).count("loop") == 1


@each_pass
def test_work_grows_with_the_graph_and_no_faster(name: str):
    def everything(times: int) -> Any:
        def fn(a: Any, b: Any) -> Any:
            for call in [*CALLS.values()] * times:
                a, b = b, ag.astype(call(a, b), a.dtype)
            return a, b

        return fn

    def calls(times: int) -> float:
        graph = neutral(graph_of(everything(times), SQUARE, SQUARE))
        count = 0

        def counted(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            run_passes(graph, [PASSES[name]], Context(NATIVE))
        finally:
            sys.setprofile(None)
        return count / len(graph.nodes)

    assert calls(8) < 1.5 * calls(2)


def test_a_chain_of_many_thousand_nodes_is_rewritten():
    graph = long_chain(6_000)
    for name in OWN:
        assert len(after(graph, name).nodes) == len(graph.nodes)
    assert len(native(graph, "fuse").nodes) == 4  # the input, the number, fused, its item


class TestUniform:
    def test_an_array_of_one_value_is_the_value(self):
        x = ag.input("x", (3, 4))
        graph = ag.Graph(x, {"y": ag.multiply(x, np.full((3, 4), 0.25)) + np.full((1, 4), -0.0)})
        fast = after(graph, "uniform")
        assert [n.shape for n in fast.nodes if n.op.name == "constant"] == [(), ()]
        same_results(graph, fast, exact=True)

    @pytest.mark.parametrize("other", [np.eye(2), np.array([[0.0, -0.0]]), np.ones((3, 2, 2))])
    def test_other_arrays_and_those_that_give_the_shape_stay(self, other):
        x = ag.input("x", (2, 2))
        graph = ag.Graph(x, {"y": x * other})
        assert str(after(graph, "uniform")) == str(neutral(graph))
