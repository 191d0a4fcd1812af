"""What a drawn gradient will save, compute again and take, told before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from autograd.errors import GraphError
from autograd.execute.footprint import nbytes, predicted
from autograd.graph import Graph
from autograd.node import Node
from autograd.room import shown
from autograd.spec import UNKNOWN
from loops.checkpoints import forward_steps
from loops.memory import state_bytes


@dataclass(frozen=True)
class LoopPlan:
    """How the gradient of one loop goes by what each step computed.

    `forward_steps` counts the body runs beside the loop's own, as part of its gradient: those of
    the loop run again, saving; or those between checkpoints, and one more for each step going back.
    Of a loop inside, all numbers are for one step of the loop around it. None: the data decide.
    """

    name: str
    """The path of the loop, or of its gradient where it lies in one."""
    steps: int | None
    strategy: str
    """`residuals`, `all states`, `checkpoints`; `nothing`, where what there is anyway will do."""
    checkpoints: int | None
    """How many states are kept at a time, the initial one included."""
    saved: float
    """Bytes of what is saved or kept (the initial state is there anyway)."""
    forward_steps: int | None

    def __str__(self) -> str:
        steps = "as many steps as it takes" if self.steps is None else f"{self.steps:,} steps"
        kept = f" ({self.checkpoints:,})" if self.strategy == "checkpoints" else ""
        again = "" if self.forward_steps is None else f", runs {self.forward_steps:,} steps forward"
        saved = "stacks that grow" if self.saved == inf else shown(self.saved)
        return f"{self.name}: {steps}, keeps {self.strategy}{kept}: {saved}{again}"


@dataclass(frozen=True)
class MemoryPlan:
    """The plan of a graph: `print(memory_plan(graph))`."""

    loops: tuple[LoopPlan, ...]
    peak: float
    """Bytes that running the graph takes at most, beyond inputs, parameters and constants."""
    at: str
    """The node at which it does."""

    def __str__(self) -> str:
        where = f" at {self.at}" if self.at else ""
        return "\n".join([f"peak at most {shown(self.peak)}{where}", *map(str, self.loops)])


def memory_plan(graph: Graph) -> MemoryPlan:
    """Return what the gradients in `graph` save, compute again and take, without running it.

    >>> print(memory_plan(model.grad(memory="64MB")))
    """
    if not isinstance(graph, Graph):
        raise GraphError(
            f"memory_plan is for a graph with gradients in it, but got {type(graph).__name__}; "
            "draw a function first: memory_plan(autograd.trace(fn, *shapes).grad(memory='64MB'))"
        )
    pulled = {path: node for path, _, node in graph.walk() if node.pulled and node.bodies}
    loops = []
    for path, node in pulled.items():
        name = path.removesuffix("_grad")
        if node.op.name == "replay":
            loops.append(_replay(name, node))
        elif node.op.name == "loop" and path.endswith("_saved"):
            loops.append(_saving(path.removesuffix("_saved"), node))
        elif node.op.name == "loop" and f"{name}_saved" not in pulled:
            loops.append(LoopPlan(name, _steps(node, node.attrs["each"]), "nothing", None, 0, 0))
    found = predicted(graph)
    return MemoryPlan(
        tuple(loops), found.bytes, "" if found.node is None else graph.names[found.node]
    )


def _replay(name: str, node: Node) -> LoopPlan:
    attrs = node.attrs
    steps = _steps(node, attrs["each"] + attrs["incoming"])
    slots: int = attrs["checkpoints"]
    if steps is not None:
        slots = min(slots, steps)
    lags = attrs.get("lags") or (1,) * attrs["states"]
    exact = steps is not None and not (attrs.get("until") or attrs.get("counted"))
    return LoopPlan(
        name,
        steps,
        "all states" if steps is not None and slots >= steps else "checkpoints",
        slots,
        max(slots - 1, 0) * state_bytes(attrs["step"], lags),
        forward_steps(steps, max(slots, 1)) + steps if exact and steps is not None else None,
    )


def _saving(name: str, node: Node) -> LoopPlan:
    specs: Sequence = node.spec  # type: ignore[assignment, type-arg]
    steps = _steps(node, node.attrs["each"])
    exact = not (node.attrs.get("until") or node.attrs.get("counted"))
    names = list(node.attrs["body"].outputs)
    saved = sum(nbytes(s) for s, key in zip(specs, names, strict=True) if key.startswith("saved_"))
    return LoopPlan(name, steps, "residuals", None, saved, steps if exact else None)


def _steps(node: Node, sequences: int) -> int | None:
    """Return the most steps of a loop whose last inputs are so many sequences."""
    length = node.inputs[-1].shape[0] if sequences else node.attrs["length"]
    return None if length is UNKNOWN else length
