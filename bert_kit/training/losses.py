"""Losses: functions of a model and a batch, outside the modules.

A batch is a dict of CPU tensors; each loss moves what it needs to the model's device. Two tensors
stay behind on purpose: from a mask on the CPU the real tokens are found without waiting for the
accelerator, and so are the masked places from labels on the CPU.

Every loss is a sum over labels divided by a count. With gradient accumulation that count is the
whole window's, handed in as `counts`, so that several small batches give exactly the gradient of
one large batch, however unevenly their labels are spread.
"""

import torch
from torch.nn import functional as F

IGNORE = -100  # label of a position that has no loss
LABEL_KEYS = ("labels", "next_sentence_label")


def count_labels(batch):
    """Return how many labels of each kind a batch has.

    Masked tokens for labels (B, S), rows for labels (B,); a label of -100 does not count.

    Examples
    --------
    >>> count_labels({"labels": torch.tensor([[-100, 7], [-100, -100]])})
    {'labels': 1}
    """
    return {key: int((batch[key] != IGNORE).sum()) for key in LABEL_KEYS if key in batch}


def compute_mlm_loss(model, batch, counts=None):
    """Mean cross-entropy of the masked tokens (Devlin et al. 2019, section 3.1 task 1).

    Parameters
    ----------
    model : callable
        `model(input_ids, attention_mask, token_type_ids, positions)` -> (N, V) logits.
    batch : dict of Tensor
        `input_ids`, `attention_mask`, `token_type_ids` and `labels` (B, S), -100 where no token
        is to be predicted.
    counts : dict, optional
        What to divide by, from `count_labels`; default this batch's own counts.

    Returns
    -------
    Tensor ()
        In nats; 0 with zero gradient when no token is masked.
    """
    labels, positions = _masked(batch)
    logits = model(**_inputs(model, batch), positions=positions.to(_device(model)))
    return _mean_cross_entropy(logits, labels, _count(batch, counts, "labels"))


def compute_nsp_loss(model, batch, counts=None):
    """Mean cross-entropy of next-sentence prediction; `labels` (B,): 0 is next, 1 is random."""
    return compute_classification_loss(model, batch, counts)


def compute_pretraining_loss(model, batch, counts=None):
    """Sum of the MLM loss and the next-sentence loss (Devlin et al. 2019, appendix A.2).

    The batch has `labels` (B, S) for the tokens and `next_sentence_label` (B,).
    """
    labels, positions = _masked(batch)
    output = model(**_inputs(model, batch), positions=positions.to(_device(model)))
    mlm = _mean_cross_entropy(output.mlm, labels, _count(batch, counts, "labels"))
    follows = batch["next_sentence_label"]
    nsp = _mean_cross_entropy(output.next_sentence, follows,
                              _count(batch, counts, "next_sentence_label"))
    return mlm + nsp


def compute_classification_loss(model, batch, counts=None):
    """Mean cross-entropy over rows; `labels` (B,) of class numbers.

    Parameters, result and units as in `compute_mlm_loss`.
    """
    logits = model(**_inputs(model, batch))
    return _mean_cross_entropy(logits, batch["labels"], _count(batch, counts, "labels"))


def compute_mlm_loader_loss(model, loader, device=None):
    """Return the MLM loss over a whole loader, each masked token counted once (float, nats).

    The model is moved to `device` if one is given, runs without dropout, and comes back in the
    mode it was in.
    """
    return mean_loss(compute_mlm_loss, model, loader, device)


def mean_loss(loss, model, loader, device=None):
    """Return `loss` averaged over all labels of a loader, not over its batches (float, nats).

    `loss` is one of the functions above with a single kind of label.
    """
    if device is not None:
        model.to(device)
    training = model.training
    model.eval()
    total, count = 0.0, 0
    try:
        with torch.inference_mode():
            for batch in loader:
                labels = count_labels(batch)["labels"]
                total += float(loss(model, batch, {"labels": 1}))
                count += labels
    finally:
        model.train(training)
    return total / max(count, 1)


def _device(model):
    return next(model.parameters()).device


def _inputs(model, batch):
    """Return the model's three inputs; the attention mask stays where it is."""
    device = _device(model)
    return {
        "input_ids": batch["input_ids"].to(device, non_blocking=True),
        "attention_mask": batch["attention_mask"],
        "token_type_ids": batch["token_type_ids"].to(device, non_blocking=True),
    }


def _masked(batch):
    """(B, S) labels -> the labels (N,) that count and their flat positions (N,)."""
    flat = batch["labels"].flatten()
    positions = (flat != IGNORE).nonzero().flatten()
    return flat[positions], positions


def _count(batch, counts, key):
    return max((count_labels(batch) if counts is None else counts)[key], 1)


def _mean_cross_entropy(logits, labels, count):
    """(N, C) logits, (N,) labels -> (); the sum of -log softmax at the labels, over `count`.

    Taken in float32: the logarithm of a bfloat16 sum is off in the second digit.
    """
    labels = labels.to(logits.device, non_blocking=True)
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum") / count
