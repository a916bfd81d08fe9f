import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bert_kit import BertConfig, BERTForSequenceClassification, BertKitError, DataError, Dropout
from bert_kit.active import (ACQUISITIONS, badge, beal, bald, confidence, core_set,
                             deterministic_beal, dropout_on, entropies, entropy,
                             expected_confidence, farthest_first, gradient_factors,
                             k_means_plus_plus, least_confidence, lowest, margin,
                             mutual_information, random, relevance)
from bert_kit.active import diversity


def rng(seed=0):
    return np.random.default_rng(seed)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


class ArrayPool:
    """A pool whose answers are there already: T passes of 37 rows and 5 classes."""

    def __init__(self, multi_label=False, rows=37, passes=6, seed=0):
        logits = 2 * rng(seed).normal(size=(passes, rows, 5))
        self.multi_label = multi_label
        self.tables = 1 / (1 + np.exp(-logits)) if multi_label else softmax(logits)
        self.vectors = rng(seed + 1).normal(size=(rows, 4))

    def __len__(self):
        return self.tables.shape[1]

    def passes(self):
        yield from self.tables

    def probabilities(self):
        return self.tables[0]

    def embeddings(self):
        return self.vectors

    def labelled_embeddings(self):
        return self.vectors[:3] + 1


# BEAL


def by_the_paper(tables, per_pass=False):
    """Equations 1, 2, 7 and 8 word for word; or with a ranking of its own for each pass."""
    values = 2.0**tables - 1
    result = np.zeros(tables.shape[1])
    for row in range(tables.shape[1]):
        for single in values[:, row]:
            ranked = single if per_pass else values[:, row].mean(axis=0)
            ranks = {label: rank for rank, label in enumerate(np.argsort(-ranked), 1)}
            result[row] += sum(single[label] / ranks[label] for label in range(len(single)))
    return result / len(tables)


@pytest.fixture(scope="module")
def tables():
    return rng(3).random((20, 50, 12))


def test_closed_form_is_the_papers_definition(tables):
    assert abs(expected_confidence(tables) - by_the_paper(tables)).max() < 1e-12


def test_ranking_each_pass_gives_no_less(tables):
    above = by_the_paper(tables, per_pass=True) - expected_confidence(tables)
    assert (above >= 0).all() and above.max() > 0.1


def test_bounds_jensen_and_permutation(tables):
    value = expected_confidence(tables)
    harmonic = sum(1 / j for j in range(1, 13))
    assert (value >= 0).all() and (value <= harmonic).all()
    assert expected_confidence([np.ones((1, 12))])[0] == pytest.approx(harmonic, abs=1e-12)
    assert expected_confidence([np.zeros((1, 12))])[0] == 0
    assert (value >= confidence(relevance(tables.mean(axis=0)))).all()  # R is convex
    shuffled = tables[:, :, rng().permutation(12)]
    assert abs(expected_confidence(shuffled) - value).max() < 1e-12


def test_equal_passes_are_the_deterministic_variant(tables):
    alone = confidence(relevance(tables[0]))
    assert abs(expected_confidence([tables[0]] * 7) - alone).max() < 1e-12
    pool = ArrayPool(multi_label=True)
    pool.tables[1:] = pool.tables[0]
    assert (beal(pool, 9, rng(1)) == deterministic_beal(pool, 9, rng(1))).all()


def test_ties_in_the_ranking_change_nothing():
    table = np.array([[0.5, 0.25, 0.5, 0.25]])
    for order in itertools.permutations(range(4)):
        assert expected_confidence([table[:, order]])[0] == expected_confidence([table])[0]


def test_beal_takes_the_lowest():
    pool = ArrayPool(multi_label=True)
    expected = np.argsort(by_the_paper(pool.tables))[:8]
    assert beal(pool, 8, rng()).tolist() == expected.tolist()


@pytest.mark.parametrize("score", [expected_confidence, mutual_information])
def test_passes_are_streamed(score):
    """Each pass overwrites the one before: what is kept of it must be a copy."""
    pool = ArrayPool()
    expected = score([table.copy() for table in pool.tables])

    def passes():
        buffer = np.empty_like(pool.tables[0])
        for table in pool.tables:
            buffer[:] = table
            yield buffer
            buffer[:] = np.nan
    assert (score(passes()) == expected).all()


# Uncertainty


def test_single_label_scores_against_their_definitions():
    pool = ArrayPool()
    table = pool.probabilities()
    best = np.sort(table, axis=1)[:, ::-1]
    for choose, score in [(entropy, (table * np.log(table)).sum(axis=1)),
                          (least_confidence, best[:, 0]), (margin, best[:, 0] - best[:, 1])]:
        assert choose(pool, 10, rng()).tolist() == np.argsort(score)[:10].tolist()


def test_multi_label_scores_are_those_of_sets_of_labels():
    """Against all 2^5 sets, whose probabilities are products."""
    pool = ArrayPool(multi_label=True)
    table = pool.probabilities()
    sets = np.array(list(itertools.product([0, 1], repeat=5)))
    joint = np.where(sets, table[:, None], 1 - table[:, None]).prod(axis=2)  # (rows, sets)
    best = np.sort(joint, axis=1)[:, ::-1]
    assert abs(entropies(table, True) + (joint * np.log(joint)).sum(axis=1)).max() < 1e-12
    for choose, score in [(least_confidence, best[:, 0]), (margin, best[:, 0] - best[:, 1])]:
        assert choose(pool, 12, rng()).tolist() == np.argsort(score)[:12].tolist()


def test_certainty_has_no_entropy():
    assert entropies(np.array([[0.0, 1.0, 0.0]])).tolist() == [0.0]
    assert entropies(np.array([[0.0, 1.0, 1.0]]), multi_label=True).tolist() == [0.0]


def test_bald_is_the_mean_divergence_from_the_mean():
    tables = ArrayPool().tables
    mean = tables.mean(axis=0)
    divergence = (tables * np.log(tables / mean)).sum(axis=2).mean(axis=0)
    assert abs(mutual_information(tables) - divergence).max() < 1e-12
    assert (divergence > 0).all() and divergence.max() <= math.log(5)
    expected = np.argsort(-divergence)[:6].tolist()
    assert bald(ArrayPool(), 6, rng()).tolist() == expected


def test_bald_of_several_labels_is_the_sum_over_them():
    tables = ArrayPool(multi_label=True).tables
    single = [mutual_information(np.stack([tables[..., j], 1 - tables[..., j]], axis=2))
              for j in range(5)]
    assert abs(mutual_information(tables, True) - sum(single)).max() < 1e-12


def test_bald_reaches_its_bounds():
    eye = np.eye(4)[:, None]  # each pass is sure of another class
    assert mutual_information(eye)[0] == pytest.approx(math.log(4), abs=1e-12)
    both = [np.zeros((1, 3)), np.ones((1, 3))]
    assert mutual_information(both, True)[0] == pytest.approx(3 * math.log(2), abs=1e-12)
    assert abs(mutual_information([np.full((1, 3), 0.3)] * 5, True)[0]) < 1e-12


# All of them


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("choose", ACQUISITIONS.values(), ids=ACQUISITIONS)
def test_right_number_unique_inside_and_repeatable(choose, multi_label):
    pool, state = ArrayPool(multi_label), np.random.get_state()
    for count in (1, 10, 37, 99):
        chosen = choose(pool, count, rng(5)).tolist()
        assert len(chosen) == len({*chosen}) == min(count, 37)
        assert all(0 <= place < 37 for place in chosen)
        assert choose(pool, count, rng(5)).tolist() == chosen
    assert (np.random.get_state()[1] == state[1]).all()


@pytest.mark.parametrize("choose", ACQUISITIONS.values(), ids=ACQUISITIONS)
def test_ties_are_broken_by_the_generator(choose):
    pool = ArrayPool()
    pool.tables[:], pool.vectors[:] = 0.2, 1.0
    counts = np.zeros(37)
    for seed in range(300):
        chosen = choose(pool, 4, rng(seed))
        assert len({*chosen}) == 4
        counts[chosen] += 1
    assert counts.min() > 10 and counts.max() < 60  # 32 expected, standard deviation 5.4


def test_lowest_scores_come_first_and_only_ties_are_drawn():
    scores = np.array([3.0, 1.0, 2.0, 1.0, 0.0])
    orders = {tuple(lowest(scores, 4, rng(seed)).tolist()) for seed in range(20)}
    assert orders == {(4, 1, 3, 2), (4, 3, 1, 2)}


@pytest.mark.parametrize("table, words", [
    (np.full((3, 2), np.nan), "row 0"), (np.full(3, 0.5), r"shape \(3,\)"),
    (np.array([[0.5, 0.5], [1.2, -0.2]]), "row 1 .* -0.2 to 1.2"),
    (np.array([[0.5, 0.5], [0.9, 0.9]]), "row 1 .* add up to 1.8; expected .* sum of 1")])
def test_what_is_no_probability_is_refused(table, words):
    pool = ArrayPool()
    pool.tables = [table]
    for choose in (entropy, margin, least_confidence, bald, badge):
        with pytest.raises(DataError, match=words):
            choose(pool, 2, rng())
    with pytest.raises(DataError, match="no pass"):
        expected_confidence(iter(()))
    with pytest.raises(DataError, match="not finite"):
        farthest_first(np.array([[np.inf]]), np.zeros((0, 1)), 1, rng())


# BADGE


@pytest.mark.parametrize("multi_label", [False, True])
def test_gradient_embeddings_against_autograd(multi_label):
    layer, h = nn.Linear(7, 5).double(), torch.randn(11, 7, dtype=torch.float64)
    logits = layer(h)
    p = (logits.sigmoid() if multi_label else logits.softmax(1)).detach()
    answers = (p >= 0.5).double() if multi_label else p.argmax(1)
    a, b = gradient_factors(p.numpy(), h.numpy(), multi_label)
    for row in range(11):
        loss = (F.binary_cross_entropy_with_logits(logits[row], answers[row], reduction="sum")
                if multi_label else F.cross_entropy(logits[row], answers[row]))
        gradient, = torch.autograd.grad(loss, layer.weight, retain_graph=True)
        assert abs(np.outer(a[row], b[row]) - gradient.numpy()).max() < 1e-12


@pytest.mark.parametrize("multi_label", [False, True])
def test_factored_distances_draw_what_full_gradients_draw(multi_label):
    pool = ArrayPool(multi_label)
    factors = gradient_factors(pool.probabilities(), pool.embeddings(), multi_label)
    full = np.einsum("nc,nd->ncd", *factors).reshape(37, -1)
    chosen = badge(pool, 20, rng(4))
    assert chosen.tolist() == k_means_plus_plus([full], 20, rng(4)).tolist()
    again, mass = rng(4), np.ones(37)  # the definition, with differences written out
    for number, centre in enumerate(chosen, 1):
        assert again.choice(37, p=mass / mass.sum()) == centre
        differences = full[:, None] - full[chosen[:number]]
        mass = (differences**2).sum(axis=2).min(axis=1)


def test_seeding_draws_in_proportion_to_squared_distance():
    line = np.array([[0.0], [1.0], [2.0], [4.0]])
    pairs = [tuple(k_means_plus_plus([line], 2, rng(seed))) for seed in range(4000)]
    second = [b for a, b in pairs if a == 0]
    assert 900 < len(second) < 1100
    shares = np.bincount(second, minlength=4) / len(second)
    assert abs(shares - np.array([0, 1, 4, 16]) / 21).max() < 0.05


# Core-Set


def radius(points, centres):
    return np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1).max()


@pytest.mark.parametrize("seed", range(25))
def test_core_set_is_within_twice_the_optimum(seed):
    generator = rng(seed)
    rows = generator.normal(size=(10, 2)) * (1, 5)
    labelled = rows[10 - seed % 3:]  # none, one or two
    pool = rows[:10 - seed % 3]
    chosen = farthest_first(pool, labelled, 3, generator)
    best = min(radius(rows, np.concatenate([labelled, pool[list(picked)]]))
               for picked in itertools.combinations(range(len(pool)), 3))
    assert radius(rows, np.concatenate([labelled, pool[chosen]])) <= 2 * best + 1e-9


@pytest.mark.parametrize("block", [1, 2, 256])
def test_core_set_takes_the_farthest_each_time(block, monkeypatch):
    monkeypatch.setattr(diversity, "BLOCK", block)
    pool = ArrayPool()
    rows, centres = pool.embeddings(), list(pool.labelled_embeddings())
    for place in core_set(pool, 12, rng()):
        distances = np.linalg.norm(rows[:, None] - np.array(centres)[None], axis=2).min(axis=1)
        assert place == distances.argmax()
        centres.append(rows[place])


# Dropout


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.own = nn.BatchNorm1d(6), nn.Dropout(0.5), Dropout(0.5)
        self.off = nn.Dropout(0.0)

    def forward(self, x):
        return self.own(self.drop(self.norm(x)))


def test_only_dropout_is_on_and_everything_is_put_back():
    model = Noisy().train()
    model.own.eval()
    modes = [module.training for module in model.modules()]
    state, statistics = torch.get_rng_state(), model.norm.running_mean.clone()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)) + 3
    with pytest.raises(RuntimeError):
        with dropout_on(model, (nn.Dropout, Dropout), seed=1):
            assert model.drop.training and model.own.training and not model.norm.training
            first = model(x)
            raise RuntimeError
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.norm.running_mean, statistics)
    with dropout_on(model, (nn.Dropout, Dropout), seed=1):
        assert torch.equal(model(x), first)
    with dropout_on(model, (nn.Dropout, Dropout), seed=2):
        assert not torch.equal(model(x), first)
    with dropout_on(model, Dropout, seed=2):
        assert model.own.training and not model.drop.training
    with pytest.raises(BertKitError, match="no dropout"):
        with dropout_on(nn.Sequential(nn.Dropout(0.0)), nn.Dropout, seed=1):
            pass


@pytest.mark.parametrize("fused", [True, False])
def test_passes_of_a_bert(fused, config, ragged):
    model = BERTForSequenceClassification(config.replace(fused=fused, num_labels=3)).eval()
    ids, mask, types = ragged

    def one_pass(seed):
        with torch.inference_mode(), dropout_on(model, Dropout, seed):
            return model(ids, mask, types).softmax(1).numpy()

    passes = [one_pass(seed) for seed in range(4)]
    assert all(abs(a - b).max() > 1e-4 for a, b in itertools.combinations(passes, 2))
    assert (one_pass(2) == passes[2]).all()
    assert not any(module.training for module in model.modules())
    assert (mutual_information(passes) > 0).all()
    still = BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, hidden_size=20,
                       num_attention_heads=2, num_hidden_layers=1, vocab_size=9)
    with pytest.raises(BertKitError, match="expected a dropout rate above 0"):
        with dropout_on(BERTForSequenceClassification(still), Dropout, 0):
            pass


def test_random_needs_no_model():
    class Bare:
        def __len__(self):
            return 9
    chosen = [random(Bare(), 4, rng(seed)).tolist() for seed in range(2)]
    assert chosen[0] != chosen[1]
