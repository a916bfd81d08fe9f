"""The command `corpus`: the text that every Python has, written out for a look or other tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bert_kit.data import load_corpus
from bert_kit.files import write_text
from bert_kit.jobs.options.declare import Options, option
from bert_kit.printing import show


@dataclass(frozen=True)
class CorpusOptions(Options):
    """Where to write to."""

    title: ClassVar[str] = "data"
    examples = ("bert-kit corpus --output corpus.txt",)

    output: str = option("corpus.txt", "file to write")


def run(options: CorpusOptions) -> None:
    """Write the corpus and say how large it is."""
    show(f"{options.output}: {write_corpus(options.output)}")


def write_corpus(output: str | Path) -> str:
    """Write the docstring corpus and return its size in one line.

    The format is that of BERT's own pre-training input: one sentence a line, an empty line
    between documents.
    """
    corpus = load_corpus()
    write_text(output, "\n\n".join("\n".join(document.sentences)
                                   for document in corpus.documents) + "\n")
    return corpus.describe()
