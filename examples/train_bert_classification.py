"""Train a BERT to tell which library a description comes from, or on a CSV file of your own.

    python examples/train_bert_classification.py                             # from nothing but text
    python examples/train_bert_classification.py --weights runs/pretrained   # pre-trained weights
    python examples/train_bert_classification.py --data_file reviews.csv     # columns text,category

Without weights and without a file the model is pre-trained first, for a few minutes, by
`pretrain_mlm.py`: on the docstrings of this machine, but for the source files that the test rows
come from. `--weights` takes any BERT folder with weights and vocabulary, for instance one that
`pretrain_mlm.py` wrote. The test rows are scored once, at the end.
"""

import argparse
import math
from pathlib import Path

import pretrain_mlm
import torch

from bert_kit import (BERTForSequenceClassification, BertKitError, ClassificationDataset, Predictor,
                      Trainer, TrainingArguments, compute_classification_loss, create_model_config,
                      evaluate_classification_metrics, get_tokenizer, load_pretrained,
                      save_pretrained, train_tokenizer)
from bert_kit.data import (first_of_each_class, library_task, make_loader, read_table,
                           stratified_split)
from bert_kit.evaluation import (classification_metrics, format_per_class, majority_baseline,
                                 not_above, predict_logits, same_answers, tfidf_baseline,
                                 vector_baseline)
from bert_kit.evaluation.trust.baselines import FROZEN_VECTORS
from bert_kit.files import numbered_folder
from bert_kit.model import CLASSIFIERS
from bert_kit.training import best_precision, check_new_run
from bert_kit.weights import load_weights

HELD_OUT = pretrain_mlm.HELD_OUT  # share of the test rows: of the docstrings the files held out
RATE = 5e-4  # highest, with random weights
# With weights, of an encoder 256 wide; it falls with the square of the width: 2.2e-5 at 768.
ENCODER_RATE, HEAD_RATE = 2e-4, 1e-3
EPOCHS = 4
MINUTES = 2  # of pre-training, where a model begins with nothing but text


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--weights", help="folder or name of a BERT to start from")
    parser.add_argument("--data_file", help="CSV with the columns text and category")
    parser.add_argument("--test_file", help="CSV to test on; else a fifth of the rows")
    parser.add_argument("--output_dir", help="where the model goes; by default runs/classifier, "
                        "runs/classifier-2 and so on")
    parser.add_argument("--model", default="bert-mini", help="size of a model from scratch")
    parser.add_argument("--pretrain_minutes", type=float, help="of pre-training on the docstrings "
                        f"before; default {MINUTES} for the docstring task without weights, else 0")
    parser.add_argument("--classifier", choices=CLASSIFIERS, help="what stands on the encoder; by "
                        "default cnn with weights, with random ones BERT's own, standard")
    parser.add_argument("--per_class", type=int, help="train on so many rows of each class")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the rows")
    parser.add_argument("--learning_rate", type=float, help=f"highest rate; {RATE:g} with random "
                        f"weights, else {ENCODER_RATE:g} for an encoder 256 wide, less for a wider "
                        f"one, and {HEAD_RATE:g} for what stands on it")
    parser.add_argument("--max_length", type=int, default=128, help="tokens in a row")
    parser.add_argument("--batch_size", type=int, default=32, help="rows in a batch")
    parser.add_argument("--precision", help="float32, bfloat16 or float16; default by machine")
    parser.add_argument("--time_limit", type=float, help="seconds of training at most, after "
                        "those of pre-training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", choices=["auto"], help="go on with an interrupted run")
    return parser.parse_args(arguments)


def load_data(args):
    """Return (texts, labels) to train on and (texts, labels) to test on."""
    if args.data_file is None:
        train, test = library_task().split(HELD_OUT)
        return (train.texts, train.labels), (test.texts, test.labels)
    table = read_table(args.data_file)
    if args.test_file is not None:
        test = read_table(args.test_file)
        return (table.texts, table.labels), (test.texts, test.labels)
    parts = stratified_split(table.labels, (1 - HELD_OUT, HELD_OUT), args.seed)
    return [([table.texts[i] for i in rows], [table.labels[i] for i in rows]) for rows in parts]


def main(args):
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.output_dir is None:
        args.output_dir = str(numbered_folder("runs", "classifier", latest=args.resume is not None))
    check_new_run(args.output_dir, args.resume)  # before any work

    # 0. Reading before classifying: the test files stay unseen.
    minutes = args.pretrain_minutes
    if minutes is None:
        minutes = MINUTES if args.weights is None and args.data_file is None else 0
    if minutes:
        if args.weights is not None:
            raise BertKitError("weights and pretrain_minutes are both set; expected one of them")
        args.weights = str(Path(args.output_dir) / "pretrained")
        print(f"== pre-training for {minutes:g} minutes (--pretrain_minutes 0 leaves it out)")
        pretrain_mlm.main(pretrain_mlm.parse_arguments([
            "--output_dir", args.weights, "--model", args.model, "--minutes", str(minutes),
            "--max_length", str(args.max_length), "--seed", str(args.seed),
            *(["--resume", args.resume] if args.resume else [])]))
        print("\n== classification")

    # 1. Data: texts and class names; names become numbers in sorted order.
    (train_texts, train_names), (test_texts, test_names) = load_data(args)
    classes = tuple(sorted(set(train_names) | set(test_names)))
    if args.per_class is not None:
        rows = first_of_each_class(train_names, args.per_class)
        train_texts, train_names = ([column[row] for row in rows]
                                    for column in (train_texts, train_names))
    number = {name: i for i, name in enumerate(classes)}
    train_labels, test_labels = ([number[name] for name in names]
                                 for names in (train_names, test_names))
    print(f"data         {len(train_texts):,} rows to train on, {len(test_texts):,} to test on, "
          f"{len(classes)} classes")

    # 2. What has to be beaten.
    majority = majority_baseline(train_labels, test_labels)
    tfidf = classification_metrics(tfidf_baseline(train_texts, train_labels, test_texts),
                                   test_labels, len(classes))

    # 3. Tokenizer and model: from a folder, or from nothing but the training texts.
    kind = args.classifier or ("cnn" if args.weights else "standard")
    head = {} if kind == "standard" else {"type": kind}
    if args.weights is not None:
        tokenizer = get_tokenizer(args.weights)
        model = load_pretrained(
            BERTForSequenceClassification, args.weights, labels=classes, classifier=head,
            hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)  # few rows, many epochs
    else:
        tokenizer = train_tokenizer(train_texts, vocab_size=4000)
        model = BERTForSequenceClassification(create_model_config(
            args.model, vocab_size=tokenizer.vocab_size, labels=classes, classifier=head,
            max_position_embeddings=args.max_length))
    model.to(device)
    max_length = min(args.max_length, model.config.max_position_embeddings)
    train_rows = ClassificationDataset(train_texts, train_labels, tokenizer, max_length)
    test_rows = ClassificationDataset(test_texts, test_labels, tokenizer, max_length)
    beaten = {"majority class": {"accuracy": majority}, "TF-IDF + regression": tfidf}
    if args.weights is not None:  # what the weights know before this training
        encoder = Predictor(model, tokenizer, device)
        guesses = vector_baseline(encoder.vectors(train_rows), train_labels,
                                  encoder.vectors(test_rows))
        beaten[FROZEN_VECTORS] = classification_metrics(guesses, test_labels, len(classes))
    print(f"model        {sum(p.numel() for p in model.parameters()):,} parameters, "
          f"{tokenizer.vocab_size:,} pieces, "
          + (f"weights from {args.weights}" if args.weights else "random weights"))
    print(f"expect       a loss of about ln C = {math.log(len(classes)):.2f} at the start")

    # 4. Batches.
    train_loader = make_loader(train_rows, args.batch_size, seed=args.seed, group_by_length=True)
    test_loader = make_loader(test_rows, args.batch_size, shuffle=False)

    # 5. Training.
    rate, head_rate = RATE, None
    if args.weights is not None:  # what is new learns faster than what already knows something
        rate, head_rate = ENCODER_RATE * (256 / model.config.hidden_size)**2, HEAD_RATE
    settings = TrainingArguments(
        args.output_dir, num_train_epochs=args.epochs, learning_rate=args.learning_rate or rate,
        head_learning_rate=None if args.learning_rate else head_rate,
        precision=args.precision or best_precision(device), eval_strategy="no", logging_steps=20,
        time_limit=args.time_limit)
    trainer = Trainer(
        model, settings, compute_classification_loss, train_loader,
        save_model=lambda folder: save_pretrained(model, folder, tokenizer),
        load_model=lambda folder: load_weights(model, folder))
    trainer.train(resume=args.resume)
    save_pretrained(model, args.output_dir, tokenizer)

    # 6. The score, once, beside the baselines.
    metrics = evaluate_classification_metrics(model, test_loader, device, len(classes))
    print(f"\n{format_per_class(metrics, classes)}")
    width = max(map(len, beaten)) + 2
    print(f"\n{'':{width}}accuracy  macro F1")
    for name, scores in {**beaten, "BERT": metrics}.items():
        macro = f"{scores['f1_macro']:10.3f}" if "f1_macro" in scores else ""
        print(f"{name:{width}}{scores['accuracy']:8.3f}{macro}")
    logits, _ = predict_logits(model, test_loader, device)
    findings = [*not_above(metrics, beaten, ["accuracy"], lambda name: True),
                *same_answers(logits.argmax(1).tolist(), test_labels, "test rows")]
    print("\nverdict    " + ("; ".join(finding.says for finding in findings)
                             or "above the baselines"))
    print("\nthree test rows")
    for row in (0, len(test_texts) // 2, len(test_texts) - 1):
        probability, best = logits[row].softmax(-1).max(-1)
        print(f"  {classes[best]} ({probability:.0%}), really {test_names[row]}: "
              f"{' '.join(test_texts[row].split())[:70]}")
    print(f"\nsaved in {args.output_dir}"
          f"\npredict with: python -m bert_kit predict --model {args.output_dir} --text \"…\"")
    if findings or args.weights is None:
        print("better scores: examples/pretrain_mlm.py --minutes 10, then --weights with its "
              "folder; or published weights; or more rows")
    return metrics


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
