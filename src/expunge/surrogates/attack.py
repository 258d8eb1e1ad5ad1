"""Targeted L2-PGD: images beside a forgotten image that the classifier already takes for another class.

They stand in for the data of the other classes (Cha et al. 2024, arXiv 2301.11578, section 3.2).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, islice

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.processes import share_of
from expunge.compute.runtime import Precision, computing_in
from expunge.models.classifier import Classifier
from expunge.models.folding import fold_batchnorm
from expunge.models.pixels import Bounds
from expunge.task.goals import Relabel

SHORTEST_GRADIENT = 1e-6
"""Per pixel range: a shorter gradient is that of an image beyond doubt, and its direction is mostly rounding."""


class Start(StrEnum):
    """Where the attack starts."""

    UNIFORM_IN_BALL = "uniform_in_ball"
    """Uniformly in the L2 ball around the image."""
    NOISE_PROJECTED = "noise_projected"
    """An image of uniform noise, projected: greyed, and in effect always on the sphere (as released)."""


class TargetDraw(StrEnum):
    """How the targets of a row are drawn."""

    DISTINCT = "distinct"
    """From the K - 1 other labels, without replacement while there are labels left."""
    RELEASED = "released"
    """From all K labels; one that equals the label becomes K // 2, even where that is the label (as released)."""


class Order(StrEnum):
    """In which order a step goes back into the pixel bounds and into the ball; it ends within both either way."""

    BALL_FIRST = "ball_first"
    BOUNDS_FIRST = "bounds_first"
    """As released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(Settings):
    """Settings of the targeted attack; radius and step size are L2 norms in the units of the pixels."""

    targets_per_row: int = setting(20, "adversarial examples made of each forget row (N); 0 leaves ADV out", at_least=0)
    radius: float = setting(4.0, "L2 radius of the ball around the image (eps)", above=0)
    step_size: float = setting(0.1, "L2 length of a step", above=0)
    steps: int = setting(100, "gradient steps", at_least=1)
    last_step: float = setting(1.0, "length of the last step as a share of the first", at_least=0, at_most=1)
    enough: float | None = setting(
        None, "logits by which the target leads when an image is done; none: all steps are taken", at_least=0
    )
    precision: Precision = setting(Precision.FLOAT32, "in what numbers layers compute: float32, bfloat16, auto")
    start: Start = setting(Start.UNIFORM_IN_BALL, "where the attack starts")
    targets: TargetDraw = setting(TargetDraw.DISTINCT, "how targets are drawn")
    order: Order = setting(Order.BALL_FIRST, "what a step goes back into first, the ball or the pixel bounds")


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
    x: Float[Tensor, "k c h w"],
    targets: Int[Tensor, "k n"],
    attack: Attack,
    *,
    generator: torch.Generator,
    context: Context,
) -> Iterator[tuple[Int[Tensor, " m"], Float[Tensor, "m c h w"]]]:
    """Yield for each image and each of its targets an adversarial example that should be classified as the target.

    Descends CE(f(x'), target) along the L2-normalised gradient, projects on the ball of `attack.radius` around x and
    clips to the pixel bounds, `attack.steps` times, or until the target leads by `attack.enough` logits. Where the
    gradient is shorter than `SHORTEST_GRADIENT`, the step is shorter in proportion. As many pairs as a batch holds are
    attacked at a time; the next ones take the places of those that are done, so examples come in the order in which
    they are done, with the numbers of their pairs (image * n + target).

    Args:
        classifier: in eval mode, weights frozen (`Classifier.frozen_copy`).
        x: pixels within the bounds.
        targets: labels.
        attack: the settings.
        generator: on the CPU; draws the starts, pair by pair.
        context: counts gradient evaluations; divides the pairs among its processes, each of which yields its own.
    """
    sharing = context.sharing
    own = share_of(sharing.processes, targets.numel())
    with context.phase("attack", total=(own.stop - own.start) * attack.steps) as advance:
        fast = fold_batchnorm(classifier, x[:2])
        waiting: Iterator[_Pairs] = islice(
            _draw_pairs(x, targets, attack, classifier.bounds, generator), own.start, own.stop
        )
        pairs = _Pairs.join(list(islice(waiting, sharing.batch_size)))
        while pairs is not None:
            try:
                moved, done = pairs.step(fast, attack)
            except (RuntimeError, MemoryError) as error:
                sharing.halve(error)
                singles = pairs.split()
                pairs = _Pairs.join(singles[: sharing.batch_size])
                waiting = chain(singles[sharing.batch_size :], waiting)
                continue
            context.add_gradients(len(done))
            advance(len(done) + int((attack.steps - moved.taken[done]).sum()))
            if bool(done.any()):
                yield moved.numbers[done], moved.current[done]
                room = sharing.batch_size - int((~done).sum())
                pairs = _Pairs.join([moved.where(~done), *islice(waiting, room)])
            else:
                pairs = moved


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


def draw_noise(shape: torch.Size, bounds: Bounds, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Return images whose every pixel is drawn uniformly from the bounds."""
    return bounds.lower + bounds.width * torch.rand(shape, generator=generator)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of image and target that are under attack: where each began, where it is, and how many steps it took."""

    numbers: Int[Tensor, " b"]
    targets: Int[Tensor, " b"]
    centre: Float[Tensor, "b c h w"]
    current: Float[Tensor, "b c h w"]
    taken: Int[Tensor, " b"]

    @classmethod
    def join(cls, parts: Sequence["_Pairs"]) -> "_Pairs | None":
        """Return all pairs as one, None if there are none."""
        parts = [part for part in parts if len(part.numbers)]
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns)) if parts else None

    def where(self, chosen: Bool[Tensor, " b"]) -> "_Pairs":
        """Return the chosen pairs."""
        return _Pairs(*(column[chosen] for column in self._columns()))

    def split(self) -> list["_Pairs"]:
        """Return the pairs one by one."""
        return [_Pairs(*columns) for columns in zip(*(column.split(1) for column in self._columns()), strict=True)]

    def step(self, classifier: Classifier, attack: Attack) -> tuple["_Pairs", Bool[Tensor, " b"]]:
        """Return the pairs after one more step, and which of them are done; what has reached its target stays put."""
        logits, gradient = _input_gradient(classifier, self.current, self.targets, attack.precision)
        share = 1 - (1 - attack.last_step) * self.taken / max(1, attack.steps - 1)
        length = attack.step_size * share.to(self.current).view(-1, 1, 1, 1)
        bounds, shortest = classifier.bounds, SHORTEST_GRADIENT / classifier.bounds.width
        moved = self.current - length * gradient / l2_norms(gradient).clamp_min(shortest)
        if attack.order is Order.BOUNDS_FIRST:
            moved = bounds.clip(moved)
        moved = bounds.clip(project_to_ball(moved, self.centre, attack.radius))
        reached = torch.zeros_like(self.targets, dtype=torch.bool)
        if attack.enough is not None:
            reached = Relabel().gap(logits, self.targets) <= -attack.enough
            moved = torch.where(reached.view(-1, 1, 1, 1), self.current, moved)
        taken = self.taken + 1
        return replace(self, current=moved, taken=taken), reached | (taken == attack.steps)

    def _columns(self) -> tuple[Tensor, ...]:
        return self.numbers, self.targets, self.centre, self.current, self.taken


def _draw_pairs(
    x: Tensor, targets: Tensor, attack: Attack, bounds: Bounds, generator: torch.Generator
) -> Iterator[_Pairs]:
    """Yield the pairs one by one, each at its start."""
    count = targets.shape[1]
    for number, target in enumerate(targets.flatten().split(1)):
        centre = x[number // count].unsqueeze(0)
        place = torch.tensor([number], device=x.device)
        yield _Pairs(place, target, centre, _start(centre, attack, bounds, generator), torch.zeros_like(place))


def _start(x: Tensor, attack: Attack, bounds: Bounds, generator: torch.Generator) -> Tensor:
    if attack.start is Start.UNIFORM_IN_BALL:
        moved = x + draw_in_ball(x.shape, attack.radius, generator).to(x)
    else:
        moved = project_to_ball(draw_noise(x.shape, bounds, generator).to(x), x, attack.radius)
    return bounds.clip(moved)


def _input_gradient(classifier: Classifier, x: Tensor, targets: Tensor, precision: Precision) -> tuple[Tensor, Tensor]:
    """Return the logits at `x`, and the gradient of the cross-entropy to `targets` there."""
    variable = x.detach().requires_grad_(True)
    with computing_in(precision, x.device):
        logits = classifier(variable).to(x.dtype)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, targets, reduction="sum"), variable)
    return logits.detach(), gradient
