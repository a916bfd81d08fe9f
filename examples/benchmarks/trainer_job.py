"""The opponent of whole_job.py: one fine-tuning with transformers' Trainer, as its users write it.

Reads CSV files with the columns text,category; evaluates and saves every epoch, puts the best
epoch back, and prints the accuracy on the test rows as JSON.
"""

import argparse
import csv
import json

import numpy as np
import torch
from transformers import (AutoModelForSequenceClassification, AutoTokenizer,
                          DataCollatorWithPadding, Trainer, TrainingArguments, set_seed)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "train_file", "validation_file", "test_file", "output_dir", "precision"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("epochs", "batch_size", "max_length", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("learning_rate", "warmup_steps", "weight_decay"):
        parser.add_argument(f"--{name}", type=float, required=True)
    return parser.parse_args(arguments)


def read(path, tokenizer, max_length):
    """Return rows as dicts of ids and the class name."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=max_length)
    return [{"labels": row["category"], **{key: encoded[key][i] for key in encoded}}
            for i, row in enumerate(rows)]


def main(args):
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    parts = [read(path, tokenizer, args.max_length)
             for path in (args.train_file, args.validation_file, args.test_file)]
    classes = sorted({row["labels"] for row in parts[0]})
    for row in (row for part in parts for row in part):
        row["labels"] = classes.index(row["labels"])
    model = AutoModelForSequenceClassification.from_pretrained(args.model,
                                                               num_labels=len(classes))
    trainer = Trainer(
        model,
        TrainingArguments(
            args.output_dir, num_train_epochs=args.epochs, learning_rate=args.learning_rate,
            per_device_train_batch_size=args.batch_size, per_device_eval_batch_size=64,
            warmup_steps=args.warmup_steps, weight_decay=args.weight_decay,
            bf16=args.precision == "bfloat16", use_cpu=not torch.cuda.is_available(),
            seed=args.seed, eval_strategy="epoch",
            save_strategy="epoch", save_total_limit=2, logging_steps=20,
            load_best_model_at_end=True, metric_for_best_model="accuracy", report_to="none"),
        data_collator=DataCollatorWithPadding(tokenizer), train_dataset=parts[0],
        eval_dataset=parts[1], processing_class=tokenizer,
        compute_metrics=lambda found: {
            "accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))})
    trainer.train()
    trainer.save_model(args.output_dir)
    print(json.dumps(trainer.evaluate(parts[2])["eval_accuracy"]))


if __name__ == "__main__":
    main(parse_arguments())
