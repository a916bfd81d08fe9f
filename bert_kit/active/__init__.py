"""Active learning: which texts to label next, and a loop that asks, trains and can be killed."""

from bert_kit.active.acquisition import (ACQUISITIONS, Pool, badge, bald, beal, confidence,
                                         core_set, deterministic_beal, entropies, entropy,
                                         expected_confidence, least_confidence, lowest, margin,
                                         mutual_information, random, relevance)
from bert_kit.active.diversity import farthest_first, gradient_factors, k_means_plus_plus
from bert_kit.active.dropout import dropout_on
from bert_kit.active.loop import ActiveLearner, run_campaign
from bert_kit.active.oracles import LabelFile, simulated
from bert_kit.active.report import (labels_needed, mean_curve, paired_difference, share_needed,
                                    t_quantile)
from bert_kit.active.stopping import StoppingRules, agreement

__all__ = [
    "ACQUISITIONS", "ActiveLearner", "LabelFile", "Pool", "StoppingRules", "agreement", "badge",
    "bald", "beal", "confidence", "core_set", "deterministic_beal", "dropout_on", "entropies",
    "entropy", "expected_confidence", "farthest_first", "gradient_factors", "k_means_plus_plus",
    "labels_needed", "least_confidence", "lowest", "margin", "mean_curve", "mutual_information",
    "paired_difference", "random", "relevance", "run_campaign", "share_needed", "simulated",
    "t_quantile",
]
