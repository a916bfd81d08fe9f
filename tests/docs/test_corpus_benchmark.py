"""The benchmark of large corpora, on a small one."""

import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import pytest
from tiny_texts import make_texts

from bert_kit.data import Corpus, Document

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "benchmarks" / "corpus.py"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory as Linux counts it")
def test_figures(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("corpus_benchmark", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    documents = [Document("made", "up.py", (text,)) for text in make_texts(50)]
    monkeypatch.setattr(benchmark, "load_corpus", lambda: Corpus(documents))
    monkeypatch.setattr(benchmark, "BLOCK", 4_000)
    benchmark.main(Namespace(gigabytes=3e-4, workers=2, batches=5, vocab_size=90,
                             json=tmp_path / "figures.json"), tmp_path)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert 300_000 <= (tmp_path / "corpus.txt").stat().st_size < 400_000
    assert figures["rows"] * 126 > figures["tokens"] > 300_000 / 12
    assert figures["stream_grouped_True"][-1][0] == 5
    assert "same bytes      4 of 4 files" in capsys.readouterr().out
