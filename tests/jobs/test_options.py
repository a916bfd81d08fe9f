"""Settings: one declaration, read from the command line, from files and from Python."""

import dataclasses
import importlib
import json
import os
import sys
import typing

import pytest
from hostile_inputs import memory_of_at_most

from bert_kit import (BertClassifier, TextClassificationTrainer, learn_actively, pretrain,
                      train_all_classifiers, train_classifier, train_tagger, tune_classifier)
from bert_kit.cli import main
from bert_kit.data import BadRow
from bert_kit.errors import BertKitError, ConfigError, UsageError
from bert_kit.jobs.active.options import options_for
from bert_kit.jobs.commands.evaluate import EvaluateOptions
from bert_kit.jobs.commands.predict import PredictOptions
from bert_kit.jobs.commands.tag import UseTaggerOptions
from bert_kit.jobs.options.config_files import read_config_file
from bert_kit.jobs.options.declare import (Options, fields_of, group_of, kind_of, option,
                                           spellings)
from bert_kit.jobs.options.groups import reading_notes
from bert_kit.jobs.options.parser import JobParser, same_spelling
from bert_kit.jobs.options.parser import parse as parse_job
from bert_kit.jobs.run.folder import known_settings
from bert_kit.jobs.table import JOBS, renamed
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.tasks.numbers import NumberOptions
from bert_kit.jobs.tasks.texts import HEADS
from bert_kit.jobs.train import train_options
from bert_kit.jobs.tuning.options import search_options

SEED_CONFIG = """
model:
  max_seq_len: 64
  batch_size: 32
  num_epochs: 10
  device: cpu
  metric: f1

classifier:
  bert_hidden_size: 384
  hidden_dims: [412, 220, 118]
  dropout_rate: 0.35
  activation: gelu

optimizer:
  optimizer_choice: adamw
  lr: 0.003
  weight_decay: 0.005
  warmup_ratio: 0.165
  betas: (0.656, 0.999)
"""


def settings(**values):
    return ClassOptions.from_names(values)


def parser_of(options=ClassOptions):
    return JobParser("bert-kit train", options, lambda name: None)


def parse(*arguments, options=ClassOptions):
    """Return what is typed, and nothing else."""
    found = vars(parser_of(options).parse_args(same_spelling(arguments)))
    return {name: value for name, value in found.items() if name != "_flags"}


def test_config_file_of_the_seed_is_read_as_it_stands(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "config.yml"
    path.write_text(SEED_CONFIG)
    read = settings(**read_config_file(path))
    assert (read.max_length, read.batch_size, read.num_train_epochs) == (64, 32, 10)
    assert (read.device, read.metric, read.optim) == ("cpu", "f1", "adamw")
    assert (read.bert_hidden_size, read.hidden_dims) == (384, (412, 220, 118))
    assert (read.dropout, read.activation, read.classifier) == (0.35, "gelu", "mlp")
    assert (read.learning_rate, read.weight_decay, read.warmup_steps) == (0.003, 0.005, 0.165)
    assert read.betas == (0.656, 0.999)


@pytest.mark.parametrize("name, text", [
    ("a.json", '{"training": {"lr": 0.01, "betas": [0.5, 0.9]}, "epochs": 2}'),
    ("a.toml", 'epochs = 2\n[training]\nlr = 0.01\nbetas = [0.5, 0.9]\n')])
def test_json_and_toml_with_sections(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    read = settings(**read_config_file(tmp_path / name))
    assert (read.learning_rate, read.betas, read.num_train_epochs) == (0.01, (0.5, 0.9), 2)


@pytest.mark.parametrize("name, text, words", [
    ("a.json", "{", "not valid JSON"), ("a.json", "[1]", "expected a dict"),
    ("a.toml", "a = = 1", "not valid TOML"), ("a.txt", "a: 1", ".toml, .json"),
    ("a.yml", "a: [1", "not valid YAML"), ("a.yml", "- 1", "expected options by name"),
    ("a.yml", "x: !!python/object/apply:os.system [echo]", "not valid YAML"),
    ("a.toml", b"\xff", "cannot be read"), ("a.toml", "#" * 2**16, "65,536 bytes; at most 32,768"),
    ("a.toml", "x = " + "[" * 20_000, "not valid TOML"),
    ("a.toml", "[" + "a." * 3_000 + "a]", "not valid TOML"),
    ("a.toml", "x = " + "9" * 5_000, "not valid TOML"),
    ("a.toml", "a." * 4_000 + "a = 1", "not valid TOML"),
    ("a.yml", "x: " + "[" * 20_000, "not valid YAML"), ("a.yml", "x: 2001-99-99", "not valid YAML"),
    ("a.yml", "x: !!bool no, never", "not valid YAML"), ("a.yml", "x: 1\nx: 2", "appears twice"),
    ("a.yml", "a: &a [x, x]\nb: [*a, *a]", "an alias"), ("a.yml", "a: &a [*a]", "an alias"),
    ("a.json", '{"bert_kit": 1, "settings": [1]}', "holds a list, expected options by name")])
def test_config_files_that_cannot_be_read(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with memory_of_at_most(2**31), pytest.raises(BertKitError, match=words) as caught:
        read_config_file(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_config_file(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["a.toml", "a.yml", "a.json"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_config_file_that_is_no_file_is_not_waited_for(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(BertKitError, match="not a regular file"):
        read_config_file(tmp_path / name)


def test_yaml_without_pyyaml_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "a.yml").write_text("epochs: 2")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"pyyaml \(pip install -e .*\); or write the"):
        read_config_file(tmp_path / "a.yml")


def test_every_spelling_of_every_option_is_unique_and_a_flag():
    known = spellings(ClassOptions)
    fields = fields_of(ClassOptions)
    assert len(known) == sum(1 + len(field.metadata["aliases"])
                             + len(field.metadata["once"]) for field in fields)
    flags = {flag.lstrip("-") for action in parser_of()._actions for flag in action.option_strings}
    assert known.keys() <= flags
    for field in fields:
        assert field.metadata["help"] and len(field.metadata["help"]) < 150


@pytest.mark.parametrize("typed, field, value", [
    (["--num-epochs", "4"], "num_train_epochs", 4), (["--lr=3e-5"], "learning_rate", 3e-5),
    (["--learning-rate", "auto"], "learning_rate", "auto"),
    (["--early-stopping", "3"], "early_stopping", 3),
    (["--output_root", "a-b/c_d"], "output_dir", "a-b/c_d"),
    (["--hidden-dims", "9", "5"], "hidden_dims", [9, 5]),
    (["--fast-dev-run"], "fast_dev_run", True), (["--plots", "false"], "plots", False),
    (["--classifier-type", "custom"], "classifier", "custom"),
    (["--betas", "0.8", "0.9"], "betas", [0.8, 0.9])])
def test_flags_of_the_seeds_and_of_hugging_face(typed, field, value):
    assert parse(*typed) == {field: value}


@pytest.mark.parametrize("typed", [["--epochs", "2.5"], ["--lr", "1", "2"], ["--classifier", "x"],
                                   ["--plots", "maybe"], ["--seed", "nan"]])
def test_what_is_no_value_is_a_usage_error(typed, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*typed)
    assert caught.value.code == 2 and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("values, words", [
    ({"lr": "fast"}, "learning_rate is 'fast'; expected a number or auto"),
    ({"betas": "(1, 2, 3)"}, "expected 2 values"), ({"betas": "(a, b)"}, "expected a number"),
    ({"epochs": 2.5}, "num_train_epochs is 2.5; expected a whole number"),
    ({"epochs": True}, "expected a whole number"), ({"fast_dev_run": 3}, "true or false"),
    ({"dropout": float("nan")}, "expected a number"),
    ({"metric": "auc"}, "expected one of f1_macro, acc"),
    ({"learning_rat": 1}, "did you mean 'learning_rate'"), ({"zzz": 1}, "--help"),
    ({"lr": 1, "learning_rate": 2}, "a second time"), ({"batch_size": 0}, "from 1"),
    ({"seed": None}, "seed is None"), ({"text_column": 3}, "expected text"),
    ({"data_file": ""}, "data_file is empty"), ({"seed": 2**64}, "seed is"),
    ({"verbosity": 7}, "expected one of 0, 1, 2")])
def test_impossible_values_are_one_line(values, words):
    with pytest.raises(ConfigError, match=words) as caught:
        settings(**values)
    assert "\n" not in str(caught.value)


def test_settings_are_json_and_come_back():
    read = settings(hidden_dims=[3, 4], betas="(0.9, 0.99)", lr="auto")
    again = ClassOptions(**json.loads(json.dumps(read.to_dict())))
    assert again == read
    assert read.replace(classifier="custom").classifier == "mlp"
    assert [settings(classifier=head).classifier for head in HEADS] == list(HEADS)


def test_help_shows_the_defaults_but_not_what_is_off(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = parser_of().format_help()
    for words in ("0 is off (default: 0)", "other classes (default: 0.0)", "rest (default: 128)",
                  "keep the best epoch, not the last (default: true)"):
        assert words in text.replace("text is cut off", "rest")
    assert "(default: False)" not in text and "(default: None)" not in text


def test_kinds_of_fields():
    @dataclasses.dataclass(frozen=True)
    class Small(Options):
        pair: tuple[float, float] = option((1.0, 2.0), "two")
        many: tuple[int, ...] | None = option(None, "any")

    assert parse("--many", "1", "2", "3", options=Small) == {"many": [1, 2, 3]}
    with pytest.raises(SystemExit):
        parse("--pair", "1", options=Small)


# ---- what the command line refuses, all with one line and exit code 2

def said(arguments, capsys):
    """Return the exit code of a command line and what it says on standard error."""
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    output = capsys.readouterr()
    assert output.out == ""
    return code, output.err


@pytest.mark.parametrize("line, words", [
    # two spellings of one option
    ("train --epochs 1 --num_epochs 2", "--epochs and --num_epochs both set num_train_epochs"),
    ("train --task tagging --lr 1 --learning-rate 2", "--lr and --learning_rate both set"),
    ("pretrain --no_cuda --device cuda", "--no_cuda and --device both set device"),
    ("predict --model a --best_model b --text c", "--model and --best_model both set model"),
    # a name that the field has for something else
    ("train --num_hidden_layers 2", "num_hidden_layers is 2; elsewhere that is the depth of BERT"),
    ("train --model x --num-hidden-layers 2", "give classifier mlp with it, or depth"),
    ("train --warmup_ratio 1.0", "warmup_ratio is 1.0; expected a share of all steps, below 1"),
    ("tune --warmup_ratio 30", "a number of steps is warmup_steps"),
    ("train --task answering --classifier_dropout .2", "classifier_dropout is 0.2; the head"),
    ("pretrain --classifier_dropout .2", "no dropout; expected dropout, of the encoder"),
    # what would change nothing
    ("train --momentum 0.5", "momentum is 0.5, which changes nothing without optim sgd or rmsprop"),
    ("train --optim sgd --betas 0.8 0.9", "betas is 0.8 0.9, which changes nothing without optim"),
    ("train --optim sgd --eps 1e-5", "adam_epsilon is 1e-05, which changes nothing without"),
    ("train --min_delta 0.1", "min_delta is 0.1, which changes nothing without early_stopping"),
    ("train --trend_window 3 --min_delta 0.1", "which changes nothing without early_stopping"),
    ("train --task answering --min_epochs 2", "nothing without early_stopping, trend_window or"),
    ("train --task similarity --smoothing_window 2", "smoothing_window is 2, which changes nothi"),
    ("train --model x --from_scratch bert-tiny", "from_scratch is bert-tiny, which changes nothin"),
    ("pretrain --model x --from_scratch bert-tiny", "nothing without a model from scratch"),
    ("train --window_pooling max", "window_pooling is max, which changes nothing without a stride"),
    ("train --task multi_label --label_separator ; --label_column a b",
     "label_separator is ;, which changes nothing without one label_column"),
    ("evaluate --model x --delimiter ;", "delimiter is ;, which changes nothing without a data_fi"),
    ("evaluate --model x --tag_column 2", "tag_column is 2, which changes nothing without a data"),
    # what there is not, or not here
    ("train --epoch 2", "unrecognized arguments: --epoch 2; did you mean 'epochs'?"),
    ("train --zzz 2", "unrecognized arguments: --zzz 2; see --help"),
    ("train --asymmetric", "--asymmetric is an option of train --task multi_label"),
    ("train --task regression --focal_gamma 2",
     "--focal_gamma is an option of train --task classification or multi_label"),
    ("train --longest_answer 3", "--longest_answer is an option of train --task answering"),
    ("tag --model x --text a --epochs 2", "--epochs is an option of train"),
    ("answer --model x --question a --context b --lr 2", "--lr is an option of train"),
    ("embed --model x --data_file a --query b --train_file c", "--train_file is an option of tra"),
    ("predict --model x --txt a", "did you mean 'text'?"),
    ("dance", "there is no job 'dance'"),
    ("preddict --model x", "there is no job 'preddict'; did you mean 'predict'?"),
    # no model
    ("predict --text a", "model is missing"), ("tag --text a", "model is missing"),
    ("answer --question a --context b", "model is missing"),
    ("embed --data_file a --pairs", "model is missing"), ("evaluate", "model is missing"),
    ("explore --text a", "model is missing"), ("info", "model")])
def test_command_lines_that_are_refused(line, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, error = said(line.split(), capsys)
    assert code == 2 and words in error
    assert sum(text.startswith("error: ") for text in error.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


def test_a_borrowed_name_holds_where_it_can_mean_but_one_thing(tmp_path, monkeypatch):
    """A head of so many layers, where a head is said: there, in a config file, or as default."""
    assert settings(classifier="custom", num_hidden_layers=3).depth == 3
    assert settings(num_hidden_layers=3, hidden_dims=[4]).classifier == "mlp"
    assert settings(head={"num_hidden_layers": 3}, classifier="mlp").depth == 3
    assert search_options("classification").from_names({"num_hidden_layers": 3}).depth == 3
    (tmp_path / "a.toml").write_text('classifier = "mlp"\nwarmup_steps = 5')
    typed = ["--config", str(tmp_path / "a.toml"), "--num_hidden_layers", "2"]
    read = parse_job("train", ClassOptions, typed)
    assert (read.classifier, read.depth, read.warmup_steps) == ("mlp", 2, 5)
    assert settings(warmup_ratio="0.999").warmup_steps == .999
    assert settings(warmup_steps=1.0, classifier_dropout=0.2).dropout == 0.2
    assert settings(per_device_train_batch_size=8).batch_size == 8
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="rows of one process, and there are 2; expected batch_s"):
        settings(per_device_train_batch_size=8)
    assert settings(batch_size=8).batch_size == 8


@pytest.mark.parametrize("call, words", [
    (lambda: train_classifier("mlp", classifier="cnn"), "classifier is cnn, and was given as mlp"),
    (lambda: train_classifier("mlp", classifier_types="cnn"), "unknown option"),
    (lambda: train_classifier(None, "a", weights="b"), "'weights' sets model a second time, after"),
    (lambda: train_tagger("a", model="b"), "model is b, and was given as a already"),
    (lambda: pretrain("a", model="b"), "model is b, and was given as a already"),
    (lambda: tune_classifier("mlp", classifier="cnn"), "classifier is cnn, and was given as mlp"),
    (lambda: learn_actively("a", data_file="b"), "data_file is b, and was given as a already"),
    (lambda: train_all_classifiers(classifier_types=["mlp"], classifiers=["cnn"]),
     "classifiers is "),
    (lambda: TextClassificationTrainer("a", model_name="b"), "'model_name' sets model a second"),
    (lambda: TextClassificationTrainer(output_dir=None).prepare_data("a", data_path="b"),
     "'data_path' sets data_file a second time, after 'data_file'"),
    (lambda: BertClassifier(batch_size=4, settings={"batch_size": 8}).fit(["a", "b"], [0, 1]),
     "batch_size is 4, and settings have 'batch_size'"),
    (lambda: BertClassifier(learning_rate=1, settings={"lr": 2}).fit(["a", "b"], [0, 1]),
     "learning_rate is 1, and settings have 'lr'")])
def test_what_a_call_says_twice_is_refused(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value) and not [*tmp_path.iterdir()]


def test_no_whole_number_is_beyond_all_bounds():
    """What a machine word does not hold is told by the options, not by torch or a thread."""
    for kind in (ClassOptions, search_options("classification"), train_options("masked"),
                 options_for("multi_label"), EvaluateOptions):
        whole = [name for name, hint in typing.get_type_hints(kind).items()
                 if name in spellings(kind) and kind_of(hint)[0] is int]
        assert len(whole) > 5
        for name in whole:
            for value in (10**20, -10**20):
                with pytest.raises(ConfigError, match=f"{name} is -?1000"):
                    kind(**{"model": "x", name: value})
    for name, value in (("threads", 4294967295), ("threads", 0)):
        with pytest.raises(ConfigError, match="from 1 to 1,024"):
            settings(**{name: value})


def test_an_empty_text_is_a_text_but_no_name_is():
    assert PredictOptions(model="x", text=["", "a"]).text == ("", "a")
    assert UseTaggerOptions(model="x", text="").text == ("",)
    for options in ({"text_column": ""}, {"output_file": ""}, {"delimiter": ""}):
        with pytest.raises(ConfigError, match="is empty; expected a value, or leave it out"):
            PredictOptions(model="x", text=["a"], **options)


def test_the_same_flag_may_be_repeated():
    assert parse("--epochs", "1", "--epochs", "2") == {"num_train_epochs": 2}
    assert parse("--plots", "--plots", "false") == {"plots": False}


def test_a_run_that_goes_on_keeps_options_without_use():
    """An older version took them, and a resumed run needs the same settings."""
    with pytest.raises(UsageError, match="changes nothing"):
        settings(momentum=0.5).check_use()
    settings(momentum=0.5, resume="auto").check_use()


ROWS, TABLES = ("encoding", "bad_rows"), ("delimiter", "quotes", "columns")
READING = {
    "train --task classification": ROWS + TABLES, "train --task multi_label": ROWS + TABLES,
    "train --task regression": ROWS + TABLES, "train --task similarity": ROWS + TABLES,
    "train --task tagging": ROWS, "train --task answering": ROWS, "pretrain": ROWS,
    "compare": ROWS + TABLES, "tune": ROWS + TABLES, "tune --task tagging": ROWS,
    "active": ROWS + TABLES, "predict": ROWS + TABLES, "evaluate": ROWS + TABLES,
    "tag": ROWS + TABLES, "embed": ROWS + TABLES, "answer": ROWS}


@pytest.mark.parametrize("line", READING)
def test_every_job_that_reads_rows_has_the_same_options_for_it(line, capsys):
    name, *arguments = line.split()
    job = JOBS[name]
    options = job.options(importlib.import_module(job.module), arguments)[0]
    fields = {field.name: field for field in fields_of(options)}
    assert {*fields} & {*ROWS, *TABLES} == {*READING[line]}
    for option_name in READING[line]:
        group = group_of(options, option_name)
        assert group.__module__.endswith("options.groups")  # declared there, once
        assert fields[option_name].metadata["needs"] is not None
    with pytest.raises(SystemExit):
        main([name, *arguments, "--help"])
    out = capsys.readouterr().out.replace("-", "_")
    assert all(f"__{option_name}" in out for option_name in READING[line])


def test_columns_and_what_says_how_a_table_is_written():
    given = {"model": "m", "input_file": "x.csv"}
    assert UseTaggerOptions(**given, columns="text, category").columns == ("text", "category")
    assert UseTaggerOptions(**given, columns=("a", "b")).columns == ("a", "b")
    with pytest.raises(ConfigError, match="columns are 'a '; expected a name for each"):
        UseTaggerOptions(**given, columns=("a", ""))
    for name, value in (("delimiter", ";"), ("quotes", False), ("columns", ("a", "b"))):
        options = UseTaggerOptions(**given, **{name: value})
        assert options.reading()[name] == value
        with pytest.raises(UsageError, match=f"{name} says how a table is written"):
            options.row_reading()


def test_what_is_told_of_rows_that_are_left_out():
    bad = [BadRow("a.csv", line, reason, f"a.csv line {line}: why", "")
           for line, reason in ((2, "no label"), (3, "empty text"), (7, "empty text"))]
    assert reading_notes({"bad_rows": None}) == reading_notes({"bad_rows": []}, 9) == ""
    assert reading_notes({"bad_rows": bad[:1], "notes": ["n"]}) == (
        "n; 1 row left out: 1 no label (a.csv line 2: why)")
    assert reading_notes({"bad_rows": bad}, 1997) == (
        "3 rows left out of 2,000 (0.15%): 2 empty text (a.csv line 3: why), "
        "1 no label (a.csv line 2: why)")
    assert "(5%)" in reading_notes({"bad_rows": bad}, 57)
    for kept, many in ((57, False), (56, True)):
        assert ("(see --encoding)" in reading_notes({"bad_rows": bad}, kept)) == many  # as of tags
        assert ("(see --encoding, --delimiter, the names" in reading_notes(
            {"bad_rows": bad, "delimiter": None}, kept)) == many


@pytest.mark.parametrize("value, now", [("true", "skip"), ("false", "error"), (None, "skip")])
def test_the_flag_of_before_says_the_same(value, now, tmp_path):
    """`skip_bad_rows`, on a command line, in a config file, in a manifest and as a keyword."""
    typed = ["--skip_bad_rows", *[value] * (value is not None)]
    assert parse_job("predict", PredictOptions, [
        "--model", "m", "--data_file", "a.csv", *typed]).bad_rows == now
    assert known_settings(ClassOptions, {"skip_bad_rows": value != "false"}) == {"bad_rows": now}
    assert ClassOptions.from_names({"data_file": "a", "skip-bad-rows": value != "false"}
                                  ).bad_rows == now
    with pytest.raises(ConfigError, match="skip_bad_rows is 'skip'; expected true or false"):
        ClassOptions.from_names({"skip_bad_rows": "skip"})
    with pytest.raises(ConfigError, match="bad_rows is 'true'; expected one of"):
        ClassOptions.from_names({"bad_rows": "true"})


def test_files_of_before_name_options_of_other_tasks(tmp_path):
    """They had no use, and their defaults; any other value is told."""
    values = {"task": "regression", "label_separator": "|", "asymmetric": False,
              "focal_gamma": 0.0, "label_smoothing": 0.0, "class_weight": None, "lr": 1}
    (tmp_path / "m.json").write_text(json.dumps({"bert_kit": "0.1.0", "settings": values}))
    assert read_config_file(tmp_path / "m.json") == {"task": "regression", "lr": 1}
    values["focal_gamma"] = 2.0
    (tmp_path / "m.json").write_text(json.dumps({"bert_kit": "0.1.0", "settings": values}))
    with pytest.raises(ConfigError, match="m.json: unknown option 'focal_gamma'"):
        NumberOptions.from_names(read_config_file(tmp_path / "m.json"), tmp_path / "m.json")


@pytest.mark.parametrize("typed, task", [
    (["tag", "--data_file", "none", "--epochs", "2"], "tagging"),
    (["answer", "--train-file", "none"], "answering"),
    (["embed", "--train_file=none", "--model", "x"], "similarity")])
def test_jobs_that_trained_before_say_the_new_spelling(typed, task, capsys):
    assert renamed(typed) == ["train", "--task", task, *typed[1:]]
    output = capsys.readouterr()
    assert output.out == "" and output.err == (
        f"note: {typed[0]} only uses models; to train one: bert-kit train --task {task}\n")
    assert main(typed) == 1
    note, error = capsys.readouterr().err.splitlines()
    assert note.startswith("note: ") and error.startswith("error: ")


@pytest.mark.parametrize("typed", [
    ["tag", "--text", "a"], ["tag", "--help"], ["tag"], ["answer", "--input_file=a"],
    ["embed", "--data_file", "a"], ["train", "--data_file", "a"]])
def test_jobs_that_use_a_model_are_what_they_are_called(typed, capsys):
    assert renamed(typed) == typed and capsys.readouterr().err == ""
