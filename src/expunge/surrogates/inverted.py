"""Images made from the classifier alone: their statistics in every BatchNorm layer match those of the training data.

Yin et al. 2020, "Dreaming to Distill" (arXiv 1912.08795). Made once for a classifier and kept in a cache.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from expunge.base.errors import ExpungeWarning
from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Advance
from expunge.compute.seeds import seeded_generator
from expunge.compute.sharing import Work
from expunge.models.classifier import Classifier
from expunge.models.modes import hooked
from expunge.surrogates.cache import GroupCache
from expunge.surrogates.procedural import draw_leaves

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
    key = f"{classifier.cache_key()}:{inversion}:{shape}:{GROUP}"
    cache = GroupCache.of(key, (GROUP, *shape))
    with context.phase("invert", total=groups * inversion.steps) as advance:
        parts = cache.read_all(range(groups))
        advance(len(parts) * inversion.steps)
        missing = [number for number in range(groups) if number not in parts]
        for numbers in _cut(missing, _groups_at_once(context)):
            with cache.locked(advance):
                made = cache.read_all(numbers)  # by another process meanwhile
                advance(len(made) * inversion.steps)
                left = [number for number in numbers if number not in made]
                if left:
                    images = _Groups(classifier, left, shape, inversion, context).descend(advance)
                    made |= zip(left, bounds.to_levels(images).cpu().split(GROUP), strict=True)
                for number in left:
                    cache.write(number, made[number])
            parts |= made
    images = torch.cat([parts[number] for number in range(groups)])[:count]
    return context.sharing.processes.agree(bounds.from_levels(images).to(classifier.device))


def _groups_at_once(context: Context) -> int:
    """Return how many groups go through together: one on a CPU, whose cache it fills; what a GPU's batch holds."""
    return 1 if context.runtime.device.type == "cpu" else max(1, context.sharing.batch_size // GROUP)


def _cut(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))


class _Groups:
    """Groups of images; those of one group match the statistics of BatchNorm together.

    However many images go through at a time, the gradient is the same, and no group has a part in another's.
    """

    def __init__(
        self,
        classifier: Classifier,
        numbers: Sequence[int],
        shape: tuple[int, int, int],
        inversion: Inversion,
        context: Context,
    ) -> None:
        self._classifier, self._inversion, self._context = classifier, inversion, context
        self._generators = [seeded_generator(number, "inverted images") for number in numbers]
        self._layers, device = _find_batchnorms(classifier), classifier.device
        leaves = [draw_leaves(GROUP, shape, classifier.bounds, generator) for generator in self._generators]
        self.pixels = torch.cat(leaves).to(device)
        first = torch.tensor(numbers, device=device) * GROUP
        self._labels = (first[:, None] + torch.arange(GROUP, device=device)).flatten() % classifier.num_classes

    def descend(self, advance: Advance) -> Float[Tensor, "n c h w"]:
        """Return the images after all steps."""
        bounds, inversion = self._classifier.bounds, self._inversion
        optimiser = torch.optim.Adam([self.pixels], lr=inversion.rate * bounds.width, betas=(0.9, 0.99))
        for step in range(inversion.steps):
            optimiser.param_groups[0]["lr"] = inversion.rate * bounds.width * min(1.0, 2 * (1 - step / inversion.steps))
            self.pixels.grad = self._differentiate()
            optimiser.step()
            self.pixels.copy_(bounds.clip(self.pixels))
            advance(len(self._generators))
        return self.pixels

    def _differentiate(self) -> Float[Tensor, "n c h w"]:
        """Return the gradient of the groups' losses by their pixels.

        The distance of the statistics is a function of sums over a group. Its slopes by these sums are all that the
        images of one part must know of the others; where memory allows, there is one part, and one pass. The sums are
        over all images of a group at once, since sums of parts round otherwise, and that can tip a pixel over to the
        next level.
        """
        jitters, slopes = [_draw_jitter(generator) for generator in self._generators], list[Tensor]()

        def move(part: slice, x: Tensor) -> Tensor:
            cuts = [min(max(0, end * GROUP - part.start), len(x)) for end in range(len(jitters) + 1)]
            pieces = [jitter(x[start:stop]) for jitter, (start, stop) in zip(jitters, pairwise(cuts), strict=True)]
            return torch.cat(pieces)

        def find_moments(part: slice) -> list[Tensor]:
            return self._forward(move(part, self.pixels[part]))[1]

        def pull(part: slice) -> list[Tensor]:
            own = self.pixels[part].clone().requires_grad_(True)
            moved = move(part, own)
            logits, moments = self._forward(moved)
            if not slopes:
                slopes.extend(self._slopes(moments if len(own) == len(self.pixels) else self._find_all(find_moments)))
            loss = self._inversion.class_weight * F.cross_entropy(logits, self._labels[part], reduction="sum")
            loss = loss + self._inversion.smoothness / self._classifier.bounds.width * _roughness(moved)
            groups = torch.arange(part.start, part.start + len(own), device=own.device) // GROUP
            matched = [(slope[groups] * each).sum() for slope, each in zip(slopes, moments, strict=True)]
            self._context.add_gradients(len(own))
            return list(torch.autograd.grad(loss + GROUP * torch.stack(matched).sum(), own))

        [gradient] = self._context.sharing.map_concat(len(self.pixels), pull, among=ALONE)
        return gradient

    def _find_all(self, find_moments: Work) -> list[Tensor]:
        with torch.no_grad():
            return self._context.sharing.map_concat(len(self.pixels), find_moments, among=ALONE)

    def _forward(self, x: Tensor) -> tuple[Tensor, list[Float[Tensor, "b 2 c"]]]:
        """Return the logits, and for each layer how far each image's channels enter from its mean, and its square.

        Both are means over the image's positions.
        """
        with _entering(self._layers) as entered:
            logits = self._classifier(x)
        self._layers, moments = list(entered), list[Tensor]()
        for layer, inputs in entered.items():
            offset = inputs - cast(Tensor, layer.running_mean).view(1, -1, 1, 1)
            moments.append(torch.stack([offset.mean((2, 3)), offset.square().mean((2, 3))], dim=1))
        return logits, moments

    def _slopes(self, moments: list[Float[Tensor, "n 2 c"]]) -> list[Float[Tensor, "groups 2 c"]]:
        """Return the derivative, by the sums over each group, of how far its statistics are from the layers' own."""
        sums = [each.detach().unflatten(0, (-1, GROUP)).sum(dim=1) for each in moments]
        leaves = [each.requires_grad_(True) for each in sums]
        with torch.enable_grad():
            distance = torch.stack([_distance(*pair) for pair in zip(self._layers, leaves, strict=True)]).sum()
        return list(torch.autograd.grad(distance, leaves))


def _distance(layer: nn.BatchNorm2d, sums: Float[Tensor, "groups 2 c"]) -> Float[Tensor, ""]:
    """Return how far each group's statistics are from the layer's own, summed over the groups."""
    offset, square = (sums / GROUP).unbind(dim=1)
    wanted = cast(Tensor, layer.running_var).clamp_min(1e-6)
    variance = (square - offset.square()).clamp_min(1e-6)
    far = offset.square() / wanted + (variance.log() - wanted.log()).square()
    distance: Tensor = far.mean(-1).sum()
    return distance


def _draw_jitter(generator: torch.Generator) -> Jitter:
    """Return what mirrors a batch half of the time and rolls it by up to 2 pixels, so that no grid is imprinted."""
    mirror = int(torch.randint(2, (1,), generator=generator))
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return lambda x: (x.flip(-1) if mirror else x).roll((down, right), dims=(2, 3))


def _roughness(x: Tensor) -> Tensor:
    """Return how far neighbouring pixels are apart, a mean over each image's and a sum over the images."""
    down, right = (x[:, :, 1:] - x[:, :, :-1]).abs(), (x[..., 1:] - x[..., :-1]).abs()
    return (down.mean((1, 2, 3)) + right.mean((1, 2, 3))).sum()


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
