import subprocess
import sys

import pytest

from bert_kit import BERTForSequenceClassification, save_pretrained, train_tokenizer
from bert_kit.cli import main
from bert_kit.data.corpus import Corpus, Document
from models import tiny_config


def test_info_says_what_is_in_a_folder(tmp_path, capsys):
    tokenizer = train_tokenizer(["a few words"], vocab_size=40, min_frequency=1)
    model = BERTForSequenceClassification(
        tiny_config(vocab_size=tokenizer.vocab_size, labels=("no", "yes", "perhaps")))
    save_pretrained(model, tmp_path, tokenizer)
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    count = sum(p.numel() for p in model.parameters())
    for part in ("BertForSequenceClassification", "no, yes, perhaps", f"{count:,} numbers",
                 "12 in 3 heads", f"{tokenizer.vocab_size} pieces", "11 tokens"):
        assert part in out
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").unlink()
    assert main(["info", str(tmp_path)]) == 0 and "none (" in capsys.readouterr().out


def test_corpus_is_written_as_sentences_and_documents(tmp_path, capsys, monkeypatch):
    corpus = Corpus([Document("p", "p/a.py", ("One.", "Two ü.")), Document("p", "p/b.py", ("3.",))])
    monkeypatch.setattr("bert_kit.recipes.corpus.load_corpus", lambda: corpus)
    assert main(["corpus", "--output", str(tmp_path / "text")]) == 0
    assert (tmp_path / "text").read_text("utf-8") == "One.\nTwo ü.\n\n3.\n"
    assert "2 documents, 3 sentences" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, code", [
    (["info", "no/such/folder"], 1), (["info"], 2), (["dance"], 2), ([], 2), (["--version"], 0)])
def test_exit_codes_and_no_traceback(arguments, code):
    done = subprocess.run([sys.executable, "-m", "bert_kit", *arguments], capture_output=True,
                          text=True)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("error: no/such/folder") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["x" * 300, "loop", "loop/a", "file", "file/a", "/dev/null/x"])
@pytest.mark.parametrize("job", ["train", "tune", "active"])
def test_places_where_no_folder_can_be_are_one_line(tmp_path, capsys, monkeypatch, job, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "rows.csv").write_text("text,category\n" + "a,x\nb,y\n" * 40)
    assert main([job, "--data_file", "rows.csv", "--output_dir", place, "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
