"""Hyperparameter search in numpy and the standard library; importing it takes no torch."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.tuner.ask_tell import (
        AskTell as AskTell, Exhausted as Exhausted, Trial as Trial, best_first as best_first)
    from bert_kit.tuner.legs import Leg as Leg
    from bert_kit.tuner.logging_callback import (
        LoggingCallback as LoggingCallback, parameters_text as parameters_text)
    from bert_kit.tuner.parameter_importance import importance as importance
    from bert_kit.tuner.pareto import pareto_front as pareto_front
    from bert_kit.tuner.pbt import ExploitExplore as ExploitExplore, Member as Member
    from bert_kit.tuner.population import PBT as PBT, Population as Population
    from bert_kit.tuner.pruning import (
        Hyperband as Hyperband, Median as Median, Percentile as Percentile,
        SuccessiveHalving as SuccessiveHalving, Threshold as Threshold)
    from bert_kit.tuner.report import write_lineage as write_lineage, write_report as write_report
    from bert_kit.tuner.space import Parameter as Parameter, SearchSpace as SearchSpace, log as log
    from bert_kit.tuner.study import Study as Study
    from bert_kit.tuner.tpe import Grid as Grid, Random as Random, TPE as TPE
    from bert_kit.tuner.trial_files import KeepTop as KeepTop
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
