"""Every Python block of the README and of docs/ runs, and so does every docstring example."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts)
           for path in sorted((ROOT / "bert_kit").rglob("*.py"))
           if path.stem not in ("__init__", "__main__")]
FENCE = re.compile(r"^```(\S*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """The blocks of a page share their names; a failure points to the line of the page."""
    monkeypatch.chdir(tmp_path)
    text, names, ran = page.read_text("utf-8"), {"__name__": page.stem}, 0
    for match in FENCE.finditer(text):
        language, information, code = match.groups()
        if language == "python" and information != "no-run":
            first_line = text[:match.start(3)].count("\n")
            exec(compile("\n" * first_line + code, str(page), "exec"), names)
            ran += 1
    assert ran > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_point_to_files(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for script in re.findall(r"python (examples/\S+\.py)", text):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
