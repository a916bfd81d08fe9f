"""A search and a population that the version before began go on: the files stay what they were.

begun_before/ was written by the version before the tuner had a core of its own.
"""

import math
import shutil
import sqlite3
from pathlib import Path

import pytest

from bert_kit.files import read_json, write_json
from bert_kit.tuner import PBT, TPE, Median, Population, SearchSpace, Study

BEFORE = Path(__file__).parent / "begun_before"
SPACE = (SearchSpace().log_uniform("lr", 1e-5, 1e-1).categorical("head", ["linear", "cnn"])
         .discrete("layers", 1, 4).continuous("p", 0, 1, when={"head": "cnn"}))
RATE = SearchSpace().log_uniform("lr", 1e-3, 1.0).discrete("n", 1, 5)


def study_settings():
    return {"sampler": TPE(n_startup=5), "pruner": Median(startup=2), "seed": 4}


def loss(trial):
    if trial.number == 3:
        raise ValueError("too large")
    value = (math.log10(trial.params["lr"]) + 3) ** 2 + 0.1 * trial.params["layers"]
    for epoch in range(1, 4):
        if trial.report(epoch, value + 1 / epoch):
            break
    return value


def walk(leg):
    place = read_json(leg.state_in)["place"] if leg.state_in else 0.0
    place += leg.params["lr"] * (10 - place) / leg.params["n"]
    write_json(leg.state_out, {"place": place})
    return -abs(10 - place)


def close(params):
    return {name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            for name, value in params.items()}


def test_a_search_goes_on(tmp_path):
    (tmp_path / "study").mkdir()
    with sqlite3.connect(tmp_path / "study" / "study.sqlite") as db:
        db.executescript((BEFORE / "study.sql").read_text())
    db.close()
    study = Study("before", SPACE, tmp_path / "study", resume=True, **study_settings())
    assert [study.replay(i) for i in range(15)] == [close(t.params) for t in study.trials]
    study.optimize(loss, 10, in_flight=3, mode="waves")
    whole = Study("before", SPACE, **study_settings())
    whole.optimize(loss, 24, in_flight=3, mode="waves")
    for mine, expected in zip(study.trials[:14], whole.trials[:14], strict=True):
        assert mine.params == close(expected.params) and mine.state == expected.state
        assert (mine.seed, mine.cuts) == (expected.seed, pytest.approx(expected.cuts))
    assert study.trials[14].attempt == 2 and len(study.trials) == 24  # it was taken up


def test_a_population_goes_on(tmp_path):
    shutil.copytree(BEFORE / "population", tmp_path / "population")
    run = PBT(RATE, seed=3).run(walk, 8, tmp_path / "population", resume=True)
    whole = PBT(RATE, seed=3).run(walk, 8, tmp_path / "whole")
    for mine, expected in zip(run.lineage, whole.lineage, strict=True):
        assert (mine.parent, mine.seed) == (expected.parent, expected.seed)
        assert mine.params == close(expected.params) and mine.score == pytest.approx(expected.score)
    assert Population.load(tmp_path / "population").lineage == run.lineage
