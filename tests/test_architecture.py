"""The rules of the house, read off the source: who may import whom, and what no file may have."""

import ast
import configparser
import functools
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bert_kit"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {"tokenization", "model", "weights", "data", "training", "evaluation", "tuner", "active"}
GROUND = {"errors", "files", "config", "config_keys", "families", "foreign", "lookup", "faces",
          "printing", "figures", "checks", "modes", "digests", "torch_files", "cells", "parsing"}
# Rows are made of a tokenizer's pieces, and a folder of weights holds a tokenizer.
ALSO = {"data": {"tokenization"}, "weights": {"tokenization"}}
# The floors of jobs/: a file imports from its own and those below it.
FLOORS = {"options": 0, "run": 1, "tasks": 2, "train": 3, "commands": 3, "compare": 4, "tuning": 4,
          "active": 4, "table": 4}
# Files of more than 400 lines or fewer than 40, and why they are one idea all the same.
LONG_OR_SHORT = {
    "__main__.py": "what `python -m` asks for",
    "estimator.py": "three estimators, which share their parameters and the checks of their input",
    "learn/trials.py": "what each rung is tried on, a short function each",
    "jobs/run/randomness.py": "two contexts that all jobs run in",
    "jobs/options/groups.py": "every group of options that several jobs share",
    "jobs/commands/corpus.py": "a command of one function",
    "jobs/tasks/texts.py": "what three tasks share, and their predictor",
    "jobs/tasks/tags.py": "a task is one file: options, predictor, task and its scores",
    "jobs/tasks/similarity.py": "a task is one file: options, encoder, task and its scores",
    "jobs/tasks/masked.py": "a task is one file: documents and stores are its own",
    "jobs/train.py": "the functions that train, and the classification job in steps",
    "jobs/tuning/search.py": "one job, from its command line to its best configuration",
    "training/trainer.py": "the step and the loop, to be read in one piece",
}
RUNTIME = {"torch", "tokenizers", "numpy", "sklearn", "tqdm", "scipy"}
BROUGHT = {"scipy": "scikit-learn", "huggingface_hub": "tokenizers"}  # each comes with one of five
# Used when present, imported in functions only.
LAZY = {"huggingface_hub", "matplotlib", "yaml", "onnxruntime", "distributed"}


def name_of(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def tree_of(path):
    """Return what a file says; nobody changes it."""
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def nodes_of(path):
    return list(ast.walk(tree_of(path)))


def nodes_without(path, leave_out):
    """Yield the nodes of a file but those in the body of a node that is left out."""
    left = [tree_of(path)]
    while left:
        yield (node := left.pop())
        inside = node.body if leave_out(node) else []
        left += [child for child in ast.iter_child_nodes(node) if child not in inside]


def imports(path):
    """Yield (module, whether it stands at the top of the file) of each import."""
    top = tree_of(path).body
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [node.module]
        else:
            continue
        for module in modules:
            yield module, node in top


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def defined_in(module, name):
    """Return the module of the kit that a name comes from: faces are looked through."""
    parts = module.split(".")[1:]
    face = PACKAGE.joinpath(*parts, "__init__.py")
    if not face.is_file():
        return module
    for node in nodes_of(face):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return defined_in(node.module, name)
    inner = face.parent / name
    return f"{module}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else module


@functools.cache
def imported_files(path):
    """Return the files of the kit that a file imports names of, but for those of types alone."""
    def of_types_alone(node):
        return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)

    found = set()
    for node in nodes_without(path, of_types_alone):
        if not isinstance(node, ast.ImportFrom) or not node.module.startswith("bert_kit"):
            continue
        for alias in node.names:
            parts = defined_in(node.module, alias.name).split(".")[1:]
            file = PACKAGE.joinpath(*parts).with_suffix(".py") if parts else PACKAGE
            found.add(file if file.is_file() else PACKAGE.joinpath(*parts, "__init__.py"))
    return frozenset(found - {path})


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_rooms_do_not_know_each_other(path):
    room = room_of(path)
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "bert_kit" or len(parts) == 1:
            continue
        target = parts[1]
        if room in ROOMS:
            assert target in GROUND | {room} | ALSO.get(room, set()), f"{room} imports {module}"
        elif room in GROUND:
            assert target in GROUND, f"the ground imports {module}"
        elif room in ("cli", "estimator"):
            assert target in {"jobs", *GROUND}, f"{room} imports {module}"
        elif room == "jobs":
            assert target in ROOMS | GROUND | {"jobs"}, f"a job imports {module}"
        elif room == "learn":  # beside jobs/: it examines with every room, and is a job itself
            assert target in ROOMS | GROUND | {"learn", "jobs"}, f"learn imports {module}"
            assert target != "jobs" or module == "bert_kit.jobs.options.declare"


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) == "jobs"], ids=name_of)
def test_jobs_import_from_their_floor_and_below(path):
    own = path.relative_to(PACKAGE / "jobs").parts[0].removesuffix(".py")
    for file in imported_files(path):
        if room_of(file) == "jobs" and own in FLOORS:
            other = file.relative_to(PACKAGE / "jobs").parts[0].removesuffix(".py")
            assert other == own or FLOORS[other] < FLOORS[own], f"{place(path)}: {place(file)}"


def test_no_circles():
    """No file imports itself, by whatever way round: also not inside functions."""
    done, walk = set(), []

    def visit(path):
        assert path not in walk, " > ".join(map(place, [*walk[walk.index(path):], path]))
        if path not in done:
            walk.append(path)
            for file in sorted(imported_files(path)):
                visit(file)
            done.add(walk.pop())

    for path in FILES:
        visit(path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_five_packages_are_imported(path):
    for module, at_top in imports(path):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "bert_kit":
            continue
        assert top in RUNTIME | LAZY, f"{module} is not among the run-time packages"
        if top in LAZY or (top in ("sklearn", "scipy") and room_of(path) != "estimator"):
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
def test_files_say_what_they_are_and_are_one_idea(path):
    text = path.read_text("utf-8")
    assert ast.get_docstring(tree_of(path)), "no docstring"
    assert path.stem not in {"utils", "helpers", "misc", "common"}
    long_or_short = path.name != "__init__.py" and not 40 <= text.count("\n") <= 400
    assert long_or_short == (place(path) in LONG_OR_SHORT), "list it with its reason, or not"
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


def public_functions(tree, inside=""):
    """Yield (name, node) of the functions and methods that others may call."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_")
                                                    or node.name == "__init__"):
            yield f"{inside}{node.name}", node


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_has_types(path):
    for name, node in public_functions(tree_of(path)):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        given += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
        bare = [one.arg for one in given if one.annotation is None
                and one.arg not in ("self", "cls")]
        assert not bare and node.returns is not None, f"{name}: {', '.join(bare) or 'its result'}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_is_documented(path):
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_mutable_state_in_modules(path):
    """No `global`, and a dict, list or set at the top of a file is never changed in it."""
    names = {target.id for node in tree_of(path).body if isinstance(node, ast.Assign)
             and isinstance(node.value, ast.Dict | ast.List | ast.Set | ast.DictComp)
             for target in node.targets if isinstance(target, ast.Name)}
    changing = {"append", "add", "update", "pop", "clear", "setdefault", "extend", "remove"}
    for node in nodes_of(path):
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
    def forked(node):
        return isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])

    for node in nodes_without(path, forked):
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
