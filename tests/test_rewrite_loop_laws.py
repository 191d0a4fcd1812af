"""The law of passes over loops: each alone, and all in a row, change no bit of any value.

One list of loop forms, and random programs, times the passes: values, gradients of the rewritten
graph to order 2, rewritten gradients, unrolled and saved. What single passes make of small graphs
is in `test_rewrite_loops.py`.
"""

import os
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings

import autograd as ag
from tests.loop_forms import FORMS
from tests.loop_programs import Rolled, data, programs, run
from tests.rewriting import after, same_results

PASSES = ("merge_loops", "merge_states", "trim_ports", "invariants", "history")
ALL = (
    *("cse", "merge_loops", "merge_states", "trim_ports", "cse"),
    *("invariants", "history", "trim_ports", "cse"),
)
WAYS = {**{name: (name,) for name in PASSES}, "all": ALL, "all, twice": ALL * 2}
EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "exploring"

each_form = pytest.mark.parametrize("form", FORMS, ids=str)
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@cache
def drawn(form):
    return form.graph()


@cache
def gradient(form):
    """The graph of the form's values and of the gradient of its loss in everything it is given."""
    graph = drawn(form)
    return graph.grad(of="loss", wrt=[*graph.inputs, *graph.parameters])


def values(form):
    return dict(zip(("xs", "h", "w"), form.values, strict=True))


@each_form
def test_derivatives_stay(form):
    graph = drawn(form)
    same_results(graph, after(graph, *ALL), inputs=values(form))


@each_form
@each_way
def test_values_and_gradients_stay(form, way):
    graph = gradient(form)
    same_results(graph, after(graph, *way), 0, inputs=values(form), exact=True)


@each_form
def test_gradients_of_rewritten_gradients_stay(form):
    graph = gradient(form)
    same_results(graph, after(graph, *ALL), 1, inputs=values(form), tolerance=1e-11)


@each_form
@pytest.mark.reference_only("compares float32 more closely than plans agree")
def test_rewritten_loops_unroll_and_are_saved(form, tmp_path):
    graph = gradient(form)
    rewritten = after(graph, *ALL)
    rewritten.save(tmp_path / "graph.json")
    loaded = ag.Graph.load(tmp_path / "graph.json")
    inputs = values(form)
    found = graph.run(**inputs)
    for other in (rewritten.unroll(), loaded, rewritten.unroll(factor=2)):
        for name, value in other.run(**inputs).items():
            np.testing.assert_allclose(value, found[name], rtol=1e-12, atol=1e-12, err_msg=name)


@given(programs(2, 5), data(5))
@settings(max_examples=2000 if EXPLORING else 25, deadline=None)
def test_random_programs_stay(program, start):
    arrays = [*start.values, *start.sequences]
    inputs = {f"x{i}": ag.input(f"x{i}", x.shape) for i, x in enumerate(arrays)}
    nodes = list(inputs.values())
    count = len(start.values)
    result = run(program, nodes[:count], nodes[count:], Rolled())
    graph = ag.Graph(inputs, {"result": result}, allow_unused=True).grad(wrt=list(inputs))
    feed = dict(zip(inputs, arrays, strict=True))
    same_results(graph, after(graph, *ALL), 1, inputs=feed, tolerance=1e-10)
    for name in PASSES:
        same_results(graph, after(graph, name), 0, inputs=feed, exact=True)
