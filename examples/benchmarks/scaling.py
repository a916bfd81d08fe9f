"""How the kit's time grows: with rows, with length, with where the batches come from; imports.

    python examples/benchmarks/scaling.py

Four tables, each from sides that take turns:

    rows      time a token for 8 to 512 rows of 32 tokens: flat, if a batch costs nothing by itself
    lengths   time a token for equally many tokens in rows of 32 to 512, and the straight line
              a + b S that fits best: what is not attention costs the same for every token, and
              attention looks from each token at S others
    data      an MLM step with its batches ready in a list, made by the loader in between (masking
              and padding), or made by the loader in a worker process
    imports   wall time of a process that imports torch, the kit, or all its public names

Medians; the smallest and largest ratio of a round beside them.
"""

import argparse
import os
import pydoc_data.topics
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from pairs import (machine, model_folder, quiet, ratios, run_alone, seconds_of, spread,
                   take_turns, write_figures)
from sides import LENGTH, ROWS, our_step, random_batch, with_labels

from bert_kit import MLMDataset, get_tokenizer, train_tokenizer
from bert_kit.data import make_loader
from bert_kit.training.memory import keep_freed_memory

SHORT = 32  # tokens in the rows of the first table
IMPORTS = {"torch": "import torch", "bert_kit": "import bert_kit",
           "every name": "from bert_kit import *"}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", help="minilm, bert-SIZE or a folder")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--pairs", type=int, default=5, help="measured rounds")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--lengths", type=int, nargs="+",
                        default=[32, 64, 128, 192, 256, 384, 512])
    parser.add_argument("--tokens", type=int, default=6_144, help="in a batch of any length")
    parser.add_argument("--batches", type=int, default=8, help="in the table of the data")
    parser.add_argument("--precision", default="float32", help="or bfloat16")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def token_times(args, folder, shapes):
    """Return {work: one list a shape (rows, length) of microseconds a token}."""
    found = {}
    for work in ("forward", "classification"):
        with quiet():
            step = our_step(folder, work, args.precision)
        sides = {shape: partial(step, with_labels(random_batch(*shape), work)) for shape in shapes}
        seconds = take_turns(sides, args.pairs)
        found[work] = [[s / (rows * length) * 1e6 for s in seconds[rows, length]]
                       for rows, length in shapes]
    return found


def rows_table(args, folder):
    """Time a token against the number of rows; ratios to the median number of rows."""
    found = token_times(args, folder, [(rows, SHORT) for rows in args.rows])
    middle = len(args.rows) // 2
    for work, times in found.items():
        print(f"{work + f', rows of {SHORT}':32}{'a token':>11}   against {args.rows[middle]} rows")
        for rows, values in zip(args.rows, times, strict=True):
            print(f"{rows:32}{statistics.median(values):8.1f} µs "
                  f"{spread(ratios(values, times[middle]))}", flush=True)
    return found


def lengths_table(args, folder):
    """Time a token against the length of the rows, beside a straight line."""
    found = token_times(args, folder, [(max(1, args.tokens // n), n) for n in args.lengths])
    for work, times in found.items():
        medians = torch.tensor([statistics.median(values) for values in times]).double()
        columns = torch.tensor([[1.0, n] for n in args.lengths]).double()
        line = torch.linalg.lstsq(columns, medians[:, None]).solution[:, 0]
        print(f"{work + f', {args.tokens:,} tokens':32}{'a token':>11}   "
              f"{line[0]:.1f} + {line[1]:.4f} S")
        for n, value, fitted in zip(args.lengths, medians, columns @ line, strict=True):
            print(f"{n:32}{value:8.1f} µs {fitted:8.1f} µs {value / fitted - 1:+7.1%}", flush=True)
    return found


def data_table(args, folder):
    """Time of a step against where its batches come from, and of tokenizing them once."""
    texts = [text for topic in sorted(pydoc_data.topics.topics.items())
             for text in topic[1].split("\n\n") if len(text) > 80]
    named = (Path(folder) / "tokenizer.json").is_file()
    tokenizer = get_tokenizer(folder) if named else train_tokenizer(texts)
    texts = [" ".join(texts[i:i + 4]) for i in range(0, len(texts), 4)][:ROWS * args.batches]
    tokenizing = seconds_of(lambda: MLMDataset(texts, tokenizer, LENGTH))
    dataset = MLMDataset(texts, tokenizer, LENGTH)
    loader = make_loader(dataset, ROWS, shuffle=False)
    sides = {"ready in a list": list(loader), "made in between": loader,
             "made by a worker": make_loader(dataset, ROWS, shuffle=False, num_workers=1)}
    with quiet():
        step = our_step(folder, "mlm", args.precision)

    def seconds_a_step(batches):
        batches = iter(batches)
        step(next(batches))  # a worker starts before its first batch, once an epoch
        start = time.perf_counter()
        count = 0
        for batch in batches:
            step(batch)
            count += 1
        return (time.perf_counter() - start) / count

    found = take_turns(sides, args.pairs, measure=seconds_a_step)
    print(f"{'mlm, where the batches come from':32}{'a step':>11}   against the list")
    for name, values in found.items():
        print(f"{name:32}{statistics.median(values) * 1e3:8.1f} ms "
              f"{spread(ratios(values, found['ready in a list']))}", flush=True)
    share = tokenizing / len(loader) / statistics.median(found["ready in a list"])
    print(f"{'tokenizing, once':32}{tokenizing / len(loader) * 1e3:8.1f} ms {share:6.1%} of a step")
    return found | {"tokenizing": tokenizing / len(loader)}


def imports_table(args, folder):
    """Wall time of a process that only imports."""
    found = take_turns(IMPORTS, args.pairs, measure=lambda code: run_alone("-c", code)[0])
    print(f"{'a process that says':32}{'takes':>11}   against torch")
    for name, values in found.items():
        print(f"{IMPORTS[name]:32}{statistics.median(values) * 1e3:8.0f} ms "
              f"{spread(ratios(values, found['torch']))}", flush=True)
    return found


TABLES = {"rows": rows_table, "lengths": lengths_table, "data": data_table,
          "imports": imports_table}


def main(args):
    keep_freed_memory()  # as the Trainer does
    print(f"{machine()}, {os.environ.get('OMP_NUM_THREADS', 'no')} OMP_NUM_THREADS; {args.model}, "
          f"{args.precision}, {args.pairs} rounds")
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(args.model, scratch)
        for name in args.tables:
            print()
            figures[name] = TABLES[name](args, folder)
    write_figures(args.json, {"threads": torch.get_num_threads(), "precision": args.precision,
                              "rows": args.rows, "lengths": args.lengths, "tables": figures})


if __name__ == "__main__":
    main(parse_arguments())
