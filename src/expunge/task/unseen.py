"""How certain a classifier would be of images that it had never seen, from it and these images alone."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Misclassify, Unseen

MOST, SKEW = 0.42, 1.5
"""Another row's share of a blend is MOST u^SKEW, u drawn from 0..1; chosen on five classifiers."""
BLENDS = 512


def find_allowed(
    goal: Goal, classifier: Classifier, rows: ForgetSet, seed: int, runtime: Runtime
) -> Float[Tensor, " k"] | None:
    """Return by how many logits each row may fall short of the goal's boundary; None where it may not.

    Args:
        goal: what is to hold.
        classifier: before the edit.
        rows: to forget.
        seed: of the edit.
        runtime: batch size and progress.
    """
    return estimate_leads(classifier, rows, seed, runtime) if isinstance(goal, Unseen) else None


def estimate_leads(classifier: Classifier, rows: ForgetSet, seed: int, runtime: Runtime) -> Float[Tensor, " k"]:
    """Return by how many logits the label of each row would lead had the classifier never seen it; below 0: not at all.

    A classifier is about as often wrong, and as uncertain, on images that it has never seen as on its training images
    with a little of another one blended in: up to 42%, mostly less (benchmarks/unseen_leads.py). Shares that differ
    leave most images as certain as they were and make a few much less so, as images that were never seen are; one share
    for all makes all a little less certain. Nothing but its own lead says which rows a classifier would be wrong on. So
    the leads of such blends are dealt out in the order of the rows' own leads, and none exceeds its row's own.

    Args:
        classifier: before the edit.
        rows: to forget; a single one is blended with itself, turned upside down.
        seed: draws which rows are blended.
        runtime: device, batch size and progress.
    """
    generator, sharing, classifier = seeded_generator(seed, "blends"), runtime.sharing, classifier.to(runtime.device)
    x, labels = rows.x.to(classifier.device), rows.y.to(classifier.device)
    own, passes, drawn = _leads(classifier, x, labels, sharing), math.ceil(BLENDS / len(x)), list[Tensor]()
    with runtime.progress.phase("blends", passes * len(x)) as advance:
        for _ in range(passes):
            drawn.append(_leads(classifier, blend(x, draw_shares(len(x), generator), generator), labels, sharing))
            advance(len(x))
    blended = torch.cat(drawn).sort().values
    places = (torch.arange(len(x), dtype=own.dtype, device=own.device) + 0.5) / len(x)
    dealt = torch.empty_like(own)
    dealt[own.argsort(stable=True)] = blended[(places * len(blended)).long()]
    return torch.minimum(dealt, own).cpu()


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


def _leads(
    classifier: Classifier, x: Float[Tensor, "k c h w"], labels: Int[Tensor, " k"], sharing: Sharing
) -> Float[Tensor, " k"]:
    return Misclassify().gap(compute_logits(classifier, x, sharing), labels)
