"""The estimator under scikit-learn's own tools and checks."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from bert_kit import (BertClassifier, BertRegressor, BertVectorizer, Predictor, SentenceEncoder,
                      train_classifier)
from bert_kit.errors import BertKitError, DataError
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
@pytest.mark.parametrize("kind", [BertClassifier, BertRegressor, BertVectorizer])
def test_checks_of_scikit_learn(kind, check):
    function = getattr(estimator_checks, check)
    assert function(kind.__name__, kind()) is None


def test_all_of_scikit_learns_checks_that_estimators_of_texts_get():
    for kind in (BertClassifier, BertRegressor, BertVectorizer):
        with pytest.warns(SkipTestWarning, match="string=True"):  # the others are of numbers
            done = estimator_checks.check_estimator(kind(), on_skip=None, on_fail="raise")
        assert done and {one["status"] for one in done} == {"passed"}
    assert is_classifier(BertClassifier()) and is_regressor(BertRegressor())


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
        found, _ = _labels(np.array(values, dtype=object))
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
                             )._options("classification")
    assert options["epochs"] == 2 and options["lr"] == 1e-3 and options["batch_size"] == 8
    assert not options.keys() & {"num_train_epochs", "learning_rate", "seed"}


@pytest.mark.parametrize("weights, labels", [
    ({0: 1, 1: 5}, ["0", "1"]), ({"0": 1, "1": 5}, [0, 1]), ({1: 5}, ["0", "1"])])
def test_weights_are_of_classes_as_y_has_them(weights, labels):
    """A class "1" is not the class number 1: its weight would not have counted."""
    with pytest.raises(DataError, match="class_weight has the class"):
        BertClassifier(class_weight=weights).fit(["a", "b"], labels)


# ---- sets of labels, numbers, rows that are held out


def label_matrix(labels):
    """Two labels a text at most: its class if warm or cold, and whether it is no cold one."""
    return np.array([[label == "warm", label == "cold", label != "cold"] for label in labels], int)


def test_a_matrix_of_labels(estimator):
    texts, labels = table(60)
    y = label_matrix(labels)
    estimator.set_params(validation_fraction=0.2, num_train_epochs=4, learning_rate=1e-2)
    estimator.fit(texts, y)
    found, probabilities = estimator.predict(texts), estimator.predict_proba(texts)
    assert estimator.classes_.tolist() == [0, 1, 2] and probabilities.shape == (60, 3)
    threshold = estimator.predictor_.config.extra["thresholds"]  # by the rows held out: not .5
    assert np.array_equal(found, probabilities >= threshold) and threshold != 0.5
    assert found.dtype == int and 0.5 < (found == y).mean() < 1
    assert estimator.score(texts, y) == (found == y).all(1).mean()


def test_columns_and_sparse_matrices_of_labels(estimator):
    from scipy.sparse import csr_matrix

    class Frame:
        columns = ("warm", "cold", "not cold")

        def to_numpy(self):
            return y

    texts, labels = table(30)
    y = label_matrix(labels)
    estimator.set_params(num_train_epochs=1)
    plain = clone(estimator).fit(texts, y).predict_proba(texts)
    named = clone(estimator).fit(texts, Frame())
    assert named.classes_.tolist() == ["warm", "cold", "not cold"]
    assert named.predictor_.classes == ("warm", "cold", "not cold")
    for other in (named, clone(estimator).fit(texts, csr_matrix(y))):
        assert np.array_equal(other.predict_proba(texts), plain)
    weighted = clone(estimator).set_params(class_weight="balanced").fit(texts, y)
    assert not np.array_equal(weighted.predict_proba(texts), plain)


@pytest.mark.parametrize("given, y, words", [
    ({}, [[2, 1], [0, 1]], "labels have shape .2, 2.; expected one class a text, or a matrix of 0"),
    ({}, [["a", "b"], ["a", "c"]], "MultiLabelBinarizer"), ({}, [[0, 0], [0, 0]], "no row of 2"),
    ({"class_weight": {0: 2}}, [[0, 1], [1, 0]], "expected balanced or None for sets of labels"),
    ({"calibrated": True}, [0, 1], "calibrated needs rows .* give a validation_fraction above 0"),
    ({"settings": {"early_stopping": 2}}, [0, 1], "early stopping needs rows .* validation_frac"),
    ({"validation_fraction": 1.5}, [0, 1], "validation_fraction is 1.5; expected a share"),
    ({"validation_fraction": 0.1, "settings": {"val_size": 0.2}}, [0, 1], "expected one of them")])
def test_what_does_not_go_together_is_one_line(given, y, words):
    with pytest.raises(BertKitError, match=words) as caught:
        BertClassifier(**given, device="cpu").fit(["a", "b"], y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("more", [
    pytest.param({}, marks=pytest.mark.slow),
    pytest.param({"early_stopping": 1, "min_delta": 1.0}, marks=pytest.mark.slow),
    {"metric": "accuracy", "class_weight": "balanced", "early_stopping": 1, "min_delta": 0.1}])
def test_rows_that_are_held_out_do_what_they_do_in_a_job(estimator, tmp_path, more):
    """The same rows are held out and choose the same epoch: the model is that of `train`."""
    texts, labels = table(48)
    given = {"num_train_epochs": 4, "batch_size": 8, "learning_rate": 1e-2, "max_length": 24}
    estimator.set_params(validation_fraction=0.3, **given,
                         settings={"precision": "float32", **more})
    ours = estimator.fit(texts, labels).predictor_.model.state_dict()
    results = train_classifier("standard", estimator.model, data={
        "text": texts, "category": labels}, val_size=0.3, test_size=0.0, baselines=False,
        device="cpu", precision="float32", verbosity=0, plots=False, output_dir=tmp_path / "run",
        **given, **more)
    assert bool(results["stopped"]) == ("early_stopping" in more)
    job = Predictor.load(tmp_path / "run", device="cpu").model.state_dict()
    assert ours.keys() == job.keys() and all(torch.equal(ours[key], job[key]) for key in job)


def test_calibrated_probabilities_change_no_answer(estimator, capsys):
    texts, labels = table(180)
    estimator.set_params(num_train_epochs=None, validation_fraction=0.3, settings={
        "max_steps": 6, "precision": "float32"})
    plain = clone(estimator).fit(texts, labels)
    scaled = clone(estimator).set_params(calibrated=True).fit(texts, labels)
    kept = scaled.predictor_.model.config.extra["calibration"]
    logits = plain.predictor_.logits(texts).double() * kept["scale"]
    assert np.allclose(scaled.predict_proba(texts), logits.softmax(1), atol=1e-9)
    assert np.array_equal(plain.predict(texts), scaled.predict(texts))
    assert (kept == {"scale": 1.0, "shift": 0.0}) == ("not kept" in capsys.readouterr().err)


def test_a_regressor(bert):
    texts, labels = table(80)
    y = np.array([{"cold": -3.0, "green": 0.5, "warm": 4.0}[label] for label in labels])
    regressor = BertRegressor(bert, num_train_epochs=8, batch_size=8, learning_rate=1e-2,
                              max_length=24, device="cpu", validation_fraction=0.2)
    regressor.fit(texts[:60], y[:60])
    found = regressor.predict(texts[60:])
    assert found.shape == (20,) and found.dtype == np.float64
    residual = ((found - y[60:])**2).sum() / ((y[60:] - y[60:].mean())**2).sum()
    assert np.isclose(regressor.score(texts[60:], y[60:]), 1 - residual) and residual < 0.8
    assert clone(regressor).get_params() == regressor.get_params()


@pytest.mark.parametrize("y, words", [
    ([1.0], "2 texts but y of shape"), ([1.0, float("nan")], "y of row 1 is nan"),
    (["a", "b"], "y holds what is no number"), ([3, 3], "the same number in all rows"),
    ([1e39, 0], "y of row 0 is inf"), ([[1, 2], [3, 4]], "y of shape .2, 2.")])
def test_what_a_regressor_cannot_learn_is_one_line(y, words):
    with pytest.raises(DataError, match=words):
        BertRegressor().fit(["a", "b"], y)


# ---- vectors


def test_a_vectorizer_gives_the_vectors_of_the_encoder(bert, tmp_path):
    texts, labels = table(30)
    vectorizer = BertVectorizer(bert, pooling="mean", device="cpu")
    with pytest.raises(NotFittedError):
        vectorizer.transform(texts)
    vectors = vectorizer.fit_transform(np.array(texts, dtype=object), labels)
    encoder = SentenceEncoder(bert, pooling="mean", device="cpu")
    assert vectors.dtype == np.float32 and np.array_equal(vectors, encoder.encode(texts))
    names = vectorizer.get_feature_names_out()
    assert len(names) == vectors.shape[1] and names[1] == "bertvectorizer1"
    joblib.dump(vectorizer, tmp_path / "v")
    assert np.array_equal(joblib.load(tmp_path / "v").transform(texts), vectors)
    again = clone(vectorizer).set_params(max_length=5).fit(texts)
    encoder.max_length = 5
    assert np.array_equal(again.transform(texts), encoder.encode(texts))
    assert vectorizer.transform([]).shape == (0, vectors.shape[1])


def test_a_vectorizer_in_a_pipeline(bert):
    texts, labels = table(60)
    pipeline = make_pipeline(BertVectorizer(bert, pooling="mean", device="cpu"),
                             LogisticRegression(max_iter=500))
    scores = cross_val_score(pipeline, texts, labels, cv=2)
    vectors = SentenceEncoder(bert, pooling="mean", device="cpu").encode(texts)
    alone = cross_val_score(LogisticRegression(max_iter=500), vectors, labels, cv=2)
    assert np.allclose(scores, alone)
    search = GridSearchCV(pipeline, {"bertvectorizer__pooling": ["cls", "mean"]}, cv=2)
    assert search.fit(texts, labels).best_params_.keys() == {"bertvectorizer__pooling"}


@pytest.mark.parametrize("given, texts, words", [
    ({"model": "no-such-model"}, ["a"], "no-such-model: not a folder.*--download"),
    ({"max_length": 2}, ["a"], "max_length is 2; expected a whole number from 3 to 40"),
    ({}, ["a", None], "row 1 of X is None"), ({}, "ab", "X is one string"),
    ({}, np.array([["a", "b"]], dtype=object), r"the shape \(1, 2\); expected one column")])
def test_what_cannot_be_a_vector_is_one_line(given, texts, words, bert):
    with pytest.raises(BertKitError, match=words):
        BertVectorizer(**{"model": bert, "pooling": "mean", "device": "cpu", **given}).fit(texts)
