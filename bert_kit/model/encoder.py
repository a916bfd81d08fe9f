"""The encoder: embeddings, L equal blocks, and what is checked before they run."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError, DataError
from bert_kit.model.attention import MultiHeadAttention
from bert_kit.model.fast.packing import LANES, Packing
from bert_kit.model.fast.prepared import PreparedBlock, prepared_block
from bert_kit.model.heads import Pooler
from bert_kit.model.layers import Embeddings, FeedForward, LayerNorm, init_weights


class TransformerEncoderBlock(nn.Module):
    """Attention, then feed-forward, each added to its input and then normalised (post-norm).

    Source: Vaswani et al. 2017, section 3.1; Devlin et al. 2019, section 3. Post-norm means that
    the LayerNorm comes after the addition, so a block's output always has mean 0 and variance 1
    before the learned scale.
    """

    prepared: PreparedBlock | None = None  # see `prepare_for_inference`

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(config)
        self.attention_norm = LayerNorm(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = LayerNorm(config)

    def forward(self, x: Tensor, mask: Tensor | None = None, packing: Packing | None = None,
                return_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, S, D), or (N, D) with a packing -> the same shape, and the weights or None."""
        if self.prepared is not None and packing is not None and not self.training:
            return prepared_block(self, self.prepared, x, packing), None
        attended, weights = self.attention(x, mask, packing, return_weights)
        x = self.attention_norm(x + attended)
        transformed = self.feed_forward(x)
        return self.feed_forward_norm(x + transformed), weights


class EncoderOutput(NamedTuple):
    """What the encoder returns; the names are the Hugging Face library's.

    Attributes
    ----------
    last_hidden_state
        (B, S, D), one vector a token, zero at padding.
    pooler_output
        (B, D), the [CLS] vector after the pooler; None for an encoder without one.
    hidden_states
        L + 1 times (B, S, D): embeddings and every block's output, on request.
    attentions
        L times (B, H, S, S): attention weights of every block, on request.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None


class BERTModel(nn.Module):
    """The bare encoder (Devlin et al. 2019).

    Parameters
    ----------
    config
        Sizes and rates.
    pooler
        Whether to have a pooler. MLM, tagging and span models are published without one.

    Attributes
    ----------
    gradient_checkpointing : bool
        False; set it to True to trade time for memory (Chen et al. 2016). In training each block
        then keeps its input only and runs a second time during the backward pass, with the same
        dropout: same loss, same gradients.

    Examples
    --------
    >>> from bert_kit import create_model_config
    >>> model = BERTModel(create_model_config("bert-tiny", vocab_size=100)).eval()
    >>> model(torch.tensor([[2, 7, 9, 3]])).last_hidden_state.shape
    torch.Size([1, 4, 128])
    """

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.num_hidden_layers))
        self.pooler = Pooler(config) if pooler else None
        for part in (self.embeddings, self.blocks):  # the pooler has done its own
            init_weights(part, config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None,
                token_type_ids: Tensor | None = None, output_attentions: bool = False,
                output_hidden_states: bool = False) -> EncoderOutput:
        """(B, S) ids, masks and segments -> EncoderOutput.

        Parameters
        ----------
        input_ids
            (B, S) whole numbers below `vocab_size`.
        attention_mask
            (B, S) booleans, or 0 and 1: True at real tokens; default all. It may stay on the CPU
            when the rest is on an accelerator, which saves a wait. A row without any real token
            has hidden states of zero and finite logits.
        token_type_ids
            (B, S), 0 for the first sentence, 1 for the second; default 0, and 0 in a model that
            has fewer than two segments.
        output_attentions, output_hidden_states
            Return these too. Attention weights are computed by the formula, whatever
            `config.fused` says.

        Raises
        ------
        DataError
            For a wrong shape, more tokens than positions, or an id out of range. Ranges are
            checked on the CPU only; on an accelerator the check would stall every step.
        """
        mask = check_inputs(self.config, input_ids, attention_mask, token_type_ids)
        if token_type_ids is None or self.config.type_vocab_size < 2:
            token_type_ids = torch.zeros_like(input_ids)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        if self.config.position_offset:
            positions = positions_after_padding(input_ids, self.config)
        packing = None
        if self.config.fused and not output_attentions:
            packing = Packing.of(mask, input_ids.shape, input_ids.device,
                                 1 if self.training else LANES)
            input_ids, token_type_ids, positions = (
                packing.pack(ids) for ids in
                (input_ids, token_type_ids, positions.expand_as(input_ids)))  # (B, S) -> (N,)
        elif mask is not None:
            mask = mask.to(input_ids.device)
        to_grid = packing.unpack if packing else partial(_zero_padding, mask=mask)

        x = self.embeddings(input_ids, token_type_ids, positions)
        states, attentions = [x], []
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                block = partial(checkpoint, block, use_reentrant=False)
            x, weights = block(x, mask, packing, output_attentions)
            if output_hidden_states:
                states.append(x)
            attentions.append(weights)
        last = to_grid(x)  # (N, D) -> (B, S, D)
        return EncoderOutput(
            last_hidden_state=last,
            pooler_output=self.pooler(last) if self.pooler else None,
            # Between prepared blocks there may be another type than what heads can read.
            hidden_states=(tuple(to_grid(state).to(last.dtype) for state in states)
                           if output_hidden_states else None),
            attentions=tuple(attentions) if output_attentions else None)


def positions_after_padding(input_ids: Tensor, config: BertConfig) -> Tensor:
    """(B, S) -> (B, S): RoBERTa's positions, which count what is not padding.

    They begin after the id of padding, and padding stands at that id (fairseq's code,
    `make_positions`; Ott et al. 2019).

    Examples
    --------
    >>> config = BertConfig(model_type="roberta", pad_token_id=1)
    >>> positions_after_padding(torch.tensor([[0, 7, 2, 1], [1, 0, 2, 1]]), config)
    tensor([[2, 3, 4, 1],
            [1, 2, 3, 1]])
    """
    real = (input_ids != config.pad_token_id).long()
    return real.cumsum(1) * real + config.position_offset - 1


def encoder_without_pooler(config: BertConfig) -> BERTModel:
    """Build the encoder of a folder that holds no pooler."""
    return BERTModel(config, pooler=False)


def _zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, S, D) -> (B, S, D): the formula computes padding too; no caller should see it."""
    return x if mask is None else x.masked_fill(~mask[..., None], 0)


def check_inputs(config: BertConfig, input_ids: Tensor, attention_mask: Tensor | None = None,
                 token_type_ids: Tensor | None = None) -> Tensor | None:
    """Check a batch against the configuration; return its mask as bool, or None.

    While `torch.export` follows the model nothing is checked: there are no values yet, and what is
    asked of a shape would be true of every later batch.

    Raises
    ------
    DataError
        One line that names the tensor, what it holds and what is expected.
    ConfigError
        If a model that takes the fast paths is exported: they look at values.
    """
    if torch.compiler.is_exporting():
        if config.fused:
            raise ConfigError("fused is True; torch.export can follow the formulas only, so "
                              "expected a model that was loaded with fused=False")
        return None if attention_mask is None else attention_mask.bool()
    if input_ids.ndim != 2 or input_ids.is_floating_point() or input_ids.dtype == torch.bool:
        raise DataError(f"input_ids is {_describe(input_ids)}; expected whole numbers (B, S)")
    rows, length = input_ids.shape
    if not 1 <= length <= config.max_position_embeddings:
        raise DataError(f"input_ids has {length} tokens a row; expected 1 to "
                        f"max_position_embeddings {config.max_position_embeddings}")
    _check_range("input_ids", input_ids, config.vocab_size, "vocab_size")
    if token_type_ids is not None:
        if token_type_ids.shape != input_ids.shape or token_type_ids.is_floating_point():
            raise DataError(f"token_type_ids is {_describe(token_type_ids)}; expected whole "
                            f"numbers ({rows}, {length}) like input_ids")
        _check_range("token_type_ids", token_type_ids, max(2, config.type_vocab_size),
                     "type_vocab_size")
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise DataError(f"attention_mask is {_describe(attention_mask)}; expected "
                        f"({rows}, {length}) like input_ids")
    mask = attention_mask.bool()
    if attention_mask.device.type == "cpu" and not torch.equal(mask.to(attention_mask.dtype),
                                                               attention_mask):
        raise DataError("attention_mask holds something other than 0 and 1")
    return mask


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _check_range(name: str, ids: Tensor, limit: int, limit_name: str) -> None:
    """Raise unless all ids lie in [0, limit). On an accelerator this would stall, so not there."""
    if ids.device.type != "cpu" or ids.numel() == 0:
        return
    low, high = (value.item() for value in torch.aminmax(ids))
    if low < 0 or high >= limit:
        raise DataError(f"{name} holds {low if low < 0 else high}; "
                        f"expected 0 to {limit - 1} ({limit_name} {limit})")
