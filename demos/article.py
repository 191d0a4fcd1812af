"""The C++ article's adder: its graph node for node, its numbers, its optimizer.

"Using an automatic differentiation framework to build an RNN" (2018). The names of the nodes are
the article's; it calls the three weights u, v and w, its program w1, w2 and wh.
"""

from collections.abc import Mapping

import numpy as np

import autograd as ag
from autograd.spec import Array
from demos.adder_data import BITS, LARGEST, number
from demos.recipes import Recipe
from loops import LoopNode

BASE = 2.718
DEAD_ZONE = 0.1
PAIRS = 10000


@ag.custom_vjp
def sigmoid_2718(x: Array) -> Array:
    """1 / (1 + 2.718^-x); the program has 2.718 for e."""
    return 1.0 / (1.0 + BASE**-x)


@sigmoid_2718.defvjp
def _sigmoid_rule(g, y, x):  # type: ignore[no-untyped-def]
    return g * y * (1.0 - y)


@ag.custom_vjp
def abs_sum(error: Array) -> Array:
    """The sum of absolute values, whose gradient is 0 where they are below 0.1."""
    return np.abs(error).sum()


@abs_sum.defvjp
def _abs_sum_rule(g, y, error):  # type: ignore[no-untyped-def]
    return g * ag.where(ag.abs(error) < DEAD_ZONE, 0.0, ag.sign(error))


class GlibcRandom:
    """`rand()` of the GNU C library, which the program's numbers come from (`srand(seed)`)."""

    def __init__(self, seed: int = 1) -> None:
        ring = [seed or 1]
        for _ in range(30):
            ring.append(16807 * ring[-1] % 2147483647)
        self.ring = ring[3:] + ring[:3]
        self.at = 0
        for _ in range(310):  # thrown away
            self.rand()

    def rand(self) -> int:
        """Return the next number: r[i] = r[i - 31] + r[i - 3] modulo 2^32, halved."""
        total = (self.ring[self.at] + self.ring[self.at - 3]) % 2**32
        self.ring[self.at] = total
        self.at = (self.at + 1) % 31
        return total >> 1

    def weights(self, rows: int, columns: int) -> Array:
        """Return a matrix on the program's grid of thousandths from -0.5 to 0.499."""
        values = [self.rand() % 1000 / 1000 - 0.5 for _ in range(rows * columns)]
        return np.array(values).reshape(rows, columns)


class Adadelta:
    """The program's "Adadelta(0.2)", which is an RMSProp variant, for all uses of a parameter.

    Each step's use of a parameter has a gradient and an accumulator of its own (leading axis), and
    all update the one parameter. The first time the gradient is used as it is.
    """

    def __init__(self, rate: float = 0.2) -> None:
        self.rate = rate

    def update(self, parameter: Array, uses: Array, acc: Array | None) -> tuple[Array, Array]:
        """Return the new parameter and the new accumulators, for gradients (8, *shape)."""
        if acc is None:
            return parameter - self.rate * uses.sum(axis=0), uses * uses
        moves = self.rate * uses / (acc**0.5 + 0.5)
        return parameter - moves.sum(axis=0), 0.7 * acc + 0.3 * uses * uses


class Article(Recipe):
    """One step: h = sigmoid(x w1 + [the step before: h wh] + b1), o = sigmoid(h w2 + b2)."""

    summary = "the C++ article: 8 hidden units, biases, absolute error, its 'Adadelta(0.2)'"
    steps = 20000
    quick_steps = 3001
    hidden = 8
    first_seed = 1

    def __init__(self, seed: int) -> None:
        random = GlibcRandom(seed)
        drawn = [random.rand() % LARGEST for _ in range(2 * PAIRS)]
        self.samples = np.array(drawn).reshape(PAIRS, 2)
        h = self.hidden
        shapes = {"w1": (2, h), "w2": (h, 1), "wh": (h, h), "b1": (1, h), "b2": (1, 1)}
        self.parameters = {
            name: ag.parameter(name, random.weights(*shape)) for name, shape in shapes.items()
        }
        self.graph = self.draw(dict(self.parameters), shared=True)
        self.training = self.differentiated_by_use()
        self.adadelta = Adadelta()
        self.acc: dict[str, Array | None] = dict.fromkeys(self.parameters)

    def draw(self, weights: Mapping[str, ag.Node], shared: bool) -> ag.Graph:
        """Draw the article's virtual graph; weights that are not shared have one slice a step."""
        xs, ys, h0 = self.inputs()
        with LoopNode("rnn") as rnn:
            own = {name: w if shared else rnn.each(w, name) for name, w in weights.items()}
            x, y = rnn.each(xs, "x"), rnn.each(ys, "y")
            branch = rnn.branch("Branch:1", h0)
            mult_1 = (x @ own["w1"]).named("Mult:1")
            add_1 = (mult_1 + branch).named("Add:1")
            bias_1 = (add_1 + own["b1"]).named("Bias:1")
            sigmoid_1 = sigmoid_2718(bias_1).named("Sigmoid:1")
            mult_h = (sigmoid_1 @ own["wh"]).named("Mult:h")
            mult_2 = (sigmoid_1 @ own["w2"]).named("Mult:2")
            bias_2 = (mult_2 + own["b2"]).named("Bias:2")
            sigmoid_2 = sigmoid_2718(bias_2).named("Sigmoid:2")
            minus_1 = (sigmoid_2 - y).named("Minus:1")
            rnn.feed(branch, mult_h)
            bits = rnn.collect(sigmoid_2, "bits")
            losses = rnn.collect(abs_sum(minus_1).named("AbsSum:1"), "losses")
        outputs = {"bits": bits, "loss": losses.sum(), "losses": losses}
        outputs["last_product"] = rnn.final(branch)
        return ag.Graph([xs, ys, h0], outputs, name="article")

    def differentiated_by_use(self) -> ag.Graph:
        """Return the graph of bits, loss and one gradient for each step's use of a parameter.

        The program keeps one accumulator for each use, so the uses must be told apart: every step
        is given a copy of its own of the parameter, and all copies are the parameter.
        """
        copies = {name: ag.broadcast_to(p, (BITS, *p.shape)) for name, p in self.parameters.items()}
        drawn = self.draw(copies, shared=False)
        loss = drawn.outputs["loss"]
        gradients = ag.grad(loss, copies)
        outputs = {"bits": drawn.outputs["bits"], "loss": loss}
        outputs |= {f"grad_{name}": g for name, g in gradients.items()}
        return ag.Graph(drawn.inputs, outputs, name="article")

    def pairs(self, step: int) -> tuple[Array, Array]:
        # the program uses up the first pair while it builds its graph
        sample = self.samples[(step + 1) % PAIRS]
        return sample[:1], sample[1:]

    def train(self, xs: Array, ys: Array) -> Mapping[str, Array]:
        results = self.training.run(xs=xs, ys=ys, h0=self.no_state(1))
        for name, parameter in self.parameters.items():
            new, self.acc[name] = self.adadelta.update(
                parameter.value, results[f"grad_{name}"], self.acc[name]
            )
            parameter.value = new
        return results

    def report(self, a: int, b: int, bits: Array, loss: float) -> str:
        return f"{a}+{b} guess = :{number(bits >= 0.5)}"
