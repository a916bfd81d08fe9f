"""The command `embed`: vectors into a file, a search, or scores on rated pairs."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Unpack

import numpy as np

from bert_kit.data import Reading, stream_texts
from bert_kit.errors import ConfigError
from bert_kit.files import atomic_file, write_json
from bert_kit.jobs.commands.search import again, format_matches, origin_file, origin_of, search
from bert_kit.jobs.options.declare import Needs, option
from bert_kit.jobs.options.groups import (PrecisionOptions, TableReadingOptions, UseOptions,
                                          check_output, is_table)
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.tasks.pairs import LABEL, TEXTS, read_pairs
from bert_kit.jobs.tasks.similarity import SentenceEncoder, SimilarityTask, chunks_of
from bert_kit.printing import show
from bert_kit.weights import SentenceLayout


@dataclass(frozen=True)
class EmbedOptions(UseOptions, PrecisionOptions, TableReadingOptions):
    """What to turn into vectors, and what to do with them."""

    title: ClassVar[str] = "data"
    examples = ("bert-kit embed --model minilm --data_file texts.txt --output_file vectors.npy",
                'bert-kit embed --model minilm --data_file texts.txt --query "late delivery"')
    main = ("model", "data_file", "output_file", "query", "pairs")

    data_file: str | None = option(None, "table, or .txt with a text a line", "input_file")
    output_file: str | None = option(None, ".npy to write: a vector for each text")
    query: tuple[str, ...] | None = option(None, "find the texts nearest to these",
                                           may_be_empty=True)
    pairs: bool = option(False, "score the model on the columns text_a, text_b and label, a "
                         "number; without a label, on finding each text_b by its text_a")
    prompt: str | None = option(
        None, "words to put before each query, or before each text where there is no query; by "
        "default those that the model's folder stores", may_be_empty=True)
    document_prompt: str | None = option(
        None, "words to put before each text that is searched; by default the stored ones",
        may_be_empty=True, needs=Needs("a query, or pairs", lambda options: (
            bool(options.query) or options.pairs)))
    vectors: str | None = option(None, "what output_file wrote before, to search in")
    top_k: int = option(10, "texts to find for a query", least=1,
                        needs=Needs("a query", lambda options: bool(options.query)))
    text_column: str = option("text", "column of the table", needs=Needs(
        "a table of texts", lambda options: is_table(options.data_file) and not options.pairs))
    pooling: str | None = option(None, "how token vectors become one, where the model's folder "
                                 "does not say", choices=("cls", "mean", "max"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_file is None:
            raise ConfigError("data_file is missing; expected a sentence encoder and a file")
        if (self.output_file is not None) + bool(self.query) + self.pairs != 1:
            raise ConfigError("what to do with the texts? expected one of output_file, query and "
                              "pairs")
        if self.vectors is not None and not self.query:
            raise ConfigError("vectors are to be searched in; expected a query with them")
        check_output(self.output_file, self.data_file)

    def with_prompts(self, layout: SentenceLayout) -> SentenceLayout:
        """Return a layout with the prompts that are given instead of the stored ones."""
        if self.output_file is not None:
            return layout.with_prompts(document=self.prompt)
        layout = layout.with_prompts(query=self.prompt, document=self.document_prompt)
        if self.pairs and self.prompt is not None:  # rated ones are alike: neither is a query
            layout = layout._replace(default_prompt="query")
        return layout


def run(options: EmbedOptions) -> str:
    """Do one of three things with the texts of a file; print and return what was done, as text."""
    encoder = SentenceEncoder(options.model, options.precision, options.device, options.pooling,
                              options.download)
    encoder.layout = options.with_prompts(encoder.layout)
    rows, count = options.reading(), None
    if options.pairs:
        scores = evaluate_similarity(encoder, str(options.data_file), **rows)
        text = "  ".join(f"{heading} {scores[key]:.4f}"
                         for key, heading, *_ in SimilarityTask.columns if key in scores)
    elif options.query:
        text = format_matches(options.query, search(
            encoder, options.query, str(options.data_file), options.vectors, options.top_k,
            options.text_column, **rows))
    else:
        count = embed_file(encoder, str(options.data_file), str(options.output_file),
                           options.text_column, **rows)
        text = f"{count:,} vectors of {encoder.dimension} numbers: {options.output_file}"
    tell_reading(rows, count, options)
    show(text)
    return text


def evaluate_similarity(encoder: SentenceEncoder, data_file: str | Path,
                        **reading: Unpack[Reading]) -> dict[str, float]:
    """Return how well the cosines of a file's pairs follow its scores, or find what is right.

    The file is a table with the columns text_a, text_b and label, a number. Without label each
    text_b is right for its text_a, and is searched for among all of text_b (and text_c).

    Returns
    -------
    dict
        `spearman` (of ranks, the usual one; Reimers & Gurevych 2019, section 4) and `pearson`;
        or what `bert_kit.evaluation.ranking_metrics` gives.
    """
    task, part = SimilarityTask(), read_pairs(data_file, TEXTS, LABEL, reading)
    return task.scores(encoder.answers(task.scored(part)), part, encoder)


def embed_file(encoder: SentenceEncoder, data_file: str | Path, output_file: str | Path,
               text_column: str = "text", **reading: Unpack[Reading]) -> int:
    """Write the vectors of a file's texts as a .npy file (N, D), and return N.

    The texts are documents, to be searched: before each stands the encoder's prompt for these.
    Beside it a .npy.json says of which texts and model they are; `search` looks there. Neither the
    texts nor the vectors are in memory all at once; nor need they be afterwards:
    ``numpy.load(output_file, mmap_mode="r")``.

    Parameters
    ----------
    data_file
        A text a line if it ends in .txt, else a table; see `bert_kit.data.stream_texts`.
    text_column, **reading
        As of `stream_texts`.
    output_file
        Ending in .npy.

    Raises
    ------
    BertKitError
        If a row cannot be used, before any work, or the output cannot be written.
    """
    if not str(output_file).endswith(".npy"):
        raise ConfigError(f"{output_file}: expected a name that ends in .npy")
    texts = partial(stream_texts, data_file, text_column)
    origin = origin_of(encoder, texts(**reading))
    count = origin["rows"]
    reading = again(reading)
    # Written row after row, not through a map: where the disk is full, a map kills the process.
    with atomic_file(output_file) as path, open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {
            "descr": np.dtype(np.float32).str, "fortran_order": False,
            "shape": (count, encoder.dimension)})
        for chunk in chunks_of(texts(**reading)):
            encoder.encode_document(chunk).tofile(file)
        origin_file(output_file).unlink(missing_ok=True)  # it is about what stood here before
    write_json(origin_file(output_file), origin)
    return count

