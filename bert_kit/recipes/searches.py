"""The ways to search: whole trials, trials that the best of are trained on, and a population.

Each takes a Search and returns the best configuration that it found.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from bert_kit.recipes.best_configs import best_config
from bert_kit.recipes.population import BertStep
from bert_kit.recipes.prediction import choose_device
from bert_kit.recipes.search_log import SearchLog
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.recipes.trials import Objective, adaptive_patience, trial_settings
from bert_kit.recipes.tuning_settings import TuningSettings
from bert_kit.tuner import (PBT, TPE, Grid, Hyperband, KeepTop, Median, Percentile, Population,
                            Random, Study, SuccessiveHalving, write_lineage, write_report)

DRAWS = {"tpe": TPE, "random": Random, "grid": Grid}
PRUNERS = {"median": Median(), "percentile": Percentile(0.25), "none": None}  # a quarter goes on


@dataclass(frozen=True)
class Search:
    """A search that may begin: its settings, space and folder, and what every trial trains with."""

    settings: TuningSettings
    space: object
    folder: Path
    base: ClassificationSettings

    @property
    def names(self):
        """What is tuned."""
        return [parameter.name for parameter in self.space.parameters]

    @property
    def direction(self):
        """Which scores are better, for the tuner."""
        return "minimize" if self.settings.metric == "loss" else "maximize"

    def study(self, sampler=None, pruner=None):
        """Return the Study, begun or gone on with."""
        settings = self.settings
        return Study(settings.study_name or settings.classifier, self.space, self.folder,
                     self.direction, sampler=sampler, pruner=pruner, seed=settings.seed,
                     resume=settings.resume is not None)

    def config(self, settings, trial):
        """Return the best configuration of a trial with these settings."""
        return best_config(settings, trial.params, trial.value, trial=trial.number,
                           state=trial.state)


@contextlib.contextmanager
def workers(settings):
    """Give the options of parallel trials: as many processes as jobs, or this one."""
    if settings.jobs == 1:
        yield {}
        return
    gpus = torch.cuda.device_count() if choose_device(settings.device).type == "cuda" else 0
    with ProcessPoolExecutor(settings.jobs, multiprocessing.get_context("spawn"),
                             _end_with_the_search) as executor:
        yield {"executor": executor,
               "devices": tuple(f"cuda:{i % gpus}" for i in range(settings.jobs)) if gpus else ()}


def _end_with_the_search():
    """Let a worker process end when the one that began it is gone, for instance killed."""
    parent = multiprocessing.parent_process()

    def watch():
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _search_by_trials(search, pool):
    """Train whole trials, one set of parameters each."""
    settings = search.settings
    objective = Objective(search.base, settings.folds, settings.adaptive_stopping,
                          keep=settings.keep_top > 0)
    with closing(search.study(DRAWS[settings.sampler](), PRUNERS[settings.pruner])) as study:
        over = sum(trial.over for trial in study.trials)
        study.optimize(objective, max(0, settings.n_trials - over), settings.timeout,
                       in_flight=settings.jobs, **pool,
                       callbacks=[SearchLog(settings), KeepTop(settings.keep_top)])
        trial = study.best
    best = trial_settings(search.base, trial.params)
    if settings.adaptive_stopping:
        best = adaptive_patience(best, trial.number)
    return search.config(best, trial)


@dataclass(frozen=True)
class SameSeed:
    """The step of halving and Hyperband: trials differ in nothing but their parameters."""

    step: BertStep

    def __call__(self, leg):
        return self.step(leg.replace(seed=self.step.settings.seed))


def _search_by_legs(search, pool):
    """Train many a little, and go on with the best of them."""
    settings = search.settings
    epochs = search.base.num_train_epochs
    plan = (Hyperband(epochs) if settings.sampler == "hyperband"
            else SuccessiveHalving(settings.n_trials, 1, epochs))
    base = search.base.replace(load_best_model_at_end=False)  # a score is that of the last epoch
    with closing(search.study()) as study:
        over = sum(trial.over for trial in study.trials)
        if over < plan.configurations:  # a resumed search may have nothing left to do
            study.halve(SameSeed(BertStep(base)), plan, callbacks=[SearchLog(settings)], **pool)
        trial = study.best
    return search.config(trial_settings(base, trial.params), trial)


def _search_by_population(search, pool):
    """Change the parameters while a population trains."""
    settings, base = search.settings, search.base.replace(load_best_model_at_end=False)
    pbt = PBT(search.space, population=settings.population, seed=settings.seed,
              direction=search.direction)
    step = BertStep(base)
    result = pbt.run(step, generations=base.num_train_epochs, path=search.folder,
                     resume=settings.resume is not None, callbacks=[SearchLog(settings)], **pool)
    best = result.best
    step.save_model(best.checkpoint, search.folder / "best_model")
    return best_config(trial_settings(base, best.params), best.params, best.score,
                       schedule=result.schedule(best))


def draw_report(search):
    """Draw what a search has found on one page in its folder, and return the page's path."""
    path = search.folder / "report.html"
    if search.settings.sampler == "pbt":
        write_lineage(Population.load(search.folder), path)
        return path
    again = dataclasses.replace(search, settings=search.settings.replace(resume="auto"))
    with closing(again.study()) as study:
        write_report(study, path)
    return path


SEARCHES = {"tpe": _search_by_trials, "random": _search_by_trials, "grid": _search_by_trials,
            "halving": _search_by_legs, "hyperband": _search_by_legs, "pbt": _search_by_population}
