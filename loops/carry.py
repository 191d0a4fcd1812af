"""What scan and while_loop carry from step to step: a tree of arrays, one state a leaf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from autograd.describe import describe, put_in_front
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.node import Node, tensor
from autograd.tree import Structure, flatten, shown
from loops.loop import LoopNode


def called(fn: Callable[..., Any], what: str, **arguments: Any) -> Any:
    """Return what `fn`, called `what` in errors, makes of `arguments`, in their order.

    Raises GraphError, which names them, if `fn` takes other ones or is no function.
    """
    if not callable(fn):
        raise GraphError(f"{what} must be a function, but is {type(fn).__name__} {fn!r:.60}")
    try:
        takes = signature(fn)
    except (TypeError, ValueError):  # written in C: it says itself what is wrong
        return fn(*arguments.values())
    try:
        takes.bind(*arguments.values())
    except TypeError as error:
        raise GraphError(
            f"{what} is called with ({', '.join(arguments)}), but takes {takes}: {error}; what is "
            "carried is one argument, a tuple or dict if there is more than one value"
        ) from None
    return fn(*arguments.values())


def branch_carry(loop: LoopNode, leaves: Sequence[Any], structure: Structure) -> list[Node]:
    """Return the states of `loop` that start as `leaves`.

    A state is called as the node it starts as, else as its key in the tree.
    """
    ports = []
    for i, (x, (_, key)) in enumerate(zip(leaves, _places(structure), strict=True)):
        name = f"carry_{i}" if key == "carry" and len(leaves) > 1 else key
        ports.append(loop.branch(tensor(x).name or name, x))
    return ports


def feed_carry(
    loop: LoopNode, before: Sequence[Node], structure: Structure, carry: Any, function: str
) -> list[Node]:
    """Feed the states `before` with `carry`, which `function` returned, and return its leaves.

    Raises GraphError where the tree, and ShapeError where the spec of a leaf is not as it was.
    """
    what = f"loop '{loop.name}'"
    after, found = flatten(carry)
    if found != structure:
        raise GraphError(
            f"the carry of {what} starts with the structure {shown(structure)}, but the "
            f"{function} returned {shown(found)}; both must be the same"
        )
    nodes = []
    for port, value, (path, _) in zip(before, after, _places(structure), strict=True):
        if value is None:
            raise GraphError(
                f"carry{path} of {what} starts as {port.spec}, but the {function} returned None "
                "there; return what the next step is to begin with"
            )
        nodes.append(tensor(value))
        try:
            loop.feed(port, nodes[-1])
        except ShapeError as error:
            put_in_front(error, f"carry{path} of {what} must stay as it is: ")
            raise
    return nodes


def bool_scalar(result: Any, what: str) -> Node:
    """Return the condition `result` as a node, if it is one; `what` names who returned it."""
    node = None if result is None or isinstance(result, (dict, list, tuple)) else tensor(result)
    if node is None or node.shape != () or node.dtype.kind != "b":
        came = type(result).__name__ if node is None else describe(node)
        raise DTypeError(
            f"{what} must return a bool scalar, but returned {came}; compare, and reduce an array "
            "with autograd.all or autograd.any"
        )
    return node


def _places(structure: Structure, path: str = "", name: str = "carry") -> list[tuple[str, str]]:
    """Return how Python reaches each leaf (`['h'][0]`, `.mean`), and its last key or field."""
    if structure is None:
        return [(path, name)]
    kind, children = structure
    if kind is dict:
        steps = [(f"[{key!r}]", str(key), child) for key, child in children]
    elif hasattr(kind, "_fields"):
        fields = zip(kind._fields, children, strict=True)
        steps = [(f".{field}", field, child) for field, child in fields]
    else:
        steps = [(f"[{i}]", name, child) for i, child in enumerate(children)]
    return [place for step, key, child in steps for place in _places(child, path + step, key)]
