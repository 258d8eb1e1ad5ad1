"""Image classifiers of transformers: transformers:NAME or transformers:FOLDER."""

import warnings
from pathlib import Path
from typing import Any

import torch

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.heads import last_length
from expunge.models.known import known_of_transformers, why_unusable
from expunge.models.sources.extras import explained_download, import_extra
from expunge.models.sources.source import PRETRAINED, Architecture, FoundModel, ModelSource
from expunge.models.sources.weights import fill


def load_transformers(architecture: Architecture, source: ModelSource) -> FoundModel:
    """Return an image classifier of transformers, with mean, std and preprocessing from its image processor.

    A name is looked for on the hub and in its cache, a folder is read as `save_pretrained` wrote it. Weights come
    with it, as safetensors only; where `source` names a file of weights, only the configuration does.

    Raises:
        ClassifierError: transformers is not installed, no such model, weights that do not fit or lack a layer, a
            class count that is not the model's, or a file of weights that does not fit.
    """
    architecture.refuse_options("transformers")
    transformers = import_extra("transformers")
    _check_place(architecture.name)
    own_weights = source.weights is None or source.weights == PRETRAINED
    network = (
        _pretrained(transformers, architecture, source) if own_weights else _filled(transformers, architecture, source)
    )
    config = network.config
    if source.num_classes is not None and source.num_classes != config.num_labels:
        raise ClassifierError("num_classes", f"{config.num_labels}, as the model has", str(source.num_classes))
    processor = _processor(transformers, architecture.name)
    return FoundModel.with_known(network, known_of_transformers(config, processor))


def _check_place(name: str) -> None:
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).is_dir()
    if looks_like_path and not (Path(name) / "config.json").is_file():
        raise ClassifierError(name, "a folder with a config.json, as save_pretrained writes it", "none there")


def _pretrained(transformers: Any, architecture: Architecture, source: ModelSource) -> Any:  # noqa: ANN401 - no types
    with explained_download(source.architecture):
        network, loaded = transformers.AutoModelForImageClassification.from_pretrained(
            architecture.name,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise ClassifierError(
            source.architecture,
            "weights for every layer",
            f"none for {', '.join(missing[:5])}",
            "this is not a trained classifier yet; train it, or choose another",
        )
    return network


def _filled(transformers: Any, architecture: Architecture, source: ModelSource) -> Any:  # noqa: ANN401 - no types
    assert isinstance(source.weights, Path)  # noqa: S101 - the caller saw to it
    with explained_download(source.architecture):
        config = transformers.AutoConfig.from_pretrained(architecture.name, trust_remote_code=False)
        network = transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    weights = source.read_weights(network)
    num_classes = source.num_classes or last_length(network, weights)
    if num_classes != config.num_labels:
        config.num_labels = num_classes
        network = transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    fill(network, weights, place=str(source.weights))
    return network


def _processor(transformers: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - transformers has no types
    """Return the settings of the model's image processor, or {} with a warning where they are of no use here."""
    try:
        settings: dict[str, Any] = transformers.AutoImageProcessor.from_pretrained(
            name, trust_remote_code=False
        ).to_dict()
    except (OSError, ValueError) as error:
        reason = f"{error}".split("\n")[0]
    else:
        reason = why_unusable(settings)
        if not reason:
            return settings
    warnings.warn(
        f"the image processor of {name} cannot be used ({reason}): images stay as they are unless --resize and --crop "
        "say otherwise",
        ExpungeWarning,
        stacklevel=2,
    )
    return {}
