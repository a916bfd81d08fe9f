import math

import pytest
import torch

from bert_kit.model import MultiHeadAttention, Packing, TransformerEncoderBlock, attend
from bert_kit.model.fast.attention import _Attend, fast_attention
from bert_kit.model.fast.dropout import draw_for
from bert_kit.model.fast.packing import Block


def slow_attention(layer, x, mask):
    """(B, S, D): attention by loops over rows, heads and tokens, in Python numbers' order."""
    B, S, D = x.shape
    W = D // layer.heads
    weight, bias = layer.qkv.weight, layer.qkv.bias
    out = torch.zeros(B, S, D, dtype=x.dtype)
    for b in range(B):
        q, k, v = (x[b] @ weight[i * D:(i + 1) * D].T + bias[i * D:(i + 1) * D] for i in range(3))
        for h in range(layer.heads):
            part = slice(h * W, (h + 1) * W)
            for s in range(S):
                seen = [t for t in range(S) if mask[b, t]]
                scores = [math.exp((q[s, part] @ k[t, part]).item() / math.sqrt(W)) for t in seen]
                for t, score in zip(seen, scores):
                    out[b, s, part] += score / sum(scores) * v[t, part]
    return out @ layer.output.weight.T + layer.output.bias


@pytest.mark.parametrize("fused", [True, False])
def test_equals_loops(config, fused):
    layer = MultiHeadAttention(config.replace(fused=fused)).eval().double()
    torch.nn.init.normal_(layer.qkv.weight, std=0.4)
    x = torch.randn(3, 7, 30, dtype=torch.float64)
    mask = torch.arange(7) < torch.tensor([[7], [3], [1]])
    with torch.no_grad():
        got, _ = layer(x, mask)
        torch.testing.assert_close(got, slow_attention(layer, x, mask))
        got, weights = layer(x, mask, return_weights=True)
        torch.testing.assert_close(got, slow_attention(layer, x, mask))
    assert weights.shape == (3, 5, 7, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5, 7, dtype=torch.float64))
    assert (weights[1, :, :, 3:] == 0).all()  # nothing looks at padding


def test_equals_torch_multihead_attention(config):
    layer = MultiHeadAttention(config).eval()
    torch.nn.init.normal_(layer.qkv.weight, std=0.4)
    torch.nn.init.normal_(layer.qkv.bias)
    theirs = torch.nn.MultiheadAttention(30, 5, batch_first=True).eval()
    theirs.load_state_dict({
        "in_proj_weight": layer.qkv.weight, "in_proj_bias": layer.qkv.bias,
        "out_proj.weight": layer.output.weight, "out_proj.bias": layer.output.bias})
    x = torch.randn(4, 9, 30)
    mask = torch.arange(9) < torch.tensor([[9], [2], [5], [1]])
    want, _ = theirs(x, x, x, key_padding_mask=~mask, need_weights=False)
    got, _ = layer(x, mask)
    torch.testing.assert_close(got[mask], want[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_packed_equals_grid_in_value_and_gradient(config, ragged, train):
    # With dropout the draws would differ, so it is off; training still takes the other kernel.
    _, mask, _ = ragged
    layer = MultiHeadAttention(config.replace(attention_probs_dropout_prob=0.0,
                                              hidden_dropout_prob=0.0)).train(train)
    grid = torch.randn(7, 13, 30)
    packing = Packing.of(mask.bool(), mask.shape, mask.device)
    packed = packing.pack(grid).requires_grad_()
    masked = grid.clone().requires_grad_()
    got = packing.unpack(layer(packed, packing=packing)[0])
    want, _ = layer(masked, mask.bool(), return_weights=True)
    real = mask.bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-6, rtol=1e-5)
    direction = torch.randn_like(want) * real[..., None]
    gradient, = torch.autograd.grad(got, packed, direction)
    expected, = torch.autograd.grad(want, masked, direction)
    real = len(packed) - packing.fill
    torch.testing.assert_close(gradient[:real], packing.pack(expected)[:real], atol=1e-6, rtol=1e-5)
    assert packing.fill and not gradient[real:].any()  # what fills up is seen by nothing


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
@pytest.mark.parametrize("layout", ["whole", "masked", "packed"])
def test_the_fast_path_equals_the_formula(monkeypatch, ragged, device, layout):
    """On an accelerator packed tokens are spread over the grid for one masked kernel."""
    monkeypatch.setattr("bert_kit.model.fast.attention.on_cpu", lambda x: device == "cpu")
    mask = ragged[1].bool() if layout != "whole" else torch.ones(7, 13).bool()
    qkv = torch.randn(7, 13, 3 * 30, dtype=torch.float64, requires_grad=True)
    parts = [part.unflatten(-1, (5, 6)).transpose(1, 2) for part in qkv.chunk(3, -1)]
    want = attend(*parts, mask[:, None, None])[0].transpose(1, 2).flatten(2)
    if layout == "packed":
        packing = Packing.of(mask, mask.shape, mask.device)
        got = packing.unpack(fast_attention(packing.pack(qkv), 5, packing=packing))
    else:
        got = fast_attention(qkv, 5, mask if layout == "masked" else None)
    torch.testing.assert_close(got[mask], want[mask])
    direction = torch.randn_like(want) * mask[..., None]
    torch.testing.assert_close(*(torch.autograd.grad(y, qkv, direction)[0] for y in (got, want)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_query_that_sees_nothing_gets_equal_weights(dtype):
    q, k, v = (torch.randn(2, 4, 6, dtype=dtype) * 9 for _ in range(3))
    context, weights = attend(q, k, v, torch.zeros(2, 1, 4, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.full((2, 4, 4), 0.25, dtype=dtype))
    assert context.isfinite().all()


def test_scores_are_divided_by_the_root_of_the_head_size():
    q = torch.zeros(2, 16)
    q[0, 0] = 4 * math.log(3)  # 4 is the root of 16, so the scores are log 3 and 0
    k = torch.zeros(2, 16)
    k[0, 0] = 1
    weights = attend(q, k, k)[1]
    torch.testing.assert_close(weights[0], torch.tensor([0.75, 0.25]))
    undivided = attend(4 * q, k, k)[1]  # as 4 log 3 and 0 would be: 3^4 to 1
    torch.testing.assert_close(undivided[0], torch.tensor([81 / 82, 1 / 82]))


def test_a_token_moves_every_token_but_no_other_row(config):
    layer = MultiHeadAttention(config).eval()
    x = torch.randn(2, 5, 30)
    changed = x.clone()
    changed[0, 3] += 1
    difference = (layer(changed)[0] - layer(x)[0]).abs().sum(-1)
    assert (difference[0] > 0).all() and (difference[1] == 0).all()


def test_dropout_acts_on_the_weights(config):
    layer = MultiHeadAttention(config.replace(attention_probs_dropout_prob=1.0,
                                              hidden_dropout_prob=0.0))
    x = torch.randn(2, 5, 30)
    packing = Packing.of(None, (2, 5), x.device)
    want = layer.output.bias.expand(2, 5, 30)  # no weight is left, so only the bias
    torch.testing.assert_close(layer(x)[0], want)
    torch.testing.assert_close(layer(x.flatten(0, 1), packing=packing)[0], want.flatten(0, 1))
    assert not torch.allclose(layer.eval()(x)[0], want)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_without_kept_weights_is_the_formulas(dropped, masked):
    qkv = torch.randn(2 * 5, 3 * 12, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([2, 0] if masked else [5, 5])  # the second row sees nothing at all
    mask = torch.arange(5) < lengths[:, None] if masked else None
    grid = Packing(2, 5, None, (Block(2, 5, mask),), None)
    p = 0.4 if dropped else 0.0

    def fast(x):
        torch.manual_seed(3)
        return _Attend.apply(x, 3, grid, p)

    def formula(x):
        torch.manual_seed(3)
        draw = draw_for((2, 3, 5, 5), p)
        keep = (draw.bits >= draw.lowest_kept) * draw.scale
        heads = x.view(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)  # -> (3, B, H, S, W)
        context, _ = attend(*heads, None if mask is None else mask[:, None, None],
                            lambda weights: weights * keep)
        return context.transpose(1, 2).flatten(2).flatten(0, 1)

    got, want = fast(qkv), formula(qkv)
    torch.testing.assert_close(got, want)
    direction = torch.randn_like(want)
    torch.testing.assert_close(*(torch.autograd.grad(y, qkv, direction)[0] for y in (got, want)))
    assert torch.autograd.gradcheck(fast, qkv)


def test_training_keeps_no_weights(config):
    """What backward needs grows with the tokens, not with their square."""
    layer, kept = MultiHeadAttention(config.replace(attention_probs_dropout_prob=0.0)), []
    x = torch.randn(1, 200, 30)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, id):
        layer(x.flatten(0, 1), packing=Packing.of(None, (1, 200), x.device))
    assert 0 < max(kept) < 200 * 200


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_backward_may_be_called_within_autocast(config, precision):
    block, x = TransformerEncoderBlock(config), torch.randn(2, 7, 30, requires_grad=True)
    packing = Packing.of(None, (2, 7), x.device)
    with torch.random.fork_rng():
        y = block(x.flatten(0, 1), packing=packing)[0].square().sum()
        y.backward()
    want, x.grad = x.grad, None
    block.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        block(x.flatten(0, 1), packing=packing)[0].square().sum().backward()
    assert x.grad.shape == want.shape and x.grad.isfinite().all()
