"""How certain a classifier would be of images that it had never seen, from it and these images alone."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
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
    classifier = classifier.to(runtime.device)
    x, labels = rows.x.to(runtime.device), rows.y.to(runtime.device)
    own = Misclassify().gap(compute_logits(classifier, x, runtime.sharing), labels)
    logits = answer_blends(classifier, x, seed, runtime)
    blended = Misclassify().gap(logits, labels.repeat(len(logits) // len(x)))
    return torch.minimum(blended[deal_out(blended, own)], own).cpu()


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


def deal_out(values: Float[Tensor, " n"], order: Float[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Return which of some values, k quantiles of them, each row gets: the largest where `order` is largest.

    >>> deal_out(torch.arange(100.0), torch.tensor([3.0, 9.0, 1.0, 4.0]))
    tensor([37, 87, 12, 62])
    """
    places = (torch.arange(len(order), dtype=values.dtype, device=values.device) + 0.5) / len(order)
    dealt = torch.empty(len(order), dtype=torch.long, device=values.device)
    dealt[order.argsort(stable=True)] = values.argsort(stable=True)[(places * len(values)).long()]
    return dealt


def leads_of(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Return by how much the largest logit of each row leads the next."""
    first, second = logits.topk(2, dim=1).values.unbind(dim=1)
    return first - second


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
