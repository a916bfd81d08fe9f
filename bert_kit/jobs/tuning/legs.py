"""The step by which the tuner trains a model: some epochs, from one state file to the next.

Hyperband and population-based training are made of such legs. Every leg builds model and trainer
anew from the options and its own parameters, and then puts into them what the leg before left:
weights, the optimizer's moments, random numbers and the place in the data. So whatever a leg's
parameters say (learning rate, weight decay, dropout, warm-up) holds for the live run from its
first step on, and legs whose parameters stay the same end in the same bits as one unbroken run.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bert_kit.checks import whole
from bert_kit.errors import ConfigError, MachineError, TrainingError
from bert_kit.files import atomic_file, check_kinds
from bert_kit.jobs.run.build import check_options, read_weights_once
from bert_kit.jobs.run.folder import open_folder
from bert_kit.jobs.run.job import Rows, Training, TrainingJob
from bert_kit.jobs.run.randomness import seeded, threads
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tuning.trial import tokenized_rows, trial_options
from bert_kit.torch_files import read_saved, write_saved
from bert_kit.training import TrainerState
from bert_kit.training.restoring import checked_random_states, restore_moments
from bert_kit.tuner import Leg

OF_CHECKPOINTS = ("load_best_model_at_end", "save_steps", "save_total_limit")  # a leg keeps none
# Options that end or resume a run by themselves; here the tuner says when a leg ends.
WHOLE_RUNS_ONLY = ("resume", "time_limit", "early_stopping", "trend_window", "regression",
                   "fast_dev_run", "max_steps", "minutes")
State = dict[str, Any]
STATE = {"params": dict, "seed": int, "epoch": int, "optim": str, "data": str, "model": dict,
         "moments": dict, "scaler": dict, "random": list}


@dataclass(frozen=True)
class BertStep:
    """A step function of the tuner: `step(leg)` trains a model and returns its score.

    The score is the option `metric` on the validation rows; the test rows are never looked at.
    It travels to other processes by pickle. A process reads the rows and the weights to start
    from once, whatever number of legs it is given. Legs that run at the same time need processes
    of their own: threads would share torch's random numbers.

    Parameters
    ----------
    options
        Of training: what a leg's parameters, under any of their spellings, do not say.
        `num_train_epochs` is the length of a whole run, for the schedule of the learning rate;
        its `seed` splits the rows, the leg's seed does the rest; an `output_dir` keeps the split.
        A leg that goes on keeps the seed and the random numbers of the leg before. Warm-up that
        is over does not come back: another `warmup_steps` then only changes how the rate falls.

    Raises
    ------
    ConfigError
        If an option has no meaning for a leg.

    Examples
    --------
    ::

        step = BertStep(ClassOptions(data_file="reviews.csv", num_train_epochs=10))
        best = PBT(space).run(step, generations=10, path="runs/pbt").best
        step.save_model(best.checkpoint, "models/reviews")
    """

    options: Any

    def __post_init__(self) -> None:
        for name in WHOLE_RUNS_ONLY:
            if getattr(self.options, name) not in (None, False, 0, -1):
                raise ConfigError(f"{name} has no meaning for a leg of training; leave it out")
        if self.options.output_dir == type(self.options).output_dir:  # none was chosen
            object.__setattr__(self, "options", self.options.replace(output_dir=None))
        options = self._leg_options({}, self.options.seed)
        check_options(task_named(options.task), options)

    def __call__(self, leg: Leg) -> float:
        """Train from epoch `leg.start` up to `leg.stop` and return the score.

        Raises
        ------
        BertKitError
            If a parameter is impossible, the state file does not fit, or training diverges.
        """
        left = None if leg.state_in is None else _whole_state(leg.state_in)
        training, rows = self._build(leg.params, left["seed"] if left else leg.seed, leg.device)
        trainer, options = training.trainer, training.options
        epochs = trainer.args.num_train_epochs
        if not 0 <= leg.start < leg.stop <= epochs:
            raise ConfigError(f"a leg goes from epoch {leg.start} to {leg.stop}; expected a part "
                              f"of the {epochs} that num_train_epochs says")
        with threads(options.threads), seeded(options.seed + 1):
            if left is not None:
                _put_back(training, left, leg)
            trainer.total_steps = leg.stop * trainer.steps_per_epoch
            trainer.train()
            score = _score(training, rows)[training.task.metric(options, training.parts)]
            if leg.state_out is not None:
                write_state(leg.state_out, training, leg.params)
        return score

    def save_model(self, state: str | Path, folder: str | Path) -> None:
        """Score the model of a state file and leave it in a folder, as `train` does."""
        left = _whole_state(state)
        options = self._leg_options(left["params"], left["seed"]).replace(
            output_dir=str(folder), plots=False)  # there is no one curve: each leg began anew
        job = TrainingJob(task_named(options.task), options)
        rows = job.tokenize(tokenized_rows(
            self.options.replace(max_length=options.max_length))[0].parts)
        training = job.build(rows, read_weights_once)
        data = job.task.fingerprint(rows.parts, rows.tokenizer)
        open_folder(options, job.task.job, job.task.made_of(options, data, rows.tokenizer),
                    bad_rows=rows.parts.bad_rows)
        with threads(options.threads):
            baselines = job.baselines(training)
            _put_back_weights(training.model, left["model"], str(state))
            steps = left["epoch"] * training.trainer.steps_per_epoch
            training.trainer.state = TrainerState(steps, left["epoch"])
            job.conclude(training, training.trainer.state, None, baselines)

    def _build(self, params: Mapping[str, Any], seed: int,
               device: str | None = None) -> tuple[Training, Rows]:
        options = self._leg_options(params, seed, device)
        rows, = tokenized_rows(self.options.replace(max_length=options.max_length))
        only_train = Rows(rows.parts, rows.tokenizer, {"train": rows.datasets["train"]})
        job = TrainingJob(task_named(options.task), options)
        return job.build(only_train, read_weights_once), rows  # it never evaluates by itself

    def _leg_options(self, params: Mapping[str, Any], seed: int,
                     device: str | None = None) -> Any:
        plain = {name: getattr(type(self.options), name) for name in OF_CHECKPOINTS}
        return trial_options(self.options, params, "parameters").replace(
            seed=seed, device=device or self.options.device, output_dir=None, verbosity=0,
            min_steps=0, **plain)


@dataclass(frozen=True)
class SameSeed:
    """The step of halving and Hyperband: trials differ in nothing but their parameters."""

    step: BertStep

    def __call__(self, leg: Leg) -> float:
        return self.step(leg.replace(seed=self.step.options.seed))


def _score(training: Training, rows: Rows) -> dict[str, Any]:
    return training.score("validation", training.predictor.answers(rows.datasets["validation"]))


def write_state(path: str | Path, training: Training, params: Mapping[str, Any]) -> None:
    """Write all that the next leg needs into one file, whole or not at all."""
    amp, model = training.trainer.amp, training.model
    optimizer = amp.optimizer
    state = {
        "params": params, "seed": training.options.seed, "epoch": training.trainer.state.epoch,
        "optim": training.options.optim, "data": _fingerprint(training),
        "model": model.state_dict(),
        # By name: another rate of the head would sort the optimizer's groups otherwise.
        "moments": {name: optimizer.state[p] for name, p in model.named_parameters()
                    if p in optimizer.state},
        "scaler": amp.state_dict(),
        "random": [torch.get_rng_state(), *_on_device(training, torch.cuda.get_rng_state)]}
    with atomic_file(path) as temporary:
        write_saved(temporary, state)


_NO_STATE = ("it is not what a leg of training leaves, and no search goes on from it (another "
             "--study_name begins one)")


def read_state(path: str | Path) -> State:
    """Return what `write_state` wrote.

    Raises
    ------
    MachineError
        If there is no such file, or it is damaged: no fault of the parameters that go on from it.
    """
    try:
        state = read_saved(path, MachineError)
    except MachineError as error:
        raise MachineError(f"{error}; {_NO_STATE}") from None
    if not isinstance(state, dict):
        raise MachineError(f"{path}: holds a {type(state).__name__}; {_NO_STATE}")
    return state


def _whole_state(path: str | Path) -> State:
    """Return what `write_state` wrote, with everything that a leg needs."""
    state = read_state(path)
    check_kinds(state, STATE, path)
    whole(f"{path}: seed", state["seed"], 0, error=TrainingError)
    return state


def _put_back(training: Training, left: State, leg: Leg) -> None:
    """Put a new training where the leg before stopped; all that options say stays as it is now."""
    trainer: Any = training.trainer
    for name, now in (("optim", training.options.optim), ("data", _fingerprint(training)),
                      ("epoch", leg.start)):
        if left[name] != now:
            raise TrainingError(f"{leg.state_in}: {name} was {left[name]!r} and is now {now!r}; "
                                "a leg that goes on needs the same")
    step, where = leg.start * trainer.steps_per_epoch, str(leg.state_in)
    _put_back_weights(training.model, left["model"], where)
    restore_moments(trainer.amp.optimizer, training.model, left["moments"], where, step)
    trainer.amp.load_state_dict(left["scaler"])
    trainer.state = TrainerState(step, leg.start)  # with another batch size, other steps
    trainer.amp.scheduler.go_to(step)
    random = {"cpu": left["random"][0] if left["random"] else None, "cuda": left["random"][1:]}
    numbers, = checked_random_states([random], where)
    torch.set_rng_state(numbers["cpu"])
    for state in numbers["cuda"]:
        _on_device(training, functools.partial(torch.cuda.set_rng_state, state))


def _put_back_weights(model: torch.nn.Module, weights: Mapping[str, Any], where: str) -> None:
    """Fill a model with weights of its own names, shapes and types."""
    own = model.state_dict()
    fitting = {name for name, tensor in own.items() if isinstance(weights.get(name), torch.Tensor)
               and (weights[name].shape, weights[name].dtype) == (tensor.shape, tensor.dtype)}
    others = sorted(map(str, own.keys() ^ weights.keys() | own.keys() - fitting))
    if others:
        raise TrainingError(f"{where} does not fit these parameters: {others[0]} is missing, "
                            f"not expected or of another shape ({len(others)} in all)")
    model.load_state_dict(weights)


def _fingerprint(training: Training) -> str:
    return training.task.fingerprint(training.parts, training.predictor.tokenizer)


def _on_device(training: Training, function: Callable[..., Any]) -> list[Any]:
    """Return [function(device=...)] where the training is on a CUDA device, else []."""
    device = training.predictor.device
    return [function(device=device)] if device.type == "cuda" else []
