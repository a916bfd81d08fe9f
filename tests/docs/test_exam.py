"""Each of the twelve pieces of page 16 is wrong in one line: with that line mended it is right."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bert_kit import BertConfig, BERTModel, MultiHeadAttention, TransformerEncoderBlock
from bert_kit.learn.exam import CASES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "16-pitfalls.md"
CONFIG = BertConfig(vocab_size=41, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
                    intermediate_size=22, max_position_embeddings=11, fused=False,
                    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def pieces(case):
    """Return the names of a case as it stands, and as it should be."""
    text = PAGE.read_text("utf-8").split(f"**Case {case}.**")[1]
    lines = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0].splitlines()
    wrong, mended = CASES[case], [*lines]
    del mended[wrong.line - 1]
    mended.insert(wrong.line - 1 + wrong.down, wrong.mended)
    found = []
    for version in (lines, mended):
        names = {"torch": torch, "nn": nn, "F": F, "math": math}
        exec("\n".join(version), names)
        found.append(names)
    return found


def inputs(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


REAL = torch.arange(7) < torch.tensor([[7], [4], [6], [2], [7]])


def norm_is_right(names):
    x = inputs(5, 7, 12)
    return torch.allclose(names["Norm"](12).double()(x), F.layer_norm(x, (12,), eps=1e-12))


def attention_is_right(names):
    query, key, value = inputs(3, 5, 3, 7, 4)
    mine = next(names[name] for name in ("attention", "masked_attention") if name in names)
    return torch.allclose(mine(query, key, value, REAL), F.scaled_dot_product_attention(
        query, key, value, attn_mask=REAL[:, None, None, :]))


def heads_are_right(names):
    layer, x = MultiHeadAttention(CONFIG).double(), inputs(5, 7, 12)
    return torch.allclose(names["self_attention"](layer, x), layer(x)[0])


def block_is_right(names):
    block, x = TransformerEncoderBlock(CONFIG).double(), inputs(5, 7, 12)
    return torch.allclose(names["encoder_block"](block, x, REAL), block(x, REAL)[0])


def encoder_is_right(names):
    """It has as many parameters as the kit's without a pooler."""
    count = lambda model: sum(p.numel() for p in model.parameters())
    return count(names["Encoder"](CONFIG)) == count(BERTModel(CONFIG, pooler=False))


def loss_is_right(names):
    """Sure and right is a loss of 0."""
    labels = torch.tensor([0, 3, 1])
    loss = names["classification_loss"](lambda *_: 50 * F.one_hot(labels, 4).double(), None, None,
                                        labels)
    return loss.item() < 1e-6


def training_is_right(names):
    """Two steps go where two steps of gradient descent go."""
    model = nn.Linear(3, 4).double()
    by_hand = [p.detach().clone() for p in model.parameters()]
    x, labels = inputs(5, 3), torch.tensor([0, 1, 2, 3, 1])
    forward = lambda ids, mask: model(ids)
    forward.parameters = model.parameters
    for _ in range(2):
        weight, bias = (p.requires_grad_() for p in by_hand)
        gradients = torch.autograd.grad(F.cross_entropy(x @ weight.T + bias, labels), by_hand)
        by_hand = [(p - 0.5 * g).detach() for p, g in zip(by_hand, gradients, strict=True)]
    names["train"](forward, [(x, None, labels)] * 2, 0.5)
    return all(torch.allclose(a, b) for a, b in zip(model.parameters(), by_hand, strict=True))


def masking_is_right(names):
    ids = torch.arange(10, 20)
    read, labels = names["mask_tokens"](ids, torch.tensor([0.1] + [0.9] * 9))
    return labels.tolist() == [10] + [-100] * 9 and read.tolist() == [4, *range(11, 20)]


def head_is_right(names):
    head, hidden = names["Head"](200, 4).double().eval(), inputs(5, 7, 200)
    return torch.equal(head(hidden), head(hidden))


def mean_is_right(names):
    hidden = inputs(5, 7, 12)
    want = torch.stack([row[real].mean(0) for row, real in zip(hidden, REAL, strict=True)])
    return torch.allclose(names["mean_of_tokens"](hidden, REAL), want)


def adamw_is_right(names):
    p = nn.Parameter(inputs(4, 3))
    mine, (m, v) = p.detach().clone(), torch.zeros(2, 4, 3, dtype=torch.float64)
    optimizer = torch.optim.AdamW([p], lr=1e-3, weight_decay=0.01)
    for t in (1, 2, 3):
        p.grad = t * inputs(4, 3).cos()
        optimizer.step()
        names["adamw"](mine, p.grad, m, v, t)
    return torch.allclose(mine, p)


CHECKS = (norm_is_right, attention_is_right, attention_is_right, heads_are_right, block_is_right,
          encoder_is_right, loss_is_right, training_is_right, masking_is_right, head_is_right,
          mean_is_right, adamw_is_right)


@pytest.mark.parametrize("case, is_right", enumerate(CHECKS, 1))
def test_one_line_is_wrong(case, is_right):
    broken, mended = pieces(case)
    assert not is_right(broken)
    assert is_right(mended)
