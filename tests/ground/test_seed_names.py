"""The calls that the kit's first description promised, as they stand there."""

import shutil

import pytest
import torch

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, BERTModel,
                      compute_classification_loss, compute_mlm_loader_loss, compute_mlm_loss,
                      create_classification_dataloader, create_mlm_dataloader,
                      create_model_config, evaluate_classification_metrics, get_tokenizer)


@pytest.fixture
def bert_base(tmp_path, monkeypatch, minilm):
    """A local folder called bert-base-uncased with that model's vocabulary."""
    folder = tmp_path / "models" / "bert-base-uncased"
    folder.mkdir(parents=True)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(minilm / name, folder)
    monkeypatch.setenv("LLM_MODELS_PATH", str(tmp_path / "models"))


def test_model_creation():
    config = create_model_config("bert-base-uncased (110M)")
    with torch.device("meta"):
        model = BERTModel(config)
    assert model.embeddings.word.weight.shape == (30_522, 768) and len(model.blocks) == 12


def small(config):
    return config.replace(num_hidden_layers=1, hidden_size=24, num_attention_heads=2,
                          intermediate_size=32)


def test_masked_language_modelling(bert_base):
    model = BERTForMaskedLM(small(create_model_config("bert-base-uncased (110M)")))
    tokenizer = get_tokenizer("bert-base-uncased")
    train_loader = create_mlm_dataloader(
        texts=["Your training text..."] * 9, tokenizer=tokenizer, batch_size=8,
        mask_probability=0.15)
    for batch in train_loader:
        compute_mlm_loss(model, batch).backward()
    assert 9 < compute_mlm_loader_loss(model, train_loader) < 12  # ln 30,522 is 10.3


def test_classification_and_evaluation(bert_base):
    config = small(create_model_config("bert-base-uncased (110M)"))
    model = BERTForSequenceClassification(config, num_labels=2)
    texts = ["Great movie!", "Terrible experience"]
    labels = [1, 0]
    tokenizer = get_tokenizer("bert-base-uncased")
    train_loader = create_classification_dataloader(
        texts=texts, labels=labels, tokenizer=tokenizer, batch_size=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(20):
        for batch in train_loader:
            compute_classification_loss(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
    metrics = evaluate_classification_metrics(model, train_loader, device="cpu", num_classes=2)
    assert f"Accuracy: {metrics['accuracy']:.4f}" == "Accuracy: 1.0000"
    assert f"F1 Score: {metrics['f1']:.4f}" == "F1 Score: 1.0000"
    assert {"precision", "recall"} <= metrics.keys()
