"""The iterate: the edited weights, in coordinates in which a short step is a small change of the answers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.compute.context import Context
from expunge.compute.runtime import Precision, computing_in
from expunge.compute.sharing import fitting_cache
from expunge.methods.layers import Layer, differentiate
from expunge.methods.least_change.curvature import Whitening
from expunge.methods.least_change.jacobian import Step
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.task.evaluation import compute_logits
from expunge.task.task import Task
from expunge.task.transforms import draw_copies

FINITE_STEP = 0.05
CURVATURE_EVERY = 10
FADE = 0.7
JUST_BELOW = 0.05
"""Logits by which a row's lead is below what it may be: that is an estimate, and lower would be as wrong as higher."""


@dataclass(frozen=True, slots=True)
class Objective:
    """1/2 E|f(x) - f0(x)|^2 over surrogates, logits with their mean over the classes taken out.

    Gradients, and the answers f0 that they begin from, are computed in `precision`, so that most of what rounding does
    is in both; changes of the answers, which are small, in float32.
    """

    classifier: Classifier
    layers: tuple[Layer, ...]
    whitening: Whitening
    context: Context
    precision: Precision = Precision.FLOAT32

    def change(self, x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Return f - f0 on these surrogates, f0 being `logits`."""
        sharing = self.context.sharing
        [found] = sharing.map_concat(len(x), lambda part: [compute_logits(self.classifier, x[part], sharing)])
        return centred(found - logits)

    def gradient(self, x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b k"]) -> tuple[float, Step]:
        """Return the objective on these surrogates and its gradient in whitened coordinates."""
        return self.pull(x, lambda found, part: 0.5 * centred(found - logits[part]).square().sum() / len(x))

    def pull(
        self, x: Float[Tensor, "b c h w"], loss: Callable[[Tensor, slice], Float[Tensor, ""]]
    ) -> tuple[float, Step]:
        """Return a sum of losses over images, and its gradient in whitened coordinates.

        Args:
            x: the images.
            loss: logits of some images and which they are -> their share of the sum.
        """

        def differentiate_part(part: slice) -> list[Tensor]:
            with evaluating(self.classifier.module), computing_in(self.precision, x.device):
                logits = self.classifier(x[part])
            value = loss(logits.to(x.dtype), part)
            self.context.add_gradients(len(x[part]))
            return [value.detach(), *differentiate(value, self.layers)]

        value, *gradient = self.context.sharing.map_sum(len(x), differentiate_part, at_once=fitting_cache(x, x.device))
        return value.item(), [self.whitening.pull(number, part) for number, part in enumerate(gradient)]


class Iterate:
    """The position of the weights, their velocity, and how steep the answers are in that direction."""

    def __init__(self, objective: Objective, momentum: float) -> None:
        self._objective, self._momentum = objective, momentum
        self._original = [layer.read() for layer in objective.layers]
        self.position: Step = [torch.zeros_like(weights) for weights in self._original]
        self.velocity: Step = [torch.zeros_like(weights) for weights in self._original]
        self.mean: Step = self.position
        self.curvature, self._averaged = 0.0, 0

    def push(self, gradient: Step, rate: float, *, largest: float = math.inf) -> None:
        """Set the velocity: a share of the last one, and `rate` / curvature down the gradient.

        Args:
            gradient: of the loss, at this position.
            rate: in units of 1 / curvature.
            largest: root mean square change of the answers, in logits, that a step may make as far as curvature tells.
        """
        length = rate / max(self.curvature, 1e-12)
        velocity = [self._momentum * old - length * part for old, part in zip(self.velocity, gradient, strict=True)]
        shorter = min(1.0, largest / max(norm(velocity) * math.sqrt(self.curvature), 1e-12))
        self.velocity = [shorter * part for part in velocity]

    def halt(self) -> None:
        """Forget the velocity."""
        self.velocity = [torch.zeros_like(part) for part in self.velocity]

    def advance(self, correction: Step | None = None) -> None:
        """Go on by the velocity, less a correction."""
        self.position = [old + step for old, step in zip(self.position, self.velocity, strict=True)]
        if correction is not None:
            self.position = [old - part for old, part in zip(self.position, correction, strict=True)]

    def average(self) -> None:
        """Add this position to the mean of those that were added since `forget_mean`."""
        self._averaged += 1
        self.mean = [old + (new - old) / self._averaged for old, new in zip(self.mean, self.position, strict=True)]

    def forget_mean(self) -> None:
        """Begin a new mean with the next position."""
        self._averaged, self.mean = 0, self.position

    def write(self, position: Step) -> None:
        """Set the classifier's weights to those of a position."""
        objective = self._objective
        for number, (layer, original) in enumerate(zip(objective.layers, self._original, strict=True)):
            layer.write(original + objective.whitening.apply(number, position[number]))

    def measure_curvature(self, gradient: Step, x: Tensor, logits: Tensor) -> None:
        """Set the curvature to |df|^2 / |dz|^2 along the gradient, by a finite difference; it falls slowly only."""
        length = FINITE_STEP * (norm(self.position) or 1.0) / max(norm(gradient), 1e-12)
        before = self._objective.change(x, logits)
        self.write([old + length * part for old, part in zip(self.position, gradient, strict=True)])
        change = self._objective.change(x, logits) - before
        self.write(self.position)
        found = float(change.square().sum(dim=1).mean()) / max((length * norm(gradient)) ** 2, 1e-20)
        self.curvature = max(found, FADE * self.curvature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a solver is given.

    Args:
        task: rows, goal and randomness.
        context: counts gradient evaluations.
        reference: the part of the classifier that may change, as it was before the edit.
        objective: what is to stay small.
        iterate: starts at the weights as they were.
        surrogates: the pool that steps draw from.
        logits: what the classifier answered to them before the edit.
        own: images of the user's, as they are; none without a folder of them.
        apart: a few surrogates that no step draws, with such answers.
        rate: step size, in units of 1 / curvature.
        memory_gigabytes: for row gradients.
        cut: the module after which the layers lie that may change; None where there is no cut.
        enter: images -> what the objective's classifier takes: they as they are, or what goes through a cut.
    """

    task: Task
    context: Context
    reference: Classifier
    objective: Objective
    iterate: Iterate
    surrogates: Float[Tensor, "n c h w"]
    logits: Float[Tensor, "n k"]
    own: Float[Tensor, "o c h w"]
    apart: tuple[Float[Tensor, "m c h w"], Float[Tensor, "m k"]]
    rate: float
    memory_gigabytes: float
    cut: str | None
    enter: Callable[[Tensor], Tensor]

    def out_of_time(self) -> bool:
        """Return whether the task's time is over; all processes say what the first does."""
        if self.task.limits.seconds is None:
            return False
        over = torch.tensor(self.context.seconds >= self.task.limits.seconds, device=self.context.runtime.device)
        return bool(self.context.sharing.processes.agree(over))

    def count_own(self, count: int) -> int:
        """Return how many of so many surrogates are the user's own images: half, where there are any."""
        return count // 2 if len(self.own) else 0

    def draw(
        self, count: int, generator: torch.Generator, fresh: Float[Tensor, "s c h w"] | None = None
    ) -> tuple[Tensor, Float[Tensor, "b k"]]:
        """Return surrogates for a step, with the answers before the edit.

        Half of the user's own are changed as copies of the rows are: a few hundred images, drawn again and again as
        they are, would be learnt by heart.

        Args:
            count: how many.
            generator: on the CPU.
            fresh: images that are among them; half are the user's own, where there are any, and the pool has the rest.
        """
        own, images = self.count_own(count), [] if fresh is None else [fresh]
        if own:
            drawn = self.own[torch.randint(len(self.own), (own,), generator=generator).to(self.own.device)]
            plain, changed = drawn[: own // 2], drawn[own // 2 :]
            images += [plain, draw_copies(changed, self.task.classifier.bounds, generator, self.task.transforms)]
        x = torch.cat([self.own[:0], *images])
        chosen = torch.randint(len(self.surrogates), (count - len(x),), generator=generator)
        pool, answers = (each[chosen.to(each.device)] for each in (self.surrogates, self.logits))
        if not len(x):
            return pool, answers
        entered = self.enter(x)
        before = compute_answers(self.reference, entered, self.objective.precision, self.context)
        return torch.cat([entered, pool]), torch.cat([before, answers])

    def find_margins(self, least: float) -> Float[Tensor, " k"]:
        """Return each row's margin: the least one, or just below what a row may fall short of its boundary by."""
        device = self.surrogates.device
        if self.task.allowed is not None:
            return JUST_BELOW - self.task.allowed.to(device)
        return torch.full((len(self.task.forget_set),), least, dtype=self.surrogates.dtype, device=device)


def compute_answers(
    classifier: Classifier, x: Float[Tensor, "b c h w"], precision: Precision, context: Context
) -> Float[Tensor, "b k"]:
    """Return the logits of a classifier, such as f0, in eval mode and in the numbers in which gradients are computed.

    Args:
        classifier: the classifier before the edit, or its part after a cut.
        x: what it takes, on its device.
        precision: float32 is IEEE float32 here.
        context: says how many images go through at a time.
    """

    def answer(part: slice) -> list[Tensor]:
        if precision is Precision.FLOAT32:
            return [compute_logits(classifier, x[part], context.sharing)]
        with torch.no_grad(), evaluating(classifier.module), computing_in(precision, x.device):
            return [classifier(x[part]).to(x.dtype)]

    [logits] = context.sharing.map_concat(len(x), answer, at_once=fitting_cache(x, x.device))
    return logits


def centred(logits: Tensor) -> Tensor:
    """Return logits less their mean over the classes."""
    return logits - logits.mean(dim=1, keepdim=True)


def norm(step: Iterable[Tensor]) -> float:
    """Return the length of a step."""
    return math.sqrt(sum(torch.stack([part.square().sum() for part in step]).tolist()))


def remaining(count: int, steps: int) -> float:
    """Return 1 for the first half of the steps, then less and less, 0 after the last."""
    return min(1.0, max(0.0, 2 * (1 - count / steps)))
