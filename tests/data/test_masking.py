"""Masking: the published shares, whole words, and what is never touched."""

import math

import numpy as np
import pytest
from tiny_texts import make_texts, tokenizer

from bert_kit.data import mask_tokens
from bert_kit.data.batches.seeding import MASKS, ORDER, PAIRS, TIES, generator_for
from bert_kit.data.rows.masking import IGNORE, Masking
from bert_kit.errors import DataError

CLS, SEP, MASK = 2, 3, 4
ORDINARY = np.arange(5, 55)
BAD_PROBABILITIES = [0, -0.1, 1.01, math.nan, "0.15", None]


def made_rows(count=1_500, length=100, seed=0):
    """Rows [CLS] … [SEP] … [SEP] of ordinary ids, and words of 1 to 4 tokens."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        ids = rng.choice(ORDINARY, length)
        words = np.repeat(np.arange(length), rng.integers(1, 5, length))[:length]
        ids[[0, length // 2, -1]] = CLS, SEP, SEP
        words[ids < 5] = -1
        yield ids, words


def masked(whole_word=False, probability=0.15, **sizes):
    """Inputs, labels, ids and words of many rows, each (rows, S)."""
    rng = np.random.default_rng(1)
    rows = [(*mask_tokens(ids, words, rng, MASK, ORDINARY, probability, whole_word), ids, words)
            for ids, words in made_rows(**sizes)]
    return [np.array(column) for column in zip(*rows)]


def assert_share(count, total, share, sigmas=4):
    sigma = math.sqrt(total * share * (1 - share))
    assert abs(count - total * share) < sigmas * sigma, (count, total, share)


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_published_shares(probability):
    """Of 145,500 tokens 15% are chosen; of those 80% are [MASK], 10% random, 10% kept."""
    inputs, labels, ids, words = masked(probability=probability)
    chosen = labels != IGNORE
    total, kept = chosen.sum(), (inputs == ids)[chosen].sum()
    assert (words >= 0).sum() > 140_000
    assert_share(total, (words >= 0).sum(), probability)
    assert_share((inputs[chosen] == MASK).sum(), total, 0.8)
    chance = 0.1 / len(ORDINARY)  # a random piece may be the one that was there
    assert_share(kept, total, 0.1 + chance)
    assert_share(total - kept - (inputs[chosen] == MASK).sum(), total, 0.1 - chance)


@pytest.mark.parametrize("whole_word", [False, True])
def test_only_chosen_places_change(whole_word):
    inputs, labels, ids, words = masked(whole_word)
    assert (labels[words < 0] == IGNORE).all()
    chosen = labels != IGNORE
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert (labels[chosen] == ids[chosen]).all()
    assert chosen.any(axis=1).all()


def test_random_pieces_are_ordinary_and_even():
    """Each of the 50 ids replaces as often as any other, and special tokens never do."""
    inputs, labels, ids, _ = masked()
    drawn = inputs[(labels != IGNORE) & (inputs != ids) & (inputs != MASK)]
    assert set(drawn.tolist()) == set(ORDINARY.tolist())
    for number in ORDINARY:
        assert_share((drawn == number).sum(), len(drawn), 1 / len(ORDINARY))


def test_places_are_alike():
    """No place of a row is chosen more often than another."""
    _, labels, _, words = masked()
    for place in np.flatnonzero(words[0] >= 0):
        assert_share((labels[:, place] != IGNORE).sum(), len(labels), 0.15)


def test_neighbours_are_independent():
    """Both of two neighbouring tokens are chosen in 15% of 15% of the cases."""
    _, labels, _, words = masked()
    real = (words[:, 1:] >= 0) & (words[:, :-1] >= 0)
    chosen = labels != IGNORE
    assert_share((chosen[:, 1:] & chosen[:, :-1] & real).sum(), real.sum(), 0.15 ** 2)


def test_whole_words_are_all_or_none():
    inputs, labels, ids, words = masked(whole_word=True)
    mixed, chosen_words, total_words = 0, 0, 0
    for row_inputs, row_labels, row_words in zip(inputs, labels, words):
        for word in np.unique(row_words[row_words >= 0]):
            pieces = row_words == word
            chosen = row_labels[pieces] != IGNORE
            assert chosen.all() or not chosen.any()
            chosen_words, total_words = chosen_words + chosen[0], total_words + 1
            masks = row_inputs[pieces] == MASK
            mixed += masks.any() and not masks.all()
    assert_share(chosen_words, total_words, 0.15)
    assert mixed > 100  # each piece is replaced on its own
    chosen = labels != IGNORE
    assert_share((inputs[chosen] == MASK).sum(), chosen.sum(), 0.8)


def test_input_is_not_changed():
    ids = np.arange(5, 25)
    ids.setflags(write=False)
    inputs, _ = mask_tokens(ids, np.arange(20), np.random.default_rng(0), MASK, ORDINARY, 1.0)
    assert (inputs != ids).any() and not np.shares_memory(inputs, ids)
    assert (ids == np.arange(5, 25)).all()


def test_everything_can_be_chosen():
    words = [-1, 0, 1, 1, -1]
    inputs, labels = mask_tokens([CLS, 7, 8, 9, SEP], words, np.random.default_rng(0), MASK,
                                 ORDINARY, 1)
    assert labels.tolist() == [IGNORE, 7, 8, 9, IGNORE]
    assert inputs.dtype == labels.dtype == np.int64


@pytest.mark.parametrize("whole_word", [False, True])
def test_short_rows_get_one_choice(whole_word):
    """Where chance chooses nothing, each unit is taken equally often."""
    rng, counts = np.random.default_rng(0), np.zeros(5)
    for _ in range(3_000):
        _, labels = mask_tokens([CLS, 7, 8, 9, SEP], [-1, 0, 1, 2, -1], rng, MASK, ORDINARY, 1e-9,
                                whole_word)
        counts += labels != IGNORE
    assert counts.sum() == 3_000 and counts[0] == counts[4] == 0
    for count in counts[1:4]:
        assert_share(count, 3_000, 1 / 3)


def test_row_without_candidates_stays():
    for ids in ([], [CLS, SEP]):
        inputs, labels = mask_tokens(ids, [-1] * len(ids), np.random.default_rng(0), MASK, ORDINARY)
        assert inputs.tolist() == ids and labels.tolist() == [IGNORE] * len(ids)


@pytest.mark.parametrize("probability", BAD_PROBABILITIES)
def test_probability_is_checked_before_any_work(probability):
    with pytest.raises(DataError, match="expected a share above 0, at most 1"):
        mask_tokens([CLS, 7, SEP], [-1, 0, -1], np.random.default_rng(0), MASK, ORDINARY,
                    probability)
    with pytest.raises(DataError, match="mask_probability is"):
        Masking(tokenizer(), probability, False, 0)


def test_words_are_the_tokenizers():
    """Words read off the ids group pieces as the tokenizer says, in single rows and in pairs."""
    words_of = Masking(tokenizer(), 0.15, True, 0).words
    texts, several = make_texts(60), 0
    single = tokenizer().encode_batch(texts, max_length=19)
    pairs = tokenizer().encode_batch(texts[:-1], texts[1:], max_length=25)
    for row in single + pairs:
        words = words_of(np.array(row.ids))
        expected = list(zip(np.cumsum([n == tokenizer().sep_id for n in row.ids]), row.word_ids))
        for i, number in enumerate(row.word_ids):
            assert (words[i] == -1) == (number is None)
            if number is not None:
                assert [w == words[i] for w in words] == [e == expected[i] for e in expected]
        several += len(set(words)) < len(words) - 2
    assert several > 100


def test_unknown_words_may_be_chosen_and_special_tokens_not():
    masking = Masking(tokenizer(), 1.0, False, 0)
    ids = np.array(tokenizer().encode("kato \u2603").ids)
    assert tokenizer().unk_id in ids and tokenizer().unk_id not in masking.ordinary_ids
    assert not tokenizer().special_ids & set(masking.ordinary_ids.tolist())
    _, labels = masking(ids, 0, 0)
    assert labels.tolist() == [IGNORE, *ids[1:-1].tolist(), IGNORE]


def test_generators_differ():
    """No two of (purpose, seed, epoch, row) share their numbers, zeros or large seeds included."""
    keys = [(purpose, seed, epoch, row) for purpose in (ORDER, MASKS, PAIRS, TIES)
            for seed in (0, 1, 2, 3, 2**32 - 1, 2**32, 2**33, 2**64)
            for epoch in range(4) for row in (0, 1, 2, 3, 10**6)]
    assert len({int(generator_for(*key).integers(2**63)) for key in keys}) == len(keys)


@pytest.mark.parametrize("other", [(0, 1, 1), (0, 0, 1), (1, 0, 0), (1, 1, 0), (7, 0, 0)])
def test_masks_of_different_keys_are_independent(other):
    """Two rows share 15% of 15% of the places, whether they differ in seed, epoch or row."""
    ids = np.array([CLS, *[20] * 200, SEP])
    masking = [Masking(tokenizer(), 0.15, False, seed) for seed in (0, other[0])]
    both = sum(((masking[0](ids, epoch, row)[1] != IGNORE)
                & (masking[1](ids, epoch + other[1], row + other[2])[1] != IGNORE)).sum()
               for epoch in range(20) for row in range(30))
    assert_share(both, 200 * 600, 0.15 ** 2)
