"""vmap: a function of one example becomes a function of a batch, by the ops' `batch` rules.

The function is drawn once on virtual nodes without the batch axis. Then the drawing is gone
through in order, and each op that depends on a batched argument is applied by its `batch` rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autograd.describe import describe, user_line
from autograd.errors import GraphError, LoopGradError, NonFiniteError, ShapeError
from autograd.node import Node, draw_input, tensor
from autograd.ops.shape import broadcast_to, swapaxes
from autograd.scope import current_state
from autograd.spec import UNKNOWN, Spec
from autograd.tree import count_leaves, flatten, shown, unflatten

Axes = Any
"""An axis, None (not batched), or one of these for each leaf of a tree."""


def vmap(fn: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0) -> Callable[..., Any]:
    """Return `fn` for a batch: mapped over axis `in_axes` of its arguments, without a loop.

    `in_axes` is an axis for all arguments or a tuple with one entry an argument; an entry is an
    axis, None for an argument all examples share, or a tree of these shaped like the argument.
    The result has the batch axis at `out_axes` (an axis, or a tree of axes shaped like the result).

    Works on tensors and virtual nodes, in `grad` and around it: `vmap(grad(loss), (None, 0, 0))`
    gives one gradient an example. As `fn` is called once, on virtual nodes, it cannot branch on
    values. A GraphError names an op that has no batch rule.

    >>> vmap(lambda row, x: row @ x, (0, None))(matrix, vector)    # matrix @ vector
    """

    def mapped(*args: Any) -> Any:
        leaves, structure = flatten(args)
        values = [tensor(x) for x in leaves]
        axes = _leaf_axes(in_axes, args)
        size = _batch_size(values, axes)
        scope = current_state().scope
        line = user_line()
        batches: dict[Node, Node] = {}
        single = list(values)
        for i, (x, axis) in enumerate(zip(values, axes, strict=True)):
            if axis is not None:
                batch = _moved(x, axis, 0)
                single[i] = draw_input(x.name, Spec(batch.shape[1:], batch.dtype), scope)
                single[i].line = line
                batches[single[i]] = batch
        result, result_structure = flatten(fn(*unflatten(structure, single)))
        outputs = [tensor(y) for y in result]
        apply_batched(outputs, batches, size)
        places = _out_axes(out_axes, len(outputs), result_structure)
        final = [_leaving(y, batches, a, size) for y, a in zip(outputs, places, strict=True)]
        return unflatten(result_structure, final)

    return mapped


def apply_batched(outputs: Sequence[Node], batches: dict[Node, Any], size: int) -> None:
    """Add to `batches` what every node between its keys and `outputs` is for the whole batch."""
    for node in _drawn_since(outputs, next(iter(batches)).serial):
        batched = [x in batches for x in node.inputs]
        if node in batches or not any(batched):
            continue
        xs = [batches.get(x, x) for x in node.inputs]
        if node.op.name == "item":
            batches[node] = xs[0][node.attrs["index"]]
            continue
        try:
            result = node.op.batch(batched, *xs, **node.attrs)
        except NonFiniteError:  # nothing is wrong with the batch rule
            raise
        except LoopGradError as error:
            raise GraphError(f"vmap of {describe(node)}: {error.args[0]}") from error
        _check(node, result, size)
        batches[node] = result


def _drawn_since(outputs: Sequence[Node], serial: int) -> list[Node]:
    """Return the ancestors of `outputs` made from number `serial` on, in order.

    None older can depend on the inputs drawn then.
    """
    seen = {y for y in outputs if y.serial >= serial}
    stack = list(seen)
    while stack:
        for x in stack.pop().inputs:
            if x.serial >= serial and x not in seen:
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=lambda node: node.serial)


def _check(node: Node, result: Any, size: int) -> None:
    """Raise a ShapeError where a batch rule does not give the batch of what `infer` promised."""
    expected: Any = node.spec
    several = type(expected) is tuple
    pairs = zip(expected, result, strict=True) if several else [(expected, result)]
    for spec, y in pairs:
        if not _is_batch(y, spec, size):
            raise ShapeError(
                f"the batch rule of op '{node.op.name}' returned {Spec(y.shape, y.dtype)} for a "
                f"batch of {size} values {spec}; it must put the batch axis first and change "
                "nothing else"
            )


def _is_batch(y: Any, spec: Spec, size: int) -> bool:
    """Whether y is a batch of values of `spec`, where a length nobody knew before may be any."""
    expected = (size, *spec.shape)
    if len(y.shape) != len(expected) or y.dtype != spec.dtype:
        return False
    return all(m == n or n is UNKNOWN for m, n in zip(y.shape, expected, strict=True))


def _moved(x: Any, source: int, target: int) -> Any:
    """Return `x` with axis `source` at `target`, the others in their order."""
    step = 1 if source < target else -1
    for axis in range(source, target, step):
        x = swapaxes(x, axis, axis + step)
    return x


def _leaf_axes(in_axes: Axes, args: Sequence[Any]) -> list[int | None]:
    """Return the axis of each leaf of `args`."""
    if in_axes is None or isinstance(in_axes, int):
        in_axes = (in_axes,) * len(args)
    if len(in_axes) != len(args):
        raise GraphError(
            f"vmap: in_axes has {len(in_axes)} entries, but the function was called with "
            f"{len(args)} arguments; give one entry an argument"
        )
    axes: list[int | None] = []
    for number, (entry, arg) in enumerate(zip(in_axes, args, strict=True)):
        _, structure = flatten(arg)
        axes += _like(entry, structure, f"in_axes[{number}]", f"argument {number}")
    return axes


def _like(entry: Any, structure: Any, name: str, what: str) -> list[Any]:
    """Return the leaves of `entry`; one axis, or None, stands for all leaves of `structure`."""
    found, given = flatten(entry)
    if given is None:
        return found * count_leaves(structure)
    if given != structure:
        raise GraphError(
            f"vmap: {name} has the structure {shown(given)}, but {what} has {shown(structure)}; "
            "give one axis for all of it, or a tree of the same structure"
        )
    return found


def _batch_size(values: list[Node], axes: list[int | None]) -> int:
    """Return the common length of the batched axes; make these count from the front."""
    sizes: dict[int, str] = {}
    for i, (x, axis) in enumerate(zip(values, axes, strict=True)):
        if axis is None:
            continue
        if not -x.ndim <= axis < x.ndim:
            raise ShapeError(
                f"vmap: array {i} of the arguments, {describe(x)}, has no axis {axis} to map over; "
                "correct in_axes, or pass None for an argument that all examples share"
            )
        axes[i] = axis % x.ndim
        sizes.setdefault(x.shape[axis], describe(x))
    if not sizes:
        raise GraphError("vmap: nothing to map over; at least one entry of in_axes must be an axis")
    if len(sizes) > 1:
        given = "; ".join(f"{size} in {text}" for size, text in sizes.items())
        raise ShapeError(
            f"vmap: the axes mapped over must be equally long, but there are {given}; correct "
            "in_axes"
        )
    return next(iter(sizes))


def _out_axes(out_axes: Axes, count: int, structure: Any) -> list[Any]:
    axes = _like(out_axes, structure, "out_axes", "the result")
    return axes if len(axes) == count else axes * count


def _leaving(y: Node, batches: dict[Node, Any], axis: Any, size: int) -> Any:
    """Return result `y` of the batch with the batch axis at `axis`."""
    if axis is None:
        if y in batches:
            raise GraphError(
                f"vmap: out_axes is None for a result that differs from example to example, "
                f"{describe(y)}; give an axis"
            )
        return y
    rank = y.ndim + 1
    if not -rank <= axis < rank:
        raise ShapeError(
            f"vmap: a result for the batch has {rank} axes, so the batch axis cannot be at {axis}; "
            "correct out_axes"
        )
    full = batches[y] if y in batches else broadcast_to(y, (size, *y.shape))
    return _moved(full, 0, axis % rank)
