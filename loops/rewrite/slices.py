"""What one output of a loop depends on, told in a way that is the same for other loops.

A loop and the one that saves for its gradient are different loops, though most of what they compute
is the same. So outputs are compared one by one: two are equal if what leads to them in a step is
the same, and is given the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.trampoline import Task, trampoline
from loops.form import lags_of, ports_of
from loops.loop import loop

SMALL = 1024
"""Bytes up to which constants are compared by value; larger ones are equal if they are one node."""

PLAIN = (bool, int, float, str, bytes, type(None))


@dataclass(frozen=True)
class Slice:
    """What leads to an output: a digest of the steps, and the inputs they read, in its order.

    Digests hold for graphs that are there at the same time.
    """

    digest: bytes
    reads: tuple[int, ...]
    """Positions among the inputs of the node."""


def same_source(node: Node) -> Hashable:
    """Return a key that two nodes have in common only if their values surely are equal."""
    if node.op.name == "constant" and not node.tracked and node.spec.nbytes <= SMALL:
        return node.spec, node._value.tobytes()
    return "node", id(node)  # a node is no key: its == draws another


def is_output(node: Node) -> bool:
    """Whether `node` is an output of a loop that is compared output by output."""
    if node.op.name != "item":
        return False
    source = node.inputs[0]
    return source.op is loop and not source.attrs.get("rows")


def what(node: Node) -> Hashable:
    """Return a key of the op of a node with its attrs: what it does to its inputs.

    No other node has that of a user's function: nobody promises that it gives the same again.
    """
    op = node.op
    if not op.portable:
        return "node", id(node)
    name = op.name if OPS.get(op.name) is op else (op.name, id(op))
    return name, tuple([(key, _plain(value)) for key, value in sorted(node.attrs.items())])


def _plain(value: Any) -> Hashable:
    """Return a key of an attr. (A bool is no int here: `x[True]` is not `x[1]`.)"""
    if type(value) is Graph:
        digest: bytes = trampoline(signature(value))
        return digest
    if type(value) is tuple:
        return tuple([_plain(part) for part in value])
    return (type(value), repr(value)) if isinstance(value, PLAIN) else ("object", id(value))


def slice_of(node: Node, index: int) -> Task:
    """Return the Slice of output `index` of a loop; a task, as loops nest. Kept with the body."""
    attrs = node.attrs
    body: Graph = attrs["body"]
    flags = tuple([(key, value) for key, value in sorted(attrs.items()) if key != "body"])
    key = ("slice", flags, index)
    if key not in body._cache:
        body._cache[key] = _sliced(attrs, index, (yield _inner(body)))
    return body._cache[key]


def _sliced(attrs: dict[str, Any], index: int, inner: Mapping[Node, Slice]) -> Slice:
    body: Graph = attrs["body"]
    ports = ports_of(attrs)
    inputs, outputs = list(body.inputs.values()), list(body.outputs.values())
    place = {port: i for i, port in enumerate(inputs)}
    lags = lags_of(attrs)
    reads: list[int] = []
    states: list[int] = []

    def port(node: Node) -> Hashable:
        reads.append(place[node])
        state = place[node] - ports.shared
        if 0 <= state < ports.states:
            states.append(state)
            return "state", lags[state], len(reads)
        return "shared" if state < 0 else "each", len(reads)

    telling = Telling(port, inner)
    shared, before, each = ports.split(inputs)
    steering = shared[:1] if attrs.get("counted") else before[:2] if attrs.get("until") else []
    head = before[index] if index < ports.states else outputs[index]
    ends = [telling.tell(x) for x in (*steering, *each[:1], head)]
    for state in states:  # which grows as more of them are met
        ends.append(telling.tell(outputs[state]))
    flags = [attrs.get(key) for key in ("reverse", "length", "until", "bounded", "counted")]
    specs = [inputs[i].spec for i in reads]
    kind = "final" if index < ports.states else "stacked"
    return Slice(telling.digest(kind, flags, specs, ends), tuple(reads))


def signature(graph: Graph) -> Task:
    """Return a digest that is equal for graphs that do the same; a task. Kept with the graph."""
    if "signature" not in graph._cache:
        inputs = {node: i for i, node in enumerate(graph.inputs.values())}
        telling = Telling(lambda node: ("port", inputs[node]), (yield _inner(graph)))
        ends = [telling.tell(node) for node in graph.outputs.values()]
        specs = [node.spec for node in inputs]
        graph._cache["signature"] = telling.digest(specs, ends)
    return graph._cache["signature"]


def _inner(graph: Graph) -> Task:
    """Return the slices of outputs of loops in `graph`, signatures of other bodies being ready."""
    found = {}
    for node in graph.nodes:
        if is_output(node):
            found[node] = yield slice_of(node.inputs[0], node.attrs["index"])
        elif node.bodies and (node.op is not loop or node.attrs.get("rows")):
            for body in node.bodies:
                yield signature(body)
    return found


class Telling:
    """Nodes told one after the other, each after what it reads, alike ones once."""

    def __init__(self, port: Callable[[Node], Hashable], inner: Mapping[Node, Slice]) -> None:
        self.port = port
        self.inner = inner
        self.places: dict[Node, int] = {}
        self.rows: dict[Hashable, int] = {}

    def tell(self, head: Node) -> int:
        """Tell `head` and all it depends on; return its place."""
        stack = [head]
        while stack:
            node = stack[-1]
            if node in self.places:
                stack.pop()
                continue
            read = self._read(node)
            missing = [x for x in read if x not in self.places]
            if missing:
                stack += missing[::-1]
                continue
            stack.pop()
            row = self._row(node, [self.places[x] for x in read])
            self.places[node] = self.rows.setdefault(row, len(self.rows))
        return self.places[head]

    def _read(self, node: Node) -> Sequence[Node]:
        if node in self.inner:
            return [node.inputs[0].inputs[i] for i in self.inner[node].reads]
        return node.inputs

    def _row(self, node: Node, read: Sequence[int]) -> Hashable:
        if node.op.name == "input":
            return self.port(node)
        if node in self.inner:
            return self.inner[node].digest, *read
        if not node.inputs and not node.bodies:
            return same_source(node)
        return what(node), *read

    def digest(self, *more: Any) -> bytes:
        """Return a digest of all that was told, and of `more`."""
        return blake2b(repr((list(self.rows), more)).encode(), digest_size=16).digest()
