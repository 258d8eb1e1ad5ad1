"""Classifiers of timm: timm:NAME, timm:hf-hub:OWNER/NAME or timm:local-dir:FOLDER."""

import difflib
from typing import Any

from torch import Tensor

from expunge.base.errors import ClassifierError
from expunge.models.heads import last_length, length_of
from expunge.models.known import known_of_timm
from expunge.models.sources.extras import explained_download, explained_options, import_extra
from expunge.models.sources.source import PRETRAINED, Architecture, FoundModel, ModelSource, warn_random
from expunge.models.sources.weights import fill

WITH_WEIGHTS = ("hf-hub:", "local-dir:")
"""What timm's own loader takes before a repository on the hub, or a folder of its own format; both hold weights."""


def load_timm(architecture: Architecture, source: ModelSource) -> FoundModel:
    """Return a network of timm, with mean, std and preprocessing from its data configuration.

    A repository on the hub and a folder bring their weights along; where `source` names a file, that counts.

    Raises:
        ClassifierError: timm is not installed, an unknown name, options the model does not take, weights that do
            not fit, a failed download, or a preprocessing that cannot be expressed here.
    """
    timm = import_extra("timm")
    if not architecture.name.startswith(WITH_WEIGHTS) and not timm.is_model(architecture.name):
        close = difflib.get_close_matches(architecture.name, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
        raise ClassifierError("architecture", "a model of timm", architecture.name, hint)
    network = _network(timm, architecture, source)
    names = network.pretrained_cfg.get("label_names") or ()
    data = timm.data.resolve_model_data_config(network)
    return FoundModel.with_known(network, known_of_timm(data, network.num_classes, names))


def _network(timm: Any, architecture: Architecture, source: ModelSource) -> Any:  # noqa: ANN401 - timm has no types
    options = dict(architecture.options)
    elsewhere = architecture.name.startswith(WITH_WEIGHTS)
    if elsewhere and source.weights in (None, PRETRAINED):
        return _as_saved(timm, architecture, source)
    if source.num_classes is not None:
        options["num_classes"] = source.num_classes
    if source.weights == PRETRAINED:
        with explained_download(source.architecture):
            return timm.create_model(architecture.name, pretrained=True, **options)
    with (explained_download if elsewhere else explained_options)(source.architecture):
        network = timm.create_model(architecture.name, pretrained=False, **options)
    if source.weights is None:
        warn_random(source.architecture)
        return network
    weights = source.read_weights(network)
    num_classes = _classes_in(network, weights) if source.num_classes is None else source.num_classes
    if num_classes != network.num_classes:
        options["num_classes"] = num_classes
        network = timm.create_model(architecture.name, pretrained=False, **options)
    fill(network, weights, place=str(source.weights))
    return network


def _as_saved(timm: Any, architecture: Architecture, source: ModelSource) -> Any:  # noqa: ANN401 - timm has no types
    """Return the network of a repository or a folder with the weights that are there."""
    with explained_download(source.architecture):
        network = timm.create_model(architecture.name, pretrained=True, **architecture.options)
    if source.num_classes not in (None, network.num_classes):
        raise ClassifierError("num_classes", f"{network.num_classes}, as the model has", str(source.num_classes))
    return network


def _classes_in(network: Any, weights: dict[str, Tensor]) -> int:  # noqa: ANN401 - timm has no types
    """Return the class count in `weights`, read off the layer that timm's configuration calls the classifier."""
    names = network.pretrained_cfg.get("classifier")
    name = names[0] if isinstance(names, tuple | list) and names else names
    tensor = weights.get(f"{name}.weight")
    return last_length(network, weights) if tensor is None else length_of(tensor)
