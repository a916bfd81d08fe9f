"""What a model says of the batches of a loader, without gradients and without dropout."""

from bert_kit.errors import DataError
from bert_kit.modes import evaluation_mode


def batch_logits(model, batch, device):
    """Return the logits of a batch, float32 on the device; mask and segments may be missing."""
    ids, segments = (None if batch.get(key) is None else batch[key].to(device, non_blocking=True)
                     for key in ("input_ids", "token_type_ids"))
    # The mask stays: on the CPU the real tokens are found without a wait.
    return model(ids, batch.get("attention_mask"), segments).float()


def predict_token_logits(model, loader, device):
    """Run a model that says something of every token over a loader.

    Parameters
    ----------
    model : torch.nn.Module
        Gives logits (B, S, C), as BERTForTokenClassification or, with C = 2,
        BERTForQuestionAnswering.
    loader : iterable of dict
        Batches with `attention_mask`, the real tokens of a row first. No labels are needed.
    device : torch.device or str

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
            rows.extend(row[:length].copy() for row, length in zip(logits, lengths))
    if not rows:
        raise DataError("the loader gave no row; expected at least one to evaluate")
    return rows
