"""Pictures: what they hold, odd input without a warning, and what happens without matplotlib.

How they look was judged by eye; here the drawn texts and bars are compared with the numbers.
"""

import contextlib
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.evaluation import (PlotsMissing, compute_confusion_matrix, plot_bands,
                                 plot_comparison, plot_confidence_histogram, plot_confusion_matrix,
                                 plot_learning_curves, plot_reliability, plot_threshold_sweep,
                                 require_plots, threshold_sweep)

ROOT = Path(__file__).resolve().parents[2]
ODD_NAMES = ["$x_1$", "a\\b", "new\nline", "100%", "$", "", "Ελληνικά", "数据", "x" * 500,
             "\x1b[31m", "a & <b>", "half \ud83d", "العربية", "{0}", "_", "'", "--><",
             "$\\oops{$"]  # an error where it is read as a formula
LOG = [{"step": 5, "epoch": 0.5, "loss": 1.5, "learning_rate": 5e-5, "grad_norm": 2.0},
       {"step": 10, "epoch": 1.0, "loss": 0.75, "learning_rate": 1e-5, "grad_norm": 1.0},
       {"step": 10, "epoch": 1.0, "eval_loss": 1.25, "eval_accuracy": 0.5, "eval_f1_macro": 0.4,
        "eval_matthews_correlation": 0.25, "eval_precision": 0.3},
       {"step": 20, "epoch": 2.0, "eval_loss": 1.5, "eval_accuracy": 0.75, "eval_f1_macro": 0.625,
        "eval_matthews_correlation": 0.5, "eval_precision": 0.3}]


def _drawings():
    return {"curves": (plot_learning_curves, LOG),
            "comparison": (plot_comparison, [{"classifier": "cnn", "accuracy": 0.5}]),
            "confusion": (plot_confusion_matrix, [[3, 1], [0, 2]], ["ham", "spam"]),
            "confidence": (plot_confidence_histogram, [[0.75, 0.25]], [0]),
            "labels": (plot_confidence_histogram, [[0.75, 0.5]], [[1, 0]]),
            "reliability": (plot_reliability, {"before": ([[0.75, 0.25]], [0])}),
            "sweep": (plot_threshold_sweep, threshold_sweep([[0.75, 0.5]], [[1, 0]]))}


def _titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.parametrize("name, suffix, start", [
    *((name, "png", b"\x89PNG") for name in _drawings()), ("curves", "svg", b"<?xml"),
    ("confusion", "pdf", b"%PDF"), ("sweep", "PNG", b"\x89PNG")])
def test_files_of_each_kind(tmp_path, name, suffix, start):
    pytest.importorskip("matplotlib")
    plot, *values = _drawings()[name]
    for folder in ("a", "b"):
        plot(*values, tmp_path / folder / f"picture.{suffix}")
    first, second = ((tmp_path / folder / f"picture.{suffix}").read_bytes() for folder in "ab")
    assert first.startswith(start) and len(first) > 1_000
    assert first == second and b"CreationDate" not in first  # same numbers, same file
    assert len(list(tmp_path.rglob("*"))) == 4  # and nothing else is left behind


@pytest.mark.parametrize("name", _drawings())
def test_another_ending_is_refused(tmp_path, name):
    plot, *values = _drawings()[name]
    for path, found in (("x.jpg", "'.jpg'"), ("picture", "'nothing'")):
        with pytest.raises(ConfigError, match=f"{found}; expected one of .png, .svg, .pdf"):
            plot(*values, tmp_path / path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", _drawings())
def test_without_matplotlib(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot, *values = _drawings()[name]
    for call in (require_plots, lambda: plot(*values, tmp_path / "x.png")):
        with pytest.raises(PlotsMissing, match=r"pip install 'bert_kit\[plots\]'") as caught:
            call()
        assert isinstance(caught.value, BertKitError) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_error_while_drawing_leaves_the_old_file(tmp_path):
    pytest.importorskip("matplotlib")
    from bert_kit.figures import saved_figure
    (tmp_path / "x.png").write_text("old")
    with contextlib.suppress(ZeroDivisionError), saved_figure(tmp_path / "x.png", 2, 2):
        1 / 0
    assert (tmp_path / "x.png").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_pyplot_stays_out():
    pytest.importorskip("matplotlib")
    code = ("import sys, tempfile, bert_kit.evaluation as e\n"
            "assert 'matplotlib' not in sys.modules\n"
            "with tempfile.TemporaryDirectory() as folder:\n"
            "    e.plot_confusion_matrix([[1]], ['a'], folder + '/x.png')\n"
            "print('matplotlib.pyplot' in sys.modules)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                          text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


def test_learning_curves_hold_the_log(tmp_path, figures):
    plot_learning_curves(LOG, tmp_path / "x.svg")
    assert _titles(figures[0]) == ["Loss: best 1.25 at step 10", "Accuracy: best 0.75 at step 20",
                                   "Macro F1: best 0.625 at step 20",
                                   "Matthews correlation: best 0.5 at step 20"]
    loss, accuracy = (axes.get_lines() for axes in figures[0].axes[:2])
    lines = {line.get_label(): line.get_xydata().tolist() for line in loss}
    assert lines == {"training": [[5, 1.5], [10, 0.75]], "evaluation": [[10, 1.25], [20, 1.5]]}
    assert [line.get_xydata().tolist() for line in accuracy] == [[[10, 0.5], [20, 0.75]]]


@pytest.mark.parametrize("mark", [1, "1"])  # as logged, and as read from metrics.csv
def test_an_evaluation_at_a_time_limit_is_not_drawn(tmp_path, figures, mark):
    extra = {"step": 12, "eval_loss": 0.1, "eval_accuracy": 1.0, "extra": mark}
    plot_learning_curves([*({**row, "extra": ""} for row in LOG), extra], tmp_path / "x.svg")
    assert _titles(figures[0])[:2] == ["Loss: best 1.25 at step 10", "Accuracy: best 0.75 at step "
                                       "20"]


def test_other_logs_fill_the_panels(tmp_path, figures):
    plot_learning_curves(LOG[:2], tmp_path / "x.png")
    assert _titles(figures[-1]) == ["Loss", "Learning rate", "Gradient norm"]
    plot_learning_curves([{"step": 1, "loss": 2, "learning_rate": 0},
                          {"step": 1, "eval_loss": 3, "eval_masked_accuracy": 0.1}],
                         tmp_path / "x.png")
    assert _titles(figures[-1]) == ["Loss: best 3 at step 1", "Masked accuracy", "Learning rate"]


def test_curves_leave_out_what_is_no_number(tmp_path, figures):
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": None}, {"step": 3, "loss": float("nan")},
            {"loss": 9}, {"step": "4", "loss": "1.5", "eval_accuracy": ""}, {},
            {"step": 5, "loss": float("inf"), "eval_$\\oops{$": 1, "eval_accuracy": None}]
    plot_learning_curves(rows, tmp_path / "x.png")
    assert _titles(figures[0]) == ["Loss", "$\\oops{$"]
    assert figures[0].axes[0].get_lines()[0].get_xydata().tolist() == [[1, 3], [4, 1.5]]


def test_rates_of_several_groups_share_a_panel(tmp_path, figures):
    rows = [{"step": step, "learning_rate": 2e-5 * step, "head_learning_rate": 1e-3 * step}
            for step in (0, 1, 2)]
    plot_learning_curves([{**row, "muon_learning_rate": 0.02} for row in rows], tmp_path / "x.png")
    plot_learning_curves([{**row, "head_learning_rate": ""} for row in rows], tmp_path / "x.png")
    plot_learning_curves([{**row, "head_learning_rate": row["learning_rate"] * 3} for row in rows],
                         tmp_path / "x.png")
    several, one, near = (figure.axes[0] for figure in figures)
    assert [axes.get_title(loc="left") for axes in (several, one, near)] == ["Learning rate"] * 3
    lines = {line.get_label(): line.get_ydata() for line in several.get_lines()}
    assert {name: list(line) for name, line in lines.items()} == {
        "encoder": [0, 2e-5, 4e-5], "head": [0, 1e-3, 2e-3], "matrices (Muon)": [0.02] * 3}
    assert len({line.get_color() for line in several.get_lines()}) == 3
    assert [line.get_label() for line in one.get_lines()] == ["training"]
    # The encoder's rate would lie on the axis; what is near each other is drawn as it is.
    assert [axes.get_yscale() for axes in (several, one, near)] == ["log", "linear", "linear"]


def test_titles_do_not_run_into_one_another(tmp_path, figures):
    plot_learning_curves([{"step": 1, "eval_loss": 1, f"eval_{'very_' * 20}long": 1, "eval_x": 2}],
                         tmp_path / "x.png")
    for axes in figures[0].axes:
        room = axes.bbox.width * 1.1  # and the margin up to the next axes
        assert axes._left_title.get_window_extent().width <= room


def inside(axes):
    """Whether a legend of axes, or of their figure, touches the axes' inner part."""
    legend = axes.get_legend() or axes.figure.legends[0]
    return axes.bbox.overlaps(legend.get_window_extent())


def test_long_or_many_names_stand_below_the_curves(tmp_path, figures):
    name = "a method with a name of sixty characters that differs at its end"
    bands = {f"{name} {i}": ([1, 2, 3], [0.5, 0.6, 0.7], [0.1, 0.1, 0.1]) for i in range(12)}
    plot_bands(bands, tmp_path / "x.png", "macro F1")
    plot_bands({"random": bands[f"{name} 0"]}, tmp_path / "x.png", "macro F1")
    pair = [[0.75, 0.25]], [0]
    plot_reliability({f"{name} {i}": pair for i in range(4)}, tmp_path / "x.png")
    many, few, reliability = (figure.axes[0] for figure in figures)
    assert not inside(many) and inside(few) and not inside(reliability)
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle())
             for line in many.get_lines()}
    assert len(looks) == 12 and many.bbox.height > 150 and reliability.bbox.width > 150
    for figure in figures:
        legend = figure.axes[0].get_legend() or figure.legends[0]
        assert legend.get_window_extent().width < 1.1 * figure.bbox.width


def test_bands_of_little(tmp_path, figures):
    plot_bands({"gap": ([1, 2, 3], [0.5, np.nan, 0.7], [0.1, np.nan, 0.1])}, tmp_path / "x.png",
               "macro F1")
    plot_bands({"point": ([100], [0.5], [0.125])}, tmp_path / "x.png", "macro F1")
    plot_bands({"no spread": ([1, 2], [0.5, 0.6], [np.nan] * 2)}, tmp_path / "x.png", "macro F1")
    line, = figures[0].axes[0].get_lines()
    assert line.get_xydata().tolist() == [[1, 0.5], [3, 0.7]]
    band = figures[0].axes[0].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0.4, pytest.approx(0.8))
    bar, = [each for each in figures[1].axes[0].collections if len(each.get_paths()) == 1
            and len(each.get_paths()[0].vertices) == 2]
    assert bar.get_paths()[0].vertices[:, 1].tolist() == [0.375, 0.625]


def test_a_score_without_a_lower_end(tmp_path, figures):
    rows = [{"classifier": "a", "r2": -512.5}, {"classifier": "b", "r2": 0.5}]
    plot_comparison(rows, tmp_path / "x.png", {"r2": "R²"})
    axes = figures[0].axes[0]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert 2 <= len(boxes) < 10
    assert all(first.x1 < second.x0 for first, second in zip(boxes, boxes[1:]))
    bar = next(text for text in axes.texts if text.get_text() == "0.500")
    assert bar.get_window_extent().x1 <= axes.bbox.x1 + 1


def test_names_that_are_alike_once_cut_have_numbers(tmp_path, figures):
    names = [f"the beginning of a name {middle} and the end of a name" for middle in "abc"]
    plot_confusion_matrix(np.eye(4, dtype=int), [*names, "other"], tmp_path / "x.png")
    shown = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert len({*shown}) == 4 and shown[3] == "other" and max(map(len, shown)) <= 30
    assert [label[-3:] for label in shown[:3]] == ["(0)", "(1)", "(2)"]


@pytest.mark.parametrize("log", [[], [{}], [{"step": 1}], [{"loss": 1}],
                                 [{"step": 1, "loss": None}], [{"step": 1, "epoch": 2}]])
def test_an_empty_history_is_a_clear_error(tmp_path, log):
    with pytest.raises(DataError, match=f"a log of {len(log)} rows has nothing to draw"):
        plot_learning_curves(log, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_comparison_holds_the_rows(tmp_path, figures):
    rows = [{"classifier": "cnn", "accuracy": 0.5, "f1_macro": 0.25, "matthews_correlation": -0.5,
             "seconds": 3},
            {"classifier": "bilstm", "accuracy": 1.0, "f1_macro": 0.75, "seconds": None},
            {"classifier": "lost", "f1_macro": float("nan")}]
    plot_comparison(rows, tmp_path / "x.svg")
    scores, time = figures[0].axes
    assert [label.get_text() for label in scores.get_yticklabels()] == ["cnn", "bilstm", "lost"]
    widths = [bar.get_width() for bar in scores.patches]
    assert widths == [0.5, 1, 0, 0.25, 0.75, 0, -0.5, 0, 0]
    texts = [text.get_text() for text in scores.texts]
    assert texts == ["0.500", "1.000", "missing", "0.250", "0.750", "missing", "-0.500", "missing",
                     "missing"]
    assert [text.get_text() for text in time.texts] == ["3", "missing", "missing"]
    assert scores.get_xlim()[0] < -0.5 and scores.get_xlim()[1] > 1


def test_comparison_draws_the_intervals_it_is_given(tmp_path, figures):
    rows = [{"classifier": "a", "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.625},
            {"classifier": "b", "accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": None},
            {"classifier": "c", "accuracy_low": 0.1, "accuracy_high": 0.2, "f1_macro": 0.25},
            {"classifier": "d", "accuracy": "0.5", "accuracy_low": "0.25", "accuracy_high": "1"}]
    plot_comparison(rows, tmp_path / "x.png")
    axes = figures[0].axes[0]
    lines = [line.get_xydata() for line in axes.get_lines()]
    assert [line[:, 0].tolist() for line in lines] == [[0.4, 0.625], [0.25, 1]]
    bars = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    np.testing.assert_allclose([line[:, 1] for line in lines], [[bars[0]] * 2, [bars[3]] * 2])
    assert [text.xy[0] for text in axes.texts[:4]] == [0.625, 0.75, 0, 1]  # beside the line


def test_seconds_are_written_out(tmp_path, figures):
    for seconds, texts in (([0.123, 9.94, 9.96, 10.4], ["0.12", "9.9", "10", "10"]),
                           ([99.6, 42.3, 0.0, 5], ["100", "42", "0", "5"]),
                           ([12_345.6, 3.25], ["12,346", "3.2"])):
        plot_comparison([{"classifier": str(i), "accuracy": 1, "seconds": value}
                         for i, value in enumerate(seconds)], tmp_path / "x.png")
        assert [text.get_text() for text in figures[-1].axes[1].texts] == texts


def test_comparison_of_little(tmp_path, figures):
    plot_comparison([{"classifier": "one", "accuracy": 0.0}], tmp_path / "x.png")
    assert len(figures[0].axes) == 1
    plot_comparison([{"classifier": 7, "accuracy": 1, "seconds": 0}], tmp_path / "x.png")
    plot_comparison([{"classifier": name, "f1_macro": 0.5} for name in ODD_NAMES],
                    tmp_path / "x.png")
    for rows in ([], [{"classifier": "a"}], [{"classifier": "a", "accuracy": None}]):
        with pytest.raises(DataError, match="rows without a score; expected accuracy, f1_macro"):
            plot_comparison(rows, tmp_path / "x.png")
    with pytest.raises(DataError, match="row 1 has accuracy; expected 'classifier' too"):
        plot_comparison([{"classifier": "a"}, {"accuracy": 1}], tmp_path / "x.png")


def test_confusion_matrix_holds_the_counts(tmp_path, figures):
    plot_confusion_matrix([[3, 1, 0], [0, 0, 0], [0, 2, 2]], ["a", "b", "c"], tmp_path / "x.png")
    axes = figures[0].axes[0]
    assert _titles(figures[0])[0] == "8 rows, 62.5% right"
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "3", (1, 0): "1", (1, 2): "2", (2, 2): "2"}  # (predicted, true)
    shares = axes.get_images()[0].get_array()
    assert shares[0].tolist() == [75, 25, 0] and shares[1].tolist() == [None] * 3
    assert shares[2].tolist() == [0, 50, 50]


@pytest.mark.parametrize("classes", [1, 20, 21, 150])
def test_confusion_matrices_of_any_size(tmp_path, figures, classes):
    labels = np.arange(5 * classes) % classes
    confusion = compute_confusion_matrix(labels, labels, classes)
    plot_confusion_matrix(confusion, [f"a_long_name_of_class_{i}" for i in range(classes)],
                          tmp_path / "x.png")
    axes = figures[0].axes[0]
    assert len(axes.texts) == (classes if classes <= 20 else 0)
    assert len(axes.get_xticks()) == (classes if classes <= 100 else 75)


def test_labels_do_not_overlap(tmp_path, figures):
    for classes in (7, 77):
        names = [f"class_{'x' * (i % 25)}_{i}" for i in range(classes)]
        plot_confusion_matrix(np.eye(classes, dtype=int), names, tmp_path / "x.png")
        axes = figures[-1].axes[0]
        for labels, low, high in ((axes.get_xticklabels(), "x0", "x1"),
                                  (axes.get_yticklabels(), "y1", "y0")):
            boxes = [label.get_window_extent() for label in labels]
            ends = sorted((min(getattr(box, low), getattr(box, high)),
                           max(getattr(box, low), getattr(box, high))) for box in boxes)
            assert all(first[1] <= second[0] + 0.5 for first, second in zip(ends, ends[1:]))


def test_odd_names_are_drawn_as_they_stand(tmp_path, figures):
    confusion = np.eye(len(ODD_NAMES), dtype=int)
    for suffix in ("png", "svg", "pdf"):
        plot_confusion_matrix(confusion, ODD_NAMES, tmp_path / f"x.{suffix}")
    shown = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert shown[:7] == ["$x_1$", "a\\b", "new line", "100%", "$", "class 5", "Ελληνικά"]
    assert shown[7] in ("数据", "class 7")  # if no font has it
    assert len(shown[8]) == 30 and shown[9:12] == ["[31m", "a & <b>", "half"]
    assert ElementTree.parse(tmp_path / "x.svg").getroot().tag.endswith("svg")  # nothing broke it


def test_confusion_matrices_that_cannot_be_drawn(tmp_path):
    for confusion, names in (([[1, 2]], ["a"]), ([[1]], ["a", "b"]), ([], []), (3, ["a"])):
        with pytest.raises(DataError, match="expected as many rows and columns as names"):
            plot_confusion_matrix(confusion, names, tmp_path / "x.png")
    with pytest.raises(DataError, match="without rows"):
        plot_confusion_matrix([[0, 0], [0, 0]], ["a", "b"], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_confidence_histogram_holds_the_rows(tmp_path, figures):
    probabilities = [[0.9, 0.1]] * 8 + [[0.4, 0.6]] * 2
    labels = [0] * 6 + [1] * 2 + [1, 0]
    plot_confidence_histogram(probabilities, labels, tmp_path / "x.png")
    left, right = figures[0].axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["right (7 rows)",
                                                                           "wrong (3 rows)"]
    heights = [bar.get_height() for bar in left.patches if hasattr(bar, "get_height")]
    assert sum(heights) == pytest.approx(100) and max(heights) == pytest.approx(100 * 6 / 7)
    assert right.get_title(loc="left") == "Calibration error 0.140"  # .8 * .15 + .2 * .1
    np.testing.assert_allclose(right.get_lines()[1].get_xydata(), [[0.6, 0.5], [0.9, 0.75]])


def test_confidence_of_one_class_and_of_one_row(tmp_path, figures):
    plot_confidence_histogram(np.ones((3, 1)), [0, 0, 0], tmp_path / "x.png")
    plot_confidence_histogram([[0.25, 0.75]], [0], tmp_path / "x.png")
    plot_confidence_histogram([[1.004, 0.004]], [0], tmp_path / "x.png")  # rounded to bfloat16
    assert [axes.get_legend().get_texts()[0].get_text() for axes in
            (figure.axes[0] for figure in figures)] == ["right (3 rows)", "wrong (1 rows)",
                                                        "right (1 rows)"]
    with pytest.raises(DataError, match="no probabilities"):
        plot_confidence_histogram(np.ones((0, 2)), [], tmp_path / "x.png")


def test_probabilities_of_labels(tmp_path, figures):
    plot_confidence_histogram([[0.9, 0.1]] * 4, [[1, 0]] * 3 + [[0, 0]], tmp_path / "x.png")
    left, right = figures[0].axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "label holds (3 labels)", "label does not hold (5 labels)"]
    assert _titles(figures[0]) == ["Probability of labels that hold or not",
                                   "Calibration error 0.125"]  # .5 * .15 + .5 * .1
    np.testing.assert_allclose(right.get_lines()[1].get_xydata(), [[0.1, 0], [0.9, 0.75]])


def test_reliability_before_and_after(tmp_path, figures):
    labels = [0, 0, 0, 1]
    plot_reliability({"before": ([[1.0, 0.0]] * 4, labels), "after": ([[0.75, 0.25]] * 4, labels)},
                     tmp_path / "x.svg")
    axes, = figures[0].axes
    lines = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert [[1, 0.75]] in lines and [[0.75, 0.75]] in lines
    names = {text.get_text() for text in axes.get_legend().get_texts()}
    assert names == {"calibrated", "before: error 0.250", "after: error 0.000"}
    for models in ({}, {str(i): ([[1.0]], [0]) for i in range(5)}):
        with pytest.raises(DataError, match="sets of probabilities; expected 1 to 4"):
            plot_reliability(models, tmp_path / "x.svg")


def test_sweep_holds_its_rows(tmp_path, figures):
    rows = threshold_sweep([[0.9, 0.6], [0.3, 0.7]], [[1, 0], [0, 1]], (0.2, 0.65, 0.95))
    plot_threshold_sweep(rows, tmp_path / "x.png", chosen=0.65)
    left, right = figures[0].axes
    assert _titles(figures[0]) == ["Best micro F1 1.000 at 0.65", "Labels given"]
    curves = {line.get_label(): line.get_xydata()[:, 1].tolist() for line in left.get_lines()}
    assert curves["recall"] == [1, 1, 0] and curves["precision"] == [0.5, 1, 0]
    assert set(curves) == {"micro F1", "macro F1", "precision", "recall", "chosen 0.65"}
    assert right.get_lines()[0].get_xydata().tolist() == [[0.2, 2], [0.65, 1], [0.95, 0]]
    with pytest.raises(DataError, match="no thresholds to draw"):
        plot_threshold_sweep([], tmp_path / "x.png")
