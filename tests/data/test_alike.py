"""Names of classes that are one name written in two ways."""

import json
import unicodedata

import pytest

from bert_kit.data import check_names, like, parts_from_lists, read_parts
from bert_kit.errors import DataError


@pytest.mark.parametrize("one, other", [
    ("caf\u00e9", "cafe\u0301"), ("a b", "a\u00a0b"), ("a b", "a  b"), ("x", "x\u200b"),
    ("x", "\ufeffx"), ("x", "x\u00ad"), ("\uac00", unicodedata.normalize("NFD", "\uac00"))])
def test_names_that_look_the_same_are_refused_with_their_row(tmp_path, one, other):
    with pytest.raises(DataError, match="look the same; expected one way to write a name"):
        check_names([one, "z", other])
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {row}", "category": [one, other][row % 2]})
                            + "\n" for row in range(30)))
    with pytest.raises(DataError, match=r"a.jsonl line [12]: '.*' look the same") as caught:
        read_parts(path)
    assert str(caught.value).isascii()  # else nobody sees what differs


@pytest.mark.parametrize("names", [("pos", "Pos"), ("1", "1.0"), ("1", "01"), ("True", "true"),
                                   ("1", "True"), ("False", "0"), ("pos", "'pos'"),
                                   ("stra\u00dfe", "STRASSE"), ("a", "\uff41"), ("1", "\uff11")])
def test_names_that_may_be_one_are_told(names):
    line = check_names([*names, "other"])
    assert line == (f"{names[0]!r} and {names[1]!r} are two names: write them alike if one is "
                    "meant")
    parts = parts_from_lists([f"text {row}" for row in range(30)],
                             [names[row % 2] for row in range(30)])
    assert parts.note and len(parts.classes) == 2  # they stay what they are


@pytest.mark.parametrize("name", ["nan", "None", "<NA>", "n/a"])
def test_a_name_for_nothing_is_told(name):
    assert check_names(["a", name, "b"]).startswith(f"{name!r} is a name like others: leave")
    assert not check_names(["nana", "nothing", "no"])


def test_names_that_differ():
    # A joiner changes letters in Persian and Indic scripts; the sign is the minus of mathematics.
    assert not check_names(["-1", "1", "+", "-", "1.5", "15", "a", "\u00e4", "\u2212",
                            "\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u062e", "1_0", "10", "ab"])
    assert check_names([]) == like("a", ["b"]) == ""


def test_a_hint_shows_what_cannot_be_seen():
    assert like("POS", ["neg", "pos"]) == " (is it 'pos'?)"
    assert like("cafe\u0301", ["caf\u00e9"]) == r" (is it 'caf\xe9'?)"
