"""Every malformed file of `hostile` through `read_parts`.

Run: pytest tests/ground/test_hostile.py
"""

import random
import re

import pytest
from hostile_inputs import GOOD, MALFORMED, command

from bert_kit.cli import main
from bert_kit.data import LabelledParts, read_parts
from bert_kit.errors import BertKitError

READS = {"data_file": str, "train_file": str, "validation_file": str, "test_file": str,
         "text_column": str, "label_column": str, "delimiter": str, "encoding": str,
         "train_size": float, "val_size": float, "test_size": float, "seed": int}


def flags(entry):
    return [argument[2:] for argument in entry.arguments if argument.startswith("--")]


DATA = [entry for entry in MALFORMED if entry.code == 1 and set(flags(entry)) <= set(READS)]


def options(arguments):
    """Return command-line arguments as those of `read_parts`."""
    names = [argument[2:] for argument in arguments[::2]]
    return {name: READS[name](value) for name, value in zip(names, arguments[1::2], strict=True)}


def test_the_table_is_as_it_says():
    names = [entry.name for entry in MALFORMED]
    assert len(set(names)) == len(names) >= 60 and len(DATA) >= 60
    assert all(entry.words and entry.code in (1, 2) for entry in MALFORMED)


@pytest.mark.parametrize("entry", DATA, ids=lambda entry: entry.name)
def test_one_line_says_what_is_wrong(tmp_path, entry):
    arguments = options(command(entry, tmp_path))
    with pytest.raises(BertKitError) as caught:
        read_parts(**arguments)
    message = str(caught.value)
    assert entry.words in message and len(message.splitlines()) == 1 and len(message) < 1_000
    line = re.search(r" line (\d+)", message)
    assert (line and int(line[1])) == entry.line


def test_the_rest_of_each_file_is_good(tmp_path):
    """What an entry is refused for is its one fault."""
    (tmp_path / "a.csv").write_bytes(GOOD)
    parts = read_parts(tmp_path / "a.csv")
    assert len(parts.train) == 32 and parts.classes == ("neg", "pos")


def test_damaged_data_and_splits_raise_nothing_else(tmp_path):
    rng = random.Random(0)
    path, split = tmp_path / "a.csv", tmp_path / "split.json"
    path.write_bytes(GOOD)
    read_parts(path, split_file=split)
    good = {path: GOOD, split: split.read_bytes()}
    outcomes = {file: set() for file in good}
    for file, content in good.items():
        for _ in range(300):
            damaged = bytearray(content)
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(len(damaged))
                damaged[place:place + rng.randint(0, 2)] = rng.choice(
                    [b"", b"\0", b'"', b",", b"\r", b"\xff", b"9", b"]", b"-", b"e"])
            file.write_bytes(damaged)
            try:
                found = read_parts(path, split_file=split if file == split else None)
                outcomes[file].add(type(found))
            except BertKitError as error:
                assert len(str(error).splitlines()) == 1
                outcomes[file].add(BertKitError)
        file.write_bytes(content)
    assert all(found == {LabelledParts, BertKitError} for found in outcomes.values())


@pytest.mark.parametrize("entry", MALFORMED, ids=lambda entry: entry.name)
def test_the_command_line_says_it_in_one_line_and_leaves_nothing(tmp_path, capsys, entry):
    out = tmp_path / "out"
    (tmp_path / "data").mkdir()
    arguments = ["train", *command(entry, tmp_path / "data"), "--device", "cpu",
                 "--output_dir", str(out)]
    arguments += ["--from_scratch", "bert-tiny"] * ("--model" not in arguments)
    try:
        code = main(arguments)
    except SystemExit as usage:  # how argparse ends
        code = usage.code
    error = capsys.readouterr().err
    assert code == entry.code and entry.words in error
    if code == 1:
        assert error.startswith("error: ") and error.count("\n") == 1
        line = re.search(r" line (\d+)", error)
        assert (line and int(line[1])) == entry.line
    assert not out.exists()
