"""Splits: every row once, class shares kept, groups whole. Run: pytest tests/data/test_splits.py"""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from bert_kit.data.splits import (first_of_each_class, grouped_split, held_out, stratified_folds,
                                  stratified_split)
from bert_kit.errors import ConfigError, DataError


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.1), (0.7, 0.3), (0.5, 0.25, 0.25), (1.0,)])
def test_stratified_split_keeps_sizes_and_shares(ratios):
    labels = np.random.default_rng(1).choice(["a", "b", "c"], 1_003, p=[0.6, 0.35, 0.05]).tolist()
    parts = stratified_split(labels, ratios, seed=3)
    assert sorted(row for part in parts for row in part) == list(range(1_003))
    counts = Counter(labels)
    for part, ratio in zip(parts, ratios):
        assert part == sorted(part)
        assert abs(len(part) - 1_003 * ratio) <= 2
        inside = Counter(labels[row] for row in part)
        assert all(abs(inside[name] - counts[name] * ratio) <= 2 for name in counts)


def test_stratified_split_depends_on_the_seed_only():
    labels = [i % 3 for i in range(90)]
    assert stratified_split(labels, seed=1) == stratified_split(labels, seed=1)
    assert stratified_split(labels, seed=1) != stratified_split(labels, seed=2)


def test_rare_classes_are_trained_on():
    labels = ["big"] * 50 + ["one"] + ["two"] * 2 + ["three"] * 3
    for seed in range(20):
        parts = stratified_split(labels, (0.6, 0.2, 0.2), seed)
        assert {labels[row] for row in parts[0]} == {"big", "one", "two", "three"}
        assert 50 in parts[0]
        big = [sum(labels[row] == "big" for row in part) for part in parts]
        assert big[0] in range(28, 33) and min(big) >= 8


def test_many_single_rows_do_not_push_a_large_class_out_of_training():
    labels = [f"only{i}" for i in range(200)] + ["big"] * 100
    train, test = stratified_split(labels, (0.8, 0.2), seed=0)
    assert sum(labels[row] == "big" for row in train) in range(79, 82)
    assert {labels[row] for row in test} == {"big"}


@pytest.mark.parametrize("ratios", [(), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0), (float("nan"), 1)])
def test_impossible_ratios(ratios):
    with pytest.raises(ConfigError, match="split ratios"):
        stratified_split(["a", "b"] * 10, ratios)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b", "c"]])
def test_too_few_rows(labels):
    with pytest.raises(DataError, match="leaves a part empty"):
        stratified_split(labels)


def test_held_out_share_and_nesting():
    names = [f"package/file{i}.py" for i in range(4_000)]
    small = {name for name in names if held_out(name, 0.1)}
    large = {name for name in names if held_out(name, 0.3)}
    assert 330 < len(small) < 470 and 1_080 < len(large) < 1_320  # about 4 standard deviations
    assert small < large
    assert small != {name for name in names if held_out(name, 0.1, salt="other")}
    assert not any(held_out(name, 0) for name in names)
    assert all(held_out(name, 1) for name in names)
    with pytest.raises(ConfigError, match="share is 1.5"):
        held_out("a", 1.5)


def test_held_out_is_the_same_in_every_process():
    code = "from bert_kit.data.splits import held_out\n" \
           "print([held_out(f'file{i}', 0.5) for i in range(40)])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)}).stdout
    assert other.strip() == str([held_out(f"file{i}", 0.5) for i in range(40)])


def test_grouped_split_keeps_groups_whole():
    groups = [f"g{i % 37}" for i in range(500)]
    train, held = grouped_split(groups, share=0.3)
    assert sorted(train + held) == list(range(500))
    assert not {groups[row] for row in train} & {groups[row] for row in held}
    assert {groups[row] for row in held} == {name for name in groups if held_out(name, 0.3)}


@pytest.mark.parametrize("groups, share", [([], 0.2), (["same"] * 9, 0.5), (["a", "b", "c"], 0)])
def test_grouped_split_with_an_empty_side(groups, share):
    with pytest.raises(DataError, match="leaves a side empty"):
        grouped_split(groups, share)


def test_first_of_each_class():
    labels = list("abcabcaab")
    assert first_of_each_class(labels, 2) == [0, 1, 2, 3, 4, 5]
    assert first_of_each_class(labels, 99) == list(range(9)) and first_of_each_class([], 3) == []


@pytest.mark.parametrize("folds", [2, 7, 10])
def test_folds_are_stratified(folds):
    labels = np.repeat([0, 1, 2, 5], [101, 53, 7, 3])
    fold = stratified_folds(labels, folds, seed=1)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.sum() == 164 and sizes.max() - sizes.min() <= 1
    for label in (0, 1, 2, 5):
        inside = np.bincount(fold[labels == label], minlength=folds)
        assert inside.max() - inside.min() <= 1
    assert (fold == stratified_folds(labels.tolist(), folds, seed=1)).all()
    assert (fold != stratified_folds(labels, folds, seed=2)).any()
    assert fold[labels == 0].tolist() != sorted(fold[labels == 0])  # mixed, not in file order


def test_folds_that_cannot_be():
    for folds in (1, 0, -3, 2.0, True):
        with pytest.raises(ConfigError, match="folds is .*expected a whole number from 2"):
            stratified_folds([0, 1, 0], folds)
    with pytest.raises(DataError, match="3 rows for 7 folds"):
        stratified_folds([0, 1, 0])
