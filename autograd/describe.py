"""How errors speak of nodes: what they are and which line of the user's made them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autograd.node import Node

_PACKAGES = tuple(
    str(Path(__file__).resolve().parent.parent / name) + "/" for name in ("autograd", "loops", "nn")
)


def user_line() -> tuple[str, int] | None:
    """Return file and line of the innermost caller outside LoopGrad's packages."""
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_PACKAGES):
            return filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None


def describe(node: Node) -> str:
    """Return how errors speak of a node: op, name, spec, and the line that made it."""
    spec = node._spec if node._value is None else node.spec
    several = type(spec) is tuple
    text = f"({', '.join(map(str, spec))})" if several else ("?" if spec is None else str(spec))
    name = f" '{node.name}'" if node.name else ""
    place = f" ({node.line[0]}:{node.line[1]})" if node.line else ""
    return f"{node.op.name}{name} {text}{place}"
