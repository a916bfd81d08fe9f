"""Foreign models in the jobs: what they ask for is followed or refused, and moves no cursor."""

import json
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hostile_inputs import memory_of_at_most
from tiny_jobs import tiny_bert, write_table

from bert_kit import (BertConfig, BERTForMaskedLM, BERTForSequenceClassification, BertKitError,
                      BERTModel, ConfigError, Predictor, SentenceEncoder, get_tokenizer,
                      load_pretrained, save_pretrained, train_classifier)
from bert_kit.cli import main, plain_warnings
from bert_kit.jobs.tasks.numbers import NumberOptions, NumberTask
from bert_kit.weights import read_weights, write_safetensors

ESCAPE = "\x1b]0;pwned\x07\x1b[2Jx\nerror: \x1b[31mfake\u202e\x9b1m"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("foreign") / "bert")


@pytest.fixture
def folder(bert, tmp_path):
    return saved(bert, tmp_path / "model", BERTForSequenceClassification)


def saved(bert, folder, task, num_labels=None):
    model = load_pretrained(task, bert, num_labels, report=lambda line: None)
    save_pretrained(model, folder, get_tokenizer(bert))
    return folder


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ---- numbers that would be dropped or changed

def test_no_output_of_a_regression_is_dropped(bert, tmp_path):
    folder = saved(bert, tmp_path / "three", BERTForSequenceClassification, 3)
    change(folder, problem_type="regression")
    with pytest.raises(ConfigError, match="problem_type is 'regression' with 3 outputs"):
        Predictor.load(folder, "cpu")
    one = saved(bert, tmp_path / "one", BERTForSequenceClassification, 1)
    change(one, problem_type="regression")
    assert len(Predictor.load(one, "cpu").predict(["the sun"])) == 1


SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"


def test_the_activation_of_a_cross_encoder_is_not_dropped(bert, tmp_path):
    folder = saved(bert, tmp_path / "cross", BERTForSequenceClassification, 1)
    number, = Predictor.load(folder, "cpu").predict(["the sun"])
    for name in ("sentence_transformers", "sbert_ce_default_activation_function"):
        for value in (IDENTITY, SIGMOID):
            nested = {"activation_fn": value} if name == "sentence_transformers" else value
            change(folder, sentence_transformers=None, sbert_ce_default_activation_function=None)
            change(folder, **{name: nested})
            if value == IDENTITY:
                assert Predictor.load(folder, "cpu").predict(["the sun"]) == [number]
            else:
                with pytest.raises(ConfigError, match=f"{name}.*Sigmoid"):
                    Predictor.load(folder, "cpu")
    change(folder, sentence_transformers=None, sbert_ce_default_activation_function=None)
    beside = folder / "config_sentence_transformers.json"  # where versions from 5 on have it
    for values, message in (({"activation_fn": SIGMOID}, "activation_fn is '.*Sigmoid'"),
                            ({"default_prompt_name": "q", "prompts": {"q": "rank: "}},
                             "default_prompt_name is 'q'")):
        beside.write_text(json.dumps(values))
        with pytest.raises(ConfigError, match=message):
            Predictor.load(folder, "cpu")
    beside.write_text(json.dumps({"activation_fn": IDENTITY, "prompts": {"q": "rank: "}}))
    assert Predictor.load(folder, "cpu").predict(["the sun"]) == [number]
    options = NumberOptions(data_file="x.csv", model=str(folder))
    trained = NumberTask().config(options, SimpleNamespace(classes=("number",)),
                                  BertConfig.load(folder))
    assert not {"sentence_transformers", "sbert_ce_default_activation_function"} & {
        *trained["extra"]}  # a model that is trained from it has its own numbers


# ---- what was pre-trained only

@pytest.mark.parametrize("arguments", [
    ["predict", "--text", "a"], ["tag", "--text", "a"],
    ["answer", "--question", "a", "--context", "b"], ["evaluate", "--data_file", "ROWS"]])
def test_a_model_that_was_pre_trained_only_is_to_be_trained_first(bert, tmp_path, capsys,
                                                                  arguments):
    folder = saved(bert, tmp_path / "model", BERTModel)
    rows = write_table(tmp_path / "rows.csv", 12)
    arguments = [str(rows) if argument == "ROWS" else argument for argument in arguments]
    assert main([arguments[0], "--model", str(folder), *arguments[1:], "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "pre-trained only" in error and "train it first" in error and error.count("\n") == 1


# ---- sizes that a small file cannot hold

def test_a_small_file_is_given_little_memory_however_it_is_opened(folder, tmp_path):
    width = 16_384
    count = get_tokenizer(folder).vocab_size
    write_safetensors(folder / "model.safetensors", {
        name: torch.zeros(rows, width).to(torch.float8_e4m3fn) for name, rows in (
            ("bert.embeddings.word_embeddings.weight", count),
            ("bert.embeddings.position_embeddings.weight", 3),
            ("bert.encoder.layer.0.intermediate.dense.weight", 1))})
    change(folder, hidden_size=width, num_attention_heads=1, num_hidden_layers=1,
           intermediate_size=1, max_position_embeddings=3)
    rows = write_table(tmp_path / "rows.csv", 40)
    for open_it in (partial(Predictor.load, folder, "cpu"),
                    partial(SentenceEncoder, folder, pooling="mean", device="cpu"),
                    partial(load_pretrained, BERTForMaskedLM, folder),
                    partial(train_classifier, "standard", folder, rows, device="cpu", max_length=3,
                            output_dir=None, verbosity=0)):
        with memory_of_at_most(2**29), pytest.raises(BertKitError, match="asks for 1,34"):
            open_it()


# ---- control characters

def shown(arguments, capsys):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert all(char.isprintable() or char == "\n" for char in said), repr(said)
    assert "\nerror: fake" not in said and "\nerror: \\x1b" not in said
    return code, said


def test_names_of_tensors_move_no_cursor(folder, capsys):
    tensors = {name: tensor.clone() for name, tensor in read_weights(folder)[1].items()}
    (folder / "model.safetensors").unlink()
    torch.save({**tensors, ESCAPE: torch.ones(1)}, folder / "pytorch_model.bin")
    for arguments in (["predict", "--text", "x"], ["explore", "--text", "x", "--output_file",
                                                   folder / "e.html"]):
        code, said = shown([arguments[0], "--model", folder, *arguments[1:]], capsys)
        assert code == 0 and "not used: \\x1b]0;pwned" in said
    load_pretrained(BERTForSequenceClassification, folder)
    assert "\x1b" not in capsys.readouterr().out
    torch.save({ESCAPE: torch.ones(1)}, folder / "pytorch_model.bin")
    assert shown(["predict", "--model", folder, "--text", "x"], capsys)[0] == 1


def test_names_of_folders_move_no_cursor(bert, tmp_path, capsys):
    folder = saved(bert, tmp_path / ESCAPE.replace("\n", ""), BERTForMaskedLM)
    assert shown(["predict", "--model", folder, "--text", "x"], capsys)[0] == 1
    assert shown(["info", folder], capsys)[0] == 0
    options = NumberOptions(data_file="rows.csv")
    load_pretrained(BERTForSequenceClassification, folder, report=options.say)
    said = capsys.readouterr().out
    assert "\\x1b]0;pwned" in said and all(c.isprintable() or c == "\n" for c in said)


@pytest.mark.parametrize("values", [
    {"hidden_act": ESCAPE}, {"model_type": ESCAPE}, {"problem_type": ESCAPE},
    {"architectures": [ESCAPE]}, {"id2label": {"0": ESCAPE, "1": "b"}, "label2id": None},
    {"id2label": {ESCAPE: "a"}}, {"hidden_size": ESCAPE}, {"classifier": {"type": ESCAPE}},
    {"task": ESCAPE}, {"tokenizer_class": ESCAPE}, {"quantization_config": {ESCAPE: ESCAPE}},
    {ESCAPE: ESCAPE}])
def test_values_and_keys_of_a_configuration_move_no_cursor(folder, capsys, values):
    change(folder, **values)
    assert shown(["info", folder], capsys)[1]
    if "id2label" not in values or ESCAPE in values["id2label"]:  # a CSV holds what it holds
        shown(["predict", "--model", folder, "--text", "x"], capsys)


def test_warnings_move_no_cursor():
    with plain_warnings():
        line = warnings.formatwarning(ESCAPE, UserWarning, "file.py", 3)
    assert line.startswith("warning: \\x1b]0;pwned") and line.count("\n") == 1
    assert warnings.formatwarning("x", UserWarning, "file.py", 3).startswith("file.py:3")
