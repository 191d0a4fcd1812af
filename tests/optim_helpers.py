"""What the tests of optimizers share: PyTorch's numbers, and a loss whose gradients are given."""

import json
from pathlib import Path

import numpy as np

import autograd as ag

TORCH = json.loads((Path(__file__).parent / "fixtures" / "torch_optim.json").read_text())
GRADIENTS = [[np.array(g) for g in gradients] for gradients in TORCH["gradients"]]


def parameters(dtype="float64"):
    return [
        ag.parameter(f"p{i}", np.array(value, dtype)) for i, value in enumerate(TORCH["initial"])
    ]


def given_gradients(ps):
    """A loss whose gradients are the batch."""

    def loss(g0, g1, g2):
        products = [(p * g).sum() for p, g in zip(ps, (g0, g1, g2), strict=True)]
        return products[0] + products[1] + products[2]

    return loss


def stacked():
    columns = zip(*GRADIENTS, strict=True)
    return {f"g{i}": np.array(column) for i, column in enumerate(columns)}


def batch(i, dtype="float64"):
    return {f"g{k}": np.asarray(g, dtype) for k, g in enumerate(GRADIENTS[i])}


def assert_alike(one, other):
    for p, q in zip(one.parameters, other.parameters, strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    assert one.steps == other.steps
    for state, twin in zip(one.state, other.state, strict=True):
        assert len(state) == len(twin)
        for x, y in zip(state, twin, strict=True):
            np.testing.assert_array_equal(x, y)
