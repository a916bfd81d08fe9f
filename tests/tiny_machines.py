"""Machines for the tests of what runs on several, and a cluster on them.

A machine is a network namespace with an address of its own, joined to the others by a bridge. Where
the system allows none it is this machine's loopback, for all of them.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from warm_processes import environment, ROOT


class Machine(NamedTuple):
    """What to write before a command that is to run on it, its address, and on which interface."""

    before: tuple
    address: str
    interface: str

    def start(self, *words, folder, log):
        """Start Python with these words; what it says goes into a file."""
        with open(log, "w") as file:
            return subprocess.Popen(
                [*self.before, sys.executable, *map(str, words)], cwd=folder, stdout=file,
                stderr=subprocess.STDOUT, env={
                    **environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
                    "GLOO_SOCKET_IFNAME": self.interface})


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def machines(count):
    """Yield so many machines; before them the one that the caller is on."""
    name = f"bk{os.getpid() % 100_000}"  # an interface has 15 letters at most
    net = f"10.{100 + os.getpid() // 250 % 100}.{os.getpid() % 250}"
    with contextlib.ExitStack() as stack:
        try:
            if not shutil.which("ip"):
                raise OSError("no ip")
            _ip("link", "add", name, "type", "bridge")
            stack.callback(_ip, "link", "del", name)
            _ip("addr", "add", f"{net}.100/24", "dev", name)
            _ip("link", "set", name, "up")
            for i in range(1, count + 1):
                _ip("netns", "add", f"{name}-{i}")
                stack.callback(_ip, "netns", "del", f"{name}-{i}")
                _ip("link", "add", f"{name}v{i}", "type", "veth", "peer", "name", "eth0", "netns",
                    f"{name}-{i}")
                _ip("link", "set", f"{name}v{i}", "master", name, "up")
                inside = "-n", f"{name}-{i}"
                _ip(*inside, "addr", "add", f"{net}.{i}/24", "dev", "eth0")
                _ip(*inside, "link", "set", "eth0", "up")
                _ip(*inside, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            yield [Machine((), "127.0.0.1", "lo")] * (count + 1)
            return
        yield [Machine((), f"{net}.100", name), *(
            Machine(("ip", "netns", "exec", f"{name}-{i}"), f"{net}.{i}", "eth0")
            for i in range(1, count + 1))]


def free_port(address):
    with socket.socket() as free:
        free.bind((address, 0))
        return free.getsockname()[1]


def kill(process):
    """End a process and all that it began, as a machine does that loses its power."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    doomed = {process.pid} if process.poll() is None else set()
    while more := {pid for pid, parent in parents.items() if parent in doomed} - doomed:
        doomed |= more
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


class DaskCluster:
    """A scheduler here and a worker on each other machine, in processes of their own."""

    def __init__(self, machines, folder):
        self.here, *self.others = machines
        self.folder = Path(folder)
        self.address = f"{self.here.address}:{free_port(self.here.address)}"
        self.begin()

    def begin(self):
        host, port = self.address.split(":")
        self.scheduler = self.here.start(
            "-m", "distributed.cli.dask_scheduler", "--host", host, "--port", port,
            "--dashboard-address", f"{host}:0", folder=self.folder,
            log=self.folder / "scheduler.log")
        self.workers = [machine.start(
            "-m", "distributed.cli.dask_worker", f"tcp://{self.address}", "--host", machine.address,
            "--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory",
            self.folder / f"worker-{i}", folder="/", log=self.folder / f"worker-{i}.log")
            for i, machine in enumerate(self.others)]

    def close(self):
        for process in (*self.workers, self.scheduler):
            kill(process)
