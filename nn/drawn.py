"""The graph of a training step, drawn from that of a loss: its gradient and the update with it.

    graph inputs   [parameters not trained | parameters, states | numbers, step | batch]
    graph outputs  [                         parameters, states | outputs, loss among them]

These are the ports of a loop's body, so N steps are one LoopNode whose body is that graph: its
states are the parameters and the optimizer's state, and each step has its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import autograd as ag
from autograd import Graph, Node, Parameter
from autograd.describe import describe
from autograd.errors import GradientError, GraphError, ShapeError
from autograd.graph import unique_name
from autograd.node import draw_input
from autograd.recent import Recent
from autograd.scope import drawing
from autograd.spec import Array, Spec, spec_of
from autograd.structure import interned
from nn.module import Module
from nn.optim import Optimizer, State

_ndarray = np.ndarray
Modes = Sequence[tuple[Module, bool]]
MOST = 16
"""How many loops over steps of one kind are kept."""


@dataclass
class Drawn:
    """The graph of a step for one kind of batch, and what its inputs and outputs are."""

    graph: Graph
    optimizer: Optimizer
    kept: tuple[Parameter, ...]
    """Parameters the loss depends on that are not trained."""
    trained: tuple[int, ...]
    """Numbers of those that are, in the optimizer."""
    parts: tuple[int, ...]
    """Of how many parts the state of each is."""
    batch: tuple[str, ...]
    outputs: tuple[str, ...]
    width: int
    """How many parameters and parts of states there are."""
    loops: Recent = field(default_factory=lambda: Recent(MOST))
    """Loops over steps like this, and their bodies."""
    residents: dict[str, Any] = field(default_factory=dict)
    """Plans in whose memory single steps are taken (`nn.resident`), by backend."""
    chunk: int = 1
    """How many steps were run at a time."""
    singly: bool = False
    """Whether many steps are taken one by one (see `nn.many.Loops`)."""
    modes: Modes = ()
    """Random layers, and whether they were training when this was drawn."""

    def __post_init__(self) -> None:
        inputs = self.graph.inputs
        # NumPy has one dtype object of each name, but for those made by changing others
        self.specs = [
            (name, inputs[name].shape, np.dtype(inputs[name].dtype.name)) for name in self.batch
        ]

    @property
    def in_mode(self) -> bool:
        """Whether all random layers are training, or not, as they were when this was drawn."""
        return all([module.training is mode for module, mode in self.modes])

    def fits(self, batch: Mapping[str, Any]) -> bool:
        """Whether `batch` is, for sure, one of arrays of the right specs."""
        if len(batch) != len(self.specs) or (self.modes and not self.in_mode):
            return False
        for name, shape, dtype in self.specs:
            x = batch.get(name)
            if type(x) is not _ndarray or x.shape != shape or x.dtype is not dtype:
                return False
        return True

    def kept_values(self) -> list[Array]:
        """Return what a step reads and does not change."""
        return [p._value for p in self.kept]

    def changing(self) -> list[Array]:
        """Return what a step changes: the values of parameters, and the optimizer's state."""
        parameters, state = self.optimizer.parameters, self.optimizer.state
        values = [parameters[i]._value for i in self.trained]
        for i in self.trained:
            values += state[i]
        return values

    def replace(self, results: Sequence[Array], steps: int) -> None:
        """Give parameters and optimizer what `steps` updates made of them, all at once."""
        start = len(self.trained)
        values = results[:start]
        states: list[State] = []
        for count in self.parts if self.width > start else ():
            states.append(tuple(results[start : start + count]))
            start += count
        self.optimizer.replace(self.trained, values, states, steps)

    def checked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return `names` if they are those of outputs."""
        for name in names:
            if name not in self.outputs:
                raise GraphError(
                    f"the training step has no output '{name}'; its outputs are "
                    f"{', '.join(self.outputs)}"
                )
        return names


def draw_step(
    graph: Graph, step: Node, modes: Modes, optimizer: Optimizer, memory: int | str | None
) -> Drawn:
    """Return the step whose loss is that of `graph`, all parameters made inputs.

    `step` is the number of the update; it may be among the inputs of the graph.
    """
    batch = {name: x for name, x in graph.inputs.items() if x is not step}
    of = "loss" if "loss" in graph.outputs else next(iter(graph.outputs))
    if "loss" not in graph.outputs and len(graph.outputs) > 1:
        raise GraphError(
            f"none of the outputs of graph '{graph.name}' is called 'loss': they are "
            f"{', '.join(graph.outputs)}; call the one to be made small so"
        )
    loss = graph.outputs[of]
    if loss.shape != ():
        raise ShapeError(
            f"the loss of a training step is a scalar, but is not a scalar here: {describe(loss)}; "
            "take its mean or sum: loss.mean()"
        )
    needed = set(graph.select(of).parameters.values())
    trained = [i for i, p in enumerate(optimizer.parameters) if p in needed]
    if not trained:
        raise GradientError(
            f"the loss of graph '{graph.name}' depends on none of the parameters of "
            f"{type(optimizer).__name__}; it depends on "
            f"{', '.join(str(p.name) for p in needed) or 'no parameter at all'}; give the "
            "optimizer the parameters of the model that the loss calls"
        )
    parameters = [optimizer.parameters[i] for i in trained]
    kept = [p for p in graph.parameters.values() if p not in set(parameters)]
    taken = dict.fromkeys([*batch, *graph.outputs], 2)
    names = {p: unique_name(p.name or "parameter", taken) for p in (*kept, *parameters)}
    with drawing(None):
        states = [
            _state_inputs(optimizer, optimizer.state[i], names[p], taken)
            for i, p in zip(trained, parameters, strict=True)
        ]
        scalars = {
            name: draw_input(unique_name(name, taken), Spec((), np.dtype(float)), None, False)
            for name in optimizer.number_names
        }
        gradients = ag.grad(loss, parameters, memory=memory)
        hyper = {name: scalars[name] for name in optimizer.number_names}
        before = [tuple(state.values()) for state in states]
        updated = optimizer.updated(trained, parameters, gradients, before, step, hyper)
    inputs: dict[str, Node] = {names[p]: p for p in kept}
    inputs |= {names[p]: p for p in parameters}
    for state in states:
        inputs |= state
    inputs |= {str(x.name): x for x in scalars.values()}
    inputs[unique_name("step", taken)] = step
    inputs |= batch
    outputs = {names[p]: x for p, (x, _) in zip(parameters, updated, strict=True)}
    for state, (_, after) in zip(states, updated, strict=True):
        outputs |= dict(zip(state, after, strict=True))
    width = len(outputs)
    return Drawn(
        _without_parameters(inputs, {**outputs, **graph.outputs}, graph.name),
        optimizer,
        tuple(kept),
        tuple(trained),
        tuple([len(state) for state in states]),
        tuple(batch),
        tuple(graph.outputs),
        width,
        modes=tuple(modes),
    )


def _without_parameters(inputs: dict[str, Node], outputs: dict[str, Node], name: str) -> Graph:
    """Return the graph from `inputs`, parameters among them, drawn again on fresh inputs.

    Another model that is trained by the same lines shares it, and the plans kept with it.
    """
    cut = Graph.of(inputs, outputs, name)
    ports = {key: draw_input(key, x.spec, None, x.tracked) for key, x in inputs.items()}
    with drawing(None):
        results = cut.inline(list(ports.values()))
    return interned(Graph.of(ports, dict(zip(outputs, results, strict=True)), name))


def _state_inputs(
    optimizer: Optimizer, state: State, name: str, taken: dict[str, int]
) -> dict[str, Node]:
    """Return an input for each part of the state of the parameter called `name`."""
    inputs = {}
    for part, x in zip(optimizer.part_names(state), state, strict=True):
        key = unique_name(f"{name}.{part}", taken)
        inputs[key] = draw_input(key, spec_of(x), None)
    return inputs
