"""Checkpoints: everything that a killed run needs to go on bit for bit.

A checkpoint folder holds the model as any reader wants it (config.json, model.safetensors,
tokenizer), and beside it what only training needs: optimizer, loss scale, random numbers, and the
place in the data. (The schedule follows from the step, unless it comes from elsewhere.) It is
written under a temporary name and renamed when complete, so a folder called checkpoint-<step> was
whole when it was written; digests.json tells whether it still is.
"""

import csv
import dataclasses
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bert_kit.digests import check_digests, write_digests
from bert_kit.errors import BertKitError, TrainingError
from bert_kit.files import (StrPath, atomic_file, atomic_folder, check_same, numbered_folder,
                            read_json, remove_folder, remove_leftovers, write_json)
from bert_kit.torch_files import read_saved, write_saved
from bert_kit.training.distributed import Processes
from bert_kit.training.optim import StepSchedule
from bert_kit.training.restoring import (RandomState, checked_place, checked_random_states,
                                         restore_optimizer, restore_schedule)

LogRow = dict[str, float | None]  # numbers by name, None for what is not a finite number
OnLog = Callable[[LogRow], object]

NAME = re.compile(r"checkpoint-\d+")

# Settings that a resumed run may change. They say what is kept and shown, when to end, and how
# many rows are worked on at a time: no step's result depends on them (on the last one by rounding
# and dropout's draws; a run that died for want of memory must be able to go on with less).
FREE = ("output_dir", "logging_steps", "save_strategy", "save_steps", "save_total_limit",
        "verbosity", "time_limit", "stopping", "memory")


@dataclass
class TrainerState:
    """Where a run stands.

    Attributes
    ----------
    step
        Optimizer steps taken.
    epoch, batch
        Epoch in progress, and batches of it already used.
    loss_sum, loss_steps
        Loss summed since the last log row, on the device until it is stored, and over how many
        steps.
    skipped
        Steps skipped because float16 gradients overflowed.
    best_value, best_step
        The best evaluation so far and its step. One at a time limit, which would not have been
        due otherwise, does not count; without any that does, the run ends with its last weights.
    log
        Every log row.
    elapsed
        Seconds spent training, evaluating and saving, earlier parts of a resumed run included.
    stopped
        Why the run ended before its last step.
    rows_at_a_time
        Where a MemoryManager stands.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float | Tensor = 0.0
    loss_steps: int = 0
    skipped: int = 0
    best_value: float | None = None
    best_step: int | None = None
    log: list[LogRow] = field(default_factory=list)
    elapsed: float = 0.0
    stopped: str | None = None
    rows_at_a_time: int | None = None


class Stateful(Protocol):
    """What tells its state and takes it back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Stepper(Protocol):
    """What takes the optimizer steps of a run, an AMPTrainer: all that a checkpoint asks of it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    processes: Processes

    def parts(self) -> Mapping[str, Stateful]: ...


def save_checkpoint(output_dir: StrPath, state: TrainerState, stepper: Stepper,
                    save_model: Callable[[Path], object],
                    random_states: Sequence[RandomState]) -> Path:
    """Write checkpoint-<step> whole or not at all, and return its path.

    `save_model(folder)` writes the model; `random_states` has the `random_state` of each process.
    """
    target = Path(output_dir) / f"checkpoint-{state.step}"
    with atomic_folder(target) as folder:
        save_model(folder)
        for name, part in _stored_parts(stepper).items():
            write_saved(folder / name, part.state_dict())
        write_saved(folder / "rng_state.pt", random_states)
        write_json(folder / "trainer_state.json", dataclasses.asdict(state))
        write_digests(folder)
    return target


def _stored_parts(stepper: Stepper) -> dict[str, Stateful]:
    """Return the parts that have a file: all but a schedule that follows from the step."""
    return {name: part for name, part in stepper.parts().items()
            if not isinstance(part, StepSchedule)}


def load_checkpoint(folder: StrPath, stepper: Stepper,
                    load_model: Callable[[Path], object]) -> TrainerState:
    """Restore model, optimizer, schedule, scale and random numbers; return the TrainerState.

    Random numbers belong to a process. If their number has changed, they stay as they are.

    Raises
    ------
    BertKitError
        If a file is missing, damaged or belongs to another run.
    """
    folder = Path(folder)
    state = _read_state(folder / "trainer_state.json")
    steps, parts = state.step - state.skipped, _stored_parts(stepper)
    stored = {name: read_saved(folder / name, TrainingError) for name in parts}
    numbers = folder / "rng_state.pt"
    random_states = checked_random_states(read_saved(numbers, TrainingError), str(numbers))
    own_rates = isinstance(stepper.scheduler, StepSchedule)
    load_model(folder)
    for name, part in parts.items():
        where = str(folder / name)
        if part is stepper.optimizer:
            restore_optimizer(stepper.optimizer, stepper.model, stored[name], where, steps,
                              own_rates)
        elif part is stepper.scheduler:
            restore_schedule(part, stored[name], where)
        else:
            try:
                part.load_state_dict(stored[name])
            except BertKitError as error:
                raise TrainingError(f"{where}: {error}") from None
    if own_rates:
        stepper.scheduler.go_to(steps)
    if len(random_states) == stepper.processes.size:
        restore_random_state(random_states[stepper.processes.rank])
    elif stepper.processes.first:
        print(f"{folder}: was written by {len(random_states)} processes and is gone on with by "
              f"{stepper.processes.size}: dropout draws other numbers", file=sys.stderr)
    return state


def _read_state(path: Path) -> TrainerState:
    """Read where a run stands; the folder's name says its step too."""
    values = checked_place(read_json(path), str(path))
    unknown = values.keys() - {field.name for field in dataclasses.fields(TrainerState)}
    if unknown:
        raise TrainingError(f"{path}: has {min(unknown)!r}, which this version does not know")
    state = TrainerState(**values)
    if NAME.fullmatch(path.parent.name) and path.parent.name != f"checkpoint-{state.step}":
        raise TrainingError(f"{path}: step is {state.step}; expected that of the folder")
    return state


def random_state() -> RandomState:
    """Return the states of torch's default generators; no other generator takes part in a run."""
    state: RandomState = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: RandomState) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][:torch.cuda.device_count()])


def checkpoints(output_dir: StrPath) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first."""
    whole = [path for path in Path(output_dir).glob("checkpoint-*")
             if NAME.fullmatch(path.name)
             and (path / "trainer_state.json").is_file()]
    return sorted(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def rotate_checkpoints(output_dir: StrPath, keep: int, best_step: int | None) -> None:
    """Remove all but the newest `keep` checkpoints and the best one."""
    for path in checkpoints(output_dir)[:-keep]:
        if path.name != f"checkpoint-{best_step}":
            remove_folder(path)


def check_new_run(output_dir: StrPath, resume: StrPath | None = None) -> None:
    """Raise a TrainingError if a folder has checkpoints that `resume` does not go on from.

    The Trainer does so too; a script that reads its data before would rather know at once.
    """
    present = checkpoints(output_dir)
    if resume is None and present:
        raise TrainingError(f"{output_dir} already has {present[-1].name}; pass resume='auto' "
                            "(--resume auto) to go on, or choose another folder")


def open_run(output_dir: StrPath, settings: Mapping[str, object],
             resume: StrPath | None) -> Path | None:
    """Prepare an output folder and return the checkpoint to resume from, or None.

    Parameters
    ----------
    output_dir
        Made if it does not exist.
    settings
        The run's arguments, written to training_args.json. A resumed run must have the same
        ones, `FREE` excepted: with others it would be another run.
    resume
        None starts anew and refuses a folder that has checkpoints; "auto" takes the newest
        checkpoint if there is one, or, if that is damaged, the newest before it that is not; a
        path must be the newest one of this folder.

    Raises
    ------
    BertKitError
        If the run cannot begin or go on here.
    """
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    remove_leftovers(output_dir)
    check_new_run(output_dir, resume)
    present = checkpoints(output_dir)
    stored = output_dir / "training_args.json"
    if present and stored.is_file():
        check_same(output_dir, read_json(stored), settings, FREE, TrainingError)
    else:
        write_json(stored, settings)
    if resume is None or resume == "auto":
        return _newest_whole(present) if present else None
    if Path(resume).resolve() not in [path.resolve() for path in present]:
        raise TrainingError(f"{resume} is not a checkpoint in {output_dir}")
    if Path(resume).resolve() != present[-1].resolve():
        raise TrainingError(f"{present[-1]} is newer than {resume}; remove what is newer, or copy "
                            "the older one into a folder of its own and resume there")
    try:
        check_digests(present[-1])
    except BertKitError as error:
        raise TrainingError(f"{error}; --resume auto takes the checkpoint before it") from None
    return present[-1]


def _newest_whole(present: Sequence[Path]) -> Path:
    """Return the newest checkpoint whose files are those that were saved.

    Those after it are set aside: they keep no place from the ones that will be written.
    """
    damaged: dict[Path, BertKitError] = {}
    for whole in reversed(present):
        try:
            check_digests(whole)
        except BertKitError as error:
            damaged[whole] = error
            continue
        for path, problem in damaged.items():
            aside = numbered_folder(path.parent, f"damaged-{path.name}")
            path.rename(aside)
            print(f"{problem}; it is {aside.name} from now on, and the run goes on from "
                  f"{whole.name}", file=sys.stderr)
        return whole
    raise TrainingError(f"{next(iter(damaged.values()))}; no checkpoint before it is whole, choose "
                        "another output_dir to begin anew")


def check_best(folder: Path) -> None:
    """Check that the best checkpoint is there and is what was saved.

    Raises
    ------
    TrainingError
        If it is not; says how the run can go on.
    """
    try:
        if not folder.is_dir():
            raise TrainingError(f"{folder}: no such folder")
        check_digests(folder)
    except BertKitError as error:
        raise TrainingError(f"{error}; it is the best so far, which the run is to end with; remove "
                            "it and the checkpoints after it, and --resume auto repeats their "
                            "steps") from None


def finite_numbers(row: Mapping[str, Any]) -> LogRow:
    """Return a log row as JSON and CSV can hold it: numbers only, NaN and infinity as None.

    Tensors and numpy numbers of one element become Python's.

    Examples
    --------
    >>> finite_numbers({"loss": torch.tensor(0.5), "f1": float("nan"), "name": "x"})
    {'loss': 0.5, 'f1': None}
    """
    plain = {key: value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0
             else value for key, value in row.items()}
    return {key: value if math.isfinite(value) else None for key, value in plain.items()
            if isinstance(value, int | float) and not isinstance(value, bool)}


def write_metrics(output_dir: StrPath, log: Sequence[LogRow]) -> None:
    """Write metrics.csv anew, one row a log entry."""
    columns = list(dict.fromkeys(key for row in log for key in row))
    with (atomic_file(Path(output_dir) / "metrics.csv") as path,
          open(path, "w", newline="", encoding="utf-8") as file):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(log)


def append_metrics(output_dir: StrPath, log: Sequence[LogRow]) -> None:
    """Add the last log entry to metrics.csv; an entry with a new column makes it anew."""
    path = Path(output_dir) / "metrics.csv"
    if len(log) > 1 and path.is_file():
        with open(path, "r+", newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
            if set(header).issuperset(log[-1]):
                file.seek(0, 2)
                csv.DictWriter(file, header).writerow(log[-1])
                return
    write_metrics(output_dir, log)
