"""A study: a stored search, with the doors to all that stands around it."""

from bert_kit.tuner.halving import run_plan
from bert_kit.tuner.parameter_importance import importance
from bert_kit.tuner.running import run_trials
from bert_kit.tuner.stored_study import StoredStudy
from bert_kit.tuner.trial_files import export, statistics


class Study(StoredStudy):
    """The search for the parameters with the best value: stored, shared, resumed and run.

    Parameters
    ----------
    path
        Folder for study.sqlite, the exported files and what trials keep; None: all in memory.
    direction
        "minimize" or "maximize".
    directions
        {objective: direction} instead, where there are several, or to name the one: a report
        then calls it so.
    sampler
        `TPE()` by default.
    pruner
        Says which trials end early, as those in `bert_kit.tuner.pruning`.
    seed
        The draw of a trial depends on this, its number, and what had been told by then.
    resume
        Go on with the study of the folder, if there is one. Its name, directions and seed stay;
        the space may be wider.

    Raises
    ------
    ConfigError
        If an argument is impossible, or the space lacks something that the study's had.
    TuningError
        If the folder holds a study and `resume` is not given, or another study.

    Examples
    --------
    >>> from bert_kit.tuner.space import SearchSpace
    >>> study = Study("parabola", SearchSpace().continuous("x", -1, 1))
    >>> study.optimize(lambda trial: trial.params["x"] ** 2, n_trials=30)
    >>> study.best.value < 0.01
    True
    """

    optimize, halve, statistics, export = run_trials, run_plan, statistics, export

    def importance(self) -> dict[str, float]:
        """Return {parameter: share} of what sets the best trials apart; empty of too few trials."""
        return importance(self.space, self.trials)
