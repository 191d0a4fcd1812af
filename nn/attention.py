"""Attention: for each query a weighted mean of values, whose weights depend on the keys.

Sequences are time first, as everywhere in LoopGrad: query (Tq, B, D), keys (Tk, B, D), values
(Tk, B, Dv). A query without the first axis, (B, D), is that of one step: so a decoder attends in
the body of its loop. Further axes between the first and the last, such as heads (T, B, heads, D),
count as B does. Weights and scores have the steps last: (B, Tq, Tk), or (B, Tk) for one step.

What limits the keys a query sees is the same everywhere, and may be combined:

- `lengths` (B,): row b has `lengths[b]` keys. What lies beyond, NaN included, reaches no value and
  no gradient. A mask (Tk, B), True where a key is valid, may stand in its place.
- `mask`: bools that broadcast against the scores, (Tq, Tk) say, True where a query may see a key.
- `causal`: query t sees keys 0 to t.

A query that sees no key gets zeros, and sends back none but zero gradients (PyTorch's modules
return NaN there).
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from loops.ragged import fill_padding, valid_mask
from nn.dropout import Dropout, broadcasts
from nn.init import Rng, generator, xavier_uniform, zeros
from nn.linear import Linear, checked_features, checked_size
from nn.module import Module


def attention(
    query: Any,
    keys: Any,
    values: Any = None,
    *,
    lengths: Any = None,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
) -> Node:
    """Return softmax(query keys^T scale) values, of shape (Tq, B, Dv), or (B, Dv) for one step.

    Scaled dot-product attention (Vaswani et al., "Attention Is All You Need", 2017); `scale` is
    1/sqrt(D) unless given, `values` are the keys unless given.
    """
    query, keys, values = _checked(query, keys, values)
    if query.shape[-1] != keys.shape[-1]:
        raise ShapeError(
            f"attention multiplies queries by keys, so both have the same number of features, but "
            f"are {describe(query)} and {describe(keys)}; project one of them with nn.Linear"
        )
    keys, values, valid = _filled(keys, values, lengths)
    seen = _seen(query, keys, valid, mask, causal)
    weights = _weights(_products(query, keys, scale), seen)
    return _means(weights, values, query)


def _checked(query: Any, keys: Any, values: Any) -> tuple[Node, Node, Node]:
    """Return all three as nodes whose shapes fit together."""
    query, keys = ag.tensor(query), ag.tensor(keys)
    values = keys if values is None else ag.tensor(values)
    if keys.ndim < 2 or query.ndim not in (keys.ndim, keys.ndim - 1):
        raise ShapeError(
            "attention takes keys (Tk, ..., D) and a query (Tq, ..., D), or (..., D) for one "
            f"step, but got keys {describe(keys)} and query {describe(query)}"
        )
    between = keys.shape[1:-1]
    if query.shape[query.ndim - keys.ndim + 1 : -1] != between or (
        values.shape[:-1] != keys.shape[:-1]
    ):
        raise ShapeError(
            "attention needs keys and values of the same steps, and the same rows in all, but got "
            f"query {describe(query)}, keys {describe(keys)} and values {describe(values)}; "
            "sequences are (steps, rows, features)"
        )
    if query.dtype.kind != "f" or {keys.dtype, values.dtype} != {query.dtype}:
        raise DTypeError(
            f"attention needs query, keys and values of one float dtype, but got "
            f"{describe(query)}, {describe(keys)} and {describe(values)}; convert with .astype"
        )
    return query, keys, values


def _filled(keys: Node, values: Node, lengths: Any) -> tuple[Node, Node, Node | None]:
    """Return keys and values with zeros in the padding, and where they are valid (Tk, B)."""
    if lengths is None:
        return keys, values, None
    if keys.ndim < 3:
        raise ShapeError(
            f"lengths are those of rows, but the keys {describe(keys)} have no rows; keys are "
            "(steps, rows, features)"
        )
    valid = valid_mask(keys, lengths)
    filled = fill_padding(keys, valid)
    return filled, filled if values is keys else fill_padding(values, valid), valid


def _products(query: Node, keys: Node, scale: float | None = None) -> Node:
    """Return the scores (..., Tq, Tk), those of one step with Tq = 1."""
    scale = 1.0 / sqrt(max(query.shape[-1], 1)) if scale is None else scale
    scores: Node = (_steps_last(query, keys) * scale) @ ag.matrix_transpose(_steps_last(keys, keys))
    return scores.named("scores")


def _steps_last(x: Node, keys: Node) -> Node:
    """Return `x` (T, ..., D) as (..., T, D); one step as (..., 1, D)."""
    moved: Node = ag.moveaxis(x, 0, -2) if x.ndim == keys.ndim else ag.expand_dims(x, -2)
    return moved


def _seen(query: Node, keys: Node, valid: Node | None, mask: Any, causal: bool) -> Node | None:
    """Return where a query sees a key, ready to broadcast against the scores; None: everywhere."""
    parts = []
    if valid is not None:
        parts.append(valid.T[(slice(None), *(None,) * (keys.ndim - 2))])
    if mask is not None:
        parts.append(_checked_mask(mask, query, keys))
    if causal:
        if query.ndim < keys.ndim:
            raise LoopGradError(
                "causal attention compares the steps of queries and keys, but the query is that "
                f"of one step: {describe(query)}; give lengths or a mask instead"
            )
        parts.append(ag.positions(query)[:, None] >= ag.positions(keys))
    seen = None
    for part in parts:
        seen = part if seen is None else ag.logical_and(seen, part)
    return seen


def _checked_mask(mask: Any, query: Node, keys: Node) -> Node:
    """Return `mask` as a node that broadcasts against the scores (..., Tq, Tk)."""
    node: Node = ag.tensor(mask)
    several = query.ndim == keys.ndim
    shape = (*keys.shape[1:-1], *query.shape[:several], keys.shape[0])
    if node.dtype.kind != "b":
        raise DTypeError(
            f"a mask of attention is of bools, True where a query sees a key, but is "
            f"{describe(node)}; write mask > 0, or mask == 0 if it says what is left out"
        )
    if not broadcasts(node.shape, shape):
        raise ShapeError(
            f"a mask of attention must broadcast against the scores {shape}, which have the "
            f"steps {'of queries and ' if several else ''}of keys last, but is {describe(node)}"
        )
    return node if several else ag.expand_dims(node, -2)


def _weights(scores: Node, seen: Node | None) -> Node:
    """Return the softmax over the keys that are seen, zeros where none is."""
    if seen is None:
        weights: Node = ag.softmax(scores)
    else:
        # finite, so that a row of which nothing is seen has a softmax; half, so that no
        # difference overflows
        hidden = np.asarray(np.finfo(scores.dtype).min / 2, scores.dtype)
        weights = ag.where(seen, ag.softmax(ag.where(seen, scores, hidden)), 0.0)
    return weights.named("weights")


def _means(weights: Node, values: Node, query: Node) -> Node:
    """Return weights (..., Tq, Tk) times values (Tk, ..., Dv), with the steps first again."""
    means = weights @ _steps_last(values, values)
    context: Node = (
        ag.moveaxis(means, -2, 0) if query.ndim == values.ndim else ag.squeeze(means, -2)
    )
    return context.named("context")


def _told(weights: Node, query: Node, keys: Node) -> Node:
    """Return weights as callers see them: those of one step without the axis of queries."""
    told: Node = weights if query.ndim == keys.ndim else ag.squeeze(weights, -2)
    return told


class AdditiveAttention(Module):
    """Scores `score(tanh(query(q) + key(k)))`, three Linear layers without bias.

    Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate", 2015. Returns (context, weights), for a query (B, query_size) or
    (Tq, B, query_size) and keys (Tk, B, key_size); `values` are the keys unless given.

    In a loop's body the keys come from outside, so what `key` makes of them is computed once:
    plans see to that (the pass `invariants`), as to everything the steps share.
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        hidden_size: int,
        *,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        rng = generator(rng)
        self.query = Linear(query_size, hidden_size, bias=False, rng=rng, dtype=dtype)
        self.key = Linear(key_size, hidden_size, bias=False, rng=rng, dtype=dtype)
        self.score = Linear(hidden_size, 1, bias=False, rng=rng, dtype=dtype)

    def forward(
        self, query: Any, keys: Any, values: Any = None, *, lengths: Any = None, mask: Any = None
    ) -> tuple[Node, Node]:
        """Return (context (Tq, B, Dv), weights (B, Tq, Tk)); for one step without Tq."""
        query, keys, values = _checked(query, keys, values)
        keys, values, valid = _filled(keys, values, lengths)
        seen = _seen(query, keys, valid, mask, causal=False)
        queries = _steps_last(self.query(query), keys)[..., :, None, :]
        together = queries + _steps_last(self.key(keys), keys)[..., None, :, :]
        scores = self.score(ag.tanh(together))[..., 0].named("scores")
        weights = _weights(scores, seen)
        return _means(weights, values, query), _told(weights, query, keys)


class MultiHeadAttention(Module):
    """Attention of `num_heads` parts of the features each, projected before and after.

    Vaswani et al., "Attention Is All You Need", 2017; torch's `nn.MultiheadAttention`, time
    first. Parameters: in_proj_weight (3 E, E), the projections of queries, keys and values one
    above the other, Xavier uniform; in_proj_bias (3 E,) zeros; out_proj.weight (E, E) as in
    Linear; out_proj.bias zeros. `dropout` is that of the weights, while training.

    Keys of `kdim` and values of `vdim` features: where one differs from E, the projections are
    q_proj_weight (E, E), k_proj_weight (E, kdim) and v_proj_weight (E, vdim).

    What is drawn of it can be resized to other steps, not to other rows.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        size = checked_size("embed_dim", embed_dim)
        if checked_size("num_heads", num_heads) < 1 or size % num_heads:
            raise ShapeError(
                f"the features of MultiHeadAttention are divided among its heads, but embed_dim "
                f"{embed_dim} is no multiple of num_heads {num_heads}"
            )
        rng = generator(rng)
        self.embed_dim = size
        self.num_heads = num_heads
        kdim = size if kdim is None else checked_size("kdim", kdim)
        vdim = size if vdim is None else checked_size("vdim", vdim)
        self._names = ("in_proj_weight",) * 3
        shapes: dict[str, tuple[int, int]] = {"in_proj_weight": (3 * size, size)}
        if (kdim, vdim) != (size, size):
            self._names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
            widths = (size, kdim, vdim)
            shapes = {n: (size, width) for n, width in zip(self._names, widths, strict=True)}
        for name, shape in shapes.items():
            setattr(self, name, ag.parameter(name, xavier_uniform(shape, rng=rng, dtype=dtype)))
        self.in_proj_bias: ag.Parameter | None = None
        if bias:
            self.in_proj_bias = ag.parameter("in_proj_bias", zeros((3 * size,), dtype=dtype))
        self.out_proj = Linear(size, size, bias, rng=rng, dtype=dtype)
        if self.out_proj.bias is not None:
            self.out_proj.bias.value = zeros((size,), dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)

    def forward(
        self,
        query: Any,
        keys: Any = None,
        values: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        causal: bool = False,
        average: bool = True,
    ) -> tuple[Node, Node]:
        """Return (outputs (Tq, B, E), weights (B, Tq, Tk)); for one step without Tq.

        Keys are the query unless given (self-attention), values the keys. The weights are the mean
        of those of all heads; without `average` they are (B, heads, Tq, Tk). A mask broadcasts
        against (B, heads, Tq, Tk).
        """
        query, keys, values = _checked(query, query if keys is None else keys, values)
        if keys.ndim != 3:
            raise ShapeError(
                f"MultiHeadAttention takes keys (steps, rows, features), but got {describe(keys)};"
                " give a single sequence a row axis of length 1"
            )
        for x, name in zip((query, keys, values), self._names, strict=True):
            checked_features(x, vars(self)[name])
        keys, values, valid = _filled(keys, values, lengths)
        q, k, v = [self._projected(x, i) for i, x in enumerate((query, keys, values))]
        seen = _seen(q, k, valid, mask, causal)
        weights = self.dropout(_weights(_products(q, k), seen))
        context = _means(weights, v, q)
        outputs = self.out_proj(_last_axes(context, 2, (self.embed_dim,)))
        told = _told(weights, query, keys)
        return outputs, (ag.mean(told, 1) if average else told)

    def _projected(self, x: Node, part: int) -> Node:
        """Return x (..., D) times the part of the projections for it, (..., heads, E / heads)."""
        size, heads = self.embed_dim, self.num_heads
        rows = slice(part * size, (part + 1) * size)
        weight = vars(self)[self._names[part]]
        y: Node = x @ (weight[rows] if self._names[part] == "in_proj_weight" else weight).T
        if self.in_proj_bias is not None:
            y = y + self.in_proj_bias[rows]
        return _last_axes(y, 1, (heads, size // heads))


def _last_axes(x: Node, count: int, shape: tuple[int, ...]) -> Node:
    """Return `x` with its last `count` axes reshaped; how long the first one is is left open."""
    before = x.shape[:-count]
    reshaped: Node = x.reshape((-1, *before[1:], *shape) if x.size else (*before, *shape))
    return reshaped
