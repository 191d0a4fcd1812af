"""The parts of an explanation: frozen data for programs. `autograd.explain.text` writes them out.

A *loop* here is any node with bodies: a branch is reported as one too, as one of several bodies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from autograd.draw.label import quoted
from autograd.errors import GraphError
from autograd.node import Node
from autograd.op import Trips
from autograd.spec import Spec


class Dependence(IntEnum):
    """What a node of a loop's body depends on; of two, the larger is what both together do."""

    INVARIANT = 0
    """On what the steps share only: it could be done once, before the loop."""
    EACH = 1
    """On per-step inputs and not on a state: it could be done for all steps at once."""
    STATE = 2
    """On what the step before has left: it must be done step by step."""

    def __str__(self) -> str:
        return ("loop-invariant", "per step", "state")[self]


@dataclass(frozen=True)
class Count:
    """A number of flops, bytes or steps, and whether it is exact."""

    value: int = 0
    at_most: bool = False
    """Loops may stop early, or a branch may take a cheaper body."""
    at_least: bool = False
    """Something of a size that only data decide is left out."""

    def __add__(self, other: Count) -> Count:
        return self._with(self.value + other.value, other)

    def __mul__(self, other: Count) -> Count:
        return self._with(self.value * other.value, other)

    def _with(self, value: int, other: Count) -> Count:
        return Count(value, self.at_most or other.at_most, self.at_least or other.at_least)

    def __str__(self) -> str:
        if self.at_most and self.at_least:
            return f"about {self.value:,}"
        return "at most " * self.at_most + "at least " * self.at_least + f"{self.value:,}"


ONE = Count(1)


def how_often(trips: Trips) -> Count:
    """Return how often a body runs each time its node does; 0 and more where only data decide."""
    if trips.count is None:
        return Count(0, at_least=True)
    return Count(trips.count, at_most=not trips.exact)


@dataclass(frozen=True)
class PortReport:
    """An input of a graph or body."""

    kind: str
    """`input` of a graph; of a body `shared`, `state`, `each` or `operand`."""
    name: str
    spec: Spec
    source: str = ""
    """What feeds it, as the text of the graph writes it."""
    then: str = ""
    """For a state: what feeds it in later steps, a node of the body."""
    lag: int = 1
    """For a state: how many steps later."""


@dataclass(frozen=True)
class ExitReport:
    """An output of a graph or body."""

    kind: str
    """`output` of a graph; of a body `final`, `stacked` (collected) or `result`."""
    name: str
    spec: Spec
    """Outside the loop: that of a stacked output has the steps in front."""
    source: str


@dataclass(frozen=True)
class Saved:
    """A value kept for the backward."""

    name: str
    """The path of the node, such as `step.h`."""
    spec: Spec
    times: Count
    """How often it is saved: once, or once a step."""

    @property
    def nbytes(self) -> Count:
        """Bytes in all. Where only the data decide how often: 0, marked `at_least`."""
        return Count(self.spec.nbytes) * self.times


@dataclass(frozen=True, eq=False)
class NodeReport:
    """A node that computes something (or holds bodies: then with all they compute)."""

    name: str
    node: Node
    flops: Count
    """For one application; see `Op.flops` for what counts."""
    moved: Count
    """Bytes of all inputs and outputs of one application; 0 for mere views."""
    depends: Dependence | None
    """What it depends on, in the innermost loop; None outside of loops."""
    carried: bool
    """Whether a later step of that loop depends on it."""

    @property
    def op(self) -> str:
        return self.node.op.name

    def __repr__(self) -> str:
        return f"<{self.name}: {self.op}, {self.flops} flops>"


def _dearest_first(nodes: Iterable[NodeReport]) -> list[NodeReport]:
    return sorted([n for n in nodes if n.flops.value], key=lambda n: -n.flops.value)


@dataclass(frozen=True, eq=False)
class BodyReport:
    """A graph: the outermost one, or the body of a loop. Costs are those of running it once."""

    name: str
    ports: tuple[PortReport, ...]
    exits: tuple[ExitReport, ...]
    nodes: tuple[NodeReport, ...]
    """In order, leaves and picked outputs left out."""
    loops: tuple[LoopReport, ...]
    flops: Count
    moved: Count
    by_op: Mapping[str, int]
    """Flops by the name of the op, those of inner bodies included."""

    def depending(self, on: Dependence) -> list[NodeReport]:
        """Return the nodes of that class that compute something, the dearest first."""
        return _dearest_first([node for node in self.nodes if node.depends is on])

    @property
    def only_handed_out(self) -> list[NodeReport]:
        """The nodes that depend on a state and that no later step depends on, as `depending`.

        Were what they read collected, they could be done for all steps at once, after the loop.
        """
        state = Dependence.STATE
        return _dearest_first([n for n in self.nodes if n.depends is state and not n.carried])

    def __repr__(self) -> str:
        return f"<body {self.name}: {len(self.nodes)} nodes, {self.flops} flops>"


@dataclass(frozen=True, eq=False)
class LoopReport:
    """A node that holds bodies: a loop or a branch."""

    path: str
    """Its name, after those of the loops around it: `rows.columns`."""
    node: Node
    trips: Trips
    """How often the bodies run each time the node does."""
    runs: Count
    """How often the node itself runs in one run of the graph."""
    bodies: tuple[BodyReport, ...]
    flops: Count
    """For one run of the node: all steps, or the dearest body of a branch."""
    moved: Count
    depends: Dependence | None
    """What it depends on, in the loop around it."""
    saved: tuple[Saved, ...] | None
    """What its gradient would save in one run of the node, beside its outputs; None: see `why`."""
    why: str = ""
    """Why nothing can be said of `saved`."""

    @property
    def op(self) -> str:
        return self.node.op.name

    @property
    def steps(self) -> int | None:
        """How many steps it takes (at most, unless `trips.exact`); None where only data decide."""
        return self.trips.count

    @property
    def saved_twice(self) -> dict[str, str]:
        """States that are saved and so is what feeds them, the same values one step apart.

        From the name of the state to what feeds it, as `PortReport.then` has it.
        """
        written = {quoted(item.name) for item in self.saved or ()}
        fed = {port.name: port.then for body in self.bodies for port in body.ports if port.then}
        return {x: then for x, then in fed.items() if {quoted(x), then} <= written}

    @property
    def saved_bytes(self) -> Count:
        """What its gradient would save in one run of the node."""
        return sum((item.nbytes for item in self.saved or ()), Count())

    def __repr__(self) -> str:
        return f"<{self.op} {self.path}: {len(self.bodies)} bodies, {self.flops} flops>"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a graph computes, moves and would save; `str()` of it is a report."""

    body: BodyReport
    """The graph itself."""
    parameters: Mapping[str, Spec]
    saved: tuple[Saved, ...]
    """What a backward keeps: what the outermost loops save, and values of nodes outside of loops
    that depend on what is differentiated (what their rules read is not declared)."""

    @property
    def name(self) -> str:
        return self.body.name

    @property
    def loops(self) -> tuple[LoopReport, ...]:
        """The outermost loops; each has those in its bodies."""
        return self.body.loops

    @property
    def flops(self) -> Count:
        return self.body.flops

    @property
    def moved(self) -> Count:
        """Bytes read and written by all nodes, as if nothing stayed in a cache."""
        return self.body.moved

    @property
    def saved_bytes(self) -> Count:
        return sum((item.nbytes for item in self.saved), Count())

    @property
    def parameter_bytes(self) -> int:
        return sum(spec.nbytes for spec in self.parameters.values())

    def walk(self) -> Iterator[LoopReport]:
        """Yield all loops, each before those in its bodies."""
        stack = list(reversed(self.loops))
        while stack:
            loop = stack.pop()
            yield loop
            stack += reversed([inner for body in loop.bodies for inner in body.loops])

    def __getitem__(self, path: str) -> LoopReport:
        """Return the loop of that path."""
        for loop in self.walk():
            if loop.path == path:
                return loop
        known = ", ".join(loop.path for loop in self.walk()) or "none"
        raise GraphError(f"graph '{self.name}' has no loop '{path}'; its loops are {known}")

    def __repr__(self) -> str:
        return f"<Explanation of {self.name}: {self.flops} flops, {self.saved_bytes} bytes saved>"

    def __str__(self) -> str:
        from autograd.explain.text import to_text

        return to_text(self)
