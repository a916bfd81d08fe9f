"""From text to ids and back: BERT's WordPiece, loaded and saved.

A text is cleaned and split into words at white space and punctuation; each word becomes the
longest pieces that the vocabulary holds, from the left ("##" marks a piece inside a word). The
Hugging Face `tokenizers` library does that part, in Rust. What a row looks like is written here:

    [CLS] A [SEP]             segment 0
    [CLS] A [SEP] B [SEP]     segment 0 up to the first [SEP], then segment 1
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Encoding as BackendEncoding
from tokenizers import Tokenizer as Backend

from bert_kit.checks import one_of, whole
from bert_kit.errors import BertKitError, TokenizerError
from bert_kit.lookup import find_folder
from bert_kit.tokenization.vocabulary import SPECIAL_TOKENS, read_vocabulary, write_vocabulary

_CHUNK = 1_024  # texts handed to the library at a time: enough for its threads, little memory
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, as broken JSON escapes leave it


class Encoding(NamedTuple):
    """One row, as lists of one length.

    Attributes
    ----------
    ids
        Numbers of the pieces.
    type_ids
        Segment, 0 or 1.
    word_ids
        Number of the word in its text, counted from 0 in A and again in B; None at a special
        token. Pieces with the same number are one word.
    offsets
        The characters of the text that the piece stands for, as in `text[start:end]`; (0, 0) at
        a special token. Empty where they were not asked for.
    """

    ids: list[int]
    type_ids: list[int]
    word_ids: list[int | None]
    offsets: Sequence[tuple[int, int]]


class Tokenizer:
    """A WordPiece tokenizer with BERT's rows.

    Text stays text: "[MASK]" or "[SEP]" inside a text is read as brackets and a word, unless
    `allow_special_tokens` says otherwise. Any other token that a model's files add stays whole in
    a text, such as the "<e1>" that marks an entity. Half characters (lone surrogates), which
    UTF-8 cannot hold, count as U+FFFD, which BERT's cleaning drops.

    Parameters
    ----------
    pieces
        The vocabulary; the place of a piece is its id.
    lowercase
        Whether case is dropped.
    strip_accents
        Whether accents are dropped; None does as `lowercase` does.
    split_chinese
        Whether each Chinese character is a word of its own.
    special_tokens
        Spellings by role (pad, unk, cls, sep, mask) where they differ from "[PAD]" and so on.
    added_tokens
        Tokens outside WordPiece; those not among the pieces get the ids after them.
    max_length
        Longest row, special tokens included, when a call names no other; None sets no limit.
    truncation_side
        Where a text that is too long loses pieces: "right", its end, or "left".
    second_segment
        Segment of the second text of a pair; 0 for models that know no segments.
    clean_text
        Whether control characters are dropped.
    longest_word
        Characters of a word beyond which it becomes [UNK].
    split_special_tokens
        Whether added tokens that are marked special are text too.

    Attributes
    ----------
    backend
        The tokenizer of the Hugging Face library.
    special_tokens
        The five spellings by role.
    special_ids
        The five ids `pad_id` to `mask_id`, and the added tokens that are marked special.
    markers
        Spellings of these added tokens.

    Raises
    ------
    TokenizerError
        If a piece comes twice, or a special token is missing from the pieces or could be part
        of an ordinary text.

    Examples
    --------
    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hug", "##s"]
    >>> Tokenizer(pieces).encode("Hugs", "hug").ids
    [2, 5, 6, 3, 5, 3]
    """

    def __init__(self, pieces: Sequence[str], lowercase: bool = True,
                 strip_accents: bool | None = None, split_chinese: bool = True,
                 special_tokens: Mapping[str, str] | None = None,
                 added_tokens: Sequence[AddedToken] = (), max_length: int | None = None,
                 truncation_side: str = "right", second_segment: int = 1,
                 clean_text: bool = True, longest_word: int = 100,
                 split_special_tokens: bool = False) -> None:
        special = {**SPECIAL_TOKENS, **(special_tokens or {})}
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        if len(vocabulary) != len(pieces):
            raise TokenizerError(f"{len(pieces)} pieces, of which {len(vocabulary)} differ; "
                                 "expected each once")
        known = {*vocabulary, *(token.content for token in added_tokens)}
        for role, token in special.items():
            if token not in (vocabulary if role == "unk" else known):
                raise TokenizerError(f"the vocabulary of {len(known)} pieces has no {token!r}; "
                                     f"expected it as the {role} token")
        backend = Backend(models.WordPiece(vocabulary, unk_token=special["unk"],
                                           max_input_chars_per_word=longest_word))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=clean_text, handle_chinese_chars=split_chinese,
            strip_accents=strip_accents, lowercase=lowercase)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        roles = set(special.values())
        markers = tuple(token.content for token in added_tokens
                        if token.special and token.content not in roles)
        # What the library takes for special is text to it, see `_take`.
        backend.add_tokens([_added(token, token.content in roles or (
            token.special and split_special_tokens)) for token in added_tokens])
        backend.add_special_tokens(list(dict.fromkeys(special.values())))
        sep, cls = ((special[role], _id_of(backend, special[role])) for role in ("sep", "cls"))
        backend.post_processor = processors.BertProcessing(sep, cls)  # for readers of the file
        self._take(backend, special, max_length, markers, truncation_side, second_segment,
                   split_special_tokens)

    def _take(self, backend: Backend, special_tokens: dict[str, str], max_length: int | None,
              markers: tuple[str, ...], truncation_side: str, second_segment: int,
              split_special_tokens: bool) -> None:
        """Set every attribute from these, which are also what a pickle holds."""
        backend.encode_special_tokens = True  # "[SEP]" in a text is text; pickles forget this
        self.backend, self.special_tokens, self.markers = backend, special_tokens, markers
        self.max_length = max_length
        if max_length is not None:
            self.max_length = whole("max_length", max_length, 3, error=TokenizerError)
        self.truncation_side = one_of("truncation_side", truncation_side, ("right", "left"),
                                      error=TokenizerError)
        self.second_segment = whole("second_segment", second_segment, 0, 1, error=TokenizerError)
        self.split_special_tokens = split_special_tokens
        self.vocab_size = backend.get_vocab_size(with_added_tokens=True)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            _id_of(backend, special_tokens[role]) for role in SPECIAL_TOKENS)
        self.special_ids = frozenset(_id_of(backend, token)
                                     for token in (*special_tokens.values(), *markers))
        for role, token in special_tokens.items():
            as_text = backend.encode(token, add_special_tokens=False).ids
            if role != "unk" and backend.token_to_id(token) in as_text:
                raise TokenizerError(f"the {role} token {token!r} can be part of a text; expected "
                                     "a spelling with punctuation, such as '[PAD]'")

    def __getstate__(self) -> tuple:
        return (self.backend.to_str(), self.special_tokens, self.max_length, self.markers,
                self.truncation_side, self.second_segment, self.split_special_tokens)

    def __setstate__(self, state: tuple) -> None:
        backend, *more = state
        self._take(Backend.from_str(backend), *more)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that decides which ids a text has, 64 hexadecimal digits."""
        content, _, _, *more = self.__getstate__()
        if more != [(), "right", 1, False]:  # else it is that of versions which knew no other
            content += repr(more)
        return hashlib.sha256(content.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Tokenizer({self.vocab_size} pieces, max_length={self.max_length})"

    @functools.cached_property
    def _reads_special_tokens(self) -> Backend:
        """A second backend, in which "[MASK]" in a text is the special token."""
        return Backend.from_str(self.backend.to_str())

    def encode(self, text: str, pair: str | None = None, max_length: int | None = None,
               allow_special_tokens: bool = False) -> Encoding:
        """Encode one text, or one pair of texts; see `encode_batch`."""
        pairs = None if pair is None else [pair]
        return self.encode_batch([text], pairs, max_length, allow_special_tokens)[0]

    def encode_batch(self, texts: Iterable[str], pairs: Iterable[str] | None = None,
                     max_length: int | None = None,
                     allow_special_tokens: bool = False) -> list[Encoding]:
        """Encode texts, or pairs of texts, into rows.

        A row that is too long loses pieces at the end of its text (or at its beginning, see
        `truncation_side`), a pair those of the longer text first; of each text that has pieces at
        least one stays.

        Parameters
        ----------
        texts
            The first texts A.
        pairs
            The second texts B, as many.
        max_length
            Longest row, special tokens included; None takes the tokenizer's own `max_length`.
        allow_special_tokens
            Read "[MASK]" and the other special tokens in a text as such. For prompts that the
            user writes, never for data.

        Raises
        ------
        TokenizerError
            If a row (counted from 0) is not a string, the two sequences differ in length, or
            `max_length` is below 3 (5 for pairs).
        """
        backend = self._reads_special_tokens if allow_special_tokens else self.backend
        limit = self.max_length if max_length is None else max_length
        if limit is not None:
            whole("max_length", limit, 3 if pairs is None else 5, error=TokenizerError)
        texts = list(check_texts(texts, "texts"))
        if pairs is None:
            return [self._single(first, limit) for first in _split(backend, texts)]
        pairs = list(check_texts(pairs, "pairs"))
        if len(texts) != len(pairs):
            raise TokenizerError(f"{len(texts)} texts but {len(pairs)} pairs; expected as many")
        return [self._pair(first, second, limit) for first, second
                in zip(_split(backend, texts), _split(backend, pairs), strict=True)]

    def encode_pieces(self, texts: Iterable[str], with_offsets: bool = False) -> list[Encoding]:
        """Encode texts without special tokens and without a limit, to pack or to window them.

        Parameters
        ----------
        with_offsets
            Fill in the offsets; they take most of the memory, and packing needs none.
        """
        return [Encoding(row.ids, row.type_ids, row.word_ids, row.offsets if with_offsets else ())
                for row in _split(self.backend, list(check_texts(texts, "texts")))]

    def kept(self, count: int, room: int | None) -> slice:
        """Return which of the pieces of a text stay in a row that has room for so many.

        >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        >>> Tokenizer(pieces).kept(9, 4), Tokenizer(pieces, truncation_side="left").kept(9, 4)
        (slice(0, 4, None), slice(5, 9, None))
        """
        end = count if room is None else min(count, room)
        return slice(0, end) if self.truncation_side == "right" else slice(count - end, count)

    def _single(self, first: BackendEncoding, limit: int | None) -> Encoding:
        """Build [CLS] A [SEP]."""
        own = self.kept(len(first.ids), None if limit is None else limit - 2)
        ids = [self.cls_id, *first.ids[own], self.sep_id]
        return Encoding(ids, [0] * len(ids), [None, *first.word_ids[own], None],
                        [(0, 0), *first.offsets[own], (0, 0)])

    def _pair(self, first: BackendEncoding, second: BackendEncoding,
              limit: int | None) -> Encoding:
        """Build [CLS] A [SEP] B [SEP]."""
        a, b = len(first.ids), len(second.ids)
        if limit is not None:
            a, b = fit_pair(a, b, limit - 3)
        own, other = self.kept(len(first.ids), a), self.kept(len(second.ids), b)
        return Encoding(
            [self.cls_id, *first.ids[own], self.sep_id, *second.ids[other], self.sep_id],
            [0] * (a + 2) + [self.second_segment] * (b + 1),
            [None, *first.word_ids[own], None, *second.word_ids[other], None],
            [(0, 0), *first.offsets[own], (0, 0), *second.offsets[other], (0, 0)])

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the pieces of some ids, as strings."""
        return [str(self.backend.id_to_token(number)) for number in self._check_ids(ids)]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Return ids as a text: pieces joined into words, one space before each word."""
        ids = self._check_ids(ids)
        if skip_special_tokens:
            ids = [number for number in ids if number not in self.special_ids]
        return self.backend.decode(ids, skip_special_tokens=False)

    def _check_ids(self, ids: Iterable[int]) -> list[int]:
        ids = [int(number) for number in ids]
        for number in ids:
            if not 0 <= number < self.vocab_size:
                raise TokenizerError(f"id {number} is not in the vocabulary; "
                                     f"expected 0 to {self.vocab_size - 1}")
        return ids

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer into a model folder; the files are those of `write_vocabulary`."""
        write_vocabulary(folder, self)

    def to_json(self) -> str:
        """Return the tokenizer as the Hugging Face library writes it, every mark in its place."""
        content = json.loads(self.backend.to_str())
        for entry in content["added_tokens"]:
            entry["special"] |= entry["content"] in self.markers
        return json.dumps(content, indent=2, ensure_ascii=False)

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Read the tokenizer of a model folder; the files are those of `read_vocabulary`."""
        vocabulary = read_vocabulary(folder)
        try:
            return cls(*vocabulary)
        except TokenizerError as error:
            raise TokenizerError(f"{folder}: {error}") from None


def fit_pair(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many pieces of each text stay when `room` are free, the longer cut first.

    >>> fit_pair(3, 90, room=10), fit_pair(50, 90, room=11)
    ((3, 7), (5, 6))
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def _added(token: AddedToken, special: bool) -> AddedToken:
    """Return a token with its flags, but for whether the library takes it for special."""
    return AddedToken(token.content, single_word=token.single_word, lstrip=token.lstrip,
                      rstrip=token.rstrip, normalized=token.normalized, special=special)


def _id_of(backend: Backend, token: str) -> int:
    """Return the id of a token that the vocabulary has."""
    number = backend.token_to_id(token)
    assert number is not None
    return number


def _split(backend: Backend, texts: Sequence[str]) -> Iterator[BackendEncoding]:
    """Yield each text as the library's encoding, without special tokens."""
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start:start + _CHUNK]
        try:
            yield from backend.encode_batch(chunk, add_special_tokens=False)
        except TypeError:  # what the library says to lone surrogates
            chunk = [SURROGATE.sub("\ufffd", text) for text in chunk]
            yield from backend.encode_batch(chunk, add_special_tokens=False)


def check_texts(texts: Iterable[str], name: str,
                error: type[BertKitError] = TokenizerError) -> Iterator[str]:
    """Yield the texts, after a look at each: the first that is no string is an `error`."""
    if isinstance(texts, str):
        raise error(f"{name} is one string; expected a sequence of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise error(f"row {row} of {name} is {str(text)[:40]!r}, of type "
                        f"{type(text).__name__}; expected a string")
        yield text


def get_tokenizer(name_or_folder: str | Path, download: bool = False) -> Tokenizer:
    """Return the tokenizer of a model.

    Parameters
    ----------
    name_or_folder
        A folder; else a name that is looked up as `bert_kit.lookup.find_folder` says.
    download
        Whether the Hugging Face hub may be asked when nothing is found here.

    Raises
    ------
    TokenizerError
        If nothing is found or the files do not describe a WordPiece tokenizer.
    """
    return Tokenizer.load(find_folder(
        name_or_folder, ("tokenizer.json", "vocab.txt"), download, error=TokenizerError))
