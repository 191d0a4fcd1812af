"""Which bytes of one block of memory each buffer of a plan has, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from autograd.spec import Array

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vectors there are."""


def aligned(size: int) -> Array:
    """Return `size` bytes that begin at a multiple of the alignment."""
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]


class Need(NamedTuple):
    """A buffer that is written first at position `first` and read last at `last` of the code."""

    nbytes: int
    first: int
    last: int


def padded(nbytes: int) -> int:
    """Return `nbytes` rounded up to a multiple of the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def arranged(needs: Sequence[Need]) -> tuple[list[int], int]:
    """Return where in one block each of `needs` begins, and how long the block is (bytes).

    Buffers that are needed at the same time do not overlap. In the order of the code, each gets the
    smallest hole left by those before it that it fits in, else new room at the end.
    """
    places = [0] * len(needs)
    holes: list[tuple[int, int]] = []
    ends: list[tuple[int, int, int]] = []
    total = 0
    for i in sorted(range(len(needs)), key=lambda i: (needs[i].first, -needs[i].nbytes)):
        need = needs[i]
        size = padded(need.nbytes)
        while ends and ends[0][0] < need.first:
            _, start, length = heappop(ends)
            holes = _joined(holes, start, length)
        fitting = [hole for hole in holes if hole[1] >= size]
        if fitting:
            start, length = min(fitting, key=lambda hole: hole[1])
            holes.remove((start, length))
            if length > size:
                holes.append((start + size, length - size))
        else:
            start, total = total, total + size
        places[i] = start
        if size:
            heappush(ends, (need.last, start, size))
    return places, total


def _joined(holes: list[tuple[int, int]], start: int, length: int) -> list[tuple[int, int]]:
    """Return `holes` with one more, joined with those it touches."""
    rest = []
    end = start + length
    for other, size in holes:
        if other + size == start:
            start = other
        elif other == end:
            end = other + size
        else:
            rest.append((other, size))
    return [*rest, (start, end - start)]
