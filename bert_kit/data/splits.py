"""Which rows to train on and which to keep for scoring; the same answer every time.

`stratified_split` keeps the class shares and suits independent rows. Rows that come from the same
place (file, author, patient) resemble one another: `grouped_split` keeps each place on one side,
or the score would partly measure memory.
"""

import hashlib

import numpy as np

from bert_kit.errors import ConfigError, DataError


def stratified_split(labels, ratios=(0.8, 0.1, 0.1), seed=0):
    """Split rows at random so that every part has the class shares of the whole.

    Parameters
    ----------
    labels : sequence
        The class of each row; names or numbers of one type.
    ratios : sequence of float
        Share of each part, adding up to 1; the first part is the one to train on.
    seed : int
        Another seed gives another split of the same sizes.

    Returns
    -------
    list of list of int
        The row numbers of each part, ascending. Every row is in exactly one part. The first part
        gets at least one row of every class, so that a class with one row is trained on.

    Raises
    ------
    ConfigError
        If the ratios are not positive numbers that add up to 1.
    DataError
        If there are too few rows to give every part one.

    Examples
    --------
    >>> train, test = stratified_split(["a"] * 8 + ["b"] * 4, ratios=(0.75, 0.25))
    >>> sum(row < 8 for row in test), sum(row >= 8 for row in test)
    (2, 1)
    """
    ratios = [float(ratio) for ratio in ratios]
    if not ratios or not all(ratio > 0 for ratio in ratios) or abs(sum(ratios) - 1) > 1e-6:
        raise ConfigError(f"split ratios are {ratios}; expected positive numbers that add up to 1")
    rows_of = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    generator = np.random.default_rng(seed)
    parts = [[] for _ in ratios]
    # What each part should have had so far, less what it got. Giving every row to the part that is
    # owed most keeps the sizes right within each class and, carried over, in total.
    owed = np.zeros(len(ratios))
    for label in sorted(rows_of):
        rows = generator.permutation(rows_of[label]).tolist()
        parts[0].append(rows.pop())
        if not rows:
            continue  # the only row of its class: no other part has a claim on it
        owed += ratios
        owed[0] -= 1
        for row in rows:
            owed += ratios
            part = int(owed.argmax())
            owed[part] -= 1
            parts[part].append(row)
    if not all(parts):
        raise DataError(f"a split {ratios} of {sum(map(len, rows_of.values()))} rows leaves "
                        "a part empty; expected more rows or other ratios")
    return [sorted(part) for part in parts]


def held_out(source, share, salt=""):
    """Say whether a group (a source file, an author) belongs to the held-out side.

    The answer depends on the name alone, not on what else is in the data: two programs that never
    meet agree on it, and what is held out at a small share is held out at any larger one.

    Parameters
    ----------
    source : str
        Name of the group.
    share : float
        About this share of the groups is held out, from 0 (none) to 1 (all).
    salt : str
        Another salt gives another choice.

    Examples
    --------
    >>> [held_out(name, 0.5) for name in ("a.py", "b.py", "c.py", "d.py")]
    [True, False, True, False]
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"held-out share is {share}; expected 0 to 1")
    digest = hashlib.sha256(f"{salt}\0{source}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def grouped_split(groups, share=0.2, salt=""):
    """Split rows so that all rows of a group stand on the same side.

    Parameters
    ----------
    groups : sequence of str
        The group of each row.
    share, salt
        As in `held_out`, which decides for each group. The share of the rows is met only roughly:
        groups are not split to meet it.

    Returns
    -------
    (list of int, list of int)
        Row numbers to train on, and row numbers held out.

    Raises
    ------
    DataError
        If one side is empty.
    """
    groups = list(groups)
    side = {group: held_out(group, share, salt) for group in set(groups)}
    train = [row for row, group in enumerate(groups) if not side[group]]
    held = [row for row, group in enumerate(groups) if side[group]]
    if not train or not held:
        raise DataError(f"holding out {share} of {len(side)} groups leaves a side empty; "
                        "expected more groups, another share or another salt")
    return train, held


def first_of_each_class(labels, count):
    """Return the row numbers of the first `count` rows of each class, ascending.

    Examples
    --------
    >>> first_of_each_class(["a", "a", "b", "a", "b"], 1)
    [0, 2]
    """
    seen, kept = {}, []
    for row, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= count:
            kept.append(row)
    return kept
