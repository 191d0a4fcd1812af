"""What a LoopNode remembers while its `with` block is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.describe import describe, user_line
from autograd.errors import DTypeError, GraphError, LoopGradError, NonFiniteError, ShapeError
from autograd.graph import Graph, ancestry, unique_name
from autograd.node import NO_ATTRS, OPS, Node, apply, draw_input, seen_from, tensor
from autograd.scope import Scope, current_state, drawing
from autograd.spec import Spec
from autograd.structure import interned
from autograd.trampoline import trampoline
from loops.delays import (
    Delay,
    checked_delay,
    checked_lags,
    filled,
    moved_along,
    starts_of,
    turned,
)
from loops.form import Ports, loop_attrs
from loops.loop import LoopNode, state_changed
from loops.masked import masked_loop
from loops.options import Options
from loops.rows import find_rows

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def start(node: LoopNode, options: Options) -> None:
    """Make `node` a loop about to be drawn: virtual, without inputs yet."""
    node.op = OPS["loop"]
    node.inputs = ()
    node.attrs = NO_ATTRS
    node.tracked = False
    node.scope = current_state().scope
    node.serial = 0
    node.name = options.name
    node.line = user_line()
    node._value = node._spec = None
    node._builder = Builder(options)


class Builder:
    """Collects ports and outputs; `close` turns them into the node's body and inputs."""

    def __init__(self, options: Options) -> None:
        options.check()
        self.name = options.name
        self.options = options
        self.block_starts: dict[int, Node] = {}
        """With truncate: whether, so many steps ago, a block other than the first had not begun."""
        self.truncated: dict[Node, Node] = {}
        """What branch() returned instead of a port, and the port."""
        self.scope = Scope(self.name, current_state().scope)
        self.scope.rows = options.lengths is not None
        self.lengths = None if options.lengths is None else self._row_lengths(options.lengths)
        self.going: tuple[Node, Any] | None = None
        """What until() was told: the stop condition, and whether not to run at all."""
        self.counter: Node | None = None
        """The state that counts steps, once somebody asks for it."""
        self.sequences: dict[Node, Node] = {}
        self.delayed: dict[Node, Delay] = {}
        """The per-step inputs that are of another step, not yet moved along."""
        self.states: dict[Node, Node] = {}
        self.lags: dict[Node, int] = {}
        """The states that are read more than one step later."""
        self.lines: dict[Node, tuple[Node, ...]] = {}
        """The ports of states that are read at several lags: all of them, by each."""
        self.fed: dict[Node, Node] = {}
        self.collected: list[tuple[str, Node]] = []
        self.handles: list[tuple[Node, Node | int]] = []
        self.flipped = False
        """Whether the loop runs forward over what is turned round outside."""
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

    def _row_lengths(self, lengths: Any) -> Node:
        """Return the checked number of steps of each row of a ragged loop."""
        if isinstance(lengths, (list, tuple)) and not lengths:
            lengths = np.zeros(0, np.int64)  # NumPy makes floats of an empty list
        node = seen_from(self.scope.parent, tensor(lengths))
        if node.ndim != 1 or node.dtype.kind not in "iu":
            raise ShapeError(
                f"the lengths of ragged loop '{self.name}' must be one integer for each row of the "
                f"batch, but are {describe(node)}; convert them with .astype('int64'), and a mask "
                "(steps, rows) by mask.sum(axis=0)"
            )
        return node if node.dtype == np.int64 else node.astype("int64")

    def _check_rows(self, node: Node, spec: Spec, what: str) -> None:
        """Check that a slice or state of a ragged loop has the batch rows on its first axis."""
        if self.lengths is not None and spec.shape[:1] != self.lengths.shape:
            raise ShapeError(
                f"{what} {describe(node)} of ragged loop '{self.name}' is {spec} in a step, but "
                f"its first axis must be the {self.lengths.shape[0]} rows that have a length; time "
                "comes before the rows: (steps, rows, ...)"
            )

    def until(self, stop: Any, unless: Any) -> None:
        self._check_open("until()")
        if self.going is not None:
            raise GraphError(
                f"until() of loop '{self.name}' is called twice; join the conditions: until(a | b)"
            )
        if self.lengths is not None:
            raise GraphError(
                f"loop '{self.name}' has lengths and until(): each row's length already says when "
                "it stops; use one of them"
            )
        inner = self._inside(stop)
        self._check_condition(inner, "until()")
        outer = None
        if unless is not None:
            outer = self._outside(unless, "`unless` of until()")
            self._check_condition(outer, "`unless` of until()")
        self.going = (inner, outer)
        self.index()

    def _check_condition(self, node: Node, what: str) -> None:
        if node.shape != () or node.dtype.kind != "b":
            raise DTypeError(
                f"{what} of loop '{self.name}' must be a bool scalar, but is {describe(node)}; "
                "compare, and reduce with autograd.all or autograd.any"
            )

    def index(self) -> Node:
        """Return the number of the running step, 0 for the first that runs."""
        self._check_open("index")
        if self.counter is None:
            if self.lengths is None:
                zero = tensor(np.zeros((), np.int64))
            else:
                with drawing(self.scope.parent):
                    zero = self.lengths * 0
            (self.counter,) = self.branch("steps", zero)
            self.feed(self.counter, self.counter + 1)
        return self.counter

    def steps(self, node: LoopNode) -> Node:
        """Return how many steps were taken, usable outside."""
        if self.state == "open":
            self.index()
        if self.counter is None:
            raise GraphError(
                f"loop '{self.name}' did not count its steps; ask for `steps` inside its block"
            )
        return self.final(node, self.counter)

    def each(self, xs: Any, name: str | None, lag: Any, lead: Any, before: Any, after: Any) -> Node:
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
        if self.options.length is not None:
            self._check_length(outer, self.options.length, "the loop's length is")
        if self.options.bound is not None:
            raise GraphError(
                f"loop '{self.name}' has a bound, but per-step input {describe(outer)} already "
                "says how many steps there are at most; leave the bound out"
            )
        self._check_rows(outer, Spec(spec.shape[1:], spec.dtype), "per-step input")
        delay = self._delay(outer, lag, lead, before, after)
        if delay is not None:
            name = name or f"{outer.name or 'x'}_{delay.suffix}"
        port = draw_input(name or outer.name, Spec(spec.shape[1:], spec.dtype), self.scope)
        port.line = user_line()
        port.tracked = outer.tracked
        self.sequences[port] = outer
        if delay is not None:
            self.delayed[port] = delay
            port.tracked = outer.tracked or (delay.fill is not None and delay.fill.tracked)
        return port

    def _delay(self, xs: Node, lag: Any, lead: Any, before: Any, after: Any) -> Delay | None:
        """Return of which other step a per-step input is, and what lies outside of it."""
        what = f"per-step input {describe(xs)} of loop '{self.name}'"
        asked = checked_delay(lag, lead, before, after, what)
        if asked is None:
            return None
        steps, rule = asked
        if isinstance(rule, str):
            return Delay(steps, rule, None)
        fill = self._outside(rule, f"what lies outside of {what}")
        with drawing(self.scope.parent):
            return filled(steps, fill, xs, what)

    def _check_length(self, xs: Node, length: int, what: str) -> None:
        if xs.shape[0] != length:
            raise ShapeError(
                f"per-step input {describe(xs)} of loop '{self.name}' has {xs.shape[0]} steps, but "
                f"{what} {length}; they must be equal"
            )

    def branch(
        self, name: str, init: Any, lag: Any = None, lags: Any = None, history: Any = None
    ) -> tuple[Node, ...]:
        """Return the ports of a state, one for each lag at which it is read."""
        self._check_open("branch()")
        if not isinstance(name, str):
            raise GraphError(
                f"a state of loop '{self.name}' must have a text as its name, but the first "
                f"argument of branch() is {type(name).__name__}; write branch('h', initial_value)"
            )
        what = f"state '{name}' of loop '{self.name}'"
        lags, several = checked_lags(lag, lags, what), lags is not None
        first, rows = [
            None if x is None else self._outside(x, f"the {word} of state '{name}'")
            for x, word in ((init, "initial value"), (history, "history"))
        ]
        with drawing(self.scope.parent):
            starts = starts_of(first, rows, lags, self.options.reverse, what)
        ports = []
        for steps, start in zip(lags, starts, strict=True):
            spec = start.spec if steps == 1 else Spec(start.shape[1:], start.dtype)
            self._check_rows(start, spec, f"state '{name}' started with")
            own = f"{name}_lag_{steps}" if several and steps > 1 else name
            port = draw_input(own, spec, self.scope)
            port.line = user_line()
            self.states[port] = start
            if steps > 1:
                self.lags[port] = steps
            ports.append(port)
        self.lines |= dict.fromkeys(ports, tuple(ports))
        if self.options.truncate is None or not ports[0].spec.floating:
            return tuple(ports)
        block = self.options.truncate
        return tuple([self._truncated(x, block, k) for x, k in zip(ports, lags, strict=True)])

    def _truncated(self, port: Node, block: int, lag: int) -> Node:
        """Return the state `port`, through which no gradient leaves a block of steps."""
        if lag not in self.block_starts:
            number = self.index()
            start = OPS["logical_and"](number % block < lag, number >= block)
            name = "block_start" if lag == 1 else f"block_start_{lag}"
            self.block_starts[lag] = start.named(name)
        start = self.block_starts[lag]
        if start.ndim:  # one a row of a ragged loop, which lies on the first axis of the state
            start = start[(slice(None), *[None] * (port.ndim - 1))]
        state: Node = OPS["where"](start, OPS["stop_gradient"](port), port)
        state.name, state.line = port.name, port.line
        self.truncated[state] = port
        return state

    def feed(self, branch: Node, value: Any) -> None:
        self._check_open("feed()")
        ports = self.lines[self._port(branch)]
        name = ports[0].name or "state"
        if ports[0] in self.fed:
            raise GraphError(
                f"state '{name}' of loop '{self.name}' is fed twice; feed it once"
                + (", which feeds all its lags" if len(ports) > 1 else "")
            )
        inner = self._inside(value)
        if inner.spec != ports[0].spec:
            nodes = [self.states[ports[0]], inner]
            changed = state_changed(name, ports[0].spec, inner.spec, nodes)
            raise ShapeError(
                f"{changed} (loop '{self.name}')" + self._perhaps_history(ports, inner)
            )
        self.fed |= dict.fromkeys(ports, inner)

    def _perhaps_history(self, ports: Sequence[Node], value: Node) -> str:
        """Return what to add if a state was started with rows where one value is asked for."""
        most = max(self.lags.get(port, 1) for port in ports)
        if most == 1 or ports[0].spec != Spec((most, *value.shape), value.dtype):
            return ""
        return f"; if its init is one row for each of {most} steps, give it as history="

    def _port(self, branch: Any) -> Node:
        """Return the port of the state that branch() returned as `branch`."""
        port = self.truncated.get(branch, branch) if isinstance(branch, Node) else None
        if port is None or port not in self.states:
            raise GraphError(self._no_such_state(branch))
        return port

    def _no_such_state(self, came: Any) -> str:
        states = ", ".join(f"'{port.name}'" for port in self.states) or "no state"
        what = describe(came) if isinstance(came, Node) else f"{type(came).__name__} {came!r:.60}"
        if isinstance(came, (tuple, list)):
            what = f"a {type(came).__name__} of {len(came)} (with lags=, any one of them will do)"
        return (
            f"loop '{self.name}' has no such state; pass what its branch() returned, but this is "
            f"{what}; its states are {states}"
        )

    def collect(self, node: LoopNode, value: Any, name: str | None) -> Node:
        self._check_open("collect()")
        inner = self._inside(value)
        self.collected.append((name or inner.name or f"out_{len(self.collected)}", inner))
        return self._handle(node, len(self.collected) - 1, name)

    def final(self, node: LoopNode, branch: Node) -> Node:
        branch = self._port(branch)
        if self.state == "open":
            return self._handle(node, branch, None)
        return self._final_of(node, branch)

    def _final_of(self, node: LoopNode, branch: Node) -> Node:
        index = _position(self.states, branch)
        output = apply(OPS["item"], (node,), {"index": index})
        return turned(output) if self.flipped and self.lags.get(branch, 1) > 1 else output

    def _handle(self, node: LoopNode, what: Node | int, name: str | None) -> Node:
        """Return the node an output will be; `close` fills it in."""
        handle: Node = object.__new__(Node)
        handle.op = OPS["item"]
        handle.inputs = ()
        handle.attrs = self._pending(what, name)
        handle.tracked = False
        handle.scope = node.scope
        handle.serial = 0
        handle.name = name
        handle.line = user_line()
        handle._value = handle._spec = None
        self.handles.append((handle, what))
        return handle

    def _pending(self, what: Node | int, name: str | None) -> dict[str, Any]:
        """Return how errors speak of an output until `close` fills it in."""
        if what is self.counter:
            pending = f"the number of steps that loop '{self.name}' takes"
            inside = "`index`, the number of the running step"
        elif isinstance(what, Node):
            pending = f"the final value of state '{what.name}' of loop '{self.name}'"
            inside = "the state that branch() returned, or what is fed to it"
        else:
            pending = f"'{name or self.collected[what][0]}' collected by loop '{self.name}'"
            inside = "the value that is collected, which is that of the running step"
        return {"pending": pending, "inside": inside}

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
        self._check_all_fed()
        self._check_length_known()
        self._put_condition_first()
        try:
            made = apply(OPS["loop"], *self._inputs_and_attrs())
        except LoopGradError as error:
            said = isinstance(error, NonFiniteError) or f"loop '{self.name}" in error.args[0]
            if not said:
                error.args = (f"{error.args[0]} (loop '{self.name}')",)
            raise
        _become(node, made)
        for handle, what in self.handles:
            _become(handle, self._output(node, what))

    def _inputs_and_attrs(self) -> tuple[list[Node], dict[str, Any]]:
        """Return what the loop is applied to, in the order of its ports, and its attrs."""
        outputs = {
            **_unique_names(list(self.states), [self.fed[b] for b in self.states]),
            **self._collected_names(),
        }
        captured = self._captured_by(outputs.values())
        ports = [*captured.values(), *self.states, *self.sequences]
        body = Graph.of(_unique_names(ports), outputs, self.name)
        outside = (*captured, *self.states.values(), *self.sequences.values())
        body = self._known(body, outside)
        counts = Ports(len(captured), len(self.states), len(self.sequences))
        self.flipped = self.options.reverse and self.going is not None  # such a loop runs forward
        lags = [self.lags.get(port, 1) for port in self.states]
        attrs = loop_attrs(
            body,
            counts,
            reverse=self.options.reverse and not self.flipped,
            lags=lags,
            length=None if self.sequences else self.options.limit,
            until=self.going is not None,
            bounded=self.options.bound is not None,
            counted=self.lengths is not None,
        )
        inputs = [*captured, *self._starts(lags), *self._moved_sequences()]
        if self.lengths is None:
            return inputs, attrs
        attrs["rows"] = trampoline(find_rows(body, counts, self.lengths.shape[0], self.name))
        if self.options.ragged == "mask":
            inputs, attrs = masked_loop(inputs, attrs)
            attrs["body"] = self._known(attrs["body"], inputs)
        return inputs, attrs

    def _known(self, body: Graph, inputs: Iterable[Node]) -> Graph:
        """Return the body that was drawn before, if this is drawn at every call: on tensors."""
        if self.scope.parent is None and not any([x.virtual for x in inputs]):
            return interned(body, keep=True)
        return body

    def _starts(self, lags: Sequence[int]) -> list[Node]:
        """Return the initial values of the states."""
        starts = list(self.states.values())
        if self.flipped:
            with drawing(self.scope.parent):
                starts = [turned(x) if k > 1 else x for x, k in zip(starts, lags, strict=True)]
        return starts

    def _moved_sequences(self) -> list[Node]:
        """Return the per-step inputs, those of other steps moved along."""
        with drawing(self.scope.parent):
            sequences = moved_along(self.sequences, self.delayed, self.lengths)
            if self.flipped:
                sequences = [OPS["flip"](xs, axes=(0,)) for xs in sequences]
        return sequences

    def _output(self, node: LoopNode, what: Node | int) -> Node:
        """Return the final value of state `what`, or stack number `what` of what was collected."""
        if isinstance(what, Node):
            return self._final_of(node, what)
        stack: Node = apply(OPS["item"], (node,), {"index": len(self.states) + what})
        return OPS["flip"](stack, axes=(0,)) if self.flipped else stack

    def _check_all_fed(self) -> None:
        for branch in self.states:
            if branch not in self.fed:
                raise GraphError(
                    f"state '{branch.name}' of loop '{self.name}' is never fed; call "
                    "feed(branch, value) so that the next step has a value"
                )

    def _put_condition_first(self) -> None:
        """Make `going` and `steps` the first two states, if the loop has an until()."""
        counter = self.counter
        if self.going is None or counter is None:
            return
        stop, unless = self.going
        with drawing(self.scope.parent):
            start = tensor(True) if unless is None else _opposite(unless)
        with drawing(self.scope):
            port = draw_input("going", start.spec, self.scope)
            port.line = user_line()
            self.fed[port] = _opposite(stop)
        rest = {x: init for x, init in self.states.items() if x is not counter}
        self.states = {port: start, counter: self.states[counter], **rest}

    def _check_length_known(self) -> None:
        if self.options.bound is not None and self.going is None:
            raise GraphError(
                f"loop '{self.name}' has a bound, but nothing stops it before; call until(stop), "
                "or give a length instead"
            )
        known = self.options.length is not None or self.sequences
        if not known and self.going is None:
            raise GraphError(
                f"loop '{self.name}' has neither a per-step input nor a length, so how often it "
                f"runs is not known; use each(xs), LoopNode('{self.name}', length=8) or until(stop)"
            )
        if not known and self.options.bound is None and self.collected:
            raise GraphError(
                f"collect() of loop '{self.name}': nobody knows how many rows it would return, "
                f"because only until() ends the loop; write LoopNode('{self.name}', bound=1000)"
            )
        if self.lengths is not None and not self.sequences:
            raise GraphError(f"loop '{self.name}' has lengths, but no per-step input; use each(xs)")

    def _captured_by(self, outputs: Iterable[Node]) -> dict[Node, Node]:
        """Return the captured values the body needs: what `_moved_out` drew outside is dropped."""
        captured = self.scope.captured
        used = set(ancestry(outputs, {*captured.values(), *self.states, *self.sequences}))
        kept = {x: port for x, port in captured.items() if port in used and x is not self.lengths}
        if self.lengths is None:
            return kept
        port = captured.get(self.lengths)
        if port is None:
            port = draw_input("lengths", self.lengths.spec, self.scope, False)
        return {self.lengths: port, **kept}  # a counted loop finds them first

    def _collected_names(self) -> dict[str, Node]:
        taken = dict.fromkeys(_unique_names(list(self.states)), 2)
        named: dict[str, Node] = {}
        for name, value in self.collected:
            named[unique_name(name, taken)] = value
        return named

    def _forget(self) -> None:
        """Let go of all but the states' order: a loop, drawn or failed, must not hold a cycle."""
        self.scope.captured = {}
        self.sequences = {}
        self.delayed = {}
        self.lines = {}
        self.fed = {}
        self.collected = []
        self.handles = []
        self.going = self.lengths = None
        self.block_starts = {}
        self.states = {port: port for port in self.states}


def _opposite(condition: Node) -> Node:
    """Return `not condition`; where that is a `not` itself, what it negates."""
    if condition.op is OPS["logical_not"]:
        return condition.inputs[0]
    opposite: Node = OPS["logical_not"](condition)
    return opposite


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
    node._frozen, node._pulled = made.frozen, made.origin
