"""How ops are printed by the NumPy plan: each rule against `op.forward`, in all layouts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd.errors import ShapeError
from autograd.execute.numpy_rules import NO_RULE, RULES, in_place, rule_for
from autograd.execute.numpy_rules.delaying import runs
from autograd.execute.numpy_rules.structure import LARGE
from autograd.node import OPS, Node
from autograd.ops.index import gather, scatter_set
from autograd.spec import Spec, spec_of
from tests.cases import Case
from tests.test_ops import (
    ROWS,
    column_major,
    draws,
    drawn,
    every_second,
    loops,
    reversed_view,
)

FAST = frozenset(
    "matmul sum mean sum_to norm softmax log_softmax logsumexp power einsum".split()
)
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
        exec(f"def run():\n{body}", self.namespace)  # noqa: S102
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
    for i in in_place(node):
        for names in (None, [f"x{i}"]):
            xs = [np.array(x) for x in ins]
            prepared(node, xs, [xs[i]], names)()
            assert_same(node, xs[i], expected[0])


def graphs_of(case: Case, dtype: Any = np.float64) -> Any:
    """Return graphs of a row and of its gradient, with arrays for their inputs."""
    for xs in draws(case):
        xs = tuple(x.astype(dtype) if x.dtype == np.float64 else x for x in xs)
        yield drawn(case, xs, order=int(case.differentiable)), xs


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


def node_of(fn: Callable[..., Any], *xs: Any) -> Node:
    """Return what `fn` draws for inputs like `xs`."""
    node: Node = fn(*[ag.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(xs)])
    return node
