"""How errors speak of nodes: what they are and which line of the user's made them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from autograd.errors import LoopGradError

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


F = TypeVar("F", bound=Callable[..., Any])


def located(function: F) -> F:
    """Let what `function`, a door for users, raises on purpose begin with the user's line."""

    @wraps(function)
    def with_line(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except LoopGradError as error:
            put_in_front(error)
            raise

    return cast(F, with_line)


def put_in_front(error: LoopGradError, what: str = "", behind: str = "") -> None:
    """Put the user's line and `what` was being done in front of what `error` says, once."""
    if getattr(error, "located", False):
        return
    line = user_line()
    place = f"{line[0]}:{line[1]}: " if line else ""
    error.args = (f"{place}{what}{error}{behind}",)
    error.located = True  # type: ignore[attr-defined]


def describe(node: Node) -> str:
    """Return how errors speak of a node: op, name, spec, and the line that made it."""
    spec = node._spec if node._value is None else node.spec
    several = type(spec) is tuple
    text = f"({', '.join(map(str, spec))})" if several else ("?" if spec is None else str(spec))
    name = f" '{node.name}'" if node.name else ""
    place = f" ({node.line[0]}:{node.line[1]})" if node.line else ""
    return f"{node.op.name}{name} {text}{place}"
