"""The encoder with a head: one class for each task. All return logits; losses live elsewhere."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.errors import DataError
from bert_kit.model.classifiers.classifiers import make_classifier
from bert_kit.model.classifiers.head_parts import head_dropout
from bert_kit.model.classifiers.pooling import POOLINGS
from bert_kit.model.encoder import BERTModel
from bert_kit.model.fast.cross_entropy import fast_cross_entropy
from bert_kit.model.heads import MaskedLMHead, NextSentenceHead
from bert_kit.model.layers import init_weights
from bert_kit.modes import IGNORE, to_device


class PreTrainingOutput(NamedTuple):
    """Logits of the joint pre-training task: mlm (B, S, V) or (M, V), next_sentence (B, 2)."""

    mlm: Tensor
    next_sentence: Tensor


class TaskModel(nn.Module):
    """What all task models have: an encoder, and the sum that their losses are made of.

    Parameters
    ----------
    config
        Sizes and rates.
    pooler
        Whether the encoder has a pooler.
    """

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        super().__init__()
        self.config = config
        self.bert = BERTModel(config, pooler)

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(M, C), (M,) -> (): the sum of -log softmax at the labels; -100 has none.

        In float32: the logarithm of a bfloat16 sum is off in the second digit.
        """
        if self.config.fused:
            return fast_cross_entropy(logits, labels)
        return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")


class BERTForMaskedLM(TaskModel):
    """Predict the masked tokens (Devlin et al. 2019, section 3.1 task 1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, pooler=False)
        self.mlm_head = MaskedLMHead(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None,
                positions: Tensor | None = None) -> Tensor:
        """(B, S) -> (B, S, V), or (M, V) at the M flat `positions`.

        Parameters
        ----------
        input_ids, attention_mask, token_type_ids
            (B, S); see `BERTModel.forward`.
        positions
            (M,) places in the flattened batch, b * S + s. The vocabulary product is most of the
            work of this task and only masked tokens have a loss, so training asks for those alone.
        """
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        hidden = _select(encoded.last_hidden_state, positions)
        return self.mlm_head(hidden, self.bert.embeddings.word.weight)


class BERTForNextSentencePrediction(TaskModel):
    """Tell whether the second sentence follows the first (section 3.1 task 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.nsp_head = NextSentenceHead(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None) -> Tensor:
        """(B, S) -> (B, 2); logit 0 says that it follows."""
        return self.nsp_head(self.bert(input_ids, attention_mask, token_type_ids).pooler_output)


class BERTForPreTraining(TaskModel):
    """Both pre-training tasks on one encoder, as BERT was published."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.mlm_head = MaskedLMHead(config)
        self.nsp_head = NextSentenceHead(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None,
                positions: Tensor | None = None) -> PreTrainingOutput:
        """(B, S) -> PreTrainingOutput; `positions` as in `BERTForMaskedLM.forward`."""
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        hidden = _select(encoded.last_hidden_state, positions)
        return PreTrainingOutput(
            mlm=self.mlm_head(hidden, self.bert.embeddings.word.weight),
            next_sentence=self.nsp_head(encoded.pooler_output))


class BERTForSequenceClassification(TaskModel):
    """Give a whole text one of C classes (Devlin et al. 2019, section 4.1).

    Parameters
    ----------
    num_labels
        Number of classes C; default the configuration's.
    classifier
        Builds the head: `classifier(config)` returns a module that maps the encoder's output and
        the boolean mask to (B, C) logits. Its attribute `uses_pooler`, True if it has none, says
        whether the encoder keeps its pooler; `needs_hidden_states`, False if it has none, whether
        it is given the output of every layer. Default the head of `config.classifier`.
    """

    def __init__(self, config: BertConfig, num_labels: int | None = None,
                 classifier: Callable[[BertConfig], nn.Module] | None = None) -> None:
        super().__init__(config.replace(num_labels=num_labels))
        self.classifier = (make_classifier if classifier is None else classifier)(self.config)
        if not getattr(self.classifier, "uses_pooler", True):
            # Made all the same: so a seed draws one encoder, whatever the head.
            self.bert.pooler = None

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None) -> Tensor:
        """(B, S) -> (B, C); or (B, K, S), up to K windows of each text -> (B, C).

        A window without a real token does not exist. The logits of those that do are pooled as
        `config.window_pooling` says.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if input_ids.ndim == 3:
            return self._pool_windows(input_ids, mask, token_type_ids)
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids,
            output_hidden_states=getattr(self.classifier, "needs_hidden_states", False))
        return self.classifier(encoded, to_device(mask, input_ids.device).bool())

    def _pool_windows(self, input_ids: Tensor, mask: Tensor, token_type_ids: Tensor | None
                      ) -> Tensor:
        """(B, K, S) -> (B, C); only windows that exist go through the encoder."""
        exists = mask.any(-1)  # (B, K, S) -> (B, K)
        places = exists.flatten().nonzero().flatten()  # of the R windows that exist
        rows = [None if x is None else x.flatten(0, 1)[places.to(x.device)]  # -> (R, S)
                for x in (input_ids, mask, token_type_ids)]
        logits = self(*rows)  # (R, S) -> (R, C)
        grid = logits.new_zeros(exists.numel(), logits.shape[-1])
        grid = grid.index_copy(0, places.to(logits.device), logits)  # (R, C) -> (B K, C)
        return POOLINGS[self.config.window_pooling](
            grid.unflatten(0, exists.shape), exists.to(logits.device))  # (B, K, C) -> (B, C)


class BERTForMultiLabel(BERTForSequenceClassification):
    """Give a text any number of C labels: the sigmoid of a logit is that label's probability.

    Parameters
    ----------
    config
        `labels` are the names of the labels, `classifier` the head. config.json says that this is
        a "multi_label_classification", as the Hugging Face library does.
    num_labels
        Number of labels C; default the configuration's.
    pooling
        "cls", "mean", "max" or "pooler": the vector of a text, for the head described here
        instead of the configuration's.
    hidden_size
        Width of a hidden layer between that vector and the logits; default no such layer.

    Examples
    --------
    >>> from bert_kit import BertConfig
    >>> config = BertConfig(hidden_size=12, num_attention_heads=3, num_hidden_layers=1)
    >>> model = BERTForMultiLabel(config, num_labels=5, pooling="mean", hidden_size=7)
    >>> model.classifier.mlp.hidden[0], model.classifier.mlp.scores.out_features
    (Linear(in_features=12, out_features=7, bias=True), 5)
    """

    def __init__(self, config: BertConfig, num_labels: int | None = None,
                 pooling: str | None = None, hidden_size: int | None = None) -> None:
        if pooling is not None or hidden_size is not None:
            sizes = [] if hidden_size is None else [hidden_size]
            config = config.replace(classifier={
                "type": "mlp", "pooling": pooling or "pooler", "hidden_dims": sizes})
        extra = {**config.extra, "problem_type": "multi_label_classification"}
        super().__init__(config.replace(extra=extra), num_labels)


class BERTForTokenClassification(TaskModel):
    """Give every token one of C tags (Devlin et al. 2019, section 5.3, figure 4d).

    Parameters
    ----------
    num_labels
        Number of tags C; default the configuration's.
    """

    def __init__(self, config: BertConfig, num_labels: int | None = None) -> None:
        super().__init__(config.replace(num_labels=num_labels), pooler=False)
        self.dropout = head_dropout(self.config)
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)
        init_weights(self.classifier, self.config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None) -> Tensor:
        """(B, S) -> (B, S, C); what stands at padding means nothing."""
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self.dropout(encoded.last_hidden_state))  # (B, S, D) -> (B, S, C)


class BERTForQuestionAnswering(TaskModel):
    """Find where in a text the answer starts and where it ends (section 4.2, figure 4c)."""

    def __init__(self, config: BertConfig) -> None:
        # The reference sizes the head by the number of labels.
        super().__init__(config.replace(num_labels=2), pooler=False)
        self.span_head = nn.Linear(self.config.hidden_size, 2)
        init_weights(self.span_head, self.config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None) -> Tensor:
        """(B, S) -> (B, S, 2): is the token the first of the answer, is it the last?

        Each is a choice among the tokens of a row. At padding both have the lowest number there
        is, so that padding takes no share of the probability.
        """
        encoded = self.bert(input_ids, attention_mask, token_type_ids)
        logits = self.span_head(encoded.last_hidden_state)  # (B, S, D) -> (B, S, 2)
        if attention_mask is None:
            return logits
        padding = ~to_device(attention_mask, logits.device).bool()
        return logits.masked_fill(padding[..., None], torch.finfo(logits.dtype).min)


def _select(hidden: Tensor, positions: Tensor | None) -> Tensor:
    """(B, S, D) -> itself, or (M, D) at flat positions."""
    if positions is None:
        return hidden
    if positions.ndim != 1 or positions.is_floating_point():
        raise DataError(f"positions has shape {tuple(positions.shape)}; expected (M,) places in "
                        "the flattened batch")
    return hidden.flatten(0, 1)[positions]
