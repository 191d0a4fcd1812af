"""Where the next node belongs: the body being drawn, and whether tensors are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autograd.node import Node


class Scope:
    """A body being drawn: nodes made while it is open belong to it.

    A node of an enclosing scope that is used inside is captured: it comes in through a port.
    """

    __slots__ = ("captured", "label", "name", "parent", "rows")

    def __init__(self, name: str, parent: Scope | None, label: str = "loop") -> None:
        self.name = name
        self.parent = parent
        self.label = label
        self.captured: dict[Node, Node] = {}
        """Outer nodes used inside, and the ports that bring them in."""
        self.rows = False
        """Whether the body may run for fewer batch rows than it is drawn for: then constant arrays
        are captured too, because they may have to be cut to those rows."""

    @property
    def path(self) -> str:
        names = []
        scope: Scope | None = self
        while scope is not None:
            names.append(scope.name)
            scope = scope.parent
        return ".".join(reversed(names))


class State:
    """What the next node depends on besides its inputs: one object a thread or task."""

    __slots__ = ("check", "drawing", "pulling", "recording", "scope")

    def __init__(
        self,
        recording: bool,
        scope: Scope | None,
        pulling: Any = False,
        drawing: bool = False,
        check: Any = None,
    ) -> None:
        self.recording = recording
        self.scope = scope
        self.check = check
        """What looks at every value (`autograd.finite.Check`), or None."""
        self.pulling = pulling
        """Whether what is drawn now is a gradient (see `Node.pulled`): the node whose, if known."""
        self.drawing = drawing
        """Whether a graph is being drawn: then integers and bools computed from parameters are
        recorded as well, though nobody can differentiate them, because parameters change."""


STATE: ContextVar[State] = ContextVar("loopgrad_state", default=State(True, None))  # noqa: B039
current_state = STATE.get


@contextmanager
def drawing(scope: Scope | None) -> Iterator[None]:
    """Make the nodes of the `with` block belong to `scope` (None: to no body), recorded."""
    state = current_state()
    token = STATE.set(State(True, scope, state.pulling, True, state.check))
    try:
        yield
    finally:
        STATE.reset(token)


@contextmanager
def _recording(on: bool) -> Iterator[None]:
    state = current_state()
    token = STATE.set(State(on, state.scope, state.pulling, state.drawing, state.check))
    try:
        yield
    finally:
        STATE.reset(token)


def no_grad() -> Any:
    """Return a context (or decorator) in which tensors are computed without being recorded.

    Virtual nodes are recorded all the same: without that there would be no graph.
    """
    return _recording(False)


def enable_grad() -> Any:
    """Return a context (or decorator) in which tensors are recorded again."""
    return _recording(True)


@contextmanager
def pulling() -> Iterator[State]:
    """Record what is drawn or computed in the `with` block, and mark it as part of a gradient."""
    outer = current_state()
    state = State(True, outer.scope, True, True, outer.check)
    token = STATE.set(state)
    try:
        yield state
    finally:
        STATE.reset(token)


@contextmanager
def checking(check: Any) -> Iterator[None]:
    """Have `check` look at what is computed in the `with` block (None: nothing does)."""
    state = current_state()
    token = STATE.set(State(state.recording, state.scope, state.pulling, state.drawing, check))
    try:
        yield
    finally:
        STATE.reset(token)
