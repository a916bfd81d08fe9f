"""The job `learn`: write the stubs, check what was written, give hints, show how far one is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from textwrap import fill
from typing import ClassVar

from bert_kit.errors import ConfigError, UsageError
from bert_kit.files import read_json, write_json, write_text
from bert_kit.jobs.options.declare import Needs, Options, option
from bert_kit.learn.child import examined
from bert_kit.learn.exercises import EXERCISES as TABLE, right_answer
from bert_kit.learn.ladder import (BERT, EXERCISES, HEADS, PAGES, RUNGS, body_of, page_file,
                                   stubs)
from bert_kit.printing import align, show

VERBS = ("check", "hint", "status")
HINTS = "hints.json"  # how many steps were given, in the learner's folder
WIDTH = 96  # columns of a hint
PROGRAM = "python -m bert_kit learn"


@dataclass(frozen=True)
class LearnOptions(Options):
    """What to do: nothing or a folder writes the stubs; check, hint, status."""

    title: ClassVar[str] = "learning"
    examples = ("bert-kit learn                          write my_bert/ with its stubs",
                "bert-kit learn check 1                  examine the function of rung 1",
                "bert-kit learn check 8.3 --answer 42    … or an exercise of page 08",
                "bert-kit learn hint 1                   one step more each time",
                "bert-kit learn status                   all rungs")
    positional = "words"

    words: tuple[str, ...] = option((), "a folder to write to; or check [N], hint N, status; N is "
                                    "a rung, 7, or an exercise of a page, 4.1")
    folder: str = option("my_bert", "the learner's folder")
    answer: tuple[str, ...] = option((), "the answer to an exercise: numbers, such as 0.75, 3/4 or "
                                     "1e-3, or words", needs=Needs("check PAGE.EXERCISE",
                                     lambda options: options.words[:1] == ("check",)))
    model: str | None = option(None, "folder of the weights for the last rung; by default "
                               "all-MiniLM-L6-v2, or runs/pretrained, where there is one")
    seconds: float = option(20.0, "how long a function may run; 0 for as long as it likes")

    def __post_init__(self) -> None:
        super().__post_init__()
        verb, *rest = self.words or ("",)
        if verb not in VERBS and (rest or get_close_matches(verb, VERBS, cutoff=0.7)):
            raise UsageError(f"{' '.join(self.words)!r} is no command; expected check [N], hint N, "
                             "status, or one folder to write to")
        if verb == "hint" and len(rest) != 1 or verb == "check" and len(rest) > 1 or (
                verb == "status" and rest):
            raise UsageError(f"{' '.join(self.words)!r} is no command; expected check [N], hint N, "
                             "or status")
        if not 0 <= self.seconds <= 86_400:
            raise ConfigError(f"seconds is {self.seconds:g}; expected 0 to 86,400")


def run(options: LearnOptions) -> None:
    """Do what the words say; a check that finds something wrong ends with code 1."""
    verb, key = (*options.words, "", "")[:2]
    folder = Path(options.folder)
    if verb not in VERBS:
        write_stubs(Path(verb) if verb else folder)
        return
    key = key_of(key) if key else ""
    file = BERT if not key or key.isdigit() else EXERCISES
    if file == BERT or TABLE[key].functions:
        if not (folder / file).is_file():
            raise ConfigError(f"{folder / file}: no such file; `{PROGRAM}` writes it, and "
                              "--folder names another folder")
        if options.answer:
            raise UsageError(f"{called(key) if key else 'check'} looks at {folder / file}; "
                             "expected no --answer")
    if verb == "hint":
        show(next_hint(folder, key))
    elif verb == "status":
        show(status(options, folder))
    elif not check(options, folder, key):
        raise SystemExit(1)


def write_stubs(folder: Path) -> None:
    """Write the files that are not there yet, and say where to begin."""
    for file in HEADS:
        if (folder / file).exists():
            show(f"{folder / file} is there already and stays as it is")
            continue
        write_text(folder / file, stubs(file))
        what = (f"{len(RUNGS)} functions to write; together they are a BERT" if file == BERT else
                "for the exercises of the pages that ask for a function")
        show(f"{folder / file}: {what}")
    show(f"begin with rung 1, {RUNGS[0].name} ({page_file(RUNGS[0].page)}); then "
         f"{typed(folder, 'check 1')}")


def typed(folder: Path, words: str) -> str:
    """Return a command as the learner types it."""
    return f"`{PROGRAM} {words}{'' if str(folder) == 'my_bert' else f' --folder {folder}'}`"


def key_of(words: str) -> str:
    """Return the key of a rung, "7", or an exercise, "attention.1" for "4.1" or "04.1".

    Raises
    ------
    UsageError
        If there is none.

    Examples
    --------
    >>> key_of("07"), key_of("4.1")
    ('7', 'attention.1')
    """
    page, dot, number = words.partition(".")
    if not dot:
        names = [rung.name for rung in RUNGS]
        if words in names:
            return str(names.index(words) + 1)
        if words.isdecimal() and 1 <= int(words) <= len(RUNGS):
            return str(int(words))
        raise UsageError(f"there is no rung {words!r}; expected 1 to {len(RUNGS)}, or an exercise "
                         "such as 4.1")
    for stem in PAGES:
        start, _, name = stem.partition("-")
        if page in (name, stem) or page.isdecimal() and start == page.zfill(2):
            known = [key.partition(".")[2] for key in TABLE if key.partition(".")[0] == name]
            if number in known:
                return f"{name}.{number}"
            raise UsageError(f"there is no exercise {words}; page {start} has {int(start)}."
                             f"{known[0]} to {int(start)}.{known[-1]}")
    raise UsageError(f"there is no page {page!r}; expected 0 to {int(PAGES[-1][:2])}")


def called(key: str) -> str:
    """Return what a key is called on the screen."""
    return (f"rung {key}, {RUNGS[int(key) - 1].name}" if key.isdigit() else
            f"exercise {numbered(key)}")


def numbered(key: str) -> str:
    """Return "4.1" for "attention.1"; a rung has its number already."""
    page, dot, number = key.partition(".")
    return f"{int(page_file(page)[5:7])}.{number}" if dot else key


def said(verdict: Mapping[str, str]) -> str:
    """Return a verdict in one line."""
    key, state, text = verdict["key"], verdict["state"], verdict["text"]
    page = page_file(RUNGS[int(key) - 1].page if key.isdigit() else key.partition(".")[0])
    if state == "right":
        return f"{called(key)}: right" + (f"; {text}" if text else "")
    if state == "not written yet":
        return f"{called(key)}: " + (text or f"not written yet; read {page}")
    return f"{called(key)}: {text}"


def check(options: LearnOptions, folder: Path, key: str) -> bool:
    """Examine one rung or exercise, or all rungs up to the first that is not right."""
    keys = [key] if key else [str(number + 1) for number in range(len(RUNGS))]
    verdicts = examined(folder, keys, options.answer, options.model, options.seconds)
    for verdict in verdicts:
        show(said(verdict))
        if verdict["state"] != "right":
            show(f"help: {typed(folder, 'hint ' + numbered(verdict['key']))}")
            return False
    if not keys[-1].isdigit():
        show(wrapped(TABLE[key].why))
    elif int(keys[-1]) < len(RUNGS):
        rung = RUNGS[int(keys[-1])]
        show(f"next: rung {int(keys[-1]) + 1}, {rung.name} ({page_file(rung.page)})")
    else:
        first, *_, last = TABLE
        show(f"next: the exercises of the pages, {numbered(first)} to {numbered(last)}")
    return True


def status(options: LearnOptions, folder: Path) -> str:
    """Return a table of all rungs, and what comes next."""
    keys = [str(number + 1) for number in range(len(RUNGS))]
    verdicts = examined(folder, keys, (), options.model, options.seconds)
    rows = [[one["key"], RUNGS[int(one["key"]) - 1].name, one["state"],
             page_file(RUNGS[int(one["key"]) - 1].page)] for one in verdicts]
    count = Counter(one["state"] for one in verdicts)["right"]
    left = next((one for one in verdicts if one["state"] != "right"), None)
    end = f"{count} of {len(RUNGS)} rungs are right" + (
        "; you have built a BERT" if left is None else f"; next: {called(left['key'])}")
    return align(["rung", "function", "state", "page"], rows, left=[1, 2, 3]) + "\n" + end


def next_hint(folder: Path, key: str) -> str:
    """Return the next step of help for a rung or an exercise; the last one is the solution."""
    given = read_json(folder / HINTS) if (folder / HINTS).exists() else {}
    steps = hints_of(key)
    number = min(int(given.get(key, 0)), len(steps) - 1)
    write_json(folder / HINTS, {**given, key: number + 1})
    return f"{called(key)}, hint {number + 1} of {len(steps)}\n{steps[number]}"


def hints_of(key: str) -> Sequence[str]:
    """Return all steps of help; the last one is the solution."""
    if key.isdigit():
        rung = RUNGS[int(key) - 1]
        return [*map(wrapped, rung.hints), body_of(BERT, rung.name)]
    exercise = TABLE[key]
    solution = ("\n\n" + "\n\n\n".join(body_of(EXERCISES, name) for name in exercise.functions)
                if exercise.functions else "")
    answer = "" if exercise.functions else right_answer(exercise) + "\n"
    return [wrapped(exercise.hint), answer + wrapped(exercise.why) + solution]


def wrapped(text: str) -> str:
    """Return a text in lines that are not too long; code, which is indented, stays as it is."""
    return "\n".join(line if line.startswith(" ") else fill(line, WIDTH)
                     for line in text.splitlines())
