"""What a row looks like, as the post_processor of a tokenizer.json says it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_kit.errors import TokenizerError

_FORMS = ("expected [CLS] A [SEP] and [CLS] A [SEP] B [SEP], or RoBERTa's [CLS] A [SEP] [SEP] B "
          "[SEP], whatever the tokens are called")


def read_row_form(content: Any, path: Path, bare: bool) -> dict[str, Any]:
    """Return the spellings of cls_token and sep_token, second_segment and separators.

    These are the segment of B, and how many sep_token stand between A and B.

    Parameters
    ----------
    content
        The post_processor: BertProcessing, RobertaProcessing, or a TemplateProcessing that does
        as one of them, alone or beside ByteLevel.
    bare
        Whether the tokenizer's class adds no special tokens of its own, so that none come into a
        row without a post_processor.

    Raises
    ------
    TokenizerError
        If rows would look otherwise.
    """
    if content is None:
        if bare:
            raise TokenizerError(f"{path}: post_processor is null, so that rows have no [CLS] and "
                                 f"no [SEP]; {_FORMS}")
        return {}
    content = _without_offsets(content)
    kind = content.get("type") if isinstance(content, dict) else content
    if kind not in ("BertProcessing", "RobertaProcessing", "TemplateProcessing"):
        raise TokenizerError(f"{path}: post_processor is {kind!r:.40}; expected BertProcessing, "
                             "RobertaProcessing or TemplateProcessing")
    try:
        if kind != "TemplateProcessing":
            (cls, cls_id), (sep, sep_id) = content["cls"], content["sep"]
            form = (1, 1) if kind == "BertProcessing" else (0, 2)
            rows = {"single": _row(cls, sep), "pair": _row(cls, sep, *form)}
            ids = {str(cls): cls_id, str(sep): sep_id}
        else:
            rows = {name: [_part(part) for part in content[name]] for name in ("single", "pair")}
            cls, sep = rows["single"][0][0], rows["single"][-1][0]
            ids = {token: entry["ids"][0] if entry["tokens"] == [token] else entry["tokens"]
                   for token, entry in content["special_tokens"].items()}
        segment, separators = rows["pair"][-1][1], len(rows["pair"]) - 4
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise TokenizerError(f"{path}: post_processor is damaged; {_FORMS}") from None
    known = segment in (0, 1) and separators in (1, 2)
    for name, expected in (("single", _row(cls, sep)),
                           ("pair", _row(cls, sep, segment, separators) if known else None)):
        if rows[name] != expected:
            shown = " ".join(f"{what}:{number}" for what, number in rows[name])
            raise TokenizerError(f"{path}: post_processor's {name} is {shown:.80}; {_FORMS}")
    return {"cls_token": cls, "sep_token": sep, "second_segment": segment,
            "separators": separators, "row_ids": ids}


def _without_offsets(content: Any) -> Any:
    """Return the one of a sequence of processors that makes rows; ByteLevel trims offsets only."""
    if not isinstance(content, dict) or content.get("type") != "Sequence":
        return content
    parts = content.get("processors")
    rows = [part for part in parts if not isinstance(part, dict) or part.get("type") != "ByteLevel"
            ] if isinstance(parts, list) else []
    return rows[0] if len(rows) == 1 else content


def _row(cls: str, sep: str, segment: int | None = None,
         separators: int = 1) -> list[tuple[str, int]]:
    """Return the parts of a row and their segments; of a pair where there is one for B."""
    second = [] if segment is None else [
        *[(sep, segment)] * (separators - 1), ("$B", segment), (sep, segment)]
    return [(cls, 0), ("$A", 0), (sep, 0), *second]


def _part(part: Mapping[str, Any]) -> tuple[str, int]:
    """Return a part of a template as it is written, $A or [CLS], and its segment."""
    (kind, what), = part.items()
    sequence = kind == "Sequence"
    if kind not in ("Sequence", "SpecialToken") or (sequence and what["id"] not in ("A", "B")):
        raise ValueError(kind)
    return ("$" if sequence else "") + what["id"], what["type_id"]
