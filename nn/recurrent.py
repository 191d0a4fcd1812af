"""Recurrent layers: a cell, and the cell as the body of a loop. Nobody differentiates them here.

`Recurrent` runs any cell: layer on layer, in both directions, over ragged batches, block by block.
`RNN`, `LSTM` and `GRU` in `nn/rnn.py` are that with torch's cells and names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from warnings import warn

import autograd as ag
from autograd import Parameter
from autograd.describe import brief, describe, listed_names
from autograd.errors import GraphError, ShapeError
from autograd.execute.reference import mark_often, mark_repeated
from autograd.graph import ancestors, unique_name
from autograd.node import Node, draw_input
from autograd.scope import Scope, current_state, drawing
from autograd.spec import Spec
from autograd.tree import flatten, shown, unflatten
from loops import CarriedState, LoopNode, repeat
from nn.cells import Cell, spread_over_batch
from nn.dropout import Dropout
from nn.init import Rng, generator
from nn.module import Module
from nn.randomness import StepKeys

WAYS = ("forward", "backward")
MOST = 32
"""For how many kinds of input (sizes of batches, dtypes) the step of a fixed cell is kept."""


class Recurrent(Module):
    """A layer of any cell: a loop over time whose body is one step, or several such loops.

        layer = nn.Recurrent(cell)
        ys, last = layer(xs)          # xs (T, B, ...), ys (T, B, H), last: the state after T steps

    `cell` is one, or a list of them: then each is a layer that reads what the one before put out.
    With `bidirectional` each layer is a pair of cells, the second of which reads the sequence from
    its end; their outputs are joined along the last axis. States are those of the cell; for several
    layers a list of one each, for both directions a pair. Without a state, cells start from
    their `initial_state()`.

    - `dropout`: what layers but the last put out is dropped with that probability while training;
      with `variational` the same units at all steps (Gal and Ghahramani 2016).
    - `batch_first`: sequences are (B, T, ...) outside of the layer.
    - `stateful`: a call without a state goes on where the last one ended (`state`, `set_state`,
      `reset_state`). No gradient goes back into the call before: `state_grad` is what would have.
    - `truncate=k`: gradients stay within blocks of k steps.

    `layer(xs, state, lengths=lengths)` runs row b for `lengths[b]` steps: its last state is that
    after these, its outputs beyond them are zeros, and what lies in the padding reaches nothing.
    `layer(xs, watch=("gate",))` returns a third value, a dict of what cells named so, at all
    steps (T, B, ...); of several layers the names are "0.gate", "1.backward.gate".

    Each layer and direction is one LoopNode, also on tensors: steps are never recorded one by one.
    """

    def __init__(
        self,
        cell: Any,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        batch_first: bool = False,
        stateful: bool = False,
        truncate: int | None = None,
        rng: Rng = None,
    ) -> None:
        self.bidirectional = bidirectional
        self.several = isinstance(cell, (list, tuple)) and not (
            bidirectional and any(isinstance(each, Cell) for each in cell)
        )
        """Whether states are lists, of one for each layer."""
        self.cells = _checked_cells(cell, bidirectional)
        self.batch_first = batch_first
        self.stateful = stateful
        self.truncate = truncate
        rng = generator(rng)
        if dropout and len(self.cells) == 1:
            warn(
                f"dropout={dropout} drops between layers, and this {type(self).__name__} has one; "
                "put nn.Dropout before or after it",
                stacklevel=2,
            )
        self.dropout = Dropout(dropout, variational=variational, rng=rng) if dropout else None
        self._seed = int(rng.integers(2**63))
        self._calls = 0
        self._carried = CarriedState()
        self._kept: dict[Any, tuple[tuple[Any, ...], ag.Graph, list[Node]]] = {}
        """Bodies of fixed cells, with what they were drawn from and the nodes they share."""

    def members(self) -> Iterator[tuple[str, Parameter | Module]]:
        for k, cells in enumerate(vars(self).get("cells", ())):
            for way, cell in zip(WAYS, cells, strict=False):
                path = f"cells.{k}" if self.several else "cell"
                yield (f"{path}.{way}" if self.bidirectional else path), cell
        yield from ((name, x) for name, x in super().members() if not name.startswith("cells."))

    @property
    def num_layers(self) -> int:
        """How many layers there are."""
        return len(self.cells)

    # Calls.

    def forward(
        self, xs: Any, state: Any = None, *, lengths: Any = None, watch: Any = ()
    ) -> tuple[Any, ...]:
        """Return (ys, last state), and a dict of what is watched if something is."""
        fresh = self._carried.value is None
        try:
            return self._called(xs, state, lengths, watch)
        except BaseException:
            if fresh:
                self.reset_state()  # the zeros of a call that failed are no state to go on from
            raise

    def _called(self, xs: Any, state: Any, lengths: Any, watch: Any) -> tuple[Any, ...]:
        xs = self._checked_input(ag.tensor(xs))
        outside = xs
        if self.batch_first:
            xs = xs.swapaxes(0, 1)
        starts = self._starts(xs, state, outside)
        watch = [watch] if isinstance(watch, str) else watch
        wanted = listed_names("watch", watch) if watch else ()
        watched: dict[str, Node] = {}
        finals = []
        for k, (cells, start) in enumerate(zip(self.cells, starts, strict=True)):
            if k and self.dropout is not None:
                xs = self.dropout(xs)
            ys = []
            after = []
            for way, cell, before in zip(WAYS, cells, start, strict=False):
                y, final, seen = self._run(cell, xs, before, k, way, lengths, wanted)
                ys.append(y)
                after.append(final)
                watched |= seen
            xs = ys[0] if len(ys) == 1 else ag.concat(ys, axis=-1)
            finals.append(after)
        last = self._packed(finals)
        if self.stateful and not (xs.virtual or current_state().drawing):
            self._carried.carry(last)
        if self.batch_first:
            xs = xs.swapaxes(0, 1)
            watched = {name: x.swapaxes(0, 1) for name, x in watched.items()}
        return (xs, last, watched) if wanted else (xs, last)

    def _checked_input(self, xs: Node) -> Node:
        if xs.ndim < 2:
            raise ShapeError(
                f"{type(self).__name__} takes (steps, batch, ...), but got {describe(xs)}; give a "
                "single sequence a batch axis of length 1"
            )
        return xs

    def _run(
        self,
        cell: Cell,
        xs: Node,
        state: Any,
        k: int,
        way: str,
        lengths: Any,
        watch: Sequence[str],
    ) -> tuple[Node, Any, dict[str, Node]]:
        """Return the outputs (T, B, ...), the last state and what is watched of one direction."""
        name = self._loop_name(k, way)
        plain = lengths is None and self.truncate is None and not watch
        if plain and vars(type(cell)).get("fixed", False):
            return self._repeated(cell, xs, state, name, way == "backward")
        leaves, structure = flatten(state)
        keys = StepKeys(self, xs, self._own_key)
        loop = LoopNode(
            name,
            reverse=way == "backward",
            truncate=self.truncate,
            lengths=lengths,
            ragged="shrink" if lengths is None else "mask",  # masked loops become machine code
        )

        def of_rows(key: Any) -> Any:
            return key if lengths is None else _row_keys(loop, key, xs, keys.scope)

        with loop:
            x = loop.each(xs, "x")
            ports = [
                loop.branch(part, leaf)
                for part, leaf in zip(_names(structure, leaves), leaves, strict=True)
            ]
            with keys.inside(lambda key: ag.random.fold_in(of_rows(key), loop.index)):
                y, after = _stepped(cell, x, unflatten(structure, ports))
            for port, value in zip(ports, _checked_after(cell, after, structure), strict=True):
                loop.feed(port, value)
            ys = loop.collect(y, "y")
            seen = {
                self._watched_name(part, k, way): loop.collect(node, part)
                for part, node in _found(watch, [y, *flatten(after)[0]], cell, loop).items()
            }
        mark_repeated(loop)
        return ys, unflatten(structure, [loop.final(port) for port in ports]), seen

    def _repeated(
        self, cell: Cell, xs: Node, state: Any, name: str, reverse: bool
    ) -> tuple[Node, Any, dict[str, Node]]:
        """Run a fixed cell, whose step is drawn once for each kind of input."""
        leaves, structure = flatten(state)
        specs = (Spec(xs.shape[1:], xs.dtype), *[leaf.spec for leaf in leaves])
        made_of = tuple(vars(cell).values())
        key = id(cell), specs
        kept = self._kept.pop(key, None)
        if kept is None or not _same(kept[0], made_of):
            kept = made_of, *_drawn_step(cell, specs, structure, name)
        while len(self._kept) >= MOST * sum(map(len, self.cells)):
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[key] = kept  # a dict is in order: last used, last
        _, body, shared = kept
        finals, (ys,) = repeat(body, shared=shared, init=leaves, each=[xs], reverse=reverse)
        if ys.inputs:
            ys.inputs[0].named(name)
        return ys, unflatten(structure, finals), {}

    def _loop_name(self, k: int, way: str) -> str:
        name = "recurrent" if len(self.cells) == 1 else f"recurrent_{k}"
        return f"{name}_{way}" if self.bidirectional else name

    def _watched_name(self, part: str, k: int, way: str) -> str:
        names = [str(k)] if len(self.cells) > 1 else []
        return ".".join([*names, *([way] if self.bidirectional else []), part])

    def _own_key(self) -> Any:
        """Return a key for random layers in cells, where nobody gives one: another every call."""
        self._calls += 1
        return ag.random.fold_in(ag.random.key(self._seed), self._calls)

    # States, as callers see them: that of the cell, a list of layers, pairs of directions.

    def _starts(self, xs: Node, state: Any, outside: Node) -> list[list[Any]]:
        """Return the state of each layer and direction, for sequences (T, B, ...)."""
        if state is None:
            states = [
                [spread_over_batch(cell.initial_state(), xs, 1) for cell in cells]
                for cells in self.cells
            ]
            if not self.stateful:
                return states
            self._check_not_drawn(xs)
            learned = any([x.tracked for x in flatten(states)[0]])
            if learned and self._carried.value is None:
                return states  # gradients go into what they were learned from
            state = self._carried.start(mapped(ag.stop_gradient, self._packed(states)))
        return self._unpacked(state, outside)

    def _check_not_drawn(self, xs: Node) -> None:
        """Refuse to freeze the state of a stateful layer in a graph."""
        if xs.virtual or current_state().drawing:
            raise GraphError(
                f"this {type(self).__name__} is stateful, but a graph would start from the state "
                "it has now at every run; make the state an input of the graph and pass it, "
                "layer(xs, state), and hand the last state to the next run"
            )

    def _packed(self, states: list[list[Any]]) -> Any:
        """Return the states of layers and directions as callers see them."""
        layers = [tuple(each) if self.bidirectional else each[0] for each in states]
        return layers if self.several else layers[0]

    def _unpacked(self, state: Any, xs: Node) -> list[list[Any]]:
        """Return the states of layers and directions that a caller gave."""
        layers = _parts(state, len(self.cells), "layers") if self.several else [state]
        if not self.bidirectional:
            return [[_nodes(each)] for each in layers]
        return [[_nodes(x) for x in _parts(each, 2, "directions")] for each in layers]

    @property
    def state(self) -> Any:
        """Where the next call goes on, if the layer is stateful; None where from the start."""
        return self._carried.value

    @property
    def state_grad(self) -> Any:
        """The gradient by the state the last call started from, of a stateful layer.

        It did not go on into the call before. Adding it to the gradient there, by the last state,
        restores the gradient of the whole sequence.
        """
        return self._carried.grad

    def set_state(self, state: Any) -> None:
        """Have the next call go on from here. A layer that is not stateful keeps it unused."""
        self._carried.set(state)

    def reset_state(self) -> None:
        """Have the next call start from the beginning, also with a batch of another size."""
        self._carried.reset()


def _checked_cells(cell: Any, bidirectional: bool) -> list[list[Cell]]:
    """Return the cells of each layer, one for each direction."""
    ways = 2 if bidirectional else 1
    layers = list(cell) if isinstance(cell, (list, tuple)) else [cell]
    if bidirectional and all(isinstance(each, Cell) for each in layers):
        layers = [layers]  # one layer: a pair of cells
    found = [list(each) if isinstance(each, (list, tuple)) else [each] for each in layers]
    good = [len(each) == ways and all(isinstance(c, Cell) for c in each) for each in found]
    if not found or not all(good):
        wanted = "a pair of cells" if bidirectional else "a cell"
        raise GraphError(
            f"Recurrent takes {wanted}, or a list with one for each layer, but got "
            f"{brief(cell)}; a cell is an object of a class made from nn.Cell, whose "
            "forward(x, state) returns the next state"
        )
    return found


def _parts(state: Any, count: int, what: str) -> list[Any]:
    if not isinstance(state, (list, tuple)) or len(state) != count:
        raise ShapeError(
            f"the state must be a list or tuple of {count}, one for each of the {what}, but is "
            f"{shown(flatten(state)[1])}"
        )
    return list(state)


def _nodes(tree: Any) -> Any:
    return mapped(ag.tensor, tree)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree with the function applied to each leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])


def _names(structure: Any, leaves: Sequence[Node]) -> list[str]:
    """Return what the parts of a state are called: h, c, or the keys of a dict."""
    if structure is None:
        return ["h"]
    kind, children = structure
    if kind is dict and all(child is None for _, child in children):
        return [str(key) for key, _ in children]
    if len(leaves) == 2:
        return ["h", "c"]
    return [f"state_{i}" for i in range(len(leaves))]


def _same(before: Sequence[Any], now: Sequence[Any]) -> bool:
    """Whether two sequences are of the same objects."""
    return len(before) == len(now) and all(x is y for x, y in zip(before, now, strict=True))


def _row_keys(loop: LoopNode, key: Any, xs: Node, outside: Scope | None) -> Node:
    """Return a key for each row of a ragged loop (B, 2): a state that stays what it is.

    So the draws of a row depend on its number and its own steps, not on how long others are.
    """
    with drawing(outside):
        keys = ag.random.fold_in(key, ag.positions(xs, 1))
    port = loop.branch("keys", keys)
    loop.feed(port, port)
    return port


def _stepped(cell: Cell, x: Node, state: Any) -> tuple[Node, Any]:
    """Return the output and the state after a step, as nodes."""
    result: Any = cell.step(x, state)
    if not isinstance(result, tuple) or len(result) != 2:
        raise GraphError(
            f"step(x, state) of {type(cell).__name__} returns a pair (output, next state), but "
            f"returned {shown(flatten(result)[1])}; what returns the state alone is called forward"
        )
    y, after = result
    if isinstance(y, (tuple, list, dict)):
        raise GraphError(
            f"the output of {type(cell).__name__} is one array a step, but step(x, state) returned "
            f"{shown(flatten(y)[1])}; join arrays with ag.concat, or hand them out by watch="
        )
    return ag.tensor(y), mapped(ag.tensor, after)


def _checked_after(cell: Cell, after: Any, structure: Any) -> list[Any]:
    leaves, found = flatten(after)
    if found != structure:
        raise GraphError(
            f"{type(cell).__name__} was given the state {shown(structure)}, but returned "
            f"{shown(found)}; forward(x, state) returns the next state, in the same structure, and "
            "step(x, state) a pair (output, next state)"
        )
    return leaves


def _found(
    names: Sequence[str], outputs: Sequence[Any], cell: Cell, loop: LoopNode
) -> dict[str, Node]:
    """Return the nodes of the body that have these names."""
    if not names:
        return {}
    known: dict[str, Node] = {}
    for node in ancestors([x for x in outputs if isinstance(x, Node)]):
        if node.name and node.scope is current_state().scope:
            known[node.name] = node
    for name in names:
        if name not in known:
            raise GraphError(
                f"{type(cell).__name__} has no node named '{name}' to watch; it has "
                f"{', '.join(known) or 'none'}; give it one with .named('{name}')"
            )
    return {name: known[name] for name in names}


def _drawn_step(
    cell: Cell, specs: Sequence[Spec], structure: Any, name: str
) -> tuple[ag.Graph, list[Node]]:
    """Return the graph of one step of a cell, [shared | state | x] -> [state | y], and the shared.

    It is drawn outside of everything, so that it serves everywhere.
    """
    scope = Scope(name, None)
    with drawing(scope):
        x = draw_input("x", specs[0], scope)
        state = [draw_input(None, spec, scope) for spec in specs[1:]]
        for port, part in zip(state, _names(structure, state), strict=True):
            port.named(part)
        y, after = _stepped(cell, x, unflatten(structure, state))
    taken: dict[str, int] = {}
    inputs = {
        unique_name(port.name or "shared", taken): port
        for port in (*scope.captured.values(), *state, x)
    }
    results = _checked_after(cell, after, structure)
    outputs = dict(zip([f"{port.name}_after" for port in state], results, strict=True))
    body = ag.Graph.of(inputs, {**outputs, "y": y}, scope.name)
    return mark_often(body), list(scope.captured)
