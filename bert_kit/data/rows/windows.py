"""Long texts in windows that overlap, and which window answers for which piece."""

from collections.abc import Sequence
from itertools import pairwise

from bert_kit.checks import whole
from bert_kit.errors import DataError


def windows(count: int, room: int, stride: int | None = None) -> list[tuple[int, int]]:
    """Return the (start, end) of windows that cover a text, each as long as it may be.

    The last window is pushed back to end with the text, so that it is full too.

    Parameters
    ----------
    count
        Pieces of the text.
    room
        Pieces of a window.
    stride
        How many pieces further each window starts; default half a window. A stride of a whole
        window or more leaves no overlap.

    Raises
    ------
    DataError
        If the stride is not a whole number from 1.

    Examples
    --------
    >>> windows(9, room=4, stride=2), windows(3, room=4)
    ([(0, 4), (2, 6), (4, 8), (5, 9)], [(0, 3)])
    """
    stride = max(1, room // 2) if stride is None else whole("stride", stride, 1, error=DataError)
    last = max(count - room, 0)
    return [(start, min(start + room, count))
            for start in (*range(0, last, min(stride, room)), last)]


def shares(cuts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the (first, end) pieces that each window answers for: every piece is in one.

    It is the window in which the piece is farthest from the nearer edge, so that it is read with
    as much of the text on both sides as there is ("maximum context" in Google's run_squad.py).

    Examples
    --------
    >>> shares([(0, 4), (2, 6), (4, 8)])
    [(0, 3), (3, 5), (5, 8)]
    """
    middles = [(start + end + 1) // 2 for (_, end), (start, _) in pairwise(cuts)]
    return list(pairwise([cuts[0][0], *middles, cuts[-1][1]]))
