"""Population-based training with known answers. Run: pytest tests/tuner/test_pbt.py"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from bert_kit.errors import BertKitError, ConfigError, TuningError
from bert_kit.tuner import PBT, Population, SearchSpace
from bert_kit.tuner.pbt import perturb

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = SearchSpace().continuous("h0", 0.0, 1.0).continuous("h1", 0.0, 1.0)
RATE = SearchSpace().log_uniform("lr", 1e-3, 1.0)


def figure_2(leg):
    """Jaderberg 2017, figure 2: 1.2 - a^2 - b^2, of which a run only sees 1.2 - h0 a^2 - h1 b^2.

    A unit is 5 steps of gradient ascent. Fixed (1, 0) or (0, 1) cannot pass 1.2 - .81 = .39.
    """
    place = np.full(2, 0.9) if leg.state_in is None else load(leg)
    for _ in range(5 * (leg.stop - leg.start)):
        place = place - 0.02 * np.array([leg.params["h0"], leg.params["h1"]]) * place
    save(leg, place)
    return 1.2 - (place**2).sum()


def noisy(leg):
    """SGD on |x|^2 / 2 with noise: a high rate is fast, and only a low one ends near 0."""
    rng = np.random.default_rng(leg.seed)
    x = np.full(20, 3.0) if leg.state_in is None else load(leg)
    for _ in range(5 * (leg.stop - leg.start)):
        x = x - leg.params["lr"] * (x + rng.normal(size=20))
    save(leg, x)
    return (x**2).sum() / 40


def load(leg):
    return np.frombuffer(Path(leg.state_in).read_bytes())


def save(leg, array):
    Path(leg.state_out).write_bytes(array.tobytes())


def fails_in_places(leg):
    """Like `figure_2`, but a part of the space fails in one way or the other."""
    if leg.params["h0"] > 0.7:
        raise ValueError("too far")
    return math.nan if leg.params["h1"] > 0.7 else figure_2(leg)


def trace(population):
    """All that two runs must agree in."""
    return [(row.generation, row.slot, row.parent, row.params, row.seed, row.score, row.error)
            for row in population.lineage]


def finals(toy, space, seeds, tmp_path, **settings):
    """The best score of the last generation, for each seed."""
    scores = []
    for seed in seeds:
        population = PBT(space, seed=seed, **settings).run(
            toy, generations=40 if toy is figure_2 else 80, path=tmp_path / f"{seed}")
        last = [row.score for row in population.lineage[-4:]]
        scores.append(max(last) if population.maximize else min(last))
    return np.array(scores)


def test_figure_2_of_the_paper(tmp_path):
    """Of 200 seeds the median is 1.199 and the worst 1.19."""
    best = finals(figure_2, WEIGHTS, range(5), tmp_path, exploit=1)
    assert np.median(best) >= 1.198 and best.min() > 1.0
    for h0, h1 in ((1, 0), (0, 1)):  # each alone leaves one of the two distances as it was
        fixed = PBT(WEIGHTS).replay(figure_2, [(g, {"h0": h0, "h1": h1}, 0) for g in range(40)],
                                    tmp_path / "fixed")
        assert 0.38 < fixed < 0.39


def test_a_schedule_beats_every_fixed_rate(tmp_path):
    """At most a third of the loss of the best of four fixed rates, here the same draws."""
    seeds = range(3)
    ours = finals(noisy, RATE, seeds, tmp_path / "pbt", exploit=1, direction="minimize")
    fixed = []
    for seed in seeds:
        drawn = Population.load(tmp_path / "pbt" / f"{seed}").lineage[:4]
        pbt = PBT(RATE, direction="minimize")
        fixed.append(min(pbt.replay(noisy, [(g, row.params, 80 * row.seed + g) for g in range(80)],
                                    tmp_path / "fixed") for row in drawn))
    assert np.median(ours) <= np.median(fixed) / 3


def test_first_generation_is_spread_over_the_space():
    for seed in range(20):
        members = PBT(WEIGHTS.ordered("size", [1, 2, 4, 8, 16]), population=5,
                      seed=seed).ask()
        for name in ("h0", "h1"):
            assert sorted(int(5 * row.params[name]) for row in members) == [0, 1, 2, 3, 4]
        assert sorted(row.params["size"] for row in members) == [1, 2, 4, 8, 16]


def test_members_follow_the_scores_of_the_generation_before(tmp_path):
    for quantile, population, many in ((0.2, 4, 1), (0.2, 5, 1), (0.5, 4, 2), (0.25, 10, 3),
                                       (0.5, 3, 1)):
        for exploit in (0.0, 0.5, 1.0):
            run = PBT(WEIGHTS, population, quantile, exploit).run(
                figure_2, 15, tmp_path / f"{population}{quantile}{exploit}")
            rows = np.array(run.lineage, dtype=object).reshape(15, population)
            copies = 0
            for before, now in zip(rows, rows[1:]):
                ranked = sorted(before, key=lambda row: row.score)
                bottom, top = ranked[:many], {row.slot for row in ranked[-many:]}
                for row in now:
                    old = before[row.parent]
                    if before[row.slot] not in bottom:
                        assert row.parent == row.slot and row.params == old.params
                        continue
                    assert row.parent in top or row.parent == row.slot
                    copies += row.parent != row.slot
                    for name, value in row.params.items():
                        assert value in (old.params[name] * 0.8, min(1, old.params[name] * 1.2))
            changed = 14 * many
            assert 0.4 * changed < copies < 0.6 * changed if exploit == 0.5 and many == 3 else True
            assert exploit == 0.5 or copies == exploit * changed


def test_every_value_stays_inside_its_range():
    space = (SearchSpace().log_uniform("lr", 1e-5, 1e-3).continuous("dropout", 0, 0.5)
             .continuous("shift", -2, 3).discrete("rows", 8, 64, 8).discrete("few", 1, 3)
             .discrete("wide", 1, 512, log=True).ordered("width", [16, 64, 256, "all"])
             .categorical("head", ["linear", "cnn"]).discrete("kernels", 1, 9, when={"head": "cnn"})
             .continuous("near", 0.1, 1.0, when={"few": [1, 3]}))
    pbt, rng = PBT(space), np.random.default_rng(0)
    params, seen = {**space.from_row(np.full(10, 0.4)), "head": "cnn"}, set()
    params["kernels"] = 3
    for _ in range(10_000):
        params = pbt._changed(params, rng)
        space.check(params)  # all are inside, and there only where they are active
        assert params["head"] == "cnn"
        seen.update((name, params[name]) for name in ("rows", "few", "width", "kernels"))
    assert len(seen) == 8 + 3 + 4 + 9  # every value is reached


@pytest.mark.parametrize("kind, arguments, value, down, up", [
    ("continuous", (0.0, 1.0), 0.5, 0.4, 0.6), ("continuous", (0, 1), 0.9, 0.72, 1.0),
    ("continuous", (-3.0, -1.0), -1.1, -1.0, -1.32),
    ("log_uniform", (1e-5, 1e-3), 1.1e-5, 1e-5, 1.32e-5),
    ("discrete", (1, 9), 2, 1, 3), ("discrete", (1, 9), 1, 1, 2),
    ("discrete", (0, 900), 500, 400, 600), ("discrete", (8, 64, 8), 40, 32, 48),
    ("ordered", ([3, "b", None],), "b", 3, None), ("ordered", ([3, "b", None],), None, "b", None),
    ("categorical", (["x", "y"],), "x", "x", "x")])
def test_perturb(kind, arguments, value, down, up):
    parameter = getattr(SearchSpace(), kind)("p", *arguments).parameters[0]
    for factor, expected in ((0.8, down), (1, value), (1.2, up)):
        found = perturb(parameter, value, factor)
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)
        assert type(found) is type(expected)


def test_equal_on_every_executor_and_from_seed_to_seed(tmp_path):
    pbt = PBT(RATE, direction="minimize", seed=3)
    serial = pbt.run(noisy, 6, tmp_path / "serial")
    with ThreadPoolExecutor(3) as threads:
        assert trace(pbt.run(noisy, 6, tmp_path / "threads", executor=threads)) == trace(serial)
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        spread = pbt.run(noisy, 6, tmp_path / "processes", executor=processes, devices=["a", "b"])
    assert trace(spread) == trace(serial)
    other = PBT(RATE, direction="minimize", seed=4).run(noisy, 6, tmp_path / "other")
    assert trace(other) != trace(serial)
    assert len({row.seed for row in serial.lineage + other.lineage}) == 48


def test_result(tmp_path):
    pbt = PBT(WEIGHTS, exploit=1, seed=1)
    run = pbt.run(figure_2, 8, tmp_path / "run")
    assert run.best.score == max(row.score for row in run.lineage)
    assert Population.load(tmp_path / "run") == run
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = Population.load(tmp_path / "moved").best
    assert moved.checkpoint == str(tmp_path / "moved" / "states" / Path(run.best.checkpoint).name)
    schedule = run.schedule(run.best)
    assert [generation for generation, _, _ in schedule] == list(range(run.best.generation + 1))
    assert schedule[-1][1:] == (run.best.params, run.best.seed)
    assert pbt.replay(figure_2, schedule, tmp_path / "replayed") == run.best.score
    assert (tmp_path / "replayed").read_bytes() == Path(moved.checkpoint).read_bytes()
    assert len(run.diversity) == 8
    first = np.array([[row.params["h0"], row.params["h1"]] for row in run.lineage[:4]])
    assert run.diversity[0] == pytest.approx(first.std(axis=0).mean())


def test_units_of_a_generation(tmp_path):
    def step(leg):
        assert leg.stop - leg.start == 3 and leg.start % 3 == 0
        return figure_2(leg)

    pbt = PBT(WEIGHTS, seed=2)
    run = pbt.run(step, 4, tmp_path / "run", every=3)
    assert pbt.replay(step, run.schedule(run.best), tmp_path / "r", every=3) == run.best.score


def test_files_are_few_at_any_moment(tmp_path):
    states, counts = tmp_path / "run" / "states", []

    def step(leg):
        score = figure_2(leg)
        counts.append(len(list(states.iterdir())))
        return score if leg.start != 2 else score + 2  # the best is one in the middle

    class Between:
        def on_generation(self, population):
            there = {str(file) for file in states.iterdir()}
            needed = [population.best, *population.lineage[-4:]]
            assert there == {member.checkpoint for member in needed} and len(there) <= 5
            assert len(population.lineage) % 4 == 0

    run = PBT(WEIGHTS).run(step, 8, tmp_path / "run", callbacks=[Between()])
    assert max(counts) == 9 and run.best.generation == 2


def test_failures_go_on_from_a_copy(tmp_path):
    run = PBT(WEIGHTS, population=6, exploit=0, seed=0).run(fails_in_places, 12, tmp_path / "run")
    failed = [row for row in run.lineage if row.score is None]
    assert any(row.error == "ValueError: too far" for row in failed)
    assert any(row.error == "score nan" for row in failed)
    slots = {(row.generation, row.slot): row for row in run.lineage}
    for row in failed[:-1]:
        if row.generation < 11:
            child = slots[row.generation + 1, row.slot]
            assert slots[row.generation, child.parent].score is not None
    with pytest.raises(TuningError, match="all members of generation 0 failed.*leaving no"):
        PBT(WEIGHTS).run(lambda leg: 1.0, 2, tmp_path / "none")
    with pytest.raises(TuningError, match="first by ZeroDivisionError: division by zero"):
        PBT(WEIGHTS).run(lambda leg: 1 / 0, 2, tmp_path / "zero")


def test_resume_or_one_clear_line(tmp_path):
    whole = PBT(WEIGHTS, seed=5).run(figure_2, 6, tmp_path / "whole")
    pbt = PBT(WEIGHTS, seed=5)
    pbt.run(figure_2, 2, tmp_path / "run", resume=True)  # nothing there yet
    with pytest.raises(TuningError, match="already holds a population; pass resume=True"):
        pbt.run(figure_2, 6, tmp_path / "run")
    for other, every, name in ((PBT(WEIGHTS, seed=6), 1, "seed was 5 and is now 6"),
                               (PBT(RATE, seed=5), 1, "space was"),
                               (PBT(WEIGHTS, seed=5, exploit=1), 1, "exploit"), (pbt, 2, "every")):
        with pytest.raises(TuningError, match=name):
            other.run(figure_2, 6, tmp_path / "run", every=every, resume=True)
    left = tmp_path / "run" / "states" / ".left_by_a_kill"
    left.touch()
    assert trace(pbt.run(lambda leg: figure_2(leg) + left.exists(), 6, tmp_path / "run",
                         resume=True)) == trace(whole)
    assert trace(pbt.run(figure_2, 3, tmp_path / "run", resume=True)) == trace(whole)
    (tmp_path / "run" / "population.json").write_text('{"settings"')
    with pytest.raises(BertKitError, match="population.json: not valid JSON"):
        pbt.run(figure_2, 6, tmp_path / "run", resume=True)


@pytest.mark.parametrize("key, value, message", [
    ("slot", 7, "member 9 is slot 7 of generation 1, from slot"),
    ("generation", 0, "of generation 0"), ("parent", 99, "from slot 99"),
    ("checkpoint", "../../x", "has its state in .*x"),
    ("checkpoint", "/etc/hosts", "has its state in /etc/hosts")])
def test_a_lineage_that_no_population_left(tmp_path, key, value, message):
    PBT(WEIGHTS, population=5).run(figure_2, 2, tmp_path)
    stored = json.loads((tmp_path / "population.json").read_text())
    stored["lineage"][9][key] = value
    (tmp_path / "population.json").write_text(json.dumps(stored))
    with pytest.raises(TuningError, match=f"population.json: damaged .*{message}"):
        PBT(WEIGHTS, population=5).run(figure_2, 3, tmp_path, resume=True)


@pytest.mark.parametrize("arguments, message", [
    ({"population": 1}, "population is 1; expected a whole number"),
    ({"population": 4.5}, "population is 4.5"), ({"seed": -1}, "seed is -1"),
    ({"quantile": 0.6}, "quantile is 0.6"), ({"exploit": -0.1}, "exploit is -0.1"),
    ({"factors": (0.8, 0)}, "factors is"), ({"direction": "up"}, "direction is 'up'")])
def test_impossible_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        PBT(WEIGHTS, **arguments)


SCRIPT = """
import sys, time
sys.path[:0] = [{tests!r}]
from test_pbt import PBT, WEIGHTS, figure_2
def step(leg):
    time.sleep(.002)
    return figure_2(leg)
PBT(WEIGHTS, seed=7).run(step, 40, {path!r}, resume=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a signal")
def test_kill_and_resume_is_the_unbroken_run(tmp_path):
    whole = PBT(WEIGHTS, seed=7).run(figure_2, 40, tmp_path / "whole")
    code = SCRIPT.format(tests=str(Path(__file__).parent), path=str(tmp_path / "run"))
    kills, rng = 0, np.random.default_rng(0)
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT,
                                 env={**os.environ, "PYTHONPATH": str(ROOT)})
        states = tmp_path / "run" / "states"
        while child.poll() is None and not (states.exists() and any(states.iterdir())):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
    assert kills >= 2
    run = PBT(WEIGHTS, seed=7).run(figure_2, 40, tmp_path / "run", resume=True)
    assert trace(run) == trace(whole)
    assert Path(run.best.checkpoint).read_bytes() == Path(whole.best.checkpoint).read_bytes()
