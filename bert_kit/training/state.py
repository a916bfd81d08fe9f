"""Checkpoints: everything that a killed run needs to go on bit for bit.

A checkpoint folder holds the model as any reader wants it (config.json, model.safetensors,
tokenizer), and beside it what only training needs: optimizer, schedule, loss scale, random
numbers, and the place in the data. It is written under a temporary name and renamed when
complete, so a folder called checkpoint-<step> is always whole.
"""

import csv
import dataclasses
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bert_kit.errors import BertKitError, TrainingError
from bert_kit.files import atomic_file, atomic_folder, read_json, remove_leftovers, write_json


@dataclass
class TrainerState:
    """Where a run stands.

    Attributes
    ----------
    step : int
        Optimizer steps taken.
    epoch, batch : int
        Epoch in progress, and batches of it already used.
    loss_sum : float
    loss_steps : int
        Loss summed since the last log row, and over how many steps.
    best_value : float or None
    best_step : int or None
        The best evaluation so far and its step.
    log : list of dict
        Every log row.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    best_value: float | None = None
    best_step: int | None = None
    log: list = field(default_factory=list)


def save_checkpoint(output_dir, state, amp, save_model):
    """Write checkpoint-<step> whole or not at all, and return its path.

    `save_model(folder)` writes the model; `amp` is the AMPTrainer whose optimizer, schedule and
    scale are stored.
    """
    target = Path(output_dir) / f"checkpoint-{state.step}"
    with atomic_folder(target) as folder:
        save_model(folder)
        torch.save(amp.optimizer.state_dict(), folder / "optimizer.pt")
        torch.save(amp.scheduler.state_dict(), folder / "scheduler.pt")
        torch.save(amp.state_dict(), folder / "scaler.pt")
        torch.save(_random_state(), folder / "rng_state.pt")
        write_json(folder / "trainer_state.json", _finite(dataclasses.asdict(state)))
    return target


def load_checkpoint(folder, amp, load_model):
    """Restore model, optimizer, schedule, scale and random numbers; return the TrainerState.

    Raises
    ------
    TrainingError
        If a file is missing, damaged or belongs to another run.
    """
    folder = Path(folder)
    load_model(folder)
    try:
        amp.optimizer.load_state_dict(_load(folder / "optimizer.pt"))
        amp.scheduler.load_state_dict(_load(folder / "scheduler.pt"))
        amp.load_state_dict(_load(folder / "scaler.pt"))
        state = TrainerState(**read_json(folder / "trainer_state.json"))
        _restore_random_state(_load(folder / "rng_state.pt"))
    except BertKitError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{folder} does not fit this run: {error}") from None
    return state


def _load(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"{path}: no such file; the checkpoint cannot be resumed") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"{path}: cannot be read ({reason})") from None


def _random_state():
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _restore_random_state(state):
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _finite(value):
    """Return `value` with NaN and infinite numbers as None, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def checkpoints(output_dir):
    """Return the whole checkpoints of a run, oldest first."""
    found = []
    for path in Path(output_dir).glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if match and (path / "trainer_state.json").is_file():
            found.append((int(match[1]), path))
    return [path for _, path in sorted(found)]


def rotate_checkpoints(output_dir, keep, best_step):
    """Remove all but the newest `keep` checkpoints and the best one."""
    for path in checkpoints(output_dir)[:-keep]:
        if path.name != f"checkpoint-{best_step}":
            shutil.rmtree(path)


def open_run(output_dir, settings, resume):
    """Prepare an output folder and return the checkpoint to resume from, or None.

    Parameters
    ----------
    output_dir : path
    settings : dict
        The run's arguments, written to training_args.json. A resumed run must have the same
        ones: with others it would be another run.
    resume : None, "auto" or path
        None starts anew and refuses a folder that has checkpoints; "auto" takes the newest
        checkpoint if there is one.
    """
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    remove_leftovers(output_dir)
    present = checkpoints(output_dir)
    if resume is None:
        if present:
            raise TrainingError(f"{output_dir} already has {present[-1].name}; pass resume='auto' "
                                "(--resume auto) to go on, or choose another folder")
        write_json(output_dir / "training_args.json", settings)
        return None
    if resume == "auto":
        if not present:
            write_json(output_dir / "training_args.json", settings)
            return None
        resume = present[-1]
    elif not (Path(resume) / "trainer_state.json").is_file():
        raise TrainingError(f"{resume} is not a checkpoint of a training run")
    if (output_dir / "training_args.json").is_file():
        _check_same(read_json(output_dir / "training_args.json"), settings, output_dir)
    return Path(resume)


def _check_same(before, now, output_dir):
    for key, value in now.items():
        if key != "output_dir" and before.get(key) != value:
            raise TrainingError(f"{output_dir}: {key} was {before.get(key)!r} and is now "
                                f"{value!r}; a resumed run needs the same settings")


def write_metrics(output_dir, log):
    """Write metrics.csv, one row a log entry, numbers only; nested results stay in JSON.

    The file is rewritten whole each time: a log has a few hundred rows, and a reader never sees
    half a line.
    """
    rows = [{key: value for key, value in row.items()
             if isinstance(value, int | float) and not isinstance(value, bool)} for row in log]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_file(Path(output_dir) / "metrics.csv") as path:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
