"""Write docs/options.md: which job has which option, and what the option does.

    PYTHONPATH=. python docs/make_options.py
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field
from pathlib import Path

from bert_kit.errors import BertKitError
from bert_kit.jobs.options.declare import Options, fields_of, group_of
from bert_kit.jobs.options.parser import default_text
from bert_kit.jobs.table import JOBS
from bert_kit.jobs.tasks.table import TRAINED

TARGET = Path(__file__).with_name("options.md")
TRAINING = ("pretrain", "compare", "tune", "active")  # each a column, behind those of the tasks
ORDER = ("model", "data", "head", "training", "early stopping", "running")  # of groups; then others
USING = ("predict", "tag", "answer", "embed", "evaluate", "explore", "export", "info",
         "corpus", "learn")
HEAD = """# Options

Which job has which option. `python docs/make_options.py` writes this page from the classes of
options; `bert-kit JOB --help` says the same of one job. An option is a flag, `--batch_size 16`, a
key of a file for `--config`, and a keyword of the Python functions:

```python
from bert_kit.jobs.tasks.table import task_named

options = task_named("similarity").options(model="minilm", batch_size=16)
assert options.batch_size == 16 and options.num_train_epochs == 4  # the default of this task
```

`_` and `-` are alike in flags. What is typed wins over the file, and the file over the default. Two
spellings of one option together are refused, and so is a spelling that the field uses for something
else where it may be meant so: `num_hidden_layers` without a head to be so deep, `warmup_ratio` for
a number of steps, `per_device_train_batch_size` with several processes.
"""
FIRST = """## Training

The first six columns are `train --task …`. `compare`, `tune` and `active` have the options of the
task that they are given; a mark there says that they have it for some task. Where a job words or
sets an option in its own way, its name stands in front.
"""
SECOND = """## Using a model

These commands use a model, or look at one.
"""

Jobs = Mapping[str, Sequence[type[Options]]]


def options_of(job: str, tasks: Sequence[str] = ()) -> list[type[Options]]:
    """Return the classes of options that a job has: one, or one a task where it takes tasks."""
    entry, found = JOBS[job], []
    module = importlib.import_module(entry.module)
    for arguments in [["--task", task] for task in tasks] or [[]]:
        try:
            options, _ = entry.options(module, arguments)
        except BertKitError:  # a task that this job does not take
            continue
        if options not in found:
            found.append(options)
    return found


def training_jobs() -> dict[str, list[type[Options]]]:
    """Return {column: classes of options} of the jobs that train."""
    found = {task: options_of("train", [task]) for task in TRAINED}
    for job in TRAINING:
        if importlib.util.find_spec(JOBS[job].module) is not None:
            found[job] = options_of(job, () if job == "pretrain" else TRAINED)
    return found


def default_of(field: Field) -> str:
    """Return the default of an option as it would be typed; that of `task` is the column's name."""
    default = None if field.name == "task" else field.default
    return "none" if default is None else default_text(default)


def described(field: Field) -> str:
    """Return what --help says of an option, with its default where --help shows it."""
    text, default = field.metadata["help"], default_of(field)
    hidden = "default" in text or field.default in (None, False, "", ()) or default == "none"
    return text if hidden else f"{text} (default: {default})"


def by_title(jobs: Jobs) -> dict[str, list[str]]:
    """Return {title of a group: its options}, those of a group in the order they are met in."""
    found: dict[str, list[str]] = {title: [] for title in ORDER}
    seen = set()
    for kinds in jobs.values():
        for options in kinds:
            for field in fields_of(options):
                if field.name not in seen:
                    seen.add(field.name)
                    title = group_of(options, field.name).title
                    found.setdefault(title, []).append(field.name)
    return {title: names for title, names in found.items() if names}


def texts(jobs: Jobs, name: str) -> list[tuple[str, list[str]]]:
    """Return what is said of an option, each time with the jobs that say so."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    helps = set()
    for job, kinds in jobs.items():
        field = next((field for options in kinds for field in fields_of(options)
                      if field.name == name), None)
        if field is not None:
            text, default = field.metadata["help"], default_of(field)
            shown = f"default {default}" if text in helps else described(field)
            found.setdefault((text, default), (shown, []))[1].append(job)
            helps.add(text)
    return list(found.values())


def row(jobs: Jobs, name: str) -> str:
    """Return the line of one option: a mark for each job that has it, then what it does."""
    about = [field for kinds in jobs.values() for options in kinds
             for field in fields_of(options) if field.name == name]
    (first, _), *others = texts(jobs, name)
    text = "; ".join([first, *(f"*{', '.join(who)}*: {what}" for what, who in others)])
    aliases = dict.fromkeys(alias for field in about for alias in field.metadata["aliases"])
    if aliases:
        text += f". Also {', '.join(f'`--{alias}`' for alias in aliases)}"
    marks = ["x" if any(name in {field.name for field in fields_of(options)} for options in kinds)
             else "" for kinds in jobs.values()]
    return " | ".join([f"| `--{name}`", *marks, text.replace("|", "\\|")]) + " |"


def table(jobs: Jobs, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table of some options."""
    yield f"| option | {' | '.join(jobs)} | what it does |"
    yield "|---" + "|:-:" * len(jobs) + "|---|"
    yield from (row(jobs, name) for name in names)
    yield ""


def page() -> str:
    """Return the page."""
    jobs, lines = training_jobs(), [HEAD, FIRST]
    for title, names in by_title(jobs).items():
        lines += [f"### {title.capitalize()}\n", *table(jobs, names)]
    using = {job: options_of(job) for job in USING}
    every = [name for names in by_title(using).values() for name in names]
    return "\n".join([*lines, SECOND, *table(using, every)])


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
