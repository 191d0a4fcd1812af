"""Ctrl-C and SIGTERM that wait for the end of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

WAITING = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While it is entered, the first signal to stop is noted only; a second one stops at once.

    Python handles signals in the main thread only; entered in another one, it does nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that came and has not been obeyed yet."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in WAITING:
                # None: a handler that Python does not know, and cannot put back
                self._before[number] = signal.getsignal(number) or signal.SIG_DFL
                signal.signal(number, self._note)
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None and self.signal is not None:
            signal.raise_signal(self.signal)  # it came after the last step: obeyed late, not lost

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self.leave(number)
        self.signal = number

    def leave(self, number: int) -> None:
        """Obey a signal: KeyboardInterrupt for Ctrl-C, else the exit status that shells expect."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
