"""What happens inside a classifier: the features before its last layer, and how alike layers are in two classifiers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.geometry import linear_cka
from expunge.compute.runtime import Runtime
from expunge.data.images import Images, batches
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating

POOLED = 2


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
    last = _called_layers(classifier, images.load([0]))[-1]
    collected: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values = inputs[0].detach()
        collected.append(_without_positions(module, values).float().cpu())

    with _hooked({last[0]: last[1]}, lambda _: record):
        _pass_through(classifier, images, runtime, name)
    return torch.cat(collected).numpy()


def layer_similarity(
    before: Classifier, after: Classifier, images: Images, runtime: Runtime, part: str
) -> tuple[LayerSimilarity, ...]:
    """Return the linear CKA of each linear and convolutional layer that both classifiers call under one name.

    Outputs of convolutions are averaged to 2 x 2 positions, those of other layers over all positions, which bounds the
    memory and hardly changes the figure.
    """
    names = dict(_called_layers(before, images.load([0])))
    shared = [name for name, _ in _called_layers(after, images.load([0])) if name in names]
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
    collected: dict[str, list[Tensor]] = {name: [] for name in names}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            collected[name].append(_few_positions(module, output.detach()).float().cpu())

        return record

    with _hooked({name: modules[name] for name in names}, recorder):
        _pass_through(classifier, images, runtime, phase)
    return {name: torch.cat(parts).numpy() for name, parts in collected.items()}


def _called_layers(classifier: Classifier, x: Tensor) -> list[tuple[str, nn.Module]]:
    """Return the layers in the order of their last call; a layer that is called twice in a pass is left out."""
    found = {
        name: module
        for name, module in classifier.network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    calls: list[str] = []

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, output: calls.append(name)

    with _hooked(found, recorder), torch.no_grad(), evaluating(classifier.module):
        classifier(x.to(classifier.device))
    once = [name for name in calls if calls.count(name) == 1]
    if not once:
        raise NotDefinedError("the classifier calls no linear or convolutional layer exactly once")
    return [(name, found[name]) for name in once]


@contextmanager
def _hooked(
    modules: Mapping[str, nn.Module], recorder: Callable[[str], Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]]
) -> Iterator[None]:
    hooks = [module.register_forward_hook(recorder(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _pass_through(classifier: Classifier, images: Images, runtime: Runtime, name: str) -> None:
    phase = runtime.progress.phase(name, len(images.labels))
    with phase as advance, torch.no_grad(), evaluating(classifier.module):
        for x, y in batches(images, runtime.batch_size):
            classifier(x.to(classifier.device))
            advance(len(y))


def _without_positions(module: nn.Module, values: Tensor) -> Tensor:
    """Return (b, channels): convolutions have their positions behind the channels, linear layers before them."""
    axes = tuple(range(2, values.ndim)) if isinstance(module, nn.Conv2d) else tuple(range(1, values.ndim - 1))
    return values.mean(dim=axes) if axes else values


def _few_positions(module: nn.Module, values: Tensor) -> Tensor:
    if isinstance(module, nn.Conv2d):
        return F.adaptive_avg_pool2d(values, POOLED).flatten(1)
    return _without_positions(module, values)
