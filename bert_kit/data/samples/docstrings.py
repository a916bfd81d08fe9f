"""The docstrings of the packages that every installation has: text that needs no download.

The source files of the standard library, numpy, scikit-learn and torch are parsed with `ast`;
nothing is imported or run. Reading takes some seconds once; the result is then kept in the user's
cache folder, one file for each set of package versions.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import platform
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from bert_kit.errors import BertKitError, DataError
from bert_kit.files import read_json, write_json

MIN_LENGTH = 80  # characters; a shorter docstring says too little to learn from
TOPICS = "pydoc_data/topics.py"  # the language reference that `help()` shows

_FORMAT = 1  # of the cache file; raise it when the reading below changes
_SKIPPED = {"site-packages", "dist-packages",  # other packages
            "test", "tests", "testing", "idle_test", "__pycache__",  # test code
            "externals", "_vendor"}  # copies of other projects: the package name would be wrong
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = ("finalbody", "orelse", "handlers", "cases", "body")
# Compiled functions get their docstring by a call: numpy.add_newdoc(...), torch's add_docstr(...).
_ATTACHING = re.compile(r"_?add_(new)?doc\w*")
_UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Package(NamedTuple):
    """An installed package: its name, its folder and its version."""

    name: str
    folder: Path
    version: str


class Docstring(NamedTuple):
    """One docstring, with the package and the file ("package/path.py") that it stands in."""

    package: str
    source: str
    text: str


def installed_packages() -> list[Package]:
    """Locate the standard library ("python"), numpy, scikit-learn and torch without importing them.

    A package that is not installed is left out.
    """
    packages = [Package("python", Path(sysconfig.get_paths()["stdlib"]),
                        platform.python_version())]
    for name, module in (("numpy", "numpy"), ("scikit-learn", "sklearn"), ("torch", "torch")):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations:
            packages.append(Package(name, Path(spec.submodule_search_locations[0]),
                                    _version(name)))
    return packages


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a source tree on the path
        return "unknown"


def load_docstrings(cache: str | Path | None = None,
                    packages: list[Package] | None = None) -> list[Docstring]:
    """Return the docstrings of the packages, from the cache where it has them.

    Parameters
    ----------
    cache
        Folder of the cache file; by default `bert_kit` in $XDG_CACHE_HOME or ~/.cache. A damaged
        file is built again; a folder that cannot be written is reported and done without.
    packages
        What to read; by default `installed_packages()`.

    Returns
    -------
        In the order of packages, file names and lines; each has at least 80 characters.

    Raises
    ------
    DataError
        If the packages hold no docstring at all (an installation without source files).
    """
    packages = installed_packages() if packages is None else packages
    versions = {package.name: package.version for package in packages}
    key = hashlib.sha256(json.dumps([_FORMAT, versions]).encode()).hexdigest()[:12]
    path = Path(_cache_folder() if cache is None else cache) / f"docstrings-{key}.json"
    try:
        return _read_cache(path, versions)
    except BertKitError:
        pass  # not there yet, or damaged: build it
    print(f"Reading the docstrings of {', '.join(versions)} (once; kept in {path})",
          file=sys.stderr)
    docstrings = read_docstrings(packages)
    if not docstrings:
        places = ", ".join(str(package.folder) for package in packages)
        raise DataError(f"no docstrings found in {places or 'no package'}; "
                        "expected Python source files")
    rows = [list(docstring) for docstring in docstrings]
    try:
        write_json(path, {"format": _FORMAT, "versions": versions, "sha256": _digest(rows),
                          "docstrings": rows})
    except BertKitError as error:
        print(f"{error}; going on without a cache", file=sys.stderr)
    return docstrings


def _cache_folder() -> str:
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG rules: a relative path counts as not set
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "bert_kit")


def _digest(rows: list[list[str]]) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _read_cache(path: Path, versions: dict[str, str]) -> list[Docstring]:
    """Read a cache file; raise BertKitError unless it is exactly what was written."""
    content = read_json(path)
    if content.get("format") != _FORMAT or content.get("versions") != versions:
        raise DataError(f"{path}: made for other versions")
    rows = content.get("docstrings")
    if not rows or _digest(rows) != content.get("sha256"):
        raise DataError(f"{path}: damaged")
    return [Docstring(*row) for row in rows]


def read_docstrings(packages: Iterable[Package]) -> list[Docstring]:
    """Parse every source file of the packages and return the docstrings, in a fixed order.

    Test code and vendored copies of other projects are left out, and so is a file that this
    Python cannot parse.
    """
    files = [(package, path) for package in packages for path in _source_files(package.folder)]
    docstrings = []
    for package, path in tqdm(files, desc="docstrings", unit=" files", leave=False, disable=None):
        name = path.relative_to(package.folder).as_posix()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other people's "\d" is not our warning
                tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        texts = _topics(tree) if name == TOPICS else [("", text) for text in _documentation(tree)]
        for suffix, text in texts:
            text = _UNPRINTABLE.sub(" ", text).strip()
            if len(text) >= MIN_LENGTH:
                source = f"{package.name}/{name}{suffix}"
                docstrings.append(Docstring(package.name, source, text))
    return docstrings


def _source_files(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a folder, sorted at every level."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders
                            if name not in _SKIPPED and not name.startswith("test_"))
        for name in sorted(names):
            if name.endswith(".py") and not name.startswith("test_"):
                yield Path(parent, name)


def _documentation(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module in the order of its lines."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        text = None
        if isinstance(node, _DOCUMENTED):
            text = ast.get_docstring(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            text = _attached(node.value)
        if text:
            yield text
        for block in _BLOCKS:  # pushed last to first, so that they are popped first to last
            stack.extend(reversed(getattr(node, block, ())))


def _attached(call: ast.Call) -> str | None:
    """Return the text that an `add_newdoc(…)` call attaches: its longest string."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if not _ATTACHING.fullmatch(name):
        return None
    strings = [node.value for node in ast.walk(call)
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    longest = max(strings, key=len, default="")
    return inspect.cleandoc(longest)


def _topics(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield ("#name", text) of `topics = {name: text, …}`; each topic counts as a file."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for name, text in ast.literal_eval(node.value).items():
                yield f"#{name}", text
