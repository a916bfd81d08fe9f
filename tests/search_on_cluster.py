"""A search of tiny BERTs in one process or on a cluster, for tests/jobs/test_clusters.py.

    python search_on_cluster.py dask://HOST:PORT FOLDER

FOLDER has rows.csv and bert; the study is left in it.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tuning.trial import Objective
from bert_kit.tuner import Median, SearchSpace, Study, TPE

SPACE = (SearchSpace().log_uniform("learning_rate", 1e-4, 1e-1).ordered("batch_size", [7, 16, 40])
         .continuous("hidden_dropout_prob", 0.0, 0.4))
SETTINGS = {"data_file": "rows.csv", "model": "bert", "classifier": "cnn", "num_train_epochs": 2,
            "max_length": 24, "precision": "float32", "threads": 1, "device": "cpu",
            "verbosity": 0, "output_dir": None, "metric": "loss"}


@dataclasses.dataclass(frozen=True)
class Deadly:
    """An objective in whose third trial the first worker dies after an epoch."""

    objective: Objective
    mark: str

    def __call__(self, trial):
        if trial.number == 2 and not Path(self.mark).exists():
            def die(step, value):
                Path(self.mark).write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            trial.report = die
        return self.objective(trial)


def search(folder=None, executor=None):
    """Search in waves of three and return the trials."""
    objective = Objective(task_named("classification").options(**SETTINGS), keep=False)
    if executor is not None:
        objective = Deadly(objective, str(Path(folder, "died")))
    study = Study("tiny", SPACE, folder and Path(folder, "study"), sampler=TPE(n_startup=3),
                  pruner=Median(startup=2))
    study.optimize(objective, 6, executor=executor, in_flight=3, mode="waves")
    trials = study.trials
    study.close()
    return trials


def outcome(trials):
    """What a study knows of its trials, but for times and memory."""
    return [(trial.number, trial.params, trial.seed, trial.state, trial.value, trial.reports,
             trial.cuts, trial.attempt, trial.failures, trial.error) for trial in trials]


if __name__ == "__main__":
    from distributed import Client

    from bert_kit.jobs.tuning.workers import Cluster
    os.chdir(sys.argv[2])
    with Client(sys.argv[1].replace("dask", "tcp"), set_as_default=False) as client:
        client.wait_for_workers(3)
        search(".", Cluster(client))
