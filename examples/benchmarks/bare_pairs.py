"""Pairs without a score: what training on them gives, beside sentence-transformers' trainer.

    python examples/benchmarks/bare_pairs.py --model MINILM --data banking77

`--data` is a folder with train.csv and test.csv (columns text,category). Pairs are made of its
training texts: two of a class. To be found is, for test texts, the one text of their class among
one of each class; recall@1 is the share for which it is the nearest. Both sides train on the same
pairs, with the same batch, rate, schedule and number of steps, in float32, but draw their batches
in their own order. Theirs needs the packages datasets and accelerate.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from time import monotonic

import numpy as np

from bert_kit import train_similarity
from bert_kit.data import read_table
from bert_kit.evaluation import Searched, rank_right, ranking_metrics
from bert_kit.training import TrainingArguments

SHOWN = ("recall@1", "recall@10", "mrr@10", "ndcg@10")
DEFAULTS = TrainingArguments()  # of schedule, warm-up, decay and clipping; theirs are told


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a sentence encoder's folder")
    parser.add_argument("--data", required=True, help="folder with train and test.csv")
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ours_only", action="store_true")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def by_class(path, rng):
    """Return {class: its texts in a random order}, without those that come twice."""
    table, found = read_table(path), {}
    for row in rng.permutation(len(table.texts)).tolist():
        found.setdefault(table.labels[row], {})[table.texts[row]] = None
    return {name: list(texts) for name, texts in sorted(found.items())}


def make_pairs(classes, count, rng):
    """Return up to `count` pairs of texts of one class; no text is in two of them."""
    pairs = [pair for texts in classes.values()
             for pair in zip(texts[::2], texts[1::2], strict=False)]
    return [pairs[i] for i in rng.permutation(len(pairs))[:count].tolist()]


def make_queries(classes, count, rng):
    """Return pairs of a text and the first one of its class; every class has some."""
    rows = [(text, texts[0]) for texts in classes.values() for text in texts[1:]]
    order = rng.permutation(len(rows)).tolist()
    first = {rows[i][1]: i for i in reversed(order)}  # of each class, or a document is missing
    one_each = set(first.values())
    rest = [i for i in order if i not in one_each][:max(0, count - len(one_each))]
    return [rows[i] for i in [*first.values(), *rest]]


def ours(args, pairs, queries, place):
    """Return (scores before, scores of TF-IDF, scores after, steps) of the kit."""
    files = {}
    for name, rows in (("train", pairs), ("test", queries)):
        files[f"{name}_file"] = str(place / f"{name}.csv")
        with open(files[f"{name}_file"], "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text_a", "text_b"), *rows])
    results = train_similarity(
        args.model, **files, num_train_epochs=args.epochs, batch_size=args.batch_size,
        learning_rate=args.learning_rate, max_length=args.max_length, seed=args.seed,
        precision="float32", device="cpu", output_dir=str(place / "run"), plots=False, verbosity=0)
    baselines = results["baselines"]
    return baselines["before training"], baselines["TF-IDF"], results["test"], results["steps"]


def theirs(args, pairs, queries, place):
    """Return the scores after sentence-transformers' own training on the same pairs."""
    from datasets import Dataset
    from sentence_transformers import (SentenceTransformer, SentenceTransformerTrainer,
                                       SentenceTransformerTrainingArguments, losses)
    model = SentenceTransformer(str(args.model), device="cpu")
    model.max_seq_length = args.max_length
    columns = dict(zip(("anchor", "positive"), map(list, zip(*pairs, strict=True)), strict=True))
    SentenceTransformerTrainer(
        model=model, train_dataset=Dataset.from_dict(columns),
        loss=losses.MultipleNegativesRankingLoss(model),
        args=SentenceTransformerTrainingArguments(
            str(place / "theirs"), num_train_epochs=args.epochs,
            per_device_train_batch_size=args.batch_size, learning_rate=args.learning_rate,
            lr_scheduler_type=DEFAULTS.lr_scheduler_type, warmup_steps=DEFAULTS.warmup_steps,
            weight_decay=DEFAULTS.weight_decay, max_grad_norm=DEFAULTS.max_grad_norm,
            seed=args.seed, use_cpu=True, save_strategy="no", report_to="none",
            disable_tqdm=True, logging_strategy="no")).train()
    return scores_of(model, queries)


def scores_of(model, queries):
    """Return how a search by a model's vectors of length 1 finds what is right."""
    searched = Searched.of(queries)
    asked, found = (np.asarray(model.encode(texts))
                    for texts in (searched.queries, searched.documents))
    return ranking_metrics(rank_right(searched, lambda part: asked[part] @ found.T))


def main(args):
    rng = np.random.default_rng(args.seed)
    train, test = (by_class(Path(args.data, f"{part}.csv"), rng) for part in ("train", "test"))
    pairs, queries = make_pairs(train, args.pairs, rng), make_queries(test, args.queries, rng)
    print(f"{len(pairs):,} pairs of {len(train)} classes, {args.epochs} epochs of batches of "
          f"{args.batch_size} at {args.learning_rate:g}; {len(queries):,} queries, "
          f"{len(test)} documents\n\n| | {' | '.join(SHOWN)} | s |\n|---|{'---|' * 5}")
    figures = {}

    def show(name, scores, seconds=""):
        figures[name] = scores
        print(f"| {name} | {' | '.join(f'{scores[key]:.3f}' for key in SHOWN)} | {seconds} |",
              flush=True)
    with tempfile.TemporaryDirectory() as place:
        begin = monotonic()
        before, words, after, steps = ours(args, pairs, queries, Path(place))
        show("TF-IDF", words)
        show("before", before)
        show(f"bert_kit, {steps} steps", after, f"{monotonic() - begin:.0f}")
        if not args.ours_only:
            begin = monotonic()
            after = theirs(args, pairs, queries, Path(place))
            show("sentence-transformers", after, f"{monotonic() - begin:.0f}")
    if args.json is not None:
        Path(args.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(parse_arguments())
