"""State that goes on from one call to the next: truncated backpropagation by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.describe import describe
from autograd.errors import GradientError, GraphError, ShapeError
from autograd.node import Leaf, Node, tensor
from autograd.scope import current_state
from autograd.tree import Structure, flatten, shown, unflatten


class CarriedState:
    """A tree of values that a sequence, run block by block, hands from block to block.

        state = CarriedState()
        for xs in blocks:
            last, hs = scan(cell, state.start(ag.zeros((8, 16))), xs)
            state.carry(last)
            hs.sum().backward()     # goes back to the start of this block, not further
            dh = state.grad         # the gradient with respect to that start

    Gradients stop where a block starts: this is truncated backpropagation through time. `grad` is
    what would have gone on. Adding it to the gradient of the block before, at its last state,
    restores the gradient of the whole sequence ("Deep Learning from Scratch 2", ch. 5.3, calls it
    `dh`). Within one loop, `truncate` does the same without calls.

    `grad` is what `backward()` leaves. With `autograd.grad`, start from `value` instead and
    differentiate with respect to it.

    Values live outside of graphs. In a drawn graph, the state is an input and the last state an
    output: `carry` takes what `graph.run` returned, and `graph(xs, state.start())` is a block.
    """

    def __init__(self, value: Any = None) -> None:
        self._leaves: list[Node] | None = None
        self._structure: Structure = None
        self._started: list[Node] | None = None
        """What the last `start` returned; they accumulate the gradient."""
        self._started_structure: Structure = None
        if value is not None:
            self.set(value)

    @property
    def value(self) -> Any:
        """What the next block starts from, as tensors without history; None after `reset`."""
        return None if self._leaves is None else unflatten(self._structure, self._leaves)

    @property
    def grad(self) -> Any:
        """The gradient with respect to what the last `start` returned, in its structure.

        None before a `backward()` has come that far; zeros for a part that the loss does not
        depend on; None in place of integers and bools. As with all leaves, it accumulates over
        several backwards; `start` begins at nothing.
        """
        started = self._started or []
        if all(leaf.grad is None for leaf in started):
            return None
        grads = [_zeros(x) if x.grad is None and isinstance(x, Leaf) else x.grad for x in started]
        return unflatten(self._started_structure, grads)

    def start(self, init: Any = None) -> Any:
        """Return leaves for a block to start from: what was carried, or `init` where nothing was.

        Where something was carried, `init` only says what it must be like: a batch of another size
        is an error until `reset`.
        """
        if current_state().drawing:
            raise GraphError(
                "start() inside a graph that is being drawn would freeze the carried values in it; "
                "make the state an input of the graph, and call the graph with start()"
            )
        if init is None and self._leaves is None:
            raise GraphError(
                "a CarriedState that holds nothing cannot start a block; pass start(init), for "
                "example zeros, or set() it first"
            )
        if self._leaves is None:
            _check_untracked(init)
            self.set(init)
        elif init is not None:
            self._check_like(*flatten(init), "this block is to start like")
        self._started = [_leaf(x) for x in self._leaves or []]
        self._started_structure = self._structure
        return unflatten(self._structure, self._started)

    def carry(self, final: Any) -> None:
        """Keep the values of `final`, the state after a block, without their history."""
        leaves, structure = _tensors(final)
        if self._leaves is not None:
            self._check_like(leaves, structure, "the block ends with")
        self._leaves, self._structure = leaves, structure

    def set(self, value: Any) -> None:
        """Go on from `value` (tensors, arrays or numbers), whatever was carried before."""
        self._leaves, self._structure = _tensors(value)

    def reset(self) -> None:
        """Forget what was carried, and its gradient: the next block starts from its `init`."""
        self._leaves = self._started = None
        self._structure = self._started_structure = None

    def _check_like(self, leaves: list[Any], structure: Structure, what: str) -> None:
        if structure != self._structure:
            raise GraphError(
                f"the carried state is {shown(self._structure)}, but {what} {shown(structure)}; "
                "call reset() (of a layer reset_state()) before going on with another structure"
            )
        for x, kept in zip(leaves, self._leaves or [], strict=True):
            spec = tensor(x).spec
            if spec != kept.spec:
                raise ShapeError(
                    f"the carried state is {kept.spec}, but {what} {spec}; call reset() (of a "
                    "layer reset_state()) before going on with another batch size, shape or dtype"
                )


def _tensors(tree: Any) -> tuple[list[Node], Structure]:
    """Return the leaves of `tree` as tensors without history, and its structure."""
    leaves, structure = flatten(tree)
    for x in leaves:
        if isinstance(x, Node) and x.virtual:
            raise GraphError(
                f"{describe(x)} cannot be carried from call to call: a CarriedState keeps values; "
                "in a graph, make the state an input and the last state an output, and carry what "
                "run() returns"
            )
    return [tensor(x.value if isinstance(x, Node) else x) for x in leaves], structure


def _check_untracked(init: Any) -> None:
    for x in flatten(init)[0]:
        if isinstance(x, Node) and x.tracked and not x.virtual:
            raise GradientError(
                f"{describe(x)} has a gradient, which a CarriedState would cut off without a word; "
                "start the first block from it directly and carry() its last state, or pass its "
                ".value"
            )


def _leaf(x: Node) -> Node:
    """Return a leaf of the value of `x` that accumulates a gradient, if it can have one."""
    return tensor(x.value, requires_grad=True) if x.spec.floating else x


def _zeros(like: Node) -> Node:
    return tensor(np.zeros(like.shape, like.dtype))
