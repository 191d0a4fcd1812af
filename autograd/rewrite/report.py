"""`Graph.optimize`: all passes on a graph, and what they say of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from autograd.errors import GraphError
from autograd.graph import Graph
from autograd.rewrite.cost import NATIVE, NUMPY, Cost, graph_cost
from autograd.rewrite.engine import Move
from autograd.rewrite.pipeline import PASSES, optimized

MACHINES = {"numpy": NUMPY, "native": NATIVE}
"""What passes assume of the executor, by the target the graph is optimised for."""


@dataclass(frozen=True)
class Optimization:
    """An optimised graph, and what made it so. Print it."""

    graph: Graph
    moves: tuple[Move, ...]
    """What was done, and what was considered and not done (these say `why_not`), in order."""
    before: Cost
    """What one run of the graph took: bytes are read and written; calls are of ops."""
    after: Cost

    @property
    def done(self) -> list[Move]:
        return [move for move in self.moves if not move.why_not]

    @property
    def left(self) -> list[Move]:
        """What was considered and not done."""
        return [move for move in self.moves if move.why_not]

    def __str__(self) -> str:
        totals = [["", "flops", "bytes", "calls"]]
        for word, cost in (("before", self.before), ("after", self.after)):
            totals.append([word, f"{cost.flops:,}", f"{cost.bytes:,}", f"{cost.calls:,}"])
        lines = [
            f"graph '{self.graph.name}': {len(self.done)} done, {len(self.left)} considered and "
            "not done",
            "",
            *_columns(totals),
        ]
        for name, moves in groupby(self.done, key=lambda move: move.by):
            lines += ["", f"{name}: {PASSES[name].law}", *_columns(map(_done, moves))]
        if self.left:
            lines += ["", "considered and not done", *_columns(map(_left, self.left))]
        return "\n".join(lines)

    __repr__ = __str__


def _done(move: Move) -> list[str]:
    return [f"  {move.node}", move.did, _costs(move)]


def _left(move: Move) -> list[str]:
    return [f"  {move.node}", f"{move.by}: {move.did}", f"{move.why_not} {_costs(move)}".strip()]


def _costs(move: Move) -> str:
    """Return what changes, `flops 12 -> 3, bytes 96 -> 72`; for what is not done, would change."""
    if move.before is None or move.after is None:
        return ""
    pairs = [
        ("flops", move.before.flops, move.after.flops),
        ("bytes", move.before.bytes, move.after.bytes),
    ]
    changes = [f"{word} {a:,} -> {b:,}" for word, a, b in pairs if a != b]
    return ", ".join(changes)


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows of texts as lines, columns aligned."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join([text.ljust(width) for text, width in zip(row, widths, strict=True)]).rstrip()
        for row in table
    ]


def optimize(
    graph: Graph, off: Any = (), explain: bool = False, target: Any = "numpy"
) -> Graph | Optimization:
    """Return `graph` after all passes but those `off`; with `explain` an Optimization."""
    if not isinstance(target, str) or target not in MACHINES:
        raise GraphError(
            f"there is no target {target!r} to optimise for; choose from {', '.join(MACHINES)}"
        )
    if isinstance(off, str) or not isinstance(off, Collection):
        raise GraphError(
            f"off takes a list of names of passes, but got {off!r:.60}; write for example "
            "off=['chain', 'batch']"
        )
    names = tuple(off)
    result, context = optimized(graph, names, MACHINES[target])
    result.derived = graph, lambda other: other.optimize(off=names, target=target)
    if not explain:
        return result
    moves = tuple(context.moves)
    return Optimization(result, moves, graph_cost(graph), graph_cost(result))
