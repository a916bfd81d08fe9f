"""The rungs of the ladder, and the files it writes for a learner: stubs made of the solutions.

A solution is an ordinary function of `solution.py` or `exercise_solutions.py`. Its stub is the
same function with nothing but the signature and the docstring.
"""

import ast
from pathlib import Path
from typing import NamedTuple

from bert_kit.errors import DataError

BERT, EXERCISES = "bert.py", "exercises.py"  # in the learner's folder
SOURCES = {BERT: "solution.py", EXERCISES: "exercise_solutions.py"}
PAGES = ("00-map", "01-tokens-and-pairs", "02-masking", "03-embeddings", "04-attention",
         "05-block", "06-heads-and-losses", "07-training-loop", "08-see-it-learn",
         "09-fine-tuning", "10-tpe", "11-hyperband", "12-pbt", "13-active-learning",
         "14-checkpoint", "15-speed", "16-pitfalls", "17-other-models")
HEADS = {
    BERT: ('"""My BERT, rung by rung.\n\n'
           "Replace each `raise NotImplementedError`, then: python -m bert_kit learn check N\n"
           "Help, one step at a time: python -m bert_kit learn hint N. To stop at a line and look\n"
           'around, write breakpoint() there.\n"""\n'),
    EXERCISES: ('"""My answers to the exercises that ask for a function.\n\n'
                'Check one with: python -m bert_kit learn check PAGE.EXERCISE\n"""\n')}


class Rung(NamedTuple):
    """A step of the ladder: a function to write, the page that explains it, hints before the end.
    """

    name: str
    page: str
    hints: tuple[str, ...]


RUNGS = (
    Rung("pieces", "tokens-and-pairs", (
        "Words first: re.findall(r\"[^\\W_]+|[^\\w\\s]|_\", text.lower()).",
        "In a word keep `start`. Let `end` run down from the word's end to start + 1; the first "
        "piece that is in the vocabulary is the longest. If none is, give up the whole word.")),
    Rung("pair_row", "tokens-and-pairs", (
        "Count before you build: a row has room for max_length - 3 pieces of a pair, or "
        "max_length - 2 of one text.",
        "Shorten two numbers, the lengths a and b, in a loop; cut the lists with [:a] and [:b] "
        "afterwards. Only then add the special tokens, so that none is ever cut off.")),
    Rung("mask_tokens", "masking", (
        "Begin with inputs = list(ids) and labels = [-100] * len(ids), so that your input stays "
        "as it is.",
        "Two draws a token: one decides whether it is chosen, the second one what the model "
        "reads there: below 0.8, from 0.8 to 0.9, above.")),
    Rung("layer_norm", "block", (
        "Mean and variance are over the last axis only: x.mean(-1, keepdim=True).",
        "The variance is the mean of the squared differences from the mean.\n"
        "x.var() would divide by D - 1. eps goes inside the root.")),
    Rung("embed", "embeddings", (
        "table[ids] looks up a row for each id: (V, D)[(B, S)] is (B, S, D).",
        "The positions of all rows are 0 … S - 1: the first S rows of their table.\n"
        "Then layer_norm(sum, w, \"embeddings.LayerNorm\").")),
    Rung("attend", "attention", (
        "All products of queries and keys at once: query @ key.transpose(-2, -1), (…, S, S).",
        "Divide by math.sqrt(query.shape[-1]), fill with scores.masked_fill(~mask, lowest), and "
        "take softmax over the last axis: the keys.")),
    Rung("self_attention", "attention", (
        "(B, S, D) -> (B, S, H, W) is x.unflatten(-1, (heads, -1)); then .transpose(1, 2).",
        "attend(query, key, value, mask[:, None, None, :]), then back: .transpose(1, 2) before "
        ".flatten(2), and the linear layer at the end.")),
    Rung("block", "block", (
        "Two lines of the formula, twice the same pattern: x = layer_norm(x + something(x)).",
        "Post-norm: what is normalised is the sum. The second x is the normalised one.")),
    Rung("mlm_logits", "heads-and-losses", (
        "linear, F.gelu, layer_norm, in this order.",
        "The last product is x @ E.T + c, E being w[\"embeddings.word_embeddings.weight\"].")),
    Rung("mlm_loss", "heads-and-losses", (
        "chosen = labels != -100 is a mask; logits[chosen] is (M, V), labels[chosen] is (M,).",
        "log_softmax(-1), then take the label's number of each row with .gather(-1, "
        "labels[:, None]). Divide by max(1, M).")),
    Rung("adamw_step", "training-loop", (
        "A loop over the names. First the two means, then their corrected values:\n"
        "m / (1 - 0.9 ** t) and v / (1 - 0.999 ** t).",
        "Decay is a step of its own, before the other:\n"
        "w[name] -= lr * decay * w[name], for w[name].ndim >= 2.")),
    Rung("train", "training-loop", (
        "loss.backward() puts gradients into p.grad and adds to what is there, so set p.grad = "
        "None after each step.",
        "The norm is one number for all: the root of the sum of (g * g).sum() over all tensors. "
        "Hand adamw_step the step counted from 1.")),
    Rung("read_tensors", "checkpoint", (
        "int.from_bytes(file.read(8), \"little\"), then json.loads(file.read(n)), then the rest.",
        "torch.frombuffer(bytearray(data[a:b]), dtype=…).reshape(shape); a and b count from the "
        "end of the header.")),
    Rung("bert", "map", (
        "How many layers are there? The number after \"encoder.layer.\" in the names says so.",
        "embed, then x = block(x, mask, w, layer, heads) for each layer in order.")))


def page_file(name: str) -> str:
    """Return where the page of a name stands, "docs/04-attention.md" for "attention"."""
    return f"docs/{next(page for page in PAGES if page.partition('-')[2] == name)}.md"


def body_of(file: str, name: str) -> str:
    """Return the solved function without its docstring: the last hint."""
    text = Path(__file__).with_name(SOURCES[file]).read_text("utf-8")
    node, lines = _function(ast.parse(text), name), text.splitlines()
    start = node.body[1].lineno - 1
    while lines[start - 1].lstrip().startswith("#"):
        start -= 1
    signature = lines[_first_line(node) - 1:node.body[0].lineno - 1]
    return "\n".join([*signature, *lines[start:node.end_lineno]])


def stubs(file: str) -> str:
    """Return one of the two files that `learn` writes: imports, what is given, and stubs."""
    text = Path(__file__).with_name(SOURCES[file]).read_text("utf-8")
    tree, parts = ast.parse(text), [HEADS[file]]
    numbers = {rung.name: number for number, rung in enumerate(RUNGS, 1)}
    pages = {rung.name: page_file(rung.page) for rung in RUNGS}
    imports = [_text_of(node, text) for node in tree.body
               if isinstance(node, ast.Import | ast.ImportFrom)]
    parts.append("\n".join(imports) + "\n")
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            parts.append(_text_of(node, text) + "\n")
        elif isinstance(node, ast.FunctionDef) and file == BERT and node.name not in numbers:
            parts.append("\n" + _text_of(node, text) + "\n")  # given
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            end = node.body[0].end_lineno
            kept = text.splitlines()[_first_line(node) - 1:end]
            title = f"# rung {numbers[node.name]}: {pages[node.name]}" if file == BERT else ""
            parts.append("\n".join([*["", title][:1 + bool(title)], *kept,
                                    "    raise NotImplementedError", ""]))
    return "\n".join(parts)


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise DataError(f"there is no function {name!r} to be written")


def _text_of(node: ast.stmt, text: str) -> str:
    first = _first_line(node) if isinstance(node, ast.FunctionDef) else node.lineno
    return "\n".join(text.splitlines()[first - 1:node.end_lineno])
