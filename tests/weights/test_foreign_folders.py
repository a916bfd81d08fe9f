"""Model folders as people have them: followed, converted, or named in one line with what to do.

Run: pytest tests/weights/test_foreign_folders.py
"""

import json
import re
import shlex
import sys
import types

import pytest
import torch
from tiny_models import google_arrays, tiny_config

from bert_kit.errors import BertKitError, WeightsError
from bert_kit.files import read_json
from bert_kit.foreign import what_it_is
from bert_kit.model import (BERTForMaskedLM, BERTForPreTraining, BERTForSequenceClassification,
                            BERTModel)
from bert_kit.tokenization import get_tokenizer
from bert_kit.weights import (WEIGHT_FILES, load_pretrained, read_header, read_safetensors,
                              read_weights, save_pretrained, to_hugging_face, write_safetensors)
from bert_kit.weights.names import unwrapped

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 438000000\n"


def saved(folder, task=BERTForSequenceClassification, **changes):
    torch.manual_seed(0)
    model = task(tiny_config(**changes))
    save_pretrained(model, folder)
    return model


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def message(folder, task=BERTForSequenceClassification):
    with pytest.raises(BertKitError) as caught:
        load_pretrained(task, folder, strict=True, report=lambda line: None)
    line = str(caught.value)
    assert "\n" not in line and len(line) <= 1_000
    return line


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- names that a wrapper has changed

def wrapped(names, whole="", encoder="bert."):
    return {whole + (encoder + name.removeprefix("bert.") if name.startswith("bert.") else name):
            tensor for name, tensor in names.items()}


@pytest.mark.parametrize("whole, encoder", [
    ("module.", "bert."), ("model.", "bert."), ("_orig_mod.", "bert."),
    ("module._orig_mod.model.", "bert."), ("", "model."), ("", "encoder."), ("", "bert.bert."),
    ("", "auto_model."), ("model.", "backbone."), ("", "bert."), ("", "")])
def test_prefixes_of_wrappers(tmp_path, capsys, whole, encoder):
    model = saved(tmp_path)
    tensors = to_hugging_face(model.state_dict())
    write_safetensors(tmp_path / "model.safetensors", wrapped(tensors, whole, encoder))
    again = load_pretrained(BERTForSequenceClassification, tmp_path, strict=True)
    assert same(again.state_dict(), model.state_dict()) and capsys.readouterr().out == ""


def test_names_that_no_wrapper_explains_stay():
    word = "embeddings.word_embeddings.weight"
    for names in ([f"roberta.{word}"], [f"student.bert.{word}", f"teacher.bert.{word}"], ["x"],
                  [f"my{word}"]):
        assert [*unwrapped({name: torch.ones(1) for name in names})] == names
    with pytest.raises(WeightsError, match="two tensors would both be called"):
        unwrapped({f"model.{word}": torch.ones(1), "model.a": torch.ones(1), "a": torch.ones(1)})


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module"])
def test_what_programs_save_of_a_training(tmp_path, key):
    model = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    tensors = {f"module.{name}": tensor.clone()
               for name, tensor in to_hugging_face(model.state_dict()).items()}
    torch.save({"epoch": 3, key: tensors, "optimizer": {"state": {}}},
               tmp_path / "pytorch_model.bin")
    again = load_pretrained(BERTForSequenceClassification, tmp_path, strict=True)
    assert same(again.state_dict(), model.state_dict())


def test_null_metadata_as_the_library_reads_it(tmp_path):
    path, tensor = tmp_path / "a.safetensors", torch.arange(3.0)
    header = json.dumps({"__metadata__": None, "a": {
        "dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + tensor.numpy().tobytes())
    assert torch.equal(read_safetensors(path)["a"], tensor)
    library = pytest.importorskip("safetensors.torch")
    assert torch.equal(library.load_file(path)["a"], tensor)


# ---- other programs' files

def command_in(line):
    """Return the code of the Python command in a message; it must be Python."""
    words = shlex.split(re.search(r'python -c ".*?"(?=,|$)', line)[0])
    compile(words[2], "command", "exec")
    return words[2]


@pytest.mark.parametrize("stem", ["bert_model.ckpt", "model.ckpt-1000"])
def test_google_s_folder_is_converted_by_the_command_of_the_message(tmp_path, monkeypatch, stem):
    model = saved(tmp_path, BERTForPreTraining)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "config.json").rename(tmp_path / "bert_config.json")
    for ending in ("index", "meta", "data-00000-of-00001"):
        (tmp_path / f"{stem}.{ending}").touch()
    line = message(tmp_path)
    assert stem in line
    arrays = google_arrays(to_hugging_face(model.state_dict()))
    reader = types.SimpleNamespace(get_tensor=arrays.get,
                                   get_variable_to_shape_map=lambda: dict.fromkeys(arrays))
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(
        train=types.SimpleNamespace(load_checkpoint={stem: reader}.get)))
    monkeypatch.chdir(tmp_path)
    exec(command_in(line), {})
    again = load_pretrained(BERTForPreTraining, tmp_path, strict=True)
    assert same(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("new, parts", [
    ("tf_model.h5", ["TensorFlow", "BertForSequenceClassification", "from_tf=True"]),
    ("flax_model.msgpack", ["Flax", "from_flax=True"]),
    ("adapter_model.safetensors", ["adapter", "merge_and_unload"]),
    ("model.onnx", ["ONNX"]), ("model-q4.gguf", ["llama.cpp"]), ("openvino_model.bin", []),
    ("model-00001-of-00002.safetensors", ["model.safetensors.index.json", "missing"]),
    ("weights.pt", ["weights.pt", "call it pytorch_model.bin"]),
    ("bert.safetensors", ["call it model.safetensors"]), ("optimizer.pt", ["training"])])
def test_other_files_are_named_with_what_to_do(tmp_path, new, parts):
    saved(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / new)
    line = message(tmp_path)
    assert line.startswith(f"{tmp_path}: {new}") and all(part in line for part in parts)
    if "python -c" in line:
        command_in(line)
    assert what_it_is(tmp_path, ["vocab.txt"]) is None  # weights are not what is looked for


@pytest.mark.parametrize("inner", ["onnx/model.onnx", "openvino/openvino_model.xml"])
def test_files_of_other_programs_in_a_folder_within(tmp_path, inner):
    saved(tmp_path)
    (tmp_path / inner).parent.mkdir()
    (tmp_path / "model.safetensors").rename(tmp_path / inner)
    assert message(tmp_path).startswith(f"{tmp_path}: {inner} is a model for O")


@pytest.mark.parametrize("inner", ["0_Transformer", "snapshots/0a1b"])
def test_a_model_in_a_folder_within(tmp_path, inner):
    saved(tmp_path / inner)
    assert message(tmp_path) == (f"{tmp_path}: holds no model, but the folder {inner} in it does; "
                                 "give it")


def test_a_model_saved_whole(tmp_path):
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(BERTForSequenceClassification(tiny_config()), tmp_path / "pytorch_model.bin")
    assert "an object saved whole is code, which is not run: save its state_d" in message(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_web_page_is_said_to_be_one(tmp_path, name):
    saved(tmp_path)
    (tmp_path / name).write_text("<!DOCTYPE html>\n" + "<p>" * 999)
    with pytest.raises(BertKitError, match=f"{name}: a web page, not the file itself; download"):
        load_pretrained(BERTForSequenceClassification, tmp_path)
        get_tokenizer(tmp_path)


def test_an_adapter_beside_weights_or_in_them_is_not_dropped(tmp_path):
    saved(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"task_type": "SEQ_CLS"}')
    load_pretrained(BERTForSequenceClassification, tmp_path)  # a leftover of one that is merged
    (tmp_path / "adapter_model.safetensors").touch()
    assert "AutoPeftModelForSequenceClassification" in message(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    tensors = dict(read_weights(tmp_path)[1])
    tensors["bert.encoder.layer.0.attention.self.query.lora_A.default.weight"] = torch.ones(1, 12)
    write_safetensors(tmp_path / "model.safetensors", tensors)
    assert "query.lora_A.default.weight" in message(tmp_path)


@pytest.mark.parametrize("name", [*WEIGHT_FILES, "config.json", "tokenizer.json", "vocab.txt",
                                  "tokenizer_config.json"])
def test_a_pointer_of_git_lfs_is_said_to_be_one(tmp_path, name):
    saved(tmp_path)
    if name in WEIGHT_FILES:
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(BertKitError, match=f"{name}: a pointer of Git LFS, .* git lfs pull"):
        load_pretrained(BERTForSequenceClassification, tmp_path)
        if name == "tokenizer_config.json":
            (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
        get_tokenizer(tmp_path)


def test_a_shard_that_is_a_pointer(tmp_path):
    for suffix, index in ((".bin", "pytorch_model.bin.index.json"),
                          (".safetensors", "model.safetensors.index.json")):
        (tmp_path / f"a{suffix}").write_text(POINTER)
        (tmp_path / index).write_text(json.dumps({"weight_map": {"x": f"a{suffix}"}}))
        with pytest.raises(BertKitError, match=f"a{suffix}: a pointer of Git LFS"):
            read_weights(tmp_path)


def test_the_newest_checkpoint_of_a_folder_without_a_model(tmp_path):
    for step in (9, 500, 1_000):
        saved(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-1000" / "model.safetensors").unlink()  # it has none
    assert message(tmp_path).endswith(f"give the newest, {tmp_path / 'checkpoint-500'}")


# ---- sizes that a file cannot hold

def row_of_ones(folder, width, layers, wide=None):
    """A small file whose tensors agree with a width whose matrices are enormous."""
    saved(folder)
    tensors = {"bert.embeddings.word_embeddings.weight": torch.zeros(37, width),
               "bert.embeddings.position_embeddings.weight": torch.zeros(1, width)}
    for layer in range(layers):
        tensors[f"bert.encoder.layer.{layer}.intermediate.dense.weight"] = torch.zeros(1, width)
    write_safetensors(folder / "model.safetensors", {
        name: tensor.to(torch.float8_e4m3fn) for name, tensor in tensors.items()})
    change(folder, hidden_size=width, num_attention_heads=1, intermediate_size=1,
           num_hidden_layers=layers, max_position_embeddings=1, **(wide or {}))


@pytest.mark.parametrize("width, layers, wide", [
    (16_384, 1, None), (2_048, 40, None), (8_192, 0, None),
    (3_000, 0, {"id2label": None, "label2id": None, "num_labels": 100_000})])
def test_more_than_the_file_can_hold_is_refused_before_anything_is_built(tmp_path, width, layers,
                                                                         wide):
    row_of_ones(tmp_path, width, layers, wide)

    def build(config):
        raise AssertionError("a model was built")

    with pytest.raises(WeightsError, match="config.json .* asks for"):
        load_pretrained(build, tmp_path)


def test_tensors_that_share_their_memory_count_once(tmp_path):
    row_of_ones(tmp_path, 8_192, 0)
    tensors = dict(read_weights(tmp_path)[1])
    (tmp_path / "model.safetensors").unlink()
    first = tensors["bert.embeddings.word_embeddings.weight"].clone()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    tensors["bert.embeddings.word_embeddings.weight"] = first
    torch.save(tensors | {f"again.{i}": first for i in range(1_000)},
               tmp_path / "pytorch_model.bin")
    assert "asks for" in message(tmp_path, BERTModel)


def test_what_a_file_may_lack_is_still_made_anew(tmp_path, capsys):
    saved(tmp_path, BERTForMaskedLM, hidden_size=96)
    for labels in (2, 5, 50_000):
        model = load_pretrained(BERTForSequenceClassification, tmp_path, num_labels=labels)
        assert model.config.num_labels == labels
    deeper = load_pretrained(BERTModel, tmp_path, num_hidden_layers=30)
    assert len(deeper.blocks) == 30


# ---- what was pre-trained only

@pytest.mark.parametrize("task", [BERTModel, BERTForMaskedLM])
def test_a_model_without_a_head_is_to_be_trained_first(tmp_path, task):
    saved(tmp_path, task)
    line = message(tmp_path)
    assert "pre-trained only" in line and f"train --model {tmp_path}" in line


def test_a_model_with_another_head_was_not_pre_trained_only(tmp_path):
    saved(tmp_path)
    tensors = dict(read_weights(tmp_path)[1])
    tensors["out_proj.bias"] = tensors.pop("classifier.bias")
    tensors["out_proj.weight"] = tensors.pop("classifier.weight")
    write_safetensors(tmp_path / "model.safetensors", tensors)
    line = message(tmp_path)
    assert "lacks classifier.bias" in line and "holds out_proj." in line


# ---- files that were cut short

def test_a_file_that_was_cut_short_is_refused(tmp_path, monkeypatch):
    saved(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    for length in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="model.safetensors: "):
            read_safetensors(path)
    path.write_bytes(content)
    header = read_header(path)

    def then_cut(path):
        path.write_bytes(content[:len(content) // 2])
        return header

    monkeypatch.setattr("bert_kit.weights.safetensors.read_header", then_cut)
    with pytest.raises(WeightsError, match="was cut short while it was opened"):
        read_safetensors(path)


# ---- links

def test_links_to_the_files_that_the_kit_looks_for_are_followed(tmp_path):
    """The hub's cache is made of them; what names say inside files is another matter."""
    model = saved(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name)
    again = load_pretrained(BERTForSequenceClassification, tmp_path / "linked")
    assert same(again.state_dict(), model.state_dict())


def test_the_message_on_a_linked_file_shows_nothing_of_it(tmp_path):
    (tmp_path / "secret").write_text("bin:x:0:0:a password\n")
    (tmp_path / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(BertKitError, match="not valid JSON") as caught:
        read_json(tmp_path / "config.json")
    assert "bin:" not in str(caught.value) and "password" not in str(caught.value)
