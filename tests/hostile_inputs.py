"""Malformed data and impossible arguments, and what a user should be told about each.

`MALFORMED` is for any face of the kit that reads labelled texts: the functions of `bert_kit.data`,
and the command line, where `command(entry, folder)` are the arguments after the job's name. Every
entry ends in one line on stderr that holds `words` and, if a row is to blame, `line N`.
"""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

LINES = [b"text,category", *(b"text number %d is %s,%s" % (i, word, label) for i in range(20)
                             for word, label in ((b"fine", b"pos"), (b"poor", b"neg")))]


class Malformed(NamedTuple):
    """One way to be wrong.

    Attributes
    ----------
    name : str
    file : str
        Name of the data file in a new folder; given as --data_file unless `arguments` names files.
    content : bytes or callable
        What it holds, or what makes it at a path.
    arguments : list of str
        Further arguments; {folder} stands for the folder.
    words : str
        Part of the message.
    line : int or None
        The line of the file that the message names.
    code : int
        Exit status of the program: 2 for wrong usage, 1 for everything else.
    """

    name: str
    file: str
    content: bytes | Callable[[Path], None]
    arguments: list[str]
    words: str
    line: int | None = None
    code: int = 1


def command(entry, folder):
    """Make the data of an entry in a folder; return its command-line arguments."""
    path = Path(folder) / entry.file
    if callable(entry.content):
        entry.content(path)
    else:
        path.write_bytes(entry.content)
    arguments = [argument.replace("{folder}", str(folder)) for argument in entry.arguments]
    named = any(argument.endswith("_file") for argument in arguments)
    return arguments if named else ["--data_file", str(path), *arguments]


def csv_with(line=None, at=11, header=LINES[0], end=b"\n"):
    """Return a good CSV file of 40 rows, with one more line as number `at` if given."""
    lines = [header, *LINES[1:]]
    if line is not None:
        lines.insert(at - 1, line)
    return end.join(lines) + end


def json_with(line=None, at=11):
    """Return the same rows as JSON lines, with one more line as number `at` if given."""
    lines = [json.dumps(dict(zip(("text", "category"), row.decode().split(",")))).encode()
             for row in LINES[1:]]
    if line is not None:
        lines.insert(at - 1, line)
    return b"\n".join(lines)


def zipped(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, GOOD)
    return file.getvalue()


def folder_of(**files):
    """Return a maker of a folder with files, given by their names with _ for the point."""
    def make(path):
        path.mkdir()
        for name, content in files.items():
            (path / name.replace("_", ".")).write_bytes(content)
    return make


def beside(**files):
    """Return a maker of files that lie beside each other."""
    def make(path):
        for name, content in files.items():
            (path.parent / name.replace("_", ".")).write_bytes(content)
    return make


def link_to(target):
    return lambda path: path.symlink_to(path.parent / target)


def no_file(path):
    """Make nothing."""


@contextlib.contextmanager
def memory_of_at_most(extra):
    """Let this process ask the system for so many bytes more, and no further."""
    resource = pytest.importorskip("resource")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# Paths that lead out of a folder, on one system or another.
UNSAFE = ["../../../x", "a/../../../x", "..\\..\\x", "a\\..\\..\\x", "/x", "C:\\x", "C:/x", "D:x",
          "\\\\host\\share\\x", "\\x", "a/C:\\x", "a/\\\\host\\share\\x", "a/\\x"]

GOOD = csv_with()
TWO_FILES = ["--train_file", "{folder}/train.csv", "--test_file", "{folder}/test.csv"]

MALFORMED = [
    # Files that are no text at all
    Malformed("no such file", "a.csv", no_file, [], "no such file; expected text"),
    Malformed("long name", "a" * 300 + ".csv", no_file, [], "cannot be read (File name too long)"),
    Malformed("broken link", "a.csv", link_to("nothing.csv"), [], "no such file"),
    Malformed("link to itself", "a.csv", link_to("a.csv"), [], "no such file"),
    Malformed("pipe", "a.csv", os.mkfifo, [], "not a regular file"),
    Malformed("device", "a.csv", no_file, ["--data_file", "/dev/zero"], "not a regular file"),
    Malformed("file as a folder", "a.csv", GOOD, ["--data_file", "{folder}/a.csv/train.csv"],
              "no such file"),
    Malformed("gzip", "a.csv.gz", gzip.compress(GOOD), [], "a gzip archive; expected the unpacked"),
    Malformed("gzip named csv", "a.csv", gzip.compress(GOOD), [], "a gzip archive"),
    Malformed("bzip2", "a.csv", bz2.compress(GOOD), [], "a bzip2 archive"),
    Malformed("xz", "a.csv", lzma.compress(GOOD), [], "an xz archive"),
    Malformed("zip", "a.zip", zipped("a.csv"), [], "a zip archive or an Excel workbook"),
    Malformed("excel", "a.xlsx", zipped("xl/workbook.xml"), [], "Excel workbook (.xlsx)"),
    Malformed("old excel", "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), [],
              "an Excel workbook (.xls)"),
    Malformed("parquet", "a.parquet", b"PAR1\x15\x04\x15\x10PAR1", [], "a Parquet file"),
    Malformed("sqlite", "a.csv", b"SQLite format 3\0" + bytes(99), [], "an SQLite database"),
    Malformed("pdf", "a.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", [], "a PDF document"),
    Malformed("picture", "a.csv", b"\x89PNG\r\n\x1a\n" + bytes(99), [], "byte 0x89", 1),
    # Bytes that are not in the encoding
    Malformed("utf-16", "a.csv", GOOD.decode().encode("utf-16"), [], "give --encoding utf-16", 1),
    Malformed("utf-16, big end first", "a.csv", b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), [],
              "give --encoding utf-16", 1),
    Malformed("utf-16 without a mark", "a.csv", GOOD.decode().encode("utf-16-le"), [],
              "holds a NUL character; expected text (for UTF-16, give --encoding utf-16)", 1),
    Malformed("latin-1", "a.csv", csv_with(b"caf\xe9,pos"), [], "byte 0xe9 is not utf-8", 11),
    Malformed("cp1252", "a.csv", csv_with(b"\x93quoted\x94,pos"), [], "often cp1252", 11),
    Malformed("half a character", "a.csv", csv_with(b"a\xe2\x82,pos"), [], "byte 0xe2", 11),
    Malformed("surrogate in utf-8", "a.csv", csv_with(b"\xed\xa0\x80,pos"), [], "byte 0xed", 11),
    Malformed("NUL", "a.csv", csv_with(b"a\0b,pos"), [], "holds a NUL", 11),
    Malformed("NUL in a quoted text", "a.csv", csv_with(b'"a\n\0b",pos'), [], "holds a NUL", 12),
    Malformed("not utf-16", "a.csv", GOOD, ["--encoding", "utf-16"], "not utf-16; expected that",
              1),
    Malformed("not ascii", "a.csv", csv_with("é,pos".encode()), ["--encoding", "ascii"],
              "byte 0xc3 is not ascii", 11),
    Malformed("no such encoding", "a.csv", GOOD, ["--encoding", "utf-99"],
              "unknown encoding 'utf-99'"),
    Malformed("encoding of no text", "a.csv", GOOD, ["--encoding", "hex"],
              "unknown encoding 'hex'"),
    Malformed("empty encoding", "a.csv", GOOD, ["--encoding", ""], "unknown encoding ''"),
    # Rows that are not as wide as the header, and quotes
    Malformed("too few fields", "a.csv", csv_with(b"no class"), [], "1 fields, expected 2", 11),
    Malformed("too many fields", "a.csv", csv_with(b"yes, but,pos"), [],
              "3 fields, expected 2 as in the header (a ',' in a text needs quotes)", 11),
    Malformed("delimiter after a row", "a.csv", csv_with(b"text,pos,"), [], "3 fields", 11),
    Malformed("delimiter after each row", "a.csv",
              b"\n".join([LINES[0], *(row + b"," for row in LINES[1:])]), [],
              "3 fields, expected 2", 2),
    Malformed("carriage return in a text", "a.csv", csv_with(b"a\rb,pos"), [], "1 fields", 11),
    Malformed("after carriage returns", "a.csv", csv_with(b"no class", end=b"\r"), [],
              "1 fields, expected 2", 11),
    Malformed("after a text of three lines", "a.csv",
              csv_with(b'"a\nb\nc",pos\nno class'), [], "1 fields, expected 2", 14),
    Malformed("open quote", "a.csv", csv_with(b'"never closed,pos'), [], "quote never closed", 11),
    Malformed("open quote at the end", "a.csv", GOOD + b'"a,pos', [], "quote never closed", 42),
    Malformed("open quote in the header", "a.csv", csv_with(header=b'"text,category'), [],
              "quote never closed", 1),
    Malformed("letters after a quote", "a.csv", csv_with(b'"a" b,pos'), [], "not doubled", 11),
    Malformed("backslash before a quote", "a.csv", csv_with(b'"say \\"no\\"",pos'), [],
              "not doubled", 11),
    Malformed("text too long", "a.csv",
              lambda path: path.write_bytes(csv_with(b"a" * 10_000_001 + b",pos")), [],
              "field larger than field limit (10000000)", 11),
    # Headers
    Malformed("empty file", "a.csv", b"", [], "empty; expected a header with text, category"),
    Malformed("only a mark", "a.csv", b"\xef\xbb\xbf", [], "empty; expected a header"),
    Malformed("only blank lines", "a.csv", b"\n\r\n\n", [], "empty; expected a header"),
    Malformed("only a header", "a.csv", b"text,category\n", [], "no rows; expected at least one"),
    Malformed("no header", "a.csv", csv_with(header=b"a film,pos"), [],
              "no column 'text' in the header; found 'a film', 'pos'"),
    Malformed("another case", "a.csv", csv_with(header=b"Text,category"), [], "(is it 'Text'?)"),
    Malformed("no such text column", "a.csv", GOOD, ["--text_column", "body"],
              "no column 'body' in the header; found 'text', 'category'"),
    Malformed("no such label column", "a.csv", GOOD, ["--label_column", "label"],
              "no column 'label'"),
    Malformed("one column for both", "a.csv", GOOD, ["--label_column", "text"],
              "text column and label column are both 'text'; expected two columns"),
    Malformed("same name twice", "a.csv", csv_with(header=b"text,text"), [],
              "the header holds 'text' more than once"),
    Malformed("line break in a name", "a.csv", csv_with(header=b'"te\nxt",category'), [],
              r"found 'te\nxt', 'category'"),
    Malformed("semicolons", "a.csv", GOOD.replace(b",", b";"), [], "is the delimiter ';'"),
    Malformed("tabs", "a.csv", GOOD.replace(b",", b"\t"), [], r"is the delimiter '\t'"),
    Malformed("bars", "a.csv", GOOD.replace(b",", b"|"), [], "give --delimiter"),
    Malformed("commas in a tsv", "a.tsv", GOOD, [], "is the delimiter ','"),
    Malformed("wrong delimiter given", "a.csv", GOOD, ["--delimiter", ";"], "is the delimiter ','"),
    Malformed("long delimiter", "a.csv", GOOD, ["--delimiter", "::"], "delimiter is '::'"),
    Malformed("empty delimiter", "a.csv", GOOD, ["--delimiter", ""], "delimiter is "),
    Malformed("quote as delimiter", "a.csv", GOOD, ["--delimiter", '"'], "delimiter is '\"'"),
    # Texts and labels
    Malformed("empty text", "a.csv", csv_with(b",pos"), [], "'text' is empty", 11),
    Malformed("text of spaces", "a.csv", csv_with(" \t\u3000,pos".encode()), [], "is empty", 11),
    Malformed("empty label", "a.csv", csv_with(b"a text,"), [], "'category' is empty", 11),
    Malformed("empty fields", "a.csv", csv_with(b","), [], "'text' is empty", 11),
    Malformed("one class", "a.csv", GOOD.replace(b",neg", b",pos"), [],
              "'category' is 'pos' in all 40 rows; expected two classes or more"),
    Malformed("texts as labels", "a.csv", GOOD,
              ["--text_column", "category", "--label_column", "text"],
              "'text' has 40 different values in 40 rows; it looks like the text"),
    Malformed("numbers as labels", "a.csv", b"text,category\n" + b"".join(
        b"a text,%d\n" % i for i in range(30)), [], "'category' has 30 different values"),
    Malformed("two rows", "a.csv", b"text,category\na,x\nb,y\n", [], "leaves a part empty"),
    # JSON lines
    Malformed("no json", "a.jsonl", json_with(b"text"), [], "not valid JSON", 11),
    Malformed("csv named jsonl", "a.jsonl", GOOD, [], "not valid JSON", 1),
    Malformed("cut off", "a.jsonl", json_with()[:-9], [], "not valid JSON", 40),
    Malformed("array", "a.json", b'[["a", "x"]]', [],
              "a list in a list, expected one object a line", 1),
    Malformed("object over lines", "a.json", b'{\n"text": "a",\n"category": "x"\n}\n', [],
              "not valid JSON", 1),
    Malformed("no key", "a.jsonl", json_with(b'{"text": "a"}'), [], "no key 'category'", 11),
    Malformed("key twice", "a.jsonl", json_with(b'{"text": "a", "text": "b", "category": "x"}'),
              [], "key 'text' appears twice", 11),
    Malformed("null", "a.jsonl", json_with(b'{"text": null, "category": "x"}'), [],
              "'text' is None, expected text", 11),
    Malformed("number as text", "a.jsonl", json_with(b'{"text": 5, "category": "x"}'), [],
              "'text' is 5, expected text", 11),
    Malformed("list as text", "a.jsonl", json_with(b'{"text": ["a"], "category": "x"}'), [],
              "'text' is a list", 11),
    Malformed("object as label", "a.jsonl", json_with(b'{"text": "a", "category": {"x": 1}}'), [],
              "'category' is a dict", 11),
    Malformed("fraction as label", "a.jsonl", json_with(b'{"text": "a", "category": 0.5}'), [],
              "'category' is 0.5", 11),
    Malformed("NaN as label", "a.jsonl", json_with(b'{"text": "a", "category": NaN}'), [],
              "NaN is not a JSON number", 11),
    Malformed("empty string", "a.jsonl", json_with(b'{"text": "", "category": "x"}'), [],
              "'text' is empty", 11),
    Malformed("lone surrogate", "a.jsonl", json_with(b'{"text": "\\ud83d", "category": "x"}'), [],
              "'text' holds U+D83D, which is not a character", 11),
    Malformed("escaped NUL", "a.jsonl", json_with(b'{"text": "\\u0000", "category": "x"}'), [],
              "'text' holds U+0000", 11),
    Malformed("deep", "a.jsonl", json_with(b'{"text": ' + b"[" * 200_000), [],
              "nested too deep", 11),
    Malformed("long number", "a.jsonl", json_with(b'{"text": "a", "category": ' + b"7" * 5_000
                                                  + b"}"), [], "not valid JSON", 11),
    Malformed("latin-1 in json", "a.jsonl", json_with(b'{"text": "caf\xe9", "category": "x"}'), [],
              "byte 0xe9", 11),
    # Parts
    Malformed("empty folder", "data", folder_of(), [], "no train.csv, train.tsv, train.jsonl, "),
    Malformed("folder without train", "data", folder_of(test_csv=GOOD), [], "no train.csv"),
    Malformed("two files for a part", "data", folder_of(train_csv=GOOD, dev_csv=GOOD, val_tsv=GOOD),
              [], "holds dev.csv and val.tsv; expected one file for validation"),
    Malformed("bad file in a folder", "data", folder_of(
        train_csv=GOOD, test_csv=csv_with(b"no class")), [], "1 fields, expected 2", 11),
    Malformed("class that only the test has", "train.csv", beside(
        train_csv=GOOD, test_csv=csv_with(b"a text,neutral")), TWO_FILES,
        "the class 'neutral' has no row in the training part; expected one of 'neg', 'pos'", 11),
    Malformed("class in another case", "data", folder_of(
        train_csv=GOOD, dev_csv=csv_with(b"a text,Pos")), [], "the class 'Pos' has no row", 11),
    Malformed("missing test file", "train.csv", beside(train_csv=GOOD), TWO_FILES,
              "test.csv: no such file"),
    Malformed("file and files", "train.csv", beside(train_csv=GOOD, test_csv=GOOD),
              ["--data_file", "{folder}/train.csv", *TWO_FILES],
              "given train_file and test_file and data_file; expected data_file alone"),
    Malformed("nothing to train on", "a.csv", GOOD, ["--test_file", "{folder}/a.csv"],
              "given test_file; expected data_file alone, or train_file"),
    Malformed("sizes above 1", "a.csv", GOOD, ["--train_size", "0.9"], "add up to 1.1; expected 1"),
    Malformed("sizes below 1", "a.csv", GOOD, ["--train_size", "0.8", "--test_size", "0"],
              "add up to 0.9; expected 1"),
    Malformed("percent", "a.csv", GOOD, ["--train_size", "80"], "train part is 80"),
    Malformed("negative size", "a.csv", GOOD, ["--val_size", "-0.1", "--test_size", "0.3"],
              "is -0.1; expected a share from 0"),
    Malformed("size that is no number", "a.csv", GOOD, ["--val_size", "nan"], "is nan"),
    Malformed("all held out", "train.csv", beside(train_csv=GOOD), [
        "--train_file", "{folder}/train.csv", "--val_size", "0.6", "--test_size", "0.4"],
        "leaves nothing to train on"),
    Malformed("no training share", "a.csv", GOOD, [
        "--train_size", "0", "--val_size", "0.5", "--test_size", "0.5"], "nothing to train on"),
    Malformed("negative seed", "a.csv", GOOD, ["--seed", "-1"], "seed is -1; expected a whole"),
    # Arguments that only the command line and the recipe can check
    Malformed("rows too short", "a.csv", GOOD, ["--max_length", "2"], "max_length"),
    Malformed("rows of negative length", "a.csv", GOOD, ["--max_length", "-8"], "max_length"),
    Malformed("empty batches", "a.csv", GOOD, ["--batch_size", "0"], "batch_size"),
    Malformed("negative batches", "a.csv", GOOD, ["--batch_size", "-4"], "batch_size"),
    Malformed("negative rate", "a.csv", GOOD, ["--learning_rate", "-0.001"], "learning_rate"),
    Malformed("rate that is no number", "a.csv", GOOD, ["--learning_rate", "nan"], "learning_rate"),
    Malformed("endless rate", "a.csv", GOOD, ["--learning_rate", "inf"], "learning_rate"),
    Malformed("negative epochs", "a.csv", GOOD, ["--num_train_epochs", "-1"], "num_train_epochs"),
    Malformed("no such head", "a.csv", GOOD, ["--classifier", "oracle"], "oracle", code=2),
    Malformed("no such metric", "a.csv", GOOD, ["--metric_for_best_model", "luck"], "luck"),
    Malformed("no such model", "a.csv", GOOD, ["--model", "no-such-model"], "no-such-model"),
    # Wrong usage
    Malformed("unknown flag", "a.csv", GOOD, ["--epoch_count", "3"], "--epoch_count", code=2),
    Malformed("flag without a value", "a.csv", GOOD, ["--seed"], "--seed", code=2),
    Malformed("word for a seed", "a.csv", GOOD, ["--seed", "lucky"], "lucky", code=2),
    Malformed("fraction for a seed", "a.csv", GOOD, ["--seed", "1.5"], "1.5", code=2),
    Malformed("word for a length", "a.csv", GOOD, ["--max_length", "long"], "long", code=2),
    Malformed("fraction of a row", "a.csv", GOOD, ["--batch_size", "2.5"], "2.5", code=2),
    Malformed("word for a rate", "a.csv", GOOD, ["--learning_rate", "fast"], "fast", code=2),
    Malformed("word for a size", "a.csv", GOOD, ["--val_size", "some"], "some", code=2),
    Malformed("percent sign", "a.csv", GOOD, ["--test_size", "10%"], "10%", code=2),
    Malformed("word for epochs", "a.csv", GOOD, ["--num_train_epochs", "many"], "many", code=2),
    Malformed("surplus word", "a.csv", GOOD, ["surplus"], "surplus", code=2),
]
