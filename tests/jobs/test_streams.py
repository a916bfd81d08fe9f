"""The command line where a standard stream is closed or full, and where Ctrl-C comes twice."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bert_kit.cli import main

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")

FULL = Path("/dev/full")
JOB = [sys.executable, "-m", "bert_kit"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_changes_no_exit_code(closed):
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *JOB, "dance"], capture_output=True,
                          text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: there is no job") or "2>&-" in closed
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_standard_output_that_is_full_is_told_as_the_program_ends():
    done = subprocess.run(["sh", "-c", '"$@" > /dev/full', "sh", *JOB, "--version"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert "No space left" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["corpus", "--help"]])
def test_help_that_cannot_be_written_is_no_success(arguments, monkeypatch, capsys):
    with open(FULL, "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    assert code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "No space left" in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments, right", [(["info", "no/such/folder"], 1),
                                              (["embed", "--nothing"], 2), (["dance"], 2)])
def test_where_errors_cannot_be_written_the_exit_code_still_tells(arguments, right, monkeypatch):
    with open(FULL, "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
        with contextlib.suppress(OSError):
            full.close()  # what it could not write
    assert code == right


TWICE = """
import os, signal, sys
from bert_kit import cli
again = lambda: os.kill(os.getpid(), signal.SIGINT)
def work(name, rest):
    try:
        again()
    finally:
        {inside}
def told(line, tell=cli._tell):
    {after}
    tell(line)
    {at_end}
cli._run, cli._tell, sys.argv = work, told, ["bert-kit", "train"]
sys.exit(cli.main())
"""


@pytest.mark.parametrize("moment", ["inside", "after", "at_end"])
def test_a_second_interrupt_while_the_first_is_cleaned_up_ends_without_a_traceback(moment):
    script = TWICE.format(**{**dict.fromkeys(("inside", "after", "at_end"), "pass"),
                             moment: "again()"})
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode in (130, -signal.SIGINT)
    said = "interrupted; go on with --resume auto\n"
    assert done.stderr == ("" if moment == "after" else said)
    assert done.returncode == 130 if moment == "inside" else -signal.SIGINT
