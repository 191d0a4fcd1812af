"""NumPy plans mean what the reference executor means: to the bit where no pass has been at work."""

from functools import cache

import numpy as np
import pytest

import autograd as ag
from autograd.execute.numpy_plan import NumpyProgram
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


def assert_bits(program, graph, values):
    expected = graph.run(**dict(zip(graph.inputs, values, strict=True)))
    for _ in range(2):  # the second time over what the first one left
        found = program.execute(values)
        for (name, value), other in zip(expected.items(), found, strict=True):
            assert other.dtype == value.dtype, name
            np.testing.assert_array_equal(other, value, err_msg=name, strict=True)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_loop_form_has_the_bits_of_the_reference(form, order):
    graphs = orders(form)
    if order >= len(graphs):
        pytest.skip("the form has no such derivative")
    graph = graphs[order]
    assert_bits(NumpyProgram(neutral(graph)), graph, form.values)
