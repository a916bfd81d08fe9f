"""From settings to the parts of a fine-tuning: model, loss, loader and trainer."""

import contextlib
import inspect

import torch

from bert_kit.config import BertConfig, create_model_config
from bert_kit.data import make_loader
from bert_kit.errors import ConfigError
from bert_kit.lookup import find_folder
from bert_kit.model import CLASSIFIERS, make_classifier
from bert_kit.recipes.tasks import TASKS, without_task
from bert_kit.tokenization import get_tokenizer, train_tokenizer
from bert_kit.training import (ALONE, EarlyStopping, MemoryManager, Trainer, TrainingArguments,
                               best_precision, find_learning_rate, freeze, gradual_unfreezing,
                               layerwise_rates, make_optimizer)
from bert_kit.weights import (WEIGHT_FILES, load_pretrained, load_weights, read_weights,
                              save_pretrained)

VOCABULARY = 8_000  # pieces of a tokenizer trained on the rows themselves
NEW_HEAD = 10  # a deep new head learns so many times as fast as the encoder below it
HEAD_OPTIONS = ("pooling", "last_layers", "hidden_dims", "depth", "activation", "kernel_sizes",
                "num_filters", "num_frequencies", "num_wavelets", "wavelet_type")


@contextlib.contextmanager
def threads(count):
    """Let torch work with `count` threads inside, for its sums depend on it; None changes nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed):
    """Let torch's default generators start from `seed` inside, and go on as before outside."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):  # all: told so, it is quiet
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


def default_length(settings, default=None):
    """Return `max_length`, or the model's positions if they are fewer and it is the default.

    Any other `max_length` that is too long stays, and `starting_config` refuses it.
    """
    default = type(settings).max_length if default is None else default
    if settings.model is None or settings.max_length != default:
        return settings.max_length
    folder = find_folder(settings.model, WEIGHT_FILES, settings.download)
    return min(default, BertConfig.load(folder).max_position_embeddings)


def within_positions(settings, default=None):
    """Return settings with their `default_length`; a job begins with it, and says so once."""
    length = default_length(settings, default)
    if length == settings.max_length:
        return settings
    settings.say(f"note      max_length is {length}: {settings.model} has no more positions")
    return settings.replace(max_length=length)


def starting_config(settings):
    """Return the BertConfig that a run begins with; the vocabulary of a new model is not known yet.

    Raises
    ------
    BertKitError
        If there is no such model, or `max_length` is beyond its positions.
    """
    if settings.model is None:
        return create_model_config(settings.from_scratch,
                                   max_position_embeddings=settings.max_length)
    config = BertConfig.load(find_folder(settings.model, WEIGHT_FILES, settings.download))
    if settings.max_length > config.max_position_embeddings:
        raise ConfigError(f"max_length is {settings.max_length}; {settings.model} has "
                          f"{config.max_position_embeddings} positions")
    return config


def check_settings(settings):
    """Find what does not go together before any row is read.

    Raises
    ------
    BertKitError
        One line that names the option.
    """
    config = starting_config(settings)
    if settings.bert_hidden_size not in (None, config.hidden_size):
        raise ConfigError(f"bert_hidden_size is {settings.bert_hidden_size}; "
                          f"{settings.model or settings.from_scratch} is {config.hidden_size} wide")
    if not -1 <= settings.freeze_layers <= config.num_hidden_layers:
        raise ConfigError(f"freeze_layers is {settings.freeze_layers}; the encoder has "
                          f"{config.num_hidden_layers} layers (-1 freezes it all)")
    if settings.freeze_layers and settings.gradual_unfreezing:
        raise ConfigError("freeze_layers and gradual_unfreezing are both set; expected one of them")
    with seeded(settings.seed):  # the head's own checks; on the meta device torch takes a second
        make_classifier(config.replace(**_config_changes(settings)))
    training_arguments(settings)
    early_stopping(settings)
    task = TASKS[settings.task]
    for name in task.foreign:
        if getattr(settings, name):
            raise ConfigError(f"{name} has no meaning for {settings.task}; leave it out")
    task.loss(settings)


def _config_changes(settings):
    changes = {"classifier": head_options(settings), "window_stride": settings.stride,
               "window_pooling": settings.window_pooling}
    if settings.dropout is not None:
        changes["classifier_dropout"] = settings.dropout
    return changes


def make_tokenizer(settings, texts):
    """Return the tokenizer of the model, or one trained on the texts for a model from scratch."""
    if settings.model is None:
        tokenizer = train_tokenizer(texts, VOCABULARY)
    else:
        tokenizer = get_tokenizer(settings.model, settings.download)
    tokenizer.max_length = settings.max_length  # saved with it: prediction cuts texts there too
    return tokenizer


def make_model(settings, classes, tokenizer, labels, read=read_weights):
    """Return the model, from weights or from nothing; draws from torch's generator.

    A new head starts from the `labels` to train on. `read` is as in `load_pretrained`.
    """
    task, before = TASKS[settings.task], starting_config(settings)
    extra = without_task(before.extra) | task.stored
    changes = {"labels": tuple(classes), "extra": extra, **_config_changes(settings)}

    def start(config):
        model = task.model_class(config)
        task.start(model, labels)  # before weights are read: a stored head that is kept stays
        return model

    if settings.model is not None:
        model = load_pretrained(start, settings.model, download=settings.download,
                                report=settings.say, read=read, **changes)
    else:
        model = start(before.replace(vocab_size=tokenizer.vocab_size, **changes))
    model.bert.gradient_checkpointing = settings.gradient_checkpointing
    if settings.freeze_layers:
        freeze(model, settings.freeze_layers)
    return model


def training_arguments(settings, rate=0.0, precision="float32", evaluates=False):
    """Return the TrainingArguments of the settings.

    Parameters
    ----------
    settings : ClassificationSettings
    rate, precision
        What the settings leave open.
    evaluates : bool
        Whether there are validation rows.
    """
    keeps = settings.output_dir is not None
    if settings.learning_rate not in (None, "auto"):
        rate = settings.learning_rate
    head_rate = settings.head_learning_rate
    if _head_factor(settings) is not None:
        head_rate = _head_factor(settings) * rate
    return TrainingArguments(
        learning_rate=rate, head_learning_rate=head_rate, precision=precision,
        num_train_epochs=(3 if settings.model else 6) if settings.num_train_epochs is None
        else settings.num_train_epochs, layer_decay=settings.layer_decay,
        eval_strategy="epoch" if evaluates else "no", metric_for_best_model=settings.metric,
        load_best_model_at_end=settings.load_best_model_at_end and keeps and evaluates,
        **settings.training_options())


def early_stopping(settings):
    """Return the EarlyStopping of the settings, or None."""
    if not (settings.early_stopping or settings.trend_window or settings.regression):
        return None
    return EarlyStopping(
        patience=settings.early_stopping or None, min_delta=settings.min_delta,
        min_epochs=settings.min_epochs, smoothing_window=settings.smoothing_window,
        trend_window=settings.trend_window, regression=settings.regression)


def make_trainer(settings, model, tokenizer, datasets, evaluate, processes=ALONE):
    """Return a Trainer of the classifier.

    Parameters
    ----------
    settings : ClassificationSettings
    model, tokenizer
    datasets : dict
        `train`, and `validation` where there is one.
    evaluate : callable
        `evaluate(dataset)` -> dict of metrics.
    processes : Processes
        Those that train the model together.
    """
    device = next(model.parameters()).device
    loader = make_loader(datasets["train"], settings.batch_size, seed=settings.seed,
                         group_by_length=settings.group_by_length, share=processes.share,
                         pin_memory=device.type == "cuda")
    task = TASKS[settings.task]
    loss = task.loss(settings, datasets["train"].labels, model.config.num_labels)
    validation, stopping = datasets.get("validation"), early_stopping(settings)
    if stopping is not None and validation is None:
        raise ConfigError("early stopping needs validation rows; give a val_size above 0 or a "
                          "validation_file")
    shown = {"loss", settings.metric, *(key for key, *_ in task.columns)}
    precision = settings.precision or best_precision(device)
    rate = _learning_rate(settings, model, loss, loader, precision, processes)
    return Trainer(
        model, training_arguments(settings, rate, precision, validation is not None), loss, loader,
        evaluate=None if validation is None else lambda: {
            key: value for key, value in evaluate(validation).items() if key in shown},
        save_model=lambda folder: save_pretrained(model, folder, tokenizer),
        load_model=lambda folder: load_weights(model, folder), stopping=stopping,
        before_epoch=gradual_unfreezing(model) if settings.gradual_unfreezing else None,
        memory=MemoryManager(1.0 if settings.memory_threshold is None
                             else settings.memory_threshold, 1, settings.batch_size),
        processes=processes)


def _head_factor(settings):
    """Return how many times the encoder's rate the head has by default; None is the same rate."""
    fresh = settings.model is not None and settings.classifier != "standard"
    return NEW_HEAD if fresh and settings.head_learning_rate is None else None


def _learning_rate(settings, model, loss, loader, precision, processes):
    """Return the peak rate: as set, as found by a range test, or the default."""
    if settings.learning_rate == "auto":
        optimizer = make_optimizer(  # that of the run, in multiples of the rate to be found
            model, 1.0, settings.weight_decay, settings.betas, settings.adam_epsilon,
            settings.optim, settings.momentum, layerwise_rates(
                model, 1.0, _head_factor(settings), settings.layer_decay))
        found = find_learning_rate(model, loss, loader, precision=precision, optimizer=optimizer,
                                   processes=processes)
        if found.suggestion is None:
            raise ConfigError("no learning rate makes the loss fall; give a learning_rate")
        settings.say(f"learning rate {found.suggestion:.2e}, where the loss falls fastest")
        return found.suggestion
    if settings.learning_rate is None:
        return 5e-5 if settings.model else 5e-4
    return settings.learning_rate
