"""Whole jobs in processes of their own, killed by the one signal that nothing can catch."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from campaigns import content
from jobs import environment, tiny_bert, write_table

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
    process = subprocess.Popen([sys.executable, "-u", "-m", "bert_kit", "active", *JOB],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               cwd=folder, env=environment())
    first = process.stdout.readline()
    begun = time.monotonic()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait(), time.monotonic() - begun, first + process.communicate()[0]


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
