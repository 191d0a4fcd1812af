"""What an op costs on a machine: by this, passes choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autograd.graph import Graph
from autograd.node import Node
from autograd.op import Op
from autograd.spec import Spec
from autograd.trampoline import Task, trampoline


@dataclass(frozen=True)
class Cost:
    """Floating point operations, bytes read and written, and calls (of kernels, ufuncs)."""

    flops: int = 0
    bytes: int = 0
    calls: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes, self.calls + other.calls)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.flops * times, self.bytes * times, self.calls * times)


@dataclass(frozen=True)
class Machine:
    """What passes assume of the machine and the executor that is to run the graph."""

    call: float = 0.6e-6
    """Seconds a call takes before it does anything: a ufunc with `out=`."""
    flops: float = 100e9
    """Floating point operations a second in a large product."""
    bandwidth: float = 10e9
    """Bytes a second that stream from memory."""
    cache: int = 1 << 20
    """Bytes that stay close to a core: what fits is read and written for (nearly) nothing."""
    cached_bandwidth: float = 60e9
    """Bytes a second that stream from there."""
    fuses: bool = False
    """Whether elementwise ops that follow each other are one loop, without calls of their own."""
    fusable: Callable[[Node], bool] = lambda node: True
    """Which elementwise nodes it runs fused, of those there are."""

    def seconds(self, cost: Cost, working_set: int | None = None) -> float:
        """Return about how long `cost` takes; `working_set` are the bytes it goes over."""
        size = cost.bytes if working_set is None else working_set
        speed = self.cached_bandwidth if size <= self.cache else self.bandwidth
        return cost.calls * self.call + max(cost.flops / self.flops, cost.bytes / speed)


NUMPY = Machine(call=0.25e-6, bandwidth=30e9)
"""As measured on a 2-core Xeon with AVX-512: a ufunc on (1, 16) takes 0.20 us, a product 0.24, a
copy 0.09, a reduction 0.25 (where it is a product) to 0.9; and an add streams 31 GB a second."""
NATIVE = Machine(call=0.05e-6, fuses=True)


def cost_of(node: Node) -> Cost:
    """Return the cost of one run of a node without bodies, as it stands."""
    return op_cost(node, [x.spec for x in node.inputs], node.spec)


def op_cost(node: Node, inputs: list[Spec], output: Spec | tuple[Spec, ...]) -> Cost:
    """Return the cost of the op of `node` for inputs and outputs of these specs."""
    op = node.op
    if op.free or not node.inputs or op.name == "item":
        return Cost()
    outputs = output if isinstance(output, tuple) else (output,)
    moved = sum([spec.nbytes for spec in (*inputs, *outputs)])
    return Cost(op.flops(inputs, output, node.attrs), moved, 1)


def graph_cost(graph: Graph) -> Cost:
    """Return the cost of one run of `graph`: bodies as often as they run at most.

    Of the bodies of a branch, that of the most flops and bytes counts.
    """
    cost: Cost = trampoline(_graph_cost(graph, {}))
    return cost


def _graph_cost(graph: Graph, known: dict[Graph, Cost]) -> Task:
    if graph in known:
        return known[graph]
    total = Cost()
    for node in graph.nodes:
        if not node.bodies or type(node.op).flops is not Op.flops:  # it is computed as one op
            total += cost_of(node)
            continue
        inside = []
        for body in node.bodies:
            inside.append((yield _graph_cost(body, known)))
        trips = node.op.trips([x.spec for x in node.inputs], node.attrs)
        if trips.one_of:
            inside = [max(inside, key=lambda cost: (cost.flops, cost.bytes))]
        total += sum(inside, start=Cost()) * (trips.count or 1)
    known[graph] = total
    return total
