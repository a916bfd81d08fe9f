"""What a reader has to open to follow a job: the files that it really enters.

    python examples/benchmarks/reading.py [--files]

Of each job, run on tiny inputs:

    entered  files of the package in which a function ran (imports and class bodies left out)
    jobs     those of them in bert_kit/jobs
    loaded   files of the package that were imported at the end
    frames   of the package from `main` down to the caller of BERTModel.forward, in the first
             training step, and in the first evaluation after it

docs/performance.md has no such figures, for they are no matter of speed; docs/CHANGELOG.md does.
"""

import argparse
import contextlib
import inspect
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--device cpu --precision float32 --plots false --num_epochs 1 --batch_size 16 "
         "--max_length 24 --from_scratch bert-tiny --output_dir")
JOBS = {
    "train": f"train --data_file rows.csv {QUICK} run",
    "pretrain": f"pretrain --train_file rows.csv.txt --vocab_size 100 {QUICK} text",
    "train --task tagging": f"train --task tagging --data_file words.conll {QUICK} tagger",
    "tag": "tag --model tagger --device cpu --text red",
    "predict": "predict --model run --device cpu --text red",
    "evaluate": "evaluate --model run --device cpu --plots false",
}


def write_inputs(folder):
    """Write small texts with classes, words with tags, and lines of text."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(["red", "blue", "old", "new", "sky"], k=6)) for _ in range(90)]
    rows = [f"{text},{'warm' if 'red' in text else 'cold'}" for text in texts]
    (folder / "rows.csv").write_text("\n".join(["text,category", *rows]) + "\n")
    (folder / "rows.csv.txt").write_text("\n".join(texts) + "\n")
    (folder / "words.conll").write_text("\n".join("".join(
        f"{word} {'B-sky' if word == 'sky' else 'O'}\n" for word in text.split())
        for text in texts))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="list the files entered, in order")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # this process is to do it
    args = parser.parse_args()
    if args.job:
        print(json.dumps(measured(args.job)))
        return
    print(f"{'job':22}{'entered':>8}{'jobs':>6}{'loaded':>8}{'frames':>12}")
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        for name, command in JOBS.items():
            result = in_a_process(command, folder)
            own = sum(file.startswith("jobs/") for file in result["entered"])
            frames = [str(result["frames"].get(kind, "-")) for kind in ("training", "evaluation")]
            print(f"{name:22}{len(result['entered']):8}{own:6}{len(result['loaded']):8}"
                  f"{' and '.join(frames):>12}")
            if args.files:
                print("    " + " > ".join(result["entered"]))


def in_a_process(command, folder):
    """Return what `measured` finds in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--job", command], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        sys.exit(f"{command}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def measured(command):
    """Run a command line in this process and return what it entered."""
    import sklearn.linear_model  # noqa: F401  (before watching, which makes imports slow)
    import torch._dynamo  # noqa: F401

    from bert_kit.cli import main as run
    package = f"{ROOT / 'bert_kit'}{os.sep}"
    watch = Watch(package)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        sys.settrace(watch)  # of calls only, since it returns None
        try:
            failed = run(command.split())
        finally:
            sys.settrace(None)
    if failed:
        sys.exit(said.getvalue())
    loaded = [file for module in list(sys.modules.values())
              if (file := getattr(module, "__file__", None) or "").startswith(package)]
    return {"entered": list(watch.files), "loaded": loaded, "frames": watch.frames}


class Watch:
    """Told of every call by sys.settrace; keeps the files, in order, and the frames."""

    def __init__(self, package):
        self.package, self.seen, self.files, self.frames = package, set(), {}, {}

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self.package):
            return
        if code.co_qualname == "BERTModel.forward":
            kind = "training" if frame.f_locals["self"].training else "evaluation"
            if kind == "training" or "training" in self.frames:
                self.frames.setdefault(kind, len(self.above(frame.f_back)))
        # A module or class body has no fast locals; what it calls is part of an import too.
        if code not in self.seen and all(
                each.f_code.co_flags & inspect.CO_OPTIMIZED for each in self.above(frame)):
            self.seen.add(code)
            self.files[code.co_filename.removeprefix(self.package)] = True

    def above(self, frame):
        """Return the frames of the package from this one up."""
        found = []
        while frame is not None:
            if frame.f_code.co_filename.startswith(self.package):
                found.append(frame)
            frame = frame.f_back
        return found


if __name__ == "__main__":
    main()
