"""Ragged sequences: T steps of B rows, of which row b has `lengths[b]`; the rest is padding.

Sequences are time-major, (T, B, ...), and `lengths` is an integer vector (B,) of numbers from 0 to
T, in any order; both may be virtual. A step t of row b is *valid* where t < lengths[b]. What lies
in the padding never matters: no value and no gradient depends on it, NaN and inf included, and its
own gradient is exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.node import Node
from autograd.op import Op, register
from autograd.ops.shape import broadcast_to
from autograd.spec import Array, Spec


class Lengths(Op):
    """`lengths` as int64, each checked to be from 0 to T, the length of `xs` along `axis`.

    Only the spec of `xs` is read. `user` is who asks: errors name it.
    """

    vjps = (None, None)

    def forward(self, lengths: Array, xs: Array, *, axis: int, user: str) -> Array:
        steps = xs.shape[axis]
        wrong = np.argwhere((lengths < 0) | (lengths > steps))
        if wrong.size:
            row = tuple(wrong[0].tolist())
            name = row[0] if len(row) == 1 else row
            raise ShapeError(
                f"{user}: row {name} has length {lengths[row]}, but lengths go from 0 to {steps}, "
                "the number of steps of the sequences; correct lengths, or pad further"
            )
        return lengths.astype(np.int64)

    def infer(self, lengths: Spec, xs: Spec, *, axis: int, user: str) -> Spec:
        return Spec(lengths.shape, np.dtype(np.int64))

    def batch(self, batched: Sequence[bool], lengths: Any, xs: Any, *, axis: int, user: str) -> Any:
        if not batched[0]:
            lengths = broadcast_to(lengths, (xs.shape[0], *lengths.shape))
        return self(lengths, xs, axis=axis + batched[1], user=user)


_lengths = register(Lengths("lengths"))


def row_lengths(lengths: Any, xs: Node, user: str) -> Node:
    """Return `lengths` as int64 (B,), checked to be the lengths of the rows of `xs` (T, B, ...).

    Wrong dtypes and shapes are a DTypeError or a ShapeError at once; values are checked when they
    are known, each time the graph runs. `user` is who asks: "loop 'rnn'".
    """
    if xs.ndim < 2:
        raise ShapeError(
            f"{user}: ragged sequences have the shape (steps, rows, ...), but got {describe(xs)}; "
            "give a single sequence a row axis of length 1"
        )
    node = _integers(lengths, user)
    if node.shape != xs.shape[1:2]:
        raise ShapeError(
            f"{user}: lengths must have shape ({xs.shape[1]},), one number a row of "
            f"{describe(xs)}, but is {describe(node)}"
        )
    checked: Node = _lengths(node, xs, axis=0, user=user)
    return checked


def _integers(lengths: Any, user: str) -> Node:
    """Return `lengths` as a node of an integer dtype."""
    node = lengths if isinstance(lengths, Node) else ag.tensor(lengths)
    if node.size == 0 and not isinstance(lengths, (Node, np.ndarray)):
        node = node.astype(np.int64)  # NumPy makes floats of an empty list
    if node.dtype.kind not in "iu":
        raise DTypeError(
            f"{user}: lengths must be integers, but is {describe(node)}; count steps in int64, or "
            "convert with .astype('int64')"
        )
    return node


def valid_mask(xs: Any, lengths: Any) -> Node:
    """Return bool (T, B): True where step t of row b is valid, t < lengths[b].

    `xs` (T, B, ...) says how many steps there are, also after `graph.resize`; or is T itself. A
    mask (T, B) in place of lengths is returned as it is, so whatever takes lengths by way of this
    function takes masks with gaps too.
    """
    if isinstance(xs, (int, np.integer)):
        shape = ag.tensor(lengths).shape
        if xs < 0 or len(shape) != 1:
            raise ShapeError(
                "valid_mask takes a number of steps >= 0 and lengths of shape (rows,), but got "
                f"{xs} and lengths of shape {shape}"
            )
        xs = np.broadcast_to(np.False_, (int(xs), *shape))
    return _mask(ag.tensor(xs), lengths, "valid_mask")


def _mask(xs: Node, lengths: Any, user: str) -> Node:
    """Return the mask of `xs` for lengths, or a mask given in their place."""
    mask: Node
    if isinstance(lengths, (Node, np.ndarray)) and lengths.dtype.kind == "b":
        mask = ag.tensor(lengths)
        if mask.ndim != 2 or mask.shape != xs.shape[:2]:
            raise ShapeError(
                f"{user}: a mask has the shape (steps, rows) of its sequences, but is "
                f"{describe(mask)} for {describe(xs)}"
            )
        return mask
    lengths = row_lengths(lengths, xs, user)
    mask = ag.positions(xs)[:, None] < lengths
    return mask


def spread(mask: Node, x: Any, axis: int) -> Node:
    """Return `mask`, whose last axis is axis `axis` of `x`, ready to broadcast against `x`."""
    return mask[(Ellipsis, *(None,) * (len(x.shape) - axis - 1))]


def fill_padding(xs: Any, lengths: Any, value: float = 0) -> Node:
    """Return `xs` (T, B, ...) with `value` in the padding; the gradient there is exactly 0.

    `lengths` may be a mask, as `valid_mask` returns it.
    """
    xs = ag.tensor(xs)
    return _filled(xs, _mask(xs, lengths, "fill_padding"), value)


def _filled(xs: Node, mask: Node, value: float = 0) -> Node:
    filler = np.asarray(value).astype(xs.dtype)
    if xs.dtype.kind != "f" and filler != value:
        raise DTypeError(
            f"fill_padding: {value} is not a value of dtype {xs.dtype}, which {describe(xs)} has; "
            "convert the sequences with .astype('float64'), or fill with another value"
        )
    filled: Node = ag.where(spread(mask, xs, 1), xs, filler)
    return filled


def masked_sum(xs: Any, lengths: Any, axis: int | None = None) -> Node:
    """Return the sum of `xs` (T, B, ...) over valid steps: of all rows, or of each with axis=0.

    With axis=0 the result has the shape (B, ...). The sum over no step is 0. `lengths` may be a
    mask, as `valid_mask` returns it.
    """
    xs = ag.tensor(xs)
    _check_axis(axis, "masked_sum")
    total: Node = ag.sum(_filled(xs, _mask(xs, lengths, "masked_sum")), axis)
    return total


def masked_mean(xs: Any, lengths: Any, axis: int | None = None) -> Node:
    """Return the mean of `xs` (T, B, ...) over valid steps: of all rows, or of each with axis=0.

    Each valid step counts once, so with axis=None long rows weigh more than short ones. With axis=0
    each row, of shape (B, ...), is divided by its own length. The mean over no step is 0. `lengths`
    may be a mask, as `valid_mask` returns it.
    """
    xs = ag.tensor(xs)
    _check_axis(axis, "masked_mean")
    mask = _mask(xs, lengths, "masked_mean")
    filled = _filled(xs, mask)
    if axis is None and xs.ndim > 2:
        filled = ag.mean(filled, tuple(range(2, xs.ndim)))
    total = ag.sum(filled, axis)
    count = ag.maximum(ag.sum(mask, axis), 1)  # no step has the sum 0, and 0 / 1 is 0
    if total.dtype.kind == "f":
        count = count.astype(total.dtype)
    mean: Node = total / (count if axis is None else spread(count, total, 0))
    return mean


def _check_axis(axis: Any, user: str) -> None:
    if axis is not None and (type(axis) is not int or axis != 0):
        raise ShapeError(
            f"{user}: axis must be 0 (the steps of each row) or None (all), but is {axis!r}"
        )


def reverse_valid(xs: Any, lengths: Any) -> Node:
    """Return `xs` (T, B, ...) with the valid steps of each row in reverse order.

    Step t of row b is `xs[lengths[b] - 1 - t, b]`; the padding stays behind them, as zeros. Done
    twice it gives `xs` back, its padding filled with zeros.
    """
    xs = ag.tensor(xs)
    lengths = row_lengths(lengths, xs, "reverse_valid")
    steps = ag.positions(xs)[:, None]
    source = ag.where(steps < lengths, lengths - 1 - steps, steps)
    return _filled(xs[source, ag.positions(lengths)], steps < lengths)


def last_valid(hs: Any, lengths: Any, initial: Any) -> Node:
    """Return the last valid step of each row of `hs` (T, B, ...): row b is `hs[lengths[b] - 1, b]`.

    Rows of length 0 are those of `initial` (B, ...), which has the dtype of `hs`.
    """
    hs, initial = ag.tensor(hs), ag.tensor(initial)
    lengths = row_lengths(lengths, hs, "last_valid")
    if initial.spec != Spec(hs.shape[1:], hs.dtype):
        raise ShapeError(
            f"last_valid: initial must be {Spec(hs.shape[1:], hs.dtype)}, one row for each of "
            f"{describe(hs)}, but is {describe(initial)}"
        )
    after_step = ag.concat([initial[None], hs])  # entry n is the state after n steps
    last: Node = after_step[lengths, ag.positions(lengths)]
    return last


def pad_sequence(sequences: Sequence[Any], value: float = 0) -> tuple[Any, Array]:
    """Return `(xs, lengths)`: arrays (n_b, ...) side by side as (T, B, ...), and int64 (B,).

    T is the longest n_b, the rest is filled with `value`, and rows keep their order. Where one of
    `sequences` is a node, `xs` is one too, and gradients pass. `unpad_sequence` is the inverse.
    """
    rows = [x if isinstance(x, Node) else np.asarray(x) for x in sequences]
    if not rows:
        raise ShapeError("pad_sequence: no sequences came; give at least one, it may be empty")
    for i, x in enumerate(rows):
        if not x.shape or x.shape[1:] != rows[0].shape[1:] or x.dtype != rows[0].dtype:
            raise ShapeError(
                f"pad_sequence: sequences have the shape (steps, ...) and differ in their number "
                f"of steps only, but sequence 0 is {Spec(rows[0].shape, rows[0].dtype)} and "
                f"sequence {i} is {Spec(x.shape, x.dtype)}"
            )
    lengths = np.array([x.shape[0] for x in rows], np.int64)
    longest = int(lengths.max())
    rest = ((0, 0),) * (len(rows[0].shape) - 1)
    padded = [
        ag.pad(x, ((0, longest - n), *rest), value)
        for x, n in zip(rows, lengths.tolist(), strict=True)
    ]
    return ag.stack(padded, axis=1), lengths


def unpad_sequence(xs: Any, lengths: Any) -> list[Any]:
    """Return the rows of `xs` (T, B, ...) without their padding: `[xs[:n, b] for b, n ...]`.

    Their shapes depend on `lengths`, which must be known: a virtual one is a GraphError.
    """
    checked = row_lengths(lengths, ag.tensor(xs), "unpad_sequence")
    if checked.virtual:
        raise GraphError(
            f"unpad_sequence: {describe(ag.tensor(lengths))} is virtual, so how many steps each "
            "row keeps is not known; give an array, or unpad what the graph's run returns"
        )
    return [xs[:n, b] for b, n in enumerate(checked.value.tolist())]
