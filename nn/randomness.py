"""Where random layers take their keys: from the `with` block around them, or from themselves.

A random layer (`Dropout`) that is called on tensors draws from a stream of its own. Inside
`with nn.randomness(key):` it takes keys made of that one instead, so the same key gives the same
draws; in a drawn graph `key` may be an input, and must be given, or every run would draw the same.
Training steps do this themselves: the key of step n is made of their seed and n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import GraphError
from autograd.node import Node
from autograd.scope import Scope, current_state, drawing
from nn.module import Module


class Keys:
    """The keys of one `with` block: number n is its own key with n folded in."""

    def __init__(self, make: Callable[[], Any], scope: Scope | None) -> None:
        self.make = make
        self.scope = scope
        """The body in which the block was opened: a draw of another body needs a key of its own."""
        self.key: Any = None
        self.count = 0
        self.asked: list[tuple[Module, bool]] = []
        """The random layers that were called, and whether they were training."""

    def take(self) -> Node:
        """Return the next key."""
        if self.key is None:
            self.key = self.make()
        self.count += 1
        key: Node = ag.random.fold_in(self.key, self.count - 1)
        return key


_OPEN: ContextVar[Keys | None] = ContextVar("loopgrad_keys", default=None)


@contextmanager
def randomness(key: Any) -> Iterator[Keys]:
    """Give random layers in the `with` block keys made of `key`: a key, a node or a seed.

    Inside the body of a loop, fold the number of the step in, or all steps draw the same:
    `with nn.randomness(ag.random.fold_in(key, loop.index)):`. `nn.Recurrent` does so.
    """
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        key = ag.random.key(int(key))
    if not isinstance(key, (Node, np.ndarray)):
        raise GraphError(
            f"randomness takes a seed, or a key made by ag.random.key, but got "
            f"{type(key).__name__} {key!r:.60}"
        )
    with keys_from(lambda: key) as keys:
        yield keys


@contextmanager
def keys_from(make: Callable[[], Any]) -> Iterator[Keys]:
    """As `randomness`, with a key that is made when the first layer asks for one."""
    keys = Keys(make, current_state().scope)
    token = _OPEN.set(keys)
    try:
        yield keys
    finally:
        _OPEN.reset(token)


class StepKeys:
    """Keys for random layers in the body of a loop that `layer` runs: others in every step.

    Made before the loop is opened; nothing is drawn unless a layer in the body asks for a key.
    """

    def __init__(self, layer: Module, xs: Node, own: Callable[[], Any]) -> None:
        self.layer = layer
        self.own = own
        self.outer = _OPEN.get()
        self.scope = current_state().scope
        self.eager = not (xs.virtual or current_state().drawing)

    @contextmanager
    def inside(self, of_step: Callable[[Any], Any]) -> Iterator[None]:
        """Open the block, in the body; `of_step` makes the key of the running step of a key."""

        alone = self.outer is None and self.eager

        def make() -> Any:
            with drawing(self.scope):
                key = self.own() if alone else _key(self.layer, True, self.own, self.outer)
            return of_step(key)

        with keys_from(make) as keys:
            yield
        if self.outer is not None:
            self.outer.asked += keys.asked


def key_for(module: Module, x: Node, own: Callable[[], Any]) -> Any:
    """Return a key for a random layer called on `x`, by `own` where no `with` block gives one."""
    return _key(module, x.virtual or current_state().drawing, own, _OPEN.get())


def _key(module: Module, drawn: bool, own: Callable[[], Any], keys: Keys | None) -> Any:
    name = type(module).__name__
    if keys is None:
        if drawn:
            raise GraphError(
                f"{name} is drawn into a graph, where a key of its own would be the same at every "
                "run; open `with nn.randomness(key):` with a key that is an input of the graph, "
                "train with nn.TrainingStep, which gives keys, or call model.eval() first "
                "(nn.fit and nn.evaluate do, given model=)"
            )
        return own()
    if keys.scope is not current_state().scope:
        raise GraphError(
            f"{name} is drawn into the body of a loop, but the key comes from outside, so all "
            "steps would draw the same; open `with nn.randomness(ag.random.fold_in(key, "
            "loop.index)):` inside the body, or take nn.Recurrent, which does so"
        )
    return keys.take()


def note(module: Module) -> None:
    """Remember that a layer whose `training` matters was called: its graph holds for that mode."""
    keys = _OPEN.get()
    if keys is not None:
        keys.asked.append((module, module.training))
