"""Importance of parameters: known shares, Optuna's own evaluator, conditions, too few trials."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bert_kit.errors import ConfigError
from bert_kit.tuner import SearchSpace, importance, log

SPACE = SearchSpace.from_dict({"much": (0.0, 1.0), "some": log(1, 64), "little": ["a", "b", "c"],
                               "none": (0.0, 1.0), "one": [5]})


@dataclass
class Record:
    params: dict
    row: Any
    losses: tuple
    state: str = "complete"


def loss(params):
    return (9 * (params["much"] - 0.3) ** 2 + 0.4 * (np.log2(params["some"]) / 6 - 0.5) ** 2
            + 0.02 * "abc".index(params["little"]))


def trials(space, function, count=1_000, seed=0):
    rng = np.random.default_rng(seed)
    sets = [space.from_row(rng.random(len(space.parameters))) for _ in range(count)]
    return [Record(params, space.to_row(params), (function(params),)) for params in sets]


def test_known_order():
    found = importance(SPACE, trials(SPACE, loss))
    assert list(found)[:2] == ["much", "some"] and sum(found.values()) == pytest.approx(1)
    assert found["much"] > 0.7 and found["some"] > 3 * found["none"] and found["one"] < 1e-12


def test_like_the_evaluator_of_optuna():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {
        "much": optuna.distributions.FloatDistribution(0, 1),
        "some": optuna.distributions.IntDistribution(1, 64, log=True),
        "little": optuna.distributions.CategoricalDistribution(["a", "b", "c"]),
        "none": optuna.distributions.FloatDistribution(0, 1)}
    space, study = SPACE.only(*distributions), optuna.create_study()
    done = trials(space, loss)
    for trial in done:
        study.add_trial(optuna.trial.create_trial(
            params=trial.params, distributions=distributions, value=trial.losses[0]))
    theirs = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    ours = importance(space, done)
    for name in distributions:
        assert ours[name] == pytest.approx(theirs[name], abs=0.08)


def test_a_conditional_parameter_is_judged_where_it_is_active():
    space = (SearchSpace().categorical("head", ["a", "b"]).continuous("x", 0, 1, when={"head": "a"})
             .continuous("y", 0, 1))
    done = trials(space, lambda p: abs(p["x"] - 0.5) if p["head"] == "a" else 0.4 + p["y"])
    found = importance(space, done)
    assert set(found) == {"head", "x", "y"} and found["x"] > found["y"]


def test_only_complete_trials_count_and_few_say_nothing():
    done = trials(SPACE, loss, 200)
    other = [Record(t.params, t.row, None, "failed") for t in trials(SPACE, loss, 50, seed=1)]
    assert importance(SPACE, done + other) == importance(SPACE, done)
    assert set(importance(SPACE, done[:9]).values()) == {0.0}
    assert set(importance(SPACE, []).values()) == {0.0}
    with pytest.raises(ConfigError, match="top is 1; expected a share above 0, below 1"):
        importance(SPACE, done, top=1)
