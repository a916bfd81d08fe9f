"""Made-up documents, and the files that hold them, for the tests of documents and stores."""

import json
import random

WORDS = ["ka", "to", "mi.", "\u00e9t\u00e9", "\u4e2d\u6587", "\u2603"]


def made_document(rng, longest=6):
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9)))
            for _ in range(rng.randint(1, longest))]


def made_documents(count, seed=0, longest=6):
    rng = random.Random(seed)
    return [made_document(rng, longest) for _ in range(count)]


def write_gaps(path, documents, end="\n", mark="", gap=("",)):
    """Write documents with empty lines (or what stands in `gap`) between them."""
    lines = [line for document in documents for line in [*document, *gap]]
    path.write_bytes((mark + end.join(lines) + end).encode())


def write_lines(path, documents):
    path.write_text("".join(" ".join(document) + "\n" for document in documents), "utf-8")


def write_json(path, documents, ascii=False):
    path.write_text("".join(json.dumps({"id": 5, "text": "\n".join(document)}, ensure_ascii=ascii)
                            + "\n" for document in documents), "utf-8")
