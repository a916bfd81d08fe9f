"""The training of a classifier behind scikit-learn's interface: lists of texts in, classes out."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from bert_kit.checks import number
from bert_kit.errors import ConfigError, DataError
from bert_kit.jobs.options.declare import spellings
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.train import fit_texts


class BertClassifier(ClassifierMixin, BaseEstimator):
    """A BERT text classifier for scikit-learn's pipelines, searches and calibrators.

    Parameters
    ----------
    model
        Folder or name of a BERT to start from; None trains a small one from nothing.
    classifier
        The head: standard, mlp, bilstm, attention, cnn, fourier_kan or wavelet_kan.
    num_train_epochs
        3 with weights, 6 from scratch, and where none are given at least 200 steps: few rows make
        few steps, and too few teach nothing (`settings={"min_steps": …}`).
    learning_rate
        5e-5 with weights, 5e-4 from scratch; "auto" finds one.
    max_length
        Tokens of a text; the rest is cut off.
    dropout
        In the head; default the model's own.
    class_weight
        {class: weight}, "balanced" or None, as everywhere in scikit-learn.
    device
        auto, cpu, cuda or mps.
    random_state
        The same number gives the same model on a CPU.
    verbose
        0 to 2.
    settings
        Further options of training by name; `python -m bert_kit train --help` lists them.
    on_log
        Called with every row of the log, see `bert_kit.training.Trainer`. scikit-learn copies
        it with the estimator: give it a function, not a method of a writer that is open.

    Attributes
    ----------
    classes_
        The different labels (C,), sorted.
    predictor_
        The trained model, a `bert_kit.Predictor`.

    Examples
    --------
    ::

        from sklearn.model_selection import cross_val_score
        print(cross_val_score(BertClassifier("minilm"), texts, labels, cv=5).mean())
    """

    def __init__(self, model: str | Path | None = None, classifier: str = "standard",
                 num_train_epochs: int | None = None, batch_size: int = 32,
                 learning_rate: float | str | None = None, max_length: int = 128,
                 dropout: float | None = None, weight_decay: float = 0.01,
                 class_weight: Mapping[Any, float] | str | None = None, device: str = "auto",
                 random_state: int | np.random.RandomState | None = 0, verbose: int = 0,
                 settings: Mapping[str, Any] | None = None,
                 on_log: Callable[[dict[str, float | None]], object] | None = None) -> None:
        self.model = model
        self.classifier = classifier
        self.num_train_epochs = num_train_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_length = max_length
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.settings = settings
        self.on_log = on_log

    def fit(self, X: Sequence[str] | np.ndarray, y: ArrayLike,
            sample_weight: ArrayLike | None = None) -> Self:
        """Train on texts `X` (N) with labels `y` (N) and return self.

        Parameters
        ----------
        sample_weight
            Of each text (N,), not negative; only the proportions matter.

        Raises
        ------
        BertKitError
            A ValueError of one line, for input that cannot be used.
        """
        texts, y = _texts(X), _labels(y)
        if y.shape != (len(texts),):
            raise DataError(f"{len(texts)} texts but labels of shape {y.shape}; "
                            "expected one label a text")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        weights = _weights(sample_weight, len(texts))
        if self.class_weight is not None:
            self._check_class_weight()
            of_class = compute_sample_weight(self.class_weight, y)
            weights = of_class if weights is None else weights * of_class
        if weights is not None:
            weights = weights * (len(weights) / weights.sum())
        self.predictor_ = fit_texts(texts, labels.tolist(), [str(name) for name in self.classes_],
                                    self._options(), weights, self.on_log)
        return self

    def predict_proba(self, X: Sequence[str] | np.ndarray) -> np.ndarray:
        """Texts (N) -> probabilities (N, C) in the order of `classes_`."""
        check_is_fitted(self)
        return self.predictor_.probabilities(_texts(X))

    def predict(self, X: Sequence[str] | np.ndarray) -> np.ndarray:
        """Texts (N) -> labels (N)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _options(self) -> dict[str, Any]:
        """Return the options of training; a parameter left as it is gives way to `settings`."""
        known = spellings(task_named("classification").options)
        also = {known.get(name, name): name for name in self.settings or {}}
        options = {**(self.settings or {})}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if name in ("class_weight", "settings", "on_log"):
                continue
            field = known["verbosity" if name == "verbose" else name]
            if field not in also:
                options[field] = self._seed() if field == "seed" else value
            elif value != parameter.default:
                raise ConfigError(f"{name} is {value!r}, and settings have {also[field]!r}; "
                                  "expected one of them")
        return options

    def _check_class_weight(self) -> None:
        """Refuse weights of other classes than those of y: "1" and 1 are two."""
        classes = self.classes_.tolist()
        if isinstance(self.class_weight, Mapping) and {*classes} - self.class_weight.keys():
            for name in self.class_weight:
                if name not in classes:
                    raise DataError(f"class_weight has the class {name!r}; expected classes of y, "
                                    f"{', '.join(map(repr, classes))[:200]}")
        for name, value in self.class_weight.items() if isinstance(
                self.class_weight, Mapping) else ():
            number(f"class_weight of {name!r}", value, 0, 1e300, error=DataError)

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.non_deterministic = self.random_state is None
        return tags


def _texts(values: Any) -> list[str]:
    """Return texts as a list; a column of a table or an array is taken as it comes."""
    if isinstance(values, str):
        raise DataError("X is one string; expected a sequence of texts")
    values = list(np.asarray(values, dtype=object).ravel() if hasattr(values, "__array__")
                  else values)
    for row, text in enumerate(values):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"row {row} of X is {text!r:.40}; expected a text")
    return values


def _labels(values: Any) -> np.ndarray:
    """Return labels as an array; names and numbers in one would all become names."""
    first = None
    for row, label in enumerate(values):
        if np.ndim(label):
            continue  # told by the shape of all
        if label is None or not isinstance(label, str) and str(label) in ("nan", "<NA>", "NaT"):
            raise DataError(f"the label of row {row} is {label}; expected a class in each row")
        first = label if row == 0 else first
        if isinstance(label, str) != isinstance(first, str):
            raise DataError(f"the label of row {row} is {label!r:.40}, and of row 0 {first!r:.40}; "
                            "expected names only, or numbers only")
    try:
        result = np.asarray(values)
        return np.asarray(result.tolist()) if result.dtype == object else result  # its own type
    except ValueError:  # lists of many lengths
        raise DataError("labels are lists; expected one class a text (any number of labels a text "
                        "is the task multi_label)") from None


def _weights(values: ArrayLike | None, count: int) -> np.ndarray | None:
    if values is None:
        return None
    weights = np.asarray(values, dtype=float)
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any() \
            or not weights.any():
        raise DataError(f"sample_weight has shape {weights.shape}; expected {count} numbers from "
                        "0, not all 0")
    return weights
