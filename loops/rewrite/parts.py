"""A loop taken apart into its ports, and put together again from what a pass leaves of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autograd.graph import Graph, ancestors, unique_name
from autograd.node import OPS, Node
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.nodes import like, renewed, rewired
from autograd.scope import drawing
from autograd.spec import Spec
from loops.form import Ports, lags_of, loop_attrs, ports_of
from loops.loop import loop

DERIVED = ("body", "shared", "states", "each", "reverse", "length", "lags")
"""Attrs that follow from the parts, or are passed on by name."""


@dataclass(eq=False)
class Entry:
    """A shared or a per-step input: its port in the body, and what it is given outside."""

    name: str
    port: Node
    outer: Node


@dataclass(eq=False)
class State(Entry):
    """A state: `outer` is its initial value, `after` the node of the body it is fed with."""

    after: Node
    result: str
    """What the body calls its next value."""
    lag: int


@dataclass(eq=False)
class Collected:
    """A node of the body that is stacked over the steps."""

    name: str
    node: Node


Result = State | Collected | Node
"""What an output of a loop is: a state's final value, a stack, or a node outside of the loop."""


@dataclass(eq=False)
class Parts:
    """The ports of the loop `node`, in lists that a pass may change before it is put together."""

    node: Node
    shared: list[Entry]
    states: list[State]
    each: list[Entry]
    collected: list[Collected]
    results: dict[int, Result] = field(default_factory=dict)
    """What stands for each output of `node`, by its index there."""

    @classmethod
    def of(cls, node: Node) -> Parts:
        """Return the parts of a loop as it is."""
        body: Graph = node.attrs["body"]
        ports = ports_of(node.attrs)
        entries = zip(body.inputs.items(), node.inputs, strict=True)
        shared, states, each = ports.split([(*port, outer) for port, outer in entries])
        after, collected = ports.split_outputs(list(body.outputs.items()))
        parts = cls(
            node,
            [Entry(*entry) for entry in shared],
            [
                State(*entry, fed, result, lag)
                for entry, (result, fed), lag in zip(
                    states, after, lags_of(node.attrs), strict=True
                )
            ],
            [Entry(*entry) for entry in each],
            [Collected(*entry) for entry in collected],
        )
        parts.results = dict(enumerate([*parts.states, *parts.collected]))
        return parts

    @property
    def body(self) -> Graph:
        """The body as it was."""
        body: Graph = self.node.attrs["body"]
        return body

    @property
    def heads(self) -> list[Node]:
        """The outputs of the body."""
        return [*[x.after for x in self.states], *[x.node for x in self.collected]]

    def rewire(self, others: Mapping[Node, Node]) -> None:
        """Have the body read others in place of the nodes that are keys of `others`."""
        heads = rewired(self.heads, others)
        for state in self.states:
            state.after = heads.pop(0)
        for output, head in zip(self.collected, heads, strict=True):
            output.node = head

    def nodes(self) -> list[Node]:
        """Return the nodes of the body as it is now, each after its inputs."""
        return ancestors(self.heads)

    def cost(self) -> Cost | None:
        """Return what all steps cost; None if that is not simply a sum, as bodies are inside."""
        nodes = self.nodes()
        if any([node.bodies for node in nodes]):
            return None
        trips = self.node.op.trips([x.spec for x in self.node.inputs], self.node.attrs).count
        return sum([cost_of(node) for node in nodes], Cost()) * (trips or 1)

    def put_together(self) -> list[Node]:
        """Return the outputs of a loop made of the parts, which is named like the old one."""
        entries = [*self.shared, *self.states, *self.each]
        taken: dict[str, int] = {}
        inputs = {unique_name(x.name, taken): x.port for x in entries}
        taken = {}
        outputs = {unique_name(x.result, taken): x.after for x in self.states}
        outputs |= {unique_name(x.name, taken): x.node for x in self.collected}
        old = self.node.attrs
        attrs = loop_attrs(
            Graph.of(inputs, outputs, self.body.name),
            Ports(len(self.shared), len(self.states), len(self.each)),
            reverse=old["reverse"],
            length=old["length"],
            lags=[x.lag for x in self.states],
            **{key: value for key, value in old.items() if key not in DERIVED},
        )
        node = renewed(self.node, [x.outer for x in entries], attrs)
        specs: tuple[Spec, ...] = loop.infer(*[x.spec for x in node.inputs], **attrs)
        node._spec = specs
        node.tracked = any(x.tracked for x in node.inputs) and any(x.floating for x in specs)
        with drawing(None):
            return [OPS["item"](node, index=i) for i in range(len(specs))]

    def outputs(self) -> dict[Result, Node]:
        """Return what each state and each collected output is, once the parts are together."""
        kept: list[Result] = [*self.states, *self.collected]
        return dict(zip(kept, self.put_together(), strict=True)) if kept else {}

    def replacements(self, items: Iterable[Node]) -> dict[Node, Node]:
        """Return what stands for `items`, outputs of the old loop, once the parts are together."""
        return self.handed_out(items, self.outputs())

    def handed_out(
        self, items: Iterable[Node], outputs: Mapping[Result, Node], first: int = 0
    ) -> dict[Node, Node]:
        """Return what stands for `items`, outputs of an old loop, among `outputs` of a new one.

        `first` is the place in `results` where those of that old loop begin.
        """
        found = {}
        for item in items:
            result = self.results[first + item.attrs["index"]]
            found[item] = new = result if isinstance(result, Node) else outputs[result]
            if new is not result and new.name is None:
                like(new, item)
        return found


def loops_in(graph: Graph) -> list[tuple[Node, list[Node]]]:
    """Return the loops of a graph whose bodies may change, with those outputs that are read.

    The body of a ragged loop is drawn or derived again for fewer rows, so it stays as it is.
    """
    read: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if node.op is loop and not node.attrs.get("rows"):
            read[node] = []
        elif node.op.name == "item" and node.inputs[0] in read:
            read[node.inputs[0]].append(node)
    return list(read.items())


def stopped_by_data(attrs: Mapping[str, Any]) -> bool:
    """Whether not all steps need to run, so that rows of what is stacked may be left at zero."""
    return bool(attrs.get("until") or attrs.get("counted"))
