"""Classifiers that the user's own code makes: package.module:function."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from expunge.errors import ClassifierError
from expunge.models.source import PRETRAINED, FoundModel, ModelSource
from expunge.models.weights import fill, last_length, read_weights


def load_from_function(module: str, function: str, source: ModelSource) -> FoundModel:
    """Return the network that `module.function()` returns, with the weights of `source` if it names a file.

    The module is imported from the current folder or from Python's path. Importing it runs it, as `python -m` does.

    Raises:
        ClassifierError: the module or the function is not there or fails, what it returns is no `nn.Module`,
            "pretrained" is asked for, or the weights do not fit.
    """
    if source.weights == PRETRAINED:
        raise ClassifierError("weights", "a file, or none where the function loads its own", PRETRAINED)
    with _current_folder_first():
        make = _function(module, function)
        try:
            network = make()
        except Exception as error:
            raise ClassifierError(
                source.architecture, "a function that works without arguments", f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(network, nn.Module):
        raise ClassifierError(source.architecture, "a function that returns an nn.Module", type(network).__name__)
    if source.weights is not None:
        fill(network, read_weights(source.weights), place=str(source.weights))
    return FoundModel(network, source.num_classes or last_length(network))


def _function(module: str, function: str) -> Callable[[], object]:
    try:
        found: object = getattr(importlib.import_module(module), function, None)
    except Exception as error:
        raise ClassifierError(
            f"{module}:{function}",
            "a module that can be imported, or timm:, torchvision:, transformers: or cifar: with a name",
            f"{type(error).__name__}: {error}",
            f"run from the folder that holds {module.partition('.')[0]}.py",
        ) from error
    if not callable(found):
        raise ClassifierError(f"{module}:{function}", f"a function in {module}", "none of that name")
    return found


@contextmanager
def _current_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)
