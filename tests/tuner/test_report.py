"""The page on a search: what its tables and pictures hold, odd input, and how large it is.

How the pictures look was judged by eye; here what is drawn is compared with the trials.
"""

import base64
import io
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bert_kit.errors import BertKitError
from bert_kit.tuner.population import PBT, Population
from bert_kit.tuner.pruning import Median
from bert_kit.tuner.report import write_lineage, write_report
from bert_kit.tuner.tpe import Random
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.study import Study

ROOT = Path(__file__).resolve().parents[2]
ODD = ["$x_1$", "a & <b>", "--><script>", "new\nline", "数据", "\x1b[31m", "{0}", "half \ud83d",
       "x" * 500, "", "'\"", "العربية"]
SPACE = (SearchSpace().continuous("$\\oops{$ <i>数", 0.0, 1.0).log_uniform("lr", 1e-5, 1e-1)
         .discrete("layers", 1, 4).categorical("head", ["cnn", None, {"a": [1]}, *ODD])
         .continuous("momentum", 0.0, 0.9, when={"head": "cnn"}))


def objective(trial):
    """Best at lr = .01 and one layer; some trials raise, and the median rule stops others."""
    if trial.params["layers"] == 4 and trial.number % 2:
        raise ValueError("too <deep> & too slow")
    value = (math.log10(trial.params["lr"]) + 2) ** 2 + trial.params["layers"]
    for epoch in range(1, 6):
        if trial.report(epoch, value + 1 / epoch):
            break
    return value + 1 / epoch


def searched(n_trials=90):
    study = Study("a <study> & \x1b $x_1$", SPACE, sampler=Random(), pruner=Median(), seed=1)
    study.optimize(objective, n_trials)
    study.ask()  # still runs
    return study


def read(path):
    """The page as a tree, the cells of its tables by heading, and the titles of its pictures."""
    text = path.read_text("utf-8")
    tree = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    body = list(tree.find("body"))
    titles = [one.text for one, after in zip(body, body[1:]) if after.tag == "div"]
    tables = [[["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
              for table in tree.iter("table")]
    assert "http" not in text and not list(tree.iter("script"))  # it needs nothing beside it
    assert all(image.get("src").startswith("data:image/webp;base64,")
               for image in tree.iter("img"))
    return tree, dict(zip(titles, tables)), [image.get("alt") for image in tree.iter("img")]


def by_label(axes, start):
    """The points of the lines whose label begins so."""
    return np.concatenate([line.get_xydata() for line in axes.lines
                           if line.get_label().startswith(start)] or [np.empty((0, 2))])


def test_the_page_of_a_study(tmp_path):
    image = pytest.importorskip("PIL.Image")
    study = searched()
    page = tmp_path / "new" / "report.html"
    write_report(study, page)
    tree, tables, pictures = read(page)
    assert tree.find(".//h1").text == tree.find(".//title").text == "a <study> & $x_1$"
    header, *rows = tables["Best trials"]
    assert header == ["trial", "state", "value", *(each.name for each in SPACE.parameters)]
    for row, trial in zip(rows, study.top(12), strict=True):
        assert row[:3] == [str(trial.number), trial.state, f"{trial.value:.5g}"]
        assert row[4] == f"{trial.params['lr']:.5g}" and row[5] == str(trial.params["layers"])
        assert (row[7] == "") == ("momentum" not in trial.params)
    shares = next(table for title, table in tables.items() if title.startswith("Importance"))
    assert [row[:2] for row in shares[1:]] == [
        [name, f"{share:.0%}"] for name, share in study.importance().items()]
    statistics = dict(map(tuple, tables["Statistics"]))
    assert statistics["trials"] == "91" and statistics["running"] == "1"
    assert "ValueError: too <deep> & too slow" in statistics["errors"]
    assert [title.split(":")[0] for title in pictures] == [
        "History", "value along each parameter, the most important first", "Parallel coordinates",
        "The two most important parameters", "Learning curves", "Timeline"]
    for each in tree.iter("img"):
        picture = image.open(io.BytesIO(base64.b64decode(each.get("src").partition(",")[2])))
        colors = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert picture.width == 1300 and (colors < 128).any(axis=1).sum() > 100
    before = page.read_bytes()
    write_report(study, page)
    assert page.read_bytes() == before and len(list(page.parent.iterdir())) == 1


def test_what_the_pictures_of_a_study_hold(tmp_path, figures):
    study = searched()
    write_report(study, tmp_path / "report.html")
    history, slices, parallel, contour, curves, timeline = figures
    trials = study.trials
    values = {state: np.array([[trial.number, trial.value] for trial in trials
                               if trial.state == state]) for state in ("complete", "pruned")}
    assert len(values["complete"]) > 10 and len(values["pruned"]) > 10
    axes, = history.axes
    for state in values:
        np.testing.assert_array_equal(by_label(axes, state), values[state])
    failed = [trial.number for trial in trials if trial.state == "failed"]
    assert by_label(axes, "failed")[:, 0].tolist() == failed and len(failed) > 3
    assert by_label(axes, "running")[:, 0].tolist() == [90]
    assert by_label(axes, "best").tolist() == [[study.best.number, study.best.value]]
    best = [min((value for number, value in values["complete"] if number <= i), default=math.nan)
            for i in range(91)]
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), best)

    assert [axes.get_xlabel() for axes in slices.axes] == list(study.importance())
    axes = next(axes for axes in slices.axes if axes.get_xlabel() == "lr")
    lr = np.array([trial.params["lr"] for trial in trials if trial.state == "complete"])
    np.testing.assert_allclose(by_label(axes, "complete")[:, 0], np.log10(lr) / 4 + 1.25)
    np.testing.assert_allclose(axes.get_xticks(), np.arange(5) / 4, atol=1e-12)  # a log scale
    assert [each.get_text() for each in axes.get_xticklabels()] == [
        "1e-05", "0.0001", "0.001", "0.01", "0.1"]
    axes = next(axes for axes in slices.axes if axes.get_xlabel() == "layers")
    layers = [trial.params["layers"] for trial in trials if trial.state == "complete"]
    assert np.round(by_label(axes, "complete")[:, 0] * 4 + 0.5).tolist() == layers

    rest, top = parallel.axes[0].collections
    assert len(rest.get_segments()) == len(values["complete"])
    assert len(top.get_segments()) == math.ceil(len(values["complete"]) / 10)
    lowest, highest = values["complete"][:, 1].min(), values["complete"][:, 1].max()
    ends = [segment[-1, 1] * (highest - lowest) + lowest for segment in top.get_segments()]
    np.testing.assert_allclose(ends, sorted(values["complete"][:, 1])[:len(ends)])

    lines = curves.axes[0].collections[0].get_segments()
    low, high = np.quantile([v for trial in trials for v in trial.reports.values()], (0.25, 0.75))
    fence = high + 3 * (high - low)
    assert [list(map(tuple, line)) for line in lines] == [
        [(step, min(value, fence)) for step, value in trial.reports.items()] for trial in trials]
    assert by_label(curves.axes[0], "pruned").tolist() == [
        [max(trial.reports), min(trial.value, fence)] for trial in trials
        if trial.state == "pruned"]
    cuts = by_label(curves.axes[0], "cuts")
    assert dict(map(tuple, cuts)) == trials[-1].cuts and len(cuts) == 4
    assert len(timeline.axes[0].collections[0].get_segments()) == 91
    axes = contour.axes[0]
    assert [axes.get_xlabel(), axes.get_ylabel()] == list(study.importance())[:2]
    cells = axes.collections[0].get_array()
    assert lowest <= cells.min() < cells.max() <= highest


def test_far_outliers_lie_on_the_edge(tmp_path, figures):
    """Tukey's outer fence of 1, ..., 100 and one diverged trial, either way round."""
    for sign, direction in ((1, "minimize"), (-1, "maximize")):
        study = Study("s", SearchSpace().continuous("x", 0, 1), direction=direction,
                      sampler=Random())
        values = [*range(1, 101), 1e308]
        for value in values:
            study.tell(study.ask(), sign * value)
        write_report(study, tmp_path / "report.html")
        drawn = sign * by_label(figures[0].axes[0], "complete")[:, 1]
        low, high = np.quantile(values, (0.25, 0.75))
        assert drawn.tolist() == [*values[:-1], high + 3 * (high - low)]
        assert read(tmp_path / "report.html")[1]["Best trials"][1][2] == str(sign)
        figures.clear()
    for value in (1e308, -1e308) * 60:  # even where they are no outliers
        study.tell(study.ask(), value)
    write_report(study, tmp_path / "report.html")
    assert np.isfinite(by_label(figures[0].axes[0], "complete")).all()


def test_several_objectives(tmp_path, figures):
    study = Study("s", SPACE.only("lr", "layers"), directions={
        "f1 <": "maximize", "ms": "minimize", "mb": "minimize"})
    study.optimize(lambda trial: {"f1 <": -trial.params["lr"], "ms": trial.params["layers"],
                                  "mb": math.nan if trial.number % 5 == 0 else 2.0}, 40)
    write_report(study, tmp_path / "report.html")
    _, tables, pictures = read(tmp_path / "report.html")
    assert [title.split()[0] for title in pictures] == [
        "History:", "f1", "ms", "mb", "Pareto", "Parallel", "The", "Timeline:"]
    best = study.pareto
    stars = by_label(figures[4].axes[0], "best")
    assert {*map(tuple, stars)} == {(each.value["f1 <"], each.value["ms"]) for each in best}
    first = tables["Best trials"][1]
    trial = study.trials[int(first[0])]
    assert first[2] == ", ".join(f"{name}: {value:.5g}" for name, value in trial.value.items())
    line = figures[0].axes[0].lines[-1].get_ydata()  # what is maximized goes up
    assert line[-1] == max(-each.params["lr"] for each in study.trials if each.value)


def test_little_or_nothing_to_show(tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "report.html"
    study = Study("s", SPACE)
    for _ in range(3):  # without trials, with one that runs, and with one that failed
        write_report(study, page)
        _, tables, pictures = read(page)
        assert not pictures and len(tables["Best trials"]) == 1
        study.tell(study.ask(), error="no")
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), 1.0)
    write_report(study, page)
    assert len(read(page)[2]) >= 4
    apart = (SearchSpace().categorical("head", ["a", "b"]).continuous("x", 0, 1, when={"head": "a"})
             .continuous("y", 0, 1, when={"head": "b"}))
    study = Study("never active together", apart, sampler=Random())
    for _ in range(40):
        trial = study.ask()
        study.tell(trial, (trial.params.get("x", trial.params.get("y")) - 0.5) ** 2)
    write_report(study, page)
    assert len(read(page)[2]) == 5


@pytest.mark.slow
def test_the_page_of_a_thousand_trials_is_small(tmp_path):
    pytest.importorskip("matplotlib")
    space = SearchSpace()
    for i in range(8):
        space = space.log_uniform(f"rate_{i}", 1e-5, 1e-1)
    study = Study("s", space, sampler=Random())
    for _ in range(1000):
        trial = study.ask()
        value = sum(math.log10(rate) for rate in trial.params.values())
        for epoch in range(1, 11):
            trial.report(epoch, value / epoch)
        study.tell(trial, value)
    write_report(study, tmp_path / "report.html")
    assert 100_000 < (tmp_path / "report.html").stat().st_size < 1_000_000


def figure_2(leg):
    """Jaderberg 2017, figure 2; a part of the space fails."""
    if leg.params["h0"] > 0.9:
        raise ValueError("too far")
    place = np.frombuffer(Path(leg.state_in).read_bytes()) if leg.state_in else np.full(2, 0.9)
    for _ in range(5):
        place = place - 0.02 * np.array([leg.params["h0"], leg.params["h1"]]) * place
    Path(leg.state_out).write_bytes(place.tobytes())
    return 1.2 - (place**2).sum()


def test_the_page_of_a_population(tmp_path, figures):
    space = SearchSpace().continuous("h0", 0, 1).log_uniform("h1", 0.01, 1)
    population = PBT(space, 5, exploit=1, seed=2).run(figure_2, 8, tmp_path / "pbt")
    write_lineage(population, tmp_path / "lineage.html")
    _, tables, pictures = read(tmp_path / "lineage.html")
    schedule = population.schedule(population.best)
    header, *rows = tables["What led to the best"]
    assert header == ["generation", "slot", "score", "h0", "h1"] and len(pictures) == 1
    assert [row[0] for row in rows] == [str(generation) for generation, _, _ in schedule]
    assert [row[3] for row in rows] == [f"{params['h0']:.5g}" for _, params, _ in schedule]
    score, h0, h1, diversity = figures[0].axes
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["score", "h0", "h1", "diversity"]
    np.testing.assert_allclose(h0.lines[0].get_xydata(), [
        [generation, params["h0"]] for generation, params, _ in schedule])
    assert score.lines[0].get_ydata()[-1] == population.best.score
    copies = [row for row in population.lineage if row.generation and row.parent != row.slot]
    dots, kept, arrows = h0.collections
    assert len(dots.get_offsets()) == 40 and len(kept.get_segments()) == 35 - len(copies)
    found = {(row.generation, row.slot): row for row in population.lineage}
    np.testing.assert_allclose(arrows.XY, [
        [row.generation - 1, found[row.generation - 1, row.parent].params["h0"]] for row in copies])
    np.testing.assert_allclose(arrows.V, [
        row.params["h0"] - found[row.generation - 1, row.parent].params["h0"] for row in copies])
    np.testing.assert_allclose(diversity.lines[0].get_ydata(), population.diversity)
    write_lineage(population, tmp_path / "lineage.html", "f1_macro")
    assert figures[1].axes[0].get_ylabel() == "f1_macro" and touching(figures, 0.35) == []
    assert read(tmp_path / "lineage.html")[1]["What led to the best"][0][2] == "f1_macro"
    write_lineage(Population(space, True), tmp_path / "lineage.html")  # before the first generation
    assert not read(tmp_path / "lineage.html")[2]


AWKWARD = (SearchSpace().log_uniform("learning_rate", 1e-6, 1e-1)
           .log_uniform("weight_decay", 1e-12, 1e2).log_uniform("head_rate", 1.1e-5, 1.9e-5)
           .categorical("head", [f"a_very_long_name_of_a_head_{kind}" for kind in (
               "cnn", "bilstm", "attention", "standard", "mlp", "fourier_kan", "wavelet_kan")])
           .continuous("dropout", 0.0, 0.0003, when={"head": "a_very_long_name_of_a_head_cnn"})
           .continuous("narrow", 0.1, 0.1000001).discrete("batch_size", 8, 4096, 8)
           .categorical("word", [f"word {i}" for i in range(40)]))


def touching(figures, letter=0.0):
    """Return the labels of ticks that overprint another one of their axis.

    Where they are is matplotlib's answer; a label is at least `letter` of its height wide for
    each of its letters.
    """
    found = []
    for axes in (axes for figure in figures for axes in figure.axes):
        for side, labels in enumerate((axes.get_xticklabels(), axes.get_yticklabels())):
            spans = []
            for label in labels:
                box, text = label.get_window_extent(), label.get_text()
                low, high = box.get_points()[:, side]
                wide = letter * min(box.width, box.height) * len(text)
                if side == 0 and label.get_rotation() == 0 and wide > high - low:
                    low, high = (low + high - wide) / 2, (low + high + wide) / 2
                start, end = axes.bbox.get_points()[:, side]
                if text and low < end and high > start and label.get_rotation() % 90 == 0:
                    spans.append((low, high, text))
            spans.sort()
            found += [(one[2], other[2]) for one, other in zip(spans, spans[1:])
                      if one[1] > other[0]]
    return found


FEW = AWKWARD.only("learning_rate", "batch_size")


def awkward(n_trials, several=False, direction="minimize", space=FEW):
    directions = {"f1_macro": "maximize", "milliseconds a row": "minimize"}
    study = Study("s", space, sampler=Random(), seed=2,
                  directions=directions if several else {"f1_macro": direction})
    for number in range(n_trials):
        trial = study.ask()
        value = 0.8255 + 1e-6 * math.log10(trial.params["learning_rate"])
        for step in (1, 2):
            trial.report(100_000 * step, value - 1e-5 / step)
        study.tell(trial, {"f1_macro": value, "milliseconds a row": 1e-5 * value}
                   if several else value)
    return study


@pytest.mark.parametrize("n_trials, several", [(1, False), (40, True), *(
    pytest.param(*pair, marks=pytest.mark.slow) for pair in (
        (1, True), (3, False), (3, True), (40, False)))])
def test_no_two_labels_of_an_axis_overprint(n_trials, several, tmp_path, figures):
    write_report(awkward(n_trials, several, space=AWKWARD), tmp_path / "report.html")
    assert touching(figures, letter=0.35) == []
    slices = next(figure for figure in figures if len(figure.axes) == 8)
    words = next(axes for axes in slices.axes if axes.get_xlabel() == "head").get_xticklabels()
    assert len({word.get_text() for word in words}) == 7  # told apart, though they are cut
    for axes in slices.axes:
        labels = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
        assert len({*labels}) == len(labels) >= 2, axes.get_xlabel()


def test_an_axis_of_counts_has_whole_numbers(tmp_path, figures):
    write_report(awkward(1), tmp_path / "report.html")
    axes = figures[0].axes[0]
    low, high = axes.get_xlim()
    assert [label.get_text() for label in axes.get_xticklabels()
            if low <= label.get_position()[0] <= high] == ["0"]


def test_the_name_of_the_metric_stands_on_every_axis_of_values(tmp_path, figures):
    write_report(awkward(30, direction="maximize"), tmp_path / "report.html")
    _, tables, pictures = read(tmp_path / "report.html")
    assert tables["Best trials"][0][2] == "f1_macro"
    history, slices, parallel, contour, curves, _ = figures
    assert {axes.get_ylabel() for axes in (*history.axes, *slices.axes, *curves.axes)} == {
        "f1_macro"}
    assert parallel.axes[0].get_xticklabels()[-1].get_text() == "f1_macro"
    assert contour.axes[-1].get_ylabel() == "f1_macro"
    assert not any("value" in title for title in pictures)


def test_importances_of_too_few_trials_are_not_shown(tmp_path):
    pytest.importorskip("matplotlib")
    title = "Importance: what sets the best tenth apart from all (PED-ANOVA)"
    write_report(awkward(20), tmp_path / "report.html")
    tree, tables, pictures = read(tmp_path / "report.html")
    assert "important" not in "".join(pictures)
    assert [each.text for each in tree.iter("p")] == ["too few trials to say (20 of 21 needed)"]
    assert "0%" not in "".join(tree.find("body").itertext())
    write_report(awkward(21), tmp_path / "report.html")
    tree, tables, pictures = read(tmp_path / "report.html")
    assert len(tables[title]) == 3 and [each.text[:15] for each in tree.iter("p")] == [
        "Of random draws"]
    study = Study("s", FEW, sampler=Random())
    for _ in range(30):
        study.tell(study.ask(), 0.5)
    write_report(study, tmp_path / "report.html")
    assert "nothing to say: all 30 finished trials have the same value" in (
        tmp_path / "report.html").read_text("utf-8")


def test_the_ends_of_equal_values_are_one(tmp_path, figures):
    study = Study("s", FEW, sampler=Random())
    study.tell(study.ask(), 0.5)
    write_report(study, tmp_path / "report.html")
    parallel = next(figure for figure in figures if figure.axes[0].texts)
    assert [text.get_text() for text in parallel.axes[0].texts].count("0.5") == 1


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for write, search in ((write_report, Study("s", SPACE)),
                          (write_lineage, Population(SPACE, True))):
        with pytest.raises(BertKitError, match=r"pip install 'bert_kit\[plots\]'") as caught:
            write(search, tmp_path / "report.html")
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_matplotlib_comes_late_and_pyplot_never():
    pytest.importorskip("matplotlib")
    code = ("import sys, tempfile\n"
            "from bert_kit.tuner.report import write_report\n"
            "from bert_kit.tuner.study import Study\n"
            "from bert_kit.tuner.space import SearchSpace\n"
            "assert 'matplotlib' not in sys.modules\n"
            "study = Study('s', SearchSpace().continuous('x', 0, 1))\n"
            "study.tell(study.ask(), 1.0)\n"
            "with tempfile.TemporaryDirectory() as folder:\n"
            "    write_report(study, folder + '/report.html')\n"
            "print('matplotlib.pyplot' in sys.modules)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                          text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr
