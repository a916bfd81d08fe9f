"""What a type checker says of the package, and of mistakes in a program that uses it.

Run: pytest -m slow tests/test_types.py (a minute, as `.ci/run` does after the other tests)
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """\
import bert_kit
from bert_kit import BertConfig, Predictor, TrainingArguments, train_classifier

BertConfig(hidden_size=64)
TrainingArguments(learning_rate=1)
train_classifier(data_path="reviews.csv", learning_rate=3e-5)
Predictor.load("runs/standard").predict(["a text"])
print(bert_kit.__version__)
"""
MISTAKES = (
    ('BertConfig(hidden_sise=64)', "hidden_sise"),
    ('train_classifier(data_path="reviews.csv", lerning_rate=3e-5)', "lerning_rate"),
    ('TrainingArguments(lerning_rate=1)', "lerning_rate"),
    ('Predictor("x").predikt(["a text"])', "predikt"),
    ('bert_kit.no_such_name', "no_such_name"))


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """{path: [(line, message)]} of one run over the package and a program with five mistakes."""
    pytest.importorskip("pyright")
    program = tmp_path_factory.mktemp("types") / "program.py"
    program.write_text(PROGRAM + "".join(f"{line}\n" for line, _ in MISTAKES))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable,
         "bert_kit", str(program)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found = {}
    for error in json.loads(done.stdout)["generalDiagnostics"]:
        if error["severity"] == "error":
            place = (error["range"]["start"]["line"] + 1, error["message"])
            found.setdefault(error["file"].removeprefix(f"{ROOT}/"), []).append(place)
    return found


def test_the_package_has_no_errors(errors):
    lines = [f"{path}:{line}: {message}" for path, places in errors.items()
             for line, message in places if path.startswith("bert_kit")]
    assert lines == []


def test_mistakes_of_a_program_are_found(errors):
    """Each on its line, by its name; what is right in the program is not called wrong."""
    first, found = PROGRAM.count("\n") + 1, {}
    path, = (path for path in errors if path.endswith("program.py"))
    for line, message in errors[path]:
        found[line] = found.get(line, "") + message
    assert sorted(found) == list(range(first, first + len(MISTAKES)))
    for line, (_, name) in enumerate(MISTAKES, first):
        assert name in found[line]
