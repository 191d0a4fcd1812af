"""The walk through torch's `nn.RNN` and `nn.RNNCell`, by our layers: `python -m demos.torch_walk`.

Names, shapes and numbers of parameters as the document prints them, what the layers compute, and
which of the document's comments say it wrongly. Sequences are (steps, batch, features).
"""

import argparse
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.showing import picture

STEPS, BATCH, FEATURES = 10, 3, 100
UNITS = 20
CORRECTIONS = (
    (
        "x: the input features of the current moment",
        "x holds the features of all moments; RNNCell is given those of one",
    ),
    (
        "h0: the state of the last moment",
        "h0 is the state before the first moment; left out, it is zeros",
    ),
    (
        "out: the output of the last moment",
        "out holds the states of the top layer at all moments, (steps, batch, units)",
    ),
    (
        "h: the state at all moments",
        "h is the state of all layers after the last moment, (layers, batch, units)",
    ),
    (
        "seq_len: the number of features",
        "seq_len is the number of words, or moments; feature_len is that of features",
    ),
    (
        "RNNCell: enter each sentence by hand",
        "each moment is entered by hand, for all sentences of the batch at once",
    ),
    (
        "[batch, seq_len, feature_len]",
        "from section 4 on it is [seq_len, batch, feature_len]; batch_first=True is the other",
    ),
)
"""What the document says, and what is so."""


def size(x: ag.Node) -> str:
    """Return a shape as torch prints it."""
    return f"torch.Size({list(x.shape)})"


def count(*modules: nn.Module) -> str:
    """Return how many numbers the parameters of each module have: "2440 + 555"."""
    return " + ".join(str(sum(p.size for p in module.parameters())) for module in modules)


def names_and_shapes(rnn: nn.RNN) -> None:
    """Print what parameters there are, and the walk of the shapes through one step."""
    print(OrderedDict(rnn.named_parameters()).keys())
    for name, parameter in rnn.named_parameters():
        print(f"    {name}: {size(parameter)}")
    x, h = f"[{BATCH}, {FEATURES}]", f"[{BATCH}, {UNITS}]"
    w_ih, w_hh = f"[{UNITS}, {FEATURES}]", f"[{UNITS}, {UNITS}]"
    print(f"one step: {x} @ {w_ih}^T + {h} @ {w_hh}^T = {h}")
    print(f"{count(rnn)} parameters, however many words: the same ones serve at every step;")
    linear = nn.Linear(FEATURES, 2, rng=0)
    five = " + ".join([count(linear)] * 5)
    print(f"a linear layer of its own for each of 5 words, {FEATURES} -> 2, would have {five}")


def layers(xs: Array, num_layers: int) -> None:
    """Print the shapes that a layer of `num_layers` returns (sections 5.1 and 5.2)."""
    rnn = nn.RNN(FEATURES, UNITS, num_layers, rng=0)
    out, h = rnn(xs, np.zeros((num_layers, BATCH, UNITS)))
    print("out:", size(out), "h:", size(h))
    same = [bool(np.array_equal(h.value[k], out.value[-1])) for k in range(num_layers)]
    print(f"    {count(rnn)} parameters; h[k] equals out[-1] for k = 0, ...: {same}")


def one_cell(xs: Array) -> ag.Node:
    """Step one cell through the sequence by hand (section 5.3); return the last state."""
    cell = nn.RNNCell(FEATURES, UNITS, rng=0)
    h0 = ag.zeros((BATCH, UNITS))
    for x in xs:
        h0 = cell(x, h0)
    print("h0:", size(h0))
    print(f"    {count(cell)} parameters: {', '.join(dict(cell.named_parameters()))}")
    return h0


def two_cells(xs: Array) -> ag.Node:
    """Step two cells, the second on what the first puts out (section 5.4)."""
    below, above = nn.RNNCell(FEATURES, UNITS, rng=0), nn.RNNCell(UNITS, 15, rng=1)
    h0, h1 = ag.zeros((BATCH, UNITS)), ag.zeros((BATCH, 15))
    for x in xs:
        h0 = below(x, h0)
        h1 = above(h0, h1)
    print("h1:", size(h1))
    print(f"    {count(below, above)} parameters")
    _, (_, last) = nn.Recurrent([below, above])(xs)
    print(f"    nn.Recurrent([below, above]) ends there too: {close(last, h1)}")
    return h1


def stepped(rnn: nn.RNN, xs: Array) -> ag.Node:
    """Return what a layer of one layer puts out, from a cell with its weights stepped by hand."""
    cell = nn.RNNCell(rnn.input_size, rnn.hidden_size, rng=0)
    values = {name.removesuffix("_l0"): x for name, x in rnn.state_dict().items()}
    cell.load_state_dict(values)
    h = ag.zeros((xs.shape[1], rnn.hidden_size))
    hs = []
    for x in xs:
        h = cell(x, h)
        hs.append(h)
    return ag.stack(hs)


def through_time(rnn: nn.RNN, xs: Array) -> tuple[Array, Array]:
    """Return dh_T / dh_0 of one sequence by autograd, and by the chain rule of section 3.

    With h_k = tanh(...) every factor dh_k / dh_{k-1} is diag(1 - h_k^2) W_hh.
    """
    one = xs[:, :1]

    def last(h0: ag.Node) -> ag.Node:
        return rnn(one, h0[None, None, :])[1][0, 0]

    found = ag.jacobian(last)(np.zeros(rnn.hidden_size)).value
    product = np.eye(rnn.hidden_size)
    for h in rnn(one)[0].value[:, 0]:
        product = (1.0 - h**2)[:, None] * rnn.weight_hh_l0.value @ product
    return found, product


def fading(rnn: nn.RNN, xs: Array) -> str:
    """Return the norms of dh_1/dh_0 and dh_10/dh_0: what a gradient keeps over the steps."""
    norms = [np.linalg.norm(through_time(rnn, xs[:n])[1], 2) for n in (1, STEPS)]
    return ", ".join(f"{norm:.3g}" for norm in norms)


def close(a: ag.Node, b: ag.Node) -> bool:
    """Return whether two values are equal, but for rounding."""
    return bool(np.allclose(a.value, b.value, rtol=1e-12, atol=1e-14))


def draw(rnn: nn.RNN, steps: int = 3) -> ag.Graph:
    """Return the virtual graph of the layer for `steps` steps and the document's batch."""

    def layer(x: ag.Node, h0: ag.Node) -> dict[str, ag.Node]:
        out, h = rnn(x, h0)
        return {"out": out, "h": h}

    return ag.trace(layer, (steps, BATCH, rnn.input_size), (1, BATCH, rnn.hidden_size), name="rnn")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the walk and the corrections; draw the layer rolled and unrolled."""
    parser = argparse.ArgumentParser(prog="demos.torch_walk", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/torch_walk"), help="folder")
    parser.add_argument("--quick", action="store_true", help="the same: it takes no time")
    options = parser.parse_args(argv)
    xs = np.random.default_rng(0).normal(size=(STEPS, BATCH, FEATURES))
    rnn = nn.RNN(FEATURES, UNITS, num_layers=1, rng=0)
    names_and_shapes(rnn)
    layers(xs, 1)
    layers(xs, 4)
    one_cell(xs)
    two_cells(xs)
    print(f"nn.RNN is its cell, stepped: {close(rnn(xs)[0], stepped(rnn, xs))}")
    found, product = through_time(rnn, xs)
    print(f"dh_10/dh_0 is the product of diag(1 - h_k^2) W_hh: {np.allclose(found, product)}")
    print(f"    its norm, after one step and after ten: {fading(rnn, xs)}")
    print("the document's comments, and what is so:")
    for said, so in CORRECTIONS:
        print(f"    '{said}'\n        {so}")
    graph = draw(rnn)
    print(graph)
    picture(graph, options.out / "virtual.svg", "virtual graph")
    picture(graph.unroll(), options.out / "unrolled.svg", "computation graph of 3 steps")


if __name__ == "__main__":
    main()
