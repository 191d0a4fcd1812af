"""What the nodes of a body are for all steps at once, and what that costs.

What a step computes from nothing that a state reaches is the same function at every step. The
`batch` rules of the ops give it for all steps by one call, with the steps as the first axis. (In
compilers this is loop distribution, and vectorisation of the part that carries nothing: Allen and
Kennedy 1987, "Automatic translation of FORTRAN programs to vector form".)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from autograd.describe import describe
from autograd.errors import LoopGradError
from autograd.graph import Graph
from autograd.node import Node
from autograd.op import Op
from autograd.ops.elementwise import Elementwise
from autograd.ops.products import matmul
from autograd.ops.shape import broadcast_to, matrix_transpose, reshape
from autograd.rewrite.cost import Cost, Machine, cost_of
from autograd.rewrite.engine import Context, title
from autograd.rewrite.nodes import like, renewed, substitute
from autograd.scope import drawing
from autograd.spec import UNKNOWN, Spec
from loops.form import most_steps
from loops.gradient import MAX_AXES
from loops.rewrite.parts import Parts, loops_in, stopped_by_data

VIEWS = ("item", "split", "unstack", "slice")
"""Ops, besides those that are `free`, whose outputs are parts of their input where they lie."""


LARGE = 1 << 28
"""Bytes that are held for all steps without asking how much a loop holds anyway."""

SHARE = 4
"""How many times what a loop reads and stacks may be held for it besides, if that is more."""


class Kind(IntEnum):
    """What a node of a body depends on."""

    SHARED = 0
    """Shared inputs and constants only: it is the same at every step."""
    STEP = 1
    """Per-step inputs, and no state."""
    STATE = 2
    """A state."""


def kinds_of(parts: Parts) -> dict[Node, Kind]:
    """Return the kind of each node of a body."""
    kinds = {x.port: Kind.SHARED for x in parts.shared}
    kinds |= {x.port: Kind.STATE for x in parts.states}
    kinds |= {x.port: Kind.STEP for x in parts.each}
    for node in parts.body.nodes:
        if node not in kinds:
            kinds[node] = max([kinds[x] for x in node.inputs], default=Kind.SHARED)
    return kinds


def uses_of(nodes: Iterable[Node], heads: Iterable[Node]) -> Counter[Node]:
    """Return how often each node is read, by others or as an output."""
    uses = Counter(heads)
    for node in nodes:
        uses.update(node.inputs)
    return uses


def ancestors_of(heads: Iterable[Node]) -> set[Node]:
    """Return `heads` and all nodes they depend on."""
    seen = set(heads)
    stack = list(seen)
    while stack:
        for x in stack.pop().inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return seen


Change = Callable[[Parts, int, list[Node], Context], dict[Node, Node]]
"""From a loop, the number of its steps and its outputs that are read, to what stands for nodes."""


def changed_loops(graph: Graph, context: Context, change: Change) -> Graph:
    """Return `graph` with `change` made to each loop all of whose steps surely run.

    A loop with an op whose `batch` rule refuses stays as it is. What is noted is called after it.
    """
    replacements: dict[Node, Node] = {}
    for node, items in loops_in(graph):
        parts = Parts.of(node)
        steps = steps_of(parts)
        if steps is None:
            context.left(graph, node, "taken apart", "its data may stop it before its last step")
            continue
        path = context.path
        context.path = f"{path}{title(node)}."
        refusal = ""
        try:
            replacements |= change(parts, steps, items, context)
        except RefusedError as error:
            refusal = str(error.args[0])
        context.path = path
        if refusal:
            context.left(graph, node, "taken apart", refusal)
    return substitute(graph, replacements)


def steps_of(parts: Parts) -> int | None:
    """Return the number of steps if each of them surely runs, else None.

    What a loop that its data stop leaves out must not be computed at all: it may warn, or raise.
    """
    attrs = parts.node.attrs
    if stopped_by_data(attrs):
        return None
    steps = most_steps([x.outer for x in parts.each], attrs)
    return None if steps is UNKNOWN else steps


def is_view(node: Node) -> bool:
    """Whether a node only looks at what its input holds."""
    return node.op.free or node.op.name in VIEWS


def is_product(node: Node, kinds: Mapping[Node, Kind]) -> bool:
    """Whether a node is a product with one matrix that all steps share.

    For all steps at once that is one large product, for which machines are made.
    """
    if node.op is not matmul:
        return False
    a, b = [(x, kinds[x]) for x in node.inputs]
    if b[1] is Kind.SHARED:
        return b[0].ndim <= 2 and a[1] is not Kind.SHARED
    return a[1] is Kind.SHARED and a[0].ndim <= 2 and b[0].ndim <= 2


def stackable(node: Node) -> bool:
    """Whether values may be stacked: in deep nests of loops arrays run out of axes."""
    spec: Any = node.spec
    return all([x.ndim < MAX_AXES for x in (spec if type(spec) is tuple else (spec,))])


def has_rule(node: Node) -> bool:
    """Whether a node may be drawn for all steps: not if it holds bodies or runs a user's code."""
    op = node.op
    if not all(map(stackable, (node, *node.inputs))):
        return False
    return op.name == "item" or (op.portable and type(op).batch is not Op.batch and not node.bodies)


class RefusedError(LoopGradError):
    """An op that has no result for all steps at once, though it has a rule."""


class AllSteps:
    """Draws nodes of a body outside of it, for all steps at once."""

    def __init__(self, parts: Parts, steps: int) -> None:
        self.steps = steps
        self.made: dict[Node, Any] = {x.port: x.outer for x in (*parts.shared, *parts.each)}
        self.varying = {x.port for x in parts.each}

    def give(self, node: Node, stack: Node) -> None:
        """Say that `stack` has the values of `node`."""
        self.made[node] = stack
        self.varying.add(node)

    def of(self, head: Node) -> Any:
        """Return what `head` is for all steps, or, if it is the same at each, what it is."""
        stack = [head]
        while stack:
            node = stack[-1]
            if node in self.made:
                stack.pop()
                continue
            missing = [x for x in node.inputs if x not in self.made]
            if missing:
                stack += missing
                continue
            stack.pop()
            self.made[node] = self._drawn(node)
        return self.made[head]

    def stacked(self, head: Node) -> Any:
        """Return what `head` is for all steps, repeated if it is the same at each."""
        value = self.of(head)
        if head in self.varying:
            return value
        with drawing(None):
            return broadcast_to(value, (self.steps, *value.shape))

    def _drawn(self, node: Node) -> Any:
        xs = [self.made[x] for x in node.inputs]
        if node.op.name == "item" and isinstance(xs[0], (tuple, list)):
            self.varying.add(node)
            return xs[0][node.attrs["index"]]
        batched = [x in self.varying for x in node.inputs]
        if not any(batched):
            same = all([x is y for x, y in zip(xs, node.inputs, strict=True)])
            return node if same else renewed(node, xs)
        self.varying.add(node)
        try:
            with drawing(None):
                value = for_all_steps(node, batched, xs)
        except LoopGradError as error:
            raise RefusedError(f"{describe(node)}, for all steps: {error.args[0]}") from error
        _check(node, value, self.steps)
        if isinstance(value, Node):
            return value if any([value is x for x in xs]) else like(value, node)
        if value and value[0].op.name == "item":
            like(value[0].inputs[0], node)
        return value


def _check(node: Node, value: Any, steps: int) -> None:
    specs: Any = node.spec if node.op.multiple else (node.spec,)
    values = value if node.op.multiple else (value,)
    for spec, y in zip(specs, values, strict=True):
        if y.spec != Spec((steps, *spec.shape), spec.dtype):
            raise RefusedError(
                f"the batch rule of op '{node.op.name}' returned {y.spec} for {steps} times {spec}"
            )


def for_all_steps(node: Node, batched: Sequence[bool], xs: Sequence[Any]) -> Any:
    """Return `node` for inputs of which some (`batched`) have the steps as their first axis."""
    if node.op is matmul and sum(batched) == 1:
        product = _one_product(batched[0], *xs)
        if product is not None:
            return product
    return node.op.batch(batched, *xs, **node.attrs)


def _one_product(first: bool, a: Any, b: Any) -> Any:
    """Return `a @ b`, for all steps, as one product with the matrix or vector they share, or None.

    `first` says that it is `a` that differs from step to step.
    """
    if first:
        return None if b.ndim > 2 else _times(a, b)
    if a.ndim > 2 or b.ndim > 3:
        return None
    turned = a if a.ndim == 1 else matrix_transpose(a)
    if b.ndim == 2:  # vectors: (T, K)
        return _times(b, turned)
    product = _times(matrix_transpose(b), turned)
    return product if a.ndim == 1 else matrix_transpose(product)


def _times(x: Any, w: Any) -> Any:
    """Return x @ w for x (T, ..., K) and w (K, N) or (K,), all rows of all steps together."""
    if x.ndim == 2:
        return matmul(x, w)
    rows = tall(x)
    y = matmul(rows, w)
    return reshape(y, (*x.shape[:-1], *w.shape[1:]))


def tall(x: Any) -> Any:
    """Return all rows of `x`, (..., K), one below the other: (n, K)."""
    if x.ndim == 2:
        return x
    count = 1
    for n in x.shape[:-1]:
        count *= n
    return reshape(x, (count, x.shape[-1]))


class Prices:
    """What nodes of a body cost, in seconds for all steps: in the loop, and outside of it."""

    def __init__(
        self, machine: Machine, parts: Parts, kinds: Mapping[Node, Kind], steps: int
    ) -> None:
        self.machine = machine
        self.kinds = kinds
        self.steps = steps
        self.held = sum([x.outer.spec.nbytes for x in parts.each])
        self.held += steps * sum([node_bytes(x.node) for x in parts.collected])

        self.room = max(LARGE, SHARE * self.held)

    def fits(self, nodes: Iterable[Node]) -> bool:
        """Whether the values of `nodes` in all steps may be held besides what is; they are then."""
        size = self.steps * sum([node_bytes(x) for x in nodes if not is_view(x)])
        if size > self.room:
            return False
        self.room -= size
        return True

    def why_not(self, node: Node, where: str) -> str:
        """Return why a node that could be computed outside is not."""
        outside, inside = self.outside(node), self.inside(node)
        if outside < inside:
            return f"its values take {node_bytes(node) * self.steps / 1e6:.0f} MB for all steps"
        return f"{microseconds(outside)} {where} the loop, {microseconds(inside)} in it"

    def inside(self, node: Node) -> float:
        """Return the seconds of a node that is computed in every step."""
        return self.steps * self.machine.seconds(self.step_cost(node))

    def step_cost(self, node: Node) -> Cost:
        """Return what a node takes in one step."""
        if is_view(node) or not node.inputs:
            return Cost()
        cost = cost_of(node)
        if self.machine.fuses and isinstance(node.op, Elementwise):
            return Cost(cost.flops, cost.bytes, 0)
        return cost

    def outside(self, node: Node) -> float:
        """Return the seconds of a node that is computed for all steps at once."""
        return self.machine.seconds(self.outside_cost(node))

    def outside_cost(self, node: Node) -> Cost:
        """Return what a node takes for all steps at once."""
        if is_view(node) or not node.inputs:
            return Cost()
        cost = cost_of(node)
        varying = sum([x.spec.nbytes for x in node.inputs if self.kinds[x] is not Kind.SHARED])
        shared = sum([x.spec.nbytes for x in node.inputs if self.kinds[x] is Kind.SHARED])
        moved = (varying + node_bytes(node)) * self.steps + shared
        return Cost(cost.flops * self.steps, moved, 1)

    def stacking(self, node: Node) -> float:
        """Return the seconds that writing the values of a node one below the other takes."""
        size = node_bytes(node) * self.steps
        return self.machine.seconds(Cost(0, size, 0), size)


def node_bytes(node: Node) -> int:
    """Return the bytes of the outputs of a node."""
    spec: Any = node.spec
    return sum([part.nbytes for part in spec]) if type(spec) is tuple else int(spec.nbytes)


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of some costs."""
    result = Cost()
    for cost in costs:
        result = result + cost
    return result


def microseconds(seconds: float) -> str:
    """Return a time for readers, in us."""
    return f"{seconds * 1e6:.3g} us"


def drawable(
    candidates: Iterable[Node], kinds: Mapping[Node, Kind], inputs: Collection[Node]
) -> set[Node]:
    """Return those `candidates` that have a rule, and so has all they depend on up to `inputs`."""
    found: set[Node] = set()
    for node in candidates:
        if has_rule(node) and all(
            [kinds[x] is Kind.SHARED or x in inputs or x in found for x in node.inputs]
        ):
            found.add(node)
    return found
