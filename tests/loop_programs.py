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
from tests.loop_reference import reference_loop

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


@dataclass(frozen=True)
class Data:
    """What a program starts from."""

    values: tuple[np.ndarray, ...]
    sequences: tuple[np.ndarray, ...]


class Rolled:
    """Loops are LoopNodes, branches BranchNodes."""

    def loop(self, step: Any, init: Any, each: Any, length: int, reverse: bool) -> Any:
        with LoopNode("loop", None if each else length, reverse) as node:
            slices = [node.each(xs) for xs in each]
            before = [node.branch(f"s{i}", x) for i, x in enumerate(init)]
            after, outputs = step(before, slices)
            for port, value in zip(before, after, strict=True):
                node.feed(port, value)
            stacked = [node.collect(y) for y in outputs]
        return [node.final(port) for port in before], stacked

    def choose(self, index: Any, functions: Any, x: Any) -> Any:
        return switch(index, functions, x)


class ByHand:
    """Loops are Python's, branches are calls."""

    def loop(self, step: Any, init: Any, each: Any, length: int, reverse: bool) -> Any:
        length = each[0].shape[0] if each else length
        finals, rows = reference_loop(step, init, each, length, reverse)
        if rows:
            return finals, [ag.stack(list(column)) for column in zip(*rows, strict=True)]
        # Of no steps, only the shapes of the outputs are asked for.
        with ag.no_grad():
            zeros = np.zeros((2, 2))
            start = [ag.tensor(x.value if isinstance(x, ag.Node) else x) for x in init]
            _, outputs = step(start, [zeros for _ in each])
        return finals, [ag.tensor(np.zeros((0, *y.shape))) for y in outputs]

    def choose(self, index: Any, functions: Any, x: Any) -> Any:
        return functions[int(index)](x)


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
    each = [stacks[i % len(stacks)] for i in loop.each] if stacks else []
    each = [xs for xs in each if xs.shape[0] == each[0].shape[0]]

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
        return ([count + 1, *after] if loop.counts else after), outputs

    start = [np.int64(0), *init] if loop.counts else init
    finals, stacked = meaning.loop(step, start, each, loop.length, loop.reverse)
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
    )
    return st.lists(st.one_of(apply, loop, choose), min_size=1, max_size=3).map(tuple)


@st.composite
def data(draw: Any, length: int) -> Data:
    """Return two values and two sequences of at most `length` steps."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.tuples(st.integers(0, length), st.integers(0, length)))
    values = tuple(random.uniform(-1, 1, (2, 2)) for _ in range(2))
    return Data(values, tuple(random.uniform(-1, 1, (n, 2, 2)) for n in lengths))
