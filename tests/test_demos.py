"""Every demo in its quick form, and the published numbers that the demos reproduce."""

import sys

import numpy as np
import pytest

import autograd as ag
from demos import (
    adder_data,
    article_view,
    binary_addition,
    first_rnn,
    loop_of_squares,
    matrix_calculus,
    showing,
    xor,
)
from demos.article import Adadelta, Article, GlibcRandom
from demos.recipes import Default, Numpy, Published, Recipe
from tests.oracles import binary_addition as oracle
from tests.oracles import published_numbers as published
from tests.oracles.glibc_random import GlibcRandom as OracleRandom

DEMOS = [article_view, binary_addition, first_rnn, loop_of_squares, matrix_calculus, xor]
WITH_PICTURES = [binary_addition, first_rnn, xor]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Demos write their pictures below the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(ag.Graph, "draw", lambda self, path: path.touch())


# --- all demos ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.__name__)
def test_demos_run_in_their_quick_form_and_print_the_same_twice(demo, capsys):
    demo.main(["--quick"])
    first = capsys.readouterr().out
    assert first
    demo.main(["--quick"])
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("demo", WITH_PICTURES, ids=lambda demo: demo.__name__)
def test_demos_run_without_optional_parts_and_say_what_to_install(demo, capsys, monkeypatch):
    for name in ("tqdm", "matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)

    def no_renderer(self, path):
        raise ag.DrawError("no pygraphviz here; install it")

    monkeypatch.setattr(ag.Graph, "draw", no_renderer)
    demo.main(["--quick"])
    out = capsys.readouterr().out
    assert "no pygraphviz here; install it" in out
    if demo is not first_rnn:
        for missing in ("tqdm is not installed", "matplotlib is not installed"):
            assert missing in out
        assert "python -m pip install 'loopgrad[demos]'" in out


def test_pictures_are_drawn_and_named(capsys, tmp_path):
    pytest.importorskip("pygraphviz")
    showing.picture(loop_of_squares.squares(), tmp_path / "new" / "loop.svg", "virtual graph")
    assert capsys.readouterr().out == f"virtual graph: {tmp_path / 'new' / 'loop.svg'}\n"
    assert "<svg" in (tmp_path / "new" / "loop.svg").read_text()


def test_a_loss_curve_is_drawn(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    for count in (1, 3, 500):
        showing.curve(list(np.linspace(1, 0, count)), tmp_path / f"{count}.png", "loss")
        assert (tmp_path / f"{count}.png").read_bytes().startswith(b"\x89PNG")
    assert "loss curve:" in capsys.readouterr().out


# --- binary addition: data ------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 8, 63, 64, 65, 70])
def test_bits_of_sums_are_those_of_python_integers(width):
    rng = np.random.default_rng(0)
    a, b = rng.integers(2 ** min(width, 64) - 1, size=(2, 50), dtype=np.uint64, endpoint=True)
    xs, ys = adder_data.addends(a, b, width), adder_data.sums(a, b, width)
    assert (xs.shape, ys.shape) == ((width, 50, 2), (width, 50, 1))
    for i in range(50):
        assert adder_data.number(xs[:, i, 0]) == int(a[i])
        assert adder_data.number(xs[:, i, 1]) == int(b[i])
        assert adder_data.number(ys[:, i, 0]) == (int(a[i]) + int(b[i])) % 2**width


def test_all_pairs_are_all():
    a, b = adder_data.all_pairs()
    assert len({*zip(a.tolist(), b.tolist(), strict=True)}) == 16384 == len(a)
    assert (a.max(), b.max()) == (127, 127)


def test_glibc_random_agrees_with_a_c_program():
    random = GlibcRandom()
    assert tuple(random.rand() for _ in range(10)) == published.GLIBC_SEED_1
    random = GlibcRandom(42)
    assert tuple(random.rand() for _ in range(5)) == published.GLIBC_SEED_42
    for seed in (0, 1, 7):
        ours, other = GlibcRandom(seed), OracleRandom(seed)
        assert [ours.rand() for _ in range(500)] == [other.rand() for _ in range(500)]


# --- binary addition: recipes ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 9])
def test_the_default_recipe_learns_to_add(seed, capsys):
    """Seeds 0 to 9 all do, at the full number of steps; two of them here."""
    recipe = Default(seed)
    binary_addition.train(recipe, Default.steps)
    assert binary_addition.examine(recipe, seed) == (16384, 1000)
    out = capsys.readouterr().out
    assert "16,384 / 16,384 right" in out
    assert "1,000 / 1,000 right" in out
    assert out.count("(right)") == 3


@pytest.mark.usefixtures("no_pictures")
def test_the_main_program_draws_three_graphs_trains_and_examines(capsys, tmp_path):
    binary_addition.main(["--quick", "--seed", "3", "--out", "here"])
    out = capsys.readouterr().out
    assert "seed 3, 400 training steps" in out
    for name in ("virtual.svg", "unrolled.svg", "gradient.svg"):
        assert (tmp_path / "here" / name).exists()
        assert f"here/{name}" in out
    assert out.count("loss:0.") == 4
    assert "all pairs of addends below 128: 16,384 / 16,384 right" in out


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--steps", "0"], "--steps must be at least 1, but is 0"),
        (["--seed", "-1"], "--seed must be at least 0, but is -1"),
        (["--recipe", "other"], "invalid choice: 'other'"),
    ],
)
def test_wrong_options_are_refused(options, match, capsys):
    with pytest.raises(SystemExit):
        binary_addition.main(options)
    assert match in capsys.readouterr().err


def test_steps_and_seed_are_options(capsys, no_pictures):
    binary_addition.main(["--recipe", "numpy", "--steps", "2", "--seed", "5"])
    assert "seed 5, 2 training steps" in capsys.readouterr().out


def test_a_report_is_printed_as_the_listing_prints_it():
    run = published.NUMPY_DOCUMENT_RUN[0]
    bits = adder_data.bits_of(np.array([run.guess]), 8)[:, 0]
    report = Numpy(0).report(run.a, run.b, bits, run.loss)
    assert report + "\n" == published.NUMPY_DOCUMENT_FIRST_BLOCK


def learn(recipe: Recipe, steps: int) -> list[float]:
    return binary_addition.train(recipe, steps).losses


@pytest.mark.parametrize(
    ("recipe", "run"),
    [
        (Numpy, oracle.numpy_recipe),
        (Published, oracle.published_recipe),
        (Article, oracle.article_recipe),
    ],
)
def test_recipes_follow_their_oracles_step_by_step(recipe, run, capsys):
    """Nobody wrote a gradient for the recipes; in the oracles they are derived by hand."""
    weights: oracle.Weights = {}
    expected = [report.loss for report in run(weights, iterations=400, every=1)]
    ours = recipe(recipe.first_seed)
    np.testing.assert_allclose(learn(ours, 400), expected, rtol=1e-10)
    for name, parameter in ours.graph.parameters.items():
        np.testing.assert_allclose(parameter.value, weights[name], rtol=1e-9, err_msg=name)


@pytest.mark.slow
def test_the_published_recipe_prints_its_ten_published_errors_and_sums(capsys):
    recipe = Published(0)
    binary_addition.train(recipe, Published.steps)
    lines = capsys.readouterr().out.splitlines()
    for run, error, total in zip(published.PUBLISHED_RUN, lines[::5], lines[3::5], strict=True):
        assert error == f"Error:[{run.loss}]"
        assert total == f"{run.a} + {run.b} = {run.guess}"
    assert binary_addition.examine(recipe, 0) == (16384, 1000)


@pytest.mark.slow
def test_the_numpy_recipe_has_its_first_and_last_loss(capsys):
    recipe = Numpy(0)
    losses = learn(recipe, Numpy.steps)
    # 1e-12: the last digits depend on the BLAS kernels, in the listing itself too
    assert losses[0] == pytest.approx(published.NUMPY_RUN_FIRST.loss, rel=1e-12)
    assert losses[19000] == pytest.approx(published.NUMPY_RUN_LAST.loss, rel=1e-12)
    sums = capsys.readouterr().out.splitlines()[3::5]
    for run, line in ((published.NUMPY_RUN_FIRST, sums[0]), (published.NUMPY_RUN_LAST, sums[-1])):
        assert line == f"{run.a} + {run.b} = {run.guess}"
    assert binary_addition.examine(recipe, 0) == (16384, 1000)


@pytest.mark.slow
def test_the_article_recipe_prints_the_article_lines(capsys):
    """The first four of twenty, three of them wrong; the rest follow at the full 20,000 steps."""
    recipe = Article(1)
    binary_addition.train(recipe, Article.quick_steps)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == published.ARTICLE_FIRST_LINE
    assert lines == [f"{a}+{b} guess = :{guess}" for a, b, guess in published.ARTICLE_RUN[:4]]
    assert binary_addition.examine(recipe, 1) == (16384, 1000)


def test_the_article_optimizer_uses_old_accumulators_one_for_each_use():
    uses = np.array([[1.0, -2.0], [0.5, 0.0]])
    optimizer, p = Adadelta(0.2), np.array([3.0, 3.0])
    p, acc = optimizer.update(p, uses, None)
    np.testing.assert_allclose(p, [2.7, 3.4])
    np.testing.assert_allclose(acc, uses**2)
    p, acc = optimizer.update(p, uses, acc)
    np.testing.assert_allclose(p, [2.7 - 0.2 / 1.5 - 0.1, 3.4 + 0.4 / 2.5])
    np.testing.assert_allclose(acc, uses**2)


# --- the article's view of its graphs -------------------------------------------------------------


def test_the_article_counts_are_those_of_our_graphs():
    graph = Article(1).graph
    virtual = article_view.virtual_view(graph)
    assert len(virtual.nodes) == published.ARTICLE_VIRTUAL_NODES
    assert list(virtual.branches) == ["Branch:1:"]
    assert len(virtual.edges) == published.ARTICLE_VIRTUAL_EDGES
    whole = article_view.computation_view(graph.select("losses", "last_product"))
    assert len(whole.nodes) == published.ARTICLE_UNROLLED_NODES
    assert len(whole.edges) == published.ARTICLE_UNROLLED_EDGES
    assert len(whole.sinks) == published.ARTICLE_UNROLLED_SINKS
    pruned = article_view.computation_view(graph.select("losses"))
    assert len(pruned.nodes) == published.ARTICLE_PRUNED_NODES
    assert set(whole.nodes) - set(pruned.nodes) == published.ARTICLE_PRUNED_AWAY
    assert pruned.sinks == [f"AbsSum:1:{step}:" for step in range(8)]


def test_the_first_step_of_the_article_reads_zeros_and_the_next_the_step_before():
    view = article_view.computation_view(Article(1).graph.select("losses"))
    assert (article_view.INITIAL, "Add:1:0:") in view.edges
    for step in range(1, 8):
        assert (f"Mult:h:{step - 1}:", f"Add:1:{step}:") in view.edges


def test_the_view_walks_the_graph_it_is_given():
    """At another length the counts follow: 17 nodes a step, and the zeros."""
    longer = Article(1).graph.select("losses", "last_product").resize(xs=(3, 1, 2), ys=(3, 1, 1))
    view = article_view.computation_view(longer)
    assert (len(view.nodes), len(view.edges)) == (17 * 3 + 1, 17 * 3)


# --- the small demos ------------------------------------------------------------------------------


def test_loop_of_squares_has_the_article_numbers():
    graph = loop_of_squares.squares()
    results = graph.run()
    assert (float(results["first"]), *results["rest"]) == published.SQUARES
    gradients = loop_of_squares.gradients(graph)
    values = tuple(float(gradients[name]) for name in ("s_2", "s_1", "s_0"))
    assert values == published.SQUARES_GRADIENTS
    assert (gradients["p"] == published.SQUARES_GRADIENT_P).all()
    rolled = graph.grad(of="last").run()["grad_p"]
    np.testing.assert_array_equal(rolled, gradients["p"])


def test_loop_of_squares_prints_the_step_of_sgd(capsys):
    loop_of_squares.main(["--quick"])
    assert f"{published.SQUARES_P_AFTER_STEP} each" in capsys.readouterr().out


def test_nested_loops_have_six_nodes_and_64():
    graph = loop_of_squares.doublings()
    assert graph.run(start=1.0)["last"] == published.NESTED_LOOP_VALUE
    doubles = graph.unroll().find(op="multiply")
    assert len(doubles) == published.NESTED_LOOP_NODES


@pytest.mark.parametrize("name", published.OP_TABLE)
def test_matrix_calculus_has_the_article_table(name):
    value, gradients = matrix_calculus.derived(name)
    expected, expected_gradients = published.OP_TABLE[name]
    np.testing.assert_allclose(value, expected, atol=6e-7)
    assert len(gradients) == len(expected_gradients)
    for got, want in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, want, atol=6e-7)


def test_matrix_calculus_uses_the_article_matrices():
    np.testing.assert_array_equal(matrix_calculus.P1, published.OP_P1)
    np.testing.assert_array_equal(matrix_calculus.P2, published.OP_P2)
    np.testing.assert_array_equal(matrix_calculus.MASK, published.OP_DROPOUT_MASK)
    assert set(matrix_calculus.OPS) == set(published.OP_TABLE)


@pytest.mark.parametrize("name", published.OP_TABLE)
def test_a_row_of_ones_times_the_jacobian_is_the_gradient(name):
    matrix = matrix_calculus.jacobian(name)
    _, gradients = matrix_calculus.derived(name)
    np.testing.assert_allclose(np.ones(len(matrix)) @ matrix, gradients[0].ravel(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_xor_is_learned(seed, capsys):
    model = xor.Xor(np.random.default_rng(seed))
    xor.train(model, xor.QUICK_STEPS)
    np.testing.assert_allclose(xor.answers(model), xor.TARGETS[:, 0], atol=0.01)
