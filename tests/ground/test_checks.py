"""Guards in one line: what they let through, and what they say."""

import math

import numpy as np
import pytest
import torch

from bert_kit import BertKitError, ConfigError, DataError, TrainingError
from bert_kit.checks import is_number, number, one_of, same_length, share, unique, whole, wholes
from bert_kit.modes import evaluation_mode

NOTHING = [None, True, False, "1", 2.5, math.nan, [1]]


def test_whole_numbers():
    assert whole("n", 1, 1) == 1 and whole("n", np.int64(7), 0, 7) == 7
    assert type(whole("n", np.int64(7), 0)) is int
    for value in [*NOTHING, 0, 9]:
        with pytest.raises(ConfigError, match="n is .*; expected a whole number from 1 to 8"):
            whole("n", value, 1, 8)
    with pytest.raises(TrainingError, match="whole number from 1,000$"):
        whole("n", 999, 1000, error=TrainingError)


def test_several_whole_numbers():
    assert wholes("sizes", 3, 1, 9) == (3,) and wholes("sizes", [3, np.int32(4)], 1, 9) == (3, 4)
    for values in ([], [0], [1, True], [1] * 17, "3", 1.5):
        with pytest.raises(ConfigError, match="sizes is .*1 to 16 whole numbers from 1 to 9"):
            wholes("sizes", values, 1, 9)


def test_numbers_and_shares():
    assert number("x", 3) == 3.0 and number("x", np.float32(0.5), 0, above=True) == 0.5
    assert share("p", 0) == 0.0 and share("p", 1) == 1.0
    for value in (None, True, "1", math.nan, math.inf, 0, -1):
        assert is_number(value) == (value in (0, -1) and value is not True)
        with pytest.raises(ConfigError, match="x is .*; expected a number above 0$"):
            number("x", value, 0, above=True)
    for value in (-0.1, 1.1, None, True, math.nan):
        with pytest.raises(ConfigError, match="p is .*; expected a share from 0 to 1"):
            share("p", value)
    for value, limits in ((0, {"above": True}), (1, {"below": True})):
        with pytest.raises(ConfigError, match="p is"):
            share("p", value, **limits)


def test_one_of_some_and_each_once():
    assert one_of("kind", "a", ("a", "b")) == "a" and one_of("kind", None, (None, 1)) is None
    for value in ("c", None, ["a"], {"a"}):
        with pytest.raises(ConfigError, match="kind is .*; expected one of a, b"):
            one_of("kind", value, {"a": 1, "b": 2})
    assert unique("names", iter("abc")) == ("a", "b", "c")
    with pytest.raises(ConfigError, match="names has 'b' twice"):
        unique("names", ["a", "b", "b"])
    assert same_length(texts=[1, 2], labels="ab") == 2
    with pytest.raises(DataError, match="2 texts but 1 labels"):
        same_length(texts=[1, 2], labels=[1])


def test_a_model_is_in_the_modes_of_before_however_the_block_ends():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout()).train()
    model[0].eval()  # as a frozen encoder
    with pytest.raises(BertKitError), evaluation_mode(model):
        assert not any(part.training for part in model.modules())
        assert torch.is_inference_mode_enabled()
        raise BertKitError("no")
    assert [part.training for part in model.modules()] == [True, False, True]
    assert not torch.is_inference_mode_enabled()
