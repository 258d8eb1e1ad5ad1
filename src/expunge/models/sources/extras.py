"""Optional libraries: imported when needed, with what to install when they are not there."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from expunge.base.errors import ClassifierError


def import_extra(name: str) -> ModuleType:
    """Return the module `name`.

    Raises:
        ClassifierError: it is not installed, or not whole.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ClassifierError(name, "an installed package", f"{error}", "pip install expunge[models]") from error


@contextmanager
def explained_options(architecture: str) -> Iterator[None]:
    """Turn whatever a library's model says about its keyword arguments into one error; asserts are among it.

    Raises:
        ClassifierError: the model could not be made.
    """
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ClassifierError(architecture, "options that this model takes", reason) from error


@contextmanager
def explained_download(architecture: str) -> Iterator[None]:
    """Turn whatever goes wrong while a library fetches its own weights into one error.

    Libraries raise anything from `OSError` to their HTTP client's own errors there.

    Raises:
        ClassifierError: something did go wrong.
    """
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ClassifierError(
            architecture, "weights that the library finds", reason, "check the name and the network, or pass a file"
        ) from error
