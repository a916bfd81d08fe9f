"""One step of each side of the speed benchmarks, and the batches that all sides get.

A step is a function of a batch. All sides have the same weights, fused AdamW, clipping and
precision; the library's side is the loop that its documentation shows.
"""

import warnings

import torch
from torch import nn

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, BERTModel,
                      compute_classification_loss, compute_mlm_loss, load_pretrained)
from bert_kit.modes import to_device
from bert_kit.training import AMPTrainer, autocast, keep_freed_memory, make_optimizer

ROWS, LENGTH, FILLED = 32, 128, 0.57
RATE = 1e-5
# Where nn.TransformerEncoderLayer keeps what a block of the kit holds; the layouts are the same.
TORCH_NAMES = {"attention.qkv.": "self_attn.in_proj_", "attention.output.": "self_attn.out_proj.",
               "attention_norm.": "norm1.", "feed_forward.inner.": "linear1.",
               "feed_forward.output.": "linear2.", "feed_forward_norm.": "norm2."}


def our_step(folder, work, precision, checkpointing=False, device="cpu"):
    """Return one forward pass or training step of the kit."""
    task, loss = {"mlm": (BERTForMaskedLM, compute_mlm_loss)}.get(
        work, (BERTForSequenceClassification, compute_classification_loss))
    model = load_pretrained(task, folder).to(device)
    keep_freed_memory()  # as the Trainer and the Predictor do
    if work == "forward":
        return forward(model, precision)
    model.train().bert.gradient_checkpointing = checkpointing
    trainer = AMPTrainer(model, make_optimizer(model, RATE), precision=precision)
    return lambda batch: trainer.train_step(loss, [batch])


def forward(model, precision):
    """Return one forward pass of a model of the kit."""
    def step(batch):
        device = next(model.parameters()).device
        with torch.inference_mode(), autocast(precision, device.type):
            return model(to_device(batch["input_ids"], device), batch["attention_mask"],
                         to_device(batch["token_type_ids"], device))
    return step


def their_step(folder, work, precision, attention, checkpointing=False, device="cpu",
               backend="inductor"):
    """Return the same of transformers with "sdpa" or "eager" attention, or sdpa "compiled".

    `backend` is that of torch.compile.
    """
    import transformers
    transformers.logging.set_verbosity_error()
    task = (transformers.BertForMaskedLM if work == "mlm"
            else transformers.BertForSequenceClassification)
    model = task.from_pretrained(
        folder, attn_implementation="sdpa" if attention == "compiled" else attention)
    model.train(work != "forward").to(device)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = make_optimizer(model, RATE)
    call = torch.compile(model, backend=backend) if attention == "compiled" else model

    def step(batch):
        batch = {key: to_device(value, device) for key, value in batch.items()}
        if work == "forward":
            with torch.inference_mode(), autocast(precision, device):
                return call(batch["input_ids"], batch["attention_mask"],
                            batch["token_type_ids"]).logits
        with autocast(precision, device):
            loss = call(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return step


def encoder_step(folder, precision, name):
    """Return one forward pass of the kit's encoder, "ours", or of nn.TransformerEncoder.

    Both have the same weights and the same module for the embeddings. Torch's fast path is on:
    evaluation, inference mode, and a nested tensor if there is padding. It knows no autocast, so
    here bfloat16 means that both sides' weights and activations are bfloat16 from the start.
    """
    warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
    ours = load_pretrained(BERTModel, folder).to(getattr(torch, precision))
    ours.pooler, config = None, ours.config
    layer = nn.TransformerEncoderLayer(
        config.hidden_size, config.num_attention_heads, config.intermediate_size,
        activation="gelu", layer_norm_eps=config.layer_norm_eps, batch_first=True)
    theirs = nn.TransformerEncoder(layer, config.num_hidden_layers).eval()
    for block, layer in zip(ours.blocks, theirs.layers, strict=True):
        weights = {own: block.get_submodule(name[:-1]) for name, own in TORCH_NAMES.items()}
        layer.load_state_dict({own + kind: getattr(module, kind) for own, module in weights.items()
                               for kind in ("weight", "bias")})
    theirs.to(getattr(torch, precision))

    def step(batch):
        ids, padding = batch["input_ids"], batch["attention_mask"] == 0
        with torch.inference_mode():
            x = ours.embeddings(ids, batch["token_type_ids"], torch.arange(ids.shape[1]))
            return theirs(x, src_key_padding_mask=padding if padding.any() else None)
    # "float32" is: no autocast, whatever type the weights have.
    return forward(ours, "float32") if name == "ours" else step


def random_batch(rows=ROWS, length=LENGTH, filled=1.0, seed=0):
    """Return a batch of random ids, its lengths drawn so that a share of the places is filled."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1_000, 30_000, (rows, length), generator=generator)
    lengths = torch.full((rows,), length)
    if filled < 1:
        shortest = max(1, round(length * (2 * filled - 1)))
        lengths = torch.linspace(length, shortest, rows).round()
        lengths = lengths[torch.randperm(rows, generator=generator)]
    mask = torch.arange(length) < lengths[:, None]
    return {"input_ids": ids * mask, "attention_mask": mask.long(),
            "token_type_ids": torch.zeros_like(ids)}


def with_labels(batch, work, seed=0):
    """Return a batch with one class a row, or for "mlm" with 15% of its tokens to predict."""
    generator = torch.Generator().manual_seed(seed)
    ids = batch["input_ids"]
    if work != "mlm":
        return batch | {"labels": torch.randint(0, 2, (len(ids),), generator=generator)}
    chosen = (torch.rand(ids.shape, generator=generator) < 0.15) & (batch["attention_mask"] == 1)
    return batch | {"labels": ids.where(chosen, -100)}
