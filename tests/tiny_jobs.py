"""A small labelled table, a tiny BERT and a finished run for the tests of jobs."""

import contextlib
import csv
import io
import random
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import torch

import warm_processes
from bert_kit.cli import main
from bert_kit import BERTForMaskedLM, BertConfig, save_pretrained, train_tokenizer

WORDS = {"warm": ["red", "orange", "fire", "sun"], "cold": ["blue", "ice", "snow", "frost"],
         "green": ["grass", "tree", "leaf", "moss"]}


def table(count=120, seed=0):
    """Return texts of many lengths and their classes; one word in each tells the class."""
    rng = random.Random(seed)
    texts, labels = [], []
    for i in range(count):
        label = sorted(WORDS)[i % 3]
        rest = [rng.choice(["the", "a", "thing", "of", "old", "new", "very", "small"])
                for _ in range(rng.randint(1, 14))]
        rest.insert(rng.randrange(len(rest) + 1), rng.choice(WORDS[label]))
        texts.append(" ".join(rest) + f" {i}")
        labels.append(label)
    return texts, labels


def write_table(path, count=120, seed=0):
    texts, labels = table(count, seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category"])
        writer.writerows(zip(texts, labels))
    return path


def tiny_bert(folder):
    """Write a BERT with random weights and a vocabulary of the table's words."""
    tokenizer = train_tokenizer(table()[0], vocab_size=120, min_frequency=1)
    generator = torch.random.fork_rng()
    with generator:
        torch.manual_seed(1)
        model = BERTForMaskedLM(BertConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=24, num_hidden_layers=2,
            num_attention_heads=3, intermediate_size=40, max_position_embeddings=40,
            initializer_range=0.1))
    save_pretrained(model, folder, tokenizer)
    return folder


def command(*arguments, folder=Path(), input=""):
    """Run `python -m bert_kit …` in a process of its own and return what it did."""
    return warm_processes.run("-m", "bert_kit", *arguments, folder=folder, input=input)


def here(*arguments, folder):
    """Run `bert-kit …` in this process and in a folder; return what `command` returns."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def start(arguments, folder):
    """Start two processes with the environment that torchrun would give them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = Path(tempfile.mkdtemp())
    return [(warm_processes.start(
        *arguments, folder=folder, log=logs / str(rank), RANK=str(rank), LOCAL_RANK=str(rank),
        WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)),
        logs / str(rank)) for rank in range(2)]


def finish(pair, limit=240):
    """Return (exit code, output, errors) of each process, none of which may hang.

    What torch 2.10 prints of its own, that the processes are connected, is left out.
    """
    results = []
    for process, log in pair:
        process.join(limit)
        code = process.exitcode
        process.kill()
        output, errors = (log.with_suffix(end).read_text() for end in (".out", ".err"))
        assert code is not None, f"still at work after {limit} s: {output}{errors}"
        results.append((code, re.sub(r"(?m)^\[Gloo\].*\n", "", output), errors))
    shutil.rmtree(log.parent)
    return results
