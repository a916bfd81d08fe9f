"""From token vectors to one vector a row. Padding takes no part in any of these.

All expect the real tokens of a row first and zero vectors at padding, as the encoder leaves them.
A row without any real token gives a finite vector.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.model.layers import init_weights


def first_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, S, D) -> (B, D): the [CLS] vector, which attention has filled from the whole row."""
    return hidden[:, 0]  # (B, S, D) -> (B, D)


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, S, D), (B, S) -> (B, D): the mean over real tokens (Reimers & Gurevych 2019, MEAN).

    Examples
    --------
    >>> hidden = torch.tensor([[[2.0], [4.0], [9.0]]])
    >>> mean_of_tokens(hidden, torch.tensor([[True, True, False]]))
    tensor([[3.]])
    """
    total = (hidden * mask[..., None]).sum(1)  # (B, S, D) -> (B, D)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def max_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, S, D), (B, S) -> (B, D): the largest value of each component over real tokens."""
    lowest = torch.finfo(hidden.dtype).min
    # Not amax: it divides the gradient among equal values, which costs ten times the pooling.
    peak = hidden.masked_fill(~mask[..., None], lowest).max(1).values  # (B, S, D) -> (B, D)
    return peak * mask.any(1, keepdim=True)


def last_states(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, S, 2h), (B, S) -> (B, 2h): where each direction of a bidirectional network ends.

    The forward half of the last real token and the backward half of the first.
    """
    ahead, back = hidden.chunk(2, -1)
    last = (mask.sum(1) - 1).clamp(min=0)
    places = last[:, None, None].expand(-1, 1, ahead.shape[-1])
    end = ahead.gather(1, places)[:, 0]  # (B, S, h) -> (B, h)
    return torch.cat([end, back[:, 0]], -1)


POOLINGS = {"cls": first_token, "mean": mean_of_tokens, "max": max_of_tokens}


class AttentionPooling(nn.Module):
    """A weighted mean of the real tokens; a small network gives each token its weight.

    weights = softmax over tokens of V tanh(W x + b), once for each of R heads (Lin et al. 2017,
    eq. 5 to 7; for R = 1 the additive attention of Bahdanau et al. 2015 without a query). V has
    no bias: softmax would not feel it.
    """

    def __init__(self, config: BertConfig, inputs: int, attention_size: int, heads: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, attention_size)
        self.outer = nn.Linear(attention_size, heads, bias=False)
        init_weights(self, config)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D), (B, S) -> pooled (B, R D), and the weights (B, R, S)."""
        scores = self.outer(torch.tanh(self.inner(hidden)))  # (B, S, D) -> (B, S, R)
        scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        weights = scores.softmax(1).transpose(1, 2)  # (B, S, R) -> (B, R, S)
        pooled = weights @ hidden  # (B, R, S) x (B, S, D) -> (B, R, D)
        return pooled.flatten(1), weights


def max_over_time(hidden: Tensor, mask: Tensor, filters: nn.Linear, fused: bool = True) -> Tensor:
    """(B, S, D), (B, S) -> (B, F): the largest answer of each filter that slides over the tokens.

    A filter of size k looks at k tokens in a row (Kim 2014, eq. 2 to 4, before the ReLU, which
    may as well come after the maximum). Only windows that lie within the real tokens count. A row
    shorter than k has one window: it starts at the first token, and what is missing is zero.

    Parameters
    ----------
    hidden, mask
        Token vectors, and True at real tokens.
    filters
        k D to F: a filter is a linear function of k token vectors side by side.
    fused
        True calls torch's convolution, False cuts the windows out.
    """
    width = hidden.shape[-1]
    size = filters.in_features // width
    hidden = F.pad(hidden, (0, 0, 0, size - 1))  # (B, S, D) -> (B, S + k - 1, D)
    if fused:
        kernel = filters.weight.unflatten(1, (size, width)).transpose(1, 2)  # (F, k D) -> (F, D, k)
        answers = F.conv1d(hidden.transpose(1, 2), kernel, filters.bias)  # (B, D, …) -> (B, F, S)
    else:
        windows = hidden.unfold(1, size, 1).transpose(2, 3)  # (B, …, D) -> (B, S, k, D)
        answers = filters(windows.flatten(2)).transpose(1, 2)  # (B, S, k D) -> (B, F, S)
    # A window counts if its last token is real; the first window always does.
    ends = F.pad(mask, (0, size - 1))[:, size - 1:]
    counts = ends | (torch.arange(mask.shape[1], device=mask.device) == 0)
    lowest = torch.finfo(answers.dtype).min
    return answers.masked_fill(~counts[:, None], lowest).max(2).values  # (B, F, S) -> (B, F)
