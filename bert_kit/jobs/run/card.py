"""README.md of a run: the model card, with the measured numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_kit import __version__
from bert_kit.files import write_text
from bert_kit.printing import Column, markdown, results_rows

SHOWN_CLASSES = 200


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
    origin = markdown(results["model"]) if results["model"] else "random weights"
    head = f"{results['classifier']} head, " if "classifier" in results else ""
    lines = [f"# {markdown(folder.resolve().name)}", "",
             f"A BERT ({head}{results['parameters']:,} parameters) that {what}, trained with "
             f"bert_kit {__version__} from {origin}.", ""]
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
              "The settings are in manifest.json, all scores in results.json.", ""]
    write_text(folder / "README.md", "\n".join(lines))
