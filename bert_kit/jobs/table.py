"""The jobs of the command line: what each is called, does, asks, and where it stands.

Nothing of a job is imported before it is asked for.
"""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

from bert_kit.jobs.options.declare import Options
from bert_kit.jobs.options.parser import config_value, same_spelling


class Job(NamedTuple):
    """A job: its module, which has `run(options)`, the class of its options, and a text.

    Where the options depend on the task, `asks` names a function of the command line.
    """

    module: str
    asks: str
    text: str

    def options(self, module: ModuleType, arguments: Sequence[str]
                ) -> tuple[type[Options], Callable[[str], str | None]]:
        """Return the class of the options, and what says of others where they exist."""
        found = getattr(module, self.asks)
        return found if isinstance(found, type) else found(arguments), _elsewhere


def _elsewhere(name: str) -> str | None:
    """Say of an option where it exists; only who asks waits for torch, which tasks import."""
    from bert_kit.jobs.tasks.table import where_is
    return where_is(name)


JOBS = {
    "train": Job("bert_kit.jobs.train", "options_class",
                 "train a model: --task classification, multi_label, regression, tagging, "
                 "answering or similarity"),
    "pretrain": Job("bert_kit.jobs.train", "pretrain_options",
                    "pre-train a model on masked tokens"),
    "compare": Job("bert_kit.jobs.compare", "options_class", "train several heads on one split"),
    "tune": Job("bert_kit.jobs.tuning.search", "options_class",
                "search the hyperparameters of a task"),
    "active": Job("bert_kit.jobs.active.campaigns", "options_class",
                  "ask for the labels that help a classifier most"),
    "predict": Job("bert_kit.jobs.commands.predict", "PredictOptions", "classify texts"),
    "tag": Job("bert_kit.jobs.commands.tag", "UseTaggerOptions", "tag the words of texts"),
    "answer": Job("bert_kit.jobs.commands.answer", "UseAnswererOptions",
                  "answer questions about texts"),
    "embed": Job("bert_kit.jobs.commands.embed", "EmbedOptions",
                 "turn texts into vectors, search by them, score pairs"),
    "evaluate": Job("bert_kit.jobs.commands.evaluate", "EvaluateOptions",
                    "score a trained model, whatever its task"),
    "explore": Job("bert_kit.jobs.commands.explore", "ExploreOptions",
                   "see on a page how a model reads a text"),
    "export": Job("bert_kit.jobs.commands.export", "ExportOptions",
                  "write a model as ONNX, for programs without torch"),
    "info": Job("bert_kit.jobs.commands.info", "InfoOptions", "say what is in a model folder"),
    "corpus": Job("bert_kit.jobs.commands.corpus", "CorpusOptions",
                  "write the text that every Python already has"),
    "learn": Job("bert_kit.learn.command", "LearnOptions",
                 "build your own BERT: stubs to fill in, checks, hints"),
}
RESUMED = ("train", "pretrain", "compare", "tune", "active")  # go on with --resume auto
# Jobs that trained too, before 0.2: the task, and the flags by which a model is used.
TRAINED_BEFORE = {
    "tag": ("tagging", ("text", "input_file", "output_file", "words")),
    "answer": ("answering", ("question", "context", "n_best", "input_file", "output_file")),
    "embed": ("similarity", ("data_file", "output_file", "query", "pairs", "vectors", "top_k")),
}


def renamed(arguments: Sequence[str]) -> list[str]:
    """Return a command line in today's words; one of before 0.2 is said with its new spelling.

    Examples
    --------
    >>> renamed(["tag", "--text", "In Rome."])
    ['tag', '--text', 'In Rome.']
    """
    task, to_use = TRAINED_BEFORE.get(arguments[0], ("", ()))
    flags = {argument.partition("=")[0].lstrip("-") for argument in same_spelling(arguments[1:])
             if argument.startswith("-")}
    to_train = flags & {"data_file", "train_file", "validation_file", "test_file", "data_path",
                        "dataset_path", "val_file", "dev_file", "config"}
    if not task or not to_train or flags & {*to_use, "help", "h"} or any(
            config_value(arguments, name) is not None for name in to_use):
        return list(arguments)
    print(f"note: {arguments[0]} only uses models; to train one: bert-kit train --task {task}",
          file=sys.stderr, flush=True)
    return ["train", "--task", task, *arguments[1:]]
