"""Model folders from strangers: nothing in them runs, leads out of them, or takes what it claims.

Headers of safetensors files are in test_safetensors.py, indexes and links in test_folder.py,
damage to every file the kit reads in test_mutations.py.

Run: pytest tests/weights/test_hostile_weights.py
"""

import importlib
import io
import json
import os
import pickle
import shutil
import subprocess
import tarfile
import zipfile

import pytest
import torch
from hostile_inputs import UNSAFE, memory_of_at_most
from tiny_jobs import tiny_bert
from tiny_runs import build

from bert_kit import (Answerer, BertConfig, BERTForQuestionAnswering, BERTForSequenceClassification,
                      BertKitError, ConfigError, Predictor, WeightsError, get_tokenizer,
                      load_pretrained, save_pretrained)
from bert_kit.jobs.tuning.legs import read_state
from bert_kit.training.state import checkpoints, load_checkpoint
from bert_kit.weights import read_safetensors, read_sentence_folder, read_weights
from bert_kit.weights.readers import read_torch_file


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def payloads(canary):
    """What is known to do harm, by name; each would leave a file called `canary`."""
    make = f"open({str(canary)!r}, 'w')"
    return {
        "system": Call(os.system, f"touch {canary}"), "eval": Call(eval, make),
        "exec": Call(exec, make), "open": Call(open, str(canary), "w"),
        "popen": Call(subprocess.Popen, ["touch", str(canary)]),
        "move": Call(shutil.copy, __file__, str(canary)),
        "import": Call(importlib.import_module, "antigravity"),
        "getattr": Call(getattr, "x", "upper"), "partial": Call(map, print, [1]),
        "map a file": Call(torch.from_file, str(canary), True, 9),
        "torch.load": Call(torch.load, str(canary)), "hub": Call(torch.hub.load, "x", "y"),
    }


WRITERS = {
    "zip": lambda value, path: torch.save({"a": value}, path),
    "old": lambda value, path: torch.save({"a": value}, path,
                                          _use_new_zipfile_serialization=False),
    "raw": lambda value, path: path.write_bytes(pickle.dumps(value)),
    "text": lambda value, path: path.write_bytes(pickle.dumps(value, 0)),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", payloads("x"))
def test_no_payload_runs(tmp_path, name, write):
    canary, path = tmp_path / "canary", tmp_path / "pytorch_model.bin"
    WRITERS[write](payloads(canary)[name], path)
    for read in (lambda: read_weights(tmp_path), lambda: read_state(path)):
        with pytest.raises(BertKitError):
            read()
    assert not canary.exists()


@pytest.mark.parametrize("name", ["optimizer", "scaler", "rng_state"])
def test_no_file_of_a_checkpoint_runs(tmp_path, name):
    build(tmp_path / "run", max_steps=1, save_steps=1, verbosity=0).train()
    checkpoint, = checkpoints(tmp_path / "run")
    torch.save(Call(open, str(tmp_path / "canary"), "w"), checkpoint / f"{name}.pt")
    trainer = build(None)
    with pytest.raises(BertKitError, match=f"{name}.pt: cannot be read"):
        load_checkpoint(checkpoint, trainer.amp, trainer.load_model)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("version", ["2.9.1", "2.5.0+cpu", "1.13.1"])
def test_an_older_torch_is_not_trusted_with_a_torch_file(tmp_path, monkeypatch, version):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert read_weights(tmp_path)[1].keys() == {"a"}
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(WeightsError, match="expected 2.10 or later"):
        read_weights(tmp_path)


def archive(path):
    """A torch file of 2017: a tar archive, which would be unpacked into a folder."""
    content = pickle.dumps(Call(open, f"{path}.canary", "w"))
    with tarfile.open(path, "w") as file:
        for name in ("sys_info", "pickle", "storages", "tensors", "../escaped"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def escaping(path):
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../escaped", "x")


def nested_lists(path):
    rows = b"".join(b"]q%c(" % (i + 1) + b"h%c" % i * 10 + b"e" for i in range(9))
    path.write_bytes(b"\x80\x02]q\0" + rows + b".")


ODD_FILES = {
    "tar": archive, "member that leads out": escaping, "a list of lists of lists": nested_lists,
    "100,000 brackets": lambda path: path.write_bytes(
        b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."),
    "place two billion": lambda path: path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f."),
    "a terabyte of bytes": lambda path: path.write_bytes(
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"."),
    "a number of two gigabytes": lambda path: path.write_bytes(b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "one number a million million times": lambda path: torch.save(
        {"a": torch.zeros(3).as_strided((10**6, 10**6), (0, 0))}, path),
    "a view of one row": lambda path: torch.save({"a": torch.zeros(1, 9).expand(10**9, 9)}, path),
    "nested": lambda path: torch.save({"a": torch.nested.nested_tensor([torch.ones(2)])}, path),
    "quantized": lambda path: torch.save(
        {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, path),
    "module": lambda path: torch.save(torch.nn.Linear(2, 2), path),
    "script": lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
    "empty": lambda path: path.write_bytes(b""),
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD_FILES)
def test_odd_torch_files(tmp_path, name):
    path = tmp_path / "deep" / "pytorch_model.bin"
    path.parent.mkdir()
    ODD_FILES[name](path)
    with memory_of_at_most(2**29), pytest.raises(WeightsError) as caught:
        read_torch_file(path)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["deep"] and os.listdir(path.parent) == [path.name]


def test_the_limit_on_memory_is_one():
    with memory_of_at_most(2**26), pytest.raises(MemoryError):
        bytearray(2**34)  # more than what earlier tests have freed for it


def test_a_file_larger_than_memory_is_mapped_or_refused(tmp_path):
    """A sparse file of a terabyte, which is what its header says."""
    size = 2**40
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    with open(tmp_path / "x.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        try:
            file.truncate(8 + len(header) + size)
        except OSError:
            pytest.skip("no files of a terabyte here")
    with memory_of_at_most(2**29), pytest.raises(WeightsError, match="cannot be mapped"):
        read_safetensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"),
                                  lambda path: path.symlink_to(path)])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt",
                                  "tokenizer_config.json", "special_tokens_map.json",
                                  "shard.safetensors"])
def test_what_is_no_file_is_neither_waited_for_nor_read_to_its_end(classifier, name, make):
    (classifier / name).unlink(missing_ok=True)
    make(classifier / name)
    if name == "vocab.txt":
        (classifier / "tokenizer.json").unlink()
    if name == "shard.safetensors":
        (classifier / "model.safetensors").unlink()
        (classifier / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": name}}))
    with memory_of_at_most(2**29):
        try:
            Predictor.load(classifier, "cpu")
            assert name.startswith(("tokenizer", "special")) and not (classifier / name).exists()
        except BertKitError as error:
            assert "\n" not in str(error)


# ---- sizes

@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of a classifier and one of a model that answers."""
    folder = tmp_path_factory.mktemp("files")
    bert = tiny_bert(folder / "bert")
    for task in (BERTForSequenceClassification, BERTForQuestionAnswering):
        model = load_pretrained(task, bert, report=lambda line: None)
        save_pretrained(model, folder / task.__name__, get_tokenizer(bert))
    return folder


@pytest.fixture
def classifier(files, tmp_path):
    return shutil.copytree(files / "BERTForSequenceClassification", tmp_path / "model")


@pytest.fixture
def answerer(files, tmp_path):
    return shutil.copytree(files / "BERTForQuestionAnswering", tmp_path / "model")


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("values, message", [
    ({"vocab_size": 10**7, "hidden_size": 65_536, "num_attention_heads": 64},
     r"word_embeddings.weight has shape \(120, 24\); the model's has \(10000000, 65536"),
    ({"hidden_size": 65_520}, "has shape"), ({"vocab_size": 10**7}, "word_embeddings.weight has"),
    ({"intermediate_size": 10**6}, "intermediate.dense.weight has shape"),
    ({"max_position_embeddings": 10**6}, "position_embeddings.weight has shape"),
    ({"num_hidden_layers": 1_000}, "lacks bert.encoder.layer.2.intermediate.dense.weight"),
    ({"type_vocab_size": 1_000}, "token_type_embeddings.weight has shape"),
    ({"vocab_size": 10**30}, "vocab_size is 10"), ({"hidden_size": -24}, "hidden_size is -24"),
    ({"hidden_size": 1e3}, "hidden_size is 1000.0"), ({"hidden_size": "24"}, "hidden_size is '24'"),
    ({"num_labels": 10**9, "id2label": None, "label2id": None}, "num_labels is 1000000000"),
    ({"classifier": {"type": "mlp", "hidden_dims": [65_536] * 16}}, "64,426,082,304 numbers"),
    ({"classifier": {"type": "bilstm", "hidden_size": 4_096, "num_layers": 4}}, "sizes ask for"),
    ({"classifier": {"type": "fourier_kan", "num_frequencies": 1_024, "width": 4_096}}, "ask for"),
    ({"classifier": {"type": "wavelet_kan", "num_wavelets": 1_024, "width": 4_096}}, "ask for"),
    ({"problem_type": ["x"]}, "problem_type is"), ({"window_stride": 10**6}, "stride is 1000000"),
    ({"thresholds": [0.5] * 9, "problem_type": "multi_label_classification"}, "thresholds are"),
    ({"thresholds": {"a": 1}, "problem_type": "multi_label_classification"}, "thresholds are"),
    ({"deep": json.loads("[" * 120 + "]" * 120)}, "nested too deeply"),
])
def test_sizes_that_are_claimed_are_not_taken(classifier, values, message):
    change(classifier, **values)
    with memory_of_at_most(2**29), pytest.raises(BertKitError, match=message) as caught:
        Predictor.load(classifier, "cpu").predict(["the red sun"])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1_100


def test_a_wide_filter_bank_is_refused():
    config = BertConfig(classifier={"type": "cnn", "kernel_sizes": [64] * 16, "num_filters": 4_096})
    with memory_of_at_most(2**30), pytest.raises(ConfigError, match="the sizes ask for"):
        BERTForSequenceClassification(config)


def test_an_answer_of_any_length_is_asked_for(answerer):
    for longest in (10**30, -10**30, 0):
        change(answerer, longest_answer=longest)
        best = Answerer.load(answerer, "cpu").answer("what?", "the red sun")
        assert len(best.answers) == (5 if longest > 0 else 0)


@pytest.mark.parametrize("text", ['{"hidden_size": 24, "hidden_size": 48}', '{"a": NaN}', "[]", "",
                                  '{"layer_norm_eps": 1e999}', "\x00", '{"a": ' * 10**5])
def test_a_configuration_that_is_no_json_or_says_two_things(classifier, text):
    (classifier / "config.json").write_text(text)
    with pytest.raises(BertKitError, match="config.json"):
        load_pretrained(BERTForSequenceClassification, classifier)


@pytest.mark.parametrize("path", [*UNSAFE, "..", "a/..", "/", "a\0b", "\ud800", "x" * 300])
def test_modules_that_lead_out_of_the_folder(tmp_path, path):
    kinds = [("", "Transformer"), (path, "Pooling")]
    (tmp_path / "modules.json").write_text(json.dumps(
        [{"path": place, "type": f"sentence_transformers.models.{kind}"} for place, kind in kinds]))
    with pytest.raises(WeightsError, match="leads out of the folder"):
        read_sentence_folder(tmp_path)
