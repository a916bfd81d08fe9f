"""TPE beside random search on a real BERT: the best validation score of so many trials.

    python examples/benchmarks/tuning.py --data FOLDER                     # small, from scratch
    python examples/benchmarks/tuning.py --data FOLDER --weights minilm    # a loaded checkpoint

FOLDER holds train.csv with the columns text,category. Both samplers search the space of the
command line for the same head, on the same split, seed by seed; nothing is pruned. The memory of
the process is that after 3 trials of the first study and after its last.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from pairs import model_folder, write_figures

from bert_kit.jobs.tasks.classes import ClassOptions, ClassTask
from bert_kit.jobs.tuning.options import search_options
from bert_kit.jobs.tuning.spaces import search_space
from bert_kit.jobs.tuning.trial import Objective
from bert_kit.training.memory import memory_used
from bert_kit.tuner import TPE, Random, Study

SAMPLERS = {"random": Random, "TPE": TPE}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train.csv")
    parser.add_argument("--weights", help="minilm or a folder; a small BERT from scratch without")
    parser.add_argument("--rows", type=int, default=600, help="to train on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--n_trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


class Memory:
    """Remembers the memory of the process after each trial."""

    def __init__(self):
        self.after = []

    def on_trial_complete(self, trial):
        """Read it."""
        self.after.append(memory_used(torch.device("cpu")))

    on_trial_failed = on_trial_complete


def main(args):
    figures = {name: [] for name in SAMPLERS}
    memory = Memory()
    with tempfile.TemporaryDirectory() as scratch:
        base = ClassOptions(
            model=args.weights and model_folder(args.weights, scratch), from_scratch="bert-tiny",
            train_file=str(Path(args.data, "train.csv")), val_size=0.08, test_size=0,
            classifier="mlp", max_length=32, max_train_samples=args.rows,
            num_train_epochs=args.epochs, output_dir=None, plots=False, baselines=False,
            verbosity=0)
        space = search_space(ClassTask(), search_options("classification")(
            train_file=base.train_file))
        for seed in range(args.seeds):
            for name, sampler in SAMPLERS.items():
                study = Study(name, space, direction="maximize", sampler=sampler(), seed=seed)
                first = not memory.after
                study.optimize(Objective(base, keep=False), args.n_trials,
                               callbacks=[memory] if first else [])
                figures[name].append(study.best.value)
                print(f"seed {seed}  {name:8}{base.metric} {study.best.value:.4f}", flush=True)
    for name, values in figures.items():
        print(f"{name:8} median {statistics.median(values):.4f}   "
              f"{min(values):.4f} to {max(values):.4f}")
    growth = memory.after[-1] / memory.after[min(2, len(memory.after) - 1)]
    print(f"memory after {len(memory.after)} trials: {growth:.3f} of that after 3")
    write_figures(args.json, figures | {"memory": growth})


if __name__ == "__main__":
    main(parse_arguments())
