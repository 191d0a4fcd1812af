"""The network of the Go listing (2-2-1, sigmoid hidden layer, linear output, no biases), corrected.

    h_t = sigmoid(x_t IW + h_{t-1} HW),   o_t = h_t OW,   loss = 1/2 sum_t |o_t - target_t|^2

Weights have one row per source unit. As printed, the listing does not compile, forgets its state
at each call and returns zero gradients; this is what it set out to do.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gradients:
    """Gradients of the half squared error; `dx` is (T, in), `dh0` (hidden,)."""

    dx: np.ndarray
    d_iw: np.ndarray
    d_hw: np.ndarray
    d_ow: np.ndarray
    dh0: np.ndarray


@dataclass(frozen=True)
class FirstRNN:
    iw: np.ndarray
    hw: np.ndarray
    ow: np.ndarray

    def forward(self, xs: np.ndarray, h0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hidden states (T, hidden) and outputs (T, out) for inputs (T, in)."""
        hs, os, h = [], [], h0
        for x in xs:
            h = 1.0 / (1.0 + np.exp(-(x @ self.iw + h @ self.hw)))
            hs.append(h)
            os.append(h @ self.ow)
        return np.array(hs), np.array(os)

    def loss(self, xs: np.ndarray, targets: np.ndarray, h0: np.ndarray) -> float:
        return 0.5 * float(np.sum((self.forward(xs, h0)[1] - targets) ** 2))

    def gradients(self, xs: np.ndarray, targets: np.ndarray, h0: np.ndarray) -> Gradients:
        """Backpropagation through time over all steps of xs."""
        hs, os = self.forward(xs, h0)
        dx = np.zeros_like(xs)
        d_iw, d_hw, d_ow = map(np.zeros_like, (self.iw, self.hw, self.ow))
        d_h = np.zeros_like(h0)
        for t in reversed(range(len(xs))):
            delta = os[t] - targets[t]
            before = hs[t - 1] if t else h0
            d_ow += np.outer(hs[t], delta)
            d_pre = (self.ow @ delta + d_h) * hs[t] * (1.0 - hs[t])
            d_iw += np.outer(xs[t], d_pre)
            d_hw += np.outer(before, d_pre)
            dx[t] = self.iw @ d_pre
            d_h = self.hw @ d_pre
        return Gradients(dx, d_iw, d_hw, d_ow, d_h)
