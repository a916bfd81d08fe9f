"""The heads BERT is pre-trained with: each takes hidden states and returns logits."""

import torch
from torch import nn

from bert_kit.model.layers import LayerNorm, activation, init_weights
from bert_kit.model.fast.linear import Linear, linear


class Pooler(nn.Module):
    """tanh of a linear map of the [CLS] vector (Devlin et al. 2019's code, `pooler`).

    Only next-sentence prediction trains it; after MLM alone it is as it was initialised.
    """

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        init_weights(self, config)

    def forward(self, hidden):
        """(B, S, D) -> (B, D)."""
        first = hidden[:, 0]  # (B, S, D) -> (B, D)
        return torch.tanh(self.dense(first))


class MaskedLMHead(nn.Module):
    """Scores of every vocabulary entry (Devlin et al. 2019, section 3.1 task 1).

    dense, activation and LayerNorm, then the product with the word embeddings, which are handed
    in: the decoder has no weight of its own, only a bias.
    """

    def __init__(self, config):
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, config.fused)
        self.activation = activation(config)
        self.norm = LayerNorm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.fused = config.fused
        init_weights(self, config)

    def forward(self, hidden, word_embeddings):
        """(…, D), (V, D) -> (…, V)."""
        transformed = self.norm(self.activation(self.dense(hidden)))
        return linear(transformed, word_embeddings, self.bias, self.fused)  # (…, D) -> (…, V)


class NextSentenceHead(nn.Module):
    """Does sentence B follow A? Logit 0: it does, logit 1: B is random (section 3.1 task 2)."""

    def __init__(self, config):
        super().__init__()
        self.output = nn.Linear(config.hidden_size, 2)
        init_weights(self, config)

    def forward(self, pooled):
        """(B, D) -> (B, 2)."""
        return self.output(pooled)
