"""The right answers to the exercises, computed by the kit, and the trials of those with a function.
"""

import copy
import math
import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bert_kit.active import expected_confidence, mutual_information
from bert_kit.config import BertConfig
from bert_kit.data import MLMDataset
from bert_kit.errors import BertKitError
from bert_kit.learn.trials import CONFIG, B, H, S, model, ragged, randn
from bert_kit.model import (CLASSIFIERS, BERTForMaskedLM,
                            BERTForSequenceClassification, BERTModel, Packing,
                            TransformerEncoderBlock, attend)
from bert_kit.tokenization import Tokenizer, fit_pair
from bert_kit.tokenization.wordpiece import train_wordpiece
from bert_kit.training import AMPTrainer, gradual_unfreezing
from bert_kit.training.losses import compute_mlm_loss
from bert_kit.training.optim import make_optimizer, make_schedule
from bert_kit.tuner import PBT, Hyperband, SearchSpace
from bert_kit.weights import read_safetensors, write_safetensors

Function = Callable[..., Any]
Case = tuple[tuple[Any, ...], Any]  # inputs of a function and what it has to return
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _ids(rows: int, tokens: int, seed: int = 0) -> Tensor:
    return torch.randint(5, 41, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def _draw(part: nn.Module, std: float = 0.4) -> None:
    """Give every parameter a random value: new biases of 0 and scales of 1 hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    for parameter in part.parameters():
        nn.init.normal_(parameter, std=std, generator=generator)


# Numbers and words


def share_of_a_block() -> list[Any]:
    """Of the parameters of bert-base without a head."""
    config = BertConfig()  # bert-base
    made = BERTModel(config.replace(num_hidden_layers=1, vocab_size=1))  # quick to make
    every, block = (sum(p.numel() for p in part.parameters()) for part in (made, made.blocks[0]))
    every += (config.num_hidden_layers - 1) * block + (config.vocab_size - 1) * config.hidden_size
    return [block / every]


def gradient_at_another_row() -> list[Any]:
    """The largest gradient at the word vectors of row 1, of the output of row 0."""
    made = model().bert
    words = made.embeddings.word(_ids(B, S)).requires_grad_()
    made.embeddings.word.register_forward_hook(lambda *_: words)
    made(_ids(B, S)).last_hidden_state[0].square().sum().backward()
    assert words.grad is not None and words.grad[0].abs().max() > 0
    return [int(words.grad[1].count_nonzero())]


def vectors_that_change_when_two_are_exchanged() -> list[Any]:
    """With positions, and without."""
    made, found = model().bert, []
    ids = _ids(1, S)
    other = ids.clone()
    other[0, [2, 4]] = ids[0, [4, 2]]
    for positions in (True, False):
        if not positions:
            nn.init.zeros_(made.embeddings.position.weight)
        moved = ~torch.isclose(made(ids).last_hidden_state, made(other).last_hidden_state)
        found.append(int(moved.any(-1).sum()))
    return found


def weights_with_and_without_the_root() -> list[Any]:
    """Of a query with W 16 whose products with two keys are 4 log 3 and 0."""
    query, keys = torch.zeros(1, 16).double(), torch.zeros(2, 16).double()
    query[0, 0], keys[0, 0] = 1, 4 * math.log(3)
    divided, plain = attend(query, keys, keys)[1], attend(4 * query, keys, keys)[1]
    return [*divided[0].tolist(), *plain[0].tolist()]


def weights_of_a_blind_query() -> list[Any]:
    """In float32, bfloat16 and float16, with seven keys of which none may be seen."""
    found = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        query = randn(S, 5).to(dtype)
        found.append(float(attend(query, query, query, torch.zeros(S, S).bool())[1][0, 0]))
    return found


def mean_and_variance_after_post_norm() -> list[Any]:
    """Of each token, when both sub-layers give 0; the LayerNorms are new."""
    block = TransformerEncoderBlock(CONFIG).double().eval().requires_grad_(False)
    for part in (block.attention.output, block.feed_forward.output):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    y = block(5 + 3 * randn(B, S, 15))[0]
    variance = y.var(-1, correction=0)
    return [round(float(y.mean(-1).abs().max()), 6), round(float(variance.mean()), 6)]


def first_losses_above_ln_v() -> list[Any]:
    """Masked tokens only, V 41 and D 15: of new models with initializer_range 0.02, and 1."""
    found = []
    for spread in (0.02, 1.0):
        losses = []
        for seed in range(5):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = BERTForMaskedLM(CONFIG.replace(initializer_range=spread)).eval()
            ids, labels = _ids(31, S, seed), _ids(31, S, 100 + seed)
            with torch.no_grad():
                losses.append(float(compute_mlm_loss(made, {
                    "input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids),
                    "token_type_ids": torch.zeros_like(ids)})))
        found.append(sum(losses) / 5 - math.log(41))
    return found


def unchanged_by_an_overflow() -> list[Any]:
    """Of weights, moments, rate and scale."""
    made = BERTForMaskedLM(CONFIG)
    optimizer = make_optimizer(made, 0.01)
    trainer = AMPTrainer(made, optimizer, make_schedule(optimizer, "linear", 0, 9),
                         precision="float16")
    ids = _ids(B, S)
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids),
             "token_type_ids": torch.zeros_like(ids)}
    trainer.train_step(compute_mlm_loss, [batch])

    def state() -> dict[str, Any]:
        return {"weights": copy.deepcopy(list(made.parameters())),
                "moments": [one["exp_avg"].clone() for one in optimizer.state.values()],
                "rate": [torch.tensor(group["lr"]) for group in optimizer.param_groups],
                "scale": [torch.tensor(trainer.scaler.get_scale())]}

    before = state()
    trainer.train_step(lambda *step: compute_mlm_loss(*step) * math.inf, [batch])
    return sorted(name for name, tensors in state().items()
                  if all(map(torch.equal, tensors, before[name])))


def blocks_that_thaw() -> list[Any]:
    """How many blocks are trained in epoch 0, 1 and 2 of 4 blocks; when the embeddings are."""
    made = BERTForSequenceClassification(CONFIG)
    thaw, found, first = gradual_unfreezing(made), [], None
    for epoch in range(9):
        thaw(epoch)
        found.append(sum(made.bert.blocks.get_parameter(f"{i}.attention.qkv.weight").requires_grad
                         for i in range(4)))
        if first is None and made.bert.embeddings.word.weight.requires_grad:
            first = epoch
    return [*found[:3], first]


def epochs_of_hyperband() -> list[Any]:
    """All epochs that Hyperband(81) trains; who goes on does so from a checkpoint."""
    total = 0
    for bracket in Hyperband(81).brackets:
        before = 0
        for n, r in bracket:
            total, before = total + n * (r - before), r
    return [total]


def population_on_figure_2() -> list[Any]:
    """What a population reaches on figure 2 of Jaderberg et al. 2017: 1.2 is the best there is."""
    def step(leg: Any) -> float:
        place = (np.frombuffer(Path(leg.state_in).read_bytes()) if leg.state_in
                 else np.full(2, 0.9))
        for _ in range(5 * (leg.stop - leg.start)):
            place = place - 0.02 * np.array([leg.params["h0"], leg.params["h1"]]) * place
        Path(leg.state_out).write_bytes(place.tobytes())
        return float(1.2 - (place ** 2).sum())

    space = SearchSpace().continuous("h0", 0.0, 1.0).continuous("h1", 0.0, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        result = PBT(space, exploit=1).run(step, generations=40, path=Path(folder))
    return [max(row.score for row in result.lineage if row.score is not None)]


def bounds_of_bald() -> list[Any]:
    """The lowest and the highest with four classes, of which one is right."""
    sure = np.eye(4)[:, None]  # four passes, each sure of another class
    agree = np.array([[[0.1, 0.2, 0.3, 0.4]]] * 4)
    return [float(mutual_information(agree)[0]), float(mutual_information(sure)[0])]


def order_of_tensors() -> list[Any]:
    """In which tensors "b" and "a" of float32 and "c" of float64 lie in a file."""
    tensors = {"b": torch.tensor([0.3]), "a": torch.tensor([0.7]),
               "c": torch.tensor([0.9]).double()}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for one in (tensors, dict(reversed(tensors.items()))):
            write_safetensors(Path(folder, "file"), one)
            files.append(Path(folder, "file").read_bytes())
    assert files[0] == files[1]
    data = files[0][8 + int.from_bytes(files[0][:8], "little"):]
    return sorted(tensors, key=lambda name: data.find(tensors[name].numpy().tobytes()))


def outcomes_of_a_flip() -> list[Any]:
    """A bit of every byte is flipped: same, numbers, names, shapes, error or crash."""
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3) + 1}
    found = set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        write_safetensors(path, tensors)
        good = path.read_bytes()
        for place in range(len(good)):
            bad = bytearray(good)
            bad[place] ^= 1 << place % 8
            path.write_bytes(bad)
            found.add(_outcome(path, tensors))
    return sorted(found)


def _outcome(path: Path, tensors: dict[str, Tensor]) -> str:
    try:
        read = read_safetensors(path)
    except BertKitError:
        return "error"
    except Exception:
        return "crash"
    if read.keys() != tensors.keys():
        return "names"
    if any(read[name].shape != tensors[name].shape for name in read):
        return "shapes"
    same = all(torch.equal(read[name], tensors[name]) for name in read)
    return "same" if same else "numbers"


def square_tensors_kept() -> list[Any]:
    """How many (…, S, S) tensors a training step of the default keeps for the way back."""
    ids, kept = _ids(3, 9), []
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids),
             "token_type_ids": torch.zeros_like(ids)}
    for fused in (False, True):
        made, kept = BERTForMaskedLM(CONFIG.replace(fused=fused)), []

        def keep(tensor: Tensor, seen: list[tuple[int, ...]] = kept) -> Tensor:
            seen.append(tuple(tensor.shape))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            compute_mlm_loss(made, batch)
        kept = [shape for shape in kept if shape[-2:] == (9, 9)]
        assert fused or kept
    return [len(kept)]


def rows_with_a_gradient() -> list[Any]:
    """How many rows of the inputs have one, of the loss of row 1 alone."""
    made = model().bert
    words = made.embeddings.word(_ids(3, S)).requires_grad_()
    made.embeddings.word.register_forward_hook(lambda *_: words)
    made(_ids(3, S)).last_hidden_state[1].square().sum().backward()
    assert words.grad is not None
    return [int(words.grad.flatten(1).any(1).sum())]


def rows_that_differ_in_a_copy() -> list[Any]:
    """How many rows of an epoch differ between a dataset and its copy in another process."""
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS])
    dataset = MLMDataset([" ".join(LETTERS)] * 3, tokenizer, max_length=13)
    other = pickle.loads(pickle.dumps(dataset))
    places = [(epoch, row) for epoch in range(2) for row in range(len(dataset))]
    return [sum(not np.array_equal(dataset[place]["input_ids"], other[place]["input_ids"])
                for place in places)]


def vectors_that_move() -> list[Any]:
    """Of the changed token's row of seven, and of the other row."""
    made, ids = model().bert, _ids(B, S)
    other = ids.clone()
    other[0, 3] = 5 if ids[0, 3] != 5 else 6
    moved = ~torch.isclose(made(ids).last_hidden_state, made(other).last_hidden_state)
    return moved.any(-1).sum(-1).tolist()


def table_that_knows_the_order() -> list[Any]:
    """Without which of the three tables two exchanged words give the same [CLS]."""
    found, ids = [], _ids(1, S)
    other = ids.clone()
    other[0, [2, 4]] = ids[0, [4, 2]]
    for name in ("segment", "position"):
        made = model().bert
        nn.init.zeros_(getattr(made.embeddings, name).weight)
        first, second = (made(one).last_hidden_state[0, 0] for one in (ids, other))
        if torch.allclose(first, second):
            found.append(name)
    return found


# Functions: a list of cases, or a check that says what is wrong


def cases_of_fit() -> Sequence[Case]:
    """Every pair of lengths up to 12."""
    return [((a, b, room), fit_pair(a, b, room)) for a in range(13) for b in range(13)
            for room in range(2, 16)]


def cases_of_train_pieces() -> Sequence[Case]:
    """Words over few letters: many ties, and pieces that come about in two ways."""
    rng, found = np.random.default_rng(0), []
    for letters in ("ab", "abcd"):
        counts = {"".join(rng.choice([*letters], rng.integers(1, 9))): int(rng.integers(1, 7))
                  for _ in range(40)}
        found += [((dict(counts), size), train_wordpiece(counts, size)) for size in (15, 30, 90)]
    return found


def cases_of_one_hots() -> Sequence[Case]:
    """Compared by what they give when multiplied: each is 0 and 1, so that alone fixes them."""
    found = []
    for rows, tokens in ((B, S), (4, 3)):
        ids, segments = _ids(rows, tokens), _ids(rows, tokens, 1) % 2
        positions = torch.arange(tokens).expand(rows, -1)
        found.append(((ids, segments, 41, 11), tuple(
            torch.eye(size).double()[one] for one, size in
            ((ids, 41), (positions, 11), (segments, 2)))))
    return found


def cases_of_nsp_loss() -> Sequence[Case]:
    """One pair with either answer, several, and a pair without a label."""
    found = []
    for rows, labels in ((1, [0]), (1, [1]), (3, [0, 1, -100]), (2, [-100, -100])):
        logits, kept = 2 * randn(rows, 2, seed=rows), [one for one in labels if one >= 0]
        losses = [-logits[b].log_softmax(-1)[one] for b, one in enumerate(labels) if one >= 0]
        total = torch.stack(losses).sum() if losses else torch.tensor(0.0).double()
        found.append(((logits, torch.tensor(labels)), total / max(1, len(kept))))
    return found


def cases_of_two_steps() -> Sequence[Case]:
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
    return [((weight, bias, gradients, 0.1, 0.3), after)]


def cases_of_own_ranks() -> Sequence[Case]:
    """By loops. It is never below expected confidence, which has one ranking for all passes."""
    passes = np.random.default_rng(0).random((5, 4, 3))
    found = np.zeros(4)
    for table in passes:
        for row, chances in enumerate(table):
            ranked = sorted((2 ** y - 1 for y in chances), reverse=True)
            found[row] += sum(r / rank for rank, r in enumerate(ranked, 1)) / len(passes)
    assert (found >= expected_confidence(passes)).all()
    return [((passes,), found.tolist())]


def cases_of_pack() -> Sequence[Case]:
    """Rows of different lengths, two of them alike."""
    rows, lengths = randn(4, S, 3), [5, 2, 7, 2]
    mask = torch.arange(S) < torch.tensor(lengths)[:, None]
    packing = Packing.of(mask, mask.shape, mask.device)
    return [((rows, lengths), packing.pack(rows)[:sum(lengths)])]


def check_mask_words(function: Function) -> str:
    """All pieces of a word or none; each piece replaced on its own."""
    rng, words, mixed, chosen = np.random.default_rng(0), [-1], 0, 0
    words += [word for word in range(20) for _ in range(3)] + [-1]
    ids = [2, *range(5, 41), *range(5, 29), 3]
    for _ in range(200):
        inputs, labels = function(list(ids), words, list(range(5, 41)), 4, rng)
        picked = [label != -100 for label in labels]
        if picked[0] or picked[-1]:
            return "a special token has a label; expected -100"
        for s in range(1, len(ids) - 1, 3):
            if len({*picked[s:s + 3]}) > 1:
                return f"pieces {s} to {s + 2} are one word; expected all of them chosen, or none"
            chosen += picked[s]
            mixed += picked[s] and len({number == 4 for number in inputs[s:s + 3]}) > 1
        if any(label not in (-100, number) for label, number in zip(labels, ids, strict=True)):
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


def check_torch_block(function: Function) -> str:
    """Equal outputs on two inputs."""
    block = TransformerEncoderBlock(CONFIG).eval()
    _draw(block)
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


class _Wrong(nn.Module):
    """A classifier that sees padding: it pools over all places, or has no mask."""

    def __init__(self, right: BERTForSequenceClassification, masked: bool) -> None:
        super().__init__()
        self.right, self.masked = right, masked

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.right.bert(ids, mask if self.masked else None).last_hidden_state
        return hidden.mean(1) if self.masked else hidden[:, 0]


def check_padding_shows(function: Function) -> str:
    """No head of the kit shows padding; two wrong ones do."""
    ids, mask = _ids(B, S), ragged().long()
    for kind in CLASSIFIERS:
        made = BERTForSequenceClassification(CONFIG.replace(
            classifier={"type": kind}).replace(num_labels=3)).eval()
        _draw(made)
        if function(made, ids, mask) is not False:
            return f"it does not say False of the head {kind}, which does not see padding"
        for masked in (True, False):
            if function(_Wrong(made, masked), ids, mask) is not True:
                return ("it does not say True of a head that is a mean over all places"
                        if masked else "it does not say True of an encoder without a mask")
    return ""
