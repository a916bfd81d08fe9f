"""Sentence pairs on documents whose ids say where each word comes from."""

import math
import random

import numpy as np
import pytest
import torch
from tiny_texts import (DOCUMENTS, WORDS, document_and_word, make_documents, make_texts,
                   telltale_tokenizer, tokenizer)

from bert_kit import BertConfig, BERTForNextSentencePrediction, NSPDataset
from bert_kit.data import IS_NEXT, IS_RANDOM, make_loader, pad_batch
from bert_kit.errors import DataError
from bert_kit.training.losses import compute_nsp_loss

CLS, SEP, MASK, IGNORE = 2, 3, 4, -100


def pairs(documents=None, max_length=24, mask_probability=None, **options):
    documents = make_documents() if documents is None else documents
    return NSPDataset(documents, telltale_tokenizer(), max_length, mask_probability, **options)


def parts(row):
    """A and B of an unmasked row as lists of (document, word)."""
    ids = row["input_ids"].tolist()
    middle = ids.index(SEP)
    return ([document_and_word(n) for n in ids[1:middle]],
            [document_and_word(n) for n in ids[middle + 1:-1]])


def all_rows(dataset, epochs):
    return [dataset[(epoch, row)] for epoch in range(epochs) for row in range(len(dataset))]


def mean_difference(values, answers):
    """Mean of the next minus mean of the random, in standard errors."""
    values, answers = np.array(values, dtype=float), np.array(answers)
    groups = [values[answers == answer] for answer in (IS_NEXT, IS_RANDOM)]
    error = math.sqrt(sum(group.var() / len(group) for group in groups))
    return abs(groups[0].mean() - groups[1].mean()) / max(error, 1e-9)


@pytest.mark.parametrize("max_length", [5, 6, 7, 12, 25, 60, 200])
def test_shape_of_a_row(max_length):
    for row in all_rows(pairs(max_length=max_length), 3):
        ids, types = row["input_ids"].tolist(), row["token_type_ids"].tolist()
        a, b = parts(row)
        assert len(ids) <= max_length and len(a) >= 1 and len(b) >= 1
        assert ids[0] == CLS and ids[-1] == SEP and ids.count(SEP) == 2 and ids.count(CLS) == 1
        assert types == [0] * (len(a) + 2) + [1] * (len(b) + 1)
        assert type(row["labels"]) is int


@pytest.mark.parametrize("max_length", [5, 12, 25, 60, 200])
def test_next_follows_and_random_is_of_another_document(max_length):
    seen = set()
    for row in all_rows(pairs(max_length=max_length), 4):
        a, b = parts(row)
        for part in (a, b):  # each is one run of words of one document
            assert part == [(part[0][0], part[0][1] + i) for i in range(len(part))]
        if row["labels"] == IS_NEXT:
            assert b[0] == (a[-1][0], a[-1][1] + 1)
        else:
            assert b[0][0] != a[0][0]
        seen.add(row["labels"])
    assert seen == {IS_NEXT, IS_RANDOM}


def test_cuts_are_between_sentences():
    documents = make_documents()
    begins, d_of = set(), telltale_tokenizer().encode_pieces
    for document in documents:
        begins |= {document_and_word(row.ids[0]) for row in d_of(document) if row.ids}
    for row in all_rows(pairs(documents), 3):
        assert parts(row)[1][0] in begins


def test_both_answers_are_equally_likely():
    answers = [row["labels"] for row in all_rows(pairs(), 130)]
    assert len(answers) > 10_000
    assert abs(np.mean(answers) - 0.5) < 3 * 0.5 / math.sqrt(len(answers))


def test_each_stretch_gets_both_answers():
    """Short documents, of two sentences, are not always random (as they are in Google's code)."""
    documents = [[f"d{d}w0 d{d}w1", f"d{d}w2"] for d in range(5)]
    dataset = pairs(documents)
    assert len(dataset) == 5
    for row in range(5):
        assert {dataset[(epoch, row)]["labels"] for epoch in range(20)} == {IS_NEXT, IS_RANDOM}


@pytest.mark.parametrize("max_length", [16, 32, 128])
def test_neither_length_nor_b_tells_the_answer(max_length):
    """Lengths, and the place in its document where B begins, are alike for both answers."""
    rng = random.Random(1)
    documents = []
    for d in range(DOCUMENTS):  # every kind of document: short or long, of short or long sentences
        size, words = 1 + d % 6, [f"d{d}w{w}" for w in range(rng.randint(4, WORDS))]
        documents.append([" ".join(words[i:i + size]) for i in range(0, len(words), size)])
    rows = all_rows(pairs(documents, max_length), 60)
    answers = [row["labels"] for row in rows]
    split = [parts(row) for row in rows]
    for measure in (lambda a, b: len(a), lambda a, b: len(b), lambda a, b: len(a) + len(b),
                    lambda a, b: (len(a) - len(b)) ** 2, lambda a, b: b[0][1],
                    lambda a, b: b[-1][1], lambda a, b: b[0][0] % 6):
        assert mean_difference([measure(a, b) for a, b in split], answers) < 4


def test_no_text_of_a_stretch_is_lost():
    """Documents that fit a row give one row each, with all their words when the answer is next."""
    documents = make_documents()
    for row in all_rows(pairs(documents, 100), 2):
        a, b = parts(row)
        if row["labels"] == IS_NEXT:
            words = sum(len(sentence.split()) for sentence in documents[a[0][0]])
            assert a + b == [(a[0][0], i) for i in range(words)]


def test_a_sentence_as_long_as_a_row_takes_the_next_one_with_it():
    long = " ".join(f"d0w{w}" for w in range(30))
    dataset = pairs([[long, "d0w30", "d0w31"], ["d1w0", "d1w1 d1w2"]], 12)
    assert dataset.lengths.tolist() == [12, 6]
    a, b = next(parts(row) for row in all_rows(dataset, 9) if row["labels"] == IS_NEXT)
    assert a == [(0, w) for w in range(22, 30)] and b == [(0, 30)]


def test_stretches_just_fill_a_row():
    """Room for 4 words: twelve sentences of one word make three stretches, thirteen no more."""
    documents = [[f"d{d}w{w}" for w in range(12 + d)] for d in range(2)]
    assert pairs(documents, 7).stretches.tolist() == [[0, 4], [4, 8], [8, 12],
                                                      [12, 16], [16, 20], [20, 24]]


def test_lengths_are_those_of_the_rows():
    dataset = pairs(max_length=30)
    for row in all_rows(dataset, 1)[:len(dataset)]:
        assert len(row["input_ids"]) <= 30
    for row in range(len(dataset)):
        sizes = [len(dataset[(epoch, row)]["input_ids"]) for epoch in range(12)
                 if dataset[(epoch, row)]["labels"] == IS_NEXT]
        assert set(sizes) <= {dataset.lengths[row]}


def test_one_document_among_many_finds_a_partner():
    """However far away in length the only other document is."""
    words = [f"d0w{w}" for w in range(WORDS)]
    documents = [words * 20, ["d1w0 d1w1", "d1w2"]]
    rows = all_rows(pairs(documents, 8), 2)
    random_ones = [parts(row) for row in rows if row["labels"] == IS_RANDOM]
    assert len(random_ones) > 100 and all({a[0][0], b[0][0]} == {0, 1} for a, b in random_ones)


def test_partners_are_many():
    dataset = pairs([[f"d{d}w0", f"d{d}w1"] for d in range(DOCUMENTS)])
    partners = {parts(row)[1][0][0] for row in (dataset[(epoch, 0)] for epoch in range(900))
                if row["labels"] == IS_RANDOM}
    assert partners == set(range(1, DOCUMENTS))


def test_masked_pairs():
    """Labels hold the originals; nothing special is masked; the answer has its own name."""
    plain, masked = pairs(seed=3), pairs(mask_probability=0.15, seed=3)
    chosen = total = 0
    for before, after in zip(all_rows(plain, 40), all_rows(masked, 40)):
        assert after["next_sentence_label"] == before["labels"]
        assert (after["token_type_ids"] == before["token_type_ids"]).all()
        hidden = after["labels"] != IGNORE
        assert (np.where(hidden, after["labels"], after["input_ids"]) == before["input_ids"]).all()
        special = np.isin(before["input_ids"], [CLS, SEP])
        assert hidden.any() and not hidden[special].any()
        chosen, total = chosen + hidden.sum(), total + (~special).sum()
    assert total > 50_000
    assert 0.15 < chosen / total < 0.17  # a little above, since every short row has one


def test_whole_words_within_both_parts():
    """All pieces of a word or none, in A and in B, in rows that were cut."""
    documents = [make_texts(8, 9, seed=d) for d in range(12)]
    dataset = NSPDataset(documents, tokenizer(), 20, 0.3, whole_word=True)
    longer_words = 0
    for row in all_rows(dataset, 10):
        chosen = row["labels"] != IGNORE
        ids = np.where(chosen, row["labels"], row["input_ids"])
        pieces = tokenizer().tokens(ids)
        for i in range(2, len(ids)):
            if pieces[i].startswith("##") and pieces[i - 1] != "[SEP]" and i > 1:
                assert chosen[i] == chosen[i - 1]
                longer_words += chosen[i]
    assert longer_words > 500


def test_rows_depend_on_seed_epoch_and_row_only():
    def content(seed, epoch):
        dataset = pairs(mask_probability=0.15, seed=seed)
        rows = [dataset[(epoch, row)] for row in range(len(dataset))]
        return str([{key: np.asarray(row[key]).tolist() for key in row} for row in rows])
    assert content(1, 2) == content(1, 2)
    assert len({content(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9
    dataset = pairs()
    answers = np.array([[dataset[(epoch, row)]["labels"] for row in range(len(dataset))]
                        for epoch in range(2)])
    assert 0.3 < (answers[0] == answers[1]).mean() < 0.7


def test_evaluation_is_fixed():
    loader = make_loader(pairs(mask_probability=0.15), 8, shuffle=False)
    first, second = ([batch["input_ids"].tolist() for batch in loader] for _ in range(2))
    assert first == second


def test_grouping_by_length_works_on_pairs():
    dataset = pairs(max_length=60, mask_probability=0.15)
    padding = [sum(int((batch["attention_mask"] == 0).sum())
                   for batch in make_loader(dataset, 4, group_by_length=group))
               for group in (False, True)]
    assert padding[1] < padding[0] / 2


BAD_CALLS = {
    "one document": (lambda: pairs([["d0w0", "d0w1", "d0w2"]]), "two documents .* found 1"),
    "one long document": (lambda: pairs([[f"d0w{w}" for w in range(40)], ["d1w0"]], 7), "found 1"),
    "single sentences": (lambda: pairs([["d0w0"], ["d1w0"]]), "two documents .* found 0"),
    "empty sentences": (lambda: pairs([["d0w0", "d0w1"], ["d1w0", " "]]), "two documents"),
    "nothing": (lambda: pairs([]), "two documents .* found 0"),
    "empty documents": (lambda: pairs([[], [""], []]), "two documents .* found 0"),
    "a string": (lambda: pairs([["d0w0", "d0w1"], "d1w0 d1w1"]), "document 1 is 'd1w0 d1w1'"),
    "a number": (lambda: pairs([["d0w0", 5], ["d1w0", "d1w1"]]), "document 0 is"),
    "too short": (lambda: pairs(max_length=4), "max_length is 4; expected a whole number from 5"),
    "probability": (lambda: pairs(mask_probability=0.0), "mask_probability is 0.0"),
    "seed": (lambda: pairs(seed=-3), "seed is -3"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_get_one_line(name):
    call, message = BAD_CALLS[name]
    with pytest.raises(DataError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_empty_sentences_and_documents_are_passed_over():
    full = [["d0w0", "d0w1"], ["d1w0", "d1w1", "d1w2"]]
    holes = [[], ["", "d0w0", " ", "d0w1", ""], [""], ["d1w0", "\n", "d1w1", "d1w2"], []]
    for row, other in zip(all_rows(pairs(full), 5), all_rows(pairs(holes), 5), strict=True):
        assert row["input_ids"].tolist() == other["input_ids"].tolist()


def test_both_answers_teach():
    """The loss and its gradient are above zero for either answer: 0 is a class, not padding."""
    config = BertConfig(vocab_size=telltale_tokenizer().vocab_size, hidden_size=12,
                        num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = BERTForNextSentencePrediction(config)
    rows = all_rows(pairs(), 2)
    for answer in (IS_NEXT, IS_RANDOM):
        model.zero_grad()
        loss = compute_nsp_loss(model, pad_batch([r for r in rows if r["labels"] == answer][:5]))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        assert float(loss.detach()) > 0.1 and float(gradient.abs().max()) > 1e-4
