"""Cells: one step of a recurrent layer, a function of an input and a state, and nothing else.

`nn.Recurrent` makes a layer of any cell; its gradient is that of its loop. Nobody writes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd.describe import describe
from autograd.errors import GraphError, LoopGradError, ShapeError
from autograd.node import Node
from autograd.spec import Spec
from autograd.tree import flatten, shown, unflatten
from nn.init import Rng, bounded_by_fan, generator
from nn.linear import checked_features, checked_size
from nn.module import Module
from nn.norm import normalized

ACTIVATIONS = ("tanh", "relu", "sigmoid")


class Cell(Module):
    """One step of a recurrent layer: `forward(x, state)` returns the state after it.

        class Leaky(nn.Cell):
            def __init__(self, input_size, size):
                self.state_size = size
                self.inside = nn.Linear(input_size, size)
                self.recurrent = nn.Linear(size, size, bias=False)
                self.leak = ag.parameter("leak", np.zeros(size))

            def forward(self, x, h):
                keep = ag.sigmoid(self.leak)
                return keep * h + (1 - keep) * ag.tanh(self.inside(x) + self.recurrent(h))

        layer = nn.Recurrent(Leaky(3, 16))

    x is (B, ...), the state one array (B, H) or a tree of some. What a layer puts out is the first
    array of the state; a cell with another output has `step` return (output, state) instead. Name a
    node (`.named("gate")`), and the layer can hand it out for all steps: `layer(xs, watch="gate")`.
    """

    state_size: Any
    """H; for a state of several arrays a tuple, list or dict of their sizes."""

    fixed: ClassVar[bool] = False
    """Whether a step depends on nothing but the attributes of the cell, in which nothing changes. A
    layer then draws it once for each kind of input. Subclasses have to say it again."""

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return (output, state after) for one input (B, ...) and a state."""
        after = self.forward(x, state)
        leaves, _ = flatten(after)
        if not leaves:
            raise GraphError(
                f"forward(x, state) of {type(self).__name__} returned no array, so there is no "
                "output; return the next state, or write step(x, state) -> (output, next state)"
            )
        return leaves[0], after

    def initial_state(self) -> Any:
        """Return the state before the first step, without the batch axis: zeros by default.

        A learned one is a parameter: `return self.h0`, of shape (H,).
        """
        if "state_size" not in vars(self):
            raise LoopGradError(
                f"the state of {type(self).__name__} before the first step is not known; set "
                "self.state_size in its __init__, write initial_state(), or pass a state"
            )
        sizes, structure = flatten(self.state_size)
        for size in sizes:
            if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 0:
                raise LoopGradError(
                    f"state_size of {type(self).__name__} must be a number of units >= 0, or a "
                    f"tuple, list or dict of some, but is {self.state_size!r:.60}"
                )
        return unflatten(structure, [np.zeros(size) for size in sizes])

    def __call__(self, x: Any, state: Any = None) -> Any:
        """Return the state after `x` (B, ...); without `state` from the initial one."""
        x = ag.tensor(x)
        if state is None:
            state = spread_over_batch(self.initial_state(), x, 0)
        return self.forward(x, state)


def spread_over_batch(state: Any, xs: Node, axis: int) -> Any:
    """Return a state without batch axis, for all rows of `xs` along `axis`.

    Arrays take the dtype of `xs`. In a graph it follows the batch through `graph.resize`.
    """
    leaves, structure = flatten(state)
    spread = []
    for leaf in leaves:
        node = ag.tensor(leaf if isinstance(leaf, Node) else np.asarray(leaf, xs.dtype))
        if xs.virtual or node.tracked or node.virtual:
            spread.append(ag.repeat_like(node, xs, axis))
        else:
            rows = np.broadcast_to(node.value, (xs.shape[axis], *node.shape))
            spread.append(ag.tensor(rows))
    return unflatten(structure, spread)


def checked_state(state: Any, wanted: Any, what: str, like: Node) -> Any:
    """Return `state` with nodes for leaves, checked to have the specs of the tree `wanted`."""
    leaves, structure = flatten(state)
    specs, expected = flatten(wanted)
    if structure != expected:
        raise ShapeError(
            f"{what} must be {_tree_text(wanted)} to go with {describe(like)}, but came as "
            f"{shown(structure)}{_hint(leaves, structure, expected)}"
        )
    nodes = [ag.tensor(x) for x in leaves]
    for node, spec in zip(nodes, specs, strict=True):
        if node.spec != spec:
            raise ShapeError(
                f"{what} must be {_tree_text(wanted)} to go with {describe(like)}, but "
                f"{describe(node)} came"
            )
    return unflatten(structure, nodes)


def _hint(leaves: list[Any], structure: Any, expected: Any) -> str:
    """Return what is likely to be wrong with a state of this structure."""
    if leaves and all(isinstance(x, (int, np.integer)) for x in leaves):
        return "; lengths are given by name: lengths=..."
    if structure is None:
        return ": one array, where a tree of them is wanted"
    if expected is None:
        return ", where one array is wanted"
    return ""


def _tree_text(tree: Any) -> str:
    leaves, structure = flatten(tree)
    return str(unflatten(structure, [_Text(leaf) for leaf in leaves]))


class _Text(str):
    """A text that is shown as it is, also inside of tuples."""

    __repr__ = str.__str__


class _TorchCell(Cell):
    """What torch's three cells share: parameters, their names, and how many gates they are for.

    weight_ih (G H, D), weight_hh (G H, H), bias_ih (G H,), bias_hh (G H,), uniform in
    +-1/sqrt(H) for G gates. With `layer_norm`, what gains multiply starts as ones.
    """

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rng: Rng,
        dtype: npt.DTypeLike,
        output_size: int | None = None,
    ) -> None:
        self.input_size = checked_size("input_size", input_size)
        self.hidden_size = checked_size("hidden_size", hidden_size)
        self._rng = generator(rng)
        self._dtype = np.dtype(dtype)
        rows = self.gates * hidden_size
        self._uniform("weight_ih", rows, input_size)
        self._uniform("weight_hh", rows, hidden_size if output_size is None else output_size)
        for name in ("bias_ih", "bias_hh"):
            if bias:
                self._uniform(name, rows)
            else:
                setattr(self, name, None)

    def _uniform(self, name: str, *shape: int) -> None:
        value = bounded_by_fan(shape, self.hidden_size, self._rng, self._dtype)
        setattr(self, name, ag.parameter(name, value))

    def _ones(self, name: str, *shape: int) -> None:
        setattr(self, name, ag.parameter(name, np.ones(shape, self._dtype)))

    def forward(self, x: Any, state: Any) -> Any:
        x = checked_features(x, vars(self)["weight_ih"])
        sizes, structure = flatten(self.state_size)
        specs = [Spec((*x.shape[:-1], size), x.dtype) for size in sizes]
        what = f"the state of {type(self).__name__}"
        return self.after(x, checked_state(state, unflatten(structure, specs), what, x))

    def __call__(self, x: Any, state: Any = None) -> Any:
        """Return the state after `x` (B, D) or (D,); without `state` from zeros."""
        x = checked_features(x, vars(self)["weight_ih"])
        if state is None and x.ndim != 2:
            sizes, structure = flatten(self.state_size)
            zeros = [np.zeros((*x.shape[:-1], size), x.dtype) for size in sizes]
            return self.forward(x, unflatten(structure, zeros))
        return super().__call__(x, state)

    def after(self, x: Node, state: Any) -> Any:
        """Return the state after a checked input and state."""
        raise NotImplementedError

    def _from_input(self, x: Any) -> Any:
        """Return x W_ih^T + b_ih, of all gates."""
        return _plus(times(x, self.weight_ih), self.bias_ih)

    def _from_state(self, h: Any) -> Any:
        """Return h W_hh^T + b_hh, of all gates."""
        return _plus(times(h, self.weight_hh), self.bias_hh)

    weight_ih: Any
    weight_hh: Any
    bias_ih: Any
    bias_hh: Any


def times(x: Any, weight: Any) -> Any:
    """Return x weight^T; the transposed weight has a name that says what it is."""
    return x @ weight.T.named(f"{weight.name}_T")


def _plus(x: Any, bias: Any) -> Any:
    return x if bias is None else x + bias


class RNNCell(_TorchCell):
    """One step of an RNN: (x (B, D), h (B, H)) -> h' (B, H); torch's `nn.RNNCell`.

    h' = f(x weight_ih^T + bias_ih + h weight_hh^T + bias_hh), f one of tanh, relu and sigmoid.
    With `layer_norm` f is applied to LN(x W_ih^T + h W_hh^T) * gain + biases (Ba et al. 2016,
    arXiv:1607.06450, eq. 4).
    """

    fixed = True
    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        layer_norm: bool = False,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, rng, dtype)
        if nonlinearity not in ACTIVATIONS:
            raise LoopGradError(
                f"nonlinearity must be one of {', '.join(ACTIVATIONS)}, but is {nonlinearity!r}"
            )
        self.nonlinearity = nonlinearity
        self.state_size = hidden_size
        self.layer_norm = layer_norm
        if layer_norm:
            self._ones("gain", hidden_size)

    gain: Any

    def after(self, x: Node, h: Any) -> Any:
        if self.layer_norm:
            total = normalized(times(x, self.weight_ih) + times(h, self.weight_hh)) * self.gain
            total = _plus(_plus(total, self.bias_ih), self.bias_hh)
        else:
            total = self._from_input(x) + self._from_state(h)
        activation: Callable[[Any], Any] = getattr(ag, self.nonlinearity)
        return activation(total)


class LSTMCell(_TorchCell):
    """One step of an LSTM: (x (B, D), (h (B, H), c (B, H))) -> (h', c'); torch's `nn.LSTMCell`.

    i, f, g, o = the four parts of x weight_ih^T + bias_ih + h weight_hh^T + bias_hh
    c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.) With `peepholes`
    i and f also see c, and o sees c', by weights weight_ci, weight_cf, weight_co (H,) (Gers and
    Schmidhuber 2000). With `proj_size` P, h' = (...) weight_hr^T is (B, P) (Sak et al. 2014). With
    `layer_norm` both products are normalized and multiplied by gain_ih and gain_hh, and tanh sees
    LN(c') * gain_c + shift_c (Ba et al. 2016, arXiv:1607.06450, eq. 20 to 22).
    """

    fixed = True
    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        proj_size: int = 0,
        *,
        peepholes: bool = False,
        layer_norm: bool = False,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.proj_size = checked_size("proj_size", proj_size)
        if proj_size and proj_size >= hidden_size:
            raise LoopGradError(
                f"proj_size must be smaller than hidden_size, but is {proj_size} of {hidden_size}"
            )
        output_size = proj_size or hidden_size
        super().__init__(input_size, hidden_size, bias, rng, dtype, output_size)
        self.state_size = (output_size, hidden_size)
        self.peepholes = peepholes
        self.layer_norm = layer_norm
        if proj_size:
            self._uniform("weight_hr", proj_size, hidden_size)
        if peepholes:
            for name in ("weight_ci", "weight_cf", "weight_co"):
                self._uniform(name, hidden_size)
        if layer_norm:
            self._ones("gain_ih", 4 * hidden_size)
            self._ones("gain_hh", 4 * hidden_size)
            self._ones("gain_c", hidden_size)
            self.shift_c = ag.parameter("shift_c", np.zeros(hidden_size, dtype))

    weight_hr: Any
    weight_ci: Any
    weight_cf: Any
    weight_co: Any
    gain_ih: Any
    gain_hh: Any
    gain_c: Any

    def after(self, x: Node, state: Any) -> Any:
        h, c = state
        if self.layer_norm:
            total = normalized(times(x, self.weight_ih)) * self.gain_ih
            total = total + normalized(times(h, self.weight_hh)) * self.gain_hh
            total = _plus(_plus(total, self.bias_ih), self.bias_hh)
        else:
            total = self._from_input(x) + self._from_state(h)
        i, f, g, o = ag.split(total, 4, axis=-1)
        if self.peepholes:
            i, f = i + c * self.weight_ci, f + c * self.weight_cf
        i, f, g = _named("i", ag.sigmoid(i)), _named("f", ag.sigmoid(f)), _named("g", ag.tanh(g))
        c = f * c + i * g
        o = _named("o", ag.sigmoid(o + c * self.weight_co if self.peepholes else o))
        seen = normalized(c) * self.gain_c + self.shift_c if self.layer_norm else c
        h = o * ag.tanh(seen)
        return (times(h, self.weight_hr) if self.proj_size else h), c


class GRUCell(_TorchCell):
    """One step of a GRU: (x (B, D), h (B, H)) -> h' (B, H); torch's `nn.GRUCell`.

    r, z, n come from three parts of x weight_ih^T + bias_ih and of h weight_hh^T + bias_hh:
    r = sigmoid(r_x + r_h),   z = sigmoid(z_x + z_h),   n = tanh(n_x + r n_h)
    h' = (1 - z) n + z h

    (Cho et al. 2014, arXiv:1406.1078.) That resets after the product, as torch does; with
    `reset_after=False` n_h is (r h) W_hn^T + b_hn, as the paper has it. With `layer_norm` the
    products are normalized, r and z together and n alone, and multiplied by gain_ih and gain_hh
    (Ba et al. 2016, arXiv:1607.06450, supplement).
    """

    fixed = True
    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, rng, dtype)
        self.state_size = hidden_size
        self.reset_after = reset_after
        self.layer_norm = layer_norm
        if layer_norm:
            self._ones("gain_ih", 3 * hidden_size)
            self._ones("gain_hh", 3 * hidden_size)

    gain_ih: Any
    gain_hh: Any

    def after(self, x: Node, h: Any) -> Any:
        if self.reset_after and not self.layer_norm:
            r_x, z_x, n_x = ag.split(self._from_input(x), 3, axis=-1)
            r_h, z_h, n_h = ag.split(self._from_state(h), 3, axis=-1)
            r, z = _named("r", ag.sigmoid(r_x + r_h)), _named("z", ag.sigmoid(z_x + z_h))
            n = ag.tanh(n_x + r * n_h)
        else:
            gates, new = slice(None, 2 * self.hidden_size), slice(2 * self.hidden_size, None)
            both = ag.sigmoid(self._part(x, "ih", gates) + self._part(h, "hh", gates))
            r, z = ag.split(both, 2, axis=-1)
            r, z = _named("r", r), _named("z", z)
            n_h = self._part(h if self.reset_after else r * h, "hh", new)
            n_h = r * n_h if self.reset_after else n_h
            n = ag.tanh(self._part(x, "ih", new) + n_h)
        n = _named("n", n)
        return n + z * (h - n)

    def _part(self, x: Any, of: str, rows: slice) -> Any:
        """Return x W^T + b of some of the gates, normalized if there is layer norm."""
        own = vars(self)
        product = x @ own[f"weight_{of}"][rows].T
        if self.layer_norm:
            product = normalized(product) * own[f"gain_{of}"][rows]
        return _plus(product, None if own[f"bias_{of}"] is None else own[f"bias_{of}"][rows])


def _named(name: str, node: Any) -> Any:
    """Give a node of a body a name, for those who watch it."""
    return node.named(name) if isinstance(node, Node) else node
