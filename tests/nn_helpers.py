"""What the tests of nn share."""

import numpy as np

import autograd as ag
import nn
from autograd.node import Node

RNG = np.random.default_rng


def tracked(array: np.ndarray) -> Node:
    """A leaf whose gradient `backward()` accumulates."""
    return ag.tensor(array, requires_grad=True)


def gradients(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.grad.value for name, p in module.named_parameters()}


def ancestors(node: Node) -> set[Node]:
    """The node and everything it was computed from."""
    seen, stack = {node}, [node]
    while stack:
        for x in stack.pop().inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return seen
