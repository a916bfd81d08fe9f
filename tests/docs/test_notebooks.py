"""Each numbered page as a notebook: current, valid in format 4.5, with the page's code and outputs.

What the cells print is held by test_docs.py, which runs the same blocks.
"""

import json
import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
MAKE = runpy.run_path(str(DOCS / "make_notebooks.py"))
PAGES = MAKE["pages"]()
FENCE = re.compile(r"^```(\S*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def schema_faults(notebook):
    """Return what is wrong by the schema of nbformat 4.5 (nbformat.readthedocs.io), as lines."""
    faults = [] if {*notebook} == {"cells", "metadata", "nbformat", "nbformat_minor"} else ["keys"]
    if (notebook["nbformat"], notebook["nbformat_minor"]) != (4, 5):
        faults.append("version")
    kernel = notebook["metadata"]["kernelspec"]
    if not all(isinstance(kernel.get(name), str) for name in ("name", "display_name")):
        faults.append("kernelspec needs a name and a display_name")
    if not isinstance(notebook["metadata"]["language_info"].get("name"), str):
        faults.append("language_info needs a name")
    names = [cell.get("id", "") for cell in notebook["cells"]]
    if len({*names}) < len(names) or not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)
                                             for name in names):
        faults.append("ids")
    wanted = {"id", "cell_type", "metadata", "source"}
    for cell in notebook["cells"]:
        more = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        if cell["cell_type"] not in ("code", "markdown") or {*cell} != wanted | more:
            faults.append(f"cell {cell.get('id')}: {sorted(cell)}")
        elif not is_text(cell["source"]) or not isinstance(cell["metadata"], dict):
            faults.append(f"cell {cell['id']}: source or metadata")
        for output in cell.get("outputs", []):
            if {*output} != {"output_type", "name", "text"} or not is_text(output["text"]) or (
                    (output["output_type"], output["name"]) != ("stream", "stdout")):
                faults.append(f"cell {cell['id']}: output")
        if not isinstance(cell.get("execution_count", 1), int):
            faults.append(f"cell {cell['id']}: execution_count")
    return faults


def is_text(lines):
    """A list of lines, of which only the last may lack its end."""
    return isinstance(lines, list) and all(isinstance(line, str) for line in lines) and (
        all(line.endswith("\n") and line.count("\n") == 1 for line in lines[:-1]))


def cells_of(page):
    return json.loads(MAKE["notebook"](page))["cells"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_current(page):
    """Else run `PYTHONPATH=. python docs/make_notebooks.py`."""
    written = (DOCS / "notebooks" / f"{page.stem}.ipynb").read_text("utf-8")
    assert written == MAKE["notebook"](page)
    assert schema_faults(json.loads(written)) == []


def test_there_is_no_other_notebook():
    assert sorted(file.stem for file in (DOCS / "notebooks").iterdir()) == [
        page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_holds_all_of_the_page(page):
    """Every block that runs, what follows it as printed, every heading; links lead to files."""
    text, cells = page.read_text("utf-8"), cells_of(page)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    fences = list(FENCE.finditer(text))
    runs = [place for place, fence in enumerate(fences) if fence.groups()[:2] == ("python", "")]
    assert ["".join(cell["source"]) + "\n" for cell in code] == [fences[i][3] for i in runs]
    for cell, place in zip(code, runs, strict=True):
        after = fences[place + 1] if place + 1 < len(fences) else None
        printed = after and after[1] == "text" and (
            not text[fences[place].end():after.start()].strip())
        shown = "".join(line for output in cell["outputs"] for line in output["text"])
        assert shown == (after[3] if after and printed else "")
    told = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    outside_code = FENCE.sub("", text)
    for heading in re.findall(r"^#+ .*$", outside_code, re.MULTILINE):
        assert heading in told
    for target in re.findall(r"\]\(([^)#:\s]+)", told):
        assert (DOCS / "notebooks" / target).exists(), target


def test_a_fault_is_found():
    notebook = json.loads(MAKE["notebook"](PAGES[0]))
    assert schema_faults(notebook) == []
    text, *_, code = sorted(notebook["cells"], key=lambda cell: cell["cell_type"] == "code")
    text["source"], text["id"] = "text", code["id"]
    del code["outputs"]
    assert len(schema_faults(notebook)) == 3
