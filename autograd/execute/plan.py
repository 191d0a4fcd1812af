"""Plans: a graph made ready to run, by one of several backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autograd.backend import checked, chosen
from autograd.errors import GraphError
from autograd.execute.reference import execute
from autograd.scope import current_state
from autograd.spec import Array

if TYPE_CHECKING:
    from autograd.graph import Graph


class Plan:
    """A graph made ready to run many times. `graph.compile()` returns one."""

    def __init__(
        self,
        graph: Graph,
        backend: str,
        reason: str,
        source: str,
        execute: Callable[[Sequence[Any]], list[Array]],
    ) -> None:
        self.graph = graph
        self.backend = backend
        """What runs it."""
        self.reason = reason
        """Why that backend was chosen."""
        self.source = source
        """What runs, to be read."""
        self.execute = execute
        """From values of the inputs, of the right specs, to those of the outputs, unchecked.

        Nobody writes to what it returns later on. An output may be one of the values that came in.
        """

    def run(self, **inputs: Any) -> dict[str, Array]:
        """Return the values of the outputs, read-only, by name: what `graph.run(...)` returns."""
        if current_state().check is not None:  # who looks at every value needs every node
            return self.graph.run(**inputs)
        values = self.graph.checked(inputs)
        return self.graph.leaving(self.execute(values), values)

    def __repr__(self) -> str:
        return f"<Plan of graph '{self.graph.name}' for {self.backend}: {self.reason}>"


def compiled(graph: Graph, backend: str | None = None) -> Plan:
    """Return the plan of `graph` for a backend, by default the one chosen; made once."""
    asked = chosen() if backend is None else checked(backend)
    key = ("plan", asked)
    plan: Plan | None = graph._cache.get(key)
    if plan is None:
        plan = graph._cache[key] = _made(graph, asked)
    return plan


def _made(graph: Graph, asked: str) -> Plan:
    name = next(iter(MAKERS)) if asked == "auto" else asked
    if name not in MAKERS:
        raise GraphError(f"backend '{asked}' is not installed; those that are: {', '.join(MAKERS)}")
    return MAKERS[name](graph, "it was asked for" if name == asked else "the fastest there is")


def _reference(graph: Graph, reason: str) -> Plan:
    return Plan(graph, "reference", reason, str(graph), lambda values: execute(graph, values))


def _numpy(graph: Graph, reason: str) -> Plan:
    from autograd.execute.numpy_plan import NumpyProgram
    from autograd.rewrite.pipeline import optimized

    program = NumpyProgram(optimized(graph)[0])
    return Plan(graph, "numpy", reason, program.source, program.execute)


MAKERS: dict[str, Callable[[Graph, str], Plan]] = {"reference": _reference, "numpy": _numpy}
"""What makes the plans of each backend, the fastest first, from a graph and why it was chosen."""
