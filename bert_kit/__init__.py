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

import importlib

__version__ = "0.1.0"

_WHERE = {
    "bert_kit.errors": "BertKitError ConfigError DataError TokenizerError TrainingError "
                       "TuningError UsageError WeightsError",
    "bert_kit.config": "BertConfig create_model_config",
    "bert_kit.tokenization": "Tokenizer get_tokenizer train_tokenizer",
    "bert_kit.model": "LayerNorm GELU Dropout FeedForward Embeddings MultiHeadAttention "
                      "TransformerEncoderBlock BERTModel Pooler MaskedLMHead NextSentenceHead "
                      "BERTForPreTraining BERTForMaskedLM BERTForNextSentencePrediction "
                      "BERTForSequenceClassification BERTForMultiLabel "
                      "BERTForTokenClassification BERTForQuestionAnswering",
    "bert_kit.weights": "load_pretrained save_pretrained",
    "bert_kit.data": "MLMDataset NSPDataset ClassificationDataset create_mlm_dataloader "
                     "create_classification_dataloader",
    "bert_kit.training": "compute_mlm_loss compute_classification_loss compute_mlm_loader_loss "
                         "AMPTrainer Trainer TrainingArguments",
    "bert_kit.evaluation": "compute_precision_recall_f1 compute_confusion_matrix "
                           "evaluate_classification_metrics",
    "bert_kit.recipes.active_learning": "learn_actively",
    "bert_kit.recipes.answerer": "Answerer",
    "bert_kit.recipes.answering": "train_answerer",
    "bert_kit.recipes.classification": "TextClassificationTrainer train_classifier",
    "bert_kit.recipes.comparison": "train_all_classifiers",
    "bert_kit.recipes.embedding": "SentenceEncoder",
    "bert_kit.recipes.prediction": "Predictor",
    "bert_kit.recipes.pretraining": "pretrain",
    "bert_kit.recipes.similarity": "train_similarity",
    "bert_kit.recipes.tuning": "tune_all_classifiers tune_classifier",
    "bert_kit.recipes.best_configs": "load_best_config",
    "bert_kit.recipes.tagger": "Tagger",
    "bert_kit.recipes.tagging": "train_tagger",
    "bert_kit.estimator": "BertClassifier",
}
_HOME = {name: module for module, names in _WHERE.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'bert_kit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
