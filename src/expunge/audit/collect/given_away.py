"""What the change of the weights gives away: how strongly each layer's change answers to each image.

What an edit adds to a layer is nearly a sum of products with what goes into it for the forgotten images. So whoever has
both versions of the weights can ask of any image how strongly the change answers to it.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from expunge.audit.collect.features import called_layers, record
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.compute.runtime import Runtime
from expunge.data.images import Images
from expunge.models.classifier import Classifier

Scores = Float[np.ndarray, "layers n"]


@dataclass(frozen=True, slots=True)
class GivenAway:
    """How strongly the change of the weights answers to forgotten images, and to others.

    Args:
        layers: names of the layers that changed.
        forget: (layers, k) answers to forgotten images.
        others: (layers, n) answers to other images.
        pictures: (k,) largest correlation (0..1) of a forgotten picture with a main direction of the first layer's
            change; None where the first layer is not fully connected.
        other_pictures: (n,) the same of other pictures.
    """

    layers: tuple[str, ...]
    forget: Scores
    others: Scores
    pictures: Float[np.ndarray, " k"] | None = None
    other_pictures: Float[np.ndarray, " n"] | None = None


def ask_change(before: Classifier, after: Classifier, forget: Images, others: Images, runtime: Runtime) -> GivenAway:
    """Return how the change from `before` to `after` answers to images.

    Args:
        before: the classifier as it was; the images go through it.
        after: the edited one.
        forget: forgotten images.
        others: other images, among which the forgotten ones are looked for.
        runtime: batch size and progress.

    Raises:
        NotDefinedError: no layer changed that both call under one name with equally many weights.
    """
    called = called_layers(before, forget.load([0]))
    changes = {name: change for name, module in called if (change := _change(name, module, after)) is not None}
    if not changes:
        raise NotDefinedError("no layer that both classifiers share has changed")
    modules = dict(called)
    kept = {modules[name]: partial(_answer, modules[name], change) for name, change in changes.items()}
    scores = [record(before, kept, images, runtime, "what the change gives away") for images in (forget, others)]
    pictures = _ask_pictures(before, called[0], changes, (forget, others), runtime)
    return GivenAway(tuple(changes), *map(np.stack, scores), *pictures)


def _change(name: str, module: nn.Module, after: Classifier) -> Tensor | None:
    """Return what was added to a layer's weights; None for nothing, or where the other classifier has no such layer."""
    other = dict(after.network.named_modules()).get(name)
    weights = [each.weight for each in (module, other) if isinstance(each, (nn.Linear, nn.Conv2d))]
    if len(weights) < 2 or weights[0].shape != weights[1].shape:
        return None
    change = (weights[1] - weights[0]).detach()
    return change if change.any() else None


def _answer(module: nn.Module, change: Tensor, inputs: Tensor, _: Tensor) -> Float[Tensor, " b"]:
    """Return the length of the change's output for each image, as a share of that of its input without its mean."""
    flat = inputs.flatten(1)
    centred = (flat - flat.mean(dim=1, keepdim=True)).view_as(inputs)
    output = module._conv_forward(centred, change, None) if isinstance(module, nn.Conv2d) else F.linear(centred, change)
    before, after = (values.flatten(1).norm(dim=1) for values in (centred, output))
    share: Tensor = after / before.clamp_min(torch.finfo(before.dtype).tiny)
    return share


def _ask_pictures(
    before: Classifier,
    first: tuple[str, nn.Module],
    changes: dict[str, Tensor],
    parts: tuple[Images, Images],
    runtime: Runtime,
) -> list[Float[np.ndarray, " n"] | None]:
    """Return how alike pictures are to the main directions of the first layer's change, where it sees all pixels."""
    name, module = first
    pixels = parts[0].load([0]).numel()
    if name not in changes or not isinstance(module, nn.Linear) or module.in_features != pixels:
        return [None, None]
    directions = np.linalg.svd(changes[name].cpu().double().numpy())[2][: len(parts[0].ids)]
    found = []
    for images in parts:
        [x] = record(before, {module: lambda inputs, _: inputs.flatten(1)}, images, runtime, "pictures")
        found.append(np.abs(_centred(x) @ _centred(directions).T).max(axis=1))
    return found


def _centred(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(float).tiny))
