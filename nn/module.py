"""Module: a tree of named parameters."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from autograd import Parameter
from autograd.elsewhere import no_attribute
from autograd.errors import LoopGradError, ShapeError
from autograd.node import Node, _next_serial
from autograd.spec import Array, spec_of
from nn.elsewhere import METHODS


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
    training: bool = True
    """Whether dropout drops: `train()` and `eval()` set it for a module and all in it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray) and isinstance(vars(self).get(name), Parameter):
            raise LoopGradError(
                f"'{name}' of {type(self).__name__} is a parameter, but is assigned an array, with "
                f"which it would be none: give it a value by .{name}.value = array, or assign "
                "autograd.parameter(name, array)"
            )
        object.__setattr__(self, name, value)
        members = list(_members(name, value))
        self._adopt(members)
        if members:
            self._root()._name_parameters()

    def _adopt(self, members: Iterable[tuple[str, Parameter | Module]]) -> None:
        """Be the parent of these, but for those that hold this module: a child may know its owner.

        The link is weak: a strong one back would be a reference cycle.
        """
        above = set(self._ancestors())
        for _, member in members:
            if isinstance(member, Module) and member not in above:
                object.__setattr__(member, "_parent", weakref.ref(self))

    def _adopt_orphans(self) -> None:
        """Name what was put into lists and dicts after these had been assigned."""
        found = False
        for module in self.modules():
            for name, value in vars(module).items():
                orphans = [x for x in _members(name, value) if _is_orphan(x[1])]
                module._adopt(orphans)
                found = found or bool(orphans)
        if found:
            self._root()._name_parameters()

    def _ancestors(self) -> Iterator[Module]:
        """Yield itself and the modules that hold it, the outermost last."""
        module: Module | None = self
        while module is not None:
            yield module
            module = None if module._parent is None else module._parent()

    def _root(self) -> Module:
        *_, outermost = self._ancestors()
        return outermost

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy with parameters of its own, the root of a tree of its own."""
        other = object.__new__(type(self))
        memo[id(self)] = other
        own = {name: value for name, value in vars(self).items() if name != "_parent"}
        vars(other).update(deepcopy(own, memo))
        for name, value in vars(other).items():
            other._adopt(_members(name, value))
        return other

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

    if not TYPE_CHECKING:  # which would take every name to be known

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, f"'{type(self).__name__}' object", name, METHODS)

    # What is in it.

    def members(self) -> Iterator[tuple[str, Parameter | Module]]:
        """Yield (name, member) for the parameters and modules it holds itself, in their order."""
        for name, value in vars(self).items():
            yield from _members(name, value)

    def _walk(self) -> Iterator[tuple[str, Parameter | Module]]:
        """Yield (path, member) for itself and all that is in it, each once."""
        seen: set[Any] = set()
        stack: list[tuple[str, Parameter | Module]] = [("", self)]
        while stack:
            path, member = stack.pop()
            if member in seen:
                continue
            seen.add(member)
            yield path, member
            if isinstance(member, Module):
                prefix = f"{path}." if path else ""
                inner = [(prefix + name, value) for name, value in member.members()]
                stack += reversed(inner)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) in the order of assignment, each parameter once."""
        taken: set[str] = set()
        for path, member in self._walk():
            if isinstance(member, Parameter):
                if path in taken:
                    raise LoopGradError(
                        f"{type(self).__name__} holds two parameters called '{path}', of which a "
                        "state dict could keep one; give them other attributes or keys"
                    )
                taken.add(path)
                yield path, member

    def parameters(self) -> list[Parameter]:
        """Return all parameters, in the order of `named_parameters`."""
        self._adopt_orphans()
        return [parameter for _, parameter in self.named_parameters()]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield (path, module) for itself, whose path is "", and all modules in it, each once."""
        for path, member in self._walk():
            if isinstance(member, Module):
                yield path, member

    def modules(self) -> list[Module]:
        """Return itself and all modules in it, in the order of `named_modules`."""
        return [module for _, module in self.named_modules()]

    def zero_grad(self) -> None:
        """Forget the gradients that `backward()` has accumulated."""
        for parameter in self.parameters():
            parameter.grad = None

    # Modes.

    def train(self, mode: bool = True) -> Self:
        """Set `training` for itself and all modules in it; return itself."""
        if type(mode) is not bool:
            raise LoopGradError(
                f"train() takes True or False, but got {type(mode).__name__} {mode!r:.60}; data "
                "are given to nn.fit or nn.TrainingStep"
            )
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set `training` to False for itself and all modules in it; return itself."""
        return self.train(False)

    # Values as data.

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the values of all parameters by their paths."""
        return {name: np.array(p.value) for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Difference:
        """Give all parameters the values of `state`, arrays by path; return what did not match.

        All of it happens or nothing: what is missing, extra or of another shape is listed in one
        error. Without `strict` missing and extra names are let pass, and returned; shapes must
        match still. Values of another float dtype are converted.
        """
        if not isinstance(state, Mapping):
            raise LoopGradError(
                f"load_state_dict takes a dict of arrays by name, but got {type(state).__name__}; "
                "read files with nn.load"
            )
        own = dict(self.named_parameters())
        arrays = {name: as_given(name, x) for name, x in state.items() if name in own}
        difference = Difference(
            [name for name in own if name not in state],
            [str(name) for name in state if name not in own],
            [
                f"'{name}' is {own[name].spec}, but {spec_of(x)} came"
                for name, x in arrays.items()
                if x.shape != own[name].shape or x.dtype.kind != "f"
            ],
        )
        if difference.mismatched or (strict and (difference.missing or difference.extra)):
            raise (ShapeError if difference.mismatched else LoopGradError)(
                f"the values do not fit {type(self).__name__}: {difference}; nothing was changed"
            )
        assign({own[name]: x.astype(own[name].dtype) for name, x in arrays.items()})
        return difference

    def __repr__(self) -> str:
        found = list(self._walk())[1:]
        width = max([len(path) for path, _ in found], default=0)
        count = sum([p.size for p in self.parameters()])
        lines = [f"{type(self).__name__} ({count:,} parameters)"]
        return "\n".join([*lines, *[f"  {path:{width}}  {_said(m)}" for path, m in found]])


class Difference:
    """How the names and shapes of given values differ from those of a module."""

    def __init__(self, missing: list[str], extra: list[str], mismatched: list[str]) -> None:
        self.missing = missing
        self.extra = extra
        self.mismatched = mismatched

    def __str__(self) -> str:
        parts = []
        if self.missing:
            parts.append(f"missing: {listed_some(self.missing)}")
        if self.extra:
            parts.append(f"extra: {listed_some(self.extra)}")
        if self.mismatched:
            parts.append(f"of another shape or kind: {listed_some(self.mismatched, '; ')}")
        return "; ".join(parts) or "no difference"

    __repr__ = __str__


def listed_some(names: list[str], separator: str = ", ") -> str:
    """Return the first 20 of `names`, and how many more there are."""
    shown = separator.join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def assign(values: Mapping[Parameter, Array]) -> None:
    """Give parameters new values, arrays nobody else holds, of their specs, all at once.

    All of it happens in one call into C, as in `Optimizer.replace`: no signal in between.
    """
    count = len(values)
    names = [*["_array"] * count, *["_assigned"] * count, *["_lent"] * count]
    new = [*values.values(), *[_next_serial()] * count, *[None] * count]
    deque(map(setattr, [*values] * 3, names, new), maxlen=0)


def as_given(name: str, value: Any) -> Array:
    """Return a value out of a state dict, called `name`, as an array."""
    try:
        return np.asarray(value.value if isinstance(value, Node) else value)
    except ValueError as error:
        raise ShapeError(f"'{name}' in a state must be an array, but is none: {error}") from None


def _is_orphan(member: Parameter | Module) -> bool:
    """Whether a module is held by none that knows of it."""
    return isinstance(member, Module) and (member._parent is None or member._parent() is None)


def _said(member: Parameter | Module) -> str:
    return str(member.spec) if isinstance(member, Parameter) else type(member).__name__


def _members(path: str, value: Any) -> Iterator[tuple[str, Parameter | Module]]:
    """Yield (path, member) for the parameters and modules in `value`: itself, or its items."""
    stack: list[tuple[str, Any]] = [(path, value)]
    seen: set[int] = set()  # a list may hold itself
    while stack:
        path, value = stack.pop()
        if isinstance(value, (dict, list, tuple)):
            if id(value) in seen:
                continue
            seen.add(id(value))
        if isinstance(value, (Parameter, Module)):
            yield path, value
        elif isinstance(value, dict):
            stack += [(f"{path}.{key}", item) for key, item in reversed(value.items())]
        elif isinstance(value, (list, tuple)):
            stack += [(f"{path}.{i}", item) for i, item in reversed(list(enumerate(value)))]
