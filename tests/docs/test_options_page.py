"""The table of options is current, and says of each job what its options are."""

import re
import runpy
from pathlib import Path

from bert_kit.jobs.options.declare import fields_of
from bert_kit.jobs.tasks.table import TRAINED
from bert_kit.jobs.train import train_options

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "options.md").read_text("utf-8")


def marked(section, column):
    """Return the options that have a mark in a column of the tables of a section."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    header = next(line for line in text.splitlines() if line.startswith("| option"))
    place = [cell.strip() for cell in header.split("|")].index(column)
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `-") for cells in rows if cells[place].strip() == "x"}


def test_the_table_of_options_is_current():
    """Else run `PYTHONPATH=. python docs/make_options.py`."""
    assert runpy.run_path(str(ROOT / "docs" / "make_options.py"))["page"]() == PAGE


def test_a_column_of_marks_is_the_options_of_a_job():
    for task in TRAINED:
        assert marked("Training", task) == {
            field.name for field in fields_of(train_options(task))}
    assert marked("Using a model", "corpus") == {"output"}
