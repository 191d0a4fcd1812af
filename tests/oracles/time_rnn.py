"""The tanh RNN of "Deep Learning from Scratch 2", chapter 5.3, in float64: one step and a block.

    h_t = tanh(h_{t-1} Wh + x_t Wx + b),   xs (N, T, D) -> hs (N, T, H)

Stateful blocks keep the last state for the next block (truncated backpropagation through time);
`dh` is the gradient with respect to the block's initial state, which a block does not pass on.
"""

import numpy as np


class TimeRNN:
    def __init__(
        self, wx: np.ndarray, wh: np.ndarray, b: np.ndarray, stateful: bool = False
    ) -> None:
        self.wx, self.wh, self.b = wx, wh, b
        self.stateful = stateful
        self.h: np.ndarray | None = None
        self.dh: np.ndarray | None = None
        self.d_wx, self.d_wh, self.d_b = map(np.zeros_like, (wx, wh, b))
        self._cache: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def forward(self, xs: np.ndarray) -> np.ndarray:
        """xs (N, T, D) -> all hidden states (N, T, H); stateless blocks start from zeros."""
        h = self.h
        if h is None or not self.stateful:
            h = np.zeros((xs.shape[0], self.wh.shape[0]))
        self._cache, hs = [], []
        for t in range(xs.shape[1]):
            x, before = xs[:, t], h
            h = np.tanh(before @ self.wh + x @ self.wx + self.b)
            self._cache.append((x, before, h))
            hs.append(h)
        self.h = h
        return np.stack(hs, axis=1)

    def backward(self, dhs: np.ndarray) -> np.ndarray:
        """dhs (N, T, H) -> dxs (N, T, D); parameter gradients and `dh` are overwritten."""
        self.d_wx, self.d_wh, self.d_b = map(np.zeros_like, (self.wx, self.wh, self.b))
        dxs, dh = [], np.zeros_like(dhs[:, 0])
        for t in reversed(range(dhs.shape[1])):
            x, before, after = self._cache[t]
            d_pre = (dhs[:, t] + dh) * (1.0 - after**2)
            self.d_b += d_pre.sum(axis=0)
            self.d_wh += before.T @ d_pre
            self.d_wx += x.T @ d_pre
            dxs.append(d_pre @ self.wx.T)
            dh = d_pre @ self.wh.T
        self.dh = dh
        return np.stack(dxs[::-1], axis=1)


def reference_block() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(xs, wx, wh, b) of the reference numbers: N 2, T 3, D 2, H 3, filled by formulas."""
    n, t, d = np.indices((2, 3, 2))
    i, j = np.indices((3, 3))
    wx = (3 * i[:2] + j[:2] + 1) * 0.1
    wh = ((3 * i + j) % 5 - 2) * 0.1
    xs = ((n * 3 + t) * 2 + d) % 7 * 0.1 - 0.3
    return xs, wx, wh, np.array([0.01, -0.02, 0.03])
