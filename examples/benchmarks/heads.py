"""What each classification head costs: parameters, time of a training step, and peak memory.

    python examples/benchmarks/heads.py --weights FOLDER

All heads sit on one encoder (that of --weights, or a random one of MiniLM-L6's shape) and take
turns in one process, so that a machine that slows down slows all of them. "time" is the median of
the ratios to the standard head's step in the same round, with the smallest and largest beside it.
Memory is measured before, in a process of its own for each head: the highest resident set above
what the process had before its model was built (without a GPU), or torch's own count (with one).
It holds weights, gradients and the optimizer's state too. Run it on an otherwise idle machine.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from bert_kit import (BERTForSequenceClassification, compute_classification_loss,
                      create_model_config, load_pretrained)
from bert_kit.model import CLASSIFIERS
from bert_kit.training import AMPTrainer, make_optimizer
from bert_kit.training.memory import keep_freed_memory

FILLED = 0.57  # share of a batch's places that hold a token
MEGABYTE = 2**20


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="model folder; default random weights")
    parser.add_argument("--heads", nargs="+", choices=CLASSIFIERS, default=list(CLASSIFIERS))
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7, help="measured steps of each head")
    parser.add_argument("--precision", default="float32", help="or bfloat16, float16")
    parser.add_argument("--last_layers", type=int, default=1)
    parser.add_argument("--memory_of", choices=CLASSIFIERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_batch(rows, length):
    """Return random ids that fill 57% of the places, in rows of all lengths and no order."""
    generator = torch.Generator().manual_seed(0)
    shortest = max(1, round(length * (2 * FILLED - 1)))
    lengths = torch.linspace(length, shortest, rows).round()  # evenly down from the full length
    mask = torch.arange(length) < lengths[torch.randperm(rows, generator=generator)][:, None]
    ids = torch.randint(1_000, 30_000, (rows, length), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask.long(),
            "token_type_ids": torch.zeros_like(ids),
            "labels": torch.randint(0, 3, (rows,), generator=generator)}


def make_step(args, kind):
    """Return the model with this head and a function of a batch that trains it once."""
    head = {"type": kind}
    if args.last_layers > 1 and kind != "standard":
        head["last_layers"] = args.last_layers
    torch.manual_seed(0)
    if args.weights:
        with contextlib.redirect_stdout(io.StringIO()):  # what is new in the model
            model = load_pretrained(BERTForSequenceClassification, args.weights, num_labels=3,
                                    classifier=head)
    else:
        config = create_model_config("bert-mini", hidden_size=384, num_hidden_layers=6,
                                     num_attention_heads=12, intermediate_size=1536,
                                     classifier=head)
        model = BERTForSequenceClassification(config, num_labels=3)
    model = model.train().to("cuda" if torch.cuda.is_available() else "cpu")
    trainer = AMPTrainer(model, make_optimizer(model, 1e-5), precision=args.precision)
    return model, lambda batch: trainer.train_step(compute_classification_loss, [batch])


def resident():
    """Return the highest resident set of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def print_memory(args):
    """Run two steps with one head in this process; print what they took."""
    batch, before = make_batch(args.rows, args.length), resident()
    _, step = make_step(args, args.memory_of)
    for _ in range(2):  # the optimizer's state is made at the end of the first
        step(batch)
    cuda = torch.cuda.is_available()
    print(json.dumps(torch.cuda.max_memory_allocated() if cuda else resident() - before))


def memory_of(kind):
    """Return the peak memory of a step in a fresh process, in bytes."""
    done = subprocess.run([sys.executable, *sys.argv, "--memory_of", kind], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


def milliseconds(step, batch):
    start = time.perf_counter()
    step(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def main(args):
    keep_freed_memory()  # as the Trainer does
    if args.memory_of:
        return print_memory(args)
    batch = make_batch(args.rows, args.length)
    filled = batch["attention_mask"].float().mean()
    kinds = list(dict.fromkeys(["standard", *args.heads]))
    # First, while this process is small: a child starts with its parent's highest resident set.
    memory = {kind: memory_of(kind) / MEGABYTE for kind in kinds}
    models, steps = zip(*(make_step(args, kind) for kind in kinds), strict=True)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.precision}; "
          f"{args.rows} x {args.length} tokens, {filled:.0%} filled, {args.rounds} rounds")
    times = {kind: [] for kind in kinds}
    for turn in range(args.rounds + 2):
        for kind, step in zip(kinds, steps, strict=True):
            elapsed = milliseconds(step, batch)
            if turn >= 2:  # two rounds to warm up
                times[kind].append(elapsed)
    print(f"{'head':12}{'parameters':>12}{'step':>11}{'time':>9}   smallest–largest{'memory':>10}")
    for kind, model in zip(kinds, models, strict=True):
        parameters = sum(p.numel() for p in model.classifier.parameters())
        ratios = [own / standard for own, standard
                  in zip(times[kind], times["standard"], strict=True)]
        print(f"{kind:12}{parameters:12,}{statistics.median(times[kind]):8.0f} ms"
              f"{statistics.median(ratios):8.2f}x   {min(ratios):.2f}–{max(ratios):.2f}"
              f"{memory[kind]:15,.0f} MB")


if __name__ == "__main__":
    main(parse_arguments())
