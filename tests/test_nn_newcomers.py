"""What those meet who come from PyTorch and Keras: their names, and their usual mistakes."""

import re
import zipfile

import numpy as np
import pytest

import autograd as ag
import autograd.elsewhere
import nn
import nn.elsewhere

PACKAGES = {"autograd": ag, "nn": nn}
TABLES = (
    autograd.elsewhere.FUNCTIONS,
    autograd.elsewhere.METHODS,
    nn.elsewhere.NAMES,
    nn.elsewhere.METHODS,
)


@pytest.fixture
def xs():
    return np.random.default_rng(0).normal(size=(5, 4, 3))


# Names.


@pytest.mark.parametrize("table", TABLES)
def test_names_that_hints_give_exist(table):
    for name, hint in table.items():
        for package, path in re.findall(r"\b(autograd|nn)\.([\w.]*\w)", hint):
            found = PACKAGES[package]
            for part in path.split("."):
                assert hasattr(found, part), (name, hint)
                found = getattr(found, part)


@pytest.mark.parametrize("name", autograd.elsewhere.FUNCTIONS)
def test_functions_of_others_are_not_ours(name):
    with pytest.raises(AttributeError, match=f"module 'autograd' has no attribute '{name}'; use"):
        getattr(ag, name)


@pytest.mark.parametrize("name", nn.elsewhere.NAMES)
def test_layers_of_others_are_not_ours(name):
    with pytest.raises(AttributeError, match=f"module 'nn' has no attribute '{name}'; use"):
        getattr(nn, name)


@pytest.mark.parametrize("name", autograd.elsewhere.METHODS)
def test_methods_of_other_tensors_are_not_ours(name):
    with pytest.raises(AttributeError, match=f"'Node' object has no attribute '{name}'; use|;"):
        getattr(ag.tensor(1.0), name)


@pytest.mark.parametrize("name", nn.elsewhere.METHODS)
@pytest.mark.parametrize("layer", [nn.Linear(2, 3), nn.LSTM(2, 3)], ids=lambda x: type(x).__name__)
def test_methods_of_other_models_are_not_ours(layer, name):
    said = f"'{type(layer).__name__}' object has no attribute '{name}'; use"
    with pytest.raises(AttributeError, match=said):
        getattr(layer, name)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(ag, "tensr"), (nn, "LTSM"), (ag.tensor(1.0), "vale"), (nn.RNN(1, 1), "evl")],
)
def test_other_names_leave_the_guess_to_python(owner, name):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'$") as caught:
        getattr(owner, name)
    assert caught.value.obj is owner
    assert caught.value.name == name


# Mistakes.


def test_a_layer_given_a_pair_says_to_take_it_apart(xs):
    rnn, out = nn.LSTM(3, 8), nn.Linear(8, 2)
    said = r"a tuple of 2 with \w+ float64\[5, 4, 8\].* came where one .*hs, state = rnn\(xs\)"
    for layer in (out, nn.LayerNorm(8), nn.Dropout(0.1), nn.GRU(8, 2)):
        with pytest.raises(ag.GraphError, match=said):
            layer(rnn(xs))
    with ag.no_grad(), pytest.raises(ag.GraphError, match=said):
        out(rnn(xs))
    with pytest.raises(ag.GraphError, match=said):
        ag.trace(lambda xs: out(rnn(xs)), xs)


def test_a_list_of_tensors_is_stacked_only_where_no_gradient_is_lost():
    x = ag.tensor(1.0)
    assert ag.tensor([x, x]).shape == (2,)
    with pytest.raises(ag.GraphError, match=r"a list of 2 .* join nodes .* autograd\.stack"):
        ag.tensor([x, ag.tensor(1.0, requires_grad=True)])


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (np.zeros((1, 4, 8)), "came as value: one array, where a tree of them is wanted"),
        ([5, 3, 2, 1], "; lengths are given by name: lengths="),
    ],
)
def test_states_of_another_structure(xs, state, said):
    with pytest.raises(ag.ShapeError, match=said):
        nn.LSTM(3, 8)(xs, state)


def test_a_pair_is_no_state_of_a_gru(xs):
    state = (np.zeros((1, 4, 8)), np.zeros((1, 4, 8)))
    with pytest.raises(ag.ShapeError, match=r"came as \(value, value\), where one array is wanted"):
        nn.GRU(3, 8)(xs, state)


@pytest.mark.parametrize("lengths", [np.array([5.0, 3, 2, 1]), np.ones((5, 4), bool)])
def test_lengths_that_are_floats_or_a_mask(xs, lengths):
    with pytest.raises(ag.ShapeError, match=r"\.astype\('int64'\).* mask\.sum\(axis=0\)"):
        nn.RNN(3, 8)(xs, lengths=lengths)


def test_a_column_of_classes():
    with pytest.raises(ag.ShapeError, match=r"take its last axis away: target\[\.\.\., 0\]"):
        nn.cross_entropy(np.zeros((4, 5)), np.zeros((4, 1), int))


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.LSTM(3, 8), "lstm"])
def test_what_is_no_cell(cell):
    with pytest.raises(
        ag.GraphError,
        match=r"a cell, or a list with one .* but got [^\n]*; a cell is an object of a class",
    ):
        nn.Recurrent(cell)


@pytest.mark.parametrize("what", ["module", "named", "state"])
def test_what_is_no_list_of_parameters(what):
    layer = nn.Linear(3, 4)
    given = {"module": layer, "named": layer.named_parameters(), "state": layer.state_dict()}
    with pytest.raises(ag.DTypeError, match=r"^[^\n]*pass module\.parameters\(\)[^\n]*$"):
        nn.Adam(given[what])


def test_an_array_does_not_take_the_place_of_a_parameter():
    layer, lstm = nn.Linear(3, 4), nn.LSTM(3, 4)
    for module, name in ((layer, "weight"), (lstm, "weight_hh_l0"), (lstm.cells[0][0], "bias_ih")):
        before = getattr(module, name)
        with pytest.raises(ag.LoopGradError, match=r"is a parameter, .*\.value = array"):
            setattr(module, name, np.zeros(before.shape))
        assert getattr(module, name) is before
    layer.weight.value = np.ones((4, 3))
    layer.bias = None  # no bias any more
    layer.weight = ag.parameter("weight", np.ones((4, 3)))  # tied, or new
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_archives_of_torch_and_numpy_are_told_from_damage(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 100)
    with pytest.raises(ag.FormatError, match=r"zip archive.*torch\.save.*save_file"):
        nn.load(path)


def test_errors_of_dataclasses_name_the_users_line():
    with pytest.raises(ag.LoopGradError, match=r"test_nn_newcomers\.py:\d+: initial of cosine"):
        nn.schedules.cosine(nn.Adam(nn.Linear(2, 2).parameters()), 100)


# Training.


@pytest.fixture
def step():
    out = nn.Linear(3, 2, rng=0)
    return nn.TrainingStep(
        lambda xs, ys: nn.squared_error(out(xs), ys), nn.SGD(out.parameters(), lr=0.1)
    )


def test_a_step_takes_its_batch_by_name_or_by_place(step, xs):
    ys = np.zeros((5, 4, 2))
    losses = [step.run(xs=xs, ys=ys)["loss"], step.run(xs, ys)["loss"], step.run(xs, ys=ys)["loss"]]
    assert losses[0] > losses[1] > losses[2]
    with pytest.raises(ag.GraphError, match=r"takes 2 inputs \(xs, ys\), but 3 came"):
        step.run(xs, ys, ys)
    with pytest.raises(ag.GraphError, match=r"\(xs, ys\), and xs came twice, by place and by name"):
        step.run(xs, xs=xs, ys=ys)


def test_a_model_is_no_loss_of_a_batch_of_other_names(xs):
    model = nn.Linear(3, 2)
    step = nn.TrainingStep(model, nn.SGD(model.parameters(), lr=0.1))
    said = (
        r"the Linear that is given as the loss .*lambda xs, ys.* takes \(x\), .* batch has \(xs\)"
    )
    with pytest.raises(ag.GraphError, match=said):
        step.run(xs=xs)
    with pytest.raises(ag.GraphError, match=said):
        nn.evaluate(model, {"xs": xs})


def test_a_module_that_returns_its_loss_may_be_the_loss(xs):
    class Error(nn.Module):
        def __init__(self):
            self.out = nn.Linear(3, 2, rng=0)

        def forward(self, xs, ys):
            return nn.squared_error(self.out(xs), ys)

    model = Error()
    step = nn.TrainingStep(model, nn.SGD(model.parameters(), lr=0.1))
    ys = np.zeros((5, 4, 2))
    assert step.run(xs=xs, ys=ys)["loss"] > step.run(xs, ys)["loss"]


def test_numbers_of_epochs_and_batches(step, xs):
    with pytest.raises(ag.LoopGradError, match=r"batch_size must be .*, but is ndarray .*by name"):
        nn.Batches(xs)
    with pytest.raises(ag.LoopGradError, match=r"epochs must be .* >= 1, but is int 0$"):
        nn.fit(step, nn.Batches(2, xs=xs, ys=xs[..., :2]), epochs=0)


def test_columns_of_a_table_that_are_no_numbers_are_named():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"size": [1.0, 2.0], "town": ["x", "y"], "big": [True, False]})
    table["kind"] = table["town"].astype("category")
    with pytest.raises(ag.DTypeError, match=r"DataFrame, whose columns 'town' \(.*, 'kind' \(cat"):
        nn.Batches(2, xs=table)


def test_tables_of_numbers_of_different_kinds_are_floats():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"size": [1.5, 2.5], "big": [True, False]})
    table["count"] = pandas.array([3, None], dtype="Int64")
    batches = nn.Batches(2, xs=table, shuffle=False)
    (batch,) = batches.of_epoch(0)
    assert batch["xs"].dtype == np.float64
    np.testing.assert_array_equal(batch["xs"], [[1.5, 1, 3], [2.5, 0, np.nan]])


def test_layers_in_no_module_are_told_to_be_held_in_one():
    first, second = nn.Linear(2, 3), nn.Linear(3, 1)

    def step():
        parameters = [*first.parameters(), *second.parameters()]
        return nn.TrainingStep(lambda x: second(first(x)).mean(), nn.SGD(parameters, lr=0.1))

    x = np.ones((4, 2))
    with pytest.raises(ag.GraphError, match=r"two leaves are called 'weight'.* in one module"):
        step().run(x)
    model = nn.Sequential(first, second)
    assert step().run(x)["loss"].shape == ()
    assert [p.name for p in model.parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_validation_without_a_model_that_drops_says_to_give_it():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    step = nn.TrainingStep(lambda x: model(x).mean(), nn.SGD(model.parameters(), lr=0.1))
    data = {"x": np.ones((4, 3))}
    with pytest.raises(ag.GraphError, match=r"model\.eval.* given model="):
        nn.fit(step, [data], validation=data)
    assert "val_loss" in nn.fit(step, [data], validation=data, model=model)


def test_a_stateful_layer_says_how_it_forgets():
    rnn = nn.RNN(3, 4, stateful=True)
    rnn(np.ones((2, 5, 3)))
    with pytest.raises(ag.ShapeError, match=r"of a layer reset_state\(\)"):
        rnn(np.ones((2, 4, 3)))
    rnn.reset_state()
    assert rnn(np.ones((2, 4, 3)))[0].shape == (2, 4, 4)


def test_logits_are_no_probabilities():
    with pytest.raises(
        ag.LoopGradError, match=r"from 0 to 1, but got .* from -1 to 3; give logits"
    ):
        nn.binary_cross_entropy([-1.0, 3.0], [0.0, 1.0])
