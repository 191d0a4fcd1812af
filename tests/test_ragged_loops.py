"""Ragged loops, shrinking and masked: row b gets what it gets alone in `lengths[b]` steps.

`tests/test_ragged_properties.py` tries random bodies; here are the bodies people write, and what a
ragged loop may stand in: graphs, files, other loops, vmap.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd.tree import flatten
from loops import LoopNode, cond, fill_padding, masked, reverse_valid, scan
from tests.loop_reference import assert_same

T, B, D = 4, 4, 2
MODES = ("shrink", "mask")
LENGTHS = {
    "unsorted": [2, 0, 4, 1],
    "equal": [4, 4, 4, 4],
    "before the end": [3, 1, 0, 2],
    "one step": [0, 0, 1, 0],
    "none": [0, 0, 0, 0],
}
UNSORTED = np.array(LENGTHS["unsorted"])

each_mode = pytest.mark.parametrize("mode", MODES)
each_direction = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


@dataclass(frozen=True)
class Program:
    """A body and what it reads. All arrays but weights have the rows on their first axis."""

    cell: Callable[..., Callable[[Any, Any], tuple[Any, Any]]]
    """From weights and context to what `scan` takes."""
    states: tuple[np.ndarray, ...]
    order: int = 2

    def run(self, arrays: Any, lengths: Any, reverse: bool, mode: str) -> Any:
        """Return [final states, outputs] as one list of leaves."""
        xs, states, weights, context = arrays
        carry, ys = scan(
            self.cell(weights, context),
            tuple(states),
            xs,
            reverse=reverse,
            lengths=lengths,
            ragged=mode,
        )
        return flatten((carry, () if ys is None else ys))[0]

    def alone(self, arrays: Any, lengths: Any, reverse: bool) -> Any:
        """Return the same, each row by a loop of its own."""
        xs, states, weights, context = arrays
        columns = []
        for b, n in enumerate(lengths):
            row = slice(b, b + 1)
            cell = self.cell(weights, context[row])
            carry, ys = scan(cell, tuple(s[row] for s in states), xs[:n, row], reverse=reverse)
            finals, _ = flatten(carry)
            outputs = [] if ys is None else flatten(ys)[0]
            padded = [ag.pad(y, ((0, len(xs) - n), *[(0, 0)] * (y.ndim - 1))) for y in outputs]
            columns.append([finals, padded])
        finals = [ag.concat(list(rows)) for rows in zip(*[c[0] for c in columns], strict=True)]
        outputs = [ag.concat(list(rows), 1) for rows in zip(*[c[1] for c in columns], strict=True)]
        return [*finals, *outputs]


RNG = np.random.default_rng(11)
XS = RNG.uniform(0.5, 1.5, (T, B, D))
W = RNG.uniform(-0.7, 0.7, (D, D))
CONTEXT = RNG.uniform(0.5, 1.5, (B, D))
H0 = RNG.uniform(0.5, 1.5, (B, D))


def rnn(w, context):
    def cell(carry, x):
        h = ag.tanh(x + carry[0] @ w)
        return (h,), h

    return cell


def gated(w, context):
    def cell(carry, x):
        h, c = carry
        c = ag.sigmoid(h @ w) * c + ag.tanh(x - h)
        h = ag.tanh(c) * ag.sigmoid(x @ w)
        return (h, c), {"h": h, "c": c * 2.0}

    return cell


def counting(w, context):
    def cell(carry, x):
        h, n = carry
        return (ag.tanh(x @ w + h), n + 2), (n, n > 1, h * ag.astype(n, "float64")[:, None])

    return cell


def attending(w, context):
    def cell(carry, x):
        score = ag.softmax(context @ w + carry[0], axis=-1)
        return (ag.tanh(score * x),), (score * context).sum(-1)

    return cell


def branching(w, context):
    def cell(carry, x):
        h = cond(w.sum() > 0, lambda h: ag.tanh(h), lambda h: ag.tanh(h @ w), carry[0])
        return (cond(w[0, 0] > 0, lambda h: h * x, lambda h: h + x, h),), None

    return cell


def nesting(w, context):
    def cell(carry, x):
        h, hs = scan(lambda h, _: (ag.tanh(h @ w + x), h), carry[0], length=3)
        return (h,), ag.moveaxis(hs, 0, 1)

    return cell


def dividing(w, context):
    """Infinite, with infinite derivatives, wherever 0 comes in; NaN for negative numbers."""

    def cell(carry, x):
        h = ag.sqrt(carry[0]) / x + ag.log(x) * ag.log(x)
        return (h / context,), 1.0 / (x * context) + ag.sqrt(h)

    return cell


COUNT = np.arange(B)
PROGRAMS = {
    "rnn": Program(rnn, (H0,)),
    "gated": Program(gated, (H0, CONTEXT)),
    "counting": Program(counting, (H0, COUNT)),
    "attending": Program(attending, (H0,)),
    "branching": Program(branching, (H0,)),
    "nesting": Program(nesting, (H0,)),
    "dividing": Program(dividing, (H0,)),
}
each_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())


def spoiled(xs, lengths):
    """Return a copy of `xs` with NaN, inf, -inf and 0 in the padding."""
    xs = xs.copy()
    for b, n in enumerate(lengths):
        xs[n:, b] = (np.nan, np.inf, -np.inf, 0.0)[b % 4]
    return xs


def arrays_of(program, lengths=None):
    xs = XS if lengths is None else spoiled(XS, lengths)
    return xs, program.states, W, CONTEXT


def loss(results):
    """Return a scalar that weighs every element of the float results differently."""
    return sum(
        (ag.sin(y) * np.cos(np.arange(y.size) + i).reshape(y.shape)).sum()
        for i, y in enumerate(results)
        if y.dtype.kind == "f"
    )


def differentiable(program, run, *rest):
    """Return the loss as a function of the float arrays: sequences, states, weights, context."""
    whole = [i for i, s in enumerate(program.states) if s.dtype.kind == "f"]

    def fn(xs, states, w, context):
        full = list(program.states)
        for i, s in zip(whole, states, strict=True):
            full[i] = s
        return loss(run((xs, full, w, context), *rest))

    return fn, [program.states[i] for i in whole]


def gradients(program, xs, run, *rest):
    fn, states = differentiable(program, run, *rest)
    value, grads = ag.value_and_grad(fn, (0, 1, 2, 3))(xs, states, W, CONTEXT)
    return [value, *flatten(grads)[0]]


class TestTheLaw:
    @each_mode
    @each_direction
    @pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
    @each_program
    def test_rows_get_and_send_back_what_they_would_alone(self, program, lengths, reverse, mode):
        n = np.array(lengths)
        found = program.run(arrays_of(program, n), n, reverse, mode)
        wanted = program.alone(arrays_of(program), n, reverse)
        for y, z in zip(found, wanted, strict=True):
            assert_same(y, z, 1e-14)
        grads = gradients(program, spoiled(XS, n), program.run, n, reverse, mode)
        alone = gradients(program, XS, program.alone, n, reverse)
        for g, h in zip(grads, alone, strict=True):
            assert_same(g, h, 1e-12)
        padding = np.arange(T)[:, None] >= n
        assert not grads[1].value[padding].any()

    @each_mode
    @each_direction
    @each_program
    def test_second_order_and_forward_mode(self, program, reverse, mode):
        fn, states = differentiable(program, program.run, UNSORTED, reverse, mode)
        row, _ = differentiable(program, program.alone, UNSORTED, reverse)
        bad = spoiled(XS, UNSORTED)
        point = (bad, states, W, CONTEXT)
        leaves, _ = flatten(point)
        tangents = tuple(np.cos(np.arange(x.size) + 1.0).reshape(x.shape) for x in leaves)
        tangent = (tangents[0], list(tangents[1:-2]), *tangents[-2:])
        good = (XS, states, W, CONTEXT)
        for a, b in zip(
            flatten(ag.hvp(fn, point, tangent))[0],
            flatten(ag.hvp(row, good, tangent))[0],
            strict=True,
        ):
            assert_same(a, b, 1e-11)
        for a, b in zip(ag.jvp(fn, point, tangent), ag.jvp(row, good, tangent), strict=True):
            assert_same(a, b, 1e-12)

    @each_mode
    def test_differences_agree_to_order_two(self, mode):
        program = PROGRAMS["gated"]
        fn, states = differentiable(program, program.run, UNSORTED, True, mode)
        ag.check_grad(fn, (XS, states, W, CONTEXT), order=2)

    @each_direction
    @each_program
    def test_masked_equals_shrinking(self, program, reverse):
        lengths = np.array([3, 1, 0, 4])
        bad = spoiled(XS, lengths)
        masked = gradients(program, bad, program.run, lengths, reverse, "mask")
        shrinking = gradients(program, bad, program.run, lengths, reverse, "shrink")
        for a, b in zip(masked, shrinking, strict=True):
            assert_same(a, b, 1e-12)

    @each_mode
    @each_program
    def test_float32_stays_and_is_close(self, program, mode):
        def narrow(x):
            return x.astype("f4") if x.dtype.kind == "f" else x

        arrays = (narrow(XS), tuple(map(narrow, program.states)), narrow(W), narrow(CONTEXT))
        found = program.run(arrays, UNSORTED, False, mode)
        wanted = program.alone(arrays, UNSORTED, False)
        for y, z in zip(found, wanted, strict=True):
            assert_same(y, z, 1e-6)


class TestEdges:
    @each_mode
    @each_direction
    @pytest.mark.parametrize(("steps", "rows"), [(4, 0), (0, 0), (0, 4), (0, 1), (4, 1), (1, 1)])
    def test_few_rows_and_few_steps(self, steps, rows, reverse, mode):
        program = PROGRAMS["gated"]
        lengths = np.minimum(UNSORTED[:rows], steps)
        arrays = (XS[:steps, :rows], (H0[:rows], CONTEXT[:rows]), W, CONTEXT[:rows])
        found = program.run(arrays, lengths, reverse, mode)
        if rows:
            for y, z in zip(found, program.alone(arrays, lengths, reverse), strict=True):
                assert_same(y, z, 1e-14)
        shapes = [(rows, D)] * 2 + [(steps, rows, D)] * 2
        assert [y.shape for y in found] == shapes
        fn = differentiable(program, program.run, lengths, reverse, mode)[0]
        grads = ag.grad(fn, (0, 2))(arrays[0], arrays[1], W, arrays[3])
        assert grads[0].shape == (steps, rows, D)
        assert bool(grads[1].value.any()) == bool(lengths.any())

    @each_mode
    def test_lengths_of_any_integer_dtype_and_as_a_list(self, mode):
        program = PROGRAMS["rnn"]
        wanted = program.run(arrays_of(program), UNSORTED, False, mode)
        for lengths in (UNSORTED.tolist(), UNSORTED.astype("uint8"), UNSORTED.astype("int32")):
            found = program.run(arrays_of(program), lengths, False, mode)
            for y, z in zip(found, wanted, strict=True):
                assert_same(y, z)

    @each_mode
    @each_direction
    def test_a_reversed_ragged_loop_is_the_loop_over_reversed_rows(self, reverse, mode):
        program = PROGRAMS["gated"]
        turned = (reverse_valid(XS, UNSORTED), program.states, W, CONTEXT)
        h, c, ys_c, ys_h = program.run(arrays_of(program), UNSORTED, reverse, mode)
        h2, c2, ys_c2, ys_h2 = program.run(turned, UNSORTED, not reverse, mode)
        assert_same(h, h2, 1e-15)
        assert_same(c, c2, 1e-15)
        assert_same(ys_h, reverse_valid(ys_h2, UNSORTED), 1e-15)
        assert_same(ys_c, reverse_valid(ys_c2, UNSORTED), 1e-15)

    @each_mode
    @each_direction
    def test_steps_are_counted_row_by_row(self, reverse, mode):
        with LoopNode("count", reverse=reverse, lengths=UNSORTED, ragged=mode) as node:
            x = node.each(XS)
            total = node.branch("total", np.zeros((B, D)))
            node.feed(total, total + x)
            numbers = node.collect(node.index)
        assert_same(node.steps, UNSORTED)
        t, n = np.arange(T)[:, None], UNSORTED
        wanted = np.where(t < n, n - 1 - t if reverse else t, 0)
        assert_same(numbers, wanted)

    @each_mode
    def test_the_body_may_read_the_lengths_themselves(self, mode):
        lengths = ag.input("lengths", (B,), "int64")

        def cell(h, x):
            return h + x / ag.astype(lengths, "float64")[:, None], None

        mean, _ = scan(cell, np.zeros((B, D)), XS, lengths=lengths, ragged=mode)
        graph = ag.Graph(lengths, {"mean": mean})
        for n in ([1, 2, 3, 4], [2, 0, 4, 1]):
            found = graph.run(lengths=np.array(n))["mean"]
            wanted = [XS[:k, b].mean(0) if k else np.zeros(D) for b, k in enumerate(n)]
            assert_same(found, np.array(wanted), 1e-15)


def differentiate_with_zeros_in_the_padding(lengths, reverse):
    """Differentiate `dividing` to order two, masked; a FloatingPointError if it meets the zeros.

    Rows that never start have a context and a state of zeros, too.
    """
    program = PROGRAMS["dividing"]
    xs = np.where((np.arange(T)[:, None] < lengths)[..., None], XS, 0.0)
    starts = (np.array(lengths) > 0)[:, None]
    fn, _ = differentiable(program, program.run, np.array(lengths), reverse, "mask")
    point = (xs, [H0 * starts], W, CONTEXT * starts)
    tangents = (np.ones_like(xs), [np.ones((B, D))], np.ones((D, D)), np.ones((B, D)))
    with np.errstate(all="raise"):
        ag.grad(fn, (0, 1, 2, 3))(*point)
        ag.hvp(fn, point, tangents)


class TestMaskedBodiesSeeRealValuesOnly:
    """The point of standing in: nothing infinite or undefined is ever computed, and hidden later.

    In the padding there are zeros; `dividing` divides by them and takes their logarithm.
    """

    @each_direction
    @pytest.mark.parametrize("lengths", [[2, 0, 4, 1], [0, 1, 3, 2]], ids=str)
    def test_no_step_computes_what_no_row_would_alone(self, lengths, reverse):
        differentiate_with_zeros_in_the_padding(lengths, reverse)

    @each_direction
    def test_they_would_be_noticed(self, reverse, monkeypatch):
        """Faults: the first row stands in, though it never starts; nobody stands in."""
        with monkeypatch.context() as patch:
            patch.setattr(ag, "argmax", lambda x, axis: np.int64(0))
            with pytest.raises(FloatingPointError):
                differentiate_with_zeros_in_the_padding([0, 1, 3, 2], reverse)
        monkeypatch.setattr(masked, "_rows", lambda x, which, axis=0: x)
        with pytest.raises(FloatingPointError):
            differentiate_with_zeros_in_the_padding([0, 1, 3, 2], reverse)

    def test_rows_that_never_start_may_hold_anything(self):
        """A zero in the context or the state of a row without steps is its own business."""
        program = PROGRAMS["dividing"]
        nothing = np.where((UNSORTED == 0)[:, None], 0.0, 1.0)
        arrays = (spoiled(XS, UNSORTED), (H0 * nothing,), W, CONTEXT * nothing)
        for mode in MODES:
            fn = differentiable(program, program.run, UNSORTED, False, mode)[0]
            grads = ag.grad(fn, (0, 1, 2, 3))(arrays[0], [arrays[1][0]], *arrays[2:])
            for g in flatten(grads)[0]:
                assert np.isfinite(g.value).all()


def graph_of(program, mode, reverse=False, steps=T, rows=B):
    xs = ag.input("xs", (steps, rows, D))
    lengths = ag.input("lengths", (rows,), "int64")
    context = ag.input("context", (rows, D))
    states = [
        ag.input(f"state_{i}", (rows, *s.shape[1:]), s.dtype) for i, s in enumerate(program.states)
    ]
    results = program.run((xs, states, ag.tensor(W), context), lengths, reverse, mode)
    outputs = {f"y{i}": y for i, y in enumerate(results)} | {"loss": loss(results)}
    return ag.Graph([xs, lengths, context, *states], outputs, allow_unused=True)


def feed(program, lengths):
    states = {f"state_{i}": s for i, s in enumerate(program.states)}
    return {"xs": spoiled(XS, lengths), "lengths": lengths, "context": CONTEXT, **states}


class TestGraphs:
    @each_mode
    @each_program
    def test_one_graph_serves_all_lengths(self, program, mode):
        graph = graph_of(program, mode).grad(of="loss", wrt=["xs", "state_0"])
        for lengths in map(np.array, LENGTHS.values()):
            found = graph.run(**feed(program, lengths))
            for i, y in enumerate(program.alone(arrays_of(program), lengths, False)):
                assert_same(found[f"y{i}"], y, 1e-14)
            alone = gradients(program, XS, program.alone, lengths, False)
            assert_same(found["grad_xs"], alone[1], 1e-12)
            assert_same(found["grad_state_0"], alone[2], 1e-12)

    @each_mode
    @each_direction
    def test_saved_and_loaded(self, mode, reverse, tmp_path):
        program = PROGRAMS["attending"]
        graph = graph_of(program, mode, reverse).grad(of="loss", wrt=["xs", "context"])
        graph.save(tmp_path / "ragged.json")
        again = ag.Graph.load(tmp_path / "ragged.json")
        assert str(again) == str(graph)
        arrays = feed(program, UNSORTED)
        found, wanted = again.run(**arrays), graph.run(**arrays)
        for name, value in wanted.items():
            assert_same(found[name], value)

    @each_mode
    @each_direction
    @each_program
    def test_resized_to_other_steps_and_rows(self, program, mode, reverse):
        graph = graph_of(program, mode, reverse, steps=2, rows=3)
        graph = graph.select(*[name for name in graph.outputs if name != "loss"])
        arrays = {k: x for k, x in feed(program, UNSORTED).items() if k in graph.inputs}
        graph = graph.resize(**{name: x.shape for name, x in arrays.items()})
        found = graph.run(**arrays)
        for i, y in enumerate(program.alone(arrays_of(program), UNSORTED, reverse)):
            assert_same(found[f"y{i}"], y, 1e-14)

    @each_direction
    @each_program
    def test_masked_loops_unroll(self, program, reverse):
        graph = graph_of(program, "mask", reverse).unroll()
        assert not graph.find(op="loop")
        graph = graph.grad(of="loss", wrt=["xs", "state_0"])
        for lengths in ([2, 0, 4, 1], [1, 0, 0, 2]):
            lengths = np.array(lengths)
            found = graph.run(**feed(program, lengths))
            wanted = gradients(program, XS, program.alone, lengths, reverse)
            assert_same(found["loss"], wanted[0], 1e-13)
            assert_same(found["grad_xs"], wanted[1], 1e-12)
            assert_same(found["grad_state_0"], wanted[2], 1e-12)

    @each_program
    def test_masked_loops_are_mapped_over(self, program):
        lengths = np.stack([UNSORTED, UNSORTED[::-1], np.array([1, 1, 0, 3])])
        xs = np.stack([spoiled(XS, n) for n in lengths])

        def fn(xs, lengths, context):
            return loss(program.run((xs, program.states, W, context), lengths, False, "mask"))

        contexts = np.stack([CONTEXT, CONTEXT[::-1], CONTEXT * 1.5])
        values = ag.vmap(fn)(xs, lengths, contexts)
        grads = ag.vmap(ag.grad(fn, (0, 2)))(xs, lengths, contexts)
        for i in range(3):
            single = ag.grad(fn, (0, 2))(xs[i], lengths[i], contexts[i])
            assert_same(values[i], fn(xs[i], lengths[i], contexts[i]), 1e-14)
            assert_same(grads[0][i], single[0], 1e-12)
            assert_same(grads[1][i], single[1], 1e-12)

    @each_mode
    def test_inside_another_loop_each_round_has_lengths_of_its_own(self, mode):
        program = PROGRAMS["gated"]
        lengths = np.array([[2, 0, 4, 1], [0, 3, 1, 2], [4, 4, 0, 0]])
        xs = np.stack([spoiled(XS * (i + 1), n) for i, n in enumerate(lengths)])

        def outer(w, xs):
            def body(states, slices):
                finals = program.run((slices[0], states, w, CONTEXT), slices[1], False, mode)
                return tuple(finals[:2]), finals[2]

            states, ys = scan(body, program.states, (xs, lengths))
            return loss([*states, ys])

        def by_hand(w, xs):
            states, rows = list(map(ag.tensor, program.states)), []
            for i, n in enumerate(lengths):
                results = program.alone((xs[i], states, w, CONTEXT), n, False)
                states = results[:2]
                rows.append(results[2])
            return loss([*states, ag.stack(rows)])

        clean = np.nan_to_num(xs, posinf=0.0, neginf=0.0)
        grads, wanted = ag.grad(outer, (0, 1))(W, xs), ag.grad(by_hand, (0, 1))(W, clean)
        assert_same(outer(W, xs), by_hand(W, clean), 1e-13)
        for g, h in zip(grads, wanted, strict=True):
            assert_same(g, h, 1e-12)

    @pytest.mark.parametrize("inner", MODES)
    @pytest.mark.parametrize("outer", MODES)
    @each_direction
    def test_inside_a_ragged_loop_rows_have_rounds_and_steps_of_their_own(
        self, reverse, outer, inner
    ):
        rounds = np.array([2, 0, 3, 1])
        lengths = np.array([[2, 0, 4, 1], [0, 3, 1, 2], [4, 4, 0, 3]])
        xs = np.stack([XS * (i + 1) for i in range(3)])

        def together(w, xs):
            def body(h, slices):
                rows, n = slices
                (h,), hs = scan(
                    rnn(w, None),
                    (h,),
                    ag.swapaxes(rows, 0, 1),
                    reverse=reverse,
                    lengths=n,
                    ragged=inner,
                )
                return h, ag.swapaxes(hs, 0, 1)

            by_row = ag.swapaxes(xs, 1, 2)
            return loss(flatten(scan(body, H0, (by_row, lengths), lengths=rounds, ragged=outer))[0])

        def by_hand(w, xs):
            columns, finals = [], []
            for b, k in enumerate(rounds):
                h, rows = ag.tensor(H0[b : b + 1]), []
                for i in range(3):
                    n = lengths[i, b] if i < k else 0
                    (h,), hs = scan(rnn(w, None), (h,), xs[i, :n, b : b + 1], reverse=reverse)
                    rows.append(ag.pad(hs[:, 0], ((0, T - n), (0, 0))))
                columns.append(ag.stack(rows))
                finals.append(h)
            return loss([ag.concat(finals), ag.stack(columns, axis=1)])

        assert_same(together(W, ag.tensor(xs)), by_hand(W, ag.tensor(xs)), 1e-13)
        found, wanted = (ag.grad(fn, (0, 1))(W, xs) for fn in (together, by_hand))
        for g, h in zip(found, wanted, strict=True):
            assert_same(g, h, 1e-12)

    @pytest.mark.parametrize("truncate", [1, 2, 3])
    @each_direction
    def test_truncated_gradients_are_those_of_rows_alone(self, reverse, truncate):
        def together(w, xs, mode):
            options = {"reverse": reverse, "truncate": truncate}
            result = scan(rnn(w, None), (H0,), xs, **options, lengths=UNSORTED, ragged=mode)
            return loss(flatten(result)[0])

        def alone(w, xs):
            finals, columns = [], []
            for b, n in enumerate(UNSORTED):
                options = {"reverse": reverse, "truncate": truncate}
                row = xs[:n, b : b + 1]
                (h,), hs = scan(rnn(w, None), (H0[b : b + 1],), row, **options)
                finals.append(h)
                columns.append(ag.pad(hs, ((0, T - n), (0, 0), (0, 0))))
            return loss([ag.concat(finals), ag.concat(columns, axis=1)])

        wanted = ag.grad(alone, (0, 1))(W, XS)
        for mode in MODES:
            found = ag.grad(together, (0, 1))(W, spoiled(XS, UNSORTED), mode)
            for g, h in zip(found, wanted, strict=True):
                assert_same(g, h, 1e-13)


def delayed(xs, w, history, reverse, **ragged):
    """Return [state, its last values, outputs] of a loop that reads states and slices of others."""
    with LoopNode("late", reverse=reverse, **ragged) as node:
        x, first = node.each(xs), node.each(xs, lag=2, before="edge")
        ahead = node.each(xs, lead=1, after=0.5)
        h, old = node.branch("h", history=history, lags=(1, len(history)))
        node.feed(h, ag.tanh(x + h @ w + old * first - ahead))
        hs = node.collect(h + old)
    return [node.final(h), node.final(old), hs]


def delayed_alone(xs, w, history, reverse):
    columns = []
    for b, n in enumerate(UNSORTED):
        start = history[:, b : b + 1]
        if n:
            last, rows, hs = delayed(xs[:n, b : b + 1], w, start, reverse)
            columns.append([last, rows, ag.pad(hs, ((0, T - n), (0, 0), (0, 0)))])
        else:  # "edge" of nothing is an error
            columns.append([start[0 if reverse else -1], start, ag.zeros((T, 1, D))])
    return [ag.concat(list(z), i > 0) for i, z in enumerate(zip(*columns, strict=True))]


@each_mode
@each_direction
@pytest.mark.parametrize("lag", [2, 3, 5])
def test_delayed_states_and_slices_are_those_of_rows_alone(lag, reverse, mode):
    history = np.random.default_rng(lag).uniform(-1, 1, (lag, B, D))
    ragged = {"lengths": UNSORTED, "ragged": mode}
    xs = spoiled(XS, UNSORTED)
    found = delayed(xs, W, history, reverse, **ragged)
    wanted = delayed_alone(XS, W, history, reverse)
    for y, z in zip(found, map(ag.tensor, wanted), strict=True):
        assert_same(y, z, 1e-14)
    grads = ag.grad(lambda *args: loss(delayed(*args, reverse, **ragged)), (0, 1, 2))
    alone = ag.grad(lambda *args: loss(delayed_alone(*args, reverse)), (0, 1, 2))
    for g, h in zip(grads(xs, W, history), alone(XS, W, history), strict=True):
        assert_same(g, h, 1e-13)


class TestMisuse:
    @each_mode
    @pytest.mark.parametrize(("row", "length"), [(0, -1), (2, T + 1), (3, 2**40)])
    def test_lengths_that_cannot_be_name_loop_row_and_value(self, row, length, mode):
        lengths = UNSORTED.copy()
        lengths[row] = length
        program = PROGRAMS["rnn"]
        pattern = rf"row {row} .*{length}|ragged loop 'scan'.*row {row} .*{length}"
        with pytest.raises(ag.GraphError, match=pattern) as caught:
            program.run(arrays_of(program), lengths, False, mode)
        assert "ragged loop 'scan'" in str(caught.value)
        assert f"from 0 to {T}" in str(caught.value)
        graph = graph_of(program, mode)
        with pytest.raises(ag.GraphError, match=pattern):
            graph.run(**feed(program, UNSORTED) | {"lengths": lengths})

    @each_mode
    def test_lengths_of_the_wrong_form_are_refused_at_once(self, mode):
        def run(lengths):
            scan(lambda h, x: (h, x), H0, ag.input("xs", XS.shape), lengths=lengths, ragged=mode)

        with pytest.raises(ag.GraphError, match="loop 'scan' must be one integer for each row"):
            run(UNSORTED.astype(float))
        with pytest.raises(ag.ShapeError, match="loop 'scan' must be one integer for each row"):
            run(UNSORTED[None])
        with pytest.raises(ag.ShapeError, match="must be the 3 rows that have a length"):
            run(UNSORTED[:3])

    @each_mode
    def test_states_without_rows_are_refused(self, mode):
        pattern = r"state 'n' .* must be the 4 rows that have"
        with (
            pytest.raises(ag.ShapeError, match=pattern),
            LoopNode("sum", lengths=UNSORTED, ragged=mode) as node,
        ):
            node.branch("n", 0.0)

    def test_there_are_two_ways_to_run(self):
        with pytest.raises(ag.GraphError, match=r"ragged of loop 'rnn' .* but is 'pack'"):
            LoopNode("rnn", lengths=UNSORTED, ragged="pack")


def test_padding_that_is_read_outside_the_loop_is_filled_there():
    """What a loop collects is zero in the padding, so sums over all steps are over valid ones."""
    _, hs = scan(lambda h, x: (h + x, h * x), H0, spoiled(XS, UNSORTED), lengths=UNSORTED)
    assert_same(fill_padding(hs, UNSORTED), hs)


@pytest.mark.parametrize("limits", [{"checkpoints": 1}, {"memory": "1MB"}], ids=str)
def test_loops_inside_a_ragged_loop_store_what_they_need_whatever_the_budget(limits):
    """The body for fewer rows is derived while the loop runs, when no budget is in force."""

    def loss(xs):
        def step(h, x):
            h, _ = scan(lambda v, s: (ag.sin(v) * s + h, None), h + x, np.array([0.3, 0.7, 0.9]))
            return h, None

        return (scan(step, H0, xs, lengths=UNSORTED)[0] ** 2).sum()

    wanted = ag.grad(loss)(XS)
    assert_same(ag.grad(loss, **limits)(XS), wanted)
    graph = ag.trace(loss, XS.shape).grad(wrt=["xs"], **limits)
    assert_same(graph.run(xs=XS)["grad_xs"], wanted)


def test_what_a_ragged_loop_keeps_for_fewer_rows_goes_with_it():
    """Without a garbage collection: a body is not kept with itself."""

    def plain(h, x):
        return ag.tanh(h + x), h

    def gradient():
        ag.grad(lambda xs: scan(plain, H0, xs, lengths=np.array([2, 1, 4, 1]))[1].sum())(XS)

    gradient()
    gc.collect()
    gc.disable()
    try:
        gradient()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_gradient_of_a_scalar_that_all_rows_share():
    """It is summed over the steps in a state of shape (), of which there is one for all rows."""
    xs, lengths = np.linspace(0.1, 1.0, 12).reshape(4, 3), np.array([1, 4, 2])

    def loss(w):
        with LoopNode("ragged", lengths=lengths) as loop:
            h = loop.branch("h", np.zeros(3))
            loop.feed(h, ag.tanh(h + loop.each(xs)) * w)
        return ag.sum(loop.final(h))

    ag.check_grad(loss, (np.array(0.7),), order=2)
