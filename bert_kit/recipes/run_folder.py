"""What a run leaves beside its weights: where the numbers came from, the numbers, and a card.

manifest.json is written before any work, results.json and README.md at the end.
"""

import contextlib
import json
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import bert_kit
from bert_kit import __version__
from bert_kit.errors import ConfigError
from bert_kit.printing import markdown, one_line, results_rows
from bert_kit.files import read_json, remove_leftovers, working_folder, write_json, write_text
from bert_kit.recipes.options import named
from bert_kit.recipes.settings import (ClassificationSettings, PretrainingSettings,
                                       SimilaritySettings)
from bert_kit.recipes.token_settings import AnsweringSettings, TaggingSettings

STOPPING = ("early_stopping", "min_delta", "min_epochs", "smoothing_window", "trend_window",
            "regression")
# Settings that a resumed run may change: none of them changes what is computed.
# The files may move, since the rows are compared; a run that ended for want of patience or of
# memory may go on with more.
FREE = ("output_dir", "resume", "verbosity", "logging_steps", "save_total_limit", "plots",
        "time_limit", "device", "download", "baselines", "data_file", "train_file",
        "validation_file", "test_file", "memory_threshold", "gradient_checkpointing",
        "store", "workers", "tokenizer", "save_steps",
        # of a search (a population compares its size itself)
        "n_trials", "population", "timeout", "jobs", "keep_top", "train_best", "report", "space",
        "pruner",
        # of campaigns, which may go on for longer, and be joined by others
        "acquisition", "seeds", "all_data", "rounds", "budget", "delta_f", "classification_change",
        "kappa", "uncertainty", "window", "extra_epochs", "pool_file", "oracle",
        *STOPPING)


def in_process(settings, name, processes):
    """Return the settings of one of several processes: all write where the first one says.

    It alone talks. See `ClassificationSettings.in_folder` for the name.
    """
    folder = processes.from_first(lambda: settings.in_folder(name).output_dir)
    return settings.replace(output_dir=folder,
                            verbosity=settings.verbosity if processes.first else 0)


def kept_to(processes, folder):
    """Keep an output folder, if there is one, to a job of some processes: the first one holds it.

    Returns a context manager; see `working_folder`.
    """
    if folder is None or not processes.first:
        return contextlib.nullcontext()
    return working_folder(check_place(folder))


def check_folder(settings):
    """Check that the output folder is new or that of the same run; nothing is written.

    Raises
    ------
    ConfigError
        If the folder holds something that is not a run, or a run with other settings.
    """
    folder = Path(settings.output_dir)
    if not folder.is_dir():
        return
    remove_leftovers(folder)
    if (folder / "training_args.json").is_file() and (folder / "manifest.json").is_file():
        check_same(folder, read_json(folder / "manifest.json"), settings)
    elif {path.name for path in folder.iterdir()} - {"manifest.json", "split.json"}:
        raise ConfigError(f"{folder}: holds other files; choose an output_dir that is new or empty")


def check_place(folder):
    """Return an output folder as a path, unless it lies in the kit's own source.

    Raises
    ------
    ConfigError
        If it does: whatever is removed there one day would be the program. Or if no folder can
        be there.
    """
    package = Path(bert_kit.__file__).resolve().parent
    try:
        place = Path(folder).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links to one another, a NUL
        raise ConfigError(f"{folder}: {error}; expected a folder to write to") from None
    if place.is_relative_to(package):
        raise ConfigError(f"{folder}: lies in the package bert_kit; choose an output_dir elsewhere")
    return Path(folder)


def open_folder(settings, fingerprint):
    """Write the manifest of a run that begins; one that goes on must be about the same rows.

    Raises
    ------
    ConfigError
        If the rows are others.
    """
    path = Path(settings.output_dir) / "manifest.json"
    if not (path.parent / "training_args.json").is_file():
        write_json(path, manifest(settings, fingerprint))
    elif read_json(path).get("data") != fingerprint:
        raise ConfigError(f"{path.parent}: the data has changed since the run began; "
                          "expected the same rows")


def manifest(settings, fingerprint):
    """Return all that is needed to do the same again, as plain values."""
    packages = ("torch", "numpy", "tokenizers", "scikit-learn")
    return {"bert_kit": __version__, "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
            "machine": platform.platform(), "git": _git_hash(), "command": sys.argv,
            "seed": settings.seed, "data": fingerprint, "job": settings.job,
            "settings": settings.to_dict()}


@contextlib.contextmanager
def no_split_of_a_failed_start(folder):
    """Take a split back that was stored by a start which an error ended before the run began."""
    path = None if folder is None else Path(folder) / "split.json"
    fresh = path is not None and not path.exists()
    try:
        yield
    except BaseException:
        if fresh:
            with contextlib.suppress(OSError):  # not there, or not empty
                path.unlink(missing_ok=True)
                path.parent.rmdir()
        raise


def most_memory(settings, peak):
    """Return the peak of a run in bytes: of this part of it, or of one that it goes on from."""
    stored = settings.output_dir and Path(settings.output_dir) / "results.json"
    if peak is None or not stored or not stored.is_file():
        return peak
    return max(peak, int((read_json(stored).get("peak_memory_mb") or 0) * 2**20))


def stored_settings(folder):
    """Return the settings in a run's manifest, of the class that its job has.

    Raises
    ------
    ConfigError
        If there are none, or a later version wrote them.
    """
    path = Path(folder) / "manifest.json"
    stored = read_json(path)
    kinds = {kind.job: kind for kind in (ClassificationSettings, PretrainingSettings,
                                         SimilaritySettings, TaggingSettings,
                                         AnsweringSettings)}
    kind, values = kinds.get(str(stored.get("job", "train"))), stored.get("settings")
    if kind is None or not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no settings; expected the manifest of a run")
    return kind(**named(kind, values, str(path)))


def check_same(folder, before, settings):
    """Check that a run that goes on is the same run; `before` is its manifest."""
    if settings.resume is None:
        raise ConfigError(f"{folder}: already holds a run; go on with --resume auto, or choose "
                          "another output_dir")
    now = json.loads(json.dumps(settings.to_dict()))  # tuples as JSON has them
    if before.get("job", settings.job) != settings.job:
        raise ConfigError(f"{folder}: holds a run of the job {before['job']}; choose another "
                          "output_dir")
    # A search that goes on would compare trials that were trained otherwise.
    free = set(FREE) - ({*STOPPING, "device"} if settings.job == "tune" else set())
    for name, value in now.items():
        old = before.get("settings", {}).get(name, value)
        if name not in free and old != value:
            raise ConfigError(f"{folder}: {name} was {old!r} and is now {value!r}; "
                              "a resumed run needs the same settings")


def _git_hash():
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True,
                              timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def write_label_mapping(folder, classes):
    """Write label_mapping.json: both directions of the class numbering."""
    write_json(Path(folder) / "label_mapping.json", {
        "id_to_label": {str(i): name for i, name in enumerate(classes)},
        "label_to_id": {name: i for i, name in enumerate(classes)}})


def write_card(folder, text):
    """Write README.md, the model card."""
    write_text(Path(folder) / "README.md", text)


def model_card(folder, results, title, columns):
    """Return the model card of a classifier, with the measured numbers, as Markdown.

    `title` says what it is, `columns` are as in `results_table`.
    """
    lines = [
        f"# {markdown(Path(folder).resolve().name)}", "",
        f"A BERT {title} ({results['classifier']} head, {results['parameters']:,} parameters), "
        f"trained with bert_kit {__version__} from "
        + (f"{markdown(results['model'])}." if results["model"] else "random weights."),
        "", "Output: " + ", ".join(map(markdown, results["classes"])) + ".", "", "## Scores", "",
        " | ".join(["| rows | what", *(heading for _, heading, *_ in columns)]) + " |",
        "|---|---" + "|---" * len(columns) + "|"]
    for part, name, scores in results_rows(results):
        lines.append(f"| {part} | {name} | " + " | ".join(
            "–" if scores.get(key) is None else format(scores[key], form)
            for key, _, _, form in columns) + " |")
    scored = "The test rows were scored once, after training." if results.get("test") else ""
    rows = ", ".join(f"{count:,} {part}" for part, count in results["rows"].items())
    lines += [
        "", f"Rows: {rows}. Training took {results['seconds']:.0f} s. {scored}", "",
        "## Use", "", "```bash", f"python -m bert_kit predict --model {quoted(folder)} "
        "--text \"…\"", "```", "",
        "The settings are in manifest.json, all scores in results.json.", ""]
    return "\n".join(lines)


def pretraining_card(folder, results):
    """Return the model card of a pre-trained model, with the measured numbers, as Markdown."""
    tasks = "masked tokens and next sentences" if results["next_sentences"] else "masked tokens"
    origin = f"from {markdown(results['model'])}" if results["model"] else "from random weights"
    lines = [
        f"# {markdown(Path(folder).resolve().name)}", "",
        f"A BERT ({results['parameters']:,} parameters, {results['vocabulary']:,} pieces), "
        f"pre-trained on {tasks} with bert_kit {__version__} {origin}.", ""]
    if results.get("validation"):
        lines += ["## Scores", "", "Of masked tokens in text that was held out.", "",
                  "| rows | what | loss | perplexity | accuracy |", "|---|---|---|---|---|"]
        for part, name, scores in results_rows(results):
            lines.append(f"| {part} | {name} | " + " | ".join(
                "–" if scores.get(key) is None else format(scores[key], form)
                for key, form in (("loss", ".4f"), ("perplexity", ".4g"), ("accuracy", ".4f")))
                + " |")
        lines.append("")
    rows = ", ".join(f"{count:,} {part}" for part, count in results["rows"].items())
    return "\n".join(lines + [
        f"Rows: {rows}. Training took {results['steps']:,} steps, {results['seconds']:.0f} s.", "",
        "## Use", "", "```bash", f"python -m bert_kit train --model {quoted(folder)} "
        "--data_file rows.csv", "```", "",
        "The settings are in manifest.json, all scores in results.json.", ""])


def similarity_card(folder, results):
    """Return the model card of a sentence encoder, with the measured numbers, as Markdown."""
    lines = [
        f"# {markdown(Path(folder).resolve().name)}", "",
        f"A BERT sentence encoder ({', '.join(results['pooling'])} pooling), trained on rated "
        f"pairs with bert_kit {__version__} from {markdown(results['model'])}.", "",
        "## Scores", "", "How the cosines of pairs follow their labels.", "",
        "| rows | what | Spearman | Pearson |", "|---|---|---|---|"]
    for part, name, scores in results_rows(results):
        lines.append(f"| {part} | {name} | {scores['spearman']:.4f} | {scores['pearson']:.4f} |")
    rows = ", ".join(f"{count:,} {part}" for part, count in results["rows"].items())
    return "\n".join(lines + [
        "", f"Rows: {rows}. Training took {results['steps']:,} steps, {results['seconds']:.0f} s.",
        "", "## Use", "", "```bash", f"python -m bert_kit embed --model {quoted(folder)} "
        "--data_file texts.txt --output_file vectors.npy", "```", "",
        "sentence-transformers reads the folder too. The settings are in manifest.json, all "
        "scores in results.json.", ""])


def token_card(folder, results, what, columns, use):
    """Return the model card of a tagger or answerer, with the measured numbers, as Markdown.

    Parameters
    ----------
    folder : path
    results : dict
        As in results.json.
    what : str
        What the model does.
    columns : sequence of tuple
        As in `results_table`.
    use : str
        What follows the model's name on a command line that uses it.
    """
    origin = f"from {markdown(results['model'])}" if results["model"] else "from random weights"
    lines = [
        f"# {markdown(Path(folder).resolve().name)}", "",
        f"A BERT ({results['parameters']:,} parameters) that {what}, trained with bert_kit "
        f"{__version__} {origin}.", ""]
    if results.get("validation") or results.get("test"):
        lines += ["## Scores", "",
                  "| rows | what | " + " | ".join(heading for _, heading, _, _ in columns) + " |",
                  "|---|---" + "|---" * len(columns) + "|"]
        for part, name, scores in results_rows(results):
            lines.append(f"| {part} | {name} | " + " | ".join(
                "–" if scores.get(key) is None else format(scores[key], form)
                for key, _, _, form in columns) + " |")
        lines.append("")
    rows = ", ".join(f"{count:,} {part}" for part, count in results["rows"].items())
    return "\n".join(lines + [
        f"Rows: {rows}. Training took {results['steps']:,} steps, {results['seconds']:.0f} s.", "",
        "## Use", "", "```bash", f"python -m bert_kit {use}", "```", "",
        "The settings are in manifest.json, all scores in results.json.", ""])


def quoted(folder):
    """Return a folder as it can stand on a command line that is shown."""
    return shlex.quote(one_line(folder, 1_000))
