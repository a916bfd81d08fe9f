"""A sentence encoder put to use: vectors into a file, a search, or scores on rated pairs."""

from bert_kit.errors import ConfigError
from bert_kit.recipes.embedding import SentenceEncoder, embed_file
from bert_kit.recipes.semantic_search import format_matches, search
from bert_kit.recipes.similarity import evaluate_similarity


def embed(model=None, data_file=None, output_file=None, queries=None, pairs=False, vectors=None,
          top_k=10, pooling=None, text_column="text", delimiter=None, encoding="utf-8-sig",
          precision="float32", device="auto", download=False):
    """Do one of three things with the texts of a file; return what was done or found as text.

    Parameters
    ----------
    model : path
        Folder or name of a sentence encoder.
    data_file : path
        A text a line if it ends in .txt, else a table.
    output_file : path, optional
        Write a vector for each text; see `embed_file`.
    queries : list of str, optional
        Find the texts nearest to these, in `vectors` if they have been written before; see
        `search`.
    pairs : bool
        Score the model on rated pairs; see `evaluate_similarity`.
    pooling, precision, device, download
        As of `SentenceEncoder`.
    """
    for name, value in (("model", model), ("data_file", data_file)):
        if value is None:
            raise ConfigError(f"{name} is missing; expected a sentence encoder and a file")
    if (output_file is not None) + bool(queries) + pairs != 1:
        raise ConfigError("what to do with the texts? expected one of output_file, query and pairs")
    if vectors is not None and not queries:
        raise ConfigError("vectors are to be searched in; expected a query with them")
    encoder = SentenceEncoder(model, precision, device, pooling, download)
    rows = {"delimiter": delimiter, "encoding": encoding}
    if pairs:
        scores = evaluate_similarity(encoder, data_file, **rows)
        return "Spearman {spearman:.4f}  Pearson {pearson:.4f}".format(**scores)
    rows["text_column"] = text_column
    if queries:
        return format_matches(queries, search(encoder, queries, data_file, vectors, top_k, **rows))
    return (f"{embed_file(encoder, data_file, output_file, **rows):,} vectors of "
            f"{encoder.dimension} numbers: {output_file}")
