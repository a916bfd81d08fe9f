"""Sentence vectors: one vector for each text, such that texts alike in meaning are near by angle.

The vector is pooled from the encoder's token vectors (Reimers & Gurevych 2019, section 3), in the
way that the model's folder declares.
"""

import itertools
import sys
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.data import ClassificationDataset, pad_batch, stream_texts
from bert_kit.errors import ConfigError, WeightsError
from bert_kit.files import atomic_file
from bert_kit.lookup import find_folder
from bert_kit.model import BERTModel, encoder_without_pooler
from bert_kit.model.classifiers.pooling import POOLINGS
from bert_kit.recipes.prediction import choose_device
from bert_kit.tokenization import get_tokenizer
from bert_kit.training import autocast, keep_freed_memory
from bert_kit.training.losses import model_inputs
from bert_kit.weights import (WEIGHT_FILES, SentenceLayout, load_pretrained, read_sentence_folder,
                              save_sentence_folder)

BATCH = 32
CHUNK = 128 * BATCH  # texts of a file, and vectors, held at a time


class SentenceEncoder:
    """A sentence encoder: texts in, vectors out.

    Parameters
    ----------
    folder : path
        Folder or name of a model, as sentence-transformers or `train_similarity` wrote it.
    precision : str
        "float32", or "bfloat16", which is faster on most machines and off in the third digit.
    device : str
        "auto", "cpu", "cuda" or "mps".
    pooling : str, optional
        "mean", "cls" or "max", for the folder of a plain BERT, which does not say.
    download : bool
        Allow the Hugging Face hub to be asked.

    Attributes
    ----------
    max_length : int
        Where texts are cut off, in tokens.
    dimension : int
        Numbers D in a vector.

    Raises
    ------
    BertKitError
        If there is no such folder, a file in it is damaged, or it asks for what the kit does not
        do.

    Examples
    --------
    ::

        encoder = SentenceEncoder("all-MiniLM-L6-v2")
        a, b = encoder.encode(["A man plays the guitar.", "Someone makes music."])
    """

    def __init__(self, folder, precision="float32", device="auto", pooling=None, download=False):
        autocast(precision)  # or an error, before any work
        self.precision, self.device = precision, choose_device(device)
        folder = find_folder(folder, (*WEIGHT_FILES, "modules.json"), download)
        folder, self.layout = _find_layout(folder, pooling)
        self.tokenizer = get_tokenizer(folder)
        if self.layout.lowercase:
            _lowercase(self.tokenizer)
        self.model = _load_encoder(folder).to(self.device)
        longest = self.model.config.max_position_embeddings
        self.max_length = min(
            self.layout.max_length or self.tokenizer.max_length or longest, longest)
        self.dimension = self.model.config.hidden_size * len(self.layout.pooling)

    def encode(self, texts):
        """Texts (N) -> vectors (N, D), a float32 array."""
        if not len(texts):
            return np.empty((0, self.dimension), np.float32)
        dataset = ClassificationDataset(texts, [0] * len(texts), self.tokenizer, self.max_length)
        order = np.argsort(-dataset.lengths, kind="stable")  # rows of one length fill a batch best
        vectors = torch.empty(len(texts), self.dimension)
        training = self.model.training
        self.model.eval()
        keep_freed_memory()
        with torch.inference_mode(), autocast(self.precision, self.device.type):
            for rows in torch.from_numpy(order).split(BATCH):
                batch = pad_batch([dataset[row] for row in rows.tolist()], dataset.pad_id)
                vectors[rows] = self.pool(self.model, batch).cpu()
        self.model.train(training)
        return vectors.numpy()

    def pool(self, model, batch):
        """Return the vectors (B, D) of a batch, a tensor with gradients; `model` is the encoder."""
        hidden = model(**model_inputs(model, batch)).last_hidden_state.float()
        mask = batch["attention_mask"].to(hidden.device).bool()
        pooled = [POOLINGS[name](hidden, mask) for name in self.layout.pooling]
        vectors = torch.cat(pooled, -1)  # (B, S, D) -> (B, D)
        return F.normalize(vectors, dim=-1) if self.layout.normalize else vectors

    def save(self, folder):
        """Write a folder that this class and sentence-transformers read."""
        save_sentence_folder(self.model, folder, self.tokenizer,
                             self.layout._replace(max_length=self.max_length))


def _find_layout(folder, pooling):
    """Return the encoder's own folder and its SentenceLayout."""
    if not (folder / "modules.json").is_file():
        if pooling is None:
            raise ConfigError(f"{folder}: holds no modules.json to say how token vectors become "
                              f"one; expected a sentence encoder, or a pooling "
                              f"(--pooling {', '.join(POOLINGS)})")
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}")
        return folder, SentenceLayout((pooling,))
    if pooling is not None:
        raise ConfigError(f"pooling is {pooling!r}, but {folder / 'modules.json'} says how token "
                          "vectors become one; leave pooling out")
    return read_sentence_folder(folder)


def _lowercase(tokenizer):
    """Let a tokenizer drop case, and leave accents as it does."""
    cleaning = tokenizer.backend.normalizer
    if not cleaning.lowercase:
        cleaning.strip_accents = bool(cleaning.strip_accents)  # None does as lowercase does
        cleaning.lowercase = True
        tokenizer.backend.normalizer = cleaning


def _load_encoder(folder):
    """Return the encoder, with its pooler if it has one: unused here, but saved again."""
    report = partial(print, file=sys.stderr)  # standard output may be for results
    try:
        model = load_pretrained(BERTModel, folder, strict=True, report=report, classifier={})
    except WeightsError:
        return load_pretrained(encoder_without_pooler, folder, strict=True, report=report,
                               classifier={})
    model.pooler.requires_grad_(False)  # nothing asks for its gradient
    return model


def embed_file(encoder, data_file, output_file, text_column="text", delimiter=None,
               encoding="utf-8-sig"):
    """Write the vectors of a file's texts as a .npy file (N, D), and return N.

    Neither the texts nor the vectors are in memory all at once; nor need they be afterwards:
    ``numpy.load(output_file, mmap_mode="r")``.

    Parameters
    ----------
    encoder : SentenceEncoder
    data_file : path
        A text a line if it ends in .txt, else a table; see `bert_kit.data.stream_texts`, also for
        the last three.
    output_file : path
        Ending in .npy.

    Raises
    ------
    BertKitError
        If a row cannot be used, before any work, or the output cannot be written.
    """
    if not str(output_file).endswith(".npy"):
        raise ConfigError(f"{output_file}: expected a name that ends in .npy")
    texts = partial(stream_texts, data_file, text_column, delimiter, encoding)
    count = sum(1 for _ in texts())
    # Written row after row, not through a map: where the disk is full, a map kills the process.
    with atomic_file(output_file) as path, open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {
            "descr": np.dtype(np.float32).str, "fortran_order": False,
            "shape": (count, encoder.dimension)})
        for chunk in chunks_of(texts()):
            file.write(encoder.encode(chunk))
    return count


def chunks_of(texts):
    """Yield the texts of an iterator in lists of up to CHUNK."""
    while chunk := list(itertools.islice(texts, CHUNK)):
        yield chunk
