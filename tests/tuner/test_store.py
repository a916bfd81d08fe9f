import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bert_kit import TuningError
from bert_kit.tuner import store as store_module
from bert_kit.tuner.ask_tell import Exhausted
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.store import Store
from bert_kit.tuner.study import Study

ROOT = Path(__file__).resolve().parents[2]
SPACE = SearchSpace().continuous("x", 0, 1).discrete("n", 1, 10**6)

# Searches in the folder argv[1], argv[2] trials more. A line of log.txt says what began and, after
# the study has kept it, what is over.
SEARCH = """
import os, sys, time
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.study import Study

class Log:
    def __init__(self, folder):
        self.file = os.open(folder + "/log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def note(self, *words):
        os.write(self.file, (" ".join(map(str, words)) + "\\n").encode())
    def on_trial_start(self, trial):
        self.note("start", trial.number, trial.params["n"], trial.attempt)
    def on_trial_complete(self, trial):
        self.note("over", trial.number, trial.params["n"], trial.value)

def objective(trial):
    time.sleep(float(sys.argv[3]))
    return trial.params["x"]

space = SearchSpace().continuous("x", 0, 1).discrete("n", 1, 10**6)
study = Study("s", space, sys.argv[1], resume=True)
study.optimize(objective, int(sys.argv[2]), in_flight=2, callbacks=[Log(sys.argv[1])])
"""


def search(folder, trials, seconds):
    """Start a process that searches."""
    return subprocess.Popen([sys.executable, "-c", SEARCH, str(folder), str(trials), str(seconds)],
                            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stop_while(process, condition):
    """Stop a process at a moment at which a condition holds."""
    while True:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.01)  # the signal takes its time
        if condition():
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.003)


def execute(folder, statement, *values):
    """Do something to the file of a study behind its back."""
    with sqlite3.connect(folder / "study.sqlite") as db:
        rows = db.execute(statement, values).fetchall()
    db.close()
    return rows


def test_processes_share_a_file(tmp_path, asks=60):
    Study("s", SPACE, tmp_path).close()
    processes = [search(tmp_path, asks, 0) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0 and output == ""
    trials = Study("s", SPACE, tmp_path, resume=True).trials
    assert [trial.number for trial in trials] == [*range(2 * asks)]
    assert {trial.state for trial in trials} == {"complete"}
    assert len({(t.params["x"], t.params["n"]) for t in trials}) == len(trials)
    owners = execute(tmp_path, "SELECT owner, COUNT(*) FROM trial GROUP BY owner")
    assert [count for _, count in owners] == [asks, asks]


def test_draws_of_processes_that_share_a_file_can_be_replayed(tmp_path):
    studies = [Study("s", SPACE, tmp_path, resume=True) for _ in range(2)]
    mine = []
    for number in range(60):
        mine.append(studies[number % 2].ask())
        if number > 5:
            trial = mine[number - 5]
            studies[trial.number % 2].tell(trial, trial.params["x"])
    for study in studies:
        assert [study.replay(i) for i in range(60)] == [trial.params for trial in mine]


def test_a_process_killed_at_any_moment_loses_nothing(tmp_path, kills=5):
    rng, path = random.Random(0), tmp_path / "log.txt"
    path.touch()
    for last in [False] * (kills - 1) + [True]:
        process, size = search(tmp_path, 10**6, 0.01), path.stat().st_size
        while path.stat().st_size == size:
            time.sleep(0.005)  # until it works
        time.sleep(rng.uniform(0, 0.2))
        if last:  # in a trial, so that there is one to take up
            stop_while(process, lambda: "start" in path.read_text().splitlines()[-1])
        process.kill()
        process.communicate()
    study = Study("s", SPACE, tmp_path, resume=True)
    interrupted = {trial.number for trial in study.trials if trial.state == "running"}
    study.optimize(lambda trial: trial.params["x"], len(interrupted))
    trials = study.trials
    assert interrupted and {trial.state for trial in trials} == {"complete"}
    assert max(trial.attempt for trial in trials) > 1
    over = []
    for event, number, n, value in map(str.split, path.read_text().splitlines()):
        trial = trials[int(number)]
        assert trial.params["n"] == int(n)  # taken up with its own parameters
        if event == "over":
            assert trial.value == float(value)  # what was told is there
            over.append(number)
    assert len(over) == len(set(over))  # nothing was told twice
    assert [study.replay(i) for i in range(0, len(trials), 9)] == [
        trial.params for trial in trials[::9]]


def test_a_trial_whose_process_is_gone_is_taken_up_with_its_parameters_and_seed(tmp_path):
    code = SEARCH.split("study.optimize")[0] + "study.ask(); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "1", "0"], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    study = Study("s", SPACE, tmp_path, resume=True)
    lost, = study.trials
    again = study.ask()
    assert (again.number, again.params, again.seed, again.attempt) == (
        0, lost.params, lost.seed, 2)
    assert study.ask().number == 1
    study.tell(again, 1.0)
    assert study.trials[0].state == "complete" and study.replay(0) == lost.params


def test_a_clock_that_goes_back_gives_no_living_trial_away_and_keeps_no_dead_one(tmp_path):
    living = Study("s", SPACE, tmp_path)
    mine = living.ask()
    code = SEARCH.split("study.optimize")[0] + "study.ask(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path), "1", "0"], cwd=ROOT)
    execute(tmp_path, "UPDATE trial SET beat = beat + 86400")  # written by a clock a day ahead
    other = Study("s", SPACE, tmp_path, resume=True)
    assert [other.ask().number for _ in range(2)] == [1, 2]  # 1 is the dead one's
    living.tell(mine, 1.0)
    assert living.trials[0].state == "complete"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_clock_that_jumps_ahead_gives_no_living_trial_away(tmp_path):
    living = Study("s", SPACE, tmp_path)
    mine = living.ask()
    execute(tmp_path, "UPDATE trial SET beat = beat - 120")  # written by a clock two minutes behind
    other = Study("s", SPACE, tmp_path, resume=True)
    assert other.ask().number == 1
    living.tell(mine, 1.0)
    assert living.trials[0].state == "complete"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
@pytest.mark.parametrize(("change", "late", "lost"), [
    (lambda host, pid, place, start, own: (host, pid, place, "1", own), False, True),
    (lambda host, pid, place, start, own: (host, "1999999999", place, start, own), False, True),
    (lambda host, pid, place, start, own: (host, "1999999999", "boot of a container", start, own),
     False, False),
    (lambda host, pid, place, start, own: (host, pid, "an earlier boot", start, own), True, True),
    (lambda host, pid, place, start, own: ("elsewhere", pid, place, start, own), False, False),
    (lambda host, pid, place, start, own: ("elsewhere", pid, place, start, own), True, True),
    (lambda *owner: owner, True, False)],
    ids=["number of another process", "ended", "other container", "rebooted", "other machine",
         "other machine, silent", "here"])
def test_whose_trials_are_lost(tmp_path, change, late, lost):
    study, other = Study("s", SPACE, tmp_path), Study("s", SPACE, tmp_path, resume=True)
    study.ask()
    owner = execute(tmp_path, "SELECT owner FROM trial")[0][0]
    (host, pid, mark) = owner.split("/")
    host, pid, *mark = change(host, pid, *mark.split("~"))
    execute(tmp_path, "UPDATE trial SET owner = ?, beat = beat - ?",
            "/".join([host, pid, "~".join(mark)]), 120 * late)
    assert other.ask().number == (0 if lost else 1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_zombie_has_ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        begun = store_module._begun(process.pid)
        end = time.monotonic() + 20
        while store_module._begun(process.pid) and time.monotonic() < end:
            time.sleep(0.01)  # it ends, and nobody has asked how
        assert begun is not None and store_module._begun(process.pid) is None


def test_a_late_result_is_dropped_with_a_warning(tmp_path):
    first = Study("s", SPACE, tmp_path)
    late = first.ask()
    second = Study("s", SPACE, tmp_path, resume=True)
    assert second.ask().number == 1  # the lease of trial 0 holds: its process lives
    execute(tmp_path, "UPDATE trial SET owner = 'elsewhere/1/x', beat = beat - ? WHERE number = 0",
            store_module.LOST + 1)
    taken = second.ask()
    assert (taken.number, taken.params, taken.attempt) == (0, late.params, 2)
    with pytest.warns(RuntimeWarning, match="trial 0 does not run here any more: its late result "
                                            "is dropped"):
        assert first.tell(late, 0.5).state == "running"
    assert second.tell(taken, 0.25).value == 0.25
    with pytest.warns(RuntimeWarning, match="trial 0"):
        assert first.tell(late, 0.5).value == 0.25  # nor is it taken when all is over


def test_leases_are_renewed_until_the_study_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "RENEWED", 0.05)
    study = Study("s", SPACE, tmp_path)
    trial = study.ask()
    for closed in (False, True):
        execute(tmp_path, "UPDATE trial SET beat = 0")
        end = time.monotonic() + (0.3 if closed else 10)
        while not (renewed := execute(tmp_path, "SELECT beat FROM trial")[0][0]):
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        assert bool(renewed) is not closed
        study.close()
    other = Study("s", SPACE, tmp_path, resume=True)
    assert other.ask().params == trial.params


@pytest.mark.parametrize("statement", [
    "CREATE TABLE more (x)", "CREATE INDEX i ON trial (told)",
    "CREATE TRIGGER t AFTER UPDATE ON trial BEGIN DELETE FROM trial; END",
    "CREATE VIEW v AS SELECT number FROM trial",
    "ALTER TABLE trial ADD COLUMN x AS (number) VIRTUAL",
    "ALTER TABLE trial RENAME TO other"])
def test_a_file_with_more_than_the_tables_of_a_study_is_refused_before_it_is_used(
        tmp_path, statement):
    study = Study("s", SPACE, tmp_path)
    study.tell(study.ask(), 1.0)
    study.close()
    execute(tmp_path, statement)
    with pytest.raises(TuningError, match="expected the file of a study"):
        Study("s", SPACE, tmp_path, resume=True)


def test_a_trial_that_kills_its_process_is_not_tried_for_ever(tmp_path):
    study = Study("s", SPACE, tmp_path)
    first = study.ask()
    for attempt in (2, 3, 4):
        execute(tmp_path, "UPDATE trial SET owner = 'elsewhere', beat = 0")
        trial = study.ask(attempts=4)
        assert (trial.number, trial.attempt, trial.failures) == (0, attempt, attempt - 1)
    with pytest.warns(RuntimeWarning, match="trial 0"):
        assert study.tell(first, 1.0).state == "running"  # of an attempt that was given up
    execute(tmp_path, "UPDATE trial SET owner = 'elsewhere', beat = 0")
    assert study.ask(attempts=4).number == 1
    assert study.trials[0].state == "failed"
    assert study.trials[0].error == "4 attempts failed, in the last of them its process died"


def test_a_trial_that_was_given_back_has_not_failed(tmp_path):
    study = Study("s", SPACE, tmp_path)
    first = study.ask()
    for attempt in range(2, 9):
        study.release([0])
        trial = study.ask(attempts=2)
        assert (trial.number, trial.attempt, trial.failures) == (0, attempt, 0)
    with pytest.warns(RuntimeWarning, match="trial 0"):
        study.tell(first, 1.0)  # of an attempt that was given back
    assert study.tell(trial, 2.0).value == 2.0


def test_reports_so_far_survive(tmp_path):
    study = Study("s", SPACE, tmp_path)
    trial = study.ask()
    trial.report(2, 0.5)
    trial.notes["epoch"] = 2
    study.update(trial)
    kept = Study("s", SPACE, tmp_path, resume=True).trials[0]
    assert (kept.state, kept.reports, kept.notes, kept.steps) == (
        "running", {2: 0.5}, {"epoch": 2}, 0)


def test_an_ask_that_fails_leaves_nothing(tmp_path):
    class Broken:
        def sample(self, space, trials, rng):
            raise Exhausted if trials else KeyError("no")

    study = Study("s", SPACE, tmp_path, sampler=Broken())
    with pytest.raises(KeyError):
        study.ask()
    other = Study("s", SPACE, tmp_path, resume=True)
    other.ask()  # nobody holds the file
    with pytest.raises(Exhausted):
        study.ask()
    assert len(study.trials) == len(other.trials) == 1


def test_a_file_that_cannot_be_used(tmp_path):
    (tmp_path / "study.sqlite").write_text("name,value\n" * 1000)
    with pytest.raises(TuningError, match="study.sqlite: file is not a database; expected the "
                                          "file of a study"):
        Study("s", SPACE, tmp_path)
    (tmp_path / "a" / "study.sqlite").mkdir(parents=True)
    with pytest.raises(TuningError, match="unable to open database file"):
        Study("s", SPACE, tmp_path / "a")
    with pytest.raises(TuningError, match="study.sqlite/c: Not a directory; expected a folder"):
        Study("s", SPACE, tmp_path / "study.sqlite" / "c")
    (tmp_path / "b").mkdir()
    execute(tmp_path / "b", "CREATE TABLE trial (name TEXT)")
    with pytest.raises(TuningError, match="study.sqlite: holds the table 'trial', which no study"):
        Study("s", SPACE, tmp_path / "b")


def test_what_is_in_the_file_can_be_read_without_the_kit(tmp_path):
    study = Study("s", SPACE, tmp_path)
    study.tell(study.ask(), 0.5)
    (number, record), = execute(tmp_path, "SELECT number, record FROM trial")
    assert number == 0 and json.loads(record)["value"] == 0.5
    assert execute(tmp_path, "PRAGMA journal_mode") == [("wal",)]


def test_a_transaction_is_all_or_nothing(tmp_path):
    store = Store(tmp_path / "x.sqlite")
    settings = {"name": "b", "directions": {}, "seed": 0, "space": {}}
    with pytest.raises(KeyboardInterrupt):
        with store.transaction():
            store.add_settings({**settings, "name": "a"})
            raise KeyboardInterrupt
    assert store.settings() == []
    with store.transaction():
        store.add_settings(settings)
    assert Store(tmp_path / "x.sqlite").settings() == [settings]
