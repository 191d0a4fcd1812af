"""The same under every switch of Python and NumPy, and an import that changes nothing.

`.ci/run` runs the whole suite under `-O`, with every warning an error and with NumPy's errors
raised; here one job runs under each switch, so that a failure is seen at once.
"""

import json

import pytest

# Draws, runs, differentiates, trains, saves, loads, and asks for an error: what most users do.
JOB = """
import os, tempfile
import numpy as np
import autograd as ag
from loops import LoopNode

def main():
    w = ag.parameter("w", np.full((2, 2), 0.1))
    for _ in range(3):
        loss = (ag.tanh(ag.matmul(np.ones((3, 2)), w)) ** 2.0).mean()
        loss.backward()
        w.value = w.value - 0.1 * w.grad.value
        w.grad = None
    xs = ag.input("xs", (4, 1, 2))
    with LoopNode("rnn") as rnn:
        x = rnn.each(xs)
        before = rnn.branch("h", np.zeros((1, 2)))
        h = ag.sigmoid(x + before @ w)
        rnn.feed(before, h)
        hs = rnn.collect(h)
    graph = ag.Graph([xs], {"loss": hs.sum()})
    both = graph.grad()
    found = both.run(xs=np.ones((4, 1, 2)))
    unrolled = graph.unroll().grad().run(xs=np.ones((4, 1, 2)))
    np.testing.assert_allclose(found["grad_w"], unrolled["grad_w"], rtol=1e-12)
    str(both)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.json")
        graph.save(path)
        loaded = ag.Graph.load(path).run(xs=np.ones((4, 1, 2)))
        np.testing.assert_array_equal(loaded["loss"], found["loss"])
        graph.draw(os.path.join(folder, "graph.dot"))
    for wrong in (
        lambda: w @ np.ones(3),
        lambda: ag.tensor([1, 2], requires_grad=True),
        lambda: ag.Graph([xs], {"y": ag.input("z", ()) * 2.0}),
        lambda: graph.run(xs=np.ones((4, 1, 3))),
        lambda: graph.run(),
        lambda: loss.backward(),
        lambda: ag.tensor(np.ones(3), requires_grad=True).backward(),
    ):
        try:
            wrong()
        except ag.LoopGradError:
            continue
        raise SystemExit("an error is missing")
    print("done")

main()
"""

SWITCHES = {
    "default": (),
    "optimized": ("-O",),
    "docstrings removed": ("-OO",),
    "every warning an error": ("-W", "error", "-bb"),
    "development mode": ("-X", "dev", "-W", "error"),
    "isolated hash seed": (),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_the_same_job_under_every_switch_of_python(name, run_python):
    environment = {"PYTHONHASHSEED": "12345"} if name == "isolated hash seed" else {}
    done = run_python(*SWITCHES[name], "-c", JOB, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert done.stderr == ""


def test_the_same_job_with_numpy_errors_raised(run_python):
    done = run_python("-W", "error", "-c", "import numpy; numpy.seterr(all='raise')\n" + JOB)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


def test_a_missing_error_is_found(run_python):
    done = run_python("-c", JOB.replace("lambda: graph.run(),", "lambda: 0,"))
    assert done.returncode == 1
    assert "an error is missing" in done.stderr


SNAPSHOT = """
import json, os, random, signal, sys, threading, warnings, gc, locale, decimal, faulthandler
import numpy as np, numpy.random

def snapshot():
    return {
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "int digits": sys.get_int_max_str_digits(),
        "hooks": [repr(h) for h in (sys.excepthook, sys.displayhook, sys.unraisablehook,
                                    threading.excepthook, sys.gettrace(), sys.getprofile())],
        "import hooks": [repr(h) for h in (sys.meta_path, sys.path_hooks)],
        "path": list(sys.path),
        "warning filters": [repr(f) for f in warnings.filters],
        "showwarning": repr(warnings.showwarning),
        "numpy errors": np.geterr(),
        "numpy print options": repr(np.get_printoptions()),
        "numpy random state": repr(np.random.get_state()),
        "python random state": hash(random.getstate()),
        "signals": [repr(signal.getsignal(s)) for s in signal.valid_signals()],
        "threads": [thread.name for thread in threading.enumerate()],
        "stack size": threading.stack_size(),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), len(gc.callbacks)],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": [os.umask(18), os.umask(18)][0],
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": repr(decimal.getcontext()),
        "faulthandler": faulthandler.is_enabled(),
        "handlers": repr(__import__("logging").getLogger().handlers),
        "exit functions": __import__("atexit")._ncallbacks(),
        "builtins": sorted(vars(__import__("builtins"))),
        "numpy functions": hash(tuple(id(f) for f in vars(np).values() if callable(f))),
        "files": sorted(os.listdir(".")),
    }
"""

IMPORT_AND_USE = """
events = []
watched = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.spawn", "urllib.",
           "ftplib.", "http.", "ctypes.", "winreg.", "shutil.", "tempfile.")
armed = True
def hook(event, arguments):
    if not armed:
        return
    if event.startswith(watched):
        events.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        events.append(f"write {arguments[0]}")
np.random.seed(7); random.seed(7)
before = snapshot()
sys.dont_write_bytecode = True
sys.addaudithook(hook)
import autograd, loops, nn
x = autograd.tensor([0.5, 1.0], requires_grad=True)
autograd.tanh(x * x).sum().backward()
armed = False
after = snapshot()
print(json.dumps({
    "changed": {k: [before[k], after[k]] for k in before if before[k] != after[k]},
    "events": events,
    "late": sorted(
        {m.split(".")[0] for m in sys.modules}
        & {"matplotlib", "pygraphviz", "graphviz", "tqdm", "numba", "jax", "torch", "scipy",
           "asyncio", "multiprocessing"}
    ),
}))
"""


def test_import_and_first_use_change_nothing_else(run_python):
    done = run_python("-W", "error", "-c", SNAPSHOT + IMPORT_AND_USE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["changed"] == {}
    assert found["events"] == []
    assert found["late"] == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("sys.setrecursionlimit(9999)", "recursion limit"),
        ("np.random.seed(0)", "numpy random state"),
        ("random.seed(0)", "python random state"),
        ("warnings.simplefilter('ignore')", "warning filters"),
        ("np.seterr(all='ignore')", "numpy errors"),
        ("os.environ['OMP_NUM_THREADS'] = '1'", "environment"),
        ("gc.freeze()", "gc"),
        ("signal.signal(signal.SIGINT, signal.SIG_DFL)", "signals"),
    ],
)
def test_a_planted_change_is_found(change, what, run_python):
    done = run_python("-c", SNAPSHOT + IMPORT_AND_USE.replace("armed = False", change))
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["changed"]) == [what]


def test_a_planted_write_is_found(run_python):
    source = IMPORT_AND_USE.replace("armed = False", "open('x', 'w').close(); armed = False")
    done = run_python("-c", SNAPSHOT + source)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["events"] == ["write x"]
    assert list(found["changed"]) == ["files"]
