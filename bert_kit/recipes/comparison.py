"""Several heads on one split: a leaderboard, as table, CSV file and picture."""

from pathlib import Path

from bert_kit.data import read_table
from bert_kit.errors import ConfigError
from bert_kit.evaluation import format_leaderboard, mcnemar, plot_comparison, write_rows
from bert_kit.files import read_json
from bert_kit.recipes.classification import run
from bert_kit.recipes.fine_tuning import (HEAD_OPTIONS, check_settings, for_head,
                                          within_positions)
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.pictures import can_draw
from bert_kit.recipes.rows import read_rows
from bert_kit.recipes.prediction import choose_device
from bert_kit.recipes.run_folder import check_folder, in_process, kept_to
from bert_kit.recipes.settings import HEADS, ClassificationSettings
from bert_kit.training import join_processes


def train_all_classifiers(model_path=None, data_path=None, classifier_types=HEADS, **settings):
    """Train several heads on the same rows and return the leaderboard, best first.

    Parameters
    ----------
    model_path, data_path, **settings
        As in `train_classifier`; an option of one head does not concern the others.
    classifier_types : sequence of str
        Which heads; all seven by default.

    Returns
    -------
    list of dict
        A row for each head, and for each baseline; see `leaderboard`. leaderboard.csv,
        comparison.png and a folder for each head are left in `output_dir`.
    """
    given = {"model": model_path, "data_file": data_path}
    return compare(make_settings(ClassificationSettings, given, settings), classifier_types)


def compare(settings, classifier_types=HEADS):
    """Do the whole job for ClassificationSettings; see `train_all_classifiers`."""
    if settings.output_dir is None:
        raise ConfigError("a comparison needs an output_dir")
    with join_processes(choose_device(settings.device)) as processes:
        settings = in_process(settings, "comparison", processes)
        with kept_to(processes, settings.output_dir):
            settings = settings.replace(plots=can_draw(settings.plots, settings.say))
            return _compare(within_positions(settings), classifier_types, processes)


def _compare(settings, classifier_types, processes):
    heads = dict.fromkeys("mlp" if head == "custom" else head for head in classifier_types)
    jobs = [for_head(settings, head).replace(output_dir=str(Path(settings.output_dir) / head))
            for head in heads]
    processes.from_first(lambda: _check(settings, jobs))
    results = []
    for job in jobs:
        settings.say(f"\n== {job.classifier} ({len(results) + 1} of {len(jobs)})")
        # The baselines are the same for all: the first job scores them.
        results.append(run(job.replace(baselines=settings.baselines and not results)))
    if settings.fast_dev_run:
        return []
    return processes.from_first(lambda: _conclude(results, settings))


def _check(settings, jobs):
    """Find before any training what would end a comparison half-way."""
    if settings.task != "classification":
        raise ConfigError(f"a comparison is for one class a row, not {settings.task}; train each "
                          "head and read its results.json")
    for name in HEAD_OPTIONS:
        if getattr(settings, name) is not None and all(
                getattr(job, name) is None for job in jobs):
            raise ConfigError(f"{name} is not an option of any of the heads "
                              f"{', '.join(job.classifier for job in jobs)}")
    for job in jobs:
        check_settings(job)
        if not settings.fast_dev_run:
            check_folder(job)
    if read_rows(settings.replace(output_dir=None)).test is None:
        raise ConfigError("a comparison needs test rows; give a test_size above 0 or a test_file")


def compare_runs(folders, output_dir, metric="f1_macro", plots=True, verbosity=1):
    """Compare finished runs by the results that they left, without training anything.

    Parameters
    ----------
    folders : list of path
        Output folders of `train`, scored on the same test rows.
    output_dir : path
        Where leaderboard.csv and comparison.png go.
    """
    results = []
    for folder in folders:
        path = Path(folder) / "results.json"
        if not path.is_file():
            raise ConfigError(f"{folder}: holds no results.json; expected a finished run")
        results.append({**read_json(path), "output_dir": str(folder)})
    names = [str(result.get("classifier")) for result in results]
    if len(set(names)) < len(names):  # several runs of one head: the folders tell them apart
        results = [{**result, "classifier": Path(result["output_dir"]).name}
                   for result in results]
    settings = ClassificationSettings(output_dir=str(output_dir), metric=metric, plots=plots,
                                      verbosity=verbosity).in_folder("comparison")
    try:
        return _conclude(results, settings)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{', '.join(map(str, folders))}: a results.json that is not of a "
                          f"classifier with the score {metric} ({error!r})") from None


def _conclude(results, settings):
    lower = settings.metric == "loss"
    rows = leaderboard(results, settings.metric)
    order = settings.metric if rows[0]["validation"] is None else "validation"
    folder = Path(settings.output_dir)
    write_rows(folder / "leaderboard.csv", rows)
    settings.say(f"\n{format_leaderboard(rows, order, lower)}")
    first = [row["classifier"] for row in rows
             if row["seconds"] is not None and row[order] == rows[0][order]]
    if len(first) > 1:
        settings.say(f"\n{', '.join(first)} have the same {order} score, so they stand by name")
    if can_draw(settings.plots, settings.say):
        plot_comparison([row for row in rows if row["seconds"] is not None],
                        folder / "comparison.png")
    settings.say(f"\nsaved in {folder}: leaderboard.csv")
    return rows


def leaderboard(results, metric="f1_macro"):
    """Return one row a run, best first, and one for each baseline.

    Parameters
    ----------
    results : list of dict
        As `train_classifier` returns them, with an `output_dir`.
    metric : str
        What decides the order: on the validation rows where every run has them, so that the
        test rows choose nothing; else on the test rows.

    Returns
    -------
    list of dict
        `classifier`, `validation` (the metric there), `accuracy`, `f1_macro`,
        `matthews_correlation`, `accuracy_low` and `accuracy_high` (95% bootstrap interval),
        `p_against_best` (exact McNemar test of the same rows against the first), `seconds` of
        training, `peak_memory_mb`, `parameters`.
    """
    if any("test" not in result for result in results):
        raise ConfigError("a comparison needs test rows; give a test_size above 0 or a test_file")
    sign = 1 if metric == "loss" else -1  # ties go by name
    part = "validation" if all(result.get("validation") for result in results) else "test"
    results = sorted(results, key=lambda result: (sign * result[part][metric],
                                                  result["classifier"]))
    tables = [read_table(Path(result["output_dir"]) / "test_predictions.csv", "text", "category")
              for result in results]
    names = [read_table(table.path, "text", "prediction").labels for table in tables]
    number = {name: i for i, name in enumerate(sorted(
        {name for column in (*names, tables[0].labels) for name in column}))}
    truth = [number[name] for name in tables[0].labels]
    told = [[number[name] for name in column] for column in names]
    rows = []
    for result, table, predictions in zip(results, tables, told):
        scores = result["test"]
        if (table.texts, table.labels) != (tables[0].texts, tables[0].labels):
            raise ConfigError(f"{result['output_dir']}: was scored on other test rows than "
                              f"{results[0]['output_dir']}; expected the same")
        interval = scores["intervals"]["accuracy"]
        rows.append({
            "classifier": result["classifier"],
            "validation": (result.get("validation") or {}).get(metric),
            **{key: scores[key] for key in dict.fromkeys((
                "accuracy", "f1_macro", "matthews_correlation", metric))},
            "accuracy_low": interval["low"], "accuracy_high": interval["high"],
            "p_against_best": mcnemar(told[0], predictions, truth)["p_value"],
            "seconds": result["seconds"], "peak_memory_mb": result["peak_memory_mb"],
            "parameters": result["parameters"]})
    baselines = {name: scores for result in results
                 for name, scores in result["baselines"].items()}
    for name, scores in baselines.items():
        rows.append({**dict.fromkeys(rows[0]), "classifier": name, **scores})
    return rows
