"""The heads BERT is pre-trained with: each takes hidden states and returns logits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.model.fast.linear import fast_linear
from bert_kit.model.layers import LayerNorm, activation, init_weights, linear


class Pooler(nn.Module):
    """tanh of a linear map of the [CLS] vector (Devlin et al. 2019's code, `pooler`).

    Only next-sentence prediction trains it; after MLM alone it is as it was initialised.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        init_weights(self, config)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, S, D) -> (B, D)."""
        first = hidden[:, 0]  # (B, S, D) -> (B, D)
        return torch.tanh(self.dense(first))


class MaskedLMHead(nn.Module):
    """Scores of every vocabulary entry (Devlin et al. 2019, section 3.1 task 1).

    dense, activation and LayerNorm, then the product with the word embeddings, which are handed
    in: the decoder has no weight of its own, only a bias.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = linear(config, config.hidden_size, config.hidden_size)
        self.activation = activation(config)
        self.norm = LayerNorm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.fused = config.fused
        init_weights(self, config)

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        """(…, D), (V, D) -> (…, V)."""
        transformed = self.norm(self.activation(self.dense(hidden)))
        if self.fused:
            return fast_linear(transformed, word_embeddings, self.bias)
        return F.linear(transformed, word_embeddings, self.bias)  # (…, D) -> (…, V)


class NextSentenceHead(nn.Module):
    """Does sentence B follow A? Logit 0: it does, logit 1: B is random (section 3.1 task 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.output = nn.Linear(config.hidden_size, 2)
        init_weights(self, config)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) -> (B, 2)."""
        return self.output(pooled)
