"""A tokenizer and its model: opened together, and learned as the options say."""

import csv

import pytest
import torch

from bert_kit import (BertConfig, BERTForMaskedLM, BERTForQuestionAnswering,
                      BERTForSequenceClassification, BERTForTokenClassification, BERTModel,
                      Tokenizer, get_tokenizer, save_pretrained)
from bert_kit.cli import main
from bert_kit.errors import ConfigError
from bert_kit.jobs.commands.explore import explore
from bert_kit.jobs.run.task import Parts
from bert_kit.jobs.tasks.masked import MaskedOptions, make_tokenizer
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.tags import Tagger

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *"abcdefgh", "good", "bad", "movie"]
KINDS = {"classifier": BERTForSequenceClassification, "tagger": BERTForTokenClassification,
         "answerer": BERTForQuestionAnswering, "masked": BERTForMaskedLM, "encoder": BERTModel}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models of every kind with room for three pieces less than their tokenizers have."""
    root = tmp_path_factory.mktemp("models")
    for name, kind in KINDS.items():
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(PIECES) - 3, hidden_size=16, num_hidden_layers=1,
                            num_attention_heads=2, intermediate_size=16,
                            max_position_embeddings=32, labels=("a", "b"))
        save_pretrained(kind(config), root / name, Tokenizer(PIECES))
    return root


TRAINED = ("train", "train --task multi_label", "train --task regression", "train --task tagging",
           "train --task answering", "train --task similarity --pooling mean", "pretrain",
           "compare", "tune --classifier standard", "active")
USED = {"predict --text good": "classifier", "tag --text good": "tagger",
        "answer --question a --context good": "answerer",
        "embed --pooling mean --query good": "encoder", "explore --text good": "masked",
        "evaluate": "classifier"}


@pytest.mark.parametrize("job", [*TRAINED, *USED])
def test_pieces_without_embeddings_are_refused_at_the_opening(folders, tmp_path, job, capsys,
                                                              monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.csv"
    with open(rows, "w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], ["good movie", "a"], ["bad movie", "b"]])
    model = folders / USED.get(job, "encoder")
    data = {"pretrain": ["--train_file", rows.with_suffix(".txt")]}.get(
        job, ["--data_file", rows] if job.split()[0] in ("embed", "evaluate")
        or job in TRAINED else [])
    rows.with_suffix(".txt").write_text("good movie\n\nbad movie\n")
    code = main([*job.split(), "--model", str(model), *map(str, data)])
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("error")]
    assert code == 1, said
    assert lines == [f"error: {model}: the tokenizer has 16 pieces; the model has room for 13 "
                     "(vocab_size), not for 'good' and what follows"]
    assert {path.name for path in tmp_path.iterdir()} <= {"rows.csv", "rows.txt", "runs"}
    assert not list(tmp_path.glob("runs/*"))


def test_a_model_and_a_tokenizer_at_hand():
    config = BertConfig(vocab_size=len(PIECES) - 1, hidden_size=16, num_hidden_layers=1,
                    num_attention_heads=2, intermediate_size=16, labels=("O", "B-x"))
    with pytest.raises(ConfigError, match="model and tokenizer: the tokenizer has 16 pieces"):
        Tagger(BERTForTokenClassification(config), Tokenizer(PIECES))
    Tagger(BERTForTokenClassification(config), Tokenizer(PIECES[:-1]))


@pytest.mark.parametrize("name", ["classification", "multi_label", "regression", "tagging",
                                  "answering"])
def test_every_task_learns_a_tokenizer_as_the_options_say(name, tmp_path, monkeypatch):
    task = task_named(name)
    monkeypatch.setattr(type(task), "texts", lambda self, part: ["Schön schon ab Ab"] * 3)
    for options, case, accents in (({}, False, False), ({"do_lower_case": False}, True, True),
                                   ({"strip_accents": False}, False, True),
                                   ({"lowercase": "false", "strip_accents": "true"}, True, False)):
        chosen = task.options.from_names(options)
        chosen.check_use()
        task.make_tokenizer(chosen, None).save(tmp_path)
        found = get_tokenizer(tmp_path)
        assert (found.encode("Ab").ids != found.encode("ab").ids) is case
        assert (found.encode("schön").ids != found.encode("schon").ids) is accents


def test_pretraining_learns_a_tokenizer_as_the_options_say():
    options = MaskedOptions.from_names({"do_lower_case": "false", "vocab_size": 60})
    found = make_tokenizer(options, [["Schön schon", "ab Ab"]] * 3)
    assert found.encode("Ab").ids != found.encode("ab").ids
    assert found.encode("schön").ids != found.encode("schon").ids


@pytest.mark.parametrize("words", [
    ["pretrain", "--tokenizer", "X", "--do_lower_case", "false"],
    ["train", "--data_file", "x.csv", "--model", "X", "--strip_accents", "false"],
    ["tune", "--data_file", "x.csv", "--model", "X", "--lowercase", "false"],
    ["active", "--data_file", "x.csv", "--model", "X", "--do_lower_case", "false"]])
def test_a_tokenizer_that_is_given_cleans_as_it_does(words, capsys):
    assert main(words) == 2
    assert "changes nothing without a tokenizer that is learned" in capsys.readouterr().err


def test_a_tagger_remembers_how_its_words_were_cut(tmp_path):
    task = task_named("tagging")
    file = tmp_path / "train.conll"
    file.write_text("".join(f"{word} O\n" for word in ("the", "u.s.", "new-york", ".")))
    parts = task.read(task.options(train_file=str(file), val_size=0.0))
    assert isinstance(parts, Parts)
    before = BertConfig(vocab_size=len(PIECES), hidden_size=16, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=16, max_position_embeddings=32)
    config = before.replace(**task.config(task.options(), parts, before))
    Tagger(BERTForTokenClassification(config), Tokenizer(PIECES)).save(tmp_path / "model")
    tagger = Tagger.load(tmp_path / "model", device="cpu")
    text = "the a.b. a-c."
    found, = tagger.tag([text])
    assert [text[start:end] for start, end in found.spans] == ["the", "a.b.", "a-c", "."]
    plain = Tagger(BERTForTokenClassification(config.replace(extra={})), Tokenizer(PIECES))
    assert len(plain.tag([text])[0].spans) == 9


def test_explore_refuses_before_the_weights_are_read(folders, tmp_path):
    (folders / "masked" / "model.safetensors").rename(folders / "masked" / "kept")
    (folders / "masked" / "model.safetensors").write_bytes(b"")
    try:
        with pytest.raises(ConfigError, match="the tokenizer has 16 pieces"):
            explore(folders / "masked", "good", output_file=tmp_path / "page.html")
    finally:
        (folders / "masked" / "kept").replace(folders / "masked" / "model.safetensors")
