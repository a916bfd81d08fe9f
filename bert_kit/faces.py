"""The face of a package: its public names, listed once, and imported on first use.

A package's `__init__.py` holds plain imports under `if TYPE_CHECKING:`. An editor reads these; at
run time they are not executed, but read as a list of names and of where each is defined. So
`import bert_kit` costs nothing, and who needs one name loads one file.
"""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path


def lazy_face(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]],
                                                list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package (PEP 562).

    Parameters
    ----------
    package, file
        `__name__` and `__file__` of the package, whose source lists the names.

    Examples
    --------
    ::

        if TYPE_CHECKING:
            from bert_kit.errors import BertKitError as BertKitError
        else:
            __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
    """
    tree = ast.parse(Path(file).read_text("utf-8"))
    listed = next(node.body for node in tree.body if isinstance(node, ast.If))
    home = {alias.name: node.module for node in listed if isinstance(node, ast.ImportFrom)
            for alias in node.names}

    def getattribute(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(str(home[name])), name)

    return getattribute, lambda: sorted([*vars(importlib.import_module(package)), *home]), sorted(
        home)
