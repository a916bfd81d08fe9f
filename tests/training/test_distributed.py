"""Two processes on one machine, by gloo, beside one process that does the same."""

import shutil
import time
from pathlib import Path

import pytest
import torch
from tiny_jobs import finish, start, tiny_bert, write_table
import warm_processes
from tiny_runs import assert_same_bits

import run_together
from bert_kit import BertConfig, TrainingError, train_classifier
from bert_kit.files import read_json
from bert_kit.training import ALONE, join_processes
from bert_kit.weights import read_safetensors

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(),
                                reason="this torch has no torch.distributed")
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    write_table(folder / "rows.csv", 150)
    tiny_bert(folder / "dropout")
    shutil.copytree(folder / "dropout", folder / "bert")
    BertConfig.load(folder / "bert").replace(
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).save(folder / "bert")
    train_classifier("bilstm", folder / "bert", folder / "rows.csv", verbosity=0,
                     output_dir=folder / "classifier", **{**run_together.SETTINGS, "max_steps": 2})
    return folder


@pytest.fixture(scope="module")
def pair(folder):
    """What each of two processes found; only the first one talks."""
    first, second = finish(start([TESTS / "run_together.py", folder], folder))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert first[1].count("use it with") == 2 and second[1] == ""
    return [torch.load(folder / f"found-{rank}", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(folder):
    """What one process finds, with as many threads as each of the two has: the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run_together.everything(ALONE, folder)
    torch.set_num_threads(threads)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def log_numbers(log):
    return [{key: torch.tensor(value) for key, value in row.items()} for row in log]


@pytest.mark.parametrize("name", ["small run False", "small run True", "unfrozen"])
def test_training_is_that_of_one_process(pair, alone, name):
    first, second = (found[name] for found in pair)
    assert_same_bits(first["weights"], second["weights"])
    assert first["log"] == second["log"]
    assert_close(first["weights"], alone[name]["weights"])
    assert_close(log_numbers(first["log"]), log_numbers(alone[name]["log"]))


@pytest.mark.parametrize("name", [*run_together.HEADS, "pre-training"])
def test_a_process_without_rows_does_not_disturb(pair, alone, name):
    first, second = (found[name] for found in pair)
    assert_same_bits(first["weights"], second["weights"])
    assert_close(first, alone[name])


def test_gradients_travel_once_a_step(pair):
    for found in pair:
        assert found["exchanges"] == [False, False, True, False, False, True, False, True]


def test_every_row_is_seen_by_one_process_and_once_an_epoch(pair, alone):
    assert len(pair[0]["rows"]) == len(pair[1]["rows"]) == 16
    assert [len(rows) for rows in pair[1]["rows"][:8]] == [1] * 7 + [0]
    assert [sorted(a + b) for a, b in zip(*(found["rows"] for found in pair))] == [
        sorted(rows) for rows in alone["rows"]]
    assert [found["job batches"][-2:] for found in (*pair, alone)] == [[4, 1], [3, 0], [7, 1]]


def test_the_range_test_finds_the_same_rate_everywhere(pair, alone):
    first, second = (found["learning rate"] for found in pair)
    assert first == second and len(first.losses) > 10
    assert first.suggestion == alone["learning rate"].suggestion
    assert_close(torch.tensor(first.losses), torch.tensor(alone["learning rate"].losses))


@pytest.mark.parametrize("count", [150, 10])  # three batches for two processes; one
def test_scores_are_gathered_in_order_and_to_the_bit(pair, alone, count):
    for found in pair:
        assert torch.equal(found[f"logits {count}"], alone[f"logits {count}"])
    assert alone[f"logits {count}"].std() > 0


def test_a_job_gives_the_results_of_one_process_and_leaves_one_folder(pair, alone, folder):
    first, second = (found["job"] for found in pair)
    assert first == second == {**read_json(folder / "job-2" / "results.json")}
    temperatures = [results["calibration"]["temperature"] for results in (first, alone["job"])]
    assert temperatures[0] == pytest.approx(temperatures[1], rel=1e-4)
    changing = ("seconds", "peak_memory_mb", "output_dir", "calibration")
    same, expected = ({key: value for key, value in results.items()
                       if key not in (*changing, "test", "validation")}
                      for results in (first, alone["job"]))
    assert same == expected
    for part in ("test", "validation"):
        assert first[part].pop("loss") == pytest.approx(alone["job"][part].pop("loss"), abs=1e-5)
    assert first["test"]["confusion_matrix"] == alone["job"]["test"]["confusion_matrix"]
    assert first["validation"] == alone["job"]["validation"]
    files = [sorted(str(path.relative_to(folder / job)) for path in (folder / job).rglob("*"))
             for job in ("job-1", "job-2")]
    assert files[0] == files[1]


def test_a_resumed_run_has_the_bits_of_an_unbroken_one(pair):
    for whole, part in (found["resumed"] for found in pair):
        assert_same_bits(whole["weights"], part["weights"])
        assert whole["log"] == part["log"]
    assert_same_bits(pair[0]["resumed"][0]["weights"], pair[1]["resumed"][0]["weights"])


def test_one_process_goes_on_where_two_were(pair, folder):
    shutil.copytree(folder / "whole" / "checkpoint-3", folder / "fewer" / "checkpoint-3")
    state = run_together.build(folder / "fewer", save_strategy="steps", save_steps=3,
                           save_total_limit=9, precision="bfloat16")
    assert state.train("auto").step == 8
    for found in pair:  # to the rounding of bfloat16 and other dropout
        assert abs(state.state.log[-1]["eval_loss"] - found["resumed"][0]["log"][-1]["eval_loss"]
                   ) < 0.1


def test_all_end_together_whoever_has_a_reason(pair):
    for found in pair:
        assert found["agreements"] == {
            "interrupted": 3, "out of time": (3, "the time limit of 1e+06 s is reached"),
            "without patience": 8, "short of memory": (1, 1)}


def test_work_is_shared_by_turns_and_comes_back_in_order(pair, alone):
    for rank, found in enumerate(pair):
        for count, (mine, results) in enumerate(found["shared work"]):
            assert mine == list(range(rank, count, 2))
            assert results == [-item for item in range(count)]
    assert [results for _, results in alone["shared work"]] == [
        results for _, results in pair[0]["shared work"]]


def test_an_error_of_the_first_process_is_everyones(pair):
    assert [found["refused"] for found in pair] == [("no such file", 0)] * 2


def test_out_of_memory_ends_the_job_with_advice(pair):
    assert "another process of the job ended" in pair[0]["end"]
    assert "out of memory with 1 rows at a time in one of several" in pair[1]["end"]


def in_torchrun(monkeypatch, **changes):
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2",
                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", **changes}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("device, message", [
    ("mps", "device is mps, for several processes; expected cpu"), ("cuda:1", "cuda:1"),
    ("cuda", "process 999 of this machine has no GPU")])
def test_devices_that_cannot_be_shared_are_refused(monkeypatch, device, message):
    in_torchrun(monkeypatch, LOCAL_RANK="999")
    with pytest.raises(TrainingError, match=message), join_processes(device):
        pass


@pytest.mark.parametrize("name, value, limits", [
    ("RANK", "2", "from 0 to 1"), ("RANK", "x", "from 0 to 1"), ("LOCAL_RANK", "-1", "from 0"),
    ("WORLD_SIZE", "0", "from 1"), ("MASTER_PORT", "x", "from 1 to 65,535"),
    ("MASTER_PORT", "", "from 1 to 65,535")])
def test_numbers_that_torchrun_would_not_give_are_refused(monkeypatch, name, value, limits):
    in_torchrun(monkeypatch, **{name: value})
    with pytest.raises(TrainingError, match=rf"\${name} is .*; expected a whole number {limits}$"):
        with join_processes():
            pass


def test_without_all_of_torchruns_environment_there_is_one_process(monkeypatch):
    in_torchrun(monkeypatch)
    monkeypatch.delenv("MASTER_ADDR")
    with join_processes() as processes:
        assert processes == ALONE and processes.any(True) and not processes.any(False)
    in_torchrun(monkeypatch, RANK="0", WORLD_SIZE="1")
    with join_processes() as processes:
        assert processes == ALONE


def test_a_killed_process_ends_the_job_and_the_folder_resumes(pair, folder):
    job = ["-m", "bert_kit", "train", "--model", "dropout", "--data_file", "rows.csv",
           "--classifier", "cnn", "--output_dir", "broken",
           *(f"--{name}={value}" for name, value in run_together.LONG.items())]
    first, second = start(job, folder)
    while not list(folder.glob("broken/checkpoint-*")):
        assert first[0].is_alive(), first[1].with_suffix(".err").read_text()
        time.sleep(0.01)
    second[0].kill()
    (code, output, errors), _ = finish([first, second])
    assert code == 1 and "use it with" not in output
    assert errors.startswith("error: another process of the job ended")
    assert errors.count("\n") == 1 and "--resume auto" in errors

    (code, output, errors), _ = finish(start([*job, "--resume", "auto"], folder))
    assert code == 0, errors
    assert output.count("use it with") == 1
    assert_same_bits(*(read_safetensors(folder / run / "model.safetensors")
                       for run in ("unbroken", "broken")))
    assert len({(folder / run / "metrics.csv").read_bytes()
                for run in ("unbroken", "broken")}) == 1


def test_processes_may_join_one_job_after_another(tmp_path):
    script = tmp_path / "jobs.py"
    script.write_text("from bert_kit.training import join_processes\n"
                      "for job in range(3):\n"
                      "    with join_processes() as processes:\n"
                      "        assert processes.gather(processes.rank) == [0, 1]\n"
                      "print('done')\n")
    done = warm_processes.run("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2,
                              script, limit=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == 2
