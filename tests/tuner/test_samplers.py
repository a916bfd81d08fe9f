"""The samplers against brute force and random search; the density against closed formulas."""

import itertools
import json
import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert_kit.errors import ConfigError
from bert_kit.tuner import (TPE, Exhausted, Grid, Random, SearchSpace, best_first, log,
                            pareto_front)
from bert_kit.tuner.tpe import Parzen, _normal_cdf

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"
SPACE = (SearchSpace().categorical("head", ["linear", "cnn", "kan"]).continuous("x", -1, 1)
         .discrete("width", 2, 9, log=True, when={"head": "cnn"})
         .ordered("size", [1, 2, 3, 4]).log_uniform("lr", 1e-5, 1e-1, when={"head": "cnn"}))


@dataclass
class Record:
    params: dict
    row: Any
    state: str = "complete"
    losses: tuple | None = None
    steps: int = 0


def ask(sampler, space, trials, seed=0):
    rng = np.random.default_rng(np.random.SeedSequence((seed, len(trials))))
    return sampler.sample(space, trials, rng)


def search(sampler, space, loss, trials, seed=0, in_flight=1):
    """The shortest study; the loss NaN is a failure."""
    done = []
    while len(done) < trials:
        wave = []
        for _ in range(min(in_flight, trials - len(done))):
            params = ask(sampler, space, done, seed)
            wave.append(Record(params, space.to_row(params), state="running"))
            done.append(wave[-1])
        for trial in wave:
            value = loss(trial.params)
            trial.state = "failed" if math.isnan(value) else "complete"
            trial.losses = None if math.isnan(value) else (value,)
    return done


def best(trials):
    return min(trial.losses[0] for trial in trials if trial.losses)


@pytest.fixture
def problems(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import tuner_problems
    return tuner_problems


def records(space, count, seed=0):
    rng = np.random.default_rng(seed)
    params = [space.from_row(rng.random(len(space.parameters))) for _ in range(count)]
    return [Record(each, space.to_row(each), losses=(float(rng.random()),)) for each in params]


# ---- the density

def test_normal_cdf():
    x = np.linspace(-9, 9, 2_001)
    exact = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    assert np.abs(_normal_cdf(x) - exact).max() < 1e-7


def mixture(count=7, seed=0):
    rows = np.array([trial.row for trial in records(SPACE, count, seed)])
    return Parzen(SPACE.parameters, rows, np.linspace(0.5, 2, count))


def test_density_of_every_kind_adds_up_to_one():
    density, total = mixture(), 0.0
    middle = (np.arange(400) + 0.5) / 400
    for head, size in itertools.product(["linear", "cnn", "kan"], [1, 2, 3, 4]):
        start = SPACE.to_row({"head": head, "size": size})
        x, lr = np.meshgrid(middle, middle)
        if head != "cnn":  # neither width nor lr is there
            rows = np.tile(start, (400, 1))
            rows[:, 1] = middle
            total += np.exp(density.log_density(rows)).mean()
            continue
        for width in range(2, 10):
            rows = np.tile(SPACE.to_row({"head": head, "size": size, "width": width}), (160_000, 1))
            rows[:, 1], rows[:, 4] = x.ravel(), lr.ravel()
            total += np.exp(density.log_density(rows[::7])).mean()
    assert total == pytest.approx(1, abs=2e-3)


def test_density_against_the_formula_written_out():
    """One kernel at a time, with math.erf and loops."""
    rows = np.array([[0.2, 0.5, np.nan], [0.6, 0.5, 0.1], [0.9, np.nan, 0.4]])
    space = SearchSpace.from_dict({"x": (0.0, 1.0), "c": ["a", "b", "c"], "y": (0.0, 2.0)})
    weights, widths = [1.0, 2.0, 0.5, 1.0], {0: [0.4, 0.4, 0.3], 2: [None, 0.3, 0.3]}
    keep = 1 - 3 / (4 + 3)  # three choices, three rows and the prior

    def expected(point):
        total = 0.0
        for k, weight in enumerate(weights):
            value = weight / sum(weights)
            for j in (0, 2):
                if k == 3 or np.isnan(rows[k, j]) or np.isnan(point[j]):
                    continue
                centre, width = rows[k, j], widths[j][k]
                inside = (math.erf((1 - centre) / width / math.sqrt(2))
                          - math.erf(-centre / width / math.sqrt(2))) / 2
                value *= (math.exp(-((point[j] - centre) / width) ** 2 / 2)
                          / (width * math.sqrt(2 * math.pi) * inside))
            same = k < 3 and abs(rows[k, 1] - point[1]) < 1e-9
            known = k < 3 and not np.isnan(rows[k, 1])
            value *= (keep * same + (1 - keep) / 3) if known else 1 / 3
            total += value
        return math.log(total)
    density = Parzen(space.parameters, rows, np.array(weights[:3]))
    points = np.array([[0.25, 1 / 6, 0.3], [0.99, 0.5, np.nan], [0.5, 5 / 6, 1.0]])
    np.testing.assert_allclose(density.log_density(points), [expected(p) for p in points],
                               rtol=1e-6)


def test_draws_follow_the_density():
    """Chi-square over the bins of all columns together; what is drawn is settled first."""
    density, count = mixture(), 100_000
    drawn = SPACE.settle(density.sample(count, np.random.default_rng(3)))
    bins = np.nan_to_num(np.floor(drawn[:, [1, 4]] * 4), nan=-1)
    keys, seen = np.unique(np.column_stack([np.nan_to_num(drawn[:, [0, 2, 3]], nan=-1), bins]),
                           axis=0, return_counts=True)
    fine = (np.arange(60) + 0.5) / 240
    expected = []
    for head, width, size, x, lr in keys:
        grid = np.array(np.meshgrid(x / 4 + fine, lr / 4 + fine)).reshape(2, -1)
        rows = np.column_stack([np.full(3_600, head), grid[0], np.full(3_600, width),
                                np.full(3_600, size), grid[1]])
        rows[rows < 0] = np.nan
        area = 1 / 4 if lr < 0 else 1 / 16
        expected.append(count * area * np.exp(density.log_density(rows)).mean())
    expected = np.array(expected)
    assert expected.sum() > 0.999 * count
    many = expected > 5
    statistic = ((seen - expected)[many] ** 2 / expected[many]).sum()
    degrees = many.sum() - 1
    assert abs(statistic - degrees) < 4 * math.sqrt(2 * degrees)


def test_settling_draws_costs_no_density():
    """A stepped kernel's mass in a cell is what its draws bring there."""
    space = SearchSpace.from_dict({"n": log(1, 40)})
    density = Parzen(space.parameters, space.to_row({"n": 3})[None], np.ones(1))
    drawn = space.settle(density.sample(50_000, np.random.default_rng(0)))[:, 0]
    for value in (1, 3, 4, 40):
        unit = space.to_row({"n": value})
        expected = np.exp(density.log_density(unit[None]))[0]
        assert np.isclose(drawn, unit).mean() == pytest.approx(expected, abs=0.01)


def test_kernels_reach_the_neighbours_of_a_step():
    """However close the rows, a kernel is half a cell wide: 68% lies in its own cell."""
    space = SearchSpace().discrete("n", 10, 50, step=10)
    unit = space.to_row({"n": 30})
    density = Parzen(space.parameters, np.array([unit, unit]), np.full(2, 1e9))
    found = {n: np.exp(density.log_density(space.to_row({"n": n})[None]))[0]
             for n in range(10, 60, 10)}
    assert found[30] == pytest.approx(math.erf(1 / math.sqrt(2)), abs=1e-3)
    assert found[20] == pytest.approx(found[40]) and found[20] > 0.15 > 0.01 > found[10] > 0


# ---- what a sampler may know, and what it makes of it

@pytest.mark.parametrize("sampler", [Random(), TPE(), TPE(n_startup=2, candidates=5, good=0.3)])
def test_the_same_arguments_give_the_same_set(sampler):
    trials = records(SPACE, 30)
    sets = [ask(sampler, SPACE, trials, seed) for seed in (0, 0, 1)]
    assert sets[0] == sets[1] != sets[2]
    for params in sets:
        SPACE.check(params)


@pytest.mark.parametrize("change", [lambda x: 3 * x + 7, lambda x: 1e-9 * x, math.exp,
                                    lambda x: -1 / (x + 1)])
def test_only_the_order_of_losses_counts(change):
    trials = records(SPACE, 40)
    changed = [replace(trial, losses=(change(trial.losses[0]),)) for trial in trials]
    assert ask(TPE(), SPACE, trials) == ask(TPE(), SPACE, changed)


def test_start_at_random():
    trials = records(SPACE, 9)
    failed = [replace(trial, state="failed", losses=None) for trial in records(SPACE, 40)]
    assert ask(TPE(), SPACE, trials) == ask(Random(), SPACE, trials)
    assert ask(TPE(), SPACE, failed) == ask(Random(), SPACE, failed)
    assert ask(TPE(), SPACE, trials + failed[:1]) != ask(Random(), SPACE, trials + failed[:1])
    assert ask(TPE(n_startup=9), SPACE, trials) != ask(Random(), SPACE, trials)
    assert ask(TPE(), SPACE, []) == ask(Random(), SPACE, [])


def test_order_of_trials():
    trials = [Record({}, None, "failed"), Record({}, None, "complete", (3.0,), 9),
              Record({}, None, "pruned", (1.0,), 4), Record({}, None, "running"),
              Record({}, None, "complete", (2.0,)), Record({}, None, "pruned", (0.5,), 4),
              Record({}, None, "pruned", (9.0,), 5), Record({}, None, "pruned", None)]
    assert best_first(trials).tolist() == [4, 1, 6, 5, 2]
    assert best_first([]).tolist() == []


def test_pareto_front_against_brute_force():
    losses = np.random.default_rng(0).integers(0, 9, (60, 3)).astype(float)
    expected = [i for i, one in enumerate(losses) if not any(
        all(other <= one) and any(other < one) for other in losses)]
    assert pareto_front(losses).tolist() == expected
    trials = [Record({}, None, losses=tuple(row)) for row in losses]
    order, left = best_first(trials).tolist(), np.arange(60)
    assert sorted(order) == list(range(60))
    while len(left):  # front after front
        front = left[pareto_front(losses[left])]
        assert set(order[:len(front)]) == set(front)
        order, left = order[len(front):], np.setdiff1d(left, front)


def test_lonely_places_of_a_front_come_first():
    losses = [(0, 10), (1, 8), (2, 7), (7, 2), (10, 0), (10, 10)]
    trials = [Record({}, None, losses=pair) for pair in losses]
    assert set(best_first(trials)[:2]) == {0, 4} and best_first(trials)[-1] == 5
    assert best_first(trials)[2] == 3  # its neighbours are furthest: (2, 7) and (10, 0)


def test_several_objectives_are_learned_from():
    space = SearchSpace.from_dict({"x": (0.0, 1.0), "y": (0.0, 1.0)})
    trials = []
    for _ in range(80):
        params = ask(TPE(), space, trials)
        off = params["y"] ** 2  # the front is y = 0
        trials.append(Record(params, space.to_row(params),
                             losses=(params["x"] + off, 1 - params["x"] + off)))
    late = [trial.params for trial in trials[40:]]
    assert statistics.mean(params["y"] for params in late) < 0.2
    assert np.std([params["x"] for params in late]) > 0.15


# ---- nothing twice

@pytest.mark.parametrize("sampler", [Random(), TPE()])
@pytest.mark.parametrize("in_flight", [1, 8])
def test_no_set_is_tried_twice(sampler, in_flight, problems):
    for seed in range(3):
        trials = search(sampler, problems.FEW, problems.few, 96, seed, in_flight)
        assert len({json.dumps(trial.params) for trial in trials}) == 96


@pytest.mark.parametrize("sampler", [Random(), TPE(n_startup=3)])
def test_a_small_space_is_tried_to_its_end_and_then_again(sampler):
    space = (SearchSpace().categorical("a", [1, 2, 3]).discrete("b", 1, 4, when={"a": [1, 3]}))
    trials = search(sampler, space, lambda params: params["a"], 12)
    assert len({json.dumps(trial.params) for trial in trials[:9]}) == space.size() == 9


def test_grid_stops_by_itself(problems):
    done = []
    with pytest.raises(Exhausted, match="the grid of 320 sets is done"):
        while True:
            params = ask(Grid(), problems.FEW, done)
            done.append(Record(params, problems.FEW.to_row(params), "running"))
    assert [trial.params for trial in done] == list(problems.FEW.grid()) and len(done) == 320
    assert ask(Grid(), problems.FEW, done[:7] + done[8:]) == done[7].params
    with pytest.raises(ConfigError, match="x is continuous"):
        ask(Grid(), SPACE.only("head", "x"), [])


def test_workers_are_sent_to_different_places():
    """Constant liar: what runs already is not where the next one goes."""
    space = SearchSpace.from_dict({"x": (0.0, 1.0), "y": (0.0, 1.0)})
    done = search(TPE(), space, lambda p: (p["x"] - 0.3) ** 2 + (p["y"] - 0.6) ** 2, 40)
    told, untold = list(done), list(done)
    for _ in range(8):
        params = ask(TPE(), space, told)
        told.append(Record(params, space.to_row(params), "running"))
    for seed in range(8):
        params = ask(TPE(), space, done, seed)
        untold.append(Record(params, space.to_row(params)))

    def spread(trials):
        rows = np.array([trial.row for trial in trials[40:]])
        return np.linalg.norm(rows[:, None] - rows, axis=2).sum() / 56
    assert spread(told) > 1.2 * spread(untold)


@pytest.mark.parametrize("edge", ["x0", "x2"])
def test_failures_are_learned_from(edge, problems):
    """Where the loss is NaN, 30% of the box, hardly anyone goes again."""
    def loss(params):
        return math.nan if params[edge] < 0.3 else problems.bowl(
            {name: value - 0.3 for name, value in params.items()})
    early, late = [], []
    for seed in range(10):
        failed = [t.state == "failed" for t in search(TPE(), problems.box(3, 0, 1), loss, 90, seed)]
        early.append(np.mean(failed[:60]))
        late.append(np.mean(failed[60:]))
    assert np.mean(early) <= 0.1 and np.mean(late) <= 0.1


def test_failures_that_come_by_chance_do_no_harm(problems):
    problem, medians = problems.PUBLISHED["branin"], []
    for share in (0.0, 0.15):
        rng = np.random.default_rng(0)
        medians.append(statistics.median(best(search(
            TPE(), problem.space,
            lambda params: math.nan if rng.random() < share else problem.loss(params), 80, seed))
            for seed in range(10)))
    assert medians[1] < 0.42 and medians[1] - medians[0] < 0.02


# ---- how good it is

WINS = {12: 10, 20: 15}  # of so many seeds: p < .021 by the sign test
# Median of the best loss after 100 trials that the sampler must reach.
FLOORS = {"branin": 0.417, "hartmann3": -3.83, "hartmann6": -3.2, "rosenbrock": 0.62, "bert": 0.02,
          "conditional": 0.001}


@pytest.mark.parametrize("name, seeds", [
    *((name, 12) for name in ("branin", "hartmann6", "bert")),
    *(pytest.param(name, 20, marks=pytest.mark.slow) for name in FLOORS)])
def test_tpe_beats_random_search(name, seeds, problems):
    problem = problems.PUBLISHED[name]
    found = [[best(search(sampler, *problem, 100, seed)) for seed in range(seeds)]
             for sampler in (TPE(), Random())]
    assert statistics.median(found[0]) <= FLOORS[name]
    assert sum(ours < theirs for ours, theirs in zip(*found)) >= WINS[seeds]


@pytest.mark.parametrize("name, floor, seeds", [
    ("bert", 0.03, 12), *(pytest.param(*given, 20, marks=pytest.mark.slow) for given in (
        ("bert", 0.03), ("hartmann6", -3.05)))])
def test_eight_in_flight(problems, name, floor, seeds):
    problem = problems.PUBLISHED[name]
    assert statistics.median(best(search(TPE(), *problem, 96, seed, in_flight=8))
                             for seed in range(seeds)) <= floor


@pytest.mark.parametrize("options, message", [
    ({"n_startup": 0}, "n_startup is 0; expected a whole number from 1"),
    ({"candidates": 2.5}, "candidates is 2.5"), ({"good": 1}, "good is 1; expected a share"),
    ({"good": "a"}, "good is 'a'")])
def test_settings_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        TPE(**options)
