"""The parts that the pictures of docs/ are made of. An SVG is text, so all of these are strings.

A part names its colour by a class; the colours of both schemes, light and dark, stand in the style
of each file. The paper is drawn too: so a picture can be read on a page of any colour.
"""

import re
from html import escape

# On light paper and on dark; after Okabe & Ito 2008, whose colours the colour-blind can tell apart.
COLOURS = {
    "paper": ("#ffffff", "#15191f"), "ink": ("#1b1f24", "#e8ecf2"), "dim": ("#59616c", "#a9b2c0"),
    "pale": ("#e9edf2", "#2a313b"), "edge": ("#8b94a1", "#6d7786"), "on": ("#ffffff", "#0c1014"),
    "blue": ("#0067a3", "#6bbcf5"), "orange": ("#b54a00", "#f4a65c"),
    "green": ("#00735a", "#45cfa3"), "purple": ("#8f3d74", "#e3a4cd"),
    "sky": ("#d6e9f6", "#123c59"), "sand": ("#fbe3d0", "#563313"),
    "mint": ("#d3eee5", "#0d4637"), "rose": ("#f3dfec", "#4c2740")}
SIZE = 14  # of text


def label(x, y, text, anchor="middle", fill="ink", size=SIZE, weight=None):
    """A line of text; y is its base line."""
    bold = f' font-weight="{weight}"' if weight else ""
    small = f' font-size="{size}"' if size != SIZE else ""
    return (f'<text class="{fill}" x="{x:g}" y="{y:g}" text-anchor="{anchor}"{small}{bold}>'
            f"{escape(text)}</text>")


def box(x, y, width, height, fill="pale", edge=None, share=1.0, radius=0):
    """A rectangle; `share` is how much of its colour it has."""
    classes = fill if edge is None else f"{fill} edge-{edge}"
    opacity = "" if share == 1 else f' fill-opacity="{share:.3f}"'
    corner = f' rx="{radius}"' if radius else ""
    return (f'<rect class="{classes}" x="{x:g}" y="{y:g}" width="{width:g}" '
            f'height="{height:g}"{corner}{opacity}/>')


def named(x, y, width, height, text, fill="pale", edge="edge", ink="ink", size=SIZE):
    """A box with a text of one or more lines in its middle."""
    lines, step = text.split("\n"), size + 4
    top = y + height / 2 + 0.36 * size - step * (len(lines) - 1) / 2
    return "".join([box(x, y, width, height, fill, edge, radius=5),
                    *(label(x + width / 2, top + step * number, line, fill=ink, size=size)
                      for number, line in enumerate(lines))])


def line(points, colour="edge", width=1.5, dashed=False):
    """A line through points (x, y)."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (f'<polyline class="line-{colour}" points="{path}" stroke-width="{width:g}"{dashes}/>')


def arrow(points, colour="edge", width=1.5, dashed=False):
    """A line with a head at its last point, which lies straight after the one before."""
    (x0, y0), (x, y) = points[-2:]
    far = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
    a, b = (x - x0) / far, (y - y0) / far  # where it points
    back = (x - 8 * a, y - 8 * b)
    head = [(x, y), (back[0] - 4 * b, back[1] + 4 * a), (back[0] + 4 * b, back[1] - 4 * a)]
    corners = " ".join(f"{p:.1f},{q:.1f}" for p, q in head)
    return (line([*points[:-1], back], colour, width, dashed)
            + f'<polygon class="{colour}" points="{corners}"/>')


def dot(x, y, colour, radius=4.0):
    """A full circle."""
    return f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def ring(x, y, colour, radius=8.5):
    """A circle round a place."""
    return (f'<circle class="edge-{colour}" fill="none" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" '
            'stroke-width="2.5"/>')


def plus(x, y):
    """The sign of an addition, in a circle."""
    return (f'<circle class="paper edge-edge" cx="{x:g}" cy="{y:g}" r="10"/>'
            + label(x, y + 5.5, "+", size=17))


def brace(x, y, width, text, colour="dim"):
    """A bracket that opens down, over a width, and what it means above it."""
    return (line([(x, y + 7), (x, y), (x + width, y), (x + width, y + 7)], colour)
            + label(x + width / 2, y - 7, text, fill=colour))


def cells(x, y, rows, side, height=None, gap=1, most=None):
    """Numbers as cells: blue above 0, orange below, the stronger the larger."""
    most = most or max(abs(value) for row in rows for value in row) or 1.0
    height = height or side
    return "".join(
        box(x + j * side, y + i * height, side - gap, height - gap, "pale")
        + box(x + j * side, y + i * height, side - gap, height - gap,
              "blue" if value >= 0 else "orange", share=min(1.0, abs(value) / most))
        for i, row in enumerate(rows) for j, value in enumerate(row))


class Chart:
    """Two axes with titles, and what is drawn between them.

    `xs` and `ys` are the numbers at the ends of the axes; a tick is a number, or a pair of a
    number and its text. The title of the upright axis stands level, above it.
    """

    def __init__(self, left, top, width, height, xs, ys):
        self.left, self.top, self.width, self.height = left, top, width, height
        self.xs, self.ys = xs, ys

    def at(self, x, y):
        """The place of a pair of numbers."""
        return (self.left + self.width * (x - self.xs[0]) / (self.xs[1] - self.xs[0]),
                self.top + self.height * (self.ys[1] - y) / (self.ys[1] - self.ys[0]))

    def axes(self, x_title, y_title, x_ticks, y_ticks):
        """Both axes, their ticks and titles."""
        bottom = self.top + self.height
        parts = [line([(self.left, self.top), (self.left, bottom),
                       (self.left + self.width, bottom)]),
                 label(self.left + self.width, bottom + 36, x_title, "end", "dim"),
                 label(self.left - 34, self.top - 12, y_title, "start", "dim")]
        for tick in x_ticks:
            value, text = tick if isinstance(tick, tuple) else (tick, f"{tick:g}")
            x = self.at(value, self.ys[0])[0]
            parts += [line([(x, bottom), (x, bottom + 4)]), label(x, bottom + 18, text, size=13)]
        for tick in y_ticks:
            value, text = tick if isinstance(tick, tuple) else (tick, f"{tick:g}")
            y = self.at(self.xs[0], value)[1]
            parts += [line([(self.left - 4, y), (self.left, y)]),
                      label(self.left - 8, y + 4.5, text, "end", size=13)]
        return "".join(parts)

    def curve(self, xs, ys, colour, width=2.0, dashed=False):
        """A line through pairs of numbers."""
        return line([self.at(x, y) for x, y in zip(xs, ys, strict=True)], colour, width, dashed)

    def level(self, y, text, colour="dim"):
        """A dashed line across at a height, and what it means, above its right end."""
        place = self.at(self.xs[1], y)
        return (line([self.at(self.xs[0], y), place], colour, dashed=True)
                + label(place[0], place[1] - 6, text, "end", colour, 13))


def picture(title, width, height, parts):
    """Return the text of an SVG with the styles that it uses."""
    body = "\n".join(parts)
    used = set(" ".join(re.findall(r'class="([^"]+)"', body)).split()) | {"paper"}

    def rules(scheme):
        found = []
        for name, colours in COLOURS.items():
            for kind, what in (("", "fill"), ("edge-", "stroke"), ("line-", "fill:none;stroke")):
                if kind + name in used:
                    found.append(f".{kind}{name}{{{what}:{colours[scheme]}}}")
        return "".join(found)

    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-size="{SIZE}" '
            'font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif">\n'
            f"<title>{escape(title)}</title>\n<style>{rules(0)}\n"
            f"@media (prefers-color-scheme: dark){{{rules(1)}}}</style>\n"
            f'<rect class="paper" width="{width}" height="{height}"/>\n{body}\n</svg>\n')
