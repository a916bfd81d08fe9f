import subprocess
import sys

import pytest

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, save_pretrained,
                      train_tokenizer)
from bert_kit.cli import main
from bert_kit.data.samples.corpus import Corpus, Document
from tiny_models import tiny_config


def test_info_says_what_is_in_a_folder(tmp_path, capsys):
    tokenizer = train_tokenizer(["a few words"], vocab_size=40, min_frequency=1)
    model = BERTForSequenceClassification(
        tiny_config(vocab_size=tokenizer.vocab_size, labels=("no", "yes", "perhaps")))
    save_pretrained(model, tmp_path, tokenizer)
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    count = sum(p.numel() for p in model.parameters())
    for part in ("BertForSequenceClassification", "no, yes, perhaps", f"{count:,} numbers",
                 "12 in 3 heads", f"{tokenizer.vocab_size} pieces", "11 tokens"):
        assert part in out
    save_pretrained(BERTForMaskedLM(model.config), tmp_path / "masked", tokenizer)
    assert main(["info", str(tmp_path / "masked")]) == 0
    assert "classes" not in capsys.readouterr().out
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").unlink()
    assert main(["info", str(tmp_path)]) == 0 and "none (" in capsys.readouterr().out


def test_info_tells_a_score_of_zero(tmp_path, capsys):
    tokenizer = train_tokenizer(["a few words"], vocab_size=40, min_frequency=1)
    save_pretrained(BERTForSequenceClassification(tiny_config(vocab_size=tokenizer.vocab_size)),
                    tmp_path, tokenizer)
    (tmp_path / "results.json").write_text('{"test": {"accuracy": 0.0, "f1_macro": 0.0}}')
    assert main(["info", str(tmp_path)]) == 0
    assert "accuracy 0.0000, macro F1 0.0000" in capsys.readouterr().out


def test_corpus_is_written_as_sentences_and_documents(tmp_path, capsys, monkeypatch):
    corpus = Corpus([Document("p", "p/a.py", ("One.", "Two ü.")), Document("p", "p/b.py", ("3.",))])
    monkeypatch.setattr("bert_kit.jobs.commands.corpus.load_corpus", lambda: corpus)
    assert main(["corpus", "--output", str(tmp_path / "text")]) == 0
    assert (tmp_path / "text").read_text("utf-8") == "One.\nTwo ü.\n\n3.\n"
    assert "2 documents, 3 sentences" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, words", [
    (["train", "--epoch", "3"], ["usage: bert-kit train ", "unrecognized arguments: --epoch 3"]),
    (["predict", "--model", "x", "y"], ["usage: bert-kit predict ", "arguments: y"]),
    (["tune", "--trails", "5"], ["usage: bert-kit tune ", "unrecognized arguments: --trails 5"])])
def test_what_a_job_does_not_know_shows_the_usage_of_that_job(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and all(word in error for word in words)


def test_the_heads_of_a_search_are_said_once(capsys):
    assert main(["tune", "--classifier", "cnn", "--all"]) == 2
    assert capsys.readouterr().err.startswith("error: classifier is one head")
    assert main(["tune", "--all", "--classifiers", "mlp"]) == 2
    assert capsys.readouterr().err.startswith("error: all and classifiers are both set")


def test_help_shows_choices_and_defaults_once_and_as_they_are_typed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for job, words in {
            "train": ["--optim, --optimizer, --optimizer_choice {adamw,muon,adam,sgd,rmsprop}\n",
                      "(default: 0.9 0.999)", "(default: text)", "(default: true)"],
            "evaluate": ["(default: 7)", "--no_plots            the same as --plots false\n"]
            }.items():
        with pytest.raises(SystemExit):
            main([job, "--help"])
        text = capsys.readouterr().out
        assert all(word in text for word in words), text
        assert "None" not in text and "('" not in text and "HEAD)" not in text


@pytest.mark.parametrize("arguments, code", [
    (["info", "no/such/folder"], 1), (["info"], 2), (["dance"], 2), ([], 0), (["--version"], 0)])
def test_exit_codes_and_no_traceback(arguments, code):
    done = subprocess.run([sys.executable, "-m", "bert_kit", *arguments], capture_output=True,
                          text=True)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("error: no/such/folder") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["x" * 300, "loop", "loop/a", "file", "file/a", "/dev/null/x"])
@pytest.mark.parametrize("job", ["train", "tune", "active"])
def test_places_where_no_folder_can_be_are_one_line(tmp_path, capsys, monkeypatch, job, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "rows.csv").write_text("text,category\n" + "a,x\nb,y\n" * 40)
    assert main([job, "--data_file", "rows.csv", "--output_dir", place, "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("arguments, words", [
    (["tag", "--model", "x"], "tagging needs texts"),
    (["answer", "--model", "x"], "question is missing"),
    (["embed", "--model", "x"], "data_file is missing")])
def test_what_uses_a_model_never_becomes_a_training(arguments, words, capsys):
    """A forgotten text is told; only a command line that names rows to train on is an old one."""
    assert main(arguments) == 1
    assert words in capsys.readouterr().err


def test_the_task_may_stand_in_a_section_and_the_last_flag_counts(tmp_path, capsys):
    (tmp_path / "options.toml").write_text('[run.data]\ntask = "regression"\n')
    assert main(["train", "--config", str(tmp_path / "options.toml")]) == 1
    assert "regression needs rows" in capsys.readouterr().err
    assert main(["train", "--task", "tagging", "--task", "regression"]) == 1
    assert "regression needs rows" in capsys.readouterr().err
