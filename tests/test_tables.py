"""CSV and JSON-lines files, mostly malformed ones. Run: pytest tests/test_tables.py"""

import csv
import json

import pytest

from bert_kit.data.tables import read_table
from bert_kit.errors import BertKitError, ConfigError, DataError

H = b"text,category\n"

GOOD = {
    "plain": ("a.csv", H + b"one,x\ntwo,y\n", {}, ["one", "two"], ["x", "y"]),
    "no last line end": ("a.csv", H + b"one,x", {}, ["one"], ["x"]),
    "byte order mark": ("a.csv", b"\xef\xbb\xbf" + H + b"one,x\n", {}, ["one"], ["x"]),
    "windows line ends": ("a.csv", b"text,category\r\none,x\r\n", {}, ["one"], ["x"]),
    "line break in quotes": ("a.csv", H + b'"a\nb\r\nc",x\n', {}, ["a\nb\r\nc"], ["x"]),
    "quotes and commas": ("a.csv", H + b'"say ""no"", now",x\n', {}, ['say "no", now'], ["x"]),
    "NA is text": ("a.csv", H + b"NA,null\nnan,None\n", {}, ["NA", "nan"], ["null", "None"]),
    "blank lines": ("a.csv", b"\n" + H + b"\none,x\n\n", {}, ["one"], ["x"]),
    "spaces": ("a.csv", b"text , category\n one , x \n", {}, [" one "], ["x"]),
    "other columns": ("a.csv", b"id,category,text\n7,x,one\n", {}, ["one"], ["x"]),
    "other names": ("a.csv", b"q,a\none,x\n", {"text_column": "q", "label_column": "a"},
                    ["one"], ["x"]),
    "texts only": ("a.csv", b"text\none\n", {"label_column": None}, ["one"], None),
    "tsv": ("a.tsv", b"text\tcategory\none, two\tx\n", {}, ["one, two"], ["x"]),
    "semicolon": ("a.csv", b"text;category\none;x\n", {"delimiter": ";"}, ["one"], ["x"]),
    "typed tab": ("a.csv", b"text\tcategory\none\tx\n", {"delimiter": "\\t"}, ["one"], ["x"]),
    "latin-1": ("a.csv", H + b"caf\xe9,x\n", {"encoding": "latin-1"}, ["caf\xe9"], ["x"]),
    "utf-16": ("a.csv", "text,category\ncaf\xe9,x\n".encode("utf-16"), {"encoding": "utf-16"},
               ["caf\xe9"], ["x"]),
    "long field": ("a.csv", H + b"a" * 200_000 + b",x\n", {}, ["a" * 200_000], ["x"]),
    "json lines": ("a.jsonl", b'{"text": "one", "category": "x", "n": [1]}\n\n'
                   b'{"category": 3, "text": "\\ud83d\\ude00"}', {}, ["one", "\U0001f600"],
                   ["x", "3"]),
}

BAD = {
    "empty file": ("a.csv", b"", {}, "empty; expected a header with text, category"),
    "only blank lines": ("a.csv", b"\n\n", {}, "empty; expected a header"),
    "header only": ("a.csv", H, {}, "no rows"),
    "unknown column": ("a.csv", b"txt,category\na,x\n", {}, "no column 'text'; found 'txt'"),
    "no label column": ("a.csv", b"text,label\na,x\n", {}, "no column 'category'"),
    "same column twice": ("a.csv", b"text,category,text\na,x,b\n", {}, "'text' more than once"),
    "semicolons": ("a.csv", b"text;category\na;x\n", {}, "is the delimiter ';'"),
    "tabs": ("a.csv", b"text\tcategory\na\tx\n", {}, r"is the delimiter '\\t'"),
    "commas in a tsv": ("a.tsv", H + b"a,x\n", {}, "is the delimiter ','"),
    "short row": ("a.csv", H + b"a,x\nb\n", {}, "line 3: 1 fields, expected 2"),
    "long row": ("a.csv", H + b"a,b,x\n", {}, "line 2: 3 fields, expected 2"),
    "short row after a line break": ("a.csv", H + b'"a\nb",x\nc\n', {}, "line 4: 1 fields"),
    "empty text": ("a.csv", H + b"a,x\n  ,y\n", {}, "line 3: 'text' is empty"),
    "empty label": ("a.csv", H + b"a,\n", {}, "line 2: 'category' is empty"),
    "open quote": ("a.csv", H + b'a,x\n"b,y\nc,z\n', {}, "line 3: .*quote never closed"),
    "open quote, long": ("a.csv", H + b'"b,y\n' + b"c,z\n" * 50, {"field_limit": 99},
                         "line 2: field larger than field limit"),
    "letters after a quote": ("a.csv", H + b'"a"b,x\n', {}, "line 2: .*expected after"),
    "field limit": ("a.csv", H + b"abcdefghi,x\n", {"field_limit": 8}, "line 2: field larger"),
    "NUL": ("a.csv", H + b"a\0b,x\n", {}, "line 2: holds a NUL"),
    "not utf-8": ("a.csv", H + b"a,x\ncaf\xe9,x\n", {}, "line 3: byte 0xe9 is not utf-8-sig"),
    "half a character": ("a.csv", H + b"a\xe2\x82,x\n", {}, "line 2: byte 0xe2"),
    "utf-16": ("a.csv", "text,category\na,x\n".encode("utf-16"), {}, "line 1: byte 0xff"),
    "utf-16 without mark": ("a.csv", "text,category\n".encode("utf-16-le"), {}, "utf-16"),
    "not utf-16": ("a.csv", H + b"a,x\n", {"encoding": "utf-16"}, "not utf-16"),
    "surrogate in utf-8": ("a.csv", H + b"\xed\xa0\x80,x\n", {}, "line 2: byte 0xed"),
    "no json": ("a.jsonl", b'{"text": "a", "category": "x"}\nb\n', {}, "line 2: not valid JSON"),
    "json cut off": ("a.jsonl", b'{"text": "a", "cat', {}, "line 1: not valid JSON"),
    "json list": ("a.jsonl", b'["a", "x"]\n', {}, "line 1: a list, expected one object"),
    "json without key": ("a.jsonl", b'{"text": "a"}\n', {}, "line 1: no key 'category'"),
    "json null": ("a.jsonl", b'{"text": null, "category": "x"}\n', {}, "'text' is None"),
    "json number": ("a.jsonl", b'{"text": 5, "category": "x"}\n', {}, "'text' is 5, expected"),
    "json key twice": ("a.jsonl", b'{"text": "a", "text": "b"}\n', {}, "'text' appears twice"),
    "json NaN": ("a.jsonl", b'{"text": "a", "category": NaN}\n', {}, "NaN is not a JSON"),
    "json lone surrogate": ("a.jsonl", b'{"text": "\\ud800", "category": "x"}\n', {},
                            r"line 1: 'text' holds U\+D800"),
    "json NUL": ("a.jsonl", b'{"text": "\\u0000a", "category": "x"}\n', {}, r"holds U\+0000"),
    "json nested": ("a.jsonl", b"[" * 100_000, {}, "line 1: .*JSON"),
    "json empty": ("a.jsonl", b"\n", {}, "no rows"),
}

IMPOSSIBLE = {
    "two characters": {"delimiter": "::"},
    "no character": {"delimiter": ""},
    "quote": {"delimiter": '"'},
    "unknown encoding": {"encoding": "utf-99"},
    "one column for both": {"label_column": "text"},
}


@pytest.mark.parametrize("name", GOOD)
def test_good_file(tmp_path, name):
    file, content, options, texts, labels = GOOD[name]
    (tmp_path / file).write_bytes(content)
    table = read_table(tmp_path / file, **options)
    assert (table.texts, table.labels) == (texts, labels)
    assert table.classes == sorted(set(labels or []))


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_clear_line(tmp_path, name):
    file, content, options, message = BAD[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / file, **options)
    text = str(caught.value)
    assert str(tmp_path / file) in text and len(text.splitlines()) == 1
    assert csv.field_size_limit() == 131_072  # the module's own setting is back


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_option(tmp_path, name):
    (tmp_path / "a.csv").write_bytes(H + b"a,x\n")
    with pytest.raises(ConfigError):
        read_table(tmp_path / "a.csv", **IMPOSSIBLE[name])


def test_where_a_file_is_looked_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATADIR", raising=False)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.csv").write_bytes(H + b"stored,x\n")
    with pytest.raises(DataError, match="^a.csv: no such file"):
        read_table("a.csv")
    with pytest.raises(DataError, match="not a regular file"):
        read_table("store")
    monkeypatch.setenv("DATADIR", str(tmp_path / "store"))
    assert read_table("a.csv").texts == ["stored"]
    (tmp_path / "a.csv").write_bytes(H + b"here,x\n")
    assert read_table("a.csv").texts == ["here"]
    with pytest.raises(DataError, match="^b.csv and .*store/b.csv: no such file"):
        read_table("b.csv")


def test_what_csv_and_json_write_is_read_back(tmp_path):
    texts = ['a,"b"\n', "=1+1", "tab\there", "\u2028 separator", "''", "\x85 next", "ünï 日本 😀"]
    with open(tmp_path / "a.csv", "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["text", "category"], *([text, "x"] for text in texts)])
    lines = [json.dumps({"text": text, "category": "x"}, ensure_ascii=False) for text in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read_table(tmp_path / "a.csv").texts == texts
    assert read_table(tmp_path / "a.jsonl").texts == texts


def test_flipped_bytes_never_raise_anything_else(tmp_path):
    import random
    generator = random.Random(0)
    content = H + b'"one, ""two""",x\nthree,y\n' * 3
    path = tmp_path / "a.csv"
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(content)
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            outcomes.add(type(read_table(path)).__name__)
        except BertKitError as error:
            assert len(str(error).splitlines()) == 1
            outcomes.add("error")
    assert outcomes == {"Table", "error"}
