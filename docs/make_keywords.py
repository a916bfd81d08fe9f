"""Write bert_kit/jobs/options/keywords.pyi: the options of each task as an editor checks them.

The functions that train take options by name, `**settings: Unpack[TagKeywords]`. These TypedDicts
are the classes of options once more, under all their spellings. `python docs/make_keywords.py`
writes the file, and a test holds it current.
"""

import types
import typing
from pathlib import Path

from bert_kit.jobs.active.options import options_for
from bert_kit.jobs.compare import compare_options
from bert_kit.jobs.options.declare import Options, fields_of, spellings
from bert_kit.jobs.tasks.table import PLACES
from bert_kit.jobs.train import train_options
from bert_kit.jobs.tuning.options import search_options

TARGET = Path(__file__).resolve().parents[1] / "bert_kit/jobs/options/keywords.pyi"
TASKS = {"TextKeywords": ("classification", "multi_label", "regression"),
         "TagKeywords": ("tagging",), "AnswerKeywords": ("answering",),
         "SimilarityKeywords": ("similarity",), "MaskedKeywords": ("masked",)}
# What the functions have as arguments of their own.
OTHERS = {"classifier_type", "classifier_types", "model_path", "data_path", "dataset_path",
          "acquisitions", "space"}
ARGUMENTS = dict.fromkeys(("SimilarityKeywords", "MaskedKeywords"), {"model_path", "train_file"})
HEAD = '''"""The options of each task as keyword arguments. Written by docs/make_keywords.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict
'''


def shown(hint: object) -> str:
    """Return an annotation of a field as that of a keyword argument, which may be looser."""
    if isinstance(hint, types.UnionType):
        return " | ".join(dict.fromkeys(part for kind in typing.get_args(hint)
                                        for part in shown(kind).split(" | ")))
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0].__name__
        return f"{kind} | Sequence[{kind}]"
    names = {str: "str", type(None): "None"}
    return names.get(hint, getattr(hint, "__name__", ""))  # type: ignore[call-overload]


def class_of(name: str, options: list[type[Options]]) -> str:
    """Return the source of a TypedDict."""
    found: dict[str, str] = {}
    for kind in options:
        hints = typing.get_type_hints(kind)
        flags = {name for field in fields_of(kind) for name in field.metadata["once"]}
        for spelling, field in sorted(spellings(kind).items()):
            if spelling not in ARGUMENTS.get(name, OTHERS):
                path = field.endswith(("_file", "_dir", "model", "store", "tokenizer"))
                found.setdefault(spelling, "bool" if spelling in flags else shown(
                    hints[field]).replace("str", "str | Path" if path else "str"))
    lines = [f"    {spelling}: {hint}" for spelling, hint in sorted(found.items())]
    return "\n".join([f"class {name}(TypedDict, total=False):", *lines])


def stub() -> str:
    """Return the source of the whole file."""
    kinds: dict[str, list[type[Options]]] = {
        name: [train_options(task) for task in tasks] for name, tasks in TASKS.items()}
    kinds["ActiveKeywords"] = [options_for(task) for task in ("classification", "multi_label")]
    kinds["CompareKeywords"] = [compare_options(task) for task in TASKS["TextKeywords"]]
    kinds["SearchKeywords"] = [search_options(task) for task in PLACES]
    return "\n\n".join([HEAD.rstrip(), *(
        "\n" + class_of(name, options) for name, options in kinds.items())]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(stub(), "utf-8")
