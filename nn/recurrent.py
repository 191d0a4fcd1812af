"""Recurrent layers: a cell, and the cell as the body of a loop. Nobody differentiates them here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd.describe import describe
from autograd.errors import LoopGradError, ShapeError
from autograd.execute.reference import mark_often
from autograd.node import Node, draw_input
from autograd.scope import drawing
from autograd.spec import Spec
from loops import repeat
from nn.init import Rng, bounded_by_fan, generator
from nn.linear import checked_features
from nn.module import Module

ACTIVATIONS = ("tanh", "relu", "sigmoid")


def _step(x: Any, h: Any, weights: Sequence[Any], nonlinearity: str) -> Any:
    """h_t = f(x_t W_ih^T + h_{t-1} W_hh^T + b), with `weights` = [W_ih^T, W_hh^T] or [.., b]."""
    total = x @ weights[0] + h @ weights[1]
    if len(weights) == 3:
        total = total + weights[2]
    activation: Callable[[Any], Any] = getattr(ag, nonlinearity)
    return activation(total)


def _checked_nonlinearity(nonlinearity: str) -> str:
    if nonlinearity not in ACTIVATIONS:
        raise LoopGradError(
            f"nonlinearity must be one of {', '.join(ACTIVATIONS)}, but is {nonlinearity!r}"
        )
    return nonlinearity


def _checked_state(h: Any, shape: tuple[int, ...], like: Node, what: str) -> Node:
    """Return the initial state as a node of `shape`, zeros if it is None."""
    node = ag.tensor(np.zeros(shape, like.dtype) if h is None else h)
    if node.spec != Spec(shape, like.dtype):
        raise ShapeError(
            f"{what} must be {Spec(shape, like.dtype)} to go with {describe(like)}, but is "
            f"{describe(node)}"
        )
    return node


class RNNCell(Module):
    """One step of an RNN: (x (B, D), h (B, H)) -> h' (B, H); torch's `nn.RNNCell`.

    h' = f(x weight_ih^T + bias_ih + h weight_hh^T + bias_hh), all starting uniform in +-1/sqrt(H).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.hidden_size = hidden_size
        self.nonlinearity = _checked_nonlinearity(nonlinearity)
        _add_parameters(self, "", input_size, hidden_size, bias, generator(rng), dtype)

    def forward(self, x: Any, h: Any = None) -> Node:
        """Return the next state; without `h` the state before is zero."""
        weights = _weights(self, "")
        x = checked_features(x, vars(self)["weight_ih"])
        h = _checked_state(h, (*x.shape[:-1], self.hidden_size), x, "the state of an RNNCell")
        after: Node = _step(x, h, weights, self.nonlinearity)
        return after


class RNN(Module):
    """A loop over time whose body is one step of an RNN; torch's `nn.RNN`, sequence first.

    Takes xs (T, B, D) and optionally h0 (num_layers, B, H), zeros by default. Returns
    `(hs, h_n)`: the states of the top layer at all steps (T, B, H), and the last states of all
    layers (num_layers, B, H). Layer k + 1 reads the states of layer k at the same step.
    Parameters of layer k: weight_ih_lk (H, D or H), weight_hh_lk (H, H), bias_ih_lk, bias_hh_lk.

    Each layer is one LoopNode, also on tensors: its body is drawn once for each spec of the
    inputs and then used again, so T steps are never recorded one by one, and run as a plan.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        if num_layers < 1:
            raise LoopGradError(f"an RNN needs at least one layer, but num_layers is {num_layers}")
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.nonlinearity = _checked_nonlinearity(nonlinearity)
        self._bodies: dict[tuple[Spec, ...], ag.Graph] = {}
        rng = generator(rng)
        for k in range(num_layers):
            size = hidden_size if k else input_size
            _add_parameters(self, f"_l{k}", size, hidden_size, bias, rng, dtype)

    def forward(self, xs: Any, h0: Any = None) -> tuple[Node, Node]:
        """Return (hs, h_n) for xs (T, B, D)."""
        xs = checked_features(xs, vars(self)["weight_ih_l0"])
        if xs.ndim != 3:
            raise ShapeError(
                f"an RNN takes (steps, batch, features), but got {describe(xs)}; give a single "
                "sequence a batch axis of length 1"
            )
        shape = (self.num_layers, xs.shape[1], self.hidden_size)
        h0 = _checked_state(h0, shape, xs, "the initial state of an RNN")
        finals = []
        for k in range(self.num_layers):
            weights = _weights(self, f"_l{k}")
            before = h0[k]
            body = self._body(weights, before, xs)
            (final,), (xs,) = repeat(body, shared=weights, init=[before], each=[xs])
            _name_loop(final, f"rnn_l{k}")
            finals.append(final)
        return xs, ag.stack(finals)

    def _body(self, weights: Sequence[Node], h0: Node, xs: Node) -> ag.Graph:
        """Return the graph of one step for weights, a state and slices like these."""
        slice_spec = Spec(xs.shape[1:], xs.dtype)
        key = (*[w.spec for w in weights], h0.spec, slice_spec)
        if key not in self._bodies:
            names = ("weight_ih", "weight_hh", "bias")
            with drawing(None):
                ports = {
                    name: draw_input(name, w.spec, None)
                    for name, w in zip(names, weights, strict=False)
                }
                h, x = draw_input("h", h0.spec, None), draw_input("x", slice_spec, None)
                after = _step(x, h, list(ports.values()), self.nonlinearity)
            outputs = {"h": after, "hs": after}
            body = ag.Graph.of({**ports, "h": h, "x": x}, outputs, "rnn")
            self._bodies[key] = mark_often(body)
        return self._bodies[key]


def _add_parameters(
    module: Module,
    suffix: str,
    input_size: int,
    hidden_size: int,
    bias: bool,
    rng: np.random.Generator,
    dtype: npt.DTypeLike,
) -> None:
    """Give `module` torch's parameters of one recurrent layer, in torch's order."""
    shapes: dict[str, tuple[int, ...]] = {
        f"weight_ih{suffix}": (hidden_size, input_size),
        f"weight_hh{suffix}": (hidden_size, hidden_size),
    }
    if bias:
        shapes |= {f"bias_ih{suffix}": (hidden_size,), f"bias_hh{suffix}": (hidden_size,)}
    for name, shape in shapes.items():
        value = bounded_by_fan(shape, hidden_size, rng, dtype)
        setattr(module, name, ag.parameter(name, value))


def _weights(module: Module, suffix: str) -> list[Node]:
    """Return what one step reads: W_ih^T, W_hh^T and, if there are biases, their sum."""
    own = vars(module)
    weights = [own[f"weight_ih{suffix}"].T, own[f"weight_hh{suffix}"].T]
    if f"bias_ih{suffix}" in own:
        weights.append(own[f"bias_ih{suffix}"] + own[f"bias_hh{suffix}"])
    return weights


def _name_loop(output: Node, name: str) -> None:
    """Name the loop whose output this is, where it is recorded."""
    if output.inputs:
        output.inputs[0].named(name)
