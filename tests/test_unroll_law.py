"""The law of unrolling: rolled, unrolled by any factor and unrolled, a loop is one function.

One list of loop forms times ways to run them. Values have the same bits, since the same ops run on
the same numbers in the same order; first and second derivatives in reverse and forward mode agree
to rounding, since sums over steps are taken in another order. What the forms mean by themselves is
checked against differences, and against loops by hand in other files.
"""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
import loops.unroll
from loops import LoopNode, cond
from tests.loop_forms import (
    FORMS,
    INNER,
    Form,
    backwards,
    integer_states,
    lagged,
    lagged_in_reverse,
    no_slices,
    only_finals,
    rnn,
    truncated,
    until_before_nan,
    until_step,
)
from tests.loop_reference import assert_same

TOLERANCE = 1e-12
DTYPE_TOLERANCE = {np.dtype("float32"): 2e-5, np.dtype("float64"): TOLERANCE}

# Ways from a drawn graph to one that must mean the same.


def reloaded(graph):
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder) / "graph.json")
        return ag.Graph.load(Path(folder) / "graph.json")


WAYS = {
    "unrolled": lambda graph, steps: graph.unroll(),
    "unrolled once": lambda graph, steps: graph.unroll(1),
    "by 1": lambda graph, steps: graph.unroll(factor=1),
    "by 2": lambda graph, steps: graph.unroll(factor=2),
    "by 3": lambda graph, steps: graph.unroll(factor=3),
    "by 3, outermost": lambda graph, steps: graph.unroll(1, factor=3),
    "by T": lambda graph, steps: graph.unroll(factor=max(steps, 1)),
    "by T + 3": lambda graph, steps: graph.unroll(factor=steps + 3),
    "by 3, then by 2": lambda graph, steps: graph.unroll(factor=3).unroll(factor=2),
    "by 2, then all": lambda graph, steps: graph.unroll(factor=2).unroll(),
    "saved": lambda graph, steps: reloaded(graph),
    "by 2, saved": lambda graph, steps: reloaded(graph.unroll(factor=2)),
    "copied": lambda graph, steps: graph.copy(),
    "by 3, copied": lambda graph, steps: graph.unroll(factor=3).copy(),
}


SECOND_ORDER = ("unrolled", "by 2", "by 3")
"""Ways whose graphs are differentiated twice; the others make graphs of the same kinds."""


@cache
def rolled(form):
    return form.graph()


def inputs_of(form, graph):
    return {k: v for k, v in zip(("xs", "h", "w"), form.values, strict=True) if k in graph.inputs}


def first_order(form, graph):
    """Return the graph of the loss's gradients wrt every input and parameter, and their values."""
    whole = graph.grad(of="loss", wrt=[*graph.inputs, *graph.parameters])
    outputs = {name: y for name, y in whole.outputs.items() if name.startswith("grad_")}
    grads = ag.Graph(graph.inputs, outputs, allow_unused=True)
    return grads, grads.run(**inputs_of(form, grads))


def second_order(form, grads):
    """Return the product of the Hessian with a fixed direction: one more gradient."""
    along = sum((g * np.cos(1.0 + i)).sum() for i, g in enumerate(grads.outputs.values()))
    graph = ag.Graph(grads.inputs, {"along": along}, name="along", allow_unused=True)
    wrt = [*graph.inputs, *graph.parameters]
    return graph.grad(wrt=wrt).run(**inputs_of(form, graph))


def forward_mode(form, graph):
    directions = [
        np.sin(1.0 + np.arange(x.size)).reshape(x.shape).astype(x.dtype) for x in form.values
    ]
    loss = graph.select("loss")
    values = list(inputs_of(form, loss).values())
    chosen = [d for n, d in zip(("xs", "h", "w"), directions, strict=True) if n in loss.inputs]
    return ag.jvp(lambda *args: loss(*args), values, chosen)


@cache
def expected(form):
    """Return values, first and second derivatives and the directional one of the rolled loop."""
    graph = rolled(form)
    grads, first = first_order(form, graph)
    values = graph.run(**inputs_of(form, graph))
    return values, first, second_order(form, grads), forward_mode(form, graph)


def agree(form, found, wanted):
    """Assert equal gradients; one of a parameter that no step laid out uses may be missing: 0."""
    assert [name for name in wanted if name in found] == list(found)
    for name, value in wanted.items():
        assert np.isfinite(value).all(), name
        same = found.get(name, np.zeros(value.shape, value.dtype))
        assert_same(same, value, DTYPE_TOLERANCE[np.dtype(form.dtype)])


def check_values_and_gradients(form, graph):
    """Assert that `graph` has the values and gradients of the form; return its gradient graph."""
    values, first, _, _ = expected(form)
    assert list(graph.inputs) == ["xs", "h", "w"]
    found = graph.run(**inputs_of(form, graph))
    assert list(found) == list(values)
    for name, value in values.items():
        assert_same(found[name], value)
    grads, found = first_order(form, graph)
    agree(form, found, first)
    return grads


@pytest.mark.parametrize(
    ("form", "way"),
    [  # of other forms, the graphs by T and T + 3 are the unrolled one: see below
        pytest.param(form, way, id=f"{form}-{way}")
        for form in FORMS
        for way in WAYS
        if form.draw in INNER or not way.startswith("by T")
    ],
)
def test_law(form, way):
    graph = WAYS[way](rolled(form), form.steps)
    grads = check_values_and_gradients(form, graph)
    if way not in SECOND_ORDER:
        return
    _, _, second, along = expected(form)
    agree(form, second_order(form, grads), second)
    for a, b in zip(forward_mode(form, graph), along, strict=True):
        assert_same(a, b, DTYPE_TOLERANCE[np.dtype(form.dtype)])


@pytest.mark.parametrize("factor", [None, 2, 3])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_law_for_gradient_graphs_that_are_unrolled(form, factor):
    _, first, second, _ = expected(form)
    grads = first_order(form, rolled(form))[0].unroll(factor=factor)
    agree(form, grads.run(**inputs_of(form, grads)), first)
    agree(form, second_order(form, grads), second)


@pytest.mark.parametrize(
    "form",
    [form for form in FORMS if form.dtype == "float64" and form.draw is not truncated],
    ids=str,
)
def test_forms_against_differences(form):
    """The rolled loops, from which all else is told to be the same."""
    loss = rolled(form).select("loss")
    ag.check_grad(lambda *xs: loss(*xs), [*inputs_of(form, loss).values()], modes=["vjp"])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_laid_out(form):
    """Everything, but the loops a form is said to keep. A second time changes nothing more."""
    unrolled = rolled(form).unroll()
    assert {unrolled.name_of(node) for node in unrolled.find(op="loop")} == form.stays
    assert str(unrolled.unroll()) == str(unrolled)


@pytest.mark.parametrize("form", [form for form in FORMS if form.draw not in INNER], ids=str)
def test_a_factor_of_the_steps_or_more_lays_out_everything(form):
    unrolled = str(rolled(form).unroll())
    for factor in (max(form.steps, 1), form.steps + 3):
        assert str(rolled(form).unroll(factor=factor)) == unrolled


@pytest.mark.parametrize("form", [form for form in FORMS if form.steps > 1], ids=str)
def test_a_factor_of_1_leaves_every_loop_of_several_steps(form):
    graph = rolled(form)
    (before, after) = (
        [(path, len(g.nodes)) for path, g, node in one.walk() if node.bodies]
        for one in (graph, graph.unroll(factor=1))
    )
    assert before == after


# Any number of steps.


def rich(xs, h, w, reverse):
    """A body with a bit of everything: states, a counter, own parameters, a branch, a loop."""
    weights = ag.parameter("weights", np.cos(np.arange(4.0 * len(xs))).reshape(-1, 2, 2))
    with LoopNode("rich", reverse=reverse) as loop:
        x, v = loop.each(xs), loop.each(weights)
        n, a, b = loop.branch("n", np.int64(0)), loop.branch("a", h), loop.branch("b", h * w[0])
        with LoopNode("inner", length=3) as inner:
            c = inner.branch("c", a)
            inner.feed(c, ag.tanh(c @ v + x))
            cs = inner.collect(c)
        new = cond(n % 3 == 0, lambda: b * x, lambda: b @ w)
        loop.feed(n, n + 1)
        loop.feed(a, inner.final(c))
        loop.feed(b, ag.tanh(new))
        outs = [loop.collect(cs), loop.collect(n), loop.collect(a * b)]
    return [*outs, loop.final(a), loop.final(b), loop.final(n)]


def rich_forward(xs, h, w):
    return rich(xs, h, w, False)


def rich_reverse(xs, h, w):
    return rich(xs, h, w, True)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(0, 20),
    factor=st.integers(1, 23),
    draw=st.sampled_from([rich_forward, rich_reverse, until_step, lagged, lagged_in_reverse]),
)
def test_law_for_any_number_of_steps(steps, factor, draw):
    form = Form(draw, steps)
    check_values_and_gradients(form, rolled(form).unroll(factor=factor))


# Faults, each of which the law must catch.

right = {
    name: getattr(loops.unroll, name)
    for name in ("_laid_out", "_grouped", "_collected", "_if_it_runs", "_rounds_to_run")
}
right_final = loops.unroll._Line.final


def rest_dropped(attrs, inputs, path, order, *rest, **options):
    if path != loops.unroll.COPY:
        order = range(0)
    return right["_laid_out"](attrs, inputs, path, order, *rest, **options)


def copies_in_wrong_order(attrs, inputs, path, order, *rest, **options):
    if path == loops.unroll.COPY:
        order = order[::-1]
    return right["_laid_out"](attrs, inputs, path, order, *rest, **options)


def rounds_at_the_left(xs, first, rounds, factor):
    return right["_grouped"](xs, 0, rounds, factor)


def rounds_at_the_right(xs, first, rounds, factor):
    return right["_grouped"](xs, xs.shape[0] - rounds * factor, rounds, factor)


def rest_stacked_at_the_wrong_end(attrs, path, rows, rounds):
    return right["_collected"]({**attrs, "reverse": not attrs["reverse"]}, path, rows, rounds)


def steps_run_after_the_stop(runs, body, ports, xs, name):
    return body.inline(xs, name)


def one_round_too_few(count, first, rounds, factor):
    return right["_rounds_to_run"](count, first, rounds, factor) - 1


def windows_turned_round(line):
    line.reverse = not line.reverse
    return right_final(line)


FAULTS = [
    ("_laid_out", rest_dropped, Form(rnn)),
    ("_laid_out", rest_dropped, Form(only_finals)),
    ("_laid_out", rest_dropped, Form(no_slices)),
    ("_laid_out", copies_in_wrong_order, Form(rnn)),
    ("_laid_out", copies_in_wrong_order, Form(backwards, 6)),
    ("_laid_out", copies_in_wrong_order, Form(integer_states)),
    ("_grouped", rounds_at_the_left, Form(backwards)),
    ("_grouped", rounds_at_the_right, Form(rnn)),
    ("_collected", rest_stacked_at_the_wrong_end, Form(rnn)),
    ("_collected", rest_stacked_at_the_wrong_end, Form(backwards)),
    ("_if_it_runs", steps_run_after_the_stop, Form(until_step)),
    ("_if_it_runs", steps_run_after_the_stop, Form(until_before_nan)),
]


@pytest.mark.parametrize(("name", "fault", "form"), FAULTS)
def test_planted_faults_are_caught(name, fault, form, monkeypatch):
    expected(form)
    check_values_and_gradients(form, form.graph().unroll(factor=3))
    monkeypatch.setattr(loops.unroll, name, fault)
    with pytest.raises((AssertionError, ag.LoopGradError, RuntimeWarning, FloatingPointError)):
        check_values_and_gradients(form, form.graph().unroll(factor=3))


@pytest.mark.parametrize("form", [Form(lagged), Form(lagged_in_reverse)], ids=str)
def test_windows_turned_round_are_caught(form, monkeypatch):
    expected(form)
    monkeypatch.setattr(loops.unroll._Line, "final", windows_turned_round)
    with pytest.raises(AssertionError):
        check_values_and_gradients(form, form.graph().unroll(factor=3))


def test_a_round_too_few_of_a_gradient_is_caught(monkeypatch):
    form = Form(until_step)
    _, first, _, _ = expected(form)
    monkeypatch.setattr(loops.unroll, "_rounds_to_run", one_round_too_few)
    grads = first_order(form, form.graph())[0].unroll(factor=3)
    with pytest.raises(AssertionError):
        agree(form, grads.run(**inputs_of(form, grads)), first)
