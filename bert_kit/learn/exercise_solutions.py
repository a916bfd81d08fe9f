"""Solutions of the exercises that ask for a function: `learn` makes stubs of them, too."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def fit(first: int, second: int, room: int) -> tuple[int, int]:
    """1.1: how many pieces two texts keep in a row with so much room, piece by piece.

    In     the pieces of both texts, which may be 0, and how many fit
    Out    what is left of each
    Rule   take single pieces off the longer text; on a tie off the one that was shorter to begin
           with, off the first if neither was
    """
    a, b = first, second
    while a + b > room:
        if a > b or a == b and first <= second:
            a -= 1
        else:
            b -= 1
    return a, b


def train_pieces(counts: dict[str, int], vocab_size: int) -> list[str]:
    """1.2: learn pieces; count all pairs anew for each join.

    In     {word: how often it occurs}; how many pieces there may be
    Out    the characters of the words, sorted; those that occur inside words, sorted, as "##c";
           then each joined piece, once, in the order they were learned
    Rule   join the most frequent pair of neighbours, everywhere; of equals the first pair as
           strings; stop when the vocabulary is full or no pair occurs twice
    """
    words = {word: [word[0], *("##" + letter for letter in word[1:])] for word in counts}
    inner = {symbol for symbols in words.values() for symbol in symbols[1:]}
    pieces = sorted({letter for word in counts for letter in word}) + sorted(inner)
    while len(pieces) < vocab_size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        piece = best[0] + best[1].removeprefix("##")
        for symbols in words.values():
            i = 0
            while i + 1 < len(symbols):
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i:i + 2] = [piece]
                i += 1
        if piece not in pieces:  # "abc" may come from a + bc and again from ab + c
            pieces.append(piece)
    return pieces


def mask_words(ids: list[int], words: list[int], ordinary: list[int], mask_id: int,
               rng: np.random.Generator, probability: float = 0.15) -> tuple[list[int], list[int]]:
    """2.1: mask whole words: one decision a word, then one replacement a piece.

    In     S ids; the number of each token's word, -1 at special tokens; the ids of ordinary
           pieces; the id of [MASK]; rng.random(), rng.choice(list)
    Out    inputs and labels, two new lists
    Rule   as mask_tokens, but all pieces of a word are chosen, or none
    """
    inputs, labels = list(ids), [-100] * len(ids)
    chosen = {word for word in sorted(set(words) - {-1}) if rng.random() < probability}
    for s, word in enumerate(words):
        if word in chosen:
            labels[s], draw = ids[s], rng.random()
            if draw < 0.8:
                inputs[s] = mask_id
            elif draw < 0.9:
                inputs[s] = int(rng.choice(ordinary))
    return inputs, labels


def b_is_random(b: list[str], room: int) -> bool:
    """2.2: tell from the second text alone, without reading the first, that it was drawn.

    Here a drawn B begins anywhere in another document and fills the room that is left. A true B
    is the sentences that follow A; each begins with a capital and ends with a full stop.

    In     the words of B; how many words had room for it
    Out    True if B was drawn
    """
    return len(b) == room or not b[0][0].isupper() or not b[-1].endswith(".")


def one_hots(ids: Tensor, segments: Tensor, V: int, P: int) -> tuple[Tensor, Tensor, Tensor]:
    """3.1: what to multiply the three tables with, instead of looking rows up.

    In     ids and segments (B, S); V pieces; P positions of the table
    Out    three tensors of 0 and 1 in float64, (B, S, V), (B, S, P) and (B, S, 2): times the word,
           the position and the segment table, their sum is the sum of the embeddings
    """
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return (F.one_hot(ids, V).double(), F.one_hot(positions, P).double(),
            F.one_hot(segments, 2).double())


def torch_block(block: nn.Module, D: int, H: int, inner: int) -> nn.Module:
    """5.2: torch's own block with the weights and the options of the kit's.

    In     the kit's TransformerEncoderBlock; hidden size, heads, intermediate size
    Out    a torch.nn.TransformerEncoderLayer in eval() that gives the same for (B, S, D)
    """
    theirs = nn.TransformerEncoderLayer(D, H, inner, activation="gelu", layer_norm_eps=1e-12,
                                        batch_first=True, norm_first=False)
    names = {"attention.qkv.": "self_attn.in_proj_", "attention.output.": "self_attn.out_proj.",
             "attention_norm.": "norm1.", "feed_forward.inner.": "linear1.",
             "feed_forward.output.": "linear2.", "feed_forward_norm.": "norm2."}
    ours = block.state_dict()
    theirs.load_state_dict({new + end: ours[old + end] for old, new in names.items()
                            for end in ("weight", "bias")})
    return theirs.eval()


def nsp_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """6.2: the next-sentence loss, right for a batch of one pair too, whichever its answer.

    In     logits (B, 2); labels (B,), 0 or 1, or -100 where a pair has none
    Out    () the mean of -log softmax over the pairs that have a label
    """
    kept = labels != -100
    right = logits[kept].log_softmax(-1).gather(1, labels[kept][:, None])
    return -right.sum() / max(1, len(right))


def two_steps(weight: Tensor, bias: Tensor, gradients: list[tuple[Tensor, Tensor]], lr: float,
              decay: float) -> tuple[Tensor, Tensor]:
    """7.1: two steps of AdamW on one linear layer, by the formula, in float64.

    In     weight (4, 3), bias (4,), the two gradients of each step, learning rate, decay
    Out    the new weight and the new bias
    """
    found = []
    for place, p in enumerate((weight, bias)):
        m, v, p = torch.zeros_like(p), torch.zeros_like(p), p.clone()
        for t in (1, 2):
            g = gradients[t - 1][place]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            if place == 0:  # the weight decays, the bias does not
                p -= lr * decay * p
            p -= lr * (m / (1 - 0.9 ** t)) / ((v / (1 - 0.999 ** t)).sqrt() + 1e-8)
        found.append(p)
    return found[0], found[1]


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """9.4: the mean of the real tokens of each row.

    In     hidden states (B, S, D); mask (B, S), True at real tokens
    Out    (B, D); zeros for a row without a real token
    """
    total = (hidden * mask[..., None]).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def bell_inside(centre: float, width: float) -> float:
    """10.3: the area of a bell curve (a normal distribution) that lies in [0, 1].

    In     its centre; its width, the standard deviation
    Out    a number from 0 to 1
    """
    def left_of(x: float) -> float:
        return (1 + math.erf((x - centre) / width / math.sqrt(2))) / 2

    return left_of(1) - left_of(0)


def promoted(losses: list[float], eta: int) -> list[int]:
    """11.4: who goes on in successive halving.

    In     the loss of each configuration of a rung; eta
    Out    the positions of the best len(losses) // eta, the best first; of equals the first
    """
    order = sorted(range(len(losses)), key=lambda i: losses[i])
    return order[:len(losses) // eta]


def explore(rate: float, factor: float, low: float, high: float) -> float:
    """12.4: the rate that a member of a population goes on with after it was copied.

    In     the rate of the member it was copied from; the factor; the range
    Out    the changed rate, in the range
    """
    return min(max(rate * factor, low), high)


def margin(probabilities: np.ndarray) -> np.ndarray:
    """13.4: by how much the likeliest class of each text is ahead of the next one.

    In     probabilities (N, C)
    Out    (N,) the largest minus the second largest
    """
    ordered = np.sort(probabilities, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def float_of(four: bytes) -> float:
    """14.4: which number four bytes are, read as a float32.

    In     four bytes, the lowest first
    Out    (-1)^s * 2^(e - 127) * (1 + f / 2^23); for e = 0 it is (-1)^s * 2^(-126) * f / 2^23;
           for e = 255 infinity with its sign, or not-a-number where f is not 0
    """
    bits = int.from_bytes(four, "little")
    sign, exponent, fraction = bits >> 31, bits >> 23 & 255, bits & (1 << 23) - 1
    if exponent == 255:
        size = math.nan if fraction else math.inf
    elif exponent:
        size = 2.0 ** (exponent - 127) * (1 + fraction / 2 ** 23)
    else:
        size = 2.0 ** -126 * fraction / 2 ** 23
    return -size if sign else size


def pack(ids: Tensor, mask: Tensor) -> Tensor:
    """15.4: the real tokens of a batch in one line, row after row.

    In     ids (B, S); mask (B, S), True at real tokens
    Out    (N,) N being the number of real tokens
    """
    B, S = mask.shape
    return torch.stack([ids[b, s] for b in range(B) for s in range(S) if mask[b, s]])


def unpack(line: Tensor, mask: Tensor) -> Tensor:
    """15.4: the rectangle again.

    In     what pack gave, (N,); mask (B, S)
    Out    (B, S), with 0 at padding
    """
    rectangle, n = line.new_zeros(mask.shape), 0
    for b in range(mask.shape[0]):
        for s in range(mask.shape[1]):
            if mask[b, s]:
                rectangle[b, s] = line[n]
                n += 1
    return rectangle


def causal_mask(lengths: list[int], S: int) -> Tensor:
    """17.3: which keys a query of a GPT may see, in rows with padding at the end.

    In     how many tokens of each row are real; S
    Out    (B, S, S) of booleans, True where query i may see key j: not after it, and no padding
    """
    triangle = torch.ones(S, S).tril().bool()
    real = torch.arange(S) < torch.tensor(lengths)[:, None]  # (B, S)
    return triangle & real[:, None, :]
