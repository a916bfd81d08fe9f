"""Multi-head self-attention: the only place where tokens look at one another."""

import math

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert_kit.model.fast.dropout import Dropout, on_cpu
from bert_kit.model.fast.linear import Linear


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
    weights = attention_weights(query, key, mask)
    dropped = weights if dropout is None else dropout(weights)
    return dropped @ value, weights  # (…, S, S) x (…, S, W) -> (…, S, W)


def attention_weights(query, key, mask=None):
    """softmax(Q K^T / sqrt(W)): (…, S, W), (…, S, W) -> (…, S, S); see `attend`."""
    # Without the division the scores' variance grows with W and softmax saturates.
    query = query / math.sqrt(query.shape[-1])
    scores = query @ key.transpose(-2, -1)  # (…, S, W) x (…, W, S) -> (…, S, S)
    if mask is not None:
        # Filled, not added to: a sum could pass the smallest half-precision number and become NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


class _Attend(torch.autograd.Function):
    """`attend` on queries, keys and values (3, R, H, n, W), which forgets the weights.

    Kept for the backward pass they would be most of a step's memory, n numbers for each token and
    head. They are computed once more instead, from what is kept anyway: one product and a softmax
    (Rabe & Staats 2021; Dao et al. 2022, section 3.1).
    """

    @staticmethod
    def forward(ctx, heads, seen, draw):
        ctx.save_for_backward(heads, seen, None if draw is None else draw.bits)
        ctx.draw = None if draw is None else draw._replace(bits=None)
        # Autocast would do softmax in float32, between two conversions of all the scores; torch's
        # kernel sums in float32 whatever it reads.
        with torch.autocast("cpu", enabled=False):
            weights = attention_weights(heads[0], heads[1], seen)
            return (weights if draw is None else draw.apply(weights)) @ heads[2]

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (query, key, value), seen, bits = ctx.saved_tensors
        drop = (lambda x: x) if bits is None else ctx.draw._replace(bits=bits).apply
        with torch.autocast("cpu", enabled=False):
            weights, gradient = attention_weights(query, key, seen), gradient.contiguous()
            to_value = drop(weights).transpose(-2, -1) @ gradient
            to_weights = drop(gradient @ value.transpose(-2, -1))
            # Through softmax: p_i (g_i - sum_j p_j g_j), by torch's kernel.
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_scores /= math.sqrt(query.shape[-1])
            if seen is not None:  # a query that sees nothing has weights all the same
                to_scores.masked_fill_(~seen, 0)
            to_query, to_key = to_scores @ key, to_scores.transpose(-2, -1) @ query
            return torch.stack([to_query, to_key, to_value]), None, None


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
        if not self.fused or return_weights:
            context, weights = self._over_rows(qkv, mask, self._by_formula)
        elif packing is None:
            context, weights = self._over_rows(
                qkv, mask, self._recomputing if on_cpu(x) else self._by_kernel)
        elif on_cpu(x):
            context, weights = self._over_blocks(qkv, packing), None
        else:  # one large masked call beats many small ones there
            context, weights = self._over_rows(packing.unpack(qkv), packing.mask, self._by_kernel)
            context = packing.pack(context)
        return self.dropout(self.output(context)), weights if return_weights else None

    def _over_rows(self, qkv, mask, attention):
        """(B, S, 3D) -> context (B, S, D), and weights (B, H, S, S) if `attention` gives them."""
        heads = qkv.unflatten(-1, (3, self.heads, self.head_size))
        heads = heads.permute(2, 0, 3, 1, 4)  # (B, S, 3, H, W) -> (3, B, H, S, W)
        seen = None if mask is None else mask[:, None, None, :]
        context, weights = attention(heads, seen)
        return context.transpose(1, 2).flatten(2), weights  # (B, H, S, W) -> (B, S, D)

    def _over_blocks(self, qkv, packing):
        """(N, 3D) -> context (N, D).

        On a CPU, over blocks whose scores stay in the cache, the formula beats torch's kernel,
        which has no dropout of its own there and a slow backward in bfloat16.
        """
        contexts = [self._over_rows(part, mask, self._recomputing)[0]
                    for part, mask in packing.split(qkv)]
        return packing.join(contexts) if contexts else qkv[:, :self.output.in_features]

    def _by_formula(self, heads, seen):
        return attend(*heads, seen, self.weights_dropout)

    def _recomputing(self, heads, seen):
        heads = heads.contiguous()
        draw = self.weights_dropout.draw((*heads.shape[1:4], heads.shape[3]))
        return _Attend.apply(heads, seen, draw), None

    def _by_kernel(self, heads, seen):
        rate = self.weights_dropout.p if self.weights_dropout.training else 0.0
        return F.scaled_dot_product_attention(*heads, attn_mask=seen, dropout_p=rate), None
