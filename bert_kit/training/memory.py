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
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bert_kit.checks import share, whole
from bert_kit.errors import TrainingError, is_out_of_memory
from bert_kit.training.losses import Batch, count_rows
from bert_kit.training.state import Stepper, random_state, restore_random_state


def memory_used(device: torch.device) -> float | None:
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


def _memory_limit() -> int:
    """Return the bytes this process may use: the machine's, or the control group's if fewer."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        root, name = Path("/sys/fs/cgroup"), "memory.max"  # of version 2, which names no controller
        if "memory" in controllers.split(","):
            root, name = root / "memory", "memory.limit_in_bytes"
        own = root / group.lstrip("/")
        for folder in (own, *own.parents):  # a group is also held to the limits of those above
            if folder.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                    limits.append(int((folder / name).read_text()))
    return min(limits)


def keep_freed_memory() -> bool:
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


def _c_library() -> ctypes.CDLL | None:
    """Return the GNU C library, or None where there is another."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def give_back_memory(device: str | torch.device) -> None:
    """Give what is only kept for the next allocations back to the system.

    Until then it counts as used, whether torch keeps it (CUDA) or the C library; see
    `keep_freed_memory`.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    elif (library := _c_library()) is not None:
        library.malloc_trim(0)


def reset_peak_memory(device: str | torch.device) -> None:
    """Let `peak_memory` count from now on; where the system cannot, it counts from the start.

    What is no longer used is given back first, so that one job's peak is not the next one's.
    """
    give_back_memory(device)
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # Linux: forget the highest resident size so far
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str | torch.device) -> int | None:
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


def cut(batch: Batch, rows: int) -> list[Batch]:
    """Cut a batch into batches of at most `rows` rows.

    Examples
    --------
    >>> [piece["labels"].tolist() for piece in cut({"labels": torch.arange(5)}, 2)]
    [[0, 1], [2, 3], [4]]
    """
    if count_rows(batch) <= rows:
        return [batch]
    pieces = zip(*(value.split(rows) for value in batch.values()), strict=True)
    return [dict(zip(batch, piece, strict=True)) for piece in pieces]


@dataclass
class MemoryManager:
    """Keeps the training loop to as many rows at a time as memory allows.

    The rows of an optimizer step, and so its result, stay the same; only how many of them are
    worked on at once is halved, between steps, when memory gets short, or when it has run out: the
    step is then begun again. It is never raised again within a run. Several processes have the
    same number of rows at a time; as they must go through a step together, none can begin it
    again, and memory that has run out ends the run.

    Attributes
    ----------
    threshold
        Share of memory above which the rows at a time are halved, once a step at most. With 1
        nothing is measured: only memory that has run out counts.
    smallest, largest
        Limits of the rows at a time.
    current
        Rows at a time; None begins with the largest. It is stored in checkpoints.
    measure
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
    measure: Callable[[torch.device], float | None] = field(default=memory_used, repr=False)
    _most: int = field(default=0, init=False, repr=False)  # rows really worked on at a time
    _short: bool = field(default=False, init=False, repr=False)  # whether this step saw it so

    def __post_init__(self) -> None:
        share("memory threshold", self.threshold, above=True, error=TrainingError)
        whole("the most rows at a time", self.largest, 1, error=TrainingError)
        self.current = whole("rows at a time", self.rows, 1, self.largest, error=TrainingError)
        whole("the fewest rows at a time", self.smallest, 1, self.current, error=TrainingError)

    @property
    def rows(self) -> int:
        """Rows at a time from here on."""
        return self.largest if self.current is None else self.current

    def go_on_with(self, rows: int | None) -> int:
        """Take over the rows at a time of a checkpoint, if any, within the limits of this run."""
        if rows is not None:
            self.current = min(self.largest, max(self.smallest, rows))
        return self.rows

    def cut(self, window: Sequence[Batch]) -> list[Batch]:
        """Cut the batches of a window into pieces of as many rows as fit at a time."""
        return [piece for batch in window for piece in cut(batch, self.rows)]

    @contextlib.contextmanager
    def attempt(self, step: Stepper, window: Sequence[Batch]) -> Iterator[None]:
        """Run forward and backward inside; if memory runs out, undo them and halve the rows.

        Then the block ends without an error, and everything that it changed is put back: random
        numbers, buffers, gradients. So the next attempt does not depend on how far this one came.

        Raises
        ------
        TrainingError
            If memory runs out and the rows cannot be fewer, or other processes are in the step.
        """
        self._most = min(self.rows, max(count_rows(batch) for batch in window))
        self._short = False
        before = random_state()
        buffers = [(buffer, buffer.clone()) for buffer in step.model.buffers()]
        try:
            yield
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # What the attempt allocated would else live as long as the error is handled.
            traceback.clear_frames(error.__traceback__)
        step.optimizer.zero_grad(set_to_none=True)
        restore_random_state(before)
        for buffer, value in buffers:
            buffer.copy_(value)
        if step.processes.size > 1:
            raise TrainingError(
                f"out of memory with {self._most} rows at a time in one of several processes; go "
                "on with --resume auto and more processes, gradient_checkpointing or a lower "
                "memory_threshold") from None
        if self._most <= self.smallest:
            raise TrainingError(
                f"out of memory with {self._most} rows at a time, the fewest allowed; fewer tokens "
                "a row, a smaller model, precision 'bfloat16' or a smaller least number of rows "
                "would need less") from None
        self._halve(next(step.model.parameters()).device)

    def watch(self, loss: Tensor) -> None:
        """Look, after a forward pass, whether more memory is in use than the threshold.

        Everything that backward needs is held then: memory is at its fullest.
        """
        if self.threshold == 1 or self._short or self._most <= self.smallest:
            return
        if (self.measure(loss.device) or 0.0) > self.threshold:
            give_back_memory(loss.device)  # a longer batch or an evaluation may have left it behind
            self._short = (self.measure(loss.device) or 0.0) > self.threshold

    @contextlib.contextmanager
    def no_second_attempt(self) -> Iterator[None]:
        """Take the optimizer's half of a step inside: it cannot be begun again, nor in pieces."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                "out of memory in the optimizer's step, which needs as much for any number of "
                "rows; a smaller model, frozen layers or optim 'sgd' would need less") from None

    def halve_if_short(self, step: Stepper) -> None:
        """Halve the rows at a time, in all processes, if memory was short in the step just taken.
        """
        if self.threshold < 1 and step.processes.any(self._short):
            self._halve(next(step.model.parameters()).device)
            self.current = step.processes.from_first(lambda: self.rows)

    def _halve(self, device: torch.device) -> None:
        """Halve the rows at a time, if they may be fewer, and give unused memory back."""
        if self._most > self.smallest:
            self.current = max(self.smallest, self._most // 2)
            give_back_memory(device)
