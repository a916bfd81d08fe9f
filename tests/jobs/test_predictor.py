"""What every predictor does with rows and weights: order, the same bits, and nothing stale."""

import copy
import csv
import json
import pickle

import numpy as np
import pytest
import torch
from tiny_models import tiny_config
from tiny_texts import make_texts, tokenizer
from torch import nn

from bert_kit import (BERTForSequenceClassification, BERTForTokenClassification, Predictor, Tagger,
                      load_pretrained)
from bert_kit.data import BatchSampler
from bert_kit.errors import BertKitError
from bert_kit.jobs.commands.predict import PredictOptions, run
from bert_kit.jobs.tasks import texts as texts_file

TEXTS = make_texts(23, longest=20, seed=3)


@pytest.fixture(name="predictor")
def make_predictor():
    torch.manual_seed(0)
    pieces = tokenizer()
    config = tiny_config(vocab_size=pieces.vocab_size, max_position_embeddings=80)
    model = BERTForSequenceClassification(config, num_labels=3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return Predictor(model.eval(), pieces)


def one_by_one(predictor, texts=TEXTS):
    """Return the logits of a plain model, called with one text at a time."""
    with torch.no_grad():
        return torch.cat([predictor.model(torch.tensor([predictor.tokenizer.encode(
            text, max_length=predictor.max_length).ids])) for text in texts])


def test_rows_come_out_in_their_order(predictor):
    torch.testing.assert_close(predictor.logits(TEXTS), one_by_one(predictor),
                               atol=1e-5, rtol=1e-5)


def test_a_file_in_chunks_gives_the_bits_of_all_its_rows(predictor, monkeypatch):
    monkeypatch.setattr(texts_file, "BATCH", 4)
    monkeypatch.setattr(BatchSampler, "STRETCH", 2)
    chunks = [predictor.logits(TEXTS[first:first + 8]) for first in range(0, len(TEXTS), 8)]
    whole = predictor.logits(TEXTS)
    assert torch.equal(torch.cat(chunks), whole)
    torch.testing.assert_close(whole, one_by_one(predictor), atol=1e-5, rtol=1e-5)


def test_vectors_come_out_in_their_order(predictor):
    rows = texts_file.ClassificationDataset(TEXTS, [0] * len(TEXTS), predictor.tokenizer, 64)
    alone = [texts_file.ClassificationDataset([text], [0], predictor.tokenizer, 64)
             for text in TEXTS]
    np.testing.assert_allclose(predictor.vectors(rows),
                               np.concatenate([predictor.vectors(row) for row in alone]), atol=1e-5)


def test_tags_come_out_in_their_order():
    torch.manual_seed(0)
    pieces = tokenizer()
    config = tiny_config(vocab_size=pieces.vocab_size, max_position_embeddings=80)
    tagger = Tagger(BERTForTokenClassification(config, num_labels=3).eval(), pieces)
    sentences = [text.split() for text in TEXTS]
    together = tagger.answers(tagger.dataset(sentences))
    for sentence, found in zip(sentences, together, strict=True):
        alone, = tagger.answers(tagger.dataset([sentence]))
        np.testing.assert_allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_true_weights_are_saved(predictor, precision, tmp_path):
    before = copy.deepcopy(predictor.model.state_dict())
    predictor.precision = precision
    predictor.logits(TEXTS)
    predictor.save(tmp_path)
    saved = load_pretrained(BERTForSequenceClassification, tmp_path).state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in before.items())


@pytest.mark.parametrize("fused", [True, False])
def test_after_a_step_the_new_weights_answer(predictor, fused):
    before = predictor.logits(TEXTS)
    optimizer = torch.optim.AdamW(predictor.model.parameters(), 1e-3, fused=fused)
    predictor.model(torch.tensor([[2, 5, 6, 3]])).sum().backward()
    optimizer.step()
    after = predictor.logits(TEXTS)
    assert not torch.allclose(after, before, atol=1e-3)
    torch.testing.assert_close(after, one_by_one(predictor), atol=1e-5, rtol=1e-5)


def test_the_prepared_weights_are_kept_between_calls_but_not_in_training(predictor):
    ready = predictor.ready_model()
    assert predictor.ready_model() is ready
    predictor.model.train()
    assert predictor.ready_model() is ready  # the weights are the same, though perhaps not for long
    assert predictor.ready_model() is not ready
    assert predictor.model.training and not predictor.ready_model().training


def test_a_hook_that_comes_later_is_called(predictor):
    predictor.logits(TEXTS[:2])
    seen = []
    handle = predictor.model.bert.blocks[0].register_forward_hook(
        lambda part, given, gave: seen.append(given[0].shape))
    predictor.logits(TEXTS[:2])
    assert len(seen) == 1
    handle.remove()
    predictor.logits(TEXTS[:2])
    assert len(seen) == 1


def test_a_hook_may_reach_into_the_model(predictor):
    def double(part, given, gave):
        return gave * (2 - predictor.model.training)  # sees its mode: dropout is off

    before = predictor.logits(TEXTS)
    predictor.model.classifier.register_forward_hook(double)
    predictor.model.train()
    torch.testing.assert_close(predictor.logits(TEXTS), 2 * before, atol=1e-5, rtol=1e-5)
    assert predictor.model.training


def test_a_forward_that_holds_on_to_its_part_has_no_dropout_either(predictor):
    attention = predictor.model.bert.blocks[0].attention
    given = attention.forward
    attention.forward = lambda *call: given(*call)
    predictor.model.train()
    torch.testing.assert_close(predictor.logits(TEXTS), one_by_one(predictor.__class__(
        predictor.model.eval(), predictor.tokenizer)), atol=1e-5, rtol=1e-5)


def test_what_a_head_of_ones_own_is_told_later_counts(predictor):
    class Scaled(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.linear, self.scale = nn.Linear(config.hidden_size, 3), 1.0
            self.register_buffer("shift", torch.zeros(3))

        def forward(self, encoded, mask):
            return self.linear(encoded.pooler_output) * self.scale + self.shift

    predictor.model.classifier = Scaled(predictor.model.config)
    before = predictor.logits(TEXTS[:2])
    predictor.model.classifier.scale = 3.0
    torch.testing.assert_close(predictor.logits(TEXTS[:2]), 3 * before)
    predictor.model.classifier.shift = torch.ones(3)
    torch.testing.assert_close(predictor.logits(TEXTS[:2]), 3 * before + 1)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_predictor_can_be_copied_and_pickled_after_use(predictor, again):
    expected = predictor.logits(TEXTS)
    assert torch.equal(again(predictor).logits(TEXTS), expected)


def test_columns_that_are_asked_for_are_written_before_the_answers(predictor, tmp_path, capsys):
    predictor.save(tmp_path / "model")
    rows = [("007", "ka to", "=1+1"), ("8,5", "mi", ""), ("x", "re su", "no")]
    with open(tmp_path / "in.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "text", "note"), *rows])

    def predicted(**options):
        return run(PredictOptions(model=tmp_path / "model", device="cpu", **options))

    given = {"data_file": tmp_path / "in.csv", "output_file": tmp_path / "out.csv"}
    predicted(**given)
    assert "columns left out: id, note (--keep_columns keeps them)" in capsys.readouterr().err
    with open(given["output_file"], newline="") as file:
        plain = list(csv.reader(file))
    predicted(**given, keep_columns=("note", "id"))
    assert "id" not in capsys.readouterr().err
    with open(given["output_file"], newline="") as file:
        kept = list(csv.reader(file))
    assert [row[2:] for row in kept] == plain
    assert [row[:2] for row in kept] == [["note", "id"], ["'\\=1+1", "007"], ["", "8,5"],
                                         ["no", "x"]]
    (tmp_path / "in.jsonl").write_text('{"text": "ka", "id": 7, "tags": ["a"]}\n'
                                       '{"text": "to", "id": null, "tags": true}\n')
    predicted(data_file=tmp_path / "in.jsonl", output_file=tmp_path / "out.jsonl",
              keep_columns=("id", "tags"))
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["tags"]) for row in told] == [(7, '["a"]'), (None, "true")]
    # A row without a text has no answer, but its id; one whose cells cannot be told apart has none.
    (tmp_path / "bad.csv").write_text('id,text\n007,ka\n"8,5",\nx\n9,mi\n')
    predicted(**{**given, "data_file": tmp_path / "bad.csv"}, keep_columns=("id",))
    with open(given["output_file"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["007", "8,5", "", "9"]
    assert [row["text"] for row in rows] == ["ka", "", "", "mi"]
    for names, message in (("text", "'text', which holds texts"), ("ids", "no column 'ids'"),
                           ("confidence", "'confidence', which is what a column of the answers"),
                           (("id", "id"), "keep_columns has 'id' twice")):
        with pytest.raises(BertKitError, match=message):
            predicted(**given, keep_columns=names)
    with pytest.raises(BertKitError, match="keep_columns is id, which changes nothing without"):
        PredictOptions(model="x", text=("a",), keep_columns=("id",)).check_use()
