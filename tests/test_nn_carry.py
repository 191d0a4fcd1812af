"""Training steps that hand something on to the next: truncated backpropagation, block by block."""

import numpy as np
import pytest

import autograd as ag
import nn
from tests.nn_helpers import RNG

BLOCKS = RNG(0).normal(size=(7, 5, 2, 3))
ZERO = np.zeros((1, 2, 4))


def made(**options) -> tuple[nn.LSTM, nn.TrainingStep]:
    lstm = nn.LSTM(3, 4, rng=0)

    def loss(xs, h, c):
        hs, (h, c) = lstm(xs, (h, c))
        return {"loss": ag.square(hs - 1.0).mean(), "h_after": h, "c_after": c}

    carry = {"h": "h_after", "c": "c_after"}
    return lstm, nn.TrainingStep(loss, nn.Adam(lstm.parameters(), 0.01), carry=carry, **options)


def by_hand(steps: int = 7) -> tuple[list[float], dict[str, np.ndarray]]:
    """A stateful layer in the eager habit."""
    lstm = nn.LSTM(3, 4, stateful=True, rng=0)
    optimizer = nn.Adam(lstm.parameters(), 0.01)
    losses = []
    for xs in BLOCKS[:steps]:
        optimizer.zero_grad()
        loss = ag.square(lstm(xs)[0] - 1.0).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses, lstm.state_dict()


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_blocks_are_trained_as_by_a_stateful_layer(backend):
    pytest.importorskip("llvmlite") if backend == "native" else None
    losses, state = by_hand()
    lstm, step = made(backend=backend)
    found = [float(step.run(xs=BLOCKS[0], h=ZERO, c=ZERO)["loss"])]
    found += [float(step.run(xs=xs)["loss"]) for xs in BLOCKS[1:]]
    np.testing.assert_allclose(found, losses, rtol=1e-12)
    other, again = made(backend=backend)
    many = again.many(xs=BLOCKS, same={"h": ZERO, "c": ZERO}, outputs=["loss"])
    np.testing.assert_allclose(many["loss"], losses, rtol=1e-12)
    for model in (lstm, other):
        for name, value in model.state_dict().items():
            np.testing.assert_allclose(value, state[name], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(again.carried["c"], step.carried["c"])


def test_what_is_carried_goes_on_over_calls_and_can_be_set_and_saved():
    whole, _ = by_hand()
    lstm, step = made()
    step.carried = {"h": ZERO, "c": ZERO}
    begun = step.many(xs=BLOCKS[:3])["loss"]
    kept = {**lstm.state_dict()}, step.optimizer.state_dict(), step.state_dict()
    np.testing.assert_allclose([*begun, *step.many(xs=BLOCKS[3:])["loss"]], whole, rtol=1e-12)
    other, resumed = made()
    other.load_state_dict(kept[0])
    resumed.optimizer.load_state_dict(kept[1])
    resumed.load_state_dict(kept[2])
    np.testing.assert_allclose(resumed.many(xs=BLOCKS[3:])["loss"], whole[3:], rtol=1e-12)


def test_fit_hands_it_on_and_checkpoints_have_it(tmp_path):
    pytest.importorskip("safetensors")
    whole, _ = by_hand()
    batches = [{"xs": xs} for xs in BLOCKS]
    lstm, step = made()
    step.carried = {"h": ZERO, "c": ZERO}
    history = nn.fit(step, batches, epochs=2, model=lstm, checkpoints=tmp_path)
    assert history["loss"][0] == pytest.approx(np.mean(whole))
    again, other = made()
    other.carried = {"h": ZERO, "c": ZERO}
    nn.fit(other, batches, epochs=1, model=again, checkpoints=tmp_path / "half")
    third, resumed = made()
    found = nn.fit(resumed, batches, epochs=2, model=third, checkpoints=tmp_path / "half")
    assert found["loss"] == history["loss"]
    for name, value in third.state_dict().items():
        np.testing.assert_array_equal(value, lstm.state_dict()[name])


def test_what_cannot_be_carried_is_said():
    _, step = made()
    with pytest.raises(ag.GraphError, match=r"nothing is carried yet; .* run\(h=\.\.\.\)"):
        step.run(xs=BLOCKS[0])
    with pytest.raises(ag.GraphError, match="nothing is carried yet"):
        step.many(xs=BLOCKS)
    weight = ag.parameter("w", np.ones(3))

    def loss(xs, h):
        return {"loss": (weight * xs).sum() + h.sum(), "twice": ag.concat([h, h])}

    optimizer = nn.SGD([weight], 0.1)
    step = nn.TrainingStep(loss, optimizer, carry={"h": "twice"})
    with pytest.raises(ag.ShapeError, match=r"'twice' of a step, float64\[4\], to input 'h'"):
        step.run(xs=np.ones(3), h=np.ones(2))
    step = nn.TrainingStep(loss, optimizer, carry={"h": "once"})
    with pytest.raises(ag.GraphError, match="no output 'once'"):
        step.run(xs=np.ones(3), h=np.ones(2))
    with pytest.raises(ag.GraphError, match="carries h from step to step, but was given c"):
        step.load_state_dict({"c": np.ones(2)})
