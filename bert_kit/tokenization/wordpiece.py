"""Training a WordPiece vocabulary: the same texts always give the same pieces.

A word is first spelled in characters, of which all but the first carry "##". Then the most
frequent pair of neighbours is joined into a new piece, everywhere at once, until the vocabulary
is full. That is byte-pair encoding (Sennrich et al. 2016, algorithm 1) on WordPiece's spelling,
and what the `WordPieceTrainer` of the Hugging Face library does; Google's own trainer for BERT
was never published, and the likelihood score often quoted for it (count of the pair over the
product of the counts of its parts; Schuster and Nakajima 2012) is not used here.

The library's trainer gives other ids on every run, since its ties follow the order of a hash map
(huggingface/tokenizers issue 1794). Here a tie goes to the pair that sorts first as strings.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

from bert_kit.errors import TokenizerError

ALPHABET_LIMIT = 1_000  # characters; the rarest beyond it become [UNK]
WORD_LIMIT = 100  # characters; encoding turns longer words into [UNK], so they teach nothing


Pair = tuple[str, str]


def count_words(texts: Iterable[str], normalizer: Normalizer,
                pre_tokenizer: PreTokenizer) -> Counter[str]:
    """Count the words of the texts, as the tokenizer will see them.

    Spaces and line ends always separate words, so each distinct stretch between them is
    normalized and split only once.

    Parameters
    ----------
    texts
        Read once; may be a generator.
    normalizer, pre_tokenizer
        Those of a `tokenizers.Tokenizer`.

    Returns
    -------
        Words and how often each occurs; words over 100 characters are left out.
    """
    stretches = Counter()
    for text in texts:
        stretches.update(text.replace("\n", " ").split(" "))
    words = Counter()
    for stretch, count in stretches.items():
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(stretch)):
            if len(word) <= WORD_LIMIT:
                words[word] += count
    return words


def train_wordpiece(counts: Mapping[str, int], vocab_size: int, min_frequency: int = 2,
                    special_tokens: Sequence[str] = ()) -> list[str]:
    """Learn a vocabulary from word counts.

    Parameters
    ----------
    counts
        Words and how often each occurs.
    vocab_size
        Number of pieces wanted; fewer come back when no pair is frequent enough.
    min_frequency
        A pair must occur this often to be joined.
    special_tokens
        Get the first ids, in this order.

    Returns
    -------
        The special tokens, the characters in sorted order (those seen inside words again with
        "##"), then the joined pieces in the order they were learnt. The place is the id.

    Raises
    ------
    TokenizerError
        If `vocab_size` cannot hold the special tokens and the characters.

    Examples
    --------
    >>> train_wordpiece({"hug": 3, "hugs": 2, "bug": 1}, vocab_size=9)
    ['b', 'g', 'h', 's', 'u', '##g', '##s', '##u', '##ug']
    """
    spelled, frequencies, alphabet = _spell(counts)
    pieces = [*special_tokens, *alphabet]
    if len(pieces) > vocab_size:
        raise TokenizerError(
            f"vocab_size is {vocab_size}; expected at least {len(pieces)}, to hold "
            f"{len(special_tokens)} special tokens and {len(alphabet)} characters of the texts")
    known = set(pieces)
    pairs = _PairCounts(spelled, frequencies)
    while len(pieces) < vocab_size:
        count, pair = pairs.most_frequent()
        if pair is None or count < min_frequency:
            break
        piece = pairs.join(pair)
        if piece not in known:  # "abc" may come from a + bc and again from ab + c
            known.add(piece)
            pieces.append(piece)
    return pieces


def _spell(counts: Mapping[str, int]) -> tuple[list[list[str]], list[int], list[str]]:
    """Return the words as lists of characters, their counts, and the characters to know.

    Words with a character beyond the 1,000 most frequent are left out: they become [UNK].
    """
    characters = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    alphabet = set(ranked[:ALPHABET_LIMIT])
    words = sorted(word for word in counts if word and alphabet.issuperset(word))
    spelled = [[word[0], *("##" + character for character in word[1:])] for word in words]
    inner = {character for symbols in spelled for character in symbols[1:]}
    return spelled, [counts[word] for word in words], [*sorted(alphabet), *sorted(inner)]


class _PairCounts:
    """How often each pair of neighbouring pieces occurs, kept up to date while pairs are joined.

    The heap holds (-count, pair), so that its smallest entry is the most frequent pair and, of
    equals, the one that sorts first. Entries are never removed when a count changes; a new one
    is pushed, and an entry that no longer tells the truth is dropped when it comes up.
    """

    def __init__(self, words: list[list[str]], frequencies: list[int]) -> None:
        self.words, self.frequencies = words, frequencies
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.where: defaultdict[Pair, set[int]] = defaultdict(set)  # words that hold or held it
        for number, symbols in enumerate(words):
            for pair in pairwise(symbols):
                self.counts[pair] += frequencies[number]
                self.where[pair].add(number)
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def most_frequent(self) -> tuple[int, Pair | None]:
        """Return (count, pair) of the best pair; (0, None) when every word is one piece."""
        while self.heap:
            negative, pair = self.heap[0]
            if self.counts.get(pair) == -negative:
                return -negative, pair
            heapq.heappop(self.heap)
        return 0, None

    def join(self, pair: Pair) -> str:
        """Join a pair wherever it occurs and return the new piece."""
        piece = pair[0] + pair[1].removeprefix("##")
        before: dict[Pair, int] = {}
        for number in self.where.pop(pair):
            symbols, frequency = self.words[number], self.frequencies[number]
            joined = _join_symbols(symbols, pair, piece)
            for old in pairwise(symbols):
                before.setdefault(old, self.counts[old])
                self.counts[old] -= frequency
            for new in pairwise(joined):
                before.setdefault(new, self.counts[new])
                self.counts[new] += frequency
                self.where[new].add(number)
            self.words[number] = joined
        for changed, count in before.items():
            if self.counts[changed] == 0:
                del self.counts[changed]
            elif self.counts[changed] != count:
                heapq.heappush(self.heap, (-self.counts[changed], changed))
        return piece


def _join_symbols(symbols: list[str], pair: Pair, piece: str) -> list[str]:
    """Return the symbols with each non-overlapping occurrence of the pair, from the left, joined.

    >>> _join_symbols(["a", "##b", "##b", "##b"], ("##b", "##b"), "##bb")
    ['a', '##bb', '##b']
    """
    joined, i = [], 0
    while i < len(symbols):
        if symbols[i:i + 2] == [*pair]:
            joined.append(piece)
            i += 2
        else:
            joined.append(symbols[i])
            i += 1
    return joined
