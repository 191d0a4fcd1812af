"""What `fit` tells while it trains: functions, and objects with `on_epoch_end` or `on_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from typing import Any

from autograd.errors import LoopGradError
from autograd.spec import Array
from nn.history import History

HOOKS = {
    "on_epoch_end": ("history",),
    "on_step": ("history", "the outputs of the step"),
}


class Callbacks:
    """All callbacks of a run, and who listens to what. A part of checkpoints: those with a state.

    One that returns True ends training.
    """

    def __init__(self, callbacks: Any) -> None:
        if not isinstance(callbacks, Iterable):
            callbacks = [callbacks]
        self.all = list(callbacks)
        self.on_epoch_end: list[Callable[[History], Any]] = []
        self.on_step: list[Callable[[History, Mapping[str, Array]], Any]] = []
        for callback in self.all:
            self._add(callback)

    def _add(self, callback: Any) -> None:
        found = {name: getattr(callback, name) for name in HOOKS if hasattr(callback, name)}
        if not found and callable(callback):
            found = {"on_epoch_end": callback}
        if not found or isinstance(callback, type):
            raise LoopGradError(
                "a callback is a function of the history, or an object with on_epoch_end(history) "
                f"or on_step(history, outputs), but got {type(callback).__name__} {callback!r:.60}"
            )
        for name, hook in found.items():
            _check_takes(name, hook)
            getattr(self, name).append(hook)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of those that have one, named by their places: `0.value`."""
        return {
            f"{i}.{key}": x
            for i, callback in enumerate(self._with_state())
            for key, x in callback.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Give each its own."""
        callbacks = self._with_state()
        own: list[dict[str, Any]] = [{} for _ in callbacks]
        for name, x in state.items():
            place, _, key = name.partition(".")
            if not place.isdecimal() or int(place) >= len(own):
                raise LoopGradError(f"'{name:.60}' is of a callback that is not here")
            own[int(place)][key] = x
        for callback, values in zip(callbacks, own, strict=True):
            callback.load_state_dict(values)

    def _with_state(self) -> list[Any]:
        return [x for x in self.all if hasattr(x, "state_dict")]


def _check_takes(name: str, hook: Any) -> None:
    takes = HOOKS[name]
    try:
        signature(hook).bind(*takes)
    except TypeError:
        raise LoopGradError(
            f"a callback's {name} is called with ({', '.join(takes)}), but takes {signature(hook)}"
        ) from None
    except ValueError:  # written in C, says nothing of what it takes
        return
