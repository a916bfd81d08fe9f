"""The rules of the house, read off the source: who may import whom, and what no file may have."""

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bert_kit"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {"model", "weights", "data", "training", "evaluation", "tuner", "active"}
GROUND = {"errors", "files", "config", "lookup", "faces", "printing", "figures", "checks", "modes",
          "tokenization"}
RUNTIME = {"torch", "tokenizers", "numpy", "sklearn", "tqdm", "scipy"}
BROUGHT = {"scipy": "scikit-learn", "huggingface_hub": "tokenizers"}  # each comes with one of five
LAZY = {"huggingface_hub", "matplotlib", "yaml"}  # used when present, imported in functions only


def name_of(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Yield (module, whether it stands at the top of the file) of each import."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [node.module]
        else:
            continue
        for module in modules:
            yield module, node in tree.body


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_rooms_do_not_know_each_other(path):
    room = room_of(path)
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "bert_kit" or len(parts) == 1:
            continue
        target = parts[1]
        if room in ROOMS:
            assert target in GROUND | {room}, f"{room} imports {module}"
        elif room in GROUND:
            assert target in GROUND, f"the ground imports {module}"
        elif room in ("cli", "estimator"):
            assert target in {"recipes", "errors"}, f"{room} imports {module}"
        elif room == "recipes":
            assert target in ROOMS | GROUND | {"recipes"}, f"a recipe imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_five_packages_are_imported(path):
    for module, at_top in imports(path):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "bert_kit":
            continue
        assert top in RUNTIME | LAZY, f"{module} is not among the run-time packages"
        if top in LAZY or (top == "sklearn" and room_of(path) != "estimator"):
            assert not at_top, f"{module} is needed for some jobs only: import it where it is used"
        if room_of(path) == "tuner":
            assert top in ("numpy", "matplotlib"), f"the tuner imports {module}"


def test_setup_names_exactly_the_five_packages_and_what_comes_with_them():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = {line.split(">")[0].replace("scikit-learn", "sklearn")
              for line in setup["options"]["install_requires"].split()}
    assert needed == RUNTIME | set(BROUGHT) and len(needed - set(BROUGHT)) == 5


@pytest.mark.parametrize("package, owner", BROUGHT.items())
def test_what_is_said_to_come_with_a_package_does(package, owner):
    brought = {re.split(r"[^\w-]", line)[0].replace("-", "_")
               for line in importlib.metadata.requires(owner) if "extra ==" not in line}
    assert package in brought


def test_top_level_is_as_designed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert top <= {"bert_kit", "examples", "tests", "docs", "setup.cfg", "README.md", "LICENSE",
                   "pyproject.toml", ".gitignore", ".ci", ".github", ".pre-commit-config.yaml"}


def test_ruff_finds_nothing():
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_small_and_say_what_they_are(path):
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring"
    assert path.stem not in {"utils", "helpers", "misc", "common"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_is_documented(path):
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if room_of(path) == "cli":
                continue  # a job's help text says it
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_mutable_state_in_modules(path):
    """No `global`, and a dict, list or set at the top of a file is never changed in it."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {target.id for node in tree.body if isinstance(node, ast.Assign)
             and isinstance(node.value, ast.Dict | ast.List | ast.Set | ast.DictComp)
             for target in node.targets if isinstance(target, ast.Name)}
    changing = {"append", "add", "update", "pop", "clear", "setdefault", "extend", "remove"}
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), "global"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            assert not (isinstance(owner, ast.Name) and owner.id in names
                        and node.func.attr in changing), f"{owner.id} is changed"
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                assert not (isinstance(target, ast.Subscript) and isinstance(
                    target.value, ast.Name) and target.value.id in names)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_global_generator_is_seeded(path):
    """Except between the two ends of a `fork_rng`, which puts the caller's generators back."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0]):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("manual_seed", "seed"):
            owner = ast.unparse(node.value)
            assert owner not in ("torch", "np.random", "random", "torch.cuda"), ast.unparse(node)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("test_*.py")), ids=name_of)
def test_every_test_can_fail(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            source = ast.unparse(node)
            assert any(word in source for word in ("assert", "raises", "warns")), node.name


def test_importing_the_kit_is_cheap_and_needs_no_torch():
    code = ("import sys, bert_kit; heavy = {'torch', 'numpy', 'sklearn', 'tokenizers'}; "
            "print(*heavy & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there():
    import bert_kit
    for name in bert_kit.__all__:
        assert getattr(bert_kit, name) is not None
        assert name in dir(bert_kit)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bert_kit.nothing
