"""Functions to minimise, with the space of each: what the tuner's benchmark runs all tools on.

PUBLISHED are the ones whose results the documentation shows; `tables` adds two that were trained
for real once, learning curves of every setting on scikit-learn's digits. OTHERS are there to see
that the sampler's settings are not made for the first; those were chosen on other seeds of all.
"""

import base64
import json
import math
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np

from bert_kit.tuner import SearchSpace, log

Problem = namedtuple("Problem", "space loss")


def box(dimensions, low, high):
    """Return the space x0, x1, ... of numbers from `low` to `high`."""
    return SearchSpace.from_dict({f"x{i}": (float(low), float(high)) for i in range(dimensions)})


def vector(params):
    return np.array(list(params.values()), dtype=float)


def branin(params):
    """Two parameters, three equal minima of 0.398."""
    x, y = params["x"], params["y"]
    bend = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN = {
    3: ([[3, 10, 30], [0.1, 10, 35]] * 2,
        [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
    6: ([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
         [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]],
        [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
         [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]),
}


def hartmann(params):
    """Four hills in 3 or 6 parameters; the minima are -3.863 and -3.322."""
    steepness, tops = (np.array(values) for values in HARTMANN[len(params)])
    return float(-HEIGHTS @ np.exp(-(steepness * (vector(params) - tops / 1e4) ** 2).sum(axis=1)))


def rosenbrock(params):
    """A bent valley in the logarithms of four parameters, log10(1 + f); the minimum is 0."""
    x = np.log10(vector(params))
    return float(np.log10(1 + (100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2).sum()))


BERT_SPACE = SearchSpace.from_dict({
    "lr": log(1e-6, 5e-3), "weight_decay": log(1e-8, 1e-2), "dropout_rate": (0.1, 0.6),
    "warmup_ratio": (0.0, 0.3), "num_hidden_layers": (1, 4), "batch_size": [8, 16, 32, 64],
    "activation": ["relu", "gelu", "silu", "tanh"]})
ACTIVATION_LOSS = {"relu": 0.06, "gelu": 0.0, "silu": 0.02, "tanh": 0.10}


def bert(params):
    """A made-up loss over a BERT's settings, 0 at its best; the rate hangs on batch and depth."""
    layers, doublings = params["num_hidden_layers"], math.log2(params["batch_size"] / 16)
    best_rate = math.log10(3e-5) + 0.5 * math.log10(params["batch_size"] / 16) - 0.15 * (layers - 3)
    off = math.log10(params["lr"]) - best_rate
    return ((0.25 if off < 0 else 0.6) * off**2
            + 0.02 * ((math.log10(params["weight_decay"]) + 2) / 3) ** 2
            + 0.8 * (params["dropout_rate"] - 0.15) ** 2 + 1.5 * (params["warmup_ratio"] - 0.1) ** 2
            + 0.05 * (layers - 3) ** 2 + 0.03 * abs(doublings)
            + ACTIVATION_LOSS[params["activation"]])


TREE = (SearchSpace().categorical("head", ["linear", "mlp", "cnn"])
        .log_uniform("linear_lr", 1e-6, 1e-1, when={"head": "linear"})
        .categorical("norm", ["none", "layer"], when={"head": ["mlp", "cnn"]})
        .continuous("gain", -3.0, 3.0, when={"norm": "none"})
        .log_uniform("lr", 1e-6, 1e-1, when={"norm": "layer"})
        .discrete("width", 8, 1024, log=True, when={"norm": "layer"})
        .continuous("dropout", 0.0, 0.6, when={"norm": "layer"}))


def tree(params):
    """Which parameters there are hangs on others; the minimum is 0."""
    if params["head"] == "linear":
        return 0.3 + 0.1 * (math.log10(params["linear_lr"]) + 3) ** 2
    if params["norm"] == "none":
        return 0.2 + 0.2 * (params["gain"] - 1) ** 2
    return (0.1 * (math.log10(params["lr"]) + 4) ** 2 + 0.05 * (math.log2(params["width"]) - 7) ** 2
            + 0.4 * (params["dropout"] - 0.2) ** 2)


PUBLISHED = {
    "branin": Problem(SearchSpace.from_dict({"x": (-5.0, 10.0), "y": (0.0, 15.0)}), branin),
    "hartmann3": Problem(box(3, 0, 1), hartmann),
    "hartmann6": Problem(box(6, 0, 1), hartmann),
    "rosenbrock": Problem(SearchSpace.from_dict({f"x{i}": log(1e-2, 1e2) for i in range(4)}),
                          rosenbrock),
    "bert": Problem(BERT_SPACE, bert),
    "conditional": Problem(TREE, tree),
}


def nearest(values, value):
    """Return the place of the value whose logarithm is nearest."""
    return int(np.abs(np.log(np.asarray(values) / value)).argmin())


def tables(folder):
    """Return the two trained tables as {name: (Problem, curve)}.

    Each file holds an array over the grid of settings, its last axis the epochs, as compressed
    16-bit numbers. `curve(params)` is the loss after each epoch; a problem's loss is the last.
    """
    linear = {"alpha": np.logspace(-7, -1, 9), "eta0": np.logspace(-5, 1, 9),
              "loss": ["hinge", "log_loss", "modified_huber"],
              "penalty": ["l2", "l1", "elasticnet"]}
    mlp = {"lr": np.logspace(-4.5, -0.5, 11), "alpha": np.logspace(-5, 1, 5),
           "width": [4, 8, 16, 32, 64, 128], "activation": ["relu", "tanh", "logistic"]}
    return {"digits_sgd": table(Path(folder) / "digits_sgd.json", linear, "n_valid"),
            "digits_mlp": table(Path(folder) / "digits_mlp.json", mlp, "scale")}


def table(path, grid, scale):
    stored = json.loads(path.read_text("utf-8"))
    packed = next(value for value in stored.values() if isinstance(value, str))
    losses = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint16)
    losses = losses.reshape(stored["shape"]) / stored[scale]
    space = SearchSpace.from_dict({
        name: values if isinstance(values[0], str) else log(
            *(int(v) if name == "width" else float(v) for v in (values[0], values[-1])))
        for name, values in grid.items()})

    def curve(params):
        return losses[tuple(grid[name].index(value) if isinstance(value, str)
                            else nearest(grid[name], value) for name, value in params.items())]
    return Problem(space, lambda params: float(curve(params)[-1])), curve


def ackley(params):
    """Many small dents in a funnel; the minimum 0 is off the centre."""
    x = vector(params) - 7.3
    return float(20 - 20 * np.exp(-0.2 * np.sqrt((x**2).mean()))
                 + math.e - np.exp(np.cos(2 * math.pi * x).mean()))


def levy(params):
    """Waves along and across; the minimum is 0 at 1."""
    w = 1 + (vector(params) - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    return float(np.sin(math.pi * w[0]) ** 2 + inner.sum()
                 + (w[-1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[-1]) ** 2))


def styblinski_tang(params):
    """Two basins in every direction; the minimum is -39.17 a parameter."""
    x = vector(params)
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


def bowl(params):
    """An ellipsoid whose axes differ a hundredfold; the minimum is 0."""
    x = vector(params) - 0.37
    return float((np.logspace(0, 2, len(x)) * x**2).sum())


MIXED = (SearchSpace().categorical("optimizer", ["sgd", "adam", "lion", "muon"])
         .log_uniform("lr", 1e-5, 1.0).continuous("momentum", 0.0, 0.99, when={"optimizer": "sgd"})
         .ordered("schedule", ["constant", "linear", "cosine"]).discrete("batch", 16, 256, step=16)
         .discrete("layers", 1, 12).categorical("tied", [True, False])
         .continuous("clip", 0.1, 10.0))
BEST_RATE = {"sgd": -1.0, "adam": -3.0, "lion": -4.0, "muon": -2.0}


def mixed(params):
    """Every kind of parameter, most of them with a say in the best rate; the minimum is 0."""
    kind, x = params["optimizer"], math.log10(params["lr"])
    off = (x - BEST_RATE[kind] - 0.4 * math.log2(params["batch"] / 64)
           + 0.05 * (params["layers"] - 8))
    momentum = 0.5 * (params.get("momentum", 0.9) - 0.9) ** 2
    schedule = 0.03 * (2 - ["constant", "linear", "cosine"].index(params["schedule"]))
    return (0.1 * abs(off) ** 1.5 + momentum + schedule + 0.01 * (params["layers"] - 8) ** 2 / 4
            + 0.02 * (not params["tied"]) + 0.01 * abs(math.log(params["clip"]))
            + {"sgd": 0.02, "adam": 0.0, "lion": 0.01, "muon": 0.03}[kind])


OTHERS = {
    "ackley5": Problem(box(5, 0, 20), ackley),
    "levy4": Problem(box(4, -10, 10), levy),
    "styblinski3": Problem(box(3, -5, 5), styblinski_tang),
    "bowl8": Problem(box(8, 0, 1), bowl),
    "mixed": Problem(MIXED, mixed),
}
FEW = SearchSpace.from_dict({"layers": (1, 5), "batch_size": [8, 16, 32, 64],
                             "activation": ["relu", "gelu", "silu", "tanh"],
                             "dropout": [0.1, 0.2, 0.3, 0.4]})  # 320 sets


def few(params):
    """A finite space of 320 sets; the minimum is 0."""
    return (0.1 * abs(params["layers"] - 4) + 0.05 * math.log2(params["batch_size"] / 8)
            + 0.07 * ["gelu", "relu", "silu", "tanh"].index(params["activation"])
            + 0.3 * (params["dropout"] - 0.1))
