"""Scores of a trained model and the baselines to hold them against."""

from bert_kit.evaluation.baselines import majority_baseline, tfidf_baseline, unigram_loss
from bert_kit.evaluation.metrics import (classification_metrics, compute_confusion_matrix,
                                         compute_precision_recall_f1,
                                         evaluate_classification_metrics, format_per_class,
                                         matthews_correlation, predict_logits)

__all__ = ["classification_metrics", "compute_confusion_matrix", "compute_precision_recall_f1",
           "evaluate_classification_metrics", "format_per_class", "majority_baseline",
           "matthews_correlation", "predict_logits", "tfidf_baseline", "unigram_loss"]
