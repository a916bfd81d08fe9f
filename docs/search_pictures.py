"""Pictures of what is searched for: settings of a training, and texts that are worth a label."""

import math

import numpy as np
from drawing import Chart, arrow, box, dot, label, line, ring
from sklearn.linear_model import LogisticRegression

from bert_kit.active import entropies, expected_confidence, mutual_information
from bert_kit.active.diversity import farthest_first
from bert_kit.tuner import SearchSpace
from bert_kit.tuner.pbt import ExploitExplore
from bert_kit.tuner.tpe import Parzen

RUNS = ("blue", "orange", "green", "purple")


def densities():
    """The two densities of TPE after ten trials, and where their ratio is largest"""
    space = SearchSpace().continuous("x", 0.0, 1.0).parameters
    good, bad = np.array([0.58, 0.66, 0.71]), np.array([0.05, 0.2, 0.33, 0.45, 0.8, 0.9, 0.97])
    xs = np.linspace(0, 1, 201)
    better, worse = (np.exp(Parzen(space, rows[:, None], np.ones(len(rows))).log_density(
        xs[:, None])) for rows in (good, bad))
    best = float(xs[np.argmax(better / worse)])
    chart = Chart(60, 46, 500, 200, (0, 1), (0, 1.35 * float(max(better))))
    parts = [chart.axes("x, the setting", "density", (0, 0.2, 0.4, 0.6, 0.8, 1), (0, 1, 2, 3, 4)),
             chart.curve(xs.tolist(), better.tolist(), "green"),
             chart.curve(xs.tolist(), worse.tolist(), "orange"),
             line([chart.at(best, 0), chart.at(best, chart.ys[1])], "blue", dashed=True),
             label(chart.at(best, 0)[0] + 8, 58, "the largest ratio:", "start", "blue", 13),
             label(chart.at(best, 0)[0] + 8, 75, "try here next", "start", "blue", 13),
             label(*chart.at(0.5, 2.3), "better(x): the best 3", "end", "green"),
             label(*chart.at(0.02, 1.5), "worse(x): the other 7", "start", "orange")]
    parts += [dot(chart.at(x, 0)[0], chart.at(0, 0)[1], colour, 5)
              for rows, colour in ((good, "green"), (bad, "orange")) for x in rows.tolist()]
    return 600, 302, parts


def noisy(x, rate, seed, steps=5):
    """Some steps of gradient descent on |x|² / 2 with noise; where it ends, and the loss there."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        x = x - rate * (x + rng.normal(size=20))
    return x, float(x @ x) / 40


def halving():
    """Successive halving: nine trials begin, the best three go on, and one of them to the end"""
    rates = np.exp(np.linspace(math.log(0.01), math.log(0.7), 9)).tolist()
    states = {trial: np.full(20, 3.0) for trial in range(9)}
    curves, alive = {trial: [(0, 4.5)] for trial in range(9)}, range(9)
    for epochs, keep in ((1, 3), (3, 1), (9, 0)):
        for trial in alive:
            for epoch in range(curves[trial][-1][0] + 1, epochs + 1):
                states[trial], loss = noisy(states[trial], rates[trial], 10 * trial + epoch, 4)
                curves[trial].append((epoch, loss))
        alive = sorted(alive, key=lambda trial: curves[trial][-1][1])[:keep]
    chart = Chart(74, 52, 500, 230, (0, 9), (-1.5, 0.8))
    parts = [chart.axes("epochs", "loss", (0, 1, 3, 9),
                        [(math.log10(value), f"{value:g}") for value in (0.05, 0.1, 0.3, 1, 3)])]
    for epoch, text in ((1, "3 of 9 go on"), (3, "1 of 3 goes on"), (9, "the end")):
        bottom, top = chart.at(epoch, chart.ys[0]), chart.at(epoch, chart.ys[1])
        parts += [line([bottom, top], dashed=True, width=1),
                  label(top[0], top[1] - 12, text, fill="dim", size=13)]
    for points in curves.values():
        far = points[-1][0]
        colour = {1: "orange", 3: "purple", 9: "blue"}[far]
        logs = [math.log10(loss) for _, loss in points]
        parts += [chart.curve(range(far + 1), logs, colour), dot(*chart.at(far, logs[-1]), colour)]
    return 620, 336, parts


def population():
    """Population-based training: the worst of four goes on from the best, at another rate"""
    pbt = ExploitExplore(SearchSpace().log_uniform("rate", 0.003, 1.0), exploit=1.0,
                         direction="minimize", seed=1)
    members, history, states = [], [], {}
    for _ in range(17):
        members = pbt.ask(members)
        starts = {m.slot: np.full(20, 3.0) if m.parent is None else states[m.parent]
                  for m in members}
        ends = {m.slot: noisy(starts[m.slot], m.params["rate"], m.seed) for m in members}
        states = {slot: end[0] for slot, end in ends.items()}
        members = pbt.tell(members, [ends[m.slot][1] for m in members])
        history.append(members)
    last = len(history) - 1
    powers = [(value, f"{10.0 ** value:g}") for value in (-1, 0)]
    rate = Chart(70, 46, 560, 170, (0, last), (-1.6, 0.1))
    loss = Chart(70, 312, 560, 170, (0, last), (-2.2, 0.8))
    parts = [rate.axes("generation", "learning rate", range(0, last + 1, 4), powers),
             loss.axes("generation", "loss", range(0, last + 1, 4), [(-2, "0.01"), *powers])]
    for chart, value in ((rate, lambda m: m.params["rate"]), (loss, lambda m: m.score)):
        for before, after in zip(history, history[1:], strict=False):
            for member in after:
                old = before[member.parent]
                a, b = (chart.at(m.generation, math.log10(value(m))) for m in (old, member))
                copied = member.parent != member.slot
                parts.append((arrow if copied else line)([a, b], RUNS[member.slot],
                                                         1.6 if copied else 2.2, copied))
    parts.append(label(70, 540, "A colour is one of four runs; a dashed arrow: it goes on from "
                       "another's weights.", "start", "dim", 13))
    return 660, 556, parts


def acquisition():
    """A pool of points, some of two classes: what three families of questions ask for"""
    rng = np.random.default_rng(1)
    pool = np.concatenate([rng.normal(centre, 0.5, (count, 2)) for centre, count in (
        ((-1.0, -0.9), 24), ((1.0, -0.9), 24), ((1.8, 2.1), 12))])
    labelled = np.array([0, 1, 2, 24, 25, 26])
    classes = [0, 0, 0, 1, 1, 1]
    others = np.setdiff1d(np.arange(len(pool)), labelled)
    models = [LogisticRegression(C=5).fit(pool[labelled], classes, sample_weight=weights)
              for weights in (np.ones(6), *rng.exponential(size=(12, 6)))]
    tables = [model.predict_proba(pool[others]) for model in models]
    far = farthest_first(pool[others], pool[labelled], 5, rng)
    panels = (("uncertainty", "near the border", np.argsort(-entropies(tables[0]))[:5], models[:1]),
              ("diversity", "far from all labels", far, []),
              ("disagreement", "where models differ", np.argsort(
                  -mutual_information(tables[1:]))[:5], models[1:]))
    parts = []
    for k, (name, what, chosen, lines) in enumerate(panels):
        chart = Chart(16 + 232 * k, 62, 210, 210, (-3, 3), (-2.6, 3.4))
        parts += [label(chart.left, 26, name, "start", weight=600),
                  label(chart.left, 46, what, "start", "dim", 13),
                  box(chart.left, chart.top, 210, 210, "paper", "edge")]
        for model in lines:  # where it gives both classes 1/2
            (a, b), c = model.coef_[0], model.intercept_[0]
            ends = [(x, -(c + a * x) / b) for x in np.linspace(-3, 3, 601)]
            inside = [end for end in ends if -2.6 <= end[1] <= 3.4]
            if inside:
                parts.append(line([chart.at(*inside[0]), chart.at(*inside[-1])], width=1,
                                  dashed=True))
        parts += [dot(*chart.at(*pool[i]), "edge", 3) for i in others]
        for i, kind in zip(labelled, classes, strict=True):
            x, y = chart.at(*pool[i])
            parts.append(dot(x, y, "blue", 6) if kind else box(x - 5.5, y - 5.5, 11, 11, "orange"))
        parts += [ring(*chart.at(*pool[others[i]]), "green") for i in chosen]
    parts += [box(16, 291, 11, 11, "orange"), dot(42, 296.5, "blue", 6),
              label(56, 301, "labelled, of two classes", "start", "dim", 13),
              dot(262, 296.5, "edge", 3), label(274, 301, "no label", "start", "dim", 13),
              ring(364, 296.5, "green"), label(380, 301, "asked for", "start", "dim", 13),
              line([(484, 296.5), (512, 296.5)], width=1, dashed=True),
              label(520, 301, "border of a model", "start", "dim", 13)]
    return 712, 320, parts


def passes():
    """Four texts, three labels, two passes: which text do BEAL, entropy and BALD ask for?"""
    names = ("sure of one", "torn", "passes disagree", "sure of none")
    passes = np.array([
        [[.99, .01, .01], [.50, .50, .50], [.99, .01, .01], [.01, .01, .01]],
        [[.99, .01, .01], [.50, .50, .50], [.01, .99, .01], [.01, .01, .01]]])
    scores = {"BEAL: lowest": -expected_confidence(passes),
              "entropy: highest": entropies(passes.mean(0), multi_label=True),
              "BALD: highest": mutual_information(passes, multi_label=True)}
    parts = [label(16, 30, "text", "start", weight=600),
             label(174, 30, "label: its probability", "start", weight=600)]
    parts += [label(376 + 112 * k, 30 + 18 * row, text, "start", "dim" if row else "ink", 13,
                    None if row else 600)
              for k, name in enumerate(scores) for row, text in enumerate(name.split(": "))]
    for i, name in enumerate(names):
        y = 58 + 78 * i
        parts += [label(16, y + 32, name, "start"),
                  *(label(160, y + 16 + 18 * c, "abc"[c], "end", "dim", 13) for c in range(3))]
        for c in range(3):
            at = [174 + 160 * float(table[i, c]) for table in passes]
            parts += [line([(174, y + 12 + 18 * c), (334, y + 12 + 18 * c)], width=1),
                      dot(at[0], y + 12 + 18 * c, "blue", 6),
                      ring(at[1], y + 12 + 18 * c, "orange")]
        for k, values in enumerate(scores.values()):
            chosen, x = int(np.argmax(values)) == i, 376 + 112 * k
            width = 96 * float(abs(values[i]) / abs(values).max())
            parts += [box(x, y + 8, 96, 22, "pale"),
                      box(x, y + 8, width, 22, "green" if chosen else "edge"),
                      label(x, y + 47, f"{abs(values[i]):.2f}" + (": asked" if chosen else ""),
                            "start", "green" if chosen else "dim", 13)]
    y = 58 + 78 * 4 + 14
    parts += [label(174, y - 2, "0", size=13, fill="dim"), label(334, y - 2, "1", size=13,
                                                                  fill="dim"),
              dot(180, y + 18, "blue", 6), label(196, y + 23, "first pass", "start", "dim", 13),
              ring(290, y + 18, "orange"), label(306, y + 23, "second pass", "start", "dim", 13)]
    return 720, y + 38, parts


PICTURES = {"densities": densities, "halving": halving, "population": population,
            "acquisition": acquisition, "passes": passes}
