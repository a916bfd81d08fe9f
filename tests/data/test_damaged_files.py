"""Every reader of rows against damaged files: rows, or one DataError of one line.

The damage is seeded: bytes that are changed, cut out, doubled or put in, and pieces of other
formats. The short form is part of each run of the suite; pytest -m slow has the long one.
"""

import json
import os
import random
import re
import tempfile
from pathlib import Path

import pytest
from hostile_inputs import memory_of_at_most

from bert_kit.data import (LabelledParts, LabelList, Number, Table, TaggedSentences, column_names,
                           read_conll, read_documents, read_parts, read_squad, read_table,
                           stream_texts)
from bert_kit.errors import DataError

CSV = ('text,category,labels,score\n' + 'one,x,a|b,1.5\n"two, ""three""",y,,-2\n'
       '"four\nfive",x,"[""c""]",3e2\n\n\'\\=six,\'\\-,a,0\n' * 2).encode()
OBJECTS = [{"text": "one", "category": "x", "labels": ["a", "b"], "score": 1.5},
           {"text": "caf\u00e9 \U0001f600", "category": 7, "labels": [], "score": -2},
           {"text": "three", "category": True, "labels": "a|b", "score": "3"}] * 2
SQUAD = {"version": "2.0", "data": [{"title": "a", "paragraphs": [{
    "context": "an old red thing", "qas": [
        {"id": "1", "question": "what?", "answers": [{"text": "red", "answer_start": 7}]},
        {"id": 2, "question": "why?", "answers": [], "is_impossible": True}]}]}]}
FLAT = [{"id": "1", "context": "an old red thing", "question": "what?",
         "answers": {"text": ["red"], "answer_start": [7]}},
        {"context": "a thing", "question": "why?", "answers": {"text": [], "answer_start": []}}]
FILES = {
    "a.csv": CSV,
    "a.tsv": CSV.replace(b",", b"\t") + b'"lone quote\ty\t\t1\nlast"\tx\ta\t2\n',
    "b.csv": b"sep=;\r\n" + CSV.replace(b",", b";"),
    "a.json": json.dumps(OBJECTS, indent=1).encode(),
    "a.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in OBJECTS).encode(),
    "a.conll": b"-DOCSTART- -X- O\n\nAda NNP B-PER\nwas VBD O\n\n# a comment\nin IN O\n"
               b"Rome NNP B-LOC\n",
    "b.conll": b"Ada\tB-PER\n'\\-\tO\n\n#1\tO\n'\\\"a\\tb\"\tI-LOC\n",
    "squad.json": json.dumps(SQUAD).encode(),
    "squad.jsonl": "".join(json.dumps(row) + "\n" for row in FLAT).encode(),
    "a.txt": "one text\nanother, caf\u00e9\n\na third\r\nand \ufeff a last".encode(),
}
PIECES = [b'"', b'""', b"\t", b",", b";", b"\r", b"\n", b"\r\n", b"\n\n", b"\0", b"\xff",
          b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"'\\", b"'\\\"", b"[", b"]", b"{", b"}",
          b"[" * 2_000, b"null", b"NaN", b"1e999", b"-1", b"9" * 5_000, b"\\ud800",
          b"\\u0000", b"true", b" ", b"sep=,\n", b"#", b"PK\x03\x04", b"-DOCSTART-",
          "\u00a0\u2028\u0085".encode(), b"x" * 9_000]
ODD = [None, True, -1, 10**30, 0.5, "", " ", "x\ny", "\ud800", "\0", [], [[]], {}, [None], ["x", 1]]


def damaged(content, rng):
    """Return the bytes of a file with some things wrong."""
    bad = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        where, size = rng.randrange(len(bad) + 1), rng.randint(1, 30)
        kind = rng.randrange(7)
        if kind == 0 and where < len(bad):
            bad[where] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del bad[where:where + size]
        elif kind == 2:
            bad[where:where] = bad[where:where + size]
        elif kind == 3:
            start = rng.randrange(len(bad) + 1)
            bad[where:where] = bad[start:start + size]
        elif kind == 4 and not rng.randrange(3):
            del bad[where:]
        else:
            bad[where:where] = rng.choice(PIECES)
    return bytes(bad)


def other_value(content, rng):
    """Return a file of JSON with one value that is another, which damaged bytes rarely make."""
    lines = content.decode().splitlines()
    number = 0 if content[:1] == b"[" or len(lines) == 1 else rng.randrange(len(lines))
    value = json.loads(content if content[:1] == b"[" else lines[number])
    owner, key = rng.choice([*places(value)])
    if rng.randrange(4) or isinstance(owner, list):
        owner[key] = rng.choice(ODD)
    else:
        del owner[key]
    if content[:1] == b"[":
        return json.dumps(value).encode()
    lines[number] = json.dumps(value)
    return "\n".join(lines).encode()


def places(value):
    """Yield (list or object, key) of every value inside a value of JSON."""
    for key in range(len(value)) if isinstance(value, list) else list(value):
        yield value, key
        if isinstance(value[key], list | dict):
            yield from places(value[key])


def readers(path, rng):
    """Return functions that read a file of such a name in different ways."""
    bad_rows = rng.choice([None, []])
    if path.name.startswith("squad"):
        return [lambda: read_squad(path, rng.choice([True, False]), bad_rows=bad_rows)]
    if path.suffix == ".conll":
        return [lambda: read_conll(path, 0, rng.choice([-1, None]), bad_rows=bad_rows)]
    if path.suffix == ".txt":
        return [lambda: [*stream_texts(path)], lambda: [*read_documents(path)],
                lambda: read_conll(path, 0, None)]
    how = {"bad_rows": bad_rows, "notes": []}
    if path.suffix in (".csv", ".tsv"):
        how["quotes"] = rng.choice([None, None, True, False])
    kind = rng.choice(["category", LabelList("labels"), Number("score"), None])
    return [lambda: read_table(path, "text", kind, **how), lambda: [*stream_texts(path, **how)],
            lambda: column_names(path),
            lambda: read_parts(path, val_size=0, test_size=0, train_size=1.0, **how)]


@pytest.fixture
def folder():
    """A folder in memory where there is one: thousands of times a disk would be waited for."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.mark.parametrize("count", [100, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_has_rows_or_is_one_line(name, count, folder):
    path, rng = folder / name, random.Random(f"{name} {count}")
    path.write_bytes(FILES[name])
    readers(path, random.Random(1))[0]()  # as it is it can be read
    refused = 0
    with memory_of_at_most(2**30):
        for _ in range(count):
            content = (other_value(FILES[name], rng) if ".json" in name and rng.randrange(2)
                       else damaged(FILES[name], rng))
            path.write_bytes(content)
            try:
                found = rng.choice(readers(path, rng))()
            except DataError as error:
                assert "\n" not in str(error) and len(str(error)) < 2_000, content
                refused += 1
            else:
                texts = found.texts if isinstance(found, Table) else found
                assert isinstance(texts, LabelledParts | TaggedSentences) or (
                    not re.search("[\0\ud800-\udfff]", "".join(map(str, texts)))), content
    assert count / 20 < refused < count
