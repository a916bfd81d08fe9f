"""Several heads on one split: a leaderboard, as table, CSV file and picture."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bert_kit.data import LabelList, column_names, read_table
from bert_kit.errors import BertKitError, ConfigError, UsageError
from bert_kit.evaluation import format_leaderboard, mcnemar, plot_comparison, write_rows
from bert_kit.files import read_json
from bert_kit.jobs.options.declare import (Options, composed, fields_of, given_options, option,
                                           with_defaults)
from bert_kit.jobs.options.groups import RunningOptions, output_folder
from bert_kit.jobs.options.parser import config_value
from bert_kit.jobs.run.build import check_options, more_is_better
from bert_kit.jobs.run.defaults import within_positions
from bert_kit.jobs.run.folder import as_begun, check_folder, lock_folder, share_folder
from bert_kit.jobs.run.job import Results, TrainingJob, can_draw
from bert_kit.jobs.run.verdict import Verdict, check_learned, verdict_text
from bert_kit.jobs.tasks.classes import ClassTask
from bert_kit.jobs.tasks.rows import one_or_two
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import HEAD_OPTIONS, HEADS, TextTask
from bert_kit.jobs.train import check_paths
from bert_kit.training import choose_device, join_processes

if TYPE_CHECKING:
    from typing import Unpack

    from bert_kit.jobs.options.keywords import CompareKeywords

OF_RUNS = ("runs", "task", "metric", "output_dir", "plots", "verbosity")  # with finished runs
_OLD_MARK = re.compile("^'(?=[=+@\t\r-])")  # earlier versions put an apostrophe only
Board = list[dict[str, Any]]


@dataclass(frozen=True)
class CompareOptions(Options):
    """Train several heads on the same rows, or compare runs that are there."""

    title: ClassVar[str] = "comparison"

    classifier: tuple[str, ...] = option(HEADS, "which heads; all by default", "classifiers",
                                         "classifier_types", "classifier_type",
                                         choices=(*HEADS, "custom"))
    runs: tuple[str, ...] | None = option(None, "folders of finished runs to compare, instead of "
                                          "training")


@functools.cache
def compare_options(task: str) -> type[Any]:
    """Return the class of the options of a comparison: its own, and those of a task's training.

    Raises
    ------
    ConfigError
        If the task has no heads.
    """
    trained = task_named(task).options
    if not isinstance(task_named(task), TextTask):
        raise ConfigError(f"task is {task}, which has no heads to compare; expected "
                          "classification, multi_label or regression")
    return composed(f"Compare{trained.__name__}", (CompareOptions, trained), with_defaults(
        {"output_dir": "where everything goes; by default runs/comparison"}))


def options_class(arguments: Sequence[str]) -> type[Options]:
    """Return the class of the options that a command line of `compare` has."""
    return compare_options(str(config_value(arguments, "task") or "classification"))


def train_all_classifiers(model_path: str | Path | None = None,
                          data_path: str | Path | None = None,
                          classifier_types: Sequence[str] = HEADS, data: Any = None,
                          **settings: "Unpack[CompareKeywords]") -> Board:
    """Train several heads on the same rows and return the leaderboard, best first.

    Parameters
    ----------
    model_path, data_path, data, **settings
        As in `train_classifier`; an option of one head does not concern the others.
    classifier_types
        Which heads; all seven by default.

    Returns
    -------
    list of dict
        A row for each head, and for each baseline; see `leaderboard`. leaderboard.csv,
        comparison.png and a folder for each head are left in `output_dir`.
    """
    heads = tuple(classifier_types)  # all, if settings do not say
    named = heads != HEADS or not {"classifier", "classifiers"} & settings.keys()
    given = given_options(settings, model=model_path, data_file=data_path,
                          classifiers=heads if named else None)
    kind = compare_options(settings.get("task", "classification"))
    check_paths(given)
    options = kind.from_names(given)
    return run(options if data is None else options.replace(data=data))


def run(options: Any) -> Board:
    """Do the whole job; see `train_all_classifiers` and `compare_runs`."""
    if options.runs:
        plain = type(options)()
        for field in fields_of(type(options)):
            if field.name not in OF_RUNS and getattr(options, field.name) != getattr(
                    plain, field.name):
                raise UsageError(f"{field.name} changes nothing in a comparison of runs that are "
                                 "there; leave it out, or runs")
        metric = None if options.metric == options.METRICS[0] else options.metric
        return compare_runs(options.runs, options.output_dir, metric, options.plots,
                            options.verbosity)
    output_folder(options)
    with join_processes(choose_device(options.device)) as processes:
        options = share_folder(options, "comparison", processes)
        with lock_folder(processes, options.output_dir):
            task = task_named(options.task)
            options = within_positions(task, options.replace(
                plots=can_draw(options.plots, options.say)))
            jobs = _jobs(options)
            processes.from_first(lambda: _check(options, jobs))
            results: list[Results] = []
            for job in jobs:
                options.say(f"\n== {job.classifier} ({len(results) + 1} of {len(jobs)})")
                # The baselines are the same for all: the first job scores them.
                known = results[0]["baselines"] if results else None
                results.append(TrainingJob(task, job.replace(strict=False), to_beat=known).run())
            if options.fast_dev_run:
                return []
            rows = processes.from_first(lambda: _conclude(results, options, options.metric))
            check_learned(_verdict_on(rows, results), options.strict, options.output_dir)
            return rows


def _jobs(options: Any) -> list[Any]:
    """Return the options of the training of each head."""
    kind: Any = task_named(options.task).options
    one = kind(**{field.name: getattr(options, field.name) for field in fields_of(kind)
                  if field.name != "classifier"}, data=options.data)
    heads = dict.fromkeys("mlp" if head == "custom" else head for head in options.classifier)
    jobs = [one.with_head(head).replace(output_dir=str(Path(options.output_dir) / head))
            for head in heads]
    # Heads that have not begun train as those that have, whichever version began them.
    begun = next((job for job in jobs if Path(job.output_dir, "manifest.json").is_file()), None)
    changed = {} if begun is None else {
        name: value for name, value in vars(as_begun(begun)).items()
        if value != getattr(begun, name)}
    return [job.replace(**changed) for job in jobs]


def _check(options: Any, jobs: list[Any]) -> None:
    """Find before any training what would end a comparison half-way."""
    task = task_named(options.task)
    for name in HEAD_OPTIONS:
        if getattr(options, name) is not None and all(
                getattr(job, name) is None for job in jobs):
            raise ConfigError(f"{name} is not an option of any of the heads "
                              f"{', '.join(job.classifier for job in jobs)}")
    for job in jobs:
        check_options(task, job)
        if not options.fast_dev_run:
            check_folder(job)
    if TrainingJob(task, options.replace(output_dir=None)).read().test is None:
        raise ConfigError("a comparison needs test rows; give a test_size above 0 or a test_file")


def compare_runs(folders: Sequence[str | Path], output_dir: str | Path,
                 metric: str | None = None, plots: bool = True, verbosity: int = 1) -> Board:
    """Compare finished runs by the results that they left, without training anything.

    Parameters
    ----------
    folders
        Output folders of `train`, scored on the same test rows.
    output_dir
        Where leaderboard.csv and comparison.png go.
    metric
        What decides the order; by default that of the task.
    """
    results: list[Results] = []
    for folder in folders:
        path = Path(folder) / "results.json"
        if not path.is_file():
            raise ConfigError(f"{folder}: holds no results.json; expected a finished run")
        results.append({**read_json(path), "output_dir": str(folder)})
    names = [str(result.get("classifier")) for result in results]
    if len(set(names)) < len(names):  # several runs of one head: the folders tell them apart
        results = [{**result, "classifier": Path(result["output_dir"]).name}
                   for result in results]
    options = RunningOptions(output_dir=str(output_dir), plots=plots,
                             verbosity=verbosity).in_folder("comparison")
    try:
        return _conclude(results, options, metric or _task_of(results).metrics[0])
    except BertKitError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{', '.join(map(str, folders))}: a results.json that is not of a "
                          f"classifier with the score {metric or 'of its task'} ({error!r})"
                          ) from None


def _task_of(results: Sequence[Results]) -> TextTask:
    """Return the task that some runs share."""
    names = [str(result.get("task", "classification")) for result in results]
    for name, result in zip(names, results, strict=True):
        if name != names[0]:
            raise ConfigError(f"{result['output_dir']}: is a run of the task {name}, but "
                              f"{results[0]['output_dir']} of {names[0]}; expected one task")
    task = task_named(names[0])
    if not isinstance(task, TextTask):
        raise ConfigError(f"{results[0]['output_dir']}: is a run of the task {task.name}, which "
                          "has no heads to compare; see its results.json")
    return task


def _conclude(results: Sequence[Results], options: RunningOptions, metric: str) -> Board:
    rows, folder = leaderboard(results, metric), output_folder(options)
    order = metric if rows[0]["validation"] is None else "validation"
    write_rows(folder / "leaderboard.csv", rows)
    options.say(f"\n{format_leaderboard(rows, order, not more_is_better(metric))}")
    trained = [row for row in rows if row["seconds"] is not None]
    first = [row["classifier"] for row in trained if row[order] == rows[0][order]]
    if len(first) > 1:
        options.say(f"\n{', '.join(first)} have the same {order} score, so they stand by name")
    verdict = _verdict_on(rows, results)
    if verdict is not None:
        options.say(f"\n{rows[0]['classifier']}, which stands first\n{verdict_text(verdict)}")
    scores = {key: name for key, name, *_ in _task_of(results).columns if more_is_better(key)}
    if can_draw(options.plots, options.say):
        plot_comparison(rows, folder / "comparison.png", scores)
    options.say(f"\nsaved in {folder}: leaderboard.csv")
    return rows


def _verdict_on(rows: Board, results: Sequence[Results]) -> Verdict | None:
    """Return the verdict on the head that stands first."""
    return next((result.get("verdict") for result in results
                 if result["classifier"] == rows[0]["classifier"]), None)


def leaderboard(results: Sequence[Results], metric: str = "f1_macro") -> Board:
    """Return one row a run, best first, and one for each baseline.

    Parameters
    ----------
    results
        As `train_classifier` returns them, with an `output_dir`; all of one task.
    metric
        What decides the order: on the validation rows where every run has them, so that the
        test rows choose nothing; else on the test rows.

    Returns
    -------
    list of dict
        `classifier`, `validation` (the metric there), the scores of the task's table and the
        metric; with classes `accuracy_low` and `accuracy_high` (95% interval) and
        `p_against_best` (exact McNemar test of the same rows against the first); `seconds` of
        training, `peak_memory_mb`, `parameters`.
    """
    task = _task_of(results)
    if any("test" not in result for result in results):
        raise ConfigError("a comparison needs test rows; give a test_size above 0 or a test_file")
    sign = -1 if more_is_better(metric) else 1  # ties go by name
    part = "validation" if all(result.get("validation") for result in results) else "test"
    results = sorted(results, key=lambda result: (sign * result[part][metric],
                                                  result["classifier"]))
    columns = dict.fromkeys([*(key for key, *_ in task.columns), metric])
    files = [_test_rows(result["output_dir"]) for result in results]
    rows: Board = []
    for result, (test, predictions) in zip(results, files, strict=True):
        if test != files[0][0]:
            raise ConfigError(f"{result['output_dir']}: was scored on other test rows than "
                              f"{results[0]['output_dir']}; expected the same")
        row = {"classifier": result["classifier"],
               "validation": (result.get("validation") or {}).get(metric),
               **{key: result["test"][key] for key in columns}}
        if isinstance(task, ClassTask):
            interval = result["test"]["intervals"]["accuracy"]
            row |= {"accuracy_low": interval["low"], "accuracy_high": interval["high"],
                    "p_against_best": _p_value(files[0][1], predictions,
                                               [label for *_, label in test])}
        rows.append({**row, **{key: result[key] for key in (
            "seconds", "peak_memory_mb", "parameters")}})
    baselines = {name: scores for result in results
                 for name, scores in result["baselines"].items()}
    for name, scores in baselines.items():
        known = {key: value for key, value in scores.items() if key in rows[0]}
        rows.append({**dict.fromkeys(rows[0]), "classifier": name, **known})
    return rows


def _test_rows(folder: str | Path) -> tuple[list[tuple[Any, str]], list[str]]:
    """Return a run's test rows, each its text and its label, and the predictions for them."""
    path = Path(folder) / "test_predictions.csv"
    try:
        names = column_names(path)
        *texts, label = names[:names.index("prediction")]
        tables = [read_table(path, one_or_two(tuple(texts)),
                             LabelList(name) if label == "labels" else name)
                  for name in (label, "prediction")]
        texts, labels, told = map(_unmarked, (tables[0].texts, tables[0].labels, tables[1].labels))
        return [*zip(texts, labels, strict=True)], told
    except ValueError as error:  # a BertKitError too
        raise ConfigError(f"{path}: is not what train leaves ({error})") from None


def _unmarked(cells: Any) -> Any:
    """Return cells, or tuples of them, without the mark that older versions put before formulas."""
    if isinstance(cells, str):
        return _OLD_MARK.sub("", cells)
    return type(cells)(map(_unmarked, cells))


def _p_value(best: list[str], other: list[str], labels: list[str]) -> float:
    """Return that of the McNemar test of predictions of the same rows."""
    number = {name: i for i, name in enumerate(sorted({*best, *other, *labels}))}
    return mcnemar(*([number[name] for name in names] for names in (best, other, labels))
                   )["p_value"]
