"""Rows that cannot be used are left out: what is read is what the file without them holds."""

import json
import random

import numpy as np
import pytest

from bert_kit import train_tokenizer
from bert_kit.data import (BadRow, LabelList, Number, build_token_store, column_names,
                           read_conll, read_documents, read_parts, read_squad, read_table,
                           read_tagged, stream_texts)
from bert_kit.data.read.documents import cut_file, read_range
from bert_kit.data.store import building
from bert_kit.errors import DataError

# A line of each kind of file with one fault, and its reason.
FAULTS = {
    "a.csv": [(b",warm", "empty text"), (b"red,", "no label"), (b"a,b,c", "wrong number of cells"),
              (b"a", "wrong number of cells"), (b'"a" b,warm', "quote sign out of place"),
              (b"caf\xe9,warm", "not in the encoding"), (b"red,\xff", "not in the encoding"),
              (b"nul\0,warm", "not in the encoding")],
    "a.tsv": [(b"\twarm", "empty text"), (b"red\t ", "no label"), (b'"a\tb"\tc\td',
              "wrong number of cells"), (b"caf\xe9\twarm", "not in the encoding")],
    "a.jsonl": [(b'{"text": "red"}', "unusable keys"), (b'{"text": 3, "category": "a"}',
                "unusable keys"), (b"[1]", "not a JSON object"), (b'{"text": "red", "categ',
                "not a JSON object"), (b'{"text": "", "category": "a"}', "empty text"),
                (b'{"text": "red", "category": null}', "no label"),
                (b'{"text": "caf\xe9", "category": "a"}', "not in the encoding")],
    "a.txt": [(b"caf\xe9 au lait", "not in the encoding"), (b"nul\0", "not in the encoding")]}
GOOD = {"a.csv": "text {0},{1}", "a.tsv": "text {0}\t{1}", "a.txt": "text {0} {1}",
        "a.jsonl": '{{"text": "text {0}", "category": "{1}"}}'}


def mixed(name, rng, count=40):
    """Return the good lines of a file, all with bad ones among them, and {line: reason}."""
    start = {"a.csv": [b"text,category"], "a.tsv": [b"text\tcategory"]}.get(name, [])
    good = [GOOD[name].format(i, rng.choice(["warm", "cold"])).encode() for i in range(count)]
    lines = [(line, None) for line in good]
    for fault in FAULTS[name]:
        lines.insert(rng.randrange(len(lines) + 1), fault)
    every = [(line, None) for line in start] + lines
    reasons = {number: reason for number, (_, reason) in enumerate(every, 1) if reason}
    return start + good, [line for line, _ in every], reasons


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAULTS)
def test_the_rest_is_the_file_without_them(name, seed, tmp_path):
    good, every, reasons = mixed(name, random.Random(seed))
    path, bad = tmp_path / name, []

    def read(lines, end, bad_rows):
        path.write_bytes(end.join([*lines, b""]))
        if name == "a.txt":
            return [*stream_texts(path, bad_rows=bad_rows)]
        table = read_table(path, bad_rows=bad_rows)
        return table.texts, table.labels
    for end in (b"\n", b"\r\n"):
        bad.clear()
        assert read(every, end, bad) == read(good, end, None)
        assert {row.row: row.reason for row in bad} == reasons
        for row in bad:
            assert row.file == str(path) and f"{path} line {row.row}: " in row.message
            assert row.content.isprintable() and len(row.content) <= 300
    with pytest.raises(DataError, match="--bad_rows skip"):
        read(every, b"\n", None)


@pytest.mark.parametrize("content", [
    b"text\n", b"text,categor\xe9,category\nred,1,warm\n", b"text,text,category\na,b,c\n",
    b'text,category\nred,warm\n"blue,cold\nred,warm\n', b'[{"text": "a", "category": "b"},\n{',
    b'text,category\nred,warm\n"blue \xe9,cold\nred,warm\n'])
def test_what_is_wrong_with_the_file_is_no_bad_row(content, tmp_path):
    path = tmp_path / ("a.json" if content[:1] == b"[" else "a.csv")
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_table(path, bad_rows=[])


def test_another_encoding_is_no_bad_row(tmp_path):
    """Up to 20 lines, or a twentieth of all, are rows; more are the file."""
    path, plain, accents = tmp_path / "a.txt", b"plain\n", "é\n".encode("latin-1")
    for bad, all_lines, refused in ((20, 21, False), (21, 420, False), (21, 419, True)):
        path.write_bytes(plain * (all_lines - bad) + accents * bad)
        found = []
        if refused:
            with pytest.raises(DataError, match=f"{bad} of {all_lines} lines are not utf-8-sig, "
                               f"first line {all_lines - bad + 1}.*another --encoding"):
                [*stream_texts(path, bad_rows=found)]
        else:
            assert len([*stream_texts(path, bad_rows=found)]) == all_lines - bad
        assert len(found) == bad
    assert len([*stream_texts(path, encoding="latin-1", bad_rows=[])]) == 419


def test_a_bad_byte_in_a_cell_of_several_lines_is_that_row_alone(tmp_path):
    path, bad = tmp_path / "a.csv", []
    path.write_bytes(b'text,category\n"one\ntwo \xe9\nthree",warm\nfour,cold\n"five\nsix",warm\n')
    assert read_table(path, bad_rows=bad).texts == ["four", "five\nsix"]
    assert bad == [BadRow(str(path), 2, "not in the encoding", f"{path} line 3: byte 0xe9 is not "
                          "utf-8-sig; expected that, or give another --encoding (older files are "
                          "often cp1252)", "one\\ntwo \\udce9\\nthree,warm")]


def test_all_rows_are_bad(tmp_path):
    (tmp_path / "a.csv").write_text("text,category\n,a\n ,b\n")
    (tmp_path / "a.txt").write_bytes(b"\xff\n")
    (tmp_path / "a.jsonl").write_text("{}\n3\n")
    (tmp_path / "a.json").write_text('{"data": [3]}')
    (tmp_path / "a.conll").write_text("a\tO\nb\n")
    for name, read in (("a.csv", read_table), ("a.jsonl", read_table), ("a.conll", read_conll),
                       ("a.txt", stream_texts), ("a.json", read_squad)):
        with pytest.raises(DataError, match=r"no .*\(\d left out; the first: .*a\."):
            read(tmp_path / name, bad_rows=[])


def test_labels_of_every_kind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,labels,score\na,x|y,1\nb,x||y,\nc,"[3",2\nd,,nan\n')
    for kind, texts, reasons in ((LabelList(), ["a", "d"], {3: "unusable label",
                                                            4: "unusable label"}),
                                 (Number("score"), ["a", "c"], {3: "no label",
                                                                5: "unusable label"})):
        bad = []
        assert read_table(path, "text", kind, bad_rows=bad).texts == texts
        assert {row.row: row.reason for row in bad} == reasons


def test_classes_that_no_training_row_has(tmp_path):
    """Such rows of a validation or test file go; the fingerprint is that of the file without."""
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    train.write_text("text,category\n" + "red,warm\nblue,cold\n" * 3)
    found = []

    def parts(rows, bad_rows):
        dev.write_text("text,category\n" + rows)
        return read_parts(train_file=train, validation_file=dev, test_size=0, bad_rows=bad_rows)
    some = parts("sun,warm\nmoss,green\nice,cold\nleaf,Warm\n", found)
    whole = parts("sun,warm\nice,cold\n", None)
    assert some.validation == whole.validation and some.fingerprint == whole.fingerprint
    assert [(row.row, row.reason) for row in found] == [(3, "unknown label"), (5, "unknown label")]
    assert "is it 'warm'?" in found[1].message and found[0].content == '["moss", "green"]'
    with pytest.raises(DataError, match="line 3: the class 'green' has no row in .*bad_rows skip"):
        parts("sun,warm\nmoss,green\n", None)
    with pytest.raises(DataError, match=r"no row with a known class \(1 left out"):
        parts("moss,green\n", [])


def test_sentences_of_tagged_words(tmp_path):
    """The sentence of a bad line goes, and is told by its first one."""
    path, bad = tmp_path / "a.conll", []
    sentences = [b"a\tO\nb\tB-x\n", b"c\tO\nd\n", b"e\tO\nf\xe9\tO\ng\n", b"\tO\nh\tO\n", b"i\tO\n"]
    path.write_bytes(b"\n".join(sentences))
    found = read_conll(path, bad_rows=bad)
    assert (found.words, found.tags) == ([["a", "b"], ["i"]], [["O", "B-x"], ["O"]])
    assert found.lines.tolist() == [1, 14]
    assert [(row.row, row.reason) for row in bad] == [
        (5, "wrong number of cells"), (8, "not in the encoding"), (11, "empty column")]


def test_questions_and_what_holds_them(tmp_path):
    """An article or a paragraph that is none goes too; lines that are no JSON; bytes."""
    good = {"id": "1", "question": "who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    nested = {"data": [7, {"paragraphs": [{"context": "Ada"}, {"context": "Ada", "qas": [
        good, {**good, "id": "2", "answers": [{"text": "da", "answer_start": 0}]}, 5]}]}]}
    path, bad = tmp_path / "a.json", []
    path.write_text(json.dumps(nested))
    assert [question.id for question in read_squad(path, bad_rows=bad)] == ["1"]
    assert [row.row for row in bad] == ["article 1", "article 2, paragraph 1", "question 2",
                                        "question 3"]
    path.write_bytes(json.dumps(nested).replace("who", "XX").encode().replace(b"XX", b"\xe9"))
    with pytest.raises(DataError, match="no question"):
        read_squad(path, bad_rows=[])
    lines, bad = tmp_path / "a.jsonl", []
    row = {"context": "Ada", **good}
    lines.write_bytes(b"\n".join([b"{", json.dumps(row).encode(), b'{"id": "\xe9"}', b"3"]))
    assert [question.id for question in read_squad(lines, bad_rows=bad)] == ["1"]
    assert [(row.row, row.reason) for row in bad] == [
        (1, "not a JSON object"), (3, "not in the encoding"), (4, "not a JSON object")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_of_documents(mark, tmp_path):
    path, bad = tmp_path / "a.txt", []
    path.write_bytes(mark + b"one\ncaf\xe9\ntwo\n\nnul\0\n\nthree\n")
    assert [*read_documents(path, bad_rows=bad)] == [["one", "two"], ["three"]]
    assert [row.row for row in bad] == [2, 5]
    with pytest.raises(DataError, match="line 2: byte 0xe9 .* for a few lines --bad_rows skip"):
        [*read_documents(path)]
    found = [document for part in cut_file(path, 1) for document in read_range(part, [])]
    assert found == [["one", "two"], ["three"]]  # the ranges end where they did
    rows = tmp_path / "a.jsonl"
    rows.write_bytes(mark + b'{"text": "one"}\n{"tex": 1}\n{"text": "\xe9"}\n{"text": "two"}\n')
    assert [*read_documents(rows, bad_rows=bad)] == [["one"], ["two"]] and len(bad) == 4


def test_a_store_leaves_them_out_and_keeps_the_list(tmp_path, monkeypatch):
    """Its tokens are those of the files without; the list is there whenever it is opened."""
    monkeypatch.setattr(building, "SHARD_BYTES", 40)  # several shards, cut in the file
    tokenizer = train_tokenizer(["one two three four"] * 3, 60, 1)
    lines = [b"one two three", b"", b"four four", b"caf\xe9 one", b"", b"two", b"", b"nul\0"] * 3
    bad_lines = [number for number, line in enumerate(lines, 1) if line[:1] in b"cn" and line]
    path, clean, found, again = tmp_path / "a.txt", tmp_path / "b.txt", [], []
    path.write_bytes(b"\n".join(lines))
    clean.write_bytes(b"\n".join(line for line in lines if line[:3] not in (b"caf", b"nul")))
    store = build_token_store(path, tokenizer, tmp_path / "store", bad_rows=found)
    whole = build_token_store(clean, tokenizer, tmp_path / "whole")
    tokens, same = (np.concatenate([np.load(file) for file in sorted(folder.glob(
        "*.tokens.npy"))]).tolist() for folder in (tmp_path / "store", tmp_path / "whole"))
    assert tokens == same and store.documents == whole.documents == 9
    assert len(found) == len(bad_lines) == 6 and {row.reason for row in found} == {
        "not in the encoding"}
    starts = [int(row.file.split("from byte ")[1].split()[0]) if "from byte" in row.file else 0
              for row in found]
    assert len({*starts}) > 1 and bad_lines == [
        row.row + path.read_bytes()[:start].count(b"\n") for row, start in zip(found, starts)]
    build_token_store(path, tokenizer, tmp_path / "store", bad_rows=again)
    assert again == found
    with pytest.raises(DataError, match="a token store of bad_rows skip, now given None"):
        build_token_store(path, tokenizer, tmp_path / "store")
    with pytest.raises(DataError, match="line 4: byte 0xe9"):
        build_token_store(path, tokenizer, tmp_path / "strict")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_byte_in_a_list_is_that_of_its_row(indent, tmp_path):
    """Wherever it stands in the object: in a label it would become a class of its own."""
    path, bad = tmp_path / "a.json", []
    rows = [{"text": f"red {i}", "label": [[0, 3, "COLOUR"]]} for i in range(3)]
    text = json.dumps(rows, indent=indent).encode().replace(b"COLOUR", b"COLEUR\xe9", 2)
    path.write_bytes(text.replace(b"COLEUR\xe9", b"COLOUR", 1))
    found = read_tagged(path, bad_rows=bad)
    assert [words[1] for words in found.words] == ["0", "2"] and found.classes == ["B-COLOUR", "O"]
    assert [row.reason for row in bad] == ["not in the encoding"]
    line = next(number for number, line in enumerate(path.read_bytes().splitlines(), 1)
                if b"\xe9" in line)
    assert f"line {line}: byte 0xe9 is not utf-8" in bad[0].message
    path.write_text(json.dumps(rows).replace("COLOUR", "COL\\ud800", 1))
    with pytest.raises(DataError, match="'a label' holds U.D800"):
        read_tagged(path)


@pytest.mark.parametrize("name, text", [
    ("a.jsonl", b'caf\xe9\n{broken\n{"a": 1, "b": 2}\n'),
    ("a.json", b'[5, {"a": "caf\xe9"},\n{"a": 1, "b": 2}]'),
    ("a.csv", b"a,b\ncaf\xe9,1\n")])
def test_the_columns_are_known_whatever_a_row_is(name, text, tmp_path):
    """Before, bad rows at the top, or anywhere in a list, ended a job that leaves them out."""
    (tmp_path / name).write_bytes(text)
    assert column_names(tmp_path / name) == ["a", "b"]


def test_a_file_without_rows_quotes_the_commonest_fault_of_its_own(tmp_path):
    (tmp_path / "train.csv").write_text("text,category\n,a\n" + "red,a\nblue,b\n" * 2)
    (tmp_path / "dev.csv").write_text("text,category\n,a\nred,\nred,c\nblue,c\n")
    with pytest.raises(DataError, match=r"dev.csv: no row with a known class \(4 left out; the "
                                        "first: .*dev.csv line 4: the class 'c' has no row"):
        read_parts(tmp_path, test_size=0, bad_rows=[])
