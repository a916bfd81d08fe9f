"""Files of labelling tools, in the forms of their documentation, against labels by hand."""

import json
import random

import pytest

from bert_kit import ConfigError, DataError
from bert_kit.data import (LabelList, read_parts, read_table, read_tagged, stream_texts,
                           word_spans)
from bert_kit.data.read.spans import TextSpan, tag_words
from bert_kit.data.rows.words import cut_at_signs
from bert_kit.evaluation.scores.entities import find_entities
from bert_kit.tokenization import train_tokenizer

EMOJI = "👩🏻 met 💩 New York's mayor 😄"  # of four code points above U+FFFF
CITY = (EMOJI.index("New"), EMOJI.index("New") + 8)
TOKENIZER = train_tokenizer(["abc é 北 .,-'!"], 100, 1)


def write(path, rows):
    """Write a list for .json, else an object a line."""
    path.write_text(json.dumps(rows, indent=1) if path.suffix == ".json" else "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def units(text, place):
    """The place in UTF-16 units, as a browser counts."""
    return len(text[:place].encode("utf-16-le")) // 2


# ---- one text as each tool exports it

def annotation(*results, **more):
    return {"id": 7, "completed_by": 1, "was_cancelled": False, "ground_truth": False,
            "lead_time": 2.5, "result": [
                {"id": str(i), "from_name": name, "to_name": "text", "type": kind,
                 "origin": "manual", "value": value}
                for i, (name, kind, value) in enumerate(results)], **more}


def chosen(*names, name="topic"):
    return name, "choices", {"choices": list(names)}


def region(start, end, label, text=None, name="label"):
    shown = {} if text is None else {"text": text}
    return name, "labels", {"start": start, "end": end, "labels": [label], **shown}


def studio(text, *annotations):
    return {"id": 1, "data": {"text": text, "source": 3}, "annotations": list(annotations),
            "predictions": [], "project": 4, "created_at": "2021-03-09T21:52:49.513742Z"}


def of_label_studio(text, names, spans):
    if names is None and spans is None:
        return studio(text)
    results = [chosen(*names)] if names else []
    results += [region(a, b, label, text[a:b]) for a, b, label in spans or ()]
    return studio(text, annotation(*results))


def of_json_min(text, names, spans):
    row = {"text": text, "id": hash(text), "annotator": 1, "annotation_id": 5, "lead_time": 1.5,
           "created_at": "2021-03-09", "updated_at": "2021-03-09"}
    if names is None and spans is None:
        return {**row, "annotation_id": None}
    if names:
        row["topic"] = names[0] if len(names) == 1 else {"choices": names}
    if spans:
        row["label"] = [{"start": a, "end": b, "text": text[a:b], "labels": [label]}
                        for a, b, label in spans]
    return row


def of_prodigy(text, names, spans):
    row = {"text": text, "_input_hash": hash(text), "_task_hash": 2, "_session_id": None,
           "_view_id": "choice", "answer": "ignore" if names is spans is None else "accept"}
    if names is not None:
        row |= {"options": [{"id": "warm", "text": "Warm!"}], "accept": names}
    if spans is not None:
        row["tokens"] = [{"text": text, "start": 0, "end": len(text), "id": 0}]
        row["spans"] = [{"start": a, "end": b, "token_start": 0, "token_end": 0, "label": label}
                        for a, b, label in spans]
    return row


def of_doccano(text, names, spans):
    return {"id": 3, "text": text, "source": "x", "Comments": [],
            "label": names or [list(span) for span in spans or ()]}


TOOLS = {"Label Studio": (of_label_studio, "p.json"), "JSON-MIN": (of_json_min, "p.json"),
         "Prodigy": (of_prodigy, "p.jsonl"), "doccano": (of_doccano, "p.jsonl")}


@pytest.fixture(params=TOOLS)
def tool(request, tmp_path):
    """The name of a tool, and a function that writes (text, names, spans) as it does."""
    of_tool, name = TOOLS[request.param]
    return request.param, lambda rows: write(tmp_path / name, [of_tool(*row) for row in rows])


# ---- classes

def test_classes(tool):
    name, export = tool
    notes, column = [], "topic" if name == "JSON-MIN" else "category"
    path = export([("sun", ["warm"], None), ("ice", ["cold"], None), ("fog", None, None)])
    table = read_table(path, label_column=column, notes=notes)
    assert (table.texts, table.labels) == (["sun", "ice"], ["warm", "cold"])
    assert list(table.lines) == ([1, 2] if path.suffix == ".jsonl" else [2, table.lines[1]])
    why = "1 ignored" if name == "Prodigy" else "1 not labelled"
    assert f"1 text left out ({why})" in notes[-1]
    assert [*stream_texts(path)] == ["sun", "ice", "fog"]


def test_several_labels(tool):
    name, export = tool
    column = "topic" if name == "JSON-MIN" else "labels"
    path = export([("sun", ["warm", "light"], None), ("ice", ["cold"], None), ("fog", [], [])])
    table = read_table(path, label_column=LabelList(column))
    expected = [("light", "warm"), ("cold",), ()]
    # JSON-MIN has no key for what was not chosen; the others know a text without any.
    assert table.labels == expected[:2 if name == "JSON-MIN" else 3]
    with pytest.raises(DataError, match="line .*: '.*' has the labels light, warm; expected one "
                                        r"\(any number of labels a row is --task multi_label\)"):
        read_table(path, label_column="topic" if name == "JSON-MIN" else "category")
    left = []
    read_table(path, label_column="topic" if name == "JSON-MIN" else "category", bad_rows=left)
    assert len(left) == 1


def test_a_class_in_a_list_of_one(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": "a", "kind": ["x"]}, {"text": "b", "kind": ["y"]},
                                        {"text": "c", "kind": []}, {"text": "d", "kind": "z"}])
    notes = []
    assert read_table(path, label_column="kind", notes=notes).labels == ["x", "y", "z"]
    assert notes == ["a.jsonl: 1 text left out (1 not labelled)"]


def test_names_of_choices_are_not_guessed(tmp_path):
    rows = [studio("a", annotation(chosen("x"), chosen("p", name="mood"))),
            studio("b", annotation(chosen("y"))),
            studio("c", annotation(("rating", "rating", {"rating": 3}), chosen("y"), (
                "topic", "choices", {"start": 0, "end": 1, "choices": ["of a piece"]})))]
    path = write(tmp_path / "a.json", rows)
    with pytest.raises(DataError, match="Label Studio has classes under 'mood', 'topic'; expected "
                                        "--label_column to name one"):
        read_table(path)
    assert read_table(path, label_column="topic").labels == ["x", "y", "y"]
    table = read_table(path, label_column="mood")
    assert (table.texts, table.labels) == (["a"], ["p"])
    old = [{"id": 1, "data": {"text": "a"}, "completions": rows[1]["annotations"]}]
    assert read_table(write(tmp_path / "old.json", old)).labels == ["y"]


def test_several_annotators(tmp_path):
    same = [annotation(chosen("x")), annotation(chosen("x")),
            annotation(chosen("y"), was_cancelled=True)]
    table = read_table(write(tmp_path / "a.json", [studio("a", *same), studio(
        "b", annotation(chosen("x")), annotation(chosen("y"), ground_truth=True))]))
    assert table.labels == ["x", "y"]
    path = write(tmp_path / "b.json", [studio("a", *same), studio("b", same[0], annotation(
        chosen("y"))), studio("c", same[2])])
    with pytest.raises(DataError, match="line .*: one person says x, another y; expected answers "
                                        "that agree.*ground truth.*--bad_rows skip"):
        read_table(path)
    left, notes = [], []
    assert read_table(path, bad_rows=left, notes=notes).texts == ["a"]
    assert len(left) == 1 and "1 text left out (1 skipped)" in notes[-1]


@pytest.mark.parametrize("second, labels", [
    ({"answer": "accept", "accept": ["x"]}, ["x", "z"]),
    ({"answer": "reject", "accept": ["y"]}, ["x", "z"]),
    ({"answer": "accept", "accept": ["y"]}, None)])
def test_rows_of_one_text_are_of_several_people(tmp_path, second, labels):
    base = {"text": "a", "_input_hash": 1, "options": []}
    path = write(tmp_path / "a.jsonl", [
        {**base, "answer": "accept", "accept": ["x"], "_session_id": "s-eva"},
        {**base, **second, "_session_id": "s-tom"},
        {"text": "b", "_input_hash": 2, "options": [], "answer": "accept", "accept": ["z"]}])
    if labels is None:
        with pytest.raises(DataError, match="line 1: one person says x, another y"):
            read_table(path)
    else:
        assert read_table(path).labels == labels


def test_a_rejected_label_is_left_out(tmp_path):
    path = write(tmp_path / "a.jsonl", [
        {"text": text, "label": label, "answer": answer, "_input_hash": text, "meta": {"score": 1}}
        for text, label, answer in [("a", "x", "accept"), ("b", "x", "reject"),
                                    ("c", "y", "accept"), ("d", "y", "ignore")]])
    notes = []
    table = read_table(path, notes=notes)
    assert (table.texts, table.labels) == (["a", "c"], ["x", "y"])
    assert notes == ["a.jsonl: class from 'label' of Prodigy",
                     "a.jsonl: 2 texts left out (1 ignored, 1 rejected)"]


WRONG = {
    "nobody": ([studio("a"), studio("b", annotation(was_cancelled=True))], "no text has a label "
               r"\(1 not labelled, 1 skipped\)"),
    "spans": ([of_doccano("sun", None, [(0, 3, "star")])], "no classes under 'category'; found "
              r"'Comments'.*labelled spans are --task tagging"),
    "two tools": ([{"text": "a", "label": ["x"], "answer": "accept"}], "may be of Prodigy or of "
                  "doccano by its keys 'text', 'label', 'answer'"),
    "numbers": ([{"id": 1, "text": "a", "annotations": [{"label": 2, "user": 1}], "meta": {}}],
                "'annotations' has the numbers of labels.*Text label"),
    "ids only": ([{"id": 1, "data": {"text": "a"}, "annotations": [4]}], "without 'result'"),
    "no text": ([{**studio("a", annotation(chosen("x"))), "data": {"body": "a"}}],
                "no key 'text'; found 'body'"),
    "seq2seq": ([{"text": f"a {i}", "label": [f"un {i}"]} for i in range(30)],
                "'label' has 30 different texts in 30 rows, as doccano's sequence to sequence")}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_class_is_refused(tmp_path, name):
    rows, words = WRONG[name]
    with pytest.raises(DataError, match=words) as error:
        read_table(write(tmp_path / "a.json", rows))
    assert "\n" not in str(error.value)


def test_parts_of_a_folder(tmp_path):
    rows = [of_label_studio(f"{name} {i}", [name], None) for name in "xy" for i in range(20)]
    for part in ("train", "test"):
        write(tmp_path / f"{part}.json", rows)
    parts = read_parts(tmp_path, val_size=0.2)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (32, 8, 40)
    (tmp_path / "train.csv").write_text("text,category\na,x\nb,y\n")  # as before: these alone
    assert len(read_parts(tmp_path, val_size=0, test_size=0).train) == 2


# ---- spans

def test_spans(tool):
    name, export = tool
    notes = []
    path = export([(EMOJI, None, [(*CITY, "city"), (0, 2, "who")]),
                   ("u.s. now", None, [(0, 4, "A")]), ("ice", None, []), ("fog", None, None)])
    found = read_tagged(path, notes=notes)
    assert found.words[:3] == [["👩🏻", "met", "💩", "New", "York", "'", "s", "mayor", "😄"],
                               ["u", ".", "s", ".", "now"], ["ice"]]
    assert found.tags[:3] == [["B-who", "O", "O", "B-city", "I-city", "O", "O", "O", "O"],
                              ["B-A", "I-A", "I-A", "I-A", "O"], ["O"]]
    assert len(found) == (4 if name == "doccano" else 3)  # which does not say who has looked
    assert ("1 text left out" in "".join(notes)) == (name != "doccano")


OTHER_FORMS = {
    "doccano 2018": {"doc_id": 1, "text": "in Rome", "entities": [[3, 7, "city"]]},
    "doccano 1.0": {"id": 1, "text": "in Rome", "labels": [[3, 7, "city"]]},
    "doccano 1.5": {"id": 1, "data": "in Rome", "label": [[3, 7, "city"]]},
    "doccano relations": {"id": 1, "text": "in Rome", "relations": [], "entities": [
        {"id": 0, "label": "city", "start_offset": 3, "end_offset": 7}]},
    "doccano text label": {"id": 1, "text": "in Rome", "meta": {}, "annotations": [
        {"label": "city", "start_offset": 3, "end_offset": 7, "user": 1}]},
    "doccano intents": {"text": "in Rome", "cats": ["travel"], "entities": [[3, 7, "city"]]},
    "spaCy": {"text": "in Rome", "spans": [{"start": 3, "end": 7, "label": "city"}]},
    "a space too many": {"text": "in Rome now", "label": [[2, 8, "city"]]},
    "another key": {"data": {"review": "in Rome", "stars": 3}, "annotations": [
        annotation(region(3, 7, "city", "Rome"))]}}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_spans_of_other_versions(tmp_path, name):
    found = read_tagged(write(tmp_path / "a.jsonl", [OTHER_FORMS[name]]))
    assert found.words[0][:2] == ["in", "Rome"] and found.tags[0][:2] == ["O", "B-city"]


def test_utf16_units_are_known_by_what_they_hold(tmp_path):
    start, end = (units(EMOJI, place) for place in CITY)
    assert (start, end) == (CITY[0] + 3, CITY[1] + 3)
    right = [["B-city" if word == "New" else "I-city" if word == "York" else "O"
              for word in read_words(EMOJI)]]
    notes = []
    old = write(tmp_path / "old.json", [studio(EMOJI, annotation(region(start, end, "city",
                                                                        "New York")))])
    assert read_tagged(old, notes=notes).tags == right
    assert notes == ["old.json: offsets in 1 text count UTF-16 units, as browsers do"]
    browser = write(tmp_path / "d.jsonl", [{"text": EMOJI, "label": [[start, end, "city"]]}])
    assert read_tagged(browser).tags == right
    wrong = write(tmp_path / "w.json", [studio(EMOJI, annotation(region(
        start - 1, end - 1, "city", "New York")))])
    with pytest.raises(DataError, match="11-19 city is 'New York' in the file, but \"w York's"):
        read_tagged(wrong)


def test_offsets_that_fit_both_ways_are_read_as_the_others_of_the_file(tmp_path):
    """In 💩💩 a b, 5-6 is b in code points and a in UTF-16 units."""
    both = {"text": "💩💩 a b", "label": [[5, 6, "x"]]}
    points = {"text": "💩💩 abc", "label": [[3, 6, "x"]]}
    units = {"text": "💩💩 abc", "label": [[5, 8, "x"]]}
    for number, (others, second) in enumerate([([], 2), ([points], 2), ([units], 1),
                                               ([points, units], 2)]):
        path = write(tmp_path / f"{number}.jsonl", [both, *others])
        found = read_tagged(path)
        assert found.tags[0] == ["O", *("B-x" if word == second else "O" for word in (1, 2))]
        assert all(tags == ["O", "B-x"] for tags in found.tags[1:])
    spacy = {"text": "💩💩 abc", "spans": [{"start": 5, "end": 8, "label": "x"}]}
    with pytest.raises(DataError, match="the span 5-8 x 'c' holds no word of the text"):
        read_tagged(write(tmp_path / "s.jsonl", [spacy]))  # Prodigy and spaCy count as Python


def read_words(text):
    return [text[start:end] for start, end in cut_at_signs(text)]


def one_span(*spans, text="New-Yorkers in Rome"):
    return [{"text": text, "label": [list(span) for span in spans]}]


REFUSED = {
    "cuts": (one_span((4, 8, "city")), r"line 1: the span 4-8 city 'York' cuts the word 'Yorkers' "
             r"at 4-11; expected whole words \(--widen_spans takes them whole\) \(--bad_rows skip"),
    "overlap": (one_span((0, 11, "who"), (4, 14, "city")), "the spans 0-11 who and 4-14 city "
                "'Yorkers in' share the word 'Yorkers'"),
    "nested": (one_span((0, 11, "who"), (0, 3, "city")), "0-3 city and 0-11 who .* share the word "
               "'New'"),
    "two labels": (one_span((0, 3, "a"), (0, 3, "b")), "share the word 'New'"),
    "outside": (one_span((15, 25, "city")), "15-25 city 'Rome' holds no word .* 19 characters"),
    "space": (one_span((11, 12, "city")), "11-12 city ' ' holds no word"),
    "backwards": (one_span((5, 2, "city")), "holds no word"),
    "no number": (one_span(("3", 5, "city")), "the start of a span is '3'; expected a number"),
    "no name": (one_span((0, 3, "")), r"the span 0-3 has the labels \[''\]; expected one name"),
    "a number": (one_span((0, 3, 5)), r"has the labels \[5\]"),
    "seq2seq": ([{"text": "a", "label": ["un"]}], "doccano has no labelled spans there"),
    "plain": ([{"text": "a", "category": "x"}], "keys 'text', 'category'; expected labelled spans "
              "as Label Studio, doccano or Prodigy export them, or a file with a word a line"),
    "two": ([{"text": "a b", "label": [[0, 1, "x"]], "entities": [[2, 3, "y"]]}],
            "spans under 'entities', 'label'; expected one of them alone"),
    "html": ([studio("a", annotation(("h", "hypertextlabels", {
        "start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 0, "endOffset": 1,
        "hypertextlabels": ["x"]})))], r"start of a span is '/p\[1\].*Label Studio counts none"),
    "people": ([studio("a b", annotation(region(0, 1, "x")), annotation(region(2, 3, "x")))],
               "one person says 0-1 x, another 2-3 x"),
    "no words": ([{"text": " \t", "label": []}, *one_span((0, 3, "x"))], "line 1: the text is"),
    "mixed": ([{"text": "a", "label": [[0, 1, "x"], "y"]}], "expected names, or lists of")}


@pytest.mark.parametrize("name", REFUSED)
def test_spans_that_are_no_tags_are_refused(tmp_path, name):
    rows, words = REFUSED[name]
    with pytest.raises(DataError, match=words) as error:
        read_tagged(write(tmp_path / "a.jsonl", rows))
    assert "\n" not in str(error.value)


def test_widened_spans(tmp_path):
    path = write(tmp_path / "a.jsonl", one_span((5, 9, "city"), (15, 18, "city")))
    assert read_tagged(path, widen=True).tags == [["O", "O", "B-city", "O", "B-city"]]
    both = write(tmp_path / "b.jsonl", one_span((4, 6, "x"), (8, 11, "y")) + one_span((0, 3, "x")))
    left = []
    assert len(read_tagged(both, widen=True, bad_rows=left)) == len(left) == 1
    assert "share the word 'Yorkers'" in left[0].message
    with pytest.raises(ConfigError, match="word_column and tag_column are of a file with a word"):
        read_tagged(path, tag_column=2)


def test_spans_to_tags_and_back():
    """Random spans of whole words, some beside one another, come back as they were."""
    rng = random.Random(4)
    for _ in range(200):
        text = "".join(rng.choice("ab😄 .,é北-") for _ in range(rng.randrange(1, 40)))
        places, spans, word = cut_at_signs(text), [], 0
        while word < len(places):
            last = min(len(places), word + rng.randrange(1, 4))
            if rng.random() < 0.5:
                spans.append(TextSpan(places[word][0], places[last - 1][1], rng.choice("xy")))
            word = last
        if places:
            words, tags = tag_words(text, rng.sample(spans, len(spans)), "")
            assert words == [text[start:end] for start, end in places]
            assert [TextSpan(places[first][0], places[last - 1][1], kind)
                    for kind, first, last in find_entities(tags)] == spans


def test_words_are_those_of_running_text():
    """What a file's texts are cut into is what `tag` will cut texts into."""
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choice("abcé北。 .,-'!$\t\n\u00a0\u200b\u0007😄") for _ in range(30))
        assert cut_at_signs(text) == word_spans(text, TOKENIZER)
