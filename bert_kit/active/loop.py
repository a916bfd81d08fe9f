"""The active learning loop: train, ask for the labels that help most, train again.

    learner = ActiveLearner(len(texts), fit, make_pool, beal, seed=0)
    rows = learner.query(500)                 # the first are drawn at random
    learner.update([label(row) for row in rows])

What the loop needs from a model is handed in as plain functions, so it knows neither models nor
texts. Every draw follows from the seed and the number of the round alone: a generator that is made
anew for each use has no state that a resumed campaign would have to find again.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.active.acquisition import Choose, Pool, checked_table, lowest
from bert_kit.active.campaign import CampaignFolder, CampaignState, Record
from bert_kit.active.oracles import Oracle
from bert_kit.active.stopping import StoppingRules, agreement, decisions, uncertainty
from bert_kit.checks import same_length, whole
from bert_kit.errors import ConfigError, DataError

# What the numbers are for: no two uses in a round share their draws.
CHOICE, TRAINING, PASSES, STOP_SET = range(4)


class ActiveLearner:
    """Asks for labels in rounds and trains on them.

    Parameters
    ----------
    rows
        Number of rows, labelled or not; a row is known by its number from 0.
    fit
        `fit(rows, labels, seed, start) -> model`. `start` is None, or with `warm_start` the model
        of the round before. The same arguments must give the same model.
    make_pool
        `make_pool(model, rows, labelled, seed) -> Pool` of `rows`; see `bert_kit.active.Pool`.
        `labelled` are the rows that have a label, `seed` is for dropout.
    choose
        The acquisition function, `choose(pool, count, rng) -> positions`.
    evaluate
        `evaluate(model)` -> dict of numbers, stored with each round.
    folder
        Where the campaign is stored; it then needs `save_model(model, folder)` and
        `load_model(folder) -> model`, both exact.
    resume
        Go on with the campaign in the folder, if there is one.
    warm_start
        Train on from the last model. BEAL and most others start from the pre-trained weights each
        round; this departs from them, and what a model saw first keeps its influence.
    keep_weights
        Whether to keep those of all rounds, not only of the last.
    stop_rows
        Size of the stop set, drawn from all rows, on which successive models are compared.

    Attributes
    ----------
    history
        One a training: `round`, `seed`, `rows`, `labels`, `metrics`, `changed`, `delta_f` and
        `kappa` (see `agreement`; None in the first), `uncertainty`, and `predictions`, the classes
        of each row of the stop set.
    """

    def __init__(self, rows: int, fit: Callable[[list[int], list[Any], int, Any], Any],
                 make_pool: Callable[[Any, list[int], list[int], int], Pool], choose: Choose,
                 evaluate: Callable[[Any], Mapping[str, Any]] | None = None, *, seed: int = 0,
                 folder: str | Path | None = None,
                 save_model: Callable[[Any, Path], object] | None = None,
                 load_model: Callable[[Path], Any] | None = None, resume: bool = False,
                 warm_start: bool = False, keep_weights: bool = True, stop_rows: int = 1000
                 ) -> None:
        self.rows, self.seed = rows, seed
        self.fit, self.make_pool, self.choose, self.evaluate = fit, make_pool, choose, evaluate
        self.warm_start = warm_start
        self.stop_set = np.sort(np.random.default_rng((seed, 0, STOP_SET)).permutation(
            rows)[:stop_rows]).tolist()
        self.state, self._model = CampaignState(), None
        self.history: list[Record] = []
        self.folder: CampaignFolder | None = None
        if folder is not None:
            if save_model is None or load_model is None:
                raise ConfigError("a campaign with a folder needs save_model and load_model")
            settings = {"rows": rows, "seed": seed, "acquisition": _name(choose),
                        "warm_start": warm_start, "stop_rows": stop_rows}
            self.folder = CampaignFolder(folder, settings, save_model, load_model, keep_weights)
            self.state, self.history = self.folder.open(resume)

    @property
    def model(self) -> Any:
        """The model of the last training that ended, read back from the folder if need be."""
        if self._model is None and self.history and self.folder is not None:
            self._model = self.folder.read_model(self.history[-1]["round"])
        return self._model

    @property
    def unlabelled(self) -> list[int]:
        """Rows that can be asked for: no label, not ignored, not asked for already."""
        taken = {*self.state.labels, *self.state.ignored, *self.state.queried}
        return [row for row in range(self.rows) if row not in taken]

    def initialize(self, rows: Iterable[int], labels: Sequence[Any]) -> None:
        """Train on rows whose labels are there from the start, instead of asking for the first."""
        if self.state.rounds:
            raise DataError(f"the campaign is in round {self.state.rounds - 1}; expected a new one")
        self.state.queried = [self._row(row) for row in rows]
        if len({*self.state.queried}) < len(self.state.queried):
            raise DataError("a row is named twice among those to begin with; expected each once")
        self.update(labels)

    def query(self, count: int) -> list[int]:
        """Return the rows to label next; again the same until `update` brings their labels.

        Before the first training they are drawn at random, after it by the acquisition function.
        Fewer than `count` come where fewer are left.
        """
        whole("count", count, 1, error=DataError)
        if self.state.queried:
            return list(self.state.queried)
        self.train()
        rows, rng = self.unlabelled, self._generator(CHOICE)
        count = min(count, len(rows))
        if not count:
            return []
        if not self.history:
            places = lowest(np.zeros(len(rows)), count, rng)
        else:
            pool = self.make_pool(self.model, rows, list(self.state.labels), self._seed(PASSES))
            places = self.choose(pool, count, rng)
            if len(places) != count or len({*places}) != count or not all(
                    0 <= place < len(rows) for place in places):
                raise DataError(f"{_name(self.choose)} chose {list(places)[:9]}; expected "
                                f"{count} different positions in a pool of {len(rows)}")
        self.state.queried = [rows[place] for place in places]
        self._store()
        return list(self.state.queried)

    def update(self, labels: Sequence[Any]) -> None:
        """Take the labels of the queried rows, in the order of `query`, and train.

        A label is a class number, a list of them, or None for a row to ignore.
        """
        rows = self.state.queried
        same_length(labels=labels, rows=rows)
        answers = dict(zip(rows, map(_plain, labels), strict=True))
        labelled = {row: label for row, label in answers.items() if label is not None}
        self.state.ignored += [row for row in rows if row not in labelled]
        self.state.labels |= labelled
        self.state.queried = []
        self.state.rounds += bool(labelled)  # else there is nothing new to learn
        self._store()  # before the training: a person's work is never done twice
        self.train()

    def ignore(self, rows: Iterable[int]) -> None:
        """Never ask for these rows, and forget their labels from the next training on."""
        rows = [self._row(row) for row in rows]
        self.state.ignored += [row for row in rows if row not in self.state.ignored]
        self.state.queried = [row for row in self.state.queried if row not in rows]
        self.state.labels = {row: label for row, label in self.state.labels.items()
                             if row not in rows}
        self._store()

    def update_label(self, row: int, label: Any) -> None:
        """Correct the label of a row, from the next training on."""
        if row not in self.state.labels:
            raise DataError(f"row {row!r} has no label; expected one of the labelled rows")
        self.state.labels[row] = _plain(label)
        self._store()

    def train(self) -> None:
        """Do the training that was begun, unless it ended; `query` and `update` call this."""
        number = len(self.history)
        if number == self.state.rounds:
            return
        rows, labels = list(self.state.labels), list(self.state.labels.values())
        seed = self._seed(TRAINING)
        model = self.fit(rows, labels, seed, self.model if self.warm_start else None)
        record = {"round": number, "seed": seed, "rows": rows, "labels": labels,
                  "metrics": {} if self.evaluate is None else _numbers(self.evaluate(model)),
                  **self._look(model)}
        if self.folder is not None:
            self.folder.write_round(record, model)
        self._model = model
        self.history.append(record)

    def _look(self, model: Any) -> dict[str, Any]:
        """Predict the stop set, and compare with what the model before predicted."""
        pool = self.make_pool(model, self.stop_set, [], self._seed(PASSES))
        probabilities = checked_table(pool.probabilities(), pool.multi_label)
        now, classes = decisions(probabilities, pool.multi_label), probabilities.shape[1]
        change: dict[str, float | None] = {"changed": None, "delta_f": None, "kappa": None}
        if self.history:
            before = np.zeros_like(now)
            for place, numbers in enumerate(self.history[-1]["predictions"]):
                before[place, numbers] = 1
            change = agreement(before, now, pool.multi_label)
        return {**change, "uncertainty": uncertainty(probabilities, pool.multi_label),
                "predictions": [np.arange(classes)[row > 0].tolist() for row in now]}

    def _generator(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, len(self.history), purpose))

    def _seed(self, purpose: int) -> int:
        return int(self._generator(purpose).integers(2**32))

    def _row(self, row: int) -> int:
        row = operator.index(row)
        if not 0 <= row < self.rows:
            raise DataError(f"row {row} of a campaign of {self.rows} rows")
        return row

    def _store(self) -> None:
        if self.folder is not None:
            self.folder.write_state(self.state)


def run_campaign(learner: ActiveLearner, oracle: Oracle, first: int, count: int,
                 rules: StoppingRules, time_is_up: Callable[[], str | None] = lambda: None
                 ) -> str:
    """Ask and train until a rule says to stop; return why the campaign ended.

    Parameters
    ----------
    learner
        New, or one that goes on.
    oracle
        `oracle(rows)` -> their labels as `ActiveLearner.update` takes them, or None if they are
        not there yet: the campaign then ends here, to be resumed when they are.
    first, count
        Rows to label before the first training, and in each round after it.
    time_is_up
        Asked before each round; what it says ends the campaign here, to be resumed later.
    """
    learner.train()
    while (reason := rules.reason(learner.history) or time_is_up()) is None:
        asked = count if learner.history else first
        if rules.budget is not None:
            asked = min(asked, rules.budget - len(learner.state.labels))
        rows = learner.query(asked)
        if not rows:
            return "no row is left to ask for"
        labels = oracle(rows)
        if labels is None:
            return f"{len(rows)} rows wait for their labels"
        learner.update(labels)
    return reason


def _plain(label: Any) -> Any:
    """Return a label as JSON holds it."""
    return label.tolist() if hasattr(label, "tolist") else label


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores as JSON holds them: None for what is not a finite number."""
    plain = {name: _plain(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in plain.items()}


def _name(choose: Choose) -> str:
    return getattr(choose, "__name__", type(choose).__name__)
