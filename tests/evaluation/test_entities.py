"""Entities against a table, seqeval's own figures and other ways to read the same tags."""

import json
import random
import re

import pytest

from bert_kit.data import read_conll
from bert_kit.errors import DataError
from bert_kit.evaluation import (entity_metrics, find_entities, format_invalid_tags,
                                 format_per_type, invalid_tags)

# tags, entities read strictly, entities read leniently; an entity is type:first-last. The strict
# column is that of seqeval's tests of its scheme IOB2, the lenient one what conlleval counts.
CASES = [
    ("", "", ""),
    ("O", "", ""),
    ("B-x", "x:0-0", "x:0-0"),
    ("I-x", "", "x:0-0"),
    ("O I-x", "", "x:1-1"),
    ("O B-x", "x:1-1", "x:1-1"),
    ("I-x O", "", "x:0-0"),
    ("I-x I-x", "", "x:0-1"),
    ("I-x I-y", "", "x:0-0 y:1-1"),
    ("I-x B-x", "x:1-1", "x:0-0 x:1-1"),
    ("I-x B-y", "y:1-1", "x:0-0 y:1-1"),
    ("B-x O", "x:0-0", "x:0-0"),
    ("B-x I-x", "x:0-1", "x:0-1"),
    ("B-x I-y", "x:0-0", "x:0-0 y:1-1"),
    ("B-x B-x", "x:0-0 x:1-1", "x:0-0 x:1-1"),
    ("B-x B-y", "x:0-0 y:1-1", "x:0-0 y:1-1"),
    ("B-x I-x I-x", "x:0-2", "x:0-2"),
    ("B-x I-x B-x", "x:0-1 x:2-2", "x:0-1 x:2-2"),
    ("B-x O I-x", "x:0-0", "x:0-0 x:2-2"),
    ("B-x I-x O B-y I-y", "x:0-1 y:3-4", "x:0-1 y:3-4"),
    ("B-x I-y I-x", "x:0-0", "x:0-0 y:1-1 x:2-2"),
    ("B-x I-y I-y", "x:0-0", "x:0-0 y:1-2"),
    ("B-x I-x I-y I-x", "x:0-1", "x:0-1 y:2-2 x:3-3"),
    ("I-x I-x B-x I-x", "x:2-3", "x:0-1 x:2-3"),
    ("O O O B-x I-x I-x O", "x:3-5", "x:3-5"),
    ("B I I", "_:0-2", "_:0-2"),
    ("I B", "_:1-1", "_:0-0 _:1-1"),
    ("B-a-b I-a-b", "a-b:0-1", "a-b:0-1"),
    ("B-a-b I-a", "a-b:0-0", "a-b:0-0 a:1-1"),
    ("B-組織 I-組織", "組織:0-1", "組織:0-1"),
    ("B-x I-x E-x O S-y B-x E-x", "x:0-2 y:4-4 x:5-6", "x:0-2 y:4-4 x:5-6"),  # BIOES
    ("B-x L-x U-x U-y O I-x L-x", "x:0-1 x:2-2 y:3-3", "x:0-1 x:2-2 y:3-3 x:5-6"),  # BILOU
]


def written(entities):
    return " ".join(f"{kind}:{start}-{end - 1}" for kind, start, end in entities)


@pytest.mark.parametrize("tags, strict, lenient", CASES)
def test_table(tags, strict, lenient):
    assert written(find_entities(tags.split())) == strict
    assert written(find_entities(tags.split(), strict=False)) == lenient


def chunks(tags):
    """Read tags by the rules of conlleval (Tjong Kim Sang, 2004): where a chunk ends and starts."""
    found, begin, last, last_type = [], 0, "O", ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, kind = tag[0], tag[2:]
        ends = last in "BI" and (prefix in "BO" or kind != last_type)
        starts = prefix == "B" or prefix == "I" and (last == "O" or kind != last_type)
        if ends:
            found.append((last_type, begin, i))
        begin = i if starts else begin
        last, last_type = prefix, kind
    return found


def strings(tags):
    """Read strict entities with a regular expression over the joined tags."""
    text = " ".join(tags) + " "
    return [(match[1], text[:match.start()].count(" "), text[:match.end()].count(" "))
            for match in re.finditer(r"(?:(?<= )|^)B-(\S+) (?:I-\1 )*", text)]


def random_tags(rng, types="xy"):
    return [rng.choice(["O", f"B-{kind}", f"I-{kind}"])
            for kind in rng.choices(types, k=rng.randint(0, 12))]


def test_both_readings_agree_with_independent_readers():
    rng = random.Random(0)
    for _ in range(2_000):
        tags = random_tags(rng)
        assert find_entities(tags) == strings(tags), tags
        assert find_entities(tags, strict=False) == chunks(tags), tags
        valid = not invalid_tags([tags])
        assert valid == (find_entities(tags) == find_entities(tags, strict=False)), tags


def test_the_figures_of_seqeval():
    """From its own tests: test_v1.py (strict, IOB2) and test_metrics.py (the default)."""
    metrics = entity_metrics([["O", "B-B", "B-C", "B-A"]], [["B-A", "B-B", "O", "B-A"]])
    for key in ("precision", "recall", "f1"):
        assert metrics[key] == pytest.approx(2 / 3)
    assert metrics["f1_macro"] == pytest.approx(0.5555555555555555)
    rows = [(r["type"], r["precision"], r["recall"], r["f1"], r["support"])
            for r in metrics["per_type"]]
    assert rows == [("A", 1.0, 0.5, pytest.approx(2 / 3), 2), ("B", 1.0, 1.0, 1.0, 1),
                    ("C", 0.0, 0.0, 0.0, 0)]
    labels = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predictions = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    for strict in (True, False):
        metrics = entity_metrics(predictions, labels, strict)
        assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.5, 0.5, 0.5)
        assert metrics["accuracy"] == 0.8


@pytest.mark.parametrize("strict", [True, False])
def test_scores_are_those_of_sets_of_entities(strict):
    rng, reader = random.Random(1), strings if strict else chunks
    labels = [random_tags(rng, "xyz") for _ in range(80)]
    predictions = [[rng.choice([tag, "O", "B-x", "I-y"]) for tag in tags] for tags in labels]
    ours, theirs = ({(i, *entity) for i, tags in enumerate(part) for entity in reader(tags)}
                    for part in (predictions, labels))
    metrics = entity_metrics(predictions, labels, strict)
    precision, recall = len(ours & theirs) / len(ours), len(ours & theirs) / len(theirs)
    assert metrics["precision"] == pytest.approx(precision)
    assert metrics["recall"] == pytest.approx(recall)
    assert metrics["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert sum(row["support"] for row in metrics["per_type"]) == len(theirs)
    assert sum(row["predicted"] for row in metrics["per_type"]) == len(ours)
    json.dumps(metrics, allow_nan=False)


def test_nothing_to_find_is_no_division_by_zero():
    metrics = entity_metrics([["O"], []], [["O"], []])
    assert (metrics["f1"], metrics["f1_macro"], metrics["accuracy"]) == (0.0, 0.0, 1.0)
    assert metrics["per_type"] == []


def test_report_of_invalid_tags():
    found = invalid_tags([["I-x", "I-x"], ["O", "B-y", "I-x", "O", "I-x"], ["B-x", "I-x"]])
    assert [(f["sentence"], f["word"], f["before"], f["tag"]) for f in found] == [
        (0, 0, "", "I-x"), (1, 2, "B-y", "I-x"), (1, 4, "O", "I-x")]
    assert entity_metrics([["I-x"]], [["O"]])["invalid_tags"] == 1
    assert format_invalid_tags([*found, found[1]]).splitlines() == [
        "before   tag  times", "B-y      I-x      2", "(start)  I-x      1", "O        I-x      1"]


def test_table_of_types():
    metrics = entity_metrics([["B-loc", "B-x"]], [["B-loc", "O"]])
    assert format_per_type(metrics).splitlines() == [
        "type  precision  recall      f1  support  predicted",
        "loc      1.0000  1.0000  1.0000        1          1",
        "x        0.0000  0.0000  0.0000        0          1"]


@pytest.mark.parametrize("predictions, labels, message", [
    ([], [], "predictions of 0 sentences and labels of 0; expected as many, at least one"),
    ([["O"]], [["O"], ["O"]], "predictions of 1 sentences and labels of 2"),
    ([["O"]], [["O", "O"]], "sentence 0 has 1 predictions and 2 labels; expected as many"),
    ([["O"], ["M-x"]], [["O"], ["O"]], "sentence 1: word 0 has the tag 'M-x'; expected O, B-TYPE"),
    ([["O"]], [["O-x"]], "word 0 has the tag 'O-x'"),
    ([["O"]], [[""]], "word 0 has the tag ''"),
])
def test_what_cannot_be_scored(predictions, labels, message):
    with pytest.raises(DataError, match=re.escape(message)) as error:
        entity_metrics(predictions, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name, counts", [("wnut17", (1_975, 836, 1_079)),
                                          ("ncbi_disease", (5_145, 787, 960))])
def test_real_files_hold_as_many_entities_as_published(shared, name, counts):
    for part, count in zip(("train", "dev", "test"), counts):
        tags = read_conll(shared / "data" / name / f"{part}.txt").tags
        assert sum(len(find_entities(sentence)) for sentence in tags) == count
        assert invalid_tags(tags) == []
