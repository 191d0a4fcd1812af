"""The state of an optimizer as data: a flat dict of arrays and numbers, and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import copy
from operator import call
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.errors import LoopGradError
from autograd.graph import unique_name
from autograd.spec import spec_of
from nn.module import as_given

if TYPE_CHECKING:
    from nn.optim.optimizer import Optimizer


def saved(optimizer: Optimizer) -> dict[str, Any]:
    """Return steps, numbers and copies of the state, by name."""
    found: dict[str, Any] = {"steps": optimizer.steps}
    for name, target, key in optimizer.number_places():
        number = _present(target, key)
        if number is not None and not callable(number):
            found[name] = float(number)
    for name, schedule in _remembering(optimizer).items():
        found |= {f"{name}.{key}": x for key, x in schedule.state_dict().items()}
    state = optimizer.state
    for name, (i, part) in _part_places(optimizer).items():
        found[name] = state[i][part].copy()
    return found


def loaded(optimizer: Optimizer, given: Mapping[str, Any], strict: bool) -> None:
    """Give the optimizer what is in `given`, all of it at once; or raise, and change nothing."""
    if not isinstance(given, Mapping):
        raise LoopGradError(
            f"load_state_dict takes a dict as state_dict returns it, but got "
            f"{type(given).__name__} {given!r:.60}"
        )
    here = saved(optimizer)
    parts = _part_places(optimizer)
    places = {
        name: (target, key)
        for name, target, key in optimizer.number_places()
        if not callable(_present(target, key))  # schedules stay what they are
    }
    _check_names(optimizer, given, here, {*here, *places}, parts, strict)
    steps = _whole(given.get("steps", optimizer.steps))
    numbers = [
        (target, key, optimizer.checked(key, given[name]))
        for name, (target, key) in places.items()
        if name in given
    ]
    remembered = []
    for name, schedule in _remembering(optimizer).items():
        keys = list(schedule.state_dict())
        if all(f"{name}.{key}" in given for key in keys):
            remembered.append((schedule, {key: given[f"{name}.{key}"] for key in keys}))
            copy(schedule).load_state_dict(remembered[-1][1])  # raises what there is to raise
    state = [list(x) for x in optimizer.state]
    for name, (i, part) in parts.items():
        if name in given:
            state[i][part] = np.array(as_given(name, given[name]))
    changes = [
        *[(dict.__setitem__ if isinstance(x, dict) else setattr, x, *y) for x, *y in numbers],
        (setattr, optimizer, "_state", [tuple(x) for x in state]),
        (setattr, optimizer, "_steps", steps),
        (setattr, optimizer, "_lent", None),
    ]
    deque(map(call, *zip(*changes, strict=True)), maxlen=0)  # one call into C: all or nothing
    for schedule, own in remembered:
        schedule.load_state_dict(own)


def _check_names(
    optimizer: Optimizer,
    given: Mapping[str, Any],
    here: Mapping[str, Any],
    known: set[str],
    parts: Mapping[str, Any],
    strict: bool,
) -> None:
    """Check that what is given has the names and the specs of what is here."""
    faults = {
        "of another shape or dtype": [
            f"{name} is {spec_of(as_given(name, given[name]))}, but {spec_of(here[name])} here"
            for name in parts
            if name in given and spec_of(as_given(name, given[name])) != spec_of(here[name])
        ]
    }
    if strict:
        faults["missing"] = [name for name in here if name not in given]
        faults["not known here"] = [str(name) for name in given if name not in known]
    said = [f"{what}: {', '.join(names)}" for what, names in faults.items() if names]
    if said:
        raise LoopGradError(
            f"this is not the state of a {type(optimizer).__name__} made as this one was (nothing "
            f"was changed); {'; '.join(said)}"
        )


def _part_places(optimizer: Optimizer) -> dict[str, tuple[int, int]]:
    """Return for each part of the state, by name, the number of its parameter and its own."""
    taken: dict[str, int] = {}
    found = {}
    for i, (parameter, state) in enumerate(zip(optimizer.parameters, optimizer.state, strict=True)):
        name = unique_name(parameter.name or "parameter", taken)
        for part, of in enumerate(optimizer.part_names(state)):
            found[f"{name}.{of}"] = i, part
    return found


def _remembering(optimizer: Optimizer) -> dict[str, Any]:
    """Return the schedules that have a state of their own (`schedules.Plateau`), by name."""
    found = {name: _present(target, key) for name, target, key in optimizer.number_places()}
    return {name: x for name, x in found.items() if hasattr(x, "load_state_dict")}


def _present(target: Any, key: str) -> Any:
    """Return a number as it is now; None where a group has none of its own."""
    return target.get(key) if isinstance(target, dict) else getattr(target, key)


def _whole(value: Any) -> int:
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iu" or number < 0:
        raise LoopGradError(
            f"steps, how many updates there have been, must be a whole number >= 0, but is "
            f"{value!r:.60}"
        )
    return int(number)
