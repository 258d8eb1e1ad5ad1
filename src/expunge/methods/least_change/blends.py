"""What a classifier answers to images of the forget set with another one of them blended in."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits

MOST, SKEW = 0.42, 1.5
"""Another row's share of a blend is MOST u^SKEW, u drawn from 0..1; chosen on five classifiers."""
BLENDS = 512


def answer_blends(
    classifier: Classifier, x: Float[Tensor, "k c h w"], seed: int, runtime: Runtime
) -> Float[Tensor, "n classes"]:
    """Return the logits of blends, at least `BLENDS` in all: one of each row, another of each, and so on.

    Args:
        classifier: before the edit.
        x: pixels of the rows.
        seed: draws which rows are blended, and how much of another one each has.
        runtime: device, batch size and progress.
    """
    generator, passes, found = seeded_generator(seed, "blends"), math.ceil(BLENDS / len(x)), list[Tensor]()
    classifier, x = classifier.to(runtime.device), x.to(runtime.device)
    with runtime.progress.phase("blends", passes * len(x)) as advance:
        for _ in range(passes):
            blends = blend(x, draw_shares(len(x), generator), generator)
            found.append(compute_logits(classifier, blends, runtime.sharing))
            advance(len(x))
    return torch.cat(found)


def draw_shares(count: int, generator: torch.Generator) -> Float[Tensor, " k"]:
    """Return for each of `count` blends how much of another row it has, 0..MOST."""
    return MOST * torch.rand(count, generator=generator).pow(SKEW)


def blend(
    x: Float[Tensor, "k c h w"], shares: Float[Tensor, " k"], generator: torch.Generator
) -> Float[Tensor, "k c h w"]:
    """Return each row with its share of another one in it; a single one with itself, turned upside down."""
    if len(x) == 1:
        others = x.flip(2, 3)
    else:
        steps = torch.randint(1, len(x), (len(x),), generator=generator)
        others = x[((torch.arange(len(x)) + steps) % len(x)).to(x.device)]
    return torch.lerp(x, others, shares.to(x).view(-1, 1, 1, 1))
