"""How alike two texts are: scoring a sentence encoder on rated pairs, and training it on them."""

import dataclasses
from functools import partial
from pathlib import Path

from torch.nn import functional as F

from bert_kit.data import (Number, Part, SimilarityDataset, make_loader, read_parts,
                           read_table, split_pairs)
from bert_kit.errors import ConfigError
from bert_kit.evaluation import (pearson_correlation, plot_learning_curves,
                                 spearman_correlation)
from bert_kit.files import write_json
from bert_kit.printing import results_table
from bert_kit.recipes.embedding import SentenceEncoder
from bert_kit.recipes.fine_tuning import seeded
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.pictures import can_draw
from bert_kit.recipes.prediction import choose_device
from bert_kit.recipes.rows import present
from bert_kit.recipes.run_folder import (check_folder, in_process, kept_to, most_memory,
                                         open_folder, quoted, similarity_card, write_card)
from bert_kit.recipes.semantic_search import directions
from bert_kit.recipes.settings import SimilaritySettings
from bert_kit.training import (MemoryManager, Trainer, TrainingArguments, best_precision,
                               join_processes, peak_memory, reset_peak_memory)
from bert_kit.training.losses import mean_over_rows
from bert_kit.weights import load_weights

TEXTS, LABEL = ("text_a", "text_b"), Number("label")  # the columns of the files
COLUMNS = (("spearman", "Spearman", 10, ".4f"), ("pearson", "Pearson", 10, ".4f"))


def evaluate_similarity(encoder, data_file, delimiter=None, encoding="utf-8-sig"):
    """Return how well the cosines of a file's pairs follow its scores.

    Parameters
    ----------
    encoder : SentenceEncoder
    data_file : path
        Table with the columns text_a, text_b and label, a number.

    Returns
    -------
    dict
        `spearman` (of ranks, the usual one; Reimers & Gurevych 2019, section 4) and `pearson`.
    """
    table = read_table(data_file, TEXTS, LABEL, delimiter, encoding)
    LABEL.check(table, TEXTS)
    return similarity_scores(encoder, table)


def similarity_scores(encoder, pairs):
    """Return what `evaluate_similarity` does, for what has `texts` (N pairs) and `labels` (N)."""
    vectors = directions(encoder.encode([text for side in zip(*pairs.texts) for text in side]))
    first, second = vectors.chunk(2)  # (2 N, D) -> (N, D) each
    cosines = (first * second).sum(1).numpy()
    return {"spearman": spearman_correlation(cosines, pairs.labels),
            "pearson": pearson_correlation(cosines, pairs.labels)}


def cosine_loss(pool):
    """Return the loss that draws the cosine of a pair's vectors towards its label.

    Their mean squared difference (Reimers & Gurevych 2019, section 3, regression objective).

    Parameters
    ----------
    pool : callable
        `pool(model, batch)` -> vectors (B, D).

    Returns
    -------
    callable
        `loss(model, batch, counts=None)` of batches of a SimilarityDataset.
    """
    def loss(model, batch, counts=None):
        vectors = pool(model, split_pairs(batch))
        first, second = F.normalize(vectors, dim=-1).chunk(2)  # (2 B, D) -> (B, D) each
        labels = batch["labels"].to(vectors.device, non_blocking=True)
        return mean_over_rows(((first * second).sum(1) - labels)**2, batch, counts)
    return loss


def train_similarity(model_path=None, train_file=None, **settings):
    """Train a sentence encoder on rated pairs and return the results, as in results.json.

    Parameters
    ----------
    model_path : path
        Folder or name of a sentence encoder, or of a BERT with `pooling`.
    train_file : path
        Table with the columns text_a, text_b and label. The lowest label is drawn to a cosine of
        0, the highest to 1.
    **settings
        Fields of SimilaritySettings, under any of their spellings; for instance
        `validation_file`, `test_file`, `num_train_epochs`, `output_dir`.

    Returns
    -------
    dict
        `validation` and `test` scores (see `evaluate_similarity`), those `before training` under
        `baselines`, `seconds`, `output_dir` and more. The folder is one for SentenceEncoder.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = {"model": model_path, "train_file": train_file}
    return run(make_settings(SimilaritySettings, given, settings))


def run(settings):
    """Do the whole job for SimilaritySettings; see `train_similarity`."""
    for name in ("model", "train_file"):
        if getattr(settings, name) is None:
            raise ConfigError(f"{name} is missing; expected a model and a file of pairs")
    with join_processes(choose_device(settings.device)) as processes:
        settings = in_process(settings, "similarity", processes)
        with kept_to(processes, settings.output_dir):
            return _run(settings, processes)


def _run(settings, processes):
    processes.from_first(lambda: check_folder(settings))
    encoder = SentenceEncoder(settings.model, device=settings.device, pooling=settings.pooling,
                              download=settings.download)
    if settings.max_length is not None:
        longest = encoder.model.config.max_position_embeddings
        if settings.max_length > longest:
            raise ConfigError(f"max_length is {settings.max_length}; {settings.model} has "
                              f"{longest} positions")
        encoder.max_length = settings.max_length
    parts = processes.from_first(lambda: _read(settings))
    pairs = dict(present(parts))
    reset_peak_memory(encoder.device)
    trainer = make_trainer(settings, encoder, pairs, processes)
    processes.from_first(lambda: open_folder(settings, parts.fingerprint))
    held_out = pairs.get("test", pairs.get("validation"))
    baselines = {} if held_out is None else {
        "before training": similarity_scores(encoder, held_out)}
    counts = ", ".join(f"{len(part):,} {name}" for name, part in pairs.items())
    settings.say(f"pairs     {counts}; up to {encoder.max_length} tokens a text\n"
                 f"model     {settings.model}, {', '.join(encoder.layout.pooling)} pooling, "
                 f"{encoder.device.type}, {trainer.args.precision}")
    with seeded(settings.seed + 1 + processes.rank):  # each has its own dropout
        state = trainer.train(settings.resume)
    encoder.model.eval()
    peak = most_memory(settings, peak_memory(encoder.device))
    results = {
        "model": settings.model, "pooling": list(encoder.layout.pooling),
        "rows": {name: len(part) for name, part in pairs.items()},
        "steps": state.step, "best_step": state.best_step, "stopped": state.stopped,
        "seconds": state.elapsed, "peak_memory_mb": None if peak is None else peak / 2**20,
        "learning_rate": trainer.args.learning_rate, "precision": trainer.args.precision,
        "baselines": baselines, "output_dir": settings.output_dir,
        **{name: similarity_scores(encoder, pairs[name]) for name in ("validation", "test")
           if name in pairs}}
    return processes.from_first(lambda: _finish(settings, encoder, trainer, results))


def _read(settings):
    """Return the LabelledParts of the files; the labels to train on become cosines."""
    parts = read_parts(
        train_file=settings.train_file, validation_file=settings.validation_file,
        test_file=settings.test_file, text_column=TEXTS, label_column=LABEL,
        delimiter=settings.delimiter, encoding=settings.encoding, val_size=0, test_size=0)
    low, high = parts.train.labels.min(), parts.train.labels.max()
    cosines = (parts.train.labels - low) / (high - low)
    return dataclasses.replace(parts, train=Part(parts.train.texts, cosines))


def make_trainer(settings, encoder, pairs, processes):
    """Return a Trainer of the encoder, which scores it on `validation` where there is one."""
    dataset = SimilarityDataset(pairs["train"].texts, pairs["train"].labels, encoder.tokenizer,
                                encoder.max_length)
    loader = make_loader(dataset, settings.batch_size, seed=settings.seed,
                         group_by_length=settings.group_by_length, share=processes.share,
                         pin_memory=encoder.device.type == "cuda")
    encoder.model.gradient_checkpointing = settings.gradient_checkpointing
    evaluates = "validation" in pairs
    arguments = TrainingArguments(
        learning_rate=settings.learning_rate, num_train_epochs=settings.num_train_epochs,
        precision=settings.precision or best_precision(encoder.device),
        eval_strategy="epoch" if evaluates else "no", metric_for_best_model="spearman",
        load_best_model_at_end=evaluates, **settings.training_options())
    return Trainer(
        encoder.model, arguments, cosine_loss(encoder.pool), loader,
        evaluate=partial(similarity_scores, encoder, pairs["validation"]) if evaluates else None,
        save_model=encoder.save, load_model=partial(load_weights, encoder.model),
        memory=MemoryManager(1.0 if settings.memory_threshold is None
                             else settings.memory_threshold, 1, settings.batch_size),
        processes=processes)


def _finish(settings, encoder, trainer, results):
    """Save the encoder, its numbers and its card, and say where everything is."""
    folder = Path(settings.output_dir)
    encoder.save(folder)
    write_json(folder / "results.json", results)
    write_card(folder, similarity_card(folder, results))
    settings.say(results_table(results, COLUMNS))
    if can_draw(settings.plots, settings.say):
        plot_learning_curves(trainer.state.log, folder / "learning_curves.png")
    settings.say(f"\nsaved in {folder}: model, results.json, metrics.csv, README.md"
                 f"\nuse it with: python -m bert_kit embed --model {quoted(folder)} --data_file …")
    return results
