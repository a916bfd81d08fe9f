"""The verdict at the end of every job that scores something, and what the jobs do about it."""

import json

import numpy as np
import pytest
import tiny_jobs
import torch
from tiny_jobs import here

from bert_kit import NothingLearned, train_classifier
from bert_kit.data import Part
from bert_kit.evaluation import Finding
from bert_kit.jobs.run.verdict import (Setting, check_learned, judge, make_verdict,
                                       verdict_text)
from bert_kit.jobs.tasks.table import task_named


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdict")
    tiny_jobs.write_table(folder / "rows.csv", 150)
    tiny_jobs.tiny_bert(folder / "bert")
    return folder


NEVER = ("--learning_rate", "1e-9", "--min_steps", "0", "--num_train_epochs", "1", "--plots",
         "false")


def test_a_training_that_learned_nothing_says_so_and_what_to_try(place):
    done = here("train", "--data_file", "rows.csv", "--model", "bert", *NEVER, "--output_dir",
               "runs/never", folder=place)
    assert done.returncode == 0, done.stderr
    assert "verdict   " in done.stdout and "it has learned" not in done.stdout
    assert "than majority class: accuracy" in done.stdout
    assert "1. more steps: --min_steps 400" in done.stdout  # it has weights
    assert "a higher rate: --learning_rate" in done.stdout
    stored = json.loads((place / "runs/never/results.json").read_text())["verdict"]
    assert stored["learned"] is False
    assert {"name", "says", "serious", "try"} == set(stored["findings"][0])
    assert "## Verdict" in (place / "runs/never/README.md").read_text()
    again = here("evaluate", "--model", "runs/never", "--plots", "false", folder=place)
    assert again.returncode == 0 and "than majority class: accuracy" in again.stdout
    assert here("evaluate", "--model", "runs/never", "--plots", "false", "--strict", "true",
               folder=place).returncode == 3
    other = here("evaluate", "--model", "runs/never", "--data_file", "rows.csv", "--output_dir",
                "elsewhere", "--plots", "false", folder=place)
    assert "than the commonest class of these rows" in other.stdout


def test_strict_makes_it_an_exit_code_after_everything_is_saved(place):
    done = here("train", "--data_file", "rows.csv", "--model", "bert", *NEVER, "--output_dir",
               "runs/strict", "--strict", "true", folder=place)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("not learned: runs/strict: ")
    assert (place / "runs/strict/model.safetensors").is_file()
    with pytest.raises(NothingLearned, match="majority class"):
        train_classifier("standard", place / "bert", place / "rows.csv", learning_rate=1e-9,
                         num_train_epochs=1, output_dir=str(place / "runs/raised"), strict=True,
                         plots=False, verbosity=0)


def test_a_training_that_learned_is_told_beside_what_it_beat(place):
    done = here("train", "--data_file", "rows.csv", "--model", "bert", "--learning_rate", "5e-3",
               "--head_learning_rate", "5e-3", "--max_steps", "150", "--plots", "false",
               "--output_dir", "runs/learned", "--strict", "true", folder=place)
    stored = json.loads((place / "runs/learned/results.json").read_text())["verdict"]
    assert "majority class 0." in stored["beside"]
    serious = [found["says"] for found in stored["findings"] if found["serious"]]
    # TF-IDF finds the one word that tells the class; what is asked here is the rest.
    assert all("TF-IDF" in says or "frozen vectors" in says for says in serious), serious
    assert done.returncode == (3 if serious else 0)


def test_a_comparison_a_search_and_a_campaign_say_it_too(place):
    given = ("--data_file", "rows.csv", "--model", "bert", "--strict", "true")
    compared = here("compare", *given, "--classifier", "standard", "cnn", *NEVER,
                    "--output_dir", "runs/compared", folder=place)
    assert compared.returncode == 3, compared.stdout + compared.stderr
    assert "which stands first\nverdict   " in compared.stdout
    found = json.loads((place / "runs/compared/cnn/results.json").read_text())
    assert "TF-IDF + logistic regression" in found["baselines"]  # of the first, for all
    tuned = here("tune", *given, "--classifier", "standard", "--n_trials", "2",
                    "--num_train_epochs", "1", "--learning_rate", "1e-9", "--head_learning_rate",
                    "1e-9", "--train_best", "false", "--output_dir", "tuned", folder=place)
    assert tuned.returncode == 3, tuned.stdout + tuned.stderr
    best = tuned.stdout[tuned.stdout.index("\nbest "):]
    assert "than majority class: f1_macro" in best.splitlines()[2]
    config = json.loads((place / "tuned/standard_best_config.json").read_text())
    assert config["verdict"]["learned"] is False
    asked = here("active", *given, "--learning_rate", "1e-9", "--min_steps", "1",
                    "--num_train_epochs", "1", "--rounds", "1", "--initial", "20", "--batch", "20",
                    "--passes", "2", "--seeds", "0", "--plots", "false", "--output_dir",
                    "runs/asked", folder=place)
    assert asked.returncode == 3, asked.stdout + asked.stderr
    assert "always answering" in asked.stdout and "is no goal" in asked.stdout


@pytest.mark.parametrize("setting, remedies, lines", [
    (Setting(weights=False, steps=30, rate=5e-4, usual_rate=5e-4, balances=True, asks=True),
     ("labels", "class_weight", "rate", "steps", "weights"),
     ["weights that were pre-trained: --model FOLDER (bert-kit pretrain makes some)",
      "more steps: --min_steps 400", "a lower rate: --learning_rate 0.0002",
      "--class_weight balanced, so that rare classes count",
      "more labelled rows; bert-kit active asks for those that teach most"]),
    (Setting(weights=True, steps=1_000, rate=3e-3, usual_rate=5e-5), ("weights", "steps", "rate"),
     ["more steps: --min_steps 2000", "a lower rate: --learning_rate 5e-05"]),
    (Setting(weights=True, rate=1.42e-6, usual_rate=5e-5), ("rate",),
     ["a higher rate: --learning_rate 5e-05"]),
    (Setting(pretrains=True, steps=673, rate=1e-3, usual_rate=1e-3),
     ("weights", "optimizer", "steps", "labels"),
     ["another optimizer: --optim muon", "more steps: --max_steps 1346", "more text"]),
    (Setting(), ("weights", "rate", "steps"), ["more steps: --min_steps 400"]),
    (Setting(counts_steps=True, steps=300), ("steps", "labels"),
     ["more steps: --max_steps 600", "more labelled rows"]),
])
def test_what_to_try_depends_on_what_was_done_and_stands_in_order(setting, remedies, lines):
    verdict = make_verdict([Finding("one_answer", "x", True, remedies)], setting)
    assert verdict["findings"][0]["try"] == lines


class Told:
    """As much of a predictor of classes as `findings` asks for."""

    classes = ("a", "b")


def test_rows_of_one_class_are_told_and_no_fault_of_the_model():
    task, part = task_named("classification"), Part(["x"] * 120, [1] * 120)
    answers = torch.tensor([[0.0, 3.0]] * 120)
    scores = task.logit_scores(answers, part.labels, None)
    verdict = judge(task, scores, task.constant_baseline(part), Setting(),
                    task.findings(answers, part, Told(), scores, "rows"), count=120)
    assert verdict["learned"] and "one_label" in [one["name"] for one in verdict["findings"]]


@pytest.mark.parametrize("task, part, key, value", [
    ("regression", Part(["x"] * 4, np.array([0.0, 1.0, 2.0, 3.0])), "loss", 1.25),
    ("multi_label", Part(["x"] * 4, np.array([[1, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)),
     "f1_micro", 2 * 3 / (4 + 5)),
    ("classification", Part(["x"] * 4, [0, 1, 1, 1]), "accuracy", 0.75)])
def test_every_task_has_a_constant_answer_to_be_beaten(task, part, key, value):
    (_, scores), = task_named(task).constant_baseline(part).items()
    assert scores[key] == pytest.approx(value)


def test_strict_needs_rows_to_be_strict_about(place):
    refused = here("train", "--data_file", "rows.csv", "--model", "bert", *NEVER, "--val_size", "0",
                   "--test_size", "0", "--strict", "true", "--output_dir", "runs/no", folder=place)
    assert refused.returncode == 1 and "strict needs rows" in refused.stderr


def test_the_words_of_a_verdict():
    verdict = make_verdict([
        Finding("few_rows", "20 test rows are few", False, ("labels",)),
        Finding("one_answer", "each row is given ham", True, ("steps", "labels"))], Setting())
    assert verdict_text(verdict).splitlines() == [
        "verdict   each row is given ham", "but       20 test rows are few",
        "try       1. more steps: --min_steps 400",
        "          2. more labelled rows"]
    assert verdict_text(make_verdict([], Setting()) | {"beside": "f1 0.9; counting 0.5"}) == (
        "verdict   it has learned: f1 0.9; counting 0.5")
    assert verdict_text(make_verdict([], Setting()) | {"beside": ""}).endswith(
        "there was nothing to compare with")
    check_learned(verdict, False, "x")
    check_learned(None, True, "x")
    with pytest.raises(NothingLearned, match="^runs/x: each row is given ham$"):
        check_learned(verdict, True, "runs/x")
