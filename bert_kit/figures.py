"""Where a picture is drawn: a matplotlib figure that belongs to nobody else, saved in one piece.

matplotlib is an extra and imported only here, when a picture is asked for. Figures are made
without pyplot, whose list of open windows is shared by the whole process.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_kit.errors import BertKitError, ConfigError
from bert_kit.files import atomic_file
from bert_kit.printing import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any kind of colour vision. The brown and the grey are our own.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#767676"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000", "#8C564B", GREY)
INK, PALE, RULE = "#333333", "#DDDDDD", "#E5E5E5"  # thin lines and words; no data; a grid

# The date is left out, so that the same numbers give the same file.
_METADATA = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_DOTS_PER_INCH = 150

# Fonts for names in other scripts, used where installed; DejaVu Sans comes with matplotlib.
_FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR",
          "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
          "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI")


class PlotsMissing(BertKitError):
    """A picture was asked for, and matplotlib is not installed or does not start."""


def require_plots() -> None:
    """Raise PlotsMissing unless pictures can be drawn; call it before long work, not after."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise PlotsMissing("pictures need matplotlib, which is not installed; to have them: "
                           "pip install 'bert_kit[plots]'") from None
    except Exception as error:  # a bad MPLBACKEND, or another setting of its own
        raise PlotsMissing("pictures need matplotlib, which does not start here: "
                           f"{str(error):.200}; mend its settings (MPLBACKEND, matplotlibrc), or "
                           "leave the pictures out (--plots false)") from None


@contextlib.contextmanager
def saved_figure(path: str | Path, width: float, height: float) -> Iterator["Figure"]:
    """Yield an empty figure; it is saved as `path`, atomically, when the block ends well.

    Parameters
    ----------
    path
        Ending in .png, .svg or .pdf.
    width, height
        Size in inches.

    Raises
    ------
    ConfigError
        If the name has another ending.
    PlotsMissing
        If matplotlib is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _METADATA:
        raise ConfigError(f"{path}: a picture ending in {suffix or 'nothing'!r}; expected one of "
                          f"{', '.join(_METADATA)}")
    require_plots()
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with atomic_file(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "bert_kit"}):
        figure.savefig(temporary, format=suffix[1:], dpi=_DOTS_PER_INCH, bbox_inches="tight",
                       metadata=_METADATA[suffix])


def plain_axes(axes: "Axes", title: str, x_label: str = "", y_label: str = "") -> None:
    """Give axes a title, units, and no frame on the sides that carry no scale."""
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)


def ruled_axes(axes: "Axes") -> None:
    """Draw a line at each height that has a number, and set whole numbers below the axes."""
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", integer=True)


def draw_legend(figure: "Figure", axes: "Axes", loc: Any = "best", ncols: int = 1) -> None:
    """Say what the lines of axes are: inside if there is room, below if they are many or long."""
    handles, names = axes.get_legend_handles_labels()
    longest = max(map(len, names), default=0)
    if len(names) <= 6 and longest <= 24:
        axes.legend(frameon=False, loc=loc, ncols=ncols)
        return
    room = figure.get_figwidth() / (0.6 + 0.095 * longest)  # inches of a sign and its words
    figure.legend(handles, names, frameon=False, loc="outside lower center",
                  ncols=max(1, min(3, int(room))))


def printable_names(names: Sequence[object], kind: str = "class"
                    ) -> tuple[list[str], dict[str, Any]]:
    """Return names as labels, and the text properties that draw them as they stand.

    A name becomes one short line. One with a character that no font here has becomes its kind and
    number, "class 7": a row of empty boxes tells nothing. Names that are alike once they are cut
    get their numbers too.
    """
    from matplotlib.font_manager import fontManager, get_font

    fonts = [name for name in _FONTS if name in fontManager.get_font_names()]
    known: set[int] = set()
    for name in fonts:
        known.update(get_font(fontManager.findfont(name)).get_charmap())
    labels = [short_name(name) for name in names]
    labels = [label if label and known.issuperset(map(ord, label)) else f"{kind} {number}"
              for number, label in enumerate(labels)]
    labels = [f"{short_name(label, 24)} ({number})" if labels.count(label) > 1 else label
              for number, label in enumerate(labels)]
    return labels, {"parse_math": False, "fontfamily": fonts}  # a $ in a name is a dollar
