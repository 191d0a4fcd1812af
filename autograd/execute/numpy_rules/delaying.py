"""Rules of `delays` and its adjoint: rows copied, or added, where which ones is known beforehand.

(Where the lengths of ragged rows decide that, or rows are taken more than once and have to be
added up, `forward` is called.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autograd.execute.numpy_rules.writing import Writer, call, copied, number, rule
from autograd.node import Node
from autograd.ops.delay import _counts, _parts, _source
from autograd.spec import Array


class Run(NamedTuple):
    """Steps `start` to `stop` take rows from `row` on of a part, or all of them that row."""

    part: int
    """0: rows before, 1: the sequence, 2: rows after."""
    start: int
    stop: int
    row: int
    same: bool

    @property
    def rows(self) -> str:
        """Source of a key for these rows."""
        return f"[{self.row}:{self.row + (1 if self.same else self.stop - self.start)}]"

    @property
    def steps(self) -> str:
        """Source of a key for the steps that take them."""
        return f"[{self.start}:{self.stop}]"


def runs(source: Array, counts: tuple[int, int, int]) -> list[Run]:
    """Return how the rows `source` of [before | sequence | after] follow each other."""
    first, steps, _ = counts
    edges = (0, first, first + steps)
    found: list[Run] = []
    for t, place in enumerate(source.tolist()):
        part = 2 if place >= edges[2] else 1 if place >= edges[1] else 0
        row = place - edges[part]
        last = found[-1] if found else None
        if last is not None and last.part == part:
            length = last.stop - last.start
            same = row == last.row and (length == 1 or last.same)
            if same or (row == last.row + length and not last.same):
                found[-1] = last._replace(stop=t + 1, same=same)
                continue
        found.append(Run(part, t, t + 1, row, False))
    return found


def _sources(node: Node) -> list[list[Run]]:
    """Return the runs of each lag of a node that is not ragged."""
    attrs = node.attrs
    if node.op.name == "delays":
        xs, before, after, _ = _parts([x.spec for x in node.inputs], attrs)
        steps = xs.shape[0]
        first, last = _counts(xs, before, after, attrs["lags"])
    else:
        steps, (first, last) = node.inputs[0].shape[0], attrs["counts"]
    counts = (first, steps, last)
    return [runs(_source(lag, steps, first, last, None, attrs), counts) for lag in attrs["lags"]]


@rule("delays", when=lambda node: not node.attrs.get("ragged"))
def _delays(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    xs, before, after, _ = _parts(ins, node.attrs)
    specs = _parts([x.spec for x in node.inputs], node.attrs)
    parts = ((before, specs[1]), (xs, specs[0]), (after, specs[2]))
    for out, found in zip(outs, _sources(node), strict=True):
        for run in found:
            name, spec = parts[run.part]
            one_for_all = spec.ndim < specs[0].ndim or spec.shape[0] == 1
            whole = run.part != 1 and one_for_all
            writer.line(f"{out}{run.steps} = {name if whole else name + run.rows}")


def _taken_once(node: Node) -> bool:
    """Whether no row is taken twice by one lag, and none has lengths of its own."""
    if node.attrs.get("ragged"):
        return False
    return not any([run.same for found in _sources(node) for run in found]) and all(
        [_apart(found) for found in _sources(node)]
    )


def _apart(found: list[Run]) -> bool:
    taken = [(run.part, run.row + i) for run in found for i in range(run.stop - run.start)]
    return len(set(taken)) == len(taken)


@rule("delays_adjoint", when=_taken_once)
def _delays_adjoint(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    sequence, before, after = outs
    totals = (before, sequence, after)
    dtype = node.inputs[0].dtype
    for out in outs:
        copied(writer, out, number(writer, 0, dtype))
    for name, found in zip(ins, _sources(node), strict=False):
        for run in found:
            rows = totals[run.part] + run.rows
            call(writer, np.add, rows, name + run.steps, rows)
