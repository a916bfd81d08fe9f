"""Active learning from files to curves: which labels does a classifier need, and how many?

`learn_actively` runs a campaign of each method for each seed on one pool of texts, tokenized once,
and compares them; with a person instead of known labels it is one campaign that waits for answers.

    manifest.json, split.json       as of any run
    beal-seed-0/ …                  one folder a campaign, see `bert_kit.active.campaign`
    all-data-seed-0/                the same with every label, which is the goal
    curves.csv, results.json        what they say together; learning_curves_<score>.png
"""

import functools
import json
import math
import time
from pathlib import Path

from bert_kit.active import ACQUISITIONS, ActiveLearner, LabelFile, run_campaign, simulated
from bert_kit.errors import ConfigError
from bert_kit.evaluation import guard_formula
from bert_kit.files import (atomic_file, atomic_folder, file_name, read_json, remove_leftovers,
                            write_json)
from bert_kit.recipes.active_report import report
from bert_kit.recipes.active_rows import ActiveRows
from bert_kit.recipes.active_settings import PRESETS, ActiveSettings
from bert_kit.recipes.class_task import joined
from bert_kit.recipes.fine_tuning import check_settings, within_positions
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.prediction import choose_device
from bert_kit.recipes.run_folder import check_same, kept_to, manifest, no_split_of_a_failed_start
from bert_kit.recipes.settings import LABEL_COLUMNS
from bert_kit.training import ALONE, best_precision


def learn_actively(data_path=None, model_path=None, acquisitions=ACQUISITIONS, **settings):
    """Run campaigns of active learning and return their results, which results.json holds too.

    Parameters
    ----------
    data_path : path, optional
        File or folder with labelled texts; without it the docstring task.
    model_path : path, optional
        Folder or name of a BERT, from which each round starts.
    acquisitions : dict
        {name: `choose(pool, count, rng) -> positions`}: the methods there are. Add your own.
    **settings
        Fields of ActiveSettings, under any of their spellings; for instance `acquisition`,
        `preset`, `rounds`, `seeds`, `oracle`.

    Returns
    -------
    dict
        `campaigns` (by name and seed: `labels`, scores and why it `ended`), `all_data`, `share`
        (of the labels needed, by score, method and goal) and `differences` (of pairs of methods).

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = {"data_file": data_path, "model": model_path}
    return run(make_settings(ActiveSettings, given, settings), acquisitions)


def run(settings, acquisitions=ACQUISITIONS):
    """Do the whole job for ActiveSettings; see `learn_actively`."""
    settings = settings.in_folder("active")
    for name in settings.acquisition:
        if name not in acquisitions:
            raise ConfigError(f"acquisition names {name!r}; expected {', '.join(acquisitions)}")
    device, folder = choose_device(settings.device), Path(settings.output_dir)
    precision = settings.precision or best_precision(device)
    settings = settings.replace(precision=precision,
                                pass_precision=settings.pass_precision or best_precision(device))
    settings = within_positions(settings, PRESETS[settings.preset]["max_length"])
    check_settings(settings)
    with kept_to(ALONE, folder):
        return _run(settings, acquisitions, device, folder)


def _run(settings, acquisitions, device, folder):
    _check_folder(folder, settings)
    with no_split_of_a_failed_start(folder):
        rows = ActiveRows(settings, device)
        settings.say(f"data      {rows.description}")
        begun = (folder / "manifest.json").is_file()
        if not begun and not rows.known and settings.initial >= len(rows.texts):
            raise ConfigError(f"initial is {settings.initial}; the pool has {len(rows.texts)} "
                              "rows, so none would be left to choose from; expected fewer")
        _open_folder(folder, settings, rows.fingerprint)
    campaigns = Campaigns(settings, rows, folder)
    if settings.oracle != "simulated":
        return campaigns.with_a_person(acquisitions[settings.acquisition[0]])
    for seed in settings.seeds:
        if settings.all_data:
            campaigns.all_data(seed)
        for name in settings.acquisition:
            campaigns.one(name, acquisitions[name], seed, simulated(rows.truth))
    return report(campaigns.histories, campaigns.costs, rows, settings)


def _check_folder(folder, settings):
    """Check that the folder, which is there, is empty or that of the same job."""
    remove_leftovers(folder)
    if (folder / "manifest.json").is_file():
        check_same(folder, read_json(folder / "manifest.json"), settings)
    elif {path.name for path in folder.iterdir()} - {"split.json"}:
        raise ConfigError(f"{folder}: holds other files; choose an output_dir that is new or empty")


def _open_folder(folder, settings, fingerprint):
    """Write the manifest of a job that begins; one that goes on must be about the same rows."""
    path = folder / "manifest.json"
    if not path.is_file():
        write_json(path, manifest(settings, fingerprint))
    elif read_json(path).get("data") != fingerprint:
        raise ConfigError(f"{folder}: the data has changed since the campaigns began; expected the "
                          "same rows")


class Campaigns:
    """The campaigns of one job.

    Parameters
    ----------
    settings : ActiveSettings
    rows : ActiveRows
    folder : path

    Attributes
    ----------
    histories : dict
        {name: {seed: history}}, as `ActiveLearner` has it; "all-data" is one of the names.
    costs : dict
        {name: [(rows of the pool, seconds to choose from them)]} of what this process did.
    """

    def __init__(self, settings, rows, folder):
        self.settings, self.rows, self.folder = settings, rows, folder
        self.histories, self.costs = {}, {}
        self._first = None, None

    def learner(self, name, choose, seed):
        """Return the ActiveLearner of a campaign, which goes on if it was begun."""
        settings, rows = self.settings, self.rows
        learner = ActiveLearner(
            len(rows.texts), self._fit, rows.make_pool, choose, rows.evaluate, seed=seed,
            folder=self.folder / f"{file_name(name)}-seed-{seed}", save_model=rows.save_model,
            load_model=rows.load_model, resume=settings.resume is not None,
            warm_start=settings.warm_start, keep_weights=settings.keep_weights,
            stop_rows=settings.stop_rows)
        self.histories.setdefault(name, {})[seed] = learner.history
        return learner

    def _fit(self, rows, labels, seed, start):
        """Train, but not twice the same: all methods of a seed begin with the same training."""
        job = rows, labels, seed
        if job == self._first[0]:
            return self._first[1]
        model = self.rows.fit(*job, start)
        if len(rows) == self.settings.initial:
            self._first = job, model
        return model

    def all_data(self, seed):
        """Train on every label, the goal of the others."""
        learner = self.learner("all-data", ACQUISITIONS["random"], seed)
        if learner.state.rounds:
            learner.train()
        else:
            learner.initialize(range(len(self.rows.texts)), self.rows.truth)
        self._say("all-data", learner)

    def one(self, name, choose, seed, oracle):
        """Run a campaign to its end and return its learner and why it ended."""
        settings = self.settings
        learner = self.learner(name, self._timed(name, choose), seed)
        if not learner.state.rounds and self.rows.known:
            learner.initialize(range(len(self.rows.known)), self.rows.known)

        def watched(asked):
            self._say(name, learner, self._cost(name, len(asked)))
            return oracle(asked)

        reason = run_campaign(learner, watched, settings.initial, settings.batch,
                              settings.rules())
        self._say(name, learner, f"ended: {reason}")
        if settings.extra_epochs and learner.history:
            self._train_on(name, learner)
        return learner, reason

    def with_a_person(self, choose):
        """Run the one campaign that a person answers; write the labels that there are."""
        settings, rows = self.settings, self.rows
        name, seed = settings.acquisition[0], settings.seeds[0]
        file = LabelFile(self.folder / "to_label.csv",
                         [guard_formula(text) for text in joined(rows.texts)], rows.classes,
                         rows.task.chooses)
        learner, reason = self.one(name, choose, seed,
                                   file.ask if settings.oracle == "ask" else file)
        path = self.folder / "labelled.jsonl"
        _write_labels(path, rows, learner.state.labels)
        settings.say(f"labels    {len(learner.state.labels):,} in {path}")
        if learner.state.queried:
            settings.say(f"to do     fill in {file.path}, and go on with --resume auto")
        return {"ended": reason, "labels": len(learner.state.labels),
                "waiting": len(learner.state.queried), "output_dir": str(self.folder),
                "history": learner.history}

    def _train_on(self, name, learner):
        """Train the last model of a campaign on, and keep it beside the others."""
        epochs, last = self.settings.extra_epochs, learner.history[-1]
        folder = learner.folder.path / f"extra-{epochs}-after-{last['round']:03}"
        if not folder.is_dir():
            model = self.rows.fit(last["rows"], last["labels"], last["seed"], learner.model,
                                  epochs)
            with atomic_folder(folder) as work:
                write_json(work / "metrics.json", {
                    key: value if math.isfinite(value) else None
                    for key, value in self.rows.evaluate(model).items()})
                self.rows.save_model(model, work / "model")
        score = read_json(folder / "metrics.json").get(self.settings.metric)
        self.settings.say(f"{name:18}{epochs} epochs more: {self.settings.metric} {_shown(score)}")

    def _timed(self, name, choose):
        @functools.wraps(choose)
        def timed(pool, count, rng):
            begin = time.perf_counter()
            places = choose(pool, count, rng)
            self.costs.setdefault(name, []).append((len(pool), time.perf_counter() - begin))
            return places
        timed.__name__ = name
        return timed

    def _cost(self, name, count):
        if not self.costs.get(name):
            return f"next {count}"
        rows, seconds = self.costs[name][-1]
        return (f"next {count}, of {rows:,} rows in {seconds:.1f} s, "
                f"{1000 * seconds / rows:.2f} s per 1,000")

    def _say(self, name, learner, more=""):
        """Print how good the last model of a campaign is; before the first there is nothing."""
        if learner.history:
            last = learner.history[-1]
            score = last["metrics"].get(self.settings.metric)
            self.settings.say(f"{name:18}seed {learner.seed:<4}{len(last['rows']):7,} labels  "
                              f"{self.settings.metric} {_shown(score)}  {more}")


def _shown(score):
    return "-" if score is None else f"{score:.4f}"


def _write_labels(path, rows, labels):
    """Write labelled texts as a file that `train` reads: one JSON object a line."""
    with atomic_file(path) as temporary:
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
            for row, label in labels.items():
                text = rows.texts[row]
                cells = {"text": text} if isinstance(text, str) else dict(
                    zip(("text_a", "text_b"), text))
                named_label = ([rows.classes[number] for number in label]
                               if isinstance(label, list) else rows.classes[label])
                cells[LABEL_COLUMNS[rows.settings.task]] = named_label
                file.write(json.dumps(cells, ensure_ascii=False) + "\n")
