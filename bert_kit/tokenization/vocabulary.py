"""What a model folder says about its tokenizer, in any of the forms in use.

The vocabulary is in tokenizer.json (new) or vocab.txt (old, one piece a line, the line number is
the id). How text is cleaned is in tokenizer_config.json, which wins, as in the Hugging Face
library, or in tokenizer.json. Every other kind of tokenizer is refused.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from bert_kit.errors import TokenizerError
from bert_kit.files import JSON_LIMIT, check_readable, read_json, write_json, write_text

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
NO_LIMIT = 10**9  # a model_max_length above it (usually 1e30) means "no limit"

# Classes whose vocab.txt is BERT's: others split words by other rules that the file does not tell.
_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer",
            "PreTrainedTokenizer", "TokenizersBackend")

# Key of tokenizer_config.json -> (key of tokenizer.json's normalizer, allowed values).
_CLEANING = {
    "do_lower_case": ("lowercase", (True, False)),
    "strip_accents": ("strip_accents", (True, False, None)),
    "tokenize_chinese_chars": ("handle_chinese_chars", (True, False)),
}


class Vocabulary(NamedTuple):
    """The parameters of `bert_kit.tokenization.Tokenizer`, in their order."""

    pieces: list[str]
    lowercase: bool
    strip_accents: bool | None
    split_chinese: bool
    special_tokens: dict[str, str]
    added_tokens: list[AddedToken]
    max_length: int | None


def read_vocabulary(folder: str | Path) -> Vocabulary:
    """Return what a folder says of its tokenizer, as the parameters that make it.

    Raises
    ------
    TokenizerError
        If there is no vocabulary, it is damaged, or it is not BERT's kind.

    Warns
    -----
    UserWarning
        If no file says whether case matters, so that the pieces had to tell.
    """
    folder = Path(folder)
    config_path = folder / "tokenizer_config.json"
    config = read_json(config_path) if config_path.exists() else {}
    added_tokens, cleaning = [], {}
    if (folder / "tokenizer.json").exists():
        pieces, added_tokens, cleaning = _read_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").exists():
        pieces = _read_old_folder(folder, config)
    else:
        raise TokenizerError(f"{folder}: no tokenizer.json and no vocab.txt; expected one of them")
    cleaning |= {key: _flag(config[key], allowed, config_path, key)
                 for key, (_, allowed) in _CLEANING.items() if key in config}
    if "do_lower_case" not in cleaning:
        cleaning["do_lower_case"] = _guess_lowercase(pieces, folder)
    return Vocabulary(pieces, bool(cleaning["do_lower_case"]), cleaning.get("strip_accents"),
                      bool(cleaning.get("tokenize_chinese_chars", True)),
                      _read_special_tokens(folder, config), added_tokens,
                      _read_max_length(config, config_path))


def write_vocabulary(folder: str | Path, backend: Backend, special_tokens: Mapping[str, str],
                     max_length: int | None) -> None:
    """Write a tokenizer into a folder as the four files that new and old readers look for.

    tokenizer.json holds everything; vocab.txt, tokenizer_config.json and
    special_tokens_map.json serve readers that rebuild the tokenizer from its parts. Each file is
    replaced atomically.

    Parameters
    ----------
    backend
        Cleans as BERT does: its normalizer is a `BertNormalizer`.
    special_tokens
        Spellings by role.
    """
    folder, normalizer = Path(folder), backend.normalizer
    numbers = backend.get_vocab(with_added_tokens=False)
    names = {f"{role}_token": token for role, token in special_tokens.items()}
    pieces = sorted(numbers, key=numbers.__getitem__)
    write_text(folder / "tokenizer.json", backend.to_str(pretty=True) + "\n")
    write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in pieces))
    write_json(folder / "special_tokens_map.json", names)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": normalizer.lowercase,
        "strip_accents": normalizer.strip_accents,
        "tokenize_chinese_chars": normalizer.handle_chinese_chars,
        "model_max_length": max_length or int(1e30),  # how the Hugging Face library says "none"
        **names})


def _read_tokenizer_json(
        path: Path) -> tuple[list[str], list[AddedToken], dict[str, bool | None]]:
    """Return pieces, added tokens and cleaning of a tokenizer.json."""
    content = read_json(path)
    model, normalizer, pre_tokenizer = (
        _object(content, key, path) for key in ("model", "normalizer", "pre_tokenizer"))
    # Files of 2020 name no model type; only WordPiece has a prefix and a vocabulary of numbers.
    for what, kind, expected in (
            ("model", model.get("type", "WordPiece"), "WordPiece"),
            ("prefix", model.get("continuing_subword_prefix"), "##"),
            ("normalizer", normalizer.get("type"), "BertNormalizer"),
            ("pre_tokenizer", pre_tokenizer.get("type"), "BertPreTokenizer")):
        if kind != expected:
            raise TokenizerError(f"{path}: {what} is {kind!r}; expected {expected!r}")
    pieces = _in_order(_object(model, "vocab", path), path)
    cleaning = {name: _flag(normalizer[key], allowed, path, f"normalizer's {key}")
                for name, (key, allowed) in _CLEANING.items() if key in normalizer}
    added = _read_added_tokens(content.get("added_tokens") or [], pieces, path)
    return pieces, added, cleaning


def _read_added_tokens(entries: list[dict], pieces: Sequence[str], path: Path) -> list[AddedToken]:
    """Return the added tokens in the order of their ids, which must be the next free ones."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    try:
        entries = sorted(entries, key=lambda entry: entry["id"])
        for entry in entries:
            expected = numbers.setdefault(entry["content"], len(numbers))
            if entry["id"] != expected:
                raise TokenizerError(f"{path}: added token {entry['content']!r} has id "
                                     f"{entry['id']}; expected {expected}")
        flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
        return [AddedToken(entry["content"], **{flag: entry[flag] for flag in flags})
                for entry in entries]
    except (KeyError, TypeError, UnicodeEncodeError):
        raise TokenizerError(f"{path}: added_tokens is not a list of tokens with id, content "
                             "and flags") from None


def _read_old_folder(folder: Path, config: dict) -> list[str]:
    """Return the pieces of vocab.txt; refuse a folder in which they are not the whole truth."""
    path = folder / "vocab.txt"
    kind = config.get("tokenizer_class") or "BertTokenizer"
    if str(kind).removesuffix("Fast") not in _CLASSES:
        raise TokenizerError(f"{path}: belongs to a {kind}; expected a BertTokenizer")
    pieces = read_vocab_txt(path)
    added = folder / "added_tokens.json"
    extra = set(read_json(added)) - set(pieces) if added.exists() else None
    if extra:
        raise TokenizerError(f"{added}: adds {min(extra)!r} to vocab.txt; expected such a "
                             "vocabulary as tokenizer.json")
    return pieces


def read_vocab_txt(path: Path) -> list[str]:
    """Return the pieces of a vocab.txt, in the order of their ids.

    Raises
    ------
    TokenizerError
        If the file is empty, too large, not UTF-8, or has an empty line or a piece twice.
    """
    try:
        check_readable(path, JSON_LIMIT)
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # splitlines cuts at U+2028 too
    except UnicodeDecodeError:
        raise TokenizerError(f"{path}: not UTF-8 text; expected one piece a line") from None
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read ({error.strerror})") from None
    pieces = [line.removesuffix("\r") for line in lines]
    while pieces and not pieces[-1]:
        pieces.pop()
    if not pieces:
        raise TokenizerError(f"{path}: empty; expected one piece a line")
    first_line = {}
    for number, piece in enumerate(pieces, start=1):
        if not piece:
            raise TokenizerError(f"{path}: line {number} is empty; expected a piece")
        if first_line.setdefault(piece, number) != number:
            raise TokenizerError(f"{path}: line {number} repeats {piece!r} of line "
                                 f"{first_line[piece]}; expected each piece once")
    return pieces


def _in_order(vocabulary: dict[str, int], path: Path) -> list[str]:
    """Return the pieces of a {piece: id} object as a list."""
    numbers = list(vocabulary.values())
    if not all(type(number) is int for number in numbers):
        raise TokenizerError(f"{path}: vocab does not map pieces to whole numbers")
    if sorted(numbers) != list(range(len(numbers))):
        raise TokenizerError(f"{path}: vocab has {len(numbers)} pieces with ids from "
                             f"{min(numbers)} to {max(numbers)}; expected each of 0 to "
                             f"{len(numbers) - 1} once")
    try:
        "".join(vocabulary).encode("utf-8")
    except UnicodeEncodeError:
        raise TokenizerError(f"{path}: vocab has a piece with a lone surrogate; expected "
                             "whole characters") from None
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _guess_lowercase(pieces: Sequence[str], folder: Path) -> bool:
    """Decide from the pieces: one upper-case letter outside "[...]" means that case matters."""
    lowercase = all(piece == piece.lower() or (piece.startswith("[") and piece.endswith("]"))
                    for piece in pieces)
    warnings.warn(f"{folder}: no file sets do_lower_case; taken as {lowercase}, since the pieces "
                  f"{'are all lower-case' if lowercase else 'include upper-case letters'}",
                  stacklevel=5)
    return lowercase


def _read_special_tokens(folder: Path, config: dict) -> dict[str, str]:
    """Return the spellings by role that the folder declares."""
    path = folder / "special_tokens_map.json"
    older = read_json(path) if path.exists() else {}
    spellings = {}
    for role in SPECIAL_TOKENS:
        key = f"{role}_token"
        token = older.get(key) if config.get(key) is None else config[key]
        token = token.get("content") if isinstance(token, dict) else token
        if token is not None:
            if not isinstance(token, str) or not token:
                raise TokenizerError(f"{folder}: {key} is {token!r}; expected a string")
            spellings[role] = token
    return spellings


def _read_max_length(config: dict, path: Path) -> int | None:
    length = config.get("model_max_length")
    if length is None:
        return None
    if isinstance(length, bool) or not isinstance(length, int | float) or length < 3:
        raise TokenizerError(f"{path}: model_max_length is {length!r}; expected a number from 3")
    return int(length) if length <= NO_LIMIT else None


def _flag(value: bool | None, allowed: tuple[bool | None, ...], path: Path,
          key: str) -> bool | None:
    if not any(value is choice for choice in allowed):  # 1 == True, but it is none
        raise TokenizerError(f"{path}: {key} is {value!r}; expected true or false")
    return value


def _object(content: dict, key: str, path: Path) -> dict:
    value = content.get(key)
    if not isinstance(value, dict):
        raise TokenizerError(f"{path}: {key} is {value!r:.40}; expected an object")
    return value
