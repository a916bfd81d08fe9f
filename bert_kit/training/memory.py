"""Staying within memory: a batch is cut into smaller pieces, and their gradients are added up.

Cutting changes how much is held at once, not what is computed: the pieces' losses are divided by
the label counts of the whole window, so the step is that of the uncut batches but for rounding
and for the random numbers that dropout draws.
"""

import contextlib
import ctypes
import gc
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bert_kit.errors import TrainingError
from bert_kit.training.losses import count_rows
from bert_kit.training.state import random_state, restore_random_state

# How a CPU says that there is no memory left; an accelerator has an error class for it.
SIGNS = ("DefaultCPUAllocator", "not enough memory", "Cannot allocate memory")


def memory_used(device):
    """Return the share of memory that is in use, 0 to 1, or None where it cannot be told.

    On a CUDA device, of all its memory, by anyone. Elsewhere the memory of this process
    (/proc/self/statm) as a share of the machine's, or of its control group's limit if lower;
    processes that torchrun started on one machine are taken to need as much each.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return 1 - free / total
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return processes * pages * os.sysconf("SC_PAGE_SIZE") / _memory_limit()


def _memory_limit():
    """Return the bytes this process may use: the machine's, or the control group's if fewer."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        own = root / group.lstrip("/")
        for folder in (own, *own.parents):  # a group is also held to the limits of those above
            if folder.is_relative_to(root):
                limits += _read_limit(folder / name)
    return min(limits)


def _read_limit(path):
    try:
        return [int(path.read_text())]
    except (OSError, ValueError):  # no such file, or "max"
        return []


def keep_freed_memory():
    """Let this process keep what it frees, for its next allocations; say whether that is so.

    A training step allocates and frees the same large tensors as the step before. The GNU C
    library gives each back to the system and asks for it again, and the system hands it over
    filled with zeros, page by page: a tenth of a step and more. The process's peak does not grow.
    Elsewhere, and on accelerators, whose memory torch keeps itself, nothing changes.
    """
    library = _c_library()
    if library is None:
        return False
    # malloc.h: M_MMAP_THRESHOLD is -3, up to 2**25 in older versions; M_TRIM_THRESHOLD is -1.
    large = library.mallopt(-3, 2**30) or library.mallopt(-3, 2**25)
    return bool(library.mallopt(-1, 2**31 - 1) and large)


def _c_library():
    """Return the GNU C library, or None where there is another."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def give_back_memory(device):
    """Give what is only kept for the next allocations back to the system.

    Until then it counts as used, whether torch keeps it (CUDA) or the C library; see
    `keep_freed_memory`.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    elif (library := _c_library()) is not None:
        library.malloc_trim(0)


def reset_peak_memory(device):
    """Let `peak_memory` count from now on; where the system cannot, it counts from the start.

    What is no longer used is given back first, so that one job's peak is not the next one's.
    """
    give_back_memory(device)
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # Linux: forget the highest resident size so far
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device):
    """Return the most bytes held at a time, of the GPU by torch or of main memory by the process.

    None where the system does not say.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return None


def is_out_of_memory(error):
    """Say whether an exception means that memory ran out, on whatever device."""
    return (isinstance(error, torch.OutOfMemoryError | MemoryError)
            or isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS))


def cut(batch, rows):
    """Cut a batch into batches of at most `rows` rows.

    Examples
    --------
    >>> [piece["labels"].tolist() for piece in cut({"labels": torch.arange(5)}, 2)]
    [[0, 1], [2, 3], [4]]
    """
    if count_rows(batch) <= rows:
        return [batch]
    pieces = zip(*(value.split(rows) for value in batch.values()), strict=True)
    return [dict(zip(batch, piece)) for piece in pieces]


@dataclass
class MemoryManager:
    """Runs training steps with as many rows at a time as memory allows.

    The rows of an optimizer step, and so its result, stay the same; only how many of them are
    worked on at once is halved, between steps, when memory gets short, or when it has run out: the
    step is then begun again. It is never raised again within a run. Several processes have the
    same number of rows at a time; as they must go through a step together, none can begin it
    again, and memory that has run out ends the run.

    Attributes
    ----------
    threshold : float
        Share of memory above which the rows at a time are halved, once a step at most. With 1
        nothing is measured: only memory that has run out counts.
    smallest, largest : int
        Limits of the rows at a time.
    current : int or None
        Rows at a time; None begins with the largest. It is stored in checkpoints.
    measure : callable
        `measure(device)` -> share of memory in use, 0 to 1, or None if it cannot be told.

    Raises
    ------
    TrainingError
        If the limits make no sense; in a step, if memory runs out with the fewest rows, or in the
        optimizer, whose memory does not depend on the rows.
    """

    threshold: float = 0.85
    smallest: int = 8
    largest: int = 64
    current: int | None = None
    measure: Callable = field(default=memory_used, repr=False)

    def __post_init__(self):
        if not 0 < self.threshold <= 1:
            raise TrainingError(f"memory threshold is {self.threshold!r}; "
                                "expected a share of memory above 0, at most 1")
        if self.current is None:
            self.current = self.largest
        if not 1 <= self.smallest <= self.current <= self.largest:
            raise TrainingError(f"rows at a time are {self.current!r} of {self.smallest!r} to "
                                f"{self.largest!r}; expected 1 <= smallest <= current <= largest")

    def go_on_with(self, rows):
        """Take over the rows at a time of a checkpoint, if any, within the limits of this run."""
        if rows is not None:
            self.current = min(self.largest, max(self.smallest, rows))
        return self.current

    def train_step(self, amp, loss, batches):
        """Take one optimizer step of an AMPTrainer over a window of batches; see its `train_step`.
        """
        batches = list(batches)
        device = next(amp.model.parameters()).device
        short = False

        def watched(model, batch, counts):
            # After forward everything that backward needs is held: here memory is fullest.
            nonlocal short
            value = loss(model, batch, counts)
            short = short or self._is_short(batches, device)
            return value

        while (total := self._try(amp, watched, batches)) is None:
            if amp.processes.size > 1:
                raise TrainingError(
                    f"out of memory with {self._rows(batches)} rows at a time in one of several "
                    "processes; go on with --resume auto and more processes, "
                    "gradient_checkpointing or a lower memory_threshold")
            short = False  # what the failed attempt saw is dealt with here
            if not self._halve(batches, device):
                raise TrainingError(
                    f"out of memory with {self._rows(batches)} rows at a time, the fewest allowed; "
                    "fewer tokens a row, a smaller model, precision 'bfloat16' or a smaller "
                    "least number of rows would need less")
        result = self._update(amp, total)
        if self.threshold < 1 and amp.processes.any(short):
            self._halve(batches, device)
            self.current = amp.processes.from_first(lambda: self.current)
        return result

    def _is_short(self, batches, device):
        """Say whether more memory is really in use than the threshold, and fewer rows may help."""
        if self.threshold == 1 or self._rows(batches) <= self.smallest:
            return False
        if (self.measure(device) or 0.0) <= self.threshold:
            return False
        give_back_memory(device)  # a longer batch or an evaluation may have left it behind
        return (self.measure(device) or 0.0) > self.threshold

    def _update(self, amp, total):
        """Take the optimizer's half of the step; it cannot be begun again, nor in pieces."""
        try:
            return amp.update(total)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        raise TrainingError(
            "out of memory in the optimizer's step, which needs as much for any number of rows; "
            "a smaller model, frozen layers or optim 'sgd' would need less")

    def _try(self, amp, loss, batches):
        """Return the loss of the window with its gradient in place, or None if memory ran out.

        After a failure everything that the attempt changed is put back: random numbers, buffers,
        gradients. So the next attempt does not depend on how far this one came.
        """
        before = random_state()
        buffers = [(buffer, buffer.clone()) for buffer in amp.model.buffers()]
        try:
            return amp.accumulate(
                loss, [piece for batch in batches for piece in cut(batch, self.current)])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        amp.optimizer.zero_grad(set_to_none=True)
        restore_random_state(before)
        for buffer, value in buffers:
            buffer.copy_(value)
        return None

    def _rows(self, batches):
        """Return the most rows that are really worked on at a time."""
        return min(self.current, max(count_rows(batch) for batch in batches))

    def _halve(self, batches, device):
        """Halve the rows at a time and give unused memory back; say whether that was possible."""
        rows = self._rows(batches)
        if rows <= self.smallest:
            return False
        self.current = max(self.smallest, rows // 2)
        give_back_memory(device)
        return True
