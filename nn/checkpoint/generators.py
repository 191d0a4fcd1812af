"""NumPy's random generators as parts of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograd.errors import LoopGradError


class Generator:
    """A `np.random.Generator` with a state_dict: the state of its bit generator, flat.

    NumPy keeps the stream of a state the same in all its versions (NEP 19).
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def state_dict(self) -> dict[str, Any]:
        """Return the state, inner names joined by dots: `state.inc`."""
        flat: dict[str, Any] = {}
        for key, value in self.generator.bit_generator.state.items():
            if isinstance(value, dict):
                flat |= {f"{key}.{inner}": _copied(x) for inner, x in value.items()}
            else:
                flat[key] = _copied(value)
        return flat

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over what `state_dict` returned for a generator of the same kind."""
        here = self.state_dict()
        kinds = [x.get("bit_generator") for x in (state, here)]
        if kinds[0] != kinds[1] or set(state) != set(here):
            raise LoopGradError(f"this is the state of a {kinds[0]!s:.60}, but here is {kinds[1]}")
        nested: dict[str, Any] = {}
        for key, value in state.items():
            outer, _, inner = key.partition(".")
            if inner:
                nested.setdefault(outer, {})[inner] = value
            else:
                nested[key] = value
        self.generator.bit_generator.state = nested


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
