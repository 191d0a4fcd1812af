"""Layers, losses and optimizers: trees of named parameters and graphs drawn from them."""

from loops._installation import refuse_foreign_autograd

refuse_foreign_autograd()

import sys
from typing import NoReturn

from autograd.elsewhere import no_attribute
from nn import flat as flat
from nn import init as init
from nn.attention import AdditiveAttention, MultiHeadAttention, attention
from nn.cells import Cell, GRUCell, LSTMCell, RNNCell
from nn.checkpoint import Checkpoints, load, save
from nn.classification import cross_entropy, kl_divergence, nll
from nn.ctc import ctc
from nn.data import Batches, train_test_split
from nn.dropout import Dropout
from nn.elsewhere import NAMES
from nn.embedding import Embedding
from nn.evaluate import evaluate
from nn.fit import fit
from nn.history import History
from nn.linear import Linear
from nn.losses import (
    absolute_error,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    half_squared_error,
    huber,
    squared_error,
)
from nn.module import Module
from nn.norm import LayerNorm, RMSNorm
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
from nn.recurrent import Recurrent
from nn.rnn import GRU, LSTM, RNN
from nn.sequences import RaggedBatches, TokenBlocks, windows
from nn.sequential import Sequential
from nn.train import TrainingStep


def __getattr__(name: str) -> NoReturn:
    raise no_attribute(sys.modules[__name__], "module 'nn'", name, NAMES)


__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AdditiveAttention",
    "ArticleAdadelta",
    "Average",
    "Batches",
    "Cell",
    "Checkpoints",
    "Dropout",
    "Embedding",
    "GRUCell",
    "History",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "Lion",
    "Module",
    "MultiHeadAttention",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSNorm",
    "RMSprop",
    "RNNCell",
    "RaggedBatches",
    "Recurrent",
    "Sequential",
    "TokenBlocks",
    "TrainingStep",
    "absolute_error",
    "attention",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "clip_by_norm",
    "clip_by_value",
    "cross_entropy",
    "ctc",
    "evaluate",
    "fit",
    "flat",
    "half_squared_error",
    "huber",
    "init",
    "kl_divergence",
    "load",
    "nll",
    "randomness",
    "save",
    "schedules",
    "squared_error",
    "train_test_split",
    "windows",
]
