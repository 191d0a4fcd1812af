"""The rows of the table of op cases for shapes, indices, joins and linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import DTypeError, ShapeError
from autograd.ops.index import gather, getitem, place, scatter, scatter_set, slice_, slice_set
from autograd.ops.shape import sum_to
from tests.cases import Case, Sample, Wrong, beside, floats, integers

CASES: list[Case] = []
WRONG: list[Wrong] = []


def row(op: str, fn: Any, like: Any, *samples: Sample, label: str = "", **options: Any) -> None:
    CASES.append(Case(op, fn, like, samples, label=label, **options))


def wrong(op: str, fn: Any, sample: Sample, error: type[Exception], match: str) -> None:
    WRONG.append(Wrong(op, fn, sample, error, match))


# Shape.

row(
    "reshape",
    lambda x: ag.reshape(x, (3, -1)),
    lambda x: np.reshape(x, (3, -1)),
    floats((2, 3)),
    floats((3, 1, 2)),
)
row("reshape", ag.ravel, np.ravel, floats(()), floats((0, 2)), floats((2, 2)), label="ravel")
row(
    "expand_dims",
    lambda x: ag.expand_dims(x, (0, -1)),
    lambda x: np.expand_dims(x, (0, -1)),
    floats(()),
    floats((2, 3)),
)
row("squeeze", ag.squeeze, np.squeeze, floats((1, 1)), floats((1, 3, 1)))
row(
    "squeeze",
    lambda x: ag.squeeze(x, -1),
    lambda x: np.squeeze(x, -1),
    floats((1, 3, 1)),
    label="axis",
)
row(
    "broadcast_to",
    lambda x: ag.broadcast_to(x, (2, 3, 4)),
    lambda x: np.broadcast_to(x, (2, 3, 4)),
    floats(()),
    floats((4,)),
    floats((3, 1)),
    floats((2, 3, 4)),
)
row(
    "sum_to",
    lambda x: sum_to(x, shape=(3, 1)),
    lambda x: x.reshape((-1, *x.shape[-2:])).sum((0, 2)).reshape(3, 1),
    floats((3, 4)),
    floats((2, 3, 1)),
    floats((0, 3, 4)),
)
row(
    "swapaxes",
    lambda x: ag.swapaxes(x, 0, 1),
    lambda x: np.swapaxes(x, 0, 1),
    floats((2, 3)),
    floats((2, 0, 2)),
)
row(
    "swapaxes",
    ag.matrix_transpose,
    np.matrix_transpose,
    floats((2, 3)),
    floats((2, 1, 4)),
    label="matrix_transpose",
)
row(
    "permute_dims",
    lambda x: ag.permute_dims(x, (2, 0, -2)),
    lambda x: np.transpose(x, (2, 0, -2)),
    floats((2, 3, 4)),
    floats((0, 3, 1)),
)
row("permute_dims", ag.transpose, np.transpose, floats((1, 3)), floats((2, 3)), label="reversed")
row(
    "permute_dims",
    lambda x: ag.moveaxis(x, (0, 2), (-1, 0)),
    lambda x: np.moveaxis(x, (0, 2), (-1, 0)),
    floats((2, 3, 4)),
    label="moveaxis",
)
row("flip", ag.flip, np.flip, floats(()), floats((3,)), floats((2, 3)))
row("flip", lambda x: ag.flip(x, -1), lambda x: np.flip(x, -1), floats((2, 3)), label="axis")
row("roll", lambda x: ag.roll(x, 2), lambda x: np.roll(x, 2), floats((5,)), floats((2, 3)))
row(
    "roll",
    lambda x: ag.roll(x, (1, -2), (0, 1)),
    lambda x: np.roll(x, (1, -2), (0, 1)),
    floats((3, 4)),
    floats((0, 3)),
    label="axes",
)
row(
    "roll",
    lambda x: ag.roll(x, 1, (0, 1)),
    lambda x: np.roll(x, 1, (0, 1)),
    floats((2, 3)),
    label="one-shift",
)
row(
    "astype",
    lambda x: ag.astype(x, x.dtype),
    lambda x: x,
    floats((2, 3)),
    label="same",
)
row(
    "astype",
    lambda x: ag.astype(x, "int64"),
    lambda x: x.astype("int64"),
    floats((2, 3), low=-5, high=5, away=(-4, -3, -2, -1, 0, 1, 2, 3, 4)),
    differentiable=False,
)

# Joining and taking apart.

row(
    "stack",
    lambda *xs: ag.stack(xs, -1),
    lambda *xs: np.stack(xs, -1),
    floats(()),
    floats((3,), (3,)),
    floats((0, 2), (0, 2)),
)
row("unstack", ag.unstack, lambda x: tuple(x), floats((3,)), floats((2, 3)))
row(
    "unstack",
    lambda x: ag.unstack(x, -1)[1],
    lambda x: x[..., 1],
    floats((2, 3)),
    label="one-of-them",
)
row(
    "concat",
    lambda *xs: ag.concat(xs, -1),
    lambda *xs: np.concatenate(xs, -1),
    floats((2,), (3,)),
    floats((2, 1), (2, 0), (2, 3)),
)
row(
    "concat",
    lambda x, y: ag.concat([x, y], None),
    lambda x, y: np.concatenate([x, y], None),
    floats((), (2, 2)),
    label="flat",
)
row(
    "split", lambda x: ag.split(x, 3), lambda x: tuple(np.split(x, 3)), floats((6,)), floats((3, 2))
)
row(
    "split",
    lambda x: ag.split(x, (1, 3), -1),
    lambda x: tuple(np.split(x, (1, 3), -1)),
    floats((2, 4)),
    floats((1, 2)),
    label="cuts",
)
row(
    "split",
    lambda x: ag.split(x, 2, 1)[1],
    lambda x: np.split(x, 2, 1)[1],
    floats((2, 4)),
    label="one-of-them",
)
row(
    "pad",
    lambda x: ag.pad(x, ((1, 0), (0, 2)), 7.0),
    lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=7.0),
    floats((2, 3)),
    floats((0, 2)),
)
row("pad", lambda x: ag.pad(x, 2), lambda x: np.pad(x, 2), floats((3,)), floats(()), label="one")
row(
    "broadcast_to",
    lambda x: ag.tile(x, (2, 1, 3)),
    lambda x: np.tile(x, (2, 1, 3)),
    floats((2,)),
    floats((2, 2)),
    label="tile",
)
row(
    "broadcast_to",
    lambda x: ag.tile(x, 2),
    lambda x: np.tile(x, 2),
    floats(()),
    floats((1, 2, 2)),
    label="tile-last",
)
row(
    "broadcast_to",
    lambda x: ag.repeat(x, 2, 1),
    lambda x: np.repeat(x, 2, 1),
    floats((2, 3)),
    floats((2, 0)),
    label="repeat",
)
row(
    "gather",
    lambda x: ag.repeat(x, (2, 0, 1)),
    lambda x: np.repeat(x, (2, 0, 1)),
    floats((3,)),
    label="repeat-counts",
)

# Diagonals.

row(
    "diagonal",
    lambda x: ag.diagonal(x, 1),
    lambda x: np.diagonal(x, 1),
    floats((3, 4)),
    floats((3, 2, 2)),
    floats((2, 0)),
)
row(
    "diagonal",
    lambda x: ag.diagonal(x, -1, 2, 0),
    lambda x: np.diagonal(x, -1, 2, 0),
    floats((3, 2, 4)),
    label="axes",
)
row("diagonal", ag.linalg.trace, np.trace, floats((3, 3)), floats((2, 3, 2)), label="trace")
row("diagonal", lambda x: ag.diag(x, -1), lambda x: np.diag(x, -1), floats((3, 4)), label="diag")
row("embed_diagonal", ag.diag, np.diag, floats((3,)))
row(
    "embed_diagonal",
    lambda x: ag.diag(x, -2),
    lambda x: np.diag(x, -2),
    floats((2,)),
    label="below",
)
for name in ("tril", "triu"):
    ours, theirs = getattr(ag, name), getattr(np, name)
    row(name, ours, theirs, floats((3, 3)), floats((2, 2, 3)))
    row(
        name,
        lambda x, f=ours: f(x, -1),
        lambda x, f=theirs: f(x, -1),
        floats((3, 4)),
        label="below",
    )

# Indices. Keys as a user writes them; then the ops themselves.

INDEX = np.array([[2, 0, 2], [1, -1, 0]])
MASK = np.array([True, False, True])
BASIC: dict[str, Any] = {
    "int": -2,
    "steps": (slice(None, None, -2), slice(1, None)),
    "new-axis": (None, 1, ..., None),
    "empty": (slice(3, 1),),
}
ADVANCED: dict[str, Any] = {
    "array": [2, 0, 2],
    "array-2d": (slice(None), INDEX),
    "arrays-apart": (INDEX[0], slice(None), 1),
    "arrays-together": (slice(None), [0, 1], [[1], [0]]),
    "mixed": (None, INDEX[0, 0], slice(0, 2), [1, 0]),
    "mask": MASK,
    "mask-behind": (..., [True, False, True], slice(None)),
    "mask-all": np.arange(18).reshape(3, 3, 2) % 5 == 0,
    "nothing": [],
}
for label, key in BASIC.items():
    row(
        "slice",
        lambda x, key=key: getitem(x, key),
        lambda x, key=key: x[key],
        floats((3, 3)),
        label=label,
    )
for label, key in ADVANCED.items():
    row(
        "gather",
        lambda x, key=key: getitem(x, key),
        lambda x, key=key: x[key],
        floats((3, 3, 2)),
        label=label,
    )


def _written(x: Any, key: Any, v: Any) -> Any:
    out = x.copy()
    out[key] = v
    return out


def _added(x: Any, key: Any, v: Any) -> Any:
    out = x.copy()
    np.add.at(out, key, v)
    return out


WHOLE = ("slice", None, None, None)
row("slice", lambda x: slice_(x, key=(0,)), lambda x: np.asarray(x[0]), floats((2,)), label="op")
row(
    "place",
    lambda x, y: place(x, y, keys=((0,), (WHOLE, ("slice", 1, None, None))), shape=(2, 3)),
    lambda x, y: np.pad(x[None], ((0, 1), (0, 0))) + np.pad(y, ((0, 0), (1, 0))),
    floats((3,), (2, 2)),
)
row(
    "slice_set",
    lambda x, v: ag.index_set(x, (slice(None), 1), v),
    lambda x, v: _written(x, (slice(None), 1), v),
    floats((3, 2), (3,)),
    floats((0, 2), (1,)),
    floats((3, 2), ()),
)
row(
    "slice_set",
    lambda x, v: slice_set(x, v, key=()),
    lambda x, v: v,
    floats((2,), (2,)),
    label="all",
)
row(
    "place",
    lambda x, v: ag.index_add(x, (..., slice(None, None, 2)), v),
    lambda x, v: _added(x, (..., slice(None, None, 2)), v),
    floats((2, 3), (2,)),
    label="index_add",
)
row(
    "scatter_set",
    lambda x, v: ag.index_set(x, (slice(1, 3), [0, 2, 0]), v),
    lambda x, v: _written(x, (slice(1, 3), [0, 2, 0]), v),
    floats((4, 3), (2, 3)),
    floats((4, 3), ()),
)
row(
    "scatter",
    lambda x, v: ag.index_add(x, ([0, 2, 0], slice(None), 1), v),
    lambda x, v: _added(x, ([0, 2, 0], slice(None), 1), v),
    floats((3, 2, 2), (3, 2)),
    label="index_add",
)
_positions = integers((4,), low=-3, high=3)
row(
    "gather",
    lambda x, i, j: gather(x, i, j, axes=(0, 2), at=1),
    lambda x, i, j: np.moveaxis(x[i, :, j], (0, 1), (1, 2)),
    beside(floats((3, 2, 3)), integers((2, 1), low=-3, high=3), _positions),
    label="op",
)
row(
    "scatter",
    lambda v, i, j: scatter(v, i, j, axes=(0, 2), at=1, shape=(3, 2, 3)),
    lambda v, i, j: _added(np.zeros((3, 2, 3)), (i, slice(None), j), np.moveaxis(v, 0, -1)),
    beside(floats((2, 2, 4)), integers((2, 1), low=-3, high=3), _positions),
    label="op",
)
row(
    "scatter_set",
    lambda x, v, i: scatter_set(x, v, i, axes=(1,), at=1),
    lambda x, v, i: _written(x, (slice(None), i), v),
    beside(floats((2, 3), (2, 4)), _positions),
    label="op",
)
row(
    "gather",
    lambda x, i: ag.take(x, i, 1),
    lambda x, i: np.take(x, i, 1),
    beside(floats((2, 3)), integers((2, 2), low=-3, high=3)),
    beside(floats((2, 3)), integers((), low=-3, high=3)),
    label="take",
)
row(
    "gather",
    lambda x: ag.take(x, [5, 0]),
    lambda x: np.take(x, [5, 0]),
    floats((2, 3)),
    label="flat",
)
row(
    "gather",
    lambda x, i: ag.take_along_axis(x, i, 0),
    lambda x, i: np.take_along_axis(x, i, 0),
    beside(floats((3, 2)), integers((4, 2), low=-3, high=3)),
    label="take_along_axis",
)
row(
    "scatter",
    lambda x, i, v: ag.scatter_add(x, i, v, 1),
    lambda x, i, v: _added(x, (slice(None), i), v),
    beside(floats((2, 3)), integers((4,), low=-3, high=3), floats((2, 4))),
    label="scatter_add",
)
row(
    "astype",
    lambda i: ag.one_hot(i, 4),
    lambda i: (i[..., None] == np.arange(4)).astype(float),
    integers((2, 3), low=0, high=4),
    integers((), low=0, high=6),
    differentiable=False,
    label="one_hot",
)
row(
    "positions",
    ag.positions,
    lambda x: np.arange(x.shape[0]),
    floats((3, 2)),
    floats((0, 2)),
    integers((1,)),
    differentiable=False,
)
row(
    "positions",
    lambda x: ag.positions(x, -1),
    lambda x: np.arange(x.shape[-1]),
    floats((3, 2)),
    floats((0, 2)),
    differentiable=False,
    label="axis",
)

row(
    "repeat_like",
    ag.repeat_like,
    lambda x, like: np.broadcast_to(x, (like.shape[0], *x.shape)),
    floats((2, 3), (4, 1)),
    floats((), (3,)),
    floats((3,), (0, 2)),
    floats((3,), (1,)),
)
row(
    "repeat_like",
    lambda x, like: ag.repeat_like(x, like, 1),
    lambda x, like: np.broadcast_to(x, (like.shape[1], *x.shape)),
    floats((3,), (2, 5, 3)),
    label="axis",
)

# Products.

row(
    "matmul",
    ag.matmul,
    np.matmul,
    floats((2, 3), (3, 4)),
    floats((3,), (3,)),
    floats((2, 3), (3,)),
    floats((3,), (3, 2)),
    floats((2, 0), (0, 3)),
    floats((0, 3), (3, 2)),
)
row(
    "matmul",
    ag.matmul,
    np.matmul,
    floats((2, 1, 3), (3, 2)),
    floats((2, 1, 2, 3), (2, 3, 2)),
    floats((2, 2, 3), (3,)),
    floats((3,), (2, 3, 2)),
    floats((2, 3), (2, 3, 1)),
    floats((1, 2, 3), (2, 3, 2)),
    floats((0, 2, 3), (3, 2)),
    label="stacks",
)
row(
    "matmul",
    ag.dot,
    np.dot,
    floats((2, 3), (3,)),
    floats((2, 2, 3), (2, 3, 2)),
    floats((3,), (2, 3, 1)),
    label="dot",
)
row("multiply", ag.dot, np.dot, floats((), (2, 2)), label="dot-scalar")
row("multiply", ag.inner, np.inner, floats((2,), ()), label="inner-scalar")
row("multiply", ag.outer, np.outer, floats((2,), (3,)), floats((2, 2), ()), label="outer")
row("matmul", ag.inner, np.inner, floats((2, 3), (4, 3)), label="inner")
row("matmul", ag.vdot, np.vdot, floats((2, 3), (2, 3)), label="vdot")
row("matmul", ag.tensordot, np.tensordot, floats((2, 2, 3), (2, 3, 2)), label="tensordot")
row(
    "matmul",
    lambda a, b: ag.tensordot(a, b, ([0, -1], [2, 0])),
    lambda a, b: np.tensordot(a, b, ([0, -1], [2, 0])),
    floats((2, 2, 3), (3, 1, 2)),
    label="tensordot-axes",
)
row(
    "matmul",
    lambda a, b: ag.tensordot(a, b, 0),
    lambda a, b: np.tensordot(a, b, 0),
    floats((2,), (3,)),
    label="tensordot-none",
)
for subscripts, *shapes in (
    ("ij,jk->ik", (2, 3), (3, 2)),
    ("ij,jk", (2, 3), (3, 2)),
    ("ba", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iji->ij", (2, 3, 2)),
    ("iii->i", (2, 2, 2)),
    ("ii,ij->j", (2, 2), (2, 3)),
    ("i,j,k->kij", (2,), (3,), (2,)),
    ("...ij,...jk->...ik", (2, 1, 2), (2, 2)),
    ("...i->...", (2, 3)),
    ("i...,i", (2, 3), (2,)),
    ("...,...", (2, 3), (3,)),
    ("ij,ij->i", (1, 3), (2, 3)),
    ("i,i->", (3,), (1,)),
    ("ij,k->i", (2, 3), (2,)),
    (" i j , j -> i ", (2, 3), (3,)),
    (",i->i", (), (3,)),
    ("ij,jk->ik", (2, 0), (0, 3)),
):
    row(
        "einsum",
        lambda *xs, s=subscripts: ag.einsum(s, *xs),
        lambda *xs, s=subscripts: np.asarray(np.einsum(s, *xs)),
        floats(*shapes),
        label=f"{subscripts}-{shapes}",
    )
row(
    "einsum",
    lambda a, b: ag.einsum(a, [..., 0], b, [0, 1], [..., 1]),
    lambda a, b: np.einsum(a, [..., 0], b, [0, 1], [..., 1]),
    floats((2, 3), (3, 2)),
    label="lists",
)
row(
    "einsum",
    lambda a, b: ag.einsum("bij,bjk,bik->bj", a, b, a @ b),
    lambda a, b: np.einsum("bij,bjk,bik->bj", a, b, a @ b),
    floats((3, 20, 16), (3, 16, 24), low=-0.5, high=0.5),
    label="large",
)

# Linear algebra, on matrices far from singular ones whatever the sample.


def _shifted(matrices: Any) -> Any:
    return matrices + 4 * np.eye(matrices.shape[-1], dtype=matrices.dtype)


def linalg_row(op: str, like: Any, *samples: Sample) -> None:
    fn = getattr(ag.linalg, op)
    row(op, lambda a, *b: fn(_shifted(a), *b), lambda a, *b: like(_shifted(a), *b), *samples)


linalg_row(
    "solve",
    np.linalg.solve,
    floats((3, 3), (3,)),
    floats((2, 2), (2, 3)),
    floats((2, 1, 2, 2), (3, 2, 1)),
    floats((2, 3, 3), (3,)),
    floats((2, 2), (2, 2, 1)),
)
_matrices = (floats((3, 3), low=-1, high=1), floats((2, 2, 2), low=-1, high=1))
linalg_row("inv", np.linalg.inv, *_matrices)
linalg_row("det", np.linalg.det, *_matrices, floats((1, 1)))
linalg_row(
    "cofactor",
    lambda a: np.linalg.det(a)[..., None, None] * np.linalg.inv(a).swapaxes(-1, -2),
    *_matrices,
)
linalg_row("slogdet", lambda a: tuple(np.linalg.slogdet(a)), *_matrices)
linalg_row("cholesky", lambda a: np.linalg.cholesky((a + a.swapaxes(-1, -2)) / 2), *_matrices)

# Misuse.

wrong("reshape", lambda x: ag.reshape(x, (4, -1)), floats((2, 3)), ShapeError, "product is the num")
wrong("squeeze", lambda x: ag.squeeze(x, 1), floats((1, 2)), ShapeError, "axis 1 .* has length 2")
wrong(
    "expand_dims", lambda x: ag.expand_dims(x, 3), floats((2,)), ShapeError, "axis 3 does not exist"
)
wrong("broadcast_to", lambda x: ag.broadcast_to(x, (3,)), floats((2,)), ShapeError, "counted from")
wrong("sum_to", lambda x: sum_to(x, shape=(2,)), floats((3,)), ShapeError, "summed back to")
wrong("swapaxes", lambda x: ag.swapaxes(x, 0, 2), floats((2, 3)), ShapeError, "axis 2 does not")
wrong(
    "permute_dims",
    lambda x: ag.permute_dims(x, (0, 0)),
    floats((2, 3)),
    ShapeError,
    "name one axis twice",
)
wrong(
    "permute_dims",
    lambda x: ag.permute_dims(x, (0,)),
    floats((2, 3)),
    ShapeError,
    "must name each of the 2 axes",
)
wrong(
    "permute_dims",
    lambda x: ag.moveaxis(x, (0, 1), (0,)),
    floats((2, 3)),
    ShapeError,
    "2 axes .* cannot go to 1 places",
)
wrong("flip", lambda x: ag.flip(x, 2), floats((2, 3)), ShapeError, "axis 2 does not exist")
wrong("roll", lambda x: ag.roll(x, (1, 2), (0, 1, 0)), floats((2, 3)), ShapeError, "2 shifts")
wrong("astype", lambda x: ag.astype(x, "complex64"), floats((2,)), DTypeError, "carries float")
wrong("stack", lambda x, y: ag.stack([x, y]), floats((2,), (3,)), ShapeError, "of one shape")
wrong("stack", lambda x: ag.stack([]), floats(()), ShapeError, "at least one value")
wrong("unstack", ag.unstack, floats(()), ShapeError, "cannot be iterated over")
wrong("concat", lambda x: ag.concat([]), floats(()), ShapeError, "at least one value")
wrong(
    "concat",
    lambda x, y: ag.concat([x, y], 1),
    floats((2, 3), (3, 3)),
    ShapeError,
    "equally long along all other axes",
)
wrong("split", lambda x: ag.split(x, 2), floats((3,)), ShapeError, "not divide into 2 equal")
wrong("split", lambda x: ag.split(x, (2, 1)), floats((3,)), ShapeError, "in rising order")
wrong("pad", lambda x: ag.pad(x, (1, 2, 3)), floats((2,)), ShapeError, "pad_width")
wrong("pad", lambda x: ag.pad(x, (-1, 2)), floats((2,)), ShapeError, "numbers >= 0")
wrong("gather", lambda x: ag.repeat(x, (1, 2)), floats((3,)), ShapeError, "2 counts for axis 0")
wrong("diagonal", ag.diagonal, floats((2,)), ShapeError, "at least two axes")
wrong("tril", ag.tril, floats((2,)), ShapeError, "at least two axes")
wrong("embed_diagonal", ag.diag, floats((2, 2, 2)), ShapeError, "use diagonal for stacks")
wrong("slice", lambda x: x[2], floats((2,)), ShapeError, r"index \[2\] does not fit shape \(2,\)")
wrong("slice", lambda x: x[0, 1], floats((2,)), ShapeError, "has 2 indices, but shape")
wrong("slice", lambda x: x[..., 0, ...], floats((2, 3)), ShapeError, "more than one '...'")
wrong("slice", lambda x: x[::0], floats((2,)), ShapeError, "cannot be zero")
wrong("slice", lambda x: x[0.5:], floats((2,)), DTypeError, "bounds of a slice")
wrong("gather", lambda x: x[[0.5]], floats((2,)), DTypeError, "an index must be")
wrong("gather", lambda x: x[x], floats((2,)), DTypeError, "not of an integer or bool dtype")
wrong("gather", lambda x: x[[True]], floats((2,)), ShapeError, "a mask must have the shape")
wrong("gather", lambda x: x[[0], 5], floats((2, 3)), ShapeError, "5 is outside axis 1")
wrong("gather", lambda x: x[[0, 1], [0, 1, 2]], floats((3, 3)), ShapeError, "do not broadcast")
wrong("gather", lambda x: ag.take(x, [0.5]), floats((2,)), DTypeError, "indices must be integers")
wrong(
    "gather",
    lambda x: ag.take_along_axis(x, [0], 0),
    floats((2, 3)),
    ShapeError,
    "as many axes as the value",
)
wrong(
    "slice_set",
    lambda x, v: slice_set(x, v, key=(0,)),
    floats((2, 3), (2,)),
    ShapeError,
    r"must have shape \(3,\)",
)
wrong(
    "slice_set",
    lambda x, v: ag.index_set(x, 0, v),
    beside(integers((2,)), floats(())),
    DTypeError,
    "cannot write float64 values into",
)
wrong("slice_set", lambda x, v: ag.index_set(x, 0, v), floats((2,), (2,)), ShapeError, "broadcast")
wrong("matmul", ag.matmul, floats((), (2,)), ShapeError, r"use \* for a product")
wrong("matmul", ag.matmul, floats((2, 3), (2, 3)), ShapeError, "second last")
wrong("matmul", ag.matmul, floats((2, 2, 2), (3, 2, 2)), ShapeError, "leading axes")
wrong("matmul", lambda a, b: ag.tensordot(a, b, 3), floats((2, 3), (3,)), ShapeError, "give fewer")
wrong("matmul", lambda a, b: ag.tensordot(a, b, 1), floats((2, 3), (2,)), ShapeError, "pair others")
wrong("positions", ag.positions, floats(()), ShapeError, "axis 0 does not exist")
wrong("repeat_like", ag.repeat_like, floats((2,), ()), ShapeError, "axis 0 does not exist")
for subscripts, match in (
    ("ij->k", "letters after '->'"),
    ("i->i", "has 1 letters for an operand"),
    ("ij,jk->ik", "for 2 operands, but 1 came"),
    ("ii->i", "must be equally long"),
    ("i.j->i", "subscripts are letters"),
    ("ijk...", "more subscripts than its operands have axes"),
    ("i...->i", r"axes '\.\.\.' of the operands must be named"),
):
    wrong("einsum", lambda x, s=subscripts: ag.einsum(s, x), floats((2, 3)), ShapeError, match)
wrong("einsum", lambda x: ag.einsum(x, [0, 60]), floats((2, 3)), ShapeError, "from 0 to 51")
wrong("einsum", lambda x, y: ag.einsum("i,i", x, y), floats((2,), (3,)), ShapeError, "named 'i'")
wrong("inv", ag.inv, floats((2, 3)), ShapeError, "takes a square matrix")
wrong("inv", lambda x: ag.inv(ag.astype(x, "float16")), floats((2, 2)), DTypeError, "float16")
wrong("solve", ag.solve, floats((2, 2), (3,)), ShapeError, "must have 2 rows")
wrong("solve", ag.solve, floats((2, 2, 2), (3, 2, 2)), ShapeError, "leading axes")
