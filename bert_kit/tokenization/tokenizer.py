"""From text to ids and back: BERT's WordPiece, loaded and saved, and what other models have.

A text is cleaned and split into words at white space and punctuation; each word becomes the
longest pieces that the vocabulary holds, from the left ("##" marks a piece inside a word). The
Hugging Face `tokenizers` library does that part, in Rust; that of RoBERTa and XLM-R, which cut
otherwise (see `backends`), too. What a row looks like is written here:

    [CLS] A [SEP]             segment 0
    [CLS] A [SEP] B [SEP]     segment 0 up to the first [SEP], then segment 1

RoBERTa puts two [SEP] between A and B, and all is segment 0. What [CLS] and [SEP] are called, and
which ids they have, the files say.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from bert_kit.checks import one_of, whole
from bert_kit.errors import TokenizerError
from bert_kit.lookup import find_folder
from bert_kit.tokenization.backends import OtherVocabulary, set_row_form, space_mark, text_tokens
from bert_kit.tokenization.encoding import Encoding, check_texts, encoded
from bert_kit.tokenization.vocabulary import SPECIAL_TOKENS, read_vocabulary, write_vocabulary


class Tokenizer:
    """A WordPiece tokenizer with BERT's rows; `load` gives one of another kind too.

    Text stays text: "[MASK]" or "[SEP]" inside a text is read as brackets and a word, unless
    `allow_special_tokens` says otherwise; where a vocabulary would make "</s>" of it all the same,
    it counts as unknown. Any other token that a model's files add stays whole in a text, such as
    the "<e1>" that marks an entity. Half characters (lone surrogates), which UTF-8 cannot hold,
    count as U+FFFD, which BERT's cleaning drops.

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
    separators
        How many [SEP] stand between the two texts of a pair: 1, or 2 as in RoBERTa.

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
    is_wordpiece
        Whether "##" marks what continues a word; else `space` marks what begins one.
    space
        What stands in a piece for a space in front of it; "" in a WordPiece.

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
                 split_special_tokens: bool = False, separators: int = 1) -> None:
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
        plain, markers = text_tokens(added_tokens, set(special.values()), split_special_tokens)
        backend.add_tokens(plain)
        backend.add_special_tokens(list(dict.fromkeys(special.values())))
        set_row_form(backend, special, separators)
        self._take(backend, special, max_length, markers, truncation_side, second_segment,
                   split_special_tokens, separators)

    def _take(self, backend: Backend, special_tokens: dict[str, str], max_length: int | None,
              markers: tuple[str, ...], truncation_side: str, second_segment: int,
              split_special_tokens: bool, separators: int = 1) -> None:
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
        self.separators = whole("separators", separators, 1, 2, error=TokenizerError)
        self.is_wordpiece = isinstance(backend.model, models.WordPiece)
        self.space = "" if self.is_wordpiece else space_mark(
            {"pre_tokenizer": json.loads(backend.pre_tokenizer.__getstate__())}) or ""
        self.vocab_size = backend.get_vocab_size(with_added_tokens=True)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            _id_of(backend, special_tokens[role]) for role in SPECIAL_TOKENS)
        self.special_ids = frozenset(_id_of(backend, token)
                                     for token in (*special_tokens.values(), *markers))
        roles = {role: token for role, token in special_tokens.items() if role != "unk"}
        for role, token in roles.items() if self.is_wordpiece else ():
            as_text = backend.encode(token, add_special_tokens=False).ids
            if backend.token_to_id(token) in as_text:
                raise TokenizerError(f"the {role} token {token!r} can be part of a text; expected "
                                     "a spelling with punctuation, such as '[PAD]'")
        # Pieces of other kinds, among which "</s>" may be one, are looked through for these.
        self._roles = frozenset(() if self.is_wordpiece else (
            _id_of(backend, token) for token in roles.values()))

    def __getstate__(self) -> tuple:
        return (self.backend.to_str(), self.special_tokens, self.max_length, self.markers,
                self.truncation_side, self.second_segment, self.split_special_tokens,
                self.separators)

    def __setstate__(self, state: tuple) -> None:
        backend, *more = state
        self._take(Backend.from_str(backend), *more)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that decides which ids a text has, 64 hexadecimal digits."""
        content, _, _, *more, separators = self.__getstate__()
        more += [separators] * (separators != 1)
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
            `max_length` is below 3 (for pairs 5, or 6 with two separators).
        """
        limit = self.max_length if max_length is None else max_length
        if limit is not None:
            whole("max_length", limit, 3 if pairs is None else self.specials(2) + 2,
                  error=TokenizerError)
        texts = list(check_texts(texts, "texts"))
        if pairs is None:
            return [self._single(first, limit)
                    for first in self._split(texts, allow_special_tokens)]
        pairs = list(check_texts(pairs, "pairs"))
        if len(texts) != len(pairs):
            raise TokenizerError(f"{len(texts)} texts but {len(pairs)} pairs; expected as many")
        return [self._pair(first, second, limit) for first, second in zip(
            self._split(texts, allow_special_tokens), self._split(pairs, allow_special_tokens),
            strict=True)]

    def encode_pieces(self, texts: Iterable[str], with_offsets: bool = False) -> list[Encoding]:
        """Encode texts without special tokens and without a limit, to pack or to window them.

        Parameters
        ----------
        with_offsets
            Fill in the offsets; they take most of the memory, and packing needs none.
        """
        return list(self._split(list(check_texts(texts, "texts")), with_offsets=with_offsets))

    def specials(self, texts: int) -> int:
        """Return how many special tokens a row of one text, or of two, has."""
        return 2 if texts == 1 else 2 + self.separators

    def pair_ids(self, first: Iterable[int], second: Iterable[int]) -> list[int]:
        """Return the ids of a row of two texts; behind the first [SEP] begins B's segment."""
        return [self.cls_id, *first, *[self.sep_id] * self.separators, *second, self.sep_id]

    def kept(self, count: int, room: int | None) -> slice:
        """Return which of the pieces of a text stay in a row that has room for so many.

        >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        >>> Tokenizer(pieces).kept(9, 4), Tokenizer(pieces, truncation_side="left").kept(9, 4)
        (slice(0, 4, None), slice(5, 9, None))
        """
        end = count if room is None else min(count, room)
        return slice(0, end) if self.truncation_side == "right" else slice(count - end, count)

    def _split(self, texts: Sequence[str], reads_special_tokens: bool = False,
               with_offsets: bool = True) -> Iterator[Encoding]:
        """Yield the pieces of each text, without special tokens."""
        backend = self._reads_special_tokens if reads_special_tokens else self.backend
        forbidden = frozenset() if reads_special_tokens else self._roles
        for row in encoded(backend, texts):
            ids = row.ids
            if forbidden and not forbidden.isdisjoint(ids):
                ids = [self.unk_id if number in forbidden else number for number in ids]
            yield Encoding(ids, [0] * len(ids), row.word_ids, row.offsets if with_offsets else ())

    def _single(self, first: Encoding, limit: int | None) -> Encoding:
        """Build [CLS] A [SEP]."""
        own = self.kept(len(first.ids), None if limit is None else limit - 2)
        ids = [self.cls_id, *first.ids[own], self.sep_id]
        return Encoding(ids, [0] * len(ids), [None, *first.word_ids[own], None],
                        [(0, 0), *first.offsets[own], (0, 0)])

    def _pair(self, first: Encoding, second: Encoding, limit: int | None) -> Encoding:
        """Build [CLS] A [SEP] B [SEP]."""
        a, b = len(first.ids), len(second.ids)
        if limit is not None:
            a, b = fit_pair(a, b, limit - self.specials(2))
        own, other = self.kept(len(first.ids), a), self.kept(len(second.ids), b)
        ids = self.pair_ids(first.ids[own], second.ids[other])
        start, between = a + 2, self.separators
        return Encoding(
            ids, [0] * start + [self.second_segment] * (len(ids) - start),
            [None, *first.word_ids[own], *[None] * between, *second.word_ids[other], None],
            [(0, 0), *first.offsets[own], *[(0, 0)] * between, *second.offsets[other], (0, 0)])

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
            if isinstance(vocabulary, OtherVocabulary):
                tokenizer = cls.__new__(cls)
                tokenizer._take(*vocabulary)
                return tokenizer
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


def _id_of(backend: Backend, token: str) -> int:
    """Return the id of a token that the vocabulary has."""
    number = backend.token_to_id(token)
    assert number is not None
    return number


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
        If nothing is found or the files describe no tokenizer that the kit knows.
    """
    return Tokenizer.load(find_folder(
        name_or_folder, ("tokenizer.json", "vocab.txt"), download, error=TokenizerError))
