"""What rules write with: the printer as they see it, and numbers, blocks and views in source.

Of what a graph says, only whole numbers get into source, by way of `index`; all else is bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import index
from typing import Any, Protocol

import numpy as np

from autograd.node import Node
from autograd.spec import Array, Spec


class Writer(Protocol):
    """Whoever prints a plan: collects lines, and what the names in them stand for."""

    def line(self, text: str) -> None:
        """Append a line of source."""

    def constant(self, value: Any, hint: str) -> str:
        """Return a name for a Python object; the same object twice gives the same name."""

    def scratch(self, spec: Spec) -> str:
        """Return the name of a C-contiguous temporary array, free again after this instruction."""

    def contiguous(self, name: str) -> bool:
        """Return whether the array of this name is C-contiguous, for sure."""


Rule = Callable[[Writer, list[str], list[str], Node], None]
"""Writes how `node` computes the arrays named `outs` from those named `ins`:
`rule(writer, outs, ins, node)`."""


@dataclass(frozen=True)
class Printed:
    """How the nodes of one op are printed."""

    write: Rule
    when: Callable[[Node], bool] = lambda node: True
    """Whether the rule is for this node. The others go through `op.forward`."""


RULES: dict[str, Printed] = {}


def rule(*names: str, when: Callable[[Node], bool] = lambda node: True) -> Callable[[Rule], Rule]:
    """Register a function as the rule of these ops."""

    def register(write: Rule) -> Rule:
        for name in names:
            RULES[name] = Printed(write, when)
        return write

    return register


def floating(node: Node) -> bool:
    """Whether all inputs and the output are of one float dtype."""
    return node.dtype.kind == "f" and all([x.dtype == node.dtype for x in node.inputs])


def number(writer: Writer, value: Any, dtype: np.dtype[Any]) -> str:
    """Return the name of a number as an array of shape ().

    That is what NumPy multiplies by fastest: 200 ns for (1, 16) elements, where a Python float
    takes 310 to 390 (its dtype has to be found out) and an array of shape (1,) 470 (it broadcasts).
    """
    hint = {"0": "zero", "1": "one"}.get(repr(value), "number")
    return writer.constant(_number(value, repr(value), dtype), hint)


@cache
def _number(value: Any, text: str, dtype: np.dtype[Any]) -> Array:
    """Return an array that all plans share; `text` tells -0.0 from 0."""
    with np.errstate(over="ignore"):  # float32 has no 1e300, and calls it inf
        array = np.asarray(value, dtype)
    array.flags.writeable = False
    return array


@cache
def ones(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return ones that all plans share."""
    array = np.ones(shape, dtype)
    array.flags.writeable = False
    return array


def call(writer: Writer, function: Any, *arguments: str, name: str = "") -> None:
    """Write a call; `name` is needed for what has no `__name__`."""
    bound = writer.constant(function, name or function.__name__)
    writer.line(f"{bound}({', '.join(arguments)})")


class Indented:
    """A writer whose lines stand in a block of another's."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.constant = writer.constant
        self.scratch = writer.scratch
        self.contiguous = writer.contiguous

    def line(self, text: str) -> None:
        """Append a line to the block."""
        self.writer.line(f"    {text}")


@contextmanager
def quiet(writer: Writer, *kinds: str) -> Iterator[Writer]:
    """Let what is written in the block ignore floating-point flags, as `forward` does (650 ns)."""
    errstate = writer.constant(np.errstate, "errstate")
    ignored = ", ".join([f"{kind}='ignore'" for kind in kinds])
    writer.line(f"with {errstate}({ignored}):")
    yield Indented(writer)


def copied(writer: Writer, out: str, source: str) -> None:
    """Write a copy, unless it is one of an array to itself. (85 ns; `np.copyto` takes 200.)"""
    if out != source:
        writer.line(f"{out}[...] = {source}")


def reshaped(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> str:
    """Return source for an array of shape `old` in shape `new`."""
    return name if old == new else f"{name}.reshape({shown(new)})"


def contiguous(writer: Writer, name: str, spec: Spec) -> str:
    """Return the name of an array equal to `name` that is C-contiguous: itself, or a copy."""
    if writer.contiguous(name):
        return name
    copy = writer.scratch(spec)
    copied(writer, copy, name)
    return copy


def shown(shape: tuple[int, ...]) -> str:
    """Return a tuple as source."""
    return repr(tuple(map(index, shape)))


def key_of(parts: tuple[Any, ...]) -> str:
    """Return source for a basic index key, `[...]` if it takes everything."""
    return f"[{', '.join(map(_part, parts))}]" if parts else "[...]"


def _part(part: Any) -> str:
    if not isinstance(part, slice):
        return "..." if part is Ellipsis else "None" if part is None else str(index(part))
    bounds = (part.start, part.stop, part.step)
    start, stop, step = ["" if n is None else str(index(n)) for n in bounds]
    return f"{start}:{stop}" + (f":{step}" if step else "")
