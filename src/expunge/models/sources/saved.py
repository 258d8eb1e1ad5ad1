"""Classifiers from the folders that edits are saved to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.base.errors import ClassifierError
from expunge.data.preprocessing import Interpolation, Preprocessing
from expunge.models.classifier import Classifier
from expunge.models.copying import copy_module
from expunge.models.description import DESCRIPTION_FILE, WEIGHTS_FILE, Description
from expunge.models.libraries import load_network
from expunge.models.pixels import Bounds, Normalisation
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.load import load_classifier, names_code
from expunge.models.sources.source import ModelSource
from expunge.models.sources.weights import fill
from expunge.models.wrappers import unwrapped

HINT = "was the folder written by Edit.save?"


def read_classifier(
    folder: Path, network: nn.Module | None = None, *, allow_code: bool = False
) -> tuple[Classifier, Description]:
    """Return the classifier whose weights and classifier.json are in `folder`, in eval mode on the CPU.

    Args:
        folder: what `Edit.save` wrote.
        network: a network of the same architecture, in any wrapper that `unlearn` takes, which stays as it is; needed
            where classifier.json names none.
        allow_code: whether a function that classifier.json names may be run to make the network.

    Raises:
        ClassifierError: no such file, weights that don't fit, or an architecture that nobody named.
    """
    path = folder / DESCRIPTION_FILE
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ClassifierError(str(path), "a description of the classifier", f"{error}", HINT) from error
    try:
        return _read(folder, facts, network, allow_code=allow_code)
    except (LookupError, TypeError, AttributeError) as error:
        raise ClassifierError(str(path), "a description of the classifier", f"{error!r}", HINT) from error


def _read(
    folder: Path, facts: Mapping[str, Any], network: nn.Module | None, *, allow_code: bool
) -> tuple[Classifier, Description]:
    if network is None and not facts["library"] and names_code(facts["architecture"]) and not allow_code:
        named = f"{facts['architecture']}, a function that would be run"
        hint = "if you trust the folder, say allow_code=True (--allow-code), or pass network="
        raise ClassifierError(str(folder / DESCRIPTION_FILE), "an architecture of a library", named, hint)
    normalisation = Normalisation(tuple(facts["mean"]), tuple(facts["std"]))
    own = _network(folder, facts, normalisation) if network is None else copy_module(unwrapped(network))
    classifier = Classifier.wrap(
        _filled(own, folder / WEIGHTS_FILE).eval(),
        num_classes=facts["num_classes"],
        mean=normalisation.mean,
        std=normalisation.std,
        bounds=Bounds(*facts["bounds"]),
        class_names=facts["class_names"],
    )
    classifier.module.eval()
    return classifier, _description(facts)


def _network(folder: Path, facts: Mapping[str, Any], normalisation: Normalisation) -> nn.Module:
    if facts["library"] is not None:
        return load_network(facts["library"], folder)
    if facts["architecture"] is None:
        raise ClassifierError(
            str(folder / DESCRIPTION_FILE),
            "an architecture",
            "none: the edited network was an object of your own",
            "pass a network of the same architecture (network=, or --model package.module:function)",
        )
    source = ModelSource(facts["architecture"], folder / WEIGHTS_FILE, facts["num_classes"], normalisation)
    return load_classifier(source).classifier.network


def _filled(network: nn.Module, path: Path) -> nn.Module:
    """Return the network in the number format of the weights at `path`, and with these: whatever was edited is kept."""
    weights = read_weights(path)
    kinds = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    network = network.double() if kinds == {torch.float64} else network.float()
    fill(network, weights, place=str(path))
    return network


def _description(facts: Mapping[str, Any]) -> Description:
    channels, height, width = facts["shape"]
    found = facts["preprocessing"]
    preprocessing = None if found is None else _preprocessing(found)
    return Description((channels, height, width), preprocessing, facts["architecture"])


def _preprocessing(found: Mapping[str, Any]) -> Preprocessing:
    resize, crop = found["resize"], found["crop"]
    return Preprocessing(
        tuple(resize) if isinstance(resize, list) else resize,
        None if crop is None else tuple(crop),
        Interpolation(found["interpolation"]),
        found.get("channels"),
    )
