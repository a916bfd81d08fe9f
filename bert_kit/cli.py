"""The command line: `python -m bert_kit JOB …`, or `bert-kit JOB …`."""

import importlib
import io
import sys
from collections.abc import Sequence

from bert_kit import __version__
from bert_kit.errors import BertKitError, NothingLearned, UsageError
from bert_kit.jobs.options.declare import nearest
from bert_kit.jobs.options.parser import parse, same_spelling
from bert_kit.jobs.table import JOBS, RESUMED, renamed

USAGE = "bert-kit JOB [options]; bert-kit JOB --help lists the options of a job"


def jobs_listed() -> str:
    """Return what there is to do, a line a job."""
    width = max(map(len, JOBS))
    return "\n".join([USAGE, "", *(f"  {name:{width}}  {job.text}" for name, job in JOBS.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job and return its exit code.

    0; 1 for input that cannot be used; 2 for options that have no meaning; 3, with --strict, for a
    model that learned nothing; 130 for Ctrl-C.
    """
    arguments = same_spelling(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # without Unicode it shows \xdf, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(jobs_listed())
        return 0
    if arguments[0] == "--version":
        print(f"bert_kit {__version__}")
        return 0
    name, *rest = renamed(arguments)
    if name not in JOBS:
        print(f"error: there is no job {name!r}; {nearest(name, JOBS)}\n{jobs_listed()}",
              file=sys.stderr)
        return 2
    try:
        job = JOBS[name]
        module = importlib.import_module(job.module)
        kind, elsewhere = job.options(module, rest)
        options = parse(name, kind, rest, elsewhere)
        options.check_use()
        module.run(options)
    except NothingLearned as error:  # with --strict; all is saved, and the verdict was said
        print("not learned:", *str(error).splitlines(), file=sys.stderr)
        return 3
    except BertKitError as error:
        print("error:", *str(error).splitlines(), file=sys.stderr)  # one line, whatever it names
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a folder that may not be entered, a disk that is gone
        print(f"error: {BertKitError(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted" + "; go on with --resume auto" * (name in RESUMED), file=sys.stderr)
        return 130
    return 0
