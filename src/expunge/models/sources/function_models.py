"""Classifiers that the user's own code makes: package.module:function."""

from torch import nn

from expunge.base.errors import ClassifierError
from expunge.base.functions import current_folder_first, find_function
from expunge.models.sources.source import PRETRAINED, FoundModel, ModelSource
from expunge.models.sources.weights import fill, last_length, read_weights


def load_from_function(module: str, function: str, source: ModelSource) -> FoundModel:
    """Return the network that `module.function()` returns, with the weights of `source` if it names a file.

    The module is imported from the current folder or from Python's path. Importing it runs it, as `python -m` does.

    Raises:
        ClassifierError: the module or the function is not there or fails, what it returns is no `nn.Module`,
            "pretrained" is asked for, or the weights do not fit.
    """
    if source.weights == PRETRAINED:
        raise ClassifierError("weights", "a file, or none where the function loads its own", PRETRAINED)
    others = ", or timm:, torchvision:, transformers: or cifar: with a name"
    with current_folder_first():
        make = find_function(f"{module}:{function}", ClassifierError, otherwise=others)
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
