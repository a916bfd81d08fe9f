"""Heads that read every token of a row: recurrent, attention and convolution.

Each ends, as the standard recipe goes, in linear, ReLU, dropout and linear, D wide.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.checks import one_of, whole, wholes
from bert_kit.config import BertConfig
from bert_kit.model.classifiers.head_parts import MLP, TokenHead, check_size, head_dropout
from bert_kit.model.classifiers.pooling import (AttentionPooling, last_states, max_of_tokens,
                                                max_over_time, mean_of_tokens)
from bert_kit.model.encoder import EncoderOutput
from bert_kit.model.layers import init_weights


class BiLSTM(nn.Module):
    """LSTMs over a row in both directions, layer upon layer (Graves & Schmidhuber 2005).

    The backward direction reads each row from its own last real token, so padding is never read
    before a real token, and what comes after it does not matter. The rows are turned round by an
    index instead of being packed: it needs no lengths on the CPU, hence no wait for an
    accelerator, and on a CPU it is the faster way too.

    The weights keep torch's initial values, U(-1/sqrt(h), 1/sqrt(h)).
    """

    def __init__(self, config: BertConfig, inputs: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        widths = [inputs] + [2 * hidden_size] * (num_layers - 1)
        check_size(sum(8 * hidden_size * (width + hidden_size) for width in widths))
        self.ahead, self.back = (
            nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
            for _ in range(2))
        self.dropout = head_dropout(config)
        self.fused = config.fused

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, S, inputs), (B, S) -> (B, S, 2 h); what stands at padding has no meaning."""
        # Not every kernel takes an empty batch; the formula does, and its gradient is zero.
        run = (lambda lstm, x: lstm(x)[0]) if self.fused and len(x) else _gates
        places = torch.arange(x.shape[1], device=x.device)
        last = mask.sum(1, keepdim=True) - 1
        mirror = torch.where(places <= last, last - places, places)  # its own inverse
        for number, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if number:
                x = self.dropout(x)
            backward = _reorder(run(back, _reorder(x, mirror)), mirror)
            x = torch.cat([run(ahead, x), backward], -1)  # 2 x (B, S, h) -> (B, S, 2 h)
        return x


def _reorder(x: Tensor, places: Tensor) -> Tensor:
    """(B, S, D) -> (B, S, D): the tokens of each row in another order."""
    return x.gather(1, places[..., None].expand_as(x))


def _gates(lstm: nn.Module, x: Tensor) -> Tensor:
    """(B, S, D) -> (B, S, h): one LSTM, token by token (Hochreiter & Schmidhuber 1997)."""
    weights = [*lstm.parameters()]
    step, start = partial(_gate, *weights), x.new_zeros(x.shape[0], weights[1].shape[1])
    state = (start, start.clone())
    if torch.compiler.is_exporting():  # a loop in Python would hold for this many tokens only
        from torch._higher_order_ops.scan import scan
        return scan(step, state, x.transpose(0, 1))[1].transpose(0, 1)
    outputs = []
    for token in x.unbind(1):
        state, output = step(state, token)
        outputs.append(output)
    return torch.stack(outputs, 1)  # S x (B, h) -> (B, S, h)


def _gate(from_token: Tensor, from_hidden: Tensor, token_bias: Tensor, hidden_bias: Tensor,
          state: tuple[Tensor, Tensor], token: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Hidden state and cell (B, h), token (B, D) -> the next two, and the hidden state once more.

    c = forget * c + input * candidate and h = output * tanh(c); the three gates are sigmoids and
    the candidate a tanh of a linear map of the token and the last h. Torch stores the four maps
    as one matrix, in the order of the line below.
    """
    hidden, cell = state
    maps = (F.linear(token, from_token, token_bias)
            + F.linear(hidden, from_hidden, hidden_bias))  # (B, D) -> (B, 4 h)
    take, forget, candidate, show = maps.chunk(4, -1)
    cell = forget.sigmoid() * cell + take.sigmoid() * candidate.tanh()
    hidden = show.sigmoid() * cell.tanh()
    return (hidden, cell), hidden.clone()  # scan wants a tensor of its own


class BiLSTMClassifier(TokenHead):
    """A bidirectional LSTM over the tokens, pooled, then linear, ReLU, dropout, linear.

    Parameters
    ----------
    hidden_size
        Size h of each direction's state.
    num_layers
        LSTMs on top of one another, 1 to 4, with dropout between them.
    pooling
        "last" (the last state of each direction: forward at the last real token, backward at the
        first), "mean" or "max" over real tokens.
    last_layers
        Read the last k layers of the encoder side by side.
    """

    POOLINGS = {"last": last_states, "mean": mean_of_tokens, "max": max_of_tokens}

    def __init__(self, config: BertConfig, hidden_size: int = 128, num_layers: int = 1,
                 pooling: str = "last", last_layers: int = 1) -> None:
        super().__init__(config, last_layers)
        hidden_size = whole("hidden_size", hidden_size, 1, 4_096)
        num_layers = whole("num_layers", num_layers, 1, 4)
        self.pool = self.POOLINGS[one_of("pooling", pooling, self.POOLINGS)]
        self.lstm = BiLSTM(config, self.width, hidden_size, num_layers)
        self.mlp = MLP(config, 2 * hidden_size, [config.hidden_size], "relu")

    def forward(self, encoded: EncoderOutput, mask: Tensor) -> Tensor:
        """EncoderOutput, (B, S) -> (B, C)."""
        states = self.lstm(self.tokens(encoded), mask)  # (B, S, k D) -> (B, S, 2 h)
        return self.mlp(self.pool(states, mask))


class AttentionClassifier(TokenHead):
    """Additive attention over the tokens, then linear, ReLU, dropout, linear.

    Source: Lin et al. 2017, section 2.1; see `AttentionPooling`. To see the weights, call
    `model.classifier.attention(hidden, mask)`.

    Parameters
    ----------
    attention_size
        Width of the network that weighs a token.
    num_heads
        Number R of weighted means, which are put side by side.
    last_layers
        Read the last k layers of the encoder side by side.
    """

    def __init__(self, config: BertConfig, attention_size: int = 128, num_heads: int = 1,
                 last_layers: int = 1) -> None:
        super().__init__(config, last_layers)
        attention_size = whole("attention_size", attention_size, 1, 4_096)
        num_heads = whole("num_heads", num_heads, 1, 64)
        self.attention = AttentionPooling(config, self.width, attention_size, num_heads)
        self.mlp = MLP(config, num_heads * self.width, [config.hidden_size], "relu")

    def forward(self, encoded: EncoderOutput, mask: Tensor) -> Tensor:
        """EncoderOutput, (B, S) -> (B, C)."""
        pooled, _ = self.attention(self.tokens(encoded), mask)  # (B, S, k D) -> (B, R k D)
        return self.mlp(pooled)


class CNNClassifier(TokenHead):
    """Filters of several sizes over the tokens, the maximum of each, then linear, ReLU, linear.

    Source: Kim 2014, section 2, with one more layer before the scores. Which windows count, and
    what happens in a row shorter than a filter, is said in `max_over_time`.

    Parameters
    ----------
    kernel_sizes
        Tokens that a filter sees at once, one group of filters for each.
    num_filters
        Number F of filters in each group.
    last_layers
        Read the last k layers of the encoder side by side.
    """

    def __init__(self, config: BertConfig, kernel_sizes: Sequence[int] = (3, 4, 5),
                 num_filters: int = 100, last_layers: int = 1) -> None:
        super().__init__(config, last_layers)
        kernel_sizes = wholes("kernel_sizes", kernel_sizes, 1, 64)
        num_filters = whole("num_filters", num_filters, 1, 4_096)
        check_size(sum(kernel_sizes) * self.width * num_filters)
        self.filters = nn.ModuleList(
            nn.Linear(size * self.width, num_filters) for size in kernel_sizes)
        init_weights(self, config)
        self.mlp = MLP(config, len(kernel_sizes) * num_filters, [config.hidden_size], "relu")
        self.fused = config.fused

    def forward(self, encoded: EncoderOutput, mask: Tensor) -> Tensor:
        """EncoderOutput, (B, S) -> (B, C)."""
        hidden = self.tokens(encoded)
        peaks = [max_over_time(hidden, mask, filters, self.fused)
                 for filters in cast(Iterable[nn.Linear], self.filters)]
        return self.mlp(torch.relu(torch.cat(peaks, -1)))  # (B, S, k D) -> (B, groups F) -> (B, C)
