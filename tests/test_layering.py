"""Who may know whom: autograd < loops < nn, NumPy alone below them, and a clean import."""

import ast
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

# What each package may import beside the standard library. An arrow goes down only.
MAY_IMPORT = {
    "autograd": {"autograd", "numpy"},
    "loops": {"autograd", "loops", "numpy"},
    "nn": {"autograd", "loops", "nn", "numpy"},
}

# Optional parts: imported inside functions only, and only by the files under these paths.
OPTIONAL = {
    "autograd/doctor.py": {"pygraphviz"},
    "autograd/draw/": {"graphviz", "pygraphviz"},
    "autograd/execute/native/compiler.py": {"llvmlite"},
    "nn/checkpoint/file.py": {"safetensors"},
    "nn/history.py": {"matplotlib"},
    "nn/many.py": {"tqdm"},
    "nn/progress.py": {"tqdm"},
}


def imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, top-level name, inside a function) of every import, wherever it stands."""

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[int, str, bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0], inside
        elif isinstance(node, ast.ImportFrom):
            name = package if node.level else (node.module or "").split(".")[0]
            yield node.lineno, name, inside
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    return visit(tree, False)


def layering_faults(source: str, path: str) -> list[str]:
    """Return one line for each import of the file at `path` that its layer may not do."""
    package = path.split("/")[0]
    optional: set[str] = set()
    for prefix, names in OPTIONAL.items():
        if path.startswith(prefix):
            optional |= names
    faults = []
    for line, name, inside in imports(ast.parse(source), package):
        if name in MAY_IMPORT[package] or name in sys.stdlib_module_names:
            continue
        if name in optional and inside:
            continue
        where = "inside" if inside else "outside"
        faults.append(f"{path}:{line} imports {name}, {where} a function")
    return faults


def package_files(root: Path, package: str) -> list[str]:
    return sorted(file.relative_to(root).as_posix() for file in (root / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_its_layer_may(package, root):
    files = package_files(root, package)
    assert f"{package}/__init__.py" in files
    faults = [fault for file in files for fault in layering_faults((root / file).read_text(), file)]
    assert faults == []


@pytest.mark.parametrize(
    ("path", "source", "name"),
    [
        ("autograd/grad.py", "import loops", "loops"),
        ("autograd/grad.py", "from loops.loop import LoopNode", "loops"),
        ("autograd/grad.py", "def f():\n    import nn.module", "nn"),
        ("autograd/grad.py", "class A:\n    def f(self):\n        from tests import x", "tests"),
        ("autograd/grad.py", "if True:\n    import scipy", "scipy"),
        ("autograd/grad.py", "def f():\n    import graphviz", "graphviz"),
        ("autograd/draw/dot.py", "import pygraphviz", "pygraphviz"),
        ("loops/loop.py", "from nn import Module", "nn"),
        ("loops/loop.py", "import demos.xor", "demos"),
        ("nn/train.py", "import benchmarks", "benchmarks"),
    ],
)
def test_checker_catches_planted_imports(path, source, name):
    (fault,) = layering_faults(source, path)
    assert f"imports {name}," in fault


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("autograd/grad.py", "import math, numpy as np\nfrom numpy.linalg import norm"),
        ("autograd/ops/power.py", "from ..op import Op\nfrom . import reduce"),
        ("autograd/draw/dot.py", "def f():\n    import pygraphviz"),
        ("loops/loop.py", "import autograd as ag\nfrom autograd.node import Node"),
        ("nn/cells.py", "import loops\nimport autograd"),
    ],
)
def test_checker_accepts_what_is_allowed(path, source):
    assert layering_faults(source, path) == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_import_brings_numpy_and_the_standard_library_only(package, run_python):
    code = f"""
        import sys
        import numpy, numpy.linalg, numpy.random
        before = set(sys.modules)
        import {package}
        print(*{{name.split(".")[0] for name in set(sys.modules) - before}})
    """
    answer = run_python("-c", textwrap.dedent(code))
    assert answer.returncode == 0, answer.stderr
    brought = set(answer.stdout.split()) - sys.stdlib_module_names
    assert package in brought
    assert brought <= MAY_IMPORT[package]


# Everything that an import could change for the rest of the process, and what it could do unasked.
# NumPy is imported first: what it does is not ours.
SNAPSHOT = """
import decimal, gc, locale, os, random, signal, sys, threading, warnings
import numpy as np
import numpy.linalg, numpy.random

def snapshot():
    return {
        "warning filters": list(warnings.filters),
        "numpy errors": (np.geterr(), np.geterrcall()),
        "numpy printing": {k: str(v) for k, v in np.get_printoptions().items()},
        "numpy random": [str(part) for part in np.random.get_state()],
        "random": random.getstate(),
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "signal handlers": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "threads": threading.active_count(),
        "thread stack": threading.stack_size(),
        "environment": dict(os.environ),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, sys.gettrace()),
        "sys.path": (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
        "garbage collection": (gc.isenabled(), gc.get_threshold(), len(gc.callbacks)),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": str(decimal.getcontext()),
        "working directory": os.getcwd(),
    }

events = []
watching = True
UNASKED = ("socket", "subprocess", "os.exec", "os.posix_spawn", "os.remove", "os.rename",
           "os.system")

def watch(event, arguments):
    writes = event == "open" and set("wax+") & set(str(arguments[1] or ""))
    if watching and (event.startswith(UNASKED) or writes):
        events.append((event, str(arguments)))

sys.addaudithook(watch)
before = snapshot()
import {module}
after = snapshot()
watching = False
print([key for key in before if before[key] != after[key]] + events)
"""


def import_side_effects(module: str, run_python, **options) -> str:
    answer = run_python("-B", "-c", SNAPSHOT.replace("{module}", module), **options)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_import_changes_nothing_else(package, run_python):
    assert import_side_effects(package, run_python) == "[]"


@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        ("import sys; sys.setrecursionlimit(5000)", "recursion limit"),
        ("import warnings; warnings.simplefilter('ignore')", "warning filters"),
        ("import numpy; numpy.seterr(all='raise')", "numpy errors"),
        ("import numpy; numpy.random.seed(0)", "numpy random"),
        ("import random; random.seed(0)", "random"),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)", "signal handlers"),
        ("import os; os.environ['OMP_NUM_THREADS'] = '1'", "environment"),
        ("import gc; gc.disable()", "garbage collection"),
        ("import socket; socket.socket()", "socket"),
        ("open('left_behind', 'w').close()", "left_behind"),
    ],
)
def test_snapshot_catches_planted_side_effects(fault, reported, tmp_path, run_python):
    (tmp_path / "planted.py").write_text(fault)
    assert reported in import_side_effects("planted", run_python, path=tmp_path)
