"""Active learning from files to curves: the job, its pool, and a person who answers."""

import csv
import json
import math
import runpy
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import warm_processes
from torch import nn

from bert_kit import learn_actively
from bert_kit.active import ACQUISITIONS, random
from bert_kit.cli import main
from bert_kit.errors import BertKitError, ConfigError
from bert_kit.evaluation import multilabel_metrics
from bert_kit.files import read_json
from bert_kit.jobs.active import campaigns as campaigns_job
from bert_kit.jobs.active.options import PRESETS, options_for
from bert_kit.jobs.active.pool import SomeRows
from bert_kit.jobs.active.report import compare_curves, format_comparison
from bert_kit.jobs.active.rows import ActiveRows
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import Predictor
from tiny_campaigns import content
from tiny_jobs import table, tiny_bert, write_table
from warm_processes import ROOT

ROWS = 90
QUICK = {"max_length": 24, "device": "cpu", "precision": "float32", "pass_precision": "float32",
         "threads": 1, "verbosity": 0, "plots": False, "num_epochs": 1, "min_steps": 2,
         "batch_size": 16, "learning_rate": 1e-3, "val_size": 0.1, "test_size": 0.2}
SMALL = {"rounds": 2, "initial": 12, "batch": 6, "passes": 3, "stop_rows": 20}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a table with classes, one with labels, one with texts only, and a BERT."""
    folder = tmp_path_factory.mktemp("files")
    texts, classes = table(ROWS)
    for name, column, cells in (
            ("one.csv", "category", classes), ("none.csv", "other", classes),
            ("many.csv", "labels", ["|".join(filter(None, [c if i % 5 else "", "odd" * (i % 2)]))
                                    for i, c in enumerate(classes)])):
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", column])
            writer.writerows(zip(texts, cells))
    return {**{path.stem: path for path in folder.iterdir()}, "bert": tiny_bert(folder / "bert")}


def settings(files, tmp_path, task="classification", **changes):
    data = files["many" if task == "multi_label" else "one"]
    return {"data_path": data, "model_path": files["bert"], "task": task,
            "output_dir": tmp_path / "out", **QUICK, **SMALL, "seeds": (0,), **changes}


def rows_of(files, tmp_path, task="classification", **changes):
    given = settings(files, tmp_path, task, **changes)
    data, model = given.pop("data_path"), given.pop("model_path")
    options = options_for(task).from_names({"data_file": data, "model": model, **given})
    return ActiveRows(task_named(task), options, torch.device("cpu"))


def campaigns(folder):
    """The bytes of all campaigns: what holds no times and no paths."""
    return {name: data for name, data in content(folder).items()
            if "-seed-" in name or name in ("curves.csv", "split.json")}


@pytest.mark.parametrize("task, metric", [
    ("classification", "f1_macro"),
    pytest.param("multi_label", "f1_micro", marks=pytest.mark.slow)])
def test_all_methods_side_by_side(files, tmp_path, task, metric):
    results = learn_actively(**settings(files, tmp_path, task, acquisition=tuple(ACQUISITIONS),
                                        seeds=(3,), rounds=1, plots=True))
    found = results["scores"][metric]
    assert found["labels"] == [12, 18] and {*found["methods"]} == {*ACQUISITIONS}
    assert {*results["seconds_per_1000_rows"]} == {*ACQUISITIONS}
    assert len(found["differences"]) == 9 * 8 / 2
    asked = set()
    for name in ACQUISITIONS:
        last = read_json(tmp_path / "out" / f"{name}-seed-3" / "round-001" / "round.json")
        asked.add(tuple(last["rows"][12:]))
        assert len({*last["rows"]}) == 18 and last["metrics"][metric] == \
            found["methods"][name]["curves"][0][1]
    assert len(asked) >= 6  # the methods differ
    whole = read_json(tmp_path / "out" / "all-data-seed-3" / "round-000" / "round.json")
    assert len(whole["rows"]) == results["pool"] and \
        whole["metrics"][metric] == found["all_data"]["mean"]
    assert (tmp_path / "out" / f"learning_curves_{metric}.png").stat().st_size > 10_000
    again = Predictor.load(tmp_path / "out" / "beal-seed-3" / "round-001" / "model", "cpu")
    assert len(again.predict(["the red thing"])) == 1
    if task == "multi_label":
        halves = results["scores"]["f1_micro_at_half"]["methods"]["beal"]["curves"][0]
        assert halves == [read_json(tmp_path / "out" / "beal-seed-3" / f"round-00{i}" /
                                    "round.json")["metrics"]["f1_micro_at_half"] for i in (0, 1)]


@pytest.mark.parametrize("task", ["classification", "multi_label"])
def test_killed_and_resumed_is_unbroken(files, tmp_path, task, monkeypatch):
    given = settings(files, tmp_path, task, acquisition=("beal", "badge"), warm_start=True)
    learn_actively(**given)
    learn_actively(**{**given, "output_dir": tmp_path / "again"})
    unbroken = campaigns(tmp_path / "out")
    assert campaigns(tmp_path / "again") == unbroken  # same seed, same bytes
    fits, kills = [], (0, 2, 5)
    fit = ActiveRows.fit

    def dies(self, *rest):
        fits.append(rest)
        if len(fits) - 1 in kills:
            raise KeyboardInterrupt
        return fit(self, *rest)

    monkeypatch.setattr(ActiveRows, "fit", dies)
    broken = {**given, "output_dir": tmp_path / "broken"}
    for _ in kills:
        with pytest.raises(KeyboardInterrupt):
            learn_actively(**broken)
        broken["resume"] = "auto"
    learn_actively(**broken)
    assert campaigns(tmp_path / "broken") == unbroken
    assert len(fits) == 1 + 2 * 3 + len(kills)  # nothing was trained twice


def test_a_time_limit_ends_a_job_between_two_rounds(files, tmp_path, monkeypatch):
    given = settings(files, tmp_path, acquisition=("margin", "random"), seeds=(0, 1))
    learn_actively(**given)
    unbroken = campaigns(tmp_path / "out")
    clock = iter(range(1000))
    monkeypatch.setattr(campaigns_job, "time", SimpleNamespace(
        monotonic=lambda: next(clock), perf_counter=time.perf_counter))
    given |= {"output_dir": tmp_path / "cut", "time_limit": 8.0}
    cut = learn_actively(**given)  # of the first seed, in the middle of the second method
    assert "time limit of 8 s" in cut["ended"] and "--resume auto" in cut["ended"]
    methods = cut["scores"]["f1_macro"]["methods"]
    assert [len(methods[name]["curves"]) for name in ("margin", "random")] == [1, 1]
    assert not (tmp_path / "cut" / "all-data-seed-1").exists()
    given |= {"time_limit": 1.0, "resume": "auto"}  # before any seed: nothing to compare
    assert learn_actively(**given | {"output_dir": tmp_path / "none"})["scores"] == {}
    assert not (tmp_path / "none" / "results.json").exists()
    del given["time_limit"]
    assert learn_actively(**given)["ended"] is None
    assert campaigns(tmp_path / "cut") == unbroken


def test_what_a_kill_left_between_two_files_is_no_hindrance(files, tmp_path):
    given = settings(files, tmp_path, acquisition=("random",), all_data=False, rounds=1,
                     resume="auto")
    (tmp_path / "out").mkdir()
    for name in (".split.json.abcd1234.bert_kit_new", ".manifest.json.abcd1234.bert_kit_new"):
        (tmp_path / "out" / name).write_text("{")
    learn_actively(**given)
    (tmp_path / "out" / ".results.json.abcd1234.bert_kit_new").write_text("{")
    learn_actively(**given)
    assert not list((tmp_path / "out").glob(".*"))


def test_methods_of_one_seed_share_the_first_training(files, tmp_path, monkeypatch):
    fits, fit = [], ActiveRows.fit
    monkeypatch.setattr(ActiveRows, "fit", lambda self, rows, labels, seed, start: (
        fits.append((len(rows), seed)), fit(self, rows, labels, seed, start))[1])
    given = settings(files, tmp_path, acquisition=("entropy", "random"), seeds=(0, 1), rounds=1,
                     all_data=False)
    learn_actively(**given)
    assert [count for count, _ in fits] == [12, 18, 18] * 2 and len({*fits}) == 4
    alone = {**given, "acquisition": ("random",), "output_dir": tmp_path / "alone"}
    learn_actively(**alone)
    both, alone = campaigns(tmp_path / "out"), campaigns(tmp_path / "alone")
    assert {name for name in alone if "-seed-" in name} < {*both}
    assert all(both[name] == alone[name] for name in alone if "-seed-" in name)


def test_thresholds_are_not_chosen_by_the_rows_that_are_scored(files, tmp_path):
    """Without test rows the validation rows are scored; at .5 then, the thresholds flatter."""
    rows = rows_of(files, tmp_path, "multi_label", val_size=0.4, test_size=0)
    model = rows.fit([0, 5, 9, 30], [[0], [], [1, 2], [3]], 7, None)
    assert model.config.extra["thresholds"] != 0.5
    labels = rows.others["validation"].labels
    probabilities = rows.make_pool(model, range(4), [], 1).task.probabilities(
        Predictor(model, rows.tokenizer).answers(rows.others["validation"]))
    scores = rows.evaluate(model)
    assert scores["f1_micro"] == pytest.approx(multilabel_metrics(probabilities, labels, 0.5)[
        "f1_micro"]) and "f1_micro_at_half" not in scores


def test_more_methods_and_rounds_join(files, tmp_path):
    given = settings(files, tmp_path, acquisition=("random",), all_data=False)
    learn_actively(**{**given, "rounds": 1})
    with pytest.raises(ConfigError, match="resume"):
        learn_actively(**given)
    with pytest.raises(ConfigError, match="batch was 6 and is now 7"):
        learn_actively(**{**given, "batch": 7, "resume": "auto"})
    results = learn_actively(**{**given, "acquisition": ("random", "entropy"), "extra_epochs": 2,
                                "resume": "auto"})
    found = results["scores"]["f1_macro"]
    assert found["labels"] == [12, 18, 24] and found["all_data"] is None
    folder = tmp_path / "out" / "entropy-seed-0" / "extra-2-after-002"
    assert "f1_macro" in read_json(folder / "metrics.json")
    fresh = learn_actively(**{**given, "output_dir": tmp_path / "fresh"})
    assert fresh["scores"]["f1_macro"]["methods"]["random"] == found["methods"]["random"]


def test_a_method_of_ones_own_and_rules(files, tmp_path):
    def first(pool, count, rng):
        return np.arange(count)

    results = learn_actively(**settings(files, tmp_path, acquisition=("first",), all_data=False,
                                        budget=20),
                             acquisitions={"first": first, "random": random})
    assert results["scores"]["accuracy"]["labels"] == [12, 18, 20]
    last = read_json(tmp_path / "out" / "first-seed-0" / "round-001" / "round.json")["rows"]
    assert last[12:] == [row for row in range(ROWS) if row not in last[:12]][:6]


def test_pool_agrees_with_the_predictor(files, tmp_path):
    rows = rows_of(files, tmp_path, "multi_label", passes=4)
    model = rows.fit([0, 5, 9, 30], [[0], [], [1, 2], [3]], 7, None)
    asked = [40, 3, 17, 2, 8]
    pool = rows.make_pool(model, asked, [0, 5], seed=1)
    expected = Predictor(model, rows.tokenizer).probabilities([rows.texts[row] for row in asked])
    np.testing.assert_allclose(pool.probabilities(), expected, atol=1e-6)
    layer = [m for m in model.classifier.modules() if isinstance(m, nn.Linear)][-1]
    logits = pool.embeddings() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-5)
    assert pool.labelled_embeddings().shape == (2, 24) and len(pool) == 5

    state = torch.get_rng_state()
    first, second = list(pool.passes()), list(pool.passes())
    assert len(first) == 4 and all(np.array_equal(a, b) for a, b in zip(first, second))
    assert all(abs(a - b).max() > 1e-4 for a, b in zip(first, first[1:]))
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    other = next(iter(rows.make_pool(model, asked, [], seed=2).passes()))
    assert abs(other - first[0]).max() > 1e-4


def test_windows_have_no_single_vector(files, tmp_path):
    def longest(pool, count, rng):
        return np.argsort(-np.linalg.norm(pool.embeddings(), axis=1))[:count]

    with pytest.raises(ConfigError, match="windows"):
        learn_actively(**settings(files, tmp_path, stride=3, max_length=8, all_data=False,
                                  acquisition=("longest",)), acquisitions={"longest": longest})


def test_passes_are_draws_of_a_model_with_dropout(files, tmp_path):
    """Their mean over many is that of a plain loop over a model in training mode."""
    rows = rows_of(files, tmp_path, passes=150)
    model = rows.fit([0, 5, 9, 30], [0, 1, 2, 0], 7, None)
    pool = rows.make_pool(model, [4, 11], [], 3)
    fast = np.stack(list(pool.passes()))
    items = [rows.dataset[row] for row in (4, 11)]
    plain = []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for _ in range(150):
            model.train()
            plain.append([model(torch.tensor(item["input_ids"])[None]).softmax(1)[0].tolist()
                          for item in items])
    model.eval()
    plain, spread = np.array(plain), fast.std(axis=0)
    assert (abs(fast.mean(0) - plain.mean(0)) < 5 * spread * math.sqrt(2 / 150)).all()
    np.testing.assert_allclose(spread, plain.std(axis=0), rtol=0.3)


def test_rows_view_is_not_a_copy(files, tmp_path):
    rows = rows_of(files, tmp_path)
    view = SomeRows(rows.dataset, [7, 2], [2, 1])
    assert len(view) == 2 and view.lengths.tolist() == rows.dataset.lengths[[7, 2]].tolist()
    item = view[(5, 1)]
    assert item["labels"] == 1
    assert item["input_ids"].tolist() == rows.dataset[2]["input_ids"].tolist()


@pytest.mark.parametrize("task", ["classification", "multi_label"])
def test_a_person_with_a_spreadsheet(files, tmp_path, task):
    """Answered as the file knows them, the rows are those of the simulated campaign."""
    given = settings(files, tmp_path, task, acquisition=("entropy",), all_data=False)
    learn_actively(**given)
    known = rows_of(files, tmp_path, task)
    given |= {"output_dir": tmp_path / "person", "oracle": "csv"}
    to_label = tmp_path / "person" / "to_label.csv"
    for turn in range(4):
        done = learn_actively(**given)
        given["resume"] = "auto"
        if not done["waiting"]:
            break
        with open(to_label, newline="", encoding="utf-8") as file:
            cells = list(csv.DictReader(file))
        assert {cell["labels"] for cell in cells} == {"?"}
        assert [known.texts[int(cell["row"])] for cell in cells] == [c["text"] for c in cells]
        with open(to_label, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["row", "labels", "text"])
            writer.writeheader()
            for cell in cells:
                label = known.truth[int(cell["row"])]
                names = [known.classes[n] for n in (label if task == "multi_label" else [label])]
                writer.writerow({**cell, "labels": "|".join(names)})
    assert turn == 3 and done["labels"] == 24
    simulated, person = (content(tmp_path / name / "entropy-seed-0") for name in (
        "out", "person"))
    assert simulated == person
    with open(tmp_path / "person" / "labelled.jsonl", encoding="utf-8") as file:
        assert len([json.loads(line) for line in file]) == 24
    assert main(["train", "--data_file", str(tmp_path / "person" / "labelled.jsonl"), "--task",
                 task, "--model", str(files["bert"]), "--output_dir", str(tmp_path / "trained"),
                 "--max_length", "24", "--max_steps", "1", "--no_cuda", "--verbosity", "0",
                 "--plots", "false", "--baselines", "false"]) == 0


def test_the_batch_goes_to_the_tool_that_is_named(files, tmp_path, capsys):
    """What the tool makes of it, and the rounds after: tests/jobs/test_tool_files.py."""
    given = settings(files, tmp_path, verbosity=1)
    for oracle, name in (("label_studio", "to_label.json"), ("doccano", "to_label.jsonl")):
        done = learn_actively(**given | {"oracle": oracle, "resume": "auto"})
        path = tmp_path / "out" / name
        assert done["waiting"] and not done["answered"]
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if (
            oracle == "doccano") else [task["data"] for task in read_json(path, list)]
        assert [row["row"] for row in rows] == read_json(
            tmp_path / "out" / "beal-seed-0" / "state.json")["queried"]
        assert f"import {path} into" in capsys.readouterr().out


def test_labelled_rows_and_a_pool(files, tmp_path):
    given = settings(files, tmp_path, oracle="csv", pool_file=files["none"], rounds=1)
    given.pop("seeds")
    done = learn_actively(**given)
    rows = rows_of(files, tmp_path, oracle="csv", pool_file=files["none"])
    labelled = len(rows.known)
    assert done["waiting"] == 6 and done["labels"] == labelled and len(done["history"]) == 1
    state = read_json(tmp_path / "out" / "beal-seed-0" / "state.json")
    assert min(state["queried"]) >= labelled and "f1_macro" in done["history"][0]["metrics"]


def test_a_campaign_that_was_begun_goes_on_though_it_asked_for_the_whole_pool(files, tmp_path):
    given = settings(files, tmp_path, oracle="csv")
    learn_actively(**given)
    manifest = tmp_path / "out" / "manifest.json"
    written = read_json(manifest)
    written["settings"]["initial"] = 500  # which an older version let pass
    written["settings"]["label_smoothing"] = 0.0  # until 0.2 the options of all tasks stood there
    written["settings"]["asymmetric"] = False
    del written["settings"]["eval_steps"], written["settings"]["save_steps"]
    manifest.write_text(json.dumps(written))
    assert learn_actively(**given | {"initial": 500, "resume": "auto"})["waiting"]


@pytest.mark.parametrize("changes, words", [
    ({"acquisition": ("beal", "magic")}, "magic"),
    ({"acquisition": ("beal", "beal")}, "twice"),
    ({"task": "regression"}, "regression"),
    ({"stride": 4, "acquisition": ("badge",)}, "stride"),
    ({"oracle": "csv", "seeds": (0, 1)}, "one campaign"),
    ({"pool_file": "pool.csv"}, "pool_file"),
    ({"task": "tagging"}, "no method for tagging"),
    ({"time_limit": 0.0}, "time_limit"), ({"baselines": False}, "baselines has no meaning"),
    ({"eval_steps": 5}, "eval_steps"), ({"save_steps": 5}, "save_steps"),
    ({"min_delta": 0.1}, "changes nothing without early_stopping"),
    ({"seeds": ()}, "seeds"),
    ({"initial": 0}, "initial"), ({"initial": 500}, "initial is 500; the pool has [0-9]+ rows"),
    ({"kappa": 2.0}, "kappa"),
    ({"preset": "slow"}, "preset")])
def test_what_does_not_go_together_is_found_first(files, tmp_path, changes, words):
    with pytest.raises(BertKitError, match=words) as found:
        learn_actively(**settings(files, tmp_path, **changes))
    assert "\n" not in str(found.value) and not (tmp_path / "out").exists()


def test_options_are_those_of_the_task(capsys):
    shown = {}
    for task in ("classification", "multi_label"):
        with pytest.raises(SystemExit):
            main(["active", "--task", task, "--help"])
        shown[task] = capsys.readouterr().out
        assert "--acquisition" in shown[task] and "when to stop asking" in shown[task]
    assert "--label_smoothing" in shown["classification"] and \
        "--asymmetric" not in shown["classification"]
    assert "--asymmetric" in shown["multi_label"] and \
        "--label_smoothing" not in shown["multi_label"]
    assert main(["active", "--task", "answering"]) == 1
    assert "no method for answering" in capsys.readouterr().err


def test_presets_fill_what_is_left_open():
    kind = options_for("classification")
    paper = kind(preset="paper", rounds=3)
    assert (paper.rounds, paper.initial, paper.batch, paper.passes) == (3, 500, 500, 100)
    assert paper.max_length == 512 and len(paper.seeds) == 5
    assert kind().passes == PRESETS["fast"]["passes"]
    assert kind(oracle="ask", seed=4).seeds == (4,)


def test_the_example_with_a_method_of_its_own(tmp_path):
    write_table(tmp_path / "rows.csv", 300)
    done = warm_processes.run(
        ROOT / "examples" / "active_learning.py", "--data_file", "rows.csv", "--rows", "140",
        "--rounds", "1", "--seeds", "0", "--min_steps", "1", "--acquisition", "disagreement",
        "random", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_json(tmp_path / "runs" / "active" / "results.json")["scores"]["accuracy"]
    assert found["labels"] == [100, 140] and {*found["methods"]} == {"disagreement", "random"}
    assert "disagreement - random" in done.stdout and "highest mean accuracy" in done.stdout


def test_the_example_begins_with_weights(files, tmp_path):
    example = runpy.run_path(str(ROOT / "examples" / "active_learning.py"))
    write_table(tmp_path / "rows.csv", 200)
    results = example["main"](example["parse_arguments"]([
        "--data_file", str(tmp_path / "rows.csv"), "--weights", str(files["bert"]), "--rounds", "0",
        "--seeds", "0", "--min_steps", "1", "--acquisition", "random", "--output_dir",
        str(tmp_path / "out")]))
    assert results["model"] == str(files["bert"])


def test_comparison_of_curves():
    def history(*scores):
        return [{"rows": range(10 * (i + 1)), "metrics": {"f1": score}}
                for i, score in enumerate(scores)]

    goal = [history(0.8), history(0.8)]
    found = compare_curves({"a": [history(0.4, 0.8), history(0.6, 0.8, 0.9)],
                            "b": [history(0.2, 0.6), history(0.4, 0.4)]}, goal, "f1", 100)
    assert found["labels"] == [10, 20]  # the rounds that all have
    assert found["methods"]["a"]["share"]["100%"] == pytest.approx(0.2)
    assert found["methods"]["b"]["share"] == {"95%": None, "98%": None, "100%": None}
    assert found["differences"][0]["mean"] == pytest.approx((0.2 + 0.3) / 2)
    text = format_comparison(found, "f1")
    assert "better in 2 of 2" in text and "20.0%" in text
    alike = compare_curves({name: [history(0.5), history(0.7)] for name in "ab"}, None, "f1", 100)
    assert "+0.0000  (no interval: the same in every seed)" in format_comparison(alike, "f1")
    assert compare_curves({"a": [history(0.4)]}, None, "accuracy", 9) is None
    assert campaigns_job._score_text(None) == "-"
    found = compare_curves({"a": [history(0.4)], "b": [history(0.6)]}, None, "f1", 100)
    text = format_comparison(found, "f1")
    assert "one seed" in text and "1 seeds" not in text
