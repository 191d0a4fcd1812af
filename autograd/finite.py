"""Where a NaN is born: the first value that is not finite, forward or backward, and whose it is.

Under `check_finite` everything is computed as ever, and it is noticed cheaply (see
`execute.screen`) when a value is not finite. Only then is the graph, or the loop, run again, node
by node, to find the first node that made NaN or infinity out of something finite. What counts:

    NaN          is always an error. If it came in from outside, the input or parameter is named.
    infinity     is an error if finite values made it. Where an input is infinite already (a mask of
                 -inf, the beginning of a running maximum), an infinite result is a legitimate one.

Random numbers come from keys, so the second run draws the same ones. An op of the user's own is
called a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.describe import Origin, origin_of, user_line
from autograd.errors import NonFiniteError
from autograd.execute.reference import SCREENED, Teller, Watcher, execute
from autograd.execute.screen import ScreenError, finite
from autograd.grad import Placed
from autograd.graph import Graph
from autograd.node import Node
from autograd.ops.elementwise import Elementwise
from autograd.parameter import Parameter
from autograd.scope import State, checking, current_state
from autograd.spec import Array, Spec, spec_of
from autograd.trampoline import trampoline

if TYPE_CHECKING:
    from autograd.op import Op

STEP = re.compile(r"\[(\d+)\]\.")
SEVERAL = re.compile(r"^(\[\d+\])\.\d+\.")
"""What goes back over a loop may have several bodies a step; the loop has one."""
NOTICED: Any = {"over": "raise", "divide": "raise", "invalid": "raise"}
QUIET: Any = {"over": "ignore", "divide": "ignore", "invalid": "ignore"}

HINTS = {
    ("forward", "log"): "the logarithm of 0 is -inf and that of a negative number NaN; keep its "
    "argument above 0, for example log(maximum(x, 1e-12))",
    ("forward", "sqrt"): "the root of a negative number is NaN; use sqrt(maximum(x, 0.0))",
    ("forward", "divide"): "a divisor is 0, or too small; add a small number to it, or choose by "
    "where before dividing",
    ("forward", "exp"): "exp overflows; subtract the largest argument first, or use logsumexp, "
    "softmax or sigmoid, which do",
    ("forward", "power"): "a negative base with a fractional exponent is NaN, and 0 to a negative "
    "power or a large power is inf; keep the base in its domain",
    ("backward", "sqrt"): "the slope of sqrt at 0 is infinite; use sqrt(maximum(x, 1e-12))",
    ("backward", "log"): "the slope of log at 0 is infinite; use log(maximum(x, 1e-12))",
    ("backward", "divide"): "a divisor is 0, or too small; add a small number to it, or choose by "
    "where before dividing: a where behind the division hides the value, not the gradient",
    ("backward", "power"): "the slope of x**y at 0 is infinite for y < 1, and that in y is NaN for "
    "x < 0; keep the base in its domain",
}
OTHERWISE = {
    "forward": "keep the inputs in the op's domain; where they have grown too large, scale them, "
    "take smaller steps, or compute in float64",
    "backward": "keep the inputs away from where the slope is infinite (docs/conventions.md); "
    "where gradients have grown too large, clip them, take smaller steps, or compute in float64",
    "outside": "see where that value comes from, or compute it under check_finite() too",
}


@dataclass(frozen=True)
class Finding:
    """The first value that is not finite."""

    direction: str
    """`forward` or `backward`."""
    source: str
    """`op`, where an op made it of finite values; else what it came in by, `input` and so on."""
    path: str
    """`outer[3].encoder[117].sigmoid_4`: the node whose value, or whose gradient, it is."""
    steps: tuple[int, ...]
    """The step of each enclosing loop, outermost first."""
    op: str
    """The op of the node at `path`."""
    spec: Spec
    """That of the array in which it was found."""
    counts: dict[str, int]
    """How many elements are `nan`, `+inf`, `-inf`; the kind found first stands first."""
    index: tuple[int, ...]
    """Index of the first of them in row-major order."""
    computed_by: str
    """Path and op of the node that was computed then; for a gradient, one of the gradient's."""
    inputs: tuple[str, ...]
    """What it was computed from: names, specs and ranges."""
    line: tuple[str, int] | None
    """Where the user wrote the node at `path`."""

    @property
    def row(self) -> int | None:
        """The index along the first axis: the row of the batch, where that comes first."""
        return self.index[0] if self.index else None

    @property
    def kind(self) -> str:
        """`nan`, `+inf` or `-inf`: what the element at `index` is."""
        return next(iter(self.counts))

    def __str__(self) -> str:
        counts = " and ".join(f"{count} {kind}" for kind, count in self.counts.items())
        place = f"index {self.index} of {self.spec}" if self.index else f"{self.spec}"
        row = "" if self.row is None else f", row {self.row}"
        found = f"{self.kind} at {place} ({counts} among {self.spec.size})"
        if self.source != "op":
            return (
                f"{self.source} {self.path}{row}: {found} came in from outside; "
                f"{OTHERWISE['outside']}"
            )
        what = "value" if self.direction == "forward" else "gradient"
        by = "" if self.computed_by == self.path else f", computed by {self.computed_by}"
        given = "; ".join(self.inputs) or "nothing"
        hint = HINTS.get((self.direction, self.op), OTHERWISE[self.direction])
        return (
            f"{self.path}{row}: the first {what} that is not finite, {self.direction}, in op "
            f"'{self.op}'{by}: {found}. It was computed from {given}. Hint: {hint}"
        )


def error_of(finding: Finding) -> NonFiniteError:
    """Return the error that says `finding`, at the line where its node was written."""
    error = NonFiniteError(str(finding))
    error.finding = finding
    error.line = finding.line or error.line
    return error


@contextmanager
def check_finite() -> Iterator[None]:
    """Raise a NonFiniteError where a value or gradient stops being finite (a context, a decorator).

        with autograd.check_finite():
            loss = model(xs)
            loss.backward()

    Covers all that is computed inside by this thread or task: ops on tensors, loops and layers,
    `backward()`, `grad` and the like, and graphs that are run. The error names the node by its
    path, with the steps of loops, the row, and the line where it was written; `error.finding` has
    the same for programs. NumPy's own warnings of overflow and the like are not given then.
    """
    with np.errstate(**QUIET), checking(Check()):
        yield


class Check:
    """What `check_finite` puts into the state; the engine calls it where values are computed."""

    def computed(
        self, op: Op, inputs: Sequence[Node], values: Sequence[Any], attrs: dict[str, Any]
    ) -> tuple[Any, tuple[str, int] | None]:
        """Return what `op` computes of tensors, checked, and the user's line."""
        line = user_line()
        if op.bodies(attrs):  # it comes to `run_op`
            return op.forward(*values, **attrs), line
        try:
            value = op.forward(*values, **attrs)
        except FloatingPointError:  # somebody has made NumPy raise inside
            with np.errstate(**QUIET):
                value = op.forward(*values, **attrs)
        if not finite(value if type(value) is tuple else np.asarray(value)):
            self._judge(op, inputs, values, value, line)
        return value, line

    def _judge(
        self, op: Op, inputs: Sequence[Node], values: Sequence[Any], value: Any, line: Any
    ) -> None:
        """Raise what is to be said of an eager op's `value`, which is not finite."""
        for array in _arrays(value):
            found = born(op, values, array)
            if found is not None:
                names = [x.name or f"input {i}" for i, x in enumerate(inputs)]
                whose = _of_a_gradient(current_state().pulling)
                name, forward_op, line = whose or (op.name, op.name, line)
                raise error_of(
                    Finding(
                        direction="backward" if whose else "forward",
                        source="op",
                        path=name,
                        steps=(),
                        op=forward_op,
                        computed_by=op.name,
                        inputs=_ranges(names, values),
                        line=line,
                        **_place(array, found),
                    )
                )
        for number, (x, given) in enumerate(zip(inputs, values, strict=True)):
            for array in _arrays(given):
                nan = _nan(array)
                if nan is not None:
                    kind = "parameter" if type(x) is Parameter else "input"
                    place = f"'{x.name}' of" if x.name else f"{number} of"
                    raise error_of(_outside(kind, f"{place} op '{op.name}'", x, array, nan, line))

    def run_graph(
        self, graph: Graph, values: Sequence[Any], tell: Callable[[str, Array], None] | None = None
    ) -> list[Any]:
        """Return what `execute` returns of `graph`, checked."""
        self._check_leaves(graph, values)
        finder = Finder(tell=tell)
        results: list[Any] = _noticed(lambda watch: execute(graph, values, watch), finder)
        return results

    def _check_leaves(self, graph: Graph, values: Sequence[Any]) -> None:
        for (name, node), value in zip(graph.inputs.items(), values, strict=True):
            nan = _nan(value)
            if nan is not None:
                raise error_of(_outside("input", name, node, value, nan, node.line))
        leaves = graph._cache.get("leaves")
        if leaves is None:
            leaves = graph._cache["leaves"] = _leaves(graph)
        for path, node in leaves:
            nan = _nan(node._value)
            if nan is not None:
                kind = "parameter" if type(node) is Parameter else "constant"
                raise error_of(_outside(kind, path, node, node._value, nan, node.line))

    def run_op(self, op: Op, values: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """Return what an op with bodies computes of arrays, its bodies checked."""
        bodies = op.bodies(attrs)
        name = bodies[0].name if len(bodies) == 1 else op.name
        pulling = current_state().pulling
        for i, value in enumerate(
            values if pulling is False else ()
        ):  # a walk's are looked at already
            nan = _nan(value)
            if nan is not None:
                ports = [port for port in op.ports(attrs)[0] if port.outer == i]
                names = [list(bodies[port.body].inputs)[port.inner] for port in ports]
                where = f"'{names[0]}' of {op.name} '{name}'" if names else f"{i} of '{name}'"
                raise error_of(_outside("input", where, None, value, nan, None))
        finder = Finder(root=name, gradient_of=pulling)
        return _noticed(lambda watch: trampoline(op.run(values, attrs, watch, name)), finder)

    def cotangents(self, state: State) -> dict[Node, Any]:
        """Return where a walk keeps its cotangents, each looked at when it comes."""
        return CheckedCotangents(state)


def _noticed(run: Callable[[Watcher], Any], finder: Finder) -> Any:
    """Return what `run` returns; where something seems not to be finite, run again to find it."""
    if finder.teller is None:
        try:
            with np.errstate(**NOTICED):
                return run(SCREENED)
        except NonFiniteError:  # from a check within the user's own code
            raise
        except (ScreenError, FloatingPointError):  # perhaps in vain: an op may handle it itself
            pass
    with np.errstate(**QUIET):
        return run(finder)


class Finder(Watcher):
    """Raises at the first node that makes something not finite of what is."""

    def __init__(
        self,
        root: str = "",
        gradient_of: Any = False,
        tell: Callable[[str, Array], None] | None = None,
    ) -> None:
        whose = _of_a_gradient(gradient_of)
        self.chain = [(root, whose[0] if whose else root)] if root else []
        """Of each enclosing node with bodies: its path, and what it is called, outermost first."""
        self.teller = None if tell is None else Teller(tell)

    def enter(self, prefix: str, graph: Graph, node: Node) -> None:
        origin = origin_of(node, graph.names)
        name = graph.names[node]
        self.chain.append((prefix + name, self._path(prefix) + (origin.name if origin else name)))

    def saw(self, prefix: str, graph: Graph, node: Node, inputs: Sequence[Any], value: Any) -> None:
        if self.teller is not None:
            self.teller.saw(prefix, graph, node, inputs, value)
        if node.bodies:  # its values are those of its bodies
            self.chain.pop()
            return
        for array in _arrays(value):
            found = born(node.op, inputs, array)
            if found is not None:
                raise error_of(self._finding(prefix, graph, node, inputs, array, found))

    def _path(self, prefix: str) -> str:
        """Return `prefix` with gradient loops called by what they are the gradients of."""
        if not self.chain:
            return prefix
        path, called = self.chain[-1]
        return called + SEVERAL.sub(r"\1.", prefix[len(path) :])

    def _finding(
        self,
        prefix: str,
        graph: Graph,
        node: Node,
        inputs: Sequence[Any],
        value: Array,
        found: Array,
    ) -> Finding:
        name = graph.names[node]
        origin = origin_of(node, graph.names)
        path = self._path(prefix)
        if origin is not None:  # where loops are laid out, names have steps in them
            path += name[: name.rfind("].") + 2] if "]." in name else ""
        else:
            origin = Origin(name, node.op.name, node.line)
        names: Mapping[Node, str] = graph.names
        return Finding(
            direction="backward" if node.pulled else "forward",
            source="op",
            path=path + origin.name,
            steps=tuple(map(int, STEP.findall(prefix + name))),
            op=origin.op,
            computed_by=prefix + name + ("" if origin.name == name else f" ({node.op.name})"),
            inputs=_ranges([names[x] for x in node.inputs], inputs),
            line=origin.line or node.line,
            **_place(value, found),
        )


class CheckedCotangents(dict[Node, Any]):
    """The cotangents of a walk over tensors. What a node's rule returns is checked as it is put."""

    __slots__ = ("incoming", "node", "state")

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.node: Node | None = None
        self.incoming: Any = None

    def pop(self, node: Node, default: Any = None) -> Any:
        g = super().pop(node, default)
        if type(g) is list:
            g = [part.total() if type(part) is Placed else part for part in g]
        elif type(g) is Placed:
            g = g.total()
        self.state.pulling = self.node = node
        self.incoming = g
        return g

    def __setitem__(self, x: Node, g: Any) -> None:
        newest = g.parts[-1] if type(g) is Placed else g
        if isinstance(newest, (np.ndarray, np.generic)) and not finite(np.asarray(newest)):
            self._judge(np.asarray(newest))
        super().__setitem__(x, g)

    def _judge(self, g: Array) -> None:
        node = self.node
        if node is None:
            nan = _nan(g)
            if nan is not None:
                raise error_of(_outside("seed", "of the gradient", None, g, nan, None))
            return
        values = [x._value for x in node.inputs]
        incoming = self.incoming if type(self.incoming) is list else [self.incoming]
        known = [part for part in (*incoming, node._value, *values) if isinstance(part, np.ndarray)]
        found = born(node.op, known, g)
        name, op, line = _of_a_gradient(node) or ("", "", None)
        if found is not None:
            names = ["the gradient", *[x.name or f"input {i}" for i, x in enumerate(node.inputs)]]
            raise error_of(
                Finding(
                    direction="backward",
                    source="op",
                    path=name,
                    steps=(),
                    op=op,
                    computed_by=name,
                    inputs=_ranges(names, [incoming[0], *values]),
                    line=line,
                    **_place(g, found),
                )
            )
        for x, given in zip(node.inputs, values, strict=True):
            for value in _arrays(given):
                nan = _nan(value)
                if nan is not None:
                    named = f"'{x.name}' of" if x.name else "of"
                    where = f"{named} op '{op}', which is differentiated"
                    raise error_of(_outside("value", where, x, value, nan, line))


def _of_a_gradient(node: Any) -> tuple[str, str, Any] | None:
    """Return name, op and line of the tensor whose rule is being computed, if it is known."""
    if not isinstance(node, Node):
        return None
    bodies = node.bodies
    name = node.name or (bodies[0].name if len(bodies) == 1 else node.op.name)
    return name, node.op.name, node.line


def _arrays(value: Any) -> list[Array]:
    return [np.asarray(part) for part in (value if type(value) is tuple else (value,))]


def _floats(values: Sequence[Any]) -> list[Array]:
    """Return the arrays of floats among what an op was given (`item` is given a tuple)."""
    arrays = [array for value in values for array in _arrays(value)]
    return [array for array in arrays if array.dtype.kind == "f"]


def born(op: Op, inputs: Sequence[Any], value: Array) -> Array | None:
    """Return where `value` is not finite through the fault of `op`, as bools, or None.

    Element by element for elementwise ops, whose inputs broadcast; as a whole for all others.
    """
    if value.dtype.kind != "f" or np.isfinite(value).all():
        return None
    floats = _floats(inputs)
    if isinstance(op, Elementwise) and all(_reaches(x, value) for x in floats):
        nan = np.zeros(value.shape, bool)
        infinite = np.zeros(value.shape, bool)
        for x in floats:
            nan |= np.isnan(x)
            infinite |= np.isinf(x)
    else:
        nan = np.asarray(any(np.isnan(x).any() for x in floats))
        infinite = np.asarray(any(np.isinf(x).any() for x in floats))
    found = (np.isnan(value) & ~nan) | (np.isinf(value) & ~nan & ~infinite)
    return found if found.any() else None


def _reaches(x: Array, value: Array) -> bool:
    try:
        return np.broadcast_shapes(x.shape, value.shape) == value.shape
    except ValueError:
        return False


def _place(value: Array, found: Array) -> dict[str, Any]:
    """Return what a Finding says of the elements `found` (bools) of `value`."""
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(found)), value.shape))
    kinds = {
        "nan": np.isnan(value),
        "+inf": np.isposinf(value),
        "-inf": np.isneginf(value),
    }
    first = next(kind for kind, where in kinds.items() if where[index])
    counts = {kind: int((where & found).sum()) for kind, where in kinds.items()}
    counts = {first: counts.pop(first)} | counts
    return {
        "index": index,
        "counts": {kind: count for kind, count in counts.items() if count},
        "spec": spec_of(value),
    }


def _ranges(names: Sequence[str], values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(f"{name} {_range(x)}" for name, x in zip(names, values, strict=True))


def _range(value: Any) -> str:
    """Return spec and range of a value: `float64[2] from -1 to 3`."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return "(several values)"
    array = np.asarray(value)
    if not array.size:
        return f"{spec_of(array)}"
    if array.dtype.kind == "f" and np.isnan(array).all():
        return f"{spec_of(array)}, all nan"
    fmin, fmax = (np.min, np.max) if array.dtype.kind != "f" else (np.nanmin, np.nanmax)
    return f"{spec_of(array)} from {fmin(array):.6g} to {fmax(array):.6g}"


def _nan(value: Any) -> Array | None:
    """Return where `value` is NaN, as bools, if it is anywhere."""
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.dtype.kind != "f" or finite(array):
        return None
    nan = np.isnan(array)
    return nan if nan.any() else None


def _outside(
    source: str, path: str, node: Node | None, value: Any, nan: Array, line: Any
) -> Finding:
    return Finding(
        direction="forward",
        source=source,
        path=path,
        steps=(),
        op=node.op.name if node is not None else source,
        computed_by=path,
        inputs=(),
        line=line or (node.line if node is not None else None),
        **_place(np.asarray(value), nan),
    )


def _leaves(graph: Graph) -> list[tuple[str, Node]]:
    """Return parameters, and constants with NaN in them, here and in all bodies, with paths."""
    found: dict[Node, str] = {}
    for path, _, node in graph.walk():
        if node.inputs or node.virtual or node.bodies:
            continue
        if isinstance(node, Parameter) or _nan(node._value) is not None:
            found.setdefault(node, path)
    return [(path, node) for node, path in found.items()]
