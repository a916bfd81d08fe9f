"""The options of the jobs that say something of tokens: tagging words, finding answers."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bert_kit.errors import ConfigError
from bert_kit.recipes.options import option
from bert_kit.recipes.settings import RunSettings

_data = partial(option, group="data")
_model = partial(option, group="model")
_training = partial(option, group="training")
_running = partial(option, group="running")


@dataclass(frozen=True)
class TokenSettings(RunSettings):
    """What both jobs ask."""

    data_file: str | None = _data(
        None, "file to train on, or a folder with train, dev and test files", "data_path",
        "dataset_path")
    train_file: str | None = _data(None, "file to train on, instead of data_file")
    validation_file: str | None = _data(None, "file to choose the best epoch on", "val_file",
                                        "dev_file")
    test_file: str | None = _data(None, "file to score once, at the end")
    val_size: float = _data(
        0.1, "share to choose the best epoch on, from the end of the training file, where there "
        "is no file for it; 0 for none")

    learning_rate: float | None = _training(
        None, "peak rate; 1e-4 with weights, 5e-4 from scratch", "lr")

    def __post_init__(self):
        super().__post_init__()
        self._check_given("data_file", "train_file", "validation_file", "test_file")
        self._check_least(stride=1)
        if not 0 <= self.val_size < 1:
            raise ConfigError(f"val_size is {self.val_size}; expected a share from 0, below 1")


@dataclass(frozen=True)
class TaggingSettings(TokenSettings):
    """What to train a tagger on and how; checked when it is made, before any work.

    The fields are described by their help texts: `python -m bert_kit tag --help`.
    """

    job: ClassVar[str] = "tag"

    word_column: int = _data(0, "number of the column with the words, from 0")
    tag_column: int = _data(-1, "number of the column with the tags; -1 is the last")
    encoding: str = _data("utf-8-sig", "of the files; never guessed")
    lenient: bool = _data(False, "let an entity begin with I-, as conlleval and files in IOB1 do")

    max_length: int = _model(128, "tokens in a row; a longer sentence fills several rows",
                             "max_seq_len", "max_seq_length")
    stride: int | None = _model(
        None, "how many pieces further each row of a long sentence starts; half a row")

    metric: str | None = _training(
        None, "what decides which epoch is best; f1 of the entities, or accuracy where tags are "
        "no entities", "metric_for_best_model",
        choices=("f1", "f1_macro", "precision", "recall", "accuracy", "loss"))

    output_dir: str = _running(
        "runs/tagger-N", "where everything goes; by default runs/tagger, runs/tagger-2 and so on",
        "output_root", "save_dir")


@dataclass(frozen=True)
class AnsweringSettings(TokenSettings):
    """What to train on to find answers, and how; checked when it is made, before any work.

    The fields are described by their help texts: `python -m bert_kit answer --help`.
    """

    job: ClassVar[str] = "answer"

    max_length: int = _model(384, "tokens in a row of question and context", "max_seq_len",
                             "max_seq_length")
    stride: int = _model(128, "how many pieces further each row of a long context starts",
                         "doc_stride")
    longest_answer: int = _model(30, "most tokens of an answer", "max_answer_length")

    metric: str = _training("f1", "what decides which epoch is best", "metric_for_best_model",
                            choices=("f1", "exact_match"))

    output_dir: str = _running(
        "runs/answerer-N", "where everything goes; by default runs/answerer, runs/answerer-2 and "
        "so on", "output_root", "save_dir")

    def __post_init__(self):
        super().__post_init__()
        self._check_least(longest_answer=1)
        if self.max_length < 5:
            raise ConfigError(f"max_length is {self.max_length}; expected at least 5, for a "
                              "question and a context")
