"""What a campaign knows, and the folder that holds it: nothing is lost to a kill at any moment.

    state.json      what is labelled, ignored and asked for; written anew at each change
    round-000/      one folder a training, written whole or not at all:
        round.json  its rows, labels, scores and predictions
        model/      its weights, as `save_model` leaves them
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bert_kit.errors import BertKitError, TrainingError
from bert_kit.files import (atomic_file, atomic_folder, check_kinds, read_json, remove_folder,
                            remove_leftovers)

# What the state and the record of a round hold, and of what kind.
STATE = {"labelled": list, "labels": list, "ignored": list, "queried": list, "rounds": int}
RECORD = {"round": int, "rows": list, "labels": list, "metrics": dict, "predictions": list,
          **dict.fromkeys(("changed", "delta_f", "kappa"), float | int | None),
          "uncertainty": float | int}

Record = dict[str, Any]  # a training that ended, as its round.json holds it


@dataclass
class CampaignState:
    """Where a campaign stands. All values can be written as JSON.

    Attributes
    ----------
    labels
        Label by row, in the order in which they came.
    ignored
        Rows that are never asked for.
    queried
        Rows that were asked for and have no answer yet.
    rounds
        Trainings begun. The last of them may not have ended.
    """

    labels: dict[int, Any] = field(default_factory=dict)
    ignored: list[int] = field(default_factory=list)
    queried: list[int] = field(default_factory=list)
    rounds: int = 0


class CampaignFolder:
    """The files of one campaign.

    Parameters
    ----------
    settings
        What must be the same when the campaign goes on.
    save_model, load_model
        `save_model(model, folder)` and `load_model(folder) -> model`.
    keep_weights
        Whether to keep those of all rounds, not only of the last.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any],
                 save_model: Callable[[Any, Path], object], load_model: Callable[[Path], Any],
                 keep_weights: bool) -> None:
        self.path, self.settings, self.keep_weights = Path(path), settings, keep_weights
        self.save_model, self.load_model = save_model, load_model

    def open(self, resume: bool) -> tuple[CampaignState, list[Record]]:
        """Return (CampaignState, rounds that ended); new ones if the folder holds none.

        Raises
        ------
        TrainingError
            If there is a campaign and `resume` is False, or it has other settings or is damaged.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / "state.json"
        if not file.exists():
            remove_leftovers(self.path)
            return CampaignState(), []
        if not resume:
            raise TrainingError(f"{self.path} already has a campaign; resume it, or choose "
                                "another folder")
        state = self._read_state(file)
        ended = [number for number in range(state.rounds) if self._round(number).is_dir()]
        if ended[:state.rounds - 1] != list(range(state.rounds - 1)):
            raise TrainingError(f"{self.path}: of {state.rounds} rounds that were begun only "
                                f"{ended} are here; expected all but the last at least")
        for folder in (self.path, *map(self._round, ended)):
            remove_leftovers(folder)
        self._drop_weights(len(ended) - 1)
        return state, [self._read_round(number) for number in ended]

    def _read_state(self, file: Path) -> CampaignState:
        stored = read_json(file)
        try:
            for name, value in self.settings.items():
                if stored["settings"][name] != value:
                    raise TrainingError(f"{file}: {name} was {stored['settings'][name]!r} and is "
                                        f"now {value!r}; a resumed campaign needs the same")
            check_kinds(stored, STATE, file)
            labels = dict(zip(stored["labelled"], stored["labels"], strict=True))
            for row in (*stored["labelled"], *stored["ignored"], *stored["queried"]):
                if type(row) is not int or not 0 <= row < self.settings["rows"]:
                    raise ValueError(f"row {row!r}")
            return CampaignState(labels, stored["ignored"], stored["queried"], stored["rounds"])
        except BertKitError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"{file}: is not the state of a campaign ({error!r})") from None

    def _read_round(self, number: int) -> Record:
        file = self._round(number) / "round.json"
        record = read_json(file)
        check_kinds(record, RECORD, file)
        if missing := sorted(RECORD.keys() - record.keys()):
            raise TrainingError(f"{file}: has no {missing[0]}; expected what a round leaves")
        if record["round"] != number:
            raise TrainingError(f"{file}: is of round {record['round']}; expected {number}")
        return record

    def write_state(self, state: CampaignState) -> None:
        """Replace state.json."""
        values = asdict(state)
        labels = values.pop("labels")
        with atomic_file(self.path / "state.json") as path:
            _write_json(path, {"settings": self.settings, "labelled": list(labels),
                               "labels": list(labels.values()), **values})

    def write_round(self, record: Record, model: Any) -> None:
        """Store a training that ended."""
        with atomic_folder(self._round(record["round"])) as folder:
            _write_json(folder / "round.json", record)
            self.save_model(model, folder / "model")
        self._drop_weights(record["round"])

    def read_model(self, number: int) -> Any:
        """Return the model of a round."""
        return self.load_model(self._round(number) / "model")

    def _drop_weights(self, last: int) -> None:
        """Remove the weights of the rounds before the last, unless they are to be kept."""
        for number in range(0 if self.keep_weights else last):
            if (self._round(number) / "model").exists():
                remove_folder(self._round(number) / "model")

    def _round(self, number: int) -> Path:
        return self.path / f"round-{number:03}"


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write one key a line: a number a line, as elsewhere in the kit, is no easier to read."""
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}"
                      for key, value in values.items())
    path.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
