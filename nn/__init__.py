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
from nn.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    ArticleAdadelta,
    Average,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    clip_by_norm,
    clip_by_value,
)
from nn.optim import schedules as schedules
from nn.randomness import randomness
from nn.recurrent import RNN, RNNCell
from nn.train import TrainingStep

__all__ = [
    "RNN",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ArticleAdadelta",
    "Average",
    "Linear",
    "Lion",
    "Module",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "RNNCell",
    "TrainingStep",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "clip_by_norm",
    "clip_by_value",
    "half_squared_error",
    "init",
    "randomness",
    "schedules",
    "squared_error",
]
