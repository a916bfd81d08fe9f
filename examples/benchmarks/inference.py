"""Time prediction: the kit's prepared models beside what else runs a BERT on a CPU.

    pip install transformers openvino onnxruntime onnx onnxscript ctranslate2
    python examples/benchmarks/inference.py --texts test.csv
    python examples/benchmarks/inference.py --quick

From token ids to one vector a text, the mean of its token vectors; all sides get the same batches
of 32 texts, padded to the longest of each, sorted by length and in random order, and single texts.
They take turns within one process, each turn of single texts after a pause; a figure is the median
over the rounds of (our time / their time), so of their speed over ours, with the smallest and the
largest. "cosine" is the smallest between a side's vectors and ours in float32. "of rate" is the
time that the matrix products of our pass take alone, see products.py. What is not installed is left
out by name.
"""

import argparse
import csv
import json
import shutil
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pairs import (machine, model_folder, quiet, ratios, seconds_of, spread, take_turns,
                   write_figures)
from products import products_alone, products_of
from torch.nn import functional as F

from bert_kit import BERTModel, get_tokenizer, load_pretrained, prepare_for_inference
from bert_kit.data import load_corpus
from bert_kit.data.batches.batching import pad_batch
from bert_kit.training import best_precision, keep_freed_memory

ROWS = 32
PAUSE = 0.2  # seconds: threads of ONNX Runtime wait busily, on a core, for some 70 ms after a call
SIZES = ("minilm", "bert-small", "bert-base")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=SIZES,
                        help="minilm, a size of the kit (random weights) or a folder")
    parser.add_argument("--texts", help="CSV with a column text; default the kit's sample texts")
    parser.add_argument("--count", type=int, default=512, help="texts in batches")
    parser.add_argument("--single", type=int, default=100, help="texts one at a time")
    parser.add_argument("--max_length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--profile", action="store_true", help="shares of operations, 32 x 61")
    parser.add_argument("--quick", action="store_true", help="MiniLM's size, few texts, one round")
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args(arguments)
    if args.quick:
        args.model, args.count, args.single, args.rounds = args.model[:1], 64, 5, 1
    return args


def mean(hidden, mask):
    """(B, S, D), (B, S) -> (B, D): the mean over real tokens, of length 1."""
    hidden, mask = torch.as_tensor(hidden).float(), mask[..., None]
    return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def ours(folder, precision, scratch):
    """Return (batch -> vectors) of the kit."""
    model = prepare_for_inference(load_pretrained(BERTModel, folder), precision)
    keep_freed_memory()

    def run(batch):
        with torch.inference_mode():
            return mean(model(**batch).last_hidden_state, batch["attention_mask"])
    return run


def transformers_side(folder, precision, scratch):
    """Return the same of transformers with torch's attention, in bfloat16 under autocast."""
    from transformers import BertModel
    model = BertModel.from_pretrained(folder, attn_implementation="sdpa",
                                      add_pooling_layer=False).eval()

    def run(batch):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16,
                                                    enabled=precision == "bfloat16"):
            return mean(model(**batch).last_hidden_state, batch["attention_mask"])
    return run


class Exportable(torch.nn.Module):
    """transformers' encoder with the mask of BERT's first export, which optimisers recognise."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        added = (1.0 - attention_mask[:, None, None, :].float()) * -10_000.0
        return self.model(input_ids=input_ids, attention_mask=added,
                          token_type_ids=token_type_ids).last_hidden_state


def exported(folder, scratch):
    """Return an ONNX file of transformers' model, made once."""
    from transformers import BertModel
    path = Path(scratch) / "model.onnx"
    if not path.exists():
        model = BertModel.from_pretrained(folder, attn_implementation="eager",
                                          add_pooling_layer=False).eval()
        ids = torch.ones(2, 7, dtype=torch.long)
        names = ["input_ids", "attention_mask", "token_type_ids"]
        torch.onnx.export(
            Exportable(model), (ids, ids, ids * 0), str(path), input_names=names,
            output_names=["hidden"], dynamo=False, opset_version=17,
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in [*names, "hidden"]})
    return path


def onnx_side(folder, precision, scratch):
    """Return the same of ONNX Runtime, its graph fused by its own optimiser for BERT."""
    import onnxruntime
    from onnxruntime.transformers import optimizer
    from transformers import BertConfig
    path, config = exported(folder, scratch), BertConfig.from_pretrained(folder)
    fused = path.with_name("fused.onnx")
    optimizer.optimize_model(
        str(path), "bert", config.num_attention_heads, config.hidden_size,
        opt_level=0).save_model_to_file(str(fused))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(fused), options, ["CPUExecutionProvider"])
    names = {given.name for given in session.get_inputs()}

    def run(batch):
        hidden, = session.run(None, {name: x.numpy() for name, x in batch.items() if name in names})
        return mean(hidden, batch["attention_mask"])
    return run


def openvino_side(folder, precision, scratch):
    """Return the same of OpenVINO, which casts by itself where asked for bfloat16."""
    import openvino
    core = openvino.Core()
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    compiled = core.compile_model(core.read_model(exported(folder, scratch)), "CPU", {
        "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads()})
    request = compiled.create_infer_request()

    def run(batch):
        hidden = request.infer({name: x.numpy() for name, x in batch.items()})[0]
        return mean(hidden, batch["attention_mask"])
    return run


def ctranslate2_side(folder, precision, scratch, kind=None):
    """Return the same of CTranslate2."""
    import ctranslate2
    target = Path(scratch) / "ctranslate2"
    if not target.exists():  # its converter asks for a key that newer folders do not have
        copy = target.with_name("copy")
        copy.mkdir()
        for file in Path(folder).glob("*"):
            if file.suffix in (".json", ".txt", ".safetensors"):
                shutil.copy(file, copy)
        config = json.loads((copy / "config.json").read_text())
        config.setdefault("position_embedding_type", "absolute")
        (copy / "config.json").write_text(json.dumps(config))
        ctranslate2.converters.TransformersConverter(str(copy)).convert(str(target))
    encoder = ctranslate2.Encoder(str(target), device="cpu", compute_type=kind or precision,
                                  inter_threads=1, intra_threads=torch.get_num_threads())

    def run(batch):
        lengths = batch["attention_mask"].sum(1).tolist()
        ids = [row[:length] for row, length in zip(batch["input_ids"].tolist(), lengths,
                                                   strict=True)]
        hidden = np.array(encoder.forward_batch(ids).last_hidden_state)
        return mean(hidden, batch["attention_mask"])
    return run


PEERS = {"transformers": transformers_side, "ONNX Runtime": onnx_side, "OpenVINO": openvino_side,
         "CTranslate2": ctranslate2_side}
ONLY_FLOAT32 = ("ONNX Runtime", "CTranslate2")  # on a CPU


def make_sides(folder, precision, peers, scratch):
    """Return {name: batch -> vectors}, the kit's first, and say what is left out."""
    makers = {"ours": ours, **{name: PEERS[name] for name in peers
                               if precision == "float32" or name not in ONLY_FLOAT32}}
    if precision != "float32" and "CTranslate2" in peers:
        makers["CTranslate2 int8"] = partial(ctranslate2_side, kind="int8")
    sides = {}
    for name, make in makers.items():
        try:
            with quiet():
                sides[name] = make(folder, precision, scratch)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            print(f"  {name}: left out ({str(error).splitlines()[0]:.80})")
    return sides


def read_texts(path, count):
    """Return texts in a random order that is always the same."""
    if path is None:
        texts = [document.text for document in load_corpus().documents]
    else:
        with open(path, newline="", encoding="utf-8") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    return [texts[row] for row in order]


def with_tokenizer(folder, scratch):
    """Return the folder; one of random weights gets MiniLM's tokenizer, if that is installed."""
    with tempfile.TemporaryDirectory() as other:
        minilm = Path(model_folder("minilm", other))
        for file in minilm.glob("*") if folder == scratch else ():
            if file.suffix in (".json", ".txt") and not (Path(folder) / file.name).exists():
                shutil.copy(file, folder)
    return folder


def make_batches(rows, size):
    """Return batches of encoded rows, each padded to its longest."""
    return [{key: value for key, value in pad_batch(rows[start:start + size]).items()
             if key != "labels"} for start in range(0, len(rows), size)]


def encoded(texts, folder, max_length):
    """Return the rows of some texts; a folder without a tokenizer gets ids by their words."""
    try:
        tokenizer = get_tokenizer(folder)
        rows = [tokenizer.encode(text, max_length=max_length).ids for text in texts]
    except ValueError:
        rows = [[101, *(1_000 + len(word) * 7 % 20_000 for word in text.split()), 102][:max_length]
                for text in texts]
    return [{"input_ids": ids, "token_type_ids": [0] * len(ids), "labels": 0} for ids in rows]


def products_seconds(folder, precision, batches):
    """Return how long the matrix products of our pass over some batches take by themselves."""
    model = load_pretrained(BERTModel, folder)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16,
                                                enabled=precision == "bfloat16"):
        alone = [products_alone(products_of(lambda batch=batch: model(**batch)))
                 for batch in batches]
        return seconds_of(lambda: [run() for run in alone])


def compare(name, folder, rows, args, precision, exact, scratch):
    """Print and return the figures of one model in one precision."""
    figures, sides = [], make_sides(folder, precision, args.peers, scratch)
    by_length = sorted(rows, key=lambda row: -len(row["input_ids"]))
    orders = {"sorted": make_batches(by_length, ROWS), "random": make_batches(rows, ROWS)}
    vectors = {side: torch.cat([run(batch) for batch in orders["random"]])
               for side, run in sides.items()}
    exact.setdefault("vectors", vectors["ours"])
    for order, batches in orders.items():
        seconds = take_turns({side: lambda run=run: [run(batch) for batch in batches]
                              for side, run in sides.items()}, args.rounds)
        share = products_seconds(folder, precision, batches) / statistics.median(seconds["ours"])
        filled = sum(int(batch["attention_mask"].sum()) for batch in batches) / sum(
            batch["input_ids"].numel() for batch in batches)
        for side in sides:
            speed = len(rows) / statistics.median(seconds[side])
            cosine = float(F.cosine_similarity(vectors[side].double(),
                                               exact["vectors"].double()).min())
            figures.append({"model": name, "precision": precision, "order": order, "side": side,
                            "texts_a_second": speed, "filled": filled, "cosine": cosine,
                            "over_ours": ratios(seconds["ours"], seconds[side]),
                            **({"of_rate": share} if side == "ours" else {})})
            print(f"{name:11}{precision:10}{order:8}{side:18}{speed:9.0f}/s  "
                  f"{spread(figures[-1]['over_ours'])} cosine {cosine:.6f}"
                  + (f"  of rate {share:.2f}, {filled:.0%} filled" if side == "ours" else ""),
                  flush=True)
    return figures + one_at_a_time(name, precision, sides, make_batches(rows[:args.single], 1),
                                   args.rounds)


def one_at_a_time(name, precision, sides, batches, rounds):
    """Print and return the latency of single texts: median and 99th percentile, in ms."""
    def each(run):
        time.sleep(PAUSE)
        return [seconds_of(partial(run, batch)) * 1e3 for batch in batches]

    taken, figures = take_turns(sides, rounds, measure=each), []  # the first round compiles kernels
    for side, values in taken.items():
        median, worst = np.percentile(values, [50, 99])
        over = np.median(taken["ours"]) / median
        figures.append({"model": name, "precision": precision, "order": "single", "side": side,
                        "median_ms": median, "p99_ms": worst, "over_ours": over})
        print(f"{name:11}{precision:10}{'single':8}{side:18}{median:8.2f} ms, 99% within "
              f"{worst:.2f} ms  {over:6.2f}x", flush=True)
    return figures


KINDS = {"products": ("addmm", "linear", "bmm", "::mm"), "attention": ("scaled_dot", "softmax"),
         "LayerNorm": ("layer_norm",), "GELU": ("gelu",),
         "copies": ("copy", "index", "cat", "fill", "_to_copy")}


def profile(folder, precisions):
    """Print what share of a forward pass of 32 rows of 61 tokens each kind of operation takes."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1_000, 20_000, (ROWS, 61), generator=generator)
    model = load_pretrained(BERTModel, folder)
    for precision in precisions:
        cast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
        ready = prepare_for_inference(model, precision)
        for what, run in {"plain": cast(model.forward), "prepared": ready}.items():
            with torch.inference_mode():
                run(ids)
                run(ids)
                with torch.profiler.profile(
                        activities=[torch.profiler.ProfilerActivity.CPU]) as watch:
                    run(ids)
            shares = dict.fromkeys([*KINDS, "rest"], 0.0)
            for event in watch.key_averages():
                kind = next((kind for kind, words in KINDS.items()
                             if any(word in event.key for word in words)), "rest")
                shares[kind] += event.self_cpu_time_total / 1e3
            total = sum(shares.values())
            print(f"{precision:10}{what:10}{total:8.1f} ms  " + "  ".join(
                f"{kind} {share / total:.0%}" for kind, share in shares.items()), flush=True)


def main(args):
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    processor = (getattr(torch.cpu, "get_capabilities", dict)() or {}).get("cpu_name", "a CPU")
    print(f"{machine()}, {processor}; {args.count} texts, batches of {ROWS}, {args.rounds} rounds")
    texts, figures = read_texts(args.texts, max(args.count, args.single)), []
    for name in args.model:
        with tempfile.TemporaryDirectory() as scratch:
            folder = with_tokenizer(model_folder(name, scratch), scratch)
            if args.profile:
                profile(folder, precisions)
                continue
            rows, exact = encoded(texts, folder, args.max_length), {}
            for precision in precisions:
                figures += compare(name, folder, rows, args, precision, exact, scratch)
    write_figures(args.json, figures)


if __name__ == "__main__":
    main(parse_arguments())
