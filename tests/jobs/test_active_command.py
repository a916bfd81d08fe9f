"""`python -m bert_kit active` as people use it: killed, at a terminal, with a spreadsheet."""

import csv
import json
import random
import signal
import time

import pytest
import warm_processes

from bert_kit.cli import main
from bert_kit.files import read_json
from tiny_campaigns import content
from tiny_jobs import command, tiny_bert, write_table

JOB = ["--data_file", "../rows.csv", "--model", "../bert", "--acquisition", "beal", "badge",
       "--rounds", "2", "--initial", "10", "--batch", "5", "--passes", "2", "--seeds", "0",
       "--stop_rows", "20", "--num_epochs", "1", "--min_steps", "2", "--batch_size", "8",
       "--max_length", "24", "--device", "cpu", "--plots", "false", "--output_dir", "out",
       "--resume", "auto"]


def job(folder, seconds=None):
    """Run `active`, killed so many seconds after it has read the rows; return how it ended.

    That is its exit code, the seconds that it took, and what it printed.
    """
    folder.mkdir(exist_ok=True)
    log = folder / "log.out"
    log.unlink(missing_ok=True)
    process = warm_processes.start("-m", "bert_kit", "active", *JOB, folder=folder,
                                   log=folder / "log")
    while process.is_alive() and not (log.exists() and "\n" in log.read_text()):
        time.sleep(0.01)
    begun = time.monotonic()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode, time.monotonic() - begun, log.read_text()


def files(folder):
    """What a job leaves; its results without the seconds that they took."""
    found = content(folder / "out")
    results = json.loads(found.pop("results.json"))
    assert {*results.pop("seconds_per_1000_rows")} <= {"beal", "badge"}
    return found, results


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_job_that_is_killed_at_random_moments_leaves_the_same_files(tmp_path):
    write_table(tmp_path / "rows.csv", 60)
    tiny_bert(tmp_path / "bert")
    code, seconds, printed = job(tmp_path / "whole")
    assert code == 0 and printed.count(" s per 1,000") == 4, printed  # two methods, two rounds
    moments = random.Random(5)
    codes = {job(tmp_path / "broken", moments.uniform(0, seconds / 2))[0] for _ in range(3)}
    assert -signal.SIGKILL in codes <= {0, -signal.SIGKILL}
    assert job(tmp_path / "broken")[0] == 0
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_person_at_a_terminal_without_any_labels(tmp_path):
    write_table(tmp_path / "rows.csv", 60)
    tiny_bert(tmp_path / "bert")
    arguments = ["active", "--oracle", "ask", "--pool_file", tmp_path / "rows.csv", "--classes",
                 "warm", "cold", "--model", tmp_path / "bert", "--output_dir", tmp_path / "out",
                 "--initial", 4, "--batch", 2, "--rounds", 1, "--passes", 2, "--max_length", 24,
                 "--min_steps", 1, "--device", "cpu"]
    done = command(*arguments, input="warm\n1\nwarn\n")
    assert done.returncode == 0, done.stderr
    assert "'warn' is not a class" in done.stdout and "--resume auto" in done.stdout
    done = command(*arguments, "--resume", "auto", input="-\ncold\nwarm\ncold\n")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "labelled.jsonl", encoding="utf-8") as file:
        labels = [json.loads(line)["category"] for line in file]
    assert labels == ["warm", "warm", "cold", "warm", "cold"]  # 1 is warm: cold sorts first
    state = read_json(tmp_path / "out" / "beal-seed-0" / "state.json")
    assert len(state["ignored"]) == 1 and state["rounds"] == 2


def test_a_person_with_a_spreadsheet(tmp_path, monkeypatch, capsys):
    write_table(tmp_path / "rows.csv", 60)
    tiny_bert(tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    arguments = ["active", "--oracle", "csv", "--pool_file", "rows.csv", "--classes", "warm",
                 "cold", "--model", "bert", "--output_dir", "out", "--initial", "4", "--batch",
                 "2", "--rounds", "1", "--passes", "2", "--max_length", "24", "--min_steps", "1",
                 "--device", "cpu", "--resume", "auto"]

    def turn(*labels):
        """Fill in the first open cells, go on, and return the code, the words and the cells."""
        if labels:
            cells = sheet()
            opened = [cell for cell in cells if cell["labels"] in ("?", "warn")]
            for cell, label in zip(opened, labels):
                cell["labels"] = label
            with open("out/to_label.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["row", "labels", "text"])
                writer.writeheader()
                writer.writerows(cells)
        code, said = main(arguments), capsys.readouterr()
        return code, said.out + said.err, [cell["labels"] for cell in sheet()]

    def sheet():
        with open("out/to_label.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    code, words, cells = turn()
    assert (code, cells) == (0, ["?"] * 4) and "fill in out/to_label.csv" in words
    code, words, cells = turn("warm", "warn")
    assert (code, cells) == (1, ["warm", "warn", "?", "?"])
    assert "to_label.csv line 3: 'warn' is not a class; expected one of cold, warm" in words
    code, words, cells = turn("cold")
    assert (code, cells) == (0, ["warm", "cold", "?", "?"]) and "to do" in words
    assert "answers   2 of the 4 of this round" in words
    code, words, cells = turn("-", "1")
    assert (code, cells) == (0, ["?"] * 2) and " s per 1,000" in words
    code, words, _ = turn("0", "warm")
    assert code == 0 and "ended: 1 rounds" in words and "to do" not in words
    with open("out/labelled.jsonl", encoding="utf-8") as file:
        labels = [json.loads(line)["category"] for line in file]
    assert labels == ["warm", "cold", "warm", "cold", "warm"]
    texts = {row["row"]: row["text"] for row in sheet()}
    state = read_json("out/beal-seed-0/state.json")
    assert {*texts} == {str(row) for row in state["labelled"][-2:]}
    assert len(state["ignored"]) == 1 and state["rounds"] == 2
