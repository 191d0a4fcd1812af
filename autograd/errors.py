"""The errors of LoopGrad: what was expected, what came, what to change, and where."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGES = (
    *[str(Path(__file__).resolve().parent.parent / x) + "/" for x in ("autograd", "loops", "nn")],
    "<loopgrad",  # what plans print and run
)


def user_line() -> tuple[str, int] | None:
    """Return file and line of the innermost caller outside LoopGrad's packages."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_PACKAGES) and not _made_by_dataclass(frame):
            return filename, frame.f_lineno
        frame = frame.f_back
    return None


def _made_by_dataclass(frame: FrameType) -> bool:
    """Whether this is the `__init__` that `dataclass` wrote for a class of ours."""
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return frame.f_code.co_filename == "<string>" and package in ("autograd", "loops", "nn")


class LoopGradError(Exception):
    """Base class of every error that LoopGrad raises on purpose.

    Its text begins with the user's line that led to it: `model.py:12: matmul: ...`.
    """

    located = False
    """Whether the message names the node where it arose, so that nothing is put in front."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.line = user_line()

    def __str__(self) -> str:
        place = f"{self.line[0]}:{self.line[1]}: " if self.line else ""
        return place + super().__str__()


class GraphError(LoopGradError):
    """A graph that cannot be drawn, or a virtual node used where a value is needed."""


class ShapeError(GraphError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(GraphError, TypeError):
    """An element type that an op, a port or a parameter cannot take."""


class GradientError(LoopGradError):
    """A gradient that does not exist, or that would be wrong."""


class TooLargeError(LoopGradError, MemoryError):
    """A value that takes more memory than there is."""


class BudgetError(LoopGradError, MemoryError):
    """A gradient that cannot be computed within the memory it was given."""

    def __init__(self, message: str = "", least: float = 0.0) -> None:
        super().__init__(message)
        self.least = least
        """The bytes that would do."""


class FormatError(LoopGradError, ValueError):
    """A file or text that is not what it should be, or that cannot be read or written."""


class DrawError(LoopGradError):
    """A picture that cannot be rendered here; the message says what to install."""


class NonFiniteError(LoopGradError, FloatingPointError):
    """NaN or infinity, at the first value that has one; raised under `autograd.check_finite`.

    `finding` says where and what, for programs: see `autograd.finite.Finding`.
    """

    finding: Any = None
    located = True  # it says which node itself
