"""How ops are printed by the NumPy plan: each rule against `op.forward`, in all layouts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd.errors import ShapeError
from autograd.execute.lower import overwritable
from autograd.execute.numpy_rules import NO_RULE, RULES, rule_for
from autograd.execute.numpy_rules.delaying import runs
from autograd.execute.numpy_rules.reductions import SHORT
from autograd.execute.numpy_rules.structure import LARGE
from autograd.node import OPS, Node
from autograd.ops.index import gather, scatter_set
from autograd.rewrite.nodes import renewed
from autograd.spec import Spec, spec_of
from tests.cases import Case
from tests.test_ops import (
    ROWS,
    column_major,
    drawn,
    draws,
    every_second,
    loops,
    reversed_view,
)

FAST = {"matmul", "einsum", "power", "sum", "mean", "sum_to", "norm"}
FAST |= {"softmax", "log_softmax", "logsumexp"}
"""Ops of the table of fast forms, which differ by rounding."""
LAYOUTS = (np.array, column_major, reversed_view, every_second)


class Lines:
    """The simplest writer: collects lines, and makes them a function."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.namespace: dict[str, Any] = dict(arrays)
        self.names: dict[int, str] = {}

    def line(self, text: str) -> None:
        self.lines.append(text)

    def constant(self, value: Any, hint: str) -> str:
        name = self.names.setdefault(id(value), f"{hint}_{len(self.names)}")
        self.namespace[name] = value
        return name

    def scratch(self, spec: Spec) -> str:
        name = f"s{len(self.namespace)}"
        self.namespace[name] = garbage(spec)
        return name

    def contiguous(self, name: str) -> bool:
        return bool(self.namespace[name].flags.c_contiguous)

    def function(self) -> Callable[[], None]:
        body = "\n".join(f"    {text}" for text in self.lines) or "    pass"
        exec(f"def run():\n{body}", self.namespace)
        run: Callable[[], None] = self.namespace["run"]
        return run


def garbage(spec: Spec) -> Any:
    """Return an array of numbers that no rule should read."""
    return np.full(spec.shape, np.nan if spec.floating else 77, spec.dtype)


def specs_of(node: Node) -> tuple[Spec, ...]:
    return node.spec if isinstance(node.spec, tuple) else (node.spec,)


def prepared(node: Node, ins: list[Any], outs: list[Any], names: Any = None) -> Callable[[], None]:
    """Return a function that computes `node` from `ins` into `outs` by its rule."""
    rule = rule_for(node)
    assert rule is not None
    in_names = [f"x{i}" for i in range(len(ins))]
    out_names = names or [f"y{i}" for i in range(len(outs))]
    writer = Lines(dict(zip([*out_names, *in_names], [*outs, *ins], strict=True)))
    rule(writer, list(out_names), in_names, node)
    return writer.function()


def assert_same(node: Node, found: Any, expected: Any, exact: bool = True) -> None:
    """Compare with what `forward` gives: the same bits, or rounding where a fast form is used."""
    expected = np.asarray(expected)
    assert spec_of(found) == spec_of(expected)
    if (node.op.name in FAST or not exact) and expected.dtype.kind == "f":
        scale = np.max(np.abs(expected), initial=1, where=np.isfinite(expected))
        tolerance = 32 * np.finfo(expected.dtype).eps * scale
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    else:
        np.testing.assert_array_equal(found, expected)


def computed(node: Node, ins: list[Any]) -> list[Any]:
    result = node.op.forward(*ins, **node.attrs)
    return list(result) if node.op.multiple else [result]


def check(node: Node, ins: list[Any]) -> None:
    """Check a node in all layouts of its inputs and outputs, and over each input it may take.

    (NumPy itself rounds exp and its kin otherwise where elements do not lie side by side.)
    """
    expected = computed(node, ins)
    for number, layout in enumerate(LAYOUTS):
        views = [np.asarray(layout(x)) for x in ins]
        for view in views:
            view.flags.writeable = False
        for other in (LAYOUTS[0], LAYOUTS[number]):
            outs = [np.asarray(other(garbage(spec))) for spec in specs_of(node)]
            prepared(node, views, outs)()
            for found, value in zip(outs, expected, strict=True):
                assert_same(node, found, value, exact=number == 0)
    for i in overwritable(node, node.spec):
        for names in (None, [f"x{i}"]):
            xs = [np.array(x) for x in ins]
            prepared(node, xs, [xs[i]], names)()
            assert_same(node, xs[i], expected[0])


def graphs_of(case: Case, dtype: Any = np.float64) -> Any:
    """Return graphs of a row and of its gradient, with arrays for their inputs."""
    for xs in draws(case):
        xs = tuple(x.astype(dtype) if x.dtype == np.float64 else x for x in xs)
        yield drawn(case, xs, order=int(case.differentiable and dtype == np.float64)), xs


def check_all(graph: ag.Graph, xs: Any) -> set[str]:
    """Check every node of a graph that has a rule; return the names of those that have none."""
    values: dict[Node, Any] = dict(zip(graph.inputs.values(), xs, strict=False))
    without = set()
    for node in graph.nodes:
        if node in values:
            continue
        if not node.inputs:
            values[node] = node.value
            continue
        ins = [values[x] for x in node.inputs]
        if rule_for(node) is None:
            without.add(node.op.name)
        else:
            check(node, ins)
        values[node] = node.op.forward(*ins, **node.attrs)
    return without


def test_every_op_has_a_rule_or_a_reason_to_have_none():
    ours = {name for name, op in OPS.items() if not loops(op)}
    assert set(RULES) | set(NO_RULE) == ours
    assert not set(RULES) & set(NO_RULE)


# What a rule that is there is not for.
LEFT_OUT = {"gather", "einsum", "delays", "delays_adjoint", "gelu", "round"}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_rules_compute_what_forward_computes(case: Case, dtype: Any):
    for graph, xs in graphs_of(case, dtype):
        assert check_all(graph, xs) <= {*NO_RULE, *LEFT_OUT}


def graph_of(fn: Callable[..., Any], *xs: Any) -> ag.Graph:
    """Return the graph of `fn` drawn for inputs like `xs`."""
    inputs = [ag.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(xs)]
    return ag.Graph(inputs, {"y": fn(*inputs)}, allow_unused=True)


def last_node(fn: Callable[..., Any], *xs: Any) -> tuple[Node, list[Any]]:
    """Return the last node that `fn` draws, and the values of its inputs."""
    graph = graph_of(fn, *xs)
    values: dict[Node, Any] = dict(zip(graph.inputs.values(), xs, strict=True))
    (head,) = graph.outputs.values()
    for node in graph.nodes:
        if node not in values and node is not head:
            ins = [values[x] for x in node.inputs]
            values[node] = np.asarray(node.op.forward(*ins, **node.attrs)) if ins else node.value
    return head, [values[x] for x in head.inputs]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 1e-30, 2.0, -3.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "fn",
    [
        lambda x: ag.relu(x),
        lambda x: ag.leaky_relu(x, 0.1),
        lambda x: ag.leaky_relu(x, -2.0),
        lambda x: ag.leaky_relu(x, 3.0),
        lambda x: ag.elu(x, 0.5),
        lambda x: ag.elu(x, 2.0),
        lambda x: ag.elu(x, -1.0),
        lambda x: ag.sigmoid(x),
        lambda x: ag.softplus(x),
        lambda x: ag.clip(x, -1, 1),
        lambda x: ag.clip(x, -0.0, 0.0),
        lambda x: ag.where(x > 0, x, 0.0),
        lambda x: ag.where(x > 0, 0.0, x),
        lambda x: ag.where(x > 0, -0.0, x),
        lambda x: ag.where(x, x, -x),
        *[lambda x, e=e: x**e for e in (0, 1, 2, -1, 0.5, 3)],
        lambda x: ag.gelu(x, "tanh"),
    ],
)
def test_inf_nan_and_signed_zeros_are_those_of_forward(fn: Any, dtype: Any):
    with np.errstate(all="ignore"):
        for repeats in (1, 200, 2000):
            x = rng().permutation(np.tile(ODD.astype(dtype), repeats))
            check_all(graph_of(fn, x), [x])


def signs(values: Any) -> Any:
    """Return the signs of floats, that of NaN left out: it says nothing."""
    return np.signbit(np.where(np.isnan(values), 0, values))


@pytest.mark.parametrize("size", [10, 5000, 20_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_choice_is_exact_for_zeros_of_both_signs_too(size: int, dtype: Any):
    x, z = (rng(seed).choice(ODD, size).astype(dtype) for seed in range(2))
    test = rng(2).integers(0, 2, size) == 1
    for fn in (
        lambda c, a, b: ag.where(c, a, b),
        lambda c, a, b: ag.where(c, a, 0.0),
        lambda c, a, b: ag.where(c, 0.0, b),
        lambda c, a, b: ag.where(c, a, -0.0),
    ):
        node, ins = last_node(fn, test, x, z)
        out = garbage(node.spec)
        prepared(node, ins, [out])()
        expected = node.op.forward(*ins)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(signs(out), signs(expected))


SUMS = [
    (shape, axis, keepdims)
    for shape in (
        (6,),
        (5, 7),
        (1, 7),
        (5, 1),
        (3, 4, 5),
        (2, 1, 3),
        (2, SHORT + 6),
        (0, 3),
        (3, 0),
    )
    for axis in (None, *range(len(shape)), (0, 1), (1, 2), (0, 2))
    if axis is None or max(np.atleast_1d(axis)) < len(shape)
    for keepdims in (False, True)
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32, np.bool_])
@pytest.mark.parametrize("name", ["sum", "mean", "any", "prod"])
def test_reductions_over_all_axes_and_of_all_dtypes(name: str, dtype: Any):
    with np.errstate(all="ignore"):  # the mean of nothing
        for shape, axis, keepdims in SUMS:
            x = rng().uniform(-2, 2, shape).astype(dtype)
            node, ins = last_node(partial(getattr(ag, name), axis=axis, keepdims=keepdims), x)
            check(node, ins)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "norm"])
def test_rows_that_are_infinite_or_far_apart(name: str):
    rows = [[-np.inf, -np.inf, -np.inf], [0.0, -np.inf, 1.0], [1e4, 0.0, -1e4], [3.0, 3.0, 3.0]]
    for dtype in (np.float32, np.float64):
        x = np.array(rows, dtype)
        with np.errstate(all="raise", invalid="ignore"):
            check(*last_node(partial(getattr(ag, name), axis=-1), x))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((1, 16), (16, 16)),
        ((16, 1), (1, 16)),
        ((4, 5, 6), (6, 3)),
        ((4, 5, 6), (6,)),
        ((6,), (4, 6, 5)),
        ((4, 5, 6), (4, 6, 3)),
        ((2, 1, 5, 6), (3, 6, 3)),
        ((2, 0), (0, 3)),
        ((0, 2, 3), (3, 4)),
    ],
)
@pytest.mark.parametrize("dtypes", ["dd", "ff", "fd", "ll", "?l"])
def test_products_of_all_ranks_and_dtypes(first: Any, second: Any, dtypes: str):
    a, b = (rng(i).uniform(-3, 3, s).astype(dtypes[i]) for i, s in enumerate((first, second)))
    check(*last_node(ag.matmul, a, b))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", [(30, 40), (40, 50)]),
        ("ji,jk->ik", [(40, 30), (40, 50)]),
        ("ij,kj->ki", [(30, 40), (50, 40)]),
        ("bij,bjk->bik", [(5, 20, 20), (5, 20, 20)]),
        ("bji,bkj->kbi", [(5, 20, 20), (5, 20, 20)]),
        ("tbi,tbj->ij", [(10, 20, 15), (10, 20, 16)]),
        ("ijk,kjl->il", [(20, 5, 20), (20, 5, 20)]),
        ("ii,ij->j", [(200, 200), (200, 200)]),
        ("ij,k->i", [(20, 40), (40,)]),
        ("ij,ij->i", [(1, 300), (200, 300)]),
        ("i,j->ij", [(300,), (200,)]),
    ],
)
def test_large_sums_of_products(subscripts: str, shapes: Any):
    xs = [rng(i).uniform(-1, 1, shape) for i, shape in enumerate(shapes)]
    check(*last_node(partial(ag.einsum, subscripts), *xs))


def test_large_sums_of_three_products_go_through_forward():
    xs = [rng(i).uniform(-1, 1, (30, 30)) for i in range(3)]
    assert rule_for(last_node(partial(ag.einsum, "ij,jk,kl->il"), *xs)[0]) is None


@pytest.mark.parametrize("rows", [3, LARGE])
@pytest.mark.parametrize("wrong", [5, -6])
def test_indices_outside_have_the_error_of_the_op(rows: int, wrong: int):
    x, i = rng().uniform(size=(5, 2)), rng().integers(-5, 5, rows)
    node, ins = last_node(partial(gather, axes=(0,), at=0), x, i)
    check(node, ins)
    i[1] = wrong
    run = prepared(node, [x, i], [garbage(node.spec)])
    with pytest.raises(ShapeError, match=r"does not fit shape \(5, 2\)"):
        run()


def test_writing_outside_has_the_error_of_the_op():
    x, v, i = np.zeros((5, 2)), np.ones((3, 2)), np.array([0, 1, 5])
    node, _ = last_node(partial(scatter_set, axes=(0,), at=0), x, v, i)
    with pytest.raises(ShapeError, match=r"does not fit shape \(5, 2\)"):
        prepared(node, [x, v, i], [garbage(node.spec)])()


def test_rows_that_follow_each_other_are_one_run():
    assert [tuple(run) for run in runs(np.array([1, 2, 3, 4, 4, 4]), (2, 3, 1))] == [
        (0, 0, 1, 1, False),
        (1, 1, 4, 0, False),
        (1, 4, 6, 2, True),
    ]


BOOM = "0); boom("


def poisoned(value: Any) -> Any:
    """Yield `value` with one part of it replaced by source."""
    yield BOOM
    if isinstance(value, tuple):
        for i, part in enumerate(value):
            for bad in poisoned(part):
                yield (*value[:i], bad, *value[i + 1 :])


def test_what_a_file_says_does_not_get_into_source():
    tried = 0
    for case in ROWS:
        graph = drawn(case, draws(case)[0])
        for node in graph.nodes:
            for key, value in node.attrs.items() if rule_for(node) else ():
                for bad in poisoned(value):
                    tried += 1
                    forged = renewed(node, node.inputs, {**node.attrs, key: bad})
                    assert "boom" not in printed(forged)
    assert tried > 500


def printed(node: Node) -> str:
    """Return what a node's rule writes; nothing if it refuses the attributes."""
    names = [f"x{i}" for i in range(len(node.inputs))], [f"y{i}" for i in range(9)]
    specs = [*[x.spec for x in node.inputs], *(specs_of(node) * 9)[:9]]
    writer = Lines(dict(zip([*names[0], *names[1]], map(garbage, specs), strict=True)))
    try:
        rule = rule_for(node)
        if rule is not None:
            rule(writer, names[1][: len(specs_of(node))], names[0], node)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError):
        return ""
    return "\n".join(writer.lines)


# Nothing is allocated. Each row: a function, and shapes of its float inputs.

QUIET: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
    (lambda a, b: a + b, ((256, 512), (256, 512))),
    (lambda a, b: a * b, ((256, 512), (512,))),
    (lambda a: a * 2.0, ((256, 512),)),
    (lambda a: a**3, ((256, 512),)),
    (ag.tanh, ((256, 512),)),
    (ag.sigmoid, ((256, 512),)),
    (ag.softplus, ((256, 512),)),
    (ag.relu, ((256, 512),)),
    (lambda a: ag.elu(a, 3.0), ((256, 512),)),
    (lambda a: ag.gelu(a, "tanh"), ((256, 512),)),
    (lambda a: ag.clip(a, -1, 1), ((256, 512),)),
    (lambda a, b: a < b, ((256, 512), (256, 512))),
    (lambda a, b: ag.where(ag.tensor(np.arange(512) > 99), a, b), ((256, 512), (256, 512))),
    (lambda a, b: a @ b, ((256, 512), (512, 300))),
    (lambda a, b: a @ b.T, ((256, 512), (300, 512))),
    (lambda a, b: a @ b, ((8, 32, 512), (512, 300))),
    (lambda a, b: a @ b, ((8, 32, 512), (8, 512, 30))),
    (lambda a, b: ag.einsum("tbi,tbj->ij", a, b), ((16, 32, 256), (16, 32, 200))),
    (lambda a: a.sum(), ((256, 512),)),
    (lambda a: a.sum(0), ((256, 512),)),
    (lambda a: a.sum(1, keepdims=True), ((256, 512),)),
    (lambda a: a.sum((0, 2)), ((16, 16, 512),)),
    (lambda a: a.mean(-1), ((256, 512),)),
    (lambda a: a.max(-1), ((256, 512),)),
    (lambda a: ag.norm(a, -1), ((256, 512),)),
    (lambda a: ag.softmax(a), ((256, 512),)),
    (lambda a: ag.log_softmax(a), ((256, 512),)),
    (lambda a: ag.logsumexp(a, -1), ((256, 512),)),
    (lambda a: ag.argmax(a, -1), ((256, 512),)),
    (lambda a: ag.cumsum(a, 1, reverse=True), ((256, 512),)),
    (lambda a, b: ag.concat([a, b], 1), ((256, 512), (256, 512))),
    (lambda a, b: ag.stack([a, b], 1), ((256, 512), (256, 512))),
    (lambda a: ag.pad(a, 1), ((256, 512),)),
    (lambda a: ag.roll(a, 3, 1), ((256, 512),)),
    (lambda a: ag.tril(a), ((256, 512),)),
    (lambda a: ag.index_set(a, 3, 0.0), ((256, 512),)),
    (lambda a: ag.take(a, np.arange(200), 0), ((256, 512),)),
    (lambda a: a.astype("float32"), ((256, 512),)),
]
BUFFERS = 200_000
"""Bytes that NumPy may take to convert or broadcast: buffers of 8,192 elements an operand."""


@pytest.mark.parametrize(("fn", "shapes"), QUIET)
def test_rules_allocate_nothing(fn: Any, shapes: Any):
    xs = [rng(i).uniform(-1, 1, shape) for i, shape in enumerate(shapes)]
    node, ins = last_node(fn, *xs)
    outs = [garbage(spec) for spec in specs_of(node)]
    run = prepared(node, ins, outs)
    run()
    tracemalloc.start()
    try:
        run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BUFFERS < max(x.nbytes for x in xs)
