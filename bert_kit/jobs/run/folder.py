"""The output folder of a run: whose it is, what stands in it before any work, and what may change.

manifest.json says where the numbers come from. It is written before any work; results.json and
README.md, the card, at the end.
"""

import contextlib
import json
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import bert_kit
from bert_kit import __version__
from bert_kit.data import BadRow
from bert_kit.errors import ConfigError
from bert_kit.files import StrPath, read_json, remove_leftovers, working_folder, write_json
from bert_kit.jobs.options.declare import Options, fields_of, spellings, value_today
from bert_kit.jobs.options.groups import BAD_ROWS, RunningOptions
from bert_kit.jobs.run.left_out import write_bad_rows
from bert_kit.printing import one_line
from bert_kit.training import Processes, choose_device, join_processes

FAST_DEV_STEPS = 2
IN_MEMORY = "rows_in_memory"  # key of a manifest: that the rows were in no file
# What may not change before a run goes on, by its name in the manifest; see `Task.made_of`.
MADE_OF = {"tokenizer": "tokenizer of the model has", "weights": "weights of the model have",
           "config": "configuration of the model has", "data": "data has"}


@contextlib.contextmanager
def open_job(options: Any, name: str) -> Iterator[tuple[Any, Processes]]:
    """Join the other processes and keep the output folder to them; yield options and processes.

    With `fast_dev_run` the folder is a temporary one, and there are two steps.

    Parameters
    ----------
    name
        Of the folder in runs/, where none is given.
    """
    with (join_processes(choose_device(options.device)) as processes,
          contextlib.ExitStack() as stack):
        if options.fast_dev_run:
            place = stack.enter_context(tempfile.TemporaryDirectory())
            options = options.replace(output_dir=f"{place}/run", max_steps=FAST_DEV_STEPS,
                                      min_steps=None, minutes=None, resume=None)
        options = share_folder(options, name, processes)
        stack.enter_context(lock_folder(processes, options.output_dir))
        yield options, processes
        if options.fast_dev_run and processes.first:
            print("fast dev run: every step works; nothing was kept")


def share_folder(options: Any, name: str, processes: Processes) -> Any:
    """Return the options of one of several processes: all write where the first one says.

    It alone talks. See `RunningOptions.in_folder` for the name.
    """
    folder = processes.from_first(lambda: options.in_folder(name).output_dir)
    return options.replace(output_dir=folder,
                           verbosity=options.verbosity if processes.first else 0)


def lock_folder(processes: Processes, folder: str | Path | None
                ) -> contextlib.AbstractContextManager:
    """Keep an output folder, if there is one, to a job of some processes: the first one holds it.

    Returns a context manager; see `working_folder`.
    """
    if folder is None or not processes.first:
        return contextlib.nullcontext()
    return working_folder(check_place(folder))


def check_folder(options: RunningOptions, job: str = "train",
                 begun: str = "training_args.json") -> None:
    """Check that the output folder is new or that of the same run; nothing is written.

    Parameters
    ----------
    begun
        The file that a run which has begun has in its folder, besides its manifest.

    Raises
    ------
    ConfigError
        If the folder holds something that is not a run, or a run with other options.
    """
    folder = Path(str(options.output_dir))
    if options.output_dir is None or not folder.is_dir():
        return
    remove_leftovers(folder)
    if (folder / begun).is_file() and (folder / "manifest.json").is_file():
        check_same_run(folder, options, job=job)
    elif {path.name for path in folder.iterdir()} - {"manifest.json", "split.json", BAD_ROWS}:
        raise ConfigError(f"{folder}: holds other files; choose an output_dir that is new or empty")


def check_place(folder: str | Path) -> Path:
    """Return an output folder as a path, unless it lies in the kit's own source.

    Raises
    ------
    ConfigError
        If it does: whatever is removed there one day would be the program. Or if no folder can
        be there.
    """
    package = Path(bert_kit.__file__).resolve().parent
    try:
        place = Path(folder).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links to one another, a NUL
        raise ConfigError(f"{folder}: {error}; expected a folder to write to") from None
    if place.is_relative_to(package):
        raise ConfigError(f"{folder}: lies in the package bert_kit; choose an output_dir elsewhere")
    return Path(folder)


def open_folder(options: RunningOptions, job: str, made_of: Mapping[str, object],
                folder: StrPath | None = None, begun: str = "training_args.json",
                bad_rows: Sequence[BadRow] = (), **more: object) -> None:
    """Write the manifest of a run that begins; one that goes on must be made of the same.

    Beside it stands a list of the rows that were left out.

    Parameters
    ----------
    made_of
        See `Task.made_of`.
    folder
        By default the output folder.
    begun
        The file that a run which has begun has in its folder.
    bad_rows
        What is left out of the rows that it is made of.
    **more
        What else the manifest holds.

    Raises
    ------
    ConfigError
        If the rows, the tokenizer, or the weights or configuration to start from are others.
    """
    path = Path(str(options.output_dir if folder is None else folder)) / "manifest.json"
    if not (path.parent / begun).is_file():
        write_json(path, {**manifest(options, job), **made_of, **more})
        write_bad_rows(bad_rows, path.parent / BAD_ROWS)
        if bad_rows:
            options.say(f"left out  the rows are listed in {path.parent / BAD_ROWS}")
        return
    stored = read_json(path)
    for name, what in MADE_OF.items():  # of an earlier version only the rows are known
        if stored.get(name, None if name == "data" else made_of[name]) != made_of[name]:
            raise ConfigError(f"{path.parent}: the {what} changed since it began; expected the "
                              "same, or another output_dir")
    before, now = stored.get("threads_used"), made_of["threads_used"]
    if before is not None and before != now:
        options.say(f"note      torch has {now} threads; when this began it had {before}: sums are "
                    f"added in another order (--threads {before})")


def check_kept(folder: str | Path) -> None:
    """Check at the end of a job that its folder still holds what was written at its start.

    Raises
    ------
    ConfigError
        If somebody has removed the folder meanwhile: what stands there now is not the whole.
    """
    if not (Path(folder) / "manifest.json").is_file():
        raise ConfigError(f"{folder}: was removed or emptied while the job worked in it; what was "
                          "written at the end is there, and the rest (manifest.json, checkpoints, "
                          "logs) is lost")


def manifest(options: Any, job: str) -> dict[str, Any]:
    """Return all that is needed to do the same again but what it is made of, as plain values."""
    packages = ("torch", "numpy", "tokenizers", "scikit-learn")
    return {"bert_kit": __version__, "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
            "machine": platform.platform(), "git": _git_hash(), "command": sys.argv,
            "seed": options.seed, "job": job, "settings": options.to_dict(),
            **({} if getattr(options, "data", None) is None else {IN_MEMORY: True})}


def _git_hash() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True,
                              timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def stored_run(folder: str | Path) -> tuple[str, dict[str, Any]]:
    """Return the job in a run's manifest and its settings, in today's names.

    Raises
    ------
    ConfigError
        If there are none.
    """
    path = Path(folder) / "manifest.json"
    stored = read_json(path)
    job, values = str(stored.get("job", "train")), stored.get("settings")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no settings; expected the manifest of a run")
    before = {"tag": "tagging", "answer": "answering", "similarity": "similarity"}
    if job in before:
        job, values = "train", {"task": before[job], **values}
    return job, values


def known_settings(options: type[Options], values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a manifest that a class of options has.

    Until 0.2 the options of three tasks stood in every manifest: those of others are left out.
    """
    known, fields = spellings(options), {field.name: field for field in fields_of(options)}
    return {known[name]: value_today(fields[known[name]], name, value)
            for name, value in values.items() if name in known}


def as_begun(options: Any, folder: str | Path | None = None) -> Any:
    """Return the options of a run that goes on: what was not asked when it began, as it was then.

    The run is in `folder`, by default the output folder.
    """
    folder = Path(str(options.output_dir if folder is None else folder))
    if options.resume is None or not (folder / "manifest.json").is_file():
        return options
    known = known_settings(type(options), stored_run(folder)[1])
    changed = {}
    for field in fields_of(type(options)):
        name, before = field.name, field.metadata.get("before", field.default)
        if known.get(name, before) == before != field.default == getattr(options, name):
            changed[name] = before
            if name in known:  # whoever gave the flag is to know that it does not hold
                options.say(f"note      {name} is {before!r}, as when this run began")
    return options.replace(**changed)


def check_same_run(folder: Path, options: Any, fixed: tuple[str, ...] = (),
                   job: str = "train") -> None:
    """Check that a run that goes on is the same run as the one in a folder.

    Parameters
    ----------
    fixed
        Options that may not change here although they may in general.

    Raises
    ------
    ConfigError
        Names the option that differs.
    """
    if options.resume is None:
        raise ConfigError(f"{folder}: already holds a run; go on with --resume auto, or choose "
                          "another output_dir")
    stored_job, values = stored_run(folder)
    if stored_job != job:
        raise ConfigError(f"{folder}: holds a run of the job {stored_job}; choose another "
                          "output_dir")
    before = known_settings(type(options), values)
    now = json.loads(json.dumps(options.to_dict()))  # tuples as JSON has them
    for field in fields_of(type(options)):
        name = field.name
        default = field.metadata.get("before", field.default)
        old = before.get(name, json.loads(json.dumps(default)))
        may_change = field.metadata["may_change"] and name not in fixed
        if not may_change and old != now[name]:
            raise ConfigError(f"{folder}: {name} was {old!r} and is now {now[name]!r}; "
                              "a resumed run needs the same settings")


@contextlib.contextmanager
def remove_split_on_error(folder: str | Path | None) -> Iterator[None]:
    """Take a split back that was stored by a start which an error ended before the run began."""
    path = None if folder is None else Path(folder) / "split.json"
    fresh = path is not None and not path.exists()
    try:
        yield
    except BaseException:
        if path is not None and fresh:
            with contextlib.suppress(OSError):  # not there, or not empty
                path.unlink(missing_ok=True)
                path.parent.rmdir()
        raise


def highest_memory(output_dir: str | None, peak: int | None) -> float | None:
    """Return the peak of a run in MB: of this part of it, or of one that it goes on from."""
    stored = None if output_dir is None else Path(output_dir) / "results.json"
    if peak is not None and stored is not None and stored.is_file():
        peak = max(peak, int((read_json(stored).get("peak_memory_mb") or 0) * 2**20))
    return None if peak is None else peak / 2**20


def write_label_mapping(folder: str | Path, classes: tuple[str, ...] | list[str]) -> None:
    """Write label_mapping.json: both directions of the class numbering."""
    write_json(Path(folder) / "label_mapping.json", {
        "id_to_label": {str(i): name for i, name in enumerate(classes)},
        "label_to_id": {name: i for i, name in enumerate(classes)}})


def quoted(folder: str | Path) -> str:
    """Return a folder as it can stand on a command line that is shown."""
    return shlex.quote(one_line(folder, 1_000))
