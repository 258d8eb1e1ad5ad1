"""Functions of the user's own code, named as package.module:function."""

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expunge.base.errors import ExpungeError, suggest


def find_function(
    name: str, kind: type[ExpungeError], *, otherwise: str = "", known: Iterable[str] = ()
) -> Callable[..., Any]:
    """Return the function of that name; its module is imported from the current folder or from Python's path.

    Importing a module runs it, as `python -m` does.

    Args:
        name: package.module:function.
        kind: the error to raise.
        otherwise: what else the name could have been, for the error's text.
        known: names of which it may be a misspelling.

    Raises:
        ExpungeError: of that kind; the module can't be imported, or has no such function.
    """
    module, _, function = name.partition(":")
    try:
        with current_folder_first():
            found: object = getattr(importlib.import_module(module), function, None)
    except (Exception, SystemExit) as error:
        raise kind(
            name,
            f"a module that can be imported{otherwise}",
            f"{type(error).__name__}: {error}",
            suggest(module, known) or f"run from the folder that holds {module.partition('.')[0]}.py",
        ) from error
    if not callable(found):
        raise kind(name, f"a function in {module}", "none of that name")
    return found


@contextmanager
def current_folder_first() -> Iterator[None]:
    """Let modules of the current folder be imported during the block."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)
