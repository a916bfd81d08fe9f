"""What a training does where nothing is said: steps, dropout, rates; and what is told of it."""

import csv
import json

import pytest
import torch
import tiny_jobs
from tiny_jobs import here

from bert_kit import (BertClassifier, BertConfig, BERTForMaskedLM, ConfigError, pretrain,
                      save_pretrained, train_all_classifiers, train_classifier)
from bert_kit.jobs.compare import _jobs as heads_of, compare_options
from bert_kit.jobs.options.config_files import read_config_file
from bert_kit.jobs.run.best_configs import best_config
from bert_kit.jobs.run.build import check_options
from bert_kit.jobs.run.defaults import (ENCODER_DROPOUT, MIN_STEPS, highest_rate,
                                        planned_epochs)
from bert_kit.jobs.tasks.classes import ClassOptions, ClassTask
from bert_kit.jobs.tasks.table import task_named
from bert_kit.model import Dropout
from bert_kit.tokenization import get_tokenizer
from bert_kit.weights import load_pretrained


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("defaults")
    tiny_jobs.write_table(folder / "rows.csv", 60)
    tiny_jobs.tiny_bert(folder / "bert")
    tokenizer = get_tokenizer(folder / "bert")
    model = load_pretrained(BERTForMaskedLM, folder / "bert", hidden_dropout_prob=0.0,
                            attention_probs_dropout_prob=0.0)
    save_pretrained(model, folder / "without", tokenizer)  # as an older version left a pre-training
    return folder


def steps_of(place, *arguments, name="run"):
    done = here("train", "--data_file", "rows.csv", "--model", "bert", "--plots", "false",
                   "--output_dir", name, *arguments, folder=place)
    assert done.returncode == 0, done.stderr
    with open(place / name / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return done.stdout, json.loads((place / name / "results.json").read_text())["steps"], rows


# ---- enough steps

@pytest.mark.parametrize("settings, per_epoch, epochs", [
    ({}, 2, 100), ({}, 1, 200), ({}, 66, 4), ({}, 67, 3), ({}, 1000, 3), ({"model": None}, 2, 100),
    ({"model": None}, 40, 6), ({"num_train_epochs": 3}, 2, 3), ({"max_steps": 7}, 2, 3),
    ({"min_steps": 50}, 2, 25), ({"min_steps": 0}, 2, 3), ({"fast_dev_run": True}, 2, 3),
    ({"min_steps": 50, "num_train_epochs": 4}, 2, 25)])
def test_how_many_passes_make_enough_steps(settings, per_epoch, epochs):
    options = ClassOptions(**{"model": "there", **settings})
    assert planned_epochs(ClassTask(), options, per_epoch) == epochs


def test_few_rows_are_trained_on_long_enough_and_it_is_said(place):
    out, steps, rows = steps_of(place, "--learning_rate", "1e-4", name="few")
    assert steps == MIN_STEPS  # 48 rows are 2 steps
    assert "steps     200, which is 100 epochs" in out
    # Measured as often as in the usual 3 epochs, not a hundred times.
    assert sum(bool(row.get("eval_loss")) for row in rows) == 3
    assert len(list((place / "few").glob("checkpoint-*"))) <= 3


def test_a_number_of_epochs_is_what_is_done(place):
    out, steps, _ = steps_of(place, "--num_train_epochs", "2", name="given")
    assert steps == 4 and "which is" not in out


@pytest.mark.parametrize("classes, epochs", [(0, 20), (40, 20), (41, 21), (77, 39), (150, 75),
                                             (200, 100), (5000, 100)])
def test_many_classes_want_more_steps(classes, epochs):
    names, options = [str(i) for i in range(classes)], ClassOptions(model="there")
    assert planned_epochs(ClassTask(), options, 10, names) == epochs  # 10 steps each
    for fewer in ({"scale_with_classes": False}, {"min_steps": 200}):
        assert planned_epochs(ClassTask(), options.replace(**fewer), 10, names) == 20


def many_classes(path, count):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("text", "category"), *(
            (f"{text} {i}", f"class {i % count}")
            for i, text in enumerate(tiny_jobs.table(4 * count)[0]))])
    return path


def test_a_new_head_of_many_classes_learns_fast_and_it_is_said(place):
    many_classes(place / "many.csv", 42)
    done = here("train", "--data_file", "many.csv", "--model", "bert", "--plots", "false",
                "--batch_size", "64", "--max_length", "8", "--output_dir", "many", folder=place)
    assert done.returncode == 0, done.stderr
    assert "head      of 42 outputs: it learns 42 times as fast as the encoder" in done.stdout
    arguments = json.loads((place / "many" / "training_args.json").read_text())
    assert arguments["head_learning_rate"] == pytest.approx(42 * 5e-5)
    assert json.loads((place / "many" / "results.json").read_text())["steps"] >= 210
    # Trained further on the same classes its head is new no longer.
    task, options = ClassTask(), ClassOptions(model=str(place / "many"))
    classes = BertConfig.load(place / "many").labels
    assert task.head_factor(options, classes) is None
    assert task.head_factor(options, classes[::-1]) is None  # the loader puts it into order
    assert task.head_factor(options, [*classes[1:], "other"]) == 42
    assert task.head_factor(options, classes[:19]) is None
    model = load_pretrained(BERTForMaskedLM, place / "many")  # its labels stay, its head does not
    save_pretrained(model, place / "headless", get_tokenizer(place / "many"))
    assert BertConfig.load(place / "headless").labels == classes
    assert task.head_factor(options.replace(model=str(place / "headless")), classes) == 42
    assert task.head_factor(options, [str(i) for i in range(150)]) == 100


@pytest.mark.parametrize("settings, factor", [
    ({}, 42), ({"classifier": "mlp"}, 42), ({"head_learning_rate": 1e-4}, None),
    ({"scale_with_classes": False}, None), ({"model": None}, None), ({"optim": "sgd"}, None),
    ({"freeze_layers": -1}, None), ({"freeze_layers": 2}, None), ({"freeze_layers": 1}, 42),
    ({"classifier": "mlp", "scale_with_classes": False}, 10),
    ({"classifier": "bilstm", "head_learning_rate": 1e-3}, None),
    ({"classifier": "bilstm", "model": None}, None)])
def test_whose_head_learns_faster(place, settings, factor):
    options = ClassOptions(**{"model": str(place / "bert"), **settings})
    assert ClassTask().head_factor(options, [str(i) for i in range(42)]) == factor


def test_the_two_layers_of_another_family_learn_at_one_rate(tmp_path):
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, model_type="distilbert",
                        type_vocab_size=0)
    config.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")  # is not read
    options = ClassOptions(model=str(tmp_path))
    assert ClassTask().head_factor(options, [str(i) for i in range(42)]) is None


def test_a_run_of_an_earlier_version_goes_on_as_it_began(place):
    """Its manifest has no `scale_with_classes`."""
    file = many_classes(place / "earlier.csv", 42)
    given = dict(data_file=str(file), output_dir=str(place / "earlier"), plots=False, verbosity=0,
                 batch_size=64, max_length=8, baselines=False)
    train_classifier("standard", str(place / "bert"), time_limit=0.01, scale_with_classes=False,
                     **given)
    manifest = json.loads((place / "earlier" / "manifest.json").read_text())
    del manifest["settings"]["scale_with_classes"]
    (place / "earlier" / "manifest.json").write_text(json.dumps(manifest))
    assert "scale_with_classes False" in here("info", "earlier", folder=place).stdout
    arguments = json.loads((place / "earlier" / "training_args.json").read_text())
    assert arguments["num_train_epochs"] == 67 and arguments["head_learning_rate"] is None
    found = train_classifier("standard", str(place / "bert"), resume="auto", **given)
    after = json.loads((place / "earlier" / "training_args.json").read_text())
    assert after["head_learning_rate"] is None and found["steps"] == 201


def test_heads_that_an_earlier_comparison_has_not_begun_train_as_its_others(place):
    given = dict(data_file=str(many_classes(place / "heads.csv", 42)), max_steps=2, plots=False,
                 output_dir=str(place / "heads"), verbosity=0, max_length=8)
    train_all_classifiers(str(place / "bert"), classifier_types=("mlp",), **given)
    manifest = json.loads((place / "heads" / "mlp" / "manifest.json").read_text())
    assert manifest["settings"].pop("scale_with_classes") is True
    (place / "heads" / "mlp" / "manifest.json").write_text(json.dumps(manifest))
    kind = compare_options("classification")
    jobs = heads_of(kind(**given, model=str(place / "bert"), classifier=("mlp", "standard"),
                         resume="auto"))
    assert [job.scale_with_classes for job in jobs] == [False, False]
    assert [ClassTask().head_factor(job, [str(i) for i in range(42)]) for job in jobs] == [10, None]


def test_what_an_earlier_search_found_trains_as_it_did(place):
    options = ClassOptions(model=str(place / "bert"), output_dir=str(place / "found"))
    config = best_config(options, "accuracy", {}, 0.5)
    assert config["settings"]["scale_with_classes"] is True
    del config["settings"]["scale_with_classes"]
    (place / "found.json").write_text(json.dumps(config))
    assert read_config_file(place / "found.json")["scale_with_classes"] is False
    (place / "tags.json").write_text(json.dumps({"bert_kit": "0.7.0", "settings": {"seed": 1}}))
    assert read_config_file(place / "tags.json") == {"seed": 1}


def test_the_estimator_trains_long_enough_too():
    texts, labels = tiny_jobs.table(30)
    model = BertClassifier(max_length=16, settings={"from_scratch": "bert-tiny"}, batch_size=8)
    model.fit(texts, labels)
    assert model.score(texts, labels) > 0.9
    short = BertClassifier(max_length=16, settings={"from_scratch": "bert-tiny", "min_steps": 1},
                           num_train_epochs=1, batch_size=8).fit(texts, labels)
    assert short.score(texts, labels) < 0.9


def test_a_run_of_before_goes_on_with_what_it_began_with(place):
    """Its manifest knows neither min_steps nor the encoder's dropout."""
    given = ("--num_train_epochs", "3", "--min_steps", "0", "--hidden_dropout_prob", "own",
             "--attention_probs_dropout_prob", "own", "--model", "without")
    steps_of(place, *given, name="before")
    manifest = place / "before" / "manifest.json"
    stored = json.loads(manifest.read_text())
    for name in ("min_steps", "minutes", "strict", "muon_learning_rate", *ENCODER_DROPOUT):
        del stored["settings"][name]
    manifest.write_text(json.dumps(stored))
    last = (place / "before" / "model.safetensors").read_bytes()
    for path in (place / "before").glob("checkpoint-6"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    again = here("train", "--data_file", "rows.csv", "--model", "without", "--plots", "false",
                    "--output_dir", "before", "--num_train_epochs", "3", "--resume", "auto",
                    folder=place)
    assert again.returncode == 0, again.stderr
    assert "stores dropout 0" not in again.stdout
    assert (place / "before" / "model.safetensors").read_bytes() == last


# ---- dropout

def test_what_is_pre_trained_without_dropout_is_stored_with_the_published_one(place, capsys):
    (place / "text.txt").write_text("\n\n".join(tiny_jobs.table(40)[0]))
    results = pretrain(None, place / "text.txt", from_scratch="bert-tiny", max_steps=2,
                       max_length=16, output_dir=str(place / "pre"), plots=False, vocab_size=150)
    config = BertConfig.load(place / "pre")
    assert [getattr(config, name) for name in ENCODER_DROPOUT] == [0.1, 0.1]
    assert "trained without dropout" in capsys.readouterr().out
    newest = place / "pre" / f"checkpoint-{results['steps']}"
    assert BertConfig.load(newest).hidden_dropout_prob == 0  # as it was trained
    pretrain(None, place / "text.txt", from_scratch="bert-tiny", max_steps=2, max_length=16,
             output_dir=str(place / "chosen"), plots=False, hidden_dropout_prob=0.2)
    assert BertConfig.load(place / "chosen").hidden_dropout_prob == 0.2


def dropouts(model):
    return sorted({module.p for module in model.modules() if isinstance(module, Dropout)})


@pytest.mark.parametrize("task, file", [
    ("classification", "rows.csv"), ("tagging", "words.conll"), ("answering", "questions.json")])
def test_a_folder_without_dropout_is_told_and_overridden_in_every_task(place, task, file):
    (place / "words.conll").write_text("\n\n".join(
        "\n".join(f"{word} {'B-X' if word == 'fire' else 'O'}" for word in text.split())
        for text in tiny_jobs.table(30)[0]) + "\n")
    (place / "questions.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": [
        {"context": text, "qas": [{"id": str(i), "question": "which?", "answers": [
            {"text": text.split()[0], "answer_start": 0}]}]}]}
        for i, text in enumerate(tiny_jobs.table(20)[0])]}))
    given = ["train", "--task", task, "--data_file", file, "--model", "without", "--max_steps", "1",
             "--plots", "false"]
    told = here(*given, "--output_dir", f"told-{task}", folder=place)
    assert told.returncode == 0, told.stderr
    assert "without stores dropout 0; this training has 0.1" in told.stdout
    assert BertConfig.load(place / f"told-{task}").hidden_dropout_prob == 0.1
    own = here(*given, "--output_dir", f"own-{task}", "--hidden_dropout_prob", "0",
                  "--attention_probs_dropout_prob", "0.3", folder=place)
    assert own.returncode == 0 and "stores dropout" not in own.stdout
    config = BertConfig.load(place / f"own-{task}")
    assert [getattr(config, name) for name in ENCODER_DROPOUT] == [0.0, 0.3]


def test_dropout_reaches_the_model(place):
    for settings, rates in (({}, [0.1]), ({"hidden_dropout_prob": "own",
                                           "attention_probs_dropout_prob": "own"}, [0.0]),
                            ({"hidden_dropout_prob": 0.25}, [0.1, 0.25]),
                            ({"dropout": 0.5}, [0.1, 0.5])):
        torch.manual_seed(0)
        options = ClassOptions(data_file=str(place / "rows.csv"), model=str(place / "without"),
                               max_length=16, output_dir=None, verbosity=0, max_steps=1, **settings)
        from bert_kit.jobs.run.job import TrainingJob
        job = TrainingJob(ClassTask(), options)
        model = job.build(job.tokenize(job.read())).model
        assert dropouts(model) == rates, settings


def test_a_campaign_that_draws_by_dropout_refuses_to_begin_without_any(place):
    given = ["active", "--data_file", "rows.csv", "--model", "without", "--hidden_dropout_prob",
             "0", "--attention_probs_dropout_prob", "0", "--initial", "10", "--rounds", "1",
             "--batch", "5", "--min_steps", "1", "--num_train_epochs", "1", "--seeds", "0",
             "--plots", "false"]
    refused = here(*given, "--acquisition", "beal", "random", "--output_dir", "mc", folder=place)
    assert refused.returncode == 1 and "beal draw models by dropout" in refused.stderr
    assert refused.stderr.count("\n") == 1 and not (place / "mc").exists()
    fine = here(*given, "--acquisition", "entropy", "--output_dir", "entropy", folder=place)
    assert fine.returncode == 0, fine.stderr


# ---- rates

def test_a_rate_that_no_encoder_survives_is_refused_with_the_two_numbers_to_write(place):
    rate = 2 * highest_rate(ClassTask(), ClassOptions(model="x"), BertConfig.load(place / "bert"))
    for task in ("classification", "tagging"):
        kind = task_named(task)
        with pytest.raises(ConfigError, match=f"learning_rate .* for the encoder and "
                                              f"head_learning_rate {rate:g} for what is new"):
            check_options(kind, kind.options(model=str(place / "bert"), learning_rate=rate,
                                             max_length=16))
    for fine in ({"freeze_layers": -1}, {"freeze_layers": 2}, {"head_learning_rate": rate},
                 {"optim": "sgd"}):
        check_options(ClassTask(), ClassOptions(model=str(place / "bert"), learning_rate=rate,
                                                max_length=16, **fine))
    check_options(ClassTask(), ClassOptions(learning_rate=rate, max_length=16))  # from scratch


def test_both_rates_given_are_taken_with_a_warning(place, capsys):
    rate = 2 * highest_rate(ClassTask(), ClassOptions(model="x"), BertConfig.load(place / "bert"))
    train_classifier("standard", place / "bert", place / "rows.csv", learning_rate=rate,
                     head_learning_rate=rate, max_steps=1, output_dir=str(place / "warned"),
                     plots=False)
    assert "warning   learning_rate is" in capsys.readouterr().out


def test_the_configuration_of_the_seed_says_which_two_numbers_to_write(place):
    """As its README has it, but for the width of the encoder at hand."""
    (place / "config.yml").write_text("""
model:
  max_seq_len: 16
  batch_size: 32
  num_epochs: 1
  device: cpu
  metric: f1
classifier:
  bert_hidden_size: 256
  hidden_dims: [41, 22, 11]
  dropout_rate: 0.35
  activation: gelu
optimizer:
  optimizer_choice: adamw
  lr: 0.003
  weight_decay: 0.005
  warmup_ratio: 0.165
  betas: (0.656, 0.999)
""")
    pytest.importorskip("yaml")
    (place / "mini.txt").write_text("\n\n".join(tiny_jobs.table(40)[0]))
    pretrain(None, place / "mini.txt", max_steps=1, max_length=16, vocab_size=150,
             output_dir=str(place / "mini"), plots=False, verbosity=0)
    given = ("train", "--config", "config.yml", "--data_file", "rows.csv", "--model", "mini",
             "--plots", "false")
    refused = here(*given, "--output_dir", "seed", folder=place)
    assert refused.returncode == 1
    assert "learning_rate 0.0005 for the encoder and head_learning_rate 0.003" in refused.stderr
    done = here(*given, "--output_dir", "seed", "--learning_rate", "5e-5",
                   "--head_learning_rate", "0.003", "--max_steps", "2", folder=place)
    assert done.returncode == 0, done.stderr


def test_the_log_shows_both_rates_under_their_names(place):
    out, _, rows = steps_of(place, "--max_steps", "4", "--learning_rate", "1e-4",
                            "--head_learning_rate", "1e-3", "--logging_steps", "2", name="rates")
    assert "lr 1.00e-04  head lr 1.00e-03" in out or "head lr" in out
    first = next(row for row in rows if row["loss"])
    assert float(first["head_learning_rate"]) == pytest.approx(
        10 * float(first["learning_rate"]))


# ---- a plan by the clock

def test_minutes_plan_the_schedule_and_a_resumed_run_keeps_it(place):
    given = ("pretrain", "--train_file", "text.txt", "--from_scratch", "bert-tiny", "--max_length",
             "16", "--plots", "false", "--output_dir", "planned")
    (place / "text.txt").write_text("\n\n".join(tiny_jobs.table(40)[0]))
    done = here(*given, "--minutes", "0.03", folder=place)
    assert done.returncode == 0, done.stderr
    arguments = json.loads((place / "planned" / "training_args.json").read_text())
    assert f"plan      {arguments['max_steps']:,} steps in 0.03 minutes" in done.stdout
    assert arguments["optim"] == "muon"
    again = here(*given, "--minutes", "0.03", "--resume", "auto", folder=place)
    assert again.returncode == 0, again.stderr
    assert json.loads((place / "planned" / "training_args.json").read_text()) == arguments
