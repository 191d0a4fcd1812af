"""Indices against NumPy: every kind of key, read, differentiated and written to."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.ops.diagonal import EmbedDiagonal
from autograd.ops.index import Place, gather, place, scatter, scatter_set, slice_
from autograd.ops.join import _pad, _split
from autograd.ops.keys import shown
from autograd.ops.shape import _roll

X = np.arange(24.0).reshape(2, 3, 4)


# Random keys.


def random_part(n: int, choose: random.Random, rng: np.random.Generator) -> Any:
    """Return an index for an axis of length n: an int, a slice, integers or a mask."""
    kind = choose.random()
    if kind < 0.2 and n:
        return choose.randint(-n, n - 1)
    if kind < 0.5:
        start, stop = (choose.choice([None, *range(-n - 1, n + 2)]) for _ in range(2))
        return slice(start, stop, choose.choice([None, 1, 2, -1, -2]))
    if kind < 0.85 and n:
        return rng.integers(-n, n, choose.choice([(), (2,), (1, 2), (3, 2), (0,)]))
    return rng.integers(0, 2, n) == 1


def random_key(shape: tuple[int, ...], choose: random.Random, rng: np.random.Generator) -> Any:
    key: list[Any] = []
    axis = 0
    dots = False
    while axis < len(shape):
        if choose.random() < 0.1:
            key.append(None)
        if choose.random() < 0.04:
            key.append(choose.random() < 0.5)
        if choose.random() < 0.12 and not dots:
            key.append(...)
            dots = True
            axis += choose.randint(0, len(shape) - axis)
        elif choose.random() < 0.1 and axis + 2 <= len(shape):
            key.append(rng.integers(0, 2, shape[axis : axis + 2]) == 1)
            axis += 2
        elif choose.random() < 0.15:
            break
        else:
            key.append(random_part(shape[axis], choose, rng))
            axis += 1
    return tuple(key)


@pytest.mark.parametrize("seed", range(10))
def test_random_keys_read_and_write_as_in_numpy(seed: int):
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    good = 0
    while good < 40:
        shape = tuple(choose.choice([0, 1, 2, 3, 3]) for _ in range(choose.randint(0, 4)))
        x, key = rng.normal(size=shape), random_key(shape, choose, rng)
        try:
            expected = np.asarray(x[key])
        except IndexError:
            with pytest.raises(ShapeError):
                ag.tensor(x)[key]
            continue
        good += 1
        v = rng.normal(size=expected.shape)
        np.testing.assert_array_equal(ag.tensor(x)[key].value, expected)
        drawn = ag.input("x", shape)
        assert drawn[key].shape == expected.shape
        added = np.zeros(shape)
        np.add.at(added, key, v)
        (g,) = ag.vjp(lambda x, key=key: x[key], x)[1](v)
        np.testing.assert_allclose(g.value, added, atol=1e-12)
        np.testing.assert_allclose(ag.index_add(x, key, ag.tensor(v)).value, x + added, atol=1e-12)
        written = x.copy()
        written[key] = v
        np.testing.assert_array_equal(ag.index_set(ag.tensor(x), key, v).value, written)


# Gradients of many slices.


def test_gradient_of_all_slices_makes_one_array(monkeypatch: pytest.MonkeyPatch):
    made = []
    forward = Place.forward
    monkeypatch.setattr(
        Place, "forward", lambda *args, **attrs: made.append(1) or forward(*args, **attrs)
    )
    x = ag.tensor(np.arange(50.0), requires_grad=True)
    total = x.sum()
    for i in range(50):
        total = total + x[i] * i
    total.backward()
    assert len(made) == 1
    np.testing.assert_array_equal(x.grad.value, 1 + np.arange(50.0))


def test_drawn_gradient_of_all_slices_is_one_node():
    x = ag.input("x", (20, 3))
    loss = sum((x[i] * x[i] * float(i) for i in range(20)), start=ag.zeros(3)).sum()
    graph = ag.Graph([x], {"g": ag.grad(loss, x)})
    assert [node.op.name for node in graph.nodes].count("place") == 1
    expected = np.repeat(2 * np.arange(20.0)[:, None], 3, axis=1)
    np.testing.assert_array_equal(graph.run(x=np.ones((20, 3)))["g"], expected)


# Nodes as indices.


def test_virtual_indices_are_data():
    x, i, j = ag.input("x", (4, 3)), ag.input("i", (), "int64"), ag.input("j", (2,), "int64")
    picked = ag.concat([x[i], x[j, 0], x[0, i][None]])
    loss = (picked * picked).sum()
    graph = ag.Graph([x, i, j], {"y": picked, "g": ag.grad(loss, x)})
    value = np.arange(12.0).reshape(4, 3)
    for a, b in ((2, [3, 3]), (0, [1, -1])):
        y, g = graph.run(x=value, i=np.array(a), j=np.array(b)).values()
        np.testing.assert_array_equal(y, np.concatenate([value[a], value[b, 0], [value[0, a]]]))
        expected = np.zeros((4, 3))
        expected[a] += 2 * value[a]
        np.add.at(expected, (b, 0), 2 * value[b, 0])
        expected[0, a] += 2 * value[0, a]
        np.testing.assert_array_equal(g, expected)


def test_tensors_as_indices():
    x = ag.tensor(X)
    np.testing.assert_array_equal(x[ag.tensor(1)].value, X[1])
    np.testing.assert_array_equal(x[..., ag.tensor([3, 0])].value, X[..., [3, 0]])
    np.testing.assert_array_equal(x[x > 5.0].value, X[X > 5.0])
    np.testing.assert_array_equal(x[: ag.tensor(1)].value, X[:1])
    assert X[ag.tensor(1), 0, 0] == X[1, 0, 0]


def test_virtual_mask_is_refused():
    x = ag.input("x", (3,))
    with pytest.raises(GraphError, match="cannot be a mask, as how many elements"):
        x[x > 0]


def test_key_of_nothing_is_the_value_itself():
    x = ag.tensor(X)
    assert x[...] is x
    assert x[:, :] is x
    assert ag.index_set(x, ..., 0.0).tolist() == np.zeros_like(X).tolist()


@pytest.mark.parametrize("bad", [4, -5])
def test_index_array_out_of_range(bad: int):
    x, i = ag.tensor(np.ones(4), requires_grad=True), np.array([0, bad])
    for fn in (
        lambda: x[i],
        lambda: ag.index_add(x, i, 1.0),
        lambda: ag.index_set(x, i, 1.0),
        lambda: ag.Graph([v := ag.input("x", (4,))], {"y": v[i]}).run(x=np.ones(4)),
    ):
        with pytest.raises(ShapeError, match=r"does not fit shape \(4,\): .*indices go from minus"):
            fn()


def test_integer_beside_array_out_of_range_is_named():
    with pytest.raises(ShapeError, match=r"index \[<int64 array of shape \(1,\)>, 5\] does not"):
        ag.tensor(np.ones((2, 3)))[np.array([0]), 5]


def test_error_of_a_mixed_index_shows_all_of_it():
    with pytest.raises(ShapeError, match=r"The index was \[0, \[7\]\] of shape \(2, 3\)"):
        ag.tensor(np.ones((2, 3)))[0, [7]]


def test_keys_are_shown_as_written():
    x = ag.input("i", (2,), "int64")
    assert shown((0, slice(None), slice(1, None, -2), None, ...)) == "[0, :, 1::-2, None, ...]"
    assert shown(list(range(9))) == "[<int64 array of shape (9,)>]"
    assert shown((x, np.array([True]))) == "[<int64[2]>, <bool array of shape (1,)>]"


# Writing.


def test_index_add_adds_up_and_index_set_keeps_the_last():
    x = np.zeros(3)
    key = [1, 1, 1, 2]
    assert ag.index_add(x, key, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [0, 6, 4]
    v = ag.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = ag.index_set(ag.tensor(x), key, v)
    assert y.tolist() == [0, 3, 4]
    (y * ag.tensor([5.0, 6.0, 7.0])).sum().backward()
    assert v.grad.tolist() == [0, 0, 6, 7]


def test_writing_keeps_the_dtype_and_the_input():
    x = np.arange(3, dtype=np.float32)
    y = ag.index_set(ag.tensor(x), 0, np.float64(7))
    assert y.dtype == np.float32
    assert x.tolist() == [0, 1, 2]
    whole = ag.index_add(ag.arange(3), [0, 0], 2)
    assert whole.tolist() == [4, 1, 2]
    assert whole.dtype == np.int64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("width", [(), (1,), (3,), (0,)])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_scatter_adds_up_as_add_at_does(dtype: str, width: tuple[int, ...], count: int):
    rng = np.random.default_rng(count)
    targets = rng.integers(-7, 7, count)
    rows = rng.integers(-5, 5, (count, *width)).astype(dtype)
    expected = np.zeros((7, *width), dtype)
    np.add.at(expected, targets, rows)
    found = scatter(rows, targets, axes=(0,), at=0, shape=(7, *width))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_small_and_unsigned_indices(dtype: str):
    i = np.array([100, 3, 100], dtype)
    g = ag.grad(lambda x: (x[i] * np.array([1.0, 2.0, 4.0])).sum())(np.zeros(1000)).value
    assert (g[100], g[3], g.sum()) == (5, 2, 7)


def test_one_hot():
    assert ag.one_hot([2, 0, 5], 3, "float32").tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert ag.one_hot(ag.input("i", (4,), "int8"), 3).shape == (4, 3)
    with pytest.raises(DTypeError, match="indices must be integers"):
        ag.one_hot([0.5], 3)
    assert ag.take(ag.arange(3), []).shape == (0,)


# Attrs that come from a graph file are checked like a user's.

S = (2, 3)


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda x, i: gather(x, i, i, axes=(1, 0), at=0), "the axes in rising order"),
        (lambda x, i: gather(x, i, axes=(2,), at=0), "the axes in rising order"),
        (lambda x, i: gather(x, x, axes=(0,), at=0), "must be of an integer dtype"),
        (lambda x, i: scatter(x, i, axes=(0,), at=0, shape=(5, 4)), r"must have shape \(2, 4\)"),
        (lambda x, i: scatter_set(x, x, i, axes=(1,), at=0), r"have shape \(2, 2\)"),
        (lambda x, i: place(x, keys=((0,),), shape=(2, 3)), r"goes to \[0\] must have shape"),
        (lambda x, i: slice_(x, key=(0, 0, 0)), "too many indices"),
        (lambda x, i: _split(x, sizes=(1, 2), axis=0), "do not make up axis 0"),
        (lambda x, i: _pad(x, widths=((0, 1),), value=0), "one pair"),
        (lambda x, i: _roll(x, shift=(1, 2), axes=(0,)), "one shift an axis"),
        (
            lambda x, i: EmbedDiagonal("d").infer(x.spec, offset=0, rows=2, columns=2),
            "has 2 elements",
        ),
    ],
)
def test_wrong_attrs(draw: Any, match: str):
    with pytest.raises((ShapeError, DTypeError), match=match):
        draw(ag.input("x", S), ag.input("i", (2,), "int64"))


def test_gather_refuses_a_place_for_the_indexed_axes_that_does_not_exist():
    x = ag.input("x", (2, 3))
    with pytest.raises(ShapeError, match=r"cannot begin at 7: the result has 1 other axes"):
        gather(x, ag.tensor([0, 1]), axes=(0,), at=7)
