"""The exam of docs/16-pitfalls.md: in each case which line is wrong, and what it should be.

A test runs every case of the page, as it stands and with this line mended.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """The number of the wrong line, the line as it should be, a question as a hint, the bug."""

    line: int
    mended: str
    hint: str
    bug: str
    down: int = 0  # how many lines further down the mended one belongs


CASES = {
    1: Case(9, "        variance = x.var(-1, keepdim=True, correction=0)",
            "torch has two variances. Which does x.var give without being asked?",
            "the variance divides by D - 1"),
    2: Case(5, "    weights = scores.softmax(-1)",
            "what do the weights of one query sum to?",
            "the softmax runs over the queries; it has to run over the keys"),
    3: Case(3, "    scores = scores.masked_fill(~mask[:, None, None, :], -1e9)",
            "what weight has a score of 0 after the softmax?",
            "the scores of padding are multiplied by 0 instead of filled with a low number"),
    4: Case(4, "    query, key, value = qkv.permute(2, 0, 3, 1, 4)",
            "both 3s of the view look alike. Which one is query, key and value?",
            "the heads are taken for the three parts query, key and value"),
    5: Case(5, "    return parts.feed_forward_norm(x + transformed)",
            "compare the two sub-layers: in which order do addition and LayerNorm stand?",
            "it normalises before the addition"),
    6: Case(7, "        self.blocks = nn.ModuleList(TransformerEncoderBlock(config)"
               " for _ in range(config.num_hidden_layers))",
            "count the parameters. Does torch know of all modules?",
            "the blocks are in a plain list; torch sees those in an nn.ModuleList only"),
    7: Case(3, "    return F.cross_entropy(logits, labels)",
            "what does F.cross_entropy do with its first argument?",
            "softmax is taken twice: F.cross_entropy takes it, too"),
    8: Case(3, "        optimizer.zero_grad()",
            "what is in the gradients when the second batch comes?",
            "zero_grad stands before the loop, so gradients add up", down=1),
    9: Case(5, "    labels[~chosen] = -100",
            "which tokens does the model have to answer for?",
            "chosen and not chosen are exchanged"),
    10: Case(8, "        first = F.dropout(first, 0.1, self.training)",
             "call model.eval(), then the head twice on the same input.",
             "dropout is never off"),
    11: Case(3, "    count = mask.sum(1, keepdim=True)",
             "does the mean of a row change with the rows beside it?",
             "it divides by the count of the whole batch"),
    12: Case(4, "    step = (m / (1 - 0.9 ** t)) / (torch.sqrt(v / (1 - 0.999 ** t)) + 1e-8)",
             "read the two corrections side by side; or run it with t = 2.",
             "0.9 * t stands where 0.9 ** t should")}


def hints_of(cases: range) -> str:
    """Return a question for each of some cases."""
    return "\n".join(f"Case {case}: {CASES[case].hint}" for case in cases)


def bugs_of(cases: range) -> str:
    """Return what is wrong in each of some cases, and the line as it should be."""
    return "\n".join(f"Case {case}, line {CASES[case].line}: {CASES[case].bug}.\n"
                     f"    {CASES[case].mended.strip()}"
                     + (" (in the loop)" if CASES[case].down else "") for case in cases)
