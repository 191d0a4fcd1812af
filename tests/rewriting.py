"""What rewritten graphs must keep: `same_results`, the law of every pass.

A rewritten graph has the inputs and outputs of the graph it comes from, the same values, and, since
it is an ordinary graph, gradients of its own that must agree with those of the other to any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.rewrite.cost import NUMPY, Machine
from autograd.rewrite.engine import Context, run_passes
from autograd.rewrite.nodes import neutral
from autograd.rewrite.pipeline import PASSES
from autograd.scope import drawing


def after(graph: ag.Graph, *names: str, machine: Machine = NUMPY) -> ag.Graph:
    """Return `graph` after the passes of these names, in this order."""
    return after_with_moves(graph, *names, machine=machine)[0]


def after_with_moves(
    graph: ag.Graph, *names: str, machine: Machine = NUMPY
) -> tuple[ag.Graph, Context]:
    """Return `graph` after the passes of these names, and what they did and left."""
    context = Context(machine)
    return run_passes(neutral(graph), [PASSES[name] for name in names], context), context


def same_results(
    graph: ag.Graph,
    optimised: ag.Graph,
    order: int = 2,
    *,
    inputs: dict[str, Any] | None = None,
    exact: bool = False,
    tolerance: float = 1e-12,
    seed: int = 0,
) -> None:
    """Check that two graphs have the same inputs, outputs, values and derivatives to `order`.

    Values agree to the bit if `exact`, else relative to the largest element to `tolerance` (of
    float64; the tolerance of float32 is that much larger as its precision is less). Derivatives are
    those of a weighted sum of all float outputs, in all parameters and float inputs, and of a
    weighted sum of these, and agree to the tolerance. `inputs` are random where they are not given.
    """
    assert _signature(graph.inputs) == _signature(optimised.inputs)
    assert _signature(graph.outputs) == _signature(optimised.outputs)
    assert set(optimised.parameters.values()) <= set(graph.parameters.values())
    given = random_inputs(graph, seed) | (inputs or {})
    values = graph.run(**given)
    for name, value in optimised.run(**given).items():
        if exact:
            assert_same_bits(value, values[name], name)
        else:
            assert_near(value, values[name], tolerance, name)
    wrt = [*graph.parameters.values()]
    first = second = None
    for k in range(1, order + 1):
        first, second = _derivative(first or graph, wrt), _derivative(second or optimised, wrt)
        if first is None or second is None:
            assert first is second or _vanishes(first or second, given)
            return
        others = second.run(**given)
        for name, value in first.run(**given).items():
            assert_near(others[name], value, tolerance * 10**k, f"{name} of order {k}")


def random_inputs(graph: ag.Graph, seed: int = 0) -> dict[str, Any]:
    """Return random values for the inputs: floats in (-1, 1), integers in 0..2, bools."""
    random = np.random.default_rng(seed)
    values = {}
    for name, node in graph.inputs.items():
        if node.dtype.kind == "f":
            values[name] = random.uniform(-1, 1, node.shape).astype(node.dtype)
        else:
            values[name] = random.integers(0, 2 + (node.dtype != bool), node.shape, node.dtype)
    return values


def assert_same_bits(found: Any, expected: Any, what: str = "") -> None:
    """Check that arrays are equal to the bit; one NaN is as good as another."""
    assert found.dtype == expected.dtype, what
    np.testing.assert_array_equal(found, expected, err_msg=what)
    if expected.dtype.kind == "f":
        number = ~np.isnan(expected)
        signs = np.signbit(found)[number], np.signbit(expected)[number]
        np.testing.assert_array_equal(*signs, err_msg=f"signs of {what}")


def assert_near(found: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """Check that arrays are equal but for rounding, relative to the largest finite element."""
    assert found.dtype == expected.dtype, what
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=what)
        return
    tolerance *= float(np.finfo(expected.dtype).eps / np.finfo(np.float64).eps)
    scale = max(1.0, np.max(np.abs(expected), initial=0, where=np.isfinite(expected)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def _signature(nodes: dict[str, ag.Node]) -> list[Any]:
    return [(name, node.spec) for name, node in nodes.items()]


def _derivative(graph: ag.Graph, parameters: list[Any]) -> ag.Graph | None:
    """Return the graph of the gradients of a weighted sum of all float outputs, or None.

    The weights differ from element to element, so that no two outputs can stand for each other.
    """
    with drawing(None):
        total: Any = None
        for i, y in enumerate(graph.outputs.values()):
            if y.tracked and y.dtype.kind == "f":
                weights = np.cos(np.arange(i + 1, i + 1 + y.size)).reshape(y.shape)
                term = (y * weights.astype(y.dtype)).sum().astype(np.float64)
                total = term if total is None else total + term
        wrt = [*parameters, *[x for x in graph.inputs.values() if x.tracked]]
        if total is None or not wrt:
            return None
        grads = ag.grad(total, wrt)
    outputs = {f"d_{i}_{x.name}": g for i, (x, g) in enumerate(zip(wrt, grads, strict=True))}
    return ag.Graph(graph.inputs, outputs, name=graph.name, allow_unused=True)


def _vanishes(graph: ag.Graph | None, given: dict[str, Any]) -> bool:
    return graph is None or not any(np.any(value) for value in graph.run(**given).values())
