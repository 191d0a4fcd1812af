"""The gradient of a loop is two loops: the same one again, saving; and one the other way.

Take the vjp of the body on fresh inputs. Of its nodes, those that need no incoming gradient can be
computed going forward; those of them that the others read are the *residuals*. Then

    saving loop    body: [w | s | x]                 -> [s2 | y, residuals]      forward again
    gradient loop  body: [w | gs, acc | residuals, x, gy] -> [gs2, acc + gw | gx]     other way

where `acc` starts at zero and ends as the gradient of what the steps share. Residuals that depend
on shared values only are computed again instead of being saved once a step, and slices of
per-step inputs are read from where they are. Nothing here is clever: passes are.

A loop that the data stop is asked how many steps it took, and its gradient loop counts. A state
read k steps later has a gradient that is read k steps later, the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograd.budget import allowance, allowing
from autograd.describe import settle
from autograd.execute.reference import mark_often, runs_often
from autograd.grad import or_zeros, pull_back
from autograd.graph import Graph, ancestors, unique_name
from autograd.node import Node, draw_input
from autograd.scope import Scope, drawing
from autograd.spec import UNKNOWN
from autograd.trampoline import Task
from loops.form import Ports, lags_of, loop_attrs, ports_of
from loops.loop import loop
from loops.pulled import positions, pulled
from loops.recent import for_batch, for_gradients
from loops.rows import body_for, row_axes, rows_of

MAX_AXES = 32
"""A residual inside k loops is saved with k more axes, and NumPy's arrays have at most 64. Where
this many are reached, a loop saves its states only and its gradient computes the rest again."""


@dataclass(frozen=True)
class Plan:
    """Both bodies, and where the inputs of the gradient loop come from (positions)."""

    saving: Graph | None
    """The body that also collects what no output has; None where the outputs have everything."""
    backward: Graph
    residuals: tuple[int, ...]
    """Positions of the residuals among the outputs of the saving loop."""
    shared: tuple[int, ...]
    """Shared ports the gradient's body reads."""
    each: tuple[int, ...]
    """Per-step inputs the gradient's body reads (positions among them)."""
    carried: tuple[int, ...]
    """States whose gradient is carried (positions among them)."""
    accumulated: tuple[int, ...]
    """Shared ports whose gradient is accumulated."""
    collected: tuple[int, ...]
    """Collected outputs whose gradient comes in."""
    slices: tuple[int, ...]
    """Per-step inputs whose gradient goes out."""


def loop_gradient(
    needs: Sequence[bool], g: Sequence[Any], y: Any, xs: Sequence[Any], attrs: dict[str, Any]
) -> Task:
    """Return the gradients of a loop's inputs; a task, so that loops may nest to any depth.

    The bodies of a ragged loop's gradient are derived again for fewer rows when it runs, whatever
    the budget is then. So neither it nor the loops inside it go by one.
    """
    if attrs.get("rows"):
        with allowing(None):
            return (yield stored_gradient(needs, g, y, xs, attrs))
    if allowance() is not None:
        from loops.memory import budgeted_gradient

        return (yield budgeted_gradient(needs, g, y, xs, attrs))
    return (yield stored_gradient(needs, g, y, xs, attrs))


def stored_gradient(
    needs: Sequence[bool],
    g: Sequence[Any],
    y: Any,
    xs: Sequence[Any],
    attrs: dict[str, Any],
    from_states: bool = False,
) -> Task:
    """Return the gradients by the two loops above: all residuals (or states) are stored."""
    ports = ports_of(attrs)
    given = tuple(part is not None for part in g)
    counts = counts_of(attrs)
    plan = yield planned(attrs["body"], ports, tuple(needs), given, counts, from_states)
    if plan is None:
        return [None] * len(needs)
    g_states, g_collected = ports.split_outputs(g)
    shared, states, sequences = ports.split(xs)
    name = name_of(y)
    ragged: dict[str, Any] = {}

    outputs = y
    if plan.saving is not None:
        saving = {**attrs, "body": plan.saving}
        if attrs.get("rows"):
            saving |= yield _ragged(attrs, "saving", tuple(needs), given)
        outputs = loop(*xs, **saving)
        named(outputs, f"{name}_saved")
    residuals = [outputs[i] for i in plan.residuals]
    count = [shared[0]] if counts == "counted" else []
    if counts == "until":
        count = [_steps_taken(states[1], outputs[1])]
    if attrs.get("rows"):
        ragged = yield _ragged(attrs, "backward", tuple(needs), given)

    sequence_inputs = [
        *residuals,
        *[sequences[i] for i in plan.each],
        *[g_collected[i] for i in plan.collected],
    ]
    lags = lags_of(attrs)
    backward = loop_attrs(
        plan.backward,
        Ports(
            len(count) + len(plan.shared),
            len(plan.carried) + len(plan.accumulated),
            len(sequence_inputs),
        ),
        reverse=not attrs["reverse"],
        length=None if sequence_inputs or count else attrs["length"],
        lags=[*[lags[i] for i in plan.carried], *[1] * len(plan.accumulated)],
        counted=bool(count),
        **ragged,
    )
    outputs = loop(  # in the order of `cut` in BodyVjp.plan
        *count,
        *[shared[i] for i in plan.shared],
        *[zeros(states[i]) if g_states[i] is None else g_states[i] for i in plan.carried],
        *[zeros(shared[i]) for i in plan.accumulated],
        *sequence_inputs,
        **backward,
    )
    named(outputs, f"{name}_grad")
    return by_input(plan, ports, outputs, needs)


def by_input(plan: Plan, ports: Ports, outputs: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
    """Return what the gradient loop hands out, arranged like the inputs of the loop."""
    results: list[Any] = [None] * len(needs)
    rest = list(outputs)
    for i in plan.carried:
        results[ports.shared + i] = rest.pop(0)
    for i in plan.accumulated:
        results[i] = rest.pop(0)
    for i in plan.slices:
        results[ports.shared + ports.states + i] = rest.pop(0)
    return [result if need else None for result, need in zip(results, needs, strict=True)]


def saved_by(attrs: dict[str, Any], needs: Sequence[bool], given: Sequence[bool]) -> Task:
    """Return (name, spec) of what a loop's gradient saves each step: residuals no output has."""
    body: Graph = attrs["body"]
    plan = yield planned(body, ports_of(attrs), tuple(needs), tuple(given), counts_of(attrs))
    if plan is None or plan.saving is None:
        return []
    extra = list(plan.saving.outputs.values())[len(body.outputs) :]
    return [(plan.saving.names[x], x.spec) for x in extra]


def counts_of(attrs: dict[str, Any]) -> str:
    """Return what the gradient loop counts its steps by: see `planned`."""
    return "until" if attrs.get("until") else "counted" if attrs.get("counted") else ""


def _ragged(
    attrs: dict[str, Any], part: str, needs: tuple[bool, ...], given: tuple[bool, ...]
) -> Task:
    """Return the attrs that let a part of a ragged loop's gradient run for fewer rows."""
    ports = ports_of(attrs)
    step = (part, ports.shared, ports.states, ports.each, needs, given)
    return (yield for_fewer_rows(attrs, step))


def for_fewer_rows(attrs: dict[str, Any], step: tuple[Any, ...]) -> Task:
    """Return the attrs that let a loop over what `step` derives of a ragged body be ragged too.

    Where the rows are in that body is seen by comparing it with that for one row more.
    """
    key = ("ragged", step, attrs["rows"])
    body: Graph = attrs["body"]
    kept = for_batch(body, step[-1]) if step[0] == "batch" else body._cache
    if key not in kept:
        more = yield body_for(attrs, rows_of(attrs) + 1)
        here = yield derived(body, step)
        there = yield derived(more, step)
        kept[key] = row_axes(here, there)
    return {
        "rows": kept[key],
        "source": attrs.get("source", body),
        "derived": (*attrs.get("derived", (attrs["rows"],)), step),
    }


def derived(body: Graph, step: tuple[Any, ...]) -> Task:
    """Return the saving or the backward body of a ragged loop with this body, or that for vmap."""
    if step[0] == "batch":
        from loops.batch import batched_step

        return batched_step(body, step)
    part, shared, states, each, needs, given = step
    with allowing(None):
        plan = yield planned(body, Ports(shared, states, each), needs, given, "counted")
    return plan.backward if part == "backward" else plan.saving or body


def _steps_taken(before: Any, after: Any) -> Any:
    """Return how far an until loop has counted; as a rule from zero."""
    from_zero = isinstance(before, Node) and before.op.name == "constant" and not before.value
    return after if from_zero else after - before


def zeros(like: Any) -> Any:
    """Return an array of zeros like a node or array."""
    return np.zeros(like.shape, like.dtype)


def name_of(y: Any) -> str:
    """Return the loop's name if its outputs are nodes of a drawing."""
    first = y[0] if y else None
    return (first.inputs[0].name or "loop") if isinstance(first, Node) and first.inputs else "loop"


def named(outputs: Sequence[Any], name: str) -> None:
    """Name the node that `outputs` are of, if they are nodes of a drawing."""
    if outputs and isinstance(outputs[0], Node) and outputs[0].inputs:
        outputs[0].inputs[0].named(name)


def planned(
    body: Graph,
    ports: Ports,
    needs: tuple[bool, ...],
    given: tuple[bool, ...],
    counts: str = "",
    from_states: bool = False,
) -> Task:
    """Return the Plan for those `needs` and those `given` gradients, or None: no dependence.

    `counts` says what the gradient loop counts by: nothing, `counted` (shared input 0 is the number
    of steps, as in the loop itself) or `until` (the loop is stopped by its data).
    With `from_states` the residuals are states, from which the gradient computes a step's others
    again. Plans are kept with the body, so a body that is used again is not differentiated again.
    """
    kept = for_gradients(body)
    key = ("gradient", ports, needs, given, counts, from_states)
    if key not in kept:
        kept[key] = yield _plan(body, ports, needs, given, counts, from_states)
    return kept[key]


def _plan(
    body: Graph,
    ports: Ports,
    needs: tuple[bool, ...],
    given: tuple[bool, ...],
    counts: str,
    from_states: bool,
) -> Task:
    scope = Scope(body.name, None)
    with drawing(scope):
        inputs = [draw_input(name, x.spec, scope) for name, x in body.inputs.items()]
        outputs = body.inline(inputs)
    vjp = BodyVjp(
        scope,
        ports,
        dict(zip(body.inputs, inputs, strict=True)),
        dict(zip(body.outputs, outputs, strict=True)),
    )
    yield vjp.differentiate(needs, given, (yield pulled(body)))
    if not (vjp.found or vjp.carried):
        return None
    plan = vjp.plan(body.name, counts, from_states)
    if runs_often(body):
        for part in (plan.saving, plan.backward):
            if part is not None:
                mark_often(part)
    return plan


class BodyVjp:
    """The vjp of a body, drawn on fresh inputs, and its division into what goes which way."""

    def __init__(
        self, scope: Scope, ports: Ports, inputs: dict[str, Node], outputs: dict[str, Node]
    ) -> None:
        self.scope = scope
        self.ports = ports
        self.inputs = inputs
        self.outputs = outputs
        self.shared, self.states, self.slices = ports.split([*inputs.values()])
        self.next_states, self.collected = ports.split_outputs([*outputs.values()])
        self.carried: list[int] = []
        self.sources: list[int] = []
        self.seeds: dict[str, Node] = {}
        self.found: dict[Node, Node] = {}

    def differentiate(
        self, needs: Sequence[bool], given: Sequence[bool], pulled: Sequence[int]
    ) -> Task:
        """Find the gradient of each input that needs one, given those of some outputs.

        A state carries a gradient if its final value was given one, or if a later step's use of
        it has one, which may in turn depend on what is carried. What `pulled` (of the body, see
        `loops/pulled.py`) does not foresee is seen when it is drawn, and then drawn once more.
        """
        g_states, g_collected = self.ports.split_outputs(given)
        targets = {
            x for x, need in zip(self.inputs.values(), needs, strict=True) if need and x.tracked
        }
        _add_states(targets, self.states, self.next_states)
        wrt = [x for x in self.inputs.values() if x in targets]
        live = [i for i, state in enumerate(self.states) if state in targets]
        self.sources = [
            i for i, here in enumerate(g_collected) if here and self.collected[i].tracked
        ]
        carried = self._closed([i for i in live if g_states[i]], live, pulled)
        while True:
            heads = {f"g_{self.states[i].name}": self.next_states[i] for i in carried}
            names = list(self.outputs)[self.ports.states :]
            taken = dict.fromkeys(heads, 2)
            for i in self.sources:
                heads[unique_name(f"g_{names[i]}", taken)] = self.collected[i]
            self.seeds = {
                name: draw_input(name, node.spec, self.scope) for name, node in heads.items()
            }
            with drawing(self.scope):
                grads, _ = yield pull_back([*heads.values()], [*self.seeds.values()], wrt, True)
            found = {x: g for x, g in zip(wrt, grads, strict=True) if g is not None}
            known = set(carried)
            grown = [i for i in live if i in known or self.states[i] in found]
            if grown == carried:
                self.carried, self.found = carried, found
                return
            carried = self._closed(grown, live, pulled)

    def _closed(
        self, carried: Sequence[int], live: Sequence[int], pulled: Sequence[int]
    ) -> list[int]:
        """Return `carried` and all states that surely get a gradient from theirs and the sources'.

        Found by following `pulled` round the loop, without drawing any.
        """
        first = self.ports.shared
        found = set(carried)
        others = sum([1 << (first + i) for i in live if i not in found])
        stack = [*carried, *[self.ports.states + i for i in self.sources]]
        while stack:
            fresh = pulled[stack.pop()] & others
            others ^= fresh
            reached = [i - first for i in positions(fresh)]
            found.update(reached)
            stack += reached  # output i is what state i is next
        return [i for i in live if i in found]

    def plan(self, name: str, counts: str, from_states: bool) -> Plan:
        """Return the two bodies: what can be computed going forward, and the rest."""
        accumulated = [i for i, x in enumerate(self.shared) if x in self.found]
        outgoing = [i for i, x in enumerate(self.slices) if x in self.found]
        sums = {f"sum_{self.shared[i].name}": self.shared[i] for i in accumulated}
        with drawing(self.scope):
            totals = {key: draw_input(key, x.spec, self.scope) for key, x in sums.items()}
            results = {
                f"g_{self.states[i].name}": or_zeros(self.found.get(self.states[i]), self.states[i])
                for i in self.carried
            }
            results |= {key: totals[key] + self.found[x] for key, x in sums.items()}
            results |= {
                f"each_g_{self.slices[i].name}": self.found[self.slices[i]] for i in outgoing
            }
        incoming = {*self.seeds.values(), *totals.values()}
        read = _read_going_back([*results.values()], incoming, set(self.shared))
        if from_states or any(x.ndim >= MAX_AXES for x in read):
            read = _ports_read([*results.values()], incoming)
        reads = set(read)
        count = self._count(counts)
        used = [i for i, x in enumerate(self.shared) if x in reads and x not in set(count)]
        each = [i for i, x in enumerate(self.slices) if x in reads]
        at_hand = {*self.shared, *self.slices}
        residuals = [x for x in read if x not in at_hand]
        if self.slices and not (residuals or each or self.sources):
            each = [0]  # read or not, it says how long the gradient loop runs
        saving, positions = self._saving(residuals, name)
        settle(ancestors(results.values()), saving.names)
        # What comes in, in the order of ports; `loop_gradient` hands it over in the same order.
        seeds = list(self.seeds.items())
        cut = [(str(x.name), x) for x in (*count, *[self.shared[i] for i in used])]
        cut += seeds[: len(self.carried)]
        cut += totals.items()
        cut += [(saving.names[x], x) for x in residuals]
        cut += [(str(self.slices[i].name), self.slices[i]) for i in each]
        cut += seeds[len(self.carried) :]
        taken: dict[str, int] = {}
        return Plan(
            saving=saving if len(saving.outputs) > len(self.outputs) else None,
            backward=_on_ports_of_its_own(
                {unique_name(key, taken): x for key, x in cut}, results, f"{name}_grad"
            ),
            residuals=positions,
            shared=tuple(used),
            each=tuple(each),
            carried=tuple(self.carried),
            accumulated=tuple(accumulated),
            collected=tuple(self.sources),
            slices=tuple(outgoing),
        )

    def _count(self, counts: str) -> list[Node]:
        """Return the port that says how many steps the gradient loop runs, if there is one."""
        if counts == "counted":
            return self.shared[:1]
        if counts == "until":
            return [draw_input("steps", self.states[1].spec, self.scope)]
        return []

    def _saving(self, residuals: Sequence[Node], name: str) -> tuple[Graph, tuple[int, ...]]:
        """Return the body that collects `residuals` too, and their positions in its outputs."""
        outputs = dict(self.outputs)
        position = {x: self.ports.states + i for i, x in reversed(list(enumerate(self.collected)))}
        extra = {f"saved {i}": x for i, x in enumerate(residuals) if x not in position}
        names = Graph.of(self.inputs, {**outputs, **extra}, name).names
        taken = dict.fromkeys(outputs, 2)
        for x in extra.values():
            position[x] = len(outputs)
            outputs[unique_name(f"saved_{names[x]}", taken)] = x
        return Graph.of(self.inputs, outputs, name), tuple(position[x] for x in residuals)


def _add_states(targets: set[Node], states: Sequence[Node], next_states: Sequence[Node]) -> None:
    """Add to `targets` the float states that, some steps on, depend on one of them."""
    users: dict[Node, list[Node]] = {}
    for node in ancestors(next_states):
        for x in node.inputs:
            users.setdefault(x, []).append(node)
    for state, after in zip(states, next_states, strict=True):
        if state.tracked:
            users.setdefault(after, []).append(state)
    seen = set(targets)
    stack = [*targets]
    while stack:
        fresh = [node for node in users.get(stack.pop(), ()) if node not in seen]
        seen.update(fresh)
        stack += fresh
    targets |= seen.intersection(states)


def _read_going_back(results: Sequence[Node], incoming: set[Node], shared: set[Node]) -> list[Node]:
    """Return what nodes that depend on `incoming` read of nodes that do not, in order.

    What depends on shared values only is computed again, and so are mere views: they are not
    listed, but what they look at is. So is a loop inside that its data stop: what it stacks has
    another number of rows each time, or is mostly empty.
    """
    nodes = ancestors(results)
    backward = set(incoming)
    invariant: set[Node] = set()
    for node in nodes:
        if node in shared or (not node.inputs and node.op.name == "constant"):
            invariant.add(node)
        elif any(x in backward for x in node.inputs):
            backward.add(node)
        elif node.inputs and all(x in invariant for x in node.inputs):
            invariant.add(node)
    stack = [x for node in nodes if node in backward for x in node.inputs if x not in backward]
    stack += [node for node in results if node not in backward]
    read: set[Node] = set()
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node.inputs and (node in invariant or node.op.free or _mostly_empty(node)):
            stack += [x for x in node.inputs if x not in seen]
            seen.update(node.inputs)
        elif node in shared or node not in invariant:
            read.add(node)
    return sorted(read, key=lambda node: node.serial)


def _mostly_empty(node: Node) -> bool:
    """Whether `node` is a loop with a bound or without a length, or something that it stacks."""
    spec: Any = node.spec
    if type(spec) is tuple:
        return node.attrs.get("bounded", False) or any(UNKNOWN in part.shape for part in spec)
    if node.op.name == "item":
        source = node.inputs[0].attrs
        if source.get("bounded") and node.attrs["index"] >= source["states"]:
            return True
    return UNKNOWN in spec.shape


def _ports_read(results: Sequence[Node], incoming: set[Node]) -> list[Node]:
    """Return the ports of the body the gradient depends on: all else is then computed again."""
    return [node for node in ancestors(results) if node.op.name == "input" and node not in incoming]


def _on_ports_of_its_own(cut: dict[str, Node], results: dict[str, Node], name: str) -> Graph:
    """Return the graph from `cut` to `results`, drawn again on fresh ports."""
    scope = Scope(name, None)
    graph = Graph.of(cut, results, name)
    with drawing(scope):
        ports = {key: draw_input(x.name, x.spec, scope) for key, x in cut.items()}
        outputs = graph.inline(list(ports.values()))
    return Graph.of(ports, dict(zip(results, outputs, strict=True)), name)
