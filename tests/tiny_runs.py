"""A small training run for the tests of the loop, and what to compare two runs by."""

import csv

import torch
from tiny_rows import rows_loader

from bert_kit import (BertConfig, BERTForMaskedLM, BERTForSequenceClassification, Trainer,
                      TrainingArguments, compute_classification_loss, compute_mlm_loss,
                      save_pretrained)
from bert_kit.training import ALONE, mean_loss
from bert_kit.weights import load_weights

CONFIG = BertConfig(vocab_size=99, hidden_size=20, num_hidden_layers=2, num_attention_heads=2,
                    intermediate_size=24, max_position_embeddings=16)


def build(folder, masked=False, evaluate="loss", rows=23, seed=0, loss=None, stopping=None,
          memory=None, unfreezing=None, config=CONFIG, processes=ALONE, **settings):
    """A trainer on 23 rows in batches of 3, two to a step: 4 steps an epoch, the last one short.

    `unfreezing(model)` returns the trainer's `before_epoch`.
    """
    torch.manual_seed(seed)
    model = (BERTForMaskedLM if masked else BERTForSequenceClassification)(config)
    plain_loss = compute_mlm_loss if masked else compute_classification_loss
    settings = {"num_train_epochs": 2, "gradient_accumulation_steps": 2, "logging_steps": 3,
                "learning_rate": 1e-3, **settings}
    args = TrainingArguments(None if folder is None else str(folder), **settings)
    held_out = rows_loader(11, 4, masked, shuffle=False, seed=9)
    if evaluate == "loss":
        def evaluate():
            return {"loss": mean_loss(plain_loss, model, held_out)}
    return Trainer(model, args, loss or plain_loss,
                   rows_loader(rows, 3, masked, share=processes.share), evaluate,
                   lambda target: save_pretrained(model, target),
                   lambda source: load_weights(model, source), stopping=stopping, memory=memory,
                   before_epoch=None if unfreezing is None else unfreezing(model),
                   processes=processes)


def scripted(values):
    """An evaluation that gives these accuracies, one after the other."""
    values = iter(values)
    return lambda: {"loss": 1.0, "accuracy": next(values)}


def weights(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def read_csv(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))
