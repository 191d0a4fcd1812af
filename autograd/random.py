"""Keyed random numbers: `key`, `split`, `fold_in`, `uniform`, `normal`, `bernoulli`.

>>> k = autograd.random.key(0)
>>> mask = autograd.random.bernoulli(autograd.random.fold_in(k, step), 0.5, (32, 128))
"""

from autograd.ops.random import bernoulli, fold_in, key, normal, split, uniform

__all__ = ["bernoulli", "fold_in", "key", "normal", "split", "uniform"]
