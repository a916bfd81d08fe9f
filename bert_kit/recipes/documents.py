"""The text of a pre-training job: documents to train on, documents to measure on, a tokenizer.

A document is a list of sentences, or of passages where the lines of a file hold those.
"""

import hashlib
import json

from tqdm import tqdm

from bert_kit.data import (MLMDataset, NSPDataset, build_token_store, held_out, load_corpus,
                           read_documents, row_room)
from bert_kit.errors import DataError
from bert_kit.tokenization import get_tokenizer, train_tokenizer

HELD_OUT = 0.05  # share of the documents of files
HELD_OUT_SOURCES = 0.2  # of the docstrings' source files; a classifier is tested on such ones
TEXT_TO_LEARN_FROM = 20_000_000  # characters; more would hardly change the pieces of a tokenizer


def read_text(settings):
    """Return (train, held_out): the documents to train on, and some to measure on.

    Whether a document is held out depends on its text, the share and the seed alone: copies of it
    stand on one side, and a resumed run finds the same ones.

    Returns
    -------
    train : list of list of str, or None
        None with a store, which reads the files itself.
    held_out : list of list of str
        At most `max_eval_samples`, evenly spread.

    Raises
    ------
    DataError
        If a file cannot be read or is empty, or no document is left for a side.
    """
    share, train, held = settings.val_size, [], []
    if settings.validation_file is not None:
        share, held = 0.0, list(documents_of(settings.validation_file))
    if settings.store is not None:
        train = None
    elif settings.train_file is None:
        share = HELD_OUT_SOURCES if share is None else share
        for part, side in zip(load_corpus().split(share), (train, held)):
            side.extend(list(document.sentences) for document in part.documents)
    else:
        share, salt = HELD_OUT if share is None else share, str(settings.seed)
        for document in documents_of(settings.train_file):
            side = held if held_out("\n".join(document), share, salt) else train
            side.append(document)
    if share and not (train and held):
        raise DataError(f"holding out {share} of {len(train) + len(held)} documents leaves none "
                        f"to {'measure' if train else 'train'} on; give a validation_file or "
                        "another val_size (0 measures nothing)")
    return train, held[::-(-len(held) // settings.max_eval_samples) or 1]


def documents_of(files):
    """Yield the documents of text files.

    Raises
    ------
    DataError
        If a file is missing or cannot be read, or there is no document in any.
    """
    documents = read_documents(files)
    first = next(documents, None)
    if first is None:
        raise DataError(f"{', '.join(map(str, files))}: no text; expected at least one line")
    yield first
    yield from documents


def make_tokenizer(settings, train):
    """Return the tokenizer that the settings name, or one learned from the training text."""
    if settings.tokenizer is not None or settings.model is not None:
        tokenizer = get_tokenizer(settings.tokenizer or settings.model, settings.download)
    else:
        documents = documents_of(settings.train_file) if train is None else train
        tokenizer = train_tokenizer(_beginning(documents), settings.vocab_size)
    if settings.model is None:
        tokenizer.max_length = settings.max_length  # a new model has no more positions
    return tokenizer


def _beginning(documents):
    """Yield the text of the first documents."""
    seen = 0
    for document in documents:
        if seen >= TEXT_TO_LEARN_FROM:
            return
        yield _text(document)
        seen += len(_text(document))


def _text(document):
    return " ".join(document)


def fill_store(settings, tokenizer):
    """Return the TokenStore of `train_file`: made, completed or only opened."""
    with tqdm(unit="B", unit_scale=True, desc="store",
              disable=None if settings.verbosity else True) as bar:
        def report(done, total):
            bar.total = total
            bar.update(done - bar.n)

        store = build_token_store(settings.train_file, tokenizer, settings.store,
                                  settings.workers, report)
    store.rows(tokenizer, row_room(settings.max_length, texts=1))  # made here, by one process
    settings.say(f"store       {store.documents:,} documents, {store.tokens:,} tokens, "
                 f"{settings.store}")
    return store


def make_datasets(settings, train, held_out, tokenizer):
    """Return the datasets `train` and, where something is held out, `validation`.

    Parameters
    ----------
    settings : PretrainingSettings
    train : list of list of str, or TokenStore
    held_out : list of list of str
    tokenizer : Tokenizer

    Raises
    ------
    DataError
        If a part has nothing to learn from; says which.
    """
    parts = {"train": train} | ({"validation": held_out} if held_out else {})
    kind = NSPDataset if settings.nsp else MLMDataset
    if not settings.nsp:
        parts = {name: list(map(_text, part)) if isinstance(part, list) else part
                 for name, part in parts.items()}
    datasets = {}
    for name, part in parts.items():
        try:
            datasets[name] = kind(part, tokenizer, settings.max_length, settings.mask_probability,
                                  settings.whole_word, settings.seed)
        except DataError as error:
            raise DataError(f"{name} text: {error}") from None
    return datasets


def fingerprint(train, held_out, tokenizer):
    """Return the SHA-256 of the documents of both sides (or of a store's manifest), and the pieces.
    """
    digest = hashlib.sha256(tokenizer.backend.to_str().encode())
    for part in (train, held_out):
        if isinstance(part, list):
            for document in part:
                digest.update(json.dumps(document).encode())
        else:
            digest.update((part.folder / "manifest.json").read_bytes())
        digest.update(b"\n")
    return digest.hexdigest()
