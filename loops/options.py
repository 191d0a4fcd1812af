"""What a LoopNode is told when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autograd.errors import GraphError
from loops.form import MAX_LENGTH


@dataclass(frozen=True)
class Options:
    """The arguments of LoopNode, which explains them."""

    name: str
    length: int | None = None
    reverse: bool = False
    bound: int | None = None
    truncate: int | None = None
    lengths: Any = None
    ragged: str = "shrink"

    @property
    def limit(self) -> int | None:
        """The most steps there can be, as far as no per-step input says it."""
        return self.bound if self.length is None else self.length

    def check(self) -> None:
        """Raise GraphError if they cannot be, whatever is drawn."""
        if not isinstance(self.name, str):
            raise GraphError(
                f"a loop's name must be a text, but is {type(self.name).__name__} "
                f"{self.name!r:.60}; write LoopNode('rnn', length=8)"
            )
        if type(self.reverse) is not bool:
            raise GraphError(
                f"reverse of loop '{self.name}' must be True or False, but is {self.reverse!r:.60}"
            )
        for what, number in (("length", self.length), ("bound", self.bound)):
            if number is not None and (type(number) is not int or not 0 <= number <= MAX_LENGTH):
                raise GraphError(
                    f"the {what} of loop '{self.name}' must be a whole number from 0 to "
                    f"{MAX_LENGTH}, but is {number!r}; leave it out where a per-step input says it"
                )
        if self.bound is not None and (self.length is not None or self.lengths is not None):
            raise GraphError(
                f"loop '{self.name}' has a bound, which is for loops that until() stops, and "
                f"{'a length' if self.lengths is None else 'lengths'}; give one of them: stopping "
                "at a length is no error, at the bound it is"
            )
        block = self.truncate
        if block is not None and (type(block) is not int or not 1 <= block <= MAX_LENGTH):
            raise GraphError(
                f"truncate of loop '{self.name}' must be a whole number of steps from 1 to "
                f"{MAX_LENGTH}, but is {block!r}; leave it out for gradients through all steps"
            )
        if self.ragged not in ("shrink", "mask"):
            raise GraphError(
                f"ragged of loop '{self.name}' says how rows of different lengths run, 'shrink' "
                f"(the default) or 'mask', but is {self.ragged!r}"
            )
        if self.ragged == "mask" and self.lengths is None:
            raise GraphError(
                f"loop '{self.name}' is to be ragged, but has no lengths; pass lengths=, one "
                "integer for each row of the batch"
            )
