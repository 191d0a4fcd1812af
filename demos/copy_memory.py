"""Ten symbols kept for 150 steps and given back in order: `python -m demos.copy_memory`.

The copying problem of Hochreiter and Schmidhuber 1997, in the form of Arjovsky, Shah and Bengio
2016 (arXiv:1511.06464): ten symbols of eight, blanks, a marker, and then the ten symbols are
asked for. Who remembers nothing puts out blanks, and guesses at the end: cross-entropy
10 log 8 / (T + 20). A network whose recurrent matrix stays orthogonal cannot forget.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.charts import curves
from demos.learning import latest, learn, options
from demos.showing import picture

SYMBOLS, KEPT = 8, 10
BLANK, MARKER = 0, SYMBOLS + 1
"""Symbols are 1 to 8."""
KINDS = SYMBOLS + 2
BATCH = 32
ENOUGH = 0.001
"""Training stops here."""


class Orthogonal(nn.Cell):
    """h' = modReLU(x U + h Q), Q = (I + A)^-1 (I - A) with A = W - W^T: Cayley's form.

    Q is orthogonal whatever W is, so no training can leave the orthogonal matrices (Helfrich,
    Willmott and Ye 2018, arXiv:1707.09520). modReLU(z) = sign(z) relu(|z| + b) (Arjovsky et al.)
    """

    def __init__(self, inputs: int, size: int, rng: np.random.Generator) -> None:
        self.state_size = size
        self.inside = nn.Linear(inputs, size, bias=False, rng=rng, dtype=np.float32)
        self.w = ag.parameter("w", rotations(size, rng))
        self.b = ag.parameter("b", np.zeros(size, np.float32))

    def draw_matrix(self) -> None:
        """Draw Q, outside of the loop: what comes from there is the same node for all steps."""
        a = self.w - self.w.T
        one = ag.constant(np.eye(len(a), dtype=np.float32), name="I")
        self.q = ag.linalg.solve(one + a, one - a)

    def forward(self, x: Any, h: Any) -> Any:
        z = self.inside(x) + h @ self.q
        return ag.sign(z) * ag.relu(ag.abs(z) + self.b)


def rotations(size: int, rng: np.random.Generator) -> Array:
    """Return W for which Q turns pairs of units by random angles of up to 162 degrees.

    The more they differ, the more of the past can be told apart. (180 degrees have no W.)
    """
    w = np.zeros((size, size), np.float32)
    first = np.arange(0, size - 1, 2)
    w[first, first + 1] = np.tan(rng.uniform(0, 0.9 * np.pi, len(first)) / 2)
    return w


class OrthogonalRNN(nn.Recurrent):
    """A layer of that cell: its matrix once, then the loop."""

    def forward(self, xs: Any, state: Any = None, **options: Any) -> tuple[Any, ...]:
        self.cells[0][0].draw_matrix()
        return super().forward(xs, state, **options)


def orthogonal(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return a layer whose matrix is and stays orthogonal."""
    return OrthogonalRNN(Orthogonal(KINDS, size, rng))


def gru(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return a GRU as it comes."""
    return nn.GRU(KINDS, size, rng=rng, dtype=np.float32)


def lstm(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return an LSTM whose forget gates start open: their biases are 1."""
    layer = nn.LSTM(KINDS, size, rng=rng, dtype=np.float32)
    open_gates = nn.init.stacked(0.0, 1.0, 0.0, 0.0)
    nn.init.apply(layer, {"bias_ih*": open_gates, "bias_hh*": 0.0})
    return layer


NETWORKS = {
    "orthogonal RNN": (orthogonal, 128, 0.003),
    "GRU": (gru, 80, 0.002),
    "LSTM": (lstm, 68, 0.002),
}
"""How each is made, its units (for about as many parameters) and its learning rate."""


def copying(rng: np.random.Generator, blanks: int, size: int) -> dict[str, Array]:
    """Return xs (blanks + 20, size, 10), one-hot, and the kinds ys asked for (blanks + 20, size).

    Read: ten symbols, blanks - 1 times a blank, the marker, ten blanks. Asked for: blanks, and the
    symbols at the last ten steps.
    """
    symbols = rng.integers(1, SYMBOLS + 1, size=(KEPT, size))
    read = np.full((blanks + 2 * KEPT, size), BLANK)
    asked = read.copy()
    read[:KEPT], read[KEPT + blanks - 1], asked[-KEPT:] = symbols, MARKER, symbols
    return {"xs": np.eye(KINDS, dtype=np.float32)[read], "ys": asked}


class Memory(nn.Module):
    """A recurrent layer, and the logits of what it puts out: (T, B, 10) -> (T, B, 9)."""

    def __init__(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        make, size, self.rate = NETWORKS[kind]
        self.layer = make(rng, size)
        self.out = nn.Linear(size, SYMBOLS + 1, rng=rng, dtype=np.float32)

    def forward(self, xs: Any) -> ag.Node:
        hs, _ = self.layer(xs)
        logits: ag.Node = self.out(hs)
        return logits


def train(model: Memory, kind: str, blanks: int, steps: int, seed: int) -> list[float]:
    """Return the losses of up to `steps` steps, each on 32 new sequences."""
    rng = np.random.default_rng([seed, 1])

    def loss(xs: ag.Node, ys: ag.Node) -> ag.Node:
        return nn.cross_entropy(model(xs), ys)

    optimizer = nn.Adam(groups(model, steps), nn.schedules.cosine(model.rate, steps), clip_norm=1.0)
    step = nn.TrainingStep(loss, optimizer)
    return learn(step, lambda: copying(rng, blanks, BATCH), steps, kind, ENOUGH, reports=5)


def groups(model: Memory, steps: int) -> list[dict[str, Any]]:
    """Return the parameters; those that turn the state learn at a tenth of the others' rate."""
    named = list(model.named_parameters())
    turning = [p for name, p in named if name == "layer.cell.w"]
    others = [p for name, p in named if name != "layer.cell.w"]
    slow = {"parameters": turning, "lr": nn.schedules.cosine(model.rate / 10, steps)}
    return [{"parameters": others}, *([slow] if turning else [])]


def recalled(model: Memory, blanks: int, seed: int) -> float:
    """Return how many of the symbols asked for are right, in 500 sequences nobody has seen."""
    xs, ys = copying(np.random.default_rng([seed, 2]), blanks, 500).values()
    with ag.no_grad():
        answers = model(xs).value[-KEPT:].argmax(axis=2)
    return float(np.mean(answers == ys[-KEPT:]))


def main(argv: Sequence[str] | None = None) -> None:
    """Train each network, test what it recalls, and chart all losses."""
    numbers = {"blanks": (150, "steps to remember for"), "steps": (3000, "of training, at most")}
    chosen = options("copy_memory", __doc__, argv, **numbers)
    blanks, steps = (5, 50) if chosen.quick else (chosen.blanks, chosen.steps)
    baseline = KEPT * np.log(SYMBOLS) / (blanks + 2 * KEPT)
    print(f"{blanks} blanks, seed {chosen.seed}; who remembers nothing has {baseline:.4f}")
    losses, rows = {}, []
    for kind in NETWORKS:
        model = Memory(kind, chosen.seed)
        losses[kind] = train(model, kind, blanks, steps, chosen.seed)
        count = sum(p.size for p in model.parameters())
        share = latest(losses[kind]) / baseline
        right = recalled(model, blanks, chosen.seed)
        rows.append(f"{kind:<16}{count:>10,}{len(losses[kind]):>9,}{share:>12.1%}{right:>10.1%}")
    print(f"{'network':<16}{'parameters':>10}{'steps':>9}{'of baseline':>12}{'recalled':>10}")
    print("\n".join(rows))
    start = np.zeros((blanks + 2 * KEPT, 1, KINDS), np.float32)
    shown = ag.trace(Memory("orthogonal RNN", 0).forward, start, name="copy_memory")
    picture(shown, chosen.out / "graph.svg", "virtual graph of the orthogonal network")
    level = ("remembers nothing", float(baseline))
    curves(chosen.out / "losses.svg", "losses", losses, "cross-entropy", level=level, log=True)


if __name__ == "__main__":
    main()
