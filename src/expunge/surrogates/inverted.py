"""Images made from the classifier alone: their statistics in every BatchNorm layer match those of the training data.

Yin et al. 2020, "Dreaming to Distill" (arXiv 1912.08795). Made once for a classifier and kept in a cache.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from platformdirs import user_cache_path
from safetensors.torch import load_file
from torch import Tensor, nn

from expunge.base.errors import ExpungeWarning, OutputError
from expunge.base.settings import Settings, setting
from expunge.base.tensors import write_tensors
from expunge.compute.context import Context
from expunge.compute.seeds import seeded_generator
from expunge.models.classifier import Classifier
from expunge.models.modes import hooked
from expunge.surrogates.procedural import draw_leaves

CACHE_VARIABLE = "EXPUNGE_CACHE"
NO_STATISTICS = "the classifier has no BatchNorm statistics to invert: dead leaves take the place of inverted images"


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
    """Return `count` images within bounds, in batches of the runtime's size; from the cache where they are there.

    They depend on the classifier, the settings and the batch size, whose statistics are matched, not on a forget set or
    a seed. Where memory ends, all are made anew in batches of half the size. All processes get those of the first. The
    cache is the folder in EXPUNGE_CACHE, or the user's own; a name is a hash of all of these.

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
    while True:
        key = f"{classifier.sha256()}:{classifier.bounds}:{inversion}:{count}:{shape}:{context.sharing.batch_size}"
        path = _cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
        images = _read_cache(path, (count, *shape))
        try:
            if images is None:
                images = _invert(classifier, count, shape, inversion, context)
                _write_cache(path, images)
        except (RuntimeError, MemoryError) as error:
            context.sharing.halve(error)
            continue
        return context.sharing.processes.agree(images.to(classifier.device))


def _invert(
    classifier: Classifier, count: int, shape: tuple[int, int, int], inversion: Inversion, context: Context
) -> Tensor:
    batch_size, generator = context.sharing.batch_size, seeded_generator(0, "inverted probes")
    start = draw_leaves(count, shape, classifier.bounds, generator).to(classifier.device)
    labels = torch.randint(classifier.num_classes, (count,), generator=generator).to(classifier.device)
    parts = []
    batches = list(zip(start.split(batch_size), labels.split(batch_size), strict=True))
    with context.phase("invert", total=len(batches) * inversion.steps) as advance:
        for x, y in batches:
            for images in _descend(classifier, x, y, inversion, generator):
                context.add_gradients(len(x))
                advance(1)
                latest = images
            parts.append(latest)
    return torch.cat(parts)


def _descend(
    classifier: Classifier, x: Tensor, labels: Int[Tensor, " b"], inversion: Inversion, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield the images after each step."""
    bounds, layers = classifier.bounds, _find_batchnorms(classifier)
    pixels = x.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([pixels], lr=inversion.rate * bounds.width, betas=(0.9, 0.99))
    for step in range(inversion.steps):
        optimiser.param_groups[0]["lr"] = inversion.rate * bounds.width * min(1.0, 2 * (1 - step / inversion.steps))
        with _entering(layers) as entered:
            moved = _jitter(pixels, generator)
            logits = classifier(moved)
        loss = _statistics_distance(entered) + inversion.class_weight * F.cross_entropy(logits, labels)
        loss = loss + inversion.smoothness / bounds.width * _roughness(moved)
        (gradient,) = torch.autograd.grad(loss, pixels)
        pixels.grad = gradient * len(x)
        optimiser.step()
        with torch.no_grad():
            pixels.copy_(bounds.clip(pixels))
        yield pixels.detach()


def _jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch mirrored half of the time and rolled by up to 2 pixels, so that no grid is imprinted."""
    mirror = int(torch.randint(2, (1,), generator=generator))
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return (x.flip(-1) if mirror else x).roll((down, right), dims=(2, 3))


def _statistics_distance(entered: dict[nn.BatchNorm2d, Tensor]) -> Tensor:
    terms = []
    for layer, x in entered.items():
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        wanted_mean, wanted = cast(Tensor, layer.running_mean), cast(Tensor, layer.running_var).clamp_min(1e-6)
        terms.append(((mean - wanted_mean).square() / wanted).mean())
        terms.append((variance.clamp_min(1e-6).log() - wanted.log()).square().mean())
    return torch.stack(terms).sum()


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


def _read_cache(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """Return the images in a file of the cache; None if there is none, or one that is damaged."""
    try:
        images = load_file(path)["images"]
    except Exception:
        return None
    is_whole = images.shape == shape and images.dtype == torch.float32 and bool(images.isfinite().all())
    return images if is_whole else None


def _write_cache(path: Path, images: Tensor) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"images": images}, {})
    except (OSError, OutputError):
        return  # a cache that can't be written costs time, nothing else
