"""What a GPU shows of the kit, in one call of at most eight minutes.

    pip install transformers
    python examples/benchmarks/gpu.py --output_folder runs/gpu
    python examples/benchmarks/gpu.py --device cpu --quick    # a rehearsal, for want of a GPU

Each section has a process and a time of its own, so that one that fails or hangs takes nothing
from the others; the last one, torch.compile for the peer, has what is left of --minutes. A section
prints a table, and writes its rows to NAME.json as it goes; a failure is one line, and the exit
status is 1 at the end. The sections:

    tests      tests/training/test_cuda.py: every task, head and precision against the CPU
    steps      training steps beside transformers, with sdpa and with eager attention
    attention  on packed tokens: the kit's masked call, varlen, nested tensors, flex attention
    graphs     prediction where shapes repeat: as it is, recorded in a CUDA graph, transformers
    loop       a whole run of the Trainer beside its bare steps
    processes  a training step shared by two GPUs (nccl; gloo between two processes on a CPU)
    compiled   the training steps of transformers in torch.compile

"tokens/s" counts real tokens. MFU is the share of the peak that the necessary operations take,

    3 (L (2 N (4 D² + 2 D I) + 4 D sum of S²) + head) / seconds / peak

with N real tokens in rows of S: nothing for padding, nothing for what is computed twice, and of a
masked-token head only the tokens that are masked. "waits" are calls in a step in which the program
waits for the device (cudaStreamSynchronize and cudaEventSynchronize); "pageable" are copies from
memory that is not pinned, which can wait too. The peak is that of the data sheet, without
sparsity; --peak_tflops gives another, and a device that is not in PEAKS has the rate of one large
product that is measured at the start.
"""

import argparse
import contextlib
import copy
import functools
import gc
import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from pairs import model_folder, quiet, run_alone, write_figures
from sides import FILLED, forward, our_step, random_batch, their_step, with_labels
from torch.nn import functional as F

from bert_kit import (BERTForSequenceClassification, BertConfig, compute_classification_loss,
                      load_pretrained)
from bert_kit.data import make_loader
from bert_kit.data.batches.batching import RowDataset
from bert_kit.model import EncoderOutput, Packing
from bert_kit.model.fast.attention import fast_attention
from bert_kit.modes import to_device
from bert_kit.training import (AMPTrainer, Trainer, TrainingArguments, join_processes,
                               make_optimizer, peak_memory, reset_peak_memory)

ROOT = Path(__file__).resolve().parents[2]
# Seconds of each section; what they leave goes to the last one.
SECONDS = {"tests": 75, "steps": 170, "attention": 60, "graphs": 45, "loop": 30, "processes": 40,
           "compiled": 480}
# TFLOP/s of the data sheets: dense products in 16 bits, and in float32. The first name that is
# part of the device's counts.
PEAKS = {"H200": (989, 67), "H100 PCIe": (756, 51), "H100": (989, 67),
         "B200": (2250, 80), "A100": (312, 19.5), "L40S": (362, 91.6), "L4": (121, 30.3),
         "A10": (125, 31.2), "V100": (125, 15.7), "T4": (65, 8.1), "4090": (165, 82.6)}
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--sections", nargs="+", choices=SECONDS, default=list(SECONDS))
    parser.add_argument("--models", nargs="+", default=["bert-base", "minilm"],
                        help="minilm, bert-SIZE or folders")
    parser.add_argument("--rows", nargs="+", type=int, default=[32, 256], help="in a batch")
    parser.add_argument("--max_length", type=int, default=128, help="tokens in a row")
    parser.add_argument("--peak_tflops", type=float, help="of the device, in 16 bits")
    parser.add_argument("--minutes", type=float, default=8, help="in all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--output_folder", default="runs/gpu", help="for the figures")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # the section of this process
    args = parser.parse_args(arguments)
    if args.quick:
        args.models, args.rows, args.max_length = ["bert-tiny"], [3], 16
    return args


def operations(config, lengths, work, masked=0):
    """Return the floating-point operations that a training step cannot do without; see above."""
    width, inner = config.hidden_size, config.intermediate_size
    tokens, pairs = sum(lengths), sum(length**2 for length in lengths)
    blocks = config.num_hidden_layers * (
        2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * width * pairs)
    head = (2 * masked * width * (width + config.vocab_size) if work == "mlm"
            else 2 * len(lengths) * width * (width + 2))
    return 3 * (blocks + head)


def wait(device):
    """Wait until the device has done all that it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_a_call(call, args, most=40):
    """Return the mean time of a call, after two, over as many as take about .4 seconds."""
    device, least = args.device, 0.0 if args.quick else 0.4
    for _ in range(2):
        call()
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    count = max(1 if args.quick else 3, min(most, int(least / (time.perf_counter() - start))))
    start = time.perf_counter()
    for _ in range(count):
        call()
    wait(device)
    return (time.perf_counter() - start) / count


def product_rate(args, precision):
    """Return the TFLOP/s of one product of two square matrices of random numbers."""
    size = 256 if args.quick else 8192
    left, right = (torch.randn(size, size, device=args.device, dtype=getattr(torch, precision))
                   for _ in range(2))
    return 2 * size**3 / seconds_a_call(lambda: left @ right, args) / 1e12


def peak_rate(args, precision):
    """Return (TFLOP/s of the device's peak, where that is from)."""
    wide = precision == "float32"
    if args.peak_tflops and not wide:
        return args.peak_tflops, "--peak_tflops"
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    for part, peaks in PEAKS.items():
        if part in name:
            return peaks[wide], f"data sheet of {part}"
    return product_rate(args, precision), "measured product"


def host_waits(call, device, count=2):
    """Return (waits, pageable copies) of a call, as the profiler sees them; see above."""
    if device != "cuda":
        return 0.0, 0.0
    with torch.profiler.profile() as profile:
        for _ in range(count):
            call()
    found = profile.key_averages()
    return tuple(sum(event.count for event in found if test(event.key)) / count
                 for test in (lambda key: key in WAITS,
                              lambda key: "Memcpy HtoD" in key and "Pageable" in key))


class Table:
    """Rows of figures, which are printed, and written to a file, one by one."""

    def __init__(self, path, *columns):
        self.path, self.columns, self.rows = path, columns, []
        print("  ".join(f"{name:>{self.width(name)}}" for name in columns), flush=True)

    def width(self, name):
        return max(12, len(name))

    def add(self, make, **known):
        """Add the row that `make()` returns to what is known of it, or the reason why it fails."""
        try:
            row = known | make()
        except Exception as error:  # whatever a peer, a kernel or a compiler raises
            reason = (str(error).strip().splitlines() or [""])[0]
            row = known | {"failed": f"{type(error).__name__}: {reason}"[:160]}
            gc.collect()  # what failed may hold the device's memory
        self.rows.append(row)
        cells = [row.get(name, "") for name in self.columns]
        print("  ".join(f"{self.shown(cell):>{self.width(name)}}"
                        for name, cell in zip(self.columns, cells, strict=True)),
              row.get("failed", ""), flush=True)
        write_figures(self.path, self.rows)

    def shown(self, cell):
        if not isinstance(cell, float):
            return str(cell)
        return f"{cell:,.0f}" if cell >= 1000 else f"{cell:.3g}"

    def failed(self):
        return any("failed" in row for row in self.rows)


def batches_of(args, work, sizes=None):
    """Return {(rows, kind): a batch in pinned memory}, of `sizes` rows or of those asked for."""
    found = {}
    for rows in sorted(sizes or args.rows):
        for kind, filled in (("full", 1.0), ("natural", FILLED)):
            batch = with_labels(random_batch(rows, args.max_length, filled), work)
            found[rows, kind] = {key: value.pin_memory() if args.device == "cuda" else value
                                 for key, value in batch.items()}
    return found


def measured_step(make, batch, args, config, work, peak):
    """Return the figures of a training step on one batch; `peak` is in TFLOP/s."""
    step, first = make(), time.perf_counter()
    step(batch)
    wait(args.device)
    first = time.perf_counter() - first
    if not args.quick:
        reset_peak_memory(args.device)
    seconds = seconds_a_call(lambda: step(batch), args)
    waits, pageable = host_waits(lambda: step(batch), args.device)
    lengths = batch["attention_mask"].sum(1).tolist()
    masked = int((batch["labels"] != -100).sum()) if work == "mlm" else 0
    needed = operations(config, lengths, work, masked)
    return {"ms": seconds * 1e3, "tokens/s": sum(lengths) / seconds,
            "MFU": needed / seconds / 1e12 / peak,
            "peak MB": (peak_memory(args.device) or 0) / 2**20, "waits": waits,
            "pageable": pageable, "first s": first}


def steps_of(args, sides, precisions=("bfloat16", "float32")):
    """Measure the training steps of some sides, "ours" or an attention of transformers."""
    table = Table(args.path, "model", "work", "precision", "rows", "kind", "side", "ms",
                  "tokens/s", "MFU", "peak MB", "waits", "pageable", "first s")
    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed: no side but ours")
        sides = [side for side in sides if side == "ours"]
    peaks = {precision: peak_rate(args, precision)[0] for precision in precisions}
    for name in args.models:
        with tempfile.TemporaryDirectory() as scratch:
            folder = model_folder(name, scratch)
            for precision, work, side in itertools.product(
                    precisions, ("mlm", "classification"), sides):
                if precision != "float32" or side in ("ours", "sdpa"):
                    measure_side(args, table, side, work, precision, folder, peaks[precision],
                                 model=name)
    return table


def measure_side(args, table, side, work, precision, folder, peak, **known):
    """Add the rows of one side: all batches, in float32 the smaller full one alone."""
    @functools.cache
    def make():
        with quiet():
            if side == "ours":
                return our_step(folder, work, precision, device=args.device)
            return their_step(folder, work, precision, side, device=args.device,
                              backend="eager" if args.quick else "inductor")

    config = BertConfig.from_dict(json.loads(Path(folder, "config.json").read_text("utf-8")))
    for (rows, kind), batch in batches_of(args, work).items():
        if precision != "float32" or (rows, kind) == (args.rows[0], "full"):
            table.add(partial(measured_step, make, batch, args, config, work, peak),
                      **known, work=work, precision=precision, rows=rows, kind=kind, side=side)


def attention(args):
    """Time attention over packed tokens, forward and backward, in each way that torch has.

    On a CPU forward alone: flex attention has no gradient there.
    """
    table = Table(args.path, "heads x size", "rows", "kind", "way", "ms", "difference")
    sizes = [(2, 16)] if args.quick else [(12, 32), (12, 64)]
    for heads, size in sizes:
        for (rows, kind), batch in batches_of(args, "forward", [max(args.rows)]).items():
            mask = batch["attention_mask"].bool()
            packing = Packing.of(mask, mask.shape, torch.device(args.device))
            lengths = mask.sum(1).sort(stable=True).values
            qkv = torch.randn(int(mask.sum()) + packing.fill, 3 * heads * size,
                              device=args.device, dtype=torch.bfloat16,
                              requires_grad=args.device == "cuda")
            given = torch.randn_like(qkv[:, :heads * size])
            for way, attend in attention_ways(args, heads, lengths, packing).items():
                if way == "flex" and kind == "full":  # it is compiled: too long for no padding
                    continue
                table.add(partial(measured_attention, attend, qkv, given, packing, heads, args),
                          **{"heads x size": f"{heads} x {size}"}, rows=rows, kind=kind, way=way)
    return table


def measured_attention(attend, qkv, given, packing, heads, args):
    """Return the time of one way, and how far it is from the kit's, as a share of the largest."""
    real = len(qkv) - packing.fill
    with torch.no_grad():
        expected, found = fast_attention(qkv, heads, packing=packing)[:real], attend(qkv)[:real]
    apart = float((found.float() - expected.float()).abs().max() / expected.float().abs().max())
    if not apart < 0.05:
        raise ArithmeticError(f"the largest difference is {apart:.3f} of the largest number")

    def both():
        out = attend(qkv)
        if qkv.requires_grad:
            out.backward(given[:len(out)])
            qkv.grad = None
    return {"ms": seconds_a_call(both, args) * 1e3, "difference": apart}


def attention_ways(args, heads, lengths, packing):
    """Return {name: a function (N, 3D) -> (N, D)} of the ways to attend over packed tokens.

    The rows lie behind one another in order of length, as a `Packing` lays them out.
    """
    ends = to_device(F.pad(lengths.cumsum(0), (1, 0)), args.device)
    ways = {"masked call": lambda qkv: fast_attention(qkv, heads, packing=packing)}
    ways |= packed_ways(heads, int(lengths.sum()), int(lengths.max()), ends)
    if args.device != "cuda":
        del ways["varlen"]  # torch has that kernel for no other device
    with contextlib.suppress(ImportError):
        ways["flex"] = flex_way(args, heads, lengths)
    return ways


def packed_ways(heads, count, longest, ends):
    """Return the ways that know rows by where they end: `ends` (rows + 1,), the first of them 0."""
    def varlen(qkv):
        from torch.nn.attention.varlen import varlen_attn
        query, key, value = by_head(qkv[:count], heads)
        return varlen_attn(query, key, value, ends.int(), ends.int(), longest, longest).flatten(1)

    def nested(qkv):
        rows = [torch.nested.nested_tensor_from_jagged(
            part.contiguous(), ends, min_seqlen=1, max_seqlen=longest).transpose(1, 2)
            for part in by_head(qkv[:count], heads)]
        return F.scaled_dot_product_attention(*rows).transpose(1, 2).values().flatten(1)
    return {"varlen": varlen, "nested": nested}


def flex_way(args, heads, lengths):
    """Return attention over one long row in which a token sees those of its own row."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    row, count = torch.arange(len(lengths)).repeat_interleave(lengths), int(lengths.sum())
    row = row.to(args.device)
    same = create_block_mask(lambda batch, head, query, key: row[query] == row[key], None, None,
                             count, count, device=args.device)
    attend = flex_attention if args.quick else torch.compile(flex_attention, dynamic=False)

    def flex(qkv):
        parts = (part.transpose(0, 1)[None] for part in by_head(qkv[:count], heads))
        return attend(*parts, block_mask=same)[0].transpose(0, 1).flatten(1)
    return flex


def by_head(qkv, heads):
    """(N, 3D) -> queries, keys and values (N, H, W)."""
    return qkv.unflatten(-1, (3, heads, -1)).unbind(1)


@torch.inference_mode()
def padded_logits(model, ids, mask):
    """(B, S) on the device -> (B, C): the same as the model's, without packing.

    Where tokens lie depends on the mask then no more, so a recording serves every mask.
    """
    positions = torch.arange(ids.shape[1], device=ids.device)
    x = model.bert.embeddings(ids, torch.zeros_like(ids), positions)
    for block in model.bert.blocks:
        x, _ = block(x, mask)
    pooled = model.bert.pooler(x) if model.bert.pooler else None
    return model.classifier(EncoderOutput(x, pooled, None, None), mask)


def recorded(model, ids, mask):
    """Return a function of other ids and masks of this shape that replays one recorded pass."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            padded_logits(model, ids, mask)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = padded_logits(model, ids, mask)

    def replay(new_ids, new_mask):
        ids.copy_(new_ids, non_blocking=True)
        mask.copy_(to_device(new_mask, mask.device))
        graph.replay()
        return logits
    return replay


def replayed(model, batch, device):
    """Return a function of a batch like this one: a recorded pass for its shape."""
    mask = to_device(batch["attention_mask"], device).bool()
    replay = recorded(model, to_device(batch["input_ids"], device), mask)
    return lambda batch: replay(batch["input_ids"], batch["attention_mask"])


def graphs(args):
    """Time prediction of batches of one shape, in bfloat16, by the kit and by transformers."""
    table = Table(args.path, "model", "rows", "kind", "side", "ms", "texts/s", "difference")
    for name in args.models:
        with tempfile.TemporaryDirectory() as scratch, quiet():
            folder = model_folder(name, scratch)
            ours = load_pretrained(BERTForSequenceClassification, folder).eval().to(args.device)
            theirs = functools.cache(lambda: their_step(folder, "forward", "bfloat16", "sdpa",
                                                        device=args.device))
            with contextlib.suppress(ImportError):
                theirs()  # while its folder is there
        narrow = copy.deepcopy(ours).bfloat16()
        sides = {"kit": lambda batch: forward(ours, "bfloat16"),
                 "16-bit weights": lambda batch: forward(narrow, "float32")}
        if args.device == "cuda":
            sides["graph"] = lambda batch: replayed(narrow, batch, args.device)
        sides["transformers"] = lambda batch: theirs()
        for (rows, kind), batch in batches_of(args, "forward", {1, *args.rows}).items():
            exact = padded_logits(ours, to_device(batch["input_ids"], args.device),
                                  to_device(batch["attention_mask"], args.device).bool())
            for side, make in sides.items():
                table.add(partial(measured_prediction, make, batch, exact, args,
                                  same_head=side != "transformers"),
                          model=name, rows=rows, kind=kind, side=side)
    return table


def measured_prediction(make, batch, exact, args, same_head):
    """Return the time of a side's forward pass, and how far its logits are from the exact ones."""
    predict = make(batch)
    apart = float((predict(batch).float() - exact).abs().max())
    if same_head and not apart < 0.05:
        raise ArithmeticError(f"a logit is off by {apart:.3f}")
    seconds = seconds_a_call(lambda: predict(batch).cpu(), args)
    return {"ms": seconds * 1e3, "texts/s": len(exact) / seconds,
            "difference": apart if same_head else ""}


class RandomRows(RowDataset):
    """Rows of random ids, two classes, as the kit's datasets give them."""

    pad_id = 0

    def __init__(self, count, max_length):
        rows = random_batch(count, max_length, FILLED)
        self.ids, self.lengths = rows["input_ids"].numpy(), rows["attention_mask"].sum(1).numpy()

    def make_row(self, row, epoch):
        ids = self.ids[row, :self.lengths[row]]
        return {"input_ids": ids, "token_type_ids": 0 * ids, "labels": row % 2}


def loop(args):
    """Run the Trainer for some steps, and as many bare steps on batches that lie ready."""
    table = Table(args.path, "model", "rows", "side", "ms", "waits", "pageable")
    steps = 3 if args.quick else 30
    for name in args.models:
        with tempfile.TemporaryDirectory() as scratch, quiet():
            model = load_pretrained(BERTForSequenceClassification, model_folder(name, scratch))
        model.to(args.device).train()
        for rows in args.rows:
            loader = make_loader(RandomRows(rows * steps, args.max_length), rows,
                                 pin_memory=args.device == "cuda")
            ready = list(loader)
            amp = AMPTrainer(model, make_optimizer(model, 1e-5))
            for side, run in (
                    ("bare steps", lambda: [amp.train_classification_step(b) for b in ready]),
                    ("Trainer", lambda: trainer_of(model, loader, steps).train())):
                table.add(partial(measured_run, run, steps, args), model=name, rows=rows,
                          side=side)
    return table


def trainer_of(model, loader, steps):
    """Return a Trainer that logs after its last step only."""
    return Trainer(model, TrainingArguments(
        max_steps=steps, logging_steps=steps, eval_strategy="no", save_strategy="no", verbosity=0,
        precision="bfloat16"), compute_classification_loss, loader)


def measured_run(run, steps, args):
    """Return the time and the waits of a step of a run."""
    run()
    wait(args.device)
    start = time.perf_counter()
    run()
    wait(args.device)
    seconds = time.perf_counter() - start
    waits, pageable = host_waits(run, args.device, count=1)
    return {"ms": seconds / steps * 1e3, "waits": waits / steps, "pageable": pageable / steps}


def shared_step(device):
    """Take three steps in this process and its like; return the losses, and those of one alone."""
    def losses(processes, share):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=30_000, hidden_size=128, num_hidden_layers=2,
                            num_attention_heads=2, intermediate_size=512, hidden_dropout_prob=0,
                            attention_probs_dropout_prob=0)
        model = BERTForSequenceClassification(config, num_labels=2).to(device)
        amp = AMPTrainer(model, make_optimizer(model, 1e-3), precision="float32",
                         **({} if processes is None else {"processes": processes}))
        batch = with_labels(random_batch(8, 32, FILLED), "classification")
        own = {key: value[share] for key, value in batch.items()}
        return [float(amp.train_classification_step(own).loss) for _ in range(3)]

    with join_processes(device) as processes:
        number, count = processes.share
        return losses(processes, slice(number, None, count)), losses(None, slice(None))


def processes(args):
    """Let two processes share training steps, and hold their losses against those of one."""
    table = Table(args.path, "devices", "loss together", "loss alone")
    if args.device == "cuda" and torch.cuda.device_count() < 2:
        print("one device: there is nothing to share")
        return table

    def together():
        _, output = run_alone("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
                              __file__, "--alone=shared_step", f"--device={args.device}")
        shared, alone = json.loads([line for line in output.splitlines() if line[:1] == "["][0])
        if max(abs(a - b) for a, b in zip(shared, alone, strict=True)) > 1e-4:
            raise ArithmeticError(f"two processes find {shared}, one {alone}")
        return {"loss together": shared[-1], "loss alone": alone[-1]}
    table.add(together, devices=2 if args.device == "cuda" else "two processes")
    return table


def tests(args):
    """Run the tests that need the device."""
    table = Table(args.path, "result")

    def run():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o",
             "addopts=--import-mode=importlib", "tests/training/test_cuda.py"],
            cwd=ROOT, capture_output=True, text=True)
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
        if done.returncode:
            print("\n".join(line for line in lines if line.startswith("FAILED")))
            raise AssertionError(lines[-1])
        return {"result": lines[-1]}
    table.add(run)
    return table


RUN = {"tests": tests, "steps": partial(steps_of, sides=("ours", "sdpa", "eager")),
       "attention": attention, "graphs": graphs, "loop": loop, "processes": processes,
       "compiled": partial(steps_of, sides=("compiled",), precisions=("bfloat16",))}


def run_section(name, args):
    """Run a section in this process; return whether all of it went well."""
    args.path = Path(args.output_folder, f"{name}.json")
    return not RUN[name](args).failed()


def run_apart(name, given, seconds):
    """Run a section in a process of its own; return whether all of it went well, in time."""
    try:
        return not subprocess.run([sys.executable, __file__, *given, f"--alone={name}"],
                                  timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        print(f"{name}: stopped after {seconds:.0f} s; what is above is all of it", flush=True)
        return False


def describe(args):
    """Print what every figure depends on, and return it."""
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    peaks = {kind: peak_rate(args, kind) for kind in ("bfloat16", "float32")}
    found = {"device": name, "torch": torch.__version__, "max_length": args.max_length,
             "peak_tflops": peaks, "measured_tflops": product_rate(args, "bfloat16")}
    print(f"{name}, torch {torch.__version__}; rows of up to {args.max_length} tokens, natural: "
          f"{FILLED:.0%} of them; peak " + ", ".join(
              f"{kind} {rate:,.4g} TFLOP/s ({source})" for kind, (rate, source) in peaks.items())
          + f"; one large product in bfloat16 {found['measured_tflops']:,.4g}",
          flush=True)
    return found


def main(args, given=()):
    """Run the sections one after the other; return the exit status."""
    if args.alone == "shared_step":
        shared = shared_step(args.device)
        print(json.dumps(shared), flush=True)
        return 0
    if args.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device here; --device cpu --quick is a rehearsal without one")
        return 1
    Path(args.output_folder).mkdir(parents=True, exist_ok=True)
    if args.alone:
        return 0 if run_section(args.alone, args) else 1
    end, failed = time.monotonic() + 60 * args.minutes, []
    write_figures(Path(args.output_folder, "device.json"), describe(args))
    for name in args.sections:
        left = end - time.monotonic()
        print(f"\n{name}", flush=True)
        if left < 5:
            print("no time is left")
        if left < 5 or not run_apart(name, given, min(left, SECONDS[name])):
            failed.append(name)
    print(f"\nfailed: {', '.join(failed) or 'nothing'}; figures in {args.output_folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(parse_arguments(), sys.argv[1:]))
