"""Multi-head self-attention: the only place where tokens look at one another."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from bert_kit.model.layers import Dropout
from bert_kit.model.linear import Linear


def attend(query, key, value, mask=None, dropout=None):
    """Scaled dot-product attention: softmax(Q K^T / sqrt(W)) V (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    query, key, value : Tensor (…, S, W)
        One vector a token and head.
    mask : Tensor of bool that broadcasts to (…, S, S), optional
        True where a key may be seen. A query that may see nothing gets equal weights, not NaN.
    dropout : callable, optional
        Applied to the weights on their way to the values.

    Returns
    -------
    context : Tensor (…, S, W)
    weights : Tensor (…, S, S)
        Before dropout; each row sums to 1.

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

    def __init__(self, config):
        super().__init__()
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, config.fused)
        self.output = Linear(config.hidden_size, config.hidden_size, config.fused)
        self.weights_dropout = Dropout(config.attention_probs_dropout_prob, config.fused)
        self.dropout = Dropout(config.hidden_dropout_prob, config.fused)
        self.fused = config.fused

    def forward(self, x, mask=None, packing=None, return_weights=False):
        """(B, S, D), or (N, D) with a packing -> the same shape, and the weights or None.

        Parameters
        ----------
        x : Tensor
        mask : Tensor (B, S) of bool, optional
            True at real tokens. Not used with a packing, which knows.
        packing : Packing, optional
            Layout of packed tokens.
        return_weights : bool
            Also return the attention weights (B, H, S, S); this runs the formula.
        """
        qkv = self.qkv(x)  # (…, D) -> (…, 3D)
        kernel = self.fused and not return_weights and x.device.type != "cpu"
        if packing is None:
            context, weights = self._over_rows(qkv, mask, kernel)
        elif kernel:  # one large masked call beats many small ones there
            context, weights = self._over_rows(packing.unpack(qkv), packing.mask, kernel)
            context = packing.pack(context)
        else:
            context, weights = self._over_blocks(qkv, packing), None
        return self.dropout(self.output(context)), weights if return_weights else None

    def _over_rows(self, qkv, mask=None, kernel=False):
        """(B, S, 3D) -> context (B, S, D), and weights (B, H, S, S) unless torch's kernel runs."""
        heads = qkv.unflatten(-1, (3, self.heads, self.head_size))
        heads = heads.permute(2, 0, 3, 1, 4)  # (B, S, 3, H, W) -> (3, B, H, S, W)
        seen = None if mask is None else mask[:, None, None, :]
        if kernel:
            rate = self.weights_dropout.p if self.training else 0.0
            context = F.scaled_dot_product_attention(*heads, attn_mask=seen, dropout_p=rate)
            weights = None
        else:
            context, weights = attend(*heads.contiguous(), seen, self.weights_dropout)
        return context.transpose(1, 2).flatten(2), weights  # (B, H, S, W) -> (B, S, D)

    def _over_blocks(self, qkv, packing):
        """(N, 3D) -> context (N, D).

        On a CPU the formula is the fast path: over blocks whose scores stay in the cache it beats
        torch's kernel, which has no dropout of its own there and a slow backward in bfloat16.
        """
        # Autocast would do softmax in float32, between two conversions of all the scores; torch's
        # kernel sums in float32 whatever it reads.
        with torch.autocast("cpu", enabled=False):
            contexts = [self._over_rows(part, mask)[0] for part, mask in packing.split(qkv)]
        return packing.join(contexts) if contexts else qkv[:, :self.output.in_features]
