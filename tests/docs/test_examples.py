"""The examples from end to end, as a user runs them, on a small scale."""

import csv
import math
import re
from pathlib import Path

import pytest
import warm_processes

from bert_kit import BertConfig
from bert_kit.data import read_table
from bert_kit.data.samples import docstrings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(folder, cache, name, *arguments, code=0):
    done = warm_processes.run(EXAMPLES / name, *arguments, folder=folder,
                              XDG_CACHE_HOME=str(cache))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def number(pattern, text):
    return float(re.search(pattern, text)[1])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with the docstrings of every sixth source file, for all tests here."""
    folder, every = tmp_path_factory.mktemp("cache"), docstrings._source_files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docstrings, "_source_files", lambda place: list(every(place))[::6])
        docstrings.load_docstrings(folder / "bert_kit")
    return folder


def check_pretraining(out):
    """What pre-training prints at the end: a held-out loss near that of counting, five guesses."""
    assert f"ln V = {math.log(1500):.2f}" in out
    loss = number(r"held-out loss +([\d.]+)", out)
    unigram = number(r"unigram entropy +([\d.]+)", out)
    assert 5 < unigram < 6.5 and unigram - 0.5 < loss < math.log(1500) + 0.1
    assert len(re.findall(r"^ +\d+\.\d%  \S+$", out, re.MULTILINE)) == 5


def test_pretrain_then_classify(tmp_path, cache):
    out = run(tmp_path, cache, "pretrain_mlm.py", "--model", "bert-tiny", "--max_steps", 12,
              "--vocab_size", 1500, "--max_length", 128, "--batch_size", 8, "--nsp")
    check_pretraining(out)
    assert BertConfig.load(tmp_path / "runs" / "pretrained").vocab_size == 1500
    out = run(tmp_path, cache, "train_bert_classification.py", "--weights", "runs/pretrained",
              "--per_class", 8, "--epochs", 1, "--max_length", 32)
    assert "newly initialised" in out and "classifier.filters.0.weight" in out
    scores = {name: number(rf"{re.escape(name)} +([\d.]+)", out)
              for name in ("majority class", "TF-IDF + regression", "BERT")}
    assert 0.2 < scores["majority class"] < 0.45 and scores["TF-IDF + regression"] > 0.3
    assert 0.1 < scores["BERT"] < 1
    assert out.count("really") == 3


def test_from_nothing_but_text(tmp_path, cache):
    """README's first command, in seconds: pre-trained first, and what was done is told."""
    given = ["--model", "bert-tiny", "--pretrain_minutes", 0.02, "--per_class", 8, "--epochs", 1,
             "--max_length", 96, "--classifier", "standard"]
    out = run(tmp_path, cache, "train_bert_classification.py", *given)
    first, second = out.split("== classification")
    assert "== pre-training for 0.02 minutes" in first and "held-out loss" in first
    assert "weights from runs/classifier/pretrained" in second and "\nverdict    " in second
    assert "newly initialised" in second and "classifier.weight" in second and "pooler" in second
    assert BertConfig.load(tmp_path / "runs/classifier/pretrained").hidden_dropout_prob == 0.1


def test_own_csv_resume_and_plain_errors(tmp_path, cache):
    with open(tmp_path / "own.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category"])
        for i in range(60):
            writer.writerow([f"the {'red' if i % 2 else 'blue'} thing number {i}",
                             "warm" if i % 2 else "cold"])
    arguments = ["--data_file", "own.csv", "--model", "bert-tiny", "--epochs", 8,
                 "--learning_rate", 2e-3, "--batch_size", 8, "--output_dir", "runs/mine"]
    out = run(tmp_path, cache, "train_bert_classification.py", *arguments)
    assert "48 rows to train on, 12 to test on, 2 classes" in out
    assert number(r"\nBERT +([\d.]+)", out) == 1
    error = run(tmp_path, cache, "train_bert_classification.py", *arguments, "--data_file",
                "unread", code=1)  # said before any row is read
    assert error.startswith("error: ") and "--resume auto" in error and error.count("\n") == 1
    again = run(tmp_path, cache, "train_bert_classification.py", *arguments, "--resume", "auto")
    assert again.split("three test rows")[1] == out.split("three test rows")[1]
    out = run(tmp_path, cache, "train_bert_classification.py", *arguments, "--test_file", "own.csv",
              "--output_dir", "other", "--epochs", 1)
    assert f"60 rows to train on, {len(read_table(tmp_path / 'own.csv').texts)} to test on" in out
    error = run(tmp_path, cache, "train_bert_classification.py", "--data_file", "none.csv", code=1)
    assert "none.csv" in error and error.count("\n") == 1


def test_tune_by_trials_and_in_a_population(tmp_path, cache):
    with open(tmp_path / "own.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category"])
        for i in range(80):
            writer.writerow([f"the {'red' if i % 2 else 'blue'} thing number {i}",
                             "warm" if i % 2 else "cold"])
    arguments = ["--data_file", "own.csv", "--n_trials", 3, "--epochs", 2, "--population", 2]
    out = run(tmp_path, cache, "tune_classifier.py", *arguments)
    assert len(re.findall(r"^trial \d ", out, re.MULTILINE)) == 3 and "3 complete" in out
    assert out.count("  epoch ") in (1, 2) and len(re.findall(r"member \d", out)) == 4
    assert "importance   " in out
    for name in ("majority class", "defaults", "best_trial", "best_member"):
        assert 0 <= number(rf"\n{name} +([\d.]+)", out) <= 1
    folder = tmp_path / "runs" / "tuning"
    assert {"trials", "population", "best_member"} <= {path.name for path in folder.iterdir()}
    again = run(tmp_path, cache, "tune_classifier.py", *arguments)  # there is nothing left to do
    assert "resumed   3 trials are done" in again and not re.findall(r"member \d", again)
    assert again[again.index("test rows"):] == out[out.index("test rows"):]
    error = run(tmp_path, cache, "tune_classifier.py", *arguments, "--max_length", 32, code=1)
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "--max_length was 64 and is now 32" in error
