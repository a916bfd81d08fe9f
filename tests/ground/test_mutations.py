"""Readers of what the kit writes against 2,000 damaged files: one loads, or one line says why not.

The damage is seeded: mostly one byte of one file of what the reader takes, sometimes a piece that
is cut out, doubled or put in. All of it happens under a limit on memory, so that a number that
lies about a size cannot pass. Run: pytest tests/ground/test_mutations.py
"""

import contextlib
import json
import os
import random
import sqlite3
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_campaigns import LABELS, learner
from hostile_inputs import memory_of_at_most
from tiny_jobs import tiny_bert, write_table
from tiny_runs import CONFIG, build
from tiny_texts import make_texts, tokenizer

from bert_kit import BertConfig, BertKitError, Predictor, Tokenizer, train_classifier
from bert_kit.active import LabelFile
from bert_kit.data import MLMDataset, TokenStore, build_token_store, read_parts
from bert_kit.files import write_json
from bert_kit.jobs.commands.info import describe_folder
from bert_kit.jobs.commands.search import open_vectors
from bert_kit.jobs.options.config_files import read_config_file
from bert_kit.jobs.run.folder import known_settings, stored_run
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.run.best_configs import load_best_config
from bert_kit.jobs.tuning.legs import read_state
from bert_kit.training.state import checkpoints, load_checkpoint
from bert_kit.tuner import PBT, Population, SearchSpace, Study
from bert_kit.weights import (read_safetensors, read_sentence_folder, read_weights,
                              write_safetensors)
from bert_kit.weights.readers import read_torch_file

MEMORY = 2**30  # bytes that reading may take on top of what is there


ODD = [None, True, -1, 0, 10**30, 0.5, 1e308, "", "x", "\n", "\ud800", "x" * 5_000, [], [[]],
       {}, {"a": {}}, [None], ["x", 1]]


def damaged(content, rng, is_json=False):
    """Return the bytes of a file with one thing wrong, rarely with three.

    In JSON it is half of the time another value in its place, which damaged bytes rarely make.
    """
    if is_json and rng.random() < 0.5:
        value = json.loads(content)
        owner, key = rng.choice(list(places(value)))
        owner[key] = rng.choice(ODD)
        return json.dumps(value).encode()
    bad = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 3])):
        where, kind = rng.randrange(len(bad) + 1), rng.randrange(10)
        if kind < 6 and where < len(bad):
            bad[where] = rng.choice([bad[where] ^ 1 << rng.randrange(8), rng.randrange(256)])
        elif kind == 6:
            del bad[where:where + rng.randint(1, 40)]
        elif kind == 7:
            bad[where:where] = bad[where:where + rng.randint(1, 60)]
        elif kind == 8:
            bad[where:where] = rng.choice([b"9", b"-", b"null", b"1e999", b"[", b'"', b"\n", b"\0"])
        else:
            del bad[where:]
    return bytes(bad)


def places(value):
    """Yield (list or object, key) of every value inside a value of JSON."""
    for key in range(len(value)) if isinstance(value, list) else list(value):
        yield value, key
        if isinstance(value[key], list | dict):
            yield from places(value[key])


def tensors():
    return {"a.weight": torch.arange(96.0).reshape(8, 12), "flag": torch.tensor([True, False]),
            "empty": torch.zeros(0, 4)}


# Each maker fills a folder and returns the files to damage, and a function that reads them all.

def safetensors(folder):
    path = folder / "model.safetensors"
    write_safetensors(path, tensors())
    return [path], lambda: read_safetensors(path)


def torch_file(folder, modern=True):
    path = folder / "pytorch_model.bin"
    torch.save(tensors(), path, _use_new_zipfile_serialization=modern)
    return [path], lambda: read_torch_file(path)


def old_torch_file(folder):
    return torch_file(folder, modern=False)


def shards(folder):
    for name in "ab":
        write_safetensors(folder / f"{name}.safetensors", {name: torch.ones(3)})
    path = folder / "model.safetensors.index.json"
    write_json(path, {"metadata": {}, "weight_map": {name: f"{name}.safetensors" for name in "ab"}})
    return [path], lambda: read_weights(folder)


def config(folder):
    BertConfig(labels=("yes", "no"), classifier={"type": "cnn", "kernel_sizes": [3, 4]},
               extra={"problem_type": "single_label_classification"}).save(folder)
    return [folder / "config.json"], lambda: BertConfig.load(folder)


def model_folder(folder):
    """The texts of a classifier's folder; the weights have readers of their own above."""
    results = train_classifier("cnn", tiny_bert(folder / "bert"), write_table(folder / "rows.csv"),
                               output_dir=folder / "run", num_epochs=1, max_length=8, plots=False,
                               device="cpu", precision="float32", baselines=False, verbosity=0)
    folder = Path(results["output_dir"])
    files = [folder / name for name in ("config.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "label_mapping.json",
                                        "manifest.json", "results.json")]

    def read():
        with warnings.catch_warnings(), contextlib.redirect_stderr(open(os.devnull, "w")):
            warnings.simplefilter("ignore")
            Predictor.load(folder, "cpu").predict(["the red fire"])
            ClassOptions(**known_settings(ClassOptions, stored_run(folder)[1]))
            describe_folder(folder)
    return files, read


def tokenizer_json(folder):
    tokenizer().save(folder)
    return [folder / "tokenizer.json"], lambda: Tokenizer.load(folder)


def vocab_txt(folder):
    tokenizer().save(folder)
    (folder / "tokenizer.json").unlink()
    return [folder / "vocab.txt"], lambda: Tokenizer.load(folder)


def sentence_folder(folder):
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for i, (place, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"),
                                           ("2_Normalize", "Normalize")])])
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": 8, "pooling_mode_mean_tokens": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"default_prompt_name": None})
    return list(folder.rglob("*.json")), lambda: read_sentence_folder(folder)


def checkpoint(folder):
    small = CONFIG.replace(num_hidden_layers=0)
    build(folder / "run", config=small, max_steps=2, save_steps=2, verbosity=0).train()
    trainer, (path,) = build(None, config=small), checkpoints(folder / "run")
    files = [path / name for name in ("optimizer.pt", "scaler.pt", "rng_state.pt",
                                      "trainer_state.json")]
    batch = next(iter(trainer.train_loader))

    def read():  # and train on
        load_checkpoint(path, trainer.amp, trainer.load_model)
        trainer.amp.train_classification_step(batch)
    return files, read


def leg(folder):
    path = folder / "leg"
    torch.save({"optim": "adamw", "model": tensors(), "random": [torch.get_rng_state()]}, path)
    return [path], lambda: read_state(path)


def token_store(folder):
    (folder / "a.txt").write_text("\n\n".join(make_texts(9)))
    build_token_store(folder / "a.txt", tokenizer(), folder / "store")
    MLMDataset(TokenStore.open(folder / "store"), tokenizer(), 20)

    def read():
        dataset = MLMDataset(TokenStore.open(folder / "store"), tokenizer(), 20)
        for row in range(len(dataset)):
            dataset[row]
    return sorted((folder / "store").iterdir()), read


SPACE = SearchSpace().continuous("x", -1, 1).categorical("head", ["cnn", "mlp"])


def study(folder):
    first = Study("s", SPACE, folder)
    first.optimize(lambda trial: trial.params["x"] ** 2, n_trials=4)
    first.ask()
    first.close()
    with sqlite3.connect(folder / "study.sqlite") as db:
        db.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    db.close()

    def read():
        for path in folder.glob("study.sqlite-*"):
            path.unlink()
        again = None
        try:
            again = Study("s", SPACE, folder, resume=True)
            again.tell(again.ask(), 0.5)
            again.statistics()
            again.replay(0)
        finally:
            if again is not None:
                again.close()
    return [folder / "study.sqlite"], read


def study_records(folder):
    """What stands in the rows of a study, damaged while sqlite finds nothing wrong."""
    study(folder)
    texts = {}
    with contextlib.closing(sqlite3.connect(folder / "study.sqlite")) as db:
        texts["settings"], = db.execute("SELECT settings FROM study").fetchone()
        texts["record"], = db.execute("SELECT record FROM trial WHERE number = 2").fetchone()
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)

    def read():
        with contextlib.closing(sqlite3.connect(folder / "study.sqlite")) as db, db:
            for statement, name in (("study SET settings = ?", "settings"),
                                    ("trial SET record = ? WHERE number = 2", "record")):
                text = (folder / f"{name}.json").read_text("latin-1")
                db.execute(f"UPDATE {statement}", (text,))
        with contextlib.closing(Study("s", SPACE, folder, resume=True)) as again:
            again.statistics()
            again.best, again.importance()
            again.replay(3)
    return [folder / "settings.json", folder / "record.json"], read


def population(folder):
    def step(leg):
        Path(leg.state_out).touch()
        return leg.params["x"]
    pbt = PBT(SearchSpace().continuous("x", 0, 1), population=2)
    pbt.run(step, generations=2, path=folder)

    def read():
        found = Population.load(folder)
        found.best, found.diversity, found.schedule(found.best)
        pbt.run(step, generations=2, path=folder, resume=True)
    return [folder / "population.json"], read


def search_space(folder):
    write_json(folder / "space.json", SearchSpace().continuous("lr", 0, 1).discrete(
        "rows", 1, 9, when=None).categorical("head", ["a", "b"]).log_uniform(
        "wd", 0.1, 1, when={"head": "a"}).to_dict())
    return [folder / "space.json"], lambda: SearchSpace.from_dict(
        read_config_file(folder / "space.json"))


def best_config(folder):
    write_json(folder / "cnn_best_config.json", {
        "classifier_type": "cnn", "metric": "loss", "best_value": 0.5, "best_params": {"lr": 1}})
    return [folder / "cnn_best_config.json"], lambda: load_best_config("cnn", folder)


def campaign(folder):
    first = learner(folder / "c")
    for _ in range(2):
        first.update([LABELS[row] for row in first.query(6)])
    files = [folder / "c" / "state.json", folder / "c" / "round-001" / "round.json"]

    def read():
        again = learner(folder / "c", resume=True)
        again.unlabelled
        again.query(3)
    return files, read


def labelled_file(folder):
    file = LabelFile(folder / "l.csv", ["a", "b,\n", "c"], ["x", "y"])
    file([0, 1, 2])
    return [folder / "l.csv"], lambda: file([0, 1, 2])


def split(folder):
    path, stored = write_table(folder / "rows.csv", 30), folder / "split.json"
    read_parts(path, split_file=stored)
    return [stored], lambda: read_parts(path, split_file=stored)


def vectors(folder):
    np.save(folder / "v.npy", np.ones((3, 4), np.float32))
    return [folder / "v.npy"], lambda: np.asarray(open_vectors(folder / "v.npy", 3, 4))


def toml(folder):
    (folder / "c.toml").write_text('lr = 1e-3\n[head]\nclassifier = "cnn"\nkernel_sizes = [3, 4]\n')
    return [folder / "c.toml"], lambda: read_config_file(folder / "c.toml")


READERS = [model_folder, safetensors, torch_file, old_torch_file, shards, config, tokenizer_json,
           vocab_txt, sentence_folder, checkpoint, leg, token_store, study, study_records,
           population, search_space, best_config, campaign, labelled_file, split, vectors, toml]


# The whole folder takes 40 ms a time, and what it is made of is above too.
SLOWER = {model_folder: 7}


@pytest.fixture
def folder():
    """A folder in memory where there is one: thousands of times a disk would be waited for."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [200, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__)
def test_a_damaged_file_loads_or_is_one_line(make, count, folder):
    rng, refused = random.Random(make.__name__), 0
    files, read = make(folder)
    good = {path: path.read_bytes() for path in files}
    read()
    with memory_of_at_most(MEMORY):
        for _ in range(count // SLOWER.get(make, 1)):
            path = rng.choice(files)
            path.write_bytes(damaged(good[path], rng, path.suffix == ".json"))
            try:
                read()
            except BertKitError as error:
                assert "\n" not in str(error) and len(str(error)) < 2_000
                refused += 1
            for file, content in good.items():  # readers that go on with a run write too
                file.write_bytes(content)
    read()
    assert refused > count / 100
