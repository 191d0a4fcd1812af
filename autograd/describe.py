"""How errors speak of nodes: what they are and which line of the user's made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autograd.errors import GraphError, LoopGradError
from autograd.errors import user_line as user_line
from autograd.room import refuse

if TYPE_CHECKING:
    from autograd.node import Node
    from autograd.op import Op
    from autograd.scope import Scope


def put_in_front(error: LoopGradError, what: str, behind: str = "") -> None:
    """Put `what` was being done in front of what `error` says, once."""
    if not error.located:
        error.args = (f"{what}{error.args[0]}{behind}",)
        error.located = True


def describe(node: Node) -> str:
    """Return how errors speak of a node: op, name, spec, and the line that made it."""
    place = f" ({node.line[0]}:{node.line[1]})" if node.line else ""
    if "pending" in node.attrs:
        return f"{node.attrs['pending']}{place}"
    spec: Any = node._spec if node._value is None else node.spec
    several = type(spec) is tuple
    text = f"({', '.join(map(str, spec))})" if several else ("?" if spec is None else str(spec))
    name = f" '{node.name}'" if node.name else ""
    return f"{node.op.name}{name} {text}{place}"


def brief(value: Any) -> str:
    """Return how errors speak of anything else that came: its type, and how its text begins."""
    kind, text = type(value).__name__, repr(value).partition("\n")[0][:60]
    return text if text.startswith(kind) else f"{kind} {text}"


def undrawn(node: Node) -> GraphError:
    """Return the error of asking what `node` is before the `with` block that draws it has ended.

    An output of such a block says in its attrs what it will be (`pending`) and what to use in the
    block instead (`inside`).
    """
    if "pending" in node.attrs:
        return GraphError(
            f"{describe(node)} is known only once the `with` block has ended: use it after the "
            f"block, and inside the block {node.attrs['inside']}"
        )
    return GraphError(
        f"{describe(node)} is not drawn yet: its `with` block has not ended; use what its "
        "final() and collect() return, after the block"
    )


def locate(error: LoopGradError, op: Op, inputs: Sequence[Node], scope: Scope | None) -> None:
    """Put the node, its inputs and the user's line in front of what `infer` said."""
    inside = f" in the body of '{scope.path}'" if scope is not None else ""
    given = "; ".join(map(describe, inputs))
    put_in_front(error, f"{op.name}{inside}: ", f". Inputs: {given}")


def explain(op: Op, inputs: Sequence[Node], attrs: dict[str, Any], error: Exception) -> None:
    """Raise what `infer` says of inputs that made `forward` fail, if it objects to them."""
    if isinstance(error, LoopGradError):
        locate(error, op, inputs, None)
        return
    if isinstance(error, MemoryError):
        given = "; ".join(map(describe, inputs))
        refuse(error, f"op '{op.name}' of {given}")
        return
    if not op.portable:  # infer would run the user's code again
        return
    try:
        op.infer(*[x.spec for x in inputs], **attrs)
    except LoopGradError as explained:
        locate(explained, op, inputs, None)
        raise explained from error


# Gradients: which node of the forward pass they belong to.


@dataclass(frozen=True, slots=True)
class Origin:
    """The node of the forward pass whose gradient rule drew a node."""

    name: str
    op: str
    line: tuple[str, int] | None
    order: int = 1
    """2 for a gradient of the gradient, and so on."""


def origin_of(node: Node, names: Mapping[Node, str]) -> Origin | None:
    """Return whose gradient `node` is part of: None if it is none, or nobody knows.

    `names` are those of the graph that the forward pass is in.
    """
    order = 0
    while True:
        source = node.origin
        if isinstance(source, Origin):
            return replace(source, order=source.order + order)
        if source is False or source is True:
            break
        node = source
        order += 1
    if not order:
        return None
    return Origin(names.get(node) or node.name or node.op.name, node.op.name, node.line, order)


def settle(nodes: Iterable[Node], names: Mapping[Node, str]) -> None:
    """Have gradient `nodes` remember the names of what they are gradients of, not the nodes.

    For bodies: there the gradient is a graph of its own, without the forward pass.
    """
    for node in nodes:
        source = node.origin
        if source is not False and not isinstance(source, Origin):
            known = source is not True and source in names
            node._pulled = (known and origin_of(node, names)) or True


def listed_names(what: str, names: Any) -> tuple[Any, ...]:
    """Return the names in a list that was given for the argument `what`."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        given = f"[{names!r:.60}]" if isinstance(names, str) else "['loss']"
        raise GraphError(
            f"{what} takes a list of names, but got {names!r:.60}; write {what}={given}"
        )
    return tuple(names)
