"""Rules that every source file keeps, each checked by a function that is itself checked."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGES = ("autograd", "loops", "nn")
SOURCES = (*PACKAGES, "benchmarks", "demos", "tests")
LONGEST_FILE = 700

# Modules that execute what they read, or import by name; and the built-in functions that do.
FORBIDDEN_MODULES = {"code", "dill", "importlib", "marshal", "pickle", "runpy", "shelve"}
FORBIDDEN_CALLS = {"__import__", "compile", "eval", "exec"}

# What was meant to be filled in: `{}`, `{name...}`, `{(...)}`; but not a dict: `{'name': node}`.
PLACEHOLDER = re.compile(r"\{(?:[\w(][^{}]*)?\}")

# The files that may use one of these, each with what it may use. Nothing that reads a file from
# disk or network may ever be here.
EXCEPTIONS: dict[str, set[str]] = {
    # reads what pip recorded, and asks where a package would come from without importing it
    "autograd/doctor.py": {"importlib.metadata", "importlib.util"},
    # makes plans functions; what may get into their source, tests/test_plan_source.py says
    "autograd/execute/source.py": {"compile", "exec"},
}


def raise_without_f(source: str, path: str) -> list[str]:
    """Find strings in a `raise` with a placeholder that no f prefix fills in.

    It looks at tokens, not at the tree: in ``"a {x} " f"b {y}"`` the tree has one f-string left,
    where the faulty part looks like an escaped brace.
    """
    lines = source.splitlines(keepends=True)
    faults = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Raise):
            continue
        statement = "".join(lines[node.lineno - 1 : node.end_lineno])
        for token in tokens(statement):
            if token.type != tokenize.STRING:
                continue
            prefix = re.match(r"[A-Za-z]*", token.string).group().lower()
            if "f" not in prefix and PLACEHOLDER.search(token.string):
                line = node.lineno + token.start[0] - 1
                faults.append(f"{path}:{line} lacks the f prefix: {token.string}")
    return faults


def tokens(statement: str) -> Iterator[tokenize.TokenInfo]:
    # Indented lines cut out of a file are no program: the parentheses make them one expression.
    try:
        yield from tokenize.generate_tokens(io.StringIO("(" + statement.lstrip()).readline)
    except tokenize.TokenError:  # the parenthesis that is never closed
        return


def assert_statements(source: str, path: str) -> list[str]:
    """Find `assert`, which `python -O` removes: checks of users' input raise our own errors."""
    tree = ast.parse(source)
    found = (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert))
    return [f"{path}:{line} has an assert statement" for line in found]


def code_execution(source: str, path: str) -> list[str]:
    """Find uses of modules and functions by which data could become code."""
    allowed = EXCEPTIONS.get(path, set())
    faults = []
    for node in ast.walk(ast.parse(source)):
        for name in executing_names(node):
            if name not in allowed:
                faults.append(f"{path}:{node.lineno} uses {name}")
    return faults


def executing_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        return [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        module = node.module or ""
        return [module] if module.split(".")[0] in FORBIDDEN_MODULES else []
    if isinstance(node, ast.Name) and node.id in FORBIDDEN_CALLS:
        return [node.id]
    if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        is_false = isinstance(node.value, ast.Constant) and node.value.value is False
        return [] if is_false else ["allow_pickle"]
    return []


def too_long(source: str, path: str) -> list[str]:
    """Find files nobody reads to the end."""
    length = source.count("\n")
    return [f"{path} has {length} lines, over {LONGEST_FILE}"] if length > LONGEST_FILE else []


def repeated_tests(source: str, path: str) -> list[str]:
    """Find tests of the same name in one module or class: only the last of them would run."""
    faults = []
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, ast.Module | ast.ClassDef):
            defined = (node for node in scope.body if isinstance(node, ast.FunctionDef))
            names = Counter(node.name for node in defined)
            faults += [
                f"{path} defines {n} twice" for n in names if n[:5] == "test_" and names[n] > 1
            ]
    return faults


Rule = Callable[[str, str], list[str]]
RULES: list[tuple[Rule, tuple[str, ...]]] = [
    (raise_without_f, SOURCES),
    (assert_statements, PACKAGES),
    (code_execution, PACKAGES),
    (too_long, SOURCES),
    (repeated_tests, ("tests",)),
]


@pytest.mark.parametrize(("rule", "folders"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_sources_keep_the_rule(rule: Rule, folders: tuple[str, ...], root: Path):
    files = sorted(file for folder in folders for file in (root / folder).rglob("*.py"))
    assert files
    faults: list[str] = []
    for file in files:
        faults += rule(file.read_text(encoding="utf-8"), file.relative_to(root).as_posix())
    assert faults == []


CAUGHT = [
    (raise_without_f, 'raise ValueError("got {x}")'),
    (raise_without_f, 'def f(x):\n    raise ValueError("a {x.shape[0]} b")'),
    (raise_without_f, 'raise E("expected {x} "\n    f"but got {y}")'),
    (raise_without_f, 'raise E(f"expected {x} "\n    "but got {y}")'),
    (raise_without_f, 'if a:\n    raise E(\n        "one",\n        name="{}",\n    ) from None'),
    (raise_without_f, "raise E(r'''{x}''')"),
    (assert_statements, "def f(x):\n    assert x > 0"),
    (code_execution, "import pickle"),
    (code_execution, "def f():\n    from marshal import loads"),
    (code_execution, "import shelve as s"),
    (code_execution, "import importlib"),
    (code_execution, "import importlib.util"),
    (code_execution, "eval('1')"),
    (code_execution, "exec(text, {})"),
    (code_execution, "run = exec"),
    (code_execution, "__import__('os')"),
    (code_execution, "np.load(path, allow_pickle=True)"),
    (too_long, "x = 1\n" * 701),
    (repeated_tests, "def test_a(): ...\ndef test_b(): ...\ndef test_a(): ..."),
    (repeated_tests, "class TestX:\n    def test_a(self): ...\n    def test_a(self): ..."),
]


@pytest.mark.parametrize(("rule", "source"), CAUGHT)
def test_rule_catches_a_planted_fault(rule: Rule, source: str):
    assert len(rule(source, "autograd/planted.py")) == 1


PASSED = [
    (raise_without_f, 'raise E(f"got {x}")'),
    (raise_without_f, 'raise E(f"a {x} "\n    "and b")'),
    (raise_without_f, 'raise E(rf"{x} {{literal}}")'),
    (raise_without_f, """raise E("pass outputs={'name': node}")"""),
    (raise_without_f, 'names = "{x}"\nraise E("no braces")'),
    (assert_statements, "if x: raise E('assert x')"),
    (code_execution, "re.compile('a')\nself.eval()\nmodel.compile()"),
    (code_execution, "np.load(path, allow_pickle=False)"),
    (too_long, "x = 1\n" * 700),
    (repeated_tests, "def helper(): ...\ndef helper(): ...\ndef test_a(): ..."),
    (repeated_tests, "class A:\n    def test_a(self): ...\nclass B:\n    def test_a(self): ..."),
]


@pytest.mark.parametrize(("rule", "source"), PASSED)
def test_rule_passes_sound_code(rule: Rule, source: str):
    assert rule(source, "autograd/planted.py") == []


def test_exceptions_are_all_needed(root: Path):
    for path, allowed in EXCEPTIONS.items():
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
        used = {name for node in ast.walk(tree) for name in executing_names(node)}
        assert used == allowed, f"{path}: the exception is wider than what it uses"
