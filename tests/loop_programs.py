"""Random loop programs: descriptions that run as drawn loops and as plain Python alike.

A program is a nest of blocks. A block keeps two pools, of values (all 2 x 2) and of sequences, and
its instructions append to them; indices count modulo the pool's size, so any integers make a valid
program. `run` interprets it; what a loop and a branch are is passed in, so one description has two
meanings that must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import autograd as ag
from loops import LoopNode, switch

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: (a + b) * 0.5,
    "multiply": lambda a, b: a * b,
    "matmul": lambda a, b: ag.tanh(a @ b),
    "transposed": lambda a, b: ag.swapaxes(a, -1, -2) - b * 0.3,
    "tanh": lambda a, b: ag.tanh(a - b),
}


@dataclass(frozen=True)
class Apply:
    """Append `BINARY[op]` of two values."""

    op: str
    a: int
    b: int


@dataclass(frozen=True)
class Choose:
    """Append the result of one of two blocks, chosen by the parity of the innermost counter."""

    blocks: tuple[tuple[Any, ...], tuple[Any, ...]]
    operand: int


@dataclass(frozen=True)
class Loop:
    """Run a block once a step; append its final states, and what it collects as sequences."""

    block: tuple[Any, ...]
    states: tuple[tuple[int, int], ...]
    """One (initial value, what is fed) a state."""
    each: tuple[int, ...]
    collected: tuple[int, ...]
    length: int
    """Used where nothing is taken per step."""
    reverse: bool
    counts: bool
    """Whether an integer state counts the steps and scales the first state."""
    lags: tuple[int, ...] = (1, 1, 1)
    """How many steps later each state is read."""
    shifts: tuple[int, ...] = (0, 0)
    """For each per-step input, how many steps ago it is (less than zero: ahead)."""
    stop: int | None = None
    """The value that stops the loop, once it is large."""


@dataclass(frozen=True)
class Data:
    """What a program starts from."""

    values: tuple[np.ndarray, ...]
    sequences: tuple[np.ndarray, ...]


class Rolled:
    """Loops are LoopNodes, branches BranchNodes."""

    def loop(
        self, step: Any, init: Any, each: Any, length: int, reverse: bool, lags: Any, stops: bool
    ) -> Any:
        with LoopNode("loop", None if each else length, reverse) as node:
            slices = [_shifted(node, xs, shift) for xs, shift in each]
            before = [
                node.branch(f"s{i}", x, lag=lag)
                for i, (x, lag) in enumerate(zip(init, lags, strict=True))
            ]
            after, outputs, stop = step(before, slices)
            for port, value in zip(before, after, strict=True):
                node.feed(port, value)
            stacked = [node.collect(y) for y in outputs]
            if stops:
                node.until(stop)
        finals = [node.final(port) for port in before]
        return [_told(x, k) for x, k in zip(finals, lags, strict=True)], stacked

    def choose(self, index: Any, functions: Any, x: Any) -> Any:
        return switch(index, functions, x)


def _told(rows: Any, lag: int) -> Any:
    """Return one value of the final rows of a state, for which their order matters."""
    return rows if lag == 1 else rows[0] - rows[-1] * 0.5


def _shifted(node: LoopNode, xs: Any, shift: int) -> Any:
    if shift < 0:
        return node.each(xs, lead=-shift, after=0.5)
    return node.each(xs, lag=shift, before="edge") if shift else node.each(xs)


class ByHand:
    """Loops are Python's, branches are calls."""

    def loop(
        self, step: Any, init: Any, each: Any, length: int, reverse: bool, lags: Any, stops: bool
    ) -> Any:
        length = each[0][0].shape[0] if each else length
        lines = [[x] * lag for x, lag in zip(init, lags, strict=True)]
        rows = {}
        for t in reversed(range(length)) if reverse else range(length):
            before = [line[-lag] for line, lag in zip(lines, lags, strict=True)]
            after, rows[t], stop = step(before, [_row(xs, t - shift) for xs, shift in each])
            for line, value in zip(lines, after, strict=True):
                line.append(value)
            if stops and stop:
                break
        # Where a step did not run, only the shapes of its outputs are asked for.
        with ag.no_grad():
            zeros = np.zeros((2, 2))
            start = [ag.tensor(x.value if isinstance(x, ag.Node) else x) for x in init]
            _, outputs, _ = step(start, [zeros for _ in each])
        finals = [
            line[-1] if k == 1 else _told(line[: -k - 1 : -1] if reverse else line[-k:], k)
            for line, k in zip(lines, lags, strict=True)
        ]
        return finals, [
            ag.stack([rows[t][i] if t in rows else np.zeros(y.shape) for t in range(length)])
            if length
            else ag.tensor(np.zeros((0, *y.shape)))
            for i, y in enumerate(outputs)
        ]

    def choose(self, index: Any, functions: Any, x: Any) -> Any:
        return functions[int(index)](x)


def _row(xs: Any, t: int) -> Any:
    """Return row `t` of `xs`: before the first one that again, after the last one 0.5."""
    if t >= xs.shape[0]:
        return ag.tensor(np.full(xs.shape[1:], 0.5))
    return xs[max(t, 0)]


Meaning = Rolled | ByHand


def run(program: Sequence[Any], values: Any, sequences: Any, meaning: Meaning) -> Any:
    """Return the sum of all values and sequences the program ends with."""
    pool, stacks = execute(program, list(values), list(sequences), np.int64(1), meaning)
    total = sum((x * x).sum() for x in pool[len(values) :])
    return total + sum((xs * 0.5).sum() for xs in stacks[len(sequences) :]) + values[0].sum()


def execute(
    program: Sequence[Any], pool: list[Any], stacks: list[Any], counter: Any, meaning: Meaning
) -> tuple[list[Any], list[Any]]:
    for instruction in program:
        if isinstance(instruction, Apply):
            a, b = (pool[i % len(pool)] for i in (instruction.a, instruction.b))
            pool.append(BINARY[instruction.op](a, b))
        elif isinstance(instruction, Choose):
            functions = [
                _branch(block, pool, stacks, counter, meaning) for block in instruction.blocks
            ]
            x = pool[instruction.operand % len(pool)]
            pool.append(meaning.choose(counter % 2, functions, x))
        else:
            finals, stacked = _loop(instruction, pool, stacks, counter, meaning)
            pool += finals
            stacks += stacked
    return pool, stacks


def _branch(block: Any, pool: Any, stacks: Any, counter: Any, meaning: Meaning) -> Any:
    def function(x: Any) -> Any:
        inner, _ = execute(block, [*pool, x], list(stacks), counter, meaning)
        return ag.tanh(inner[-1] + x)

    return function


def _loop(loop: Loop, pool: Any, stacks: Any, counter: Any, meaning: Meaning) -> Any:
    init = [pool[i % len(pool)] for i, _ in loop.states]
    each = [(stacks[i % len(stacks)], k) for i, k in zip(loop.each, loop.shifts, strict=False)]
    each = [(xs, k) for xs, k in each if xs.shape[0] == each[0][0].shape[0]]

    def step(states: Any, slices: Any) -> Any:
        count = counter
        if loop.counts:
            count, states = states[0], states[1:]
        inner = [*pool, *slices, *states]
        if loop.counts:
            inner.append(states[0] * (1.0 / (count + 1)))
        inner, _ = execute(loop.block, inner, list(stacks), count, meaning)
        after = [ag.tanh(inner[-1 - i % len(inner)]) for _, i in loop.states]
        outputs = [inner[-1 - i % len(inner)] for i in loop.collected]
        stop = None if loop.stop is None else inner[-1 - loop.stop % len(inner)].sum() > 0.4
        return ([count + 1, *after] if loop.counts else after), outputs, stop

    start, lags = init, loop.lags[: len(init)]
    if loop.counts:
        start, lags = [np.int64(0), *init], (1, *lags)
    stops = loop.stop is not None
    finals, stacked = meaning.loop(step, start, each, loop.length, loop.reverse, lags, stops)
    return (finals[1:] if loop.counts else finals), stacked


# Strategies.


def programs(depth: int, length: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """Return programs with loops nested at most `depth` deep and at most `length` steps long."""
    index = st.integers(0, 9)
    apply = st.builds(Apply, st.sampled_from(sorted(BINARY)), index, index)
    if depth == 0:
        return st.lists(apply, min_size=1, max_size=3).map(tuple)
    inner = programs(depth - 1, length)
    choose = st.builds(Choose, st.tuples(inner, inner), index) if depth == 1 else apply
    loop = st.builds(
        Loop,
        block=inner,
        states=st.lists(st.tuples(index, index), min_size=1, max_size=3).map(tuple),
        each=st.lists(index, max_size=2).map(tuple),
        collected=st.lists(index, max_size=2).map(tuple),
        length=st.integers(0, length if depth < 2 else min(length, 3)),
        reverse=st.booleans(),
        counts=st.booleans(),
        lags=st.tuples(*[st.sampled_from((1, 1, 1, 2, 3))] * 3),
        shifts=st.tuples(*[st.sampled_from((0, 0, 0, 1, 2, -1, -2))] * 2),
        stop=st.one_of(st.none(), st.none(), index),
    )
    return st.lists(st.one_of(apply, loop, choose), min_size=1, max_size=3).map(tuple)


@st.composite
def data(draw: Any, length: int) -> Data:
    """Return two values and two sequences of at most `length` steps."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.tuples(st.integers(0, length), st.integers(0, length)))
    values = tuple(random.uniform(-1, 1, (2, 2)) for _ in range(2))
    return Data(values, tuple(random.uniform(-1, 1, (n, 2, 2)) for n in lengths))
