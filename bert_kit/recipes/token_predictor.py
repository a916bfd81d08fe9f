"""A model that says something of every token, put to use: what tagger and answerer share."""

import sys
from functools import partial
from typing import ClassVar

import torch

from bert_kit.config import BertConfig
from bert_kit.data import make_loader
from bert_kit.errors import ConfigError, TrainingError
from bert_kit.evaluation import predict_token_logits
from bert_kit.lookup import find_folder
from bert_kit.recipes.prediction import BATCH, check_kind, choose_device
from bert_kit.tokenization import get_tokenizer
from bert_kit.training import ALONE, autocast, keep_freed_memory
from bert_kit.weights import WEIGHT_FILES, load_pretrained


class TokenPredictor:
    """A model, its tokenizer, and what it was trained with.

    Parameters
    ----------
    model : Module
        Of the class `model_class`.
    tokenizer : Tokenizer
        Its `max_length` is the longest row.
    device : torch.device or str
    processes : Processes
        Those that share the rows; all have the same ones, and are given all the results.
    precision : str
        "float32", or "bfloat16", which is faster on most machines and off in the third digit.
    """

    model_class: ClassVar[type]
    job: ClassVar[str]  # of the command line

    def __init__(self, model, tokenizer, device="cpu", processes=ALONE, precision="float32"):
        autocast(precision)  # or an error, before any work
        self.model, self.tokenizer = model.to(device), tokenizer
        self.device, self.processes, self.precision = torch.device(device), processes, precision
        longest = model.config.max_position_embeddings
        self.max_length = min(tokenizer.max_length or longest, longest)

    @classmethod
    def load(cls, folder, device="auto", download=False, precision="float32"):
        """Read what a training wrote, or a folder of the same task from elsewhere.

        Raises
        ------
        BertKitError
            If there is no such folder, a file in it is damaged, or it holds another kind of model.
        """
        device = choose_device(device)
        folder = find_folder(folder, WEIGHT_FILES, download)
        check_kind(folder, BertConfig.load(folder), cls.job)
        model = load_pretrained(cls.model_class, folder, strict=True,
                                report=partial(print, file=sys.stderr))
        return cls(model, get_tokenizer(folder), device, precision=precision)

    def dataset_logits(self, dataset):
        """Rows of a dataset (N) -> list of N arrays (S, C) in float32, of their real tokens."""
        def score(batches):
            with autocast(self.precision, self.device.type):
                return [predict_token_logits(self.model, [batch], self.device)
                        for batch in batches]

        keep_freed_memory()
        batches = make_loader(dataset, BATCH, shuffle=False)
        rows = [row for part in self.processes.share_out(batches, score) for row in part]
        if not all(torch.from_numpy(row).isfinite().all() for row in rows):
            raise TrainingError("the model's scores are no longer numbers; a lower learning_rate "
                                "may help")
        return rows

    def remember(self, **options):
        """Put options of the kind that `remembered` reads into the model's config.json."""
        config = self.model.config
        self.model.config = config.replace(extra={**config.extra, **options})

    def remembered(self, name, kind, default):
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
