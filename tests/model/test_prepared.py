"""Prepared models: the formula's answers, for every task and head, and nobody else's weights."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from bert_kit import (
    BertConfig, BERTForMaskedLM, BERTForMultiLabel, BERTForNextSentencePrediction,
    BERTForPreTraining, BERTForQuestionAnswering, BERTForSequenceClassification,
    BERTForTokenClassification, BERTModel, ConfigError, prepare_for_inference, save_pretrained)
from bert_kit.model import CLASSIFIERS
from bert_kit.model.fast import inference, prepared
from bert_kit.weights import load_pretrained

SIZES = {"vocab_size": 101, "hidden_size": 48, "num_attention_heads": 3, "num_hidden_layers": 2,
         "intermediate_size": 80, "max_position_embeddings": 40, "labels": ("a", "b", "c")}
TASKS = {task.__name__: task for task in (
    BERTModel, BERTForMaskedLM, BERTForMultiLabel, BERTForNextSentencePrediction,
    BERTForPreTraining, BERTForQuestionAnswering, BERTForTokenClassification)}
here = prepared.can_prepare("float32")
needs_float32 = pytest.mark.skipif(not here, reason="needs a CPU with AVX-512")
needs_bfloat16 = pytest.mark.skipif(not prepared.can_prepare("bfloat16"),
                                    reason="needs a CPU that multiplies in bfloat16")


def build(task, seed=0, **changes):
    """Return a model of weights large enough that every part matters."""
    torch.manual_seed(seed)
    model = task(BertConfig(**SIZES | changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def ragged(rows=5, length=37):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(101, (rows, length), generator=generator)
    mask = torch.arange(length) < torch.tensor([37, 1, 16, 17, 30])[:rows, None]
    return ids, mask.long(), (torch.arange(length) > 9).long().expand(rows, -1)


def tensors(output):
    """Return the tensors of whatever a model gave."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for part in output if part is not None for tensor in tensors(part)]


def formula(model, *batch, **options):
    """Return what the formula says, which never enters model/fast/."""
    plain = type(model)(model.config.replace(fused=False)).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        return tensors(plain(*batch, **options))


def assert_equal_to_the_formula(model, ready, *batch, **options):
    with torch.inference_mode():
        found = tensors(ready(*batch, **options))
    for ours, exact in zip(found, formula(model, *batch, **options), strict=True):
        torch.testing.assert_close(ours, exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_the_formulas_answers(task):
    model = build(TASKS[task])
    ready = prepare_for_inference(model)
    assert all((block.prepared is not None) == here for part in ready.modules()
               if isinstance(part, BERTModel) for block in part.blocks)
    assert_equal_to_the_formula(model, ready, *ragged())
    assert_equal_to_the_formula(model, ready, ragged()[0][:1, :7])  # no padding at all


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_every_head_gives_the_formulas_answers(head):
    layers = {"last_layers": 2} if head not in ("standard", "fourier_kan", "wavelet_kan") else {}
    model = build(BERTForSequenceClassification, classifier={"type": head, **layers})
    assert_equal_to_the_formula(model, prepare_for_inference(model), *ragged())


def test_windows_of_a_text_give_the_formulas_answers():
    model = build(BERTForSequenceClassification)
    ids, mask, segments = (x.view(2, 2, -1) for x in (part[:4] for part in ragged()))
    assert_equal_to_the_formula(model, prepare_for_inference(model), ids, mask, segments)


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu", "tanh"])
def test_every_activation_gives_the_formulas_answers(activation):
    model = build(BERTModel, hidden_act=activation)
    assert_equal_to_the_formula(model, prepare_for_inference(model), *ragged())


def test_weights_and_hidden_states_can_be_asked_for():
    model = build(BERTModel)
    ready = prepare_for_inference(model)
    assert_equal_to_the_formula(model, ready, *ragged()[:2], output_hidden_states=True)
    ids = ragged()[0]  # weights at padding mean nothing
    assert_equal_to_the_formula(model, ready, ids, output_attentions=True)


@needs_float32
def test_gradients_may_be_on():
    model = build(BERTModel)
    ready = prepare_for_inference(model)
    found = ready(*ragged()).last_hidden_state
    assert not found.requires_grad
    torch.testing.assert_close(found, formula(model, *ragged())[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_given_model_stays_as_it_was(precision, tmp_path):
    model = build(BERTForSequenceClassification).train()
    model.bert.pooler.eval()
    before = copy.deepcopy(model.state_dict())
    modes = {name: part.training for name, part in model.named_modules()}
    ready = prepare_for_inference(model, precision)
    assert not any(part.training for part in ready.modules())
    assert {name: part.training for name, part in model.named_modules()} == modes
    assert all(weight.requires_grad for weight in model.parameters())
    assert all(block.prepared is None for block in model.bert.blocks)
    ready.to(torch.float64)
    save_pretrained(prepare_for_inference(model, precision), tmp_path)
    saved = load_pretrained(BERTForSequenceClassification, tmp_path).state_dict()
    for name, weight in model.state_dict().items():
        assert weight.dtype == torch.float32 and torch.equal(weight, before[name])
        assert torch.equal(weight, saved[name])


def test_in_training_mode_there_is_dropout():
    ready = prepare_for_inference(build(BERTModel)).train()
    torch.manual_seed(0)
    first, second = (ready(*ragged()).last_hidden_state for _ in range(2))
    assert not torch.equal(first, second)


def test_a_hook_is_called_and_changes_what_it_changes():
    model = build(BERTModel)
    model.blocks[1].feed_forward.output.register_forward_hook(lambda *call: call[-1] * 2)
    ready = prepare_for_inference(model)
    with torch.inference_mode():
        found, expected = (each(*ragged()).last_hidden_state for each in (ready, model))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, formula(model, *ragged())[0], atol=1e-2)


def test_a_part_of_ones_own_is_called():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = build(BERTModel)
    output = model.blocks[0].attention.output
    own = model.blocks[0].attention.output = Doubled(48, 48)
    own.load_state_dict(output.state_dict())
    with torch.inference_mode():
        found, expected = (each(*ragged()).last_hidden_state
                           for each in (prepare_for_inference(model), model))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_collector_gets_what_its_hooks_are_given():
    class Collector:
        def __init__(self):
            self.seen = []

        def hook(self, part, *call):
            self.seen.append(type(part).__name__)

    model, method, bound = build(BERTForSequenceClassification), Collector(), []
    model.bert.pooler.register_forward_hook(method.hook)
    model.classifier.register_forward_pre_hook(partial(lambda seen, *call: seen.append(1), bound))
    prepare_for_inference(model)(*ragged())
    assert method.seen == ["Pooler"] and bound == [1]


def test_a_hook_that_is_the_method_of_a_part_serves_that_parts_copy():
    class Remembering(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.linear, self.seen = nn.Linear(config.hidden_size, 3), None
            self.linear.register_forward_hook(self.remember)

        def remember(self, part, given, gave):
            self.seen = gave

        def forward(self, encoded, mask):
            self.linear(encoded.pooler_output)
            return self.seen * 2

    model = BERTForSequenceClassification(BertConfig(**SIZES), classifier=Remembering).eval()
    expected = model(*ragged())  # also leaves a tensor with a gradient in a part
    with torch.inference_mode():
        found = prepare_for_inference(model)(*ragged())
        other = prepare_for_inference(model)(*(part[:2] for part in ragged()))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other, expected[:2], atol=1e-5, rtol=1e-5)


def test_a_forward_of_ones_own_is_called():
    model = build(BERTModel)
    attention = model.blocks[0].attention
    attention.forward = partial(lambda given, *call: (2 * given(*call)[0], None),
                                attention.forward)
    with torch.inference_mode():
        found, expected = (each(*ragged()).last_hidden_state
                           for each in (prepare_for_inference(model), model))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@needs_bfloat16
def test_bfloat16_turns_no_vector_by_much():
    model = build(BERTModel)
    ready = prepare_for_inference(model, "bfloat16")
    ids, mask, segments = ragged()
    with torch.inference_mode():
        found = ready(ids, mask, segments).last_hidden_state
    exact = formula(model, ids, mask, segments)[0]
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    cosines = torch.cosine_similarity(found.sum(1), exact.sum(1))
    assert cosines.min() > 0.9999


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_head_of_ones_own_can_read_every_layer(precision):
    class First(nn.Module):
        needs_hidden_states = True

        def __init__(self, config):
            super().__init__()
            self.linear = nn.Linear(config.hidden_size, 3)

        def forward(self, encoded, mask):
            return self.linear(encoded.hidden_states[1][:, 0])

    torch.manual_seed(0)
    model = BERTForSequenceClassification(BertConfig(**SIZES), classifier=First).eval()
    with torch.inference_mode():
        found, expected = (each(*ragged()) for each in (
            prepare_for_inference(model, precision), model))
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_the_kernels_it_is_todays_path(monkeypatch, precision):
    monkeypatch.setattr(inference, "can_prepare", lambda precision: False)
    model = build(BERTForSequenceClassification)
    ready = prepare_for_inference(model, precision)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16,
                                                enabled=precision == "bfloat16"):
        expected, encoded = model(*ragged()), model.bert(*ragged()).last_hidden_state
    with torch.inference_mode():
        assert torch.equal(ready(*ragged()), expected)
        assert torch.equal(ready.bert(*ragged()).last_hidden_state, encoded)


def test_autocast_ends_with_the_call(monkeypatch):
    monkeypatch.setattr(inference, "can_prepare", lambda precision: False)
    ready = prepare_for_inference(build(BERTForSequenceClassification), "bfloat16")
    with torch.inference_mode():
        ready(*(x.view(2, 2, -1) for x in (part[:4] for part in ragged())))  # it calls itself
        assert not torch.is_autocast_enabled("cpu")


def test_the_same_rows_give_the_same_bits_wherever_they_stand():
    ready, (ids, mask, segments) = prepare_for_inference(build(BERTModel)), ragged()
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.inference_mode():
        found = ready(ids, mask, segments).last_hidden_state
        again = ready(ids[order], mask[order], segments[order]).last_hidden_state
    assert torch.equal(found[order], again)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="precision is 'int4'"):
        prepare_for_inference(build(BERTModel), "int4")


def test_the_model_can_still_be_copied_and_pickled():
    model = build(BERTForSequenceClassification)
    prepare_for_inference(model)
    assert_equal_to_the_formula(model, pickle.loads(pickle.dumps(model)), *ragged())


@pytest.mark.parametrize("prepared_here", [True, False])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)),
                                   partial(prepare_for_inference, precision="bfloat16")])
def test_a_ready_model_can_be_copied_pickled_and_prepared_again(monkeypatch, again, prepared_here):
    if not prepared_here:
        monkeypatch.setattr(inference, "can_prepare", lambda precision: False)
    ready = prepare_for_inference(build(BERTForSequenceClassification), "bfloat16")
    with torch.inference_mode():
        torch.testing.assert_close(again(ready)(*ragged()), ready(*ragged()), atol=0.03, rtol=0)
