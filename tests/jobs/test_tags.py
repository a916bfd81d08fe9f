"""Tagging: trained, resumed, scored, and put to use on texts and files by the command `tag`."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from tiny_jobs import command, finish, start, tiny_bert
from tiny_tasks import sentences, write_conll

from bert_kit import (Answerer, BertKitError, BERTForMultiLabel, BERTForSequenceClassification,
                      BERTForTokenClassification, Predictor, Tagger, get_tokenizer, load_pretrained,
                      save_pretrained, train_tagger)
from bert_kit.cli import main
from bert_kit.data import TaggingDataset, make_loader, read_conll
from bert_kit.data.samples.docstrings import Docstring
from bert_kit.evaluation import entity_metrics, format_per_type
from bert_kit.files import read_json
from bert_kit.jobs.commands import tag as command_tag
from bert_kit.jobs.commands.tag import UseTaggerOptions, marked
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.tags import (TaggedText, TagOptions, TagTask, TextEntity,
                                      commonest_tags)


def tag(model, texts=None, **options):
    return command_tag.run(UseTaggerOptions(model=model, text=texts, device="cpu", **options))


FAST = dict(learning_rate=1e-2, num_train_epochs=5, batch_size=16, precision="float32",
            device="cpu", max_length=24, plots=False)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, (name, count) in enumerate([("train", 150), ("dev", 40), ("test", 40)]):
        write_conll(folder / f"{name}.txt", count, seed)
    return folder


@pytest.fixture(scope="module")
def trained(bert, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, train_tagger(bert, data, output_dir=folder, verbosity=0, **FAST)


def test_training_learns_and_leaves_a_folder(trained, data, capsys):
    folder, results = trained
    assert results["test"]["f1"] > 0.85 > 0.2 > results["test"]["loss"]
    assert results["rows"] == {"train": 150, "validation": 40, "test": 40}
    assert results["classes"] == ["B-cold", "B-warm", "I-cold", "I-warm", "O"]
    assert json.loads((folder / "results.json").read_text())["test"] == results["test"]
    assert f"{results['test']['f1']:.4f}" in (folder / "README.md").read_text()
    log = (folder / "metrics.csv").read_text()
    assert "eval_f1" in log and "per_type" not in log
    # The file of predictions, read as any other, gives the scores; and so does the saved model.
    labels = read_conll(folder / "test_predictions.tsv", tag_column=1)
    guesses = read_conll(folder / "test_predictions.tsv", tag_column=2).tags
    test = read_conll(data / "test.txt")
    assert (labels.words, labels.tags) == (test.words, test.tags)
    scores = entity_metrics(guesses, labels.tags)
    assert {**results["test"], **scores} == results["test"]
    assert Tagger.load(folder, device="cpu").tag_words(test.words) == guesses
    assert main(["info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "BertForTokenClassification" in out and f"{results['test']['accuracy']:.4f}" in out


def test_a_run_in_two_parts_ends_in_the_same_bits(trained, bert, data, tmp_path):
    train_tagger(bert, data, output_dir=tmp_path / "cut", time_limit=1e-9, verbosity=0, **FAST)
    cut = train_tagger(bert, data, output_dir=tmp_path / "cut", resume="auto", verbosity=0, **FAST)
    assert cut["test"] == trained[1]["test"] and cut["steps"] == trained[1]["steps"]


def test_what_is_said_and_the_validation_rows_without_a_file(bert, data, tmp_path, capsys):
    """They are the last sentences of the training file."""
    results = train_tagger(bert, data / "train.txt", output_dir=tmp_path / "run",
                           **{**FAST, "val_size": 0.2, "num_train_epochs": 1})
    assert results["rows"] == {"train": 120, "validation": 30} and "test" not in results
    out = capsys.readouterr().out
    for part in ("120 train, 30 validation sentences", "commonest tag of each word (validation",
                 "precision", "use it with: python -m bert_kit tag"):
        assert part in out
    last = read_conll(data / "train.txt").words[120:]
    assert read_conll(tmp_path / "run" / "validation_predictions.tsv").words == last
    results = train_tagger(None, data / "train.txt", output_dir=tmp_path / "new", val_size=0,
                           from_scratch="bert-tiny", max_steps=1, verbosity=0)
    assert results["rows"] == {"train": 150} and results["baselines"] == {}
    assert results["learning_rate"] == 5e-4


def test_two_processes(bert, data, tmp_path):
    run = tmp_path / "run"
    first, second = finish(start(
        ["-m", "bert_kit", "train", "--task", "tagging", "--model", bert, "--data_file", data,
         "--output_dir", run, "--device", "cpu", "--precision", "float32", "--max_length", 24,
         "--batch_size", 16, "--max_steps", 6, "--plots=false"], tmp_path))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert first[1].count("use it with") == 1 and second[1] == ""
    results = read_json(run / "results.json")
    test = read_conll(data / "test.txt")
    alone = entity_metrics(Tagger.load(run, device="cpu").tag_words(test.words), test.tags)
    assert results["steps"] == 6 and {**results["test"], **alone} == results["test"]


# ---- kinds of tags

def test_entities_that_begin_with_i(bert, tmp_path, capsys):
    path = write_conll(tmp_path / "d" / "train.conll", 120, first="I-")
    strict = train_tagger(bert, tmp_path / "d", output_dir=tmp_path / "a", **FAST)
    assert "warning: train.conll has" in capsys.readouterr().out
    assert strict["validation"]["f1"] == 0 and strict["classes"] == ["I-cold", "I-warm", "O"]
    lenient = train_tagger(bert, path, output_dir=tmp_path / "b", lenient=True, **FAST)
    assert lenient["validation"]["f1"] > 0.8 and "warning" not in capsys.readouterr().out
    found, = Tagger.load(tmp_path / "b", device="cpu").tag(["the old ice"])
    assert [(entity.type, entity.text) for entity in found.entities] == [("cold", "ice")]


def test_bioes(bert, tmp_path, capsys):
    """The last word of an entity has E-, the only one S-."""
    path = write_conll(tmp_path / "train.conll", 120)
    parts = path.read_text().split("\n\n")
    for i, part in enumerate(parts):
        rows = [line.split("\t") for line in part.splitlines()]
        for (_, following), row in zip([*rows[1:], ("", "O")], rows):
            if row[1] != "O" and not following.startswith("I"):
                row[1] = row[1].replace("B-", "S-").replace("I-", "E-")
        parts[i] = "\n".join("\t".join(row) for row in rows)
    path.write_text("\n\n".join(parts))
    results = train_tagger(bert, path, output_dir=tmp_path / "run",
                           **{**FAST, "num_train_epochs": 12})
    out = capsys.readouterr().out
    assert results["classes"] == ["B-cold", "B-warm", "E-cold", "E-warm", "O", "S-cold", "S-warm"]
    assert results["validation"]["f1"] > 0.8 and "note" not in out and "warning" not in out
    tagger = Tagger.load(tmp_path / "run", device="cpu")
    found, = tagger.tag(["the old blue snow"])
    assert [(entity.type, entity.text) for entity in found.entities] == [("cold", "blue snow")]
    assert tagger.scheme == "BIOES"
    # A folder that says nothing, as those of other kits: it is guessed and told.
    extra = {key: value for key, value in tagger.config.extra.items() if "tagging" not in key}
    tagger.model.config = tagger.config.replace(extra=extra)
    tagger.save(tmp_path / "foreign")
    for name, *given in (("tag", "--text", "ice"),
                         ("evaluate", "--data_file", str(path), "--plots", "false")):
        assert main([name, "--model", str(tmp_path / "foreign"), *given]) == 0
        assert "entities; BIOES by its tags" in capsys.readouterr().err
    tagger.remember(tagging_scheme="IOB1")
    assert tagger.scheme == "IOB1"
    for damaged in (3, "BMES"):
        tagger.remember(tagging_scheme=damaged)
        with pytest.raises(BertKitError, match="tagging_scheme is .*; expected"):
            tagger.tag(["ice"])


def test_another_scheme_is_scored_word_by_word(bert, tmp_path, capsys):
    path = write_conll(tmp_path / "train.conll", 100)
    path.write_text(path.read_text().replace("I-", "M-"))
    results = train_tagger(bert, path, output_dir=tmp_path / "run", **FAST)
    assert "scored one by one (the first other tag: 'M-" in capsys.readouterr().out
    assert {*results["validation"]} == {"loss", "accuracy"}
    tag(tmp_path / "run", ["the ice"])
    assert capsys.readouterr().out == "the [ice|B-cold]\n"


def test_tags_that_only_test_rows_have(bert, data, tmp_path, capsys):
    for name in ("train", "dev", "test"):
        text = (data / f"{name}.txt").read_text()
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "test.txt").write_text(text.replace("B-warm", "B-hot").replace("I-warm", "I-hot"))
    given = {**FAST, "num_train_epochs": 2}
    plain, results = (train_tagger(bert, folder, output_dir=tmp_path / name, **given)
                      for folder, name in ((data, "a"), (tmp_path, "b")))
    assert "which count as missed: B-hot, I-hot\n" in capsys.readouterr().out
    assert results["classes"] == ["B-cold", "B-warm", "I-cold", "I-warm", "O"]
    assert results["validation"] == plain["validation"]  # no test row has a say in training
    kinds = {row["type"]: row for row in results["test"]["per_type"]}
    assert kinds["hot"]["recall"] == 0 < kinds["hot"]["support"]
    assert 0 < results["test"]["loss"] < 10 and results["test"]["recall"] < plain["test"]["recall"]
    (tmp_path / "test.txt").write_text("a X\n")
    with pytest.raises(BertKitError, match="test.txt: the tags are X; the model knows B-cold"):
        train_tagger(bert, tmp_path, output_dir=tmp_path / "c", **given)
    assert not (tmp_path / "c").exists()


def test_parts_of_speech(bert, tmp_path, capsys):
    path = tmp_path / "pos.tsv"
    path.write_text("\n".join("".join(
        f"{i}\t{'N' if tag != 'O' else 'A'}\t{word}\n" for i, (word, tag) in enumerate(rows))
        for rows in sentences(100)))
    given = dict(word_column=2, tag_column=1, **FAST)
    results = train_tagger(bert, path, output_dir=tmp_path / "run", **given)
    assert results["validation"]["accuracy"] > 0.9 and "f1" not in results["validation"]
    assert results["baselines"]["commonest tag of each word"]["accuracy"] == 1
    capsys.readouterr()
    tag(tmp_path / "run", ["old ice"])
    assert capsys.readouterr().out == "[old|A] [ice|N]\n"
    tag(tmp_path / "run", input_file=path, words=True, word_column=2, tag_column=1,
        output_file=tmp_path / "o.conll")
    accuracy = float(capsys.readouterr().out.split("accuracy ")[1].split()[0])
    assert accuracy > 0.9 and read_conll(tmp_path / "o.conll").classes == ["A", "N"]
    for bad in ({"metric": "f1"}, {"lenient": True}, {"scheme": "IOB2"}):
        with pytest.raises(BertKitError, match="no entities to score"):
            train_tagger(bert, path, output_dir=tmp_path / "other", **given, **bad)
    assert not (tmp_path / "other").exists()


def test_tags_by_heart(tmp_path):
    (tmp_path / "t").write_text("a B-x\nb O\n\na B-x\nb I-x\n\na O\nb O\nc O\n")
    train = read_conll(tmp_path / "t")
    assert commonest_tags(train, [["a", "b", "c"], ["new"]]) == [["B-x", "O", "O"], ["O"]]


@pytest.mark.parametrize("options", [
    {"class_weight": "balanced"}, {"label_smoothing": 0.2},
    {"class_weight": "balanced", "label_smoothing": 0.2}])
def test_unequal_tags_and_softer_ones(bert, data, options):
    """The weight of a tag is N / (C n), of the words and not of their pieces."""
    job = TrainingJob(TagTask(), TagOptions(model=bert, data_file=data, output_dir=None,
                                            verbosity=0, **FAST, **options))
    training = job.build(job.tokenize(job.read()))
    training.model.eval()
    batch = next(iter(training.trainer.train_loader))
    tags = [tag for row in read_conll(data / "train.txt").tags for tag in row]
    weights = [len(tags) / 5 / tags.count(name) for name in sorted({*tags})]
    if "class_weight" not in options:
        weights = [1.0] * 5
    smoothing = options.get("label_smoothing", 0.0)
    with torch.no_grad():
        logits = training.model(batch["input_ids"], batch["attention_mask"])
        got = training.trainer.loss(training.model, batch)
    losses = []
    for row, number in zip(logits.flatten(0, 1).log_softmax(-1), batch["labels"].flatten()):
        if number >= 0:
            target = (1 - smoothing) * F.one_hot(number, 5) + smoothing / 5
            losses.append(-weights[number] * (target * row).sum().item())
    assert got.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


# ---- in use

def test_tags_are_those_of_the_first_pieces(trained):
    folder, _ = trained
    model, tokenizer = load_pretrained(BERTForTokenClassification, folder), get_tokenizer(folder)
    words = ["the", "unheard", "fire", "sunsets", "snow"]
    ids, firsts = [tokenizer.cls_id], []
    for word in words:
        firsts.append(len(ids))
        ids += tokenizer.encode(word).ids[1:-1]
    with torch.inference_mode():
        logits = model(torch.tensor([[*ids, tokenizer.sep_id]]))[0]
    wanted = [model.config.labels[best] for best in logits[firsts].argmax(-1)]
    tagger = Tagger.load(folder, device="cpu")
    assert len(ids) > len(words) + 3
    assert tagger.tag_words([["the"], words, ["ice"] * 50])[1] == wanted
    long, = tagger.tag_words([["ice"] * 50])
    assert len(long) == 50
    assert len(tagger.tag(["snow" * 3000])[0].tags) == 1


def test_entities_stand_where_they_are_said_to(trained):
    tagger = Tagger.load(trained[0], device="cpu")
    texts = ["The  red\tSUN, very old!", "", " \n", "ice"]
    found = tagger.tag(texts)
    assert [tagged.text for tagged in found] == texts
    assert [len(tagged.tags) for tagged in found] == [7, 0, 0, 1]
    entity, = found[0].entities
    assert entity == TextEntity("warm", 5, 12, "red\tSUN")
    for tagged in found:
        assert all(tagged.text[e.start:e.end] == e.text for e in tagged.entities)
    words, = tagger.tag_sentences([["old", "blue", "snow"]])
    assert words.text == "old blue snow" and words.spans == [(0, 3), (4, 8), (9, 13)]
    assert words.entities == [TextEntity("cold", 4, 13, "blue snow")]
    assert tagger.tag([]) == []


def test_marks():
    text = "a\x1b[2J  b\n cc dd"
    found = [TextEntity("x", 7, 8, "b"), TextEntity("y", 10, 15, "cc dd")]
    tagged = TaggedText(text, [], [], found)
    assert marked(tagged) == "a[2J [b|x] [cc dd|y]"
    assert marked(tagged, {"x": 31, "y": 32}) == (
        "a[2J \033[1;31mb\033[0m\033[2m|x\033[0m \033[1;32mcc dd\033[0m\033[2m|y\033[0m")


def test_files_and_terminal(trained, tmp_path, capsys, monkeypatch):
    folder, texts = str(trained[0]), ["the blue snow", "old old", "=very, red"]
    (tmp_path / "t.txt").write_text("\n".join([texts[0], "", *texts[1:]]))
    start = ["tag", "--model", folder, "--device", "cpu"]
    assert main([*start, "--input_file", str(tmp_path / "t.txt"), "--output-file",
                 str(tmp_path / "o.csv")]) == 0
    assert capsys.readouterr().out == f"3 texts: {tmp_path / 'o.csv'}\n"
    with open(tmp_path / "o.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["row", "start", "end", "type", "entity"],
                    ["1", "4", "13", "cold", "blue snow"],
                    ["3", "7", "10", "warm", "red"]]
    assert main([*start, "--text", *texts, "--output_file", str(tmp_path / "o.conll")]) == 0
    again = read_conll(tmp_path / "o.conll")
    assert again.words[0] == ["the", "blue", "snow"] and again.tags[0] == ["O", "B-cold", "I-cold"]
    assert again.words[2] == ["=", "very", ",", "red"]
    capsys.readouterr()
    # Its words as they are cut there, tagged once more: the same.
    assert main([*start, "--input_file", str(tmp_path / "o.conll"), "--words", "--output_file",
                 str(tmp_path / "p.tsv")]) == 0
    # But that a spreadsheet opens a .tsv, so there the word = is no formula.
    assert (tmp_path / "p.tsv").read_text() == (tmp_path / "o.conll").read_text().replace(
        "\n=\t", "\n'\\=\t")
    assert read_conll(tmp_path / "p.tsv").words == again.words
    # The scores of a file that has the right tags too.
    test = trained[0] / "test_predictions.tsv"
    assert main([*start, "--input_file", str(test), "--words", "--tag_column", "1",
                 "--output_file", str(tmp_path / "p.tsv")]) == 0
    out, scores = capsys.readouterr().out, trained[1]["test"]
    for part in (format_per_type(scores), f"F1 {scores['f1']:.4f}", f"all {scores['recall']:.4f}",
                 f"accuracy {scores['accuracy']:.4f}"):
        assert part in out
    assert "note" not in out
    (tmp_path / "n.conll").write_text("the O\nice B-new\n")
    assert main([*start, "--input_file", str(tmp_path / "n.conll"), "--words", "--tag_column",
                 "-1"]) == 0
    out = capsys.readouterr().out
    assert "the [ice|cold]\n" in out and "count as missed: B-new" in out and "F1 0.0000" in out
    (tmp_path / "t.csv").write_text("id,body\n1,the ice\n")
    assert main([*start, "--input_file", str(tmp_path / "t.csv"), "--text_column", "body"]) == 0
    assert capsys.readouterr().out == "the [ice|cold]\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    tag(folder, ["the ice"])
    coloured = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    tag(folder, ["the ice"])
    assert "\033[1;" in coloured and capsys.readouterr().out == "the [ice|cold]\n"


# ---- what cannot be done

@pytest.mark.parametrize("arguments, message", [
    (["--text", "a", "--config", "c.toml"], "c.toml: cannot be read"),
    (["--text", "a", "--input_file", "x.txt"], "expected one of the two"),
    (["--text", "a", "--words"], "words says how"),
    (["--text", "a", "--tag_column", "1"], "word_column and tag_column are of"),
    (["--output_file", "o.csv"], "expected one of the two"),
    (["--text", "a", "--output_file", "o.pdf"], "ends in .csv, .conll, .tsv"),
    (["--input_file", "none.txt"], "none.txt: no such file"),
    (["--text", "a", "--precision", "float16"], None),
])
def test_command_lines_that_make_no_sense(trained, tmp_path, capsys, monkeypatch, arguments,
                                          message):
    monkeypatch.chdir(tmp_path)
    code = main(["tag", "--model", str(trained[0]), "--device", "cpu", *arguments])
    error = capsys.readouterr().err
    assert code == (message is not None) and error.count("error: ") == code
    assert error.count("\n") == code + error.startswith("note: ")
    assert message is None or message in error
    assert not [*tmp_path.iterdir()]


def test_without_a_model_or_with_another(bert, trained, tmp_path):
    done = command("tag", "--text", "a")
    assert done.returncode == 2 and done.stderr.startswith("error: model is missing")
    with pytest.raises(BertKitError, match="was pre-trained only; use train, to fine"):
        Tagger.load(bert)
    classes = load_pretrained(BERTForSequenceClassification, bert, report=lambda line: None)
    multi = load_pretrained(BERTForMultiLabel, bert, report=lambda line: None,
                            classifier={"type": "mlp"})
    for model in (classes, multi):
        save_pretrained(model, tmp_path / "other", get_tokenizer(bert))
        for kind in (Tagger, Answerer):
            with pytest.raises(BertKitError, match="other: is a text classifier; use predict$"):
                kind.load(tmp_path / "other")
    for kind in (Predictor, Answerer):
        with pytest.raises(BertKitError, match="run: is a tagger; use tag$"):
            kind.load(trained[0])
    tagger = Tagger.load(trained[0], device="cpu")
    tagger.remember(tagging_stride="far")
    with pytest.raises(BertKitError, match="tagging_stride is 'far'; expected int"):
        tagger.tag(["a"])


@pytest.mark.parametrize("change, message", [
    ({"data_path": None}, "expected data_file alone"),
    ({"data_path": "none"}, "none: no such file"),
    ({"val_size": 0.999}, "leaves none to train on"), ({"val_size": 1}, "val_size is 1"),
    ({"max_length": 99}, "max_length is 99; .* has 40 positions"),
    ({"num_train_epochs": 0}, "epochs is 0"),
    ({"metric": "speed"}, "metric is 'speed'"), ({"stride": 0}, "stride is 0"),
    ({"tag_column": 7}, "2 columns; expected the columns 0 and 7"),
    ({"rate": 1}, "unknown option"),
    ({"learning_rate": "often"}, "learning_rate is 'often'"), ({"model_path": "none"}, "none"),
])
def test_a_training_that_cannot_start_writes_nothing(bert, tmp_path, change, message):
    given = {"model_path": bert, "data_path": write_conll(tmp_path / "d" / "t.conll", 9),
             "output_dir": tmp_path / "run", **FAST, "val_size": 0.1, **change}
    with pytest.raises(BertKitError, match=message) as caught:
        train_tagger(**given)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_folders_without_files_to_train_on(bert, tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(BertKitError, match="no train.txt, train.conll, .* or train.json"):
        train_tagger(bert, tmp_path / "d", output_dir=tmp_path / "run", max_length=24)
    for name in ("train.txt", "train.conll"):
        (tmp_path / "d" / name).write_text("a O\n")
    with pytest.raises(BertKitError, match="expected one file for train"):
        train_tagger(bert, tmp_path / "d", output_dir=tmp_path / "run", max_length=24)
    assert not (tmp_path / "run").exists()


def script(name):
    """Return an example or benchmark as a module."""
    path = Path(__file__).resolve().parents[2] / "examples" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example(bert, tmp_path, monkeypatch, capsys):
    example = script("tag_entities.py")
    monkeypatch.setattr(example, "load_docstrings", lambda: [
        Docstring("p", f"p/{i}.py", f"The :class:`~a.Red{i}` is old. See :func:`fire{i}` or "
                  f":meth:`A.b`.\n\nNothing of this. A :py:mod:`sun` of ``:func:`x` ``.")
        for i in range(40)])
    monkeypatch.chdir(tmp_path)
    example.main(example.parse_arguments(["--model", str(bert), "--epochs", "1", "--max_length",
                                          "40", "--device", "cpu"]))
    out = capsys.readouterr().out
    assert "commonest tag of each word" in out and "BERT (test rows)" in out
    found = read_conll(tmp_path / "runs" / "tag_entities" / "data" / "train.conll")
    assert found.words[0][:4] == ["The", "Red0", "is", "old"] and "Nothing" not in str(found.words)
    assert found.tags[1] == ["O", "B-func", "O", "B-func", "O"] and "sun" not in str(found.words)


@pytest.mark.slow
def test_benchmark(bert, data, capsys):
    pytest.importorskip("transformers")
    benchmark = script("benchmarks/tagging.py")
    rows, = benchmark.main(benchmark.parse_arguments(
        ["--data", str(data), "--weights", str(bert), "--seeds", "2", "--epochs", "6",
         "--learning_rate", "1e-2", "--batch_size", "16", "--max_length", "24", "--precision",
         "float32", "--device", "cpu"])).values()
    assert all(ours > 0.8 and theirs > 0.8 for ours, theirs, _, _ in rows)
    assert "points of F1 (standard deviation " in capsys.readouterr().out
    # Its words and labels are those of the kit's own dataset, where all of a sentence fits.
    from transformers import AutoTokenizer
    test = read_conll(data / "test.txt")
    numbers = test.numbers(["B-cold", "B-warm", "I-cold", "I-warm", "O"])
    batch, _ = benchmark.encode(AutoTokenizer.from_pretrained(bert), test.words, numbers, 40)
    own, = make_loader(TaggingDataset(test.words, numbers, get_tokenizer(bert), 40), 40,
                       shuffle=False)
    assert torch.equal(batch["input_ids"], own["input_ids"])
    assert torch.equal(batch["labels"], own["labels"])
