"""Answering: trained, resumed, scored, and asked by the command `answer`."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from tiny_jobs import tiny_bert
from tiny_tasks import write_squad

from bert_kit import (Answerer, BertKitError, BERTForQuestionAnswering, get_tokenizer,
                      load_pretrained, train_answerer)
from bert_kit.cli import main
from bert_kit.data import read_squad
from bert_kit.data.samples.docstrings import Docstring
from bert_kit.evaluation import answer_metrics, best_null_threshold
from bert_kit.files import read_json

FAST = dict(learning_rate=1e-2, num_train_epochs=5, batch_size=16, precision="float32",
            device="cpu", max_length=32, stride=8, longest_answer=3, plots=False)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module", params=[False, True], ids=["v1", "v2"])
def trained(request, bert, tmp_path_factory):
    """Folder of the data, of the run, results and whether questions may have no answer."""
    folder = tmp_path_factory.mktemp("answers")
    for seed, (name, count) in enumerate([("train", 100), ("dev", 24), ("test", 24)]):
        write_squad(folder / "data" / f"{name}.json", count, seed, request.param)
    results = train_answerer(bert, folder / "data", output_dir=folder / "run", verbosity=0, **FAST)
    return folder, results, request.param


def test_training_learns_and_leaves_a_folder(trained, capsys):
    folder, results, impossible = trained
    run = folder / "run"
    assert results["test"]["f1"] > 0.8 and results["rows"]["train"] == 200
    assert json.loads((run / "results.json").read_text())["test"] == results["test"]
    assert f"{results['test']['f1']:.4f}" in (run / "README.md").read_text()
    guesses = json.loads((run / "test_predictions.json").read_text())
    test = read_squad(folder / "data" / "test.json")
    answers = {question.id: [text for text, _ in question.answers] for question in test}
    assert answer_metrics(guesses, answers) == results["test"]
    assert ("no_answer_f1" in results["test"]) == impossible
    assert ("" in guesses.values()) == impossible == (results["null_threshold"] is not None)
    # The saved model says the same, with no word about lengths, strides and thresholds.
    answerer = Answerer.load(run, device="cpu")
    assert (answerer.max_length, answerer.null_threshold) == (32, results["null_threshold"])
    best = answerer.answers(answerer.dataset(test))
    assert {question.id: answerer.decide(nbest) for question, nbest in zip(test, best)} == guesses
    assert main(["info", str(run)]) == 0
    assert f"exact match {results['test']['exact_match']:.4f}" in capsys.readouterr().out


def test_the_threshold_is_that_of_the_validation_questions(trained):
    folder, results, impossible = trained
    if not impossible:
        assert results["null_threshold"] is None
        return
    dev = read_squad(folder / "data" / "dev.json")
    answerer = Answerer.load(folder / "run", device="cpu")
    best = dict(zip([q.id for q in dev], answerer.answers(answerer.dataset(dev))))
    threshold, score = best_null_threshold(
        {number: nbest.null_odds for number, nbest in best.items()},
        {number: nbest.text for number, nbest in best.items()},
        {q.id: [text for text, _ in q.answers] for q in dev})
    assert results["null_threshold"] == threshold
    assert results["validation"]["f1"] == pytest.approx(score)


def test_answers_are_the_best_spans_of_all_windows(trained):
    """Beside a search through every span of every window, written out."""
    folder, _, impossible = trained
    answerer, tokenizer = Answerer.load(folder / "run", device="cpu"), get_tokenizer(folder / "run")
    model = load_pretrained(BERTForQuestionAnswering, folder / "run")
    question, context = "a thing", "the old very new " * 12 + "orange small " + "the snow of " * 9
    q, = tokenizer.encode_pieces([question])
    c, = tokenizer.encode_pieces([context], with_offsets=True)
    room, found, nulls = 32 - 3 - len(q.ids), {}, []
    starts = [*range(0, len(c.ids) - room, 8), len(c.ids) - room]
    for start in starts:
        ids = [tokenizer.cls_id, *q.ids, tokenizer.sep_id, *c.ids[start:start + room],
               tokenizer.sep_id]
        types = torch.tensor([[0] * (len(q.ids) + 2) + [1] * (room + 1)])
        with torch.inference_mode():
            logits = model(torch.tensor([ids]), None, types)[0].double()
        nulls.append(float(logits[0].sum()))
        for first in range(room):
            for last in range(first, min(first + 3, room)):
                text = context[c.offsets[start + first][0]:c.offsets[start + last][1]]
                score = float(logits[len(q.ids) + 2 + first, 0] + logits[len(q.ids) + 2 + last, 1])
                found[text] = max(found.get(text, -1e9), score)
    if impossible:
        found[""] = min(nulls)
    best = answerer.answer(question, context, count=4)
    wanted = sorted(found.items(), key=lambda item: -item[1])[:4]
    assert len(starts) > 3 and [answer.text for answer in best.answers] == [t for t, _ in wanted]
    assert [a.score for a in best.answers] == pytest.approx([s for _, s in wanted], abs=1e-4)
    assert best.null_score == pytest.approx(min(nulls), abs=1e-4)
    assert best.text == "orange"


def test_a_run_in_two_parts_ends_in_the_same_bits(trained, bert, tmp_path):
    folder, results, _ = trained
    given = dict(output_dir=tmp_path / "cut", verbosity=0, **FAST)
    train_answerer(bert, folder / "data", time_limit=1e-9, **given)
    cut = train_answerer(bert, folder / "data", resume="auto", **given)
    assert cut["test"] == results["test"] and cut["null_threshold"] == results["null_threshold"]


def test_validation_questions_without_a_file(bert, tmp_path, capsys):
    """Paragraphs stay whole: the nearest edge to the share is taken."""
    path = write_squad(tmp_path / "d.json", 15)
    results = train_answerer(bert, path, output_dir=tmp_path / "run", val_size=0.3,
                             **{**FAST, "max_steps": 1})
    assert results["rows"] == {"train": 20, "validation": 10}
    assert "20 train, 10 validation questions\n" in capsys.readouterr().out
    guesses = json.loads((tmp_path / "run" / "validation_predictions.json").read_text())
    assert list(guesses) == [question.id for question in read_squad(path)][20:]


# ---- as a user runs it

def test_command_line(trained, capsys, tmp_path):
    folder, results, impossible = trained
    start = ["answer", "--model", str(folder / "run"), "--device", "cpu", "--question"]
    context = "the old orange small thing"
    assert main([*start, "a thing", "--context", context, "--n-best", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "orange" and lines[3].endswith("  orange") and len(lines) == 8
    rule = f"above {results['null_threshold']:.2f}" if impossible else "it always answers"
    assert lines[-1].startswith("no answer: score ") and rule in lines[-1]
    if impossible:
        assert main([*start, "thing of", "--context", "the old snow very small 7"]) == 0
        assert capsys.readouterr().out.startswith("(no answer)\n")
    data = write_squad(tmp_path / "d.json", 9, 0, impossible)
    assert main(["answer", "--model", str(folder / "run"), "--data_file", str(data), "--max-length",
                 "32", "--max_steps", "1", "--output_dir", str(tmp_path / "run"), "--device",
                 "cpu"]) == 0
    out, error = capsys.readouterr()
    assert "exact match" in out and "newly initialised" not in out  # goes on from its own head
    assert error == ("note: answer only uses models; to train one: bert-kit train --task "
                     "answering\n")


def test_questions_of_a_file(trained, capsys, tmp_path):
    folder, results, impossible = trained
    path, out = folder / "data" / "test.json", tmp_path / "p.json"
    start = ["answer", "--model", str(folder / "run"), "--device", "cpu", "--input_file"]
    assert main([*start, str(path), "--output_file", str(out)]) == 0
    assert read_json(out) == read_json(folder / "run" / "test_predictions.json")
    said = capsys.readouterr().out
    for key in [f"{kind}{name}" for kind in ("", *["has_answer_", "no_answer_"] * impossible)
                for name in ("exact_match", "f1")]:
        assert f"{results['test'][key]:.4f}" in said
    bare = json.loads(path.read_text())
    for entry in (entry for article in bare["data"] for paragraph in article["paragraphs"]
                  for entry in paragraph["qas"]):
        entry.pop("answers"), entry.pop("is_impossible", None)
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    again = ["--output_file", str(tmp_path / "q.json")]
    assert main([*start, str(tmp_path / "bare.json"), *again]) == 0
    said = capsys.readouterr().out
    assert said == f"{results['rows']['test']} answers: {tmp_path / 'q.json'}\n"
    assert (tmp_path / "q.json").read_text() == out.read_text()
    for more, message in (([], "nothing to score"), (["--n_best", "2"], "for a single question"),
                          (["--output_file", str(tmp_path / "bare.json")], "is the file to read"),
                          (["--question", "a"], "question is for a single")):
        assert main([*start, str(tmp_path / "bare.json"), *more]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    (["--output_file", "p.json"], "input_file is missing"),
    (["--question", "a"], "context is missing"), (["--context", "a"], "question is missing"),
    (["--question", "a", "--context", "b", "--n_best", "0"], "n_best is 0"),
    (["--question", "a", "--context", "b", "--model", "none"], "none"),
])
def test_command_lines_that_make_no_sense(bert, capsys, arguments, message):
    assert main(["answer", "--model", str(bert), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 + error.startswith("note: ")


@pytest.mark.parametrize("change, message", [
    ({"data_path": "none.json"}, "none.json: no such file"), ({"max_length": 4}, "at least 5"),
    ({"stride": 0}, "stride is 0"), ({"longest_answer": 0}, "longest_answer is 0"),
    ({"val_size": 0.99}, "leaves none to train on"), ({"metric": "loss"}, "metric is 'loss'"),
    ({"max_length": 100}, "has 40 positions"),
])
def test_a_training_that_cannot_start_writes_nothing(bert, tmp_path, change, message):
    given = {"model_path": bert, "data_path": write_squad(tmp_path / "d" / "s.json", 5),
             "output_dir": tmp_path / "run", **FAST, **change}
    with pytest.raises(BertKitError, match=message) as caught:
        train_answerer(**given)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_data_that_teaches_nothing(bert, tmp_path):
    path = write_squad(tmp_path / "one.json", 1)
    with pytest.raises(BertKitError, match="one paragraph"):
        train_answerer(bert, path, output_dir=tmp_path / "run", **{**FAST, "val_size": 0.5})
    path = write_squad(tmp_path / "none.json", 1, impossible=True)
    with pytest.raises(BertKitError, match="no question to train on has an answer"):
        train_answerer(bert, path, output_dir=tmp_path / "run", **{**FAST, "val_size": 0})
    assert not (tmp_path / "run").exists()
    with pytest.raises(BertKitError, match="was pre-trained only; use train, to fine"):
        Answerer.load(bert)


def test_a_context_without_a_word(trained):
    best = Answerer.load(trained[0] / "run", device="cpu").answer("a thing", " ")
    assert best.text == "" and best.null_odds == float("inf")


def test_example(bert, tmp_path, monkeypatch, capsys):
    path = Path(__file__).resolve().parents[2] / "examples" / "answer_questions.py"
    spec = importlib.util.spec_from_file_location("answer_questions", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    text = ("Do.\n\nParameters\n----------\n"
            "red : sun, old\n    The\n    fire. A.\n\nblue : ice\n    B")
    monkeypatch.setattr(example, "load_docstrings", lambda: [
        Docstring("p", f"p/{i}.py", f"{text} {i}") for i in range(20)])
    first = example.questions_about(text, 3)
    assert [(entry["question"], entry["answers"][0]["text"]) for entry in first] == [
        ("What type is red?", "sun, old"), ("What does red mean?", "The\n    fire"),
        ("What type is blue?", "ice"), ("What does blue mean?", "B")]
    monkeypatch.chdir(tmp_path)
    example.main(example.parse_arguments(["--model", str(bert), "--questions", "60", "--epochs",
                                          "1", "--max_length", "40", "--device", "cpu"]))
    out = capsys.readouterr().out
    assert "exact match" in out and "BERT (test rows)" in out and "(it always answers)" in out
