"""Every key of a tokenizer's files is followed, or refused by name: transformers has the answer."""

import contextlib
import copy
import inspect
import itertools
import json
import random
import re
import warnings
from functools import partial

import pytest
from tiny_texts import json_of
from tokenizers import AddedToken, processors
from tokenizers import Tokenizer as Backend

from bert_kit.data import ClassificationDataset
from bert_kit.data.rows.scored_pairs import SimilarityDataset
from bert_kit.errors import BertKitError, TokenizerError
from bert_kit.tokenization import Tokenizer, train_tokenizer
from bert_kit.tokenization.keys import (ADDED_TOKEN, SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG,
                                        TOKENIZER_JSON)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *"abcdehugs<>/1[]!", *("##" + c for c in "abcdehugs1"), "hug", "good"]
CONFIG = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
TEXTS = ["a <e1>hug</e1> good", "good <E1> [SEP] [CLS] [unused1]", "hughug<e1>", "a" * 60, "[a]"]


@pytest.fixture(scope="session")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers")


tokenizer_json = partial(json_of, PIECES)


def folder(path, config=None, content=None, **files):
    """Write a folder: tokenizer.json where there is content for it, else vocab.txt."""
    path.mkdir(exist_ok=True)
    if content is None:
        (path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    else:
        (path / "tokenizer.json").write_text(json.dumps(content))
    files = {"tokenizer_config": {**CONFIG, **(config or {})}, "config": {"model_type": "bert"},
             **files}
    for name, value in files.items():
        (path / f"{name}.json").write_text(json.dumps(value))
    return path


def template(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ids=(2, 3)):
    backend = Backend.from_str(Tokenizer(PIECES).backend.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=list(zip(("[CLS]", "[SEP]"), ids, strict=True)))
    return json.loads(backend.to_str())


MARKERS = [{"id": 33 + number, "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": True}
           for number, content in enumerate(("<e1>", "</e1>"))]

# What a folder says, which changes a row or a number.
FOLLOWED = {
    "extra special tokens": {"config": {"additional_special_tokens": ["<e1>", "</e1>"]}},
    "extra special tokens by name": {"config": {"extra_special_tokens": {"marker": "<e1>"}}},
    "bos": {"config": {"bos_token": "<e1>", "eos_token": "</e1>"}},
    "a piece that is made special": {"config": {"additional_special_tokens": ["hug"]}},
    "special_tokens_map": {"special_tokens_map": {"additional_special_tokens": ["<e1>"]}},
    "added_tokens": {"added_tokens": {"<e1>": len(PIECES), "</e1>": len(PIECES) + 1}},
    "decoder": {"config": {"added_tokens_decoder": {
        str(len(PIECES)): {"content": "<e1>", "special": True},
        str(len(PIECES) + 1): {"content": "huge", "single_word": True, "normalized": True}}}},
    "the text of specials": {"config": {"additional_special_tokens": ["<e1>"],
                                        "split_special_tokens": True}},
    "left": {"config": {"truncation_side": "left"}},
    "left in tokenizer.json": {"content": tokenizer_json(truncation={
        "direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0})},
    "no segments": {"config": {"model_input_names": ["input_ids", "attention_mask"]}},
    "a class without segments": {"config": {"tokenizer_class": "DistilBertTokenizer"}},
    "template": {"content": template()},
    # transformers 5 puts its own template in its place for a BertTokenizer; 4 does not.
    "template without segments": {"content": template(pair="[CLS] $A [SEP] $B:0 [SEP]:0"),
                                  "config": {"tokenizer_class": "TokenizersBackend",
                                             "model_input_names": ["input_ids", "token_type_ids"]}},
    "RoBERTa's rows": {"content": template(pair="[CLS] $A [SEP] [SEP] $B [SEP]"),
                       "config": {"tokenizer_class": "TokenizersBackend"}},
    "max_len": {"config": {"max_len": 7}},
    # A class that is nothing but its file cleans as the file says.
    "cleaning beside a bare class": {
        "content": tokenizer_json(normalizer__lowercase=False),
        "config": {"tokenizer_class": "PreTrainedTokenizerFast", "strip_accents": True,
                   "model_input_names": ["input_ids", "token_type_ids"]}},
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_rows_are_those_of_transformers(transformers, tmp_path, name):
    says = dict(FOLLOWED[name])
    path = folder(tmp_path / "theirs", says.pop("config", None), says.pop("content", None), **says)
    with contextlib.redirect_stderr(None):
        reference = transformers.AutoTokenizer.from_pretrained(path)
    ours = Tokenizer.load(path)
    ours.save(tmp_path / "ours")
    again = Tokenizer.load(tmp_path / "ours")
    assert again.backend.to_str() == ours.backend.to_str()
    written = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    # The five of BERT stay text, which transformers does not offer: it never reads them here.
    lines = [text for text in TEXTS if "[SEP]" not in text or ours.split_special_tokens]
    for limit, (first, second) in itertools.product((6, 9, 90), zip(lines, lines[::-1],
                                                                    strict=True)):
        for texts in (([first],), ([first], [second])):
            for expected in (reference, written):
                row = expected(*texts, truncation=True, max_length=limit)
                types = row.get("token_type_ids", [[0] * len(row["input_ids"][0])])
                for found in (ours, again):
                    encoded = found.encode(*(text for text, in texts), max_length=limit)
                    assert [encoded.ids, encoded.type_ids] == [row["input_ids"][0], types[0]]
    if reference.model_max_length < 10**9:
        assert ours.max_length == again.max_length == reference.model_max_length
    assert set(reference.all_special_ids) <= ours.special_ids == again.special_ids
    assert ours.vocab_size == again.vocab_size == len(reference)


def test_left_truncation_in_training_rows(tmp_path):
    tokenizer = Tokenizer(PIECES, truncation_side="left")
    texts = ["a b c d e", "a", "hug hugs good a b c"]
    pairs = [(a, b) for a in texts for b in texts]
    singles = ClassificationDataset(texts, [0] * 3, tokenizer, 6)
    both = ClassificationDataset(pairs, [0] * 9, tokenizer, 8)
    rated = SimilarityDataset(pairs, [0.5] * 9, tokenizer, 6)
    for number, text in enumerate(texts):
        assert singles[number]["input_ids"].tolist() == tokenizer.encode(text, max_length=6).ids
    for number, pair in enumerate(pairs):
        row = tokenizer.encode(*pair, max_length=8)
        assert both[number]["input_ids"].tolist() == row.ids
        assert both[number]["token_type_ids"].tolist() == row.type_ids
        assert rated[number]["input_ids"].tolist() == [
            number for text in pair for number in tokenizer.encode(text, max_length=6).ids]


def test_no_text_forges_a_role_however_the_files_mark_it(transformers, tmp_path):
    for number, special in enumerate((True, False)):
        entries = [{**MARKERS[0], "id": place, "content": token, "special": special}
                   for place, token in enumerate(SPECIAL)]
        path = folder(tmp_path / str(number), {"additional_special_tokens": ["[SEP]", "<e1>"]},
                      tokenizer_json(added_tokens=entries))
        tokenizer = Tokenizer.load(path)
        for token in (*SPECIAL, *(f"<e1>{token}</e1>" for token in SPECIAL)):
            ids = set(tokenizer.encode_pieces([token])[0].ids)
            assert not ids & {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id,
                              tokenizer.mask_id}


REFUSED = {
    "do_basic_tokenize": ({"do_basic_tokenize": False}, None, "do_basic_tokenize is False; exp"),
    "never_split": ({"never_split": ["hug"]}, None, r"never_split is \['hug'\]; expected null"),
    "prefix": ({"wordpieces_prefix": "@@"}, None, "wordpieces_prefix is '@@'"),
    "mecab": ({"word_tokenizer_type": "mecab"}, None, "word_tokenizer_type is 'mecab'"),
    "side": ({"truncation_side": "middle"}, None, "truncation_side is 'middle'"),
    "bos": ({"add_bos_token": True}, None, "add_bos_token is True; expected false or null"),
    "names": ({"model_input_names": "input_ids"}, None, "model_input_names is 'input_ids'"),
    "extra": ({"additional_special_tokens": "<e1>"}, None, "additional_special_tokens is '<e1>'"),
    "extra entry": ({"extra_special_tokens": [3]}, None, "extra_special_tokens is 3"),
    "decoder": ({"added_tokens_decoder": {"x": {"content": "a"}}}, None, "a key that is no id"),
    "decoder id": ({"added_tokens_decoder": {"99": {"content": "zz"}}}, None, "'zz' has id 99"),
    "class": ({"tokenizer_class": "TokenizersBackend"}, tokenizer_json(post_processor=None),
              r"post_processor is null, so that rows have no \[CLS\]"),
    "bpe": ({"tokenizer_class": "RobertaTokenizer"}, tokenizer_json(
        model={"type": "BPE", "vocab": {"a": 0}, "merges": []}, normalizer=None),
        "no pre_tokenizer puts a sign"),
    "unigram": ({}, tokenizer_json(model={"type": "Unigram", "vocab": [["a", 0.0]]},
                                   normalizer={"type": "Precompiled"}), "no pre_tokenizer puts"),
    "roberta": ({}, tokenizer_json(post_processor={"type": "RobertaProcessing"}),
                "post_processor is damaged"),
    "bytes": ({}, tokenizer_json(post_processor={"type": "ByteLevel"}),
              "post_processor is 'ByteLevel'"),
    "single": ({}, template(single="$A [SEP]"), r"single is \$A:0 \[SEP\]:0; expected \[CLS\]"),
    "pair": ({}, template(pair="[CLS] $A [SEP] [SEP] [SEP] $B [SEP]"), "pair is"),
    "ids": ({}, template(ids=(2, 9)), "puts .* around a text; expected '.SEP.', the sep token"),
    "names another": ({"cls_token": "[MASK]"}, template(), "expected '.MASK.', the cls token"),
    "broken": ({}, tokenizer_json(post_processor={"type": "BertProcessing", "cls": 3}), "damaged"),
    "top": ({}, tokenizer_json(reverse=True), "reverse is not known"),
    "model": ({}, tokenizer_json(model__dropout=0.1), "model.dropout is not known"),
    "normalizer": ({}, tokenizer_json(normalizer__form="NFC"), "normalizer.form is not known"),
    "version": ({}, tokenizer_json(version="2.0"), "version is '2.0'; expected '1.0' or null"),
    "word": ({}, tokenizer_json(model__max_input_chars_per_word=0), "max_input_chars_per_word"),
    "flag": ({}, tokenizer_json(added_tokens=[{**MARKERS[0], "id": 33, "regex": True}]),
             "regex is not known"),
    "flags": ({}, tokenizer_json(added_tokens=[{**MARKERS[0], "id": 33, "lstrip": "yes"}]),
              "added token '<e1>' is none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_followed_is_refused_by_name(tmp_path, name):
    config, content, message = REFUSED[name]
    path = folder(tmp_path / "model", config, content)
    with pytest.raises(TokenizerError, match=message) as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_class_may_stand_in_config(tmp_path):
    path = folder(tmp_path / "model", {"tokenizer_class": None})
    (path / "config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    with pytest.raises(TokenizerError, match="belongs to a BertJapaneseTokenizer"):
        Tokenizer.load(path)


def test_a_class_in_config_decides_the_segments_too(transformers, tmp_path):
    path = folder(tmp_path / "model")
    (path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    (path / "config.json").write_text(json.dumps({
        "model_type": "bert", "tokenizer_class": "DistilBertTokenizer"}))
    row = transformers.AutoTokenizer.from_pretrained(path)("hug", "good a")
    assert "token_type_ids" not in row
    assert Tokenizer.load(path).encode("hug", "good a").type_ids == [0] * len(row["input_ids"])


def test_cleaning_and_longest_word_of_tokenizer_json(tmp_path):
    """The library itself reads the file; transformers drops these in its BertTokenizer."""
    content = tokenizer_json(normalizer__clean_text=False, model__max_input_chars_per_word=4)
    content = json.loads(json.dumps(content).replace("[UNK]", "<unk>"))
    path = folder(tmp_path / "model", {}, content)
    reference = Backend.from_str(json.dumps(content))
    ours = Tokenizer.load(path)
    ours.save(tmp_path / "again")
    for text in ("a\x01b", "hugs hugss", "é?"):
        for found in (ours, Tokenizer.load(tmp_path / "again")):
            assert found.encode(text).ids == reference.encode(text).ids


def test_a_key_nobody_knows_is_named(tmp_path):
    path = folder(tmp_path / "model", {"reads_backwards": True, "off": False})
    with pytest.warns(UserWarning, match="tokenizer_config.json: reads_backwards is not known"):
        Tokenizer.load(path)


@pytest.mark.parametrize("lines", [["a", "", "b"], ["hug", "a", "b", "hug"], ["a", "", "b", ""],
                                   ["[CLS]", "a", "b"], ["hug  ", "a\t", "b", " "]])
def test_empty_and_repeated_lines_as_transformers(transformers, tmp_path, lines):
    pieces = [*SPECIAL, *lines, "##g", "hu"]
    path = folder(tmp_path / "model")
    (path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    reference = transformers.BertTokenizer.from_pretrained(path)
    repeats = len(set(lines) | set(SPECIAL)) < len(lines) + len(SPECIAL)
    with pytest.warns(UserWarning, match="line .* repeats") if repeats else (
            contextlib.nullcontext()):
        ours = Tokenizer.load(path)
    for text in ("hug a b", "hugs [CLS]a", ""):
        row = reference(text)["input_ids"]
        if "[CLS]" not in text:
            assert ours.encode(text).ids == row
    assert ours.vocab_size == len(pieces)


# ---- the lists ----------------------------------------------------------------------------------

def test_the_lists_name_every_key_of_transformers(transformers, tmp_path):
    """Every key that its code takes from a tokenizer's files."""
    base = transformers.tokenization_utils_base.PreTrainedTokenizerBase
    backend = transformers.TokenizersBackend
    code = "\n".join(map(inspect.getsource, (base.__init__, base._from_pretrained,
                                             backend.__init__)))
    keys = set(re.findall(r"kwargs(?:\.pop|\.get|\.setdefault)?[(\[]\s*\"(\w+)\"", code))
    keys |= set(inspect.signature(transformers.BertTokenizer.__init__).parameters)
    keys |= set(base.SPECIAL_TOKENS_ATTRIBUTES)
    inside = {"self", "kwargs", "vocab", "merges", "tokenizer_object", "_json_truncation",
              "_json_padding", "_spm_precompiled_charsmap", "post_processor", "tokenizer",
              "tokenizer_truncation", "tokenizer_padding", "unk_id"}
    assert len(keys) > 30
    assert keys - inside - set(TOKENIZER_CONFIG) == set()
    reference = transformers.BertTokenizer({piece: i for i, piece in enumerate(PIECES)})
    reference.add_special_tokens({"additional_special_tokens": ["<e1>"]})
    reference.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert set(saved) <= set(TOKENIZER_CONFIG)
    assert set(base.SPECIAL_TOKENS_ATTRIBUTES) <= set(SPECIAL_TOKENS_MAP)


def test_the_lists_name_every_key_of_tokenizers():
    tokenizer = Backend.from_str(Tokenizer(PIECES).backend.to_str())
    tokenizer.enable_truncation(5, direction="left")
    tokenizer.enable_padding()
    content = json.loads(tokenizer.to_str())
    keys = set(content)
    for name in ("truncation", "normalizer", "pre_tokenizer", "model"):
        keys |= {f"{name}.{key}" for key in content[name]}
    assert keys == set(TOKENIZER_JSON)
    assert set(content["added_tokens"][0]) == set(ADDED_TOKEN) - {"__type"}
    assert set(AddedToken("x").__getstate__()) <= set(ADDED_TOKEN)


# ---- a vocabulary alone -------------------------------------------------------------------------

LATIN = [*"abcdefghijklmnopqrstuvwxyz", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz")]
CAPITALS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
GUESSES = {
    "Chinese, as Google's": (["<S>", "<T>", "[unused1]", *LATIN, *"苹果日本のか"], True, None),
    "Chinese, some capitals added": (["<S>", *LATIN, *"苹果", "NBA", "T恤"], True, None),
    "Chinese, cased": (["<S>", *LATIN, *CAPITALS, *"苹果"], False, None),
    "Hindi": ([*LATIN, "क", "के", "##े", "में", "म"], True, False),
    "Japanese": (["か", "が", "##が", "き", "ぎ"], True, False),
    "German, accents kept": ([*LATIN, *"äöü", "schön", "straße"], True, False),
    "English, one stray accent": ([*LATIN, *(f"{a}{b}" for a in "abcdef" for b in "abcdefgh"),
                                   "café"], True, None),
    "English, cased": ([*LATIN, *CAPITALS, "The", "the"], False, None),
}


@pytest.mark.parametrize("name", GUESSES)
def test_case_and_accents_of_a_vocabulary_alone(tmp_path, name):
    pieces, lowercase, strips = GUESSES[name]
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *pieces]) + "\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="no file sets do_lower_case; taken as .* since") as caught:
        normalizer = Tokenizer.load(tmp_path).backend.normalizer
    assert (normalizer.lowercase, normalizer.strip_accents) == (lowercase, strips)
    # What the warning says decides.
    said = str(caught[0].message)
    assert len(caught) == 1 and str(tmp_path / "tokenizer_config.json") in said
    (tmp_path / "tokenizer_config.json").write_text(said[said.index("{"):])
    normalizer = Tokenizer.load(tmp_path).backend.normalizer
    assert normalizer.lowercase is not lowercase


def test_a_learned_tokenizer_keeps_case_and_accents_on_request(tmp_path):
    texts = ["Schön schon かぎ かき की के कि Ab ab"]
    for lowercase in (True, False):
        for strips in (True, False, None):
            tokenizer = train_tokenizer(texts, 200, 1, lowercase, strips)
            tokenizer.save(tmp_path)
            for found in (tokenizer, Tokenizer.load(tmp_path)):
                def same(a, b, tokenizer=found):
                    return tokenizer.encode(a).ids == tokenizer.encode(b).ids
                drops = lowercase if strips is None else strips
                assert same("Ab", "ab") is lowercase
                assert same("schön", "schon") is drops and same("かぎ", "かき") is drops
                assert not same("की", "कि") and found.unk_id not in found.encode(texts[0]).ids


SOME = 200  # of 3,210 places and values
JUNK = [None, True, 3, -1, 1.5, "", "x", [], [3], [[]], {}, {"a": 1}, {"content": []},
        {"id": "x"}, ["x", None]]


def places_of(value, path=()):
    """Yield the path of every value inside a JSON value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, inner in items:
        yield from places_of(inner, (*path, key))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_value_in_any_place_loads_or_is_one_line(tmp_path):
    content = template()
    content["truncation"] = {"direction": "Left", "max_length": 9, "stride": 0}
    good = {"tokenizer": content, "special_tokens_map": {"bos_token": "<e1>"},
            "tokenizer_config": {**CONFIG, "added_tokens_decoder": {
                str(len(PIECES)): {**MARKERS[0], "id": len(PIECES)}}},
            "added_tokens": {"<e1>": len(PIECES)}, "config": {"tokenizer_class": None}}
    places = [("tokenizer_config", (key,)) for key in TOKENIZER_CONFIG] + [
        (name, path) for name, value in good.items() for path in places_of(value)
        if "vocab" not in path[:-1]]
    outcomes = set()
    for (name, path), junk in random.Random(0).sample([*itertools.product(places, JUNK)], SOME):
        bad = copy.deepcopy(good)
        if name == "added_tokens":
            del bad["tokenizer_config"]["added_tokens_decoder"]
        place = bad[name]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = junk
        for file, written in bad.items():
            (tmp_path / f"{file}.json").write_text(json.dumps(written))
        outcomes.add(outcome(tmp_path))
    assert outcomes == {"Tokenizer", "error"}


def outcome(path):
    try:
        return type(Tokenizer.load(path)).__name__
    except BertKitError as error:
        assert "\n" not in str(error) and len(str(error)) < 1_000
        return "error"
