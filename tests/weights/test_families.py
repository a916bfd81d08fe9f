"""RoBERTa, XLM-R and DistilBERT by their tables: the Hugging Face library has the answer."""

import itertools
import json

import pytest
import torch
from tiny_families import CLASSES, SIZES, library, make_model, write_model

from bert_kit import (BERTForMaskedLM, BERTForNextSentencePrediction, BERTForQuestionAnswering,
                      BERTForSequenceClassification, BERTForTokenClassification, BertConfig,
                      BERTModel, load_pretrained, save_pretrained)
from bert_kit.errors import ConfigError, WeightsError
from bert_kit.families import FAMILIES, bert_names, family_names
from bert_kit.model import (DenseClassifier, TransformerEncoderBlock, encoder_without_pooler,
                            prepare_for_inference)
from bert_kit.model.fast.prepared import can_prepare
from bert_kit.weights import load_weights, read_safetensors, write_safetensors

OTHERS = ("roberta", "xlm-roberta", "distilbert")
TASKS = {"Model": BERTModel, "ForMaskedLM": BERTForMaskedLM,
         "ForSequenceClassification": BERTForSequenceClassification,
         "ForTokenClassification": BERTForTokenClassification,
         "ForQuestionAnswering": BERTForQuestionAnswering}


@pytest.fixture
def rows():
    """(ids, mask): ragged rows, padded with 1, some of whose words are 1 as well."""
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(0, SIZES["vocab_size"], (5, 13), generator=draw)
    mask = (torch.arange(13) < torch.tensor([13, 1, 5, 9, 12])[:, None]).long()
    return ids.masked_fill(mask == 0, 1), mask


def theirs(model, ids, mask):
    """What the library says of the real tokens."""
    with torch.no_grad():
        out = model(ids, attention_mask=mask)
    if "start_logits" in out:
        return torch.stack([out.start_logits, out.end_logits], -1)[mask.bool()]
    found = out.logits if "logits" in out else out.last_hidden_state
    return found if found.ndim == 2 else found[mask.bool()]


def ours(model, ids, mask, types=None):
    with torch.no_grad():
        out = model(ids, mask, types)
    found = getattr(out, "last_hidden_state", out)
    return found if found.ndim == 2 else found[mask.bool()]


def assert_same(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family, task", [
    *itertools.product(("roberta", "distilbert"), TASKS), ("xlm-roberta", "ForMaskedLM")])
def test_numbers_are_the_library_s_and_go_back(family, task, tmp_path, rows):
    labels = {} if task == "ForQuestionAnswering" else {"num_labels": 4}
    reference = write_model(tmp_path / "theirs", family, task, **labels)
    expected, said = theirs(reference, *rows), []
    kind = TASKS[task]
    if family == "distilbert" and task == "Model":
        kind = encoder_without_pooler
    for fused in (False, True):
        model = load_pretrained(kind, tmp_path / "theirs", fused=fused, report=said.append,
                                strict=True)
        assert_same(ours(model, *rows), expected)
        # There is no second segment to be in.
        assert torch.equal(ours(model, *rows, torch.ones_like(rows[0])), ours(model, *rows))
    assert not said
    ready = prepare_for_inference(model)
    assert_same(ours(ready, *rows), expected)
    blocks = [part for part in ready.modules() if isinstance(part, TransformerEncoderBlock)]
    assert all((block.prepared is not None) == can_prepare("float32") for block in blocks)
    save_pretrained(model, tmp_path / "ours")
    opened, info = getattr(library(), CLASSES[family] + task).from_pretrained(
        tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert_same(theirs(opened.eval(), *rows), expected)
    stored, back = (read_safetensors(tmp_path / name / "model.safetensors")
                    for name in ("theirs", "ours"))
    assert back.keys() <= stored.keys()  # the library may store a tied tensor twice
    assert all(torch.equal(back[name], stored[name]) for name in back)
    settings = [json.loads((tmp_path / name / "config.json").read_text())
                for name in ("theirs", "ours")]
    assert settings[1]["architectures"] == settings[0]["architectures"]
    for key in ("max_position_embeddings", "model_type", "dim", "n_heads", "pad_token_id"):
        assert settings[1].get(key) == settings[0].get(key), key


def test_the_pooler_of_an_encoder(tmp_path, rows):
    reference = write_model(tmp_path, "roberta", "Model")
    with torch.no_grad():
        assert_same(load_pretrained(BERTModel, tmp_path)(*rows).pooler_output,
                    reference(rows[0], attention_mask=rows[1]).pooler_output)


def test_padding_in_front_is_not_counted_by_roberta(tmp_path, rows):
    ids, mask = (tensor.flip(1) for tensor in rows)
    reference = write_model(tmp_path, "xlm-roberta", "Model")
    for fused in (True, False):
        assert_same(ours(load_pretrained(BERTModel, tmp_path, fused=fused), ids, mask),
                    theirs(reference, ids, mask))


def test_the_longest_row(tmp_path):
    reference = write_model(tmp_path, "roberta", "ForMaskedLM")
    model = load_pretrained(BERTForMaskedLM, tmp_path)
    assert model.config.max_position_embeddings == SIZES["max_position_embeddings"] - 2 == 21
    ids = torch.randint(2, 97, (2, 21))
    assert_same(model(ids).flatten(0, 1), theirs(reference, ids, torch.ones_like(ids)))
    with pytest.raises(ValueError, match="22 tokens a row; expected 1 to .* 21"):
        model(torch.randint(2, 97, (2, 22)))


def test_a_family_s_padding_where_config_json_names_none():
    for values in ({}, {"pad_token_id": None}):
        config = BertConfig.from_dict({"model_type": "roberta", **values})
        assert (config.pad_token_id, config.position_offset,
                config.max_position_embeddings) == (1, 2, 510)


def test_what_a_pooler_is_asked_for_where_there_is_none(tmp_path):
    """It begins anew, which is said by the family's names; strictly it is refused."""
    write_model(tmp_path / "a", "distilbert", "Model")
    said = []
    model = load_pretrained(BERTForNextSentencePrediction, tmp_path / "a", report=said.append)
    assert said == [f"{tmp_path}/a/model.safetensors: newly initialised: distilbert.pooler.dense."
                    "weight, distilbert.pooler.dense.bias, cls.seq_relationship.weight, "
                    "cls.seq_relationship.bias"]
    with pytest.raises(WeightsError, match="lacks pooler.dense.bias"):
        load_pretrained(BERTModel, tmp_path / "a", strict=True)
    # The library has no such class of DistilBERT: the folder is the kit's own.
    save_pretrained(model, tmp_path / "b")
    again = load_pretrained(BERTForNextSentencePrediction, tmp_path / "b", strict=True)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(),
                                                 strict=True))
    stored = json.loads((tmp_path / "b" / "config.json").read_text())
    assert stored["architectures"] == ["BERTForNextSentencePrediction"]


@pytest.mark.parametrize("family", OTHERS)
def test_training_starts_from_the_encoder_and_a_checkpoint_is_exact(family, tmp_path):
    write_model(tmp_path / "a", family, "ForMaskedLM")
    said = []
    model = load_pretrained(BERTForSequenceClassification, tmp_path / "a", num_labels=3,
                            report=said.append)
    assert isinstance(model.classifier, DenseClassifier) and model.bert.pooler is None
    head = {"distilbert": "pre_classifier.weight"}.get(family, "classifier.dense.weight")
    assert "newly initialised" in said[0] and head in said[0] and "not used" in said[1]
    save_pretrained(model, tmp_path / "b")
    again = BERTForSequenceClassification(model.config)
    load_weights(again, tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(),
                                                 strict=True))
    # Another head is the kit's own; it goes with any encoder.
    own = load_pretrained(BERTForSequenceClassification, tmp_path / "a", report=said.append,
                          classifier={"type": "mlp", "hidden_dims": [5], "pooling": "pooler"})
    save_pretrained(own, tmp_path / "c")
    kept = load_pretrained(BERTForSequenceClassification, tmp_path / "c", strict=True)
    assert torch.equal(kept(torch.ones(2, 3, dtype=int)), own(torch.ones(2, 3, dtype=int)))
    assert json.loads((tmp_path / "c" / "config.json").read_text())["architectures"] == [
        "BERTForSequenceClassification"]


def test_dropout_of_the_head_is_the_library_s(tmp_path):
    """All of it in training: with p = 1 in front of the last layer only its bias is left."""
    for family in OTHERS:
        more = {"seq_classif_dropout": 1.0} if family == "distilbert" else {
            "classifier_dropout": 1.0}
        reference = write_model(tmp_path / family, family, "ForSequenceClassification", **more)
        model = load_pretrained(BERTForSequenceClassification, tmp_path / family).train()
        bias = {name: value for name, value in reference.named_parameters()}[
            "classifier.bias" if family == "distilbert" else "classifier.out_proj.bias"]
        assert torch.equal(model(torch.ones(3, 4, dtype=int)), bias.expand(3, -1))


def test_every_name_goes_both_ways():
    for family, task in itertools.product(OTHERS, TASKS):
        names = [*make_model(family, task).state_dict()]
        assert family_names(bert_names(names, family), family) == names
        assert not any(name.split(".")[0] in ("roberta", "distilbert", "lm_head")
                       for name in bert_names(names, family))
    assert len(FAMILIES) == len(OTHERS) + 1


def test_wrappers_and_tensors_under_two_names(tmp_path, rows):
    for family in OTHERS:
        reference = write_model(tmp_path / family, family, "ForSequenceClassification")
        path = tmp_path / family / "model.safetensors"
        stored = read_safetensors(path)
        write_safetensors(path, {f"module.{name}": value for name, value in stored.items()})
        assert_same(ours(load_pretrained(BERTForSequenceClassification, tmp_path / family,
                                         strict=True), *rows), theirs(reference, *rows))
        name = "classifier.dense.weight"
        pair = {"pre_classifier.weight", name} if family == "distilbert" else {
            "roberta.embeddings.LayerNorm.bias", "bert.embeddings.LayerNorm.bias"}
        write_safetensors(path, {**stored, **dict.fromkeys(pair, torch.ones(2))})
        with pytest.raises(WeightsError, match="two tensors would both be called"):
            load_pretrained(BERTForSequenceClassification, tmp_path / family)


@pytest.mark.parametrize("kind", ["mpnet", "deberta-v2", "electra", "modernbert", "camembert", 3])
def test_other_families_are_refused_by_name(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ConfigError, match=rf"config.json: model_type is {kind!r}; the kit does "
                                          "only 'bert', 'distilbert', 'roberta', 'xlm-roberta'"):
        BertConfig.load(tmp_path)


@pytest.mark.parametrize("values, message", [
    ({"model_type": "roberta", "hidden_act": "relu"}, "hidden_act is 'relu'; every roberta has"),
    ({"model_type": "distilbert", "type_vocab_size": 2}, "type_vocab_size is 2; every distilbert"),
    ({"model_type": "roberta", "max_position_embeddings": 2}, "max_position_embeddings is 2"),
    ({"model_type": "distilbert", "dim": 10}, "hidden_size 10 is not a multiple"),
    ({"model_type": "roberta", "pad_token_id": "x"}, "pad_token_id is 'x'")])
def test_what_a_family_has_no_choice_in(values, message):
    with pytest.raises(ConfigError, match=f"config.json: {message}"):
        BertConfig.from_dict(values, "config.json")


@pytest.mark.parametrize("family", OTHERS)
def test_a_head_of_the_kit_keeps_its_family(tmp_path, family, rows):
    write_model(tmp_path / "a", family, "Model")
    model = load_pretrained(BERTForSequenceClassification, tmp_path / "a", num_labels=3,
                            classifier={"type": "cnn"}, report=lambda line: None)
    save_pretrained(model, tmp_path / "b")
    stored = json.loads((tmp_path / "b" / "config.json").read_text())
    assert (stored["model_type"], stored["encoder_type"]) == ("bert_kit", family)
    with pytest.raises(ValueError, match="model type `bert_kit`"):
        library().AutoModelForSequenceClassification.from_pretrained(tmp_path / "b")
    again = load_pretrained(BERTForSequenceClassification, tmp_path / "b", strict=True)
    assert again.config.model_type == family
    assert torch.equal(ours(again, *rows), ours(model, *rows))
    load_weights(again, tmp_path / "b")  # as a checkpoint is read
    save_pretrained(load_pretrained(BERTForSequenceClassification, tmp_path / "b", classifier={},
                                    report=lambda line: None), tmp_path / "c")
    plain = json.loads((tmp_path / "c" / "config.json").read_text())
    assert plain["model_type"] == family and "encoder_type" not in plain
