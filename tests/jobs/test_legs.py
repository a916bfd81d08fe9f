"""Legs of training a small BERT, and populations. Run: pytest tests/jobs/test_legs.py"""

import functools
import importlib
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from bert_kit import BERTForMaskedLM, BertConfig, save_pretrained, train_tokenizer, weights
from bert_kit.errors import BertKitError, ConfigError, MachineError, TrainingError
from bert_kit.jobs.run.job import Training
from bert_kit.jobs.tasks import texts
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.tasks.texts import Predictor
from bert_kit.jobs.train import TextClassificationTrainer
from bert_kit.jobs.tuning import legs as leg_step
from bert_kit.jobs.tuning.legs import BertStep, read_state
from bert_kit.tuner import PBT, Leg, Random, SearchSpace, Study, SuccessiveHalving
from bert_kit.tuner.legs import run_legs
from tiny_jobs import table, write_table

SPACE = (SearchSpace().log_uniform("lr", 1e-3, 1e-2).log_uniform("weight_decay", 1e-3, 0.3)
         .continuous("dropout_rate", 0.05, 0.5).continuous("warmup_ratio", 0.05, 0.5))
PARAMS = {"lr": 3e-3, "weight_decay": 0.1, "dropout_rate": 0.2, "warmup_ratio": 0.3}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(table, folder of a BERT with random weights: 2 layers, 64 wide, a tiny vocabulary)."""
    folder = tmp_path_factory.mktemp("files")
    tokenizer = train_tokenizer(table()[0], vocab_size=120, min_frequency=1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = BERTForMaskedLM(BertConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=64, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=96, max_position_embeddings=24,
            initializer_range=0.1))
    save_pretrained(model, folder / "bert", tokenizer)
    return write_table(folder / "rows.csv"), folder / "bert"


@pytest.fixture
def settings(files):
    return ClassOptions(
        data_file=files[0], model=files[1], num_train_epochs=10, batch_size=16, max_length=20,
        val_size=0.3, device="cpu", precision="float32", metric="loss")


def assert_equal_states(one, two):
    """Everything in two state files is equal bit for bit."""
    assert_same(read_state(one), read_state(two), "state")


def assert_same(one, two, name):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), name
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), name
        for key in one:
            assert_same(one[key], two[key], f"{name}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(two), name
        for i, pair in enumerate(zip(one, two)):
            assert_same(*pair, f"{name}[{i}]")
    else:
        assert one == two, name


def test_legs_are_the_unbroken_run(settings, tmp_path):
    """Three legs, one leg, and the classification job itself end in the same bits."""
    step = BertStep(settings.replace(num_train_epochs=4))
    one = step(Leg(PARAMS, 5, 0, 4, state_out=str(tmp_path / "one")))
    for start, stop, source, target in ((0, 1, None, "a"), (1, 3, "a", "b"), (3, 4, "b", "a")):
        torch.rand(7)  # whatever else is drawn in between
        last = step(Leg(PARAMS, 5, start, stop, source and str(tmp_path / source),
                        str(tmp_path / target)))
    assert last == one
    assert_equal_states(tmp_path / "one", tmp_path / "a")

    job = TextClassificationTrainer(settings=settings.replace(
        num_train_epochs=4, learning_rate=3e-3, weight_decay=0.1, dropout=0.2, warmup_steps=0.3,
        output_dir=None, load_best_model_at_end=False, verbosity=0))
    datasets = job.prepare_data()
    job.settings = job.settings.replace(seed=5)  # of everything but the split
    job.setup_trainer(datasets)
    job.train()
    assert job.evaluate(datasets["validation"])["loss"] == one
    assert_same(dict(job.model.state_dict()), dict(read_state(tmp_path / "one")["model"]), "model")


def test_every_parameter_holds_for_the_live_run(settings, tmp_path, monkeypatch):
    """Each of the four is in force in a leg that goes on, and the moments are kept."""
    state, seen = str(tmp_path / "state"), []
    step = BertStep(settings.replace(num_train_epochs=4, head_learning_rate=2e-3))
    step(Leg(PARAMS, 1, 0, 1, state_out=state))
    before, steps = read_state(state), 5
    assert before["epoch"] == 1  # 72 rows in batches of 16

    def look(trainer):
        seen.append(trainer)
        for name, p in trainer.model.named_parameters():
            kept = trainer.amp.optimizer.state[p]
            assert torch.equal(kept["exp_avg"], before["moments"][name]["exp_avg"]), name
            assert int(kept["step"]) == steps
        trainer.state.step = trainer.total_steps  # look only

    monkeypatch.setattr("bert_kit.training.trainer.Trainer.train", look)
    changed = {"lr": 1e-3, "weight_decay": 0.3, "dropout_rate": 0.5, "warmup_ratio": 0.5}
    step(Leg(changed, 9, 1, 2, state))
    optimizer, model = seen[0].amp.optimizer, seen[0].model
    # Warm-up now takes 10 of the 20 steps: after 5 of them the next is stride 6 of 11.
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx(
        [1e-3 * 6 / 11, 2e-3 * 6 / 11])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.3, 0.0}
    assert model.classifier.dropout.p == 0.5
    assert seen[0].total_steps == 2 * steps and seen[0].state.epoch == 1


def test_parameters_change_what_is_trained(settings, tmp_path):
    """A leg that goes on with another value of any parameter ends elsewhere."""
    step, state = BertStep(settings), str(tmp_path / "state")
    step(Leg(PARAMS, 1, 0, 1, state_out=state))
    ends = {}
    for name, value in {"lr": 1e-3, "weight_decay": 0.3, "dropout_rate": 0.5, "warmup_ratio": 0.5,
                        "batch_size": 8, "label_smoothing": 0.3}.items():
        params = {**PARAMS, name: value}
        ends[name] = step(Leg(params, 1, 1, 2, state))
        assert step(Leg(params, 2, 1, 2, state)) == ends[name]  # the seed was for the beginning
    assert len({*ends.values(), step(Leg(PARAMS, 1, 1, 2, state))}) == 7


@pytest.mark.parametrize("generations, copies", [
    (3, 2), pytest.param(6, 5, marks=pytest.mark.slow)])
def test_population(settings, tmp_path, generations, copies):
    """Broken off and gone on with, anywhere, it is the same run; and its best can be replayed."""
    pbt, counts = PBT(SPACE, exploit=1, direction="minimize", seed=1), []
    step, states = BertStep(settings), tmp_path / "whole" / "states"

    def counted(leg):
        score = step(leg)
        counts.append(len(list(states.iterdir())))
        return score

    class Between:
        def on_generation(self, population):
            assert len(list(states.iterdir())) <= 5

    whole = pbt.run(counted, generations, tmp_path / "whole", callbacks=[Between()])
    assert len(whole.lineage) == 4 * generations and max(counts) <= 9
    assert sum(row.parent not in (None, row.slot) for row in whole.lineage) == copies
    assert whole.best.score < min(row.score for row in whole.lineage[:4])
    for row in whole.lineage:
        SPACE.check(row.params)

    left = iter(range(2 * generations - 1))  # legs until the end of the machine

    def broken(leg):
        if next(left, None) is None:
            Path(leg.state_out).write_bytes(b"half a state")
            raise KeyboardInterrupt
        return step(leg)

    with pytest.raises(KeyboardInterrupt):
        pbt.run(broken, generations, tmp_path / "broken")
    again = pbt.run(step, generations, tmp_path / "broken", resume=True)
    for one, two in zip(whole.lineage, again.lineage, strict=True):
        assert vars(one) | {"checkpoint": None} == vars(two) | {"checkpoint": None}
        assert Path(one.checkpoint).exists() == Path(two.checkpoint).exists()
        if Path(one.checkpoint).exists():
            assert_equal_states(one.checkpoint, two.checkpoint)
    assert sum(Path(row.checkpoint).exists() for row in again.lineage) in (4, 5)

    replayed = tmp_path / "replayed"
    assert pbt.replay(step, again.schedule(again.best), replayed) == again.best.score
    assert_equal_states(replayed, again.best.checkpoint)

    step.save_model(again.best.checkpoint, tmp_path / "model")
    predictor = Predictor.load(tmp_path / "model", "cpu")
    assert_same(dict(predictor.model.state_dict()), dict(read_state(replayed)["model"]), "model")


@pytest.mark.slow
def test_other_processes_do_the_same(settings, tmp_path):
    pbt, step = PBT(SPACE, population=2, direction="minimize", seed=3), BertStep(settings)
    here = pbt.run(step, 2, tmp_path / "here")
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=torch.set_num_threads,
                             initargs=(torch.get_num_threads(),)) as executor:
        there = pbt.run(step, 2, tmp_path / "there", executor=executor, devices=["cpu"])
    for one, two in zip(here.lineage, there.lineage, strict=True):
        assert one.score == two.score
        if Path(one.checkpoint).exists():
            assert_equal_states(one.checkpoint, two.checkpoint)


def test_halving_goes_on_where_it_stopped(settings, tmp_path, capsys):
    """What is promoted ends as if it had been trained in one go."""
    step = BertStep(settings.replace(num_train_epochs=4))
    study = Study("halving", SPACE, tmp_path / "study", "minimize", sampler=Random(), seed=2)
    study.halve(step, SuccessiveHalving(4, 1, 4, eta=2))
    assert sorted(max(trial.reports) for trial in study.trials) == [1, 1, 2, 4]
    for trial in study.trials:
        assert step(Leg(trial.params, trial.seed, 0, max(trial.reports))) == trial.value
    study.close()


@pytest.mark.slow
def test_benchmark(files, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "examples/benchmarks"))
    benchmark = importlib.import_module("population")
    benchmark.main(benchmark.parse_arguments(["--data_file", str(files[0]), "--seeds", "1",
                                              "--generations", "2"]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["exploit", ".5", "exploit", "1", "fixed"]
    scores = [float(number) for number in lines[4].split()[1:]]
    assert len(scores) == 9 and all(0 < score <= 1 for score in scores)
    assert all(scores[i] <= scores[i + 1] for i in (0, 3, 6))  # the end is not above the best
    assert lines[5].split()[1:] == lines[4].split()[1:] and len(lines) == 12


def test_files_are_read_once_and_test_rows_never_used(settings, files, tmp_path, monkeypatch):
    reads, lengths = [], []

    def noted(function):
        return lambda *given: reads.append(function.__name__) or function(*given)

    monkeypatch.setattr(texts, "read_rows", noted(texts.read_rows))
    monkeypatch.setattr(leg_step, "read_weights_once", functools.lru_cache(
        noted(weights.read_weights)))
    real = Training.score
    monkeypatch.setattr(Training, "score", lambda training, name, answers=None: lengths.append(
        (name, len(answers))) or real(training, name, answers))
    shutil.copytree(files[1], tmp_path / "bert")
    step = BertStep(settings.replace(model=str(tmp_path / "bert"), test_size=0.1))
    for seed in range(3):
        step(Leg({**PARAMS, "lr": 1e-3 * (1 + seed)}, seed, 0, 1))
    assert sorted(reads) == ["read_rows", "read_weights"]
    assert lengths == [("validation", 36)] * 3  # .3 of 120; the other parts have 72 and 12


def test_one_clear_line(settings, tmp_path):
    with pytest.raises(ConfigError, match="early_stopping has no meaning for a leg"):
        BertStep(settings.replace(early_stopping=2))
    with pytest.raises(ConfigError, match="max_steps has no meaning for a leg"):
        BertStep(settings.replace(max_steps=9))
    assert BertStep(ClassOptions()).options.output_dir is None
    with pytest.raises(ConfigError, match="num_frequencies is not an option of the standard head"):
        BertStep(settings.replace(num_frequencies=3))
    step, state = BertStep(settings), str(tmp_path / "state")
    with pytest.raises(ConfigError, match="needs validation rows"):
        BertStep(settings.replace(val_size=0.0, train_size=0.9))(Leg(PARAMS, 0, 0, 1))
    with pytest.raises(ConfigError, match="parameters: unknown option 'lrr'; did you mean 'lr'"):
        step(Leg({"lrr": 1}, 0, 0, 1))
    with pytest.raises(ConfigError, match="epoch 8 to 11; expected a part of the 10"):
        step(Leg(PARAMS, 0, 8, 11))
    step(Leg(PARAMS, 0, 0, 1, state_out=state))
    for leg, message in (
            (Leg(PARAMS, 0, 2, 3, state), "epoch was 1 and is now 2; a leg that goes on"),
            (Leg({**PARAMS, "optim": "sgd"}, 0, 1, 2, state), "optim was 'adamw' and is now 'sgd'"),
            (Leg({**PARAMS, "classifier": "mlp"}, 0, 1, 2, state), "does not fit these param")):
        with pytest.raises(TrainingError, match=message) as caught:
            step(leg)
        assert "\n" not in str(caught.value)
    (tmp_path / "bad").write_bytes(b"half a state")
    for name, message in (("none", "cannot be read .No such file"), ("bad", "not a readable file")):
        leg = Leg(PARAMS, 0, 1, 2, str(tmp_path / name))
        with pytest.raises(MachineError, match=f"{message}.*is not what a leg .*--study_name"):
            step(leg)
        with pytest.raises(MachineError):  # which ends a search: it is no result of the parameters
            list(run_legs(step, [leg]))
    with pytest.raises(BertKitError, match="a lower learning_rate"):
        step(Leg({"lr": 1e30}, 0, 0, 1, state_out=str(tmp_path / "diverged")))
    assert not os.path.exists(tmp_path / "diverged")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_random_numbers_move_from_device_to_device(settings, tmp_path):
    step, last = BertStep(settings), f"cuda:{torch.cuda.device_count() - 1}"
    scores = []
    for device in ("cuda:0", last):
        state = str(tmp_path / device)
        step(Leg(PARAMS, 5, 0, 1, state_out=state, device="cuda:0"))
        scores.append(step(Leg(PARAMS, 5, 1, 2, state, device=device)))
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_a_leg_leaves_checkpoints_to_the_run_that_follows(settings):
    """Of options that count once the best is trained again, a leg refuses none."""
    step = BertStep(settings.replace(output_dir=None, save_steps=5, save_total_limit=1,
                                     load_best_model_at_end=False))
    assert step._leg_options({}, 0).save_steps is None
