"""Any number of labels a text: head, losses and scores against formulas, loops and scikit-learn."""

import itertools
import json
import math

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from tiny_models import tiny_config
from tiny_rows import Fixed, batch_of
from tiny_texts import make_texts, tokenizer
from torch.nn import functional as F

from bert_kit import (AMPTrainer, BERTForMultiLabel, BERTForSequenceClassification, ConfigError,
                      DataError, TrainingError, load_pretrained, save_pretrained)
from bert_kit.data import ClassificationDataset, LabelList, make_loader, read_parts
from bert_kit.evaluation import (fit_thresholds, format_per_class, format_sweep,
                                 multilabel_logit_metrics, multilabel_metrics, predict_label_sets,
                                 tfidf_label_probabilities, threshold_sweep, threshold_warning)
from bert_kit.model import CLASSIFIERS
from bert_kit.training import (multi_label_loss, positive_weights, prior_logits, set_output_bias)


def quiet(line):
    raise AssertionError(line)


# --- the model ---

@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "pooler"])
@pytest.mark.parametrize("hidden", [None, 7])
def test_head_by_hand(config, ragged, pooling, hidden):
    ids, mask, types = ragged
    model = BERTForMultiLabel(config, 4, pooling, hidden).eval()
    encoded = model.bert(ids, mask, types)
    rows = [encoded.last_hidden_state[b, :n] for b, n in enumerate(mask.sum(1))]
    pooled = {"cls": lambda: torch.stack([row[0] for row in rows]),
              "mean": lambda: torch.stack([row.mean(0) for row in rows]),
              "max": lambda: torch.stack([row.max(0).values for row in rows]),
              "pooler": lambda: encoded.pooler_output}[pooling]()
    mlp = model.classifier.mlp
    for layer in mlp.hidden:
        pooled = F.relu(layer(pooled))
    assert len(mlp.hidden) == (hidden is not None)
    torch.testing.assert_close(model(ids, mask, types), mlp.scores(pooled), atol=1e-6, rtol=1e-5)
    assert (model.bert.pooler is None) == (pooling != "pooler")


def test_no_hidden_layer_on_the_pooler_is_the_standard_head(config, ragged):
    torch.manual_seed(3)
    one = BERTForSequenceClassification(config, 5)
    torch.manual_seed(3)
    two = BERTForMultiLabel(config, 5, pooling="pooler")
    for model in (one, two):
        model.train()
        torch.manual_seed(4)  # the same dropout in front of the same layer
        model.logits = model(*ragged)
    assert torch.equal(one.logits, two.logits)
    assert BERTForMultiLabel(config, 5).config.classifier == {}


@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"pooling": "cls", "hidden_size": 5},
                                     {"hidden_size": 6}])
def test_a_folder_gives_the_model_back(tmp_path, options):
    labels = ("joy", "anger", "a | b")
    model = BERTForMultiLabel(tiny_config(labels=labels), **options).eval()
    save_pretrained(model, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["problem_type"] == "multi_label_classification"
    again = load_pretrained(BERTForMultiLabel, tmp_path, strict=True, report=quiet)
    ids = torch.randint(5, 37, (3, 6))
    assert torch.equal(model(ids), again(ids)) and again.config.labels == labels
    assert again.config.classifier == model.config.classifier


def test_the_reference_reads_the_standard_head_and_its_loss(tmp_path):
    transformers = pytest.importorskip("transformers")
    model = BERTForMultiLabel(tiny_config(), 4).eval()
    save_pretrained(model, tmp_path)
    other = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids, mask = torch.randint(5, 37, (3, 6)), torch.ones(3, 6, dtype=torch.long)
    labels = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        want = other(ids, labels=labels)
        torch.testing.assert_close(model(ids), want.logits, atol=1e-5, rtol=1e-5)
        loss = multi_label_loss()(model, {"input_ids": ids, "attention_mask": mask,
                                          "token_type_ids": 0 * ids, "labels": labels})
    torch.testing.assert_close(loss, want.loss)


def test_impossible_heads(config):
    for options, part in (({"pooling": "sum"}, "pooling is 'sum'.*cls, mean, max, pooler"),
                          ({"hidden_size": 0}, "hidden_dims"), ({"hidden_size": "9"}, "'9'")):
        with pytest.raises(ConfigError, match=part):
            BERTForMultiLabel(config, 3, **options)
    with pytest.raises(ConfigError, match="last_layers is 2 and pooling 'pooler'"):
        BERTForMultiLabel(config.replace(classifier={
            "type": "mlp", "pooling": "pooler", "last_layers": 2}))


# --- the losses ---

def by_hand(logits, labels, weights, g_pos, g_neg, margin, rows):
    total = 0.0
    for z, y, s in zip(logits, labels, rows):
        row = 0.0
        for c in range(len(z)):
            p = 1 / (1 + (-z[c]).exp())
            q = torch.clamp(p - margin, min=0)
            row = row - weights[c] * y[c] * (1 - p)**g_pos * p.log()
            row = row - (1 - y[c]) * q**g_neg * (1 - q).log()
        total = total + s * row / len(z)
    return total / len(logits)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gammas", [(0.0, 0.0), (2.0, 2.0), (0.0, 4.0), (0.5, 1.5)])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
def test_value_and_gradient_are_those_of_the_formula(weighted, gammas, margin):
    model, labels = Fixed(2 * torch.randn(6, 5)), (torch.rand(6, 5) > 0.6).float()
    weights = torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0]) if weighted else torch.ones(5)
    rows = torch.rand(6) if weighted else torch.ones(6)
    batch = batch_of(labels, **({"sample_weights": rows} if weighted else {}))
    got = multi_label_loss(weights if weighted else None, *gammas, margin)(model, batch)
    logits = model.logits.detach().clone().requires_grad_()
    want = by_hand(logits, labels, weights, *gammas, margin, rows)
    torch.testing.assert_close(got, want)
    got.backward(), want.backward()
    torch.testing.assert_close(model.logits.grad, logits.grad, atol=1e-6, rtol=1e-4)


def test_against_torch():
    model, labels = Fixed(2 * torch.randn(7, 3)), (torch.rand(7, 3) > 0.5).float()
    weight = torch.tensor([0.5, 1.0, 4.0])
    torch.testing.assert_close(
        multi_label_loss(weight)(model, batch_of(labels)),
        F.binary_cross_entropy_with_logits(model.logits, labels, pos_weight=weight))
    start = multi_label_loss()(Fixed(torch.zeros(2, 3)), batch_of(labels[:2]))
    assert start.item() == pytest.approx(math.log(2))


def test_extreme_logits_have_a_finite_gradient():
    for options in ((0.0, 0.0, 0.0), (0.3, 0.3, 0.0), (1.0, 4.0, 0.05), (2.0, 0.5, 0.05)):
        model = Fixed(torch.tensor([[90.0, -90.0], [-90.0, 90.0]]))
        loss = multi_label_loss(None, *options)(model, batch_of(torch.tensor([[1.0, 0], [1, 0]])))
        loss.backward()
        assert loss.isfinite() and model.logits.grad.isfinite().all(), options
        assert (model.logits.grad[0].abs() < 1e-6).all()  # right, and surely so


def test_small_batches_equal_one_large_one(config):
    labels = (np.random.default_rng(0).random((9, 3)) > 0.5).astype(np.float32)
    dataset = ClassificationDataset(make_texts(9, 5), labels, tokenizer(), 16)
    model = BERTForMultiLabel(config, 3).eval()
    results = []
    for size in (9, 4):
        amp = AMPTrainer(model, torch.optim.SGD(model.parameters(), lr=0.0), precision="float32")
        result = amp.train_step(multi_label_loss([1.0, 2.0, 3.0], 1.0, 2.0, 0.05),
                                make_loader(dataset, size, shuffle=False))
        results.append((result.loss, result.grad_norm))
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-6)


def test_weights_and_priors_by_hand():
    labels = np.zeros((10, 3), dtype=np.float32)
    labels[:4, 0] = labels[9, 1] = 1
    assert positive_weights(labels).tolist() == [1.5, 9, 10]
    shares = prior_logits(torch.tensor(labels)).sigmoid()
    assert shares.tolist() == pytest.approx([5 / 12, 2 / 12, 1 / 12])
    for wrong in ([1, 0], [[0.5]], np.zeros((0, 2))):
        with pytest.raises(DataError, match="labels of shape .*expected 0 and 1"):
            positive_weights(wrong)


def test_output_bias_gives_the_priors_at_the_start(config, ragged):
    prior = prior_logits([[1, 0, 0]] * 6 + [[0, 1, 0]] * 94)
    for kind in CLASSIFIERS:
        model = BERTForMultiLabel(config.replace(classifier={"type": kind}), 3).eval()
        set_output_bias(model, prior)
        assert (model(*ragged).mean(0) - prior).abs().max() < 1, kind
    bare = BERTForSequenceClassification(config, 3, classifier=lambda config: torch.nn.ReLU())
    for wrong, values in ((bare, prior), (model, prior[:2])):
        with pytest.raises(TrainingError, match="does not end with a linear layer of"):
            set_output_bias(wrong, values)


def test_what_makes_no_sense_is_refused():
    for arguments, part in (({"gamma_positive": -1}, "gamma_positive"), ({"margin": 1}, "margin"),
                            ({"gamma_negative": math.nan}, "gamma_negative"),
                            ({"pos_weight": [1, -1]}, "pos_weight"),
                            ({"pos_weight": 3.0}, "pos_weight")):
        with pytest.raises(TrainingError, match=part):
            multi_label_loss(**arguments)
    model = Fixed(torch.zeros(2, 3))
    for labels, part in ((torch.zeros(2), "expected float32 of"), (torch.zeros(2, 2), "shape"),
                         (torch.zeros(2, 3, dtype=torch.long), "torch.int64"),
                         (torch.full((2, 3), 2.0), "outside 0 to 1")):
        with pytest.raises(DataError, match=part):
            multi_label_loss()(model, batch_of(labels))
    with pytest.raises(DataError, match="2 numbers; the model has 3 labels"):
        multi_label_loss([1, 1])(model, batch_of(torch.zeros(2, 3)))


def test_on_an_accelerator_nothing_waits(config):
    """The meta device takes an accelerator's branches, refuses CPU tensors and `.item()`."""
    model = BERTForMultiLabel(config, 3, "mean").to("meta")
    ids = torch.full((2, 4), 7)
    batch = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
             "token_type_ids": ids * 0, "labels": torch.zeros(2, 3)}
    multi_label_loss([1.0, 2.0, 3.0], 1.0, 2.0, 0.1)(model, batch).backward()
    assert model.classifier.mlp.scores.weight.grad.device.type == "meta"


# --- the scores ---

def made(rows=203, classes=5, seed=0, decimals=1):
    """Probabilities with many ties, and labels of which some rows and one column have none."""
    generator = np.random.default_rng(seed)
    labels = generator.random((rows, classes)) < [0.5, 0.3, 0.1, 0.02, 0.0][:classes]
    noisy = labels * 0.4 + generator.random((rows, classes)) * 0.6
    labels[0], labels[1] = True, False
    return noisy.round(decimals), labels.astype(int)


@pytest.mark.parametrize("thresholds", [0.5, 0.2, 0.95, [0.1, 0.4, 0.5, 0.3, 0.6]])
def test_scores_match_scikit_learn(thresholds):
    probabilities, labels = made()
    scores = multilabel_metrics(probabilities, labels, thresholds)
    given = (probabilities >= np.array(thresholds)).astype(int)
    assert (predict_label_sets(probabilities, thresholds) == given).all()
    for average in ("micro", "macro", "weighted"):
        assert scores[f"f1_{average}"] == pytest.approx(
            reference.f1_score(labels, given, average=average, zero_division=0))
    for average, (name, score) in itertools.product(("micro", "macro"), (
            ("precision", reference.precision_score), ("recall", reference.recall_score))):
        assert scores[f"{name}_{average}"] == pytest.approx(
            score(labels, given, average=average, zero_division=0))
    assert scores["f1_samples"] == pytest.approx(
        reference.f1_score(labels, given, average="samples", zero_division=1))
    assert scores["jaccard"] == pytest.approx(
        reference.jaccard_score(labels, given, average="samples", zero_division=1))
    assert scores["exact_match"] == pytest.approx(reference.accuracy_score(labels, given))
    assert scores["coverage_error"] == pytest.approx(
        reference.coverage_error(labels, probabilities))
    assert scores["label_ranking_average_precision"] == pytest.approx(
        reference.label_ranking_average_precision_score(labels, probabilities))
    assert scores["ranking_loss"] == pytest.approx(
        reference.label_ranking_loss(labels, probabilities))
    each = reference.precision_recall_fscore_support(labels, given, zero_division=0)
    for i, row in enumerate(scores["per_class"]):
        assert [row[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [column[i] for column in each])
        assert row["threshold"] == np.broadcast_to(thresholds, 5)[i]
    json.dumps(scores, allow_nan=False)
    assert len(format_per_class(scores, list("abcde")).splitlines()) == 6


def test_a_row_without_labels_is_right_if_none_is_given():
    scores = multilabel_metrics([[0.1, 0.2], [0.9, 0.1]], [[0, 0], [1, 0]])
    assert scores["f1_samples"] == scores["jaccard"] == scores["exact_match"] == 1
    nothing = multilabel_metrics([[0.1]], [[0]])
    assert nothing["f1_micro"] == nothing["f1_weighted"] == 0  # nothing to find
    assert nothing["coverage_error"] == 0 and nothing["label_ranking_average_precision"] == 1


def test_loss_and_tensors_of_any_precision():
    logits, (_, labels) = torch.randn(203, 5), made()
    scores = multilabel_logit_metrics(logits, labels)
    assert scores["loss"] == pytest.approx(
        F.binary_cross_entropy_with_logits(logits, torch.tensor(labels).float()).item())
    assert scores["f1_micro"] == multilabel_metrics(logits.sigmoid(), labels)["f1_micro"]
    half = multilabel_metrics(logits.sigmoid().bfloat16().requires_grad_(), torch.tensor(labels))
    assert half["f1_micro"] == pytest.approx(scores["f1_micro"], abs=0.05)


@pytest.mark.parametrize("probabilities, labels, message", [
    ([0.5], [1], r"shape \(1,\) for labels of shape \(1,\); expected \(rows, labels\)"),
    ([[0.5, 0.5]], [[1]], "expected .rows, labels. of both"),
    (np.zeros((0, 2)), np.zeros((0, 2)), "at least one row"),
    ([[0.5, 1.5]], [[1, 0]], "probabilities of row 0 hold 1.5 for label 1; expected 0 to 1"),
    ([[0.5], [math.nan]], [[1], [0]], "row 1 hold nan"),
    ([[0.5, 0.5]], [[1, -100]], "labels of row 0 hold -100 for label 1; expected 0 or 1"),
])
def test_impossible_label_sets(probabilities, labels, message):
    for score in (multilabel_metrics, fit_thresholds, threshold_sweep, threshold_warning):
        with pytest.raises(DataError, match=message):
            score(probabilities, labels)


# --- the thresholds ---

def f1_at(labels, probabilities, thresholds):
    """The F1 of all labels together at each threshold (T,), by counting."""
    given = probabilities >= np.reshape(thresholds, (-1, 1, 1))  # (T, N, C)
    right = (given & (labels == 1)).sum((1, 2))
    return 2 * right / np.maximum(given.sum((1, 2)) + labels.sum(), 1)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_are_the_best_of_all(seed):
    probabilities, labels = made(61, seed=seed, decimals=2)
    every = np.unique(np.concatenate([probabilities.ravel(), [0, 1]]))
    chosen = fit_thresholds(probabilities, labels)
    best = f1_at(labels, probabilities, every).max()
    assert best == pytest.approx(reference.f1_score(labels, probabilities >= chosen,
                                                    average="micro"))
    assert multilabel_metrics(probabilities, labels, chosen)["f1_micro"] == pytest.approx(best)
    each = fit_thresholds(torch.tensor(probabilities), labels, per_label=True)
    scores = multilabel_metrics(probabilities, labels, each)
    for c, row in enumerate(scores["per_class"]):
        tried = f1_at(labels[:, [c]], probabilities[:, [c]], every)
        assert row["f1"] == pytest.approx(tried.max())
    one = multilabel_metrics(probabilities, labels, chosen)["f1_macro"]
    assert scores["f1_macro"] >= one
    rare = fit_thresholds(probabilities[2:], labels[2:], per_label=True)
    assert rare[4] == fit_thresholds(probabilities[2:], labels[2:])  # a label that no row has


def test_thresholds_at_their_ends():
    assert fit_thresholds([[0.25, 0.75]], [[1, 1]]) == pytest.approx(0.125)
    assert fit_thresholds([[0.0, 0.0]], [[1, 1]]) == 0
    assert fit_thresholds([[0.5, 0.5, 0.1]], [[1, 0, 0]]) == pytest.approx(0.3)
    low = np.nextafter(0.5, 0)
    assert fit_thresholds([[0.5, low]], [[1, 0]]) == 0.5  # nothing lies between the two
    with pytest.raises(DataError, match="no row of 2 has a label"):
        fit_thresholds([[0.5], [0.1]], [[0], [0]])
    with pytest.raises(DataError, match=r"thresholds of shape \(2,\) for probabilities"):
        predict_label_sets([[0.5, 0.1, 0.2]], [0.5, 0.5])


def test_sweep_and_its_table():
    probabilities, labels = made()
    rows = threshold_sweep(probabilities, labels, (0.0, 0.3, 1.0))
    for row in rows:
        given = probabilities >= row["threshold"]
        assert row["f1_micro"] == pytest.approx(reference.f1_score(labels, given, average="micro"))
        assert row["labels_per_row"] == pytest.approx(given.sum(1).mean())
        assert row["rows_without"] == (~given.any(1)).sum()
    assert rows[0]["recall_micro"] == 1 and rows[0]["labels_per_row"] == 5
    lines = format_sweep(rows).splitlines()
    assert lines[1].split()[0] == "0.00" and len({len(line) for line in lines}) == 1
    assert [row["threshold"] for row in threshold_sweep(probabilities, labels)][::9] == [
        0.05, 0.5, 0.95]
    for wrong in ([], [1.5], [math.nan]):
        with pytest.raises(ConfigError, match="thresholds are"):
            threshold_sweep(probabilities, labels, wrong)


def test_the_warning_explains_a_score_of_zero():
    generator = np.random.default_rng(0)
    labels = generator.random((400, 54)) < 0.024
    probabilities = np.clip(0.02 + 0.05 * labels + 0.005 * generator.random(labels.shape), 0, 1)
    assert multilabel_metrics(probabilities, labels)["f1_micro"] == 0
    line, rows = threshold_warning(probabilities, labels), labels.any(1).sum()
    assert "\n" not in line and f"0.5 in {rows:,} of {rows:,} rows" in line
    for part in ("micro F1 is 0.000", f"largest probability is {probabilities.max():.3f}",
                 f"holds in {labels.mean():.3f} of all cells", "fit_thresholds", "--class_weight",
                 "--focal_gamma", "--asymmetric"):
        assert part in line
    chosen = fit_thresholds(probabilities, labels)
    assert threshold_warning(probabilities, labels, chosen) is None
    assert multilabel_metrics(probabilities, labels, chosen)["f1_micro"] == 1
    for tuned, words in ((0.9, "the threshold 0.9"), (np.full(54, 0.5), "its threshold")):
        line = threshold_warning(probabilities, labels, tuned)  # it has been chosen already
        assert words in line and "fit_thresholds" not in line and "If the loss" in line
    assert threshold_warning([[0.1, 0.1]], [[0, 0]]) is None  # there is nothing to give


# --- together ---

def test_a_rare_label_is_learned_and_the_prior_helps(config):
    """Two telling words: after training the thresholds from one half give both on the other."""
    texts = make_texts(120, 5)
    labels = np.zeros((120, 2), dtype=np.float32)
    for i in range(120):
        for c, (every, word) in enumerate(((3, "kato"), (5, "sumi"))):
            if i % every == 0:
                texts[i], labels[i, c] = f"{word} {texts[i]}", 1
    texts = [text.replace("\u2603", "") for text in texts]
    model = BERTForMultiLabel(config.replace(vocab_size=tokenizer().vocab_size), 2, "mean")
    set_output_bias(model, prior_logits(labels))
    loader = make_loader(ClassificationDataset(texts[:80], labels[:80], tokenizer(), 23), 16)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    model.train()
    losses = []
    for _ in range(12):
        for batch in loader:
            losses.append(multi_label_loss()(model, batch))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
    entropy = -sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in (1 / 3, 1 / 5)) / 2
    assert losses[0].item() == pytest.approx(entropy, abs=0.15) and losses[-1] < losses[0] / 2
    model.eval()
    held = next(iter(make_loader(ClassificationDataset(texts[80:], labels[80:], tokenizer(), 23),
                                 40, shuffle=False)))
    with torch.no_grad():
        probabilities = model(held["input_ids"], held["attention_mask"]).sigmoid()
    assert multilabel_metrics(probabilities, labels[80:])["f1_micro"] > 0.8


def test_tfidf_of_labels():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    texts = ["red apple", "red car", "blue car", "blue sky", "green", "red sky"] * 5
    labels = np.array([["red" in t, "car" in t, False, True] for t in texts])
    guesses = tfidf_label_probabilities(texts, labels, ["a red car", "sky"])
    assert guesses.shape == (2, 4) and (guesses[:, 2] == 0).all() and (guesses[:, 3] == 1).all()
    assert guesses[0, :2].min() > 0.5 > guesses[1, :2].max()
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(texts)
    model = OneVsRestClassifier(LogisticRegression(C=10)).fit(features.transform(texts),
                                                              labels[:, :2])
    np.testing.assert_allclose(
        guesses[:, :2], model.predict_proba(features.transform(["a red car", "sky"])), atol=1e-4)
    assert tfidf_label_probabilities(texts, labels, []).shape == (0, 4)
    with pytest.raises(DataError, match="30 training texts but labels of shape"):
        tfidf_label_probabilities(texts, labels[:3], ["a"])


def test_tfidf_is_about_the_reference_of_the_shared_data(shared):
    parts = read_parts(shared / "data" / "nlu_plusplus", label_column=LabelList("labels"))
    guesses = tfidf_label_probabilities(parts.train.texts, parts.train.labels, parts.test.texts)
    scores = multilabel_metrics(guesses, parts.test.labels, 0.3)
    assert scores["f1_micro"] == pytest.approx(0.781, abs=0.01)
    assert scores["f1_macro"] == pytest.approx(0.729, abs=0.01)
