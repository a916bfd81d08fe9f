"""Encoding by remembered words: the same pieces as encoding whole texts."""

import random

import pytest
from tiny_texts import make_texts, tokenizer
from tokenizers import AddedToken

from bert_kit import Tokenizer, train_tokenizer
from bert_kit.tokenization import words as file
from bert_kit.tokenization.words import word_pieces

# White space of all kinds, control and joining characters, accents that combine, a final sigma,
# characters that grow in lower case, Chinese, special tokens, half a character.
ODD = [*" \t\n\r\x0b\x0c\x1c\x85\xa0\u2003\u2028\u3000", *"\0\x07\u200b\u200d\ufeff\ufffd",
       "\u0301", "e\u0301", "\u0327\u0301", "\u03a3", "\u0130", "\u00df", "\u4e2d\u6587", "\u1100",
       "\u1161", "[SEP]", "[MASK]", "[", "]", "##", "\ud83d", "\U0001f600", "ka", "To", "mi-re",
       "1.5", "x" * 120, "  "]


def whole_texts(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_pieces(texts)]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
def test_any_characters(lowercase, strip_accents):
    rng = random.Random(3)
    pieces = [*tokenizer().tokens(range(tokenizer().vocab_size)), "\u4e2d", "##\u03c2", "\u03c3",
              "\u1100", "e", "##e"]
    tried = Tokenizer(dict.fromkeys(pieces), lowercase, strip_accents)
    texts = ["".join(rng.choices(ODD, k=rng.randint(0, 12))) for _ in range(3_000)]
    assert list(word_pieces(texts, tried)) == whole_texts(tried, texts)


def test_any_code_point():
    """Every character of the basic plane, alone between letters and after a space."""
    tried = train_tokenizer(make_texts(50), vocab_size=90)
    words = [f"ka{chr(code)}to {chr(code)}mi {chr(code)} re" for code in range(2**16)]
    texts = [" ".join(words[start:start + 64]) for start in range(0, len(words), 64)]
    assert list(word_pieces(texts, tried)) == whole_texts(tried, texts)


def test_added_tokens_of_one_word_and_of_several():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "york", "n", "##e", "##w", "x"]
    for added in ("york", "new york", "w y", "new\xa0york", "new\tyork"):
        tried = Tokenizer(pieces, added_tokens=[AddedToken(added), AddedToken("[gene]")])
        texts = ["New York", "new  york new york", "x new york[gene]x", "york [gene] new",
                 "new\xa0york x", "new\tyork x"]
        assert list(word_pieces(texts, tried)) == whole_texts(tried, texts)


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_forgetting_changes_nothing(monkeypatch, limit):
    monkeypatch.setattr(file, "LIMIT", limit)
    texts = ["", *make_texts(60), " ", make_texts(1, 60)[0]]
    assert list(word_pieces(iter(texts), tokenizer())) == whole_texts(tokenizer(), texts)
    assert list(word_pieces([], tokenizer())) == []


class Counting:
    """A tokenizer that keeps what it was asked to encode."""

    is_wordpiece = True

    def __init__(self, tokenizer):
        self.tokenizer, self.backend, self.words = tokenizer, tokenizer.backend, []

    def encode_pieces(self, words):
        self.words += words
        return self.tokenizer.encode_pieces(words)


def test_a_word_is_encoded_once():
    texts, counting = make_texts(50) * 3, Counting(tokenizer())
    assert list(word_pieces(texts, counting)) == whole_texts(tokenizer(), texts)
    assert sorted(counting.words) == sorted(set(" ".join(texts).split(" ")))


def test_long_words_and_texts_with_phrases_are_not_remembered():
    """A text without spaces is one word: to remember many would fill the memory."""
    texts, counting = ["ka " + "a" * 101, "b" * 100] * 3, Counting(tokenizer())
    assert list(word_pieces(texts, counting)) == whole_texts(tokenizer(), texts)
    assert sorted(counting.words) == sorted(["ka", *["a" * 101] * 3, "b" * 100])
    phrases = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ka"],
                        added_tokens=[AddedToken("ka ka")])
    texts, counting = ["x ka ka", "ka ka ka"] * 3, Counting(phrases)
    assert list(word_pieces(texts, counting)) == whole_texts(phrases, texts)
    assert counting.words == texts
