"""Pre-train a small BERT on text that is already on this machine.

    python examples/pretrain_mlm.py                    # masked tokens, one pass over the text
    python examples/pretrain_mlm.py --minutes 10       # as many steps as fit, and far better
    python examples/pretrain_mlm.py --nsp              # and next sentences, as BERT was published

The text is the docstrings of the installed Python, numpy, scikit-learn and torch. The result is a
folder that `train_bert_classification.py --weights FOLDER` starts from. Why the settings are as
they are: docs/pretraining.md.
"""

import argparse
import dataclasses
import math

import torch

from bert_kit import (BertKitError, BERTForMaskedLM, BERTForPreTraining, MLMDataset, NSPDataset,
                      Trainer, TrainingArguments, compute_mlm_loader_loss, compute_mlm_loss,
                      create_model_config, load_pretrained, save_pretrained, train_tokenizer)
from bert_kit.data import load_corpus, make_loader
from bert_kit.evaluation import not_above, unigram_loss
from bert_kit.files import numbered_folder
from bert_kit.training import (best_precision, check_new_run, compute_pretraining_loss,
                               planned_steps, start_from_counts)
from bert_kit.weights import load_weights

HELD_OUT = 0.2  # share of source files that pre-training never sees; the classifier is tested there


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output_dir", help="where the model goes; by default runs/pretrained, "
                        "runs/pretrained-2 and so on")
    parser.add_argument("--model", default="bert-mini", help="size of the model: bert-tiny, …")
    parser.add_argument("--vocab_size", type=int, default=8000, help="pieces to learn")
    parser.add_argument("--initial_weights", choices=("counts", "random"), default="counts",
                        help="random, or by counts of which pieces stand near which")
    parser.add_argument("--nsp", action="store_true", help="predict next sentences too")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the text")
    parser.add_argument("--minutes", type=float, help="train for so long instead")
    parser.add_argument("--max_steps", type=int, default=-1, help="stop after so many steps")
    parser.add_argument("--max_length", type=int, default=128, help="tokens in a row")
    parser.add_argument("--batch_size", type=int, default=32, help="rows in a batch")
    parser.add_argument("--optim", default="muon", help="muon, adamw, …")
    parser.add_argument("--learning_rate", type=float, default=1e-3, help="highest rate")
    parser.add_argument("--muon_learning_rate", type=float, help="of the matrices that move by "
                        "Muon; by default twice the other")
    parser.add_argument("--lr_scheduler_type", default="linear", help="linear, cosine, wsd, …")
    parser.add_argument("--mask_probability", type=float, default=0.4, help="share to predict")
    parser.add_argument("--whole_word", action="store_true", help="mask whole words")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", choices=["auto"], help="go on with an interrupted run")
    return parser.parse_args(arguments)


def main(args):
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.output_dir is None:
        args.output_dir = str(numbered_folder("runs", "pretrained", latest=args.resume is not None))
    check_new_run(args.output_dir, args.resume)  # before any work

    # 1. Text: documents of sentences, some source files held out.
    corpus = load_corpus()
    train, held_out = corpus.split(HELD_OUT)
    print(f"text         {corpus.describe()}")

    # 2. Vocabulary: pieces learned from the training text.
    tokenizer = train_tokenizer([d.text for d in train.documents], args.vocab_size)
    tokenizer.max_length = args.max_length  # the model has no more positions
    print(f"vocabulary   {tokenizer.vocab_size:,} pieces")

    # 3. Rows: [CLS] … [SEP] with some tokens hidden, others in every epoch.
    masking = dict(max_length=args.max_length, mask_probability=args.mask_probability,
                   whole_word=args.whole_word, seed=args.seed)
    if args.nsp:
        dataset = NSPDataset([d.sentences for d in train.documents], tokenizer, **masking)
    else:
        dataset = MLMDataset([d.text for d in train.documents], tokenizer, **masking)
    sample = held_out.documents[::4]  # enough to measure by, at 15% hidden whatever the training
    test_set = MLMDataset([d.text for d in sample], tokenizer, args.max_length)
    train_loader = make_loader(dataset, args.batch_size, seed=args.seed, group_by_length=True)
    test_loader = make_loader(test_set, args.batch_size, shuffle=False)
    print(f"rows         {len(dataset):,} to train on, {len(test_set):,} held out to test on, "
          f"{dataset.lengths.mean():.0f} tokens on average")

    # 4. Model: at first it guesses by counts of neighbours, which takes seconds and no step.
    # No dropout: text seen once or twice cannot be learned by heart, so it would only slow down.
    config = create_model_config(args.model, vocab_size=tokenizer.vocab_size,
                                 max_position_embeddings=args.max_length)
    model = (BERTForPreTraining if args.nsp else BERTForMaskedLM)(config.replace(
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).to(device)
    model.config = config  # what is saved has the published dropout, for the fine-tuning
    if args.initial_weights == "counts":
        start_from_counts(model, dataset, args.seed)
    print(f"model        {args.model}, {sum(p.numel() for p in model.parameters()):,} parameters")
    at_the_start = compute_mlm_loader_loss(model, test_loader, device)
    print(f"expect       a loss of about {at_the_start:.2f}{' + ln 2' * args.nsp} at the start; if "
          f"nothing were known, ln V = {math.log(tokenizer.vocab_size):.2f}")

    # 5. Training.
    settings = TrainingArguments(
        args.output_dir, num_train_epochs=args.epochs, max_steps=args.max_steps,
        optim=args.optim, learning_rate=args.learning_rate,
        muon_learning_rate=args.muon_learning_rate, lr_scheduler_type=args.lr_scheduler_type,
        precision=best_precision(device), logging_steps=50, eval_strategy="no")
    loss = compute_pretraining_loss if args.nsp else compute_mlm_loss
    if args.minutes is not None:
        steps = planned_steps(args.minutes, model, settings, loss, train_loader, args.resume)
        settings = dataclasses.replace(settings, max_steps=steps)
        print(f"plan         {steps:,} steps in {args.minutes:g} minutes")
    trainer = Trainer(
        model, settings, loss, train_loader,
        save_model=lambda folder: save_pretrained(model, folder, tokenizer),
        load_model=lambda folder: load_weights(model, folder))
    trainer.train(resume=args.resume)
    save_pretrained(model, args.output_dir, tokenizer)

    # 6. What it learned, on text it has not seen, beside what counting alone would give.
    model = load_pretrained(BERTForMaskedLM, args.output_dir)
    held_out_loss = compute_mlm_loader_loss(model, test_loader, device)
    unigram = unigram_loss(train_loader, test_loader, tokenizer.vocab_size)
    print(f"\nheld-out loss    {held_out_loss:.3f}  (perplexity {math.exp(held_out_loss):.1f})")
    print(f"before training  {at_the_start:.3f}  (perplexity {math.exp(at_the_start):.1f})")
    print(f"unigram entropy  {unigram:.3f}  (perplexity {math.exp(unigram):.1f}): counts alone")
    beaten = {"counting": {"loss": unigram}, "before training": {"loss": at_the_start}}
    for finding in not_above({"loss": held_out_loss}, beaten, ["loss"], lambda name: False):
        print(f"verdict          {finding.says}: train for longer")
    show_guesses(model, tokenizer, "returns the number of [MASK] in the array.")
    print(f"\nsaved in {args.output_dir}; next:\n"
          f"  python examples/train_bert_classification.py --weights {args.output_dir}")
    return held_out_loss


def show_guesses(model, tokenizer, text):
    """Print the five likeliest pieces for the first [MASK] of a text."""
    ids = tokenizer.encode(text, allow_special_tokens=True).ids
    place = ids.index(tokenizer.mask_id)
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(torch.tensor([ids], device=device))[0, place]
    best = logits.softmax(-1).topk(5)
    print(f"\n{text}")
    for piece, probability in zip(tokenizer.tokens(best.indices), best.values, strict=True):
        print(f"  {probability:6.1%}  {piece}")


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
