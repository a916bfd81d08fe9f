"""How well a model fills in masked tokens."""

import math

import torch
from torch.nn import functional as F

from bert_kit.training import ALONE


def masked_scores(model, loader, processes=ALONE):
    """Return how well a model fills in the masked tokens of a loader.

    Parameters
    ----------
    model : BERTForMaskedLM or BERTForPreTraining
    loader : iterable of dict
    processes : Processes
        Those that share the batches; all are given the result.

    Returns
    -------
    dict
        `loss` (nats) and `perplexity` = exp(loss), a mean over all masked tokens; `accuracy`, the
        share of them that the model finds first; and, with labels for that,
        `next_sentence_accuracy`.
    """
    training = model.training
    model.eval()
    with torch.inference_mode():
        parts = processes.share_out(loader, lambda batches: [
            _count_right(model, batch) for batch in batches])
    model.train(training)
    loss, tokens, found, pairs, right = map(sum, zip(*parts))
    scores = {"loss": loss / tokens, "perplexity": perplexity(loss / tokens),
              "accuracy": found / tokens}
    return scores | ({"next_sentence_accuracy": right / pairs} if pairs else {})


def _count_right(model, batch):
    """Return sums of a batch: loss, masked tokens, those found, pairs, those told right."""
    device = next(model.parameters()).device
    labels = batch["labels"].flatten()  # (B, S) -> (B * S,)
    places = (labels >= 0).nonzero().flatten()  # -> (M,)
    output = model(batch["input_ids"].to(device), batch["attention_mask"],
                   batch["token_type_ids"].to(device), positions=places.to(device))
    logits, labels = getattr(output, "mlm", output).float(), labels[places].to(device)  # (M, V)
    loss = F.cross_entropy(logits, labels, reduction="sum").item()
    found = (logits.argmax(-1) == labels).sum().item()
    if "next_sentence_label" not in batch:
        return loss, len(labels), found, 0, 0
    answers = batch["next_sentence_label"]
    right = (output.next_sentence.argmax(-1).cpu() == answers).sum().item()
    return loss, len(labels), found, len(answers), right


def perplexity(loss):
    """Return exp(loss): among how many equally likely pieces the model is left to guess.

    Examples
    --------
    >>> perplexity(0.0), round(perplexity(math.log(8000)))
    (1.0, 8000)
    """
    return math.exp(min(loss, 700))  # beyond that a float cannot hold it, nor a reader care
