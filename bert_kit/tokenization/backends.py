"""Tokenizers of other kinds than WordPiece: byte-level BPE as RoBERTa's, Unigram as XLM-R's.

How they clean, split and join is left to the `tokenizers` library, which has the file as it is.
Only three things are settled here: what the special tokens are, that no text can forge one, and
which sign in a piece says that a space stands before it.
"""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, processors
from tokenizers import Tokenizer as Backend

from bert_kit.errors import TokenizerError
from bert_kit.printing import one_line

ROBERTA_TOKENS = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}


class OtherVocabulary(NamedTuple):
    """What a Tokenizer that is no WordPiece is made of; see its attributes."""

    backend: Backend
    special_tokens: dict[str, str]
    max_length: int | None
    markers: tuple[str, ...]
    truncation_side: str
    second_segment: int
    split_special_tokens: bool
    separators: int


def model_kind(content: Mapping[str, Any]) -> str:
    """Return the kind of model in a tokenizer.json: "WordPiece", "BPE", "Unigram" or another.

    Files of 2020 do not name it.
    """
    model = content.get("model")
    if not isinstance(model, dict):
        return "WordPiece"  # whose reader says what is missing
    guess = "BPE" if "merges" in model else (
        "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece")
    return str(model.get("type", guess))


def read_other_model(content: Mapping[str, Any], path: Path) -> tuple[Any, str | None]:
    """Return {piece: id} of a BPE or Unigram, and its unknown token.

    Raises
    ------
    TokenizerError
        If it is damaged, draws its pieces at random, or says otherwise than by a sign in front
        where a word begins.
    """
    model = content["model"]
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            raise TokenizerError(f"{path}: model.{key} is {model[key]!r:.40}; the kit does only "
                                 "null")
    if space_mark(content) is None:
        raise TokenizerError(f"{path}: no pre_tokenizer puts a sign for the space before a word "
                             "into the pieces; expected ByteLevel or Metaspace")
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, list):
        return vocabulary, model.get("unk_token")
    try:
        pieces = {piece: number for number, (piece, _) in enumerate(vocabulary)}
        "".join(pieces)
    except (TypeError, ValueError):
        raise TokenizerError(f"{path}: vocab is not a list of pieces with a number each") from None
    if len(pieces) != len(vocabulary):
        raise TokenizerError(f"{path}: vocab has {len(vocabulary)} pieces, of which {len(pieces)} "
                             "differ; expected each once")
    unknown = model.get("unk_id")
    known = isinstance(unknown, int) and 0 <= unknown < len(vocabulary)
    return pieces, vocabulary[unknown][0] if known else None


def text_tokens(tokens: Sequence[AddedToken], roles: Container[str],
                split: bool) -> tuple[list[AddedToken], tuple[str, ...]]:
    """Return added tokens as the library is to have them, and which are markers.

    What the library takes for special is text to it: the roles, and the others that are marked
    special where those are to be split.
    """
    markers = tuple(token.content for token in tokens
                    if token.special and token.content not in roles)
    return [AddedToken(
        token.content, single_word=token.single_word, lstrip=token.lstrip, rstrip=token.rstrip,
        normalized=token.normalized, special=token.content in roles or (token.special and split))
        for token in tokens], markers


def make_backend(content: Mapping[str, Any], tokens: Sequence[AddedToken],
                 roles: Mapping[str, str], prefix_space: bool | None, separators: int,
                 path: Path) -> Backend:
    """Return the library's tokenizer of a tokenizer.json, with these added tokens.

    Parameters
    ----------
    tokens
        In the order of their ids; the library takes the special ones for text.
    prefix_space
        Whether the first word of a text begins with a space too; None leaves it to the file.
    separators
        How many sep tokens stand between two texts, where no post_processor says it.

    Raises
    ------
    TokenizerError
        If the library cannot read it, or a special token is missing.
    """
    own = {**content, "added_tokens": [], "truncation": None, "padding": None}
    if prefix_space is not None:
        own["pre_tokenizer"] = json.loads(json.dumps(own["pre_tokenizer"]))
        for part in _parts(own["pre_tokenizer"]):
            if part.get("type") == "ByteLevel":
                part["add_prefix_space"] = prefix_space
    try:
        backend = Backend.from_str(json.dumps(own))
    except Exception as error:  # the library has no class for what it finds
        raise TokenizerError(f"{path}: the tokenizers library cannot read it "
                             f"({one_line(error, 200)})") from None
    backend.add_tokens(list(tokens))
    for role, token in roles.items():
        if backend.token_to_id(token) is None:
            raise TokenizerError(f"{path}: the vocabulary of "
                                 f"{backend.get_vocab_size(with_added_tokens=True)} pieces has no "
                                 f"{token!r:.40}; expected it as the {role} token, or a "
                                 f"{role}_token in tokenizer_config.json")
    known = {token.content for token in tokens}  # with flags, such as a space that <mask> takes
    backend.add_special_tokens([*{*roles.values()} - known])
    if own.get("post_processor") is None:
        set_row_form(backend, roles, separators)
    return backend


def set_row_form(backend: Backend, roles: Mapping[str, str], separators: int) -> None:
    """Put the form of rows into a tokenizer, for readers of its file."""
    sep, cls = ((roles[role], int(backend.token_to_id(roles[role]) or 0))
                for role in ("sep", "cls"))
    form = processors.RobertaProcessing if separators == 2 else processors.BertProcessing
    backend.post_processor = form(sep, cls)


def space_mark(content: Mapping[str, Any]) -> str | None:
    """Return what stands for a space in front of a piece; None if nothing does.

    Parameters
    ----------
    content
        A tokenizer.json.

    Examples
    --------
    >>> space_mark({"pre_tokenizer": {"type": "Metaspace", "replacement": "_"}})
    '_'
    """
    for part in _parts(content.get("pre_tokenizer")):
        if part.get("type") == "ByteLevel":
            return "\u0120"  # the space as GPT-2 writes the byte, G with a dot
        if part.get("type") == "Metaspace":
            return str(part.get("replacement", "\u2581"))
    return None


def _parts(pre_tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Yield a pre-tokenizer, or those of a sequence."""
    if isinstance(pre_tokenizer, dict):
        yield pre_tokenizer
        inner = pre_tokenizer.get("pretokenizers")
        for part in inner if isinstance(inner, list) else ():
            yield from _parts(part)
