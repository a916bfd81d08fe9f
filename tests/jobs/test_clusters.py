"""Searches whose trials run on a Dask cluster: what one process finds, whoever is killed.

Those that begin a cluster need Dask, and use network namespaces where the machine has them.
"""

import importlib.util
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from search_on_cluster import SPACE, outcome, search
from tiny_jobs import command, here, tiny_bert, write_table
from tiny_machines import DaskCluster, free_port, kill, machines

from bert_kit.errors import ConfigError, MachineError, TuningError
from bert_kit.files import read_json
from bert_kit.jobs.tuning import workers
from bert_kit.jobs.tuning.options import search_options
from bert_kit.tuner import TPE, SearchSpace, Study

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None,
                                reason="Dask (distributed) is not there")
TUNE = ["tune", "--data_file", "rows.csv", "--model", "bert", "--classifier", "cnn",
        "--max_length", "24", "--precision", "float32", "--baselines", "false", "--study_name",
        "one", "--train_best", "false", "--strict", "false"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_table(tmp_path / "rows.csv", 90)
    tiny_bert(tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(folder):
    with machines(3) as each:
        cluster = DaskCluster(each, folder)
        yield cluster
        cluster.close()


def stored(folder):
    """Return [(number, state)] of the trials in a study, as they are in its file."""
    if not (folder / "study.sqlite").exists():
        return []
    db = sqlite3.connect(folder / "study.sqlite", timeout=30)
    try:
        rows = db.execute("SELECT number, record FROM trial ORDER BY number").fetchall()
    except sqlite3.OperationalError:  # its tables are not there yet
        rows = []
    db.close()
    return [(number, json.loads(record)["state"]) for number, record in rows]


def wait_until(condition, process, limit=240):
    """Wait for something that a process is about to do."""
    end = time.monotonic() + limit
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def over(folder):
    return [number for number, state in stored(folder) if state != "running"]


def tune(cluster, *more):
    """Begin a search in another process; what it says goes to tune.log."""
    return cluster.here.start("-m", "bert_kit", *TUNE, "--executor", f"dask://{cluster.address}",
                              *more, folder=cluster.folder, log=cluster.folder / "tune.log")


@needs_dask
def test_waves_on_three_machines_are_those_of_one_process_though_a_worker_is_killed(cluster):
    script = Path(__file__).parents[1] / "search_on_cluster.py"
    begun = cluster.here.start(script, f"dask://{cluster.address}", cluster.folder,
                               folder=cluster.folder, log=cluster.folder / "search.log")
    expected = outcome(search())
    assert begun.wait(240) == 0, (cluster.folder / "search.log").read_text()
    died = int((cluster.folder / "died").read_text())
    assert [worker.pid for worker in cluster.workers if worker.poll() is not None] == [died]
    study = Study("tiny", SPACE, cluster.folder / "study", resume=True)
    assert outcome(study.trials) == expected
    study.close()
    assert {state for _, _, _, state, *_ in expected} == {"complete", "pruned"}


@needs_dask
@pytest.mark.slow
def test_a_coordinator_and_a_worker_that_are_killed_lose_no_trial_and_double_none(cluster):
    study = cluster.folder / "hyperparams" / "one"
    words = "--n_trials", 24, "--num_epochs", 4
    begun = tune(cluster, *words)
    wait_until(lambda: len(over(study)) >= 5, begun)
    kill(begun)
    before = dict(stored(study))
    begun = tune(cluster, *words, "--resume", "auto")
    wait_until(lambda: len(over(study)) >= 9, begun)
    kill(cluster.workers[1])
    assert begun.wait(400) == 0, (cluster.folder / "tune.log").read_text()
    trials = read_json(study / "trial_history.json", list)
    assert [trial["number"] for trial in trials] == [*range(24)]
    assert {trial["state"] for trial in trials} == {"complete", "pruned"}
    taken_up = [number for number, state in before.items() if state == "running"]
    assert [trial["number"] for trial in trials if trial["attempt"] == 2] == taken_up != []
    about = read_json(study / "checkpoint.json")
    again = Study(about["name"], SearchSpace.from_dict(about["space"]), study, sampler=TPE(),
                  directions=about["directions"], resume=True)
    assert [again.replay(n) for n in range(24)] == [trial.params for trial in again.trials]
    again.close()


@needs_dask
@pytest.mark.slow
def test_a_scheduler_that_is_gone_is_one_line_and_the_search_goes_on_with_another(cluster):
    study, log = cluster.folder / "hyperparams" / "one", cluster.folder / "tune.log"
    begun = tune(cluster, "--n_trials", 9)
    wait_until(lambda: len(over(study)) >= 2, begun)
    kill(cluster.scheduler)
    assert begun.wait(60) == 1
    assert "Traceback" not in log.read_text() and log.read_text().splitlines()[-1].startswith(
        "error: the executor gave its calls up")
    cluster.close()
    cluster.begin()
    begun = tune(cluster, "--n_trials", 9, "--resume", "auto")
    assert begun.wait(400) == 0, log.read_text()
    trials = read_json(study / "trial_history.json", list)
    assert len(trials) == 9 and {trial["failures"] for trial in trials} == {0}


@needs_dask
@pytest.mark.slow
@pytest.mark.parametrize("sampler, file", [("hyperband", "trial_history.json"),
                                           ("pbt", "population.json")])
def test_legs_on_a_cluster_are_those_of_one_process(cluster, sampler, file):
    words = "--sampler", sampler, "--num_epochs", 3, "--threads", 1
    begun = tune(cluster, *words)
    assert begun.wait(400) == 0, (cluster.folder / "tune.log").read_text()
    found = (cluster.folder / "hyperparams" / "one" / file).read_text()
    assert here(*TUNE, *words, "--output_dir", "alone", folder=cluster.folder).returncode == 0
    expected = json.loads(Path("alone", "one", file).read_text())
    of_time = {"started", "finished", "duration"}

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items() if key not in of_time}
        return [plain(each) for each in value] if isinstance(value, list) else value
    assert plain(json.loads(found)) == plain(expected)


@pytest.mark.parametrize("text", ["10.0.0.1:8786", "tcp://host:8786", "dask://host", "dask://h:1/x",
                                  "dask://:8786"])
def test_an_executor_is_an_address(text):
    with pytest.raises(ConfigError, match="expected dask://HOST:PORT"):
        search_options("tagging")(executor=text)


def test_without_dask_the_line_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = here(*TUNE, "--executor", "dask://host:8786", folder=folder)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "pip install distributed" in done.stderr
    assert not (folder / "hyperparams").exists()


@needs_dask
@pytest.mark.slow
@pytest.mark.parametrize("what", ["nobody", "somebody else"])
def test_where_no_scheduler_answers_there_is_one_line_and_no_folder(folder, what):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if what == "somebody else" else free_port("127.0.0.1")
        done = command(*TUNE, "--executor", f"dask://127.0.0.1:{port}", folder=folder)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert f"dask://127.0.0.1:{port}: no scheduler answers" in done.stderr
    assert not (folder / "hyperparams").exists()


def test_a_connection_is_not_waited_for_for_ever(monkeypatch):
    def refused(address, timeout, set_as_default):
        assert (address, timeout, set_as_default) == ("tcp://h:1", 0.1, False)
        raise OSError("Timed out")
    monkeypatch.setattr(workers, "PATIENCE", 0.1)
    with pytest.raises(TuningError, match=r"dask://h:1: no scheduler answers \(Timed out\)"):
        workers.connected(refused, "dask://h:1")
    end = threading.Event()
    with pytest.raises(TuningError, match="what is there says nothing in 0.1 s"):
        workers.connected(lambda address, **more: end.wait(), "dask://h:1")
    end.set()
    assert workers.connected(lambda address, **more: address, "dask://h:1") == "tcp://h:1"


def on_worker(monkeypatch, threads):
    worker = SimpleNamespace(address="tcp://a:1", state=SimpleNamespace(nthreads=threads))
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=lambda: worker))


def test_a_worker_runs_one_trial_at_a_time_in_the_folder_of_the_search(tmp_path, monkeypatch):
    on_worker(monkeypatch, 1)
    before = os.getcwd()
    assert workers.run_on_worker(str(tmp_path), os.getcwd) == str(tmp_path)
    assert os.getcwd() == before
    with pytest.raises(MachineError, match="worker tcp://a:1 sees no folder .*gone"):
        workers.run_on_worker(str(tmp_path / "gone"), os.getcwd)
    on_worker(monkeypatch, 4)
    with pytest.raises(MachineError, match="runs 4 trials in one process.*--nthreads 1"):
        workers.run_on_worker(str(tmp_path), os.getcwd)


def check(found, jobs=None):
    """Return what is said of workers with these versions, and how many there are."""
    said = []

    def run(function):
        if isinstance(found, Exception):
            raise found
        return found
    count = workers.check_workers(SimpleNamespace(run=run), SimpleNamespace(
        executor="dask://h:1", jobs=jobs, say=said.append))
    return "\n".join(said), count


def test_workers_that_are_not_as_here_are_told():
    own = workers.versions()
    said, count = check({"tcp://a:1": own, "tcp://b:2": {**own, "bert_kit": "0.1"}})
    assert count == 2 and said.startswith("workers   2 of dask://h:1\n")
    assert said.count("\n") == 1 and f"tcp://b:2 has bert_kit 0.1 (here {own['bert_kit']})" in said
    assert check({}, jobs=5) == ("workers   0 of dask://h:1", 0)
    with pytest.raises(TuningError, match="no worker has joined.*dask worker h:1 --nthreads 1"):
        check({})
    with pytest.raises(TuningError, match="a worker cannot run bert_kit.*No module"):
        check(ModuleNotFoundError("No module named 'bert_kit'"))


def test_other_machines_have_threads_of_their_own(monkeypatch):
    monkeypatch.setattr(workers.torch, "get_num_threads", lambda: 8)
    for executor, jobs, expected in ((None, None, 8), (None, 4, 2), (None, 99, 1),
                                     ("dask://h:1", None, 1), ("dask://h:1", 2, 1)):
        options = SimpleNamespace(executor=executor, jobs=jobs)
        assert workers.threads_of_a_trial(options) == expected
