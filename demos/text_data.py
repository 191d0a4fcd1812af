"""English text that comes with Python: the help on the language's topics, as words and as numbers.

`pydoc_data.topics` is what `help("for")` and the like print: some eighty chapters of the language
reference. They quote each other at length, so every paragraph is taken once. The text is not the
same in all versions of Python, so neither are the numbers that models reach on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autograd.spec import Array

END = "<end>"
"""Stands after every paragraph."""
UNKNOWN = "<unk>"
"""Stands for every word that is not in the vocabulary."""
RULERS = re.compile(r"([^\w\s.])\1{2,}|[-+=|]{2,}")
"""Lines of the same sign, as under headings and in tables."""
WORD = re.compile(r"[a-z_]+|[0-9]+|[.,:;()\[\]=]")
SHORTEST = 4
"""Paragraphs of fewer words are headings and lines of code."""
RUN = 20
"""The validation text is every tenth run of so many paragraphs."""


@dataclass(frozen=True)
class Corpus:
    """A text as numbers of words: `vocabulary[i]` is word i, the most frequent first."""

    vocabulary: list[str]
    train: Array
    validation: Array

    def text(self, numbers: Iterable[int]) -> str:
        """Return the words of these numbers as a text, one line a paragraph."""
        words = " ".join([self.vocabulary[i] for i in numbers])
        words = re.sub(r" ([.,:;)\]])", r"\1", re.sub(r"([(\[]) ", r"\1", words))
        return re.sub(rf" *{END} *", "\n", words)


def paragraphs() -> list[list[str]]:
    """Return the words of all paragraphs, in the order of their topics' names, each once."""
    from pydoc_data.topics import topics

    found: dict[tuple[str, ...], None] = {}
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            words = WORD.findall(RULERS.sub(" ", paragraph.lower()))
            if len(words) >= SHORTEST:
                found[(*words, END)] = None
    return [list(words) for words in found]


def topics_corpus(size: int) -> Corpus:
    """Return the whole text with a vocabulary of the `size` most frequent words of the training."""
    train: list[str] = []
    validation: list[str] = []
    for i, words in enumerate(paragraphs()):
        (validation if i // RUN % 10 == 9 else train).extend(words)
    known = [word for word, _ in Counter(train).most_common(size - 1)]
    numbers = {word: i for i, word in enumerate([*known, UNKNOWN])}
    return Corpus(list(numbers), encoded(train, numbers), encoded(validation, numbers))


def first_words(count: int) -> Corpus:
    """Return the first `count` words, all of them in the vocabulary, and nothing to validate."""
    words = [word for paragraph in paragraphs() for word in paragraph][:count]
    known = [word for word, _ in Counter(words).most_common()]
    numbers = {word: i for i, word in enumerate(known)}
    return Corpus(known, encoded(words, numbers), np.zeros(0, np.int64))


def encoded(words: Sequence[str], numbers: dict[str, int]) -> Array:
    """Return the numbers of words; those not known become that of `UNKNOWN`."""
    unknown = numbers.get(UNKNOWN, -1)
    return np.array([numbers.get(word, unknown) for word in words], np.int64)
