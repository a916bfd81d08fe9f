"""What a state file says is checked before it reaches an optimizer, a schedule or a generator.

torch believes what it is given. Its fused kernels write behind the end of moments that are too
short, a schedule takes any attribute for its own, and a step that is no number is found out in the
middle of training. So whatever was stored is held against what this run would store itself. What
the run's own settings decide (rates, decay, how an optimizer is computed) is never taken from a
file.
"""

import math
import reprlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from bert_kit.checks import is_number, number, whole
from bert_kit.errors import TrainingError
from bert_kit.files import check_kinds
from bert_kit.training.muon import MATRICES, Muon

RandomState = dict[str, Any]  # a state of torch's generators: {"cpu": Tensor, "cuda": [Tensor, …]}
# How an optimizer is computed, and what the schedule moves: a run that goes on has its own.
COMPUTED = ("foreach", "fused", "capturable", "differentiable")
MOVED = ("lr", "initial_lr")
MOST = 1e300  # of numbers that are added to or multiplied


def checked_place(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of a TrainerState that were stored, if it can be one.

    Raises
    ------
    TrainingError
        Names the field.
    """
    fields = {"skipped": 0, "elapsed": 0.0, **values}  # an earlier version had neither
    step = whole(f"{where}: step", fields.get("step"), 0, 10**15, error=TrainingError)
    for name, most in (("loss_steps", step), ("skipped", step), ("epoch", 10**15),
                       ("batch", 10**15)):
        whole(f"{where}: {name}", fields.get(name), 0, most, error=TrainingError)
    for name, least in (("loss_sum", -MOST), ("elapsed", 0.0)):
        number(f"{where}: {name}", fields.get(name), least, MOST, error=TrainingError)
    if fields.get("best_value") is not None or fields.get("best_step") is not None:
        number(f"{where}: best_value", fields.get("best_value"), -MOST, MOST, error=TrainingError)
        whole(f"{where}: best_step", fields.get("best_step"), 1, step, error=TrainingError)
    if fields.get("rows_at_a_time") is not None:
        whole(f"{where}: rows_at_a_time", fields["rows_at_a_time"], 1, 10**15, error=TrainingError)
    if not isinstance(fields.get("stopped"), str | None):
        raise TrainingError(f"{where}: stopped is {reprlib.repr(fields['stopped'])}; expected text")
    _check_log(fields.get("log"), step, where)
    sums = {name: float(fields[name]) for name in ("loss_sum", "elapsed")}  # JSON has no 0.0
    return {**values, **sums}


def _check_log(log: object, step: int, where: str) -> None:
    """Check that a log is rows of numbers by name, each of a step that was taken."""
    if not isinstance(log, list):
        raise TrainingError(f"{where}: log is {reprlib.repr(log)}; expected a list of rows")
    for row in log:
        if not isinstance(row, dict) or not all(
                name[:1].isalnum() and (value is None or is_number(value) and abs(value) <= MOST)
                for name, value in row.items()):
            raise TrainingError(f"{where}: a row of log is {reprlib.repr(row)}; expected numbers "
                                "by name")
        whole(f"{where}: step of a row of log", row.get("step"), 1, step, error=TrainingError)


def restore_optimizer(optimizer: Optimizer, model: nn.Module, stored: Any, where: str,
                      steps: int, own_rates: bool) -> None:
    """Give an optimizer the state that `state_dict` returned of one like it.

    Parameters
    ----------
    where
        What messages call the file.
    steps
        Optimizer steps taken.
    own_rates
        Whether nothing moves the rate but a `StepSchedule`. Then the groups' settings have to be
        as they are now, and stay; else those stored hold, as far as they are of the same kind.

    Raises
    ------
    TrainingError
        If the state is not that of this optimizer and model.
    """
    check_kinds(stored, {"state": dict, "param_groups": list}, where)
    groups = _groups(optimizer.state_dict()["param_groups"], stored["param_groups"], where,
                     own_rates)
    names = _names(optimizer, model)
    for place in stored["state"]:
        if not isinstance(place, int) or not 0 <= place < len(names):
            raise TrainingError(f"{where}: has moments of parameter {reprlib.repr(place)}; "
                                f"expected 0 to {len(names) - 1}")
    moments = {names[place]: value for place, value in stored["state"].items()}
    restore_moments(optimizer, model, moments, where, steps, groups)


def _groups(now: list[dict[str, Any]], then: list[Any], where: str,
            own_rates: bool) -> list[dict[str, Any]]:
    """Return the parameter groups to go on with; see `restore_optimizer`."""
    sizes = [len(group["params"]) for group in now]
    if [len(group["params"]) if isinstance(group, dict) and isinstance(group.get("params"), list)
            else None for group in then] != sizes:
        raise TrainingError(f"{where}: has other groups of parameters; expected {len(sizes)}, of "
                            f"{', '.join(map(str, sizes))}")
    free = ("params", *COMPUTED, *(MOVED if own_rates else ()))
    groups = []
    for new, old in zip(now, then, strict=True):
        shared = {key: old[key] for key in new if key in old and key not in free}
        for key, value in shared.items():
            if not (_same if own_rates else _alike)(value, new[key]):
                raise TrainingError(f"{where}: {key} was {reprlib.repr(value)} and is now "
                                    f"{new[key]!r}; a resumed run needs the same settings")
        groups.append(new if own_rates else {**new, **shared})
    return groups


def restore_moments(optimizer: Optimizer, model: nn.Module, moments: Mapping[str, Any], where: str,
                    steps: int, groups: list[dict[str, Any]] | None = None) -> None:
    """Fill an optimizer's state with moments by the parameters' names.

    Parameters and errors are those of `restore_optimizer`. Rate, decay and all else of the groups
    are `groups`, or stay as they are.
    """
    names = _names(optimizer, model)
    others = sorted(map(str, moments.keys() - set(names)))
    if others:
        raise TrainingError(f"{where}: has moments of {others[0]!r}, which is no parameter here")
    places = iter(names)
    expected = False
    for group in optimizer.param_groups:
        kinds = _moments_of(optimizer, group)
        expected |= bool(kinds)
        for parameter in group["params"]:
            name = next(places)
            if name in moments:
                _check_moments(moments[name], parameter, kinds, f"{where}: {name}")
    if steps and expected and not moments:
        raise TrainingError(f"{where}: has no moments after {steps} steps; expected the optimizer's"
                            " state")
    _check_unshared(moments, where)
    state = {place: dict(moments[name]) for place, name in enumerate(names) if name in moments}
    now = optimizer.state_dict()["param_groups"] if groups is None else groups
    try:
        optimizer.load_state_dict({"state": state, "param_groups": now})
    except Exception as error:  # an optimizer from elsewhere may raise anything
        raise TrainingError(f"{where}: does not fit this optimizer ({error})") from None


def _names(optimizer: Optimizer, model: nn.Module) -> list[str]:
    """Return the names of an optimizer's parameters, in its order."""
    known = {parameter: name for name, parameter in model.named_parameters()}
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [known.get(parameter, f"parameter {place}") for place, parameter in enumerate(order)]


def _moments_of(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what an optimizer keeps of each parameter of a group, or None if it is not known.

    A "step" is a count, "mean" and "square" have the parameter's shape, and no square is negative.
    """
    if isinstance(optimizer, Muon) and group.get("part") == MATRICES:
        return {"momentum": "mean"}
    if isinstance(optimizer, Muon | Adam | AdamW):
        most = {"max_exp_avg_sq": "square"} if group.get("amsgrad") else {}
        return {"step": "step", "exp_avg": "mean", "exp_avg_sq": "square", **most}
    if isinstance(optimizer, SGD):
        return {"momentum_buffer": "mean"} if group["momentum"] else {}
    if isinstance(optimizer, RMSprop):
        return {"step": "step", "square_avg": "square",
                **({"momentum_buffer": "mean"} if group["momentum"] else {}),
                **({"grad_avg": "mean"} if group["centered"] else {})}
    return None


def _check_moments(moments: object, parameter: Tensor, kinds: Mapping[str, str] | None,
                   where: str) -> None:
    """Check what is stored of one parameter against what its optimizer keeps."""
    if not isinstance(moments, dict) or not all(isinstance(name, str) for name in moments):
        raise TrainingError(f"{where}: is {reprlib.repr(moments)}; expected moments by name")
    for name, kind in (kinds or {}).items():
        value = moments.get(name)
        if not isinstance(value, Tensor):
            raise TrainingError(f"{where}: {name} is {reprlib.repr(value)}; expected a tensor")
        shape = torch.Size() if kind == "step" else parameter.shape
        fits = value.is_floating_point() if kind == "step" else value.dtype == parameter.dtype
        if value.shape != shape or not fits or not value.is_contiguous() or value.requires_grad:
            raise TrainingError(
                f"{where}: {name} is {value.dtype} of shape {tuple(value.shape)}"
                f"{'' if value.is_contiguous() else ', not contiguous'}; expected a plain tensor "
                f"{'' if kind == 'step' else f'of {parameter.dtype} '}of shape {tuple(shape)}")
        if not value.isfinite().all() or kind != "mean" and (value < 0).any() or (
                kind == "step" and (value < 1 or value != value.floor())):
            raise TrainingError(f"{where}: {name} has a number that no training leaves; expected "
                                f"{'a count from 1' if kind == 'step' else 'finite numbers'}"
                                f"{' from 0' * (kind == 'square')}")
    for name, value in moments.items():
        unknown = kinds is not None and name not in kinds and value is not None
        if unknown or isinstance(value, Tensor) and not value.is_contiguous():
            raise TrainingError(f"{where}: {name} is not what this optimizer keeps")


def _check_unshared(moments: Mapping[str, Any], where: str) -> None:
    """Check that no two tensors are the same memory: to step one would move the other."""
    seen = set()
    for name, kept in moments.items():
        for value in kept.values():
            if isinstance(value, Tensor) and value.numel():
                place = value.untyped_storage().data_ptr()
                if place in seen:
                    raise TrainingError(f"{where}: {name} shares memory with another tensor; "
                                        "expected one of its own")
                seen.add(place)


def restore_schedule(scheduler: Any, stored: Any, where: str) -> None:
    """Give a schedule from elsewhere the state that one like it had.

    Raises
    ------
    TrainingError
        If it cannot be one.
    """
    now = scheduler.state_dict()
    if not isinstance(stored, dict) or bool(stored) < bool(now):
        raise TrainingError(f"{where}: is {reprlib.repr(stored)}; expected the state of a schedule")
    if "last_epoch" in now:
        whole(f"{where}: last_epoch", stored.get("last_epoch"), 0, error=TrainingError)
    for name, value in stored.items():
        known = isinstance(name, str) and (name in now or not hasattr(scheduler, name))
        if not known or name in now and not _alike(value, now[name]):
            raise TrainingError(f"{where}: {reprlib.repr(name)} is {reprlib.repr(value)}; expected "
                                "the state of this run's schedule")
    try:
        scheduler.load_state_dict(stored)
    except Exception as error:  # it may raise anything
        raise TrainingError(f"{where}: does not fit this schedule ({error})") from None


def scaler_state(now: Mapping[str, Any], stored: Any, where: str) -> dict[str, Any]:
    """Return the state of a loss scale: where it stood, and how it moves as it is now.

    Raises
    ------
    BertKitError
        If it did not stand anywhere.
    """
    check_kinds(stored, {"scale": float | int, "_growth_tracker": int}, where)
    number(f"{where}: scale", stored["scale"], 0, MOST, above=True, error=TrainingError)
    whole(f"{where}: _growth_tracker", stored["_growth_tracker"], 0, 10**9, error=TrainingError)
    return {**now, **{name: stored[name] for name in ("scale", "_growth_tracker")}}


def checked_random_states(stored: Any, where: str) -> list[RandomState]:
    """Return the states of random generators, one a process, if generators can have them.

    Raises
    ------
    BertKitError
        If they cannot.
    """
    states = [stored] if isinstance(stored, dict) else stored  # one, until there were processes
    if not isinstance(states, list) or not states:
        raise TrainingError(f"{where}: is {reprlib.repr(stored)}; expected states of generators")
    for state in states:
        check_kinds(state, {"cpu": Tensor, "cuda": list | None}, where)
        for one in (state["cpu"], *(state.get("cuda") or ())):
            if not isinstance(one, Tensor) or one.dtype != torch.uint8 or one.ndim != 1:
                raise TrainingError(f"{where}: a state is {reprlib.repr(one)}; expected bytes")
        try:
            torch.Generator().set_state(state["cpu"])
        except (RuntimeError, TypeError) as error:
            raise TrainingError(f"{where}: no state of a generator ({error})") from None
    return states


def _same(value: Any, now: Any) -> bool:
    """Say whether a setting is what it was; lists and tuples are the same."""
    if isinstance(now, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(now) and all(
            map(_same, value, now))
    return isinstance(now, Tensor) or not isinstance(value, Tensor) and value == now


def _alike(value: Any, now: Any) -> bool:
    """Say whether a value is of the kind that another is: a number, a text, as many of them."""
    if isinstance(now, bool) or isinstance(value, bool):
        return isinstance(now, bool | None) and isinstance(value, bool | None)
    if isinstance(now, int | float | None) and isinstance(value, int | float | None):
        return value is None or not math.isnan(value)
    if isinstance(now, list | tuple):
        return isinstance(value, list | tuple) and len(value) >= len(now) and all(
            _alike(one, other) for one, other in zip(value, now, strict=False))
    if isinstance(now, dict):
        return isinstance(value, dict) and all(
            _alike(value[key], now[key]) for key in value if key in now)
    if isinstance(now, Tensor):
        return isinstance(value, Tensor) and value.shape == now.shape
    return now is None or isinstance(value, type(now))
