"""Every option of an active learning job: those of training, and how to ask for labels."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bert_kit.active import StoppingRules
from bert_kit.errors import ConfigError
from bert_kit.recipes.options import option
from bert_kit.recipes.settings import ClassificationSettings

# What a preset says of the options that are left open. The paper is Wang et al. 2024; it does not
# say how long a round trains. 512 tokens are its 510 word pieces.
PRESETS = {
    "fast": {"rounds": 8, "initial": 100, "batch": 100, "passes": 20, "max_length": 64,
             "seeds": (0, 1, 2)},
    "paper": {"rounds": 19, "initial": 500, "batch": 500, "passes": 100, "max_length": 512,
              "seeds": (0, 1, 2, 3, 4)},
}
METHODS = ("beal", "random")  # where none is chosen; a person is asked by the first
ORACLES = ("simulated", "ask", "csv")

_asking = partial(option, group="active learning")
_rules = partial(option, group="when to stop asking")
_data = partial(option, group="data")
_model = partial(option, group="model")
_training = partial(option, group="training")
_running = partial(option, group="running")


@dataclass(frozen=True)
class ActiveSettings(ClassificationSettings):
    """What to ask for labels of and how; checked when it is made, before any work.

    The fields are described by their help texts: `python -m bert_kit active --help`.
    """

    job: ClassVar[str] = "active"

    preset: str = _asking("fast", "how much to do where nothing else is said: fast, or as in the "
                          "paper on BEAL", choices=tuple(PRESETS))
    acquisition: tuple[str, ...] | None = _asking(
        None, "which methods, side by side: beal, deterministic_beal, bald, badge, core_set, "
        "entropy, margin, least_confidence, random; by default beal and random", "acquisitions",
        "methods")
    rounds: int | None = _asking(None, "rounds of questions after the first training")
    initial: int | None = _asking(None, "labels to begin with, of rows drawn at random")
    batch: int | None = _asking(None, "labels to ask for in a round")
    passes: int | None = _asking(None, "passes over the pool with dropout, for beal and bald")
    seeds: tuple[int, ...] | None = _asking(None, "a campaign of each method for each of these")
    oracle: str = _asking("simulated", "who has the labels: the file, a person at the terminal "
                          "(ask), or in a spreadsheet (csv)", choices=ORACLES)
    all_data: bool = _asking(True, "train on all labels too, as the goal; only if simulated")
    warm_start: bool = _asking(False, "train each round on from the last; most methods, and the "
                               "paper, begin with the pre-trained weights each time")
    extra_epochs: int = _asking(0, "train the last model of each campaign on for so many epochs")

    budget: int | None = _rules(None, "stop at so many labels")
    delta_f: float | None = _rules(None, "stop when the predicted change of F1 stays below this")
    classification_change: float | None = _rules(
        None, "stop when at most this share of the predictions changes")
    kappa: float | None = _rules(None, "stop when the mean kappa of successive models is so high")
    uncertainty: float | None = _rules(None, "stop when the mean entropy is below this share")
    window: int = _rules(3, "rounds that delta_f and kappa look at")
    stop_rows: int = _rules(1_000, "rows on which successive models are compared")

    pool_file: str | None = _data(None, "texts to ask a person about; by default those of the "
                                  "training rows, whose labels are then not looked at")
    classes: tuple[str, ...] | None = _data(
        None, "names of the classes, where pool_file is the only file")

    max_length: int | None = _model(None, "tokens in a row; the rest of a text is cut off",
                                    "max_seq_len", "max_seq_length")
    min_steps: int = _training(200, "train each round for at least so many steps, in whole epochs; "
                               "few rows make few steps, and too few teach nothing")
    pass_precision: str | None = _running(
        None, "of the passes with dropout; by default what the machine is fast in",
        choices=("float32", "bfloat16"))
    keep_weights: bool = _running(False, "keep the models of all rounds, not only of the last")
    output_dir: str | None = _running(
        "runs/active-N", "where everything goes; by default runs/active, runs/active-2 and so on",
        "output_root", "save_dir")

    def __post_init__(self):
        left_open = {"acquisition": METHODS, **PRESETS.get(self.preset, {})}
        if self.oracle != "simulated":
            left_open |= {"acquisition": METHODS[:1], "seeds": (self.seed,)}
        for name, value in left_open.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()
        self._check_given("pool_file", "acquisition", "seeds")
        self._check_least(initial=1, batch=1, passes=1, extra_epochs=0, min_steps=0, stop_rows=1)
        self.rules()
        for name in ("acquisition", "seeds", "classes"):
            values = getattr(self, name) or ()
            if len({*values}) < len(values):
                raise ConfigError(f"{name} names something twice; expected each once")
        if min(self.seeds) < 0:
            raise ConfigError(f"seeds are {self.seeds}; expected whole numbers from 0")
        if self.output_dir is None:
            raise ConfigError("a campaign is kept in a folder; expected an output_dir")
        if self.task == "regression":
            raise ConfigError("active learning has no method for regression; expected the task "
                              "classification or multi_label")
        for name in ("fast_dev_run", "overfit_batches", "time_limit"):
            if getattr(self, name):
                raise ConfigError(f"{name} has no meaning for a campaign; leave it out")
        if self.stride and {*self.acquisition} & {"badge", "core_set"}:
            raise ConfigError(f"stride is {self.stride}: a text in windows has no single vector "
                              "for badge and core_set; leave them out, or the stride")
        self._check_oracle()

    def _check_oracle(self):
        """Check what depends on who answers: a person is asked by one method, once."""
        files = self.data_file or self.train_file
        if self.oracle == "simulated":
            for name in ("pool_file", "classes"):
                if getattr(self, name):
                    raise ConfigError(f"{name} is for labels that are not known; give an oracle, "
                                      "ask or csv, with it")
            return
        if len(self.acquisition) > 1 or len(self.seeds) > 1:
            raise ConfigError(f"acquisition is {', '.join(self.acquisition)} with the seeds "
                              f"{', '.join(map(str, self.seeds))}; a person answers one campaign, "
                              "so give one of each")
        if self.pool_file and not files and len(self.classes or ()) < 2:
            raise ConfigError("pool_file has no labels; give the names of the classes, two or "
                              "more, or a data_file with some labelled rows")
        if files and self.classes:
            raise ConfigError("classes are those of the labelled rows; leave the option out")

    def rules(self):
        """Return the StoppingRules."""
        return StoppingRules(**{name: getattr(self, name) for name in (
            "rounds", "budget", "delta_f", "classification_change", "kappa", "uncertainty",
            "window")})
