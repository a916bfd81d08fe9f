"""README.md of a run: the model card, with the measured numbers.

Its head is the metadata that the Hugging Face hub reads, as
https://github.com/huggingface/hub-docs/blob/main/modelcard.md has it: each value is written as
JSON, which is YAML too.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_kit import __version__
from bert_kit.checks import is_number
from bert_kit.families import OWN_TYPE, family_of
from bert_kit.files import read_json, write_text
from bert_kit.printing import Column, markdown, one_line, results_rows

SHOWN_CLASSES = 200
# What the hub calls a task, and the library that opens a folder of it.
HUB_TASKS = {"classification": "text-classification", "multi_label": "text-classification",
             "regression": "text-classification", "tagging": "token-classification",
             "answering": "question-answering", "similarity": "sentence-similarity",
             "masked": "fill-mask"}
HUB_METRICS = {"macro F1": "f1", "micro F1": "f1", "Spearman": "spearmanr", "Pearson": "pearsonr",
               "MSE": "mse"}  # by their headings; others go by their own name
SHARE = """Upload model.safetensors, config.json, the files of the tokenizer, label_mapping.json and
this card; of a sentence encoder also modules.json and what it names. Before that, add a license and
the language to the card, and look whether it names folders of this machine.

Leave the rest here. test_predictions.csv and its like hold the texts of your rows. manifest.json,
training_args.json and results.json hold the names of your files. checkpoint-*/ holds the state of
the training."""


def write_card(folder: Path, results: dict[str, Any], what: str, columns: Sequence[Column],
               use: str) -> None:
    """Write the model card of a finished run, as Markdown.

    Parameters
    ----------
    results
        As in results.json.
    what
        What the model does, after "A BERT that".
    columns
        Scores to show, as in `results_table`.
    use
        The command line that uses the model.
    """
    config = read_json(folder / "config.json")
    ours, family = config.get("model_type") == OWN_TYPE, family_of(config)
    origin = markdown(results["model"]) if results["model"] else (
        results.get("initial_weights", "random weights"))
    head = f"{results['classifier']} head, " if "classifier" in results else ""
    lines = ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in
                      _metadata(folder, results, columns, family, ours).items()), "---", "",
             f"# {markdown(folder.resolve().name)}", "",
             f"A {'BERT' if family == 'bert' else family} ({head}{results['parameters']:,} "
             f"parameters) that {what}, trained with bert_kit {__version__} from {origin}.", ""]
    if ours:
        lines += ["It opens in bert_kit only: other libraries have no such head, and are told so "
                  "by config.json.", ""]
    if classes := results.get("classes"):
        more = f" and {len(classes) - SHOWN_CLASSES:,} more" * (len(classes) > SHOWN_CLASSES)
        lines += [f"Output: {', '.join(map(markdown, classes[:SHOWN_CLASSES]))}{more}.", ""]
    if results.get("validation") or results.get("test"):
        lines += ["## Scores", "",
                  " | ".join(["| rows | what", *(heading for _, heading, *_ in columns)]) + " |",
                  "|---|---" + "|---" * len(columns) + "|"]
        for part, name, scores in results_rows(results):
            lines.append(f"| {part} | {name} | " + " | ".join(
                "–" if (value := scores.get(key)) is None else format(value, form)
                for key, _, _, form in columns) + " |")
        lines.append("")
    if results.get("verdict"):
        lines += ["## Verdict", "", *(
            f"- {markdown(found['says'])}." for found in results["verdict"]["findings"])]
        beside = results["verdict"].get("beside")
        if results["verdict"]["learned"]:
            lines.append(f"- It has learned: {markdown(beside)}." if beside
                         else "- There was nothing to compare with.")
        lines.append("")
    rows = ", ".join(f"{count:,} {part}" for part, count in results["rows"].items())
    scored = " The test rows were scored once, after training." if results.get("test") else ""
    lines += [f"Rows: {rows}. Training took {results['steps']:,} steps, "
              f"{results['seconds']:.0f} s.{scored}", "",
              "## Use", "", "```bash", f"python -m bert_kit {use}", "```", "",
              "The settings are in manifest.json, all scores in results.json.", "",
              "## Share", "", SHARE, ""]
    write_text(folder / "README.md", "\n".join(lines))


def _metadata(folder: Path, results: dict[str, Any], columns: Sequence[Column],
              family: str, ours: bool) -> dict[str, Any]:
    """Return what the hub is to know of a run, in plain values.

    The weights that it began with are named where they have a name: a folder is of this machine.
    """
    task, start = HUB_TASKS.get(str(results["task"])), str(results["model"] or "")
    ours = ours or task is None
    about: dict[str, Any] = {"library_name": "bert_kit" if ours else "sentence-transformers"
                             if task == "sentence-similarity" else "transformers"}
    if task is not None:
        about["pipeline_tag"] = task
    if re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", start, re.ASCII) and not Path(start).exists():
        about["base_model"] = start
    about["tags"] = list(dict.fromkeys([family, "bert_kit", *([task] if task else [])]))
    part = "test" if results.get("test") else "validation"
    scores = results.get(part) or {}
    found = [{"type": HUB_METRICS.get(heading, key), "name": heading,
              "value": round(float(scores[key]), 4)}
             for key, heading, *_ in columns if is_number(scores.get(key))]
    if not found:
        return about
    about["metrics"] = list(dict.fromkeys(score["type"] for score in found))
    about["model-index"] = [{"name": one_line(folder.resolve().name), "results": [{
        "task": {"type": task or "other"},
        "dataset": {"type": "unpublished", "name": f"the {part} rows of the training"},
        "metrics": found}]}]
    return about
