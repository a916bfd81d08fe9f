"""A corpus for pre-training: the docstrings of the installed packages as documents of sentences.

The rule for sentences is short and therefore not perfect. A sentence ends

- at an empty line and at a heading's underline, a doctest or fenced code (which are left out);
- before a list item and before a parameter ("x : int", "x (int): …");
- after ". ", "! " or "? " in front of a capital letter, unless it is an initial, "e.g." or "i.e.".
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_kit.data.samples.docstrings import MIN_LENGTH, Package, load_docstrings
from bert_kit.data.splits import held_out

# :role:`text`, :domain:role:`text <target>`, ``code``, `name`_
_ROLE = re.compile(r"(?::\w+)*:\w+:`~?([^`<]*?)\s*(?:<[^`>]*>)?`")
_QUOTED = re.compile(r"``?~?([^`\n]+)``?_{0,2}")
_DIRECTIVE = re.compile(r"^[ \t]*\.\. [\w:-]+::", re.MULTILINE)

_UNDERLINE = re.compile(r"[-=~*^\"'#+|_. ]{3,}")
_ITEM = re.compile(r"[-*•+] |\(?\d+[.)] |\*{0,2}\w+ ?\([^)]*\) ?: |:\w+[^:]*: ")
_PARAMETER = re.compile(r"\*{0,2}\w+(, \*{0,2}\w+)* : .+")
_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')]))"
                  r"(?<!\b[A-Z]\.)(?<!\be\.g\.)(?<!\bi\.e\.)\s+(?=[\"'(*]*[A-Z])")
_WORD = re.compile(r"[^\W\d_]{2}")
_LETTERS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Document:
    """One docstring as plain sentences, in their order; `source` is "package/path.py"."""

    package: str
    source: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole document in one line."""
        return " ".join(self.sentences)


@dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order."""

    documents: list[Document]

    def split(self, share: float = 0.1, salt: str = "") -> tuple["Corpus", "Corpus"]:
        """Return the corpus to train on and the one held out, by source file (`held_out`)."""
        parts: tuple[list[Document], list[Document]] = ([], [])
        for document in self.documents:
            parts[held_out(document.source, share, salt)].append(document)
        return Corpus(parts[0]), Corpus(parts[1])

    def describe(self) -> str:
        """Return the size in one line."""
        texts = [document.text for document in self.documents]
        return (f"{len(texts):,} documents, {sum(len(d.sentences) for d in self.documents):,} "
                f"sentences, {sum(len(text.split()) for text in texts):,} words, "
                f"{sum(len(text.encode()) for text in texts) / 1e6:.1f} MB")


def load_corpus(cache: str | Path | None = None,
                packages: list[Package] | None = None) -> Corpus:
    """Return the docstrings of the installed packages as a corpus without near-duplicates.

    Parameters
    ----------
    cache, packages
        As in `load_docstrings`; by default the user's cache folder and everything installed.

    Returns
    -------
        About 17,000 documents; the same for the same versions of Python, numpy, scikit-learn
        and torch.
    """
    documents = []
    for package, source, text in load_docstrings(cache, packages):
        sentences = tuple(split_sentences(plain(text)))
        if sum(map(len, sentences)) >= MIN_LENGTH:
            documents.append(Document(package, source, sentences))
    different = distinct([document.text for document in documents], width=8, share=0.8)
    return Corpus([documents[i] for i in different])


def plain(text: str) -> str:
    """Return the text without reStructuredText's marks of roles, code and directives.

    Examples
    --------
    >>> plain("See :func:`~numpy.dot` and ``axis``.")
    'See numpy.dot and axis.'
    """
    return _DIRECTIVE.sub("", _QUOTED.sub(r"\1", _ROLE.sub(r"\1", text)))


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences by the rule at the top of this file.

    Examples
    --------
    >>> split_sentences("Sort a list. It is\\nstable, i.e. order stays.\\n\\n>>> sort([2, 1])")
    ['Sort a list.', 'It is stable, i.e. order stays.']
    """
    sentences = [sentence for paragraph in _paragraphs(text) for sentence in _END.split(paragraph)]
    return [sentence for sentence in sentences if _WORD.search(sentence)]


def _paragraphs(text: str) -> Iterator[str]:
    """Yield runs of lines that belong together, each joined into one line."""
    lines, doctest, fenced = [], False, False
    for line in [*text.splitlines(), ""]:
        line = " ".join(line.split())
        fence = line.startswith("```")
        fenced ^= fence
        doctest = line.startswith(">>>") or (doctest and line != "")
        ends = not line or doctest or fenced or fence or _UNDERLINE.fullmatch(line)
        parameter = _PARAMETER.fullmatch(line)
        if lines and (ends or parameter or _ITEM.match(line)):
            yield " ".join(lines)
            lines = []
        if parameter:
            yield line
        elif not ends:
            lines.append(line)


def distinct(texts: Iterable[str], width: int = 5, share: float = 0.5) -> list[int]:
    """Return the numbers of the texts that do not repeat earlier ones.

    A text repeats when more than `share` of its runs of `width` words were all seen in texts kept
    before it. Case, digits and punctuation do not count.

    Examples
    --------
    >>> distinct(["Sort the list in place.", "Sort the list in place!", "Sort a copy."], width=2)
    [0, 2]
    """
    numbers, seen, different = {}, set(), []
    for i, text in enumerate(texts):
        words = [numbers.setdefault(word, len(numbers)) for word in _LETTERS.findall(text.lower())]
        # Hashes of tuples of numbers, unlike those of strings, are the same in every process.
        runs = {hash(tuple(words[j:j + width])) for j in range(max(1, len(words) - width + 1))}
        if len(runs & seen) <= share * len(runs):
            seen |= runs
            different.append(i)
    return different
