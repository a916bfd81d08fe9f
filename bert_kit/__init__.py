"""A from-scratch BERT to read in an afternoon, step through, and then really use.

Dimension letters, the same in every file:

    B  batch (rows)            H  attention heads
    S  tokens in a row         W  width of one head, D / H
    D  hidden size             V  vocabulary size
    L  encoder layers          C  classes
    N  real (unpadded) tokens of a batch, B * S when nothing is padded
    M  masked tokens of a batch, the ones to predict

The public names below are imported on first use, so that `import bert_kit` costs nothing and a
part that needs no torch (the tuner) can be used without it.
"""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

__version__ = "0.8.0"

if TYPE_CHECKING:
    from bert_kit.errors import (
        BertKitError as BertKitError, ConfigError as ConfigError, DataError as DataError,
        NothingLearned as NothingLearned, TokenizerError as TokenizerError,
        TrainingError as TrainingError, TuningError as TuningError, UsageError as UsageError,
        WeightsError as WeightsError)
    from bert_kit.config import BertConfig as BertConfig, create_model_config as create_model_config
    from bert_kit.tokenization import (
        Tokenizer as Tokenizer, get_tokenizer as get_tokenizer, train_tokenizer as train_tokenizer)
    from bert_kit.model import (
        BERTForMaskedLM as BERTForMaskedLM, BERTForMultiLabel as BERTForMultiLabel,
        BERTForNextSentencePrediction as BERTForNextSentencePrediction,
        BERTForPreTraining as BERTForPreTraining,
        BERTForQuestionAnswering as BERTForQuestionAnswering,
        BERTForSequenceClassification as BERTForSequenceClassification,
        BERTForTokenClassification as BERTForTokenClassification, BERTModel as BERTModel,
        Dropout as Dropout, Embeddings as Embeddings, FeedForward as FeedForward, GELU as GELU,
        LayerNorm as LayerNorm, MaskedLMHead as MaskedLMHead,
        MultiHeadAttention as MultiHeadAttention, NextSentenceHead as NextSentenceHead,
        Pooler as Pooler, TransformerEncoderBlock as TransformerEncoderBlock,
        prepare_for_inference as prepare_for_inference)
    from bert_kit.weights import (
        load_pretrained as load_pretrained, save_pretrained as save_pretrained)
    from bert_kit.data import (
        ClassificationDataset as ClassificationDataset, MLMDataset as MLMDataset,
        NSPDataset as NSPDataset,
        create_classification_dataloader as create_classification_dataloader,
        create_mlm_dataloader as create_mlm_dataloader)
    from bert_kit.training import (
        AMPTrainer as AMPTrainer, Trainer as Trainer, TrainingArguments as TrainingArguments,
        compute_classification_loss as compute_classification_loss,
        compute_mlm_loader_loss as compute_mlm_loader_loss, compute_mlm_loss as compute_mlm_loss)
    from bert_kit.evaluation import (
        compute_confusion_matrix as compute_confusion_matrix,
        compute_precision_recall_f1 as compute_precision_recall_f1,
        evaluate_classification_metrics as evaluate_classification_metrics)
    from bert_kit.jobs.active.campaigns import learn_actively as learn_actively
    from bert_kit.jobs.compare import train_all_classifiers as train_all_classifiers
    from bert_kit.jobs.tasks.answers import Answerer as Answerer
    from bert_kit.jobs.tasks.similarity import SentenceEncoder as SentenceEncoder
    from bert_kit.jobs.tasks.tags import Tagger as Tagger
    from bert_kit.jobs.tasks.texts import Predictor as Predictor
    from bert_kit.jobs.train import (
        TextClassificationTrainer as TextClassificationTrainer, pretrain as pretrain,
        train_answerer as train_answerer, train_classifier as train_classifier,
        train_similarity as train_similarity, train_tagger as train_tagger)
    from bert_kit.jobs.run.best_configs import load_best_config as load_best_config
    from bert_kit.jobs.tuning.search import (
        tune_all_classifiers as tune_all_classifiers, tune_classifier as tune_classifier)
    from bert_kit.estimator import (
        BertClassifier as BertClassifier, BertRegressor as BertRegressor,
        BertVectorizer as BertVectorizer)
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
