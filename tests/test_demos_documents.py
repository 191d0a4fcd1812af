"""The demos of the documents on RNNs: their numbers, and the networks that they lead to."""

import sys
import threading
from collections import Counter

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.errors import LoopGradError, ShapeError
from demos import first_network, first_rnn, language_model, text_data, time_rnn, torch_walk
from demos.first_network import OPTIMIZERS, FirstRNN, optimizer_named
from demos.language_models import (
    LanguageModel,
    Training,
    Writer,
    bigram_perplexity,
    block_loss,
    blocks_of,
    chosen,
    perplexity,
    unigram_perplexity,
)
from tests.oracles import published_numbers as published
from tests.oracles.first_rnn import FirstRNN as Oracle
from tests.test_oracles import first_rnn as oracle_rnn

DEMOS = [torch_walk, time_rnn, pytest.param(language_model, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Demos write their pictures below the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.__name__.removeprefix("demos."))
def test_demos_print_the_same_twice_and_run_without_optional_parts(demo, capsys, monkeypatch):
    def touched(self, path):
        drawn.append(path.name)

    def no_renderer(self, path):
        raise ag.DrawError("no pygraphviz here; install it")

    drawn: list[str] = []
    monkeypatch.setattr(ag.Graph, "draw", touched)
    demo.main(["--quick"])
    first = capsys.readouterr().out
    assert len(drawn) == 2
    assert all(name in first for name in drawn)
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(ag.Graph, "draw", no_renderer)
    demo.main(["--quick"])
    second = capsys.readouterr().out
    assert second.count("no pygraphviz here; install it") == 2
    printed = [line for line in first.splitlines() if ".svg" not in line]
    bare = [line for line in second.splitlines() if "install" not in line]
    assert printed == bare


# --- the Go article's network ---------------------------------------------------------------------


def test_first_rnn_has_the_reference_numbers():
    results = first_rnn.run(first_rnn.draw(), 1)
    same = {"rtol": 1e-13, "atol": 0}
    np.testing.assert_allclose(results["hidden"][0], published.FIRST_HIDDEN, **same)
    np.testing.assert_allclose(results["outputs"][0, 0], published.FIRST_OUTPUT, **same)
    np.testing.assert_allclose(results["loss"], published.FIRST_HALF_LOSS, **same)
    np.testing.assert_allclose(results["grad_input_weight"], published.FIRST_D_IW, **same)
    np.testing.assert_array_equal(results["grad_hidden_weight"], published.FIRST_D_HW)
    np.testing.assert_allclose(results["grad_output_weight"][:, 0], published.FIRST_D_OW, **same)
    np.testing.assert_allclose(results["grad_xs"][0], published.FIRST_DX, **same)


def test_first_rnn_keeps_its_state_and_has_the_gradients_of_its_oracle():
    results = first_rnn.run(first_rnn.draw(), 3)
    np.testing.assert_allclose(results["hidden"], published.FIRST_KEPT_HIDDEN, rtol=1e-13)
    np.testing.assert_allclose(results["outputs"][:, 0], published.FIRST_KEPT_OUTPUTS, rtol=1e-13)
    xs, targets = np.array([first_rnn.X] * 3), np.array([first_rnn.TARGET] * 3)
    expected = oracle_rnn().gradients(xs, targets, np.zeros(2))
    for name, gradient in (
        ("input_weight", expected.d_iw),
        ("hidden_weight", expected.d_hw),
        ("output_weight", expected.d_ow),
        ("xs", expected.dx),
        ("h0", expected.dh0),
    ):
        np.testing.assert_allclose(results[f"grad_{name}"], gradient, rtol=1e-12, err_msg=name)
    assert np.abs(results["grad_hidden_weight"]).min() > 1e-3


def test_first_rnn_called_again_with_its_last_state_goes_on():
    model = first_rnn.article_network()
    outputs, state = [], None
    for _ in range(3):
        output, hidden = model([first_rnn.X], state)
        state = hidden[-1]
        outputs.append(float(output[0, 0]))
    np.testing.assert_allclose(outputs, published.FIRST_KEPT_OUTPUTS, rtol=1e-13)


def test_first_rnn_of_a_batch_is_that_of_its_rows():
    model = FirstRNN(3, 4, 2, 4, rng=0)
    rng = np.random.default_rng(1)
    xs, state = rng.normal(size=(5, 6, 3)), rng.normal(size=(6, 4))
    oracle = Oracle(*[p.value for p in model.parameters()])
    outputs, hidden = model(xs, state)
    from_zeros, _ = model(xs)
    for row in range(6):
        hs, os = oracle.forward(xs[:, row], state[row])
        np.testing.assert_allclose(hidden.value[:, row], hs, rtol=1e-13)
        np.testing.assert_allclose(outputs.value[:, row], os, rtol=1e-13)
        _, os = oracle.forward(xs[:, row], np.zeros(4))
        np.testing.assert_allclose(from_zeros.value[:, row], os, rtol=1e-13)


def test_first_rnn_drawn_from_zeros_takes_other_lengths_and_batches():
    model = FirstRNN(2, 3, 1, 3, rng=0)
    graph = ag.trace(lambda xs: {"outputs": model(xs)[0]}, (2, 1, 2))
    xs = np.random.default_rng(1).normal(size=(7, 5, 2))
    drawn = graph.resize(xs=xs.shape).run(xs=xs)["outputs"]
    np.testing.assert_allclose(drawn, model(xs)[0].value, rtol=1e-14)


@pytest.mark.parametrize("shape", [(4, 2), (4, 3, 2)])
def test_first_rnn_has_right_gradients(shape):
    model = FirstRNN(2, 3, 2, 3, rng=0)
    kinds = np.arange(np.prod(shape[:-1])).reshape(shape[:-1]) % 2

    def loss(xs):
        return nn.cross_entropy(model(xs)[0], kinds)

    ag.check_grad(loss, np.random.default_rng(2).normal(size=shape))
    ag.check_grad(loss, np.random.default_rng(2).normal(size=shape), order=2)


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ((2, 2, 1, 1), "state_dim must equal hidden_dim, but they are 1 and 2; .*the same number"),
        ((2, 3, 1, 4), "state_dim must equal hidden_dim, but they are 4 and 3"),
        ((0, 2, 1, 2), "input_dim must be a whole number >= 1, but is 0"),
        ((2, -1, 1, 2), "hidden_dim must be a whole number >= 1, but is -1"),
        ((2, 2, 1.0, 2), "output_dim must be a whole number >= 1, but is 1.0"),
        ((2, 2, 1, True), "state_dim must be a whole number >= 1, but is True"),
    ],
)
def test_first_rnn_validates_its_sizes(sizes, match):
    with pytest.raises(LoopGradError, match=match):
        FirstRNN(*sizes)


@pytest.mark.parametrize("sizes", [(2, 3, 1, 3), (3, 2, 1, 2), (1, 1, 1, 1)])
def test_first_rnn_takes_sizes_that_made_the_listing_panic(sizes):
    outputs, hidden = FirstRNN(*sizes, rng=0)(np.ones((4, sizes[0])))
    assert (outputs.shape, hidden.shape) == ((4, sizes[2]), (4, sizes[1]))


@pytest.mark.parametrize(
    ("xs", "state", "match"),
    [
        ((4, 3), None, r"FirstRNN takes \(steps, 2\) or \(steps, batch, 2\), but got"),
        ((2,), None, r"FirstRNN takes \(steps, 2\)"),
        ((4, 2), (5,), r"the state of FirstRNN must be of shape \(3,\)"),
        ((4, 6, 2), (3,), r"the state of FirstRNN must be of shape \(6, 3\)"),
    ],
)
def test_first_rnn_says_what_does_not_fit(xs, state, match):
    model = FirstRNN(2, 3, 1, 3, rng=0)
    with pytest.raises(ShapeError, match=match):
        model(np.ones(xs), None if state is None else np.ones(state))


def test_optimizers_are_chosen_by_name_and_another_name_lists_them():
    parameters = FirstRNN(2, 3, 1, 3, rng=0).parameters()
    chosen = optimizer_named("adagrad", parameters, lr=0.25)
    assert (type(chosen), chosen.lr) == (nn.Adagrad, 0.25)
    assert optimizer_named("sgd", parameters).momentum == 0.9
    with pytest.raises(
        LoopGradError, match="no optimizer named 'adagard'; .*" + ", ".join(OPTIMIZERS)
    ):
        optimizer_named("adagard", parameters)


def test_a_step_of_adagrad_is_the_rule():
    """theta -= lr g / (sqrt(G) + eps) with G += g^2, for a gradient by the oracle."""
    model = first_rnn.article_network()
    xs, targets = np.array([first_rnn.X] * 3), np.array([first_rnn.TARGET] * 3)
    optimizer = optimizer_named("adagrad", model.parameters(), lr=0.1)

    def loss(xs, targets):
        return nn.half_squared_error(model(xs)[0], targets, reduction="sum")

    step = nn.TrainingStep(loss, optimizer)
    weights = [np.array(first_rnn.WEIGHTS[name]) for name in first_rnn.WEIGHTS]
    totals = [np.zeros_like(w) for w in weights]
    for _ in range(3):
        step.run(xs=xs, targets=targets)
        expected = Oracle(*weights).gradients(xs, targets, np.zeros(2))
        for i, g in enumerate((expected.d_iw, expected.d_hw, expected.d_ow)):
            totals[i] = totals[i] + g * g
            weights[i] = weights[i] - 0.1 * g / (np.sqrt(totals[i]) + 1e-10)
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        np.testing.assert_allclose(parameter.value, weight, rtol=1e-10)


def test_first_rnn_learns_with_every_optimizer_at_once_as_alone():
    before = threading.active_count()
    together = first_rnn.learn_at_once(list(OPTIMIZERS), 200, seed=0)
    assert threading.active_count() == before
    for name, learned in together.items():
        assert np.mean(learned.losses[-20:]) < 0.7 * learned.losses[0], name
    assert together["adagrad"].right(first_rnn.Waves.some(500, 1)) > 0.95
    for name in ("adagrad", "adam"):
        alone = first_rnn.learn(name, 200, seed=0)
        np.testing.assert_array_equal(alone.losses, together[name].losses)
        for p, q in zip(alone.model.parameters(), together[name].model.parameters(), strict=True):
            np.testing.assert_array_equal(p.value, q.value)


def test_first_rnn_refuses_an_optimizer_it_has_not(capsys):
    with pytest.raises(SystemExit):
        first_rnn.main(["--optimizer", "newton"])
    assert "invalid choice: 'newton'" in capsys.readouterr().err
    assert set(first_network.OPTIMIZERS) >= {"adagrad", "sgd"}


# --- the walk through torch's layers --------------------------------------------------------------


def test_the_walk_prints_the_documents_lines(capsys):
    torch_walk.main([])
    lines = capsys.readouterr().out.splitlines()
    names = ", ".join(map(repr, published.RNN_NAMES))
    assert lines[0] == f"odict_keys([{names}])"
    for line in (
        "out: torch.Size([10, 3, 20]) h: torch.Size([1, 3, 20])",
        "out: torch.Size([10, 3, 20]) h: torch.Size([4, 3, 20])",
        "h0: torch.Size([3, 20])",
        "h1: torch.Size([3, 15])",
        f"    {published.RNN_100_20_PARAMETERS} + {published.RNN_CELL_20_15_PARAMETERS} parameters",
        "one step: [3, 100] @ [20, 100]^T + [3, 20] @ [20, 20]^T = [3, 20]",
        "nn.RNN is its cell, stepped: True",
    ):
        assert line in lines
    text = "\n".join(lines)
    assert f"{published.RNN_100_20_FOUR_LAYERS_PARAMETERS} parameters; h[k] equals" in text
    assert "k = 0, ...: [False, False, False, True]" in text
    assert f"parameters: {', '.join(published.RNN_CELL_NAMES)}" in text
    assert "nn.Recurrent([below, above]) ends there too: True" in text


def test_the_walks_shapes_are_those_of_the_matrices_it_names(capsys):
    rnn = nn.RNN(100, 20, rng=0)
    torch_walk.names_and_shapes(rnn)
    out = capsys.readouterr().out
    x, h = np.ones((3, 100)), np.ones((3, 20))
    product = x @ rnn.weight_ih_l0.value.T + h @ rnn.weight_hh_l0.value.T
    for array in (x, h, product, rnn.weight_ih_l0.value, rnn.weight_hh_l0.value):
        assert str(list(array.shape)) in out


def test_the_walks_chain_rule_is_the_jacobian():
    rnn = nn.RNN(3, 4, rng=0)
    xs = np.random.default_rng(0).normal(size=(5, 2, 3))
    found, product = torch_walk.through_time(rnn, xs)
    np.testing.assert_allclose(found, product, rtol=1e-12, atol=1e-15)
    assert np.abs(product - np.eye(4)).max() > 0.1


def test_the_walk_draws_one_loop_and_all_its_steps():
    graph = torch_walk.draw(nn.RNN(100, 20, rng=0), steps=3)
    assert len(graph.find(op="loop")) == 1
    assert len(graph.unroll().find(op="tanh")) == 3


# --- the TimeRNN ----------------------------------------------------------------------------------


def test_the_time_rnn_has_its_reference_numbers():
    results = time_rnn.one_block(time_rnn.reference_block())
    decimals = {"rtol": 0, "atol": 6e-11}
    for name, expected in (
        ("hs", published.BLOCK_HS),
        ("dxs", published.BLOCK_DXS),
        ("dWx", published.BLOCK_D_WX),
        ("dWh", published.BLOCK_D_WH),
        ("db", published.BLOCK_D_B),
        ("dh", published.BLOCK_DH),
    ):
        np.testing.assert_allclose(results[name], expected, **decimals, err_msg=name)
    second, from_half = time_rnn.going_on(time_rnn.reference_block()).values()
    np.testing.assert_allclose(second, published.BLOCK_SECOND_CALL_LAST_H, **decimals)
    np.testing.assert_allclose(from_half, published.BLOCK_FIRST_H_FROM_HALF, **decimals)


def test_the_time_rnn_prints_its_reference_numbers(capsys):
    time_rnn.main([])
    out = capsys.readouterr().out
    for number in [*np.ravel(published.BLOCK_HS), *np.ravel(published.BLOCK_DXS)]:
        assert f"{number:.10f}" in out
    assert "dWx 0.0768, dWh 0.0357, db 0.437" in out


def test_the_time_rnn_is_stateful_only_when_asked_and_refuses_another_batch():
    block = time_rnn.reference_block()
    assert time_rnn.stateless(block) == (True, True)
    said = time_rnn.another_batch(block)
    assert "float64[1, 2, 3]" in said
    assert "reset" in said


def test_state_grad_brings_back_what_truncation_leaves_out():
    both = time_rnn.two_blocks(time_rnn.reference_block())
    for name, gap in both.gaps("truncated").items():
        expected = published.BLOCK_TRUNCATION_GAPS[name[1:].lower()]
        assert gap == pytest.approx(expected, abs=5e-5)
        assert both.gaps("recovered")[name] < 1e-14
    whole = both.last_states["whole"]
    np.testing.assert_array_equal(both.last_states["truncated"], whole)


# --- language models: the text --------------------------------------------------------------------


def test_the_text_is_words_and_every_paragraph_is_there_once():
    found = text_data.paragraphs()
    assert len({tuple(words) for words in found}) == len(found) > 1000
    assert all(words[-1] == text_data.END and len(words) > text_data.SHORTEST for words in found)
    words = Counter(word for paragraph in found for word in paragraph)
    assert 40_000 < words.total() < 150_000
    assert "the" in dict(words.most_common(5))
    assert not any(c.isspace() or c.isupper() for word in words for c in word)


def test_the_corpus_is_split_by_paragraphs_and_its_vocabulary_is_that_of_the_training():
    corpus = text_data.topics_corpus(200)
    assert len(corpus.vocabulary) == len({*corpus.vocabulary}) == 200
    assert corpus.vocabulary[-1] == text_data.UNKNOWN
    assert corpus.train.max() == 199
    assert corpus.validation.max() == 199
    counts = np.bincount(corpus.train, minlength=200)[:-1]
    assert (np.diff(counts) <= 0).all()
    assert 0.05 < len(corpus.validation) / len(corpus.train) < 0.2
    whole = sum(len(words) for words in text_data.paragraphs())
    assert len(corpus.train) + len(corpus.validation) == whole


def test_words_become_a_text_again():
    corpus = text_data.first_words(500)
    words = [corpus.vocabulary[i] for i in corpus.train]
    assert words == [word for each in text_data.paragraphs() for word in each][:500]
    text = corpus.text(corpus.train)
    assert text_data.WORD.findall(text) == [word for word in words if word != text_data.END]
    assert len(text.splitlines()) - words.count(text_data.END) in (0, 1)
    assert " ." not in text
    assert len(corpus.validation) == 0


def test_blocks_are_those_of_the_book():
    """Its batches: words[i * jump + time] for row i, jump = (words - 1) // rows."""
    words = np.arange(100) * 7
    time = 0
    for block in blocks_of(words, rows=4, steps=6):
        for t in range(6):
            for i in range(4):
                place = i * (99 // 4) + time
                assert block["words"][t, i] == words[place]
                assert block["following"][t, i] == words[place + 1]
            time += 1
    assert time == 24


# --- language models: the models ------------------------------------------------------------------

SIGMOID = lambda x: 1.0 / (1.0 + np.exp(-x))  # noqa: E731


def by_hand(model: LanguageModel, words, state):
    """The model in NumPy, float64, without dropout."""
    w = {name: x.astype(np.float64) for name, x in model.state_dict().items()}
    out = w.get("out.weight", w["embedding.weight"])
    h, c = state["h"], state.get("c")
    logits = []
    for word in words:
        pre = w["embedding.weight"][word] @ w["cell.weight_ih"].T + w["cell.bias_ih"]
        pre = pre + h @ w["cell.weight_hh"].T + w["cell.bias_hh"]
        if c is None:
            h = np.tanh(pre)
        else:
            i, f, g, o = np.split(pre, 4, axis=-1)
            c = SIGMOID(f) * c + SIGMOID(i) * np.tanh(g)
            h = SIGMOID(o) * np.tanh(c)
        logits.append(h @ out.T + w["out.bias"])
    return np.array(logits), {"h": h} if c is None else {"h": h, "c": c}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_a_language_model_is_its_formula(cell, tied):
    model = LanguageModel(11, 4, cell, tied=tied, dropout=0.5, rng=0).eval()
    rng = np.random.default_rng(1)
    words = rng.integers(11, size=(5, 3))
    state = {name: rng.normal(size=(3, 4)).astype(np.float32) for name in model.start(3)}
    logits, after = model(words, state)
    expected, ends = by_hand(model, words, state)
    np.testing.assert_allclose(logits.value, expected, rtol=1e-4, atol=1e-5)
    for name, end in ends.items():
        np.testing.assert_allclose(after[name].value, end, rtol=1e-4, atol=1e-6)
        assert after[name].dtype == np.float32
    assert logits.dtype == np.float32
    assert len(model.parameters()) == (6 if tied else 7)
    one, after_one = model.step(words[0], state)
    np.testing.assert_allclose(one.value, expected[0], rtol=1e-4, atol=1e-5)
    assert list(after_one) == list(state)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_an_update_is_truncated_backpropagation_with_the_state_handed_on(cell):
    words = np.random.default_rng(0).integers(9, size=60)
    blocks = blocks_of(words, rows=2, steps=4)
    model, other = (LanguageModel(9, 5, cell, rng=3) for _ in range(2))
    training = Training(model, nn.SGD(model.parameters(), lr=0.5), blocks)
    optimizer = nn.SGD(other.parameters(), lr=0.5)
    state = other.start(2)
    for block in blocks.of_epoch(0):
        logits, after = other(block["words"], state)
        loss = nn.cross_entropy(logits, block["following"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state = {name: part.value for name, part in after.items()}
        taken = float(training.step.run(**block)["loss"])
        assert taken == pytest.approx(float(loss), rel=1e-5)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.value, q.value, rtol=1e-3, atol=1e-5)
    for name, part in state.items():
        np.testing.assert_allclose(training.step.carried[name], part, rtol=1e-3, atol=1e-5)


def test_the_state_is_an_input_and_an_output_of_an_update():
    model = LanguageModel(9, 5, "lstm", rng=0)
    blocks = blocks_of(np.arange(40) % 9, rows=2, steps=4)
    training = Training(model, nn.SGD(model.parameters(), lr=0.5), blocks)
    graph = training.graph()
    assert {"words", "following", "h", "c"} <= {*graph.inputs}
    assert {"loss", "h_after", "c_after"} <= {*graph.outputs}
    assert {x.dtype.name for x in graph.outputs.values()} == {"float32"}


def test_the_book_starts_as_the_book_says_and_learns_its_thousand_words():
    training = language_model.book_training(seed=0)
    model = training.model
    words = model.embedding.weight.shape[0]
    assert (training.blocks.batch_size, training.blocks.length, len(training.blocks)) == (10, 5, 19)
    assert model.embedding.weight.value.std() == pytest.approx(0.01, rel=0.05)
    assert model.cell.weight_ih.value.std() == pytest.approx(0.1, rel=0.05)
    assert model.cell.weight_hh.value.std() == pytest.approx(0.1, rel=0.05)
    assert model.out.weight.value.std() == pytest.approx(0.1, rel=0.05)
    assert not any(b.value.any() for b in (model.cell.bias_ih, model.cell.bias_hh, model.out.bias))
    first = block_loss(model)(**next(training.blocks.of_epoch(0)), **training.step.carried)["loss"]
    assert float(first) == pytest.approx(np.log(words), abs=0.3)
    found = [training.epoch() for _ in range(60)]
    assert found[0] > 0.6 * words
    assert found[-1] < 40


def test_perplexity_is_measured_without_dropout_and_the_mode_stays():
    model = LanguageModel(9, 5, "lstm", dropout=0.5, rng=0)
    words = np.random.default_rng(0).integers(9, size=30)
    measured = perplexity(model, words)
    assert model.training
    assert model.dropout.training
    logits, _ = by_hand(model, words[:-1, None], model.start(1))
    logits = logits[:, 0]
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = np.exp(-log_p[np.arange(29), words[1:]].mean())
    assert measured == pytest.approx(expected, rel=1e-5)
    nn.init.apply(model, {"out.bias": 3.0, "out.weight": 0.0})
    assert perplexity(model, words) == pytest.approx(9.0, rel=1e-5)


def test_words_are_chosen_as_often_as_they_are_probable():
    logits = np.log(np.array([[0.5, 0.2, 0.3]]))
    chances = (np.arange(1000) + 0.5)[:, None] / 1000
    picked = chosen(ag.tensor(np.tile(logits, (1000, 1))), ag.tensor(chances[:, 0])).value
    assert np.bincount(picked).tolist() == [500, 200, 300]
    edges = ag.tensor(np.array([0.0, 1.0 - 2.0**-53]))
    never = np.array([[-np.inf, 0.0, -np.inf]] * 2, np.float32)
    assert chosen(ag.tensor(never), edges).value.tolist() == [1, 1]


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_a_writer_is_the_model_stepped_by_hand(cell):
    model = LanguageModel(9, 5, cell, dropout=0.5, rng=0)
    writer = Writer(model, length=12, skip=4)
    written = writer(2, seed=7, temperature=0.7)
    word, state, expected = 2, model.start(1), []
    for t in range(12):
        logits, state = by_hand(model, np.array([[word]]), state)
        p = np.exp(logits[0, 0] / 0.7)
        p[4] = 0.0
        key = ag.random.fold_in(ag.random.key(7), t)
        chance = ag.random.uniform(key, (1,)).value[0]
        word = int(np.searchsorted(np.cumsum(p / p.sum()), chance, side="right"))
        expected.append(word)
    assert written == expected
    assert 4 not in written
    assert writer(2, seed=8, temperature=0.7) != written
    assert writer(2, seed=7, temperature=0.7) == written


def test_a_cold_writer_takes_the_likeliest_word():
    model = LanguageModel(9, 5, "rnn", rng=0)
    nn.init.apply(model, {"out.weight": nn.init.normal}, rng=1)
    written = Writer(model, length=10)(2, seed=0, temperature=1e-3)
    word, state = 2, model.start(1)
    for found in written:
        logits, state = by_hand(model, np.array([[word]]), state)
        word = int(logits[0, 0].argmax())
        assert found == word


def test_counts_give_probabilities_that_sum_to_one():
    train = np.random.default_rng(0).integers(5, size=50)  # words 5 and 6 are never seen
    for before in range(7):
        pairs = [np.array([before, word]) for word in range(7)]
        unigrams = [1.0 / unigram_perplexity(7, train, pair) for pair in pairs]
        bigrams = [1.0 / bigram_perplexity(7, train, pair) for pair in pairs]
        assert sum(unigrams) == pytest.approx(1.0)
        assert sum(bigrams) == pytest.approx(1.0)
        assert min(bigrams) > 0.0
    always = np.tile([0, 1, 2], 200)
    assert bigram_perplexity(3, always, always) < 1.01
    assert unigram_perplexity(3, always, always) == pytest.approx(3.0)


@pytest.mark.slow
def test_a_small_lstm_soon_beats_counts_of_words(capsys):
    form = language_model.Form(0, 500, None, size=100, epochs=5, rows=20, steps=35, written=0)
    corpus = text_data.topics_corpus(500)
    result = language_model.train("lstm", corpus, form, seed=0)
    assert result.validation[-1] < 0.7 * language_model.baselines(corpus, form)["unigrams"]
    assert result.validation == sorted(result.validation, reverse=True)
