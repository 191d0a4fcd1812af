"""Parameters: leaves whose values may be replaced between runs."""

from __future__ import annotations

from threading import RLock
from typing import Any

import numpy.typing as npt

from autograd.arrays import copied, locked
from autograd.describe import put_in_front, user_line
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Leaf, Node, _next_serial, make_leaf
from autograd.spec import Array, spec_of


class Lender:
    """A plan that holds values and changes them in place, one whole step at a time."""

    def __init__(self) -> None:
        self.lock = RLock()
        """Held while a step is taken, and while a value is read."""
        self.serial = 0
        """The serial number at the moment of the last step."""
        self.busy = False
        """Whether a step is being taken; with the lock held, that is this thread's own step."""


class Parameter(Leaf):
    """A leaf whose value may be replaced between runs: `p.value = p.value - lr * p.grad.value`.

    While a plan trains it, its value is lent from that plan's memory: it is copied when somebody
    asks for it, so that a value once read never changes.
    """

    __slots__ = ("_array", "_assigned", "_lent")
    _array: Array
    _assigned: int
    _lent: tuple[Lender, Array] | None
    """Who holds the value, and where. None: `_array` is it."""

    @property
    def _value(self) -> Any:
        self.settle()
        return self._array

    @_value.setter
    def _value(self, array: Any) -> None:
        self._array = array
        self._lent = None

    def settle(self) -> None:
        """Take a copy of a lent value: from now on it is the parameter's own.

        Code that the lender's step itself calls reads what was before the step, which goes on to
        replace it: then the value stays lent.
        """
        lent = self._lent
        if lent is None:
            return
        lender, memory = lent
        with lender.lock:
            if self._lent is lent:  # and no other thread has settled it meanwhile
                kept = lent if lender.busy else None
                self._array, self._assigned, self._lent = memory.copy(), lender.serial, kept

    @property
    def assigned(self) -> int:
        """The serial number at the moment its value was last replaced."""
        lent = self._lent
        return self._assigned if lent is None else lent[0].serial

    @assigned.setter
    def assigned(self, serial: int) -> None:
        self._assigned = serial

    @property
    def value(self) -> Any:
        """The value, read-only. Assign a new one to replace it; shape and dtype stay."""
        return locked(self._value)

    @value.setter
    def value(self, value: Any) -> None:
        array = copied(value._value if isinstance(value, Node) else value)
        spec = spec_of(self._value)
        if spec_of(array) != spec:
            raise ShapeError(
                f"parameter '{self.name}' is {spec}, but its new value is {spec_of(array)}; "
                "a parameter keeps its shape and dtype"
            )
        self._value = array
        self.assigned = _next_serial()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        return parameter(self.name or "parameter", self._value)


def parameter(name: str, value: Any, dtype: npt.DTypeLike | None = None) -> Parameter:
    """Return a parameter: a named, trainable leaf. Integer and bool values are a DTypeError."""
    try:
        array = copied(value, dtype)
    except LoopGradError as error:
        put_in_front(error, f"parameter '{name}': ")
        raise
    if array.dtype.kind != "f":
        raise DTypeError(
            f"parameter '{name}' must be of a float dtype to be trained, but is "
            f"{spec_of(array)}; pass dtype='float64', or use autograd.constant for plain data"
        )
    node: Parameter = make_leaf(Parameter, "parameter", array, None, True, name)
    node.assigned = node.serial
    node.line = user_line()
    return node
