"""Keys of random layers: the same where they must be, others where they must be."""

from collections.abc import Iterator

import numpy as np
import pytest

import autograd as ag
import nn
from loops import LoopNode
from tests.nn_helpers import RNG


class Noisy(nn.Cell):
    """Its state is the mask of a dropout: zeros and twos."""

    def __init__(self, size: int = 6) -> None:
        self.state_size = size
        self.dropout = nn.Dropout(0.5, rng=7)

    def forward(self, x, h):
        return self.dropout(ag.ones_like(h) + 0.0 * x)


def masks(layer: nn.Recurrent, steps: int = 9) -> np.ndarray:
    return layer(np.ones((steps, 2, 6)))[0].value


def test_every_step_of_a_recurrent_layer_draws_anew():
    layer = nn.Recurrent(Noisy())
    first, second = masks(layer), masks(layer)
    assert set(np.unique(first)) == {0.0, 2.0}
    assert len({step.tobytes() for step in first}) == 9
    assert not np.array_equal(first, second), "each call draws anew"
    np.testing.assert_array_equal(masks(layer.eval()), 1.0)


def test_under_a_key_the_same_is_drawn_and_two_layers_differ():
    one, two = nn.Recurrent(Noisy()), nn.Recurrent(Noisy())
    with nn.randomness(3):
        a, b = masks(one), masks(two)
    with nn.randomness(ag.random.key(3)):
        again = masks(one)
    np.testing.assert_array_equal(a, again)
    assert not np.array_equal(a, b)


def test_a_key_may_be_an_input_of_the_graph():
    layer = nn.Recurrent(Noisy())
    xs, key = ag.input("xs", (9, 2, 6)), ag.input("key", (2,), "uint64")
    with nn.randomness(key):
        graph = ag.Graph([xs, key], {"ys": layer(xs)[0]})
    runs = [
        one.run(xs=np.ones((9, 2, 6)), key=ag.random.key(seed).value)["ys"]
        for seed in (1, 2)
        for one in (graph, graph.unroll(), graph.compile("numpy"))
    ]
    for same in runs[1:3]:
        np.testing.assert_array_equal(same, runs[0])
    assert not np.array_equal(runs[0], runs[3])
    with nn.randomness(1):
        np.testing.assert_array_equal(masks(layer), runs[0])


def step_of(seed: int = 0, **options) -> tuple[nn.LSTM, nn.TrainingStep]:
    lstm = nn.LSTM(3, 5, 2, dropout=0.5, rng=0)

    def loss(xs):
        return ag.square(lstm(xs)[0]).mean()

    return lstm, nn.TrainingStep(loss, nn.SGD(lstm.parameters(), lr=0.1), seed=seed, **options)


def losses(step: nn.TrainingStep, steps: int = 4) -> list[float]:
    xs = RNG(5).normal(size=(4, 2, 3))
    return [float(step.run(xs=xs)["loss"]) for _ in range(steps)]


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_steps_draw_what_their_seed_and_number_say(backend):
    whole = losses(step_of(backend=backend)[1], 6)
    assert len(set(whole)) == 6
    assert losses(step_of(seed=1, backend=backend)[1]) != whole[:4]
    _, step = step_of(backend=backend)
    xs = RNG(5).normal(size=(4, 2, 3))
    many = step.many(same={"xs": xs}, steps=6)["loss"]
    np.testing.assert_allclose(many, whole, rtol=1e-13)


def test_a_step_goes_on_as_if_it_had_never_stopped():
    """Keys are made of the number of the update, which the optimizer keeps."""
    whole = losses(step_of()[1], 6)
    lstm, step = step_of()
    begun = losses(step, 3)
    other, continued = step_of()
    other.load_state_dict(lstm.state_dict())
    continued.optimizer.load_state_dict(step.optimizer.state_dict())
    assert begun + losses(continued, 3) == whole


def test_a_step_is_drawn_anew_when_a_model_changes_its_mode():
    lstm, step = step_of()
    losses(step)
    lstm.eval()
    values = {p: p.value for p in lstm.parameters()}
    xs = RNG(5).normal(size=(4, 2, 3))
    assert float(step.run(xs=xs)["loss"]) == pytest.approx(
        float(ag.square(evaluated(lstm, values, xs)).mean())
    )
    lstm.train()
    assert len(set(losses(step))) == 4


def evaluated(lstm: nn.LSTM, values: dict[ag.Parameter, np.ndarray], xs: np.ndarray) -> ag.Node:
    for p, value in values.items():
        p.value = value
    return lstm(xs)[0]


def test_a_layer_drawn_without_a_key_says_where_to_get_one():
    dropout = nn.Dropout(0.5)
    with pytest.raises(ag.GraphError, match=r"Dropout is drawn .* model\.eval\(\) first"):
        ag.trace(dropout, (3, 2))
    with pytest.raises(ag.GraphError, match="Recurrent is drawn into a graph"):
        ag.trace(nn.Recurrent(Noisy()), (3, 2, 6))
    ag.trace(dropout.eval(), (3, 2))


def test_a_key_of_outside_is_refused_in_a_body_of_the_users():
    dropout = nn.Dropout(0.5)

    def looped(inside: bool) -> Iterator[LoopNode]:
        with LoopNode("steps", length=5) as loop:
            h = loop.branch("h", ag.zeros(4))
            if inside:
                with nn.randomness(ag.random.fold_in(ag.random.key(1), loop.index)):
                    ys = loop.collect(dropout(ag.ones(4)))
            else:
                ys = loop.collect(dropout(ag.ones(4)))
            loop.feed(h, h)
        return ys

    with nn.randomness(1), pytest.raises(ag.GraphError, match=r"fold_in\(key, loop\.index\)"):
        looped(inside=False)
    assert len({row.tobytes() for row in looped(inside=True).value}) > 1


def test_seeds_are_checked():
    _, step = step_of()
    with pytest.raises(AttributeError):
        step.seed = 5
    for seed in (-1, 1.5, True, "a"):
        with pytest.raises(ag.LoopGradError, match="whole number >= 0"):
            step_of(seed=seed)
