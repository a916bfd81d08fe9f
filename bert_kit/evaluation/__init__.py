"""Scores of a trained model, how far to trust them, and what to hold them against."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.cells import guard_formula as guard_formula
    from bert_kit.evaluation.scores.answers import (
        answer_f1 as answer_f1, answer_metrics as answer_metrics,
        best_null_threshold as best_null_threshold, best_score as best_score,
        exact_match as exact_match, normalize_answer as normalize_answer)
    from bert_kit.evaluation.pictures.bands import plot_bands as plot_bands
    from bert_kit.evaluation.trust.baselines import (
        majority_baseline as majority_baseline, tfidf_baseline as tfidf_baseline,
        tfidf_label_probabilities as tfidf_label_probabilities, tfidf_ranks as tfidf_ranks,
        unigram_loss as unigram_loss, vector_baseline as vector_baseline,
        vector_label_probabilities as vector_label_probabilities)
    from bert_kit.evaluation.trust.calibration import (
        brier_score as brier_score, confidence_coverage as confidence_coverage,
        expected_calibration_error as expected_calibration_error,
        format_coverage as format_coverage, format_reliability as format_reliability,
        reliability_bins as reliability_bins)
    from bert_kit.evaluation.trust.comparison import (
        format_leaderboard as format_leaderboard, rank as rank)
    from bert_kit.evaluation.scores.entities import (
        Entity as Entity, entity_metrics as entity_metrics, find_entities as find_entities,
        format_invalid_tags as format_invalid_tags, format_per_type as format_per_type,
        guess_scheme as guess_scheme, invalid_tags as invalid_tags)
    from bert_kit.evaluation.prediction_files import (
        PredictionWriter as PredictionWriter, class_cells as class_cells,
        class_columns as class_columns,
        label_set_cells as label_set_cells, label_set_columns as label_set_columns,
        number_cells as number_cells, number_columns as number_columns,
        write_predictions as write_predictions, write_rows as write_rows)
    from bert_kit.evaluation.scores.classes import (
        classification_metrics as classification_metrics,
        compute_confusion_matrix as compute_confusion_matrix,
        compute_precision_recall_f1 as compute_precision_recall_f1,
        evaluate_classification_metrics as evaluate_classification_metrics,
        format_per_class as format_per_class, logit_metrics as logit_metrics,
        matthews_correlation as matthews_correlation)
    from bert_kit.evaluation.trust.mistakes import (
        format_mistakes as format_mistakes, most_confident_mistakes as most_confident_mistakes)
    from bert_kit.evaluation.scores.labels import (
        multilabel_logit_metrics as multilabel_logit_metrics,
        multilabel_metrics as multilabel_metrics, predict_label_sets as predict_label_sets)
    from bert_kit.evaluation.outputs import (
        batch_logits as batch_logits, predict_logits as predict_logits,
        predict_token_logits as predict_token_logits)
    from bert_kit.evaluation.pictures.predictions import (
        plot_confidence_histogram as plot_confidence_histogram,
        plot_confusion_matrix as plot_confusion_matrix, plot_reliability as plot_reliability,
        plot_threshold_sweep as plot_threshold_sweep)
    from bert_kit.evaluation.pictures.runs import (
        plot_comparison as plot_comparison, plot_learning_curves as plot_learning_curves)
    from bert_kit.figures import PlotsMissing as PlotsMissing, require_plots as require_plots
    from bert_kit.evaluation.scores.ranking import (
        Ranks as Ranks, Searched as Searched, rank_right as rank_right,
        ranking_metrics as ranking_metrics)
    from bert_kit.evaluation.scores.numbers import (
        pearson_correlation as pearson_correlation, regression_metrics as regression_metrics,
        spearman_correlation as spearman_correlation)
    from bert_kit.evaluation.trust.resampling import (
        bootstrap_intervals as bootstrap_intervals, fold_scores as fold_scores,
        headline_scores as headline_scores, mcnemar as mcnemar)
    from bert_kit.evaluation.trust.scaling import (
        fit_label_scaling as fit_label_scaling, fit_temperature as fit_temperature,
        scaled_losses as scaled_losses)
    from bert_kit.evaluation.scores.spans import (
        Answer as Answer, NBest as NBest, best_spans as best_spans)
    from bert_kit.evaluation.trust.suspects import (
        format_suspects as format_suspects, rank_labels as rank_labels,
        unseen_probabilities as unseen_probabilities)
    from bert_kit.evaluation.scores.thresholds import (
        fit_thresholds as fit_thresholds, format_sweep as format_sweep,
        threshold_sweep as threshold_sweep, threshold_warning as threshold_warning)
    from bert_kit.evaluation.trust.verdict import (
        Finding as Finding, few_rows as few_rows, flat_answers as flat_answers,
        flat_numbers as flat_numbers, never_predicted as never_predicted, not_above as not_above,
        rising_loss as rising_loss, same_answers as same_answers)
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
