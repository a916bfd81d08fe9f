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
                "bert-kit learn check 04.1 --answer 0.9  … or an exercise of page 04",
                "bert-kit learn hint 1                   one step more each time",
                "bert-kit learn status                   all rungs")
    positional = "words"

    words: tuple[str, ...] = option((), "a folder to write to; or check [N], hint N, status")
    folder: str = option("my_bert", "the learner's folder")
    answer: tuple[str, ...] = option((), "the answer to an exercise: numbers, 3/4 among them, or "
                                     "words", needs=Needs("check PAGE.EXERCISE", lambda options:
                                                          options.words[:1] == ("check",)))
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
    file = EXERCISES if "." in key else BERT
    if not (folder / file).is_file():
        raise ConfigError(f"{folder / file}: no such file; `{PROGRAM}` writes it, and --folder "
                          "names another folder")
    if verb == "hint":
        show(next_hint(folder, key_of(key)))
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
    where = "" if str(folder) == "my_bert" else f" --folder {folder}"
    show(f"begin with rung 1, {RUNGS[0].name} ({page_file(RUNGS[0].page)}); then "
         f"`{PROGRAM} check 1{where}`")


def key_of(typed: str) -> str:
    """Return the key of a rung, "7", or an exercise, "attention.1" for "04.1" or "4.1".

    Raises
    ------
    UsageError
        If there is none.

    Examples
    --------
    >>> key_of("07"), key_of("4.1")
    ('7', 'attention.1')
    """
    page, dot, number = typed.partition(".")
    if not dot:
        names = [rung.name for rung in RUNGS]
        if typed in names:
            return str(names.index(typed) + 1)
        if typed.isdecimal() and 1 <= int(typed) <= len(RUNGS):
            return str(int(typed))
        raise UsageError(f"there is no rung {typed!r}; expected 1 to {len(RUNGS)}, or an exercise "
                         "such as 04.1")
    for stem in PAGES:
        start, _, name = stem.partition("-")
        if page in (name, stem) or page.isdecimal() and start == page.zfill(2):
            known = [key for key in TABLE if key.partition(".")[0] == name]
            if f"{name}.{number}" in known:
                return f"{name}.{number}"
            raise UsageError(f"there is no exercise {typed}; page {start} has "
                             + " and ".join(f"{start}.{key.partition('.')[2]}" for key in known))
    raise UsageError(f"there is no page {page!r}; expected 00 to {PAGES[-1][:2]}")


def called(key: str) -> str:
    """Return what a key is called on the screen."""
    if key.isdigit():
        return f"rung {key}, {RUNGS[int(key) - 1].name}"
    page, _, number = key.partition(".")
    return f"exercise {page_file(page)[5:7]}.{number}"


def said(verdict: Mapping[str, str]) -> str:
    """Return a verdict in one line."""
    key, state, text = verdict["key"], verdict["state"], verdict["text"]
    page = page_file(RUNGS[int(key) - 1].page if key.isdigit() else key.partition(".")[0])
    if state == "right":
        return f"{called(key)}: right" + (f"; {text}" if text else "")
    if state == "not written yet":
        return f"{called(key)}: " + (text or f"not written yet; read {page}")
    return f"{called(key)}: {text}"


def check(options: LearnOptions, folder: Path, typed: str) -> bool:
    """Examine one rung or exercise, or all rungs up to the first that is not right."""
    keys = [key_of(typed)] if typed else [str(number + 1) for number in range(len(RUNGS))]
    verdicts = examined(folder, keys, options.answer, options.model, options.seconds)
    for verdict in verdicts:
        show(said(verdict))
        if verdict["state"] != "right":
            name = typed or verdict["key"]
            show(f"help: `{PROGRAM} hint {name}`")
            return False
    number = int(keys[-1]) if keys[-1].isdigit() else len(RUNGS)
    if number < len(RUNGS):
        rung = RUNGS[number]
        show(f"next: rung {number + 1}, {rung.name} ({page_file(rung.page)})")
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
        return [*(fill(hint, WIDTH) for hint in rung.hints), body_of(BERT, rung.name)]
    exercise = TABLE[key]
    why = fill(exercise.why, WIDTH)
    if exercise.function:
        return [fill(exercise.hint, WIDTH),
                f"{why}\n\n{body_of(EXERCISES, exercise.function)}"]
    return [fill(exercise.hint, WIDTH), f"{right_answer(exercise)}\n{why}"]
