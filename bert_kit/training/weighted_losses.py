"""Cross-entropy for unequal classes: class weights, softer labels, and more weight on hard rows.

See `losses` for what a loss is given and what it is divided by.
"""

import math

import torch
from torch.nn import functional as F

from bert_kit.errors import DataError, TrainingError
from bert_kit.training.losses import IGNORE, class_labels, mean_over_rows, model_inputs


def classification_loss(class_weights=None, label_smoothing=0.0, focal_gamma=0.0):
    """Return a cross-entropy over classes, for unequal classes, rows or trust in the labels.

    A row with logits z, p = softmax(z) and label y has the loss

        s * (1 - p_y)^gamma * -sum over c of w_c * q_c * log p_c

    with the smoothed target q_c = (1 - e) [c = y] + e / C (Szegedy et al. 2016, section 7), the
    class weights w, the focal factor (Lin et al. 2017, eq. 4), which turns from rows that are
    already right to hard ones, and the row's own weight s, which is `sample_weights` (B,) of the
    batch if it has one. The batch's loss is the sum over its rows divided by the *number of rows*
    with a label. torch's `cross_entropy` divides by the sum of w_y instead, which depends on the
    labels that happen to meet in a batch; balanced weights make both the same over all rows.

    Parameters
    ----------
    class_weights : sequence or Tensor (C,), optional
        w; default 1 for every class. See `balanced_class_weights`.
    label_smoothing : float
        e, from 0 to 1.
    focal_gamma : float
        gamma from 0, which leaves the factor out; the paper's is 2.

    Returns
    -------
    callable
        `loss(model, batch, counts=None)`, as `compute_classification_loss`.

    Raises
    ------
    TrainingError
        For an option out of range. The loss raises DataError for a label, or a number of class
        weights or row weights, that does not fit.
    """
    if not 0 <= label_smoothing <= 1:
        raise TrainingError(f"label_smoothing is {label_smoothing}; expected a number from 0 to 1")
    if not 0 <= focal_gamma < math.inf:
        raise TrainingError(f"focal_gamma is {focal_gamma}; expected a number from 0")
    weight = None if class_weights is None else torch.as_tensor(class_weights).float().cpu()
    if weight is not None and not (weight.ndim == 1 and (weight >= 0).all()
                                   and weight.isfinite().all()):
        raise TrainingError("class_weights must be one number from 0 for each class")

    def loss(model, batch, counts=None):
        logits = model(**model_inputs(model, batch)).float()  # (B, C)
        labels = class_labels(batch, logits)
        if weight is not None and len(weight) != logits.shape[-1]:
            raise DataError(f"class_weights has {len(weight)} numbers; the model has "
                            f"{logits.shape[-1]} classes")
        rows = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none",
                               label_smoothing=label_smoothing,
                               weight=None if weight is None else weight.to(logits.device))
        if focal_gamma:
            rows = rows * _focal_factor(logits, labels, focal_gamma)
        return mean_over_rows(rows, batch, counts)

    return loss


def balanced_class_weights(labels, num_classes):
    """Return the weights (C,) that let every class count the same: N / (C * n_c).

    N rows, n_c of them of class c; rows labelled -100 do not count.

    Raises
    ------
    DataError
        If a class has no row, or a label is no class.

    Examples
    --------
    >>> balanced_class_weights([0, 0, 0, 1], 2)
    tensor([0.6667, 2.0000])
    """
    labels = torch.as_tensor(labels)
    labels = labels[labels != IGNORE]
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise DataError(f"labels run from {int(labels.min())} to {int(labels.max())}; expected "
                        f"0 to {num_classes - 1}")
    counts = torch.bincount(labels.long(), minlength=num_classes)
    if (counts == 0).any():
        raise DataError(f"class {int(counts.argmin())} has no row; a balanced weight needs one")
    return labels.numel() / (num_classes * counts.float())


def _focal_factor(logits, labels, gamma):
    """(B, C) logits, (B,) labels -> (B,): (1 - p_y)^gamma."""
    log_p = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[:, None])[:, 0]
    # 1 - p without cancellation, and kept above 0, where a gamma below 1 has no gradient.
    return torch.expm1(log_p).neg().clamp(min=torch.finfo(log_p.dtype).eps)**gamma
