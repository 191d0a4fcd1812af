"""PyTorch: a step at a time, its fused layers, and torch.compile of the steps."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from cells import CELLS, drive
from problem import RATE, Problem

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
torch.set_num_interop_threads(1)

VERSION = torch.__version__
LAYERS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
CELL_MODULES = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}

M = SimpleNamespace(
    tanh=torch.tanh,
    sigmoid=torch.sigmoid,
    parts=lambda x, n: x.chunk(n, -1),
    mean=lambda x: x.mean(-1, keepdim=True),
    rsqrt=torch.rsqrt,
)


def tensors(values: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.from_numpy(v).requires_grad_() for name, v in values.items()}


class Adder:
    """A step as users write it: cells in a loop, backward, SGD under no_grad."""

    def __init__(self, problem: Problem, compiled: bool) -> None:
        self.problem = problem
        xs, ys = problem.sums()
        self.xs, self.ys = list(torch.from_numpy(xs)), list(torch.from_numpy(ys))
        self.h0 = torch.zeros(problem.batch, problem.hidden, dtype=self.xs[0].dtype)
        self.loss = torch.compile(self.loss_of) if compiled else self.loss_of
        self.reset()

    def reset(self) -> None:
        self.p = tensors(self.problem.weights())
        self.turn = 0

    def loss_of(self, p: Any, xs: Any, ys: Any) -> Any:
        carry, loss = (self.h0,), 0.0
        for x, y in zip(xs, ys, strict=True):
            carry = CELLS["adder"](M, p, carry, drive(p, x))
            loss = loss + ((torch.sigmoid(carry[0] @ p["v"]) - y) ** 2).sum()
        return loss / 2

    def __call__(self) -> float:
        total = 0.0
        for _ in range(self.problem.updates):
            loss = self.loss(self.p, self.xs[self.turn], self.ys[self.turn])
            loss.backward()
            with torch.no_grad():
                for value in self.p.values():
                    value -= RATE * value.grad
                    value.grad = None
            total += loss.item()
            self.turn = (self.turn + 1) % len(self.xs)
        return total

    def results(self) -> Any:
        return {name: value.detach().numpy() for name, value in self.p.items()}


class Steps:
    """Cells in a Python loop; for models with a fused cell (torch.nn.LSTMCell, ...) that one."""

    def __init__(self, problem: Problem, compiled: bool) -> None:
        self.problem = problem
        self.p = tensors(problem.weights())
        self.xs = torch.from_numpy(problem.sequences()).requires_grad_(problem.inputs)
        self.cell = None
        if problem.model in CELL_MODULES:
            self.cell = CELL_MODULES[problem.model](problem.features, problem.hidden)
            load(self.cell, "", problem)
        self.loss = torch.compile(self.loss_of) if compiled else self.loss_of

    def loss_of(self, p: Any, xs: Any) -> Any:
        states = []
        carry = tuple(p[name] for name in ("h0", "c0") if name in p)
        for x in xs:
            if self.cell is None:
                carry = CELLS[self.problem.model](M, p, carry, drive(p, x))
            else:
                after = self.cell(x, carry if len(carry) > 1 else carry[0])
                carry = after if isinstance(after, tuple) else (after,)
            states.append(carry[0])
        return torch.stack(states).square().mean()

    def __call__(self) -> Any:
        forget([self.xs, *self.p.values(), *(self.cell.parameters() if self.cell else ())])
        loss = self.loss(self.p, self.xs)
        loss.backward()
        grads = gradients(self.cell, "", self.problem) if self.cell else {}
        states = {name: value.grad for name, value in self.p.items() if value.grad is not None}
        return {"loss": loss.detach(), **with_inputs(self.xs), **grads, **states}


class Fused:
    """torch.nn.RNN, LSTM and GRU; ragged batches as packed sequences."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.layer = LAYERS[problem.model](problem.features, problem.hidden)
        load(self.layer, "_l0", problem)
        self.xs = torch.from_numpy(problem.sequences()).requires_grad_(problem.inputs)
        weights = problem.weights()
        self.states = tensors({k: weights[k][None] for k in ("h0", "c0") if k in weights})
        self.lengths = torch.from_numpy(problem.lengths()) if problem.ragged else None

    def __call__(self) -> Any:
        forget([self.xs, *self.states.values(), *self.layer.parameters()])
        carry = tuple(self.states.values())
        xs: Any = self.xs
        if self.lengths is not None:
            pack = torch.nn.utils.rnn.pack_padded_sequence
            xs = pack(xs, self.lengths, enforce_sorted=False)
        hs, _ = self.layer(xs, carry if len(carry) > 1 else carry[0])
        if self.lengths is not None:
            hs = hs.data
        loss = hs.square().sum() / self.problem.elements
        loss.backward()
        found = {name: value.grad[0] for name, value in self.states.items()}
        grads = gradients(self.layer, "_l0", self.problem)
        return {"loss": loss.detach(), **with_inputs(self.xs), **grads, **found}


def load(module: Any, suffix: str, problem: Problem) -> None:
    """Give a layer or cell the problem's weights; of its two biases the second is left at zero.

    It is trained only where a model needs it: the GRU's, whose last part is `b_n`.
    """
    weights = problem.weights()
    hidden_bias = np.zeros_like(weights["b"])
    if "b_n" in weights:
        hidden_bias[-problem.hidden :] = weights["b_n"]
    values = {
        **{"weight_ih": weights["u"].T, "weight_hh": weights["w"].T},
        **{"bias_ih": weights["b"], "bias_hh": hidden_bias},
    }
    for name, value in values.items():
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        setattr(module, name + suffix, torch.nn.Parameter(tensor))
    getattr(module, f"bias_hh{suffix}").requires_grad_("b_n" in weights)


def gradients(module: Any, suffix: str, problem: Problem) -> Any:
    """Return the gradients of a layer or cell by our names."""

    def grad(name: str) -> Any:
        return getattr(module, name + suffix).grad

    found = {"u": grad("weight_ih").T, "w": grad("weight_hh").T, "b": grad("bias_ih")}
    if problem.model == "gru":
        found["b_n"] = grad("bias_hh")[-problem.hidden :]
    return found


def with_inputs(xs: Any) -> Any:
    return {} if xs.grad is None else {"xs": xs.grad}


def forget(values: list[Any]) -> None:
    for value in values:
        value.grad = None


def of(problem: Problem, way: str) -> Any:
    if way == "nn":
        return Fused(problem)
    made = Adder if problem.model == "adder" else Steps
    return made(problem, compiled=way == "compile")
