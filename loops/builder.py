"""What a LoopNode remembers while its `with` block is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from autograd.describe import describe, user_line
from autograd.errors import GraphError, LoopGradError, ShapeError
from autograd.graph import Graph, ancestry, unique_name
from autograd.node import NO_ATTRS, OPS, Node, apply, draw_input, seen_from, tensor
from autograd.scope import Scope, current_state, drawing
from autograd.spec import Spec
from loops.loop import MAX_LENGTH, LoopNode, state_changed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def start(node: LoopNode, name: str, length: int | None, reverse: bool) -> None:
    """Make `node` a loop about to be drawn: virtual, without inputs yet."""
    node.op = OPS["loop"]
    node.inputs = ()
    node.attrs = NO_ATTRS
    node.tracked = False
    node.scope = current_state().scope
    node.serial = 0
    node.name = name
    node.line = user_line()
    node._value = node._spec = None
    node._builder = Builder(name, length, reverse)


class Builder:
    """Collects ports and outputs; `close` turns them into the node's body and inputs."""

    def __init__(self, name: str, length: int | None, reverse: bool) -> None:
        if length is not None and (type(length) is not int or not 0 <= length <= MAX_LENGTH):
            raise GraphError(
                f"the length of loop '{name}' must be a whole number from 0 to {MAX_LENGTH}, but "
                f"is {length!r}; leave it out where a per-step input says it"
            )
        self.name = name
        self.length = length
        self.reverse = reverse
        self.scope = Scope(name, current_state().scope)
        self.sequences: dict[Node, Node] = {}
        self.states: dict[Node, Node] = {}
        self.fed: dict[Node, Node] = {}
        self.collected: list[tuple[str, Node]] = []
        self.handles: list[tuple[Node, Node | int]] = []
        self.state = "new"
        self.context: AbstractContextManager[None] | None = None

    # While the block is open.

    def open(self) -> None:
        if self.state != "new":
            raise GraphError(f"loop '{self.name}' is already drawn; make a new LoopNode")
        if current_state().scope is not self.scope.parent:
            raise GraphError(
                f"loop '{self.name}' was made in another body than its `with` block is in; write "
                "`with LoopNode(...) as name:` in one line"
            )
        self.state = "open"
        self.context = drawing(self.scope)
        self.context.__enter__()

    def _check_open(self, what: str) -> None:
        if self.state != "open":
            raise GraphError(
                f"{what} of loop '{self.name}' is for use inside its `with` block, which is not "
                "open"
            )

    def each(self, xs: Any, name: str | None) -> Node:
        self._check_open("each()")
        outer = self._outside(xs, "a per-step input")
        spec = outer.spec
        if spec.ndim == 0:
            raise ShapeError(
                f"{describe(outer)} cannot be a per-step input of loop '{self.name}': it has no "
                "axis to step along; use it directly, it is then shared by all steps"
            )
        first = next(iter(self.sequences.values()), outer)
        self._check_length(outer, first.shape[0], f"{describe(first)} has")
        if self.length is not None:
            self._check_length(outer, self.length, "the loop's length is")
        port = draw_input(name or outer.name, Spec(spec.shape[1:], spec.dtype), self.scope)
        port.line = user_line()
        port.tracked = outer.tracked
        self.sequences[port] = outer
        return port

    def _check_length(self, xs: Node, length: int, what: str) -> None:
        if xs.shape[0] != length:
            raise ShapeError(
                f"per-step input {describe(xs)} of loop '{self.name}' has {xs.shape[0]} steps, but "
                f"{what} {length}; they must be equal"
            )

    def branch(self, name: str, init: Any) -> Node:
        self._check_open("branch()")
        outer = self._outside(init, f"the initial value of state '{name}'")
        port = draw_input(name, outer.spec, self.scope)
        port.line = user_line()
        self.states[port] = outer
        return port

    def feed(self, branch: Node, value: Any) -> None:
        self._check_open("feed()")
        name = self._state_name(branch)
        if branch in self.fed:
            raise GraphError(f"state '{name}' of loop '{self.name}' is fed twice; feed it once")
        inner = self._inside(value)
        if inner.spec != branch.spec:
            raise ShapeError(
                f"{state_changed(name, branch.spec, inner.spec)} (loop '{self.name}', fed with "
                f"{describe(inner)})"
            )
        self.fed[branch] = inner

    def _state_name(self, branch: Any) -> str:
        if not isinstance(branch, Node) or branch not in self.states:
            raise GraphError(
                f"loop '{self.name}' has no such state; pass what its branch() returned"
            )
        return branch.name or "state"

    def collect(self, node: LoopNode, value: Any, name: str | None) -> Node:
        self._check_open("collect()")
        inner = self._inside(value)
        self.collected.append((name or inner.name or f"out_{len(self.collected)}", inner))
        return self._handle(node, len(self.collected) - 1, name)

    def final(self, node: LoopNode, branch: Node) -> Node:
        self._state_name(branch)
        if self.state == "open":
            return self._handle(node, branch, None)
        index = _position(self.states, branch)
        return apply(OPS["item"], (node,), {"index": index})

    def _handle(self, node: LoopNode, what: Node | int, name: str | None) -> Node:
        """Return the node an output will be; `close` fills it in."""
        handle: Node = object.__new__(Node)
        handle.op = OPS["item"]
        handle.inputs = ()
        handle.attrs = NO_ATTRS
        handle.tracked = False
        handle.scope = node.scope
        handle.serial = 0
        handle.name = name
        handle.line = user_line()
        handle._value = handle._spec = None
        self.handles.append((handle, what))
        return handle

    def _inside(self, value: Any) -> Node:
        return seen_from(self.scope, tensor(value))

    def _outside(self, value: Any, what: str) -> Node:
        """Return `value` as a node of the scope around the loop."""
        node = tensor(value)
        if node.scope is not self.scope:
            return seen_from(self.scope.parent, node)
        return self._moved_out(node, what)

    def _moved_out(self, node: Node, what: str) -> Node:
        """Draw again outside what was written inside the block, if it depends on no step."""
        inner = [node]
        seen = {node}
        moved: dict[Node, Node] = {port: x for x, port in self.scope.captured.items()}
        for current in inner:
            if current in moved:
                continue
            if current in self.sequences or current in self.states:
                raise GraphError(
                    f"{what} of loop '{self.name}' depends on {describe(current)}, which changes "
                    "from step to step; it must be known before the loop starts"
                )
            for x in current.inputs:
                if x.scope is self.scope and x not in seen:
                    seen.add(x)
                    inner.append(x)
        with drawing(self.scope.parent):
            for current in sorted(inner, key=lambda n: n.serial):
                if current not in moved:
                    xs = [moved.get(x, x) for x in current.inputs]
                    moved[current] = apply(current.op, xs, current.attrs)
        return moved[node]

    # The end of the block.

    def close(self, node: LoopNode, failed: bool) -> None:
        context, self.context = self.context, None
        if context is not None:
            context.__exit__(None, None, None)
        self.state = "closed"
        try:
            if not failed:
                self._become_a_loop(node)
        finally:
            self._forget()

    def _become_a_loop(self, node: LoopNode) -> None:
        for branch in self.states:
            if branch not in self.fed:
                raise GraphError(
                    f"state '{branch.name}' of loop '{self.name}' is never fed; call "
                    "feed(branch, value) so that the next step has a value"
                )
        self._check_length_known()
        outputs = {
            **_unique_names(list(self.states), [self.fed[b] for b in self.states]),
            **self._collected_names(),
        }
        captured = self._captured_by(outputs.values())
        ports = [*captured.values(), *self.states, *self.sequences]
        body = Graph.of(_unique_names(ports), outputs, self.name)
        attrs = {
            "body": body,
            "shared": len(captured),
            "states": len(self.states),
            "each": len(self.sequences),
            "reverse": self.reverse,
            "length": None if self.sequences else self.length,
        }
        inputs = [*captured, *self.states.values(), *self.sequences.values()]
        try:
            made = apply(OPS["loop"], inputs, attrs)
        except LoopGradError as error:
            error.args = (f"{error.args[0]} (loop '{self.name}')",)
            raise
        _become(node, made)
        for handle, what in self.handles:
            if isinstance(what, int):
                index = len(self.states) + what
            else:
                index = _position(self.states, what)
            _become(handle, apply(OPS["item"], (node,), {"index": index}))

    def _check_length_known(self) -> None:
        if self.length is None and not self.sequences:
            raise GraphError(
                f"loop '{self.name}' has neither a per-step input nor a length, so how often it "
                f"runs is not known; use each(xs), or LoopNode('{self.name}', length=8)"
            )

    def _captured_by(self, outputs: Iterable[Node]) -> dict[Node, Node]:
        """Return the captured values the body needs: what `_moved_out` drew outside is dropped."""
        captured = self.scope.captured
        used = set(ancestry(outputs, {*captured.values(), *self.states, *self.sequences}))
        return {x: port for x, port in captured.items() if port in used}

    def _collected_names(self) -> dict[str, Node]:
        taken = {port.name or "": 2 for port in self.states}
        named: dict[str, Node] = {}
        for name, value in self.collected:
            named[unique_name(name, taken)] = value
        return named

    def _forget(self) -> None:
        """Let go of all but the states' order: a loop, drawn or failed, must not hold a cycle."""
        self.scope.captured = {}
        self.sequences = {}
        self.fed = {}
        self.collected = []
        self.handles = []
        self.states = {port: port for port in self.states}


def _position(states: dict[Node, Any], branch: Node) -> int:
    return next(i for i, port in enumerate(states) if port is branch)


def _unique_names(ports: Sequence[Node], nodes: Sequence[Node] | None = None) -> dict[str, Node]:
    """Return `nodes` (the ports themselves by default) by the ports' names, made unique."""
    taken: dict[str, int] = {}
    return {
        unique_name(port.name or f"value_{i}", taken): node
        for i, (port, node) in enumerate(zip(ports, ports if nodes is None else nodes, strict=True))
    }


def _become(node: Node, made: Node) -> None:
    """Give `node`, which others already hold, everything `made` is, but its name and line."""
    for slot in ("op", "inputs", "attrs", "tracked", "scope", "serial", "_value", "_spec"):
        setattr(node, slot, getattr(made, slot))
    node._frozen, node._pulled = made.frozen, made.pulled
