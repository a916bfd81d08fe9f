"""Searching the hyperparameters of a task, from files to its best configuration.

The rows are split once, every trial is scored on the validation rows, and the test rows are scored
once, at the end, by the model of the best trial. `run` is the job; `tune_classifier` searches for
one head, `tune_all_classifiers` for several.
"""

import contextlib
import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_kit.errors import ConfigError, DataError, UsageError
from bert_kit.evaluation import Finding, format_leaderboard
from bert_kit.figures import require_plots
from bert_kit.files import held, numbered_folder, read_json, remove_folder
from bert_kit.jobs.options.declare import Options, fields_of, given_options
from bert_kit.jobs.options.parser import config_value
from bert_kit.jobs.run.build import check_options, more_is_better
from bert_kit.jobs.run.defaults import (default_length, dropout_note, explicit_rates,
                                        planned_epochs, starting_config, usual_epochs)
from bert_kit.jobs.run.folder import (as_begun, check_kept, check_place, check_same_run,
                                      open_folder, quoted, remove_split_on_error, stored_run)
from bert_kit.jobs.run.job import Rows, TrainingJob
from bert_kit.jobs.run.task import Scores, Task
from bert_kit.jobs.run.verdict import Verdict, check_learned, judge, setting_of, verdict_text
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import HEADS, TextTask
from bert_kit.jobs.run.best_configs import Config, best_config, load_best_config, write_best_config
from bert_kit.jobs.tuning.legs import BertStep, SameSeed
from bert_kit.jobs.tuning.options import BY_LEGS, BY_TRIALS, search_options
from bert_kit.jobs.tuning.spaces import search_space
from bert_kit.jobs.tuning.trial import Objective, adaptive_patience, tokenized_rows, trial_options
from bert_kit.jobs.tuning.workers import threads_of_a_trial, workers
from bert_kit.training import best_precision, choose_device
from bert_kit.tuner import (PBT, TPE, Grid, Hyperband, KeepTop, LoggingCallback, Median,
                            Percentile, Population, Random, SearchSpace, Study, SuccessiveHalving,
                            Trial, parameters_text, write_lineage, write_report)

if TYPE_CHECKING:
    from typing import Unpack

    from bert_kit.jobs.options.keywords import SearchKeywords

DRAWS = {"tpe": TPE, "random": Random, "grid": Grid}
CUTS = {"median": Median(), "percentile": Percentile(0.25), "none": None}  # a quarter goes on
# What the machine and the number of jobs decide when a search begins. It keeps them when it goes
# on elsewhere or with other jobs: scores that were rounded otherwise would not compare.
CHOSEN = ("precision", "threads")
MOST_LEGS = 10  # times the usual epochs, where few rows make few steps: each leg takes its time too
# A search that goes on would compare trials that were trained otherwise.
FIXED = ("device", "early_stopping", "min_delta", "min_epochs", "smoothing_window",
         "trend_window", "regression")


def options_class(arguments: Sequence[str]) -> type[Options]:
    """Return the class of the options that a command line of `tune` has."""
    return search_options(str(config_value(arguments, "task") or "classification"))


def tune_classifier(classifier_type: str | None = None, model_path: str | Path | None = None,
                    data_path: str | Path | None = None,
                    space: SearchSpace | Mapping[str, Any] | None = None,
                    **settings: "Unpack[SearchKeywords]") -> dict[str, Any]:
    """Search the hyperparameters of one head and return the best.

    Parameters
    ----------
    classifier_type
        The head: standard, custom (mlp), bilstm, attention, cnn, fourier_kan or wavelet_kan.
    model_path
        Folder or name of a BERT to start from.
    data_path
        File or folder with labelled texts; without it the docstring task.
    space
        What to try, by names that are options of training; by default that of the head.
    **settings
        Options of a search, under any of their spellings; for instance `n_trials`,
        `num_epochs`, `metric_for_best_model`, `save_dir`, `sampler`, `jobs`; `task` may be any.
        What is set is not searched for.

    Returns
    -------
    dict
        The best parameters, as `train_classifier` takes them. `load_best_config` has them too,
        and their score.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    options = _options(given_options(settings, classifier=classifier_type, model=model_path,
                                     data_file=data_path))
    return find_best(options, space)["best_params"]


def tune_all_classifiers(model_path: str | Path | None = None,
                         data_path: str | Path | None = None,
                         classifier_types: Sequence[str] = HEADS,
                         **settings: "Unpack[SearchKeywords]") -> dict[str, Config]:
    """Search the hyperparameters of several heads and return {head: best configuration}.

    Parameters
    ----------
    model_path, data_path, **settings
        As in `tune_classifier`; an option of one head does not concern the others.
    classifier_types
        Which heads; all seven by default.

    Returns
    -------
    dict
        For each head what `load_best_config` returns. best_overall_classifier.json has the best.
    """
    heads = None if "classifiers" in settings and tuple(classifier_types) == HEADS else tuple(
        classifier_types)
    return run(_options(given_options(settings, model=model_path, data_file=data_path,
                                      classifiers=heads)))


def _options(settings: Mapping[str, Any]) -> Any:
    kind = search_options(settings.get("task", "classification"))
    return kind.from_names(given_options(**settings))


def run(options: Any) -> Any:
    """Do the whole job; return the best configuration, or {head: configuration} of several."""
    heads = HEADS if getattr(options, "all", False) else getattr(options, "classifiers", None)
    return run_all(options, heads) if heads else find_best(options)


def run_all(options: Any, classifier_types: Sequence[str]) -> dict[str, Config]:
    """Search for several heads; see `tune_all_classifiers`."""
    heads = dict.fromkeys("mlp" if head == "custom" else head for head in classifier_types)
    one = options.replace(all=False, classifiers=None)
    jobs = [one.with_head(head) for head in heads]
    if options.study_name is not None:
        jobs = [job.replace(study_name=f"{options.study_name}-{job.classifier}") for job in jobs]
    for job in jobs:
        prepare(job)  # what is wrong with any is found before the first begins
    configs = {}
    for number, job in enumerate(jobs, 1):
        options.say(f"\n== {job.classifier} ({number} of {len(jobs)})")
        configs[job.classifier] = find_best(job.replace(strict=False))
    shown = [column[0] for column in task_named(options.task).columns[:2]]
    rows = [{"classifier": head, options.metric: config["best_value"],
             **{f"test {name}": (config.get("test_results") or {}).get(name) for name in shown}}
            for head, config in configs.items()]
    table = format_leaderboard(rows, options.metric, not more_is_better(options.metric))
    options.say(f"\n{table}")
    if not any(config["verdict"]["learned"] for config in configs.values()):
        check_learned(next(iter(configs.values()))["verdict"], options.strict, options.output_dir)
    return configs


@dataclass(frozen=True)
class Search:
    """A search that may begin, or has.

    Attributes
    ----------
    options
        Of the search.
    base
        What every trial trains with: options of the task.
    metric
        The name of the scores; with what is left open, the rows decide it.
    classes
        Of the rows, once they have been read.
    """

    task: Task
    options: Any
    space: SearchSpace
    folder: Path
    base: Any
    metric: str
    classes: tuple[str, ...] = ()

    @property
    def direction(self) -> str:
        """Which scores are better, for the tuner."""
        return "maximize" if more_is_better(self.metric) else "minimize"

    @property
    def name(self) -> str:
        """The name of the head, or of the task if it has none."""
        return getattr(self.base, "classifier", self.task.name)

    def study(self, sampler: Any = None, pruner: Any = None, resume: bool = False) -> Study:
        """Return the Study, begun or gone on with."""
        options = self.options
        return Study(options.study_name or self.task.folder_name(self.base), self.space,
                     self.folder, directions={self.metric: self.direction}, sampler=sampler,
                     pruner=pruner, seed=options.seed,
                     resume=resume or options.resume is not None)

    def log(self) -> LoggingCallback:
        """Return what says how the search goes on."""
        return LoggingCallback(self.metric, self.options.say)

    def config(self, options: Any, trial: Trial) -> Config:
        """Return the best configuration of a trial with these options."""
        scores = {key: trial.notes[key] for key, *_ in self.task.columns if key in trial.notes}
        options = explicit_rates(self.task, options, self.classes)
        return best_config(options, self.metric, trial.params, trial.value, trial=trial.number,
                           state=trial.state, scores=scores,
                           learned=trial.notes.get("learned", True))


def find_best(options: Any, space: SearchSpace | Mapping[str, Any] | None = None) -> Config:
    """Do a search and return the best configuration.

    Parameters
    ----------
    space
        What to try, by names that are options of training; by default that of the task.
    """
    search = prepare(options, space)
    with workers(options) as pool:  # or an error, before anything is written
        rows, fingerprint = read_rows(search)
        search = _with_rows(search, rows)
        options.say(f"data      {rows.parts.description}\nsearch    {options.sampler} over "
                    f"{', '.join(parameter.name for parameter in search.space.parameters)}, in "
                    f"{search.folder}\ntraining  {search.base.precision}, threads "
                    f"{search.base.threads}, jobs {_jobs(pool)}")
        note = dropout_note(search.task, search.base)
        if note is not None:
            options.say(note)
        config = SEARCHES[options.sampler](search, pool)
    config = {**config, "study": str(search.folder), "sampler": options.sampler,
              "folds": options.folds, "data": fingerprint}
    options.say(f"\nbest      {search.metric} {config['best_value']:.4f} with "
                f"{parameters_text(config['best_params'])}")
    if config.get("state") == "pruned":
        options.say("          no trial was finished: this one was ended early")
    config["verdict"] = _verdict(search, rows, config)
    options.say(verdict_text(config["verdict"]))
    with held(search.folder, wait=True):  # one that shares the search waits, and finds it done
        before = load_best_config(search.name, options.output_dir)
        path = write_best_config(options.output_dir, search.name, config)
        if options.train_best:
            config["test_results"] = _test_results(search, config, before)
            write_best_config(options.output_dir, search.name, config)
    if options.report:
        options.say(f"report    {draw_report(search)}")
    check_kept(search.folder)
    again = (f": best_model; its schedule is in {path}" if "schedule" in config else
             f"; train again with: python -m bert_kit {search.task.job} --config {quoted(path)}")
    options.say(f"saved in {search.folder}{again}")
    check_learned(config["verdict"], options.strict, search.folder)
    return config


def _with_rows(search: Search, rows: Rows) -> Search:
    """Return a search with what its rows decide: the metric, and the epochs of legs."""
    options, base = search.options, search.base
    search = dataclasses.replace(search, metric=search.task.metric(base, rows.parts),
                                 classes=rows.parts.classes)
    if options.sampler in BY_LEGS:  # they count in epochs, which then are the same for all
        usual = usual_epochs(search.task, base)
        steps = math.ceil(len(rows.datasets["train"])
                          / (base.batch_size * base.gradient_accumulation_steps))
        epochs = min(planned_epochs(search.task, base, steps, rows.parts.classes),
                     MOST_LEGS * usual)
        search = dataclasses.replace(search, base=base.replace(
            num_train_epochs=epochs, min_steps=None))
        if epochs > usual:
            options.say(f"epochs    {epochs}, of {steps} steps each: fewer teach nothing "
                        "(--num_train_epochs)")
    return search


def _jobs(pool: dict[str, Any]) -> int:
    """Return how many trials run at a time."""
    return max(1, len(pool.get("devices", ())))


def _verdict(search: Search, rows: Rows, config: Config) -> Verdict:
    """Return the verdict on the best configuration, by the validation rows that chose it."""
    task, options = search.task, search.options
    found: list[dict[str, Scores]] = []
    count = 0
    for each in tokenized_rows(search.base, options.folds) if options.folds else [rows]:
        held_out: Any = each.parts.validation
        count += len(held_out)
        found.append(task.constant_baseline(held_out))
        if options.baselines and isinstance(task, TextTask):
            with contextlib.suppress(DataError):  # texts without words, for instance
                found[-1] = dict(task.text_baselines(each.parts, held_out))
    baselines = {name: {key: statistics.fmean(one.get(name, {}).get(key, math.nan) for one in found)
                        for key, value in scores.items() if isinstance(value, float)}
                 for name, scores in found[0].items()}
    findings = []
    if not config.get("learned", True):
        findings = [Finding("one_answer", "every validation row is given the same answer", True,
                            ("weights", "rate", "steps", "labels"))]
    rate = config["settings"].get("learning_rate")
    width = starting_config(task, search.base).hidden_size
    return judge(task, {**config.get("scores", {}), search.metric: config["best_value"]}, baselines,
                 setting_of(task, search.base, width, None,
                            rate if isinstance(rate, float) else None),
                 findings, keys=[search.metric, *(key for key, *_ in task.columns)], count=count)


def prepare(options: Any, space: SearchSpace | Mapping[str, Any] | None = None) -> Search:
    """Check everything that can be checked without the rows, and return the Search."""
    task = task_named(options.task)
    if options.report:
        require_plots()
    if options.folds and not isinstance(task, TextTask):
        raise UsageError(f"folds is {options.folds}, but {task.name} has no labelled texts to cut "
                         "into folds; leave it out")
    parent, study = options.output_dir, options.study_name
    folder = (Path(parent, study) if study is not None else numbered_folder(
        parent, task.folder_name(options), options.resume is not None))
    begun: dict[str, Any] = {}
    options = as_begun(options, folder)
    before = (folder / "manifest.json").is_file() and "min_steps" not in stored_run(folder)[1]
    space = search_space(task, options, space, before)
    if (folder / "manifest.json").is_file():
        check_same_run(folder, options, FIXED, job="tune")
        begun = read_json(folder / "manifest.json").get("chosen", {})
    given = {field.name: getattr(options, field.name) for field in fields_of(task.options)}
    base: Any = task.options(**{
        **{name: value for name, value in given.items() if value is not None},
        "output_dir": str(folder), "resume": None, "max_length": default_length(task, options),
        "precision": options.precision or best_precision(choose_device(options.device)),
        "threads": options.threads or threads_of_a_trial(options), **begun})
    middle = space.from_row(np.full(len(space.parameters), 0.5))
    check_options(task, trial_options(base, middle), any_rate=options.learning_rate is None)
    if options.sampler in BY_LEGS:
        BertStep(base)  # or an error for what has no meaning there
    epochs = usual_epochs(task, base)
    if options.sampler == "hyperband" and epochs < 3:
        raise ConfigError(f"hyperband chooses between 3 epochs or more; num_train_epochs is "
                          f"{epochs}")
    check_place(folder)
    search = Search(task, options, space, folder, base, task.metric(base, None))
    if options.sampler == "pbt":
        population_of(search)  # or an error
    return search


def read_rows(search: Search) -> tuple[Rows, str]:
    """Return the Rows of a search and their fingerprint; its folder then holds a manifest."""
    with remove_split_on_error(search.folder):
        rows = tokenized_rows(search.base, search.options.folds)[0]
    fingerprint = search.task.fingerprint(rows.parts, rows.tokenizer)
    open_folder(search.options, "tune", search.task.made_of(search.base, fingerprint,
                                                            rows.tokenizer),
                search.folder, "manifest.json", rows.parts.bad_rows,
                chosen={name: getattr(search.base, name) for name in CHOSEN})
    return rows, fingerprint


def _search_by_trials(search: Search, pool: dict[str, Any]) -> Config:
    """Train whole trials, one set of parameters each."""
    options = search.options
    objective = Objective(search.base, options.folds, options.adaptive_stopping,
                          keep=options.keep_top > 0)
    with closing(search.study(DRAWS[options.sampler](), CUTS[options.pruner])) as study:
        over = sum(trial.over for trial in study.trials)
        study.optimize(objective, max(0, options.n_trials - over), options.timeout,
                       in_flight=_jobs(pool), **pool,
                       callbacks=[search.log(), KeepTop(options.keep_top)])
        trial = best_trial(study)
    best = trial_options(search.base, trial.params)
    if options.adaptive_stopping:
        best = adaptive_patience(best, trial.number)
    return search.config(best, trial)


def best_trial(study: Study) -> Trial:
    """Return the best trial of a study; of equals the first that learned, if any did."""
    best = study.best
    return next((trial for trial in study.trials if trial.state == best.state
                 and trial.value == best.value and trial.notes.get("learned", True)), best)


def _search_by_legs(search: Search, pool: dict[str, Any]) -> Config:
    """Train many a little, and go on with the best of them."""
    options, epochs = search.options, search.base.num_train_epochs
    plan: Any = (Hyperband(epochs) if options.sampler == "hyperband"
                 else SuccessiveHalving(options.n_trials, 1, epochs))
    base = search.base.replace(load_best_model_at_end=False)  # a score is that of the last epoch
    with closing(search.study()) as study:
        over = sum(trial.over for trial in study.trials)
        if over < plan.configurations:  # a resumed search may have nothing left to do
            study.halve(SameSeed(BertStep(base)), plan, callbacks=[search.log()], **pool)
        trial = study.best
    return search.config(trial_options(base, trial.params), trial)


def population_of(search: Search) -> PBT:
    """Return the PBT of a search; ConfigError for a setting that cannot be."""
    options = search.options
    return PBT(search.space, population=options.population, quantile=options.quantile,
               exploit=options.exploit, factors=options.factors, seed=options.seed,
               direction=search.direction)


def _search_by_population(search: Search, pool: dict[str, Any]) -> Config:
    """Change the parameters while a population trains."""
    options, base = search.options, search.base.replace(load_best_model_at_end=False)
    pbt = population_of(search)
    step = BertStep(base)
    result = pbt.run(step, generations=base.num_train_epochs, path=search.folder,
                     resume=options.resume is not None, callbacks=[search.log()], **pool)
    best: Any = result.best
    step.save_model(best.checkpoint, search.folder / "best_model")
    return best_config(trial_options(base, best.params), search.metric, best.params, best.score,
                       schedule=result.schedule(best))


SEARCHES: dict[str, Callable[[Search, dict[str, Any]], Config]] = {
    **dict.fromkeys(BY_TRIALS, _search_by_trials), "halving": _search_by_legs,
    "hyperband": _search_by_legs, "pbt": _search_by_population}


def draw_report(search: Search) -> Path:
    """Draw what a search has found on one page in its folder, and return the page's path."""
    path = search.folder / "report.html"
    if search.options.sampler == "pbt":
        write_lineage(Population.load(search.folder), path, search.metric)
        return path
    with closing(search.study(resume=True)) as study:
        write_report(study, path)
    return path


def _test_results(search: Search, config: Config, before: Config | None) -> Scores | None:
    """Return the scores of the best model on the test rows; None where there are none.

    The best configuration is trained once more, as `train --config` does, unless an earlier part
    of a resumed search has done so. The model of a population is there already.
    """
    options, task, folder = search.options, search.task, search.folder / "best_model"
    same = before is not None and all(before.get(key) == config[key] for key in (
        "study", "best_params", "best_value"))
    if before is not None and same and "test_results" in before and (
            folder / "results.json").is_file():
        return before["test_results"]
    if options.sampler == "pbt":
        return read_json(folder / "results.json").get("test")
    if folder.exists():
        remove_folder(folder)
    options.say("\nthe best once more, and on the test rows")
    results = TrainingJob(task, task.options(**{
        **config["settings"], "output_dir": str(folder), "verbosity": options.verbosity,
        "strict": False})).run()
    value = results.get("validation", {}).get(search.metric)
    if not options.folds and value != config["best_value"]:
        options.say(f"trained again it has {search.metric} {value:.4f} on the validation rows: "
                    "not the trial's; another machine or number of threads rounds otherwise")
    return results.get("test")
