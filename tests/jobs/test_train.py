"""The classification job from file to folder and back, by Python and by command line."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_processes

from bert_kit import BertConfig, TextClassificationTrainer, train_classifier
from bert_kit.cli import main
from bert_kit.data import read_table
from bert_kit.errors import BertKitError, ConfigError, DataError, UsageError
from bert_kit.files import read_json
from bert_kit.printing import results_table
from bert_kit.jobs.run.build import check_options
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import HEADS, Predictor
from bert_kit.training import EarlyStopping, balanced_class_weights, classification_loss
from bert_kit.weights import read_safetensors
from tiny_jobs import command, table, tiny_bert, write_table
from warm_processes import environment

QUICK = {"num_epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "max_length": 24,
         "device": "cpu", "precision": "float32", "plots": False, "baselines": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(table, BERT folder), made once."""
    folder = tmp_path_factory.mktemp("files")
    return write_table(folder / "rows.csv"), tiny_bert(folder / "bert")


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """(results, folder) of one finished run."""
    folder = tmp_path_factory.mktemp("run") / "out"
    return train_classifier("standard", files[1], files[0], output_dir=folder, verbosity=0,
                            **{**QUICK, "num_epochs": 12, "baselines": True}), folder


def flags(options):
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def test_a_run_leaves_everything_and_its_numbers_agree(run, files):
    results, folder = run
    assert {"config.json", "model.safetensors", "tokenizer.json", "label_mapping.json",
            "results.json", "manifest.json", "README.md", "metrics.csv", "split.json",
            "training_args.json", "test_predictions.csv"} <= {p.name for p in folder.iterdir()}
    assert read_json(folder / "results.json") == json.loads(json.dumps(results))
    assert results["rows"] == {"train": 96, "validation": 12, "test": 12}
    assert results["classes"] == ["cold", "green", "warm"] == list(BertConfig.load(folder).labels)
    assert results["test"]["accuracy"] > 0.9  # one word of each text tells the class
    with open(folder / "test_predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    right = np.mean([row["category"] == row["prediction"] for row in rows])
    assert right == results["test"]["accuracy"] and len(rows) == 12
    card = (folder / "README.md").read_text()
    assert f"{results['test']['accuracy']:.4f}" in card and "cold, green, warm" in card
    manifest = read_json(folder / "manifest.json")
    assert manifest["settings"]["learning_rate"] == 5e-3 and manifest["torch"] and manifest["data"]
    with open(folder / "metrics.csv", newline="") as file:
        best = max(float(row["eval_f1_macro"] or 0) for row in csv.DictReader(file))
    assert results["validation"]["f1_macro"] == pytest.approx(best, abs=1e-12)


def test_prediction_in_a_new_process_gives_the_same_bits(run, files, tmp_path):
    _, folder = run
    texts, _ = table()
    here = Predictor.load(folder, "cpu").logits(texts)
    script = tmp_path / "told.py"
    script.write_text("import sys, torch; from bert_kit import Predictor\n"
                      f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
                      "from tiny_jobs import table\n"
                      f"torch.set_num_threads({torch.get_num_threads()})\n"
                      "torch.save(Predictor.load(sys.argv[1], 'cpu').logits(table()[0]),"
                      " sys.argv[2])\n")
    done = warm_processes.run(script, folder, tmp_path / "logits")
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "logits"), here)


def test_calibrated_probabilities(run, tmp_path, capsys):
    """As they are where no temperature helped, as here, where no validation row is wrong."""
    results, folder = run
    texts, _ = table(30)
    plain, scaled = (Predictor.load(folder, "cpu", calibrated=flag) for flag in (False, True))
    assert "where the search ends" in results["calibration"]["not_kept"]
    np.testing.assert_allclose(scaled.probabilities(texts), plain.probabilities(texts), atol=1e-12)
    plain.remember(calibration={"scale": 0.25, "shift": 0.0})
    copy = shutil.copytree(folder, tmp_path / "copy")
    plain.save(copy)
    scaled = Predictor.load(copy, "cpu", calibrated=True)
    wanted = (plain.logits(texts).double() / 4).softmax(1)
    np.testing.assert_allclose(scaled.probabilities(texts), wanted, atol=1e-12)
    assert scaled.predict(texts) == plain.predict(texts)
    assert main(["evaluate", "--model", str(copy), "--device", "cpu", "--calibrated",
                 "--output_dir", str(tmp_path / "scores")]) == 0
    error = read_json(tmp_path / "scores" / "evaluation.json")["calibration_error"]
    assert error > results["calibration"]["test"]["before"]["calibration_error"]
    assert f"calibration error {error:.4f}" in capsys.readouterr().out


def test_bfloat16_predicts_nearly_the_same(run):
    _, folder = run
    texts, _ = table()
    exact = Predictor.load(folder, "cpu").probabilities(texts)
    rounded = Predictor.load(folder, "cpu", precision="bfloat16").probabilities(texts)
    assert 0 < np.abs(exact - rounded).max() < 0.05
    with pytest.raises(BertKitError, match="precision is 'int8'; expected one of float32"):
        Predictor.load(folder, "cpu", precision="int8")


@pytest.mark.parametrize("head", HEADS)
def test_saved_heads_predict_what_was_evaluated(head, files, tmp_path):
    job = TextClassificationTrainer(files[1], output_dir=tmp_path, classifier=head, verbosity=0,
                                    **{**QUICK, "num_epochs": 1})
    datasets = job.prepare_data(files[0])
    job.setup_trainer(datasets)
    job.train(datasets)
    job.save_model(tmp_path / "model")
    again = Predictor.load(tmp_path / "model", "cpu")
    assert torch.equal(again.logits(job.parts.test.texts),
                       job.training.predictor.answers(datasets["test"]))
    assert again.max_length == 24 and again.classes == ("cold", "green", "warm")


def test_the_standard_head_opens_in_transformers_with_the_same_logits(run):
    transformers = pytest.importorskip("transformers")
    _, folder = run
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts, _ = table(40)
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**batch).logits
    torch.testing.assert_close(theirs, Predictor.load(folder, "cpu").logits(texts), atol=1e-5,
                               rtol=0)
    assert model.config.id2label == {0: "cold", 1: "green", 2: "warm"}


def test_the_same_seed_gives_the_same_bits_and_callers_generator_is_left_alone(files, tmp_path):
    before = torch.get_rng_state()
    weights = []
    for name in ("a", "b"):
        torch.rand(3)
        train_classifier("mlp", files[1], files[0], output_dir=tmp_path / name, verbosity=0,
                         **{**QUICK, "num_epochs": 1, "baselines": True})
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    torch.set_rng_state(before)
    torch.rand(3), torch.rand(3)
    expected = torch.rand(1)
    torch.set_rng_state(before)
    torch.rand(3)
    train_classifier("mlp", files[1], files[0], output_dir=None, verbosity=0,
                     **{**QUICK, "num_epochs": 1, "baselines": True})
    torch.rand(3)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("how, moments", [(signal.SIGKILL, (12, 84)), (signal.SIGINT, (36,))])
def test_an_interrupted_run_goes_on_to_the_same_weights(how, moments, files, tmp_path):
    options = {**QUICK, "num_epochs": 8, "classifier": "cnn", "data_file": files[0],
               "model": files[1], "baselines": "false"}
    assert command("train", *flags(options), "--output_dir", tmp_path / "whole").returncode == 0
    goal = read_safetensors(tmp_path / "whole" / "model.safetensors")
    interrupted = 0
    for wait_for in (f"checkpoint-{step}" for step in moments):
        out = tmp_path / f"{how.name}-{wait_for}"
        process = warm_processes.start("-m", "bert_kit", "train", *flags(options), "--output_dir",
                                       out, folder=tmp_path, log=tmp_path / "log")
        while process.is_alive() and not (out / wait_for).exists():
            time.sleep(0.005)
        if process.is_alive():
            os.kill(process.pid, how)
        process.join()
        interrupted += process.exitcode != 0
        assert "Traceback" not in (tmp_path / "log.err").read_text()
        for checkpoint in out.glob("checkpoint-*"):  # whatever is there is whole
            Predictor.load(checkpoint, "cpu")
        done = command("train", *flags(options), "--output_dir", out, "--resume", "auto")
        assert done.returncode == 0, done.stderr
        for name, tensor in read_safetensors(out / "model.safetensors").items():
            assert torch.equal(tensor, goal[name]), name
    assert interrupted


def test_a_resumed_run_must_be_the_same_run(run, files):
    _, folder = run
    again = {**QUICK, "num_epochs": 12, "output_dir": folder, "verbosity": 0, "baselines": True}
    with pytest.raises(ConfigError, match="--resume auto"):
        train_classifier("standard", files[1], files[0], **again)
    with pytest.raises(ConfigError, match="batch_size was 8 and is now 4"):
        train_classifier("standard", files[1], files[0], **{**again, "batch_size": 4},
                         resume="auto")
    before = (folder / "model.safetensors").read_bytes()
    results = train_classifier("standard", files[1], files[0], **again, resume="auto")
    assert (folder / "model.safetensors").read_bytes() == before
    assert results["test"] == run[0]["test"]


def test_other_peoples_folders_are_left_alone(files, tmp_path):
    (tmp_path / "README.md").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files"):
        train_classifier("standard", files[1], files[0], output_dir=tmp_path, **QUICK)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    with pytest.raises(ConfigError, match="is a file"):
        train_classifier("standard", files[1], files[0], output_dir=tmp_path / "README.md", **QUICK)


@pytest.mark.parametrize("options, words", [
    ({"max_length": 41}, "40 positions"), ({"bert_hidden_size": 384}, "24 wide"),
    ({"num_frequencies": 3}, "num_frequencies is not an option of the standard head"),
    ({"classifier": "cnn", "wavelet_type": "haar"}, "expected .*kernel_sizes"),
    ({"device": "tpu"}, "expected auto, cpu"), ({"model": "no/such"}, "no/such"),
    ({"early_stopping": 2, "val_size": 0, "train_size": 0.9}, "validation rows"),
    ({"lr_scheduler_type": "steep"}, "expected one of linear")])
def test_conflicts_are_found_before_any_work(options, words, files, tmp_path):
    with pytest.raises(BertKitError, match=words):
        train_classifier(**{**QUICK, "model": files[1], "data_file": files[0], "verbosity": 0,
                            "output_dir": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_training_options_reach_the_trainer(files, tmp_path, capsys):
    results = train_classifier(
        "mlp", files[1], files[0], output_dir=tmp_path / "a", depth=2, activation="silu",
        optim="rmsprop", label_smoothing=0.1, focal_gamma=1.0, class_weight="balanced",
        freeze_layers=1, gradient_checkpointing=True, head_learning_rate=5e-3,
        early_stopping=1, min_epochs=1, group_by_length=True, memory_threshold=0.99,
        max_train_samples=48, time_limit=100, **QUICK)
    assert results["rows"]["train"] == 48 and "silu" in str(
        BertConfig.load(tmp_path / "a").classifier)
    weights = read_safetensors(tmp_path / "a" / "model.safetensors")
    start = read_safetensors(files[1] / "model.safetensors")
    frozen = "bert.encoder.layer.0.output.dense.weight"
    moved = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(weights[frozen], start[frozen])
    assert not torch.equal(weights[moved], start[moved])
    assert "examples/s" in capsys.readouterr().out


def test_every_training_option_arrives(files):
    job = TextClassificationTrainer(
        files[1], data_file=files[0], output_dir=None, verbosity=0, classifier="cnn",
        num_filters=7, dropout=0.3, epochs=5, max_steps=70, batch_size=6,
        gradient_accumulation_steps=3, learning_rate=0.02, layer_decay=0.8, weight_decay=0.07,
        warmup_steps=4, lr_scheduler_type="cosine", optim="adam", betas="(0.7, 0.8)",
        adam_epsilon=1e-5, momentum=0.4, max_grad_norm=0.6, label_smoothing=0.2, focal_gamma=1.5,
        class_weight="balanced", gradual_unfreezing=True, gradient_checkpointing=True,
        precision="float32", group_by_length=True, memory_threshold=0.9, patience=4,
        min_delta=0.01, min_epochs=2, smoothing_window=3, trend_window=5, regression=0.25,
        metric="accuracy", time_limit=99, logging_steps=9, save_total_limit=5, max_length=24)
    datasets = job.prepare_data()
    job.setup_trainer(datasets)
    trainer, args = job.trainer, job.trainer.args
    assert (args.num_train_epochs, args.max_steps, args.gradient_accumulation_steps) == (5, 70, 3)
    assert (args.learning_rate, args.head_learning_rate, args.layer_decay) == (0.02, 0.2, 0.8)
    assert (args.weight_decay, args.warmup_steps, args.lr_scheduler_type) == (0.07, 4, "cosine")
    assert (args.optim, args.betas, args.adam_epsilon, args.momentum) == (
        "adam", (0.7, 0.8), 1e-5, 0.4)
    assert (args.max_grad_norm, args.precision, args.time_limit) == (0.6, "float32", 99)
    assert (args.metric_for_best_model, args.logging_steps, args.save_total_limit) == (
        "accuracy", 9, 5)
    assert trainer.stopping == EarlyStopping(4, 0.01, 2, 3, 5, regression=0.25)
    assert (trainer.memory.threshold, trainer.memory.largest) == (0.9, 6)
    assert trainer.before_epoch is not None and job.model.bert.gradient_checkpointing
    sampler = trainer.train_loader.batch_sampler
    assert (sampler.batch_size, sampler.group_by_length, sampler.seed) == (6, True, 0)
    assert job.model.config.classifier == {"type": "cnn", "num_filters": 7}
    assert job.model.config.classifier_dropout == 0.3
    job.model.eval()
    batch = next(iter(trainer.train_loader))
    weights = balanced_class_weights(datasets["train"].labels, 3)
    expected = classification_loss(weights, 0.2, 1.5)(job.model, batch)
    assert torch.equal(trainer.loss(job.model, batch), expected)
    plain = classification_loss()(job.model, batch)
    assert not torch.isclose(expected, plain)


def test_folders_are_numbered_where_none_is_chosen(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {**QUICK, "num_epochs": 1, "verbosity": 0, "model": files[1], "data_file": files[0]}
    made = [train_classifier("mlp", **options)["output_dir"] for _ in range(2)]
    assert made == ["runs/mlp", "runs/mlp-2"]
    assert train_classifier("mlp", **options, resume="auto")["output_dir"] == "runs/mlp-2"


def test_devices_and_inputs_are_not_overwritten(run, files, tmp_path, capsys):
    _, folder = run
    copy = tmp_path / "rows.csv"
    shutil.copy(files[0], copy)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target, words in ((copy, "is the file to read"), (tmp_path, "is not a file"),
                          (pipe, "is not a file"), (copy / "x.csv", "cannot be written"),
                          (folder / "model.safetensors", "is a file of the model"),
                          (folder / "config.json", "is a file of the model")):
        assert main(["predict", "--model", str(folder), "--data_file", str(copy),
                     "--output_file", str(target)]) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert copy.read_bytes() == files[0].read_bytes() and not pipe.is_file()
    done = subprocess.run(
        [sys.executable, "-m", "bert_kit", "predict", "--model", str(folder), "--data_file", "-"],
        input=b"caf\xe9", capture_output=True, env=environment())
    assert done.returncode == 1 and b"standard input line 1: byte 0xe9 is not utf-8" in done.stderr


def test_dev_run_overfit_and_learning_rate_search(files, tmp_path, capsys):
    results = train_classifier("bilstm", files[1], files[0], output_dir=tmp_path / "dev",
                               fast_dev_run=True, **QUICK)
    assert results["steps"] == 2 and not (tmp_path / "dev").exists()
    results = train_classifier("standard", files[1], files[0], output_dir=tmp_path / "b",
                               overfit_batches=1, **{**QUICK, "num_epochs": 40})
    assert results["rows"] == {"train": 8, "validation": 8}
    assert results["validation"]["accuracy"] == 1
    results = train_classifier("standard", files[1], files[0], output_dir=tmp_path / "c",
                               **{**QUICK, "learning_rate": "auto"})
    assert 1e-6 < results["learning_rate"] < 0.5
    assert "where the loss falls fastest" in capsys.readouterr().out


def test_steps_of_the_job_as_the_seed_writes_them(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_MODELS_PATH", str(files[1].parent))
    monkeypatch.setenv("DATADIR", str(files[0].parent))
    trainer = TextClassificationTrainer(
        model_path="bert", num_labels=3, max_length=24, output_dir=tmp_path / "custom_results",
        learning_rate=3e-3, batch_size=16, num_epochs=1, weight_decay=0.05)
    datasets = trainer.prepare_data("rows.csv", text_column="text", label_column="category",
                                    train_size=0.7, val_size=0.15, test_size=0.15,
                                    random_state=42)
    assert {name: len(rows) for name, rows in datasets.items()} == {
        "train": 84, "validation": 18, "test": 18}
    trainer.setup_trainer(datasets, model_type="attention")
    trainer.train(datasets)
    assert 0 <= trainer.evaluate(datasets["test"])["accuracy"] <= 1
    trainer.save_model(tmp_path / "saved")
    mapping = read_json(tmp_path / "saved" / "label_mapping.json")
    assert mapping["id_to_label"] == {"0": "cold", "1": "green", "2": "warm"}
    with pytest.raises(DataError, match="3 classes; expected num_labels 5"):
        TextClassificationTrainer("bert", num_labels=5).prepare_data(files[0])


def test_command_line_over_config_file_over_defaults(files, tmp_path, capsys):
    (tmp_path / "c.toml").write_text(f'model = "{files[1]}"\ndata_file = "{files[0]}"\n'
                                     'epochs = 5\nbatch-size = 8\nplots = false\nmax_length = 24')
    assert main(["train", "--config", str(tmp_path / "c.toml"), "--num-epochs", "1",
                 "--output-dir", str(tmp_path / "out"), "--no-cuda", "--verbosity", "0"]) == 0
    settings = read_json(tmp_path / "out" / "manifest.json")["settings"]
    assert (settings["num_train_epochs"], settings["batch_size"], settings["seed"]) == (1, 8, 0)
    assert settings["device"] == "cpu" and capsys.readouterr().out == ""
    assert main(["train", "--config", str(tmp_path / "none.toml")]) == 1
    (tmp_path / "bad.toml").write_text("epoch = 5")
    assert main(["train", "--config", str(tmp_path / "bad.toml")]) == 1
    assert "bad.toml: unknown option 'epoch'; did you mean 'epochs'" in capsys.readouterr().err


def test_predict_from_text_file_and_standard_input(run, files, tmp_path, capsys):
    _, folder = run
    use = ["predict", "--device", "cpu", "--model"]
    assert main([*use, str(folder), "--text", "the fire", "=1+1 snow"]) == 0
    out = capsys.readouterr().out
    assert "warm" in out and "cold" in out
    done = command("predict", "--model", folder, "--data_file", "-", "--output_file",
                   tmp_path / "out.csv", input="the fire\n=1+1 snow\n")
    assert done.returncode == 0 and "2 rows" in done.stdout
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["the fire", "'\\=1+1 snow"]
    assert [row["prediction"] for row in rows] == ["warm", "cold"]
    assert main([*use, str(folder), "--data_file", str(files[0]), "--output_file",
                 str(tmp_path / "all.csv"), "--raw_cells"]) == 0
    assert "120 rows" in capsys.readouterr().out
    for arguments in ([], ["--text", "a", "--data_file", "-"]):
        assert main([*use, str(folder), *arguments]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert main([*use, str(files[1]), "--text", "a"]) == 1
    assert "was pre-trained only; use train" in capsys.readouterr().err
    done = command("predict", "--model", folder, "--data_file", "-", input="")
    assert done.returncode == 1 and "no text" in done.stderr


def test_predict_takes_files_as_people_have_them(run, tmp_path, capsys):
    """One empty text among many; no header and semicolons; a text a line; an old encoding."""
    _, folder = run
    table, lines, out = tmp_path / "rows.csv", tmp_path / "rows.txt", tmp_path / "out.tsv"
    use = ["predict", "--device", "cpu", "--model", str(folder), "--output_file", str(out)]

    def predicted(path, *options):
        code = main([*use, "--data_file", str(path), *options])
        said = capsys.readouterr()
        rows = read_table(out, "text", "prediction", bad_rows=[]) if code == 0 else None
        return (code if rows is None else rows.texts), said.err

    table.write_text("id;text\n1;=the fire\n2; \n3;a snow\n")
    found, said = predicted(table, "--delimiter", ";")
    assert found == ["=the fire", "a snow"]
    assert "1 row left out" in said and "rows.csv line 3: 'text' is empty" in said
    written = out.read_text().splitlines()  # a header and three rows
    assert len(written) == 4 and {*written[2].split("\t")} == {'""'}
    listed = read_table(tmp_path / "out.bad_rows.csv", "message", "row")
    assert listed.labels == ["3"] and "'text' is empty" in listed.texts[0]
    assert predicted(table, "--delimiter", ";", "--bad_rows", "error")[0] == 1
    table.write_bytes("caf\u00e9 au lait;1\n".encode("cp1252"))
    assert "another --encoding (older files are often cp1252)" in predicted(table)[1]
    assert predicted(table, "--delimiter", ";", "--encoding", "cp1252", "--columns",
                     "text,id")[0] == ["caf\u00e9 au lait"]
    lines.write_text('the fire, "a snow"\n\n-1 snow\n')
    found, said = predicted(lines)
    assert found == ['the fire, "a snow"', "-1 snow"] and "read as a text a line" in said
    assert predicted(lines, "--quotes", "true")[0] == 1
    code, said = predicted("-", "--quotes", "true")
    assert code == 2 and "quotes says how a table is written" in said


def test_evaluate_reports_and_compares(run, files, tmp_path, capsys):
    results, folder = run
    assert main(["evaluate", "--model", str(folder), "--device", "cpu", "--folds", "3",
                 "--no_plots"]) == 0
    out = capsys.readouterr().out
    stored = read_json(folder / "evaluation" / "evaluation.json")
    assert stored["accuracy"] == results["test"]["accuracy"] and stored["rows"] == 12
    for words in ("12 rows", "95% interval", "calibration error", "precision",
                  f"{stored['accuracy']:.4f}"):
        assert words in out
    assert "mean ± standard deviation" not in out  # of 12 rows
    assert main(["evaluate", "--best_model", f"{folder.name}/model.safetensors", "--output_root",
                 str(folder.parent), "--data_file", str(files[0]), "--other", str(folder),
                 "--no_plots", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "120 rows" in out and "p = 1 " in out and "mean ± standard deviation" in out
    (tmp_path / "other.csv").write_text("text,category\nsome text,cold\nanother,hot\n")
    assert main(["evaluate", "--model", str(folder), "--data_file",
                 str(tmp_path / "other.csv")]) == 1
    assert "other.csv line 3: 'hot' is not a class of the model" in capsys.readouterr().err


def test_info_says_how_a_run_was_made(run, capsys):
    results, folder = run
    assert main(["info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"accuracy {results['test']['accuracy']:.4f}" in out and "learning_rate 0.005" in out


def test_pictures_or_one_line_about_them(run, files, tmp_path, monkeypatch, capsys):
    options = {**QUICK, "num_epochs": 1, "plots": True}
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    train_classifier("standard", files[1], files[0], output_dir=tmp_path / "a", **options)
    assert capsys.readouterr().out.count("bert_kit[plots]") == 1
    assert main(["evaluate", "--model", str(tmp_path / "a"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.count("bert_kit[plots]") == 1
    assert not list((tmp_path / "a").glob("*.png"))
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    train_classifier("standard", files[1], files[0], output_dir=tmp_path / "b", **options)
    assert {p.name for p in (tmp_path / "b").glob("*.png")} == {
        "learning_curves.png", "confusion_matrix.png", "confidence.png", "reliability.png",
        "validation_confidence.png"}


def test_a_length_that_nobody_chose_is_cut_to_the_positions(files, tmp_path, capsys):
    options = {name: value for name, value in QUICK.items() if name not in ("max_length",)}
    train_classifier(None, files[1], files[0], output_dir=tmp_path / "a", max_steps=1,
                     **{**options, "verbosity": 1})
    assert "max_length is 40: " in capsys.readouterr().out
    assert Predictor.load(tmp_path / "a").max_length == 40
    assert read_json(tmp_path / "a" / "manifest.json")["settings"]["max_length"] == 40
    assert main(["train", "--model", str(files[1]), "--data_file", str(files[0]), "--max_length",
                 "41", "--output_dir", str(tmp_path / "b")]) == 1
    assert "max_length is 41; " in capsys.readouterr().err


def test_a_long_name_moves_no_column_of_the_results():
    table = results_table({"test": {"f1": 0.5}, "baselines": {"x" * 60: {"f1": 0.25}}},
                          [("f1", "F1", 10, ".4f")])
    assert len({len(line) for line in table.splitlines()[1:]}) == 1


@pytest.mark.parametrize("changes, words", [
    ({"layer_decay": 0.9, "freeze_layers": -1}, "layer_decay is 0.9, which changes nothing"),
    ({"layer_decay": 0.9, "freeze_layers": 1}, "leaves one block or none to train"),
    ({"load_best_model_at_end": False, "output_dir": None}, "nothing without an output_dir"),
    ({"save_steps": 5, "output_dir": None}, "save_steps is 5, which changes nothing without")])
def test_options_that_change_nothing_together(files, tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        train_classifier("standard", files[1], files[0],
                         **{**QUICK, "output_dir": tmp_path / "a", **changes})
    assert not (tmp_path / "a").exists()


def test_a_run_that_goes_on_has_the_options_it_began_with_also_if_they_change_nothing(files):
    task = task_named("classification")
    begun = task.options.from_names({**QUICK, "model": files[1], "data_file": files[0],
                                     "output_dir": "a", "layer_decay": 0.9, "freeze_layers": -1})
    with pytest.raises(UsageError, match="layer_decay"):
        check_options(task, begun)
    check_options(task, begun.replace(resume="auto"))


def test_the_steps_leave_a_run_like_any_other_under_the_name_of_its_head(files, tmp_path,
                                                                         monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trainer = TextClassificationTrainer(files[1], **{**QUICK, "max_steps": 1, "verbosity": 2})
    datasets = trainer.prepare_data(files[0])
    assert (tmp_path / "runs/standard/split.json").is_file()
    trainer.setup_trainer(datasets, model_type="bilstm")
    trainer.train(datasets)
    folder = tmp_path / "runs/bilstm"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["bilstm"]
    assert read_json(folder / "manifest.json")["settings"]["classifier"] == "bilstm"
    assert (folder / "split.json").is_file() and (folder / "metrics.csv").is_file()
    trainer.save_model(folder)
    assert main(["evaluate", "--model", str(folder), "--plots", "false", "--device", "cpu"]) == 0


def test_what_only_the_highest_verbosity_tells(files, tmp_path, capsys):
    for verbosity in (1, 2):
        train_classifier("standard", files[1], files[0], **{
            **QUICK, "max_steps": 1, "output_dir": tmp_path / str(verbosity),
            "verbosity": verbosity})
        lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
        shown = {"folder", "weights", "config", "options", "arguments"} & lines.keys()
        assert bool(shown) == (verbosity == 2)
    assert len(shown) == 5 and str(tmp_path / "2") in lines["folder"]
    assert '"max_steps": 1' in lines["arguments"] and '"hidden_size"' in lines["config"]
