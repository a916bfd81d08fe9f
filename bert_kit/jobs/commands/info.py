"""The command `info`: what is in a model folder, without building the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError, TokenizerError
from bert_kit.printing import number, one_line, results_rows, show
from bert_kit.files import read_json
from bert_kit.lookup import find_folder
from bert_kit.jobs.options.declare import Options, fields_of, option
from bert_kit.jobs.run.folder import known_settings, stored_run
from bert_kit.jobs.tasks.table import PLACES, task_named
from bert_kit.tokenization import get_tokenizer
from bert_kit.weights import WEIGHT_FILES, read_weights


@dataclass(frozen=True)
class InfoOptions(Options):
    """Which folder to look into."""

    title: ClassVar[str] = "model"
    examples = ("bert-kit info runs/standard",)
    positional = "model"

    model: str = option(None, "folder or name of a model")
    download: bool = option(False, "allow the Hugging Face hub to be asked")


def run(options: InfoOptions) -> None:
    """Print what a model folder holds."""
    show(describe_folder(options.model, options.download))


def describe_folder(name: str | Path, download: bool = False) -> str:
    """Return what a model folder holds, one fact a line.

    Parameters
    ----------
    name
        A folder or a name; see `bert_kit.lookup.find_folder` for the places.
    download
        Allow the Hugging Face hub to be asked.

    Raises
    ------
    BertKitError
        If there is no such folder or a file in it is damaged.
    """
    folder = find_folder(name, WEIGHT_FILES, download)
    config = BertConfig.load(folder)
    path, tensors = read_weights(folder)
    kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    saved_for = config.extra.get("architectures")
    facts = {
        "folder": folder,
        "saved for": ", ".join(map(str, saved_for)) if isinstance(saved_for, list) else "unknown",
        "family": config.model_type,
        "layers": config.num_hidden_layers,
        "hidden size": f"{config.hidden_size} in {config.num_attention_heads} heads",
        "feed-forward": f"{config.intermediate_size}, {config.hidden_act}",
        "longest row": f"{config.max_position_embeddings} tokens",
        "weights": f"{path.name}: {len(tensors)} tensors, "
                   f"{sum(tensor.numel() for tensor in tensors.values()):,} numbers, "
                   f"{', '.join(kinds)}",
        "vocabulary": _vocabulary(folder, config),
    }
    if any(name.startswith("classifier.") for name in tensors):  # others have the names of none
        facts["classes"] = _shorten(config.labels)
    facts |= _run_facts(folder, config)
    width = max(map(len, facts))
    return "\n".join(f"{what:{width}}  {one_line(value, 2_000)}" for what, value in facts.items())


def _run_facts(folder: Path, config: BertConfig) -> dict[str, object]:
    """Return what is known of the run that made a classifier; {} for other folders."""
    facts: dict[str, object] = {}
    if config.classifier:
        facts["head"] = ", ".join(f"{name} {value}" for name, value in config.classifier.items())
    if (folder / "manifest.json").is_file():
        stored = read_json(folder / "manifest.json")
        job, values = stored_run(folder)
        facts["trained by"] = f"bert_kit {stored.get('bert_kit')}, torch {stored.get('torch')}"
        facts["settings"] = ", ".join(f"{name} {value}" for name, value in _changed(
            job, values).items()) or "all defaults"
    path = folder / "results.json"
    if path.is_file():
        try:
            return facts | _score_facts(read_json(path))
        except (AttributeError, TypeError):
            raise ConfigError(f"{path}: holds no scores by part of the rows; expected the results "
                              "of a run") from None
    return facts


def _changed(job: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that are not the defaults of its task."""
    name = "masked" if job == "pretrain" else str(values.get("task", "classification"))
    if name not in PLACES:
        return values
    options = task_named(name).options
    standard = options().to_dict()
    known = known_settings(options, values)
    before = {field.name: field.metadata["before"] for field in fields_of(options)
              if "before" in field.metadata}
    values = options(**before | known).to_dict()
    return {field.name: values[field.name] for field in fields_of(options)
            if values[field.name] != standard[field.name]}


def _score_facts(results: dict[str, Any]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for part, name, scores in results_rows(results):
        if name == "BERT":
            facts[f"{part} rows"] = ", ".join(
                f"{what} {number(scores[key]):.4f}" for key, what in (
                    ("perplexity", "perplexity"), ("accuracy", "accuracy"),
                    ("f1_macro", "macro F1"), ("spearman", "Spearman"),
                    ("exact_match", "exact match")) if scores.get(key) is not None)
    return facts


def _shorten(names: Sequence[str], most: int = 8) -> str:
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _vocabulary(folder: Path, config: BertConfig) -> str:
    try:
        tokenizer = get_tokenizer(folder)
    except TokenizerError as error:
        return f"none ({error})"
    match = "" if tokenizer.vocab_size == config.vocab_size else (
        f"; the weights have {config.vocab_size:,} rows")
    return f"{tokenizer.vocab_size:,} pieces{match}"
