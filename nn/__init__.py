"""Layers, losses and optimizers: trees of named parameters and graphs drawn from them."""

from loops._installation import refuse_foreign_autograd

refuse_foreign_autograd()

from nn import init as init
from nn.linear import Linear
from nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    half_squared_error,
    squared_error,
)
from nn.module import Module
from nn.optim import SGD, Adam, Optimizer
from nn.randomness import randomness
from nn.recurrent import RNN, RNNCell
from nn.train import TrainingStep

__all__ = [
    "RNN",
    "SGD",
    "Adam",
    "Linear",
    "Module",
    "Optimizer",
    "RNNCell",
    "TrainingStep",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "half_squared_error",
    "init",
    "randomness",
    "squared_error",
]
