"""Every key of a tokenizer's files: which is followed, and why the others may be left alone.

The files are tokenizer.json (of the library tokenizers), tokenizer_config.json,
special_tokens_map.json and added_tokens.json (of transformers). A key in the tables below is
followed where nothing stands beside it; else the text says why it changes no row. Where values
stand beside it, these are what the kit does, and any other is refused by name.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bert_kit.errors import TokenizerError


class Key(NamedTuple):
    """What is made of a key.

    Attributes
    ----------
    ignored
        Why it changes no row; "" where it is followed.
    only
        The values that are understood; None where every value is, or is checked elsewhere.
    """

    ignored: str = ""
    only: tuple[Any, ...] | None = None


FOLLOWED = Key()
_PADDING = "padding never changes a result here"
_CALL = "transformers asks for it at each call; the kit cuts the longest text first"
_TEXT = "only turns ids back into text"
_CHAT = "of chat models"
_SOURCE = "where the files came from"

# A dot goes one object deeper.
TOKENIZER_JSON: dict[str, Key] = {
    "version": Key("of the format", ("1.0", None)),
    "truncation": FOLLOWED,
    "truncation.direction": FOLLOWED,
    **dict.fromkeys(("truncation.max_length", "truncation.strategy", "truncation.stride"),
                    Key(_CALL)),
    "padding": Key(_PADDING),  # but for the spelling of [PAD], where no other file has it
    "added_tokens": FOLLOWED,
    "normalizer": FOLLOWED,
    # The keys of these three are for WordPiece; of the others the library has the file as it is.
    "normalizer.type": Key(only=("BertNormalizer",)),
    **dict.fromkeys(("normalizer.clean_text", "normalizer.handle_chinese_chars",
                     "normalizer.strip_accents", "normalizer.lowercase"), FOLLOWED),
    "pre_tokenizer": FOLLOWED,
    "pre_tokenizer.type": Key(only=("BertPreTokenizer",)),
    "post_processor": FOLLOWED,
    "decoder": Key(_TEXT),
    "model": FOLLOWED,
    "model.type": Key(only=("WordPiece",)),
    "model.continuing_subword_prefix": Key(only=("##",)),
    **dict.fromkeys(("model.unk_token", "model.max_input_chars_per_word", "model.vocab"), FOLLOWED),
}

ADDED_TOKEN: dict[str, Key] = dict.fromkeys(
    ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", "__type"),
    FOLLOWED)

# Every other key that ends in _token names a special token too.
SPECIAL_TOKENS_MAP: dict[str, Key] = dict.fromkeys(
    ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token",
     "additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"),
    FOLLOWED)

TOKENIZER_CONFIG: dict[str, Key] = {
    **SPECIAL_TOKENS_MAP,
    **dict.fromkeys(
        ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "clean_text",
         "model_max_length", "max_len", "truncation_side", "model_input_names",
         "added_tokens_decoder", "split_special_tokens", "tokenizer_class"), FOLLOWED),
    "do_basic_tokenize": Key(only=(True, None)),
    "never_split": Key(only=(None, [])),
    "wordpieces_prefix": Key(only=("##", None)),
    "word_tokenizer_type": Key(only=("basic", None)),
    "subword_tokenizer_type": Key(only=("wordpiece", None)),
    "add_bos_token": Key(only=(False, None)),
    "add_eos_token": Key(only=(False, None)),
    "init_inputs": Key(only=([], None)),
    **dict.fromkeys(("padding_side", "padding", "pad_to_multiple_of", "pad_token_type_id"),
                    Key(_PADDING)),
    **dict.fromkeys(("max_length", "stride", "truncation", "truncation_strategy"), Key(_CALL)),
    **dict.fromkeys(("clean_up_tokenization_spaces", "spaces_between_special_tokens",
                     "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"),
                    Key(_TEXT)),
    **dict.fromkeys(("chat_template", "response_template", "response_schema",
                     "chat_control_tokens"), Key(_CHAT)),
    "add_prefix_space": FOLLOWED,  # of a RobertaTokenizer; elsewhere the pre_tokenizer says it
    **dict.fromkeys(("trim_offsets", "errors"), Key("offsets are trimmed here; text from ids")),
    **dict.fromkeys(("legacy", "sp_model_kwargs", "fix_mistral_regex",
                     "use_default_system_prompt", "mecab_kwargs", "sudachi_kwargs",
                     "jumanpp_kwargs"), Key("of tokenizers of other kinds")),
    "auto_map": Key("code of a stranger is never run"),
    "processor_class": Key("of images and sound"),
    **dict.fromkeys(("name_or_path", "tokenizer_file", "vocab_file", "special_tokens_map_file",
                     "full_tokenizer_file", "added_tokens_file", "files_loaded", "is_local",
                     "local_files_only", "cache_dir", "revision", "token", "_commit_hash",
                     "trust_remote_code", "transformers_version", "gguf_file", "subfolder",
                     "_from_auto", "from_auto_class", "max_model_input_sizes"), Key(_SOURCE)),
    **dict.fromkeys(("use_fast", "from_slow", "backend", "verbose", "device_map", "dtype",
                     "torch_dtype", "return_tensors", "return_token_type_ids",
                     "return_attention_mask", "model_type", "tokenizer_type"),
                    Key("how transformers works inside")),
}


def check_keys(content: Mapping[str, Any], known: Mapping[str, Key], path: Path,
               within: str = "", strict: bool = False) -> None:
    """Refuse what one object of a file asks for and the kit does not do.

    Parameters
    ----------
    within
        Before the key in `known`, where the object is a part of another: "model.".
    strict
        Refuse a key that is not in the table, unless it is off.

    Raises
    ------
    TokenizerError
        At a value that is not understood, or at an unknown key.

    Warns
    -----
    UserWarning
        Names keys that neither the kit nor transformers knows, where those are not refused.
    """
    unknown = []
    for name, value in content.items():
        key = known.get(within + name)
        shown = (within + name).removesuffix(".type")
        if key is None:
            if value not in (None, False, "", [], {}) and not name.endswith("_token"):
                unknown.append(shown)
        elif key.only is not None and not _is_one_of(value, key.only):
            raise TokenizerError(f"{path}: {shown} is {value!r:.60}; expected "
                                 f"{' or '.join(map(_shown, key.only))}")
    if unknown and strict:
        raise TokenizerError(f"{path}: {unknown[0]} is not known; expected a file without it")
    if unknown:
        warnings.warn(f"{path}: {', '.join(unknown)[:200]} is not known and changes nothing here",
                      stacklevel=2)


def named_tokens(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, token with its flags) of each special token that a file names.

    Raises
    ------
    TokenizerError
        If one is no token.
    """
    for key, value in content.items():
        if value is None:
            continue
        if key in ("additional_special_tokens", "extra_special_tokens",
                   "model_specific_special_tokens"):
            many = value.values() if isinstance(value, dict) else value
            if not isinstance(value, list | dict):
                raise TokenizerError(f"{path}: {key} is {value!r:.40}; expected a list of tokens")
            yield from ((key, _token(each, key, path)) for each in many)
        elif key in SPECIAL_TOKENS_MAP or (key.endswith("_token")
                                           and isinstance(value, str | dict)):
            yield key, _token(value, key, path)


def _token(value: object, key: str, path: Path) -> dict[str, Any]:
    token = value if isinstance(value, dict) else {"content": value}
    if not isinstance(token.get("content"), str) or not token["content"]:
        raise TokenizerError(f"{path}: {key} is {value!r:.60}; expected a string")
    return {**token, "special": True}


def _is_one_of(value: object, choices: tuple[Any, ...]) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in choices)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)
