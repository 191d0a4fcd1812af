"""Both directions, layer on layer, layers as steps: against loops written by hand, and PyTorch."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
from autograd.tree import flatten
from loops import Layer, bidirectional, chained, over_layers, over_time, scan, stacked
from tests.loop_reference import assert_same, leaf, reference_loop

RNG = np.random.default_rng(12)
T, B, D, H = 4, 2, 2, 3
XS = RNG.uniform(-1, 1, (T, B, D))
H0 = RNG.uniform(-1, 1, (4, B, H))
W = [
    {
        name: RNG.uniform(-1, 1, shape)
        for name, shape in {"x": (n, H), "h": (H, H), "b": (H,)}.items()
    }
    for n in (D, D, 2 * H, 2 * H, H, H)
]


def cell(w, state, x):
    h = ag.tanh(x @ w["x"] + state @ w["h"] + w["b"])
    return h, h


def gated(w, state, x):
    """A body with a tree for a carry, and a tree of outputs."""
    h, n = state
    gate = ag.sigmoid(x @ w["x"])
    h = gate * h + (1 - gate) * ag.tanh(h @ w["h"])
    return (h, n + 1), {"h": h, "gate": gate}


def body(k, weights=W):
    return partial(cell, weights[k])


def by_hand(k, h0, xs, reverse=False, weights=W):
    """Return (last, hs) of one layer, step by step, on tensors."""

    def step(states, slices):
        h, y = cell(weights[k], states[0], slices[0])
        return [h], [y]

    (last,), rows = reference_loop(step, [h0], [xs], xs.shape[0], reverse)
    return last, ag.stack([row[0] for row in rows])


def both_by_hand(k, j, h0, g0, xs, weights=W):
    last, hs = by_hand(k, h0, xs, weights=weights)
    first, gs = by_hand(j, g0, xs, reverse=True, weights=weights)
    return (last, first), (hs, gs)


def drawn(fn, *values):
    """Return the outputs of the graph of `fn`, run on `values`."""
    return list(ag.trace(fn, *values).run(**dict(zip("abcdefgh", values, strict=False))).values())


def leaves_of(tree):
    return flatten(tree)[0]


MERGES = {
    "concat": lambda f, b: ag.concat([f, b], axis=-1),
    "sum": lambda f, b: f + b,
    "mean": lambda f, b: (f + b) / 2,
}


class TestBidirectional:
    @pytest.mark.parametrize("merge", [*MERGES, ag.maximum])
    def test_both_directions_by_hand(self, merge):
        (last, first), (hs, gs) = both_by_hand(0, 1, H0[0], H0[1], XS)
        (f, b), ys = bidirectional(body(0), body(1), merge=merge)((H0[0], H0[1]), XS)
        function = MERGES.get(merge, merge) if isinstance(merge, str) else merge
        assert_same(f, last)
        assert_same(b, first)
        assert_same(ys, function(hs, gs))

    def test_without_merging_the_outputs_are_a_pair(self):
        _, (hs, gs) = both_by_hand(0, 1, H0[0], H0[1], XS)
        _, pair = bidirectional(body(0), body(1), merge=None)([H0[0], H0[1]], XS)
        assert type(pair) is tuple
        assert_same(pair[0], hs)
        assert_same(pair[1], gs)

    def test_finals_are_the_states_at_both_ends(self):
        (last, first), (hs, gs) = bidirectional(body(0), body(1), merge=None)((H0[0], H0[1]), XS)
        assert_same(last, hs[-1])
        assert_same(first, gs[0])

    def test_one_body_serves_both_directions(self):
        shared = bidirectional(body(0))((H0[0], H0[1]), XS)[1]
        assert_same(shared, bidirectional(body(0), body(0))((H0[0], H0[1]), XS)[1])

    def test_virtual_and_tensors_have_the_same_bits(self):
        def layer(a, b, c):
            finals, ys = bidirectional(body(0), body(1))((b, c), a)
            return [*finals, ys]

        eager = layer(ag.tensor(XS), ag.tensor(H0[0]), ag.tensor(H0[1]))
        for x, y in zip(drawn(layer, XS, H0[0], H0[1]), eager, strict=True):
            assert_same(x, y)

    def test_reversed_each_direction_runs_the_other_way(self):
        layer = bidirectional(body(0), body(1), merge=None)
        (first, last), (gs, hs) = layer((H0[0], H0[1]), XS, reverse=True)
        assert_same(first, by_hand(0, H0[0], XS, reverse=True)[0])
        assert_same(last, by_hand(1, H0[1], XS)[0])
        assert_same(gs, by_hand(0, H0[0], XS, reverse=True)[1])
        assert_same(hs, by_hand(1, H0[1], XS)[1])

    def test_trees_of_carries_and_outputs_are_merged_leaf_by_leaf(self):
        fn = partial(gated, W[0])
        init = ((H0[0], np.int64(0)), (H0[1], np.int64(10)))
        finals, ys = bidirectional(fn, merge="sum")(init, XS)
        (h, n), (_, m) = finals
        forward = scan(fn, init[0], XS)
        backward = scan(fn, init[1], XS, reverse=True)
        assert (int(n), int(m)) == (T, 10 + T)
        assert_same(h, forward[0][0])
        assert sorted(ys) == ["gate", "h"]
        for key, y in ys.items():
            assert_same(y, forward[1][key] + backward[1][key])

    def test_bodies_without_output(self):
        finals, ys = bidirectional(lambda n, x: (n + x, None), merge="sum")((0.0, 1.0), XS[:, 0, 0])
        assert ys is None
        assert finals[1].item() - finals[0].item() == pytest.approx(1.0, abs=1e-12)
        pair = bidirectional(lambda n, x: (n + x, None), merge=None)((0.0, 1.0), XS[:, 0, 0])[1]
        assert pair == (None, None)

    def test_mean_of_integers_is_a_float(self):
        _, ys = bidirectional(lambda n, x: (n + x, n), merge="mean")((0, 0), np.arange(3))
        assert_same(ys, np.array([1.5, 1.0, 0.5]))

    def test_an_array_is_drawn_once_for_both(self):
        h0 = ag.input("h0", (B, H))
        _, ys = bidirectional(body(0), body(1))((h0, h0), XS)
        constants = [n for n in ag.Graph(h0, {"ys": ys}).find(op="constant") if n.ndim == 3]
        assert len(constants) == 1

    @pytest.mark.parametrize("steps", [0, 1])
    def test_no_step_and_one_step(self, steps):
        finals, ys = bidirectional(body(0), body(1))((H0[0], H0[1]), XS[:steps])
        assert ys.shape == (steps, B, 2 * H)
        if steps == 0:
            assert_same(finals[1], H0[1])


class TestStacked:
    def hand(self, xs=XS):
        low, hs = by_hand(0, H0[0], xs)
        middle, hs = by_hand(4, H0[1], hs)
        high, hs = by_hand(5, H0[2], hs)
        return (low, middle, high), hs

    def test_layer_after_layer_and_step_after_step_are_the_layers_by_hand(self):
        bodies, inits = [body(0), body(4), body(5)], tuple(H0[:3])
        wanted, hs = self.hand()
        for finals, ys in (stacked(bodies)(inits, XS), scan(chained(bodies), inits, XS)):
            assert type(finals) is tuple
            for x, y in zip(finals, wanted, strict=True):
                assert_same(x, y)
            assert_same(ys, hs)

    @pytest.mark.parametrize("reverse", [False, True])
    def test_both_forms_have_the_same_gradients(self, reverse):
        def gradients(form):
            def loss(weights, inits, xs):
                bodies = [partial(cell, w) for w in weights]
                finals, ys = form(bodies)(list(inits), xs, reverse=reverse)
                return (ys * ys).sum() + sum((f * f).sum() for f in finals)

            return ag.grad(loss, (0, 1, 2))([W[0], W[4]], (H0[0], H0[1]), XS)

        one_loop = gradients(lambda bodies: over_time(chained(bodies)))
        for x, y in zip(leaves_of(gradients(stacked)), leaves_of(one_loop), strict=True):
            assert_same(x, y, 1e-14)

    def test_a_body_without_state_between_the_layers(self):
        def scaled(nothing, x):
            return nothing, 2.0 * x

        bodies, inits = [body(0), scaled, body(4)], [H0[0], (), H0[1]]
        _, hs = by_hand(4, H0[1], 2.0 * by_hand(0, H0[0], XS)[1])
        for finals, ys in (stacked(bodies)(inits, XS), scan(chained(bodies), inits, XS)):
            assert type(finals) is list
            assert finals[1] == ()
            assert_same(ys, hs)

    def test_without_sequences_the_length_counts(self):
        count = lambda n, _: (n + 1.0, n)  # noqa: E731
        finals, ys = stacked([count, lambda n, x: (n + x, n)])((0.0, 0.0), length=4)
        assert (finals[0].item(), finals[1].item()) == (4.0, 6.0)
        assert_same(ys, np.array([0.0, 0.0, 1.0, 3.0]))

    def test_one_loop_of_all_layers_may_stop(self):
        def count(n, _):
            return n + 1.0, n + 1.0

        def add(total, x):
            return total + x, total + x

        finals, ys, steps = scan(
            chained([count, add]), (0.0, 0.0), length=10, until=lambda carry, y: y > 5.0
        )
        assert (finals[0].item(), finals[1].item(), steps.item()) == (3.0, 6.0, 3)
        assert_same(ys, np.array([1.0, 3.0, 6.0, *[0.0] * 7]))

    def test_layers_may_change_direction(self):
        layer = stacked([body(0), over_time(body(4), reverse=True)])
        _, ys = layer((H0[0], H0[1]), XS)
        assert_same(ys, by_hand(4, H0[1], by_hand(0, H0[0], XS)[1], reverse=True)[1])
        _, ys = layer((H0[0], H0[1]), XS, reverse=True)
        assert_same(ys, by_hand(4, H0[1], by_hand(0, H0[0], XS, reverse=True)[1])[1])


class TestTogether:
    def test_a_stack_of_both_directions(self):
        layer = stacked([bidirectional(body(0), body(1)), bidirectional(body(2), body(3))])
        inits = ((H0[0], H0[1]), (H0[2], H0[3]))
        finals, ys = layer(inits, XS)
        low, pair = both_by_hand(0, 1, H0[0], H0[1], XS)
        high, pair = both_by_hand(2, 3, H0[2], H0[3], ag.concat(pair, axis=-1))
        assert_same(ys, ag.concat(pair, axis=-1))
        for x, y in zip(leaves_of(finals), [*low, *high], strict=True):
            assert_same(x, y)

    def test_both_directions_of_a_stack(self):
        pair = bidirectional(stacked([body(0), body(4)]), stacked([body(1), body(5)]), merge=None)
        _, (hs, gs) = pair(((H0[0], H0[1]), (H0[2], H0[3])), XS)
        assert_same(hs, by_hand(4, H0[1], by_hand(0, H0[0], XS)[1])[1])
        there = by_hand(1, H0[2], XS, reverse=True)[1]
        assert_same(gs, by_hand(5, H0[3], there, reverse=True)[1])

    def test_a_layer_is_a_body_for_sequences_of_sequences(self):
        sentences = np.stack([XS, XS[::-1], 2 * XS])
        layer = stacked([body(0), body(4)])
        finals, ys = scan(layer, (H0[0], H0[1]), sentences, name="text")
        state = (H0[0], H0[1])
        for xs, y in zip(sentences, ys, strict=True):
            state, wanted = layer(state, xs)
            assert_same(y, wanted)
        assert_same(finals[1], state[1])

    def test_loops_are_called_by_where_they_are(self):
        layers = [bidirectional(body(0), body(1)), bidirectional(body(2), body(3))]
        xs = ag.input("xs", (T, B, D))
        inits = ((H0[0], H0[1]), (H0[2], H0[3]))
        graph = ag.Graph(xs, {"ys": stacked(layers)(inits, xs, name="encoder")[1]})
        ways = ("forward", "backward")
        names = [f"encoder.layer_{k}.{way}" for k in range(2) for way in ways]
        assert [graph.name_of(node) for node in graph.find(op="loop")] == names
        assert [node.attrs["reverse"] for node in graph.find(op="loop")] == [False, True] * 2
        assert graph["encoder.layer_1.backward"].op.name == "loop"
        for picture in (graph.draw(), str(graph)):
            assert all(name in picture for name in names)

    def test_names_without_one_given(self):
        xs = ag.input("xs", (T, B, D))
        layer = bidirectional(stacked([body(0), body(4)]))
        graph = ag.Graph(xs, {"ys": layer(((H0[0], H0[1]), (H0[2], H0[3])), xs)[1]})
        assert [graph.name_of(node) for node in graph.find(op="loop")] == [
            f"bidirectional.{way}.layer_{k}" for way in ("forward", "backward") for k in range(2)
        ]


def encoder(xs, a, b):
    """Everything at once: layers as steps over a stack of both directions."""
    layers = [bidirectional(partial(cell, a), body(1)), bidirectional(body(2), partial(cell, b))]
    finals, ys = stacked(layers)(((H0[0], H0[1]), (H0[2], H0[3])), xs, name="encoder")
    stack = {"w": a["h"] * np.ones((3, 1, 1)), "b": b["b"] * np.arange(3.0)[:, None]}
    top = over_layers(lambda h, p: ag.tanh(h @ p["w"] + p["b"]), ys[..., :H], stack)
    return (top * ys[..., H:]).sum() + sum((f * f).sum() for f in leaves_of(finals))


def encoder_by_hand(xs, a, b):
    weights = [a, W[1], W[2], b]
    low, pair = both_by_hand(0, 1, H0[0], H0[1], xs, weights)
    high, pair = both_by_hand(2, 3, H0[2], H0[3], ag.concat(pair, axis=-1), weights)
    top = pair[0]
    for k in range(3):
        top = ag.tanh(top @ a["h"] + b["b"] * float(k))
    return (top * pair[1]).sum() + sum((f * f).sum() for f in (*low, *high))


ARGUMENTS = (XS, W[0], W[3])


class TestCalculus:
    def test_gradients_equal_those_of_loops_by_hand(self):
        found = ag.grad(encoder, (0, 1, 2))(*ARGUMENTS)
        wanted = ag.grad(encoder_by_hand, (0, 1, 2))(*ARGUMENTS)
        for x, y in zip(leaves_of(found), leaves_of(wanted), strict=True):
            assert_same(x, y, 1e-13)

    def test_differences_to_order_two_both_modes(self):
        ag.check_grad(encoder, (XS[:2], *ARGUMENTS[1:]), order=2)

    def test_hessian_vector_products_and_tangents_equal_those_by_hand(self):
        random = np.random.default_rng(3)
        along = tuple(
            {k: random.normal(size=v.shape) for k, v in x.items()}
            if isinstance(x, dict)
            else random.normal(size=x.shape)
            for x in ARGUMENTS
        )
        for transform in (ag.hvp, ag.jvp):
            found = transform(encoder, ARGUMENTS, along)
            wanted = transform(encoder_by_hand, ARGUMENTS, along)
            for x, y in zip(leaves_of(found), leaves_of(wanted), strict=True):
                assert_same(x, y, 1e-12)

    def test_the_graph_unrolls_resizes_and_goes_through_a_file(self, tmp_path):
        graph = ag.trace(encoder, *ARGUMENTS)
        values = dict(zip(graph.inputs, [XS, *W[0].values(), *W[3].values()], strict=True))
        wanted = encoder_by_hand(*ARGUMENTS)
        graph.save(tmp_path / "encoder.json")
        for form in (graph, graph.unroll(), ag.Graph.load(tmp_path / "encoder.json")):
            assert_same(form.run(**values)["output"], wanted, 1e-14)
        assert not graph.unroll().find(op="loop")
        longer = np.concatenate([XS, -XS, XS])
        found = graph.resize(xs=longer.shape).run(**{**values, "xs": longer})["output"]
        assert_same(found, encoder_by_hand(longer, *ARGUMENTS[1:]), 1e-14)

    def test_the_gradient_graph_equals_the_gradient(self):
        graph = ag.trace(encoder, *ARGUMENTS)
        values = dict(zip(graph.inputs, [XS, *W[0].values(), *W[3].values()], strict=True))
        found = graph.grad(wrt=list(graph.inputs)).run(**values)
        wanted = leaves_of(ag.grad(encoder, (0, 1, 2))(*ARGUMENTS))
        for name, y in zip(graph.inputs, wanted, strict=True):
            assert_same(found[f"grad_{name}"], y, 1e-14)


class TestOverLayers:
    WEIGHTS = RNG.uniform(-1, 1, (3, H, H))
    BIASES = RNG.uniform(-1, 1, (3, H))

    @staticmethod
    def layer(x, p):
        return ag.tanh(x @ p["w"] + p["b"])

    def by_hand(self, x, parameters, order=(0, 1, 2)):
        for k in order:
            x = self.layer(x, {"w": parameters["w"][k], "b": parameters["b"][k]})
        return x

    @pytest.mark.parametrize("reverse", [False, True])
    def test_layers_and_stacked_gradients_by_hand(self, reverse):
        order = (2, 1, 0) if reverse else (0, 1, 2)
        parameters = {"w": leaf(self.WEIGHTS), "b": leaf(self.BIASES)}
        x = leaf(H0[0])
        y = over_layers(self.layer, x, parameters, reverse=reverse)
        wanted = {"w": leaf(self.WEIGHTS), "b": leaf(self.BIASES)}
        z = leaf(H0[0])
        by_hand = self.by_hand(z, wanted, order)
        assert_same(y, by_hand)
        (y * y).sum().backward()
        (by_hand * by_hand).sum().backward()
        assert_same(x.grad, z.grad, 1e-15)
        for name, parameter in parameters.items():
            assert parameter.grad.shape[0] == 3
            assert_same(parameter.grad, wanted[name].grad, 1e-15)

    def test_stacked_parameters_of_a_drawn_graph(self):
        w, b = ag.parameter("w", self.WEIGHTS), ag.parameter("b", self.BIASES)
        x = ag.input("x", (B, H))
        y = over_layers(self.layer, x, {"w": w, "b": b})
        graph = ag.Graph(x, {"loss": (y * y).sum()})
        assert graph["layers"].inputs[-2:] == (w, b)
        found = graph.grad().run(x=H0[0])
        eager = ag.grad(lambda w, b: (self.by_hand(H0[0], {"w": w, "b": b}) ** 2.0).sum(), (0, 1))
        for name, wanted in zip("wb", eager(self.WEIGHTS, self.BIASES), strict=True):
            assert_same(found[f"grad_{name}"], wanted, 1e-14)

    def test_finite_differences_to_order_two(self):
        def loss(x, w, b):
            return (over_layers(self.layer, x, {"w": w, "b": b}) ** 2.0).sum()

        ag.check_grad(loss, (H0[0], self.WEIGHTS, self.BIASES), order=2)

    def test_parameters_of_single_layers_are_stacked_first(self):
        parts = [leaf(w) for w in self.WEIGHTS]
        y = over_layers(lambda x, w: ag.tanh(x @ w), H0[0], ag.stack(parts))
        (y * y).sum().backward()
        whole = leaf(self.WEIGHTS)
        z = over_layers(lambda x, w: ag.tanh(x @ w), H0[0], whole)
        (z * z).sum().backward()
        for k, part in enumerate(parts):
            assert_same(part.grad, whole.grad[k])

    def test_recurrent_layers_as_steps_equal_a_stack_of_loops(self):
        weights = [{"x": W[k]["x"], "h": W[k]["h"], "b": W[k]["b"]} for k in (4, 5)]
        parameters = {key: np.stack([w[key] for w in weights]) for key in ("x", "h", "b")}
        inputs = RNG.uniform(-1, 1, (T, B, H))

        def recurrent(xs, layer):
            own, h0 = layer
            last, hs = scan(partial(cell, own), h0, xs, name="time")
            return hs, last

        hs, finals = scan(recurrent, inputs, (parameters, H0[:2]), name="layers")
        wanted, ys = stacked([partial(cell, w) for w in weights])((H0[0], H0[1]), inputs)
        assert_same(hs, ys)
        assert_same(finals[0], wanted[0])
        assert_same(finals[1], wanted[1])


class TestErrors:
    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda: bidirectional(body(0), merge="mul"), "merge must be one of 'concat', 'sum'"),
            (lambda: bidirectional(3), r"a layer is made of a body.* but 3 is int"),
            (lambda: stacked([body(0), None]), "but None is NoneType"),
            (lambda: stacked([]), "stacked needs at least one layer"),
            (lambda: chained([]), "chained needs at least one body"),
            (
                lambda: bidirectional(body(0))(H0[0], XS, name="encoder"),
                r"'encoder' takes .* of 2 carries \(forward, backward\), but got value",
            ),
            (
                lambda: stacked([body(0), body(4)])((H0[0],), XS),
                r"'stacked' takes .* 2 carries \(layer_0, layer_1\), but got \(value,\); wri",
            ),
            (
                lambda: scan(chained([body(0), body(4)]), H0[0], XS),
                r"'chained' takes .* 2 carries \(body 0, body 1\), but got value",
            ),
            (
                lambda: stacked([lambda h, x: (h, None), body(4)])((H0[0], H0[1]), XS, name="net"),
                "net.layer_0 puts out None, but layer_1 reads its output",
            ),
            (
                lambda: scan(chained([lambda h, x: (h, None), body(4)]), (H0[0], H0[1]), XS),
                "body 0 of chained puts out None, but body 1 reads",
            ),
            (
                lambda: scan(chained([lambda h, x: h + x]), (0.0,), XS),
                r"body 0 of chained must return \(carry, y\), but returned Node",
            ),
            (
                lambda: bidirectional(lambda n, x: (n, x))((0.0, 0.0), XS[:, 0, 0], name="both"),
                r"scalars \(stacked: float64\[4\]\).* \(merging the two directions of 'both'\)",
            ),
            (
                lambda: bidirectional(lambda n, x: (n, x), lambda n, x: (n, x[:1]), merge="sum")(
                    (0.0, 0.0), XS
                ),
                r"'sum' or 'mean' .* float64\[4, 2, 2\] and float64\[4, 1, 2.*of 'bidirectional'\)",
            ),
            (
                lambda: bidirectional(lambda n, x: (n, x), lambda n, x: (n, x[:1]))((0.0, 0.0), XS),
                r"equally long.* \(merging the two directions of 'bidirectional'\)",
            ),
            (
                lambda: bidirectional(lambda n, x: (n, x), lambda n, x: (n, (x, x)))(
                    (0.0, 0.0), XS
                ),
                r"put out value and \(value, value\); merging needs the same structure",
            ),
            (
                lambda: bidirectional(lambda n, x: (n, x), lambda n, x: (n, None))((0.0, 0.0), XS),
                "put out value and None; merging needs",
            ),
            (
                lambda: stacked([body(0)])(
                    (H0[0],), XS, name="net", until=lambda h, y: h.sum() > 0
                ),
                r"layer 'net' cannot stop early.*scan\(chained\(",
            ),
            (lambda: over_layers(lambda x, p: x, 0.0, {}), "loop 'layers' over layers has no para"),
            (
                lambda: over_layers(lambda x, p: x, 0.0, [W[0]["h"], W[0]["x"]], name="deep"),
                "of loop 'deep' has 2 steps",
            ),
        ],
    )
    def test_message(self, make, match):
        with pytest.raises(ag.GraphError, match=match):
            make()

    def test_unknown_options_are_those_of_scan(self):
        with pytest.raises(TypeError, match=r"scan\(\) got an unexpected keyword argument 'speed'"):
            stacked([body(0)])((H0[0],), XS, speed=2)

    def test_a_layer_says_what_it_is(self):
        assert isinstance(stacked([body(0)]), Layer)
        assert [f(body(0)).name for f in (over_time, bidirectional)] == ["scan", "bidirectional"]


# --- PyTorch --------------------------------------------------------------------------------------

FILE = Path(__file__).parent / "fixtures" / "torch_stacks.json"
ROWS = json.loads(FILE.read_text(encoding="utf-8"))["rows"]


def torch_cell(kind, w, state, x):
    """One step of `nn.RNN` or `nn.LSTM`, with `w` = weight_ih, weight_hh, bias_ih, bias_hh."""
    h = state[0] if kind == "LSTM" else state
    total = x @ w[0].T + w[2] + h @ w[1].T + w[3]
    if kind == "RNN":
        h = ag.tanh(total)
        return h, h
    i, f, g, o = ag.split(total, 4, axis=-1)
    c = ag.sigmoid(f) * state[1] + ag.sigmoid(i) * ag.tanh(g)
    h = ag.sigmoid(o) * ag.tanh(c)
    return (h, c), h


def as_torch(row, arrays, **options):
    """Return [output, final states...] as torch orders them."""
    ways = ["", "_reverse"] if row["bidirectional"] else [""]
    states = [arrays[key] for key in arrays if key.startswith("state")]

    def part(number, suffix):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        fn = partial(torch_cell, row["kind"], [arrays[f"{name}_{suffix}"] for name in names])
        init = tuple(s[number] for s in states)
        return fn, init if row["kind"] == "LSTM" else init[0]

    layers, inits = [], []
    for k in range(row["layers"]):
        parts = [part(k * len(ways) + d, f"l{k}{way}") for d, way in enumerate(ways)]
        bodies, carries = zip(*parts, strict=True)
        layers.append(bidirectional(*bodies) if len(ways) == 2 else bodies[0])
        inits.append(carries if len(ways) == 2 else carries[0])
    finals, ys = stacked(layers)(inits, arrays["xs"], **options)
    leaves = leaves_of(finals)
    return [ys, *[ag.stack(leaves[i :: len(states)]) for i in range(len(states))]]


def row_name(row):
    lengths = "" if row["lengths"] is None else "-ragged"
    return f"{row['kind']}-{row['layers']}-{1 + row['bidirectional']}{lengths}"


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_values_and_gradients_equal_those_of_pytorch(row):
    """A ragged row is PyTorch's packed sequence: each row runs as long as it is."""
    arrays = {name: leaf(value) for name, value in row["arrays"].items()}
    options = {} if row["lengths"] is None else {"lengths": np.array(row["lengths"])}
    outputs = as_torch(row, arrays, **options)
    for y, wanted in zip(outputs, row["outputs"], strict=True):
        np.testing.assert_allclose(y.value, wanted, rtol=1e-12, atol=1e-14)
    cotangents = map(np.array, row["cotangents"])
    sum((y * u).sum() for y, u in zip(outputs, cotangents, strict=True)).backward()
    for name, wanted in row["gradients"].items():
        np.testing.assert_allclose(arrays[name].grad.value, wanted, rtol=1e-10, atol=1e-12)
