"""RNN, LSTM and GRU: recurrent layers of torch's cells, with its names and its form of states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd import Parameter
from autograd.describe import describe
from autograd.errors import LoopGradError, ShapeError
from autograd.node import Node
from autograd.spec import Spec
from autograd.tree import flatten, unflatten
from nn.cells import Cell, GRUCell, LSTMCell, RNNCell, checked_state
from nn.dropout import Dropout
from nn.init import Rng, generator
from nn.linear import checked_features, checked_size
from nn.module import Module
from nn.recurrent import Recurrent, mapped

OPTIONS = frozenset(
    {
        *("bias", "hidden_size", "input_size", "layer_norm"),
        *("nonlinearity", "peepholes", "proj_size", "reset_after"),
    }
)
"""What a layer is told when it is made, and not later."""


class _TorchLayer(Recurrent):
    """A layer of torch's: `num_layers` times one or two cells, whose parameters it names.

    Of layer k they are weight_ih_lk, weight_hh_lk, bias_ih_lk, bias_hh_lk and what else the cell
    has, with `_reverse` added for the second direction. States are (num_layers * directions, B, H).
    """

    cell_type: ClassVar[type[Cell]]
    kind: ClassVar[str]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        options: dict[str, Any],
        bidirectional: bool,
        rng: Rng,
        layer_options: dict[str, Any],
    ) -> None:
        if checked_size("num_layers", num_layers) < 1:
            raise LoopGradError(
                f"{type(self).__name__} needs at least one layer, but num_layers is "
                f"{num_layers!r:.60}"
            )
        rng = generator(rng)
        self.input_size = checked_size("input_size", input_size)
        self.hidden_size = checked_size("hidden_size", hidden_size)
        output_size = options.get("proj_size", 0) or hidden_size
        ways = 2 if bidirectional else 1
        make: Callable[..., Cell] = self.cell_type
        cells = [
            [
                make(output_size * ways if k else input_size, hidden_size, rng=rng, **options)
                for _ in range(ways)
            ]
            for k in range(num_layers)
        ]
        for name, option in options.items():
            setattr(self, name, option)
        layers: Any = cells if bidirectional else [cell for (cell,) in cells]
        super().__init__(layers, bidirectional=bidirectional, rng=rng, **layer_options)

    def members(self) -> Iterator[tuple[str, Parameter | Module]]:
        for k, cells in enumerate(vars(self).get("cells", ())):
            for suffix, cell in zip((f"_l{k}", f"_l{k}_reverse"), cells, strict=False):
                for name, parameter in cell.members():
                    yield name + suffix, parameter
        yield from ((name, x) for name, x in vars(self).items() if isinstance(x, Dropout))

    def __getattr__(self, name: str) -> Any:
        """Return a parameter by torch's name."""
        for own, member in self.members():
            if own == name:
                return member
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        made = "cells" in vars(self)
        if made and (name in OPTIONS or (name == "dropout" and isinstance(value, float))):
            raise LoopGradError(
                f"{name} of {type(self).__name__} is said when it is made; make another one, "
                f"{type(self).__name__}(..., {name}={value!r:.60}), and load its state_dict"
            )
        for k, cells in enumerate(vars(self).get("cells", ())):
            for suffix, cell in zip((f"_l{k}", f"_l{k}_reverse"), cells, strict=False):
                if name.endswith(suffix) and hasattr(cell, name.removesuffix(suffix)):
                    setattr(cell, name.removesuffix(suffix), value)
                    return
        super().__setattr__(name, value)

    def forward(
        self, xs: Any, state: Any = None, *, lengths: Any = None, watch: Any = ()
    ) -> tuple[Any, ...]:
        """Return (ys, last state) for xs (T, B, D), or (T, D) without a batch."""
        xs = checked_features(xs, vars(self.cells[0][0])["weight_ih"])
        if xs.ndim != 2:
            return super().forward(xs, state, lengths=lengths, watch=watch)
        axis = 0 if self.batch_first else 1
        only = (slice(None),) * axis + (0,)
        xs = ag.expand_dims(xs, axis)
        if state is not None:
            state = mapped(lambda x: ag.expand_dims(x, 1), state)
        ys, last, *rest = super().forward(xs, state, lengths=lengths, watch=watch)
        seen = [{name: x[only] for name, x in each.items()} for each in rest]
        return ys[only], mapped(lambda x: x[:, 0], last), *seen

    def _checked_input(self, xs: Node) -> Node:
        if xs.ndim != 3:
            axes = "(batch, steps, features)" if self.batch_first else "(steps, batch, features)"
            raise ShapeError(
                f"{type(self).__name__} takes {axes}, or (steps, features), but got {describe(xs)}"
            )
        return xs

    def _loop_name(self, k: int, way: str) -> str:
        return f"{self.kind}_l{k}" + ("_reverse" if way == "backward" else "")

    def _packed(self, states: list[list[Any]]) -> Any:
        found = [state for each in states for state in each]
        leaves = [flatten(state)[0] for state in found]
        structure = flatten(found[0])[1]
        return unflatten(structure, [ag.stack(part) for part in zip(*leaves, strict=True)])

    def _unpacked(self, state: Any, xs: Node) -> list[list[Any]]:
        sizes, structure = flatten(self.cells[0][0].state_size)
        ways = len(self.cells[0])
        count = self.num_layers * ways
        batch = xs.shape[0 if self.batch_first else 1]
        wanted = unflatten(structure, [Spec((count, batch, n), xs.dtype) for n in sizes])
        what = f"the initial state of {type(self).__name__}"
        leaves, _ = flatten(checked_state(state, wanted, what, xs))
        each = [unflatten(structure, [leaf[i] for leaf in leaves]) for i in range(count)]
        return [each[k * ways : (k + 1) * ways] for k in range(self.num_layers)]


class RNN(_TorchLayer):
    """`h_t = f(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)`; torch's `nn.RNN`, sequence first.

    Takes xs (T, B, D) and optionally h0 (num_layers * directions, B, H), zeros by default. Returns
    `(hs, h_n)`: the states of the last layer at all steps (T, B, H * directions), and the last
    states of all layers, shaped as h0. Layer k + 1 reads the states of layer k at the same step.
    `RNNCell` says what a step computes, `Recurrent` what the options do.
    """

    cell_type = RNNCell
    kind = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        nonlinearity: str = "tanh",
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        layer_norm: bool = False,
        variational: bool = False,
        stateful: bool = False,
        truncate: int | None = None,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        options = {"bias": bias, "nonlinearity": nonlinearity, "layer_norm": layer_norm}
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            {**options, "dtype": dtype},
            bidirectional,
            rng,
            _layer_options(batch_first, dropout, variational, stateful, truncate),
        )


class LSTM(_TorchLayer):
    """A long short-term memory; torch's `nn.LSTM`, sequence first.

    Takes xs (T, B, D) and optionally (h0, c0), each (num_layers * directions, B, H), zeros by
    default. Returns `(hs, (h_n, c_n))`: hs (T, B, H * directions). With `proj_size` P what is
    called H of h above is P. `LSTMCell` says what a step computes, `Recurrent` what the options do.
    """

    cell_type = LSTMCell
    kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        peepholes: bool = False,
        layer_norm: bool = False,
        variational: bool = False,
        stateful: bool = False,
        truncate: int | None = None,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        options = {"bias": bias, "proj_size": proj_size, "layer_norm": layer_norm}
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            {**options, "peepholes": peepholes, "dtype": dtype},
            bidirectional,
            rng,
            _layer_options(batch_first, dropout, variational, stateful, truncate),
        )


class GRU(_TorchLayer):
    """A gated recurrent unit; torch's `nn.GRU`, sequence first.

    Takes xs (T, B, D) and optionally h0 (num_layers * directions, B, H), zeros by default. Returns
    `(hs, h_n)` as `RNN` does. `GRUCell` says what a step computes and what `reset_after` means,
    `Recurrent` what the other options do.
    """

    cell_type = GRUCell
    kind = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        variational: bool = False,
        stateful: bool = False,
        truncate: int | None = None,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        options = {"bias": bias, "reset_after": reset_after, "layer_norm": layer_norm}
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            {**options, "dtype": dtype},
            bidirectional,
            rng,
            _layer_options(batch_first, dropout, variational, stateful, truncate),
        )


def _layer_options(
    batch_first: bool, dropout: float, variational: bool, stateful: bool, truncate: int | None
) -> dict[str, Any]:
    return {
        "batch_first": batch_first,
        "dropout": dropout,
        "variational": variational,
        "stateful": stateful,
        "truncate": truncate,
    }
