"""Class numbers, as targets of classification have them: checked against the number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import ShapeError
from autograd.node import Node
from autograd.op import Op, register
from autograd.spec import Array, Spec


class ClassNumbers(Op):
    """Class numbers as int64, each from 0 to C - 1; 0 where `counted` is False, whatever is there.

    C is the length of the last axis of `scores`, of which nothing else is read. `blank`, if given,
    is a class that must not occur. `user` is who asks: errors name it.
    """

    vjps = (None, None, None)

    def forward(
        self, classes: Array, counted: Array, scores: Array, *, user: str, blank: int | None
    ) -> Array:
        count = scores.shape[-1]
        wrong = (classes < 0) | (classes >= count)
        if blank is not None:
            wrong |= classes == blank
        wrong &= counted
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0].tolist())
            raise _refused(int(classes[place]), place, count, user, blank)
        return np.where(counted, classes, 0).astype(np.int64)

    def infer(
        self, classes: Spec, counted: Spec, scores: Spec, *, user: str, blank: int | None
    ) -> Spec:
        return Spec(classes.shape, np.dtype(np.int64))

    def batch(
        self, batched: Sequence[bool], classes: Any, counted: Any, scores: Any, **attrs: Any
    ) -> Any:
        if not batched[0]:
            rows = counted.shape[0] if batched[1] else scores.shape[0]
            classes = ag.broadcast_to(classes, (rows, *classes.shape))
        return self(classes, counted, scores, **attrs)


_class_numbers = register(ClassNumbers("class_numbers"))


def class_numbers(
    classes: Node, counted: Node | None, scores: Node, user: str, blank: int | None = None
) -> Node:
    """Return integer `classes` as int64, checked to be classes of `scores` (..., C).

    `counted` is a mask of their shape: others may be anything, and are 0 in the result. Values are
    checked when they are known: on tensors at once, else each time the graph runs.
    """
    mask = ag.tensor(True) if counted is None else counted
    numbers: Node = _class_numbers(classes, mask, scores, user=user, blank=blank)
    return numbers


def _refused(
    number: int, place: tuple[int, ...], count: int, user: str, blank: int | None
) -> ShapeError:
    """Return what is wrong with class `number` at `place`."""
    where = f" at {place if len(place) != 1 else place[0]}" if place else ""
    if number == blank:
        return ShapeError(
            f"{user}: the label{where} is {number}, which is the blank; labels are the other "
            "classes, so correct the labels, or say by blank= which class is the blank"
        )
    return ShapeError(
        f"{user}: the class{where} is {number}, but classes go from 0 to {count - 1}, as the last "
        f"axis of the scores has {count}; correct it, or keep it out of the loss by "
        + (f"ignore={number}" if blank is None else "label_lengths")
    )
