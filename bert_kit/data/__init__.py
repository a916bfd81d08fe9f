"""Texts from the machine's own libraries or from tables; rows, masks and batches for training."""

from bert_kit.data.batching import BatchSampler, make_loader, pad_batch
from bert_kit.data.datasets import (ClassificationDataset, MLMDataset,
                                    create_classification_dataloader, create_mlm_dataloader)
from bert_kit.data.masking import mask_tokens
from bert_kit.data.sentence_pairs import IS_NEXT, IS_RANDOM, NSPDataset

__all__ = [
    "BatchSampler", "ClassificationDataset", "IS_NEXT", "IS_RANDOM", "MLMDataset", "NSPDataset",
    "create_classification_dataloader", "create_mlm_dataloader", "make_loader", "mask_tokens",
    "pad_batch",
]
