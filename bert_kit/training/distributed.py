"""Several processes that train one model together: what they add up, share out and agree on.

`torchrun` starts the processes. Every one holds the whole model and works on its rows of each
batch; DistributedDataParallel adds their gradients up while they are still being computed
(Li et al. 2020). So all take the same step, and it is that of one process with the whole batch.
Files are written by the first process only; the others must see them in the same folder.
"""

import contextlib
import gc
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from bert_kit.checks import whole
from bert_kit.errors import BertKitError, TrainingError

T = TypeVar("T")
Item = TypeVar("Item")

FROM_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
# A process that ends is noticed at once. One that waits is not in need of help: the first may well
# be busy with something of its own.
LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Processes:
    """The processes of a job, seen from one of them; see `join_processes`.

    Each method must be called by all of them, in the same order. With one process they cost
    nothing.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    size
        How many there are.

    Examples
    --------
    >>> alone = Processes()
    >>> alone.first, alone.gather("a"), alone.in_order(-n for n in alone.mine([1, 2, 3]))
    (True, ['a'], [-1, -2, -3])
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and talks to people."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """What `bert_kit.data.make_loader` needs to know: (rank, size)."""
        return self.rank, self.size

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes: the same bits in all of them."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def sum_counts(self, counts: dict[str, int]) -> dict[str, int]:
        """Return the sums of {kind: count}, with the same kinds in every process."""
        if self.size == 1 or not counts:
            return counts
        return dict(zip(counts, self.sum(torch.tensor(list(counts.values()))).tolist(),
                        strict=True))

    def any(self, flag: bool) -> bool:
        """Say whether a flag is set in any process."""
        return bool(flag) if self.size == 1 else bool(self.sum(torch.tensor(int(flag))))

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    def gather(self, value: T) -> list[T]:
        """Return the list of what each process has."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def from_first(self, work: Callable[[], T]) -> T:
        """Return in every process what `work()` returns in the first one, the only one to do it.

        A BertKitError that it raises is raised in all of them.
        """
        if self.size == 1:
            return work()
        answer: list[Any] = [None, None]
        if self.first:
            try:
                answer[0] = work()
            except BertKitError as error:
                answer[1] = error
        dist.broadcast_object_list(answer, src=0)
        result, error = answer
        if error is not None:
            raise error
        return result

    def mine(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield this process's share of some work: the items r, r + size, r + 2 size, … for rank r.
        """
        return itertools.islice(items, self.rank, None, self.size)

    def in_order(self, results: Iterable[T]) -> list[T]:
        """Return in every process the results of all, in the order of the items.

        `results` are this process's own: one for each item that `mine` gave it.
        """
        parts = self.gather(list(results))
        return [parts[i % self.size][i // self.size] for i in range(sum(map(len, parts)))]


ALONE = Processes()


@contextlib.contextmanager
def join_processes(device: str | torch.device = "cpu") -> Iterator[Processes]:
    """Join the other processes that torchrun started, as a context that yields `Processes`.

    Without torchrun, and with one process, there is nothing to join. Inside another
    `join_processes` the same processes are meant.

    Parameters
    ----------
    device
        "cpu", where they talk by gloo, or "cuda", where they do by nccl, and each takes the GPU of
        its number on the machine.

    Raises
    ------
    TrainingError
        If the device is another, a machine has fewer GPUs than processes, or what torchrun says
        is no such number; in the block, if another process ends before its time.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
        return
    started = all(name in os.environ for name in FROM_TORCHRUN)
    size = _told("WORLD_SIZE", 1) if started else 1
    if size == 1:
        yield ALONE
        return
    rank = _told("RANK", 0, size - 1)  # one that nobody waits for would wait for LONGEST_WAIT
    _told("MASTER_PORT", 1, 65535)
    backend = _take_device(torch.device(device), _told("LOCAL_RANK", 0))
    try:
        _connect(backend)
    except RuntimeError as error:
        raise TrainingError("the processes of the job could not connect: "
                            f"{str(error).splitlines()[0]}") from None
    try:
        yield Processes(rank, size)
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError("another process of the job ended, which says why if it could; go on "
                            "with --resume auto") from None
    # Only an orderly end is waited for: after an error in one process the others may not come.
    gc.collect()  # first the models that add up over the group, or its threads outlive it
    dist.destroy_process_group()


def _told(name: str, low: int, high: int | None = None) -> int:
    """Return a number that torchrun has put into the environment."""
    value = os.environ.get(name, "")
    return whole(f"${name}", int(value) if value.isdecimal() else value, low, high, TrainingError)


def _connect(backend: str) -> None:
    """Let the processes find one another, under keys that no earlier job of theirs has used."""
    from torch.distributed.distributed_c10d import PrefixStore  # some torches have neither
    from torch.distributed.rendezvous import rendezvous
    store, rank, size = next(rendezvous("env://", timeout=LONGEST_WAIT))
    number = store.add(f"bert_kit/jobs/{rank}", 1)  # the same in every process
    dist.init_process_group(backend, store=PrefixStore(f"bert_kit/{number}", store),
                            rank=rank, world_size=size, timeout=LONGEST_WAIT)


def _take_device(device: torch.device, local_rank: int) -> str:
    """Make the GPU of this process the current one, and return how the processes talk."""
    if device.type == "cpu":
        return "gloo"
    if device.type != "cuda" or device.index is not None:
        raise TrainingError(f"device is {device}, for several processes; expected cpu, or cuda, "
                            "where each takes its own")
    if local_rank >= torch.cuda.device_count():
        raise TrainingError(f"process {local_rank} of this machine has no GPU; expected as many "
                            f"processes as GPUs, {torch.cuda.device_count()}, or device cpu")
    torch.cuda.set_device(local_rank)
    return "cpu:gloo,cuda:nccl"  # what is not on a GPU need not wait for one
