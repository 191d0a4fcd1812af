"""Pass `regroup`: products and sums so arranged that no state reaches as much of them as possible.

    ((g + gh) * s) * (1 - s)  ->  (g + gh) * (s * (1 - s))
    g - g * y * y             ->  g * (1 - y * y)
    x @ u + (h @ w + b)       ->  (x @ u + b) + h @ w

What then depends on per-step inputs only can be computed for all steps at once (`batch`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from autograd.graph import Graph
from autograd.node import Node
from autograd.ops.elementwise import add, multiply, negative, subtract
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, substitute, with_body
from autograd.rewrite.pipeline import register
from autograd.scope import drawing
from loops.rewrite.parts import Parts
from loops.rewrite.steps import Kind, changed_loops, kinds_of, uses_of

LAW = "products and sums are associative and commutative, and distribute, but for rounding"

Term = tuple[Node, bool]
"""A term of a sum, and whether it is subtracted."""


def regroup(graph: Graph, context: Context) -> Graph:
    """Return `graph` with products and sums in the bodies of its loops regrouped."""
    return changed_loops(graph, context, _regrouped)


def _regrouped(parts: Parts, _: int, __: list[Node], context: Context) -> dict[Node, Node]:
    if not parts.each:
        return {}
    body = _grouped(_factored(parts.body, parts, context), parts, context)
    return {} if body is parts.body else {parts.node: with_body(parts.node, {"body": body})}


def _factored(body: Graph, parts: Parts, context: Context) -> Graph:
    """Return a body with x - x * p written as x * (1 - p), where no state reaches p."""
    kinds = kinds_of(parts)
    uses = uses_of(body.nodes, body.outputs.values())
    replacements: dict[Node, Node] = {}
    for node in body.nodes:
        if node.op is multiply or kinds[node] is not Kind.STATE or not _real(node):
            continue
        found = _common_factor(node, kinds, uses)
        if found is None:
            continue
        x, rest, swapped = found
        with drawing(None):
            p = _product(rest)
            if node.op is add:
                factor = p + 1.0
            else:
                factor = p - 1.0 if swapped else 1.0 - p
            replacements[node] = like(x * factor, node)
        context.moved(body, node, "taken apart by a factor that a state reaches", LAW)
    return substitute(body, replacements)


def _common_factor(
    node: Node, kinds: Mapping[Node, Kind], uses: Mapping[Node, int]
) -> tuple[Node, list[Node], bool] | None:
    """Return (x, rest, whether x comes last) of x - x * rest, if no state reaches the rest."""
    a, b = node.inputs
    for x, y, swapped in ((a, b, False), (b, a, True)):
        if y.op is not multiply or uses[y] > 1 or kinds[x] is not Kind.STATE:
            continue
        factors = _factors(y, uses)
        places = [i for i, factor in enumerate(factors) if factor is x]
        if not places:
            continue
        factors.pop(places[0])
        reach = [kinds[factor] for factor in factors]
        if Kind.STATE not in reach and Kind.STEP in reach:
            return x, factors, swapped
    return None


def _grouped(body: Graph, parts: Parts, context: Context) -> Graph:
    """Return a body in which factors, and terms, that no state reaches are put together first."""
    if body is not parts.body:
        parts = Parts.of(with_body(parts.node, {"body": body}))
    kinds = kinds_of(parts)
    uses = uses_of(body.nodes, body.outputs.values())
    inner: set[Node] = set()
    replacements: dict[Node, Node] = {}
    for node in reversed(body.nodes):
        if node in inner or kinds[node] is not Kind.STATE or not _real(node):
            continue
        regrouped = _regrouped_product if node.op is multiply else _regrouped_sum
        new = regrouped(node, kinds, uses, inner)
        if new is not None:
            replacements[node] = like(new, node)
            context.moved(body, node, "what no state reaches put together first", LAW)
    return substitute(body, replacements)


def _regrouped_product(
    node: Node, kinds: Mapping[Node, Kind], uses: Mapping[Node, int], inner: set[Node]
) -> Node | None:
    factors = _factors(node, uses, inner)
    free, reached = _divided(factors, kinds)
    if not _enables(free, kinds) or _joined(node, multiply, uses, kinds) <= len(reached):
        return None
    with drawing(None):
        return _product([*reached, _product(free)])


def _regrouped_sum(
    node: Node, kinds: Mapping[Node, Kind], uses: Mapping[Node, int], inner: set[Node]
) -> Node | None:
    terms = _terms(node, uses, inner)
    signs = {x: minus for x, minus in terms}
    free, reached = _divided([x for x, _ in terms], kinds)
    if len(signs) < len(terms) or not _enables(free, kinds):
        return None
    if _joined(node, add, uses, kinds) <= len(reached):
        return None
    with drawing(None):
        return _sum([(x, signs[x]) for x in (*sorted(free, key=signs.__getitem__), *reached)])


def _divided(nodes: Sequence[Node], kinds: Mapping[Node, Kind]) -> tuple[list[Node], list[Node]]:
    """Return those that no state reaches, what steps share last, and those that one reaches."""
    free = [x for x in nodes if kinds[x] is not Kind.STATE]
    free.sort(key=lambda x: kinds[x] is Kind.SHARED)
    return free, [x for x in nodes if kinds[x] is Kind.STATE]


def _enables(free: Sequence[Node], kinds: Mapping[Node, Kind]) -> bool:
    """Whether there is something to put together that differs from step to step."""
    return len(free) > 1 and any([kinds[x] is Kind.STEP for x in free])


def _joined(node: Node, op: object, uses: Mapping[Node, int], kinds: Mapping[Node, Kind]) -> int:
    """Return how many ops of the tree under `node` a state reaches."""
    ops = (multiply,) if op is multiply else (add, subtract)
    count = 0
    stack = [node]
    while stack:
        x = stack.pop()
        count += 1
        stack += [y for y in x.inputs if y.op in ops and uses[y] == 1 and kinds[y] is Kind.STATE]
    return count


def _factors(node: Node, uses: Mapping[Node, int], inner: set[Node] | None = None) -> list[Node]:
    """Return the factors of a product, in order; what is used elsewhere too stays whole."""
    found = []
    stack = [node]
    while stack:
        x = stack.pop()
        if x is node or (x.op is multiply and uses[x] == 1 and x.dtype == node.dtype):
            stack += reversed(x.inputs)
            if inner is not None:
                inner.add(x)
        else:
            found.append(x)
    return found


def _terms(node: Node, uses: Mapping[Node, int], inner: set[Node]) -> list[Term]:
    """Return the terms of a sum, in order; what is used elsewhere too stays whole."""
    found = []
    stack = [(node, False)]
    while stack:
        x, minus = stack.pop()
        if x is node or (x.op in (add, subtract) and uses[x] == 1 and x.dtype == node.dtype):
            a, b = x.inputs
            stack += [(b, minus != (x.op is subtract)), (a, minus)]
            inner.add(x)
        else:
            found.append((x, minus))
    return found


def _product(factors: Sequence[Node]) -> Node:
    result: Node = reduce(multiply, factors)
    return result


def _sum(terms: Sequence[Term]) -> Node:
    first, minus = terms[0]
    result: Node = negative(first) if minus else first
    for x, subtracted in terms[1:]:
        result = subtract(result, x) if subtracted else add(result, x)
    return result


def _real(node: Node) -> bool:
    """Whether a node is a sum or product of values of its own float dtype."""
    joins = node.op is multiply or node.op is add or node.op is subtract
    return joins and node.spec.floating and all([x.dtype == node.dtype for x in node.inputs])


register(Pass("regroup", LAW, regroup, rounding=True))
