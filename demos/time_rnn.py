"""The TimeRNN of "Deep Learning from Scratch 2" as options of `nn.RNN`: `python -m demos.time_rnn`.

    h_t = tanh(h_{t-1} Wh + x_t Wx + b),   xs (N, T, D) -> hs (N, T, H)

`batch_first` and `stateful` make a TimeRNN of the layer, with the same `set_state` and
`reset_state`, and `state_grad` for its `dh`. Its reference block is computed in float64, in which
gradients can be checked. Then a sequence in two blocks: what truncated backpropagation through time
leaves out, and how `state_grad` brings it back.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.errors import LoopGradError
from autograd.spec import Array
from demos.showing import picture

N, T, D, H = 2, 3, 2, 3
"""Rows of the batch, steps of a block, features, units."""


@dataclass(frozen=True)
class Block:
    """What the reference numbers are for: xs (N, T, D), Wx (D, H), Wh (H, H), b (H,)."""

    xs: Array
    wx: Array
    wh: Array
    b: Array


def reference_block() -> Block:
    """Return the arrays, which are filled by formulas."""
    n, t, d = np.indices((N, T, D))
    i, j = np.indices((H, H))
    xs = ((n * T + t) * D + d) % 7 * 0.1 - 0.3
    wx, wh = (3 * i[:D] + j[:D] + 1) * 0.1, ((3 * i + j) % 5 - 2) * 0.1
    return Block(xs, wx, wh, np.array([0.01, -0.02, 0.03]))


def time_rnn(block: Block, stateful: bool = True) -> nn.RNN:
    """Return a layer with the weights of the block: ours are (units, inputs), with two biases."""
    rnn = nn.RNN(D, H, batch_first=True, stateful=stateful, rng=0)
    weights = {"weight_ih_l0": block.wx.T, "weight_hh_l0": block.wh.T, "bias_ih_l0": block.b}
    rnn.load_state_dict({**weights, "bias_hh_l0": np.zeros(H)})
    return rnn


def gradients(rnn: nn.RNN) -> dict[str, Array]:
    """Return the gradients of the parameters, in the layout of the book."""
    names = {"dWx": "weight_ih_l0", "dWh": "weight_hh_l0", "db": "bias_ih_l0"}
    return {book: getattr(rnn, name).grad.value.T for book, name in names.items()}


def one_block(block: Block) -> dict[str, Array]:
    """Return states and gradients of one stateful block for dhs = ones, by the book's names."""
    rnn = time_rnn(block)
    xs = ag.tensor(block.xs, requires_grad=True)
    hs, _ = rnn(xs)
    hs.sum().backward()
    return {
        "hs": hs.value,
        "dxs": xs.grad.value,
        **gradients(rnn),
        "dh": rnn.state_grad.value[0],
    }


def going_on(block: Block) -> dict[str, Array]:
    """Return what a second call and one from another state begin and end with."""
    rnn = time_rnn(block)
    rnn(block.xs)
    second, _ = rnn(block.xs)
    rnn.set_state(np.full((1, N, H), 0.5))
    from_half, _ = rnn(block.xs)
    return {
        "second call, hs[:, -1]": second.value[:, -1],
        "set_state(0.5), hs[:, 0]": from_half.value[:, 0],
    }


def stateless(block: Block) -> tuple[bool, bool]:
    """Return whether two calls of a layer that is not stateful agree, also after `set_state`."""
    rnn = time_rnn(block, stateful=False)
    first, again = rnn(block.xs)[0], rnn(block.xs)[0]
    rnn.set_state(np.full((1, N, H), 0.5))
    after = rnn(block.xs)[0]
    return np.array_equal(first.value, again.value), np.array_equal(first.value, after.value)


def another_batch(block: Block) -> str:
    """Return what a stateful layer says to a batch of another size; after a reset it takes it."""
    rnn = time_rnn(block)
    rnn(block.xs)
    try:
        rnn(block.xs[:1])
    except LoopGradError as error:
        said = error.args[0]
    rnn.reset_state()
    rnn(block.xs[:1])
    return said


@dataclass(frozen=True)
class TwoBlocks:
    """Last states and gradients of a sequence of 2 T steps, run in three ways."""

    last_states: dict[str, Array]
    gradients: dict[str, dict[str, Array]]

    def gaps(self, way: str) -> dict[str, float]:
        """Return how far the gradients of one way are from those of the whole sequence."""
        whole = self.gradients["whole"]
        return {name: np.abs(g - whole[name]).max() for name, g in self.gradients[way].items()}


def two_blocks(block: Block) -> TwoBlocks:
    """Run `xs` and then `xs` with its rows in reverse: as one sequence, and as two blocks.

    "truncated" stops at the start of the second block. "recovered" hands the gradient of that
    start, `state_grad`, to the end of the first block, where it belongs.
    """
    first, second = block.xs, block.xs[::-1]
    found: dict[str, dict[str, Array]] = {}
    last: dict[str, Array] = {}
    rnn = time_rnn(block)
    hs, h = rnn(np.concatenate([first, second], axis=1))
    hs.sum().backward()
    found["whole"], last["whole"] = gradients(rnn), h.value
    for way in ("truncated", "recovered"):
        rnn = time_rnn(block)
        hs, end = rnn(first)
        loss = hs.sum()
        hs, h = rnn(second)
        hs.sum().backward()
        if way == "recovered":
            loss = loss + (end * rnn.state_grad).sum()
        loss.backward()
        found[way], last[way] = gradients(rnn), h.value
    return TwoBlocks(last, found)


def draw(block: Block) -> ag.Graph:
    """Return the virtual graph of a block: in a graph the state is an input and an output."""
    rnn = time_rnn(block, stateful=False)

    def layer(xs: ag.Node, h: ag.Node) -> dict[str, ag.Node]:
        hs, after = rnn(xs, h)
        return {"hs": hs, "h_after": after}

    return ag.trace(layer, block.xs.shape, (1, N, H), name="time_rnn")


def show(values: Mapping[str, Array]) -> None:
    """Print arrays to ten decimals."""
    for name, value in values.items():
        text = np.array2string(value, precision=10, suppress_small=True, floatmode="fixed")
        print(f"{name} =", *text.split("\n"), sep="\n    ")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the reference block, what is carried, and what truncation leaves out."""
    parser = argparse.ArgumentParser(prog="demos.time_rnn", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/time_rnn"), help="folder")
    parser.add_argument("--quick", action="store_true", help="the same: it takes no time")
    options = parser.parse_args(argv)
    block = reference_block()
    show(one_block(block))
    show(going_on(block))
    again, after = stateless(block)
    print(f"not stateful: two calls agree: {again}, and set_state changes nothing: {after}")
    print(f"a batch of another size, before reset_state():\n    {another_batch(block)}")
    both = two_blocks(block)
    same = np.array_equal(both.last_states["whole"], both.last_states["truncated"])
    print(f"{2 * T} steps as two blocks of {T}: the same last state as in one: {same}")
    for way in ("truncated", "recovered"):
        gaps = ", ".join(f"{name} {gap:.3g}" for name, gap in both.gaps(way).items())
        print(f"    largest difference to the whole gradient, {way}: {gaps}")
    graph = draw(block)
    picture(graph, options.out / "virtual.svg", "virtual graph")
    picture(graph.unroll(), options.out / "unrolled.svg", f"computation graph of {T} steps")


if __name__ == "__main__":
    main()
