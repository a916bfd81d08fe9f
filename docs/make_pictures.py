"""Draw docs/pictures/*.svg from the kit's own functions; an SVG is text, so nothing else is needed.

    PYTHONPATH=. python docs/make_pictures.py
"""

import math
from pathlib import Path

import numpy as np
import torch

from bert_kit.model import GELU, Packing, attend
from bert_kit.training import schedule_factor
from bert_kit.tuner import SearchSpace
from bert_kit.tuner.tpe import Parzen

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"  # Okabe & Ito 2008
PALE = "#eeeeee"


def rectangle(x, y, width, height, fill):
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}"/>'


def words(x, y, text, anchor="middle", fill="#222222"):
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}">{text}</text>'


def shade(share):
    """From white (0) to blue (1)."""
    red, green, blue = (round(255 - share * (255 - full)) for full in (0x00, 0x72, 0xB2))
    return f"#{red:02x}{green:02x}{blue:02x}"


def curves(x, y, width, height, xs, named, top, legend=1.0):
    """Lines over a frame: `named` is {label: (colour, ys)}, ys from 0 to `top`."""
    parts = [f'<path d="M{x} {y}V{y + height}H{x + width}" fill="none" stroke="{GREY}"/>']
    for place, (label, (colour, ys)) in enumerate(named.items()):
        points = " ".join(f"{x + width * (a - xs[0]) / (xs[-1] - xs[0]):.1f},"
                          f"{y + height * (1 - b / top):.1f}" for a, b in zip(xs, ys, strict=True))
        parts += [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
                  words(x + legend * width - 4, y + 14 + 18 * place, label, "end", colour)]
    return parts


def attention():
    """Page 04: the weights of three heads, the last two keys being padding."""
    tokens = ["[CLS]", "the", "cat", "sat", "[SEP]", "[PAD]", "[PAD]"]
    wave = torch.arange(3 * 7 * 5, dtype=torch.float64).reshape(1, 3, 7, 5)
    real = torch.arange(7) < 5
    _, weights = attend(2 * torch.cos(wave), 2 * torch.sin(1.3 * wave), wave, real)
    parts, cell = [], 26
    for head in range(3):
        left = 60 + head * 245
        parts.append(words(left + 3.5 * cell, 20, f"head {head}"))
        for i, row in enumerate(weights[0, head].tolist()):
            parts.append(words(left - 6, 96 + i * cell, tokens[i], "end"))
            parts += [rectangle(left + j * cell, 79 + i * cell, cell - 1, cell - 1,
                                shade(weight) if real[j] else PALE)
                      for j, weight in enumerate(row)]
        parts += [f'<g transform="translate({left + j * cell + 16} 74) rotate(-60)">'
                  + words(0, 0, token, "start") + "</g>" for j, token in enumerate(tokens)]
    return 750, 268, parts


def activation():
    """Page 05: GELU beside ReLU."""
    xs = np.linspace(-4, 3, 141)
    lift = 0.3  # so that what lies below 0 is seen
    smooth = GELU()(torch.tensor(xs)).numpy()
    return 420, 220, [
        *curves(30, 15, 370, 180, xs, {"GELU": (BLUE, smooth + lift),
                                       "ReLU": (ORANGE, np.maximum(xs, 0) + lift)}, 3 + lift,
                legend=0.5),
        f'<path d="M30 {15 + 180 * (1 - lift / (3 + lift)):.1f}h370" stroke="{GREY}" '
        'stroke-dasharray="3"/>',
        words(22, 183, "0", "end"), words(30, 212, "-4"), words(241, 212, "0"),
        words(400, 212, "3")]


def schedule():
    """Page 07: the learning rate over 100 steps with 20 of warm-up."""
    steps = range(101)
    named = {kind: (colour, [schedule_factor(step, kind, 20, 100) for step in steps])
             for kind, colour in (("constant", GREY), ("cosine", ORANGE), ("linear", BLUE))}
    return 420, 220, [*curves(40, 15, 360, 180, steps, named, 1.1),
                      words(34, 36, "1", "end"), words(34, 198, "0", "end"),
                      words(40, 212, "step 0"), words(112, 212, "20"),
                      words(400, 212, "100", "end")]


def densities():
    """Page 10: what TPE knows after ten trials, and where it looks next."""
    space = SearchSpace().continuous("x", 0.0, 1.0).parameters
    good, bad = np.array([0.58, 0.66, 0.71]), np.array([0.05, 0.2, 0.33, 0.45, 0.8, 0.9, 0.97])
    xs = np.linspace(0, 1, 201)
    better, worse = (np.exp(Parzen(space, rows[:, None], np.ones(len(rows))).log_density(
        xs[:, None])) for rows in (good, bad))
    top, best = 1.1 * max(better), float(xs[np.argmax(better / worse)])
    marks = [f'<circle cx="{40 + 460 * x:g}" cy="205" r="4" fill="{colour}"/>'
             for rows, colour in ((good, GREEN), (bad, ORANGE)) for x in rows.tolist()]
    return 520, 240, [
        *curves(40, 15, 460, 180, xs, {"better(x)": (GREEN, better), "worse(x)": (ORANGE, worse)},
                top), *marks,
        f'<path d="M{40 + 460 * best:.1f} 15v180" stroke="{BLUE}" stroke-dasharray="4"/>',
        words(40 + 460 * best, 230, "the largest ratio: try here next", fill=BLUE)]


def packing():
    """Page 15: eight rows as a grid, and the same tokens packed."""
    lengths = torch.tensor([3, 9, 5, 14, 7, 4, 11, 6])
    mask = torch.arange(16) < lengths[:, None]
    index = Packing.of(mask, mask.shape, mask.device).index[:int(mask.sum())]
    colours = [BLUE, ORANGE, GREEN, GREY, "#56B4E9", "#E69F00", "#CC79A7", "#F0E442"]
    parts = [words(20, 16, f"8 rows of 16: 128 places, {int(mask.sum())} tokens", "start")]
    for row, length in enumerate(lengths.tolist()):
        parts += [rectangle(20 + 14 * s, 26 + 14 * row, 12, 12,
                            colours[row] if s < length else PALE) for s in range(16)]
    parts.append(words(290, 16, f"packed, the shortest row first: {int(mask.sum())}", "start"))
    parts += [rectangle(290 + 14 * (n % 16), 26 + 14 * (n // 16), 12, 12, colours[row])
              for n, row in enumerate((index // 16).tolist())]
    return 530, 145, parts


def masking():
    """Page 02: of a hundred tokens fifteen are chosen, and what the model reads there."""
    chosen = [math.floor(100 * (i + 0.5) / 15) for i in range(15)]
    colours = [BLUE] * 3 + [ORANGE] + [BLUE] * 5 + [GREEN] + [BLUE] * 4 + [ORANGE]
    kinds = dict(zip(chosen, colours, strict=True))
    parts = [rectangle(20 + 14 * (n % 25), 20 + 14 * (n // 25), 12, 12, kinds.get(n, PALE))
             for n in range(100)]
    for line, (colour, text) in enumerate((
            (PALE, "85 tokens: read as they are, no answer asked"), (BLUE, "12: [MASK]"),
            (ORANGE, "2: a random piece"), (GREEN, "1: the token itself"))):
        parts += [rectangle(400, 20 + 18 * line, 12, 12, colour),
                  words(420, 31 + 18 * line, text, "start")]
    return 700, 95, parts


PICTURES = {function.__name__: function
            for function in (masking, attention, activation, schedule, densities, packing)}


def svg(draw):
    """Return the text of one picture."""
    width, height, parts = draw()
    title = draw.__doc__.partition(": ")[2]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="13">',
        f"<title>{title}</title>", rectangle(0, 0, width, height, "white"), *parts, "</svg>\n"])


if __name__ == "__main__":
    folder = Path(__file__).with_name("pictures")
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(svg(draw), "utf-8")
