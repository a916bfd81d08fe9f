"""Two labelled tasks made of docstrings: which library, and which kinds of parameter?

The text is the description before the first section. Whatever would give the answer away is taken
out: package names, dotted paths, URLs, signatures, boilerplate that one library repeats, and texts
that nearly repeat another. What is left of the libraries is what they are about, and their style.

Docstrings of one file resemble one another, so a task is split by `groups` (the source file): a
random split scores several points higher for no good reason.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_kit.data.samples.corpus import distinct, plain
from bert_kit.data.samples.docstrings import (
    MIN_LENGTH, TOPICS, Docstring, Package, load_docstrings)
from bert_kit.data.splits import grouped_split
from bert_kit.errors import DataError

# The kinds of parameter, and what names them in a parameter's type.
KINDS = {
    "array": r"array|tensor|matri(x|ces)\b",
    "bool": r"\bbool(ean)?s?\b",
    "callable": r"\bcallables?\b|\bfunctions?\b",
    "dict": r"\bdict(ionary|ionaries)?s?\b|\bmapping",
    "dtype": r"\bd-?types?\b|\bdata-type",
    "estimator": r"\bestimators?\b",
    "float": r"\bfloats?\b",
    "int": r"\bint(eger)?s?\b",
    "random": r"random_?state|\bgenerator\b|\bseed",
    "str": r"\bstr(ing)?s?\b|['\"]\w+['\"]",
}
_KINDS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in KINDS.items()}

_SECTION = re.compile(r"""
      ^.*\n[ ]*([-=~*^"'`#.])\1{2,}[ ]*$                # an underlined heading
    | ^[ ]*[A-Z][A-Za-z]*([ ][\w/]+){0,2}[ ]?::?[ ]*$   # Args:   Keyword args:   Example::
    | ^[ ]*:\w+[^:`\n]*:(?!`)                           # :param x:
    | ^[ ]*(>>>|```)                                    # a doctest or fenced code
    | ^[ ]*\.\.[ ][\w\[]                                # .. directive::
    """, re.MULTILINE | re.VERBOSE)
_SIGNATURE = re.compile(r"\A\s*[\w.]+\([^\n]*\) *(->[^\n]*|--)?\n")
_GIVEAWAYS = re.compile(r"""
      \b(https?|ftp)://\S+ | \bwww\.\S+
    | \b[^\W\d]\w*(\.[^\W\d]\w+)+(\(\))?                # dotted.path()
    | \b\w*(numpy|scipy|scikit|sklearn|torch|python)\w*\b([- ]learn)?
    | \b(np|aten|c10|caffe2?|dynamo|inductor)\b
    """, re.IGNORECASE | re.VERBOSE)
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(\w[^*\n]*?)\1(?![\w*])")
_HOLES = re.compile(r"\(\s*\)|''|\"\"|\s+(?=[.,;:)])")
_BOILERPLATE = re.compile(r"read more in|user guide|metadata routing|glossary", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z])")

# A section of parameters in numpy's style (x : type) and in Google's (x (type): …).
_NUMPY_SECTION = re.compile(r"^(?:Other )?Parameters\n-{3,}\n(.*?)(?=^\S[^\n]*\n-{3,}|\Z)",
                            re.MULTILINE | re.DOTALL)
_NUMPY_TYPE = re.compile(r"^[\w*][\w*, ]*? ?: ?(.+)$", re.MULTILINE)
_GOOGLE_SECTION = re.compile(r"^(?:Parameters|(?:Keyword )?[Aa]rg(?:ument)?s):\n"
                             r"(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_GOOGLE_TYPE = re.compile(r"^ +\*{0,2}\w+ ?\((.*?)\) ?:", re.MULTILINE)
_DEFAULT = re.compile(r",? ?(default|optional).*")


@dataclass(frozen=True)
class TextTask:
    """Labelled texts: a class name or a tuple of names for each, and the file it stands in."""

    texts: list[str]
    labels: Sequence[str | tuple[str, ...]]
    groups: list[str]
    classes: list[str]

    def split(self, share: float = 0.2, salt: str = "") -> tuple["TextTask", "TextTask"]:
        """Return the task to train on and the one held out, by source file (`held_out`).

        `Corpus.split` with the same share and salt holds out the same files.
        """
        train, test = (TextTask([self.texts[i] for i in rows], [self.labels[i] for i in rows],
                                [self.groups[i] for i in rows], self.classes)
                       for rows in grouped_split(self.groups, share, salt))
        return train, test


def library_task(per_class: int | None = 900, seed: int = 0, cache: str | Path | None = None,
                 packages: list[Package] | None = None) -> TextTask:
    """Return the task "which library does this description come from" (one class a text).

    Parameters
    ----------
    per_class
        Texts of each class, drawn at random; fewer when the smallest class has fewer, so that the
        classes stay balanced. None takes everything there is.
    seed
        Seed of the draw.
    cache, packages
        As in `load_docstrings`.

    Raises
    ------
    DataError
        If fewer than two packages have usable descriptions.
    """
    rows = _without_repeats(_descriptions(cache, packages))
    rows_of: dict[str, list[int]] = {}
    for i, (docstring, _) in enumerate(rows):
        rows_of.setdefault(docstring.package, []).append(i)
    if len(rows_of) < 2:
        raise DataError(f"descriptions found of {', '.join(rows_of) or 'no package'}; "
                        "expected two packages or more")
    if per_class is not None:
        count = min(per_class, *map(len, rows_of.values()))
        generator = np.random.default_rng(seed)
        rows_of = {name: generator.permutation(own)[:count].tolist()
                   for name, own in rows_of.items()}
    chosen = sorted(i for own in rows_of.values() for i in own)
    return TextTask([rows[i][1] for i in chosen], [rows[i][0].package for i in chosen],
                    [rows[i][0].source for i in chosen], sorted(rows_of))


def parameter_task(cache: str | Path | None = None,
                   packages: list[Package] | None = None) -> TextTask:
    """Return the task "which kinds of parameter does it take" (any of the `KINDS` a text).

    Only functions and classes that state the type of a parameter take part; the label of a text
    is the sorted tuple of its kinds, never empty.

    Parameters
    ----------
    cache, packages
        As in `load_docstrings`.

    Raises
    ------
    DataError
        If no docstring states the type of a parameter.
    """
    rows = _without_repeats((docstring, text) for docstring, text in _descriptions(cache, packages)
                            if parameter_kinds(docstring.text))
    if not rows:
        raise DataError("no docstring states the type of a parameter; expected some")
    return TextTask([text for _, text in rows],
                    [parameter_kinds(docstring.text) for docstring, _ in rows],
                    [docstring.source for docstring, _ in rows], sorted(KINDS))


def _descriptions(cache: str | Path | None,
                  packages: list[Package] | None) -> Iterator[tuple[Docstring, str]]:
    """Yield (docstring, description) for every description that is long enough."""
    for docstring in load_docstrings(cache, packages):
        if TOPICS not in docstring.source:
            text = description(docstring.text)
            if len(text) >= MIN_LENGTH:
                yield docstring, text


def _without_repeats(rows: Iterable[tuple[Docstring, str]]) -> list[tuple[Docstring, str]]:
    rows = list(rows)
    return [rows[i] for i in distinct([text for _, text in rows])]


def description(docstring: str) -> str:
    """Return the description before the first section, without what names the library.

    Examples
    --------
    >>> description("Sort with `numpy.sort`.\\n\\nParameters\\n----------\\nx : array")
    'Sort with.'
    """
    text = _SIGNATURE.sub("", docstring)
    section = _SECTION.search(text)
    text = plain(text[:section.start()] if section else text)
    text = _EMPHASIS.sub(r"\2", _GIVEAWAYS.sub("", text))
    text = _HOLES.sub("", " ".join(text.split()))
    return " ".join(sentence for sentence in _SENTENCE.split(text)
                    if not _BOILERPLATE.search(sentence))


def parameter_kinds(docstring: str) -> tuple[str, ...]:
    """Return the kinds of parameter that a docstring states, sorted.

    Examples
    --------
    >>> parameter_kinds("Sort.\\n\\nArgs:\\n    x (Tensor): what\\n    dim (int, optional): where")
    ('array', 'int')
    """
    types = [_DEFAULT.sub("", text)
             for sections, entries in ((_NUMPY_SECTION, _NUMPY_TYPE),
                                       (_GOOGLE_SECTION, _GOOGLE_TYPE))
             for section in sections.findall(docstring) for text in entries.findall(section)]
    return tuple(kind for kind, pattern in _KINDS.items() if any(map(pattern.search, types)))
