import copy
import math

import pytest
import torch

from bert_kit import (BERTForMaskedLM, BERTForNextSentencePrediction, BERTForPreTraining,
                      BERTForSequenceClassification, BERTModel, DataError, MaskedLMHead,
                      NextSentenceHead, Pooler, compute_classification_loss, compute_mlm_loss)
from bert_kit.training import compute_pretraining_loss


def test_mlm_logits_at_positions_equal_all_logits(config, ragged):
    ids, mask, types = ragged
    for task in (BERTForMaskedLM, BERTForPreTraining):
        model = task(config).eval()
        positions = torch.tensor([0, 3, 41, 26])
        full, part = model(ids, mask, types), model(ids, mask, types, positions=positions)
        full, part = (x if isinstance(x, torch.Tensor) else x.mlm for x in (full, part))
        assert full.shape == (7, 13, 99)
        torch.testing.assert_close(part, full.flatten(0, 1)[positions], atol=1e-6, rtol=1e-5)
    with pytest.raises(DataError, match="positions"):
        model(ids, mask, types, positions=positions[None])


def test_mlm_head_by_hand(config):
    head = MaskedLMHead(config)
    torch.nn.init.normal_(head.bias)
    hidden, words = torch.randn(4, 30), torch.randn(99, 30)
    x = torch.nn.functional.gelu(hidden @ head.dense.weight.T + head.dense.bias)
    x = torch.nn.functional.layer_norm(x, (30,), eps=1e-12)
    torch.testing.assert_close(head(hidden, words), x @ words.T + head.bias, atol=1e-5, rtol=1e-5)


def test_the_decoder_is_the_word_embedding(config, ragged):
    model = copy.deepcopy(BERTForMaskedLM(config)).eval()
    before = model(ragged[0])
    with torch.no_grad():
        model.bert.embeddings.word.weight[50] += 1
    assert (model(ragged[0]) != before)[..., 50].all()
    names = [name for name, p in model.named_parameters() if 99 in p.shape]
    assert names == ["bert.embeddings.word.weight", "mlm_head.bias"]


def test_loss_at_the_start_is_about_ln_v(config, ragged):
    ids = ragged[0]

    def first_loss(config):
        logits = BERTForMaskedLM(config).eval()(ids).flatten(0, 1)
        return torch.nn.functional.cross_entropy(logits, ids.flatten()).item()

    assert abs(first_loss(config) - math.log(99)) < 0.3
    # Logits as wide as the root of D bet on some pieces, mostly on the wrong ones.
    assert first_loss(config.replace(initializer_range=1.0)) > 2 * math.log(99)


def test_pooler_and_nsp_look_at_the_first_token_only(config):
    pooler, head = Pooler(config), NextSentenceHead(config)
    hidden = torch.randn(3, 6, 30)
    other = torch.cat([hidden[:, :1], torch.randn(3, 5, 30)], dim=1)
    assert torch.equal(head(pooler(hidden)), head(pooler(other)))
    torch.testing.assert_close(
        pooler(hidden), torch.tanh(hidden[:, 0] @ pooler.dense.weight.T + pooler.dense.bias))


def test_every_parameter_learns(config, ragged):
    ids, mask, types = ragged
    output = BERTForPreTraining(config)
    both = output(ids, mask, types)
    (both.mlm.square().mean() + both.next_sentence.square().mean()).backward()
    assert all(p.grad is not None for p in output.parameters())
    # MLM alone leaves the pooler alone; that is why models trained so need it re-trained.
    model = BERTForPreTraining(config)
    model(ids, mask, types).mlm.square().mean().backward()
    assert model.bert.pooler.dense.weight.grad is None


def test_shapes_and_poolers(config, ragged):
    ids, mask, types = ragged
    assert BERTForNextSentencePrediction(config)(ids, mask, types).shape == (7, 2)
    model = BERTForSequenceClassification(config, num_labels=4)
    assert model(ids, mask, types).shape == (7, 4)
    assert model.config.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
    assert BERTForMaskedLM(config).bert.pooler is None
    assert BERTModel(config, pooler=False)(ids).pooler_output is None


def test_any_head_can_be_put_on_the_classifier(config, ragged):
    class MeanOfTokens(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            self.scores = torch.nn.Linear(config.hidden_size, config.num_labels)

        def forward(self, encoded, mask):
            total = (encoded.last_hidden_state * mask[..., None]).sum(1)
            return self.scores(total / mask.sum(1, keepdim=True))

    ids, mask, types = ragged
    model = BERTForSequenceClassification(config, 3, classifier=MeanOfTokens).eval()
    hidden = model.bert(ids, mask, types).last_hidden_state
    want = torch.stack([hidden[b, :n].mean(0) for b, n in enumerate(mask.sum(1))])
    torch.testing.assert_close(model(ids, mask, types), model.classifier.scores(want),
                               atol=1e-6, rtol=1e-5)


class MaskedMean(torch.nn.Module):
    """A head that uses the mask and the hidden states."""

    def __init__(self, config):
        super().__init__()
        self.scores = torch.nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, encoded, mask):
        hidden = encoded.last_hidden_state.masked_fill(~mask[..., None], 0)
        return self.scores(hidden.sum(1) / mask.sum(1, keepdim=True))


@pytest.mark.parametrize("build, loss, extra", [
    (BERTForMaskedLM, compute_mlm_loss, {}),
    (BERTForPreTraining, compute_pretraining_loss, {"next_sentence_label": torch.tensor([0, 1])}),
    (BERTForSequenceClassification, compute_classification_loss, {"labels": torch.tensor([0, 1])}),
    (lambda config: BERTForSequenceClassification(config, 2, MaskedMean),
     compute_classification_loss, {"labels": torch.tensor([1, 1])}),
])
def test_the_step_on_an_accelerator_mixes_no_devices_and_never_waits(config, build, loss, extra):
    """The meta device takes an accelerator's branches, refuses CPU tensors and `.item()`."""
    model = build(config).to("meta")
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    ids = torch.full((2, 4), 7)
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0,
             "labels": torch.where(mask.bool(), ids, -100), **extra}
    loss(model, batch).backward()
    grown = [p for p in model.parameters() if p.grad is not None]
    assert grown and all(p.grad.device.type == "meta" for p in grown)


def test_a_head_gets_a_mask_even_without_padding(config, ragged):
    model = BERTForSequenceClassification(config, 2, MaskedMean).eval()
    ids = ragged[0]
    assert torch.equal(model(ids), model(ids, torch.ones_like(ids)))


def test_classifier_has_its_own_dropout(config):
    model = BERTForSequenceClassification(config.replace(classifier_dropout=0.5))
    assert model.classifier.dropout.p == 0.5
    assert BERTForSequenceClassification(config).classifier.dropout.p == 0.1


def test_a_head_does_not_touch_the_encoder(config):
    torch.manual_seed(5)
    bare = BERTModel(config)
    torch.manual_seed(5)
    model = BERTForSequenceClassification(config)
    for a, b in zip(bare.parameters(), model.bert.parameters()):
        assert torch.equal(a, b)
