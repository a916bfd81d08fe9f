"""Rows that are in memory already: columns of a dict, of a DataFrame, of a Dataset.

They are read as the same rows would be from a CSV file: a missing value is an empty cell, a number
is what its text would be. No package of tables is imported; what has named columns will do.
"""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any

from bert_kit.cells import FORBIDDEN
from bert_kit.data.alike import like
from bert_kit.data.read.bad_rows import WRONG_KEYS, Refuser
from bert_kit.data.read.json_rows import Rows, listed
from bert_kit.data.read.text_lines import check_text
from bert_kit.errors import DataError

# What the parts of data are called; of files these are the names without their suffixes.
PART_NAMES = {"train": ("train",), "validation": ("dev", "val", "valid", "validation"),
              "test": ("test",)}
_MISSING = {"nan", "NaN", "NaT", "<NA>"}  # as texts of floats, decimals, dates and pandas' own
_EXPECTED = ("expected columns by name, as in {'text': […], 'category': […]}, a DataFrame or a "
             "Dataset; or such tables by part, train, validation and test")

InMemory = Any  # RowsInMemory, or a dict of them by part; see `rows_in_memory`


class RowsInMemory:
    """A table in memory. Its columns are read when they are asked for, and are not changed.

    Parameters
    ----------
    name
        What messages call it: data, or data['train'].
    table
        A mapping of columns; a list of rows, each a mapping; or an object with `column_names`
        (datasets, Arrow) or `columns` (pandas, polars) that gives `table[name]`.

    Attributes
    ----------
    names
        Of the columns.

    Raises
    ------
    DataError
        If it is none of these, or two columns have one name.
    """

    def __init__(self, name: str, table: Any) -> None:
        if _is_list_of_rows(table):
            keys = dict.fromkeys(key for row in table for key in row)
            table = {key: [row.get(key) for row in table] for key in keys}
        keys = _keys(table)
        if keys is None or not hasattr(table, "__getitem__"):
            raise DataError(f"{name} is a {type(table).__name__}; {_EXPECTED}")
        self.name, self._table = name, table
        self._keys: dict[str, Any] = {}
        for key in keys:
            text = str(key).strip()
            if text in self._keys:
                raise DataError(f"{name}: {text!r} is the name of two columns; expected different "
                                "names")
            self._keys[text] = key

    def __str__(self) -> str:
        return self.name

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [*self._keys]

    def check(self, wanted: Iterable[str]) -> None:
        """Refuse the table if it lacks a column."""
        for name in wanted:
            if name not in self._keys:
                raise DataError(f"{self.name}: no column {name!r}{like(name, self._keys)}; found "
                                f"{listed(self._keys)}")

    def column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        try:
            values = self._table[self._keys[name]]
        except TypeError:  # a lazy frame
            raise DataError(f"{self.name} is a {type(self._table).__name__}, which gives no "
                            f"columns; {_EXPECTED}") from None
        if isinstance(values, str):
            raise DataError(f"{self.name}: {name!r} is one text; expected a list, a value a row")
        for method in ("to_pylist", "tolist", "to_list"):  # Arrow; numpy and pandas; polars
            if hasattr(values, method):
                values = getattr(values, method)()
                break
        try:
            return list(values)
        except TypeError:
            raise DataError(f"{self.name}: {name!r} is {values!r:.40}; expected a list, a value a "
                            "row") from None

    def values(self, wanted: Sequence[str]) -> Iterable[tuple[Any, ...]]:
        """Return the values of each row in some columns."""
        self.check(wanted)
        columns = [self.column(name) for name in wanted]
        for name, values in zip(wanted, columns, strict=True):
            if len(values) != len(columns[0]):
                raise DataError(f"{self.name}: {wanted[0]!r} has {len(columns[0]):,} rows and "
                                f"{name!r} {len(values):,}; expected as many in each column")
        return zip(*columns, strict=True)

    def rows(self, wanted: Sequence[str], texts: int, refuse: Refuser) -> Rows:
        """Yield the number of each row and its cells in some columns; the first `texts` are text.
        """
        for number, values in enumerate(self.values(wanted)):
            cells = [value if type(value) is str else as_cell(value) for value in values]
            wrong = [place for place, cell in enumerate(cells[:texts])
                     if not isinstance(cell, str) or FORBIDDEN.search(cell)]
            try:
                for place in wrong:  # a call for each cell would take as long as all the rest
                    check_text(f"row {number} of {self.name}", wanted[place], cells[place])
            except DataError as error:
                refuse(number, WRONG_KEYS, error, cells)
            else:
                yield number, cells

    def objects(self, needed: Iterable[str]) -> list[dict[str, Any]]:
        """Return each row as a file of JSON has it: a missing value is a key that is not there.

        Some columns are `needed`.
        """
        self.check(needed)
        names = self.names
        rows = [zip(names, map(_plain, values), strict=True) for values in self.values(names)]
        return [{name: value for name, value in row if value is not None} for row in rows]


def rows_in_memory(data: Any) -> InMemory:
    """Return data as RowsInMemory, or where it is a mapping of parts as a dict of them.

    Raises
    ------
    DataError
        If it is no table, or has parts of other names, or none to train on.
    """
    if isinstance(data, RowsInMemory):
        return data
    if not isinstance(data, Mapping) or not data or not all(map(_is_table, data.values())):
        return RowsInMemory("data", data)
    parts: dict[str, RowsInMemory] = {}
    for key, table in data.items():
        part = next((part for part, names in PART_NAMES.items() if key in names), None)
        if part is None or part in parts:
            raise DataError(f"data has the part {key!r}; expected train, and where there are such "
                            "rows one of validation and one of test")
        parts[part] = (table if isinstance(table, RowsInMemory)
                       else RowsInMemory(f"data[{key!r}]", table))
    if "train" not in parts:
        raise DataError(f"data has {listed(parts)} and no part 'train'; expected one")
    return {part: parts[part] for part in PART_NAMES if part in parts}  # in one order


def as_cell(value: Any) -> Any:
    """Return a value as the cell of a CSV file would have it; a list stays a list.

    Examples
    --------
    >>> as_cell(3), as_cell(float("nan")), as_cell(True), as_cell(("a", "b"))
    ('3', '', 'True', ['a', 'b'])
    """
    if isinstance(value, str):
        return str(value)  # numpy has strings of its own
    if type(value) in (int, bool):  # most of what is no text
        return str(value)
    value = _plain(value)
    if value is None:
        return ""
    return str(value) if isinstance(value, Number) else value


def _plain(value: Any) -> Any:
    """Return a value without the types of others around or in it; None where it is missing."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):  # numpy's and torch's own
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if value is None or str(value) in _MISSING else value


def _keys(table: Any) -> list[Any] | None:
    """Return the names of a table's columns; None if it is no table."""
    if isinstance(table, Mapping):
        return [*table]
    for name in ("column_names", "columns"):
        found = getattr(table, name, None)
        if isinstance(found, Iterable):
            return [*found]
    return None


def _is_list_of_rows(table: Any) -> bool:
    return isinstance(table, list | tuple) and bool(table) and all(
        isinstance(row, Mapping) for row in table)


def _is_table(value: Any) -> bool:
    return (isinstance(value, RowsInMemory) or _is_list_of_rows(value)
            or _keys(value) is not None)
