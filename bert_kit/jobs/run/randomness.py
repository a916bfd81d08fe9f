"""What a run's numbers depend on besides its data: torch's default generators, and its threads."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch work with `count` threads inside, for its sums depend on it; None changes nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's default generators start from `seed` inside, and go on as before outside."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):  # all: told so, it is quiet
        torch.manual_seed(seed)
        yield
