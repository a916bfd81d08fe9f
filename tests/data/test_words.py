"""Words of a running text are those of the training file, by hand."""

import pytest

from bert_kit.data import WordCut, learn_cut, word_spans
from bert_kit.tokenization import train_tokenizer

TOKENIZER = train_tokenizer(["abcdefghijklmnopqrstuvwxyz 0123456789 .,-'%()!/$ 北京"], 200, 1)
CONLL = ["the", "u.s.", "new-york", "3.5%", "10%", "'s", "'s", "'ll", "o'neil", ".", "...", "--",
         "$5", "(", ")", ",", "ph.d.", "ac/dc", "-"]
CUT = WordCut("%-./", "-.")


def test_signs_of_training_words():
    assert learn_cut(CONLL) == CUT
    assert learn_cut([]) == learn_cut(["plain", "words", ".", "..."]) == WordCut()
    # Often at the beginning: cut there, as in "john's".
    assert learn_cut(["'s", "'s", "o'neil"]).joined == ""
    assert learn_cut(["'s", "o'neil", "o'neil"]).joined == "'"


@pytest.mark.parametrize("text, words", [
    ("the u.s. .", "the|u.s.|."),
    ("In the U.S., at New-York!", "In|the|U.S.|,|at|New-York|!"),
    ("(London.)", "(|London|.|)"),
    ("It costs 3.5%.", "It|costs|3.5%|."),
    ("It is 3.5. A Ph.D. of 10%", "It|is|3.5|.|A|Ph.D.|of|10%"),
    ("John's AC/DC", "John|'|s|AC/DC"),
    ("end -- and -", "end|-|-|and|-"),
    ("well-known.", "well-known|."),
    ("北京u.s.", "北|京|u.s."), ("", ""), (" \x07", ""), ("...", ".|.|."), (".", ".")])
def test_running_text_as_in_training(text, words):
    found = [text[start:end] for start, end in word_spans(text, TOKENIZER, CUT)]
    assert "|".join(found) == words


def test_joining_never_loses_or_moves_a_character():
    text = "a.b-c. (d/e)' u.s.-based, 3.5%. é.é x..y"
    plain, joined = (word_spans(text, TOKENIZER, cut) for cut in (WordCut(), CUT))
    covered = [{place for span in spans for place in range(*span)} for spans in (plain, joined)]
    assert covered[0] == covered[1] == {i for i, c in enumerate(text) if c != " "}
    assert joined == sorted(joined) and len(joined) < len(plain)


def test_without_signs_it_is_berts_own_cut():
    text = "the u.s. of a-b"
    assert word_spans(text, TOKENIZER) == word_spans(text, TOKENIZER, WordCut("", "."))
    assert [text[start:end] for start, end in word_spans(text, TOKENIZER)] == [
        "the", "u", ".", "s", ".", "of", "a", "-", "b"]
