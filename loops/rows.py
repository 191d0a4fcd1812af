"""Ragged loops: where a body has its batch rows, and the same body for fewer of them.

A body is drawn for B rows. Where only n of them go on, the loop runs the body drawn again for n
rows. The body of a gradient holds sizes as plain numbers, so it cannot be drawn again; it is
derived again, from the forward body for n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from autograd.errors import GraphError, LoopGradError
from autograd.execute.reference import execute
from autograd.graph import Graph
from autograd.spec import Array, Spec
from autograd.trampoline import Task
from loops.form import Ports


def body_for(attrs: dict[str, Any], rows: int) -> Task:
    """Return the body of a ragged loop for so many rows; kept with the body.

    (The body itself is not kept so: it would hold itself, and be left to the garbage collector.)
    """
    body: Graph = attrs["body"]
    size = _size(body, attrs["rows"])
    if size == rows or (size is None and "source" not in attrs):
        return body
    key = ("rows", attrs["rows"], rows)
    if key not in body._cache:
        body._cache[key] = yield _body_for(attrs, rows)
    return body._cache[key]


def _body_for(attrs: dict[str, Any], rows: int) -> Task:
    body: Graph = attrs["body"]
    if "source" not in attrs:
        return (yield _redrawn(body, attrs["rows"], rows))
    from loops.gradient import derived

    source, source_rows = attrs["source"], attrs["derived"][0]
    found = source
    if _size(source, source_rows) != rows:
        found = yield _redrawn(source, source_rows, rows)
    for step in attrs["derived"][1:]:
        found = yield derived(found, step)
    return found


def rows_of(attrs: dict[str, Any]) -> int:
    """Return for how many rows the body of a ragged loop is drawn."""
    return _size(attrs["body"], attrs["rows"]) or 0


def _size(body: Graph, axes: Sequence[int]) -> int | None:
    """Return for how many rows a body is drawn, None if nothing in it has rows."""
    for node, axis in zip(body.inputs.values(), axes, strict=False):
        if axis >= 0:
            return node.spec.shape[axis]
    return None


def _redrawn(body: Graph, axes: Sequence[int], rows: int) -> Task:
    specs = {}
    for (name, node), axis in zip(body.inputs.items(), axes, strict=False):
        specs[name] = _with_rows(node.spec, axis, rows)
    return (yield body.redrawn(specs))


def _with_rows(spec: Spec, axis: int, rows: int) -> Spec:
    if axis < 0:
        return spec
    return Spec((*spec.shape[:axis], rows, *spec.shape[axis + 1 :]), spec.dtype)


def row_axes(here: Graph, more: Graph) -> tuple[int, ...]:
    """Return the axis along which each input and output of `here` has rows; -1: along none.

    `more` is the same body for more rows: the axis is where its specs differ.
    """
    nodes = zip(
        [*here.inputs.values(), *here.outputs.values()],
        [*more.inputs.values(), *more.outputs.values()],
        strict=True,
    )
    return tuple([differing_axis(a.spec, b.spec) for a, b in nodes])


def differing_axis(a: Spec, b: Spec) -> int:
    """Return the first axis of another length in `a` than in `b`; -1 if there is none."""
    for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)):
        if m != n:
            return axis
    return -1


def find_rows(body: Graph, ports: Ports, rows: int, name: str) -> Task:
    """Return the row axes of a body just drawn, whose states and slices have rows on axis 0.

    Of captured values, `lengths` (the first) has one number a row. An axis of another one that is
    as long as there are rows may stand for the rows or not: what makes a body for another number
    of rows, with rows in all its results, is right. Where a body can do without an axis it is
    another one that happens to be as long: a row less of a table of thresholds fits as well.
    """
    shared, states, slices = ports.split([node.spec for node in body.inputs.values()])
    maybe = [
        (i, axis)
        for i, spec in enumerate(shared)
        for axis, length in enumerate(spec.shape)
        if i and length == rows
    ]

    def tried(chosen: dict[int, int]) -> Task:
        axes = [0, *[chosen.get(i, -1) for i in range(1, len(shared))]]
        axes += [0] * (len(states) + len(slices))
        try:
            more = yield _redrawn(body, axes, rows + 1)
        except LoopGradError as error:
            return None, _undrawable(name, rows, error)
        found = row_axes(body, more)
        return found, _wrong_outputs(body, found, name) or _mixed(body, found, name)

    first: GraphError | None = None
    for chosen in _choices(maybe):
        found, problem = yield tried(chosen)
        if problem is None:
            break
        first = first or problem
    else:
        raise first or GraphError(f"ragged loop '{name}' has no body")
    for i in chosen:
        fewer = {k: axis for k, axis in chosen.items() if k != i}
        without, problem = yield tried(fewer)
        if problem is None:
            chosen, found = fewer, without
    return found


def _choices(maybe: Sequence[tuple[int, int]]) -> Iterator[dict[int, int]]:
    """Yield what may have rows, and where: nothing, all that may, then what lies between."""
    yield {}
    if maybe:
        yield dict(reversed(maybe))  # of several axes of one value, the first
    for count in range(1, min(len(maybe), 8) + 1):
        for pairs in combinations(maybe, count):
            if len(dict(pairs)) == count:
                yield dict(pairs)


def _undrawable(name: str, rows: int, error: LoopGradError) -> GraphError:
    return GraphError(
        f"the body of ragged loop '{name}' cannot be drawn for another number of rows than {rows}: "
        f"{error.args[0]}; leave the number of rows out of the body (write -1 in reshape, and hand "
        "in zeros and masks of that size as a state or per-step input)"
    )


def _wrong_outputs(body: Graph, axes: Sequence[int], name: str) -> GraphError | None:
    for key, axis in zip(body.outputs, axes[len(body.inputs) :], strict=True):
        if axis != 0:
            return GraphError(
                f"'{key}' of ragged loop '{name}' must have the batch rows on its first axis, but "
                f"is {body.outputs[key].spec}"
            )
    return None


def _mixed(body: Graph, axes: Sequence[int], name: str) -> GraphError | None:
    """Return what to say if rows reach each other: change one row, and the others must stay.

    A row's result must not depend on which other rows happen to go on. This is tried on numbers,
    so it finds what mixes rows (a mean over the batch), not every way to hide it.
    """
    rows = _size(body, axes)
    if rows is None or rows < 2 or not all(node.op.portable for _, _, node in body.walk()):
        return None
    first = [_numbers(node.spec) for node in body.inputs.values()]
    with np.errstate(all="ignore"):
        results = _results(body, first)
        if results is None:
            return None  # these numbers are not in the body's domain
        for row, kinds, change in CHANGES:
            changed = [
                _changed(x, axis, row, kinds, change) for x, axis in zip(first, axes, strict=False)
            ]
            other = _results(body, changed)
            if other is None:
                continue
            for key, a, b in zip(body.outputs, results, other, strict=True):
                a, b = np.delete(a, row, 0), np.delete(b, row, 0)
                if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                    return GraphError(
                        f"'{key}' of ragged loop '{name}' mixes the rows of the batch: a change of "
                        f"the {'last' if row else 'first'} row changes others; in a ragged loop "
                        "each row must be computed by itself"
                    )
    return None


CHANGES: tuple[tuple[int, str, Callable[[Array], Array]], ...] = (
    (-1, "f", lambda x: x * 4),  # the most of all: seen by max
    (0, "f", lambda x: x / 4),  # the least; seen by cumsum
    (-1, "iub", lambda x: (x - 1).astype(x.dtype)),
    (0, "iub", lambda x: (x + 1).astype(x.dtype)),
)
"""What is tried to see whether rows mix: which row of all values of these kinds, and its change."""


def _results(body: Graph, values: Sequence[Array]) -> list[Array] | None:
    """Return the outputs of `body`; None where the numbers are not in its domain."""
    try:
        return execute(body, values)
    except (LoopGradError, ArithmeticError, ValueError, IndexError):
        return None


def _numbers(spec: Spec) -> Array:
    if spec.dtype.kind != "f":
        return np.zeros(spec.shape, spec.dtype)
    return (0.5 + 0.25 * np.cos(np.arange(spec.size))).reshape(spec.shape).astype(spec.dtype)


def _changed(x: Array, axis: int, row: int, kinds: str, change: Callable[[Array], Array]) -> Array:
    if axis < 0 or x.dtype.kind not in kinds:
        return x
    changed = x.copy()
    rows = np.moveaxis(changed, axis, 0)
    rows[row] = change(rows[row])
    return changed
