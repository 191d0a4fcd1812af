"""What all optimizers share: parameters and their groups, state, numbers, and the step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import GradientError, LoopGradError, ShapeError
from autograd.node import Node, _next_serial
from autograd.spec import Array, Spec
from nn.optim.clip import clipped_by_norm, clipped_by_value, in_dtype
from nn.optim.groups import Group, grouped, number_at_least_zero
from nn.optim.saved import loaded, saved

State = tuple[Any, ...]
Number = float | Callable[[int], float]
"""A number, or a schedule: a function of how many updates there have been, 0 before the first."""

CLIPPING = ("clip_value", "clip_norm")
"""The numbers that are one for all groups."""


class Optimizer:
    """What all optimizers share: parameters, their state, and the step.

    A subclass says how one parameter is updated: `init`, `update` and, if some numbers are worked
    out once a step for all parameters, `scalars`. They are written in ops, so the same code
    computes (`step`, after `backward()`) and draws (`nn.TrainingStep`); the two may take turns.
    Parameters are given new values, never written into.

    `parameters` is a list of them, or of groups `{"parameters": [...], "lr": 0.01}` with numbers of
    their own; see `groups`. Every optimizer takes `clip_value` and `clip_norm`: gradients are
    limited to [-clip_value, clip_value], then all together scaled to a norm of at most clip_norm,
    as by `nn.clip_by_value` and `nn.clip_by_norm`. Steps are counted for the optimizer and not for
    each parameter.
    """

    hyper: tuple[str, ...] = ("lr",)
    """The attributes that are numbers >= 0, or schedules. They may be changed between steps."""
    optional: tuple[str, ...] = ()
    """Those of them which, 0 in all groups at first, leave their part of the update out.

    `update` is not given them then, and they cannot become other numbers later.
    """
    below_one: tuple[str, ...] = ()
    """Those of them which must be below 1."""
    state_names: tuple[str, ...] = ()
    """What each part of a parameter's state is called in graphs, pictures and files."""
    lr: Number
    clip_value: Number | None = None
    clip_norm: Number | None = None

    def __init__(self, parameters: Iterable[Any], **numbers: Number | None) -> None:
        self.parameters, self._group_of, self._own = grouped(self, parameters)
        self._set_numbers(numbers)
        self._name_numbers()
        self._numbers: tuple[tuple[Any, ...], list[Array]] = (), []
        self._state: list[State] = [self.init(parameter) for parameter in self.parameters]
        self._steps = 0
        self._lent: Any = None
        """The training step in whose memory state and steps are (`nn.resident`), or None."""
        self._known_places: dict[tuple[int, ...], tuple[list[Any], list[str]]] = {}

    # What it holds.

    @property
    def state(self) -> list[State]:
        """The state of each parameter, in their order: arrays."""
        self.settle()
        return self._state

    @property
    def steps(self) -> int:
        """How many updates there have been."""
        lent = self._lent
        return self._steps if lent is None else lent.steps

    @property
    def groups(self) -> list[Group]:
        """The groups of parameters: `optimizer.groups[1]["lr"] = 0.01` gives one its own rate.

        What is not a group's own is the optimizer's: `optimizer.lr = 0.1` is for all groups without
        a rate of their own. An optimizer that was given a list of parameters has one group.
        """
        return [Group(self, i) for i in range(len(self._own))]

    def settle(self) -> None:
        """Take back what is in a training step's memory, as `Parameter.settle` does."""
        lent = self._lent
        if lent is None:
            return
        with lent.lock:
            if self._lent is lent:
                kept = lent if lent.busy else None
                state, steps = lent.read(self._state)
                self._state, self._steps, self._lent = state, steps, kept

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies take over: nothing of it is in a training step's memory."""
        self.settle()
        own = [dict(numbers) for numbers in self._own]
        return {**self.__dict__, "_own": own, "_lent": None, "_known_places": {}}

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.hyper)
        groups = f" in {len(self._own)} groups" if len(self._own) > 1 else ""
        of = f"{len(self.parameters)} parameters{groups}"
        return f"<{type(self).__name__} of {of} after {self.steps} updates: {numbers}>"

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later run needs to go on exactly: copies of arrays, and numbers.

        A part of a state is named by its parameter (`rnn.weight_ih_l0.square`). Besides there are
        `steps` and the numbers: `lr`, and those that are a group's own, `groups.1.lr`. Of schedules
        there is only what they remember (`lr.best` of a `schedules.Plateau`); most have nothing to.
        Parameters are not in it: they are the model's.
        """
        return saved(self)

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over what `state_dict` returned for an optimizer made the same way.

        What is missing, not known here or of another spec is listed in one error, and nothing is
        changed. `strict=False` leaves out what is missing or not known.
        """
        loaded(self, state, strict)

    def part_names(self, state: State) -> list[str]:
        """Return what the parts of a state are called."""
        names = self.state_names
        return [names[i] if i < len(names) else f"state_{i}" for i in range(len(state))]

    # What a subclass says.

    def init(self, parameter: Any) -> State:
        """Return the state of a parameter before the first update: arrays of any shape."""
        return ()

    def scalars(self, step: Any, *args: Any, **hyper: Any) -> dict[str, Any]:
        """Return the numbers `update` takes, from those in `hyper` and the number of this update.

        All are float64 scalars; the first update is number 1. `update` is given them in the dtype
        of its parameter.
        """
        return hyper

    def update(
        self, parameter: Any, gradient: Any, state: State, *args: Any, **scalars: Any
    ) -> tuple[Any, State]:
        """Return the new parameter and the new state; `scalars` come as keyword arguments."""
        raise LoopGradError(
            f"{type(self).__name__} has no update; write one that returns the new parameter and "
            "state, in ops"
        )

    # Numbers.

    def checked(self, name: str, number: Any) -> Any:
        """Return a number as a float >= 0, below 1 where it must be; a schedule as it is."""
        if callable(number):
            return number
        number = number_at_least_zero(name, number)
        if name in self.below_one and number >= 1:
            raise LoopGradError(
                f"{name} of {type(self).__name__} must be a number below 1, but is {number!r}"
            )
        return number

    def numbers(self, steps: int) -> dict[str, float]:
        """Return the numbers of the update after `steps` updates.

        Where there are several groups each has its own: `groups.1.lr`.
        """
        given = self._given()
        for name, number in zip(self._unused, given[len(self.number_names) :], strict=True):
            if number:
                how = "None" if name in CLIPPING else "0"
                raise LoopGradError(
                    f"{name} was {how} when {type(self).__name__} was made, so its updates have no "
                    f"such part, and it cannot become {number!r:.60}; make the optimizer with "
                    f"{name}=..., a number or a schedule"
                )
        found = {}
        for key, number in zip(self.number_names, given, strict=False):
            number = number(steps) if callable(number) else number
            found[key] = self.checked(key.rpartition(".")[2], number)
        return found

    def number_arrays(self) -> list[Array]:
        """Return the numbers of the next update as arrays: the same ones where nothing changed."""
        now = self._given()
        known = self._numbers
        writable = np.ndarray in map(type, now)  # who knows what is in it by now
        if not writable and now == known[0]:
            return known[1]
        arrays = [np.array(number) for number in self.numbers(self.steps).values()]
        if not writable and not any(map(callable, now)):
            self._numbers = now, arrays
        return arrays

    @property
    def scheduled(self) -> bool:
        """Whether a number is a schedule."""
        return any(map(callable, self._given()))

    def number_places(self) -> list[tuple[str, Any, str]]:
        """Return what each number is called in `state_dict`, what holds it, and its name there.

        What could be a group's own is among them, in the dict of the group.
        """
        clipping = [name for name in CLIPPING if name in self.number_names]
        places: list[tuple[str, Any, str]] = [(x, self, x) for x in (*self.used, *clipping)]
        if len(self._own) > 1:
            for own, keys in zip(self._own, self.keys, strict=True):
                places += [(key, own, name) for name, key in keys.items()]
        return places

    def _set_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Check the numbers, and make attributes of those that are all groups'."""
        name = type(self).__name__
        for key, number in numbers.items():
            if key not in self.hyper and key not in CLIPPING:
                raise LoopGradError(
                    f"{name} has no number '{key}'; it has {', '.join((*self.hyper, *CLIPPING))}"
                )
            setattr(self, key, None if number is None else self.checked(key, number))
        if len(self._own) == 1:  # a single group's numbers are the optimizer's
            for key, number in self._own.pop().items():
                setattr(self, key, number)
            self._own.append({})
        for key in self.hyper:
            if getattr(self, key, None) is None:
                raise LoopGradError(f"{name} needs the number '{key}'; give it as {key}=...")

    def _name_numbers(self) -> None:
        """Say which numbers are used, and what they are called in a step."""
        self.used = tuple([name for name in self.hyper if self._is_used(name)])
        """The names in `hyper` that `update` is given."""
        clipping = tuple([name for name in CLIPPING if getattr(self, name) is not None])
        self.keys: list[dict[str, str]] = [
            {name: name if len(self._own) == 1 else f"groups.{i}.{name}" for name in self.used}
            for i in range(len(self._own))
        ]
        """For each group, what its numbers are called among those of the step: name -> key."""
        keys = [key for group in self.keys for key in group.values()]
        self.number_names: tuple[str, ...] = (*keys, *clipping)
        """What the numbers are called that a step takes."""
        used = (*self.used, *clipping)
        self._unused = tuple([name for name in (*self.hyper, *CLIPPING) if name not in used])
        self._read_numbers = attrgetter(*used, *self._unused)

    def _given(self) -> tuple[Any, ...]:
        """Return what the numbers are now, schedules as they are, and then those not used."""
        if len(self._own) == 1:
            given: tuple[Any, ...] = self._read_numbers(self)
            return given
        found = []
        for own, keys in zip(self._own, self.keys, strict=True):
            found += [own[name] if name in own else getattr(self, name) for name in keys]
        clipping = self.number_names[len(found) :]
        return (*found, *[getattr(self, name) for name in (*clipping, *self._unused)])

    def _is_used(self, name: str) -> bool:
        if name not in self.optional:
            return True
        return bool(getattr(self, name)) or any(own.get(name) for own in self._own)

    # Updates.

    def updated(
        self,
        numbers: Sequence[int],
        parameters: Sequence[Any],
        gradients: Sequence[Any],
        states: Sequence[State],
        step: Any,
        hyper: Mapping[str, Any],
    ) -> list[tuple[Any, State]]:
        """Return the new value and state of each parameter: arrays, or nodes if these are nodes.

        `numbers` are those of the parameters in the optimizer. `step` (1 for the first update) and
        the values of `hyper`, named as in `number_names`, are float64 scalars.
        """
        gradients = self._clipped(gradients, hyper)
        scalars: dict[int, dict[str, Any]] = {}
        cast: dict[Any, dict[str, Any]] = {}
        results = []
        for i, parameter, gradient, state in zip(
            numbers, parameters, gradients, states, strict=True
        ):
            group, dtype = self._group_of[i], parameter.dtype
            if group not in scalars:
                given = {name: hyper[key] for name, key in self.keys[group].items()}
                scalars[group] = self.scalars(step, **given)
            if (group, dtype) not in cast:
                cast[group, dtype] = {
                    name: in_dtype(dtype, number) for name, number in scalars[group].items()
                }
            result, after = self.update(parameter, gradient, state, **cast[group, dtype])
            self._check_kept("a parameter", parameter, result)
            if len(after) != len(state):
                raise LoopGradError(
                    f"the update of {type(self).__name__} must return a state of {len(state)} "
                    f"parts, as its init does, but returned {len(after)}"
                )
            for x, y in zip(state, after, strict=True):
                self._check_kept("a state", x, y)
            results.append((result, after))
        return results

    def _clipped(self, gradients: Sequence[Any], hyper: Mapping[str, Any]) -> Sequence[Any]:
        if "clip_value" in hyper:
            gradients = clipped_by_value(gradients, hyper["clip_value"])
        if "clip_norm" in hyper and gradients:
            gradients, _ = clipped_by_norm(gradients, hyper["clip_norm"])
        return gradients

    def _check_kept(self, what: str, before: Any, after: Any) -> None:
        if before.shape != after.shape or before.dtype != after.dtype:
            raise ShapeError(
                f"the update of {type(self).__name__} made {Spec(after.shape, after.dtype)} of "
                f"{what} that was {Spec(before.shape, before.dtype)}; it must keep shape and dtype"
            )

    def step(self, gradients: Sequence[Array | Node | None] | None = None) -> None:
        """Update every parameter by its `.grad`, or by the one of `gradients` in its place.

        Parameters without a gradient (None) stay as they are. Call it after `backward()`. A NaN in
        a gradient becomes one in its parameter, as in every update; `autograd.check_finite` finds
        where it was born.
        """
        if gradients is None:
            given = [None if p.grad is None else p.grad.value for p in self.parameters]
        elif len(gradients) == len(self.parameters):
            given = [g.value if isinstance(g, Node) else g for g in gradients]
        else:
            raise GradientError(
                f"step needs one gradient a parameter: {len(self.parameters)} expected, "
                f"{len(gradients)} came"
            )
        for parameter, gradient in zip(self.parameters, given, strict=True):
            if gradient is not None and gradient.shape != parameter.shape:
                raise ShapeError(
                    f"the gradient of parameter '{parameter.name}' must be of shape "
                    f"{parameter.shape}, but is {gradient.shape}"
                )
        chosen = [i for i, gradient in enumerate(given) if gradient is not None]
        hyper = dict(zip(self.number_names, self.number_arrays(), strict=True))
        state = self.state
        with ag.no_grad():
            results = self.updated(
                chosen,
                [self.parameters[i].value for i in chosen],
                [given[i] for i in chosen],
                [state[i] for i in chosen],
                np.array(self.steps + 1.0),
                hyper,
            )
        self.replace(chosen, [x for x, _ in results], [after for _, after in results], 1)

    def replace(
        self,
        numbers: Sequence[int],
        values: Sequence[Any],
        states: Sequence[State],
        steps: int,
    ) -> None:
        """Give the parameters of these numbers new values and states, after so many more updates.

        All of it happens in one call into C, in which no signal is handled and no other thread
        runs: Ctrl-C leaves the model before a step or after it, and nobody sees half of one.
        """
        every = self.state
        if any(states):
            every = list(every)
            for i, state in zip(numbers, states, strict=True):
                every[i] = tuple([_own(x) for x in state])
        targets, names = self._places(tuple(numbers))
        new: list[Any] = [_own(x) for x in values]
        count = len(new)
        new += [_next_serial()] * count
        new += [None] * count
        new += [every, self.steps + steps, None]
        deque(map(setattr, targets, names, new), maxlen=0)

    def _places(self, numbers: tuple[int, ...]) -> tuple[list[Any], list[str]]:
        """Return the objects and the names of the attributes that an update replaces."""
        known = self._known_places.get(numbers)
        if known is None:
            some = [self.parameters[i] for i in numbers]
            names = [name for name in ("_array", "_assigned", "_lent") for _ in some]
            names += ["_state", "_steps", "_lent"]
            # the optimizer itself is left out, or it would be a cycle
            known = self._known_places[numbers] = [*some, *some, *some], names
        targets, names = known
        return [*targets, self, self, self], names

    def zero_grad(self) -> None:
        """Forget the gradients that `backward()` has accumulated."""
        for parameter in self.parameters:
            parameter.grad = None


def zeros(parameter: Any) -> Array:
    """Return zeros of the shape and dtype of a parameter."""
    return np.zeros(parameter.shape, parameter.dtype)


def decayed(parameter: Any, gradient: Any, weight_decay: Any) -> Any:
    """Return the gradient with that of weight_decay / 2 * |parameter|^2, if there is such."""
    return gradient if weight_decay is None else gradient + weight_decay * parameter


def checked_betas(optimizer: str, betas: Any) -> tuple[Any, Any]:
    """Return the two numbers in `betas`."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise LoopGradError(
            f"betas of {optimizer} must be two numbers (beta1, beta2), but is {betas!r:.60}"
        )
    return betas[0], betas[1]


def _own(value: Any) -> Array:
    """Return `value` as an array that is no part of another: it may be kept for long."""
    if type(value) is np.ndarray and value.base is None:
        return value
    return np.array(value)
