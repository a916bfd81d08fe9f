"""The command `evaluate`: how good a trained model is, how sure of it, and where it is wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bert_kit.errors import ConfigError
from bert_kit.files import read_json, write_json
from bert_kit.jobs.commands.label_check import SUSPECTS, check_labels, classifier_options
from bert_kit.jobs.options.declare import Needs, option
from bert_kit.jobs.options.groups import (FILES, OwnTaskOptions, SpanOptions,
                                          TableReadingOptions, UseOptions)
from bert_kit.jobs.run.folder import (IN_MEMORY, check_place, known_settings,
                                      remove_split_on_error, stored_run)
from bert_kit.jobs.run.job import TrainingJob, can_draw
from bert_kit.jobs.run.task import Parts, Task
from bert_kit.jobs.run.verdict import (Setting, Verdict, check_learned, judge, setting_of,
                                       verdict_text)
from bert_kit.jobs.tasks.classes import ClassTask
from bert_kit.jobs.tasks.table import task_named, task_of_folder
from bert_kit.jobs.tasks.texts import Predictor
from bert_kit.lookup import find_folder
from bert_kit.printing import one_line, show
from bert_kit.training import Processes, choose_device, join_processes
from bert_kit.weights import WEIGHT_FILES

RUN_FILES = ("manifest.json", "training_args.json", *WEIGHT_FILES)  # a folder with one is a run's
SCORES = Needs("scores (no labels)", lambda options: not options.labels)
OF_FILES = Needs("a data_file", lambda options: options.data_file is not None)


@dataclass(frozen=True)
class EvaluateOptions(UseOptions, OwnTaskOptions, TableReadingOptions, SpanOptions):
    """Which model to score, and on what."""

    title: ClassVar[str] = "data"
    examples = ("bert-kit evaluate --model runs/standard",
                "bert-kit evaluate --model runs/tagger --data_file test.conll",
                "bert-kit evaluate --labels --model minilm --data_file rows.csv --output_dir check")
    main = ("model", "data_file", "other", "output_dir", "labels")

    data_file: str | None = option(None, "labelled rows; the run's own test rows without it",
                                   "input_file")
    labels: bool = option(False, "list training rows whose class is probably wrong, instead of "
                          "scores; told by logistic regression on the vectors of the weights "
                          "before training")
    other: str | None = option(None, "a second model to compare with on the same rows",
                               needs=SCORES)
    output_dir: str | None = option(None, "where to write, not a run's folder; by default "
                                    "the folder evaluation in the model's", "output_root")
    text_column: tuple[str, ...] | None = option(
        None, "column with the texts, two for pairs; by default as in training", needs=OF_FILES)
    label_column: tuple[str, ...] | None = option(
        None, "column with the label; by default as in training", needs=OF_FILES)
    word_column: int = option(0, "of tagged words, from 0", needs=OF_FILES)
    tag_column: int = option(-1, "of tagged words; -1 is the last", needs=OF_FILES)
    folds: int = option(7, "parts to score the fixed model on; with labels, each part is judged by "
                        "what the others teach", least=0)
    mistakes: int = option(20, "how many of the most confident mistakes to show; with labels, of "
                           "the least probable rows", least=0)
    seed: int = option(0, "of intervals and folds", least=0)
    calibrated: bool = option(False, "scale probabilities as training found to be right; the "
                              "answers stay the same", needs=SCORES)
    strict: bool = option(False, "end with exit code 3 where the model is no better than what has "
                          "to be beaten", needs=SCORES)
    plots: bool = option(True, "draw pictures where matplotlib is installed")
    verbosity: int = option(1, "0 warnings, 1 progress, 2 every detail", choices=(0, 1, 2))

    def say(self, text: str) -> None:
        """Print a line, unless only warnings are wanted."""
        if self.verbosity:
            show(text)


def run(options: EvaluateOptions, task: Task | None = None) -> dict[str, Any]:
    """Score a saved model on labelled rows, write a report and return it.

    Parameters
    ----------
    task
        Of the model, where its folder does not say.

    Returns
    -------
    dict
        Every score of the task; of classes and labels also `calibration_error` and
        `brier_score`, of classes `intervals`, `folds`, `coverage`, and `mcnemar` with another
        model. With `labels` what `check_labels` found.

    Raises
    ------
    BertKitError
        If a folder or a row cannot be used; a class that the model does not know names its row.
    """
    options.check_use()
    place = find_run(options.model, options.output_dir)
    folder = find_folder(place, (*WEIGHT_FILES, "modules.json"), options.download)
    if options.labels:
        with join_processes(choose_device(options.device)) as processes:
            return processes.from_first(lambda: _check_labels(folder, options))
    task = task or (task_named(options.task) if options.task else task_of_folder(folder))
    output = output_folder(options.output_dir, folder)
    with join_processes(choose_device(options.device)) as processes:
        if processes.first and options.output_dir and output != Path(options.output_dir):
            options.say(f"note      {options.output_dir} is the model's own folder, whose files "
                        f"stay; the evaluation is in {output}")
        predictor = _load(task, folder, options, processes)
        part = processes.from_first(lambda: _rows(task, predictor, folder, options.replace(
            output_dir=str(output))))
        answers = predictor.answers(_dataset(task, predictor, part, folder))
        results: dict[str, Any] = {"model": str(folder), "rows": len(part)}
        if options.other is not None:
            results["mcnemar"] = _compare(task, options, predictor, part, answers, folder)
        results = processes.from_first(lambda: _report(task, output, options, predictor, part,
                                                       answers, results, folder))
        check_learned(results["verdict"], options.strict, folder)
        return results


def output_folder(output_dir: str | None, folder: Path) -> Path:
    """Return where an evaluation writes: never over what a training run left.

    Without an output_dir, or aimed at the model's own folder, it goes to `evaluation` in that.

    Raises
    ------
    ConfigError
        If the folder is that of another run or model.
    """
    output = check_place(output_dir or folder / "evaluation")
    if output.is_dir() and output.samefile(folder):
        output = output / "evaluation"
    for name in RUN_FILES:
        if (output / name).exists():
            raise ConfigError(f"{output}: holds another run or model (it has a {name}); choose "
                              "another output_dir, or leave it out")
    return output


def _load(task: Task, folder: Path, options: EvaluateOptions, processes: Processes) -> Any:
    """Return the predictor of a folder; only one of texts scales its probabilities."""
    if issubclass(task.predictor_class, Predictor):
        return task.predictor_class.load(folder, options.device, options.download, processes,
                                         calibrated=options.calibrated)
    if options.calibrated:
        raise ConfigError(f"{folder}: {task.what}, so it has no probabilities to scale; leave "
                          "calibrated out")
    return task.load(folder, options.device, processes)


def _rows(task: Task, predictor: Any, folder: Path, options: EvaluateOptions) -> Any:
    """Return the rows to score: of the file, or the run's own test rows."""
    if options.data_file is not None:
        return task.read_to_score(options, predictor, folder)
    return _own_rows(task, predictor.tokenizer, folder, options, "test")


def _own_rows(task: Task, tokenizer: Any, folder: Path, options: EvaluateOptions,
              name: str) -> Any:
    """Return the part of a run's rows called `name`, from the files that its manifest names."""
    settings, manifest = _trained(task, folder), read_json(folder / "manifest.json")
    if manifest.get(IN_MEMORY):
        raise ConfigError(f"{folder}: was trained on rows in memory, which are in no file; give a "
                          "--data_file")
    files = ", ".join(one_line(path, 200) for option_name in FILES
                      if isinstance(path := getattr(settings, option_name, None), str))
    if files:  # a manifest may be anyone's
        options.say(f"rows      of {files}, as {folder / 'manifest.json'} says")
    with remove_split_on_error(folder):
        parts = TrainingJob(task, settings).read()
        part = parts.present().get(name)
        if part is None:
            raise ConfigError(f"{folder}: was trained without {name} rows; give a --data_file")
        if files and task.fingerprint(parts, tokenizer) != manifest.get("data"):
            raise ConfigError(f"{folder}: {files} hold other rows than it was trained with; "
                              "give a --data_file")
    return part


def _check_labels(folder: Path, options: EvaluateOptions) -> dict[str, Any]:
    """Do what `check_labels` does, for rows of a file or those that a run was trained with."""
    trained = classifier_options(folder, options.task)
    if trained is None and options.output_dir is None:
        raise ConfigError(f"output_dir is missing; expected a folder for {SUSPECTS} ({folder} is "
                          "no classifier's run)")
    if trained is not None and options.data_file is None:
        _own_rows(ClassTask(), None, folder, options, "train")  # or an error, if they changed
    return check_labels(folder, output_folder(options.output_dir, folder), options, trained)


def _trained(task: Task, folder: Path) -> Any:
    """Return the options that the model of a folder was trained with."""
    if not (folder / "manifest.json").is_file():
        raise ConfigError(f"{folder}: does not say which rows are its test rows; give a "
                          "--data_file")
    settings = known_settings(task.options, stored_run(folder)[1])
    return task.options(**{**settings, "output_dir": str(folder), "resume": None, "verbosity": 0})


def _dataset(task: Task, predictor: Any, part: Any, folder: Path) -> Any:
    """Return the rows as the model reads them: as in training, where the folder says how."""
    if not (folder / "manifest.json").is_file():
        return task.dataset_for(predictor, part)
    options = _trained(task, folder)
    parts = Parts(part, None, part, "", "", tuple(predictor.config.labels))
    return task.dataset(part, "test", parts, predictor.tokenizer, options)


def _compare(task: Task, options: EvaluateOptions, predictor: Any, part: Any, answers: Any,
             folder: Path) -> dict[str, Any]:
    """Return how another model does on the same rows, and a test of the difference."""
    if not isinstance(predictor, Predictor):
        raise ConfigError("other is compared by McNemar's test, which is for one class a row; "
                          "leave other out")
    second = Predictor.load(str(options.other), options.device, options.download,
                            predictor.processes)
    if second.classes != predictor.classes:
        raise ConfigError(f"{options.other}: has other classes; expected "
                          f"{', '.join(predictor.config.labels)}")
    return {"other": str(options.other),
            **predictor.task.compare(answers, second.logits(part.texts), part.labels)}


def _report(task: Task, output: Path, options: EvaluateOptions, predictor: Any, part: Any,
            answers: Any, results: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Score the rows, write and say what was found, and return it."""
    results.update(task.measure(answers, part, predictor, options))
    results["verdict"] = _verdict(task, folder, options, predictor, part, answers, results)
    text = task.report(output, results, answers, part, predictor, options)
    write_json(output / "evaluation.json", results)
    if can_draw(options.plots, options.say):
        task.present(output, results, answers, part, predictor)
    files = ", ".join(sorted(path.name for path in output.glob("*.*")))
    options.say(f"{text}\n\n{verdict_text(results['verdict'])}\n\nsaved in {output}: {files}")
    return results


def _verdict(task: Task, folder: Path, options: EvaluateOptions, predictor: Any, part: Any,
             answers: Any, scores: dict[str, Any]) -> Verdict:
    """Return the verdict: beside the run's own baselines if these are its rows."""
    setting, baselines = Setting(pretrains=not task.fine_tunes), {}
    width = predictor.model.config.hidden_size
    if (folder / "manifest.json").is_file() and (folder / "results.json").is_file():
        found = read_json(folder / "results.json")
        setting = setting_of(task, _trained(task, folder), width, found.get("steps"),
                             found.get("learning_rate"))
        if options.data_file is None and "test" in found:
            baselines = found.get("baselines") or {}
    return judge(task, scores, baselines or task.constant_baseline(part), setting,
                 task.findings(answers, part, predictor, scores, "rows"), count=len(part))


def find_run(model: str, output_dir: str | None = None) -> str | Path:
    """Return the folder of a model: as given, or under `output_dir`; a file means its folder."""
    places = [Path(model)]
    if output_dir is not None and not Path(model).is_absolute():
        places.append(Path(output_dir) / model)
    for place in places:
        if place.is_file():
            return place.parent
        if place.is_dir():
            return place
    return model  # a name, which the loader looks up
