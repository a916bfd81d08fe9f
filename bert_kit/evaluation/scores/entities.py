"""Entities in sequences of tags such as B-PER, I-PER and O, and how well they are found.

An entity counts as found if its type, its first and its last word are right. What its tags are
depends on the scheme (`SCHEMES`):

- IOB2: B- on its first word, I- on the others.
- IOB1: I- on all of them; B- only on the first word after another entity of the same type.
- BIOES (also called IOBES): B- on the first, E- on the last, I- between, S- where it has only one.
- BILOU: the same with L- for E- and U- for S-.

Tags that keep to the scheme can be read in one way only; others, as models predict them, in two:

- strict, which the kit does by default: only what is whole is an entity. What does not begin or
  end as its scheme says is nothing.
- lenient: a word goes on with the entity before it if it has I- or E-, the word before B- or I-,
  and both one type. All else that is not O begins an entity, as in CoNLL's script `conlleval`.

These are seqeval's `mode="strict"` with the scheme, and its default, which reads all schemes alike.
(The default does not know L- and U-: here they end an entity in both ways.)
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bert_kit.checks import one_of
from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Rows, Scores
from bert_kit.evaluation.scores.classes import scores_of_counts
from bert_kit.printing import align, one_line

Sentences = Sequence[Sequence[str]]  # the tags of each

SCHEMES = ("IOB2", "IOB1", "BIOES", "BILOU")
MARKS = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}  # BILOU as BIOES
WITHOUT_ENDS = {"E": "I", "S": "B"}  # what they are taken for in a scheme that does not have them
Split = tuple[str, str | None]  # mark and type of a tag
OUTSIDE: Split = ("O", None)


class Entity(NamedTuple):
    """An entity: its type, its first word and the one after its last, from 0."""

    type: str
    start: int
    end: int


def guess_scheme(tags: Iterable[str]) -> str:
    """Return the one of `SCHEMES` that tags belong to, by their marks.

    L- or U- are of BILOU, E- or S- of BIOES, all others of IOB2, for what tells IOB1 from it is
    the order of the tags.

    Examples
    --------
    >>> guess_scheme(["O", "B-per", "E-per"]), guess_scheme(["O", "B-per", "I-per"])
    ('BIOES', 'IOB2')
    """
    marks = {tag.partition("-")[0] for tag in tags}
    if marks & {"L", "U"}:
        return "BILOU"
    return "BIOES" if marks & {"E", "S"} else "IOB2"


def find_entities(tags: Sequence[str], strict: bool = True,
                  scheme: str | None = None) -> list[Entity]:
    """Return the entities of one sentence, in order.

    Parameters
    ----------
    tags
        "O" or "B-TYPE", "I-TYPE" and others of the `MARKS`; a bare "B" or "I" has the type "_".
    strict
        How tags are read that do not keep to the scheme; see the module.
    scheme
        One of `SCHEMES`; by default the one that the tags of this sentence belong to. In IOB1 and
        IOB2 E- and L- are read as I-, S- and U- as B-.

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
    >>> find_entities(["B-per", "I-per", "O", "S-loc"])  # BIOES: the first has no end
    [Entity(type='loc', start=3, end=4)]
    """
    scheme = _scheme(tags, scheme)
    split = _split(tags, scheme)
    starts = [word for word, now in enumerate(split)
              if now[1] is not None and not _goes_on(split[word - 1] if word else OUTSIDE, now)]
    entities = []
    for start in starts:
        end = start + 1
        while end < len(split) and _goes_on(split[end - 1], split[end]):
            end += 1
        if strict:
            start, end = _whole(split, start, end, scheme)
        if start < end:
            entities.append(Entity(str(split[start][1]), start, end))
    return entities


def _goes_on(before: Split, now: Split) -> bool:
    """Say whether a word is of the entity that the word before it is of."""
    return before[0] in "BI" and now[0] in "IE" and before[1] == now[1]


def _whole(split: Sequence[Split], start: int, end: int, scheme: str) -> tuple[int, int]:
    """Return what the strict reading leaves of the words from `start` to before `end`."""
    first, last = split[start][0], split[end - 1][0]
    if scheme == "IOB2":
        kept = first == "B"
    elif scheme == "IOB1":
        kept = True
        if first == "B":  # only after its own type, and seqeval wants the same of a B- after it
            following = split[end] if end < len(split) else OUTSIDE
            if start == 0 or split[start - 1][1] != split[start][1]:
                start += 1
            elif end == start + 1:
                kept = following[0] != "B" or following[1] == split[start][1]
    else:
        kept = first == last == "S" or first == "B" and last == "E"
    return (start, end) if kept else (start, start)


def invalid_tags(sequences: Iterable[Sequence[str]], scheme: str | None = None) -> list[Scores]:
    """Return the tags that cannot follow the one before, such as an I- that goes on with nothing.

    In BIOES and BILOU that is also the tag where an entity should go on and does not. In labels
    they are mistakes of the annotators or of the file's conversion. In predictions they show what
    the model has not learned; few are left after a short training.

    Parameters
    ----------
    scheme
        One of `SCHEMES`; by default the one that all the tags belong to.

    Returns
    -------
    list of dict
        `sentence` and `word` (numbers from 0), `before` (the tag of the word before; "" at the
        start of a sentence) and `tag` ("" at the end of a sentence, where an entity has no end).

    Examples
    --------
    >>> invalid_tags([["B-per", "I-loc"], ["O"]])
    [{'sentence': 0, 'word': 1, 'before': 'B-per', 'tag': 'I-loc'}]
    >>> invalid_tags([["S-per", "O", "B-loc"]])
    [{'sentence': 0, 'word': 3, 'before': 'B-loc', 'tag': ''}]
    """
    sequences = [list(tags) for tags in sequences]
    scheme = _scheme((tag for tags in sequences for tag in tags), scheme)
    found = []
    for number, tags in enumerate(sequences):
        split = [OUTSIDE, *_split(tags, scheme), OUTSIDE]
        named = ["", *tags, ""]
        found += [{"sentence": number, "word": word, "before": named[word], "tag": named[word + 1]}
                  for word, (before, now) in enumerate(itertools.pairwise(split))
                  if not _may_follow(before, now, scheme)]
    return found


def _may_follow(before: Split, now: Split, scheme: str) -> bool:
    if scheme == "IOB1":  # a B- parts two entities of one type
        return now[0] != "B" or before[1] == now[1]
    if _goes_on(before, now):
        return True
    unfinished = scheme != "IOB2" and before[0] in "BI"
    return now[0] not in "IE" and not unfinished


def format_invalid_tags(found: Rows) -> str:
    """Lay out how often each tag followed which wrong one, the commonest first."""
    counts = Counter((entry["before"] or "(start)", entry["tag"] or "(end)") for entry in found)
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return align(["before", "tag", "times"],
                 [[one_line(before), one_line(tag), str(count)] for (before, tag), count in rows],
                 left=(0, 1))


def entity_metrics(predictions: Iterable[Sequence[str]], labels: Iterable[Sequence[str]],
                   strict: bool = True, scheme: str | None = None,
                   label_scheme: str | None = None) -> Scores:
    """Score predicted tags; all values can be written as JSON.

    Parameters
    ----------
    predictions, labels
        The tags of each sentence, as many of each.
    strict
        How both are read; see the module.
    scheme
        One of `SCHEMES`; by default the one that all the tags belong to.
    label_scheme
        That of the labels, where it is another.

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
        If there is no sentence, the lengths differ, or a tag has none of the `MARKS`.

    Examples
    --------
    >>> metrics = entity_metrics([["B-per", "I-per", "B-loc"]], [["B-per", "I-per", "O"]])
    >>> metrics["precision"], metrics["recall"]
    (0.5, 1.0)
    """
    predictions, labels = list(predictions), list(labels)
    _check_lengths(predictions, labels)
    scheme = _scheme((tag for tags in (*predictions, *labels) for tag in tags), scheme)
    wanted: Counter[str] = Counter()
    given, right = wanted.copy(), wanted.copy()
    for number, pair in enumerate(zip(predictions, labels, strict=True)):
        try:
            ours, theirs = (set(find_entities(tags, strict, own)) for tags, own in zip(
                pair, (scheme, label_scheme or scheme), strict=True))
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
            "invalid_tags": len(invalid_tags(predictions, scheme))}


def format_per_type(metrics: Scores) -> str:
    """Lay out the scores of each type of `entity_metrics` as an aligned table, one line a type."""
    return align(["type", "precision", "recall", "f1", "support", "predicted"],
                 [[one_line(row["type"]),
                   *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                   str(row["support"]), str(row["predicted"])] for row in metrics["per_type"]],
                 left=[0])


def _scheme(tags: Iterable[str], scheme: str | None) -> str:
    """Return a scheme that was given, or the one of the tags."""
    if scheme is not None:
        one_of("scheme", scheme, SCHEMES)
    return scheme or guess_scheme(tags)


def _split(tags: Sequence[str], scheme: str) -> list[Split]:
    """Return mark and type of each tag, with the marks of BIOES, IOB1 or IOB2."""
    result: list[Split] = []
    for word, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if mark not in MARKS and tag != "O":
            raise DataError(f"word {word} has the tag {tag!r:.40}; expected O, B-TYPE or I-TYPE")
        mark = MARKS.get(mark, "O")
        if scheme in ("IOB1", "IOB2"):
            mark = WITHOUT_ENDS.get(mark, mark)
        result.append(OUTSIDE if tag == "O" else (mark, kind or "_"))
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
