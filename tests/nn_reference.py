"""Recurrent cells and layers written out by hand in NumPy: a second implementation to test `nn` by.

A cell is a function (weights by name, x (..., D), states) -> next states, the first of which is the
output. Weights have PyTorch's names and layout: weight_ih (gates * H, D), weight_hh (gates * H, H),
bias_ih and bias_hh (gates * H,), which may be missing. Gates stand one below the other: input,
forget, cell, output in an LSTM; reset, update, new in a GRU.

What PyTorch has is checked against it (tests/fixtures). The rest, and where it is from:

* peepholes: Gers and Schmidhuber, Recurrent nets that time and count, IJCNN 2000
* the reset gate before the product: Cho et al., arXiv:1406.1078 (PyTorch's is behind it)
* layer normalization: Ba, Kiros and Hinton, arXiv:1607.06450, eq. (4) and the supplement
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Array = np.ndarray
Weights = Mapping[str, Array]
Cell = Callable[..., tuple[Array, ...]]


def sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


ACTIVATIONS = {"tanh": np.tanh, "relu": relu, "sigmoid": sigmoid}


def from_input(w: Weights, x: Array) -> Array:
    """W_ih x + b_ih."""
    return x @ w["weight_ih"].T + w.get("bias_ih", 0.0)


def from_state(w: Weights, h: Array) -> Array:
    """W_hh h + b_hh."""
    return h @ w["weight_hh"].T + w.get("bias_hh", 0.0)


def layer_norm(a: Array, gain: Array, shift: Array, epsilon: float) -> Array:
    """gain * (a - mean) / sqrt(variance + epsilon) + shift, over the last axis."""
    deviation = a - a.mean(-1, keepdims=True)
    variance = np.square(deviation).mean(-1, keepdims=True)
    return gain * deviation / np.sqrt(variance + epsilon) + shift


# Cells.


def rnn_cell(w: Weights, x: Array, h: Array, nonlinearity: str = "tanh") -> tuple[Array]:
    return (ACTIVATIONS[nonlinearity](from_input(w, x) + from_state(w, h)),)


def lstm_cell(w: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """An LSTM with a forget gate; with weight_hr (P, H), h is projected and has P features."""
    i, f, g, o = np.split(from_input(w, x) + from_state(w, h), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    if "weight_hr" in w:
        h = h @ w["weight_hr"].T
    return h, c


def lstm_peephole_cell(w: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Gates see the cell through diagonal weights: i and f that before the step, o that after."""
    i, f, g, o = np.split(from_input(w, x) + from_state(w, h), 4, axis=-1)
    i = sigmoid(i + w["weight_ci"] * c)
    f = sigmoid(f + w["weight_cf"] * c)
    c = f * c + i * np.tanh(g)
    o = sigmoid(o + w["weight_co"] * c)
    h = o * np.tanh(c)
    if "weight_hr" in w:
        h = h @ w["weight_hr"].T
    return h, c


def gru_cell(w: Weights, x: Array, h: Array) -> tuple[Array]:
    """PyTorch's GRU: the reset gate multiplies W_hn h + b_hn."""
    rx, zx, nx = np.split(from_input(w, x), 3, axis=-1)
    rh, zh, nh = np.split(from_state(w, h), 3, axis=-1)
    r, z = sigmoid(rx + rh), sigmoid(zx + zh)
    n = np.tanh(nx + r * nh)
    return ((1.0 - z) * n + z * h,)


def gru_reset_before_cell(w: Weights, x: Array, h: Array) -> tuple[Array]:
    """Cho's GRU: the reset gate multiplies h, before the product with W_hn."""
    size = h.shape[-1]
    gates, new = w["weight_hh"][: 2 * size], w["weight_hh"][2 * size :]
    bias = w.get("bias_hh", np.zeros(3 * size))
    rx, zx, nx = np.split(from_input(w, x), 3, axis=-1)
    rh, zh = np.split(h @ gates.T + bias[: 2 * size], 2, axis=-1)
    r, z = sigmoid(rx + rh), sigmoid(zx + zh)
    n = np.tanh(nx + (r * h) @ new.T + bias[2 * size :])
    return ((1.0 - z) * n + z * h,)


def normalized(w: Weights, which: str, a: Array, epsilon: float) -> Array:
    """LN(a) with the gain and the shift called gain_<which> and shift_<which>."""
    return layer_norm(a, w[f"gain_{which}"], w[f"shift_{which}"], epsilon)


def layer_norm_rnn_cell(
    w: Weights, x: Array, h: Array, nonlinearity: str = "tanh", epsilon: float = 1e-5
) -> tuple[Array]:
    """h' = f(LN(W_hh h + W_ih x)): the summed inputs are normalized (eq. (4))."""
    summed = h @ w["weight_hh"].T + x @ w["weight_ih"].T
    return (ACTIVATIONS[nonlinearity](normalized(w, "a", summed, epsilon)),)


def layer_norm_lstm_cell(
    w: Weights, x: Array, h: Array, c: Array, epsilon: float = 1e-5
) -> tuple[Array, Array]:
    """All four gates are normalized together, from the state and from the input; the cell is too.

    (i, f, g, o) = LN(W_hh h) + LN(W_ih x) + b,  h' = sigmoid(o) tanh(LN(c')).
    """
    gates = (
        normalized(w, "hh", h @ w["weight_hh"].T, epsilon)
        + normalized(w, "ih", x @ w["weight_ih"].T, epsilon)
        + w["bias"]
    )
    i, f, g, o = np.split(gates, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normalized(w, "c", c, epsilon)), c


def layer_norm_gru_cell(w: Weights, x: Array, h: Array, epsilon: float = 1e-5) -> tuple[Array]:
    """(r, z) = LN(W h) + LN(W x) together, n = tanh(LN(W_in x) + sigmoid(r) LN(W_hn h)).

    The paper's update gate says how much is new, h' = (1 - z) h + z n, where PyTorch's (and ours)
    says how much is kept: h' = (1 - z) n + z h. They differ in the sign of z's sum.
    """
    size = 2 * h.shape[-1]
    ih, hh = x @ w["weight_ih"].T, h @ w["weight_hh"].T
    gates = normalized(w, "ih", ih[..., :size], epsilon)
    gates = gates + normalized(w, "hh", hh[..., :size], epsilon)
    r, z = np.split(sigmoid(gates), 2, axis=-1)
    new = normalized(w, "in", ih[..., size:], epsilon)
    n = np.tanh(new + r * normalized(w, "hn", hh[..., size:], epsilon))
    return ((1.0 - z) * n + z * h,)


# Layers.


def stepped(
    cell: Cell, w: Weights, xs: Array, states: Sequence[Array], reverse: bool = False
) -> tuple[Array, tuple[Array, ...]]:
    """Run a cell over xs (T, ..., D); return its outputs (T, ..., H) and the last states."""
    states = tuple(states)
    ys = np.zeros((len(xs), *states[0].shape))
    steps = range(len(xs))
    for t in reversed(steps) if reverse else steps:
        states = cell(w, xs[t], *states)
        ys[t] = states[0]
    return ys, states


def layered(
    cell: Cell,
    w: Weights,
    xs: Array,
    states: Sequence[Array],
    directions: int = 1,
) -> tuple[Array, tuple[Array, ...]]:
    """Run layers over xs (T, ..., D) with initial `states` (layers * directions, ..., H).

    The parameters of a layer are called as in PyTorch, weight_ih_l0 and weight_ih_l0_reverse.
    """
    finals = []
    for k in range(len(states[0]) // directions):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{k}" + ("_reverse" if direction else "")
            own = {n.removesuffix(suffix): value for n, value in w.items() if n.endswith(suffix)}
            before = [s[k * directions + direction] for s in states]
            ys, after = stepped(cell, own, xs, before, reverse=direction == 1)
            outputs.append(ys)
            finals.append(after)
        xs = np.concatenate(outputs, axis=-1)
    return xs, tuple(np.stack(s) for s in zip(*finals, strict=True))


def each_row_alone(
    cell: Cell,
    w: Weights,
    xs: Array,
    states: Sequence[Array],
    lengths: Sequence[int],
    directions: int = 1,
) -> tuple[Array, tuple[Array, ...]]:
    """Run layers over the first lengths[b] steps of row b of xs (T, B, D), one row at a time.

    Outputs behind a row's end are 0, as pad_packed_sequence leaves them.
    """
    rows = [
        layered(cell, w, xs[:n, b], [s[:, b] for s in states], directions)
        for b, n in enumerate(lengths)
    ]
    ys = np.zeros((*xs.shape[:2], rows[0][0].shape[-1]))
    for b, (row, _) in enumerate(rows):
        ys[: len(row), b] = row
    return ys, tuple(np.stack(s, axis=1) for s in zip(*[last for _, last in rows], strict=True))
