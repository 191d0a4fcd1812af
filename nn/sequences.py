"""Sequences in batches: ragged ones padded and sorted into few lengths, texts, windows of series.

All are time first, (T, B, ...), as loops take them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.spec import Array, spec_of
from nn.data import (
    WHOLE_BATCHES,
    Batch,
    Epochs,
    agreed,
    as_array,
    by_name,
    check_some_batch,
    checked_bool,
    checked_size,
    cut,
    shuffled,
)

KINDS = 8
"""How many kinds of batch `RaggedBatches` makes if it is not told: as many as a step keeps."""


class RaggedBatches(Epochs):
    """Batches of sequences of different lengths: padded, with their `lengths`.

        batches = nn.RaggedBatches(32, xs=[...], ys=[...], labels=labels)
        for batch in batches:
            step.run(**batch)       # xs (T, 32, ...), ys (T, 32, ...), labels (32,), lengths (32,)

    Lists (or tuples) of arrays hold one sequence (n, ...) an example; arrays, and lists of numbers,
    hold one row an example. All sequences of an example have one length unless `lengths` says
    which have which, by the name that the loss function gives these:
    `lengths={"lengths": ["xs"], "label_lengths": ["labels"]}`.

    Few lengths T: examples are shuffled, sorted by length in windows of `window` batches, and cut
    into batches, which are shuffled again. T is the longest of a batch, rounded up to a multiple of
    `multiple`. Each T is another graph, so by default there are 7 at most; the last batch, if it is
    smaller, has the longest T of all, and makes 8 kinds, which is what `TrainingStep` keeps.
    (Only the lengths named first are sorted by; sequences of other lengths are padded to the
    longest of all.) `window=1` cuts batches as they come.

    Padding is `padding` (0; a dict by name), and changes nothing in loops and losses that are given
    `lengths`. For the other options see `Batches`.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        lengths: str | Mapping[str, str | Sequence[str]] = "lengths",
        multiple: int | None = None,
        window: int = 50,
        padding: float | Mapping[str, float] = 0,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        dtype: Any = None,
        **sequences: Any,
    ) -> None:
        super().__init__(seed)
        self.batch_size = checked_size("batch_size", batch_size)
        self.window = checked_size("window", window)
        self.shuffle = checked_bool("shuffle", shuffle)
        self.drop_last = checked_bool("drop_last", drop_last)
        self.sequences: dict[str, list[Array]] = {}
        self.rows: dict[str, Array] = {}
        dtypes, named = by_name("dtype", dtype, sequences), isinstance(dtype, Mapping)
        for name, x in sequences.items():
            if _is_ragged(x):
                self.sequences[name] = _arrays(name, x, dtypes[name], named)
            else:
                self.rows[name] = as_array(name, x, dtypes[name], named)
        if not self.sequences:
            raise LoopGradError(
                "RaggedBatches needs a list of arrays, one a sequence: nn.RaggedBatches(32, "
                "xs=[...]); data of one length go into nn.Batches"
            )
        counts = {f"'{name}'": len(x) for name, x in self.sequences.items()}
        counts |= {f"'{name}'": len(x) for name, x in self.rows.items()}
        self.examples = agreed(counts)
        check_some_batch(self.examples, self.batch_size, self.drop_last)
        padding_of = by_name("padding", padding, sequences)
        self.padding = {name: x or 0 for name, x in padding_of.items()}
        self.groups = _groups(lengths, self.sequences, self.rows)
        self.lengths = {name: self._lengths(name, of) for name, of in self.groups.items()}
        """The length of each example, int64 (examples,), by the name of the lengths."""
        self.longest = {name: int(n.max()) for name, n in self.lengths.items()}
        self.bucketed = next(iter(self.groups))
        """The name of the lengths that batches are sorted by."""
        most = max(1, self.longest[self.bucketed])
        self.multiple = -(-most // (KINDS - 1)) if multiple is None else 0
        self.multiple = self.multiple or checked_size("multiple", multiple)

    def __len__(self) -> int:
        whole, rest = divmod(self.examples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def _lengths(self, name: str, of: Sequence[str]) -> Array:
        first, *others = of
        lengths = np.array([len(x) for x in self.sequences[first]])
        for other in others:
            for i, x in enumerate(self.sequences[other]):
                if len(x) != lengths[i]:
                    raise ShapeError(
                        f"sequence {i} of '{first}' has {lengths[i]} steps and of '{other}' "
                        f"{len(x)}, but both are to have the lengths '{name}'; give lengths of "
                        f"their own: lengths={{'{name}': ['{first}'], "
                        f"'{other}_lengths': ['{other}']}}"
                    )
        return lengths

    def _parts(self, epoch: int) -> Sequence[Array]:
        order = np.arange(self.examples)
        if self.shuffle:
            order = shuffled(self.examples, self.seed, epoch)
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        lengths = self.lengths[self.bucketed]
        batches: list[Array] = []
        for rows in cut(order, self.window * self.batch_size):
            batches += cut(rows[np.argsort(lengths[rows], kind="stable")], self.batch_size)
        if not self.shuffle:
            return batches
        return [batches[i] for i in shuffled(len(batches), self.seed, epoch, WHOLE_BATCHES)]

    def _batch(self, part: Array) -> Batch:
        batch: Batch = {}
        indices = part.tolist()
        for group, names in self.groups.items():
            lengths = self.lengths[group][part]
            steps = self._steps(group, int(lengths.max()), len(part))
            for name in names:
                own = self.sequences[name]
                batch[name] = _padded([own[i] for i in indices], steps, self.padding[name])
            batch[group] = lengths
        return batch | {name: x[part] for name, x in self.rows.items()}

    def _steps(self, group: str, longest: int, rows: int) -> int:
        """Return how long a batch is, whose longest sequence has `longest` steps."""
        if group != self.bucketed or rows < self.batch_size:
            longest = self.longest[group]
        return max(1, -(-longest // self.multiple)) * self.multiple

    def _layout(self) -> dict[str, int]:
        return {
            "examples": self.examples,
            "steps": int(self.lengths[self.bucketed].sum()),
            "batch_size": self.batch_size,
            "multiple": self.multiple,
            "window": self.window,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
        }

    def __repr__(self) -> str:
        n = self.lengths[self.bucketed]
        return (
            f"<{len(self)} batches of {self.batch_size} of {self.examples} sequences of {n.min()} "
            f"to {n.max()} steps, padded to multiples of {self.multiple}>"
        )


def _is_ragged(value: Any) -> bool:
    """Whether data are one sequence an example."""
    if isinstance(value, (list, tuple)):
        return any(np.ndim(x) > 0 for x in value)
    return bool(getattr(value, "dtype", None) == np.dtype(object))


def _arrays(name: str, sequences: Any, dtype: Any, always: bool) -> list[Array]:
    arrays = [as_array(f"{name}[{i}]", x, dtype, always) for i, x in enumerate(sequences)]
    # NumPy makes floats of an empty list; what it would hold is what the others do
    known = next((x for x in arrays if x.size), arrays[0])
    for i, x in enumerate(arrays):
        if x.ndim == 1 and not len(x):
            x = arrays[i] = np.zeros((0, *known.shape[1:]), known.dtype)
        if not x.ndim or x.shape[1:] != known.shape[1:] or x.dtype != known.dtype:
            like = f"{known.dtype}[{', '.join(map(str, ('?', *known.shape[1:])))}]"
            raise ShapeError(
                f"sequence {i} of '{name}' is {spec_of(x)}, but others are {like}: sequences have "
                "the shape (steps, ...) and differ in the number of steps only"
            )
    return arrays


def _groups(
    lengths: Any, sequences: Mapping[str, Any], rows: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Return which sequences have which lengths, by the name of the lengths."""
    given = lengths if isinstance(lengths, Mapping) else {lengths: list(sequences)}
    groups = {name: [of] if isinstance(of, str) else list(of) for name, of in given.items()}
    named = [x for of in groups.values() for x in of]
    if sorted(named) != sorted(sequences):
        raise LoopGradError(
            f"lengths must name each of the sequences {', '.join(sequences)} once, but names "
            f"{', '.join(map(str, named)) or 'none'}"
        )
    for name, of in groups.items():
        if name in sequences or name in rows or not of:
            raise LoopGradError(
                f"lengths called '{name}' need sequences to be the lengths of, and a name that no "
                "data have; choose another name by lengths="
            )
    return groups


def _padded(sequences: Sequence[Array], steps: int, padding: float) -> Array:
    """Return sequences (n, ...) side by side as (steps, B, ...), as `loops.pad_sequence` does."""
    first = sequences[0]
    padded = np.full((steps, len(sequences), *first.shape[1:]), padding, first.dtype)
    for i, x in enumerate(sequences):
        padded[: len(x), i] = x
    return padded


class TokenBlocks(Epochs):
    """A long text as blocks of parallel streams: truncated backpropagation for language models.

        blocks = nn.TokenBlocks(tokens, batch_size=10, length=5)
        for batch in blocks:                # {"xs": (5, 10), "ys": (5, 10)}
            if blocks.position == 1:        # the first block of an epoch
                state.reset()
            ...

    `tokens` are whole numbers, (n,). They are cut into `batch_size` streams: number i begins at
    token i * ((n - 1) // batch_size). Each block is the next `length` tokens of all streams, and
    what `names` calls second are the tokens that follow each of them. So a state that is carried
    from block to block (`loops.CarriedState`) reads each stream on ("Deep Learning from Scratch 2",
    ch. 5.5). Blocks are never shuffled. The rest of the streams, shorter than a block, is left out
    unless `drop_last=False`.
    """

    def __init__(
        self,
        tokens: Any,
        batch_size: int,
        length: int,
        *,
        names: tuple[str, str] = ("xs", "ys"),
        drop_last: bool = True,
    ) -> None:
        super().__init__()
        self.tokens = as_array("tokens", tokens, None)
        if self.tokens.ndim != 1 or self.tokens.dtype.kind not in "iu":
            raise DTypeError(
                f"tokens must be whole numbers of shape (n,), but are {spec_of(self.tokens)}; "
                "number the words or letters of a text first"
            )
        self.batch_size = checked_size("batch_size", batch_size)
        self.length = checked_size("length", length)
        self.drop_last = checked_bool("drop_last", drop_last)
        self.names = names
        self.stride = (len(self.tokens) - 1) // self.batch_size
        """How many tokens each stream reads."""
        if self.stride < (self.length if drop_last else 1):
            raise ShapeError(
                f"{len(self.tokens)} tokens make {self.batch_size} streams of {self.stride}, "
                f"shorter than a block of {self.length}; take fewer streams or shorter blocks"
            )
        self.offsets = np.arange(self.batch_size) * self.stride

    def __len__(self) -> int:
        whole, rest = divmod(self.stride, self.length)
        return whole + (rest > 0 and not self.drop_last)

    def _parts(self, epoch: int) -> Sequence[range]:
        stop = self.stride
        starts = range(0, len(self) * self.length, self.length)
        return [range(start, min(start + self.length, stop)) for start in starts]

    def _batch(self, part: range) -> Batch:
        places = np.arange(part.start, part.stop)[:, None] + self.offsets
        return dict(zip(self.names, (self.tokens[places], self.tokens[places + 1]), strict=True))

    def _size(self, part: range) -> int:
        return len(part) * self.batch_size

    def _layout(self) -> dict[str, int]:
        return {
            "tokens": len(self.tokens),
            "batch_size": self.batch_size,
            "length": self.length,
            "drop_last": int(self.drop_last),
        }

    def __repr__(self) -> str:
        return (
            f"<{len(self)} blocks of {self.length} tokens of {self.batch_size} streams, of "
            f"{len(self.tokens)} tokens>"
        )


def windows(series: Any, length: int, horizon: int | None = None, *, stride: int = 1) -> Any:
    """Return windows of a series in time: (length, N, ...) of a series (steps, ...), time first.

    Window i is `series[i * stride : i * stride + length]`, and there are as many as fit. With
    `horizon`, return `(xs, ys)`: beside each window the `horizon` steps that follow it, (horizon,
    N, ...). They are views of the series, read-only, and take no memory: batch them by `axis=1`.
    """
    array = as_array("series", series, None)
    length, stride = checked_size("length", length), checked_size("stride", stride)
    ahead = 0 if horizon is None else checked_size("horizon", horizon)
    if not array.ndim or len(array) < length + ahead:
        raise ShapeError(
            f"a window takes {length + ahead} steps, but the series is {spec_of(array)}; take "
            "shorter windows"
        )
    every = np.lib.stride_tricks.sliding_window_view(array, length + ahead, 0)[::stride]
    both = np.moveaxis(every, -1, 0)
    return both if horizon is None else (both[:length], both[length:])
