"""Several heads on one split: a leaderboard, as table, CSV file and picture."""

from pathlib import Path

from bert_kit.data import read_table
from bert_kit.errors import ConfigError
from bert_kit.evaluation import format_leaderboard, mcnemar, write_rows
from bert_kit.files import read_json
from bert_kit.recipes.classification import run
from bert_kit.recipes.fine_tuning import for_head
from bert_kit.recipes.options import named
from bert_kit.recipes.pictures import draw_comparison
from bert_kit.recipes.settings import HEADS, ClassificationSettings


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
    return compare(ClassificationSettings(**named(ClassificationSettings, {
        **{name: value for name, value in given.items() if value is not None},
        **settings})), classifier_types)


def compare(settings, classifier_types=HEADS):
    """Do the whole job for ClassificationSettings; see `train_all_classifiers`."""
    if settings.output_dir is None:
        raise ConfigError("a comparison needs an output_dir")
    jobs = [for_head(settings, "mlp" if head == "custom" else head) for head in classifier_types]
    folders = [Path(settings.output_dir) / job.classifier for job in jobs]
    results = []
    for job, folder in zip(jobs, folders):
        settings.say(f"\n== {job.classifier} ({len(results) + 1} of {len(jobs)})")
        # The baselines are the same for all: the first job scores them.
        results.append(run(job.replace(output_dir=str(folder),
                                       baselines=settings.baselines and not results)))
    if settings.fast_dev_run:
        return []
    return _conclude(results, settings)


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
    names = [result["classifier"] for result in results]
    if len(set(names)) < len(names):  # several runs of one head: the folders tell them apart
        results = [{**result, "classifier": Path(result["output_dir"]).name}
                   for result in results]
    return _conclude(results, ClassificationSettings(
        output_dir=str(output_dir), metric=metric, plots=plots, verbosity=verbosity))


def _conclude(results, settings):
    lower = settings.metric == "loss"
    rows = leaderboard(results, settings.metric)
    folder = Path(settings.output_dir)
    write_rows(folder / "leaderboard.csv", rows)
    settings.say(f"\n{format_leaderboard(rows, settings.metric, lower)}")
    if settings.plots:
        draw_comparison(folder, [row for row in rows if row["seconds"] is not None],
                        settings.say)
    settings.say(f"\nsaved in {folder}: leaderboard.csv and a folder for each head")
    return rows


def leaderboard(results, metric="f1_macro"):
    """Return one row a run, best first, and one for each baseline.

    Parameters
    ----------
    results : list of dict
        As `train_classifier` returns them, with an `output_dir`.
    metric : str
        What decides the order; of the test rows.

    Returns
    -------
    list of dict
        `classifier`, `accuracy`, `f1_macro`, `matthews_correlation`, `accuracy_low` and
        `accuracy_high` (95% bootstrap interval), `p_against_best` (exact McNemar test of the same
        rows against the first), `seconds` of training, `peak_memory_mb`, `parameters`.
    """
    if any("test" not in result for result in results):
        raise ConfigError("a comparison needs test rows; give a test_size above 0 or a test_file")
    sign = 1 if metric == "loss" else -1  # ties go by name
    results = sorted(results, key=lambda result: (sign * result["test"][metric],
                                                  result["classifier"]))
    told = [_predictions(result) for result in results]
    rows = []
    for result, (truth, predictions) in zip(results, told):
        scores = result["test"]
        if truth != told[0][0]:
            raise ConfigError(f"{result['output_dir']}: was scored on other test rows than "
                              f"{results[0]['output_dir']}; expected the same")
        interval = scores["intervals"]["accuracy"]
        rows.append({
            "classifier": result["classifier"],
            **{key: scores[key] for key in dict.fromkeys((
                "accuracy", "f1_macro", "matthews_correlation", metric))},
            "accuracy_low": interval["low"], "accuracy_high": interval["high"],
            "p_against_best": mcnemar(told[0][1], predictions, truth)["p_value"],
            "seconds": result["seconds"], "peak_memory_mb": result["peak_memory_mb"],
            "parameters": result["parameters"]})
    baselines = {name: scores for result in results
                 for name, scores in result["baselines"].items()}
    for name, scores in baselines.items():
        rows.append({**dict.fromkeys(rows[0]), "classifier": name, **scores})
    return rows


def _predictions(result):
    """Return the true class numbers and the predicted ones of a run's test rows."""
    path = Path(result["output_dir"]) / "test_predictions.csv"
    columns = [read_table(path, "text", column).labels for column in ("category", "prediction")]
    number = {name: i for i, name in enumerate(sorted({*columns[0], *columns[1]}))}
    return [[number[name] for name in column] for column in columns]
