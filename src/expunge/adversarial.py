"""Targeted L2-PGD: images beside a forget row that the classifier already takes for another class.

They stand in for the data of the other classes (Cha et al. 2024, arXiv 2301.11578, section 3.2).
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.classifier import Classifier
from expunge.runtime import CostMeter
from expunge.settings import check_settings, setting


class Start(StrEnum):
    """Where the attack starts."""

    UNIFORM_IN_BALL = "uniform_in_ball"
    """Uniformly in the L2 ball around the image."""
    NOISE_PROJECTED = "noise_projected"
    """The image plus noise uniform in [0, 1]^d, projected: always on the sphere (as released)."""


class TargetDraw(StrEnum):
    """How the targets of a row are drawn."""

    DISTINCT = "distinct"
    """From the K - 1 other labels, without replacement while there are labels left."""
    RELEASED = "released"
    """From all K labels; one that equals the label becomes K // 2, even where that is the label (as released)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Settings of the targeted attack; radius and step size are L2 norms in the units of the pixels."""

    targets_per_row: int = setting(20, "adversarial examples made of each forget row (N); 0 leaves ADV out", at_least=0)
    radius: float = setting(4.0, "L2 radius of the ball around the image (eps)", above=0)
    step_size: float = setting(0.1, "L2 length of a step", above=0)
    steps: int = setting(100, "gradient steps", at_least=1)
    start: Start = setting(Start.UNIFORM_IN_BALL, "where the attack starts")
    targets: TargetDraw = setting(TargetDraw.DISTINCT, "how targets are drawn")

    def __post_init__(self) -> None:
        check_settings(self)


def draw_targets(
    labels: Int[Tensor, " b"], num_classes: int, count: int, draw: TargetDraw, generator: torch.Generator
) -> Int[Tensor, "b n"]:
    """Return `count` target labels for each row.

    With `TargetDraw.DISTINCT` none equals the row's label, and none repeats before all others have been used.

    >>> targets = draw_targets(torch.tensor([1]), 4, 3, TargetDraw.DISTINCT, torch.Generator().manual_seed(0))
    >>> sorted(targets[0].tolist())
    [0, 2, 3]
    """
    own = labels.cpu().unsqueeze(1)
    if draw is TargetDraw.RELEASED:
        drawn = torch.randint(num_classes, (len(labels), count), generator=generator)
        return torch.where(drawn == own, num_classes // 2, drawn).to(labels.device)
    others = num_classes - 1
    rounds = torch.rand(len(labels), math.ceil(count / others), others, generator=generator).argsort(dim=2)
    offsets = rounds.flatten(1)[:, :count] + 1
    return ((own + offsets) % num_classes).to(labels.device)


def attack_targets(
    classifier: Classifier,
    x: Float[Tensor, "n c h w"],
    targets: Int[Tensor, " n"],
    attack: Attack,
    *,
    generator: torch.Generator,
    meter: CostMeter,
) -> Float[Tensor, "n c h w"]:
    """Return for each image an adversarial example that should be classified as its target.

    Descends CE(f(x'), target) along the L2-normalised gradient, projects on the ball of `attack.radius` around x and
    clips to the pixel bounds, `attack.steps` times. One batch of the meter's runtime is attacked at a time.

    Args:
        classifier: in eval mode, weights frozen (`Classifier.frozen_copy`).
        x: pixels within the bounds.
        targets: one label an image.
        attack: the settings.
        generator: on the CPU; draws the starts.
        meter: counts gradient evaluations.
    """
    batch_size = meter.runtime.batch_size
    made = []
    with meter.phase("attack", total=math.ceil(len(x) / batch_size) * attack.steps) as advance:
        for batch, goals in zip(x.split(batch_size), targets.split(batch_size), strict=True):
            current = _start(batch, attack, classifier, generator)
            for _ in range(attack.steps):
                gradient = _input_gradient(classifier, current, goals)
                moved = current - attack.step_size * gradient / l2_norms(gradient).clamp_min(1e-12)
                current = classifier.bounds.clip(project_to_ball(moved, batch, attack.radius))
                meter.add_gradients(len(batch))
                advance(1)
            made.append(current)
    return torch.cat(made)


def l2_norms(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 1 1"]:
    """Return the L2 norm of each image, over channels and pixels."""
    norms: Tensor = x.flatten(1).norm(dim=1)
    return norms.view(-1, 1, 1, 1)


def project_to_ball(
    x: Float[Tensor, "b c h w"], centre: Float[Tensor, "b c h w"], radius: float
) -> Float[Tensor, "b c h w"]:
    """Return the nearest point to each `x` within the L2 ball of `radius` around its `centre`."""
    offset = x - centre
    return centre + offset * (radius / l2_norms(offset).clamp_min(1e-12)).clamp_max(1.0)


def draw_in_ball(shape: torch.Size, radius: float, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return points uniform in the L2 ball of `radius` around 0: direction uniform, length radius * u^(1/d)."""
    direction = torch.randn(shape, generator=generator)
    dimensions = math.prod(shape[1:])
    length = radius * torch.rand(shape[0], 1, 1, 1, generator=generator) ** (1 / dimensions)
    return direction / l2_norms(direction).clamp_min(1e-12) * length


def _start(x: Tensor, attack: Attack, classifier: Classifier, generator: torch.Generator) -> Tensor:
    if attack.start is Start.UNIFORM_IN_BALL:
        moved = x + draw_in_ball(x.shape, attack.radius, generator).to(x)
    else:
        noise = torch.rand(x.shape, generator=generator).to(x)
        moved = project_to_ball(x + noise, x, attack.radius)
    return classifier.bounds.clip(moved)


def _input_gradient(classifier: Classifier, x: Tensor, targets: Tensor) -> Tensor:
    variable = x.detach().requires_grad_(True)
    loss = F.cross_entropy(classifier(variable), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, variable)
    return gradient
