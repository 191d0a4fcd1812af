"""LoopNode: a node whose attribute is a body graph, run once per step.

What its attrs say, and where which port stands, is in `loops/form.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from autograd.describe import describe
from autograd.errors import GraphError, ShapeError
from autograd.execute.reference import compute
from autograd.graph import Graph
from autograd.node import Node, tensor
from autograd.op import Exit, Op, Port, Trips, register
from autograd.spec import UNKNOWN, Array, Spec
from autograd.trampoline import Task
from loops.form import MAX_LENGTH, Ports, lags_of, loop_attrs, most_steps, plain, ports_of
from loops.running import run_loop
from loops.unroll import expand_loop


class Loop(Op):
    """The op of LoopNode. Attrs: `body`, the counts of `Ports`, `reverse`, `length`.

    `length` is None where per-step inputs say how long the loop runs, so that the same graph
    serves any length. With `reverse`, step T-1 runs first; slices and outputs keep their index.
    """

    multiple = True

    def forward(self, *arrays: Array, **attrs: Any) -> Any:
        return compute(self, arrays, attrs)

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
        return run_loop(values, attrs, watch, path or attrs["body"].name)

    def infer(
        self,
        *specs: Spec,
        body: Graph,
        shared: int,
        states: int,
        each: int,
        reverse: bool,
        length: int | None,
        until: bool = False,
        bounded: bool = False,
        counted: bool = False,
        lags: tuple[Any, ...] = (),
        rows: tuple[Any, ...] = (),
        source: Graph | None = None,
        derived: tuple[Any, ...] = (),
    ) -> tuple[Spec, ...]:
        ports = Ports(shared, states, each)
        _check_counts(specs, body, ports, reverse, length)
        given = ports.split(specs)
        wanted = ports.split([node.spec for node in body.inputs.values()])
        names = ports.split(list(body.inputs))
        next_states, collected = ports.split_outputs([n.spec for n in body.outputs.values()])
        _check_form(given, body, until, bounded, counted, lags, rows, reverse, length)
        lags = lags or (1,) * states
        for name, spec, port in zip(names[0], given[0], wanted[0], strict=True):
            if spec != port:
                raise ShapeError(f"the body expects '{name}' to be {port}, but it is {spec}")
        for name, spec, port in zip(names[2], given[2], wanted[2], strict=True):
            if spec.shape[1:] != port.shape or spec.ndim == 0 or spec.dtype != port.dtype:
                raise ShapeError(
                    f"per-step input '{name}' gives the body {port} each step, so it must be "
                    f"{_stacked('T', port)}, but it is {spec}"
                )
        for name, spec, port, after, lag in zip(
            names[1], given[1], wanted[1], next_states, lags, strict=True
        ):
            if spec != _with_lag(port, lag):
                raise ShapeError(
                    f"state '{name}' is read {lag} steps later, so it must start as "
                    f"{_with_lag(port, lag)}, but starts as {spec}"
                    if lag > 1
                    else state_changed(name, spec, after)
                )
            if port != after:
                raise ShapeError(state_changed(name, port, after))
        steps_taken = _length(given[2], names[2], length, until or counted)
        return (*given[1], *[Spec((steps_taken, *s.shape), s.dtype) for s in collected])

    def fit(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Task:
        body: Graph = attrs["body"]
        shared, states, sequences = ports_of(attrs).split(specs)
        states = [
            s if lag == 1 else Spec(s.shape[1:], s.dtype)
            for s, lag in zip(states, lags_of(attrs), strict=True)
        ]
        wanted = [*shared, *states, *[Spec(s.shape[1:], s.dtype) for s in sequences]]
        if wanted == [node.spec for node in body.inputs.values()]:
            return attrs
        redrawn = yield body.redrawn(dict(zip(body.inputs, wanted, strict=True)))
        return {**attrs, "body": redrawn}

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Any:
        from loops.gradient import loop_gradient

        return loop_gradient(needs, g, y, xs, attrs)

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        from loops.batch import batched_loop

        return batched_loop(batched, xs, attrs)

    def replaceable(self, attrs: dict[str, Any]) -> tuple[str, ...]:
        """A ragged loop's body is drawn again for fewer rows, so it stays as it was drawn."""
        return () if attrs.get("rows") else ("body",)

    def expand(
        self, attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int | None
    ) -> list[Node] | None:
        return expand_loop(attrs, inputs, path, factor)

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        return (attrs["body"],)

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        ports = ports_of(attrs)
        total = ports.shared + ports.states + ports.each
        shared, states, each = ports.split(range(total))
        entries = [
            *[Port("shared", i, i, steers=i == 0 and attrs.get("counted", False)) for i in shared],
            *[
                Port("state", i, i, fed_by=k, lag=lag, steers=k == 0 and attrs.get("until", False))
                for k, (i, lag) in enumerate(zip(states, lags_of(attrs), strict=True))
            ],
            *[Port("each", i, i) for i in each],
        ]
        outputs = range(len(attrs["body"].outputs))
        exits = [Exit("final" if i < ports.states else "stacked", i, i) for i in outputs]
        return tuple(entries), tuple(exits)

    def output_name(self, attrs: dict[str, Any], index: int) -> str:
        return str(list(attrs["body"].outputs)[index])

    def trips(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Trips:
        sequences = ports_of(attrs).split(specs)[2]
        length = most_steps(sequences, attrs)
        exact = not (attrs.get("until") or attrs.get("counted"))
        return Trips(None if length is UNKNOWN else length, exact)

    def saved(self, attrs: dict[str, Any], needs: Sequence[bool], given: Sequence[bool]) -> Task:
        from loops.gradient import saved_by

        return saved_by(attrs, needs, given)

    def lower(self, level: Any, node: Node) -> Any:
        from loops.lower import lower_loop

        return lower_loop(level, node)

    def working(
        self, inputs: Sequence[Spec], outputs: Sequence[Spec], attrs: dict[str, Any]
    ) -> Task:
        from loops.memory import loop_working

        return loop_working(inputs, attrs)

    def label(self, attrs: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if attrs["length"] is not None:
            shown["bound" if attrs.get("bounded") else "length"] = attrs["length"]
        if attrs["reverse"]:
            shown["reverse"] = True
        for key in ("until", "counted"):
            if attrs.get(key):
                shown[key] = attrs[key]
        if attrs.get("rows"):
            shown.pop("counted")
            shown["ragged"] = True
        return shown


def state_changed(name: str, before: Spec, after: Spec, nodes: Sequence[Node] = ()) -> str:
    """Return what is said of a state that does not come out of a step as it went in.

    `nodes`, where they are known, are its initial value and what it is fed with.
    """
    given = "; it starts with {} and is fed with {}".format(*map(describe, nodes)) if nodes else ""
    return (
        f"state '{name}' enters the loop as {before}, but is {after} after one step{given}; a "
        "state keeps its shape and dtype, so change its initial value or what is fed to it"
    )


def _check_counts(
    specs: Sequence[Spec], body: Any, ports: Ports, reverse: Any, length: Any
) -> None:
    """Check attrs as a file may give them: of the right types, and adding up."""
    numbers = (ports.shared, ports.states, ports.each)
    if not all(type(n) is int and n >= 0 for n in numbers) or type(reverse) is not bool:
        raise GraphError(
            f"a loop counts its ports in whole numbers >= 0 and its reverse is a bool, but "
            f"they are {numbers} and {reverse!r}"
        )
    if not isinstance(body, Graph):
        raise GraphError(f"the body of a loop must be a graph, but is {type(body).__name__}")
    if not sum(numbers) == len(specs) == len(body.inputs) or len(body.outputs) < ports.states:
        raise GraphError(
            f"a loop with {numbers[0]} shared ports, {numbers[1]} states and {numbers[2]} per-step "
            f"inputs does not fit a body with {len(body.inputs)} inputs and {len(body.outputs)} "
            f"outputs and a node with {len(specs)} inputs"
        )
    if length is not None and (type(length) is not int or not 0 <= length <= MAX_LENGTH):
        raise GraphError(
            f"the length of a loop is a whole number from 0 to {MAX_LENGTH}, but is {length!r}"
        )


def _check_form(
    given: Sequence[Sequence[Spec]],
    body: Graph,
    until: Any,
    bounded: Any,
    counted: Any,
    lags: Any,
    rows: Any,
    reverse: bool,
    length: int | None,
) -> None:
    """Check the attrs of loops whose length the data decide, delayed states and ragged batches."""
    shared, states, sequences = given
    if not all(type(flag) is bool for flag in (until, bounded, counted)):
        raise GraphError("until, bounded and counted of a loop must be bools")
    if until:
        if reverse or counted or rows:
            raise GraphError("a loop that is stopped by its data runs forward, all rows together")
        flags = [Spec((), np.dtype(bool)), Spec((), np.dtype(np.int64))]
        if list(states[:2]) != flags or any(lag != 1 for lag in lags[:2]):
            raise GraphError(
                "the first states of a loop that is stopped by its data must be a bool that says "
                f"whether to go on and the int64 number of steps, but are {list(states[:2])}"
            )
    if bounded and (not until or sequences or length is None):
        raise GraphError("a bound is for a loop without per-step inputs that its data stop")
    if counted and (not shared or shared[0].dtype.kind not in "iu" or shared[0].ndim != bool(rows)):
        raise GraphError(
            "the first shared input of a counted loop must be the integer number of its steps, "
            f"one for each row if it is ragged, but is {shared[0] if shared else 'missing'}"
        )
    if lags and not (len(lags) == len(states) and all(type(k) is int and k >= 1 for k in lags)):
        raise GraphError(f"a loop needs one lag >= 1 for each of its states, but has {lags}")
    ends = [node.spec for node in (*body.inputs.values(), *body.outputs.values())]
    if rows and not (
        counted
        and len(rows) == len(ends)
        and all(
            type(axis) is int and -1 <= axis < spec.ndim
            for axis, spec in zip(rows, ends, strict=True)
        )
        and len({s.shape[k] for s, k in zip([shared[0], *ends], [0, *rows], strict=True) if k >= 0})
        == 1
    ):
        raise GraphError(
            "a ragged loop is counted, says for each port of its body where the batch rows are, "
            f"and has equally many everywhere, but says {rows}"
        )


def _with_lag(spec: Spec, lag: int) -> Spec:
    return spec if lag == 1 else Spec((lag, *spec.shape), spec.dtype)


def _length(
    sequences: Sequence[Spec], names: Sequence[str], length: int | None, dynamic: bool
) -> int:
    """Return the number of steps there can be, on which per-step inputs must agree."""
    if not sequences:
        if length is None and not dynamic:
            raise GraphError(
                "a loop without per-step inputs needs a length: LoopNode(name, length=8)"
            )
        return UNKNOWN if length is None else length
    lengths = [spec.shape[0] for spec in sequences]
    if len(set(lengths)) > 1:
        each = ", ".join(f"'{name}' has {n}" for name, n in zip(names, lengths, strict=True))
        raise ShapeError(f"per-step inputs must have equally many steps, but {each}")
    return lengths[0]


def _stacked(length: Any, spec: Spec) -> str:
    return f"{spec.dtype.name}[{', '.join(map(str, (length, *spec.shape)))}]"


class LoopNode(Node):
    """A loop, drawn in a `with` block: what is drawn inside is the body, run once per step.

        with LoopNode("rnn") as rnn:
            x = rnn.each(xs)                          # one slice of xs a step
            before = rnn.branch("h", ag.zeros((1, 4)))  # from the step before; first: the zeros
            h = ag.tanh(x @ u + before @ w)           # u and w are captured: shared by all steps
            rnn.feed(before, h)
            hs = rnn.collect(h)                       # stacked over steps; usable after the block
        last = rnn.final(before)

    `length` is needed only where no per-step input gives it. With `reverse` the last step runs
    first. A loop may stop early: see `until`; then `length` is the most steps there can be, and so
    is `bound`, but to reach the bound is an error.

    `truncate=k` cuts backpropagation through time: gradients flow through states within blocks of k
    steps only, counted from the first step that runs. Values are the same; the gradient is that of
    running block after block, each from a state that is a constant.

    `lengths` (one integer a row of the batch) makes the loop ragged: row b runs `lengths[b]` steps,
    and gets what it would get alone. Slices and states have the rows on their first axis. A row's
    final state is that after its last step; what is collected is zero beyond it. Rows that are
    finished leave the batch; with `ragged="mask"` they stay and are masked, as `loops/masked.py`
    says: more work a step, but it can be unrolled and mapped over as any loop.
    """

    __slots__ = ("_builder",)
    _builder: Any

    def __init__(
        self,
        name: str = "loop",
        length: int | None = None,
        reverse: bool = False,
        *,
        bound: int | None = None,
        truncate: int | None = None,
        lengths: Any = None,
        ragged: str = "shrink",
    ):
        from loops.builder import start
        from loops.options import Options

        most, block = plain(bound), plain(truncate)
        start(self, Options(name, plain(length), reverse, most, block, lengths, ragged))

    def __enter__(self) -> LoopNode:
        self._builder.open()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._builder.close(self, failed=kind is not None)

    def each(
        self,
        xs: Any,
        name: str | None = None,
        *,
        lag: int | None = None,
        lead: int | None = None,
        before: Any = None,
        after: Any = None,
    ) -> Node:
        """Return the slice `xs[t]` that step t sees. `xs` lies outside; its first axis is time.

        A parameter may be given: each step then has its own part of it.

        With `lag=k` it is `xs[t - k]`, with `lead=k` `xs[t + k]`: ago or ahead in time, also in a
        loop that runs in reverse. `before`, or with a lead `after`, says what lies outside: rows in
        the order of time (k or more, up to the start, or from the end), one row or number for all
        of them, "edge" (the first or last row again) or "wrap" (round to the other end). What lies
        after a row of a ragged loop is what lies after its own last step.
        """
        port: Node = self._builder.each(xs, name, lag, lead, before, after)
        return port

    @overload
    def branch(
        self, name: str, init: Any = None, *, lag: int | None = None, history: Any = None
    ) -> Node: ...

    @overload
    def branch(
        self, name: str, init: Any = None, *, lags: Sequence[int], history: Any = None
    ) -> tuple[Node, ...]: ...

    def branch(
        self,
        name: str,
        init: Any = None,
        *,
        lag: int | None = None,
        lags: Sequence[int] | None = None,
        history: Any = None,
    ) -> Any:
        """Return the state `name`: `init` in the first step, then what `feed` gave it.

        With `lag=k` it is what `feed` gave it k steps ago. With `lags=(1, 5)` it is read at several
        lags: a tuple with one node for each, all fed by feeding one of them.

            h1, h5 = step.branch("h", init, lags=(1, 5))
            step.feed(h1, ag.tanh(x + h1 @ w + h5 @ v))

        Before the start every value is `init`; or give `history`, with one row a step, as many as
        the longest lag, in the order of time. In reverse "before the start" is after the end.
        """
        ports = self._builder.branch(name, init, lag, lags, history)
        return ports[0] if lags is None else ports

    def feed(self, branch: Node, value: Any) -> None:
        """Make `value` what `branch` is in the next step, and in later ones at other lags."""
        self._builder.feed(branch, value)

    def until(self, stop: Any, unless: Any = None) -> None:
        """Stop after this step where `stop`, a bool scalar, is true.

        `unless`, a bool scalar known before the loop, is true where not even the first step is to
        run. Of what is collected, rows of steps that did not run are zero.
        """
        self._builder.until(stop, unless)

    @property
    def index(self) -> Node:
        """Inside the block: the number of the running step, an int64; 0 in the first that runs."""
        port: Node = self._builder.index()
        return port

    @property
    def steps(self) -> Node:
        """The number of steps taken, an int64 usable after the block (a ragged loop: one a row)."""
        node: Node = self._builder.steps(self)
        return node

    def collect(self, value: Any, name: str | None = None) -> Node:
        """Return `value` of all steps, stacked along a new first axis, usable after the block."""
        node: Node = self._builder.collect(self, value, name)
        return node

    def final(self, branch: Node) -> Node:
        """Return what the last step fed to `branch` (its initial value if there is no step).

        Of a state that is read k > 1 steps later, these are the last k values, in the order of
        time: k rows, as `history` takes them.
        """
        node: Node = self._builder.final(self, branch)
        return node

    @property
    def body(self) -> Graph:
        """The graph of one step."""
        self._check_drawn("body")
        body: Graph = self.attrs["body"]
        return body

    @property
    def length(self) -> int | None:
        """The number of steps; where the data stop the loop, the most there can be.

        None where nothing but the data ends it: see `steps`.
        """
        self._check_drawn("length")
        sequences = ports_of(self.attrs).split(self.inputs)[2]
        length: int | None = most_steps(sequences, self.attrs)
        return length

    def _check_drawn(self, what: str) -> None:
        if "body" not in self.attrs:
            raise GraphError(
                f"loop '{self.name}' has no {what}: its `with` block has not ended, or it was "
                "computed from tensors that are not recorded; draw it from autograd.input"
            )


loop = register(Loop("loop"))
Loop.node_type = LoopNode


def repeat(
    body: Graph,
    shared: Sequence[Any] = (),
    init: Sequence[Any] = (),
    each: Sequence[Any] = (),
    length: int | None = None,
    reverse: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Return `(final states, stacked outputs)` of running `body` once per step, as one node.

    The inputs of `body` are [shared, states, slices], its outputs [next states, collected]. This
    is the door for a body that is drawn once and used many times.
    """
    if not isinstance(body, Graph):
        raise GraphError(
            f"repeat takes a body that is a Graph, but got {type(body).__name__}; draw it with "
            "autograd.trace(fn, *shapes), or pass the function to scan"
        )
    parameters = ", ".join(body.parameters)
    if parameters:
        raise GraphError(
            f"the body '{body.name}' given to repeat holds {parameters} itself; make them inputs "
            "of the body and pass them in `shared`, so that their gradient comes out"
        )
    if len(body.inputs) != len(shared) + len(init) + len(each) or len(body.outputs) < len(init):
        raise GraphError(
            f"repeat was given {len(shared)} shared values, {len(init)} states and {len(each)} "
            f"per-step inputs, but the body '{body.name}' has {len(body.inputs)} inputs "
            f"({', '.join(body.inputs)}) and {len(body.outputs)} outputs; its inputs are [shared, "
            "states, slices], its outputs [next states, collected]"
        )
    ports = Ports(len(shared), len(init), len(each))
    length = plain(length)
    for x in map(tensor, each):
        if length is not None and x.shape[:1] != (length,):
            raise ShapeError(
                f"per-step input {describe(x)} given to repeat must have {length} steps, its length"
            )
    attrs = loop_attrs(body, ports, reverse=reverse, length=None if each else length)
    outputs = loop(*shared, *init, *each, **attrs)
    return ports.split_outputs(outputs)
