"""What is installed is the package, whole and alone, and it works away from its sources."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_jobs import tiny_bert
from test_architecture import PACKAGE, ROOT

from bert_kit import (
    BERTForSequenceClassification, __version__, get_tokenizer, load_pretrained, save_pretrained)

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def files_under(folder, root=None):
    """Return the paths of all files in a folder, from `root` on, without compiled ones."""
    return {path.relative_to(root or folder) for path in Path(folder).rglob("*")
            if path.is_file() and path.suffix != ".pyc"}


def test_the_wheel_is_the_package_and_works_elsewhere(tmp_path):
    pytest.importorskip("setuptools", "70.1")  # older ones need another package for wheels
    source, unpacked = tmp_path / "source", tmp_path / "unpacked"
    shutil.copytree(ROOT / "bert_kit", source / "bert_kit",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=source, check=True,
                   capture_output=True)
    wheel, = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(unpacked)
    about, = unpacked.glob(f"bert_kit-{__version__}.dist-info")
    assert files_under(unpacked) - files_under(about, unpacked) == files_under(PACKAGE, ROOT)
    assert "bert-kit = bert_kit.cli:main" in (about / "entry_points.txt").read_text()
    bert = tiny_bert(tmp_path / "bert")
    save_pretrained(load_pretrained(BERTForSequenceClassification, bert, report=lambda line: None),
                    tmp_path / "model", get_tokenizer(bert))
    code = "import bert_kit, sys; print(bert_kit.__file__); from bert_kit.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code, "predict",
         "--model", "model", "--text", "the red sun"], cwd=tmp_path, text=True, check=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(unpacked)})
    assert done.stderr == ""
    place, _, row = done.stdout.splitlines()
    assert place == str(unpacked / "bert_kit" / "__init__.py")
    assert row.startswith('"the red sun","LABEL_')
