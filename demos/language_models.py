"""Language models: what word comes next. Recurrent ones, and counts of words to compare with.

A model reads words (steps, rows) and a state, and returns a logit for every word that may follow
each of them, and the state after the last. In a training step the state is an input and an output:
gradients go back to the start of the block of words, the state goes on from block to block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from loops import LoopNode

CELLS: dict[str, type[nn.RNNCell] | type[nn.LSTMCell]] = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell}
State = dict[str, Any]
"""The parts of a state by name, each (rows, units): "h", and of an LSTM also "c"."""


class LanguageModel(nn.Module):
    """Embedding -> recurrent layer -> linear: words (T, B) -> logits (T, B, words), state.

    `size` is that of word vectors and of the layer. `dropout` is applied before and after the
    layer; with `tied` the rows of the output layer are the word vectors (Press and Wolf 2017,
    arXiv:1608.05859). It computes in float32.
    """

    def __init__(
        self,
        words: int,
        size: int,
        cell: str = "lstm",
        *,
        dropout: float = 0.0,
        tied: bool = False,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        rng = nn.init.generator(rng)
        self.embedding = nn.Embedding(words, size, rng=rng, dtype=np.float32)
        self.cell = CELLS[cell](size, size, rng=rng, dtype=np.float32)
        self.layer = nn.Recurrent(self.cell)
        self.dropout = nn.Dropout(dropout, rng=rng)
        self.out = nn.Linear(size, words, rng=rng, dtype=np.float32)
        if tied:
            self.out.weight = self.embedding.weight

    def start(self, rows: int) -> State:
        """Return the state before the first word: zeros."""
        names = "hc" if isinstance(self.cell, nn.LSTMCell) else "h"
        return {name: np.zeros((rows, self.cell.hidden_size), np.float32) for name in names}

    def forward(self, words: Any, state: State) -> tuple[ag.Node, State]:
        """Return the logits (T, B, words) of what follows, and the state after the last."""
        vectors = self.dropout(self.embedding(words))
        ys, last = self.layer(vectors, self._cell_state(state))
        return self.out(self.dropout(ys)), self._named(last)

    def step(self, words: Any, state: State) -> tuple[ag.Node, State]:
        """Return the same for one word of each row (B,), without dropout: (B, words), state."""
        y, last = self.cell.step(self.embedding(words), self._cell_state(state))
        return self.out(y), self._named(last)

    def _cell_state(self, state: State) -> Any:
        return (state["h"], state["c"]) if "c" in state else state["h"]

    def _named(self, state: Any) -> State:
        return {"h": state[0], "c": state[1]} if isinstance(state, tuple) else {"h": state}


# --- training, block by block ---------------------------------------------------------------------


def blocks_of(words: Array, rows: int, steps: int) -> nn.TokenBlocks:
    """Return a text as blocks of words (steps, rows), and for each the one that follows."""
    return nn.TokenBlocks(words, rows, steps, names=("words", "following"))


def block_loss(model: LanguageModel) -> Callable[..., dict[str, ag.Node]]:
    """Return the loss of a block: a function of words, the words that follow, and the state."""

    def loss(words: ag.Node, following: ag.Node, **state: ag.Node) -> dict[str, ag.Node]:
        logits, after = model(words, state)
        ends = {f"{name}_after": part for name, part in after.items()}
        return {"loss": nn.cross_entropy(logits, following), **ends}

    return loss


class Training:
    """Truncated backpropagation through time: one block an update, the state handed on."""

    def __init__(
        self, model: LanguageModel, optimizer: nn.Optimizer, blocks: nn.TokenBlocks, seed: int = 0
    ) -> None:
        self.model = model
        self.blocks = blocks
        handed_on = {name: f"{name}_after" for name in model.start(1)}
        self.step = nn.TrainingStep(block_loss(model), optimizer, carry=handed_on, seed=seed)
        self.step.carried = model.start(blocks.batch_size)

    def epoch(self) -> float:
        """Train on all blocks, from a zero state on; return the perplexity on the way."""
        self.step.carried = self.model.start(self.blocks.batch_size)
        losses = [float(self.step.run(**block)["loss"]) for block in self.blocks]
        return float(np.exp(np.mean(losses)))

    def graph(self) -> ag.Graph:
        """Return the graph of an update: parameters and states go in, and come out new."""
        return self.step.graph(**next(self.blocks.of_epoch(0)), **self.step.carried)


def perplexity(model: LanguageModel, words: Array) -> float:
    """Return exp(mean of -log p) of a text: between how many equally likely words it wavers.

    The model reads it once, in one piece, without dropout.
    """
    text = {"words": words[:-1, None], "following": words[1:, None]}
    loss = nn.evaluate(block_loss(model), {**text, **model.start(1)}, model)["loss"]
    return float(np.exp(loss))


# --- words drawn from a model ---------------------------------------------------------------------


class Writer:
    """Draws words from a model, each from the probabilities after all before it.

    It is one loop whose state is the model's and the last word: what a step puts out, the next
    reads. `skip` is a word never written.
    """

    def __init__(self, model: LanguageModel, length: int, skip: int | None = None) -> None:
        self.model = model
        self.length = length
        self.skip = skip
        shaped_as = np.array([0]), np.array(1.0, np.float32), ag.random.key(0), model.start(1)
        self.graph = ag.trace(self._draw, *shaped_as, name="writer")

    def __call__(self, first: int, seed: int, temperature: float = 1.0) -> list[int]:
        """Return words that follow `first`; the smaller the temperature, the likelier ones."""
        inputs = [np.array([first]), np.float32(temperature), ag.random.key(seed).value]
        values = dict(zip(self.graph.inputs, [*inputs, *self.model.start(1).values()], strict=True))
        written: list[int] = self.graph.run(**values)["words"][:, 0].tolist()
        return written

    def _draw(
        self, first: ag.Node, temperature: ag.Node, key: ag.Node, start: State
    ) -> dict[str, ag.Node]:
        with LoopNode("write", length=self.length) as loop:
            word = loop.branch("word", first)
            state = {name: loop.branch(name, part) for name, part in start.items()}
            logits, after = self.model.step(word, state)
            if self.skip is not None:
                here = np.arange(logits.shape[-1]) == self.skip
                logits = ag.where(here, -np.inf, logits)
            chance = ag.random.uniform(ag.random.fold_in(key, loop.index), word.shape)
            following = chosen(logits / temperature, chance)
            loop.feed(word, following)
            for name, part in after.items():
                loop.feed(state[name], part)
            words = loop.collect(following, "words")
        return {"words": words}


def chosen(logits: ag.Node, chance: ag.Node) -> ag.Node:
    """Return for each row (B, C) the class in whose part of [0, 1) `chance` (B,) lies.

    The parts are as long as the classes are probable.
    """
    ends = ag.cumsum(ag.softmax(logits).astype("float64"), axis=-1)
    # the last end is 1, whatever it is rounded to
    return (ends[..., :-1] <= chance[..., None]).sum(axis=-1)


# --- counts to compare with -----------------------------------------------------------------------


def unigram_perplexity(words: int, train: Array, text: Array) -> float:
    """Return the perplexity of word frequencies: each count is one more than in the training."""
    counts = np.bincount(train, minlength=words) + 1.0
    return perplexity_of((counts / counts.sum())[text[1:]])


def bigram_perplexity(words: int, train: Array, text: Array, discount: float = 0.75) -> float:
    """Return the perplexity of counts of pairs, smoothed as by Kneser and Ney (1995).

    p(w | v) = max(c(v w) - d, 0) / c(v) + d kinds(v) / c(v) q(w): what is taken off the pairs seen
    is given to words by how many kinds of words they follow, q (with one more for each).
    """
    pairs = np.zeros((words, words))
    np.add.at(pairs, (train[:-1], train[1:]), 1.0)
    follows = (pairs > 0).sum(axis=0) + 1.0
    q = follows / follows.sum()
    before = text[:-1]
    total, kinds = pairs.sum(axis=1)[before], (pairs > 0).sum(axis=1)[before]
    seen = np.maximum(total, 1.0)
    left = np.where(total > 0, discount * kinds / seen, 1.0)
    p = np.maximum(pairs[before, text[1:]] - discount, 0.0) / seen + left * q[text[1:]]
    return perplexity_of(p)


def perplexity_of(probabilities: Array) -> float:
    """Return exp(mean of -log p)."""
    return float(np.exp(-np.log(probabilities).mean()))
