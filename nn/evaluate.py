"""Means of a loss over batches, without training: validation and test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import autograd as ag
from autograd import Graph, Node
from autograd.errors import GraphError, LoopGradError
from nn.data import Batch, Epochs, as_array
from nn.history import Means
from nn.module import Module
from nn.train import _called


class Given(Epochs):
    """Batches of the user's own as epochs: a list of dicts, or what a function of the epoch gives.

    Going on in the middle of an epoch skips the batches that were done, so they must come in the
    same order again. How many examples they have is not known: each counts alike.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    @property
    def count(self) -> int | None:
        """The number of batches in an epoch, if it is known."""
        return len(self.batches) if hasattr(self.batches, "__len__") else None

    def sized(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        batches = self.batches(epoch) if callable(self.batches) else self.batches
        for batch in islice(iter(batches), start, None):
            yield 1, _checked(batch)


def as_epochs(batches: Any, what: str, epochs: int = 1) -> Epochs:
    """Return what was given as batches as epochs of them; `what` is what errors call it."""
    if isinstance(batches, Epochs):
        return batches
    if isinstance(batches, Mapping):
        return Given([batches])
    if not callable(batches) and not isinstance(batches, Iterable):
        raise LoopGradError(
            f"{what} must be nn.Batches, a list of dicts of arrays, or a function of the epoch "
            f"that gives such, but got {type(batches).__name__} {batches!r:.60}"
        )
    if isinstance(batches, Iterator) and epochs > 1:
        raise LoopGradError(
            f"{what} came as a {type(batches).__name__}, which is used up after one epoch; give a "
            "list, or a function of the number of the epoch that returns a new one"
        )
    return Given(batches)


def count_of(source: Epochs) -> int | None:
    """Return the number of batches in an epoch, or None."""
    return source.count if isinstance(source, Given) else len(source)


def _checked(batch: Any) -> Batch:
    if not isinstance(batch, Mapping):
        raise GraphError(
            f"a batch is a dict of arrays by the names of the loss function, but got "
            f"{type(batch).__name__} {batch!r:.60}; write for example {{'xs': xs, 'ys': ys}}"
        )
    return {name: as_array(name, x, None) for name, x in batch.items()}


class Evaluation:
    """The numbers among the outputs of a loss function, or a graph, drawn once a kind of batch."""

    def __init__(self, loss: Graph | Callable[..., Any], backend: str | None = None) -> None:
        if not callable(loss):
            raise GraphError(
                f"evaluate needs a function of the batch, or a graph, but got "
                f"{type(loss).__name__} {loss!r:.60}"
            )

        self.names: list[str] = []
        """What the numbers are called, once one was drawn."""

        def numbers(**batch: Node) -> dict[str, Node]:
            if isinstance(loss, Graph):
                if set(batch) != set(loss.inputs):
                    raise GraphError(
                        f"graph '{loss.name}' takes a batch of {', '.join(loss.inputs)}, but came "
                        f"{', '.join(batch) or 'nothing'}"
                    )
                nodes = loss.inline([batch[name] for name in loss.inputs])
                result: Any = dict(zip(loss.outputs, nodes, strict=True))
            else:
                result = _called(loss, batch)
            found = _numbers(result)
            self.names = list(found)
            return found

        self.function = ag.compile(numbers, backend=backend)

    def draw(self, batch: Batch) -> list[str]:
        """Draw it for batches like this one; return what the numbers are called.

        So what is wrong is told before anything runs.
        """
        self.function.graph(**batch)
        return self.names

    def means(self, source: Epochs) -> dict[str, float]:
        """Return the means over the batches of epoch 0, weighted by their examples."""
        means = Means()
        with ag.no_grad():
            for size, batch in source.sized(0):
                values = self.function(**batch)
                means.add(size, {name: node.value for name, node in values.items()})
        if not means.totals:
            raise GraphError("there were no batches to evaluate on")
        return means.means()


def _numbers(result: Any) -> dict[str, Node]:
    """Return those outputs of a loss function that are single numbers."""
    outputs = result if isinstance(result, Mapping) else {"loss": result}
    found = {}
    for name, x in outputs.items():
        if not isinstance(x, Node):
            raise GraphError(
                "a function of a batch must return a scalar node, or a dict of nodes, but "
                f"'{name}' is {type(x).__name__} {x!r:.60}"
            )
        if x.ndim == 0:
            found[name] = x
    if not found:
        shapes = ", ".join(f"'{name}' {x.spec}" for name, x in outputs.items())
        raise GraphError(f"no output is a single number, to take the mean of: {shapes or 'none'}")
    return found


def evaluate(
    loss: Graph | Callable[..., Any], batches: Any, model: Module | None = None
) -> dict[str, float]:
    """Return the means of what a loss function returns over batches, by name; nothing is trained.

        nn.evaluate(loss, nn.Batches(500, xs=test_xs, ys=test_ys), model)   # {"loss": ...}

    Every output that is a single number counts, weighted by the examples of its batch. `batches`
    are as for `nn.fit`, or one dict of arrays; their order and position do not matter and stay.
    `model` is in `eval()` meanwhile, and all its modules are as they were after it, whatever is
    raised: it is needed if it has random layers. The loss is drawn once for each kind of batch.
    """
    evaluation, source = Evaluation(loss), as_epochs(batches, "batches")
    with evaluating(model):
        return evaluation.means(source)


@contextmanager
def evaluating(model: Module | None) -> Iterator[None]:
    """Have a model in `eval()` for the time of a `with` block."""
    if model is None:
        yield
        return
    if not isinstance(model, Module):
        raise LoopGradError(f"model must be an nn.Module, but is {type(model).__name__}")
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
