"""Data in batches: dicts of arrays, in an order that is a function of a seed and the epoch.

A seed and the number of an epoch are the key of a Philox 4x64-10 generator (Salmon et al. 2011,
doi:10.1145/2063384.2063405), and examples are sorted by its bits: these NumPy keeps in all its
versions (NEP 19), so the same seed is the same order on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from autograd.describe import brief
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from autograd.spec import Array, spec_of

EXAMPLES, WHOLE_BATCHES, SPLIT = range(3)
"""What is shuffled: each use of a seed has a stream of its own."""

Batch = dict[str, Array]


class Epochs:
    """Batches in epochs, and how far they have been given out, as data.

        for epoch in range(batches.epoch, 10):
            for batch in batches:                   # the epoch that is next, or the rest of it
                step.run(**batch)

    An epoch that was left early (`break`, an exception) begins again at the next `for`; only one
    that was loaded by `load_state_dict` goes on in the middle, with the batch after the last one
    that was given out when its state was taken. `of_epoch(e)` gives the batches of any epoch and
    changes nothing.

    A subclass has `_parts`, `_batch` and `_size`; `len` is the number of batches of each epoch.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = checked_seed(seed)
        self.epoch = 0
        """The epoch that is running, or the next one."""
        self.position = 0
        """How many of its batches were given out."""
        self._loaded = False
        """Whether the next `for` goes on at `position`."""

    def __iter__(self) -> Iterator[Batch]:
        self.position = self.start()
        for _, batch in self.sized(self.epoch, self.position):
            self.position += 1
            yield batch
        self.advance()

    def start(self) -> int:
        """Return with which batch a `for` that begins now begins, and note that it did."""
        loaded, self._loaded = self._loaded, False
        return self.position if loaded else 0

    def advance(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch, self.position = self.epoch + 1, 0

    def of_epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on; nothing changes."""
        for _, batch in self.sized(epoch, start):
            yield batch

    def sized(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (number of examples, batch), as `of_epoch` does."""
        for part in self._parts(epoch)[start:]:
            yield self._size(part), self._batch(part)

    def grouped(self, epoch: int, start: int, most: int) -> Iterator[tuple[list[int], Batch]]:
        """Yield up to `most` batches of one kind at a time, stacked, with their sizes.

        They keep their order, and those that come after number `start` make the same groups
        whenever `start` is where a group begins.
        """
        sizes: list[int] = []
        group: list[Batch] = []
        kind = None
        for size, batch in self.sized(epoch, start):
            this = [(name, x.shape, x.dtype) for name, x in batch.items()]
            if group and (this != kind or len(group) == most):
                yield sizes, _stacked(group)
                sizes, group = [], []
            sizes.append(size)
            group.append(batch)
            kind = this
        if group:
            yield sizes, _stacked(group)

    # What a subclass says.

    def __len__(self) -> int:
        return len(self._parts(0))

    def _parts(self, epoch: int) -> Sequence[Any]:
        """Return for each batch of an epoch what it is made of: the numbers of its examples."""
        raise LoopGradError(f"{type(self).__name__} has no _parts, so it has no batches")

    def _batch(self, part: Any) -> Batch:
        raise LoopGradError(f"{type(self).__name__} has no _batch, so it has no batches")

    def _size(self, part: Any) -> int:
        """Return the number of examples, which is the weight of the batch in means."""
        return len(part)

    def _layout(self) -> dict[str, int]:
        """Return the numbers that must be the same where a state is loaded."""
        return {}

    # Where it is, as data.

    def state_dict(self) -> dict[str, int]:
        """Return seed, epoch and position, and the sizes that these hold for."""
        own = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        return {**own, **self._layout()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on where `state_dict` was taken, of batches of the same sizes; the seed is its own."""
        here, given = self.state_dict(), state if isinstance(state, dict) else None
        if given is None or set(given) != set(here):
            got = repr(state) if given is None else ", ".join(map(str, given))
            raise LoopGradError(
                f"the state of {type(self).__name__} is {', '.join(here)}, but {got:.200} came"
            )
        numbers = {name: _whole(name, x) for name, x in given.items()}
        for name, own in self._layout().items():
            if numbers[name] != own:
                raise LoopGradError(
                    f"this is the state of {type(self).__name__} with {name} = {numbers[name]}, "
                    f"but here it is {own}, so its order would be another one"
                )
        self.seed, self.epoch = numbers["seed"], numbers["epoch"]
        self.position, self._loaded = numbers["position"], True


class Batches(Epochs):
    """Batches of examples out of arrays, shuffled anew in each epoch.

        batches = nn.Batches(32, xs=xs, ys=ys)              # the names are those of the loss
        for batch in batches:                               # an epoch
            step.run(**batch)                               # {"xs": (32, ...), "ys": (32, ...)}

    `arrays` are arrays, lists, or what NumPy makes arrays of (pandas' Series, DataFrame and Index),
    with the examples along `axis`: one number for all, or a dict by name (0 where it has none). So
    time-first sequences (T, N, D) are batched by `axis=1`, or `axis={"xs": 1}` beside labels (N,).
    Arrays are not copied, batches are. dtypes stay what they are; `dtype` converts the arrays of
    floats, or those that a dict names.

    The order of an epoch is a function of the seed and its number. The last batch is smaller if the
    examples do not come out even; `drop_last` leaves it out.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        axis: int | Mapping[str, int] = 0,
        drop_last: bool = False,
        dtype: Any = None,
        **arrays: Any,
    ) -> None:
        super().__init__(seed)
        self.batch_size = checked_size("batch_size", batch_size)
        self.shuffle = checked_bool("shuffle", shuffle)
        self.drop_last = checked_bool("drop_last", drop_last)
        if not arrays:
            raise LoopGradError(
                "Batches needs arrays, by the names that the loss function gives them; write for "
                "example nn.Batches(32, xs=xs, ys=ys)"
            )
        dtypes, named = by_name("dtype", dtype, arrays), isinstance(dtype, Mapping)
        self.arrays = {name: as_array(name, x, dtypes[name], named) for name, x in arrays.items()}
        axes = {name: axis or 0 for name, axis in by_name("axis", axis, arrays).items()}
        self.examples = _count_examples(self.arrays, axes)
        self.axes = {name: axis % self.arrays[name].ndim for name, axis in axes.items()}
        check_some_batch(self.examples, self.batch_size, self.drop_last)

    def __len__(self) -> int:
        whole, rest = divmod(self.examples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def order(self, epoch: int) -> Array:
        """Return the numbers of all examples, int64, in the order they come in an epoch."""
        if self.shuffle:
            return shuffled(self.examples, self.seed, epoch)
        return np.arange(self.examples)

    def _parts(self, epoch: int) -> Sequence[Array]:
        return cut(self.order(epoch), self.batch_size)[: len(self)]

    def _batch(self, part: Array) -> Batch:
        axes = self.axes
        return {name: x.take(part, axes[name]) for name, x in self.arrays.items()}

    def grouped(self, epoch: int, start: int, most: int) -> Iterator[tuple[list[int], Batch]]:
        size, order = self.batch_size, self.order(epoch)
        whole = self.examples // size
        for first in range(start, whole, most):
            rows = order[first * size : min(first + most, whole) * size].reshape(-1, size)
            yield [size] * len(rows), self._taken(rows)
        if start <= whole < len(self):
            rest = order[None, whole * size :]
            yield [rest.shape[1]], self._taken(rest)

    def _taken(self, rows: Array) -> Batch:
        """Return several batches at once, stacked: `rows` is (batches, examples)."""
        axes = self.axes
        return {
            name: np.moveaxis(x.take(rows, axes[name]), axes[name], 0)
            for name, x in self.arrays.items()
        }

    def _layout(self) -> dict[str, int]:
        return {
            "examples": self.examples,
            "batch_size": self.batch_size,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
        }

    def __repr__(self) -> str:
        of = ", ".join(f"{name} {spec_of(x)}" for name, x in self.arrays.items())
        return f"<{len(self)} batches of {self.batch_size} of {self.examples} examples: {of}>"


def train_test_split(
    *arrays: Any,
    test_size: float = 0.25,
    seed: int = 0,
    shuffle: bool = True,
    axis: int = 0,
) -> list[Any]:
    """Return `[a_train, a_test, b_train, b_test, ...]`: the examples of arrays in two parts.

    `test_size` is the part of all examples that are for testing (rounded up), or how many. Which
    ones is a function of the seed and of how many there are; `shuffle=False` takes the last ones,
    as series in time need it. The examples lie along `axis` of arrays, and are the items of lists
    and tuples, which give lists (ragged sequences).
    """
    if not arrays:
        raise LoopGradError("train_test_split needs arrays: train_test_split(xs, ys)")
    items = [x if isinstance(x, (list, tuple)) else as_array("", x, None) for x in arrays]
    named = {f"array {i}": x for i, x in enumerate(items) if isinstance(x, np.ndarray)}
    counts = {
        f"array {i}": len(x) for i, x in enumerate(items) if not isinstance(x, np.ndarray)
    } | _lengths(named, dict.fromkeys(named, axis))
    count = agreed(counts)
    tests = _test_count(test_size, count)
    order = shuffled(count, checked_seed(seed), 0, SPLIT) if shuffle else np.arange(count)
    found: list[Any] = []
    for x in items:
        for rows in (order[: count - tests], order[count - tests :]):
            found.append(
                x.take(rows, axis) if isinstance(x, np.ndarray) else [x[i] for i in rows.tolist()]
            )
    return found


def _test_count(size: Any, count: int) -> int:
    if isinstance(size, (float, np.floating)) and 0 < size < 1:
        tests = ceil(size * count)
    elif isinstance(size, (int, np.integer)) and not isinstance(size, bool):
        tests = int(size)
    else:
        raise LoopGradError(
            f"test_size must be a part of all, between 0 and 1, or a whole number of examples, but "
            f"is {size!r:.60}"
        )
    if not 0 < tests < count:
        raise LoopGradError(
            f"test_size={size} of {count} examples is {tests} for testing; both parts must have "
            "at least one"
        )
    return tests


# What kinds of batches share.


def shuffled(count: int, seed: int, epoch: int, use: int = EXAMPLES) -> Array:
    """Return the numbers below `count`, int64, in an order made of the other arguments."""
    key = np.array([seed, epoch], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, 0, 0, use], np.uint64))
    return np.argsort(bits.random_raw(count), kind="stable")


def cut(order: Array, size: int) -> list[Array]:
    """Return `order` in parts of `size`, the last one smaller if need be."""
    return [order[i : i + size] for i in range(0, len(order), size)]


def _stacked(batches: Sequence[Batch]) -> Batch:
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def by_name(option: str, value: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return an option for each name: of a dict the item or None, else the option itself."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise LoopGradError(
                f"{option} names '{name}', but the arrays are {', '.join(names) or 'none'}"
            )
    return {name: value.get(name) for name in names}


def as_array(name: str, value: Any, dtype: Any, always: bool = False) -> Array:
    """Return data as an array of numbers, not copied if it is one; floats, or all, in `dtype`."""
    called = f"'{name}'" if name else "the data"
    try:
        array = np.asarray(value.value if isinstance(value, Node) else value)
    except ValueError as error:
        raise ShapeError(
            f"{called} cannot be made an array: {error}; sequences of different lengths go into "
            "nn.RaggedBatches"
        ) from None
    if array.dtype.kind == "O" and _columns(value) and not _odd_columns(value):
        array = value.to_numpy(np.float64, na_value=np.nan)  # bools or missing ones beside floats
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"{called} must be numbers, but NumPy makes {array.dtype} of {type(value).__name__}"
            f"{_odd_columns(value)}; convert or encode it first, columns of a table one by one if "
            "they differ in kind"
        )
    if dtype is not None and (always or array.dtype.kind == "f"):
        array = array.astype(dtype, copy=False)
    return array


def _odd_columns(value: Any) -> str:
    """Return which columns of a table of pandas' are no numbers, for an error."""
    odd = [f"{name!r} ({kind})" for name, kind in _columns(value) if kind.kind not in "fiub"]
    return f", whose columns {', '.join(odd)} are none" if odd else ""


def _columns(value: Any) -> list[tuple[Any, Any]]:
    """Return name and dtype of each column, if this is a table of pandas'."""
    items = getattr(getattr(value, "dtypes", None), "items", None)
    return [] if items is None else list(items())


def _count_examples(arrays: Mapping[str, Array], axes: Mapping[str, int]) -> int:
    return agreed({f"'{name}'": n for name, n in _lengths(arrays, axes).items()})


def _lengths(arrays: Mapping[str, Array], axes: Mapping[str, int]) -> dict[str, int]:
    """Return how many examples each array has along its axis."""
    found = {}
    for name, x in arrays.items():
        axis = axes[name]
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise LoopGradError(
                f"axis must be a whole number, but that of '{name}' is {axis!r:.60}"
            )
        if not -x.ndim <= axis < x.ndim:
            raise ShapeError(
                f"'{name}' is {spec_of(x)}, so it has no axis {axis} of examples; arrays that are "
                "the same for all of them do not belong into batches"
            )
        found[name] = x.shape[axis]
    return found


def agreed(counts: Mapping[str, int]) -> int:
    """Return the number of examples, on which all must agree."""
    if len(set(counts.values())) != 1:
        said = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ShapeError(
            f"all data must have the same number of examples, but {said}; where examples lie "
            "along another axis than the first, say so by axis="
        )
    count = next(iter(counts.values()))
    if not count:
        raise ShapeError(f"there are no examples: {', '.join(counts)} is empty")
    return count


def check_some_batch(examples: int, batch_size: int, drop_last: bool) -> None:
    """Check that an epoch has a batch at all."""
    if drop_last and examples < batch_size:
        raise ShapeError(
            f"{examples} examples make no whole batch of {batch_size}, and drop_last leaves the "
            "rest out; take a smaller batch_size, or drop_last=False"
        )


def checked_size(name: str, value: Any) -> int:
    """Return a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        hint = "; data are given by name: xs=..." if name == "batch_size" else ""
        raise LoopGradError(f"{name} must be a whole number >= 1, but is {brief(value)}{hint}")
    return int(value)


def checked_bool(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise LoopGradError(f"{name} must be True or False, but is {value!r:.60}")
    return bool(value)


def checked_seed(seed: Any) -> int:
    """Return a whole number that fits into 64 bits."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise LoopGradError(f"seed must be a whole number from 0 to 2^64 - 1, but is {seed!r:.60}")
    return int(seed)


def _whole(name: str, value: Any) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value < (2**64 if name == "seed" else 2**63):
        raise LoopGradError(
            f"'{name}' in a state must be a whole number >= 0 of 64 bits, not {value!r:.60}"
        )
    return int(value)
