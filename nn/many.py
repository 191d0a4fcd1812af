"""N training steps in one call: a loop whose body is the graph of a step, run in chunks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from time import perf_counter
from typing import Any

import numpy as np

import autograd as ag
from autograd import Graph
from autograd.arrays import apart, locked
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.graph import unique_name
from autograd.node import draw_input
from autograd.scope import current_state, drawing
from autograd.spec import Array, Spec, spec_of
from autograd.structure import interned
from loops import repeat
from nn.drawn import Drawn
from nn.optim import Optimizer

Progress = Callable[[int, int, dict[str, Array]], Any]
"""Is told after each chunk: the steps done, the steps there are, the outputs of the chunk."""

LONGEST_CHUNK = 1 << 20
LOOP = "steps"
"""What the loop over steps is called."""


@dataclass(frozen=True)
class Batches:
    """What N steps are given: stacked batches, or data sets and which rows each step takes."""

    each: dict[str, Array]
    same: dict[str, Array]
    indices: Array | None
    axis: int

    def steps(self, wanted: int | None) -> int:
        """Return the number of steps, on which all must agree."""
        if isinstance(wanted, (np.ndarray, ag.Node)):
            raise GraphError(
                f"steps is how many there are, but an array of shape {wanted.shape} came; batches "
                "are given by name, as the loss function calls them: many(xs=...)"
            )
        if wanted is not None and (type(wanted) is bool or not _whole(wanted) or wanted < 0):
            raise GraphError(f"steps, how many there are, must be >= 0, but is {wanted!r:.60}")
        if type(self.axis) is bool or not _whole(self.axis):
            raise GraphError(f"axis, that of the examples, must be a number, but is {self.axis!r}")
        if self.indices is None and self.axis:
            raise GraphError(
                f"axis={self.axis} says along which axis `indices` choose rows, but there are none;"
                " without them the first axis of the batches is the steps: np.moveaxis(xs, k, 0)"
            )
        if self.indices is not None:
            self._check_indices(self.indices)
            known = {"indices": len(self.indices)}
        else:
            for name, x in self.each.items():
                if x.ndim == 0:
                    raise ShapeError(
                        f"'{name}' has no axis of steps; give what is the same in all steps as "
                        f"same={{'{name}': ...}}"
                    )
            known = {f"'{name}'": len(x) for name, x in self.each.items()}
        if wanted is not None:
            known["steps"] = wanted
        if len(set(known.values())) != 1:
            said = ", ".join(f"{name}: {count}" for name, count in known.items())
            raise ShapeError(
                "the batches must say how many steps there are, and agree on it (their first axis "
                f"is the steps; what is the same in all steps goes into same=), but are {said}"
                if known
                else "many() was given no batches, so it needs steps="
            )
        return next(iter(known.values()))

    def _check_indices(self, indices: Array) -> None:
        if indices.dtype.kind not in "iu" or indices.ndim == 0:
            raise DTypeError(
                f"indices must be integers of shape (steps, examples), but are {spec_of(indices)}"
            )
        if not self.each:
            raise GraphError("indices choose rows of data sets, but none was given")
        for name, x in self.each.items():
            if not 0 <= self.axis < x.ndim:
                raise ShapeError(f"'{name}' is {spec_of(x)}, so it has no axis {self.axis}")
            size = x.shape[self.axis]
            if indices.size and (indices.min() < 0 or indices.max() >= size):
                raise ShapeError(
                    f"indices go from {indices.min()} to {indices.max()}, but '{name}' has "
                    f"{size} rows along axis {self.axis}"
                )

    def given(self) -> str:
        """Say what one step is given of what came."""
        came = {**self.each, **self.same}
        parts = [
            f"'{name}' {spec}, of {spec_of(came[name])}" for name, spec in self.specs().items()
        ]
        return "; ".join(parts) or "nothing"

    def specs(self) -> dict[str, Spec]:
        """Return what one step is given."""
        found = {}
        for name, x in self.each.items():
            shape = x.shape[1:]
            if self.indices is not None:
                k = self.axis
                shape = (*x.shape[:k], *self.indices.shape[1:], *x.shape[k + 1 :])
            found[name] = Spec(shape, x.dtype)
        return found | {name: spec_of(x) for name, x in self.same.items()}

    def shared(self) -> dict[str, Array]:
        """Return what all steps are given."""
        return self.same if self.indices is None else {**self.same, **self.each}

    def batch(self, step: int) -> dict[str, Array]:
        """Return what one step is given of its own."""
        if self.indices is None:
            return {name: x[step] for name, x in self.each.items()}
        return {name: x.take(self.indices[step], self.axis) for name, x in self.each.items()}

    def rows(self, start: int, count: int) -> dict[str, Array]:
        """Return what some of the steps are given each."""
        part = slice(start, start + count)
        if self.indices is not None:
            return {"indices": self.indices[part].astype(np.int64, copy=False)}
        return {name: x[part] for name, x in self.each.items()}


class Loops:
    """N training steps as loops over chunks of the batches.

    A loop is machine code whole or not at all, while a single step may leave it for an op that has
    no native rule and come back. So where a step has such an op, steps are taken one by one, by
    `take`.
    """

    def __init__(
        self,
        drawn: Drawn,
        data: Batches,
        outputs: tuple[str, ...],
        backend: str | None,
        take: Callable[[Drawn, dict[str, Array]], Sequence[Array]],
    ) -> None:
        self.drawn = drawn
        self.backend = backend
        self.take = take
        self.data = data
        self.outputs = outputs
        self.latest: dict[str, Array] = {}
        """The outputs of the chunk that ran last."""

    def chunks(self, total: int, seconds: float) -> Any:
        """Run all steps; yield how many are done after each chunk."""
        done = 0
        while done < total:
            size = min(self.drawn.chunk, total - done)
            graph = None if self.drawn.singly else self._ready(size)
            start = perf_counter()
            if graph is None:
                self._run_singly(done, size)
            else:
                self._run(graph, done, size)
            if size == self.drawn.chunk:
                self.drawn.chunk = _next_chunk(size, (perf_counter() - start) / size, seconds)
            done += size
            yield done

    def _run(self, graph: Graph, start: int, count: int) -> None:
        optimizer, drawn = self.drawn.optimizer, self.drawn
        first = optimizer.steps
        values = [
            *drawn.kept_values(),
            *self.data.shared().values(),
            *drawn.changing(),
            *_numbers(optimizer, first, count),
            np.arange(first + 1.0, first + count + 1.0),
            *self.data.rows(start, count).values(),
        ]
        results = computed(graph, values, self.backend)
        drawn.replace(results, count)
        arrays = [*self.data.each.values(), *self.data.same.values()]
        self.latest = {
            name: locked(apart(x, arrays))
            for name, x in zip(self.outputs, results[drawn.width :], strict=True)
        }

    def _ready(self, count: int) -> Graph | None:
        """Return the loop over `count` steps, compiled: this is done once and not to be timed.

        None if steps are better taken one by one.
        """
        graph = self._graph(count)
        plan = graph.compile(self.backend)
        watched = current_state().check is not None
        self.drawn.singly = plan.backend == "native" and LOOP in plan.fallbacks and not watched
        return None if self.drawn.singly else graph

    def _run_singly(self, start: int, count: int) -> None:
        drawn, take = self.drawn, self.take
        places = [drawn.outputs.index(name) for name in self.outputs]
        rows = []
        for step in range(start, start + count):
            results = take(drawn, {**self.data.same, **self.data.batch(step)})
            rows.append([results[i] for i in places])
        self.latest = {
            name: locked(np.stack(column))
            for name, column in zip(self.outputs, zip(*rows, strict=True), strict=True)
        }

    def _graph(self, count: int) -> Graph:
        """Return the loop over `count` steps."""
        data = self.data
        form = (data.indices is not None, data.axis, tuple(data.same), self.outputs)
        sets = [(name, spec_of(x)) for name, x in data.shared().items()]
        examples = None if data.indices is None else data.indices.shape[1:]
        key = (*form, *sets, examples)
        graph: Graph | None = self.drawn.loops.get((count, key))
        if graph is not None:
            return graph
        body = self.drawn.loops.get(key) or self.drawn.loops.put(key, self._body())
        looped: Graph = self.drawn.loops.put((count, key), self._looped(body, count))
        return looped

    def _looped(self, body: Graph, count: int) -> Graph:
        """Return the graph of the loop that runs `body` for `count` steps."""
        shared = len(self.drawn.kept) + len(self.data.shared())
        cut = shared + self.drawn.width
        inputs = {}
        for i, (name, node) in enumerate(body.inputs.items()):
            shape = node.shape if i < cut else (count, *node.shape)
            inputs[name] = draw_input(name, Spec(shape, node.dtype), None, node.tracked)
        nodes = list(inputs.values())
        with drawing(None):
            finals, stacks = repeat(body, nodes[:shared], nodes[shared:cut], nodes[cut:])
        (*finals, *stacks)[0].inputs[0].named(LOOP)
        outputs = dict(zip(body.outputs, [*finals, *stacks], strict=True))
        return interned(Graph.of(inputs, outputs, f"steps of {body.name}"))

    def _body(self) -> Graph:
        """Return the graph of a step with its inputs in the order of a loop's body.

        With indices it takes its batch out of the data sets.
        """
        graph, width, data = self.drawn.graph, self.drawn.width, self.data
        names = list(graph.inputs)
        kept, first = len(self.drawn.kept), len(names) - len(self.drawn.batch)
        states, scalars = names[kept : kept + width], names[kept + width : first]
        results = dict(list(graph.outputs.items())[:width])
        results |= {name: graph.outputs[name] for name in self.outputs}
        if data.indices is None:
            order = [*names[:kept], *data.same, *states, *scalars, *data.each]
            return Graph.of({name: graph.inputs[name] for name in order}, results, graph.name)
        order = [*names[:kept], *data.same, *data.each, *states, *scalars]
        specs = {name: graph.inputs[name].spec for name in order}
        specs |= {name: spec_of(x) for name, x in data.each.items()}
        index = unique_name("indices", dict.fromkeys(names, 2))
        specs[index] = Spec(data.indices.shape[1:], np.dtype(np.int64))
        ports = {name: draw_input(name, spec, None) for name, spec in specs.items()}
        with drawing(None):
            given = {
                name: ag.take(ports[name], ports[index], data.axis)
                if name in data.each
                else ports[name]
                for name in names
            }
            outputs = Graph.of(graph.inputs, results, graph.name).inline(list(given.values()))
        return Graph.of(ports, dict(zip(results, outputs, strict=True)), graph.name)


def _next_chunk(size: int, each: float, seconds: float) -> int:
    """Return how many steps of `each` seconds to run at a time, a power of two.

    `size` itself where that is nearly as good: another size is another graph to make ready.
    """
    wanted = min(max(1, int(seconds / max(each, 1e-9))), LONGEST_CHUNK)
    if wanted // 4 < size <= wanted * 2:
        return size
    return 1 << (wanted.bit_length() - 1)


def _numbers(optimizer: Optimizer, first: int, count: int) -> list[Array]:
    """Return each of the optimizer's numbers in each of `count` steps."""
    if not optimizer.scheduled:
        return [np.full(count, x) for x in optimizer.numbers(first).values()]
    rows = [optimizer.numbers(step) for step in range(first, first + count)]
    return [np.array([row[name] for row in rows]) for name in optimizer.number_names]


def computed(graph: Graph, values: Sequence[Array], backend: str | None) -> list[Array]:
    """Return the outputs for `values` of the inputs, as they come out of the plan."""
    check = current_state().check
    if check is not None:  # who looks at every value needs every node
        results: list[Array] = check.run_graph(graph, values, None)
        return results
    return graph.compile(backend).execute(values)


def check_arguments(batches: Any, same: Any, progress: Any, seconds: Any) -> None:
    """Check what `TrainingStep.many` is given, before anything is drawn or run."""
    if same is not None and not isinstance(same, Mapping):
        raise GraphError(
            f"same takes a dict of what is the same in all steps, but got {type(same).__name__}; "
            "write for example same={'h0': h0}"
        )
    twice = [name for name in batches if name in (same or {})]
    if twice:
        raise GraphError(
            f"'{twice[0]}' is given twice, for each step and in same=; leave one of them out"
        )
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise GraphError(
            f"seconds, how long a chunk takes, must be a number >= 0, but is {seconds!r:.60}"
        )
    if progress is None or isinstance(progress, bool):
        return
    if not callable(progress):
        raise GraphError(
            f"progress is True or a function of (steps done, all steps, outputs), but is "
            f"{type(progress).__name__} {progress!r:.60}"
        )
    try:
        signature(progress).bind(0, 0, {})
    except TypeError as error:
        raise GraphError(
            "progress is called with (steps done, all steps, outputs of the chunk), but the "
            f"function takes {signature(progress)}: {error}"
        ) from None
    except ValueError:  # written in C, says nothing of what it takes
        return


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer))


def told(progress: Progress | bool | None, total: int) -> tuple[Progress, Callable[[], Any]]:
    """Return what is told of each chunk, and what is called at the end."""
    if callable(progress):
        return progress, lambda: None
    if not progress:
        return lambda done, total, outputs: None, lambda: None
    try:
        from tqdm import tqdm
    except ImportError:
        return _write_line, lambda: sys.stderr.write("\n")
    bar = tqdm(total=total, unit="step", leave=False)

    def tell(done: int, total: int, outputs: dict[str, Array]) -> None:
        if "loss" in outputs:
            bar.set_postfix(loss=f"{float(outputs['loss'][-1]):.4g}", refresh=False)
        bar.update(done - bar.n)

    return tell, bar.close


def _write_line(done: int, total: int, outputs: dict[str, Array]) -> None:
    """Write over the line with how far it is."""
    loss = f", loss {float(outputs['loss'][-1]):.4g}" if "loss" in outputs else ""
    sys.stderr.write(f"\r{done:,} of {total:,} steps{loss}".ljust(60))
    sys.stderr.flush()
