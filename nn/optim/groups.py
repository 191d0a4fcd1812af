"""Groups of parameters with numbers of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd import Parameter
from autograd.describe import brief
from autograd.errors import DTypeError, LoopGradError

if TYPE_CHECKING:
    from nn.optim.optimizer import Optimizer

Own = dict[str, Any]
"""The numbers, or schedules, that are a group's own."""


class Group(MutableMapping[str, Any]):
    """The numbers of a group by name; those that are not its own are the optimizer's.

    `group["lr"] = 0.01` makes one its own, `del group["lr"]` gives it up. If there is one group
    only, its numbers are the optimizer's.
    """

    def __init__(self, optimizer: Optimizer, index: int) -> None:
        self._optimizer = optimizer
        self._index = index

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters in the group."""
        members = self._optimizer._group_of
        pairs = zip(self._optimizer.parameters, members, strict=True)
        return [parameter for parameter, group in pairs if group == self._index]

    @property
    def own(self) -> Own:
        """The numbers that are the group's own (a copy)."""
        return dict(self._optimizer._own[self._index])

    def __getitem__(self, name: str) -> Any:
        self._check(name)
        own = self._optimizer._own[self._index]
        return own[name] if name in own else getattr(self._optimizer, name)

    def __setitem__(self, name: str, number: Any) -> None:
        self._check(name)
        number = self._optimizer.checked(name, number)
        if len(self._optimizer._own) == 1:
            setattr(self._optimizer, name, number)
            return
        if number and name not in self._optimizer.used:
            raise LoopGradError(
                f"{name} was 0 in all groups when {type(self._optimizer).__name__} was made, so "
                f"its updates have no such part, and it cannot become {number!r:.60}; make the "
                f"optimizer with {name}=..., in one group at least"
            )
        self._optimizer._own[self._index][name] = number

    def __delitem__(self, name: str) -> None:
        self._check(name)
        if name not in self._optimizer._own[self._index]:
            raise LoopGradError(f"group {self._index} has no '{name}' of its own to give up")
        del self._optimizer._own[self._index][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizer.hyper)

    def __len__(self) -> int:
        return len(self._optimizer.hyper)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={number!r}" for name, number in self.items())
        return f"<group of {len(self.parameters)} parameters: {numbers}>"

    def _check(self, name: str) -> None:
        check_key(self._optimizer, f"group {self._index}", name)


def grouped(optimizer: Optimizer, given: Any) -> tuple[list[Parameter], list[int], list[Own]]:
    """Return all parameters, the group of each, and for each group the numbers of its own."""
    owner = type(optimizer).__name__
    if not isinstance(given, Iterable) or isinstance(given, (Parameter, Mapping, str)):
        raise DTypeError(
            f"{owner} takes a list of parameters, but got {brief(given)}; pass "
            "module.parameters(), [parameter], or a list of groups "
            '{"parameters": [...], "lr": 0.01}'
        )
    items = list(given)
    if not any(isinstance(item, Mapping) for item in items):
        _check_parameters(owner, items)
        return items, [0] * len(items), [{}]
    parameters: list[Parameter] = []
    group_of: list[int] = []
    own: list[Own] = []
    for i, group in enumerate(items):
        members, numbers = _read(optimizer, i, group)
        parameters += members
        group_of += [i] * len(members)
        own.append(numbers)
    _check_parameters(owner, parameters)
    return parameters, group_of, own


def check_key(optimizer: Optimizer, where: str, name: Any) -> None:
    """Check that a number of this name can be a group's own."""
    if name not in optimizer.hyper:
        raise LoopGradError(
            f"{where} of {type(optimizer).__name__} has no number {name!r:.60}; a group may have "
            f"its own {', '.join(optimizer.hyper)}; all else is the optimizer's"
        )


def number_at_least_zero(name: str, value: Any) -> float:
    """Return `value` as a finite float >= 0."""
    try:
        number = -1.0 if isinstance(value, str) or np.ndim(value) else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise LoopGradError(f"{name} must be a number >= 0, but is {value!r}")
    return number


def _read(optimizer: Optimizer, i: int, group: Any) -> tuple[list[Any], Own]:
    """Return the parameters and the own numbers of what was given as group `i`."""
    owner = type(optimizer).__name__
    if not isinstance(group, Mapping):
        raise DTypeError(
            f"{owner} takes either parameters or groups, but got both: item {i} is "
            f'{brief(group)}; write {{"parameters": [...]}}'
        )
    if "parameters" not in group:
        raise LoopGradError(
            f'group {i} of {owner} needs its list of parameters under "parameters", but has '
            f"{', '.join(map(str, group)) or 'nothing'}; write "
            '{"parameters": [...], "lr": 0.01}'
        )
    members = group["parameters"]
    if not isinstance(members, Iterable) or isinstance(members, (Parameter, str)):
        raise DTypeError(
            f"the parameters of group {i} of {owner} must be a list, but are "
            f"{brief(members)}; pass module.parameters()"
        )
    members = list(members)
    if not members:
        raise LoopGradError(f"group {i} of {owner} has no parameters; leave it out")
    numbers = {}
    for name, number in group.items():
        if name != "parameters":
            check_key(optimizer, f"group {i}", name)
            numbers[name] = optimizer.checked(name, number)
    return members, numbers


def _check_parameters(owner: str, parameters: list[Any]) -> None:
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise DTypeError(
                f"{owner} trains parameters, but got {brief(parameter)}; make them with "
                "autograd.parameter(name, value), or pass module.parameters()"
            )
    if not parameters or len(set(parameters)) < len(parameters):
        raise LoopGradError(
            f"{owner} needs parameters, each of them once, but got {len(parameters)} with "
            f"{len(set(parameters))} different ones; pass module.parameters()"
        )
