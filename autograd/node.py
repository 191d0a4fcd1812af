"""Nodes, and `apply`, the one door through which every node is made.

A node is one application of an op to other nodes, or a leaf. It is *virtual* while it has no
value; a *tensor* is a node that has one. Nodes never change once made (a parameter's value may be
replaced), so creation order is a topological order: `node.serial` counts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from autograd.arrays import copied, locked
from autograd.describe import describe, explain, locate, put_in_front, undrawn, user_line
from autograd.errors import DTypeError, GradientError, GraphError, LoopGradError, ShapeError
from autograd.methods import ArrayMethods, boolean
from autograd.scope import STATE, Scope, State, current_state
from autograd.spec import Array, Spec, checked_dtype, make_spec, spec_of

if TYPE_CHECKING:
    from autograd.graph import Graph
    from autograd.op import Op

OPS: dict[str, Op] = {}
"""Every op of the library by name; `autograd.op.register` fills it."""

NO_ATTRS: dict[str, Any] = {}
_new = object.__new__
_next_serial = count(1).__next__
_ndarray = np.ndarray


class _Released(tuple[()]):
    """Stands for the inputs of a node whose graph `backward()` has used up."""

    __slots__ = ()


RELEASED: Any = _Released()


class Node(ArrayMethods):
    """One application of an op, or a leaf. Operators and NumPy functions on it make new nodes."""

    __slots__ = (
        "__weakref__",
        "_frozen",
        "_pulled",
        "_spec",
        "_value",
        "attrs",
        "inputs",
        "line",
        "name",
        "op",
        "scope",
        "serial",
        "tracked",
    )

    op: Op
    inputs: tuple[Node, ...]
    attrs: dict[str, Any]
    name: str | None
    line: tuple[str, int] | None
    scope: Any
    serial: int
    tracked: bool
    _value: Any
    _spec: Any
    _frozen: bool
    _pulled: Any

    __array_priority__: ClassVar[float] = 1000.0
    __hash__ = object.__hash__

    # What it is.

    @property
    def spec(self) -> Spec:
        """Shape and dtype. (For a node with several outputs: a tuple of specs.)"""
        spec = self._spec
        if spec is None:
            value = self._value
            if type(value) is tuple:
                spec = tuple(spec_of(part) for part in value)
            elif value is None:
                raise undrawn(self)
            else:
                spec = spec_of(value)
        result: Spec = spec
        return result

    @property
    def shape(self) -> tuple[int, ...]:
        value = self._value
        shape: tuple[int, ...] = self.spec.shape if value is None else value.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        value = self._value
        dtype: np.dtype[Any] = self.spec.dtype if value is None else value.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.spec.size

    @property
    def virtual(self) -> bool:
        """True while the node has no value."""
        return self._value is None

    @property
    def pulled(self) -> bool:
        """True for a node that a gradient rule has drawn."""
        return self.origin is not False

    @property
    def origin(self) -> Any:
        """What a gradient rule that drew this node belongs to: a node, or its `Origin`.

        True where that is not known; False for all other nodes.
        """
        return getattr(self, "_pulled", False)

    @property
    def frozen(self) -> bool:
        """True for an integer or bool computed from parameters, their values at that moment."""
        return getattr(self, "_frozen", False)

    @property
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs this node holds: empty for all but loops, branches and their like."""
        return self.op.bodies(self.attrs)

    @property
    def value(self) -> Any:
        """The value, as a read-only array: what a backward may still need cannot be changed."""
        value = self._value
        if value is None:
            if self._spec is None:
                raise undrawn(self)
            inside = (
                ""
                if self.scope is None
                else f" (in the body of '{self.scope.path}' compute with "
                "autograd's functions, which draw, and join nodes with autograd.stack)"
            )
            raise GraphError(
                f"{describe(self)} is virtual: it has no value until its graph is run; "
                f"use Graph(inputs, outputs).run(...){inside}"
            )
        return tuple(map(locked, value)) if type(value) is tuple else locked(value)

    def item(self) -> Any:
        """Return the value of a one-element tensor as a Python number."""
        return self.value.item()

    @property
    def grad(self) -> Node | None:
        """The gradient `backward()` has accumulated; kept for leaves only."""
        return None

    def backward(self, seed: Any = None, *, keep_graph: bool = False, **limits: Any) -> None:
        """Add the gradient of this tensor to `.grad` of every tracked leaf it depends on.

        `memory` and `checkpoints` limit what that takes, as for `autograd.grad`.
        """
        from autograd.grad import backward

        backward(self, seed, keep_graph=keep_graph, **limits)

    def named(self, name: str) -> Node:
        """Give the node a name for text, pictures, errors and queries, and return it."""
        self.name = name
        return self

    def __repr__(self) -> str:
        if self._value is None or type(self._value) is tuple:
            return f"<{describe(self)}>"
        text = np.array2string(self.value, threshold=20, separator=", ", prefix="tensor(")
        return f"tensor({text}, {self.spec})"

    # Copies and pickles. Nodes are immutable, so a copy of one is the node itself.

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self

    def __reduce__(self) -> NoReturn:
        raise LoopGradError(
            "nodes cannot be pickled (loading a pickle runs code); save the graph with "
            "graph.save(path), or the value with numpy.save"
        )

    # Operators. They look ops up by name, so this file imports no op.

    def __add__(self, other: Any) -> Node:
        return apply(OPS["add"], (self, other))

    def __radd__(self, other: Any) -> Node:
        return apply(OPS["add"], (other, self))

    def __sub__(self, other: Any) -> Node:
        return apply(OPS["subtract"], (self, other))

    def __rsub__(self, other: Any) -> Node:
        return apply(OPS["subtract"], (other, self))

    def __mul__(self, other: Any) -> Node:
        return apply(OPS["multiply"], (self, other))

    def __rmul__(self, other: Any) -> Node:
        return apply(OPS["multiply"], (other, self))

    def __truediv__(self, other: Any) -> Node:
        return apply(OPS["divide"], (self, other))

    def __rtruediv__(self, other: Any) -> Node:
        return apply(OPS["divide"], (other, self))

    def __floordiv__(self, other: Any) -> Node:
        return apply(OPS["floor_divide"], (self, other))

    def __rfloordiv__(self, other: Any) -> Node:
        return apply(OPS["floor_divide"], (other, self))

    def __mod__(self, other: Any) -> Node:
        return apply(OPS["remainder"], (self, other))

    def __rmod__(self, other: Any) -> Node:
        return apply(OPS["remainder"], (other, self))

    def __pow__(self, other: Any) -> Node:
        return apply(OPS["power"], (self, other))

    def __rpow__(self, other: Any) -> Node:
        return apply(OPS["power"], (other, self))

    def __matmul__(self, other: Any) -> Node:
        return apply(OPS["matmul"], (self, other))

    def __rmatmul__(self, other: Any) -> Node:
        return apply(OPS["matmul"], (other, self))

    def __neg__(self) -> Node:
        return apply(OPS["negative"], (self,))

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return apply(OPS["abs"], (self,))

    def __invert__(self) -> Node:
        return apply(OPS["logical_not"], (boolean(self),))

    def __and__(self, other: Any) -> Node:
        return apply(OPS["logical_and"], (boolean(self), other))

    __rand__ = __and__

    def __or__(self, other: Any) -> Node:
        return apply(OPS["logical_or"], (boolean(self), other))

    __ror__ = __or__

    def __xor__(self, other: Any) -> Node:
        return apply(OPS["logical_xor"], (boolean(self), other))

    __rxor__ = __xor__

    def __eq__(self, other: object) -> Any:
        return apply(OPS["equal"], (self, other))

    def __ne__(self, other: object) -> Any:
        return apply(OPS["not_equal"], (self, other))

    def __lt__(self, other: Any) -> Node:
        return apply(OPS["less"], (self, other))

    def __le__(self, other: Any) -> Node:
        return apply(OPS["less_equal"], (self, other))

    def __gt__(self, other: Any) -> Node:
        return apply(OPS["greater"], (self, other))

    def __ge__(self, other: Any) -> Node:
        return apply(OPS["greater_equal"], (self, other))

    def __getitem__(self, key: Any) -> Node:
        from autograd.ops.index import getitem

        result: Node = getitem(self, key)
        return result

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise LoopGradError(
            f"{describe(self)} cannot be written in place; use "
            "`x = autograd.index_set(x, key, value)` or `autograd.index_add(x, key, value)`"
        )

    def __iter__(self) -> Iterator[Node]:
        from autograd.ops.shape import unstack

        return iter(unstack(self))

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError(f"len() of {describe(self)}: a value of shape () has no length")
        return self.shape[0]

    def __contains__(self, item: Any) -> NoReturn:
        raise GraphError(f"`in` on {describe(self)}; use autograd.sum(x == item) > 0")

    @property
    def T(self) -> Node:  # noqa: N802 - NumPy's name
        """The matrix transpose: the last two axes swapped (array API `mT`; rank 0, 1: itself)."""
        if self.ndim < 2:
            return self
        return apply(OPS["swapaxes"], (self,), {"axis1": -2, "axis2": -1})

    def astype(self, dtype: npt.DTypeLike) -> Node:
        return apply(OPS["astype"], (self,), {"dtype": checked_dtype(dtype).name})

    # Python's conversions need a value.

    def _scalar(self, wanted: str) -> Any:
        if self._value is None:
            if self._spec is None:
                raise undrawn(self)
            raise GraphError(
                f"{wanted} of {describe(self)}, which is virtual and has no value yet; inside a "
                "graph choose with autograd.where or loops.cond, and read values with graph.run"
            )
        if self._value.size != 1:
            raise ShapeError(
                f"{wanted} of {describe(self)}: only a value of one element has a truth value or "
                "is a number; reduce it first, for example with autograd.all, autograd.any or sum()"
            )
        return self._value.reshape(()).item()

    def __bool__(self) -> bool:
        return bool(self._scalar("the truth value"))

    def __float__(self) -> float:
        return float(self._scalar("float()"))

    def __int__(self) -> int:
        return int(self._scalar("int()"))

    def __format__(self, form: str) -> str:
        """Format a value of one element as the number it is: `f"{loss:.3f}"`."""
        return format(self._scalar(f"the format '{form}'"), form) if form else str(self)

    def __index__(self) -> int:
        if self.dtype.kind not in "iub":
            raise DTypeError(f"{describe(self)} is not an integer and cannot be an index")
        return int(self._scalar("an index"))

    # NumPy's protocols.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.tracked and self._value is not None:
            raise GradientError(
                f"turning {describe(self)} into a NumPy array would drop its gradient silently; "
                "use the autograd function of the same name, or `x.value` if you mean the value"
            )
        value: Array = self.value
        return np.array(value, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from autograd.interop import apply_ufunc

        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from autograd.interop import apply_function

        return apply_function(func, args, kwargs)


class Leaf(Node):
    """A tensor that is its own beginning: `backward()` accumulates into its `grad`."""

    __slots__ = ("_grad",)
    _grad: Node | None

    @property
    def grad(self) -> Node | None:
        return self._grad

    @grad.setter
    def grad(self, grad: Node | None) -> None:
        if grad is not None and grad.spec != self.spec:
            raise ShapeError(
                f"the gradient of {describe(self)} must be {self.spec}, but is {grad.spec}"
            )
        self._grad = grad


# Leaves.


def make_leaf(
    cls: type[Any], op: str, value: Array | None, spec: Spec | None, tracked: bool, name: str | None
) -> Any:
    """Return a leaf of class `cls`, which takes over `value`: nobody else may write to it."""
    node = _new(cls)
    node.op = OPS[op]
    node.inputs = ()
    node.attrs = NO_ATTRS
    node.name = name
    node.line = None
    node.scope = None
    node.serial = _next_serial()
    node.tracked = tracked
    node._value = value
    node._spec = spec
    if cls is not Node:
        node._grad = None
    return node


def tensor(value: Any, dtype: npt.DTypeLike | None = None, *, requires_grad: bool = False) -> Node:
    """Return a tensor with a copy of `value` (array, number or nested list of numbers).

    With `requires_grad` it is a leaf into which `backward()` accumulates `.grad`.
    """
    if isinstance(value, Node):
        return value if dtype is None else value.astype(dtype)
    if type(value) in (tuple, list):
        _refuse_several(value)
    array = copied(value, dtype)
    if requires_grad and array.dtype.kind != "f":
        raise DTypeError(
            f"only float tensors have gradients, but this one is {spec_of(array)}; "
            "pass dtype='float64' or drop requires_grad"
        )
    cls = Leaf if requires_grad else Node
    node: Node = make_leaf(cls, "constant", array, None, requires_grad, None)
    return node


def _refuse_several(values: Sequence[Any]) -> None:
    """Refuse what a layer returned as a whole, such as (outputs, state), and lists of nodes."""
    nodes = [x for x in values if isinstance(x, Node)]
    known = all(x._value is not None and not x.tracked for x in nodes)
    if not nodes or (known and len(nodes) == len(values)):
        return
    scope = nodes[0].scope
    where = "" if scope is None else f" in the body of '{scope.path}'"
    raise GraphError(
        f"a {type(values).__name__} of {len(values)} with {describe(nodes[0])}{where} came where "
        "one array or node is wanted; of what a layer returns take a part (hs, state = rnn(xs)), "
        "and join nodes of one shape by autograd.stack"
    )


def constant(value: Any, dtype: npt.DTypeLike | None = None, name: str | None = None) -> Node:
    """Return a tensor that never has a gradient and never changes."""
    node = tensor(value, dtype)
    if name is not None:
        node.name = name
    return node


def input(name: str, shape: Any = (), dtype: npt.DTypeLike = np.float64) -> Node:
    """Return a virtual node that a graph's `run` gives a value of this shape and dtype."""
    scope = current_state().scope
    if scope is not None:
        raise GraphError(
            f"input '{name}' is made in the body of {scope.label} '{scope.path}'; make it before "
            "the block, and use it inside as it is (shared by all steps) or by each() (one slice "
            "a step)"
        )
    try:
        spec = make_spec(shape, dtype)
    except LoopGradError as error:
        put_in_front(error, f"input '{name}': ")
        raise
    node = draw_input(name, spec, None)
    node.line = user_line()
    return node


def draw_input(name: str | None, spec: Any, scope: Scope | None, tracked: bool = True) -> Node:
    """Return an input leaf of `scope`: a port of the body being drawn there."""
    node: Node = make_leaf(Node, "input", None, spec, tracked and _floating(spec), name)
    node.scope = scope
    return node


# Lifting: what a user may write beside a node.

_SCALARS: dict[tuple[Any, np.dtype[Any]], Node] = {}


def _lift_all(op: Op, inputs: Sequence[Any]) -> tuple[Node, ...]:
    """Return `inputs` as nodes. Python and NumPy scalars take the dtype of the others (NEP 50)."""
    if len(inputs) == 2:  # the everyday case, tensor * 0.5, without detours
        a, b = inputs
        if type(b) is float and isinstance(a, Node):
            known = _SCALARS.get((b, a.dtype))
            if known is not None and a.dtype.kind == "f":
                return a, known
    strong = [x.dtype for x in inputs if isinstance(x, (Node, _ndarray))]
    floats = [dtype for dtype in strong if dtype.kind == "f"]
    return tuple(x if isinstance(x, Node) else _lift(op, x, floats or strong) for x in inputs)


def _lift(op: Op, x: Any, dtypes: Sequence[np.dtype[Any]]) -> Node:
    if isinstance(x, (bool, int, float, np.generic)):
        scalar = x.item() if isinstance(x, np.generic) else x
        if not isinstance(scalar, (bool, int, float)):
            raise DTypeError(f"op '{op.name}' cannot take {scalar!r}; use numbers or bools")
        dtype = np.result_type(*dtypes, scalar) if dtypes else np.result_type(scalar)
        if scalar == 0 or scalar != scalar:  # -0.0 == 0.0 and nan != nan: no keys of a dict
            return tensor(scalar, dtype)
        node = _SCALARS.get((scalar, dtype))
        if node is None:
            if len(_SCALARS) > 1000:
                _SCALARS.clear()
            node = _SCALARS[scalar, dtype] = tensor(scalar, dtype)
        return node
    if isinstance(x, (_ndarray, list, tuple)):
        return tensor(x)
    raise DTypeError(
        f"op '{op.name}' cannot take a {type(x).__name__}; it works on tensors, virtual nodes, "
        "arrays and numbers"
    )


# The door.


def apply(op: Op, inputs: Sequence[Any], attrs: dict[str, Any] = NO_ATTRS) -> Node:
    """Return the node of `op` applied to `inputs`: computed if every input has a value.

    It is recorded when something could ask for its gradient later, or when it is virtual.
    """
    value: Any
    values = []
    tracked = virtual = False
    for x in inputs:
        if not isinstance(x, Node):
            return apply(op, _lift_all(op, inputs), attrs)
        value = x._value
        if value is None:
            virtual = True
        values.append(value)
        if x.tracked:
            tracked = True
    state = STATE.get()
    if virtual or state.scope is not None:
        return _draw(op, inputs, attrs, state)
    line = None
    try:
        if state.check is not None:
            value, line = state.check.computed(op, inputs, values, attrs)
        else:
            value = op.forward(*values, **attrs) if attrs else op.forward(*values)
    except Exception as error:
        explain(op, inputs, attrs, error)
        raise
    if type(value) is not _ndarray:
        value = tuple(map(np.asarray, value)) if op.multiple else np.asarray(value)
        if tracked:
            tracked = op.multiple or value.dtype.kind == "f"
    elif tracked and value.dtype.kind != "f":
        tracked = False
    node: Node = _new(op.node_type)
    recorded = tracked and state.recording
    if not recorded and state.recording and any([_follows(x) for x in inputs]):
        recorded = state.drawing
        node._frozen = not (recorded or op.shape_only)
    if recorded:
        node.op = op
        node.inputs = tuple(inputs)
        node.attrs = attrs
        node.tracked = tracked
    else:
        node.op = OPS["constant"]
        node.inputs = ()
        node.attrs = NO_ATTRS
        node.tracked = False
    node._value = value
    node._spec = node.name = node.scope = None
    node.line = line
    node.serial = _next_serial()
    if state.pulling is not False:
        node._pulled = True
    return node


def _follows(x: Node) -> bool:
    """Whether the value of `x` follows those of parameters, or would if it had been recorded."""
    return x.tracked or bool(x.inputs) or x.frozen


def _draw(op: Op, inputs: Sequence[Node], attrs: dict[str, Any], state: State) -> Node:
    """Return the virtual node of `op`, its specs checked now."""
    scope = state.scope
    line = user_line()
    nodes = tuple(x if x.scope is scope else seen_from(scope, x) for x in inputs)
    try:
        spec = op.infer(*[x.spec for x in nodes], **attrs)
    except LoopGradError as error:
        locate(error, op, inputs, scope)
        raise
    node: Node = _new(op.node_type)
    node.op = op
    node.inputs = nodes
    node.attrs = attrs
    node.tracked = any(x.tracked for x in nodes) and _floating(spec)
    node._value = None
    node._spec = spec
    node.name = None
    node.line = line
    node.scope = scope
    node._pulled = state.pulling
    node.serial = _next_serial()
    return node


def seen_from(scope: Scope | None, x: Node) -> Node:
    """Return `x` as a node of `scope`: itself, or the port that brings it in from outside."""
    chain: list[Scope] = []
    inner = scope
    while inner is not x.scope:
        if inner is None:
            where = f"in '{scope.path}'" if scope is not None else "outside it"
            raise GraphError(
                f"{describe(x)} belongs to the body of {x.scope.label} '{x.scope.path}' and cannot "
                f"be used {where}; hand it out with collect() (every step) or final() (the last) "
                "and use what they return"
            )
        chain.append(inner)
        inner = inner.parent
    if x.op is OPS["constant"] and not x.tracked and not any([s.rows and x.shape for s in chain]):
        return x
    for body in reversed(chain):
        port = body.captured.get(x)
        if port is None:
            port = body.captured[x] = draw_input(x.name, x.spec, body, x.tracked)
        x = port
    return x


def _floating(spec: Any) -> bool:
    return any(map(_floating, spec)) if type(spec) is tuple else bool(spec.floating)


def items(node: Node) -> tuple[Node, ...]:
    """Return the outputs of a node with several outputs, one node each."""
    count = len(node._spec if node._value is None else node._value)
    item = OPS["item"]
    return tuple(apply(item, (node,), {"index": i}) for i in range(count))
