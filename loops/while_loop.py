"""A loop that runs as long as a condition on what it carries holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autograd.node import tensor
from autograd.scope import drawing
from autograd.tree import flatten, unflatten
from loops.carry import bool_scalar, branch_carry, called, feed_carry
from loops.loop import LoopNode


def while_loop(
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    *,
    bound: int | None = None,
    name: str = "while",
) -> tuple[Any, Any]:
    """Return `(final carry, steps)` of `while cond(carry): carry = body(carry)`.

    `init` is an array or a tree of arrays, and `body` returns the same of the same shapes and
    dtypes. `cond` returns a bool scalar; where it is false of `init`, no step is taken. `steps`,
    the int64 number of steps taken, comes second, where `scan` has its outputs: two results in
    either case. `body` is called once, to draw the body of a LoopNode, and `cond` twice: on `init`,
    and on what `body` returned.

    The loop has a gradient in reverse mode, of any order: that of the steps that ran. Their number
    is a piecewise constant function of the inputs, so it has none; where it jumps, neither has
    the result. What a step computes for the gradient is kept, so memory grows with the steps
    taken. With `bound`, still going after so many steps is a GraphError; `bound` costs nothing.
    """

    def going(carry: Any) -> Any:
        what = f"cond of while_loop '{name}'"
        return bool_scalar(called(cond, what, carry=carry), what)

    given, structure = flatten(init)
    with LoopNode(name, bound=bound) as node:
        before = branch_carry(node, given, structure)
        with drawing(node.scope):  # outside: the condition of the first step
            first = going(unflatten(structure, [tensor(x) for x in given]))
        carry = called(body, f"body of while_loop '{name}'", carry=unflatten(structure, before))
        after = feed_carry(node, before, structure, carry, "body")
        node.until(~going(unflatten(structure, after)), unless=~first)
        finals = [node.final(port) for port in before]
        steps = node.steps
    return unflatten(structure, finals), steps
