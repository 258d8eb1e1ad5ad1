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

OTHER_SHARE = 0.25
"""Of a blend: what is another row in it. Of the shares 0.1, 0.2, 0.25 and 0.3 it fitted four classifiers best."""
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
    with a quarter of another one blended in (benchmarks/unseen_leads.py). Nothing but its own lead says which rows it
    would be wrong on. So the leads of such blends are dealt out in the order of the rows' own leads, and none exceeds
    its row's own.

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
            drawn.append(_leads(classifier, blend(x, generator), labels, sharing))
            advance(len(x))
    blended = torch.cat(drawn).sort().values
    places = (torch.arange(len(x), dtype=own.dtype, device=own.device) + 0.5) / len(x)
    dealt = torch.empty_like(own)
    dealt[own.argsort(stable=True)] = blended[(places * len(blended)).long()]
    return torch.minimum(dealt, own).cpu()


def blend(
    x: Float[Tensor, "k c h w"], generator: torch.Generator, share: float = OTHER_SHARE
) -> Float[Tensor, "k c h w"]:
    """Return each row with a share of another one in it; a single one with itself, turned upside down."""
    if len(x) == 1:
        return torch.lerp(x, x.flip(2, 3), share)
    steps = torch.randint(1, len(x), (len(x),), generator=generator)
    others = (torch.arange(len(x)) + steps) % len(x)
    return torch.lerp(x, x[others.to(x.device)], share)


def _leads(
    classifier: Classifier, x: Float[Tensor, "k c h w"], labels: Int[Tensor, " k"], sharing: Sharing
) -> Float[Tensor, " k"]:
    return Misclassify().gap(compute_logits(classifier, x, sharing), labels)
