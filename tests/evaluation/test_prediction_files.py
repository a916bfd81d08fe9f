"""CSV files read back with the csv module, and cells that no spreadsheet runs."""

import csv
import io

import numpy as np
import pytest
import torch

from bert_kit.data import read_table
from bert_kit.errors import DataError
from bert_kit.cells import MARK
from bert_kit.evaluation import (PredictionWriter, class_cells, class_columns, guard_formula,
                                 label_set_cells, number_cells, number_columns, write_predictions,
                                 write_rows)

NASTY = ["plain", "=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx", 'quote " and ,',
         "two\nlines", "carriage\rreturn", "", " spaced ", "'quoted", "数据 🙂", ";=1", "a\r\nb"]


def _read(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.reader(handle, strict=True))


def _probabilities(rows, classes=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


@pytest.mark.parametrize("guard", [True, False])
def test_predictions_come_back(tmp_path, guard):
    probabilities = _probabilities(len(NASTY))
    predictions, names = probabilities.argmax(axis=1), ["ham", "-2", "=spam,"]
    labels = np.arange(len(NASTY)) % 3
    path = tmp_path / "made" / "predictions.csv"
    write_predictions(path, NASTY, predictions, torch.tensor(probabilities), names, labels, guard)
    header, *rows = _read(path)
    assert header == ["text", "category", "prediction", "confidence", "probability_ham",
                      "probability_-2", "probability_=spam,"]
    shown = ["ham", "-2", MARK + "=spam,"] if guard else names
    expected = [guard_formula(text) for text in NASTY] if guard else NASTY
    assert [row[0] for row in rows] == expected
    assert [row[1] for row in rows] == [shown[label] for label in labels]
    assert [row[2] for row in rows] == [shown[prediction] for prediction in predictions]
    numbers = np.array([[float(cell) for cell in row[3:]] for row in rows])
    np.testing.assert_allclose(numbers[:, 1:], probabilities, atol=5.1e-7)
    np.testing.assert_array_equal(numbers[:, 0], numbers[:, 1:].max(axis=1))


def test_guarded_cells():
    changed = [text for text in NASTY if guard_formula(text) != text]
    assert changed == ["=1+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx"]
    assert all(guard_formula(text) == MARK + text for text in changed)
    for safe in (-1, -0.5, None, "-1", "+1.5e-3", "-3.", "a=1", "'=1", "", " =1"):
        assert guard_formula(safe) is safe
    for run in ("-1+1", "--1", "-", "+", "-1 ", "-1\n", "-.", "-١", "-1e", "=", "-1,5"):
        assert guard_formula(run) == MARK + run


def test_no_written_cell_starts_a_formula(tmp_path):
    rows = [{start + "key": start + rest for start in "=+-@\t\r" for rest in ("A1", "(1)", "x")}]
    write_rows(tmp_path / "rows.csv", rows)
    for row in _read(tmp_path / "rows.csv"):
        assert len(row) == 6 and not any(cell[0] in "=+-@\t\r" for cell in row)


def test_without_labels_there_is_no_category(tmp_path):
    write_predictions(tmp_path / "p.csv", ["a"], [1], [[0.25, 0.75]], ["x", "y"])
    assert (tmp_path / "p.csv").read_bytes() == (
        b'"text","prediction","confidence","probability_x","probability_y"\n'
        b'"a","y",0.75,0.25,0.75\n')


def test_the_kit_reads_its_own_predictions_as_labelled_texts(tmp_path):
    texts = [text for text in NASTY if text.strip()]
    write_predictions(tmp_path / "p.csv", texts, [0] * len(texts), [[1.0, 0.0]] * len(texts),
                      ["x", "y"], [1] * len(texts), guard_formulas=False)
    table = read_table(tmp_path / "p.csv")
    assert table.texts == texts and set(table.labels) == {"y"}


def test_chunks_and_one_piece_give_the_same_file(tmp_path):
    texts, probabilities = [f"text {i}" for i in range(23)], _probabilities(23)
    predictions, labels = probabilities.argmax(axis=1), np.zeros(23, int)
    write_predictions(tmp_path / "whole.csv", texts, predictions, probabilities, "abc", labels)
    with PredictionWriter(tmp_path / "chunks.csv", class_columns("abc", True)) as writer:
        for i in range(0, 23, 5):
            part = slice(i, i + 5)
            writer.write(class_cells(texts[part], predictions[part], probabilities[part], "abc",
                                     labels[part]))
            writer.write(class_cells([], [], [], "abc", []))
            assert not (tmp_path / "chunks.csv").exists()
        assert writer.rows == 23
    assert (tmp_path / "chunks.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_no_rows_give_a_header(tmp_path):
    write_predictions(tmp_path / "p.csv", [], [], [], ["x"])
    assert _read(tmp_path / "p.csv") == [["text", "prediction", "confidence", "probability_x"]]


def test_standard_output_gets_rows_as_they_come(capsys):
    import sys
    names = ["x", "y"]
    with PredictionWriter(sys.stdout, class_columns(names)) as writer:
        writer.write(class_cells(["=a"], torch.tensor([0]), torch.tensor([[1.0, 0.0]]), names))
        first = capsys.readouterr().out.splitlines()
        writer.write(class_cells(["b"], [1], [[0.125, 0.875]], names))
    assert first == ['"text","prediction","confidence","probability_x","probability_y"',
                     '"\'\\=a","x",1.0,1.0,0.0']
    assert capsys.readouterr().out == '"b","y",0.875,0.125,0.875\n'
    assert not sys.stdout.closed


def test_a_terminal_obeys_no_text_and_a_pipe_gets_all_of_it():
    pipe, terminal = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True
    for target in (pipe, terminal):
        with PredictionWriter(target, ["text", "p_\x1b[2J"]) as writer:
            writer.write([["\x1b]0;title\x07 \u202eabc", 1], ["two", 2]])
    assert "\x1b[2J" in pipe.getvalue() and "\u202e" in pipe.getvalue()
    assert terminal.getvalue().replace("\n", "").isprintable()
    assert len(terminal.getvalue().splitlines()) == 3 and r"p_\x1b[2J" in terminal.getvalue()


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="out of power"):
        with PredictionWriter(path, class_columns(["x"])) as writer:
            writer.write(class_cells(["a"], [0], [[1.0]], ["x"]))
            raise RuntimeError("out of power")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError):
        write_rows(path, [{"a": [1]}])
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_half_a_surrogate_pair_does_not_lose_the_file(tmp_path):
    write_predictions(tmp_path / "p.csv", ["half \ud83d pair"], [0], [[1.0]], ["x"])
    assert _read(tmp_path / "p.csv")[1][0] == "half \\ud83d pair"


@pytest.mark.parametrize("chunk, message", [
    ((["a"], [2], [[0.5, 0.5]]), "class of row 0 is 2; expected a class from 0 to 1"),
    ((["a"], [-1], [[0.5, 0.5]]), "class of row 0 is -1"),
    ((["a", "b"], [0, 0], [[0.5, 0.5]]), r"2 texts but an array of shape \(1, 2\)"),
    ((["a", "b"], [0], [[0.5, 0.5]] * 2), r"2 texts but an array of shape \(1,\)"),
    ((["a"], [0], [[0.5, 0.25, 0.25]]), r"shape \(1, 3\); expected \(1, 2\)"),
    ((["a"], [0], [[3.0, 0.5]]), "row 0 range from 0.5 to 3 .*softmax"),
    ((["a"], [0.0], [[0.5, 0.5]]), "predictions are float64"),
])
def test_impossible_chunks(chunk, message):
    with pytest.raises(DataError, match=message):
        class_cells(*chunk, ["x", "y"])


def test_impossible_label_sets_and_numbers():
    with pytest.raises(DataError, match=r"1 texts but an array of shape \(1, 2\); expected \(1, 1"):
        label_set_cells(["a"], [[1, 0]], [[0.5]], ["x"])
    with pytest.raises(DataError, match=r"2 texts but an array of shape \(1,\)"):
        number_cells(["a", "b"], [0.5, 1.0], [0.5])


def test_a_row_that_does_not_fit_the_header_is_refused_with_its_chunk(tmp_path):
    """As where the labels are missing that the header names, or are given though it has none."""
    out = io.StringIO()
    with PredictionWriter(out, number_columns()) as writer:
        writer.write(number_cells(["first"], [0.5]))
        before = out.getvalue()
        with pytest.raises(DataError, match="a row of 3 cells for the columns text, prediction"):
            writer.write([*number_cells(["a"], [0.5]), *number_cells(["b"], [0.5], [1.0])])
    assert out.getvalue() == before and writer.rows == 1
    with pytest.raises(DataError, match="a row of 2 cells for the columns text, label, prediction"):
        with PredictionWriter(tmp_path / "p.csv", number_columns(labelled=True)) as writer:
            writer.write(number_cells(["a"], [0.5]))
    assert not list(tmp_path.iterdir())


def test_rows_of_any_numbers(tmp_path):
    rows = [{"classifier": "cnn", "f1": np.float64(0.5), "seconds": 3},
            {"classifier": "=kan", "f1": torch.tensor(0.25), "memory": None},
            {"classifier": None, "f1": float("nan"), "memory": -1.5}]
    write_rows(tmp_path / "rows.csv", rows)
    assert _read(tmp_path / "rows.csv") == [
        ["classifier", "f1", "seconds", "memory"], ["cnn", "0.5", "3", ""],
        [MARK + "=kan", "0.25", "", ""], ["", "", "", "-1.5"]]
    write_rows(tmp_path / "raw.csv", rows, guard_formulas=False)
    assert _read(tmp_path / "raw.csv")[2][0] == "=kan"
    for nothing in ([], [{}]):
        with pytest.raises(DataError, match="no rows to write"):
            write_rows(tmp_path / "none.csv", nothing)
    with pytest.raises(DataError, match="row 1: 'x' is a list; expected text, a number or None"):
        write_rows(tmp_path / "none.csv", [{"x": 1}, {"x": [1, 2]}])
    assert not (tmp_path / "none.csv").exists()
