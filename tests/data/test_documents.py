"""Documents of text files: against reading the file whole, however it is cut."""

import random

import pytest
from tiny_documents import made_documents, write_gaps, write_json, write_lines

from bert_kit.data import read_documents
from bert_kit.data.read import documents as documents_file
from bert_kit.data.read.documents import cut_file, read_range
from bert_kit.data.read.text_lines import text_lines
from bert_kit.errors import DataError

def cut_and_read(path, size):
    return [document for part in cut_file(path, size) for document in read_range(part)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("gap", [("",), ("", "  \t", "")])
def test_empty_lines_separate_documents(tmp_path, end, mark, gap):
    documents = made_documents(20)
    write_gaps(tmp_path / "a.txt", documents, end, mark, gap)
    assert list(read_documents(tmp_path / "a.txt")) == documents


def test_carriage_returns_alone(tmp_path):
    """They end a line, but a file that has nothing else has no empty lines."""
    documents = made_documents(20)
    write_gaps(tmp_path / "a.txt", documents, end="\r")
    assert list(read_documents(tmp_path / "a.txt")) == [[line] for document in documents
                                                        for line in document]


def test_empty_is_ascii_white_space_alone(tmp_path):
    """Other spaces leave no text, but they separate nothing, with and without empty lines."""
    path = tmp_path / "a.txt"
    path.write_text("a\n\xa0\nb\n \t\nc\n\u3000\n", "utf-8")
    assert list(read_documents(path)) == [["a", "b"], ["c"]]
    path.write_text("a\n\xa0\nb\n", "utf-8")
    assert list(read_documents(path)) == [["a"], ["b"]]


def test_without_empty_lines_each_line_is_one(tmp_path):
    """Also when empty lines stand at the beginning or the end only."""
    documents = made_documents(9, longest=1)
    write_lines(tmp_path / "a.txt", documents)
    assert list(read_documents(tmp_path / "a.txt")) == documents
    text = (tmp_path / "a.txt").read_text("utf-8")
    (tmp_path / "b.txt").write_text("\n \n" + text + "\n\n", "utf-8")
    assert list(read_documents(tmp_path / "b.txt")) == documents
    (tmp_path / "c.txt").write_text(text.rstrip("\n"), "utf-8")
    assert list(read_documents(tmp_path / "c.txt")) == documents


@pytest.mark.parametrize("ascii", [False, True])
def test_json_lines(tmp_path, ascii):
    documents = made_documents(9)
    write_json(tmp_path / "a.jsonl", documents, ascii)
    assert list(read_documents(tmp_path / "a.jsonl")) == documents
    (tmp_path / "b.jsonl").write_text('{"text": ""}\n\n{"text": " a \\n\\n b"}\n')
    assert list(read_documents(tmp_path / "b.jsonl")) == [[], ["a", "b"]]


def test_files_follow_one_another(tmp_path, monkeypatch):
    documents = made_documents(12)
    write_gaps(tmp_path / "a.txt", documents[:5])
    write_json(tmp_path / "b.jsonl", documents[5:])
    (tmp_path / "empty.txt").touch()
    monkeypatch.setenv("DATADIR", str(tmp_path))
    assert list(read_documents(["a.txt", "empty.txt", str(tmp_path / "b.jsonl")])) == documents
    assert list(read_documents(str(tmp_path / "empty.txt"))) == []


@pytest.mark.parametrize("name, write", [("a.txt", write_gaps), ("a.txt", write_lines),
                                         ("a.jsonl", write_json)])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_cuts_change_nothing(tmp_path, name, write, end, mark):
    """Any size of range gives the same documents, and ranges that make up the file."""
    path = tmp_path / name
    write(path, made_documents(40))
    path.write_bytes((mark + path.read_text("utf-8").replace("\n", end)).encode())
    whole, total = list(read_documents(path)), path.stat().st_size
    assert len(whole) == 40
    for size in [*range(1, 60), 100, 333, 1_000, total - 1, total, total + 1]:
        parts = cut_file(path, size)
        assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
        assert parts[0].start == len(mark.encode()) and parts[-1].end == total
        assert all(part.end - part.start >= size for part in parts[:-1])
        assert cut_and_read(path, size) == whole
    assert len(cut_file(path, 1)) > 30 and len(cut_file(path)) == 1


def test_cuts_of_odd_files(tmp_path):
    """Random mixtures of line ends, blanks and text, cut everywhere."""
    rng, path = random.Random(1), tmp_path / "a.txt"
    for _ in range(60):
        parts = rng.choices(["a", "b c", "\n", "\r\n", "\r", " ", "\t\n", "\n\n", "\u2028", "\xa0"],
                            k=rng.randint(0, 40))
        path.write_bytes("".join(parts).encode())
        whole = list(read_documents(path))
        for size in range(1, 30, 4):
            assert cut_and_read(path, size) == whole, parts


@pytest.mark.parametrize("name, line, message", [
    ("a.txt", b"caf\xe9", "line 31: byte 0xe9 is not utf-8"),
    ("a.txt", b"x\0", "line 31: holds a NUL character"),
    ("a.jsonl", b"[]", "line 31: a list, expected one object a line"),
    ("a.jsonl", b'{"txt": "a"}', "line 31: no key 'text'"),
    ("a.jsonl", b'{"text": 5}', "line 31: 'text' is 5, expected text"),
    ("a.jsonl", b'{"text": "a"', "line 31: not valid JSON")])
@pytest.mark.parametrize("size", [None, 40, 10_000])
def test_errors_name_the_line_wherever_the_cuts_are(tmp_path, name, line, message, size):
    good = b'{"text": "some words"}' if name == "a.jsonl" else b"some words"
    lines = [good] * 50
    lines[30] = line
    (tmp_path / name).write_bytes(b"\n".join(lines))
    with pytest.raises(DataError) as caught:
        cut_and_read(tmp_path / name, size)
    assert f"{tmp_path / name} {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x1f\x8b\x08\0")
    (tmp_path / "u.txt").write_bytes("text\n".encode("utf-16"))
    for name, message in {"a.txt": "a gzip archive", "u.txt": "UTF-16", "none.txt": "no such file",
                          ".": "not a regular file"}.items():
        with pytest.raises(DataError, match=message):
            list(read_documents(tmp_path / name))


def test_endless_lines_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(documents_file, "FIELD_LIMIT", 100)
    path = tmp_path / "a.txt"
    path.write_text("short\n" + "x" * 300 + "\n")
    with pytest.raises(DataError, match="line 2: more than 100 characters; expected shorter"):
        list(read_documents(path))
    path.write_text("short\n" + "x" * 400 + "\n")
    with pytest.raises(DataError, match="no line end in the 400 bytes up to byte 406; expected"):
        list(read_documents(path))


@pytest.mark.parametrize("name, start", [("a.txt", "a\n\nb\n"), ("a.jsonl", '{"text": "a"}\n' * 3)])
def test_endless_lines_further_on(tmp_path, monkeypatch, name, start):
    """After the first empty line of a file, and in files of objects: the line is not read whole."""
    monkeypatch.setattr(documents_file, "FIELD_LIMIT", 100)
    path = tmp_path / name
    path.write_text(start + "x" * 10**6 + "\n")
    with pytest.raises(DataError, match="line 4: more than 100 characters; expected shorter lines"):
        list(read_documents(path))
    assert list(text_lines(path, limit=101))[3:6] == ["x" * 101] * 3


def test_endless_documents_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(documents_file, "FIELD_LIMIT", 100)
    path = tmp_path / "a.txt"
    path.write_text("a\n\n" + "x" * 50 + "\n" + "y" * 50 + "\n\n" + "z\n" * 101)
    with pytest.raises(DataError, match="line 106: a document of more than 100 characters; expect"):
        cut_and_read(path, 90)
    path.write_text("a\n" * 101)  # a document each
    assert len(list(read_documents(path))) == 101
