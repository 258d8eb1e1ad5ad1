"""Robust forgetting: fresh transformed copies are pushed over their boundaries with as much weight as it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.methods.least_change.iterate import CURVATURE_EVERY, JUST_BELOW, Problem, compute_answers, norm, remaining
from expunge.methods.least_change.jacobian import Step
from expunge.methods.least_change.margins import Leads, OrdinaryRows, are_ordinary
from expunge.methods.least_change.pushing import (
    EARLIER_SHARE,
    FADE,
    EarlierCopies,
    RowCopies,
    find_balance,
    push_copies,
    steer,
)
from expunge.methods.least_change.scope import FEW_ROWS, LAST_THIRD
from expunge.models.pixels import SMALL_IMAGE
from expunge.surrogates.spliced import draw_spliced
from expunge.task.task import Effort

SOME_ROWS = 128
SLOWEST = 0.1
STEERING_STARTS = 0.15
LARGEST_STEP = 3.0
CLOSING_STEPS, STEPS_AT_ONCE = 20, 10
CLOSING_RISE = 0.01
ORDINARY_SHARE = 0.1
"""Of the copies' weight, that rows have which are to end with ordinary leads."""
GOING_ON = 1 / 3
"""Share of the rate for an edit that goes on: it begins near where it ends, and larger steps would lead away first."""
MOST_STEPS_AGAIN = 64
"""That forget earlier images anew: however many there are, a request takes at most about three times as long."""
BALANCING = 8
"""Batches of copies from which such an edit finds the weight that it begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust(Settings):
    """Settings of robust forgetting, where copies of the rows, drawn anew in each step, are to be forgotten."""

    steps: int | None = setting(
        None, "steps; 80, 120 for over 32 rows, 160 for over 128; half with quick effort", at_least=1
    )
    surrogate_batch: int | None = setting(
        None, "surrogates in a step; 128, 192 or 256 likewise, half if large", at_least=1, formerly="probe_batch"
    )
    copies: int | None = setting(None, "copies in a step; 96, 128 or 256 likewise, half if large", at_least=1)
    spliced: float | None = setting(
        None,
        "share of the surrogates, less images of your own, that are spliced rows, drawn anew; 0.4, 0.6 or 0.8 likewise",
        formerly="joined",
        at_least=0,
        at_most=1,
    )
    depth: float = setting(
        LAST_THIRD, "share of the layers that are edited, the last ones; six at least", above=0, at_most=1
    )
    share: float | None = setting(
        None, "share of fresh copies that steers their weight; 0.975, 0.94 or 0.915 likewise", above=0, at_most=1
    )
    gain: float = setting(0.5, "how fast their weight grows or shrinks with what is missing or spare", at_least=0)
    margin: float = setting(0.5, "logits by which a copy is to be over its boundary", at_least=0)
    leads: Leads = setting(
        Leads.LEAST,
        "least: any beyond the margin; ordinary: those of rows as they are, as images have that were never seen",
    )
    temperature: float = setting(0.5, "logits over which a copy's loss fades out", above=0)
    averaged: float = setting(0.4, "share of the steps, the last ones, whose weights are averaged", above=0, at_most=1)

    def resolve(
        self, rows: int, pixels: int, effort: Effort = Effort.THOROUGH, *, earlier: int = 0, again: bool = False
    ) -> "Robust":
        """Return these settings with the sizes that were left open chosen for so many rows of so many pixels.

        Args:
            rows: to forget.
            pixels: of an image.
            effort: halves the steps.
            earlier: rows that are to stay forgotten: steps, and surrogates in them, are as for all rows together.
            again: whether some of the rows were forgotten earlier.

        >>> Robust(copies=7).resolve(16, 224 * 224).surrogate_batch
        64
        """
        own, size = (sum(count > bound for bound in (FEW_ROWS, SOME_ROWS)) for count in (rows, rows + earlier))
        split, steps = 1 + (pixels > SMALL_IMAGE), (80, 120, 160)[size] // (1 + (effort is Effort.QUICK))
        return replace(
            self,
            steps=self.steps or (min(steps, MOST_STEPS_AGAIN) if again else steps),
            surrogate_batch=self.surrogate_batch or (128, 192, 256)[size] // split,
            copies=self.copies or (96, 128, 256)[own] // split,
            spliced=(0.4, 0.6, 0.8)[own] if self.spliced is None else self.spliced,
            share=self.share or (0.975, 0.94, 0.915)[own],
        )


class PenalisedSolver:
    """Each step goes down objective + weight * mean softplus of the copies' gaps; the weight follows what holds.

    The copies contradict each other a little, and some can be had only at the cost of much else. A soft margin leaves
    those out: its dual is that of a support vector machine, whose multipliers are bounded by the weight. The weight
    starts at what would carry the copies over if gaps and objective were linear and quadratic, and is set so again
    while no copy holds. An edit that goes on starts at what held the copies of earlier rows where they are.
    """

    closing_steps = CLOSING_STEPS

    def __init__(self, settings: Robust, problem: Problem) -> None:
        self._settings, self._problem = settings, problem
        self._iterate, self._objective, self._task = problem.iterate, problem.objective, problem.task
        self._rows, self._labels = (
            each.to(problem.surrogates.device) for each in (problem.task.forget_set.x, problem.task.labels)
        )
        self._drawn, self._joins = (problem.task.generator(purpose) for purpose in ("probe batches", "joined rows"))
        self._copies = RowCopies(problem, self._rows, self._labels, settings.copies or 1)
        self._margins = problem.find_margins(settings.margin)
        ordinary = are_ordinary(settings.leads, problem.task)
        self._ordinary = OrdinaryRows(problem, settings.temperature) if ordinary else None
        self._losses: Tensor | None = None
        if problem.task.allowed is not None:
            before = self._find_gaps_before(problem.enter(self._rows), self._labels)
            self._losses = before - problem.task.allowed.to(before.device)
        self._count, self._weight, self._held = 0, 0.0, 0.0
        self._wanted = max(settings.share or 1.0, EARLIER_SHARE if self._copies.share_of_earlier else 0.0)
        self._earlier = EarlierCopies(
            problem,
            count=settings.surrogate_batch or 1,
            margin=settings.margin,
            temperature=settings.temperature,
            gain=settings.gain,
        )

    @property
    def steps(self) -> int:
        """Return how many steps there are before the weights are averaged; those after them come in tens."""
        return self._settings.steps or 0

    def take_step(self) -> Mapping[str, float]:
        """Lower the loss and set the weights: from the last of the planned steps on, to the mean of the latest.

        Steps after the planned ones are there because too few copies hold: each wants some more of them.
        """
        iterate = self._iterate
        if self._count < self.steps:
            losses = self._move()
            if self._count >= self.steps * (1 - self._settings.averaged):
                iterate.average()
        else:
            self._ask_more()
            iterate.forget_mean()
            iterate.write(iterate.position)
            for _ in range(STEPS_AT_ONCE):
                losses = self._move()
                iterate.average()
        if self._count >= self.steps:
            iterate.write(iterate.mean)
        return losses

    def _move(self) -> dict[str, float]:
        iterate, objective = self._iterate, self._objective
        x, logits = self._draw_surrogates()
        copies, chosen, judged = self._copies.draw(hardest=self._count >= self.steps)
        pushed, held, push = self._push(copies, chosen, judged)
        if self._count == 0:
            iterate.measure_curvature(push, x, logits)
            value, gradient = 0.0, [torch.zeros_like(part) for part in push]
        else:
            value, gradient = objective.gradient(x, logits)
        if self._count == 0 or (held == 0 and self._held == 0):
            self._weight = max(self._weight, pushed * iterate.curvature / max(norm(push) ** 2, 1e-12))
        if self._count == 0 and self._copies.share_of_earlier:
            self._weight = max(self._weight, self._find_balance(objective.gradient(x, logits)[1]))
        gradient = [old + self._weight * part for old, part in zip(gradient, push, strict=True)]
        if self._ordinary is not None:
            _, pull = self._ordinary.pull()
            gradient = [old + ORDINARY_SHARE * self._weight * part for old, part in zip(gradient, pull, strict=True)]
        gradient = self._earlier.add_to(gradient, self._weight / len(self._rows), steering=self._steers)
        if self._count % CURVATURE_EVERY == 1 or (self._count < CURVATURE_EVERY and self._count % 2 == 1):
            iterate.measure_curvature(gradient, x, logits)
        rate = self._problem.rate * min(1.0, remaining(self._count, self.steps) + SLOWEST)
        if self._task.earlier is not None and self._task.earlier.begun:
            rate *= GOING_ON
        iterate.push(gradient, rate, largest=LARGEST_STEP)
        iterate.advance()
        self._steer(held)
        self._count += 1
        iterate.write(iterate.position)
        return {"cost": value, "push": pushed, "copies that hold": held, "weight": self._weight}

    def _push(
        self, copies: Tensor, chosen: Int[Tensor, " m"], judged: slice | Int[Tensor, " j"]
    ) -> tuple[float, float, Step]:
        """Return the copies' mean loss, the share of those that are judged that hold, and the gradient of the loss."""
        labels, margins, allowed = self._labels[chosen], self._margins[chosen], torch.zeros(len(chosen))
        if self._losses is not None:
            allowed = self._find_gaps_before(copies, labels) - self._losses[chosen]
            margins = JUST_BELOW - allowed
        value, gaps, gradient = push_copies(self._problem, copies, labels, margins, self._settings.temperature)
        return value, float((gaps < allowed.to(gaps.device))[judged].float().mean()), gradient

    def _find_gaps_before(self, x: Tensor, labels: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Return the gaps that rows or copies had before the edit."""
        problem = self._problem
        logits = compute_answers(problem.reference, x, self._objective.precision, problem.context)
        return self._task.goal.gap(logits, labels)

    def _find_balance(self, gradient: Step) -> float:
        """Return the weight at which copies of earlier rows hold the edit where it begins, for all copies of a step.

        Args:
            gradient: of the objective there.
        """
        drawn = (self._copies.draw_earlier() for _ in range(BALANCING))
        pushes = (self._push(copies, chosen, slice(None))[2] for copies, chosen in drawn)
        return find_balance(gradient, pushes) / self._copies.share_of_earlier

    def _ask_more(self) -> None:
        """Want more copies of the earlier rows if too few of theirs hold at the mean, else of the new rows."""
        if self._earlier.hold():
            self._wanted = min(1.0, self._wanted + CLOSING_RISE)
        else:
            self._earlier.wanted = min(1.0, self._earlier.wanted + CLOSING_RISE)

    def _steer(self, held: float) -> None:
        """Let the copies weigh more while too few fresh ones hold, less while more do than are wanted."""
        self._held = held if self._count == 0 else FADE * self._held + (1 - FADE) * held
        if self._steers:
            self._weight *= steer(self._settings.gain, self._wanted - self._held)

    @property
    def _steers(self) -> bool:
        return self._count >= STEERING_STARTS * self.steps

    def _draw_surrogates(self) -> tuple[Tensor, Tensor]:
        """Return spliced rows and other surrogates, with what the classifier answered before the edit."""
        settings, problem = self._settings, self._problem
        count = settings.surrogate_batch or 1
        spliced = round((settings.spliced or 0.0) * (count - problem.count_own(count)))
        fresh = draw_spliced(self._rows, spliced, self._task.classifier.bounds, self._joins)
        return problem.draw(count, self._drawn, fresh)
