"""How errors speak of nodes: what they are and which line of the user's made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autograd.errors import LoopGradError
from autograd.errors import user_line as user_line

if TYPE_CHECKING:
    from autograd.node import Node


def put_in_front(error: LoopGradError, what: str, behind: str = "") -> None:
    """Put `what` was being done in front of what `error` says, once."""
    if not getattr(error, "located", False):
        error.args = (f"{what}{error.args[0]}{behind}",)
        error.located = True  # type: ignore[attr-defined]


def describe(node: Node) -> str:
    """Return how errors speak of a node: op, name, spec, and the line that made it."""
    spec: Any = node._spec if node._value is None else node.spec
    several = type(spec) is tuple
    text = f"({', '.join(map(str, spec))})" if several else ("?" if spec is None else str(spec))
    name = f" '{node.name}'" if node.name else ""
    place = f" ({node.line[0]}:{node.line[1]})" if node.line else ""
    return f"{node.op.name}{name} {text}{place}"
