"""What pre-training is worth: accuracy with and without it, for few and for many labels.

    python examples/pretrain_mlm.py
    python examples/benchmarks/pretraining_gain.py --weights runs/pretrained

Runs `train_bert_classification.py` from random weights and from those of the folder, with the same
settings but for the rate, on the same split, and prints the mean and standard deviation over the
seeds as a Markdown table.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import train_bert_classification as example


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="runs/pretrained", help="pre-trained folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs=4, default=[20, 15, 10, 6],
                        help="passes over 50, 100, 200 and all rows a class")
    parser.add_argument("--learning_rate", type=float, help="of both; by default each its own")
    return parser.parse_args()


def accuracy(weights, per_class, epochs, learning_rate, seed):
    """Return the test accuracy of one run; without weights it begins with random ones."""
    arguments = [f"--epochs={epochs}", f"--seed={seed}", "--pretrain_minutes=0"]
    if learning_rate is not None:
        arguments.append(f"--learning_rate={learning_rate}")
    if weights is not None:
        arguments.append(f"--weights={weights}")
    if per_class is not None:
        arguments.append(f"--per_class={per_class}")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments.append(f"--output_dir={folder}/run")
        return example.main(example.parse_arguments(arguments))["accuracy"]


def main(args):
    print("| labels a class | from scratch | pre-trained | gain |\n|---|---|---|---|")
    for per_class, epochs in zip((50, 100, 200, None), args.epochs, strict=True):
        scores = {}
        for weights in (None, args.weights):
            scores[weights] = [accuracy(weights, per_class, epochs, args.learning_rate, seed)
                               for seed in range(args.seeds)]
        scratch, trained = scores[None], scores[args.weights]
        gains = [b - a for a, b in zip(scratch, trained, strict=True)]
        cells = [f"{statistics.mean(found):.3f}"
                 + (f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else "")
                 for found in (scratch, trained)]
        print(f"| {per_class or 'all'} | {' | '.join(cells)} | {statistics.mean(gains):+.3f} |",
              flush=True)


if __name__ == "__main__":
    main(parse_arguments())
