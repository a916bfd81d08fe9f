"""What a model folder says about its tokenizer, in any of the forms in use.

The vocabulary is in tokenizer.json (new) or vocab.txt (old, one piece a line, the line number is
the id). How BERT cleans a text is in tokenizer_config.json, which wins, as in the Hugging Face
library, or in tokenizer.json. Byte-level BPE and Unigram clean as their tokenizer.json says, see
`backends`. Every other kind of tokenizer is refused; `keys` lists every key.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenizers import AddedToken

from bert_kit.checks import one_of, whole
from bert_kit.errors import TokenizerError
from bert_kit.families import FAMILIES, family_of
from bert_kit.files import read_json, write_json, write_text
from bert_kit.printing import one_line
from bert_kit.tokenization.backends import (ROBERTA_TOKENS, OtherVocabulary, make_backend,
                                            model_kind, read_other_model, text_tokens)
from bert_kit.tokenization.guesses import guess_cleaning
from bert_kit.tokenization.keys import (ADDED_TOKEN, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG,
                                        TOKENIZER_JSON, check_keys, named_tokens)
from bert_kit.tokenization.row_forms import read_row_form
from bert_kit.tokenization.vocab_txt import read_vocab_txt

if TYPE_CHECKING:
    from bert_kit.tokenization.tokenizer import Tokenizer

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
NO_LIMIT = 10**9  # a model_max_length above it (usually 1e30) means "no limit"
SIDES = ("right", "left")

# Classes whose vocab.txt is BERT's: others split words by other rules that the file does not tell.
_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer",
            "PreTrainedTokenizer", "TokenizersBackend")
# These add nothing of their own to a row, and clean as their tokenizer.json says.
_BARE = ("PreTrainedTokenizer", "TokenizersBackend")
_ROBERTA = ("RobertaTokenizer", "XLMRobertaTokenizer")
_NO_SEGMENTS = ("DistilBertTokenizer", *_ROBERTA)

# Key of tokenizer_config.json -> (key of tokenizer.json's normalizer, allowed values).
_CLEANING = {
    "do_lower_case": ("lowercase", (True, False)),
    "strip_accents": ("strip_accents", (True, False, None)),
    "tokenize_chinese_chars": ("handle_chinese_chars", (True, False)),
    "clean_text": ("clean_text", (True, False)),
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
    truncation_side: str
    second_segment: int
    clean_text: bool
    longest_word: int
    split_special_tokens: bool
    separators: int


def read_vocabulary(folder: str | Path) -> Vocabulary | OtherVocabulary:
    """Return what a folder says of its tokenizer, as the parameters that make it.

    Raises
    ------
    TokenizerError
        If there is no vocabulary, it is damaged, it is of another kind, or a file asks for
        something that is not done here.

    Warns
    -----
    UserWarning
        If no file says whether case matters, so that the pieces had to tell.
    """
    folder = Path(folder)
    path = folder / "tokenizer_config.json"
    config, names = (_read_settings(folder / name, known) for name, known in (
        (path.name, TOKENIZER_CONFIG), ("special_tokens_map.json", SPECIAL_TOKENS_MAP)))
    content, added = {}, []
    said: dict[str, Any] = {}
    kind = _class_of(folder, config)
    if (folder / "tokenizer.json").exists():
        content = read_json(folder / "tokenizer.json")
        pieces, added, said = _read_tokenizer_json(folder, content, kind in _BARE)
    elif (folder / "vocab.txt").exists():
        pieces = _read_old_folder(folder, kind)
    else:
        raise TokenizerError(f"{folder}: no tokenizer.json and no vocab.txt; expected one of them")
    # As transformers reads them: the map is of older versions, which have no added_tokens_decoder.
    order = (names, config) if "added_tokens_decoder" in config else (config, names)
    special = _named(folder, *order)
    is_other = model_kind(content) != "WordPiece"
    for key, (_, allowed) in _CLEANING.items():
        if key in config and not (kind in _BARE and key in said):
            said[key] = _flag(config[key], allowed, path, key)
    roles = {role: special[f"{role}_token"][0]["content"] if f"{role}_token" in special
             else said.get(f"{role}_token") or default for role, default in (
                 ROBERTA_TOKENS if is_other else SPECIAL_TOKENS).items()}
    for role, token in roles.items():
        if not isinstance(token, str):
            raise TokenizerError(f"{folder}: the {role} token is {token!r:.40}; expected a string")
    tokens = _all_added(folder, pieces, added, config, special, set(roles.values()))
    _check_row_ids(said.get("row_ids"), roles, pieces, tokens, folder / "tokenizer.json")
    side = one_of(f"{path}: truncation_side", config.get("truncation_side") or said.get(
        "truncation_side", "right"), SIDES, error=TokenizerError)
    length, segment = _read_max_length(config, path), _second_segment(config, path, said, kind)
    split = bool(_flag(config.get("split_special_tokens"), (True, False, None), path,
                       "split_special_tokens"))
    separators = said.get("separators", 2 if kind in _ROBERTA else 1)
    if is_other:
        space = bool(config.get("add_prefix_space")) if kind == "RobertaTokenizer" else None
        plain, markers = text_tokens(tokens, set(roles.values()), split)
        backend = make_backend(content, plain, roles, space, separators, folder / "tokenizer.json")
        return OtherVocabulary(backend, roles, length, markers, side, segment, split, separators)
    if "do_lower_case" not in said:
        said = {**guess_cleaning(pieces, folder), **said}
    return Vocabulary(
        pieces, bool(said["do_lower_case"]), said.get("strip_accents"),
        bool(said.get("tokenize_chinese_chars", True)), roles, tokens, length, side, segment,
        bool(said.get("clean_text", True)), said.get("longest_word", 100), split, separators)


def _read_settings(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object of a file of settings, if it is there, with its keys checked."""
    content = read_json(path) if path.exists() else {}
    check_keys(content, known, path)
    return content


def write_vocabulary(folder: str | Path, tokenizer: "Tokenizer") -> None:
    """Write a tokenizer into a folder as the four files that new and old readers look for.

    tokenizer.json holds everything but the limit and the side where rows are cut; vocab.txt (of a
    WordPiece), tokenizer_config.json and special_tokens_map.json serve readers that rebuild the
    tokenizer from its parts. Each file is replaced atomically.
    """
    folder, backend = Path(folder), tokenizer.backend
    normalizer: Any = backend.normalizer
    names: dict[str, Any] = {f"{role}_token": token
                             for role, token in tokenizer.special_tokens.items()}
    if tokenizer.markers:
        names["additional_special_tokens"] = list(tokenizer.markers)
    # A class that is nothing but its file, where BERT's own would clean and join otherwise.
    about: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    unusual = {"truncation_side": tokenizer.truncation_side,
               "split_special_tokens": tokenizer.split_special_tokens}
    if tokenizer.is_wordpiece:
        about |= {"do_lower_case": normalizer.lowercase, "strip_accents": normalizer.strip_accents,
                  "tokenize_chinese_chars": normalizer.handle_chinese_chars}
        unusual = {"clean_text": normalizer.clean_text, **unusual}
        if tokenizer.separators == 1:
            about["tokenizer_class"] = "BertTokenizer"
    usual = {"clean_text": True, "truncation_side": "right", "split_special_tokens": False}
    more = {key: value for key, value in unusual.items() if value != usual[key]}
    if not tokenizer.second_segment:
        more["model_input_names"] = ["input_ids", "attention_mask"]
    write_text(folder / "tokenizer.json", tokenizer.to_json() + "\n")
    if tokenizer.is_wordpiece:
        numbers = backend.get_vocab(with_added_tokens=False)
        pieces = sorted(numbers, key=numbers.__getitem__)
        write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in pieces))
    write_json(folder / "special_tokens_map.json", names)
    write_json(folder / "tokenizer_config.json", {
        **about,
        "model_max_length": tokenizer.max_length or int(1e30),  # Hugging Face's way to say "none"
        **more, **names})


def _read_tokenizer_json(folder: Path, content: dict[str, Any],
                         bare: bool) -> tuple[list[str], list[dict], dict[str, Any]]:
    """Return pieces, entries of added tokens, and all else in the words of tokenizer_config.json.
    """
    path = folder / "tokenizer.json"
    check_keys(content, TOKENIZER_JSON, path, strict=True)
    if model_kind(content) in ("BPE", "Unigram"):
        vocabulary, unknown = read_other_model(content, path)
        pieces, said = _in_order(_object({"vocab": vocabulary}, "vocab", path), path), {}
    else:
        pieces, said = _read_wordpiece(content, path)
        unknown = content["model"].get("unk_token")
    added = content.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(entry, dict) for entry in added):
        raise TokenizerError(f"{path}: added_tokens is not a list of tokens with id, content "
                             "and flags")
    said["unk_token"] = unknown
    if isinstance(content.get("padding"), dict):
        said["pad_token"] = content["padding"].get("pad_token")
    if content.get("truncation") is not None:
        truncation = _object(content, "truncation", path)
        check_keys(truncation, TOKENIZER_JSON, path, "truncation.", True)
        said["truncation_side"] = str(truncation.get("direction", "Right")).lower()
    said |= read_row_form(content.get("post_processor"), path, bare)
    return pieces, added, said


def _read_wordpiece(content: dict[str, Any], path: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the pieces of a WordPiece, and how its text is cleaned, as BERT cleans."""
    model = _object(content, "model", path)
    # Files of 2020 name no model type; only WordPiece has a prefix and a vocabulary of numbers.
    check_keys({"type": "WordPiece", "continuing_subword_prefix": None, **model}, TOKENIZER_JSON,
               path, "model.", True)
    normalizer, pre_tokenizer = (
        _object(content, key, path) for key in ("normalizer", "pre_tokenizer"))
    check_keys({"type": None, **normalizer}, TOKENIZER_JSON, path, "normalizer.", True)
    check_keys({"type": None, **pre_tokenizer}, TOKENIZER_JSON, path, "pre_tokenizer.", True)
    pieces = _in_order(_object(model, "vocab", path), path)
    said: dict[str, Any] = {
        name: _flag(normalizer[key], allowed, path, f"normalizer's {key}")
        for name, (key, allowed) in _CLEANING.items() if key in normalizer}
    if "max_input_chars_per_word" in model:
        said["longest_word"] = whole(f"{path}: max_input_chars_per_word",
                                     model["max_input_chars_per_word"], 1, 10**6,
                                     error=TokenizerError)
    return pieces, said


def _class_of(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the tokenizer's class without "Fast"; older folders name it in config.json."""
    path = folder / "config.json"
    stored, family = config.get("tokenizer_class"), "bert"
    if stored is None and path.exists():
        model = read_json(path)
        stored, family = model.get("tokenizer_class"), str(family_of(model))
    usual = FAMILIES.get(family, FAMILIES["bert"]).tokenizer
    return str(stored or usual).removesuffix("Fast")


def _named(folder: Path, *files: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the special tokens that the settings name, by key; a later file wins."""
    found: dict[str, list[dict[str, Any]]] = {}
    for content in files:
        own: dict[str, list[dict[str, Any]]] = {}
        for key, token in named_tokens(content, folder):
            own.setdefault(key, []).append(token)
        found |= own
    return found


def _all_added(folder: Path, pieces: Sequence[str], entries: list[dict],
               config: Mapping[str, Any], special: Mapping[str, list[dict[str, Any]]],
               roles: set[str]) -> list[AddedToken]:
    """Return the added tokens of all files in the order of their ids.

    As in transformers: added_tokens_decoder of tokenizer_config.json goes before the entries of
    tokenizer.json, and added_tokens.json is read where there is none; then come the special tokens
    that are only named.
    """
    path, content = folder / "tokenizer.json", {}
    older, named = folder / "added_tokens.json", [
        token for key in special if key not in {f"{role}_token" for role in SPECIAL_TOKENS}
        for token in special[key]]
    if "added_tokens_decoder" in config:
        path = folder / "tokenizer_config.json"
        decoder = _object(dict(config), "added_tokens_decoder", path)
        content = {number: {**_object(decoder, number, path), "id": int(number)}
                   for number in decoder if number.isdecimal()}
        if len(content) != len(decoder):
            raise TokenizerError(f"{path}: added_tokens_decoder has a key that is no id")
    elif older.exists():
        path = older
        marked = {token["content"] for tokens in special.values() for token in tokens}
        content = {token: {"id": number, "content": token, "special": token in marked,
                           "normalized": token not in marked}
                   for token, number in read_json(older).items()}
    known = {}
    for entry in (*entries, *content.values()):
        if not isinstance(entry.get("content"), str) or not entry["content"]:
            raise TokenizerError(f"{path}: added token {str(entry)!r:.60} has no content; expected "
                                 "a text")
        known[entry["content"]] = entry
    found = _in_order_of_ids(known, pieces, path)
    contents = {token.content for token in found} | roles
    for token in named:
        if token["content"] not in contents:
            contents.add(token["content"])
            found.append(_added_token(token, folder))
    return found


def _in_order_of_ids(entries: Mapping[Any, dict], pieces: Sequence[str],
                     path: Path) -> list[AddedToken]:
    """Return added tokens in the order of their ids, which must be the next free ones."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    try:
        ordered = sorted(entries.values(), key=lambda entry: entry["id"])
        for entry in ordered:
            expected = numbers.setdefault(entry["content"], len(numbers))
            if entry["id"] != expected:
                raise TokenizerError(f"{path}: added token {entry['content']!r} has id "
                                     f"{entry['id']}; expected {expected}")
    except (KeyError, TypeError):
        raise TokenizerError(f"{path}: added_tokens is not a list of tokens with id, content "
                             "and flags") from None
    return [_added_token(entry, path) for entry in ordered]


def _added_token(entry: Mapping[str, Any], path: Path) -> AddedToken:
    """Return an added token with its flags."""
    check_keys(entry, ADDED_TOKEN, path, strict=True)
    flags = {flag: entry[flag] for flag in ("single_word", "lstrip", "rstrip", "normalized",
                                            "special") if entry.get(flag) is not None}
    try:
        return AddedToken(entry["content"], **flags)
    except (TypeError, UnicodeEncodeError):
        raise TokenizerError(f"{path}: added token {str(entry['content'])!r:.40} is none; expected "
                             "a text and flags that are true or false") from None


def _check_row_ids(row_ids: Mapping[str, int] | None, roles: Mapping[str, str],
                   pieces: Sequence[str], added: Sequence[AddedToken], path: Path) -> None:
    """Refuse a post_processor that puts other tokens around a text than the other files name."""
    if row_ids is None:
        return
    every = [*pieces, *(token.content for token in added)]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(every))}
    for role in ("cls", "sep"):
        token = roles[role]
        if token in numbers and row_ids.get(token) != numbers[token]:
            raise TokenizerError(f"{path}: post_processor puts {one_line(row_ids)} around a text; "
                                 f"expected {token!r:.40}, the {role} token, with id "
                                 f"{numbers[token]}")


def _read_old_folder(folder: Path, kind: str) -> list[str]:
    """Return the pieces of vocab.txt; refuse one of a tokenizer that cuts words otherwise."""
    path = folder / "vocab.txt"
    if kind not in _CLASSES:
        raise TokenizerError(f"{path}: belongs to a {kind}; expected a BertTokenizer")
    return read_vocab_txt(path)


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


def _read_max_length(config: Mapping[str, Any], path: Path) -> int | None:
    length = config.get("model_max_length", config.get("max_len"))
    if length is None:
        return None
    if isinstance(length, bool) or not isinstance(length, int | float) or length < 3:
        raise TokenizerError(f"{path}: model_max_length is {length!r}; expected a number from 3")
    return int(length) if length <= NO_LIMIT else None


def _second_segment(config: Mapping[str, Any], path: Path, said: Mapping[str, Any],
                    kind: str) -> int:
    """Return the segment of B: 0 where rows come without token types."""
    names = config.get("model_input_names")
    if names is None:
        return 0 if kind in _NO_SEGMENTS else said.get("second_segment", 1)
    if not isinstance(names, list) or "input_ids" not in names:
        raise TokenizerError(f"{path}: model_input_names is {names!r:.60}; expected a list with "
                             "input_ids")
    return said.get("second_segment", 1) if "token_type_ids" in names else 0


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
