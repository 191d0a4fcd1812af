"""What check_finite notices without looking: NumPy raises, or the op cannot do it.

The lists of ops in `autograd/execute/screen.py` are tried on the largest, smallest and oddest
finite numbers of each dtype.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import autograd as ag
from autograd.execute import screen
from autograd.execute.screen import FLAGGED, SAFE, finite
from autograd.node import OPS
from tests.cases import CASES
from tests.cases_structural import CASES as STRUCTURAL

EXACT = {"over": "raise", "divide": "raise", "invalid": "raise", "under": "ignore"}
QUIET = {"over": "ignore", "divide": "ignore", "invalid": "ignore", "under": "ignore"}


def extremes(dtype):
    info = np.finfo(dtype)
    big, tiny = float(info.max), float(info.tiny)
    values = [0.0, -0.0, 1.0, -1.0, tiny, -tiny, big, -big, big / 2, 1e3, -2.0, 90.0, 720.0, -750.0]
    return [value for value in values if abs(value) <= big]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", sorted(FLAGGED))
def test_numpy_raises_where_flagged_ops_make_something_that_is_not_finite(name, dtype):
    op = OPS[name]
    attrs = {"sum": {"axis": (0,), "keepdims": False}, "sum_to": {"shape": ()}}
    attrs["mean"] = attrs["sum"]
    count = 2 if name in ("add", "subtract", "multiply", "divide") else 1
    seen = 0
    for size, stride in itertools.product((1, 2, 3, 8, 17), (1, 2)):
        for combination in itertools.product(extremes(dtype), repeat=count):
            arrays = []
            for value in combination:
                array = np.ones(size * stride, dtype)[::stride]
                array[-1] = array[0] = value
                arrays.append(array)
            with np.errstate(**QUIET):
                y = op.forward(*arrays, **attrs.get(name, {}))
            if not np.isfinite(y).all():
                seen += 1
                with np.errstate(**EXACT), pytest.raises(FloatingPointError):
                    op.forward(*arrays, **attrs.get(name, {}))
    assert seen or (name, dtype) in {("log1p", "float16"), ("mean", dtype)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 16, 16), (7, 3, 1), (5, 33, 2), (32, 32, 32)])
def test_small_products_are_left_to_numpy_only_where_it_notices(monkeypatch, shape, dtype):
    m, k, n = shape
    a, b = (ag.input(name, lengths, dtype) for name, lengths in (("a", (m, k)), ("b", (k, n))))
    values = np.ones((m, k), dtype), np.ones((k, n), dtype)
    values[0][-1, -1] = values[1][-1, -1] = np.finfo(dtype).max
    assert screen.is_flagged(a @ b) == screen.small_products_are_flagged()
    assert not screen.is_flagged(ag.input("a", (64, 64)) @ ag.input("b", (64, 64)))
    for noticed in (screen.small_products_are_flagged(), False):
        monkeypatch.setattr(screen, "small_products_are_flagged", lambda noticed=noticed: noticed)
        graph = ag.Graph([a, b], {"y": ag.where(a @ b > 0.0, 1.0, 0.0)})
        with ag.check_finite(), pytest.raises(ag.NonFiniteError, match=r"matmul_1, row .*\+inf"):
            graph.run(a=values[0], b=values[1])


@pytest.mark.parametrize("case", [c for c in [*CASES, *STRUCTURAL] if c.op in SAFE], ids=str)
def test_safe_ops_are_finite_for_whatever_is(case):
    for sample, shift in itertools.product(case.samples, range(4)):
        arrays = []
        for x in sample(np.random.default_rng(0)):
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size:
                x = np.resize(np.roll(extremes(x.dtype), shift), x.shape).astype(x.dtype)
            arrays.append(x)
        specs = [ag.Spec(np.shape(x), np.asarray(x).dtype) for x in arrays]
        if {node.op.name for node in ag.trace(case.fn, *specs).nodes} <= SAFE | {"input"}:
            with np.errstate(**QUIET):
                results = case.fn(*arrays)
            results = results if isinstance(results, (tuple, list)) else (results,)
            assert all(np.isfinite(np.asarray(y)).all() for y in results)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, 5000, 20000])
def test_finite(dtype, size):
    array = np.full(size, np.finfo(dtype).max, dtype)
    assert finite(array)
    assert finite((array, np.arange(3)))
    assert finite(np.zeros((0, 3), dtype))
    for value in (np.nan, np.inf, -np.inf):
        array[size // 2] = value
        assert not finite(array)
        assert not finite(array[::-1])
        assert not finite((np.arange(3), array))


def test_every_safe_op_that_makes_floats_is_tried():
    tried = {case.op for case in [*CASES, *STRUCTURAL]}
    assert SAFE - tried <= {"item"}  # it hands on what others made
    assert not FLAGGED & SAFE
    assert set(OPS) >= FLAGGED | SAFE
