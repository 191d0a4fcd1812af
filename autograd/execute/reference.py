"""The reference executor: node by node, in order. It defines what a graph means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from autograd.arrays import locked
from autograd.describe import describe
from autograd.node import Node, Parameter
from autograd.spec import Array
from autograd.trampoline import Task, trampoline

if TYPE_CHECKING:
    from autograd.graph import Graph

Watch = Callable[[str, Array], None]


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
    """A graph as a list of instructions over numbered slots."""

    def __init__(self, graph: Graph) -> None:
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
            _instruction(node, slots, last) for node, last in zip(computed, dead, strict=True)
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
            _note(error, node)
            raise
        return [env[slot] for slot in self.outputs]


def _instruction(node: Node, slots: dict[Node, int], dead: Sequence[Node]) -> Instruction:
    forward = node.op.forward
    if node.attrs:
        forward = partial(forward, **node.attrs)
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


def execute(graph: Graph, values: Sequence[Any], watch: Watch | None = None) -> list[Any]:
    """Return the values of the outputs of `graph`, given those of its inputs."""
    if watch is None and graph.flat:
        results = graph.program.run(values)
    else:
        results = trampoline(steps(graph, values, watch))
    return [_array(value) for value in results]


def steps(graph: Graph, values: Sequence[Any], watch: Watch | None = None, path: str = "") -> Task:
    """Return the values of the outputs; a task, so that bodies may nest to any depth.

    A node with bodies runs by its op's `run`, itself a task that yields `steps` of a body.
    """
    program = graph.program
    if watch is None and program.flat:
        return program.run(values)
    env = program.frame(values)
    for forward, pick, single, slot, dead, node in program.code:
        inputs = [env[single]] if single >= 0 else pick(env)
        if node.bodies:
            result = yield node.op.run(inputs, node.attrs, watch, path + graph.names[node])
        else:
            try:
                result = forward(*inputs)
            except Exception as error:
                _note(error, node, path + graph.names[node])
                raise
        env[slot] = result
        if watch is not None and not node.op.multiple:
            watch(path + graph.names[node], locked(_array(result)))
        for a in dead:
            env[a] = None
    return [env[slot] for slot in program.outputs]


def _array(value: Any) -> Array:
    return np.asarray(value)


def _note(error: Exception, node: Any, name: str | None = None) -> None:
    """Say in which node an error arose, once."""
    if not getattr(error, "__notes__", None):
        where = f" '{name}'" if name else ""
        error.add_note(f"while computing node{where} {describe(node)}")
