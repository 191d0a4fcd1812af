"""One contender of `benchmarks.layers`: training steps of a recurrent layer."""

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from serve import import_loopgrad, import_torch, seconds_a_call, serve

RATE = 0.01
MANY = 20
WARM = 3
"""Steps before anything is timed; the loss after them is compared."""

Step = Callable[[], float]
"""Does one step, or `MANY` of them, and returns the loss."""


def data(sizes: list[int], ragged: bool) -> tuple[Any, Any]:
    """Return the sequences (T, B, D) and the lengths of rows, or None."""
    steps, batch, features, _ = sizes
    random = np.random.default_rng(0)
    xs = random.normal(size=(steps, batch, features)).astype("float32")
    lengths = random.integers(1, steps + 1, batch)
    lengths[0] = steps
    return xs, lengths if ragged else None


def values(shapes: list[tuple[int, ...]], hidden: int) -> list[Any]:
    random = np.random.default_rng(1)
    bound = hidden**-0.5
    return [random.uniform(-bound, bound, shape).astype("float32") for shape in shapes]


def loopgrad(how: str) -> Callable[..., Step]:
    ag = import_loopgrad()
    import nn

    def make(kind: str, sizes: list[int], ragged: bool = False, **options: Any) -> Step:
        xs, lengths = data(sizes, ragged)
        layer = getattr(nn, kind)(*sizes[2:], dtype="float32", **options)
        for p, value in zip(
            layer.parameters(), values([p.shape for p in layer.parameters()], sizes[3]), strict=True
        ):
            p.value = value
        optimizer = nn.SGD(layer.parameters(), lr=RATE)
        batch = {"xs": xs} if lengths is None else {"xs": xs, "lengths": lengths}

        def loss(xs: Any, lengths: Any = None) -> Any:
            return ag.square(layer(xs, lengths=lengths)[0]).mean()

        step = nn.TrainingStep(loss, optimizer)

        def eager() -> float:
            optimizer.zero_grad()
            value = loss(**batch)
            value.backward()
            optimizer.step()
            return float(value)

        def many() -> float:
            return float(step.many(steps=MANY, same=batch)["loss"][-1])

        return {"": lambda: float(step.run(**batch)["loss"]), "eager": eager, "many": many}[how]

    return make


def torch(threads: int) -> Callable[..., Step]:
    module = import_torch()
    module.set_num_threads(threads)
    rnn = module.nn.utils.rnn

    def make(kind: str, sizes: list[int], ragged: bool = False, **options: Any) -> Step:
        xs, lengths = data(sizes, ragged)
        layer = getattr(module.nn, kind)(*sizes[2:], **options)
        parameters = list(layer.parameters())
        for p, value in zip(
            parameters, values([tuple(p.shape) for p in parameters], sizes[3]), strict=True
        ):
            p.data = module.from_numpy(value)
        optimizer = module.optim.SGD(parameters, lr=RATE)
        given = module.from_numpy(xs)

        def step() -> float:
            optimizer.zero_grad()
            if lengths is None:
                hs = layer(given)[0]
            else:
                packed = rnn.pack_padded_sequence(
                    given, module.from_numpy(lengths), enforce_sorted=False
                )
                hs = rnn.pad_packed_sequence(layer(packed)[0], total_length=len(xs))[0]
            loss = (hs * hs).mean()
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        return step

    return make


def make(name: str) -> tuple[str, Callable[..., Any]]:
    family, _, how = name.partition("-")
    ours = family == "loopgrad"
    maker = loopgrad(how) if ours else torch(int(sys.argv[2]))
    current: list[Step] = []

    def answer(what: str, at_least: float = 0.0, **case: Any) -> Any:
        if what == "sample":
            share = MANY if how == "many" else 1
            return {"seconds": seconds_a_call(current[0], at_least) / share}
        step = maker(**case)
        current[:] = [step]
        if how == "many":  # its last loss is that of another step
            checked = loopgrad("")(**case)
            step()
            return {"loss": [checked() for _ in range(WARM)][-1]}
        return {"loss": [step() for _ in range(WARM)][-1]}

    return ("this checkout" if ours else version("torch")), answer


serve(make)
