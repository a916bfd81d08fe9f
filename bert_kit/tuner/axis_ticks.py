"""What stands on the axes of a report: labels that differ, and no two of them in one place."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_kit.printing import short_name
from bert_kit.tuner.space import Parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Ticks = tuple[Any, list[str]]  # places on an axis, and what stands there

SHORTEST, LONGEST = 12, 30  # letters of a value
MOST = 8  # values of one parameter with a label
GAP = 0.3  # between two labels at least, in the height of their letters


def ticks_of(parameter: Parameter) -> Ticks:
    """Return (places in the unit interval, labels) for an axis of a parameter."""
    from matplotlib.ticker import LogLocator, MaxNLocator
    low, high, size = parameter.low, parameter.high, parameter.size or math.inf
    if parameter.values or size <= MOST:
        numbers = list(range(int(low), int(high) + 1, parameter.step * math.ceil(size / MOST)))
    else:
        numbers = []
        powers = LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5))
        for locator in (*[powers] * parameter.log, MaxNLocator(4)):
            if len(numbers) < 2:  # a narrow range may have no power of ten
                numbers = [each for each in locator.tick_values(low, high) if low <= each <= high
                           or math.isclose(each, low) or math.isclose(each, high)]
    labels = (value_labels([parameter.values[int(n)] for n in numbers]) if parameter.values
              else number_labels(numbers))
    return parameter.units(np.array(numbers)), labels


def number_labels(numbers: Sequence[float], digits: int = 6) -> list[str]:
    """Return numbers as text with so many digits, or as many more as tell them apart.

    Examples
    --------
    >>> number_labels([1e-05, 0.1]), number_labels([0.1, 0.10000002])
    (['1e-05', '0.1'], ['0.1', '0.10000002'])
    """
    for more in range(digits, 18):
        labels = [f"{number:.{more}g}" for number in numbers]
        if len({*labels}) == len({*numbers}):
            break
    return labels


def value_labels(values: Sequence[object]) -> list[str]:
    """Return values as short text, cut in the middle where that still tells them apart.

    Examples
    --------
    >>> value_labels(["cnn", None]), value_labels(["a long name of one", "a long name of two"])
    (['cnn', 'None'], ['a lon…of one', 'a lon…of two'])
    """
    for width in range(SHORTEST, LONGEST + 1):
        labels = [short_name(value, width) for value in values]
        if len({*labels}) == len(labels):
            break
    return labels


def keep_labels_apart(figure: "Figure") -> None:
    """Turn or leave out labels of ticks, until no two of an axis touch.

    Names below an axis are turned upright. Of numbers on fixed places every second label stays,
    or every third and so on; where the places are free, there are fewer of them. Then all stays
    where it is.
    """
    for most in (6, 4, 3, 2, 1):  # what is turned or left out changes the room of the axes
        figure.draw_without_rendering()
        if not sum(_make_room(axes, side, most) for axes in figure.axes for side in (0, 1)):
            figure.set_layout_engine("none")  # finding places takes longer than drawing
            break


def _make_room(axes: "Axes", side: int, most: int) -> bool:
    """Return whether two labels of the x axis (side 0) or y axis (side 1) touched; change that."""
    from matplotlib.ticker import FixedLocator, MaxNLocator
    way, axis = ("y", axes.yaxis) if side else ("x", axes.xaxis)
    labels, locator = axis.get_ticklabels(), axis.get_major_locator()
    if not _touch(labels, side):
        return False
    upright = side == 1 or labels[0].get_rotation() == 90
    if not upright and any(_is_name(label.get_text()) for label in labels):
        axes.tick_params(way, rotation=90)
    elif isinstance(locator, FixedLocator):
        every = next((k for k in range(2, len(labels)) if not _touch(labels[::k], side)),
                     len(labels))
        axis.set_ticks(axis.get_ticklocs(), labels=[
            "" if i % every else label.get_text() for i, label in enumerate(labels)])
    elif isinstance(locator, MaxNLocator):
        axes.locator_params(way, nbins=most)
    return True


def _touch(labels: Sequence["Text"], side: int) -> bool:
    """Return whether any two neighbours touch along x (side 0) or y (side 1)."""
    spans = sorted(_spans(labels, side))
    return any(start < end for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


def _spans(labels: Sequence["Text"], side: int) -> Iterator[tuple[float, float]]:
    """Yield from where to where each label goes, in pixels, with the gap after it."""
    for label in labels:
        # Slanted names lie beside one another where their boxes meet.
        if label.get_text() and label.get_visible() and label.get_rotation() % 90 == 0:
            box = label.get_window_extent()
            low, high = (box.x0, box.x1) if side == 0 else (box.y0, box.y1)
            yield low, high + (GAP * min(box.width, box.height) if side == 0 else 0)


def _is_name(text: str) -> bool:
    try:
        float(text.replace("\N{MINUS SIGN}", "-") or 0)
    except ValueError:
        return True
    return False
