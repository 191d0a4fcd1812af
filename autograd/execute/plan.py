"""Plans: a graph made ready to run, by one of several backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from autograd.backend import checked, chosen
from autograd.errors import GraphError
from autograd.execute.reference import execute
from autograd.recent import Recent
from autograd.scope import current_state
from autograd.spec import Array, make_spec

if TYPE_CHECKING:
    from autograd.graph import Graph


MOST_SIZES = 8
"""For how many sizes `resize` keeps graphs, and their plans with them."""


class Plan:
    """A graph made ready to run many times. `graph.compile()` returns one."""

    def __init__(
        self,
        graph: Graph,
        backend: str,
        reason: str,
        source: str,
        execute: Callable[[Sequence[Any]], list[Array]],
        fallbacks: Mapping[str, str] | None = None,
        resident: Mapping[str, Array] | None = None,
        inputs: Sequence[Array] = (),
        call: Callable[[], list[Array]] | None = None,
        held: int = 0,
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
        Inputs that are fed back (`resident`) are left out.
        """
        self.fallbacks = dict(fallbacks or {})
        """Paths of nodes that another backend runs for this one, and why."""
        self.resident = dict(resident or {})
        """The memory of inputs that are fed back: what a run makes of them is in here after it."""
        self.inputs = list(inputs)
        """The memory of the other inputs, in order, for who fills it and then uses `call`."""
        self.call = call
        """Runs on what is in memory, and returns the outputs. One thread at a time."""
        self.held = held
        """Bytes of memory that it keeps between runs."""
        self._first = graph
        """The graph that `resize` starts from, and that keeps what it makes."""

    def run(self, **inputs: Any) -> dict[str, Array]:
        """Return the values of the outputs, read-only, by name: what `graph.run(...)` returns."""
        if current_state().check is not None:  # who looks at every value needs every node
            return self.graph.run(**inputs)
        values = self.graph.checked(inputs, "plan")
        return self.graph.leaving(self.execute(values), values)

    def resize(self, **shapes: Any) -> Plan:
        """Return the plan for inputs of other shapes: `plan.resize(xs=(200, 8, 32))`.

        The graph is made again by `Graph.resize`, with what it says of sizes, and runs by the same
        backend; native code for other sizes is the same code. The last 8 sizes are kept.
        """
        if self.resident:
            raise GraphError("a plan that keeps inputs is for one size; make one for the other")
        sizes = {name: node.shape for name, node in self.graph.inputs.items()}
        sizes |= {name: make_spec(shape).shape for name, shape in shapes.items()}
        known = self._first._cache.setdefault("sizes", Recent(MOST_SIZES))
        key = tuple(sizes.items())
        graph = known.get(key) or known.put(key, self._first.resize(**sizes))
        plan = compiled(graph, self.backend)
        plan.reason = self.reason
        plan._first = self._first
        return plan

    def __repr__(self) -> str:
        names = list(self.fallbacks)
        others = f"; fallbacks: {', '.join(names[:3])}" if names else ""
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        said = f"{self.reason}{others}{more}"
        return f"<Plan of graph '{self.graph.name}' for {self.backend}: {said}>"


class Parts(NamedTuple):
    """What a plan has beside its graph; kept with the graph, where a plan would be a cycle."""

    backend: str
    reason: str
    source: str
    execute: Callable[[Sequence[Any]], list[Array]]
    fallbacks: Mapping[str, str]
    resident: Mapping[str, Array]
    inputs: Sequence[Array] = ()
    call: Callable[[], list[Array]] | None = None
    held: int = 0


MOST_NATIVE = 2_000
MOST_NUMPY = 20_000
"""Up to how many nodes `auto` chooses a native or NumPy plan: the time to build one grows."""

Feedback = Mapping[str, str]
"""Inputs that stay in a plan, each with the output that is its next value."""


def compiled(graph: Graph, backend: str | None = None, feedback: Feedback | None = None) -> Plan:
    """Return the plan of `graph` for a backend, by default the one chosen.

    It is made once, and its memory is there once: threads that run it take turns.

    With `feedback`, each run ends with the next values in the place of those inputs, all of them at
    once; such a plan has a state of its own, so it is made anew each time.
    """
    asked = chosen() if backend is None else checked(backend)
    if feedback:
        return Plan(graph, *_made(graph, asked, feedback))
    key = ("plan", asked)
    parts: Parts | None = graph._cache.get(key)
    if parts is None:
        parts = _made(graph, asked, {})
        if parts.backend != "reference":  # which is quickly made, and holds the graph
            graph._cache[key] = parts
    return Plan(graph, *parts)


def _made(graph: Graph, asked: str, feedback: Feedback) -> Parts:
    if asked != "auto":
        return MAKERS[asked](graph, "it was asked for", feedback)
    nodes = sum([1 for _ in islice(graph.walk(), MOST_NUMPY + 1)])
    if nodes > MOST_NUMPY and not feedback:
        reason = f"to write source for more than {MOST_NUMPY:,} nodes takes longer than it saves"
        return _reference(graph, reason, feedback)
    if native_missing():
        return _numpy(graph, native_missing(), feedback)
    if nodes > MOST_NATIVE:
        reason = f"to compile {nodes:,} nodes takes long, backend='native' does it all the same"
        return _numpy(graph, reason, feedback)
    return _native(graph, "nothing is faster", feedback)


def _reference(graph: Graph, reason: str, feedback: Feedback) -> Parts:
    if feedback:
        raise GraphError(
            "the reference executor keeps no inputs; ask for a plan of another backend"
        )
    return Parts("reference", reason, str(graph), partial(execute, graph), {}, {})


def _numpy(graph: Graph, reason: str, feedback: Feedback) -> Parts:
    from autograd.execute.numpy_plan import NumpyProgram
    from autograd.rewrite.pipeline import optimized

    program = NumpyProgram(optimized(graph)[0], feedback)
    return _of("numpy", reason, program)


def _native(graph: Graph, reason: str, feedback: Feedback) -> Parts:
    from autograd.execute.native_plan import MACHINE, NativeProgram
    from autograd.rewrite.pipeline import optimized

    program = NativeProgram(optimized(graph, machine=MACHINE)[0], feedback)
    return _of("native", reason, program)


def _of(backend: str, reason: str, program: Any) -> Parts:
    return Parts(
        backend,
        reason,
        program.source,
        program.execute,
        program.fallbacks,
        program.resident,
        program.inputs,
        program.call,
        program.size,
    )


@cache
def native_missing() -> str:
    """Say why there can be no native plans here, or return ""."""
    from autograd.execute.native.compiler import machine

    try:
        machine()
    except ImportError:
        return "llvmlite is not installed (pip install 'loopgrad[native]')"
    return ""


MAKERS: dict[str, Callable[[Graph, str, Feedback], Parts]] = {
    "reference": _reference,
    "numpy": _numpy,
    "native": _native,
}
"""What makes the plans of each backend, from a graph, why it was chosen, and what is fed back."""
