"""Every Python block of the README and of docs/ runs, and so does every docstring example.

The numbered pages of docs/ are tutorials with exercises.
"""

import contextlib
import doctest
import importlib
import io
import re
import runpy
from pathlib import Path

import pytest
import torch
from torch.distributed.run import get_args_parser

import bert_kit
from bert_kit.cli import main
from bert_kit.jobs.table import JOBS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIALS = [page for page in PAGES if page.name[0].isdigit()]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts)
           for path in sorted((ROOT / "bert_kit").rglob("*.py"))
           if path.stem not in ("__init__", "__main__")]
FENCE = re.compile(r"^```(\S*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(page):
    """Run the Python blocks of a page, which share their names; return how many ran.

    A block `text` that follows at once must be what was printed. There are two exceptions: a block
    that needs weights which are not installed prints "skipped: …", and one that says "numbers may
    differ", since it trains, must print the same lines only as far as their first words go. A block
    "python no-run" is only shown. Failures point to the line of the page.
    """
    text, names, ran, printed = page.read_text("utf-8"), {"__name__": page.stem}, 0, None
    for match in FENCE.finditer(text):
        language, information, code = match.groups()
        first_line = text[:match.start(3)].count("\n")
        if language == "python" and information != "no-run":
            output, end = io.StringIO(), match.end()
            with contextlib.redirect_stdout(output):
                exec(compile("\n" * first_line + code, str(page), "exec"), names)
            printed, ran = (output.getvalue(), end, "numbers may differ" in code), ran + 1
        elif language == "text" and printed and not text[printed[1]:match.start()].strip():
            found, _, trained = printed
            if not found.startswith("skipped: "):
                same = first_words if trained else str.rstrip
                assert same(code) == same(found), f"{page}:{first_line}: printed otherwise"
    return ran


def first_words(text):
    return [line.split()[0] for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert run_page(page) > 0 or page not in TUTORIALS


TRAINS = "```python\n# numbers may differ\nprint('a 1')\n```\n\n```text\n{} 2\n```\n"


@pytest.mark.parametrize("body, line", [
    ("```python\nx = 1\nassert x == 2\n```\n", 4),
    ("```python\nprint(1)\n```\n\n```text\n2\n```\n", 6), (TRAINS.format("b"), 7)])
def test_a_page_that_is_wrong_fails_with_its_line(tmp_path, body, line):
    page = tmp_path / "page.md"
    page.write_text("# Title\n" + body)
    with pytest.raises(AssertionError) as failure:
        run_page(page)
    places = [entry.lineno for entry in failure.traceback if str(entry.path) == str(page)]
    assert f"{page}:{line}" in str(failure.value) or places == [line - 1]


def test_a_page_that_trains_or_skips_may_print_other_numbers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(TRAINS.format("a") + "```python\nprint('skipped: no weights')\n```\n\n"
                    "```text\n0.97\n```\n")
    assert run_page(page) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_point_to_files(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for script in re.findall(r"python (examples/\S+\.py)", text):
        assert (ROOT / script).is_file(), script


def test_the_commands_for_several_machines_are_understood(monkeypatch):
    """Those of the kit, to the point where the job begins, and those of torchrun."""
    text = (ROOT / "docs" / "past-one-machine.md").read_text("utf-8")
    shell = "\n".join(code for language, _, code in FENCE.findall(text) if language == "bash")
    lines, seen = shell.replace("\\\n", " ").replace("\\$", "$").splitlines(), []
    values = {"$SLURM_NODEID": "1", "$head": "head", "\"": " "}
    for line in lines:
        for name, value in values.items():
            line = line.replace(name, value)
        agent, _, words = line.partition("-m bert_kit ")
        if not words:
            continue
        if "torchrun" in agent:
            arguments = agent.split("torchrun ")[1].split()
            given = get_args_parser().parse_args([*arguments, "-m", "bert_kit"])
            assert given.nnodes == "2" and given.nproc_per_node == "1"
        name, *options = words.split()
        monkeypatch.setattr(importlib.import_module(JOBS[name].module), "run", seen.append)
        assert main([name, *options]) == 0
    assert [options.output_dir for options in seen] == [
        "runs/mine", "runs/rows", "runs/mine", "hyperparams", "hyperparams"]
    assert [options.executor for options in seen[3:]] == ["dask://head:8786"] * 2


def missing_answers(text):
    """Return the answers to a page's exercises, `tests/test_x.py::test_y`, that do not exist."""
    missing = []
    for file, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        path = ROOT / file
        if not path.is_file() or f"\ndef {name}(" not in path.read_text("utf-8"):
            missing.append(f"{file}::{name}")
    return missing


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_tutorials_have_a_place_to_stop_and_numbered_exercises(page):
    """Two to four exercises, 4.1 and so on; what one says of a test exists."""
    text = page.read_text("utf-8")
    assert missing_answers(text) == []
    numbers = re.findall(r"^\*\*(\d+)\.(\d)\*\*", text.split("## Exercises")[1], re.MULTILINE)
    assert 2 <= len(numbers) <= 4
    assert numbers == [(str(int(page.name[:2])), str(i + 1)) for i in range(len(numbers))]
    assert "## Stop here" in text


def test_every_promise_names_tests_that_exist():
    """`room/file.py::test`, or `::test` of the file named before it."""
    file, promises = None, 0
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    assert not re.search(r"`test_\w+\.py", page)
    for name, test in re.findall(r"`(\w+/test_\w+\.py|(?=::))(?:::(\w+))?`", page):
        file, promises = name or file, promises + 1
        assert f"\ndef {test}" in (ROOT / "tests" / file).read_text("utf-8")
    assert promises > 20


def test_an_answer_that_does_not_exist_is_found():
    here = ("tests/docs/test_docs.py::missing_answers tests/docs/test_docs.py::gone "
            "tests/gone.py::test_it")
    assert missing_answers(here) == ["tests/docs/test_docs.py::gone", "tests/gone.py::test_it"]


def test_the_list_of_public_names_is_current():
    """Else run `PYTHONPATH=. python docs/make_api.py`."""
    written = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["api"]()
    assert (ROOT / "docs" / "api.md").read_text("utf-8") == written


def test_the_change_log_begins_with_this_version():
    """Versions with dates, newest first, and not one twice."""
    page = (ROOT / "docs" / "CHANGELOG.md").read_text("utf-8")
    found = re.findall(r"^## (\S+) (?:– .* )?\((\d{4}-\d\d-\d\d)\)$", page, re.MULTILINE)
    versions = [tuple(map(int, version.split("."))) for version, _ in found]
    assert len(found) == page.count("\n## ") and found[0][0] == bert_kit.__version__
    assert versions == sorted(set(versions), reverse=True)
    assert [date for _, date in found] == sorted((date for _, date in found), reverse=True)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
