"""The GPU's benchmark without a GPU: what it counts, a rehearsal of its sections, its failures."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, BertConfig,
                      compute_classification_loss, compute_mlm_loss)

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu")


@pytest.mark.parametrize("work", ["mlm", "classification"])
def test_operations_are_those_that_torch_counts(gpu, work):
    config = BertConfig(vocab_size=997, hidden_size=60, num_hidden_layers=3, num_attention_heads=5,
                        intermediate_size=112, fused=False)
    task, loss = {"mlm": (BERTForMaskedLM, compute_mlm_loss), "classification": (
        BERTForSequenceClassification, compute_classification_loss)}[work]
    with torch.device("meta"):
        model = task(config)
        ids = torch.zeros(7, 13, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            if work == "mlm":
                logits = model(ids, positions=torch.zeros(17, dtype=torch.int64))
            else:
                logits = model(ids)
            assert logits.shape == ((17, 997) if work == "mlm" else (7, 2))
            logits.sum().backward()
    assert counter.get_total_flops() == gpu.operations(config, [13] * 7, work, masked=17)


def test_padding_and_unmasked_tokens_count_nothing(gpu):
    config = BertConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=56, vocab_size=100)
    both, first, second = (gpu.operations(config, lengths, "mlm", 0)
                           for lengths in ([5, 9], [5], [9]))
    assert both == first + second
    head = gpu.operations(config, [5], "mlm", 4) - first
    assert head == 3 * 2 * 4 * 24 * (24 + 100)


def test_the_peak_is_the_data_sheets_or_the_one_given(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L40S")
    args = gpu.parse_arguments([])
    assert gpu.peak_rate(args, "bfloat16") == (362, "data sheet of L40S")
    assert gpu.peak_rate(args, "float32")[0] == 91.6
    args.peak_tflops = 200.0
    assert gpu.peak_rate(args, "bfloat16") == (200.0, "--peak_tflops")
    assert gpu.peak_rate(args, "float32")[0] == 91.6


def test_packed_attention_has_the_kernels_shapes(gpu):
    """torch's own kernel for packed rows runs on a GPU only; its shapes can be asked for here."""
    pytest.importorskip("torch.nn.attention.varlen")
    with torch.device("meta"):
        qkv, ends = torch.empty(16, 3 * 64, dtype=torch.bfloat16), torch.tensor([0, 2, 7, 16])
        assert gpu.packed_ways(2, 16, 9, ends)["varlen"](qkv).shape == (16, 64)


def run(gpu, folder, *arguments):
    """Run sections in this process; return the exit status."""
    given = ["--device=cpu", "--quick", f"--output_folder={folder}", *arguments]
    return gpu.main(gpu.parse_arguments(given), given)


def in_process(gpu, name, given, seconds):
    """Stand in for `run_apart`."""
    return not gpu.main(gpu.parse_arguments([*given, f"--alone={name}"]))


@pytest.mark.filterwarnings("ignore")  # of nested tensors, and flex attention that is not compiled
@pytest.mark.slow
def test_a_rehearsal_of_every_section(gpu, tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    monkeypatch.setattr(gpu, "run_apart", lambda name, given, seconds: in_process(
        gpu, name, given, seconds))
    compiled = gpu.their_step
    monkeypatch.setattr(gpu, "their_step", lambda folder, work, precision, side, **how: compiled(
        folder, work, precision, side.replace("compiled", "sdpa"), **how))  # compiling takes long
    sections = ["steps", "attention", "graphs", "loop", "compiled"]
    assert run(gpu, tmp_path, "--sections", *sections) == 0
    found = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in sections}
    assert {row["side"] for row in found["steps"]} == {"ours", "sdpa", "eager"}
    assert {row["side"] for row in found["compiled"]} == {"compiled"}
    for row in found["steps"] + found["compiled"]:
        assert row["tokens/s"] > 0 and 0 < row["MFU"] < 5
    assert {row["way"] for row in found["attention"]} == {"masked call", "nested", "flex"}
    assert all(row["difference"] < 0.02 for row in found["attention"])
    assert {row["side"] for row in found["graphs"]} == {"kit", "16-bit weights", "transformers"}
    assert {row["side"] for row in found["loop"]} == {"bare steps", "Trainer"}
    assert capsys.readouterr().out.endswith(f"failed: nothing; figures in {tmp_path}\n")


def test_processes_share_a_step(gpu):
    together, alone = gpu.shared_step("cpu")  # here the only process
    assert together == alone and alone[-1] < alone[0]


def test_what_fails_is_named_and_the_rest_goes_on(gpu, tmp_path, monkeypatch, capsys):
    def broken(args):
        table = gpu.Table(args.path, "side", "ms")
        table.add(lambda: {"ms": 1.0}, side="first")
        table.add(lambda: {"ms": 1 / 0}, side="second")
        table.add(lambda: {"ms": 3.0}, side="third")
        return table

    monkeypatch.setattr(gpu, "run_apart", lambda name, given, seconds: in_process(
        gpu, name, given, seconds))
    monkeypatch.setitem(gpu.RUN, "steps", broken)
    monkeypatch.setitem(gpu.RUN, "loop", lambda args: gpu.Table(args.path, "side"))
    assert run(gpu, tmp_path, "--sections", "steps", "loop") == 1
    rows = json.loads((tmp_path / "steps.json").read_text())
    assert [row.get("ms") for row in rows] == [1.0, None, 3.0]
    assert rows[1]["failed"] == "ZeroDivisionError: division by zero"
    lines = capsys.readouterr().out.splitlines()
    assert "loop" in lines and lines[-1] == f"failed: steps; figures in {tmp_path}"


def test_a_section_that_hangs_is_stopped(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "__file__", str(tmp_path / "endless.py"))
    (tmp_path / "endless.py").write_text("while True:\n    pass\n")
    assert not gpu.run_apart("steps", [], 0.5)
    assert capsys.readouterr().out.startswith("steps: stopped after 0 s")


def test_without_a_gpu_it_says_what_can_be_done(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(gpu.parse_arguments([])) == 1
    assert "--device cpu --quick" in capsys.readouterr().out
