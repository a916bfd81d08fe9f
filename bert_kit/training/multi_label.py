"""Losses and starting biases where a text has any number of labels.

See `losses` for what a loss is given and what it is divided by.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from bert_kit.errors import DataError, TrainingError
from bert_kit.training.losses import mean_over_rows, model_inputs


def multi_label_loss(pos_weight=None, gamma_positive=0.0, gamma_negative=0.0, margin=0.0):
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
    pos_weight : sequence or Tensor (C,), optional
        w, the weight of a label where it holds; default 1. See `positive_weights`.
    gamma_positive, gamma_negative : float
        g+ and g-, from 0.
    margin : float
        m, from 0 and below 1.

    Returns
    -------
    callable
        `loss(model, batch, counts=None)`, as `compute_classification_loss`.

    Raises
    ------
    TrainingError
        For an option out of range. The loss raises DataError for labels or a number of weights
        that do not fit.
    """
    for name, value, end in (("gamma_positive", gamma_positive, math.inf),
                             ("gamma_negative", gamma_negative, math.inf), ("margin", margin, 1)):
        if not 0 <= value < end:
            raise TrainingError(f"{name} is {value}; expected a number from 0, below {end}")
    weight = _checked_weight(pos_weight)

    def loss(model, batch, counts=None):
        logits = model(**model_inputs(model, batch)).float()  # (B, C)
        labels = _label_sets(batch, logits)
        if weight is not None and len(weight) != logits.shape[-1]:
            raise DataError(f"pos_weight has {len(weight)} numbers; the model has "
                            f"{logits.shape[-1]} labels")
        present, absent = _cell_losses(logits, gamma_positive, gamma_negative, margin)
        if weight is not None:
            present = present * weight.to(logits.device)
        cells = labels * present + (1 - labels) * absent
        return mean_over_rows(cells.mean(-1), batch, counts)  # (B, C) -> (B,) -> ()

    return loss


def _checked_weight(pos_weight):
    if pos_weight is None:
        return None
    weight = torch.as_tensor(pos_weight).float().cpu()
    if weight.ndim != 1 or not ((weight >= 0) & weight.isfinite()).all():
        raise TrainingError("pos_weight must be one number from 0 for each label")
    return weight


def _cell_losses(logits, gamma_positive, gamma_negative, margin):
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


def _power(values, gamma):
    """values^gamma, kept above 0, where a gamma below 1 has no gradient."""
    return values.clamp(min=torch.finfo(values.dtype).eps)**gamma


def _label_sets(batch, logits):
    """Return `labels` (B, C) on the device of the logits (B, C), checked where they are cheap."""
    labels = batch["labels"]
    if labels.shape != logits.shape or not labels.is_floating_point():
        raise DataError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected "
                        f"float32 of the logits' shape {tuple(logits.shape)}, 1 where a label "
                        "holds")
    if labels.device.type == "cpu" and not ((labels >= 0) & (labels <= 1)).all():
        raise DataError("labels hold a number outside 0 to 1; expected 1 where a label holds and "
                        "0 elsewhere")
    return labels.to(logits.device, non_blocking=True)


def positive_weights(labels):
    """Return the weights (C,) that let the rows with a label count as much as those without it.

    (N - n_c) / n_c for a label that n_c of the N rows have; N where no row has it. The weights of
    rare labels are large, which costs precision: `positive_weights(labels).clamp(max=10)` limits
    them.

    Parameters
    ----------
    labels : array or Tensor (N, C) of 0 and 1

    Examples
    --------
    >>> positive_weights([[1, 0], [0, 0], [0, 1], [0, 1]])
    tensor([3., 1.])
    """
    rows, counts = _label_counts(labels)
    return (rows - counts) / counts.clamp(min=1)


def prior_logits(labels):
    """Return the logits (C,) whose probabilities are the labels' shares of the rows.

    log((n_c + 1) / (N - n_c + 1)): one row more with and without the label keeps them finite. A
    model that starts there (Lin et al. 2017, section 4.1) need not spend its first hundreds of
    steps on learning that most labels are absent; see `set_output_bias`.

    Parameters
    ----------
    labels : array or Tensor (N, C) of 0 and 1

    Examples
    --------
    >>> prior_logits([[1, 0], [0, 0], [1, 1], [1, 0]]).sigmoid()  # (3 + 1) / 6 and (1 + 1) / 6
    tensor([0.6667, 0.3333])
    """
    rows, counts = _label_counts(labels)
    return ((counts + 1) / (rows - counts + 1)).log()


def _label_counts(labels):
    """Return the number of rows and how many of them have each label, as floats."""
    labels = labels if isinstance(labels, torch.Tensor) else torch.tensor(labels)
    if labels.ndim != 2 or not len(labels) or not ((labels == 0) | (labels == 1)).all():
        raise DataError(f"labels of shape {tuple(labels.shape)}; expected 0 and 1 of shape "
                        "(rows, labels)")
    return len(labels), labels.float().sum(0)


@torch.no_grad()
def set_output_bias(model, values):
    """Let a new classifier start with these biases (C,) of its last linear layer.

    The logits' priors for labels (`prior_logits`), the mean of the training labels for regression.

    Raises
    ------
    TrainingError
        If the head ends with no linear layer of C biases.
    """
    values = torch.as_tensor(values).float()
    layers = [layer for layer in model.classifier.modules() if isinstance(layer, nn.Linear)]
    if not layers or layers[-1].bias is None or layers[-1].bias.shape != values.shape:
        raise TrainingError(f"the classifier does not end with a linear layer of {len(values)} "
                            "biases; expected one")
    layers[-1].bias.copy_(values)
