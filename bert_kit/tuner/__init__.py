"""Hyperparameter search in numpy and the standard library; importing it takes no torch."""

from bert_kit.tuner.importance import importance
from bert_kit.tuner.samplers import TPE, Exhausted, Grid, Random, best_first, pareto_front
from bert_kit.tuner.space import Parameter, SearchSpace, log
from bert_kit.tuner.trial import Leg, Trial

__all__ = ["TPE", "Exhausted", "Grid", "Leg", "Parameter", "Random", "SearchSpace", "Trial",
           "best_first", "importance", "log", "pareto_front"]
