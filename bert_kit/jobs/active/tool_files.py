"""The batch of a campaign as a file that a labelling tool imports, and its export as answers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_kit.active import LabelFile
from bert_kit.active.oracles import OPEN, SEPARATOR, SKIP, Answers
from bert_kit.data import ToolAnswer, read_tool_answers
from bert_kit.errors import DataError
from bert_kit.files import write_text

SUFFIXES = {"label_studio": ".json", "doccano": ".jsonl"}  # of the files, by oracle
NAMES = {"label_studio": "Label Studio", "doccano": "doccano"}
LEFT_OUT = ("skipped", "rejected", "ignored")  # by a person, who has looked at the text


class ToolFile(LabelFile):
    """A batch of texts to label in a tool; see `LabelFile`.

    The file holds the texts and the numbers of their rows, which tools keep. Its place is also that
    of the export, which is known by its keys, whichever tool it comes from. A text that was
    skipped, or has the label -, is left out. One that is not in the export is open, and so is one
    without a label, but in Label Studio where a text may have several: submitted without any, it
    has none.

    Parameters
    ----------
    tool
        One of `SUFFIXES`.
    column
        Under which name the labels are, where an export has several.
    """

    may_lack_rows = True

    def __init__(self, folder: Path, texts: Sequence[str], classes: Iterable[str],
                 multi_label: bool, tool: str, column: str = "") -> None:
        super().__init__(folder / f"to_label{SUFFIXES[tool]}", texts, classes, multi_label)
        self.tool, self.column = tool, column
        self._numbers = {name: i for i, name in enumerate(self.classes)}  # no digits for names

    def to_do(self, answered: int) -> str:
        """Return what a person has to do; of texts in part labelled the file is the export."""
        if answered:
            out = "Skip" if self.tool == "label_studio" else f"the label {SKIP}"
            return (f"label the others in {NAMES[self.tool]} too ({out} leaves a text out), put "
                    f"the new export at {self.path}")
        return (f"import {self.path} into {NAMES[self.tool]}, label its texts, put the export in "
                "its place")

    def _write(self, rows: Sequence[int], answers: Answers) -> None:
        """Write the texts as tasks (Label Studio) or as objects with no label yet (doccano)."""
        texts = [{"text": self.texts[row], "row": row} for row in rows]
        if self.tool == "label_studio":
            write_text(self.path, json.dumps([{"data": each} for each in texts],
                                             ensure_ascii=False, indent=1) + "\n")
        else:
            write_text(self.path, "".join(json.dumps({**each, "label": []}, ensure_ascii=False)
                                          + "\n" for each in texts))

    def _read(self) -> Answers:
        answers: Answers = {}
        for found in read_tool_answers(self.path, not self.multi_label, self.column):
            row, cell = self._row(found), self._cell(found)
            before, place = answers.get(row, (OPEN, ""))
            if OPEN not in (before, cell) and before != cell:  # a batch may be imported twice
                raise DataError(f"{found.where}: row {row} is {cell!r:.60}, and {before!r:.60} at "
                                f"{place}; expected one answer")
            answers[row] = (cell, found.where) if before == OPEN else (before, place)
        return answers

    def _row(self, found: ToolAnswer) -> int:
        """Return the row that a text is of, by its number and by its words."""
        meta = found.columns.get("meta")  # where older versions of doccano keep what they got
        row: Any = found.columns.get("row", meta.get("row") if isinstance(meta, Mapping) else None)
        if not str(row).isdecimal():
            raise DataError(f"{found.where}: 'row' is {row!r:.40}; expected the number that was "
                            "imported with the text")
        text, row = found.columns.get("text", found.columns.get("data")), int(row)
        if row >= len(self.texts):
            raise DataError(f"{found.where}: row {row}; expected one of the {len(self.texts):,} of "
                            "this campaign, counted from 0")
        expected = str(self.texts[row])
        if str(text).split() != expected.split():
            raise DataError(f"{found.where}: row {row} is {text!r:.60}; expected "
                            f"{expected!r:.60}, as in this campaign")
        return row

    def _cell(self, found: ToolAnswer) -> str:
        """Return an answer as a cell of a LabelFile."""
        if found.labels is None:
            return SKIP if found.why in LEFT_OUT else OPEN
        if not found.labels:
            return "" if self.multi_label and found.submitted else OPEN
        return SEPARATOR.join(label.strip() for label in found.labels)
