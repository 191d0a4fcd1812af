"""Random loops: drawn, on tensors, unrolled and by hand are one function with one gradient.

The first faults below are planted in the gradient of loops, and the checker must object to each.
"""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
from loops import gradient
from tests.loop_programs import Apply, ByHand, Choose, Data, Loop, Rolled, data, programs, run
from tests.loop_reference import assert_same, leaf

EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "exploring"
LENGTH = 20 if EXPLORING else 6
EXAMPLES = 3000 if EXPLORING else 150


def tensors_and_gradients(program, start, meaning):
    """Return the result, and its gradient with respect to all the program starts from."""
    values, sequences = [leaf(x) for x in start.values], [leaf(xs) for xs in start.sequences]
    result = run(program, values, sequences, meaning)
    result.backward()
    leaves = [*values, *sequences]
    return result, [np.zeros(x.shape) if x.grad is None else x.grad.value for x in leaves]


def drawn(program, start):
    """Return the graph of the program, its first value a parameter, the rest inputs."""
    inputs = {f"x{i}": ag.input(f"x{i}", x.shape) for i, x in enumerate(start.values)}
    inputs |= {f"xs{i}": ag.input(f"xs{i}", x.shape) for i, x in enumerate(start.sequences)}
    nodes = list(inputs.values())
    count = len(start.values)
    result = run(program, nodes[:count], nodes[count:], Rolled())
    return ag.Graph(inputs, {"result": result}, allow_unused=True)


def check(program, start, second_order=True):
    """Assert that all ways to run the program agree, and that its gradient is the right one."""
    arrays = [*start.values, *start.sequences]
    wanted, slopes = tensors_and_gradients(program, start, ByHand())
    found, grads = tensors_and_gradients(program, start, Rolled())
    assert_same(found, wanted)
    for g, slope in zip(grads, slopes, strict=True):
        assert_same(g, slope, 1e-12)

    graph = drawn(program, start)
    names = list(graph.inputs)
    feed = dict(zip(names, arrays, strict=True))
    unrolled = graph.unroll()
    for implementation in (graph, unrolled, graph.copy()):
        assert_same(implementation.run(**feed)["result"], wanted)
    for implementation, tolerance in ((graph, 0.0), (unrolled, 1e-12)):
        values = implementation.grad(wrt=names).run(**feed)
        for name, g in zip(names, grads, strict=True):
            assert_same(values[f"grad_{name}"], g, tolerance)
    if second_order:
        # Differences check values, reverse and forward mode; by hand, the second derivative.
        ag.check_grad(graph, tuple(arrays), order=1)
        directions = tuple(np.cos(np.arange(x.size)).reshape(x.shape) for x in arrays)
        rolled, by_hand = (
            ag.hvp(lambda *xs, m=m: _on(program, start, xs, m), tuple(arrays), directions)
            for m in (Rolled(), ByHand())
        )
        for a, b in zip(rolled, by_hand, strict=True):
            assert_same(a, b, 1e-11)


def _on(program, start, xs, meaning):
    count = len(start.values)
    return run(program, xs[:count], xs[count:], meaning)


@settings(max_examples=EXAMPLES)
@given(programs(1, LENGTH), data(LENGTH))
def test_single_loops_and_branches(program, start):
    check(program, start, second_order=False)


@settings(max_examples=EXAMPLES // 2)
@given(programs(2, LENGTH), data(LENGTH))
def test_nested_loops(program, start):
    check(program, start, second_order=False)


@settings(max_examples=max(10, EXAMPLES // 4))
@given(programs(3, 3), data(3))
def test_loops_three_deep(program, start):
    check(program, start, second_order=False)


@settings(max_examples=max(10, EXAMPLES // 4))
@given(programs(2, 3), data(3), st.just(True))
def test_against_differences_and_to_order_two(program, start, second_order):
    check(program, start, second_order)


# Planted faults. The program has what they touch: states, shared values, slices, residuals.

RICH = (
    Loop(
        block=(Apply("matmul", 3, 0), Apply("multiply", 2, 5), Apply("tanh", 7, 6)),
        states=((0, 0), (1, 1)),
        each=(0,),
        collected=(0,),
        length=0,
        reverse=False,
        counts=True,
    ),
    Apply("matmul", 2, 3),
)
RANDOM = np.random.default_rng(5)
START = Data(
    tuple(RANDOM.uniform(-1, 1, (2, 2)) for _ in range(2)),
    tuple(RANDOM.uniform(-1, 1, (n, 2, 2)) for n in (4, 3)),
)


def test_rich_program_is_right_without_a_fault():
    check(RICH, START)
    check((Choose((RICH, (Apply("add", 0, 1),)), 0),), START)


def shifted(xs, by):
    """Return a stack of steps with each step's value moved to another step."""
    length = xs.shape[0]
    return ag.stack([xs[(t + by) % length] for t in range(length)]) if length else xs


def gradient_not_reversed(monkeypatch):
    real = gradient.loop

    def loop(*inputs, **attrs):
        if attrs["body"].name.endswith("_grad"):
            attrs["reverse"] = not attrs["reverse"]
        return real(*inputs, **attrs)

    monkeypatch.setattr(gradient, "loop", loop)


def residuals_moved(by):
    def plant(monkeypatch):
        real = gradient.loop

        def loop(*inputs, **attrs):
            outputs = real(*inputs, **attrs)
            if attrs["body"].name.endswith("_grad"):
                return outputs
            states = attrs["states"]
            return (*outputs[:states], *[shifted(xs, by) for xs in outputs[states:]])

        monkeypatch.setattr(gradient, "loop", loop)

    return plant


def plan_changed(change):
    def plant(monkeypatch):
        real = gradient.planned

        def planned(*args):
            plan = yield real(*args)
            return plan if plan is None else change(plan)

        monkeypatch.setattr(gradient, "planned", planned)

    return plant


def with_outputs(plan, first, count, change):
    outputs = dict(plan.backward.outputs)
    for name in list(outputs)[first : first + count]:
        outputs[name] = change(outputs[name])
    body = plan.backward
    backward = ag.Graph.of(body.inputs, outputs, body.name)
    return dataclasses.replace(plan, backward=backward)


def zeros_like(node):
    return ag.constant(np.zeros(node.shape, node.dtype))


FAULTS = {
    "gradient loop not reversed": gradient_not_reversed,
    "residual of the step before": residuals_moved(-1),
    "residual of the step after": residuals_moved(1),
    "carried gradient dropped": plan_changed(
        lambda plan: with_outputs(plan, 0, len(plan.carried), zeros_like)
    ),
    "one of two carried gradients dropped": plan_changed(
        lambda plan: with_outputs(plan, 0, min(1, len(plan.carried)), zeros_like)
    ),
    "accumulated gradient dropped": plan_changed(
        lambda plan: with_outputs(plan, len(plan.carried), len(plan.accumulated), zeros_like)
    ),
    "only one step accumulated": plan_changed(
        lambda plan: with_outputs(
            plan, len(plan.carried), len(plan.accumulated), lambda node: node.inputs[1]
        )
    ),
    "gradient of slices dropped": plan_changed(
        lambda plan: with_outputs(
            plan,
            len(plan.carried) + len(plan.accumulated),
            len(plan.slices),
            zeros_like,
        )
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(monkeypatch, fault):
    FAULTS[fault](monkeypatch)
    with pytest.raises(AssertionError):
        check(RICH, START, second_order=False)


@pytest.mark.parametrize("fault", ["gradient loop not reversed", "only one step accumulated"])
def test_planted_faults_are_caught_by_differences(monkeypatch, fault):
    FAULTS[fault](monkeypatch)
    with pytest.raises(ag.GradientError, match="is wrong"):
        ag.check_grad(drawn(RICH, START), (*START.values, *START.sequences), order=1)
