"""Tagging: files, windows, alignment of words and pieces, the model, its loss and its outputs."""

import re

import numpy as np
import pytest
import torch
from tiny_texts import SPECIAL, make_texts, tokenizer
from torch.nn import functional as F

from bert_kit import (BERTForTokenClassification, BertConfig, DataError, Tokenizer, Trainer,
                      TrainingArguments, get_tokenizer, load_pretrained, save_pretrained)
from bert_kit.data import TaggingDataset, make_loader, read_conll, word_spans
from bert_kit.data.rows.windows import shares, windows
from bert_kit.evaluation import predict_token_logits
from bert_kit.training import compute_tagging_loss, count_labels, mean_loss


def write(tmp_path, text, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_files_with_tabs_and_with_spaces(tmp_path):
    want = [["EU", "rejects"], ["#", "New York", "!"]], [["B-org", "O"], ["O", "B-loc", "O"]]
    found = read_conll(write(tmp_path, "\ufeffEU\tB-org\r\nrejects\tO\r\n\r\n\r\n#\tO\n"
                                       "New York\tB-loc\n! \tO\n"))
    assert (found.words, found.tags) == want
    assert list(found.lines) == [1, 5] and len(found) == 2
    assert found.classes == ["B-loc", "B-org", "O"]
    assert found.numbers(found.classes) == [[1, 2], [2, 0, 2]]
    spaced = ("# a comment of five words\n-DOCSTART- -X- -X- O\n\nEU  NNP B-NP B-org\n"
              "# id = 1\nrejects VBZ B-VP O\n-DOCSTART-\n# NN O O\n#\n! . O O")
    found = read_conll(write(tmp_path, spaced))
    assert found.words == [["EU", "rejects"], ["#", "!"]]
    assert found.tags == [["B-org", "O"], ["O", "O"]]
    assert list(found.lines) == [4, 8]
    assert read_conll(write(tmp_path, spaced), tag_column=1).tags == [["NNP", "VBZ"], ["NN", "."]]
    words = read_conll(write(tmp_path, "EU\nrejects\n\nall\n"), tag_column=None)
    assert words.words == [["EU", "rejects"], ["all"]] and words.tags is None


def test_a_file_may_begin_with_the_word_hash(tmp_path):
    assert read_conll(write(tmp_path, "#\tO\nEU\tB-org\n")).words == [["#", "EU"]]


def test_white_space_inside_a_word_is_kept(tmp_path):
    assert read_conll(write(tmp_path, "5\u00a0000 O\nx O\n")).words == [["5\u00a0000", "x"]]


def test_the_words_of_conll_u(tmp_path):
    """Universal Dependencies: a token of several words comes before them, an empty node is none."""
    rows = ["1 I PRON", "2-3 don't _", "2 do AUX", "3 n't PART", "3.1 go VERB", "4 . PUNCT"]
    lines = ["\t".join((number, word, "_", tag, *"______")) for number, word, tag
             in map(str.split, rows)]
    path = write(tmp_path, "# text = I don't.\n" + "\n".join(lines) + "\n\n")
    found = read_conll(path, word_column=1, tag_column=3)
    assert found.words == [["I", "do", "n't", "."]]
    assert found.tags == [["PRON", "AUX", "PART", "PUNCT"]]
    with pytest.raises(DataError, match="column 0 counts the words .*--word_column 1"):
        read_conll(path)
    assert read_conll(write(tmp_path, "1\tO\n2\tO\n\nof\tO\n")).words == [["1", "2"], ["of"]]
    assert read_conll(write(tmp_path, "2-3\tB-age\n")).words == [["2-3"]]


@pytest.mark.parametrize("text, message", [
    ("", "a.txt: no sentence; expected one word a line"),
    ("Sentence #,Word\n1,EU,O\n", "a.txt line 2: 1 column; expected 2 as on the first line with a "
     "word (',' separates nothing here)"),
    ("EU,O\n", "by spaces (',' separates nothing here)"),
    ("\n \n# only a comment\n", "a.txt: no sentence"),
    ("EU\n", "a.txt line 1: 1 column; expected the columns 0 and -1, separated by a tab or by"),
    ("EU\tO\nrejects\n", "a.txt line 2: 1 column; expected 2 as on the first line with a word"),
    ("EU\tO\nNew York O\n", "a.txt line 2: 1 column; expected 2"),
    ("EU O\nNew York O\n", "a.txt line 2: 3 columns; expected 2"),
    ("EU\tO\n\tO\n", "a.txt line 2: column 0 is empty; expected a word on each line"),
    ("EU\tO\nx\t\n", "a.txt line 2: column 1 is empty"),
    (b"EU\tO\n\xff\tO\n", "a.txt line 2: byte 0xff is not utf-8"),
])
def test_a_damaged_file_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_conll(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_other_mistakes_in_reading(tmp_path):
    path = write(tmp_path, "EU\tO\n\nEU\tX-y\n")
    with pytest.raises(DataError, match="no such file"):
        read_conll(tmp_path / "b.txt")
    with pytest.raises(DataError, match="2 columns; expected the columns 0 and 2"):
        read_conll(path, tag_column=2)
    with pytest.raises(DataError, match="the sentence on line 3 has the tag 'X-y'; expected one "
                                        "of B-x, O"):
        read_conll(path).numbers(["B-x", "O"])


@pytest.mark.parametrize("name, sentences, words", [
    ("wnut17", (3_394, 1_009, 1_287), 62_730), ("ncbi_disease", (5_432, 923, 940), 136_086)])
def test_real_files_have_the_published_sizes(shared, name, sentences, words):
    parts = [read_conll(shared / "data" / name / f"{part}.txt")
             for part in ("train", "dev", "test")]
    assert tuple(map(len, parts)) == sentences
    assert sum(map(len, parts[0].words)) == words


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 13, 14, 50])
@pytest.mark.parametrize("room, stride", [(7, 1), (7, 3), (7, 7), (7, 99), (7, None), (1, None)])
def test_windows_cover_a_text_and_share_it(count, room, stride):
    cuts = windows(count, room, stride)
    assert cuts[0][0] == 0 and cuts[-1][1] == count
    assert all(end - start == min(room, count) for start, end in cuts)
    assert len(set(cuts)) == len(cuts) and cuts == sorted(cuts)
    owned = [place for first, last in shares(cuts) for place in range(first, last)]
    assert owned == list(range(count))
    for (first, last), own in zip(shares(cuts), cuts):
        for place in range(first, last):
            context = [min(place - start, end - 1 - place) for start, end in cuts]
            assert min(place - own[0], own[1] - 1 - place) == max(context)


@pytest.mark.parametrize("stride", [0, -1, 1.5, True])
def test_impossible_strides(stride):
    with pytest.raises(DataError, match="stride is .*; expected a whole number from 1"):
        windows(9, 4, stride)


def tagged(count=40, seed=0, longest=30):
    """Sentences of made-up words; the tag of a word is its length modulo 3."""
    sentences = [text.split() for text in make_texts(count, longest, seed)]
    return sentences, [[len(word) % 3 for word in words] for words in sentences]


@pytest.mark.parametrize("max_length, stride", [(128, None), (11, None), (11, 2), (9, 7), (3, 1)])
def test_each_word_has_its_tag_once_on_its_first_piece(max_length, stride):
    sentences, tags = tagged()
    dataset = TaggingDataset(sentences, tags, tokenizer(), max_length, stride)
    rows = [dataset[row] for row in range(len(dataset))]
    assert dataset.lengths.tolist() == [len(row["input_ids"]) for row in rows]
    assert max(dataset.lengths) <= max_length
    labels = [row["labels"] for row in rows]
    assert [words.tolist() for words in dataset.word_values(labels)] == tags
    assert sum((row != -100).sum() for row in labels) == sum(map(len, tags))
    firsts = [ids.tolist() for ids in dataset.word_values([row["input_ids"] for row in rows])]
    unknown = [tokenizer().unk_id]
    assert firsts == [[(tokenizer().encode_pieces([word])[0].ids or unknown)[0] for word in words]
                      for words in sentences]
    logits = [np.stack([row["input_ids"], row["labels"]], 1) for row in rows]
    assert [words[:, 1].tolist() for words in dataset.word_values(logits)] == tags
    if max_length == 11:
        assert len(dataset) > len(sentences)


def test_a_short_sentence_is_one_row_with_all_its_pieces():
    sentences, tags = tagged(longest=9)
    dataset = TaggingDataset(sentences, tags, tokenizer())
    for row, words in enumerate(sentences):
        want = [i for word in words for i in tokenizer().encode_pieces([word])[0].ids]
        assert dataset[row]["input_ids"].tolist() == [2, *want, 3]
        assert not dataset[row]["token_type_ids"].any()


def test_words_that_the_tokenizer_drops_and_words_longer_than_a_row():
    own = Tokenizer([*SPECIAL, "a", "##b", "-"])
    dataset = TaggingDataset([["a", "\x07", "a"]], [[1, 2, 3]], own)
    assert dataset[0]["input_ids"].tolist() == [2, 5, 1, 5, 3]
    assert dataset[0]["labels"].tolist() == [-100, 1, 2, 3, -100]
    dataset = TaggingDataset([["a" + "b" * 20, "-" * 40, "a"]], [[1, 2, 3]], own, max_length=8)
    values = dataset.word_values([row["labels"] for row in map(dataset.__getitem__, range(
        len(dataset)))])
    assert values[0].tolist() == [1, 2, 3]


def test_without_tags_there_are_no_labels():
    dataset = TaggingDataset([["ka", "to"]], None, tokenizer())
    assert set(dataset[0]) == {"input_ids", "token_type_ids"}


@pytest.mark.parametrize("sentences, tags, message", [
    ([], [], "no sentences"),
    (["ka to"], [[1, 2]], "sentence 0 is 'ka to'; expected a list of words"),
    ([["ka"], []], [[1], []], "sentence 1 is '[]'; expected a list of words"),
    ([["ka", 3]], [[1, 2]], "row 1 of texts is '3', of type int; expected a string"),
    ([["ka"]], [[1], [2]], "1 sentences but 2 tags; expected as many"),
    ([["ka"], ["to", "mi"]], [[1], [2]], "sentence 1 has 2 words but 1 tags; expected as many"),
    ([["ka"]], [["O"]], "tags of sentence 0 are ['O']; expected class numbers from 0"),
    ([["ka"]], [[-1]], "tags of sentence 0 are [-1]; expected class numbers from 0"),
])
def test_what_cannot_be_tagged(sentences, tags, message):
    with pytest.raises(DataError, match=re.escape(message)):
        TaggingDataset(sentences, tags, tokenizer())


def test_values_of_other_rows_are_refused():
    with pytest.raises(DataError, match="values of 0 rows; expected those of 1"):
        TaggingDataset([["ka"]], None, tokenizer()).word_values([])


def test_pieces_and_labels_are_those_of_the_reference(minilm):
    """The usual recipe: is_split_into_words, and the label where a new word begins."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizerFast.from_pretrained(minilm)
    sentences = [["@paulwalk", "It", "'s", "the", "Empire", "State", "Building", "=", "ESB", "."],
                 ["Ünïcödé", "don't", "U.S.A.", "#hashtag", "http://t.co/x?y=1", "日本語"],
                 ["antidisestablishmentarianism", "X-ray", "…", "😀", "5\u00a0000"]]
    tags = [list(range(len(words))) for words in sentences]
    dataset = TaggingDataset(sentences, tags, get_tokenizer(minilm))
    for row, words in enumerate(sentences):
        encoded = theirs(words, is_split_into_words=True)
        assert dataset[row]["input_ids"].tolist() == encoded["input_ids"]
        numbers = [None, *encoded.word_ids()]
        assert dataset[row]["labels"].tolist() == [
            -100 if word is None or word == before else word
            for before, word in zip(numbers, numbers[1:])]


def test_words_of_a_running_text(minilm):
    own = get_tokenizer(minilm)
    text = "  It's Ünïcödé, \u200bisn't it?\n日本 antidisestablishmentarianism"
    words = [text[start:end] for start, end in word_spans(text, own)]
    assert words == ["It", "'", "s", "Ünïcödé", ",", "isn", "'", "t", "it", "?", "日", "本",
                     "antidisestablishmentarianism"]
    assert word_spans("", own) == word_spans(" \x07 ", own) == []


def test_words_keep_the_accents_at_their_end(minilm):
    own = get_tokenizer(minilm)
    text = "cafe\u0301\u0302 re\u0301d\u0301, e\u0301"
    assert [text[start:end] for start, end in word_spans(text, own)] == [
        "cafe\u0301\u0302", "re\u0301d\u0301", ",", "e\u0301"]


def test_logits_loss_and_gradient_are_those_of_the_reference(tmp_path):
    pytest.importorskip("transformers")
    from ground.test_reference import CONFIGS, batch, gradients_agree, pair
    for padding in ("none", "ragged"):
        config = BertConfig(**CONFIGS[0], labels=tuple("abcde"))
        theirs, ours = pair(BERTForTokenClassification, config, tmp_path)
        ids, mask, types = batch(config, padding)
        labels = torch.where((ids % 3 > 0) & mask.bool(), ids % 5, -100)
        want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types, labels=labels)
        got = ours(ids, mask, types)
        real = mask.bool()
        torch.testing.assert_close(got[real], want.logits[real], atol=1e-5, rtol=1e-4)
        loss = compute_tagging_loss(ours, {"input_ids": ids, "attention_mask": mask,
                                           "token_type_ids": types, "labels": labels})
        torch.testing.assert_close(loss, want.loss, atol=1e-5, rtol=1e-5)
        loss.backward()
        want.loss.backward()
        gradients_agree(ours, theirs)


def test_a_saved_tagger_opens_in_the_reference(tmp_path, config, ragged):
    transformers = pytest.importorskip("transformers")
    ids, mask, types = ragged
    ours = BERTForTokenClassification(config.replace(labels=("B-x", "I-x", "O"))).eval()
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "BertForTokenClassification"
    assert theirs.config.id2label == {0: "B-x", 1: "I-x", 2: "O"}
    with torch.no_grad():
        want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
    torch.testing.assert_close(ours(ids, mask, types)[mask.bool()], want[mask.bool()],
                               atol=1e-5, rtol=1e-4)
    again = load_pretrained(BERTForTokenClassification, tmp_path, strict=True)
    assert torch.equal(again(ids, mask, types), ours(ids, mask, types))


def small_loader(batch_size=7, shuffle=False, count=23, seed=0):
    sentences, tags = tagged(count, seed, longest=8)
    dataset = TaggingDataset(sentences, tags, tokenizer(), max_length=16)
    return make_loader(dataset, batch_size, shuffle)


def test_loss_is_the_mean_over_tags_whatever_the_batches(config):
    model = BERTForTokenClassification(config, num_labels=3).eval()
    (batch,) = small_loader(count=9, batch_size=99)
    logits = model(batch["input_ids"], batch["attention_mask"])
    want = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
    torch.testing.assert_close(compute_tagging_loss(model, batch), want)
    counts = count_labels(batch)
    parts = [compute_tagging_loss(model, part, counts) for part in small_loader(2, count=9)]
    torch.testing.assert_close(sum(parts), want)
    assert mean_loss(compute_tagging_loss, model, small_loader(2, count=9)) == pytest.approx(
        want.item(), abs=1e-5)
    batch["labels"][:] = -100
    assert compute_tagging_loss(model, batch) == 0
    batch["labels"][0, 1] = 3
    with pytest.raises(DataError, match="a label is 3; the model has 3 classes"):
        compute_tagging_loss(model, batch)


def test_the_step_on_an_accelerator_mixes_no_devices_and_never_waits(config):
    model = BERTForTokenClassification(config, num_labels=3).to("meta")
    (batch,) = small_loader(count=4)
    compute_tagging_loss(model, batch).backward()
    assert all(p.grad.device.type == "meta" for p in model.parameters())


def test_the_tagger_has_dropout_and_no_pooler(config):
    model = BERTForTokenClassification(config.replace(classifier_dropout=0.4), num_labels=5)
    assert model.dropout.p == 0.4 and model.bert.pooler is None
    assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert model.config.num_labels == 5


def test_logits_of_a_loader_come_row_by_row_without_padding(config):
    model = BERTForTokenClassification(config, num_labels=3).train()
    model.bert.eval()
    rows = predict_token_logits(model, small_loader(), "cpu")
    assert model.training and not model.bert.training
    dataset = small_loader().dataset
    assert [row.shape for row in rows] == [(length, 3) for length in dataset.lengths]
    alone = predict_token_logits(model, small_loader(batch_size=1), "cpu")
    for one, other in zip(rows, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(DataError, match="no row"):
        predict_token_logits(model, [], "cpu")
    with pytest.raises(DataError, match="a batch holds input_ids; expected attention_mask too"):
        predict_token_logits(model, [{"input_ids": torch.ones(1, 2).long()}], "cpu")


def test_a_tagger_learns(config):
    """From words to tags and back: what the rows teach is what comes out for each word."""
    config = config.replace(vocab_size=tokenizer().vocab_size, hidden_dropout_prob=0.0)
    model = BERTForTokenClassification(config, num_labels=3)
    loader = small_loader(8, shuffle=True, count=40)
    Trainer(model, TrainingArguments(learning_rate=3e-3, num_train_epochs=25),
            compute_tagging_loss, loader).train()
    dataset = small_loader(count=40).dataset
    logits = dataset.word_values(predict_token_logits(model, small_loader(count=40), "cpu"))
    found = np.concatenate([words.argmax(1) for words in logits])
    assert (found == dataset.tags).mean() > 0.95
