"""The estimator under scikit-learn's own tools and checks."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from bert_kit import BertClassifier
from bert_kit.errors import DataError
from bert_kit.estimator import _labels
from tiny_jobs import table, tiny_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return str(tiny_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture
def estimator(bert):
    return BertClassifier(bert, num_train_epochs=12, batch_size=8, learning_rate=5e-3,
                          max_length=24, device="cpu", settings={"precision": "float32"})


@pytest.fixture(scope="module")
def fitted(bert):
    return BertClassifier(bert, num_train_epochs=12, batch_size=8, learning_rate=5e-3,
                          max_length=24, device="cpu").fit(*table(90))


@pytest.mark.parametrize("check", [
    "check_no_attributes_set_in_init", "check_parameters_default_constructible",
    "check_get_params_invariance", "check_set_params", "check_valid_tag_types",
    "check_estimator_repr", "check_estimator_tags_renamed", "check_mixin_order",
    "check_estimator_cloneable"])
def test_checks_of_scikit_learn(check):
    function = getattr(estimator_checks, check)
    assert function("BertClassifier", BertClassifier()) is None
    assert is_classifier(BertClassifier())


def test_fit_predict_score(fitted):
    texts, labels = table(60, seed=5)
    probabilities = fitted.predict_proba(texts)
    assert fitted.classes_.tolist() == ["cold", "green", "warm"]
    assert probabilities.shape == (60, 3) and np.allclose(probabilities.sum(1), 1)
    assert fitted.score(texts, labels) > 0.8
    assert set(fitted.predict(np.array(texts, dtype=object))) <= set(labels)


def test_numbers_and_booleans_come_back_as_they_were(estimator):
    texts, labels = table(60)
    for names in ([10, 9, 2], [False, True, True]):
        y = np.array([names[sorted(set(labels)).index(label)] for label in labels])
        predicted = clone(estimator).set_params(num_train_epochs=1).fit(texts, y).predict(texts)
        assert predicted.dtype == y.dtype and set(predicted) <= set(names)


def test_labels_in_an_array_of_objects_are_what_they_hold():
    for values in ([1, 2], [True, False], ["a", "b"], [1.0, 2.0]):
        found = _labels(np.array(values, dtype=object))
        assert found.dtype.kind == np.array(values).dtype.kind and found.tolist() == values


def test_the_same_random_state_gives_the_same_probabilities(estimator):
    texts, labels = table(40)
    estimator.set_params(num_train_epochs=1)
    first = estimator.fit(texts, labels).predict_proba(texts)
    assert np.array_equal(clone(estimator).fit(texts, labels).predict_proba(texts), first)
    assert np.array_equal(estimator.fit(texts, labels).predict_proba(texts), first)  # starts anew
    other = clone(estimator).set_params(random_state=1).fit(texts, labels)
    assert not np.array_equal(other.predict_proba(texts), first)
    state = np.random.RandomState(0)
    assert clone(estimator).set_params(random_state=state).fit(texts, labels)


def test_cross_validation_grid_and_pipeline(estimator):
    texts, labels = table(60)
    estimator.set_params(num_train_epochs=8)
    scores = cross_val_score(estimator, texts, labels, cv=2)
    assert scores.shape == (2,) and ((scores >= 0) & (scores <= 1)).all()
    search = GridSearchCV(estimator, {"learning_rate": [1e-9, 5e-3]}, cv=2).fit(texts, labels)
    assert search.best_params_ == {"learning_rate": 5e-3}
    lower = FunctionTransformer(lambda rows: [row.lower() for row in rows])
    pipeline = Pipeline([("lower", lower), ("bert", estimator)]).fit(texts, labels)
    assert pipeline.score([text.upper() for text in texts], labels) > 0.4


def test_calibration(fitted, estimator):
    texts, labels = table(60, seed=2)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(texts, labels)
    assert calibrated.predict_proba(texts).shape == (60, 3)
    folds = CalibratedClassifierCV(estimator.set_params(num_train_epochs=1), cv=2)
    assert np.allclose(folds.fit(texts, labels).predict_proba(texts).sum(1), 1)


def test_pickles_and_works_in_other_processes(fitted, tmp_path, estimator):
    texts, labels = table(30, seed=3)
    joblib.dump(fitted, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    assert np.array_equal(again.predict_proba(texts), fitted.predict_proba(texts))
    estimator.set_params(num_train_epochs=1)
    alone = cross_val_score(estimator, texts, labels, cv=2)
    assert np.array_equal(cross_val_score(estimator, texts, labels, cv=2, n_jobs=2), alone)


def test_weights_of_rows_and_classes(estimator):
    texts, labels = table(60)
    wrong = ["warm" if label == "cold" else label for label in labels]  # to be outweighed
    weights = np.array([1.0] * 60 + [0.0] * 60)
    both = clone(estimator).fit(texts + texts, labels + wrong, sample_weight=weights)
    assert both.score(texts, labels) > 0.8
    lopsided = [row for row in range(60) if labels[row] != "cold"] + [0, 3]
    few = [texts[row] for row in lopsided], [labels[row] for row in lopsided]
    plain = clone(estimator).set_params(num_train_epochs=1).fit(*few)
    balanced = clone(plain).set_params(class_weight="balanced").fit(*few)
    same = clone(plain).fit(*few, sample_weight=np.where(np.array(few[1]) == "cold", 7.0, 0.7))
    assert balanced.predict_proba(texts)[:, 0].mean() > plain.predict_proba(texts)[:, 0].mean()
    by_hand = clone(plain).set_params(class_weight={"cold": 70.0, "green": 7.0, "warm": 7.0})
    assert np.allclose(by_hand.fit(*few).predict_proba(texts), same.predict_proba(texts),
                       atol=1e-4)


@pytest.mark.parametrize("X, y, weight, words", [
    (["a", "b"], [1], None, "2 texts but labels of shape"), ("ab", [0, 1], None, "one string"),
    (["a", None], [0, 1], None, "row 1 of X is None"), (["a", " "], [0, 1], None, "row 1"),
    (["a", "b"], [1, 1], None, "1 class; expected at least 2"),
    (["a", "b"], [0, 1], [1, -1], "sample_weight"), (["a", "b"], [0, 1], [1], "2 numbers"),
    (["a", "b"], ["x", None], None, "the label of row 1 is None"),
    (["a", "b"], [float("nan"), 1.0], None, "the label of row 0 is nan"),
    (["a", "b"], [("x", "y"), ("x",)], None, "labels are lists; expected one class a text"),
    (["a", "b"], ["1", 1], None, "the label of row 1 is 1, and of row 0 '1'; expected names only"),
    ([], [], None, "class")])
def test_what_cannot_be_fitted_is_one_line(estimator, X, y, weight, words):
    with pytest.raises(DataError, match=words) as caught:
        estimator.fit(X, y, sample_weight=weight)
    assert "\n" not in str(caught.value)


def test_not_fitted(estimator):
    with pytest.raises(NotFittedError):
        estimator.predict(["a"])
    with pytest.raises(ValueError, match="ontinuous"):
        estimator.fit(["a", "b"], [0.5, 0.25])


def test_settings_count_where_a_parameter_was_left_as_it_is():
    options = BertClassifier(settings={"epochs": 2, "lr": 1e-3, "batch_size": 8, "random_state": 5}
                             )._options()
    assert options["epochs"] == 2 and options["lr"] == 1e-3 and options["batch_size"] == 8
    assert not options.keys() & {"num_train_epochs", "learning_rate", "seed"}


@pytest.mark.parametrize("weights, labels", [
    ({0: 1, 1: 5}, ["0", "1"]), ({"0": 1, "1": 5}, [0, 1]), ({1: 5}, ["0", "1"])])
def test_weights_are_of_classes_as_y_has_them(weights, labels):
    """A class "1" is not the class number 1: its weight would not have counted."""
    with pytest.raises(DataError, match="class_weight has the class"):
        BertClassifier(class_weight=weights).fit(["a", "b"], labels)
