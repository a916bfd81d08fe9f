"""The encoder with a head: one class for each task. All return logits; losses live elsewhere."""

from typing import NamedTuple

import torch
from torch import nn

from bert_kit.errors import DataError
from bert_kit.model.classifiers import make_classifier
from bert_kit.model.encoder import BERTModel
from bert_kit.model.head_parts import head_dropout
from bert_kit.model.heads import MaskedLMHead, NextSentenceHead
from bert_kit.model.layers import init_weights


class PreTrainingOutput(NamedTuple):
    """Logits of the joint pre-training task: mlm (B, S, V) or (M, V), next_sentence (B, 2)."""

    mlm: torch.Tensor
    next_sentence: torch.Tensor


class BERTForMaskedLM(nn.Module):
    """Predict the masked tokens (Devlin et al. 2019, section 3.1 task 1)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BERTModel(config, pooler=False)
        self.mlm_head = MaskedLMHead(config)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, positions=None):
        """(B, S) -> (B, S, V), or (M, V) at the M flat `positions`.

        Parameters
        ----------
        input_ids, attention_mask, token_type_ids : Tensor (B, S)
            See `BERTModel.forward`.
        positions : Tensor (M,), optional
            Places in the flattened batch, b * S + s. The vocabulary product is most of the work
            of this task and only masked tokens have a loss, so training asks for those alone.
        """
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        hidden = _select(encoded.last_hidden_state, positions)
        return self.mlm_head(hidden, self.bert.embeddings.word.weight)


class BERTForNextSentencePrediction(nn.Module):
    """Tell whether the second sentence follows the first (section 3.1 task 2)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BERTModel(config)
        self.nsp_head = NextSentenceHead(config)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """(B, S) -> (B, 2); logit 0 says that it follows."""
        return self.nsp_head(self.bert(input_ids, attention_mask, token_type_ids).pooler_output)


class BERTForPreTraining(nn.Module):
    """Both pre-training tasks on one encoder, as BERT was published."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BERTModel(config)
        self.mlm_head = MaskedLMHead(config)
        self.nsp_head = NextSentenceHead(config)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, positions=None):
        """(B, S) -> PreTrainingOutput; `positions` as in `BERTForMaskedLM.forward`."""
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        hidden = _select(encoded.last_hidden_state, positions)
        return PreTrainingOutput(
            mlm=self.mlm_head(hidden, self.bert.embeddings.word.weight),
            next_sentence=self.nsp_head(encoded.pooler_output))


class BERTForSequenceClassification(nn.Module):
    """Give a whole text one of C classes (Devlin et al. 2019, section 4.1).

    Parameters
    ----------
    config : BertConfig
    num_labels : int, optional
        Number of classes C; default the configuration's.
    classifier : callable, optional
        Builds the head: `classifier(config)` returns a module that maps the encoder's output and
        the boolean mask to (B, C) logits. Its attribute `uses_pooler`, True if it has none, says
        whether the encoder keeps its pooler; `needs_hidden_states`, False if it has none, whether
        it is given the output of every layer. Default the head of `config.classifier`.
    """

    def __init__(self, config, num_labels=None, classifier=None):
        super().__init__()
        self.config = config.replace(num_labels=num_labels)
        self.bert = BERTModel(self.config)
        self.classifier = (make_classifier if classifier is None else classifier)(self.config)
        if not getattr(self.classifier, "uses_pooler", True):
            # Made all the same: so a seed draws one encoder, whatever the head.
            self.bert.pooler = None

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """(B, S) -> (B, C)."""
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids,
            output_hidden_states=getattr(self.classifier, "needs_hidden_states", False))
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.classifier(encoded, mask.to(input_ids.device, non_blocking=True).bool())


class BERTForTokenClassification(nn.Module):
    """Give every token one of C tags (Devlin et al. 2019, section 5.3, figure 4d).

    Parameters
    ----------
    config : BertConfig
    num_labels : int, optional
        Number of tags C; default the configuration's.
    """

    def __init__(self, config, num_labels=None):
        super().__init__()
        self.config = config.replace(num_labels=num_labels)
        self.bert = BERTModel(self.config, pooler=False)
        self.dropout = head_dropout(self.config)
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)
        init_weights(self.classifier, self.config)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """(B, S) -> (B, S, C); what stands at padding means nothing."""
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self.dropout(encoded.last_hidden_state))  # (B, S, D) -> (B, S, C)


class BERTForQuestionAnswering(nn.Module):
    """Find where in a text the answer starts and where it ends (section 4.2, figure 4c)."""

    def __init__(self, config):
        super().__init__()
        self.config = config.replace(num_labels=2)  # the reference sizes the head by it
        self.bert = BERTModel(self.config, pooler=False)
        self.span_head = nn.Linear(self.config.hidden_size, 2)
        init_weights(self.span_head, self.config)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """(B, S) -> (B, S, 2): is the token the first of the answer, is it the last?

        Each is a choice among the tokens of a row. At padding both have the lowest number there
        is, so that padding takes no share of the probability.
        """
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        logits = self.span_head(encoded.last_hidden_state)  # (B, S, D) -> (B, S, 2)
        if attention_mask is None:
            return logits
        padding = ~attention_mask.to(logits.device, non_blocking=True).bool()
        return logits.masked_fill(padding[..., None], torch.finfo(logits.dtype).min)


def _select(hidden, positions):
    """(B, S, D) -> itself, or (M, D) at flat positions."""
    if positions is None:
        return hidden
    if positions.ndim != 1 or positions.is_floating_point():
        raise DataError(f"positions has shape {tuple(positions.shape)}; expected (M,) places in "
                        "the flattened batch")
    return hidden.flatten(0, 1)[positions]
