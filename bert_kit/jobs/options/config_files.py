"""Options from a file: TOML, JSON or YAML, and files that the kit itself wrote."""

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_kit.errors import BertKitError, ConfigError
from bert_kit.files import check_readable, read_json
from bert_kit.parsing import check_depth

# Versions before 0.2 stored options of each task on texts with all of them; as these, they say
# nothing.
_SAY_NOTHING = {"label_separator": "|", "asymmetric": False, "label_smoothing": 0.0,
                "focal_gamma": 0.0, "class_weight": None}
_LONGEST = 2**15  # bytes of TOML or YAML; a key in a key in a key takes the square of it in memory


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a .toml, .json, .yml or .yaml file; YAML where PyYAML is installed.

    Of a file that the kit wrote, a run's manifest.json or a best configuration of `tune`, it is
    the settings in it.

    Raises
    ------
    ConfigError
        If the file cannot be read, is damaged, or holds something else.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        values = read_json(path)
        if not {"bert_kit", "settings"} <= values.keys():
            return values
        return stored_settings(_mapping(path, values["settings"]))
    if suffix not in (".toml", ".yml", ".yaml"):
        raise ConfigError(f"{path}: expected a file ending in .toml, .json, .yml or .yaml")
    kind, parse = ("TOML", tomllib.loads) if suffix == ".toml" else ("YAML", _yaml_reader(path))
    try:
        check_readable(path, _LONGEST)
        values = parse(path.read_text("utf-8-sig"))
        check_depth(values)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
                          ) from None
    except BertKitError:
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path}: not valid {kind} ({reason})") from None
    return _mapping(path, values)


def stored_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in a file of the kit such that today they mean what they meant."""
    found = {name: value for name, value in values.items()
             if name not in _SAY_NOTHING or value != _SAY_NOTHING[name]}
    if "wavelet_type" in found:  # of a text classifier; before 0.8 there was no such option
        found.setdefault("scale_with_classes", False)
    return found


def _mapping(path: Path, values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, expected options by name")
    return values


def _yaml_reader(path: Path) -> Callable[[str], object]:
    """Return a function that reads YAML as strictly as JSON and TOML are read."""
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"{path}: YAML needs the package pyyaml (pip install -e '.[yaml]'); "
                          "or write the same as .toml or .json") from None

    class Strict(yaml.SafeLoader):
        # With a few aliases, a page is a terabyte.
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias; expected the value itself")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            mapping = super().construct_mapping(node, deep)
            if len(mapping) < len(node.value):
                raise yaml.YAMLError("a key appears twice; expected it once")
            return mapping
    return functools.partial(yaml.load, Loader=Strict)
