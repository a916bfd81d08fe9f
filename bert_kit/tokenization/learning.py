"""A tokenizer that is learned from texts."""

from collections.abc import Iterable

from bert_kit.checks import whole
from bert_kit.errors import TokenizerError
from bert_kit.tokenization.encoding import SURROGATE, check_texts
from bert_kit.tokenization.tokenizer import Tokenizer
from bert_kit.tokenization.vocabulary import SPECIAL_TOKENS
from bert_kit.tokenization.wordpiece import count_words, train_wordpiece


def train_tokenizer(texts: Iterable[str], vocab_size: int = 8_000, min_frequency: int = 2,
                    lowercase: bool = True, strip_accents: bool | None = None) -> Tokenizer:
    """Learn a WordPiece vocabulary from texts: the same texts, the same tokenizer, to the byte.

    Parameters
    ----------
    texts
        Read once; may be a generator. The order of the texts does not matter.
    vocab_size
        Number of pieces wanted, special tokens (ids 0 to 4) included; small corpora give fewer.
    min_frequency
        How often two neighbouring pieces must occur to be joined into one.
    lowercase
        Whether case is dropped.
    strip_accents
        Whether accents are, with the vowel signs of Indic scripts and the voicing of kana; None
        does as `lowercase` does.

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
    whole("vocab_size", vocab_size, 1, error=TokenizerError)
    whole("min_frequency", min_frequency, 1, error=TokenizerError)
    special = list(SPECIAL_TOKENS.values())
    backend = Tokenizer(special, lowercase, strip_accents).backend
    clean = (SURROGATE.sub("\ufffd", text) for text in check_texts(texts, "texts"))
    counts = count_words(clean, backend.normalizer, backend.pre_tokenizer)
    if not counts:
        raise TokenizerError("the texts hold no words; expected some to learn from")
    pieces = train_wordpiece(counts, vocab_size, min_frequency, special)
    return Tokenizer(pieces, lowercase, strip_accents)
