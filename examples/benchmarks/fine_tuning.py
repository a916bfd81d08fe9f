"""Fine-tune the same classifier with the kit and with a plain transformers loop, in turns.

    python examples/benchmarks/fine_tuning.py --weights FOLDER --data_file FOLDER_OR_CSV

Both sides get the same weights, rows, batches in the same order, AdamW, schedule, clipping and
precision; only dropout's random numbers and the new head's start differ. They take turns at going
first. Both run on the CPU in one process, so what the kit does to its allocator
(`keep_freed_memory`) serves both. Needs the package transformers. The test rows are scored once a
run, after the last epoch.
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from bert_kit import TextClassificationTrainer
from bert_kit.training import best_precision, make_optimizer, make_schedule

EPOCHS, RATE, BATCH = 3, 5e-5, 32


def prepare(args, seed):
    """Return the kit's job before training, and the datasets of both sides."""
    job = TextClassificationTrainer(
        args.weights, data_file=args.data_file, max_length=args.max_length, seed=seed,
        num_train_epochs=EPOCHS, learning_rate=RATE, batch_size=BATCH, val_size=0, device="cpu",
        precision=args.precision, output_dir=None, verbosity=0)
    datasets = job.prepare_data()
    job.setup_trainer(datasets)
    return job, datasets


def kit(args, seed, job, datasets):
    """Return (test accuracy, seconds of training) of the kit."""
    start = time.perf_counter()
    job.train()
    seconds = time.perf_counter() - start
    return job.evaluate(datasets["test"])["accuracy"], seconds


def plain(args, seed, job, datasets):
    """Return (test accuracy, seconds of training) of a loop around the library's model."""
    from transformers import AutoModelForSequenceClassification

    loader = job.trainer.train_loader
    loader.batch_sampler.start_at(0)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.weights, num_labels=len(job.parts.classes),
        attn_implementation="eager").train()  # on CPUs faster than its other one, sdpa
    optimizer = make_optimizer(model, RATE)
    schedule = make_schedule(optimizer, "linear", 0.1, EPOCHS * len(loader))
    dtype = getattr(torch, args.precision)
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for batch in loader:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                logits = model(**{key: batch[key] for key in (
                    "input_ids", "attention_mask", "token_type_ids")}).logits
            F.cross_entropy(logits.float(), batch["labels"]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - start
    return accuracy(model.eval(), datasets["test"], job), seconds


@torch.inference_mode()
def accuracy(model, dataset, job):
    from bert_kit.data import make_loader
    right = 0
    for batch in make_loader(dataset, 64, shuffle=False):
        labels = batch.pop("labels")
        right += int((model(**batch).logits.argmax(1) == labels).sum())
    return right / len(dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="folder of a BERT")
    parser.add_argument("--data_file", required=True, help="folder with train and test files")
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--precision", default=best_precision())
    args = parser.parse_args()
    import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    rows = []
    print(f"{'seed':>4}  {'kit':>7} {'plain':>7}   seconds an epoch: {'kit':>6} {'plain':>6} "
          f"{'ratio':>6}")
    for seed in range(args.seeds):
        job, datasets = prepare(args, seed)
        order = (kit, plain) if seed % 2 == 0 else (plain, kit)
        found = {side: side(args, seed, job, datasets) for side in order}
        (ours, our_seconds), (theirs, their_seconds) = found[kit], found[plain]
        rows.append((ours, theirs, our_seconds / EPOCHS, their_seconds / EPOCHS))
        print(f"{seed:>4}  {ours:7.4f} {theirs:7.4f}   {'':17} {rows[-1][2]:7.1f} "
              f"{rows[-1][3]:6.1f} {our_seconds / their_seconds:6.2f}", flush=True)
    ours, theirs, our_seconds, their_seconds = (list(column) for column in zip(*rows, strict=True))
    ratios = [a / b for a, b in zip(our_seconds, their_seconds, strict=True)]
    if len(rows) > 1:
        for name, values in (("kit", ours), ("plain", theirs)):
            print(f"{name:6} accuracy {statistics.mean(values):.4f} ± "
                  f"{statistics.stdev(values) / len(values) ** 0.5:.4f} (standard error)")
    print(f"time an epoch, kit / plain: {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
