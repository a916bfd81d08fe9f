import copy
import math

import pytest
import torch

from bert_kit import AMPTrainer, BERTForMaskedLM, BertConfig, compute_mlm_loss
from bert_kit.training import layerwise_rates, make_optimizer, make_schedule
from bert_kit.training.muon import MOMENTUM, ROUNDS, A, B, C, Muon, orthogonalize


def by_svd(matrix):
    """What the rounds compute, on the singular values alone and in float64."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.norm()
    for _ in range(ROUNDS):
        s = A * s + B * s**3 + C * s**5
    return u @ torch.diag(s) @ v


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 11), (1, 4), (24, 40)])
def test_the_rounds_move_nothing_but_the_singular_values(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalize(matrices)
    for matrix, one in zip(matrices, found, strict=True):
        torch.testing.assert_close(one.double(), by_svd(matrix), atol=0.03, rtol=0)  # bfloat16
        values = torch.linalg.svdvals(one.double())
        assert values.max() < 1.3
        assert values.min() > 0.2 or torch.linalg.cond(matrix) > 30


def test_a_matrix_of_zeros_gives_no_step():
    assert orthogonalize(torch.zeros(2, 3, 4)).abs().max() == 0


def small(**changes):
    torch.manual_seed(3)
    return BERTForMaskedLM(BertConfig(
        vocab_size=50, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=20, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **changes))


def rows(seed=0, count=6, length=9):
    ids = torch.randint(5, 50, (count, length), generator=torch.Generator().manual_seed(seed))
    labels = torch.where(torch.rand(ids.shape, generator=torch.Generator().manual_seed(
        seed + 1)) < 0.3, ids, -100)
    labels[0, 0] = ids[0, 0]
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids),
            "token_type_ids": torch.zeros_like(ids)}


def is_block_matrix(name, parameter):
    return ".blocks." in name and parameter.ndim == 2


def test_the_blocks_matrices_move_as_in_torch_and_all_else_as_by_adamw():
    ours, theirs = small(), small()
    rate_of = layerwise_rates(ours, 1e-3, muon_learning_rate=2e-2)
    optimizer = make_optimizer(ours, 1e-3, 0.1, kind="muon", rate_of=rate_of)
    # torch.optim.Muon knows no joined matrices, so it gets the three parts as parameters.
    matrices, parts = [], {}
    for name, parameter in theirs.named_parameters():
        if is_block_matrix(name, parameter):
            count = 3 if ".qkv." in name else 1
            parts[name] = [torch.nn.Parameter(part.detach().clone())
                           for part in parameter.chunk(count)]
            matrices += parts[name]
    rest = {True: [], False: []}
    for name, parameter in theirs.named_parameters():
        if name not in parts:
            rest[parameter.ndim >= 2].append(parameter)
    muon = torch.optim.Muon(matrices, lr=2e-2, weight_decay=0.1, momentum=MOMENTUM,
                            adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([{"params": rest[True], "weight_decay": 0.1},
                               {"params": rest[False], "weight_decay": 0.0}], 1e-3)
    for step in range(4):
        for model in (ours, theirs):
            model.zero_grad()
            compute_mlm_loss(model, rows(step)).backward()
        named = dict(theirs.named_parameters())
        for name, pieces in parts.items():
            for piece, gradient in zip(pieces, named[name].grad.chunk(len(pieces)), strict=True):
                piece.grad = gradient.clone()
        optimizer.step()
        muon.step()
        adamw.step()
        with torch.no_grad():
            for name, pieces in parts.items():
                named[name].copy_(torch.cat([piece.detach() for piece in pieces]))
    for name, parameter in ours.named_parameters():
        want = dict(theirs.named_parameters())[name]
        size = 2e-2 if name in parts else 1e-3
        torch.testing.assert_close(parameter, want, atol=0.05 * size, rtol=0, msg=name)


def test_the_first_step_has_the_size_of_one_of_adamw():
    model = small()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, 1e-3, 0.0, kind="muon",
                               rate_of=layerwise_rates(model, 1e-3, muon_learning_rate=1e-3))
    compute_mlm_loss(model, rows()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        if is_block_matrix(name, parameter):
            sizes = [12] * 3 if ".qkv." in name else [max(parameter.shape)]
            for part, old, longest in zip(parameter.chunk(len(sizes)),
                                          before[name].chunk(len(sizes)), sizes, strict=True):
                moved = (part - old).pow(2).mean().sqrt().item()
                # r |O| / sqrt(P Q), and |O|^2 is about min(P, Q)
                want = 1e-3 * 0.2 * math.sqrt(longest) * math.sqrt(
                    min(part.shape) / part.numel())
                assert 0.5 * want < moved < 1.3 * want, name


def test_rates_decay_and_parts_of_the_groups():
    model = small()
    optimizer = make_optimizer(model, 1.0, 0.3, kind="muon", rate_of=layerwise_rates(
        model, 1e-3, head_learning_rate=4e-3, layer_decay=0.5, muon_learning_rate=8e-3))
    names = {p: name for name, p in model.named_parameters()}
    seen = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            seen.append(name)
            matrix = is_block_matrix(name, parameter)
            assert group["part"] == ("matrices" if matrix else "head" if "mlm_head" in name
                                     else "encoder"), name
            assert group.get("joined") == (None if not matrix else 3 if ".qkv." in name else 1)
            assert group["weight_decay"] == (0.3 if parameter.ndim >= 2 else 0)
            peak = 4e-3 if "mlm_head" in name else 8e-3 if matrix else 1e-3
            layers = {"blocks.0": 0.5, "embeddings": 0.25}
            share = next((f for key, f in layers.items() if key in name), 1.0)
            assert group["lr"] == pytest.approx(peak * share), name
    assert sorted(seen) == sorted(names.values())


def test_a_parameter_without_gradient_stays_and_has_no_state():
    model = small()
    frozen = model.bert.blocks[0]
    frozen.requires_grad_(False)
    before = copy.deepcopy(frozen.state_dict())
    optimizer = make_optimizer(model, 0.1, kind="muon")
    compute_mlm_loss(model, rows()).backward()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in frozen.state_dict().items())
    assert not any(p in optimizer.state for p in frozen.parameters())


def steps(amp, model, numbers):
    return [float(amp.train_step(compute_mlm_loss, [rows(i)]).loss) for i in numbers]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_state_goes_to_disk_and_back_bit_for_bit(precision, tmp_path):
    def build():
        model = small()
        optimizer = make_optimizer(model, 1e-2, kind="muon", rate_of=layerwise_rates(
            model, 1e-2, muon_learning_rate=2e-2))
        return model, AMPTrainer(model, optimizer, make_schedule(optimizer, "wsd", 2, 9), precision)

    model, amp = build()
    steps(amp, model, range(4))
    torch.save({"model": model.state_dict(), **{name: part.state_dict()
                                                for name, part in amp.parts().items()}},
               tmp_path / "half.pt")
    whole = steps(amp, model, range(4, 9))
    again, other = build()
    half = torch.load(tmp_path / "half.pt", weights_only=True)
    again.load_state_dict(half["model"])
    for name, part in other.parts().items():
        part.load_state_dict(half[name])
    assert steps(other, again, range(4, 9)) == whole
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_copy_goes_on_as_the_original():
    model = small()
    optimizer = make_optimizer(model, 1e-2, kind="muon")
    compute_mlm_loss(model, rows()).backward()
    optimizer.step()
    twin, other = copy.deepcopy((model, optimizer))
    for one, its in ((model, optimizer), (twin, other)):
        one.zero_grad()
        compute_mlm_loss(one, rows(1)).backward()
        its.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_overflow_of_float16_skips_both_halves_of_a_step():
    model = small()
    before = copy.deepcopy(model.state_dict())
    amp = AMPTrainer(model, make_optimizer(model, 1e-2, kind="muon"), precision="float16",
                     init_scale=2.0**120)
    result = amp.train_step(compute_mlm_loss, [rows()])
    assert not result.stepped
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_log_names_the_rates():
    model = small()
    optimizer = make_optimizer(model, 1e-3, kind="muon", rate_of=layerwise_rates(
        model, 1e-3, head_learning_rate=5e-3, muon_learning_rate=2e-3))
    assert isinstance(optimizer, Muon)
    result = AMPTrainer(model, optimizer, precision="float32").train_step(
        compute_mlm_loss, [rows()])
    assert result.learning_rates == {"learning_rate": 1e-3, "head_learning_rate": 5e-3,
                                     "muon_learning_rate": 2e-3}
    assert result.learning_rate == 1e-3

