"""Checkpoints: all that a run of training needs to go on exactly, in a folder of files."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from autograd.draw.label import visible
from autograd.errors import FormatError, LoopGradError
from autograd.export.atomic import left_over
from nn.checkpoint.file import State, load, save
from nn.checkpoint.generators import Generator
from nn.checkpoint.stopping import Stop

_DIGITS = 12
_FILE = re.compile(rf"step-([0-9]{{{_DIGITS}}})\.safetensors", re.ASCII)
_PART = re.compile(r"[^\W\d]\w*")


@runtime_checkable
class Part(Protocol):
    """What can be part of a checkpoint: it tells its state as a flat dict, and takes one over."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return arrays, numbers and texts by name, copies of its own."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any:
        """Take all of it over, or raise and change nothing."""


class Checkpoints:
    """Saves the parts of a run every so often, so that it goes on exactly where it was.

        checkpoints = nn.Checkpoints(
            "runs/adder", {"model": model, "optimizer": optimizer, "rng": rng}, every=100
        )
        start = checkpoints.resume()                    # steps done before; 0 at first
        with checkpoints.guard():                       # Ctrl-C saves, then leaves
            for step in range(start, 10_000):
                training.run(**batch(step))
                checkpoints.maybe_save(step + 1)

    `parts` are modules, optimizers, `np.random.Generator`s and whatever else has `state_dict` and
    `load_state_dict`, by name. A file is due when `every` steps more are done, or `seconds` after
    the last one, whichever comes first (None: never). The last `keep` files stay (None: all).

    A file is written whole or not at all, so a process that is killed loses at most what came
    after the last one. A folder belongs to one run at a time.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        parts: Mapping[str, Any],
        *,
        every: int | None = None,
        seconds: float | None = 60.0,
        keep: int | None = 3,
    ) -> None:
        self.folder = Path(folder)
        self.parts = {name: _part(name, part) for name, part in _named(parts).items()}
        self.every = None if every is None else _count("every", every, 1)
        self.seconds = None if seconds is None else _seconds(seconds)
        self.keep = None if keep is None else _count("keep", keep, 1)
        self._saved: int | None = None
        """The number of steps in the file that was written, or read, last."""
        self._time = time.monotonic()
        self._stop = Stop()

    # Files.

    def paths(self) -> list[Path]:
        """Return the files there are, the one with the most steps last."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FormatError(f"cannot read folder '{self._shown()}': {error.strerror}") from error
        return [self.folder / name for name in sorted(names) if _FILE.fullmatch(name)]

    def latest(self) -> Path | None:
        """Return the file with the most steps, or None."""
        paths = self.paths()
        return paths[-1] if paths else None

    # Saving.

    def maybe_save(self, step: int) -> bool:
        """Save if a file is due, now that `step` steps are done in all; return whether it was.

        Call it after every step (or chunk of steps). If a signal to stop has come under `guard`,
        this saves and obeys it.
        """
        step = _step(step)
        if self._saved is None:
            self._check_latest(step)
            self._saved = 0
        stop = self._stop.signal
        due = stop is not None or self._is_due(step)
        if due:
            self.save(step)
        if stop is not None:
            self._stop.leave(stop)
        return due

    def save(self, step: int) -> Path:
        """Write a file now, after `step` steps in all; return its path. Then old ones are removed.

        FormatError says why it could not be written; the files there were are untouched then.
        """
        step = _step(step)
        self._check_latest(step)
        state = {
            f"{name}.{key}": value
            for name, part in self.parts.items()
            for key, value in part.state_dict().items()
        }
        path = self.folder / f"step-{step:0{_DIGITS}}.safetensors"
        with contextlib.suppress(OSError):  # else writing says what is wrong
            self.folder.mkdir(parents=True, exist_ok=True)
        save(path, state, {"step": step, "parts": list(self.parts)})
        self._saved, self._time = step, time.monotonic()
        self._remove_old()
        return path

    def _is_due(self, step: int) -> bool:
        if step == self._saved:
            return False
        if self.every is not None and step // self.every > (self._saved or 0) // self.every:
            return True
        return self.seconds is not None and time.monotonic() - self._time >= self.seconds

    def _check_latest(self, step: int) -> None:
        latest = self.latest()
        if latest is not None and _steps(latest) > step:
            raise FormatError(
                f"'{visible(str(latest))}' is of a later step than {step}, so it is not of this "
                "run: call resume() before the first step, or use another folder; to go back, move "
                "the later files away first"
            )

    def _remove_old(self) -> None:
        for path in self.paths()[: -self.keep] if self.keep else []:
            with contextlib.suppress(OSError):  # it is in nobody's way
                path.unlink()

    # Going on.

    def resume(self) -> int:
        """Give all parts the state of the latest file; return the number of steps done, else 0.

        All parts take theirs or none is changed. A file that is damaged, or of other parts, is an
        error that names it: nothing older is taken in its place unasked. What a process that was
        killed while it wrote has left in the folder is removed.
        """
        self._remove_left_over()
        path = self.latest()
        if path is None:
            return 0
        state = self._read(path)
        step = state.metadata.get("step")
        if type(step) is not int or step != _steps(path):
            raise FormatError(f"'{visible(str(path))}' was not saved under this name")
        self._give(path, state)
        self._saved, self._time = step, time.monotonic()
        return step

    def _read(self, path: Path) -> State:
        try:
            return load(path)
        except FormatError as error:
            before = self.paths()[:-1]
            raise FormatError(
                f"{error.args[0]}. To start from "
                + (f"'{visible(str(before[-1]))}'" if before else "the beginning")
                + ", move the file away"
            ) from error

    def _give(self, path: Path, state: State) -> None:
        """Give each part its state; if one refuses, all get back what they had."""
        said = f"cannot resume from '{visible(str(path))}'"
        states = _by_part(state)
        if states.keys() != self.parts.keys():
            raise FormatError(
                f"{said}: it has the parts {visible(', '.join(states))}, but here are "
                f"{', '.join(self.parts)}"
            )
        before = {name: dict(part.state_dict()) for name, part in self.parts.items()}
        name, begun = "", []
        try:
            for name, part in self.parts.items():
                begun.append(name)
                part.load_state_dict(states[name])
        except BaseException as error:
            for other in begun:
                self.parts[other].load_state_dict(before[other])
            if not isinstance(error, Exception):
                raise
            fault = error.args[0] if isinstance(error, LoopGradError) else repr(error)
            raise FormatError(
                f"{said}: part '{name}' refuses its state, and no part was changed: {fault}"
            ) from error

    def _remove_left_over(self) -> None:
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if _FILE.fullmatch(left_over(name) or ""):
                    (self.folder / name).unlink()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM wait for `maybe_save`, which saves first.

        Then Ctrl-C is a KeyboardInterrupt as always, SIGTERM an exit with status 143. A second
        signal does not wait: the last file stays as it is.
        """
        self._stop = Stop()
        try:
            with self._stop:
                yield
        finally:
            self._stop = Stop()

    def _shown(self) -> str:
        return visible(str(self.folder))


def _steps(path: Path) -> int:
    match = _FILE.fullmatch(path.name)
    return int(match[1]) if match else -1


def _by_part(state: State) -> dict[str, dict[str, Any]]:
    """Return the state of each part that the file has; those without any state have a name only."""
    parts = state.metadata.get("parts")
    names = parts if type(parts) is list and all(type(x) is str for x in parts) else []
    states: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in state.items():
        part, _, name = key.partition(".")
        states.setdefault(part, {})[name] = value
    return states


def _named(parts: Any) -> Mapping[str, Any]:
    if not isinstance(parts, Mapping) or not parts:
        raise LoopGradError(
            "Checkpoints takes a dict of parts by name, such as {'model': model, 'optimizer': "
            f"optimizer}}, but got {type(parts).__name__} {parts!r:.60}"
        )
    for name in parts:
        if type(name) is not str or not _PART.fullmatch(name):
            raise LoopGradError(f"a part's name is one word without dots, but is {name!r:.60}")
    return parts


def _part(name: str, part: Any) -> Part:
    if isinstance(part, np.random.Generator):
        return Generator(part)
    if not isinstance(part, Part):
        raise LoopGradError(
            f"part '{name}' is a {type(part).__name__}, which has no state_dict and "
            "load_state_dict; modules, optimizers and np.random.Generator can be parts"
        )
    return part


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise LoopGradError(f"{name} must be a whole number >= {least}, but is {value!r:.60}")
    return int(value)


def _step(value: Any) -> int:
    step = _count("step", value, 0)
    if step >= 10**_DIGITS:
        raise LoopGradError(f"step must have at most {_DIGITS} digits, but is {step}")
    return step


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise LoopGradError(f"seconds must be a number >= 0 or None, but is {value!r:.60}")
    return value
