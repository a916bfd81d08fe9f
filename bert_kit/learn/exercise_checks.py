"""How the functions that exercises ask for are tried: check_NAME says what is wrong with NAME.

Each takes the learner's functions and returns "" if nothing is wrong. What is right comes from the
kit, from torch or the standard library, or from loops, not from the solutions.
"""

import math
import struct
from collections.abc import Callable, Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bert_kit.learn.judge import first_difference
from bert_kit.learn.trials import CONFIG, B, H, S, copied, randn
from bert_kit.model import Packing, TransformerEncoderBlock
from bert_kit.tokenization import fit_pair
from bert_kit.tokenization.wordpiece import train_wordpiece
from bert_kit.training.optim import make_optimizer

Function = Callable[..., Any]
Case = tuple[tuple[Any, ...], Any]  # inputs of a function and what it has to return
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _wrong(function: Function, cases: Iterable[Case], tolerance: float = 1e-9) -> str:
    """Return the first difference and what the function was given, "" if all cases are right."""
    for inputs, expected in cases:
        found = first_difference(function(*copied(inputs)), expected, tolerance)
        if found:
            shown = ", ".join(_shown(one) for one in inputs)
            return f"{found} (tried on {shown})"
    return ""


def _shown(value: Any) -> str:
    """Return an input in words: a small one as it is, of a large tensor the shape."""
    if len(str(value)) < 60:
        return str(value)
    shape = getattr(value, "shape", None)
    return "…" if shape is None else f"a tensor {tuple(shape)}"


def ids(rows: int, tokens: int, seed: int = 0) -> Tensor:
    """Return ids of ordinary pieces, (rows, tokens)."""
    return torch.randint(5, 41, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def check_fit(function: Function) -> str:
    """Every pair of lengths up to 12."""
    return _wrong(function, (((a, b, room), fit_pair(a, b, room)) for a in range(13)
                             for b in range(13) for room in range(2, 16)))


def check_train_pieces(function: Function) -> str:
    """Words over few letters: many ties, and pieces that come about in two ways."""
    rng, cases = np.random.default_rng(0), []
    for letters in ("ab", "abcd"):
        counts = {"".join(rng.choice([*letters], rng.integers(1, 9))): int(rng.integers(1, 7))
                  for _ in range(40)}
        cases += [((dict(counts), size), train_wordpiece(counts, size)) for size in (15, 30, 90)]
    return _wrong(function, cases)


def check_mask_words(function: Function) -> str:
    """All pieces of a word or none; each piece replaced on its own."""
    rng, words, mixed, chosen = np.random.default_rng(0), [-1], 0, 0
    words += [word for word in range(20) for _ in range(3)] + [-1]
    row = [2, *range(5, 41), *range(5, 29), 3]
    for _ in range(200):
        inputs, labels = function(list(row), words, list(range(5, 41)), 4, rng)
        picked = [label != -100 for label in labels]
        if picked[0] or picked[-1]:
            return "a special token has a label; expected -100"
        for s in range(1, len(row) - 1, 3):
            if len({*picked[s:s + 3]}) > 1:
                return f"pieces {s} to {s + 2} are one word; expected all of them chosen, or none"
            chosen += picked[s]
            mixed += picked[s] and len({number == 4 for number in inputs[s:s + 3]}) > 1
        if any(label not in (-100, number) for label, number in zip(labels, row, strict=True)):
            return "a label is not the id that stood there"
    if not 0.12 < chosen / 4000 < 0.18:
        return f"{chosen / 4000:.1%} of the words are chosen; expected 15%"
    if not 0.4 < mixed / max(1, chosen) < 0.6:  # 1 - .8³ - .2³ is .48
        return (f"in {mixed / max(1, chosen):.0%} of the words some pieces are [MASK] and some are "
                "not; expected 48%: each piece is replaced on its own")
    return ""


def check_b_is_random(function: Function) -> str:
    """Pairs as Google's code makes them: can their answer be told from B?"""
    right = [bool(function(b, room)) == drawn for b, room, drawn in google_pairs()]
    share = sum(right) / len(right)
    return "" if share >= 0.9 else f"it is right for {share:.0%} of the pairs; expected 90%"


def google_pairs() -> list[tuple[list[str], int, bool]]:
    """Return (words of B, the room it had, whether it was drawn), each way 100 times."""
    rng, found = np.random.default_rng(0), []
    for number in range(200):
        sentences = [["The", *rng.choice([*LETTERS], rng.integers(1, 6)).tolist(), "end."]
                     for _ in range(9)]
        words = [word for sentence in sentences for word in sentence]
        room = int(rng.integers(9, 16))
        if number % 2:
            start = int(rng.integers(0, len(words) - room))
            found.append((words[start:start + room], room, True))
        else:
            b: list[str] = []
            for sentence in sentences:  # whole sentences, as many as there is room for
                b += sentence if len(b) + len(sentence) < room else []
            found.append((b, room, False))
    return found


def check_one_hots(function: Function) -> str:
    """Against rows of the identity."""
    cases = []
    for rows, tokens in ((B, S), (4, 3)):
        words, segments = ids(rows, tokens), ids(rows, tokens, 1) % 2
        positions = torch.arange(tokens).expand(rows, -1)
        cases.append(((words, segments, 41, 11), tuple(
            torch.eye(size).double()[one] for one, size in
            ((words, 41), (positions, 11), (segments, 2)))))
    return _wrong(function, cases)


def check_torch_block(function: Function) -> str:
    """Equal outputs on two inputs."""
    block = TransformerEncoderBlock(CONFIG).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():  # new biases of 0 and scales of 1 would hide mistakes
        nn.init.normal_(parameter, std=0.4, generator=generator)
    theirs = function(block, 15, H, 22)
    if not isinstance(theirs, nn.TransformerEncoderLayer):
        return f"it is a {type(theirs).__name__}; expected a torch.nn.TransformerEncoderLayer"
    for x in (randn(B, S, 15).float(), randn(3, 5, 15, seed=1).float()):
        with torch.no_grad():
            y = theirs(x)
            apart = float((y - block(x)[0]).abs().max())
        if apart > 1e-4:
            return f"its output differs by {apart:.2g}; expected 1e-4 at most"
    return ""


def check_nsp_loss(function: Function) -> str:
    """One pair with either answer, several, and pairs without a label."""
    cases = []
    for rows, labels in ((1, [0]), (1, [1]), (3, [0, 1, -100]), (2, [-100, -100])):
        logits, kept = 2 * randn(rows, 2, seed=rows), [one for one in labels if one >= 0]
        losses = [-logits[b].log_softmax(-1)[one] for b, one in enumerate(labels) if one >= 0]
        total = torch.stack(losses).sum() if losses else torch.tensor(0.0).double()
        cases.append(((logits, torch.tensor(labels)), total / max(1, len(kept))))
    return _wrong(function, cases)


def check_two_steps(function: Function) -> str:
    """On one layer, against the kit's optimizer."""
    layer = nn.Linear(3, 4).double()
    weight, bias = (p.detach().clone() for p in layer.parameters())
    gradients = [(randn(4, 3, seed=t), randn(4, seed=9 + t)) for t in range(2)]
    optimizer = make_optimizer(layer, 0.1, 0.3)
    for pair in gradients:
        for p, g in zip(layer.parameters(), pair, strict=True):
            p.grad = g.clone()
        optimizer.step()
    after = tuple(p.detach() for p in layer.parameters())
    return _wrong(function, [((weight, bias, gradients, 0.1, 0.3), after)])


def check_masked_mean(function: Function) -> str:
    """Row by row; one row has no real token, and at padding stand large numbers."""
    hidden, mask = randn(4, S, 5), torch.arange(S) < torch.tensor([[7], [4], [0], [1]])
    hidden[~mask] += 100
    rows = [row[real].mean(0) if real.any() else torch.zeros(5).double()
            for row, real in zip(hidden, mask, strict=True)]
    return _wrong(function, [((hidden, mask), torch.stack(rows))])


def check_bell_inside(function: Function) -> str:
    """Against the standard library's normal distribution."""
    return _wrong(function, (((centre, width), bell.cdf(1) - bell.cdf(0))
                             for centre in (0.0, 0.3, 1.0) for width in (0.03, 0.1, 2.0)
                             for bell in [NormalDist(centre, width)]))


def check_promoted(function: Function) -> str:
    """Numbers that do and do not divide by eta, and equal losses."""
    rng, cases = np.random.default_rng(0), []
    for n, eta in ((9, 3), (16, 2), (11, 3), (2, 3), (13, 4)):
        losses = [round(loss, 1) for loss in rng.random(n).tolist()]
        ranked = sorted((loss, place) for place, loss in enumerate(losses))
        cases.append(((losses, eta), [place for _, place in ranked][:n // eta]))
    return _wrong(function, cases)


def check_explore(function: Function) -> str:
    """Within the range, and above and below it."""
    return _wrong(function, [((rate, factor, 1e-3, 1.0), float(np.clip(rate * factor, 1e-3, 1.0)))
                             for rate in (1e-3, 0.03, 0.9, 1.0) for factor in (0.8, 1.2)])


def check_margin(function: Function) -> str:
    """Row by row, by taking the largest out; a tie has margin 0."""
    rows = np.random.default_rng(0).dirichlet([1.0] * 5, 7).tolist()
    rows.append([0.4, 0.1, 0.4, 0.1, 0.0])
    margins = []
    for row in rows:
        rest = list(row)
        rest.remove(max(row))
        margins.append(max(row) - max(rest))
    as_list = lambda table: np.asarray(function(table)).tolist()
    return _wrong(as_list, [((np.array(rows),), margins)])


def check_float_of(function: Function) -> str:
    """Against struct, which also tells 0.0 from -0.0; the smallest and the largest, and others."""
    patterns = [0, 1 << 31, 1, (1 << 23) - 1, 1 << 23, 127 << 23, 255 << 23, 511 << 23,
                (255 << 23) + 1, (255 << 23) - 1, 0xC0200000]
    patterns += np.random.default_rng(0).integers(0, 2**32, 200).tolist()
    for bits in patterns:
        four = struct.pack("<I", bits)
        right, got = struct.unpack("<f", four)[0], function(four)
        found = first_difference(got, right, 0.0)
        if not found and not math.isnan(right) and math.copysign(1, got) != math.copysign(1, right):
            found = f"it is {got}; expected {right}"
        if found:
            return f"{found} (tried on the bytes {four.hex(' ')})"
    return ""


def check_pack(pack: Function, unpack: Function) -> str:
    """Rows of different lengths; the kit's own packing begins with the shortest."""
    mask = torch.arange(S) < torch.tensor([[2], [3], [5], [7]])
    packing = Packing.of(mask, mask.shape, mask.device)
    rows = ids(4, S)
    order = [2, 0, 3, 1]  # the rows in another order: the line begins with its first row
    line = packing.pack(rows)[:17].split([2, 3, 5, 7])
    cases = [((rows, mask), torch.cat(line)),
             ((rows[order], mask[order]), torch.cat([line[b] for b in order]))]
    wrong = _wrong(pack, cases)
    if wrong:
        return f"pack: {wrong}"
    wrong = _wrong(unpack, [((packed, real), words * real) for (words, real), packed in cases])
    return f"unpack: {wrong}" if wrong else ""


def check_causal_mask(function: Function) -> str:
    """By loops."""
    cases = []
    for lengths in ([7], [7, 4, 1], [3, 6]):
        seen = [[[j <= i and j < n for j in range(S)] for i in range(S)] for n in lengths]
        cases.append(((lengths, S), torch.tensor(seen)))
    return _wrong(function, cases)
