"""Solutions of the exercises that ask for a function: `learn` makes stubs of them, too."""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def fit(first: int, second: int, room: int) -> tuple[int, int]:
    """01.1: how many pieces two texts keep in a row with so much room, piece by piece.

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
    """01.2: learn pieces; count all pairs anew for each join.

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
    """02.1: mask whole words: one decision a word, then one replacement a piece.

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
    """02.2: tell from the second text alone, without reading the first, that it was drawn.

    Here a drawn B begins anywhere in another document and fills the room that is left. A true B
    is the sentences that follow A; each begins with a capital and ends with a full stop.

    In     the words of B; how many words had room for it
    Out    True if B was drawn
    """
    return len(b) == room or not b[0][0].isupper() or not b[-1].endswith(".")


def one_hots(ids: Tensor, segments: Tensor, V: int, P: int) -> tuple[Tensor, Tensor, Tensor]:
    """03.1: what to multiply the three tables with, instead of looking rows up.

    In     ids and segments (B, S); V pieces; P positions of the table
    Out    three tensors of 0 and 1 in float64, (B, S, V), (B, S, P) and (B, S, 2): times the word,
           the position and the segment table, their sum is the sum of the embeddings
    """
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return (F.one_hot(ids, V).double(), F.one_hot(positions, P).double(),
            F.one_hot(segments, 2).double())


def torch_block(block: nn.Module, D: int, H: int, inner: int) -> nn.Module:
    """05.2: torch's own block with the weights and the options of the kit's.

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
    """06.2: the next-sentence loss, right for a batch of one pair too, whichever its answer.

    In     logits (B, 2); labels (B,), 0 or 1, or -100 where a pair has none
    Out    () the mean of -log softmax over the pairs that have a label
    """
    kept = labels != -100
    right = logits[kept].log_softmax(-1).gather(1, labels[kept][:, None])
    return -right.sum() / max(1, len(right))


def two_steps(weight: Tensor, bias: Tensor, gradients: list[tuple[Tensor, Tensor]], lr: float,
              decay: float) -> tuple[Tensor, Tensor]:
    """07.1: two steps of AdamW on one linear layer, by the formula, in float64.

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


def padding_shows(model: nn.Module, ids: Tensor, mask: Tensor) -> bool:
    """08.1: a test of a classifier: does padding, or what is written in it, change a logit?

    In     model(ids, mask) -> (B, C); ids (B, S); mask (B, S), 0 at padding, which is at the end
    Out    True if some logit depends on padding, by more than 1e-4
    """
    with torch.no_grad():
        logits = model(ids, mask)
        scribbled = model(ids.masked_fill(mask == 0, int(ids.max())), mask)
        alone = torch.cat([model(ids[b:b + 1, :n], mask[b:b + 1, :n])
                           for b, n in enumerate(mask.sum(1).tolist())])
    return any(float((logits - other).abs().max()) > 1e-4 for other in (scribbled, alone))


def ec_of_own_ranks(passes: np.ndarray) -> list[float]:
    """10.1: expected confidence if each pass ranked its labels by its own relevance.

    In     probabilities (T, N, C) of T passes
    Out    N numbers: the mean over passes of the sum over labels of R / rank, R = 2^Y - 1
    """
    relevance = np.sort(2.0 ** passes - 1)[..., ::-1]  # the largest first, in each pass
    return (relevance / np.arange(1, passes.shape[-1] + 1)).sum(-1).mean(0).tolist()


def pack(rows: Tensor, lengths: list[int]) -> Tensor:
    """12.1: the real tokens of a batch in one line, rows with fewer tokens first.

    In     rows (B, S, …); how many tokens of each are real; of equals the first row comes first
    Out    (N, …)
    """
    order = sorted(range(len(lengths)), key=lambda b: lengths[b])
    return torch.stack([rows[b, s] for b in order for s in range(lengths[b])])
