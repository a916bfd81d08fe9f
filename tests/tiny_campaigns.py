"""A small campaign for the tests of the active loop: points in a plane, and the class of the
nearest mean as the model."""

import json

import numpy as np

from bert_kit.active import ActiveLearner, entropy

CLASSES = ("left", "right", "top")
POINTS = np.random.default_rng(8).normal(size=(60, 2)) + np.repeat([[-2, 0], [2, 0], [0, 3]], 20, 0)
LABELS = np.repeat([0, 1, 2], 20).tolist()


class PlanePool:
    multi_label = False

    def __init__(self, model, rows):
        self.model, self.rows = np.array(model), rows

    def __len__(self):
        return len(self.rows)

    def probabilities(self):
        x = POINTS[self.rows]
        distances = ((x[:, None] - self.model)**2).sum(axis=2)
        weights = np.exp(-distances + distances.min(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


def fit(rows, labels, seed, start):
    """The mean of each class, with some noise; from a model, half-way towards it."""
    means = np.random.default_rng(seed).normal(scale=0.1, size=(3, 2))
    for number in {*labels}:
        means[number] += POINTS[[row for row, label in zip(rows, labels)
                                 if label == number]].mean(axis=0)
    return (means if start is None else (means + start) / 2).tolist()


def accuracy(model):
    guesses = PlanePool(model, range(60)).probabilities().argmax(axis=1)
    return {"accuracy": (guesses == LABELS).mean(), "undefined": float("nan")}


def save_model(model, folder):
    folder.mkdir()
    (folder / "means.json").write_text(json.dumps(model))


def load_model(folder):
    return json.loads((folder / "means.json").read_text())


def learner(folder=None, choose=entropy, fit=fit, **options):
    stored = {} if folder is None else {
        "folder": folder, "save_model": save_model, "load_model": load_model}
    return ActiveLearner(60, fit, lambda model, rows, labelled, seed: PlanePool(model, rows),
                         choose, accuracy, **{"stop_rows": 25, **stored, **options})


def content(folder):
    """The bytes of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}
