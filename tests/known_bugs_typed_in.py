"""Functions of the ladder as a learner might type them, each with a bug that has a name.

(words of what has to be said, rung, source); other functions are those of the solution.
"""

TYPED_IN = (
    ("shortest piece", "pieces", '''
def pieces(text, vocab):
    out = []
    for word in re.findall(r"[^\\W_]+|[^\\w\\s]|_", text.lower()):
        got, rest, mark = [], word, ""
        while rest:
            fits = [n for n in range(1, len(rest) + 1) if mark + rest[:n] in vocab]
            if not fits:
                got = ["[UNK]"]
                break
            got.append(mark + rest[:min(fits)])
            rest, mark = rest[min(fits):], "##"
        out.extend(got)
    return out
'''),
    ('forgets "##"', "pieces", '''
def pieces(text, vocab):
    words = re.findall(r"[^\\W_]+|[^\\w\\s]|_", text.lower())
    return [piece for word in words for piece in greedy(word, vocab)]

def greedy(word, vocab):
    out = []
    while word:
        n = len(word)
        while n and word[:n] not in vocab:
            n -= 1
        if n == 0:
            return ["[UNK]"]
        out.append(word[:n])
        word = word[n:]
    return out
'''),
    ("all segments are 0", "pair_row", '''
good = pair_row
def pair_row(first, second, vocab, max_length):
    ids, segments = good(first, second, vocab, max_length)
    return ids, [0 for _ in ids]
'''),
    ("the first [SEP] has segment 1", "pair_row", '''
good = pair_row
def pair_row(first, second, vocab, max_length):
    ids, _ = good(first, second, vocab, max_length)
    sep = ids.index(vocab["[SEP]"])
    return ids, [0] * sep + [0 if second is None else 1] * (len(ids) - sep)
'''),
    ("its last [SEP] is lost", "pair_row", '''
def pair_row(first, second, vocab, max_length):
    rows = [("[CLS]", 0), *((p, 0) for p in first), ("[SEP]", 0)]
    if second is not None:
        rows += [*((p, 1) for p in second), ("[SEP]", 1)]
    rows = rows[:max_length]
    return [vocab[p] for p, _ in rows], [s for _, s in rows]
'''),
    ("labels are 0 where nothing", "mask_tokens", '''
good = mask_tokens
def mask_tokens(ids, ordinary, mask_id, rng, probability=0.15):
    inputs, labels = good(ids, ordinary, mask_id, rng, probability)
    return inputs, [0 if label == -100 else label for label in labels]
'''),
    ("drawn once for the row", "mask_tokens", '''
def mask_tokens(ids, ordinary, mask_id, rng, probability=0.15):
    ids, kind = np.array(ids), rng.choice(["mask", "random", "keep"], p=[0.8, 0.1, 0.1])
    chosen = (rng.random(len(ids)) < probability) & np.isin(ids, ordinary)
    new = {"mask": np.full(len(ids), mask_id), "keep": ids,
           "random": rng.choice(ordinary, len(ids))}[str(kind)]
    return np.where(chosen, new, ids).tolist(), np.where(chosen, ids, -100).tolist()
'''),
    ("2% are random and 18% stay", "mask_tokens", '''
def mask_tokens(ids, ordinary, mask_id, rng, probability=0.15):
    ids = np.array(ids)
    chosen = (rng.random(len(ids)) < probability) & np.isin(ids, ordinary)
    masked = chosen & (rng.random(len(ids)) < 0.8)
    drawn = chosen & ~masked & (rng.random(len(ids)) < 0.1)
    new = np.where(masked, mask_id, np.where(drawn, rng.choice(ordinary, len(ids)), ids))
    return new.tolist(), np.where(chosen, ids, -100).tolist()
'''),
    ("eps stands outside the root", "layer_norm", '''
def layer_norm(x, w, name, eps=1e-12):
    std = x.var(-1, keepdim=True, unbiased=False).sqrt()
    return (x - x.mean(-1, keepdim=True)) / (std + eps) * w[name + ".weight"] + w[name + ".bias"]
'''),
    ("the variance divides by D - 1", "layer_norm", '''
def layer_norm(x, w, name, eps=1e-12):
    var = x.var(-1, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) * (var + eps) ** -0.5 * w[name + ".weight"] + w[
        name + ".bias"]
'''),
    ("positions are missing", "embed", '''
def embed(ids, segments, w):
    x = F.embedding(ids, w["embeddings.word_embeddings.weight"])
    x = x + F.embedding(segments, w["embeddings.token_type_embeddings.weight"])
    return layer_norm(x, w, "embeddings.LayerNorm")
'''),
    ("softmax runs over the queries", "attend", '''
def attend(query, key, value, mask=None):
    fits = torch.einsum("...iw,...jw->...ij", query, key) / query.shape[-1] ** 0.5
    if mask is not None:
        fits = torch.where(mask, fits, torch.finfo(fits.dtype).min)
    return torch.einsum("...ij,...jw->...iw", fits.softmax(dim=-2), value)
'''),
    ("not divided by sqrt(W)", "attend", '''
def attend(query, key, value, mask=None):
    fits = torch.matmul(query, key.mT)
    if mask is not None:
        fits = fits.masked_fill(mask.logical_not(), torch.finfo(fits.dtype).min)
    return torch.softmax(fits, -1).matmul(value)
'''),
    ("padding is seen", "attend", '''
def attend(query, key, value, mask=None):
    return F.scaled_dot_product_attention(query, key, value)
'''),
    ("NaN", "attend", '''
def attend(query, key, value, mask=None):
    return torch.softmax((query @ key.mT / query.shape[-1] ** .5).masked_fill(
        torch.zeros(1).bool() if mask is None else ~mask, float("-inf")), -1) @ value
'''),
    ("merged without a transpose", "self_attention", '''
def self_attention(x, mask, w, layer, heads):
    B, S, D = x.shape
    n = f"encoder.layer.{layer}.attention."
    q, k, v = (linear(x, w, n + "self." + part).view(B, S, heads, D // heads).permute(0, 2, 1, 3)
               for part in ("query", "key", "value"))
    y = attend(q, k, v, mask[:, None, None]).contiguous().view(B, S, D)
    return linear(y, w, n + "output.dense")
'''),
    ("split without a transpose", "self_attention", '''
def self_attention(x, mask, w, layer, heads):
    B, S, D = x.shape
    n = f"encoder.layer.{layer}.attention."
    q, k, v = (linear(x, w, n + "self." + part).view(B, heads, S, D // heads)
               for part in ("query", "key", "value"))
    y = attend(q, k, v, mask[:, None, None]).permute(0, 2, 1, 3).reshape(B, S, D)
    return linear(y, w, n + "output.dense")
'''),
    ("divided by sqrt(D)", "self_attention", '''
def self_attention(x, mask, w, layer, heads):
    B, S, D = x.shape
    n = f"encoder.layer.{layer}.attention."
    q, k, v = (linear(x, w, n + "self." + part).view(B, S, heads, -1).transpose(1, 2)
               for part in ("query", "key", "value"))
    fits = (q @ k.mT / D ** 0.5).masked_fill(~mask[:, None, None], torch.finfo(x.dtype).min)
    y = (fits.softmax(-1) @ v).transpose(1, 2).reshape(B, S, D)
    return linear(y, w, n + "output.dense")
'''),
    ("padding is seen", "self_attention", '''
def self_attention(x, mask, w, layer, heads):
    n = f"encoder.layer.{layer}.attention."
    q, k, v = (linear(x, w, n + "self." + part).unflatten(-1, (heads, -1)).transpose(1, 2)
               for part in ("query", "key", "value"))
    return linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), w,
                  n + "output.dense")
'''),
    ("pre-norm", "block", '''
def block(x, mask, w, layer, heads):
    n = f"encoder.layer.{layer}."
    x = x + self_attention(layer_norm(x, w, n + "attention.output.LayerNorm"), mask, w, layer,
                           heads)
    y = linear(layer_norm(x, w, n + "output.LayerNorm"), w, n + "intermediate.dense")
    return x + linear(F.gelu(y), w, n + "output.dense")
'''),
    ("tanh form", "block", '''
def block(x, mask, w, layer, heads):
    n = f"encoder.layer.{layer}."
    x = layer_norm(self_attention(x, mask, w, layer, heads) + x, w,
                   n + "attention.output.LayerNorm")
    y = linear(x, w, n + "intermediate.dense")
    y = 0.5 * y * (1 + torch.tanh((2 / math.pi) ** 0.5 * (y + 0.044715 * y ** 3)))
    return layer_norm(linear(y, w, n + "output.dense") + x, w, n + "output.LayerNorm")
'''),
    ("divides by all tokens", "mlm_loss", '''
def mlm_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100,
                           reduction="none").mean()
'''),
    ("-100 is taken for a label", "mlm_loss", '''
def mlm_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten().clamp(0))
'''),
    ("gives NaN", "mlm_loss", '''
def mlm_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten())
'''),
    ("bias correction is missing", "adamw_step", '''
@torch.no_grad()
def adamw_step(w, grads, m, v, t, lr, decay=0.01):
    for n, g in grads.items():
        m[n].mul_(0.9).add_(g, alpha=0.1)
        v[n].mul_(0.999).addcmul_(g, g, value=0.001)
        w[n].mul_(1 - lr * decay * (w[n].ndim > 1))
        w[n].addcdiv_(m[n], v[n].sqrt().add(1e-8), value=-lr)
'''),
    ("LayerNorms decay", "adamw_step", '''
def adamw_step(w, grads, m, v, t, lr, decay=0.01):
    names = list(w)
    params = [torch.nn.Parameter(w[n]) for n in names]
    optimizer = torch.optim.AdamW(params, lr, weight_decay=decay)
    for p, n in zip(params, names):
        p.grad = grads[n]
        optimizer.state[p] = {"step": torch.tensor(t - 1.0), "exp_avg": m[n], "exp_avg_sq": v[n]}
    optimizer.step()
'''),
    ("(L2)", "adamw_step", '''
@torch.no_grad()
def adamw_step(w, grads, m, v, t, lr, decay=0.01):
    for n, g in grads.items():
        g = g + decay * w[n] if w[n].ndim > 1 else g
        m[n].lerp_(g, 0.1)
        v[n].lerp_(g * g, 0.001)
        w[n] -= lr * m[n] / (1 - 0.9 ** t) / ((v[n] / (1 - 0.999 ** t)).sqrt() + 1e-8)
'''),
    ("gradients are not cleared", "train", '''
def train(w, batches, loss_of, lr, warmup, decay=0.01):
    m, v = ({n: torch.zeros_like(p) for n, p in w.items()} for _ in range(2))
    out = []
    for i, batch in enumerate(batches):
        loss = loss_of(w, batch)
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in w.values()]).norm()
        scale = 1 / norm.clamp(min=1)
        rise, fall = (i + 1) / (warmup + 1), (len(batches) - i) / (len(batches) - warmup)
        adamw_step(w, {n: p.grad * scale for n, p in w.items()}, m, v, i + 1,
                   lr * min(rise, fall), decay)
        out.append(loss.item())
    return out
'''),
)
