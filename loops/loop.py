"""LoopNode: a node whose attribute is a body graph, run once per step.

Positions are the same everywhere, in the node, the body and the gradient, which is a LoopNode too:

    node inputs    [shared | initial states | sequences ]   node outputs  [final states | stacked]
    body inputs    [shared | states         | slices    ]   body outputs  [next states  | collected]

`Ports` is the only place that counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from autograd.errors import GraphError, ShapeError
from autograd.execute.reference import steps
from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.op import Exit, Op, Port, register
from autograd.spec import Array, Spec
from autograd.trampoline import Task, trampoline

T = TypeVar("T")
MAX_LENGTH = 2**31 - 1


@dataclass(frozen=True)
class Ports:
    """How many ports of each kind a loop has; splits anything that is listed in their order."""

    shared: int
    states: int
    each: int

    def split(self, xs: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
        """Return the parts of `xs` that belong to shared ports, states and per-step inputs."""
        a, b = self.shared, self.shared + self.states
        return list(xs[:a]), list(xs[a:b]), list(xs[b:])

    def split_outputs(self, ys: Sequence[T]) -> tuple[list[T], list[T]]:
        """Return the parts of `ys` that belong to states and to collected outputs."""
        return list(ys[: self.states]), list(ys[self.states :])


class Loop(Op):
    """The op of LoopNode. Attrs: `body`, the counts of `Ports`, `reverse`, `length`.

    `length` is None where per-step inputs say how long the loop runs, so that the same graph
    serves any length. With `reverse`, step T-1 runs first; slices and outputs keep their index.
    """

    multiple = True

    def forward(self, *arrays: Array, **attrs: Any) -> Any:
        return trampoline(self.run(arrays, attrs, None, ""))

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
        body: Graph = attrs["body"]
        shared, states, sequences = ports_of(attrs).split(values)
        order = _order(sequences, attrs)
        collected = [node.spec for node in body.outputs.values()][len(states) :]
        stacks = [_empty(len(order), spec) for spec in collected]
        at_once = watch is None and body.flat
        for t in order:
            inputs = [*shared, *states, *[xs[t] for xs in sequences]]
            if at_once:
                outputs = body.program.run(inputs)
            else:
                outputs = yield steps(body, inputs, watch, f"{path}[{t}].")
            states = outputs[: len(states)]
            for stack, value in zip(stacks, outputs[len(states) :], strict=True):
                stack[t] = value
        return (*states, *stacks)

    def infer(
        self,
        *specs: Spec,
        body: Graph,
        shared: int,
        states: int,
        each: int,
        reverse: bool,
        length: int | None,
    ) -> tuple[Spec, ...]:
        ports = Ports(shared, states, each)
        _check_counts(specs, body, ports, reverse, length)
        given = ports.split(specs)
        wanted = ports.split([node.spec for node in body.inputs.values()])
        names = ports.split(list(body.inputs))
        next_states, collected = ports.split_outputs([n.spec for n in body.outputs.values()])
        for name, spec, port in zip(names[0], given[0], wanted[0], strict=True):
            if spec != port:
                raise ShapeError(f"the body expects '{name}' to be {port}, but it is {spec}")
        for name, spec, port in zip(names[2], given[2], wanted[2], strict=True):
            if spec.shape[1:] != port.shape or spec.ndim == 0 or spec.dtype != port.dtype:
                raise ShapeError(
                    f"per-step input '{name}' gives the body {port} each step, so it must be "
                    f"{_stacked('T', port)}, but it is {spec}"
                )
        for name, spec, port, after in zip(names[1], given[1], wanted[1], next_states, strict=True):
            if not spec == port == after:
                raise ShapeError(state_changed(name, spec, after))
        steps_taken = _length(given[2], names[2], length)
        return (*given[1], *[Spec((steps_taken, *s.shape), s.dtype) for s in collected])

    def fit(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Task:
        body: Graph = attrs["body"]
        shared, states, sequences = ports_of(attrs).split(specs)
        wanted = [*shared, *states, *[Spec(s.shape[1:], s.dtype) for s in sequences]]
        if wanted == [node.spec for node in body.inputs.values()]:
            return attrs
        redrawn = yield body.redrawn(dict(zip(body.inputs, wanted, strict=True)))
        return {**attrs, "body": redrawn}

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Any:
        from loops.gradient import loop_gradient

        return loop_gradient(needs, g, y, xs, attrs)

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        from loops.batch import batched_loop

        return batched_loop(batched, xs, attrs)

    def expand(self, node: Node, inputs: Sequence[Node], path: str) -> list[Node]:
        """Lay the loop out: one copy of the body a step, named `path[t].name`."""
        attrs = node.attrs
        body: Graph = attrs["body"]
        shared, states, sequences = ports_of(attrs).split(inputs)
        names = ports_of(attrs).split(list(body.inputs))[2]
        rows: list[list[Node]] = []
        for t in _order(sequences, attrs):
            prefix = f"{path}[{t}]."
            slices = [xs[t].named(prefix + name) for xs, name in zip(sequences, names, strict=True)]
            outputs = body.inline([*shared, *states, *slices], prefix)
            states = outputs[: len(states)]
            rows.append(outputs[len(states) :])
        if attrs["reverse"]:
            rows.reverse()
        stacked = []
        for i, (name, out) in enumerate(list(body.outputs.items())[len(states) :]):
            if rows:
                stacked.append(OPS["stack"](*[row[i] for row in rows], axis=0))
            else:
                stacked.append(_no_steps(out.spec))
            if stacked[-1].name is None:
                stacked[-1].named(f"{path}.{name}")
        return [*states, *stacked]

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        return (attrs["body"],)

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        ports = ports_of(attrs)
        total = ports.shared + ports.states + ports.each
        shared, states, each = ports.split(range(total))
        entries = [
            *[Port("shared", i, i) for i in shared],
            *[Port("state", i, i, fed_by=i - ports.shared) for i in states],
            *[Port("each", i, i) for i in each],
        ]
        outputs = range(len(attrs["body"].outputs))
        exits = [Exit("final" if i < ports.states else "stacked", i, i) for i in outputs]
        return tuple(entries), tuple(exits)

    def output_name(self, attrs: dict[str, Any], index: int) -> str:
        return str(list(attrs["body"].outputs)[index])

    def label(self, attrs: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if attrs["length"] is not None:
            shown["length"] = attrs["length"]
        if attrs["reverse"]:
            shown["reverse"] = True
        return shown


def _order(sequences: Sequence[Any], attrs: dict[str, Any]) -> range:
    """Return the steps of a loop over `sequences` (arrays or nodes), in the order they run."""
    length = sequences[0].shape[0] if sequences else attrs["length"]
    return range(length - 1, -1, -1) if attrs["reverse"] else range(length)


def ports_of(attrs: dict[str, Any]) -> Ports:
    """Return the counts of ports a loop's attrs hold."""
    return Ports(attrs["shared"], attrs["states"], attrs["each"])


def state_changed(name: str, before: Spec, after: Spec) -> str:
    """Return what is said of a state that does not come out of a step as it went in."""
    return (
        f"state '{name}' enters the loop as {before}, but is {after} after one step; a state keeps "
        "its shape and dtype, so change its initial value or what is fed to it"
    )


def _check_counts(
    specs: Sequence[Spec], body: Any, ports: Ports, reverse: Any, length: Any
) -> None:
    """Check attrs as a file may give them: of the right types, and adding up."""
    numbers = (ports.shared, ports.states, ports.each)
    if not all(type(n) is int and n >= 0 for n in numbers) or type(reverse) is not bool:
        raise GraphError(
            f"a loop counts its ports in whole numbers >= 0 and its reverse is a bool, but "
            f"they are {numbers} and {reverse!r}"
        )
    if not isinstance(body, Graph):
        raise GraphError(f"the body of a loop must be a graph, but is {type(body).__name__}")
    if not sum(numbers) == len(specs) == len(body.inputs) or len(body.outputs) < ports.states:
        raise GraphError(
            f"a loop with {numbers[0]} shared ports, {numbers[1]} states and {numbers[2]} per-step "
            f"inputs does not fit a body with {len(body.inputs)} inputs and {len(body.outputs)} "
            f"outputs and a node with {len(specs)} inputs"
        )
    if length is not None and (type(length) is not int or not 0 <= length <= MAX_LENGTH):
        raise GraphError(
            f"the length of a loop is a whole number from 0 to {MAX_LENGTH}, but is {length!r}"
        )


def _length(sequences: Sequence[Spec], names: Sequence[str], length: int | None) -> int:
    """Return the number of steps, on which per-step inputs must agree."""
    if not sequences:
        if length is None:
            raise GraphError(
                "a loop without per-step inputs needs a length: LoopNode(name, length=8)"
            )
        return length
    lengths = [spec.shape[0] for spec in sequences]
    if len(set(lengths)) > 1:
        each = ", ".join(f"'{name}' has {n}" for name, n in zip(names, lengths, strict=True))
        raise ShapeError(f"per-step inputs must have equally many steps, but {each}")
    return lengths[0]


def _stacked(length: Any, spec: Spec) -> str:
    return f"{spec.dtype.name}[{', '.join(map(str, (length, *spec.shape)))}]"


def _empty(length: int, spec: Spec) -> Array:
    return np.empty((length, *spec.shape), spec.dtype)


def _no_steps(spec: Spec) -> Node:
    from autograd.node import constant

    return constant(_empty(0, spec))


class LoopNode(Node):
    """A loop, drawn in a `with` block: what is drawn inside is the body, run once per step.

        with LoopNode("rnn") as rnn:
            x = rnn.each(xs)                          # one slice of xs a step
            before = rnn.branch("h", ag.zeros((1, 4)))  # from the step before; first: the zeros
            h = ag.tanh(x @ u + before @ w)           # u and w are captured: shared by all steps
            rnn.feed(before, h)
            hs = rnn.collect(h)                       # stacked over steps; usable after the block
        last = rnn.final(before)

    `length` is needed only where no per-step input gives it. With `reverse` the last step runs
    first.
    """

    __slots__ = ("_builder",)
    _builder: Any

    def __init__(self, name: str = "loop", length: int | None = None, reverse: bool = False):
        from loops.builder import start

        start(self, name, length, reverse)

    def __enter__(self) -> LoopNode:
        self._builder.open()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._builder.close(self, failed=kind is not None)

    def each(self, xs: Any, name: str | None = None) -> Node:
        """Return the slice `xs[t]` that step t sees. `xs` lies outside; its first axis is time.

        A parameter may be given: each step then has its own part of it.
        """
        port: Node = self._builder.each(xs, name)
        return port

    def branch(self, name: str, init: Any) -> Node:
        """Return the state `name`: `init` in the first step, then what `feed` gave it."""
        port: Node = self._builder.branch(name, init)
        return port

    def feed(self, branch: Node, value: Any) -> None:
        """Make `value` what `branch` is in the next step."""
        self._builder.feed(branch, value)

    def collect(self, value: Any, name: str | None = None) -> Node:
        """Return `value` of all steps, stacked along a new first axis, usable after the block."""
        node: Node = self._builder.collect(self, value, name)
        return node

    def final(self, branch: Node) -> Node:
        """Return what the last step fed to `branch` (its initial value if there is no step)."""
        node: Node = self._builder.final(self, branch)
        return node

    @property
    def body(self) -> Graph:
        """The graph of one step."""
        self._check_drawn("body")
        body: Graph = self.attrs["body"]
        return body

    @property
    def length(self) -> int:
        """The number of steps."""
        self._check_drawn("length")
        sequences = ports_of(self.attrs).split(self.inputs)[2]
        return len(_order(sequences, self.attrs))

    def _check_drawn(self, what: str) -> None:
        if "body" not in self.attrs:
            raise GraphError(
                f"loop '{self.name}' has no {what}: its `with` block has not ended, or it was "
                "computed from tensors that are not recorded; draw it from autograd.input"
            )


loop = register(Loop("loop"))
Loop.node_type = LoopNode


def repeat(
    body: Graph,
    shared: Sequence[Any] = (),
    init: Sequence[Any] = (),
    each: Sequence[Any] = (),
    length: int | None = None,
    reverse: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Return `(final states, stacked outputs)` of running `body` once per step, as one node.

    The inputs of `body` are [shared, states, slices], its outputs [next states, collected]. This
    is the door for a body that is drawn once and used many times.
    """
    parameters = ", ".join(body.parameters)
    if parameters:
        raise GraphError(
            f"the body '{body.name}' given to repeat holds {parameters} itself; make them inputs "
            "of the body and pass them in `shared`, so that their gradient comes out"
        )
    if len(body.inputs) != len(shared) + len(init) + len(each) or len(body.outputs) < len(init):
        raise GraphError(
            f"repeat was given {len(shared)} shared values, {len(init)} states and {len(each)} "
            f"per-step inputs, but the body '{body.name}' has {len(body.inputs)} inputs "
            f"({', '.join(body.inputs)}) and {len(body.outputs)} outputs; its inputs are [shared, "
            "states, slices], its outputs [next states, collected]"
        )
    attrs = {
        "body": body,
        "shared": len(shared),
        "states": len(init),
        "each": len(each),
        "reverse": reverse,
        "length": None if each else length,
    }
    outputs = loop(*shared, *init, *each, **attrs)
    return ports_of(attrs).split_outputs(outputs)
