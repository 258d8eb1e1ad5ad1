"""Classifiers of torchvision: torchvision:NAME."""

import difflib
from dataclasses import replace
from typing import Any

from torch import nn

from expunge.base.errors import ClassifierError
from expunge.models.heads import last_length
from expunge.models.known import known_of_torchvision
from expunge.models.sources.extras import explained_download, explained_options, import_extra
from expunge.models.sources.source import PRETRAINED, Architecture, FoundModel, ModelSource, warn_random
from expunge.models.sources.weights import fill


def load_torchvision(architecture: Architecture, source: ModelSource) -> FoundModel:
    """Return a classifier of torchvision, with mean, std and preprocessing as its default weights want them.

    Class names are known with "pretrained" only: a file may have been trained on other classes.

    Raises:
        ClassifierError: torchvision is not installed, an unknown name, options the model does not take, weights
            that do not fit, or a failed download.
    """
    models = import_extra("torchvision.models")
    known = models.list_models(module=models)
    if architecture.name not in known:
        close = difflib.get_close_matches(architecture.name, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise ClassifierError("architecture", "a classifier of torchvision", architecture.name, hint)
    default = models.get_model_weights(architecture.name).DEFAULT
    network = _network(models, architecture, source)
    known = known_of_torchvision(default, last_length(network))
    return FoundModel.with_known(network, known if source.weights == PRETRAINED else replace(known, class_names=()))


def _network(models: Any, architecture: Architecture, source: ModelSource) -> nn.Module:  # noqa: ANN401 - no types
    options = dict(architecture.options)
    if source.weights == PRETRAINED:
        with explained_download(source.architecture):
            pretrained: nn.Module = models.get_model(architecture.name, weights="DEFAULT", **options)
        return pretrained
    if source.num_classes is not None:
        options["num_classes"] = source.num_classes
    with explained_options(source.architecture):
        network: nn.Module = models.get_model(architecture.name, weights=None, **options)
    if source.weights is None:
        warn_random(source.architecture)
        return network
    weights = source.read_weights(network)
    num_classes = source.num_classes or last_length(network, weights)
    if num_classes != last_length(network):
        network = models.get_model(architecture.name, weights=None, **{**options, "num_classes": num_classes})
    fill(network, weights, place=str(source.weights))
    return network
