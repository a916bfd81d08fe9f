"""Write docs/notebooks/*.ipynb from the numbered pages; JSON is text, so nothing else is needed.

    PYTHONPATH=. python docs/make_notebooks.py

A Python block becomes a code cell, and the block `text` that follows it at once its output, which
the tests hold against what is really printed. All else is a Markdown cell.
"""

import json
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n*```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}


def pages():
    """Return the pages that are notebooks too, in order."""
    return sorted(DOCS.glob("[0-9][0-9]-*.md"))


def link(match):
    """Return a link as seen from docs/notebooks: a numbered page is a notebook there."""
    before, target, after = match.groups()
    is_page = re.fullmatch(r"\d\d-[\w-]+\.md", target)
    return before + (f"{target[:-2]}ipynb" if is_page else f"../{target}") + after


def lines(text):
    """Return text as the format has it: lines with their ends, the last without one."""
    return text.strip("\n").splitlines(keepends=True)


def markdown_cell(text):
    return {"cell_type": "markdown", "metadata": {}, "source": lines(LINK.sub(link, text))}


def code_cell(number, code, printed):
    text = (printed or "").splitlines(keepends=True)
    output = {"name": "stdout", "output_type": "stream", "text": text}
    return {"cell_type": "code", "execution_count": number, "metadata": {},
            "outputs": [output] if printed else [], "source": lines(code)}


def notebook(page):
    """Return the text of a page's notebook, in format 4.5."""
    title, rest = page.read_text("utf-8").split("\n", 1)
    text = (f"{title}\n\n*Written from docs/{page.name}. The cells need the kit: "
            f"`pip install -e .` in its folder.*\n{rest}")
    cells, end = [], 0
    for number, match in enumerate(BLOCK.finditer(text), 1):
        if text[end:match.start()].strip():
            cells.append(markdown_cell(text[end:match.start()]))
        cells.append(code_cell(number, *match.groups()))
        end = match.end()
    if text[end:].strip():
        cells.append(markdown_cell(text[end:]))
    cells = [{"id": f"{place:03}", **cell} for place, cell in enumerate(cells)]
    return json.dumps({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5},
                      indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    folder = DOCS / "notebooks"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.ipynb"):
        old.unlink()
    for page in pages():
        (folder / f"{page.stem}.ipynb").write_text(notebook(page), "utf-8")
