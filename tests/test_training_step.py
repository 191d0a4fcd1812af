"""Training steps as graphs: the eager habit's results, bit for bit; whole steps or none."""

import copy
import gc
import signal
import threading
import tracemalloc
from time import perf_counter

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.errors import GraphError
from nn.resident import Resident
from nn.train import TrainingStep

STEPS, T, B = 12, 6, 4
RNG = np.random.default_rng
XS = RNG(0).integers(0, 2, (STEPS, T, B, 2)) * 1.0
YS = RNG(1).integers(0, 2, (STEPS, T, B, 1)) * 1.0


@pytest.fixture(autouse=True)
def reference():
    """What is compared bit for bit runs one way, whatever `pytest --backend` says."""
    with ag.backend("reference"):
        yield


OPTIMIZERS = {
    "sgd": lambda parameters: nn.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: nn.SGD(parameters, lr=0.1, momentum=0.9),
    "schedule": lambda parameters: nn.SGD(parameters, lr=lambda steps: 0.1 / (1 + steps)),
    "adam": lambda parameters: nn.Adam(parameters, lr=0.01),
}


class Net(nn.Module):
    def __init__(self, dtype="float64"):
        rng = RNG(2)
        self.rnn = nn.RNN(2, 5, rng=rng, dtype=dtype)
        self.out = nn.Linear(5, 1, rng=rng, dtype=dtype)

    def loss(self, xs, ys):
        return nn.binary_cross_entropy_with_logits(self.out(self.rnn(xs)[0]), ys)

    def values(self):
        return [p.value for p in self.parameters()]


def made(optimizer="momentum", dtype="float64", **options):
    """A net, its optimizer and its training step, all new and all alike."""
    net = Net(dtype)
    own = OPTIMIZERS[optimizer](net.parameters())
    return net, own, TrainingStep(net.loss, own, backend="reference", **options)


def eagerly(net, optimizer, xs, ys):
    optimizer.zero_grad()
    loss = net.loss(xs, ys)
    loss.backward()
    optimizer.step()
    return loss.item()


def assert_alike(one, other):
    """Assert that two pairs of a net and its optimizer are the same, bit for bit."""
    for p, q in zip(one[0].parameters(), other[0].parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    assert one[1].steps == other[1].steps
    for state, twin in zip(one[1].state, other[1].state, strict=True):
        for x, y in zip(state, twin, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_eager_steps_single_steps_and_many_in_one_call_are_the_same(optimizer):
    eager, single, many = made(optimizer), made(optimizer), made(optimizer)
    losses = [eagerly(*eager[:2], x, y) for x, y in zip(XS, YS, strict=True)]
    assert losses == [single[2].run(xs=x, ys=y)["loss"] for x, y in zip(XS, YS, strict=True)]
    np.testing.assert_array_equal(losses, many[2].many(xs=XS, ys=YS)["loss"])
    assert_alike(eager, single)
    assert_alike(eager, many)
    assert many[1].steps == STEPS


@pytest.mark.parametrize("backend", ["numpy"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_other_backends_train_alike(optimizer, backend):
    reference, single, many = made(optimizer), made(optimizer), made(optimizer)
    single[2].backend = many[2].backend = backend
    losses = reference[2].many(xs=XS, ys=YS)["loss"]
    found = [single[2].run(xs=x, ys=y)["loss"] for x, y in zip(XS, YS, strict=True)]
    np.testing.assert_allclose(found, losses, rtol=1e-11)
    np.testing.assert_allclose(many[2].many(xs=XS, ys=YS)["loss"], losses, rtol=1e-11)
    for other in (single, many):
        assert other[1].steps == STEPS
        for p, q in zip(reference[0].parameters(), other[0].parameters(), strict=True):
            np.testing.assert_allclose(p.value, q.value, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_float32_stays_float32(optimizer):
    eager, single = made(optimizer, "float32"), made(optimizer, "float32")
    x, y = XS[0].astype(np.float32), YS[0].astype(np.float32)
    for _ in range(3):
        eagerly(*eager[:2], x, y)
        single[2].run(xs=x, ys=y)
    assert_alike(eager, single)
    assert {p.dtype for p in single[0].parameters()} == {np.dtype(np.float32)}
    assert {x.dtype for state in single[1].state for x in state} == {np.dtype(np.float32)}


def test_eager_steps_and_plans_may_take_turns():
    eager, mixed = made("adam"), made("adam")
    for i in range(9):
        eagerly(*eager[:2], XS[i], YS[i])
    eagerly(*mixed[:2], XS[0], YS[0])
    mixed[2].run(xs=XS[1], ys=YS[1])
    eagerly(*mixed[:2], XS[2], YS[2])
    mixed[2].many(xs=XS[3:8], ys=YS[3:8])
    eagerly(*mixed[:2], XS[8], YS[8])
    assert_alike(eager, mixed)


def test_a_loss_from_before_a_step_is_stale():
    net, _, step = made()
    loss = net.loss(XS[0], YS[0])
    step.run(xs=XS[0], ys=YS[0])
    with pytest.raises(ag.GradientError, match="was given a new value after"):
        loss.backward()


def test_the_rate_may_change_between_steps_without_a_new_graph():
    eager, single = made(), made()
    graphs = set()
    for i, lr in enumerate((0.1, 0.5, 0.0, 0.2)):
        eager[1].lr = single[1].lr = lr
        eagerly(*eager[:2], XS[i], YS[i])
        single[2].run(xs=XS[i], ys=YS[i])
        graphs.add(single[2].graph(xs=(T, B, 2), ys=(T, B, 1)))
    assert_alike(eager, single)
    assert len(graphs) == 1


def test_a_step_is_a_graph_that_can_be_seen():
    graph = made("adam")[2].graph(xs=(T, B, 2), ys=(T, B, 1))
    assert graph.parameters == {}
    names = list(graph.inputs)
    assert names[0] == "rnn.weight_ih_l0"
    assert "out.bias.mean" in names
    assert names[-7:] == ["lr", "beta1", "beta2", "eps", "step", "xs", "ys"]
    assert list(graph.outputs)[-1] == "loss"
    assert "loop" in {node.op.name for node in graph.nodes}
    assert "output loss" in str(graph)


def test_graphs_train_too_and_other_outputs_come_along():
    net, twin = Net(), Net()
    xs, ys = ag.input("xs", XS[0].shape), ag.input("ys", YS[0].shape)
    logits = net.out(net.rnn(xs)[0])
    loss = nn.binary_cross_entropy_with_logits(logits, ys)
    graph = ag.Graph([xs, ys], {"bits": ag.sigmoid(logits), "loss": loss})
    optimizer, other = (OPTIMIZERS["sgd"](n.parameters()) for n in (net, twin))
    step = TrainingStep(graph, optimizer, backend="reference")
    before = graph.run(xs=XS[0], ys=YS[0])
    results = step.run(xs=XS[0], ys=YS[0])
    assert list(results) == ["bits", "loss"]
    np.testing.assert_array_equal(results["bits"], before["bits"])
    eagerly(twin, other, XS[0], YS[0])
    assert_alike((net, optimizer), (twin, other))
    stacked = step.many(xs=XS[1:], ys=YS[1:], outputs=["bits"])
    assert {name: x.shape for name, x in stacked.items()} == {"bits": (STEPS - 1, T, B, 1)}
    with pytest.raises(ValueError, match="read-only"):
        stacked["bits"][0] = 0.0


def test_what_the_loss_does_not_train_stays():
    net = Net()
    unused = ag.parameter("unused", [1.0])
    optimizer = nn.SGD([*net.out.parameters(), unused], lr=0.1, momentum=0.9)
    step = TrainingStep(net.loss, optimizer, backend="reference")
    before = net.values()
    step.run(xs=XS[0], ys=YS[0])
    step.many(xs=XS, ys=YS)
    after = net.values()
    assert [np.array_equal(x, y) for x, y in zip(before, after, strict=True)] == [True] * 4 + [
        False
    ] * 2
    assert unused.value.item() == 1.0
    net.rnn.weight_hh_l0.value = net.rnn.weight_hh_l0.value * 2  # read anew at every step
    losses = [step.run(xs=XS[0], ys=YS[0])["loss"].item(), net.loss(XS[0], YS[0]).item()]
    assert losses[0] != losses[1]


def test_other_kinds_of_batch_are_drawn_and_the_last_few_kept():
    net, _, step = made("sgd")
    for steps in range(1, 12):
        step.run(xs=XS[0, :1].repeat(steps, 0), ys=YS[0, :1].repeat(steps, 0))
    assert len(step._drawn) == 8
    assert step(XS[0], YS[0])["loss"].shape == ()
    assert np.isfinite(net.loss(XS[0], YS[0]).item())


def test_models_trained_by_the_same_lines_share_what_is_drawn():
    steps = [made("adam")[2] for _ in range(2)]
    losses = [step.run(xs=XS[0], ys=YS[0])["loss"] for step in steps]
    assert losses[0] == losses[1]
    one, other = (step.graph(xs=(T, B, 2), ys=(T, B, 1)) for step in steps)
    assert one is other
    steps[0].run(xs=XS[1], ys=YS[1])
    assert [step.optimizer.steps for step in steps] == [2, 1]


# --- N steps --------------------------------------------------------------------------------------


def test_steps_can_take_their_rows_out_of_a_data_set():
    stacked, gathered = made("adam"), made("adam")
    data = {"xs": np.moveaxis(XS, 2, 0).reshape(-1, T, 2), "ys": np.moveaxis(YS, 2, 0)}
    data["ys"] = data["ys"].reshape(-1, T, 1)
    rows = np.arange(B)[None] * STEPS + np.arange(STEPS)[:, None]
    time_first = {name: x.swapaxes(0, 1) for name, x in data.items()}
    expected = stacked[2].many(xs=XS, ys=YS)["loss"]
    losses = gathered[2].many(**time_first, indices=rows.astype(np.int32), axis=1)["loss"]
    np.testing.assert_array_equal(losses, expected)
    assert_alike(stacked, gathered)


def test_what_is_the_same_in_all_steps_is_given_once():
    rate = ag.parameter("w", np.ones(3))
    optimizer = nn.SGD([rate], lr=0.1)
    step = TrainingStep(lambda x, scale: (rate * x * scale).sum(), optimizer, backend="reference")
    step.many(x=np.ones((4, 3)), same={"scale": [1.0, 2.0, 3.0]})
    np.testing.assert_allclose(rate.value, 1 - 0.1 * 4 * np.array([1.0, 2.0, 3.0]))
    full = TrainingStep(lambda: ag.square(rate).sum(), optimizer, backend="reference")
    assert full.many(steps=5)["loss"].shape == (5,)
    assert optimizer.steps == 9


def test_no_steps_are_no_steps():
    net, optimizer, step = made()
    before = net.values()
    assert step.many(xs=XS[:0], ys=YS[:0])["loss"].shape == (0,)
    for x, y in zip(before, net.values(), strict=True):
        np.testing.assert_array_equal(x, y)
    assert optimizer.steps == 0


def test_chunks_are_told_of_and_change_nothing():
    whole, chunked = made("schedule"), made("schedule")
    expected = whole[2].many(xs=XS, ys=YS, seconds=1e3)["loss"]
    told = []
    losses = chunked[2].many(xs=XS, ys=YS, seconds=0.0, progress=lambda *news: told.append(news))[
        "loss"
    ]
    np.testing.assert_array_equal(losses, expected)
    assert_alike(whole, chunked)
    assert [news[:2] for news in told] == [(i + 1, STEPS) for i in range(STEPS)]
    np.testing.assert_array_equal(np.concatenate([news[2]["loss"] for news in told]), expected)


def test_a_progress_bar_if_tqdm_is_there(capsys):
    pytest.importorskip("tqdm")
    made()[2].many(xs=XS, ys=YS, progress=True)
    assert f"/{STEPS}" in capsys.readouterr().err


# --- whole steps or none --------------------------------------------------------------------------


class Interrupting(ag.custom.CustomFunction):
    """An identity that raises KeyboardInterrupt at one of its uses."""

    at = -1

    def __init__(self):
        super().__init__(self.used)
        self.defvjp(lambda g, y, x: g)

    def used(self, x):
        self.at -= 1
        if self.at == 0:
            raise KeyboardInterrupt
        return x


def test_ctrl_c_inside_an_op_leaves_whole_steps():
    stop = Interrupting()
    net, optimizer, _ = made("adam")
    twin = made("adam")
    step = TrainingStep(lambda xs, ys: stop(net.loss(xs, ys)), optimizer, backend="reference")
    step.run(xs=XS[0], ys=YS[0])
    eagerly(*twin[:2], XS[0], YS[0])
    stop.at = 1
    with pytest.raises(KeyboardInterrupt):
        step.run(xs=XS[1], ys=YS[1])
    assert_alike((net, optimizer), twin)
    stop.at = 4
    with pytest.raises(KeyboardInterrupt):
        step.many(xs=XS[1:], ys=YS[1:], seconds=0.0)  # chunks of one step: three are done
    for i in (1, 2, 3):
        eagerly(*twin[:2], XS[i], YS[i])
    assert_alike((net, optimizer), twin)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_ctrl_c_at_any_moment_leaves_whole_steps():
    """In each step all parameters go up by one, so that half a step would be seen at once."""
    parameters = [ag.parameter(f"p{i}", np.zeros(2)) for i in range(20)]
    optimizer = nn.SGD(parameters, lr=1.0, momentum=1e-30)
    step = TrainingStep(lambda: -ag.sum(ag.stack(parameters)), optimizer, backend="reference")
    step.run()

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # Python drops what is raised in the callbacks of a collection
    seen = 0
    try:
        for k in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0003 + 0.00002 * k)
                end = perf_counter() + 0.5
                while perf_counter() < end:
                    step.run()
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                seen += 1
            values = {p.value[0] for p in parameters}
            assert values == {float(optimizer.steps)}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert seen > 100


def test_threads_do_whole_steps():
    net, optimizer, step = made("sgd")
    twin = made("sgd")
    step.run(xs=XS[0], ys=YS[0])

    def work():
        for _ in range(10):
            step.run(xs=XS[0], ys=YS[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert optimizer.steps == 41
    twin[2].many(xs=XS[:1].repeat(41, 0), ys=YS[:1].repeat(41, 0))
    assert_alike((net, optimizer), twin)


RESIDENT = pytest.mark.parametrize("backend", ["numpy", "native"])


def small(backend, optimizer=nn.Adam, size=3, fn=lambda w: w):
    """Parameters, their optimizer and its step; `fn` is applied to the first parameter."""
    if backend == "native":
        pytest.importorskip("llvmlite")
    ws = [ag.parameter(f"w{i}", np.ones(size)) for i in range(4)]
    own = optimizer(ws, lr=0.1)
    step = TrainingStep(
        lambda x: ag.square(fn(ws[0]) * x).sum() + sum((w * x).sum() for w in ws[1:]),
        own,
        backend=backend,
    )
    return ws, own, step


def in_thread(fn, name):
    thread = threading.Thread(target=fn, name=name, daemon=True)
    thread.start()
    return thread


@RESIDENT
def test_steps_that_share_parameters_do_not_wait_for_each_other_for_ever(backend, monkeypatch):
    """The one begins while the other is half way through moving the parameters to its plan."""
    ws, _, one = small(backend, nn.SGD)
    other = TrainingStep(one.loss, nn.SGD(ws, lr=0.1), backend=backend)
    x = np.ones(3)
    one.run(x=x)
    other.run(x=x)
    half_way, arrived = threading.Event(), threading.Event()
    settle = ag.Parameter.settle

    def slowly(parameter):
        if threading.current_thread().name == "one" and parameter is ws[1]:
            half_way.set()
            arrived.wait(0.3)
        if threading.current_thread().name == "other":
            arrived.set()
        settle(parameter)

    monkeypatch.setattr(ag.Parameter, "settle", slowly)
    threads = [in_thread(lambda: one.run(x=x), "one")]
    assert half_way.wait(10)
    threads.append(in_thread(lambda: other.run(x=x), "other"))
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    monkeypatch.undo()
    np.testing.assert_allclose(ws[1].value, 1.0 - 4 * 0.1)


@RESIDENT
def test_a_step_is_not_lost_while_another_thread_looks_at_the_state(backend, monkeypatch):
    ws, own, step = small(backend)
    others, plain, undisturbed = small(backend)
    x = np.arange(3.0)
    step.run(x=x)
    undisturbed.run(x=x)
    has_read, stepped = threading.Event(), threading.Event()
    read = Resident.read

    def slowly(*args):
        found = read(*args)
        has_read.set()
        stepped.wait(0.3)
        return found

    monkeypatch.setattr(Resident, "read", slowly)
    thread = in_thread(lambda: own.state, "reader")
    assert has_read.wait(10)
    step.run(x=x)
    stepped.set()
    thread.join(10)
    monkeypatch.undo()
    undisturbed.run(x=x)
    assert own.steps == plain.steps == 2
    np.testing.assert_array_equal([w.value for w in ws], [w.value for w in others])
    np.testing.assert_array_equal(own.state, plain.state)


@RESIDENT
def test_code_called_by_a_step_may_look_at_what_is_trained(backend):
    seen = []

    @ag.custom_vjp
    def watched(w):
        if len(seen) < 3 and step is not None:
            seen.append((ws[1].value, own.steps, own.state))
        return w * 1.0

    @watched.defvjp
    def _(g, y, w):
        return g * 1.0

    step = None
    ws, own, step = small(backend, fn=watched)
    others, plain, other_step = small(backend)
    step.graph(x=np.ones(3))
    seen.clear()  # drawing calls the function, too
    for t in range(3):
        step.run(x=np.ones(3))
        other_step.run(x=np.ones(3))
        np.testing.assert_array_equal([w.value for w in ws], [w.value for w in others])
        assert own.steps == plain.steps == t + 1
    assert seen[0][1] == 0
    np.testing.assert_array_equal(seen[0][0], np.ones(3))  # as it was before the step


@RESIDENT
def test_a_step_cannot_be_run_by_itself(backend):
    @ag.custom_vjp
    def again(w):
        if inside:
            step.run(x=np.ones(3))
        return w * 1.0

    @again.defvjp
    def _(g, y, w):
        return g * 1.0

    inside = False
    ws, own, step = small(backend, fn=again)
    step.run(x=np.ones(3))
    before = [w.value for w in ws]
    inside = True
    with pytest.raises(GraphError, match="was run by a function that the same step calls"):
        step.run(x=np.ones(3))
    np.testing.assert_array_equal([w.value for w in ws], before)
    assert own.steps == 1
    inside = False
    step.run(x=np.ones(3))
    assert own.steps == 2


@RESIDENT
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_of_an_optimizer_go_their_own_way(backend, copied):
    _, own, step = small(backend)
    step.run(x=np.ones(3))
    twin = copied(own)
    before = [np.array(x) for state in twin.state for x in state]
    step.run(x=np.ones(3))
    assert (twin.steps, own.steps) == (1, 2)
    for x, y in zip(before, [x for state in twin.state for x in state], strict=True):
        np.testing.assert_array_equal(x, y)
    twin.step([np.ones(3)] * 4)
    assert (twin.steps, own.steps) == (2, 2)


def test_check_finite_looks_into_training_steps():
    net, _, step = made()
    step.run(xs=XS[0], ys=YS[0])
    bad = XS[0].copy()
    bad[3, 1, 0] = np.nan
    before = net.values()
    with ag.check_finite(), pytest.raises(ag.NonFiniteError, match="xs"):
        step.run(xs=bad, ys=YS[0])
    for x, y in zip(before, net.values(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_many_steps_leave_no_memory_behind_without_the_garbage_collector():
    p = ag.parameter("p", np.ones(10))
    optimizer = nn.Adam([p], lr=1e-3)
    step = TrainingStep(lambda x: ag.square(p - x).sum(), optimizer, backend="reference")
    x = np.zeros(10)

    def work(count):
        for _ in range(count):
            step.run(x=x)
        step.many(x=np.zeros((32, 10)), seconds=0.0)

    work(100)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        work(100)
        before = tracemalloc.get_traced_memory()[0]
        work(2000)
        assert gc.collect() == 0  # no cycles; and Python's lists of free objects are empty again
        assert tracemalloc.get_traced_memory()[0] - before < 5000
    finally:
        tracemalloc.stop()
        gc.enable()


# --- optimizers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_adam_follows_its_formula(dtype):
    p = ag.parameter("p", RNG(3).normal(size=(3, 2)).astype(dtype))
    optimizer = nn.Adam([p], lr=0.05, betas=(0.8, 0.99), eps=1e-6)
    theta, mean, square = p.value.astype("float64"), 0.0, 0.0
    for t in range(1, 8):
        g = RNG(t).normal(size=(3, 2)).astype(dtype)
        optimizer.step([g])
        mean = 0.8 * mean + 0.2 * g.astype("float64")
        square = 0.99 * square + 0.01 * np.square(g.astype("float64"))
        theta -= 0.05 * mean / (1 - 0.8**t) / (np.sqrt(square / (1 - 0.99**t)) + 1e-6)
    np.testing.assert_allclose(p.value, theta, rtol=1e-12 if dtype == "float64" else 1e-5)
    assert p.dtype == dtype


def test_optimizers_say_what_is_wrong():
    p = ag.parameter("p", np.ones(2))
    with pytest.raises(ag.LoopGradError, match="beta2 of Adam must be a number below 1"):
        nn.Adam([p], betas=(0.9, 1.0))
    optimizer = nn.SGD([p], lr=lambda steps: 1.0 - steps)
    optimizer.step([np.ones(2)])
    optimizer.step([np.ones(2)])
    with pytest.raises(ag.LoopGradError, match=r"lr must be a number >= 0, but is -1\.0"):
        optimizer.step([np.ones(2)])
    optimizer.lr = "fast"
    with pytest.raises(ag.LoopGradError, match="lr must be a number >= 0, but is 'fast'"):
        optimizer.step([np.ones(2)])

    class Wider(nn.Optimizer):
        def update(self, parameter, gradient, state, lr):
            return ag.concat([parameter, gradient]), state

    with pytest.raises(ag.ShapeError, match=r"update of Wider made float64\[4\] of a parameter"):
        Wider([p], lr=0.1).step([np.ones(2)])

    class Forgetful(nn.SGD):
        def update(self, parameter, gradient, state, lr, momentum):
            return parameter, ()

    with pytest.raises(ag.LoopGradError, match="must return a state of 1 parts"):
        Forgetful([p], lr=0.1, momentum=0.9).step([np.ones(2)])
    with pytest.raises(ag.LoopGradError, match="Optimizer has no update; write one"):
        nn.Optimizer([p], lr=0.1).step([np.ones(2)])
    np.testing.assert_array_equal(p.value, [0.0, 0.0])


# --- errors ---------------------------------------------------------------------------------------


ERRORS = {
    "no loss": (
        lambda n, o, s: TrainingStep(3, o),
        r"needs a loss function or a graph, but got int",
    ),
    "no optimizer": (lambda n, o, s: TrainingStep(n.loss, n), r"needs an optimizer, but got Net"),
    "no scalar": (
        lambda n, o, s: TrainingStep(lambda xs: n.rnn(xs)[0], o).run(xs=XS[0]),
        r"is not a scalar",
    ),
    "no node": (
        lambda n, o, s: TrainingStep(lambda xs: 3.0, o).run(xs=XS[0]),
        r"must return a scalar node, or a dict .* but returned loss: float 3\.0",
    ),
    "no 'loss'": (
        lambda n, o, s: TrainingStep(lambda xs: {"l": xs.sum()}, o).run(xs=XS[0]),
        r"with 'loss' among them",
    ),
    "no parameter": (
        lambda n, o, s: TrainingStep(lambda xs: xs.sum(), o).run(xs=XS[0]),
        r"depends on none of the parameters of SGD; it depends on no parameter at all",
    ),
    "other names": (
        lambda n, o, s: s.run(xs=XS[0], zs=YS[0]),
        r"loss function takes \(xs, ys\), but the batch has \(xs, zs\)",
    ),
    "too many": (lambda n, o, s: s(XS[0], YS[0], XS[0]), r"takes 2 inputs \(xs, ys\), but 3 came"),
    "texts": (lambda n, o, s: s.run(xs="abc", ys=YS[0]), r"LoopGrad carries float, integer"),
    "other counts": (
        lambda n, o, s: s.many(xs=XS, ys=YS[1:]),
        r"agree on it .* but are 'xs': 12, 'ys': 11",
    ),
    "no count": (lambda n, o, s: s.many(), r"many\(\) was given no batches, so it needs steps="),
    "no axis": (lambda n, o, s: s.many(xs=XS, ys=2.0), r"'ys' has no axis of steps"),
    "no output": (
        lambda n, o, s: s.many(xs=XS, ys=YS, outputs=["bits"]),
        r"has no output 'bits'; its outputs are loss",
    ),
    "float indices": (
        lambda n, o, s: s.many(xs=XS, ys=YS, indices=np.ones((2, 2))),
        r"indices must be integers of shape \(steps, examples\)",
    ),
    "indices beyond": (
        lambda n, o, s: s.many(xs=XS, ys=YS, indices=[[3, 12]]),
        r"indices go from 3 to 12, but 'xs' has 12 rows along axis 0",
    ),
    "indices of nothing": (lambda n, o, s: s.many(indices=[[0]]), r"but none was given"),
    "no such axis": (
        lambda n, o, s: s.many(xs=XS, ys=YS, indices=[[0]], axis=4),
        r"has no axis 4",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_training_steps_say_what_is_wrong(name):
    call, message = ERRORS[name]
    net, optimizer, step = made()
    with pytest.raises(ag.LoopGradError, match=message):
        call(net, optimizer, step)
    for p, q in zip(net.parameters(), Net().parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_a_graph_says_which_batch_it_takes():
    net = Net()
    xs, ys = ag.input("xs", XS[0].shape), ag.input("ys", YS[0].shape)
    loss = net.loss(xs, ys)
    step = TrainingStep(ag.Graph([xs, ys], {"l": loss, "xs": xs}), nn.SGD(net.parameters(), 0.1))
    with pytest.raises(ag.GraphError, match=r"none of the outputs .* is called 'loss'"):
        step.run(xs=XS[0], ys=YS[0])
    step = TrainingStep(ag.Graph([xs, ys], loss), nn.SGD(net.parameters(), 0.1))
    with pytest.raises(ag.GraphError, match="takes a batch of xs, ys, but came xs"):
        step.run(xs=XS[0])
    with pytest.raises(ag.ShapeError, match=r"'ys' .* is float64\[6, 4, 1\], but float64\[5, 4, 1"):
        step.run(xs=XS[0], ys=YS[0, 1:])
    with pytest.raises(ag.DTypeError, match=r"'ys' .* but float32"):
        step.run(xs=XS[0], ys=YS[0].astype("float32"))
