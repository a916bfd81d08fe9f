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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_kit.active import ACQUISITIONS, ActiveLearner, LabelFile, run_campaign, simulated
from bert_kit.active.acquisition import Choose, Pool
from bert_kit.active.oracles import Label, Oracle
from bert_kit.checks import one_of
from bert_kit.errors import ConfigError
from bert_kit.files import atomic_file, atomic_folder, file_name, read_json, write_json
from bert_kit.jobs.active.options import PRESETS, options_class, options_for
from bert_kit.jobs.active.report import ALL_DATA, Costs, Histories, report
from bert_kit.jobs.active.rows import ActiveRows
from bert_kit.jobs.active.tool_files import SUFFIXES, ToolFile
from bert_kit.jobs.options.declare import given_options
from bert_kit.jobs.run.build import check_options
from bert_kit.jobs.run.defaults import (chosen_dropout, default_dropout, dropout_note,
                                        starting_config, within_positions)
from bert_kit.jobs.run.folder import (as_begun, check_folder, check_kept, lock_folder, open_folder,
                                      remove_split_on_error)
from bert_kit.jobs.run.job import Results
from bert_kit.jobs.run.randomness import threads
from bert_kit.jobs.run.verdict import check_learned
from bert_kit.jobs.tasks.rows import joined
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import TextTask
from bert_kit.training import ALONE, best_precision, choose_device

if TYPE_CHECKING:
    from typing import Unpack

    from bert_kit.jobs.options.keywords import ActiveKeywords

__all__ = ["Campaigns", "learn_actively", "options_class", "run"]
BEGUN = "manifest.json"  # written before any round
BY_DROPOUT = ("beal", "bald")  # each pass over the pool is a draw of the model


def learn_actively(data_path: str | Path | None = None, model_path: str | Path | None = None,
                   acquisitions: Mapping[str, Choose] = ACQUISITIONS,
                   **settings: "Unpack[ActiveKeywords]") -> Results:
    """Run campaigns of active learning and return their results, which results.json holds too.

    Parameters
    ----------
    data_path
        File or folder with labelled texts; without it the docstring task.
    model_path
        Folder or name of a BERT, from which each round starts.
    acquisitions
        {name: `choose(pool, count, rng) -> positions`}: the methods there are. Add your own.
    **settings
        Options of training and of asking, under any of their spellings; for instance
        `acquisition`, `preset`, `rounds`, `seeds`, `oracle`.

    Returns
    -------
    dict
        `scores` (see `compare_curves`: curves of each method, the score of all data, shares of the
        labels needed, differences of the methods), `classes`, `pool`, `seconds_per_1000_rows` and
        more; with a person `labels`, how many are `waiting`, `history`, and why it `ended`.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = given_options(settings, data_file=data_path, model=model_path)
    options = options_for(str(settings.get("task", "classification")))
    return run(options.from_names(given), acquisitions)


def run(options: Any, acquisitions: Mapping[str, Choose] = ACQUISITIONS) -> Results:
    """Do the whole job for CampaignOptions; see `learn_actively`."""
    for name in options.acquisition:
        one_of("acquisition", name, tuple(acquisitions))
    task: Any = task_named(options.task)
    device = choose_device(options.device)
    fast = best_precision(device)
    options = options.in_folder("active").replace(
        precision=options.precision or fast, pass_precision=options.pass_precision or fast)
    options = within_positions(task, options, PRESETS[options.preset]["max_length"])
    options = as_begun(options)
    check_options(task, options)
    _check_dropout(task, options)
    folder = Path(options.output_dir)
    with lock_folder(ALONE, folder), threads(options.threads):
        check_folder(options, "active", BEGUN)
        with remove_split_on_error(folder):
            rows = ActiveRows(task, options, device)
            options.say(f"data      {rows.description}")
            if not (folder / BEGUN).is_file() and not rows.known \
                    and options.initial >= len(rows.texts):
                raise ConfigError(f"initial is {options.initial}; the pool has {len(rows.texts)} "
                                  "rows, so none would be left to choose from; expected fewer")
            open_folder(options, "active", task.made_of(options, rows.fingerprint, rows.tokenizer),
                        begun=BEGUN, bad_rows=rows.bad_rows)
        campaigns = Campaigns(rows, folder)
        if options.oracle != "simulated":
            return campaigns.ask_a_person(acquisitions[options.acquisition[0]])
        campaigns.run_all(acquisitions)
        results = report(campaigns.histories, campaigns.costs, rows, campaigns.cut)
        check_kept(folder)
        if "verdict" in results:
            check_learned(results["verdict"], options.strict, folder)
        return results


def _check_dropout(task: TextTask, options: Any) -> None:
    """Refuse, before any work, a method that draws models by dropout where there is none."""
    config = starting_config(task, options)
    config = config.replace(**default_dropout(task, options, config), **chosen_dropout(options))
    head = config.classifier_dropout if options.dropout is None else options.dropout
    methods = [name for name in options.acquisition if name in BY_DROPOUT]
    if methods and not any((config.hidden_dropout_prob, config.attention_probs_dropout_prob, head)):
        raise ConfigError(f"{' and '.join(methods)} draw models by dropout, and every rate of it "
                          "is 0, so all would be the same; expected a dropout or "
                          "hidden_dropout_prob above 0, or another acquisition")
    note = dropout_note(task, options)
    if note is not None:
        options.say(note)


class Campaigns:
    """The campaigns of one job.

    Attributes
    ----------
    histories
        By name and seed, as `ActiveLearner` has them; "all-data" is one of the names.
    costs
        By name: rows of the pool, and seconds to choose from them, of what this process did.
    cut
        Why they ended before they were over, or None.
    """

    def __init__(self, rows: ActiveRows, folder: Path) -> None:
        self.options, self.rows, self.folder = rows.options, rows, folder
        self.histories: Histories = {}
        self.costs: Costs = {}
        self.cut: str | None = None
        self._begun = time.monotonic()
        self._first: tuple[Any, Any] = None, None  # arguments of a first training, and its model

    def learner(self, name: str, choose: Choose, seed: int) -> ActiveLearner:
        """Return the ActiveLearner of a campaign, which goes on if it was begun."""
        options, rows = self.options, self.rows
        learner = ActiveLearner(
            len(rows.texts), self._fit, rows.make_pool, choose, rows.evaluate, seed=seed,
            folder=self._folder(name, seed), save_model=rows.save_model,
            load_model=rows.load_model, resume=options.resume is not None,
            warm_start=options.warm_start, keep_weights=options.keep_weights,
            stop_rows=options.stop_rows)
        self.histories.setdefault(name, {})[seed] = learner.history
        return learner

    def _folder(self, name: str, seed: int) -> Path:
        return self.folder / f"{file_name(name)}-seed-{seed}"

    def _fit(self, rows: list[int], labels: list[Label], seed: int, start: Any) -> Any:
        """Train, but not twice the same: all methods of a seed begin with the same training."""
        training = rows, labels, seed
        if training == self._first[0]:
            return self._first[1]
        model = self.rows.fit(*training, start)
        if len(rows) == self.options.initial:
            self._first = training, model
        return model

    def run_all(self, acquisitions: Mapping[str, Choose]) -> None:
        """Run the campaigns of every seed, each to its end or to that of the time."""
        for seed in self.options.seeds:
            if self.options.all_data and not self.time_is_up():
                self.train_on_all(seed)
            for name in self.options.acquisition:
                if not self.time_is_up():
                    self.run_one(name, acquisitions[name], seed, simulated(self.rows.truth))

    def time_is_up(self) -> str | None:
        """Say, where a training is about to begin, why it may not, or return None."""
        limit = self.options.time_limit
        if limit is not None and time.monotonic() - self._begun >= limit:
            self.cut = f"the time limit of {limit:g} s is reached; --resume auto goes on"
        return self.cut

    def train_on_all(self, seed: int) -> None:
        """Train on every label, the goal of the others."""
        learner = self.learner(ALL_DATA, ACQUISITIONS["random"], seed)
        if learner.state.rounds:
            learner.train()
        else:
            learner.initialize(range(len(self.rows.texts)), self.rows.truth)
        self._say(ALL_DATA, learner)

    def run_one(self, name: str, choose: Choose, seed: int,
                 oracle: Oracle) -> tuple[ActiveLearner, str]:
        """Run a campaign to its end, whoever answers; return its learner and why it ended."""
        options = self.options
        learner = self.learner(name, self._timed(name, choose), seed)
        if not learner.state.rounds and self.rows.known:
            learner.initialize(range(len(self.rows.known)), self.rows.known)

        def watched(asked: Sequence[int]) -> Sequence[Label] | None:
            self._say(name, learner, self._cost(name, len(asked)))
            return oracle(asked)

        reason = run_campaign(learner, watched, options.initial, options.batch, options.rules(),
                              self.time_is_up)
        self._say(name, learner, f"ended: {reason}")
        if options.extra_epochs and learner.history and self.cut is None:
            self._train_on(name, learner)
        return learner, reason

    def ask_a_person(self, choose: Choose) -> Results:
        """Run the one campaign that a person answers; write the labels that there are."""
        options, rows = self.options, self.rows
        name, seed = options.acquisition[0], options.seeds[0]
        texts, many = joined(rows.texts), rows.task.has_label_sets
        if options.oracle in SUFFIXES:
            file = ToolFile(self.folder, texts, rows.classes, many, options.oracle,
                            options.label_column[0])
        else:
            file = LabelFile(self.folder / "to_label.csv", texts, rows.classes, many)
        learner, reason = self.run_one(name, choose, seed,
                                        file.ask if options.oracle == "ask" else file)
        path, state = self.folder / "labelled.jsonl", learner.state
        _write_labels(path, rows, state.labels)
        options.say(f"labels    {len(state.labels):,} in {path}")
        done = file.answered(state.queried) if state.queried else 0
        if state.queried:
            options.say(f"answers   {done:,} of the {len(state.queried):,} of this round\n"
                        f"to do     {file.to_do(done)}, and go on with --resume auto")
        return {"ended": reason, "labels": len(state.labels),
                "waiting": len(state.queried), "answered": done,
                "output_dir": str(self.folder), "history": learner.history}

    def _train_on(self, name: str, learner: ActiveLearner) -> None:
        """Train the last model of a campaign on, and keep it beside the others."""
        epochs, last = self.options.extra_epochs, learner.history[-1]
        folder = self._folder(name, learner.seed) / f"extra-{epochs}-after-{last['round']:03}"
        if not folder.is_dir():
            model = self.rows.fit(last["rows"], last["labels"], last["seed"], learner.model,
                                  epochs)
            with atomic_folder(folder) as work:
                write_json(work / "metrics.json", {
                    key: value if math.isfinite(value) else None
                    for key, value in self.rows.evaluate(model).items()})
                self.rows.save_model(model, work / "model")
        score = read_json(folder / "metrics.json").get(self.options.metric)
        self.options.say(f"{name:18}{epochs} epochs more: {self.options.metric} "
                         f"{_score_text(score)}")

    def _timed(self, name: str, choose: Choose) -> Choose:
        @functools.wraps(choose)
        def timed(pool: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
            begin = time.perf_counter()
            places = choose(pool, count, rng)
            self.costs.setdefault(name, []).append((len(pool), time.perf_counter() - begin))
            return places
        timed.__name__ = name  # by which a campaign knows its method
        return timed

    def _cost(self, name: str, count: int) -> str:
        if not self.costs.get(name):
            return f"next {count}"
        rows, seconds = self.costs[name][-1]
        return (f"next {count}, of {rows:,} rows in {seconds:.1f} s, "
                f"{1000 * seconds / rows:.2f} s per 1,000")

    def _say(self, name: str, learner: ActiveLearner, more: str = "") -> None:
        """Print how good the last model of a campaign is; before the first there is nothing."""
        if learner.history:
            last, metric = learner.history[-1], self.options.metric
            score = _score_text(last["metrics"].get(metric))
            self.options.say(f"{name:18}seed {learner.seed:<4}{len(last['rows']):7,} labels  "
                             f"{metric} {score}  {more}")


def _score_text(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _write_labels(path: Path, rows: ActiveRows, labels: Mapping[int, Any]) -> None:
    """Write labelled texts as a file that `train` reads: one JSON object a line."""
    with atomic_file(path) as temporary, \
            open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        for row, label in labels.items():
            text = rows.texts[row]
            cells: dict[str, Any] = {"text": text} if isinstance(text, str) else dict(
                zip(("text_a", "text_b"), text, strict=True))
            cells[rows.options.LABEL_COLUMN] = (
                [rows.classes[number] for number in label] if isinstance(label, list)
                else rows.classes[label])
            file.write(json.dumps(cells, ensure_ascii=False) + "\n")
