"""Write docs/api.md: every public name, its parameters and the first sentence of its docstring.

    PYTHONPATH=. python docs/make_api.py
"""

import importlib
import inspect
from pathlib import Path

ROOMS = ("bert_kit", "bert_kit.model", "bert_kit.weights", "bert_kit.data", "bert_kit.training",
         "bert_kit.evaluation", "bert_kit.tuner", "bert_kit.active")
HEAD = """# Public names

Written by `python docs/make_api.py` from the docstrings; `help` shows them whole. A name stands
under the first room that has it.

```python
import bert_kit

assert all(getattr(bert_kit, name).__doc__ for name in bert_kit.__all__)
```
"""


class Plain(str):
    """A default value, as the page shows it."""

    __repr__ = str.__str__


def signature(thing):
    """Return the parameters without their types; what has no short name is an ellipsis."""
    if not callable(thing) or isinstance(thing, type) and issubclass(thing, Exception):
        return ""
    parameters = []
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.default is not parameter.empty:
            shown = getattr(parameter.default, "__name__", repr(parameter.default))
            parameter = parameter.replace(default=Plain("…" if "<" in shown else shown))
        parameters.append(parameter.replace(annotation=parameter.empty))
    return str(inspect.Signature(parameters))


def entry(name, thing):
    """Return the line of one name."""
    text = inspect.getdoc(thing) if callable(thing) else None
    first = " ".join((text or "").partition("\n\n")[0].split())
    return f"- `{name}{signature(thing)}`" + (f": {first}" if first else "")


def api():
    """Return the page."""
    lines, shown = [HEAD], set()
    for room in map(importlib.import_module, ROOMS):
        lines.append(f"## {room.__name__}\n\n{room.__doc__.splitlines()[0]}\n")
        lines += [entry(name, getattr(room, name))
                  for name in sorted(room.__all__, key=str.lower) if name not in shown]
        lines.append("")
        shown.update(room.__all__)
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(api(), "utf-8")
