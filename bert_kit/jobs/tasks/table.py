"""Which task has which name, and which task a trained model does.

A task is a class in a file of this folder. One of your own goes by "package.module:Class",
wherever a name is asked for.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError
from bert_kit.jobs.options.declare import spellings
from bert_kit.jobs.run.task import Task

PLACES = {"classification": "bert_kit.jobs.tasks.classes:ClassTask",
          "multi_label": "bert_kit.jobs.tasks.labels:LabelTask",
          "regression": "bert_kit.jobs.tasks.numbers:NumberTask",
          "tagging": "bert_kit.jobs.tasks.tags:TagTask",
          "answering": "bert_kit.jobs.tasks.answers:AnswerTask",
          "similarity": "bert_kit.jobs.tasks.similarity:SimilarityTask",
          "masked": "bert_kit.jobs.tasks.masked:MaskedTask"}
TRAINED = tuple(PLACES)[:-1]  # of `train --task`; masked is the job pretrain
# The tasks of a classifier by what config.json calls its problem, as the Hugging Face library does.
PROBLEMS = {"single_label_classification": "classification",
            "multi_label_classification": "multi_label", "regression": "regression"}
OLD_ACTIVATION = "sbert_ce_default_activation_function"
ARCHITECTURES = {"TokenClassification": "tagging", "QuestionAnswering": "answering",
                 "MaskedLM": "masked", "PreTraining": "masked"}


def task_named(name: str) -> Task:
    """Return a task by its name, or by "package.module:Class".

    Raises
    ------
    ConfigError
        If there is none.
    """
    module, _, attribute = PLACES.get(name, name).partition(":")
    if not attribute:
        raise ConfigError(f"task is {name!r}; expected one of {', '.join(PLACES)}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"task is {name!r:.100}, which cannot be imported ({error}); expected "
                          "package.module:Class of a task of your own") from None
    # Nothing else is called: the name may come from the folder of a stranger.
    if not (isinstance(found, type) and issubclass(found, Task)) or found.name != name:
        raise ConfigError(f"task is {name!r:.100}, which is no Task of that name; expected "
                          "package.module:Class of a task of your own")
    return found()


def text_task(config: BertConfig) -> Any:
    """Return the task of a text classifier, by its configuration.

    It is the `problem_type`; without one, a model with a single output tells a number, as in the
    Hugging Face library. A task of one's own is named as such, and only used where its module is
    imported already: a stranger's folder runs no code.

    Raises
    ------
    ConfigError
        If there is no such task.
    """
    own = str(config.extra.get("task", ""))
    if own.partition(":")[0] in sys.modules and ":" in own:
        return task_named(own)
    if own:
        raise ConfigError(f"config.json: the task is {own!r:.100}, whose code is not imported; "
                          "name it with --task to do so")
    problem = config.extra.get("problem_type") or (
        "regression" if config.num_labels == 1 else "single_label_classification")
    if str(problem) not in PROBLEMS:
        raise ConfigError(f"config.json: problem_type is {problem!r}; expected one of "
                          f"{', '.join(PROBLEMS)}")
    if problem == "regression":
        _check_one_number(config)
    return task_named(PROBLEMS[str(problem)])


def _check_one_number(config: BertConfig) -> None:
    """Refuse what a foreign model of numbers asks for that would change or drop one."""
    if config.num_labels > 1:
        raise ConfigError(f"config.json: problem_type is 'regression' with {config.num_labels} "
                          "outputs; the kit's regression tells one number a text, so expected 1")
    own = config.extra.get("sentence_transformers")
    for key, value in (("sentence_transformers: activation_fn",
                        own.get("activation_fn") if isinstance(own, dict) else None),
                       (OLD_ACTIVATION, config.extra.get(OLD_ACTIVATION))):
        if value is not None and not str(value).endswith(".Identity"):
            raise ConfigError(f"config.json: {key} is {value!r:.100}, to be put on each number; "
                              "the kit does only torch.nn.Identity: without the key it gives the "
                              "numbers before it")


def task_of_folder(folder: Path) -> Task:
    """Return the task that the model in a folder does.

    The architecture in config.json says it, or else what `text_task` reads there.

    Raises
    ------
    BertKitError
        If the folder says nothing that can be used.
    """
    if (folder / "modules.json").is_file():
        return task_named("similarity")
    config = BertConfig.load(folder)
    stored = config.extra.get("architectures")
    for name in stored if isinstance(stored, list) else ():
        for ending, task in ARCHITECTURES.items():
            if str(name).endswith(ending):
                return task_named(task)
    return text_task(config)


def where_is(name: str) -> str | None:
    """Return a line on which tasks have an option of this name; None if no task has."""
    having = [task for task in TRAINED if name in spellings(task_named(task).options)]
    of = "" if having == [*TRAINED] else f" --task {' or '.join(having)}"
    return f"--{name} is an option of train{of}" if having else None
