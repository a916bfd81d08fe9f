"""Hyperparameter search in numpy and the standard library; importing it takes no torch."""

from bert_kit.tuner.exports import KeepTop
from bert_kit.tuner.importance import importance
from bert_kit.tuner.pbt import PBT, Member, Population
from bert_kit.tuner.pruning import Hyperband, Median, Percentile, SuccessiveHalving, Threshold
from bert_kit.tuner.report import write_lineage, write_report
from bert_kit.tuner.samplers import TPE, Exhausted, Grid, Random, best_first, pareto_front
from bert_kit.tuner.space import Parameter, SearchSpace, log
from bert_kit.tuner.study import Study
from bert_kit.tuner.trial import Leg, Trial

__all__ = ["PBT", "TPE", "Exhausted", "Grid", "Hyperband", "KeepTop", "Leg", "Median", "Member",
           "Parameter", "Percentile", "Population", "Random", "SearchSpace", "Study",
           "SuccessiveHalving", "Threshold", "Trial", "best_first", "importance", "log",
           "pareto_front", "write_lineage", "write_report"]
