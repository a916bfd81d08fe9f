"""Scores of a trained model, how far to trust them, and what to hold them against."""

from bert_kit.evaluation.answers import (answer_f1, answer_metrics, best_null_threshold, best_score,
                                         exact_match, normalize_answer)
from bert_kit.evaluation.band_plots import plot_bands
from bert_kit.evaluation.baselines import (majority_baseline, tfidf_baseline,
                                           tfidf_label_probabilities, unigram_loss)
from bert_kit.evaluation.calibration import (brier_score, confidence_coverage,
                                             expected_calibration_error,
                                             format_coverage, format_reliability, reliability_bins)
from bert_kit.evaluation.comparison import format_leaderboard, rank
from bert_kit.evaluation.entities import (Entity, entity_metrics, find_entities,
                                          format_invalid_tags, format_per_type, invalid_tags)
from bert_kit.evaluation.exports import (LabelSetWriter, NumberWriter, PredictionWriter,
                                         guard_formula, write_predictions, write_rows)
from bert_kit.evaluation.metrics import (classification_metrics, compute_confusion_matrix,
                                         compute_precision_recall_f1,
                                         evaluate_classification_metrics, format_per_class,
                                         logit_metrics, matthews_correlation, predict_logits)
from bert_kit.evaluation.mistakes import format_mistakes, most_confident_mistakes
from bert_kit.evaluation.multilabel import (multilabel_logit_metrics, multilabel_metrics,
                                            predict_label_sets)
from bert_kit.evaluation.outputs import predict_token_logits
from bert_kit.evaluation.plots import (PlotsMissing, plot_comparison, plot_confidence_histogram,
                                       plot_confusion_matrix, plot_learning_curves,
                                       plot_reliability, plot_threshold_sweep, require_plots)
from bert_kit.evaluation.regression import (pearson_correlation, regression_metrics,
                                            spearman_correlation)
from bert_kit.evaluation.resampling import (bootstrap_intervals, fold_scores, headline_scores,
                                            mcnemar, stratified_folds)
from bert_kit.evaluation.scaling import fit_label_scaling, fit_temperature
from bert_kit.evaluation.spans import Answer, NBest, best_spans
from bert_kit.evaluation.thresholds import (fit_thresholds, format_sweep, threshold_sweep,
                                            threshold_warning)

__all__ = [
    "Answer", "Entity", "LabelSetWriter", "NBest", "NumberWriter", "PlotsMissing",
    "PredictionWriter", "answer_f1", "answer_metrics", "best_null_threshold", "best_score",
    "best_spans", "bootstrap_intervals", "brier_score", "classification_metrics",
    "compute_confusion_matrix", "compute_precision_recall_f1", "confidence_coverage",
    "entity_metrics", "evaluate_classification_metrics", "exact_match",
    "expected_calibration_error", "find_entities", "fit_label_scaling", "fit_temperature",
    "fit_thresholds", "fold_scores", "format_coverage", "format_invalid_tags",
    "format_leaderboard", "format_mistakes", "format_per_class", "format_per_type",
    "format_reliability", "format_sweep", "guard_formula", "headline_scores", "invalid_tags",
    "logit_metrics", "majority_baseline", "matthews_correlation", "mcnemar",
    "most_confident_mistakes", "multilabel_logit_metrics", "multilabel_metrics",
    "normalize_answer", "pearson_correlation", "plot_bands", "plot_comparison",
    "plot_confidence_histogram", "plot_confusion_matrix", "plot_learning_curves",
    "plot_reliability", "plot_threshold_sweep", "predict_label_sets", "predict_logits",
    "predict_token_logits", "rank", "regression_metrics", "reliability_bins", "require_plots",
    "spearman_correlation", "stratified_folds", "tfidf_baseline", "tfidf_label_probabilities",
    "threshold_sweep", "threshold_warning", "unigram_loss", "write_predictions", "write_rows",
]
