"""`graph.explain()`: flops against hand counts and formulas, classes, what is saved, the report."""

import os
import re
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
from autograd.errors import GraphError
from autograd.explain import Count, Dependence
from autograd.node import OPS, apply
from autograd.ops.index import gather, place, scatter, slice_set
from autograd.ops.linalg import cofactor
from autograd.ops.reduce import _count
from autograd.ops.shape import sum_to
from autograd.spec import Spec
from autograd.tree import flatten
from loops import LoopNode, cond
from loops.form import Ports, loop_attrs
from nn import RNN
from tests.conftest import ROOT
from tests.samples import SAMPLES, adder, adder_loss, branching, chain, nest, nested
from tests.test_docs import run_blocks
from tests.test_ops import ROWS
from tests.test_text import Twice, body

GOLDEN = Path(__file__).parent / "golden"
INVARIANT, EACH, STATE = Dependence


@pytest.mark.parametrize("name", ["adder", "adder_gradient", "nested", "branching"])
def test_report_is_that_of_the_golden_file(name: str):
    """Write the files anew with LOOPGRAD_WRITE_GOLDEN=1, and read the difference."""
    text = str(SAMPLES[name]().explain()) + "\n"
    file = GOLDEN / f"explain_{name}.txt"
    if os.environ.get("LOOPGRAD_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


# Flops of ops.


def counted(fn, *shapes, dtypes=()) -> int:
    """Return the flops of the graph of `fn` on inputs of these shapes."""
    specs = [
        ag.input(f"x{i}", shape, dtype)
        for i, (shape, dtype) in enumerate(
            zip(shapes, [*dtypes, *[np.float64] * len(shapes)], strict=False)
        )
    ]
    outputs = flatten(fn(*specs))[0]
    graph = ag.Graph(specs, {f"y{i}": y for i, y in enumerate(outputs)}, allow_unused=True)
    flops = graph.explain().flops
    assert flops == Count(flops.value)
    return flops.value


INDEX = np.array([0, 2, 2])
BY_HAND = {
    "add": (lambda a, b: a + b, [(3, 1), (1, 4)], 12),
    "divide": (lambda a, b: a / b, [(3, 4), ()], 4 * 12),
    "sqrt": (ag.sqrt, [(5,)], 4 * 5),
    "tanh": (ag.tanh, [(3, 4)], 8 * 12),
    "gelu": (ag.gelu, [(3,)], 8 * 3),
    "relu": (ag.relu, [(3,)], 3),
    "compare": (lambda a: a > 0.0, [(3, 2)], 6),
    "identity": (OPS["identity"], [(3,)], 0),
    "scalar": (lambda a: a * a, [()], 1),
    "empty": (lambda a: ag.tanh(a @ a.T), [(0, 4)], 0),
    "matrix @ matrix": (ag.matmul, [(3, 4), (4, 5)], 2 * 3 * 4 * 5),
    "vector @ vector": (ag.matmul, [(7,), (7,)], 2 * 7),
    "vector @ matrix": (ag.matmul, [(4,), (4, 5)], 2 * 4 * 5),
    "stacks": (ag.matmul, [(6, 1, 3, 4), (2, 4, 5)], 2 * 6 * 2 * 3 * 4 * 5),
    "tensordot": (lambda a, b: ag.tensordot(a, b, 2), [(2, 3, 4), (3, 4, 5)], 2 * 2 * 12 * 5),
    "einsum of two": (lambda a, b: ag.einsum("ij,jk->ik", a, b), [(3, 4), (4, 5)], 2 * 60),
    "outer einsum": (lambda a, b: ag.einsum("i,j->ij", a, b), [(3,), (4,)], 12),
    "einsum of three": (
        lambda a, b, c: ag.einsum("i,ij,j->", a, b, c), [(3,), (3, 4), (4,)], 3 * 12,
    ),
    "transposing einsum": (lambda a: ag.einsum("ij->ji", a), [(3, 4)], 0),
    "summing einsum": (lambda a: ag.einsum("ij->i", a), [(3, 4)], 12),
    "sum": (lambda a: ag.sum(a, 0), [(3, 4)], 12),
    "mean": (lambda a: ag.mean(a, 0), [(3, 4)], 12 + 4 * 4),
    "max": (ag.max, [(3, 4)], 12),
    "argmax": (lambda a: ag.argmax(a, 1), [(3, 4)], 12),
    "norm": (ag.norm, [(3, 4)], 8 * 12 + 5),
    "sum of nothing": (lambda a: ag.sum(a, 0), [(0, 4)], 0),
    "logsumexp": (lambda a: ag.logsumexp(a, 1), [(3, 4)], 11 * 12 + 9 * 3),
    "softmax": (ag.softmax, [(3, 4)], 15 * 12),
    "log_softmax": (ag.log_softmax, [(3, 4)], 12 * 12 + 8 * 3),
    "cumsum": (lambda a: ag.cumsum(a, 1), [(3, 4)], 12),
    "sum_to": (lambda a: sum_to(a, shape=(3, 1)), [(2, 3, 4)], 24),
    "sum_to itself": (lambda a: sum_to(a, shape=(3, 4)), [(3, 4)], 0),
    "views": (lambda a: ag.broadcast_to(ag.reshape(a.T, (12,)), (5, 12)), [(3, 4)], 0),
    "moves": (lambda a: ag.flip(ag.roll(ag.concat([a, a]), 1), 0)[1:, 0], [(3, 4)], 0),
    "indices": (lambda a: gather(a, INDEX, axes=(0,), at=0), [(3, 4)], 0),
    "scatter": (lambda v: scatter(v, INDEX, axes=(0,), at=0, shape=(3, 4)), [(3, 4)], 12),
    "place": (
        lambda a, b: place(a, b, keys=((0,), (1,)), shape=(3, 4)), [(4,), (4,)], 8,
    ),
    "slice_set": (lambda x, v: slice_set(x, v, key=(0,)), [(3, 4), (4,)], 0),
    "triangle": (ag.tril, [(3, 3)], 0),
    "astype": (lambda a: a.astype("float32"), [(3,)], 0),
    "count": (lambda a: _count(a, axis=(0,)), [(3,)], 0),
    "several outputs": (lambda a: ag.unstack(a)[0] * 2.0, [(2, 3)], 3),
    "solve": (ag.solve, [(3, 3), (3,)], 18 + 2 * 9),
    "solve stacks": (ag.solve, [(5, 1, 3, 3), (2, 3, 4)], 10 * (18 + 2 * 9 * 4)),
    "inv": (ag.inv, [(2, 3, 3)], 2 * 54),
    "det": (ag.det, [(3, 3)], 18),
    "slogdet": (lambda a: list(ag.linalg.slogdet(a)), [(3, 3)], 18),
    "cholesky": (ag.linalg.cholesky, [(3, 3)], 9),
    "cofactor": (cofactor, [(3, 3)], 73 * 9),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_flops_are_those_counted_by_hand(name: str):
    fn, shapes, flops = BY_HAND[name]
    assert counted(fn, *shapes) == flops


def test_random_numbers_count_as_functions_of_their_bits():
    key = ag.input("key", (2,), np.uint64)
    draws = {"u": ag.random.uniform(key, (3,)), "n": ag.random.normal(key, (3,))}
    assert ag.Graph(key, draws).explain().body.by_op == {"random_uniform": 24, "random_normal": 48}


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_every_op_counts_its_flops(case):
    for sample in case.samples:
        xs = [np.asarray(x) for x in sample(np.random.default_rng(0))]
        inputs = [ag.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(xs)]
        outputs = flatten(case.fn(*inputs))[0]
        named = {f"y{i}": y for i, y in enumerate(outputs)}
        graph = ag.Graph(inputs, named, allow_unused=True)
        for node in [n for n in graph.nodes if n.op.name == case.op]:
            flops = node.op.flops([x.spec for x in node.inputs], node.spec, node.attrs)
            assert type(flops) is int
            assert flops >= 0
            assert flops == 0 or not node.op.free


def test_leaves_count_nothing():
    spec = Spec((3,), np.dtype("float64"))
    for name in ("input", "parameter", "constant", "item"):
        assert OPS[name].flops([spec], spec, {}) == 0


# Flops of models, by formula.

T, B, D, H = 7, 3, 5, 4


def test_rnn_counts_as_the_formula_says():
    rnn = RNN(D, H, rng=0)
    xs = ag.input("xs", (T, B, D))
    explained = ag.Graph(xs, {"hs": rnn(xs)[0]}).explain()
    step = 2 * B * D * H + 2 * B * H * H + 3 * B * H + 8 * B * H  # 3: two biases, one sum
    (loop,) = explained.loops
    assert loop.bodies[0].flops == Count(step)
    assert loop.flops == Count(T * step)
    assert explained.flops == Count(T * step)
    assert explained.parameter_bytes == 8 * (D * H + H * H + 2 * H)


def test_lstm_counts_as_the_formula_says():
    u, w = ag.parameter("u", np.ones((D, 4 * H))), ag.parameter("w", np.ones((H, 4 * H)))
    b = ag.parameter("b", np.ones(4 * H))
    xs = ag.input("xs", (T, B, D))
    with LoopNode("lstm") as step:
        x = step.each(xs, "x")
        h, c = step.branch("h", ag.zeros((B, H))), step.branch("c", ag.zeros((B, H)))
        i, f, g, o = ag.split((x @ u + h @ w) + b, 4, axis=1)
        c_next = ag.sigmoid(f) * c + ag.sigmoid(i) * ag.tanh(g)
        h_next = ag.sigmoid(o) * ag.tanh(c_next)
        step.feed(h, h_next)
        step.feed(c, c_next)
        hs = step.collect(h_next)
    explained = ag.Graph(xs, {"hs": hs}).explain()
    products = 2 * B * D * 4 * H + 2 * B * H * 4 * H
    sums = 2 * B * 4 * H + B * H
    assert explained.flops == Count(T * (products + sums + 3 * B * H + 8 * 5 * B * H))
    assert explained["lstm"].bodies[0].by_op["matmul"] == products


@pytest.mark.parametrize(
    ("make", "last"),
    [(adder, 0), (nested, 4), (lambda: adder_loss().grad(), 2 * 16 * 16)],
    ids=["adder", "nested", "gradient"],
)
def test_unrolled_graph_counts_the_same_but_for_what_the_last_step_feeds_nobody(make, last: int):
    graph = make()
    explained, unrolled = graph.explain(), graph.unroll().explain()
    assert unrolled.flops + Count(last) == explained.flops
    assert not unrolled.loops


def flops_of_a_run(graph: ag.Graph, **inputs) -> int:
    """Return the flops of all values computed in a run, as they come."""
    nodes = {path: node for path, _, node in graph.walk()}
    flops = []

    def watch(path: str, value: np.ndarray) -> None:
        node = nodes[re.sub(r"\[\d+\]", "", path)]
        if node.inputs and not node.bodies and node.op.name != "item":
            flops.append(node.op.flops([x.spec for x in node.inputs], node.spec, node.attrs))

    graph.run(watch=watch, **inputs)
    return sum(flops)


@pytest.mark.parametrize("make", [adder, nested, lambda: adder_loss().grad()])
def test_flops_are_those_of_what_a_run_computes(make):
    graph = make()
    zeros = {name: np.zeros(x.shape, x.dtype) for name, x in graph.inputs.items()}
    assert graph.explain().flops == Count(flops_of_a_run(graph, **zeros))


@pytest.mark.parametrize(("taken", "less"), [(True, 0), (False, 6 * (64 - 4))])
def test_a_run_computes_at_most_what_branches_may_take(taken: bool, less: int):
    graph = branching()
    ran = flops_of_a_run(graph, xs=np.zeros((6, 4)), flags=np.full(6, taken))
    assert ran == graph.explain().flops.value - less


def test_more_steps_are_more_of_the_same():
    short, long = adder(4).explain(), adder(12).explain()
    assert long.flops.value == 3 * short.flops.value
    assert long["step"].saved_bytes.value == 3 * short["step"].saved_bytes.value
    assert long["step"].bodies[0].flops == short["step"].bodies[0].flops


def test_bytes_moved_are_those_of_all_inputs_and_outputs():
    x, w = ag.input("x", (3, 4)), ag.input("w", (4, 5), np.float32)
    explained = ag.Graph([x, w], {"y": ag.tanh(x @ ag.swapaxes(w.T, 0, 1))}).explain()
    assert explained.moved == Count(8 * 12 + 4 * 20 + 8 * 15 + 2 * 8 * 15)


def test_shares_of_loops_are_shares_of_all_runs():
    explained = nested().explain()
    columns = explained["rows.columns"]
    assert columns.runs == Count(5)
    assert columns.steps == 3
    assert explained["rows"].flops == columns.flops * columns.runs + Count(5 * 4)
    assert [loop.path for loop in explained.walk()] == ["rows", "rows.columns"]


# Dependence.


def classes(explained, path: str) -> dict[str, Dependence | None]:
    return {node.name: node.depends for node in explained[path].bodies[0].nodes}


def test_classes_of_the_adder():
    found = classes(adder().explain(), "step")
    assert found.pop("matmul_1") is EACH
    assert set(found.values()) == {STATE}


def test_what_the_step_does_not_change_is_invariant():
    xs, w = ag.input("xs", (4, 3)), ag.parameter("w", np.ones(3))
    with LoopNode("step") as step:
        x = step.each(xs)
        s = step.branch("s", ag.zeros(3))
        scale = ag.exp(w).named("scale")
        input_part = (x * scale).named("input part")
        step.feed(s, (s + input_part).named("next"))
        ys = step.collect(ag.square(s).named("handed out"))
    explained = ag.Graph(xs, {"ys": ys}).explain()
    assert classes(explained, "step") == {
        "scale": INVARIANT, "input part": EACH, "next": STATE, "handed out": STATE,
    }  # fmt: skip
    body = explained["step"].bodies[0]
    assert {node.name: node.carried for node in body.nodes} == {
        "scale": True, "input part": True, "next": True, "handed out": False,
    }  # fmt: skip
    assert [node.name for node in body.depending(INVARIANT)] == ["scale"]
    assert [node.name for node in body.only_handed_out] == ["handed out"]
    assert "could be done once, before the loop (loop-invariant), flops: 24" in str(explained)


def test_a_state_counts_even_where_it_passes_through_another():
    xs = ag.input("xs", (4, 3))
    with LoopNode("step") as step:
        x = step.each(xs)
        last = step.branch("last", ag.zeros(3))
        before = step.branch("before", ag.zeros(3))
        step.feed(last, x)
        step.feed(before, last)
        ys = step.collect((before * x).named("y"))
    assert classes(ag.Graph(xs, {"ys": ys}).explain(), "step") == {"y": STATE}


def test_inner_loop_is_one_node_and_has_classes_of_its_own():
    explained = nested().explain()
    assert classes(explained, "rows") == {"columns": STATE, "multiply_1": STATE}
    assert explained["rows.columns"].depends is STATE
    assert classes(explained, "rows.columns")["matmul_1"] is EACH


def test_branch_in_a_loop_has_the_classes_of_its_operands():
    xs, w = ag.input("xs", (4, 3)), ag.parameter("w", np.ones(3))
    with LoopNode("step") as step:
        x = step.each(xs)
        s = step.branch("s", ag.zeros(3))
        y = cond(ag.sum(x) > 0, lambda a: ag.exp(w) * a, lambda a: a, x)
        step.feed(s, s + y)
    explained = ag.Graph(xs, {"s": step.final(s)}).explain()
    (branch,) = explained["step"].bodies[0].loops
    assert branch.path == "step.cond"
    assert branch.depends is EACH
    taken = branch.bodies[1]
    assert [(n.op, n.depends, n.carried) for n in taken.nodes] == [
        ("exp", INVARIANT, True), ("multiply", EACH, True),
    ]  # fmt: skip


def test_outside_of_loops_there_are_no_classes():
    x = ag.input("x", (3,))
    y = cond(ag.sum(x) > 0, lambda a: ag.exp(a), lambda a: a * 2.0, x)
    explained = ag.Graph(x, {"y": y}).explain()
    assert {node.depends for node in explained.body.nodes} == {None}
    assert {node.depends for body in explained.loops[0].bodies for node in body.nodes} == {None}


# How often.


def test_branch_costs_at_most_its_dearest_body():
    explained = branching().explain()
    cheap, dear = explained["walk.cond"].bodies
    assert (cheap.flops, dear.flops) == (Count(4), Count(2 * 4 * 4 + 8 * 4))
    assert explained["walk.cond"].flops == Count(dear.flops.value, at_most=True)
    assert explained.flops == Count(6 * (4 + dear.flops.value), at_most=True)
    assert "multiply" not in explained.body.by_op


def halving(length: int | None) -> ag.Graph:
    x = ag.input("x", (3,))
    with LoopNode("halve", length=length) as loop:
        s = loop.branch("s", x)
        half = ag.tanh(s)
        loop.feed(s, half)
        loop.until(ag.sum(half) < 0.1)
    return ag.Graph(x, {"y": ag.sum(loop.final(s))}, name="halving")


def test_loop_that_stops_early_takes_at_most_its_length():
    explained = halving(20).explain()
    loop = explained["halve"]
    assert (loop.steps, loop.trips.exact) == (20, False)
    assert loop.saved_bytes == Count(20 * 3 * 8, at_most=True)
    assert explained.flops.at_most
    assert "loop halve: at most 20 steps" in str(explained)


def test_length_that_only_data_decide_is_a_question_mark():
    explained = halving(None).explain()
    loop = explained["halve"]
    assert loop.steps is None
    assert loop.bodies[0].flops.value > 0
    assert explained.flops == Count(3, at_least=True)
    assert [item.spec.nbytes for item in loop.saved] == [24]
    text = str(explained)
    assert "loop halve: ? steps, the data decide" in text
    assert "flops of all steps: ?" in text
    assert "halve.tanh_1: float64[3] x ?, bytes: 24 a step" in text
    gradient = str(halving(None).grad(wrt=["x"]).explain())
    assert "loop halve_grad: ? steps" in gradient
    assert "stacked halve_saved:saved_tanh_1: float64[?, 3] <- tanh_1" in gradient


def test_ragged_loop_takes_at_most_the_steps_of_its_longest_row():
    xs, lengths = ag.input("xs", (6, 2, 3)), ag.input("lengths", (2,), np.int64)
    with LoopNode("step", lengths=lengths) as step:
        s = step.branch("s", ag.zeros((2, 3)))
        step.feed(s, ag.tanh(s + step.each(xs)))
    explained = ag.Graph([xs, lengths], {"s": step.final(s)}).explain()
    loop = explained["step"]
    assert loop.flops == Count(6 * (6 + 8 * 6), at_most=True)
    assert loop.saved_bytes == Count(6 * 6 * 8, at_most=True)
    assert "loop step: at most 6 steps, ragged=True" in str(explained)


def test_state_read_later_is_reported_with_its_lag():
    xs = ag.input("xs", (6, 3))
    step = np.array([[1.0, 2.0, 3.0]] * 2)
    s, x = ag.input("s", (3,)), ag.input("x", (3,))
    body = ag.Graph.of({"s": s, "x": x}, {"next": ag.tanh(s * x)}, "lagged")
    attrs = loop_attrs(body, Ports(0, 1, 1), lags=(2,))
    explained = ag.Graph(xs, {"last": OPS["loop"](ag.constant(step), xs, **attrs)[0]}).explain()
    (loop,) = explained.loops
    assert loop.flops == Count(6 * 27)
    assert "state s: float64[3] <- constant_1, then tanh_1 2 steps later" in str(explained)
    assert [item.name for item in loop.saved] == ["s", "tanh_1"]


def test_nodes_of_unknown_size_count_at_least_nothing():
    gradient = halving(None).grad(wrt=["x"])
    stacked = gradient["halve_saved:saved_tanh_1"]
    graph = ag.Graph(gradient.inputs, {"y": ag.tanh(stacked)}, name="stacked")
    (node,) = [node for node in graph.explain().body.nodes if node.op == "tanh"]
    assert node.flops == node.moved == Count(0, at_least=True)


def test_any_op_with_bodies_is_explained():
    x, y = ag.input("x", (2,)), ag.input("y", (2,))
    node = apply(Twice("twice"), (x, y), {"first": body("a"), "second": body("b c")})
    explained = ag.Graph([x, y], {"z": node}).explain()
    (twice,) = explained.loops
    assert twice.flops == Count(2 * 16)
    assert [n.depends for b in twice.bodies for n in b.nodes] == [None, STATE]
    assert "state s: float64[2] <- y, then tanh_1" in str(explained)


# What a backward saves.


def really_saved(graph: ag.Graph, name: str) -> int:
    """Return the bytes that the saving loop of the gradient collects beside what is there."""
    (saving,) = [n for n in graph.grad("loss").nodes if n.name == f"{name}_saved"]
    extra = saving.spec[len(graph[name].spec) :]
    return sum(spec.nbytes for spec in extra)


def with_loss(graph: ag.Graph) -> ag.Graph:
    loss = ag.sum(ag.square(graph.outputs["ys"]))
    return ag.Graph(graph.inputs, {"loss": loss}, name=graph.name)


@pytest.mark.parametrize(("make", "name"), [(adder, "step"), (nested, "rows"), (branching, "walk")])
def test_saved_bytes_are_those_of_the_saving_loop(make, name: str):
    graph = with_loss(make())
    saved = graph.explain()[name].saved_bytes
    assert saved.value > 0
    assert saved == Count(really_saved(graph, name))


def test_saved_outside_of_loops_are_values_that_gradients_pass():
    x, w = ag.input("x", (4, 3)), ag.parameter("w", np.ones((3, 2)))
    data = ag.square(x)  # does not depend on w
    h = ag.tanh(ag.reshape(data @ w, (8,))).named("h")
    stopped = ag.exp(ag.stop_gradient(h))
    explained = ag.Graph(x, {"loss": ag.sum(h * stopped)}).explain()
    assert [item.name for item in explained.saved] == ["matmul_1", "h", "multiply_1", "sum_1"]
    assert explained.saved_bytes == Count(8 * (8 + 8 + 8 + 1))


def test_gradient_graph_saves_what_its_forward_part_saves():
    forward = adder_loss()
    found = forward.grad().explain()
    assert found.saved_bytes == forward.explain().saved_bytes
    assert found["step_saved"].saved is None
    assert found["step_grad"].why == "it is part of a gradient"
    assert "saved for a backward: not known, it is part of a gradient" in str(found)


def test_without_parameters_the_gradient_is_that_by_the_inputs():
    xs = ag.input("xs", (5, 3))
    with LoopNode("step") as step:
        s = step.branch("s", ag.zeros(3))
        step.feed(s, ag.tanh(s + step.each(xs)).named("next"))
    explained = ag.Graph(xs, {"s": step.final(s)}).explain()
    assert explained.saved[0].name == "step.next"
    assert explained["step"].saved_bytes == Count(5 * 3 * 8)


def test_what_gradients_do_not_reach_saves_nothing():
    xs = ag.input("xs", (5, 3), np.int64)
    with LoopNode("step") as step:
        s = step.branch("s", ag.constant(np.zeros(3, np.int64)))
        step.feed(s, s + step.each(xs))
    explained = ag.Graph(xs, {"s": step.final(s)}).explain()
    assert explained.saved == ()
    assert explained.saved_bytes == Count(0)


def test_gradient_that_cannot_be_drawn_is_said_and_no_error():
    @ag.custom_vjp
    def ruleless(x):
        return np.square(x)

    x = ag.input("x", (3,))
    with LoopNode("step", length=2) as step:
        s = step.branch("s", x)
        step.feed(s, ruleless(s))
    explained = ag.Graph(x, {"s": step.final(s)}).explain()
    assert explained["step"].saved is None
    assert "its gradient cannot be drawn" in explained["step"].why
    assert "'ruleless' has no gradient rule" in str(explained)


def test_a_state_and_what_feeds_it_are_the_same_values_saved_twice():
    explained = adder().explain()
    assert explained["step"].saved_twice == {"h": "tanh_1"}
    assert "    h: float64[1, 16], 128 bytes a step, those of tanh_1 again" in str(explained)
    assert branching().explain()["walk"].saved_twice == {}


# The object.


def test_counts_add_and_say_what_they_are():
    exact, most, least = Count(3), Count(4, at_most=True), Count(5, at_least=True)
    assert exact + exact == Count(6)
    assert exact * most == Count(12, at_most=True)
    assert str(Count(1234)) == "1,234"
    assert str(exact + most) == "at most 7"
    assert str(exact + least) == "at least 8"
    assert str(most + least) == "about 9"


def test_explanation_is_frozen_and_short_in_a_list():
    explained = nested().explain()
    with pytest.raises(FrozenInstanceError):
        explained.saved = ()
    with pytest.raises(FrozenInstanceError):
        explained.loops[0].flops = Count(0)
    assert repr(explained) == "<Explanation of nested: 1,520 flops, 1,120 bytes saved>"
    assert repr(explained.loops[0]) == "<loop rows: 1 bodies, 1,520 flops>"
    assert repr(explained.loops[0].bodies[0]) == "<body rows: 2 nodes, 304 flops>"
    assert repr(explained.loops[0].bodies[0].nodes[1]) == "<multiply_1: multiply, 4 flops>"


def test_unknown_loop_is_an_error_that_names_the_others():
    with pytest.raises(GraphError, match=r"no loop 'row'; its loops are rows, rows\.columns"):
        nested().explain()["row"]


def test_explaining_changes_nothing():
    graph = adder_loss()
    before = str(graph), str(graph.grad())
    graph.explain()
    assert (str(graph), str(graph.grad())) == before
    assert str(graph.explain()) == str(adder_loss().explain())


def test_page_shows_what_its_report_says():
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    report = str(run_blocks(page, "explain.md")["report"]).splitlines()
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(shown) > 10
    assert [line for line in shown if line.strip() != "..." and line not in report] == []


def test_long_chains_and_deep_nests_are_explained_without_recursion():
    graph, deep = chain(20_000), nest(1000)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(120)
    try:
        flat, nested_ones = graph.explain(), deep.explain()
        texts = str(flat), str(nested_ones)
        deepest = list(nested_ones.walk())[-1]
    finally:
        sys.setrecursionlimit(limit)
    assert flat.flops == Count(2 * 20_000)
    assert deepest.flops == nested_ones.flops == Count(2)
    assert texts[1].count("\nloop ") == 1000
