"""Gradients written by hand, step by step, as a user of NumPy would first write them.

What these compute is what every contender is held to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problem import EPSILON, RATE, Array, Problem

Results = dict[str, Array]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Adder:
    """The binary-addition network: a call is `updates` steps of SGD, on one sum after another."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.xs, self.ys = problem.sums()
        self.reset()

    def reset(self) -> None:
        weights = self.problem.weights()
        self.u, self.w, self.v = (weights[name] for name in "uwv")
        self.turn = 0

    def step(self, xs: Array, ys: Array) -> Any:
        """Return one sum's loss, half the squared error of its bits; update the weights."""
        u, w, v = self.u, self.w, self.v
        T, B, _ = xs.shape
        hs, outputs = [np.zeros((B, w.shape[0]), xs.dtype)], []
        for x in xs:
            hs.append(sigmoid(x @ u + hs[-1] @ w))
            outputs.append(sigmoid(hs[-1] @ v))
        loss = 0.0
        du, dw, dv = np.zeros_like(u), np.zeros_like(w), np.zeros_like(v)
        carried = np.zeros_like(hs[0])
        for t in reversed(range(T)):
            error = outputs[t] - ys[t]
            loss = loss + (error * error).sum()
            d_out = error * outputs[t] * (1 - outputs[t])
            dv += hs[t + 1].T @ d_out
            d = (d_out @ v.T + carried) * hs[t + 1] * (1 - hs[t + 1])
            dw += hs[t].T @ d
            du += xs[t].T @ d
            carried = d @ w.T
        self.u, self.w, self.v = u - RATE * du, w - RATE * dw, v - RATE * dv
        return loss / 2

    def __call__(self) -> Any:
        loss: Any = 0.0
        for _ in range(self.problem.updates):
            loss = loss + self.step(self.xs[self.turn], self.ys[self.turn])
            self.turn = (self.turn + 1) % len(self.xs)
        return loss

    def results(self) -> Results:
        return {"u": self.u, "w": self.w, "v": self.v}


class Layer:
    """What the layers share: sequences, weights, and the loss, the mean of all states squared."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.xs = problem.sequences()
        self.weights = problem.weights()

    def __call__(self) -> Results:
        p, xs = self.weights, self.xs
        carries, saved = self.forward(p, xs)
        hs = np.stack([carry[0] for carry in carries[1:]])
        results: Results = {"loss": (hs * hs).mean()}
        gys = hs * (2 / hs.size)
        grads = {name: np.zeros_like(value) for name, value in p.items()}
        gxs = np.empty_like(xs) if self.problem.inputs else None
        carried = tuple(np.zeros_like(state) for state in carries[0])
        for t in reversed(range(len(xs))):
            carried = (carried[0] + gys[t], *carried[1:])
            dz, carried = self.backward(p, carries[t], carries[t + 1], saved[t], carried, grads)
            grads["u"] += xs[t].T @ dz
            if "b" in p:
                grads["b"] += dz.sum(0)
            if gxs is not None:
                gxs[t] = dz @ p["u"].T
        grads["h0"] = carried[0]
        if "c0" in p:
            grads["c0"] = carried[1]
        if gxs is not None:
            grads["xs"] = gxs
        return {**results, **grads}

    def forward(self, p: Results, xs: Array) -> tuple[list[Any], list[Any]]:
        """Return what is carried into each step and out of the last, and what each step saves."""
        carries: list[Any] = [tuple(p[name] for name in ("h0", "c0") if name in p)]
        saved = []
        for x in xs:
            z = x @ p["u"]
            carry, kept = self.step(p, carries[-1], z + p["b"] if "b" in p else z)
            carries.append(carry)
            saved.append(kept)
        return carries, saved

    def step(self, p: Results, carry: Any, z: Array) -> tuple[Any, Any]:
        """Return what goes to the next step and what the backward needs of this one."""
        raise NotImplementedError

    def backward(
        self, p: Results, before: Any, after: Any, saved: Any, g: Any, grads: Results
    ) -> tuple[Array, Any]:
        """Return the gradient of `z` and of `before`; add what the weights get to `grads`."""
        raise NotImplementedError


class RNN(Layer):
    def step(self, p: Results, carry: Any, z: Array) -> tuple[Any, Any]:
        return (np.tanh(z + carry[0] @ p["w"]),), None

    def backward(
        self, p: Results, before: Any, after: Any, saved: Any, g: Any, grads: Results
    ) -> tuple[Array, Any]:
        d = g[0] * (1 - after[0] * after[0])
        grads["w"] += before[0].T @ d
        return d, (d @ p["w"].T,)


class LSTM(Layer):
    def step(self, p: Results, carry: Any, z: Array) -> tuple[Any, Any]:
        h, c = carry
        i, f, g, o = np.split(z + h @ p["w"], 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        t = np.tanh(c)
        return (o * t, c), (i, f, g, o, t)

    def backward(
        self, p: Results, before: Any, after: Any, saved: Any, g: Any, grads: Results
    ) -> tuple[Array, Any]:
        i, f, n, o, t = saved
        gh, gc = g
        gc = gc + gh * o * (1 - t * t)
        gates = (
            *(gc * n * i * (1 - i), gc * before[1] * f * (1 - f)),
            *(gc * i * (1 - n * n), gh * t * o * (1 - o)),
        )
        dz = np.concatenate(gates, axis=-1)
        grads["w"] += before[0].T @ dz
        return dz, (dz @ p["w"].T, gc * f)


class GRU(Layer):
    def step(self, p: Results, carry: Any, z: Array) -> tuple[Any, Any]:
        (h,) = carry
        r, u, n = np.split(z, 3, axis=-1)
        rh, uh, nh = np.split(h @ p["w"], 3, axis=-1)
        r, u = sigmoid(r + rh), sigmoid(u + uh)
        nh = nh + p["b_n"]
        n = np.tanh(n + r * nh)
        return (n + u * (h - n),), (r, u, n, nh)

    def backward(
        self, p: Results, before: Any, after: Any, saved: Any, g: Any, grads: Results
    ) -> tuple[Array, Any]:
        r, u, n, nh = saved
        (gh,) = g
        dn = gh * (1 - u) * (1 - n * n)
        dr = dn * nh * r * (1 - r)
        du = gh * (before[0] - n) * u * (1 - u)
        dh = np.concatenate([dr, du, dn * r], axis=-1)
        grads["w"] += before[0].T @ dh
        grads["b_n"] += (dn * r).sum(0)
        return np.concatenate([dr, du, dn], axis=-1), (dh @ p["w"].T + gh * u,)


class MGU(Layer):
    def step(self, p: Results, carry: Any, z: Array) -> tuple[Any, Any]:
        (h,) = carry
        z_f, z_n = np.split(z, 2, axis=-1)
        f_hat, f_scale = normalized(z_f + h @ p["w_f"])
        f = sigmoid(f_hat * p["scale_f"] + p["shift_f"])
        n_hat, n_scale = normalized(z_n + (f * h) @ p["w_n"])
        n = np.tanh(n_hat * p["scale_n"] + p["shift_n"])
        return (h + f * (n - h),), (f, f_hat, f_scale, n, n_hat, n_scale)

    def backward(
        self, p: Results, before: Any, after: Any, saved: Any, g: Any, grads: Results
    ) -> tuple[Array, Any]:
        f, f_hat, f_scale, n, n_hat, n_scale = saved
        (h,), (gh,) = before, g
        dn = gh * f * (1 - n * n)
        grads["scale_n"] += (dn * n_hat).sum(0)
        grads["shift_n"] += dn.sum(0)
        dz_n = denormalized(dn * p["scale_n"], n_hat, n_scale)
        grads["w_n"] += (f * h).T @ dz_n
        d_reset = dz_n @ p["w_n"].T
        df = (gh * (n - h) + d_reset * h) * f * (1 - f)
        grads["scale_f"] += (df * f_hat).sum(0)
        grads["shift_f"] += df.sum(0)
        dz_f = denormalized(df * p["scale_f"], f_hat, f_scale)
        grads["w_f"] += h.T @ dz_f
        gh = gh * (1 - f) + d_reset * f + dz_f @ p["w_f"].T
        return np.concatenate([dz_f, dz_n], axis=-1), (gh,)


def normalized(x: Array) -> tuple[Array, Array]:
    """Return x normalized over its last axis, and what it was multiplied by."""
    centered = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centered * centered).mean(-1, keepdims=True) + EPSILON)
    return centered * scale, scale


def denormalized(g: Array, hat: Array, scale: Array) -> Array:
    """Return the gradient of x, given that of x normalized."""
    return scale * (g - g.mean(-1, keepdims=True) - hat * (g * hat).mean(-1, keepdims=True))


class RaggedRNN:
    """Rows sorted by length, the longest first: a step computes only the rows that go on."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.xs, self.lengths = problem.sequences(), problem.lengths()
        self.weights = problem.weights()

    def __call__(self) -> Results:
        p = self.weights
        u, w, b = p["u"], p["w"], p["b"]
        order = np.argsort(-self.lengths, kind="stable")
        xs = self.xs[:, order]
        rows = [int((self.lengths > t).sum()) for t in range(self.lengths.max())]
        hs, total = [p["h0"][order]], 0.0
        for t, n in enumerate(rows):
            hs.append(np.tanh(xs[t, :n] @ u + hs[-1][:n] @ w + b))
            total = total + (hs[-1] * hs[-1]).sum()
        grads = {name: np.zeros_like(value) for name, value in p.items()}
        gxs, g = np.zeros_like(xs), np.zeros_like(p["h0"])
        scale = 2 / self.problem.elements
        for t, n in reversed(list(enumerate(rows))):
            h = hs[t + 1]
            d = (g[:n] + scale * h) * (1 - h * h)
            grads["w"] += hs[t][:n].T @ d
            grads["u"] += xs[t, :n].T @ d
            grads["b"] += d.sum(0)
            gxs[t, :n] = d @ u.T
            g[:n] = d @ w.T
        back = np.argsort(order)
        grads["h0"], grads["xs"] = g[back], gxs[:, back]
        loss = np.asarray(total / self.problem.elements)
        return {"loss": loss, **grads}


MODELS: dict[str, Callable[[Problem], Any]] = {
    **{"adder": Adder, "rnn": RNN, "lstm": LSTM, "gru": GRU, "mgu": MGU}
}


def of(problem: Problem) -> Any:
    """Return what computes the problem's results when called; an adder has `reset`, too."""
    return RaggedRNN(problem) if problem.ragged else MODELS[problem.model](problem)
