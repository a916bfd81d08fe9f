"""Texts and labels from strangers, through every task, into every kind of file that is written.

Files that hold such texts and are refused are in hostile.py and test_tables.py. Run: pytest
tests/ground/test_hostile_text.py
"""

import csv
import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hostile_inputs import memory_of_at_most
from tiny_jobs import table, tiny_bert

import bert_kit
from bert_kit import (Answerer, BERTForQuestionAnswering, BERTForSequenceClassification,
                      BERTForTokenClassification, BertConfig, Predictor, SentenceEncoder, Tagger,
                      get_tokenizer, load_pretrained, save_pretrained, train_classifier,
                      train_tagger, train_tokenizer)
from bert_kit.active import LabelFile
from bert_kit.cells import unguard
from bert_kit.cli import main
from bert_kit.data import (AnsweringDataset, ClassificationDataset, MLMDataset, Question,
                           TaggingDataset, read_conll, read_table)
from bert_kit.evaluation import plot_confusion_matrix
from bert_kit.files import file_name, read_json
from bert_kit.jobs.commands import predict, tag
from bert_kit.tuner import SearchSpace, Study
from bert_kit.tuner.report import write_report

TEXTS = {
    "empty": "", "spaces": " \t\n\r\u00a0\u3000\u2028\u2029\x85\x1c",
    "no words": "\u200d\ufeff\x00",
    "half characters": "a\ud83db \udc80 the", "whole ones in halves": "\ud83d\ude00",
    "NUL": "a\0b", "control characters": "".join(map(chr, [*range(32), *range(127, 160)])) + "the",
    "not characters": "\ufffe \uffff \U0010ffff \ufdd0", "private": "\ue000 \U000f0000",
    "right to left": "\u202eabc \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627\u202c",
    "isolates": "\u2066a\u2067b\u2069", "tags": "\U000e0041\U000e0042 the",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 "
             "\U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "a family of thousands": "\U0001f469" + "\u200d\U0001f469" * 20_000,
    "marks": "Z" + "\u0334\u0321\u0327" * 500, "width": "\uff2c\uff41 \u212b \ufb01 \u1e9b\u0323",
    "special tokens": "[CLS] [SEP] [MASK] [PAD] [UNK] ## ##s [unused0] <s> </s> <|endoftext|>",
    "special tokens in words": "a[MASK]b[SEP]c [MASK].[mask]",
    "markup": "<script>alert(1)</script> <!-- ]]> &amp; {{7*7}} ${x} %s %n {0}",
    "terminal": "\x1b]0;title\x07\x1b[31mred\x1b[2J", "formula": "=cmd|' /C calc'!A0",
    "path": "../../etc/passwd C:\\x \\\\host\\share CON", "quotes": "\"'`´\\\"\\'",
    "long word": "a" * 100_000, "long line": "the red " * 5_000, "points": "!" * 15_000,
    "no spaces between": "\u65e5" * 10_000,
}
NAMES = ["=cmd|' /C calc'!A0", "<script>alert('x')</script>", "a|b`c`\\*d*", "../../x", "CON",
         "x" * 300, "\u202egnp.exe", "$x_1$", "100%", "@SUM(1)", "{x}", "'; rm -rf ~; '", "\u65e5"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a small model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    bert = tiny_bert(folder / "bert")
    for task in (BERTForSequenceClassification, BERTForTokenClassification,
                 BERTForQuestionAnswering):
        model = load_pretrained(task, bert, report=lambda line: None)
        save_pretrained(model, folder / task.__name__, get_tokenizer(bert))
    return folder


@pytest.fixture(scope="module")
def tasks(models):
    """A classifier, a tagger, an answerer and a sentence encoder."""
    return (Predictor.load(models / "BERTForSequenceClassification", "cpu"),
            Tagger.load(models / "BERTForTokenClassification", "cpu"),
            Answerer.load(models / "BERTForQuestionAnswering", "cpu"),
            SentenceEncoder(models / "bert", pooling="mean", device="cpu"))


@pytest.mark.parametrize("name", TEXTS)
def test_every_task_takes_any_text(tasks, name):
    text, (classifier, tagger, answerer, encoder) = TEXTS[name], tasks
    alone, = classifier.probabilities([text])
    assert np.isfinite(alone).all() and alone.sum() == pytest.approx(1)
    assert np.allclose(classifier.probabilities(["the sun", text])[1], alone, atol=1e-5)
    assert len(classifier.predict([(text, text), ("the", text)])) == 2
    tagged, = tagger.tag([text])
    assert len(tagged.tags) == len(tagged.spans) and tagged.text == text
    for question, context in (("what?", text[:999]), (text[:999], "the red sun")):
        for found in answerer.answer(question, context).answers:
            assert context[found.start:found.end] == found.text
    assert np.isfinite(encoder.encode([text, "the"])).all()


@pytest.mark.parametrize("name", TEXTS)
def test_every_dataset_takes_any_text(models, name):
    """Rows fit, and no special token is in one but those that make it."""
    text, tokenizer = TEXTS[name], get_tokenizer(models / "bert")
    words = [word for word in text.split() if word.strip()][:50] or ["x"]
    datasets = [ClassificationDataset([text], [0], tokenizer, 16),
                ClassificationDataset([(text, text)], [0], tokenizer, 16),
                ClassificationDataset([text], [0], tokenizer, 16, stride=4),
                TaggingDataset([words], None, tokenizer, 16, 4),
                AnsweringDataset([Question("", "what?", text[:2_000])], tokenizer, 16, 4),
                MLMDataset([text, "the sun"], tokenizer, 16)]
    special = {tokenizer.cls_id, tokenizer.pad_id, tokenizer.mask_id}
    for dataset in datasets:
        for ids in itertools.islice(rows_of(dataset), 5):
            assert len(ids) <= 16 and ids[0] == tokenizer.cls_id
            assert special.isdisjoint(ids[1:].tolist()) or isinstance(dataset, MLMDataset)


def rows_of(dataset):
    """Yield the ids of each row, of windows and pairs too."""
    for row in range(len(dataset)):
        for part in dataset[row].get("windows", [dataset[row]]):
            yield np.asarray(part["input_ids"])


@pytest.mark.parametrize("name", TEXTS)
def test_a_tokenizer_learns_from_any_text(name):
    tokenizer = train_tokenizer([TEXTS[name], "the red sun"], 300, min_frequency=1)
    row = tokenizer.encode(TEXTS[name], max_length=99)
    assert len(row.ids) <= 99 and isinstance(tokenizer.decode(row.ids), str)
    for piece in tokenizer.tokens(range(tokenizer.vocab_size)):
        piece.encode("utf-8")


@pytest.mark.parametrize("text", ["the red " * 1_250_000, "a" * 10_000_000], ids=["words", "word"])
def test_a_line_of_ten_megabytes(tasks, text):
    with memory_of_at_most(3 * 2**30):
        assert tasks[0].predict([text])[0] in ("LABEL_0", "LABEL_1")


# ---- what is written

@pytest.fixture(scope="module")
def odd(models, tmp_path_factory):
    """A tagger and a classifier of odd labels."""
    folder = tmp_path_factory.mktemp("odd")
    odd_names = (*NAMES, "two\nlines\ttab", "\x1b[31m", "half \ud83d")
    for task in (BERTForSequenceClassification, BERTForTokenClassification):
        model = load_pretrained(task, models / "bert", num_labels=len(odd_names),
                                report=lambda line: None)
        model.config = model.config.replace(labels=odd_names)
        save_pretrained(model, folder / task.__name__, get_tokenizer(models / "bert"))
        assert BertConfig.load(folder / task.__name__).labels == odd_names
    return folder


@pytest.mark.parametrize("name", TEXTS)
def test_predictions_are_tables_that_no_spreadsheet_runs(odd, tmp_path, name):
    text = TEXTS[name]
    predict.run(predict.PredictOptions(
        model=odd / "BERTForSequenceClassification", text=[text, "the"], device="cpu",
        output_file=tmp_path / "p.csv"))
    rows = read_csv(tmp_path / "p.csv")
    assert len(rows) == 3 and len({len(row) for row in rows}) == 1
    written = text.encode("utf-8", "backslashreplace").decode()
    assert unguard(rows[1][0]) == written
    tag.run(tag.UseTaggerOptions(model=odd / "BERTForTokenClassification", text=[text, "the"],
                                 device="cpu", output_file=tmp_path / "t.csv"))
    rows += read_csv(tmp_path / "t.csv")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows
                   for cell in row)


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, strict=True))


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_to_label_is_a_table_that_no_spreadsheet_runs(tmp_path, name):
    file = LabelFile(tmp_path / "l.csv", [TEXTS[name], "the"], NAMES)
    assert file([0, 1]) is None
    rows = read_csv(tmp_path / "l.csv")
    assert [len(row) for row in rows] == [3] * 3
    assert not rows[1][2].startswith(("=", "+", "-", "@", "\t", "\r"))
    with open(tmp_path / "l.csv", "w", newline="", encoding="utf-8") as answers:
        csv.writer(answers).writerows([rows[0], [0, NAMES[0], rows[1][2]], [1, "1", rows[2][2]]])
    assert file([0, 1]) == [0, 1]


@pytest.mark.parametrize("name", TEXTS)
def test_tagged_words_are_a_line_each(odd, tmp_path, name):
    tagger = Tagger.load(odd / "BERTForTokenClassification", "cpu")
    tagged, = tagger.tag([TEXTS[name]])
    tag.run(tag.UseTaggerOptions(model=odd / "BERTForTokenClassification", device="cpu",
                                 text=[TEXTS[name], "the sun"], output_file=tmp_path / "t.conll"))
    lines = (tmp_path / "t.conll").read_text("utf-8").split("\n")
    assert len(lines) == len(tagged.tags) + 1 + 2 + 2
    assert all(line.count("\t") == 1 for line in lines if line)


@pytest.mark.parametrize("name", [name for name in TEXTS if "\0" not in TEXTS[name]])
def test_nothing_moves_the_cursor(models, odd, tmp_path, capsys, name):
    """What people read of texts has no control characters, and a line is a line."""
    text = TEXTS[name][:3_000]  # no argument of a program holds a NUL
    (tmp_path / "rows.txt").write_text(text + "\nthe sun\n", "utf-8", "ignore")
    assert main(["tag", "--model", str(odd / "BERTForTokenClassification"), "--text", text,
                 "--device", "cpu"]) == 0
    assert main(["answer", "--model", str(models / "BERTForQuestionAnswering"), "--question", text,
                 "--context", f"the {text}", "--device", "cpu"]) == 0
    assert main(["info", str(odd / "BERTForSequenceClassification")]) == 0
    code = main(["embed", "--model", str(models / "bert"), "--pooling", "mean", "--device", "cpu",
                 "--data_file", str(tmp_path / "rows.txt"), "--query", text])
    printed = capsys.readouterr()
    assert code == 0 or printed.err.count("error: ") == 1
    for line in (printed.out + printed.err).split("\n"):
        assert line.isprintable()


QUICK = {"num_epochs": 1, "max_length": 12, "device": "cpu", "precision": "float32", "verbosity": 0}


def test_a_run_with_odd_labels_leaves_only_its_own_files(models, tmp_path):
    """From CSV to the model card, the pictures and the tables, and back as data."""
    texts, labels = table(20 * len(NAMES))[0], NAMES * 20
    with open(tmp_path / "rows.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "category"), *zip(texts, labels)])
    before = {path for path in tmp_path.parent.rglob("*")}
    folder = tmp_path / "out; rm -rf ~"
    results = train_classifier("standard", models / "bert", tmp_path / "rows.csv",
                               output_dir=folder, **QUICK)
    assert results["classes"] == sorted(NAMES) == list(BertConfig.load(folder).labels)
    assert read_json(folder / "label_mapping.json")["label_to_id"].keys() == {*NAMES}
    new = {path for path in tmp_path.parent.rglob("*")} - before
    assert all(path == folder or folder in path.parents for path in new)
    assert all(re.fullmatch(r"[\w.-]+", path.name, re.ASCII) for path in new - {folder})
    assert {*read_table(folder / "test_predictions.csv", "text", "category").labels} <= {
        *NAMES, *("'" + name for name in NAMES)}
    card = (folder / "README.md").read_text("utf-8")
    line, = (line for line in card.splitlines() if line.startswith("Output: "))
    assert not re.search(r"(?<!\\)[<>`|*_\[\]]", line) and line.isprintable()
    assert "--model '" in card and "out; rm -rf ~' " in card


def test_odd_labels_in_pictures_and_pages(tmp_path):
    pytest.importorskip("matplotlib")
    names = [*NAMES, "\x00\x08\x1b[31m", "half \ud83d", "]]>", "\ufffe"]
    plot_confusion_matrix(np.eye(len(names), dtype=int), names, tmp_path / "x.svg")
    elements = list(ElementTree.parse(tmp_path / "x.svg").iter())
    assert not any(element.tag.endswith("script") for element in elements)
    assert all(value.startswith(("#", "data:image/png;")) for element in elements
               for name, value in element.items() if name.endswith("href"))
    space = SearchSpace().categorical("<b>head", names).continuous("'x\"", 0, 1)
    study = Study("<script>alert(1)</script>\n\ud83d", space)
    study.optimize(lambda trial: trial.params["'x\""], n_trials=8)
    study.tell(study.ask(), error="<img src=x onerror=alert(1)>\x1b[31m \udc80")
    write_report(study, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert {*re.findall(r"<([a-z]\w*)", page)} == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "table", "tr",
        "th", "td", "img"}
    assert set(re.findall(r"<img [^>]*src=\"([^;]*);", page)) == {"data:image/webp"}
    assert all(line.isprintable() for line in page.split("\n"))


def test_names_as_names_of_files():
    names = [*NAMES, "../" * 9 + "etc", "a/b", "nul.txt", "", ".", "..", ".hidden", "\0", "\ud83d"]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)  # no two of them are one
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}", name) for name in files)


def test_a_folder_whose_name_is_no_utf_8(models, tmp_path):
    """All of a run is written, and read again."""
    folder = Path(str(tmp_path / "caf\udce9 *x*"))
    words = " ".join(["the", "red", "sun"])
    lines = [f"{word}\t{tag}" for word, tag in zip(words.split() * 2, ["O", "B-a", "I-a"] * 2)]
    (tmp_path / "train.txt").write_text("\n\n".join(["\n".join(lines)] * 12))
    train_tagger(models / "bert", train_file=tmp_path / "train.txt", output_dir=folder,
                 plots=False, **QUICK)
    assert "---\n\n# caf \\*x\\*\n" in (folder / "README.md").read_text("utf-8")
    assert read_json(folder / "manifest.json")["settings"]["output_dir"] == str(folder)
    assert Tagger.load(folder, "cpu").tag(["the sun"])
    assert read_conll(folder / "validation_predictions.tsv").words


@pytest.mark.parametrize("job", ["train", "tune", "active", "pretrain"])
def test_no_output_goes_into_the_package(tmp_path, monkeypatch, capsys, job):
    monkeypatch.chdir(Path(bert_kit.__file__).parent)
    (tmp_path / "rows.csv").write_text("text,category\n" + "a,x\nb,y\n" * 40)
    (tmp_path / "rows.txt").write_text("\n\n".join("a text\nand more" for _ in range(9)))
    data = ["--train_file", str(tmp_path / "rows.txt")] if job == "pretrain" else [
        "--data_file", str(tmp_path / "rows.csv")]
    assert main([job, *data, "--output_dir", "runs/x", "--device", "cpu"]) == 1
    assert "lies in the package bert_kit" in capsys.readouterr().err
    assert not Path("runs").exists()
