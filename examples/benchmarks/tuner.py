"""The tuner's samplers beside Optuna's: how good, how fast, and with eight trials at once.

    python examples/benchmarks/tuner.py                          # everything; half an hour
    python examples/benchmarks/tuner.py --work quality --seeds 5 --problems branin bert
    python examples/benchmarks/tuner.py --tables FOLDER          # and the two trained tables
    python examples/benchmarks/tuner.py --work workers           # what one coordinator can feed

All tools run the very same functions of `tuner_problems.py`, one seed after another, in this
process. Optuna is left out where it is not installed.
"""

import argparse
import heapq
import json
import math
import random
import statistics
import tempfile
import threading
import time
import warnings
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import tuner_problems as problems

from bert_kit.files import write_json
from bert_kit.tuner import TPE, Exhausted, Grid, Median, Random, Study

try:
    import optuna
except ImportError:
    optuna = None

CHECKED = (25, 50, 100)  # trials after which the best is compared
TIMED = 1_000  # trials of which the last are timed
WORKERS = (10, 100, 1_000)
WORK = ("quality", "flight", "failures", "overhead", "workers")


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each problem")
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--problems", nargs="+", help="some of them; all by default")
    parser.add_argument("--seconds", type=float, default=0.2,
                        help="that a trial takes a simulated worker, on average")
    parser.add_argument("--tables", help="folder with digits_sgd.json and digits_mlp.json")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(words)


@dataclass
class Record:
    """What a sampler is told of a trial."""

    params: dict
    row: Any
    state: str = "running"
    losses: tuple | None = None
    steps: int = 0


class Loop:
    """The shortest study: a list of trials."""

    def __init__(self, sampler, space, seed):
        self.sampler, self.space, self.seed, self.trials = sampler, space, seed, []

    def ask(self):
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, len(self.trials))))
        params = self.sampler.sample(self.space, self.trials, rng)
        self.trials.append(Record(params, self.space.to_row(params)))
        return self.trials[-1]

    def tell(self, trial, loss):
        failed = not math.isfinite(loss)
        trial.state, trial.losses = ("failed", None) if failed else ("complete", (loss,))


class OptunaLoop:
    """The same with Optuna; a space is walked as its define-by-run interface wants it."""

    def __init__(self, sampler, space, storage=None):
        self.study, self.space = optuna.create_study(sampler=sampler, storage=storage), space

    def ask(self):
        trial, params = self.study.ask(), {}
        for parameter in self.space.parameters:
            if parameter.is_active(params):
                params[parameter.name] = suggest(trial, parameter)
        return Record(params, trial)

    def tell(self, record, loss):
        self.study.tell(record.row, loss if math.isfinite(loss) else None,
                        state=None if math.isfinite(loss) else optuna.trial.TrialState.FAIL)


def suggest(trial, parameter):
    name, low, high = parameter.name, parameter.low, parameter.high
    if not parameter.step:
        return trial.suggest_float(name, low, high, log=parameter.log)
    if parameter.kind == "categorical":
        return trial.suggest_categorical(name, parameter.values)
    place = trial.suggest_int(name, low, high, step=parameter.step, log=parameter.log)
    return parameter.values[place] if parameter.values else place


def tools():
    """Return {name: function of a space and a seed that makes a loop}."""
    made = {"random": lambda space, seed: Loop(Random(), space, seed),
            "TPE": lambda space, seed: Loop(TPE(), space, seed)}
    if optuna is None:
        print("Optuna is not installed: no comparison")
        return made
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    sampler = optuna.samplers.TPESampler
    return made | {"Optuna": lambda space, seed: OptunaLoop(sampler(seed=seed), space)}


def run(loop, loss, trials, in_flight=1):
    """Return the best loss so far after each of some trials, a wave at a time."""
    found = []
    while len(found) < trials:
        wave = [loop.ask() for _ in range(in_flight)]
        for trial in wave:
            found.append(loss(trial.params))
            loop.tell(trial, found[-1])
    return np.fmin.accumulate(found)


def compare(args, made, chosen):
    """Print medians of the best loss, and who wins seed by seed after the last trial."""
    figures, seeds = {}, range(args.first_seed, args.first_seed + args.seeds)
    print(f"\nmedian of the best loss over {args.seeds} seeds (quartiles after {CHECKED[-1]})")
    print(f"{'problem':14}{'tool':8}" + "".join(f"{n:>10}" for n in CHECKED))
    for name, problem in chosen.items():
        figures[name] = {}
        for tool, make in made.items():
            best = np.array([run(make(problem.space, seed), problem.loss, CHECKED[-1])
                             for seed in seeds])[:, np.array(CHECKED) - 1]
            figures[name][tool] = best.T.tolist()
            low, high = np.quantile(best[:, -1], (0.25, 0.75))
            print(f"{name:14}{tool:8}" + "".join(f"{v:10.4f}" for v in np.median(best, axis=0))
                  + f"   {low:.4f} .. {high:.4f}", flush=True)
    summarise(figures, made)
    return figures


def summarise(figures, made):
    """Print in how many problems and seeds TPE is ahead."""
    for other in made:
        if other == "TPE":
            continue
        wins = {name: [int(sum(np.array(a) < b)) for a, b in ((ours, theirs), (theirs, ours))]
                for name, ours, theirs in (
                    (name, np.array(found["TPE"][-1]), np.array(found[other][-1]))
                    for name, found in figures.items())}
        won, lost = np.sum(list(wins.values()), axis=0)
        print(f"\nTPE against {other} after {CHECKED[-1]}: {won} won, {lost} lost, "
              f"{won / max(won + lost, 1):.0%} of those that differ")
        print("  " + ", ".join(f"{name} {a}:{b}" for name, (a, b) in wins.items()))
        for at, trials in enumerate(CHECKED):
            ahead = [name for name, found in figures.items()
                     if np.median(found["TPE"][at]) <= np.median(found[other][at])]
            print(f"  median no worse after {trials}: {len(ahead)} of {len(figures)}")
        above = [name for name, found in figures.items()
                 if np.median(found["TPE"][-1]) > np.quantile(found[other][-1], 0.75)]
        print(f"  median above the other's upper quartile: {', '.join(above) or 'never'}")


def fly(args, made):
    """Print what eight trials at a time find, and how many sets they repeat."""
    figures = {}
    print(f"\n{'8 in flight, after 96':24}{'hartmann6':>12}{'bert':>12}{'repeated of 96':>16}")
    for tool, make in made.items():
        best = [statistics.median(
            run(make(problem.space, seed), problem.loss, 96, in_flight=8)[-1]
            for seed in range(args.seeds))
            for problem in (problems.PUBLISHED["hartmann6"], problems.PUBLISHED["bert"])]
        repeated = statistics.median(
            96 - distinct(make(problems.FEW, seed), 96, 8) for seed in range(args.seeds))
        figures[tool] = [*best, repeated]
        print(f"{tool:24}{best[0]:12.4f}{best[1]:12.4f}{repeated:16.1f}", flush=True)
    loop = Loop(Grid(), problems.FEW, 0)
    try:
        run(loop, problems.few, 10_000)
    except Exhausted as stop:
        sets = {json.dumps(trial.params) for trial in loop.trials}
        print(f"{'grid':24}{len(loop.trials)} trials, {len(sets)} sets, then: {stop}")
    return figures


def distinct(loop, trials, in_flight):
    tried = []

    def loss(params):
        tried.append(json.dumps(params))
        return problems.few(params)
    run(loop, loss, trials, in_flight)
    return len(set(tried))


def fail(args, made):
    """Print how often each tool goes where the loss is NaN: 30% of the box."""
    figures = {}
    print(f"\n{'draws where all fails':24}{'1 to 60':>12}{'61 to 120':>12}{'best':>12}")
    for tool, make in made.items():
        shares, best = [], []
        for seed in range(args.seeds):
            failed = []

            def loss(params):
                failed.append(params["x0"] < 0.3)
                return math.nan if failed[-1] else problems.hartmann(params)
            best.append(run(make(problems.box(3, 0, 1), seed), loss, 120)[-1])
            shares.append([np.mean(failed[:60]), np.mean(failed[60:])])
        first, later = np.mean(shares, axis=0)
        figures[tool] = [first, later, statistics.median(best)]
        print(f"{tool:24}{first:12.1%}{later:12.1%}{statistics.median(best):12.4f}", flush=True)
    return figures


def time_overhead(args, made):
    """Print the milliseconds of asking and telling around trial 100 and at the end."""
    figures, problem = {}, problems.PUBLISHED["hartmann6"]
    made = {**made}
    with tempfile.TemporaryDirectory() as folder:
        if optuna is not None:
            made["Optuna, sqlite"] = lambda space, seed: OptunaLoop(
                optuna.samplers.TPESampler(seed=seed), space, f"sqlite:///{folder}/study.db")
        print(f"\n{'ms a trial, 6 parameters':24}{'at 100':>12}{f'at {TIMED:,}':>12}")
        for tool, make in made.items():
            loop, took = make(problem.space, 0), []
            for _ in range(TIMED):
                start = time.perf_counter()
                trial = loop.ask()
                asked = time.perf_counter()
                loss = problem.loss(trial.params)
                told = time.perf_counter()
                loop.tell(trial, loss)
                took.append(1e3 * (time.perf_counter() - told + asked - start))
            figures[tool] = [statistics.median(took[80:120]), statistics.median(took[-40:])]
            print(f"{tool:24}{figures[tool][0]:12.2f}{figures[tool][1]:12.2f}", flush=True)
    return figures


class Simulated(Executor):
    """Workers that are only waited for: a call takes them .5 to 1.5 times some seconds."""

    def __init__(self, seconds):
        self.seconds, self.rng, self.calls, self.begun = seconds, random.Random(0), [], 0
        self.changed, self.closed = threading.Condition(), False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def submit(self, function, /, *args):
        future, end = Future(), time.monotonic() + self.seconds * self.rng.uniform(0.5, 1.5)
        with self.changed:
            self.begun += 1
            heapq.heappush(self.calls, (end, self.begun, future, function, args))
            self.changed.notify()
        return future

    def work(self):
        """Finish each call when its time has come."""
        while True:
            with self.changed:
                while not self.closed and (
                        not self.calls or (left := self.calls[0][0] - time.monotonic()) > 0):
                    self.changed.wait(left if self.calls else None)
                if self.closed:
                    return
                _, _, future, function, arguments = heapq.heappop(self.calls)
            future.set_result(function(*arguments))

    def shutdown(self, wait=True, *, cancel_futures=False):
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()


def curve(trial):
    """Five epochs towards a loss, which the pruner may cut short."""
    loss = problems.hartmann(trial.params)
    for epoch in range(1, 6):
        if trial.report(epoch, loss + 1 / epoch):
            break
    return loss


def feed(args, made):
    """Print what asking, telling and storing cost where many workers wait for trials."""
    figures = {}
    print(f"\n{'simulated workers':24}{'trials':>8}{'wanted a s':>12}{'given a s':>12}"
          f"{'ms a trial':>12}{'busy with trials of 60 s':>26}")
    for count in WORKERS:
        trials = 3 * count + 200
        with (tempfile.TemporaryDirectory() as folder, Simulated(args.seconds) as pool,
              closing(Study("s", problems.box(6, 0, 1), folder, pruner=Median())) as study):
            began, spent = time.perf_counter(), time.thread_time()
            study.optimize(curve, trials, executor=pool, in_flight=count)
            given = trials / (time.perf_counter() - began)
            cost = 1e3 * (time.thread_time() - spent) / trials
        figures[count] = {"wanted": count / args.seconds, "given": given, "ms": cost}
        print(f"{count:<24,}{trials:8,}{count / args.seconds:12,.0f}{given:12,.0f}{cost:12.2f}"
              f"{60e3 / cost:26,.0f}", flush=True)
    return figures


def main(args):
    chosen = {**problems.PUBLISHED, **problems.OTHERS}
    if args.tables:
        chosen |= {name: problem for name, (problem, _) in problems.tables(args.tables).items()}
    else:
        print("no --tables FOLDER: the two trained tables are left out")
    chosen = {name: chosen[name] for name in args.problems or chosen}
    made, figures = tools(), {}
    if "quality" in args.work:
        figures["quality"] = compare(args, made, chosen)
    if "flight" in args.work:
        figures["flight"] = fly(args, made)
    if "failures" in args.work:
        figures["failures"] = fail(args, made)
    if "overhead" in args.work:
        figures["overhead"] = time_overhead(args, made)
    if "workers" in args.work:
        figures["workers"] = feed(args, made)
    if args.json:
        write_json(args.json, figures)
    return figures


if __name__ == "__main__":
    main(parse_arguments())
