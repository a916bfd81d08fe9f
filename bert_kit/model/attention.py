"""Multi-head self-attention: the only place where tokens look at one another."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bert_kit.config import BertConfig
from bert_kit.model.fast.attention import fast_attention
from bert_kit.model.fast.packing import Packing
from bert_kit.model.layers import Dropout, linear


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None,
           dropout: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention: softmax(Q K^T / sqrt(W)) V (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    query, key, value
        (…, S, W), one vector a token and head.
    mask
        Booleans that broadcast to (…, S, S), True where a key may be seen. A query that may see
        nothing gets equal weights, not NaN.
    dropout
        Applied to the weights on their way to the values.

    Returns
    -------
    context
        (…, S, W)
    weights
        (…, S, S), before dropout; each row sums to 1.

    Examples
    --------
    >>> value = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> attend(torch.zeros(2, 2), torch.zeros(2, 2), value)[0]  # no preference: the mean
    tensor([[2., 0.],
            [2., 0.]])
    """
    # Without the division the scores' variance grows with W and softmax saturates.
    query = query / math.sqrt(query.shape[-1])
    scores = query @ key.transpose(-2, -1)  # (…, S, W) x (…, W, S) -> (…, S, S)
    if mask is not None:
        # Filled, not added to: a sum could pass the smallest half-precision number and become NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    dropped = weights if dropout is None else dropout(weights)
    return dropped @ value, weights  # (…, S, S) x (…, S, W) -> (…, S, W)


class MultiHeadAttention(nn.Module):
    """Attention in H subspaces at once (Vaswani et al. 2017, section 3.2.2), over both directions.

    One linear layer makes queries, keys and values together: rows 0 to D of its weight are the
    queries', the next D the keys', the last D the values'. Files keep the three apart.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.qkv = linear(config, config.hidden_size, 3 * config.hidden_size)
        self.output = linear(config, config.hidden_size, config.hidden_size)
        self.weights_dropout = Dropout(config.attention_probs_dropout_prob, config.fused)
        self.dropout = Dropout(config.hidden_dropout_prob, config.fused)
        self.fused = config.fused

    def forward(self, x: Tensor, mask: Tensor | None = None, packing: Packing | None = None,
                return_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, S, D), or (N, D) with a packing -> the same shape, and the weights or None.

        Parameters
        ----------
        x
            One vector a token.
        mask
            (B, S) booleans, True at real tokens. Not used with a packing, which knows.
        packing
            Layout of packed tokens; for `fused` only.
        return_weights
            Also return the attention weights (B, H, S, S); this runs the formula.
        """
        qkv, weights = self.qkv(x), None  # (…, D) -> (…, 3D)
        if self.fused and not return_weights:
            context = fast_attention(qkv, self.heads, mask, packing, self.weights_dropout.rate)
        else:
            by_head = qkv.unflatten(-1, (3, self.heads, self.head_size))  # -> (B, S, 3, H, W)
            query, key, value = by_head.permute(2, 0, 3, 1, 4)  # -> 3 x (B, H, S, W)
            seen = None if mask is None else mask[:, None, None, :]
            context, weights = attend(query, key, value, seen, self.weights_dropout)
            context = context.transpose(1, 2).flatten(2)  # (B, H, S, W) -> (B, S, D)
        return self.dropout(self.output(context)), weights if return_weights else None
