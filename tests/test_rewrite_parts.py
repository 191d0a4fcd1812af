"""The pass `parts`: splits of what is computed elementwise are moved before it."""

from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd.rewrite.cost import NATIVE, NUMPY
from tests.rewriting import after, after_with_moves, same_results


def gates(x: Any, b: Any, h: Any, w: Any) -> Any:
    i, f, g = ag.split(x + b + h @ w, 3, axis=-1)
    return ag.sigmoid(i) * ag.tanh(g) + f


def graph_of(fn: Any, *shapes: tuple[int, ...]) -> ag.Graph:
    inputs = [ag.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    y = fn(*inputs)
    return ag.Graph(inputs, {"y": y})


def ops(graph: ag.Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if node.inputs and node.op.name != "item"]


GATES = ((4, 6), (6,), (4, 5), (5, 6))


def test_gates_and_what_they_are_made_of_are_one_kernel():
    graph = graph_of(gates, *GATES)
    assert ops(after(graph, "fuse", machine=NATIVE)).count("fused") == 2
    optimised, context = after_with_moves(graph, "parts", "fuse", machine=NATIVE)
    assert sorted(ops(optimised)) == ["fused", "matmul", "split", "split", "split"]
    assert [move.did for move in context.moves][:2] == ["add of 3 parts"] * 2
    same_results(graph, optimised)


def test_each_element_keeps_its_bits():
    graph = graph_of(gates, *GATES)
    same_results(graph, after(graph, "parts", machine=NATIVE), order=0, exact=True)


@pytest.mark.parametrize("shape", [(4, 6), (6,), (1, 6), (4, 1), (1, 1), ()])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_inputs_that_are_broadcast_are_split_where_they_have_the_axis(shape, axis):
    def fn(x: Any, y: Any) -> Any:
        a, b = ag.split(ag.tanh(x * y), 2, axis=axis)
        return a - b

    graph = graph_of(fn, (4, 6), shape)
    optimised = after(graph, "parts", machine=NATIVE)
    assert ops(optimised)[0] == "split"
    same_results(graph, optimised)


def test_what_others_read_is_left_as_it_is():
    def read_again(x: Any) -> Any:
        y = ag.tanh(x)
        a, b = ag.split(y, 2)
        return (a * b).sum() + y.sum()

    graph = graph_of(read_again, (6,))
    assert ops(after(graph, "parts", machine=NATIVE)) == ops(graph)


def test_where_nothing_is_fused_it_would_only_be_more_calls():
    graph = graph_of(gates, *GATES)
    assert ops(after(graph, "parts", machine=NUMPY)) == ops(graph)


def test_long_chains_and_parts_of_no_length():
    def chain(x: Any) -> Any:
        for _ in range(60):
            x = ag.tanh(x + 0.25)
        a, b, c = ag.split(x, (0, 2))
        return a.sum() + b.sum() * c.sum()

    graph = graph_of(chain, (5,))
    optimised = after(graph, "parts", machine=NATIVE)
    assert ops(optimised)[0] == "split"
    same_results(graph, optimised, order=1)
    np.testing.assert_array_equal(optimised.run(x0=np.ones(5))["y"], graph.run(x0=np.ones(5))["y"])
