"""Image classifiers of transformers: transformers:NAME or transformers:FOLDER."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.data.preprocessing import AS_IS, Interpolation, Preprocessing
from expunge.models.sources.extras import explained_download, import_extra
from expunge.models.sources.source import PRETRAINED, Architecture, FoundModel, ModelSource
from expunge.models.sources.weights import fill, last_length, read_weights

BYTE_SCALE = 1 / 255
UNSUPPORTED = ("include_top", "rescale_offset", "do_pad", "pretrained_cfg")
RESAMPLING = {
    0: Interpolation.NEAREST,
    1: Interpolation.LANCZOS,
    2: Interpolation.BILINEAR,
    3: Interpolation.BICUBIC,
    4: Interpolation.BOX,
    5: Interpolation.HAMMING,
}


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
    mean, std = _mean_and_std(processor) if processor else (None, None)
    return FoundModel(
        network,
        config.num_labels,
        preprocessing_of(processor) if processor else AS_IS,
        mean,
        std,
        _class_names(config.id2label, config.num_labels),
    )


def preprocessing_of(processor: Mapping[str, Any]) -> Preprocessing:
    """Return what an image processor of transformers does before it normalises, given its settings.

    Source: transformers 5, image_processing_convnext.py for `crop_pct`, image_processing_vit.py for the others.
    """
    interpolation = RESAMPLING[int(processor.get("resample", 2))]
    size = processor.get("size") or {}
    short, resize, crop = size.get("shortest_edge"), None, None
    if processor.get("do_resize", True):
        resize = int(short) if short else _pair(size)
    if processor.get("do_center_crop"):
        crop = _pair(processor["crop_size"])
    if short and resize and processor.get("crop_pct"):
        if short >= 384 and str(processor["image_processor_type"]).startswith("ConvNext"):
            return Preprocessing((short, short), None, interpolation)
        return Preprocessing(int(short / processor["crop_pct"]), crop or (short, short), interpolation)
    return Preprocessing(resize, crop, interpolation)


def _check_place(name: str) -> None:
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).is_dir()
    if looks_like_path and not (Path(name) / "config.json").is_file():
        raise ClassifierError(name, "a folder with a config.json, as save_pretrained writes it", "none there")


def _pretrained(transformers: Any, architecture: Architecture, source: ModelSource) -> Any:  # noqa: ANN401 - no types
    with explained_download(source.architecture):
        network, loaded = transformers.AutoModelForImageClassification.from_pretrained(
            architecture.name, use_safetensors=True, dtype=torch.float32, output_loading_info=True
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
        config = transformers.AutoConfig.from_pretrained(architecture.name)
        network = transformers.AutoModelForImageClassification.from_config(config)
    weights = read_weights(source.weights)
    num_classes = source.num_classes or last_length(network, weights)
    if num_classes != config.num_labels:
        config.num_labels = num_classes
        network = transformers.AutoModelForImageClassification.from_config(config)
    fill(network, weights, place=str(source.weights))
    return network


def _processor(transformers: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - transformers has no types
    """Return the settings of the model's image processor, or {} with a warning where they are of no use here."""
    try:
        settings: dict[str, Any] = transformers.AutoImageProcessor.from_pretrained(name).to_dict()
    except (OSError, ValueError) as error:
        reason = f"{error}".split("\n")[0]
    else:
        size = settings.get("size") or {}
        unknown = [key for key in UNSUPPORTED if settings.get(key)]
        if not unknown and (not settings.get("do_resize", True) or "shortest_edge" in size or "height" in size):
            return settings
        reason = f"{', '.join(unknown) or 'its size'} is not supported"
    warnings.warn(
        f"the image processor of {name} cannot be used ({reason}): images stay as they are unless --resize and --crop "
        "say otherwise",
        ExpungeWarning,
        stacklevel=2,
    )
    return {}


def _mean_and_std(processor: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std for pixels in 0..1, whatever scale the processor normalises at."""
    factor = float(processor.get("rescale_factor", BYTE_SCALE)) if processor.get("do_rescale", True) else 1.0
    scale = 1.0 if abs(factor - BYTE_SCALE) < 1e-9 else factor / BYTE_SCALE
    if not processor.get("do_normalize", True):
        return (0.0,), (1 / scale,)
    mean, std = (tuple(float(value) / scale for value in processor[key]) for key in ("image_mean", "image_std"))
    return mean, std


def _pair(size: Mapping[str, Any]) -> tuple[int, int]:
    return int(size["height"]), int(size["width"])


def _class_names(id2label: Mapping[int, str], num_classes: int) -> tuple[str, ...]:
    names = tuple(str(id2label.get(label, "")) for label in range(num_classes))
    made_up = all(name == f"LABEL_{label}" for label, name in enumerate(names))
    return () if made_up or not all(names) else names
