"""What an active learning job asks besides the options of its task: how to ask, when to stop."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bert_kit.active import StoppingRules
from bert_kit.checks import number, unique
from bert_kit.errors import ConfigError
from bert_kit.jobs.active.tool_files import SUFFIXES
from bert_kit.jobs.options.declare import Needs, Options, fields_of, option
from bert_kit.jobs.options.parser import config_value
from bert_kit.jobs.tasks.numbers import NumberTask
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import TextTask

# What a preset says of the options that are left open. The paper is Wang et al. 2024; it does not
# say how long a round trains. 512 tokens are its 510 word pieces.
PRESETS = {
    "fast": {"rounds": 8, "initial": 100, "batch": 100, "passes": 20, "max_length": 64,
             "seeds": (0, 1, 2)},
    "paper": {"rounds": 19, "initial": 500, "batch": 500, "passes": 100, "max_length": 512,
              "seeds": (0, 1, 2, 3, 4)},
}
METHODS = ("beal", "random")  # where none is chosen; a person is asked by the first
# A round is a short training that keeps nothing on disk but its model, and logs nothing.
NOT_OF_ROUNDS = ("fast_dev_run", "overfit_batches", "minutes", "baselines", "eval_steps",
                 "save_steps", "save_total_limit", "logging_steps", "load_best_model_at_end")


@dataclass(frozen=True)
class AskingOptions(Options):
    """Which labels to ask for, how many, and of whom."""

    title: ClassVar[str] = "active learning"

    preset: str = option("fast", "how much to do where nothing else is said: fast, or as in the "
                         "paper on BEAL", choices=tuple(PRESETS))
    acquisition: tuple[str, ...] | None = option(
        None, "which methods, side by side: beal, deterministic_beal, bald, badge, core_set, "
        "entropy, margin, least_confidence, random; by default beal and random", "acquisitions",
        "methods", may_change=True)
    rounds: int | None = option(None, "rounds of questions after the first training",
                                may_change=True)
    initial: int | None = option(None, "labels to begin with, of rows drawn at random", least=1)
    batch: int | None = option(None, "labels to ask for in a round", least=1)
    passes: int | None = option(None, "passes over the pool with dropout, for beal and bald",
                                least=1)
    seeds: tuple[int, ...] | None = option(None, "a campaign of each method for each of these",
                                           may_change=True)
    oracle: str = option("simulated", "who has the labels: the file (simulated), a person at "
                         "the terminal (ask), in a spreadsheet (csv), in Label Studio or in "
                         "doccano",
                         choices=("simulated", "ask", "csv", *SUFFIXES), may_change=True)
    pool_file: str | None = option(None, "texts to ask a person about; by default those of the "
                                   "training rows, whose labels are then not looked at",
                                   may_change=True)
    classes: tuple[str, ...] | None = option(
        None, "names of the classes, where pool_file is the only file")
    all_data: bool = option(True, "train on all labels too, as the goal; only if simulated",
                            may_change=True)
    warm_start: bool = option(False, "train each round on from the last; most methods, and the "
                              "paper, begin with the pre-trained weights each time")
    extra_epochs: int = option(0, "train the last model of each campaign on for so many epochs",
                               least=0, may_change=True)
    pass_precision: str | None = option(
        None, "of the passes with dropout; by default what the machine is fast in",
        choices=("float32", "bfloat16"))
    keep_weights: bool = option(False, "keep the models of all rounds, not only of the last")


@dataclass(frozen=True)
class RuleOptions(Options):
    """When a campaign has learned enough. One that goes on may have other rules."""

    title: ClassVar[str] = "when to stop asking"

    budget: int | None = option(None, "stop at so many labels", may_change=True)
    delta_f: float | None = option(
        None, "stop when the predicted change of F1 stays below this", may_change=True)
    classification_change: float | None = option(
        None, "stop when at most this share of the predictions changes", may_change=True)
    kappa: float | None = option(
        None, "stop when the mean kappa of successive models is so high", may_change=True)
    uncertainty: float | None = option(
        None, "stop when the mean entropy is below this share", may_change=True)
    window: int = option(3, "rounds that delta_f and kappa look at", may_change=True, needs=Needs(
        "delta_f or kappa", lambda options: (options.delta_f, options.kappa) != (None, None)))
    stop_rows: int = option(1_000, "rows on which successive models are compared", least=1)


@dataclass(frozen=True)
class CampaignOptions(AskingOptions, RuleOptions):
    """What a job of campaigns adds to the options of a task; see `options_for`."""

    max_length: int | None = option(None, "tokens in a row; the rest of a text is cut off",
                                    "max_seq_len", "max_seq_length", least=3)
    time_limit: float | None = option(
        None, "seconds after which no round begins; --resume auto goes on", may_change=True)
    min_steps: int | None = option(
        None, "least steps of a round, in whole epochs: few rows make few, and too few teach "
        "nothing; 200 by default, or 5 a class up to 1,000", least=0, before=200)

    examples = ("bert-kit active --data_file my.csv --model FOLDER --acquisition beal badge random",
                "bert-kit active --oracle csv --pool_file texts.csv --classes spam ham "
                "--model FOLDER")
    main = ("data_file", "model", "acquisition", "preset", "oracle", "output_dir")

    def __post_init__(self) -> None:
        options: Any = self  # of a task too
        left_open = {"acquisition": METHODS, **PRESETS.get(self.preset, {})}
        if self.oracle != "simulated":
            left_open |= {"acquisition": METHODS[:1], "seeds": (options.seed,)}
        for name, value in left_open.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()
        self.rules()
        for name in ("acquisition", "seeds", "classes"):
            unique(name, getattr(self, name) or ())
        if self.time_limit is not None:
            number("time_limit", self.time_limit, 0, above=True, error=ConfigError)
        if min(options.seeds) < 0:
            raise ConfigError(f"seeds are {self.seeds}; expected whole numbers from 0")
        if options.output_dir is None:
            raise ConfigError("a campaign is kept in a folder; expected an output_dir")
        for field in fields_of(type(self)):
            if field.name in NOT_OF_ROUNDS and getattr(self, field.name) != field.default:
                raise ConfigError(f"{field.name} has no meaning for a campaign; leave it out")
        if options.stride and {*options.acquisition} & {"badge", "core_set"}:
            raise ConfigError(f"stride is {options.stride}: a text in windows has no single vector "
                              "for badge and core_set; leave them out, or the stride")
        self._check_oracle(options)

    def _check_oracle(self, options: Any) -> None:
        """Check what depends on who answers: a person is asked by one method, once."""
        files = options.data_file or options.train_file
        if self.oracle == "simulated":
            for name in ("pool_file", "classes"):
                if getattr(self, name):
                    raise ConfigError(f"{name} is for labels that are not known; give an oracle, "
                                      "such as ask or csv, with it")
            return
        if len(options.acquisition) > 1 or len(options.seeds) > 1:
            raise ConfigError(f"acquisition is {', '.join(options.acquisition)} with the seeds "
                              f"{', '.join(map(str, options.seeds))}; a person answers one "
                              "campaign, so give one of each")
        if self.pool_file and not files and len(self.classes or ()) < 2:
            raise ConfigError("pool_file has no labels; give the names of the classes, two or "
                              "more, or a data_file with some labelled rows")
        if files and self.classes:
            raise ConfigError("classes are those of the labelled rows; leave the option out")

    def rules(self) -> StoppingRules:
        """Return when to stop."""
        return StoppingRules(**{field.name: getattr(self, field.name)
                                for field in dataclasses.fields(StoppingRules)})


def options_for(task: str) -> type[CampaignOptions]:
    """Return the class of the options of campaigns for a task: those of the task, and how to ask.

    Raises
    ------
    ConfigError
        If the task gives a text no classes: there is no method for it.
    """
    found = task_named(task)
    if not isinstance(found, TextTask) or isinstance(found, NumberTask):
        raise ConfigError(f"active learning has no method for {task}; expected the task "
                          "classification or multi_label")
    return dataclass(frozen=True)(type("ActiveOptions", (CampaignOptions, found.options), {
        "__doc__": "What to ask for labels of and how.", "__module__": __name__}))


def options_class(arguments: Sequence[str]) -> type[CampaignOptions]:
    """Return the class of the options that a command line of `active` has."""
    return options_for(str(config_value(arguments, "task") or "classification"))
