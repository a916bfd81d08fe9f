"""Losses: functions of a model and a batch, outside the modules.

A batch is a dict of CPU tensors; each loss moves what it needs to the model's device. Two tensors
stay behind on purpose: from a mask on the CPU the real tokens are found without waiting for the
accelerator, and so are the masked places from labels on the CPU.

Every loss is a sum over labels divided by a count. With gradient accumulation that count is the
whole window's, handed in as `counts`, so that several small batches give exactly the gradient of
one large batch, however unevenly their labels are spread.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.errors import DataError
from bert_kit.modes import IGNORE, ROUND, evaluation_mode, to_device

Batch = Mapping[str, Tensor]
Counts = Mapping[str, int]


class Loss(Protocol):
    """What the training loop calls: any function of this shape is a loss.

    `counts` are the label counts to divide by, those of the whole window, from `count_labels`;
    without them the batch's own.
    """

    def __call__(self, model: nn.Module, batch: Batch, counts: Counts, /) -> Tensor: ...


def count_labels(batch: Batch) -> dict[str, int]:
    """Return how many labels of each kind a batch has.

    Every entry whose name ends in "label", "labels" or "positions" is one kind: masked or tagged
    tokens for (B, S), rows for (B,) or for numbers (B, C). A label of -100 does not count.

    Examples
    --------
    >>> count_labels({"labels": torch.tensor([[-100, 7], [-100, -100]])})
    {'labels': 1}
    """
    return {key: len(labels) if labels.is_floating_point() else int((labels != IGNORE).sum())
            for key, labels in batch.items() if key.endswith(("label", "labels", "positions"))}


def count_rows(batch: Batch) -> int:
    """Return how many rows B a batch has."""
    return len(next(iter(batch.values())))


def compute_mlm_loss(model: nn.Module, batch: Batch, counts: Counts | None = None) -> Tensor:
    """Mean cross-entropy of the masked tokens (Devlin et al. 2019, section 3.1 task 1).

    Parameters
    ----------
    model
        `model(input_ids, attention_mask, token_type_ids, positions)` -> (M, V) logits, or what
        has them as `mlm`.
    batch
        `input_ids`, `attention_mask`, `token_type_ids` and `labels` (B, S), -100 where no token
        is to be predicted.
    counts
        What to divide by, from `count_labels`; default this batch's own counts.

    Returns
    -------
    Tensor ()
        In nats; 0 with zero gradient when no token is masked.
    """
    labels, positions = _masked(model, batch)
    output = model(**model_inputs(model, batch), positions=positions)
    logits = getattr(output, "mlm", output)
    return _mean_cross_entropy(model, logits, labels, label_count(batch, counts, "labels"))


def compute_nsp_loss(model: nn.Module, batch: Batch, counts: Counts | None = None) -> Tensor:
    """Mean cross-entropy of next-sentence prediction; `labels` (B,): 0 is next, 1 is random."""
    return compute_classification_loss(model, batch, counts)


def compute_pretraining_loss(model: nn.Module, batch: Batch,
                             counts: Counts | None = None) -> Tensor:
    """Sum of the MLM loss and the next-sentence loss (Devlin et al. 2019, appendix A.2).

    The batch has `labels` (B, S) for the tokens and `next_sentence_label` (B,).
    """
    labels, positions = _masked(model, batch)
    output = model(**model_inputs(model, batch), positions=positions)
    mlm = _mean_cross_entropy(model, output.mlm, labels, label_count(batch, counts, "labels"))
    nsp = _mean_cross_entropy(model, output.next_sentence, batch["next_sentence_label"],
                              label_count(batch, counts, "next_sentence_label"))
    return mlm + nsp


def compute_tagging_loss(model: nn.Module, batch: Batch, counts: Counts | None = None) -> Tensor:
    """Mean cross-entropy of the tagged tokens (Devlin et al. 2019, section 5.3).

    The model gives (B, S, C) logits; `labels` (B, S) are class numbers, -100 where a token has no
    tag. Counted by tokens over the whole window, as the MLM loss is.
    """
    logits = model(**model_inputs(model, batch)).flatten(0, 1)  # (B, S, C) -> (B * S, C)
    return _mean_cross_entropy(model, logits, batch["labels"].flatten(),
                               label_count(batch, counts, "labels"))


def compute_answering_loss(model: nn.Module, batch: Batch,
                           counts: Counts | None = None) -> Tensor:
    """Mean of the cross-entropies of the answer's start and end (section 4.2).

    The model gives (B, S, 2) logits. `start_positions` and `end_positions` (B,) are places in the
    row, -100 for one outside of it, which has no loss.
    """
    logits = model(**model_inputs(model, batch))
    start, end = (_mean_cross_entropy(model, logits[..., side], batch[key],
                                      label_count(batch, counts, key))
                  for side, key in enumerate(("start_positions", "end_positions")))
    return (start + end) / 2


def compute_classification_loss(model: nn.Module, batch: Batch,
                                counts: Counts | None = None) -> Tensor:
    """Mean cross-entropy over rows; `labels` (B,) of class numbers.

    Parameters, result and units as in `compute_mlm_loss`. If the batch has `sample_weights` (B,),
    each row's loss is multiplied by its own. For weights of classes and more, see
    `classification_loss`.
    """
    logits = model(**model_inputs(model, batch)).float()
    labels = class_labels(batch, logits)
    rows = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    return mean_over_rows(rows, batch, counts)


def compute_regression_loss(model: nn.Module, batch: Batch,
                            counts: Counts | None = None) -> Tensor:
    """Mean squared error of one number a row; `labels` (B,) of float, the model's logits (B, 1).

    Parameters and `sample_weights` as in `compute_classification_loss`; in squared units of the
    labels.
    """
    numbers = model(**model_inputs(model, batch)).float().squeeze(-1)  # (B, 1) -> (B,)
    labels = batch["labels"]
    if labels.shape != numbers.shape or not labels.is_floating_point():
        raise DataError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected "
                        f"float32 of shape {tuple(numbers.shape)} for a model of one number a row")
    labels = to_device(labels, numbers.device)
    return mean_over_rows((numbers - labels).square(), batch, counts)


def compute_mlm_loader_loss(model: nn.Module, loader: Iterable[Batch],
                            device: str | torch.device | None = None) -> float:
    """Return the MLM loss over a whole loader, each masked token counted once, in nats.

    The model is moved to `device` if one is given, runs without dropout, and comes back in the
    mode it was in.
    """
    return mean_loss(compute_mlm_loss, model, loader, device)


def mean_loss(loss: Loss, model: nn.Module, loader: Iterable[Batch],
              device: str | torch.device | None = None) -> float:
    """Return `loss` averaged over all labels of a loader, not over its batches, in nats.

    `loss` is one of the functions above with one kind of label, or with as many of each, as the
    starts and ends of answers are. An empty loader is a DataError.
    """
    total, count = 0.0, 0
    with evaluation_mode(model, device):
        for batch in loader:
            counts = count_labels(batch)
            total += float(loss(model, batch, dict.fromkeys(counts, 1)))
            count += max(counts.values(), default=0)
    if count == 0:
        raise DataError("the loader gave no label to evaluate; expected at least one")
    return total / count


def model_inputs(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the model's three inputs; the attention mask stays where it is."""
    device = _device(model)
    return {
        "input_ids": to_device(batch["input_ids"], device),
        "attention_mask": batch["attention_mask"],
        "token_type_ids": to_device(batch["token_type_ids"], device),
    }


def class_labels(batch: Batch, logits: Tensor) -> Tensor:
    """Return `labels` (B,) on the device of the logits (B, C); DataError for no such class.

    On an accelerator the check would be a wait, so only labels on the CPU are checked.
    """
    return checked_labels(batch["labels"], logits)


def mean_over_rows(rows: Tensor, batch: Batch, counts: Counts | None = None) -> Tensor:
    """(B,) losses -> (): their sum over the number of labelled rows of the window.

    If the batch has `sample_weights` (B,), each loss is multiplied by its own first.
    """
    if "sample_weights" in batch:
        weights = batch["sample_weights"]
        if weights.shape != rows.shape:
            raise DataError(f"sample_weights has shape {tuple(weights.shape)}; expected one number "
                            f"for each of {len(rows)} rows")
        if weights.device.type == "cpu" and not (weights >= 0).all():
            raise DataError(f"a sample weight is {float(weights.min())}; expected numbers from 0")
        rows = rows * to_device(weights, rows.device)
    return rows.sum() / label_count(batch, counts, "labels")


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _masked(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, S) labels -> the labels (M,) that count and their flat positions (M,), on the device.

    Filled up to a multiple of `ROUND` with labels that do not count: a product with the vocabulary
    is expensive to prepare for a new M.
    """
    flat = batch["labels"].flatten()
    positions = (flat != IGNORE).nonzero().flatten()
    fill = -len(positions) % ROUND
    labels = torch.cat([flat[positions], flat.new_full((fill,), IGNORE)])
    positions = torch.cat([positions, positions[:1].expand(fill)])
    return labels, to_device(positions, _device(model))


def label_count(batch: Batch, counts: Counts | None, key: str) -> int:
    """Return what a loss is divided by: the labels of a kind in the window, or in the batch."""
    return max((count_labels(batch) if counts is None else counts)[key], 1)


def checked_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """Return labels on the logits' device; on the CPU each has to be a class, or -100 for none."""
    if labels.device.type == "cpu" and labels.numel():
        wrong = labels[(labels >= logits.shape[-1]) | (labels < 0) & (labels != IGNORE)]
        if wrong.numel():
            raise DataError(f"a label is {int(wrong.max())}; the model has {logits.shape[-1]} "
                            "classes, numbered from 0, and -100 stands for none")
    return to_device(labels, logits.device)


def _mean_cross_entropy(model: nn.Module, logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """(M, C) logits, (M,) labels -> (); the sum of -log softmax at the labels, over `count`.

    The kit's task models have a `cross_entropy` of their own, the formula or something faster.
    """
    labels = checked_labels(labels, logits)
    model = getattr(model, "module", model)  # what is inside a DistributedDataParallel
    return getattr(model, "cross_entropy", sum_cross_entropy)(logits, labels) / count


def sum_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(M, C) logits, (M,) labels -> (): the sum of -log softmax at the labels; -100 has none.

    Taken in float32: the logarithm of a bfloat16 sum is off in the second digit.
    """
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
