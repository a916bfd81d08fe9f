"""What is to be told of a text: one class, any number of labels, or a number.

One object a task has all that differs between the three; the jobs ask it, never its name. See
`ClassTask` for what it is asked.
"""

from bert_kit.errors import ConfigError
from bert_kit.recipes.class_task import ClassTask
from bert_kit.recipes.label_task import LabelTask
from bert_kit.recipes.number_task import NumberTask

TASKS = {"classification": ClassTask(), "multi_label": LabelTask(), "regression": NumberTask()}
KEPT = ("problem_type", "thresholds", "calibration")  # what config.json says of the task


def task_of(config):
    """Return the task that a model's configuration was stored for.

    It is the `problem_type`, as the Hugging Face library writes it; without one, a model with a
    single output tells a number, as there.

    Raises
    ------
    ConfigError
        If there is no such task.
    """
    types = {task.problem_type: task for task in TASKS.values()}
    found = config.extra.get("problem_type") or (
        NumberTask if config.num_labels == 1 else ClassTask).problem_type
    if str(found) not in types:
        raise ConfigError(f"config.json: problem_type is {found!r}; expected one of "
                          f"{', '.join(types)}")
    return types[found]


def without_task(extra):
    """Return the foreign keys of a configuration without what they say of another task."""
    return {key: value for key, value in extra.items() if key not in KEPT}
