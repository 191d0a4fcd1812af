"""A state before each step is the stack of what it is after each step, one step late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autograd.graph import Graph
from autograd.node import Node
from autograd.ops.delay import delays
from autograd.rewrite.engine import Context, Pass, title
from autograd.rewrite.nodes import like, substitute
from autograd.rewrite.pipeline import register
from autograd.scope import drawing
from loops.form import ports_of
from loops.loop import loop
from loops.rewrite.parts import Collected, Parts, State, loops_in, stopped_by_data

LAW = "what a step starts from is what the step before it, or the initial value, left"


def history(graph: Graph, context: Context) -> Graph:
    """Return `graph` in which loops stack what states become, and never also what they were.

    What they were is the op `delays` of that, with the initial value before the first step (in a
    loop that runs in reverse: after the last). An executor keeps both as one array of T + 1 rows.
    """
    replacements: dict[Node, Node] = {}
    for node, items in loops_in(graph):
        parts = Parts.of(node)
        late = stacked_late(parts)
        if not late:
            continue
        names = ", ".join(dict.fromkeys([x.name for x in late.values()]))
        if stopped_by_data(node.attrs) and not only_taken_steps(graph, node, items, late):
            why = "rows of steps that do not run are zero, and one step late they would not all be"
            context.left(graph, node, f"stacks {names} late", why)
            continue
        context.moved(graph, node, f"stacks {names} late", LAW)
        stack_next(parts, late)
        for item, stack in parts.replacements(items).items():
            state = late.get(item.attrs["index"])
            if state is None:
                replacements[item] = stack
            else:
                replacements[item] = like(delayed(stack, state, node.attrs["reverse"]), item)
    return substitute(graph, replacements)


def stacked_late(parts: Parts) -> dict[int, State]:
    """Return which of the loop's outputs are states before each step, and the states.

    Not those of a state that is fed with a state: what it becomes is late itself.
    """
    states = {x.port: x for x in parts.states}
    late: dict[int, State] = {}
    for i, result in parts.results.items():
        state = states.get(result.node) if isinstance(result, Collected) else None
        if state is not None and state.after not in states:
            late[i] = state
    return late


def only_taken_steps(
    graph: Graph, node: Node, items: Sequence[Node], late: Mapping[int, State]
) -> bool:
    """Whether nobody reads rows of steps that a loop, stopped by its data, does not take.

    So it is where its gradient alone reads them, which counts its steps back. (In reverse, the row
    of the first step would be read from behind the steps taken.)
    """
    rows = {item for item in items if item.attrs["index"] in late}
    if node.attrs["reverse"] or rows.intersection(graph.outputs.values()):
        return False
    for user in graph.nodes:
        if user.op.name == "item" or rows.isdisjoint(user.inputs):
            continue
        if user.op is not loop or user.attrs.get("rows") or not user.attrs.get("counted"):
            return False
        shared, states, _ = ports_of(user.attrs).split(user.inputs)
        if not rows.isdisjoint((*shared, *states)) or not _counts_steps_of(node, shared[0]):
            return False
    return True


def _counts_steps_of(node: Node, count: Node) -> bool:
    """Whether `count` surely is how many steps the loop `node` takes."""
    if node.attrs.get("counted"):
        return count is node.inputs[0]
    start = node.inputs[node.attrs["shared"] + 1]
    is_steps = count.op.name == "item" and count.inputs[0] is node and count.attrs["index"] == 1
    return is_steps and start.op.name == "constant" and not start._value


def stack_next(parts: Parts, late: Mapping[int, State]) -> None:
    """Have the loop collect what the states become, once each, in place of what they were."""
    gone = {parts.results[i] for i in late}
    parts.collected = [x for x in parts.collected if x not in gone]
    stacks = {x.node: x for x in reversed(parts.collected)}
    for i, state in late.items():
        if state.after not in stacks:
            stacks[state.after] = Collected(title(state.after), state.after)
            parts.collected.append(stacks[state.after])
        parts.results[i] = stacks[state.after]


def delayed(stack: Node, state: State, reverse: bool) -> Node:
    """Return what `state` was before each step, from the stack of what it is after each.

    Its initial value (with a lag: values) is in the order of time, like the rows of `delays`.
    """
    side, lag = ("after", -state.lag) if reverse else ("before", state.lag)
    with drawing(None):
        late: Node = delays(stack, state.outer, lags=(lag,), **{side: "fill"})[0]
    late.inputs[0].named(f"{state.name}_before")
    return late


register(Pass("history", LAW, history))
