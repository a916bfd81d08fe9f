"""A whole BERT as the ladder asks for it: what `learn` makes its stubs of, and its last hint.

Each function is a rung; a stub is its signature and its docstring. `w` is always the dict of a
published file: {name: tensor}.
"""

import json
import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]  # the published names, "encoder.layer.0.output.dense.weight" for one


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    """(…, in) -> (…, out): x W^T + b. Given: files keep W as (out, in), so it is transposed."""
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def pieces(text: str, vocab: dict[str, int]) -> list[str]:
    """Cut a text into pieces of the vocabulary (WordPiece).

    In       a text; a vocabulary {piece: id}
    Out      its pieces, a list of str
    Rule     1. Make it lower case. A word is a run of letters and digits; every other mark
                that is not white space is a word of its own.
             2. From the left of each word take the longest piece that the vocabulary holds,
                again and again. A piece that does not begin its word is written "##piece".
             3. If no piece fits somewhere in a word, the whole word becomes one "[UNK]".
    Example  pieces("Hugs!", {"hug": 5, "##s": 6, "!": 7}) is ["hug", "##s", "!"]
    Source   Wu et al. 2016, section 4.1; Devlin et al. 2019, section 3
    """
    found = []
    for word in re.findall(r"[^\W_]+|[^\w\s]|_", text.lower()):
        cut, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):  # the longest first
                piece = ("##" if start else "") + word[start:end]
                if piece in vocab:
                    break
            else:  # not even one character fits
                cut = ["[UNK]"]
                break
            cut.append(piece)
            start = end
        found += cut
    return found


def pair_row(first: list[str], second: list[str] | None, vocab: dict[str, int],
             max_length: int) -> tuple[list[int], list[int]]:
    """Lay the pieces of one text, or of two, in a row of the model.

    In       pieces of the first text; of the second, or None; {piece: id}; tokens of a row
    Out      ids and segments, two lists of S <= max_length whole numbers
    Rule     [CLS] A [SEP]            segment 0
             [CLS] A [SEP] B [SEP]    segment 0 up to the first [SEP], then segment 1
             A row that is too long loses single pieces at the end of its longer text until it
             fits; on a tie, of the text that was shorter to begin with (of A if neither was).
    Source   Devlin et al. 2019, section 3 and figure 2
    """
    a, b = len(first), len(second or [])
    room = max_length - (2 if second is None else 3)
    while a + b > room:
        if a > b or a == b and len(first) <= len(second or []):
            a -= 1
        else:
            b -= 1
    tokens = ["[CLS]", *first[:a], "[SEP]"]
    segments = [0] * len(tokens)
    if second is not None:
        tokens += [*second[:b], "[SEP]"]
        segments += [1] * (b + 1)
    return [vocab[token] for token in tokens], segments


def mask_tokens(ids: list[int], ordinary: list[int], mask_id: int, rng: np.random.Generator,
                probability: float = 0.15) -> tuple[list[int], list[int]]:
    """Hide some tokens of a row: what the model reads, and what it has to answer.

    In       S ids; the ids that are no special token; the id of [MASK]; a generator with
             rng.random() from 0 to 1 and rng.choice(list)
    Out      inputs and labels, two new lists of S
    Rule     Each token whose id is ordinary is chosen with the probability, on its own. Its
             label is its id; every other label is -100. For each chosen token draw once more:
             80% read [MASK], 10% a random ordinary id, 10% stay as they are.
    Source   Devlin et al. 2019, section 3.1, task 1
    """
    inputs, labels = list(ids), [-100] * len(ids)
    for s, number in enumerate(ids):
        if number not in ordinary or rng.random() >= probability:
            continue
        labels[s] = number
        draw = rng.random()
        if draw < 0.8:
            inputs[s] = mask_id
        elif draw < 0.9:
            inputs[s] = int(rng.choice(ordinary))
    return inputs, labels


def layer_norm(x: Tensor, w: Weights, name: str, eps: float = 1e-12) -> Tensor:
    """Bring each token's vector to mean 0 and variance 1, then scale and shift it.

    In       x (…, D); w[name + ".weight"] and w[name + ".bias"], (D,) each
    Out      (…, D)
    Formula  weight * (x - mean) / sqrt(variance + eps) + bias      mean, variance: over the D
             numbers of a token; the variance divides by D
    Source   Ba et al. 2016, equation 4
    """
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    return w[name + ".weight"] * centred / torch.sqrt(variance + eps) + w[name + ".bias"]


def embed(ids: Tensor, segments: Tensor, w: Weights) -> Tensor:
    """Turn ids into vectors: the sum of three rows of three tables, normalised.

    In       ids (B, S) and segments (B, S), whole numbers; the tables
             w["embeddings.word_embeddings.weight"]          (V, D)
             w["embeddings.position_embeddings.weight"]      (longest row, D)
             w["embeddings.token_type_embeddings.weight"]    (2, D)
    Out      (B, S, D)
    Formula  LayerNorm(word[ids[b, s]] + position[s] + segment[segments[b, s]]), the LayerNorm
             called "embeddings.LayerNorm"
    Source   Devlin et al. 2019, figure 2
    """
    word = w["embeddings.word_embeddings.weight"][ids]  # (B, S) -> (B, S, D)
    position = w["embeddings.position_embeddings.weight"][:ids.shape[1]]  # (S, D)
    segment = w["embeddings.token_type_embeddings.weight"][segments]
    return layer_norm(word + position + segment, w, "embeddings.LayerNorm")


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Let each token take from all tokens what fits its query: attention, one head.

    In       query, key, value (…, S, W); mask: None, or booleans that broadcast to (…, S, S),
             True where query i may see key j
    Out      (…, S, W)
    Formula  softmax(Q K^T / sqrt(W)) V      softmax: over the keys
             Before the softmax, a score that may not be seen becomes the lowest number of its
             dtype, torch.finfo(scores.dtype).min
    Source   Vaswani et al. 2017, equation 1
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # -> (…, S, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ value  # -> (…, S, W)


def self_attention(x: Tensor, mask: Tensor, w: Weights, layer: int, heads: int) -> Tensor:
    """Attention in H heads at once, and no look at padding.

    In       x (B, S, D); mask (B, S), booleans, True at real tokens; the number of the layer; H
    Out      (B, S, D)
    Formula  Q, K, V = linear(x) with "encoder.layer.N.attention.self.query", "….self.key" and
             "….self.value". Head h has the numbers h * W to (h + 1) * W of each token's D, with
             W = D / H: (B, S, D) -> (B, H, S, W). All heads attend at once; their answers are
             laid side by side again, (B, S, D), and go through linear
             "encoder.layer.N.attention.output.dense".
             The mask says which keys may be seen: it needs an axis for the heads and one for
             the queries.
    Source   Vaswani et al. 2017, section 3.2.2
    """
    name = f"encoder.layer.{layer}.attention."
    query, key, value = (
        linear(x, w, name + part).unflatten(-1, (heads, -1)).transpose(1, 2)  # -> (B, H, S, W)
        for part in ("self.query", "self.key", "self.value"))
    context = attend(query, key, value, mask[:, None, None, :])
    side_by_side = context.transpose(1, 2).flatten(2)  # (B, H, S, W) -> (B, S, D)
    return linear(side_by_side, w, name + "output.dense")


def block(x: Tensor, mask: Tensor, w: Weights, layer: int, heads: int) -> Tensor:
    """One of the equal blocks: attention, then a feed-forward network, post-norm.

    In       x (B, S, D); mask (B, S); the number N of the layer; heads
    Out      (B, S, D)
    Formula  x = LayerNorm(x + self_attention(x))           "….attention.output.LayerNorm"
             x = LayerNorm(x + W_2 gelu(W_1 x + b_1) + b_2)  "….output.LayerNorm"
             W_1: "….intermediate.dense", W_2: "….output.dense"; all begin "encoder.layer.N."
             gelu(x) = x / 2 * (1 + erf(x / sqrt(2))), which is F.gelu(x)
    Source   Vaswani et al. 2017, sections 3.1 and 3.3; Hendrycks & Gimpel 2016
    """
    name = f"encoder.layer.{layer}."
    attended = self_attention(x, mask, w, layer, heads)
    x = layer_norm(x + attended, w, name + "attention.output.LayerNorm")
    wide = F.gelu(linear(x, w, name + "intermediate.dense"))
    return layer_norm(x + linear(wide, w, name + "output.dense"), w, name + "output.LayerNorm")


def mlm_logits(hidden: Tensor, w: Weights) -> Tensor:
    """Score every piece of the vocabulary at each token: the masked-token head.

    In       hidden states (…, D)
    Out      logits (…, V)
    Formula  E LayerNorm(gelu(W x + b)) + c
             W, b: linear "cls.predictions.transform.dense"
             the LayerNorm: "cls.predictions.transform.LayerNorm"
             E: the word embeddings once more; c: w["cls.predictions.bias"] (V,)
    Source   Devlin et al. 2019, section 3.1, and its code
    """
    x = F.gelu(linear(hidden, w, "cls.predictions.transform.dense"))
    x = layer_norm(x, w, "cls.predictions.transform.LayerNorm")
    return x @ w["embeddings.word_embeddings.weight"].T + w["cls.predictions.bias"]


def mlm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Say how wrong the answers are: the mean cross-entropy of the masked tokens.

    In       logits (…, V); labels (…), whole numbers, -100 where there is nothing to answer
    Out      () in nats; 0 where no token has a label
    Formula  sum of -log softmax(logits)[label] over the tokens with a label, divided by their
             number
    Source   Devlin et al. 2019, section 3.1, task 1
    """
    chosen = labels != -100
    logits, labels = logits[chosen], labels[chosen]  # (M, V), (M,)
    right = logits.log_softmax(-1).gather(-1, labels[:, None])  # (M, 1)
    return -right.sum() / max(1, len(right))


@torch.no_grad()
def adamw_step(w: Weights, grads: Weights, m: Weights, v: Weights, t: int, lr: float,
               decay: float = 0.01) -> None:
    """Move every weight a step against its gradient: AdamW.

    In       w, grads, m, v: dicts with the same names and shapes; the number t of the step,
             counted from 1; the learning rate
    Out      nothing: the tensors in w change in place (-=), and m and v hold the new means
    Formula  m = 0.9 m + 0.1 g      v = 0.999 v + 0.001 g²
             w = w - lr * decay * w                       matrices only (ndim 2), no vectors
             w = w - lr * (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8)
    Source   Loshchilov & Hutter 2019, algorithm 2
    """
    for name, g in grads.items():
        m[name] = 0.9 * m[name] + 0.1 * g
        v[name] = 0.999 * v[name] + 0.001 * g * g
        first, second = m[name] / (1 - 0.9 ** t), v[name] / (1 - 0.999 ** t)
        if w[name].ndim >= 2:
            w[name] -= lr * decay * w[name]
        w[name] -= lr * first / (second.sqrt() + 1e-8)


def train(w: Weights, batches: Sequence[object], loss_of: Callable[[Weights, object], Tensor],
          lr: float, warmup: int, decay: float = 0.01) -> list[float]:
    """Train: for each batch a loss, its gradients, and a step.

    In       w, tensors with requires_grad; batches; loss_of(w, batch) -> (); the highest
             learning rate; steps of warm-up
    Out      the loss of each step, numbers and no tensors; w has changed in place
    Rule     1. gradients g of the loss, of this batch alone
             2. their norm, of all of them together; if it is above 1, divide all by it
             3. adamw_step with lr times
                (step + 1) / (warmup + 1)                        while step < warmup
                1 - (step - warmup) / (steps in all - warmup)    afterwards
                where step is counted from 0
    Source   Devlin et al. 2019, appendix A.2
    """
    m = {name: torch.zeros_like(p) for name, p in w.items()}
    v = {name: torch.zeros_like(p) for name, p in w.items()}
    losses = []
    for step, batch in enumerate(batches):
        loss = loss_of(w, batch)
        loss.backward()
        grads = {name: p.grad for name, p in w.items() if p.grad is not None}
        norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
        clipped = {name: g / max(1.0, norm) for name, g in grads.items()}
        factor = 1 - (step - warmup) / (len(batches) - warmup)
        if step < warmup:
            factor = (step + 1) / (warmup + 1)
        adamw_step(w, clipped, m, v, step + 1, lr * factor, decay)
        for p in w.values():
            p.grad = None  # or the next batch would add to it
        losses.append(loss.item())
    return losses


def read_tensors(path: str) -> Weights:
    """Read a published file of weights, byte by byte (safetensors).

    In       the path of model.safetensors
    Out      {name: tensor}; a leading "bert." is taken off the names
    Format   8 bytes: the length n of the header, a whole number, little end first
             n bytes: JSON, {name: {"dtype": "F32", "shape": [...], "data_offsets": [a, b]}}
             the rest: numbers; those of a tensor are the bytes a to b of the rest
             The header may hold "__metadata__", which is no tensor. The dtypes that occur here
             are F32 (torch.float32), F16 (torch.float16) and I64 (torch.int64).
    Source   the safetensors format; torch.frombuffer(bytearray(...), dtype=...)
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header, data = json.loads(file.read(size)), file.read()
    w, dtypes = {}, {"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            numbers = torch.frombuffer(bytearray(data[start:end]), dtype=dtypes[entry["dtype"]])
            w[name.removeprefix("bert.")] = numbers.reshape(entry["shape"])
    return w


def bert(ids: Tensor, mask: Tensor, segments: Tensor, w: Weights, heads: int) -> Tensor:
    """The whole encoder: your BERT.

    In       ids, mask and segments (B, S); the weights; heads
    Out      hidden states (B, S, D)
    Formula  x = embed(ids, segments), then a block for each layer 0, 1, … whose names are in w:
             "encoder.layer.0.…", "encoder.layer.1.…"
    Source   Devlin et al. 2019, section 3
    """
    x = embed(ids, segments, w)
    layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder.layer."))
    for layer in range(layers):
        x = block(x, mask, w, layer, heads)
    return x
