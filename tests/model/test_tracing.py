"""Reading the local names of a function from outside."""

import sys

import pytest

from bert_kit.model.tracing import locals_of


def root(x):
    half = x / 2
    if half > 1:
        root(half)
    return half


def test_the_first_return_counts_and_is_the_innermost():
    assert locals_of(root, lambda: [root(8), root(1)]) == {"x": 2.0, "half": 1.0}


def test_methods():
    class Counter:
        def add(self, n):
            total = n + 1
            return total

    counter = Counter()
    assert locals_of(Counter.add, lambda: counter.add(3)) == {
        "self": counter, "n": 3, "total": 4}


def test_a_function_that_is_not_reached_is_an_error():
    with pytest.raises(LookupError, match="root did not return during the call"):
        locals_of(root, lambda: None)
    with pytest.raises(ZeroDivisionError):
        locals_of(root, lambda: 1 / 0)
    assert sys.getprofile() is None
