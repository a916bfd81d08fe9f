"""What only a GPU can show. The same code runs elsewhere on torch's meta device and on the CPU."""

import copy
import warnings

import pytest
import torch

from bert_kit import (BERTForMaskedLM, BERTForMultiLabel, BERTForNextSentencePrediction,
                      BERTForPreTraining, BERTForQuestionAnswering,
                      BERTForSequenceClassification, BERTForTokenClassification, BERTModel,
                      BertConfig, compute_classification_loss, compute_mlm_loss)
from bert_kit.data import make_loader
from bert_kit.data.batches.batching import RowDataset
from bert_kit.model import CLASSIFIERS
from bert_kit.training import (AMPTrainer, Trainer, TrainingArguments, autocast,
                               compute_answering_loss, compute_pretraining_loss,
                               compute_tagging_loss, make_optimizer)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICE = "cuda"
PRECISIONS = ("float32", "bfloat16", "float16")
# Of outputs near 1, after three blocks; 2^-8 and 2^-11 are the steps of the 16-bit kinds.
TOLERANCE = {"float32": 3e-5, "bfloat16": 6e-2, "float16": 1e-2}
TASKS = {task.__name__: task for task in (
    BERTModel, BERTForMaskedLM, BERTForNextSentencePrediction, BERTForPreTraining,
    BERTForSequenceClassification, BERTForMultiLabel, BERTForTokenClassification,
    BERTForQuestionAnswering)}


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch):
    """Convolutions and recurrent layers of a GPU round float32 to 10 bits unless told not to."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def batch(ragged, labels):
    ids, mask, segments = ragged
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments, "labels": labels}


def outputs(output):
    """Return the tensors that a model gives, by number."""
    return dict(enumerate(x for x in ([output] if isinstance(output, torch.Tensor) else output)
                          if x is not None))


def assert_same_answers(model, ragged, precision):
    """Hold the model on the GPU against itself on the CPU, in float32 by the formulas."""
    ids, mask, segments = ragged
    formula = type(model)(model.config.replace(fused=False)).eval()
    formula.load_state_dict(model.state_dict())
    model.eval().to(DEVICE)
    with torch.inference_mode():
        expected = outputs(formula(ids, mask, segments))
        with autocast(precision, DEVICE):
            found = outputs(model(ids.to(DEVICE), mask, segments.to(DEVICE)))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        allowed = TOLERANCE[precision] * max(1.0, float(value[value > -1e3].abs().max()))
        real = value > -1e3  # where answers cannot be there is the lowest number, of each kind
        assert torch.equal(found[key].cpu().float() > -1e3, real)
        torch.testing.assert_close(found[key].cpu().float()[real], value[real], atol=allowed,
                                   rtol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_the_cpus_answers(config, ragged, precision, task):
    assert_same_answers(TASKS[task](config), ragged, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("head", CLASSIFIERS)
def test_every_head_gives_the_cpus_answers(config, ragged, precision, head):
    model = BERTForSequenceClassification(config.replace(classifier={"type": head}), num_labels=3)
    assert_same_answers(model, ragged, precision)


def step_of(task, ragged):
    """Return a task's loss, and a batch for it."""
    ids, mask, _ = ragged
    tokens, rows = torch.where(mask == 1, ids, -100), torch.arange(7) % 2
    if task is BERTForQuestionAnswering:
        marked = batch(ragged, rows)
        del marked["labels"]
        return compute_answering_loss, marked | {"start_positions": rows * 0,
                                                 "end_positions": rows * 0}
    if task is BERTForPreTraining:
        return compute_pretraining_loss, batch(ragged, tokens) | {"next_sentence_label": rows}
    return {BERTForMaskedLM: (compute_mlm_loss, batch(ragged, tokens)),
            BERTForTokenClassification: (compute_tagging_loss, batch(ragged, tokens.clamp(max=1))),
            BERTForSequenceClassification: (compute_classification_loss, batch(ragged, rows)),
            }[task]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("task", [BERTForMaskedLM, BERTForPreTraining, BERTForTokenClassification,
                                  BERTForSequenceClassification, BERTForQuestionAnswering])
def test_training_goes_the_cpus_way(config, ragged, precision, task):
    config = config.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    loss, rows = step_of(task, ragged)
    model = task(config)
    losses = {}
    for device, kind in (("cpu", "float32"), (DEVICE, precision)):
        own = copy.deepcopy(model).to(device)
        trainer = AMPTrainer(own, make_optimizer(own, 1e-3), precision=kind, init_scale=256.0)
        steps = [trainer.train_step(loss, [rows]) for _ in range(12)]
        assert all(step.stepped for step in steps)
        losses[device] = torch.tensor([float(step.loss) for step in steps])
    torch.testing.assert_close(losses[DEVICE], losses["cpu"], atol=0,
                               rtol=1e-3 if precision == "float32" else 5e-2)
    assert losses[DEVICE][-1] < losses[DEVICE][0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("task", [BERTForMaskedLM, BERTForSequenceClassification])
def test_a_step_never_waits_for_the_gpu(config, ragged, precision, task):
    loss, rows = step_of(task, ragged)
    model = task(config).to(DEVICE)
    trainer = AMPTrainer(model, make_optimizer(model, 1e-3), precision=precision)
    rows = {key: value.pin_memory() for key, value in rows.items()}
    trainer.train_step(loss, [rows])
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = trainer.train_step(loss, [rows])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(result.loss)


def test_a_step_copies_from_pinned_memory_only(config, ragged):
    """A copy from ordinary memory is a wait that torch's own check does not see."""
    loss, rows = step_of(BERTForMaskedLM, ragged)
    model = BERTForMaskedLM(config).to(DEVICE)
    trainer = AMPTrainer(model, make_optimizer(model, 1e-3), precision="bfloat16")
    trainer.train_step(loss, [rows])
    with torch.profiler.profile() as profile:
        trainer.train_step(loss, [rows])
        torch.cuda.synchronize()
    copies = [event.key for event in profile.key_averages() if "Memcpy HtoD" in event.key]
    if not copies:
        pytest.skip("the profiler does not see this GPU")
    assert not [name for name in copies if "Pageable" in name]


class Rows(RowDataset):
    """Rows of random ids of 3 to 12 tokens, of two classes."""

    pad_id = 0

    def __init__(self, count):
        self.lengths = torch.randint(3, 13, (count,)).numpy()

    def make_row(self, row, epoch):
        ids = torch.randint(5, 99, (int(self.lengths[row]),)).numpy()
        return {"input_ids": ids, "token_type_ids": 0 * ids, "labels": row % 2}


def waits_of_a_run(config, steps):
    """Train for some steps, log once at the end, and return how often the GPU was waited for."""
    model = BERTForSequenceClassification(config).to(DEVICE)
    loader = make_loader(Rows(8 * steps), 8, pin_memory=True)
    trainer = Trainer(model, TrainingArguments(
        max_steps=steps, logging_steps=steps, eval_strategy="no", save_strategy="no", verbosity=0,
        precision="bfloat16"), compute_classification_loss, loader)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.train()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len([one for one in seen if "synchroniz" in str(one.message)])


def test_the_loop_waits_only_to_log(config):
    assert waits_of_a_run(config, 12) == waits_of_a_run(config, 3)


def test_attention_runs_in_one_kernel(ragged):
    config = BertConfig(vocab_size=99, hidden_size=64, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=37, max_position_embeddings=23)
    model = BERTForSequenceClassification(config).to(DEVICE).eval()
    ids, mask, segments = ragged
    with (torch.profiler.profile() as profile, torch.inference_mode(),
          autocast("bfloat16", DEVICE)):
        model(ids.to(DEVICE), mask, segments.to(DEVICE))
    names = {event.key for event in profile.key_averages() if "scaled_dot_product" in event.key}
    assert any(kind in name for name in names for kind in ("efficient", "flash", "cudnn")), names
