"""The search space: its layout on the unit interval, conditions, grid, JSON and what it refuses."""

import contextlib
import itertools
import json
import math

import numpy as np
import pytest

from bert_kit.errors import ConfigError
from bert_kit.tuner import SearchSpace, log
from bert_kit.tuner.stored_study import check_wider

EVERY = (SearchSpace().categorical("head", ["linear", "cnn", None, [1, 2]])
         .continuous("dropout", -0.5, 0.6).log_uniform("lr", 1e-6, 5e-3)
         .discrete("rows", 8, 64, step=8).discrete("width", 3, 1000, log=True)
         .ordered("size", ["small", "medium", "large"])
         .discrete("kernels", 1, 4, when={"head": "cnn"})
         .continuous("momentum", 0, 0.99, when={"head": ["linear", "cnn"], "size": "large"})
         .categorical("nested", [True, False, 1.5], when={"kernels": [2, 3]}).build())
FINITE = EVERY.only("head", "rows", "size", "kernels", "nested")


def get(space, name):
    return next(parameter for parameter in space.parameters if parameter.name == name)


@pytest.mark.parametrize("name", ["head", "rows", "width", "size", "kernels", "nested"])
def test_values_own_cells_that_fill_the_interval(name):
    parameter = get(EVERY, name)
    values = list(parameter.grid())
    units = np.array([parameter.to_unit(value) for value in values])
    assert len(values) == parameter.size and (np.diff(units) > 0).all()
    assert [parameter.from_unit(unit) for unit in units] == values
    assert [type(parameter.from_unit(unit)) for unit in units] == [type(v) for v in values]
    start, end = parameter.cells(units)
    assert start[0] == pytest.approx(0) and end[-1] == pytest.approx(1)
    np.testing.assert_allclose(start[1:], end[:-1], atol=1e-12)
    for edge in (start + 1e-9, end - 1e-9):
        np.testing.assert_allclose(parameter.units(parameter.numbers(edge)), units, atol=1e-12)


def test_uniform_numbers_are_draws_from_the_prior():
    units = np.random.default_rng(0).random(20_000)
    lr, width, dropout = (get(EVERY, name) for name in ("lr", "width", "dropout"))
    drawn = np.array([lr.from_unit(unit) for unit in units])
    assert np.median(np.log(drawn)) == pytest.approx(math.log(1e-6 * 5e-3) / 2, abs=0.1)
    assert drawn.min() >= 1e-6 and drawn.max() <= 5e-3
    np.testing.assert_allclose([lr.to_unit(value) for value in drawn[:99]], units[:99], atol=1e-12)
    widths = np.array([width.from_unit(unit) for unit in units])
    assert np.mean(widths == 3) == pytest.approx(math.log(3.5 / 2.5) / math.log(1000.5 / 2.5),
                                                 abs=0.01)
    assert np.mean([dropout.from_unit(unit) for unit in units]) == pytest.approx(0.05, abs=0.01)


def test_rows_and_sets_are_the_same():
    rng = np.random.default_rng(1)
    rows = rng.random((500, len(EVERY.parameters)))
    settled = EVERY.settle(rows)
    seen = set()
    for row, expected in zip(rows, settled):
        params = EVERY.from_row(row)
        EVERY.check(params)
        np.testing.assert_allclose(EVERY.to_row(params), expected, atol=1e-12)
        assert EVERY.from_row(EVERY.to_row(params)).keys() == params.keys()
        assert json.loads(json.dumps(params)) == params
        assert ("kernels" in params) == (params["head"] == "cnn")
        assert ("momentum" in params) == (params["head"] in ("linear", "cnn")
                                          and params["size"] == "large")
        assert ("nested" in params) == (params.get("kernels") in (2, 3))
        seen |= {*params}
    assert seen == {parameter.name for parameter in EVERY.parameters}


def test_rows_of_foreign_sets():
    row = EVERY.to_row({"head": "rnn", "rows": 9, "lr": 1.0, "size": "large", "kernels": 2})
    assert np.isnan(row).tolist() == [True] * 5 + [False] + [True] * 3
    space = SearchSpace.from_dict({"flag": [True, 0, "1"], "layers": (1, 4), "x": (0.0, 1.0)})
    assert math.isnan(space.to_row({"flag": 1})[0]) and math.isnan(space.to_row({"flag": False})[0])
    assert math.isnan(space.to_row({"layers": True})[1])
    assert space.from_row([-3.0, 7.0, math.nan]) == {"flag": True, "layers": 4, "x": 0.5}


def test_grid_against_brute_force():
    names = [parameter.name for parameter in FINITE.parameters]
    expected = []
    for values in itertools.product(*(p.grid() for p in FINITE.parameters)):
        params = dict(zip(names, values))
        if params["head"] != "cnn":
            del params["kernels"]
        if params.get("kernels") not in (2, 3):
            del params["nested"]
        if params not in expected:
            expected.append(params)
    assert list(FINITE.grid()) == expected
    assert FINITE.size() == len(expected) == 8 * 3 * (3 + 2 + 2 * 3)
    assert SearchSpace().size() == 1 and list(SearchSpace().grid()) == [{}]
    assert SearchSpace.from_dict({f"x{i}": (1, 1000) for i in range(9)}).size() == 10**27
    assert EVERY.size() is None
    with pytest.raises(ConfigError, match="^dropout is continuous, which a grid cannot list"):
        EVERY.grid()


def test_json_and_the_short_form():
    again = SearchSpace.from_dict(json.loads(json.dumps(EVERY.to_dict())))
    assert again == EVERY and again.to_dict() == EVERY.to_dict()
    short = SearchSpace.from_dict({
        "batch_size": [8, 16], "layers": (1, 4), "dropout": (0.1, 0.6), "rate": (0, 0.5),
        "lr": log(1e-6, 5e-3), "width": log(8, 1024)})
    assert short == (SearchSpace().categorical("batch_size", [8, 16]).discrete("layers", 1, 4)
                     .continuous("dropout", 0.1, 0.6).continuous("rate", 0, 0.5)
                     .log_uniform("lr", 1e-6, 5e-3).discrete("width", 8, 1024, log=True))
    assert [p.name for p in short.only("lr", "dropout").parameters] == ["dropout", "lr"]


def test_a_space_never_changes():
    first = SearchSpace().discrete("layers", 1, 4)
    second = first.continuous("x", 0, 1)
    assert len(first.parameters) == 1 and len(second.parameters) == 2
    with pytest.raises(AttributeError):
        first.parameters = ()


@pytest.mark.parametrize("build, message", [
    (lambda s: s.continuous("x", 1, 1), "x: the range is 1 to 1; expected numbers, low < high$"),
    (lambda s: s.continuous("x", 0, math.inf), "x: the range is 0 to inf"),
    (lambda s: s.continuous("x", math.nan, 1), "x: the range is nan to 1"),
    (lambda s: s.continuous("x", "0", 1), "x: the range is '0' to 1"),
    (lambda s: s.log_uniform("x", 0, 1), "x: .*; expected numbers, low < high, low above 0"),
    (lambda s: s.discrete("x", 1, 4.0), "x: the range is 1 to 4.0 by 1; expected whole numbers"),
    (lambda s: s.discrete("x", 1, 10, step=4), "x: the range is 1 to 10 by 4; expected whole"),
    (lambda s: s.discrete("x", 1, 4, step=0), "x: the range is 1 to 4 by 0"),
    (lambda s: s.discrete("x", 4, 1), "x: the range is 4 to 1 by 1"),
    (lambda s: s.discrete("x", 0, 4, log=True), "x: .* low above 0"),
    (lambda s: s.discrete("x", 0, 2**60), "expected whole numbers"),
    (lambda s: s.categorical("x", []), "x: the values are .*; expected a list"),
    (lambda s: s.categorical("x", "abc"), "x: the values are 'abc'; expected a list"),
    (lambda s: s.categorical("x", [math.nan]), "x: the values are .*; expected a list"),
    (lambda s: s.categorical("x", [print]), "x: the values are .*; expected a list"),
    (lambda s: s.ordered("x", [1, 2, 1.0]), "x: the values are .* none of them twice"),
    (lambda s: s.continuous("head", 0, 1), "'head': expected a name that the space does not have"),
    (lambda s: s.continuous(3, 0, 1), "3: expected a name"),
    (lambda s: s.continuous("x", 0, 1, when={"none": 1}), "x: when names 'none'; expected a param"),
    (lambda s: s.continuous("x", 0, 1, when={"lr": 1e-4}), "x: when names 'lr'; expected a param"),
    (lambda s: s.continuous("x", 0, 1, when={"head": "rnn"}), "x: when asks for head to be one"),
    (lambda s: s.continuous("x", 0, 1, when={"head": ["cnn", "rnn"]}), "x: when asks for head"),
    (lambda s: s.continuous("x", 0, 1, when="head"), "x: when is 'head'; expected names with"),
    (lambda s: s.discrete("x", 1, 4, log="no"), "x: the range is 1 to 4 by 1; expected"),
    (lambda s: s.from_dict([1, 2]), "the search space is .1, 2.; expected names with entries"),
    (lambda s: s.from_dict({"x": {"kind": ["discrete"]}}), "x is .*; expected a list, a tuple"),
    (lambda s: s.from_dict({"x": "abc"}), "x is 'abc'; expected a list, a tuple"),
    (lambda s: s.from_dict({"x": {"kind": "normal"}}), "x is .*; expected a list, a tuple"),
    (lambda s: s.from_dict({"x": {"kind": "discrete", "low": 1}}), "discrete takes low, high, st"),
    (lambda s: s.from_dict({"x": {"kind": "ordered", "values": [1], "low": 1}}), "ordered takes"),
    (lambda s: s.only("lr", "l"), "unknown parameter 'l'; expected one of head, dropout, lr"),
    (lambda s: s.only("kernels"), "kernels: when names 'head'"),
])
def test_what_cannot_be_is_refused_in_one_line(build, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(EVERY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change, message", [
    ({"lr": 1.0}, "lr is 1.0; expected one of {'kind': 'log_uniform'"),
    ({"rows": 12}, "rows is 12"),
    ({"rows": True}, "rows is True"),
    ({"layers": 1}, "unknown parameter 'layers'"),
    ({"nested": True}, "nested: expected a value exactly where it is active"),
    ({"head": "cnn"}, "kernels: expected a value exactly where it is active"),
])
def test_check_names_the_value(change, message):
    params = {"head": None, "dropout": 0.1, "lr": 1e-4, "rows": 16, "width": 99, "size": "small"}
    EVERY.check(params)
    with pytest.raises(ConfigError, match=message):
        EVERY.check({**params, **change})


def test_widening():
    old = (SearchSpace().categorical("head", ["a", "b"]).discrete("rows", 8, 64, step=8)
           .continuous("x", 0, 1, when={"head": "a"}))
    new = (SearchSpace().discrete("rows", 0, 128, step=4).categorical("head", ["c", "b", "a"])
           .continuous("x", -1, 1, when={"head": "a"}))
    check_wider(new, old)
    check_wider(old, old)
    assert new.from_row(new.to_row({"head": "b", "rows": 16})) == {"head": "b", "rows": 16}
    for wrong, message in (
            (old.only("head", "rows"), "unknown parameter 'x'"),
            (old.continuous("y", 0, 1), "unknown parameter 'y'"),
            (old.only("head", "x").discrete("rows", 8, 64, step=7), "rows is .*; expected all of"),
            (old.only("head", "x").ordered("rows", [8, 16]),
             "rows: kind was 'discrete' and is now 'ordered'; only ranges"),
            (old.only("head", "rows").continuous("x", 0, 1), "x: when was {'head': .'a',.} and is "
             "now {}; only ranges and choices may grow"),
            (old.only("head", "x").discrete("rows", 8, 64, step=8, log=True),
             "rows: log was False and is now True; only ranges"),
            (old.only("head", "rows").continuous("x", 0, 0.5, when={"head": "a"}), "x is .*")):
        with pytest.raises(ConfigError, match=message):
            check_wider(wrong, old)


def test_a_range_is_wider_if_it_has_every_number_of_the_other():
    """Against the sets of numbers themselves; a range of a billion is compared at once."""
    ranges = [(low, high, step) for low in range(3) for high in range(low + 1, 13)
              for step in range(1, 5) if (high - low) % step == 0]
    spaces = {one: SearchSpace().discrete("n", one[0], one[1], step=one[2]) for one in ranges}
    for old in ranges[::2]:
        for new in ranges:
            holds = {*range(old[0], old[1] + 1, old[2])} <= {*range(new[0], new[1] + 1, new[2])}
            with contextlib.nullcontext() if holds else pytest.raises(ConfigError, match="n is"):
                check_wider(spaces[new], spaces[old])
    large = SearchSpace().discrete("n", 1, 10**9)
    check_wider(large, large)
