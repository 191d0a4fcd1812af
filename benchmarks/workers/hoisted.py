"""Gradients written by hand as well as we can in NumPy: the yardstick of the NumPy plan.

Five moves and a copy make the difference to `hand.py`: the input's part of the gates for all steps
in one product; local derivatives for as many steps at once as fit in the cache; weight gradients as
one product over all steps and rows; states in one array of T + 1 rows, so that "before" and "after"
are two views of it; and a given array for every result, so that a call allocates nothing.
Transposed hidden weights are copied once a call: in every step the BLAS would pack the view, 1.5
times slower in float32. Gates that are sigmoids are computed as tanh(x / 2) / 2 + 1 / 2, so that
one tanh does all gates of a step: their columns of the weights are halved beforehand. Methods and
arguments by position cost less than functions and `out=`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from problem import EPSILON, RATE, Array, Problem

Results = dict[str, Array]

CACHE = 1 << 18
"""Bytes of local derivatives that are computed at once: what stays in a core's cache."""


class Adder:
    """`hand.Adder` with preallocated arrays; B = 1 or more rows."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.xs, self.ys = problem.sums()
        T, B, D, H = problem.steps, problem.batch, problem.features, problem.hidden
        self.hs = np.zeros((T + 1, B, H), problem.dtype)
        self.local, self.ds, self.zs = (np.empty((T, B, H), problem.dtype) for _ in range(3))
        self.outputs, self.errors = (np.empty((T, B, 1), problem.dtype) for _ in range(2))
        self.carried, self.product = (
            np.empty((B, H), problem.dtype),
            np.empty((B, H), problem.dtype),
        )
        self.du, self.dw = np.empty((D, H), problem.dtype), np.empty((H, H), problem.dtype)
        self.dv = np.empty((H, 1), problem.dtype)
        self.flat = {
            name: getattr(self, name).reshape(T * B, -1)
            for name in ("local", "ds", "zs", "outputs", "errors")
        }
        self.after, self.before = self.hs[1:].reshape(T * B, H), self.hs[:-1].reshape(T * B, H)
        self.forward = list(zip(self.hs[:-1], self.hs[1:], self.zs, strict=True))
        self.backward = list(zip(self.ds, self.local, strict=True))[::-1]
        self.flat_xs = [x.reshape(T * B, D) for x in self.xs]
        self.flat_ys = [y.reshape(T * B, 1) for y in self.ys]
        self.reset()

    def reset(self) -> None:
        weights = self.problem.weights()
        self.u, self.w, self.v = (weights[name] for name in "uwv")
        self.turn = 0

    def step(self, xs: Array, ys: Array) -> Any:
        add, multiply, tanh = np.add, np.multiply, np.tanh
        u, w, v, flat, product = self.u, self.w, self.v, self.flat, self.product
        local, zs, outputs, errors = flat["local"], flat["zs"], flat["outputs"], flat["errors"]
        xs.dot(u, zs)
        for before, h, z in self.forward:  # h = sigmoid(z + before @ w)
            before.dot(w, product)
            add(product, z, product)
            multiply(product, 0.5, product)
            tanh(product, product)
            multiply(product, 0.5, product)
            add(product, 0.5, h)
        after = self.after
        after.dot(v, outputs)
        np.negative(outputs, outputs)
        np.exp(outputs, outputs)
        outputs += 1
        np.reciprocal(outputs, outputs)
        np.subtract(outputs, ys, errors)
        loss = np.vdot(errors, errors)
        errors *= outputs
        np.subtract(1, outputs, outputs)
        errors *= outputs  # now the gradient before the output's sigmoid
        np.subtract(1, after, local)
        local *= after
        multiply(errors, v.T, flat["ds"])
        flat["ds"] *= local
        carried = self.carried
        carried.fill(0)
        w_t = w.T
        for d, slope in self.backward:
            multiply(carried, slope, carried)
            add(d, carried, d)
            d.dot(w_t, carried)
        after.T.dot(errors, self.dv)
        self.before.T.dot(flat["ds"], self.dw)
        xs.T.dot(flat["ds"], self.du)
        for value, gradient in ((u, self.du), (w, self.dw), (v, self.dv)):
            gradient *= RATE
            value -= gradient
        return loss / 2

    def __call__(self) -> Any:
        loss: Any = 0.0
        for _ in range(self.problem.updates):
            loss = loss + self.step(self.flat_xs[self.turn], self.flat_ys[self.turn])
            self.turn = (self.turn + 1) % len(self.xs)
        return loss

    def results(self) -> Results:
        return {"u": self.u, "w": self.w, "v": self.v}


class Layer:
    """What the layers share; `columns` is how many gates' local derivatives a step has."""

    columns = 1
    hidden: tuple[str, ...] = ("w",)

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.xs, self.p = problem.sequences(), problem.weights()
        T, B, H = problem.steps, problem.batch, problem.hidden
        G = self.p["u"].shape[1] // H
        self.z = self.empty(T, B, G * H)
        self.hs = self.empty(T + 1, B, H)
        self.block = min(T, max(1, CACHE // (self.columns * B * H * self.hs.itemsize)))
        self.grads = {name: np.empty_like(value) for name, value in self.p.items()}
        if problem.inputs:
            self.grads["xs"] = np.empty_like(self.xs)
        self.product = self.empty(B, G * H)
        self.gh, self.d, self.some = (self.empty(B, H) for _ in range(3))
        self.transposed = {name: self.empty(*self.p[name].T.shape) for name in self.hidden}
        self.prepare()

    def empty(self, *shape: int) -> Array:
        return np.empty(shape, self.problem.dtype)

    def prepare(self) -> None:
        """Allocate what else a model needs."""

    def __call__(self) -> Results:
        p, grads, T = self.p, self.grads, len(self.xs)
        xs = self.xs.reshape(-1, self.xs.shape[2])
        u, bias = self.input_weights()
        z = self.z.reshape(len(xs), -1)
        xs.dot(u, z)
        if bias is not None:
            z += bias
        self.hs[0] = p["h0"]
        self.forward()
        hs = self.hs[1:].reshape(-1)
        loss = np.vdot(hs, hs) / hs.size
        self.gh.fill(0)
        self.scale = self.hs.dtype.type(2 / hs.size)
        for name, transposed in self.transposed.items():
            transposed[...] = p[name].T
        self.begin_backward()
        for stop in range(T, 0, -self.block):
            self.backward(max(0, stop - self.block), stop)
        grads["h0"][...] = self.gh
        self.weight_gradients()
        return {"loss": loss, **grads}

    def input_weights(self) -> tuple[Array, Array | None]:
        """Return u and the bias as the forward wants them."""
        return self.p["u"], self.p.get("b")

    def forward(self) -> None:
        """Compute all states, in `hs[1:]`, from `z`."""
        raise NotImplementedError

    def begin_backward(self) -> None:
        """Set what is carried besides `gh` to zero, and prepare weights."""

    def backward(self, start: int, stop: int) -> None:
        """Go back from step `stop - 1` to `start`: gradients of the gates, and `gh`."""
        raise NotImplementedError

    def weight_gradients(self) -> None:
        """Compute the gradients of the weights and of the sequences from those of the gates."""
        self.from_gates(self.z.reshape(-1, self.z.shape[2]))

    def from_gates(self, dz: Array) -> None:
        """Compute the gradients of u, w, b and xs from those of the gates, (T * B, G * H)."""
        grads, p = self.grads, self.p
        xs = self.xs.reshape(-1, self.xs.shape[2])
        before = self.hs[:-1].reshape(-1, self.hs.shape[2])
        xs.T.dot(dz, grads["u"])
        if "w" in grads:
            before.T.dot(dz, grads["w"])
            np.ones(len(dz), dz.dtype).dot(dz, grads["b"])
        if "xs" in grads:
            dz.dot(p["u"].T, grads["xs"].reshape(xs.shape))


class RNN(Layer):
    def prepare(self) -> None:
        B, H = self.hs.shape[1:]
        self.local = self.empty(self.block, B, H)
        # One row a step is faster as a vector: np.dot then calls gemv.
        flat = (lambda a: a.reshape(-1, H)) if B == 1 else (lambda a: a)
        self.h_rows, self.z_rows, self.local_rows = map(flat, (self.hs, self.z, self.local))
        self.row, self.gh_row = (a.reshape(H) if B == 1 else a for a in (self.product, self.gh))

    def forward(self) -> None:
        add, tanh, w, row = np.add, np.tanh, self.p["w"], self.row
        h = self.h_rows[0]
        for z, after in zip(self.z_rows, self.h_rows[1:], strict=True):
            h.dot(w, row)
            add(row, z, row)
            h = tanh(row, after)

    def backward(self, start: int, stop: int) -> None:
        add, multiply, g = np.add, np.multiply, self.gh_row
        w_t = self.transposed["w"]
        hs, local = self.hs[start + 1 : stop + 1], self.local[: stop - start]
        ds = self.z[start:stop]  # z is used up: the gradients take its place
        multiply(hs, hs, local)
        np.subtract(1, local, local)
        multiply(hs, self.scale, ds)
        for d, slope in zip(
            self.z_rows[start:stop][::-1], self.local_rows[::-1][-(stop - start) :], strict=True
        ):
            add(d, g, d)
            multiply(d, slope, d)
            d.dot(w_t, g)


class LSTM(Layer):
    columns = 5

    def prepare(self) -> None:
        T, B, H = self.hs.shape[0] - 1, *self.hs.shape[1:]
        self.cs, self.tanh_cs = self.empty(T + 1, B, H), self.empty(T, B, H)
        self.gc = self.empty(B, H)
        self.local = self.empty(self.block, B, 4, H)
        self.through = self.empty(self.block, B, H)
        gates = [self.z[:, :, k * H : (k + 1) * H] for k in range(4)]
        self.steps = list(zip(self.z, *gates, self.hs[1:], self.cs[1:], self.tanh_cs, strict=True))
        dtype = self.hs.dtype
        self.halves = np.repeat(np.array([0.5, 0.5, 1, 0.5], dtype), H)
        self.shift = np.repeat(np.array([0.5, 0.5, 0, 0.5], dtype), H)
        self.u, self.w = np.empty_like(self.p["u"]), np.empty_like(self.p["w"])

    def input_weights(self) -> tuple[Array, Array]:
        np.multiply(self.p["w"], self.halves, self.w)
        return np.multiply(self.p["u"], self.halves, self.u), self.p["b"] * self.halves

    def forward(self) -> None:
        add, multiply, tanh = np.add, np.multiply, np.tanh
        w, product, halves, shift, some = self.w, self.product, self.halves, self.shift, self.some
        self.cs[0] = self.p["c0"]
        h, c = self.hs[0], self.cs[0]
        for z, i, f, g, o, h_after, c_after, tanh_c in self.steps:
            h.dot(w, product)
            add(product, z, z)
            tanh(z, z)
            multiply(z, halves, z)
            add(z, shift, z)  # the gates i, f, g, o
            multiply(f, c, c_after)
            multiply(i, g, some)
            c = add(c_after, some, c_after)
            tanh(c, tanh_c)
            h = multiply(o, tanh_c, h_after)

    def begin_backward(self) -> None:
        self.gc.fill(0)

    def backward(self, start: int, stop: int) -> None:
        add, multiply, subtract = np.add, np.multiply, np.subtract
        n, B, H = stop - start, *self.hs.shape[1:]
        gates = self.z[start:stop].reshape(n, B, 4, H)
        i, f, g, o = (gates[:, :, k] for k in range(4))
        local, through = self.local[:n], self.through[:n]
        t = self.tanh_cs[start:stop]
        # d(gate before its function) / d(c for i, f, g; h for o)
        subtract(1, gates, local)
        multiply(local, gates, local)
        multiply(g, g, local[:, :, 2])
        subtract(1, local[:, :, 2], local[:, :, 2])
        multiply(local[:, :, 0], g, local[:, :, 0])
        multiply(local[:, :, 1], self.cs[start:stop], local[:, :, 1])
        multiply(local[:, :, 2], i, local[:, :, 2])
        multiply(local[:, :, 3], t, local[:, :, 3])
        multiply(t, t, through)
        subtract(1, through, through)
        multiply(through, o, through)
        gh, gc, d, w_t = self.gh, self.gc, self.d, self.transposed["w"]
        scale = self.scale
        gc_wide, d_some = gc.reshape(B, 1, H), self.some
        steps = (
            *(self.hs[start + 1 : stop + 1], through, self.z[start:stop], f),
            *(gates[:, :, :3], o, local[:, :, :3], local[:, :, 3]),
        )
        for h, inner, dz, forget, d_ifg, d_o, slopes_ifg, slope_o in zip(
            *(sequence[::-1] for sequence in steps), strict=True
        ):
            multiply(h, scale, d)
            add(d, gh, d)
            multiply(d, inner, d_some)
            add(gc, d_some, gc)
            multiply(slope_o, d, d_o)
            multiply(gc, forget, d_some)  # carried on, before the forget gate is overwritten
            multiply(slopes_ifg, gc_wide, d_ifg)
            gc[...] = d_some
            dz.dot(w_t, gh)

    def weight_gradients(self) -> None:
        super().weight_gradients()
        self.grads["c0"][...] = self.gc


class GRU(Layer):
    """The gates' gradients are kept as n, r, u, n's hidden part: the input's three come first, the
    hidden part's three come last."""

    columns = 4

    def prepare(self) -> None:
        T, B, H = self.hs.shape[0] - 1, *self.hs.shape[1:]
        self.hidden_n = self.empty(T, B, H)
        self.dz = self.empty(T, B, 4, H)
        self.local = self.empty(self.block, B, 4, H)
        self.halves = np.repeat(np.array([0.5, 0.5, 1], self.hs.dtype), H)
        self.u, self.w = np.empty_like(self.p["u"]), np.empty_like(self.p["w"])
        self.du, self.dw = np.empty_like(self.p["u"]), np.empty_like(self.p["w"])

    def input_weights(self) -> tuple[Array, Array]:
        np.multiply(self.p["w"], self.halves, self.w)
        return np.multiply(self.p["u"], self.halves, self.u), self.p["b"] * self.halves

    def forward(self) -> None:
        add, multiply, tanh = np.add, np.multiply, np.tanh
        w, product, some, b_n = self.w, self.product, self.some, self.p["b_n"]
        H = self.hs.shape[2]
        h = self.hs[0]
        product_ru, product_n = product[:, : 2 * H], product[:, 2 * H :]
        for z, h_after, hidden_n in zip(self.z, self.hs[1:], self.hidden_n, strict=True):
            h.dot(w, product)
            ru, n = z[:, : 2 * H], z[:, 2 * H :]
            add(ru, product_ru, ru)
            tanh(ru, ru)
            multiply(ru, 0.5, ru)
            add(ru, 0.5, ru)
            add(product_n, b_n, hidden_n)
            multiply(hidden_n, z[:, :H], some)
            add(n, some, n)
            tanh(n, n)
            np.subtract(h, n, some)
            multiply(some, z[:, H : 2 * H], some)
            h = add(some, n, h_after)

    def backward(self, start: int, stop: int) -> None:
        add, multiply, subtract = np.add, np.multiply, np.subtract
        n, B, H = stop - start, *self.hs.shape[1:]
        gates = self.z[start:stop].reshape(n, B, 3, H)
        r, u, new = (gates[:, :, k] for k in range(3))
        local = self.local[:n]
        of_n, of_r, of_u, of_hidden = (local[:, :, k] for k in range(4))
        subtract(1, u, of_u)
        multiply(new, new, of_n)
        subtract(1, of_n, of_n)
        multiply(of_n, of_u, of_n)
        multiply(of_u, u, of_u)
        subtract(self.hs[start:stop], new, of_r)
        multiply(of_u, of_r, of_u)
        multiply(of_n, r, of_hidden)
        subtract(1, r, of_r)
        multiply(of_r, of_hidden, of_r)
        multiply(of_r, self.hidden_n[start:stop], of_r)
        gh, d, w_t = self.gh, self.d, self.transposed["w"]  # rows r, u, n, as in dz[:, :, 1:]
        scale, some = self.scale, self.some
        d_wide = d.reshape(B, 1, H)
        for k in reversed(range(n)):
            multiply(self.hs[start + k + 1], scale, d)
            add(d, gh, d)
            dz = self.dz[start + k]
            multiply(local[k], d_wide, dz)
            dz.reshape(B, 4 * H)[:, H:].dot(w_t, gh)
            multiply(d, u[k], some)
            add(gh, some, gh)

    def weight_gradients(self) -> None:
        grads, H = self.grads, self.hs.shape[2]
        dz = self.dz.reshape(-1, 4 * H)
        xs = self.xs.reshape(-1, self.xs.shape[2])
        before = self.hs[:-1].reshape(-1, H)
        xs.T.dot(dz[:, : 3 * H], self.du)
        before.T.dot(dz[:, H:], grads["w"])
        sums = np.dot(np.ones(len(dz), dz.dtype), dz)
        grads["b"][: 2 * H], grads["b"][2 * H :] = sums[H : 3 * H], sums[:H]
        grads["b_n"][...] = sums[3 * H :]
        # back from n, r, u to PyTorch's r, u, n
        grads["u"][:, : 2 * H], grads["u"][:, 2 * H :] = self.du[:, H:], self.du[:, :H]
        if "xs" in grads:
            u = self.u
            u[:, :H], u[:, H:] = self.p["u"][:, 2 * H :], self.p["u"][:, : 2 * H]
            dz[:, : 3 * H].dot(u.T, grads["xs"].reshape(xs.shape))


class MGU(Layer):
    hidden = ("w_f", "w_n")

    def prepare(self) -> None:
        T, B, H = self.hs.shape[0] - 1, *self.hs.shape[1:]
        # of both gates: normalized, the multiplier of the normalization, the gate itself
        self.hats, self.gates = self.empty(2, T, B, H), self.empty(2, T, B, H)
        self.scales = self.empty(2, T, B, 1)
        self.resets, self.before_scale = self.empty(T, B, H), self.empty(2, T, B, H)
        self.mean = self.empty(B, 1)
        self.more, self.local_row = self.empty(B, H), self.empty(B, H)
        self.ones = np.full((H, 1), 1 / H, self.hs.dtype)

    def normalize(self, x: Array, hat: Array, scale: Array) -> None:
        """Put x normalized into `hat`, x (B, H). Means are products with a column of 1 / H."""
        mean, ones = self.mean, self.ones
        x.dot(ones, mean)
        np.subtract(x, mean, hat)
        np.multiply(hat, hat, x)
        x.dot(ones, scale)
        np.add(scale, EPSILON, scale)
        np.sqrt(scale, scale)
        np.reciprocal(scale, scale)
        np.multiply(hat, scale, hat)

    def forward(self) -> None:
        add, multiply, tanh = np.add, np.multiply, np.tanh
        p, H, row = self.p, self.hs.shape[2], self.some
        half, shift = 0.5 * p["scale_f"], 0.5 * p["shift_f"]
        scale_n, shift_n, w_f, w_n = p["scale_n"], p["shift_n"], p["w_f"], p["w_n"]
        h = self.hs[0]
        hats, scales, gates, resets = self.hats, self.scales, self.gates, self.resets
        for t in range(len(self.z)):
            z, f, n, reset = self.z[t], gates[0, t], gates[1, t], resets[t]
            h.dot(w_f, row)
            add(row, z[:, :H], row)
            self.normalize(row, hats[0, t], scales[0, t])
            multiply(hats[0, t], half, f)
            add(f, shift, f)
            tanh(f, f)
            multiply(f, 0.5, f)
            add(f, 0.5, f)
            multiply(f, h, reset)
            reset.dot(w_n, row)
            add(row, z[:, H:], row)
            self.normalize(row, hats[1, t], scales[1, t])
            multiply(hats[1, t], scale_n, n)
            add(n, shift_n, n)
            tanh(n, n)
            np.subtract(n, h, row)
            multiply(row, f, row)
            h = add(row, h, self.hs[t + 1])

    def denormalize(self, g: Array, hat: Array, scale: Array, out: Array) -> None:
        """Put the gradient of x into `out`, given that of x normalized; `g` is used up."""
        mean, ones, some = self.mean, self.ones, self.some
        np.multiply(g, hat, some)
        some.dot(ones, mean)
        np.multiply(hat, mean, some)
        g.dot(ones, mean)
        np.subtract(g, mean, g)
        np.subtract(g, some, g)
        np.multiply(g, scale, out)

    def backward(self, start: int, stop: int) -> None:
        add, multiply, subtract = np.add, np.multiply, np.subtract
        p, H, gh, d, scale = self.p, self.hs.shape[2], self.gh, self.d, self.scale
        scale_f, scale_n = p["scale_f"], p["scale_n"]
        w_f_t, w_n_t = self.transposed["w_f"], self.transposed["w_n"]
        more, product = self.more, self.local_row
        hats, scales, gates, before_scale = self.hats, self.scales, self.gates, self.before_scale
        for t in reversed(range(start, stop)):
            h, f, n, dz = self.hs[t], gates[0, t], gates[1, t], self.z[t]
            df, dn = before_scale[0, t], before_scale[1, t]
            multiply(self.hs[t + 1], scale, d)
            add(d, gh, d)
            multiply(n, n, dn)
            subtract(1, dn, dn)
            multiply(dn, f, dn)
            multiply(dn, d, dn)
            multiply(dn, scale_n, more)
            self.denormalize(more, hats[1, t], scales[1, t], dz[:, H:])
            dz[:, H:].dot(w_n_t, product)  # of f * h
            subtract(n, h, df)
            multiply(df, d, df)
            multiply(product, h, more)
            add(df, more, df)
            multiply(product, f, gh)
            add(gh, d, gh)
            multiply(d, f, d)
            subtract(gh, d, gh)
            subtract(1, f, more)
            multiply(more, f, more)
            multiply(df, more, df)
            multiply(df, scale_f, more)
            self.denormalize(more, hats[0, t], scales[0, t], dz[:, :H])
            dz[:, :H].dot(w_f_t, product)
            add(gh, product, gh)

    def weight_gradients(self) -> None:
        grads, H = self.grads, self.hs.shape[2]
        dz = self.z.reshape(-1, 2 * H)
        self.from_gates(dz)
        self.hs[:-1].reshape(-1, H).T.dot(dz[:, :H], grads["w_f"])
        self.resets.reshape(-1, H).T.dot(dz[:, H:], grads["w_n"])
        ones = np.ones(len(dz), dz.dtype)
        for k, gate in enumerate("fn"):
            d, hats = self.before_scale[k].reshape(-1, H), self.hats[k].reshape(-1, H)
            ones.dot(d, grads[f"shift_{gate}"])
            np.multiply(d, hats, d)
            ones.dot(d, grads[f"scale_{gate}"])


class RaggedRNN:
    """Valid steps only, packed one behind the other: step t has as many rows as go on at t."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.xs, self.lengths = problem.sequences(), problem.lengths()
        self.p = problem.weights()
        valid, H = int(self.lengths.sum()), problem.hidden
        dtype = problem.dtype
        self.hs, self.before, self.local, self.ds = (np.empty((valid, H), dtype) for _ in range(4))
        self.product = np.empty((problem.batch, H), dtype)
        self.g = np.empty((problem.batch, H), dtype)
        self.grads = {name: np.empty_like(value) for name, value in self.p.items()}
        self.grads["xs"] = np.zeros_like(self.xs)

    def pieces(self, counts: list[int]) -> Iterator[tuple[slice, int]]:
        """Yield where the rows of each step are, and how many."""
        start = 0
        for n in counts:
            yield slice(start, start + n), n
            start += n

    def __call__(self) -> Results:
        add, multiply, p = np.add, np.multiply, self.p
        order = np.argsort(-self.lengths, kind="stable")
        counts = [int(n) for n in (self.lengths > np.arange(self.lengths.max())[:, None]).sum(1)]
        steps = np.repeat(np.arange(len(counts)), counts)
        rows = np.concatenate([order[:n] for n in counts])
        xs = self.xs[steps, rows]
        hs, before, product, g, w = self.hs, self.before, self.product, self.g, p["w"]
        xs.dot(p["u"], hs)
        np.add(hs, p["b"], hs)
        places = list(self.pieces(counts))
        h = p["h0"][order]
        for place, n in places:
            before[place] = h[:n]
            before[place].dot(w, product[:n])
            h = hs[place]
            add(h, product[:n], h)
            np.tanh(h, h)
        loss = np.vdot(hs, hs) / self.problem.elements
        multiply(hs, hs, self.local)
        np.subtract(1, self.local, self.local)
        multiply(hs, hs.dtype.type(2 / self.problem.elements), self.ds)
        g.fill(0)
        w_t = np.ascontiguousarray(w.T)
        for place, n in reversed(places):
            d = self.ds[place]
            add(d, g[:n], d)
            multiply(d, self.local[place], d)
            d.dot(w_t, g[:n])
        grads, ds = self.grads, self.ds
        before.T.dot(ds, grads["w"])
        xs.T.dot(ds, grads["u"])
        np.ones(len(ds), ds.dtype).dot(ds, grads["b"])
        grads["xs"][steps, rows] = ds.dot(p["u"].T)
        grads["h0"][order] = g
        return {"loss": loss, **grads}


MODELS: dict[str, Callable[[Problem], Any]] = {
    **{"adder": Adder, "rnn": RNN, "lstm": LSTM, "gru": GRU, "mgu": MGU}
}


def of(problem: Problem) -> Any:
    """Return what computes the problem's results when called; an adder has `reset`, too."""
    return RaggedRNN(problem) if problem.ragged else MODELS[problem.model](problem)
