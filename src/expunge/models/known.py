"""What the libraries know about their models: class count, class names, size, mean and std."""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from expunge.base.errors import ClassifierError, package_needed
from expunge.data.preprocessing import AS_IS, Interpolation, Preprocessing
from expunge.models.heads import last_length
from expunge.models.pixels import Normalisation

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


@dataclass(frozen=True, slots=True)
class Known:
    """What a library knows about a model; None and () for what it doesn't."""

    num_classes: int
    preprocessing: Preprocessing = AS_IS
    normalisation: Normalisation | None = None
    class_names: tuple[str, ...] = ()


def read_timm(network: nn.Module) -> Known:
    """Return what a model of timm knows of itself; class names where its weights are ImageNet's, or name them.

    Raises:
        ClassifierError: it is no model of timm, timm is not installed, or see `known_of_timm`.
    """
    own: Mapping[str, Any] | None = getattr(network, "pretrained_cfg", None)
    count: Any = getattr(network, "num_classes", None)
    if own is None or not isinstance(count, int):
        raise ClassifierError("model", "a model of timm", type(network).__name__, "Classifier.wrap takes any network")
    with package_needed("timm", "models", ClassifierError):
        data = importlib.import_module("timm.data")
    names: Sequence[str] = own.get("label_names") or ()
    if not names and own.get("num_classes") == count and (subset := data.infer_imagenet_subset(network)):
        names = data.ImageNetInfo(subset).label_descriptions()
    return known_of_timm(data.resolve_model_data_config(network), count, names)


def read_torchvision(network: nn.Module, weights: Any) -> Known:  # noqa: ANN401 - torchvision has no types
    """Return what the weights of a model of torchvision say, given as an entry of their list or by name.

    Raises:
        ClassifierError: torchvision is not installed, or has no such weights.
    """
    with package_needed("torchvision", "models", ClassifierError):
        models = importlib.import_module("torchvision.models")
    if isinstance(weights, str):
        try:
            weights = models.get_weight(weights)
        except (ValueError, AttributeError) as error:
            raise ClassifierError("weights", "a name such as ResNet18_Weights.DEFAULT", weights) from error
    if not hasattr(weights, "transforms") or not hasattr(weights, "meta"):
        raise ClassifierError("weights", "an entry of torchvision's weights, or its name", repr(weights))
    return known_of_torchvision(weights, last_length(network))


def read_transformers(network: nn.Module, processor: Any = None) -> Known:  # noqa: ANN401 - no types
    """Return what a model of transformers knows of itself and its image processor.

    Args:
        network: the model.
        processor: its image processor; None for the one beside the model, where that came from.

    Raises:
        ClassifierError: it is no classifier of transformers, or no processor is found that can be followed.
    """
    config: Any = getattr(network, "config", None)
    if not hasattr(config, "id2label"):
        raise ClassifierError("model", "an image classifier of transformers", type(network).__name__)
    if processor is None:
        with package_needed("transformers", "models", ClassifierError):
            transformers = importlib.import_module("transformers")
        try:
            name = getattr(config, "_name_or_path", "")
            processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        except Exception as error:  # OSError, ValueError, or whatever its HTTP client raises
            reason = f"{type(error).__name__}: {error}".split("\n")[0]
            hint = "Classifier.from_transformers(model, processor), or Classifier.wrap with mean and std"
            raise ClassifierError("processor", "the model's image processor", reason, hint) from error
    settings: dict[str, Any] = processor.to_dict()
    if reason := why_unusable(settings):
        raise ClassifierError("processor", "one that resizes, crops and normalises", reason, "use Classifier.wrap")
    return known_of_transformers(config, settings)


def known_of_timm(data: Mapping[str, Any], num_classes: int, class_names: Sequence[str] = ()) -> Known:
    """Return what `timm.data.resolve_model_data_config` says, beside the class count and names.

    Raises:
        ClassifierError: a preprocessing that cannot be expressed here.
    """
    mean, std = (tuple(map(float, data[name])) for name in ("mean", "std"))
    names = tuple(class_names) if len(class_names) == num_classes else ()
    return Known(num_classes, preprocessing_of_timm(data), Normalisation(mean, std), names)


def known_of_torchvision(weights: Any, num_classes: int) -> Known:  # noqa: ANN401 - torchvision has no types
    """Return what an entry of torchvision's weights, such as `ResNet18_Weights.DEFAULT`, says.

    Class names are those of the weights where there are as many.
    """
    preset, names = weights.transforms(), tuple(weights.meta.get("categories", ()))
    crop = (preset.crop_size[0], preset.crop_size[0])
    return Known(
        num_classes,
        Preprocessing(preset.resize_size[0], crop, Interpolation(preset.interpolation.value)),
        Normalisation(tuple(preset.mean), tuple(preset.std)),
        names if len(names) == num_classes else (),
    )


def known_of_transformers(config: Any, processor: Mapping[str, Any]) -> Known:  # noqa: ANN401 - no types
    """Return what a model's configuration and the settings of its image processor say; {} where it has none."""
    return Known(
        config.num_labels,
        preprocessing_of_transformers(processor) if processor else AS_IS,
        _normalisation(processor) if processor else None,
        _class_names(config.id2label, config.num_labels),
    )


def preprocessing_of_timm(data: Mapping[str, Any]) -> Preprocessing:
    """Return what timm's evaluation transform does for its data configuration.

    Source: timm 1.0, timm/data/transforms_factory.py, transforms_imagenet_eval.

    Raises:
        ClassifierError: the crop mode is neither `center` nor `squash`.
    """
    height, width = data["input_size"][1:]
    scaled = (math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"]))
    if data["crop_mode"] not in ("center", "squash"):
        raise ClassifierError("crop_mode", "center or squash", data["crop_mode"], "this model cannot be used yet")
    shorter_side = data["crop_mode"] == "center" and height == width
    interpolation = "bilinear" if data["interpolation"] == "random" else data["interpolation"]
    return Preprocessing(scaled[0] if shorter_side else scaled, (height, width), Interpolation(interpolation))


def preprocessing_of_transformers(processor: Mapping[str, Any]) -> Preprocessing:
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


def why_unusable(processor: Mapping[str, Any]) -> str:
    """Return why the settings of an image processor can't be followed here; "" where they can."""
    size = processor.get("size") or {}
    unknown = [key for key in UNSUPPORTED if processor.get(key)]
    if not unknown and (not processor.get("do_resize", True) or "shortest_edge" in size or "height" in size):
        return ""
    return f"{', '.join(unknown) or 'its size'} is not supported"


def _normalisation(processor: Mapping[str, Any]) -> Normalisation:
    """Return the normalisation of pixels in 0..1, whatever scale the processor normalises at."""
    factor = float(processor.get("rescale_factor", BYTE_SCALE)) if processor.get("do_rescale", True) else 1.0
    scale = 1.0 if abs(factor - BYTE_SCALE) < 1e-9 else factor / BYTE_SCALE
    if not processor.get("do_normalize", True):
        return Normalisation((0.0,), (1 / scale,))
    mean, std = (tuple(float(value) / scale for value in processor[key]) for key in ("image_mean", "image_std"))
    return Normalisation(mean, std)


def _pair(size: Mapping[str, Any]) -> tuple[int, int]:
    return int(size["height"]), int(size["width"])


def _class_names(id2label: Mapping[int, str], num_classes: int) -> tuple[str, ...]:
    names = tuple(str(id2label.get(label, "")) for label in range(num_classes))
    made_up = all(name == f"LABEL_{label}" for label, name in enumerate(names))
    return () if made_up or not all(names) else names
