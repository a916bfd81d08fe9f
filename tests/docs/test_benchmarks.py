"""The benchmarks: what they count and compare is right, and each runs through on a small scale."""

import contextlib
import csv
import importlib
import io
import json
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_jobs import tiny_bert, write_table

from bert_kit import (BERTForMaskedLM, BertConfig, SentenceEncoder, get_tokenizer,
                      load_pretrained, save_pretrained)
from bert_kit.model import encoder_without_pooler
from bert_kit.weights import SentenceLayout, save_sentence_folder

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Return the module of a benchmark by name, as Python finds it beside a script."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def folder(tmp_path):
    """A model with odd sizes and BERT's own vocabulary size, which random ids are drawn from."""
    model = BERTForMaskedLM(BertConfig(hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
                                       intermediate_size=56))
    save_pretrained(model, tmp_path / "model")
    return str(tmp_path / "model")


def run(module, *arguments):
    """Run a benchmark in this process; return the figures of its --json."""
    path = Path(arguments[-1]).resolve()
    module.main(module.parse_arguments([*map(str, arguments[:-1]), "--json", str(path)]))
    return json.loads(path.read_text())


def test_sides_take_turns_and_begin_in_turn(benchmark):
    pairs, order = benchmark("pairs"), []
    counts = iter(range(100))

    def measure(side):
        order.append(side)
        return next(counts)

    found = pairs.take_turns({"a": "A", "b": "B", "c": "C"}, 3, warm_up=1, measure=measure)
    assert "".join(order) == "ABC" "BCA" "CAB" "ABC"
    assert found == {"a": [5, 7, 9], "b": [3, 8, 10], "c": [4, 6, 11]}
    assert pairs.ratios([2, 9], [4, 3]) == [0.5, 3]
    assert pairs.least(found, ["b", "a"]) == "a"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_are_those_of_the_formula(benchmark, folder, precision):
    sides, products = benchmark("sides"), benchmark("products")
    batch = sides.random_batch(5, 16)
    tokens, width, inner, layers = 5 * 16, 24, 56, 3
    body = layers * tokens * (4 * width**2 + 2 * width * inner + 2 * 16 * width)
    hidden = 32  # the kit fills the masked tokens up to a multiple of this
    few = torch.where(torch.arange(tokens).view(5, 16) < hidden, batch["input_ids"], -100)
    head = {"forward": 5 * width * (width + 2), "classification": 5 * width * (width + 2),
            "mlm": hidden * width * (width + 30_522)}
    for work in head:
        with benchmark("pairs").quiet():
            step = sides.our_step(folder, work, precision)
        labelled = batch | {"labels": few} if work == "mlm" else sides.with_labels(batch, work)
        found = products.products_of(lambda: step(labelled))
        passes = 1 if work == "forward" else 3  # backward has two products for each one
        assert products.multiplications(found) == passes * (body + head[work]), work
        types = {dtype for product in found for _, _, dtype in product}
        assert types == {getattr(torch, precision)}
        products.products_alone(found)()


@pytest.mark.parametrize("precision, filled, tolerance", [
    ("float32", 1.0, 1e-5), ("float32", 0.57, 1e-5), ("bfloat16", 0.57, 0.05)])
def test_torch_encoder_is_the_same_function(benchmark, folder, precision, filled, tolerance):
    sides = benchmark("sides")
    with benchmark("pairs").quiet():
        steps = {name: sides.encoder_step(folder, precision, name)
                 for name in ("ours", "TransformerEncoder")}
    batch = sides.random_batch(7, 33, filled)
    assert batch["attention_mask"].float().mean() == pytest.approx(filled, abs=0.01)
    ours, theirs = steps["ours"](batch).last_hidden_state, steps["TransformerEncoder"](batch)
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[real], theirs[real], atol=tolerance, rtol=0)


class SideHere:
    """A `Side` in this process; `test_levers` has real ones."""

    def __init__(self, make):
        with importlib.import_module("pairs").quiet():
            self.step = make()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def seconds(self, batches):
        begun = time.perf_counter()
        for batch in batches:
            self.step(batch)
        return time.perf_counter() - begun


def test_speed(benchmark, folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(benchmark("speed"), "Side", SideHere)
    (tmp_path / "data" / "names").mkdir(parents=True)
    write_table(tmp_path / "data" / "names" / "train.csv", count=40)
    figures = run(benchmark("speed"), "--model", folder, "--pairs", 2, "--precision", "float32",
                  "--rows", "names", "--data", tmp_path / "data", "--batches", 2,
                  "--work", "encoder", "mlm", tmp_path / "figures")
    assert [figure["work"] for figure in figures] == ["encoder", "mlm"]
    assert [figure["against"] == "TransformerEncoder" for figure in figures] == [1, 0]
    for figure in figures:
        assert len(figure["ratios"]) == len(figure["of_rate"]) == 2
        assert figure["ours_ms"] > 0 and 0.2 < figure["filled"] < 0.9
        assert all(share > 0 for share in figure["of_rate"])
    assert capsys.readouterr().out.count("\n") == 4


def test_layouts_are_those_of_the_library(benchmark):
    """Random or sorted in stretches of 50 batches; padded to a length or to the batch's longest."""
    from bert_kit import ClassificationDataset, train_tokenizer
    speed = benchmark("speed")
    texts = ["a b c d e f g"[:1 + 2 * (n * 5 % 7)] for n in range(50 * speed.ROWS)]
    args = speed.parse_arguments(["--max_length", "12", "--batches", "7"])
    dataset = ClassificationDataset(texts, [0] * len(texts), train_tokenizer(texts), 12)
    fixed, longest, grouped = (speed.laid_out(dataset, layout, args)
                               for layout in ("fixed", "longest", "grouped"))
    assert [len(batches) for batches in (fixed, longest, grouped)] == [7, 7, 7]
    widths = [[batch["input_ids"].shape[1] for batch in found] for found in (
        fixed, longest, grouped)]
    assert widths[0] == [12] * 7 and set(widths[1]) == {9}  # seven words, [CLS] and [SEP]
    assert widths[2] == sorted(widths[2], reverse=True) and widths[2][0] == 9 > widths[2][-1]
    for wide, narrow in zip(fixed, longest):
        assert torch.equal(wide["input_ids"][:, :9], narrow["input_ids"])
        assert not wide["attention_mask"][:, 9:].any()


def test_tables_know_the_commands(benchmark):
    tables = benchmark("tables")
    for arguments in (["--data", "X"], ["--data", "X", "--quick"]):
        args = tables.parse_arguments(arguments)
        for minutes, text in tables.COMMANDS.values():
            script, *words = tables.command_of(text, args)
            parsed = benchmark(script.removesuffix(".py")).parse_arguments(words)
            assert minutes > 0 and parsed.json is None
    assert tables.markdown([{"work": "mlm", "ratios": [2.0, 1.0, 4.0]},
                            {"work": "b", "of": {"ms": 9.0}}]).splitlines() == [
        "| work | ratios | of ms |", "|---|---|---|", "| mlm | 2 (1–4) | |", "| b | | 9 |"]


def test_tables_keep_what_works(benchmark, tmp_path, monkeypatch, capsys):
    tables = benchmark("tables")
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    (tmp_path / "good.py").write_text(
        "import json, sys; json.dump([{'ms': 1.5}], open(sys.argv[-1], 'w'))")
    (tmp_path / "bad.py").write_text("raise SystemExit('no such data')")
    monkeypatch.setattr(tables, "COMMANDS", {"B": (1, "bad.py"), "A": (2, "good.py {data}")})
    path = tmp_path / "t.md"
    assert tables.main(tables.parse_arguments(["--data", "D", "--output_file", str(path)])) == 1
    text = path.read_text()
    assert "no such data" in text and "| ms |\n|---|\n| 1.5 |" in text and "good.py D`" in text
    assert capsys.readouterr().out.splitlines()[0] == "2 commands, about 3 minutes"


@pytest.mark.slow
def test_levers(benchmark, folder, tmp_path, capsys):
    levers = benchmark("levers")
    found = run(levers, "--model", folder, "--pairs", 1, "--batches", 1, "--work", "mlm",
                "--precision", "float32", "--levers", "fused AdamW", tmp_path / "figures")
    assert [figure["lever"] for figure in found] == ["fused AdamW"] and found[0]["ratios"][0] > 0
    assert capsys.readouterr().out.count("\n") == 3


def test_memory(benchmark, folder, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    memory = benchmark("memory")
    monkeypatch.setattr(memory, "JOBS", {"small": ("mlm", 8, 64, ())})
    monkeypatch.setattr(memory, "run_alone", lambda file, flag, text: (
        0.0, f"loading\n{json.dumps(memory.measure(*json.loads(text)))}\n"))
    figure, = run(memory, "--model", folder, "--precision", "float32", "--pairs", 1,
                  tmp_path / "figures")
    whole, above, of_step = (figure[state]["ours_mb"] for state in memory.STATES)
    assert whole > above >= of_step > 0
    # 8 x 64 x 30,522 float32 numbers, a few times over, which the kit does without.
    assert figure["of_step"]["theirs_mb"] > 60 + of_step


def test_whole_job(benchmark, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    whole_job, trainer_job = benchmark("whole_job"), benchmark("trainer_job")

    def in_process(*command):
        output, command, start = io.StringIO(), list(map(str, command)), time.perf_counter()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            if command[0] == str(whole_job.THEIRS):
                trainer_job.main(trainer_job.parse_arguments(command[1:]))
            else:
                whole_job.timed_job(time.time(), [*command[command.index("train"):],
                                                  "--plots=false"])
        return time.perf_counter() - start, output.getvalue()

    monkeypatch.setattr(whole_job, "run_alone", in_process)
    files = [write_table(tmp_path / f"{name}.csv", seed=seed)
             for seed, name in enumerate(("train", "dev", "test"))]
    figure, = run(whole_job, "--model", tiny_bert(tmp_path / "bert"), "--seeds", 1, "--epochs", 9,
                  "--train_file", files[0], "--validation_file", files[1], "--test_file", files[2],
                  "--max_length", 20, "--learning_rate", 1e-2, "--precision", "float32",
                  tmp_path / "figures")
    assert figure["ratios"] == [figure["theirs_s"][0] / figure["ours_s"][0]]
    assert figure["ours_accuracy"][0] > 0.6 and figure["theirs_accuracy"][0] > 0.6
    assert figure["parts_s"]["optimizer steps"] > 0 and figure["parts_s"]["evaluation"] > 0
    assert set(figure["parts_s"]) == {"start, imports", *whole_job.PARTS, "the rest"}


@pytest.mark.slow
def test_scaling(benchmark, folder, tmp_path, monkeypatch, capsys):
    scaling = benchmark("scaling")
    monkeypatch.setattr(scaling, "ROWS", 4)
    monkeypatch.setattr(scaling, "LENGTH", 24)
    monkeypatch.setattr(scaling, "IMPORTS", {"torch": "import json", "other": "import csv"})
    found = run(scaling, "--model", folder, "--pairs", 1, "--rows", 2, 4, "--lengths", 8, 16, 24,
                "--tokens", 48, "--batches", 2, tmp_path / "figures")["tables"]
    assert [len(times) for times in found["rows"]["forward"]] == [1, 1]
    assert len(found["lengths"]["classification"]) == 3
    assert set(found["imports"]) == {"torch", "other"}
    assert all(value > 0 for values in found["data"].values() for value in (
        values if isinstance(values, list) else [values]))
    assert capsys.readouterr().out.count("µs") == 2 * (2 + 2 * 3)


@pytest.mark.slow
def test_embedding(benchmark, minilm, tmp_path):
    pytest.importorskip("sentence_transformers")
    with open(tmp_path / "rows.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text"], *([f"{'a longer text ' * i}{i}"]
                                                for i in range(1, 40))])
    figure, = run(benchmark("embedding"), "--data_file", tmp_path / "rows.csv", "--pairs", 1,
                  "--max_length", 64, "--precision", "float32", tmp_path / "figures")
    assert figure["texts"] == 39 and figure["difference"] < 1e-5


def test_fine_tuning(benchmark, tmp_path, monkeypatch, capsys):
    """Both sides learn the same rows, and begin in turn."""
    pytest.importorskip("transformers")
    fine_tuning, order = benchmark("fine_tuning"), []

    def noted(side):
        def run_side(*arguments):
            order.append(side.__name__)
            return side(*arguments)
        return run_side
    for name in ("kit", "plain"):
        monkeypatch.setattr(fine_tuning, name, noted(getattr(fine_tuning, name)))
    for seed, name in enumerate(("train", "test")):
        write_table(tmp_path / f"{name}.csv", seed=seed)
    monkeypatch.setattr(fine_tuning, "RATE", 1e-2)
    monkeypatch.setattr(fine_tuning, "EPOCHS", 9)
    monkeypatch.setattr("sys.argv", [
        "fine_tuning.py", "--weights", str(tiny_bert(tmp_path / "bert")), "--data_file",
        str(tmp_path), "--max_length", "20", "--seeds", "2", "--precision", "float32"])
    fine_tuning.main()
    assert order == ["kit", "plain", "plain", "kit"]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert all(float(accuracy) > 0.5 for row in rows for accuracy in row[1:3])


@pytest.mark.parametrize("seeds, spread", [(1, ""), (2, " ± 0.071")])
def test_pretraining_gain(benchmark, monkeypatch, capsys, seeds, spread):
    gain = benchmark("pretraining_gain")
    monkeypatch.setattr(gain, "accuracy", lambda weights, per_class, epochs, rate, seed: (
        0.5 + 0.25 * (weights is not None) + 0.1 * seed))
    gain.main(Namespace(weights="w", seeds=seeds, epochs=[4, 3, 2, 1], learning_rate=1e-3))
    lines = capsys.readouterr().out.splitlines()
    first, second = (0.5, 0.75) if seeds == 1 else (0.55, 0.8)
    assert lines[2] == f"| 50 | {first:.3f}{spread} | {second:.3f}{spread} | +0.250 |"
    assert len(lines) == 6 and lines[-1].startswith("| all |")


def test_bare_pairs(benchmark, tmp_path):
    """Two texts of a class a pair; the one document of each class is to be found."""
    bare, encoder = benchmark("bare_pairs"), tmp_path / "encoder"
    bert = tiny_bert(tmp_path / "bert")
    save_sentence_folder(load_pretrained(encoder_without_pooler, bert), encoder,
                         get_tokenizer(bert), SentenceLayout(("mean",), True))
    (tmp_path / "data").mkdir()
    for seed, part in enumerate(("train", "test")):
        write_table(tmp_path / "data" / f"{part}.csv", 60, seed)
    figures = run(bare, "--model", encoder, "--data", tmp_path / "data", "--pairs", 20,
                  "--batch_size", 8, "--queries", 30, "--max_length", 20, "--ours_only",
                  tmp_path / "x.json")
    assert [*figures] == ["TF-IDF", "before", "bert_kit, 3 steps"]
    rng = np.random.default_rng(0)
    train, test = (bare.by_class(tmp_path / "data" / f"{part}.csv", rng)
                   for part in ("train", "test"))
    pairs, queries = bare.make_pairs(train, 20, rng), bare.make_queries(test, 30, rng)
    assert len({*sum(pairs, ())}) == 40 and len(queries) == 30
    assert all(any({*pair} <= {*texts} for texts in train.values()) for pair in pairs)
    documents = [texts[0] for texts in test.values()]
    model = SentenceEncoder(encoder, device="cpu")
    near = (model.encode([text for text, _ in queries]) @ model.encode(documents).T).argmax(1)
    assert figures["before"]["recall@1"] == pytest.approx(np.mean(
        [documents[place] == right for place, (_, right) in zip(near, queries)]))


def test_soak_measures_memory_and_open_files(benchmark, tmp_path):
    """A file left open in each trial would show; so would a list that grows with predictions."""
    figures = run(benchmark("soak"), "--trials", 10, "--predictions", 20, tmp_path / "x.json")
    assert set(figures) == {"trials", "predictions"}
    assert all(0.5 < part["memory"] < 2 and part["files"] <= 1 for part in figures.values())


@pytest.mark.slow
def test_intervals(benchmark, capsys):
    intervals = benchmark("intervals")
    figures = intervals.main(intervals.parse_arguments([
        "--repeats", "40", "--samples", "100", "--most_classes", "6"]))
    assert len(capsys.readouterr().out.splitlines()) == 3 + len(figures) == 3 + 10
    name, rows, (within, now) = figures[0]
    assert (name, rows) == ("one answer for all, 2 classes", 100)
    assert (within[:, 1] == 0).all() and (within[:, 0] < 0.5).all()  # no width, seldom right
    assert (now[:, 1] > 0.05).all() and (now[:, 0] > within[:, 0] + 0.5).all()
