"""Long texts in windows: which tokens each has, and logits pooled over the windows of a text."""

import numpy as np
import pytest
import torch

from bert_kit import (AMPTrainer, BertConfig, BERTForMultiLabel, BERTForSequenceClassification,
                      ConfigError, DataError, compute_classification_loss, load_pretrained,
                      save_pretrained)
from bert_kit.data import ClassificationDataset, create_classification_dataloader, make_loader
from bert_kit.evaluation import predict_logits
from bert_kit.training import compute_regression_loss, count_labels, multi_label_loss
from bert_kit.training.memory import cut
from tiny_texts import make_texts, tokenizer

TEXTS = [*make_texts(9, 30), "ka", ""]


@pytest.mark.parametrize("max_length, stride", [(3, 1), (9, 1), (9, 4), (9, 7), (16, 14), (400, 7)])
def test_windows_hold_every_token_in_order(max_length, stride):
    dataset = ClassificationDataset(TEXTS, range(len(TEXTS)), tokenizer(), max_length,
                                    stride=stride)
    room = max_length - 2
    for i, encoding in enumerate(tokenizer().encode_pieces(TEXTS)):
        ids, item = encoding.ids, dataset[i]
        windows = [window["input_ids"].tolist() for window in item["windows"]]
        starts = [0]
        while starts[-1] + room < len(ids):  # the last one is full too
            starts.append(min(starts[-1] + stride, len(ids) - room))
        assert windows == [[tokenizer().cls_id, *ids[s:s + room], tokenizer().sep_id]
                           for s in starts]
        assert all(not window["token_type_ids"].any() for window in item["windows"])
        assert item["labels"] == i and dataset.lengths[i] == len(ids) + 2


def test_a_batch_has_a_place_for_every_window():
    loader = create_classification_dataloader(TEXTS, range(11), tokenizer(), 4, max_length=9,
                                              shuffle=False, stride=4, sample_weights=[2.0] * 11)
    dataset = loader.dataset
    for number, batch in enumerate(loader):
        rows = [dataset[i]["windows"] for i in range(4 * number, min(4 * number + 4, 11))]
        assert batch["input_ids"].shape == batch["attention_mask"].shape == (
            len(rows), max(map(len, rows)), max(len(w["input_ids"]) for row in rows for w in row))
        for ids, mask, windows in zip(batch["input_ids"], batch["attention_mask"], rows):
            assert mask.any(-1).sum() == len(windows)
            for place, window in enumerate(windows):
                assert ids[place][mask[place].bool()].tolist() == window["input_ids"].tolist()
        assert count_labels(batch) == {"labels": len(rows)}
        pieces = cut(batch, 3)  # what is done when memory is short
        assert sum(len(piece["labels"]) for piece in pieces) == len(rows)
        assert all(len(piece["input_ids"]) == len(piece["labels"]) for piece in pieces)
    none = loader.collate_fn([])
    assert none["input_ids"].shape[0] == 0 and none["input_ids"].ndim == 3


def models(pooling, **changes):
    config = BertConfig(vocab_size=tokenizer().vocab_size, hidden_size=30, num_hidden_layers=2,
                        num_attention_heads=5, intermediate_size=37, max_position_embeddings=16,
                        initializer_range=0.1, window_pooling=pooling, **changes)
    torch.manual_seed(1)
    return BERTForSequenceClassification(config, 3).eval()


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("head", [{}, {"type": "mlp", "pooling": "mean"}, {"type": "bilstm"},
                                  {"type": "cnn"}])
def test_logits_are_pooled_by_text(pooling, head):
    model = models(pooling, classifier=head)
    dataset = ClassificationDataset(TEXTS, [0] * 11, tokenizer(), 9, stride=4)
    logits, _ = predict_logits(model, make_loader(dataset, 4, shuffle=False), "cpu")
    for i in range(11):
        each = torch.cat([model(torch.tensor(window["input_ids"])[None])
                          for window in dataset[i]["windows"]])
        want = each.mean(0) if pooling == "mean" else each.max(0).values
        torch.testing.assert_close(logits[i], want, atol=1e-5, rtol=1e-5)


def test_short_texts_score_as_without_windows():
    model, texts = models("max"), make_texts(7, 3)
    plain = ClassificationDataset(texts, [0] * 7, tokenizer(), 16)
    windows = ClassificationDataset(texts, [0] * 7, tokenizer(), 16, stride=5)
    assert max(plain.lengths) <= 16
    torch.testing.assert_close(
        *(predict_logits(model, make_loader(dataset, 3, shuffle=False), "cpu")[0]
          for dataset in (plain, windows)), atol=1e-5, rtol=1e-5)


def test_without_a_mask_every_window_counts_and_without_a_window_it_is_finite():
    model, ids = models("mean"), torch.randint(5, 40, (2, 3, 6))
    want = model(ids.flatten(0, 1)).unflatten(0, (2, 3)).mean(1)
    torch.testing.assert_close(model(ids), want, atol=1e-6, rtol=1e-5)
    mask = torch.ones_like(ids)
    mask[1] = 0
    logits = model(ids, mask)
    assert logits.isfinite().all() and torch.allclose(logits[0], want[0], atol=1e-6)
    assert model(ids[:0], mask[:0]).shape == (0, 3)


@pytest.mark.parametrize("loss, labels, size", [
    (compute_classification_loss, list(range(3)) * 3 + [0, 1], 3),
    (compute_regression_loss, np.linspace(0, 1, 11), 1),
    (multi_label_loss(), (np.arange(44).reshape(11, 4) % 3 == 0), 4)])
def test_every_loss_takes_windows_and_small_batches_equal_large_ones(loss, labels, size):
    dataset = ClassificationDataset(TEXTS, labels, tokenizer(), 9, stride=4)
    model = BERTForMultiLabel(models("mean").config, size).eval()
    results = []
    for batch_size in (11, 4):
        amp = AMPTrainer(model, torch.optim.SGD(model.parameters(), lr=0.0), precision="float32")
        result = amp.train_step(loss, make_loader(dataset, batch_size, shuffle=False))
        results.append((result.loss, result.grad_norm))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-5)


def test_on_an_accelerator_nothing_waits():
    """The meta device takes an accelerator's branches, refuses CPU tensors and `.item()`."""
    model = models("mean").to("meta").train()
    loader = create_classification_dataloader(TEXTS, [0] * 11, tokenizer(), 4, max_length=9,
                                              stride=4)
    compute_classification_loss(model, next(iter(loader))).backward()
    assert model.classifier.output.weight.grad.device.type == "meta"


def test_what_stands_late_in_a_text_is_learned():
    """The telling word is beyond the first row: only windows see it."""
    texts = [f"{'mi ' * 20}{'kato' if i % 2 else 'sulo'} re" for i in range(40)]
    scores = {}
    for stride in (0, 7):
        model = models("max")
        loader = create_classification_dataloader(texts, [i % 2 for i in range(40)], tokenizer(),
                                                  10, max_length=12, stride=stride)
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        model.train()
        for _ in range(20):
            for batch in loader:
                optimizer.zero_grad()
                compute_classification_loss(model, batch).backward()
                optimizer.step()
        logits, labels = predict_logits(model, loader, "cpu")
        scores[stride] = (logits.argmax(1) == labels).float().mean().item()
    assert scores[7] > 0.95 and scores[0] < 0.7


def test_the_configuration_keeps_how_texts_were_read(tmp_path):
    model = models("max", window_stride=5)
    save_pretrained(model, tmp_path)
    again = load_pretrained(BERTForSequenceClassification, tmp_path, strict=True)
    assert (again.config.window_stride, again.config.window_pooling) == (5, "max")
    assert "window" not in str(BertConfig().to_dict())  # the file is the reference's
    for change, part in (({"window_stride": -1}, "window_stride is -1"),
                         ({"window_pooling": "sum"}, "window_pooling is 'sum'; expected .*mean")):
        with pytest.raises(ConfigError, match=part):
            BertConfig(**change)


@pytest.mark.parametrize("stride", [-1, 8, 1.5, True, None])
def test_a_stride_that_would_leave_out_tokens(stride):
    with pytest.raises(DataError, match="stride is .*; expected a whole number from 0 to 7"):
        ClassificationDataset(["ka"], [0], tokenizer(), 9, stride=stride)
    with pytest.raises(DataError, match="stride is 3 for pairs"):
        ClassificationDataset([("ka", "to")], [0], tokenizer(), 9, stride=3)
