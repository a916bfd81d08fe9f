"""Compare what a learner's function gives with what the kit gives, and say in one line what is
wrong: the shape, the known bugs that it shows, or the first place that differs."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bert_kit.learn.known_bugs import KNOWN_BUGS, Bug
from bert_kit.learn.ladder import RUNGS, page_file
from bert_kit.learn.trials import CHANGED, REPLACED, TOLERANCE, Trial, run, trials

Answers = list[dict[str, Any]]  # the outcome of each trial


def judge(name: str, function: Callable[..., Any]) -> str:
    """Return what is wrong with a learner's function for a rung, in one line; "" if nothing is."""
    tolerance, answers, wrong, about = TOLERANCE.get(name, 1e-9), [], "", ""
    for trial in trials(name):
        if wrong:  # the later trials too, if they run: two bugs may agree on the first ones
            answers.append(_outcome_of(name, function, trial))
            continue
        answers.append(run(name, function, trial.inputs))
        wrong, about = first_difference(answers[-1], trial.outcome, tolerance), trial.about
    if not wrong:
        return ""
    found = known_bugs(name, answers, tolerance)
    if found:
        pages = dict.fromkeys(page_file(bug.page) for bug in found)
        says = "; and ".join(bug.says for bug in found)
        return f"a known bug: {says} (read {', '.join(pages)})"
    return f"{wrong} (tried on {about})"


def known_bugs(name: str, answers: Answers, tolerance: float) -> tuple[Bug, ...]:
    """Return the known bug, or the two of them, with which the solution gives these answers."""
    for bugs in _candidates(name):
        if solution_with(bugs) is not None and all(
                first_difference(outcome, answer, tolerance) == ""
                for outcome, answer in zip(_wrong_outcomes(name, bugs), answers, strict=True)):
            return bugs
    return ()


@functools.cache
def _wrong_outcomes(name: str, bugs: tuple[Bug, ...]) -> Answers:
    """Return what the solution with some bugs gives in each trial of a rung."""
    wrong = solution_with(bugs) or {}
    return [_outcome_of(name, wrong[name], trial) for trial in trials(name)]


def _candidates(name: str) -> Iterator[tuple[Bug, ...]]:
    """Yield the bugs to look for: the rung's own, those of the rungs before it, the own pairs."""
    names = [rung.name for rung in RUNGS]
    own = [bug for bug in KNOWN_BUGS if bug.rung == name]
    before = [bug for bug in KNOWN_BUGS if names.index(bug.rung) < names.index(name)
              and names.index(bug.rung) >= names.index("layer_norm")]
    yield from ((bug,) for bug in own)
    if name in ("embed", "self_attention", "block", "mlm_logits", "bert", "train"):
        yield from ((bug,) for bug in before)
    if name != "mask_tokens":  # its trial takes long, and shares of two bugs may be those of one
        yield from itertools.combinations(own, 2)


@functools.cache
def _solution() -> str:
    return Path(__file__).with_name("solution.py").read_text("utf-8")


@functools.cache
def solution_with(bugs: tuple[Bug, ...]) -> dict[str, Any] | None:
    """Return the names of the solution with some bugs in it; None if they exclude one another."""
    source = _solution()
    for bug in bugs:
        if source.count(bug.right) != 1:
            return None
        source = source.replace(bug.right, bug.wrong)
    names: dict[str, Any] = {"__name__": "solution_with_a_bug"}
    exec(compile(source, "<solution with a bug>", "exec"), names)
    return names


def _outcome_of(name: str, function: Callable[..., Any], trial: Trial) -> dict[str, Any]:
    """Return the outcome of a function that may fail."""
    try:
        return run(name, function, trial.inputs)
    except Exception as error:
        return {"error": type(error).__name__}


def first_difference(got: Any, expected: Any, tolerance: float, name: str = "") -> str:
    """Return in words where two values first differ, or "" if they agree to a tolerance.

    Examples
    --------
    >>> first_difference([1, 2, 3], [1, 2, 4], 0)
    'place 2 is 3; expected 4'
    >>> first_difference({"result": torch.zeros(2, 3)}, {"result": torch.zeros(3, 2)}, 0)
    'it has shape (2, 3); expected (3, 2)'
    """
    what = f"{name} " if name else "it "
    if isinstance(expected, Tensor):
        return _tensor_difference(got, expected, tolerance, what)
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"{what}is {_kind(got)}; expected a dict"
        for key in [*expected, *(key for key in got if key not in expected)]:
            if key not in got or key not in expected:
                lost = key not in got
                return f"{what}{'has no' if lost else 'has an unexpected'} {key!r}"
            label = key if not name else f"{name}[{key!r}]"
            found = first_difference(got[key], expected[key], tolerance,
                                     "" if key == "result" else label)
            if found:
                return found
        return ""
    if isinstance(expected, list | tuple):
        return _list_difference(got, expected, tolerance, name)
    if isinstance(expected, float):
        if isinstance(got, Tensor) or not isinstance(got, int | float):
            return f"{what}is {_kind(got)}; expected a number"
        same = math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance) or (
            math.isnan(got) and math.isnan(expected))
        return "" if same else f"{what}is {got:.6g}; expected {expected:.6g}"
    if isinstance(got, Tensor):
        return f"{what}is {_kind(got)}; expected {expected!r}"
    return "" if got == expected and type(got) is type(expected) or (
        isinstance(expected, int) and not isinstance(got, str | float) and got == expected) else (
        f"{what}is {got!r}; expected {expected!r}")


def _tensor_difference(got: Any, expected: Tensor, tolerance: float, what: str) -> str:
    if not isinstance(got, Tensor):
        return f"{what}is {_kind(got)}; expected a tensor {tuple(expected.shape)}"
    if got.shape != expected.shape:
        return f"{what}has shape {tuple(got.shape)}; expected {tuple(expected.shape)}"
    if got.dtype != expected.dtype:
        return f"{what}is {got.dtype}; expected {expected.dtype}, as the input is"
    wrong = ~torch.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not wrong.any():
        return ""
    place = wrong.nonzero()[0].tolist()
    where = f" at {place}" if place else ""
    return (f"{what}first differs{where}: {float(got[tuple(place)]):.6g}; "
            f"expected {float(expected[tuple(place)]):.6g}; "
            f"{int(wrong.sum())} of {wrong.numel()} numbers differ")


def _list_difference(got: Any, expected: Sequence[Any], tolerance: float, name: str) -> str:
    what = f"{name} " if name else "it "
    if not isinstance(got, list | tuple):
        return f"{what}is {_kind(got)}; expected a {type(expected).__name__} of {len(expected)}"
    if name == CHANGED and list(got):
        numbers = " and ".join(f"number {one + 1}" for one in got)
        return f"it changes what it was given, input {numbers}; work on a copy"
    if name == REPLACED and list(got):
        return f"{name}: {', '.join(got)}"
    short = len(repr(list(got))) + len(repr(list(expected))) < 160
    if short and all(isinstance(one, str) for one in expected) and list(got) != list(expected):
        return f"{what}is {list(got)}; expected {list(expected)}"
    if len(got) != len(expected):
        return f"{what}has {len(got)} entries; expected {len(expected)}"
    for place, (one, other) in enumerate(zip(got, expected, strict=True)):
        label = f"{name}[{place}]" if name else f"place {place}"
        found = first_difference(one, other, tolerance, label)
        if found:
            return found
    return ""


def _kind(value: Any) -> str:
    if value is None:
        return "None (is there a return?)"
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    return f"a {type(value).__name__}"
