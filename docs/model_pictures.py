"""Pictures of what BERT is made of, from a row of pieces to the heads."""

import math

import torch
from drawing import Chart, arrow, box, brace, cells, dot, label, line, named, plus

from bert_kit import BertConfig, BERTModel, Tokenizer
from bert_kit.data import pad_batch
from bert_kit.model import CLASSIFIERS, GELU
from bert_kit.model.classifiers.kan import FourierBasis
from bert_kit.model.classifiers.wavelets import WAVELETS

PIECES = ["[CLS]", "the", "cat", "##s", "[MASK]", ".", "[SEP]"]


def bert():
    """The whole of BERT: a text, its pieces, embeddings, blocks, hidden states and heads"""
    left, step, side = 164, 78, 68
    xs = [left + step * place for place in range(len(PIECES))]
    middles, end = [x + side / 2 for x in xs], left + step * 6 + side
    parts = [label(10, 35, "text", "start", weight=600),
             named(left, 16, end - left, 30, "“The cats slept.”, with one word hidden"),
             arrow([((left + end) / 2, 46), ((left + end) / 2, 66)])]
    rows = [("pieces", "ids (B, S)", 68, PIECES, "pale"),
            ("word", "embedding", 118, PIECES, "sky"),
            ("position", "embedding", 164, map(str, range(7)), "mint"),
            ("segment", "embedding", 210, "0" * 7, "sand")]
    for name, what, y, texts, fill in rows:
        parts += [label(10, y + 13, name, "start", weight=600),
                  label(10, y + 29, what, "start", "dim", 13)]
        parts += [named(x, y, side, 30, text, fill, size=13)
                  for x, text in zip(xs, texts, strict=True)]
    parts += [line([(x, 98), (x, 118)]) for x in middles]
    parts += [label(x, y, "+", size=16) for x in middles for y in (161, 207)]
    parts += [arrow([(x, 240), (x, 256)]) for x in middles]
    parts += [label(10, 276, "LayerNorm", "start", weight=600),
              named(left, 258, end - left, 26, "(B, S, D): a vector for each token", "paper")]
    parts += [arrow([(x, 284), (x, 312)]) for x in middles]
    # one block
    parts += [box(left - 12, 300, end - left + 24, 184, "paper", "edge", radius=10),
              label(10, 386, "block", "start", weight=600), label(10, 403, "L of them,", "start",
                                                                  "dim", 13),
              label(10, 419, "one on another", "start", "dim", 13)]
    parts += [arrow([(x, 300), (x, 314)]) for x in middles]
    parts += [named(left, 316, end - left, 24, "self-attention: every token takes from every other",
                    "rose")]
    parts += [line([(a, 340), (b, 372)], "purple" if i == 4 else "edge", 2 if i == 4 else 0.6)
              for i, b in enumerate(middles) for a in middles]
    for y, text, fill in ((372, "residual connection: add the input; LayerNorm", "paper"),
                          (410, "feed-forward: each token for itself", "sky"),
                          (448, "residual connection: add the input; LayerNorm", "paper")):
        parts.append(named(left, y, end - left, 24, text, fill))
        parts += [arrow([(x, y + 24), (x, y + 38 if y < 448 else y + 60)]) for x in middles]
    parts += [label(10, 523, "hidden states", "start", weight=600),
              label(10, 539, "(B, S, D)", "start", "dim", 13)]
    parts += [named(x, 510, side, 32, text, "sky", "blue", size=13)
              for x, text in zip(xs, PIECES, strict=True)]
    # heads
    parts += [label(10, 616, "heads", "start", weight=600),
              arrow([(middles[0], 542), (middles[0], 578)]),
              named(130, 580, 168, 64, "pooler: the class of\nthe text, or: does B\nfollow A?",
                    "mint", size=13),
              line([(middles[1], 542), (middles[1], 560), (middles[3], 560), (middles[3], 542)]),
              arrow([(middles[2], 542), (middles[2], 578)]),
              named(306, 580, 164, 64,
                    "of each token: a tag,\nor does the answer\nbegin or end here?", "mint",
                    size=13),
              arrow([(middles[4], 542), (middles[4], 578)]),
              named(478, 580, 168, 64, "masked-token head:\nwhich of the V pieces\nis hidden here?",
                    "mint", size=13)]
    return 724, 660, parts


def pair_row():
    """A row of two texts with padding: tokens, positions, segments and the attention mask"""
    words = ["the", "cat", "sat", "it", "was", "warm"]
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    pair = tokenizer.encode("the cat sat", "it was warm")
    longer = tokenizer.encode("the cat sat it", "it was warm sat")  # its batch mate
    batch = pad_batch([{"input_ids": torch.tensor(row.ids), "labels": 0,
                        "token_type_ids": torch.tensor(row.type_ids)} for row in (pair, longer)])
    tokens = tokenizer.tokens(batch["input_ids"][0].tolist())
    segments, mask = (batch[name][0].int().tolist()
                      for name in ("token_type_ids", "attention_mask"))
    left, step = 148, 54
    fills = ["pale" if not real else "sand" if segment else "sky"
             for real, segment in zip(mask, segments, strict=True)]
    parts = [brace(left, 34, step * 5 - 4, "[CLS] A [SEP]", "blue"),
             brace(left + step * 5, 34, step * 4 - 4, "B [SEP]", "orange"),
             brace(left + step * 9, 34, step * 2 - 4, "padding")]
    for y, name, values in ((48, "token", tokens), (92, "position", range(len(tokens))),
                            (136, "segment", segments), (180, "attention mask", mask)):
        parts.append(label(10, y + 23, name, "start", weight=600))
        parts += [named(left + step * place, y, step - 4, 36, f"{value}", fills[place],
                        ink="ink" if mask[place] else "dim", size=13)
                  for place, value in enumerate(values)]
    parts.append(label(left, 242, "mask 1: may be looked at; 0: filled up so that all rows of a "
                       "batch are S long", "start", "dim", 13))
    return 754, 258, parts


def masking():
    """Of a hundred tokens fifteen are chosen; what the model reads there, and what it must say"""
    chosen = [math.floor(100 * (i + 0.5) / 15) for i in range(15)]
    colours = ["blue"] * 3 + ["orange"] + ["blue"] * 5 + ["green"] + ["blue"] * 4 + ["orange"]
    kinds = dict(zip(chosen, colours, strict=True))
    parts = [box(16 + 17 * (n % 25), 16 + 17 * (n // 25), 15, 15, kinds.get(n, "pale"), radius=2)
             for n in range(100)]
    for number, (colour, text) in enumerate((
            ("pale", "85 are read as they are"), ("blue", "12 are read as [MASK]"),
            ("orange", "2 are read as a random piece"),
            ("green", "1 is read as it is"))):
        parts += [box(462, 15 + 19 * number, 15, 15, colour, radius=2),
                  label(486, 28 + 19 * number, text, "start", size=13)]
    row = [("the", "the", None), ("cat", "[MASK]", "blue"), ("sat", "sat", None),
           ("on", "on", None), ("the", "the", None), ("mat", "tree", "orange"),
           ("and", "and", None), ("slept", "slept", "green")]
    fills = {None: "pale", "blue": "sky", "orange": "sand", "green": "mint"}
    for y, text in ((112, "the text"), (152, "model reads"), (192, "label")):
        parts.append(label(16, y + 20, text, "start", weight=600, size=13))
    for place, (true, read, colour) in enumerate(row):
        x = 120 + 69 * place
        edge = colour or "edge"
        parts += [named(x, 112, 65, 30, true, "paper", "edge", size=13),
                  named(x, 152, 65, 30, read, fills[colour], edge, size=13),
                  named(x, 192, 65, 30, true if colour else "-100", fills[colour], edge,
                        "ink" if colour else "dim", 13)]
    parts.append(label(16, 246, "The loss is taken at the 15 alone: -100 means no label.", "start",
                       "dim", 13))
    return 688, 262, parts


def embeddings():
    """Three tables, a row from each, their sum, and LayerNorm"""
    generator = torch.Generator().manual_seed(2)
    model = BERTModel(BertConfig(
        vocab_size=8, hidden_size=6, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=6, max_position_embeddings=8, hidden_dropout_prob=0.0, fused=False))
    tables = model.embeddings
    for table in (tables.word, tables.position, tables.segment):
        torch.nn.init.normal_(table.weight, generator=generator)
    picked = {"word": 5, "position": 2, "segment": 0}
    rows = {name: getattr(tables, name).weight[place] for name, place in picked.items()}
    total = rows["word"] + rows["position"] + rows["segment"]
    with torch.no_grad():
        out = tables.norm(total)
        ids = torch.tensor([[1, 1, 5]])
        torch.testing.assert_close(
            tables(ids, torch.zeros_like(ids), torch.arange(3))[0, 2], out)
    side, parts = 20, []
    layout = (("word", 34, 8, "word table (V, D)", "row 5: the piece “cat”", "blue"),
              ("position", 224, 6, "position table", "row 2: third place of the row", "green"),
              ("segment", 374, 2, "segment table (2, D)", "row 0: text A", "orange"))
    for name, y, count, title, what, colour in layout:
        table = getattr(tables, name).weight.detach()[:count].tolist()
        place, x = picked[name], 16
        parts += [label(x, y - 10, title, "start", weight=600, size=13),
                  cells(x, y, table, side, 18, most=2.5),
                  f'<rect class="edge-{colour}" fill="none" x="{x - 2}" y="{y + 18 * place - 2}" '
                  f'width="{side * 6 + 3}" height="21" stroke-width="2.5"/>']
        middle = y + 18 * place + 8
        parts += [arrow([(x + side * 6 + 4, middle), (218, middle)], colour),
                  cells(224, middle - 9, [rows[name].tolist()], side, 18, most=2.5),
                  label(224, middle + 28, what, "start", "dim", 13)]
        parts.append(line([(224 + side * 6 + 4, middle), (432, middle), (432, 268)]))
    parts += [plus(432, 268), arrow([(442, 268), (472, 268)]),
              cells(478, 259, [total.tolist()], side, 18, most=2.5),
              label(538, 249, "their sum", size=13),
              arrow([(538, 280), (538, 302)]),
              named(478, 304, 120, 30, "LayerNorm", "sky"), arrow([(538, 334), (538, 354)]),
              cells(478, 356, [out.tolist()], side, 18, most=2.5),
              label(538, 394, "(B, S, D): mean 0,", size=13),
              label(538, 411, "variance 1", size=13),
              box(478, 60, 14, 14, "blue"), label(500, 72, "above 0", "start", "dim", 13),
              box(478, 82, 14, 14, "orange"), label(500, 94, "below 0", "start", "dim", 13)]
    return 640, 428, parts


def attention(runs):
    """Attention of a trained model: where each token of c d [MASK] f g looks, in both heads"""
    run = runs["alphabet"]
    tokens, cell, parts = run["tokens"], 29, []
    for head, rows in enumerate(run["attention"]):
        left, top = 66 + head * 338, 96
        parts.append(label(left, top - 62, f"head {head}", "start", weight=600))
        for i, row in enumerate(rows):
            parts.append(label(left - 8, top + i * cell + 19, tokens[i], "end", size=13))
            for j, percent in enumerate(row):
                x, y = left + j * cell, top + i * cell
                parts += [box(x, y, cell - 1, cell - 1, "pale"),
                          box(x, y, cell - 1, cell - 1, "blue", share=percent / 100),
                          label(x + cell / 2 - 0.5, y + 18.5, str(percent),
                                fill="on" if percent > 55 else "ink", size=12)]
        for j, token in enumerate(tokens):
            parts.append(f'<g transform="translate({left + j * cell + 18} {top - 6}) rotate(-50)">'
                         + label(0, 0, token, "start", size=13) + "</g>")
    parts.append(label(16, 332, "A row is a token that looks; its weights add up to 100 (percent). "
                       "Nobody looks at [PAD].", "start", "dim", 13))
    return 690, 348, parts


def qkv():
    """Multi-head attention in shapes: Q, K and V, split into heads, product, softmax, merged"""
    S, H, W, u = 7, 3, 5, 7
    D = H * W
    parts = []

    def grid(x, y, rows, columns, fill, text="", share=1.0):
        lines = [line([(x + k * u, y), (x + k * u, y + rows * u)], "paper", 0.7)
                 for k in range(1, columns)]
        lines += [line([(x, y + k * u), (x + columns * u, y + k * u)], "paper", 0.7)
                  for k in range(1, rows)]
        below = label(x + columns * u / 2, y + rows * u + 18, text, size=13) if text else ""
        return "".join([box(x, y, columns * u, rows * u, fill, share=share), *lines, below])

    colours = (("Q", "blue"), ("K", "orange"), ("V", "green"))
    parts += [label(16, 26, "1. One product makes queries, keys and values", "start", weight=600),
              grid(16, 42, S, D, "purple", "x (B, S, D)"),
              arrow([(130, 66), (214, 66)]), label(172, 58, "linear", fill="dim", size=13)]
    for i, (name, colour) in enumerate(colours):
        parts += [grid(222 + i * (D * u + 4), 42, S, D, colour),
                  label(222 + i * (D * u + 4) + D * u / 2, 109, name, size=13)]
    parts += [label(556, 72, "(B, S, 3D)", "start", size=13),
              label(16, 150, "2. Each is cut into H heads, W = D / H wide: (B, H, S, W)", "start",
                    weight=600)]
    for i, (name, colour) in enumerate(colours):
        for h in range(H):
            x = 60 + i * 204 + h * 56
            parts += [grid(x, 164, S, W, colour), label(x + W * u / 2, 231, f"{h}", fill="dim",
                                                        size=12)]
        parts.append(label(52 + i * 204, 193, name, "end", weight=600))
    parts += [label(16, 270, "3. In each head: who fits whom, softmax, and the mean of the values",
                    "start", weight=600),
              grid(26, 286, S, W, "blue", "Q (S, W)"), label(80, 316, "×", size=18),
              grid(98, 293, W, S, "orange"), label(122, 353, "Kᵀ (W, S)", size=13),
              label(172, 316, "/ √W"), label(204, 316, "=", size=18),
              grid(222, 286, S, S, "purple", "scores (S, S)"),
              arrow([(282, 310), (364, 310)]), label(322, 300, "softmax", fill="dim", size=13),
              label(322, 330, "after the mask", fill="dim", size=12),
              grid(376, 286, S, S, "purple", "weights (S, S)"), label(450, 316, "×", size=18),
              grid(486, 286, S, W, "green", "V (S, W)"), label(548, 316, "=", size=18),
              grid(580, 286, S, W, "green", "context (S, W)", 0.55),
              label(16, 390, "4. The heads side by side again, and a last product", "start",
                    weight=600)]
    for h in range(H):
        x = 20 + h * 56
        parts += [grid(x, 404, S, W, "green", share=0.55),
                  label(x + W * u / 2, 471, f"{h}", fill="dim", size=12)]
    parts += [arrow([(180, 428), (268, 428)]), label(224, 420, "transpose", fill="dim", size=13),
              grid(276, 404, S, D, "green", "(B, S, D)", 0.55),
              *(line([(276 + W * u * k, 400), (276 + W * u * k, 457)], "ink", 1) for k in (1, 2)),
              arrow([(392, 428), (468, 428)]), label(430, 420, "linear", fill="dim", size=13),
              grid(476, 404, S, D, "purple", "output (B, S, D)")]
    return 660, 484, parts


def block():
    """One block, post-norm: two sub-layers, each with a residual connection round it"""
    x, width, middle = 178, 240, 298
    parts = [label(middle, 24, "hidden states x (B, S, D)")]
    y, notes = 32, []
    for name, fill, inner in (
            ("attention", "rose", ["multi-head self-attention", "dropout"]),
            ("feed-forward", "sky", ["linear: D → 4 D", "GELU", "linear: 4 D → D", "dropout"])):
        parts += [line([(middle, y), (middle, y + 18)]), dot(middle, y + 16, "ink", 3)]
        fork, top = y + 16, y + 38
        parts.append(arrow([(middle, y + 16), (middle, top)]))
        for number, text in enumerate(inner):
            parts.append(named(x, top + 36 * number, width, 28, text, fill))
            if number:
                parts.append(line([(middle, top + 36 * number - 8), (middle, top + 36 * number)]))
        bottom = top + 36 * len(inner) - 8
        parts += [arrow([(middle, bottom), (middle, bottom + 18)]), plus(middle, bottom + 28),
                  arrow([(middle, fork), (110, fork), (110, bottom + 28),
                         (middle - 10, bottom + 28)], "blue", 2.5),
                  arrow([(middle, bottom + 38), (middle, bottom + 52)]),
                  named(x, bottom + 54, width, 28, "LayerNorm", "paper")]
        notes += [(top + 18, "every token takes from all" if name == "attention" else
                   "every token for itself"), (bottom + 33, "x + what the sub-layer adds")]
        parts.append(label(100, (fork + bottom + 28) / 2 + 5, "residual", "end", "blue", 13))
        parts.append(label(100, (fork + bottom + 28) / 2 + 22, "connection", "end", "blue", 13))
        y = bottom + 82
    parts += [arrow([(middle, y), (middle, y + 22)]),
              label(middle, y + 40, "hidden states for the next block (B, S, D)")]
    parts += [label(434, at, text, "start", "dim", 13) for at, text in notes]
    return 640, round(y + 56), parts


def heads():
    """What the heads take from the hidden states, and the shapes of their logits"""
    parts = [label(16, 24, "hidden states (B, S, D), one for each token:", "start", weight=600)]
    parts += [named(16 + 96 * place, 36, 90, 30, text, "sky", "blue", size=13)
              for place, text in enumerate(PIECES)]
    table = (
        ("masked tokens", {4}, "dense, GELU, LayerNorm",
         "product with the word\nembeddings, + bias", "(M, V)", "which piece is hidden?"),
        ("next sentence", {0}, "pooler: linear, tanh", "linear", "(B, 2)", "does B follow A?"),
        ("classification", {0}, "pooler: linear, tanh", "dropout, linear", "(B, C)",
         "to which class does the text belong?"),
        ("tagging", set(range(7)), "dropout", "linear, the same for all", "(B, S, C)",
         "which tag has each token?"),
        ("answering", set(range(7)), "linear, the same for all",
         "at padding the lowest\nnumber there is", "(B, S, 2)",
         "where does the answer start, where does it end? each a softmax over S"))
    for number, (name, used, first, second, shape, question) in enumerate(table):
        y = 104 + 74 * number
        parts.append(label(16, y + 10, name, "start", weight=600))
        parts += [box(16 + 15 * place, y + 20, 13, 13, "blue" if place in used else "pale",
                      radius=2) for place in range(7)]
        parts += [arrow([(130, y + 20), (152, y + 20)]),
                  named(154, y, 178, 40, first, "mint", size=13),
                  arrow([(332, y + 20), (352, y + 20)]),
                  named(354, y, 182, 40, second, "mint", size=13),
                  arrow([(536, y + 20), (556, y + 20)]),
                  named(558, y + 4, 92, 32, shape, "paper", "blue", size=13),
                  label(154, y + 56, question, "start", "dim", 13)]
    return 700, 104 + 74 * 5 + 4, parts


def activation():
    """GELU falls a little below 0 and then follows ReLU"""
    xs = [k / 20 for k in range(-80, 61)]
    smooth = GELU()(torch.tensor(xs)).tolist()
    chart = Chart(60, 40, 400, 210, (-4, 3), (-0.5, 3))
    return 500, 300, [
        chart.axes("x", "activation", (-4, -3, -2, -1, 0, 1, 2, 3), (0, 1, 2, 3)),
        line([chart.at(-4, 0), chart.at(3, 0)], dashed=True, width=1),
        chart.curve(xs, [max(x, 0) for x in xs], "orange"), chart.curve(xs, smooth, "blue"),
        label(*chart.at(1.35, 2.1), "ReLU", "end", "orange"),
        label(*chart.at(2.0, 1.3), "GELU", "start", "blue"),
        label(*chart.at(-0.85, -0.42), "-0.17 at -0.75", fill="blue", size=13)]


def heads_zoo():
    """The seven classification heads of the kit, side by side"""
    mlp = ("MLP", "pale")
    rows = {"standard": ("[CLS]", [("pooler: linear, tanh", "sky"), ("dropout, linear", "pale")]),
            "mlp": ("[CLS], mean\nor max", [("linear, ReLU, dropout:\nany number of them", "sky"),
                                          ("linear", "pale")]),
            "cnn": ("all tokens", [("filters on 3, 4\nand 5 tokens", "sky"),
                                   ("the maximum\nof each filter", "mint"), mlp]),
            "bilstm": ("all tokens", [("LSTM → first to last\nLSTM ← last to first", "sky"),
                                      ("the last state\nof each", "mint"), mlp]),
            "attention": ("all tokens", [("a weight for each:\nsoftmax vᵀ tanh(W x)", "sky"),
                                         ("weighted mean", "mint"), mlp])}
    kan = ("[CLS]", [("LayerNorm,\nlinear, GELU", "sky"), ("2 KAN layers\n+ residual", "rose"),
                     ("LayerNorm,\nMLP", "pale")])
    rows |= {"fourier_kan": kan, "wavelet_kan": kan}
    assert rows.keys() == CLASSIFIERS.keys()
    parts = [label(16, 26, "head", "start", "dim", 13), label(116, 26, "reads", "start", "dim", 13),
             label(658, 26, "logits", "start", "dim", 13)]
    for number, (name, (reads, steps)) in enumerate(rows.items()):
        y = 40 + 66 * number
        widths = {2: (246, 174), 3: (164, 132, 118)}[len(steps)]
        parts += [label(16, y + 30, name, "start", weight=600, size=13),
                  named(112, y, 92, 50, reads, "paper", "blue", size=13)]
        x = 204
        for (text, fill), width in zip(steps, widths, strict=True):
            parts += [arrow([(x, y + 25), (x + 14, y + 25)]),
                      named(x + 16, y, width - 10, 50, text, fill, size=13)]
            x += width + 6
        parts += [arrow([(x, y + 25), (652, y + 25)]),
                  named(654, y + 8, 50, 34, "C", "paper", "blue")]
    waves = FourierBasis(3)
    spread = [k / 50 for k in range(-150, 151)]
    y = 40 + 66 * 7 + 30
    parts.append(label(16, y, "A KAN layer adds up functions of single numbers, with coefficients "
                       "that are learned:", "start", size=13))
    values = waves(torch.tensor(spread)).tolist()
    families = [("waves: cos kx, sin kx", [[row[k] for row in values] for k in (1, 2, 3)]),
                *((f"wavelet: {name}", [f(torch.tensor(spread)).tolist()])
                  for name, f in WAVELETS.items())]
    for number, (name, curves) in enumerate(families):
        chart = Chart(16 + 172 * number, y + 16, 150, 62, (-3, 3), (-1.1, 1.1))
        parts += [line([chart.at(-3, 0), chart.at(3, 0)], width=0.8)]
        parts += [chart.curve(spread, ys, colour, 1.6)
                  for ys, colour in zip(curves, ("blue", "orange", "green"), strict=False)]
        parts.append(label(16 + 172 * number, y + 98, name, "start", "dim", 13))
    return 720, y + 112, parts


def masks():
    """Which keys each query sees: in BERT, in GPT, and in the decoder of T5"""
    words, padded = ["the", "river", "rose", "[PAD]"], 3
    side, top, parts = 30, 96, []

    def grid(left, title, subtitle, keys, queries, seen, fill):
        parts.extend([label(left + side * len(keys) / 2, 24, title, weight=600),
                      label(left + side * len(keys) / 2, 44, subtitle, fill="dim", size=13)])
        for j, key in enumerate(keys):
            x = left + side * j + side / 2 + 4
            parts.append(f'<g transform="rotate(-50 {x:g} {top - 6})">'
                         + label(x, top - 6, key, "start", size=13) + "</g>")
        for i, query in enumerate(queries):
            parts.append(label(left - 8, top + side * i + 20, query, "end", size=13))
            parts.extend(box(left + side * j, top + side * i, side - 3, side - 3,
                             fill(j) if seen(i, j) else "pale", radius=3)
                         for j in range(len(keys)))

    grid(82, "BERT", "every real token", words, words, lambda i, j: j < padded,
         lambda j: "blue")
    grid(280, "GPT", "itself and those before", words, words,
         lambda i, j: j <= i and j < padded, lambda j: "blue")
    target = ["der", "Fluss", "stieg"]
    grid(476, "T5, decoder", "encoder's text, then its own", [*words, *target], target,
         lambda i, j: j < padded or padded < j <= i + 4,
         lambda j: "green" if j < 4 else "blue")
    bottom = top + side * 4
    parts += [label(82, bottom + 24, "row: a query, column: a key;", "start", "dim", 13),
              box(272, bottom + 11, 15, 15, "blue", radius=3),
              label(294, bottom + 24, "seen, in the same text", "start", size=13),
              box(448, bottom + 11, 15, 15, "green", radius=3),
              label(470, bottom + 24, "seen, in the other text", "start", size=13),
              box(628, bottom + 11, 15, 15, "pale", radius=3),
              label(650, bottom + 24, "not seen", "start", size=13)]
    return 724, bottom + 42, parts


def debugging():
    """The order of the checks, and where to look when one of them fails"""
    checks = [
        ("Is the first loss near ln C?", "far above: the logits are too large\n"
         "far below: the answer leaks into the input"),
        ("Can it learn one batch by heart?", "no: a bug in the model, the loss\nor the step; "
         "more data will not help"),
        ("Does each part equal a reference?", "no: go on with the parts of that part,\n"
         "in float64, with odd sizes"),
        ("Same answer alone and beside others?", "no: padding or dropout is at work;\n"
         "the gradient at the input shows which")]
    parts = [label(180, 26, "ask, in this order", weight=600),
             label(530, 26, "if not", weight=600)]
    for number, (question, where) in enumerate(checks):
        y = 42 + 74 * number
        parts += [named(20, y, 320, 48, f"{number + 1}. {question}", "sky"),
                  arrow([(340, y + 24), (380, y + 24)]),
                  named(382, y, 318, 48, where, "sand", size=13),
                  arrow([(180, y + 48), (180, y + 74)])]
        parts.append(label(192, y + 66, "yes", "start", "dim", 13))
    parts.append(named(20, 42 + 74 * 4, 320, 36, "train on all rows", "mint"))
    return 720, 42 + 74 * 4 + 52, parts


PICTURES = {"bert": bert, "pair-row": pair_row, "masking": masking, "embeddings": embeddings,
            "attention": attention, "qkv": qkv, "block": block, "heads": heads,
            "activation": activation, "heads-zoo": heads_zoo, "masks": masks,
            "debugging": debugging}
