"""The files beside the weights with which timm's and transformers' own loaders take a folder as it is."""

import copy
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.base.disk import write_text
from expunge.base.errors import ClassifierError, OutputError
from expunge.data.preprocessing import Preprocessing
from expunge.models.classifier import Classifier
from expunge.models.known import RESAMPLING
from expunge.models.sources.extras import import_extra

CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"

Shape = tuple[int, int, int]


def library_of(network: nn.Module) -> str | None:
    """Return the library whose own loader can make this network: `timm`, `transformers`, or None.

    A class of the user's own that is derived from one of theirs is not theirs.
    """
    root = type(network).__module__.partition(".")[0]
    marks = {"timm": "pretrained_cfg", "transformers": "config"}
    return root if root in marks and hasattr(network, marks[root]) else None


def write_library_files(
    classifier: Classifier, shape: Shape, preprocessing: Preprocessing | None, folder: Path
) -> list[str]:
    """Write the library's configuration to `folder`, and return the names of the files; none for another network.

    Args:
        classifier: its network says which library it is of.
        shape: (c, h, w) of its images.
        preprocessing: what is done to a photograph before; default: resize to `shape`.
        folder: it holds, or will hold, the weights.
    """
    library = library_of(classifier.network)
    files = {} if library is None else WRITERS[library](classifier, shape, preprocessing or Preprocessing(shape[1:]))
    for name, content in files.items():
        write_text(folder / name, content)
    return list(files)


def load_network(library: str, folder: Path) -> nn.Module:
    """Return the network that the library's own loader makes of a folder with its configuration and weights.

    Raises:
        ClassifierError: the library isn't installed, or can't load it.
    """
    module = import_extra(library)
    try:
        network: nn.Module = LOADERS[library](module, folder)
    except Exception as error:  # libraries raise errors of many kinds
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ClassifierError(str(folder), f"a folder that {library} can load", reason) from error
    return network


def _timm_files(classifier: Classifier, shape: Shape, preprocessing: Preprocessing) -> dict[str, str]:
    timm = import_extra("timm.models._hub")  # save_for_hf, its public form, writes the weights once more
    mean, std = _for_unit_pixels(classifier, shape[0])
    data = {"input_size": shape, "mean": mean, "std": std, **_timm_crop(shape, preprocessing)}
    more = {"label_names": list(classifier.class_names)} if classifier.class_names else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG_FILE
        try:
            timm.save_config_for_hf(classifier.network, str(path), model_config=more, data_config=data)
        except ValueError as error:
            raise OutputError("classifier", "a network that timm can describe", f"{error}") from error
        return {CONFIG_FILE: path.read_text("utf-8") + "\n"}


def _timm_crop(shape: Shape, preprocessing: Preprocessing) -> dict[str, Any]:
    resize = preprocessing.resize
    short = resize if isinstance(resize, int) else min(resize or shape[1:])
    side = min(shape[1:])
    share = side / short
    if math.floor(side / share) != short:
        share = side / (short + 0.5)
    return {
        "crop_pct": share,
        "crop_mode": "center" if isinstance(resize, int) else "squash",
        "interpolation": preprocessing.interpolation.value,
    }


def _transformers_files(classifier: Classifier, shape: Shape, preprocessing: Preprocessing) -> dict[str, str]:
    config: Any = copy.deepcopy(classifier.network.config)
    config.architectures = [type(classifier.network).__name__]
    config.dtype = torch.float32
    if classifier.class_names:
        config.id2label = dict(enumerate(classifier.class_names))
        config.label2id = {name: label for label, name in config.id2label.items()}
    mean, std = _for_unit_pixels(classifier, shape[0])
    resize, crop = preprocessing.resize, preprocessing.crop
    height, width = (None, None) if resize is None or isinstance(resize, int) else resize
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": shape[0] == 3,
        "do_resize": resize is not None,
        "size": {"shortest_edge": resize or min(shape[1:])} if height is None else {"height": height, "width": width},
        "resample": RESAMPLING_NUMBERS[preprocessing.interpolation],
        "do_center_crop": crop is not None,
        "crop_size": dict(zip(("height", "width"), crop or shape[1:], strict=True)),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }
    return {CONFIG_FILE: config.to_json_string(), PREPROCESSOR_FILE: json.dumps(processor, indent=2) + "\n"}


def _for_unit_pixels(classifier: Classifier, channels: int) -> tuple[list[float], list[float]]:
    """Return mean and std, one a channel, for pixels in 0..1, whatever the classifier's bounds are."""
    normalisation, bounds = classifier.normalisation, classifier.bounds
    mean = tuple((value - bounds.lower) / bounds.width for value in normalisation.mean)
    std = tuple(value / bounds.width for value in normalisation.std)
    mean, std = (values * channels if len(values) == 1 else values for values in (mean, std))
    return shortest(mean), shortest(std)


def shortest(values: Sequence[float]) -> list[float]:
    """Return the shortest decimals that are the same float32 numbers.

    >>> shortest((0.48500001430511475,))
    [0.485]
    """
    return [float(str(np.float32(value))) for value in values]


WRITERS: Mapping[str, Callable[[Classifier, Shape, Preprocessing], dict[str, str]]] = {
    "timm": _timm_files,
    "transformers": _transformers_files,
}
LOADERS: Mapping[str, Callable[[Any, Path], Any]] = {
    "timm": lambda timm, folder: timm.create_model(f"local-dir:{folder}", pretrained=True),
    "transformers": lambda transformers, folder: transformers.AutoModelForImageClassification.from_pretrained(
        folder, use_safetensors=True, dtype=torch.float32, local_files_only=True
    ),
}
RESAMPLING_NUMBERS = {interpolation: number for number, interpolation in RESAMPLING.items()}
