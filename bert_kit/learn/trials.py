"""What each rung is tried on, and what the kit says: random inputs of odd sizes, in float64.

A trial's outcome is a dict {what: value}, such as the result and a gradient. The kit's comes from
the kit's own parts, not from the solution, so that the solution is examined like everyone's.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.data.rows.masking import mask_tokens
from bert_kit.model import BERTForMaskedLM, attend
from bert_kit.modes import IGNORE
from bert_kit.tokenization import Tokenizer
from bert_kit.training.optim import make_optimizer, make_schedule
from bert_kit.weights import read_safetensors, to_hugging_face, write_safetensors

Outcome = dict[str, Any]
Run = Callable[[Callable[..., Any], tuple[Any, ...]], Outcome]
B, S, H, L = 2, 7, 3, 4
CONFIG = BertConfig(vocab_size=41, hidden_size=15, num_hidden_layers=L, num_attention_heads=H,
                    intermediate_size=22, max_position_embeddings=11, hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0, fused=False)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hug", "h", "u", "un", "a", "##hug",
          "##h", "##u", "##g", "##gi", "##ging", "##n", "##able", "##s", "##e", "##r", "b", "##b",
          "!", ",", "?", "s", "e"]
TEXTS = ("hug", "hug_hugs", "Hugs!", "unhuggable hugging, a bug?", "unhugged hug", "",
         "hug  unbug un-hug", "A HUGGER, a hug!", "xhug hugx", "!?", "she hugs her bugs")
CHANGED = "inputs that it changed"
REPLACED = "tensors of w that were replaced, but have to change in place (-=)"
SHARES = ("a token has a label", "[MASK] stands at a label", "another token stands at a label",
          "the token itself stands at a label", "a special token has a label",
          "a token without a label has changed", "a label is another number than the token",
          "a label elsewhere is not -100", "a special token was put in",
          "most rows have one kind of answer only")


class Trial(NamedTuple):
    """Inputs, what the kit makes of them, and the inputs in words."""

    inputs: tuple[Any, ...]
    outcome: Outcome
    about: str


def model(seed: int = 0, **changes: Any) -> BERTForMaskedLM:
    """Return a small model in float64 whose weights are all random, biases and scales too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = BERTForMaskedLM(CONFIG.replace(**changes)).double().eval()
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.4)
    return made.requires_grad_(False)


def published(made: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model under their published names, without "bert."."""
    return {name.removeprefix("bert."): tensor
            for name, tensor in to_hugging_face(made.state_dict()).items()}


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Return random numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ragged(tokens: int = S) -> Tensor:
    """Return the mask (2, tokens) of a full row and one with three places of padding."""
    return torch.arange(tokens) < torch.tensor([[tokens], [tokens - 3]])


@functools.cache
def trials(name: str) -> tuple[Trial, ...]:
    """Return what a rung is tried on."""
    return tuple(MAKERS[name]())


def run(name: str, function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    """Run a function as its rung asks and return the outcome; the inputs are copied before."""
    return RUNNERS.get(name, plain_run)(function, copied(inputs))


def copied(value: Any) -> Any:
    """Return a copy of tensors, dicts, lists and tuples of them; the rest does not change."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(one if isinstance(one, int) else copied(one) for one in value)
    return value


def plain_run(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    """Call the function, and say whether it has changed what it was given."""
    before = copied(inputs)
    result = function(*inputs)
    changed = [place for place, (one, other) in enumerate(zip(before, inputs, strict=True))
               if not _equal(one, other)]
    return {"result": result, CHANGED: changed}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return one == other


def _trial(result: Any, about: str, *inputs: Any) -> Trial:
    return Trial(inputs, {"result": result, CHANGED: []}, about)


def _pieces() -> list[Trial]:
    tokenizer = Tokenizer(PIECES)
    vocab = {piece: number for number, piece in enumerate(PIECES)}
    return [_trial(tokenizer.tokens(row.ids), repr(text), text, vocab)
            for text, row in zip(TEXTS, tokenizer.encode_pieces(list(TEXTS)), strict=True)]


def _pair_row() -> list[Trial]:
    letters = list("abcdefghijklmnop")
    vocab = {piece: 2 * number + 1 for number, piece in enumerate([*PIECES[:5], *letters])}
    tokenizer = Tokenizer([*PIECES[:5], *letters])
    found = []
    for a, b, length in ((3, None, 11), (9, None, 7), (3, 0, 11), (3, 2, 11), (7, 2, 9),
                         (2, 9, 9), (5, 8, 9), (8, 5, 9), (6, 6, 8), (4, 6, 8), (7, 4, 8),
                         (1, 1, 5)):
        first, second = letters[:a], None if b is None else letters[len(letters) - b:]
        row = tokenizer.encode(" ".join(first), None if second is None else " ".join(second),
                               max_length=length)
        ids = [vocab[token] for token in tokenizer.tokens(row.ids)]
        about = f"{a} pieces" + ("" if b is None else f" and {b}") + f", max_length {length}"
        found.append(_trial((ids, list(row.type_ids)), about, first, second, vocab, length))
    return found


def _mask_shares(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    """Return how often what happens in many rows: draws come in any order, shares do not."""
    rows, ordinary, mask_id, seed = inputs
    rng, counts, chosen, tokens, one_kind = np.random.default_rng(seed), [0] * 10, 0, 0, 0
    specials = {number for row in rows for number in row} - set(ordinary)
    for row in rows:
        given = list(row)
        read, labels = (list(map(int, one)) for one in function(given, ordinary, mask_id, rng))
        if given != row:
            return {CHANGED: [0], "shares": {}}
        if (len(read), len(labels)) != (len(row), len(row)):
            return {CHANGED: [], "lengths": (len(read), len(labels))}
        kinds = set()
        for token, new, label in zip(row, read, labels, strict=True):
            special, answered = token in specials, label == token
            tokens += not special
            if label == IGNORE and new == token:  # nothing was done to it, as to most
                continue
            if answered and not special:
                chosen += 1
                kind = 1 if new == mask_id else 3 if new == token else 2
                counts[kind] += 1
                kinds.add(kind)
            counts[4] += answered and special
            counts[5] += label == IGNORE and new != token
            counts[6] += not answered and label != IGNORE and new != token
            counts[7] += not answered and label != IGNORE and new == token
            counts[8] += new in specials and new not in (mask_id, token)
        one_kind += len(kinds) == 1
    shares = [chosen / tokens, *(count / max(1, chosen) for count in counts[1:4]),
              *(float(count > 0) for count in counts[4:9]), float(2 * one_kind > len(rows))]
    return {CHANGED: [], "shares": dict(zip(SHARES, shares, strict=True))}


def _mask_tokens() -> list[Trial]:
    rng = np.random.default_rng(0)
    rows = [[2, *rng.integers(5, 41, 27).tolist(), 3, *rng.integers(5, 41, 31).tolist(), 3]
            for _ in range(800)]
    ordinary, seed = list(range(5, 41)), 1

    def kit(ids: list[int], ordinary: list[int], mask_id: int, rng: np.random.Generator
            ) -> tuple[list[int], list[int]]:
        row = np.array(ids)
        inputs, labels = mask_tokens(row, np.where(np.isin(row, ordinary), 0, -1), rng, mask_id,
                                     np.array(ordinary))
        return inputs.tolist(), labels.tolist()

    inputs = (rows, ordinary, 4, seed)
    return [Trial(inputs, _mask_shares(kit, inputs), "800 rows of 61 tokens")]


def _with_gradient(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    x = inputs[0].requires_grad_()
    result = function(*inputs)
    if not isinstance(result, Tensor) or not result.requires_grad:
        return {"result": result}
    weights = randn(*result.shape, seed=9)
    gradient, = torch.autograd.grad((result * weights).sum(), x)
    return {"result": result.detach(), "gradient": gradient}


def _layer_norm() -> list[Trial]:
    made = model()
    w, name = published(made), "encoder.layer.1.output.LayerNorm"
    norm = made.bert.blocks.get_submodule("1.feed_forward_norm")
    found = []
    for shape, seed in (((B, S, 15), 1), ((5, 15), 2), ((15,), 3)):
        inputs = (3 * randn(*shape, seed=seed) + 2, w, name)
        found.append(Trial(inputs, _with_gradient(lambda x, *_: norm(x), copied(inputs)),
                           f"x {shape}"))
    alike = torch.cat([randn(3, 15), torch.full((1, 15), 3.0, dtype=torch.float64)])
    return [*found, Trial((alike, w, name), _with_gradient(lambda x, *_: norm(x), (
        alike.clone(),)), "x (4, 15), whose last token has 15 equal numbers")]


def _embed() -> list[Trial]:
    made = model()
    generator, found = torch.Generator().manual_seed(0), []
    for rows, tokens in ((B, S), (4, 3), (5, 5)):
        ids = torch.randint(0, 41, (rows, tokens), generator=generator)
        segments = torch.randint(0, 2, (rows, tokens), generator=generator)
        expected = made.bert.embeddings(ids, segments, torch.arange(tokens))
        found.append(_trial(expected, f"ids ({rows}, {tokens})", ids, segments, published(made)))
    return found


def _attend() -> list[Trial]:
    some = torch.ones(S, S, dtype=torch.bool)
    some[:, 4:] = False
    blind = torch.ones(S, S, dtype=torch.bool).tril(-1)  # query 0 sees nothing
    found = []
    for seed, (shape, mask) in enumerate((((S, 5), None), ((S, 5), some), ((B, H, S, 5), None),
                                          ((B, H, S, 5), ragged()[:, None, None, :]),
                                          ((S, 5), blind))):
        query, key, value = (2 * randn(*shape, seed=10 * seed + i) for i in range(3))
        about = f"query {shape}" + ("" if mask is None else f", mask {tuple(mask.shape)}")
        about += " that lets query 0 see nothing" if mask is blind else ""
        found.append(_trial(attend(query, key, value, mask)[0], about, query, key, value, mask))
    return found


def _layers(kind: str) -> list[Trial]:
    made, found = model(), []
    for tokens, layer in ((S, 0), (S, 2), (3, 1)):
        x, mask = randn(B, tokens, 15, seed=tokens + layer), ragged(tokens)
        if tokens == 3:
            mask = torch.ones(B, tokens, dtype=torch.bool)
        part = f"{layer}" if kind == "block" else f"{layer}.attention"
        expected = made.bert.blocks.get_submodule(part)(x, mask)[0]
        found.append(_trial(expected, f"x ({B}, {tokens}, 15), layer {layer}, {H} heads, padding "
                            f"{(~mask).sum()}", x, mask, published(made), layer, H))
    return found


def _mlm_logits() -> list[Trial]:
    made = model()
    words = made.bert.embeddings.word.weight
    return [_trial(made.mlm_head(x, words), f"hidden {tuple(x.shape)}", x, published(made))
            for x in (randn(B, S, 15), randn(15, seed=1))]


def _mlm_loss() -> list[Trial]:
    generator, found = torch.Generator().manual_seed(0), []
    for shape, chosen in (((B, S), 0.4), ((3, 5), 0.6), ((B, S), 0.0)):
        logits = 3 * randn(*shape, 13, seed=shape[1])
        labels = torch.randint(0, 13, shape, generator=generator)
        if chosen:
            labels[0, 0] = 0  # a piece like any other
        hidden = torch.rand(shape, generator=generator) >= chosen
        hidden[0, :1] &= not chosen
        labels = labels.masked_fill(hidden, IGNORE)
        count = int((labels != IGNORE).sum())
        # The kit's own sum is taken in float32; this one is torch's, in float64.
        expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE,
                                   reduction="sum") / max(1, count)
        about = f"logits {tuple(logits.shape)}, {count} labels"
        found.append(_trial(expected, about, logits, labels))
    return found


class _Three(nn.Module):
    """A matrix, a vector and a table, as the kit's optimizer wants them: in a module."""

    def __init__(self, w: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in w.items():
            self.register_parameter(name, nn.Parameter(tensor.clone()))


def _weights() -> dict[str, Tensor]:
    return {"dense": randn(4, 3), "bias": randn(3, seed=1), "table": randn(2, 5, seed=2)}


def _run_adamw(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    w, steps, lr, decay = inputs
    m, v = ({name: torch.zeros_like(one) for name, one in w.items()} for _ in range(2))
    tensors = dict(w)
    for t, grads in enumerate(steps, 1):
        function(w, grads, m, v, t, lr, decay)
    return {REPLACED: [name for name, one in tensors.items() if w.get(name) is not one], "w": w}


def _adamw_step() -> list[Trial]:
    found = []
    for steps in (1, 3):
        w = _weights()
        # Gradients of 0 and near it show where 1e-8 stands.
        grads = [{name: randn(*p.shape, seed=20 + step) * (1e-4 if name == "table" else 1.0)
                  for name, p in w.items()} for step in range(steps)]
        made = _Three(w)
        optimizer = make_optimizer(made, 0.1, 0.3)
        for one in grads:
            for name, parameter in made.named_parameters():
                parameter.grad = one[name].clone()
            optimizer.step()
        outcome = {REPLACED: [], "w": {name: p.detach() for name, p in made.named_parameters()}}
        found.append(Trial((w, grads, 0.1, 0.3), outcome,
                           f"{steps} step{'s' * (steps > 1)} on {', '.join(w)}"))
    return found


def _toy_loss(w: dict[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    hidden = torch.tanh(x @ w["dense"] + w["bias"])
    return 2 * (hidden - y).square().mean() + 0.02 * w["table"].square().sum()


def _run_train(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    w, batches, lr, warmup, decay = inputs
    w = {name: tensor.requires_grad_() for name, tensor in w.items()}
    losses = function(w, batches, _toy_loss, lr, warmup, decay)
    return {"losses": losses, "w": {name: tensor.detach() for name, tensor in w.items()}}


def _train() -> list[Trial]:
    batches = [(randn(n, 4, seed=40 + n), randn(n, 3, seed=50 + n) * (n % 3)) for n in
               (3, 5, 1, 4, 2, 6, 7)]
    made = _Three(_weights())
    optimizer = make_optimizer(made, 0.05, 0.2)
    schedule, losses = make_schedule(optimizer, "linear", 2, len(batches)), []
    for batch in batches:
        loss = _toy_loss(dict(made.named_parameters()), batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    outcome = {"losses": losses, "w": {name: p.detach() for name, p in made.named_parameters()}}
    return [Trial((_weights(), batches, 0.05, 2, 0.2), outcome, "7 batches, 2 steps of warm-up")]


def _read_run(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(inputs[0])
        return {"result": function(str(path))}


def _read_tensors() -> list[Trial]:
    tensors = {f"bert.{name}" if not name.startswith("cls") else name: tensor.float()
               for name, tensor in published(model(num_hidden_layers=1)).items()}
    tensors |= {"cls.half": randn(3, 5).half(), "bert.embeddings.position_ids": torch.arange(11)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        write_safetensors(path, tensors)
        read = read_safetensors(path)
        outcome = {"result": {name.removeprefix("bert."): one for name, one in read.items()}}
        return [Trial((path.read_bytes(),), outcome, "a file of a small BERT")]


def _run_bert(function: Callable[..., Any], inputs: tuple[Any, ...]) -> Outcome:
    outcome = plain_run(function, inputs)
    hidden, mask = outcome["result"], inputs[1]
    if isinstance(hidden, Tensor) and hidden.shape[:2] == mask.shape:
        outcome["result"] = hidden.masked_fill(~mask[..., None], 0)  # what padding says is unread
    return outcome


def _bert() -> list[Trial]:
    generator, found = torch.Generator().manual_seed(0), []
    for layers in (3, 12):
        made = model(seed=layers, num_hidden_layers=layers)
        ids = torch.randint(0, 41, (B, S), generator=generator)
        segments, mask = torch.randint(0, 2, (B, S), generator=generator), ragged()
        expected = made.bert(ids, mask, segments).last_hidden_state
        w = {name: one for name, one in published(made).items() if not name.startswith("cls")}
        found.append(_trial(expected, f"ids ({B}, {S}), {layers} layers, padding 3", ids, mask,
                            segments, w, H))
    return found


MAKERS: dict[str, Callable[[], list[Trial]]] = {
    "pieces": _pieces, "pair_row": _pair_row, "mask_tokens": _mask_tokens,
    "layer_norm": _layer_norm, "embed": _embed, "attend": _attend,
    "self_attention": lambda: _layers("self_attention"), "block": lambda: _layers("block"),
    "mlm_logits": _mlm_logits, "mlm_loss": _mlm_loss, "adamw_step": _adamw_step,
    "train": _train, "read_tensors": _read_tensors, "bert": _bert}
RUNNERS: dict[str, Run] = {
    "mask_tokens": _mask_shares, "layer_norm": _with_gradient, "adamw_step": _run_adamw,
    "train": _run_train, "read_tensors": _read_run, "bert": _run_bert}
TOLERANCE = {"mask_tokens": 0.02, "train": 1e-5}  # else 1e-9: float64 and another order of sums
