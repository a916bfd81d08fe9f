"""Scores of a trained model, how far to trust them, and what to hold them against."""

from bert_kit.evaluation.baselines import majority_baseline, tfidf_baseline, unigram_loss
from bert_kit.evaluation.calibration import (brier_score, confidence_coverage,
                                             expected_calibration_error, fit_temperature,
                                             format_coverage, reliability_bins)
from bert_kit.evaluation.comparison import format_leaderboard, rank
from bert_kit.evaluation.correlation import pearson_correlation, spearman_correlation
from bert_kit.evaluation.exports import (PredictionWriter, guard_formula, write_predictions,
                                         write_rows)
from bert_kit.evaluation.metrics import (classification_metrics, compute_confusion_matrix,
                                         compute_precision_recall_f1,
                                         evaluate_classification_metrics, format_per_class,
                                         logit_metrics, matthews_correlation, predict_logits)
from bert_kit.evaluation.mistakes import format_mistakes, most_confident_mistakes
from bert_kit.evaluation.plots import (PlotsMissing, plot_comparison, plot_confidence_histogram,
                                       plot_confusion_matrix, plot_learning_curves, require_plots)
from bert_kit.evaluation.resampling import (bootstrap_intervals, fold_scores, headline_scores,
                                            mcnemar, stratified_folds)

__all__ = ["PlotsMissing", "PredictionWriter", "bootstrap_intervals", "brier_score",
           "classification_metrics", "compute_confusion_matrix",
           "compute_precision_recall_f1", "confidence_coverage",
           "evaluate_classification_metrics", "expected_calibration_error",
           "fit_temperature", "fold_scores", "format_coverage", "format_leaderboard",
           "format_mistakes", "format_per_class", "guard_formula", "headline_scores",
           "logit_metrics", "majority_baseline", "matthews_correlation", "mcnemar",
           "most_confident_mistakes", "pearson_correlation", "plot_comparison",
           "plot_confidence_histogram", "plot_confusion_matrix", "plot_learning_curves",
           "predict_logits", "rank", "reliability_bins", "require_plots",
           "spearman_correlation", "stratified_folds", "tfidf_baseline", "unigram_loss",
           "write_predictions", "write_rows"]
