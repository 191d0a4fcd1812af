"""Three published binary-addition RNNs in plain NumPy, gradients derived by hand.

* `numpy_recipe`: the blog listing "RNN代码实现" (H 16, N(0, 1) weights, no biases, 20,000 steps);
* `published_recipe`: the 2015 listing it descends from (uniform weights, 10,000 steps);
* `article_recipe`: the C++ framework's 2018 experiment (H 8, biases, absolute error with a dead
  zone, sigmoid of base 2.718, an RMSProp variant that it calls Adadelta).

Each is a generator of `Report`s, one every `every` iterations, and leaves its weights in the
dictionary it is given. Sequences run from the lowest bit to the highest; batch size 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .glibc_random import GlibcRandom

BITS = 8
STEPS = range(BITS)

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Report:
    """What a recipe prints at one iteration; `bits` is the prediction, highest bit first."""

    iteration: int
    a: int
    b: int
    loss: float
    bits: tuple[int, ...]

    @property
    def guess(self) -> int:
        return int("".join(map(str, self.bits)), 2)


def bits_of(number: int, width: int = BITS) -> np.ndarray:
    """Bits of a number, lowest first, shape (width,)."""
    return np.array([number >> k & 1 for k in range(width)], dtype=float)


def sigmoid(x: np.ndarray, base: float = np.e) -> np.ndarray:
    """1 / (1 + base^-x)."""
    return 1.0 / (1.0 + (np.exp(-x) if base == np.e else base**-x))


def _report(iteration: int, a: int, b: int, loss: float, ones: list[bool]) -> Report:
    return Report(iteration, a, b, float(loss), tuple(int(one) for one in reversed(ones)))


# --- the two NumPy listings: h_t = sigmoid(x_t U + h_{t-1} W), o_t = sigmoid(h_t V) ---------------


def _step_half_squares(w: Weights, x: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    """One SGD step in place on sum_t (o_t - y_t)^2 / 2; returns the outputs (8,) before it."""
    u, hidden, v = w["u"], w["w"], w["v"]
    hs = [np.zeros((1, hidden.shape[0]))]
    os = []
    for t in STEPS:
        hs.append(sigmoid(x[t] @ u + hs[-1] @ hidden))
        os.append(sigmoid(hs[-1] @ v))
    du, dw, dv = np.zeros_like(u), np.zeros_like(hidden), np.zeros_like(v)
    from_later = np.zeros_like(hs[0])
    for t in reversed(STEPS):
        h, before = hs[t + 1], hs[t]
        d_out = os[t] * (1.0 - os[t]) * (os[t] - y[t])
        dv += h.T @ d_out
        d_hidden = h * (1.0 - h) * (d_out @ v.T + from_later)
        du += x[t][:, None] @ d_hidden
        dw += before.T @ d_hidden
        from_later = d_hidden @ hidden.T
    u -= rate * du
    hidden -= rate * dw
    v -= rate * dv
    return np.array(os).reshape(-1)


def _train(
    w: Weights, rng: np.random.RandomState, iterations: int, every: int, rate: float = 0.1
) -> Iterator[Report]:
    for i in range(iterations):
        a, b = int(rng.randint(128)), int(rng.randint(128))
        y = bits_of(a + b)
        o = _step_half_squares(w, np.stack([bits_of(a), bits_of(b)], axis=1), y, rate)
        if i % every == 0:
            loss = 0.0
            for t in STEPS:
                loss += abs(o[t] - y[t])
            yield _report(i, a, b, loss, [np.round(bit) == 1 for bit in o])


def numpy_recipe(
    weights: Weights, seed: int = 0, iterations: int = 20000, every: int = 1000
) -> Iterator[Report]:
    """The listing with NumPy's legacy generator seeded: `RandomState(seed)` draws what
    `np.random.seed(seed)` and the module functions draw."""
    rng = np.random.RandomState(seed)
    weights["u"] = rng.randn(2, 16)
    weights["w"] = rng.randn(16, 16)
    weights["v"] = rng.randn(16, 1)
    yield from _train(weights, rng, iterations, every)


def published_recipe(
    weights: Weights, seed: int = 0, iterations: int = 10000, every: int = 1000
) -> Iterator[Report]:
    """The 2015 listing: weights uniform in [-1, 1), drawn in the order u, v, w."""
    rng = np.random.RandomState(seed)
    weights["u"] = 2 * rng.random_sample((2, 16)) - 1
    weights["v"] = 2 * rng.random_sample((16, 1)) - 1
    weights["w"] = 2 * rng.random_sample((16, 16)) - 1
    yield from _train(weights, rng, iterations, every)


def predict(w: Weights, a: np.ndarray, b: np.ndarray, width: int = BITS) -> np.ndarray:
    """Sums (N,) that the two listings' network gives for many pairs at once."""
    total = np.zeros(len(a), dtype=np.int64)
    h = np.zeros((len(a), w["w"].shape[0]))
    for t in range(width):
        x = np.stack([a >> t & 1, b >> t & 1], axis=1).astype(float)
        h = sigmoid(x @ w["u"] + h @ w["w"])
        total |= (sigmoid(h @ w["v"])[:, 0] > 0.5).astype(np.int64) << t
    return total


# --- the C++ article: h_t = s(x_t W1 + h_{t-1} Wh + b1), o_t = s(h_t W2 + b2) ---------------------

ARTICLE_BASE = 2.718
DEAD_ZONE = 0.1
ARTICLE_HIDDEN = 8


class ArticleAdadelta:
    """The framework's "Adadelta(0.2)", an RMSProp variant with one accumulator per *use* of a
    parameter (8 steps are 8 uses), each use updating the one shared array in turn.

    First time: theta -= rate g, acc = g^2. Later: theta -= rate g / (sqrt(acc) + 0.5) with the old
    acc, and only then acc = 0.7 acc + 0.3 g^2.
    """

    def __init__(self, rate: float = 0.2) -> None:
        self.rate = rate
        self.acc: dict[tuple[str, int], np.ndarray] = {}

    def update(self, name: str, step: int, theta: np.ndarray, g: np.ndarray) -> None:
        key = (name, step)
        if key not in self.acc:
            theta -= self.rate * g
            self.acc[key] = g * g
            return
        theta -= self.rate * g / (np.sqrt(self.acc[key]) + 0.5)
        self.acc[key] = 0.7 * self.acc[key] + 0.3 * g * g


def _article_step(
    w: Weights, x: np.ndarray, y: np.ndarray, optimizer: ArticleAdadelta
) -> np.ndarray:
    """One iteration in place; returns the outputs (8,) before it."""
    hs = [np.zeros((1, ARTICLE_HIDDEN))]
    os = []
    product = np.zeros((1, ARTICLE_HIDDEN))  # what Branch:1 hands to Add:1
    for t in STEPS:
        hs.append(sigmoid(x[t : t + 1] @ w["w1"] + product + w["b1"], ARTICLE_BASE))
        product = hs[-1] @ w["wh"]
        os.append(sigmoid(hs[-1] @ w["w2"] + w["b2"], ARTICLE_BASE))
    uses: list[tuple[str, int, np.ndarray]] = []
    d_product = None
    for t in reversed(STEPS):
        h = hs[t + 1]
        error = os[t] - y[t]
        d_error = np.where(np.abs(error) < DEAD_ZONE, 0.0, np.sign(error))
        d_out = d_error * os[t] * (1.0 - os[t])
        d_h = d_out @ w["w2"].T
        uses += [("w2", t, h.T @ d_out), ("b2", t, d_out)]
        if d_product is not None:
            uses.append(("wh", t, h.T @ d_product))
            d_h = d_h + d_product @ w["wh"].T
        d_product = d_h * h * (1.0 - h)
        uses += [("w1", t, x[t : t + 1].T @ d_product), ("b1", t, d_product)]
    for name, step, gradient in uses:
        optimizer.update(name, step, w[name], gradient)
    return np.array(os).reshape(-1)


def article_weights_and_pairs(random: GlibcRandom) -> tuple[Weights, list[tuple[int, int]]]:
    """10,000 pairs, then the weights, in the order in which the program calls `rand()`."""
    pairs = []
    for _ in range(10000):
        a = random.rand() % 128
        pairs.append((a, random.rand() % 128))
    shapes = {
        "w1": (2, ARTICLE_HIDDEN),
        "w2": (ARTICLE_HIDDEN, 1),
        "wh": (ARTICLE_HIDDEN, ARTICLE_HIDDEN),
        "b1": (1, ARTICLE_HIDDEN),
        "b2": (1, 1),
    }
    weights = {
        name: np.array(
            [[random.rand() % 1000 / 1000 - 0.5 for _ in range(columns)] for _ in range(rows)]
        )
        for name, (rows, columns) in shapes.items()
    }
    return weights, pairs


def article_recipe(
    weights: Weights, iterations: int = 20000, every: int = 1000
) -> Iterator[Report]:
    """Iteration i uses pair (i + 1) mod 10000: pair 0 went into building the graph."""
    drawn, pairs = article_weights_and_pairs(GlibcRandom())
    weights.update(drawn)
    optimizer = ArticleAdadelta()
    for i in range(iterations):
        a, b = pairs[(i + 1) % len(pairs)]
        y = bits_of(a + b)
        o = _article_step(weights, np.stack([bits_of(a), bits_of(b)], axis=1), y, optimizer)
        if i % every == 0:
            yield _report(i, a, b, float(np.abs(o - y).sum()), [bit >= 0.5 for bit in o])


def article_predict(w: Weights, a: np.ndarray, b: np.ndarray, width: int = BITS) -> np.ndarray:
    """Sums (N,) that the article's network gives for many pairs at once."""
    total = np.zeros(len(a), dtype=np.int64)
    product = np.zeros((len(a), ARTICLE_HIDDEN))
    for t in range(width):
        x = np.stack([a >> t & 1, b >> t & 1], axis=1).astype(float)
        h = sigmoid(x @ w["w1"] + product + w["b1"], ARTICLE_BASE)
        product = h @ w["wh"]
        o = sigmoid(h @ w["w2"] + w["b2"], ARTICLE_BASE)
        total |= (o[:, 0] >= 0.5).astype(np.int64) << t
    return total
