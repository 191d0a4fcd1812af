"""Language models on the text of Python's own help: `python -m demos.language_model`.

First the RNNLM of "Deep Learning from Scratch 2" (ch. 5.5) as it is there: embedding, RNN, linear
layer, truncated backpropagation through blocks of five words, plain SGD, the first 1,000 words.
(But each epoch begins anew, where the book's reading goes round and round.)
Then the whole text, for which an RNN and an LSTM are trained alike, are measured on text they have
not seen, and write some of their own.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import nn
from demos.charts import aside, chart
from demos.language_models import (
    LanguageModel,
    Training,
    Writer,
    bigram_perplexity,
    blocks_of,
    perplexity,
    unigram_perplexity,
)
from demos.showing import picture
from demos.text_data import END, UNKNOWN, Corpus, first_words, topics_corpus


@dataclass(frozen=True)
class Form:
    """How much is done."""

    book_epochs: int
    vocabulary: int
    words: int | None
    """Words of the text to train on; None: all."""
    size: int
    """Of word vectors and of the recurrent layer."""
    epochs: int
    rows: int
    steps: int
    written: int
    """Words to write."""


FULL = Form(100, 1500, None, size=200, epochs=20, rows=20, steps=35, written=60)
QUICK = Form(3, 300, 6000, size=32, epochs=4, rows=10, steps=20, written=20)

BOOK_WORDS, BOOK_SIZE, BOOK_ROWS, BOOK_STEPS, BOOK_RATE = 1000, 100, 10, 5, 0.1
RATE, CLIP, DROPOUT = 0.003, 1.0, 0.5


# --- the book's RNNLM -----------------------------------------------------------------------------


def book_model(words: int, seed: int) -> LanguageModel:
    """Return the book's model: word vectors / 100, weights / sqrt(inputs), biases 0."""
    rng = np.random.default_rng(seed)
    model = LanguageModel(words, BOOK_SIZE, "rnn", rng=rng)
    vectors = partial(nn.init.normal, std=0.01)
    weights = partial(nn.init.normal, std=1 / math.sqrt(BOOK_SIZE))
    rules = {"embedding.weight": vectors, "*.weight*": weights, "*.bias*": 0.0}
    nn.init.apply(model, rules, rng)
    return model


def book_training(seed: int) -> Training:
    """Return the book's training: 10 rows of 5 words a block, SGD at a rate of 0.1."""
    corpus = first_words(BOOK_WORDS)
    model = book_model(len(corpus.vocabulary), seed)
    optimizer = nn.SGD(model.parameters(), lr=BOOK_RATE)
    return Training(model, optimizer, blocks_of(corpus.train, BOOK_ROWS, BOOK_STEPS))


def run_book(form: Form, seed: int, out: Path) -> None:
    """Train the book's RNNLM; print and chart the perplexity, and draw an update."""
    training = book_training(seed)
    words, units = training.model.embedding.weight.shape
    print(
        f"the book's RNNLM: {BOOK_WORDS} words of which {words} differ, {units} units, seed {seed}"
    )
    found = []
    for epoch in range(form.book_epochs):
        found.append(training.epoch())
        if epoch % max(1, form.book_epochs // 10) == 0 or epoch == form.book_epochs - 1:
            print(f"    epoch {epoch + 1:3}: perplexity {found[-1]:.2f}")
    paint = partial(paint_lines, {"RNN, SGD": found}, "perplexity", {}, False)
    chart(out / "book.svg", "perplexity of the book's RNNLM", paint, (6, 3.5))
    graph = training.graph().optimize()
    picture(graph, out / "update.svg", "an update: the state goes in and comes out")


# --- the whole text -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A trained model, and its perplexity on new text after each epoch."""

    model: LanguageModel
    validation: list[float]


def train(cell: str, corpus: Corpus, form: Form, seed: int) -> Result:
    """Train a model of this cell by Adam, with dropout and clipping, at the end at a lower rate."""
    words = len(corpus.vocabulary)
    rng = np.random.default_rng(seed)
    model = LanguageModel(words, form.size, cell, dropout=DROPOUT, tied=True, rng=rng)
    # vectors are rows of the output layer too: with N(0, 1) first logits would be about +-10
    nn.init.apply(model, {"embedding.weight": partial(nn.init.normal, std=0.1)}, rng)
    blocks = blocks_of(corpus.train[: form.words], form.rows, form.steps)
    rate = nn.schedules.piecewise([len(blocks) * form.epochs * 7 // 10], [RATE, RATE / 4])
    optimizer = nn.Adam(model.parameters(), lr=rate, clip_norm=CLIP)
    training = Training(model, optimizer, blocks, seed)
    new = corpus.validation[: form.words]
    count = sum(p.size for p in model.parameters())
    print(f"{cell}: {count:,} parameters, {form.epochs} epochs, seed {seed}")
    validation = []
    for epoch in range(form.epochs):
        start = perf_counter()
        on_the_way = training.epoch()
        seconds = perf_counter() - start
        validation.append(perplexity(model, new))
        if epoch % 5 == 4 or epoch == form.epochs - 1:
            print(f"    epoch {epoch + 1:2}: perplexity {on_the_way:.1f}, ", end="")
            print(f"of new text {validation[-1]:.1f}", flush=True)
        speed = len(blocks) * form.rows * form.steps / seconds
        aside(f"    {cell}, epoch {epoch + 1}: {speed:,.0f} words/s")
    return Result(model, validation)


def baselines(corpus: Corpus, form: Form) -> dict[str, float]:
    """Return the perplexities on new text of counts of words and of pairs of words."""
    words, text = len(corpus.vocabulary), corpus.validation[: form.words]
    learned = corpus.train[: form.words]
    return {
        "unigrams": unigram_perplexity(words, learned, text),
        "bigrams, Kneser-Ney": bigram_perplexity(words, learned, text),
    }


def write(model: LanguageModel, corpus: Corpus, form: Form, seed: int, out: Path) -> None:
    """Print what a model writes at three temperatures, and draw the loop that does it."""
    number = corpus.vocabulary.index
    writer = Writer(model, form.written, skip=number(UNKNOWN))
    for temperature in (0.5, 0.8, 1.0):
        text = corpus.text(writer(number(END), seed, temperature)).strip()
        print(f"temperature {temperature}, seed {seed}:")
        print("    " + text.replace("\n", "\n    "))
    picture(writer.graph, out / "writer.svg", "the loop that writes")


def paint_lines(
    lines: Mapping[str, Sequence[float]],
    label: str,
    levels: Mapping[str, float],
    log: bool,
    figure: Any,
) -> None:
    """Draw one value an epoch for each name, and levels to compare with."""
    axes = figure.add_subplot(xlabel="epoch", ylabel=label)
    for name, values in lines.items():
        axes.plot(range(1, len(values) + 1), values, label=name)
    for (name, level), style in zip(levels.items(), (":", "--"), strict=False):
        axes.axhline(level, color="0.5", linestyle=style, label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_minor_formatter("{x:.0f}")
    else:
        axes.set_ylim(bottom=0)
    axes.legend()


def run_text(form: Form, seed: int, out: Path) -> dict[str, Result]:
    """Train both models on the whole text; print, chart and let the LSTM write."""
    corpus = topics_corpus(form.vocabulary)
    learned, new = len(corpus.train[: form.words]), len(corpus.validation[: form.words])
    print(f"the text: {learned:,} words to learn from, {new:,} new ones, {form.vocabulary} differ")
    levels = baselines(corpus, form)
    for name, level in levels.items():
        print(f"    {name}: perplexity of new text {level:.1f}")
    results = {cell: train(cell, corpus, form, seed) for cell in ("rnn", "lstm")}
    lines = {cell.upper(): result.validation for cell, result in results.items()}
    paint = partial(paint_lines, lines, "perplexity of new text", levels, True)
    chart(out / "text.svg", "perplexity of new text", paint, (6, 3.5))
    write(results["lstm"].model, corpus, form, seed, out)
    return results


PARTS: dict[str, Callable[[Form, int, Path], object]] = {"book": run_book, "text": run_text}


def main(argv: Sequence[str] | None = None) -> None:
    """Train the book's model, and then an RNN and an LSTM on the whole text."""
    parser = argparse.ArgumentParser(prog="demos.language_model", description=__doc__)
    parser.add_argument("--part", choices=["both", *PARTS], default="both")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and writing")
    parser.add_argument("--out", type=Path, default=Path("out/language_model"), help="folder")
    parser.add_argument("--quick", action="store_true", help="a short training of small models")
    options = parser.parse_args(argv)
    form = QUICK if options.quick else FULL
    for name, part in PARTS.items():
        if options.part in ("both", name):
            part(form, options.seed, options.out)


if __name__ == "__main__":
    main()
