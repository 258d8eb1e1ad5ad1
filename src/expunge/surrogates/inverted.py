"""Images made from the classifier alone: their statistics in every BatchNorm layer match those of the training data.

Yin et al. 2020, "Dreaming to Distill" (arXiv 1912.08795). Made once for a classifier and kept in a cache.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from platformdirs import user_cache_path
from safetensors.torch import load_file
from torch import Tensor, nn

from expunge.base.errors import ExpungeWarning, OutputError
from expunge.base.settings import Settings, setting
from expunge.base.tensors import write_tensors
from expunge.compute.context import Context
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Advance
from expunge.compute.seeds import seeded_generator
from expunge.models.classifier import Classifier
from expunge.models.modes import hooked
from expunge.surrogates.procedural import draw_leaves

CACHE_VARIABLE = "EXPUNGE_CACHE"
GROUP = 64
NO_STATISTICS = "the classifier has no BatchNorm statistics to invert: dead leaves take the place of inverted images"


Jitter = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion(Settings):
    """Settings of the inversion; Adam on pixels, from dead leaves, each image toward a random class."""

    steps: int = setting(60, "Adam steps on each batch of inverted images", at_least=1)
    rate: float = setting(0.03, "Adam step size, as a share of the pixel range", above=0)
    class_weight: float = setting(0.3, "weight of the cross-entropy to a random class", at_least=0)
    smoothness: float = setting(0.2, "weight of the mean absolute difference of neighbouring pixels", at_least=0)


def has_batchnorm(classifier: Classifier) -> bool:
    """Return whether the classifier has BatchNorm statistics to match."""
    return bool(_find_batchnorms(classifier))


def invert_classifier(
    classifier: Classifier, count: int, shape: tuple[int, int, int], inversion: Inversion, context: Context
) -> Float[Tensor, "n c h w"]:
    """Return `count` images within bounds, in the 256 levels of a picture; from the cache where they are there.

    They are made in groups of 64, toward each class in turn. A group is kept as soon as it is done: what was
    interrupted goes on, and a larger number begins with what a smaller one has made. They depend on the classifier and
    the settings, not on a forget set, a seed or the batch size: the statistics that are matched are a group's. All
    processes get those of the first. The cache is the folder in EXPUNGE_CACHE, or the user's own.

    Args:
        classifier: f0, in eval mode with frozen weights.
        count: number of images.
        shape: (c, h, w) of an image.
        inversion: the settings.
        context: counts gradient evaluations.

    Warns:
        ExpungeWarning: there are no statistics to match; dead leaves, which inversion starts from, are returned.
    """
    if count == 0:
        return torch.zeros(0, *shape, device=classifier.device)
    if not has_batchnorm(classifier):
        warnings.warn(NO_STATISTICS, ExpungeWarning, stacklevel=2)
        leaves = draw_leaves(count, shape, classifier.bounds, seeded_generator(0, "inverted probes"))
        return leaves.to(classifier.device)
    groups, bounds = -(-count // GROUP), classifier.bounds
    key = f"{classifier.sha256()}:{bounds}:{inversion}:{shape}:{GROUP}"
    folder = _cache_folder() / "inverted" / hashlib.sha256(key.encode()).hexdigest()
    parts = []
    with context.phase("invert", total=groups * inversion.steps) as advance:
        for number in range(groups):
            path = folder / f"{number:04d}.safetensors"
            levels = _read_cache(path, (GROUP, *shape))
            if levels is None:
                images = _Group(classifier, number, shape, inversion, context).descend(advance)
                levels = bounds.to_levels(images).cpu()
                _write_cache(path, levels)
            else:
                advance(inversion.steps)
            parts.append(levels)
    images = bounds.from_levels(torch.cat(parts)[:count]).to(classifier.device)
    return context.sharing.processes.agree(images)


class _Group:
    """Images that match the statistics of BatchNorm together, however many of them go through at a time."""

    def __init__(
        self, classifier: Classifier, number: int, shape: tuple[int, int, int], inversion: Inversion, context: Context
    ) -> None:
        self._classifier, self._inversion, self._context = classifier, inversion, context
        self._generator = seeded_generator(number, "inverted images")
        self._layers = _find_batchnorms(classifier)
        self.pixels = draw_leaves(GROUP, shape, classifier.bounds, self._generator).to(classifier.device)
        self._labels = (number * GROUP + torch.arange(GROUP, device=self.pixels.device)) % classifier.num_classes

    def descend(self, advance: Advance) -> Float[Tensor, "group c h w"]:
        """Return the images after all steps."""
        bounds, inversion = self._classifier.bounds, self._inversion
        optimiser = torch.optim.Adam([self.pixels], lr=inversion.rate * bounds.width, betas=(0.9, 0.99))
        for step in range(inversion.steps):
            optimiser.param_groups[0]["lr"] = inversion.rate * bounds.width * min(1.0, 2 * (1 - step / inversion.steps))
            self.pixels.grad = self._differentiate()
            optimiser.step()
            self.pixels.copy_(bounds.clip(self.pixels))
            advance(1)
        return self.pixels

    def _differentiate(self) -> Float[Tensor, "group c h w"]:
        """Return the gradient of the group's loss by its pixels.

        The distance of the statistics is a function of sums over the group. Its slopes by these sums are all that the
        images of one part must know of the others; where memory allows, there is one part, and one pass.
        """
        jitter, slopes = _draw_jitter(self._generator), list[Tensor]()

        def pull(part: slice) -> list[Tensor]:
            own = self.pixels[part].clone().requires_grad_(True)
            moved = jitter(own)
            logits, sums = self._forward(moved)
            if not slopes:
                whole = len(own) == GROUP
                slopes.extend(self._slopes(sums if whole else self._sum_all(jitter)))
            loss = self._inversion.class_weight * F.cross_entropy(logits, self._labels[part], reduction="sum")
            loss = loss + self._inversion.smoothness / self._classifier.bounds.width * len(own) * _roughness(moved)
            matched = torch.stack([(slope * sum_).sum() for slope, sum_ in zip(slopes, sums, strict=True)])
            self._context.add_gradients(len(own))
            return list(torch.autograd.grad(loss + GROUP * matched.sum(), own))

        [gradient] = self._context.sharing.map_concat(GROUP, pull, among=ALONE)
        return gradient

    def _sum_all(self, jitter: Jitter) -> list[Tensor]:
        with torch.no_grad():
            return self._context.sharing.map_sum(
                GROUP, lambda part: self._forward(jitter(self.pixels[part]))[1], among=ALONE
            )

    def _forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and for each layer the sums over images of how far what enters it is from its mean.

        A row of sums is of that distance, a second one of its square, a share of an image's positions each.
        """
        with _entering(self._layers) as entered:
            logits = self._classifier(x)
        self._layers, sums = list(entered), list[Tensor]()
        for layer, inputs in entered.items():
            offset = inputs - cast(Tensor, layer.running_mean).view(1, -1, 1, 1)
            sums.append(torch.stack([offset.mean((2, 3)).sum(0), offset.square().mean((2, 3)).sum(0)]))
        return logits, sums

    def _slopes(self, sums: list[Tensor]) -> list[Tensor]:
        """Return the derivative, by the sums over the group, of how far its statistics are from the layers' own."""
        leaves = [each.detach().requires_grad_(True) for each in sums]
        with torch.enable_grad():
            distance = torch.stack([_distance(*pair) for pair in zip(self._layers, leaves, strict=True)]).sum()
        return list(torch.autograd.grad(distance, leaves))


def _distance(layer: nn.BatchNorm2d, sums: Float[Tensor, "2 c"]) -> Float[Tensor, ""]:
    offset, square = (sums / GROUP).unbind()
    wanted = cast(Tensor, layer.running_var).clamp_min(1e-6)
    variance = (square - offset.square()).clamp_min(1e-6)
    distance: Tensor = (offset.square() / wanted).mean() + (variance.log() - wanted.log()).square().mean()
    return distance


def _draw_jitter(generator: torch.Generator) -> Jitter:
    """Return what mirrors a batch half of the time and rolls it by up to 2 pixels, so that no grid is imprinted."""
    mirror = int(torch.randint(2, (1,), generator=generator))
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return lambda x: (x.flip(-1) if mirror else x).roll((down, right), dims=(2, 3))


def _roughness(x: Tensor) -> Tensor:
    return (x[:, :, 1:] - x[:, :, :-1]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()


def _find_batchnorms(classifier: Classifier) -> list[nn.BatchNorm2d]:
    return [
        part
        for part in classifier.module.modules()
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None
    ]


@contextmanager
def _entering(layers: list[nn.BatchNorm2d]) -> Iterator[dict[nn.BatchNorm2d, Tensor]]:
    """Collect what goes into each of `layers` that is called in the block; auxiliary heads are not."""
    entered: dict[nn.BatchNorm2d, Tensor] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        entered[cast(nn.BatchNorm2d, layer)] = inputs[0]

    with hooked((layer, keep) for layer in layers):
        yield entered


def _cache_folder() -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("expunge")


def _read_cache(path: Path, shape: tuple[int, ...]) -> UInt8[Tensor, "group c h w"] | None:
    """Return the images in a file of the cache; None if there is none, or one that is damaged."""
    try:
        levels = load_file(path)["levels"]
    except Exception:  # a damaged file raises errors of many kinds, and all it costs is time
        return None
    return levels if levels.shape == shape and levels.dtype == torch.uint8 else None


def _write_cache(path: Path, levels: UInt8[Tensor, "group c h w"]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"levels": levels}, {})
    except (OSError, OutputError):
        return  # a cache that can't be written costs time, nothing else
