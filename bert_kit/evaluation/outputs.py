"""What a model says of the batches of a loader, without gradients and without dropout."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bert_kit.errors import DataError
from bert_kit.modes import evaluation_mode, to_device

Batches = Iterable[Mapping[str, Tensor]]


def batch_logits(model: nn.Module, batch: Mapping[str, Tensor], device: torch.device | str
                 ) -> Tensor:
    """Return the logits of a batch, float32 on the device; mask and segments may be missing."""
    ids, segments = (None if (tensor := batch.get(key)) is None
                     else to_device(tensor, device)
                     for key in ("input_ids", "token_type_ids"))
    # The mask stays: on the CPU the real tokens are found without a wait.
    return model(ids, batch.get("attention_mask"), segments).float()


def predict_logits(model: nn.Module, loader: Batches, device: torch.device | str
                   ) -> tuple[Tensor, Tensor]:
    """Run a model over a loader; return logits (N, C), float32 on the CPU, and labels (N,).

    Parameters
    ----------
    model
        Called with input_ids, attention_mask and token_type_ids (B, S). It is moved to `device`
        and switched to evaluation, and every part is set back to its mode afterwards.
    loader
        Batches with `labels`; attention_mask and token_type_ids may be missing.

    Raises
    ------
    DataError
        If the loader is empty or a batch has no labels.
    """
    logits, labels = [], []
    with evaluation_mode(model, device):
        for batch in loader:
            if "labels" not in batch:
                raise DataError(f"a batch holds {', '.join(batch)}; expected labels too")
            logits.append(batch_logits(model, batch, device))
            labels.append(batch["labels"])
    if not logits:
        raise DataError("the loader gave no batch; expected at least one row to evaluate")
    # One transfer at the end: a transfer a batch would make a GPU wait for every one.
    return torch.cat(logits).cpu(), torch.cat(labels).cpu()


def predict_token_logits(model: nn.Module, loader: Batches, device: torch.device | str
                         ) -> list[np.ndarray]:
    """Run a model that says something of every token over a loader.

    Parameters
    ----------
    model
        Gives logits (B, S, C), as BERTForTokenClassification or, with C = 2,
        BERTForQuestionAnswering.
    loader
        Batches with `attention_mask`, the real tokens of a row first. No labels are needed.

    Returns
    -------
    list of array (S, C)
        One a row, in the order of the loader: float32, the real tokens only.

    Raises
    ------
    DataError
        If the loader is empty or a batch has no attention_mask.
    """
    rows = []
    with evaluation_mode(model, device):
        for batch in loader:
            if "attention_mask" not in batch:
                raise DataError(f"a batch holds {', '.join(batch)}; expected attention_mask too")
            logits = batch_logits(model, batch, device).cpu().numpy()
            lengths = batch["attention_mask"].sum(1).tolist()
            rows.extend(row[:length].copy() for row, length in zip(logits, lengths, strict=True))
    if not rows:
        raise DataError("the loader gave no row; expected at least one to evaluate")
    return rows
