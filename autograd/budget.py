"""Memory under a budget: how much a gradient may allocate, and that it is told before it runs.

`grad(..., memory="64MB")` draws the gradient, predicts from its specs how much running it takes
(`autograd/execute/footprint.py`), and asks for less until it fits. What can do with less are ops
with bodies: while a gradient is drawn, their rules ask `allowance()` how much they may take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from autograd.describe import describe
from autograd.errors import BudgetError, GradientError
from autograd.execute.footprint import Peak, node_count, predicted
from autograd.execute.reference import execute
from autograd.grad import pull_back
from autograd.graph import Graph, ancestors
from autograd.node import Node, apply, draw_input
from autograd.room import shown
from autograd.scope import Scope, current_state, drawing
from autograd.trampoline import Task, trampoline


@dataclass(frozen=True)
class Allowance:
    """What an op with bodies may take for its gradient: bytes, or a number of checkpoints."""

    bytes: float | None = None
    checkpoints: int | None = None
    inner: bool = False
    """Whether it is a share of that of an op around."""
    strict: bool = False
    """Whether nobody looks at the whole, so that an op that cannot do with it must say so."""


_ALLOWANCE: ContextVar[Allowance | None] = ContextVar("loopgrad_allowance", default=None)
allowance = _ALLOWANCE.get


@contextmanager
def allowing(what: Allowance | None) -> Iterator[None]:
    """Let gradients drawn in the `with` block take so much; None: as much as they like."""
    token = _ALLOWANCE.set(what)
    try:
        yield
    finally:
        _ALLOWANCE.reset(token)


_UNITS = {"": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT]?)(I?)B)?\s*", re.IGNORECASE | re.ASCII)


def parsed(memory: Any) -> int:
    """Return a number of bytes: an int, or a text such as "64MB", "1.5 GB" or "512KiB".

    kB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB powers of 1024.
    """
    if isinstance(memory, str):
        match = _AMOUNT.fullmatch(memory)
        if match is not None:
            unit = (match[2] or "").upper()
            power = _UNITS[unit] if unit else 0
            if power or not match[3]:
                return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
    elif type(memory) is int and memory >= 0:
        return memory
    raise GradientError(
        f"memory={memory!r} is no amount of memory; pass a number of bytes >= 0, or a text such as "
        "'64MB', '1.5 GB' or '512KiB'"
    )


def requested(memory: Any, checkpoints: Any) -> Allowance | None:
    """Return what was asked for by the two keyword arguments; None for no limit."""
    if checkpoints is not None:
        if memory is not None:
            raise GradientError(
                "pass either memory=..., from which the number of checkpoints follows, or "
                "checkpoints=..., not both"
            )
        if type(checkpoints) is not int or checkpoints < 1:
            raise GradientError(
                f"checkpoints={checkpoints!r} is no number of checkpoints; pass a whole number "
                "from 1 on (1: the initial state only)"
            )
        return Allowance(checkpoints=checkpoints)
    return None if memory is None else Allowance(parsed(memory))


DRAWN = 2500
"""Python's own bytes for drawing a node."""
NEAR, TRIES = 6, 30
"""What is allowed shrinks by what was too much, at first, then by half, so many times in all."""
LITTLE = 1024
"""An allowance of fewer bytes is as good as none."""


def fitted(draw: Callable[[], Graph], wanted: Allowance | None, extra: Any = None) -> Graph:
    """Return what `draw` draws within the allowance it is given, such that running it fits.

    `extra(graph)` tells the bytes that graph takes already. A BudgetError says the least.
    """
    if wanted is None or wanted.bytes is None:
        with allowing(wanted):
            return draw()
    budget = wanted.bytes
    share = float(budget)
    for attempt in range(TRIES):
        graph, need = _drawn(draw, share, extra)
        if need.bytes <= budget:
            return graph
        if share < LITTLE:
            break
        less = share / 2 if attempt >= NEAR else share * 0.002 * 2**attempt
        share = max(0.0, share - max(need.bytes - budget, less))
    graph, need = _drawn(draw, 0, extra)
    if need.bytes > budget:
        node = need.node
        where = "" if node is None else f" at '{graph.names[node]}' ({describe(node)})"
        raise BudgetError(
            f"this gradient needs at least {shown(need.bytes)} beyond what exists before it, but "
            f"memory={shown(budget)} was given. The most is held{where}; give at least that much, "
            "or make what is held there smaller",
            need.bytes,
        )
    return graph


def _drawn(draw: Callable[[], Graph], share: float, extra: Any) -> tuple[Graph, Peak]:
    with allowing(Allowance(share)):
        graph = draw()
    need = predicted(graph)
    return graph, need if extra is None else Peak(need.bytes + extra(graph), need.node)


# Gradients of tensors: drawn beside what was computed, then run on it.


def pulled(
    nodes: Sequence[Node],
    outputs: Sequence[Node],
    seeds: Sequence[Any],
    wrt: Sequence[Node],
    wanted: Allowance,
) -> list[Any]:
    """Return the gradients (arrays, or None) of tensors, computed within an allowance.

    `nodes` are those between `wrt` and `outputs`, in order. Each gets a virtual twin; the gradient
    is drawn on the twins, and run with the values the nodes have. So it can be predicted.
    """
    twins: list[Node] = []

    def draw() -> Graph:
        twins[:], found = trampoline(_drawn_on_twins(nodes, outputs, seeds, wrt))
        given = {f"value_{i}": twin for i, twin in enumerate(twins)}
        return Graph.of(given, found, "gradient")

    graph = fitted(draw, wanted, _drawn_now)
    values = [x._value for x in (*_leaves(nodes, wrt), *nodes)]
    check = current_state().check
    results = execute(graph, values) if check is None else check.run_graph(graph, values, None)
    by_name = dict(zip(graph.outputs, results, strict=True))
    return [by_name.get(f"grad_{i}") for i in range(len(wrt))]


def _leaves(nodes: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """Return what `nodes` behind `wrt` read that is not among them."""
    own, targets = set(nodes), set(wrt)
    read = dict.fromkeys(x for node in nodes if node not in targets for x in node.inputs)
    return [x for x in read if x not in own]


def drawn_within(wanted: Allowance, output: Node, seed: Any, wrt: Sequence[Node]) -> list[Any]:
    """Return gradients drawn (or, of tensors, computed and recorded) within an allowance."""
    grads: list[Any] = []

    def draw() -> Graph:
        grads[:], _ = trampoline(pull_back([output], [seed], wrt, record=True))
        found = {f"grad_{i}": g for i, g in enumerate(grads) if g is not None}
        leaves = [x for x in ancestors(found.values()) if x.op.name == "input"]
        return Graph.of({f"input_{i}": x for i, x in enumerate(leaves)}, found, "gradient")

    if output.virtual and output.scope is None:
        fitted(draw, wanted)
    else:  # computed as it is drawn, or drawn in a body: each loop is held to it by itself
        with allowing(replace(wanted, strict=True)):
            draw()
    return grads


def _drawn_on_twins(
    nodes: Sequence[Node], outputs: Sequence[Node], seeds: Sequence[Any], wrt: Sequence[Node]
) -> Task:
    """Return the twins of all leaves and nodes, and the gradients drawn on them, by name."""
    scope = Scope("gradient", None)
    targets = set(wrt)
    leaves = _leaves(nodes, wrt)
    twin = {x: draw_input(x.name, x.spec, scope, x.tracked) for x in leaves}
    with drawing(scope):
        for node in nodes:
            if node in targets or not node.inputs:
                twin[node] = draw_input(node.name, node.spec, scope)
                continue
            twin[node] = apply(node.op, [twin[x] for x in node.inputs], node.attrs)
            twin[node].name = node.name
            twin[node].line = node.line
        grads, _ = yield pull_back(
            [twin[y] for y in outputs], seeds, [twin.get(x, x) for x in wrt], True
        )
    found = {f"grad_{i}": g for i, g in enumerate(grads) if g is not None}
    return [twin[x] for x in (*leaves, *nodes)], found


def _drawn_now(graph: Graph) -> float:
    """Return the bytes of a gradient that was drawn just now: its nodes and constants."""
    constants = [node for _, _, node in graph.walk() if node.op.name == "constant"]
    return DRAWN * node_count(graph) + sum(node.spec.nbytes for node in constants)
