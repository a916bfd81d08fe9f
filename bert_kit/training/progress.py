"""What a person sees of a run: a bar on a terminal, plain lines elsewhere, or nothing.

Speeds and times are shown here and logged nowhere: a log that holds them could not be compared
with that of another run.
"""

import sys
from collections.abc import Mapping
from time import monotonic

from tqdm import tqdm

from bert_kit.printing import spelled_out


class Progress:
    """Reports the steps of a run. Used as a context, which ends the bar.

    Parameters
    ----------
    total
        Steps of the whole run.
    done
        Steps taken before, in an earlier part of a resumed run.
    verbosity
        0 shows only warnings, on the standard error; from 1 on everything is shown.
    """

    def __init__(self, total: int, done: int, verbosity: int) -> None:
        self.total, self.first, self.step, self.rows = total, done, done, 0
        self.shown, self.started = verbosity > 0, monotonic()
        # None is tqdm's word for: only on a terminal.
        self.bar = tqdm(total=total, initial=done, unit="step",
                        disable=None if self.shown else True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def advance(self, rows: int) -> None:
        """Count one step of so many rows."""
        self.step, self.rows = self.step + 1, self.rows + rows
        self.bar.update()

    def report(self, row: Mapping[str, float]) -> None:
        """Show a row of the log, with the speed and the time left since this part began.

        Both include evaluating and saving, as the time that somebody waits does.
        """
        seconds = max(monotonic() - self.started, 1e-9)
        speed = f"{self.rows / seconds:,.0f} examples/s"
        left = seconds / max(1, self.step - self.first) * (self.total - self.step)
        if self.bar.disable:
            self.note(f"epoch {row['epoch']:.2f}  loss {row['loss']:.4f}  "
                      f"{_rates(row)}  {speed}  {in_words(left)} left")
        else:  # the bar tells the time left itself
            self.bar.set_postfix_str(
                f"loss={row['loss']:.3f}, lr={row['learning_rate']:.1e}, {speed}")

    def note(self, text: str) -> None:
        """Show a line about the step just taken."""
        self.say(f"step {self.step}/{self.total}  {text}")

    def say(self, text: str) -> None:
        """Show a line, unless only warnings are wanted."""
        if self.shown:
            self.bar.write(spelled_out(text))
            sys.stdout.flush()

    def warn(self, text: str) -> None:
        """Show a line in any case, on the standard error."""
        self.bar.write(f"step {self.step}/{self.total}  {text}", file=sys.stderr)


def _rates(row: Mapping[str, float]) -> str:
    """Return the rates of a row of the log: that of the encoder, and others by their names."""
    return "  ".join(f"{short} {row[name]:.2e}" for name, short in (
        ("learning_rate", "lr"), ("head_learning_rate", "head lr"),
        ("muon_learning_rate", "Muon lr")) if name in row)


def in_words(seconds: float) -> str:
    """Return a time as a person would estimate it.

    Examples
    --------
    >>> in_words(8.2), in_words(170), in_words(9000)
    ('about 8 s', 'about 3 min', 'about 2.5 h')
    """
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
