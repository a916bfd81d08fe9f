"""BERT in one file: pieces, masking, encoder, masked-token loss, AdamW and the loop, by hand.

    python examples/bert_in_one_file.py                   # two minutes on docstrings of this Python
    python examples/bert_in_one_file.py --text letters    # 20 seconds on rows of the alphabet

On a slow core (torch 2.13; elsewhere the numbers may differ a little) the first goes from a loss of
ln 1000 = 6.91, past the 5.23 of a model that only counts pieces, to 3.55, and fills
"Return [MASK] if the object is an instance." with "true", .51. The second falls from 4.04 to 0.22
and fills "c d [MASK] f g" with "e", .91.

Read it from top to bottom; nothing here comes from bert_kit, and of torch only tensors, gradients
and the containers of parameters. It is BERT as published (Devlin et al. 2019), small, and without
next-sentence prediction. A test of the kit holds its losses equal to the kit's.

Letters: B rows of a batch, S tokens of a row, D hidden size, H heads, W = D / H the width of a
head, V pieces of the vocabulary, M masked tokens of a batch.
"""

import argparse
import ast
import collections
import dataclasses
import math
import pathlib
import random
import re
import sysconfig
import time

import torch
from torch import nn

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4
PAD, UNK, CLS, SEP, MASK = range(5)
NO_LABEL = -100


@dataclasses.dataclass
class Sizes:
    """What a BERT is described by; bert-base is 30,522, 768, 12, 12, 3,072, 512."""

    vocab: int
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    inner: int = 256
    longest: int = 32
    dropout: float = 0.0  # published: 0.1; in so short a training nothing is learned by heart


# 1. Text: a list of strings.

def letter_rows(count=2000, seed=0):
    """Rows of 5 to 9 neighbouring letters, "c d e f g": what is missing follows from the rest."""
    draw, letters = random.Random(seed), "abcdefghijklmnopqrstuvwxyz"
    rows = []
    for _ in range(count):
        start, length = draw.randrange(20), draw.randint(5, 9)
        rows.append(" ".join(letters[(start + i) % 26] for i in range(length)))
    return rows


def docstrings():
    """The sentences of the standard library's docstrings: text that every Python has."""
    sentences = []
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                sentences += [one for one in re.split(r"(?<=\.) ", text) if one.count(" ") >= 3]
    return sentences


# 2. WordPiece: a text to pieces of a vocabulary, pieces to ids.

def words_of(text):
    """Lower-case words; each punctuation mark is a word of its own."""
    return re.findall(r"[^\W_]+|[^\w\s]|_", text.lower())


def make_vocabulary(texts, size):
    """The special tokens, every character (also as "##c"), and the most frequent words.

    A simple stand-in for learned pieces; a published vocab.txt, a piece a line, does as well.
    """
    counts = collections.Counter(word for text in texts for word in words_of(text))
    letters = sorted({letter for word in counts for letter in word if letter.isascii()})
    pieces = SPECIAL + letters + ["##" + letter for letter in letters]
    frequent = [word for word, _ in counts.most_common(size) if len(word) > 1]
    return (pieces + frequent)[:max(size, len(pieces))]


def pieces_of(word, vocabulary):
    """The longest piece that fits, from the left, again and again; "##" marks a continuation."""
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while (piece := ("##" if start else "") + word[start:end]) not in vocabulary:
            end -= 1
            if end == start:  # not even one character fits: the whole word is unknown
                return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def encode(text, vocabulary, longest):
    """[CLS] text [SEP] as ids, at most `longest` of them; "[MASK]" in the text stays whole."""
    ids = []
    for part in re.split(r"(\[MASK\])", text):
        pieces = [part] if part == "[MASK]" else [
            piece for word in words_of(part) for piece in pieces_of(word, vocabulary)]
        ids += [vocabulary[piece] for piece in pieces]
    return [CLS, *ids[:longest - 2], SEP]


# 3. Batches: rows of one length, and some of their tokens hidden.

def pad(rows):
    """B lists of ids -> (B, S): shorter rows are filled up with [PAD]."""
    length = max(map(len, rows))
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def hide(ids, vocab, generator, share=0.15):
    """(B, S) ids -> what the model reads and what it has to answer, (B, S) each.

    Of the chosen tokens 80% read [MASK], 10% a random piece, 10% stay, so that the model has to
    keep a good vector for every token: it never knows which ones it will be asked about.
    """
    draws = lambda: torch.rand(ids.shape, generator=generator)
    chosen = (draws() < share) & (ids >= len(SPECIAL))
    labels = ids.masked_fill(~chosen, NO_LABEL)
    kind = draws()
    others = torch.randint(len(SPECIAL), vocab, ids.shape, generator=generator)
    inputs = torch.where(chosen & (kind < 0.8), MASK, ids)
    inputs = torch.where(chosen & (kind >= 0.9), others, inputs)
    return inputs, labels


def batches(rows, size, vocab, generator):
    """Yield a batch of `size` rows after another, for ever: shuffled and hidden anew each time."""
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order) - size + 1, size):
            ids = pad([rows[i] for i in order[start:start + size]])
            inputs, labels = hide(ids, vocab, generator)
            yield {"ids": inputs, "real": ids != PAD, "labels": labels}


# 4. The encoder.

class LayerNorm(nn.Module):
    """Each token's vector to mean 0 and variance 1, then a learned scale and shift."""

    def __init__(self, size):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True)  # over D, not D - 1
        return self.weight * centred / torch.sqrt(variance + 1e-12) + self.bias


def gelu(x):
    """x times the probability that a standard normal number is below x."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


class Embeddings(nn.Module):
    """The sum of three tables: which piece, where in the row, which of two texts."""

    def __init__(self, sizes):
        super().__init__()
        self.word = nn.Embedding(sizes.vocab, sizes.hidden)
        self.position = nn.Embedding(sizes.longest, sizes.hidden)
        self.segment = nn.Embedding(2, sizes.hidden)
        self.norm, self.dropout = LayerNorm(sizes.hidden), nn.Dropout(sizes.dropout)

    def forward(self, ids, segments):
        """(B, S), (B, S) -> (B, S, D)."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        summed = self.word(ids) + self.position(positions) + self.segment(segments)
        return self.dropout(self.norm(summed))


class SelfAttention(nn.Module):
    """Every token takes from all real tokens what fits its query, in H ways at once."""

    def __init__(self, sizes):
        super().__init__()
        self.heads = sizes.heads
        self.query, self.key, self.value, self.output = (
            nn.Linear(sizes.hidden, sizes.hidden) for _ in range(4))
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x, real):
        """(B, S, D), (B, S) -> (B, S, D)."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, S, D) -> (B, H, S, W)
            for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # (B, H, S, S)
        unseen = ~real[:, None, None, :]  # padding is no key, for any head and any query
        weights = scores.masked_fill(unseen, torch.finfo(scores.dtype).min).softmax(-1)
        context = self.dropout(weights) @ value  # (B, H, S, W)
        return self.dropout(self.output(context.transpose(1, 2).flatten(2)))  # -> (B, S, D)


class Block(nn.Module):
    """Attention, then a network for each token alone. Each is added to its input (the residual
    connection), and the sum is normalised (post-norm)."""

    def __init__(self, sizes):
        super().__init__()
        self.attention, self.attention_norm = SelfAttention(sizes), LayerNorm(sizes.hidden)
        self.wide = nn.Linear(sizes.hidden, sizes.inner)
        self.narrow = nn.Linear(sizes.inner, sizes.hidden)
        self.norm, self.dropout = LayerNorm(sizes.hidden), nn.Dropout(sizes.dropout)

    def forward(self, x, real):
        x = self.attention_norm(x + self.attention(x, real))
        return self.norm(x + self.dropout(self.narrow(gelu(self.wide(x)))))


class BERT(nn.Module):
    """Embeddings, equal blocks, and the head that answers for hidden tokens."""

    def __init__(self, sizes):
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.transform = nn.Linear(sizes.hidden, sizes.hidden)
        self.transform_norm = LayerNorm(sizes.hidden)
        self.bias = nn.Parameter(torch.zeros(sizes.vocab))
        for part in self.modules():  # small weights: at first all answers are about alike
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def encode(self, ids, real):
        """(B, S), (B, S) -> hidden states (B, S, D)."""
        x = self.embeddings(ids, torch.zeros_like(ids))
        for block in self.blocks:
            x = block(x, real)
        return x

    def logits(self, hidden):
        """(…, D) -> (…, V): a score for every piece, from the word embeddings once more."""
        x = self.transform_norm(gelu(self.transform(hidden)))
        return x @ self.embeddings.word.weight.T + self.bias


# 5. The loss: the mean of -log softmax over the M hidden tokens, and no others.

def masked_loss(model, batch):
    chosen = batch["labels"] != NO_LABEL
    hidden = model.encode(batch["ids"], batch["real"])[chosen]  # (B, S, D) -> (M, D)
    log_p = model.logits(hidden).log_softmax(-1)  # (M, V)
    right = log_p.gather(-1, batch["labels"][chosen][:, None])
    return -right.sum() / max(1, len(right))


# 6. The optimizer: AdamW, with a warm-up, a linear fall and a limit on the gradient's norm.

class AdamW:
    def __init__(self, parameters, decay=0.01):
        self.parameters, self.decay, self.t = list(parameters), decay, 0
        self.m = [torch.zeros_like(p) for p in self.parameters]  # running mean of the gradient
        self.v = [torch.zeros_like(p) for p in self.parameters]  # and of its square

    @torch.no_grad()
    def step(self, lr):
        self.t += 1
        norm = math.sqrt(sum(float((p.grad * p.grad).sum()) for p in self.parameters))
        for p, m, v in zip(self.parameters, self.m, self.v, strict=True):
            g = p.grad / max(1.0, norm)
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            if p.ndim >= 2:  # matrices decay, biases and LayerNorms do not
                p -= lr * self.decay * p
            mean, square = m / (1 - 0.9 ** self.t), v / (1 - 0.999 ** self.t)  # they began at 0
            p -= lr * mean / (square.sqrt() + 1e-8)
            p.grad = None  # or the next batch's would be added to it


def rate(step, steps, highest, warmup):
    """Climb in a line, then fall to 0 in a line."""
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    return highest * (steps - step) / (steps - warmup)


# 7. The loop.

def train(model, source, steps, highest, warmup, report=print):
    """One step a batch; return the losses."""
    optimizer, losses, start = AdamW(model.parameters()), [], time.time()
    for step in range(steps):
        loss = masked_loss(model, next(source))
        loss.backward()
        optimizer.step(rate(step, steps, highest, warmup))
        losses.append(loss.item())
        if (step + 1) % max(1, steps // 12) == 0:
            recent = losses[-max(1, steps // 12):]
            report(f"step {step + 1:5}  loss {sum(recent) / len(recent):.3f}"
                   f"  {time.time() - start:4.0f} s")
    return losses


def unigram_loss(rows):
    """What a model has that knows how common each piece is, and nothing else: the plateau."""
    counts = collections.Counter(piece for row in rows for piece in row if piece >= len(SPECIAL))
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


@torch.no_grad()
def guess(model, text, vocabulary, longest, count=4):
    """The likeliest pieces for the [MASK] of a text, with their probabilities."""
    ids = torch.tensor([encode(text, vocabulary, longest)])
    hidden = model.eval().encode(ids, ids != PAD)
    p, best = model.logits(hidden[ids == MASK][0]).softmax(-1).topk(count)
    names = list(vocabulary)
    return [(names[i], round(chance, 3)) for i, chance in zip(best.tolist(), p.tolist(),
                                                              strict=True)]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", choices=["docstrings", "letters"], default="docstrings")
    parser.add_argument("--vocab", help="a vocab.txt with a piece a line, instead of one from text")
    parser.add_argument("--steps", type=int, help="by default 2000, or 1200 for letters")
    args = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a model gains nothing from a second core
    letters = args.text == "letters"
    texts = letter_rows() if letters else docstrings()
    pieces = (pathlib.Path(args.vocab).read_text("utf-8").split("\n") if args.vocab
              else make_vocabulary(texts, 1000))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    sizes = Sizes(len(pieces), hidden=32, heads=2, inner=64) if letters else Sizes(len(pieces))
    rows = [encode(text, vocabulary, sizes.longest) for text in texts]
    model = BERT(sizes)
    steps = args.steps or (1200 if letters else 2000)
    print(f"{len(rows):,} rows, {len(pieces):,} pieces, "
          f"{sum(p.numel() for p in model.parameters()):,} parameters; a model that knows nothing "
          f"has a loss of ln V = {math.log(len(pieces)):.2f}")
    print(f"counting pieces, without looking at the others, gives {unigram_loss(rows):.2f}")
    source = batches(rows, 32, len(pieces), torch.Generator().manual_seed(0))
    losses = train(model, source, steps, highest=3e-3, warmup=steps // 10)
    for text in ("c d [MASK] f g", "m n o [MASK] q") if letters else (
            "Return the number of [MASK].", "Return [MASK] if the object is an instance."):
        print(text, guess(model, text, vocabulary, sizes.longest))
    return losses


if __name__ == "__main__":
    main()
