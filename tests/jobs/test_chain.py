"""The jobs one after another, each on what the one before left; nothing is passed on in silence."""

import csv
import json

import pytest
import tiny_jobs
from tiny_jobs import here

from bert_kit import BertConfig
from bert_kit.jobs.run.defaults import ENCODER_DROPOUT
from bert_kit.tokenization import get_tokenizer

LENGTH, PIECES = 24, 150
QUIET = ("--plots", "false")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with files, and a model pre-trained from nothing but a text."""
    folder = tmp_path_factory.mktemp("chain")
    texts, _ = tiny_jobs.table(150)
    (folder / "corpus.txt").write_text("\n\n".join(texts))
    tiny_jobs.write_table(folder / "rows.csv", 150)
    return folder


@pytest.fixture
def run(place):
    def run(*arguments):
        done = here(*arguments, folder=place)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
    return run


def pretrained(run, place):
    if not (place / "pre").exists():
        out = run("pretrain", "--train_file", "corpus.txt", "--from_scratch", "bert-tiny",
                  "--max_length", LENGTH, "--vocab_size", PIECES, "--max_steps", 30, "--output_dir",
                  "pre", *QUIET)
        assert "verdict   " in out and "config.json says 0.1" in out
    return "pre"


def test_the_corpus_of_the_machine_is_a_text_to_pretrain_on(run, place):
    out = run("corpus", "--output", "docstrings.txt")
    assert "docstrings.txt" in out
    with open(place / "docstrings.txt", encoding="utf-8") as file:
        some = "".join(line for _, line in zip(range(400), file, strict=False))
    (place / "some.txt").write_text(some, encoding="utf-8")
    out = run("pretrain", "--train_file", "some.txt", "--from_scratch", "bert-tiny", "--max_length",
              16, "--vocab_size", 300, "--max_steps", 3, "--output_dir", "of-corpus", *QUIET)
    assert "saved in of-corpus" in out


def test_from_a_text_to_a_page(run, place):
    model = pretrained(run, place)
    stored = BertConfig.load(place / model)
    assert [getattr(stored, name) for name in ENCODER_DROPOUT] == [0.1, 0.1]

    out = run("train", "--data_file", "rows.csv", "--model", model, "--learning_rate", "1e-3",
              "--max_steps", 80, "--max_length", LENGTH, "--output_dir", "trained", *QUIET)
    assert "stores dropout" not in out  # it stores the one to fine-tune with
    config = BertConfig.load(place / "trained")
    assert [getattr(config, name) for name in ENCODER_DROPOUT] == [0.1, 0.1]
    assert config.max_position_embeddings == stored.max_position_embeddings == LENGTH
    assert get_tokenizer(place / "trained").max_length == LENGTH
    assert config.labels == ("cold", "green", "warm")
    results = json.loads((place / "trained" / "results.json").read_text())
    assert results["model"] == model and results["verdict"]["findings"] is not None
    assert {"majority class", "TF-IDF + logistic regression",
            "frozen vectors + logistic regression"} == results["baselines"].keys()

    out = run("evaluate", "--model", "trained", *QUIET)
    evaluation = json.loads((place / "trained" / "evaluation" / "evaluation.json").read_text())
    assert evaluation["accuracy"] == pytest.approx(results["test"]["accuracy"])
    assert "verdict   " in out
    assert ([found["name"] for found in evaluation["verdict"]["findings"] if found["serious"]]
            == [found["name"] for found in results["verdict"]["findings"] if found["serious"]])

    run("predict", "--model", "trained", "--data_file", "rows.csv", "--output_file", "told.csv")
    with open(place / "told.csv", newline="") as file:
        told = list(csv.DictReader(file))
    assert len(told) == 150 and {row["prediction"] for row in told} <= {*config.labels}

    out = run("compare", "--data_file", "rows.csv", "--model", model, "--classifier", "standard",
              "cnn", "--max_steps", 6, "--max_length", LENGTH, "--output_dir", "compared", *QUIET)
    assert "which stands first" in out
    out = run("compare", "--runs", "compared/standard", "compared/cnn", "--output_dir", "again",
              *QUIET)
    assert "which stands first" in out

    out = run("tune", "--data_file", "rows.csv", "--model", model, "--classifier", "standard",
              "--n_trials", 2, "--num_train_epochs", 1, "--max_length", LENGTH, "--output_dir",
              "tuned", *QUIET)
    assert "verdict   " in out[out.index("\nbest "):]
    best = json.loads((place / "tuned" / "standard_best_config.json").read_text())
    assert {"lr", "head_learning_rate"} < best["best_params"].keys()
    out = run("train", "--config", "tuned/standard_best_config.json", "--output_dir", "of-tuned",
              *QUIET)
    again = json.loads((place / "of-tuned" / "results.json").read_text())
    assert again["validation"]["f1_macro"] == pytest.approx(best["best_value"], abs=1e-9)
    assert again["learning_rate"] == pytest.approx(best["best_params"]["lr"])

    out = run("active", "--data_file", "rows.csv", "--model", model, "--initial", 20, "--batch", 20,
              "--rounds", 1, "--passes", 2, "--seeds", 0, "--min_steps", 3, "--num_train_epochs", 1,
              "--max_length", LENGTH, "--output_dir", "asked", *QUIET)
    assert "verdict   " in out and "stores dropout" not in out
    run("explore", "--model", "trained", "--text", "the red thing", "--output_file", "page.html")
    assert "<html" in (place / "page.html").read_text(encoding="utf-8")
    out = run("info", "trained")
    assert "cold" in out


def test_tags(run, place):
    model = pretrained(run, place)
    words = "\n\n".join("\n".join(f"{word} {'B-WARM' if word in tiny_jobs.WORDS['warm'] else 'O'}"
                                  for word in text.split()) for text in tiny_jobs.table(120)[0])
    (place / "words.conll").write_text(words + "\n")
    out = run("train", "--task", "tagging", "--data_file", "words.conll", "--model", model,
              "--learning_rate", "1e-3", "--max_steps", 60, "--max_length", LENGTH,
              "--output_dir", "tagger", *QUIET)
    assert "verdict   " in out
    results = json.loads((place / "tagger" / "results.json").read_text())
    config = BertConfig.load(place / "tagger")
    assert config.labels == ("B-WARM", "O") and config.hidden_dropout_prob == 0.1
    out = run("evaluate", "--model", "tagger", "--data_file", "words.conll", *QUIET)
    assert "verdict   " in out
    run("tag", "--model", "tagger", "--text", "a red thing")
    out = run("tune", "--task", "tagging", "--data_file", "words.conll", "--model", model,
              "--n_trials", 2, "--num_train_epochs", 1, "--max_length", LENGTH, "--output_dir",
              "tuned-tags", *QUIET)
    assert results["classes"] == ["B-WARM", "O"] and "\nbest " in out


def test_pairs(run, place):
    model = pretrained(run, place)
    texts, labels = tiny_jobs.table(120)
    with open(place / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text_a", "text_b", "category"])
        writer.writerows((texts[i], texts[i - 1], "same" if labels[i] == labels[i - 3] else "other")
                         for i in range(3, 120))
        writer.writerows((texts[i], texts[i + 2], "other") for i in range(40))
    pair = ("--text_column", "text_a", "text_b", "--max_length", LENGTH)
    out = run("train", "--data_file", "pairs.csv", "--model", model, "--learning_rate", "1e-3",
              "--max_steps", 40, *pair, "--output_dir", "paired", *QUIET)
    assert "verdict   " in out
    assert BertConfig.load(place / "paired").labels == ("other", "same")
    assert "verdict   " in run("evaluate", "--model", "paired", *QUIET)
    out = run("predict", "--model", "paired", "--text", "a red thing", "--text_b", "fire")
    assert "same" in out or "other" in out
    out = run("tune", "--data_file", "pairs.csv", "--model", model, "--classifier", "standard",
              "--n_trials", 2, "--num_train_epochs", 1, *pair, "--output_dir", "tuned-pairs",
              *QUIET)
    assert "verdict   " in out[out.index("\nbest "):]
