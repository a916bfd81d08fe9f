"""How many labels does a task need? Accuracy with few labels a class, beside simpler methods.

    python examples/benchmarks/few_labels.py --model MINILM --data trec6 banking77
    python examples/benchmarks/few_labels.py --model MINILM --data trec6 --per_class 8 --seeds 0

`--data` names folders with train.csv and test.csv (columns text,category). Of each class the first
rows of a seed's order are trained on; the test rows are at most `--test_rows`, the same for all
seeds. The methods:

    TF-IDF          words and word pairs, logistic regression
    frozen          mean vectors of the model as it is, logistic regression
    3 epochs        the model fine-tuned for 3 epochs, whatever number of steps that is
    default         `train` and BertClassifier as they come: 200 steps or more, and a faster head
                    where there are 20 classes or more
    contrastive     the recipe of SetFit (Tunstall et al. 2022): pairs of one class or of two, a
                    cosine loss, then logistic regression on the new vectors
"""

import argparse
import contextlib
import csv
import io
import itertools
import statistics
import tempfile
from pathlib import Path
from time import monotonic

import numpy as np

from bert_kit import SentenceEncoder, train_classifier, train_similarity
from bert_kit.data import read_table
from bert_kit.evaluation import tfidf_baseline, vector_baseline

PAIRS = 10  # of one class, and as many of two, for each row


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a sentence encoder's folder")
    parser.add_argument("--data", nargs="+", required=True, help="folders with train and test.csv")
    parser.add_argument("--per_class", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--test_rows", type=int, default=500)
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    return parser.parse_args()


def some_rows(table, per_class, seed):
    """Return (texts, labels): of each class the first rows of a shuffled table."""
    taken, texts, labels = {}, [], []
    for row in np.random.default_rng(seed).permutation(len(table.texts)).tolist():
        label = table.labels[row]
        if taken.setdefault(label, 0) < per_class:
            taken[label] += 1
            texts.append(table.texts[row])
            labels.append(label)
    return texts, labels


def write_csv(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def tfidf(args, train, test, place, seed):
    return tfidf_baseline(*train, test[0])


def frozen(args, train, test, place, seed):
    encoder = SentenceEncoder(args.model)
    return vector_baseline(encoder.encode(train[0]), train[1], encoder.encode(test[0]))


def fine_tuned(args, train, test, place, seed, **settings):
    header = ("text", "category")
    files = {f"{name}_file": write_csv(place / f"{name}.csv", header, zip(*part, strict=True))
             for name, part in (("train", train), ("test", test))}
    train_classifier(
        "standard", args.model, **files, val_size=0, seed=seed,
        max_length=args.max_length, output_dir=str(place / "run"), plots=False, baselines=False,
        verbosity=0, **settings)
    with open(place / "run" / "test_predictions.csv", newline="", encoding="utf-8") as file:
        return [row["prediction"] for row in csv.DictReader(file)]


def three_epochs(*given):
    return fine_tuned(*given, num_train_epochs=3)


def contrastive(args, train, test, place, seed):
    rng, (texts, labels) = np.random.default_rng(seed), train
    of_class = {name: [i for i, label in enumerate(labels) if label == name] for name in labels}
    pairs = []
    for i, label in enumerate(labels):
        others = [j for j, other in enumerate(labels) if other != label]
        for rows, alike in ((of_class[label], 1), (others, 0)):
            pairs += [(texts[i], texts[rng.choice(rows)], alike) for _ in range(PAIRS)]
    file = write_csv(place / "pairs.csv", ("text_a", "text_b", "label"), pairs)
    train_similarity(args.model, file, val_size=0, num_train_epochs=1, learning_rate=2e-5,
                     batch_size=16, seed=seed, max_length=args.max_length, plots=False,
                     output_dir=str(place / "encoder"), baselines=False, verbosity=0)
    encoder = SentenceEncoder(place / "encoder")
    return vector_baseline(encoder.encode(texts), labels, encoder.encode(test[0]))


METHODS = {"TF-IDF": tfidf, "frozen": frozen, "3 epochs": three_epochs, "default": fine_tuned,
           "contrastive": contrastive}


def main(args):
    print(f"| data | labels a class | {' | '.join(args.methods)} |\n|---|---"
          + "|---" * len(args.methods) + "|")
    for folder, per_class in itertools.product(args.data, args.per_class):
        table, held_out = (read_table(Path(folder, f"{part}.csv")) for part in ("train", "test"))
        rows = np.random.default_rng(0).permutation(len(held_out.texts))[:args.test_rows].tolist()
        test = [held_out.texts[i] for i in rows], [held_out.labels[i] for i in rows]
        cells = []
        for name in args.methods:
            scores, begin = [], monotonic()
            for seed in args.seeds:
                train = some_rows(table, per_class, seed)
                with tempfile.TemporaryDirectory() as place, \
                        contextlib.redirect_stdout(io.StringIO()):
                    guesses = METHODS[name](args, train, test, Path(place), seed)
                scores.append(np.mean(np.array(guesses) == np.array(test[1])))
            spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
            seconds = (monotonic() - begin) / len(args.seeds)
            cells.append(f"{statistics.mean(scores):.3f}{spread} ({seconds:.0f} s)")
        print(f"| {Path(folder).name} | {per_class} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(parse_arguments())
