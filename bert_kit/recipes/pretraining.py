"""Pre-training on masked tokens, from text to a folder that fine-tuning starts from.

`examples/pretrain_mlm.py` is the same job as a script to read and change.
"""

import contextlib
import itertools
import math
from functools import partial
from pathlib import Path

from bert_kit.data import make_loader
from bert_kit.data.read.text_lines import find_data
from bert_kit.errors import ConfigError, TokenizerError
from bert_kit.evaluation import plot_learning_curves, unigram_loss
from bert_kit.files import write_json
from bert_kit.model import BERTForMaskedLM, BERTForPreTraining
from bert_kit.printing import results_table
from bert_kit.recipes.documents import (fill_store, fingerprint, make_datasets, make_tokenizer,
                                        read_text)
from bert_kit.recipes.fine_tuning import seeded, starting_config, within_positions
from bert_kit.recipes.masked_scores import masked_scores, perplexity
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.pictures import can_draw
from bert_kit.recipes.prediction import choose_device
from bert_kit.recipes.run_folder import (check_folder, in_process, kept_to, most_memory,
                                         open_folder, pretraining_card, quoted, write_card)
from bert_kit.recipes.settings import PretrainingSettings
from bert_kit.tokenization import get_tokenizer
from bert_kit.training import (ALONE, MemoryManager, Trainer, TrainingArguments, best_precision,
                               compute_mlm_loss, compute_pretraining_loss, join_processes,
                               peak_memory, reset_peak_memory)
from bert_kit.weights import load_pretrained, load_weights, save_pretrained

BATCH = 64  # rows measured together
COLUMNS = (("loss", "loss", 8, ".4f"), ("perplexity", "perplexity", 12, ".4g"),
           ("accuracy", "accuracy", 10, ".4f"))
COUNTED = 1_000  # training batches that say how common each token is


def pretrain(model_path=None, train_file=None, **settings):
    """Pre-train a BERT and return the results, which results.json holds too.

    Parameters
    ----------
    model_path : path, optional
        Folder or name of a BERT to go on from; without it a new one is made.
    train_file : path or list of path, optional
        Text; by default the docstrings of the installed packages.
    **settings
        Fields of PretrainingSettings, under any of their spellings; for instance `max_steps`,
        `store`, `nsp`, `whole_word`, `output_dir`.

    Returns
    -------
    dict
        `model`, `parameters`, `vocabulary`, `rows`, `validation` scores (see `masked_scores`),
        `baselines`, `seconds`, `peak_memory_mb`, `output_dir` and more.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = {"model": model_path, "train_file": train_file}
    return run(make_settings(PretrainingSettings, given, settings))


def run(settings):
    """Do the whole job for PretrainingSettings; see `pretrain`."""
    with join_processes(choose_device(settings.device)) as processes:
        settings = in_process(settings, "pretrained", processes)
        with kept_to(processes, settings.output_dir):
            return _run(settings, processes)


def _run(settings, processes):
    settings = within_positions(settings)
    check_settings(settings)
    processes.from_first(lambda: check_folder(settings))
    tokenizer, datasets, identity = prepare_data(settings, processes)
    device = choose_device(settings.device)
    reset_peak_memory(device)
    with seeded(settings.seed):
        model = make_model(settings, tokenizer).to(device)
    trainer = make_trainer(settings, model, tokenizer, datasets, processes)
    processes.from_first(lambda: open_folder(settings, identity))
    baselines, expected = {}, math.log(model.config.vocab_size)
    if settings.model is not None and trainer.evaluate is not None:
        baselines["before training"] = trainer.evaluate()
        expected = baselines["before training"]["loss"]
    _describe(settings, trainer, tokenizer, datasets, expected)
    with seeded(settings.seed + 1 + processes.rank):  # each has its own dropout
        state = trainer.train(settings.resume)
    peak = most_memory(settings, peak_memory(device))
    results = {
        "model": settings.model, "parameters": sum(p.numel() for p in model.parameters()),
        "next_sentences": settings.nsp, "vocabulary": tokenizer.vocab_size,
        "rows": {name: len(dataset) for name, dataset in datasets.items()},
        "steps": state.step, "best_step": state.best_step, "stopped": state.stopped,
        "seconds": state.elapsed, "peak_memory_mb": None if peak is None else peak / 2**20,
        "learning_rate": trainer.args.learning_rate, "precision": trainer.args.precision,
        "baselines": baselines, "output_dir": settings.output_dir}
    if trainer.evaluate is not None:
        results["validation"] = trainer.evaluate()
    return processes.from_first(lambda: _finish(settings, trainer, datasets, results))


def check_settings(settings):
    """Find what does not go together before any text is read.

    Raises
    ------
    BertKitError
        One line that names the option.
    """
    config = starting_config(settings)
    _check_tokenizer(settings, config)
    if settings.validation_file is not None and settings.val_size is not None:
        raise ConfigError("val_size and validation_file are both set; expected one of them")
    if settings.eval_steps is not None and settings.val_size == 0:
        raise ConfigError("eval_steps is set, but with val_size 0 there is nothing to measure on")
    _check_store(settings)
    for file in (*(settings.train_file or ()), *(settings.validation_file or ())):
        find_data(file)
    training_arguments(settings)
    if settings.memory_threshold is not None:
        MemoryManager(settings.memory_threshold)


def _check_tokenizer(settings, config):
    """Refuse pieces that the weights do not know."""
    pieces = settings.tokenizer or settings.model
    if pieces is None:
        return
    tokenizer = get_tokenizer(pieces, settings.download)
    if settings.model is None:
        return
    if tokenizer.vocab_size > config.vocab_size:
        raise ConfigError(f"{pieces}: has {tokenizer.vocab_size:,} pieces; {settings.model} has "
                          f"room for {config.vocab_size:,}")
    if settings.tokenizer is None:
        return
    with contextlib.suppress(TokenizerError):  # the model has none of its own
        own = get_tokenizer(settings.model, settings.download)
        if own.backend.to_str() != tokenizer.backend.to_str():
            raise ConfigError(f"{settings.tokenizer}: another tokenizer than that of "
                              f"{settings.model}, whose weights know its own pieces only; leave "
                              "tokenizer or model out")


def _check_store(settings):
    """Refuse a store where it has no use, and the use of more processes without one."""
    if settings.store is None:
        if settings.workers > 1:
            raise ConfigError(f"workers is {settings.workers}; only a store is filled by several")
        return
    if settings.nsp:
        raise ConfigError("nsp and store are both set; a store does not keep sentences apart, so "
                          "expected one of them")
    if settings.train_file is None:
        raise ConfigError("a store needs a train_file")
    if settings.validation_file is None and settings.val_size != 0:
        raise ConfigError("a store holds nothing out; give a validation_file (or val_size 0 to "
                          "measure nothing)")
    if Path(settings.store).resolve().is_relative_to(Path(settings.output_dir).resolve()):
        raise ConfigError(f"store {settings.store} is in the output_dir {settings.output_dir}; "
                          "expected it beside the run, for others to use")


def prepare_data(settings, processes=ALONE):
    """Read the text; return the tokenizer, the datasets, and a fingerprint of both."""
    train, held_out = read_text(settings)
    size = "to be stored" if train is None else f"{len(train):,} documents"
    settings.say(f"text        {size}; {len(held_out):,} documents to measure on")
    tokenizer = processes.from_first(lambda: make_tokenizer(settings, train))
    rows = train
    if settings.store is not None:
        rows = processes.from_first(lambda: fill_store(settings, tokenizer))
    return (tokenizer, make_datasets(settings, rows, held_out, tokenizer),
            fingerprint(rows, held_out, tokenizer))


def make_model(settings, tokenizer):
    """Return the model, from weights or from nothing; draws from torch's generator.

    A new one has no dropout: text seen once or twice cannot be learned by heart.
    """
    kind = BERTForPreTraining if settings.nsp else BERTForMaskedLM
    rate = settings.dropout
    if settings.model is None:
        model = kind(starting_config(settings).replace(
            vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id,
            hidden_dropout_prob=rate or 0.0, attention_probs_dropout_prob=rate or 0.0))
    else:
        changes = {} if rate is None else {"hidden_dropout_prob": rate,
                                           "attention_probs_dropout_prob": rate}
        model = load_pretrained(kind, settings.model, download=settings.download,
                                report=settings.say, classifier={}, **changes)
    model.bert.gradient_checkpointing = settings.gradient_checkpointing
    return model


def training_arguments(settings, precision="float32", evaluates=False):
    """Return the TrainingArguments of PretrainingSettings."""
    def every(steps, name):
        return {f"{name}_strategy": "epoch"} if steps is None else {
            f"{name}_strategy": "steps", f"{name}_steps": steps}

    rate = settings.learning_rate
    if rate is None:
        rate = 1e-4 if settings.model else 1e-3
    return TrainingArguments(
        learning_rate=rate, precision=precision, num_train_epochs=settings.num_train_epochs,
        metric_for_best_model="loss", load_best_model_at_end=evaluates,
        **every(settings.save_steps, "save"),
        **(every(settings.eval_steps, "eval") if evaluates else {"eval_strategy": "no"}),
        **settings.training_options())


def make_trainer(settings, model, tokenizer, datasets, processes=ALONE):
    """Return a Trainer of the model, which measures it on `validation` where there is one."""
    device = next(model.parameters()).device
    loader = make_loader(datasets["train"], settings.batch_size, seed=settings.seed,
                         group_by_length=settings.group_by_length, share=processes.share,
                         pin_memory=device.type == "cuda")
    evaluate = None
    if "validation" in datasets:
        evaluate = partial(masked_scores, model, _in_order(datasets["validation"]), processes)
    precision = settings.precision or best_precision(device)
    return Trainer(
        model, training_arguments(settings, precision, evaluate is not None),
        compute_pretraining_loss if settings.nsp else compute_mlm_loss, loader, evaluate,
        save_model=lambda folder: save_pretrained(model, folder, tokenizer),
        load_model=lambda folder: load_weights(model, folder),
        memory=MemoryManager(1.0 if settings.memory_threshold is None
                             else settings.memory_threshold, 1, settings.batch_size),
        processes=processes)


def _in_order(dataset):
    """Return a loader in which every pass has the same batches and hides the same tokens."""
    return make_loader(dataset, BATCH, shuffle=False, group_by_length=True)


def _describe(settings, trainer, tokenizer, datasets, expected):
    """Say what is about to be trained on what, and what loss to expect."""
    model = trainer.model
    pieces = settings.tokenizer or settings.model or "learned from the training text"
    weights = f"weights from {settings.model}" if settings.model else (
        f"{settings.from_scratch}, random weights")
    counts = ", ".join(f"{len(dataset):,} {name}" for name, dataset in datasets.items())
    what = "" if settings.model else "ln V = "
    settings.say(
        f"vocabulary  {tokenizer.vocab_size:,} pieces, {pieces}\n"
        f"rows        {counts}; {datasets['train'].lengths.mean():.0f} tokens on average\n"
        f"model       {sum(p.numel() for p in model.parameters()):,} parameters, {weights}, "
        f"{next(model.parameters()).device.type}, {trainer.args.precision}\n"
        f"expect      a loss of about {what}{expected:.2f}{' + ln 2' * settings.nsp} at the start")


def _finish(settings, trainer, datasets, results):
    """Save the model, its numbers and its card, and say where everything is."""
    folder = Path(settings.output_dir)
    trainer.model.eval()
    trainer.save_model(folder)
    if "validation" in results:
        some = make_loader(datasets["train"], settings.batch_size, seed=settings.seed)
        unigram = unigram_loss(itertools.islice(some, COUNTED), _in_order(datasets["validation"]),
                               trainer.model.config.vocab_size)
        results["baselines"]["token counts alone"] = {
            "loss": unigram, "perplexity": perplexity(unigram)}
        settings.say(results_table(results, COLUMNS))
    write_json(folder / "results.json", results)
    write_card(folder, pretraining_card(folder, results))
    if can_draw(settings.plots, settings.say):
        plot_learning_curves(trainer.state.log, folder / "learning_curves.png")
    settings.say(f"\nsaved in {folder}: model, results.json, metrics.csv, README.md"
                 f"\nfine-tune it with: python -m bert_kit train --model {quoted(folder)} "
                 "--data_file …")
    return results
