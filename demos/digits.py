"""A GRU reads handwritten digits row by row: `python -m demos.digits`.

An image of 8 x 8 pixels is a sequence of 8 rows of 8 numbers. The state after the last row says
which digit it was. The test images are the same in all runs, and take no part in the training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.charts import chart
from demos.datasets import digits
from demos.learning import options
from demos.showing import picture, progress

TEST = 450
"""Images to test with, a quarter of all."""
SIZE = 96
EPOCHS = 80
BATCH = 32
RATE = 0.005
SEEDS = 5


class RowReader(nn.Module):
    """Rows (8, B, 8) -> the logits of ten digits (B, 10)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.gru = nn.GRU(8, SIZE, rng=rng, dtype=np.float32)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(SIZE, 10, rng=rng, dtype=np.float32)

    def forward(self, rows: Any) -> ag.Node:
        _, last = self.gru(rows)
        logits: ag.Node = self.out(self.dropout(last[0]))
        return logits

    def read(self, images: Array) -> Array:
        """Return which digits the images (N, 8, 8) are, (N,)."""
        self.eval()
        with ag.no_grad():
            answers: Array = self(rows_of(images)).value.argmax(axis=1)
        self.train()
        return answers


def rows_of(images: Array) -> Array:
    """Return images (N, 8, 8) as sequences (8, N, 8)."""
    return np.ascontiguousarray(images.swapaxes(0, 1))


def split(images: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
    """Return images and labels to train with, and to test with: the same ones every time."""
    order = np.random.default_rng(0).permutation(len(images))
    training, test = order[:-TEST], order[-TEST:]
    return images[training], labels[training], images[test], labels[test]


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Return images moved by up to one pixel each way, at random."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moves = rng.integers(3, size=(len(images), 2))
    return np.stack([x[a : a + 8, b : b + 8] for x, (a, b) in zip(padded, moves, strict=True)])


def train(data: tuple[Array, Array, Array, Array], seed: int, epochs: int) -> tuple[Any, Any]:
    """Return a trained model, and after each epoch the accuracy on the test images."""
    images, labels, test, answers = data
    rng = np.random.default_rng(seed)
    model = RowReader(rng)
    batches = len(images) // BATCH
    rate = nn.schedules.cosine(RATE, epochs * batches)

    def loss(rows: ag.Node, labels: ag.Node) -> ag.Node:
        return nn.cross_entropy(model(rows), labels)

    optimizer = nn.AdamW(model.parameters(), rate, weight_decay=0.01)
    step = nn.TrainingStep(loss, optimizer, seed=seed)
    accuracies = []
    numbers, _ = progress(epochs, f"seed {seed}")
    for _ in numbers:
        for some in rng.permutation(len(images))[: batches * BATCH].reshape(batches, BATCH):
            step.run(rows=rows_of(shifted(images[some], rng)), labels=labels[some])
        accuracies.append(np.mean(model.read(test) == answers))
    return model, accuracies


def confusion(answers: Array, labels: Array) -> Array:
    """Return how often each digit was read as each other one: (true, read)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, answers), 1)
    return counts


def show(path: Path, curves: Array, counts: Array) -> None:
    """Chart the accuracies (seeds, epochs) as they rise, and what was read as what."""

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        left.plot(np.arange(1, curves.shape[1] + 1), 100 * curves.T, linewidth=0.8)
        left.set(xlabel="epoch", ylabel="right of 450 test images, %", ylim=(80, 100))
        wrong = counts * (1 - np.eye(10, dtype=int))
        right.imshow(wrong, cmap="Reds")
        for true, read in np.argwhere(counts):
            ink = "white" if 2 * wrong[true, read] > wrong.max() else "black"
            said = counts[true, read]
            right.text(read, true, said, color=ink, ha="center", va="center", fontsize=7)
        right.set(xlabel="read as", ylabel="is", xticks=range(10), yticks=range(10))

    chart(path, "accuracy and confusion", paint, (9, 4))


def main(argv: Sequence[str] | None = None) -> None:
    """Train from several seeds, test, and say which digits are mistaken for which."""
    chosen = options("digits", __doc__, argv)
    found = digits()
    if found is None:
        return
    data = split(*found)
    test, labels = data[2:]
    seeds = range(chosen.seed, chosen.seed + (1 if chosen.quick else SEEDS))
    epochs = 3 if chosen.quick else EPOCHS
    print(f"{len(data[0])} images to train with, {len(test)} to test with, {epochs} epochs")
    picture(
        ag.trace(
            RowReader(np.random.default_rng(0)).eval().forward, rows_of(test[:4]), name="digits"
        ),
        chosen.out / "graph.svg",
        "virtual graph",
    )
    curves, counts = [], np.zeros((10, 10), int)
    for seed in seeds:
        model, accuracies = train(data, seed, epochs)
        curves.append(accuracies)
        counts += confusion(model.read(test), labels)
        print(f"    seed {seed}: {accuracies[-1]:.2%} of the test images right")
    last = np.array(curves)[:, -1]
    print(f"mean {last.mean():.2%}, least {last.min():.2%}, most {last.max():.2%}")
    wrong = counts * (1 - np.eye(10, dtype=int))
    for place in np.argsort(-wrong, axis=None, kind="stable")[:3]:
        true, read = divmod(int(place), 10)
        print(f"    {true} read as {read}: {wrong[true, read]} of {counts[true].sum()} times")
    show(chosen.out / "accuracy.svg", np.array(curves), counts)


if __name__ == "__main__":
    main()
