"""A training step that lives in a plan: parameters, state and step count stay in its memory.

The plan ends each run by putting all next values in place of the present ones, in one copy, so a
step happens wholly or not at all. What is in there is copied when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from autograd import Graph, Parameter
from autograd.errors import GraphError
from autograd.execute.plan import compiled
from autograd.graph import unique_name
from autograd.node import _next_serial
from autograd.parameter import Lender
from autograd.scope import drawing
from autograd.spec import Array
from nn.drawn import Drawn
from nn.optim import Optimizer, State

TAKING = Lock()
"""Held while values are moved into a plan; who holds it waits for no other lock."""


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
        """Return the state of all parameters, those in here copied, and the number of updates.

        Who calls it holds the lock.
        """
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
        while True:
            with self.lock:
                if self.busy:
                    raise GraphError(
                        "a training step was run by a function that the same step calls; run it "
                        "after that step"
                    )
                if self._holds(optimizer) or self._take(optimizer):
                    return self._step(seldom, batch)
            self._release(optimizer)

    def _step(self, seldom: Sequence[Array], batch: Mapping[str, Array]) -> list[Array]:
        if seldom is not self.latest:
            self._take_seldom(seldom)
        for name, place in self.batch:
            place[...] = batch[name]
        try:
            self.busy = True
            results: list[Array] = self.call()
            self.serial = _next_serial()
            return results
        except Exception:  # nothing has changed
            raise
        except BaseException:  # the step may have been taken
            self.serial = _next_serial()
            raise
        finally:
            self.busy = False

    def _take_seldom(self, values: Sequence[Array]) -> None:
        for i, (place, value) in enumerate(zip(self.seldom, values, strict=True)):
            if value is not self.known[i]:
                place[...] = self.known[i] = value
        self.latest = values

    def _holds(self, optimizer: Optimizer) -> bool:
        """Whether all values are in here."""
        parameters: list[Parameter] = optimizer.parameters
        for i, loan in self.loans:
            if parameters[i]._lent is not loan:
                return False
        return optimizer._lent is self

    def _take(self, optimizer: Optimizer) -> bool:
        """Move values in that are not in here; return False if another step holds some."""
        with TAKING:
            missing = []
            for i, loan in self.loans:
                parameter: Parameter = optimizer.parameters[i]
                if parameter._lent is None:
                    missing.append((parameter, loan))
                elif parameter._lent is not loan:
                    return False
            if optimizer._lent is None:
                for i, state in zip(self.trained, self.states, strict=True):
                    for place, value in zip(state, optimizer._state[i], strict=True):
                        place[...] = value
                self.counter[...] = optimizer._steps + 1.0
                optimizer._lent = self
            elif optimizer._lent is not self:
                return False
            for parameter, loan in missing:
                loan[1][...] = parameter._array
                self.serial = max(self.serial, parameter._assigned)
                parameter._lent = loan
            return True

    def _release(self, optimizer: Optimizer) -> None:
        """Have other steps give back what they hold.

        This waits for their locks, so this step's own is not held: they may be waiting for it.
        """
        for i, loan in self.loans:
            parameter: Parameter = optimizer.parameters[i]
            if parameter._lent is not loan:
                parameter.settle()
        if optimizer._lent is not self:
            optimizer.settle()


def _counting(drawn: Drawn) -> tuple[Graph, str, str]:
    """Return the step's graph with the number of the next update among its outputs, and names."""
    graph = drawn.graph
    counter = list(graph.inputs)[len(graph.inputs) - len(drawn.batch) - 1]
    following = unique_name("next_step", dict.fromkeys(graph.outputs, 2))
    with drawing(None):
        after = graph.inputs[counter] + 1.0
    counted = Graph.of(graph.inputs, {**graph.outputs, following: after}, graph.name)
    return counted, counter, following
