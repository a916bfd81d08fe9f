"""The trainer of the vocabulary: against a brute-force trainer, the library's, and itself."""

import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from bert_kit.errors import TokenizerError
from bert_kit.tokenization import train_tokenizer
from bert_kit.tokenization.wordpiece import ALPHABET_LIMIT, count_words, train_wordpiece

ROOT = Path(__file__).resolve().parents[2]
SOTU = ROOT.parent / "shared" / "data" / "sotu"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def random_words(seed, distinct=60, letters="abcd"):
    """Words over a few letters: many ties, many repeated and overlapping pairs."""
    draw = random.Random(seed)
    return {"".join(draw.choices(letters, k=draw.randint(1, 9))): draw.randint(1, 6)
            for _ in range(distinct)}


def brute_force(counts, vocab_size, min_frequency):
    """Count every pair afresh for every piece: slow and plain."""
    words = {word: [word[0], *("##" + c for c in word[1:])] for word in counts}
    first = sorted({c for word in counts for c in word})
    pieces = first + sorted({s for symbols in words.values() for s in symbols[1:]})
    while len(pieces) < vocab_size:
        pairs = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < min_frequency:
            break
        piece = best[0] + best[1][2:]
        for symbols in words.values():
            i = 0
            while i + 1 < len(symbols):
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i:i + 2] = [piece]
                i += 1
        if piece not in pieces:
            pieces.append(piece)
    return pieces


@pytest.mark.parametrize("seed", range(12))
def test_equals_brute_force(seed):
    counts = random_words(seed, letters="ab" if seed % 3 == 0 else "abcd")
    for size, frequency in ((30, 1), (57, 2), (400, 3)):
        assert train_wordpiece(counts, size, frequency) == brute_force(counts, size, frequency)


def test_order_of_the_counts_does_not_matter():
    counts = random_words(3)
    backwards = dict(reversed(counts.items()))
    assert train_wordpiece(counts, 80, 1) == train_wordpiece(backwards, 80, 1)


def test_special_tokens_come_first_and_no_piece_comes_twice():
    pieces = train_wordpiece(random_words(5), 90, 1, SPECIAL)
    assert pieces[:5] == SPECIAL
    assert len(pieces) == len(set(pieces)) == 90


def test_rare_pairs_are_not_joined():
    assert train_wordpiece({"ab": 2, "cd": 3}, 99, min_frequency=3)[-1] == "cd"
    assert "ab" not in train_wordpiece({"ab": 2, "cd": 3}, 99, min_frequency=3)
    assert "ab" in train_wordpiece({"ab": 2, "cd": 3}, 99, min_frequency=2)


def test_vocabulary_too_small_for_the_characters():
    with pytest.raises(TokenizerError, match="vocab_size is 6; expected at least 9"):
        train_wordpiece({"ab": 1, "ba": 1}, 6, special_tokens=SPECIAL)


def test_characters_beyond_the_limit_are_left_out():
    rare = "".join(chr(0x4E00 + i) for i in range(ALPHABET_LIMIT + 50))
    counts = {character: 2 for character in rare} | {"common": 9, "un" + rare[-1]: 7}
    pieces = train_wordpiece(counts, 5_000, 2)
    singles = [piece for piece in pieces if len(piece) == 1]
    assert len(singles) == ALPHABET_LIMIT
    assert {"c", "u", "n", rare[-1], "common", "un" + rare[-1]} <= set(pieces)
    assert rare[0] in pieces and rare[-2] not in pieces  # of equals, the first in code order


def test_words_are_counted_as_the_tokenizer_sees_them():
    texts = ["Ça va?  don't\tstop\r\n\nnow", "日本 a\x1cb c\u2028d e\u00a0f g\u200bh", "", " ",
             "x" * 101 + " " + "y" * 100, "e\u0301 \u0301e", "İI ǅ ΑΣ ΣΑ"]
    for lowercase in (True, False):
        normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        whole = Counter(word for text in texts for word, _ in
                        pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
        assert whole.pop("x" * 101) == 1
        assert count_words(texts, normalizer, pre_tokenizer) == whole


TRAIN = """
import hashlib, os, sys
from bert_kit.tokenization import train_tokenizer
texts = [f"the {a} of the {b} is {a}{b}, {b}{a}!" for a in "one two three four été".split()
         for b in "dog cat doghouse catalogue houses Häuser 日本".split()]
if sys.argv[1] == "joined":
    texts = iter(["\\n".join(reversed(texts))])
print(hashlib.sha256(train_tokenizer(texts, 200).backend.to_str().encode()).hexdigest())
"""


def test_same_bytes_whatever_the_hash_seed_threads_and_chunks():
    digests = set()
    for hash_seed, threads, form in (("0", "1", "list"), ("1", "4", "list"), ("77", "2", "joined")):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": threads,
                                    "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", TRAIN, form], env=environment, cwd=ROOT,
                              capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())
    assert len(digests) == 1 and len(digests.pop()) == 64


def pieces_per_word(backend, lines):
    rows = backend.encode_batch(lines, add_special_tokens=False)
    return (sum(len(row.ids) for row in rows)
            / sum(len(set(row.word_ids)) for row in rows))


def compare_with_library(train, held_out, vocab_size):
    """Return (share of common pieces, our pieces a word, the library's)."""
    ours = train_tokenizer(train, vocab_size)
    library = Backend(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.train_from_iterator(train, trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, limit_alphabet=ALPHABET_LIMIT,
        special_tokens=SPECIAL, show_progress=False))
    common = set(ours.backend.get_vocab()) & set(library.get_vocab())
    return (len(common) / vocab_size, pieces_per_word(ours.backend, held_out),
            pieces_per_word(library, held_out))


def test_as_good_as_the_library_on_docstrings():
    modules = ["argparse", "random", "statistics", "collections", "typing", "datetime"]
    lines = [line for name in modules
             for line in Path(__import__(name).__file__).read_text("utf-8").splitlines()]
    common, ours, library = compare_with_library(lines[::2], lines[1::2], 1_500)
    assert common > 0.9
    assert ours <= library * 1.03


def test_as_good_as_the_library_on_speeches():
    if not SOTU.is_dir():
        pytest.skip(f"the speeches are not at {SOTU}")
    train, held_out = ((SOTU / name).read_text("utf-8").splitlines()
                       for name in ("train.txt", "dev.txt"))
    common, ours, library = compare_with_library(train, held_out, 8_000)
    assert common > 0.95
    assert ours <= library * 1.03


def test_pieces_of_a_fixed_text():
    """The pieces and their order hold on every machine and in every later version."""
    texts = ["Low, lower, lowest; new, newer, newest; wide, wider, widest."] * 2
    tokenizer = train_tokenizer(texts, vocab_size=40)
    assert tokenizer.tokens(range(40)) == [
        *SPECIAL, *",.;deilnorstw", *("##" + letter for letter in "deiorstw"), "##we", "##de",
        "##ide", "##st", "lo", "ne", "wide", "##wer", "##west", "low", "lower", "lowest", "new",
        "newer"]
