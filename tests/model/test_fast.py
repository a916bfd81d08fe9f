"""What fused=False promises: nothing that is only for speed runs, and few frames to a formula."""

import ast
import sys
from pathlib import Path

import pytest
import torch

import bert_kit
from bert_kit import (BERTForMaskedLM, BERTForMultiLabel, BERTForNextSentencePrediction,
                      BERTForPreTraining, BERTForQuestionAnswering, BERTForSequenceClassification,
                      BERTForTokenClassification, TransformerEncoderBlock,
                      compute_classification_loss, compute_mlm_loss)
from bert_kit.model import CLASSIFIERS
from bert_kit.training import (compute_answering_loss, compute_nsp_loss,
                               compute_pretraining_loss, compute_tagging_loss, multi_label_loss)

KIT = Path(bert_kit.__file__).parent
FAST = KIT / "model" / "fast"
ROWS = torch.tensor([0, 1, 0, 1, 1, 0, 1])
TOKENS = torch.where(torch.arange(91).view(7, 13) % 3 == 0, 1, -100)

TASKS = {
    "masked": (BERTForMaskedLM, compute_mlm_loss, {"labels": TOKENS}),
    "pretraining": (BERTForPreTraining, compute_pretraining_loss,
                    {"labels": TOKENS, "next_sentence_label": ROWS}),
    "next_sentence": (BERTForNextSentencePrediction, compute_nsp_loss, {"labels": ROWS}),
    "tagging": (BERTForTokenClassification, compute_tagging_loss, {"labels": TOKENS}),
    "answering": (BERTForQuestionAnswering, compute_answering_loss,
                  {"start_positions": ROWS * 0, "end_positions": ROWS * 0}),
    "multi_label": (BERTForMultiLabel, multi_label_loss(),
                    {"labels": torch.stack([ROWS, 1 - ROWS], 1).float()}),
    **{kind: (BERTForSequenceClassification, compute_classification_loss, {"labels": ROWS})
       for kind in CLASSIFIERS}}


def functions_run(call, folder):
    """Return the names of the functions below a folder that run during a call."""
    seen = set()

    def watch(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(str(folder)):
            seen.add(frame.f_code.co_qualname)

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_without_fused_nothing_of_the_fast_paths_runs(config, ragged, task, checkpointing):
    build, loss, labels = TASKS[task]
    ids, mask, types = ragged
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, **labels}
    heads = {"classifier": {"type": task}} if task in CLASSIFIERS else {}
    for fused in (False, True):
        model = build(config.replace(fused=fused, **heads)).train()
        model.bert.gradient_checkpointing = checkpointing
        ran = functions_run(lambda model=model: loss(model, batch).backward(), FAST)
        assert bool(ran) == fused, ran
    assert {"fast_attention", "fast_dropout", "fast_linear", "gelu_between", "Packing.of"} <= ran


@pytest.mark.parametrize("path", sorted(FAST.parent.glob("*.py")), ids=lambda path: path.stem)
def test_a_fast_path_is_entered_from_one_line_that_asks_for_fused(path):
    tree = ast.parse(path.read_text("utf-8"))
    fast = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom)
            and node.module.startswith("bert_kit.model.fast") for alias in node.names}
    entered, asked = (
        {ast.unparse(call) for node in nodes for call in ast.walk(node)
         if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[0] in fast}
        for nodes in ([tree], [line for node in ast.walk(tree) if isinstance(node, ast.If)
                               and any(word in ast.unparse(node.test) for word in
                                       ("fused", "prepared")) for line in node.body]))
    assert entered == asked
    assert path.stem in {"attention", "encoder", "heads", "layers", "tasks"} or not fast


def kit_frames(frame, start):
    """Return the names of the kit's functions from one of code `start` up to a frame."""
    names = []
    while frame.f_code is not start:
        if frame.f_code.co_filename.startswith(str(KIT)):
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back
        if frame is None:  # not below it
            return None
    return [*names, start.co_qualname][::-1]


def test_a_debugger_passes_three_frames_from_the_block_to_a_formula(config):
    block, ways = TransformerEncoderBlock(config.replace(fused=False)), {}

    def watch(frame, event, function):
        if event == "c_call":
            way = kit_frames(frame, TransformerEncoderBlock.forward.__code__)
            if way is not None:
                ways.setdefault(function.__name__, way)

    x, mask = torch.randn(2, 5, 30), torch.ones(2, 5).bool()
    sys.setprofile(watch)
    try:
        block(x, mask)
    finally:
        sys.setprofile(None)
    first = "TransformerEncoderBlock.forward"
    assert ways["softmax"] == [first, "MultiHeadAttention.forward", "attend"]
    assert ways["erf"] == [first, "FeedForward.forward", "GELU.forward"]
    assert ways["mean"] == [first, "LayerNorm.forward"]
    assert ways["rand"] == [first, "MultiHeadAttention.forward", "attend", "Dropout.forward"]
