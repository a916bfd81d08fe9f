"""CSV and JSON-lines files, mostly malformed ones. Run: pytest tests/data/test_tables.py"""

import contextlib
import csv
import gzip
import io
import json
import os
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from bert_kit.data import LabelColumns
from bert_kit.data.read.tables import column_names, read_table, stream_texts, table_from_lists
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
    "texts only": ("a.csv", b"text\none\n", {"label_column": None}, ["one"], []),
    "tsv": ("a.tsv", b"text\tcategory\none, two\tx\n", {}, ["one, two"], ["x"]),
    "semicolon": ("a.csv", b"text;category\none;x\n", {"delimiter": ";"}, ["one"], ["x"]),
    "typed tab": ("a.csv", b"text\tcategory\none\tx\n", {"delimiter": "\\t"}, ["one"], ["x"]),
    "latin-1": ("a.csv", H + b"caf\xe9,x\n", {"encoding": "latin-1"}, ["caf\xe9"], ["x"]),
    "utf-16": ("a.csv", "text,category\ncaf\xe9,x\n".encode("utf-16"), {"encoding": "utf-16"},
               ["caf\xe9"], ["x"]),
    "latin-1 by another name": ("a.csv", H + b"\x80 caf\xe9,x\n", {"encoding": "cp1252"},
                                ["\u20ac caf\xe9"], ["x"]),
    "utf-8 by another name": ("a.csv", b"\xef\xbb\xbf" + H + b"one,x\n", {"encoding": "UTF8"},
                              ["one"], ["x"]),
    "carriage returns": ("a.csv", b"text,category\rone,x\rtwo,y", {}, ["one", "two"], ["x", "y"]),
    "json array": ("a.json", b' [\n{"text": "a",\n "category": "x"} ,{"category": 1, "text": "b"}]',
                   {}, ["a", "b"], ["x", "1"]),
    "sep= of Excel": ("a.csv", b"\xef\xbb\xbfsep=;\r\ntext;category\r\none, two;x\r\n", {},
                      ["one, two"], ["x"]),
    "sep= and a delimiter": ("a.csv", b'"sep=;"\ntext;category\none;x\n', {"delimiter": ";"},
                             ["one"], ["x"]),
    "no header": ("a.csv", b"one,x,1\ntwo,y,2\n", {"columns": ("text", "category", "id")},
                  ["one", "two"], ["x", "y"]),
    "quotes as they stand": ("a.tsv", b'text\tcategory\n"one\tx\ntwo"\ty\n"three"\ty\n',
                             {"quotes": False}, ['"one', 'two"', '"three"'], ["x", "y", "y"]),
    "lone quotes": ("a.tsv", b'text\tcategory\n"one\tx\n\nthree\ty\ntwo"\ty\n"four\tx\n"5\tx\n',
                    {}, ['"one', "three", 'two"', '"four', '"5'], ["x", "y", "y", "x", "x"]),
    "a word in quotes": ("a.tsv", b'text\tcategory\n"wow" he said\tx\n"a ""b"""\ty\n', {},
                         ['"wow" he said', 'a "b"'], ["x", "y"]),
    "lines in the one column": ("a.tsv", b'text\n"one\ntwo"\nthree\n', {"label_column": None},
                                ["one\ntwo", "three"], []),
    "lines in the last column": ("a.tsv", b'category\ttext\nx\t"one\ntwo\n\n3"\ny\t4\n', {},
                                 ["one\ntwo\n\n3", "4"], ["x", "y"]),
    "quotes that enclose": ("a.tsv", b'text\tcategory\n"one\tx\ntwo"\ty\n', {"quotes": True},
                            ["one\tx\ntwo"], ["y"]),
    "line break in a tsv": ("a.tsv", b'text\tcategory\n"one\ntwo"\ty\n', {}, ["one\ntwo"], ["y"]),
    "guarded": ("a.csv", H + b"'\\=one,'\\-\n'=one,'-\n", {}, ["=one", "'=one"], ["-", "'-"]),
    "mixed line ends": ("a.csv", b"text,category\rone,x\r\ntwo,y\nthree,x\r", {},
                        ["one", "two", "three"], ["x", "y", "x"]),
    "delimiter at each end": ("a.csv", b"text,category,,\none,x,,\n", {}, ["one"], ["x"]),
    "lines of spaces": ("a.csv", H + b"   \none,x\n\t\n", {}, ["one"], ["x"]),
    "spaces inside a name": ("a.csv", b" full text ,the class\none,x\n",
                             {"text_column": "full text", "label_column": "the class"},
                             ["one"], ["x"]),
    "quote inside a word": ("a.csv", H + b'5" disk,x\n', {}, ['5" disk'], ["x"]),
    "quoted header": ("a.csv", b'"text","category"\n"one","x"\n', {}, ["one"], ["x"]),
    "empty other column": ("a.csv", b"id,text,category\n,one,x\n", {}, ["one"], ["x"]),
    "what looks like nothing": (
        "a.csv", (H.decode() + "a\u200bb \ufeffc,x\n\U0001f469\u200d\U0001f52c,y\n"
                  "\u202bשלום\u202c,x\n").encode(), {},
        ["a\u200bb \ufeffc", "\U0001f469\u200d\U0001f52c", "\u202bשלום\u202c"],
        ["x", "y", "x"]),
    "a header that begins as Parquet": ("a.csv", b"PAR1,text,category\n1,one,x\n", {}, ["one"],
                                        ["x"]),
    "json of booleans": ("a.ndjson", b'{"text": "NaN", "category": true}\r\n', {}, ["NaN"],
                         ["True"]),
    "json with a mark": ("a.json", b'\xef\xbb\xbf{"text": "one", "category": " x "}', {}, ["one"],
                         ["x"]),
    "long field": ("a.csv", H + b"a" * 200_000 + b",x\n", {}, ["a" * 200_000], ["x"]),
    "json answer": ("a.jsonl", b'{"text": "one", "answer": "reject"}\n', {"label_column": "answer"},
                    ["one"], ["reject"]),
    "json lines": ("a.jsonl", b'{"text": "one", "category": "x", "n": [1]}\n\n'
                   b'{"category": 3, "text": "\\ud83d\\ude00"}', {}, ["one", "\U0001f600"],
                   ["x", "3"]),
}


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


BAD = {
    "empty file": ("a.csv", b"", {}, "empty; expected a header with text, category"),
    "only blank lines": ("a.csv", b"\n\n", {}, "empty; expected a header"),
    "header only": ("a.csv", H, {}, "no rows"),
    "unknown column": ("a.csv", b"txt,category\na,x\n", {},
                       "no column 'text' in the header; found 'txt', 'category'"),
    "no label column": ("a.csv", b"text,label\na,x\n", {}, "no column 'category'"),
    "another case": ("a.csv", b"Text,category\na,x\n", {}, r"\(is it 'Text'\?\); found 'Text'"),
    "space in the name": ("a.csv", b"text,class\na,x\n", {"label_column": "Class "},
                          "is it 'class'"),
    "no header": ("a.csv", b"good film,pos\nbad,neg\n", {}, "no column 'text' in the header"),
    "utf-8 read as latin-1": ("a.csv", b"\xef\xbb\xbf" + H + b"a,x\n", {"encoding": "latin-1"},
                              "no column 'text'"),
    "line break in a name": ("a.csv", b'"te\nxt",category\na,x\n', {}, r"found 'te\\nxt'"),
    "same column twice": ("a.csv", b"text,category,text\na,x,b\n", {}, "'text' more than once"),
    "semicolons": ("a.csv", b"text;category\na;x\n", {}, "is the delimiter ';'"),
    "tabs": ("a.csv", b"text\tcategory\na\tx\n", {}, r"is the delimiter '\\t'"),
    "commas in a tsv": ("a.tsv", H + b"a,x\n", {}, "is the delimiter ','"),
    "short row": ("a.csv", H + b"a,x\nb\n", {}, "line 3: 1 fields, expected 2"),
    "long row": ("a.csv", H + b"a,b,x\n", {}, "line 2: 3 fields, expected 2"),
    "short row after a line break": ("a.csv", H + b'"a\nb",x\nc\n', {}, "line 4: 1 fields"),
    "delimiter after each row": ("a.csv", H + b"a,x,\n", {}, "line 2: 3 fields, expected 2"),
    "row of delimiters": ("a.csv", H + b"a,x\n,\n", {}, "line 3: 'text' is empty"),
    "carriage return in a text": ("a.csv", H + b"a\rb,x\n", {}, "line 2: 1 fields"),
    "space in front of a quote": ("a.csv", H + b'a, "x\ny"\n', {}, "line 3: 1 fields"),
    "escaped by a backslash": ("a.csv", H + b'"say \\"no\\"",x\n', {}, "line 2: .*not doubled"),
    "space of every kind": ("a.csv", H + "\u3000\u00a0\t,x\n".encode(), {}, "'text' is empty"),
    "label of spaces": ("a.csv", H + b"a,  \n", {}, "line 2: 'category' is empty"),
    "open quote in the header": ("a.csv", b'"text,category\na,x\n', {}, "line 1: .*never closed"),
    "empty text": ("a.csv", H + b"a,x\n  ,y\n", {}, "line 3: 'text' is empty"),
    "empty label": ("a.csv", H + b"a,\n", {}, "line 2: 'category' is empty"),
    "open quote": ("a.csv", H + b'a,x\n"b,y\nc,z\n', {}, "line 3: .*quote never closed"),
    "open quote, long": ("a.csv", H + b'"b,y\n' + b"c,z\n" * 50, {"field_limit": 99},
                         "line 2: field larger than field limit"),
    "letters after a quote": ("a.csv", H + b'"a"b,x\n', {}, "line 2: .*expected after"),
    "field limit": ("a.csv", H + b"abcdefghi,x\n", {"field_limit": 8}, "line 2: field larger"),
    "long JSON line": ("a.jsonl", b'{"text": "abcdefghijkl", "category": "x"}', {"field_limit": 9},
                       "line 1: 41 characters; at most 9"),
    "gzip": ("a.csv.gz", gzip.compress(H + b"a,x\n"), {}, "a gzip archive; expected the unpacked"),
    "gzip in disguise": ("a.csv", gzip.compress(H), {}, "a gzip archive"),
    "zip": ("a.xlsx", zipped(), {}, "a zip archive or an Excel workbook"),
    "old excel": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), {},
                  "an Excel workbook"),
    "parquet": ("a.parquet", b"PAR1\x15\x04\x15\x1e" + bytes(9) + b"PAR1", {}, "a Parquet file"),
    "pdf": ("a.csv", b"%PDF-1.7\n", {}, "a PDF document"),
    "pictures": ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", {}, "line 1: byte 0x89"),
    "NUL": ("a.csv", H + b"a\0b,x\n", {}, "line 2: holds a NUL"),
    "NUL in quotes": ("a.csv", H + b'"a\n\0b",x\n', {}, "line 3: holds a NUL"),
    "utf-32": ("a.csv", "text,category\n".encode("utf-32"), {}, "give --encoding utf-16"),
    "not utf-8": ("a.csv", H + b"a,x\ncaf\xe9,x\n", {}, "line 3: byte 0xe9 is not utf-8-sig"),
    "half a character": ("a.csv", H + b"a\xe2\x82,x\n", {}, "line 2: byte 0xe2"),
    "utf-16": ("a.csv", "text,category\na,x\n".encode("utf-16"), {},
               "line 1: byte 0xff is not UTF-8; .* give --encoding utf-16"),
    "utf-16, big end first": ("a.csv", "\ufefftext,category\n".encode("utf-16-be"), {},
                              "line 1: byte 0xfe is not UTF-8"),
    "half of utf-16": ("a.csv", "text,category\n".encode("utf-16")[:-1], {"encoding": "utf-16"},
                       "from line 1 on: not utf-16"),
    "utf-16 without mark": ("a.csv", "text,category\n".encode("utf-16-le"), {}, "utf-16"),
    "not utf-16": ("a.csv", H + b"a,x\n", {"encoding": "utf-16"}, "not utf-16"),
    "surrogate in utf-8": ("a.csv", H + b"\xed\xa0\x80,x\n", {}, "line 2: byte 0xed"),
    "no json": ("a.jsonl", b'{"text": "a", "category": "x"}\nb\n', {}, "line 2: not valid JSON"),
    "json cut off": ("a.jsonl", b'{"text": "a", "cat', {}, "line 1: not valid JSON"),
    "json over lines": ("a.json", b'{\n "text": "a",\n "category": "x"\n}\n', {},
                        "line 1: not valid"),
    "json two a line": ("a.jsonl", b'{"text": "a", "category": "x"} {}\n', {}, "not valid JSON"),
    "json other case": ("a.jsonl", b'{"TEXT": "a", "category": "x"}\n', {}, "is it 'TEXT'"),
    "json text list": ("a.jsonl", b'{"text": ["a"], "category": "x"}\n', {}, "'text' is a list"),
    "json label object": ("a.jsonl", b'{"text": "a", "category": {"x": 1}}\n', {},
                          "'category' is a dict, expected text"),
    "json label null": ("a.jsonl", b'{"text": "a", "category": null}\n', {}, "'category' is None"),
    "json label float": ("a.jsonl", b'{"text": "a", "category": 1e999}\n', {},
                         "1e999 is not a JSON number"),
    "json long number": ("a.jsonl", b'{"text": "a", "category": ' + b"9" * 5_000 + b"}", {},
                         "line 1: not valid JSON"),
    "json long number as text": ("a.jsonl", b'{"text": ' + b"9" * 4_000 + b', "category": "x"}', {},
                                 "'text' is 9{50}, expected"),
    "json empty text": ("a.jsonl", b'{"text": "", "category": "x"}\n', {}, "'text' is empty"),
    "json latin-1": ("a.jsonl", b'{"text": "caf\xe9", "category": "x"}\n', {}, "byte 0xe9"),
    "json deep value": ("a.jsonl", b'{"text": ' + b"[" * 900 + b"]" * 900 + b', "category": "x"}',
                        {}, "line 1: .*(list|deep)"),
    "json list": ("a.jsonl", b'["a", "x"]\n', {}, "line 1: a str in a list, expected"),
    "json without key": ("a.jsonl", b'{"text": "a"}\n', {}, "line 1: no key 'category'"),
    "json null": ("a.jsonl", b'{"text": null, "category": "x"}\n', {}, "'text' is None"),
    "json over lines, of objects": ("a.json", b'{"data": [\n{"text": "a", "category": "x"}]}', {},
                                    "line 1: not valid JSON.*a list of objects"),
    "json rejected": ("a.jsonl", b'{"text": "a", "category": "x", "answer": "reject"}\n', {},
                      r"no text has a label \(1 rejected\); expected texts that are labelled"),
    "json label list": ("a.jsonl", b'{"text": "a", "category": ["x", "y"]}\n', {},
                        "line 1: 'category' has the labels x, y; expected one .*multi_label"),
    "git lfs": ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", {},
                "a pointer of Git LFS, not the file itself"),
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
    "not of text": {"encoding": "hex"},
    "empty encoding": {"encoding": ""},
    "no encoding": {"encoding": None},
    "NUL in the encoding": {"encoding": "utf\0"},
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


def test_unusual_places(tmp_path):
    (tmp_path / "a.csv").write_bytes(H + b"one,x\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    assert read_table(tmp_path / "link.csv").texts == ["one"]
    (tmp_path / "broken.csv").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for name in ("broken.csv", "loop.csv", "a\0b.csv"):
        with pytest.raises(DataError, match="no such file"):
            read_table(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read .File name too long"):
        read_table(tmp_path / ("a" * 300))
    os.mkfifo(tmp_path / "pipe.csv")
    for place in (tmp_path / "pipe.csv", tmp_path, "/dev/zero"):
        with pytest.raises(DataError, match="not a regular file"):
            read_table(place)


def test_file_names_that_are_not_utf_8(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.csv")
    with open(path, "wb") as handle:
        handle.write(H + b"one,x\n")
    assert read_table(os.fsdecode(path)).texts == ["one"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_files_that_may_not_be_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(H + b"one,x\n")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(DataError, match="cannot be read .Permission denied"):
        read_table(tmp_path / "a.csv")


def test_lines_of_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\n" + H + b'one,x\n\n"two\nlines",x\nthree,y\n')
    table = read_table(tmp_path / "a.csv")
    assert table.lines.tolist() == [3, 5, 7]
    assert table.where(2) == f"{tmp_path / 'a.csv'} line 7"
    (tmp_path / "a.jsonl").write_bytes(b'\n{"text": "a", "category": 1}\n\n'
                                       b'{"text": "b", "category": 1}')
    assert read_table(tmp_path / "a.jsonl").lines.tolist() == [2, 4]


@pytest.mark.parametrize("name, content, texts, note", [
    ("a.tsv", 'text\tcategory\n"one\tx\ntwo"\ty\n', ['"one', 'two"'],
     "read as they stand .*--quotes true"),
    ("a.tsv", 'text\tcategory\n"one"\tx\n"two\n3"\ty\n', ["one", "two\n3"], ""),
    ("a.csv", 'text,category\n"one,x\ntwo,y\n3",x\n', ["one,x\ntwo,y\n3"],
     "one cell of 3 lines .*--quotes false"),
    ("a.csv", 'category,text\nx,"one\ny,two"\n', ["one\ny,two"],
     "one cell of 2 lines .*--quotes false"),
    ("a.csv", 'category,text\nx,"one\ntwo"\n', ["one\ntwo"], "")])
def test_quotes_that_may_mean_something_else_are_told(tmp_path, name, content, texts, note):
    notes = []
    (tmp_path / name).write_text(content)
    found = read_table(tmp_path / name, notes=notes).texts
    assert found == texts
    assert len(notes) == bool(note) and re.search(note, "".join(notes))
    streamed = []
    assert [*stream_texts(tmp_path / name, notes=streamed)] == found and streamed == notes
    for quotes in (True, False) if note else ():
        settled = []
        with contextlib.suppress(DataError):
            read_table(tmp_path / name, quotes=quotes, notes=settled)
        assert not settled


@pytest.mark.parametrize("name, content, texts, bad", [
    ("a.csv", 'text,category\none,x\n,x\ntwo,\n  ,y\nthree,x,y\n"four" 4,x\nfive,y\n',
     ["one", "five"],
     {3: "'text' is empty", 4: "'category' is empty", 5: "'text' is empty", 6: "3 fields",
      7: "delimiter|expected after"}),
    ("a.jsonl", '{"text": "one", "category": "x"}\n{"text": 1, "category": "x"}\n{"text": "a"}\n'
     '[3]\n{\n{"text": "five", "category": "y"}\n', ["one", "five"],
     {2: "'text' is 1", 3: "no key 'category'", 4: "a list", 5: "not valid JSON"}),
    ("a.json", '[{"text": "one", "category": "x"},\n{"text": "", "category": "x"},\n7,\n'
     '{"text": "five", "category": 2}]', ["one", "five"],
     {2: "'text' is empty", 3: "a int in a list"})])
def test_rows_that_cannot_be_used_are_left_out_and_told(tmp_path, name, content, texts, bad):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"line {min(bad)}: .*--bad_rows skip leaves such rows"):
        read_table(tmp_path / name)
    found = []
    assert read_table(tmp_path / name, bad_rows=found).texts == texts
    assert len(found) == len(bad)
    for row, (number, reason) in zip(found, bad.items()):
        assert re.search(f"{name} line {number}: .*({reason})", row.message), row


def test_a_quote_that_swallows_rows_is_no_bad_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(H + b'one,x\n"two,y\nthree,x\n')
    with pytest.raises(DataError, match="line 3: unexpected end of data.*--quotes false"):
        read_table(tmp_path / "a.csv", bad_rows=[])
    (tmp_path / "a.csv").write_bytes(H + b",x\n ,y\n")
    with pytest.raises(DataError, match="no rows; .*2 left out; the first: .*line 2"):
        read_table(tmp_path / "a.csv", bad_rows=[])


def test_a_wide_header(tmp_path):
    names = [f"column {number}" for number in range(10_000)]
    for path, mark in ((tmp_path / "a.csv", ","), (tmp_path / "a.tsv", "\t")):
        path.write_text("\n".join(map(mark.join, [["text", *names], ["one", *"01" * 5_000]])))
        assert column_names(path) == ["text", *names]
        table = read_table(path, label_column=LabelColumns(tuple(names)))
        assert table.labels == [tuple(sorted(names[1::2]))]
        with pytest.raises(DataError, match="no column 'none'.{,400}$"):
            read_table(path, "none")


def test_a_list_of_too_many_values(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "one", "category": "x", "more": [[]] * 50}]))
    assert read_table(path).texts == ["one"]
    monkeypatch.setattr("bert_kit.parsing.JSON_VALUES", 40)
    with pytest.raises(DataError, match="JSON of up to .* at most 40 are read .*jsonl"):
        read_table(path)
    monkeypatch.setattr("bert_kit.data.read.json_rows.LIST_LIMIT", 9)
    with pytest.raises(DataError, match="list of more than 9 bytes; expected one object a line"):
        read_table(path)


@pytest.mark.parametrize("name, options", [
    ("a.jsonl", {"quotes": False}), ("a.jsonl", {"columns": ["text"]}),
    ("a.txt", {"quotes": True})])
def test_what_would_change_nothing_is_refused(tmp_path, name, options):
    (tmp_path / name).write_text('{"text": "one"}\n')
    with pytest.raises(ConfigError, match="leave them out"):
        [*stream_texts(tmp_path / name, **options)]


def test_memory_of_a_long_table(tmp_path):
    """Each text is held once and each class name once; a row costs its places in the lists."""
    rows = 50_000
    with open(tmp_path / "a.csv", "w", encoding="ascii") as handle:
        handle.write("text,category\n")
        handle.writelines(f"a text of usual length with the number {i},class {i % 5}\n"
                          for i in range(rows))
    read_table(tmp_path / "a.csv")
    tracemalloc.start()
    table = read_table(tmp_path / "a.csv")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    texts = sum(map(len, table.texts))
    overhead = 49 + 4 * 8  # of a Python string; of its place in `texts`, `labels` and `lines`
    assert len({id(label) for label in table.labels}) == 5
    assert held < texts + rows * overhead + 2**20
    assert peak < 2 * texts + rows * overhead + 2**20


def test_lists_as_a_table():
    table = table_from_lists("the list", ("a", np.str_("b"), "c"), [" x", np.str_("y"), "x"])
    assert (table.texts, table.labels) == (["a", "b", "c"], ["x", "y", "x"])
    assert table.where(1) == "row 1 of the list"
    for labels in ([3, 20], np.array([3, 20]), (np.int64(3), np.uint8(20))):
        assert table_from_lists("the list", ["a", "b"], labels).labels == ["3", "20"]
    assert table_from_lists("the list", ["a", "b"], np.array([True, False])).labels == [
        "True", "False"]


BAD_LISTS = {
    "one text": ("ab", ["x", "y"], "the list: one string"),
    "one label": (["a", "b"], "xy", "the list: one string"),
    "counts": (["a", "b"], ["x"], "2 texts but 1 labels"),
    "nothing": ([], [], "no rows"),
    "no text": (["a", None], ["x", "y"], "row 1 of the list: the text is None"),
    "bytes": (["a", b"b"], ["x", "y"], "row 1 of the list: the text is b'b'"),
    "NaN": ([float("nan")], ["x"], "row 0 of the list: the text is nan"),
    "empty": (["a", " "], ["x", "y"], "row 1 of the list: the text is ' '"),
    "half a character": (["a\ud800"], ["x"], "row 0 of the list: the text is 'a.ud800'"),
    "no label": (["a"], [None], "row 0 of the list: the label is None"),
    "float label": (["a"], [1.0], "the label is 1.0; expected a name or whole number"),
    "empty label": (["a"], [" "], "the label is ' '"),
    "list as label": (["a"], [["x"]], "the label is .'x'.;"),
    "half a character as label": (["a"], ["\udfff"], "the label is '.udfff'"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_lists(name):
    texts, labels, message = BAD_LISTS[name]
    with pytest.raises(DataError, match=message) as caught:
        table_from_lists("the list", texts, labels)
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)


def test_a_sentence_with_the_name_of_the_column_is_no_header(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("They hold images, text, and sound.\n")
    assert list(stream_texts(path)) == ["They hold images, text, and sound."]
    path.write_text("id, text, label\n1, a b, x\n")
    with pytest.raises(DataError, match="looks like the header of a table"):
        list(stream_texts(path))
