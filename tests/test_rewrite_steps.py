"""What passes move out of loops: before them, after them, into one product over all steps.

That they change no result is checked here for each graph, and for all loop forms, random programs
and cells of all sizes in `test_rewrite_steps_laws.py`. Faults planted in passes must be noticed.
"""

import re
import textwrap
from collections import defaultdict
from itertools import groupby

import numpy as np
import pytest

import autograd as ag
from autograd.custom import custom_vjp
from autograd.op import Op
from autograd.rewrite.cost import NATIVE, NUMPY, Machine
from loops import LoopNode, scan
from loops.rewrite import accumulators, contract, regroup, residuals, split_products, steps
from tests.rewriting import after, after_with_moves, same_results
from tests.test_rewrite_steps_laws import EAGER, RELUCTANT

LEAVING = ("split_products", "regroup", "batch", "push_out", "contract", "residuals")


def inputs(**shapes):
    return [ag.input(name, shape) for name, shape in shapes.items()]


def graph_of(ins, **outputs):
    return ag.Graph(ins, outputs, name="g", allow_unused=True)


def rewritten(graph, *names, machine=EAGER, order=2):
    """Return the graph after passes, having checked that its results stayed."""
    found = after(graph, *names, machine=machine)
    same_results(graph, found, order, tolerance=1e-11)
    return found


def text(graph, inside=False):
    """Return the text of a graph without its inputs, or only that of its (only) loop's body."""
    lines = str(graph).split("\n")[1:]
    if inside:
        lines = [x[4:] for x in lines if x.startswith("    ")]
    return "\n".join(x for x in lines if not x.startswith("  input "))


def written(lines, inside=False):
    return textwrap.indent(textwrap.dedent(lines).strip("\n"), "" if inside else "  ")


def notes(graph, *names, machine=EAGER):
    """Return (what was moved, why the rest was not), both by name of the node."""
    moves = after_with_moves(graph, *names, machine=machine)[1].moves
    done = [m.node for m in moves if not m.why_not]
    return done, {m.node: m.why_not for m in moves if m.why_not}


def ops_inside(graph, loop=0):
    node = graph.find(op="loop")[loop]
    return [x.op.name for x in node.attrs["body"].nodes if x.inputs]


def rnn(machine_sizes=(4, 2, 3, 2)):
    T, B, D, H = machine_sizes
    ins = xs, h, u, w = inputs(xs=(T, B, D), h=(B, H), u=(D, H), w=(H, H))
    _, ys = scan(lambda a, x: ((b := ag.tanh(x @ u + (a @ w + 1.0))), b), h, xs, name="rnn")
    return graph_of(ins, ys=ys)


class TestRegroup:
    def test_terms_and_factors_that_no_state_reaches_are_put_together(self):
        ins = gs, ys, h, w = inputs(gs=(4, 2), ys=(4, 2), h=(2,), w=(2, 2))

        def step(a, x):
            g, y = x
            t = y + (a + g)
            return ((t - t * y * y) * y * 0.5) @ w, None

        a, _ = scan(step, h, (gs, ys), reverse=True, name="back")
        graph = rewritten(graph_of(ins, a=a), "regroup")
        assert text(graph, inside=True) == written(
            """
            shared w: float64[2, 2] <- w
            state h: float64[2] <- h, then matmul_1
            each gs: float64[2] <- gs
            each ys: float64[2] <- ys
            multiply_1 = multiply(ys, ys): float64[2]
            subtract_1 = subtract(1.0, multiply_1): float64[2]
            multiply_2 = multiply(subtract_1, ys): float64[2]
            multiply_3 = multiply(multiply_2, 0.5): float64[2]
            add_1 = add(ys, gs): float64[2]
            add_2 = add(add_1, h): float64[2]
            multiply_4 = multiply(add_2, multiply_3): float64[2]
            matmul_1 = matmul(multiply_4, w): float64[2]
            final back:h <- matmul_1
            """,
            inside=True,
        )

    def test_signs_stay(self):
        ins = xs, ys, h = inputs(xs=(3, 2), ys=(3, 2), h=(2,))

        def step(a, x):
            p, q = x
            return 0.5 * (q - a) - (p - (a * a - q)) + (a * p * q - a) + (p - a * q), None

        a, _ = scan(step, h, (xs, ys))
        graph = rewritten(graph_of(ins, a=a), "regroup", "batch")
        assert len(ops_inside(graph)) < len(ops_inside(graph_of(ins, a=a)))

    def test_what_gains_nothing_stays(self):
        ins = xs, h, w = inputs(xs=(3, 2), h=(2,), w=(2,))
        a, _ = scan(lambda a, x: (a * w * 0.5 + x + ag.tanh(a), None), h, xs)
        graph = graph_of(ins, a=a)
        assert notes(graph, "regroup") == ([], {})

    def test_values_of_several_dtypes_stay_where_they_are_rounded(self):
        xs, h = ag.input("xs", (3, 2), "float32"), ag.input("h", (2,))
        a, _ = scan(lambda a, x: (a * x.astype("float64") * 0.5, None), h, xs)
        b, _ = scan(lambda a, x: ((a.astype("float32") * x * x).astype("float64"), None), h, xs)
        graph = graph_of([xs, h], a=a, b=b)
        found = after(graph, "regroup")
        same_results(graph, found, 0, tolerance=1e-6)
        assert str(after(graph_of([xs, h], a=a), "regroup")) != str(graph_of([xs, h], a=a))


class TestBatch:
    def test_what_no_state_reaches_is_one_product_before_the_loop(self):
        assert text(rewritten(rnn(), "regroup", "batch")) == written("""
            reshape_1 = reshape(xs) shape=(8, 3): float64[8, 3]
            matmul_2 = matmul(reshape_1, u): float64[8, 2]
            matmul_1 = reshape(matmul_2) shape=(4, 2, 2): float64[4, 2, 2]
            add_1 = add(matmul_1, 1.0): float64[4, 2, 2]
            rnn = loop(u, w, h, xs, add_1) -> (float64[2, 2], float64[4, 2, 2]):
              shared u: float64[3, 2] <- u
              shared w: float64[2, 2] <- w
              state h: float64[2, 2] <- h, then tanh_1
              each xs: float64[2, 3] <- xs
              each add: float64[2, 2] <- add_1
              matmul_2 = matmul(h, w): float64[2, 2]
              add_2 = add(add, matmul_2): float64[2, 2]
              tanh_1 = tanh(add_2): float64[2, 2]
              final rnn:h <- tanh_1
              stacked rnn:out_0 <- tanh_1
            output ys = rnn:out_0
        """)

    @pytest.mark.parametrize(
        ("x_shape", "w_shape", "product"),
        [
            ((3,), (3, 2), lambda x, w: x @ w),
            ((3,), (3,), lambda x, w: x @ w),
            ((2, 3), (3,), lambda x, w: x @ w),
            ((3,), (2, 3), lambda x, w: w @ x),
            ((3, 2), (2, 3), lambda x, w: w @ x),
            ((3, 2), (3,), lambda x, w: w @ x),
            ((3,), (5, 2, 3), lambda x, w: w @ x),
            ((2, 3), (5, 3, 2), lambda x, w: x @ w),
            ((5, 2, 3), (3, 2), lambda x, w: x @ w),
            ((5, 3, 2), (2, 3), lambda x, w: w @ x),
        ],
    )
    def test_products_of_any_rank(self, x_shape, w_shape, product):
        ins = xs, w, h = inputs(xs=(4, *x_shape), w=w_shape, h=())
        a, _ = scan(lambda a, x: (ag.tanh(product(x, w).sum() + a), None), h, xs)
        graph = rewritten(graph_of(ins, a=a), "batch")
        assert "matmul" not in ops_inside(graph)
        (node,) = graph.find("matmul*", op="matmul")
        assert max(x.ndim for x in node.inputs) <= 2 or len(w_shape) == 3 or x_shape[0] == 5

    def test_small_work_pays_and_large_does_not(self):
        small, large = rnn((100, 1, 3, 4)), rnn((100, 64, 3, 512))
        machine = Machine(call=0.5e-6, bandwidth=10e9, cached_bandwidth=60e9, cache=1 << 20)
        done, left = notes(small, "regroup", "batch", machine=machine)
        assert (set(done) >= {"rnn.matmul_1", "rnn.add"}, left) == (True, {})
        done, left = notes(large, "regroup", "batch", machine=machine)
        assert "rnn.matmul_1" in done
        assert re.fullmatch(r"[\d.e+]+ us before the loop, [\d.e+]+ us in it", left["rnn.add"])

    def test_what_fuses_stays_in_the_loop(self):
        assert ops_inside(after(rnn(), "regroup", "batch", machine=NATIVE)).count("add") == 2
        assert ops_inside(after(rnn(), "regroup", "batch", machine=EAGER)).count("add") == 1

    def test_code_of_users_and_bodies_stay(self):
        @custom_vjp
        def twice(x):
            return x * 2.0

        twice.defvjp(lambda g, y, x: g * 2.0)
        ins = xs, h = inputs(xs=(3, 2), h=(2,))

        def step(a, x):
            inner, _ = scan(lambda b, _: (b * 0.5 + x, None), x, length=2)
            return ag.tanh(a + twice(x)) * inner, None

        a, _ = scan(step, h, xs)
        found = after(graph_of(ins, a=a), "batch", machine=EAGER)
        assert "loop" in ops_inside(found)
        assert len(ops_inside(found)) == len(ops_inside(graph_of(ins, a=a)))

    def test_loops_that_may_stop_stay_as_they_are(self):
        """Steps beyond the stop must not be computed: here they would take the root of -1."""
        ins = xs, h = inputs(xs=(4, 2), h=(2,))
        with LoopNode("until") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            after_ = a + ag.sqrt(x)
            loop.feed(a, after_)
            loop.until(loop.index >= 1)
            ys = loop.collect(ag.log(after_))
        graph = graph_of(ins, a=loop.final(a), ys=ys)
        assert "may stop" in notes(graph, "batch")[1]["until"]
        found = after(graph, *("regroup", "batch", "push_out", "contract"), machine=EAGER)
        assert str(found) == str(graph)
        given = np.array([[1.0, 4.0], [9.0, 1.0], [-1.0, -1.0], [-1.0, -1.0]])
        with np.errstate(all="raise"):
            values = found.run(xs=given, h=np.ones(2))
        np.testing.assert_array_equal(values["a"], [5.0, 4.0])

    def test_a_rule_that_refuses_leaves_the_loop_as_it_is(self):
        class Stubborn(Op):
            """x, but not for a batch of more than two."""

            def forward(self, x):
                return x

            def infer(self, x):
                return x

            def batch(self, batched, x):
                if x.ndim > 1:
                    raise ag.GraphError("too many at once")
                return self(x)

        ins = xs, h = inputs(xs=(3, 2), h=(2,))
        a, _ = scan(lambda a, x: (ag.tanh(a + Stubborn("stubborn")(x)), None), h, xs)
        graph = graph_of(ins, a=a)
        assert str(rewritten(graph, "batch", order=0)) == str(graph)
        assert "too many at once" in notes(graph, "batch")[1]["scan"]

    def test_parts_of_a_split_come_in_one_by_one(self):
        ins = xs, u, h = inputs(xs=(3, 4), u=(4, 6), h=(2,))

        def step(a, x):
            p, q, _ = ag.split(x @ u, 3, -1)
            return ag.tanh(a * ag.sigmoid(p) + q), None

        a, _ = scan(step, h, xs)
        graph = rewritten(graph_of(ins, a=a), "batch")
        assert ops_inside(graph) == ["multiply", "add", "tanh"]


class TestPushOut:
    def test_what_no_state_depends_on_is_one_product_after_the_loop(self):
        ins = zs, h, v = inputs(zs=(4, 2, 2), h=(2, 2), v=(2, 5))

        def step(a, x):
            b = ag.tanh(x + a)
            return b, (ag.sigmoid(b @ v), x, v * 2.0)

        _, (ys, same, twice) = scan(step, h, zs, name="rnn")
        graph = graph_of(ins, ys=ys, same=same, twice=twice)
        assert text(rewritten(graph, "push_out")) == written("""
            rnn = loop(v, h, zs) -> (float64[2, 2], float64[4, 2, 2]):
              shared v: float64[2, 5] <- v
              state h: float64[2, 2] <- h, then tanh_1
              each zs: float64[2, 2] <- zs
              add_1 = add(zs, h): float64[2, 2]
              tanh_1 = tanh(add_1): float64[2, 2]
              final rnn:h <- tanh_1
              stacked rnn:tanh_1 <- tanh_1
            reshape_1 = reshape(rnn:tanh_1) shape=(8, 2): float64[8, 2]
            matmul_2 = matmul(reshape_1, v): float64[8, 5]
            matmul_1 = reshape(matmul_2) shape=(4, 2, 5): float64[4, 2, 5]
            sigmoid_1 = sigmoid(matmul_1): float64[4, 2, 5]
            multiply_1 = multiply(v, 2.0): float64[2, 5]
            broadcast_to_1 = broadcast_to(multiply_1) shape=(4, 2, 5): float64[4, 2, 5]
            output ys = sigmoid_1
            output same = zs
            output twice = broadcast_to_1
        """)

    def test_few_bytes_are_stacked(self):
        """The sum of two wide values is stacked, not both of them; a wide one is not, for a row."""
        ins = xs, h, v = inputs(xs=(3, 2, 8), h=(2, 8), v=(8, 8))

        def step(a, x):
            b = ag.tanh(a @ v + x)
            return ag.tanh(b @ v), (b * a + a, ag.sum(ag.tanh(a * 2.0), 0))

        _, (wide, row) = scan(step, h, xs)
        machine = Machine(call=1e-9, cache=0, bandwidth=1e9)
        graph = rewritten(graph_of(ins, wide=wide, row=row), "push_out", machine=machine)
        (loop,) = graph.find(op="loop")
        assert [x.shape for x in loop.spec[1:]] == [(3, 2, 8), (3, 8)]

    def test_costly_work_that_does_not_pay_is_told(self):
        ins = xs, h = inputs(xs=(3, 2), h=(2,))
        _, ys = scan(lambda a, x: (ag.tanh(a + x), ag.exp(a) * a), h, xs)
        done, left = notes(graph_of(ins, ys=ys), "push_out", machine=RELUCTANT)
        assert (done, list(left)) == ([], ["scan.multiply_1"])
        assert "us after the loop, " in left["scan.multiply_1"]

    def test_what_would_not_fit_stays_in_the_loop(self):
        """Of scores of many words only the best is stacked; those of all steps would be 32 GB."""
        ins = xs, h, v = inputs(xs=(20000, 8), h=(8,), v=(8, 200000))
        ys = scan(lambda a, x: (ag.tanh(a + x), ag.argmax(a @ v)), h, xs)[1]
        zs = scan(lambda a, x: (ag.tanh(a + (x @ v).max()), None), h, xs)[0]
        ws = scan(lambda a, x: ((ag.tanh(a[0] + x), a[1] + a[0] @ v), None), (h, v[0]), xs)[0]
        graph = graph_of(ins, ys=ys, zs=zs, ws=ws[1])
        found = after(graph, "batch", "push_out")
        assert str(found) == str(graph)
        left = notes(graph, "batch", "push_out")[1]
        assert "32000 MB for all steps" in left["scan.matmul_1"]


class TestContract:
    def test_sums_of_products_are_one_product(self):
        ins = zs, h = inputs(zs=(4, 2, 3), h=(2, 2))

        def step(c, x):
            a, m, s = c
            b = ag.tanh(a + x[:, :2])
            return (b, m + x.T @ b, s - b.sum(0) * 2.0), None

        (a, m, s), _ = scan(step, (h, np.zeros((3, 2)), np.ones(2)), zs, name="sums")
        graph = graph_of(ins, a=a, m=m, s=s)
        assert text(rewritten(graph, "contract")) == written("""
            constant constant_1 = all 1.0: float64[2]
            sums = loop(h, zs) -> (float64[2, 2], float64[4, 2, 2]):
              state h: float64[2, 2] <- h, then tanh_1
              each zs: float64[2, 3] <- zs
              slice_1 = slice(zs) key=(:, :2): float64[2, 2]
              add_1 = add(h, slice_1): float64[2, 2]
              tanh_1 = tanh(add_1): float64[2, 2]
              final sums:h <- tanh_1
              stacked sums:tanh_1 <- tanh_1
            reshape_1 = reshape(zs) shape=(8, 3): float64[8, 3]
            reshape_2 = reshape(sums:tanh_1) shape=(8, 2): float64[8, 2]
            swapaxes_1 = swapaxes(reshape_1) axis1=-2 axis2=-1: float64[3, 8]
            add_2 = matmul(swapaxes_1, reshape_2): float64[3, 2]
            sum_1 = sum(sums:tanh_1) axis=(0, 1) keepdims=False: float64[2]
            multiply_1 = multiply(sum_1, 2.0): float64[2]
            subtract_1 = subtract(constant_1, multiply_1): float64[2]
            output a = sums:h
            output m = add_2
            output s = subtract_1
        """)

    @pytest.mark.parametrize(
        ("shape", "term"),
        [
            ((2, 2), lambda x, b, w: ag.expand_dims(x[0], -1) * ag.expand_dims(b[1], -2)),
            ((2, 2), lambda x, b, w: ag.expand_dims(b[1], 0) * ag.expand_dims(x[0], 1)),
            ((2,), lambda x, b, w: x @ b[0]),
            ((2,), lambda x, b, w: x[1] @ b),
            ((), lambda x, b, w: x[1] @ b[0]),
            ((3, 2, 2), lambda x, b, w: ag.stack([x, b, x]) @ ag.stack([b, b, x])),
            ((2, 3, 2, 2), lambda x, b, w: ag.stack([ag.stack([x, b, x])] * 2) @ _deep(x, b)),
            ((2, 2), lambda x, b, w: x @ b - (b.T @ x) * 0.5),
            ((2, 2), lambda x, b, w: -(w * (x.T @ (x + b))) @ w),
            ((2, 2), lambda x, b, w: (w @ (x * b)).T / w),
            ((1, 2), lambda x, b, w: ag.sum(x * b, 0, keepdims=True)),
            ((2, 2), lambda x, b, w: ag.exp(b) / (1.0 + x * x)),
            ((2, 2), lambda x, b, w: b[0] * x[1]),
            ((2, 2), lambda x, b, w: x + (b - x * 2.0)),
            ((2, 2), lambda x, b, w: x @ w + w @ b),
            ((2, 2), lambda x, b, w: x[:, :1] * w[:1]),
            ((2, 2), lambda x, b, w: _twice(b[:, :1] * w[0])),
            ((2, 2), lambda x, b, w: _twice(w @ b)),
            ((2, 2), lambda x, b, w: _twice(_twice(b) * 0.5)),
        ],
    )
    def test_terms_of_all_kinds(self, shape, term):
        ins = xs, h, w, start = inputs(xs=(4, 2, 2), h=(2, 2), w=(2, 2), start=shape)

        def step(c, x):
            a, s = c
            b = ag.tanh(a @ w + x)
            return (b, s + term(x, b, w)), None

        (a, s), _ = scan(step, (h, start), xs)
        graph = rewritten(graph_of(ins, a=a, s=s), "contract")
        (loop,) = graph.find(op="loop")
        assert loop.attrs["states"] == 1

    def test_what_is_read_elsewhere_or_counted_stays(self):
        ins = xs, h = inputs(xs=(4, 2), h=(2,))

        def step(c, x):
            read, fixed, number, scaled = c
            return (read + x, fixed + h, number + 1, scaled * 0.5 + x), read

        init = (h, h * 2.0, np.int64(0), h)
        finals, _ = scan(step, init, xs)
        last, ys = scan(step, init, xs)
        graph = graph_of(ins, **{f"y{i}": y for i, y in enumerate(finals)}, ys=ys, last=last[0])
        found = rewritten(graph, "trim_ports", "contract")
        assert sorted(x.attrs["states"] for x in found.find(op="loop")) == [1, 3]

    def test_sums_through_a_loop_inside_are_one_product(self):
        ins = xs, h, w = inputs(xs=(3, 5, 2, 2), h=(2, 2), w=(2, 2))

        def outer(a, x):
            return scan(lambda b, y: ((c := ag.tanh(b @ w + y)), c), a, x)

        last, _ = scan(outer, h, xs)
        graph = graph_of(ins, loss=ag.square(last).sum()).grad(wrt=["w"])
        found = rewritten(graph, "contract", order=1)
        *_, backward = [x for x in found.find(op="loop") if x.attrs["reverse"]]
        products = [x for x in found.nodes if x.op.name == "matmul"]
        assert [x.inputs[0].shape for x in products] == [(2, 30)]
        assert backward.attrs["states"] == 1

    def test_a_wide_batch_stays_in_the_loop(self):
        ins = xs, h = inputs(xs=(50, 20000, 2), h=(20000, 2))

        def step(c, x):
            a, s = c
            b = a * x
            return (b, s + x.T @ b), None

        (a, s), _ = scan(step, (h, np.zeros((2, 2))), xs)
        machine = Machine(call=1e-6, bandwidth=1e9)
        done, left = notes(graph_of(ins, a=a, s=s), "contract", machine=machine)
        assert (done, list(left)) == ([], ["scan.add_1"])
        assert "us after the loop, " in left["scan.add_1"]
        assert notes(graph_of(ins, a=a, s=s), "contract") == (["scan.add_1"], {})

    def test_deep_nests_do_not_run_out_of_axes(self):
        """Each level would stack one more axis; NumPy's arrays have at most 64."""
        x, w = value, _ = inputs(h=(2,), w=(2, 2))
        levels = []
        for i in range(70):
            loop = LoopNode(f"level{i}", length=1).__enter__()
            value = loop.branch("a", value)
            levels.append((loop, value))
        value = ag.tanh(value @ w)
        for loop, state in reversed(levels):
            loop.feed(state, value)
            loop.__exit__(None, None, None)
            value = loop.final(state)
        graph = graph_of([x, w], y=value.sum()).grad(wrt=["h", "w"])
        found = rewritten(graph, *LEAVING, order=0)
        axes = [len(spec.shape) for _, _, x in found.walk() if x.op.multiple for spec in x.spec]
        assert 20 < max(axes) <= 33

    def test_sums_of_sums_take_no_more_time_than_they_are_long(self):
        def step(c, x):
            a, s = c
            term = ag.tanh(a + x)
            for _ in range(60):
                term = (term + term) * 0.5
            return (a * x, s + term), None

        ins = xs, h = inputs(xs=(4, 2), h=(2,))
        (_, s), _ = scan(step, (h, h), xs)
        graph = rewritten(graph_of(ins, s=s), "contract", order=1)
        assert len(graph.nodes) < 200


def _twice(x):
    return x * 0.5 + ag.swapaxes(x, 0, 1)


def _deep(x, b):
    return ag.stack([ag.stack([b, b, x]), ag.stack([x, x, b])])


class TestSplitProducts:
    def test_joined_values_come_apart(self):
        ins = xs, h, w = inputs(xs=(4, 2, 3), h=(2, 2), w=(5, 2))
        a, _ = scan(lambda a, x: (ag.tanh(ag.concat([x, a], -1) @ w), None), h, xs, name="rnn")
        graph = rewritten(graph_of(ins, a=a), "split_products")
        assert text(graph, inside=True) == written(
            """
            shared w: float64[5, 2] <- w
            state h: float64[2, 2] <- h, then tanh_1
            each xs: float64[2, 3] <- xs
            slice_1 = slice(w) key=(0:3,): float64[3, 2]
            matmul_2 = matmul(xs, slice_1): float64[2, 2]
            slice_2 = slice(w) key=(3:5,): float64[2, 2]
            matmul_3 = matmul(h, slice_2): float64[2, 2]
            matmul_1 = add(matmul_2, matmul_3): float64[2, 2]
            tanh_1 = tanh(matmul_1): float64[2, 2]
            final rnn:h <- tanh_1
            """,
            inside=True,
        )

    def test_several_blocks_and_vectors(self):
        ins = xs, h, w = inputs(xs=(4, 2), h=(3,), w=(10, 3))
        a, _ = scan(
            lambda a, x: (ag.tanh(ag.concat([a, x, x * 2.0, a[:1]], -1) @ w[:8]), None), h, xs
        )
        graph = rewritten(graph_of(ins, a=a), "split_products", "batch")
        assert ops_inside(graph).count("matmul") == 2

    def test_parts_that_no_state_needs_leave(self):
        ins = xs, h, w = inputs(xs=(4, 2, 3), h=(2, 3), w=(3, 5))

        def step(a, x):
            p, q = ag.split(ag.tanh(a + x) @ w, [3], -1)
            return p, q

        a, ys = scan(step, h, xs)
        graph = rewritten(graph_of(ins, a=a, ys=ys), "split_products", "push_out")
        (loop,) = graph.find(op="loop")
        (product,) = [x for x in loop.attrs["body"].nodes if x.op.name == "matmul"]
        assert product.shape == (2, 3)

    def test_products_that_states_need_whole_stay(self):
        ins = xs, h, w = inputs(xs=(4, 2), h=(2,), w=(4, 4))
        a, _ = scan(lambda a, x: (sum(ag.split(ag.concat([a, a * x]) @ w, 2)), None), h, xs)
        graph = graph_of(ins, a=a)
        assert notes(graph, "split_products") == ([], {})


class TestResiduals:
    def graph(self):
        ins = xs, h = inputs(xs=(4, 2), h=(2,))

        def forward(a, x):
            s = ag.sigmoid(a + x)
            return s, (s, 1.0 - s)

        def back(b, x):
            s, d, y = x
            return b * s + d * y, None

        a, (s, d) = scan(forward, h, xs, name="forward")
        b, _ = scan(back, h, (s, d, xs * 2.0), reverse=True, name="back")
        return graph_of(ins, a=a, b=b)

    def test_cheap_functions_of_stored_values_are_computed_again(self):
        graph = rewritten(self.graph(), "residuals", machine=NATIVE)
        back = graph.find(op="loop")[1]
        assert [x.name or x.op.name for x in back.inputs] == ["h", "item", "xs"]
        assert ops_inside(graph, 1) == ["multiply", "subtract", "multiply", "multiply", "add"]
        same_results(self.graph(), after(self.graph(), "residuals", machine=NATIVE), 0, exact=True)

    def test_calls_that_cost_more_than_memory_are_left(self):
        graph = self.graph()
        done, left = notes(graph, "residuals", machine=NUMPY)
        assert (done, set(left)) == ([], {"forward:out_1", "multiply_1"})
        assert left["multiply_1"].endswith("us to store and read it")

    def test_what_others_read_stays_stored(self):
        ins = xs, h = inputs(xs=(4, 2), h=(2,))
        twice = xs * 2.0
        a, _ = scan(lambda a, x: (ag.tanh(a + x), None), h, twice)
        b, _ = scan(lambda a, x: (ag.tanh(a + x), None), h, ag.exp(xs))
        graph = graph_of(ins, a=a, b=b, sum=twice.sum())
        assert notes(graph, "residuals", machine=NATIVE) == ([], {})

    def test_rows_that_a_loop_leaves_out_stay_zero(self):
        """Beyond the stop 1 - s is stored as 0, not as 1 - 0."""
        ins = xs, h = inputs(xs=(4, 2), h=(2,))
        with LoopNode("until") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            s = ag.sigmoid(a + x)
            loop.feed(a, s)
            loop.until(loop.index >= 1)
            ss, ds = loop.collect(s), loop.collect(1.0 - s)
        b, _ = scan(lambda b, x: (b * 0.5 + x[0] * 0.1 + x[1], None), h, (ss, ds))
        graph = graph_of(ins, b=b)
        assert notes(graph, "residuals", machine=NATIVE)[0] == []
        rewritten(graph, "residuals", machine=NATIVE)


@pytest.mark.reference_only("plans run the passes, too")
class TestFaults:
    """The law of the passes notices what could be wrong with them."""

    def check(self, graph, *names, machine=EAGER):
        with pytest.raises((AssertionError, ag.LoopGradError)):
            rewritten(graph, *names, machine=machine, order=0)

    def test_an_accumulator_that_is_read(self, monkeypatch):
        monkeypatch.setattr(accumulators, "uses_of", lambda nodes, heads: defaultdict(lambda: 1))
        ins = xs, h = inputs(xs=(3, 2), h=(2,))
        (b, a), _ = scan(lambda c, x: ((c[0] * c[1], c[1] + x), None), (h, h), xs)
        self.check(graph_of(ins, a=a, b=b), "contract")

    def test_a_sign_lost(self, monkeypatch):
        right = contract._core_sum
        monkeypatch.setattr(contract, "_core_sum", lambda *given: -right(*given))
        ins = xs, h = inputs(xs=(3, 2), h=(2,))
        a, _ = scan(lambda a, x: (a - x, None), h, xs)
        self.check(graph_of(ins, a=a), "contract")

    def test_terms_all_added(self, monkeypatch):
        right = regroup._sum
        monkeypatch.setattr(regroup, "_sum", lambda terms: right([(x, False) for x, _ in terms]))
        ins = xs, h = inputs(xs=(3, 2), h=(2,))
        a, _ = scan(lambda a, x: (ag.tanh(x - (a * a - x * 0.5)), None), h, xs)
        self.check(graph_of(ins, a=a), "regroup")

    def test_a_factor_not_turned(self, monkeypatch):
        monkeypatch.setattr(steps, "matrix_transpose", lambda x: x)
        ins = xs, h, w = inputs(xs=(3, 2), h=(2,), w=(2, 2))
        a, _ = scan(lambda a, x: (ag.tanh(w @ x + a), None), h, xs)
        self.check(graph_of(ins, a=a), "batch")

    def test_rows_of_a_step_too_many(self, monkeypatch):
        right = contract.tall
        monkeypatch.setattr(contract, "tall", lambda x: right(x) * (np.arange(6) > 0)[:, None])
        ins = xs, h = inputs(xs=(3, 2, 2), h=(2, 2))
        a, _ = scan(lambda a, x: (a + x @ x, None), h, xs)
        self.check(graph_of(ins, a=a), "contract")

    @pytest.mark.parametrize("name", ["batch", "push_out", "contract"])
    def test_steps_beyond_the_stop(self, monkeypatch, name):
        monkeypatch.setattr(steps, "stopped_by_data", lambda attrs: False)
        ins = xs, h = inputs(xs=(4, 2), h=(2,))
        with LoopNode("until") as loop:
            x, a, total = loop.each(xs), loop.branch("a", h), loop.branch("sum", h * 0.0)
            loop.feed(a, ag.tanh(a + ag.exp(x)))
            loop.feed(total, total + ag.exp(x))
            loop.until(loop.index >= 1)
            ys = loop.collect(ag.cos(a))
        graph = graph_of(ins, ys=ys, total=loop.final(total))
        found = after(graph, name, machine=EAGER)
        if name == "batch":  # which here would only compute too much
            assert "exp" in {x.op.name for x in found.nodes}
        else:
            with pytest.raises(AssertionError):
                same_results(graph, found, 0)

    def test_what_is_stored_as_zero(self, monkeypatch):
        monkeypatch.setattr(residuals, "steps_of", lambda parts: 4)
        ins = xs, h = inputs(xs=(4, 2), h=(2,))
        with LoopNode("until") as loop:
            x, a = loop.each(xs), loop.branch("a", h)
            s = ag.sigmoid(a + x)
            loop.feed(a, s)
            loop.until(loop.index >= 1)
            ss, ds = loop.collect(s), loop.collect(1.0 - s)
        b, _ = scan(lambda b, x: (b * 0.5 + x[0] * 0.1 + x[1], None), h, (ss, ds))
        self.check(graph_of(ins, b=b), "residuals", machine=NATIVE)

    def test_the_wrong_rows_of_a_matrix(self, monkeypatch):
        def reversed_groups(nodes, key):
            return reversed([(k, list(some)) for k, some in groupby(nodes, key)])

        monkeypatch.setattr(split_products, "groupby", reversed_groups)
        ins = xs, h, w = inputs(xs=(4, 2), h=(2,), w=(4, 2))
        a, _ = scan(lambda a, x: (ag.tanh(ag.concat([x, a]) @ w), None), h, xs)
        self.check(graph_of(ins, a=a), "split_products")
