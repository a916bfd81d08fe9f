"""Made-up texts and their tokenizers for the tests of data."""

import functools
import json
import random

from bert_kit import Tokenizer, train_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = ["ka", "to", "mi", "re", "su", "lo", "ne", "pa"]


def make_texts(count, longest=30, seed=0):
    """Texts of 1 to `longest` words of 1 to 4 syllables, every seventh with an unknown sign."""
    rng = random.Random(seed)
    return [" ".join("".join(rng.choices(SYLLABLES, k=rng.randint(1, 4)))
                     for _ in range(rng.randint(1, longest))) + " \u2603" * (i % 7 == 6)
            for i in range(count)]


@functools.cache
def tokenizer():
    """One that spells most words in several pieces."""
    return train_tokenizer((text.strip(" \u2603") for text in make_texts(100)), vocab_size=90)


def json_of(pieces, **changes):
    """The tokenizer.json of some pieces, with values changed; "a__b" is b inside a."""
    content = json.loads(Tokenizer(pieces).backend.to_str())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for key in parents:
            place = place[key]
        place[last] = value
    return content


DOCUMENTS, WORDS = 60, 60  # of `telltale_tokenizer`


@functools.cache
def telltale_tokenizer():
    """One whose ids say where a word comes from: word 7 of document 3 is "d3w7"."""
    words = [f"d{d}w{w}" for d in range(DOCUMENTS) for w in range(WORDS)]
    return Tokenizer([*SPECIAL, *words])


def document_and_word(number):
    """Read the id of a telltale word."""
    return divmod(int(number) - len(SPECIAL), WORDS)


def make_documents(count=DOCUMENTS, longest=WORDS, seed=0):
    """Telltale documents: sentences of uneven lengths, some empty, some documents of only one."""
    rng = random.Random(seed)
    documents = []
    for d in range(count):
        words = [f"d{d}w{w}" for w in range(rng.randint(0, longest))]
        document = []
        while words:
            size = rng.choice([0, 1, 2, 3, 5, 9, 60 if d % 5 == 0 else 4])
            document.append(" ".join(words[:size]))
            words = words[size:]
        documents.append(document)
    return documents
