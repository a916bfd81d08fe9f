"""How soon does a small BERT know something? Minutes to a held-out loss, and what it is worth.

    python examples/benchmarks/speedrun.py                                # the recipe of the kit
    python examples/benchmarks/speedrun.py --optim adamw                  # with one change
    python examples/benchmarks/speedrun.py --minutes 10 --per_class 100 0 # and its worth

Pre-trains on the docstrings of this machine as `bert-kit pretrain` does, whose options it takes,
and measures the masked-token loss on held-out source files along the way. The time of measuring
does not count, that of making the initial weights does. `--per_class` then fine-tunes on so many
rows a class (0: all) of "which library does this description come from". The table has a row for
each seed. The leaderboard of recipes is in docs/pretraining.md.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import monotonic

import torch
from pretraining_gain import accuracy

from bert_kit.jobs.options.parser import parse
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.train import train_options

TARGETS = (6.0, 5.8, 5.6, 5.4, 5.2, 5.0, 4.8)
EPOCHS = {50: 20, 100: 15, 200: 10, 0: 6}  # passes of a fine-tuning, by rows a class


class Clock:
    """A Trainer's `evaluate` that keeps (minutes of training, loss); measuring does not count."""

    def __init__(self, training):
        self.training, self.begin, self.measuring = training, monotonic(), 0.0
        self.points = []

    def __call__(self):
        now = monotonic()
        scores = self.training.validate()
        self.points.append(((now - self.begin - self.measuring) / 60, scores["loss"]))
        self.measuring += monotonic() - now
        return scores


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="All other options are those of `bert-kit pretrain`.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--every", type=int, default=50, help="steps between two measurements")
    parser.add_argument("--per_class", type=int, nargs="*", default=[],
                        help="rows a class to fine-tune on afterwards; 0 for all")
    parser.add_argument("--fine_tunings", type=int, default=2, help="seeds of a fine-tuning")
    parser.add_argument("--learning_rate_after", type=float, help="of the fine-tuning")
    return parser.parse_known_args()


def pretrain(given, seed, every, folder):
    """Return [(minutes, loss)] along a pre-training that leaves its model in a folder."""
    given = [*given, "--seed", str(seed), "--output_dir", str(folder / "run"), "--eval_steps",
             str(every), "--baselines", "false", "--plots", "false", "--verbosity", "0",
             "--load_best_model_at_end", "false", "--save_steps", "1000000"]
    job = TrainingJob(task_named("masked"), parse("pretrain", train_options("masked"), given))
    rows, begin = job.tokenize(job.read()), monotonic()
    training = job.build(rows)
    made = monotonic() - begin
    clock = Clock(training)
    training.trainer.evaluate = clock
    with training.at_work() as trainer:
        clock.begin = monotonic() - made
        state = trainer.train()
    training.save(folder / "weights")
    return clock.points, state.step


def main(args, given):
    names = [f"{per_class or 'all'} rows a class" for per_class in args.per_class]
    print(f"{torch.get_num_threads()} threads; bert-kit pretrain {' '.join(given)}\n")
    print(f"| seed | steps | minutes | {' | '.join(f'to {target}' for target in TARGETS)} "
          f"| last loss | {' | '.join(names)} |".replace("|  |", "|"))
    print("|---" * (4 + len(TARGETS) + len(names)) + "|")
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as place:
            points, steps = pretrain(given, seed, args.every, Path(place))
            cells = [f"{seed}", f"{steps:,}", f"{points[-1][0]:.1f}"]
            for target in TARGETS:
                first = next((minutes for minutes, loss in points if loss <= target), None)
                cells.append("–" if first is None else f"{first:.1f}")
            cells.append(f"{points[-1][1]:.3f}")
            for per_class in args.per_class:
                scores = [accuracy(Path(place, "weights"), per_class or None,
                                   EPOCHS.get(per_class, 10), args.learning_rate_after, i)
                          for i in range(args.fine_tunings)]
                spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
                cells.append(f"{statistics.mean(scores):.3f}{spread}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*parse_arguments())
