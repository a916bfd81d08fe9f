"""What is in a model folder, without building the model."""

from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError, TokenizerError
from bert_kit.printing import number, one_line, results_rows
from bert_kit.files import read_json
from bert_kit.lookup import find_folder
from bert_kit.recipes.run_folder import stored_settings
from bert_kit.tokenization import get_tokenizer
from bert_kit.weights import WEIGHT_FILES, read_weights


def describe_folder(name, download=False):
    """Return what a model folder holds, one fact a line.

    Parameters
    ----------
    name : str or path
        A folder or a name; see `bert_kit.lookup.find_folder` for the places.
    download : bool
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


def _run_facts(folder, config):
    """Return what is known of the run that made a classifier; {} for other folders."""
    facts = {}
    if config.classifier:
        facts["head"] = ", ".join(f"{name} {value}" for name, value in config.classifier.items())
    if (folder / "manifest.json").is_file():
        stored = read_json(folder / "manifest.json")
        chosen = stored_settings(folder)
        standard = type(chosen)().to_dict()
        facts["trained by"] = f"bert_kit {stored.get('bert_kit')}, torch {stored.get('torch')}"
        facts["settings"] = ", ".join(f"{name} {value}" for name, value in chosen.to_dict().items()
                                      if value != standard[name]) or "all defaults"
    path = folder / "results.json"
    if path.is_file():
        try:
            return facts | _score_facts(read_json(path))
        except (AttributeError, TypeError):
            raise ConfigError(f"{path}: holds no scores by part of the rows; expected the results "
                              "of a run") from None
    return facts


def _score_facts(results):
    facts = {}
    for part, name, scores in results_rows(results):
        if name == "BERT":
            facts[f"{part} rows"] = ", ".join(
                f"{what} {number(scores[key]):.4f}" for key, what in (
                    ("perplexity", "perplexity"), ("accuracy", "accuracy"),
                    ("f1_macro", "macro F1"), ("spearman", "Spearman"),
                    ("exact_match", "exact match")) if scores.get(key))
    return facts


def _shorten(names, most=8):
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _vocabulary(folder, config):
    try:
        tokenizer = get_tokenizer(folder)
    except TokenizerError as error:
        return f"none ({error})"
    match = "" if tokenizer.vocab_size == config.vocab_size else (
        f"; the weights have {config.vocab_size:,} rows")
    return f"{tokenizer.vocab_size:,} pieces{match}"
