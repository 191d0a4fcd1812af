"""The pages tell the truth: their Python runs, their links lead somewhere, their commands exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[^\n`]*)$")
NOT_RUN = re.compile(r"^<!-- not run: \S.*-->$")


def python_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line of its first line, source) of each ```python block that is to be run.

    A block with the comment ``<!-- not run: reason -->`` on the line above is left out.
    """
    fence = None
    above = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if fence is None:
            match = FENCE.match(line)
            if match:
                fence, start, source = match["fence"], number + 1, []
                wanted = match["language"].strip() == "python" and not NOT_RUN.match(above)
        elif line.strip() == fence:
            fence = None
            if wanted:
                yield start, "\n".join(source)
        else:
            source.append(line)
        above = line
    if fence is not None:
        raise ValueError(f"the code block before line {start} is never closed")


def run_blocks(text: str, name: str) -> dict[str, object]:
    """Run a page's Python blocks in order, in one namespace; tracebacks show the page's lines."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, source in python_blocks(text):
        exec(compile("\n" * (line - 1) + source, name, "exec"), namespace)
    return namespace


def broken_links(text: str, folder: Path) -> list[str]:
    """Return the relative links and pictures of a page that lead to no file."""
    prose = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'src="([^"]+)"', prose)
    local = (target.split("#")[0] for target in targets if "://" not in target)
    return [target for target in local if target and not (folder / target).exists()]


def marked_commands(text: str) -> dict[str, str]:
    """Return the one-line ```sh blocks that stand under a ``<!-- command: name -->``."""
    found = re.findall(r"^<!-- command: (\w+) -->\n```sh\n([^\n]+)\n```$", text, flags=re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.reference_only("pages compare bits of different graphs")
def test_python_of_the_page_runs(page: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(page.read_text(encoding="utf-8"), str(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_the_page_lead_somewhere(page: Path):
    assert broken_links(page.read_text(encoding="utf-8"), page.parent) == []


def test_readme_has_exactly_the_two_commands_that_ci_runs():
    commands = marked_commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert list(commands) == ["demo", "test"]
    for command in commands.values():
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert commands["demo"].endswith(" .venv/bin/python -m demos.binary_addition")
    assert commands["test"].endswith(" .venv/bin/python -m pytest -n auto")


def test_blocks_share_a_namespace_and_keep_their_lines():
    page = "# A\n```python\nx = 1\n```\ntext\n```python\ny = x + 1\n```\n"
    assert list(python_blocks(page)) == [(3, "x = 1"), (7, "y = x + 1")]
    assert run_blocks(page, "page")["y"] == 2


def test_failing_block_is_reported_at_its_line():
    with pytest.raises(ZeroDivisionError) as raised:
        run_blocks("a\n\n```python\nx = 1\n1 / 0\n```\n", "page")
    assert raised.traceback[-1].lineno == 4  # counted from 0


@pytest.mark.parametrize("language", ["sh", "console", "text", ""])
def test_other_blocks_are_not_run(language):
    assert list(python_blocks(f"```{language}\n1 / 0\n```\n")) == []


def test_block_is_left_out_only_with_a_reason():
    block = "```python\n1 / 0\n```\n"
    assert list(python_blocks(f"<!-- not run: needs an hour -->\n{block}")) == []
    assert len(list(python_blocks(f"<!-- not run: -->\n{block}"))) == 1
    assert len(list(python_blocks(f"<!-- not run: reason -->\n\n{block}"))) == 1


def test_unclosed_block_is_an_error():
    with pytest.raises(ValueError, match="never closed"):
        list(python_blocks("```python\nx = 1\n"))


def test_broken_link_is_found(tmp_path):
    (tmp_path / "there.md").touch()
    page = "[a](there.md#part) [b](https://x.y/z) [c](missing.md) ![d](gone.svg) [e](#here)"
    page += " <!-- [f](later.md) --> `code` ```[g](in_code.md)```"
    assert broken_links(page, tmp_path) == ["missing.md", "gone.svg"]
