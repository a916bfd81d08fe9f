"""Datasets of texts: against the tokenizer's own rows, and the loaders as a user meets them."""

import hashlib
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_texts import make_texts, tokenizer

from bert_kit import (BertConfig, BERTForMaskedLM, BERTForSequenceClassification,
                      ClassificationDataset, MLMDataset, compute_classification_loss,
                      compute_mlm_loader_loss, compute_mlm_loss, create_classification_dataloader,
                      create_mlm_dataloader, evaluate_classification_metrics)
from bert_kit.data.rows.pieces import Ragged
from bert_kit.errors import DataError

TEXTS = ["", *make_texts(50), " ", "[SEP] [MASK] [CLS]", "kato mire\n", "last line"]
IGNORE = -100


def originals(row):
    """The ids of a masked row before masking."""
    return np.where(row["labels"] == IGNORE, row["input_ids"], row["labels"]).tolist()


def small_model(task, **changes):
    return task(BertConfig(vocab_size=tokenizer().vocab_size, hidden_size=24, num_hidden_layers=2,
                           num_attention_heads=2, intermediate_size=40,
                           max_position_embeddings=32, hidden_dropout_prob=0.0, **changes))


def test_ragged_is_a_list_of_lists():
    rng = np.random.default_rng(0)
    for lists in ([], [[]], [[], [3], []], [rng.integers(9, size=n).tolist() for n in range(40)]):
        rows = Ragged(iter(lists))
        assert [row.tolist() for row in rows] == lists
        assert len(rows) == len(lists) and rows.lengths.tolist() == [len(row) for row in lists]
        assert rows.values.dtype == np.int32 and rows.values.size == sum(map(len, lists))
        assert rows.values.flags.writeable and rows.bounds.dtype == np.int64
        copy = pickle.loads(pickle.dumps(rows))
        assert [row.tolist() for row in copy] == lists
        with pytest.raises(IndexError):
            rows[len(lists)]


@pytest.mark.parametrize("max_length", [3, 4, 7, 20, 500])
def test_mlm_rows_hold_every_piece_once(max_length):
    dataset = MLMDataset(TEXTS, tokenizer(), max_length, seed=4)
    pieces = []
    for row, length in zip(dataset, dataset.lengths):
        ids = originals(row)
        assert 3 <= len(ids) == length <= max_length
        assert ids[0] == tokenizer().cls_id and ids[-1] == tokenizer().sep_id
        assert not {tokenizer().cls_id, tokenizer().sep_id, tokenizer().mask_id} & set(ids[1:-1])
        assert row["token_type_ids"].tolist() == [0] * length
        pieces += ids[1:-1]
    assert pieces == [n for row in tokenizer().encode_pieces(TEXTS) for n in row.ids]


def test_a_text_fills_its_rows():
    """Only the last row of a text is shorter than the others."""
    sizes = [len(row.ids) for row in tokenizer().encode_pieces(TEXTS)]
    expected = [part for size in sizes
                for part in [10] * (size // 10) + [size % 10] * (size % 10 > 0)]
    assert (MLMDataset(TEXTS, tokenizer(), 12).lengths - 2).tolist() == expected


def test_masks_change_with_epoch_row_and_seed_only():
    texts = [" ".join(["kato mire sulo"] * 9)] * 30

    def masks(seed, epoch):
        dataset = MLMDataset(texts, tokenizer(), seed=seed)
        return [dataset[(epoch, row)]["input_ids"].tobytes() for row in range(30)]
    assert masks(0, 0) == masks(0, 0) and masks(5, 2) == masks(5, 2)
    different = {mask for seed in range(3) for epoch in range(3) for mask in masks(seed, epoch)}
    assert len(different) == 270


def test_same_rows_in_a_new_process():
    """Another interpreter, with another order of sets, makes the same tokenizer and rows."""
    program = ("from data.test_datasets import digest\n"
               "print(digest())")
    here = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(here), str(here.parent)])
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "99"})
    assert result.stdout.strip() == digest(), result.stderr


def digest():
    batches = create_mlm_dataloader(make_texts(30), tokenizer(), 4, whole_word=True, seed=8)
    content = [batch[key].numpy().tobytes() for batch in batches for key in sorted(batch)]
    return hashlib.sha256(b"".join(content)).hexdigest()


@pytest.mark.parametrize("max_length", [3, 7, 128])
def test_classification_rows_are_the_tokenizers(max_length):
    labels = [i % 4 for i in range(len(TEXTS))]
    dataset = ClassificationDataset(iter(TEXTS), np.array(labels), tokenizer(), max_length)
    rows = tokenizer().encode_batch(TEXTS, max_length=max_length)
    assert [row["input_ids"].tolist() for row in dataset] == [row.ids for row in rows]
    assert [row["token_type_ids"].tolist() for row in dataset] == [row.type_ids for row in rows]
    assert [row["labels"] for row in dataset] == labels
    assert all(type(row["labels"]) is int for row in dataset)
    assert dataset.lengths.tolist() == [len(row.ids) for row in rows]


def test_changing_a_row_leaves_the_dataset_alone():
    for dataset in (ClassificationDataset(["kato"], [0], tokenizer()),
                    MLMDataset(["kato"], tokenizer())):
        before = dataset[0]["input_ids"].tolist()
        dataset[0]["input_ids"][:] = 0
        assert dataset[0]["input_ids"].tolist() == before


def test_labels_may_be_any_whole_numbers():
    for labels in ([1, 0], (np.int64(1), np.uint8(0)), torch.tensor([1, 0]), [1.0, 0.0]):
        dataset = ClassificationDataset(["ka", "to"], labels, tokenizer())
        assert dataset.labels == [1, 0]


def test_sample_weights_come_out_with_their_rows():
    texts, weights = make_texts(30), np.random.default_rng(0).random(30).tolist()
    loader = create_classification_dataloader(texts, range(30), tokenizer(), 7, seed=2,
                                              sample_weights=weights)
    seen = []
    for batch in loader:
        assert batch["sample_weights"].dtype == torch.float32
        assert batch["sample_weights"].shape == batch["labels"].shape
        assert torch.equal(batch["sample_weights"], torch.tensor(weights)[batch["labels"]])
        seen += batch["labels"].tolist()
    assert sorted(seen) == list(range(30))
    assert all("sample_weights" not in batch for batch in create_classification_dataloader(
        texts, range(30), tokenizer()))


def test_weights_may_be_any_numbers_from_0():
    for weights in ([0, 3], (0.0, 3.0), np.array([0, 3]), np.float32([0, 3]),
                    torch.tensor([0.0, 3.0])):
        dataset = ClassificationDataset(["ka", "to"], [0, 1], tokenizer(), sample_weights=weights)
        assert [row["sample_weights"] for row in dataset] == [0, 3]


@pytest.mark.parametrize("weight", [-1, -1e-9, float("nan"), float("inf"), 1e39, 10**400, "1",
                                    None, True, [1.0], 1j])
def test_bad_weights_are_named(weight):
    with pytest.raises(DataError, match="sample_weights of row 1 is .*expected a finite number"):
        ClassificationDataset(["ka", "to"], [0, 1], tokenizer(), sample_weights=[1, weight])


BAD_CALLS = {
    "counts": (lambda: ClassificationDataset(["ka"], [0, 1], tokenizer()), "1 texts but 2 labels"),
    "weights": (lambda: ClassificationDataset(["ka"], [0], tokenizer(), sample_weights=[]),
                "1 texts but 0 sample_weights; expected as many"),
    "no texts": (lambda: ClassificationDataset([], [], tokenizer()), "no texts"),
    "one string": (lambda: ClassificationDataset("ka", [0, 1], tokenizer()), "texts is one string"),
    "a number": (lambda: ClassificationDataset(["ka", 5], [0, 1], tokenizer()), "row 1 of texts"),
    "late row": (lambda: MLMDataset(["ka"] * 2000 + [None], tokenizer()), "row 2000 of texts"),
    "mlm string": (lambda: MLMDataset("kato", tokenizer()), "texts is one string"),
    "no tokens": (lambda: MLMDataset(["", " \n"], tokenizer()), "none of the texts has a token"),
    "no text": (lambda: MLMDataset([], tokenizer()), "none of the texts has a token"),
    "short": (lambda: MLMDataset(["ka"], tokenizer(), 2), "max_length is 2; .* from 3"),
    "half": (lambda: MLMDataset(["ka"], tokenizer(), 9.5), "max_length is 9.5"),
    "short class": (lambda: ClassificationDataset(["ka"], [0], tokenizer(), 2), "max_length is 2"),
    "probability": (lambda: MLMDataset([], tokenizer(), mask_probability=1.5), "is 1.5"),
    "seed": (lambda: MLMDataset(["ka"], tokenizer(), seed=-1), "seed is -1; expected a whole"),
    "batch size": (lambda: create_mlm_dataloader(["ka"], tokenizer(), 0), "batch_size is 0"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_get_one_line(name):
    call, message = BAD_CALLS[name]
    with pytest.raises(DataError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize("label", [-1, IGNORE, 0.5, "1", "spam", None, True, [0, 1], float("nan"),
                                   float("inf"), np.int64(-1)])
def test_bad_labels_are_named(label):
    with pytest.raises(DataError, match="label of row 1 is .*expected a class number from 0"):
        ClassificationDataset(["ka", "to"], [0, label], tokenizer())


def test_memory_while_reading():
    """Encoding holds one text at a time as a list; a row costs 4 bytes a token."""
    texts = ["kato mire sulo nepa"] * (20_000)
    tokenizer().encode_pieces(texts[:2])
    tracemalloc.start()
    dataset = MLMDataset(texts, tokenizer())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert dataset.rows.values.nbytes == 4 * dataset.lengths.sum()
    assert peak < 20 * dataset.lengths.sum() + 2**20


def test_memory_of_a_classification_dataset():
    """A row costs 4 bytes a token and three numbers of 8; no copies of texts (100 bytes a row)."""
    texts = ["kato mire sulo nepa " * 5] * (20_000)
    labels = [row % 5 for row in range(len(texts))]
    tokenizer().encode_pieces(texts[:2])
    tracemalloc.start()
    dataset = ClassificationDataset(texts, labels, tokenizer(), max_length=8)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == len(texts)
    assert held < (4 * 8 + 3 * 8) * len(texts) + 2**16
    assert peak < held + 2**20  # words and one text as lists


def test_mlm_loader_of_the_readme():
    """The call of the README: one short text, batches of 8."""
    loader = create_mlm_dataloader(texts=["Your training text..."], tokenizer=tokenizer(),
                                   batch_size=8, mask_probability=0.15)
    batch, = loader
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    assert (batch["labels"] != IGNORE).any()
    loss = compute_mlm_loss(small_model(BERTForMaskedLM), batch)
    assert 3 < float(loss.detach()) < 6  # about ln V of a model that knows nothing


def test_passes_over_a_loader():
    """A shuffled loader masks anew in each pass; an unshuffled one is the same each time."""
    def passes(shuffle):
        loader = create_mlm_dataloader(make_texts(20), tokenizer(), 4, shuffle=shuffle)
        return [[batch["input_ids"].tolist() for batch in loader] for _ in range(3)]
    first, second, third = passes(shuffle=True)
    assert first != second != third != first
    assert [first, second, third] == passes(shuffle=True)
    assert len({str(one) for one in passes(shuffle=False)}) == 1


def test_pretraining_learns():
    """From knowing nothing to the fixed word order of the texts, on masks it has not seen."""
    texts = ["kami tore sulo nepa kare misu"] * 40
    model = small_model(BERTForMaskedLM)
    loader = create_mlm_dataloader(texts, tokenizer(), 8, max_length=32)
    held_out = create_mlm_dataloader(texts, tokenizer(), 8, shuffle=False, seed=1, max_length=32)
    before = compute_mlm_loader_loss(model, held_out)
    assert before == compute_mlm_loader_loss(model, held_out)
    train(model, loader, compute_mlm_loss, epochs=12)
    assert compute_mlm_loader_loss(model, held_out) < before / 4


def test_classification_of_the_readme():
    texts, labels = ["Great movie!", "Terrible experience"], [1, 0]
    batch, = create_classification_dataloader(texts=texts, labels=labels, tokenizer=tokenizer(),
                                              batch_size=8)
    assert sorted(batch["labels"].tolist()) == [0, 1] and batch["labels"].dtype == torch.int64
    texts = ["kato " + text for text in make_texts(30, 6)] + ["sumi " + text
                                                              for text in make_texts(30, 6, seed=1)]
    labels = [0] * 30 + [1] * 30
    model = small_model(BERTForSequenceClassification)
    loader = create_classification_dataloader(texts, labels, tokenizer(), 8, max_length=30,
                                              group_by_length=True)
    train(model, loader, compute_classification_loss, epochs=8)
    val_loader = create_classification_dataloader(texts, labels, tokenizer(), 8, max_length=30,
                                                  shuffle=False)
    metrics = evaluate_classification_metrics(model, val_loader, device="cpu", num_classes=2)
    assert metrics["accuracy"] > 0.9 and metrics["f1"] > 0.9


def train(model, loader, loss, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
