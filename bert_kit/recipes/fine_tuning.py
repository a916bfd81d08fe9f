"""From settings to the parts of a fine-tuning: model, loss, loader and trainer."""

import contextlib
import inspect

import torch

from bert_kit.config import BertConfig, create_model_config
from bert_kit.data import make_loader
from bert_kit.errors import ConfigError
from bert_kit.lookup import find_folder
from bert_kit.model import CLASSIFIERS, BERTForSequenceClassification
from bert_kit.tokenization import get_tokenizer, train_tokenizer
from bert_kit.training import (EarlyStopping, MemoryManager, Trainer, TrainingArguments,
                               balanced_class_weights, best_precision, classification_loss,
                               find_learning_rate, freeze, gradual_unfreezing)
from bert_kit.weights import WEIGHT_FILES, load_pretrained, load_weights, save_pretrained

VOCABULARY = 8_000  # pieces of a tokenizer trained on the rows themselves
HEAD_OPTIONS = ("pooling", "last_layers", "hidden_dims", "depth", "activation", "kernel_sizes",
                "num_filters", "num_frequencies", "num_wavelets", "wavelet_type")


@contextlib.contextmanager
def seeded(seed):
    """Let torch's default generators start from `seed` inside, and go on as before outside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def head_options(settings):
    """Return `BertConfig.classifier` for the head that the settings ask for; {} is standard.

    Raises
    ------
    ConfigError
        If an option is set that the head does not have.
    """
    known = inspect.signature(CLASSIFIERS[settings.classifier]).parameters
    given = {name: getattr(settings, name) for name in HEAD_OPTIONS
             if getattr(settings, name) is not None}
    if "num_wavelets" in known and "num_frequencies" in given:
        given.setdefault("num_wavelets", given.pop("num_frequencies"))
    for name in given:
        if name not in known:
            options = [option for option in HEAD_OPTIONS if option in known]
            raise ConfigError(f"{name} is not an option of the {settings.classifier} head; "
                              f"expected {', '.join(options) or 'none'}")
    if settings.classifier == "standard":
        return {}
    return {"type": settings.classifier, **{
        name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}}


def for_head(settings, classifier):
    """Return settings for another head, without the options that this head does not have."""
    known = {*inspect.signature(CLASSIFIERS[classifier]).parameters}
    if "num_wavelets" in known and settings.num_wavelets is None:
        known.add("num_frequencies")
    return settings.replace(classifier=classifier, **{
        name: None for name in HEAD_OPTIONS if name not in known})


def check_model(settings):
    """Check what can be known of the model before the data is read."""
    if settings.model is None:
        create_model_config(settings.from_scratch)
        return
    config = BertConfig.load(find_folder(settings.model, WEIGHT_FILES, settings.download))
    if settings.max_length > config.max_position_embeddings:
        raise ConfigError(f"max_length is {settings.max_length}; {settings.model} has "
                          f"{config.max_position_embeddings} positions")
    if settings.bert_hidden_size not in (None, config.hidden_size):
        raise ConfigError(f"bert_hidden_size is {settings.bert_hidden_size}; "
                          f"{settings.model} is {config.hidden_size} wide")


def make_tokenizer(settings, texts):
    """Return the tokenizer of the model, or one trained on the texts for a model from scratch."""
    if settings.model is None:
        tokenizer = train_tokenizer(texts, VOCABULARY)
    else:
        tokenizer = get_tokenizer(settings.model, settings.download)
    tokenizer.max_length = settings.max_length  # saved with it: prediction cuts texts there too
    return tokenizer


def make_model(settings, classes, tokenizer):
    """Return the classifier, from weights or from nothing; draws from torch's generator."""
    changes = {"labels": tuple(classes), "classifier": head_options(settings)}
    if settings.dropout is not None:
        changes["classifier_dropout"] = settings.dropout
    if settings.model is not None:
        model = load_pretrained(BERTForSequenceClassification, settings.model,
                                download=settings.download,
                                report=print if settings.verbosity else _quiet, **changes)
    else:
        model = BERTForSequenceClassification(create_model_config(
            settings.from_scratch, vocab_size=tokenizer.vocab_size,
            max_position_embeddings=settings.max_length, **changes))
    model.bert.gradient_checkpointing = settings.gradient_checkpointing
    if settings.freeze_layers:
        freeze(model, settings.freeze_layers)
    return model


def make_loss(settings, dataset, num_classes):
    """Return the loss function that the settings describe."""
    weights = None
    if settings.class_weight == "balanced":
        weights = balanced_class_weights(dataset.labels, num_classes)
    return classification_loss(weights, settings.label_smoothing, settings.focal_gamma)


def make_trainer(settings, model, tokenizer, datasets, evaluate):
    """Return a Trainer of the classifier.

    Parameters
    ----------
    settings : ClassificationSettings
    model, tokenizer
    datasets : dict
        `train`, and `validation` where there is one.
    evaluate : callable
        `evaluate(dataset)` -> dict of metrics.
    """
    device = next(model.parameters()).device
    loader = make_loader(datasets["train"], settings.batch_size, seed=settings.seed,
                         group_by_length=settings.group_by_length)
    loss = make_loss(settings, datasets["train"], model.config.num_labels)
    validation = datasets.get("validation")
    precision = settings.precision or best_precision(device)
    rate = _learning_rate(settings, model, loss, loader, precision)
    keeps = settings.output_dir is not None
    arguments = TrainingArguments(
        settings.output_dir, learning_rate=rate, precision=precision,
        num_train_epochs=settings.num_train_epochs or (3 if settings.model else 6),
        eval_strategy="no" if validation is None else "epoch",
        metric_for_best_model=settings.metric,
        load_best_model_at_end=(settings.load_best_model_at_end and keeps
                                and validation is not None),
        **{name: getattr(settings, name) for name in (
            "max_steps", "weight_decay", "max_grad_norm", "warmup_steps", "lr_scheduler_type",
            "gradient_accumulation_steps", "logging_steps", "save_total_limit", "optim", "betas",
            "adam_epsilon", "momentum", "head_learning_rate", "layer_decay", "time_limit",
            "verbosity")})
    stopping = None
    if settings.early_stopping or settings.trend_window or settings.regression is not None:
        stopping = EarlyStopping(
            settings.early_stopping or None, settings.min_delta, settings.min_epochs,
            settings.smoothing_window, settings.trend_window, settings.regression)
        if validation is None:
            raise ConfigError("early stopping needs validation rows; give a val_size above 0 or a "
                              "validation_file")
    return Trainer(
        model, arguments, loss, loader,
        evaluate=None if validation is None else lambda: evaluate(validation),
        save_model=lambda folder: save_pretrained(model, folder, tokenizer),
        load_model=lambda folder: load_weights(model, folder), stopping=stopping,
        before_epoch=gradual_unfreezing(model) if settings.gradual_unfreezing else None,
        memory=None if settings.memory_threshold is None else MemoryManager(
            settings.memory_threshold))


def _learning_rate(settings, model, loss, loader, precision):
    if settings.learning_rate == "auto":
        found = find_learning_rate(model, loss, loader, precision=precision)
        if settings.verbosity:
            print(f"learning rate {found.suggestion:.2e}, where the loss falls fastest")
        return found.suggestion
    if settings.learning_rate is None:
        return 5e-5 if settings.model else 5e-4
    return settings.learning_rate


def _quiet(text):
    """Say nothing."""
