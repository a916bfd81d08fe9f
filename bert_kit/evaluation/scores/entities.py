"""Entities in sequences of B-, I- and O tags, and how well they are found.

An entity counts as found if its type, its first and its last word are right. Its tags can be read
in two ways, which differ where an I- tag does not go on with an entity of its own type:

- strict: an entity is a B- tag and the I- tags of its type that follow. Other I- tags are nothing.
- lenient: such an I- tag begins an entity, as in CoNLL's own script `conlleval` (which also makes
  this the reading for files in the older IOB1 form, where most entities have no B-).

These are the two definitions of seqeval: `mode="strict", scheme=IOB2`, and its default.

Files in BIOES (or BILOU) mark the last word of an entity with E- (L-) and the only one of a short
entity with S- (U-). They are read as I- and B-: what begins an entity and what goes on with it is
all there is to know.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Rows, Scores
from bert_kit.evaluation.scores.classes import scores_of_counts
from bert_kit.printing import align, one_line

Sentences = Sequence[Sequence[str]]  # the tags of each

MARKS = {"B": "B", "I": "I", "E": "I", "L": "I", "S": "B", "U": "B"}  # as each is read


class Entity(NamedTuple):
    """An entity: its type, its first word and the one after its last, from 0."""

    type: str
    start: int
    end: int


def find_entities(tags: Sequence[str], strict: bool = True) -> list[Entity]:
    """Return the entities of one sentence, in order.

    Parameters
    ----------
    tags
        "O", "B-TYPE" or "I-TYPE", or others of the `MARKS`; a bare "B" or "I" has the type "_".
    strict
        How to read an I- tag that goes on with nothing; see the module.

    Raises
    ------
    DataError
        For any other tag; names the word.

    Examples
    --------
    >>> find_entities(["B-per", "I-per", "O", "I-loc"])
    [Entity(type='per', start=0, end=2)]
    >>> find_entities(["B-per", "I-per", "O", "I-loc"], strict=False)[1]
    Entity(type='loc', start=3, end=4)
    """
    entities, open_type, start = [], None, 0
    for word, (prefix, kind) in enumerate([*_split(tags), ("O", None)]):
        if prefix == "I" and kind == open_type:
            continue
        if open_type is not None:
            entities.append(Entity(open_type, start, word))
        begins = prefix == "B" or prefix == "I" and not strict
        open_type, start = (kind if begins else None), word
    return entities


def invalid_tags(sequences: Iterable[Sequence[str]]) -> list[Scores]:
    """Return the I- tags that go on with nothing; the strict reading takes them for O.

    In labels they are mistakes of the annotators or of the file's conversion. In predictions they
    show what the model has not learned; few are left after a short training.

    Returns
    -------
    list of dict
        `sentence` and `word` (numbers from 0), `before` (the tag of the word before; "" at the
        start of a sentence) and `tag`.

    Examples
    --------
    >>> invalid_tags([["B-per", "I-loc"], ["O"]])
    [{'sentence': 0, 'word': 1, 'before': 'B-per', 'tag': 'I-loc'}]
    """
    found = []
    for number, tags in enumerate(sequences):
        before = ("O", None)
        for word, (prefix, kind) in enumerate(_split(tags)):
            if prefix == "I" and kind != before[1]:
                found.append({"sentence": number, "word": word,
                              "before": tags[word - 1] if word else "", "tag": tags[word]})
            before = prefix, kind
    return found


def format_invalid_tags(found: Rows) -> str:
    """Lay out how often each tag followed which wrong one, the commonest first."""
    counts = Counter((entry["before"] or "(start)", entry["tag"]) for entry in found)
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return align(["before", "tag", "times"],
                 [[one_line(before), one_line(tag), str(count)] for (before, tag), count in rows],
                 left=(0, 1))


def entity_metrics(predictions: Iterable[Sequence[str]], labels: Iterable[Sequence[str]],
                   strict: bool = True) -> Scores:
    """Score predicted tags; all values can be written as JSON.

    Parameters
    ----------
    predictions, labels
        The tags of each sentence, as many of each.
    strict
        How both are read; see the module.

    Returns
    -------
    dict
        `precision`, `recall`, `f1` over all entities (micro); `f1_macro`, the mean over types that
        occur in labels or predictions; `accuracy`, the share of right tags; `per_type`, a list of
        dicts with `type`, `precision`, `recall`, `f1`, `support` (entities in the labels) and
        `predicted`; and `invalid_tags`, how many of the predictions are.

    Raises
    ------
    DataError
        If there is no sentence, the lengths differ, or a tag is none of B-, I- and O.

    Examples
    --------
    >>> metrics = entity_metrics([["B-per", "I-per", "B-loc"]], [["B-per", "I-per", "O"]])
    >>> metrics["precision"], metrics["recall"]
    (0.5, 1.0)
    """
    predictions, labels = list(predictions), list(labels)
    _check_lengths(predictions, labels)
    wanted: Counter[str] = Counter()
    given, right = wanted.copy(), wanted.copy()
    for number, pair in enumerate(zip(predictions, labels, strict=True)):
        try:
            ours, theirs = (set(find_entities(tags, strict)) for tags in pair)
        except DataError as error:
            raise DataError(f"sentence {number}: {error}") from None
        for counts, entities in ((given, ours), (wanted, theirs), (right, ours & theirs)):
            counts.update(entity.type for entity in entities)
    words = sum(map(len, labels))
    same = sum(a == b for pair in zip(predictions, labels, strict=True)
               for a, b in zip(*pair, strict=True))
    per_type = [{"type": kind, **_scores(right[kind], given[kind], wanted[kind]),
                 "support": wanted[kind], "predicted": given[kind]}
                for kind in sorted(wanted.keys() | given.keys())]
    return {**_scores(right.total(), given.total(), wanted.total()),
            "f1_macro": sum(row["f1"] for row in per_type) / max(len(per_type), 1),
            "accuracy": same / words if words else 0.0,
            "per_type": per_type,
            "invalid_tags": len(invalid_tags(predictions))}


def format_per_type(metrics: Scores) -> str:
    """Lay out the scores of each type of `entity_metrics` as an aligned table, one line a type."""
    return align(["type", "precision", "recall", "f1", "support", "predicted"],
                 [[one_line(row["type"]),
                   *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                   str(row["support"]), str(row["predicted"])] for row in metrics["per_type"]],
                 left=[0])


def _split(tags: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return (prefix, type) of each tag; the type of O is None."""
    result = []
    for word, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if mark not in MARKS and tag != "O":
            raise DataError(f"word {word} has the tag {tag!r:.40}; expected O, B-TYPE or I-TYPE")
        result.append(("O", None) if tag == "O" else (MARKS[mark], kind or "_"))
    return result


def _check_lengths(predictions: Sentences, labels: Sentences) -> None:
    if len(predictions) != len(labels) or not labels:
        raise DataError(f"predictions of {len(predictions)} sentences and labels of {len(labels)}; "
                        "expected as many, at least one")
    for number, (ours, theirs) in enumerate(zip(predictions, labels, strict=True)):
        if len(ours) != len(theirs):
            raise DataError(f"sentence {number} has {len(ours)} predictions and {len(theirs)} "
                            "labels; expected as many")


def _scores(right: int, given: int, wanted: int) -> dict[str, float]:
    return {name: float(score) for name, score in scores_of_counts(right, given, wanted).items()}
