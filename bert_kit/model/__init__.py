"""The encoder from the inside out: layers, attention, encoder, heads, classifiers, tasks."""

from bert_kit.model.attention import MultiHeadAttention, attend
from bert_kit.model.classifiers import LinearClassifier
from bert_kit.model.encoder import BERTModel, EncoderOutput, TransformerEncoderBlock
from bert_kit.model.heads import MaskedLMHead, NextSentenceHead, Pooler
from bert_kit.model.layers import GELU, Dropout, Embeddings, FeedForward, LayerNorm, init_weights
from bert_kit.model.packing import Packing
from bert_kit.model.tasks import (BERTForMaskedLM, BERTForNextSentencePrediction,
                                  BERTForPreTraining, BERTForSequenceClassification,
                                  PreTrainingOutput)

__all__ = [
    "BERTForMaskedLM", "BERTForNextSentencePrediction", "BERTForPreTraining",
    "BERTForSequenceClassification", "BERTModel", "Dropout", "Embeddings", "EncoderOutput",
    "FeedForward", "GELU", "LayerNorm", "LinearClassifier", "MaskedLMHead", "MultiHeadAttention",
    "NextSentenceHead", "Packing", "Pooler", "PreTrainingOutput", "TransformerEncoderBlock",
    "attend", "init_weights",
]
