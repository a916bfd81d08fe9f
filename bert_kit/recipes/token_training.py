"""Training a model that says something of every token: what tagging and answering share.

A job reads parts (train, validation, test), makes model and Trainer, trains, scores each part that
is held out, and leaves a run folder. `TokenJob` is that; its subclasses say what a part is, which
loss is taken and how predictions are scored.
"""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import ClassVar

from bert_kit.config import create_model_config
from bert_kit.data import find_parts, make_loader
from bert_kit.errors import DataError
from bert_kit.evaluation import plot_learning_curves
from bert_kit.files import write_json
from bert_kit.printing import results_table
from bert_kit.recipes.fine_tuning import (make_tokenizer, seeded, starting_config,
                                          within_positions)
from bert_kit.recipes.pictures import can_draw
from bert_kit.recipes.prediction import choose_device
from bert_kit.recipes.run_folder import (check_folder, in_process, kept_to, most_memory,
                                         open_folder, quoted, token_card, write_card)
from bert_kit.training import (MemoryManager, Trainer, TrainingArguments, best_precision,
                               join_processes, peak_memory, reset_peak_memory)
from bert_kit.weights import load_pretrained, load_weights, save_pretrained


class TokenJob:
    """A training job, from files to a folder; `run` does all of it.

    A subclass has the attributes below and the methods `read(path)`, `cut(part, share)`,
    `check_parts()`, `content(part)`, `texts(part)`, `dataset(part)`, `score(name)`, `facts()` and
    `report(name, results)`, and may have those at the end of this class.

    Parameters
    ----------
    settings : TokenSettings
    processes : Processes
        Those that do the job together.

    Attributes
    ----------
    predictor_class : type
        The TokenPredictor that the run is for.
    loss : callable
    name, what, use : str
        Of the default output folder; what the model does; the command that uses it.
    suffixes : tuple of str
        How the names of its files may end.
    columns : tuple of tuple
        The scores of the table of results; see `results_table`.
    """

    predictor_class: ClassVar[type]
    name: ClassVar[str]
    what: ClassVar[str]
    use: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[tuple, ...]]
    loss: ClassVar

    def __init__(self, settings, processes):
        self.settings = within_positions(in_process(settings, self.name, processes))
        self.processes, self.device = processes, choose_device(settings.device)
        self.parts = self.datasets = self.predictor = None

    def run(self):
        """Do the whole job and return the results, which results.json holds too."""
        settings, processes = self.settings, self.processes
        starting_config(settings)
        self.training_arguments()
        processes.from_first(lambda: check_folder(settings))
        self.parts = processes.from_first(self.read_parts)
        self.check_parts()
        fingerprint = hashlib.sha256(json.dumps(
            {name: self.content(part) for name, part in self.parts.items()}).encode()).hexdigest()
        reset_peak_memory(self.device)
        trainer = self.set_up()
        processes.from_first(lambda: open_folder(settings, fingerprint))
        parameters = sum(p.numel() for p in self.predictor.model.parameters())
        origin = f"weights from {settings.model}" if settings.model else "random weights"
        settings.say(f"model     {parameters:,} parameters, {origin}, {self.device.type}, "
                     f"{trainer.args.precision}")
        with seeded(settings.seed + 1 + processes.rank):  # each has its own dropout
            state = trainer.train(settings.resume)
        self.predictor.model.eval()
        peak = most_memory(settings, peak_memory(self.device))
        results = {
            "model": settings.model, "parameters": parameters,
            "rows": {name: len(part) for name, part in self.parts.items()},
            "steps": state.step, "best_step": state.best_step, "stopped": state.stopped,
            "seconds": state.elapsed, "peak_memory_mb": None if peak is None else peak / 2**20,
            "learning_rate": trainer.args.learning_rate, "precision": trainer.args.precision,
            "output_dir": settings.output_dir,
            **{name: self.score(name) for name in ("validation", "test") if name in self.parts},
            **self.facts()}
        held_out = next((name for name in ("test", "validation") if name in results), None)
        results["baselines"] = {} if held_out is None else self.baselines(held_out)
        return processes.from_first(lambda: self._finish(trainer, results, held_out))

    def read_parts(self):
        """Return the parts by name; without a file the validation rows are cut from the others."""
        settings = self.settings
        files, _ = find_parts(settings.data_file, settings.train_file, settings.validation_file,
                              settings.test_file, self.suffixes)
        parts = {name: self.read(path) for name, path in files.items()}
        if "validation" not in parts and settings.val_size:
            parts["train"], parts["validation"] = self.cut(parts["train"], settings.val_size)
        return parts

    def set_up(self):
        """Make model, datasets and predictor, and return the Trainer."""
        settings, processes = self.settings, self.processes
        tokenizer = make_tokenizer(settings, self.texts(self.parts["train"]))
        with seeded(settings.seed):
            model = self._make_model(tokenizer)
        self.predictor = self.predictor_class(model, tokenizer, self.device, processes)
        self.predictor.remember(**self.to_remember())
        self.datasets = {name: self.dataset(part) for name, part in self.parts.items()}
        loader = make_loader(self.datasets["train"], settings.batch_size, seed=settings.seed,
                             group_by_length=settings.group_by_length, share=processes.share,
                             pin_memory=self.device.type == "cuda")
        return Trainer(
            model, self.training_arguments(), self.loss, loader,
            evaluate=partial(self._scores, "validation") if "validation" in self.parts else None,
            save_model=lambda folder: save_pretrained(model, folder, tokenizer),
            load_model=partial(load_weights, model),
            memory=MemoryManager(1.0 if settings.memory_threshold is None
                                 else settings.memory_threshold, 1, settings.batch_size),
            processes=processes)

    def _make_model(self, tokenizer):
        settings, kind = self.settings, self.predictor_class.model_class
        if settings.model is not None:
            model = load_pretrained(kind, settings.model, download=settings.download,
                                    report=settings.say, classifier={}, **self.config_changes())
        else:
            model = kind(create_model_config(
                settings.from_scratch, vocab_size=tokenizer.vocab_size,
                pad_token_id=tokenizer.pad_id, max_position_embeddings=settings.max_length,
                **self.config_changes()))
        model.bert.gradient_checkpointing = settings.gradient_checkpointing
        return model

    def training_arguments(self):
        """Return the TrainingArguments; without parts, those that can be checked before."""
        settings, rate = self.settings, self.settings.learning_rate
        evaluates = self.parts is not None and "validation" in self.parts
        epochs = settings.num_train_epochs
        return TrainingArguments(
            learning_rate=(1e-4 if settings.model else 5e-4) if rate is None else rate,
            num_train_epochs=(3 if settings.model else 6) if epochs is None else epochs,
            precision=settings.precision or best_precision(self.device),
            eval_strategy="epoch" if evaluates else "no", metric_for_best_model=self.metric,
            load_best_model_at_end=evaluates, **settings.training_options())

    def _scores(self, name):
        """Return the numbers among the scores of a part, for the log."""
        return {key: value for key, value in self.score(name).items()
                if isinstance(value, int | float)}

    def _finish(self, trainer, results, held_out):
        """Save the model, its numbers and its card, and say where everything is."""
        settings, folder = self.settings, Path(self.settings.output_dir)
        trainer.save_model(folder)
        if held_out is not None:
            self.report(held_out, results)
            settings.say(results_table(results, self.columns))
        write_json(folder / "results.json", results)
        use = self.use.format(model=quoted(folder))
        write_card(folder, token_card(folder, results, self.what, self.columns, use))
        if can_draw(settings.plots, settings.say):
            plot_learning_curves(trainer.state.log, folder / "learning_curves.png")
        settings.say(f"\nsaved in {folder}: model, results.json, metrics.csv, README.md"
                     f"\nuse it with: python -m bert_kit {use}")
        return results

    @property
    def metric(self):
        """What decides which epoch is best."""
        return self.settings.metric

    def config_changes(self):
        """Return fields of BertConfig that the task needs."""
        return {}

    def to_remember(self):
        """Return the options that predictions will need too."""
        return {}

    def baselines(self, name):
        """Return the scores to beat on a part, by name."""
        return {}


def rows_to_keep(count, share, what):
    """Return how many of some rows to train on, if a share of them is held out, at least one.

    Raises
    ------
    DataError
        If none is left.
    """
    kept = count - max(1, round(share * count))
    if kept < 1:
        raise DataError(f"{what}: holding out {share} of {count} rows leaves none to train on; "
                        "expected more rows, a smaller val_size or a validation_file")
    return kept


def run_job(job_class, settings):
    """Do a whole job, in one process or in those that torchrun started."""
    with join_processes(choose_device(settings.device)) as processes:
        job = job_class(settings, processes)
        with kept_to(processes, job.settings.output_dir):
            return job.run()
