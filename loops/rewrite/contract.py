"""Pass `contract`: a state that only adds up becomes one sum over all steps, after the loop.

    acc = acc + h.T @ d  ->  reshape(hs, (T * B, H)).T @ reshape(ds, (T * B, K))
    acc = acc + sum(d, 0)  ->  sum over both axes of ds

The first is one large product in place of T small ones that each write a whole matrix: sums over
steps of products are products over steps and rows together. What is linear is taken out of the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.ops.elementwise import Elementwise, add, divide, multiply, negative, subtract
from autograd.ops.products import matmul
from autograd.ops.reduce import sum as sum_over
from autograd.ops.shape import broadcast_to, matrix_transpose, ravel, reshape, sum_to, swapaxes
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, renewed
from autograd.rewrite.pipeline import register
from autograd.scope import drawing
from loops.rewrite.accumulators import Accumulator, accumulators
from loops.rewrite.parts import Collected, Parts, State
from loops.rewrite.steps import (
    AllSteps,
    Kind,
    Prices,
    ancestors_of,
    changed_loops,
    has_rule,
    is_view,
    kinds_of,
    microseconds,
    node_bytes,
    stackable,
    tall,
    total,
    uses_of,
)

LAW = "a sum of products over steps is a product over steps and rows together, but for rounding"

LINEAR = ("reshape", "swapaxes", "permute_dims", "expand_dims", "squeeze")
"""Ops that are linear whatever their attrs are, and only look at what they are given."""


@dataclass(frozen=True, eq=False)
class Term:
    """A part of what is added in a step: `outer` ops, all linear, applied to `core`."""

    core: Node
    outer: tuple[tuple[Node, int], ...]
    """Each with the position of its input that differs from step to step; the last comes first."""
    minus: bool


def contract(graph: Graph, context: Context) -> Graph:
    """Return `graph` with sums over the steps of loops taken out of them."""
    return changed_loops(graph, context, _without_sums)


def _without_sums(
    parts: Parts, steps: int, items: list[Node], context: Context
) -> dict[Node, Node]:
    found = accumulators(parts)
    if not found:
        return {}
    planning = _Planning(parts, Prices(context.machine, parts, kinds_of(parts), steps))
    chosen = planning.chosen(found, context)
    return _contracted(planning, chosen, items) if chosen else {}


class _Planning:
    """Which accumulators of a loop to contract, and what must be stacked for that."""

    def __init__(self, parts: Parts, prices: Prices) -> None:
        self.parts = parts
        self.prices = prices
        self.kinds = prices.kinds
        self.free = {x.port for x in parts.each}
        self.stacked = {x.node for x in parts.collected}
        self.uses = uses_of(parts.body.nodes, parts.heads)

    def chosen(
        self, found: Sequence[Accumulator], context: Context
    ) -> dict[Accumulator, list[Term]]:
        """Return the accumulators that it pays to contract: all together, or some by themselves."""
        terms = {each: self._terms(each) for each in found}
        able = [each for each in found if self._able(terms[each])]
        for group in [able, *[[each] for each in able]] if len(able) > 1 else [able]:
            if not group:
                continue
            inside, outside = self._seconds(group, terms)
            pays = outside < inside and self._fits(group, terms)
            for each in group if pays or len(group) == 1 else ():
                self._note(each, terms[each], pays, (inside, outside), context)
            if pays and group is able:
                return {each: terms[each] for each in able}
            if not pays and len(group) == 1:
                terms.pop(group[0])
        return {each: terms[each] for each in able if each in terms}

    def _terms(self, found: Accumulator) -> list[Term]:
        """Return the terms, linear ops taken off them."""
        terms = []
        stack = [Term(node, (), minus) for node, minus in reversed(found.terms)]
        while stack:
            term = stack.pop()
            parts = self._taken_apart(term)
            if parts is None:
                terms.append(term)
            else:
                stack += reversed(parts)
        return terms

    def _taken_apart(self, term: Term) -> list[Term] | None:
        """Return the terms that a term is made of; what is used elsewhere too stays whole."""
        node, outer, minus = term.core, term.outer, term.minus
        if self.uses[node] > 1 or self.kinds[node] is Kind.SHARED:
            return None
        if node.op is add or node.op is subtract:
            if any([x.spec != node.spec or self.kinds[x] is Kind.SHARED for x in node.inputs]):
                return None
            a, b = node.inputs
            return [Term(a, outer, minus), Term(b, outer, minus != (node.op is subtract))]
        if node.op is negative:
            return [Term(node.inputs[0], outer, not minus)]
        varying = [i for i, x in enumerate(node.inputs) if self.kinds[x] is not Kind.SHARED]
        if len(varying) != 1 or not _is_linear(node, varying[0]):
            return None
        place = varying[0]
        return [Term(node.inputs[place], (*outer, (node, place)), minus)]

    def _able(self, terms: Sequence[Term]) -> bool:
        """Whether all terms differ from step to step (others are counted), and can be stacked."""
        varying = all([self.kinds[term.core] is not Kind.SHARED for term in terms])
        return varying and all(map(stackable, self.to_stack(terms, set())))

    def to_stack(self, terms: Iterable[Term], left: set[Node]) -> list[Node]:
        """Return what must be stacked besides what is; `left` is what the loop computes anyway."""
        stacks: dict[Node, None] = {}
        ordered = sorted(terms, key=lambda term: factors(term.core) is None)
        for head in [x for term in ordered for x in operands(term.core)]:
            self._add_stacks(head, left, stacks)
        return list(stacks)

    def _add_stacks(self, head: Node, left: set[Node], stacks: dict[Node, None]) -> None:
        stack = [head]
        while stack:
            node = stack.pop()
            if self._at_hand(node, stacks):
                continue
            if node.op.name == "item" and not is_view(node.inputs[0]):
                stacks[node] = None
            elif self._drawn_outside(node, left, stacks):
                stack += node.inputs
            else:
                stacks[node] = None

    def _at_hand(self, node: Node, stacks: Mapping[Node, None]) -> bool:
        known = node in self.free or node in self.stacked or node in stacks
        return known or self.kinds[node] is Kind.SHARED

    def _drawn_outside(self, node: Node, left: set[Node], stacks: Mapping[Node, None]) -> bool:
        """Whether a node is computed for all steps, not in the loop, to be summed."""
        if not has_rule(node):
            return False
        if is_view(node):
            return True
        if node in left or node.op.multiple:
            return False
        if self.kinds[node] is Kind.STEP:
            return True
        ready = all([self._at_hand(x, stacks) for x in node.inputs])
        prices = self.prices
        inside = prices.inside(node) + prices.stacking(node)
        return ready and isinstance(node.op, Elementwise) and prices.outside(node) < inside

    def _fits(self, group: Sequence[Accumulator], terms: Mapping[Accumulator, list[Term]]) -> bool:
        """Whether what must be stacked, and computed from stacks, for a group may be held."""
        some = [term for each in group for term in terms[each]]
        stacks = self.to_stack(some, self.left(group))
        return self.prices.fits([*stacks, *self._computed(some, stacks)])

    def _seconds(
        self, group: Sequence[Accumulator], terms: Mapping[Accumulator, list[Term]]
    ) -> tuple[float, float]:
        """Return the seconds that a group of accumulators takes in the loop, and contracted."""
        left = self.left(group)
        inside = sum([self.prices.inside(x) for x in self.parts.body.nodes if x not in left])
        all_terms = [term for each in group for term in terms[each]]
        stacks = self.to_stack(all_terms, left)
        outside = sum([self.prices.stacking(x) for x in stacks])
        outside += sum([self.prices.inside(x) for x in self._dead(stacks, left)])
        outside += sum([self.prices.outside(x) for x in self._computed(all_terms, stacks)])
        machine = self.prices.machine
        outside += sum([machine.seconds(self._cost(term)) for term in all_terms])
        return inside, outside

    def left(self, group: Sequence[Accumulator]) -> set[Node]:
        """Return what the loop still computes without these accumulators."""
        gone = {each.state for each in group}
        heads = [x.after for x in self.parts.states if x not in gone]
        return ancestors_of([*heads, *[x.node for x in self.parts.collected]])

    def _dead(self, stacks: Sequence[Node], left: set[Node]) -> set[Node]:
        """Return what the loop computes only in order to stack it."""
        return ancestors_of(stacks) - left

    def _computed(self, terms: Iterable[Term], stacks: Sequence[Node]) -> set[Node]:
        """Return what is computed for all steps before it is summed."""
        seen: set[Node] = set()
        known = dict.fromkeys(stacks)
        stack = [x for term in terms for x in operands(term.core)]
        while stack:
            node = stack.pop()
            if node not in seen and not self._at_hand(node, known):
                seen.add(node)
                stack += node.inputs
        return seen

    def _cost(self, term: Term) -> Cost:
        """Return what the sum of a term takes: a product or a reduction, and the linear ops."""
        steps = self.prices.steps
        read = sum([node_bytes(x) for x in operands(term.core)]) * steps
        flops = cost_of(term.core).flops if factors(term.core) is not None else 0
        return Cost(flops * steps, read + node_bytes(term.core), 1 + len(term.outer))

    def _note(
        self,
        each: Accumulator,
        terms: Sequence[Term],
        pays: bool,
        seconds: tuple[float, float],
        context: Context,
    ) -> None:
        costs = [self.prices.step_cost(x) for x in each.chain]
        costs += [self.prices.step_cost(term.core) for term in terms]
        before = total(costs) * self.prices.steps
        after = total([self._cost(term) for term in terms])
        node = each.chain[-1]
        if pays:
            context.moved(
                self.parts.body, node, "summed over all steps at once", LAW, before, after
            )
            return
        times = f"{microseconds(seconds[1])} after the loop, {microseconds(seconds[0])} in it"
        context.left(self.parts.body, node, "summed over all steps at once", times, before, after)


def _is_linear(node: Node, place: int) -> bool:
    """Whether `node` is linear in the one input that differs from step to step."""
    if node.op.name not in LINEAR and node.op not in (matmul, multiply, divide):
        return False
    if node.op is divide and place:
        return False
    return bool(node.inputs[place].dtype == node.dtype)


def operands(core: Node) -> list[Node]:
    """Return the values whose stacks the sum of `core` over all steps is computed from."""
    pair = factors(core)
    if pair is not None:
        return [x.inputs[0] if _is_transpose(x) else x for x in pair]
    if core.op is sum_to or core.op is OPS["sum"]:
        return [core.inputs[0]]
    return [core]


def factors(core: Node) -> tuple[Node, Node] | None:
    """Return the factors of a product that may be taken over steps and rows together, or None."""
    a, b = core.inputs[:2] if len(core.inputs) > 1 else (core, core)
    if core.op is matmul:
        same_stack = a.shape[:-2] == b.shape[:-2] and a.ndim == b.ndim
        return (a, b) if same_stack or max(a.ndim, b.ndim) <= 2 else None
    if core.op is multiply and core.ndim == 2:
        m, n = core.shape
        for first, second in ((a, b), (b, a)):
            if first.shape == (m, 1) and second.shape in ((n,), (1, n)):
                return a, b
    return None


def _is_transpose(node: Node) -> bool:
    if node.op.name != "swapaxes" or node.ndim != 2:
        return False
    return bool(node.attrs["axis1"] % 2 != node.attrs["axis2"] % 2)


def _contracted(
    planning: _Planning, chosen: Mapping[Accumulator, list[Term]], items: Sequence[Node]
) -> dict[Node, Node]:
    """Return what stands for the outputs of a loop without the accumulators `chosen`."""
    parts = planning.parts
    terms = [term for each in chosen.values() for term in each]
    stacks = planning.to_stack(terms, planning.left(list(chosen)))
    gone = {each.state: each for each in chosen}
    parts.states = [x for x in parts.states if x not in gone]
    parts.collected += [Collected(x.name or x.op.name, x) for x in stacks]
    outputs = parts.outputs()
    outside = AllSteps(parts, planning.prices.steps)
    for each in parts.collected:
        if planning.kinds[each.node] is not Kind.SHARED:
            outside.give(each.node, outputs[each])
    for item in items:
        index = item.attrs["index"]
        result = parts.results[index]
        if isinstance(result, State) and result in gone:
            with drawing(None):
                parts.results[index] = _sum(outside, chosen[gone[result]], gone[result])
    return parts.handed_out(items, outputs)


def _sum(outside: AllSteps, terms: Sequence[Term], accumulator: Accumulator) -> Node:
    """Return the final value of an accumulator: its initial one and the sums of its terms."""
    init = accumulator.state.outer
    result = None if is_zero(init) else init
    for term in terms:
        value = _applied(outside, term)
        if result is None:
            result = negative(value) if term.minus else value
        else:
            result = subtract(result, value) if term.minus else add(result, value)
    if result is None:
        return init
    like(result, accumulator.chain[-1])
    whole: Node = result if result.spec == init.spec else broadcast_to(result, init.shape)
    return whole


def is_zero(node: Node) -> bool:
    """Whether a node is a constant of zeros."""
    return node.op.name == "constant" and not node.tracked and not node.value.any()


def _applied(outside: AllSteps, term: Term) -> Node:
    """Return the sum of a term over all steps: that of its core, and the linear ops on it."""
    value: Node = _core_sum(outside, term.core)
    for node, place in reversed(term.outer):
        xs = [value if i == place else outside.of(x) for i, x in enumerate(node.inputs)]
        value = renewed(node, xs)
    return value


def _core_sum(outside: AllSteps, core: Node) -> Any:
    pair = factors(core)
    if pair is not None:
        return _product_sum(outside, core, *pair)
    if core.op is sum_to:
        return sum_to(outside.of(core.inputs[0]), shape=core.attrs["shape"])
    if core.op is OPS["sum"]:
        x = outside.of(core.inputs[0])
        axes = (0, *[a + 1 for a in core.attrs["axis"]])
        result = sum_over(x, axes)
        return reshape(result, core.shape) if core.attrs["keepdims"] else result
    return sum_over(outside.of(core), 0)


def _product_sum(outside: AllSteps, core: Node, a: Node, b: Node) -> Any:
    """Return the sum of a @ b over all steps: one product over steps and rows together."""
    if core.op is multiply:  # of a column and a row
        left, right = (a, b) if a.shape == (core.shape[0], 1) else (b, a)
        m, n = core.shape
        rows = reshape(outside.stacked(left), (outside.steps, m))
        columns = reshape(outside.stacked(right), (outside.steps, n))
        return matmul(matrix_transpose(rows), columns)
    if a.ndim > 2:
        return _stacks_sum(outside.stacked(a), outside.stacked(b))
    rows = _rows(outside, a, transposed=True)
    columns = _rows(outside, b, transposed=False)
    return matmul(matrix_transpose(rows) if rows.ndim == 2 else rows, columns)


def _rows(outside: AllSteps, x: Node, transposed: bool) -> Any:
    """Return all rows of x (or of its transpose) in all steps, or all elements of a vector."""
    if x.ndim == 1:
        return ravel(outside.stacked(x))
    if not transposed:
        return tall(outside.stacked(x))
    if _is_transpose(x):
        return tall(outside.stacked(x.inputs[0]))
    return tall(matrix_transpose(outside.stacked(x)))


def _stacks_sum(a: Any, b: Any) -> Any:
    """Return the sum over t of a[t] @ b[t], stacks of matrices (T, ..., M, K) and (T, ..., K, N).

    The steps are put beside the axis that is summed over anyway.
    """
    steps, *stack, m, k = a.shape
    n = b.shape[-1]
    for axis in range(len(stack)):  # (..., T, M, K)
        a, b = swapaxes(a, axis, axis + 1), swapaxes(b, axis, axis + 1)
    left = reshape(swapaxes(a, -3, -2), (*stack, m, steps * k))
    return matmul(left, reshape(b, (*stack, steps * k, n)))


register(Pass("contract", LAW, contract, rounding=True))
