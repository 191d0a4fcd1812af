"""The reference executor: node by node, in order. It defines what a graph means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.describe import describe
from autograd.node import Parameter, locked
from autograd.spec import Array
from autograd.trampoline import Task, trampoline

if TYPE_CHECKING:
    from autograd.graph import Graph

Watch = Callable[[str, Array], None]


class Program:
    """A graph as a list of instructions over numbered slots.

    `last` holds, for each instruction, the slots no later instruction reads: they are emptied, so
    that a value lives only as long as it is needed.
    """

    def __init__(self, graph: Graph) -> None:
        slots = {node: i for i, node in enumerate(graph.inputs.values())}
        self.arity = len(slots)
        self.template: list[Any] = [None] * len(slots)
        self.parameters: list[tuple[int, Parameter]] = []
        self.code: list[tuple[Any, tuple[int, ...], int, dict[str, Any], Any]] = []
        for node in graph.nodes:
            if node in slots:
                continue
            slots[node] = slot = len(self.template)
            self.template.append(None)
            if node.inputs or node.bodies:  # a loop may have no input at all
                arguments = tuple(slots[x] for x in node.inputs)
                self.code.append((node.op.forward, arguments, slot, node.attrs, node))
            elif isinstance(node, Parameter):
                self.parameters.append((slot, node))
            else:
                self.template[slot] = node._value
        self.outputs = tuple(slots[node] for node in graph.outputs.values())
        self.last = self._last_reads()
        self.flat = graph.flat

    def _last_reads(self) -> list[tuple[int, ...]]:
        keep = set(self.outputs)
        last: list[tuple[int, ...]] = []
        for _, arguments, slot, _, _ in reversed(self.code):
            dead = [a for a in dict.fromkeys(arguments) if a not in keep]
            keep.update(dead)
            if slot not in keep:  # computed, never read: a multi-output node's unused part
                dead.append(slot)
            last.append(tuple(dead))
        last.reverse()
        return last

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
            for (forward, arguments, slot, attrs, node), dead in zip(
                self.code, self.last, strict=True
            ):
                if len(arguments) == 2:
                    a, b = arguments
                    env[slot] = forward(env[a], env[b], **attrs)
                elif len(arguments) == 1:
                    env[slot] = forward(env[arguments[0]], **attrs)
                else:
                    env[slot] = forward(*[env[a] for a in arguments], **attrs)
                for a in dead:
                    env[a] = None
        except Exception as error:
            _note(error, node)
            raise
        return [env[slot] for slot in self.outputs]


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
    for (forward, arguments, slot, attrs, node), dead in zip(
        program.code, program.last, strict=True
    ):
        inputs = [env[a] for a in arguments]
        name = path + graph.names[node]
        if node.bodies:
            result = yield node.op.run(inputs, attrs, watch, name)
        else:
            try:
                result = forward(*inputs, **attrs)
            except Exception as error:
                _note(error, node, name)
                raise
        env[slot] = result
        if watch is not None and not node.op.multiple:
            watch(name, locked(_array(result)))
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
