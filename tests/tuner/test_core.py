"""The core of the tuner: four files that can be read in one sitting and used without the others."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TUNER = ROOT / "bert_kit" / "tuner"
CORE = ("space", "ask_tell", "tpe", "pbt")
GROUND = ("bert_kit.checks", "bert_kit.errors")
LIMIT = 600  # lines of code

# Everything of the room but the core is barred; then a search and a population run.
ALONE = """
import sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("bert_kit.tuner.") and name.split(".")[2] not in {core!r}:
            raise ImportError(name + " is barred")

sys.meta_path.insert(0, Barred())
from bert_kit.tuner.ask_tell import AskTell
from bert_kit.tuner.pbt import ExploitExplore
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.tpe import TPE, Random

space = (SearchSpace().continuous("x", -1, 1).log_uniform("lr", 1e-5, 1e-1)
         .categorical("head", ["a", "b"]).discrete("k", 1, 4, when={{"head": "b"}}))
bests = []
for sampler in (TPE(), Random()):
    search = AskTell(space, sampler, seed=0)
    for _ in range(60):
        trial = search.ask()
        if trial.number % 9 == 4:
            search.tell(trial, error="broken")
            continue
        search.tell(trial, (trial.params["x"] - 0.3) ** 2 + abs(trial.params.get("k", 1) - 3))
    assert [trial.state for trial in search.trials].count("failed") == 7
    bests.append(search.best.value)
assert bests[0] < bests[1] < 0.1, bests

pbt = ExploitExplore(SearchSpace().continuous("rate", 0.01, 1.0), seed=0)
members, states = [], {{}}
for _ in range(20):
    before, members, scores = members, pbt.ask(members), []
    for member in members:
        place = states[before[member.parent].checkpoint] if before else 0.0
        states[member.checkpoint] = place + member.params["rate"] * 0.3 * (10 - place)
        scores.append(-abs(10 - states[member.checkpoint]))
    members = pbt.tell(members, scores)
assert members[0].generation == 19 and max(member.score for member in members) > -0.1
print(*sorted(name for name in sys.modules if name.startswith("bert_kit.tuner.")))
print(*{{"torch", "sklearn", "scipy", "tokenizers", "sqlite3"}} & set(sys.modules))
"""


def code_lines(path):
    """The number of lines with code: no blank ones, no comments, no docstrings."""
    text = path.read_text("utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
                ast.get_docstring(node)):
            documented.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
             tokenize.ENDMARKER)
    lines = {number for token in tokenize.generate_tokens(io.StringIO(text).readline)
             if token.type not in blank for number in range(token.start[0], token.end[0] + 1)}
    return len(lines - documented)


def test_a_search_and_a_population_need_the_core_only():
    done = subprocess.run([sys.executable, "-c", ALONE.format(core=CORE)], capture_output=True,
                          text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    modules, others = done.stdout.split("\n")[:2]
    assert modules.split() == sorted(f"bert_kit.tuner.{name}" for name in CORE) and others == ""


def test_the_core_imports_nothing_else_of_the_room_and_hardly_anything_of_the_ground():
    for name in CORE:
        for node in ast.parse((TUNER / f"{name}.py").read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module.startswith("bert_kit"):
                assert node.module in GROUND or node.module in {
                    f"bert_kit.tuner.{other}" for other in CORE}, f"{name} imports {node.module}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                top = (node.module if isinstance(node, ast.ImportFrom) else names[0]).split(".")[0]
                assert top in {*sys.stdlib_module_names, "numpy", "bert_kit"}, f"{name}: {top}"


def test_the_core_can_be_read_in_one_sitting():
    assert sum(code_lines(TUNER / f"{name}.py") for name in CORE) <= LIMIT
