"""Every op against NumPy and against differences: the rows of the table, walked."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd.node import OPS
from autograd.op import Op
from autograd.spec import spec_of
from autograd.tree import flatten
from tests.cases import CASES, WRONG, Case, Wrong
from tests.cases_delays import CASES as DELAYS
from tests.cases_delays import WRONG as DELAYS_WRONG
from tests.cases_fused import CASES as FUSED
from tests.cases_fused import WRONG as FUSED_WRONG
from tests.cases_structural import CASES as STRUCTURAL
from tests.cases_structural import WRONG as STRUCTURAL_WRONG

ROWS = [*CASES, *STRUCTURAL, *DELAYS, *FUSED]
WRONG_ROWS = [*WRONG, *STRUCTURAL_WRONG, *DELAYS_WRONG, *FUSED_WRONG]
DIFFERENTIABLE = [case for case in ROWS if case.differentiable]
# They stand for values, or pick one of several. All other ops are in the table.
LEAVES = {"input", "parameter", "constant", "item"}

each_row = pytest.mark.parametrize("case", ROWS, ids=str)
each_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)


def draws(case: Case, seed: int = 0) -> list[tuple[Any, ...]]:
    """Return the arrays of each sample of a row."""
    rng = np.random.default_rng([seed, *case.op.encode()])
    return [tuple(map(np.asarray, sample(rng))) for sample in case.samples]


def arrays_of(result: Any) -> list[Any]:
    """Return the arrays of a result: an array, a tensor, or a tree of them."""
    leaves, _ = flatten(result)
    return [np.asarray(y.value if isinstance(y, ag.Node) else y) for y in leaves]


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Compare trees of arrays: same shapes, same dtypes, equal relative to the largest element."""
    ys, zs = arrays_of(found), arrays_of(expected)
    assert [spec_of(y) for y in ys] == [spec_of(z) for z in zs]
    for y, z in zip(ys, zs, strict=True):
        if z.dtype.kind != "f":
            np.testing.assert_array_equal(y, z)
        else:
            scale = max(1e-300, np.max(np.abs(z), initial=0, where=np.isfinite(z)))
            np.testing.assert_allclose(y, z, rtol=0, atol=tolerance * scale)


def cotangents(result: Any) -> Any:
    """Return fixed cotangents of a result's float outputs."""
    leaves, _ = flatten(result)
    return [np.cos(np.arange(1, y.size + 1)).reshape(y.shape).astype(y.dtype) for y in leaves]


def gradients(case: Case, xs: Any) -> list[Any]:
    """Return the gradients of the float arguments, on tensors or virtual nodes alike."""
    floats = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]

    def fn(*args: Any) -> Any:
        full = list(xs)
        for i, x in zip(floats, args, strict=True):
            full[i] = x
        leaves, _ = flatten(case.fn(*full))
        return [y for y in leaves if y.dtype.kind == "f"]

    ys, pull = ag.vjp(fn, *[xs[i] for i in floats])
    return list(pull(cotangents(ys)))


def drawn(case: Case, xs: Any, order: int = 0) -> ag.Graph:
    """Return the graph of a row, and of its gradients to `order`, for arrays like `xs`."""
    inputs = [ag.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(xs)]
    outputs, _ = flatten(case.fn(*inputs))
    wrt = [x for x in inputs if x.tracked]
    layer = [y for y in outputs if y.tracked]
    for _ in range(order):
        total = sum(
            ((y * u).sum() for y, u in zip(layer, cotangents(layer), strict=True)), start=0.0
        )
        if not layer or not total.tracked:
            break
        layer = ag.grad(total, wrt)
        outputs = [*outputs, *layer]
        layer = [g for g in layer if g.tracked]
    return ag.Graph(inputs, {f"y{i}": y for i, y in enumerate(outputs)}, allow_unused=True)


def test_every_op_has_a_row_and_every_row_an_op():
    assert {case.op for case in ROWS} | LEAVES == {n for n, op in OPS.items() if not loops(op)}


def loops(op: Op) -> bool:
    """Whether an op came with `loops` or `nn`: those have tests of their own."""
    return type(op).__module__.split(".")[0] in ("loops", "nn")


def test_rows_can_be_told_apart():
    names = [str(case) for case in ROWS]
    assert sorted(names) == sorted(set(names))


@each_row
def test_forward_equals_numpy_on_arrays_and_on_tensors(case: Case):
    for xs in draws(case):
        expected = case.like(*xs)
        assert_close(case.fn(*map(ag.tensor, xs)), expected, case.forward_tolerance)
        assert_close(case.fn(*xs), expected, case.forward_tolerance)


@each_row
@pytest.mark.reference_only("plans do not promise the bits")
def test_a_drawn_row_has_the_op_and_the_specs_and_the_bits_of_the_computed_one(case: Case):
    for xs in draws(case):
        graph = drawn(case, xs)
        assert case.op in {node.op.name for node in graph.nodes} or not graph.nodes
        values = arrays_of(case.fn(*map(ag.tensor, xs)))
        assert [node.spec for node in graph.outputs.values()] == list(map(spec_of, values))
        results = graph.run(**{f"x{i}": x for i, x in enumerate(xs)})
        for y, z in zip(arrays_of(results), values, strict=True):
            np.testing.assert_array_equal(y, z)


@each_differentiable
def test_gradients_equal_differences(case: Case):
    for xs in draws(case):
        if all(x.size for x in xs):
            report = ag.check_grad(case.fn, xs, order=case.order)
            assert report.error < case.tolerance
        else:
            assert [g.shape for g in gradients(case, xs)] == [
                x.shape for x in xs if x.dtype.kind == "f"
            ]


@each_differentiable
def test_a_drawn_gradient_equals_the_computed_one(case: Case):
    for xs in draws(case):
        graph = drawn(case, xs, order=1)
        results = arrays_of(graph.run(**{f"x{i}": x for i, x in enumerate(xs)}))
        grads = gradients(case, [ag.tensor(x) for x in xs])
        assert_close(results[len(results) - len(grads) :], grads, 1e-13)


@pytest.mark.parametrize("case", [case for case in ROWS if not case.differentiable], ids=str)
def test_gradients_of_steps_and_of_what_is_stopped_are_zero(case: Case):
    for xs in draws(case):
        if any(x.dtype.kind == "f" for x in xs):
            for g in gradients(case, [ag.tensor(x) for x in xs]):
                assert not np.any(g.value)


@each_row
def test_batch_rule_equals_a_loop_over_the_leading_axis(case: Case):
    examples = zip(*[draws(case, seed) for seed in range(3)], strict=True)
    for several in examples:
        for batched in itertools.product((True, False), repeat=len(several[0])):
            if not any(batched):
                continue
            pairs = list(zip(batched, zip(*several, strict=True), strict=True))
            together = [np.stack(xs) if b else xs[0] for b, xs in pairs]
            axes = tuple(0 if b else None for b in batched)
            found = ag.vmap(case.fn, axes)(*together)
            singles = [[xs[i] if b else xs[0] for b, xs in pairs] for i in range(3)]
            one_by_one = [arrays_of(case.fn(*map(ag.tensor, xs))) for xs in singles]
            assert_close(found, [np.stack(ys) for ys in zip(*one_by_one, strict=True)], 1e-13)


@each_differentiable
def test_batch_rules_of_the_gradients_equal_a_loop(case: Case):
    for several in zip(*[draws(case, seed) for seed in range(2)], strict=True):
        together = [np.stack(xs) for xs in zip(*several, strict=True)]
        found = ag.vmap(lambda *xs: gradients(case, xs))(*together)
        one_by_one = [arrays_of(gradients(case, [ag.tensor(x) for x in xs])) for xs in several]
        assert_close(found, [np.stack(gs) for gs in zip(*one_by_one, strict=True)], 1e-12)


@each_row
def test_float32_is_kept_by_values_and_gradients_and_all_nodes_between(case: Case):
    for xs in draws(case):
        if not any(x.dtype.kind == "f" for x in xs):
            continue
        xs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in xs]
        graph = drawn(case, xs, order=case.order if case.differentiable else 1)
        for _, _, node in graph.walk():
            specs = node.spec if isinstance(node.spec, tuple) else (node.spec,)
            assert np.float64 not in [spec.dtype for spec in specs], graph
        for y in arrays_of(graph.run(**{f"x{i}": x for i, x in enumerate(xs)})):
            assert y.dtype != np.float64
        tensors = [ag.tensor(x) for x in xs]
        for y in [*arrays_of(case.fn(*tensors)), *gradients(case, tensors)]:
            assert y.dtype != np.float64


# Layouts. Each takes an array and returns an equal one that lies in memory in another way.


def reversed_view(x: Any) -> Any:
    every = (slice(None, None, -1),) * x.ndim
    return np.asarray(x[every]).copy()[every]


def column_major(x: Any) -> Any:
    return np.asfortranarray(x) if x.ndim > 1 else x.copy()


def every_second(x: Any) -> Any:
    wide = np.repeat(x, 2, axis=-1) if x.ndim else np.stack([x, x])
    return wide[..., ::2] if x.ndim else wide[0]


def stretched(x: Any) -> Any:
    """Return a view with strides 0 of the first row (so equal to `first_row` only)."""
    return np.broadcast_to(x[:1].copy(), x.shape) if x.ndim else x.copy()


def first_row(x: Any) -> Any:
    return np.repeat(x[:1], len(x), axis=0) if x.ndim else x


class Laid(Op):
    """Passes a value on in another layout: what `swapaxes` or `flip` do to the ops behind them."""

    vjps = (lambda g, y, x: g,)

    def __init__(self, layout: Any) -> None:
        super().__init__(layout.__name__)
        self.layout = layout

    def forward(self, x: Any) -> Any:
        return self.layout(x)


@pytest.mark.parametrize("layout", [reversed_view, column_major, every_second, stretched])
@each_row
def test_layout_in_memory_changes_nothing_and_inputs_are_not_written_to(case: Case, layout: Any):
    for xs in draws(case):
        xs = tuple(first_row(x) if layout is stretched else x for x in xs)
        views = [np.asarray(layout(x)) for x in xs]
        before = [v.tobytes() for v in views]
        expected = case.fn(*[x.copy() for x in xs])
        assert_close(case.fn(*views), expected, 1e-14)
        for v in views:
            v.flags.writeable = False
        assert_close(case.fn(*views), expected, 1e-14)
        assert [v.tobytes() for v in views] == before
        if case.differentiable:
            laid = Case(case.op, lambda *args: case.fn(*map(Laid(layout), args)), case.like, ())
            found = gradients(laid, [ag.tensor(x) for x in xs])
            assert_close(found, gradients(case, [ag.tensor(x) for x in xs]), 1e-13)


@pytest.mark.parametrize("row", WRONG_ROWS, ids=str)
@pytest.mark.parametrize("virtual", [False, True], ids=["computed", "drawn"])
def test_misuse_says_what_is_wrong(row: Wrong, virtual: bool):
    xs = [np.asarray(x) for x in row.sample(np.random.default_rng(0))]
    if virtual:
        args = [ag.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(xs)]
    else:
        args = [ag.tensor(x) for x in xs]
    with pytest.raises(row.error, match=row.match):
        row.fn(*args)
