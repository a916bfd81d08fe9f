"""The most confident mistakes, and text for a terminal.

Run: pytest tests/evaluation/test_mistakes.py
"""

import json

import numpy as np
import pytest
import torch

from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import format_mistakes, most_confident_mistakes
from bert_kit.printing import align, number, one_line, short_name


def _random(rows=97, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(classes), rows), generator.integers(classes, size=rows)


def test_mistakes_by_hand():
    probabilities, labels = _random()
    found = most_confident_mistakes(probabilities, labels, count=None)
    expected = []
    for row, (shares, label) in enumerate(zip(probabilities.tolist(), labels.tolist())):
        if shares.index(max(shares)) != label:
            expected.append({"row": row, "label": label, "prediction": shares.index(max(shares)),
                             "confidence": max(shares)})
    expected.sort(key=lambda mistake: -mistake["confidence"])
    assert found == expected and len(found) > 20
    assert json.loads(json.dumps(found)) == found
    assert most_confident_mistakes(torch.tensor(probabilities), labels) == expected[:20]
    assert most_confident_mistakes(probabilities, labels, count=0) == []


def test_equal_confidence_keeps_the_order_of_rows():
    sure = np.random.default_rng(0).choice([0.625, 0.75, 0.875], 300)
    found = most_confident_mistakes(np.stack([sure, 1 - sure], axis=1), [1] * 300, count=None)
    expected = [row for level in (0.875, 0.75, 0.625) for row in range(300) if sure[row] == level]
    assert [mistake["row"] for mistake in found] == expected


def test_no_mistakes():
    assert most_confident_mistakes(np.eye(3), [0, 1, 2]) == []
    assert format_mistakes([], [], []).split() == ["row", "confidence", "label", "prediction",
                                                   "text"]


def test_impossible_input():
    with pytest.raises(ConfigError, match="count is -1"):
        most_confident_mistakes(np.eye(2), [0, 1], count=-1)
    with pytest.raises(DataError, match="expected a class from 0 to 1"):
        most_confident_mistakes(np.eye(2), [0, 2])
    mistakes = most_confident_mistakes(np.eye(2), [0, 0])
    with pytest.raises(DataError, match="row 1 but only 1 texts; expected the texts of all rows"):
        format_mistakes(mistakes, ["a"], ["ham", "spam"])
    with pytest.raises(DataError, match="row 1 has class 1 but there are 1 class names"):
        format_mistakes(mistakes, ["a", "b"], ["ham"])


def test_table_of_mistakes_is_one_line_a_row():
    mistakes = [{"row": 10, "label": 0, "prediction": 1, "confidence": 0.98765},
                {"row": 2, "label": 1, "prediction": 0, "confidence": 0.5}]
    texts = [""] * 11
    texts[10] = "first\r\nsecond\tthird \x1b[31mred\x00\u202eturned\u2028end"
    texts[2] = "word " * 400
    lines = format_mistakes(mistakes, texts, ["ham", "spam\neggs"], width=40).splitlines()
    assert len(lines) == 3
    assert lines[1] == (" 10      0.9877  ham        spam eggs   "
                        "first second third [31mredturned end")
    assert lines[2].endswith("word…") and lines[2].index("word") == lines[0].index("text")
    assert all(char.isprintable() for line in lines for char in line)


def test_one_line():
    assert one_line("") == "" and one_line("  \n ") == ""
    assert one_line("abcdef", 6) == "abcdef" and one_line("abcdefg", 6) == "abcde…"
    assert one_line("a \x00 b") == "a b"
    assert one_line("naïve 数据 🙂") == "naïve 数据 🙂"
    assert len(one_line("x" * 10**6, 80)) == 80
    assert one_line("half \ud83d pair") == "half pair"  # what no terminal can print


def test_short_names_keep_both_ends():
    assert short_name("short") == "short" and short_name("x" * 30) == "x" * 30
    names = ["balance_not_updated_after_bank_transfer",
             "balance_not_updated_after_cheque_or_cash_deposit"]
    cut = [short_name(name) for name in names]
    assert cut[0] != cut[1] and all(len(name) == 30 for name in cut)
    assert short_name("a\nb") == "a b" and len(short_name("x" * 10**5, 9)) == 9


def test_align_and_number():
    table = align(["name", "n"], [["a", "1"], ["longer", "200"]], left=[0])
    assert table.splitlines() == ["name      n", "a         1", "longer  200"]
    assert align(["only"], []) == "only"
    for value in (None, "", "x", float("inf"), float("nan"), 10**400, [1]):
        assert np.isnan(number(value))
    assert number("1.5") == 1.5 and number(np.float32(2)) == 2 and number(torch.tensor(3)) == 3
