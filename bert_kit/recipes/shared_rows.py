"""What all trials of a search share: the tokenized rows and the weights to start from.

A process reads them once, whatever number of trials it runs. The test rows stay out of it.
"""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from bert_kit.data import ClassificationDataset, Part, stratified_folds
from bert_kit.errors import ConfigError
from bert_kit.recipes.classification import TextClassificationTrainer
from bert_kit.recipes.fine_tuning import make_model, make_tokenizer
from bert_kit.recipes.rows import read_rows
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.weights import read_weights

# And on the data.
ROWS_DEPEND_ON = ("model", "download", "max_length", "stride", "seed", "output_dir")

read_weights_once = functools.lru_cache(maxsize=1)(read_weights)


@dataclass(frozen=True)
class TokenizedRows:
    """What a model is trained on and chosen by: LabelledParts, their tokenizer and datasets."""

    parts: object
    tokenizer: object
    datasets: dict


def tokenized_rows(settings, folds=0):
    """Return a list of TokenizedRows: one, or one a fold. The same rows are not read again."""
    keys = [field.name for field in dataclasses.fields(settings)
            if field.metadata["group"] == "data"]
    same = {name: getattr(settings, name) for name in (*keys, *ROWS_DEPEND_ON)}
    return _tokenized_rows(ClassificationSettings(**same), folds)


@functools.lru_cache(maxsize=1)
def _tokenized_rows(settings, folds):
    parts = read_rows(settings)
    if parts.validation is None and not folds:
        raise ConfigError("a search needs validation rows; give a val_size above 0, a "
                          "validation_file or folds")
    cut = _in_folds(parts, folds, settings.seed) if folds else [parts]
    result = []
    for parts in cut:
        tokenizer = make_tokenizer(settings, parts.train.texts)
        result.append(TokenizedRows(parts, tokenizer, {
            name: ClassificationDataset(part.texts, part.labels, tokenizer, settings.max_length,
                                        stride=settings.stride)
            for name, part in (("train", parts.train), ("validation", parts.validation))}))
    return result


def _in_folds(parts, folds, seed):
    """Return the parts of each fold: every row but the test's is validated on once."""
    texts = parts.train.texts + (parts.validation.texts if parts.validation else [])
    labels = np.array(parts.train.labels + (parts.validation.labels if parts.validation else []))
    fold_of = stratified_folds(labels, folds, seed)

    def part(rows):
        return Part([texts[row] for row in rows], labels[rows].tolist())

    return [dataclasses.replace(parts, train=part(np.flatnonzero(fold_of != fold)),
                                validation=part(np.flatnonzero(fold_of == fold)), test=None)
            for fold in range(folds)]


class SharedRowsTrainer(TextClassificationTrainer):
    """The classification job on rows and base weights that are there already.

    Parameters
    ----------
    settings : ClassificationSettings
    rows : TokenizedRows
    """

    def __init__(self, settings, rows):
        super().__init__(settings=settings)
        self.rows, self.parts, self.tokenizer = rows, rows.parts, rows.tokenizer

    def make_model(self):
        """Return the model that `setup_trainer` trains; draws from torch's generator."""
        return make_model(self.settings, self.parts.classes, self.tokenizer,
                          self.datasets["train"].labels, read_weights_once)
