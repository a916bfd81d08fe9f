"""The errors that the kit raises for bad input: one line each, meant for the user.

And whose fault an exception is: that of what was asked, or of the machine, see `machine_fault`.
"""

import errno
import re

from bert_kit.printing import spelled_out

_LONGEST = 1_000  # characters of a message
_DISK = "make room there, and the same command goes on"
_LACKS = {  # what the system says of itself, not of a file that it was asked for
    errno.ENOSPC: _DISK, errno.EDQUOT: _DISK, errno.EFBIG: _DISK,
    errno.EMFILE: "allow more of them (ulimit -n), and the same command goes on",
    errno.ENFILE: "end other programs, and the same command goes on",
    errno.EAGAIN: "allow more processes (ulimit -u) or end others",
    errno.EROFS: "expected a disk that may be written", errno.EIO: "expected a disk that is whole"}
_NO_MEMORY = ("DefaultCPUAllocator", "not enough memory", "Cannot allocate memory",
              "could not create a primitive", "std::bad_alloc")
_NO_ACCELERATOR_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
                          "MPS backend out of memory")
# What torch.save says where it cannot write, and Python where it cannot begin a thread.
_NOT_WRITTEN = re.compile(r"basic_ios::clear|PytorchStreamWriter|\. unexpected pos \d+ vs \d+|"
                          r"^File .* cannot be opened")
_NO_THREAD = "can't start new thread"


class BertKitError(ValueError):
    r"""Something the user gave cannot be used.

    The message is one line: the file, row or key, what was found, and what is expected. It may
    quote what a stranger wrote, so control characters are spelled out, and the middle of a long
    one is left out.

    Examples
    --------
    >>> print(BertKitError("the name is \x1b[31mred\n; expected text"))
    the name is \x1b[31mred ; expected text
    """

    def __str__(self) -> str:
        line = " ".join(super().__str__().splitlines())
        if len(line) > _LONGEST:
            line = f"{line[:_LONGEST * 2 // 3]} … {line[3 - _LONGEST // 3:]}"
        return spelled_out(line)


class ConfigError(BertKitError):
    """A model or training setting has an impossible value."""


class UsageError(ConfigError):
    """An option has no meaning beside another one."""


class TokenizerError(BertKitError):
    """A vocabulary is missing, unreadable or unsuitable."""


class DataError(BertKitError):
    """A text, label, table or corpus cannot be used."""


class WeightsError(BertKitError):
    """A weight file or model folder is missing, damaged or does not fit the model."""


class TrainingError(BertKitError):
    """A training run cannot start, continue or resume."""


class NothingLearned(BertKitError):
    """A model was trained, scored and saved, and is no better than what has to be beaten."""


class TuningError(BertKitError):
    """A hyperparameter search cannot start, continue or resume."""


class MachineError(BertKitError):
    """The machine lacks something: room on the disk, memory, open files, a file that a job wrote.

    What was asked is not to blame: the same once more, with room, may well succeed.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception means that memory ran out, of the machine or an accelerator."""
    return (_main_memory_ran_out(error) or type(error).__name__ == "OutOfMemoryError"  # torch's
            or isinstance(error, RuntimeError) and any(
                sign in str(error) for sign in _NO_ACCELERATOR_MEMORY))


def _main_memory_ran_out(error: BaseException) -> bool:
    return (isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
            or isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY))


def machine_fault(error: BaseException | None) -> MachineError | None:
    """Return what the machine lacks, if an exception or one that led to it says so.

    None is for all that comes of what was asked: a number that is none, a value that is refused,
    an accelerator's memory, which fewer rows at a time would not have filled.

    Examples
    --------
    >>> print(machine_fault(OSError(28, "No space left on device", "a/b.json")))
    a/b.json: No space left on device; make room there, and the same command goes on
    >>> machine_fault(FileNotFoundError(2, "No such file", "rows.csv")) is None
    True
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, MachineError):
            return error
        if _main_memory_ran_out(error):
            return MachineError("out of memory; a smaller model, shorter texts, fewer rows at a "
                                "time or fewer other programs would need less")
        if isinstance(error, OSError) and error.errno in _LACKS:
            where = "" if error.filename is None else f"{error.filename}: "
            return MachineError(f"{where}{error.strerror}; {_LACKS[error.errno]}")
        if isinstance(error, RuntimeError) and _NOT_WRITTEN.search(str(error)):
            return machine_fault(error.__context__) or MachineError(
                f"a file cannot be written; {_DISK}")
        if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
            return MachineError(f"{_NO_THREAD}; {_LACKS[errno.EAGAIN]}")
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None
