"""Losses for unequal classes and for sets of labels: weights, softer labels, more weight on what
is hard; and the numbers that a classifier for such labels starts with.

See `losses` for what a loss is given and what it is divided by.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.checks import number, share
from bert_kit.errors import DataError, TrainingError
from bert_kit.modes import IGNORE, to_device
from bert_kit.training.losses import (Batch, Counts, Loss, checked_labels, class_labels,
                                      compute_tagging_loss, label_count, mean_over_rows,
                                      model_inputs)

Numbers = Sequence[float] | Tensor
LabelTable = Sequence[Iterable[float]] | np.ndarray | Tensor  # (N, C) of 0 and 1


def classification_loss(class_weights: Numbers | None = None, label_smoothing: float = 0.0,
                        focal_gamma: float = 0.0) -> Loss:
    """Return a cross-entropy over classes, for unequal classes, rows or trust in the labels.

    A row with logits z, p = softmax(z) and label y has the loss

        s * w_y * (1 - p_y)^gamma * -sum over c of q_c * log p_c

    with the smoothed target q_c = (1 - e) [c = y] + e / C (Szegedy et al. 2016, section 7), the
    weight w_y of its class, the focal factor (Lin et al. 2017, eq. 4), which turns from rows that
    are already right to hard ones, and the row's own weight s, which is `sample_weights` (B,) of
    the batch if it has one. Weights are of rows, so the best p of a row does not depend on them.
    (torch's `cross_entropy` has w_c inside the sum. With balanced weights the e / C of a rare class
    then outweighs the label of one that is more than C (1 - e) / e + 1 times as frequent.) The
    batch's loss is the sum over its rows divided by the *number of rows*
    with a label. torch's `cross_entropy` divides by the sum of w_y instead, which depends on the
    labels that happen to meet in a batch; balanced weights make both the same over all rows.

    Parameters
    ----------
    class_weights
        w (C,); default 1 for every class. See `balanced_class_weights`.
    label_smoothing
        e, from 0 to 1.
    focal_gamma
        gamma from 0, which leaves the factor out; the paper's is 2.

    Returns
    -------
    `loss(model, batch, counts=None)`, as `compute_classification_loss`.

    Raises
    ------
    TrainingError
        For an option out of range. The loss raises DataError for a label, or a number of class
        weights or row weights, that does not fit.
    """
    share("label_smoothing", label_smoothing, error=TrainingError)
    number("focal_gamma", focal_gamma, 0, error=TrainingError)
    weight = _checked_weight("class_weights", "class", class_weights)

    def loss(model: nn.Module, batch: Batch, counts: Counts | None = None) -> Tensor:
        logits = model(**model_inputs(model, batch)).float()  # (B, C)
        labels = class_labels(batch, logits)
        rows = _weighted_cross_entropy(logits, labels, weight, label_smoothing)
        if focal_gamma:
            rows = rows * _focal_factor(logits, labels, focal_gamma)
        return mean_over_rows(rows, batch, counts)

    return loss


def tagging_loss(class_weights: Numbers | None = None, label_smoothing: float = 0.0) -> Loss:
    """Return the loss of tokens with tags, for unequal tags or trust in them.

    That of `classification_loss` for each tagged token, over the number of these; with neither
    weights nor smoothing it is `compute_tagging_loss`.
    """
    share("label_smoothing", label_smoothing, error=TrainingError)
    weight = _checked_weight("class_weights", "class", class_weights)
    if weight is None and not label_smoothing:
        return compute_tagging_loss

    def loss(model: nn.Module, batch: Batch, counts: Counts | None = None) -> Tensor:
        logits = model(**model_inputs(model, batch)).float().flatten(0, 1)  # (B, S, C) -> (BS, C)
        labels = checked_labels(batch["labels"].flatten(), logits)
        rows = _weighted_cross_entropy(logits, labels, weight, label_smoothing)
        return rows.sum() / label_count(batch, counts, "labels")

    return loss


def _weighted_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None,
                            label_smoothing: float) -> Tensor:
    """(N, C) logits, (N,) labels -> (N,): w_y * -sum over c of q_c * log p_c; 0 at -100."""
    weight = _fitting(weight, logits, "class_weights", "classes")
    rows = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none",
                           label_smoothing=label_smoothing)
    return rows if weight is None else rows * weight[labels.clamp(min=0)]


def balanced_class_weights(labels: Sequence[int] | np.ndarray | Tensor,
                           num_classes: int) -> Tensor:
    """Return the weights (C,) that let every class count the same: N / (K * n_c).

    N rows, n_c of them of class c, of the K classes that have a row; rows labelled -100 do not
    count. A class without a row has the weight 1, which nothing is multiplied by.

    Raises
    ------
    DataError
        If a label is no class.

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
    present = counts > 0
    weights = labels.numel() / (present.sum() * counts.clamp(min=1).float())
    return torch.where(present, weights, 1.0)


def _focal_factor(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """(B, C) logits, (B,) labels -> (B,): (1 - p_y)^gamma."""
    log_p = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[:, None])[:, 0]
    return _power(torch.expm1(log_p).neg(), gamma)  # 1 - p without cancellation


def multi_label_loss(pos_weight: Numbers | None = None, gamma_positive: float = 0.0,
                     gamma_negative: float = 0.0, margin: float = 0.0) -> Loss:
    """Return a loss of independent labels: binary cross-entropy, focal or asymmetric.

    A logit z with p = sigmoid(z) and the label y, 0 or 1, has the loss

        -w * y * (1 - p)^g+ * log p  -  (1 - y) * q^g- * log(1 - q),    q = max(p - m, 0)

    (Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", equations 4 to 7). What
    the options make of it:

    - none: binary cross-entropy, ln 2 = .69 where p is .5;
    - `gamma_positive` = `gamma_negative`: the focal loss (Lin et al. 2017, equation 4), which
      turns from labels that are already right to hard ones; the paper's gamma is 2;
    - 0, 4 and .05: the asymmetric loss as its paper sets it, which forgets easy absent labels,
      those below m altogether. Its probabilities are too high: choose thresholds, or calibrate.

    The loss of a row is the *mean over its C labels*, times its `sample_weights` if the batch has
    them; that of a batch the mean over rows. The batch's `labels` are (B, C) floats.

    Parameters
    ----------
    pos_weight
        w (C,), the weight of a label where it holds; default 1. See `positive_weights`.
    gamma_positive, gamma_negative
        g+ and g-, from 0.
    margin
        m, from 0 and below 1.

    Returns
    -------
    `loss(model, batch, counts=None)`, as `compute_classification_loss`.

    Raises
    ------
    TrainingError
        For an option out of range. The loss raises DataError for labels or a number of weights
        that do not fit.
    """
    number("gamma_positive", gamma_positive, 0, error=TrainingError)
    number("gamma_negative", gamma_negative, 0, error=TrainingError)
    share("margin", margin, below=True, error=TrainingError)
    weight = _checked_weight("pos_weight", "label", pos_weight)

    def loss(model: nn.Module, batch: Batch, counts: Counts | None = None) -> Tensor:
        logits = model(**model_inputs(model, batch)).float()  # (B, C)
        labels = _label_sets(batch, logits)
        present, absent = _cell_losses(logits, gamma_positive, gamma_negative, margin)
        weights = _fitting(weight, logits, "pos_weight", "labels")
        if weights is not None:
            present = present * weights
        cells = labels * present + (1 - labels) * absent
        return mean_over_rows(cells.mean(-1), batch, counts)  # (B, C) -> (B,) -> ()

    return loss


def _checked_weight(name: str, what: str, values: Numbers | None) -> Tensor | None:
    if values is None:
        return None
    weight = torch.as_tensor(values).float().cpu()
    if weight.ndim != 1 or not ((weight >= 0) & weight.isfinite()).all():
        raise TrainingError(f"{name} must be one number from 0 for each {what}")
    return weight


def _fitting(weight: Tensor | None, logits: Tensor, name: str, what: str) -> Tensor | None:
    """Return the weights (C,), if any, on the device of the logits (B, C)."""
    if weight is None:
        return None
    if len(weight) != logits.shape[-1]:
        raise DataError(f"{name} has {len(weight)} numbers; the model has {logits.shape[-1]} "
                        f"{what}")
    return weight.to(logits.device)


def _cell_losses(logits: Tensor, gamma_positive: float, gamma_negative: float,
                 margin: float) -> tuple[Tensor, Tensor]:
    """(B, C) -> (B, C), (B, C): the losses of each label where it holds and where it does not."""
    present, absent = -F.logsigmoid(logits), -F.logsigmoid(-logits)  # -log p, -log(1 - p)
    probability = logits.sigmoid()
    if margin:
        absent = -(1 - probability + margin).clamp(max=1).log()
    if gamma_positive:
        present = present * _power((-logits).sigmoid(), gamma_positive)
    if gamma_negative:
        absent = absent * _power(probability - margin, gamma_negative)
    return present, absent


def _power(values: Tensor, gamma: float) -> Tensor:
    """values^gamma, kept above 0, where a gamma below 1 has no gradient."""
    return values.clamp(min=torch.finfo(values.dtype).eps)**gamma


def _label_sets(batch: Batch, logits: Tensor) -> Tensor:
    """Return `labels` (B, C) on the device of the logits (B, C), checked where they are cheap."""
    labels = batch["labels"]
    if labels.shape != logits.shape or not labels.is_floating_point():
        raise DataError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected "
                        f"float32 of the logits' shape {tuple(logits.shape)}, 1 where a label "
                        "holds")
    if labels.device.type == "cpu" and not ((labels >= 0) & (labels <= 1)).all():
        raise DataError("labels hold a number outside 0 to 1; expected 1 where a label holds and "
                        "0 elsewhere")
    return to_device(labels, logits.device)


def positive_weights(labels: LabelTable) -> Tensor:
    """Return the weights (C,) that let the rows with a label count as much as those without it.

    (N - n_c) / n_c for a label that n_c of the N rows have, from labels (N, C) of 0 and 1; N
    where no row has it. The weights of rare labels are large, which costs precision:
    `positive_weights(labels).clamp(max=10)` limits them.

    Examples
    --------
    >>> positive_weights([[1, 0], [0, 0], [0, 1], [0, 1]])
    tensor([3., 1.])
    """
    rows, counts = _label_counts(labels)
    return (rows - counts) / counts.clamp(min=1)


def prior_logits(labels: LabelTable) -> Tensor:
    """Return the logits (C,) whose probabilities are the shares of labels (N, C) of 0 and 1.

    log((n_c + 1) / (N - n_c + 1)): one row more with and without the label keeps them finite. A
    model that starts there (Lin et al. 2017, section 4.1) need not spend its first hundreds of
    steps on learning that most labels are absent; see `set_output_bias`.

    Examples
    --------
    >>> prior_logits([[1, 0], [0, 0], [1, 1], [1, 0]]).sigmoid()  # (3 + 1) / 6 and (1 + 1) / 6
    tensor([0.6667, 0.3333])
    """
    rows, counts = _label_counts(labels)
    return ((counts + 1) / (rows - counts + 1)).log()


def _label_counts(labels: LabelTable) -> tuple[int, Tensor]:
    """Return the number of rows and how many of them have each label, as floats."""
    table = labels if isinstance(labels, Tensor) else torch.tensor(labels)
    if table.ndim != 2 or not len(table) or not ((table == 0) | (table == 1)).all():
        raise DataError(f"labels of shape {tuple(table.shape)}; expected 0 and 1 of shape "
                        "(rows, labels)")
    return len(table), table.float().sum(0)


@torch.no_grad()
def set_output_bias(model: nn.Module, values: Numbers | np.ndarray) -> None:
    """Let a new classifier start with these biases (C,) of its last linear layer.

    The logits' priors for labels (`prior_logits`), the mean of the training labels for regression.

    Raises
    ------
    TrainingError
        If the head ends with no linear layer of C biases.
    """
    values = torch.as_tensor(values).float()
    layers = [layer for layer in model.get_submodule("classifier").modules()
              if isinstance(layer, nn.Linear)]
    if not layers or layers[-1].bias is None or layers[-1].bias.shape != values.shape:
        raise TrainingError(f"the classifier does not end with a linear layer of {len(values)} "
                            "biases; expected one")
    layers[-1].bias.copy_(values)
