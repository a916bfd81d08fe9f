"""Rows in memory against the same rows in files. Run: pytest tests/data/test_rows_in_memory.py"""

import csv
import json
import operator
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from bert_kit.data import (LabelColumns, LabelList, Number, column_names, find_parts, read_conll,
                           read_documents, read_parts, read_squad, read_table, rows_in_memory)
from bert_kit.errors import ConfigError, DataError, UsageError
from bert_kit.jobs.tasks.table import task_named


class Frame:
    """What pandas and polars have in common: names in `columns`, and a column by its name."""

    def __init__(self, columns, names="columns"):
        self._columns = columns
        setattr(self, names, list(columns))

    def __getitem__(self, name):
        return np.array(self._columns[name], dtype=object)


def as_csv(path, columns):
    """Write columns as pandas' to_csv does."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if value is None or value != value else value for value in row]
                          for row in zip(*columns.values(), strict=True)])
    return path


def rows(count=40):
    return {"id": list(range(count)), "category": [i % 3 for i in range(count)],
            "text": [f"text {i}, or “{i % 7}”\nmore" for i in range(count)]}


def same_parts(found, expected):
    assert found.classes == expected.classes and found.fingerprint == expected.fingerprint
    for part in ("train", "validation", "test"):
        a, b = getattr(found, part), getattr(expected, part)
        assert a.texts == b.texts and np.array_equal(a.labels, b.labels)
        assert type(a.labels) is type(b.labels)


@pytest.mark.parametrize("form", [
    dict, Frame, lambda columns: Frame(columns, "column_names"),
    lambda columns: {name: np.array(values) for name, values in columns.items()},
    lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values())]])
def test_a_table_in_memory_is_what_its_csv_file_is(tmp_path, form):
    path = as_csv(tmp_path / "a.csv", rows())
    same_parts(read_parts(rows_in_memory(form(rows())), seed=3), read_parts(path, seed=3))
    assert column_names(rows_in_memory(form(rows()))) == ["id", "category", "text"]


@pytest.mark.parametrize("kind, labels", [
    ("label", [True, False]), ("label", [1, 2]), ("label", [1.0, 2.5]), ("label", [" a ", "b"]),
    ("label", [np.int64(3), np.str_("x")]), ("label", [Decimal("1.50"), 2]),
    (Number("label"), [1, 0.1]), (Number("label"), [np.float64(0.1), "2"]),
    (LabelList("label"), ["a|b", None]), (LabelList("label"), [3, float("nan")])])
def test_labels_are_what_their_text_would_be(tmp_path, kind, labels):
    columns = {"text": ["x", "y"], "label": labels}
    table = read_table(rows_in_memory(columns), label_column=kind)
    assert table.labels == read_table(as_csv(tmp_path / "a.csv", columns), label_column=kind).labels


def test_label_lists_and_columns_of_flags():
    columns = {"text": ["x", "y", "z"], "labels": [["b", "a"], (), np.array(["a"])],
               "a": [1, False, 1.0], "b": [np.True_, 0, 0]}
    for kind in (LabelList("labels"), LabelColumns(("a", "b"))):
        assert read_table(rows_in_memory(columns), label_column=kind).labels == [
            ("a", "b"), (), ("a",)]


def test_parts_and_pairs(tmp_path):
    pairs = {"a": ["x", "y", "z", "x"], "b": ["1", "2", "3", "4"], "category": list("pqpq")}
    parts = {"train": pairs, "dev": Frame(pairs), "test": [dict(zip(pairs, "xyq"))]}
    for name in parts:
        as_csv(tmp_path / f"{name}.csv", {key: list(rows_in_memory(parts[name]).column(key))
                                          for key in pairs})
    how = {"text_column": ("a", "b")}
    same_parts(read_parts(rows_in_memory(parts), **how), read_parts(tmp_path, **how))
    found, single = find_parts(rows_in_memory(parts))
    assert not single and [*found] == ["train", "validation", "test"]
    assert str(found["validation"]) == "data['dev']"


def test_texts_and_labels_have_no_types_of_numpy():
    table = read_table(rows_in_memory({"text": [np.str_("a"), "b"], "category": np.array([1, 2])}))
    assert {type(value) for value in (*table.texts, *table.labels)} == {str}


class Lazy(Frame):
    def __getitem__(self, name):
        raise TypeError("not\nsubscriptable")


def test_the_table_is_not_changed_and_read_when_it_is_asked_for():
    columns = {"text": ["x", None], "category": [1, 2]}
    data = rows_in_memory(columns)
    columns["text"][1] = "y"
    assert read_table(data).texts == ["x", "y"] and columns["category"] == [1, 2]


@pytest.mark.parametrize("columns, words", [
    ({"text": ["a", None], "category": ["x", "y"]}, "row 1 of data: 'text' is empty; expected"),
    ({"text": ["a", float("nan")], "category": ["x", "y"]}, "row 1 of data: 'text' is empty"),
    ({"text": ["a", "b"], "category": ["x", float("nan")]}, "row 1 of data: 'category' is empty"),
    ({"text": ["a", ["b"]], "category": ["x", "y"]}, "row 1 of data: 'text' is a list, expected"),
    ({"text": ["a", b"b"], "category": ["x", "y"]}, "row 1 of data: 'text' is b'b', expected text"),
    ({"text": ["a", "b\0"], "category": ["x", "y"]}, r"row 1 of data: 'text' holds U\+0000"),
    ({"text": ["a", "b"], "category": ["x", ["y"]]}, "'category' is a list, .*--task multi_label"),
    ({"text": ["a", "b"], "category": ["x"]}, "data: 'text' has 2 rows and 'category' 1; expected"),
    ({"text": ["a", "b"], "Category": ["x", "y"]}, "data: no column 'category'.*'Category'"),
    ({"text": "ab", "category": ["x", "y"]}, "data: 'text' is one text; expected a list"),
    ({"text": 3, "category": ["x", "y"]}, "data: 'text' is 3; expected a list"),
    ({"text": [], "category": []}, "data: no rows; expected at least one$"),
    ({"text": ["a"], " text": ["b"]}, "data: 'text' is the name of two columns"),
    (Lazy({"text": [], "category": []}), "data is a Lazy, which gives no columns; expected col"),
    (["a", "b"], "data is a list; expected columns by name"), (7, "data is a int"),
    ({"test": {"text": ["a"]}}, "data has 'test' and no part 'train'"),
    ({"train": {"text": ["a"]}, "extra": {"text": ["a"]}}, "data has the part 'extra'; expected"),
    ({"train": {"text": ["a"]}, "dev": {}, "val": {}}, "data has the part 'val'; expected")])
def test_what_cannot_be_read_is_one_line(columns, words):
    with pytest.raises(DataError, match=words) as caught:
        read_table(rows_in_memory(columns))
    assert "\n" not in str(caught.value)


def test_the_messages_are_those_of_the_file_but_for_the_place(tmp_path):
    """A CSV's first row below the header stands on line 2, and is row 0 of data."""
    for bad in ({"text": ["a", " "], "category": ["x", "y"]},
                {"text": ["a", "b"], "category": ["x", None]}):
        messages = []
        path = as_csv(tmp_path / "a.csv", bad)
        for source in (path, rows_in_memory(bad)):
            with pytest.raises(DataError) as caught:
                read_table(source)
            messages.append(str(caught.value))
        assert messages[0].replace(f"{path} line 3", "row 1 of data") == messages[1]


def test_rows_that_cannot_be_used_may_be_left_out():
    bad = []
    table = read_table(rows_in_memory({"text": ["a", None, "c", "d"], "category": [1, 2, None, 4]}),
                       bad_rows=bad)
    assert table.texts == ["a", "d"] and table.where(1) == "row 3 of data"
    assert [(row.file, row.row, row.reason) for row in bad] == [
        ("data", 1, "empty text"), ("data", 2, "no label")]


def test_words_and_tags(tmp_path):
    sentences = [(["EU", "rejects"], ["B-org", "O"]), (["all"], ["O"])]
    (tmp_path / "a.conll").write_text("\n\n".join(
        "\n".join(map("\t".join, zip(*pair))) for pair in sentences))
    expected = read_conll(tmp_path / "a.conll")
    columns = {"tokens": [["EU", "rejects"], [], ("-DOCSTART-",), np.array(["all"])],
               "tags": [["B-org", "O"], [], ["O"], ["O"]]}
    found = read_conll(rows_in_memory(columns))
    assert (found.words, found.tags) == (expected.words, expected.tags)
    assert list(found.lines) == [0, 3] and str(found.path) == "data"
    assert read_conll(rows_in_memory({"tokens": [["a"]]}), tag_column=None).tags is None
    numbers = read_conll(rows_in_memory({"tokens": [["a", "b"]], "tags": [np.array([3, 0])]}))
    assert numbers.tags == [["3", "0"]]


@pytest.mark.parametrize("tokens, tags, words", [
    (["a", "b"], ["O"], "row 1 of data: 2 tokens and 1 tags; expected a tag for each token"),
    ("a b", ["O"], "row 1 of data: 'tokens' is 'a b'; expected a list"),
    (["a", " "], ["O", "O"], "row 1 of data: 'tokens' has ' ' at place 1; expected text"),
    (["a", "b"], ["O", None], "row 1 of data: 'tags' has None at place 1; expected text")])
def test_words_and_tags_that_do_not_fit(tokens, tags, words):
    columns = {"tokens": [["x"], tokens], "tags": [["O"], tags]}
    with pytest.raises(DataError, match=words):
        read_conll(rows_in_memory(columns))
    bad = []
    assert len(read_conll(rows_in_memory(columns), bad_rows=bad)) == len(bad) == 1


def test_questions(tmp_path):
    flat = [{"id": "7", "question": "q", "context": "a b", "answers": {"text": ["b"],
                                                                       "answer_start": [2]}},
            {"id": "8", "question": "r", "context": "a b", "answers": {"text": [],
                                                                       "answer_start": []}}]
    (tmp_path / "a.json").write_text(json.dumps(flat))
    arrays = [{**row, "answers": {key: np.array(value)
                                  for key, value in row["answers"].items()}} for row in flat]
    for data in (flat, arrays, Frame({key: [row[key] for row in arrays] for key in flat[0]})):
        assert read_squad(rows_in_memory(data)) == read_squad(tmp_path / "a.json")
    no_id = {key: [row[key] for row in flat] for key in ("question", "context", "answers")}
    assert [one.id for one in read_squad(rows_in_memory(no_id))] == ["1", "2"]
    with pytest.raises(DataError, match="data: no column 'answers'"):
        read_squad(rows_in_memory({"question": ["q"], "context": ["c"]}))
    wrong = {**no_id, "context": ["a c", "a b"]}
    with pytest.raises(DataError, match="data: question '1': the answer 'b' is not at character 2"):
        read_squad(rows_in_memory(wrong))


def test_documents(tmp_path):
    texts = ["one\n two \n\nthree", "four"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = list(read_documents([rows_in_memory({"text": texts})]))
    assert found == [["one", "two", "three"], ["four"]]
    assert found == list(read_documents(tmp_path / "a.jsonl"))
    masked = task_named("masked").options
    data = {"train": {"text": texts * 9}, "validation": {"text": ["five"]}}
    train, held = task_named("masked").read(masked(data=data)).present().values()
    assert len(train) == 18 and held == [["five"]]
    with pytest.raises(ConfigError, match="data has a part test"):
        masked(data={**data, "test": {"text": texts}}).sources()


def test_data_is_no_option_and_stands_beside_no_file():
    options = task_named("classification").options(data=rows())
    assert "data" not in options.to_dict() and "data=" not in repr(options)
    assert options.replace(seed=1).data is options.data
    with pytest.raises(UsageError, match="data and data_file are both given"):
        options.replace(data_file="a.csv")
    with pytest.raises(UsageError, match="encoding is latin-1, which changes nothing without"):
        options.replace(encoding="latin-1").check_use()
    options.replace(bad_rows="skip").check_use()
    with pytest.raises(ConfigError, match="unknown option 'data'"):
        task_named("classification").options.from_names({"data": "a.csv"})


@pytest.mark.parametrize("package, make", [
    ("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table"),
    ("datasets", "Dataset.from_dict")])
def test_frames_of_other_packages(package, make):
    columns = {**rows(), "labels": [["a"] * (i % 3) for i in range(40)],
               "name": [None if i == 5 else f"n{i % 4}" for i in range(40)]}
    frame = operator.attrgetter(make)(pytest.importorskip(package))(columns)
    for kind in ("category", "name", LabelList("labels")):
        tables = [read_table(rows_in_memory(data), label_column=kind, bad_rows=[])
                  for data in (columns, frame)]
        assert tables[0].texts == tables[1].texts and tables[0].labels == tables[1].labels
        assert len(tables[0].texts) == 40 - (kind == "name")


def test_a_frame_of_pandas_is_what_its_own_csv_is(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": list("abcd"), "category": [1, 2, None, 1]})  # so 1.0 and 2.0
    frame.to_csv(tmp_path / "a.csv", index=False)
    tables = [read_table(source, bad_rows=[]) for source in (rows_in_memory(frame),
                                                             tmp_path / "a.csv")]
    assert tables[0].texts == tables[1].texts == ["a", "b", "d"]
    assert tables[0].labels == tables[1].labels == ["1.0", "2.0", "1.0"]


def test_what_is_left_out_may_hold_anything():
    """A date, bytes or a set is no JSON; the list of what is left out says them all the same."""
    bad = []
    texts = [date(2026, 1, 2), b"x", "red", "blue"]
    table = read_table(rows_in_memory({"text": texts, "category": ["a", "a", "b", {1}]}),
                       bad_rows=bad)
    assert table.texts == ["red"]
    assert [row.row for row in bad] == [0, 1, 3] and "2026-01-02" in bad[0].content
