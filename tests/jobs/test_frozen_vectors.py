"""What the weights to start from know already, beside what training made of them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from tiny_jobs import tiny_bert
from tiny_tasks import training_of

from bert_kit import BERTModel, get_tokenizer, load_pretrained
from bert_kit.evaluation.trust.baselines import FROZEN_VECTORS
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks import texts as texts_file
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.train import train


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def mean_vectors(folder, texts, length):
    """Return the mean token vectors (N, D) of a plain encoder, called with one text at a time."""
    encoder = load_pretrained(BERTModel, folder, report=lambda line: None)
    tokenizer = get_tokenizer(folder)
    with torch.no_grad():
        return np.stack([encoder(torch.tensor([tokenizer.encode(
            text, max_length=length).ids])).last_hidden_state.mean(1)[0] for text in texts])


def build(task, given):
    one = task_named(task)
    job = TrainingJob(one, one.options(**{**given, "output_dir": None}))
    return job, job.build(job.tokenize(job.read()))


@pytest.mark.parametrize("task", ["classification", "multi_label"])
def test_the_third_baseline_is_a_regression_on_the_weights_before_training(
        task, bert, tmp_path, capsys):
    given = training_of(task, tmp_path, bert)
    job, training = build(task, {**given, "verbosity": 1})
    found = job.baselines(training)
    assert [*found][-1] == FROZEN_VECTORS and len(found) == 3
    out = capsys.readouterr().out
    parts = training.parts
    assert f"baseline  frozen vectors of {len(parts.train)} of {len(parts.train)} training" in out
    vectors = {name: mean_vectors(bert, part.texts, 24) for name, part in parts.present().items()}
    want, labels = parts.test.labels, parts.train.labels
    if task == "classification":
        told = LogisticRegression(C=10, max_iter=1_000).fit(vectors["train"], labels).predict(
            vectors["test"])
        assert found[FROZEN_VECTORS]["accuracy"] == pytest.approx(accuracy_score(want, told))
        assert found[FROZEN_VECTORS]["f1_macro"] == pytest.approx(
            f1_score(want, told, average="macro"))
        return
    models = [LogisticRegression(C=10, max_iter=1_000).fit(vectors["train"], labels[:, label])
              for label in range(labels.shape[1])]
    chosen_on, told = (np.stack([model.predict_proba(vectors[name])[:, 1] for model in models], 1)
                       for name in ("validation", "test"))
    best = max(f1_score(parts.validation.labels, chosen_on >= cut, average="micro")
               for cut in np.unique(chosen_on))
    found_at = [f1_score(want, told >= cut, average="micro") for cut in np.unique(chosen_on)
                if f1_score(parts.validation.labels, chosen_on >= cut,
                            average="micro") == pytest.approx(best)]
    assert min(found_at) - 0.1 <= found[FROZEN_VECTORS]["f1_micro"] <= max(found_at) + 0.1


def test_random_weights_windows_one_class_or_many_rows_have_none(bert, tmp_path, monkeypatch,
                                                                capsys):
    given = training_of("classification", tmp_path, bert)
    job, training = build("classification", {**given, "model": None, "from_scratch": "bert-tiny"})
    assert FROZEN_VECTORS not in job.baselines(training)
    for few in ({"stride": 5}, {"max_train_samples": 1}):
        job, training = build("classification", {**given, **few})
        assert FROZEN_VECTORS not in job.baselines(training)
    monkeypatch.setattr(texts_file, "VECTORS_TO_FIT", 30)
    job, training = build("classification", {**given, "verbosity": 1})
    assert FROZEN_VECTORS in job.baselines(training)
    assert "frozen vectors of 30 of 96 training rows" in capsys.readouterr().out
    monkeypatch.setattr(texts_file, "MOST_VECTORS", 11)  # of 12 test rows
    assert FROZEN_VECTORS not in job.baselines(training)


def test_a_run_that_goes_on_has_the_baselines_of_one_that_was_never_cut(bert, tmp_path):
    given = {**training_of("classification", tmp_path, bert), "max_steps": 4}
    whole = train("classification", {**given, "output_dir": tmp_path / "whole"})
    train("classification", {**given, "output_dir": tmp_path / "cut", "time_limit": 1e-9})
    cut = train("classification", {**given, "output_dir": tmp_path / "cut", "resume": "auto"})
    assert cut["steps"] == 4 and cut["baselines"] == whole["baselines"]
    assert FROZEN_VECTORS in whole["baselines"]
