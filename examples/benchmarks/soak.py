"""Many trials and many predictions in one process: memory and open files stay where they were.

    python examples/benchmarks/soak.py                       # 2,000 trials, 50,000 predictions

A trial trains a very small BERT on twelve texts for a few steps, with a batch size, a rate and a
dropout of its own, and is kept in a study on the disk. A prediction is a call with one text of one
of many lengths. Each part is measured at ten moments; the first is its warm-up.
"""

import argparse
import csv
import os
import random
import tempfile
from contextlib import closing
from pathlib import Path

from pairs import write_figures

from bert_kit import Predictor, TuningError, train_classifier
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.tuning.trial import Objective
from bert_kit.tuner import Random, SearchSpace, Study

MOMENTS = 10
WORDS = ("red", "green", "blue", "warm", "cold", "tall", "small", "fast", "slow", "loud")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--predictions", type=int, default=50_000)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def state():
    """Return the MB of memory and the number of open files of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd"))


def measured(name, count, work):
    """Do work(n) for n numbers, ten times; print and return memory and files after each."""
    found = []
    for moment in range(MOMENTS):
        for number in range(moment * count // MOMENTS, (moment + 1) * count // MOMENTS):
            work(number)
        found.append(state())
        print(f"{name} {(moment + 1) * count // MOMENTS:8,}  {found[-1][0]:8.1f} MB  "
              f"{found[-1][1]:3} files open", flush=True)
    return found


def texts(rng, count):
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(count)]


def main(args):
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "rows.csv")
        with open(table, "w", newline="") as file:
            rows = zip(texts(rng, 15), "ab" * 15, strict=False)
            csv.writer(file).writerows([("text", "category"), *rows])
        small = {"from_scratch": "bert-tiny", "max_length": 16, "device": "cpu", "verbosity": 0,
                 "plots": False, "baselines": False, "test_size": 0.0, "val_size": 0.2}
        options = ClassOptions(
            data_file=str(table), output_dir=None, num_train_epochs=1, **small)
        space = (SearchSpace().log_uniform("learning_rate", 1e-5, 1e-2)
                 .continuous("dropout", 0.0, 0.5).discrete("batch_size", 1, 12))
        objective = Objective(options, keep=False)
        with closing(Study("soak", space, folder, sampler=Random())) as study:
            def trial(number):
                study.optimize(objective, 1)
            trials = measured("trials     ", args.trials, trial)
            if any(trial.state != "complete" for trial in study.trials):
                raise TuningError("a trial failed")
        train_classifier(data_path=table, output_dir=Path(folder, "run"), num_epochs=1, **small)
        predictor, queries = Predictor.load(Path(folder, "run"), device="cpu"), texts(rng, 997)
        predictions = measured("predictions", args.predictions,
                               lambda number: predictor.predict([queries[number % len(queries)]]))
    figures = {}
    for name, found in (("trials", trials), ("predictions", predictions)):
        growth, files = found[-1][0] / found[0][0], found[-1][1] - found[0][1]
        figures[name] = {"memory": growth, "files": files}
        print(f"{name}: {growth:.3f} times the memory after a tenth of them, {files:+} files open")
    write_figures(args.json, figures)


if __name__ == "__main__":
    main(parse_arguments())
