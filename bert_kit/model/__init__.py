"""The encoder from the inside out: layers, attention, encoder, heads, classifiers, tasks."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.model.attention import MultiHeadAttention as MultiHeadAttention, attend as attend
    from bert_kit.model.classifiers.classifiers import (
        CLASSIFIERS as CLASSIFIERS, DenseClassifier as DenseClassifier,
        LinearClassifier as LinearClassifier, MLPClassifier as MLPClassifier,
        make_classifier as make_classifier)
    from bert_kit.model.encoder import (
        BERTModel as BERTModel, EncoderOutput as EncoderOutput,
        TransformerEncoderBlock as TransformerEncoderBlock,
        encoder_without_pooler as encoder_without_pooler)
    from bert_kit.model.fast.inference import prepare_for_inference as prepare_for_inference
    from bert_kit.model.heads import (
        MaskedLMHead as MaskedLMHead, NextSentenceHead as NextSentenceHead, Pooler as Pooler)
    from bert_kit.model.classifiers.kan import (
        FourierBasis as FourierBasis, FourierKANClassifier as FourierKANClassifier,
        KANLayer as KANLayer, WaveletKANClassifier as WaveletKANClassifier)
    from bert_kit.model.layers import (
        Dropout as Dropout, Embeddings as Embeddings, FeedForward as FeedForward, GELU as GELU,
        LayerNorm as LayerNorm, init_weights as init_weights)
    from bert_kit.model.fast.linear import Linear as Linear
    from bert_kit.model.fast.packing import Packing as Packing
    from bert_kit.model.classifiers.pooling import (
        AttentionPooling as AttentionPooling, POOLINGS as POOLINGS)
    from bert_kit.model.classifiers.sequences import (
        AttentionClassifier as AttentionClassifier, BiLSTMClassifier as BiLSTMClassifier,
        CNNClassifier as CNNClassifier)
    from bert_kit.model.tasks import (
        BERTForMaskedLM as BERTForMaskedLM, BERTForMultiLabel as BERTForMultiLabel,
        BERTForNextSentencePrediction as BERTForNextSentencePrediction,
        BERTForPreTraining as BERTForPreTraining,
        BERTForQuestionAnswering as BERTForQuestionAnswering,
        BERTForSequenceClassification as BERTForSequenceClassification,
        BERTForTokenClassification as BERTForTokenClassification,
        PreTrainingOutput as PreTrainingOutput, TaskModel as TaskModel)
    from bert_kit.model.classifiers.wavelets import WaveletBasis as WaveletBasis
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
