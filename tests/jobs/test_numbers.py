"""Jobs with pairs of texts, and with a number as label, from file to folder and back."""

import csv
import random

import numpy as np
import pytest
import torch

from bert_kit import BertConfig, Predictor, TextClassificationTrainer, train_classifier
from bert_kit.cli import main
from bert_kit.data import Number, read_table
from bert_kit.errors import ConfigError
from bert_kit.evaluation import spearman_correlation
from bert_kit.files import read_json
from tiny_jobs import WORDS, tiny_bert

QUICK = {"num_epochs": 1, "batch_size": 8, "learning_rate": 5e-3, "max_length": 24,
         "device": "cpu", "precision": "float32", "plots": False, "verbosity": 0}


def write_pairs(path, count=120, numbers=True, seed=0):
    """Pairs whose label is how many of the first text's colours are warm, or if any is."""
    rng = random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text_a", "text_b", "label" if numbers else "category"])
        for i in range(count):
            warm = rng.randint(0, 3)
            words = [rng.choice(WORDS["warm"]) for _ in range(warm)]
            words += [rng.choice(WORDS["cold"]) for _ in range(3 - warm)]
            rng.shuffle(words)
            other = " ".join(rng.choice(["the", "a", "thing", "of"]) for _ in range(i % 5 + 1))
            writer.writerow([" ".join(words), other, f"{warm:.3f}" if numbers else
                             "some" if warm > 1 else "few"])
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(rows, BERT folder), made once."""
    folder = tmp_path_factory.mktemp("files")
    return write_pairs(folder / "rows.csv"), tiny_bert(folder / "bert")


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """(results, folder) of one finished run."""
    folder = tmp_path_factory.mktemp("run") / "out"
    return train_classifier("standard", files[1], files[0], task="regression", output_dir=folder,
                            text_column=["text_a", "text_b"],
                            **{**QUICK, "num_epochs": 14}), folder


def test_a_run_learns_and_its_numbers_agree(run, files):
    results, folder = run
    table = read_table(folder / "test_predictions.csv", ("text_a", "text_b"), Number("label"))
    told = read_table(table.path, ("text_a", "text_b"), Number("prediction")).labels
    test = results["test"]
    assert test["spearman"] > 0.8
    assert spearman_correlation(told, table.labels) == pytest.approx(test["spearman"], abs=1e-3)
    assert np.corrcoef(told, table.labels)[0, 1] == pytest.approx(test["pearson"], abs=1e-4)
    assert np.mean(np.subtract(told, table.labels)**2) == pytest.approx(test["loss"], abs=1e-4)
    baseline = results["baselines"]["mean of the training labels"]
    assert test["loss"] < baseline["loss"] and baseline["spearman"] == 0
    assert "calibration" not in results and results["classes"] == ["label"]
    config = BertConfig.load(folder)
    assert config.extra["problem_type"] == "regression" and config.num_labels == 1
    assert f"{test['spearman']:.4f}" in (folder / "README.md").read_text()


def test_a_new_head_starts_at_the_mean_label(files):
    job = TextClassificationTrainer(files[1], data_file=files[0], task="regression",
                                    text_column=["text_a", "text_b"], output_dir=None, **QUICK)
    datasets = job.prepare_data()
    job.setup_trainer(datasets)
    assert job.model.classifier.output.bias.item() == pytest.approx(datasets["train"].labels.mean())
    first = datasets["train"][0]
    assert set(first["token_type_ids"]) == {0, 1} and isinstance(job.parts.train.texts[0], tuple)


def test_evaluate_and_predict_read_the_columns_of_the_run(run, files, tmp_path, capsys):
    results, folder = run
    assert main(["evaluate", "--model", str(folder), "--device", "cpu"]) == 0
    assert f"{results['test']['spearman']:.4f}" in capsys.readouterr().out
    assert read_json(folder / "evaluation" / "evaluation.json")["pearson"] == (
        results["test"]["pearson"])
    assert main(["evaluate", "--model", str(folder), "--device", "cpu", "--data_file",
                 str(files[0]), "--verbosity", "0"]) == 0
    assert read_json(folder / "evaluation" / "evaluation.json")["rows"] == 120
    out = tmp_path / "told.csv"
    assert main(["predict", "--model", str(folder), "--device", "cpu", "--data_file",
                 str(files[0]), "--output_file", str(out)]) == 0
    told = read_table(out, ("text_a", "text_b"), Number("prediction"))
    pairs = read_table(files[0], ("text_a", "text_b"), None).texts
    predictor = Predictor.load(folder, "cpu")
    assert told.texts == pairs
    np.testing.assert_allclose(predictor.predict(pairs), told.labels, atol=1e-4)
    capsys.readouterr()
    assert main(["predict", "--model", str(folder), "--device", "cpu", "--text", "red fire sun",
                 "--text_b", "the thing"]) == 0
    number = float(capsys.readouterr().out.splitlines()[1].split(",")[-1])
    assert number == pytest.approx(predictor.predict([("red fire sun", "the thing")])[0], abs=1e-4)
    for wrong in (["--text", "a", "b", "--text_b", "c"], ["--text", "a"],
                  ["--text_b", "c", "--data_file", str(files[0])]):
        assert main(["predict", "--model", str(folder), "--device", "cpu", *wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ConfigError, match="no probabilities"):
        predictor.probabilities(pairs)


def test_it_opens_in_transformers_with_the_same_numbers(run, files):
    transformers = pytest.importorskip("transformers")
    _, folder = run
    pairs = read_table(files[0], ("text_a", "text_b"), None).texts[:20]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(*map(list, zip(*pairs)), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**batch).logits
    torch.testing.assert_close(theirs, Predictor.load(folder, "cpu").logits(pairs), atol=1e-5,
                               rtol=0)
    assert model.config.problem_type == "regression"


def test_pairs_with_classes(files, tmp_path, capsys):
    rows = write_pairs(tmp_path / "rows.csv", numbers=False)
    results = train_classifier("standard", files[1], rows, text_column=["text_a", "text_b"],
                               output_dir=tmp_path / "run", **{**QUICK, "num_epochs": 8})
    assert results["test"]["accuracy"] > 0.8 and results["baselines"]
    assert main(["evaluate", "--model", str(tmp_path / "run"), "--device", "cpu", "--data_file",
                 str(rows), "--no_plots"]) == 0
    assert "most confident mistakes" in capsys.readouterr().out or results["test"]["accuracy"] == 1
    told = read_table(tmp_path / "run" / "test_predictions.csv", ("text_a", "text_b"), "category")
    assert told.classes == ["few", "some"]


def test_another_task_forgets_what_the_first_one_stored(run, files, tmp_path):
    rows = write_pairs(tmp_path / "rows.csv", 40, numbers=False)
    train_classifier("standard", run[1], rows, text_column=["text_a", "text_b"],
                     output_dir=tmp_path / "run", baselines=False, **QUICK)
    config = BertConfig.load(tmp_path / "run")
    assert "problem_type" not in config.extra and config.labels == ("few", "some")
