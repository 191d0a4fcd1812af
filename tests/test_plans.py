"""NumPy plans mean what the reference executor means: to the bit where no pass has been at work."""

from functools import cache

import numpy as np
import pytest

import autograd as ag
from autograd.execute import numpy_plan
from autograd.execute.plan import compiled
from autograd.rewrite.nodes import neutral
from autograd.scope import drawing
from tests.loop_forms import FORMS


def derivative(graph, output):
    """Return `graph` with the gradient of a weighted sum of `output` and of its gradient added."""
    wrt = [name for name, node in graph.inputs.items() if node.dtype.kind == "f"]
    return graph.grad(output, wrt=wrt)


@cache
def orders(form):
    """Return the graphs of a form's values, first and second derivatives."""
    graph = form.graph()
    first = derivative(graph, "loss")
    grads = [node for name, node in first.outputs.items() if name.startswith("grad_")]
    with drawing(None):
        slope = sum((ag.sin(node) * 0.7).sum() for node in grads)
    if not slope.tracked:
        return [graph, first]
    of_slope = ag.Graph(first.inputs, {"slope": slope}, name="slope", allow_unused=True)
    return [graph, first, derivative(of_slope, "slope")]


def results(program, graph, values):
    """Return pairs of the reference's outputs and the program's, which ran twice."""
    expected = graph.run(**dict(zip(graph.inputs, values, strict=True)))
    program.execute(values)  # so that what is checked runs over what is left of another run
    found = program.execute(values)
    for value, other in zip(expected.values(), found, strict=True):
        assert (other.dtype, other.shape) == (value.dtype, value.shape)
    return list(zip(expected.values(), found, strict=True))


def graphs_of(form, order):
    graphs = orders(form)
    if order >= len(graphs):
        pytest.skip("the form has no such derivative")
    return graphs[order]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.reference_only("it is what is compared with")
def test_places_and_loops_change_no_bit(form, order, monkeypatch):
    monkeypatch.setattr(numpy_plan, "rule_for", lambda node: None)
    graph = graphs_of(form, order)
    for value, other in results(numpy_plan.NumpyProgram(neutral(graph)), graph, form.values):
        np.testing.assert_array_equal(other, value, strict=True)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.reference_only("it is what is compared with")
def test_every_loop_form_agrees_with_the_reference(form, order, backend):
    if backend == "native":
        pytest.importorskip("llvmlite")
    graph = graphs_of(form, order)
    digits = {"float32": 2e-5, "float64": 1e-11}[form.dtype]
    plan = compiled(graph, backend)
    for value, other in results(plan, graph, form.values):
        if value.dtype.kind != "f":
            np.testing.assert_array_equal(other, value, strict=True)
            continue
        largest = np.abs(value[np.isfinite(value)]).max(initial=1.0)
        np.testing.assert_allclose(other, value, rtol=digits, atol=digits * largest)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_plan_may_be_run_by_a_function_that_it_calls(backend):
    if backend == "native":
        pytest.importorskip("llvmlite")
    inner = []

    @ag.custom_vjp
    def curious(x):
        if plan is not None and len(inner) < 1:
            inner.append(None)
            inner[0] = plan.run(x=np.array([4.0, 5.0]))["y"]
        return x * 2.0

    plan = None
    x = ag.input("x", (2,))
    graph = ag.Graph(x, {"y": curious(ag.sin(x)) + ag.cos(x)})
    plan = graph.compile(backend=backend)
    outer = plan.run(x=np.array([1.0, 2.0]))["y"]
    for values, found in (([1.0, 2.0], outer), ([4.0, 5.0], inner[0])):
        expected = np.sin(values) * 2.0 + np.cos(values)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
