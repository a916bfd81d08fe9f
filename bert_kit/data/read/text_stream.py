"""The texts of a file one after the other, so that the file may be larger than memory."""

import itertools

from bert_kit.data.read.text_lines import find_data, text_lines
from bert_kit.data.read.tables import column_texts
from bert_kit.errors import DataError


def stream_texts(path, text_column="text", delimiter=None, encoding="utf-8-sig"):
    """Return an iterator over the texts of a file.

    Parameters
    ----------
    path : path
        Ending in .txt: a text a line, blank lines left out. Otherwise a table; see `read_table`,
        also for the other parameters.

    Raises
    ------
    DataError, ConfigError
        As `read_table`; a bad row when it is reached.
    """
    path = find_data(path)
    if path.suffix.lower() == ".txt":
        texts = (line.rstrip("\r\n") for line in text_lines(path, encoding) if line.strip())
    else:
        texts = column_texts(path, text_column, delimiter, encoding)
    first = next(texts, None)
    if first is None:
        raise DataError(f"{path}: holds no text; expected at least one")
    return itertools.chain([first], texts)
