"""Faults in whole jobs, again and again: what was saved stays, and the end is the same.

    KILLS=50 python -m pytest -n 0 -s tests/ground/test_faults.py     # of each of the four jobs

Each run is forked from a process that has everything imported, so that a moment of its life is a
moment of the job.
"""

import json
import os
import random
import re
import resource
import signal
import sqlite3
import time

import pytest
import torch
import warm_processes
from tiny_jobs import WORDS, tiny_bert, write_table

from bert_kit.files import REPLACED, TEMPORARY, read_json
from bert_kit.weights import read_safetensors

KILLS = int(os.environ.get("KILLS", 1))
LONGEST = 60 + 20 * KILLS  # seconds; a job that never comes to its end has lost something


def write_documents(path, count):
    """Documents of one to five sentences, and return the path."""
    rng = random.Random(0)
    words = [word for kind in WORDS.values() for word in kind]
    path.write_text("\n\n".join(
        "\n".join(f"the thing {i} of {' '.join(rng.choices(words, k=4))}."
                  for _ in range(rng.randint(1, 5))) for i in range(count)) + "\n")
    return path


COMMON = ["--device", "cpu", "--precision", "float32", "--verbosity", "0", "--plots", "false",
          "--resume", "auto"]
SMALL = [*COMMON, "--max_length", "16", "--batch_size", "8", "--threads", "1", "--num_epochs"]


def begin(arguments, log, largest_file=None):
    """Start `bert-kit arguments`; a disk that is full takes files of so many bytes."""
    process = warm_processes.start("-m", "bert_kit", *arguments, folder=log.parent, log=log)
    if largest_file is not None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                         (largest_file, resource.RLIM_INFINITY))
    return process


def end(process):
    """Wait for a job and return its exit code."""
    process.join()
    return process.exitcode


def run(arguments, log, largest_file=None):
    """Do a job; return its exit code and what it said."""
    code = end(begin(arguments, log, largest_file))
    return code, log.with_suffix(".err").read_text()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Where jobs print to; see `warm_processes`."""
    return tmp_path_factory.mktemp("logs") / "log"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{name: path} of a table, a text and a BERT."""
    folder = tmp_path_factory.mktemp("files")
    return {"rows": write_table(folder / "rows.csv", 90), "bert": tiny_bert(folder / "bert"),
            "text": write_documents(folder / "text.txt", 60)}


def bytes_of(folder, *patterns):
    return {str(path.relative_to(folder)): path.read_bytes()
            for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()}


class Training:
    """Fine-tuning with a checkpoint an epoch."""

    def arguments(self, files, out):
        return ["train", "--data_file", files["rows"], "--model", files["bert"], *SMALL, "3",
                "--baselines", "false", "--output_dir", out]

    def saved(self, out):
        return {int(path.name.split("-")[1]) for path in out.glob("checkpoint-*")} | {0}

    def kept(self, before, now, out):  # old checkpoints make room
        return max(now) >= max(before) or (out / "results.json").is_file()

    def outcome(self, out):
        return bytes_of(out, "model.safetensors", "metrics.csv", "test_predictions.csv")


class Search:
    """Tuning, three trials of two epochs."""

    def arguments(self, files, out):
        return ["tune", "--data_file", files["rows"], "--model", files["bert"], *SMALL, "2",
                "--n_trials", "3", "--study_name", "study", "--baselines", "false", "--keep_top",
                "1", "--output_dir", out]

    def records(self, out):
        path = out / "study" / "study.sqlite"
        if not path.is_file():
            return {}
        db = sqlite3.connect(path)
        tables = db.execute("SELECT name FROM sqlite_master").fetchall()
        rows = (db.execute("SELECT number, record FROM trial WHERE told IS NOT NULL").fetchall()
                if ("trial",) in tables else [])
        db.close()
        return {number: json.loads(record) for number, record in rows}

    def saved(self, out):
        return self.records(out)

    def kept(self, before, now, out):
        return all(now.get(number) == record for number, record in before.items())

    def outcome(self, out):
        trials = [(number, record["params"], record["value"], record["reports"])
                  for number, record in sorted(self.records(out).items())]
        return trials, read_json(out / "study" / "best_config.json")["best_params"]


class Campaign:
    """Active learning, one method of three rounds."""

    def arguments(self, files, out):
        return ["active", "--data_file", files["rows"], "--model", files["bert"], *SMALL, "1",
                "--acquisition", "entropy", "--seeds", "0", "--rounds", "2",
                "--initial", "12", "--batch", "6", "--passes", "2", "--min_steps", "2",
                "--stop_rows", "20", "--output_dir", out]

    def saved(self, out):
        return bytes_of(out, "*-seed-0/round-*/round.json")

    def kept(self, before, now, out):
        return before.items() <= now.items()

    def outcome(self, out):
        return bytes_of(out, "*-seed-0/round-*/round.json", "*-seed-0/round-*/model/*.safetensors",
                        "curves.csv")


class Store:
    """A token store, and four steps of pre-training on it."""

    def arguments(self, files, out):
        return ["pretrain", "--train_file", files["text"], "--tokenizer", files["bert"],
                "--from_scratch", "bert-tiny", *COMMON, "--max_length", "24", "--batch_size", "8",
                "--max_steps", "4", "--save_steps", "1", "--val_size", "0",
                "--store", f"{out}-store", "--output_dir", out]

    def saved(self, out):
        return bytes_of(out.parent, f"{out.name}-store/*.bin")

    def kept(self, before, now, out):
        return all(now.get(name) == data for name, data in before.items()
                   if TEMPORARY not in name) or (out / "manifest.json").is_file()

    def outcome(self, out):
        store = {name.split("/")[-1]: data for name, data in bytes_of(
            out.parent, f"{out.name}-store/*").items()}
        return store, bytes_of(out, "model.safetensors", "metrics.csv")


def assert_whole(folder):
    """Every file that bears its own name can be read; what was begun has another."""
    for path in folder.rglob("*"):
        if TEMPORARY in str(path) or REPLACED in str(path) or not path.is_file():
            continue
        if path.suffix == ".safetensors":
            assert all(tensor.isfinite().all() for tensor in read_safetensors(path).values()
                       if tensor.is_floating_point())
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)


@pytest.fixture(scope="module", params=[Training(), Search(), Campaign(), Store()],
                ids=lambda job: type(job).__name__.lower())
def job(request, log, files, tmp_path_factory):
    """A job that has run once, unbroken: it knows its `goal` and took so many `seconds`."""
    job, out, begun = request.param, tmp_path_factory.mktemp("whole") / "out", time.monotonic()
    assert run(job.arguments(files, out), log) == (0, "")
    job.seconds, job.goal = time.monotonic() - begun, job.outcome(out)
    return job


def test_killed_at_random_moments_again_and_again(job, log, files, tmp_path):
    rng, killed, runs = random.Random(0), 0, 0
    while killed < KILLS:
        out, saved, runs, begun = tmp_path / f"broken-{runs}", None, runs + 1, time.monotonic()
        ended = False
        while not ended:  # one run, killed until it comes through
            assert time.monotonic() - begun < LONGEST, f"no end after {killed} kills"
            process = begin(job.arguments(files, out), log)
            if killed < KILLS:
                time.sleep(rng.uniform(0, 0.6 * job.seconds))
                process.kill()
            code = end(process)
            assert code in (0, -signal.SIGKILL), log.with_suffix(".err").read_text()
            killed, ended = killed + (code != 0), code == 0
            if out.exists():
                assert_whole(out)
                now = job.saved(out)
                assert saved is None or job.kept(saved, now, out)
                saved = now
        assert job.outcome(out) == job.goal
    print(f"\n{type(job).__doc__} {killed} kills in {runs} runs, of {job.seconds:.1f} s unbroken")


def test_a_full_disk_is_one_line_and_the_job_goes_on_with_room(job, log, files, tmp_path):
    code, error = run(job.arguments(files, tmp_path / "full"), log, largest_file=12_000)
    assert code == 1 and error.count("\n") == 1 and re.search(
        "File too large|disk", error), error
    if (tmp_path / "full").exists():
        assert_whole(tmp_path / "full")
    assert run(job.arguments(files, tmp_path / "full"), log) == (0, "")
    assert job.outcome(tmp_path / "full") == job.goal


def test_a_second_process_in_the_folder_is_told_so_and_harms_nothing(job, log, files, tmp_path):
    out = tmp_path / "out"
    process = begin(job.arguments(files, out), log)
    while not list(out.glob("**/manifest.json")):
        time.sleep(0.002)
    shares = isinstance(job, Search)  # its trials are for all who come
    if not shares:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        code, error = run(job.arguments(files, out), tmp_path / "second")
    finally:
        if not shares:
            os.kill(process.pid, signal.SIGCONT)
    assert end(process) == 0
    if shares:
        assert code == 0, error
        assert 3 <= len(job.records(out)) <= 6
    else:
        assert code == 1 and error.endswith(
            f"{out}: another process works in it; expected one at a time\n")
        assert job.outcome(out) == job.goal


@pytest.mark.parametrize("job", [Training()], indirect=True, ids=["training"])
def test_rows_that_vanish_and_come_back(job, log, files, tmp_path):
    out, rows = tmp_path / "out", tmp_path / "rows.csv"
    rows.write_bytes(files["rows"].read_bytes())
    process = begin(job.arguments({**files, "rows": rows}, out), log)
    while not list(out.glob("checkpoint-*")):
        time.sleep(0.002)
    process.kill()
    assert end(process) == -signal.SIGKILL
    rows.rename(tmp_path / "away.csv")
    code, error = run(job.arguments({**files, "rows": rows}, out), log)
    assert code == 1 and error.count("\n") == 1 and "rows.csv" in error
    (tmp_path / "away.csv").rename(rows)
    assert run(job.arguments({**files, "rows": rows}, out), log) == (0, "")
    assert job.outcome(out) == job.goal
