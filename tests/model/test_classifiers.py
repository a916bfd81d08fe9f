"""What holds for every classification head, on a whole model; each head by hand is elsewhere."""

import copy

import pytest
import torch

from bert_kit import BERTForSequenceClassification, BERTModel, ConfigError
from bert_kit.model import CLASSIFIERS, LinearClassifier, make_classifier

OTHER = {  # options that are not the default, none of them a round number
    "standard": {},
    "mlp": {"hidden_dims": [17, 9], "activation": "silu", "pooling": "mean", "last_layers": 2},
    "bilstm": {"hidden_size": 7, "num_layers": 2, "pooling": "max", "last_layers": 3},
    "attention": {"attention_size": 11, "num_heads": 3, "last_layers": 2},
    "cnn": {"kernel_sizes": [1, 2, 7], "num_filters": 6, "last_layers": 2},
    "fourier_kan": {"num_frequencies": 5, "exponent": 1.5, "pooling": "max", "width": 14,
                    "last_layers": 2},
    "wavelet_kan": {"num_wavelets": 7, "wavelet_type": "morlet", "pooling": "mean", "width": 13,
                    "last_layers": 3},
}
MORE = [{"type": "mlp", "depth": 3, "pooling": "max", "activation": "gelu"},
        {"type": "mlp", "hidden_dims": [], "pooling": "mean"},
        {"type": "bilstm", "pooling": "mean"}, {"type": "wavelet_kan", "wavelet_type": "haar"}]
HEADS = [{"type": kind, **options} for kind in CLASSIFIERS
         for options in ([{}, OTHER[kind]] if OTHER[kind] else [{}])] + MORE


def describe(head):
    return "-".join(f"{value}" for value in head.values()).replace(" ", "")


EVERY_HEAD = pytest.mark.parametrize("head", HEADS, ids=describe)
EVERY_KIND = pytest.mark.parametrize("kind", CLASSIFIERS)


def build(config, head, **changes):
    torch.manual_seed(7)
    return BERTForSequenceClassification(config.replace(classifier=head, **changes), 3)


def close(got, want):
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@EVERY_HEAD
@pytest.mark.parametrize("fused", [True, False])
def test_padding_never_changes_logits(config, ragged, head, fused):
    ids, mask, types = ragged
    model = build(config, head, fused=fused, initializer_range=0.1).eval()
    with torch.no_grad():
        batch = model(ids, mask, types)
        assert batch.shape == (7, 3) and batch.std(0).min() > 1e-3  # rows do differ
        close(model(*(torch.nn.functional.pad(x, (0, 6)) for x in ragged)), batch)
        close(model(torch.where(mask.bool(), ids, 7), mask, types), batch)
        order = torch.tensor([3, 0, 6, 5, 1, 4, 2])
        close(model(ids[order], mask[order], types[order]), batch[order])
        for b, n in enumerate(mask.sum(1)):
            close(model(ids[b:b + 1, :n], None, types[b:b + 1, :n])[0], batch[b])


@EVERY_HEAD
def test_formula_equals_fused_in_value_and_gradient(config, ragged, head):
    results = []
    for fused in (True, False):
        model = build(config, head, fused=fused).eval()
        logits = model(*ragged)
        logits.square().sum().backward()
        results.append((logits.detach(), *(p.grad for p in model.classifier.parameters())))
    close(results[0][0], results[1][0])
    for got, want in zip(*results):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-3)


@EVERY_HEAD
def test_rows_without_tokens_stay_finite(config, ragged, head):
    ids, mask, _ = ragged
    mask[[1, 4]] = 0
    for rows in (slice(None), [1]):
        model = build(config, head).train()
        logits = model(ids[rows], mask[rows])
        logits.sum().backward()
        assert logits.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert build(config, head)(ids[:0], mask[:0]).shape == (0, 3)
    assert build(config, head)(ids[:, :1]).isfinite().all()  # shorter than every filter but one


@EVERY_HEAD
def test_every_parameter_gets_a_gradient(config, ragged, head):
    model = build(config, head, hidden_dropout_prob=0.0)
    loss = torch.nn.functional.cross_entropy(model(*ragged), torch.arange(7) % 3)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@EVERY_HEAD
def test_a_seed_gives_every_head_the_same_encoder(config, head):
    torch.manual_seed(7)
    bare = BERTModel(config).state_dict()
    model = build(config, head)
    for name, tensor in model.bert.state_dict().items():
        assert torch.equal(tensor, bare[name]), name
    before = copy.deepcopy(model.bert.state_dict())
    state = torch.get_rng_state()
    first = make_classifier(model.config).state_dict()
    torch.set_rng_state(state)
    second = make_classifier(model.config).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(before[name], tensor)
               for name, tensor in model.bert.state_dict().items())
    assert (model.bert.pooler is None) == (head["type"] != "standard")


@EVERY_HEAD
def test_names_and_state_round_trip(config, ragged, head):
    model, other = build(config, head).eval(), build(config, head).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(*ragged), model(*ragged))
    if head["type"] != "standard":  # that name is the standard head's in files
        assert not any(name.startswith("output.") for name, _ in
                       model.classifier.named_parameters())


@EVERY_HEAD
def test_every_head_can_overfit(config, head):
    small = config.replace(num_hidden_layers=3 if "last_layers" in head else 1,
                           hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = build(small, head)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 99, (16, 9), generator=generator)
    mask = torch.arange(9) < torch.randint(1, 10, (16, 1), generator=generator)
    labels = torch.randint(0, 3, (16,), generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    for _ in range(300):
        logits = model(ids, mask)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        if loss < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02 and (logits.argmax(1) == labels).all()


@EVERY_HEAD
def test_bfloat16(config, ragged, head):
    model = build(config, head)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(*ragged).float(), torch.arange(7) % 3)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = model(*ragged).float()
    with torch.no_grad():
        torch.testing.assert_close(low, model(*ragged), atol=0.03, rtol=0.05)


@EVERY_KIND
def test_the_step_on_an_accelerator_never_waits(config, kind):
    """The meta device takes an accelerator's branches and refuses `.item()`."""
    model = build(config, {"type": kind}).to("meta")
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    model(torch.full((2, 4), 7, device="meta"), mask).sum().backward()
    assert all(p.grad.device.type == "meta" for p in model.parameters())


@EVERY_HEAD
def test_dropout_follows_the_classifier_s_rate(config, ragged, head):
    rates = {"classifier_dropout": 1.0, "hidden_dropout_prob": 0.0,
             "attention_probs_dropout_prob": 0.0}
    model = build(config, head, **rates).train()
    logits = model(*ragged)
    assert torch.equal(logits, logits[:1].expand_as(logits))  # all that differs is dropped
    model.eval()
    assert not torch.equal(model(*ragged), logits)
    rates["classifier_dropout"] = 0.0
    model = build(config, head, **rates).train()
    assert torch.equal(model(*ragged), model(*ragged))


@EVERY_KIND
def test_last_layers_are_side_by_side(config, ragged, kind):
    if kind == "standard":
        with pytest.raises(ConfigError, match="standard has no option 'last_layers'.*none"):
            build(config, {"type": kind, "last_layers": 2})
        return
    model = build(config, {"type": kind, "last_layers": 2}).eval()
    assert model.classifier.needs_hidden_states
    encoded = model.bert(*ragged, output_hidden_states=True)
    tokens = model.classifier.tokens(encoded)
    assert tokens.shape == (7, 13, 60)
    assert torch.equal(tokens[..., 30:], encoded.last_hidden_state)
    assert torch.equal(tokens[..., :30], encoded.hidden_states[2])
    assert not build(config, {"type": kind}).classifier.needs_hidden_states


@pytest.mark.parametrize("head, parts", [
    ({"type": "rnn"}, ["'rnn'", ", ".join(CLASSIFIERS)]),
    ({"type": "cnn", "kernel": [3]}, ["cnn", "'kernel'",
                                      "kernel_sizes, num_filters, last_layers"]),
    ({"type": "standard", "dropout": 0.1}, ["standard", "'dropout'", "none"]),
    ({"type": "cnn", "config": 3}, ["'config'", "kernel_sizes"]),
    ({"type": "cnn", "kernel_sizes": []}, ["cnn: kernel_sizes is []", "1 to 64"]),
    ({"type": "cnn", "kernel_sizes": [3, 0]}, ["[3, 0]", "1 to 64"]),
    ({"type": "cnn", "kernel_sizes": "3"}, ["'3'", "1 to 64"]),
    ({"type": "cnn", "num_filters": True}, ["num_filters is True", "whole number"]),
    ({"type": "cnn", "last_layers": 4}, ["last_layers is 4", "1 to 3"]),
    ({"type": "mlp", "hidden_dims": [4, 2.5]}, ["hidden_dims", "2.5"]),
    ({"type": "mlp", "hidden_dims": [True]}, ["hidden_dims", "True"]),
    ({"type": "mlp", "depth": 5}, ["depth is 5", "1 to 4"]),
    ({"type": "mlp", "depth": 2, "hidden_dims": 9}, ["depth 2", "hidden_dims is 9"]),
    ({"type": "mlp", "activation": "swish"}, ["'swish'", "gelu", "relu", "silu", "tanh"]),
    ({"type": "mlp", "pooling": "last"}, ["'last'", "cls, mean, max"]),
    ({"type": "bilstm", "pooling": "cls"}, ["'cls'", "last, mean, max"]),
    ({"type": "bilstm", "pooling": ["last"]}, ["['last']", "last, mean, max"]),
    ({"type": "bilstm", "hidden_size": 0}, ["hidden_size is 0"]),
    ({"type": "bilstm", "num_layers": 9}, ["num_layers is 9", "1 to 4"]),
    ({"type": "attention", "num_heads": 0}, ["num_heads is 0"]),
    ({"type": "attention", "attention_size": None}, ["attention_size is None"]),
    ({"type": "fourier_kan", "num_frequencies": 0}, ["num_frequencies is 0"]),
    ({"type": "fourier_kan", "exponent": "2"}, ["exponent is '2'", "0 to 8"]),
    ({"type": "fourier_kan", "width": -1}, ["width is -1"]),
    ({"type": "wavelet_kan", "num_wavelets": 0}, ["num_wavelets is 0"]),
    ({"type": "wavelet_kan", "wavelet_type": "db2"}, ["'db2'", "haar, mexican, morlet, mixed"]),
])
def test_impossible_options_say_what_fits(config, head, parts):
    with pytest.raises(ConfigError) as caught:
        make_classifier(config.replace(classifier=head))
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_head_of_your_own_still_fits(config, ragged):
    class First(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            self.scores = torch.nn.Linear(config.hidden_size, config.num_labels)

        def forward(self, encoded, mask):
            assert encoded.hidden_states is None
            return self.scores(encoded.pooler_output)

    class Early(First):
        uses_pooler, needs_hidden_states = False, True

        def forward(self, encoded, mask):
            assert encoded.pooler_output is None
            return self.scores(encoded.hidden_states[0][:, 0])

    for head in (First, Early, lambda config: First(config)):
        model = BERTForSequenceClassification(config, 3, classifier=head)
        assert model(*ragged).shape == (7, 3)
        assert (model.bert.pooler is None) == (head is Early)
    default = BERTForSequenceClassification(config, classifier=None)
    assert type(default.classifier) is LinearClassifier
