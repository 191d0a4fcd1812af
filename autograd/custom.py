"""custom_vjp: a function of the user's own with a gradient rule of its own, as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, ClassVar

import numpy as np

from autograd.arrays import locked
from autograd.errors import GradientError, GraphError
from autograd.node import OPS, Node, tensor
from autograd.op import Op
from autograd.ops.shape import stack, unstack
from autograd.spec import Array, Spec, spec_of


def custom_vjp(fn: Callable[..., Any]) -> CustomFunction:
    """Make `fn` one op, named after it, whose gradient is a rule of the user's.

    `fn` takes arrays (NumPy or ops, whatever it likes), read-only, and returns one array; keyword
    arguments are passed on to it and to the rule as they are. The rule, `rule(g, y, *xs)`, returns
    one gradient an argument, None where there is none. Written in ops, it can be differentiated
    again and drawn.

    >>> @custom_vjp
    ... def dead_zone(error, *, width=0.1):
    ...     return abs(error)
    >>> @dead_zone.defvjp
    ... def _(g, y, error, *, width=0.1):
    ...     return g * ag.sign(error) * (y > width)

    On virtual nodes `fn` runs once on ones (integers: zeros) to learn the shape of its result.
    Under `vmap` it runs once an example. A graph file cannot hold it.
    """
    return CustomFunction(fn)


class CustomFunction(Op):
    """The op of a `custom_vjp` function. It is not in the table of ops that files may name."""

    portable: ClassVar[bool] = False

    def __init__(self, fn: Callable[..., Any]) -> None:
        name = getattr(fn, "__name__", type(fn).__name__).strip("<>")
        if name in OPS:  # passes and plans know the library's ops by their names
            name += "_"
        super().__init__(name)
        update_wrapper(self, fn)
        self._fn = fn
        self._rule: Callable[..., Any] | None = None

    def defvjp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Make `rule(g, y, *xs, **keywords)` the gradient rule (a decorator), and return it."""
        if self._rule is not None:  # loops keep gradients they have drawn by it
            raise GraphError(
                f"custom_vjp function '{self.name}' already has a gradient rule; to change it, "
                "define the function anew, with custom_vjp, and then its rule"
            )
        self._rule = rule
        return rule

    def forward(self, *arrays: Any, **attrs: Any) -> Array:
        result = self._fn(*map(_read_only, arrays), **attrs)
        several = isinstance(result, (tuple, list, dict, Node))
        if several or np.asarray(result).dtype.kind not in "fiub":
            raise GraphError(
                f"custom_vjp function '{self.name}' must return one array, but returned "
                f"{type(result).__name__}; several arrays can be stacked or joined into one"
            )
        return np.array(result)  # a copy: the function may go on using its own

    def infer(self, *specs: Spec, **attrs: Any) -> Spec:
        with np.errstate(all="ignore"):
            samples = [(np.ones if s.floating else np.zeros)(s.shape, s.dtype) for s in specs]
            return spec_of(self.forward(*samples, **attrs))

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> list[Any]:
        if self._rule is None:
            raise GradientError(
                f"custom_vjp function '{self.name}' has no gradient rule yet; define one with "
                f"@{self.name}.defvjp"
            )
        grads = self._rule(_read_only(g), _read_only(y), *map(_read_only, xs), **attrs)
        if not isinstance(grads, (tuple, list)):
            grads = (grads,)
        if len(grads) != len(xs):
            raise GradientError(
                f"the gradient rule of custom_vjp function '{self.name}' returned {len(grads)} "
                f"gradients for {len(xs)} arguments; return one each, None where there is none"
            )
        drawn = isinstance(g, Node)
        return [
            self._checked(i, gx, x, drawn) if need and gx is not None else None
            for i, (need, gx, x) in enumerate(zip(needs, grads, xs, strict=True))
        ]

    def _checked(self, number: int, gx: Any, x: Any, drawn: bool) -> Any:
        where = f"the gradient rule of custom_vjp function '{self.name}' returned for argument"
        if not isinstance(gx, Node):
            if drawn:
                raise GradientError(
                    f"{where} {number} a {type(gx).__name__} where its inputs were nodes, which "
                    "would make the second derivative silently zero; write the rule in ops, or "
                    "return None for no gradient"
                )
            gx = np.array(gx)  # a copy: the rule may go on using its own
        if gx.shape != x.shape or gx.dtype.kind != "f":
            raise GradientError(
                f"{where} {number} a {Spec(gx.shape, gx.dtype)}, but the argument is "
                f"{Spec(x.shape, x.dtype)}; return a float gradient of the argument's shape"
            )
        return gx

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        size = next(x.shape[0] for b, x in zip(batched, xs, strict=True) if b)
        if size == 0:
            inner = [Spec(x.shape[b:], x.dtype) for b, x in zip(batched, xs, strict=True)]
            spec = self.infer(*inner, **attrs)
            return tensor(np.zeros((0, *spec.shape), spec.dtype))
        slices = [unstack(x) if b else (x,) * size for b, x in zip(batched, xs, strict=True)]
        return stack([self(*example, **attrs) for example in zip(*slices, strict=True)])


def _read_only(x: Any) -> Any:
    return x if isinstance(x, Node) else locked(np.asarray(x))
