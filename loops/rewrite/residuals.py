"""Pass `residuals`: what is cheaply computed again is not stored from one loop to the next.

    1 - s, stacked beside s by a forward loop for its gradient  ->  s alone; 1 - s in the gradient

The function of stacked values, computed in a loop or between two loops, is computed again in the
loop that reads it: sinking, or rematerialisation (Briggs, Cooper, Torczon 1992,
"Rematerialization"). It pays where memory is slower than arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autograd.graph import Graph
from autograd.node import Node, draw_input
from autograd.op import DIVISION
from autograd.ops.elementwise import Elementwise
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import like, substitute
from autograd.rewrite.pipeline import register
from autograd.scope import drawing
from autograd.spec import Spec
from loops.form import ports_of
from loops.loop import loop
from loops.rewrite.parts import Entry, Parts, loops_in
from loops.rewrite.steps import microseconds, steps_of

LAW = "the same elementwise function of the same values, at the step that reads it"

MOST = 4
"""How many ops are computed again in place of one stored value."""


@dataclass(eq=False)
class Recipe:
    """How a sequence is computed, one step at a time, from what is stored anyway."""

    ops: list[Node]
    """Elementwise nodes, each after its inputs."""
    whole: bool
    """Whether they are nodes between loops, for all steps at once, not those of a body."""
    sequences: dict[Node, Node]
    """What they read that differs from step to step, and the sequence that has it."""
    shared: dict[Node, Node]
    """What they read that all steps share."""


def residuals(graph: Graph, context: Context) -> Graph:
    """Return `graph` with cheap functions of stored sequences computed again by their readers."""
    loops = [node for node, _ in loops_in(graph)]
    recipes = _Recipes(graph, loops, context).found()
    replacements = {}
    for node in loops if recipes else ():
        parts = Parts.of(node)
        wanted = [x for x in parts.each if x.outer in recipes]
        if wanted:
            parts.each = [x for x in parts.each if x.outer not in recipes]
            parts.rewire({x.port: _computed(parts, recipes[x.outer]) for x in wanted})
            replacements[node] = parts.put_together()[0].inputs[0]
    return substitute(graph, replacements)


class _Recipes:
    """Finds the sequences of a graph that are to be computed again."""

    def __init__(self, graph: Graph, loops: list[Node], context: Context) -> None:
        self.graph = graph
        self.loops = set(loops)
        self.context = context
        self.outputs = set(graph.outputs.values())
        self.chosen: dict[Node, Recipe] = {}

    def found(self) -> dict[Node, Recipe]:
        """Return a recipe for each sequence for which that is cheaper than to store it."""
        read = {x for node in self.loops for x in ports_of(node.attrs).split(node.inputs)[2]}
        for sequence in sorted(read, key=_place):
            readers = self._readers(sequence)
            recipe = self._recipe(sequence) if readers else None
            if recipe is not None:
                self._choose(sequence, recipe, readers)
        return self.chosen

    def _readers(self, sequence: Node) -> list[Node]:
        """Return the loops that read a sequence step by step, or none if anything else reads it."""
        readers = self.graph.consumers(sequence)
        for node in readers:
            if node not in self.loops:
                return []
            shared, states, _ = ports_of(node.attrs).split(node.inputs)
            if any([x is sequence for x in (*shared, *states)]):
                return []
        return [] if sequence in self.outputs else readers

    def _recipe(self, sequence: Node) -> Recipe | None:
        if _cheap(sequence):
            return self._of_stacks(sequence)
        source = sequence.inputs[0] if sequence.op.name == "item" else sequence
        index = sequence.attrs.get("index", 0) - source.attrs.get("states", 0)
        if source.op is not loop or index < 0 or steps_of(Parts.of(source)) is None:
            return None
        return self._of_body(Parts.of(source), index)

    def _of_stacks(self, head: Node) -> Recipe | None:
        """Return how a step of an elementwise node between loops is computed."""
        recipe = Recipe([], True, {}, {})
        done: set[Node] = set()
        pending = {head}
        while pending:
            node = max(pending, key=lambda x: x.serial)  # so all that reads it has been seen
            pending.remove(node)
            private = node not in self.outputs and done.issuperset(self.graph.consumers(node))
            if node is head or (private and _cheap(node)):
                done.add(node)
                recipe.ops.insert(0, node)
                pending.update(node.inputs)
            elif node.ndim < head.ndim:
                recipe.shared[node] = node
            elif node.ndim == head.ndim and node.shape[0] == head.shape[0]:
                recipe.sequences[node] = node
            else:
                return None
        return recipe if _small(recipe) else None

    def _of_body(self, parts: Parts, index: int) -> Recipe | None:
        """Return how what a loop stacks is computed from what else it stacks, and its inputs."""
        recipe = Recipe([], False, {}, {})
        stacked = self._stacked(parts)
        head = parts.collected[index].node
        stacked.pop(head, None)
        each = {x.port: x.outer for x in parts.each}
        shared = {x.port: x.outer for x in parts.shared}
        done: set[Node] = set()
        stack = [head]
        while stack:
            node = stack.pop()
            if node in done:
                continue
            done.add(node)
            if node in stacked or node in each:
                recipe.sequences[node] = stacked[node] if node in stacked else each[node]
            elif node in shared or (node.op.name == "constant" and not node.tracked):
                recipe.shared[node] = shared.get(node, node)
            elif _cheap(node):
                recipe.ops.append(node)
                stack += node.inputs
            else:
                return None
        recipe.ops.sort(key=lambda node: node.serial)
        return recipe if _small(recipe) else None

    def _stacked(self, parts: Parts) -> dict[Node, Node]:
        """Return the outputs of a loop that are stacked and read, and stay so."""
        items = {x.attrs["index"]: x for x in self.graph.consumers(parts.node)}
        first = len(parts.states)
        return {
            each.node: items[first + i]
            for i, each in enumerate(parts.collected)
            if first + i in items and items[first + i] not in self.chosen
        }

    def _choose(self, sequence: Node, recipe: Recipe, readers: Sequence[Node]) -> None:
        """Take a recipe if it is cheaper than to store the sequence, and tell."""
        again = _cost(recipe, sequence, self.context.machine.fuses)
        seconds = len(readers) * self.context.machine.seconds(again, 0)
        for node in readers:
            known = set(node.inputs)
            seconds += sum(
                [self._moving(x, 1) for x in recipe.sequences.values() if x not in known]
            )
        stored = self._moving(sequence, 1 + len(readers))
        did = "computed again at each step, not stored"
        before = Cost(0, sequence.spec.nbytes * (1 + len(readers)), 0)
        after = again * len(readers)
        if seconds < stored:
            self.chosen[sequence] = recipe
            self.context.moved(self.graph, sequence, did, LAW, before, after)
            return
        times = f"{microseconds(seconds)} again, {microseconds(stored)} to store and read it"
        self.context.left(self.graph, sequence, did, times, before, after)

    def _moving(self, sequence: Node, times: int) -> float:
        """Return the seconds that reading or writing a sequence so many times takes."""
        size: int = sequence.spec.nbytes
        return self.context.machine.seconds(Cost(0, size * times, 0), size)


def _place(sequence: Node) -> tuple[int, int]:
    """Return a key by which what a loop stacks comes in the order in which a step computes it."""
    if sequence.op.name != "item" or sequence.inputs[0].op is not loop:
        return sequence.serial, 0
    source, index = sequence.inputs[0], sequence.attrs["index"]
    body: Graph = source.attrs["body"]
    return source.serial, list(body.outputs.values())[index].serial


def _cheap(node: Node) -> bool:
    """Whether a node is elementwise and takes no more than a division an element."""
    return isinstance(node.op, Elementwise) and node.op.weight <= DIVISION


def _small(recipe: Recipe) -> bool:
    return bool(recipe.sequences) and 1 <= len(recipe.ops) <= MOST


def _cost(recipe: Recipe, sequence: Node, fused: bool) -> Cost:
    """Return what computing a sequence in a loop takes, in all steps.

    If elementwise ops are fused, what they read and write is in registers.
    """
    steps = sequence.shape[0]
    result = Cost()
    for node in recipe.ops:
        cost = cost_of(node) if recipe.whole else cost_of(node) * steps
        result = result + Cost(cost.flops, 0 if fused else cost.bytes, 0 if fused else steps)
    return result


def _computed(parts: Parts, recipe: Recipe) -> Node:
    """Return, in the body of a loop, the value of a sequence at a step."""
    made = {}
    for x, outer in recipe.sequences.items():
        step = Spec(outer.shape[1:], outer.dtype)
        made[x] = _port(parts.each, x.name or x.op.name, step, outer)
    for x, outer in recipe.shared.items():
        free = outer.op.name == "constant"
        made[x] = outer if free else _port(parts.shared, x.name or x.op.name, outer.spec, outer)
    with drawing(None):
        for node in recipe.ops:
            made[node] = like(node.op(*[made[x] for x in node.inputs], **node.attrs), node)
    return made[recipe.ops[-1]]


def _port(entries: list[Entry], name: str, spec: Spec, outer: Node) -> Node:
    """Return the port that is given `outer`; a new one of this name if there is none."""
    for entry in entries:
        if entry.outer is outer:
            return entry.port
    entries.append(Entry(name, draw_input(name, spec, None, outer.tracked), outer))
    return entries[-1].port


register(Pass("residuals", LAW, residuals))
