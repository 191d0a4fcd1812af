"""Optimizers: update rules in ops, for training steps drawn as graphs and for the eager habit."""

from nn.optim import schedules as schedules
from nn.optim.adadelta import Adadelta, ArticleAdadelta
from nn.optim.adagrad import Adagrad
from nn.optim.adam import Adam, AdamW
from nn.optim.adam_variants import Adamax, NAdam, RAdam
from nn.optim.average import Average
from nn.optim.clip import clip_by_norm, clip_by_value
from nn.optim.groups import Group
from nn.optim.lion import Lion
from nn.optim.optimizer import Number, Optimizer, State
from nn.optim.rmsprop import RMSprop
from nn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ArticleAdadelta",
    "Average",
    "Group",
    "Lion",
    "NAdam",
    "Number",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "State",
    "clip_by_norm",
    "clip_by_value",
    "schedules",
]
