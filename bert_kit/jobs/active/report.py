"""What campaigns say together: curves, labels needed for the score of all data, differences."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.active import mean_curve, paired_difference, share_needed
from bert_kit.evaluation import Finding, not_above, plot_bands, write_rows
from bert_kit.files import write_json
from bert_kit.jobs.active.rows import AT_HALF, ActiveRows
from bert_kit.jobs.run.build import more_is_better
from bert_kit.jobs.run.defaults import starting_config
from bert_kit.jobs.run.job import Results, can_draw
from bert_kit.jobs.run.verdict import (Setting, Verdict, make_verdict, setting_of,
                                       verdict_text)

GOALS = (0.95, 0.98, 1.0)
ALL_DATA = "all-data"
History = Sequence[Mapping[str, Any]]  # of a campaign, as `ActiveLearner` has it
Histories = dict[str, dict[int, History]]  # by name and seed; "all-data" is one of the names
Costs = dict[str, list[tuple[int, float]]]  # by name: rows of the pool, seconds to choose from them


def report(histories: Histories, costs: Costs, rows: ActiveRows, cut: str | None = None
           ) -> Results:
    """Write curves.csv, results.json and the pictures of finished campaigns, and print the tables.

    The results are as `learn_actively` returns them. `cut` says why campaigns ended before they
    were over; the seeds that every method has begun with are then compared.
    """
    options, folder = rows.options, Path(rows.options.output_dir)
    if cut is not None:
        options.say(cut)
        histories = _of_all_methods(histories, options)
        if not histories:  # what an earlier call wrote stays
            return {"ended": cut, "output_dir": str(folder), "scores": {}}
    campaigns = {name: list(seeds.values()) for name, seeds in histories.items()}
    goal = campaigns.pop(ALL_DATA, None)
    points = [
        {"method": name, "seed": seed, "round": record["round"], "labels": len(record["rows"]),
         **record["metrics"], **{key: record[key] for key in (
             "changed", "delta_f", "kappa", "uncertainty")}}
        for name, seeds in histories.items() for seed, history in seeds.items()
        for record in history]
    write_rows(folder / "curves.csv", points)
    results = {
        "task": options.task, "model": options.model, "classes": list(rows.classes),
        "pool": len(rows.texts), "seeds": list(options.seeds), "output_dir": str(folder),
        "ended": cut,
        "seconds_per_1000_rows": {name: 1000 * sum(s for _, s in pairs) / sum(n for n, _ in pairs)
                                  for name, pairs in costs.items()},
        "scores": {}}
    keys = [options.metric, *(key for key, *_ in rows.task.columns[:2]),
            *(f"{name}_at_half" for name in AT_HALF)]
    plots = can_draw(options.plots, options.say)
    for key in dict.fromkeys(keys):
        found = compare_curves(campaigns, goal, key, len(rows.texts))
        if found is None:
            continue
        results["scores"][key] = found
        options.say(f"\n{format_comparison(found, key)}")
        if plots:
            mean = found["all_data"]
            plot_bands(
                {name: (found["labels"], curve["mean"], _or_nan(curve["std"]))
                 for name, curve in found["methods"].items()},
                folder / f"learning_curves_{key}.png", key,
                goal=mean and (ALL_DATA, mean["mean"], _or_nan([mean["std"]])[0]))
    results["verdict"] = _verdict(results["scores"].get(options.metric), rows,
                                  goal or [seed for seeds in campaigns.values() for seed in seeds])
    options.say(f"\n{verdict_text(results['verdict'])}")
    if results["seconds_per_1000_rows"]:
        options.say("\nseconds to choose, per 1,000 rows of the pool: " + ", ".join(
            f"{name} {cost:.2f}" for name, cost in results["seconds_per_1000_rows"].items()))
    write_json(folder / "results.json", results)
    options.say(f"saved in {folder}: results.json, curves.csv")
    return results


def _of_all_methods(histories: Histories, options: Any) -> Histories:
    """Return the histories of the seeds for which every method has trained a model."""
    names = [*options.acquisition, *([ALL_DATA] if options.all_data else [])]
    seeds = [seed for seed in options.seeds
             if all(histories.get(name, {}).get(seed) for name in names)]
    return {name: {seed: histories[name][seed] for seed in seeds}
            for name in names if seeds}


def _verdict(found: Mapping[str, Any] | None, rows: ActiveRows,
             histories: Sequence[History]) -> Verdict:
    """Return whether the last scores of some campaigns, on average, are above a constant answer."""
    options, (name, constant) = rows.options, rows.constant_scores()
    if found is None or rows.scored is None:
        return make_verdict([], Setting())
    last = [history[-1]["metrics"] for history in histories]
    scores = {key: float(np.mean([metrics.get(key, math.nan) for metrics in last]))
              for key in (options.metric, "matthews_correlation")}
    findings = not_above(scores, {f"always answering {name!r}": constant}, [options.metric],
                         more_is_better, len(rows.scored))
    if findings and found["all_data"]:
        findings.append(Finding("empty_goal", "the score with all labels is no goal, so the shares "
                                "of labels above say nothing", True, ("steps", "weights")))
    width = starting_config(rows.task, rows.base).hidden_size
    return make_verdict(findings, setting_of(rows.task, options, width))


def compare_curves(campaigns: Mapping[str, Sequence[History]], goal: Sequence[History] | None,
                   key: str, rows: int) -> dict[str, Any] | None:
    """Return what the curves of one score say; None if a round does not have it.

    Parameters
    ----------
    campaigns
        {method: [history, one a seed]}. Longer ones are cut to the rounds that all have.
    goal
        Histories of trainings on all rows, if there are any.
    key
        Of the score.
    rows
        How many labels there are in all.

    Returns
    -------
    dict
        `labels` (rounds,), `all_data` (`mean` and `std`, or None), `methods` (`curves`, a list a
        seed, `mean`, `std` and `share`, by goal, of the labels needed) and `differences`, of each
        pair of methods as `paired_difference` gives them.
    """
    everything = [history for seeds in campaigns.values() for history in seeds]
    length = min(map(len, everything), default=0)
    if not length or any(record["metrics"].get(key) is None
                         for history in [*everything, *(goal or [])] for record in history):
        return None
    labels = [len(record["rows"]) for record in everything[0][:length]]
    all_data = None
    if goal:
        mean, spread = mean_curve([[history[-1]["metrics"][key]] for history in goal])
        all_data = {"mean": float(mean[0]), "std": _or_none(spread)[0]}
    methods = {}
    for name, seeds in campaigns.items():
        curves = [[record["metrics"][key] for record in history[:length]] for history in seeds]
        mean, spread = mean_curve(curves)
        share = all_data and share_needed(labels, curves, all_data["mean"], rows, GOALS)
        methods[name] = {"curves": curves, "mean": mean.tolist(), "std": _or_none(spread),
                         "share": share and {f"{goal:.0%}": part for goal, part in share.items()}}
    differences = [{"first": a, "second": b, **paired_difference(methods[a]["curves"],
                                                                 methods[b]["curves"])}
                   for a, b in combinations(methods, 2)]
    return {"labels": labels, "all_data": all_data, "methods": methods,
            "differences": differences}


def format_comparison(found: Mapping[str, Any], key: str) -> str:
    """Return what `compare_curves` found as text.

    Examples
    --------
    >>> history = [{"rows": [3, 1], "metrics": {"f1": 0.25}},
    ...            {"rows": [3, 1, 0, 2], "metrics": {"f1": 0.75}}]
    >>> goal = [[{"rows": range(10), "metrics": {"f1": 0.75}}]]
    >>> print(format_comparison(compare_curves({"beal": [history]}, goal, "f1", 10), "f1"))
    f1: labels needed for a share of 0.7500, the score with all
    method                 95%     98%    100%   with 4 labels       mean
    beal                 38.5%   39.4%   40.0%   0.7500            0.5000
    """
    goal = found["all_data"]
    heads = "".join(f"{part:>8.0%}" for part in GOALS) if goal else ""
    lines = [f"{key}: labels needed for a share of {_with_spread(goal['mean'], goal['std'])}, the "
             "score with all" if goal else key,
             f"{'method':18}{heads}   {'with {:,} labels'.format(found['labels'][-1]):16}"
             f"{'mean':>8}"]
    for name, method in found["methods"].items():
        shares = "".join(f"{'-' if part is None else format(part, '.1%'):>8}"
                         for part in (method["share"] or {}).values())
        last = _with_spread(method["mean"][-1], method["std"][-1])
        lines.append(f"{name:18}{shares}   {last:16}{np.mean(method['mean']):8.4f}")
    if found["differences"]:
        seeds = found["differences"][0]["seeds"]
        lines.append("differences of the mean over rounds" + (
            f", paired by seed, with 95% intervals ({seeds} seeds)" if seeds > 1
            else " (one seed, which tells nothing of chance)"))
    for row in found["differences"]:
        between = f"  {row['low']:+.4f} to {row['high']:+.4f}" if row["low"] is not None else (
            "  (no interval: the same in every seed)" if row["seeds"] > 1 else "")
        lines.append(f"{row['first'] + ' - ' + row['second']:38}{row['mean']:+.4f}{between}  "
                     f"better in {row['wins']} of {row['seeds']}")
    return "\n".join(lines)


def _with_spread(mean: float, spread: float | None) -> str:
    return f"{mean:.4f}" + ("" if spread is None else f" ± {spread:.4f}")


def _or_none(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]


def _or_nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
