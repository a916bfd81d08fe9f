"""The training of text models behind scikit-learn's interface: lists of texts in, answers out.

`BertClassifier` tells classes or sets of labels, `BertRegressor` a number, and `BertVectorizer`
gives the vectors of a sentence encoder to any other model.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin,
                          RegressorMixin, TransformerMixin)
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from bert_kit.checks import number, share, whole
from bert_kit.errors import ConfigError, DataError
from bert_kit.jobs.options.declare import spellings
from bert_kit.jobs.tasks.similarity import SentenceEncoder
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.train import fit_texts

OnLog = Callable[[dict[str, float | None]], object]
# Parameters that are no options of a training under another spelling.
OWN = ("class_weight", "settings", "calibrated", "on_log")
AS_OPTIONS = {"verbose": "verbosity", "validation_fraction": "val_size"}


class _TextEstimator(BaseEstimator):
    """What the estimators that train share: parameters, options, and texts as input."""

    def __init__(self, model: str | Path | None = None, classifier: str = "standard",
                 num_train_epochs: int | None = None, batch_size: int = 32,
                 learning_rate: float | str | None = None, max_length: int = 128,
                 dropout: float | None = None, weight_decay: float = 0.01, device: str = "auto",
                 random_state: int | np.random.RandomState | None = 0, verbose: int = 0,
                 settings: Mapping[str, Any] | None = None,
                 validation_fraction: float = 0.0, on_log: OnLog | None = None) -> None:
        self.model = model
        self.classifier = classifier
        self.num_train_epochs = num_train_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_length = max_length
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.settings = settings
        self.validation_fraction = validation_fraction
        self.on_log = on_log

    def _options(self, task: str) -> dict[str, Any]:
        """Return the options of training; a parameter left as it is gives way to `settings`."""
        share("validation_fraction", self.validation_fraction, below=True)  # by its own name
        known = spellings(task_named(task).options)
        also = {known.get(name, name): name for name in self.settings or {}}
        options = {**(self.settings or {})}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if name in OWN:
                continue
            field = known[AS_OPTIONS.get(name, name)]
            if field not in also:
                options[field] = self._seed() if field == "seed" else value
            elif value != parameter.default:
                raise ConfigError(f"{name} is {value!r}, and settings have {also[field]!r}; "
                                  "expected one of them")
        return options

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.non_deterministic = self.random_state is None
        return tags


class BertClassifier(ClassifierMixin, _TextEstimator):
    """A BERT text classifier for scikit-learn's pipelines, searches and calibrators.

    It tells one class a text, or where `y` is a matrix of 0 and 1 any number of labels.

    Parameters
    ----------
    model
        Folder or name of a BERT to start from; None trains a small one from nothing.
    classifier
        The head: standard, mlp, bilstm, attention, cnn, fourier_kan or wavelet_kan.
    num_train_epochs
        3 with weights, 6 from scratch, and where none are given at least 200 steps, or 5 for
        each class up to 1,000: few rows make few steps, and too few teach nothing
        (`settings={"min_steps": …}`).
    learning_rate
        5e-5 with weights, 5e-4 from scratch; "auto" finds one.
    max_length
        Tokens of a text; the rest is cut off.
    dropout
        In the head; default the model's own.
    class_weight
        {class: weight}, "balanced" or None, as everywhere in scikit-learn; of labels None or
        "balanced".
    device
        auto, cpu, cuda or mps.
    random_state
        The same number gives the same model on a CPU.
    verbose
        0 to 2.
    settings
        Further options of training by name; `python -m bert_kit train --help` lists them.
    validation_fraction
        Share of the rows to hold out. They choose the epoch that is kept, and with
        `settings={"early_stopping": 2}` end the training; of labels also the thresholds, which
        are .5 without. The `metric` among the settings decides, f1_macro (of labels f1_micro) by
        default. 0 trains on all rows, to the last step.
    calibrated
        Scale probabilities as these rows say, where that helps; no answer changes.
    on_log
        Called with every row of the log, see `bert_kit.training.Trainer`. scikit-learn copies
        it with the estimator: give it a function, not a method of a writer that is open.

    Attributes
    ----------
    classes_
        The different labels (C,), sorted; of a matrix the names of its columns, or their numbers.
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
                 settings: Mapping[str, Any] | None = None, validation_fraction: float = 0.0,
                 calibrated: bool = False, on_log: OnLog | None = None) -> None:
        super().__init__(model, classifier, num_train_epochs, batch_size, learning_rate, max_length,
                         dropout, weight_decay, device, random_state, verbose, settings,
                         validation_fraction, on_log)
        self.class_weight = class_weight
        self.calibrated = calibrated

    def fit(self, X: Sequence[str] | np.ndarray, y: ArrayLike,
            sample_weight: ArrayLike | None = None) -> Self:
        """Train on texts `X` (N) with labels `y` (N), or (N, C) of 0 and 1, and return self.

        Parameters
        ----------
        sample_weight
            Of each text (N,), not negative; only the proportions matter.

        Raises
        ------
        BertKitError
            A ValueError of one line, for input that cannot be used.
        """
        texts, y, names = _texts(X), *_labels(y)
        weights = _weights(sample_weight, len(texts))
        if y.ndim == 2 and len(y) == len(texts):
            return self._fit_label_sets(texts, y, names, weights)
        if y.shape != (len(texts),):
            raise DataError(f"{len(texts)} texts but labels of shape {y.shape}; "
                            "expected one label a text")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"the labels hold {len(self.classes_)} class; expected at least 2")
        if self.class_weight is not None:
            self._check_class_weight()
            of_class = compute_sample_weight(self.class_weight, y)
            weights = of_class if weights is None else weights * of_class
        self.predictor_ = fit_texts(
            "classification", texts, labels.tolist(), [str(name) for name in self.classes_],
            self._options("classification"), _mean_of_one(weights), self.calibrated,
            self.on_log)
        return self

    def _fit_label_sets(self, texts: list[str], y: np.ndarray, names: Sequence[Any] | None,
                        weights: np.ndarray | None) -> Self:
        if type_of_target(y) != "multilabel-indicator":
            raise DataError(f"labels have shape {y.shape}; expected one class a text, or a matrix "
                            "of 0 and 1 with a column for each label (of lists of labels: "
                            "MultiLabelBinarizer().fit_transform(y))")
        if not y.any():
            raise DataError(f"no row of {len(y):,} has a label; expected some")
        options = self._options("multi_label")
        if self.class_weight is not None:
            if self.class_weight != "balanced":
                raise ConfigError(f"class_weight is {self.class_weight!r:.40}; expected balanced "
                                  "or None for sets of labels")
            options["class_weight"] = self.class_weight
        self.classes_ = np.arange(y.shape[1]) if names is None else np.asarray(names)
        self.predictor_ = fit_texts(
            "multi_label", texts, y.astype(np.float32), [str(name) for name in self.classes_],
            options, _mean_of_one(weights), self.calibrated,
            self.on_log)
        return self

    def predict_proba(self, X: Sequence[str] | np.ndarray) -> np.ndarray:
        """Texts (N) -> probabilities (N, C) in the order of `classes_`."""
        check_is_fitted(self)
        return self.predictor_.probabilities(_texts(X))

    def predict(self, X: Sequence[str] | np.ndarray) -> np.ndarray:
        """Texts (N) -> labels (N); after a matrix of labels a matrix (N, C) of 0 and 1."""
        check_is_fitted(self)
        if not self.predictor_.task.has_label_sets:
            return self.classes_[self.predict_proba(X).argmax(1)]
        found, names = self.predictor_.predict(_texts(X)), self.predictor_.classes
        return np.array([[name in labels for name in names] for labels in found], dtype=int)

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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class BertRegressor(RegressorMixin, _TextEstimator):
    """A BERT that tells a number a text, for scikit-learn's pipelines and searches.

    Parameters are those of `BertClassifier`, but for `class_weight` and `calibrated`. The `metric`
    by which the rows of a `validation_fraction` choose is spearman by default, or pearson or loss.

    Attributes
    ----------
    predictor_
        The trained model, a `bert_kit.Predictor`.

    Examples
    --------
    ::

        regressor = BertRegressor("minilm", validation_fraction=0.1).fit(texts, scores)
        print(regressor.predict(["How long is this?"]))
    """

    def fit(self, X: Sequence[str] | np.ndarray, y: ArrayLike,
            sample_weight: ArrayLike | None = None) -> Self:
        """Train on texts `X` (N) with numbers `y` (N) and return self; see `BertClassifier.fit`.

        The loss is the mean squared error.
        """
        texts = _texts(X)
        try:
            with np.errstate(over="ignore"):  # beyond float32; told below
                numbers = np.asarray(y, dtype=np.float32)
        except (TypeError, ValueError):
            raise DataError("y holds what is no number; expected a number a text") from None
        if numbers.shape != (len(texts),):
            raise DataError(f"{len(texts)} texts but y of shape {numbers.shape}; expected a number "
                            "a text")
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise DataError(f"y of row {wrong[0]} is {numbers[wrong[0]]}; expected a finite number")
        if not len(numbers) or (numbers == numbers[0]).all():
            raise DataError("y is the same number in all rows; expected different ones")
        weights = _weights(sample_weight, len(texts))
        self.predictor_ = fit_texts("regression", texts, numbers, ["label"],
                                    self._options("regression"), _mean_of_one(weights),
                                    on_log=self.on_log)
        return self

    def predict(self, X: Sequence[str] | np.ndarray) -> np.ndarray:
        """Texts (N) -> numbers (N), float64."""
        check_is_fitted(self)
        return np.array(self.predictor_.predict(_texts(X)))


class BertVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Texts as the vectors of a sentence encoder, for any model of scikit-learn to learn from.

    It stands where TfidfVectorizer would. Nothing is trained: `fit` loads the encoder.

    Parameters
    ----------
    model
        Folder or name of a sentence encoder, or of a BERT with a `pooling`.
    pooling
        mean, cls or max, for a folder that does not say how token vectors become one.
    max_length
        Tokens of a text; by default the encoder's own.
    precision
        float32, or bfloat16, which is faster on most machines and off in the third digit.
    device
        auto, cpu, cuda or mps.
    download
        Allow the Hugging Face hub to be asked.

    Attributes
    ----------
    encoder_
        The `bert_kit.SentenceEncoder`.

    Examples
    --------
    ::

        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        model = make_pipeline(BertVectorizer("all-MiniLM-L6-v2"), LogisticRegression(max_iter=1000))
        print(cross_val_score(model, texts, labels, cv=5).mean())
    """

    def __init__(self, model: str | Path = "all-MiniLM-L6-v2", pooling: str | None = None,
                 max_length: int | None = None, precision: str = "float32", device: str = "auto",
                 download: bool = False) -> None:
        self.model = model
        self.pooling = pooling
        self.max_length = max_length
        self.precision = precision
        self.device = device
        self.download = download

    def fit(self, X: Sequence[str] | np.ndarray, y: Any = None) -> Self:
        """Load the encoder and return self; `X` is only checked to be texts.

        Raises
        ------
        BertKitError
            A ValueError of one line, if there is no such encoder, or what is given is no text.
        """
        _texts(X)
        encoder = SentenceEncoder(self.model, precision=self.precision, device=self.device,
                                  pooling=self.pooling, download=self.download)
        if self.max_length is not None:
            longest = encoder.model.config.max_position_embeddings
            encoder.max_length = whole("max_length", self.max_length, 3, longest)
        self.encoder_ = encoder
        return self

    def transform(self, X: Sequence[str] | np.ndarray) -> np.ndarray:
        """Texts (N) -> vectors (N, D), a float32 array."""
        check_is_fitted(self)
        return self.encoder_.encode(_texts(X))

    @property
    def _n_features_out(self) -> int:
        return self.encoder_.dimension

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags


def _texts(values: Any) -> list[str]:
    """Return texts as a list; a table or an array of one column is taken as it comes."""
    if isinstance(values, str):
        raise DataError("X is one string; expected a sequence of texts")
    if hasattr(values, "__array__"):
        array = np.asarray(values, dtype=object)
        if array.ndim > 1 and array.shape[1:] != (1,):  # each of its cells would be a text
            raise DataError(f"X has the shape {array.shape}; expected one column of texts")
        values = array.ravel()
    values = list(values)
    for row, text in enumerate(values):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"row {row} of X is {text!r:.40}; expected a text")
    return values


def _labels(values: Any) -> tuple[np.ndarray, list[Any] | None]:
    """Return labels as an array, and the names of its columns where they have some.

    Names and numbers in one array would all become names.
    """
    names = getattr(values, "columns", None)  # of a DataFrame
    if names is not None or hasattr(values, "toarray"):  # or a sparse matrix
        array = values.to_numpy() if names is not None else values.toarray()
        return array, None if names is None else [*names]
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
        typed = np.asarray(result.tolist()) if result.dtype == object else result  # its own type
        return typed, None
    except ValueError:  # lists of many lengths
        raise DataError("labels are lists; expected one class a text, or a matrix of 0 and 1 with "
                        "a column for each label (MultiLabelBinarizer().fit_transform(y))"
                        ) from None


def _weights(values: ArrayLike | None, count: int) -> np.ndarray | None:
    if values is None:
        return None
    weights = np.asarray(values, dtype=float)
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any() \
            or not weights.any():
        raise DataError(f"sample_weight has shape {weights.shape}; expected {count} numbers from "
                        "0, not all 0")
    return weights


def _mean_of_one(weights: np.ndarray | None) -> np.ndarray | None:
    """Return weights in the same proportions, whose mean is 1."""
    return None if weights is None else weights * (len(weights) / weights.sum())
