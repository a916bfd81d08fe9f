"""The table against Optuna: it runs through, and its problems are what they are said to be."""

import base64
import importlib
import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"


@pytest.fixture
def problems(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("tuner_problems")


@pytest.fixture
def tuner(problems):
    return importlib.import_module("tuner")


def run(tuner, path, *words):
    tuner.main(tuner.parse_arguments([*map(str, words), "--json", str(path)]))
    return json.loads(path.read_text())


def test_known_minima(problems):
    known = {
        "branin": ({"x": math.pi, "y": 2.275}, 0.397887),
        "hartmann3": (dict(zip("abc", (0.114614, 0.555649, 0.852547))), -3.86278),
        "hartmann6": (dict(zip("abcdef", (0.20169, 0.150011, 0.476874, 0.275332, 0.311652,
                                          0.6573))), -3.32237),
        "rosenbrock": ({f"x{i}": 10.0 for i in range(4)}, 0.0),
        "bert": ({"lr": 3e-5, "weight_decay": 1e-2, "dropout_rate": 0.15, "warmup_ratio": 0.1,
                  "num_hidden_layers": 3, "batch_size": 16, "activation": "gelu"}, 0.0),
        "conditional": ({"head": "cnn", "norm": "layer", "lr": 1e-4, "width": 128,
                         "dropout": 0.2}, 0.0),
        "ackley5": ({f"x{i}": 7.3 for i in range(5)}, 0.0),
        "levy4": ({f"x{i}": 1.0 for i in range(4)}, 0.0),
        "styblinski3": ({f"x{i}": -2.903534 for i in range(3)}, -3 * 39.166166),
        "bowl8": ({f"x{i}": 0.37 for i in range(8)}, 0.0),
        "mixed": ({"optimizer": "adam", "lr": 1e-3, "schedule": "cosine", "batch": 64,
                   "layers": 8, "tied": True, "clip": 1.0}, 0.0)}
    every = {**problems.PUBLISHED, **problems.OTHERS}
    assert known.keys() == every.keys()
    rng = np.random.default_rng(0)
    for name, (params, minimum) in known.items():
        space, loss = every[name]
        assert loss(params) == pytest.approx(minimum, abs=1e-4), name
        drawn = [loss(space.from_row(rng.random(len(space.parameters)))) for _ in range(300)]
        assert min(drawn) >= minimum - 1e-4
    assert problems.few({"layers": 4, "batch_size": 8, "activation": "gelu", "dropout": 0.1}) == 0


def write_table(path, shape, **extra):
    values = np.arange(np.prod(shape), dtype=np.uint16)
    path.write_text(json.dumps({"shape": shape, **extra, "values": base64.b64encode(
        zlib.compress(values.tobytes())).decode()}))


def test_tables_are_looked_up_at_the_nearest_setting(problems, tmp_path):
    write_table(tmp_path / "digits_sgd.json", [9, 9, 3, 3, 2], n_valid=10)
    write_table(tmp_path / "digits_mlp.json", [11, 5, 6, 3, 2], scale=10)
    tables = problems.tables(tmp_path)
    problem, curve = tables["digits_mlp"]
    params = {"lr": 10**-4.1, "alpha": 0.09, "width": 11, "activation": "logistic"}
    problem.space.check(params)
    place = np.ravel_multi_index((1, 3, 1, 2, 0), (11, 5, 6, 3, 2))  # 11 is nearer to 8, in logs
    assert curve(params).tolist() == [place / 10, (place + 1) / 10]
    assert problem.loss(params) == (place + 1) / 10
    sgd = tables["digits_sgd"][0]
    assert sgd.loss({"alpha": 1e-1, "eta0": 1e-5, "loss": "log_loss", "penalty": "l1"}) == (
        np.ravel_multi_index((8, 0, 1, 1, 1), (9, 9, 3, 3, 2)) / 10)


@pytest.mark.slow
def test_all_work_runs_through(tuner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tuner, "TIMED", 130)
    monkeypatch.setattr(tuner, "optuna", None)
    monkeypatch.setattr(tuner, "WORKERS", (2, 5))
    figures = run(tuner, tmp_path / "figures.json", "--seeds", 1, "--problems", "branin",
                  "conditional", "mixed", "--seconds", 0.01)
    printed = capsys.readouterr().out
    assert set(figures) == {"quality", "flight", "failures", "overhead", "workers"}
    for count, found in figures["workers"].items():
        assert found["wanted"] == pytest.approx(100 * int(count))
        assert 0 < found["given"] < 1.3 * found["wanted"] and found["ms"] > 0
    assert set(figures["quality"]) == {"branin", "conditional", "mixed"}
    for figure in (figures["flight"], figures["failures"], figures["overhead"],
                   *figures["quality"].values()):
        assert set(figure) == {"random", "TPE"}
    for found in figures["quality"].values():
        for best in found.values():
            assert best[0][0] >= best[1][0] >= best[2][0]
    assert figures["flight"]["TPE"][2] == 0 and figures["overhead"]["TPE"][0] > 0
    assert "the two trained tables are left out" in printed and "no comparison" in printed
    assert "320 trials, 320 sets, then: the grid of 320 sets is done" in printed


@pytest.mark.parametrize("name", ["conditional", "mixed", "bert"])
def test_the_other_tool_walks_the_same_space(tuner, problems, name):
    pytest.importorskip("optuna")
    space, loss = {**problems.PUBLISHED, **problems.OTHERS}[name]
    loop, tried = tuner.tools()["Optuna"](space, 0), []

    def judge(params):
        space.check(params)
        tried.append(loss(params))
        return math.nan if len(tried) == 3 else tried[-1]
    best = tuner.run(loop, judge, 16, in_flight=4)
    states = [trial.state.name for trial in loop.study.trials]
    assert len(best) == 16 and states.count("FAIL") == 1 and states.count("COMPLETE") == 15
    assert best[-1] == min(value for number, value in enumerate(tried) if number != 2)
