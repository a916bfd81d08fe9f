"""From text to ids and back: BERT's WordPiece, trained, loaded, saved.

A text is cleaned and split into words at white space and punctuation; each word becomes the
longest pieces that the vocabulary holds, from the left ("##" marks a piece inside a word). The
Hugging Face `tokenizers` library does that part, in Rust. What a row looks like is written here:

    [CLS] A [SEP]             segment 0
    [CLS] A [SEP] B [SEP]     segment 0 up to the first [SEP], then segment 1
"""

import functools
import re
from typing import NamedTuple

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_kit.errors import TokenizerError
from bert_kit.lookup import find_folder
from bert_kit.tokenization.vocabulary import SPECIAL_TOKENS, read_vocabulary, write_vocabulary
from bert_kit.tokenization.wordpiece import count_words, train_wordpiece

_CHUNK = 1_024  # texts handed to the library at a time: enough for its threads, little memory
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, as broken JSON escapes leave it


class Encoding(NamedTuple):
    """One row, as lists of one length.

    Attributes
    ----------
    ids : list of int
        Numbers of the pieces.
    type_ids : list of int
        Segment, 0 or 1.
    word_ids : list of (int or None)
        Number of the word in its text, counted from 0 in A and again in B; None at a special
        token. Pieces with the same number are one word.
    offsets : list of (int, int)
        The characters of the text that the piece stands for, as in `text[start:end]`; (0, 0) at
        a special token. None where they were not asked for.
    """

    ids: list
    type_ids: list
    word_ids: list
    offsets: list | None


class Tokenizer:
    """A WordPiece tokenizer with BERT's rows.

    Text stays text: "[MASK]" or "[SEP]" inside a text is read as brackets and a word, unless
    `allow_special_tokens` says otherwise. Half characters (lone surrogates), which UTF-8 cannot
    hold, count as U+FFFD, which BERT's cleaning drops.

    Parameters
    ----------
    pieces : sequence of str
        The vocabulary; the place of a piece is its id.
    lowercase : bool
        Whether case is dropped.
    strip_accents : bool or None
        Whether accents are dropped; None does as `lowercase` does.
    split_chinese : bool
        Whether each Chinese character is a word of its own.
    special_tokens : dict, optional
        Spellings by role (pad, unk, cls, sep, mask) where they differ from "[PAD]" and so on.
    added_tokens : sequence of tokenizers.AddedToken
        Tokens outside WordPiece; those not among the pieces get the ids after them.
    max_length : int or None
        Longest row, special tokens included, when a call names no other; None sets no limit.

    Attributes
    ----------
    backend : tokenizers.Tokenizer
    special_tokens : dict
        The five spellings by role.
    vocab_size, pad_id, unk_id, cls_id, sep_id, mask_id : int
    special_ids : frozenset of int
        The five above and the added tokens that are marked special.

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

    def __init__(self, pieces, lowercase=True, strip_accents=None, split_chinese=True,
                 special_tokens=None, added_tokens=(), max_length=None):
        special = SPECIAL_TOKENS | (special_tokens or {})
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
                                           max_input_chars_per_word=100))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=split_chinese, strip_accents=strip_accents,
            lowercase=lowercase)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        backend.add_tokens(list(added_tokens))
        backend.add_special_tokens(list(dict.fromkeys(special.values())))
        sep, cls = ((special[role], backend.token_to_id(special[role])) for role in ("sep", "cls"))
        backend.post_processor = processors.BertProcessing(sep, cls)  # for readers of the file
        self._take(backend, special, max_length)

    def _take(self, backend, special_tokens, max_length):
        """Set every attribute from these three, which are also what a pickle holds."""
        backend.encode_special_tokens = True  # "[SEP]" in a text is text; pickles forget this
        self.backend, self.special_tokens = backend, special_tokens
        if max_length is not None:
            _check_whole("max_length", max_length, 3)
        self.max_length = max_length
        self.vocab_size = backend.get_vocab_size(with_added_tokens=True)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            backend.token_to_id(special_tokens[role]) for role in SPECIAL_TOKENS)
        self.special_ids = frozenset(
            number for number, token in backend.get_added_tokens_decoder().items()
            if token.special)
        for role, token in special_tokens.items():
            found = backend.encode(token, add_special_tokens=False).ids
            if role != "unk" and backend.token_to_id(token) in found:
                raise TokenizerError(f"the {role} token {token!r} can be part of a text; expected "
                                     "a spelling with punctuation, such as '[PAD]'")

    def __getstate__(self):
        return self.backend.to_str(), self.special_tokens, self.max_length

    def __setstate__(self, state):
        backend, special_tokens, max_length = state
        self._take(Backend.from_str(backend), special_tokens, max_length)

    def __repr__(self):
        return f"Tokenizer({self.vocab_size} pieces, max_length={self.max_length})"

    @functools.cached_property
    def _reads_special_tokens(self):
        """A second backend, in which "[MASK]" in a text is the special token."""
        return Backend.from_str(self.backend.to_str())

    def encode(self, text, pair=None, max_length=None, allow_special_tokens=False):
        """Encode one text, or one pair of texts; see `encode_batch`."""
        pairs = None if pair is None else [pair]
        return self.encode_batch([text], pairs, max_length, allow_special_tokens)[0]

    def encode_batch(self, texts, pairs=None, max_length=None, allow_special_tokens=False):
        """Encode texts, or pairs of texts, into rows.

        A row that is too long loses pieces at the end of its text, a pair at the end of the
        longer text first; of each text that has pieces at least one stays.

        Parameters
        ----------
        texts : sequence of str
            The first texts A.
        pairs : sequence of str, optional
            The second texts B, as many.
        max_length : int, optional
            Longest row, special tokens included; None takes the tokenizer's own `max_length`.
        allow_special_tokens : bool
            Read "[MASK]" and the other special tokens in a text as such. For prompts that the
            user writes, never for data.

        Returns
        -------
        list of Encoding

        Raises
        ------
        TokenizerError
            If a row (counted from 0) is not a string, the two sequences differ in length, or
            `max_length` is below 3 (5 for pairs).
        """
        backend = self._reads_special_tokens if allow_special_tokens else self.backend
        limit = self.max_length if max_length is None else max_length
        if limit is not None:
            _check_whole("max_length", limit, 3 if pairs is None else 5)
        texts = list(_checked(texts, "texts"))
        if pairs is None:
            return [self._single(first, limit) for first in _split(backend, texts)]
        pairs = list(_checked(pairs, "pairs"))
        if len(texts) != len(pairs):
            raise TokenizerError(f"{len(texts)} texts but {len(pairs)} pairs; expected as many")
        return [self._pair(first, second, limit) for first, second
                in zip(_split(backend, texts), _split(backend, pairs))]

    def encode_pieces(self, texts, with_offsets=False):
        """Encode texts without special tokens and without a limit, to pack or to window them.

        Parameters
        ----------
        texts : sequence of str
        with_offsets : bool
            Fill in the offsets; they take most of the memory, and packing needs none.

        Returns
        -------
        list of Encoding
            With `offsets` None unless asked for.
        """
        return [Encoding(row.ids, row.type_ids, row.word_ids, row.offsets if with_offsets else None)
                for row in _split(self.backend, list(_checked(texts, "texts")))]

    def _single(self, first, limit):
        """Build [CLS] A [SEP]."""
        ids = first.ids
        kept = len(ids) if limit is None else min(len(ids), limit - 2)
        return Encoding([self.cls_id, *ids[:kept], self.sep_id], [0] * (kept + 2),
                        [None, *first.word_ids[:kept], None],
                        [(0, 0), *first.offsets[:kept], (0, 0)])

    def _pair(self, first, second, limit):
        """Build [CLS] A [SEP] B [SEP]."""
        a, b = len(first.ids), len(second.ids)
        if limit is not None:
            a, b = fit_pair(a, b, limit - 3)
        return Encoding(
            [self.cls_id, *first.ids[:a], self.sep_id, *second.ids[:b], self.sep_id],
            [0] * (a + 2) + [1] * (b + 1),
            [None, *first.word_ids[:a], None, *second.word_ids[:b], None],
            [(0, 0), *first.offsets[:a], (0, 0), *second.offsets[:b], (0, 0)])

    def tokens(self, ids):
        """Return the pieces of some ids, as strings."""
        return [self.backend.id_to_token(number) for number in self._check_ids(ids)]

    def decode(self, ids, skip_special_tokens=True):
        """Return ids as a text: pieces joined into words, one space before each word."""
        return self.backend.decode(self._check_ids(ids), skip_special_tokens)

    def _check_ids(self, ids):
        ids = [int(number) for number in ids]
        for number in ids:
            if not 0 <= number < self.vocab_size:
                raise TokenizerError(f"id {number} is not in the vocabulary; "
                                     f"expected 0 to {self.vocab_size - 1}")
        return ids

    def save(self, folder):
        """Write the tokenizer into a model folder; see `bert_kit.tokenization.vocabulary` for the files."""
        write_vocabulary(folder, self.backend, self.special_tokens, self.max_length)

    @classmethod
    def load(cls, folder):
        """Read the tokenizer of a model folder; see `bert_kit.tokenization.vocabulary` for the files."""
        fields = read_vocabulary(folder)
        try:
            return cls(**fields)
        except TokenizerError as error:
            raise TokenizerError(f"{folder}: {error}") from None


def fit_pair(first, second, room):
    """Return how many pieces of each text stay when `room` are free, the longer cut first.

    >>> fit_pair(3, 90, room=10), fit_pair(50, 90, room=11)
    ((3, 7), (5, 6))
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def _split(backend, texts):
    """Yield each text as the library's encoding, without special tokens."""
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start:start + _CHUNK]
        try:
            yield from backend.encode_batch(chunk, add_special_tokens=False)
        except TypeError:  # what the library says to lone surrogates
            chunk = [_SURROGATE.sub("\ufffd", text) for text in chunk]
            yield from backend.encode_batch(chunk, add_special_tokens=False)


def _checked(texts, name):
    """Yield the texts, after a look at each."""
    if isinstance(texts, str):
        raise TokenizerError(f"{name} is one string; expected a sequence of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TokenizerError(f"row {row} of {name} is {str(text)[:40]!r}, of type "
                                 f"{type(text).__name__}; expected a string")
        yield text


def _check_whole(name, value, least):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise TokenizerError(f"{name} is {value!r}; expected a whole number from {least}")


def get_tokenizer(name_or_folder, download=False):
    """Return the tokenizer of a model.

    Parameters
    ----------
    name_or_folder : str or path
        A folder; else a name that is looked up as `bert_kit.lookup.find_folder` says.
    download : bool
        Whether the Hugging Face hub may be asked when nothing is found here.

    Raises
    ------
    TokenizerError
        If nothing is found or the files do not describe a WordPiece tokenizer.
    """
    return Tokenizer.load(find_folder(
        name_or_folder, ("tokenizer.json", "vocab.txt"), download, error=TokenizerError))


def train_tokenizer(texts, vocab_size=8_000, min_frequency=2, lowercase=True):
    """Learn a WordPiece vocabulary from texts: the same texts, the same tokenizer, to the byte.

    Parameters
    ----------
    texts : iterable of str
        Read once; may be a generator. The order of the texts does not matter.
    vocab_size : int
        Number of pieces wanted, special tokens (ids 0 to 4) included; small corpora give fewer.
    min_frequency : int
        How often two neighbouring pieces must occur to be joined into one.
    lowercase : bool
        Whether case and accents are dropped.

    Returns
    -------
    Tokenizer

    Raises
    ------
    TokenizerError
        If a text is not a string, there are no words, or `vocab_size` cannot even hold the
        characters.

    Examples
    --------
    >>> train_tokenizer(["hug hugs", "hugs"], vocab_size=99).encode("Hugs").ids
    [2, 14, 3]
    """
    _check_whole("vocab_size", vocab_size, 1)
    _check_whole("min_frequency", min_frequency, 1)
    special = list(SPECIAL_TOKENS.values())
    backend = Tokenizer(special, lowercase).backend
    whole = (_SURROGATE.sub("\ufffd", text) for text in _checked(texts, "texts"))
    counts = count_words(whole, backend.normalizer, backend.pre_tokenizer)
    if not counts:
        raise TokenizerError("the texts hold no words; expected some to learn from")
    return Tokenizer(train_wordpiece(counts, vocab_size, min_frequency, special), lowercase)
