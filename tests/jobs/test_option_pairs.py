"""Every two options of a training together: both count, or one line says why not."""

import random

import pytest
from option_pairs import INDIFFERENT, LEFT_ALONE, VALUES, Runs, pairs_of

from bert_kit.jobs.options.declare import fields_of
from bert_kit.jobs.train import train_options
from bert_kit.training import memory


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "give_back_memory", lambda device: None)  # slow, and there is enough
        yield Runs(tmp_path_factory.mktemp("pairs"))


def complaints(runs, pairs):
    return [found for pair in pairs if (found := runs.complaint(*pair)) is not None]


def test_every_option_has_a_value_to_try():
    names = {field.name for field in fields_of(train_options("classification"))}
    assert names == VALUES.keys() | LEFT_ALONE
    assert {name for pair in INDIFFERENT for name in pair} <= names


def test_some_pairs(runs):
    rng = random.Random(18)
    some = rng.sample(sorted(VALUES), 10)  # few, so that the runs with one option are few too
    assert complaints(runs, rng.sample(pairs_of(some), 9)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_all_pairs(runs, name):
    later = [*VALUES][[*VALUES].index(name) + 1:]
    assert complaints(runs, [pair for pair in pairs_of([name, *later])
                             if pair[0][0] == name]) == []
