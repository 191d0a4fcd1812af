"""Embedding: a row of a table for each index."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, ShapeError
from autograd.node import Node
from nn.init import Rng, normal
from nn.linear import checked_size
from nn.module import Module


class Embedding(Module):
    """`weight[indices]`: integers of any shape (...) -> vectors (..., embedding_dim).

    `weight` is (num_embeddings, embedding_dim) and starts as N(0, 1); torch's `nn.Embedding`. The
    row `padding_index` starts as zeros and gets no gradient.

    An index that is not from 0 to num_embeddings - 1 is a ShapeError. In a graph indices are known
    only when it runs: there one that is too large or below -num_embeddings is an error as well, but
    other negative ones count from the end, as everywhere in NumPy (and none of them is padding).

    To share the table with an output layer, let both hold the parameter: after
    `out = nn.Linear(embedding_dim, num_embeddings)` write `out.weight = table.weight`. Its gradient
    is the sum of both uses.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_index: int | None = None,
        *,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        num_embeddings = checked_size("num_embeddings", num_embeddings)
        embedding_dim = checked_size("embedding_dim", embedding_dim)
        table = normal((num_embeddings, embedding_dim), rng=rng, dtype=dtype)
        if padding_index is not None:
            whole = type(padding_index) is int or isinstance(padding_index, np.integer)
            if not whole or not -num_embeddings <= padding_index < num_embeddings:
                raise ShapeError(
                    f"padding_index is {padding_index!r:.60}, but an Embedding of {num_embeddings} "
                    f"rows has no such row; they are numbered from 0 to {num_embeddings - 1}"
                )
            padding_index %= num_embeddings
            table[padding_index] = 0.0
        self.padding_index = padding_index
        self.weight = ag.parameter("weight", table)

    def forward(self, indices: Any) -> Node:
        """Return the rows (..., embedding_dim) for integer `indices` (...)."""
        indices = self._checked(ag.tensor(indices))
        rows: Node = ag.take(self.weight, indices, axis=0)
        if self.padding_index is None:
            return rows
        padding = ag.expand_dims(indices == self.padding_index, -1)
        learned: Node = ag.where(padding, ag.stop_gradient(rows), rows)
        return learned

    def _checked(self, indices: Node) -> Node:
        """Return `indices` if they are integers and, where they are known, those of rows."""
        name, count = self.weight.name, self.weight.shape[0]
        if indices.dtype.kind not in "iu":
            raise DTypeError(
                f"the Embedding of '{name}' takes integers, but got {describe(indices)}; convert "
                "indices with .astype('int64')"
            )
        if indices.virtual:
            return indices
        wrong = np.argwhere((indices.value < 0) | (indices.value >= count))
        if wrong.size:
            place = tuple(wrong[0].tolist())
            raise ShapeError(
                f"the Embedding of '{name}' has {count} rows, numbered from 0, but the index at "
                f"{place} of {describe(indices)} is {indices.value[place]}; correct the indices, "
                "or make num_embeddings larger"
            )
        return indices
