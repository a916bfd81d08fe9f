import itertools

import pytest
import torch

from bert_kit import DataError, create_model_config
from bert_kit.model import BERTModel, LayerNorm, TransformerEncoderBlock


def twin(config):
    """The same model twice: fused and as formulas."""
    fused = BERTModel(config).eval()
    formula = BERTModel(config.replace(fused=False)).eval()
    formula.load_state_dict(fused.state_dict())
    return fused, formula


@pytest.mark.parametrize("rows", [7, 1])
def test_formula_equals_fused_in_value_and_gradient(config, ragged, rows):
    ids, mask, types = (x[:rows] for x in ragged)
    gradients = []
    direction, pooled_direction = torch.randn(rows, 13, 30), torch.randn(rows, 30)
    for model in twin(config):
        output = model(ids, mask, types)
        ((output.last_hidden_state * direction).sum()
         + (output.pooler_output * pooled_direction).sum()).backward()
        gradients.append((output.last_hidden_state.detach(), output.pooler_output.detach(),
                          *(p.grad for p in model.parameters())))
    for got, want in zip(*gradients):
        torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("rows, training", [(7, True), (1, False)])
def test_a_hook_may_change_what_attention_gives_in_place(config, rows, training):
    ids = torch.randint(config.vocab_size, (rows, 9))
    states = []
    for model in twin(config.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)):
        model.blocks[0].attention.output.register_forward_pre_hook(
            lambda module, given: (given[0].mul_(1.5),))
        states.append(model.train(training)(ids).last_hidden_state)
    torch.testing.assert_close(*states, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
def test_padding_never_changes_a_result(config, ragged, fused):
    ids, mask, types = ragged
    model = BERTModel(config.replace(fused=fused)).eval()
    with torch.no_grad():
        batch = model(ids, mask, types).last_hidden_state
        pad = (0, 6)
        wider = model(*(torch.nn.functional.pad(x, pad) for x in (ids, mask, types)))
        other_ids = torch.where(mask.bool(), ids, 7)
        other = model(other_ids, mask, types)
        order = torch.tensor([3, 0, 6, 5, 1, 4, 2])
        shuffled = model(ids[order], mask[order], types[order])
        for b, n in enumerate(mask.sum(1)):
            alone = model(ids[b:b + 1, :n], None, types[b:b + 1, :n]).last_hidden_state[0]
            torch.testing.assert_close(batch[b, :n], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wider.last_hidden_state[:, :13], batch, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.last_hidden_state, batch, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(shuffled.last_hidden_state, batch[order], atol=1e-5, rtol=1e-5)
    assert (batch[~mask.bool()] == 0).all()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_a_row_of_padding_stays_finite(config, ragged, fused, train):
    ids, mask, _ = ragged
    model = BERTModel(config.replace(fused=fused)).train(train)
    for rows in ([2], [0, 3], range(7)):
        holes = mask.clone()
        holes[list(rows)] = 0
        output = model(ids, holes)
        assert output.last_hidden_state.isfinite().all() and output.pooler_output.isfinite().all()
        model.zero_grad()
        output.pooler_output.sum().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [True, False])
def test_a_row_of_padding_stays_finite_in_16_bits(config, ragged, dtype, fused):
    ids, mask, _ = ragged
    mask[1] = 0
    model = BERTModel(config.replace(fused=fused))
    with torch.autocast("cpu", dtype):
        assert model(ids, mask).pooler_output.isfinite().all()


def test_what_is_wrong_with_a_batch_is_said_in_one_line(config):
    model = BERTModel(config)
    ids = torch.ones(2, 5, dtype=torch.long)
    long = torch.ones(2, 24, dtype=torch.long)
    cases = [
        ((long,), ["24 tokens", "max_position_embeddings 23"]),
        ((ids[:, :0],), ["0 tokens"]),
        ((ids[0],), ["input_ids", "(5,)", "(B, S)"]),
        ((ids.float(),), ["input_ids", "float32"]),
        ((ids + 98,), ["99", "0 to 98", "vocab_size 99"]),
        ((ids - 2,), ["-1", "vocab_size"]),
        ((ids, None, ids + 1), ["token_type_ids", "2", "type_vocab_size 2"]),
        ((ids, None, ids[:, :4]), ["token_type_ids", "(2, 4)", "(2, 5)"]),
        ((ids, ids[:, :4]), ["attention_mask", "(2, 4)", "(2, 5)"]),
        ((ids, ids[:, None, None]), ["attention_mask", "(2, 1, 1, 5)"]),
        ((ids, -10_000.0 * ids), ["attention_mask", "0 and 1"]),
    ]
    for arguments, parts in cases:
        with pytest.raises(DataError) as caught:
            model(*arguments)
        assert "\n" not in str(caught.value)
        assert all(part in str(caught.value) for part in parts), caught.value


def test_masks_of_any_plain_type_mean_the_same(config, ragged):
    ids, mask, _ = ragged
    model = BERTModel(config).eval()
    want = model(ids, mask).last_hidden_state
    for dtype in (torch.bool, torch.int32, torch.float32, torch.uint8):
        assert torch.equal(model(ids, mask.to(dtype)).last_hidden_state, want)
    assert torch.equal(model(ids, torch.ones_like(mask)).last_hidden_state,
                       model(ids).last_hidden_state)


def step(model, batch):
    """Return loss, gradients and the numbers kept for the backward pass of one training step."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    model.zero_grad()
    torch.manual_seed(11)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(*batch).last_hidden_state.square().sum(-1).cos().sum()
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters()], sum(kept.values())


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_gradient_checkpointing_changes_memory_only(config, ragged, fused, autocast):
    config = config.replace(fused=fused, num_hidden_layers=6)
    model = BERTModel(config, pooler=False).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, gradients, kept = step(model, ragged)
        model.gradient_checkpointing = True
        again, others, less = step(model, ragged)
        assert torch.equal(loss, again)
        for got, want in zip(others, gradients):
            torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)
        inputs = 6 * 7 * 13 * 30  # of the blocks; the checkpoints hold them
        assert less + inputs < kept / 3
    output = model.eval()(*ragged, output_attentions=True, output_hidden_states=True)
    assert len(output.hidden_states) == 7 and len(output.attentions) == 6


def test_gradient_checkpointing_runs_the_blocks_twice_in_training_only(config, ragged):
    model, calls = BERTModel(config), []
    model.blocks[1].register_forward_pre_hook(lambda *_: calls.append(1))
    for checkpointing, training, count in ((0, 1, 1), (1, 0, 1), (1, 1, 2)):
        model.gradient_checkpointing = bool(checkpointing)
        calls.clear()
        model.train(bool(training))(*ragged).pooler_output.sum().backward()
        assert len(calls) == count


def test_empty_batch(config):
    output = BERTModel(config)(torch.empty(0, 5, dtype=torch.long))
    assert output.last_hidden_state.shape == (0, 5, 30)


def test_hidden_states_and_attentions_on_request(config, ragged):
    ids, mask, types = ragged
    for model in twin(config):
        plain = model(ids, mask, types)
        assert plain.hidden_states is None and plain.attentions is None
        full = model(ids, mask, types, output_attentions=True, output_hidden_states=True)
        assert len(full.hidden_states) == 4 and len(full.attentions) == 3
        assert full.attentions[0].shape == (7, 5, 13, 13)
        torch.testing.assert_close(full.hidden_states[-1], plain.last_hidden_state,
                                   atol=1e-5, rtol=1e-5)
        states = model(ids, mask, types, output_hidden_states=True).hidden_states
        for got, want in zip(states, full.hidden_states):
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_post_norm_order(config):
    # With silent sub-layers a block is LN(LN(x)): mean 0, variance 1 in every token.
    block = TransformerEncoderBlock(config).eval()
    for part in (block.attention.output, block.feed_forward.output):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    y, _ = block(torch.randn(2, 5, 30) * 7 + 3)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(2, 5), atol=1e-4, rtol=0)


def test_a_block_equals_torch(config):
    block = TransformerEncoderBlock(config).eval()
    theirs = torch.nn.TransformerEncoderLayer(30, 5, 37, activation="gelu", layer_norm_eps=1e-12,
                                              batch_first=True).train()
    ours = block.state_dict()
    names = {"attention.qkv.": "self_attn.in_proj_", "attention.output.": "self_attn.out_proj.",
             "attention_norm.": "norm1.", "feed_forward.inner.": "linear1.",
             "feed_forward.output.": "linear2.", "feed_forward_norm.": "norm2."}
    theirs.load_state_dict({new + end: ours[old + end] for old, new in names.items()
                            for end in ("weight", "bias")})
    for part in theirs.modules():  # train mode avoids its other fast path; no dropout
        if isinstance(part, torch.nn.Dropout):
            part.p = 0
    theirs.self_attn.dropout = 0
    x = torch.randn(3, 8, 30)
    torch.testing.assert_close(block(x)[0], theirs(x), atol=1e-5, rtol=1e-5)


def test_initial_weights():
    model = BERTModel(create_model_config("bert-mini", vocab_size=500, num_hidden_layers=3))
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            n = module.weight.numel()
            assert abs(module.weight.std().item() - 0.02) < 5 * 0.02 / (2 * n) ** 0.5, name
            assert abs(module.weight.mean().item()) < 5 * 0.02 / n**0.5, name
        if isinstance(module, torch.nn.Linear):
            assert (module.bias == 0).all()
        if isinstance(module, LayerNorm):
            assert (module.weight == 1).all() and (module.bias == 0).all()
    for a, b in itertools.combinations(model.blocks, 2):  # no copies of one block
        assert not torch.equal(a.attention.qkv.weight, b.attention.qkv.weight)


def test_parameter_count_of_bert_base():
    with torch.device("meta"):
        model = BERTModel(create_model_config("bert-base-uncased (110M)"))
    embeddings, block, pooler = (sum(p.numel() for p in part.parameters()) for part in (
        model.embeddings, model.blocks[0], model.pooler))
    d, inner, rows = 768, 3072, 30_522 + 512 + 2
    assert embeddings == rows * d + 2 * d == 23_837_184
    # Query, key, value and output; the two layers of the feed-forward part; two LayerNorms.
    assert block == 4 * (d * d + d) + (2 * d * inner + inner + d) + 2 * 2 * d == 7_087_872
    assert pooler == d * d + d == 590_592
    assert sum(p.numel() for p in model.parameters()) == 109_482_240
    assert embeddings + 12 * block + pooler == 109_482_240
    assert round(block / 109_482_240, 3) == 0.065


def test_rows_do_not_leak_into_each_other(config, ragged):
    ids, mask, types = ragged
    model = BERTModel(config).eval()
    x = model.embeddings.word.weight
    output = model(ids, mask, types).last_hidden_state
    words = ids[4].unique()
    elsewhere = [w.item() for w in words if w not in torch.cat([ids[:4], ids[5:]])]
    assert elsewhere
    gradient, = torch.autograd.grad(output[0].sum() + output[6].sum(), x)
    assert (gradient[elsewhere] == 0).all()


def test_order_of_tokens_matters(config):
    model = BERTModel(config).eval()
    a = model(torch.tensor([[2, 8, 9, 3]])).last_hidden_state
    b = model(torch.tensor([[2, 9, 8, 3]])).last_hidden_state
    assert not torch.allclose(a[0, 0], b[0, 0])


def test_long_short_long(config):
    model = BERTModel(config).eval()
    ids = torch.randint(5, 99, (2, 23))
    first = model(ids).last_hidden_state
    model(ids[:, :4])
    assert torch.equal(model(ids).last_hidden_state, first)


def test_eval_is_deterministic_and_training_is_not(config, ragged):
    ids, mask, _ = ragged
    model = BERTModel(config).eval()
    assert torch.equal(model(ids, mask)[0], model(ids, mask)[0])
    model.train()
    assert not torch.equal(model(ids, mask)[0], model(ids, mask)[0])


@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_torch_compile_traces_the_same_numbers(config, ragged, dynamic):
    """aot_eager traces values and gradients as compiling does, without a compiler."""
    ids, mask, types = ragged
    gradients = []
    direction = torch.randn(7, 13, 30)
    model, _ = twin(config.replace(num_hidden_layers=1))
    for step in (model, torch.compile(model, backend="aot_eager", dynamic=dynamic)):
        model.zero_grad()
        output = step(ids, mask, types).last_hidden_state
        (output * direction).sum().backward()
        gradients.append((output.detach(), *(p.grad.clone() for p in model.parameters()
                                             if p.grad is not None)))
    for got, want in zip(*gradients):
        torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)
