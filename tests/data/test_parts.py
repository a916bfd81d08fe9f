"""Labelled parts from files and lists: every row in its place, and one line about what is wrong."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from bert_kit.data import (Part, limit, parts_from_lists, read_parts, read_table,
                           stratified_split)
from bert_kit.errors import BertKitError, ConfigError, DataError

H = "text,category\n"


def write(path, rows):
    """Write (text, label) pairs as a table, by the ending of the file."""
    if path.suffix == ".jsonl":
        lines = [json.dumps({"text": text, "category": label}) for text, label in rows]
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [f"text{mark}category", *(f"{text}{mark}{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made(count, name="row", classes=("pos", "neg", "mixed")):
    """Rows (text, label) whose text names the label, so that a shifted label is found."""
    rng = random.Random(count)
    return [(f"{name} {i} of {label}", label)
            for i, label in enumerate(rng.choices(classes, weights=[6, 3, 1], k=count))]


def pairs(parts, part):
    chosen = getattr(parts, part)
    return [(text, parts.classes[label]) for text, label in zip(chosen.texts, chosen.labels)]


def sizes(parts):
    return [part and len(part) for part in (parts.train, parts.validation, parts.test)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_one_file_is_split_as_stratified_split_does(tmp_path, suffix):
    rows = made(200)
    parts = read_parts(write(tmp_path / f"a{suffix}", rows), seed=3)
    assert parts.classes == ("mixed", "neg", "pos")
    expected = stratified_split([label for _, label in rows], (0.8, 0.1, 0.1), seed=3)
    for part, numbers in zip(("train", "validation", "test"), expected):
        assert pairs(parts, part) == [rows[i] for i in numbers]
    assert parts.description == (f"train 160 of 200 rows of a{suffix}; validation 20 of 200 rows "
                                 f"of a{suffix}; test 20 of 200 rows of a{suffix}; cut with seed "
                                 "3; 3 classes")


@pytest.mark.parametrize("ratios, expected", [
    ((0.5, 0.25, 0.25), [50, 25, 25]), ((0.9, 0.1, 0), [90, 10, None]),
    ((0.7, 0, 0.3), [70, None, 30]), ((1, 0, 0), [100, None, None]), ((1.0, 0.0, 0.0), [100] + [
        None] * 2)])
def test_sizes(tmp_path, ratios, expected):
    path = write(tmp_path / "a.csv", made(100))
    train, val, test = ratios
    parts = read_parts(path, train_size=train, val_size=val, test_size=test)
    assert sizes(parts) == expected
    every = [row for part in ("train", "validation", "test") if getattr(parts, part)
             for row in pairs(parts, part)]
    assert sorted(every) == sorted(made(100))
    assert ("cut with seed" in parts.description) == (ratios[0] < 1)


@pytest.mark.parametrize("names", [("train.csv",), ("train.tsv", "test.jsonl"),
                                   ("train.csv", "dev.csv"), ("train.csv", "val.tsv", "test.csv"),
                                   ("train.jsonl", "valid.csv", "test.tsv"),
                                   ("train.csv", "validation.jsonl")])
def test_a_folder_gives_its_files_and_the_rest_is_cut_from_training(tmp_path, names):
    rows = {name: made(100 if name.startswith("train") else 33, name) for name in names}
    for name in names:
        write(tmp_path / name, rows[name])
    (tmp_path / "train_sentences.csv").write_text("something else")
    parts = read_parts(tmp_path, val_size=0.2, test_size=0.3)
    has_test = any(name.startswith("test") for name in names)
    has_validation = len(names) > 1 + has_test
    for name in names[1:]:
        part = "test" if name.startswith("test") else "validation"
        assert pairs(parts, part) == rows[name]
        assert f"{part} 33 of 33 rows of {name}" in parts.description
    cut = 20 * (not has_validation) + 30 * (not has_test)
    assert len(parts.train) == 100 - cut
    left = set(rows[names[0]]) - set(pairs(parts, "train"))
    assert len(left) == cut and left <= {*pairs(parts, "validation"), *pairs(parts, "test")}
    by_file = read_parts(train_file=tmp_path / names[0], val_size=0.2, test_size=0.3, **{
        "test_file" if name.startswith("test") else "validation_file": tmp_path / name
        for name in names[1:]})
    assert by_file == parts


def test_given_parts_are_left_alone_and_need_no_ratios(tmp_path):
    for name in ("train", "dev", "test"):
        write(tmp_path / f"{name}.csv", made(40, name))
    parts = read_parts(tmp_path, train_size=0.3, val_size=0.9, test_size=0.9)
    assert [pairs(parts, part) for part in ("train", "validation", "test")] == [
        made(40, name) for name in ("train", "dev", "test")]
    assert "cut" not in parts.description


def test_no_part_at_ratio_0(tmp_path):
    write(tmp_path / "train.csv", made(50))
    parts = read_parts(tmp_path, val_size=0, test_size=0)
    assert sizes(parts) == [50, None, None] and parts.in_train_too == 0


def test_data_is_looked_up_in_datadir(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    write(tmp_path / "store" / "train.csv", made(50))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATADIR", raising=False)
    expected = read_parts("store")
    assert expected.description.count("store/train.csv") == 3
    monkeypatch.setenv("DATADIR", str(tmp_path))
    monkeypatch.chdir(tmp_path / "store")
    assert read_parts("store").train == expected.train == read_parts(train_file="train.csv").train


def test_labels_are_those_of_read_table(tmp_path):
    (tmp_path / "a.csv").write_text(H + "one, b \ntwo,a\nthree,b\nfour, B\nfive,10\nsix,2\n")
    parts = read_parts(tmp_path / "a.csv", train_size=1, val_size=0, test_size=0)
    assert parts.classes == ("10", "2", "B", "a", "b")
    assert list(parts.classes) == read_table(tmp_path / "a.csv").classes
    assert parts.train.labels == [4, 3, 4, 2, 0, 1]
    assert all(type(label) is int for label in parts.train.labels)


def test_classes_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = made(60)
    first = read_parts(write(tmp_path / "a.csv", rows), train_size=1, val_size=0, test_size=0)
    second = read_parts(write(tmp_path / "b.csv", rows[::-1]), train_size=1, val_size=0,
                        test_size=0)
    assert first.classes == second.classes and first.train.labels == second.train.labels[::-1]
    assert first.fingerprint != second.fingerprint


def test_a_class_with_one_row_is_trained_on(tmp_path):
    rows = [("only one", "rare"), *made(50)]
    for seed in range(5):
        parts = read_parts(write(tmp_path / "a.csv", rows), seed=seed)
        assert ("only one", "rare") in pairs(parts, "train")


def test_fingerprint_is_that_of_the_rows(tmp_path):
    rows = made(50)
    quoted = tmp_path / "quoted.csv"
    quoted.write_text("category,text\n" + "".join(f'{label},"{text}"\n\n' for text, label in rows))
    same = [read_parts(write(tmp_path / name, rows), seed=seed).fingerprint
            for name, seed in (("a.csv", 0), ("b.jsonl", 5), ("c.tsv", 1))]
    same += [read_parts(quoted, val_size=0, test_size=0.2).fingerprint,
             parts_from_lists(*zip(*rows)).fingerprint]
    assert len(set(same)) == 1 and re.fullmatch("[0-9a-f]{64}", same[0])
    others = [made(49), rows[::-1], [("changed", rows[0][1]), *rows[1:]],
              [(rows[0][0], "changed"), *rows[1:]]]
    assert len({same[0], *(parts_from_lists(*zip(*other)).fingerprint for other in others)}) == 5
    assert parts_from_lists(*zip(*rows), test=zip(*rows)).fingerprint != same[0]
    # What moves from a text to its label, or to the next row, is other data.
    apart = {parts_from_lists(texts, ["x", "y"], val_size=0, test_size=0).fingerprint
             for texts in (["ab", "c"], ["a", "bc"], ["a,b", "c"])}
    assert len(apart) == 3


def test_texts_that_stand_in_train_too(tmp_path):
    write(tmp_path / "train.csv", [("Good film!", "a"), ("bad", "b"), ("?", "a"), ("x1", "b"),
                                   ("Straße", "a")])
    write(tmp_path / "test.csv", [("good FILM", "b"), ("good-film", "a"), ("!", "a"), ("x2", "a"),
                                  ("STRASSE", "a"), ("goodfilms", "a")])
    parts = read_parts(tmp_path, val_size=0)
    assert parts.in_train_too == 3
    assert parts.description.endswith("; 2 classes; 3 test texts also stand in train")


def test_leaks_of_published_data(shared):
    """As counted for the data's own description (of published splits, with nothing cut away)."""
    for name, count in (("sst2", 6), ("trec6", 11), ("banking77", 29), ("rt_polarity", 0)):
        assert read_parts(shared / "data" / name, val_size=0).in_train_too == count, name


def test_lists_follow_the_same_rules(tmp_path):
    rows, test = made(90), made(30, "test")
    write(tmp_path / "train.csv", rows)
    write(tmp_path / "test.csv", test)
    parts = read_parts(tmp_path, seed=2)
    lists = parts_from_lists(*zip(*rows), test=tuple(zip(*test)), seed=2)
    for name in ("train", "validation", "test", "classes", "fingerprint", "in_train_too"):
        assert getattr(parts, name) == getattr(lists, name), name
    assert "train 81 of 90 rows of the train list" in lists.description
    assert sizes(parts_from_lists(*zip(*rows), val_size=0, test_size=0)) == [90, None, None]


def test_numbers_as_classes_are_sorted_as_numbers():
    labels = np.random.default_rng(0).integers(-2, 12, 200)
    texts = [f"text {label}" for label in labels]
    for given in (labels, labels.tolist(), list(labels)):
        parts = parts_from_lists(texts, given, val_size=0, test_size=0)
        names, numbers = np.unique(labels, return_inverse=True)
        assert parts.classes == tuple(map(str, names)) and parts.train.labels == numbers.tolist()
    truth = parts_from_lists(texts, labels > 4, val_size=0, test_size=0)
    assert truth.classes == ("False", "True") and truth.train.labels == (labels > 4).tolist()


BAD_FILES = {
    "one class": ({"data_file": "a.csv"}, {"a.csv": "one,x\ntwo,x\n"},
                  "a.csv: 'category' is 'x' in all 2 rows; expected two classes or more"),
    "few rows": ({"data_file": "a.csv"}, {"a.csv": "1,x\n2,y\n"}, "a.csv: a split .* of 2 rows"),
    "unknown class": ({"train_file": "a.csv", "test_file": "b.csv", "val_size": 0},
                      {"a.csv": "1,x\n2,y\n", "b.csv": '"1\n1",x\n2,z\n'},
                      r"b.csv line 4: the class 'z' has no row .*expected one of 'x', 'y'"),
    "unknown to validate": ({"train_file": "a.csv", "validation_file": "b.csv", "test_size": 0},
                            {"a.csv": "1,x\n2,y\n", "b.csv": "1,X\n"}, "b.csv line 2: .*'X'"),
    "bad validation file": ({"train_file": "a.csv", "validation_file": "b.csv"},
                            {"a.csv": "1,x\n2,y\n", "b.csv": "1\n"}, "b.csv line 2: 1 fields"),
    "texts as labels": ({"data_file": "a.csv", "text_column": "category", "label_column": "text"},
                        {"a.csv": "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(40))},
                        "'text' has 40 different values in 40 rows; it looks like the text, and "
                        "'category' like the class; expected"),
    "ids as labels": ({"data_file": "a.csv"}, {"a.csv": "".join(f"t{i},{i}\n" for i in range(40))},
                      "'category' has 40 .* looks like the text; expected"),
    "folder without train": ({"data_file": "."}, {"test.csv": "one,x\n"}, "no train.csv, train.t"),
    "two of a kind": ({"data_file": "."}, {"train.csv": "1,x\n", "dev.csv": "", "val.csv": ""},
                      "holds dev.csv and val.csv; expected one file for validation"),
    "two to train on": ({"data_file": "."}, {"train.csv": "1,x\n", "train.tsv": ""},
                        "holds train.csv and train.tsv; expected one"),
    "a folder to train on": ({"train_file": "."}, {}, "not a regular file"),
    "no file": ({"data_file": "none"}, {}, "none: no such file"),
    "seed": ({"data_file": "a.csv", "seed": -1}, {}, "seed is -1"),
    "seed as text": ({"data_file": "a.csv", "seed": "1"}, {}, "seed is '1'"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_one_clear_line(tmp_path, monkeypatch, name):
    arguments, files, message = BAD_FILES[name]
    monkeypatch.chdir(tmp_path)
    for file, rows in files.items():
        (tmp_path / file).write_text(H + rows)
    with pytest.raises(DataError, match=message) as caught:
        read_parts(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every folder")
def test_folders_that_may_not_be_read(tmp_path):
    (tmp_path / "data").mkdir(mode=0)
    with pytest.raises(DataError, match="data: cannot be read .Permission denied"):
        read_parts(tmp_path / "data")


def test_few_rows_may_have_a_class_each(tmp_path):
    path = write(tmp_path / "a.csv", [(f"text {i}", f"class {i}") for i in range(20)])
    assert len(read_parts(path, train_size=1, val_size=0, test_size=0).classes) == 20


BAD_ARGUMENTS = {
    "nothing": ({}, "given no file; expected data_file alone"),
    "both": ({"data_file": "a.csv", "test_file": "b.csv"}, "given test_file and data_file"),
    "no train": ({"validation_file": "a.csv"}, "given validation_file; expected"),
    "sum": ({"data_file": "a.csv", "test_size": 0.2}, r"test 0.2 add up to 1.1; expected 1"),
    "negative": ({"data_file": "a.csv", "val_size": -0.1, "test_size": 0.3}, "validation .*-0.1"),
    "NaN": ({"data_file": "a.csv", "test_size": float("nan")}, "test part is nan"),
    "percent": ({"data_file": "a.csv", "train_size": 80}, "train part is 80; expected a share"),
    "text": ({"data_file": "a.csv", "val_size": "0.1"}, "validation part is '0.1'"),
    "truth": ({"data_file": "a.csv", "test_size": True}, "test part is True"),
    "all held out": ({"train_file": "a.csv", "val_size": 0.5, "test_size": 0.5}, "leaves nothing"),
    "nothing to train on": ({"data_file": "a.csv", "train_size": 0, "val_size": 0.5,
                             "test_size": 0.5}, "leaves nothing to train on"),
    "one column": ({"data_file": "a.csv", "text_column": "category"}, "expected two columns"),
    "delimiter": ({"data_file": "a.csv", "delimiter": "::"}, "delimiter is '::'"),
    "encoding": ({"data_file": "a.csv", "encoding": "utf-99"}, "unknown encoding 'utf-99'"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_arguments_that_do_not_go_together(tmp_path, monkeypatch, name):
    arguments, message = BAD_ARGUMENTS[name]
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", made(40))
    write(tmp_path / "b.csv", made(40))
    with pytest.raises(ConfigError, match=message) as caught:
        read_parts(**arguments)
    assert "\n" not in str(caught.value)


def test_bad_lists_are_refused_by_name():
    with pytest.raises(DataError, match="the validation list: 1 texts but 2 labels"):
        parts_from_lists(["a", "b"], ["x", "y"], validation=(["a"], ["x", "y"]))
    with pytest.raises(DataError, match="row 1 of the test list: the class 'z' has no row"):
        parts_from_lists(["a", "b"], ["x", "y"], test=(["a", "b"], ["x", "z"]), val_size=0)
    with pytest.raises(DataError, match="the train list: 'labels' is '1' in all 2 rows"):
        parts_from_lists(["a", "b"], [1, 1])
    with pytest.raises(ConfigError, match="size of the test part is 2"):
        parts_from_lists(["a", "b"], [1, 2], test_size=2)


def test_a_stored_split_is_used_again(tmp_path):
    path, split = write(tmp_path / "a.csv", made(100)), tmp_path / "out" / "split.json"
    parts = read_parts(path, seed=1, split_file=split)
    stored = json.loads(split.read_text())
    assert stored["data_sha256"] == parts.fingerprint and stored["seed"] == 1
    assert stored["ratios"] == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert stored["files"] == {"train": "a.csv"} and str(tmp_path) not in split.read_text()
    for part, numbers in stored["rows"].items():
        assert pairs(parts, part) == [made(100)[i] for i in numbers]
    before = split.read_bytes()
    moved = read_parts(write(tmp_path / "moved.jsonl", made(100)), seed=2, split_file=split)
    assert sizes(moved) == sizes(parts) and moved.test == parts.test and moved.train == parts.train
    assert read_parts(path, seed=2).test != parts.test
    assert "cut as stored in split.json" in moved.description and split.read_bytes() == before


def test_a_stored_split_of_parts_that_are_given(tmp_path):
    for name in ("train", "dev", "test"):
        write(tmp_path / f"{name}.csv", made(40, name))
    parts = read_parts(tmp_path, split_file=tmp_path / "split.json")
    assert read_parts(tmp_path, split_file=tmp_path / "split.json") == parts
    write(tmp_path / "test.csv", made(41, "test"))
    with pytest.raises(DataError, match="made for other data"):
        read_parts(tmp_path, split_file=tmp_path / "split.json")


def test_names_that_are_not_utf_8_can_be_stored(tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    parts = read_parts(write(tmp_path / name, made(50)), split_file=tmp_path / "split.json")
    assert r"50 rows of caf\udce9.csv" in parts.description
    assert json.loads((tmp_path / "split.json").read_text())["files"] == {
        "train": r"caf\udce9.csv"}


def edited(change):
    def edit(split):
        record = json.loads(split.read_text())
        change(record)
        split.write_text(json.dumps(record))
    return edit


BAD_SPLITS = {
    "empty": (lambda split: split.write_text(""), "split.json: not valid JSON"),
    "cut off": (lambda split: split.write_bytes(split.read_bytes()[:-40]), "not valid JSON"),
    "bytes": (lambda split: split.write_bytes(b"\xff\xfe\0"), "not UTF-8"),
    "list": (lambda split: split.write_text("[]"), "holds a list, expected a dict"),
    "deep": (lambda split: split.write_text("[" * 100_000), "too deep"),
    "other hash": (edited(lambda r: r.update(data_sha256="0" * 64)), "sha256 '00000000000…, not '"),
    "no hash": (edited(lambda r: r.pop("data_sha256")), "made for other data .sha256 None"),
    "long hash": (edited(lambda r: r.update(data_sha256=[1] * 999)), "made for other data"),
    "other ratios": (edited(lambda r: r["ratios"].update(test=0.2)), "made with ratios .*asked"),
    "no ratios": (edited(lambda r: r.pop("ratios")), "made with ratios null"),
    "huge ratio": (edited(lambda r: r["ratios"].update(test=10**400)), "made with ratios"),
    "no rows": (edited(lambda r: r.pop("rows")), "'rows' does not name the parts"),
    "a part less": (edited(lambda r: r["rows"].pop("test")), "'rows' does not name the parts"),
    "another part": (edited(lambda r: r["rows"].update(more=[])), "'rows' does not name the parts"),
    "no list": (edited(lambda r: r["rows"].update(test=5)), "'test' holds no row numbers"),
    "empty part": (edited(lambda r: r["rows"].update(test=[])), "'test' holds no row numbers"),
    "twice": (edited(lambda r: r["rows"]["test"].append(r["rows"]["train"][3])),
              "is in 'train' and again in 'test'"),
    "twice in a part": (edited(lambda r: r["rows"]["test"].append(r["rows"]["test"][0])),
                        "is in 'test' and again in 'test'"),
    "dropped": (edited(lambda r: r["rows"]["test"].pop()), "is in no part"),
    "too high": (edited(lambda r: r["rows"]["test"].append(100)), "the row 100; .* from 0 to 99"),
    "negative": (edited(lambda r: r["rows"]["test"].append(-1)), "the row -1"),
    "fraction": (edited(lambda r: r["rows"]["test"].append(1.0)), "the row 1.0; expected whole"),
    "text": (edited(lambda r: r["rows"]["test"].append("1")), "the row '1'"),
    "truth": (edited(lambda r: r["rows"]["test"].append(True)), "the row True"),
    "nothing": (edited(lambda r: r["rows"]["test"].append(None)), "the row None"),
    "huge": (edited(lambda r: r["rows"]["test"].append(10**40)), r"the row 1000\d*;"),
    "class not trained on": (edited(lambda r: r["rows"].update(
        train=[i for i, (_, label) in enumerate(made(100)) if label != "mixed"][:80],
        validation=[i for i, (_, label) in enumerate(made(100)) if label == "mixed"],
        test=[i for i, (_, label) in enumerate(made(100)) if label != "mixed"][80:])),
        r"a.csv line \d+: the class 'mixed' has no row in the training part"),
}


@pytest.mark.parametrize("name", BAD_SPLITS)
def test_a_damaged_or_foreign_split_is_refused(tmp_path, name):
    damage, message = BAD_SPLITS[name]
    path, split = write(tmp_path / "a.csv", made(100)), tmp_path / "split.json"
    read_parts(path, split_file=split)
    damage(split)
    before = split.read_bytes()
    with pytest.raises(DataError, match=message) as caught:
        read_parts(path, split_file=split)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert split.read_bytes() == before


def test_a_split_of_other_rows_or_ratios_is_refused(tmp_path):
    split = tmp_path / "split.json"
    read_parts(write(tmp_path / "a.csv", made(100)), split_file=split)
    with pytest.raises(DataError, match="made for other data"):
        read_parts(write(tmp_path / "b.csv", made(101)), split_file=split)
    with pytest.raises(DataError, match="made with ratios"):
        read_parts(tmp_path / "a.csv", train_size=0.9, test_size=0, split_file=split)


def test_places_where_a_split_cannot_be(tmp_path):
    path = write(tmp_path / "a.csv", made(100))
    (tmp_path / "link.json").symlink_to(tmp_path / "none.json")
    for place, message in ((tmp_path, "Is a directory"), (path / "split.json", "cannot be"),
                           (tmp_path / "link.json", "no such file")):
        with pytest.raises(BertKitError, match=message) as caught:
            read_parts(path, split_file=place)
        assert "\n" not in str(caught.value)
    assert path.read_text().startswith(H)


def test_the_split_is_the_same_in_every_process(tmp_path):
    path = write(tmp_path / "a.csv", made(100))
    code = (f"from bert_kit.data import limit, read_parts\nparts = read_parts({str(path)!r})\n"
            "print(parts.test.texts, parts.classes, parts.fingerprint, limit(parts.train, 9))")
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)}).stdout
    parts = read_parts(path)
    assert other == (f"{parts.test.texts} {parts.classes} {parts.fingerprint} "
                     f"{limit(parts.train, 9)}\n")


@pytest.mark.parametrize("count", [1, 4, 5, 6, 37, 400, 999])
def test_limit_keeps_class_shares(count):
    weights = [0.6, 0.3, 0.08, 0.015, 0.005]
    labels = np.random.default_rng(1).choice(5, 1_000, p=weights).tolist()
    part = Part([f"text {i}" for i in range(1_000)], labels)
    for seed in range(5):
        kept = limit(part, count, seed)
        numbers = [int(text.split()[1]) for text in kept.texts]
        assert len(kept) == count == len(set(numbers)) and numbers == sorted(numbers)
        assert kept.labels == [labels[i] for i in numbers]
        found, total = Counter(kept.labels), Counter(labels)
        assert len(found) == min(count, 5)
        if count > 5:
            for label, whole in total.items():
                assert abs(found[label] - whole * count / 1_000) < 2.5
        assert kept == limit(part, count, seed)
    assert limit(part, count, 0) != limit(part, count, 1)


def test_limit_of_enough_rows_is_the_part():
    part = Part(["a", "b"], [0, 1])
    assert limit(part, 2) is part and limit(part, 10**9) is part


@pytest.mark.parametrize("count", [0, -1, 1.5, "5", None, True, float("inf")])
def test_limit_needs_a_whole_number(count):
    with pytest.raises(ConfigError, match="number of rows to keep is .*expected a whole number"):
        limit(Part(["a"], [0]), count)
