"""Which texts should be labelled next? BEAL against random rows, and against all labels.

    python examples/active_learning.py                                # descriptions of libraries
    python examples/active_learning.py --preset paper --data_file my.csv --weights FOLDER
    python examples/active_learning.py --data_file goemotions --task multi_label --weights FOLDER

The labels are known and hidden: the example asks for a few at a time, as a person would be asked,
and shows how the score grows with them. `--preset paper` is the setting of Wang et al. 2024: 500
labels to begin with, 19 rounds of 500, 100 passes with dropout, five seeds. `--preset fast` shows
the same in minutes. `--resume auto` goes on with a run that was killed. `python -m bert_kit active`
is this with more options, and with a person who answers.
"""

import argparse
from typing import Any

import numpy as np

from bert_kit import BertKitError, learn_actively
from bert_kit.active import ACQUISITIONS, lowest


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--preset", default="fast", choices=("fast", "paper"))
    parser.add_argument("--weights", help="folder or name of a BERT to start from")
    parser.add_argument("--data_file", help="CSV with the columns text and category (or labels), "
                        "or a folder with train, dev and test")
    parser.add_argument("--task", default="classification",
                        choices=("classification", "multi_label"))
    parser.add_argument("--acquisition", nargs="+", default=["beal", "disagreement", "random"],
                        help="methods to compare, also those of this file")
    parser.add_argument("--rows", type=int, help="take so many rows as the pool")
    parser.add_argument("--rounds", type=int, help="of questions; by default the preset's")
    parser.add_argument("--seeds", nargs="+", type=int, help="by default the preset's")
    parser.add_argument("--min_steps", type=int, help="of training in each round")
    parser.add_argument("--time_limit", type=float,
                        help="seconds after which no round begins; --resume auto goes on")
    parser.add_argument("--output_dir", help="by default runs/active, runs/active-2 and so on")
    parser.add_argument("--resume", choices=("auto",), help="go on with a run that was killed")
    return parser.parse_args(arguments)


def disagreement(pool, count, rng):
    """Choose the rows whose best answer changes most from pass to pass: a method in four lines.

    `pool.passes()` yields tables of probabilities (N, C), each from the model with other parts of
    it dropped. Whatever takes (pool, count, rng) and returns positions in the pool is a method.
    """
    votes = sum(table == table.max(axis=1, keepdims=True) for table in pool.passes())
    return lowest(np.max(votes, axis=1), count, rng)


def main(args):
    options: dict[str, Any] = {name: value for name, value in (
        ("rounds", args.rounds), ("seeds", args.seeds), ("resume", args.resume),
        ("max_train_samples", args.rows), ("output_dir", args.output_dir),
        ("time_limit", args.time_limit), ("min_steps", args.min_steps),
        ("from_scratch", None if args.weights else "bert-tiny")) if value is not None}
    results = learn_actively(
        args.data_file, args.weights, {**ACQUISITIONS, "disagreement": disagreement},
        task=args.task, preset=args.preset, acquisition=args.acquisition, **options)
    for key, found in results["scores"].items():
        best = max(found["methods"], key=lambda name: np.mean(found["methods"][name]["mean"]))
        print(f"highest mean {key} over the rounds: {best}")
    return results


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
