"""Ops: the primitives. One op is one block: forward, infer, vjps and batch side by side.

`docs/add_an_op.md` walks through adding one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from autograd.errors import GradientError, GraphError
from autograd.node import OPS, Node, apply, items
from autograd.spec import Spec

if TYPE_CHECKING:
    from autograd.graph import Graph

DIVISION, FUNCTION = 4, 8
"""What a division or square root, and what a function such as exp or tanh, counts in flops. An
addition, a multiplication or a comparison is 1: the weights of the Livermore kernels (McMahon 1986,
"The Livermore Fortran kernels", UCRL-53745). How long they take on a machine is another matter."""

Rule = Callable[..., Any]
"""The gradient of one input: `rule(g, y, *xs, **attrs)`, written in ops, `None` for no gradient."""


@dataclass(frozen=True)
class Port:
    """How an input of a node reaches a body: `kind` is for readers, the numbers are positions."""

    kind: str
    """`shared`, `state`, `each` (one slice a step), `replayed` (a state, computed again from its
    initial value) or `operand`."""
    outer: int
    """Position in `node.inputs`."""
    inner: int
    """Position in the body's inputs."""
    body: int = 0
    """Position in `node.bodies`."""
    fed_by: int | None = None
    """For a state: position of the body output that becomes its value in a later step."""
    lag: int = 1
    """For a state: how many steps later."""
    steers: bool = False
    """Whether the node itself reads it, to see how often its body runs."""


@dataclass(frozen=True)
class Trips:
    """How often the bodies of a node run each time the node does."""

    count: int | None
    """None where only the data decide."""
    exact: bool = True
    """False where `count` is the most there can be."""
    one_of: bool = False
    """True where one of several bodies runs, and the others do not."""


@dataclass(frozen=True)
class Exit:
    """How an output of a body leaves its node: `kind` is `final`, `stacked` or `result`."""

    kind: str
    inner: int
    """Position in the body's outputs."""
    outer: int
    """Position in the node's outputs."""
    body: int = 0


class Op:
    """A primitive. Subclasses give `forward`, `infer`, `vjps` (or `pull`) and `batch`.

    `forward(*arrays, **attrs)` computes on NumPy arrays and never writes into its inputs.
    `infer(*specs, **attrs)` returns the spec of the result, or raises ShapeError or DTypeError.
    `vjps[i](g, y, *xs, **attrs)` returns the gradient of input `i`, given that of the output `y`.
    It is written in ops, so the same rule computes (on arrays) and draws (on nodes).
    `batch(batched, *xs, **attrs)` returns the result for one more leading axis on those inputs
    where `batched` is true, with that axis leading in the result.
    """

    vjps: ClassVar[tuple[Rule | None, ...]] = ()
    broadcasts: ClassVar[bool] = False
    """True where inputs broadcast against each other; the walk then sums their gradients back."""
    multiple: ClassVar[bool] = False
    """True for an op with several outputs: `forward` and `infer` then return tuples."""
    portable: ClassVar[bool] = True
    """False for an op that runs code of the user's, which no graph file can hold."""
    free: ClassVar[bool] = False
    """True for an op that only looks at its input in another way (NumPy's views)."""
    overwrites: tuple[int, ...] | None = ()
    """Inputs that a plan may write the output over, element on element, where they have its spec;
    None: all of them."""
    shape_only: ClassVar[bool] = False
    """True for an op that reads the shapes of its inputs, and no element."""
    weight: int = 1
    """How many flops one element of the result takes, for ops without a `flops` of their own."""
    node_type: ClassVar[type[Node]] = Node

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        """Apply to nodes (drawing or computing a node), or, on plain arrays, just compute."""
        for x in inputs:
            if isinstance(x, Node):
                node = apply(self, inputs, attrs)
                return items(node) if self.multiple else node
        return self.forward(*inputs, **attrs)

    def forward(self, *arrays: Any, **attrs: Any) -> Any:
        raise GraphError(f"op '{self.name}' has no forward: it is a leaf and is given its value")

    def infer(self, *specs: Any, **attrs: Any) -> Any:
        raise GraphError(f"op '{self.name}' has no infer rule; add one beside its forward")

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Any:
        """Return one gradient an input, `None` where `needs` is false or there is none.

        Ops whose gradients share work override this; all others list one rule an input.
        An op with bodies may return a generator: see `autograd.trampoline`.
        """
        grads: list[Any] = []
        for i, need in enumerate(needs):
            if not need:
                grads.append(None)
                continue
            if i >= len(self.vjps):
                raise GradientError(
                    f"op '{self.name}' has no gradient rule for input {i}; add it to its vjps, "
                    "or wrap the input in stop_gradient"
                )
            rule = self.vjps[i]
            grads.append(None if rule is None else rule(g, y, *xs, **attrs))
        return grads

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        raise GraphError(f"op '{self.name}' has no batch rule, so vmap cannot pass through it")

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        """Return the graphs this op holds. Every walk over graphs recurses through these."""
        return ()

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Any:
        """Return a task (see `autograd.trampoline`) that computes an op with bodies."""
        raise GraphError(f"op '{self.name}' holds bodies, but has no run")

    def fit(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Any:
        """Return `attrs` with bodies redrawn for inputs of other specs; or a task that does."""
        return attrs

    def replaceable(self, attrs: dict[str, Any]) -> tuple[str, ...]:
        """Return the attrs that are bodies others may stand for, of the same inputs and values."""
        return tuple([key for key, value in attrs.items() if type(value).__name__ == "Graph"])

    def expand(
        self, attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int | None
    ) -> list[Node] | None:
        """Return the outputs on `inputs` laid out, what is in a body named after `path`, or None.

        Without a `factor`, no body is left. With one, what repeats a body more often than that
        repeats so many copies of it instead. None: this cannot be done, or changes nothing.
        """
        return None

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        """Return how many floating point operations one application of an op without body counts.

        `output` is a spec, or a tuple of several. The convention: a multiplication and an addition
        are 2, so a matrix product of (m, k) and (k, n) is 2mnk. What works element by element is 1
        for each element of the result (a division 4, a function such as tanh 8: see `FUNCTION`); a
        reduction 1 for each element it reads. What only moves or looks at elements is 0. Integers
        and bools count as floats do.
        """
        if self.free or not self.weight:
            return 0
        specs = output if type(output) is tuple else (output,)
        elements: int = sum(spec.size for spec in specs)
        return self.weight * elements

    def trips(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Trips:
        """Return how often the bodies run, for inputs of these specs."""
        return Trips(1)

    def saved(self, attrs: dict[str, Any], needs: Sequence[bool], given: Sequence[bool]) -> Any:
        """Return what the gradient of an op with bodies saves each time a body runs; or a task.

        `needs` says which inputs are differentiated, `given` for which outputs a gradient comes in.
        The result is a list of (name, spec); outputs that are there anyway are left out.
        """
        return []

    def lower(self, level: Any, node: Node) -> Any:
        """Write instructions for a node with bodies into a level of a plan (`execute/lower.py`).

        Returns where its outputs are, or, in words, why the reference executor has to run it.
        """
        return "its op has no rule for plans"

    def working(
        self, inputs: Sequence[Spec], outputs: Sequence[Spec], attrs: dict[str, Any]
    ) -> Any:
        """Return the bytes a run takes for a while beside inputs and outputs; or a task."""
        from autograd.execute.footprint import scratch

        return scratch(self.name, inputs, outputs)

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        """Return how inputs reach the bodies and how body outputs leave them."""
        return (), ()

    def shifts(self, attrs: dict[str, Any]) -> tuple[int, ...]:
        """Return how many steps late each output is, if outputs are input 0 at other steps.

        Pictures then show such an output as an arrow that says so. Negative: early.
        """
        return ()

    def output_name(self, attrs: dict[str, Any], index: int) -> str:
        """Return what output `index` of several is called in text and in names of nodes."""
        return str(index)

    def label(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the attrs worth showing to a reader, in order (bodies left out)."""
        hidden = {key for key, value in attrs.items() if type(value).__name__ == "Graph"}
        return {key: value for key, value in attrs.items() if key not in hidden}


AnyOp = TypeVar("AnyOp", bound=Op)


def register(op: AnyOp) -> AnyOp:
    """Add `op` to the fixed table of ops that graph files may name, and return it."""
    if op.name in OPS:
        raise GraphError(f"there already is an op named '{op.name}'; choose another name")
    OPS[op.name] = op
    return op
