"""The table of several models. Run: pytest tests/evaluation/test_comparison.py"""

import math

import numpy as np
import pytest
import torch

from bert_kit.errors import DataError
from bert_kit.evaluation import format_leaderboard, rank

ROWS = [{"classifier": "linear", "accuracy": 0.9, "f1_macro": 0.88123, "seconds": 31.26},
        {"classifier": "bilstm", "accuracy": np.float64(0.95), "f1_macro": torch.tensor(0.9375),
         "seconds": 1204.0, "peak_memory_mb": 1536},
        {"classifier": "failed", "accuracy": None, "f1_macro": math.nan,
         "note": "ran out\nof =RAM"}]


def test_leaderboard():
    assert format_leaderboard(ROWS).splitlines() == [
        "classifier  accuracy  f1_macro  seconds  peak_memory_mb  note",
        "bilstm        0.9500    0.9375  1,204.0           1,536  -",
        "linear        0.9000    0.8812     31.3               -  -",
        "failed             -         -        -               -  ran out of =RAM"]


def test_order():
    def names(**choice):
        return [row["classifier"] for row in rank(ROWS, **choice)]

    assert names() == ["bilstm", "linear", "failed"]
    assert names(by="seconds", ascending=True) == ["linear", "bilstm", "failed"]
    assert names(by="seconds") == ["bilstm", "linear", "failed"]
    equal = [{"classifier": name, "f1_macro": 0.5} for name in "cab"]
    assert rank(equal) == equal
    lines = format_leaderboard(ROWS, "seconds", ascending=True).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["linear", "bilstm", "failed"]


def test_unknown_column_lists_the_known():
    with pytest.raises(DataError, match="no row has 'speed' to sort by; found classifier, accur"):
        format_leaderboard(ROWS, sort_by="speed")
    with pytest.raises(DataError, match="found no rows"):
        format_leaderboard([])


def test_odd_values_stay_in_their_cells():
    table = format_leaderboard([{"f1_macro": -0.25, "on": True, "name": "\x1b[31m" + "x" * 99},
                                {"f1_macro": 0, "on": None, "name": ""}])
    lines = table.splitlines()
    assert len(lines) == 3 and table.replace("\n", "").isprintable()
    assert lines[1].split() == ["0", "-", "-"] and lines[2].split()[:2] == ["-0.2500", "True"]
    assert max(map(len, lines)) < 70
