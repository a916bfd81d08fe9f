"""The command `export`: the file, what stands beside it, and what it refuses."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import AddedToken

from bert_kit import (BERTForMultiLabel, BERTForNextSentencePrediction, BERTModel, BertConfig,
                      ConfigError, Predictor, SentenceEncoder, get_tokenizer, save_pretrained,
                      train_tokenizer)
from bert_kit.data import TaggingDataset
from bert_kit.jobs.commands import export as command
from bert_kit.jobs.commands.export import served_tokenizer
from bert_kit.tokenization import Tokenizer
from bert_kit.weights import SentenceLayout, save_sentence_folder
from tiny_jobs import here, table

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"
TEXTS = ["the old red thing of fire and", "ice", "a [SEP] leaf [MASK]", " ".join(["snow"] * 60)]
NEEDS_ONNX = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not all installed")


def config(**changes):
    return BertConfig(**{
        "vocab_size": 120, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3,
        "intermediate_size": 40, "max_position_embeddings": 40, "initializer_range": 0.3,
        "labels": ("cold", "green", "warm"), **changes})


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(table()[0], vocab_size=120, min_frequency=1)


@pytest.fixture(scope="module")
def labels(tmp_path_factory, tokenizer):
    """A folder with a model of label sets, and one with what `export` made of it."""
    folder = tmp_path_factory.mktemp("labels")
    extra = {"thresholds": [0.2, 0.5, 0.7]}
    torch.manual_seed(3)
    save_pretrained(BERTForMultiLabel(config(extra=extra)), folder / "model", tokenizer)
    done = here("export", "--model", "model", "--output_file", "served/model.onnx", folder=folder)
    return folder, done


@NEEDS_ONNX
def test_one_line_says_what_was_written(labels):
    folder, done = labels
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"served/model\.onnx: input_ids \(batch, length\), attention_mask \(batch, length\), "
        r"token_type_ids \(batch, length\) -> logits \(batch, 3\), rows of up to 40 tokens; "
        r"ONNX Runtime \S+ gives the kit's numbers to \de-0[678]; tokenizer\.json and "
        r"config\.json, with the labels, stand beside it\n", done.stdout)
    served = folder / "served"
    assert {path.name for path in served.iterdir()} == {"model.onnx", *command.BESIDE}
    assert str(Path(command.__file__).parents[2]).encode() not in (
        served / "model.onnx").read_bytes()


@NEEDS_ONNX
def test_the_lines_of_the_guide_serve_it(labels, monkeypatch, capsys):
    folder, _ = labels
    monkeypatch.chdir(folder)
    code = re.search(r"```python no-run\n(import json, pathlib.*?)```", GUIDE.read_text("utf-8"),
                     re.DOTALL)[1]
    names = {}
    exec(compile(code, str(GUIDE), "exec"), names)
    predictor = Predictor.load(folder / "model", "cpu")
    shown = ["the sun is red", "ice and snow"]
    best = predictor.logits(shown).argmax(-1).tolist()
    assert capsys.readouterr().out == f"{[predictor.classes[one] for one in best]}\n"
    pairs = [(text, other) for text in TEXTS for other in TEXTS]
    for texts in (TEXTS, TEXTS[1:2], pairs):
        np.testing.assert_allclose(names["answers"](texts), predictor.logits(texts), atol=1e-5)
    thresholds = json.loads((folder / "served/config.json").read_text())["thresholds"]
    found = 1 / (1 + np.exp(-names["answers"](TEXTS))) >= thresholds
    assert [tuple(names["labels"][str(i)] for i in np.flatnonzero(row)) for row in found
            ] == predictor.predict(TEXTS)


@NEEDS_ONNX
def test_vectors_are_those_of_embed(tmp_path, tokenizer):
    import onnxruntime
    layout = SentenceLayout(("mean", "max"), True, 9, prompts=(("query", "the "),))
    model = BERTModel(config(num_hidden_layers=0))
    save_sentence_folder(model, tmp_path / "model", tokenizer, layout)
    done = here("export", "--model", "model", "--output_file", "x.onnx", folder=tmp_path)
    assert done.returncode == 0 and "-> vectors (batch, 48), rows of up to 9" in done.stdout
    assert "labels" not in done.stdout
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.encode_special_tokens = True
    rows = backend.encode_batch(TEXTS)
    found, = onnxruntime.InferenceSession(str(tmp_path / "x.onnx")).run(None, {
        "input_ids": np.array([row.ids for row in rows]),
        "attention_mask": np.array([row.attention_mask for row in rows]),
        "token_type_ids": np.array([row.type_ids for row in rows])})
    want = SentenceEncoder(tmp_path / "model", device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, want, atol=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["query_prompt"] == "the "


@NEEDS_ONNX
def test_another_model_than_the_kits_is_refused(labels, monkeypatch):
    folder, _ = labels
    predictor = Predictor.load(folder / "model", "cpu")
    path = folder / "served" / "model.onnx"
    assert "gives the kit's numbers" in command._checked(path, predictor, path)
    kept = predictor.model.classifier.output.bias.detach().clone()
    for shift in (0.01, torch.nan):  # a difference that is no number is one too
        predictor.model.classifier.output.bias.data[1] = kept[1] + shift
        with pytest.raises(ConfigError, match="computes something else than the kit, by"):
            command._checked(path, predictor, path)


# ---- without onnx

@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("second", [0, 1])
def test_the_file_of_the_tokenizer_alone_makes_the_kits_rows(tmp_path, tokenizer, side, second):
    pieces = tokenizer.tokens(range(tokenizer.vocab_size))
    own = Tokenizer(pieces, truncation_side=side, second_segment=second,
                    added_tokens=[AddedToken("<e1>", special=True)])
    served_tokenizer(own, 13).save(tmp_path)
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.encode_special_tokens = True
    texts = [*TEXTS, "<e1> a very small leaf of the old grass <e1> is green and so is the moss"]
    firsts = [text for text in texts for _ in texts]
    for given, rows in (
            (texts, own.encode_batch(texts, max_length=13)),
            (list(zip(firsts, texts * len(texts))),
             own.encode_batch(firsts, texts * len(texts), max_length=13))):
        for row, want in zip(backend.encode_batch(given), rows, strict=True):
            size = sum(row.attention_mask)
            assert row.ids == want.ids + [own.pad_id] * (len(row.ids) - size)
            assert row.type_ids[:size] == want.type_ids and size == len(want.ids)
    again = get_tokenizer(tmp_path)  # the kit reads what it has written
    assert (again.max_length, again.truncation_side, again.second_segment) == (13, side, second)


def test_lists_of_words_make_the_rows_of_a_tagger(tmp_path, tokenizer):
    sentences = [["the", "reddest", "thing!"], ["ice-cold", "[SEP]", "snow"]]
    served_tokenizer(tokenizer, 40).save(tmp_path)
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.encode_special_tokens = True
    dataset = TaggingDataset(sentences, None, tokenizer, 40)
    for number, row in enumerate(backend.encode_batch(sentences, is_pretokenized=True)):
        size = sum(row.attention_mask)
        assert row.ids[:size] == dataset[number]["input_ids"].tolist()
        first = [row.word_ids.index(word) for word in range(3)]
        values = dataset.word_values([np.arange(40)[:length] for length in dataset.lengths])
        assert values[number].tolist() == first


def test_nothing_that_is_there_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "NEEDED", ())
    for name in ("x.onnx", "config.json"):
        (tmp_path / name).write_text("mine")
        done = here("export", "--model", "m", "--output_file", "x.onnx", folder=tmp_path)
        assert done.returncode == 1 and done.stderr == (
            f"error: {name}: is there already; expected an output_file in a folder that is new or "
            "holds other files\n")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_what_cannot_be_exported_is_one_line(tmp_path, tokenizer, monkeypatch):
    folder = tmp_path / "nsp"
    save_pretrained(BERTForNextSentencePrediction(config()), folder, tokenizer)
    save_pretrained(BERTForMultiLabel(config()), tmp_path / "labels", tokenizer)
    arguments = ("--output_file", "new/x.onnx")
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    done = here("export", "--model", "labels", *arguments, folder=tmp_path)
    assert done.stderr == ("error: export needs the package onnx and onnxscript; install what it "
                           "needs with pip install -e '.[onnx]'\n")
    monkeypatch.setattr(command, "NEEDED", ())
    done = here("export", "--model", "nsp", *arguments, folder=tmp_path)
    assert "is a model that was pre-trained only" in done.stderr

    def broken(*_, **__):
        print("step 1/3 " * 99)
        raise RuntimeError("a screen\nof words")
    monkeypatch.setattr(torch.onnx, "export", broken)
    done = here("export", "--model", "labels", *arguments, folder=tmp_path)
    assert (done.stdout, done.returncode) == ("", 1) and done.stderr == (
        "error: labels: torch.onnx cannot export the model (RuntimeError: a screen of words)\n")
    assert not any((tmp_path / "new").iterdir())
    done = here("export", "--model", "labels", "--output_file", "x.bin", folder=tmp_path)
    assert done.stderr == "error: x.bin: expected a name that ends in .onnx\n"
