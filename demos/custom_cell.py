"""A recurrent cell of your own, explained in docs/custom_cell.md: `python -m demos.custom_cell`."""

import numpy as np

import autograd as ag
import nn
from demos.latch import latch, show_gate
from demos.learning import learn, options
from demos.showing import picture
from loops import LoopNode


class MinimalGatedUnit(nn.Cell):
    """One gate f, for what is forgotten and what is new (Zhou et al. 2016, arXiv:1603.09420)."""

    def __init__(self, inputs, size, rng, dtype=np.float64):
        self.state_size = size
        self.gate_x, self.new_x = (nn.Linear(inputs, size, rng=rng, dtype=dtype) for _ in "fn")
        self.gate_h, self.new_h = (nn.Linear(size, size, False, rng=rng, dtype=dtype) for _ in "fn")

    def forward(self, x, h):
        f = ag.sigmoid(self.gate_x(x) + self.gate_h(h)).named("gate")
        n = ag.tanh(self.new_x(x) + self.new_h(f * h))
        return h + f * (n - h)


def by_hand(cell, xs, h0):
    """Draw the loop that `nn.Recurrent(cell)` makes, and the cell in it."""
    with LoopNode("mgu") as loop:
        x, h = loop.each(xs, "x"), loop.branch("h", h0)
        f = ag.sigmoid(x @ cell.gate_x.weight.T + cell.gate_x.bias + h @ cell.gate_h.weight.T)
        n = ag.tanh(x @ cell.new_x.weight.T + cell.new_x.bias + (f * h) @ cell.new_h.weight.T)
        after = h + f * (n - h)
        loop.feed(h, after)
        return loop.collect(after, "ys")


def main(argv=None):
    """Draw the cell, check its gradient, train it to latch numbers, and watch its gate."""
    chosen = options("custom_cell", __doc__, argv)
    rng = np.random.default_rng(chosen.seed)
    cell, out = MinimalGatedUnit(2, 16, rng), nn.Linear(16, 1, rng=rng)
    layer = nn.Recurrent(cell)
    xs, ys = latch(rng, steps=5, size=3).values()
    graph = ag.trace(lambda xs: out(layer(xs)[0]), xs, name="latch")
    picture(graph, chosen.out / "graph.svg", "graph")
    print(f"relative error of its gradients: {ag.check_grad(graph, (xs,), order=1).error:.0e}")
    difference = by_hand(cell, xs, np.zeros((3, 16))).value - layer(xs)[0].value
    print(f"the loop drawn by hand: differs by {abs(difference).max()}")
    optimizer = nn.Adam([*layer.parameters(), *out.parameters()], lr=0.01)
    step = nn.TrainingStep(lambda xs, ys: nn.squared_error(out(layer(xs)[0]), ys), optimizer)
    learn(step, lambda: latch(rng), 500 if chosen.quick else 5000, "squared error")
    xs, ys = latch(rng, steps=60, size=1).values()
    hidden, _, seen = layer(xs, watch="gate")
    show_gate(chosen.out / "gate.svg", xs, ys, out(hidden).value, seen["gate"].value)


if __name__ == "__main__":
    main()
