"""Active learning: which texts to label next, and a loop that asks, trains and can be killed."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.active.acquisition import (
        ACQUISITIONS as ACQUISITIONS, Pool as Pool, badge as badge, bald as bald, beal as beal,
        confidence as confidence, core_set as core_set, deterministic_beal as deterministic_beal,
        entropies as entropies, entropy as entropy, expected_confidence as expected_confidence,
        least_confidence as least_confidence, lowest as lowest, margin as margin,
        mutual_information as mutual_information, random as random, relevance as relevance)
    from bert_kit.active.diversity import (
        farthest_first as farthest_first, gradient_factors as gradient_factors,
        k_means_plus_plus as k_means_plus_plus)
    from bert_kit.active.dropout import dropout_on as dropout_on
    from bert_kit.active.loop import ActiveLearner as ActiveLearner, run_campaign as run_campaign
    from bert_kit.active.oracles import LabelFile as LabelFile, simulated as simulated
    from bert_kit.active.report import (
        labels_needed as labels_needed, mean_curve as mean_curve,
        paired_difference as paired_difference, share_needed as share_needed)
    from bert_kit.active.stopping import StoppingRules as StoppingRules, agreement as agreement
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
