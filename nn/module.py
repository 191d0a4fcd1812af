"""Module: a tree of named parameters."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from autograd import Parameter
from autograd.errors import LoopGradError


class Module:
    """Parameters, and modules that hold some, kept as attributes; `forward` says what it computes.

        class Adder(nn.Module):
            def __init__(self) -> None:
                self.rnn = nn.RNN(2, 16)
                self.out = nn.Linear(16, 1)

            def forward(self, xs):
                hs, _ = self.rnn(xs)
                return self.out(hs)

    Attributes may also be lists, tuples and dicts of parameters and modules. A parameter is named
    by its path from the outermost module that holds it (`rnn.weight_ih_l0`, `layers.0.bias`): in
    graphs, pictures, errors and saved files alike. One that is held twice is counted once, under
    its first path. Calling works on tensors (computes) and on virtual nodes (draws) alike.
    """

    _parent: weakref.ref[Module] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        members = list(_members(name, value))
        for _, member in members:
            if isinstance(member, Module):
                # weak: a strong link back would be a reference cycle
                object.__setattr__(member, "_parent", weakref.ref(self))
        if members:
            self._root()._name_parameters()

    def _root(self) -> Module:
        module = self
        while module._parent is not None:
            outer = module._parent()
            if outer is None:
                break
            module = outer
        return module

    def _name_parameters(self) -> None:
        for name, parameter in self.named_parameters():
            parameter.name = name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute (or draw) the outputs from the inputs."""
        raise LoopGradError(
            f"{type(self).__name__} has no forward, so it cannot be called; write one that "
            "computes its outputs from its inputs"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) in the order of assignment, each parameter once."""
        seen: set[Any] = set()
        stack: list[tuple[str, Any]] = [("", self)]
        while stack:
            path, member = stack.pop()
            if member in seen:
                continue
            seen.add(member)
            if isinstance(member, Parameter):
                yield path, member
                continue
            prefix = f"{path}." if path else ""
            inner = [m for name, value in vars(member).items() for m in _members(name, value)]
            stack += [(prefix + name, value) for name, value in reversed(inner)]

    def parameters(self) -> list[Parameter]:
        """Return all parameters, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients that `backward()` has accumulated."""
        for parameter in self.parameters():
            parameter.grad = None


def _members(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (path, member) for the parameters and modules in `value`: itself, or its items."""
    stack: list[tuple[str, Any]] = [(path, value)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, (Parameter, Module)):
            yield path, value
        elif isinstance(value, dict):
            stack += [(f"{path}.{key}", item) for key, item in reversed(value.items())]
        elif isinstance(value, (list, tuple)):
            stack += [(f"{path}.{i}", item) for i, item in reversed(list(enumerate(value)))]
