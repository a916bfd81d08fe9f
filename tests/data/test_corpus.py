"""Docstrings, corpus and the tasks made of them. Run: pytest tests/data/test_corpus.py

A tiny tree of source files stands in for the installed packages; the last test reads the real ones.
"""

import json
import re
import subprocess
import sys

import pytest

from bert_kit.data.samples.corpus import distinct, load_corpus, plain, split_sentences
from bert_kit.data.samples.docstrings import (
    Docstring, Package, installed_packages, load_docstrings, read_docstrings)
from bert_kit.data.samples.library_task import (KINDS, description, library_task, parameter_kinds,
                                        parameter_task)
from bert_kit.errors import DataError

LONG = "{} is long enough to be kept, because it has more than eighty characters in all, see?"


def _write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def packages(tmp_path):
    """Two packages: "numpy" with every odd case, "torch" with sixteen functions."""
    _write(tmp_path / "numpy", {
        "b.py": f'"""{LONG.format("Module B")}"""\n'
                "class A:\n"
                f'    """{LONG.format("Class A")}"""\n'
                "    if True:\n"
                "        async def f(self):\n"
                f'            """{LONG.format("Inner F")}"""\n'
                "def short():\n"
                '    """Too short."""\n'
                f'add_newdoc("numpy", "dot", ("x", """\n    {LONG.format("Attached")}\n    """))\n'
                f'other("numpy", """{LONG.format("No docstring")}""")\n',
        "a/z.py": f'def f():\n    r"""{LONG.format("Windows path")} \\d \\ud800"""\n',
        "a/escape.py": f'def f():\n    """{LONG.format("Odd escape")} \\d \\ud800"""\n',
        "a/latin.py": b"# coding: latin-1\ndef f():\n    '''caf\xe9 "
                      + LONG.format("Latin").encode() + b"'''\n",
        "a/broken.py": f'"""{LONG.format("Broken")}"""\ndef f(:\n',
        "a/nul.py": b'"""' + LONG.format("Nul").encode() + b'"""\n\0',
        "tests/test_a.py": f'"""{LONG.format("In tests")}"""\n',
        "test_c.py": f'"""{LONG.format("A test")}"""\n',
        "externals/other.py": f'"""{LONG.format("Vendored")}"""\n',
        "data.txt": LONG,
        "pydoc_data/topics.py": "topics = " + repr({"assert": LONG.format("The statement"),
                                                    "bool": LONG.format("The type")}),
    })
    verbs = ("sort", "copy", "turn", "fold", "cut", "join", "rank", "seal", "mix", "lift", "drop",
             "wash", "bind", "heat", "cool", "draw")
    for verb in verbs:
        words = " ".join(f"{verb}{letter}" for letter in "abcdefghijklmnop")
        _write(tmp_path / "torch", {f"{verb}.py": f'def {verb}(x):\n    """{words}.\n\n'
                                    '    Args:\n        x (Tensor): what\n    """\n'})
        other = words.replace(" ", "y ")
        _write(tmp_path / "numpy", {f"many/{verb}.py": f'def {verb}(x):\n    """np {other} too.\n'
                                    '\n    Parameters\n    ----------\n    x : int\n    """\n'})
    return [Package("numpy", tmp_path / "numpy", "1.0"), Package("torch", tmp_path / "torch", "2")]


def test_every_docstring_in_order(packages):
    found = [d for d in read_docstrings(packages) if "/many/" not in d.source][:9]
    assert [(d.source, d.text.split(" is long")[0]) for d in found] == [
        ("numpy/b.py", "Module B"), ("numpy/b.py", "Class A"), ("numpy/b.py", "Inner F"),
        ("numpy/b.py", "Attached"), ("numpy/a/escape.py", "Odd escape"),
        ("numpy/a/latin.py", "caf\xe9 Latin"), ("numpy/a/z.py", "Windows path"),
        ("numpy/pydoc_data/topics.py#assert", "The statement"),
        ("numpy/pydoc_data/topics.py#bool", "The type")]
    assert all(d.package == "numpy" for d in found)
    assert all(d.text.encode() for d in found)  # the half surrogate pair is gone


def test_nothing_is_imported():
    code = ("import sys\n"
            "from bert_kit.data.samples.docstrings import installed_packages, read_docstrings\n"
            "before = set(sys.modules); packages = installed_packages()\n"
            "found = read_docstrings([p for p in packages if p.name == 'scikit-learn'])\n"
            "print([p.name for p in packages], len(found) > 500, 'sklearn' in sys.modules,\n"
            "      {'numpy', 'torch'} & (set(sys.modules) - before))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         env={"PYTHONPATH": ":".join(sys.path)}).stdout
    assert out == "['python', 'numpy', 'scikit-learn', 'torch'] True False set()\n"


def test_cache_is_used_and_a_damaged_one_is_built_again(packages, tmp_path, capsys):
    cache = tmp_path / "cache"
    first = load_docstrings(cache, packages)
    assert "Reading the docstrings of numpy, torch" in capsys.readouterr().err
    (path,) = cache.iterdir()
    good = path.read_bytes()
    _write(tmp_path / "torch", {"new.py": f'"""{LONG.format("New")}"""'})
    assert load_docstrings(cache, packages) == first  # read back, so the new file is not seen
    assert capsys.readouterr().err == ""
    changed = good.replace(b"long enough", b"long_enough", 1)
    renamed = good.replace(b'"format": 1', b'"x": 1')
    for damaged in (b"", good[:-20], changed, b"[]", b"{}", renamed):
        assert damaged != good
        path.write_bytes(damaged)
        (tmp_path / "torch" / "new.py").unlink(missing_ok=True)
        assert load_docstrings(cache, packages) == first
        assert path.read_bytes() == good
    newer = [packages[0], packages[1]._replace(version="3")]
    load_docstrings(cache, newer)
    assert len(list(cache.iterdir())) == 2


def test_cache_folder_is_the_users(packages, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load_docstrings(packages=packages)
    assert len(list((tmp_path / "xdg" / "bert_kit").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load_docstrings(packages=packages)
    assert len(list((tmp_path / "home" / ".cache" / "bert_kit").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_done_without(packages, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert load_docstrings(tmp_path / "file", packages) == read_docstrings(packages)
    assert "going on without a cache" in capsys.readouterr().err


def test_no_docstrings_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no docstrings found in .*empty; expected"):
        load_corpus(tmp_path / "cache", [Package("numpy", tmp_path / "empty", "1")])


def test_same_result_whatever_the_hash_seed(packages, tmp_path):
    code = ("import hashlib, sys; from pathlib import Path\n"
            "from bert_kit.data.samples.docstrings import Package\n"
            "from bert_kit.data.samples.corpus import load_corpus\n"
            "from bert_kit.data.samples.library_task import library_task, parameter_task\n"
            "base = Path(sys.argv[1])\n"
            "p = [Package('numpy', base / 'numpy', '1.0'), Package('torch', base / 'torch', '2')]\n"
            "print(hashlib.sha256(repr([f(cache=base / sys.argv[2], packages=p) for f in\n"
            "      (load_corpus, library_task, parameter_task)]).encode()).hexdigest())")
    runs = {subprocess.run([sys.executable, "-c", code, str(tmp_path), seed], check=True,
                           capture_output=True, text=True,
                           env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout
            for seed in ("1", "2")}
    assert len(runs) == 1


@pytest.mark.parametrize("text, sentences", [
    ("One thing. Another thing! A third?", ["One thing.", "Another thing!", "A third?"]),
    ("It is 3.5 wide. see below", ["It is 3.5 wide. see below"]),
    ("As J. Smith said, e.g. That is i.e. This.", ["As J. Smith said, e.g. That is i.e. This."]),
    ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
    ("Wrapped\nline here.\n\nNew paragraph", ["Wrapped line here.", "New paragraph"]),
    ("Returns\n-------\nx : int\n    The number\n    of rows.\ny : str",
     ["Returns", "x : int", "The number of rows.", "y : str"]),
    ("Args:\n    x (int): rows\n        and more\n    y (str): name",
     ["Args:", "x (int): rows and more", "y (str): name"]),
    ("Either\n- this\n  way\n- that way\n1. or so",
     ["Either", "- this way", "- that way", "1. or so"]),
    ("Before\n>>> f(x)\nresult here\n\nafter", ["Before", "after"]),
    ("Before\n```\ncode here\n```\nafter it", ["Before", "after it"]),
    ("-- 1 2 3\n\n=====", []),
])
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_plain_text():
    assert plain("a :class:`~x.Y`, :py:func:`the f <x.f>`, ``code`` `name`_ and `~np.x`\n"
                 ".. note:: this") == "a x.Y, the f, code name and np.x\n this"


def test_distinct_keeps_the_first():
    base = " ".join(f"word{chr(97 + i)}" for i in range(26))
    close = base.replace("wordm", "other")
    far = " ".join(f"thing{chr(97 + i)}" for i in range(26))
    assert distinct([base, close, base.upper() + " 12!", far, base]) == [0, 3]
    assert distinct([base, close], share=1) == [0, 1]
    assert distinct([]) == []


def test_corpus_and_task_hold_out_the_same_files(packages, tmp_path):
    corpus = load_corpus(tmp_path / "cache", packages)
    assert {d.source for d in corpus.documents} >= {"numpy/b.py", "torch/sort.py"}
    assert all(d.text == " ".join(d.sentences) and d.sentences for d in corpus.documents)
    assert corpus.describe().startswith(f"{len(corpus.documents)} documents, ")
    train, held = corpus.split(0.3)
    assert len(train.documents) + len(held.documents) == len(corpus.documents)
    task = library_task(cache=tmp_path / "cache", packages=packages)
    task_train, task_held = task.split(0.3)
    assert len(task_train.texts) + len(task_held.texts) == len(task.texts)
    seen = {document.source for document in train.documents}
    assert task_held.groups and not seen & set(task_held.groups)
    assert not set(task_train.groups) & set(task_held.groups)


def test_library_task_is_balanced_and_seeded(packages, tmp_path):
    def task(*args):
        return library_task(*args, cache=tmp_path / "cache", packages=packages)
    small = task(4)
    assert small.classes == ["numpy", "torch"]
    assert sorted(small.labels) == ["numpy"] * 4 + ["torch"] * 4
    assert small == task(4) and small != task(4, 1)
    everything = task(None)
    assert everything.labels.count("torch") == 16 != everything.labels.count("numpy")
    largest = task(10_000)
    assert largest.labels.count("torch") == largest.labels.count("numpy")
    assert not any("pydoc_data" in group for group in everything.groups)
    with pytest.raises(DataError, match="descriptions found of torch; expected two"):
        library_task(cache=tmp_path / "cache", packages=packages[1:])


def test_parameter_task(packages, tmp_path):
    task = parameter_task(tmp_path / "cache", packages[1:])
    assert task.classes == sorted(KINDS) and len(KINDS) == 10
    assert task.labels == [("array",)] * 16
    lonely = [Package("numpy", tmp_path / "numpy" / "a", "1")]
    with pytest.raises(DataError, match="no docstring states the type"):
        parameter_task(tmp_path / "cache", lonely)


@pytest.mark.parametrize("text, expected", [
    ("Sort it.\n\nParameters\n----------\nx : array", "Sort it."),
    ("Sort it.\n\nArgs:\n    x: array", "Sort it."),
    ("Sort it.\n\n:param x: array", "Sort it."),
    ("Sort it.\n>>> sort(x)", "Sort it."),
    ("Sort it.\n\n.. note:: slow", "Sort it."),
    ("sort(x, *, out=None) -> Tensor\n\nSort it.", "Sort it."),
    ("sort(x) sorts\nin place.", "sort(x) sorts in place."),
    ("Like NumPy, np and PyTorch and scikit-learn in Python.", "Like, and and in."),
    ("See https://docs.example.org/x#y now, or torch.nn.Linear().", "See now, or."),
    ("Give *x* and **y** and 2 * 3 * 4.", "Give x and y and 2 * 3 * 4."),
    ("Fit. Read more in the :ref:`User Guide <svm>`. Predict.", "Fit. Predict."),
    ("Values of 1.5 and :math:`x`, e.g. two.", "Values of 1.5 and x, e.g. two."),
])
def test_description(text, expected):
    assert description(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("F.\n\nParameters\n----------\nX : array-like of shape (n,)\n    d\nk : int or float, "
     "default=None\n    d\n\nReturns\n-------\ny : dict", ("array", "float", "int")),
    ("F.\n\nParameters\n----------\nmode : {'a', 'b'}, optional (a function)\nrandom_state : int, "
     "RandomState instance or None\nbase : estimator object",
     ("estimator", "int", "random", "str")),
    ("F.\n\nArgs:\n    x (Tensor): an int\n    f (callable, optional): f\n"
     "Returns:\n    d (dict): d", ("array", "callable")),
    ("F.\n\nKeyword args:\n    dtype (torch.dtype, optional): d\n    b (bool): b",
     ("bool", "dtype")),
    ("F of an int.", ()),
])
def test_parameter_kinds(text, expected):
    assert parameter_kinds(text) == expected


def test_the_real_numpy(tmp_path):
    packages = [package for package in installed_packages() if package.name == "numpy"]
    found = load_docstrings(tmp_path, packages)
    assert len(found) > 800
    assert all(isinstance(d, Docstring) and d.source.startswith("numpy/") for d in found)
    assert json.loads(next(tmp_path.iterdir()).read_text(encoding="utf-8"))["format"] == 1
    corpus = load_corpus(tmp_path, packages)
    assert len(corpus.documents) > 700
    assert sum(len(d.sentences) for d in corpus.documents) > 5_000
    named = re.compile(r"numpy|scipy|torch|sklearn|python|https?:", re.IGNORECASE)
    texts = parameter_task(tmp_path, packages).texts
    assert len(texts) > 200 and not any(named.search(text) for text in texts)
