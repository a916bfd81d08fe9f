"""How often the intervals of a classifier's scores hold, on test rows from known populations.

Rows are drawn again and again from a population whose accuracy and macro F1 are known, and the
share of the 95% intervals that hold it is counted: of `bootstrap_intervals`, and of a bootstrap
that draws the rows of each true class with replacement, as bert_kit did before 2026-11-29.
"""

import argparse

import numpy as np

from bert_kit.evaluation import bootstrap_intervals, compute_confusion_matrix, headline_scores

UNEQUAL = [40, 25, 15, 10, 6, 4]
RARE = ([40, 32, 25, 3], [0.85, 0.8, 0.8, 0.5])
POPULATIONS = [  # name, shares of the classes, how much is found of each (None: 0 for all), rows
    ("one answer for all, 2 classes", [43, 57], None, 100),
    ("one answer for all, 6 unequal classes", UNEQUAL, None, 100),
    ("one answer for all, 6 unequal classes", UNEQUAL, None, 500),
    ("98% right, 3 classes", [1, 1, 1], 0.98, 60),
    ("98% right, 6 unequal classes", UNEQUAL, 0.98, 100),
    ("80% right, 4 classes", [1] * 4, 0.8, 100),
    ("80% right, 4 classes", [1] * 4, 0.8, 500),
    ("81% right, one class of 3%", *RARE, 100),
    ("81% right, one class of 3%", *RARE, 300),
    ("81% right, one class of 3%", *RARE, 500),
    ("85% right, 12 classes of 5 rows", [1] * 12, 0.85, 60),
    ("90% right, 77 classes of 10 rows", [1] * 77, 0.9, 770)]
NAMES = ("accuracy", "f1_macro")


def population(shares, found):
    """Return the shares of the cells (C, C); mistakes go to each other class alike."""
    shares, classes = np.array(shares) / sum(shares), len(shares)
    if found is None:
        return np.outer(shares, np.arange(classes) == 0)
    found = np.broadcast_to(found, classes)
    cells = np.outer(shares * (1 - found) / (classes - 1), np.ones(classes))
    cells[np.diag_indices(classes)] = shares * found
    return cells


def within_classes(predictions, labels, num_classes, samples, seed):
    """Return the intervals of a bootstrap that draws as many rows of each true class as there are.

    The rows of a class are a row of the confusion matrix, whose draws are multinomial.
    """
    confusion = compute_confusion_matrix(predictions, labels, num_classes)
    rows, occurs = confusion.sum(axis=1), confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    shares, generator = confusion / np.maximum(rows, 1)[:, None], np.random.default_rng(seed)
    draws = [headline_scores(generator.multinomial(rows, shares), occurs) for _ in range(samples)]
    ends = {name: np.quantile([draw[name] for draw in draws], [0.025, 0.975]) for name in NAMES}
    return {name: {"low": low, "high": high} for name, (low, high) in ends.items()}


def held_shares(intervals, cells, rows, repeats, samples, seed):
    """Return how often each score's interval holds that of the population, and its mean width."""
    truth, generator, found = headline_scores(cells), np.random.default_rng(seed), []
    for repeat in range(repeats):
        drawn = np.repeat(np.arange(cells.size), generator.multinomial(rows, cells.ravel()))
        labels, predictions = np.divmod(drawn, len(cells))
        ends = intervals(predictions, labels, len(cells), samples=samples, seed=repeat)
        found.append([(ends[name]["low"] - 1e-9 <= truth[name] <= ends[name]["high"] + 1e-9,
                       ends[name]["high"] - ends[name]["low"]) for name in NAMES])
    return np.mean(found, axis=0)  # (scores, held and width)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500, help="test sets of each population")
    parser.add_argument("--samples", type=int, default=400, help="draws of each interval")
    parser.add_argument("--most_classes", type=int, default=77, help="skip larger populations")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(args):
    print(f"{args.repeats} test sets each; share of the 95% intervals that hold, and mean width")
    print(f"{'':43}{'accuracy':>28}{'macro F1':>28}")
    print(f"{'population':38}{'rows':>5}" + f"{'before':>14}{'now':>14}" * 2)
    figures = []
    for name, shares, found, rows in POPULATIONS:
        if len(shares) > args.most_classes:
            continue
        cells = population(shares, found)
        sides = [held_shares(side, cells, rows, args.repeats, args.samples, args.seed)
                 for side in (within_classes, bootstrap_intervals)]
        print(f"{name:38}{rows:5}" + "".join(
            f"  {side[score, 0]:6.3f}{side[score, 1]:6.3f}" for score in range(len(NAMES))
            for side in sides), flush=True)
        figures.append((name, rows, sides))
    return figures


if __name__ == "__main__":
    main(parse_arguments())
