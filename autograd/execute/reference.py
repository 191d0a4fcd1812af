"""The reference executor: node by node, in order. It defines what a graph means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from autograd.arrays import locked
from autograd.backend import automatic, for_running
from autograd.describe import describe
from autograd.execute.screen import screened
from autograd.node import Node
from autograd.parameter import Parameter
from autograd.room import refuse
from autograd.scope import current_state
from autograd.spec import Array
from autograd.trampoline import Task, trampoline

if TYPE_CHECKING:
    from autograd.graph import Graph
    from autograd.op import Op


class Watcher:
    """Looks on while a graph is run node by node; `prefix + graph.names[node]` is a node's path."""

    def enter(self, prefix: str, graph: Graph, node: Node) -> None:
        """Be told that `node`, which holds bodies, is about to run."""

    def saw(self, prefix: str, graph: Graph, node: Node, inputs: Sequence[Any], value: Any) -> None:
        """Be told what `node` was computed from, and what it is."""


class Teller(Watcher):
    """Tells a function of the user's the path and value of every node that has one value."""

    def __init__(self, tell: Callable[[str, Array], None]) -> None:
        self.tell = tell

    def saw(self, prefix: str, graph: Graph, node: Node, inputs: Sequence[Any], value: Any) -> None:
        if not node.op.multiple:
            self.tell(prefix + graph.names[node], locked(_array(value)))


SCREENED = Watcher()
"""Watches no single node, but has programs run that notice what is not finite."""


class Instruction(NamedTuple):
    """One node of a program: `slots[slot] = forward(*pick(slots))`."""

    forward: Callable[..., Any]
    """The op's, its attrs bound."""
    pick: Callable[[list[Any]], Sequence[Any]]
    single: int
    """The slot of the only argument, which is then not worth a `pick`; else -1."""
    slot: int
    dead: tuple[int, ...]
    """Slots no later instruction reads: emptied, so that large values live only while needed."""
    node: Node


class Program:
    """A graph as a list of instructions over numbered slots.

    With `screen`, ops raise where they make something that is not finite: see `execute.screen`.
    """

    def __init__(self, graph: Graph, screen: bool = False) -> None:
        slots = {node: i for i, node in enumerate(graph.inputs.values())}
        self.arity = len(slots)
        self.template: list[Any] = [None] * len(slots)
        self.parameters: list[tuple[int, Parameter]] = []
        computed = []
        for node in graph.nodes:
            if node in slots:
                continue
            slots[node] = slot = len(self.template)
            self.template.append(None)
            if node.inputs or node.bodies:  # a loop may have no input at all
                computed.append(node)
            elif isinstance(node, Parameter):
                self.parameters.append((slot, node))
            else:
                self.template[slot] = node._value
        self.outputs = tuple(slots[node] for node in graph.outputs.values())
        dead = _last_reads(computed, set(graph.outputs.values()))
        self.code = [
            _instruction(node, slots, last, screen)
            for node, last in zip(computed, dead, strict=True)
        ]
        self.flat = graph.flat

    def frame(self, values: Sequence[Any]) -> list[Any]:
        """Return the slots before the first instruction."""
        env = self.template.copy()
        env[: self.arity] = values
        for slot, node in self.parameters:
            env[slot] = node._value
        return env

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Return the outputs for `values` of the inputs. For graphs without bodies only."""
        env = self.frame(values)
        try:
            for forward, pick, single, slot, dead, node in self.code:  # noqa: B007
                env[slot] = forward(env[single]) if single >= 0 else forward(*pick(env))
                for a in dead:
                    env[a] = None
        except Exception as error:
            note(error, node)
            raise
        return [env[slot] for slot in self.outputs]


def _instruction(
    node: Node, slots: dict[Node, int], dead: Sequence[Node], screen: bool
) -> Instruction:
    forward = node.op.forward
    if node.attrs:
        forward = partial(forward, **node.attrs)
    if screen and not node.bodies:
        forward = screened(node, forward)
    arguments = [slots[x] for x in node.inputs]
    several = len(arguments) > 1
    pick = itemgetter(*arguments) if several else itemgetter(slice(0, 0))
    single = arguments[0] if len(arguments) == 1 else -1
    return Instruction(forward, pick, single, slots[node], tuple(slots[x] for x in dead), node)


def _last_reads(nodes: Sequence[Node], outputs: set[Node]) -> list[list[Node]]:
    """Return, for each of `nodes`, the large values nobody reads after it."""
    keep = set(outputs)
    last = []
    for node in reversed(nodes):
        dead = [x for x in dict.fromkeys((*node.inputs, node)) if x not in keep]
        keep.update(dead)
        last.append([x for x in dead if _large(x)])
    last.reverse()
    return last


def _large(node: Node) -> bool:
    """Whether a value takes more than letting go of it early costs."""
    spec: Any = node.spec
    if type(spec) is tuple:
        return any(part.nbytes > 4096 for part in spec)
    return bool(spec.nbytes > 4096)


def execute(graph: Graph, values: Sequence[Any], watch: Watcher | None = None) -> list[Any]:
    """Return the values of the outputs of `graph`, given those of its inputs."""
    run = straight(graph, watch)
    results = trampoline(steps(graph, values, watch)) if run is None else run(values)
    return [_array(value) for value in results]


def compute(op: Op, values: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Return what an op with bodies computes of arrays: the `forward` of such ops."""
    check = current_state().check
    if check is not None:
        return check.run_op(op, values, attrs)
    name = for_running()
    if name is None and automatic() and any([runs_often(body) for body in op.bodies(attrs)]):
        name = "numpy"
    if name is not None:
        from autograd.execute.eager import run_op

        result = run_op(op, values, attrs, name)
        if result is not None:
            return result
    return trampoline(op.run(values, attrs, None, ""))


def mark_often(graph: Graph) -> Graph:
    """Say that a body will run again and again on tensors, so that a plan pays; return it.

    Loops over it, and their gradients, are then run by NumPy plans where no backend was chosen.
    """
    graph._cache["often"] = True
    return graph


def mark_repeated(node: Node) -> None:
    """Say the same of a body that was drawn anew at each call, from the second one like it on.

    `node` ran it just now. One that is always another is not worth a plan.
    """
    for body in node.op.bodies(node.attrs):
        if "ran" in body._cache:
            mark_often(body)
        body._cache["ran"] = True


def runs_often(graph: Graph) -> bool:
    """Return whether `mark_often` was said of a body, or of one that it is the gradient of."""
    return "often" in graph._cache


def straight(graph: Graph, watch: Watcher | None) -> Callable[[Sequence[Any]], list[Any]] | None:
    """Return what runs `graph` without a task: for graphs without bodies that none looks into."""
    if graph.flat:
        if watch is None:
            return graph.program.run
        if watch is SCREENED:
            return _program(graph, watch).run
    return None


def _program(graph: Graph, watch: Watcher | None) -> Program:
    if watch is not SCREENED:
        return graph.program
    known: Program | None = graph._cache.get("screened")
    if known is None:
        known = graph._cache["screened"] = Program(graph, screen=True)
    return known


def steps(
    graph: Graph, values: Sequence[Any], watch: Watcher | None = None, path: str = ""
) -> Task:
    """Return the values of the outputs; a task, so that bodies may nest to any depth.

    A node with bodies runs by its op's `run`, itself a task that yields `steps` of a body.
    """
    run = straight(graph, watch)
    if run is not None:
        return run(values)
    program = _program(graph, watch)
    env = program.frame(values)
    watcher = None if watch is SCREENED else watch
    for forward, pick, single, slot, dead, node in program.code:
        inputs = [env[single]] if single >= 0 else pick(env)
        if node.bodies:
            if watcher is not None:
                watcher.enter(path, graph, node)
            result = yield node.op.run(inputs, node.attrs, watch, path + graph.names[node])
            yield None  # so that the trampoline lets go of it
        else:
            try:
                result = forward(*inputs)
            except Exception as error:
                note(error, node, path + graph.names[node])
                raise
        env[slot] = result
        if watcher is not None:
            watcher.saw(path, graph, node, inputs, result)
        for a in dead:
            env[a] = None
    return [env[slot] for slot in program.outputs]


def _array(value: Any) -> Array:
    return np.asarray(value)


def note(error: Exception, node: Any, name: str | None = None) -> None:
    """Say in which node an error arose, once."""
    where = f" '{name}'" if name else ""
    refuse(error, f"node{where} {describe(node)}")
    if not getattr(error, "__notes__", None):
        error.add_note(f"while computing node{where} {describe(node)}")
