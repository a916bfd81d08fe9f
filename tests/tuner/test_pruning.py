import base64
import json
import math
import os
import random
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bert_kit import ConfigError, TuningError
from bert_kit.tuner.trial_files import history
from bert_kit.tuner.pruning import (Hyperband, Median, Percentile, SuccessiveHalving, Threshold)
from bert_kit.tuner.tpe import Grid, Random
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.study import Study
from bert_kit.tuner.ask_tell import Trial

SPACE = SearchSpace().continuous("x", 0, 1).continuous("speed", 0, 1)


def finished(curves, state="complete"):
    return [Trial(i, {}, 0, state=state, reports=dict(enumerate(curve, 1)))
            for i, curve in enumerate(curves)]


@pytest.mark.parametrize("maximize", [False, True])
def test_cuts_leave_the_best_share(maximize):
    curves = np.random.default_rng(0).random((41, 6))  # 41: the quarters lie on values
    trials = [*finished(curves), *finished(curves * 9, "pruned"), *finished(-curves, "running")]
    for share in (0.25, 0.5, 0.75):
        cuts = Percentile(share, warmup=2).cuts(trials, maximize)
        assert [*cuts] == [3, 4, 5]  # the last step prunes nothing
        for step in cuts:
            goes_on = [not Trial(0, {}, 0, cuts=cuts, maximize=maximize).report(step, value)
                       for value in curves[:, step - 1]]
            assert sum(goes_on) == 40 * share + 1
            order = np.argsort(-curves[:, step - 1] if maximize else curves[:, step - 1])
            assert all(goes_on[i] for i in order[:sum(goes_on)])
    assert Median(warmup=2).cuts(trials, maximize) == Percentile(0.5, 2).cuts(trials, maximize)
    assert Median().cuts(trials[:4], maximize) == {}
    assert [*Median(startup=4).cuts(trials[:4], maximize)] == [1, 2, 3, 4, 5]


def test_cuts_do_without_numbers_that_are_none():
    trials = finished([[math.nan, 1, 5], [2, 1, 5], [4, 3, 5], [math.inf, 1]])
    assert Median(startup=2).cuts(trials, False) == {1: 3.0, 2: 1.0}
    assert Trial(0, {}, 0, cuts={1: 3.0}).report(1, math.nan)


def test_a_threshold_and_a_share_that_cannot_be():
    study = Study("s", SPACE, direction="maximize", pruner=Threshold({2: 0.5}))
    trial = study.ask()
    assert [trial.report(step, 0.4) for step in (1, 2)] == [False, True]
    assert study.tell(trial).state == "pruned" and study.trials[0].value == 0.4
    with pytest.raises(ConfigError, match="share is 50; expected a share above 0, below 1"):
        Percentile(50)


def test_plans_are_those_of_the_paper():
    """Li et al. 2018, algorithm 1 for R = 81 and eta = 3, by n = ceil(B / R * eta^s / (s + 1))."""
    assert Hyperband(81).brackets == (
        ((81, 1), (27, 3), (9, 9), (3, 27), (1, 81)), ((34, 3), (11, 9), (3, 27), (1, 81)),
        ((15, 9), (5, 27), (1, 81)), ((8, 27), (2, 81)), ((5, 81),))
    assert Hyperband(10, eta=2).brackets[0] == ((8, 1), (4, 2), (2, 5), (1, 10))
    assert Hyperband(243).brackets[0][0] == (243, 1)  # log(243) / log(3) is 4.999...
    assert SuccessiveHalving(20, 2, 30, eta=4).brackets == (((20, 7), (5, 30)),)
    assert SuccessiveHalving(2, 1, 9).brackets == (((2, 1), (1, 3), (1, 9)),)
    assert str(Hyperband(9)).splitlines() == [
        "17 configurations in 69 epochs (153 without stopping any)",
        "  9 up to 1, 3 up to 3, 1 up to 9", "  5 up to 3, 1 up to 9", "  3 up to 9"]
    for plan, words in ((lambda: Hyperband(0), "max_budget is 0; expected a whole number from 1"),
                        (lambda: Hyperband(9, eta=1), "eta is 1; expected .* from 2"),
                        (lambda: SuccessiveHalving(9, 5, 3), "max_budget is 3; .* from 5"),
                        (lambda: SuccessiveHalving(0, 1, 3), "n is 0")):
        with pytest.raises(ConfigError, match=words):
            plan()


class Training:
    """Its state is the list of (start, stop) so far; its score improves with every epoch."""

    def __init__(self, maximize=False, dies=0.0, seed=0, fails=()):
        self.sign, self.dies, self.fails = -1 if maximize else 1, dies, fails
        self.rng, self.paid, self.legs, self.most = random.Random(seed), 0, [], 0

    def __call__(self, leg):
        before = []
        if leg.state_in:
            with open(leg.state_in) as handle:
                before = json.load(handle)
        assert (before[-1][1] if before else 0) == leg.start < leg.stop
        if self.rng.random() < self.dies:
            raise KeyboardInterrupt
        if len(self.legs) in self.fails:
            self.legs.append(leg)
            raise RuntimeError("no memory")
        with open(leg.state_out, "w") as handle:
            json.dump([*before, (leg.start, leg.stop)], handle)
        self.paid += leg.stop - leg.start
        self.legs.append(leg)
        self.most = max(self.most, len(os.listdir(os.path.dirname(leg.state_out))))
        return self.sign * (leg.params["x"] + 1 / (leg.stop * (0.1 + leg.params["speed"])))


def rows(study):
    return [{key: value for key, value in history(trial).items() if key not in (
        "started", "finished", "duration", "attempt")} for trial in study.trials]


@pytest.mark.parametrize("maximize", [False, True])
def test_hyperband_pays_what_it_says_and_promotes_the_best(tmp_path, capsys, maximize):
    plan, step = Hyperband(9), Training(maximize)
    study = Study("s", SPACE, tmp_path, direction="maximize" if maximize else "minimize")
    study.halve(step, plan)
    assert capsys.readouterr().out == f"{plan}\n"
    assert step.paid == plan.epochs == 69 and len(step.legs) == 9 + 3 + 1 + 5 + 1 + 3
    trials = study.trials
    assert len(trials) == 17 and study.statistics()["complete"] == 5
    first = trials[:9]
    for budget, places in ((1, 3), (3, 1)):
        reached = [trial for trial in first if budget in trial.reports]
        best = sorted(reached, key=lambda t: step.sign * t.reports[budget])[:places]
        assert {t.number for t in best} == {t.number for t in first if max(t.reports) > budget}
    for trial in trials:
        assert (trial.state == "complete") == (9 in trial.reports)
        assert trial.value == trial.reports[max(trial.reports)]
    best, = (tmp_path / "legs").iterdir()  # only what the best left is there
    assert best.name == f"{study.best.number:05}-9" and study.best.state == "complete"
    assert json.loads(best.read_text())[-1][1] == 9 and step.most <= 9 + 1


def test_halving_beside_each_other_is_the_same(tmp_path):
    alone, together = Study("s", SPACE, tmp_path), Study("s", SPACE)
    alone.halve(Training(), SuccessiveHalving(27, 1, 9))
    devices = []

    def step(leg):
        devices.append(leg.device)
        return Training()(leg)

    with ThreadPoolExecutor(4) as pool:
        together.halve(step, SuccessiveHalving(27, 1, 9), executor=pool, devices=["a", "b"])
    assert rows(alone) == rows(together)
    assert len(devices) == 27 + 9 + 3 and set(devices) == {"a", "b"}


def test_an_interrupted_halving_goes_on_where_it_was(tmp_path):
    whole, plan = Study("s", SPACE), Hyperband(9)
    whole.halve(Training(), plan)
    whole.halve(Training(), plan)  # a second turn
    paid, interruptions = 0, 0
    for seed in range(100):
        study = Study("s", SPACE, tmp_path, resume=True)
        step = Training(dies=0.15, seed=seed)
        try:
            study.halve(step, plan)
        except KeyboardInterrupt:
            interruptions += 1
        study.close()
        paid += step.paid
        if study_is_over(tmp_path, 34):
            break
    study = Study("s", SPACE, tmp_path, resume=True)
    assert rows(study) == rows(whole) and interruptions > 3
    assert paid == 2 * plan.epochs  # nothing was trained twice
    assert len([*(tmp_path / "legs").iterdir()]) == 1


def study_is_over(path, count):
    trials = Study("s", SPACE, path, resume=True).trials
    return len(trials) == count and all(trial.state != "running" for trial in trials)


def test_legs_that_fail():
    step = Training(fails=(0, 2, 9))
    study = Study("s", SPACE)
    study.halve(step, SuccessiveHalving(9, 1, 9))
    states = [trial.state for trial in study.trials]
    assert states.count("failed") == 3 and states.count("complete") == 1
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert {trial.error.splitlines()[0] for trial in failed} == {"RuntimeError: no memory"}
    assert [len(trial.reports) for trial in failed].count(1) == 1  # the best fell on its second
    study.halve(lambda leg: math.nan, SuccessiveHalving(3, 1, 3))
    assert [trial.error for trial in study.trials[9:]] == [
        "the value is nan; expected a finite number"] * 3


def test_halving_ends_with_the_grid_and_wants_one_objective():
    space = SearchSpace().discrete("x", 0, 4).discrete("speed", 1, 1)
    study = Study("s", space, sampler=Grid())
    for _ in range(2):
        study.halve(Training(), Hyperband(9))
    assert len(study.trials) == 5 and study.best.params["x"] == 0
    several = Study("s", SPACE, directions={"a": "minimize", "b": "minimize"})
    with pytest.raises(ConfigError, match="s has 2 objectives; expected one"):
        several.halve(Training(), Hyperband(9))
    with pytest.raises(TuningError):
        Study("s", SPACE).best


@pytest.fixture(scope="module")
def mlp_curves(shared):
    """Validation losses of a real network on the digits, 9 epochs, for a grid of settings."""
    stored = json.loads((shared / "bench/tuner/digits_mlp.json").read_text())
    losses = np.frombuffer(zlib.decompress(base64.b64decode(stored["loss_u16_zlib_b64"])), "<u2")
    return losses.reshape(stored["shape"]) / stored["scale"]


MLP = (SearchSpace().log_uniform("lr", 10 ** -4.5, 10 ** -0.5).log_uniform("alpha", 1e-5, 10.0)
       .discrete("width", 4, 128, log=True).categorical("activation", [0, 1, 2]))


def curve_of(curves, params):
    def near(low, high, size, value):
        return round((math.log10(value) - low) / (high - low) * (size - 1))
    return curves[near(-4.5, -0.5, 11, params["lr"]), near(-5, 1, 5, params["alpha"]),
                  near(math.log10(4), math.log10(128), 6, params["width"]), params["activation"]]


def test_median_cuts_save_a_third_of_real_training(mlp_curves, seeds=5):
    found = []
    for seed in range(seeds):
        paid = []

        def objective(trial):
            for epoch, loss in enumerate(curve_of(mlp_curves, trial.params).tolist(), 1):
                paid.append(epoch)
                if trial.report(epoch, loss):
                    break
            return loss

        study = Study("s", MLP, pruner=Median(), seed=seed)
        study.optimize(objective, 100, in_flight=5)
        found.append((len(paid), study.best.value))
    epochs, best = np.median(found, axis=0)
    assert epochs <= 0.65 * 900 and best <= 0.094


def test_hyperband_saves_half_of_real_training(mlp_curves, seeds=5):
    found = []
    for seed in range(seeds):
        paid = []

        def step(leg):
            paid.append(leg.stop - leg.start)
            return curve_of(mlp_curves, leg.params)[leg.stop - 1]

        study = Study("s", MLP, seed=seed)
        while len(study.trials) < 100:
            study.halve(step, Hyperband(9))
        assert sum(paid) == 6 * Hyperband(9).epochs
        found.append((sum(paid), study.best.value))
    epochs, best = np.median(found, axis=0)
    assert epochs <= 0.5 * 900 and best <= 0.095


def test_random_search_may_be_pruned_too():
    study = Study("s", SPACE, sampler=Random(), pruner=Median())

    def objective(trial):
        for epoch in range(1, 6):
            if trial.report(epoch, trial.params["x"]):
                break
        return trial.params["x"]

    study.optimize(objective, 60)
    found = study.statistics()
    assert found["pruned"] > 20 and found["complete"] + found["pruned"] == 60
    assert study.best.value == min(trial.params["x"] for trial in study.trials)
