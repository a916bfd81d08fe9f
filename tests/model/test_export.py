"""torch.export and ONNX follow every task model and head, for any batch and length."""

import importlib.util
import warnings

import pytest
import torch
from torch import nn

from bert_kit import (BERTForMaskedLM, BERTForMultiLabel, BERTForNextSentencePrediction,
                      BERTForPreTraining, BERTForQuestionAnswering, BERTForSequenceClassification,
                      BERTForTokenClassification, BERTModel, ConfigError, DataError)
from bert_kit.model import CLASSIFIERS, make_classifier
from tiny_models import tiny_config

TASKS = (BERTModel, BERTForMaskedLM, BERTForPreTraining, BERTForNextSentencePrediction,
         BERTForSequenceClassification, BERTForMultiLabel, BERTForTokenClassification,
         BERTForQuestionAnswering)
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SIZES = ((1, 1), (1, 11), (5, 8), (3, 2))  # the exporter's example is (2, 7)
NEEDS_ONNX = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not all installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch, to those who change it


class EveryTask(nn.Module):
    """All task models side by side, so that the exporter starts once."""

    def __init__(self):
        super().__init__()
        self.models = nn.ModuleList(task(tiny_config(  # blocks are the same in all of them
            num_hidden_layers=int(task is BERTModel), fused=False)) for task in TASKS)

    def forward(self, input_ids, attention_mask, token_type_ids, positions):
        inputs = (input_ids, attention_mask, token_type_ids)
        answers = [model(*inputs) for model in self.models]
        answers += [model(*inputs, positions=positions) for model in self.models[1:3]]
        return tuple(part for answer in answers
                     for part in (answer if isinstance(answer, tuple) else [answer])
                     if part is not None)


class EveryHead(nn.Module):
    """All heads on one encoder, as BERTForSequenceClassification puts one there."""

    HEADS = (*({"type": "mlp", "pooling": pooling} for pooling in ("mean", "max", "pooler")),
             *({"type": kind} for kind in CLASSIFIERS if kind != "bilstm"))

    def __init__(self):
        super().__init__()
        config = tiny_config(num_hidden_layers=1, fused=False)
        self.bert = BERTModel(config)
        self.heads = nn.ModuleList(
            make_classifier(config.replace(classifier=head)) for head in self.HEADS)

    def forward(self, input_ids, attention_mask, token_type_ids):
        encoded = self.bert(input_ids, attention_mask, token_type_ids, output_hidden_states=True)
        return tuple(head(encoded, attention_mask.bool()) for head in self.heads)


class BiLSTMHead(EveryHead):
    """Apart from the others: to trace its loop takes as long as all of them."""

    HEADS = ({"type": "bilstm", "hidden_size": 5, "num_layers": 2, "pooling": "max"},)


def rows(count, length, positions):
    """Rows of ragged length, the first of them full, and places in the flattened batch."""
    mask = (torch.arange(length) < torch.randint(1, length + 1, (count, 1))).long()
    mask[0] = 1
    inputs = dict(zip(INPUTS, (torch.randint(37, mask.shape), mask, torch.randint(2, mask.shape))))
    return {**inputs, "positions": torch.randperm(count * length)[:3]} if positions else inputs


@pytest.fixture(scope="module", params=[EveryTask, EveryHead,
                                        pytest.param(BiLSTMHead, marks=pytest.mark.slow)])
def exported(request):
    """A network, what torch.export makes of it with B, S and M left free, and batches to try."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        network, positions = request.param().eval(), request.param is EveryTask
        example = rows(2, 7, positions)
        free = {name: dict.fromkeys(range(part.ndim), torch.export.Dim.DYNAMIC)
                for name, part in example.items()}
        program = torch.export.export(network, (), example, dynamic_shapes=free)
        return network, program, [rows(*size, positions) for size in SIZES]


def assert_close(found, network, inputs):
    with torch.no_grad():
        for ours, true in zip(found, network(**inputs), strict=True):
            torch.testing.assert_close(torch.as_tensor(ours), true, atol=1e-5, rtol=1e-5)


def test_torch_exports_every_task_and_head(exported):
    network, program, batches = exported
    run = program.module()
    for inputs in batches:
        assert_close(run(**inputs), network, inputs)


@NEEDS_ONNX
def test_onnx_runtime_gives_the_same_numbers(exported, tmp_path):
    import onnxruntime
    network, program, batches = exported
    torch.onnx.export(program, (), str(tmp_path / "x.onnx"), dynamo=True, verbose=False,
                      external_data=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    for inputs in batches:
        given = {name: part.numpy() for name, part in inputs.items()}
        assert_close(session.run(None, given), network, inputs)


def test_the_fast_paths_are_refused_in_one_line_and_checks_come_back():
    model, inputs = BERTModel(tiny_config(num_hidden_layers=1)).eval(), rows(2, 7, False)
    with pytest.raises(ConfigError, match="loaded with fused=False"):
        torch.export.export(model, (), inputs)
    with pytest.raises(DataError, match="input_ids holds 37"):
        model(torch.full((1, 3), 37))


@pytest.mark.parametrize("fused", [False, True])
def test_dynamic_quantisation_finds_the_formulas_layers_only(fused):
    model = BERTForSequenceClassification(tiny_config(fused=fused)).eval()
    kinds = {type(part) for part in model.modules() if isinstance(part, nn.Linear)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    left = {type(part) for part in small.modules() if isinstance(part, nn.Linear)}
    assert nn.Linear in kinds and nn.Linear not in left and bool(left) == fused
    inputs = rows(5, 11, False)
    with torch.no_grad():
        true, ours = model(**inputs), small(**inputs)
    assert 0 < (true - ours).abs().max() < 0.02 * true.abs().max() + 1e-3
