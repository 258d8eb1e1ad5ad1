"""Networks that a function of the user's own code makes: who names one, and what comes of it."""

from torch import nn

from expunge.base.errors import ClassifierError
from expunge.base.functions import find_function
from expunge.models.sources.load import SOURCES

OWN = "expunge."
"""Modules of this package begin with this."""


def names_code(architecture: object) -> bool:
    """Return whether loading this architecture runs a function of somebody's code.

    >>> names_code("nets:build"), names_code("timm:resnet18")
    (True, False)
    """
    if not isinstance(architecture, str) or ":" not in architecture:
        return False
    return architecture.partition(":")[0] not in SOURCES and not architecture.startswith(OWN)


def make_network(name: str) -> nn.Module:
    """Return the network that the function package.module:function returns.

    Raises:
        ClassifierError: there is no such function, it fails, or it returns something else.
    """
    make = find_function(name, ClassifierError)
    try:
        network = make()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ClassifierError(name, "a function that works without arguments", reason) from error
    if not isinstance(network, nn.Module):
        raise ClassifierError(name, "a function that returns an nn.Module", type(network).__name__)
    return network
