"""A small training run in a process of its own, for tests that kill it.

    python -m tests.checkpoint_child whole FOLDER

It prints a line when it starts ("start 400": the steps done before), and at its end ("done",
a digest of all that training changes). How many steps are done stands in the file `progress`,
written at every step, so that it is known of a process that was killed as well.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import signal
import struct
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.draw.dot import to_dot

EXAMPLES, BATCH, STEPS_OF_TIME = 60, 4, 6


class Model(nn.Module):
    def __init__(self, hidden: int) -> None:
        rng = np.random.default_rng(0)
        self.rnn = nn.RNN(2, hidden, rng=rng)
        self.out = nn.Linear(hidden, 1, rng=rng)

    def loss(self, xs, ys):
        hs, _ = self.rnn(xs)
        return nn.binary_cross_entropy_with_logits(self.out(hs), ys)


class Order:
    """Which examples come next: an epoch after the other, each in an order of its own."""

    def __init__(self, seed: int) -> None:
        self.seed, self.epoch, self.position = seed, 0, 0

    def next(self) -> np.ndarray:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(EXAMPLES)
        rows = order[self.position : self.position + BATCH]
        self.position += BATCH
        if self.position >= EXAMPLES:
            self.epoch, self.position = self.epoch + 1, 0
        return rows

    def state_dict(self):
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state) -> None:
        self.seed, self.epoch, self.position = (state[k] for k in ("seed", "epoch", "position"))


class Ballast:
    """A part that takes long to write."""

    def __init__(self, megabytes: int) -> None:
        self.values = np.zeros(megabytes * 125_000)

    def state_dict(self):
        return {"values": self.values}

    def load_state_dict(self, state) -> None:
        self.values = state["values"]


class Run:
    """All that a run of training is made of."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model = Model(options.hidden)
        self.optimizer = (
            nn.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
            if options.many
            else nn.Adam(self.model.parameters(), lr=lambda steps: 0.01 * 0.999**steps)
        )
        self.order = Order(5)
        self.rng = np.random.default_rng(7)
        self.training = nn.TrainingStep(self.model.loss, self.optimizer)
        data = np.random.default_rng(1).integers(0, 2, (2, STEPS_OF_TIME, EXAMPLES, 2))
        self.xs, self.ys = data[0] * 1.0, data[1, ..., :1] * 1.0
        parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "order": self.order,
            "rng": self.rng,
        }
        if options.ballast:
            parts["ballast"] = Ballast(options.ballast)
        self.checkpoints = nn.Checkpoints(
            options.folder / "checkpoints", parts, every=options.every, seconds=None
        )

    def digest(self) -> str:
        """Return a digest of weights, the optimizer's state, the random numbers and the order."""
        digest = hashlib.sha256(str((self.order.state_dict(), self.optimizer.steps)).encode())
        digest.update(str(self.rng.bit_generator.state).encode())
        for state in (self.model.state_dict(), self.optimizer.state_dict()):
            for name, value in state.items():
                digest.update(name.encode() + np.asarray(value).tobytes())
        return digest.hexdigest()

    def step(self) -> None:
        """Do a step on the next batch, with noise on it."""
        rows = self.order.next()
        xs = self.xs[:, rows]
        self.training.run(xs=xs + self.rng.normal(size=xs.shape), ys=self.ys[:, rows])

    def train(self, start: int, counter: mmap.mmap) -> None:
        if self.options.many:
            return self.train_many(start, counter)
        for step in range(start + 1, self.options.steps + 1):
            self.step()
            counter[:8] = struct.pack("q", step)
            self.checkpoints.maybe_save(step)

    def train_many(self, start: int, counter: mmap.mmap) -> None:
        """Do all steps in one call; the rows of each follow from its number."""
        steps = self.options.steps
        rows = np.random.default_rng(3).integers(0, EXAMPLES, (steps, BATCH))

        def tell(done, total, outputs):
            counter[:8] = struct.pack("q", start + done)
            self.checkpoints.maybe_save(start + done)

        data = {"xs": self.xs, "ys": self.ys}
        self.training.many(**data, indices=rows[start:], axis=1, seconds=0.02, progress=tell)


def counter_of(folder: Path) -> mmap.mmap:
    """Return the 8 bytes of the file `progress`, shared with whoever reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "progress").open("a+b") as file:
        file.truncate(8)
        return mmap.mmap(file.fileno(), 8)


def whole(options: argparse.Namespace) -> None:
    """Train, going on where the last process was."""
    run = Run(options)
    start = run.checkpoints.resume()
    counter = counter_of(options.folder)
    counter[:8] = struct.pack("q", start)
    with run.checkpoints.guard() if options.guard else nullcontext():
        print("start", start, flush=True)
        run.train(start, counter)
    print("done", run.digest(), flush=True)


def torn(options: argparse.Namespace) -> None:
    """Train until a signal comes; tell the number of steps done, and a digest of the state."""
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    run = Run(options)
    try:
        print("start 0", flush=True)
        same_step(run)
        print("start 1", flush=True)
        while True:
            same_step(run)
    except KeyboardInterrupt:
        print("stopped", run.optimizer.steps, run.digest(), flush=True)


def states(options: argparse.Namespace) -> None:
    """Print a digest of the state before the first step of `torn`, and after each."""
    run = Run(options)
    print(run.digest())
    for _ in range(options.steps):
        same_step(run)
        print(run.digest())


def same_step(run: Run) -> dict:
    """Do a step on the first batch."""
    return run.training.run(xs=run.xs[:, :BATCH], ys=run.ys[:, :BATCH])


def curve(options: argparse.Namespace) -> None:
    """Print a digest of all losses and of what they lead to; look at much on the way, or not."""
    run = Run(options)
    losses = hashlib.sha256()
    with ag.check_finite() if options.check else nullcontext():
        for _ in range(options.steps):
            losses.update(run.training.run(xs=run.xs, ys=run.ys)["loss"].tobytes())
            if options.watch:
                graph = run.training.graph(xs=run.xs, ys=run.ys)
                losses.copy().update(f"{graph}{to_dot(graph)}{run.training}{run.model}".encode())
    print("done", losses.hexdigest(), run.digest(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("whole", "torn", "states", "curve"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--ballast", type=int, default=0, help="megabytes")
    parser.add_argument("--many", action="store_true", help="by TrainingStep.many, with momentum")
    parser.add_argument("--guard", action="store_true", help="Ctrl-C and SIGTERM save first")
    parser.add_argument("--check", action="store_true", help="look for NaN in every value")
    parser.add_argument("--watch", action="store_true", help="print and draw graphs on the way")
    parser.add_argument("--hidden", type=int, default=8)
    options = parser.parse_args()
    modes = {"whole": whole, "torn": torn, "states": states, "curve": curve}
    modes[options.mode](options)


if __name__ == "__main__":
    main()
