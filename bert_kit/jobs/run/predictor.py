"""A trained model put to use: what every predictor shares, whatever it is asked."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bert_kit.config import BertConfig
from bert_kit.data import BatchSampler, make_loader
from bert_kit.errors import ConfigError, TrainingError
from bert_kit.families import bert_class
from bert_kit.files import read_json
from bert_kit.lookup import find_folder
from bert_kit.model import prepare_for_inference
from bert_kit.modes import evaluation_mode
from bert_kit.printing import one_line, show
from bert_kit.tokenization import Tokenizer, get_tokenizer
from bert_kit.training import (ALONE, Processes, autocast, choose_device, keep_freed_memory,
                               model_inputs)
from bert_kit.weights import WEIGHT_FILES, load_pretrained, save_pretrained

SAMPLE = 64  # numbers of a weight that are looked at, about
BATCH = 64  # rows scored together, everywhere: the same rows then give the same bits
CHUNK = BatchSampler.STRETCH * BATCH  # rows of a file held, and sorted by length, at a time

# What the architectures of config.json are, by BERT's names, and the command that uses each.
PRETRAINED = ("a model that was pre-trained only", "train, to fine-tune it first")
KINDS = {"BertForSequenceClassification": ("a text classifier", "predict"),
         "BERTForSequenceClassification": ("a text classifier", "predict"),
         "BERTForMultiLabel": ("a text classifier", "predict"),
         "BertForTokenClassification": ("a tagger", "tag"),
         "BertForQuestionAnswering": ("an answerer", "answer"),
         "BertForMaskedLM": PRETRAINED, "BertForPreTraining": PRETRAINED,
         "BertForNextSentencePrediction": PRETRAINED, "BertLMHeadModel": PRETRAINED,
         "BERTForPreTraining": PRETRAINED, "BERTForNextSentencePrediction": PRETRAINED,
         "BertForMultipleChoice": ("a model of multiple choice", "train, for a task of the kit")}


def check_kind(folder: str | Path, config: BertConfig, command: str) -> None:
    """Refuse a folder whose config.json says that it holds a model for another command.

    Raises
    ------
    ConfigError
        Says which command.
    """
    stored = config.extra.get("architectures")
    for name in stored if isinstance(stored, list) else ():
        what, use = KINDS.get(bert_class(str(name)), ("", command))
        if use != command:
            raise ConfigError(f"{folder}: is {what}; use {use}")


def check_beside(folder: Path) -> None:
    """Refuse what a cross-encoder of sentence-transformers does besides, as a file there says.

    Raises
    ------
    ConfigError
        For a prompt before each text, or a function that is put on each answer.
    """
    path = folder / "config_sentence_transformers.json"
    values = read_json(path) if path.is_file() else {}
    activation, name = values.get("activation_fn"), values.get("default_prompt_name")
    if activation is not None and not str(activation).endswith(".Identity"):
        raise ConfigError(f"{path}: activation_fn is {activation!r:.100}, to be put on each "
                          "answer; the kit does only torch.nn.Identity: without the key it gives "
                          "the numbers before it")
    prompts = values.get("prompts")
    if name is not None and (not isinstance(prompts, dict) or prompts.get(str(name)) != ""):
        raise ConfigError(f"{path}: default_prompt_name is {name!r:.60}; the kit puts a prompt "
                          "before the texts of a sentence encoder only")


def check_pieces(tokenizer: Tokenizer, config: BertConfig, what: object) -> None:
    """Refuse a tokenizer with more pieces than a model has embeddings; `what` names the two.

    Raises
    ------
    ConfigError
        Names the first piece without an embedding.
    """
    if tokenizer.vocab_size > config.vocab_size:
        first, = tokenizer.tokens([config.vocab_size])
        raise ConfigError(f"{what}: the tokenizer has {tokenizer.vocab_size:,} pieces; the model "
                          f"has room for {config.vocab_size:,} (vocab_size), not for "
                          f"{one_line(first, 40)!r} and what follows")


def warn(line: str) -> None:
    """Print a line where it does not mix with results: standard output may be a CSV."""
    if line:
        show(line, sys.stderr)


class TrainedModel:
    """A model, its tokenizer, and how it is run over rows.

    Parameters
    ----------
    model
        Its configuration holds what the answers need besides the weights, see `remember`.
    tokenizer
        Its `max_length` is where texts are cut off, or the longest row.
    processes
        Those that share the rows; all have the same ones, and are given all the results.
    precision
        "float32", or "bfloat16", which is faster on most machines and off in the third digit.
    """

    model_class: ClassVar[Any]
    command: ClassVar[str]  # that uses such a model

    def __init__(self, model: nn.Module, tokenizer: Tokenizer,
                 device: str | torch.device = "cpu", processes: Processes = ALONE,
                 precision: str = "float32") -> None:
        autocast(precision)  # or an error, before any work
        self.model: Any = model.to(device)
        check_pieces(tokenizer, self.model.config, "model and tokenizer")
        self.tokenizer, self.device = tokenizer, torch.device(device)
        self.processes, self.precision = processes, precision
        longest = self.model.config.max_position_embeddings
        self.max_length: int = min(tokenizer.max_length or longest, longest)
        self._ready: tuple[Any, _State] | None = None

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", download: bool = False,
             processes: Processes = ALONE, precision: str = "float32") -> Self:
        """Read what a training wrote, or a folder of the same task from elsewhere.

        Raises
        ------
        BertKitError
            If there is no such folder, a file in it is damaged, or it holds another kind of model.
        """
        where = choose_device(device)
        folder = find_folder(folder, WEIGHT_FILES, download)
        config = BertConfig.load(folder)
        check_kind(folder, config, cls.command)
        check_beside(folder)
        tokenizer = get_tokenizer(folder)
        check_pieces(tokenizer, config, folder)
        model = load_pretrained(cls.class_of(config), folder, strict=True, report=warn)
        return cls(model, tokenizer, where, processes, precision)

    @classmethod
    def class_of(cls, config: BertConfig) -> Any:
        """Return the class of the model that a configuration was stored for."""
        return cls.model_class

    @property
    def config(self) -> BertConfig:
        """The model's configuration."""
        return self.model.config

    def answers(self, dataset: Any) -> Any:
        """Return what the model says of each row of a dataset; here logits of their real tokens.

        Returns
        -------
        list of array (S, C)
            In float32.

        Raises
        ------
        TrainingError
            If a number is none.
        """
        keep_freed_memory()
        found, (loader, places) = [], by_length(dataset, BATCH)
        with self.answering() as model:
            for batch in self.processes.mine(loader):
                logits = model(**model_inputs(model, batch)).float().cpu().numpy()
                lengths = batch["attention_mask"].sum(1).tolist()
                found.append([row[:length].copy()
                              for row, length in zip(logits, lengths, strict=True)])
        rows = [row for part in self.processes.in_order(found) for row in part]
        check_finite(*map(torch.from_numpy, rows))
        return [rows[place] for place in places]

    @contextlib.contextmanager
    def answering(self) -> Iterator[Any]:
        """Yield what answers for the model, without gradients and dropout.

        A model with hooks answers itself: what they do may reach into its own parts, not those of
        a copy.
        """
        if any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part)
               for part in self.model.modules()):
            with evaluation_mode(self.model), autocast(self.precision, self.device.type):
                yield self.model
        else:
            model = self.ready_model()
            with torch.inference_mode():
                yield model

    def ready_model(self) -> Any:
        """Return what answers for the model; see `prepare_for_inference`.

        It is kept, until the model is found changed. Of a model in training it is not: its weights
        are about to change, and memory is short there.
        """
        if self._ready is None or not self._ready[1].holds(self.model, self.precision):
            self._ready = (prepare_for_inference(self.model, self.precision),
                           _State.of(self.model, self.precision))
        ready = self._ready[0]
        ready.config = self.model.config  # which `remember` replaces
        if self.model.training:
            self._ready = None
        return ready

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the prepared weights, which only this process can read."""
        return self.__dict__ | {"_ready": None}

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` reads."""
        save_pretrained(self.model, folder, self.tokenizer)

    def remember(self, **options: object) -> None:
        """Put options of the kind that `remembered` reads into the model's config.json."""
        config = self.model.config
        self.model.config = config.replace(extra={**config.extra, **options})

    def remembered(self, name: str, kind: type, default: Any) -> Any:
        """Return an option from the model's config.json, or a default for a foreign model.

        Raises
        ------
        ConfigError
            If it is of another kind.
        """
        value = self.model.config.extra.get(name, default)
        if value is not default and (not isinstance(value, kind)
                                     or isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"config.json: {name} is {value!r:.40}; expected {kind.__name__}")
        return value


class _State(NamedTuple):
    """What tells whether a model is still the one that was prepared.

    Attributes
    ----------
    parts, tied
        Its modules, and what each of them holds, see `_tied`.
    weights, places
        Its weights and buffers; where their numbers stand, and how often torch has counted a
        change of them.
    views, sample
        Some numbers from all over each weight: as they are now, and as they were. Torch does not
        count the steps of a fused optimizer, nor what goes through `.data`.
    """

    precision: str
    parts: list[nn.Module]
    tied: list[list[Any]]
    weights: list[Tensor]
    places: list[tuple[int, int]]
    views: list[Tensor]
    sample: Tensor

    @classmethod
    def of(cls, model: nn.Module, precision: str) -> "_State":
        parts = list(model.modules())
        weights = [weight for weight in (*model.parameters(), *model.buffers()) if weight.numel()]
        views = [weight.detach().flatten()[::max(1, weight.numel() // SAMPLE) | 1]
                 for weight in weights]
        return cls(precision, parts, [*map(_tied, parts)], weights, [*map(_place, weights)],
                   views, torch.cat(views))

    def holds(self, model: nn.Module, precision: str) -> bool:
        """Say whether nothing has changed since."""
        return (self.parts[0] is model and self.precision == precision
                and [*map(_tied, self.parts)] == self.tied
                and [*map(_place, self.weights)] == self.places
                and torch.equal(torch.cat(self.views), self.sample))


def _place(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version


def _tied(part: nn.Module) -> list[Any]:
    """Return what changes where a module gets another part or weight.

    Of a class of the user's own also its plain attributes: it may read them in each call.
    """
    told: list[Any] = []
    if not type(part).__module__.startswith(("torch.", "bert_kit.")):
        told = [value for name, value in vars(part).items()
                if name != "training" and type(value) in (bool, int, float, str)]
    return [*map(id, part._modules.values()), *map(id, part._parameters.values()),
            *map(id, part._buffers.values()), *told]


def by_length(dataset: Any, size: int) -> tuple[DataLoader, np.ndarray]:
    """Return batches of rows of like length, and the place in them of each row of the dataset.

    A batch then holds little padding, and attention takes its rows together. Rows are sorted
    within windows of as many as a file is read in, so a file gives the bits of the whole.
    """
    loader: Any = make_loader(dataset, size, shuffle=False, group_by_length=True)
    return loader, np.argsort(np.concatenate([*loader.batch_sampler.batches(epoch=0)]))


def check_finite(*logits: Tensor) -> None:
    """Refuse scores that are no numbers.

    Raises
    ------
    TrainingError
        If one is not finite.
    """
    if not all(tensor.isfinite().all() for tensor in logits):
        raise TrainingError("the model's scores are no longer numbers; a lower learning_rate "
                            "may help")
