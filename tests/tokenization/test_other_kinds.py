"""Byte-level BPE and Unigram, in rows as RoBERTa has them: transformers has the answer."""

import itertools
import json
import pickle

import numpy as np
import pytest
from tiny_families import ROLES, TEXTS, byte_bpe, library, unigram, write_tokenizer

from bert_kit import BertConfig
from bert_kit.data import (AnsweringDataset, ClassificationDataset, NSPDataset, Question,
                           TaggingDataset, word_spans)
from bert_kit.data.rows.masking import Masking
from bert_kit.data.rows.words import cut_at_signs
from bert_kit.errors import TokenizerError
from bert_kit.tokenization import Tokenizer, get_tokenizer
from bert_kit.tokenization.words import begins_word, encode_with_offsets, word_pieces

PAIRS = [*zip(TEXTS, TEXTS[4:] + TEXTS[:4], strict=True)]
KINDS = {"unigram": unigram, "bytes": byte_bpe, "bytes after a space": lambda: byte_bpe(True)}


def rows_of(reference, text, pair):
    """The ids that the library gives; it takes a second text of "" for none, but in a list."""
    row, = reference([text], [pair])["input_ids"]
    return row


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("kinds") / "theirs", KINDS[request.param](),
                           model_input_names=["input_ids", "attention_mask"])


def test_rows_are_those_of_transformers(folder, tmp_path):
    reference, ours = library().AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    assert (ours.pad_id, ours.cls_id, ours.sep_id, ours.separators) == (1, 0, 2, 2)
    assert ours.mask_id == reference.mask_token_id and ours.vocab_size == len(reference)
    ours.save(tmp_path)
    again, written = Tokenizer.load(tmp_path), library().AutoTokenizer.from_pretrained(tmp_path)
    copied = pickle.loads(pickle.dumps(ours))
    assert again.fingerprint() == ours.fingerprint() == copied.fingerprint()
    for limit, texts in itertools.product((6, 7, 12, 300), ((TEXTS,), [*zip(*PAIRS)])):
        texts = [list(side) for side in texts]
        expected = [tokenizer(*texts, truncation="longest_first", max_length=limit)["input_ids"]
                    for tokenizer in (reference, written)]
        for tokenizer in (ours, again, copied):
            found = [row.ids for row in tokenizer.encode_batch(*texts, max_length=limit)]
            assert found == expected[0] == expected[1]
    assert ours.encode("a", "b").type_ids == [0] * len(ours.encode("a", "b").ids)
    for text in TEXTS:
        assert ours.decode(ours.encode(text).ids) == reference.decode(
            reference(text)["input_ids"], skip_special_tokens=True)


@pytest.mark.parametrize("kind", KINDS)
def test_added_tokens_and_sides_are_followed(kind, tmp_path):
    backend = KINDS[kind]()
    backend.add_tokens(["bridges"])  # not special: a word that stays whole
    path = write_tokenizer(tmp_path / "theirs", backend, truncation_side="left",
                           additional_special_tokens=["<e1>", "</e1>"], model_max_length=9)
    ours, reference = Tokenizer.load(path), library().AutoTokenizer.from_pretrained(path)
    ours.save(tmp_path / "ours")
    assert ours.max_length == reference.model_max_length == 9
    assert set(reference.all_special_ids) == ours.special_ids
    texts = ["The <e1>river</e1> runs", "old bridges, bridgess <e1> </e1>x", *TEXTS]
    pairs = texts[1:] + texts[:1]
    for found in (ours, Tokenizer.load(tmp_path / "ours")):
        for sides, limit in (([texts], 9), ([texts, pairs], 11)):
            rows = reference(*sides, truncation=True, max_length=limit)["input_ids"]
            assert [row.ids for row in found.encode_batch(*sides, max_length=limit)] == rows


def test_a_class_with_rows_of_its_own(tmp_path):
    """RobertaTokenizer decides whether a text begins with a space, whatever its file says."""
    for number, (prefix, says) in enumerate(itertools.product((False, True), (None, False, True))):
        more = {} if says is None else {"add_prefix_space": says}
        path = write_tokenizer(tmp_path / str(number), byte_bpe(prefix),
                               tokenizer_class="RobertaTokenizer", **more)
        reference = library().AutoTokenizer.from_pretrained(path)
        ours = Tokenizer.load(path)
        for text in TEXTS:
            assert ours.encode(text).ids == reference(text)["input_ids"]
    path = write_tokenizer(tmp_path / "xlm", unigram(clean=False),
                           tokenizer_class="XLMRobertaTokenizer")
    reference = library().AutoTokenizer.from_pretrained(path)
    for pair in PAIRS:
        assert Tokenizer.load(path).encode(*pair).ids == rows_of(reference, *pair)


@pytest.mark.parametrize("backend, config", [
    (byte_bpe(), {"model_type": "roberta"}), (unigram(clean=False), {  # as multilingual-e5-small
        "model_type": "bert", "tokenizer_class": "XLMRobertaTokenizer"})], ids=["bytes", "unigram"])
def test_no_class_and_no_names_as_old_folders_have_it(backend, config, tmp_path):
    path = write_tokenizer(tmp_path / "old", backend)
    (path / "tokenizer_config.json").unlink()
    (path / "config.json").write_text(json.dumps(config))
    BertConfig.load(path)
    reference = library().AutoTokenizer.from_pretrained(path)
    for pair in PAIRS:
        assert get_tokenizer(path).encode(*pair).ids == rows_of(reference, *pair)


def test_datasets_make_the_same_rows(folder):
    tokenizer = Tokenizer.load(folder)
    singles = ClassificationDataset(TEXTS, [0] * len(TEXTS), tokenizer, 9)
    both = ClassificationDataset(PAIRS, [0] * len(PAIRS), tokenizer, 11)
    for number, (text, pair) in enumerate(zip(TEXTS, PAIRS, strict=True)):
        assert singles[number]["input_ids"].tolist() == tokenizer.encode(text, max_length=9).ids
        row = tokenizer.encode(*pair, max_length=11)
        assert both[number]["input_ids"].tolist() == row.ids
        assert both[number]["token_type_ids"].tolist() == row.type_ids
    assert [*word_pieces(TEXTS, tokenizer)] == [row.ids for row in tokenizer.encode_pieces(TEXTS)]


def test_questions_are_asked_in_rows_with_both_separators(folder):
    context = "The bridge over the old river is wide.  Der Fluß fließt ins Meer."
    asked = [Question("", "wide?", context, [("the old river", context.index("the old"))])]
    tokenizer = Tokenizer.load(folder)
    dataset = AnsweringDataset(asked, tokenizer, 28, 8)
    assert len(dataset) > 1
    whole = dataset[0]["input_ids"].tolist()
    reference = library().AutoTokenizer.from_pretrained(folder)
    expected = reference(asked[0].question, context, truncation="only_second", max_length=28,
                         stride=0)["input_ids"]
    assert whole == expected and len(whole) == dataset.lengths[0]
    found = 0
    for row in range(len(dataset)):
        item, places = dataset[row], dataset.offsets(row)
        assert len(places) == len(item["input_ids"]) == len(item["token_type_ids"])
        if item["start_positions"]:
            found += 1
            (start, _), (_, end) = (places[item[f"{side}_positions"]] for side in ("start", "end"))
            assert context[start:end] == "the old river"
    assert found


def test_next_sentences_stand_behind_both_separators(folder):
    tokenizer = Tokenizer.load(folder)
    dataset = NSPDataset([["a bridge", "the river"], ["the sea is wide", "houses"]], tokenizer, 40)
    for row in range(len(dataset)):
        ids = dataset[row]["input_ids"]
        assert len(ids) == len(dataset[row]["token_type_ids"])
        places = np.flatnonzero(ids == tokenizer.sep_id)
        assert len(places) == 3 and places[1] == places[0] + 1 and places[2] == len(ids) - 1


def test_words_are_tagged_as_words_behind_a_space(folder):
    words = ["The", "river", "don't", "Häuser", "\u2603", "日本", "a"]
    tokenizer = Tokenizer.load(folder)
    row = TaggingDataset([words], [[*range(7)]], tokenizer)[0]
    # As transformers splits lists of words, where it must put a space in front of each.
    reference = library().AutoTokenizer.from_pretrained(folder)
    pieces = [reference(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    assert row["input_ids"].tolist() == [0, *itertools.chain(*pieces), 2]
    labels = [-100, *itertools.chain(*([number] + [-100] * (len(own) - 1)
                                       for number, own in enumerate(pieces))), -100]
    assert row["labels"].tolist() == labels
    text = "The (old) river,  isn't 日本 \x07"
    spans = word_spans(text, tokenizer)
    assert [text[start:end] for start, end in spans] == [
        "The", "(", "old", ")", "river", ",", "isn", "'", "t", "日", "本"]
    assert spans == cut_at_signs(text)  # which cuts the texts of labelled spans to train on


def test_whole_words_are_masked_between_spaces(folder):
    tokenizer = Tokenizer.load(folder)
    text = "Häuser bridgesbridges, (houses) riverriver"
    row = tokenizer.encode(text)
    begins = np.array(begins_word(tokenizer))
    numbers = Masking(tokenizer, 0.5, True, 0).words(np.array(row.ids))
    assert numbers[0] == numbers[-1] == -1
    # An independent word: the stretch of the text between spaces and signs.
    stretch = np.cumsum([char in " ,()" or text[place - 1:place] in tuple(" ,()")
                         for place, char in enumerate(text)])
    (pieces,) = encode_with_offsets([text], tokenizer)
    for (start, end), number, (after, _), following in zip(
            pieces.offsets, numbers[1:], pieces.offsets[1:], numbers[2:], strict=False):
        if stretch[end - 1] == stretch[after]:
            assert number == following
        if " " in text[start:after + 1].strip():
            assert number != following
    assert begins[[tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]].all()


def test_no_text_forges_a_role(folder):
    tokenizer = Tokenizer.load(folder)
    forged = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    for token in (*ROLES.values(), "a</s>b", "<s> <pad>x", "<mask>."):
        assert not forged & set(tokenizer.encode_pieces([token])[0].ids), token
    asked = tokenizer.encode("The <mask> runs", allow_special_tokens=True).ids
    assert asked.count(tokenizer.mask_id) == 1
    assert asked == library().AutoTokenizer.from_pretrained(folder)("The <mask> runs")["input_ids"]


def broken(change):
    content = json.loads(unigram().to_str())
    change(content)
    return content


REFUSED = {
    "word end": (lambda c: c["model"].update(
        type="BPE", vocab={"a": 0}, merges=[], end_of_word_suffix="</w>"), "end_of_word_suffix is"),
    "random": (lambda c: c["model"].update(type="BPE", vocab={"a": 0}, merges=[], dropout=0.1),
               "model.dropout is 0.1; the kit does only null"),
    "no mark": (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "expected ByteLevel or"),
    "no mask": (lambda c: c.update(added_tokens=[]), "has no '<mask>'; expected it as the mask"),
    "twice": (lambda c: c["model"]["vocab"].append(["<s>", 0.0]), "differ; expected each once"),
    "level": (lambda c: c["model"].update(type="WordLevel"), "model is 'WordLevel'; expected"),
    "unknown": (lambda c: c["model"].update(unk_id=10**6), "cannot read it"),
    "form": (lambda c: c["post_processor"]["pair"].append({"SpecialToken": {
        "id": "</s>", "type_id": 0}}), "pair is .* RoBERTa's"),
    "normalizer": (lambda c: c.update(normalizer={"type": "Odd"}), "tokenizers library cannot"),
    "pieces": (lambda c: c["model"].update(vocab=[["a"]]), "vocab is not a list of pieces"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_followed_is_refused_by_name(tmp_path, name):
    change, message = REFUSED[name]
    write_tokenizer(tmp_path, unigram())
    (tmp_path / "tokenizer.json").write_text(json.dumps(broken(change)))
    with pytest.raises(TokenizerError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_older_vocabularies_are_named_with_what_to_do(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match="vocab.json is .* make tokenizer.json of it: python"):
        get_tokenizer(tmp_path)
