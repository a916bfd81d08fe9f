"""Entities against a table, seqeval's own figures and other ways to read the same tags."""

import itertools
import json
import random
import re

import pytest

from bert_kit.data import read_conll
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (entity_metrics, find_entities, format_invalid_tags,
                                 format_per_type, guess_scheme, invalid_tags)

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
    ("S-x I-x", "x:0-0", "x:0-0 x:1-1"),
    ("B-x E-x I-x", "x:0-1", "x:0-1 x:2-2"),
    ("B-x I-x S-x", "x:2-2", "x:0-1 x:2-2"),
    ("U-x L-x", "x:0-0", "x:0-0 x:1-1"),
    ("E-x E-x", "", "x:0-0 x:1-1"),
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


STRICT = {  # of a sentence written as "B-x I-x ", with a space before: what is an entity
    "IOB2": r"(?<= )B-(\S+) (?:I-\1 )*",
    "BIOES": r"(?<= )(?:S-(\S+) |B-(\S+) (?:I-\2 )*E-\2 )",
    "BILOU": r"(?<= )(?:U-(\S+) |B-(\S+) (?:I-\2 )*L-\2 )"}
MARKS_OF = {"IOB2": "BI", "IOB1": "BI", "BIOES": "BIES", "BILOU": "BILU"}


def strings(tags, scheme="IOB2"):
    """Read strict entities with a regular expression over the joined tags."""
    text = " " + " ".join(tags) + " "
    return [(next(filter(None, match.groups())), text[1:match.start()].count(" "),
             text[1:match.end()].count(" ")) for match in re.finditer(STRICT[scheme], text)]


def pairs(tags):
    """Read lenient entities by colouring words: the tables of ends and beginnings of seqeval."""
    found, begin, before = [], 0, ("O", "")
    for i, tag in enumerate([*tags, "O"]):
        mark, kind = tag[0].translate(str.maketrans("LU", "ES")), tag[2:]
        changed = kind != before[1]
        if before[0] != "O" and (before[0] in "ES" or mark in "BSO" or changed):
            found.append((before[1], begin, i))
        if mark in "BS" or mark in "IE" and (before[0] in "ESO" or changed):
            begin = i
        before = mark, kind
    return found


def every_sentence(scheme, words, count, seed=0):
    """All sentences of at most so many words, and some longer ones."""
    tags = ["O", *(f"{mark}-{kind}" for mark in MARKS_OF[scheme] for kind in "xy")]
    for size in range(1, words + 1):
        yield from map(list, itertools.product(tags, repeat=size))
    rng = random.Random(seed)
    for _ in range(count):
        yield rng.choices(tags, k=rng.randint(words + 1, 20))


@pytest.mark.parametrize("scheme", STRICT)
def test_each_scheme_is_read_by_its_definition(scheme):
    for tags in every_sentence(scheme, 3, 1_000):
        assert find_entities(tags, scheme=scheme) == strings(tags, scheme), tags
        assert find_entities(tags, False, scheme) == pairs(tags), tags
        if not invalid_tags([tags], scheme):  # what keeps to its scheme has one reading
            assert strings(tags, scheme) == pairs(tags), tags


def written_in(scheme, entities, size):
    """Write entities in a scheme; the reading of it has to give them back."""
    tags = ["O"] * size
    for i, (kind, start, end) in enumerate(entities):
        tags[start:end] = [f"I-{kind}"] * (end - start)
        touches = i and entities[i - 1][0] == kind and entities[i - 1][2] == start
        if scheme != "IOB1" or touches:
            tags[start] = f"B-{kind}"
        if scheme in ("BIOES", "BILOU"):
            tags[end - 1] = f"{'E' if scheme == 'BIOES' else 'L'}-{kind}"
            if end == start + 1:
                tags[start] = f"{'S' if scheme == 'BIOES' else 'U'}-{kind}"
    return tags


@pytest.mark.parametrize("scheme", MARKS_OF)
def test_what_is_written_in_a_scheme_is_read_again(scheme):
    rng = random.Random(1)
    for _ in range(500):
        cuts = sorted(rng.sample(range(16), 7))
        entities = [(rng.choice("xy"), *span) for span in itertools.pairwise(cuts)
                    if rng.random() < 0.6]
        tags = written_in(scheme, entities, 16)
        for strict in (True, False):
            assert find_entities(tags, strict, scheme) == entities, tags
        assert invalid_tags([tags], scheme) == []
        if scheme != "IOB1" and entities and {*"ESLU"} & {tag[0] for tag in tags}:
            assert guess_scheme(tags) == scheme


@pytest.mark.parametrize("scheme", MARKS_OF)
def test_seqeval_reads_the_same(scheme):
    """In both its modes; its default does not know L- and U-, so it is given E- and S-."""
    schemes = pytest.importorskip("seqeval.scheme")
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    theirs = getattr(schemes, {"BIOES": "IOBES"}.get(scheme, scheme))
    for tags in every_sentence(scheme, 3, 2_000):
        renamed = [tag.replace("L-", "E-").replace("U-", "S-") for tag in tags]
        want = [(kind, start, end + 1) for kind, start, end in labelling.get_entities(renamed)]
        assert find_entities(tags, False, scheme) == want, tags
        want = [(entity.tag, entity.start, entity.end)
                for entity in schemes.Entities([tags], scheme=theirs).entities[0]]
        assert find_entities(tags, True, scheme) == want, tags


def test_labels_may_be_in_another_scheme():
    metrics = entity_metrics([["B-x", "E-x", "S-y"]], [["B-x", "I-x", "B-y"]], True, "BIOES",
                             "IOB2")
    assert (metrics["f1"], metrics["accuracy"]) == (1.0, 1 / 3)
    with pytest.raises(ConfigError, match="scheme is 'IOE'; expected one of IOB2, IOB1"):
        find_entities(["O"], scheme="IOE")


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
    found_too = invalid_tags([["S-x", "I-x"], ["B-x", "O"], ["B-x"], ["S-x", "B-y", "E-y", "S-x"]])
    assert [(f["sentence"], f["word"], f["before"], f["tag"]) for f in found_too] == [
        (0, 1, "S-x", "I-x"), (0, 2, "I-x", ""), (1, 1, "B-x", "O"), (2, 1, "B-x", "")]
    assert invalid_tags([["I-x", "B-x", "B-y"]], "IOB1") == [
        {"sentence": 0, "word": 2, "before": "B-x", "tag": "B-y"}]
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
