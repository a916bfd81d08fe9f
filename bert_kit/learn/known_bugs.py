"""Bugs that others made before: what the solution would give with each of them.

A bug is one change of the text of `solution.py`. The judge runs the changed solution on the same
inputs and compares: a learner's answer that equals it, to float error, shows the bug.
"""

from typing import NamedTuple


class Bug(NamedTuple):
    """A bug: the rung it belongs to, what to say, the page that tells of it, and the change."""

    rung: str
    says: str
    page: str
    right: str
    wrong: str


_UNK = '                cut = ["[UNK]"]\n'
_SEGMENTS = "    segments = [0] * len(tokens)\n"
_SHORTEN = "        if a > b or a == b and len(first) <= len(second or []):\n"
_EACH = "    for s, number in enumerate(ids):\n"
_CHOOSE = ("        if number not in ordinary or rng.random() >= probability:\n"
           "            continue\n        labels[s] = number\n")
_SEEN = "mask[:, None, None, :]"
_LOGITS = "    logits, labels = logits[chosen], labels[chosen]  # (M, V), (M,)\n"
_LOSS = "    return -right.sum() / max(1, len(right))"
_DECAY = "            w[name] -= lr * decay * w[name]\n"
_MEANS = (
    "        m[name] = 0.9 * m[name] + 0.1 * g\n        v[name] = 0.999 * v[name] + 0.001 * g * g\n"
    "        first, second = m[name] / (1 - 0.9 ** t), v[name] / (1 - 0.999 ** t)\n")
_STEP = "lr * first / (second.sqrt() + 1e-8)"

KNOWN_BUGS = (
    Bug("pieces", "it takes the shortest piece that fits instead of the longest",
        "tokens-and-pairs", "range(len(word), start, -1)", "range(start + 1, len(word) + 1)"),
    Bug("pieces", 'it forgets "##" before pieces that do not begin a word', "tokens-and-pairs",
        '("##" if start else "")', '""'),
    Bug("pieces", "it keeps the pieces before the place where none fits; the whole word has to "
        "become one [UNK]", "tokens-and-pairs", _UNK, '                cut.append("[UNK]")\n'),
    Bug("pieces", "it makes [UNK] of one character and goes on; the whole word has to become one "
        "[UNK]", "tokens-and-pairs", _UNK + "                break\n",
        '                piece, end = "[UNK]", start + 1\n'),
    Bug("pieces", "it drops a word that has no pieces; [UNK] has to stand for it",
        "tokens-and-pairs", _UNK, "                cut = []\n"),
    Bug("pieces", "it does not make the text lower case", "tokens-and-pairs", "text.lower()",
        "text"),
    Bug("pieces", "it splits at white space only; punctuation has to be a word of its own",
        "tokens-and-pairs", r're.findall(r"[^\W_]+|[^\w\s]|_", text.lower())',
        "text.lower().split()"),
    Bug("pieces", "it drops punctuation; each mark is a word of its own", "tokens-and-pairs",
        r'r"[^\W_]+|[^\w\s]|_"', r'r"[^\W_]+"'),
    Bug("pair_row", "all segments are 0; those of the second text are 1", "tokens-and-pairs",
        "        segments += [1] * (b + 1)", "        segments += [0] * (b + 1)"),
    Bug("pair_row", "the first [SEP] has segment 1; it ends the first text, so it has 0",
        "tokens-and-pairs", "        segments += [1] * (b + 1)",
        "        segments = segments[:-1] + [1] * (b + 2)"),
    Bug("pair_row", "the last [SEP] has segment 0; it ends the second text, so it has 1",
        "tokens-and-pairs", "        segments += [1] * (b + 1)",
        "        segments += [1] * b + [0]"),
    Bug("pair_row", "segments are counted from 1; they are 0 and 1", "tokens-and-pairs",
        "[vocab[token] for token in tokens], segments",
        "[vocab[token] for token in tokens], [one + 1 for one in segments]"),
    Bug("pair_row", "the second text has no [SEP] at its end", "tokens-and-pairs",
        '        tokens += [*second[:b], "[SEP]"]\n        segments += [1] * (b + 1)',
        "        tokens += second[:b]\n        segments += [1] * b"),
    Bug("pair_row", "the second text begins with a [CLS] of its own", "tokens-and-pairs",
        '        tokens += [*second[:b], "[SEP]"]\n        segments += [1] * (b + 1)',
        '        tokens += ["[CLS]", *second[:b], "[SEP]"]\n        segments += [1] * (b + 2)'),
    Bug("pair_row", "a row that is too long is cut at its end, so its last [SEP] is lost",
        "tokens-and-pairs",
        "    room = max_length - (2 if second is None else 3)\n    while a + b > room:\n" + _SHORTEN
        + "            a -= 1\n        else:\n            b -= 1\n"
        '    tokens = ["[CLS]", *first[:a], "[SEP]"]\n' + _SEGMENTS
        + '    if second is not None:\n        tokens += [*second[:b], "[SEP]"]\n'
        "        segments += [1] * (b + 1)\n"
        "    return [vocab[token] for token in tokens], segments",
        '    tokens = ["[CLS]", *first, "[SEP]"]\n' + _SEGMENTS
        + '    if second is not None:\n        tokens += [*second, "[SEP]"]\n'
        "        segments += [1] * (b + 1)\n"
        "    return [vocab[token] for token in tokens][:max_length], segments[:max_length]"),
    Bug("pair_row", "only the second text is cut; it has to be the longer one", "tokens-and-pairs",
        _SHORTEN, "        if second is None or b == 0:\n"),
    Bug("pair_row", "on a tie it shortens the wrong text: the one that was shorter to begin with "
        "gives way", "tokens-and-pairs", _SHORTEN, "        if a > b:\n"),
    Bug("pair_row", "on a tie it always shortens the first text: the one that was shorter to begin "
        "with gives way", "tokens-and-pairs", _SHORTEN, "        if a >= b:\n"),
    Bug("pair_row", "the room leaves out the special tokens, so the row is longer than max_length",
        "tokens-and-pairs", "    room = max_length - (2 if second is None else 3)",
        "    room = max_length"),
    Bug("mask_tokens", "labels are 0 where nothing is to be answered; 0 is a piece, so they have "
        "to be -100", "masking", "[-100] * len(ids)", "[0] * len(ids)"),
    Bug("mask_tokens", "every token has a label; it has to be -100 where none was chosen",
        "masking", "[-100] * len(ids)", "list(ids)"),
    Bug("mask_tokens", "the label is what the model reads; it has to be the token that stood there",
        "masking", "            inputs[s] = int(rng.choice(ordinary))\n",
        "            inputs[s] = int(rng.choice(ordinary))\n        labels[s] = inputs[s]\n"),
    Bug("mask_tokens", "special tokens are chosen too; [CLS] and [SEP] have to stay", "masking",
        "number not in ordinary or rng.random()", "rng.random()"),
    Bug("mask_tokens", "every chosen token becomes [MASK]; 10% have to be random and 10% stay",
        "masking", "if draw < 0.8:", "if draw < 1:"),
    Bug("mask_tokens", "2% are random and 18% stay: a second draw of 10% meets only the 20% that "
        "the first one left", "masking", "elif draw < 0.9:", "elif rng.random() < 0.1:"),
    Bug("mask_tokens", "all of the last 20% are random; half of them have to stay", "masking",
        "elif draw < 0.9:", "else:"),
    Bug("mask_tokens", "the last 20% all stay; half of them have to be random", "masking",
        "elif draw < 0.9:", "elif draw < 0.8:"),
    Bug("mask_tokens", "[MASK], random or kept is drawn once for the row; it has to be drawn for "
        "each token", "masking",
        _EACH + _CHOOSE + "        draw = rng.random()\n",
        "    draw = rng.random()\n" + _EACH + _CHOOSE),
    Bug("layer_norm", "eps stands outside the root: the values agree, and the gradient of a token "
        "whose numbers are all alike is not a number", "block", "torch.sqrt(variance + eps)",
        "(torch.sqrt(variance) + eps)"),
    Bug("layer_norm", "the variance divides by D - 1; BERT's divides by D", "block",
        "variance = (centred * centred).mean(-1, keepdim=True)",
        "variance = (centred * centred).sum(-1, keepdim=True) / (x.shape[-1] - 1)"),
    Bug("layer_norm", "it divides by the standard deviation over D - 1 with eps outside the root; "
        "BERT's is over D, and eps is inside", "block",
        "torch.sqrt(variance + eps)", "(x.std(-1, keepdim=True) + eps)"),
    Bug("layer_norm", "it divides by the variance; the root is missing", "block",
        "torch.sqrt(variance + eps)", "(variance + eps)"),
    Bug("layer_norm", "mean and variance are over the tokens; they have to be over the D numbers "
        "of each token", "block",
        "x.mean(-1, keepdim=True)\n    variance = (centred * centred).mean(-1, keepdim=True)",
        "x.mean(-2, keepdim=True)\n    variance = (centred * centred).mean(-2, keepdim=True)"),
    Bug("layer_norm", "mean and variance are over the whole tensor; they have to be over the D "
        "numbers of each token", "block",
        "x.mean(-1, keepdim=True)\n    variance = (centred * centred).mean(-1, keepdim=True)",
        "x.mean()\n    variance = (centred * centred).mean()"),
    Bug("layer_norm", "the shift, .bias, is missing", "block",
        'torch.sqrt(variance + eps) + w[name + ".bias"]', "torch.sqrt(variance + eps)"),
    Bug("layer_norm", "the scale, .weight, is missing", "block",
        'return w[name + ".weight"] * centred', "return centred"),
    Bug("layer_norm", "the mean is not taken off", "block", "w[name + \".weight\"] * centred /",
        "w[name + \".weight\"] * x /"),
    Bug("embed", "the positions are missing, so the order of the tokens does not matter",
        "embeddings", "word + position + segment", "word + segment"),
    Bug("embed", "the segments are missing", "embeddings", "word + position + segment",
        "word + position"),
    Bug("embed", "the sum is not normalised", "embeddings",
        'layer_norm(word + position + segment, w, "embeddings.LayerNorm")',
        "word + position + segment"),
    Bug("embed", "segments and positions have exchanged their tables", "embeddings",
        '_embeddings.weight"][:ids.shape[1]]  # (S, D)\n'
        '    segment = w["embeddings.token_type_embeddings.weight"][segments]',
        '_embeddings.weight"][segments]\n'
        '    segment = w["embeddings.token_type_embeddings.weight"]'
        "[torch.arange(ids.shape[1]) % 2]"),
    Bug("embed", "a token has the position of its row; it has to be its place in the row",
        "embeddings", "[:ids.shape[1]]  # (S, D)", "[torch.arange(len(ids))][:, None]"),
    Bug("embed", "positions are counted from 1; the first is 0", "embeddings",
        "[:ids.shape[1]]  # (S, D)", "[1:ids.shape[1] + 1]"),
    Bug("attend", "the scores are not divided by sqrt(W)", "attention",
        " / math.sqrt(query.shape[-1])", ""),
    Bug("attend", "the scores are divided by W; it has to be its root", "attention",
        "/ math.sqrt(query.shape[-1])", "/ query.shape[-1]"),
    Bug("attend", "the scores are divided by the root of S, the number of tokens; it has to be W",
        "attention", "/ math.sqrt(query.shape[-1])", "/ math.sqrt(query.shape[-2])"),
    Bug("attend", "softmax runs over the queries; the weights of one query, over the keys, have "
        "to sum to 1", "attention", "scores.softmax(-1)", "scores.softmax(-2)"),
    Bug("attend", "queries and keys are exchanged", "attention", "query @ key.transpose(-2, -1)",
        "key @ query.transpose(-2, -1)"),
    Bug("attend", "padding is seen: the mask is not used", "attention", "if mask is not None:",
        "if False:"),
    Bug("attend", "the mask is the wrong way round: it is True where a key may be seen",
        "attention", "masked_fill(~mask", "masked_fill(mask"),
    Bug("attend", "the mask multiplies the scores with 0; softmax still gives a score of 0 a "
        "weight", "attention", "scores.masked_fill(~mask, torch.finfo(scores.dtype).min)",
        "scores * mask"),
    Bug("attend", "the mask works behind the softmax, so the weights do not sum to 1",
        "attention", "    return scores.softmax(-1) @ value",
        "    return (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(-1).mul("
        "1 if mask is None else mask) @ value"),
    Bug("attend", "the lowest number is -inf; a query that may see nothing then gives NaN",
        "attention", "torch.finfo(scores.dtype).min)", "-math.inf)"),
    Bug("self_attention", "heads are merged without a transpose: the numbers of a token come from "
        "other tokens", "attention", "context.transpose(1, 2).flatten(2)",
        "context.reshape(x.shape)"),
    Bug("self_attention", "heads are split without a transpose: a head gets numbers of other "
        "tokens", "attention", ".unflatten(-1, (heads, -1)).transpose(1, 2)",
        ".reshape(len(x), heads, x.shape[1], -1)"),
    Bug("self_attention", "heads take every H-th number; head h has h * W to (h + 1) * W",
        "attention", ".unflatten(-1, (heads, -1)).transpose(1, 2)",
        ".unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)"),
    Bug("self_attention", "heads are side by side, but merged number by number: the order has to "
        "be that of the split", "attention", "context.transpose(1, 2).flatten(2)",
        "context.permute(0, 2, 3, 1).flatten(2)"),
    Bug("self_attention", "the scores are divided by sqrt(D); it has to be a head's width, D / H",
        "attention", f"attend(query, key, value, {_SEEN})",
        f"attend(query / math.sqrt(heads), key, value, {_SEEN})"),
    Bug("self_attention", "padding is seen: the mask is not used", "attention",
        f"attend(query, key, value, {_SEEN})", "attend(query, key, value)"),
    Bug("self_attention", "the mask hides queries; it has to hide keys, mask[:, None, None, :]",
        "attention", _SEEN, "mask[:, None, :, None]"),
    Bug("self_attention", "there is one head instead of H", "attention",
        "unflatten(-1, (heads, -1))", "unflatten(-1, (1, -1))"),
    Bug("self_attention", "the last linear layer, attention.output.dense, is missing",
        "attention", 'linear(side_by_side, w, name + "output.dense")', "side_by_side"),
    Bug("block", "it is pre-norm: it normalises before a sub-layer; BERT normalises the sum",
        "block", "    attended = self_attention(x, mask, w, layer, heads)\n"
        '    x = layer_norm(x + attended, w, name + "attention.output.LayerNorm")\n'
        '    wide = F.gelu(linear(x, w, name + "intermediate.dense"))\n'
        '    return layer_norm(x + linear(wide, w, name + "output.dense"), w, '
        'name + "output.LayerNorm")',
        '    normal = layer_norm(x, w, name + "attention.output.LayerNorm")\n'
        "    x = x + self_attention(normal, mask, w, layer, heads)\n"
        '    normal = layer_norm(x, w, name + "output.LayerNorm")\n'
        '    return x + linear(F.gelu(linear(normal, w, name + "intermediate.dense")), w, '
        'name + "output.dense")'),
    Bug("block", "it has the tanh form of GELU; BERT has the one with erf", "block",
        'F.gelu(linear(x, w, name + "intermediate.dense"))',
        'F.gelu(linear(x, w, name + "intermediate.dense"), approximate="tanh")'),
    Bug("block", "it has a ReLU; BERT has a GELU", "block",
        'F.gelu(linear(x, w, name + "intermediate.dense"))',
        'F.relu(linear(x, w, name + "intermediate.dense"))'),
    Bug("block", "there is nothing between the two linear layers; a GELU is missing", "block",
        'F.gelu(linear(x, w, name + "intermediate.dense"))',
        'linear(x, w, name + "intermediate.dense")'),
    Bug("block", "the residual connection around attention is missing: x + …", "block",
        "layer_norm(x + attended,", "layer_norm(attended,"),
    Bug("block", "the residual connection around the feed-forward network is missing: x + …",
        "block", 'layer_norm(x + linear(wide, w, name + "output.dense")',
        'layer_norm(linear(wide, w, name + "output.dense")'),
    Bug("block", "the second residual connection adds the block's input; it has to add what the "
        "first LayerNorm gave", "block",
        '    x = layer_norm(x + attended, w, name + "attention.output.LayerNorm")\n'
        '    wide = F.gelu(linear(x, w, name + "intermediate.dense"))\n',
        '    normal = layer_norm(x + attended, w, name + "attention.output.LayerNorm")\n'
        '    wide = F.gelu(linear(normal, w, name + "intermediate.dense"))\n'),
    Bug("block", "the two LayerNorms are exchanged", "block",
        'name + "attention.output.LayerNorm")\n    wide = F.gelu(linear(x, w, name + '
        '"intermediate.dense"))\n    return layer_norm(x + linear(wide, w, name + "output.dense"), '
        'w, name + "output.LayerNorm")',
        'name + "output.LayerNorm")\n    wide = F.gelu(linear(x, w, name + '
        '"intermediate.dense"))\n    return layer_norm(x + linear(wide, w, name + "output.dense"), '
        'w, name + "attention.output.LayerNorm")'),
    Bug("mlm_logits", "the GELU is missing", "heads-and-losses",
        'F.gelu(linear(hidden, w, "cls.predictions.transform.dense"))',
        'linear(hidden, w, "cls.predictions.transform.dense")'),
    Bug("mlm_logits", "it has the tanh form of GELU; BERT has the one with erf",
        "heads-and-losses", 'F.gelu(linear(hidden, w, "cls.predictions.transform.dense"))',
        'F.gelu(linear(hidden, w, "cls.predictions.transform.dense"), approximate="tanh")'),
    Bug("mlm_logits", "the LayerNorm is missing", "heads-and-losses",
        'x = layer_norm(x, w, "cls.predictions.transform.LayerNorm")', "pass"),
    Bug("mlm_logits", "the bias of the vocabulary, cls.predictions.bias, is missing",
        "heads-and-losses", ' + w["cls.predictions.bias"]', ""),
    Bug("mlm_logits", "the transform is missing: the hidden states are multiplied with the word "
        "embeddings as they are", "heads-and-losses",
        '    x = F.gelu(linear(hidden, w, "cls.predictions.transform.dense"))\n'
        '    x = layer_norm(x, w, "cls.predictions.transform.LayerNorm")\n', "    x = hidden\n"),
    Bug("mlm_loss", "it divides by all tokens; only those with a label count", "heads-and-losses",
        "    chosen = labels != -100\n" + _LOGITS,
        "    chosen, every = labels != -100, labels.numel()\n"
        "    logits, labels = logits[chosen] * 1, labels[chosen]\n"
        "    if len(labels):\n"
        "        return -logits.log_softmax(-1).gather(-1, labels[:, None]).sum() / every\n"),
    Bug("mlm_loss", "-100 is taken for a label: such tokens count as piece 0", "heads-and-losses",
        "    chosen = labels != -100\n",
        "    labels = labels.clamp(min=0)\n    chosen = labels >= 0\n"),
    Bug("mlm_loss", "labels of 0 are left out as well; 0 is a piece like any other",
        "heads-and-losses", "chosen = labels != -100", "chosen = labels > 0"),
    Bug("mlm_loss", "it is the sum; it has to be divided by the number of labels",
        "heads-and-losses", _LOSS, "    return -right.sum()"),
    Bug("mlm_loss", "it is the mean of the rows' means; every label has to count alike",
        "heads-and-losses", "    chosen = labels != -100\n" + _LOGITS,
        "    means = [F.cross_entropy(one, two) for one, two in zip(logits, labels)\n"
        "             if (two != -100).any()]\n"
        "    if logits.ndim == 3 and means:\n"
        "        return sum(means) / len(means)\n"
        "    chosen = labels != -100\n" + _LOGITS),
    Bug("mlm_loss", "its sign is wrong: a loss is minus the logarithm", "heads-and-losses", _LOSS,
        "    return right.sum() / max(1, len(right))"),
    Bug("mlm_loss", "the logarithm is missing: it is minus the probability", "heads-and-losses",
        "logits.log_softmax(-1)", "logits.softmax(-1)"),
    Bug("mlm_loss", "the softmax is missing", "heads-and-losses",
        "logits.log_softmax(-1).gather", "logits.gather"),
    Bug("mlm_loss", "a batch in which no token has a label gives NaN; it has to give 0",
        "pitfalls", "max(1, len(right))", "len(right)"),
    Bug("adamw_step", "the bias correction is missing: m / (1 - 0.9^t), v / (1 - 0.999^t)",
        "training-loop", "m[name] / (1 - 0.9 ** t), v[name] / (1 - 0.999 ** t)",
        "m[name], v[name]"),
    Bug("adamw_step", "the bias correction counts steps from 0; t is 1 in the first step already",
        "training-loop", "m[name] / (1 - 0.9 ** t), v[name] / (1 - 0.999 ** t)",
        "m[name] / (1 - 0.9 ** (t + 1)), v[name] / (1 - 0.999 ** (t + 1))"),
    Bug("adamw_step", "biases and LayerNorms decay; only matrices may", "training-loop",
        "if w[name].ndim >= 2:", "if True:"),
    Bug("adamw_step", "nothing decays", "training-loop", "if w[name].ndim >= 2:", "if False:"),
    Bug("adamw_step", "the decay is added to the gradient (L2); in AdamW it is a step of its own",
        "training-loop", _MEANS + "        if w[name].ndim >= 2:\n" + _DECAY,
        "        g = g + decay * w[name] * (w[name].ndim >= 2)\n" + _MEANS),
    Bug("adamw_step", "the decay is not multiplied with the learning rate", "training-loop",
        _DECAY, "            w[name] -= decay * w[name]\n"),
    Bug("adamw_step", "the decay grows the weights: its sign is wrong", "training-loop", _DECAY,
        "            w[name] += lr * decay * w[name]\n"),
    Bug("adamw_step", "it goes up the gradient: its sign is wrong", "training-loop",
        "w[name] -= " + _STEP, "w[name] += " + _STEP),
    Bug("adamw_step", "1e-8 stands inside the root; it is added to the root", "training-loop",
        "(second.sqrt() + 1e-8)", "(second + 1e-8).sqrt()"),
    Bug("adamw_step", "the root is missing: it divides by v", "training-loop",
        "(second.sqrt() + 1e-8)", "(second + 1e-8)"),
    Bug("adamw_step", "v averages g; it has to average g²", "training-loop", "0.001 * g * g",
        "0.001 * g"),
    Bug("adamw_step", "0.9 and 0.1 are exchanged: m has to keep 0.9 of what it was",
        "training-loop", "0.9 * m[name] + 0.1 * g", "0.1 * m[name] + 0.9 * g"),
    Bug("train", "gradients are not cleared: those of one batch are added to the next's",
        "training-loop", "            p.grad = None  # or the next batch would add to it\n",
        "            pass\n"),
    Bug("train", "gradients are not clipped", "training-loop",
        "g / max(1.0, norm)", "g"),
    Bug("train", "gradients always get norm 1; only a norm above 1 is cut", "training-loop",
        "g / max(1.0, norm)", "g / norm"),
    Bug("train", "each tensor is clipped on its own; the norm is one number for all of them",
        "training-loop", "g / max(1.0, norm)", "g / max(1.0, float(g.norm()))"),
    Bug("train", "the first step has a rate of 0: it is (step + 1) / (warmup + 1)", "pitfalls",
        "factor = (step + 1) / (warmup + 1)", "factor = step / warmup"),
    Bug("train", "the learning rate is always the highest: there is no warm-up and no fall",
        "training-loop", "lr * factor, decay", "lr, decay"),
    Bug("train", "the learning rate stays after the warm-up; it has to fall", "training-loop",
        "1 - (step - warmup) / (len(batches) - warmup)", "1.0"),
    Bug("train", "the learning rate has no warm-up", "training-loop", "if step < warmup:",
        "if False:"),
    Bug("train", "adamw_step is always told step 1; it has to be told the step, counted from 1",
        "training-loop", "m, v, step + 1,", "m, v, 1,"),
    Bug("read_tensors", 'a leading "bert." stays in the names', "checkpoint",
        'name.removeprefix("bert.")', "name"),
    Bug("read_tensors", "offsets are counted from the beginning of the file; they count from the "
        "end of the header", "checkpoint",
        "header, data = json.loads(file.read(size)), file.read()",
        "header = json.loads(file.read(size))\n        file.seek(0)\n        data = file.read()"),
    Bug("read_tensors", "the tensors are flat: they need their shape", "checkpoint",
        'numbers.reshape(entry["shape"])', "numbers"),
    Bug("bert", "every layer runs with the weights of layer 0", "map",
        "block(x, mask, w, layer, heads)", "block(x, mask, w, 0, heads)"),
    Bug("bert", "the last layer is left out", "map", "range(layers)", "range(layers - 1)"),
    Bug("bert", "layers run in the order of their names as text, 0, 1, 10, 2; it has to be that "
        "of their numbers", "map", "range(layers)", "sorted(range(layers), key=str)"),
    Bug("bert", "the last layer runs first: they run from 0 up", "map", "range(layers)",
        "reversed(range(layers))"),
)
