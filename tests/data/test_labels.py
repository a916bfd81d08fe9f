"""Label sets and numbers from files and lists to parts. Run: pytest tests/data/test_labels.py"""

import json

import numpy as np
import pytest

from bert_kit.data import (ClassificationDataset, LabelColumns, LabelList, Number, OneClass, Part,
                           column_names, limit, parts_from_lists, read_parts, read_table)
from bert_kit.errors import ConfigError, DataError
from tiny_texts import tokenizer

GOOD = {
    "bars": ("a.csv", "text,labels\none,b|a\ntwo,\nthree,a\n", LabelList(),
             [("a", "b"), (), ("a",)]),
    "spaces and repeats": ("a.csv", "text,labels\none, b | a |b\n", LabelList(), [("a", "b")]),
    "another separator": ("a.csv", 'text,tags\none,"b, a"\n', LabelList("tags", ","),
                          [("a", "b")]),
    "two characters": ("a.csv", "text,labels\none,b::a|c\n", LabelList("labels", "::"),
                       [("a|c", "b")]),
    "json in csv": ("a.csv", 'text,labels\none,"[""b"", ""a|c""]"\ntwo,[]\n', LabelList(),
                    [("a|c", "b"), ()]),
    "json lines": ("a.jsonl", '{"text": "one", "labels": ["b", "a"]}\n{"text": "two", "labels": '
                   '[]}\n{"text": "three", "labels": "b|a"}', LabelList(),
                   [("a", "b"), (), ("a", "b")]),
    "numbers in a list": ("a.jsonl", '{"text": "one", "labels": [2, 10]}', LabelList(),
                          [("10", "2")]),
    "columns": ("a.csv", "joy,text,anger\n1,one,0\n1.0,two,True\n 0 ,three,false\n",
                LabelColumns(("joy", "anger")), [("joy",), ("anger", "joy"), ()]),
    "columns of json": ("a.jsonl", '{"text": "one", "joy": true, "anger": 0}\n',
                        LabelColumns(["joy", "anger"]), [("joy",)]),
    "numbers": ("a.csv", "text,label\none,3.25\ntwo, -1e2 \nthree,4\n", Number(), [3.25, -100, 4]),
    "numbers of json": ("a.jsonl", '{"text": "one", "y": 2}\n{"text": "two", "y": "2.5"}',
                        Number("y"), [2, 2.5]),
    "a class": ("a.csv", "text,category\none, x \n", OneClass(), ["x"]),
}
BAD = {
    "empty name": ("a.csv", "text,labels\none,a||b\n", LabelList(), "line 2: 'labels': the labels "
                   r"are \['a', '', 'b'\]; expected names, none of them empty"),
    "python list": ("a.csv", "text,labels\none,['a']\n", LabelList(),
                    'line 2: \'labels\': not valid JSON .*expected a list such as ."a", "b".'),
    "list of numbers": ("a.csv", "text,labels\none,a\ntwo,[.5]\n", LabelList(), "line 3: 'labels'"),
    "list of truths": ("a.jsonl", '{"text": "one", "labels": [true]}', LabelList(), "are .True.;"),
    "null": ("a.jsonl", '{"text": "one", "labels": null}', LabelList(), "line 1: 'labels' is None"),
    "number": ("a.jsonl", '{"text": "one", "labels": 3}', LabelList(), "'labels' is 3; expected a"),
    "half a character": ("a.jsonl", '{"text": "one", "labels": ["\\ud800"]}', LabelList(),
                         "line 1: 'labels': the labels are"),
    "not a flag": ("a.csv", "text,joy\none,1\ntwo,yes\n", LabelColumns(("joy",)),
                   "line 3: 'joy' is 'yes'; expected 0 or 1"),
    "empty flag": ("a.csv", "text,joy,anger\none,1,\n", LabelColumns(("joy", "anger")),
                   "line 2: 'anger' is ''; expected 0 or 1"),
    "no such column": ("a.csv", "text,joy\none,1\n", LabelColumns(("joy", "Anger")),
                       "no column 'Anger' in the header"),
    "no number": ("a.csv", "text,label\none,1\ntwo,many\n", Number(),
                  "line 3: 'label' is 'many'; expected a number"),
    "comma": ("a.csv", 'text,label\none,"3,5"\n', Number(), "'3,5'; expected a number"),
    "NaN": ("a.csv", "text,label\none,nan\n", Number(), "'nan'; expected a number"),
    "infinity": ("a.csv", "text,label\none,1e999\n", Number(), "'1e999'; expected a number"),
    "empty": ("a.csv", "text,label\none,\n", Number(), "''; expected a number"),
    "underscore": ("a.csv", "text,label\none,1_0\n", Number(), "'1_0'; expected a number"),
    "truth": ("a.jsonl", '{"text": "one", "label": true}', Number(), "True; expected a number"),
    "null number": ("a.jsonl", '{"text": "one", "label": null}', Number(), "None; expected a num"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_file(tmp_path, name):
    file, content, kind, labels = GOOD[name]
    (tmp_path / file).write_text(content)
    table = read_table(tmp_path / file, label_column=kind)
    assert table.labels == labels
    assert table.texts == ["one", "two", "three"][:len(labels)]


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_clear_line(tmp_path, name):
    file, content, kind, message = BAD[name]
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / file, label_column=kind)
    assert str(tmp_path / file) in str(caught.value) and "\n" not in str(caught.value)


def test_the_columns_of_a_file(tmp_path):
    (tmp_path / "a.csv").write_text('\n"the text", joy ,anger\none,1,0\n')
    (tmp_path / "a.tsv").write_text("text\tjoy\n")
    (tmp_path / "a.jsonl").write_text('\n{"text": "one", "joy": 1}\n{"other": 2}\n')
    (tmp_path / "empty.csv").write_text("")
    assert column_names(tmp_path / "a.csv") == ["the text", "joy", "anger"]
    assert column_names(tmp_path / "a.tsv") == column_names(tmp_path / "a.jsonl") == ["text", "joy"]
    assert column_names(tmp_path / "empty.csv") == []
    (tmp_path / "bad.jsonl").write_text('[1, {"text": "one"}]\n')
    assert column_names(tmp_path / "bad.jsonl") == ["text"]  # the rows' reader tells of the first
    with pytest.raises(DataError, match="bad.jsonl line 1: a int in a list, expected one object"):
        read_table(tmp_path / "bad.jsonl", label_column=None)
    of = LabelColumns(tuple(n for n in column_names(tmp_path / "a.csv") if n != "the text"))
    assert read_table(tmp_path / "a.csv", "the text", of).labels == [("joy",)]


def test_impossible_kinds(tmp_path):
    for build in (lambda: LabelList(separator=""), lambda: LabelList(separator=None),
                  lambda: LabelColumns(()), lambda: LabelColumns("joy")):
        with pytest.raises(ConfigError, match="expected a"):
            build()
    (tmp_path / "a.csv").write_text("text,joy\none,1\n")
    for kind in (LabelColumns(("joy", "joy")), LabelColumns(("joy", "text")), Number("text")):
        with pytest.raises(ConfigError, match="expected two columns"):
            read_table(tmp_path / "a.csv", label_column=kind)


def made(count=200, seed=0):
    """Texts that name their labels; the label "rare" stands on 6 rows."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        label = {name for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.1))
                 if generator.random() < share}
        label |= {"rare"} if i % 34 == 0 else set()
        rows.append((f"text {i} {sorted(label)}", tuple(sorted(label))))
    return rows


def check(parts, part):
    chosen = getattr(parts, part)
    assert chosen.labels.dtype == np.float32 and chosen.labels.shape == (len(chosen), 4)
    for text, row in zip(chosen.texts, chosen.labels):
        names = [name for name, holds in zip(parts.classes, row) if holds]
        assert text.endswith(str(names))


def test_label_sets_to_parts(tmp_path):
    rows = made()
    (tmp_path / "a.csv").write_text("text,labels\n" + "".join(
        f'"{text}",{"|".join(label)}\n' for text, label in rows))
    flags = [f'"{text}",' + ",".join(str(int(name in label)) for name in ("rare", "c", "b", "a"))
             for text, label in rows]
    (tmp_path / "b.csv").write_text("text,rare,c,b,a\n" + "\n".join(flags))
    lists = parts_from_lists(*zip(*rows), kind=LabelList())
    found = [read_parts(tmp_path / "a.csv", label_column=LabelList(), train_size=0.8),
             read_parts(tmp_path / "b.csv", label_column=LabelColumns(("rare", "c", "b", "a")))]
    assert lists.fingerprint == found[0].fingerprint == found[1].fingerprint
    for parts in (*found, lists):
        assert parts.classes == ("a", "b", "c", "rare")
        for part in ("train", "validation", "test"):
            check(parts, part)
            assert getattr(parts, part).labels[:, 3].sum() >= 1 or part != "train"
        assert parts.train.texts == lists.train.texts
        each = sum(len(label) for _, label in rows) / len(rows)
        assert parts.description.endswith(f"; 4 labels, {each:.2f} a row")
    assert abs(len(lists.test) - 20) <= 1
    assert (lists.train.labels.sum(1) == 0).any()  # rows with no label are there


def test_rare_labels_are_spread_over_the_parts():
    rows = [(f"text {i}", ("common", "rare") if i % 10 == 0 else ("common",)) for i in range(100)]
    for seed in range(5):
        parts = parts_from_lists(*zip(*rows), val_size=0.2, test_size=0.2, seed=seed,
                                 kind=LabelList())
        counts = [int(part.labels[:, 1].sum()) for part in (parts.train, parts.validation,
                                                            parts.test)]
        assert counts == [6, 2, 2]


def test_a_label_of_one_row_may_be_held_out_and_is_a_label_still():
    rows = [(f"text {i}", ("x",) if i else ("x", "y", "z")) for i in range(40)]
    parts = parts_from_lists(*zip(*rows), kind=LabelList())
    assert parts.classes == ("x", "y", "z") and parts.train.labels.shape[1] == 3


def test_numbers_to_parts(tmp_path):
    (tmp_path / "a.csv").write_text("text,score\n" + "".join(
        f"text {i},{i / 4}\n" for i in range(50)))
    parts = read_parts(tmp_path / "a.csv", label_column=Number("score"))
    assert parts.classes == ("score",) and parts.description.endswith("numbers from 0 to 12.25")
    for part in (parts.train, parts.validation, parts.test):
        assert part.labels.dtype == np.float32
        assert [float(text.split()[1]) / 4 for text in part.texts] == part.labels.tolist()
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [40, 5, 5]
    again = parts_from_lists([f"text {i}" for i in range(50)], np.arange(50) / 4,
                             kind=Number("score"))
    assert again.fingerprint == parts.fingerprint


def test_a_stored_split_is_used_again(tmp_path):
    rows = list(zip(*made()))
    first = parts_from_lists(*rows, seed=1, split_file=tmp_path / "s.json", kind=LabelList())
    second = parts_from_lists(*rows, seed=2, split_file=tmp_path / "s.json", kind=LabelList())
    assert first.test.texts == second.test.texts
    assert json.loads((tmp_path / "s.json").read_text())["seed"] == 1
    with pytest.raises(DataError, match="made for other data"):
        parts_from_lists(rows[0], [("a",), *rows[1][1:]][::-1], split_file=tmp_path / "s.json",
                         kind=LabelList())


@pytest.mark.parametrize("labels, kind, message", [
    ([(), ()], LabelList(), "no row of 2 has a label"),
    ([("a",), "b"], LabelList(), "row 1 of the train list: the labels are 'b'; expected names"),
    ([("a",), None], LabelList(), "row 1 of the train list: the labels are None"),
    ([("a",), ("a", "")], LabelList(), "row 1 of the train list"),
    ([1.0, 1.0], Number(), "'label' is 1 in all 2 rows; expected different numbers"),
    ([1.0, "x"], Number(), "row 1 of the train list: the label is 'x'; expected a number"),
])
def test_labels_that_nothing_can_be_learned_from(labels, kind, message):
    with pytest.raises(DataError, match=message):
        parts_from_lists(["one", "two"], labels, val_size=0, test_size=0, kind=kind)


def test_a_wrong_separator_is_noticed():
    labels = [(f"a,{i}",) for i in range(30)]
    with pytest.raises(DataError, match="30 different labels in 30 rows.*another separator"):
        parts_from_lists([f"text {i}" for i in range(30)], labels, kind=LabelList())


@pytest.mark.parametrize("mark", [",", ";", ", "])
def test_labels_that_are_made_of_others_are_told(tmp_path, mark):
    cells = ["a", f"a{mark}b", "", "b"] * 5
    path = tmp_path / "a.csv"

    def write(cells):
        rows = (f'{row},"{cell}"\n' for row, cell in enumerate(cells))
        path.write_text("text,labels\n" + "".join(rows))

    write(cells)
    with pytest.raises(DataError, match=f"'a{mark}b' is made of others.*--label_separator"):
        read_parts(path, label_column=LabelList())
    assert read_parts(path, label_column=LabelList(separator=mark.strip())).classes == ("a", "b")
    # Where rows have two labels the separator is right, and such a name is a name.
    write(["a|c", f"a{mark}b", "b", "a"] * 5)
    assert f"a{mark}b" in read_parts(path, label_column=LabelList()).classes


def test_a_label_that_training_does_not_know(tmp_path):
    (tmp_path / "train.csv").write_text("text,labels\none,a\ntwo,b|a\n")
    (tmp_path / "test.csv").write_text("text,labels\none,a\ntwo,\nthree,b|c\n")
    parts = read_parts(tmp_path, label_column=LabelList(), val_size=0)
    assert parts.classes == ("a", "b", "c")
    assert parts.train.labels.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert parts.test.labels.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert "no training row has c: counted as missed" in parts.description
    (tmp_path / "test.csv").write_text("text,labels\none,a\n")
    assert "no training row" not in read_parts(tmp_path, label_column=LabelList(),
                                               val_size=0).description


def test_limit_of_sets_and_numbers():
    rows = made()
    part = parts_from_lists(*zip(*rows), val_size=0, test_size=0, kind=LabelList()).train
    kept = limit(part, 50, seed=3)
    places = [part.texts.index(text) for text in kept.texts]
    assert places == sorted(set(places)) and len(kept) == 50
    assert (kept.labels == part.labels[places]).all()
    assert limit(part, 50, seed=3).texts == kept.texts != limit(part, 50, seed=4).texts
    numbers = limit(Part(["a", "b", "c"], np.array([1, 2, 3], np.float32)), 2)
    assert numbers.labels.dtype == np.float32 and len(numbers) == 2
    assert all(numbers.labels[i] == "abc".index(numbers.texts[i]) + 1 for i in range(2))


def test_parts_go_straight_into_a_dataset():
    part = parts_from_lists(["kato", "mire", "sulo"], [("b",), (), ("a", "b")], val_size=0,
                            test_size=0, kind=LabelList()).train
    dataset = ClassificationDataset(part.texts, part.labels, tokenizer())
    assert [dataset[i]["labels"].tolist() for i in range(3)] == [[0, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("name, labels, sizes", [
    ("goemotions", 28, [43_410, 5_426, 5_427]), ("nlu_plusplus", 62, [2_159, 308, 613]),
    ("semeval2018_ec", 11, [6_838, 886, None])])
def test_shared_label_sets(shared, name, labels, sizes):
    parts = read_parts(shared / "data" / name, label_column=LabelList("labels"), test_size=0)
    assert len(parts.classes) == labels
    assert [part and len(part) for part in (parts.train, parts.validation, parts.test)] == sizes


def test_shared_pairs_and_numbers(shared):
    stsb = read_parts(shared / "data" / "stsb", text_column=("text_a", "text_b"),
                      label_column=Number())
    assert [len(stsb.train), len(stsb.validation), len(stsb.test)] == [5_749, 1_500, 1_379]
    assert stsb.train.labels.min() == 0 and stsb.train.labels.max() == 5
    mrpc = read_parts(shared / "data" / "mrpc", text_column=("text_a", "text_b"),
                      label_column="label")
    assert mrpc.classes == ("not_paraphrase", "paraphrase") and len(mrpc.train) == 3_667
