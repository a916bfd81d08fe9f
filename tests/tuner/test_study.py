import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bert_kit import ConfigError, TuningError
from bert_kit.files import read_json
from bert_kit.tuner.logging_callback import LoggingCallback
from bert_kit.tuner.trial_files import KeepTop
from bert_kit.tuner.tpe import TPE, Grid, Random
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.study import Study

SPACE = (SearchSpace().log_uniform("lr", 1e-5, 1e-1).discrete("layers", 1, 4)
         .categorical("head", ["linear", "cnn"]).continuous("p", 0, 1, when={"head": "cnn"}))


def parabola(trial):
    return (math.log10(trial.params["lr"]) + 3) ** 2 + 0.1 * trial.params["layers"]


def told(study, values):
    """Return the study after as many trials with these values; None is a failed one."""
    for value in values:
        study.tell(study.ask(), value, None if value is not None else "broken")
    return study


def test_ask_and_tell():
    study = Study("s", SPACE)
    first, second = study.ask(), study.ask()
    assert [first.number, second.number] == [0, 1] and first.params != second.params
    assert study.trials[0].state == "running" and study.trials[0].losses is None
    kept = study.tell(second, 2.5)
    assert (kept.state, kept.value, kept.losses, kept.steps) == ("complete", 2.5, (2.5,), 0)
    assert study.trials[1] is kept and kept.finished >= kept.started
    study.tell(first, error="out of memory")
    assert study.trials[0].state == "failed" and study.trials[0].error == "out of memory"
    assert study.best.number == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.5", {"f1": 1}, 10**400])
def test_what_is_no_finite_number_is_a_failure(value):
    study = told(Study("s", SPACE), [])
    trial = study.tell(study.ask(), value)
    assert (trial.state, trial.value, trial.losses) == ("failed", None, None)
    assert trial.error == f"the value is {value!r}; expected a finite number"


def test_what_a_user_does_to_a_trial_does_not_reach_the_study():
    study = Study("s", SPACE)
    trial = study.ask()
    params = dict(trial.params)
    trial.params.pop("lr")
    trial.notes["gpu"] = np.float32(0.5)
    trial.report(3, 0.7)
    assert study.trials[0].notes == {} and study.trials[0].params == params
    kept = study.tell(trial, np.float32(0.25))
    assert kept.params == params and kept.notes == {"gpu": 0.5} and kept.reports == {3: 0.7}
    assert kept.value == 0.25 and type(kept.value) is float


def test_the_same_seed_draws_the_same_and_the_direction_does_not_matter():
    runs = []
    for sign, direction, seed in ((1, "minimize", 4), (-1, "maximize", 4), (1, "minimize", 5)):
        study = Study("s", SPACE, direction=direction, seed=seed)
        study.optimize(lambda trial: sign * parabola(trial), 30)
        runs.append([trial.params for trial in study.trials])
        assert study.best.value == sign * min(map(parabola, study.trials))
    assert runs[0] == runs[1] != runs[2]
    seeds = [trial.seed for trial in study.trials]
    assert len(set(seeds)) == 30 and seeds[7] == np.random.SeedSequence((5, 7)).generate_state(1)


def test_top_and_best_put_pruned_trials_last():
    study = Study("s", SPACE, direction="maximize")
    for step, value in ((1, 0.9), (2, 0.3), (2, 0.4)):
        trial = study.ask()
        trial.report(step, value)
        trial.state = "pruned"
        study.tell(trial)  # the value is the last report
    assert [trial.number for trial in study.top(9)] == [2, 1, 0]
    assert study.best.state == "pruned" and study.best.value == 0.4
    told(study, [0.1, 0.2, None])
    assert [trial.number for trial in study.top(3)] == [4, 3, 2]
    assert study.best.state == "complete"


def test_a_study_without_a_value_says_why():
    study = told(Study("s", SPACE), [])
    with pytest.raises(TuningError, match="^s: none of 0 trials has a value; none failed$"):
        study.best
    told(study, [None, None])
    with pytest.raises(TuningError, match="none of 2 trials has a value; 2 failed, the last one "
                                          "with broken$"):
        study.best


def test_the_pareto_front_is_what_brute_force_finds():
    rng = np.random.default_rng(0)
    study = Study("s", SPACE, directions={"f1": "maximize", "ms": "minimize"}, sampler=Random())
    assert study.pareto == []
    values = [{"f1": float(a), "ms": float(b)} for a, b in rng.integers(0, 6, (40, 2))]
    told(study, [*values, None])
    front = [i for i, mine in enumerate(values) if not any(
        each["f1"] >= mine["f1"] and each["ms"] <= mine["ms"] and each != mine
        for each in values)]
    assert [trial.number for trial in study.pareto] == front
    assert {trial.number for trial in study.top(len(front))} == set(front)
    with pytest.raises(ConfigError, match="expected one for a best trial"):
        study.best
    trial = study.tell(study.ask(), {"f1": 1.0})
    assert trial.error == ("the value is {'f1': 1.0}; expected a dict with finite numbers for "
                           "f1, ms")


def test_one_objective_may_have_a_name():
    study = told(Study("s", SPACE, directions={"f1": "maximize"}), [0.5, 0.75, 0.25])
    assert study.maximize and study.best.value == 0.75 and study.best.losses == (-0.75,)


def test_a_stored_objective_may_get_a_name_later_and_keeps_it(tmp_path):
    told(Study("s", SPACE, tmp_path, "maximize"), [0.5]).close()  # as searches were stored
    for arguments in ({"directions": {"f1": "maximize"}}, {"direction": "maximize"}):
        study = Study("s", SPACE, tmp_path, resume=True, **arguments)
        assert study.directions == {"f1": "maximize"} and study.best.value == 0.5
        told(study, [0.25]).close()
    for arguments in ({"directions": {"accuracy": "maximize"}}, {"direction": "minimize"},
                      {"directions": {"f1": "minimize"}}):
        with pytest.raises(TuningError, match="has the directions {'f1': 'maximize'}; found"):
            Study("s", SPACE, tmp_path, resume=True, **arguments)


def test_threads_may_ask_at_the_same_time():
    study = Study("s", SPACE, sampler=Random())
    with ThreadPoolExecutor(8) as pool:
        asked = [future.result() for future in [pool.submit(study.ask) for _ in range(100)]]
        [*pool.map(lambda trial: study.tell(trial, trial.params["lr"]), asked)]
    assert sorted(trial.number for trial in asked) == [*range(100)]
    assert [trial.value for trial in study.trials] == [t.params["lr"] for t in study.trials]


def test_statistics_count():
    study = told(Study("s", SPACE), [3.0, None, 1.0, 2.0])
    trial = study.ask()
    trial.state = "pruned"
    study.tell(trial, 0.5)
    study.ask()
    found = study.statistics()
    assert {key: found[key] for key in ("trials", "complete", "pruned", "failed", "running",
                                        "success_rate", "pruning_rate", "best_trial",
                                        "best_value", "errors")} == {
        "trials": 6, "complete": 3, "pruned": 1, "failed": 1, "running": 1, "success_rate": 0.6,
        "pruning_rate": 0.2, "best_trial": 2, "best_value": 1.0, "errors": {"broken": 1}}
    over = study.trials[:5]
    assert math.isclose(found["total_seconds"], sum(t.finished - t.started for t in over))
    assert found["elapsed_seconds"] == over[-1].finished - over[0].started
    assert over == [trial for trial in study.trials if trial.over]
    assert Study("s", SPACE).statistics()["success_rate"] is None


def test_importance_names_what_matters():
    study = Study("s", SPACE.only("lr", "layers"), sampler=Random())
    study.optimize(lambda trial: math.log10(trial.params["lr"]) ** 2, 60)
    assert [*study.importance()][0] == "lr"


def test_exports(tmp_path):
    study = told(Study("s", SPACE, tmp_path), [3.0, None, 1.0])
    trial = study.ask()
    trial.report(1, math.nan)
    study.tell(trial, 5.0)
    study.export()
    trials = read_json(tmp_path / "trial_history.json", list)
    assert [each["state"] for each in trials] == ["complete", "failed", "complete", "complete"]
    assert trials[3]["reports"] == {"1": None} and trials[2]["params"] == study.best.params
    assert trials[0]["duration"] == trials[0]["finished"] - trials[0]["started"]
    best = read_json(tmp_path / "best_parameters.json")
    assert (best["params"], best["value"], best["trial"]) == (study.best.params, 1.0, 2)
    assert read_json(tmp_path / "statistics.json") == study.statistics()
    checkpoint = read_json(tmp_path / "checkpoint.json")
    assert SearchSpace.from_dict(checkpoint["space"]).to_dict() == SPACE.to_dict()
    assert checkpoint["trials"] == 4 and (tmp_path / checkpoint["store"]).is_file()
    with pytest.raises(ConfigError, match="s is in memory; expected a path"):
        Study("s", SPACE).optimize(parabola, 1, callbacks=[KeepTop(1)])
    several = Study("t", SPACE, tmp_path / "t", directions={"a": "minimize", "b": "maximize"})
    told(several, [{"a": 1, "b": 1}, {"a": 0, "b": 2}, {"a": -1, "b": 1}]).export()
    front = read_json(tmp_path / "t/best_parameters.json", list)
    assert [each["trial"] for each in front] == [1, 2]
    with pytest.raises(ConfigError, match="s is in memory; expected a path"):
        Study("s", SPACE).export()


def test_only_the_folders_of_the_best_stay(tmp_path):
    def objective(trial):
        with open(f"{trial.folder}/model", "w") as handle:
            handle.write(str(trial.number))
        if trial.number == 5:
            raise RuntimeError("no")
        return trial.params["lr"]

    study = Study("s", SPACE, tmp_path, sampler=Random())
    study.optimize(objective, 12, callbacks=[KeepTop(3)])
    left = {int(folder.name): (folder / "model").read_text()
            for folder in (tmp_path / "trials").iterdir()}
    assert left == {trial.number: str(trial.number) for trial in study.top(3)}
    Study("t", SPACE, tmp_path / "t").optimize(parabola, 2)
    assert not [*(tmp_path / "t/trials").iterdir()]  # nothing was kept, so nothing is there


def test_resuming_a_study(tmp_path):
    told(Study("s", SPACE, tmp_path, seed=3), [3.0, 2.0, None]).close()
    with pytest.raises(TuningError, match="holds the study 's'; expected another folder, or "
                                          "resume=True"):
        Study("s", SPACE, tmp_path, seed=3)
    for change, words in (({"name": "t"}, "has the name 's'; found 't'"),
                          ({"seed": 0}, "has the seed 3; found 0"),
                          ({"direction": "maximize"}, "has the directions")):
        with pytest.raises(TuningError, match=words):
            Study(**{"name": "s", "space": SPACE, "path": tmp_path, "seed": 3, "resume": True,
                     **change})
    study = Study("s", SPACE, tmp_path, seed=3, resume=True)
    assert [trial.value for trial in study.trials] == [3.0, 2.0, None]
    assert study.best.number == 1 and study.ask().number == 3
    assert Study("new", SPACE, tmp_path / "new", resume=True).trials == []


def test_a_resumed_study_is_the_unbroken_one(tmp_path):
    whole = Study("s", SPACE, seed=1)
    whole.optimize(parabola, 40, in_flight=3, mode="waves")
    for _ in range(4):
        part = Study("s", SPACE, tmp_path, seed=1, resume=True)
        part.optimize(parabola, 9, in_flight=3, mode="waves")
    part.optimize(parabola, 4, in_flight=3, mode="waves")
    assert [(t.params, t.value, t.seed) for t in part.trials] == [
        (t.params, t.value, t.seed) for t in whole.trials]


def test_a_space_may_be_wider_on_resume(tmp_path):
    narrow = (SearchSpace().continuous("x", 0, 1).categorical("head", ["a", "b"]))
    wide = (SearchSpace().continuous("x", -1, 3).categorical("head", ["c", "b", "a"]))
    study = Study("s", narrow, tmp_path)
    study.optimize(lambda trial: trial.params["x"], 20)
    params = [trial.params for trial in study.trials]
    study = Study("s", wide, tmp_path, resume=True)
    study.optimize(lambda trial: trial.params["x"], 20)
    assert [trial.params for trial in study.trials[:20]] == params
    with pytest.raises(ConfigError, match="there is no trial 40; s has 40"):
        study.replay(40)
    for trial in study.trials:
        np.testing.assert_allclose(trial.row, wide.to_row(trial.params))
    assert study.best.value < 0  # which the first space did not have
    assert {trial.params["head"] for trial in study.trials[20:]} >= {"c"}
    assert [study.replay(i) for i in range(40)] == [trial.params for trial in study.trials]
    for other in (narrow, SearchSpace().continuous("x", -1, 3)):
        with pytest.raises(ConfigError, match="x|head"):
            Study("s", other, tmp_path, resume=True)


def test_a_sampler_of_ones_own():
    class Middle:
        def sample(self, space, trials, rng):
            done = sum(trial.losses is not None for trial in trials)
            return space.from_row(np.full(len(space.parameters), 0.5)) | {"layers": 1 + done}

    study = told(Study("s", SPACE, sampler=Middle()), [1.0, 1.0])
    assert [trial.params["layers"] for trial in study.trials] == [1, 2]
    told(study, [1.0, 1.0])
    with pytest.raises(ConfigError, match="layers is 5"):
        study.ask()
    assert len(study.trials) == 4


def test_the_grid_ends_by_itself_and_goes_on_after_a_resume(tmp_path):
    space = SPACE.only("layers", "head")
    Study("s", space, tmp_path, sampler=Grid()).optimize(lambda trial: 0.0, 5)
    study = Study("s", space, tmp_path, sampler=Grid(), resume=True)
    study.optimize(lambda trial: 1.0, 100, in_flight=3)
    assert len(study.trials) == len({str(trial.params) for trial in study.trials}) == 8
    study.optimize(lambda trial: 1.0, 100)
    assert len(study.trials) == 8


def test_nothing_is_tried_twice_with_many_in_flight():
    space = SearchSpace.from_dict({"a": [*range(5)], "b": (1, 8), "c": [*"wxyz"], "d": [0, 1]})
    study = Study("s", space, sampler=TPE())
    study.optimize(lambda trial: trial.params["a"] + trial.params["b"], 96, in_flight=8)
    assert space.size() == 320 and len({str(trial.params) for trial in study.trials}) == 96


@pytest.mark.parametrize("arguments,words", [
    ({"direction": "up"}, "direction of value is 'up'; expected one of minimize, maximize"),
    ({"directions": {"f1": "max"}}, "direction of f1 is 'max'"),
    ({"seed": -1}, "seed is -1; expected a whole number from 0"),
    ({"directions": {"a": "maximize", "b": "maximize"}, "pruner": object()},
     "a pruner compares one number; found the objectives a, b"),
])
def test_impossible_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        Study("s", SPACE, **arguments)


def test_the_logging_callback_says_a_line_a_trial(tmp_path):
    lines = []
    study = Study("log", SearchSpace().continuous("x", 0, 1), tmp_path, seed=0)
    study.optimize(lambda trial: trial.params["x"], 3,
                   callbacks=[LoggingCallback("height", lines.append)])
    assert [line.split()[:2] for line in lines[:3]] == [["trial", str(i)] for i in range(3)]
    assert all("height " in line and "x 0." in line for line in lines[:3])
    assert lines[3] == "trials    3 complete, 0 pruned, 0 failed"
