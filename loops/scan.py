"""Loops from functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autograd.errors import GraphError
from autograd.tree import flatten, unflatten
from loops.carry import bool_scalar, branch_carry, called, feed_carry
from loops.loop import LoopNode

Body = Callable[[Any, Any], tuple[Any, Any]]
"""One step of a loop: from carry and slice to next carry and output, trees of nodes."""


def scan(
    fn: Body,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    name: str = "scan",
    *,
    truncate: int | None = None,
    lengths: Any = None,
    ragged: str = "shrink",
    until: Callable[[Any, Any], Any] | None = None,
) -> tuple[Any, ...]:
    """Return `(final carry, stacked outputs)` of `carry, y = fn(carry, x)`, once a slice of `xs`.

    `init` and `xs` are arrays or trees of arrays; `y` may be None. `fn` is called once, to draw
    the body of a LoopNode. Without `xs`, `length` says how often to run.
    `truncate`, `lengths` and `ragged` are those of LoopNode: gradients in blocks of steps, ragged
    batches. Then row b, axis 1 of `xs` and axis 0 of `init`, runs `lengths[b]` steps.
    `until(carry, y)`, a bool scalar, sees what `fn` returned: where it is true, that step is the
    last. Then the result is `(final carry, stacked outputs, steps)`, with the number of steps taken
    as an int64; of the outputs, rows of steps that did not run are zero.
    """
    states, carry_structure = flatten(init)
    sequences: list[Any] = []
    each_structure = None
    if xs is not None:
        sequences, each_structure = flatten(xs)
    with LoopNode(name, length, reverse, truncate=truncate, lengths=lengths, ragged=ragged) as node:
        slices = [node.each(x) for x in sequences]
        before = branch_carry(node, states, carry_structure)
        x = unflatten(each_structure, slices) if sequences else None
        what = f"the function of scan '{name}'"
        result = called(fn, what, carry=unflatten(carry_structure, before), x=x)
        carry, y = checked_step(result, what)
        after = feed_carry(node, before, carry_structure, carry, "function")
        if until is not None:
            now = unflatten(carry_structure, after)
            what = f"until of scan '{name}'"
            node.until(bool_scalar(called(until, what, carry=now, y=y), what))
        outputs, output_structure = ([], None) if y is None else flatten(y)
        stacked = [node.collect(y) for y in outputs]
        finals = [node.final(port) for port in before]
        steps = None if until is None else node.steps
    ys = unflatten(output_structure, stacked) if outputs else None
    last = unflatten(carry_structure, finals)
    return (last, ys) if until is None else (last, ys, steps)


def checked_step(result: Any, what: str) -> tuple[Any, Any]:
    """Return what a body called `what` in errors has returned, checked to be (carry, y)."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise GraphError(
            f"{what} must return (carry, y), but returned {type(result).__name__}; return "
            "(carry, None) if there is no output"
        )
    return result
