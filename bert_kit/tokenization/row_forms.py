"""What a row looks like, as the post_processor of a tokenizer.json says it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_kit.errors import TokenizerError

_BERT = "expected [CLS] A [SEP] and [CLS] A [SEP] B [SEP]"


def read_row_form(content: Any, path: Path, bare: bool) -> dict[str, Any]:
    """Return the spellings of cls_token and sep_token, and second_segment, the segment of B.

    Parameters
    ----------
    content
        The post_processor: BertProcessing, or a TemplateProcessing that does the same.
    bare
        Whether the tokenizer's class adds no special tokens of its own, so that none come into a
        row without a post_processor.

    Raises
    ------
    TokenizerError
        If rows would look otherwise than BERT's.
    """
    if content is None:
        if bare:
            raise TokenizerError(f"{path}: post_processor is null, so that rows have no [CLS] and "
                                 f"no [SEP]; {_BERT}")
        return {}
    kind = content.get("type") if isinstance(content, dict) else content
    if kind not in ("BertProcessing", "TemplateProcessing"):
        raise TokenizerError(f"{path}: post_processor is {kind!r:.40}; expected BertProcessing or "
                             "TemplateProcessing")
    try:
        if kind == "BertProcessing":
            (cls, cls_id), (sep, sep_id) = content["cls"], content["sep"]
            rows = {"single": _row(cls, sep), "pair": _row(cls, sep, 1)}
            ids = {str(cls): cls_id, str(sep): sep_id}
        else:
            rows = {name: [_part(part) for part in content[name]] for name in ("single", "pair")}
            cls, sep = rows["single"][0][0], rows["single"][-1][0]
            ids = {token: entry["ids"][0] if entry["tokens"] == [token] else entry["tokens"]
                   for token, entry in content["special_tokens"].items()}
        segment = rows["pair"][-1][1]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise TokenizerError(f"{path}: post_processor is damaged; {_BERT}") from None
    for name, expected in (("single", _row(cls, sep)), ("pair", _row(cls, sep, segment))):
        if rows[name] != expected or segment not in (0, 1):
            shown = " ".join(f"{what}:{number}" for what, number in rows[name])
            raise TokenizerError(f"{path}: post_processor's {name} is {shown:.80}; {_BERT}")
    return {"cls_token": cls, "sep_token": sep, "second_segment": segment, "row_ids": ids}


def _row(cls: str, sep: str, segment: int | None = None) -> list[tuple[str, int]]:
    """Return the parts of a row and their segments; of a pair where there is one for B."""
    second = [] if segment is None else [("$B", segment), (sep, segment)]
    return [(cls, 0), ("$A", 0), (sep, 0), *second]


def _part(part: Mapping[str, Any]) -> tuple[str, int]:
    """Return a part of a template as it is written, $A or [CLS], and its segment."""
    (kind, what), = part.items()
    sequence = kind == "Sequence"
    if kind not in ("Sequence", "SpecialToken") or (sequence and what["id"] not in ("A", "B")):
        raise ValueError(kind)
    return ("$" if sequence else "") + what["id"], what["type_id"]
