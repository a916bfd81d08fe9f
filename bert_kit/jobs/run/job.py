"""The training job, whatever the task: from rows to a folder with weights, numbers and pictures.

`TrainingJob.run` is all of it. Its steps can be taken one by one: `read`, `tokenize`, `build`;
what `build` returns, a `Training`, is trained and scores its rows.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Generic

from bert_kit.errors import ConfigError
from bert_kit.evaluation import plot_learning_curves
from bert_kit.figures import PlotsMissing, require_plots
from bert_kit.files import write_json
from bert_kit.jobs.run.build import check_options, make_model, make_trainer
from bert_kit.jobs.run.card import write_card
from bert_kit.jobs.run.defaults import dropout_note, within_positions
from bert_kit.jobs.run.folder import (as_begun, check_folder, check_kept, highest_memory,
                                      open_folder, open_job, quoted, remove_split_on_error,
                                      write_label_mapping)
from bert_kit.jobs.run.predictor import warn
from bert_kit.jobs.run.randomness import seeded, threads
from bert_kit.jobs.run.task import Part, Parts, Scores, Task
from bert_kit.jobs.run.verdict import Verdict, check_learned, judge, setting_of, verdict_text
from bert_kit.printing import results_table
from bert_kit.tokenization import Tokenizer
from bert_kit.training import (ALONE, LogRow, OnLog, Processes, Trainer, TrainerState,
                               choose_device, peak_memory, reset_peak_memory)
from bert_kit.weights import ReadWeights, read_weights

Results = dict[str, Any]
CURVES = "learning_curves.png"
PICTURES, FIRST_PICTURE = 0.02, 1.0  # share of a run's time for pictures; seconds, before one is


@dataclass(frozen=True)
class Rows(Generic[Part]):
    """What a model is trained on and chosen by: parts, their tokenizer and their datasets."""

    parts: Parts[Part]
    tokenizer: Tokenizer
    datasets: Mapping[str, Any]


class CurvesBeside:
    """A hook of a Trainer that draws the learning curves anew, after an evaluation.

    It leaves evaluations out that follow too fast: drawing takes `PICTURES` of the time at most,
    and so a run of less than a minute has its picture at the end. What the Trainer was to call
    besides, it calls.
    """

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.path, self.on_log = trainer, folder / CURVES, trainer.on_log
        self.drawn, self.seconds = monotonic(), FIRST_PICTURE

    def __call__(self, row: LogRow) -> None:
        """Draw, if there is time, and hand the row on."""
        begin = monotonic()
        if (any(name.startswith("eval_") for name in row)
                and self.seconds <= PICTURES * (begin - self.drawn)):
            # No picture is worth a run: at the end it is drawn once more, and what is wrong told.
            with contextlib.suppress(Exception):
                plot_learning_curves(self.trainer.state.log, self.path)
            self.drawn = monotonic()
            self.seconds = self.drawn - begin
        if self.on_log is not None:
            self.on_log(row)


class Training(Generic[Part]):
    """A model with the rows that it is trained on and scored by.

    Attributes
    ----------
    predictor
        Runs the model, also while it is trained.
    trainer
        The Trainer, at the start of the run or where it goes on.
    """

    def __init__(self, task: Task[Part], options: Any, rows: Rows[Part], model: Any,
                 processes: Processes, on_log: OnLog | None = None) -> None:
        self.task, self.options, self.processes = task, options, processes
        self.parts, self.datasets = rows.parts, rows.datasets
        self.predictor: Any = task.predictor(
            model, rows.tokenizer, options, choose_device(options.device), processes)
        self.trainer: Trainer = make_trainer(self, processes, on_log)

    @property
    def model(self) -> Any:
        """The model."""
        return self.predictor.model

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Trainer]:
        """Yield the trainer, under the seed and the threads of the options."""
        # Each process has its own dropout.
        with seeded(self.options.seed + 1 + self.processes.rank), threads(self.options.threads):
            yield self.trainer
        self.model.eval()

    def validate(self) -> Scores:
        """Return the scores of the validation rows for the log, after choosing what they choose."""
        answers = self.predictor.answers(self.datasets["validation"])
        shown = self.task.logged(self.options)
        return {name: value for name, value in self.score("validation", answers).items()
                if (shown is None or name in shown)}

    def score(self, name: str, answers: Any = None) -> Scores:
        """Return every score of a part; the validation rows also choose, see `Task.choose`."""
        part = self.parts.present()[name]
        if answers is None:
            answers = self.predictor.answers(self.datasets[name])
        if name == "validation":
            self.predictor.remember(**self.task.choose(answers, part, self.predictor,
                                                       self.options))
        return self.task.scores(answers, part, self.predictor)

    def save(self, folder: str | Path) -> None:
        """Write the model, its tokenizer and the names of its classes into a folder."""
        self.predictor.save(folder)
        if self.parts.classes:
            write_label_mapping(folder, self.parts.classes)


class TrainingJob(Generic[Part]):
    """A training of some task.

    Parameters
    ----------
    task
        See `Task`.
    options
        Of the class that the task names.
    processes
        Those that do the job together; each calls the same methods. `run` joins them itself.
    to_beat
        Scores of what has to be beaten, where another job has found them; else `run` does.
    on_log
        Called with every row of the log, see `Trainer`.
    """

    def __init__(self, task: Task[Part], options: Any, processes: Processes = ALONE,
                 to_beat: dict[str, Scores] | None = None, on_log: OnLog | None = None) -> None:
        self.task, self.options, self.processes = task, options, processes
        self.to_beat, self.on_log = to_beat, on_log

    def run(self) -> Results:
        """Do the whole job and return the results, which results.json holds too.

        Raises
        ------
        BertKitError
            For input that cannot be used; before any training.
        """
        with open_job(self.options, self.task.folder_name(self.options)) as (
                options, self.processes), threads(options.threads):
            task, first = self.task, self.processes.from_first
            device = choose_device(options.device)
            options = self.options = within_positions(task, as_begun(options))
            check_options(task, options)
            first(lambda: check_folder(options, task.job))
            with remove_split_on_error(options.output_dir if self.processes.first else None):
                rows = self.tokenize(first(self.read))
                options.say(f"data      {rows.parts.description}")
                if options.strict and rows.datasets.keys() <= {"train"}:
                    raise ConfigError("strict needs rows that are held out; give a val_size or a "
                                      "test_size above 0, or a file of such rows")
                reset_peak_memory(device)
                training = self.build(rows)
                if options.output_dir is not None:
                    data = task.fingerprint(rows.parts, rows.tokenizer)
                    first(lambda: open_folder(options, task.job,
                                              task.made_of(options, data, rows.tokenizer),
                                              bad_rows=rows.parts.bad_rows))
            baselines = self.baselines(training)
            self.describe(training, baselines)
            with training.at_work() as trainer:
                if options.plots and options.output_dir is not None:
                    trainer.on_log = CurvesBeside(trainer, Path(options.output_dir))
                state = trainer.train(options.resume)
            results = self.conclude(training, state, peak_memory(device), baselines)
            check_learned(results.get("verdict"), options.strict, options.output_dir)
            return results

    def read(self) -> Parts[Part]:
        """Read the rows, and leave out what `fast_dev_run` and its like do not want."""
        task, options = self.task, self.options
        parts = task.read(options)
        warn(parts.note)
        if options.fast_dev_run:
            parts = dataclasses.replace(parts, **{
                name: task.subset(part, 2 * options.batch_size, options.seed)
                for name, part in parts.present().items()})
        if options.max_train_samples is not None:
            parts = dataclasses.replace(parts, train=task.subset(
                parts.train, options.max_train_samples, options.seed))
        if options.overfit_batches is not None:
            few = task.subset(parts.train, options.overfit_batches * options.batch_size,
                              options.seed)
            parts = dataclasses.replace(parts, train=few, validation=few, test=None)
        if options.fast_dev_run or options.max_train_samples or options.overfit_batches:
            counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.present().items())
            parts = dataclasses.replace(parts, description=f"{parts.description}; used: {counts}")
        return parts

    def tokenize(self, parts: Parts[Part]) -> Rows[Part]:
        """Return the rows of the parts as a model reads them."""
        task, options = self.task, self.options
        tokenizer = self.processes.from_first(lambda: task.make_tokenizer(options, parts.train))
        return Rows(parts, tokenizer, {
            name: task.dataset(part, name, parts, tokenizer, options)
            for name, part in parts.present().items()})

    def build(self, rows: Rows[Part], read: ReadWeights = read_weights) -> Training[Part]:
        """Return the model and its trainer; `read` is as in `load_pretrained`."""
        options = self.options
        with seeded(options.seed), threads(options.threads):
            model = make_model(self.task, options, rows, read)
            return Training(self.task, options, rows, model, self.processes, self.on_log)

    def baselines(self, training: Training[Part]) -> dict[str, Scores]:
        """Return what has to be beaten on the rows that are held out."""
        if self.to_beat is not None:
            return self.to_beat
        name = next((name for name in ("test", "validation") if name in training.datasets), None)
        if name is None or not self.options.baselines:
            return {}
        found = {}
        if self.task.untrained_scores(self.options):
            found["before training"] = training.score(name)
        if self.processes.first:
            found.update(self.task.baselines(training, name))
        return found

    def describe(self, training: Training[Part], baselines: dict[str, Scores]) -> None:
        """Say what is about to be trained."""
        options, parameters = self.options, _parameters(training)
        origin = f"weights from {options.model}" if options.model else (
            f"{options.from_scratch}, {self.task.new_weights(options)}")
        options.say(f"model     {parameters:,} parameters, {origin}, "
                    f"{training.predictor.device.type}, {training.trainer.args.precision}")
        held_out = training.datasets.keys() - {"train"}
        if not held_out:
            options.say("note      no rows are held out, so nothing is scored, nor a baseline")
        elif (options.load_best_model_at_end and options.output_dir is None
              and "validation" in held_out):
            options.say("note      without an output_dir no checkpoint is kept, so the model is "
                        "that of the last step")
        for line in filter(None, [dropout_note(self.task, options),
                                  *self.task.describe(training, baselines)]):
            options.say(line)
        if options.verbosity > 1:
            options.say(details_text(training))

    def facts(self, training: Training[Part], state: TrainerState, peak: int | None,
              baselines: dict[str, Scores]) -> Results:
        """Return the results of a run but for the scores."""
        options, arguments = self.options, training.trainer.args
        return {
            "task": self.task.name, "model": options.model,
            "parameters": _parameters(training),
            "rows": {name: len(rows) for name, rows in training.parts.present().items()},
            "steps": state.step, "best_step": state.best_step, "stopped": state.stopped,
            "seconds": state.elapsed,
            "peak_memory_mb": highest_memory(options.output_dir, peak),
            "learning_rate": arguments.learning_rate, "precision": arguments.precision,
            "baselines": baselines,
            "output_dir": None if options.fast_dev_run else options.output_dir,
            **self.task.facts(training)}

    def verdict(self, training: Training[Part], answers: Mapping[str, Any],
                results: Results) -> Verdict:
        """Return whether the model has learned anything, by the test rows if there are some."""
        name = "test" if "test" in results else "validation"
        part, scores = training.parts.present()[name], results[name]
        task, options = self.task, self.options
        keys = [key for key, *_ in task.columns]
        if getattr(options, "class_weight", None) is not None:  # accuracy is not what was wanted
            keys.insert(0, task.metric(options, training.parts))
        return judge(
            task, scores, results["baselines"] or task.constant_baseline(part),
            setting_of(task, options, training.model.config.hidden_size, results["steps"],
                       results["learning_rate"]),
            task.findings(answers[name], part, training.predictor, scores, f"{name} rows"),
            training.trainer.state.log, keys, len(part))

    def conclude(self, training: Training[Part], state: TrainerState, peak: int | None,
                 baselines: dict[str, Scores]) -> Results:
        """Score what was trained, leave it in its folder, and return the results."""
        answers = {name: training.predictor.answers(training.datasets[name])
                   for name in ("validation", "test") if name in training.datasets}
        scores = {name: training.score(name, answers[name]) for name in answers}
        results = self.facts(training, state, peak, baselines) | scores
        return self.processes.from_first(lambda: self.finish(training, answers, results))

    def finish(self, training: Training[Part], answers: Mapping[str, Any],
               results: Results) -> Results:
        """Say how the parts went, save the model, its numbers and its card, and say where."""
        task, options = self.task, self.options
        concluded = task.conclude(training, answers, results)
        columns = task.table_columns(results)
        if "validation" in results or "test" in results:
            results["verdict"] = self.verdict(training, answers, results)
            options.say(results_table(results, columns))
            options.say("\n" + verdict_text(results["verdict"]))
        if options.output_dir is None:
            return results
        folder, plots = Path(options.output_dir), can_draw(options.plots, options.say)
        training.save(folder)
        task.leave(training, answers, results, folder, plots, concluded)
        write_json(folder / "results.json", results)
        use = task.use_of(training).format(model=quoted(folder))
        write_card(folder, results, task.what, columns, use)
        if plots:
            plot_learning_curves(training.trainer.state.log, folder / CURVES)
        check_kept(folder)
        if not options.fast_dev_run:
            options.say(f"\nsaved in {folder}: model, results.json, metrics.csv, README.md"
                        f"\nuse it with: python -m bert_kit {use}")
        return results


def details_text(training: Training) -> str:
    """Return what only verbosity 2 shows: the paths, the sizes and every setting of a run."""
    options, model = training.options, training.model
    config = {name: value for name, value in model.config.to_dict().items()
              if name not in ("id2label", "label2id")}
    rows = ", ".join(f"{len(rows):,} {name}" for name, rows in training.datasets.items())
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    return "\n".join([
        f"folder    {None if options.output_dir is None else Path(options.output_dir).resolve()}",
        f"rows      {rows}", f"weights   {size / 2**20:,.1f} MB, "
        + ", ".join(f"{name} {sum(p.numel() for p in part.parameters()):,}"
                    for name, part in model.named_children()),
        f"config    {json.dumps(config)}",
        f"options   {json.dumps(options.to_dict(), default=str)}",
        f"arguments {json.dumps(training.trainer.args.to_dict())}"])


def can_draw(wanted: bool, say: Callable[[str], object]) -> bool:
    """Return whether to draw; where pictures are wanted and cannot be drawn, `say` is told why.

    A job asks once, so that it is said once.
    """
    try:
        if wanted:
            require_plots()
    except PlotsMissing as missing:
        say(str(missing))
        return False
    return wanted


def _parameters(training: Training) -> int:
    return sum(p.numel() for p in training.model.parameters())
