"""Write docs/api.md: every public name, its types and the first sentence of its docstring.

    PYTHONPATH=. python docs/make_api.py
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import get_origin, is_typeddict
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Public names

What each room shows to the others and to you: the names that `from bert_kit.ROOM import NAME`
takes, file by file. Written by `python docs/make_api.py` from the signatures and docstrings; `help`
shows them whole. What `bert_kit` itself has is told once, there.

```python
import bert_kit

assert all(getattr(bert_kit, name).__doc__ for name in bert_kit.__all__)
```
"""


class Plain(str):
    """A type or a default value, as the page shows it."""

    __repr__ = str.__str__


def type_name(annotation: object) -> Plain:
    """Return a type as a reader writes it: without its module, `Tensor` for `torch.Tensor`."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"ForwardRef\('([^']*)'[^)]*\)", r"\1", text)
    return Plain(re.sub(r"\b(?:\w+\.)+(?=[A-Za-z_])", "", text))


def signature(thing: object) -> str:
    """Return the parameters with their types; a default that has no short name is an ellipsis."""
    if not callable(thing) or getattr(thing, "_is_protocol", False) or get_origin(thing):
        return ""  # an alias of a type has none
    if isinstance(thing, type) and issubclass(thing, Exception) or is_typeddict(thing):
        return ""
    whole, parameters = inspect.signature(thing), []
    for parameter in whole.parameters.values():
        if parameter.default is not parameter.empty:
            shown = getattr(parameter.default, "__name__", repr(parameter.default))
            parameter = parameter.replace(default=Plain("…" if "<" in shown else shown))
        if parameter.annotation is not parameter.empty:
            parameter = parameter.replace(annotation=type_name(parameter.annotation))
        parameters.append(parameter)
    returned = whole.empty if isinstance(thing, type) else whole.return_annotation
    if returned is not whole.empty:
        returned = type_name(returned)
    return str(inspect.Signature(parameters, return_annotation=returned))


def entry(name: str, thing: object) -> str:
    """Return the line of one name."""
    text = inspect.getdoc(thing) if callable(thing) and not get_origin(thing) else None
    first = " ".join((text or "").partition("\n\n")[0].split())
    return f"- `{name}{signature(thing)}`" + (f": {first}" if first else "")


def home(thing: object, listed: str) -> str:
    """Return the file that defines a public thing; `listed` is where a face says it comes from."""
    module = getattr(thing, "__module__", None) or listed
    if not module.startswith("bert_kit"):
        module = listed
    path = module.replace(".", "/")
    return f"{path}.py" if (ROOT / f"{path}.py").is_file() else f"{path}/__init__.py"


def faces() -> Iterator[tuple[ModuleType, dict[str, str]]]:
    """Yield each package that has a face, and {name: its file} in the order of the files."""
    for path in sorted((ROOT / "bert_kit").rglob("__init__.py")):
        room = importlib.import_module(".".join(path.parent.relative_to(ROOT).parts))
        if hasattr(room, "__all__"):
            files = {alias.name: home(getattr(room, alias.name), str(node.module))
                     for node in ast.walk(ast.parse(path.read_text("utf-8")))
                     if isinstance(node, ast.ImportFrom) for alias in node.names
                     if alias.name in room.__all__}
            yield room, dict(sorted(files.items(), key=lambda item: (item[1], item[0].lower())))


def api() -> str:
    """Return the page."""
    lines, shown = [HEAD], set()
    for room, files in faces():
        lines.append(f"## {room.__name__}\n\n{str(room.__doc__).splitlines()[0]}\n")
        before = [f"`{name}`" for name in sorted(files, key=str.lower) if name in shown]
        if before:
            lines.append(f"Above already: {', '.join(before)}.\n")
        new = [name for name in files if name not in shown]
        for file, names in groupby(new, key=files.get):
            lines.append(f"[{file}](../{file})\n")
            lines += [*(entry(name, getattr(room, name)) for name in names), ""]
        shown.update(files)
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(api(), "utf-8")
