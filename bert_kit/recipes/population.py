"""The step by which the tuner trains a classifier: some epochs, from one state file to the next.

Hyperband and population-based training are made of such legs. Every leg builds model and trainer
anew from the settings and its own parameters, and then puts into them what the leg before left:
weights, the optimizer's moments, random numbers and the place in the data. So whatever a leg's
parameters say (learning rate, weight decay, dropout, warm-up) holds for the live run from its
first step on, and legs whose parameters stay the same end in the same bits as one unbroken run.
"""

import functools
from dataclasses import dataclass

import torch

from bert_kit.errors import ConfigError, TrainingError
from bert_kit.files import atomic_file
from bert_kit.recipes.fine_tuning import check_settings, seeded, threads
from bert_kit.recipes.options import named
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.recipes.shared_rows import SharedRowsTrainer, tokenized_rows
from bert_kit.training import TrainerState

# Settings that end or resume a run by themselves; here the tuner says when a leg ends.
WHOLE_RUNS_ONLY = ("resume", "time_limit", "early_stopping", "trend_window", "regression",
                   "fast_dev_run")


@dataclass(frozen=True)
class BertStep:
    """A step function of the tuner: `step(leg)` trains a classifier and returns its score.

    The score is the setting `metric` on the validation rows; the test rows are never looked at.
    It travels to other processes by pickle. A process reads the rows and the weights to start
    from once, whatever number of legs it is given. Legs that run at the same time need processes
    of their own: threads would share torch's random numbers.

    Parameters
    ----------
    settings : ClassificationSettings
        What a leg's parameters, under any of the settings' spellings, do not say.
        `num_train_epochs` is the length of a whole run, for the schedule of the learning rate;
        its `seed` splits the rows, the leg's seed does the rest; an `output_dir` keeps the split.
        A leg that goes on keeps the seed and the random numbers of the leg before. Warm-up that
        is over does not come back: another `warmup_steps` then only changes how the rate falls.

    Raises
    ------
    ConfigError
        If a setting has no meaning for a leg.

    Examples
    --------
    ::

        step = BertStep(ClassificationSettings(data_file="reviews.csv", num_train_epochs=10))
        best = PBT(space).run(step, generations=10, path="runs/pbt").best
        step.save_model(best.checkpoint, "models/reviews")
    """

    settings: ClassificationSettings

    def __post_init__(self):
        for name in (*WHOLE_RUNS_ONLY, "max_steps"):
            if getattr(self.settings, name) not in (None, False, 0, -1):
                raise ConfigError(f"{name} has no meaning for a leg of training; leave it out")
        if self.settings.output_dir == ClassificationSettings.output_dir:  # none was chosen
            object.__setattr__(self, "settings", self.settings.replace(output_dir=None))
        check_settings(self._job_settings({}, self.settings.seed))

    def __call__(self, leg):
        """Train from epoch `leg.start` up to `leg.stop` and return the score.

        Raises
        ------
        BertKitError
            If a parameter is impossible, the state file does not fit, or training diverges.
        """
        left = None if leg.state_in is None else read_state(leg.state_in)
        job = self._job(leg.params, left["seed"] if left else leg.seed, leg.device)
        epochs = job.trainer.args.num_train_epochs
        if not 0 <= leg.start < leg.stop <= epochs:
            raise ConfigError(f"a leg goes from epoch {leg.start} to {leg.stop}; expected a part "
                              f"of the {epochs} that num_train_epochs says")
        with threads(job.settings.threads), seeded(job.settings.seed + 1):
            if left is not None:
                _put_back(job, left, leg)
            job.trainer.total_steps = leg.stop * job.trainer.steps_per_epoch
            job.trainer.train()
            score = job.evaluate(job.datasets["validation"])[job.settings.metric]
            if leg.state_out is not None:
                write_state(leg.state_out, job, leg.params)
        return score

    def save_model(self, state, folder):
        """Write the model of a state file into a folder, as `train` does."""
        left = read_state(state)
        job = self._job(left["params"], left["seed"])
        job.model.load_state_dict(left["model"])
        job.save_model(folder)

    def _job(self, params, seed, device=None):
        settings = self._job_settings(params, seed, device)
        rows, = tokenized_rows(self.settings.replace(max_length=settings.max_length))
        job = SharedRowsTrainer(settings, rows)
        job.setup_trainer({"train": rows.datasets["train"]})  # it only trains
        return job

    def _job_settings(self, params, seed, device=None):
        return self.settings.replace(**{
            **named(ClassificationSettings, params, "parameters"), "seed": seed,
            "device": device or self.settings.device, "output_dir": None, "verbosity": 0,
            "load_best_model_at_end": False})


def write_state(path, job, params):
    """Write all that the next leg needs into one file, whole or not at all."""
    optimizer = job.trainer.amp.optimizer
    state = {
        "params": params, "seed": job.settings.seed, "epoch": job.trainer.state.epoch,
        "optim": job.settings.optim, "data": job.parts.fingerprint,
        "model": job.model.state_dict(),
        # By name: another rate of the head would sort the optimizer's groups otherwise.
        "moments": {name: optimizer.state[p] for name, p in job.model.named_parameters()
                    if p in optimizer.state},
        "scaler": job.trainer.amp.state_dict(),
        "random": [torch.get_rng_state(), *_on_device(job, torch.cuda.get_rng_state)]}
    with atomic_file(path) as temporary:
        torch.save(state, temporary)


def read_state(path):
    """Return what `write_state` wrote.

    Raises
    ------
    TrainingError
        If there is no such file, or it is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(f"{path}: is not what a leg of training leaves "
                            f"({type(error).__name__})") from None


def _put_back(job, left, leg):
    """Put a new job where the leg before stopped; all that settings say stays as it is now."""
    trainer = job.trainer
    for name, now in (("optim", job.settings.optim), ("data", job.parts.fingerprint),
                      ("epoch", leg.start)):
        if left[name] != now:
            raise TrainingError(f"{leg.state_in}: {name} was {left[name]!r} and is now {now!r}; "
                                "a leg that goes on needs the same")
    try:
        job.model.load_state_dict(left["model"])
        _put_back_moments(trainer.amp.optimizer, job.model, left["moments"])
        trainer.amp.load_state_dict(left["scaler"])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"{leg.state_in} does not fit these parameters: {reason}") from None
    step = leg.start * trainer.steps_per_epoch  # with another batch size, other steps
    trainer.state = TrainerState(step, leg.start)
    scheduler = trainer.amp.scheduler
    scheduler.last_epoch = step
    for group, rate, factor in zip(trainer.amp.optimizer.param_groups, scheduler.base_lrs,
                                   scheduler.lr_lambdas):
        group["lr"] = rate * factor(step)
    torch.set_rng_state(left["random"][0])
    for state in left["random"][1:]:
        _on_device(job, functools.partial(torch.cuda.set_rng_state, state))


def _put_back_moments(optimizer, model, moments):
    """Fill the optimizer's state, and leave rate, decay and all else of its groups alone."""
    names = {p: name for name, p in model.named_parameters()}
    order = [names[p] for group in optimizer.param_groups for p in group["params"]]
    state = optimizer.state_dict()
    state["state"] = {i: moments[name] for i, name in enumerate(order) if name in moments}
    optimizer.load_state_dict(state)


def _on_device(job, function):
    """Return [function(device=...)] where the job is on a CUDA device, else []."""
    return [function(device=job.device)] if job.device.type == "cuda" else []
