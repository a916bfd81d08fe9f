import numpy as np
import pytest
import torch
from tiny_rows import Fixed, batch_of, rows_loader
from torch.nn import functional as F

from bert_kit import (AMPTrainer, BERTForSequenceClassification, DataError, TrainingError,
                      compute_classification_loss)
from bert_kit.training import balanced_class_weights, classification_loss, tagging_loss


@pytest.fixture
def case():
    labels = torch.tensor([0, 2, 4, 2, -100, 1, 0])
    return Fixed(2 * torch.randn(7, 5)), labels, torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0])


def by_hand(logits, labels, weights, smoothing, gamma, row_weights):
    """The formula, one number at a time."""
    total, rows = 0.0, 0
    for z, y, s in zip(logits, labels.tolist(), row_weights):
        if y == -100:
            continue
        p = z.exp() / z.exp().sum()
        rows += 1
        for c in range(len(z)):
            target = (1 - smoothing) * (c == y) + smoothing / len(z)
            total = total - s * weights[y] * (1 - p[y])**gamma * target * p[c].log()
    return total / rows


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("rows", [False, True])
def test_value_and_gradient_are_those_of_the_formula(case, weighted, smoothing, gamma, rows):
    model, labels, weights = case
    row_weights = torch.rand(7) if rows else torch.ones(7)
    batch = batch_of(labels, **({"sample_weights": row_weights} if rows else {}))
    got = classification_loss(weights if weighted else None, smoothing, gamma)(model, batch)
    logits = model.logits.detach().clone().requires_grad_()
    want = by_hand(logits, labels, weights if weighted else torch.ones(5), smoothing, gamma,
                   row_weights)
    torch.testing.assert_close(got, want)
    got.backward(), want.backward()
    torch.testing.assert_close(model.logits.grad, logits.grad)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_tags_of_tokens_have_the_same_formula(weighted, smoothing):
    """Over the tagged tokens of the batch, or of all batches of a step."""
    labels = torch.tensor([[-100, 1, 0, -100], [2, -100, 2, 0]])
    logits = 2 * torch.randn(2, 4, 3)
    model, weights = Fixed(logits.clone()), torch.tensor([0.5, 2.0, 3.0])
    got = tagging_loss(weights if weighted else None, smoothing)(model, batch_of(labels))
    logits.requires_grad_()
    want = by_hand(logits.flatten(0, 1), labels.flatten(),
                   weights if weighted else torch.ones(3), smoothing, 0.0, torch.ones(8))
    torch.testing.assert_close(got, want)
    got.backward(), want.backward()
    torch.testing.assert_close(model.logits.grad, logits.grad)
    shared = tagging_loss(weights, smoothing)(model, batch_of(labels), {"labels": 20})
    alone = tagging_loss(weights, smoothing)(model, batch_of(labels))
    torch.testing.assert_close(shared, alone * 5 / 20)
    for bad in (-0.1, 1.1):
        with pytest.raises(TrainingError, match="label_smoothing"):
            tagging_loss(None, bad)


def test_against_torch(case):
    model, labels, weights = case
    count = (labels != -100).sum()
    want = F.cross_entropy(model.logits, labels, weights, reduction="sum") / count
    torch.testing.assert_close(classification_loss(weights.tolist())(model, batch_of(labels)), want)
    for smoothing in (0.0, 0.3):
        want = F.cross_entropy(model.logits, labels, label_smoothing=smoothing)
        torch.testing.assert_close(
            classification_loss(None, smoothing)(model, batch_of(labels)), want)
    torch.testing.assert_close(classification_loss()(model, batch_of(labels)),
                               F.cross_entropy(model.logits, labels))
    # torch's weighted mean has another divisor; balanced weights make the two agree.
    labels = torch.tensor([0, 1, 1, 2, 3, 4, 4])
    balanced = balanced_class_weights(labels, 5)
    torch.testing.assert_close(classification_loss(balanced)(model, batch_of(labels)),
                               F.cross_entropy(model.logits, labels, balanced))


def test_balanced_weights_against_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight
    labels = [0, 0, 1, 2, 2, 2, 2, 1, 0, 2]
    want = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_class_weights(labels, 3).tolist() == pytest.approx(want.tolist())
    assert balanced_class_weights(torch.tensor([*labels, -100]), 3).tolist() == pytest.approx(
        want.tolist())
    # A class without a row changes nothing for the others.
    assert balanced_class_weights(labels, 5).tolist() == pytest.approx([*want, 1, 1])
    assert balanced_class_weights([2, 2], 4).tolist() == [1, 1, 1, 1]
    with pytest.raises(DataError, match="0 to 2; expected 0 to 1"):
        balanced_class_weights(labels, 2)


@pytest.mark.parametrize("kind", ["classes", "tags"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("smoothing", [0.01, 0.1, 0.4])
def test_the_best_probabilities_of_separable_rows_do_not_depend_on_weights(kind, share, smoothing):
    """They are the smoothed targets, however rare a class: what a float64 optimum has to be."""
    rows = torch.tensor([round(200 * share), 200 - round(200 * share)])
    labels = torch.repeat_interleave(torch.arange(2), rows)
    weights = balanced_class_weights(labels, 2)
    at_best = torch.tensor([1 - smoothing / 2, smoothing / 2]).log()
    model = Fixed(torch.stack([at_best, at_best.flip(0)])[labels])
    loss, batch = classification_loss(weights, smoothing), batch_of(labels)
    if kind == "tags":
        model.logits = torch.nn.Parameter(model.logits.detach()[None])
        loss, batch = tagging_loss(weights, smoothing), batch_of(labels[None])
    loss(model, batch).backward()
    torch.testing.assert_close(model.logits.grad, torch.zeros_like(model.logits), atol=1e-7,
                               rtol=0)


def test_weights_of_classes_are_weights_of_rows(case):
    """So the estimator, which weighs rows, learns from the same loss as the command."""
    model, labels, weights = case
    rows = weights[labels.clamp(min=0)]
    for smoothing, gamma in ((0.0, 0.0), (0.2, 0.0), (0.2, 1.5)):
        torch.testing.assert_close(
            classification_loss(weights, smoothing, gamma)(model, batch_of(labels)),
            classification_loss(None, smoothing, gamma)(model, batch_of(
                labels, sample_weights=rows)))


@pytest.mark.parametrize("wrong", [-1, -5, 7, -99])
def test_a_label_that_is_no_class_is_refused(wrong):
    for loss in (compute_classification_loss, classification_loss(None, 0.1)):
        with pytest.raises(DataError, match=f"a label is {wrong}; the model has 5 classes"):
            loss(Fixed(torch.randn(3, 5)), batch_of(torch.tensor([0, wrong, -100])))
    with pytest.raises(DataError, match=f"a label is {wrong}; the model has 3"):
        tagging_loss(None, 0.1)(Fixed(torch.randn(1, 2, 3)), batch_of(torch.tensor([[0, wrong]])))


def test_a_row_that_is_surely_right_has_a_finite_gradient():
    for gamma in (0.3, 1.0, 2.0):
        model = Fixed(torch.tensor([[90.0, 0.0], [0.0, 90.0]]))
        loss = classification_loss(focal_gamma=gamma)(model, batch_of(torch.tensor([0, 0])))
        loss.backward()
        assert loss.item() == pytest.approx(45) and model.logits.grad.isfinite().all()
        assert (model.logits.grad[0].abs() < 1e-30).all()
        assert model.logits.grad[1, 0].item() == pytest.approx(-0.5)


def test_row_weights_count_in_the_plain_loss_too(case):
    model, labels, _ = case
    weights = torch.rand(7)
    rows = F.cross_entropy(model.logits, labels, reduction="none")
    torch.testing.assert_close(
        compute_classification_loss(model, batch_of(labels, sample_weights=weights)),
        (weights * rows).sum() / 6)
    for wrong, part in ((torch.rand(6), "shape"), (torch.rand(7, 1), "shape"),
                        (-weights, "sample weight is -")):
        with pytest.raises(DataError, match=part):
            compute_classification_loss(model, batch_of(labels, sample_weights=wrong))


def test_small_batches_equal_one_large_one(config):
    loss = classification_loss([0.2, 3.0], 0.1, 2.0)
    model = BERTForSequenceClassification(config).eval()
    losses = []
    for size in (9, 4):
        amp = AMPTrainer(model, torch.optim.SGD(model.parameters(), lr=0.0), precision="float32")
        result = amp.train_step(loss, [
            {**batch, "sample_weights": batch["input_ids"][:, 0] / 50.0}
            for batch in rows_loader(9, size, shuffle=False)])
        losses.append((result.loss, result.grad_norm))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-6)


def test_what_makes_no_sense_is_refused(config):
    for arguments, part in (({"label_smoothing": 1.5}, "label_smoothing"),
                            ({"focal_gamma": -1}, "focal_gamma"),
                            ({"class_weights": [1, -1]}, "class_weights"),
                            ({"class_weights": [1, float("nan")]}, "class_weights"),
                            ({"class_weights": 3.0}, "class_weights")):
        with pytest.raises(TrainingError, match=part):
            classification_loss(**arguments)
    model, batch = BERTForSequenceClassification(config), next(iter(rows_loader(4, 4)))
    with pytest.raises(DataError, match="3 numbers; the model has 2 classes"):
        classification_loss([1, 1, 1])(model, batch)
    batch["labels"][1] = 2
    with pytest.raises(DataError, match="a label is 2"):
        classification_loss()(model, batch)
