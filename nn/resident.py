"""A training step that lives in a plan: parameters, state and step count stay in its memory.

The plan ends each run by putting all next values in place of the present ones, in one copy, so a
step happens wholly or not at all. What is in there is copied when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autograd import Graph, Parameter
from autograd.execute.plan import compiled
from autograd.graph import unique_name
from autograd.node import _next_serial
from autograd.parameter import Lender
from autograd.scope import drawing
from autograd.spec import Array
from nn.drawn import Drawn
from nn.optim import Optimizer, State


class Resident(Lender):
    """The plan of one kind of step, and what it holds."""

    def __init__(self, drawn: Drawn, backend: str | None) -> None:
        super().__init__()
        graph, counter, following = _counting(drawn)
        changing = list(graph.inputs)[len(drawn.kept) :][: drawn.width]
        feedback = {name: name for name in changing} | {counter: following}
        self.plan = compiled(graph, backend, feedback)
        self.call: Any = self.plan.call
        memory = [self.plan.resident[name] for name in changing]
        count = len(drawn.trained)
        self.trained = drawn.trained
        self.loans = [
            (i, (self, place)) for i, place in zip(drawn.trained, memory[:count], strict=True)
        ]
        """What parameters, by number, are given while their values are in here."""
        self.states: list[tuple[Array, ...]] = []
        rest = memory[count:]
        for parts in drawn.parts:
            self.states.append(tuple(rest[:parts]))
            rest = rest[parts:]
        self.counter = self.plan.resident[counter]
        # What comes in: [parameters not trained | numbers | batch].
        batch = len(drawn.batch)
        given = self.plan.inputs
        self.seldom = given[: len(given) - batch]
        """Inputs that are the same arrays from step to step, as a rule."""
        self.known: list[Any] = [None] * len(self.seldom)
        self.latest: Sequence[Array] | None = None
        self.batch = list(zip(drawn.batch, given[len(given) - batch :], strict=True))

    @property
    def steps(self) -> int:
        """How many updates there have been."""
        return int(self.counter) - 1

    def read(self, every: Sequence[State]) -> tuple[list[State], int]:
        """Return the state of all parameters, those in here copied, and the number of updates."""
        with self.lock:
            found = list(every)
            for i, state in zip(self.trained, self.states, strict=True):
                found[i] = tuple([x.copy() for x in state])
            return found, self.steps

    def run(
        self, optimizer: Optimizer, seldom: Sequence[Array], batch: Mapping[str, Array]
    ) -> list[Array]:
        """Do one step, given parameters not trained and numbers, and a batch; return the outputs.

        The former are arrays that nobody writes to.
        """
        with self.lock:
            self._take(optimizer)
            if seldom is not self.latest:
                self._take_seldom(seldom)
            for name, place in self.batch:
                place[...] = batch[name]
            try:
                results: list[Array] = self.call()
            except Exception:  # nothing has changed
                raise
            except BaseException:  # the step may have been taken
                self.serial = _next_serial()
                raise
            self.serial = _next_serial()
            return results

    def _take_seldom(self, values: Sequence[Array]) -> None:
        for i, (place, value) in enumerate(zip(self.seldom, values, strict=True)):
            if value is not self.known[i]:
                place[...] = self.known[i] = value
        self.latest = values

    def _take(self, optimizer: Optimizer) -> None:
        """Move values in that are not in here."""
        parameters: list[Parameter] = optimizer.parameters
        for i, loan in self.loans:
            parameter = parameters[i]
            if parameter._lent is not loan:
                loan[1][...] = parameter._value
                self.serial = max(self.serial, parameter._assigned)
                parameter._lent = loan
        if optimizer._lent is not self:
            every = optimizer.state
            for i, state in zip(self.trained, self.states, strict=True):
                for place, value in zip(state, every[i], strict=True):
                    place[...] = value
            self.counter[...] = optimizer.steps + 1.0
            optimizer._lent = self


def _counting(drawn: Drawn) -> tuple[Graph, str, str]:
    """Return the step's graph with the number of the next update among its outputs, and names."""
    graph = drawn.graph
    counter = list(graph.inputs)[len(graph.inputs) - len(drawn.batch) - 1]
    following = unique_name("next_step", dict.fromkeys(graph.outputs, 2))
    with drawing(None):
        after = graph.inputs[counter] + 1.0
    counted = Graph.of(graph.inputs, {**graph.outputs, following: after}, graph.name)
    return counted, counter, following
