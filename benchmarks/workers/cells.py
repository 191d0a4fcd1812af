"""One step of each model, written once for every library that has NumPy's operators.

`m` is the library: `m.tanh`, `m.sigmoid`, `m.parts(x, n)` (n equal parts of the last axis) and
`m.mean(x)` and `m.rsqrt(x)` (of and over the last axis, which stays). `p` holds the weights by
name. A step takes what it is carried, (h,) or (h, c), and `z`, the input's part of the gates, which
`drive` computes for one step or for all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from problem import EPSILON

Carry = tuple[Any, ...]
Cell = Callable[[Any, Any, Carry, Any], Carry]


def drive(p: Any, x: Any) -> Any:
    """Return the input's part of all gates: x @ u and the bias, for x (..., D)."""
    z = x @ p["u"]
    return z + p["b"] if "b" in p else z


def adder(m: Any, p: Any, carry: Carry, z: Any) -> Carry:
    return (m.sigmoid(z + carry[0] @ p["w"]),)


def rnn(m: Any, p: Any, carry: Carry, z: Any) -> Carry:
    return (m.tanh(z + carry[0] @ p["w"]),)


def lstm(m: Any, p: Any, carry: Carry, z: Any) -> Carry:
    """Hochreiter and Schmidhuber 1997 with forget gates; gates in PyTorch's order i, f, g, o."""
    h, c = carry
    i, f, g, o = m.parts(z + h @ p["w"], 4)
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    return m.sigmoid(o) * m.tanh(c), c


def gru(m: Any, p: Any, carry: Carry, z: Any) -> Carry:
    """Cho et al. 2014, reset after the product as in PyTorch; gates in its order r, z, n."""
    (h,) = carry
    r, u, n = m.parts(z, 3)
    rh, uh, nh = m.parts(h @ p["w"], 3)
    u = m.sigmoid(u + uh)
    n = m.tanh(n + m.sigmoid(r + rh) * (nh + p["b_n"]))
    return (n + u * (h - n),)


def mgu(m: Any, p: Any, carry: Carry, z: Any) -> Carry:
    """The minimal gated unit of Zhou et al. 2016, each gate layer-normalized (Ba et al. 2016)."""
    (h,) = carry
    z_f, z_n = m.parts(z, 2)
    f = m.sigmoid(normalized(m, z_f + h @ p["w_f"]) * p["scale_f"] + p["shift_f"])
    n = m.tanh(normalized(m, z_n + (f * h) @ p["w_n"]) * p["scale_n"] + p["shift_n"])
    return (h + f * (n - h),)


def normalized(m: Any, x: Any) -> Any:
    centered = x - m.mean(x)
    return centered * m.rsqrt(m.mean(centered * centered) + EPSILON)


CELLS: dict[str, Cell] = {"adder": adder, "rnn": rnn, "lstm": lstm, "gru": gru, "mgu": mgu}


def initial(p: Any) -> Carry:
    """Return what is carried into the first step."""
    return tuple(p[name] for name in ("h0", "c0") if name in p)
