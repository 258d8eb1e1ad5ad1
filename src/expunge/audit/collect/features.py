"""What happens inside a classifier: the features before its last layer, and how alike layers are in two classifiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.geometry import linear_cka
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Runtime
from expunge.data.images import Images, batches
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating, hooked

POOLED = 2

Keep = Callable[[Tensor, Tensor], Tensor]
"""Input and output of a module for a batch -> what is kept of them, a row for each image."""


@dataclass(frozen=True, slots=True)
class LayerSimilarity:
    """Linear CKA of one layer's outputs in two classifiers; None where it is not defined."""

    layer: str
    part: str
    cka: float | None


def gather_features(classifier: Classifier, images: Images, runtime: Runtime, name: str) -> Float[np.ndarray, "n d"]:
    """Return what goes into the last linear or convolutional layer, averaged over positions where it has any.

    Args:
        classifier: any classifier.
        images: loaded batch by batch.
        runtime: batch size and progress.
        name: of the phase.

    Raises:
        NotDefinedError: the classifier calls no such layer.
    """
    _, last = called_layers(classifier, images.load([0]))[-1]
    [found] = record(classifier, {last: lambda inputs, _: _without_positions(last, inputs)}, images, runtime, name)
    return found


def layer_similarity(
    before: Classifier, after: Classifier, images: Images, runtime: Runtime, part: str
) -> tuple[LayerSimilarity, ...]:
    """Return the linear CKA of each linear and convolutional layer that both classifiers call under one name.

    Outputs of convolutions are averaged to 2 x 2 positions, those of other layers over all positions, which bounds the
    memory and hardly changes the figure.
    """
    names = dict(called_layers(before, images.load([0])))
    shared = [name for name, _ in called_layers(after, images.load([0])) if name in names]
    if not shared:
        return ()
    old, new = (_gather_outputs(each, shared, images, runtime, f"layers, {part}") for each in (before, after))
    return tuple(LayerSimilarity(name, part, _cka_or_none(old[name], new[name])) for name in shared)


def _cka_or_none(one: np.ndarray, other: np.ndarray) -> float | None:
    try:
        return linear_cka(one, other)
    except NotDefinedError:
        return None


def _gather_outputs(
    classifier: Classifier, names: Sequence[str], images: Images, runtime: Runtime, phase: str
) -> Mapping[str, np.ndarray]:
    modules = dict(classifier.network.named_modules())
    kept = {modules[name]: partial(_keep_output, modules[name]) for name in names}
    return dict(zip(names, record(classifier, kept, images, runtime, phase), strict=True))


def _keep_output(module: nn.Module, _: Tensor, output: Tensor) -> Tensor:
    if isinstance(module, nn.Conv2d):
        return F.adaptive_avg_pool2d(output, POOLED).flatten(1)
    return _without_positions(module, output)


def called_layers(classifier: Classifier, x: Float[Tensor, "1 c h w"]) -> list[tuple[str, nn.Module]]:
    """Return the layers in the order of their last call, of those that are called once and image by image.

    A linear layer may get an image in parts, as in window attention, which lays the windows of an image one after
    another in the batch; a layer with the images along another dimension is left out.
    """
    found = {
        name: module
        for name, module in classifier.network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    calls, of_two = (_output_rows(classifier, found, each) for each in (x, x.expand(2, -1, -1, -1)))
    once = [
        name
        for name, rows in calls.items()
        if len(rows) == 1 and of_two[name] == [2 * rows[0]] and (isinstance(found[name], nn.Linear) or rows == [1])
    ]
    if not once:
        raise NotDefinedError("the classifier calls no linear or convolutional layer exactly once, image by image")
    return [(name, found[name]) for name in once]


def _output_rows(classifier: Classifier, layers: Mapping[str, nn.Module], x: Tensor) -> dict[str, list[int]]:
    """Return the length of each output of each layer, layers in the order of their last call."""
    calls: dict[str, list[int]] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record_rows(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] = [*calls.pop(name, []), len(output)]

        return record_rows

    hooks = ((module, recorder(name)) for name, module in layers.items())
    with hooked(hooks), torch.no_grad(), evaluating(classifier.module):
        classifier(x.to(classifier.device))
    return calls


def record(
    classifier: Classifier, kept: Mapping[nn.Module, Keep], images: Images, runtime: Runtime, phase: str
) -> list[np.ndarray]:
    """Return what is kept of each module's input and output for all images; see `called_layers` for the modules."""

    def pass_through(x: Tensor, part: slice) -> list[Tensor]:
        found: dict[nn.Module, Tensor] = {}
        pixels = x[part].to(classifier.device)

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            whole = (_by_image(each.detach(), len(pixels)) for each in (inputs[0], output))
            found[module] = kept[module](*whole).float().cpu()

        with hooked((module, hook) for module in kept):
            classifier(pixels)
        return [found[module] for module in kept]

    parts: list[list[Tensor]] = []
    watch = runtime.progress.phase(phase, len(images.labels))
    with watch as advance, torch.no_grad(), evaluating(classifier.module):
        for x, y in batches(images, runtime.batch_size):
            parts.append(runtime.sharing.map_concat(len(x), partial(pass_through, x), among=ALONE))
            advance(len(y))
    return [torch.cat(each).numpy() for each in zip(*parts, strict=True)]


def _by_image(values: Tensor, images: int) -> Tensor:
    """Return what a layer takes or gives with a row for each image: the parts of one become positions of it."""
    return values if len(values) == images else values.reshape(images, -1, *values.shape[1:])


def _without_positions(module: nn.Module, values: Tensor) -> Tensor:
    """Return (b, channels): convolutions have their positions behind the channels, linear layers before them."""
    axes = tuple(range(2, values.ndim)) if isinstance(module, nn.Conv2d) else tuple(range(1, values.ndim - 1))
    return values.mean(dim=axes) if axes else values
