"""Jobs with any number of labels a text, and with long texts, from file to folder and back."""

import csv
import importlib.util
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics

from bert_kit import (BertConfig, BertClassifier, BERTForMultiLabel, Predictor,
                      TextClassificationTrainer, get_tokenizer, load_pretrained, save_pretrained,
                      train_classifier)
from bert_kit.cli import main
from bert_kit.data import LabelList, read_table
from bert_kit.errors import BertKitError, ConfigError
from bert_kit.evaluation import expected_calibration_error, fit_thresholds
from bert_kit.files import read_json
from bert_kit.jobs.tasks.calibration import calibration_keys, read_calibration
from bert_kit.jobs.tasks.table import task_named
from bert_kit.model import CLASSIFIERS
from bert_kit.training import multi_label_loss, positive_weights, prior_logits
from tiny_jobs import WORDS, tiny_bert

QUICK = {"num_epochs": 1, "batch_size": 8, "learning_rate": 5e-3, "max_length": 24,
         "device": "cpu", "precision": "float32", "plots": False, "baselines": False,
         "verbosity": 0}
SHARES = {"val_size": 0.2, "test_size": 0.2, "train_size": 0.6}
CLASSES = ("cold", "green", "warm")


def write_rows(path, count=120, columns=False, filler=6, seed=0):
    """Texts with a word for each of their labels: none of them, or one, two or three."""
    rng = random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *(CLASSES if columns else ["labels"])])
        for i in range(count):
            names = [name for name in CLASSES if rng.random() < 0.4]
            words = [rng.choice(["the", "a", "thing", "of", "old"])
                     for _ in range(rng.randint(1, filler))]
            words += [rng.choice(WORDS[name][:2]) for name in names]
            rng.shuffle(words)
            cells = [int(name in names) for name in CLASSES] if columns else ["|".join(names)]
            writer.writerow([" ".join(words) + f" {i}", *cells])
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(rows, BERT folder), made once."""
    folder = tmp_path_factory.mktemp("files")
    return write_rows(folder / "rows.csv"), tiny_bert(folder / "bert")


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """(results, folder) of one finished run."""
    folder = tmp_path_factory.mktemp("run")
    rows = write_rows(folder / "rows.csv", 320)
    return train_classifier("cnn", files[1], rows, task="multi_label", output_dir=folder / "out",
                            head_learning_rate=5e-3, **SHARES,
                            **{**QUICK, "num_epochs": 6, "plots": True, "baselines": True}
                            ), folder / "out"


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def indicator(column):
    return np.array([[name in cell.split("|") for name in CLASSES] for cell in column])


def test_a_run_learns_and_its_numbers_are_sklearns(run):
    results, folder = run
    test = results["test"]
    rows = read_rows(folder / "test_predictions.csv")
    truth, told = (indicator([row[key] for row in rows]) for key in ("labels", "prediction"))
    assert len(rows) == 64 and results["classes"] == list(CLASSES)
    for average in ("micro", "macro"):
        want = metrics.f1_score(truth, told, average=average, zero_division=0)
        assert test[f"f1_{average}"] == pytest.approx(want)
    assert test["f1_micro"] > 0.9
    assert test["f1_micro"] > results["baselines"]["commonest label"]["f1_micro"]
    assert {"f1_micro", "f1_macro", "jaccard"} == set(
        results["baselines"]["TF-IDF + logistic regression"])
    probabilities = np.array([[float(row[f"probability_{name}"]) for name in CLASSES]
                              for row in rows])
    assert test["calibration_error"] == pytest.approx(
        expected_calibration_error(probabilities, truth), abs=1e-4)
    at_half = test["thresholds"]["0.5"]["f1_micro"]
    assert at_half == pytest.approx(metrics.f1_score(truth, probabilities >= 0.5, average="micro"))
    assert read_json(folder / "results.json")["test"]["f1_micro"] == test["f1_micro"]
    assert f"{test['f1_micro']:.4f}" in (folder / "README.md").read_text()


def test_thresholds_come_from_the_validation_rows_and_stay_with_the_model(run, files, tmp_path):
    results, folder = run
    job = TextClassificationTrainer(files[1], task="multi_label", output_dir=None, max_length=24,
                                    data_file=folder.parent / "rows.csv", **SHARES)
    validation = job.prepare_data()["validation"]
    predictor = Predictor.load(folder, "cpu")
    assert isinstance(predictor.model, BERTForMultiLabel)
    chosen = fit_thresholds(predictor.answers(validation).sigmoid(), validation.labels)
    config = BertConfig.load(folder)
    assert config.extra["thresholds"] == pytest.approx(chosen)
    assert config.extra["problem_type"] == "multi_label_classification"
    assert results["test"]["thresholds"]["one for all"]["chosen"] == pytest.approx(chosen)
    rows = read_rows(folder / "test_predictions.csv")
    told = predictor.predict([row["text"] for row in rows])
    assert ["|".join(names) for names in told] == [row["prediction"] for row in rows]
    assert {len(names) for names in told} >= {0, 1, 2}
    probabilities = predictor.probabilities(["the red blue"])[0] >= chosen
    assert predictor.predict(["the red blue"]) == [
        tuple(name for name, holds in zip(CLASSES, probabilities) if holds)]


def test_calibration_and_pictures(run):
    results, folder = run
    fitted = results["calibration"]
    assert set(fitted["test"]) == {"before", "temperature", "scale and shift"}
    assert len(fitted["scale"]) == len(fitted["shift"]) == 3 and fitted["temperature"] > 0
    assert fitted["test"]["before"]["calibration_error"] == pytest.approx(
        results["test"]["calibration_error"])
    assert len(read_rows(folder / "thresholds.csv")) == 19
    pytest.importorskip("matplotlib")
    assert {p.name for p in folder.glob("*.png")} == {
        "learning_curves.png", "confidence.png", "reliability.png", "thresholds.png",
        "validation_confidence.png"}


def test_calibrated_probabilities_and_the_same_labels(run, tmp_path):
    results, folder = run
    fitted, config = results["calibration"], BertConfig.load(folder)
    assert config.extra["calibration"] == {name: fitted[name] for name in ("scale", "shift")}
    texts = [row["text"] for row in read_rows(folder / "test_predictions.csv")]
    plain, scaled = (Predictor.load(folder, "cpu", calibrated=flag) for flag in (False, True))
    wanted = np.array(fitted["scale"]) * plain.logits(texts).numpy() + fitted["shift"]
    np.testing.assert_allclose(scaled.probabilities(texts), 1 / (1 + np.exp(-wanted)))
    assert plain.predict(texts) == scaled.predict(texts)
    assert main(["evaluate", "--model", str(folder), "--device", "cpu", "--no_plots",
                 "--verbosity", "0", "--calibrated", "--output_dir", str(tmp_path / "e")]) == 0
    told = read_json(tmp_path / "e" / "evaluation.json")
    assert told["f1_macro"] == results["test"]["f1_macro"]
    assert told["calibration_error"] == pytest.approx(
        fitted["test"]["scale and shift"]["calibration_error"])
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, flag in zip(files, ([], ["--calibrated"])):
        assert main(["predict", "--model", str(folder), "--device", "cpu", "--output_file",
                     str(path), *flag, "--text", *texts]) == 0
    before, after = map(read_rows, files)
    assert [row["prediction"] for row in before] == [row["prediction"] for row in after]
    assert before != after
    # Going on from the model, it is another one.
    job = TextClassificationTrainer(folder, task="multi_label", output_dir=None, **QUICK,
                                    data_file=folder.parent / "rows.csv", classifier="cnn")
    job.setup_trainer(job.prepare_data())
    assert not job.model.config.extra.keys() & {"calibration", "thresholds"}


def test_a_scale_that_turns_the_order_round_is_not_kept():
    fitted = {"temperature": 2.0, "scale": [1.0, -0.1], "shift": [0.0, 1.0]}
    assert calibration_keys(fitted) == {"calibration": {"scale": 0.5, "shift": 0.0}}
    fitted["scale"][1] = 0.1
    assert calibration_keys(fitted) == {"calibration": {"scale": [1.0, 0.1], "shift": [0.0, 1.0]}}


@pytest.mark.parametrize("value, words", [
    (None, "holds no calibration; expected a model"), ("x", "calibration is .x."),
    ({"scale": 1}, "is {"),
    ({"scale": [1, 1], "shift": [0, 0]}, "of all logits or of each"),
    ({"scale": -1, "shift": 0}, "expected a scale above 0"),
    ({"scale": float("nan"), "shift": 0}, "expected a scale"), ([], "is \\[\\]")])
def test_damaged_calibrations_are_one_line(value, words):
    with pytest.raises(ConfigError, match=words):
        read_calibration(BertConfig(labels=CLASSES, extra={"calibration": value}))


def test_thresholds_move_with_the_logits():
    task = task_named("multi_label")
    for thresholds in (0.2, 0.0, 1.0, [0.1, 0.5, 0.9], None):
        extra = {} if thresholds is None else {"thresholds": thresholds}
        config = BertConfig(labels=CLASSES, extra=extra)
        logits = torch.linspace(-6, 6, 30).double().reshape(10, 3)
        scale, shift = np.array([0.3, 1.0, 4.0]), np.array([-2.0, 0.0, 1.0])
        moved = task.scaled(config, scale, shift)
        assert task.names(logits * torch.tensor(scale) + torch.tensor(shift), moved) == (
            task.names(logits, config))


def test_evaluate_and_predict_know_the_task(run, files, tmp_path, capsys):
    results, folder = run
    assert main(["evaluate", "--model", str(folder), "--device", "cpu", "--no_plots"]) == 0
    stored = read_json(folder / "evaluation" / "evaluation.json")
    assert stored["f1_micro"] == results["test"]["f1_micro"] and stored["rows"] == 64
    out = capsys.readouterr().out
    assert f"{stored['jaccard']:.4f}" in out and "labels/row" in out
    other = write_rows(tmp_path / "columns.csv", 30, columns=True, seed=5)
    assert main(["evaluate", "--model", str(folder), "--device", "cpu", "--data_file", str(other),
                 "--label_column", *CLASSES, "--no_plots", "--verbosity", "0"]) == 0
    assert read_json(folder / "evaluation" / "evaluation.json")["f1_micro"] > 0.8
    assert main(["evaluate", "--model", str(folder), "--other", str(folder)]) == 1
    (tmp_path / "bad.csv").write_text("text,labels\nthe fire,warm|hot\n")
    assert main(["evaluate", "--model", str(folder), "--data_file",
                 str(tmp_path / "bad.csv")]) == 1
    err = capsys.readouterr().err
    assert "McNemar" in err and "bad.csv line 2: 'hot' is not a label of the model" in err
    assert main(["predict", "--model", str(folder), "--device", "cpu", "--data_file",
                 str(files[0]), "--output_file", str(tmp_path / "told.csv")]) == 0
    table = read_table(tmp_path / "told.csv", label_column=LabelList("prediction"))
    assert table.texts == read_table(files[0], label_column=None).texts
    assert set(table.classes) > {(), ("warm",)}


def test_columns_of_zero_and_one_are_the_same_rows(files, tmp_path):
    columns = write_rows(tmp_path / "columns.csv", columns=True)
    options = {**QUICK, "task": "multi_label", "output_dir": None, "baselines": False}
    results = [train_classifier("mlp", files[1], files[0], **options),
               train_classifier("mlp", files[1], columns, label_column=CLASSES, **options)]
    assert results[0]["test"] == results[1]["test"]


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_a_new_head_starts_from_the_labels_shares_and_a_trained_one_goes_on(head, files, tmp_path):
    options = {**QUICK, "task": "multi_label", "data_file": files[0], "output_dir": None,
               "classifier": head}
    job = TextClassificationTrainer(files[1], **options)
    datasets = job.prepare_data()
    job.setup_trainer(datasets)
    prior = prior_logits(datasets["train"].labels)
    last = [layer for layer in job.model.classifier.modules()
            if isinstance(layer, torch.nn.Linear)][-1]
    assert torch.equal(last.bias, prior)
    with torch.no_grad():
        last.bias.fill_(3)
    job.save_model(tmp_path)
    again = TextClassificationTrainer(tmp_path, **options)
    again.setup_trainer(again.prepare_data())
    own = again.model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in job.model.state_dict().items())


def test_a_head_that_is_kept_keeps_its_bias(files, tmp_path):
    """From elsewhere, with the labels in another order."""
    model = load_pretrained(BERTForMultiLabel, files[1], labels=CLASSES[::-1],
                            report=lambda line: None)
    with torch.no_grad():
        model.classifier.output.bias.copy_(torch.tensor([3.0, 2, 1]))
    save_pretrained(model, tmp_path, get_tokenizer(files[1]))
    for labels, stays in ((CLASSES, True), (("cold", "green", "hot"), False)):
        rows = tmp_path / f"{stays}.csv"
        rows.write_text(files[0].read_text().replace("warm", labels[2]))
        job = TextClassificationTrainer(tmp_path, **QUICK, task="multi_label", data_file=rows,
                                        output_dir=None)
        datasets = job.prepare_data()
        job.setup_trainer(datasets)
        wanted = torch.tensor([1.0, 2, 3]) if stays else prior_logits(datasets["train"].labels)
        assert torch.equal(job.model.classifier.output.bias, wanted)


@pytest.mark.parametrize("options, loss", [
    ({}, lambda labels: multi_label_loss()),
    ({"focal_gamma": 2.0}, lambda labels: multi_label_loss(None, 2, 2)),
    ({"asymmetric": True}, lambda labels: multi_label_loss(None, 0, 4, 0.05)),
    ({"class_weight": "balanced"},
     lambda labels: multi_label_loss(positive_weights(labels).clamp(max=10)))])
def test_losses(options, loss, files):
    job = TextClassificationTrainer(files[1], data_file=files[0], task="multi_label",
                                    output_dir=None, **QUICK, **options)
    datasets = job.prepare_data()
    job.setup_trainer(datasets)
    job.model.eval()
    batch = next(iter(job.trainer.train_loader))
    want = loss(datasets["train"].labels)(job.model, batch)
    assert torch.equal(job.trainer.loss(job.model, batch), want)


def test_macro_f1_chooses_a_threshold_a_label(files, tmp_path):
    train_classifier("standard", files[1], files[0], task="multi_label", metric="f1_macro",
                     output_dir=tmp_path, **QUICK)
    assert len(BertConfig.load(tmp_path).extra["thresholds"]) == 3


def test_thresholds_are_swept_on_validation_rows_only(files, tmp_path):
    train_classifier("standard", files[1], files[0], task="multi_label", val_size=0, test_size=0.2,
                     train_size=0.8, output_dir=tmp_path / "run", **QUICK)
    assert (tmp_path / "run" / "results.json").is_file()
    assert not (tmp_path / "run" / "thresholds.csv").exists()


def test_long_texts_are_read_in_windows(files, tmp_path):
    """The telling words may stand anywhere in texts of up to 60 words; rows have 24 tokens."""
    rows = write_rows(tmp_path / "long.csv", 60, filler=60)
    results = train_classifier("standard", files[1], rows, task="multi_label", stride=11,
                               window_pooling="max", output_dir=tmp_path / "run", **QUICK)
    config = BertConfig.load(tmp_path / "run")
    assert (config.window_stride, config.window_pooling) == (11, "max")
    predictor = Predictor.load(tmp_path / "run", "cpu")
    text = "old " * 50
    assert not np.allclose(predictor.probabilities([text + "fire"]),
                           predictor.probabilities([text + "snow"]), atol=1e-6)
    told = read_rows(tmp_path / "run" / "test_predictions.csv")
    assert ["|".join(names) for names in predictor.predict([row["text"] for row in told])] == [
        row["prediction"] for row in told] and results["rows"]["test"] == len(told)


@pytest.mark.parametrize("options, words", [
    ({"metric": "accuracy"}, "metric is 'accuracy'; expected one of f1_micro, f1_macro"),
    ({"label_smoothing": 0.1}, "unknown option 'label_smoothing'"),
    ({"asymmetric": True, "focal_gamma": 1.0}, "expected one of them"),
    ({"stride": 23}, "stride is 23"), ({"stride": 4, "text_column": ["text", "labels"],
                                        "label_column": "x"}, "no column 'x'"),
    ({"task": "regression", "data_file": None}, "regression needs rows"),
    ({"task": "classification", "asymmetric": True}, "unknown option 'asymmetric'"),
    ({"task": "regression", "label_column": ["a", "b"]}, "expected one for regression"),
    ({"task": "ranking"}, "expected one of classification, multi_label, regression"),
    ({"text_column": ["a", "b", "c"]}, "names 3 columns")])
def test_what_does_not_go_together_is_one_line(options, words, files, tmp_path):
    with pytest.raises(BertKitError, match=words):
        train_classifier(**{**QUICK, "model": files[1], "data_file": files[0],
                            "task": "multi_label", "output_dir": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_texts_in_memory_have_one_class():
    with pytest.raises(ConfigError, match="task has no meaning for texts in memory"):
        BertClassifier(settings={"task": "multi_label"}).fit(["a", "b"], [0, 1])


def test_damaged_thresholds_are_one_line(run, tmp_path):
    config = BertConfig.load(run[1])
    for value, words in (("high", "thresholds are 'high'"), ([0.5], "or one a label"),
                         (2, "are 2;")):
        predictor = Predictor.load(run[1], "cpu")
        predictor.model.config = config.replace(extra={**config.extra, "thresholds": value})
        with pytest.raises(BertKitError, match=words):
            predictor.predict(["fire"])


@pytest.mark.slow
def test_example(files, tmp_path, monkeypatch, capsys):
    path = Path(__file__).resolve().parents[2] / "examples" / "multi_label.py"
    spec = importlib.util.spec_from_file_location("multi_label_example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setitem(example.PRESETS, "fast", {"num_epochs": 1, "max_length": 24})
    start = ["--model", str(files[1]), "--data_file", str(files[0]), "--output_dir",
             str(tmp_path / "results")]
    first = example.main(example.parse_arguments(start))
    again = example.main(example.parse_arguments([*start, "--warm_start", "--extra_epochs", "2"]))
    assert again["steps"] == 2 * first["steps"] and again["model"] == first["output_dir"]
    statistics = json.loads((tmp_path / "results" / "statistics.json").read_text())
    assert statistics["test"]["f1_micro"] == again["test"]["f1_micro"]
    assert (tmp_path / "results" / "visualizations").is_dir()
    with pytest.raises(BertKitError, match="give --warm_start too"):
        example.main(example.parse_arguments([*start, "--extra_epochs", "2"]))
    assert "(no label)" in (out := capsys.readouterr().out) or "I am so tired" in out
