"""How many wrong labels does `evaluate --labels` find, of those that were put in at random?

    python examples/benchmarks/suspect_labels.py --model MINILM --data trec6 tweet_emotion

`--data` names folders with train.csv (columns text,category). The average precision is that of the
order in which the rows come out; a random order has the share of wrong labels. Beside it TF-IDF
instead of the vectors, in the same folds. Seconds are for encoding and for the folds.
"""

import argparse
import csv
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from bert_kit.data import read_table, stratified_folds, text_key
from bert_kit.evaluation import rank_labels
from bert_kit.jobs.commands.evaluate import EvaluateOptions, run


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a sentence encoder's folder")
    parser.add_argument("--data", nargs="+", required=True, help="folders with train.csv")
    parser.add_argument("--rows", type=int, default=1_200)
    parser.add_argument("--wrong", type=float, default=0.1, help="share of wrong labels")
    parser.add_argument("--folds", type=int, default=7)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


def with_wrong_labels(table, count, share, seed):
    """Return (texts, labels, is_wrong) of some rows, of which a share got another class."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table.texts))[:count].tolist()
    is_wrong = np.zeros(len(rows), bool)
    is_wrong[rng.choice(len(rows), round(share * len(rows)), replace=False)] = True
    labels = [rng.choice([name for name in table.classes if name != table.labels[row]])
              if wrong else table.labels[row] for row, wrong in zip(rows, is_wrong, strict=True)]
    return [table.texts[row] for row in rows], labels, is_wrong


def by_vectors(args, texts, labels, seed):
    """Return the rows in the order of `evaluate --labels`."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.csv")
        with open(file, "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([("text", "category"), *zip(texts, labels, strict=True)])
        starts = {line: row for row, line in enumerate(read_table(file).lines)}
        found = run(EvaluateOptions(model=args.model, data_file=str(file), labels=True, seed=seed,
                                    folds=args.folds, output_dir=place, verbosity=0))
        with open(found["file"], newline="", encoding="utf-8") as handle:
            return [starts[int(row["line"])] for row in csv.DictReader(handle)]


def by_words(args, texts, labels, seed):
    """Return the rows in the order that the kit's TF-IDF baseline gives in the same folds."""
    names = sorted(set(labels))
    numbers = np.array([names.index(label) for label in labels])
    folds = stratified_folds(numbers, args.folds, seed, groups=[text_key(text) for text in texts])
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
    found = cross_val_predict(LogisticRegression(C=10, max_iter=1_000), features, numbers,
                              cv=PredefinedSplit(folds), method="predict_proba")
    return [one["row"] for one in rank_labels(found, numbers)]


def spread(values):
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def main(args):
    print("| data | rows, wrong | method | average precision | wrong of the first 50 | of as many "
          "as there are | s a thousand rows |\n|---|---|---|---|---|---|---|")
    for folder in args.data:
        table = read_table(Path(folder, "train.csv"))
        for name, order in (("vectors", by_vectors), ("TF-IDF", by_words)):
            scores, seconds, size = [], [], ""
            for seed in args.seeds:
                texts, labels, is_wrong = with_wrong_labels(table, args.rows, args.wrong, seed)
                size = f"{len(texts):,}, {is_wrong.sum()}"
                begin = perf_counter()
                found = is_wrong[order(args, texts, labels, seed)]
                seconds.append((perf_counter() - begin) / len(texts) * 1_000)
                scores.append((average_precision_score(found, -np.arange(len(found))),
                               found[:50].mean(), found[:is_wrong.sum()].mean()))
            cells = " | ".join(map(spread, zip(*scores, strict=True)))
            print(f"| {Path(folder).name} | {size} | {name} | {cells} | "
                  f"{statistics.median(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    main(parse_arguments())
