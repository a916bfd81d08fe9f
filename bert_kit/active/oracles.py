"""Who answers: labels that are known already, or a person, in a terminal or a spreadsheet.

(In a labelling tool too: `bert_kit.jobs.active.tool_files`.)

An oracle is `oracle(rows) -> labels`, one label a row: a class number, a list of them where a text
may have several, or None for a text that cannot be labelled. None instead of the list says that
the answers are not there yet.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bert_kit.cells import guard_formula, unguard
from bert_kit.errors import ConfigError, DataError
from bert_kit.files import atomic_file, check_readable
from bert_kit.printing import printable

Label = int | list[int] | None  # a class number, the numbers of several, a row to leave out
Oracle = Callable[[Sequence[int]], Sequence[Label] | None]
Answers = dict[int, tuple[str, str]]  # by row: what is written, and where
OPEN, SKIP, SEPARATOR = "?", "-", "|"
COLUMNS = ["row", "labels", "text"]
_LARGEST = 2**30  # bytes of a file that is read
SHOWN = 30_000  # characters of a text in the file; a cell of a spreadsheet holds few more


def simulated(labels: Sequence[Label] | Mapping[int, Label]) -> Oracle:
    """Return the oracle of an experiment, which knows the label of every row."""
    return lambda rows: [labels[row] for row in rows]


class LabelFile:
    """A batch of texts to label, in a CSV file with the columns row, labels and text.

    A person replaces each `?` by a class, or by classes with | between them where a text may have
    several (nothing at all means that none applies), or by - for a text to leave out. Calling the
    object with the rows writes the file, or reads it if it is about these rows. So work that was
    begun is never lost, and `ask` can take it up where a spreadsheet left it.

    Parameters
    ----------
    texts
        By row. They are only shown.
    classes
        Names by class number. The numbers may be written too, unless one of them is the name of
        another class.

    Raises
    ------
    ConfigError
        If a class has a name that means something else in the file.
    """

    may_lack_rows = False  # whether a row that is not in the file is an open one

    def __init__(self, path: str | Path, texts: Sequence[str], classes: Iterable[str],
                 multi_label: bool = False) -> None:
        self.path, self.texts, self.multi_label = Path(path), texts, multi_label
        self.classes = tuple(classes)
        for name in self.classes:
            if name.strip() != name or name in (OPEN, SKIP, "") \
                    or multi_label and SEPARATOR in name:
                raise ConfigError(f"a class is called {name!r}; expected a name without outer "
                                  f"spaces that is not {OPEN} or {SKIP} and has no {SEPARATOR}")
        names = {name: i for i, name in enumerate(self.classes)}
        numbers = {str(i): i for i in range(len(self.classes))}
        # Where classes are called 1, 2, 3 the number 1 would be the class 2.
        self.numbered = all(names.get(name, i) == i for name, i in numbers.items())
        self._numbers = {**numbers, **names} if self.numbered else names

    def __call__(self, rows: Sequence[int]) -> list[Label] | None:
        """Return the labels of the rows, or None while one of them is open.

        Raises
        ------
        DataError
            If the file cannot be read or an entry is no label; names the line.
        """
        answers = self._answers(rows)
        labels = [self._label(answers[row][0], answers[row][1]) for row in rows
                  if answers[row][0] != OPEN]
        return labels if len(labels) == len(rows) else None

    def ask(self, rows: Sequence[int], read: Callable[[str], str] = input,
            write: Callable[[str], object] = print) -> list[Label] | None:
        """Show each open text and take its label; each answer is stored at once.

        The end of the input leaves the rest open. `read` and `write` are the terminal.
        """
        write("  ".join(f"{i} {printable(name)}" if self.numbered else printable(name)
                        for i, name in enumerate(self.classes)))
        write(f"{'classes with | between them, nothing for none' if self.multi_label else 'class'}"
              f"; {SKIP} leaves a text out; end with Ctrl-D")
        answers = self._answers(rows)
        left = [row for row in rows if answers[row][0] == OPEN]
        for number, row in enumerate(left, 1):
            write(f"\n[{number}/{len(left)}] {printable(self.texts[row])}")
            while answers[row][0] == OPEN:
                try:
                    answer = read("> ").strip()
                    self._label(answer, "the answer")
                except EOFError:
                    return None
                except DataError as error:
                    write(str(error))
                    continue
                answers[row] = answer, ""
                self._write(rows, answers)
        return self(rows)

    def to_do(self, answered: int) -> str:
        """Return what a person has to do where some of the rows have an answer, in words."""
        return f"fill in {self.path}"

    def answered(self, rows: Sequence[int]) -> int:
        """Return how many of the rows that were asked for have an answer by now."""
        answers = self._answers(rows)
        return sum(answers[row][0] != OPEN for row in rows)

    def _answers(self, rows: Sequence[int]) -> Answers:
        """Return {row: (what is written, where)}; the file is made anew if it is of other rows."""
        answers = self._read() if self.path.exists() else {}
        if not answers.keys() & {*rows}:
            answers = {row: (OPEN, "") for row in rows}
            self._write(rows, answers)
        missing = [row for row in rows if row not in answers]
        if missing and not self.may_lack_rows:
            raise DataError(f"{self.path}: row {missing[0]} is missing; expected the "
                            f"{len(rows)} rows that were asked for")
        return answers | {row: (OPEN, "") for row in missing}

    def _label(self, cell: str, where: str) -> Label:
        """Return a class number, a list of them, or None, as a cell says."""
        if cell == SKIP:
            return None
        names = [name.strip() for name in cell.split(SEPARATOR)] if self.multi_label else [cell]
        if self.multi_label and not cell:
            return []
        for name in names:
            if name not in self._numbers:
                raise DataError(f"{where}: {name!r:.40} is not a class; expected one of "
                                f"{', '.join(self.classes)[:200]}, or {SKIP}")
        labels = sorted({self._numbers[name] for name in names})
        return labels if self.multi_label else labels[0]

    def _write(self, rows: Sequence[int], answers: Answers) -> None:
        with atomic_file(self.path) as path, open(path, "w", newline="", encoding="utf-8",
                                                  errors="backslashreplace") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            # A lone carriage return, which csv leaves unquoted, would end the line.
            labels = {row: label if label == SKIP else guard_formula(label)
                      for row, (label, _) in answers.items()}
            writer.writerows([row, labels[row],
                              guard_formula(self.texts[row][:SHOWN].replace("\r", "\n"))]
                             for row in rows)

    def _read(self) -> Answers:
        answers: Answers = {}
        try:
            check_readable(self.path, _LARGEST)
            with open(self.path, newline="", encoding="utf-8-sig") as file:
                mark = re.match(f'"?{COLUMNS[0]}"?([,;\t])', file.readline())
                file.seek(0)  # a spreadsheet may have saved it with its own delimiter
                reader = csv.DictReader(file, strict=True, delimiter=mark[1] if mark else ",")
                if not {*COLUMNS[:2]} <= {*(reader.fieldnames or ())}:
                    raise DataError(f"{self.path}: has the columns {reader.fieldnames}; expected "
                                    f"{', '.join(COLUMNS)}, with commas between them")
                for entry in reader:
                    where = f"{self.path} line {reader.line_num}"
                    row, label = entry["row"], entry["labels"]
                    if label is None or not re.fullmatch("[0-9]{1,18}", row or ""):
                        raise DataError(f"{where}: row {row!r:.40}, labels {label!r:.40}; "
                                        "expected a row number and a label")
                    if int(row) in answers:
                        raise DataError(f"{where}: row {row} stands here again; expected it once")
                    answers[int(row)] = unguard(label.strip()), where
        except (OSError, UnicodeError, csv.Error) as error:
            raise DataError(f"{self.path}: cannot be read ({error}); expected CSV in UTF-8 (in a "
                            "spreadsheet: save as CSV UTF-8)") from None
        return answers
