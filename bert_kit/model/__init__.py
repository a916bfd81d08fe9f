"""The encoder from the inside out: layers, attention, encoder, heads, classifiers, tasks."""

from bert_kit.model.attention import MultiHeadAttention, attend
from bert_kit.model.classifiers import CLASSIFIERS, LinearClassifier, MLPClassifier, make_classifier
from bert_kit.model.dropout import Dropout
from bert_kit.model.encoder import BERTModel, EncoderOutput, TransformerEncoderBlock
from bert_kit.model.heads import MaskedLMHead, NextSentenceHead, Pooler
from bert_kit.model.kan import FourierBasis, FourierKANClassifier, KANLayer, WaveletKANClassifier
from bert_kit.model.layers import GELU, Embeddings, FeedForward, LayerNorm, init_weights
from bert_kit.model.packing import Packing
from bert_kit.model.pooling import AttentionPooling
from bert_kit.model.sequence_classifiers import AttentionClassifier, BiLSTMClassifier, CNNClassifier
from bert_kit.model.tasks import (BERTForMaskedLM, BERTForMultiLabel, BERTForNextSentencePrediction,
                                  BERTForPreTraining, BERTForQuestionAnswering,
                                  BERTForSequenceClassification, BERTForTokenClassification,
                                  PreTrainingOutput)
from bert_kit.model.wavelets import WaveletBasis

__all__ = [
    "AttentionClassifier", "AttentionPooling", "BERTForMaskedLM", "BERTForMultiLabel",
    "BERTForNextSentencePrediction", "BERTForPreTraining", "BERTForQuestionAnswering",
    "BERTForSequenceClassification", "BERTForTokenClassification", "BERTModel",
    "BiLSTMClassifier", "CLASSIFIERS", "CNNClassifier", "Dropout", "Embeddings",
    "EncoderOutput", "FeedForward", "FourierBasis", "FourierKANClassifier", "GELU", "KANLayer",
    "LayerNorm", "LinearClassifier", "MLPClassifier", "MaskedLMHead", "MultiHeadAttention",
    "NextSentenceHead", "Packing", "Pooler", "PreTrainingOutput", "TransformerEncoderBlock",
    "WaveletBasis", "WaveletKANClassifier", "attend", "init_weights", "make_classifier",
]
